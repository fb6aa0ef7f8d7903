"""Order of large arrays against PyTorch and NumPy's stable sort: ties, NaN, zeros, widths, axes, memory."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest

import retrograd
from retrograd.compiler.ops import keys

RANDOM = np.random.default_rng(0)
SHAPES = [(5000,), (70, 80), (3, 40, 50), (5000, 1), (1, 5000), (2500, 2), (0, 7), (7, 0), (90, 3, 20)]
NUMBERS = [
    np.float16, np.float32, np.float64, np.int64, np.int32, np.int16, np.int8, np.uint8, np.bool_,
]  # fmt: skip


def elements(kind: str, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Numbers of a kind: all different, few, with both zeros, NaN and infinities, or far apart."""
    dtype = np.dtype(dtype)
    count = int(np.prod(shape))
    match kind:
        case "many":
            found = (RANDOM.permutation(count) - count // 2).astype(dtype)
        case "few":
            found = RANDOM.integers(0, 5, count).astype(dtype)
        case "special":
            choice = [-0.0, 0.0, np.nan, -np.nan, np.inf, -np.inf, 1.5, -1.5, 1e-45, -1e-45]
            found = RANDOM.choice(np.array(choice).astype(dtype), count)
            found[: count // 2] = RANDOM.standard_normal(count // 2)
        case _:
            limits = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
            found = RANDOM.choice(np.array([limits.min, limits.max, 0, 1, 2], dtype), count)
    return found.reshape(shape)


def kinds_of(dtype: Any) -> list[str]:
    kind = np.dtype(dtype).kind
    return ["many", "few", *(["special"] if kind == "f" else []), *(["far"] if kind != "b" else [])]


CASES = [(kind, dtype) for dtype in NUMBERS for kind in kinds_of(dtype)]


def stable(x: np.ndarray, axis: int, descending: bool) -> np.ndarray:
    """The order by NumPy alone."""
    if not descending:
        return np.argsort(x, axis, kind="stable")
    return np.flip(x.shape[axis] - 1 - np.argsort(np.flip(x, axis), axis, kind="stable"), axis)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("kind", "dtype"), CASES)
def test_order_is_that_of_a_stable_sort(kind: str, dtype: Any, shape: tuple[int, ...]) -> None:
    x = elements(kind, shape, dtype)
    tensor = retrograd.from_numpy(x)
    for axis in range(len(shape)):
        for descending in (False, True):
            expected = stable(x, axis, descending)
            values, places = tensor.sort(axis, descending)
            np.testing.assert_array_equal(places, expected)
            np.testing.assert_array_equal(values, np.take_along_axis(x, expected, axis))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("kind", "dtype"), [case for case in CASES if case[1] is not np.bool_])
def test_what_is_selected_is_what_a_stable_sort_has_there(
    kind: str, dtype: Any, shape: tuple[int, ...]
) -> None:
    x = elements(kind, shape, dtype)
    tensor = retrograd.from_numpy(x)
    for axis, size in enumerate(shape):
        for descending in (False, True):
            expected = stable(x, axis, descending)
            for count in {0, min(3, size), min(64, size), size}:
                values, places = tensor.topk(count, axis, descending)
                part = expected.take(range(count), axis)
                np.testing.assert_array_equal(places, part)
                np.testing.assert_array_equal(values, np.take_along_axis(x, part, axis))
        for place in {0, size // 3, size - 1} if size else ():
            values, places = tensor.kthvalue(place + 1, axis)
            part = stable(x, axis, False).take([place], axis)
            np.testing.assert_array_equal(places, part.squeeze(axis))
            np.testing.assert_array_equal(values, np.take_along_axis(x, part, axis).squeeze(axis))


@pytest.mark.parametrize("name", ["median", "nanmedian"])
@pytest.mark.parametrize(("kind", "dtype"), [case for case in CASES if case[1] is not np.bool_])
def test_medians_are_those_of_pytorch(kind: str, dtype: Any, name: str, torch: ModuleType) -> None:
    for shape in [(5000,), (70, 81), (3, 40, 50), (4000, 2)]:
        x = elements(kind, shape, dtype)
        for given in (x, x.swapaxes(0, -1), x[::-1]):
            given = np.ascontiguousarray(given) if min(given.strides) < 0 else given
            ours, theirs = retrograd.from_numpy(given), torch.from_numpy(given)
            np.testing.assert_array_equal(getattr(ours, name)(), getattr(theirs, name)())
            for axis in range(len(shape)):
                found = getattr(ours, name)(axis)
                np.testing.assert_array_equal(found.values, getattr(theirs, name)(axis).values)
                chosen = np.take_along_axis(given, np.expand_dims(found.indices, axis), axis).squeeze(axis)
                np.testing.assert_array_equal(chosen, found.values)


def test_medians_of_lines_with_nan_here_and_there(torch: ModuleType) -> None:
    x = RANDOM.integers(0, 9, (200, 50)).astype(np.float32)
    for share in (0.01, 0.5, 0.98, 1.0):
        given = np.where(RANDOM.random(x.shape) < share, np.nan, x).astype(np.float32)
        for name in ("median", "nanmedian"):
            ours = getattr(retrograd.from_numpy(given), name)(1)
            np.testing.assert_array_equal(ours.values, getattr(torch.from_numpy(given), name)(1).values)


def test_views_are_ordered_as_their_copies() -> None:
    base = elements("few", (120, 130), np.float32)
    for view in (base.T, base[::2, ::3], np.broadcast_to(base[:1], base.shape), base[:, :100]):
        x = retrograd.from_numpy(base).t() if view.base is base and view is base.T else retrograd.tensor(view)
        np.testing.assert_array_equal(x.sort(0).indices, stable(np.asarray(x), 0, False))
    turned = retrograd.from_numpy(base).t()
    np.testing.assert_array_equal(turned.topk(4, 0).indices, stable(base.T, 0, True)[:4])
    np.testing.assert_array_equal(turned[::2].sort(1).indices, stable(base.T[::2], 1, False))
    assert turned.topk(4, 0).indices.is_contiguous()


def test_wide_keys_and_narrow_ones_agree() -> None:
    """Integers that leave no room for places are sorted without them."""
    x = elements("few", (100, 100), np.int64)
    wide = x.copy()
    wide[wide == 4] = 2**62
    wide[wide == 0] = -(2**62)
    for descending in (False, True):
        np.testing.assert_array_equal(keys.order(x, descending), keys.order(wide, descending))


def test_derivatives_of_large_selections(torch: ModuleType) -> None:
    x = elements("many", (60, 100), np.float64)
    for name, arguments in [("topk", (5, 1)), ("kthvalue", (30, 0)), ("median", (1,)), ("sort", (0,))]:
        ours = retrograd.tensor(x, requires_grad=True)
        theirs = torch.tensor(x, requires_grad=True)
        for tensor in (ours, theirs):
            getattr(tensor, name)(*arguments)[0].square().sum().backward()
        np.testing.assert_array_equal(ours.grad, theirs.grad)


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_compiled_selections_agree_with_eager_ones(dtype: Any) -> None:
    for kind in kinds_of(dtype):
        x = elements(kind, (70, 80), dtype)

        def selections(x: Any) -> Any:
            return *x.topk(3, 0), *x.kthvalue(7, 1), *x.median(1), *x.nanmedian(0), *x.topk(9, 1, False)

        given = retrograd.from_numpy(x)
        for ours, theirs in zip(retrograd.compile_grad(selections)(given), selections(given), strict=True):
            np.testing.assert_array_equal(ours, theirs)
