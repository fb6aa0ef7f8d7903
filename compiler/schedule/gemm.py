"""A matrix product in register tiles: BLIS's loops, less what whole-program compilation makes needless.

Here is chosen what is computed in which order, and by which thread; the tiles themselves are in
`schedule.tiles`. The last tile before an edge is moved back to end there: what two tiles share they compute
alike, and one tile's code serves the whole product. Operands are read in place where that is fast, else they
are copied first (`schedule.panels`). Where a side is thin and the inner axis lies side by side in both
operands, vectors run along that axis instead (`schedule.thin`; of a matrix and a vector, in a routine); a
long inner axis of a small result is cut in pieces for threads (`schedule.deep`); of one row and a large
matrix, the matrix is read as it lies (`schedule.streams`).

After F. G. Van Zee and R. A. van de Geijn, "BLIS: A Framework for Rapidly Instantiating BLAS Functionality",
2015.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from math import prod

from retrograd.compiler.ir.expressions import Buffer, Expression, Space, axes_of
from retrograd.compiler.ir.index import Axis, Index, as_index
from retrograd.compiler.ir.loops import Contraction, For, Kind, Local, Statement, Store
from retrograd.compiler.ir.rewriting import Rewriter
from retrograd.compiler.passes.epilogues import is_straight, lies_straight
from retrograd.compiler.record import replace
from retrograd.compiler.schedule import deep, streams
from retrograd.compiler.schedule.deep import joined, pieces_of
from retrograd.compiler.schedule.digits import Digits, split
from retrograd.compiler.schedule.library import along_inner, by_routine
from retrograd.compiler.schedule.machine import Machine
from retrograd.compiler.schedule.panels import Panels, Pieces, at, cut, pack, steps
from retrograd.compiler.schedule.sharing import (
    LEAST_TASKS,
    LOCAL_PANELS,
    Sharing,
    blocks_of_task,
    is_fresh,
    is_shallow,
    must_pack_right,
    should_pack_left,
    whole,
)
from retrograd.compiler.schedule.tasks import PARALLEL_PRODUCTS, in_tasks
from retrograd.compiler.schedule.thin import is_thin, thin_block, thin_shape
from retrograd.compiler.schedule.tiles import (
    SECOND_LEVEL,
    Fresh,
    Shape,
    Tile,
    is_exact,
    is_reused,
    tile_shape,
)
from retrograd.compiler.schedule.windows import arrange_windows, has_windows


def arrange_product(c: Contraction, machine: Machine) -> tuple[Statement, ...] | None:
    """Loops over tiles; None where plain loops serve as well."""
    lanes = machine.lanes(c.out.dtype.itemsize)
    if not c.out.dtype.is_floating_point or prod((c.row.extent, c.column.extent, c.inner.extent)) == 0:
        return None
    parted = split(c)
    if isinstance(parted, Digits):
        windows = arrange_windows(parted, machine)
        if windows is not None:
            return windows
    else:
        c = parted
    c = _turned(_merged(c), lanes)
    if c.column.extent == 1 and not is_thin(c, lanes):
        return None
    streamed = streams.is_streamed(c, lanes)
    depth = streams.depth_of_piece(c) if streamed else deep.depth_of_piece(c)
    if depth is None:
        return _arranged(c, machine, lanes, streamed)
    sums, products = pieces_of(c, depth)
    arranged = [s for piece in products for s in _arranged(piece, machine, lanes, streamed)]
    return (*arranged, joined(c, sums, lanes))


def _arranged(c: Contraction, machine: Machine, lanes: int, streamed: bool) -> tuple[Statement, ...]:
    """Loops over a matrix as it lies, over blocks of a thin product, the library's routines, or tiles."""
    if streamed:
        return _over_batch(c, streams.streamed(c, lanes))
    if is_thin(c, lanes):
        return along_inner(c, machine, lanes) or _over_batch(c, _thin(c, lanes))
    return by_routine(c, machine, lanes) or _tiled(c, machine, lanes)


def fits(c: Contraction, machine: Machine) -> bool:
    """Is all that is stored straight along the product's axes, or their digits, as it would be arranged?"""
    if is_straight(c):
        return True
    parted = split(c)
    if isinstance(parted, Digits):
        return lies_straight(parted.c, parted.axes) and has_windows(parted, machine)
    return is_straight(parted)


def _merged(c: Contraction) -> Contraction:
    """The products of a batch that share their right operand, as one product of more rows."""
    for axis in reversed([axis for axis in c.batch if axis.extent != 1]):
        if not all(_adjoin(i, axis, c.row) for i in c.places_with(c.left)) or axis in axes_of(c.right):
            break
        row = Axis(c.row.name, axis.extent * c.row.extent)
        values = {axis: as_index(row)} if c.row.extent == 1 else {axis: Index(), c.row: as_index(row)}
        moved = Rewriter(lambda index, values=values: index.substitute(values))  # type: ignore[misc]  # its default is of the loop
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
    return [_grid(c, r, s, partial(_thin_blocks, c, lanes, r, s)) for r, s in pieces]


def _thin_blocks(
    c: Contraction,
    lanes: int,
    rows: Pieces,
    columns: Pieces,
    within: Axis,
    block: Index,
    panel: Index,
    limit: tuple[Index, int] | None,
) -> tuple[Statement, ...]:
    return (For(within, thin_block(c, lanes, rows, columns, block, panel), limit=limit),)


