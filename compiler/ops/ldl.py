"""`A = L·D·Lᵀ` of symmetric matrices: L a lower triangle of diagonal 1, D blocks of one and two rows.

In flow stacks of matrices `[…, n, n]` in float32 or float64, of which the lower triangle is read. Rows and
columns are exchanged as Bunch and Kaufman choose pivots ("Some stable methods for calculating inertia and
solving symmetric linear systems", 1977), packed as LAPACK's `sytrf` packs them: D's diagonals and L below it
in one matrix, and for each step the row that changed places, counted from 1, negative in blocks of two. They
come from LAPACK (`routines.py`), or from NumPy where it is not found, and of what is not finite, for
LAPACKs choose pivots among NaNs differently: here a NaN is the largest, as in MKL. There are no derivatives,
as in PyTorch.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from math import prod

import numpy as np

from retrograd.compiler.errors import GradientError, LinearAlgebraError, mirrored
from retrograd.compiler.ir.graph import Array, Value, register
from retrograd.compiler.ops import routines
from retrograd.compiler.ops.lapack import Cotangents, SameShape
from retrograd.compiler.ops.pivoted import Packed
from retrograd.compiler.record import record

ALPHA = (1 + math.sqrt(17)) / 8
"""Where a block of two grows no more than two of one."""
_BLOCK = 64
"""Columns of `sytrf`'s blocks, for which it is given memory."""


# ---- the factors -------------------------------------------------------------------------------------------


@lru_cache(maxsize=256)
def factoring(dtype: np.dtype[np.generic], *shape: int) -> routines.Factored:
    """Of matrices of this shape the packed factors, and a last row of exchanges."""
    if (lapack := routines.LAPACK) is None:
        return _by_numpy
    n = shape[-1]
    sytrf = lapack.routine("sytrf", dtype, addresses=8, words=1)
    size, apart, length = map(lapack.number, (n, n + 1, n * _BLOCK))

    def factor(at: int, to: int, info: int) -> None:
        work = np.empty(n * _BLOCK, dtype)
        sytrf(b"L", size, at, apart, to, routines.address(work), length, info, 1)

    packed = routines.packing(factor, dtype, *shape)

    def factored(a: Array) -> tuple[Array, Array]:
        lower = np.tril(a)
        return (packed if np.isfinite(lower).all() else _by_numpy)(lower)

    return factored


def _by_numpy(a: Array) -> tuple[Array, Array]:
    """One matrix at a time."""
    *batch, n, _ = a.shape
    packed = np.empty((prod(batch), n + 1, n), a.dtype)
    failed = np.zeros((*batch, 1), np.int64)
    with np.errstate(all="ignore"):
        for number, matrix in enumerate(a.reshape(prod(batch), n, n)):
            failed.flat[number] = _factor(matrix, packed[number])
    return packed.reshape(*batch, n + 1, n), failed


def _factor(a: Array, packed: Array) -> int:
    """Packs one matrix: at which pivot, counted from 1, it is singular, or 0."""
    n, failed = len(a), 0
    work, pivots = np.tril(a) + np.tril(a, -1).T, packed[-1]
    k = 0
    while k < n:
        rest = work[k:, k:]
        chosen, width = _pivot(rest)
        swap = width - 1
        pivots[k : k + width] = (k + chosen + 1) * (1 if width == 1 else -1)
        rest[[swap, chosen]] = rest[[chosen, swap]]
        rest[:, [swap, chosen]] = rest[:, [chosen, swap]]
        block, below = rest[:width, :width], rest[width:, :width]
        if width == 1 and not block[0, 0] > 0 and not block[0, 0] < 0 and not below.any():
            failed = failed or k + 1
        else:
            factor = below / block if width == 1 else _by_block(block, below)
            rest[width:, width:] -= factor @ below.T
            below[...] = factor
        k += width
    packed[:-1] = np.tril(work)
    return failed


def _pivot(a: Array) -> tuple[int, int]:
    """The row of a matrix that takes part in the next step, and how many rows the step takes."""
    column = np.abs(a[1:, 0])
    corner, largest = abs(a[0, 0]), column.max(initial=0)
    if corner >= ALPHA * largest or largest == 0:
        return 0, 1
    row = 1 + int(np.argmax(column))
    before, beyond = np.abs(a[row, :row]).max(), np.abs(a[row, row + 1 :]).max(initial=0)
    along = before if before > beyond or row + 1 == len(a) else beyond
    if corner >= ALPHA * largest * (largest / along):
        return 0, 1
    return (row, 1) if abs(a[row, row]) >= ALPHA * along else (row, 2)


