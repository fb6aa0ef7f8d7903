"""Triangular factors and the matrix exponential: `linalg.lu` and its kin, `matrix_exp`, and the functions
whose names end in `ex`, which tell of singular matrices by a number in place of an error.

In flow stacks of matrices `[…, m, n]` in float32 or float64, out flow `torch.linalg`'s results with their
derivatives (`ops/lu.py`).
"""

from __future__ import annotations

from typing import Any

from retrograd.compiler import dtypes
from retrograd.compiler.errors import (
    DtypeError,
    LinearAlgebraError,
    NotWrittenError,
    ShapeError,
    mirrored,
)
from retrograd.compiler.ir.graph import apply
from retrograd.compiler.ops import cholesky, lapack, substitution
from retrograd.compiler.ops import lu as elimination
from retrograd.compiler.ops.elementwise import broadcast_shapes
from retrograd.compiler.ops.pivoted import Info, Pivots, without_pivots
from retrograd.runtime.functions.factoring import matrix
from retrograd.runtime.functions.public import linalg, public
from retrograd.runtime.functions.results import pair
from retrograd.runtime.functions.solving import arranged, solve_triangular
from retrograd.runtime.modes import STATE
from retrograd.runtime.names import bare_legacy_name
from retrograd.runtime.tensor import Tensor


def _failed(name: str, info: Tensor, text: str) -> None:
    """LinearAlgebraError for the first matrix that failed; inside a trace nobody knows."""
    if STATE.trace is not None:
        STATE.trace.unchecked = True
        return
    numbers = info.read(name)
    for place, number in enumerate(numbers.ravel().tolist()):
        if number:
            batch = f"(Batch element {place}): " if numbers.ndim else ""
            raise LinearAlgebraError(mirrored(f"{name}: {batch}{text.format(number)}"))


# ---- triangular factors ------------------------------------------------------------------------------------


def _general(name: str, A: Tensor, pivot: bool) -> Tensor:
    if A.ndim < 2:
        shape = list(A.shape)
        why = f"{name}: Expected tensor with 2 or more dimensions. Got size: {shape} instead"
        raise ShapeError(mirrored(why))
    if A.dtype not in (dtypes.float32, dtypes.float64):
        raise NotWrittenError(mirrored(f"\"lu_cpu\" not implemented for '{bare_legacy_name(A.dtype)}'"))
    if not pivot:
        raise ShapeError(mirrored("linalg.lu_factor: LU without pivoting is not implemented on the CPU"))
    return A


@linalg("lu")
def lu(A: Tensor, *, pivot: bool = True) -> Any:
    """`A = P · L · U`: P orders rows, L is a lower triangle with ones on its diagonal, U an upper one."""
    packed = apply(elimination.Lu(), _general("linalg.lu", A, pivot))
    lower, upper = elimination.factors(without_pivots(packed))
    return pair("linalg_lu", elimination.row_order(packed), lower, upper)


@linalg("lu_factor_ex")
def lu_factor_ex(A: Tensor, *, pivot: bool = True, check_errors: bool = False) -> Any:
    """`lu_factor`, and for each matrix at which pivot it is singular, from 1 on, or 0."""
    packed = _packed(A, pivot, "torch.linalg.lu_factor_ex" if check_errors else "")
    return pair("linalg_lu_factor_ex", *_parts(packed), apply(Info("lu"), packed))


def _packed(A: Tensor, pivot: bool, strict: str) -> Tensor:
    """L, U and the pivots in one matrix; the function that is `strict` tells of singular matrices."""
    return apply(elimination.Lu(strict), _general("torch.lu_factor", A, pivot))


def _parts(packed: Tensor) -> tuple[Tensor, Tensor]:
    """L and U in one matrix, and the pivots."""
    return without_pivots(packed), apply(Pivots(), packed)


@linalg("lu_factor")
def lu_factor(A: Tensor, *, pivot: bool = True) -> Any:
    """L and U in one matrix, and the rows that changed places; LinearAlgebraError for a singular matrix."""
    return pair("linalg_lu_factor", *_parts(_packed(A, pivot, "torch.linalg.lu_factor")))


@public("lu", method=True, replay=True)
def _lu(A: Tensor, pivot: bool = True, get_infos: bool = False) -> Any:
    """`linalg.lu_factor`; with `get_infos` its third result tells of singular matrices."""
    if get_infos:
        packed = _packed(A, pivot, "")
        return pair("_lu_with_info", *_parts(packed), apply(Info("lu"), packed))
    return _parts(_packed(A, pivot, "torch.linalg.lu_factor"))


@public("lu_unpack", replay=True)
def lu_unpack(
    LU_data: Tensor, LU_pivots: Tensor, unpack_data: bool = True, unpack_pivots: bool = True
) -> Any:
    """P, L and U of what `lu_factor` gives; those that are not asked for are empty."""
    _check_pivots("torch.lu_unpack", LU_pivots)
    none = LU_data.new_empty(0)
    rows = apply(elimination.FromPivots(LU_data.shape[-2], LU_data.dtype), LU_pivots)
    lower, upper = elimination.factors(LU_data)
    found = (lower, upper) if unpack_data else (none, none)
    return pair("lu_unpack", rows if unpack_pivots else none, *found)


def _check_pivots(name: str, pivots: Tensor) -> None:
    if pivots.dtype is not dtypes.int32:
        kind = "torch.int32 dtype" if name == "torch.lu_unpack" else "scalar type torch.int32"
        text = (
            "LU_pivots is expected to be a contiguous tensor of torch.int32 dtype. Note: this function is "
            "intended to be used with the output produced by torch.linalg.lu_factor"
            if name == "torch.lu_unpack"
            else f"{name}: pivots should be a Tensor of {kind}"
        )
        raise DtypeError(mirrored(f"torch.lu_unpack: {text}" if name == "torch.lu_unpack" else text))


