"""Cells of products on tiles (AMX), whose operands' parts stay in the near caches, in the native language.

    for each piece of the inner axis:
        for each block of a side that passes, and of one that is kept, and for each step of the piece:
            add the products of its parts; meanwhile, split some of the block that passes next

Tiles and vectors are different parts of a processor, and so work at the same time: what is split is dealt out
evenly over the steps, and fetched before. Parts are kept of all of the shorter side, but of two blocks of the
other alone: so few that they stay in the nearest cache where the operands are small, and in the second-level
one where they are not.
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
    fetch_lines,
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
    """What is split of a side now."""
    passing_step: Step
    splits_kept: int
    """Is a step of the side that is kept?"""
    coming: int
    """The step of the block that passes next of which parts are split."""
    part: int
    """The first of them that are."""
    end_part: int
    due: int
    """What there is of a part more, in as many pieces as there are kept blocks."""


@inlined
def near_bytes(blocks: int, steps: int) -> int:
    """Room for the parts of so many blocks that are kept, of one that passes, and of the next one."""
    return (blocks + 2) * steps * STEP


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
    near.kept_to = near.passing_to + 2 * near.steps * STEP
    near.own, near.kept_step, near.passing_step = new_block(), stack(Step), stack(Step)
    begin_steps(near.kept_step, near.kept, new_block())
    begin_steps(near.passing_step, near.passing, new_block())
    find_kept(near, 0, 0)
    split_step(near.kept_step)
    for step in range(near.steps):
        find_passing(near, 0, step)
        split_step(near.passing_step)
    for passing in range(near.passing_blocks):
        near.coming, near.end_part, near.due = 0, 0, 0
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
        look_ahead(near, step, kept, passing)
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
    """They are written over those of the block before the last."""
    return near.passing_to + ((block & 1) * near.steps + step) * STEP


@inlined
def find_kept(near: Near, block: int, step: int) -> None:
    k = step * DEEP
    deep, to = min(near.count - k, DEEP), kept_place(near, block, step)
    find_step(near.kept_step, near.kept, block, near.first + k, deep, to)


@inlined
def find_passing(near: Near, block: int, step: int) -> None:
    k = step * DEEP
    deep, to = min(near.count - k, DEEP), passing_place(near, block, step)
    find_step(near.passing_step, near.passing, block, near.first + k, deep, to)


@native
def look_ahead(near: Near, step: int, kept: int, passing: int) -> None:
    """What is split beside a step, and what comes into the second-level cache to be split later."""
    near.splits_kept, near.part = 0, near.end_part
    if passing == 0:
        look_at_kept(near, step, kept)
    if passing + 1 < near.passing_blocks:
        look_at_passing(near, passing + 1)


@native
def look_at_kept(near: Near, step: int, kept: int) -> None:
    """As the first block passes, the next step of those that are kept is split. The same step of the next
    one comes."""
    if step + 1 < near.steps:
        near.splits_kept = 1
        find_kept(near, kept, step + 1)
    if kept + 1 == near.kept_blocks:
        return
    if near.splits_kept == 0:
        near.splits_kept = 1
        find_kept(near, kept + 1, 0)
    fetch_lines(near.kept, kept + 1, near.first + step * DEEP, 0, SIDE)


@native
def look_at_passing(near: Near, block: int) -> None:
    """Of the block that passes next a share is split, so that all of it is over the time of this one, evenly.
    The same share of the step that follows comes."""
    if near.part == SPLITS:
        near.coming, near.part, near.end_part = near.coming + 1, 0, 0
    near.due += SPLITS
    while near.due >= near.kept_blocks:
        near.due, near.end_part = near.due - near.kept_blocks, near.end_part + 1
    if near.part == near.end_part:
        return
    if near.part == 0:
        find_passing(near, block, near.coming)
    first, end = near.part * (SIDE // SPLITS), near.end_part * (SIDE // SPLITS)
    if near.coming + 1 < near.steps:
        fetch_lines(near.passing, block, near.first + (near.coming + 1) * DEEP, first, end)
    elif block + 1 < near.passing_blocks:
        fetch_lines(near.passing, block + 1, near.first, first, end)


@inlined
def split_ahead(near: Near, part: int) -> None:
    """A part of it: the last tiles are not read at once, for what was just written is read slowly."""
    if part >= SPLITS:
        return
    if near.splits_kept != 0:
        split_lines(near.kept_step, part)
    if near.part <= part and part < near.end_part:
        split_lines(near.passing_step, part)
