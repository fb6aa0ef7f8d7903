"""Cells of products on tiles (AMX), whose operands' parts stay in the near caches, in the native language.

    for each piece of the inner axis:
        for each block of a side that passes, and of one that is kept, and for each step of the piece:
            add the products of its parts; meanwhile, split what the next step needs that is not split yet

Tiles and vectors are different parts of a processor, and so work at the same time. Parts are kept of all of
the shorter side, but of one block of the other alone: so few that they stay in the nearest cache where the
operands are small, and in the second-level one where they are not.
"""

from __future__ import annotations

from retrograd.compiler.backends.products.blocks import (
    TILE_LINE,
    add_step,
    copy_part,
    load_tiles,
    store_tiles,
    zero_tiles,
)
from retrograd.compiler.backends.products.records import Bytes
from retrograd.compiler.backends.products.split import (
    DEEP,
    LINES,
    PART,
    SIDE,
    SPLITS,
    STEP,
    TILE,
    Side,
    Step,
    begin_steps,
    find_step,
    new_block,
    parts_of,
    split_lines,
    split_step,
    tell_range,
)
from retrograd.compiler.native.language import (
    Array,
    Record,
    Unsigned32,
    inlined,
    native,
    stack,
)

_LINE = 4 * SIDE
"""Bytes of a line of a block of sums."""


class Near(Record):
    """A product. Distances are bytes."""

    rows: Side
    columns: Side
    kept: Side
    """One of them, whose parts are kept."""
    passing: Side
    """The other one."""
    kept_to: Bytes
    """Where their parts go."""
    passing_to: Bytes
    kept_blocks: int
    passing_blocks: int
    first: int
    """Where the piece of the inner axis begins."""
    count: int
    """Its inner positions."""
    steps: int
    """Of it."""
    sums: Bytes
    line: int
    """From a row of the sums to the next."""
    padded: int
    """Are there whole blocks of sums?"""
    ranges: Array[Unsigned32]
    """Of both sides."""
    own: Bytes
    """A block of them, for those that are not whole."""
    kept_step: Step
    """What is split of a side, if anything is."""
    passing_step: Step
    splits_kept: int
    splits_passing: int


@inlined
def near_bytes(blocks: int, steps: int) -> int:
    """Room for the parts of so many blocks that are kept, and of one that passes."""
    return (blocks * steps + max(steps, 2)) * STEP


@native
def begin_near(near: Near, room: Bytes) -> None:
    """Of the shorter side, all is kept."""
    blocks, panels = parts_of(near.rows.extent, SIDE), parts_of(near.columns.extent, SIDE)
    rowwise = panels < blocks
    near.kept, near.kept_blocks = near.columns if rowwise else near.rows, min(blocks, panels)
    near.passing, near.passing_blocks = near.rows if rowwise else near.columns, max(blocks, panels)
    near.passing_to = room


@native
def multiply_near(near: Near) -> None:
    """The sums of a piece, added to those that are there unless it is the first, and the ranges of both
    sides."""
    near.steps = parts_of(near.count, DEEP)
    near.kept_to = near.passing_to + max(near.steps, 2) * STEP
    near.own, near.kept_step, near.passing_step = new_block(), stack(Step), stack(Step)
    begin_steps(near.kept_step, near.kept, new_block())
    begin_steps(near.passing_step, near.passing, new_block())
    look(near, 0, 0, 0)
    split_step(near.kept_step)
    split_step(near.passing_step)
    for passing in range(near.passing_blocks):
        for kept in range(near.kept_blocks):
            multiply_own(near, kept, passing)
    tell_range(near.kept_step.bounds, near.ranges)
    tell_range(near.passing_step.bounds, near.ranges + 2)


@native
def multiply_own(near: Near, kept: int, passing: int) -> None:
    """A block of rows by one of columns."""
    rowwise, steps = near.kept.right != 0, near.steps
    row, column = (passing if rowwise else kept) * SIDE, (kept if rowwise else passing) * SIDE
    tall, wide = near.rows.extent - row, near.columns.extent - column
    below, beside = tall > LINES, wide > LINES
    place, line = near.sums + row * near.line + column * 4, near.line
    to, whole = place, near.padded != 0 or min(tall, wide) >= SIDE
    if not whole:
        to, line = near.own, _LINE
    if near.first == 0:
        zero_tiles()
    else:
        if not whole:
            for k in range(min(tall, SIDE)):
                copy_part(to + k * line, place + k * near.line, min(wide, SIDE))
        load_tiles(to, line)
    for step in range(steps):
        if step + 1 < steps:
            look(near, step + 1, kept, passing)
        elif kept + 1 < near.kept_blocks:
            look(near, 0, kept + 1, passing)
        else:
            look(near, 0, 0, passing + 1)
        a, b = kept_place(near, kept, step), passing_place(near, passing, step)
        if rowwise:
            a, b = b, a
        add_step(a, b, TILE_LINE, TILE, PART, below, beside, lambda part: split_ahead(near, part))
    store_tiles(to, line)
    if not whole:
        for k in range(min(tall, SIDE)):
            copy_part(place + k * near.line, to + k * line, min(wide, SIDE))


@inlined
def kept_place(near: Near, block: int, step: int) -> Bytes:
    """Where the parts of a side are."""
    return near.kept_to + (block * near.steps + step) * STEP


@inlined
def passing_place(near: Near, block: int, step: int) -> Bytes:
    """A step's are written over those of the block before; a single step's over those of the block before
    that."""
    return near.passing_to + (step if near.steps > 1 else block & 1) * STEP


@native
def look(near: Near, step: int, kept: int, passing: int) -> None:
    """What a step needs: each side is split for the first block of the other one."""
    deep, k = min(near.count - step * DEEP, DEEP), near.first + step * DEEP
    near.splits_kept, near.splits_passing = 0, 0
    if passing == 0:
        near.splits_kept = 1
        find_step(near.kept_step, near.kept, kept, k, deep, kept_place(near, kept, step))
    if kept == 0 and passing < near.passing_blocks:
        near.splits_passing = 1
        find_step(near.passing_step, near.passing, passing, k, deep, passing_place(near, passing, step))


@inlined
def split_ahead(near: Near, part: int) -> None:
    """A part of it: the last tiles are not read at once, for what was just written is read slowly."""
    if part >= SPLITS:
        return
    if near.splits_kept != 0:
        split_lines(near.kept_step, part)
    if near.splits_passing != 0:
        split_lines(near.passing_step, part)
