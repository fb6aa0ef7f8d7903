"""Ops on big operands: machine code in eager mode, with the values and gradients of small ones."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import retrograd as rg
from retrograd.compiler.errors import DimensionError
from retrograd.compiler.ir.graph import Type
from retrograd.compiler.ops.elementwise import Elementwise
from retrograd.compiler.ops.normal import LayerNorm
from retrograd.compiler.ops.reduce import Amax, Sum
from retrograd.compiler.ops.rows import rows
from retrograd.compiler.ops.scan import Cumsum
from retrograd.compiler.ops.softmax import Softmax
from retrograd.runtime.eager import one_op

ROWS, COLUMNS = 700, 512


def _kernel(x: Any) -> Any:
    return x.reshape(ROWS * COLUMNS)[:3600].reshape(8, 50, 3, 3)


def _batches(x: Any) -> Any:
    return x.reshape(14, 160, 160)


def _heads(x: Any) -> Any:
    return x.reshape(2, 175, 8, 128).transpose(1, 2)


CASES: dict[str, Callable[[Any, Any, Any], Any]] = {
    "gelu": lambda F, x, k: F.gelu(x),
    "silu": lambda F, x, k: F.silu(x),
    "mish": lambda F, x, k: F.mish(x),
    "erf": lambda F, x, k: x.erf(),
    "lgamma": lambda F, x, k: (x + 3).lgamma(),
    "sin, tanh": lambda F, x, k: (x * 2).sin().tanh(),
    "softmax": lambda F, x, k: F.softmax(x, 1),
    "log_softmax of columns": lambda F, x, k: F.log_softmax(x, 0),
    "layer_norm": lambda F, x, k: F.layer_norm(x, (COLUMNS,)),
    "cross_entropy": lambda F, x, k: F.cross_entropy(x, k),
    "nll_loss": lambda F, x, k: F.nll_loss(x, k),
    "nll_loss of each": lambda F, x, k: F.nll_loss(x, k, reduction="none"),
    "multi_margin_loss": lambda F, x, k: F.multi_margin_loss(x, k),
    "var": lambda F, x, k: x.var(1),
    "not contiguous": lambda F, x, k: F.gelu(x.t()[1:]),
    "conv2d": lambda F, x, k: F.conv2d(x.reshape(7, 50, 32, 32), _kernel(x), padding=1) * 0.1,
    "max_pool2d": lambda F, x, k: F.max_pool2d(x.reshape(7, 50, 32, 32), 2),
    "avg_pool2d": lambda F, x, k: F.avg_pool2d(x.reshape(7, 50, 32, 32), 3, stride=2, padding=1),
    "huber_loss": lambda F, x, k: F.huber_loss(x, x.detach() * 0.5),
    "products": lambda F, x, k: (x @ x[:COLUMNS]) * 0.05,
    "products with what is turned": lambda F, x, k: F.linear(x, x[:200], x[200, :200]) * 0.05,
    "products of parts": lambda F, x, k: (x[::2, :300] @ x[:300, ::2]) * 0.05,
    "products of what is turned": lambda F, x, k: (x.t() @ x) * 0.05,
    "products of batches": lambda F, x, k: (_batches(x) @ _batches(x)) * 0.05,
    "scores of heads": lambda F, x, k: (_heads(x) @ _heads(x).transpose(-1, -2)) * 0.05,
    "causal attention": lambda F, x, k: F.scaled_dot_product_attention(*[_heads(x)] * 3, is_causal=True),
    "attention": lambda F, x, k: F.scaled_dot_product_attention(*[_heads(x)] * 3),
}


def operands(t: Any) -> tuple[Any, Any]:
    rng = np.random.default_rng(3)
    x = rng.standard_normal((ROWS, COLUMNS)).astype(np.float32)
    return t.from_numpy(x).requires_grad_(), t.from_numpy(rng.integers(0, COLUMNS, ROWS))


@pytest.mark.parametrize("name", CASES)
def test_big_operands_give_what_pytorch_gives(torch: ModuleType, name: str) -> None:
    found = []
    for t in (rg, torch):
        x, k = operands(t)
        value = CASES[name](t.nn.functional, x, k)
        value.sin().sum().backward()
        found.append((value.detach().numpy(), x.grad.numpy()))
    for ours, theirs in zip(*found):
        scale = float(np.abs(theirs).max())
        np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=2e-6 * scale + 2e-6)


@pytest.mark.parametrize("name", CASES)
def test_equal_calls_give_equal_bits(name: str) -> None:
    """The first, the one that is noted, and those that replay."""
    x, k = operands(rg)
    values = [CASES[name](rg.nn.functional, x, k) for _ in range(4)]
    gradients = [rg.autograd.grad(value.sum(), x)[0] for value in values]
    for each in (values, gradients):
        assert all(rg.equal(each[0], other) for other in each[1:])


def test_what_is_worth_it_is_decided_by_types() -> None:
    def made(op: Any, *shape: int, dtype: rg.dtype = rg.float32) -> bool:
        return one_op.value_of(op, (Type(shape, dtype),)) is not None

    gelu, exp = (getattr(rows, name).args[0] for name in ("gelu", "exp"))
    assert isinstance(gelu, Elementwise)
    assert not made(gelu, 1000, 1000)  # these are loops of any size
    assert not made(exp, 1000, 1000)
    assert made(Softmax(1), 1000, 1000)
    assert not made(Softmax(1), 100, 100)
    assert made(LayerNorm(1e-5, 1), 1000, 1000)
    assert not made(Softmax(1), 1000, 1000, dtype=rg.float16)
    for op in (Sum((0,)), Amax((0, 1)), Cumsum(1)):
        assert made(op, 2000, 1000)
        assert not made(op, 1000, 1000)


WHOLE: dict[str, Callable[[Any], Any]] = {
    "sum": lambda x: x.sum(),
    "sums of columns": lambda x: x.sum(0),
    "means of rows": lambda x: x.mean(1),
    "norm": lambda x: x.norm(),
    "greatest": lambda x: x.amax(1),
    "all": lambda x: (x > -9).all(1),
    "sums so far": lambda x: x.cumsum(0),
    "turned": lambda x: x.t()[1:].sum(1),
    "whole numbers": lambda x: (128 * x).long().sum(0),
    "powers": lambda x: x**2 + x**3 + (x * x + 1) ** -1 + (x * x) ** 1.5,
}


@pytest.mark.parametrize("name", WHOLE)
def test_reductions_and_powers_of_big_operands(torch: ModuleType, name: str) -> None:
    numbers = np.random.default_rng(4).standard_normal((1100, 1000)).astype(np.float32)
    found = []
    for t, dtype in ((rg, "float32"), (torch, "float64")):
        x = t.from_numpy(numbers).to(getattr(t, dtype)).requires_grad_()
        value = WHOLE[name](x)
        if value.requires_grad:
            weights = t.linspace(0, 1, value.numel(), dtype=value.dtype).reshape(value.shape)
            (value * weights).sum().backward()
        found.append((value.detach().numpy(), None if x.grad is None else x.grad.numpy()))
    for ours, theirs in zip(*found):
        if theirs is not None:
            np.testing.assert_allclose(ours, theirs, rtol=3e-5, atol=1e-3)


def test_what_is_not_a_number_is_seen_in_big_reductions() -> None:
    x = rg.zeros(1100, 1000)
    x[3, 4], x[5, 6] = float("nan"), float("inf")
    assert x.sum().isnan()
    assert x.amax(1).isnan().nonzero().tolist() == [[3]]
    assert x.sum(1)[5].item() == float("inf")


def test_classes_out_of_range_are_refused() -> None:
    x, k = operands(rg)
    k[5] = COLUMNS
    for _ in range(3):
        with pytest.raises(DimensionError, match=f"Target {COLUMNS} is out of bounds"):
            rg.nn.functional.cross_entropy(x, k)


def test_nan_and_infinities_stay_in_their_rows() -> None:
    x = rg.zeros(ROWS, COLUMNS)
    x[0, 0], x[1, 1] = float("nan"), float("inf")
    found = rg.softmax(x, 1)
    assert found[0].isnan().all()
    assert found[2:].isfinite().all()
    assert rg.nn.functional.gelu(x)[1, 1].item() == float("inf")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("left", "right"),
    [
        ((64, 16, 16), (64, 16, 16)),
        ((8, 64, 32), (32, 64)),
        ((3, 1, 70, 33), (4, 33, 65)),
        ((500, 9, 8), (500, 8, 9)),
    ],
    ids=str,
)
def test_many_small_products(left: tuple[int, ...], right: tuple[int, ...], dtype: str) -> None:
    """Of operands in order, turned and with gaps; values and gradients beside float64."""
    rng = np.random.default_rng(0)
    a, b = (rng.uniform(-1, 1, shape).astype(dtype) for shape in (left, right))
    wanted = a.astype("f8") @ b.astype("f8")
    g = rng.uniform(-1, 1, wanted.shape).astype(dtype)
    by_a = g.astype("f8") @ np.swapaxes(b.astype("f8"), -1, -2)
    tolerance = {"rtol": 0, "atol": 1e-4 if dtype == "float32" else 1e-12}
    for turned, apart in ((False, False), (True, False), (False, True)):
        x, y = rg.tensor(np.repeat(a, 1 + apart, -1)), rg.tensor(b.swapaxes(-1, -2) if turned else b)
        x, y = x[..., :: 1 + apart].detach().requires_grad_(), y.transpose(-1, -2) if turned else y
        for _ in range(3):
            x.grad = None
            found = x @ y
            found.backward(rg.tensor(g))
            np.testing.assert_allclose(found.detach().numpy(), wanted, **tolerance)
            assert x.grad is not None
            repeated = tuple(k for k, n in enumerate(a.shape) if n != by_a.shape[k])
            summed = by_a.sum(repeated, keepdims=True)
            np.testing.assert_allclose(x.grad.numpy(), summed, **tolerance)
