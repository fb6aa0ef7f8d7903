"""A product of one row and a large matrix, which is read once, in the order in which it lies.

    out[j] = Σ a[k]·b[k, j]
    →   for k in K/8: for j in N: total[j] += (a[8k]·b[8k, j] + a[8k+1]·b[8k+1, j]) + …
        for j in N: total[j] += the rows of b that are left
        use total

The time is that of fetching the matrix: so its rows are read from end to end, some beside each other, and it
is the totals, in the first-level cache, that are read again. Threads share the rows of the matrix, each with
totals of its own (`schedule.deep`), or the columns where these are very many.
"""

from __future__ import annotations

from retrograd.compiler.ir.expressions import Buffer, Call, Load, Number, Space
from retrograd.compiler.ir.index import Axis, Index, as_index
from retrograd.compiler.ir.loops import Accumulate, Contraction, For, Kind, Local, Statement, Store
from retrograd.compiler.ir.rewriting import Rewriter, stores_of
from retrograd.compiler.schedule.columns import by_rows
from retrograd.compiler.schedule.panels import at, steps
from retrograd.compiler.schedule.tasks import PARALLEL_PRODUCTS

_WIDE = 16
"""Vectors of a row from which on: a narrower matrix is read in its order by tiles, too."""
_TASKS, _PIECE, _ELEMENTS = 8, 4096, 1 << 18
"""Pieces that threads share at most, and columns of one at least: shorter pieces of rows are fetched more
slowly. What a piece of whole rows reads: less is not worth the totals of its own."""
_VECTORS = 2
"""Vectors of the totals that are worked on together."""


def is_streamed(c: Contraction, lanes: int) -> bool:
    """Is it the matrix on the right that takes the time, because but one row meets it?"""
    plain = isinstance(c.right, Load) and steps(c.right, c.column) == 1
    return plain and c.row.extent == 1 < c.inner.extent and c.column.extent > _WIDE * lanes


def depth_of_piece(c: Contraction) -> int | None:
    """Rows of the matrix that a task takes, if threads share them rather than the columns."""
    products = c.column.extent * c.inner.extent
    alone = all(axis.extent == 1 for axis in c.batch)
    if not alone or products < PARALLEL_PRODUCTS or c.column.extent >= _TASKS * _PIECE:
        return None
    return c.inner.extent // min(_TASKS, c.inner.extent, max(2, -(-products // _ELEMENTS)))


def streamed(c: Contraction, lanes: int) -> list[Statement]:
    """The product, in pieces of its columns if these are many."""
    columns, wide = c.column.extent, _VECTORS * lanes
    alone = all(axis.extent == 1 for axis in c.batch)
    if not alone or columns < _TASKS * _PIECE or columns * c.inner.extent < PARALLEL_PRODUCTS:
        return [_piece(c, Index(), columns, columns, wide)]
    size = -(-columns // (_TASKS * wide)) * wide
    task = Axis("task", -(-columns // size))
    return [For(task, (_piece(c, at(task) * size, size, columns, wide),), Kind.PARALLEL)]


def _piece(c: Contraction, first: Index, size: int, end: int, wide: int) -> Statement:
    """So many columns from the first on, as far as the end."""
    j = Axis("j", size)
    column = first + as_index(j)
    totals = Buffer("totals", c.out.dtype, size, Space.LOCAL)
    total = Load(totals, as_index(j))
    limit = (column, end) if end % size else None
    moved = Rewriter(lambda index: index.substitute({c.row: Index(), c.column: column}))
    term = Call("mul", (moved.expression(c.left), moved.expression(c.right)), c.out.dtype)

    def each(*statements: Statement) -> For:
        return For(j, statements, Kind.VECTOR, limit, wide)

    zero = each(Store(totals, total.index, Number(0, c.out.dtype)))
    add = each(Accumulate(totals, total.index, term, "add", 0, c.where))
    return Local(totals, (zero, *by_rows(c.inner, add), each(*stores_of(c, total, moved.index))))
