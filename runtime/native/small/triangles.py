"""The kernel of equations of a triangle, in the native language: substitution, of several rows at a time.

In flow stacks of matrices, and of right-hand sides in order; out flows 0. An upper triangle is gone through
from its last row on, so that to the functions below all are lower ones. Columns of the solution go in strips
of two vectors, kept row after row in memory of their own, each row of which serves the sums of four rows. A
single column is solved with vectors along whichever way the triangle lies. What is divided by is not looked
at: a zero makes infinities, as in PyTorch.
"""

from __future__ import annotations

from retrograd.compiler.native.language import (
    Array,
    Record,
    cast,
    fused,
    inlined,
    native,
    put,
    reduce,
    take,
)
from retrograd.runtime.native.small.lanes import LANES, VA, A

STRIP = 2
"""Vectors of a strip."""


class Sizes(Record):
    batch: int
    n: int
    columns: int
    upper: int
    unit: int
    apart: int
    """Elements from a triangle to the next, from a row to the next, and from a column."""
    down: int
    across: int


@native
def substitute(arrays: Array[Array[A]], sizes: Sizes) -> int:
    """The X `[batch, n, columns]` of T · X = B. If it is `unit`, ones are on T's diagonal, whatever is there.
    The arrays: X, memory for a strip, T, B."""
    n, columns = sizes.n, sizes.columns
    last = n - 1 if sizes.upper != 0 else 0
    way = -1 if sizes.upper != 0 else 1
    down, across = way * sizes.down, way * sizes.across
    for number in range(sizes.batch):
        corner = arrays[2] + (number * sizes.apart + last * (sizes.down + sizes.across))
        first = (number * n + last) * columns
        x, b = arrays[0] + first, arrays[3] + first
        if columns == 1:
            single(x, b, corner, way, down, across, sizes)
        else:
            for at in range(0, columns, STRIP * LANES):
                strip(x + at, b + at, corner, arrays[1], way * columns, columns - at, down, across, sizes)
    return 0


# ---- strips ------------------------------------------------------------------------------------------------
@inlined
def strip(
    x: Array[A], b: Array[A], corner: Array[A], solved: Array[A], step: int, count: int, down: int,
    across: int, sizes: Sizes,
) -> None:  # fmt: skip
    """So many columns of X at most; a row is `step` elements from the next. Rows of zeros that B begins with
    are those of X, too, whatever T is there, as in BLAS."""
    n, unit, width = sizes.n, sizes.unit, STRIP * LANES
    begin = zeros(x, b, step, count, n)
    for k in range(begin, n - n % 4, 4):
        at, row = corner + (k * down + begin * across), solved
        p0, p1, p2, p3 = cast(VA, 0.0), cast(VA, 0.0), cast(VA, 0.0), cast(VA, 0.0)
        q0, q1, q2, q3 = cast(VA, 0.0), cast(VA, 0.0), cast(VA, 0.0), cast(VA, 0.0)
        for _ in range(begin, k):
            p, q = take(VA, row), take(VA, row + LANES)
            p0, q0 = fused(p, at[0], p0), fused(q, at[0], q0)
            p1, q1 = fused(p, at[down], p1), fused(q, at[down], q1)
            p2, q2 = fused(p, at[2 * down], p2), fused(q, at[2 * down], q2)
            p3, q3 = fused(p, at[3 * down], p3), fused(q, at[3 * down], q3)
            at, row = at + across, row + width
        put(row, p0)
        put(row + LANES, q0)
        put(row + width, p1)
        put(row + (width + LANES), q1)
        put(row + 2 * width, p2)
        put(row + (2 * width + LANES), q2)
        put(row + 3 * width, p3)
        put(row + (3 * width + LANES), q3)
        for i in range(4):
            finish(x + (k + i) * step, b + (k + i) * step, row, at + i * down, i, count, across, unit)
    for k in range(n - n % 4, n):
        at, row = corner + (k * down + begin * across), solved
        p, q = cast(VA, 0.0), cast(VA, 0.0)
        for _ in range(begin, k):
            p, q = fused(take(VA, row), at[0], p), fused(take(VA, row + LANES), at[0], q)
            at, row = at + across, row + width
        put(row, p)
        put(row + LANES, q)
        finish(x + k * step, b + k * step, row, at, 0, count, across, unit)


