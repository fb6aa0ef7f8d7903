"""The order of kernels (`passes.order`): gradients of weights come as soon as all that they read is there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

import retrograd
from retrograd import Tensor
from retrograd.compiler.ir.expressions import Space
from retrograd.compiler.ir.loops import Kernel, Program
from retrograd.compiler.passes.order import hasten
from retrograd.compiler.passes.plan import plan
from retrograd.compiler.passes.straight import touched

LAYERS = 6


def deep(x: Tensor, *weights: Tensor) -> Tensor:
    for w in weights:
        x = (x @ w).tanh()
    return x.sum()


def convolutional(x: Tensor, *weights: Tensor) -> Tensor:
    for w in weights:
        x = retrograd.nn.functional.conv2d(x, w, padding=1).relu() + x
    return x.sum()


CASES: dict[str, tuple[Callable[..., Tensor], tuple[int, ...], tuple[int, ...]]] = {
    "products": (deep, (64, 64), (64, 64)),
    "convolutions": (convolutional, (4, 16, 10, 10), (16, 16, 3, 3)),
}


def program(name: str) -> Program:
    function, *shapes = CASES[name]
    random = np.random.default_rng(0)
    x, *weights = (random.standard_normal(s) * 0.1 for s in (shapes[0], *[shapes[1]] * LAYERS))
    of_weights = tuple(range(1, LAYERS + 1))
    return retrograd.compile_grad(wrt=of_weights)(function).trace(x, *weights).loops


def gives_outputs_alone(program: Program) -> list[bool]:
    """Of each kernel."""
    accesses = [touched(kernel) for kernel in program.kernels]
    found = []
    for k, (written, _) in enumerate(accesses):
        others = {buffer for j, (_, read) in enumerate(accesses) if j != k for buffer in read}
        found.append(
            all(buffer.space is Space.OUTPUT for buffer in written & others) and bool(written - others)
        )
    return found


@pytest.mark.parametrize("name", CASES)
def test_nothing_else_comes_between(name: str) -> None:
    found = program(name)
    pairs = list(zip(found.kernels, gives_outputs_alone(found), strict=True))
    late = replace(found, kernels=tuple(sorted_by_last(pairs)))
    hastened = hasten(late)
    assert set(hastened.kernels) == set(late.kernels)
    assert plan(hastened).arena_bytes <= plan(late).arena_bytes
    alone, accesses = gives_outputs_alone(hastened), [touched(kernel) for kernel in hastened.kernels]
    assert sum(alone) >= LAYERS
    for k, (written, read) in enumerate(accesses):
        given = {buffer for buffer in read if buffer.space is Space.INPUT}
        needed = [j for j in range(k) if accesses[j][0] & (read | written) or accesses[j][1] & given]
        assert not alone[k] or all(alone[max(needed, default=-1) + 1 : k])


def sorted_by_last(pairs: list[tuple[Kernel, bool]]) -> list[Kernel]:
    """Those that give outputs alone come last."""
    return [kernel for kernel, _ in sorted(pairs, key=lambda pair: pair[1])]


def test_results_are_those_of_eager_mode() -> None:
    function, *shapes = CASES["convolutions"]
    x, *weights = (
        retrograd.randn(s, dtype=retrograd.float64) * 0.1 for s in (shapes[0], *[shapes[1]] * LAYERS)
    )
    leaves = [w.clone().requires_grad_() for w in weights]
    function(x, *leaves).backward()
    compiled = retrograd.compile_grad(wrt=tuple(range(1, LAYERS + 1)))(function)
    for mine, leaf in zip(compiled.grad(x, *weights), leaves, strict=True):
        assert leaf.grad is not None
        np.testing.assert_allclose(np.asarray(mine), leaf.grad.numpy(), rtol=1e-10, atol=1e-12)


def test_nothing_that_is_given_is_changed_before_all_flags_are_known() -> None:
    embedding, layer = retrograd.nn.Embedding(9, 64), retrograd.nn.Linear(64, 64)
    loss = retrograd.nn.functional.cross_entropy
    weights = (*embedding.parameters(), *layer.parameters())

    def value(words: Tensor, classes: Tensor) -> Tensor:
        return loss(layer(embedding(words)), classes)

    found = retrograd.compile_grad(value).trace(retrograd.arange(9), retrograd.arange(9)).loops
    assert found.flags
    gradients = set(found.outputs[1 : 1 + len(weights)])
    stored = [k for k, kernel in enumerate(found.kernels) if touched(kernel)[0] <= gradients]
    assert 0 < found.gate <= min(stored)
