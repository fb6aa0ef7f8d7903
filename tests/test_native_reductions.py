"""Reductions in the native language: the values of PyTorch and of float64, along lines and across them, at
sizes around those of vectors and blocks, and as accurate as sums by pairs."""

from __future__ import annotations

import itertools
import math
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import retrograd as rg

SIZES = [1, 7, 16, 63, 65, 127, 128, 129, 1023, 1025, 5000]
LONG = 1000003
MANY = 500009
FLOATS, INTS = ["float32", "float64"], ["int64", "int32", "int8"]
DIMS: list[Any] = [None, 0, 1, -1, (0, 1), (0, 2), (1, 2), (0, 1, 2)]
SINGLE = ["prod", "max", "min"]
"""Functions that take one dimension, or none."""
AXES = ["sum", "mean", "amax", "amin", "var", "std", "norm"]


@pytest.fixture(scope="module")
def torch() -> ModuleType:
    return pytest.importorskip("torch")


def normal(shape: tuple[int, ...], dtype: str = "float32", at: float = 0.0) -> Any:
    return (np.random.default_rng(3).standard_normal(shape) + at).astype(dtype)


def value(module: Any, name: str, x: Any, dim: Any) -> Any:
    if name == "norm":
        return module.linalg.vector_norm(x, dim=dim)
    found = getattr(module, name)(x) if dim is None else getattr(module, name)(x, dim)
    return found if hasattr(found, "shape") else found[0]


def same(ours: Any, theirs: Any, tight: bool) -> None:
    assert str(ours.numpy().dtype) == str(theirs.dtype).removeprefix("torch.")
    assert ours.is_contiguous()
    rtol, atol = (1e-12, 1e-12) if tight else (1e-4, 2e-5)
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=rtol, atol=atol)


# ---- values ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", [*AXES, *SINGLE])
@pytest.mark.parametrize("dim", DIMS)
def test_along_and_across_axes(torch: ModuleType, name: str, dim: Any, dtype: str) -> None:
    if isinstance(dim, tuple) and name in SINGLE:
        return
    for shape in [(3, 5, 7), (2, 65, 129), (17, 31, 64), (1, 128, 1), (40, 1, 67)]:
        if name in ("var", "std") and 1 in shape:  # of one element there is none
            continue
        array = normal(shape, dtype) * 0.05 + 1
        for _ in range(2):
            same(value(rg, name, rg.from_numpy(array), dim),
                 value(torch, name, torch.from_numpy(array), dim), dtype == "float64")  # fmt: skip


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("size", [*SIZES, LONG])
def test_sizes_around_vectors_and_blocks(size: int, dtype: str) -> None:
    array = normal((size,), dtype)
    x, wide = rg.from_numpy(array), array.astype(np.longdouble)
    tiny, scale = float(np.finfo(array.dtype).eps), float(np.abs(wide).sum())
    assert abs(x.sum().item() - float(wide.sum())) <= 8 * tiny * scale
    assert x.mean().item() == pytest.approx(float(wide.mean()), rel=0, abs=8 * tiny * scale / size)
    assert x.amax().item() == array.max()
    assert x.min().item() == array.min()
    assert rg.linalg.vector_norm(x).item() == pytest.approx(float(np.sqrt((wide**2).sum())), rel=8 * tiny)
    if size > 1:
        assert x.var().item() == pytest.approx(float(wide.var(ddof=1)), rel=16 * tiny)


