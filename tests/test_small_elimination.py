"""Linear algebra of small matrices by kernels, one and in stacks: against NumPy's evaluation and PyTorch.

In flow ops and arrays of many shapes and layouts; the native function must exist and agree. A further op is a
row of `OPS`.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest

import retrograd
from retrograd import linalg
from retrograd.compiler import dtypes
from retrograd.compiler.errors import LinearAlgebraError
from retrograd.compiler.ir.graph import Op, Type
from retrograd.compiler.ops.cholesky import Cholesky
from retrograd.compiler.ops.factor import Complement, Qr
from retrograd.compiler.ops.lapack import Cofactors, Det, Inverse, LogAbsDet, SignOfDet, Solve
from retrograd.compiler.ops.ldl import Ldl
from retrograd.compiler.ops.lu import FromPivots, Lu
from retrograd.compiler.ops.pivoted import Info, Pivots
from retrograd.compiler.ops.reflectors import RawQr
from retrograd.compiler.ops.substitution import SolveTriangular
from retrograd.runtime.native.small import program

pytestmark = pytest.mark.skipif(not program.available(), reason="objects are laid out in another way")

DTYPES = [np.float32, np.float64]
BATCHES: list[tuple[int, ...]] = [(), (2, 3), (700,)]
OPS: list[tuple[Op, bool]] = [
    *[(op, False) for op in (Lu(), Ldl(), Inverse(), Det(), Cofactors(), SignOfDet(), LogAbsDet())],
    *[(op, False) for op in (RawQr(), Qr(), Qr(complete=True))],
    *[(SolveTriangular(upper, unit), True) for upper in (False, True) for unit in (False, True)],
    (Solve(), True),
]
"""Ops of square matrices, and whether there is a right-hand side."""


def normals(shape: tuple[int, ...], dtype: type[np.floating[Any]]) -> Any:
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)


def native_of(op: Op, *arrays: Any) -> Any:
    found = program.value_of(op, tuple([Type(a.shape, dtypes.of(a)) for a in arrays]))
    assert found is not None
    return found


def near(found: Any, expected: Any, size: int) -> None:
    found, expected = np.asarray(found), np.asarray(expected)
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    blur = 0 if expected.dtype.kind == "i" else 16 * size * float(np.finfo(expected.dtype).eps)
    np.testing.assert_allclose(found, expected, rtol=blur, atol=blur)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("size", [1, 2, 3, 7, 16, 30])
@pytest.mark.parametrize("case", OPS, ids=lambda case: repr(case[0]))
def test_kernels_do_what_numpy_does(
    case: tuple[Op, bool], size: int, batch: tuple[int, ...], dtype: type[np.floating[Any]]
) -> None:
    op, has_right = case
    a = normals((*batch, size, size), dtype) / (2 * size) + np.eye(size, dtype=dtype)
    arrays = [a if isinstance(op, SolveTriangular) else a[..., ::-1, :].copy()]
    arrays += [normals((*batch, size, 5), dtype)] * has_right
    native, expected = native_of(op, *arrays), op.evaluate(*arrays)
    near(native(*arrays), expected, size)
    near(native(*[np.asarray(x, order="F") for x in arrays]), expected, size)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "shape", [(3, 3), (5, 2), (2, 5), (4, 3, 2), (17, 30), (30, 17), (900, 4, 3), (43, 44)]
)
def test_factors_pivots_and_their_order(shape: tuple[int, ...], dtype: type[np.floating[Any]]) -> None:
    a = normals(shape, dtype)
    op = Lu()
    packed = op.evaluate(a)
    near(native_of(op, a)(a), packed, max(shape[-2:]))
    pivots = Pivots().evaluate(packed)
    np.testing.assert_array_equal(native_of(Pivots(), packed)(packed), pivots)
    order = FromPivots(shape[-2], dtypes.dtype(np.dtype(dtype)))
    np.testing.assert_array_equal(native_of(order, pivots)(pivots), order.evaluate(pivots))


@pytest.mark.parametrize("dtype", DTYPES)
def test_of_equal_magnitudes_the_first_is_the_pivot(dtype: type[np.floating[Any]], torch: ModuleType) -> None:
    """Whole numbers up to 2 have many of them, of which elimination leaves many exactly equal."""
    a = np.random.default_rng(1).integers(-2, 3, (2000, 3, 3)).astype(dtype)
    ours = linalg.lu_factor_ex(retrograd.from_numpy(a))
    theirs = torch.linalg.lu_factor_ex(torch.from_numpy(a))
    np.testing.assert_array_equal(ours.pivots, theirs.pivots)
    differ = ours.info.numpy() != theirs.info.numpy()
    determinants = np.einsum("ni, ni -> n", a[:, 0], np.cross(a[:, 1], a[:, 2]))
    assert not determinants[differ].any()  # whether rounding leaves a zero is up to the processor
    assert (np.abs(ours.LU.numpy()[differ, 2, 2]) < 4 * np.finfo(dtype).eps).all()


@pytest.mark.parametrize("name", ["lu_factor", "inv", "solve"])
@pytest.mark.parametrize("count", [2, 1000])
def test_the_first_singular_matrix_of_a_stack_is_told(name: str, count: int, torch: ModuleType) -> None:
    a = np.tile(np.eye(3), (count, 1, 1))
    a[count - 2, 1, 1] = 0
    errors = []
    for lib in (torch, retrograd):
        x = lib.from_numpy(a)
        with pytest.raises(RuntimeError) as caught:
            getattr(lib.linalg, name)(*[x] * (1 + (name == "solve")))
        errors.append(str(caught.value))
    assert errors[1] == errors[0]


@pytest.mark.parametrize("count", [2, 1000])
def test_determinants_of_singular_matrices(count: int) -> None:
    a = np.tile(np.diag([2.0, -1.0]), (count, 1, 1))
    a[1] = 1
    sign, magnitude = linalg.slogdet(retrograd.from_numpy(a))
    assert (sign[:2].tolist(), magnitude[1].item()) == ([-1, 0], -np.inf)
    assert linalg.det(retrograd.from_numpy(a))[:2].tolist() == [-2, 0]
    assert linalg.slogdet(retrograd.full((2, 2), np.nan))[0].isnan()


@pytest.mark.parametrize("shape", [(3, 3), (2, 3, 3), (300, 4, 4)])
@pytest.mark.parametrize("name", ["lu_factor", "lu", "inv", "det", "slogdet", "solve"])
def test_the_first_call_later_ones_and_compiled_code_agree_to_the_bit(
    name: str, shape: tuple[int, ...]
) -> None:
    a = retrograd.from_numpy(normals(shape, np.float64))

    def value(x: Any) -> Any:
        found = getattr(linalg, name)(*[x] * (1 + (name == "solve")))
        return tuple(found) if isinstance(found, tuple) else (found,)

    expected = value(a)
    for found in (value(a), value(a), retrograd.compile(value)(a)):
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", ["inv", "det", "logdet", "slogdet", "lu_factor"])
def test_derivatives_of_stacks_are_pytorchs(name: str, torch: ModuleType) -> None:
    a = normals((400, 3, 3), np.float64)
    a = a @ a.swapaxes(-1, -2) + np.eye(3)
    gradients = []
    for lib in (retrograd, torch):
        x = lib.tensor(a, requires_grad=True)
        found = (lib.logdet if name == "logdet" else getattr(lib.linalg, name))(x)
        last = found[1] if name == "slogdet" else found[0] if name == "lu_factor" else found
        last.sin().sum().backward()
        gradients.append(x.grad.numpy())
    np.testing.assert_allclose(*gradients, rtol=1e-9, atol=1e-9)


# ---- reflectors --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "shape", [(5, 2), (2, 5), (4, 3, 2), (17, 30), (30, 17), (900, 4, 3), (3, 3, 9), (60, 50)]
)
def test_factors_by_reflectors_are_lapacks(
    shape: tuple[int, ...], dtype: type[np.floating[Any]], torch: ModuleType
) -> None:
    a = normals(shape, dtype)
    for op in (RawQr(), Qr(), Qr(complete=True)):
        near(native_of(op, a)(a), op.evaluate(a), max(shape[-2:]))
    columns = Qr().evaluate(a)[..., : shape[-2], :]
    for _ in range(2):
        for ours, theirs in zip(retrograd.geqrf(retrograd.from_numpy(a)), torch.geqrf(torch.from_numpy(a))):
            near(ours.numpy(), theirs.numpy(), max(shape[-2:]))
    if shape[-2] > shape[-1] and len(shape) == 2:
        near(native_of(Complement(), columns)(columns), Complement().evaluate(columns), max(shape[-2:]))


@pytest.mark.parametrize("size", [1e-200, 1e200, 0.0, np.inf, np.nan])
def test_reflectors_of_numbers_of_any_size(size: float, torch: ModuleType) -> None:
    some = normals((4, 3), np.float64)
    for a in (some * size, np.where(np.eye(3) > 0, size, 0), np.where(np.tri(4, 3, -1) > 0, 0, some * size)):
        ours, theirs = linalg.qr(retrograd.from_numpy(a)), torch.linalg.qr(torch.from_numpy(a))
        if np.isfinite(a).all():
            np.testing.assert_allclose(ours.R, theirs.R, rtol=1e-12, atol=1e-14 * size)
            np.testing.assert_allclose(ours.Q, theirs.Q, rtol=1e-12, atol=1e-12)
        else:
            assert not ours.R.isfinite().all()


# ---- exchanges that are none -------------------------------------------------------------------------------


def test_pivots_that_are_no_rows_are_told_of_large_stacks() -> None:
    pivots = retrograd.ones(1000, 3, dtype=retrograd.int32)
    pivots[777, 1] = 4
    for _ in range(3):
        with pytest.raises(LinearAlgebraError, match="pivots passed to lu_unpack must be between 1"):
            retrograd.lu_unpack(retrograd.eye(3).expand(1000, 3, 3), pivots)


# ---- square roots ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("size", [1, 2, 3, 7, 16, 30])
def test_square_roots_are_numpys(size: int, batch: tuple[int, ...], dtype: type[np.floating[Any]]) -> None:
    a = normals((*batch, size, size), dtype)
    a = a @ a.swapaxes(-1, -2) + np.eye(size, dtype=dtype)
    expected = np.linalg.cholesky(a)
    a = np.where(np.tri(size, dtype=bool), a, np.nan).astype(dtype)
    near(native_of(Cholesky(), a)(a), expected, size)
    near(native_of(Info("cholesky"), a)(a), np.zeros(batch, np.int32), size)


@pytest.mark.parametrize("count", [3, 1000])
@pytest.mark.parametrize("worst", [-1.0, 0.0, float("nan"), float("-inf")])
def test_what_has_no_square_root_says_so_as_pytorch_does(worst: float, count: int, torch: ModuleType) -> None:
    a = np.tile(np.eye(3, dtype=np.float32), (count, 1, 1))
    a[count - 2, 1, 1] = worst
    for given in (a, a[count - 2]):
        errors = []
        for lib in (torch, retrograd):
            with pytest.raises(RuntimeError) as caught:
                lib.linalg.cholesky(lib.from_numpy(given))
            errors.append(str(caught.value))
        assert errors[1] == errors[0]
    found, info = linalg.cholesky_ex(retrograd.from_numpy(a))
    np.testing.assert_array_equal(info, torch.linalg.cholesky_ex(torch.from_numpy(a)).info)
    np.testing.assert_array_equal(found[0], a[0])


def test_singular_matrices_have_endless_inverses() -> None:
    a = retrograd.tensor([[[1.0, 2], [2, 4]], [[2, 0], [0, 4]]])
    for _ in range(3):
        inverse, info = linalg.inv_ex(a)
        np.testing.assert_array_equal(inverse, [[[np.inf, np.inf], [np.inf, np.inf]], [[0.5, 0], [0, 0.25]]])
        assert info.tolist() == [2, 0]
        assert linalg.solve_ex(a, a).result[0].isinf().all()
