"""`linalg.ldl_factor` and its kin: symmetric matrices that need not be positive-definite (`ops/ldl.py`)."""

from __future__ import annotations

from typing import Any

from retrograd.compiler import dtypes
from retrograd.compiler.errors import DimensionError, DtypeError, LinearAlgebraError, ShapeError, mirrored
from retrograd.compiler.ir.graph import apply
from retrograd.compiler.ops import ldl
from retrograd.compiler.ops.elementwise import broadcast_shapes
from retrograd.runtime.functions.public import linalg
from retrograd.runtime.functions.results import pair
from retrograd.runtime.modes import STATE
from retrograd.runtime.names import bare_legacy_name
from retrograd.runtime.tensor import Tensor

_NAME = "torch.linalg.ldl_factor_ex"


@linalg("ldl_factor_ex")
def ldl_factor_ex(A: Tensor, *, hermitian: bool = False, check_errors: bool = False) -> Any:
    """`ldl_factor`, and for each matrix at which pivot it is singular, from 1 on, or 0."""
    found = _factored(A)
    if check_errors:
        _check(_NAME, found[2])
    return pair("linalg_ldl_factor_ex", *found)


@linalg("ldl_factor")
def ldl_factor(A: Tensor, *, hermitian: bool = False) -> Any:
    """`A = L·D·Lᵀ` of a symmetric matrix: D's diagonals and L below it in one matrix, and the rows that
    changed places; LinearAlgebraError for a singular matrix. Of real matrices all are `hermitian`.
    """
    packed, pivots, info = _factored(A)
    _check("torch.linalg.ldl_factor", info)
    return pair("linalg_ldl_factor", packed, pivots)


@linalg("ldl_solve")
def ldl_solve(LD: Tensor, pivots: Tensor, B: Tensor, *, hermitian: bool = False) -> Tensor:
    """The X of `A · X = B` by what `ldl_factor(A)` gives."""
    if B.ndim < 2:
        axes = f"[-{B.ndim}, {B.ndim - 1}]"
        raise DimensionError(
            mirrored(f"Dimension out of range (expected to be in range of {axes}, but got -2)")
        )
    n = LD.shape[-1]
    if B.shape[-2] != n:
        shown = f"each A matrix is {n} by {n} but each b matrix is {B.shape[-2]} by {B.shape[-1]}"
        raise ShapeError(mirrored(f"Incompatible matrix sizes for torch.linalg.ldl_solve: {shown}"))
    if B.dtype is not LD.dtype:
        kinds = bare_legacy_name(B.dtype), bare_legacy_name(LD.dtype)
        text = "Expected b and A to have the same dtype, but found b of type {} and A of type {} instead."
        raise DtypeError(mirrored(text.format(*kinds)))
    batch = broadcast_shapes("torch.linalg.ldl_solve", tuple(LD.shape[:-2]), tuple(B.shape[:-2]))
    own, right = LD.expand(*batch, n, n), B.expand(*batch, *B.shape[-2:])
    return apply(ldl.LdlSolve(), own, pivots.expand(*batch, n), right)


def _factored(A: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    if A.ndim < 2 or A.shape[-1] != A.shape[-2]:
        shown = " by ".join(map(str, A.shape[-2:]))
        text = f"A must be batches of square matrices, but they are {shown} matrices"
        raise ShapeError(mirrored(f"{_NAME}: {text}"))
    if A.dtype not in (dtypes.float32, dtypes.float64):
        text = f"Expected a floating point or complex tensor as input. Got {bare_legacy_name(A.dtype)}"
        raise DtypeError(mirrored(f"{_NAME}: {text}"))
    fixed = A.detach()
    return apply(ldl.Ldl(), A), apply(ldl.LdlPivots(), fixed), apply(ldl.LdlInfo(), fixed)


def _check(name: str, info: Tensor) -> None:
    """LinearAlgebraError for the first matrix that is singular; inside a trace nobody knows."""
    if STATE.trace is not None:
        STATE.trace.unchecked = True
        return
    for place, number in enumerate(info.read(name).ravel().tolist()):
        if number:
            raise LinearAlgebraError(
                f"{name} of matrix {place}", f"the block of D at its row {number} is zero: it is singular"
            )
