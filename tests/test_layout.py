"""Intermediates that lie as products read them: the loops, and what they compute, against other ways.

A new test of the pass is a function of two matrices in `FUNCTIONS`.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

import retrograd as rg
import retrograd.nn.functional as F
from retrograd.compiler import pipeline
from retrograd.compiler.ir.loops import Program
from retrograd.compiler.passes.layout import lay_out

Function = Callable[..., Any]


def array(*shape: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).standard_normal(shape) / 2


def products(text: str) -> list[str]:
    """The lines that add up products."""
    return [line for line in text.splitlines() if "add= mul(" in line]


def attention(x: Any, w: Any, o: Any) -> Any:
    """Four heads of eight."""
    n, length, width = x.shape
    q, k, v = (x @ w).reshape(n, length, 3, 4, width // 4).permute(2, 0, 3, 1, 4)
    heads = F.scaled_dot_product_attention(q, k, v)
    return (heads.transpose(1, 2).reshape(n, length, width) @ o).square().sum()


def test_heads_of_an_attention_are_joined_where_they_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    given = array(2, 6, 32), array(32, 96, seed=1), array(32, 32, seed=2)
    compiled, programs = rg.compile_grad(attention), list[Program]()

    def noted(program: Program) -> Program:
        programs.extend((program, lay_out(program)))
        return programs[-1]

    monkeypatch.setattr(pipeline, "lay_out", noted)
    assert compiled.trace(*given).loops
    before, after = (products(str(program)) for program in programs[-2:])
    assert len([line for line in before if "//" in line]) == 4
    assert len(after) == len(before)
    assert not any("//" in line for line in after)
    tensors = [rg.tensor(each, requires_grad=True) for each in given]
    attention(*tensors).backward()
    for ours, tensor in zip(compiled.grad(*given), tensors, strict=True):
        assert_allclose(ours, tensor.grad.numpy(), rtol=1e-10, atol=1e-12)


FUNCTIONS: dict[str, Function] = {
    "two readers that want two orders": lambda x, w: (
        (
            (y := (x @ w).reshape(4, 6, 4, 8)).transpose(1, 2).reshape(16, 48)
            @ y.reshape(4, 192).reshape(48, 16)
        ).sum()
        + (y.permute(1, 0, 2, 3).reshape(6, 128) @ y.permute(0, 2, 1, 3).reshape(128, 6)).sum()
    ),
    "short lines stay": lambda x, w: (
        (x @ w).reshape(24, 16, 2).transpose(0, 1).reshape(16, 48) @ x.reshape(48, 4)
    ).sum(),
    "a padded reader beside": lambda x, w: (
        ((y := (x @ w).reshape(4, 6, 4, 8)).transpose(1, 2).reshape(16, 48) @ y.reshape(48, 16)).sum()
        + F.pad(y, (1, 1)).square().sum()
    ),
    "rows that numbers choose": lambda x, w: (
        ((y := (x @ w).reshape(4, 6, 4, 8)).transpose(1, 2).reshape(16, 48) @ y.reshape(48, 16)).sum()
        + y.reshape(24, 32)[rg.tensor([3, 0, 3])].square().sum()
    ),
    "elementwise readers": lambda x, w: (
        (y := (x @ w).reshape(4, 6, 4, 8)).transpose(1, 2).reshape(16, 48).exp() @ y.tanh().reshape(48, 16)
    ).sum(),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_and_gradients_are_those_of_eager_mode(name: str) -> None:
    function, given = FUNCTIONS[name], (array(24, 8), array(8, 32, seed=1))
    tensors = [rg.tensor(each, requires_grad=True) for each in given]
    expected = function(*tensors)
    expected.backward()
    value, gradients = rg.compile_grad(lambda x, w: function(x, w)).value_and_grad(*map(rg.tensor, given))
    assert_allclose(value.item(), expected.item(), rtol=1e-12)
    for ours, tensor in zip(gradients, tensors, strict=True):
        assert_allclose(ours.numpy(), tensor.grad.numpy(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("seed", range(24))
def test_axes_in_any_order(seed: int) -> None:
    """Products of products whose axes are split, permuted and joined, against NumPy in float64."""
    chance = random.Random(seed)
    sizes = [chance.choice([1, 2, 3, 4, 8, 16]) for _ in range(4)] + [chance.choice([8, 16, 20])]
    order = [*chance.sample(range(4), 4), 4] if chance.random() < 0.7 else chance.sample(range(5), 5)
    cut, split = chance.randrange(1, 5), chance.randrange(1, 5)
    rows, columns = int(np.prod(sizes[:split])), int(np.prod(sizes[split:]))
    moved = [sizes[k] for k in order]
    left, right = int(np.prod(moved[:cut])), int(np.prod(moved[cut:]))
    a, b, c = array(rows, 5, seed=seed), array(5, columns, seed=seed + 1), array(right, 3, seed=seed + 2)

    def ours(a: Any, b: Any, c: Any) -> Any:
        return (a @ b).reshape(*sizes).permute(*order).reshape(left, right) @ c

    expected = (a @ b).reshape(sizes).transpose(order).reshape(left, right) @ c
    assert_allclose(rg.compile_grad(ours)(a, b, c), expected, rtol=1e-12, atol=1e-12)
    gradients = rg.compile_grad(lambda a, b, c: ours(a, b, c).sin().sum()).grad(a, b, c)
    tensors = [rg.tensor(each, requires_grad=True) for each in (a, b, c)]
    ours(*tensors).sin().sum().backward()
    for gradient, tensor in zip(gradients, tensors, strict=True):
        assert_allclose(gradient, tensor.grad.numpy(), rtol=1e-9, atol=1e-11)
