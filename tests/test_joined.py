"""What meets at one place, or lies in one segment, joined as in PyTorch: values and gradients, before there
is a plan and by it, and in compiled functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import sympy
import torch

import retrograd

NAN = float("nan")
F64 = retrograd.float64
SHAPES = [
    ((3, 3), 0, (3, 3)),
    ((3, 4), 1, (3, 6)),
    ((3, 4), 0, (5, 2)),
    ((2, 3, 4), 1, (2, 5, 4)),
    ((5,), 0, (7,)),
]


def _agree(f: Callable[..., Any], *arrays: np.ndarray, compiled: bool = True) -> None:
    """Value and gradients thrice, and compiled."""
    wanted = _outcome(torch, lambda *x: f(torch, *x), arrays)
    ours = [lambda *x: f(retrograd, *x)] * 3
    if compiled:
        ours.append(retrograd.compile_grad(lambda *x: f(retrograd, *x)))
    for each in ours:
        for found, expected in zip(_outcome(retrograd, each, arrays), wanted, strict=True):
            np.testing.assert_allclose(found, expected, rtol=2e-5, atol=1e-6)


def _outcome(t: Any, f: Callable[..., Any], arrays: tuple[np.ndarray, ...]) -> list[np.ndarray]:
    operands = [t.from_numpy(x.copy()).requires_grad_(x.dtype.kind == "f") for x in arrays]
    result = f(*operands)
    if not result.requires_grad:
        return [result.numpy()]
    weights = t.arange(result.numel()).to(result.dtype).reshape(result.shape)
    (result * (weights + 1)).sum().backward()
    return [result.detach().numpy(), *[x.grad.numpy() for x in operands if x.requires_grad]]


@pytest.mark.filterwarnings("ignore:index_reduce:UserWarning", "ignore:scatter_reduce:UserWarning")
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.int32])
@pytest.mark.parametrize("with_self", [True, False])
@pytest.mark.parametrize("how", ["prod", "amax", "amin", "sum", "mean"])
def test_values_that_meet_are_joined(how: str, with_self: bool, dtype: Any) -> None:
    generator = np.random.default_rng(0)
    for shape, axis, of_index in SHAPES:
        x, y = ((generator.normal(size=size) * 3).astype(dtype) for size in (shape, of_index))
        index = generator.integers(0, shape[axis], of_index)
        x.flat[1] = 0 if with_self else 9  # without, PyTorch shares the gradient with an equal element of x
        y.flat[1] = 0
        y.flat[2] = y.flat[3]
        _agree(
            lambda t, x, y, i, axis=axis: x.scatter_reduce(axis, i, y, how, include_self=with_self),
            x,
            y,
            index,
        )
        if how != "sum":
            rows = np.moveaxis(np.zeros(of_index, int), axis, -1).reshape(-1, of_index[axis])[0]
            rows[::2] = shape[axis] - 1
            source = (generator.normal(size=[*shape[:axis], len(rows), *shape[axis + 1 :]]) * 3).astype(dtype)
            _agree(
                lambda t, x, y, i, axis=axis: x.index_reduce(axis, i, y, how, include_self=with_self),
                x, source, rows,
            )  # fmt: skip


@pytest.mark.parametrize("how", ["prod", "amax", "amin"])
def test_nan_is_joined_and_operands_lie_anyhow(how: str) -> None:
    x, y = np.float32([[1, NAN, 3], [4, 5, 6]]), np.float32([[7, 8, NAN], [1, 9, 2]])
    for _ in range(3):
        found, wanted = (
            t.from_numpy(x)
            .t()
            .scatter_reduce(0, t.tensor([[0, 2], [0, 2], [1, 2]]), t.from_numpy(y).t(), how)
            for t in (retrograd, torch)
        )
        np.testing.assert_array_equal(found.numpy(), wanted.numpy())


def test_an_index_out_of_range_is_an_error_before_and_by_a_plan() -> None:
    x = retrograd.zeros(3)
    for place in (0, 1, 2, 3, -1):
        index = retrograd.tensor([place])
        if 0 <= place < 3:
            x.scatter_reduce(0, index, retrograd.ones(1), "amax")
            continue
        with pytest.raises(RuntimeError, match="out of bounds"):
            x.scatter_reduce(0, index, retrograd.ones(1), "amax")


@pytest.mark.filterwarnings("ignore:scatter_reduce:UserWarning")
@pytest.mark.parametrize("with_self", [True, False])
@pytest.mark.parametrize("how", ["prod", "amax", "mean"])
def test_many_values_meet_at_many_places(how: str, with_self: bool) -> None:
    generator = np.random.default_rng(2)
    x, y = generator.normal(size=(3000, 3)), generator.normal(size=(9000, 3))
    index = np.broadcast_to(generator.integers(0, 3000, (9000, 1)), (9000, 3)).copy()
    _agree(lambda t, x, y, i: x.scatter_reduce(0, i, y, how, include_self=with_self), x, y, index)


@pytest.mark.parametrize("how", ["prod", "amax"])
@pytest.mark.parametrize("compiled", [False, True])
def test_slopes_of_what_was_joined_have_slopes(how: str, compiled: bool) -> None:
    """Zeros among the factors, too: finite differences of the gradient, at places without ties."""
    generator = np.random.default_rng(3)
    x, y, along = generator.normal(size=4), generator.normal(size=9), generator.normal(size=9)
    y[2] = 0.0 if how == "prod" else y[2]
    index = retrograd.tensor([0, 0, 0, 1, 1, 2, 2, 2, 0])

    def slopes(x: Any, y: Any) -> Any:
        found = x.scatter_reduce(0, index, y, how).pow(3).sum()
        return retrograd.autograd.grad(found, y, create_graph=True)[0]

    def curvature(x: Any, y: Any) -> Any:
        return (slopes(x, y) * retrograd.from_numpy(along)).sum()

    def at(y: np.ndarray) -> np.ndarray:
        found: np.ndarray = (
            slopes(retrograd.tensor(x), retrograd.tensor(y, requires_grad=True)).detach().numpy()
        )
        return found

    f = retrograd.compile_grad(curvature) if compiled else curvature
    given = retrograd.tensor(y, requires_grad=True)
    f(retrograd.tensor(x), given).backward()
    step = 1e-6
    numeric = (at(y + step * along) - at(y - step * along)) / (2 * step)
    np.testing.assert_allclose(given.grad.numpy(), numeric, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("zeros", [0, 1, 2, 3])
@pytest.mark.parametrize("kind", ["all", "axis", "scatter", "index"])
def test_products_of_zeros_have_derivatives_of_every_order(kind: str, zeros: int, compiled: bool) -> None:
    """As SymPy differentiates them; PyTorch's scatter_reduce refuses where two factors are zero."""
    elements = [0.0] * zeros + [2.0, 3.0, -1.5, 0.5][: 4 - zeros]
    index, weights = retrograd.tensor([0, 1, 0, 0]), retrograd.tensor([1.0, 0.5, -2.0, 3.0], dtype=F64)
    start = retrograd.tensor([1.5, 2.0], dtype=F64)

    def product(x: Any) -> Any:
        match kind:
            case "all":
                return x.prod()
            case "axis":
                return x.reshape(2, 2).prod(0).sum()
            case "scatter":
                return start.scatter_reduce(0, index, x, "prod").sum()
        return start.index_reduce(0, index, x, "prod", include_self=False).sum()

    def along(x: Any, order: int) -> Any:
        value = product(x)
        for _ in range(order):
            (slope,) = retrograd.autograd.grad(value, x, create_graph=True)
            value = (slope * weights).sum()
        return value

    a, b, c, d = symbols = sympy.symbols("a:d")
    formula = {
        "all": a * b * c * d, "axis": a * c + b * d,
        "scatter": 1.5 * a * c * d + 2 * b, "index": a * c * d + b,
    }[kind]  # fmt: skip
    for order in range(4):
        wanted = [float(formula.diff(s).subs(dict(zip(symbols, elements)))) for s in symbols]
        f = (
            retrograd.compile_grad(lambda x, n=order: along(x, n))
            if compiled
            else lambda x, n=order: along(x, n)
        )
        for _ in range(3):
            x = retrograd.tensor(elements, dtype=F64, requires_grad=True)
            result = f(x)
            if result.requires_grad:
                result.backward()
            found = [0.0] * 4 if x.grad is None else x.grad.tolist()
            np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)
        formula = sum(w * formula.diff(s) for w, s in zip(weights.tolist(), symbols))


