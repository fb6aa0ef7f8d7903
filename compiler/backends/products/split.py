"""Operands of products in three parts of bfloat16, in the native language.

    x = h + m + l        exactly: each part is what precedes it left, rounded to 8 bits

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

from typing import Literal

from retrograd.compiler.backends.products.records import Block, Bytes, Copying
from retrograd.compiler.native.language import (
    Array,
    Float32,
    Record,
    Unsigned32,
    Vector,
    bits,
    cast,
    inlined,
    inside,
    native,
    put,
    reduce,
    select,
    stack,
    take,
)

Lanes = Vector[Float32, Literal[16]]
Words = Vector[Unsigned32, Literal[16]]

LINES, DEEP, SIDE = 16, 32, 32
"""Lines of a tile; inner positions of a tile; rows or columns of a block."""
TILE, PART = 1024, 2048
"""Bytes of a tile, and of a part: the two tiles of a block."""
STEP = 3 * PART
"""Bytes of a block's tiles of the same inner positions."""
_ROUND, _HIGH, _HALF = 0x8000, 0xFFFF0000, 16
"""What rounds to the nearest number of 8 bits, the bits of such a number, and how many there are."""
_ALL = 0xFFFFFFFF
_LINE = 4 * SIDE
"""Bytes of a line of what is turned."""


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
    to: Bytes
    """The blocks of a piece of the inner axis."""
    ranges: Array[Unsigned32]
    """Of each task, the least of the elements that are not 0, and the greatest: as the bits of their sizes,
    doubled; from the least, 1 is taken."""


class Lines(Record):
    """What is known of a tile that is split. Distances are bytes."""

    step: int
    """From a line to the next."""
    second: int
    """From the first element of a word to the second."""
    lines: int
    """Lines that there are."""
    second_lines: int
    """Lines of which there is the second element."""
    lanes: int
    second_lanes: int
    low: int
    """From the tile of the first part to that of l, and so on."""
    high: int
    least: Array[Unsigned32]
    most: Array[Unsigned32]


@native
def split_some(side: Side, number: int, first: int, count: int) -> None:
    """The parts of a block of rows, of so many inner positions from one on; or of all blocks of columns, of
    some inner positions: as an operand is read in the order in which it lies. And the range of that."""
    told = stack(Lines)
    told.least, told.most = stack(Array[Unsigned32], LINES, 64), stack(Array[Unsigned32], LINES, 64)
    put(told.least, cast(Words, _ALL))
    put(told.most, cast(Words, 0))
    told.low = 2 * PART if side.right != 0 else 0
    told.high = 2 * PART - told.low
    block_bytes = (count + DEEP - 1) // DEEP * STEP
    if side.right != 0:
        deep = min(count - number * DEEP, DEEP)
        for block in range((side.extent + SIDE - 1) // SIDE):
            split_step(
                told, side, block, first + number * DEEP, deep, side.to + block * block_bytes + number * STEP
            )
    else:
        to = side.to + number * block_bytes
        for k in range(0, count, DEEP):
            split_step(told, side, number, first + k, min(count - k, DEEP), to)
            to += STEP
    side.ranges[2 * number] = reduce(lambda x, y: min(x, y), take(Words, told.least))
    side.ranges[2 * number + 1] = reduce(lambda x, y: max(x, y), take(Words, told.most))


@native
def split_step(told: Lines, side: Side, block: int, k: int, deep: int, to: Bytes) -> None:
    """The tiles of a block, so many inner positions from one on."""
    there = min(side.extent - block * SIDE, SIDE)
    source = side.at + block * SIDE * side.across + k * side.inner
    if side.turn is None:
        split_tiles(told, side, source, side.across, side.inner, there, deep, to)
        return
    turned = cast(Bytes, stack(Array[Float32], SIDE * DEEP, 64))
    turn_block(side, turned, source, there, deep)
    across = 4 if side.right != 0 else _LINE
    split_tiles(told, side, turned, across, 4 + _LINE - across, there, deep, to)


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
def split_tiles(
    told: Lines, side: Side, source: Bytes, across: int, inner: int, there: int, deep: int, to: Bytes
) -> None:
    """The two tiles of a block's parts, at some inner positions."""
    for start in range(0, there, LINES):
        beside = min(there - start, LINES)
        if side.right != 0:
            told.step, told.second = inner, LINES * inner
            told.lines, told.second_lines = min(deep, LINES), deep - LINES
            told.lanes, told.second_lanes = beside, beside
        else:
            told.step, told.second = across, LINES * inner
            told.lines, told.second_lines = beside, beside
            told.lanes, told.second_lanes = min(deep, LINES), deep - LINES
        split_tile(told, source + start * across, to)
        to += TILE


@native
def split_tile(told: Lines, source: Bytes, to: Bytes) -> None:
    """The tile of each part. What is not there is 0."""
    least, most = take(Words, told.least), take(Words, told.most)
    step, second, low, high = told.step, told.second, told.low, told.high
    for line in range(LINES):
        count = told.lanes if line < told.lines else 0
        second_count = told.second_lanes if line < told.second_lines else 0
        x, y = some(source, count), some(source + second, second_count)
        sizes, others = sizes_of(x), sizes_of(y)
        least = lesser(least, lesser(sizes - 1, others - 1))
        most = greater(most, greater(sizes, others))
        h, h2 = rounded(x), rounded(y)
        x, y = x - h, y - h2
        m, m2 = rounded(x), rounded(y)
        put(words(to, high), joined(h, h2))
        put(words(to, PART), joined(m, m2))
        put(words(to, low), joined(x - m, y - m2))
        source, to = source + step, to + 4 * LINES
    put(told.least, least)
    put(told.most, most)


@inlined
def some(source: Bytes, count: int) -> Lanes:
    """So many elements, and zeros."""
    place = cast(Array[Float32], source)
    return take(Lanes, place) if count == LINES else take(Lanes, place, count, 0.0)


@inlined
def words(to: Bytes, offset: int) -> Array[Unsigned32]:
    return inside(Array[Unsigned32], to, offset)


@inlined
def sizes_of(x: Lanes) -> Words:
    """The bits without the sign, doubled."""
    found = bits(Words, x)
    return found + found


@inlined
def lesser(x: Words, y: Words) -> Words:
    return select(x < y, x, y)


@inlined
def greater(x: Words, y: Words) -> Words:
    return select(x > y, x, y)


@inlined
def rounded(x: Lanes) -> Lanes:
    """To 8 bits; half-way cases away from zero."""
    return bits(Lanes, (bits(Words, x) + _ROUND) & _HIGH)


@inlined
def joined(x: Lanes, y: Lanes) -> Words:
    """Numbers of 8 bits, two in a word."""
    return (bits(Words, x) >> _HALF) | bits(Words, y)
