"""LAPACK's own routines, of the library that NumPy is linked with: those that NumPy does not offer.

They are no part of NumPy's interface, so they are looked for, under the names that its builds give them; who
wants one does without where the library is not found. `packing` calls a routine that factors a matrix in
place, exchanging rows, for each matrix of a stack; `reflecting` and `building` are for one matrix. What
depends on sizes alone is made once.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from retrograd.compiler.ir.graph import Array

_NAMES = {
    "scipy_{}_64_": ctypes.c_int64,
    "{}_64_": ctypes.c_int64,
    "scipy_{}_": ctypes.c_int32,
    "{}_": ctypes.c_int32,
}
"""What builds call a function, and what its integers are."""
_LETTERS = {"f": "s", "d": "d"}
"""With which letter a name begins, by the elements' type."""


class Library:
    """The LAPACK of NumPy: its routines by name, and what its integers are."""

    def __init__(self, path: str) -> None:
        self._library = ctypes.CDLL(path)
        self._form, integer = next(
            each for each in _NAMES.items() if hasattr(self._library, each[0].format("sgetrf"))
        )
        self._integer, self.integer = integer, np.dtype(integer)

    def routine(
        self, name: str, dtype: np.dtype[np.generic], addresses: int, words: int = 0
    ) -> Callable[..., None]:
        """A routine for elements of a type, given so many addresses, and the lengths of so many words."""
        function = self._library[self._form.format(_LETTERS[dtype.char] + name)]
        function.argtypes = [ctypes.c_void_p] * addresses + [ctypes.c_size_t] * words
        function.restype = None
        return function

    def number(self, value: int) -> Any:
        """A number as Fortran is given it."""
        return ctypes.byref(self._integer(value))


def found() -> Library | None:
    with suppress(AttributeError, OSError, StopIteration):
        return Library(np.linalg._umath_linalg.__file__)
    return None


LAPACK = found()
"""Of BLAS, which LAPACK calls, too."""


def address(array: Any) -> int:
    """Where the elements of a new array begin, which NumPy's stubs do not show to be a buffer."""
    return ctypes.addressof(ctypes.c_char.from_buffer(array))


# ---- factors by row exchanges ------------------------------------------------------------------------------

Factored = Callable[[Array], tuple[Array, Array]]
"""From matrices to their packed factors, and `[…, 1]` at which step, counted from 1, a pivot is 0, or 0."""


def packing(factor: Callable[[int, int, int], None], dtype: np.dtype[np.generic], *shape: int) -> Factored:
    """Matrices `[…, m, n]` factored in place, packed as `[…, m + 1, n]` with a last row: for each step the
    row, counted from 1, that changed places with the step's own. `factor` is given where the columns of a
    matrix begin, m + 1 elements apart, and where its pivots go, and whether it fails.
    """
    assert LAPACK is not None
    *batch, m, n = shape
    count, k, integer = prod(batch) if m and n else 0, min(m, n), LAPACK.integer
    matrix, steps = (m + 1) * n * dtype.itemsize, k * integer.itemsize
    known, next_steps = (*batch, k + 1), steps + integer.itemsize
    turned, head, last = (*batch, n, m + 1), (..., slice(m)), (..., slice(k), m)
    chosen, failure = (..., slice(k)), (..., slice(k, None))

    def factored(a: Array) -> tuple[Array, Array]:
        columns, pivots = np.zeros(turned, dtype), np.zeros(known, integer)
        columns[head] = a.swapaxes(-1, -2)
        if count:
            at, to = address(columns), address(pivots)
            for _ in range(count):
                factor(at, to, to + steps)
                at, to = at + matrix, to + next_steps
        columns[last] = pivots[chosen]
        return columns.swapaxes(-1, -2).copy(), pivots[failure]

    return factored


# ---- square matrices, whose rows are taken for columns -----------------------------------------------------


@lru_cache(maxsize=256)
def inverting(dtype: np.dtype[np.generic], n: int) -> Callable[[Array], None]:
    """Puts the inverses of stacked matrices `[n, n]` in their place, NaN where there is none."""
    assert LAPACK is not None
    getri, integer = LAPACK.routine("getri", dtype, addresses=7), LAPACK.integer
    factor, order, length = factoring(dtype, n), LAPACK.number(n), LAPACK.number(n * _BLOCK)

    def invert(x: Array) -> None:
        pivots, work = np.empty(n + 1, integer), np.empty(n * _BLOCK, dtype)
        to, memory = address(pivots), address(work)
        for matrix, at in zip(x.reshape(-1, n, n), _addresses(x, 2)):
            factor(at, to)
            if pivots[n]:
                matrix[...] = np.nan
                continue
            getri(order, at, order, to, memory, length, to + n * integer.itemsize)

    return invert


@lru_cache(maxsize=256)
def solving(dtype: np.dtype[np.generic], n: int, k: int) -> Callable[[Array, Array], None]:
    """Puts solutions in the place of right-hand sides `[k, n]`, which stand as rows, of stacked matrices
    `[n, n]`, which are lost; NaN where there is none."""
    assert LAPACK is not None
    getrs, integer = LAPACK.routine("getrs", dtype, addresses=9, words=1), LAPACK.integer
    factor, order, sides = factoring(dtype, n), LAPACK.number(n), LAPACK.number(k)

    def solve(a: Array, b: Array) -> None:
        pivots = np.empty(n + 1, integer)
        to = address(pivots)
        for rows, at, by in zip(b.reshape(-1, k, n), _addresses(a, 2), _addresses(b, 2)):
            factor(at, to)
            if pivots[n]:
                rows[...] = np.nan
                continue
            getrs(b"T", order, sides, at, order, to, by, order, to + n * integer.itemsize, 1)

    return solve