@linalg("lu_solve")
def lu_solve(LU: Tensor, pivots: Tensor, B: Tensor, *, left: bool = True, adjoint: bool = False) -> Tensor:
    """The X of `A · X = B` by what `lu_factor(A)` gives, of `X · A = B` unless `left`, and of A's transpose
    if `adjoint`.
    """
    matrix("lu_solve", LU, True)
    _check_pivots("linalg.lu_solve", pivots)
    if LU.dtype is not B.dtype:
        kinds = f"LU of type {bare_legacy_name(LU.dtype)} and B of type {bare_legacy_name(B.dtype)} instead"
        raise DtypeError(
            mirrored(f"linalg.lu_solve: Expected LU and B to have the same dtype, but found {kinds}")
        )
    if B.ndim < 2:
        raise ShapeError(mirrored("linalg.lu_solve: The input tensor B must have at least 2 dimensions."))
    if not left:
        return lu_solve(LU, pivots, B.mT, adjoint=not adjoint).mT.contiguous()
    m, n = LU.shape[-1], B.shape[-2]
    if m != n:
        why = f"({m}x{m} and {n}x{B.shape[-1]})"
        raise ShapeError(
            mirrored(f"linalg.lu_solve: Incompatible shapes of A and B for the equation AX = B {why}")
        )
    batch = broadcast_shapes("linalg.lu_solve", tuple(LU.shape[:-2]), tuple(B.shape[:-2]))
    own, right = LU.expand(*batch, m, m), B.expand(*batch, *B.shape[-2:])
    exchanges = pivots.expand(*batch, m)
    if adjoint:
        half = substitution.solve_triangular(own.mT, right, upper=False)
        found = substitution.solve_triangular(own.mT, half, upper=True, unit=True)
        return apply(elimination.RowsExchanged(back=True), exchanges, found)
    ordered = apply(elimination.RowsExchanged(back=False), exchanges, right)
    half = substitution.solve_triangular(own, ordered, upper=False, unit=True)
    return substitution.solve_triangular(own, half, upper=True)


@public("lu_solve", method=True)
def _lu_solve(input: Tensor, LU_data: Tensor, LU_pivots: Tensor) -> Tensor:
    """`linalg.lu_solve`, the right-hand side first."""
    return lu_solve(LU_data, LU_pivots, input)


# ---- a number in place of an error -------------------------------------------------------------------------


def _singular(A: Tensor, strict: str) -> Tensor:
    """For each matrix at which pivot it is singular, from 1 on, or 0; the function that is `strict` tells."""
    return apply(Info("lu"), apply(elimination.Lu(strict), A))


@linalg("inv_ex")
def inv_ex(A: Tensor, *, check_errors: bool = False) -> Any:
    """The inverse, and for each matrix at which pivot it is singular, from 1 on, or 0: then its inverse is
    full of infinities.
    """
    info = _singular(matrix("inv", A, True), "linalg.inv_ex" if check_errors else "")
    return pair("linalg_inv_ex", apply(lapack.Inverse(endless=True), A), info)


@linalg("solve_ex")
def solve_ex(A: Tensor, B: Tensor, *, left: bool = True, check_errors: bool = False) -> Any:
    """`solve`, and for each matrix at which pivot it is singular, from 1 on, or 0: then there is no solution,
    and infinities stand for it.
    """
    info = _singular(matrix("solve", A, True), "torch.linalg.solve_ex" if check_errors else "")
    return pair("linalg_solve_ex", arranged(A, B, left, endless=True), info)


@linalg("cholesky_ex")
def cholesky_ex(A: Tensor, *, upper: bool = False, check_errors: bool = False) -> Any:
    """The Cholesky factor, and for each matrix which leading minor is not positive-definite, from 1 on, or 0:
    then there is no factor, and NaN stands for it.
    """
    info = apply(Info("cholesky"), matrix("cholesky", A, True))
    if check_errors:
        why = (
            "The factorization could not be completed because the input is not positive-definite (the leading"
        )
        _failed("linalg.cholesky_ex", info, f"{why} minor of order {{}} is not positive-definite).")
    found = apply(cholesky.Cholesky(endless=True), A)
    return pair("linalg_cholesky_ex", found.mT if upper else found, info)


# ---- the exponential ---------------------------------------------------------------------------------------


@linalg("matrix_exp", "matrix_exp")
def matrix_exp(A: Tensor) -> Tensor:
    """The exponential of square matrices."""
    if A.ndim >= 2 and not A.dtype.is_inexact:
        kind = bare_legacy_name(A.dtype)
        why = f"linalg.matrix_exp: Expected a floating point or complex tensor as input. Got {kind}"
        raise DtypeError(mirrored(why))
    return apply(elimination.MatrixExp(), matrix("matrix_exp", A, True))


@public("triangular_solve", method=True, replay=True)
def triangular_solve(
    input: Tensor, A: Tensor, upper: bool = True, transpose: bool = False, unitriangular: bool = False
) -> Any:
    """The X of `A · X = input`, for a triangle A, or of its transpose; and a copy of A."""
    batch = broadcast_shapes("triangular_solve", tuple(input.shape[:-2]), tuple(A.shape[:-2]))
    B, whole = input.expand(*batch, *input.shape[-2:]), A.expand(*batch, *A.shape[-2:])
    triangle = whole.mT if transpose else whole
    found = solve_triangular(triangle, B, upper=upper != transpose, unitriangular=unitriangular)
    return pair("triangular_solve", found, whole.clone())
