"""`A = L·D·Lᵀ` of symmetric matrices: L a lower triangle of diagonal 1, D blocks of one and two rows.

In flow stacks of matrices `[…, n, n]` in float32 or float64, of which the lower triangle is read. Rows and
columns are exchanged as Bunch and Kaufman choose pivots ("Some stable methods for calculating inertia and
solving symmetric linear systems", 1977), packed as LAPACK's `sytrf` packs them: D's diagonals and L below it
in one matrix, and for each step the row that changed places, counted from 1, negative in blocks of two. There
are no derivatives, as in PyTorch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.errors import GradientError, mirrored
from retrograd.compiler.ir.graph import Array, Type, Value, register
from retrograd.compiler.ops.lapack import Cotangents, Lapack, SameShape
from retrograd.compiler.record import record

_ALPHA = (1 + math.sqrt(17)) / 8
"""Where a block of two grows no more than two of one."""


# ---- one matrix --------------------------------------------------------------------------------------------


def factored(a: Array) -> tuple[Array, Array, int]:
    """The packed factors, the exchanges, and at which pivot, counted from 1, the matrix is singular, or 0."""
    n, info = len(a), 0
    packed = np.tril(a) + np.tril(a, -1).T
    pivots = np.empty(n, np.int32)
    k = 0
    while k < n:
        chosen, width = _pivot(packed[k:, k:])
        kk = k + width - 1
        pivots[k : kk + 1] = k + chosen + 1 if width == 1 else -(k + chosen + 1)
        rest = packed[k:, k:]
        swap, other = width - 1, chosen
        rest[[swap, other]] = rest[[other, swap]]
        rest[:, [swap, other]] = rest[:, [other, swap]]
        block, below = rest[:width, :width], rest[width:, :width]
        if width == 1 and (block[0, 0] == 0 or np.isnan(block[0, 0])):
            info = info or k + 1
        else:
            factor = np.linalg.solve(block, below.T).T if width == 2 else below / block
            rest[width:, width:] -= factor @ below.T
            below[...] = factor
        k += width
    return np.tril(packed), pivots, info


def _pivot(a: Array) -> tuple[int, int]:
    """The row of a matrix that takes part in the next step, and how many rows the step takes."""
    column = np.abs(a[1:, 0])
    corner, largest = abs(a[0, 0]), column.max(initial=0)
    if np.isnan(corner) or corner >= _ALPHA * largest:
        return 0, 1
    row = 1 + int(np.argmax(column))
    along = np.abs(np.delete(a[row], row)).max()
    if corner >= _ALPHA * largest * (largest / along):
        return 0, 1
    return (row, 1) if abs(a[row, row]) >= _ALPHA * along else (row, 2)


def solved(packed: Array, pivots: Array, right: Array) -> Array:
    """The solution for one matrix, by its factors and a column of exchanges: steps down, and up again."""
    x, n, k = right.copy(), len(packed), 0
    steps: list[tuple[int, int]] = []
    while k < n:
        width = 1 if pivots[k, 0] > 0 else 2
        steps.append((k, width))
        swap, other = k + width - 1, abs(int(pivots[k, 0])) - 1
        x[[swap, other]] = x[[other, swap]]
        x[k + width :] -= packed[k + width :, k : k + width] @ x[k : k + width]
        k += width
    for k, width in reversed(steps):
        block = packed[k : k + width, k : k + width]
        within = x[k : k + width]
        within[...] = np.linalg.solve(block + np.tril(block, -1).T, within) if width == 2 else within / block
    for k, width in reversed(steps):
        x[k : k + width] -= packed[k + width :, k : k + width].T @ x[k + width :]
        swap, other = k + width - 1, abs(int(pivots[k, 0])) - 1
        x[[swap, other]] = x[[other, swap]]
    return x


# ---- ops ---------------------------------------------------------------------------------------------------


def _stack(a: Array) -> Array:
    """All matrices, one after the other."""
    return a.reshape(math.prod(a.shape[:-2]), *a.shape[-2:])


def _each(a: Array, place: int, shape: Sequence[int], dtype: Any) -> Array:
    """One of the results of `factored` for each matrix of a stack."""
    with np.errstate(all="ignore"):
        found = [factored(matrix)[place] for matrix in _stack(a)]
    return np.asarray(found, dtype).reshape(shape)


@register
@record
class Ldl(SameShape):
    """D's diagonals, and L below it."""

    name = "ldl_factor_ex"

    def evaluate(self, *arrays: Array) -> Array:
        return _each(arrays[0], 0, arrays[0].shape, arrays[0].dtype)

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Cotangents:
        raise GradientError(mirrored("derivative for aten::linalg_ldl_factor_ex is not implemented"))


class _Fixed(Lapack):
    """What is no number with a derivative."""

    def infer(self, *types: Type) -> Type:
        return super().infer(*types).with_dtype(dtypes.int32)

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Cotangents:
        return [None]


@register
@record
class LdlPivots(_Fixed):
    """The exchanges."""

    name = "ldl_pivots"

    def shape(self, *shape: int) -> Sequence[int]:
        return shape[:-1]

    def evaluate(self, *arrays: Array) -> Array:
        return _each(arrays[0], 1, arrays[0].shape[:-1], np.int32)


@register
@record
class LdlInfo(_Fixed):
    """At which pivot a matrix is singular, or 0."""

    name = "ldl_info"

    def shape(self, *shape: int) -> Sequence[int]:
        return shape[:-2]

    def evaluate(self, *arrays: Array) -> Array:
        return _each(arrays[0], 2, arrays[0].shape[:-2], np.int32)


@register
@record
class LdlSolve(SameShape):
    """The solution, by the factors, the exchanges and the right-hand sides of as many matrices."""

    name = "ldl_solve"

    def evaluate(self, *arrays: Array) -> Array:
        packed, pivots, right = arrays
        with np.errstate(all="ignore"):
            found = [solved(*each) for each in zip(_stack(packed), _stack(pivots[..., None]), _stack(right))]
        return np.asarray(found, right.dtype).reshape(right.shape)

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Cotangents:
        raise GradientError(mirrored("derivative for aten::linalg_ldl_solve is not implemented"))
