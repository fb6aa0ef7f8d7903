"""A product by the library's routine, which is compiled once for all sizes (`backends.routines`).

Here is chosen how the routine goes through a product: the same tiles, tasks and copies for which
`schedule.gemm` would else write loops. What is done with the sums stays with the program: an `Epilogue` of
plain loops over a tile, whose sums are still in the cache. The routine takes no product of which an operand
is computed on the way, or does not lie at even steps.
"""

from __future__ import annotations

from collections.abc import Sequence

from retrograd.compiler.dtypes import float32, float64
from retrograd.compiler.ir.expressions import Buffer, Call, Load, Number, Space
from retrograd.compiler.ir.index import Axis, Index, as_index
from retrograd.compiler.ir.loops import (
    Accumulate,
    Contraction,
    Epilogue,
    For,
    Kind,
    Local,
    Plan,
    Routine,
    Statement,
    Store,
)
from retrograd.compiler.ir.rewriting import Rewriter, stores_of
from retrograd.compiler.record import replace
from retrograd.compiler.schedule.machine import Machine
from retrograd.compiler.schedule.panels import Pieces, at, cut, may_move_back, steps
from retrograd.compiler.schedule.sharing import (
    LEAST_TASKS,
    Sharing,
    blocks_of_task,
    is_fresh,
    is_shallow,
    must_pack_right,
    should_pack_left,
    whole,
)
from retrograd.compiler.schedule.split import BLOCK, is_split
from retrograd.compiler.schedule.tasks import BRIEF_BYTES, LIGHT, PARALLEL_PRODUCTS, TASK_PRODUCTS, work
from retrograd.compiler.schedule.tiles import (
    OFTEN,
    SECOND_LEVEL,
    Shape,
    even_shape,
    is_exact,
    is_reused,
    tile_shape,
    usual_shape,
)

_SWEPT, _TWICE = 32, 32
"""Rows of a matrix that is swept: as many as the first level of address translation, and the fetching of rows
ahead, keep up with. Twice as many where so many rows, that stay in the second-level cache, are multiplied by
them: then sums are fetched and put back less often."""
_PAGE = 4096
"""Bytes of each row that belong to a sweep, at most: those of a page."""
_DOTS = 8
"""Rows that are multiplied by a vector together: as many sums as keep the processor's multipliers at work."""
_OF_TASK = 8
"""Blocks of such rows that a task takes, so that threads end together: nothing is read twice."""
_PLAINLY = (False,) * 5
"""With nothing copied, and nothing else that a plan may be particular in."""
_SWEEPS = 4
"""Sweeps that there should be, for threads to share."""
_QUARTERS = 4
"""Tasks of a brief product."""


