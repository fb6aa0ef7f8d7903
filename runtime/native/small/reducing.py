"""Kernels of reductions: along lines that lie in order, or across lines that lie side by side.

In flow arrays, the result first, and the sizes of a step; out flows 0. Several vectors go on side by side, so
that none waits for its own last join. Elements are joined in blocks, and blocks pairwise: the error of a sum
grows with the logarithm of their number (N. J. Higham, "The accuracy of floating point summation", 1993).
What elements, vectors and the join are is said by instances (`kernels.py`).
"""

from __future__ import annotations

from collections.abc import Callable

from retrograd.compiler.native.language import (
    Array,
    Record,
    cast,
    chosen,
    inlined,
    native,
    put,
    reduce,
    stack,
    take,
)
from retrograd.runtime.native.small.lanes import LANES, VA, A

IDENTITY = 0.0
"""An instance has its own."""
STREAMS = 4
"""Vectors that go on side by side."""
STEPS = 16
"""Of each of them in a block."""
LEVELS = 48
"""How often blocks are joined pairwise at most."""


@chosen
def join(carry: VA, x: VA) -> VA: ...


class Sizes(Record):
    before: int
    count: int
    """Elements that become one."""
    after: int
    apart: int
    """From one of them to the next; more than `after` where that is a part of what is after them."""


@native
def reduction(arrays: Array[Array[A]], sizes: Sizes) -> int:
    """Arrays: results, elements."""
    return each(arrays, sizes, lambda at, left: cast(VA, IDENTITY), lambda x, none: x)


@native
def squares(arrays: Array[Array[A]], sizes: Sizes) -> int:
    """Of the elements' squares. Arrays: results, elements."""
    return each(arrays, sizes, lambda at, left: cast(VA, 0.0), lambda x, none: x * x)


@native
def distances(arrays: Array[Array[A]], sizes: Sizes) -> int:
    """Of the squares of the elements' distances from a point for each result. Arrays: results, elements,
    points."""
    return each(
        arrays, sizes,
        lambda at, left: cast(VA, arrays[2][at]) if sizes.apart == 1 else take(VA, arrays[2] + at, left, 0.0),
        lambda x, point: square(x - point),
    )  # fmt: skip


@inlined
def square(x: VA) -> VA:
    return x * x


@inlined
def each(
    arrays: Array[Array[A]], sizes: Sizes, points: Callable[[int, int], VA], of: Callable[[VA, VA], VA]
) -> int:
    """Results, of what elements are beside the points that belong to results from one on, of which there are
    at most so many. A point is nothing beside itself."""
    room = stack(Array[A], LEVELS * STREAMS * LANES, 64)
    for i in range(sizes.before):
        x = arrays[1] + i * sizes.count * sizes.apart
        if sizes.apart == 1:
            arrays[0][i] = reduce(join, along(x, sizes.count, room, points(i, 1), of))
        else:
            across(arrays[0], x, sizes, room, i * sizes.after, points, of)
    return 0


# ---- along a line ------------------------------------------------------------------------------------------
@inlined
def along(x: Array[A], count: int, room: Array[A], point: VA, of: Callable[[VA, VA], VA]) -> VA:
    """As many results as there are lanes."""
    length = STREAMS * STEPS * LANES
    for at in range(0, count, length):
        keep(room, at // length, of_block(x + at, min(count - at, length), point, of), LANES)
    return joined(room, (count + length - 1) // length, LANES)


@inlined
def of_block(x: Array[A], count: int, point: VA, of: Callable[[VA, VA], VA]) -> VA:
    one, two = cast(VA, IDENTITY), cast(VA, IDENTITY)
    three, four = cast(VA, IDENTITY), cast(VA, IDENTITY)
    whole = count - count % (STREAMS * LANES)
    for at in range(0, whole, STREAMS * LANES):
        one, two = join(one, of(take(VA, x + at), point)), join(two, of(take(VA, x + at + LANES), point))
        three = join(three, of(take(VA, x + at + 2 * LANES), point))
        four = join(four, of(take(VA, x + at + 3 * LANES), point))
    for at in range(whole, count, LANES):
        one = join(one, of(take(VA, x + at, count - at, point), point))
    return join(join(one, two), join(three, four))


# ---- across lines ------------------------------------------------------------------------------------------
@inlined
def across(
    to: Array[A], x: Array[A], sizes: Sizes, room: Array[A], start: int, points: Callable[[int, int], VA],
    of: Callable[[VA, VA], VA],
) -> None:  # fmt: skip
    """The results from `start` on, as many as lines are long."""
    count, after = sizes.count, sizes.after
    whole = after - after % (STREAMS * LANES)
    for at in range(0, whole, STREAMS * LANES):
        of_strip(to + start + at, x + at, sizes, room, points, start + at, of)
    for at in range(whole, after, LANES):
        point, blocks = points(start + at, after - at), (count + STEPS - 1) // STEPS
        for block in range(blocks):
            one = cast(VA, IDENTITY)
            for row in range(block * STEPS, min(count, block * STEPS + STEPS)):
                one = join(one, of(take(VA, x + row * sizes.apart + at, after - at, point), point))
            keep(room, block, one, LANES)
        put(to + start + at, joined(room, blocks, LANES), after - at)


@inlined
def of_strip(
    to: Array[A], x: Array[A], sizes: Sizes, room: Array[A], points: Callable[[int, int], VA], start: int,
    of: Callable[[VA, VA], VA],
) -> None:  # fmt: skip
    """As many vectors of results as go on side by side."""
    count, apart = sizes.count, STREAMS * LANES
    first, second = points(start, LANES), points(start + LANES, LANES)
    third, fourth = points(start + 2 * LANES, LANES), points(start + 3 * LANES, LANES)
    blocks = (count + STEPS - 1) // STEPS
    for block in range(blocks):
        one, two = cast(VA, IDENTITY), cast(VA, IDENTITY)
        three, four = cast(VA, IDENTITY), cast(VA, IDENTITY)
        for row in range(block * STEPS, min(count, block * STEPS + STEPS)):
            line = x + row * sizes.apart
            one, two = join(one, of(take(VA, line), first)), join(two, of(take(VA, line + LANES), second))
            three = join(three, of(take(VA, line + 2 * LANES), third))
            four = join(four, of(take(VA, line + 3 * LANES), fourth))
        keep(room, block, one, apart)
        keep(room + LANES, block, two, apart)
        keep(room + 2 * LANES, block, three, apart)
        keep(room + 3 * LANES, block, four, apart)
    for k in range(STREAMS):
        put(to + k * LANES, joined(room + k * LANES, blocks, apart))


# ---- blocks ------------------------------------------------------------------------------------------------
@inlined
def keep(room: Array[A], number: int, found: VA, apart: int) -> None:
    """What a block gives, joined with as many blocks before it: as a binary counter carries."""
    level = room
    while number & 1 != 0:
        found = join(take(VA, level), found)
        number, level = number >> 1, level + apart
    put(level, found)


@inlined
def joined(room: Array[A], blocks: int, apart: int) -> VA:
    """All blocks that were kept."""
    total, level = cast(VA, IDENTITY), room
    while blocks != 0:
        if blocks & 1 != 0:
            total = join(take(VA, level), total)
        blocks, level = blocks >> 1, level + apart
    return total
