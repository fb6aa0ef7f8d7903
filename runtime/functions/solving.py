"""Linear algebra that solves: inverse, solution, determinant, Cholesky, least squares, powers and chains.

In flow stacks of matrices `[…, m, n]` in float32 or float64, out flow `torch.linalg`'s results with their
derivatives (`ops/lapack.py`). `factoring.matrix` is the check that all share.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from retrograd.compiler.errors import ArgumentError, ShapeError, mirrored
from retrograd.compiler.ir.graph import apply
from retrograd.compiler.ops import cholesky as cholesky_factor
from retrograd.compiler.ops import factor, lapack, substitution
from retrograd.compiler.ops import shape as moves
from retrograd.compiler.ops.complexes import conj
from retrograd.compiler.ops.elementwise import broadcast_shapes
from retrograd.compiler.ops.least_squares import least_squares
from retrograd.compiler.ops.rows import rows
from retrograd.runtime.functions.factoring import eps_of, matrix, matrix_rank, pinv, svdvals
from retrograd.runtime.functions.linear import matmul
from retrograd.runtime.functions.linear import matrix_power as whole_power
from retrograd.runtime.functions.public import FUNCTIONS, LINALG, axis_of, integer, linalg, public
from retrograd.runtime.functions.results import pair
from retrograd.runtime.functions.statistics import cross as cross_product
from retrograd.runtime.tensor import Tensor

LINALG["matmul"] = FUNCTIONS["matmul"]


@linalg("inv", "inverse")
def inv(A: Tensor) -> Tensor:
    """The inverse of square matrices; LinearAlgebraError for a singular one."""
    return apply(lapack.Inverse(), matrix("inv", A, True))


@linalg("det", "det")
def det(A: Tensor) -> Tensor:
    """The determinant of square matrices."""
    return apply(lapack.Det(), matrix("det", A, True))


@linalg("slogdet", "slogdet")
def slogdet(A: Tensor) -> Any:
    """The determinant's sign, and the logarithm of its magnitude."""
    matrix("slogdet", A, True)
    return pair("linalg_slogdet", apply(lapack.SignOfDet(), A), apply(lapack.LogAbsDet(), A))


@public("logdet", method=True, replay="values")
def logdet(input: Tensor) -> Tensor:
    """The logarithm of the determinant; NaN where that is negative."""
    sign, logarithm = slogdet(input)
    return rows.where(rows.lt(sign, 0), float("nan"), logarithm)


@linalg("solve")
def solve(A: Tensor, B: Tensor, *, left: bool = True) -> Tensor:
    """The X of `A · X = B`, or with `left=False` of `X · A = B`; B may be a vector for each matrix."""
    return arranged(matrix("solve", A, True), B, left, endless=False)


def arranged(A: Tensor, B: Tensor, left: bool, endless: bool) -> Tensor:
    """`solve` of operands that broadcast; see `lapack.Solve` for `endless`."""
    vector = B.ndim == 1 or (A.ndim - 1 == B.ndim and tuple(B.shape) == tuple(A.shape[:-1]))
    if vector and not left:
        why = "linalg.solve: Vector broadcasting of the left hand side is not supported for left=False"
        raise ShapeError(mirrored(why))
    right = moves.unsqueeze(B, [B.ndim]) if vector else B
    if not left:
        _require_fitting("linalg.solve", A, right, left)
        return arranged(A.mT, right.mT, True, endless).mT.contiguous()
    found = lapack.solve(*_together("linalg.solve", A, right), endless)
    return moves.squeeze(found, [found.ndim - 1]) if vector else found


def _require_fitting(name: str, A: Tensor, B: Tensor, left: bool) -> None:
    """Raise ShapeError unless the matrices have as many rows, or columns, as the equation asks."""
    if B.shape[-2 if left else -1] == A.shape[-1]:
        return
    equation = f"{'AX' if left else 'XA'} = B ({A.shape[-2]}x{A.shape[-1]} and {B.shape[-2]}x{B.shape[-1]})"
    raise ShapeError(
        f"{name} of {list(A.shape)} and {list(B.shape)}",
        mirrored(f"{name}: Incompatible shapes of A and B for the equation {equation}"),
    )


def _together(name: str, A: Tensor, B: Tensor) -> tuple[Tensor, Tensor]:
    """The operands of `A · X = B` as stacks of the same size."""
    _require_fitting(name, A, B, left=True)
    return _stacked(name, A, B)


def _stacked(name: str, A: Tensor, B: Tensor) -> tuple[Tensor, Tensor]:
    """Matrices as stacks of the same size."""
    batch = broadcast_shapes(name, A.shape[:-2], B.shape[:-2])
    return moves.expand(A, (*batch, *A.shape[-2:])), moves.expand(B, (*batch, *B.shape[-2:]))