@inlined
def zeros(x: Array[A], b: Array[A], step: int, count: int, n: int) -> int:
    """How many rows of zeros B begins with, of fours: into X."""
    rows, empty = 0, True
    while empty and rows + 4 <= n:
        total = cast(VA, 0.0)
        for k in range(rows, rows + 4):
            row = b + k * step
            total = total + (abs(take(VA, row, count, 0.0)) + abs(take(VA, row + LANES, count - LANES, 0.0)))
        empty = reduce(lambda one, other: one + other, total) == 0.0
        if empty:
            for k in range(rows, rows + 4):
                put(x + k * step, cast(VA, 0.0), count)
                put(x + (k * step + LANES), cast(VA, 0.0), count - LANES)
            rows += 4
    return rows


@inlined
def finish(
    x: Array[A], b: Array[A], rows: Array[A], at: Array[A], done: int, count: int, across: int, unit: int
) -> None:
    """One row of a strip, of which sums of products are there but those with the `done` rows before it, into
    the strip and into X."""
    width = STRIP * LANES
    here = rows + done * width
    p, q = take(VA, here), take(VA, here + LANES)
    for i in range(done):
        p = fused(take(VA, rows + i * width), at[i * across], p)
        q = fused(take(VA, rows + (i * width + LANES)), at[i * across], q)
    p, q = take(VA, b, count, 0.0) - p, take(VA, b + LANES, count - LANES, 0.0) - q
    if unit == 0:
        pivot = at[done * across]
        p, q = p / pivot, q / pivot
    put(here, p)
    put(here + LANES, q)
    put(x, p, count)
    put(x + LANES, q, count - LANES)


# ---- single columns ----------------------------------------------------------------------------------------
@inlined
def single(
    x: Array[A], b: Array[A], corner: Array[A], way: int, down: int, across: int, sizes: Sizes
) -> None:
    """A column, of which an element is `way` from the next: by products with rows of the triangle, or where
    its columns lie in order, by taking multiples of these from what is left."""
    n = sizes.n
    back = n - 1 if way < 0 else 0
    for at in range(0, n, LANES):
        put(x + (at - back), take(VA, b + (at - back), n - at, 0.0), n - at)
    for k in range(n):
        here, row, rest = x + k * way, corner + k * down, n - 1 - k
        before = k - 1 if way < 0 else 0
        if across == way:
            here[0] = here[0] - product(x + -before, row + -before, k)
        if sizes.unit == 0:
            here[0] = here[0] / row[k * across]
        if across != way:
            after = -rest if way < 0 else 1
            subtract(here + after, row + (k * across + after), here[0], rest)


@inlined
def product(x: Array[A], y: Array[A], count: int) -> float:
    """The sum of products of so many elements."""
    p, q, r, s = cast(VA, 0.0), cast(VA, 0.0), cast(VA, 0.0), cast(VA, 0.0)
    whole = count - count % (4 * LANES)
    for at in range(0, whole, 4 * LANES):
        p = fused(take(VA, x + at), take(VA, y + at), p)
        q = fused(take(VA, x + (at + LANES)), take(VA, y + (at + LANES)), q)
        r = fused(take(VA, x + (at + 2 * LANES)), take(VA, y + (at + 2 * LANES)), r)
        s = fused(take(VA, x + (at + 3 * LANES)), take(VA, y + (at + 3 * LANES)), s)
    for at in range(whole, count, LANES):
        p = fused(take(VA, x + at, count - at, 0.0), take(VA, y + at, count - at, 0.0), p)
    return reduce(lambda one, other: one + other, (p + q) + (r + s))


@inlined
def subtract(x: Array[A], y: Array[A], factor: float, count: int) -> None:
    """Take a multiple of elements from others."""
    for at in range(0, count, LANES):
        rest = count - at
        put(x + at, fused(take(VA, y + at, rest, 0.0), -factor, take(VA, x + at, rest, 0.0)), rest)
