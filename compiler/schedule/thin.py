"""A product with a thin side, computed along the inner axis: every element is a sum of vectors, joined at
the end.

For products of a matrix and a vector, and others in which the inner axis lies side by side in both operands
and one side is too thin to be worth copying the other. `thin_shape` chooses the block, `thin_block` is its
code.
"""

from __future__ import annotations

from retrograd.compiler.ir.expressions import Buffer, Call, Load, Number, Space
from retrograd.compiler.ir.index import Axis, Index, as_index
from retrograd.compiler.ir.loops import Accumulate, Contraction, For, Kind, Local, Statement, Store
from retrograd.compiler.ir.rewriting import Rewriter, stores_of
from retrograd.compiler.schedule.panels import Pieces, at, steps

_THIN, _THINNEST = 16, 4
"""A side of so many elements is thin if the other would have to be copied, or anyway."""
_SUMS = 8, 24
"""A block has so many vector sums for a single row, and at most."""


def is_thin(c: Contraction, lanes: int) -> bool:
    """Is it better to compute along the inner axis?"""
    if steps(c.left, c.inner) != 1 or steps(c.right, c.inner) != 1 or c.inner.extent < 4 * lanes:
        return False
    if c.row.extent == c.column.extent == 1:
        return False
    thinner, copied = min(c.row.extent, c.column.extent), steps(c.right, c.column) != 1
    return thinner <= (_THIN if copied and c.column.extent > _THINNEST else _THINNEST)


def thin_shape(c: Contraction) -> tuple[int, int]:
    """Rows and columns of a block."""
    fewest, most = _SUMS
    rows, columns = c.row.extent, c.column.extent
    if min(rows, columns) == 1:
        return min(rows, fewest), min(columns, fewest)
    if rows <= columns:
        rows = min(rows, 4)
        return rows, min(columns, most // rows - 1)
    columns = min(columns, 4)
    return min(rows, most // columns - 1), columns


def thin_block(
    c: Contraction, lanes: int, of_rows: Pieces, of_columns: Pieces, block: Index, panel: Index
) -> tuple[Statement, ...]:
    """The elements of one block of rows and one panel of columns."""
    row, rows, column, columns = of_rows.first(block), of_rows.size, of_columns.first(panel), of_columns.size
    sums = Buffer("sums", c.out.dtype, rows * columns * lanes, Space.LOCAL)
    i, s = Axis("i", rows), Axis("s", columns)
    steps_ = c.inner.extent // lanes
    k = Axis("k", steps_)

    def each(statement: Statement, j: Axis, limit: tuple[Index, int] | None = None) -> For:
        inner = For(j, (statement,), Kind.VECTOR, limit, lanes)
        return For(i, (For(s, (inner,), Kind.UNROLL),), Kind.UNROLL)

    def place(j: Axis) -> Index:
        return as_index(i) * (columns * lanes) + as_index(s) * lanes + as_index(j)

    def add(first: Index, limit: bool) -> For:
        j = Axis("j", lanes)
        inner = first + as_index(j)
        values = {c.row: row + at(i), c.column: column + at(s), c.inner: inner}
        moved = Rewriter(lambda index: index.substitute(values))
        term = Call("mul", (moved.expression(c.left), moved.expression(c.right)), c.out.dtype)
        statement = Accumulate(sums, place(j), term, "add", 0, c.where)
        return each(statement, j, (inner, c.inner.extent) if limit else None)

    j = Axis("j", lanes)
    body: list[Statement] = [each(Store(sums, place(j), Number(0, c.out.dtype)), j)]
    body.append(For(k, (add(at(k) * lanes, False),)))
    if c.inner.extent % lanes:
        body.append(add(Index((), steps_ * lanes), True))
    body.append(_joined(c, sums, row, rows, column, columns, lanes))
    return (Local(sums, tuple(body)),)


def _joined(
    c: Contraction, sums: Buffer, row: Index, rows: int, column: Index, columns: int, lanes: int
) -> Statement:
    """Each sum's lanes are added, in a loop of its own so that the code stays short, and the result is
    used."""
    apart = Buffer("apart", c.out.dtype, sums.size, Space.LOCAL)
    total = Buffer("total", c.out.dtype, 1, Space.LOCAL)
    e, j = Axis("e", rows * columns), Axis("j", lanes)
    r, s, lane = Axis("i", rows), Axis("s", columns), Axis("j", lanes)
    place = as_index(e) * lanes + as_index(j)
    copy = For(e, (For(j, (Store(apart, place, Load(sums, place)),), Kind.VECTOR, None, lanes),), Kind.UNROLL)
    at_lane = at(r) * (columns * lanes) + at(s) * lanes + as_index(lane)
    add = Accumulate(total, Index(), Load(apart, at_lane), "add", 0, c.where)
    values = {c.row: row + at(r), c.column: column + at(s)}
    used = stores_of(c, Load(total, Index()), lambda index: index.substitute(values))
    one = (Store(total, Index(), Number(0, c.out.dtype)), For(lane, (add,), Kind.VECTOR, None, lanes), *used)
    return Local(apart, (copy, For(r, (For(s, (Local(total, one),)),))))
