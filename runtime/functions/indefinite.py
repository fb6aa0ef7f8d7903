"""`linalg.ldl_factor` and its kin: symmetric matrices that need not be positive-definite (`ops/ldl.py`)."""

from __future__ import annotations

from typing import Any

from retrograd.compiler import dtypes
from retrograd.compiler.errors import DimensionError, DtypeError, NotWrittenError, ShapeError, mirrored
from retrograd.compiler.ir.graph import apply
from retrograd.compiler.ops import ldl, pivoted
from retrograd.compiler.ops.elementwise import broadcast_shapes
from retrograd.compiler.ops.shape import cast
from retrograd.runtime.functions.public import linalg
from retrograd.runtime.functions.results import pair
from retrograd.runtime.names import bare_legacy_name
from retrograd.runtime.tensor import Tensor

_NAME, _SOLVE = "torch.linalg.ldl_factor_ex", "torch.linalg.ldl_solve"


@linalg("ldl_factor_ex")
def ldl_factor_ex(A: Tensor, *, hermitian: bool = False, check_errors: bool = False) -> Any:
    """`ldl_factor`, and for each matrix at which pivot it is singular, from 1 on, or 0."""
    packed = _packed(A, _NAME if check_errors else "")
    return pair("linalg_ldl_factor_ex", *_parts(packed), apply(pivoted.Info("ldl"), packed))


@linalg("ldl_factor")
def ldl_factor(A: Tensor, *, hermitian: bool = False) -> Any:
    """`A = L·D·Lᵀ` of a symmetric matrix: D's diagonals and L below it in one matrix, and the rows that
    changed places; LinearAlgebraError for a singular matrix. Of real matrices all are `hermitian`.
    """
    return pair("linalg_ldl_factor", *_parts(_packed(A, "torch.linalg.ldl_factor")))


@linalg("ldl_solve")
def ldl_solve(LD: Tensor, pivots: Tensor, B: Tensor, *, hermitian: bool = False) -> Tensor:
    """The X of `A · X = B` by what `ldl_factor(A)` gives."""
    if B.ndim < 2:
        axes = f"[-{B.ndim}, {B.ndim - 1}]"
        raise DimensionError(
            mirrored(f"Dimension out of range (expected to be in range of {axes}, but got -2)")
        )
    _check_square(_SOLVE, LD)
    n = LD.shape[-1]
    if B.shape[-2] != n:
        shown = f"each A matrix is {n} by {n} but each b matrix is {B.shape[-2]} by {B.shape[-1]}"
        raise ShapeError(mirrored(f"Incompatible matrix sizes for {_SOLVE}: {shown}"))
    if B.dtype is not LD.dtype:
        kinds = bare_legacy_name(B.dtype), bare_legacy_name(LD.dtype)
        text = "Expected b and A to have the same dtype, but found b of type {} and A of type {} instead."
        raise DtypeError(mirrored(text.format(*kinds)))
    if pivots.shape != LD.shape[:-1]:
        text = "Expected LD.shape[:-1] and pivots.shape to be the same, but got pivots with shape"
        raise ShapeError(mirrored(f"{_SOLVE}: {text} {list(pivots.shape)} instead"))
    if pivots.dtype.category != 1:
        kind = bare_legacy_name(pivots.dtype)
        raise DtypeError(mirrored(f"{_SOLVE}: Expected pivots to be integers. Got {kind}"))
    _check_dtype("ldl_solve", _SOLVE, LD)
    batch = broadcast_shapes(_SOLVE, tuple(LD.shape[:-2]), tuple(B.shape[:-2]))
    own, right = LD.expand(*batch, n, n), B.expand(*batch, *B.shape[-2:])
    exchanges = cast(pivots, dtypes.int32).unsqueeze(-1).expand(*batch, n, 1)
    return apply(ldl.LdlSolve(), own, exchanges, right)


def _packed(A: Tensor, strict: str) -> Tensor:
    """The factors and exchanges in one matrix; the function that is `strict` tells of singular matrices."""
    _check_square(_NAME, A)
    _check_dtype("ldl_factor", _NAME, A)
    return apply(ldl.Ldl(strict), A)


def _parts(packed: Tensor) -> tuple[Tensor, Tensor]:
    return pivoted.without_pivots(packed), apply(pivoted.Pivots(), packed)


def _check_square(name: str, A: Tensor) -> None:
    if A.ndim < 2:
        raise ShapeError(mirrored(f"{name}: The input tensor A must have at least 2 dimensions."))
    if A.shape[-1] != A.shape[-2]:
        text = f"A must be batches of square matrices, but they are {A.shape[-2]} by {A.shape[-1]} matrices"
        raise ShapeError(mirrored(f"{name}: {text}"))


def _check_dtype(kernel: str, name: str, A: Tensor) -> None:
    if A.dtype in (dtypes.float32, dtypes.float64):
        return
    if A.dtype.is_complex:
        raise DtypeError(f"{name} of {A.dtype}", "LAPACK computes with float32 and float64", "cast it")
    kind = bare_legacy_name(A.dtype)
    if A.dtype.is_floating_point:
        raise NotWrittenError(mirrored(f"\"{kernel}_kernel_cpu\" not implemented for '{kind}'"))
    text = f"{name}: Expected a floating point or complex tensor as input. Got {kind}"
    raise DtypeError(mirrored(text))
