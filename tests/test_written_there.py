"""Elementwise results written where an operand lies, by passes that are given the memory, beside NumPy.

In flow a method that changes its operand and how the operands lie; out flow the elements of a NumPy copy, and
those around a view as they were.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import retrograd as rg
from retrograd.compiler.ir.graph import OPS
from retrograd.runtime.native.small import one_pass

Change = Callable[[Any, Any], Any]

CHANGES: dict[str, tuple[Change, Callable[[Any, Any], Any]]] = {
    "relu_": (lambda x, y: x.relu_(), lambda x, y: np.maximum(x, 0)),
    "clamp_": (lambda x, y: x.clamp_(-0.5, 0.5), lambda x, y: np.clip(x, -0.5, 0.5)),
    "neg_": (lambda x, y: x.neg_(), lambda x, y: -x),
    "abs_": (lambda x, y: x.abs_(), lambda x, y: np.abs(x)),
    "tanh_": (lambda x, y: x.tanh_(), lambda x, y: np.tanh(x)),
    "add_": (lambda x, y: x.add_(y), lambda x, y: x + y),
    "mul_ by a number": (lambda x, y: x.mul_(1.5), lambda x, y: x * x.dtype.type(1.5)),
    "pow_": (lambda x, y: x.pow_(2), lambda x, y: x * x),
    "addcmul_": (lambda x, y: x.addcmul_(y, y), lambda x, y: x + y * y),
    "twice the operand": (lambda x, y: x.addcmul_(x, y), lambda x, y: x + x * y),
    "where": (lambda x, y: x.masked_fill_(y > 0, 2.0), lambda x, y: np.where(y > 0, 2, x)),
}
"""What changes an operand, and what NumPy makes of it."""

LAYOUTS: dict[str, Callable[[Any], Any]] = {
    "whole": lambda x: x,
    "columns": lambda x: x[:, 1:-2],
    "every second row": lambda x: x[::2],
    "every second column": lambda x: x[:, ::2],
    "transposed": lambda x: x.T if isinstance(x, np.ndarray) else x.t(),
    "columns, transposed": lambda x: x[:, 3:].T if isinstance(x, np.ndarray) else x[:, 3:].t(),
    "one column": lambda x: x[:, 3],
    "with a further axis": lambda x: x[None],
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("shape", [(7, 9), (65, 63), (300, 217)], ids=str)
def test_changes(shape: tuple[int, int], dtype: str, change: str, layout: str) -> None:
    ours, numpys = CHANGES[change]
    part, rng = LAYOUTS[layout], np.random.default_rng(0)
    for _ in range(3):  # by Python, then by its plan
        a, b = (rng.uniform(-1, 1, shape).astype(dtype) for _ in range(2))
        x, y = rg.tensor(a), rg.tensor(b)
        ours(part(x), part(y))
        part(a)[...] = numpys(part(a), part(b))
        tolerance = 2e-3 if dtype == "float16" else 1e-6
        np.testing.assert_allclose(x.numpy(), a, rtol=tolerance, atol=tolerance)


MEETING: dict[str, tuple[Change, Callable[[Any], Any]]] = {
    "the rows before": (lambda x, y: x[1:].add_(x[:-1]), lambda x: x[:-1]),
    "the first row": (lambda x, y: x.add_(x[0]), lambda x: x[0]),
    "the first element": (lambda x, y: x.mul_(x[0, 0]), lambda x: x[0, 0]),
    "itself, transposed": (lambda x, y: x.add_(x.t()), lambda x: x.T),
    "itself, backwards": (lambda x, y: x.add_(x.flip(0)), lambda x: x[::-1]),
}
"""Operands that lie across what is changed."""


@pytest.mark.parametrize("size", [8, 60, 260])
@pytest.mark.parametrize("meeting", MEETING)
def test_operands_that_lie_across_are_read_before(meeting: str, size: int) -> None:
    change, other = MEETING[meeting]
    for _ in range(3):
        a = np.random.default_rng(0).uniform(-1, 1, (size, size)).astype(np.float32)
        x, target = rg.tensor(a), a[1:] if "before" in meeting else a
        wanted = target * other(a) if "element" in meeting else target + other(a)
        change(x, None)
        np.testing.assert_array_equal(x.numpy()[-len(target) :], wanted)


def test_memory_that_is_given_is_written_to() -> None:
    run = one_pass.quickly(OPS["add"], np.dtype("float32"), np.add)
    x, y = (np.random.default_rng(k).uniform(size=(300, 300)).astype("f") for k in range(2))
    wanted, there = x + y, np.zeros_like(x)
    assert one_pass.writes(run)
    assert run(x, y, there) is there
    np.testing.assert_array_equal(there, wanted)
    assert run(x, y, x) is x
    np.testing.assert_array_equal(x, wanted)


@pytest.mark.parametrize(
    "target", ["other shape", "other dtype", "read-only", "one element for all", "across"]
)
def test_other_memory_is_left_alone(target: str) -> None:
    run = one_pass.quickly(OPS["add"], np.dtype("float32"), np.add)
    x, y = (np.random.default_rng(k).uniform(size=(30, 30)).astype("f") for k in range(2))
    there = {
        "other shape": np.zeros((30, 31), "f"),
        "other dtype": np.zeros((30, 30)),
        "read-only": np.broadcast_to(np.zeros((30, 30), "f"), (30, 30)),
        "one element for all": np.lib.stride_tricks.as_strided(np.zeros(1, "f"), (30, 30), (0, 0)),
        "across": x.T,
    }[target]
    before, wanted = there.copy(), x + y
    found = run(x, y, there)
    assert found is not there
    np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(there, before)


def test_what_is_recorded_keeps_what_it_needs() -> None:
    x = rg.rand(300, 300, requires_grad=True)
    y = x * 2
    kept = y.clone()
    y.mul_(y.detach().clone())
    y.sum().backward()
    assert x.grad is not None
    np.testing.assert_allclose(x.grad.numpy(), 2 * kept.detach().numpy(), rtol=1e-6)


# ---- one element everywhere --------------------------------------------------------------------------------
MADE: dict[str, Callable[[], rg.Tensor]] = {
    "zeros": lambda: rg.zeros(70, 50),
    "ones of halves": lambda: rg.ones(70, 50, dtype=rg.float16),
    "full": lambda: rg.full((300, 217), 1.5),
    "whole numbers": lambda: rg.full((300, 217), 7, dtype=rg.uint8),
    "truths": lambda: rg.full((3000,), True),
    "NaN": lambda: rg.full((70, 70), float("nan")),
    "less than nothing": lambda: rg.full((70, 70), -0.0),
    "like": lambda: rg.zeros_like(rg.ones(5, 5000)),
}


@pytest.mark.parametrize("made", MADE)
def test_what_is_made_again_has_memory_of_its_own(made: str) -> None:
    make = MADE[made]
    first = make()
    for _ in range(4):
        again = make()
        assert (again.dtype, again.shape, again.stride()) == (first.dtype, first.shape, first.stride())
        assert again.numpy().tobytes() == first.numpy().tobytes()
        again.zero_().logical_not_()


@pytest.mark.parametrize("part", ["a row", "a column", "an element"])
def test_operands_repeated_in_their_strides(part: str) -> None:
    a = np.random.default_rng(0).uniform(-1, 1, (100, 300)).astype(np.float32)
    chosen = {"a row": np.s_[:1], "a column": np.s_[:, :1], "an element": np.s_[0, 0]}[part]
    x, wide = rg.tensor(a), np.broadcast_to(a[chosen], a.shape)
    repeated = x[chosen].expand(100, 300)
    for _ in range(4):
        np.testing.assert_array_equal(x * repeated, a * wide)
        np.testing.assert_array_equal(repeated.relu(), np.maximum(wide, 0))
        np.testing.assert_array_equal(x.clone().add_(repeated), a + wide)
        np.testing.assert_array_equal(repeated.half(), wide.astype("f2"))


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_gradients_add_up_where_they_are(dtype: str) -> None:
    x = rg.rand(300, 217, dtype=getattr(rg, dtype)).requires_grad_()
    x.backward(rg.ones_like(x))
    first = x.grad
    for k in range(3):
        x.backward(rg.ones_like(x).expand(300, 217) if k else rg.ones(1, 1, dtype=x.dtype).expand(300, 217))
    assert x.grad is first
    np.testing.assert_array_equal(x.grad, np.full((300, 217), 4))
