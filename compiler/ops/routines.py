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


# ---- reflectors --------------------------------------------------------------------------------------------

_BLOCK = 64
"""Columns of a block, for which routines are given memory."""


def reflecting(dtype: np.dtype[np.generic], m: int, n: int) -> Callable[[Array, Array], None]:
    """Factors a matrix `[m, n]` whose columns are given as rows, in place, and writes τ."""
    assert LAPACK is not None
    geqrf = LAPACK.routine("geqrf", dtype, addresses=8)
    rows, columns, length, info = map(LAPACK.number, (m, n, n * _BLOCK, 0))

    def reflect(a: Array, tau: Array) -> None:
        work = np.empty(n * _BLOCK, dtype)
        geqrf(rows, columns, address(a), rows, address(tau), address(work), length, info)

    return reflect


def building(dtype: np.dtype[np.generic], m: int, count: int, k: int) -> Callable[[Array, Array], None]:
    """Makes of k reflectors the first `count` columns of their product, in place."""
    assert LAPACK is not None
    orgqr = LAPACK.routine("orgqr", dtype, addresses=9)
    rows, columns, vectors, length, info = map(LAPACK.number, (m, count, k, count * _BLOCK, 0))

    def build(a: Array, tau: Array) -> None:
        work = np.empty(count * _BLOCK, dtype)
        orgqr(rows, columns, vectors, address(a), rows, address(tau), address(work), length, info)

    return build
