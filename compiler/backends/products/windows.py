"""Products with windows on tiles of bfloat16 (AMX), as convolutions are, in the native language.

    split the weights: of each block of rows, for each 32 channels and each tap, the tiles of a step
    for each band of lines of each image:
        split what it reads
        for each block of rows, and each two tiles of places: add up the products of all steps

Both operands are split into three parts (`split.py`), each element once. A word of the image's parts holds
a channel and the one 16 on, and words of 16 channels lie 16 planes apart. So 16 places of a plane, wherever
they begin, are a line of the right operand's tiles: a tap is a place to begin at. Where places of the output
are several places of the image apart, those that are so far apart lie together, in a plane each.

Tiles go along a line of the output, or along all lines and what is between them, if so there are fewer. Sums
go where they belong, or to room of a task's own, for the rest to be done with them. As in `amx.py`, ranges of
elements say whether all this is exact enough; if not, whatever was done is to be done anew.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from retrograd.compiler.backends.products.amx import is_granted
from retrograd.compiler.backends.products.blocks import (
    CONFIGURATION,
    TILE_LINE,
    add_step,
    configure,
    release,
    store_first,
    store_second,
    zero_tiles,
)
from retrograd.compiler.backends.products.ranges import fits
from retrograd.compiler.backends.products.records import Bytes, Job, Windows
from retrograd.compiler.backends.products.rooms import borrow, give_back
from retrograd.compiler.backends.products.split import (
    DEEP,
    LINES,
    PART,
    SIDE,
    STEP,
    Lanes,
    Words,
    new_block,
    new_bounds,
    split_lines_of,
    tell_range,
    words,
)
from retrograd.compiler.backends.products.walk import spread
from retrograd.compiler.native.language import (
    Array,
    Float32,
    Int32,
    Record,
    Unsigned16,
    Unsigned32,
    Vector,
    cast,
    constants,
    exported,
    inlined,
    inside,
    intrinsic,
    native,
    put,
    stack,
    take,
)

_NEAR = 1 << 20
"""Bytes of parts of weights that stay in the second-level cache, beside those of an image."""
_OWN_LINE, _VECTOR = 4 * LINES, 4 * LINES
"""Bytes of a line of sums, and of a vector."""
_LANES = constants(Array[Unsigned32], "amx_lanes", *range(LINES))

Places = Vector[Unsigned32, Literal[16]]


class Windowing(Job):
    """A product with windows on its way."""

    windows: Windows
    parts: Bytes
    """Those of the weights, and the ranges of their blocks."""
    ranges: Array[Unsigned32]
    refused: int
    """Were elements out of range?"""


class Band(Record):
    """What a task has to do."""

    item: int
    batch: int
    line: int
    """Its first line of the output, and how many there are."""
    lines: int
    block: int
    """Its first block of rows, and the one after the last."""
    end: int
    parts: Bytes
    to: Bytes
    """Where the sums of its first line go."""
    row: int
    after: int
    """From a row to the next there, and from a line."""


@exported
def retrograd_windows(plan: Windows, args: Array[Bytes], left: Bytes, right: Bytes, out: Bytes) -> int:
    """The product, and the rest; 0 if it is to be done otherwise."""
    if not is_granted():
        return 0
    job = stack(Windowing)
    blocks = plan.batches * blocks_of(plan)
    size = blocks * steps_of(plan) * STEP
    room = borrow(size + blocks * 2 * 4)
    if room is None:
        return 0
    job.windows, job.args, job.left, job.right, job.out = plan, args, left, right, out
    job.parts, job.ranges, job.refused = room, cast(Array[Unsigned32], room + size), 0
    spread(split_weights, job, blocks, plan.parallel)
    spread(do_band, job, plan.tasks, plan.parallel)
    give_back(room)
    return 1 - job.refused


@inlined
def blocks_of(plan: Windows) -> int:
    """Blocks of rows."""
    return (plan.rows + SIDE - 1) // SIDE


@inlined
def groups_of(plan: Windows) -> int:
    """Groups of channels."""
    return (plan.channels + DEEP - 1) // DEEP


@inlined
def steps_of(plan: Windows) -> int:
    return groups_of(plan) * plan.taps


# ---- operands ----------------------------------------------------------------------------------------------
@native
def split_weights(job: Job, number: int) -> None:
    """A task: a block of rows."""
    given, bounds = cast(Windowing, job), new_bounds()
    plan = given.windows
    batch = number // blocks_of(plan)
    row = (number - batch * blocks_of(plan)) * SIDE
    block = job.left + batch * plan.left_batch + row * plan.left_row
    places = take(Places, _LANES) * cast(Places, plan.left_channel)
    to, high = given.parts + number * steps_of(plan) * STEP, 2 * PART
    for group in range(groups_of(plan)):
        there = plan.channels - group * DEEP
        for tap in range(plan.taps):
            split_lines_of(
                bounds, min(plan.rows - row, SIDE),
                block + group * DEEP * plan.left_channel + plan.table[2 * tap],
                plan.left_row, LINES * plan.left_channel, to + high, TILE_LINE, -PART,
                lambda source, _: gathered(source, places, there),  # noqa: B023  # written out here
                lambda source, _: gathered(source, places, there - LINES),  # noqa: B023
            )  # fmt: skip
            to += STEP
    tell_range(bounds, given.ranges + 2 * number)


@native
def split_image(plan: Windows, image: Bytes, line: int, to: Bytes, bounds: Array[Unsigned32]) -> None:
    """What a band reads, from such a line on."""
    for at in range(0, plan.parts_bytes, _VECTOR):
        put(words(to, at), cast(Words, 0))
    for group in range(groups_of(plan)):
        for word in range(min(plan.channels - group * DEEP, LINES)):
            channel = group * DEEP + word
            plane = to + (3 * group * LINES + word) * plan.deep
            beside = plan.channels - channel > LINES
            for below in range(plan.down):
                for on in range(plan.across):
                    split_plane(
                        plan, image + channel * plan.right_channel, line, below, on, beside, plane, bounds
                    )
                    plane += plan.plane_lines * plan.plane_line


@native
def split_plane(
    plan: Windows,
    channel: Bytes,
    line: int,
    below: int,
    on: int,
    beside: bool,
    to: Bytes,
    bounds: Array[Unsigned32],
) -> None:
    """Every line that is so many below one that a place of the output begins at, and of it every place that
    is so many further on; beside what is there of the channel 16 on. Vectors that reach beyond a line write
    zeros, before the next one is written."""
    first, last = since(plan.first - on, plan.across), since(plan.last - on, plan.across)
    step, count = plan.across * plan.right_place, last - first
    places, second = take(Places, _LANES) * cast(Places, step), count if beside else 0
    source = channel + (first * plan.across + on) * plan.right_place
    to += 4 * first
    for number in range(plan.plane_lines):
        at = line + number * plan.down + below
        if plan.top <= at and at < plan.bottom:
            if step == 4:
                split_lines_of(
                    bounds, vectors_of(count), source + at * plan.right_line, _VECTOR,
                    LINES * plan.right_channel, to, _VECTOR, LINES * plan.deep,
                    lambda source, number: some_of(source, count - number * LINES),
                    lambda source, number: some_of(source, second - number * LINES),
                )  # fmt: skip
            else:
                split_lines_of(
                    bounds, vectors_of(count), source + at * plan.right_line, LINES * step,
                    LINES * plan.right_channel, to, _VECTOR, LINES * plan.deep,
                    lambda source, number: gathered(source, places, count - number * LINES),
                    lambda source, number: gathered(source, places, second - number * LINES),
                )  # fmt: skip
        to += plan.plane_line


@inlined
def since(distance: int, step: int) -> int:
    """How many steps reach so far."""
    return (max(distance, 0) + step - 1) // step


@inlined
def vectors_of(count: int) -> int:
    return (count + LINES - 1) // LINES


@inlined
def some_of(source: Bytes, count: int) -> Lanes:
    """So many elements at most, and zeros."""
    return take(Lanes, cast(Array[Float32], source), count, 0.0)


@inlined
def gathered(source: Bytes, places: Places, count: int) -> Lanes:
    """The same of elements so many bytes on."""
    lanes = min(max(count, 0), LINES)
    return gather(cast(Lanes, 0.0), source, places, (1 << lanes) - 1, 1)


# ---- sums --------------------------------------------------------------------------------------------------
@native
def do_band(job: Job, number: int) -> None:
    """A task: a band of an image, or some rows of what it makes, if nothing was refused yet."""
    given = cast(Windowing, job)
    plan = given.windows
    if given.refused != 0:
        return
    room = borrow(plan.parts_bytes + plan.sums_bytes)
    if room is None:
        given.refused = 1
        return
    band, bounds, ranges = stack(Band), new_bounds(), stack(Array[Unsigned32], 4)
    place_band(given, band, number)
    image = job.right + band.batch * plan.right_batch
    image += (band.item - band.batch * plan.images) * plan.right_image
    band.parts = room
    split_image(plan, image, band.line * plan.down, room, bounds)
    tell_range(bounds, ranges + 2)
    range_of_weights(given, band.batch, ranges)
    if fits(ranges, plan.channels * plan.taps):
        if plan.epilogue is not None:
            band.to, band.row, band.after = room + plan.parts_bytes, plan.sums_row, 4 * plan.width
        configure(CONFIGURATION)
        multiply_band(given, band)
        release()
        finish_band(given, band)
    else:
        given.refused = 1
    give_back(room)


@native
def place_band(job: Windowing, band: Band, number: int) -> None:
    """Which lines of which image, and which rows, a task has; and where the output of these begins."""
    plan = job.windows
    within = number // plan.chunks
    band.item = within // plan.bands
    band.batch = band.item // plan.images
    band.line = (within - band.item * plan.bands) * plan.band
    band.lines = min(plan.lines - band.line, plan.band)
    band.block = (number - within * plan.chunks) * plan.chunk
    band.end = min(band.block + plan.chunk, blocks_of(plan))
    image = band.item - band.batch * plan.images
    band.to = job.out + band.batch * plan.out_batch + image * plan.out_image + band.line * plan.out_line
    band.to += band.block * SIDE * plan.out_row
    band.row, band.after = plan.out_row, plan.out_line


@native
def range_of_weights(job: Windowing, batch: int, ranges: Array[Unsigned32]) -> None:
    """That of all blocks of a product."""
    blocks = blocks_of(job.windows)
    own = job.ranges + 2 * batch * blocks
    ranges[0], ranges[1] = own[0], own[1]
    for block in range(1, blocks):
        ranges[0], ranges[1] = min(ranges[0], own[2 * block]), max(ranges[1], own[2 * block + 1])


@native
def multiply_band(job: Windowing, band: Band) -> None:
    """All sums of a band: of two tiles of places after the other, if the weights stay near; else of a block
    of rows after the other."""
    plan = job.windows
    blocks, tiles = band.end - band.block, plan.along * band.lines
    if plan.along == 0:
        tiles = vectors_of((band.lines - 1) * (plan.plane_line >> 2) + plan.width)
    pairs = (tiles + 1) >> 1
    if blocks * steps_of(plan) * STEP <= _NEAR:
        for pair in range(pairs):
            for block in range(blocks):
                multiply_tiles(job, band, block, 2 * pair, tiles)
    else:
        for block in range(blocks):
            for pair in range(pairs):
                multiply_tiles(job, band, block, 2 * pair, tiles)


@inlined
def place_of(plan: Windows, tile: int) -> int:
    """Where a tile begins, in words of a plane."""
    if plan.along == 0:
        return tile * LINES
    line = tile // plan.along
    return line * (plan.plane_line >> 2) + (tile - line * plan.along) * LINES


@native
def multiply_tiles(job: Windowing, band: Band, number: int, tile: int, tiles: int) -> None:
    """A block of rows, and two tiles of places or the last one."""
    plan = job.windows
    place, beside = place_of(plan, tile), tile + 1 < tiles
    second = (place_of(plan, tile + 1) - place) * 4
    block = number + band.block
    rows = min(plan.rows - block * SIDE, SIDE)
    below = rows > LINES
    a = job.parts + (band.batch * blocks_of(plan) + block) * steps_of(plan) * STEP
    b, part = band.parts + 4 * place, LINES * plan.deep
    zero_tiles()
    for _ in range(groups_of(plan)):
        for tap in range(plan.taps):
            at = b + plan.table[2 * tap + 1]
            add_step(a, at, plan.deep, second, part, below, beside, lambda _: None)
            a += STEP
        b += 3 * part
    to = band.to + number * SIDE * band.row
    store_sums(plan, band, place, rows, to, store_first)
    if beside:
        store_sums(plan, band, place + (second >> 2), rows, to, store_second)


@inlined
def store_sums(
    plan: Windows, band: Band, place: int, rows: int, to: Bytes, store: Callable[[Bytes, int], None]
) -> None:
    """Those of a tile's places that are of the output: all at once, or what there is of each line."""
    long = plan.plane_line >> 2
    line = place // long
    at = place - line * long
    if rows == SIDE and at + LINES <= plan.width:
        store(to + (line * band.after + 4 * at), band.row)
        return
    own, done = new_block(), 0
    store(own, _OWN_LINE)
    while done < LINES and line < band.lines:
        count = min(plan.width - at, LINES - done)
        if count > 0:
            there, sums = to + (line * band.after + 4 * at), own + 4 * done
            for row in range(rows):
                put(
                    inside(Array[Float32], there, row * band.row),
                    take(Lanes, inside(Array[Float32], sums, row * _OWN_LINE), count, 0.0),
                    count,
                )
        done, line, at = done + long - at, line + 1, 0


@native
def finish_band(job: Windowing, band: Band) -> None:
    """The rest."""
    plan = job.windows
    rest = plan.epilogue
    if rest is None:
        return
    sums = band.to
    for block in range(band.block, band.end):
        rest(job.args, band.item, block * SIDE, band.line * plan.width, sums)
        sums += SIDE * band.row


@intrinsic("llvm.x86.avx512.gather.dps.512")
def gather(otherwise: Lanes, place: Bytes, places: Places, lanes: Unsigned16, scale: Int32) -> Lanes: ...
