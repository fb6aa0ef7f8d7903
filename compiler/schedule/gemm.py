"""A matrix product in register tiles: BLIS's loops, reduced to what whole-program compilation leaves necessary.

A tile of `rows` × `vectors` registers accumulates over the whole inner axis: one column vector of the right operand at a
time against single elements of the left one. Sizes are known, so each edge gets a tile of its own size and nothing is
computed twice. The right operand is read in place where its columns lie side by side; else, or where its rows lie so far
apart that many tiles would read it badly, it is copied into panels first.

After F. G. Van Zee and R. A. van de Geijn, "BLIS: A Framework for Rapidly Instantiating BLAS Functionality", 2015.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

from retrograd.compiler.ir.index import Axis, Bound, Index, as_index
from retrograd.compiler.ir.loops import (
    Accumulate,
    Buffer,
    Call,
    Contraction,
    Expression,
    For,
    Kind,
    Load,
    Local,
    Number,
    Rewriter,
    Space,
    Statement,
    Store,
)
from retrograd.compiler.schedule.machine import Machine

_PARALLEL_PRODUCTS = 1 << 19
"""A product is shared among threads from so many multiplications on."""
_TASK_PRODUCTS = 1 << 18
_FAR_APART = 1024
"""Rows of the right operand that are so many bytes apart are better copied, if they are read often."""
_OFTEN = 64
_PARALLEL_COPY = 1 << 16
_TALLEST = 12
"""Rows of a tile at most: more would only make the code longer."""


def arrange_product(c: Contraction, machine: Machine) -> tuple[Statement, ...] | None:
    """Loops over register tiles; None where a product is too thin for them and plain loops serve better."""
    lanes = machine.lanes(c.out.dtype.itemsize)
    if not c.out.dtype.is_floating_point or prod((c.row.extent, c.column.extent, c.inner.extent)) == 0:
        return None
    side_by_side = _steps(c.left, c.inner) == _steps(c.right, c.inner) == 1
    if c.column.extent == 1 or (c.column.extent < lanes // 4 and side_by_side):
        return None
    groups = _groups(c.column.extent, lanes, 4 if machine.registers >= 32 else 2)
    right = None
    statements: list[Statement] = []
    if _should_copy(c):
        last = groups[-1]
        right = Buffer(
            "panels", c.out.dtype, (last.start + last.panels * last.width) * c.inner.extent, Space.ARENA
        )
        statements += [_copy_panels(c, group, right) for group in groups]
    for group in groups:
        statements += _tiles(c, machine, group, right)
    return _over_batch(c, statements)


@dataclass(frozen=True)
class _Panels:
    """Side-by-side panels of columns, all of one width."""

    start: int
    panels: int
    width: int
    vectors: int

    def reaches_beyond(self, columns: int) -> bool:
        return self.start + self.panels * self.width > columns


def _groups(columns: int, lanes: int, widest: int) -> list[_Panels]:
    """The columns as panels of the widest kind, and one narrower for the rest."""
    width = widest * lanes
    whole = columns // width
    groups = [_Panels(0, whole, width, widest)] if whole else []
    rest = columns - whole * width
    if rest:
        vectors = -(-rest // lanes)
        groups.append(_Panels(whole * width, 1, vectors * lanes, vectors))
    return groups


def _should_copy(c: Contraction) -> bool:
    if _steps(c.right, c.column) != 1:
        return True
    apart = (_steps(c.right, c.inner) or 0) * c.out.dtype.itemsize
    return apart >= _FAR_APART and c.row.extent >= _OFTEN


def _copy_panels(c: Contraction, group: _Panels, right: Buffer) -> Statement:
    """The right operand's columns, panel by panel, each row of a panel one after the other."""
    p, k, j = Axis("p", group.panels), Axis("k", c.inner.extent), Axis("j", group.width)
    column = as_index(p) * group.width + group.start + as_index(j)
    value = Rewriter(lambda index: index.substitute({c.inner: as_index(k), c.column: column})).expression(
        c.right
    )
    store = Store(right, _packed(c, group, p, k, j), value, c.where)
    limit = (column, c.column.extent) if group.reaches_beyond(c.column.extent) else None
    rows = For(k, (For(j, (store,), Kind.VECTOR, limit, group.width),))
    shared = group.panels > 1 and right.size >= _PARALLEL_COPY and not c.batch
    return For(p, (rows,), Kind.PARALLEL if shared else Kind.SERIAL)


def _packed(c: Contraction, group: _Panels, p: Axis, k: Axis, j: Axis | Index) -> Index:
    first = as_index(p) * group.width + group.start
    return first * c.inner.extent + as_index(k) * group.width + as_index(j)