def by_routine(c: Contraction, machine: Machine, lanes: int) -> tuple[Statement, ...] | None:
    """The routines that compute the product; None if they cannot."""
    found = _one_batch(c)
    if found is None or not _is_regular(found):
        return None
    c = found
    apart = _direct(c) is None
    swept, split = _is_swept(c), is_split(c, machine, not apart)
    shape = _shape(c, machine, apart) if split else tile_shape(c, machine)
    width, last = shape.vectors * lanes, c.column.extent % (shape.vectors * lanes)
    exactly = is_exact(c) and -(-last // lanes) < shape.vectors and not swept and not split
    blocks, columns = cut(c, c.row, shape.rows), cut(c, c.column, width, exactly)
    fresh = is_fresh(c, shape, columns, lanes) and is_reused(c, shape.rows)
    fresh = fresh and steps(c.right, c.inner) != width  # else it lies as a copy would
    shallow, copies_right = is_shallow(c), must_pack_right(c) or fresh
    if (copies_right or shallow) and width * shape.depth * c.out.dtype.itemsize > SECOND_LEVEL:
        shape = shape._replace(depth=-(-(SECOND_LEVEL // (width * c.out.dtype.itemsize)) // 8) * 8)
    copies_left = should_pack_left(c, columns)
    if swept:
        near = c.row.extent * c.inner.extent * c.out.dtype.itemsize <= SECOND_LEVEL
        shape = shape._replace(depth=2 * _SWEPT if near and c.row.extent >= _TWICE else _SWEPT)
    line = max(width, -(-c.column.extent // BLOCK) * BLOCK if split and apart else 0)
    epilogue = _epilogue(c, blocks, columns, line, lanes) if apart else None
    result: list[Statement] = []
    for rows in blocks:
        panels = _panels(c, rows) if copies_left else None
        for k, each in enumerate(columns):
            part = _part(c, rows, each)
            copies = copies_left, copies_right or shallow
            plan = _plan(c, shape, lanes, rows, each, line, *copies, shallow, swept, split)
            plan = replace(plan, split=split and is_split(part, machine, epilogue is None))
            result.append(_routine(part, plan, (rows.start, each.start), epilogue, panels, copied=k > 0))
    return tuple(result)


def _shape(c: Contraction, machine: Machine, apart: bool) -> Shape:
    """That of tiles of vectors which follow only where elements are out of range: one that cuts no part off,
    for each part would be split anew, or be too small to be."""
    if not apart:
        return usual_shape(c, machine)
    moves_back = may_move_back(c, c.row) and may_move_back(c, c.column)
    return (None if moves_back else even_shape(c, machine)) or tile_shape(c, machine)


def along_inner(c: Contraction, machine: Machine, lanes: int) -> tuple[Statement, ...] | None:
    """The routines that multiply a matrix by a vector, both of which lie along the inner axis; None if they
    cannot."""
    if c.row.extent == 1:
        c = replace(c, row=c.column, column=c.row, left=c.right, right=c.left)
    found = _one_batch(c) if c.column.extent == 1 else None
    if found is None or not _is_regular(found):
        return None
    shape, column = Shape(min(_DOTS, found.row.extent), 1, found.inner.extent), Pieces(0, 1, 1, 1)
    blocks, result = cut(found, found.row, shape.rows), []
    epilogue = None if _direct(found) else _epilogue(found, blocks, [column], 1, lanes)
    for rows in blocks:
        plan = _plan(found, shape, lanes, rows, column, 1, False, False, False, False, False)
        shared = found.batch[0].extent == 1 and plan.share != 0
        part = _part(found, rows, column)
        met = shared and machine.meets(part.row.extent * _bytes_on(part))
        plan = replace(plan, along=True, size=min(plan.size, _OF_TASK) if shared else plan.size, met=met)
        result.append(_routine(part, plan, (rows.start, 0), epilogue, None, copied=False))
    return tuple(result)


def _bytes_on(c: Contraction) -> int:
    """From a row of the left operand to the next."""
    return (steps(c.left, c.row) or 0) * c.out.dtype.itemsize


def _one_batch(c: Contraction) -> Contraction | None:
    """The product with one axis for the whole batch, if all that it touches lies so."""
    batch = [axis for axis in c.batch if axis.extent != 1] or [Axis("n", 1)]
    while len(batch) > 1:
        outer, inner = batch[-2:]
        joined = Axis(inner.name, outer.extent * inner.extent)
        for index in c.places:
            a, b = index.stride(outer), index.stride(inner)
            if a is None or b is None or a != b * inner.extent:
                return None
        c = _moved(c, {outer: Index(), inner: as_index(joined)})
        batch[-2:] = [joined]
    return replace(c, batch=(batch[0],))


def _is_regular(c: Contraction) -> bool:
    """Are both operands read at even steps, and is all that is stored straight along the axes?"""
    if c.out.dtype not in (float32, float64):
        return False
    for operand, side in ((c.left, c.row), (c.right, c.column)):
        if not isinstance(operand, Load) or operand.dtype is not c.out.dtype:
            return False
        if any(steps(operand, axis) is None for axis in (*c.batch, side, c.inner)):
            return False
    return all(i.stride(axis) is not None for i in c.places_with() for axis in (*c.batch, c.row, c.column))


def _is_swept(c: Contraction) -> bool:
    """Is the right operand too large for the cache, and read but a few times? Then it is read a few rows at a
    time, all columns of them: not a panel after the other, each from all pages."""
    alone = all(axis.extent == 1 for axis in c.batch)
    large = c.inner.extent * c.column.extent * c.out.dtype.itemsize > SECOND_LEVEL
    return alone and large and c.row.extent < OFTEN and steps(c.right, c.column) == 1


def _part(c: Contraction, rows: Pieces, columns: Pieces) -> Contraction:
    """The product of these rows and columns alone."""
    values: dict[Axis, Index] = {}
    part = c
    for axis, pieces in ((c.row, rows), (c.column, columns)):
        extent = min(pieces.count * pieces.size, pieces.extent - pieces.start)
        if extent != axis.extent:
            own = Axis(axis.name, extent)
            values[axis] = at(own) + pieces.start
            part = replace(part, row=own) if axis is c.row else replace(part, column=own)
    return _moved(part, values) if values else part


def _moved(c: Contraction, values: dict[Axis, Index]) -> Contraction:
    """The product with these axes replaced in all that it touches."""
    moved = Rewriter(lambda index: index.substitute(values))
    stores = tuple(s for s in moved.statements(c.stores) if isinstance(s, Store))
    left, right = moved.expression(c.left), moved.expression(c.right)
    return replace(c, place=moved.index(c.place), left=left, right=right, stores=stores)


# ---- how it is gone through --------------------------------------------------------------------------------


def _plan(
    c: Contraction,
    shape: Shape,
    lanes: int,
    rows: Pieces,
    columns: Pieces,
    line: int,
    copies_left: bool,
    copies_right: bool,
    shallow: bool,
    swept: bool,
    split: bool,
) -> Plan:
    """The items, and the tasks for threads, of these blocks and panels. A brief product is cut in quarters of
    which a thread takes the upper ones, as of the product before: what it wrote there is in its cache."""
    vectors = -(-columns.size // lanes)
    batch, tile = c.batch[0].extent, rows.size * vectors * lanes
    out = _direct(c)
    waits = shape.depth < c.inner.extent or out is None or out.index.stride(c.column) not in (0, 1)
    beside = _beside(c, shape, columns, lanes, copies_right, shallow, waits)
    if swept:
        page = max(1, _PAGE // (columns.size * c.out.dtype.itemsize))
        beside = min(page, -(-columns.count // _SWEEPS))
    count = tile * columns.count * rows.count * c.inner.extent
    brief = batch == 1 and count < PARALLEL_PRODUCTS and count * c.out.dtype.itemsize >= BRIEF_BYTES
    brief = brief and not swept and not split
    if brief and not copies_right:
        beside = -(-columns.count // 2)
    panels = -(-columns.count // beside)
    products = tile * beside * c.inner.extent
    chunks = brief or shape.depth < c.inner.extent or _stays(c)
    sharing = Sharing.CHUNKS if chunks else Sharing.BLOCKS
    if copies_right:
        sharing = Sharing.PANELS
    bytes_ = rows.size * line * c.out.dtype.itemsize
    size, share = rows.count, 0
    if batch == 1 and products * panels * rows.count >= PARALLEL_PRODUCTS and panels * rows.count > 1:
        most = max(1, SECOND_LEVEL // bytes_)
        size, share = min(size, most, blocks_of_task(rows, panels, products, sharing)), 1
    if brief:
        size, share = rows.count if copies_right else -(-rows.count * panels // _QUARTERS), 1
    if swept:
        size = rows.count
    elif waits:
        size = min(size, max(1, SECOND_LEVEL // (bytes_ * beside)))
    if batch > 1 and whole(c) >= PARALLEL_PRODUCTS:
        each = c.row.extent * c.column.extent * c.inner.extent
        share = max(1, min(batch, TASK_PRODUCTS // each)) * panels * -(-rows.count // size)
    rowwise = sharing is not Sharing.BLOCKS
    return Plan(
        rows.size, vectors, lanes, shape.depth, size, beside, rowwise, share, copies_left, copies_right, False
    )


def _stays(c: Contraction) -> bool:
    """Does the right operand stay in each thread's second-level cache? If it is not new: what another one
    has just written comes slowly."""
    old = isinstance(c.right, Load) and c.right.buffer.space is Space.INPUT
    return old and c.inner.extent * c.column.extent * c.out.dtype.itemsize <= SECOND_LEVEL


def _beside(
    c: Contraction,
    shape: Shape,
    columns: Pieces,
    lanes: int,
    copies_right: bool,
    shallow: bool,
    waits: bool,
) -> int:
    """The panels of an item. Of those that it copies: all of a shallow product, else more than one where the
    second-level cache holds them beside all else and there remain enough tasks."""
    small = waits and not copies_right and whole(c) < PARALLEL_PRODUCTS
    if shallow or small:
        return columns.count
    if not copies_right or whole(c) < PARALLEL_PRODUCTS or shape.depth < c.inner.extent:
        return 1
    fitting = SECOND_LEVEL // (shape.vectors * shape.depth * lanes * c.out.dtype.itemsize)
    return max(1, min(fitting, columns.count // LEAST_TASKS))


# ---- the statement -----------------------------------------------------------------------------------------


def _routine(
    c: Contraction,
    plan: Plan,
    first: tuple[int, int],
    epilogue: Epilogue | None,
    panels: Buffer | None,
    copied: bool,
) -> Routine:
    assert isinstance(c.left, Load)
    assert isinstance(c.right, Load)
    out = None if epilogue else _direct(c)
    return Routine(
        _plain(c), c.left, c.right, out, c.batch[0], c.row, c.column, c.inner, plan, panels, copied, first,
        epilogue,
    )  # fmt: skip


def _direct(c: Contraction) -> Store | None:
    """The store of the sums as they are, rows or columns of elements side by side."""
    if len(c.stores) != 1:
        return None
    (store,) = c.stores
    element = isinstance(store.value, Load) and (store.value.buffer, store.value.index) == (c.out, c.place)
    near = c.column.extent == 1 or 1 in (store.index.stride(c.column), store.index.stride(c.row))
    return store if element and near else None


def _panels(c: Contraction, rows: Pieces) -> Buffer:
    """Room for the blocks of the left operand, each inner position of a block after the other."""
    return Buffer(
        "panels", c.out.dtype, c.batch[0].extent * rows.count * rows.size * c.inner.extent, Space.ARENA
    )


def _plain(c: Contraction) -> tuple[Statement, ...]:
    """The loops that say what is computed."""
    total = Buffer("total", c.out.dtype, 1, Space.LOCAL)
    add = Accumulate(total, Index(), Call("mul", (c.left, c.right), c.out.dtype), "add", 0, c.where)
    used = stores_of(c, Load(total, Index()))
    zero = Store(total, Index(), Number(0, c.out.dtype))
    body: Statement = Local(total, (zero, For(c.inner, (add,)), *used))
    for axis in (c.column, c.row, *c.batch):
        body = For(axis, (body,)) if axis.extent != 1 else body
    return (body,)


def _epilogue(
    c: Contraction, blocks: Sequence[Pieces], panels: Sequence[Pieces], line: int, lanes: int
) -> Epilogue:
    """What is done with the sums of a tile."""
    i, first_row, rows = _side(c.row, blocks, "i")
    j, first_column, columns = _side(c.column, panels, "j")
    sums = Buffer("sums", c.out.dtype, i.extent * line, Space.LOCAL)
    values = {c.row: at(first_row) + at(i), c.column: at(first_column) + at(j)}
    used = stores_of(c, Load(sums, at(i) * line + at(j)), lambda index: index.substitute(values))
    if line == 1:
        body: Statement = For(i, used, Kind.VECTOR, rows, _power(i.extent))
    else:
        vectors = min(4 if work(c.stores) <= 4 * LIGHT else 2, -(-j.extent // lanes))
        body = For(i, (For(j, used, Kind.VECTOR, columns, _power(vectors) * lanes),), limit=rows)
    return Epilogue(c.batch[0], first_row, first_column, sums, line, (body,))


def _side(axis: Axis, pieces: Sequence[Pieces], name: str) -> tuple[Axis, Axis, tuple[Index, int] | None]:
    """Along a side of a tile: the loop, where the tile begins, and where the loop ends, if tiles differ."""
    size, count = min(pieces[0].size, axis.extent), sum(p.count for p in pieces)
    within, first = Axis(name, size), Axis(axis.name, axis.extent if count > 1 else 1)
    differ = len(pieces) > 1 and size > 1
    return within, first, (at(first) + at(within), axis.extent) if differ else None


def _power(count: int) -> int:
    """The greatest power of two that is no more."""
    return 1 << (count.bit_length() - 1)
