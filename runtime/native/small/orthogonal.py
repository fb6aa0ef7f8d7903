"""The kernels of `A = Q·R` by Householder's reflectors, in the native language: steps of a small graph.

In flow stacks of matrices in order and the sizes of a step; out flows 0, or 1 where squares of elements leave
the range of numbers, so that the call is for `slow`. Reflectors are those of LAPACK's `geqr2` and `larfg`.
What LAPACK has as columns are rows here, while they are worked on: a matrix is turned over first.
"""

from __future__ import annotations

from retrograd.compiler.native.language import Array, Record, inlined, native, sqrt
from retrograd.runtime.native.small.elimination import Sizes
from retrograd.runtime.native.small.row_operations import (
    LANES,  # noqa: F401  # an instance has its own
    One,  # noqa: F401  # as well
    Several,  # noqa: F401  # as well
    T,
    clear,
    product_of,
    subtract,
)

_LEAST, _MOST = 1e-280, 1e280
"""Of a column's squares: beyond, they are not added up safely."""


@native
def raw_qr(arrays: Array[Array[T]], sizes: Sizes) -> int:
    """R from the diagonal on, the reflectors below it, and a last row of their τ: `[batch, m + 1, n]`. The
    arrays: these, memory for `[n, m]`, A `[batch, m, n]`."""
    m, n = sizes.m, sizes.n
    for number in range(sizes.batch):
        packed = arrays[0] + number * (m + 1) * n
        turn_over(arrays[1], arrays[2] + number * m * n, m, n)
        clear(packed + m * n, n)
        if not reflect(arrays[1], packed + m * n, m, n):
            return 1
        turn_over(packed, arrays[1], n, m)
    return 0


class QrSizes(Record):
    batch: int
    m: int
    n: int
    count: int
    """Of Q's columns."""


@native
def qr(arrays: Array[Array[T]], sizes: QrSizes) -> int:
    """Q `[batch, m, count]`, and below it Rᵀ `[batch, n, count]`. The arrays: these, memory for `[n, m]`, τ
    `[n]` and `[count, m]`, A `[batch, m, n]`."""
    m, n, count = sizes.m, sizes.n, sizes.count
    for number in range(sizes.batch):
        packed = arrays[0] + number * (m + n) * count
        turn_over(arrays[1], arrays[4] + number * m * n, m, n)
        if not reflect(arrays[1], arrays[2], m, n):
            return 1
        build(arrays[3], arrays[1], arrays[2], m, min(m, n), count)
        turn_over(packed, arrays[3], count, m)
        for j in range(n):
            row, column = packed + (m + j) * count, arrays[1] + j * m
            for i in range(count):
                row[i] = column[i] if i <= j else 0.0
    return 0


@inlined
def turn_over(to: Array[T], source: Array[T], m: int, n: int) -> None:
    """The transpose of a matrix `[m, n]`."""
    for i in range(m):
        for j in range(n):
            to[j * m + i] = source[i * n + j]


@inlined
def reflect(columns: Array[T], tau: Array[T], m: int, n: int) -> bool:
    """One matrix, in place: whether squares stay in range."""
    k, right = 0, True
    while right and k < min(m, n):
        here, rest = columns + k * m + k, m - k - 1
        right = make_reflector(here, tau + k, rest)
        for j in range(k + 1, n):
            apply_reflector(columns + j * m + k, here, tau[k], rest)
        k += 1
    return right


@inlined
def make_reflector(column: Array[T], tau: Array[T], rest: int) -> bool:
    """What leaves of a column its first element alone, and `rest` zeros: the others are the vector then."""
    first, squares = column[0], product_of(column + 1, column + 1, rest)
    tau[0] = 0.0
    if squares == 0.0:
        return is_zero(column + 1, rest)
    size = sqrt(first * first + squares)
    if not (squares > _LEAST and size * size < _MOST):
        return False
    to = -size if first >= 0.0 else size
    tau[0] = (to - first) / to
    inverse = 1.0 / (first - to)
    for i in range(1, rest + 1):
        column[i] = column[i] * inverse
    column[0] = to
    return True


@inlined
def is_zero(x: Array[T], count: int) -> bool:
    found = True
    for i in range(count):
        found = found and x[i] == 0.0
    return found


@inlined
def apply_reflector(x: Array[T], vector: Array[T], tau: float, rest: int) -> None:
    """To a column; the vector's own first element is 1."""
    inner = tau * (x[0] + product_of(x + 1, vector + 1, rest))
    x[0] = x[0] - inner
    subtract(x + 1, vector + 1, inner, rest)


@inlined
def build(q: Array[T], columns: Array[T], tau: Array[T], m: int, k: int, count: int) -> None:
    """The first columns of the product of k reflectors, from the last on."""
    clear(q, count * m)
    for j in range(count):
        q[j * m + j] = 1.0
    for turn in range(k):
        i = k - 1 - turn
        for j in range(i, count):
            apply_reflector(q + j * m + i, columns + i * m + i, tau[i], m - i - 1)
