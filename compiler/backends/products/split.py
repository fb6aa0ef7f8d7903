"""Operands of products in three parts of bfloat16, in the native language.

    x = h + m + l        exactly: h is x rounded to 8 bits, m the first 8 bits of what is left, l the others

In flow a `Side`, an operand as it lies; out flow its parts as tiles take them, and the range of its elements.
A tile is 16 lines of 32 numbers, those that are 16 inner positions apart in one word: of the left operand a
line is a row, of the right one an inner position and the one 16 on, side by side for 16 columns. A block is
32 rows, or columns, of a piece of the inner axis: for each 32 positions three parts, of two tiles each.

The parts are exact where the last of them is no smaller than numbers can be (`LEAST`). Whether they are, and
whether their products are, is to be asked of the ranges of both operands.

After G. Henry, P. T. P. Tang and A. Heinecke, "Leveraging the bfloat16 Artificial Intelligence Datatype For
Higher-Precision Computations", ARITH 2019.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from retrograd.compiler.backends.meeting import DATA, SECOND_LEVEL, TO_READ, prefetch
from retrograd.compiler.backends.products.records import Block, Bytes, Copying
from retrograd.compiler.native.language import (
    Array,
    Byte,
    Float32,
    Record,
    Unsigned16,
    Unsigned32,
    Vector,
    bits,
    cast,
    constants,
    inlined,
    inside,
    intrinsic,
    native,
    put,
    reduce,
    select,
    stack,
    take,
)

Lanes = Vector[Float32, Literal[16]]
Words = Vector[Unsigned32, Literal[16]]
Octets = Vector[Byte, Literal[64]]
Flags = Vector[bool, Literal[64]]
Halves = Vector[Unsigned16, Literal[32]]
"""Numbers of 8 bits, two in a word."""

LINES, DEEP, SIDE = 16, 32, 32
"""Lines of a tile; inner positions of a tile; rows or columns of a block."""
TILE, PART = 1024, 2048
"""Bytes of a tile, and of a part: the two tiles of a block."""
STEP = 3 * PART
"""Bytes of a block's tiles of the same inner positions."""
_ROUND, _HIGH, _HALF = 0x8000, 0xFFFF0000, 16
"""What rounds to the nearest number of 8 bits, the bits of such a number, and how many there are."""
_LOW = 0xFFFF
_MASKS = constants(Array[Unsigned32], "amx_masks", *[_ROUND] * LINES, *[_HIGH] * LINES)
"""The first two, for all lanes: kept in registers, where they are not written in the loop."""
_UPPER = constants(Array[Byte], "amx_upper", *[k + 2 if k % 4 < 2 else -1 for k in range(16)] * 4)
"""Of 16 bytes, where the upper halves of words are, in the places of the lower halves; -1 in the others."""
SPLITS = 4
"""Times that a step is split a quarter of: half the lines of a tile."""
_LINES_AT_ONCE = LINES // 2
_FETCHED = (0, 64)
"""Bytes from the beginning of such a line to the lines of the cache."""
_LINE, _TILE_LINE = 4 * SIDE, 4 * LINES
"""Bytes of a line of what is turned, and of a tile."""


class Side(Record):
    """An operand, or the other one. Distances are bytes."""

    at: Bytes
    across: int
    """From a row, or a column, to the next."""
    inner: int
    """From an inner position to the next."""
    extent: int
    """Rows or columns."""
    right: int
    """Is it the right operand?"""
    turn: Copying | None
    """What turns squares of it, if it lies the other way."""
    pick: Copying | None
    """What turns less than a square."""


class Step(Record):
    """A block of an operand at the inner positions of a tile, which is split. Distances are bytes."""

    right: int
    """Is it the right operand's?"""
    source: Bytes
    on: int
    """From a line of a tile to the next."""
    second: int
    """From the first tile's lines to the second's."""
    apart: int
    """From the first element of a word to the second."""
    there: int
    """Rows or columns that there are."""
    deep: int
    """Inner positions that there are."""
    whole: int
    """Are both as many as there can be?"""
    to: Bytes
    low: int
    """From there to the last part."""
    turned: Bytes
    """Where it lies turned, if it must be."""
    bounds: Array[Unsigned32]
    """Of each quarter of a step apart, for what was just written is read slowly, three vectors: the greatest
    sizes of first parts, doubled; the same negated; all bits of what is left after two parts."""


