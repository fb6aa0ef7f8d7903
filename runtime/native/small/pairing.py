"""Kernels of pairs of rows (`compiler/ops/pairs.py`), and of elements put down at places.

In flow arrays, the result first, and the sizes of a step; out flows 0, or 1 where a place is none.
"""

from __future__ import annotations

from retrograd.compiler.native.language import (
    Array,
    cast,
    fused,
    inlined,
    native,
    put,
    reduce,
    sqrt,
    take,
)
from retrograd.runtime.native.objects import Memory
from retrograd.runtime.native.small.lanes import LANES, VA, A


@inlined
def clear(to: Array[A], count: int) -> None:
    for at in range(0, count, LANES):
        put(to + at, cast(VA, 0.0), count - at)


@native
def distances(arrays: Array[Memory], sizes: Array[int]) -> int:
    """Arrays: distances, a matrix; sizes: its rows and columns."""
    rows, columns, next_ = sizes[0], sizes[1], 0
    for i in range(rows):
        for j in range(i + 1, rows):
            x, y = cast(Array[A], arrays[1]) + i * columns, cast(Array[A], arrays[1]) + j * columns
            total = cast(VA, 0.0)
            for at in range(0, columns, LANES):
                apart = take(VA, x + at, columns - at, 0.0) - take(VA, y + at, columns - at, 0.0)
                total = total + apart * apart
            cast(Array[A], arrays[0])[next_] = sqrt(reduce(lambda one, other: one + other, total))
            next_ += 1
    return 0


@native
def return_to(arrays: Array[Memory], sizes: Array[int]) -> int:
    """Arrays: the matrix's cotangent, a number for each pair, the matrix; sizes: its rows and columns."""
    rows, columns, next_ = sizes[0], sizes[1], 0
    clear(cast(Array[A], arrays[0]), rows * columns)
    for i in range(rows):
        for j in range(i + 1, rows):
            share = cast(VA, cast(Array[A], arrays[1])[next_])
            x, y = cast(Array[A], arrays[2]) + i * columns, cast(Array[A], arrays[2]) + j * columns
            first, second = cast(Array[A], arrays[0]) + i * columns, cast(Array[A], arrays[0]) + j * columns
            for at in range(0, columns, LANES):
                left = columns - at
                apart = (take(VA, x + at, left, 0.0) - take(VA, y + at, left, 0.0)) * share
                put(first + at, take(VA, first + at, left, 0.0) + apart, left)
                put(second + at, take(VA, second + at, left, 0.0) - apart, left)
            next_ += 1
    return 0


# ---- two matrices ------------------------------------------------------------------------------------------
@inlined
def squared(total: VA, x: VA, y: VA) -> VA:
    return fused(x - y, x - y, total)


@inlined
def length(total: VA) -> A:
    return sqrt(reduce(lambda one, other: one + other, total))


@native
def distances_between(arrays: Array[Memory], sizes: Array[int]) -> int:
    """Arrays: distances, two batches of matrices; sizes: batch, the rows of each, columns. A row meets four
    others at once."""
    m, n, columns = sizes[1], sizes[2], sizes[3]
    for row in range(sizes[0] * m):
        to, x = cast(Array[A], arrays[0]) + row * n, cast(Array[A], arrays[1]) + row * columns
        others = cast(Array[A], arrays[2]) + row // m * n * columns
        whole = n - n % 4
        for j in range(0, whole, 4):
            first = others + j * columns
            second, third, fourth = first + columns, first + 2 * columns, first + 3 * columns
            a, b, c, d = cast(VA, 0.0), cast(VA, 0.0), cast(VA, 0.0), cast(VA, 0.0)
            for at in range(0, columns, LANES):
                left = columns - at
                here = take(VA, x + at, left, 0.0)
                a = squared(a, here, take(VA, first + at, left, 0.0))
                b = squared(b, here, take(VA, second + at, left, 0.0))
                c = squared(c, here, take(VA, third + at, left, 0.0))
                d = squared(d, here, take(VA, fourth + at, left, 0.0))
            to[j], to[j + 1], to[j + 2], to[j + 3] = length(a), length(b), length(c), length(d)
        for j in range(whole, n):
            a = cast(VA, 0.0)
            for at in range(0, columns, LANES):
                left = columns - at
                a = squared(a, take(VA, x + at, left, 0.0), take(VA, others + j * columns + at, left, 0.0))
            to[j] = length(a)
    return 0


@native
def return_between(arrays: Array[Memory], sizes: Array[int]) -> int:
    """Arrays: the first batch's cotangent, a number for each two rows, the batches; sizes: batch, the rows of
    each, columns."""
    m, n, columns = sizes[1], sizes[2], sizes[3]
    for row in range(sizes[0] * m):
        shares, x = cast(Array[A], arrays[1]) + row * n, cast(Array[A], arrays[2]) + row * columns
        others = cast(Array[A], arrays[3]) + row // m * n * columns
        for at in range(0, columns, LANES):
            left, total = columns - at, cast(VA, 0.0)
            here = take(VA, x + at, left, 0.0)
            for j in range(n):
                apart = here - take(VA, others + j * columns + at, left, 0.0)
                total = fused(apart, cast(VA, shares[j]), total)
            put(cast(Array[A], arrays[0]) + row * columns + at, total, left)
    return 0


# ---- places ------------------------------------------------------------------------------------------------
@native
def put_down(arrays: Array[Memory], sizes: Array[int]) -> int:
    """Elements at their places in rows of zeros. Arrays: the rows, elements, places; sizes: rows, elements of
    each, and how long they become."""
    count, length, index = sizes[1], sizes[2], cast(Array[int], arrays[2])
    clear(cast(Array[A], arrays[0]), sizes[0] * length)
    for row in range(sizes[0]):
        to, x = cast(Array[A], arrays[0]) + row * length, cast(Array[A], arrays[1]) + row * count
        for k in range(count):
            place = index[row * count + k]
            if not 0 <= place < length:
                return 1
            to[place] = x[k]
    return 0
