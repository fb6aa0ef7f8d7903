"""Equations of a triangle, by substitution.

In flow a matrix of which one triangle is read, and a right-hand side; out flows the solution, where a zero on
the diagonal divides. BLAS solves, by `trsm` (`routines.py`). Where it is not found, a large triangle is taken
apart into halves, so that most of the work is products. In an upper triangle the pivots are the diagonal, and
there is nothing to eliminate, so that LAPACK's general solver only substitutes there; a lower triangle turned
around is an upper one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from operator import itemgetter

import numpy as np

from retrograd.compiler.ir.graph import Array, Value, apply, register
from retrograd.compiler.ops import gufuncs, routines
from retrograd.compiler.ops.arranged import tril, triu
from retrograd.compiler.ops.contract import dot, transpose
from retrograd.compiler.ops.lapack import Cotangents, SameShape
from retrograd.compiler.record import record

_BACK = slice(None, None, -1)
_turned, _upside_down = itemgetter((..., _BACK, _BACK)), itemgetter((..., _BACK, slice(None)))
"""Rows and columns, or rows, the other way around."""
_WHOLE = 64
"""Rows of a triangle that is not taken apart."""


@register
@record
class SolveTriangular(SameShape):
    """The `x` of `t · x = b`, for the triangle t of a `[…, n, n]`, and b `[…, n, k]`."""

    name = "solve_triangular"
    upper: bool
    unit: bool = False
    """Whether ones stand on the triangle's diagonal, whatever the matrix has there."""

    def evaluate(self, *arrays: Array) -> Array:
        a, b = arrays
        x = found = np.array(b, order="C")
        if routines.LAPACK is not None:
            _solve_by_blas(a, self.upper, self.unit, found)
        if not self.upper:
            a, b, x = _turned(a), _upside_down(b), _upside_down(x)
        if routines.LAPACK is None:
            _solve_upper(a, b, self.unit, x)
        if not gufuncs.are_numbers(found):
            x[...] = _row_by_row(_triangle(a, self.unit), b)
        return found

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Cotangents:
        right = solve_triangular(transpose(inputs[0]), cotangent, not self.upper, self.unit)
        if not needed[0]:
            return [None, right]
        whole = dot(right, transpose(out))
        return [-1 * (triu(whole, self.unit) if self.upper else tril(whole, -self.unit)), right]


def solve_triangular(a: Value, b: Value, upper: bool, unit: bool = False) -> Value:
    return apply(SolveTriangular(upper, unit), a, b)


def _solve_by_blas(a: Array, upper: bool, unit: bool, x: Array) -> None:
    """Write the solution over the right-hand side. BLAS has columns where these are rows: to it a triangle is
    the other one, turned over, and stands behind what it multiplies.
    """
    *batch, n, columns = x.shape
    if not x.size:
        return
    turned = a.strides[-1] != a.itemsize
    triangles = np.ascontiguousarray(a.swapaxes(-1, -2) if turned else a)
    trsm = _trsm(x.dtype, n, columns, upper != turned, unit, turned)
    matrices = np.broadcast_to(triangles, (*batch, n, n)).reshape(-1, n, n)
    for triangle, each in zip(matrices, x.reshape(-1, n, columns)):
        trsm(triangle.ctypes.data, each.ctypes.data)


@lru_cache(maxsize=256)
def _trsm(
    dtype: np.dtype[np.generic], n: int, columns: int, lower: bool, unit: bool, turned: bool
) -> Callable[[int, int], None]:
    assert routines.LAPACK is not None
    trsm = routines.LAPACK.routine("trsm", dtype, addresses=11, words=4)
    one = np.ones(1, dtype)
    words = b"R", b"UL"[lower : lower + 1], b"NT"[turned : turned + 1], b"NU"[unit : unit + 1]
    rows, order = map(routines.LAPACK.number, (columns, n))

    def solve(triangle: int, x: int) -> None:
        trsm(*words, rows, order, one.ctypes.data, triangle, order, x, rows, 1, 1, 1, 1)

    return solve


def _solve_upper(a: Array, b: Array, unit: bool, found: Array) -> None:
    """Write the solution for an upper triangle."""
    size = a.shape[-1]
    if size > _WHOLE:
        half = size // 2
        low, high = found[..., half:, :], found[..., :half, :]
        _solve_upper(a[..., half:, half:], b[..., half:, :], unit, low)
        _solve_upper(a[..., :half, :half], b[..., :half, :] - a[..., :half, half:] @ low, unit, high)
        return
    gufuncs.solve(_triangle(a, unit), b, found)


def _triangle(a: Array, unit: bool) -> Array:
    """The upper triangle alone."""
    size = a.shape[-1]
    triangle = np.zeros(a.shape, a.dtype)
    np.copyto(triangle, a, where=_not_below(size))
    if unit:
        triangle[..., _diagonal(size)] = 1
    return triangle


@lru_cache(maxsize=64)
def _not_below(size: int) -> Array:
    return ~gufuncs.below(size, size)


@lru_cache(maxsize=64)
def _diagonal(size: int) -> Array:
    return np.eye(size, dtype=bool)


def _row_by_row(triangle: Array, b: Array) -> Array:
    """The solution where it has infinities or NaN, of which elimination makes more."""
    found = np.array(b)
    for k in range(b.shape[-2] - 1, -1, -1):
        row = triangle[..., k : k + 1, k + 1 :]
        found[..., k, :] -= (row @ found[..., k + 1 :, :])[..., 0, :]
        found[..., k, :] /= triangle[..., k, k, None]
    return found
