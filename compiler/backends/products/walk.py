"""The library's routines that go through products, in the native language: blocks and panels of all sizes.

    retrograd_script    products one after the other, on a program's data pointers: a program's own ABI
    retrograd_product   one product: the left operand copied if it must be, then items, which threads share

An item's panels of the right operand are copied if they must be (`panels.py`), and tiles are called. Where
there is an epilogue, an item's sums stay in memory of its own, block after block and in each panel after
panel, a tile's rows together, and the epilogue does the rest with each tile. Where the inner axis is cut in
pieces, they wait there for the next piece. What all this is told is in `records.py`.
"""

from __future__ import annotations

from retrograd.compiler.backends.lent import retrograd_part, retrograd_room, retrograd_room_back
from retrograd.compiler.backends.meeting import ALONE, PARTS
from retrograd.compiler.backends.products.panels import copy_left, copy_right, write_turned
from retrograd.compiler.backends.products.records import (
    STEP,
    Bytes,
    Item,
    Job,
    Plan,
    ScriptStep,
    Sharing,
    Tile,
    Work,
)
from retrograd.compiler.backends.products.rooms import LARGE
from retrograd.compiler.native.language import Array, Byte, cast, exported, inlined, inside, native, stack

_STEP = 8 * len(STEP)
_LINE = 64
"""Bytes of a line of the cache."""


@exported
def retrograd_script(args: Array[Bytes], script: Array[int]) -> None:
    """A number of steps, and then these."""
    step = inside(ScriptStep, script, 8)
    for _ in range(script[0]):
        left, right = args[step.left] + step.left_bytes, args[step.right] + step.right_bytes
        out, panels = args[step.out] + step.out_bytes, args[step.panels] + step.panels_bytes
        retrograd_product(inside(Plan, script, step.plan), args, left, right, out, panels)
        step = inside(ScriptStep, step, _STEP)


@exported
def retrograd_product(
    plan: Plan, args: Array[Bytes], left: Bytes, right: Bytes, out: Bytes, panels: Bytes
) -> None:
    """One product. Panels are those of the left operand."""
    job = stack(Job)
    job.plan, job.args = plan, args
    job.left, job.right, job.out, job.panels = left, right, out, panels
    if plan.split is not None and plan.split(job) != 0:
        return
    job.part = ALONE if plan.meets == 0 else retrograd_part(plan.threads)
    if plan.left_tasks != 0:
        spread(copy_left, job, plan.left_tasks, plan.left_parallel)
    if plan.tasks == 1:
        do_task(job, 0)
    else:
        spread(do_task, job, plan.tasks, plan.parallel)


@native
def spread(work: Work, job: Job, count: int, parallel: Sharing | None) -> None:
    """So many tasks, on threads if something spreads them."""
    if parallel is not None:
        parallel(work, job, count)
        return
    for task in range(count):
        work(job, task)


@native
def do_task(job: Job, number: int) -> None:
    plan = job.plan
    first = number * plan.share
    end = min(first + plan.share, plan.items)
    if plan.simple != 0:
        do_panels(job, first, end)
        return
    for item in range(first, end):
        do_item(job, item)


@native
def do_panels(job: Job, first: int, end: int) -> None:
    """Items of a simple product: each a panel, with all blocks of rows."""
    plan = job.plan
    groups, width, told, tile = plan.groups, plan.width, cast(Tile, plan.told), plan.tile
    latest, right_column, itemsize = max(plan.column_extent - width, 0), plan.right_column, plan.itemsize
    left_batch, right_batch, out_batch = plan.left_batch, plan.right_batch, plan.out_batch
    batch = first // groups
    group = first - batch * groups
    left, right, out = (
        job.left + batch * left_batch,
        job.right + batch * right_batch,
        job.out + batch * out_batch,
    )
    for _ in range(first, end):
        column = min(group * width, latest)
        tile(left, right + column * right_column, None, out + column * itemsize, told)
        group += 1
        if group == groups:
            group, left, right, out = 0, left + left_batch, right + right_batch, out + out_batch


@native
def do_item(job: Job, number: int) -> None:
    """An item, with room for its copies and for sums that wait."""
    needed = job.plan.panel_bytes + job.plan.sums_bytes
    room = retrograd_room(needed) if needed >= LARGE else None
    if room is None:
        do_item_in(job, number, stack(Array[Byte], needed, 64))
        return
    do_item_in(job, number, room)
    retrograd_room_back(room)


@native
def do_item_in(job: Job, number: int, room: Bytes) -> None:
    """Some blocks of some panels, for each piece of the inner axis, and what follows."""
    item, told, plan = stack(Item), stack(Tile), job.plan
    place_item(item, job, number)
    item.panels, item.sums = room, room + plan.panel_bytes
    tell_tiles(told, item)
    kept = plan.epilogue is not None or plan.turned is not None
    k, inner, depth = 0, plan.inner_extent, plan.depth
    while k < inner:
        told.count = min(inner - k, depth)
        if plan.copy_right is not None:
            copy_right(item, k, told.count)
        multiply(item, told, k, kept or k + depth < inner)
        k += depth
    if plan.turned is not None:
        write_turned(item)
    if plan.epilogue is not None:
        finish_tiles(job, item, False)