@pytest.mark.parametrize(
    ("rows", "columns"), [(1, 129), (7, 63), (129, 65), (1025, 3), (33, 1000), (5000, 17)]
)
def test_matrices_of_awkward_sizes(rows: int, columns: int) -> None:
    array = normal((rows, columns), at=3.0)
    x, wide = rg.from_numpy(array), array.astype(np.float64)
    for axis in (0, 1):
        np.testing.assert_allclose(x.sum(axis).numpy(), wide.sum(axis), rtol=1e-6)
        np.testing.assert_allclose(x.mean(axis).numpy(), wide.mean(axis), rtol=1e-6)
        np.testing.assert_array_equal(x.amax(axis).numpy(), array.max(axis))
        np.testing.assert_allclose(
            rg.linalg.vector_norm(x, dim=axis).numpy(), np.sqrt((wide**2).sum(axis)), rtol=1e-6
        )
        if wide.shape[axis] > 1:
            np.testing.assert_allclose(x.var(axis).numpy(), wide.var(axis, ddof=1), rtol=2e-5)


@pytest.mark.parametrize("dtype", INTS)
@pytest.mark.parametrize("dim", [None, 0, 1])
def test_whole_numbers_wrap_around_as_theirs(torch: ModuleType, dtype: str, dim: Any) -> None:
    array = np.random.default_rng(1).integers(-100, 100, (129, 65)).astype(dtype)
    for name in ("sum", "prod", "max", "min"):
        ours = value(rg, name, rg.from_numpy(array), dim)
        theirs = value(torch, name, torch.from_numpy(array), dim)
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


@pytest.mark.parametrize("dim", [0, 1])
def test_truths(torch: ModuleType, dim: int) -> None:
    array = np.random.default_rng(1).random((300, 301)) < 0.003
    for name in ("any", "all", "amax", "amin"):
        ours = value(rg, name, rg.from_numpy(array), dim)
        np.testing.assert_array_equal(ours.numpy(), value(torch, name, torch.from_numpy(array), dim).numpy())


# ---- numbers that are none, zeros, nothing -----------------------------------------------------------------
@pytest.mark.parametrize("name", [*AXES, *SINGLE])
@pytest.mark.parametrize("special", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_shows_wherever_it_stands(torch: ModuleType, name: str, special: float) -> None:
    for place in (0, 17, 64, 128):
        array = normal((129, 129)) * 0.05 + 1
        array[place, 128 - place] = special
        for dim in (None, 0, 1):
            ours = value(rg, name, rg.from_numpy(array), dim)
            theirs = value(torch, name, torch.from_numpy(array), dim)
            np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=2e-5)


def test_infinities_of_both_signs_are_no_number() -> None:
    x = rg.zeros(5000)
    x[3], x[4000] = math.inf, -math.inf
    assert math.isnan(x.sum().item())


def test_sums_of_negative_zeros_keep_their_sign() -> None:
    x = rg.full((300, 70), -0.0)
    for found in (x.sum(), x.sum(0), x.sum(1)):
        assert bool(rg.signbit(found).all())


def test_of_nothing(torch: ModuleType) -> None:
    for shape in [(0,), (0, 5), (5, 0)]:
        x, y = rg.zeros(shape), torch.zeros(shape)
        for dim in (None, 0, -1):
            for name in ("sum", "mean", "prod"):
                np.testing.assert_array_equal(
                    value(rg, name, x, dim).numpy(), value(torch, name, y, dim).numpy()
                )


# ---- what lies otherwise -----------------------------------------------------------------------------------
@pytest.mark.parametrize("name", [*AXES, *SINGLE])
@pytest.mark.parametrize("dim", [None, 0, 1])
def test_arrays_that_do_not_lie_in_order(torch: ModuleType, name: str, dim: Any) -> None:
    for size in (20, 200):
        array = normal((size, size)) * 0.05 + 1
        x, y = rg.from_numpy(array), torch.from_numpy(array)
        for ours, theirs in [
            (x.t(), y.t()),
            (x[:, 1:], y[:, 1:]),
            (x[::2], y[::2]),
            (x.flip(0), y.flip(0)),
            (rg.from_numpy(array[::-1, ::-1]), torch.from_numpy(array[::-1, ::-1].copy())),
            (x[:1].expand(50, size), y[:1].expand(50, size)),
        ]:
            same(value(rg, name, ours, dim), value(torch, name, theirs, dim), False)


