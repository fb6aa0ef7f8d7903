"""Factorisations by LAPACK: eigenvalues and -vectors of symmetric matrices, SVD, QR, and the pseudo-inverse.

An op has one output, so a factorisation packs its factors one below the other (or side by side), and the
function that takes them apart stands at the end. Sources of the adjoints: Giles (2008, see `lapack.py`) for
eigenvalues; Townsend, "Differentiating the singular value decomposition" (2016); for QR Walter & Lehmann,
"Algorithmic differentiation of linear algebra functions" (2010), and of wide matrices Liao et al.,
"Differentiable programming tensor networks" (2019); Golub & Pereyra, "The differentiation of
pseudo-inverses and nonlinear least squares problems whose variables separate" (1973). To add a factorisation,
add an op with its `evaluate` and `adjoint`, and a function that takes it apart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.errors import GradientError, mirrored
from retrograd.compiler.ir.graph import Array, Fixed, Type, Value, apply, register
from retrograd.compiler.ops import gufuncs
from retrograd.compiler.ops.arranged import tril
from retrograd.compiler.ops.contract import dot, transpose
from retrograd.compiler.ops.lapack import Cotangents, Lapack, Scalar, answer, on_diagonal, solve
from retrograd.compiler.ops.rows import rows
from retrograd.compiler.ops.shape import cast, concat, expand, narrow, select, unsqueeze
from retrograd.compiler.record import record

# ---- factors packed into one array -------------------------------------------------------------------------


@register
@record
class Eigh(Lapack):
    """Of a symmetric matrix `[…, n, n]`: eigenvalues, ascending, as a first row above the eigenvectors."""

    name = "eigh"
    upper: bool
    """Which triangle is read."""

    def shape(self, *shape: int) -> Sequence[int]:
        *batch, m, n = shape
        return (*batch, m + 1, n)

    def evaluate(self, *arrays: Array) -> Array:
        (a,) = arrays
        found = np.empty(self.shape(*a.shape), gufuncs.working(a))
        w = found[..., 0, :]
        gufuncs.eigh(gufuncs.wide(a), self.upper, w, found[..., 1:, :])
        if not gufuncs.are_numbers(w):
            answer(
                _UNCONVERGED.format("eigh", "eigenvalues"), partial(np.linalg.eigh, UPLO="LU"[self.upper]), a
            )
        return found.astype(a.dtype, copy=False)

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Cotangents:
        (w, v), (w_bar, v_bar) = _rows_apart(out, 1), _rows_apart(cotangent, 1)
        gaps = _inverse_gaps(w)
        inner = _diagonal(w_bar) + gaps * dot(transpose(v), v_bar)
        found = dot(dot(v, inner), transpose(v))
        return [(found + transpose(found)) * 0.5]


@register
@record
class Eigenvalues(Lapack):
    """Those of a symmetric matrix, ascending, without their vectors."""

    name = "eigenvalues"
    title = "LinalgEigh"
    upper: bool
    """Which triangle is read."""

    def shape(self, *shape: int) -> Sequence[int]:
        return shape[:-1]

    def evaluate(self, *arrays: Array) -> Array:
        (a,) = arrays
        w = np.empty(a.shape[:-1], gufuncs.working(a))
        gufuncs.eigenvalues(gufuncs.wide(a), self.upper, w)
        if not gufuncs.are_numbers(w):
            return np.array(Eigh(self.upper).evaluate(a)[..., 0, :])
        return w.astype(a.dtype, copy=False)

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Cotangents:
        _, v = eigh(inputs[0], self.upper)
        row = unsqueeze(cotangent, [len(cotangent.shape) - 1])
        return [dot(v * expand(row, v.shape), transpose(v))]


@register
@record
class Svd(Lapack):
    """Of `[…, m, n]`, k the lesser: singular values as a first row, then u `[m, k]`, then v `[n, k]`."""

    name = "svd"

    def shape(self, *shape: int) -> Sequence[int]:
        *batch, m, n = shape
        return (*batch, 1 + m + n, min(m, n))

    def evaluate(self, *arrays: Array) -> Array:
        (a,) = arrays
        found, m = np.empty(self.shape(*a.shape), gufuncs.working(a)), a.shape[-2]
        parts = found[..., 1 : m + 1, :], found[..., 0, :], found[..., m + 1 :, :].swapaxes(-1, -2)
        _into_singular(a, *parts)
        return found.astype(a.dtype, copy=False)

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Cotangents:
        m, n = inputs[0].shape[-2:]
        (s, u, v), (s_bar, u_bar, v_bar) = _svd_parts(out, m), _svd_parts(cotangent, m)
        gaps, safe = _inverse_gaps(s * s), _inverse(s)
        turned = gaps * _skew(dot(transpose(u), u_bar))
        inner = turned * s + transpose(s) * (gaps * _skew(dot(transpose(v), v_bar))) + _diagonal(s_bar)
        found = dot(dot(u, inner), transpose(v))
        if m > n:
            found = found + dot(_outside(u, u_bar) * safe, transpose(v))
        if n > m:
            found = found + dot(u * safe, transpose(_outside(v, v_bar)))
        return [found]


@register
@record
class SingularValues(Lapack):
    """The singular values of `[…, m, n]`, descending, without their vectors."""

    name = "singular_values"
    title = "LinalgSvd"

    def shape(self, *shape: int) -> Sequence[int]:
        *batch, m, n = shape
        return (*batch, min(m, n))

    def evaluate(self, *arrays: Array) -> Array:
        (a,) = arrays
        s = np.empty(self.shape(*a.shape), gufuncs.working(a))
        gufuncs.singular_values(gufuncs.wide(a), s)
        if not gufuncs.are_numbers(s):
            return np.array(Svd().evaluate(a)[..., 0, :])
        return s.astype(a.dtype, copy=False)

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Cotangents:
        u, _, vt = svd(inputs[0])
        row = unsqueeze(cotangent, [len(cotangent.shape) - 1])
        return [dot(u * expand(row, u.shape), vt)]


@register
@record
class Rank(Fixed, Scalar):
    """How many singular values are greater than `max(atol, rtol · the largest)`; it has no derivative."""

    name = "rank"
    atol: float
    rtol: float

    def infer(self, *types: Type) -> Type:
        return super().infer(*types).with_dtype(dtypes.int64)

    def evaluate(self, *arrays: Array) -> Array:
        s = SingularValues().evaluate(*arrays)
        return np.asarray(np.add.reduce(_kept(s, self.atol, self.rtol), -1, np.int64))


def _kept(s: Array, atol: float, rtol: float) -> Array:
    """Which singular values, descending, are greater than both bounds."""
    return np.asarray(s > np.maximum(atol, rtol * s[..., :1]))


@register
@record
class Qr(Lapack):
    """Of `[…, m, n]`, k the lesser: q `[m, k]`, and below it rᵀ `[n, k]`."""

    name = "qr"
    complete: bool = False
    """Whether k is m. If it is greater than n, there is no derivative."""

    def shape(self, *shape: int) -> Sequence[int]:
        *batch, m, n = shape
        return (*batch, m + n, m if self.complete else min(m, n))

    def evaluate(self, *arrays: Array) -> Array:
        (a,) = arrays
        return gufuncs.qr(self.complete, a.dtype, *a.shape)(a)

    def function(self, types: Sequence[Type]) -> Callable[..., Array] | None:
        return gufuncs.qr(self.complete, types[0].dtype.numpy, *types[0].shape)

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Cotangents:
        m, n = inputs[0].shape[-2:]
        if self.complete and m > n:
            raise GradientError(
                mirrored("The QR decomposition is not differentiable when mode='complete' and nrows > ncols"),
                "the last columns of Q are not determined by the matrix",
                "use mode='reduced'",
            )
        (q, r), (q_bar, r_bar) = _qr_parts(out, m), _qr_parts(cotangent, m)
        if m >= n:
            return [_tall_qr(q, r, q_bar, r_bar)]
        last = len(out.shape) - 1
        rest, rest_bar = narrow(inputs[0], last, m, n), narrow(r_bar, last, m, n)
        first, first_bar = narrow(r, last, 0, m), narrow(r_bar, last, 0, m)
        left = _tall_qr(q, first, q_bar + dot(rest, transpose(rest_bar)), first_bar)
        return [concat([left, dot(q, rest_bar)], last)]


@register
@record
class Complement(Fixed, Lapack):
    """Of orthonormal columns `[…, m, k]`, m-k more that complete a basis. Taken as constant: any do."""

    name = "complement"

    def shape(self, *shape: int) -> Sequence[int]:
        *batch, m, n = shape
        return (*batch, m, m - n)

    def evaluate(self, *arrays: Array) -> Array:
        (u,) = arrays
        m, k = u.shape[-2:]
        return np.array(Qr(complete=True).evaluate(u)[..., :m, k:])


@register
@record
class Pinv(Lapack):
    """The pseudo-inverse; singular values up to `max(atol, rtol · the largest)` count as zero."""

    name = "pinv"
    atol: float
    rtol: float

    def shape(self, *shape: int) -> Sequence[int]:
        *batch, m, n = shape
        return (*batch, n, m)

    def evaluate(self, *arrays: Array) -> Array:
        found, _ = self._by_svd(*arrays)
        return np.asarray(found.astype(arrays[0].dtype, copy=False))

    def _by_svd(self, a: Array) -> tuple[Array, Array]:
        """In float64, and which singular values do not count as zero."""
        *batch, m, n = a.shape
        k = min(m, n)
        u, s, vt = (np.empty((*batch, *shape)) for shape in ((m, k), (k,), (k, n)))
        _into_singular(a, u, s, vt)
        kept = _kept(s, self.atol, self.rtol)
        small = np.divide(1, s, out=np.zeros(s.shape), where=kept)
        return vt.swapaxes(-1, -2) @ (small[..., None] * u.swapaxes(-1, -2)), kept

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Cotangents:
        a, p = inputs[0], out
        turned, back = transpose(p), transpose(cotangent)
        left = dot(back, dot(p, turned))
        right = dot(dot(turned, p), back)
        found = left - dot(a, dot(p, left)) + right - dot(right, dot(p, a))
        return [found - dot(dot(turned, cotangent), turned)]


@register
@record
class RankedPinv(Pinv):
    """The pseudo-inverse of matrices with elements, and below it a row of ranks."""

    name = "ranked_pinv"

    def shape(self, *shape: int) -> Sequence[int]:
        *batch, m, n = shape
        return (*batch, n + 1, m)

    def evaluate(self, *arrays: Array) -> Array:
        (a,) = arrays
        packed = np.empty(self.shape(*a.shape), a.dtype)
        packed[..., :-1, :], kept = self._by_svd(a)
        packed[..., -1, :] = np.add.reduce(kept, -1, keepdims=True)
        return packed

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Cotangents:
        row = len(out.shape) - 2
        of_inverse, inverse = (narrow(x, row, 0, x.shape[row] - 1) for x in (cotangent, out))
        return super().adjoint(of_inverse, inverse, inputs, needed)


_UNCONVERGED = (
    "linalg.{}: The algorithm failed to converge because the input matrix is ill-conditioned or has too many "
    "repeated {}."
)


def _into_singular(a: Array, u: Array, s: Array, vt: Array) -> None:
    """Write LAPACK's u, s and vᵀ; NaN for a matrix with infinities, as in PyTorch."""
    gufuncs.svd(gufuncs.wide(a), u, s, vt)
    if gufuncs.are_numbers(s):
        return
    why = "linalg.svd: The algorithm failed to converge because the input matrix contained non-finite values."
    answer(why, _without_nan, a)
    answer(_UNCONVERGED.format("svd", "singular values"), np.linalg.svd, np.where(np.isinf(a), 0, a))


