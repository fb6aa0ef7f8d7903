"""The kernel of copies: elements to and from anywhere, by vectors where they lie side by side.

In flow the result, the operand, and where the elements of each are (`CopySizes`); out flows 0. Where an axis
along which the operand's elements lie side by side is not the one of the result's, squares of both are turned
in registers: of so many rows as a vector has lanes, each round interleaves those that are half as many apart,
so that a place's bits, of row and lane, turn by one (H. S. Stone, "Parallel processing with the perfect
shuffle", 1971). Instances are for elements of a size (`kernels.py`), whatever they mean.
"""

from __future__ import annotations

from typing import Literal

from retrograd.compiler.native.language import (
    Array,
    Inline,
    Int32,
    Record,
    Vector,
    cast,
    chosen,
    inlined,
    inside,
    native,
    put,
    several,
    stack,
    take,
)

T = Int32
V = Vector[T, Literal[16]]
LANES, ROUNDS, SIZE = 16, 4, 4
"""An instance has its own: lanes of a vector, their logarithm, and an element's bytes."""

MOST_AXES = 8
"""Of a copy, and of operands and results."""


class CopySizes(Record):
    """Steps are in bytes."""

    axes: int
    """At least one."""
    extents: Inline[int] = several(MOST_AXES)
    to_steps: Inline[int] = several(MOST_AXES)
    from_steps: Inline[int] = several(MOST_AXES)


SQUARE = 64
"""Rows of a square at most."""


@native
def copy(arrays: Array[Array[T]], given: CopySizes) -> int:
    """Elements to and from anywhere."""
    places, sizes = stack(Array[int], MOST_AXES), stack(CopySizes)
    last, across = given.axes - 1, across_of(given)
    ordered(sizes, given, last if across < 0 and is_short(given) else across)
    inner = last if across < 0 else last - 1
    for axis in range(inner):
        places[axis] = 0
    to, source = arrays[0], arrays[1]
    while True:
        if across < 0:
            line(to, source, sizes.extents[last], sizes.to_steps[last], sizes.from_steps[last])
        else:
            turn(to, source, sizes, last)
        axis = inner - 1
        while axis >= 0 and places[axis] == sizes.extents[axis] - 1:  # as an odometer: this one turns over
            to = inside(Array[T], to, -sizes.to_steps[axis] * places[axis])
            source = inside(Array[T], source, -sizes.from_steps[axis] * places[axis])
            places[axis] = 0
            axis -= 1
        if axis < 0:
            return 0
        places[axis] += 1
        to = inside(Array[T], to, sizes.to_steps[axis])
        source = inside(Array[T], source, sizes.from_steps[axis])


@inlined
def across_of(sizes: CopySizes) -> int:
    """The axis along which the operand's elements lie side by side, if it is one to be turned; else -1."""
    last = sizes.axes - 1
    if sizes.to_steps[last] != SIZE or sizes.extents[last] < LANES:
        return -1
    found = -1
    for axis in range(last):
        if sizes.from_steps[axis] == SIZE and sizes.extents[axis] >= LANES:
            found = axis
    return -1 if sizes.from_steps[last] == SIZE else found


SHORT = 8
"""Elements of a line: for less, those of other lines at its places are moved sooner."""


@inlined
def is_short(sizes: CopySizes) -> bool:
    """Whether the last axis is, and the one before it longer."""
    last = sizes.axes - 1
    return last > 0 and sizes.extents[last] < SHORT and sizes.extents[last - 1] > sizes.extents[last]


@native
def ordered(sizes: CopySizes, given: CopySizes, across: int) -> None:
    """The same axes, this one as the last but one."""
    before = given.axes - 2
    for axis in range(given.axes):
        place = axis if across < 0 else before if axis == across else across if axis == before else axis
        sizes.extents[place] = given.extents[axis]
        sizes.to_steps[place], sizes.from_steps[place] = given.to_steps[axis], given.from_steps[axis]


# ---- lines -------------------------------------------------------------------------------------------------
@chosen
def backwards(x: V, again: V) -> V:
    """The lanes from the last to the first."""


@inlined
def line(to: Array[T], source: Array[T], count: int, to_step: int, from_step: int) -> None:
    whole = count - count % LANES if to_step == SIZE else 0
    if from_step == SIZE:
        for at in range(0, whole, LANES):
            put(to + at, take(V, source + at))
    elif from_step == 0:
        same = cast(V, source[0])
        for at in range(0, whole, LANES):
            put(to + at, same)
    elif from_step == -SIZE:
        for at in range(0, whole, LANES):
            lanes = take(V, source + (1 - LANES - at))
            put(to + at, backwards(lanes, lanes))
    else:
        whole = 0
    target, origin = inside(Array[T], to, whole * to_step), inside(Array[T], source, whole * from_step)
    for _ in range(whole, count):
        target[0] = origin[0]
        target, origin = inside(Array[T], target, to_step), inside(Array[T], origin, from_step)


# ---- squares -----------------------------------------------------------------------------------------------
@chosen
def first_pairs(x: V, y: V) -> V:
    """Lanes of the first halves, in turn."""


@chosen
def last_pairs(x: V, y: V) -> V: ...


@inlined
def turn(to: Array[T], source: Array[T], sizes: CopySizes, last: int) -> None:
    """The last two axes: lines of the operand become columns of the result. The last squares are moved back
    to end with the axis."""
    rows, columns = sizes.extents[last - 1], sizes.extents[last]
    to_step, from_step = sizes.to_steps[last - 1], sizes.from_steps[last]
    room = stack(Array[T], 2 * LANES * LANES, 64)
    for i in range(0, rows, LANES):
        row = min(i, rows - LANES)
        for j in range(0, columns, LANES):
            column = min(j, columns - LANES)
            square(
                inside(Array[T], to, row * to_step) + column,
                inside(Array[T], source, column * from_step) + row,
                to_step,
                from_step,
                room,
            )


@inlined
def square(to: Array[T], source: Array[T], to_step: int, from_step: int, room: Array[T]) -> None:
    """One square: the first round reads it, the last one writes it."""
    here, there = room, room + LANES * LANES
    origin, step = source, from_step
    for k in range(ROUNDS):
        target = to if k == ROUNDS - 1 else there
        further = to_step if k == ROUNDS - 1 else LANES * SIZE
        for i in range(LANES // 2):
            one = take(V, inside(Array[T], origin, i * step))
            other = take(V, inside(Array[T], origin, (i + LANES // 2) * step))
            put(inside(Array[T], target, 2 * i * further), first_pairs(one, other))
            put(inside(Array[T], target, (2 * i + 1) * further), last_pairs(one, other))
        origin, step = there, LANES * SIZE
        here, there = there, here