BOUNDS = 3 * LINES
"""Words of the bounds of a quarter."""


@inlined
def begin_steps(step: Step, side: Side, turned: Bytes) -> None:
    """Nothing of an operand is split."""
    step.low = 2 * PART if side.right != 0 else 0
    step.right, step.turned, step.bounds = side.right, turned, new_bounds()


@inlined
def parts_of(extent: int, size: int) -> int:
    """Parts of a size that an extent has, the last perhaps smaller."""
    return (extent + size - 1) // size


@inlined
def new_bounds() -> Array[Unsigned32]:
    """Those of a step, of nothing yet."""
    bounds = stack(Array[Unsigned32], BOUNDS * SPLITS, 64)
    for vector in range(3 * SPLITS):
        put(bounds + LINES * vector, cast(Words, 0))
    return bounds


@inlined
def tell_range(bounds: Array[Unsigned32], ranges: Array[Unsigned32]) -> None:
    """That of all that was split: the least of the elements that are not 0, and the greatest, as far as first
    parts tell: as the bits of their sizes, doubled; from the least, 1 is taken. The least is 0 where the
    parts of an element are not all of it."""
    most, least, left = cast(Halves, 0), cast(Halves, 0), cast(Words, 0)
    for part in range(SPLITS):
        own = bounds + BOUNDS * part
        most = greater(most, take_halves(own))
        least = greater(least, take_halves(own + LINES))
        left = left | take(Words, own + 2 * LINES)
    ranges[0] = (~reduce(lambda x, y: max(x, y), least) << _HALF) | _LOW
    ranges[1] = reduce(lambda x, y: max(x, y), most) << _HALF
    if reduce(lambda x, y: x | y, left) & _LOW != 0:
        ranges[0] = 0


@inlined
def new_block() -> Bytes:
    return cast(Bytes, stack(Array[Float32], SIDE * DEEP, 64))


@native
def find_step(step: Step, side: Side, block: int, k: int, deep: int, to: Bytes) -> None:
    """The step of a block that begins at an inner position, turned if it must be."""
    step.there, step.deep, step.to = min(side.extent - block * SIDE, SIDE), deep, to
    step.whole = 1 if step.there == SIDE and deep == DEEP else 0
    step.source = side.at + block * SIDE * side.across + k * side.inner
    across, inner = side.across, side.inner
    if side.turn is not None:
        turn_block(side, step.turned, step.source, step.there, deep)
        step.source, across = step.turned, 4 if side.right != 0 else _LINE
        inner = 4 + _LINE - across
    step.on, step.second, step.apart = inner if side.right != 0 else across, LINES * across, LINES * inner


@native
def fetch_lines(side: Side, block: int, k: int, first: int, end: int) -> None:
    """Some of the 32 lines in which the elements of a step lie come into the second-level cache, as they are
    in memory."""
    apart, source = max(side.across, side.inner), side.at + block * SIDE * side.across + k * side.inner
    for number in range(first, end):
        for part in _FETCHED:
            prefetch(source + number * apart + part, TO_READ, SECOND_LEVEL, DATA)


@native
def turn_block(side: Side, to: Bytes, source: Bytes, there: int, deep: int) -> None:
    """Of an operand that lies the other way so many lines, and inner positions of each, as it should lie."""
    told = stack(Block)
    told.down, told.after, told.count, told.columns, told.across = 4, _LINE, there, deep, side.inner
    if side.right != 0:
        told.count, told.columns, told.across = deep, there, side.across
    copy = side.turn if min(there, deep) >= LINES else side.pick
    if copy is not None:
        copy(to, source, told)


@native
def split_step(step: Step) -> None:
    for part in range(SPLITS):
        split_lines(step, part)


@native
def split_lines(step: Step, part: int) -> None:
    """Half the lines of a tile of each part. What is not there is 0."""
    source = step.source + (part >> 1) * step.second + (part & 1) * _LINES_AT_ONCE * step.on
    to, bounds = step.to + part * _LINES_AT_ONCE * _TILE_LINE, step.bounds + BOUNDS * part
    if step.whole != 0:
        split_quarter(step, bounds, source, to, all_lanes, all_lanes)
    else:
        split_some_lines(step, part, source, to, bounds)


