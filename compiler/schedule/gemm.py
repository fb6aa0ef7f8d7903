"""A matrix product in register tiles: BLIS's loops, less what whole-program compilation makes needless.

A tile of `rows` × `vectors` registers accumulates over the whole inner axis: one column vector of the right
operand at a time against single elements of the left one. `_shape` weighs all tile shapes for the sizes at
hand. The last tile before an edge is moved back to end there: what two tiles share they compute alike, and
one tile's code serves the whole product. Operands are read in place where that is fast, else they are copied
first (`schedule.panels`). Where a side is thin and the inner axis lies side by side in both operands,
vectors run along that axis instead (`schedule.thin`).

After F. G. Van Zee and R. A. van de Geijn, "BLIS: A Framework for Rapidly Instantiating BLAS Functionality",
2015.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from math import prod

from retrograd.compiler.ir.graph import OPS
from retrograd.compiler.ir.index import Axis, Bound, Index, as_index
from retrograd.compiler.ir.loops import (
    Accumulate,
    Buffer,
    Call,
    Contraction,
    Convert,
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
    axes_of,
    expressions,
)
from retrograd.compiler.ops.row import Elementwise, Types
from retrograd.compiler.schedule.machine import Machine
from retrograd.compiler.schedule.panels import Panels, Pieces, at, cut, pack, places_of, steps
from retrograd.compiler.schedule.thin import is_thin, thin_block, thin_shape

_PARALLEL_PRODUCTS = 1 << 19
"""A product is shared among threads from so many multiplications on."""
_TASK_PRODUCTS = 1 << 18
_FAR_APART = 1024
"""Rows of an operand that are so many bytes apart are better copied, if they are read often."""
_OFTEN = 64
_TALLEST, _WIDEST = 12, 16
"""Rows and vectors of a tile at most."""
_FIRST_LEVEL = 32 << 10
"""Bytes of a panel that stay in the first-level cache beside all else."""
_FUNCTION, _LIGHT = 20, 3
"""A function counts as so many instructions. What takes at most so many is repeated for each register of a
tile; what takes more is done in loops over the tile."""
_BRIEF, _SHORT = 1 << 17, 0.005
"""A product of fewer cycles may take this much longer for each register that its tile has less: such tiles
compile faster."""
_LOCAL_PANELS = 1 << 17
"""Bytes of panels that a product of a batch may have on the stack."""


def arrange_product(c: Contraction, machine: Machine) -> tuple[Statement, ...] | None:
    """Loops over tiles; None where plain loops serve as well."""
    lanes = machine.lanes(c.out.dtype.itemsize)
    if not c.out.dtype.is_floating_point or prod((c.row.extent, c.column.extent, c.inner.extent)) == 0:
        return None
    c = _turned(_merged(c), lanes)
    if is_thin(c, lanes):
        return _over_batch(c, _thin(c, lanes))
    return _tiled(c, machine, lanes) if c.column.extent > 1 else None


def _merged(c: Contraction) -> Contraction:
    """The products of a batch that share their right operand, as one product of more rows."""
    for axis in reversed([axis for axis in c.batch if axis.extent != 1]):
        if not all(_adjoin(i, axis, c.row) for i in places_of((c.left,), c)) or axis in axes_of(c.right):
            break
        row = Axis(c.row.name, axis.extent * c.row.extent)
        values = {axis: as_index(row)} if c.row.extent == 1 else {axis: Index(), c.row: as_index(row)}
        moved = Rewriter(lambda index, values=values: index.substitute(values))  # type: ignore[misc]
        stores = tuple(s for s in moved.statements(c.stores) if isinstance(s, Store))
        batch = tuple(a for a in c.batch if a is not axis)
        left = moved.expression(c.left)
        c = replace(c, place=moved.index(c.place), batch=batch, row=row, left=left, stores=stores)
    return c


def _adjoin(index: Index, outer: Axis, inner: Axis) -> bool:
    """Does one step along the outer axis lead as far as all along the inner one?"""
    a, b = index.stride(outer), index.stride(inner)
    return a is not None and b is not None and (inner.extent == 1 or a == b * inner.extent)


def _turned(c: Contraction, lanes: int) -> Contraction:
    """Rows and columns exchanged, where the columns do not fill a vector and the rows lie side by side."""
    if c.column.extent < min(lanes, c.row.extent) and steps(c.left, c.row) == 1:
        return replace(c, row=c.column, column=c.row, left=c.right, right=c.left)
    return c


# ---- the whole -------------------------------------------------------------------------------------------


def _thin(c: Contraction, lanes: int) -> list[Statement]:
    rows, columns = thin_shape(c)
    pieces = product(cut(c, c.row, rows), cut(c, c.column, columns))
    return [_grid(c, r, s, partial(thin_block, c, lanes, r, s)) for r, s in pieces]


def _tiled(c: Contraction, machine: Machine, lanes: int) -> tuple[Statement, ...]:
    rows, vectors = _shape(c, machine)
    blocks, columns = cut(c, c.row, rows), cut(c, c.column, vectors * lanes)
    once: list[Statement] = []
    each: list[Statement] = []
    locals_: list[Buffer] = []
    packed: list[Panels | None] = []
    for operand, axis, pieces, wanted in (
        (c.left, c.row, blocks, _should_pack_left(c, columns)),
        (c.right, c.column, columns, _should_pack_right(c)),
    ):
        if not wanted:
            packed.append(None)
            continue
        batched = bool(axes_of(operand) & set(c.batch))
        size = sum(p.count * p.size for p in pieces) * c.inner.extent * c.out.dtype.itemsize
        own = batched and size <= _LOCAL_PANELS
        panels, copies = pack(c, operand, axis, pieces, lanes, Space.LOCAL if own else Space.ARENA)
        packed.append(panels)
        (each if batched else once).extend(copies)
        if own:
            locals_.append(panels.buffer)
    tile = _Tile(c, lanes, *packed)
    each += [_grid(c, r, s, partial(tile.statements, r, s)) for r, s in product(blocks, columns)]
    body = tuple(each)
    for buffer in locals_:
        body = (Local(buffer, body),)
    return (*once, *_over_batch(c, body))


def _should_pack_right(c: Contraction) -> bool:
    if isinstance(c.right, Convert) or steps(c.right, c.column) != 1:
        return True
    apart = (steps(c.right, c.inner) or 0) * c.out.dtype.itemsize
    return apart >= _FAR_APART and c.row.extent >= _OFTEN


def _should_pack_left(c: Contraction, columns: Sequence[Pieces]) -> bool:
    if steps(c.left, c.row) is None or steps(c.left, c.inner) is None:
        return True
    apart = (steps(c.left, c.inner) or 0) * c.out.dtype.itemsize
    return apart >= _FAR_APART and c.inner.extent >= _OFTEN and sum(p.count for p in columns) > 2


def _over_batch(c: Contraction, body: Sequence[Statement]) -> tuple[Statement, ...]:
    """The body for each product of the batch, several of them to a task if there is enough to do."""
    batches = [axis for axis in c.batch if axis.extent != 1]
    if not batches:
        return tuple(body)
    result = tuple(body)
    whole = prod(axis.extent for axis in batches)
    products = c.row.extent * c.column.extent * c.inner.extent
    if products * whole < _PARALLEL_PRODUCTS:
        for axis in reversed(batches):
            result = (For(axis, result),)
        return result
    size = max(1, min(whole, _TASK_PRODUCTS // products))
    task, within = Axis("task", -(-whole // size)), Axis("n", size)
    flat = at(task) * size + at(within)
    values: dict[Axis, Index] = {}
    rest = flat
    for axis in reversed(batches[1:]):
        values[axis], rest = rest % axis.extent, rest // axis.extent
    values[batches[0]] = rest
    moved = Rewriter(lambda index: index.substitute(values)).statements(result)
    limit = (flat, whole) if whole % size else None
    return (For(task, (For(within, moved, limit=limit),), Kind.PARALLEL),)


def _grid(
    c: Contraction, rows: Pieces, columns: Pieces, body: Callable[[Index, Index], tuple[Statement, ...]]
) -> Statement:
    """The loops over blocks of rows and panels of columns, in tasks if there is enough to do."""
    blocks, panels = rows.count, columns.count
    products = rows.size * columns.size * c.inner.extent
    batched = any(axis.extent != 1 for axis in c.batch)
    if products * panels * blocks < _PARALLEL_PRODUCTS or batched or panels * blocks == 1:
        panel, block = Axis("p", panels), Axis("r", blocks)
        return For(panel, (For(block, body(at(block), at(panel))),))
    chunks = -(-blocks // max(1, _TASK_PRODUCTS // products))
    size = -(-blocks // chunks)
    chunks = -(-blocks // size)
    task, within = Axis("task", chunks * panels), Axis("r", size)
    block_index = at(task) % chunks * size + at(within)
    limit = None if size * chunks == blocks else (block_index, blocks)
    return For(task, (For(within, body(block_index, at(task) // chunks), limit=limit),), Kind.PARALLEL)


# ---- the shape of a tile ---------------------------------------------------------------------------------


def _shape(c: Contraction, machine: Machine) -> tuple[int, int]:
    """Rows and vectors of a tile, such that the product takes the fewest cycles."""
    lanes = machine.lanes(c.out.dtype.itemsize)
    across = -(-c.column.extent // lanes)
    shapes = product(range(1, min(_TALLEST, c.row.extent) + 1), range(1, min(_WIDEST, across) + 1))
    fitting = [(r, v) for r, v in shapes if r * v + min(r, v) + 1 <= machine.registers]
    cycles = {shape: _cycles(c, machine, *shape) for shape in fitting}
    short = _SHORT if min(cycles.values()) < _BRIEF else 0.0
    return min(fitting, key=lambda shape: cycles[shape] * (1 + short * shape[0] * shape[1]))


def _cycles(c: Contraction, machine: Machine, rows: int, vectors: int) -> float:
    """Roughly, at two multiply-adds and two loads a cycle, and less from the second-level cache."""
    lanes = machine.lanes(c.out.dtype.itemsize)
    blocks, panels = -(-c.row.extent // rows), -(-c.column.extent // (vectors * lanes))
    bound = max(rows * vectors / 2, (rows + vectors) / 2, 4)  # four: the latency of a multiply-add
    if blocks > 1 and vectors * lanes * c.inner.extent * c.out.dtype.itemsize > _FIRST_LEVEL:
        bound = max(bound, 1.6 * vectors)
    bound += 0.5 + 0.05 * (rows + 2 * vectors)
    return blocks * panels * (c.inner.extent * bound + 2 * rows * vectors + 16)


# ---- tiles -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Tile:
    """The code of a tile."""

    c: Contraction
    lanes: int
    left: Panels | None
    right: Panels | None

    def statements(self, rows: Pieces, columns: Pieces, block: Index, panel: Index) -> tuple[Statement, ...]:
        """Zero the tile, accumulate over the inner axis, use it."""
        c, lanes = self.c, self.lanes
        vectors = -(-columns.size // lanes)
        width = vectors * lanes
        tile = Buffer("tile", c.out.dtype, rows.size * width, Space.LOCAL)
        i, v, j, k = Axis("i", rows.size), Axis("v", vectors), Axis("j", lanes), Axis("k", c.inner.extent)
        across = at(v) * lanes + as_index(j)
        place = at(i) * width + across
        column = columns.first(panel) + across
        narrow = columns.size < width or columns.beyond
        cut_off = (across, min(columns.size, columns.extent)) if narrow else None
        values = {c.row: rows.first(block) + at(i), c.column: column, c.inner: at(k)}
        moved = Rewriter(lambda index: index.substitute(values))
        if self.left is None:
            left = moved.expression(c.left)
        else:
            left = Load(self.left.buffer, self.left.place(rows, block, at(k), at(i)))
        if self.right is None:
            right = _within(moved.expression(c.right), cut_off)
        else:
            right = Load(self.right.buffer, self.right.place(columns, panel, at(k), across))

        def each(statements: Sequence[Statement], limit: tuple[Index, int] | None = None) -> For:
            vector = For(j, tuple(statements), Kind.VECTOR, limit, lanes)
            return For(i, (For(v, (vector,), Kind.UNROLL),), Kind.UNROLL)

        zero = Store(tile, place, Number(0, c.out.dtype))
        add = Accumulate(tile, place, Call("mul", (left, right), c.out.dtype), "add", 0, c.where)
        if _work(c.stores) <= _LIGHT:
            last: Statement = each(c.used(Load(tile, place), lambda index: index.substitute(values)), cut_off)
        else:
            apart = Buffer("apart", c.out.dtype, tile.size, Space.LOCAL)
            copy = each([Store(apart, place, Load(tile, place))])
            last = Local(apart, (copy, self._used_apart(apart, rows, columns, block, panel)))
        return (Local(tile, (each([zero]), For(k, (each([add]),)), last)),)

    def _used_apart(
        self, apart: Buffer, rows: Pieces, columns: Pieces, block: Index, panel: Index
    ) -> Statement:
        """What is done with the elements, in loops over the tile, so that much code is there but once."""
        c, lanes = self.c, self.lanes
        vectors = -(-columns.size // lanes)
        i, v, j = Axis("i", rows.size), Axis("v", vectors), Axis("j", lanes)
        across, end = at(v) * lanes + as_index(j), min(columns.size, columns.extent)
        values = {c.row: rows.first(block) + at(i), c.column: columns.first(panel) + across}
        element = Load(apart, at(i) * (vectors * lanes) + across)
        used = c.used(element, lambda index: index.substitute(values))
        limit = (across, end) if end < vectors * lanes else None
        return For(i, (For(v, (For(j, used, Kind.VECTOR, limit, lanes),)),))


def _work(stores: Sequence[Statement]) -> int:
    """Roughly, the instructions of what is done with an element."""
    rows = [OPS[e.row] for e in expressions(stores) if isinstance(e, Call)]
    return sum(_FUNCTION if isinstance(row, Elementwise) and row.types is Types.FLOAT else 1 for row in rows)


def _within(e: Expression, limit: tuple[Index, int] | None) -> Expression:
    """The expression with nothing read beyond the last column."""
    if limit is None:
        return e
    bound = Bound(limit[0], 0, limit[1])
    return Rewriter(load=lambda load: replace(load, bounds=(*load.bounds, bound))).expression(e)