def _without_nan(a: Array) -> None:
    if np.isnan(a).any():
        raise np.linalg.LinAlgError


# ---- formulas that adjoints share --------------------------------------------------------------------------


def _diagonal(row: Value) -> Value:
    """The diagonal matrix of a row `[…, 1, n]`."""
    square = row + transpose(row)
    return rows.where(on_diagonal(square), square * 0.5, square * 0)


def _inverse(x: Value) -> Value:
    """`1 / x`, and 0 where x is 0."""
    nothing = rows.eq(x, 0)
    return rows.where(nothing, 0.0, rows.reciprocal(rows.where(nothing, 1.0, x)))


def _inverse_gaps(row: Value) -> Value:
    """`1 / (wⱼ - wᵢ)` of a row w; 0 on the diagonal and where two are equal: the factors are not
    unique there, and what is unique does not depend on how they turn.
    """
    return _inverse(row - transpose(row))


def _skew(x: Value) -> Value:
    return x - transpose(x)


def _outside(q: Value, x: Value) -> Value:
    """The part of x that is not spanned by q's orthonormal columns."""
    return x - dot(q, dot(transpose(q), x))


def _rows_apart(x: Value, *heights: int) -> list[Value]:
    """Blocks of rows of the given heights, and the rest."""
    axis = len(x.shape) - 2
    bounds = [0, *np.cumsum(heights).tolist(), x.shape[axis]]
    return [narrow(x, axis, start, stop) for start, stop in pairwise(bounds)]