def _tiled(c: Contraction, machine: Machine, lanes: int) -> tuple[Statement, ...]:
    shape = tile_shape(c, machine)
    width, last = shape.vectors * lanes, c.column.extent % (shape.vectors * lanes)
    exactly = is_exact(c) and -(-last // lanes) < shape.vectors
    blocks, columns = cut(c, c.row, shape.rows), cut(c, c.column, width, exactly)
    once: list[Statement] = []
    each: list[Statement] = []
    locals_: list[Buffer] = []
    most = SECOND_LEVEL // 2 if whole(c) >= PARALLEL_PRODUCTS else LOCAL_PANELS

    def packed(operand: Expression, axis: Axis, pieces: Sequence[Pieces]) -> Panels:
        batch = [outer for outer in c.batch if outer in axes_of(operand)]
        size = sum(p.count * p.size for p in pieces) * c.inner.extent
        own = prod(outer.extent for outer in batch) > 1 and size * c.out.dtype.itemsize <= most
        panels, copies = pack(c, operand, axis, pieces, lanes, None if own else batch)
        if own:
            each.extend(copies)
            locals_.append(panels.buffer)
        else:
            once.extend(in_tasks(batch, size, copies))
        return panels

    left = packed(c.left, c.row, blocks) if should_pack_left(c, columns) else None
    if is_shallow(c):
        panels, copies = pack(c, c.right, c.column, columns, lanes)
        tile = Tile(c, lanes, shape.depth, left, panels)
        return (*once, *(_by_rows(c, rows, columns, tile, panels.buffer, copies) for rows in blocks))
    right: Panels | Fresh | None = None
    fresh = is_fresh(c, shape, columns, lanes)
    if must_pack_right(c) or (fresh and is_reused(c, shape.rows)):
        right = _fresh(c, shape, columns, lanes) if fresh else packed(c.right, c.column, columns)
    tile = Tile(c, lanes, shape.depth, left, right)
    sharing, beside = Sharing.CHUNKS if shape.depth < c.inner.extent else Sharing.BLOCKS, Axis("n", 1)
    if isinstance(right, Fresh):
        sharing, beside = Sharing.PANELS, right.beside
    each += [_grid(c, r, s, partial(tile.blocks, r, s), sharing, beside) for r, s in product(blocks, columns)]
    body = tuple(each)
    for buffer in locals_:
        body = (Local(buffer, body),)
    return (*once, *_over_batch(c, body))


def _by_rows(
    c: Contraction,
    rows: Pieces,
    columns: Sequence[Pieces],
    tile: Tile,
    panels: Buffer,
    copies: Sequence[Statement],
) -> Statement:
    """Tasks of some blocks of rows, each block with all panels."""
    products = rows.size * c.column.extent * c.inner.extent
    size = min(rows.count, blocks_of_task(rows, 1, products, Sharing.PANELS))
    task, within = Axis("task", -(-rows.count // size)), Axis("r", size)
    block = at(task) * size + at(within)
    body: list[Statement] = []
    for pieces in columns:
        panel = Axis("p", pieces.count)
        body.append(For(panel, (tile.at_once(rows, pieces, block, at(panel)),)))
    limit = None if rows.count % size == 0 else (block, rows.count)
    local = Local(panels, (*copies, For(within, tuple(body), limit=limit)))
    return For(task, (local,), Kind.PARALLEL)


def _fresh(c: Contraction, shape: Shape, columns: Sequence[Pieces], lanes: int) -> Fresh:
    """The panels that a task copies: more than one, where the second-level cache holds them beside all else
    and there remain enough tasks."""
    size, beside = shape.vectors * shape.depth * lanes, 1
    if whole(c) >= PARALLEL_PRODUCTS and shape.depth == c.inner.extent:
        fitting = SECOND_LEVEL // (size * c.out.dtype.itemsize)
        beside = max(1, min(fitting, columns[0].count // LEAST_TASKS))
    buffer = Buffer("panel", c.out.dtype, size * beside + lanes, Space.LOCAL)  # the last vector is read whole
    return Fresh(buffer, Axis("n", beside))


def _over_batch(c: Contraction, body: Sequence[Statement]) -> tuple[Statement, ...]:
    """The body for each product of the batch, several of them to a task if there is enough to do."""
    return in_tasks(c.batch, c.row.extent * c.column.extent * c.inner.extent, body)


Blocks = Callable[[Axis, Index, Index, tuple[Index, int] | None], tuple[Statement, ...]]
"""The code of blocks of rows along an axis, as far as a limit: the axis, the block, the panel, the limit."""


def _grid(
    c: Contraction,
    rows: Pieces,
    columns: Pieces,
    body: Blocks,
    sharing: Sharing = Sharing.BLOCKS,
    beside: Axis | None = None,
) -> Statement:
    """The loops over blocks of rows and panels of columns, in tasks if there is enough to do. The body has
    loops of its own over the panels that it takes `beside` each other."""
    together, more = (beside.extent, at(beside)) if beside else (1, Index())
    blocks, panels = rows.count, -(-columns.count // together)
    products = rows.size * columns.size * together * c.inner.extent
    batched = any(axis.extent != 1 for axis in c.batch)
    if products * panels * blocks < PARALLEL_PRODUCTS or batched or panels * blocks == 1:
        panel, within = Axis("p", panels), Axis("r", blocks)
        return For(panel, body(within, at(within), at(panel) * together + more, None))
    most = max(1, SECOND_LEVEL // (rows.size * columns.size * c.out.dtype.itemsize))
    size = min(blocks, most, blocks_of_task(rows, panels, products, sharing))
    chunks = -(-blocks // size)
    task, within = Axis("task", chunks * panels), Axis("r", size)
    chunk, group = (
        (at(task) % chunks, at(task) // chunks)
        if sharing is Sharing.BLOCKS
        else (at(task) // panels, at(task) % panels)
    )
    block = chunk * size + at(within)
    limit = None if size * chunks == blocks else (block, blocks)
    return For(task, body(within, block, group * together + more, limit), Kind.PARALLEL)
