"""Elimination with row exchanges: by the LAPACK that NumPy is linked with, or in NumPy where it is not found.

NumPy offers no such factors, but its LAPACK does, by `getrf`. That is no part of NumPy's interface, so it is
looked for, under the names that its builds give it. In flow stacks of matrices `[…, m, n]` in float32 or
float64, out flow packed factors and pivots, each the first of the largest. What depends on sizes alone is
made once.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
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


class _Library:
    """The LAPACK of NumPy: its `getrf` by the elements' type, and what its integers are."""

    def __init__(self, path: str) -> None:
        library = ctypes.CDLL(path)
        form, self.integer = next(
            each for each in _NAMES.items() if hasattr(library, each[0].format("sgetrf"))
        )
        self.getrf: dict[str, Callable[..., None]] = {}
        for kind, letter in _LETTERS.items():
            function = self.getrf[kind] = library[form.format(f"{letter}getrf")]
            function.argtypes, function.restype = [ctypes.c_void_p] * 6, None

    def number(self, value: int) -> Any:
        """A number as Fortran is given it."""
        return ctypes.byref(self.integer(value))


def _found() -> _Library | None:
    with suppress(AttributeError, OSError, StopIteration):
        return _Library(np.linalg._umath_linalg.__file__)
    return None


_LAPACK = _found()


def _address(array: Any) -> int:
    """Where the elements of a new array begin, which NumPy's stubs do not show to be a buffer."""
    return ctypes.addressof(ctypes.c_char.from_buffer(array))


Factored = Callable[[Array], tuple[Array, Array]]
"""From matrices to their factors, and to the pivots with, after these, the number of the first that is 0."""


# ---- the factors -------------------------------------------------------------------------------------------


@lru_cache(maxsize=256)
def elimination(dtype: np.dtype[np.generic], *shape: int) -> Factored:
    """Of matrices of this shape the factors in one array `[…, m + 1, n]`, L below the diagonal, U from it on,
    and as its last row for each step the row, counted from 1, that changed places with the step's own; and
    for each matrix at which step, counted from 1, its pivot is 0, or 0.
    """
    *batch, m, n = shape
    k = min(m, n)
    by = _by_numpy if _LAPACK is None else _by_lapack(_LAPACK, dtype, *shape)
    whole, head, last_row = (*batch, m + 1, n), (..., slice(m), slice(None)), (..., m, slice(k))
    steps, failure = (..., slice(k)), (..., k)

    def packed(a: Array) -> tuple[Array, Array]:
        found = np.zeros(whole, dtype)
        found[head], pivots = by(a)
        found[last_row] = pivots[steps]
        return found, pivots[failure]

    return packed


def _by_lapack(lapack: _Library, dtype: np.dtype[np.generic], *shape: int) -> Factored:
    *batch, m, n = shape
    count, k = prod(batch) if m and n else 0, min(m, n)
    getrf, rows, width = lapack.getrf[dtype.char], lapack.number(m), lapack.number(n)
    integer = np.dtype(lapack.integer)
    matrix, steps = m * n * dtype.itemsize, k * integer.itemsize
    known, next_steps = (*batch, k + 1), steps + integer.itemsize

    def factored(a: Array) -> tuple[Array, Array]:
        columns, pivots = a.swapaxes(-1, -2).copy(), np.zeros(known, integer)
        if count:
            at, to = _address(columns), _address(pivots)
            for _ in range(count):
                getrf(rows, width, at, rows, to, to + steps)
                at, to = at + matrix, to + next_steps
        return columns.swapaxes(-1, -2), pivots

    return factored


def _by_numpy(a: Array) -> tuple[Array, Array]:
    """One column of all matrices at a time."""
    *batch, m, n = a.shape
    k = min(m, n)
    packed = np.array(a.reshape(prod(batch), m, n))
    pivots = np.zeros((len(packed), k + 1), np.int64)
    every = np.arange(len(packed))
    for step in range(k if len(packed) else 0):
        chosen = step + np.argmax(np.abs(packed[:, step:, step]), axis=1)
        pivots[:, step] = chosen + 1
        packed[every, step], packed[every, chosen] = packed[every, chosen], packed[every, step].copy()
        pivot = packed[:, step, step, None]
        pivots[(pivots[:, k] == 0) & (pivot[:, 0] == 0), k] = step + 1
        below = packed[:, step + 1 :, step]
        below[...] = np.where(pivot == 0, below, below / pivot)
        packed[:, step + 1 :, step + 1 :] -= below[:, :, None] * packed[:, None, step, step + 1 :]
    return packed.reshape(a.shape), pivots.reshape(*batch, k + 1)


# ---- the order of rows -------------------------------------------------------------------------------------


def ordering(pivots: Array, m: int, dtype: np.dtype[np.generic]) -> Array:
    """The matrices P `[…, m, m]` of exchanges `[…, k]`, one after the other, of rows between 1 and m."""
    *batch, k = pivots.shape
    orders = [_order(chosen, m) for chosen in pivots.reshape(prod(batch), k).tolist()]
    found = np.zeros((len(orders), m * m), dtype)
    if found.size:
        found[_line(len(orders))[:, None], np.array(orders) * m + _line(m)] = 1
    return found.reshape(*batch, m, m)


def _order(pivots: Sequence[int], m: int) -> list[int]:
    """Which row of A each row of L·U is."""
    order = list(range(m))
    for here, other in enumerate(pivots):
        order[here], order[other - 1] = order[other - 1], order[here]
    return order


@lru_cache(maxsize=64)
def _line(count: int) -> Array:
    return np.arange(count)
