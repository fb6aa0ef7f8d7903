"""Factors of symmetric matrices, by kernels, by NumPy's LAPACK and in NumPy, against PyTorch.

In flow symmetric matrices of many shapes, whose upper triangles hold NaN: they are not read.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest

import retrograd
from retrograd import linalg
from retrograd.compiler.errors import LinearAlgebraError

SHAPES = [(1, 1), (2, 2), (3, 3), (2, 3, 7, 7), (90, 90), (400, 5, 5), (0, 0), (2, 0, 0), (0, 3, 3)]
DTYPES = [np.float32, np.float64]
pytestmark = pytest.mark.usefixtures("each_way_to_factor")


def symmetric(shape: tuple[int, ...], dtype: type[np.floating[Any]], kind: str = "") -> Any:
    rng, n = np.random.default_rng(0), shape[-1]
    a = rng.standard_normal(shape)
    if kind == "zeros":  # on the diagonal: blocks of two
        a[..., np.arange(n), np.arange(n)] = 0
    if kind == "equal":
        a = np.round(2 * a)
    return np.where(np.tri(n, dtype=bool), a, np.nan).astype(dtype)


def blur(n: int, dtype: type[np.floating[Any]]) -> float:
    """What rounding in another order leaves in factors of n rows, and in solutions."""
    return 16 * max(n, 1) * float(np.finfo(dtype).eps)


def factors_of(torch: ModuleType, a: Any) -> Any:
    return linalg.ldl_factor_ex(retrograd.from_numpy(a)), torch.linalg.ldl_factor_ex(torch.from_numpy(a))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", ["", "zeros", "equal"])
def test_factors_and_pivots_are_pytorchs(
    kind: str, shape: tuple[int, ...], dtype: type[np.floating[Any]], torch: ModuleType
) -> None:
    a = symmetric(shape, dtype, kind)
    if kind == "equal" and shape[-1] > 3:
        pytest.skip("what rounding leaves of equal elements differs")
    near = blur(shape[-1], dtype)
    for given in (a, np.asarray(a, order="F")):
        ours, theirs = factors_of(torch, given)
        np.testing.assert_array_equal(ours.pivots, theirs.pivots)
        np.testing.assert_array_equal(ours.info, theirs.info)
        np.testing.assert_allclose(ours.LD, theirs.LD, rtol=near, atol=near)
        assert [x.numpy().dtype for x in ours] == [dtype, np.int32, np.int32]
        assert [x.shape for x in ours] == [tuple(x.shape) for x in theirs]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["", "zeros"])
@pytest.mark.parametrize("n", [2, 3, 5])
def test_a_nan_is_where_it_is_in_pytorch(
    n: int, kind: str, dtype: type[np.floating[Any]], torch: ModuleType
) -> None:
    a = np.tile(symmetric((n, n), dtype, kind), (n * n, 1, 1))
    a[range(n * n), np.arange(n * n) // n, np.arange(n * n) % n] = np.nan
    near = blur(n, dtype)
    for ours, theirs in zip(*factors_of(torch, a), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=near, atol=near)


def test_singular_matrices_are_told_of(torch: ModuleType) -> None:
    a = np.stack([np.eye(3), np.diag([1.0, 0, 2]), np.zeros((3, 3)), np.ones((3, 3))])
    for ours, theirs in zip(*factors_of(torch, a), strict=True):
        np.testing.assert_allclose(ours, theirs)
    x = retrograd.from_numpy(a)
    for _ in range(3):
        for factor in (linalg.ldl_factor, lambda x: linalg.ldl_factor_ex(x, check_errors=True)):
            with pytest.raises(LinearAlgebraError, match=r"Batch element 1.* row 2 is zero"):
                factor(x)
    compiled = retrograd.compile(lambda x: linalg.ldl_factor(x)[0] * 2)
    np.testing.assert_allclose(compiled(x[0]), 2 * np.eye(3))
    with pytest.raises(LinearAlgebraError, match="row 2 is zero"):
        compiled(x[1])


# ---- equations ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["", "zeros"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("columns", [0, 1, 3])
def test_solutions_are_pytorchs(
    columns: int, shape: tuple[int, ...], kind: str, dtype: type[np.floating[Any]], torch: ModuleType
) -> None:
    n = shape[-1]
    if n == 1 and kind:
        pytest.skip("singular")
    a = symmetric(shape, np.float64, kind) + 0.1 * np.eye(n) * (n % 2)
    b = np.random.default_rng(1).standard_normal((*shape[:-1], columns))
    packed, pivots = torch.linalg.ldl_factor(torch.from_numpy(a))
    expected = torch.linalg.ldl_solve(packed, pivots, torch.from_numpy(b))
    factors = retrograd.from_numpy(packed.numpy().astype(dtype))
    right, exchanges = retrograd.from_numpy(b.astype(dtype)), retrograd.from_numpy(pivots.numpy())
    for rows in (exchanges, exchanges.long()):
        found = linalg.ldl_solve(factors, rows, right)
        assert (found.shape, found.numpy().dtype) == (tuple(expected.shape), dtype)
        greatest = max(1.0, np.abs(expected.numpy()).max(initial=0))
        np.testing.assert_allclose(found, expected, rtol=0, atol=blur(n, dtype) * greatest)


def test_what_is_singular_has_pytorchs_infinities(torch: ModuleType) -> None:
    found = [
        t.linalg.ldl_solve(t.zeros(3, 3), t.tensor([1, 2, 3], dtype=t.int32), t.ones(3, 2)).numpy()
        for t in (retrograd, torch)
    ]
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("pivots", [[1, 9, 3], [0, 2, 3], [1, 2, -3], [-2, -3, 1]])
@pytest.mark.parametrize("batch", [(), (2,), (4000,)])
def test_pivots_are_rows(batch: tuple[int, ...], pivots: list[int]) -> None:
    exchanges = retrograd.tensor(pivots, dtype=retrograd.int32).expand(*batch, 3)
    for _ in range(3):
        with pytest.raises(LinearAlgebraError, match="rows, counted from 1 to 3, or two equal ones below 0"):
            linalg.ldl_solve(retrograd.eye(3).expand(*batch, 3, 3), exchanges, retrograd.ones(*batch, 3, 2))


def test_the_first_call_later_ones_and_compiled_code_agree_to_the_bit() -> None:
    for shape in ((3, 3), (2, 5, 5), (300, 4, 4)):
        a, b = symmetric(shape, np.float64, "zeros"), np.ones((*shape[:-1], 2))

        def program(a: Any, b: Any) -> Any:
            packed, pivots = linalg.ldl_factor(a)
            return packed, pivots, linalg.ldl_solve(packed, pivots, b)

        operands = retrograd.from_numpy(a), retrograd.from_numpy(b)
        expected = program(*operands)
        for found in (program(*operands), program(*operands), retrograd.compile(program)(*operands)):
            for one, other in zip(found, expected, strict=True):
                np.testing.assert_array_equal(one, other)
