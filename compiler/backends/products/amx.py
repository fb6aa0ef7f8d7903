"""Products of float32 on a processor's tiles of bfloat16 (AMX), in the native language.

Both operands are split into three parts, h + m + l (`split.py`). Of the nine products of parts, six are added
up: l·h, m·h, m·m, h·m, h·l and h·h. What is left out is less than 2⁻²⁵ of a term. Tiles hold sums in float32,
to which 32 inner positions are added at a time; so the error is that of a sum in float32 of fewer steps than
there are terms, and a matrix times one with a single 1 in each column is exact.

The tiles' arithmetic takes numbers below the least normal one for 0. So ranges are looked at while operands
are split: where an element, or the product of the least ones, is so small that this could be noticed, or so
great that a sum could overflow, or where there is an infinity or a NaN, nothing is done, and `walk.py`
multiplies as on other processors. This depends on the elements alone.

In flow a job; out flow all sums, in the result, or for items that do the rest with them. Tiles are asked of
the system once; they are a thread's own, set when a task begins, and given back when it ends.

Linux, Documentation/arch/x86/xstate.rst.
"""

from __future__ import annotations

from retrograd.compiler.backends.products.blocks import CONFIGURATION, configure, multiply_block, release
from retrograd.compiler.backends.products.records import Bytes, Item, Job, Work
from retrograd.compiler.backends.products.rooms import borrow, give_back
from retrograd.compiler.backends.products.split import (
    DEEP,
    LINES,
    SIDE,
    STEP,
    Lanes,
    Side,
    split_some,
)
from retrograd.compiler.backends.products.walk import spread
from retrograd.compiler.native.language import (
    Array,
    Float32,
    Order,
    Unsigned32,
    atomic_load,
    atomic_store,
    cast,
    exported,
    extern,
    inlined,
    inside,
    native,
    put,
    stack,
    take,
    variable,
)

_PIECE = 1024
"""Inner positions that are split at a time, at most."""
_NEAR = 128
"""Steps of the inner axis, of all blocks of rows of a task, whose parts stay in the second-level cache beside
all else."""
_TASKS = 8
"""Tasks that there should be, for threads to share."""
_SPLIT_AT_ONCE = 1 << 16
"""Elements that a task splits."""
_LINE = 64
"""Bytes of a line of a tile, and of the cache."""
_SLACK = 1024
"""Bytes after all sums that the last vectors may read, and ignore."""
_HALVES = (0, LINES)
"""Columns where the vectors of a block begin."""
_FRACTION = 24
"""Bits below the exponent in a size of a range."""
_ARCH_PRCTL, _ASK, _TILES = 158, 0x1023, 18
_GRANTED, _REFUSED = 1, 2
_LEAST, _LEAST_PRODUCT = 24, 156
"""Exponents, as float32 has them, of the least element, and of two together, that are not too small."""
_MOST = 253
"""That of the greatest element."""
_MOST_PRODUCT = 378
"""That of the two together, and of so many of them."""

STATE = variable(Array[int], "amx_state")
"""What the system said, if it was asked."""


class Split(Job):
    """A job, and how it is done by parts. Distances are bytes."""

    rows: Side
    columns: Side
    """The operands, exchanged if the result lies with its rows side by side."""
    row_blocks: int
    column_blocks: int
    depth: int
    """Inner positions of a piece of that axis."""
    row_share: int
    """Blocks of rows that a task splits; and steps of the inner axis, of all columns."""
    column_share: int
    size: int
    """Blocks of rows that a task multiplies."""
    beside: int
    """Blocks of columns of it."""
    first: int
    """Where the piece begins."""
    count: int
    """Its inner positions."""
    sums: Bytes
    """Where the product's sums go."""
    row: int
    """From a row of them to the next."""
    whole: Bytes
    """If the rest is done with them: all sums, of a product after the other, in whole blocks."""
    whole_row: int
    whole_batch: int


@exported
def retrograd_amx(job: Job, rest: Work) -> int:
    """The product, and the rest for each task; 0 if nothing is done."""
    if not is_granted():
        return 0
    plan, split, rows, columns = job.plan, stack(Split), stack(Side), stack(Side)
    split.plan, split.args, split.left, split.right = plan, job.args, job.left, job.right
    split.out, split.panels, split.fetch = job.out, job.panels, fetch_sums
    split.rows, split.columns = rows, columns
    room = lay_out(split)
    if room is None:
        return 0
    done = 1
    for batch in range(products_of(job)):
        if not multiply(split, batch):
            done = 0
            break
    if done != 0 and plan.epilogue is not None:
        spread(rest, split, plan.tasks, plan.parallel)
    give_back(room)
    return done


