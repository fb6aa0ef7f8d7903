"""Elimination with row exchanges, by kernels, by NumPy's LAPACK and in NumPy, against PyTorch."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest

import retrograd
from retrograd import linalg
from retrograd.compiler.errors import LinearAlgebraError
from retrograd.compiler.ops import routines

SHAPES = [(3, 3), (5, 2), (2, 5), (4, 3, 2), (2, 0, 3, 3), (0, 3), (3, 0), (2, 0, 0), (1, 1), (2, 3, 70, 90)]
DTYPES = [np.float32, np.float64]
pytestmark = pytest.mark.usefixtures("each_way_to_factor")


def stack(shape: tuple[int, ...], dtype: type[np.floating]) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)


def test_the_lapack_of_this_numpy_is_found() -> None:
    assert routines.found() is not None


def test_a_library_without_lapack_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(np.linalg._umath_linalg, "__file__", "no library")
    assert routines.found() is None


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_factors_and_pivots_are_pytorchs(
    shape: tuple[int, ...], dtype: type[np.floating], torch: ModuleType
) -> None:
    for a in (stack(shape, dtype), stack((*shape[:-2], *shape[:-3:-1]), dtype).swapaxes(-1, -2)):
        before, blur = a.copy(), 32 * max(1, *shape[-2:]) * float(np.finfo(dtype).eps)
        ours, theirs = (
            linalg.lu_factor_ex(retrograd.from_numpy(a)),
            torch.linalg.lu_factor_ex(torch.tensor(a)),
        )
        np.testing.assert_allclose(ours.LU, theirs.LU, rtol=blur, atol=blur)
        np.testing.assert_array_equal(ours.pivots, theirs.pivots)
        np.testing.assert_array_equal(ours.info, theirs.info)
        assert [x.numpy().dtype for x in ours] == [dtype, np.int32, np.int32]
        p, lower, upper = linalg.lu(retrograd.from_numpy(a))
        np.testing.assert_array_equal(p, torch.linalg.lu(torch.tensor(a)).P)
        np.testing.assert_allclose(p.numpy() @ lower.numpy() @ upper.numpy(), a, atol=blur)
        np.testing.assert_array_equal(a, before)


def test_many_steps_are_those_of_pytorch(torch: ModuleType) -> None:
    a = stack((400, 300), np.float64)
    ours, theirs = linalg.lu_factor(retrograd.from_numpy(a)), torch.linalg.lu_factor(torch.from_numpy(a))
    np.testing.assert_allclose(ours.LU, theirs.LU, rtol=1e-11, atol=1e-11)
    np.testing.assert_array_equal(ours.pivots, theirs.pivots)


def test_of_equal_magnitudes_the_first_is_the_pivot(torch: ModuleType) -> None:
    a = np.array([[1.0, 2, 3], [-2, 1, 5], [2, 7, 1]])
    ours, theirs = linalg.lu_factor(retrograd.from_numpy(a)), torch.linalg.lu_factor(torch.from_numpy(a))
    assert ours.pivots.tolist() == theirs.pivots.tolist() == [2, 3, 3]


@pytest.mark.parametrize("dtype", DTYPES)
def test_singular_matrices_are_told_of_as_pytorch_does(dtype: type[np.floating], torch: ModuleType) -> None:
    a = np.stack([np.eye(3), np.diag([1.0, 0, 2]), np.zeros((3, 3)), [[1, 2, 3], [2, 4, 6], [1, 1, 1]]])
    a = a.astype(dtype)
    found = linalg.lu_factor_ex(retrograd.from_numpy(a))
    expected = torch.linalg.lu_factor_ex(torch.from_numpy(a))
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs)
    for given in (a, a[1], a.reshape(2, 2, 3, 3)):
        for name in ("lu_factor", "lu_factor_ex"):
            more = {"check_errors": True} if name == "lu_factor_ex" else {}
            with pytest.raises(RuntimeError) as error:
                getattr(torch.linalg, name)(torch.from_numpy(given), **more)
            with pytest.raises(LinearAlgebraError) as raised:
                getattr(linalg, name)(retrograd.from_numpy(given), **more)
            assert str(raised.value) == str(error.value)


@pytest.mark.parametrize("place", [(0, 0), (1, 1), (2, 0), (2, 2)])
@pytest.mark.parametrize("odd", [float("nan"), float("inf")])
def test_what_is_no_number_is_no_error(odd: float, place: tuple[int, int], torch: ModuleType) -> None:
    a = stack((3, 3), np.float64)
    a[place] = odd
    ours, theirs = (
        linalg.lu_factor_ex(retrograd.from_numpy(a)),
        torch.linalg.lu_factor_ex(torch.from_numpy(a)),
    )
    assert ours.info.item() == theirs.info.item() == 0
    assert not ours.LU.isfinite().all()
    assert all(k + 1 <= pivot <= 3 for k, pivot in enumerate(ours.pivots.tolist()))
    whole = linalg.lu_factor_ex(retrograd.full((2, 40, 40), float("nan")))
    assert whole.LU.isnan().all()
    assert whole.pivots.min() >= 1
    assert whole.pivots.max() <= 40


@pytest.mark.parametrize("shape", [(4, 4), (5, 3), (3, 5), (2, 3, 3)])
def test_derivatives_are_pytorchs(shape: tuple[int, ...], torch: ModuleType) -> None:
    a, gradients = stack(shape, np.float64), []
    for t in (retrograd, torch):
        x = t.tensor(a, requires_grad=True)
        p, lower, upper = t.linalg.lu(x)
        assert not p.requires_grad
        packed, pivots = t.linalg.lu_factor(x)
        assert not pivots.requires_grad
        ((lower**2).sum() + upper.sin().sum() + packed.cos().sum()).backward()
        gradients.append(x.grad.numpy())
    np.testing.assert_allclose(*gradients, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("pivots", [[1, 9, 3], [0, 2, 3], [-1, 2, 3]])
def test_pivots_are_rows(pivots: list[int], torch: ModuleType) -> None:
    errors = []
    for t in (torch, retrograd):
        with pytest.raises(RuntimeError) as caught:
            t.lu_unpack(t.eye(3), t.tensor(pivots, dtype=t.int32))
        errors.append(str(caught.value))
    assert errors[1] == errors[0]


def test_compiled_code_tells_of_singular_matrices() -> None:
    factor = retrograd.compile(lambda x: linalg.lu_factor(x)[0] * 2)
    np.testing.assert_allclose(factor(retrograd.eye(3)), 2 * np.eye(3))
    with pytest.raises(LinearAlgebraError, match=r"U\[2,2\] is zero"):
        factor(retrograd.diag(retrograd.tensor([1.0, 0, 3])))
