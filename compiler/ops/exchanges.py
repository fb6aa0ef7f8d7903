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
"""From matrices to their packed factors, and `[…, 1]` at which step, counted from 1, a pivot is 0, or 0."""


# ---- the factors -------------------------------------------------------------------------------------------


@lru_cache(maxsize=256)
def elimination(dtype: np.dtype[np.generic], *shape: int) -> Factored:
    """Of matrices of this shape the factors in one array `[…, m + 1, n]`: L below the diagonal, U from it on,
    and as its last row for each step the row, counted from 1, that changed places with the step's own.
    """
    if _LAPACK is None:
        return _by_numpy
    *batch, m, n = shape
    count, k, integer = prod(batch) if m and n else 0, min(m, n), np.dtype(_LAPACK.integer)
    getrf = _LAPACK.getrf[dtype.char]
    rows, width, apart = map(_LAPACK.number, (m, n, m + 1))
    matrix, steps = (m + 1) * n * dtype.itemsize, k * integer.itemsize
    known, next_steps = (*batch, k + 1), steps + integer.itemsize
    turned, head, last = (*batch, n, m + 1), (..., slice(m)), (..., slice(k), m)
    chosen, failure = (..., slice(k)), (..., slice(k, None))

    def factored(a: Array) -> tuple[Array, Array]:
        columns, pivots = np.zeros(turned, dtype), np.zeros(known, integer)
        columns[head] = a.swapaxes(-1, -2)
        if count:
            at, to = _address(columns), _address(pivots)
            for _ in range(count):
                getrf(rows, width, at, apart, to, to + steps)
                at, to = at + matrix, to + next_steps
        columns[last] = pivots[chosen]
        return columns.swapaxes(-1, -2).copy(), pivots[failure]

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
    last = np.zeros((len(packed), 1, n), a.dtype)
    last[:, 0, :k] = pivots[:, :k]
    return np.concatenate([packed, last], 1).reshape(*batch, m + 1, n), pivots[:, k].reshape(*batch, 1)


# ---- the order of rows -------------------------------------------------------------------------------------


def ordering(pivots: Array, m: int, dtype: np.dtype[np.generic]) -> Array:
    """The matrices P `[…, m, m]` of exchanges `[…, k]`, one after the other; IndexError unless all the rows
    that they name, counted from 1, are there.
    """
    *batch, k = pivots.shape
    orders = [_order(chosen, m) for chosen in pivots.reshape(prod(batch), k).tolist()]
    columns = np.array(orders, np.intp).reshape(len(orders), m)
    found = np.ascontiguousarray(_unit(dtype, m).take(columns, 1).swapaxes(0, 1))
    return found.reshape(*batch, m, m)


def _order(pivots: Sequence[int], m: int) -> list[int]:
    """Which row of A each row of L·U is."""
    order = list(range(m))
    for here, other in enumerate(pivots):
        if other < 1:
            raise IndexError(other)
        order[here], order[other - 1] = order[other - 1], order[here]
    return order


@lru_cache(maxsize=64)
def _unit(dtype: np.dtype[np.generic], m: int) -> Array:
    return np.eye(m, dtype=dtype)