@native
def is_granted() -> bool:
    """Does the system let this process use tiles?"""
    known = atomic_load(STATE, Order.RELAXED)
    if known == 0:
        known = _GRANTED if syscall(_ARCH_PRCTL, _ASK, _TILES) == 0 else _REFUSED
        atomic_store(STATE, known, Order.RELAXED)
    return known == _GRANTED


# ---- how it is gone through --------------------------------------------------------------------------------
@inlined
def parts_of(extent: int, size: int) -> int:
    """Parts of a size that an extent has, the last perhaps smaller."""
    return (extent + size - 1) // size


@native
def products_of(job: Job) -> int:
    """Products of the batch."""
    return job.plan.items // (job.plan.chunks * job.plan.groups)


@native
def lay_out(split: Split) -> Bytes | None:
    """The sides, the tasks, and room for parts, ranges and sums; null where there is no memory."""
    plan, rows, columns = split.plan, split.rows, split.columns
    rows.right, columns.right = 0, 1
    left = columns if plan.turned is not None else rows
    right = rows if plan.turned is not None else columns
    left.across, left.inner, left.extent = plan.left_row, plan.left_inner, plan.row_extent
    right.across, right.inner, right.extent = plan.right_column, plan.right_inner, plan.column_extent
    rows.turn = plan.squares if rows.inner != 4 else None
    columns.turn = plan.squares if columns.across != 4 else None
    rows.pick, columns.pick = plan.singles, plan.singles
    blocks, panels = parts_of(rows.extent, SIDE), parts_of(columns.extent, SIDE)
    steps = parts_of(parts_of(plan.inner_extent, parts_of(plan.inner_extent, _PIECE)), DEEP)
    split.row_blocks, split.column_blocks, split.depth = blocks, panels, steps * DEEP
    split.row_share = parts_of(_SPLIT_AT_ONCE, SIDE * split.depth)
    split.column_share = parts_of(_SPLIT_AT_ONCE, DEEP * columns.extent)
    split.size = min(blocks, max(1, _NEAR // steps))
    groups = parts_of(_TASKS, parts_of(blocks, split.size)) if plan.parallel is not None else 1
    split.beside = parts_of(panels, groups)
    split.whole_row = panels * SIDE * 4
    split.whole_batch = blocks * SIDE * split.whole_row if plan.epilogue is not None else 0
    split_bytes, ranges = (blocks + panels) * steps * STEP, parts_of(8 * (blocks + steps), _LINE) * _LINE
    room = borrow(split_bytes + ranges + products_of(split) * split.whole_batch + _SLACK)
    if room is None:
        return None
    rows.to, columns.to = room, room + blocks * steps * STEP
    rows.ranges = inside(Array[Unsigned32], room, split_bytes)
    columns.ranges = rows.ranges + 2 * blocks
    split.whole = room + split_bytes + ranges
    return room


@native
def multiply(split: Split, batch: int) -> bool:
    """A product of the batch, unless its elements are out of range."""
    plan, rows, columns = split.plan, split.rows, split.columns
    left, right = split.left + batch * plan.left_batch, split.right + batch * plan.right_batch
    rows.at, columns.at = left, right
    split.sums, split.row = split.out + batch * plan.out_batch, plan.out_row
    if plan.turned is not None:
        rows.at, columns.at, split.row = right, left, plan.out_column
    if plan.epilogue is not None:
        split.sums, split.row = split.whole + batch * split.whole_batch, split.whole_row
    chunks, groups = parts_of(split.row_blocks, split.size), parts_of(split.column_blocks, split.beside)
    split.first = 0
    while split.first < plan.inner_extent:
        split.count = min(plan.inner_extent - split.first, split.depth)
        spread(split_rows, split, parts_of(split.row_blocks, split.row_share), plan.parallel)
        spread(split_columns, split, parts_of(parts_of(split.count, DEEP), split.column_share), plan.parallel)
        if not is_in_range(split):
            return False
        spread(multiply_some, split, chunks * groups, plan.parallel)
        split.first = split.first + split.count
    return True


@native
def split_rows(job: Job, number: int) -> None:
    """A task: the parts of some blocks of rows."""
    split = cast(Split, job)
    start = number * split.row_share
    for block in range(start, min(start + split.row_share, split.row_blocks)):
        split_some(split.rows, block, split.first, split.count)


@native
def split_columns(job: Job, number: int) -> None:
    """A task: the parts of all columns, at some inner positions."""
    split = cast(Split, job)
    start = number * split.column_share
    for step in range(start, min(start + split.column_share, parts_of(split.count, DEEP))):
        split_some(split.columns, step, split.first, split.count)


@native
def is_in_range(split: Split) -> bool:
    """Are the parts of all elements numbers, too, and their products and sums?"""
    rows, columns, steps = split.rows.ranges, split.columns.ranges, parts_of(split.count, DEEP)
    least, other_least = exponent_of_least(rows, split.row_blocks), exponent_of_least(columns, steps)
    most, other_most = exponent_of_most(rows, split.row_blocks), exponent_of_most(columns, steps)
    terms = 0
    while split.plan.inner_extent >> terms != 0:
        terms += 1
    if min(least, other_least) < _LEAST or least + other_least < _LEAST_PRODUCT:
        return False
    return max(most, other_most) <= _MOST and most + other_most + terms <= _MOST_PRODUCT


@native
def exponent_of_least(ranges: Array[Unsigned32], count: int) -> int:
    """Of the least element but 0 in so many blocks; large, if there is none."""
    found = ranges[0]
    for block in range(1, count):
        found = min(found, ranges[2 * block])
    return (found + 1) >> _FRACTION


@native
def exponent_of_most(ranges: Array[Unsigned32], count: int) -> int:
    """Of the greatest element in so many blocks."""
    found = ranges[1]
    for block in range(1, count):
        found = max(found, ranges[2 * block + 1])
    return found >> _FRACTION


@native
def fetch_sums(job: Job, item: Item, number: int) -> None:
    """The sums of an item, where its rest is done with them."""
    split, plan = cast(Split, job), job.plan
    whole = split.whole + number // (plan.chunks * plan.groups) * split.whole_batch
    rows, line, beside = plan.rows, plan.width * plan.itemsize, plan.beside
    latest_row, latest_column = plan.row_extent - rows, max(plan.column_extent - plan.width, 0)
    own_block = item.sums
    for block in range(item.block, item.end_block):
        own, first = own_block, whole + min(block * rows, latest_row) * split.whole_row
        for panel in range(item.panel, item.end_panel):
            source = first + min(panel * plan.width, latest_column) * plan.itemsize
            for _ in range(rows):
                copy_line(own, source, line)
                own, source = own + line, source + split.whole_row
        own_block += beside * rows * line


@inlined
def copy_line(to: Bytes, source: Bytes, count: int) -> None:
    """So many bytes, in whole vectors."""
    for at in range(0, count, _LINE):
        put(inside(Array[Float32], to, at), take(Lanes, inside(Array[Float32], source, at)))


# ---- tiles -------------------------------------------------------------------------------------------------
@native
def multiply_some(job: Job, number: int) -> None:
    """A task: some blocks of rows by some blocks of columns, for a piece of the inner axis."""
    split = cast(Split, job)
    groups = parts_of(split.column_blocks, split.beside)
    block, panel = number // groups * split.size, number % groups * split.beside
    end_block, end_panel = (
        min(block + split.size, split.row_blocks),
        min(panel + split.beside, split.column_blocks),
    )
    padded = split.plan.epilogue is not None
    steps = parts_of(split.count, DEEP)
    configure(CONFIGURATION)
    for column in range(panel, end_panel):
        a, b = split.rows.to + block * steps * STEP, split.columns.to + column * steps * STEP
        for row in range(block, end_block):
            tall, wide = split.rows.extent - row * SIDE, split.columns.extent - column * SIDE
            to = split.sums + row * SIDE * split.row + column * SIDE * 4
            if padded or min(tall, wide) >= SIDE:
                multiply_block(a, b, steps, to, split.row, tall, wide, split.first == 0)
            else:
                multiply_edge(split, a, b, steps, to, min(tall, SIDE), min(wide, SIDE))
            a += steps * STEP
    release()


@native
def multiply_edge(split: Split, a: Bytes, b: Bytes, steps: int, to: Bytes, tall: int, wide: int) -> None:
    """So many rows and columns, less than a block, by way of one."""
    own, line = cast(Bytes, stack(Array[Float32], SIDE * SIDE, 64)), 4 * SIDE
    if split.first != 0:
        for k in range(tall):
            copy_part(own + k * line, to + k * split.row, wide)
    multiply_block(a, b, steps, own, line, tall, wide, split.first == 0)
    for k in range(tall):
        copy_part(to + k * split.row, own + k * line, wide)


@inlined
def copy_part(to: Bytes, source: Bytes, count: int) -> None:
    """So many elements, two vectors at most."""
    for at in _HALVES:
        there, whence = inside(Array[Float32], to, 4 * at), inside(Array[Float32], source, 4 * at)
        put(there, take(Lanes, whence, count - at, 0.0), count - at)


# ---- functions of C ----------------------------------------------------------------------------------------
@extern
def syscall(number: int, first: int, second: int) -> int: ...