@linalg("solve_triangular")
def solve_triangular(
    A: Tensor, B: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False
) -> Tensor:
    """`solve` with A's upper or lower triangle, with ones on its diagonal if `unitriangular`; a zero there
    divides.
    """
    name = "linalg.solve_triangular"
    matrix("solve_triangular", A, True)
    if B.ndim < 2:
        raise ShapeError(
            f"{name} of a right-hand side of shape {list(B.shape)}",
            mirrored(f"{name}: The input tensor B must have at least 2 dimensions."),
        )
    if not left:
        _require_fitting(name, A, B, left)
        turned = solve_triangular(A.mT, B.mT, upper=not upper, unitriangular=unitriangular)
        return turned.mT.contiguous()
    return substitution.solve_triangular(*_together(name, A, B), upper, unitriangular)


@linalg("cholesky")
def cholesky(A: Tensor, *, upper: bool = False) -> Tensor:
    """The lower triangle L of `A = L · Lᵀ`, or its transpose; LinearAlgebraError unless positive-definite."""
    found = apply(cholesky_factor.Cholesky(), matrix("cholesky", A, True))
    return found.mT if upper else found


@public("cholesky", method=True, replay=True)
def _cholesky(input: Tensor, upper: bool = False) -> Tensor:
    """`linalg.cholesky`."""
    return cholesky(input, upper=upper)


@public("cholesky_solve", method=True, replay=True)
def cholesky_solve(input: Tensor, L: Tensor, upper: bool = False) -> Tensor:
    """The X of `A · X = input`, of A's Cholesky factor."""
    lower = L.mT if upper else L
    half = solve_triangular(lower, input, upper=False)
    return solve_triangular(lower.mT, half, upper=True)


@public("cholesky_inverse", method=True, replay=True)
def cholesky_inverse(L: Tensor, upper: bool = False) -> Tensor:
    """The inverse of the matrix whose Cholesky factor this is."""
    matrix("cholesky_inverse", L, True)
    unit = moves.cast(lapack.on_diagonal(L), L.dtype)
    return cholesky_solve(unit, L, upper)


@linalg("tensorinv")
def tensorinv(A: Tensor, ind: int = 2) -> Tensor:
    """The inverse of `tensordot(A, ·, …)`: A as a matrix of its first `ind` axes by the others."""
    first, last = A.shape[:ind], A.shape[ind:]
    if prod(first) != prod(last):
        raise ShapeError(
            mirrored(
                "Expected self to satisfy the requirement prod(self.shape[ind:]) == prod(self.shape[:ind]), "
                f"but got {prod(last)} != {prod(first)}"
            )
        )
    square = moves.reshape(A, (prod(first), prod(last)))
    return moves.reshape(inv(square), (*last, *first))


@linalg("tensorsolve")
def tensorsolve(A: Tensor, B: Tensor, dims: Sequence[int] | None = None) -> Tensor:
    """The X of `tensordot(A, X, X.ndim) = B`; the axes `dims` of A are put last before."""
    if dims is not None:
        chosen = [axis_of(d, A.ndim, "tensorsolve") for d in dims]
        A = moves.permute(A, [*(k for k in range(A.ndim) if k not in chosen), *chosen])
    rest = tuple(A.shape[B.ndim :])
    square = moves.reshape(A, (prod(A.shape[: B.ndim]), prod(rest)))
    return moves.reshape(solve(square, moves.reshape(B, (B.numel(),))), rest)


@linalg("lstsq")
def lstsq(A: Tensor, B: Tensor, rcond: float | None = None, *, driver: str | None = None) -> Any:
    """The X of least `‖A · X − B‖`, of these the least; its residuals where A is tall and of full rank."""
    matrix("lstsq", A)
    if driver not in (None, "gels", "gelsy", "gelsd", "gelss"):
        raise ArgumentError(
            f"linalg.lstsq(driver={driver!r})", "the drivers are gels, gelsy, gelsd and gelss"
        )
    if A.ndim - B.ndim not in (0, 1):
        why = "input.dim() must be greater or equal to other.dim() and (input.dim() - other.dim()) <= 1"
        raise ShapeError(mirrored(f"torch.linalg.lstsq: {why}"))
    vector = A.ndim - 1 == B.ndim
    right = moves.unsqueeze(B, [B.ndim]) if vector else B
    m, n = A.shape[-2:]
    if right.shape[-2] != m:
        raise ShapeError(
            f"linalg.lstsq of {list(A.shape)} and {list(B.shape)}",
            mirrored("torch.linalg.lstsq: input.size(-2) should match other.size(-2)"),
        )
    cut = float(eps_of(A) * max(m, n) if rcond is None else rcond)
    found, rank = _fitted(*_stacked("linalg.lstsq", A, right), cut, driver)
    full = driver == "gels" or (driver in ("gelsd", "gelss") and bool((rank == n).all()))
    sums = full and m > n
    residuals = (matmul(A, found) - right).pow(2).sum(-2) if sums else A.new_empty(0)
    values = svdvals(A) if driver in ("gelsd", "gelss") else A.new_empty(0)
    solution = moves.squeeze(found, [found.ndim - 1]) if vector else found
    ranks = rank.new_empty(0) if driver == "gels" else rank
    return pair("linalg_lstsq", solution, residuals, ranks, values)


