"""Triangular factors of any matrix, by elimination with row exchanges, and the exponential of a square one.

In flow stacks of matrices `[…, m, n]` in float32 or float64. NumPy has no such factorisation, so it is done
here, one column of all matrices at a time, with LAPACK's choice of pivots: the first of the largest. What the
pivots are has no derivative; that of the factors, given them, is written with ops: with L·U = Pᵀ·A,
dL = L·tril(L⁻¹·Pᵀ·dA·U⁻¹, −1) and dU = triu(L⁻¹·Pᵀ·dA·U⁻¹)·U, of which the adjoint is taken, and the part of
a tall or wide matrix that lies outside the square solves with U or L. The exponential is that of Higham, "The
scaling and squaring method for the matrix exponential revisited" (2005); its derivative is a block of the
exponential of a matrix twice the size (Mathias, "A chain rule for matrix functions and applications", 1996).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.ir.graph import Array, Type, Value, apply, register
from retrograd.compiler.ops.contract import dot, transpose
from retrograd.compiler.ops.lapack import Cotangents, Lapack, SameShape, last_two, on_diagonal, solve
from retrograd.compiler.ops.matrix import tril, triu
from retrograd.compiler.ops.rows import rows
from retrograd.compiler.ops.shape import concat, narrow
from retrograd.compiler.record import record

# ---- elimination -------------------------------------------------------------------------------------------


def eliminated(a: Array) -> tuple[Array, Array]:
    """The factors in one array, L below the diagonal and U from it on; and for each step the row, counted
    from 1, that changed places with the step's own.
    """
    *batch, m, n = a.shape
    packed = np.array(a.reshape(-1, m, n))
    pivots = np.empty((len(packed), min(m, n)), np.int32)
    every = np.arange(len(packed))
    with np.errstate(all="ignore"):
        for k in range(min(m, n)):
            chosen = k + np.argmax(np.abs(packed[:, k:, k]), axis=1) if len(packed) else every
            pivots[:, k] = chosen + 1
            packed[every, k], packed[every, chosen] = packed[every, chosen], packed[every, k].copy()
            pivot = packed[:, k, k, None]
            below = packed[:, k + 1 :, k]
            below[...] = np.where(pivot == 0, below, below / pivot)
            packed[:, k + 1 :, k + 1 :] -= below[:, :, None] * packed[:, None, k, k + 1 :]
    return packed.reshape(a.shape), pivots.reshape(*batch, min(m, n))


def exchanged(pivots: Array, m: int) -> Array:
    """Which row of A each row of L·U is: the exchanges one after the other."""
    flat = pivots.reshape(-1, pivots.shape[-1])
    order = np.tile(np.arange(m), (len(flat), 1))
    every = np.arange(len(flat))
    for k in range(flat.shape[1]):
        other = flat[:, k] - 1
        order[every, k], order[every, other] = order[every, other], order[every, k].copy()
    return order.reshape(*pivots.shape[:-1], m)


def _diagonal(a: Array) -> Array:
    return np.diagonal(a, axis1=-2, axis2=-1)


@register
@record
class Lu(SameShape):
    """L below the diagonal, where it is 1, and U from it on."""

    name = "lu"

    def evaluate(self, *arrays: Array) -> Array:
        return eliminated(arrays[0])[0]

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Cotangents:
        m, n = out.shape[-2:]
        k = min(m, n)
        row, column = last_two(out)
        square, rest = narrow(narrow(out, row, 0, k), column, 0, k), None
        given = narrow(narrow(cotangent, row, 0, k), column, 0, k)
        lower, upper = unit_lower(square), triu(square)
        lower_bar, upper_bar = tril(given, -1), triu(given)
        if m > n:  # L₂ = A₂·U⁻¹
            below, below_bar = narrow(out, row, k, m), narrow(cotangent, row, k, m)
            rest = transpose(solve(upper, transpose(below_bar)))
            upper_bar = upper_bar - triu(dot(transpose(below), rest))
        if n > m:  # U₂ = L⁻¹·A₂
            right, right_bar = narrow(out, column, k, n), narrow(cotangent, column, k, n)
            rest = solve(transpose(lower), right_bar)
            lower_bar = lower_bar - tril(dot(rest, transpose(right)), -1)
        inner = tril(dot(transpose(lower), lower_bar), -1) + triu(dot(upper_bar, transpose(upper)))
        found = transpose(solve(upper, transpose(solve(transpose(lower), inner))))
        if rest is not None:
            found = concat([found, rest], row if m > n else column)
        return [dot(apply(RowOrder(), inputs[0]), found)]


class _Fixed(Lapack):
    """An op without a derivative."""

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Cotangents:
        return [None for _ in inputs]


@register
@record
class RowOrder(_Fixed):
    """The matrix P of `A = P·L·U`, which only orders rows: it has no derivative."""

    name = "row_order"

    def shape(self, *shape: int) -> Sequence[int]:
        *batch, m, _ = shape
        return (*batch, m, m)

    def evaluate(self, *arrays: Array) -> Array:
        (a,) = arrays
        return _as_matrix(exchanged(eliminated(a)[1], a.shape[-2]), a.dtype)


def _as_matrix(order: Array, dtype: np.dtype[np.generic]) -> Array:
    size = order.shape[-1]
    return np.ascontiguousarray(np.swapaxes(np.eye(size, dtype=dtype)[order], -1, -2))


@register
@record
class Pivots(_Fixed):
    """For each step of the elimination the row, counted from 1, that changed places with the step's own."""

    name = "pivots"

    def shape(self, *shape: int) -> Sequence[int]:
        *batch, m, n = shape
        return (*batch, min(m, n))

    def infer(self, *types: Type) -> Type:
        return Type(tuple(self.shape(*types[0].shape)), dtypes.int32)

    def evaluate(self, *arrays: Array) -> Array:
        return eliminated(arrays[0])[1]


