"""Factorisations and norms of matrices: `linalg.qr`, `eigh`, `svd`, and what follows from singular values.

In flow stacks of matrices `[…, m, n]` in float32 or float64, out flow `torch.linalg`'s results with their
derivatives (`ops/factor.py`). `matrix` is the check that all share.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.errors import (
    ArgumentError,
    DtypeError,
    ShapeError,
    mirrored,
)
from retrograd.compiler.ir.graph import apply
from retrograd.compiler.ops import factor, lapack, reduce
from retrograd.compiler.ops import shape as moves
from retrograd.compiler.ops.rows import rows
from retrograd.runtime.functions.public import DimLike, axis_of, linalg, public
from retrograd.runtime.functions.results import pair
from retrograd.runtime.functions.statistics import norm as vector_p_norm
from retrograd.runtime.tensor import Tensor

Order = float | str | None


def matrix(name: str, A: Tensor, square: bool = False) -> Tensor:
    """The operand, if it is a stack of matrices of floating-point numbers."""
    if A.ndim < 2:
        raise ShapeError(
            f"linalg.{name} of a tensor of shape {list(A.shape)}",
            mirrored(f"linalg.{name}: The input tensor A must have at least 2 dimensions."),
        )
    m, n = A.shape[-2:]
    if square and m != n:
        shown = f"but they are {m} by {n} matrices"
        raise ShapeError(mirrored(f"linalg.{name}: A must be batches of square matrices, {shown}"))
    if A.dtype not in (dtypes.float32, dtypes.float64):
        raise DtypeError(
            f"linalg.{name} of {A.dtype}",
            "LAPACK computes with float32 and float64",
            "cast it with .float() or .double()",
        )
    return A


def eps_of(A: Tensor) -> float:
    return float(np.finfo(A.dtype.torch_name).eps)


# ---- factors -----------------------------------------------------------------------------------------------


@linalg("qr")
def qr(A: Tensor, mode: str = "reduced") -> Any:
    """`A = Q · R`, Q with orthonormal columns and R an upper triangle; mode "reduced", "complete" or "r"."""
    matrix("qr", A)
    if mode not in ("reduced", "complete", "r"):
        why = (
            f"qr received unrecognized mode '{mode}' but expected one of 'reduced' (default), 'r', or "
            "'complete'"
        )
        raise ArgumentError(mirrored(why))
    q, r = factor.qr(A, mode == "complete")
    return pair("linalg_qr", q if mode != "r" else A.new_empty(0), r)


@public("qr", method=True, replay=True)
def _qr(input: Tensor, some: bool = True) -> Any:
    """`linalg.qr`, complete unless `some`."""
    return pair("qr", *qr(input, "reduced" if some else "complete"))


@linalg("eigh")
def eigh(A: Tensor, UPLO: str = "L") -> Any:
    """Eigenvalues, ascending, and eigenvectors of symmetric matrices, of which one triangle is read."""
    values, vectors = factor.eigh(matrix("eigh", A, True), _upper(UPLO))
    return pair("linalg_eigh", values.contiguous(), vectors)


@linalg("eigvalsh")
def eigvalsh(A: Tensor, UPLO: str = "L") -> Tensor:
    """The eigenvalues of symmetric matrices, ascending."""
    return apply(factor.Eigenvalues(_upper(UPLO)), matrix("eigh", A, True))


def _upper(uplo: str) -> bool:
    if uplo.upper() not in ("L", "U"):
        raise ArgumentError(mirrored(f"Expected UPLO argument to be 'L' or 'U', but got {uplo}"))
    return uplo.upper() == "U"


@linalg("svd")
def svd(A: Tensor, full_matrices: bool = True, *, driver: str | None = None) -> Any:
    """`A = U · diag(S) · Vh`. The columns that `full_matrices` adds are any that complete a basis, and are
    constant to the derivative.
    """
    u, s, vh = factor.svd(matrix("svd", A))
    m, n = A.shape[-2:]
    if full_matrices and m > n:
        u = moves.concat([u, apply(factor.Complement(), u)], A.ndim - 1)
    if full_matrices and n > m:
        vh = moves.concat([vh, apply(factor.Complement(), vh.mT).mT], A.ndim - 2)
    return pair("linalg_svd", u, s.contiguous(), vh)


@public("svd", method=True)
def _svd(input: Tensor, some: bool = True, compute_uv: bool = True) -> Any:
    """`linalg.svd` with V for its transpose, full unless `some`."""
    if not compute_uv:
        m, n = input.shape[-2:]
        u, v = (input.new_zeros(*input.shape[:-2], k, k) for k in (m, n))
        return pair("svd", u, svdvals(input), v)
    u, s, vh = svd(input, not some)
    return pair("svd", u, s, vh.mT)


@linalg("svdvals")
def svdvals(A: Tensor, *, driver: str | None = None) -> Tensor:
    """The singular values, descending."""
    return apply(factor.SingularValues(), matrix("svd", A))


@linalg("pinv", "pinverse")
def pinv(
    A: Tensor, rcond: float | None = None, *, atol: float | None = None, rtol: float | None = None
) -> Tensor:
    """The pseudo-inverse; singular values up to `max(atol, rtol · the largest)` count as zero."""
    absolute, relative = _tolerances(matrix("pinv", A), atol, rcond if rtol is None else rtol)
    return apply(factor.Pinv(absolute, relative), A)


def _tolerances(A: Tensor, atol: float | None, rtol: float | None) -> tuple[float, float]:
    if rtol is None:
        rtol = 0.0 if atol else eps_of(A) * max(A.shape[-2:])
    return float(atol or 0.0), float(rtol)


@linalg("matrix_rank")
def matrix_rank(
    A: Tensor, *, atol: float | None = None, rtol: float | None = None, hermitian: bool = False
) -> Tensor:
    """How many singular values are greater than `max(atol, rtol · the largest)`."""
    absolute, relative = _tolerances(matrix("matrix_rank", A), atol, rtol)
    if not hermitian:
        return apply(factor.Rank(absolute, relative), A)
    sizes = rows.abs(eigvalsh(A))
    bound = rows.maximum(reduce.amax(sizes, (A.ndim - 2,)) * relative, absolute)
    return moves.cast(rows.gt(sizes, moves.unsqueeze(bound, [A.ndim - 2])), dtypes.int64).sum(-1)


# ---- norms -------------------------------------------------------------------------------------------------


@linalg("vector_norm")
def vector_norm(
    x: Tensor, ord: float = 2, dim: DimLike = None, keepdim: bool = False, *, dtype: object = None
) -> Tensor:
    """The norm of order `ord` of the elements along axes."""
    return vector_p_norm(x, float(ord), dim, keepdim, dtype=dtype)


@linalg("matrix_norm")
def matrix_norm(
    A: Tensor,
    ord: float | str = "fro",
    dim: Sequence[int] = (-2, -1),
    keepdim: bool = False,
    *,
    dtype: object = None,
) -> Tensor:
    """The norm of matrices along two axes: "fro", "nuc", or ±inf, ±1, ±2."""
    x = matrix("matrix_norm", A if dtype is None else moves.cast(A, dtypes.dtype(dtype)))
    row, column = (axis_of(d, x.ndim, "matrix_norm") for d in dim)
    if ord == "fro":
        return vector_p_norm(x, 2.0, (row, column), keepdim)
    if ord in ("nuc", 2, -2):
        last = moves.permute(x, (*(k for k in range(x.ndim) if k not in (row, column)), row, column))
        s = svdvals(last)
        found = s.sum(-1) if ord == "nuc" else s.amax(-1) if ord == 2 else s.amin(-1)
        return moves.unsqueeze(found, sorted((row, column))) if keepdim else found
    if ord not in (1, -1, float("inf"), float("-inf")):
        raise ShapeError(mirrored(f"linalg.matrix_norm: Order {ord} not supported."))
    summed, compared = (row, column) if abs(float(ord)) == 1 else (column, row)
    sums = reduce.sum_(rows.abs(x), (summed,))
    place = compared - (compared > summed)
    found = (reduce.amax if float(ord) > 0 else reduce.amin)(sums, (place,))
    return moves.unsqueeze(found, sorted((row, column))) if keepdim else found


@linalg("norm")
def norm(
    A: Tensor, ord: Order = None, dim: DimLike = None, keepdim: bool = False, *, dtype: object = None
) -> Tensor:
    """A vector's norm or a matrix's, as `dim` and `ord` say; without an order all elements are one vector."""
    axes = dim if dim is None or isinstance(dim, Sequence) else (dim,)
    count = A.ndim if axes is None else len(axes)
    if ord is None:
        return vector_norm(A, 2, axes, keepdim, dtype=dtype)
    if count == 1 and not isinstance(ord, str):
        return vector_norm(A, ord, axes, keepdim, dtype=dtype)
    if count != 2:
        why = "linalg.norm: If dim is not specified but ord is, the input must be 1D or 2D. Got {}D."
        raise ShapeError(mirrored(why.format(A.ndim)))
    return matrix_norm(A, ord, (0, 1) if axes is None else axes, keepdim, dtype=dtype)


@linalg("cond")
def cond(A: Tensor, p: Order = None) -> Tensor:
    """The condition number by a norm, of 2 by itself: infinite where a matrix is singular."""
    matrix("cond", A)
    if p in (None, 2, -2):
        s = svdvals(A)
        most, least = s.amax(-1), s.amin(-1)
        return least / most if p == -2 else most / least
    matrix("cond", A, True)
    assert p is not None
    inverse = matrix_norm(apply(lapack.Inverse(endless=True), A), p)
    return rows.where(rows.isinf(inverse), inverse, matrix_norm(A, p) * inverse)
