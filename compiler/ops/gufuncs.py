"""LAPACK by NumPy's inner functions: those that `numpy.linalg`'s public ones wrap, at several times the cost
where matrices are small.

In flow stacks of matrices, and arrays for the answers; these become the public
functions' values, and NaN all over for a matrix without an answer: who asks knows how to say so. The inner
functions are no part of NumPy's interface, so each is looked for, and the public one taken where there is
none. They write NaN where NumPy is told to be quiet (`ir/quiet.py`), as it is wherever an op is evaluated.
Factors of small matrices are in float64, whatever they are stored in, as in NumPy, those of greater ones in
their own dtype, as in PyTorch (`working`): operands and answers come in it, for a cast on the way costs as
much as a small matrix's factors.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from retrograd.compiler.ir.graph import Array
from retrograd.compiler.ops import routines


def _inner(*names: str) -> tuple[Callable[..., Any], ...]:
    """NumPy's inner functions of these names; none unless it has them all."""
    found = [getattr(getattr(np.linalg, "_umath_linalg", None), name, None) for name in names]
    functions = [f for f in found if isinstance(f, np.ufunc)]
    return tuple(functions) if len(functions) == len(names) else ()


_QR, _SVD = _inner("qr_r_raw", "qr_reduced", "qr_complete"), _inner("svd_s")
_VALUES = _inner("svd")
_EIGH, _SOLVE, _CHOLESKY = _inner("eigh_lo", "eigh_up"), _inner("solve"), _inner("cholesky_lo")
_EIGENVALUES = _inner("eigvalsh_lo", "eigvalsh_up")
_DET, _INV = _inner("det", "slogdet"), _inner("inv")
_FEW = 1 << 10
"""Elements of a small matrix."""


def working(a: Array) -> np.dtype[np.generic]:
    """In what dtype matrices are factored."""
    return np.dtype(np.float64) if is_small(a) else a.dtype


def is_small(a: Array) -> bool:
    return bool(a.shape[-2] * a.shape[-1] <= _FEW)


def wide(a: Array) -> Array:
    """In the dtype in which they are factored."""
    return a.astype(working(a), copy=False)


def _is_for_lapack(a: Array, b: Array) -> bool:
    """Whether LAPACK's own routines solve for b: those that NumPy calls copy more, and for an inverse do half
    as much again."""
    alike = a.shape[:-2] == b.shape[:-2] and a.dtype == b.dtype and a.dtype.char in "fd"
    return routines.LAPACK is not None and alike and not is_small(a) and a.size > 0 and b.size > 0


def inverse(a: Array, x: Array) -> None:
    """The inverses `[…, n, n]`, into a new array."""
    if _is_for_lapack(a, x):
        x[...] = a
        routines.inverting(x.dtype, x.shape[-1])(x)
    elif _INV:
        _INV[0](a, x)
    else:
        _publicly(np.linalg.inv, (a,), (x,))


def solve(a: Array, b: Array, x: Array) -> None:
    """The x of `a · x = b`, for a `[…, n, n]` and b `[…, n, k]`."""
    if _is_for_lapack(a, b):
        sides = b.swapaxes(-1, -2).copy()
        routines.solving(x.dtype, *b.shape[-2:])(a.copy(), sides)
        x[...] = sides.swapaxes(-1, -2)
    elif _SOLVE:
        _SOLVE[0](a, b, x)
    else:
        _publicly(np.linalg.solve, (a, b), (x,))


def cholesky(a: Array, factor: Array) -> None:
    """The lower triangle l of `a = l · lᵀ`, of which the lower triangle is read."""
    if _CHOLESKY:
        _CHOLESKY[0](a, factor)
    else:
        _publicly(np.linalg.cholesky, (a,), (factor,))


def det(a: Array) -> Array:
    """The determinants `[…]` of a `[…, n, n]`."""
    return np.asarray((_DET[0] if _DET else np.linalg.det)(a))


def slogdet(a: Array) -> tuple[Array, Array]:
    """Their signs, and the logarithms of their magnitudes."""
    sign, magnitude = (_DET[1] if _DET else np.linalg.slogdet)(a)
    return np.asarray(sign), np.asarray(magnitude)


def eigh(a: Array, upper: bool, w: Array, v: Array) -> None:
    """Eigenvalues w `[…, n]`, ascending, and -vectors v `[…, n, n]` of a, of which one triangle is read."""
    if _EIGH:
        _EIGH[upper](a, w, v)
    else:
        _publicly(lambda a: np.linalg.eigh(a, "U" if upper else "L"), (a,), (w, v))