@pytest.mark.parametrize("how", ["sum", "mean", "max", "min", "prod"])
@pytest.mark.parametrize("initial", [None, 0.5])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_segments_are_reduced(how: str, initial: float | None, dtype: Any) -> None:
    generator = np.random.default_rng(1)
    line, matrix = (generator.normal(size=size).astype(dtype) for size in ((6,), (3, 4, 2)))
    for lengths in ([2, 3, 1], [6], [0, 6, 0], [1, 1, 1, 1, 1, 1]):
        _agree(lambda t, x, n: t.segment_reduce(x, how, lengths=n, initial=initial), line, np.array(lengths))
    by_offsets = np.array([0, 2, 2, 6])
    _agree(lambda t, x, n: t.segment_reduce(x, how, offsets=n, initial=initial), line, by_offsets)
    along = np.array([[1, 3], [4, 0], [2, 2]])
    _agree(lambda t, x, n: t.segment_reduce(x, how, lengths=n, axis=1, initial=initial), matrix, along)


@pytest.mark.parametrize(
    ("lengths", "error"), [([2, 2], "Expected all rows of lengths"), ([4, -1], "lengths contains negative")]
)
def test_segments_that_do_not_fit_are_refused(lengths: list[int], error: str) -> None:
    x, right = retrograd.ones(3), retrograd.tensor([1, 2])
    for _ in range(3):
        retrograd.segment_reduce(x, "sum", lengths=right)
        with pytest.raises(RuntimeError, match=error):
            retrograd.segment_reduce(x, "sum", lengths=retrograd.tensor(lengths))
