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
    release,
)
from retrograd.compiler.backends.products.near import Near, begin_near, multiply_near, near_bytes
from retrograd.compiler.backends.products.ranges import fits
from retrograd.compiler.backends.products.records import Bytes, Item, Job, Plan
from retrograd.compiler.backends.products.rooms import LARGE, borrow, give_back
from retrograd.compiler.backends.products.split import (
    DEEP,
    SIDE,
    Side,
    parts_of,
)
from retrograd.compiler.backends.products.walk import finish_tiles, place_item, spread
from retrograd.compiler.native.language import (
    Array,
    Byte,
    Order,
    Unsigned32,
    atomic_load,
    atomic_store,
    cast,
    exported,
    extern,
    inlined,
    native,
    stack,
    variable,
)

_PIECE = 1024
"""Inner positions that are multiplied at a time, at most."""
_KEPT = 128
"""Steps of the inner axis, of all blocks of a cell's shorter side, whose parts stay in the second-level cache
beside all else."""
_CELLS, _EACH = 8, 2
"""Cells of a product, at most; but for each thread there are so many large ones."""
_LARGE = 1 << 26
"""Multiplications of a cell that is large."""
_TURNED = 2
"""Times as long as to split an operand it takes to turn it before."""
_SLACK = 1024
"""Bytes after all sums that the last vectors may read, and ignore."""
_ARCH_PRCTL, _ASK, _TILES = 158, 0x1023, 18
_GRANTED, _REFUSED = 1, 2
STATE = variable(Array[int], "amx_state")
"""What the system said, if it was asked."""


class Split(Job):
    """A job, and how it is done by parts: all of it, or a cell, some rows of a product by some of its
    columns, which a thread does alone. Distances are bytes."""

    rows: Side
    columns: Side
    """The operands, exchanged if the result lies with its rows side by side."""
    down: int
    """Cells of a product's rows, and of its columns."""
    across: int
    refused: int
    """Has a cell found elements that are out of range? However a product is cut, its least row and its least
    column meet in one."""
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
    if plan.epilogue is None:
        return do_cells(split)
    split.whole_batch = parts_of(plan.row_extent, SIDE) * SIDE * plan.line
    room = borrow(products_of(split) * split.whole_batch + _SLACK)
    if room is None:
        return 0
    split.whole = room
    done = do_cells(split)
    if done != 0:
        spread(finish_task, split, plan.tasks, plan.parallel)
    give_back(room)
    return done


@native
def do_cells(split: Split) -> int:
    """All sums; 0 if elements are out of range."""
    spread(do_cell, split, products_of(split) * split.down * split.across, split.plan.parallel)
    return 1 if split.refused == 0 else 0


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
def steps_of(plan: Plan) -> int:
    """Steps of a piece."""
    return parts_of(parts_of(plan.inner_extent, pieces_of(plan)), DEEP)


@native
def cut_in_cells(split: Split) -> None:
    """Strips of a side whose parts stay in the second-level cache, while the other side is split for each of
    them anew: of the side with which that takes less. And so many cells that each thread has one, or some
    large ones, and splits what it needs: what another processor's cache holds comes slowly. All this changes
    no sum."""
    plan, products, rows, columns = split.plan, products_of(split), stack(Side), stack(Side)
    place_sides(split, 0, rows, columns)
    blocks, panels = parts_of(rows.extent, SIDE), parts_of(columns.extent, SIDE)
    most = max(1, _KEPT // steps_of(plan))
    split.down, split.across = 1, 1
    if min(blocks, panels) > most:
        of_rows, of_columns = blocks * turns(rows), panels * turns(columns)
        down, across = parts_of(blocks, most), parts_of(panels, most)
        if of_rows * across + of_columns <= of_rows + of_columns * down:
            split.across = across
        else:
            split.down = down
    if plan.threads is None:
        return
    threads, size = plan.threads(), products * rows.extent * columns.extent * plan.inner_extent
    wanted = max(min(threads, _CELLS), min(_EACH * threads, size // _LARGE))
    while products * split.down * split.across < wanted:
        if rows.extent * split.across > columns.extent * split.down:
            split.down = 2 * split.down
        else:
            split.across = 2 * split.across


@inlined
def turns(side: Side) -> int:
    """How long it takes to split a block of it, in what that takes if it lies as it should."""
    return _TURNED if side.turn is not None else 1


@native
def place_sides(given: Split, batch: int, rows: Side, columns: Side) -> None:
    """The operands of a product of the batch, as they lie."""
    plan = given.plan
    rows.right, columns.right = 0, 1
    left = columns if plan.turned is not None else rows
    right = rows if plan.turned is not None else columns
    left.at, left.across = given.left + batch * plan.left_batch, plan.left_row
    right.at, right.across = given.right + batch * plan.right_batch, plan.right_column
    left.inner, left.extent, right.inner, right.extent = (
        plan.left_inner, plan.row_extent, plan.right_inner, plan.column_extent
    )  # fmt: skip
    rows.turn = plan.squares if rows.inner != 4 else None
    columns.turn = plan.squares if columns.across != 4 else None
    rows.pick, columns.pick = plan.singles, plan.singles


@native
def do_cell(job: Job, number: int) -> None:
    """A task: a cell of a product, if none was refused yet."""
    given, split, rows, columns = cast(Split, job), stack(Split), stack(Side), stack(Side)
    plan, each = given.plan, given.down * given.across
    batch = number // each
    if given.refused != 0:
        return
    place_sides(given, batch, rows, columns)
    split.plan, split.rows, split.columns = plan, rows, columns
    split.sums, split.row = given.out + batch * plan.out_batch, plan.out_row
    if plan.turned is not None:
        split.row = plan.out_column
    if plan.epilogue is not None:
        split.sums, split.row = given.whole + batch * given.whole_batch, plan.line
    down, cell = given.down, number - batch * each
    split.sums = split.sums + crop(rows, cell % down, down) * split.row
    split.sums = split.sums + crop(columns, cell // down, given.across) * 4
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
    shorter = min(split.rows.extent, split.columns.extent)
    bytes = near_bytes(parts_of(shorter, SIDE), steps_of(split.plan))
    if bytes < LARGE:
        return do_pieces_in(split, stack(Array[Byte], bytes, 64))
    room = borrow(bytes)
    if room is None:
        return False
    found = do_pieces_in(split, room)
    give_back(room)
    return found


@native
def do_pieces_in(split: Split, room: Bytes) -> bool:
    """The same piece after piece of the inner axis, whose products are added to what is there."""
    plan, near, ranges = split.plan, stack(Near), stack(Array[Unsigned32], 4)
    depth = steps_of(plan) * DEEP
    near.rows, near.columns, near.ranges = split.rows, split.columns, ranges
    near.sums, near.line = split.sums, split.row
    near.padded = 1 if plan.epilogue is not None else 0
    begin_near(near, room)
    found = True
    configure(CONFIGURATION)
    for piece in range(pieces_of(plan)):
        near.first = piece * depth
        near.count = min(plan.inner_extent - near.first, depth)
        multiply_near(near)
        if not fits(ranges, plan.inner_extent):
            found = False
            break
    release()
    return found


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


# ---- functions of C ----------------------------------------------------------------------------------------
@extern
def syscall(number: int, first: int, second: int) -> int: ...
