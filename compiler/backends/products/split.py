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

from collections.abc import Callable
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
SPLITS = 6
"""Times that a step is split a sixth of: some lines of a tile."""
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
    to: Bytes
    """The blocks of a piece of the inner axis."""
    ranges: Array[Unsigned32]
    """Of each task, the least of the elements that are not 0, and the greatest: as the bits of their sizes,
    doubled; from the least, 1 is taken."""


class Step(Record):
    """A block of an operand at the inner positions of a tile, which is split. Distances are bytes."""

    right: int
    """Is it the right operand's?"""
    source: Bytes
    across: int
    """From a row, or a column, to the next."""
    inner: int
    """From an inner position to the next."""
    there: int
    """Rows or columns that there are."""
    deep: int
    """Inner positions that there are."""
    to: Bytes
    turned: Bytes
    """Where it lies turned, if it must be."""
    bounds: Array[Unsigned32]
    """Of each lane so far the least and the greatest, as `Side.ranges` has them: of each sixth of a step
    apart, for what was just written is read slowly."""


@inlined
def begin_steps(step: Step, side: Side, turned: Bytes, bounds: Array[Unsigned32]) -> None:
    """Nothing of an operand is split."""
    step.right, step.turned, step.bounds = side.right, turned, bounds
    for part in range(SPLITS):
        put(bounds + 2 * LINES * part, cast(Words, _ALL))
        put(bounds + 2 * LINES * part + LINES, cast(Words, 0))


@inlined
def tell_range(step: Step, ranges: Array[Unsigned32]) -> None:
    """That of all that was split."""
    least, most = take(Words, step.bounds), take(Words, step.bounds + LINES)
    for part in range(1, SPLITS):
        least = lesser(least, take(Words, step.bounds + 2 * LINES * part))
        most = greater(most, take(Words, step.bounds + 2 * LINES * part + LINES))
    ranges[0] = reduce(lambda x, y: min(x, y), least)
    ranges[1] = reduce(lambda x, y: max(x, y), most)


@native
def split_some(side: Side, number: int, first: int, count: int) -> None:
    """The parts of a block of rows, of so many inner positions from one on; or of all blocks of columns, of
    some inner positions: as an operand is read in the order in which it lies. And the range of that."""
    step, bounds = stack(Step), stack(Array[Unsigned32], 2 * LINES * SPLITS, 64)
    begin_steps(step, side, cast(Bytes, stack(Array[Float32], SIDE * DEEP, 64)), bounds)
    block_bytes = (count + DEEP - 1) // DEEP * STEP
    if side.right != 0:
        deep, to = min(count - number * DEEP, DEEP), side.to + number * STEP
        for block in range((side.extent + SIDE - 1) // SIDE):
            find_step(step, side, block, first + number * DEEP, deep, to + block * block_bytes)
            split_step(step)
    else:
        to = side.to + number * block_bytes
        for k in range(0, count, DEEP):
            find_step(step, side, number, first + k, min(count - k, DEEP), to)
            split_step(step)
            to += STEP
    tell_range(step, side.ranges + 2 * number)


@native
def find_step(step: Step, side: Side, block: int, k: int, deep: int, to: Bytes) -> None:
    """The step of a block that begins at an inner position, turned if it must be."""
    step.there, step.deep, step.to = min(side.extent - block * SIDE, SIDE), deep, to
    step.source = side.at + block * SIDE * side.across + k * side.inner
    step.across, step.inner = side.across, side.inner
    if side.turn is not None:
        turn_block(side, step.turned, step.source, step.there, deep)
        step.source, step.across = step.turned, 4 if side.right != 0 else _LINE
        step.inner = 4 + _LINE - step.across


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
    """Some lines of a tile of each part. What is not there is 0."""
    tile, third = part // 3, part % 3
    line, end = LINES * third // 3, LINES * (third + 1) // 3
    low, beside = 2 * PART if step.right != 0 else 0, min(step.there - tile * LINES, LINES)
    if beside <= 0:
        return
    on, lines, second_lines, lanes, second_lanes = step.across, beside, beside, step.deep, step.deep - LINES
    if step.right != 0:
        on, lines, second_lines, lanes, second_lanes = (
            step.inner, step.deep, step.deep - LINES, beside, beside
        )  # fmt: skip
    source = step.source + tile * LINES * step.across + line * on
    to = step.to + tile * TILE + line * _TILE_LINE
    bounds = step.bounds + 2 * LINES * part
    if min(min(lines, second_lines), min(lanes, second_lanes)) >= LINES:
        split_each(step, bounds, source, on, to, low, line, end, all_lanes, all_lanes)
        return
    split_each(
        step, bounds, source, on, to, low, line, end,
        lambda place, number: some(place, min(lanes, LINES) if number < lines else 0),
        lambda place, number: some(place, second_lanes if number < second_lines else 0),
    )  # fmt: skip


@inlined
def split_each(
    step: Step,
    bounds: Array[Unsigned32],
    source: Bytes,
    on: int,
    to: Bytes,
    low: int,
    line: int,
    end: int,
    first: Callable[[Bytes, int], Lanes],
    second: Callable[[Bytes, int], Lanes],
) -> None:
    """The same, given what reads the elements of a line: the first of each word, and the second."""
    high, apart = 2 * PART - low, LINES * step.inner
    least, most = take(Words, bounds), take(Words, bounds + LINES)
    for number in range(line, end):
        x, y = first(source, number), second(source + apart, number)
        sizes, others = sizes_of(x), sizes_of(y)
        least = lesser(least, lesser(sizes - 1, others - 1))
        most = greater(most, greater(sizes, others))
        h, h2 = rounded(x), rounded(y)
        x, y = x - h, y - h2
        m, m2 = rounded(x), rounded(y)
        put(words(to, high), joined(h, h2))
        put(words(to, PART), joined(m, m2))
        put(words(to, low), joined(x - m, y - m2))
        source, to = source + on, to + _TILE_LINE
    put(bounds, least)
    put(bounds + LINES, most)


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