def _over_batch(c: Contraction, body: Sequence[Statement]) -> tuple[Statement, ...]:
    products = c.row.extent * c.column.extent * c.inner.extent
    batches = [axis for axis in c.batch if axis.extent != 1]
    if not batches:
        return tuple(body)
    alone = [_serial(s) for s in body]
    whole = prod(a.extent for a in batches) * products >= _PARALLEL_PRODUCTS
    result: tuple[Statement, ...] = tuple(alone)
    for axis in reversed(batches):
        result = (For(axis, result, Kind.PARALLEL if whole and axis is batches[0] else Kind.SERIAL),)
    return result


def _serial(s: Statement) -> Statement:
    if isinstance(s, For):
        return For(
            s.axis,
            tuple(map(_serial, s.body)),
            Kind.SERIAL if s.kind is Kind.PARALLEL else s.kind,
            s.limit,
            s.lanes,
        )
    return s


def _steps(e: Expression, axis: Axis) -> int | None:
    """How far apart a load's elements lie along an axis; None for anything but a load."""
    return e.index.stride(axis) if isinstance(e, Load) and not e.bounds else None


# ---- tiles -----------------------------------------------------------------------------------------------------------


def _tiles(c: Contraction, machine: Machine, group: _Panels, right: Buffer | None) -> list[Statement]:
    """All tiles of a group of panels: those of full height, then those of the rows that are left."""
    tallest = _rows(machine, group.vectors, c.row.extent)
    statements: list[Statement] = []
    done = 0
    while done < c.row.extent:
        rows = min(tallest, c.row.extent - done)
        panel, block = Axis("p", group.panels), Axis("r", (c.row.extent - done) // rows)
        body = _one_tile(c, group, rows, as_index(block) * rows + done, panel, right)
        statements.append(_tasks(c, panel, block, rows * group.width, body))
        done += block.extent * rows
    return statements


def _rows(machine: Machine, vectors: int, rows: int) -> int:
    """The tallest tile that leaves registers for a column and an element, evened out over all rows."""
    tallest = max(1, min((machine.registers - 1 - vectors) // vectors, _TALLEST))
    return -(-rows // -(-rows // tallest))


def _tasks(
    c: Contraction, panel: Axis, block: Axis, tile_size: int, body: tuple[Statement, ...]
) -> Statement:
    """The loops over panels and blocks of rows, in tasks for threads where there is enough to do."""
    products = tile_size * c.inner.extent
    if products * panel.extent * block.extent < _PARALLEL_PRODUCTS or c.batch:
        return For(panel, (For(block, body),))
    size = min(block.extent, max(1, _TASK_PRODUCTS // products))
    chunks = -(-block.extent // size)
    task, within = Axis("task", chunks * panel.extent), Axis("r", size)
    row_block = as_index(task) % chunks * size + as_index(within)
    values = {panel: as_index(task) // chunks, block: row_block}
    inner = Rewriter(lambda index: index.substitute(values)).statements(body)
    limit = None if size * chunks == block.extent else (row_block, block.extent)
    return For(task, (For(within, inner, limit=limit),), Kind.PARALLEL)


def _one_tile(
    c: Contraction, group: _Panels, rows: int, first_row: Index, panel: Axis, right: Buffer | None
) -> tuple[Statement, ...]:
    """Zero the tile, accumulate over the inner axis, store it."""
    tile = Buffer("tile", c.out.dtype, rows * group.width, Space.LOCAL)
    lanes = group.width // group.vectors
    i, v, j, k = Axis("i", rows), Axis("v", group.vectors), Axis("j", lanes), Axis("k", c.inner.extent)
    across = as_index(v) * lanes + as_index(j)
    place = as_index(i) * group.width + across
    column = as_index(panel) * group.width + group.start + across
    cut = (column, c.column.extent) if group.reaches_beyond(c.column.extent) else None
    at = {c.row: first_row + as_index(i), c.column: column, c.inner: as_index(k)}
    moved = Rewriter(lambda index: index.substitute(at))
    if right is None:
        other = _within(moved.expression(c.right), cut)
    else:
        other = Load(right, _packed(c, group, panel, k, across))
    product = Call("mul", (moved.expression(c.left), other), c.out.dtype)

    def each(statement: Statement, limit: tuple[Index, int] | None = None) -> For:
        vector = For(j, (statement,), Kind.VECTOR, limit, lanes)
        return For(i, (For(v, (vector,), Kind.UNROLL),), Kind.UNROLL)

    zero = Store(tile, place, Number(0, c.out.dtype))
    add = Accumulate(tile, place, product, "add", 0, c.where)
    out = Store(c.out, moved.index(c.place), Load(tile, place), c.where)
    return (Local(tile, (each(zero), For(k, (each(add),)), each(out, cut))),)


def _within(e: Expression, cut: tuple[Index, int] | None) -> Expression:
    """The expression with nothing read beyond the last column."""
    if cut is None:
        return e
    bound = Bound(cut[0], 0, cut[1])
    return Rewriter(lambda index: index, lambda load: replace(load, bounds=(*load.bounds, bound))).expression(
        e
    )