@native
def split_some_lines(step: Step, part: int, source: Bytes, to: Bytes, bounds: Array[Unsigned32]) -> None:
    """The same where not all is there."""
    beside, line = min(step.there - (part >> 1) * LINES, LINES), (part & 1) * _LINES_AT_ONCE
    lines, second_lines, lanes, second_lanes = beside, beside, step.deep, step.deep - LINES
    if step.right != 0:
        lines, second_lines, lanes, second_lanes = step.deep, step.deep - LINES, beside, beside
    if beside > 0:
        split_quarter(
            step, bounds, source, to,
            lambda place, number: some(place, min(lanes, LINES) if line + number < lines else 0),
            lambda place, number: some(place, second_lanes if line + number < second_lines else 0),
        )  # fmt: skip


@inlined
def split_quarter(
    step: Step,
    bounds: Array[Unsigned32],
    source: Bytes,
    to: Bytes,
    first: Callable[[Bytes, int], Lanes],
    second: Callable[[Bytes, int], Lanes],
) -> None:
    """The same, given what reads the elements of a line."""
    high = to + (2 * PART - step.low)
    split_lines_of(
        bounds, _LINES_AT_ONCE, source, step.on, step.apart, high, _TILE_LINE, step.low - PART, first, second
    )


@inlined
def split_lines_of(
    bounds: Array[Unsigned32],
    lines: int,
    source: Bytes,
    on: int,
    apart: int,
    to: Bytes,
    after: int,
    lower_by: int,
    first: Callable[[Bytes, int], Lanes],
    second: Callable[[Bytes, int], Lanes],
) -> None:
    """So many lines of an operand, given what reads the elements of one: the first of each word, and the
    second. Steps lead to the next line in the operand, to the second elements, to the next line of a part,
    and from a part to the one below it."""
    half, mask, places = take(Words, _MASKS), take(Words, _MASKS + LINES), take(Octets, _UPPER)
    lower = places >= 0
    most, least, left = take_halves(bounds), take_halves(bounds + LINES), take(Words, bounds + 2 * LINES)
    for number in range(lines):
        x, y = first(source, number), second(source + apart, number)
        h, h2 = added(x, half), added(y, half)
        parts = joined(h, h2, places, lower)
        sizes = bits(Halves, parts)
        sizes = sizes + sizes
        most, least = greater(most, sizes), greater(least, -sizes)
        put(words(to, 0), parts)
        x, y = x - begun(h, mask), y - begun(h2, mask)
        put(words(to, lower_by), joined(x, y, places, lower))
        x, y = x - begun(x, mask), y - begun(y, mask)
        put(words(to, 2 * lower_by), joined(x, y, places, lower))
        left = left | (bits(Words, x) | bits(Words, y))
        source, to = source + on, to + after
    put_halves(bounds, most)
    put_halves(bounds + LINES, least)
    put(bounds + 2 * LINES, left)


@inlined
def all_lanes(source: Bytes, _: int) -> Lanes:
    return take(Lanes, cast(Array[Float32], source))


@inlined
def some(source: Bytes, count: int) -> Lanes:
    """So many elements, and zeros."""
    place = cast(Array[Float32], source)
    return take(Lanes, place) if count == LINES else take(Lanes, place, count, 0.0)


@inlined
def words(to: Bytes, offset: int) -> Array[Unsigned32]:
    return inside(Array[Unsigned32], to, offset)


@inlined
def greater(x: Halves, y: Halves) -> Halves:
    return select(x > y, x, y)


@inlined
def added(x: Lanes, half: Words) -> Lanes:
    """What begins with x rounded to 8 bits; half-way cases away from zero."""
    return bits(Lanes, bits(Words, x) + half)


@inlined
def begun(x: Lanes, mask: Words) -> Lanes:
    """The first 8 bits."""
    return bits(Lanes, bits(Words, x) & mask)


@inlined
def take_halves(bounds: Array[Unsigned32]) -> Halves:
    return take(Halves, inside(Array[Unsigned16], bounds, 0))


@inlined
def put_halves(bounds: Array[Unsigned32], lanes: Halves) -> None:
    put(inside(Array[Unsigned16], bounds, 0), lanes)


@inlined
def joined(x: Lanes, y: Lanes, places: Octets, lower: Flags) -> Words:
    """Their first 8 bits, two in a word: the lower half is the upper one of x."""
    return bits(Words, select(lower, moved(bits(Octets, x), places), bits(Octets, y)))


@intrinsic("llvm.x86.avx512.pshuf.b.512")
def moved(x: Octets, places: Octets) -> Octets: ...