@inlined
def place_item(item: Item, job: Job, number: int) -> None:
    """Which blocks and panels an item has, and of which product of the batch."""
    plan = job.plan
    batch, slow, fast = number, 0, 0
    each = plan.chunks * plan.groups
    if each != 1:
        batch = number // each
        divisor = plan.groups if plan.rowwise != 0 else plan.chunks
        slow = (number - batch * each) // divisor
        fast = number - batch * each - slow * divisor
    item.plan, item.batch, item.part = plan, batch, job.part
    item.block = (slow if plan.rowwise != 0 else fast) * plan.size
    item.panel = (fast if plan.rowwise != 0 else slow) * plan.beside
    item.end_block = min(item.block + plan.size, plan.blocks)
    item.end_panel = min(item.panel + plan.beside, plan.column_panels)
    item.right, item.out = job.right + batch * plan.right_batch, job.out + batch * plan.out_batch
    if plan.copy_left is None:
        item.left, item.row, item.inner = job.left + batch * plan.left_batch, plan.left_row, plan.left_inner
        item.left_on = plan.rows * plan.left_row
    else:
        item.row, item.inner = plan.itemsize, plan.rows * plan.itemsize
        item.left_on = item.inner * plan.inner_extent
        item.left = job.panels + batch * plan.blocks * item.left_on


@inlined
def tell_tiles(told: Tile, item: Item) -> None:
    """What the tiles of an item have in common. The blocks of a panel are one strip of tiles; but of several
    copied panels, a block goes through all."""
    plan = item.plan
    told.row, told.inner, told.left_on = item.row, item.inner, item.left_on
    told.down, told.before, told.mask = plan.right_inner, plan.line, plan.mask
    told.blocks, told.from_on = item.end_block - item.block, plan.beside * plan.rows * told.before
    if plan.copy_right is not None:
        told.down = plan.width * plan.itemsize
        if plan.beside != 1:
            told.blocks = 1
    told.left_back = 0
    if plan.copy_left is None:
        told.left_back = rows_back(item) * item.row


@inlined
def rows_back(item: Item) -> int:
    """By how many rows the last block is moved back to end with the product."""
    plan = item.plan
    return plan.blocks * plan.rows - plan.row_extent if item.end_block == plan.blocks else 0


@inlined
def bytes_ahead(item: Item, count: int) -> int:
    """How much of the next block of rows a tile fetches into the cache at each of so many inner positions,
    where that block follows in memory: all panels together fetch all of it."""
    plan = item.plan
    panels = item.end_panel - item.panel
    if plan.copy_left is not None:
        return item.inner // panels
    return item.left_on // (count * panels) if count == plan.inner_extent else 0


@inlined
def meet(told: Tile, item: Item) -> int:
    """What tiles fetch is a part of each block that another thread reads, if there is one. How far that is
    from the item's rows."""
    plan, part = item.plan, item.left_on // PARTS
    told.ahead_on = 0
    if item.part == ALONE:
        return 0
    told.ahead_on = part // told.count
    upper = item.block * item.left_on >= plan.meets
    return item.part * part + (-plan.meets if upper else plan.meets)


@native
def multiply(item: Item, told: Tile, k: int, waits: bool) -> None:
    """All tiles of an item, for a piece of the inner axis from k on. Where it waits, what they add up stays
    with the item. Meanwhile the next rows of the left operand come into the cache; or, where the right one is
    read as it lies and in pieces, its next piece, of which each tile of a panel fetches another line."""
    plan = item.plan
    rows, width, itemsize, tile = plan.rows, plan.width, plan.itemsize, plan.tile
    latest_row, latest_column = plan.row_extent - rows, max(plan.column_extent - width, 0)
    copied_left, copied_right = plan.copy_left is not None, plan.copy_right is not None
    left, left_on, row_step, right_column = item.left, item.left_on, item.row, plan.right_column
    right, out, out_row = item.right + k * plan.right_inner, item.out, plan.out_row
    panel_bytes, tile_bytes, begins, ahead = plan.depth * told.down, rows * told.before, k == 0, left_on
    swept = not copied_right and told.count < plan.inner_extent and told.blocks > 1
    told.ahead_on, told.ahead_down = bytes_ahead(item, told.count), left_on
    if swept:
        told.ahead_on, told.ahead_down = plan.right_inner, _LINE
    fetched = told.ahead_on * told.count
    if plan.meets != 0:
        ahead = meet(told, item)
    told.after, told.to_on, told.to_back = out_row, rows * out_row, rows_back(item) * out_row
    if waits:
        told.after, told.to_on, told.to_back = told.before, told.from_on, 0
    own_block, block = item.sums, item.block
    while block < item.end_block:
        row = min(block * rows, latest_row)
        a = left + k * item.inner + (block * left_on if copied_left else row * row_step)
        own, copied = own_block, item.panels
        told.ahead = ahead
        for panel in range(item.panel, item.end_panel):
            column = min(panel * width, latest_column)
            b = copied if copied_right else right + column * right_column
            to = own if waits else out + row * out_row + column * itemsize
            if swept:
                told.ahead = cast(int, b) - cast(int, a) + fetched
            tile(a, b, None if begins else own, to, told)
            told.ahead = told.ahead + fetched
            copied, own = copied + panel_bytes, own + tile_bytes
        own_block, block = own_block + told.from_on, block + told.blocks


@native
def finish_tiles(job: Job, item: Item, whole: bool) -> None:
    """The rest, for each tile of an item, or of the whole sums of a product."""
    plan = item.plan
    rest = plan.epilogue
    if rest is None:
        return
    rows, width, tile_bytes = plan.rows, plan.width, plan.rows * plan.line
    latest_row, latest_column = plan.row_extent - rows, max(plan.column_extent - width, 0)
    own_block = item.sums
    for block in range(item.block, item.end_block):
        own, row = own_block, min(block * rows, latest_row)
        for panel in range(item.panel, item.end_panel):
            column = min(panel * width, latest_column)
            place = item.sums + row * plan.line + column * plan.itemsize if whole else own
            rest(job.args, item.batch, plan.first_row + row, plan.first_column + column, place)
            own += tile_bytes
        own_block += plan.beside * tile_bytes