def factoring(dtype: np.dtype[np.generic], n: int) -> Callable[[int, int], None]:
    """Factors a matrix in place, given where it and its pivots go; behind these is not 0 if one is 0."""
    assert LAPACK is not None
    getrf, order = LAPACK.routine("getrf", dtype, addresses=6), LAPACK.number(n)
    behind = n * LAPACK.integer.itemsize
    return lambda at, to: getrf(order, order, at, order, to, to + behind)


# ---- reflectors --------------------------------------------------------------------------------------------

_BLOCK = 64
"""Columns of a block, for which routines are given memory."""


@lru_cache(maxsize=256)
def reflecting(dtype: np.dtype[np.generic], m: int, n: int) -> Callable[[Array, Array], None]:
    """Factors a matrix `[m, n]` whose columns are given as rows, in place, and writes τ."""
    assert LAPACK is not None
    geqrf = LAPACK.routine("geqrf", dtype, addresses=8)
    rows, columns, length, info = map(LAPACK.number, (m, n, n * _BLOCK, 0))

    def reflect(a: Array, tau: Array) -> None:
        work = np.empty(n * _BLOCK, dtype)
        geqrf(rows, columns, address(a), rows, address(tau), address(work), length, info)

    return reflect


@lru_cache(maxsize=256)
def building(dtype: np.dtype[np.generic], m: int, count: int, k: int) -> Callable[[Array, Array], None]:
    """Makes of k reflectors the first `count` columns of their product, in place."""
    assert LAPACK is not None
    orgqr = LAPACK.routine("orgqr", dtype, addresses=9)
    rows, columns, vectors, length, info = map(LAPACK.number, (m, count, k, count * _BLOCK, 0))

    def build(a: Array, tau: Array) -> None:
        work = np.empty(count * _BLOCK, dtype)
        orgqr(rows, columns, vectors, address(a), rows, address(tau), address(work), length, info)

    return build


@lru_cache(maxsize=256)
def applying(
    dtype: np.dtype[np.generic], m: int, count: int, k: int, turned: bool
) -> Callable[[Array, Array, Array], None]:
    """Multiplies a matrix `[m, count]` by k reflectors, whose vectors are given as rows, or if `turned` by
    the transpose of their product, in place. To LAPACK its rows are columns, and the reflectors stand behind.
    """
    assert LAPACK is not None
    ormqr = LAPACK.routine("ormqr", dtype, addresses=13, words=2)
    size = count * _BLOCK + _BLOCK * (_BLOCK + 1)
    rows, order, vectors, length, info = map(LAPACK.number, (count, m, k, size, 0))
    way = b"N" if turned else b"T"

    def multiply(a: Array, tau: Array, x: Array) -> None:
        work, at, by, to = np.empty(size, dtype), address(a), address(tau), address(x)
        memory = address(work)
        ormqr(b"R", way, rows, order, vectors, at, order, by, to, rows, memory, length, info, 1, 1)

    return multiply


# ---- least squares -----------------------------------------------------------------------------------------

Fitted = Callable[[Array, Array], Array]
"""Of stacks of matrices `[…, m, n]` whose columns are given as rows, and k right-hand sides as rows, too, of
which the solutions take the place, as long as the longer of both: a number for each matrix."""


@lru_cache(maxsize=256)
def fitting(dtype: np.dtype[np.generic], m: int, n: int, k: int, cut: float) -> Fitted:
    """By a factorisation that exchanges columns (`gelsy`): the ranks, up to `cut`."""
    assert LAPACK is not None
    gelsy, integer = LAPACK.routine("gelsy", dtype, addresses=13), LAPACK.integer
    size = max(min(m, n) + 2 * n + _BLOCK * (n + 1), 2 * min(m, n) + _BLOCK * k)
    rows, columns, sides, longest, length, info = map(LAPACK.number, (m, n, k, max(m, n), size, 0))
    bound = np.array([cut], dtype)

    def fit(a: Array, b: Array) -> Array:
        chosen, ranks = np.zeros(a.shape[:-1], integer), np.zeros(a.shape[:-2], integer)
        work = np.empty(size, dtype)
        memory, least = address(work), address(bound)
        for at, to, order, rank in zip(*map(_addresses, (a, b, chosen, ranks), (2, 2, 1, 0))):
            gelsy(rows, columns, sides, at, rows, to, longest, order, least, rank, memory, length, info)
        return ranks

    return fit


@lru_cache(maxsize=256)
def fitting_full(dtype: np.dtype[np.generic], m: int, n: int, k: int) -> Fitted:
    """Of matrices of full rank (`gels`): 0, or at which step, counted from 1, the rank is not."""
    assert LAPACK is not None
    gels, integer = LAPACK.routine("gels", dtype, addresses=11, words=1), LAPACK.integer
    size = min(m, n) + max(m, n, k) * _BLOCK
    rows, columns, sides, longest, length = map(LAPACK.number, (m, n, k, max(m, n), size))

    def fit(a: Array, b: Array) -> Array:
        failures, work = np.zeros(a.shape[:-2], integer), np.empty(size, dtype)
        memory = address(work)
        for at, to, info in zip(*map(_addresses, (a, b, failures), (2, 2, 0))):
            gels(b"N", rows, columns, sides, at, rows, to, longest, memory, length, info, 1)
        return failures

    return fit


def _addresses(stack: Array, rank: int) -> range:
    """Where the elements of each array of a new stack begin."""
    begin, step = address(stack), prod(stack.shape[stack.ndim - rank :]) * stack.itemsize
    return range(begin, begin + stack.nbytes, step)
