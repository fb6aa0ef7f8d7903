"""Equations of a triangle, by substitution.

In flow a matrix of which one triangle is read, and a right-hand side; out flows the solution, where a zero on
the diagonal divides. A large triangle is taken apart into halves, so that most of the work is products. In an
upper triangle the pivots are the diagonal, and there is nothing to eliminate, so that LAPACK's general solver
only substitutes there; a lower triangle turned around is an upper one.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from retrograd.compiler.ir.graph import Array, Value, apply, register
from retrograd.compiler.ops import gufuncs
from retrograd.compiler.ops.contract import dot, transpose
from retrograd.compiler.ops.lapack import Cotangents, SameShape
from retrograd.compiler.ops.matrix import tril, triu
from retrograd.compiler.record import record

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
        if self.upper:
            return _upper(a, b, self.unit)
        around = _upper(a[..., ::-1, ::-1], b[..., ::-1, :], self.unit)
        return around[..., ::-1, :].copy()

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


def _upper(a: Array, b: Array, unit: bool) -> Array:
    """The solution for an upper triangle."""
    size = a.shape[-1]
    if size > _WHOLE:
        half = size // 2
        low = _upper(a[..., half:, half:], b[..., half:, :], unit)
        rest = b[..., :half, :] - a[..., :half, half:] @ low
        return np.concatenate([_upper(a[..., :half, :half], rest, unit), low], axis=-2)
    triangle = np.where(gufuncs.below(size, size), _ZERO, a)
    if unit:
        triangle[..., _diagonal(size)] = 1
    found = np.empty(b.shape, b.dtype)
    gufuncs.solve(triangle, b, found)
    flat = found.ravel()
    number = flat.dot(flat)
    return found if number == number else _row_by_row(triangle, b)


_ZERO = np.zeros((), np.float32)


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