@register
@record
class FromPivots(_Fixed):
    """The matrix P of the exchanges that pivots say, for matrices of `size` rows, in the dtype of the second
    operand, which is not read otherwise.
    """

    name = "from_pivots"
    size: int

    def shape(self, *shape: int) -> Sequence[int]:
        return (*shape[:-1], self.size, self.size)

    def infer(self, *types: Type) -> Type:
        return Type(tuple(self.shape(*types[0].shape)), types[1].dtype)

    def evaluate(self, *arrays: Array) -> Array:
        pivots, like = arrays
        return _as_matrix(exchanged(pivots, self.size), like.dtype)


@register
@record
class Info(_Fixed):
    """For each matrix 0, or where a factorisation fails, counted from 1: at which pivot, or at which leading
    minor that is not positive-definite.
    """

    name = "info"
    of: str
    """`lu` or `cholesky`."""

    def shape(self, *shape: int) -> Sequence[int]:
        return shape[:-2]

    def infer(self, *types: Type) -> Type:
        return Type(tuple(self.shape(*types[0].shape)), dtypes.int32)

    def evaluate(self, *arrays: Array) -> Array:
        (a,) = arrays
        with np.errstate(all="ignore"):
            bad = _diagonal(eliminated(a)[0]) == 0 if self.of == "lu" else ~(_minors(a) > 0)
        first = np.argmax(bad, axis=-1) if bad.shape[-1] else np.zeros(bad.shape[:-1])
        return np.where(bad.any(-1), first + 1, 0).astype(np.int32)


def _minors(a: Array) -> Array:
    """The squared diagonal of the Cholesky factor as far as there is one: quotients of leading minors."""
    work = np.array(a, np.float64)
    size = work.shape[-1]
    for k in range(size):
        column = work[..., k + 1 :, k].copy()
        work[..., k + 1 :, k + 1 :] -= (
            column[..., :, None] * column[..., None, :] / work[..., k, k, None, None]
        )
    return _diagonal(work)


# ---- the exponential ---------------------------------------------------------------------------------------

_PADE = (
    64764752532480000.0, 32382376266240000.0, 7771770303897600.0, 1187353796428800.0, 129060195264000.0,
    10559470521600.0, 670442572800.0, 33522128640.0, 1323241920.0, 40840800.0, 960960.0, 16380.0, 182.0, 1.0,
)  # fmt: skip
"""The numerator of the approximant of degree 13, from the constant on."""
_RADIUS = 5.371920351148152
"""Up to this norm the approximant is right to the last digit of float64."""


@register
@record
class MatrixExp(SameShape):
    """The exponential of a square matrix."""

    name = "matrix_exp"

    def evaluate(self, *arrays: Array) -> Array:
        a = np.asarray(arrays[0], np.float64)
        size = np.abs(a).sum(-2).max(-1, initial=0)
        with np.errstate(all="ignore"):
            halvings = np.ceil(np.log2(np.maximum(np.nan_to_num(size), _RADIUS) / _RADIUS)).astype(int)
            found = _exponential(a / 2.0 ** halvings[..., None, None])
            for step in range(int(halvings.max(initial=0))):
                found = np.where((step < halvings)[..., None, None], found @ found, found)
        return np.asarray(found.astype(arrays[0].dtype))

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Cotangents:
        turned = transpose(inputs[0])
        row, column = last_two(turned)
        n = turned.shape[row]
        above = concat([turned, cotangent], column)
        below = concat([turned * 0, turned], column)
        whole = apply(MatrixExp(), concat([above, below], row))
        return [narrow(narrow(whole, row, 0, n), column, n, 2 * n)]


def _exponential(a: Array) -> Array:
    """By the approximant, of matrices of small norm."""
    unit = np.broadcast_to(np.eye(a.shape[-1]), a.shape)
    two = a @ a
    four = two @ two
    six = four @ two
    b = _PADE
    high = six @ (b[13] * six + b[11] * four + b[9] * two)
    odd = a @ (high + b[7] * six + b[5] * four + b[3] * two + b[1] * unit)
    even = (
        six @ (b[12] * six + b[10] * four + b[8] * two) + b[6] * six + b[4] * four + b[2] * two + b[0] * unit
    )
    finite = np.isfinite(a).all((-2, -1), keepdims=True)
    return np.where(finite, np.linalg.solve(np.where(finite, even - odd, unit), even + odd), np.nan)


# ---- as functions of values of any level -------------------------------------------------------------------


def unit_lower(x: Value) -> Value:
    """The lower triangle, with ones on the diagonal."""
    return rows.where(on_diagonal(x), 1.0, tril(x))


def factors(packed: Value) -> tuple[Value, Value]:
    """L `[…, m, k]` and U `[…, k, n]` of a packed factorisation, k the lesser."""
    m, n = packed.shape[-2:]
    row, column = last_two(packed)
    k = min(m, n)
    left = narrow(packed, column, 0, k) if n > m else packed
    upper = narrow(packed, row, 0, k) if m > n else packed
    return unit_lower(left), triu(upper)