def test_equal_calls_give_equal_bits_on_any_number_of_threads() -> None:
    x, before = rg.from_numpy(normal((257, 515))), rg.get_num_threads()
    found = []
    try:
        for threads in (1, 2):
            rg.set_num_threads(threads)
            found += [[f.tolist() for f in (x.sum(), x.sum(0), x.var(1), x.mean(-1))] for _ in range(3)]
    finally:
        rg.set_num_threads(before)
    assert all(each == found[0] for each in found)


# ---- accuracy ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("dim", [0, 1])
@pytest.mark.parametrize("dtype", FLOATS)
def test_hard_sums_are_no_worse_than_by_pairs(dtype: str, dim: int) -> None:
    """All positive, all equal, of magnitudes apart, and such that nearly cancel: a sum one after the other is
    a thousand times farther off."""
    draw = np.random.default_rng(5)
    hard = [
        draw.random(MANY) + 1,
        np.full(MANY, 0.1),
        np.exp(draw.standard_normal(MANY) * 5),
        np.sin(np.arange(MANY)) * 1e3,
    ]
    for each in hard:
        array = each.astype(dtype)
        exact, scale = math.fsum(array.astype(float)), math.fsum(abs(array.astype(float)))
        x = rg.from_numpy(array).view(1, -1) if dim else rg.from_numpy(np.stack([array, array], 1))
        error = abs(x.sum(dim)[0].item() - exact)
        by_pairs = abs(float(np.add.reduce(array)) - exact)
        assert error <= max(by_pairs, 4 * np.finfo(dtype).eps * scale)


def test_the_variance_of_numbers_far_from_zero() -> None:
    array = normal((1000, 300), at=1000.0)
    for axis in (0, 1):
        expected = array.astype(np.float64).var(axis, ddof=1)
        np.testing.assert_allclose(rg.from_numpy(array).var(axis).numpy(), expected, rtol=1e-4)


# ---- places ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", [*FLOATS, *INTS])
@pytest.mark.parametrize("name", ["argmax", "argmin"])
def test_the_first_of_equal_ones_is_found(torch: ModuleType, name: str, dtype: str) -> None:
    draw = np.random.default_rng(2)
    for shape in [(1, 1), (7, 127), (128, 129), (65, 3), (5, 1000), (1, 100003)]:
        array = draw.integers(-9, 9, shape).astype(dtype)
        for dim in (None, 0, 1):
            ours, theirs = getattr(rg, name)(rg.from_numpy(array), dim), getattr(np, name)(array, dim)
            assert ours.dtype is rg.int64
            np.testing.assert_array_equal(ours.numpy(), theirs)
            if dim is not None:
                best = getattr(rg, name[3:])(rg.from_numpy(array), dim)
                theirs_best = getattr(torch, name[3:])(torch.from_numpy(array), dim)
                np.testing.assert_array_equal(best[0].numpy(), theirs_best[0].numpy())
                np.testing.assert_array_equal(best[1].numpy(), theirs)


@pytest.mark.parametrize("name", ["argmax", "argmin"])
def test_the_first_that_is_no_number_is_found(torch: ModuleType, name: str) -> None:
    array = np.full((130, 131), 2.0, np.float32)
    array[3, 5], array[3, 70], array[100, 70], array[7, 7], array[8, 8] = (
        math.nan,
        math.nan,
        math.nan,
        math.inf,
        -math.inf,
    )
    array[20], array[21], array[:, 30] = math.inf, -math.inf, math.nan
    for dim in (None, 0, 1):
        ours = getattr(rg, name)(rg.from_numpy(array), dim)
        theirs = getattr(torch, name)(torch.from_numpy(array), dim)
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


# ---- running -----------------------------------------------------------------------------------------------
RUNNING = ["cumsum", "cumprod", "cummax", "cummin"]


