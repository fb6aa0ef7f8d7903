"""Products of float32 on a processor's tiles of bfloat16 (AMX), in the native language.

Both operands are split into three parts, h + m + l (`split.py`). Of the nine products of parts, six are added
up: l·h, m·h, m·m, h·m, h·l and h·h. What is left out is less than 2⁻²⁵ of a term. Tiles hold sums in float32,
to which 32 inner positions are added at a time; so the error is that of a sum in float32 of fewer steps than
there are terms, and a matrix times one with a single 1 in each column is exact.

Where elements are out of the range in which all this is so (`ranges.py`), nothing is done, and `walk.py`
multiplies as on other processors. This depends on the elements alone.

In flow a job; out flow all sums, in the result, or row after row for tiles that do the rest with them. The
processor's tiles are asked of the system once; they are a thread's own, set when a task begins, and given
back when it ends.

Linux, Documentation/arch/x86/xstate.rst.
"""

from __future__ import annotations

from retrograd.compiler.backends.products.blocks import (
    CONFIGURATION,
    configure,
    copy_part,
    multiply_block,
    release,
)
from retrograd.compiler.backends.products.near import Near, multiply_near, near_bytes
from retrograd.compiler.backends.products.ranges import begin_range, fits, widen
from retrograd.compiler.backends.products.records import Bytes, Item, Job, Plan, Sharing
from retrograd.compiler.backends.products.rooms import LARGE, borrow, give_back
from retrograd.compiler.backends.products.split import (
    DEEP,
    SIDE,
    STEP,
    Side,
    parts_of,
    split_some,
)
from retrograd.compiler.backends.products.walk import finish_tiles, place_item, spread
from retrograd.compiler.native.language import (
    Array,
    Byte,
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
    stack,
    variable,
)

_PIECE = 1024
"""Inner positions that are split at a time, at most."""
_NEAR = 128
"""Steps of the inner axis, of all blocks of rows of a task, whose parts stay in the second-level cache beside
all else."""
_NEAR_BYTES = 1 << 19
"""Of parts that stay in the second-level cache, so that operands are split while they are multiplied."""
_CELLS, _EACH = 8, 2
"""Cells of a product, at most; and tasks that there should be for each thread where they share one."""
_SPLIT_AT_ONCE = 1 << 16
"""Elements that a task splits."""
_LINE = 64
"""Bytes of a line of a tile, and of the cache."""
_SLACK = 1024
"""Bytes after all sums that the last vectors may read, and ignore."""
_ARCH_PRCTL, _ASK, _TILES = 158, 0x1023, 18
_GRANTED, _REFUSED = 1, 2
_LARGE = 1 << 26
"""A product of so many multiplications is shared by threads as a whole."""

STATE = variable(Array[int], "amx_state")
"""What the system said, if it was asked."""


class Split(Job):
    """A job, and how it is done by parts: all of it, or a cell, some rows of a product by some of its
    columns, which a thread does alone. Distances are bytes."""

    rows: Side
    columns: Side
    """The operands, exchanged if the result lies with its rows side by side."""
    down: int
    """Cells below each other of a product, and beside each other."""
    across: int
    refused: int
    """Has a cell found elements that are out of range? However a product is cut, its least row and its least
    column meet in one."""
    shared: Sharing | None
    """What spreads the tasks of a cell over threads, if it is the only one."""
    row_blocks: int
    column_blocks: int
    depth: int
    """Inner positions of a piece of that axis."""
    columns_to: Bytes
    """The parts of all columns, at the inner positions of a piece."""
    share: int
    """Steps of the inner axis that a task splits, of all columns."""
    ranges: Array[Unsigned32]
    """Of each such task, and then of all."""
    size: int
    """Blocks of rows that a task splits, and multiplies."""
    beside: int
    """Blocks of columns of it."""
    first: int
    """Where the piece begins."""
    count: int
    """Its inner positions."""
    sums: Bytes
    """Where the sums go."""
    row: int
    """From a row of them to the next."""
    whole: Bytes
    """If the rest is done with them: all sums, of a product after the other, in whole blocks."""
    whole_batch: int


@exported
def retrograd_amx(job: Job) -> int:
    """The product, and the rest; 0 if nothing is done."""
    if not is_granted():
        return 0
    plan, split = job.plan, stack(Split)
    split.plan, split.args, split.left, split.right = plan, job.args, job.left, job.right
    split.out, split.panels, split.refused = job.out, job.panels, 0
    cut_in_cells(split)
    cells = products_of(split) * split.down * split.across
    room = None
    if plan.epilogue is not None:
        split.whole_batch = parts_of(plan.row_extent, SIDE) * SIDE * plan.line
        room = borrow(products_of(split) * split.whole_batch + _SLACK)
        if room is None:
            return 0
        split.whole = room
    spread(do_cell, split, cells, None if split.shared is not None else plan.parallel)
    done = 1 - split.refused
    if room is not None:
        if done != 0:
            spread(finish_task, split, plan.tasks, plan.parallel)
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