def _by_block(block: Array, rows: Array) -> Array:
    """`rows · block⁻¹`, for a block of two that is all but divided by what is off its diagonal."""
    off = block[1, 0]
    first, second = block[0, 0] / off, block[1, 1] / off
    scale = 1 / (off * (first * second - 1))
    left, right = rows.T
    return np.stack([(second * left - right) * scale, (first * right - left) * scale], -1)


# ---- equations ---------------------------------------------------------------------------------------------


def _steps(pivots: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Where each step begins, how many rows it takes, and which row changed places with its last."""
    n, k = len(pivots), 0
    while k < n:
        width = 1 if pivots[k] > 0 else 2
        if not 1 <= abs(pivots[k]) <= n or (width == 2 and pivots[k : k + 2] != [pivots[k]] * 2):
            raise LinearAlgebraError(
                f"pivots of ldl_solve: {pivots[k]} of row {k}",
                f"they are rows, counted from 1 to {n}, or two equal ones below 0",
                "pass the pivots that linalg.ldl_factor gives",
            )
        yield k, width, abs(pivots[k]) - 1
        k += width


def _solved(packed: Array, pivots: Sequence[int], x: Array) -> None:
    """Solves for one matrix, in place: steps down, and up again."""
    steps = [*_steps(pivots)]
    for k, width, other in steps:
        here = k + width - 1
        x[[here, other]] = x[[other, here]]
        x[k + width :] -= packed[k + width :, k : k + width] @ x[k : k + width]
    for k, width, _ in steps:
        block, within = packed[k : k + width, k : k + width], x[k : k + width]
        within[...] = within / block if width == 1 else _by_block(block, within.T).T
    for k, width, other in reversed(steps):
        here = k + width - 1
        x[k : k + width] -= packed[k + width :, k : k + width].T @ x[k + width :]
        x[[here, other]] = x[[other, here]]


Solver = Callable[[Array, Sequence[int], Array], None]
"""Writes one matrix's solution over the right-hand side, by its factors and exchanges that are right."""


@lru_cache(maxsize=256)
def solver(dtype: np.dtype[np.generic], n: int, columns: int) -> Solver:
    if (lapack := routines.LAPACK) is None:
        return _solved
    sytrs = lapack.routine("sytrs", dtype, addresses=9, words=1)
    size, width, info, apart = map(lapack.number, (n, columns, 0, max(n, 1)))
    integer = lapack.integer

    def solve(packed: Array, pivots: Sequence[int], x: Array) -> None:
        factors, rows, right = (
            np.array(packed.T, order="C"),
            np.array(pivots, integer),
            np.array(x.T, order="C"),
        )
        at, by, to = map(routines.address, (factors, rows, right))
        sytrs(b"L", size, width, at, apart, by, to, apart, info, 1)
        x[...] = right.T

    return solve


# ---- ops ---------------------------------------------------------------------------------------------------


@register
@record
class Ldl(Packed):
    """D's diagonals and L below it, and as one row more the exchanges."""

    name = "ldl"
    factoring = staticmethod(factoring)
    reason = "the block of D at row {} is zero: the matrix is singular"

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Cotangents:
        raise GradientError(mirrored("derivative for aten::linalg_ldl_factor_ex is not implemented"))


@register
@record
class LdlSolve(SameShape):
    """The solution, by factors, exchanges as columns, and right-hand sides of as many matrices."""

    name = "ldl_solve"

    def evaluate(self, *arrays: Array) -> Array:
        packed, pivots, right = arrays
        x = np.array(right, order="C")
        *_, n, columns = x.shape
        solve = solver(x.dtype, n, columns)
        with np.errstate(all="ignore"):
            for place in np.ndindex(*right.shape[:-2]) if right.size else ():
                exchanges = pivots[place][:, 0].tolist()
                deque(_steps(exchanges), maxlen=0)  # raises where they are wrong
                solve(packed[place], exchanges, x[place])
        return x

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Cotangents:
        raise GradientError(mirrored("derivative for aten::linalg_ldl_solve is not implemented"))