def _fitted(A: Tensor, right: Tensor, cut: float, driver: str | None) -> tuple[Tensor, Tensor]:
    """The solutions and the ranks, by singular values if the driver's name says so."""
    if not (A.numel() and right.numel()):
        return matmul(pinv(A, rtol=cut), right), matrix_rank(A, rtol=cut)
    if driver in ("gelsd", "gelss"):
        inverse, rank = factor.pinv_with_rank(A, 0.0, cut)
        return matmul(inverse, right), rank
    return least_squares(A, right, cut, driver == "gels")


@linalg("matrix_power", "matrix_power")
def matrix_power(A: Tensor, n: int) -> Tensor:
    """Square matrices multiplied with themselves; a negative power is one of the inverse."""
    power = integer(n, "linalg_matrix_power", "n")
    return whole_power(inv(A), -power) if power < 0 else whole_power(A, power)


@linalg("multi_dot")
def multi_dot(tensors: Sequence[Tensor]) -> Tensor:
    """The product of a chain of matrices in the cheapest order; the first and the last may be vectors."""
    chain = list(tensors)
    if len(chain) < 2:
        raise ShapeError(mirrored(f"multi_dot(): expected at least 2 tensors but got {len(chain)}"))
    first, last = chain[0].ndim == 1, chain[-1].ndim == 1
    if first:
        chain[0] = moves.unsqueeze(chain[0], [0])
    if last:
        chain[-1] = moves.unsqueeze(chain[-1], [1])
    for k, x in enumerate(chain):
        if x.ndim != 2:
            raise ShapeError(f"multi_dot(): tensor {k} must be 2D but got {tensors[k].ndim}D")
    found = _multiplied(chain, _splits([chain[0].shape[0], *(x.shape[1] for x in chain)]), 0, len(chain))
    return moves.squeeze(found, [k for k, vector in enumerate((first, last)) if vector])


@public("chain_matmul")
def chain_matmul(*matrices: Tensor) -> Tensor:
    """`linalg.multi_dot` of its arguments; of one the matrix itself."""
    if not matrices:
        raise ArgumentError(mirrored("chain_matmul(): Expected one or more matrices"))
    return multi_dot(matrices) if len(matrices) > 1 else matrices[0]


def _splits(sizes: Sequence[int]) -> dict[tuple[int, int], int]:
    """Where to cut each part of a chain (the dynamic programme of Cormen et al., "Introduction to
    Algorithms", §15.2).
    """
    count = len(sizes) - 1
    cost = {(k, k + 1): 0 for k in range(count)}
    cut: dict[tuple[int, int], int] = {}
    for length in range(2, count + 1):
        for start in range(count - length + 1):
            stop = start + length
            costs = {
                k: cost[start, k] + cost[k, stop] + sizes[start] * sizes[k] * sizes[stop]
                for k in range(start + 1, stop)
            }
            cut[start, stop] = best = min(costs, key=costs.__getitem__)
            cost[start, stop] = costs[best]
    return cut


def _multiplied(chain: Sequence[Tensor], cut: dict[tuple[int, int], int], start: int, stop: int) -> Tensor:
    if stop - start == 1:
        return chain[start]
    at = cut[start, stop]
    return matmul(_multiplied(chain, cut, start, at), _multiplied(chain, cut, at, stop))


@linalg("cross")
def cross(input: Tensor, other: Tensor, *, dim: int = -1) -> Tensor:
    """The cross product of the vectors of three along `dim`."""
    return cross_product(input, other, dim)


@linalg("diagonal")
def diagonal(A: Tensor, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """The diagonals of matrices."""
    return FUNCTIONS["diagonal"](A, offset, dim1, dim2)


@linalg("vecdot")
def vecdot(x: Tensor, y: Tensor, *, dim: int = -1) -> Tensor:
    """The sums of products along `dim`, of which the first factors are conjugated."""
    if not x.ndim and not y.ndim:
        product: Tensor = conj(x) * y
        return product
    rows_, columns = (each.movedim(dim, -1) for each in FUNCTIONS["broadcast_tensors"](x, y))
    return (conj(rows_).unsqueeze(-2) @ columns.unsqueeze(-1)).flatten(-2).squeeze(-1)