# ---- cells -------------------------------------------------------------------------------------------------
@inlined
def products_of(job: Job) -> int:
    """Products of the batch."""
    return job.plan.items // (job.plan.chunks * job.plan.groups)


@inlined
def pieces_of(plan: Plan) -> int:
    """Pieces of the inner axis."""
    return parts_of(plan.inner_extent, _PIECE)


@inlined
def threads_of(plan: Plan) -> int:
    """Threads that share it."""
    return plan.threads() if plan.threads is not None else 1


@native
def cut_in_cells(split: Split) -> None:
    """So many that each thread has one, and splits what it needs: what another processor's cache holds comes
    slowly. Of large products, if they are few, threads share the parts. All this changes no sum."""
    plan, products = split.plan, products_of(split)
    split.down, split.across, split.shared = 1, 1, None
    threads = min(threads_of(plan), _CELLS)
    if products < threads and plan.row_extent * plan.column_extent * plan.inner_extent >= _LARGE:
        split.shared = plan.parallel
        return
    while products * split.down * split.across < threads:
        if plan.row_extent * split.across > plan.column_extent * split.down:
            split.down = 2 * split.down
        else:
            split.across = 2 * split.across


@native
def do_cell(job: Job, number: int) -> None:
    """A task: a cell of a product, if none was refused yet."""
    given, split, rows, columns = cast(Split, job), stack(Split), stack(Side), stack(Side)
    plan, each = given.plan, given.down * given.across
    batch = number // each
    if given.refused != 0:
        return
    rows.right, columns.right = 0, 1
    left = columns if plan.turned is not None else rows
    right = rows if plan.turned is not None else columns
    left.at, left.across = given.left + batch * plan.left_batch, plan.left_row
    right.at, right.across = given.right + batch * plan.right_batch, plan.right_column
    left.inner, left.extent, right.inner, right.extent = (
        plan.left_inner, plan.row_extent, plan.right_inner, plan.column_extent
    )  # fmt: skip
    split.plan, split.shared, split.rows, split.columns = plan, given.shared, rows, columns
    split.sums, split.row = given.out + batch * plan.out_batch, plan.out_row
    if plan.turned is not None:
        split.row = plan.out_column
    if plan.epilogue is not None:
        split.sums, split.row = given.whole + batch * given.whole_batch, plan.line
    down = given.across if plan.turned is not None else given.down
    cell = number - batch * each
    split.sums = split.sums + crop(rows, cell % down, down) * split.row
    split.sums = split.sums + crop(columns, cell // down, each // down) * 4
    if not do_pieces(split):
        given.refused = 1


@native
def crop(side: Side, number: int, parts: int) -> int:
    """Only a cell's rows, or columns, of so many cells of whole blocks; the first of them."""
    size = parts_of(parts_of(side.extent, SIDE), parts) * SIDE
    first = number * size
    side.extent, side.at = max(min(side.extent - first, size), 0), side.at + first * side.across
    return first


@native
def do_pieces(split: Split) -> bool:
    """The sums of a cell, unless its elements are out of range."""
    plan, rows, columns = split.plan, split.rows, split.columns
    rows.turn = plan.squares if rows.inner != 4 else None
    columns.turn = plan.squares if columns.across != 4 else None
    rows.pick, columns.pick = plan.singles, plan.singles
    blocks, panels = parts_of(rows.extent, SIDE), parts_of(columns.extent, SIDE)
    steps = parts_of(parts_of(plan.inner_extent, pieces_of(plan)), DEEP)
    near = near_bytes(min(blocks, panels), steps)
    if split.shared is None and pieces_of(plan) == 1 and near <= _NEAR_BYTES:
        return do_near(split, near, blocks, panels, steps)
    split.row_blocks, split.column_blocks, split.depth, split.refused = blocks, panels, steps * DEEP, 0
    split.share = parts_of(_SPLIT_AT_ONCE, DEEP * max(columns.extent, 1))
    tasks = _EACH * threads_of(plan) if split.shared is not None else 1
    split.size = max(1, min(blocks // tasks, _NEAR // steps))
    groups = parts_of(tasks, parts_of(blocks, split.size))
    split.beside = max(1, parts_of(panels, groups))
    split_bytes = panels * steps * STEP
    room = borrow(split_bytes + 8 * steps)
    if room is None:
        return False
    split.columns_to, split.ranges = room, inside(Array[Unsigned32], room, split_bytes)
    for piece in range(pieces_of(plan)):
        split.first = piece * split.depth
        split.count = min(plan.inner_extent - split.first, split.depth)
        if split.refused == 0:
            do_piece(split)
    give_back(room)
    return split.refused == 0


@native
def do_near(split: Split, bytes: int, blocks: int, panels: int, steps: int) -> bool:
    """The same, of operands that are split while they are multiplied."""
    room = borrow(bytes) if bytes >= LARGE else None
    if room is None:
        return do_near_in(split, stack(Array[Byte], bytes, 64), blocks, panels, steps)
    found = do_near_in(split, room, blocks, panels, steps)
    give_back(room)
    return found


@native
def do_near_in(split: Split, room: Bytes, blocks: int, panels: int, steps: int) -> bool:
    near, ranges = stack(Near), stack(Array[Unsigned32], 4)
    rows, columns, rowwise = split.rows, split.columns, panels < blocks
    near.rows, near.columns, near.steps = rows, columns, steps
    near.kept, near.kept_blocks = columns if rowwise else rows, min(blocks, panels)
    near.passing, near.passing_blocks = rows if rowwise else columns, max(blocks, panels)
    near.kept_to, near.passing_to, near.ranges = room, room + near.kept_blocks * steps * STEP, ranges
    near.inner, near.sums, near.line = split.plan.inner_extent, split.sums, split.row
    near.padded = 1 if split.plan.epilogue is not None else 0
    configure(CONFIGURATION)
    multiply_near(near)
    release()
    return fits(ranges, near.inner)


@native
def do_piece(split: Split) -> None:
    """The same for a piece of the inner axis, whose products are added to what is there."""
    steps, own = parts_of(split.count, DEEP), stack(Array[Unsigned32], 2)
    tasks, all = parts_of(steps, split.share), split.ranges
    spread(split_columns, split, tasks, split.shared)
    begin_range(own)
    for k in range(tasks):
        widen(own, all + 2 * k)
    split.ranges = own
    chunks, groups = parts_of(split.row_blocks, split.size), parts_of(split.column_blocks, split.beside)
    spread(multiply_some, split, chunks * groups, split.shared)
    split.ranges = all


@native
def split_columns(job: Job, number: int) -> None:
    """A task: the parts of all columns, at some inner positions."""
    split = cast(Split, job)
    start, line = number * split.share, parts_of(split.count, DEEP) * STEP
    k, end = split.first + start * DEEP, split.first + min((start + split.share) * DEEP, split.count)
    to, ranges = split.columns_to + start * STEP, split.ranges + 2 * number
    split_some(split.columns, 0, split.column_blocks, k, end, to, line, ranges)


# ---- items -------------------------------------------------------------------------------------------------
@native
def finish_task(job: Job, number: int) -> None:
    """A task: the rest, for the tiles of some items."""
    split, plan, item = cast(Split, job), job.plan, stack(Item)
    first = number * plan.share
    for k in range(first, min(first + plan.share, plan.items)):
        place_item(item, job, k)
        item.sums = split.whole + item.batch * split.whole_batch
        finish_tiles(job, item, True)


# ---- tiles -------------------------------------------------------------------------------------------------
@native
def multiply_some(job: Job, number: int) -> None:
    """A task: some blocks of rows, whose parts stay near, by some blocks of columns, for a piece of the inner
    axis; unless something is out of range."""
    split = cast(Split, job)
    bytes = split.size * parts_of(split.count, DEEP) * STEP
    room = borrow(bytes) if split.refused == 0 else None
    if room is None:
        split.refused = 1
        return
    if not multiply_in(split, number, room):
        split.refused = 1
    give_back(room)


@native
def multiply_in(split: Split, number: int, room: Bytes) -> bool:
    groups, padded = parts_of(split.column_blocks, split.beside), split.plan.epilogue is not None
    block, panel = number // groups * split.size, number % groups * split.beside
    end_block = min(block + split.size, split.row_blocks)
    end_panel = min(panel + split.beside, split.column_blocks)
    steps, ranges = parts_of(split.count, DEEP), stack(Array[Unsigned32], 4)
    ranges[2], ranges[3] = split.ranges[0], split.ranges[1]
    split_some(
        split.rows, block, end_block, split.first, split.first + split.count, room, steps * STEP, ranges
    )
    if not fits(ranges, split.plan.inner_extent):
        return False
    configure(CONFIGURATION)
    for column in range(panel, end_panel):
        a, b = room, split.columns_to + column * steps * STEP
        for row in range(block, end_block):
            tall, wide = split.rows.extent - row * SIDE, split.columns.extent - column * SIDE
            to = split.sums + row * SIDE * split.row + column * SIDE * 4
            if padded or min(tall, wide) >= SIDE:
                multiply_block(a, b, steps, to, split.row, tall, wide, split.first == 0)
            else:
                multiply_edge(split, a, b, steps, to, min(tall, SIDE), min(wide, SIDE))
            a += steps * STEP
    release()
    return True


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


# ---- functions of C ----------------------------------------------------------------------------------------
@extern
def syscall(number: int, first: int, second: int) -> int: ...
