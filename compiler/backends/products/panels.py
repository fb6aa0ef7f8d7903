"""Copies of operands and results of products, in the native language: which blocks are copied, and where to.

In flow a product's job or an item of it (`records.py`); the copying of a block is a routine of `tiles.py`,
which the plan names.
"""

from __future__ import annotations

from retrograd.compiler.backends.products.records import DEEP, Block, Item, Job
from retrograd.compiler.native.language import native, stack


@native
def copy_left(job: Job, number: int) -> None:
    """Some inner positions of some blocks of the left operand, a few of each block at a time."""
    plan, told = job.plan, stack(Block)
    copy = plan.copy_left
    if copy is None:
        return
    group = number // plan.left_pieces
    start = (number - group * plan.left_pieces) * plan.left_deep
    batch = group // plan.left_groups
    first = (group - batch * plan.left_groups) * plan.left_beside
    end = min(first + plan.left_beside, plan.blocks)
    rows, row_step, inner_step, inner = plan.rows, plan.left_row, plan.left_inner, plan.inner_extent
    line = rows * plan.itemsize
    block_bytes, latest = line * inner, plan.row_extent - rows
    told.down, told.across, told.columns, told.after = inner_step, row_step, rows, line
    told.read, told.written = plan.left_mask, plan.left_mask
    left, panels = job.left + batch * plan.left_batch, job.panels + batch * plan.blocks * block_bytes
    stop = min(start + plan.left_deep, inner)
    for k in range(start, stop, DEEP):
        told.count = min(stop - k, DEEP)
        for block in range(first, end):
            row = min(block * rows, latest)
            copy(panels + block * block_bytes + k * line, left + row * row_step + k * inner_step, told)


@native
def copy_right(item: Item, k: int, count: int) -> None:
    """An item's panels of the right operand, so many inner positions from k on."""
    plan, told = item.plan, stack(Block)
    copy = plan.copy_right
    if copy is None:
        return
    width, column_step, line = plan.width, plan.right_column, plan.width * plan.itemsize
    latest = max(plan.column_extent - width, 0)
    told.down, told.across, told.count, told.after = plan.right_inner, column_step, count, line
    told.columns = min(plan.column_extent, width)
    told.read, told.written = plan.right_mask, plan.right_kept
    to, right, panel_bytes = item.panels, item.right + k * plan.right_inner, plan.depth * line
    for panel in range(item.panel, item.end_panel):
        copy(to, right + min(panel * width, latest) * column_step, told)
        to += panel_bytes


@native
def write_turned(item: Item) -> None:
    """An item's sums, to a result that lies with its rows side by side."""
    plan, told = item.plan, stack(Block)
    turn = plan.turned
    if turn is None:
        return
    rows, width, out_row, out_column = plan.rows, plan.width, plan.out_row, plan.out_column
    latest_row, latest_column = plan.row_extent - rows, max(plan.column_extent - width, 0)
    told.down, told.across, told.after = plan.itemsize, width * plan.itemsize, out_column
    told.count, told.columns, told.written = min(plan.column_extent, width), rows, plan.turned_mask
    own_block, tile_bytes = item.sums, rows * told.across
    for block in range(item.block, item.end_block):
        own, line = own_block, item.out + min(block * rows, latest_row) * out_row
        for panel in range(item.panel, item.end_panel):
            turn(line + min(panel * width, latest_column) * out_column, own, told)
            own += tile_bytes
        own_block += plan.beside * tile_bytes
