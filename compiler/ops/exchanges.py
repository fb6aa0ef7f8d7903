"""Elimination with row exchanges: by the LAPACK that NumPy is linked with, or in NumPy where it is not found.

NumPy offers no such factors, but its LAPACK does, by `getrf` (`routines.py`). In flow stacks of matrices
`[…, m, n]` in float32 or float64, out flow packed factors and pivots, each the first of the largest. What
depends on sizes alone is made once.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import prod

import numpy as np

from retrograd.compiler.ir.graph import Array
from retrograd.compiler.ops import routines

# ---- the factors -------------------------------------------------------------------------------------------


@lru_cache(maxsize=256)
def elimination(dtype: np.dtype[np.generic], *shape: int) -> routines.Factored:
    """Of matrices of this shape the factors in one array `[…, m + 1, n]`: L below the diagonal, U from it on,
    and as its last row for each step the row, counted from 1, that changed places with the step's own.
    """
    if (lapack := routines.LAPACK) is None:
        return _by_numpy
    m, n = shape[-2:]
    getrf = lapack.routine("getrf", dtype, addresses=6)
    rows, width, apart = map(lapack.number, (m, n, m + 1))
    return routines.packing(lambda at, to, info: getrf(rows, width, at, apart, to, info), dtype, *shape)


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
