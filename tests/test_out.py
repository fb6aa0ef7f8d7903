"""`out=`: results written where a Tensor is, as in PyTorch; by a plan from the second such call on."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import retrograd as rg
from retrograd.compiler.errors import RetrogradError, TraceError

Case = Callable[[Any], Any]
CALLS = 4
"""A plan is made at the second, and followed by the third."""


@pytest.fixture(scope="module")
def torch() -> ModuleType:
    return pytest.importorskip("torch")


def numbers(t: Any, *shape: int) -> Any:
    return (t.arange(int(np.prod(shape))).reshape(shape).float() - 3) / 2


def operand(t: Any) -> Any:
    x = numbers(t, 3, 4)
    result = t.exp(x, out=x)
    return [result is x, x._version, x]


def turned(t: Any) -> Any:
    out = t.zeros(4, 3)
    t.mul(numbers(t, 3, 4), 2, out=out.t())
    return [out]


def view(t: Any) -> Any:
    base = t.zeros(6, 4)
    part = base[2:5]
    t.sub(numbers(t, 3, 4), numbers(t, 4), out=part)
    return [base, base._version, part._version]


def wider(t: Any) -> Any:
    out = t.zeros(3, 4, dtype=t.float64)
    return [t.add(numbers(t, 3, 4), 1, alpha=2, out=out), out]


def truths(t: Any) -> Any:
    out, floats = t.zeros(3, 4, dtype=t.bool), t.zeros(3, 4)
    return [t.lt(numbers(t, 3, 4), numbers(t, 4), out=kind) for kind in (out, floats)]


def without_histories(t: Any) -> Any:
    x, out = numbers(t, 3, 4).requires_grad_(), t.zeros(3, 4, requires_grad=True)
    with t.no_grad():
        t.exp(x, out=out)
    return [out, out.requires_grad, out.is_leaf]


def resized(t: Any) -> Any:
    out = t.empty(0)
    return [t.exp(numbers(t, 3, 4), out=out), out]


def two(t: Any) -> Any:
    values, places = t.empty(3), t.empty(3, dtype=t.int64)
    t.max(numbers(t, 3, 4), 1, out=(values, places))
    return [values, places]


def running(t: Any) -> Any:
    out = numbers(t, 5)
    t.cumsum(out, 0, out=out)
    t.clamp(out, -2, 1, out=out)
    return [out]


def others(t: Any) -> Any:
    m, x = t.empty(3, 3), numbers(t, 3, 4)
    t.mm(x, x.t(), out=m)
    joined = t.cat([x, x], out=t.empty(6, 4))
    total = t.sum(x, (0, 1), out=t.empty(()))
    chosen = t.where(x > 0, x, numbers(t, 4), out=t.empty(3, 4))
    quotient = t.div(x, 2, rounding_mode="floor", out=t.empty(3, 4))
    return [m, joined, total, chosen, quotient, t.linspace(0, 1, 5, out=t.empty(5))]


def large(t: Any) -> Any:
    x, y, out = numbers(t, 300, 400), numbers(t, 400), t.zeros(300, 400)
    return [t.mul(x, y, out=out), t.mul(out, out, out=out), t.sqrt(out.abs(), out=out[:]), out._version]


def drawn(t: Any) -> Any:
    t.manual_seed(0)
    out = t.empty(5)
    return [t.rand(5, out=out).clone(), t.rand(5, out=out)]


def in_a_history(t: Any) -> Any:
    weight, out = t.ones(3, 4, requires_grad=True), t.zeros(3, 4)
    loss = (weight * out).sum()
    t.exp(numbers(t, 3, 4), out=out)
    loss.backward()  # looks at what is no more


def a_leaf(t: Any) -> Any:
    t.exp(numbers(t, 3, 4), out=t.zeros(3, 4, requires_grad=True))


def of_a_leaf(t: Any) -> Any:
    t.exp(numbers(t, 3, 4).requires_grad_(), out=t.zeros(3, 4))


def narrower(t: Any) -> Any:
    t.add(numbers(t, 3, 4), 1, out=t.zeros(3, 4, dtype=t.int64))


def repeated(t: Any) -> Any:
    t.exp(numbers(t, 3, 4), out=t.zeros(4).expand(3, 4))


def sealed(t: Any) -> Any:
    with t.inference_mode():
        out = t.zeros(3, 4)
    t.exp(numbers(t, 3, 4), out=out)


def method(t: Any) -> Any:
    x = numbers(t, 3, 4)
    t.add(x, x, out=t.zeros(3, 4))
    x.add(x, out=t.zeros(3, 4))


CASES: list[Case] = [
    operand, turned, view, wider, truths, without_histories, resized, two, running, others, large, drawn,
]  # fmt: skip
MISTAKES: list[Case] = [in_a_history, a_leaf, of_a_leaf, narrower, repeated, sealed, method]


def of_numpy(found: Any) -> Any:
    return found.detach().numpy() if hasattr(found, "detach") else found


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_every_call_writes_what_pytorch_writes(case: Case, torch: ModuleType) -> None:
    expected = [of_numpy(found) for found in case(torch)]
    for _ in range(CALLS):
        for ours, theirs in zip(map(of_numpy, case(rg)), expected, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-6, strict=isinstance(theirs, np.ndarray))


@pytest.mark.parametrize("case", MISTAKES, ids=lambda case: case.__name__)
def test_every_call_refuses_what_pytorch_refuses(case: Case, torch: ModuleType) -> None:
    with pytest.raises(Exception) as theirs:  # noqa: PT011  # whichever it is
        case(torch)
    for _ in range(CALLS):
        with pytest.raises(RetrogradError) as ours:
            case(rg)
        assert str(theirs.value).splitlines()[0] in str(ours.value)


def test_operands_that_the_result_overlaps_are_read_first() -> None:
    for _ in range(CALLS):
        x = rg.arange(10.0)
        rg.add(x[:-1], x[1:], out=x[1:])
        assert x.tolist() == [0, *(2 * k - 1.0 for k in range(1, 10))]
        square = numbers(rg, 3, 3)
        expected = square.numpy() @ square.numpy()
        rg.mm(square, square, out=square)
        np.testing.assert_array_equal(square.numpy(), expected)


def test_a_compiled_function_writes_into_a_tensor_of_its_own() -> None:
    @rg.compile_grad
    def f(x: Any) -> Any:
        return rg.exp(x, out=rg.empty(3, 4)) * 2

    x = numbers(rg, 3, 4)
    np.testing.assert_allclose(f(x).numpy(), 2 * np.exp(x.numpy()), rtol=1e-6)


def test_a_tensor_keeps_its_shape_inside_a_trace() -> None:
    @rg.compile_grad
    def f(x: Any) -> Any:
        return rg.exp(x, out=rg.empty(2, 3, 4))

    with pytest.raises(TraceError, match=r"out= of shape \[2, 3, 4\] for a result of shape \[3, 4\]"):
        f(numbers(rg, 3, 4))
