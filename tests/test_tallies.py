"""What is found in elements, against PyTorch: before there is a plan for a call, by it, and of many."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import retrograd

GENERATOR = np.random.default_rng(3)
NAN, INF = float("nan"), float("inf")
WHOLE = [
    np.array([0, 2, 1]), np.array([3, 3, 0, 3, 1, 0]), np.array([], np.int64), np.array([[1, 0], [1, 1]]),
    np.array([7], np.int32), np.array([2, 0, 2], np.int8), GENERATOR.integers(0, 9, 50),
    GENERATOR.integers(0, 40, 300), GENERATOR.integers(0, 9, (20, 2))[:, 0],
]  # fmt: skip
REAL = [
    np.float32([0.1, 0.2, 0.3]), np.float32([0.5, -1, 0.5, NAN, 2, NAN, -0.0, 0.0]), np.float32([]),
    np.array([[1.5, 1.5], [-2.0, 1.5]]), np.float32([INF, -INF, INF, 1]), np.float32(3.0),
    GENERATOR.normal(size=60).astype(np.float32), GENERATOR.normal(size=500).round(1),
    GENERATOR.normal(size=(9, 4)).astype(np.float32)[:, ::2],
]  # fmt: skip
FINITE = [x for x in REAL if np.isfinite(x).all()]


def _same(f: Callable[..., Any], *arrays: np.ndarray) -> None:
    """The same results thrice, of the same dtypes, or an error both times."""
    try:
        wanted = f(torch, *map(torch.from_numpy, map(np.asarray, arrays)))
    except (RuntimeError, IndexError):
        wanted = None
    for _ in range(3):
        given = [retrograd.from_numpy(np.asarray(x)) for x in arrays]
        if wanted is None:
            with pytest.raises(RuntimeError):
                f(retrograd, *given)
            continue
        found = f(retrograd, *given)
        pairs = [(found, wanted)] if not isinstance(wanted, tuple) else zip(found, wanted, strict=True)
        for ours, theirs in pairs:
            for one, other in (
                zip(ours, theirs, strict=True) if isinstance(theirs, tuple) else [(ours, theirs)]
            ):
                assert str(one.dtype).rpartition(".")[2] == str(other.dtype).rpartition(".")[2]
                np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=2e-6, atol=1e-7)


@pytest.mark.parametrize("x", [*WHOLE, *REAL], ids=lambda x: f"{x.dtype}{list(x.shape)}")
@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("counts", [False, True])
def test_distinct_elements(x: np.ndarray, inverse: bool, counts: bool) -> None:
    _same(lambda t, x: t.unique(x, return_inverse=inverse, return_counts=counts), x)
    _same(lambda t, x: t.unique_consecutive(x, return_inverse=inverse, return_counts=counts), x)


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("counts", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.int8])
def test_distinct_slices(dtype: type[np.generic], inverse: bool, counts: bool) -> None:
    for shape in ((6, 2), (2, 3, 5), (7,), (90, 2), (3, 1), (3, 0), (0, 0)):
        x = GENERATOR.integers(-1, 1, shape).astype(dtype)
        for dim in range(-1, len(shape)):
            for f in ("unique", "unique_consecutive"):
                _same(
                    lambda t, x, f=f, dim=dim: getattr(t, f)(
                        x, return_inverse=inverse, return_counts=counts, dim=dim
                    ),
                    x,
                )


@pytest.mark.parametrize("x", WHOLE, ids=lambda x: f"{x.dtype}{list(x.shape)}")
def test_numbers_are_counted_and_weighed(x: np.ndarray) -> None:
    for least in (0, 5):
        _same(lambda t, x, least=least: t.bincount(x, minlength=least), x)
        for weights in (np.float32, np.float64, np.int64):
            w = GENERATOR.normal(size=x.shape).astype(weights)
            _same(lambda t, x, w, least=least: t.bincount(x, w, least), x, w)


@pytest.mark.parametrize("x", [np.array([1, -1]), np.array([True]), np.float32([1.0])], ids=str)
def test_what_is_no_number_to_count_is_refused(x: np.ndarray) -> None:
    _same(lambda t, x: t.bincount(x), x)


@pytest.mark.parametrize("x", WHOLE[:8], ids=lambda x: f"{x.dtype}{list(x.shape)}")
def test_places_are_repeated(x: np.ndarray) -> None:
    _same(lambda t, x: t.repeat_interleave(x), x)
    _same(lambda t, x: t.arange(len(x)).repeat_interleave(x), x)


@pytest.mark.parametrize("repeats", ["[1, -1]", "[-1]", "-1", "[[3]]", "[[1, 2]]", "[True]", "[1.5, 1]", "4"])
def test_repeats_that_do_not_fit_are_told_of_as_in_pytorch(repeats: str) -> None:
    for call in ("t.repeat_interleave(n)", "t.arange(2).repeat_interleave(n)"):
        outcomes = []
        for t in (torch, retrograd):
            try:
                outcomes.append(eval(call, {"t": t, "n": t.tensor(eval(repeats))}).tolist())
            except RuntimeError as error:
                outcomes.append(str(error))
        assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("x", REAL, ids=lambda x: f"{x.dtype}{list(x.shape)}")
@pytest.mark.parametrize("ends", [(0, 0), (0, 1), (-0.7, 0.1), (2, 2), (1, 0), (0, INF)], ids=str)
def test_elements_in_bins_are_counted(x: np.ndarray, ends: tuple[float, float]) -> None:
    for bins in (1, 4, 9):
        _same(lambda t, x, bins=bins: t.histc(x, bins, *ends), x)


@pytest.mark.parametrize("x", REAL, ids=lambda x: f"{x.dtype}{list(x.shape)}")
@pytest.mark.parametrize("ends", [None, (0.0, 1.0), (-0.7, 0.1), (2.0, 2.0), (1.0, 0.0)], ids=str)
@pytest.mark.parametrize("density", [False, True])
def test_histograms(x: np.ndarray, ends: tuple[float, float] | None, density: bool) -> None:
    weights = np.abs(GENERATOR.normal(size=x.shape)).astype(x.dtype)
    for bins in (1, 4, 7):
        _same(lambda t, x, bins=bins: t.histogram(x, bins, range=ends, density=density), x)
        _same(
            lambda t, x, w, bins=bins: t.histogram(x, bins, range=ends, weight=w, density=density), x, weights
        )


@pytest.mark.parametrize("x", REAL, ids=lambda x: f"{x.dtype}{list(x.shape)}")
def test_histograms_between_edges(x: np.ndarray) -> None:
    for edges in ([-1.0, 0.1, 2.0], [0.0, 0.0, 1.0], [3.0, 1.0, 2.0], [1.0]):
        _same(lambda t, x, e: t.histogram(x, e), x, np.asarray(edges, x.dtype))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_tables_of_points(dtype: type[np.floating[Any]]) -> None:
    x = GENERATOR.normal(size=(5, 3, 2)).astype(dtype)
    w = GENERATOR.uniform(size=(5, 3)).astype(dtype)
    first, second = np.asarray([-2, 0, 0.5, 1], dtype), np.asarray([-1, 1], dtype)
    for density in (False, True):
        _same(lambda t, x, density=density: t.histogramdd(x, 3, density=density), x)
        _same(lambda t, x, w, density=density: t.histogramdd(x, [2, 3], None, w, density), x, w)
    _same(lambda t, x: t.histogramdd(x, [2, 3], [-1.0, 1.0, -2.0, 0.5]), x)
    _same(lambda t, x, *e: t.histogramdd(x, e), x, first, second)


def test_a_tally_of_what_is_tracked_is_refused_a_derivative() -> None:
    x = retrograd.tensor([1.0, 1.0, 2.0], requires_grad=True)
    for _ in range(3):
        values = x.unique()
        with pytest.raises(RuntimeError, match="the derivative for '_unique2' is not implemented"):
            values.sum().backward()


def test_a_tally_of_a_traced_tensor_is_an_error() -> None:
    @retrograd.compile_grad
    def f(x: Any) -> Any:
        return retrograd.histc(x, 4).sum()

    with warnings.catch_warnings(), pytest.raises(RuntimeError, match="elements are known only when"):
        f(retrograd.tensor([1.0, 2.0], requires_grad=True))
