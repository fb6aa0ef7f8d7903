"""Triangular factors of any matrix, by elimination with row exchanges, and the exponential of a square one.

In flow stacks of matrices `[…, m, n]` in float32 or float64. The factors are those of `exchanges.py`. What
the pivots are has no derivative; that of the factors, given them, is written with ops: with L·U = Pᵀ·A,
dL = L·tril(L⁻¹·Pᵀ·dA·U⁻¹, −1) and dU = triu(L⁻¹·Pᵀ·dA·U⁻¹)·U, of which the adjoint is taken, and the part of
a tall or wide matrix that lies outside the square solves with U or L. The exponential is that of Higham, "The
scaling and squaring method for the matrix exponential revisited" (2005); its derivative is a block of the
exponential of a matrix twice the size (Mathias, "A chain rule for matrix functions and applications", 1996).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.dtypes import DType
from retrograd.compiler.errors import LinearAlgebraError, mirrored
from retrograd.compiler.ir.graph import Array, Fixed, Type, Value, apply, register
from retrograd.compiler.ops import gufuncs
from retrograd.compiler.ops.arranged import tril, triu
from retrograd.compiler.ops.composite import Composite
from retrograd.compiler.ops.contract import dot, transpose
from retrograd.compiler.ops.exchanges import elimination, ordering
from retrograd.compiler.ops.lapack import Cotangents, Lapack, SameShape, last_two, on_diagonal
from retrograd.compiler.ops.pivoted import Packed, Pivots, without_pivots
from retrograd.compiler.ops.rows import rows
from retrograd.compiler.ops.shape import concat, narrow
from retrograd.compiler.ops.substitution import solve_triangular
from retrograd.compiler.record import record

# ---- elimination -------------------------------------------------------------------------------------------


@register
@record
class Lu(Packed):
    """L below the diagonal, where it is 1, U from it on, and as one row more the rows that `Pivots` takes."""

    name = "lu"
    factoring = staticmethod(elimination)
    reason = mirrored(
        "U[{0},{0}] is zero and using it on lu_solve would result in a division by zero. If you still want "
        "to perform the factorization, consider calling linalg.lu(A, pivot) or linalg.lu_factor_ex(A, pivot)"
    )
    reasons: ClassVar[dict[str, str]] = {
        "linalg.inv_ex": mirrored(
            "The diagonal element {} is zero, the inversion could not be completed because the input matrix "
            "is singular."
        ),
        "torch.linalg.solve_ex": mirrored("The solver failed because the input matrix is singular."),
    }

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Cotangents:
        order = row_order(out)
        out, cotangent = without_pivots(out), without_pivots(cotangent)
        m, n = out.shape[-2:]
        k = min(m, n)
        row, column = last_two(out)
        square, rest = narrow(narrow(out, row, 0, k), column, 0, k), None
        given = narrow(narrow(cotangent, row, 0, k), column, 0, k)
        lower, upper, turned = unit_lower(square), triu(square), transpose(square)
        lower_bar, upper_bar = tril(given, -1), triu(given)
        if m > n:  # L₂ = A₂·U⁻¹
            below, below_bar = narrow(out, row, k, m), narrow(cotangent, row, k, m)
            rest = transpose(solve_triangular(square, transpose(below_bar), upper=True))
            upper_bar = upper_bar - triu(dot(transpose(below), rest))
        if n > m:  # U₂ = L⁻¹·A₂
            right, right_bar = narrow(out, column, k, n), narrow(cotangent, column, k, n)
            rest = solve_triangular(turned, right_bar, upper=True, unit=True)
            lower_bar = lower_bar - tril(dot(rest, transpose(right)), -1)
        inner = tril(dot(transpose(lower), lower_bar), -1) + triu(dot(upper_bar, transpose(upper)))
        left = solve_triangular(turned, inner, upper=True, unit=True)
        found = transpose(solve_triangular(square, transpose(left), upper=True))
        if rest is not None:
            found = concat([found, rest], row if m > n else column)
        return [dot(order, found)]


@register
@record
class UnitLower(Composite):
    """The lower triangle of matrices, with ones on the diagonal."""

    name = "unit_lower"

    def formula(self, *values: Value) -> Value:
        return rows.where(on_diagonal(values[0]), 1.0, tril(values[0]))

    def compute(self, *arrays: Array) -> Array:
        (a,) = arrays
        m, n = a.shape[-2:]
        found = np.empty(a.shape, a.dtype)
        found[...] = gufuncs.diagonal(m, n)
        np.copyto(found, a, where=gufuncs.below(m, n))
        return found


@register
@record
class FromPivots(Fixed, Lapack):
    """The matrix P of the exchanges that pivots say, for matrices of `size` rows."""

    name = "from_pivots"
    size: int
    dtype: DType

    def shape(self, *shape: int) -> Sequence[int]:
        return (*shape[:-1], self.size, self.size)

    def infer(self, *types: Type) -> Type:
        return Type(tuple(self.shape(*types[0].shape)), self.dtype)

    def evaluate(self, *arrays: Array) -> Array:
        (pivots,) = arrays
        try:
            return ordering(pivots, self.size, self.dtype.numpy)
        except IndexError:
            raise LinearAlgebraError(mirrored(_NO_PIVOTS)) from None


@register
@record
class RowsExchanged(SameShape):
    """The rows of a matrix that change places as pivots `[…, k]` say: one exchange after the other, or if
    `back` the last one first."""

    name = "rows_exchanged"
    back: bool

    def evaluate(self, *arrays: Array) -> Array:
        pivots, x = arrays
        if not x.size:
            return np.array(x)
        for wrong, bound in ((pivots > x.shape[-2], "smaller or equal to LU.size(-2)"), (pivots < 1, _ONE)):
            if wrong.any():
                raise LinearAlgebraError(mirrored(_NO_EXCHANGES.format(bound)))
        order = ordering(pivots, x.shape[-2], np.dtype(np.float32))
        return np.take_along_axis(x, order.argmax(-1 if self.back else -2)[..., None], -2)

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Cotangents:
        return [None, apply(RowsExchanged(not self.back), inputs[0], cotangent)]


_ONE = "greater or equal to 1"
_NO_EXCHANGES = "Pivots given to lu_solve must all be {}. Did you properly pass the result of lu_factor?"
_NO_PIVOTS = (
    "pivots passed to lu_unpack must be between 1 and LU.size(-2) inclusive."
    "Did you properly pass the result of lu_factor?"
)


# ---- the exponential ---------------------------------------------------------------------------------------


@record(slots=True)
class Approximant:
    """Padé's of the exponential, of which numerator and denominator have the same degree."""

    radius: float
    """Up to this norm it is right to the last digit."""
    numerator: tuple[float, ...]
    """From the constant on."""