def _first_row(x: Value) -> Value:
    return select(x, len(x.shape) - 2, 0)


def _svd_parts(x: Value, m: int) -> list[Value]:
    return _rows_apart(x, 1, m)


def _qr_parts(x: Value, m: int) -> tuple[Value, Value]:
    q, turned = _rows_apart(x, m)
    return q, transpose(turned)


def _tall_qr(q: Value, r: Value, q_bar: Value, r_bar: Value) -> Value:
    inner = dot(r, transpose(r_bar)) - dot(transpose(q_bar), q)
    lower = tril(inner)
    symmetric = lower + transpose(tril(inner, -1))
    return transpose(solve(r, transpose(q_bar + dot(q, symmetric))))


# ---- as functions of values of any level -------------------------------------------------------------------


def eigh(a: Value, upper: bool = False) -> tuple[Value, Value]:
    """Eigenvalues and eigenvectors of symmetric matrices."""
    packed = apply(Eigh(upper), a)
    return _first_row(packed), _rows_apart(packed, 1)[1]


def svd(a: Value) -> tuple[Value, Value, Value]:
    """u, s and vᵀ, of the lesser size."""
    packed = apply(Svd(), a)
    _, u, v = _svd_parts(packed, a.shape[-2])
    return u, _first_row(packed), transpose(v)


def qr(a: Value, complete: bool = False) -> tuple[Value, Value]:
    """An orthonormal q and an upper triangle r."""
    return _qr_parts(apply(Qr(complete), a), a.shape[-2])


def pinv_with_rank(a: Value, atol: float, rtol: float) -> tuple[Value, Value]:
    """The pseudo-inverse of matrices with elements, and their ranks, as whole numbers."""
    packed = apply(RankedPinv(atol, rtol), a)
    row, n = len(packed.shape) - 2, a.shape[-1]
    ranks = select(select(packed, row, n), row, 0)
    return narrow(packed, row, 0, n), cast(ranks, dtypes.int64)
