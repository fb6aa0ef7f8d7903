"""How the tiles of a product are dealt out: what a task of threads takes of the blocks of rows and the panels
of columns, and which operands had better be copied."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from math import prod

from retrograd.compiler.ir.expressions import Convert
from retrograd.compiler.ir.loops import Contraction
from retrograd.compiler.schedule.panels import Pieces, is_turned, steps
from retrograd.compiler.schedule.tasks import PARALLEL_PRODUCTS, TASK_PRODUCTS
from retrograd.compiler.schedule.tiles import OFTEN, SECOND_LEVEL, SHALLOW, Shape

_LONGEST_TASK = 1 << 20
"""Multiplications of a task at most, unless it shares what it reads."""
_TOGETHER, LEAST_TASKS, FEWEST_TASKS = 32, 8, 4
"""Blocks of rows that a task takes, so that a piece of a panel is read more often; tasks that there should
be, where each copies its panel, too; and that there must be where each copies the whole right operand."""
_EVEN_TASKS, _MANY = 16, 512
"""Tasks that there should be where each takes long, so that threads end together; and rows of such a task,
for which copying the panel once more is little."""

LOCAL_PANELS = 1 << 17
"""Bytes of panels that may be on the stack, except in a task of threads."""
_FAR_APART = 1024
"""Elements of a left operand that are so many bytes apart are better copied, if they are read often."""


class Sharing(Enum):
    """What a task takes of one panel, and which task follows."""

    BLOCKS = "some blocks of rows; then the next ones"
    CHUNKS = "many blocks, which share each piece of the panel; then another panel for the same blocks"
    PANELS = "as many blocks as leave enough tasks; then another panel"


def blocks_of_task(rows: Pieces, panels: int, products: int, sharing: Sharing) -> int:
    """How many blocks of rows a task takes, of so many multiplications each."""
    even = -(-rows.count * panels // LEAST_TASKS)
    if sharing is Sharing.PANELS:
        chunks = max(1, min(-(-_EVEN_TASKS // panels), rows.count * rows.size // _MANY))
        least = max(even, -(-OFTEN // rows.size), -(-TASK_PRODUCTS // products))
        return min(least, -(-rows.count // chunks))
    size = max(1, min(max(TASK_PRODUCTS // products, even), _LONGEST_TASK // products))
    return size if sharing is Sharing.BLOCKS else max(size, min(_TOGETHER, even))


def is_shallow(c: Contraction) -> bool:
    """Is it the result that takes the time, because the inner axis is short? Then it had better be written
    row by row, each task with a copy of the whole right operand."""
    size = c.column.extent * c.inner.extent * c.out.dtype.itemsize
    fits = c.inner.extent <= SHALLOW and size <= SECOND_LEVEL
    alone = all(axis.extent == 1 for axis in c.batch)
    return fits and alone and c.row.extent >= FEWEST_TASKS * OFTEN and whole(c) >= PARALLEL_PRODUCTS


def is_fresh(c: Contraction, shape: Shape, columns: Sequence[Pieces], lanes: int) -> bool:
    """Is a panel better copied where it is used? Then no thread reads what another one has just written, but
    each task that shares a panel copies it."""
    inner, width, depth = c.inner.extent, shape.vectors * lanes, shape.depth
    uneven = inner % depth != 0 and any(is_turned(c, c.right, c.column, p, depth, lanes) for p in columns)
    shared = whole(c) >= PARALLEL_PRODUCTS
    most = SECOND_LEVEL if shared else LOCAL_PANELS
    tasks = prod(axis.extent for axis in c.batch) * sum(p.count for p in columns) * (c.row.extent // OFTEN)
    enough = tasks >= LEAST_TASKS or not shared or c.row.extent < OFTEN  # few rows: one reader of a panel
    return width * depth * c.out.dtype.itemsize <= most and not uneven and enough


def whole(c: Contraction) -> int:
    """Multiplications of the product, or of all of a batch."""
    return prod(axis.extent for axis in (*c.batch, c.row, c.column, c.inner))


def must_pack_right(c: Contraction) -> bool:
    return isinstance(c.right, Convert) or steps(c.right, c.column) != 1


def should_pack_left(c: Contraction, columns: Sequence[Pieces]) -> bool:
    if steps(c.left, c.row) is None or steps(c.left, c.inner) is None:
        return True
    apart = (steps(c.left, c.inner) or 0) * c.out.dtype.itemsize
    return apart >= _FAR_APART and c.inner.extent >= OFTEN and sum(p.count for p in columns) > 2
