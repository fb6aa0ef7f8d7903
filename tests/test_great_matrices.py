"""Linear algebra of matrices that small kernels do not take, beside PyTorch's: batches, ways to lie in
memory, ranks that are not full, NaN, and derivatives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import retrograd
from retrograd.compiler.errors import LinearAlgebraError
from retrograd.compiler.ops import routines

Case = Callable[..., Any]
DTYPES = [np.float32, np.float64]
BATCHES = [(), (3,), (2, 0), (2, 2)]


def random(*shape: int, dtype: Any, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def agree(
    case: Case, torch: ModuleType, arrays: Sequence[np.ndarray], gradients: bool = True, digits: int = 4
) -> None:
    """Both libraries give the same values and gradients, however the operands lie; `digits` of float32."""
    tolerance = 10.0**-digits if arrays[0].dtype == np.float32 else 1e-10
    for turned in (False, True):
        found = []
        for t in (retrograd, torch):
            tensors = [t.tensor(x, requires_grad=gradients) for x in arrays]
            lying = [x.mT.contiguous().mT if turned and x.ndim > 1 else x for x in tensors]
            results = case(t, *lying)
            values = list(results) if isinstance(results, list | tuple) else [results]
            if gradients:
                torch_like = [t.tensor(random(*x.shape, dtype=arrays[0].dtype, seed=1)) for x in values]
                sum((x * y).sum() for x, y in zip(values, torch_like)).backward()
                values += [t.zeros_like(x) if x.grad is None else x.grad for x in tensors]
            found.append([np.asarray(x.detach().numpy()) for x in values])
        for ours, theirs in zip(*found, strict=True):
            scale = np.nanmax(np.abs(theirs), initial=1e-30)
            assert ours.dtype == theirs.dtype
            np.testing.assert_allclose(ours / scale, theirs / scale, rtol=0, atol=tolerance)


@pytest.fixture(params=["LAPACK", "without it"])
def either(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """LAPACK's own routines, and what stands for them where there are none."""
    if request.param != "LAPACK":
        monkeypatch.setattr(routines, "LAPACK", None)


# ---- exponentials ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0.01, 0.5, 3.0, 20.0])
@pytest.mark.parametrize("n", [1, 5, 33, 100])
def test_exponentials_are_right_to_the_last_digits(n: int, size: float, torch: ModuleType) -> None:
    a = random(n, n, dtype=np.float32) * np.float32(size / n**0.5)
    expected = torch.matrix_exp(torch.tensor(a.astype(np.float64))).numpy()
    scale = np.abs(expected).max()
    found, theirs = (t.matrix_exp(t.tensor(a)).numpy() for t in (retrograd, torch))
    worst = np.abs(theirs - expected).max() / scale
    assert found.dtype == np.float32
    np.testing.assert_allclose(found / scale, expected / scale, rtol=0, atol=max(1e-6, 2 * worst))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch", BATCHES)
def test_exponentials_and_their_derivatives_are_pytorchs(
    batch: tuple[int, ...], dtype: Any, torch: ModuleType
) -> None:
    a = random(*batch, 40, 40, dtype=dtype) * dtype(0.2)
    a[..., :1, :] *= 4
    agree(lambda t, a: t.matrix_exp(a), torch, [a])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_matrix_with_what_is_no_number_has_no_exponential(bad: float, torch: ModuleType) -> None:
    a = np.stack([np.eye(40, dtype=np.float32)] * 3)
    a[0, 1, 2], a[1] = bad, a[1] * 9
    agree(lambda t, a: t.matrix_exp(a), torch, [a], gradients=False)


# ---- least squares -----------------------------------------------------------------------------------------

SHAPES = [(3, 3, 2), (1, 1, 1), (8, 5, 3), (5, 8, 3), (70, 40, 5), (40, 70, 5)]