_APPROXIMANTS: dict[str, Approximant] = {
    "f": Approximant(
        3.925724783138660, (17297280.0, 8648640.0, 1995840.0, 277200.0, 25200.0, 1512.0, 56.0, 1.0)
    ),
    "d": Approximant(
        5.371920351148152,
        (
            64764752532480000.0, 32382376266240000.0, 7771770303897600.0, 1187353796428800.0,
            129060195264000.0, 10559470521600.0, 670442572800.0, 33522128640.0, 1323241920.0, 40840800.0,
            960960.0, 16380.0, 182.0, 1.0,
        ),
    ),
}  # fmt: skip
"""By elements' types."""


@register
@record
class MatrixExp(SameShape):
    """The exponential of a square matrix."""

    name = "matrix_exp"

    def evaluate(self, *arrays: Array) -> Array:
        a = gufuncs.wide(arrays[0])
        approximant = _APPROXIMANTS[a.dtype.char]
        size, radius = np.abs(a).sum(-2).max(-1, initial=0), approximant.radius
        halvings = np.ceil(np.log2(np.maximum(np.nan_to_num(size), radius) / radius)).astype(int)
        found = _exponential(np.ldexp(a, -halvings[..., None, None]), approximant.numerator)
        for step in range(int(halvings.max(initial=0))):
            rest = step < halvings
            some = found[rest]
            found[rest] = some @ some
        return np.asarray(found.astype(arrays[0].dtype, copy=False))

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


def _exponential(a: Array, b: Sequence[float]) -> Array:
    """By the approximant, of matrices of small norm."""
    finite = np.isfinite(a).all((-2, -1), keepdims=True)
    a = np.where(finite, a, 0)
    two = a @ a
    four = two @ two
    powers = np.broadcast_to(np.eye(a.shape[-1], dtype=a.dtype), a.shape), two, four, four @ two
    odd, even = a @ _polynomial(b[1::2], powers), _polynomial(b[::2], powers)
    found = np.empty(a.shape, a.dtype)
    gufuncs.solve(even - odd, even + odd, found)
    return np.where(finite, found, np.nan)


def _polynomial(b: Sequence[float], powers: Sequence[Array]) -> Array:
    """Of powers 0, 1, 2 and 3, from the constant on; higher ones are the third's products with these."""
    _, *higher, third = powers
    low = sum(c * power for c, power in zip(b[:4], powers))
    if len(b) <= len(powers):
        return np.asarray(low)
    return np.asarray(low + third @ sum(c * power for c, power in zip(b[4:], (*higher, third))))


# ---- as functions of values of any level -------------------------------------------------------------------


def unit_lower(x: Value) -> Value:
    """The lower triangle, with ones on the diagonal."""
    return apply(UnitLower(), x)


def row_order(packed: Value) -> Value:
    """The matrix P of `A = P·L·U`, which only orders rows, of what `Lu` gives."""
    return apply(FromPivots(packed.shape[-2] - 1, dtypes.of(packed)), apply(Pivots(), packed))


def factors(packed: Value) -> tuple[Value, Value]:
    """L `[…, m, k]` and U `[…, k, n]` of a packed factorisation, k the lesser."""
    m, n = packed.shape[-2:]
    row, column = last_two(packed)
    k = min(m, n)
    left = narrow(packed, column, 0, k) if n > m else packed
    upper = narrow(packed, row, 0, k) if m > n else packed
    return unit_lower(left), triu(upper)