def eigenvalues(a: Array, upper: bool, w: Array) -> None:
    """Those of `eigh` alone."""
    if _EIGENVALUES:
        _EIGENVALUES[upper](a, w)
    else:
        _publicly(lambda a: np.linalg.eigvalsh(a, "U" if upper else "L"), (a,), (w,))


def svd(a: Array, u: Array, s: Array, vt: Array) -> None:
    """u `[…, m, k]`, s `[…, k]` and vᵀ `[…, k, n]` of a `[…, m, n]`, k the lesser."""
    if _SVD:
        _SVD[0](a, u, s, vt)
    else:
        _publicly(lambda a: np.linalg.svd(a, full_matrices=False), (a,), (u, s, vt))


def singular_values(a: Array, s: Array) -> None:
    """The singular values s `[…, k]` of a `[…, m, n]`, descending, k the lesser."""
    if _VALUES:
        _VALUES[0](a, s)
    else:
        _publicly(lambda a: np.linalg.svd(a, compute_uv=False), (a,), (s,))


@lru_cache(maxsize=256)
def qr(complete: bool, dtype: np.dtype[np.generic], *shape: int) -> Callable[[Array], Array]:
    """Of a matrix `[…, m, n]` of this shape, k the lesser, or m if it is `complete`: orthonormal columns q
    `[…, m, k]`, and below them the triangle's rᵀ `[…, n, k]`.
    """
    *batch, m, n = shape
    k = m if complete else min(m, n)
    whole, head, tail = (*batch, m + n, k), (..., slice(m), slice(None)), (..., slice(m, None), slice(None))
    if m * n > _FEW and routines.LAPACK is not None:
        reflect, build = routines.reflecting(dtype, m, n), routines.building(dtype, m, k, min(m, n))

        def factored(a: Array) -> Array:
            found = np.empty(whole, dtype)
            for place in np.ndindex(*batch):
                columns, tau = np.zeros((max(n, k), m), dtype), np.empty(min(m, n), dtype)
                columns[:n] = a[place].T
                reflect(columns, tau)
                found[place][m:] = np.tril(columns[:n, :k])
                build(columns, tau)
                found[place][:m] = columns[:k].T
            return found

        return factored
    kept = ~below(k, n)
    mode: Literal["complete", "reduced"] = "complete" if complete else "reduced"
    first = (..., slice(k), slice(None))

    def packed(a: Array) -> Array:
        found = np.zeros(whole, dtype)
        r = found[tail].swapaxes(-1, -2)
        if not _QR:
            _publicly(lambda a: np.linalg.qr(a, mode), (a,), (found[head], r))
            return found
        raw, *of_columns = _QR
        factors = a.astype(np.float64)
        found[head] = of_columns[complete and m > n](factors, raw(factors))
        np.copyto(r, factors if m == k else factors[first], "same_kind", kept)
        return found

    return packed


def raw_qr(a: Array) -> tuple[Array, Array]:
    """LAPACK's form of the factors `[…, m, n]`, and τ `[…, k]` of its reflectors, k the lesser."""
    *batch, m, n = a.shape
    if m * n > _FEW and routines.LAPACK is not None:
        columns, tau = np.array(a.swapaxes(-1, -2), order="C"), np.empty((*batch, min(m, n)), a.dtype)
        reflect = routines.reflecting(a.dtype, m, n)
        for place in np.ndindex(*batch):
            reflect(columns[place], tau[place])
        return columns.swapaxes(-1, -2), tau
    if _QR:
        packed = np.array(a, np.float64)
        return packed, _QR[0](packed)
    turned, tau = np.linalg.qr(a, mode="raw")
    return turned.swapaxes(-1, -2), tau


def _publicly(compute: Callable[..., Any], operands: tuple[Array, ...], answers: tuple[Array, ...]) -> None:
    """A public function's value, of each matrix by itself where there is one without."""
    try:
        found = compute(*operands)
    except np.linalg.LinAlgError:
        found = None
    if found is not None:
        for answer, part in zip(answers, found if isinstance(found, tuple) else (found,), strict=True):
            answer[...] = part
        return
    if operands[0].ndim == 2:
        for answer in answers:
            answer[...] = np.nan
        return
    for parts in zip(*operands, *answers, strict=True):
        _publicly(compute, parts[: len(operands)], parts[len(operands) :])


def are_numbers(x: Array) -> bool:
    """Whether no element is NaN."""
    flat = x.ravel()
    return bool((total := flat.dot(flat)) == total)


@lru_cache(maxsize=64)
def below(m: int, n: int) -> Array:
    """Where a matrix `[m, n]` is below its diagonal."""
    return np.tri(m, n, -1, dtype=bool)


@lru_cache(maxsize=64)
def diagonal(m: int, n: int) -> Array:
    """Where a matrix `[m, n]` is on its diagonal."""
    return np.eye(m, n, dtype=bool)
