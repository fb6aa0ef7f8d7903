"""Products of Householder's reflectors, and the factorisation of a matrix that gives them.

In flow stacks of matrices in float32 or float64, as LAPACK keeps them: column k of `[…, m, n]` holds below
its diagonal the vector of the reflector `1 − τₖ·vₖ·vₖᵀ`, whose own element k is 1. Their product is written
with ops, so its derivative follows: with V the vectors and D the diagonal of τ it is
`1 − V·(1 + D·triu(Vᵀ·V, 1))⁻¹·D·Vᵀ` (Joffrain, Low, Quintana-Ortí, van de Geijn and Van Zee, "Accumulating
Householder transformations, revisited", 2006), which is exact where a τ is 0.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.errors import NotWrittenError, mirrored
from retrograd.compiler.ir.graph import Array, Value, apply, register
from retrograd.compiler.ops import gufuncs, routines
from retrograd.compiler.ops.arranged import tril, triu
from retrograd.compiler.ops.composite import Composite
from retrograd.compiler.ops.contract import dot, transpose
from retrograd.compiler.ops.lapack import Cotangents, Lapack, last_two, on_diagonal, solve
from retrograd.compiler.ops.rows import rows
from retrograd.compiler.ops.shape import cast, narrow, squeeze, unsqueeze
from retrograd.compiler.record import record


@register
@record
class RawQr(Lapack):
    """LAPACK's form of `A = Q·R`: R from the diagonal on, the reflectors below it, and a last row of τ."""

    name = "raw_qr"

    def shape(self, *shape: int) -> Sequence[int]:
        *batch, m, n = shape
        return (*batch, m + 1, n)

    def evaluate(self, *arrays: Array) -> Array:
        (a,) = arrays
        found = np.zeros(self.shape(*a.shape), a.dtype)
        found[..., :-1, :], found[..., -1, : min(a.shape[-2:])] = gufuncs.raw_qr(a)
        return found

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Cotangents:
        raise NotWrittenError(
            mirrored("the derivative for 'geqrf' is not implemented."),
            advice="use linalg.qr, whose factors have one",
        )


# ---- products ----------------------------------------------------------------------------------------------


@register
@record
class Reflected(Composite):
    """The product of the reflectors of a and τ times x; `turned`, of its transpose."""

    name = "reflected"
    hosted = True
    turned: bool

    def formula(self, *values: Value) -> Value:
        a, tau, x = values
        column, k = len(a.shape) - 1, tau.shape[-1]
        first = narrow(a, column, 0, k) if k < a.shape[column] else a
        vectors = rows.where(on_diagonal(first), 1.0, tril(first, -1))
        scale = unsqueeze(tau, [len(tau.shape)])
        inner = scale * triu(dot(transpose(vectors), vectors), 1)
        inner = rows.where(on_diagonal(inner), 1.0, inner)
        onto = dot(transpose(vectors), x)
        if self.turned:
            return x - dot(vectors, scale * solve(transpose(inner), onto))
        return x - dot(vectors, solve(inner, scale * onto))

    def compute(self, *arrays: Array) -> Array:
        a, tau, x = arrays
        if routines.LAPACK is None or not (x.size and tau.size):
            return super().compute(*arrays)
        (m, count), k = x.shape[-2:], tau.shape[-1]
        multiply = routines.applying(x.dtype, m, count, k, self.turned)
        found, vectors, scales = np.array(x, order="C"), _as_rows(a[..., :k]), np.array(tau, order="C")
        for place in np.ndindex(x.shape[:-2]):
            multiply(vectors[place], scales[place], found[place])
        return found


@register
@record
class Columns(Composite):
    """The first columns of the product of the reflectors of a and τ, as many as a has."""

    name = "reflected_columns"
    hosted = True

    def formula(self, *values: Value) -> Value:
        a, tau = values
        return Reflected(False).formula(a, tau, cast(on_diagonal(a), dtypes.of(a)))

    def compute(self, *arrays: Array) -> Array:
        a, tau = arrays
        if routines.LAPACK is None or not (a.size and tau.size):
            return super().compute(*arrays)
        (m, count), k = a.shape[-2:], tau.shape[-1]
        build = routines.building(a.dtype, m, count, k)
        columns, scales = _as_rows(a), np.array(tau, order="C")
        for place in np.ndindex(a.shape[:-2]):
            build(columns[place], scales[place])
        return columns.swapaxes(-1, -2)


def _as_rows(columns: Array) -> Array:
    return np.array(columns.swapaxes(-1, -2), order="C")


# ---- as functions of values of any level -------------------------------------------------------------------


def raw_qr(a: Value) -> tuple[Value, Value]:
    """The packed factors `[…, m, n]`, and τ `[…, min(m, n)]`."""
    m, n = a.shape[-2:]
    found = apply(RawQr(), a)
    row, column = last_two(found)
    last = narrow(narrow(found, row, m, m + 1), column, 0, min(m, n))
    return narrow(found, row, 0, m), squeeze(last, [row])


def reflected(a: Value, tau: Value, x: Value, turned: bool = False) -> Value:
    """The product of the reflectors of `a` `[…, m, n]` and τ `[…, k]` times x `[…, m, p]`; `turned`, of its
    transpose.
    """
    return apply(Reflected(turned), a, tau, x)


def columns_of(a: Value, tau: Value) -> Value:
    """The first n columns of the product of the reflectors of `a` `[…, m, n]` and τ `[…, k]`."""
    return apply(Columns(), a, tau)