@pytest.mark.usefixtures("either")
@pytest.mark.parametrize("driver", [None, "gels", "gelsy", "gelsd"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch", BATCHES)
def test_least_squares_are_pytorchs(
    batch: tuple[int, ...], dtype: Any, driver: str | None, torch: ModuleType
) -> None:
    for m, n, k in SHAPES:
        arrays = random(*batch, m, n, dtype=dtype), random(*batch, m, k, dtype=dtype, seed=2)
        agree(lambda t, a, b: t.linalg.lstsq(a, b, driver=driver)[0], torch, arrays, digits=2)
        agree(lambda t, a, b: t.linalg.lstsq(a, b, driver=driver), torch, arrays, False, digits=3)


@pytest.mark.usefixtures("either")
@pytest.mark.parametrize("driver", ["gelsy", "gelsd"])
def test_of_matrices_of_lesser_rank_the_least_solution_is_taken(driver: str) -> None:
    """As NumPy does; of PyTorch's gelsy some columns stay in front, and then its ranks are too low."""
    for m, n in ((5, 3), (3, 5), (40, 30)):
        a, b = random(m, n, dtype=np.float64), random(m, 2, dtype=np.float64, seed=2)
        a[:, -1] = a[:, 0]
        found = retrograd.linalg.lstsq(retrograd.tensor(a), retrograd.tensor(b), driver=driver)
        expected, _, rank, _ = np.linalg.lstsq(a, b, rcond=None)
        np.testing.assert_allclose(found.solution, expected, atol=1e-12)
        assert int(found.rank) == rank


def test_a_matrix_that_must_have_full_rank_is_refused_without(torch: ModuleType) -> None:
    a, b = random(2, 5, 3, dtype=np.float32), random(2, 5, 1, dtype=np.float32)
    a[1, :, 1] = 0
    for part in (slice(None), 1):
        with pytest.raises(RuntimeError) as theirs:
            torch.linalg.lstsq(torch.tensor(a[part]), torch.tensor(b[part]), driver="gels")
        with pytest.raises(LinearAlgebraError) as ours:
            retrograd.linalg.lstsq(retrograd.tensor(a[part]), retrograd.tensor(b[part]), driver="gels")
        assert str(ours.value) == str(theirs.value)


# ---- reflectors --------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("either")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch", BATCHES)
def test_products_of_reflectors_are_pytorchs(batch: tuple[int, ...], dtype: Any, torch: ModuleType) -> None:
    for m, n, k in ((3, 3, 2), (1, 1, 1), (40, 40, 30), (70, 40, 40), (6, 6, 6)):
        a, tau = random(*batch, m, n, dtype=dtype) / dtype(m) ** 0.5, random(*batch, k, dtype=dtype)
        agree(lambda t, a, tau: t.linalg.householder_product(a, tau), torch, [a, tau])
        x = random(*batch, m, 5, dtype=dtype)
        for way in ((True, False), (True, True), (False, False), (False, True)) if k == n else ():
            agree(partial(_multiplied, way), torch, [a, tau, x])


def _multiplied(way: tuple[bool, bool], t: Any, a: Any, tau: Any, x: Any) -> Any:
    return t.ormqr(a, tau, x if way[0] else x.mT, *way)


def test_great_reflectors_run_in_compiled_functions() -> None:
    a, x = retrograd.tensor(random(200, 200, dtype=np.float32)), retrograd.randn(200, 200)
    packed, tau = retrograd.geqrf(a)
    np.testing.assert_allclose(
        retrograd.compile_grad(retrograd.ormqr)(packed, tau, x), retrograd.ormqr(packed, tau, x), atol=1e-4
    )


# ---- triangles ---------------------------------------------------------------------------------------------

RIGHT_SIDES = [(33, 1), (34, 2), (40, 3), (70, 33), (101, 64), (131, 31)]
WAYS = [(upper, unit) for upper in (False, True) for unit in (False, True)]


@pytest.fixture(params=["kernels", "BLAS", "NumPy"])
def solvers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The native kernel, BLAS' routine, and what stands for it where there is none."""
    if request.param != "kernels":
        request.getfixturevalue("without_small_kernels")
    if request.param == "NumPy":
        monkeypatch.setattr(routines, "LAPACK", None)


def triangles(*shape: int, dtype: Any) -> np.ndarray:
    """Well-conditioned ones, with the rest of a matrix beside them."""
    n = shape[-1]
    return (random(*shape, dtype=dtype) / n + 2 * np.eye(n)).astype(dtype)


@pytest.mark.usefixtures("solvers")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch", BATCHES)
def test_triangles_are_solved_as_by_pytorch(batch: tuple[int, ...], dtype: Any, torch: ModuleType) -> None:
    for n, k in RIGHT_SIDES:
        a, b = triangles(*batch, n, n, dtype=dtype), random(*batch, n, k, dtype=dtype)
        for upper, unit in WAYS:
            agree(partial(_substituted, upper, unit, True), torch, [a, b])
            agree(partial(_substituted, upper, unit, False), torch, [a, b.swapaxes(-1, -2).copy()])


def _substituted(upper: bool, unit: bool, left: bool, t: Any, a: Any, b: Any) -> Any:
    return t.linalg.solve_triangular(a, b, upper=upper, left=left, unitriangular=unit)


@pytest.mark.usefixtures("solvers")
def test_triangles_and_right_sides_broadcast(torch: ModuleType) -> None:
    a, b = triangles(40, 40, dtype=np.float64), random(2, 3, 40, 5, dtype=np.float64)
    agree(partial(_substituted, True, False, True), torch, [a, b])
    agree(
        partial(_substituted, False, False, True), torch, [triangles(2, 1, 40, 40, dtype=np.float64), b[:1]]
    )


@pytest.mark.usefixtures("solvers")
@pytest.mark.parametrize("bad", [0.0, np.nan, np.inf])
@pytest.mark.parametrize("k", [1, 5])
def test_what_divides_by_zero_or_is_no_number_goes_on_row_by_row(k: int, bad: float) -> None:
    a, b = triangles(40, 40, dtype=np.float64), random(40, k, dtype=np.float64)
    a[17, 17] = bad
    for upper in (False, True):
        found = retrograd.linalg.solve_triangular(retrograd.tensor(a), retrograd.tensor(b), upper=upper)
        expected, order = np.zeros_like(b), range(39, -1, -1) if upper else range(40)
        with np.errstate(all="ignore"):
            for step, row in enumerate(order):
                known = list(order)[:step]
                expected[row] = (b[row] - a[row, known] @ expected[known]) / a[row, row]
        whole = np.isfinite(expected)
        np.testing.assert_array_equal(np.isfinite(found.numpy()), whole)
        np.testing.assert_allclose(found.numpy()[whole], expected[whole], rtol=1e-10)


@pytest.mark.usefixtures("solvers")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch", BATCHES)
def test_factors_solve_as_in_pytorch(batch: tuple[int, ...], dtype: Any, torch: ModuleType) -> None:
    for n, k in ((3, 2), (40, 1), (70, 33)):
        a, b = triangles(*batch, n, n, dtype=dtype), random(*batch, n, k, dtype=dtype)
        a = a[..., np.random.default_rng(3).permutation(n), :]
        for left, adjoint in WAYS:
            c = b if left else b.swapaxes(-1, -2).copy()
            agree(partial(_by_factors, left, adjoint), torch, [a, c])
        agree(
            lambda t, a, b: t.cholesky_solve(b, a.tril()), torch, [np.tril(a) + 9 * np.eye(n, dtype=dtype), b]
        )
        lower = np.tril(a) + 9 * np.eye(n, dtype=dtype)
        agree(lambda t, a: t.cholesky_inverse(a.tril()), torch, [lower])


def _by_factors(left: bool, adjoint: bool, t: Any, a: Any, b: Any) -> Any:
    return t.linalg.lu_solve(*t.linalg.lu_factor(a), b, left=left, adjoint=adjoint)


@pytest.mark.usefixtures("solvers")
@pytest.mark.parametrize(("n", "pivot"), [(3, 9), (40, 99), (3, 0), (40, -1)])
def test_rows_that_are_not_there_are_refused(n: int, pivot: int, torch: ModuleType) -> None:
    told = []
    for t in (retrograd, torch):
        pivots = t.full((n,), pivot, dtype=t.int32)
        with pytest.raises(RuntimeError) as error:
            t.linalg.lu_solve(t.eye(n), pivots, t.ones(n, 1))
        told.append(str(error.value))
    assert told[0] == told[1]


def test_a_stack_of_many_small_triangles_is_solved(torch: ModuleType) -> None:
    a, b = triangles(9000, 8, 8, dtype=np.float32), random(9000, 8, 2, dtype=np.float32)
    agree(partial(_substituted, True, False, True), torch, [a, b], gradients=False)


def test_great_triangles_run_in_compiled_functions() -> None:
    a, b = (
        retrograd.tensor(x) for x in (triangles(200, 200, dtype=np.float64), random(200, 3, dtype=np.float64))
    )
    solved = retrograd.compile_grad(lambda a, b: retrograd.linalg.lu_solve(*retrograd.linalg.lu_factor(a), b))
    np.testing.assert_allclose(solved(a, b), retrograd.linalg.solve(a, b), atol=1e-12)