@pytest.mark.parametrize("dtype", [*FLOATS, "int64"])
@pytest.mark.parametrize("name", RUNNING)
@pytest.mark.parametrize("dim", [0, 1, 2])
def test_running_along_and_across_axes(torch: ModuleType, name: str, dim: int, dtype: str) -> None:
    for shape in [(3, 5, 7), (2, 65, 129), (17, 31, 64), (1, 128, 1), (7, 1, 1027)]:
        array = (normal(shape) * (0.05 if dtype != "int64" else 3) + 1).astype(dtype)
        for ours, theirs in [
            (rg.from_numpy(array), torch.from_numpy(array)),
            (rg.from_numpy(array).flip(dim), torch.from_numpy(array).flip(dim)),
            (rg.from_numpy(array)[..., ::2], torch.from_numpy(array)[..., ::2]),
        ]:
            found, expected = getattr(rg, name)(ours, dim), getattr(torch, name)(theirs, dim)
            if name in ("cummax", "cummin"):
                np.testing.assert_array_equal(found[1].numpy(), expected[1].numpy())
                found, expected = found[0], expected[0]
            same(found, expected, dtype != "float32")


@pytest.mark.parametrize("name", RUNNING)
@pytest.mark.parametrize("dim", [0, 1])
def test_what_is_no_number_stays_while_running(torch: ModuleType, name: str, dim: int) -> None:
    array = normal((70, 130)) * 0.05 + 1
    array[30, 60], array[31, 100], array[5, 5] = math.nan, math.inf, -math.inf
    found = getattr(rg, name)(rg.from_numpy(array), dim)
    expected = getattr(torch, name)(torch.from_numpy(array), dim)
    pairs = [(found, expected)] if name in ("cumsum", "cumprod") else [(found[0], expected[0])]
    for ours, theirs in pairs:
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-5)


def test_a_long_running_sum_is_that_of_float64() -> None:
    array = normal((LONG,), at=1.0)
    expected = np.cumsum(array.astype(np.float64))
    np.testing.assert_allclose(rg.from_numpy(array).cumsum(0).numpy(), expected, rtol=1e-6)
    np.testing.assert_allclose(rg.from_numpy(array).double().cumsum(0).numpy(), expected, rtol=1e-13)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(0, 4, 5), (3, 4, 5), (40, 30, 50), (90, 120, 101)], ids=str)
@pytest.mark.parametrize("made", [
    "x.sum({})", "x.mean({})", "x.prod({})", "x.var({})", "x.std({}, keepdim=True)", "x.amax({})",
    "x.argmin({})", "(x > 0).all({})", "(x > 2).any({})", "t.linalg.vector_norm(x, dim={})",
    "x.max({})[0]",
])  # fmt: skip
def test_axes_that_lie_in_another_order(
    torch: Any, made: str, shape: tuple[int, ...], dtype: type[np.floating]
) -> None:
    if 0 in shape and ("var" in made or "std" in made):
        pytest.skip("that of nothing warns")
    numbers = np.random.default_rng(0).uniform(0.9, 1.1, shape).astype(dtype)
    numbers.flat[:1] = np.nan
    several = [(0, 1), (0, 2), (0, 1, 2)] if not any(one in made for one in ("prod", "arg", "max(")) else []
    for order, axes in itertools.product(itertools.permutations(range(3)), [0, 1, 2, *several]):
        code = made.format(axes)
        try:
            wanted = eval(code, {"t": torch, "x": torch.from_numpy(numbers).permute(order)})
        except (RuntimeError, IndexError):
            continue  # of nothing
        for _ in range(2):
            found = eval(code, {"t": rg, "x": rg.from_numpy(numbers).permute(order)})
            assert found.stride() == wanted.stride() or not found.numel()
            np.testing.assert_allclose(
                found.numpy(), wanted.numpy(), rtol=2e-4 if dtype is np.float32 else 1e-11
            )
