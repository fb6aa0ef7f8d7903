"""Tiles of a product: how large they are, and their code.

A tile of `rows` × `vectors` registers accumulates over the inner axis: one column vector of the right operand
at a time against single elements of the left one. `tile_shape` weighs all shapes for the sizes at hand. Where
a panel of the right operand would not stay in the second-level cache, the inner axis is cut in pieces of
`depth`, so that many tiles read one piece while it is there; what they add up waits beside, and is used at
the end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf

from retrograd.compiler.ir.expressions import Buffer, Call, Load, Number, Space
from retrograd.compiler.ir.index import Axis, Index, as_index
from retrograd.compiler.ir.loops import Accumulate, Contraction, For, Kind, Local, Statement, Store
from retrograd.compiler.ir.rewriting import Rewriter, stores_of
from retrograd.compiler.record import NamedTuple, record
from retrograd.compiler.schedule.machine import Machine
from retrograd.compiler.schedule.panels import Panels, Pieces, at, may_move_back, pack_block, steps
from retrograd.compiler.schedule.tasks import LIGHT, PARALLEL_PRODUCTS, within, work

_TALLEST, _WIDEST, _NARROW = 14, 16, 4
"""Rows and vectors of a tile at most; and vectors where it is the result that takes the time: many rows that
are written side by side, a few lines of the cache of each, keep more of them on their way from memory."""
_USUAL = 6, 4
"""What most large products take."""
SHALLOW = 32
"""Inner positions of a product that takes as long to write as to compute, at most."""
_FIRST_LEVEL = 32 << 10
"""Bytes of a panel that stay in the first-level cache beside all else."""
_PUSHED = 0.125
"""Cycles that each row of a tile costs more where its rows push the panel out of the first level."""
SECOND_LEVEL = 1 << 19
"""Bytes of a panel that stay in the second-level cache beside all else."""
_FETCHED, _FAR, _TORN, _COPIED = 2.6, 0.25, 0.2, 1.5
"""Cycles in which a vector comes from there, that it takes more than one from the first level although other
work hides its coming, that one across two cache lines takes more, and that its copying takes."""
_STREAMED = 1 / 64
"""Cycles that a byte of the left operand takes, where all of it does not stay there."""
_STEP, _OPERAND = 0.6, 0.06
"""Cycles that an inner position takes beside its multiply-adds, and more for each row and each vector."""
OFTEN, _AGAIN = 64, 8
"""Rows that read a panel, so that copying it to whole cache lines is worth it; and blocks of rows, where the
right operand stays in the first-level cache as it lies."""
_PAGE, _WAYS = 4096, 12
"""Bytes after which addresses meet the same sets of the first-level cache again, and lines of a set."""
_LARGE = 1 << 22
"""A product of so many multiplications is worth two kinds of tiles."""
_REUSED = 4
"""An inner axis is cut in pieces if so many tiles read each of them."""
_BRIEF, _SHORT = 1 << 17, 0.001
"""A product of fewer cycles may take this much longer for each register that its tile has less: such tiles
compile faster."""
_APART = 0.02
"""Of a product's cycles, what another part of it takes: code of its own, and threads that wait for each other
before it begins."""


class Shape(NamedTuple):
    """Of a tile."""

    rows: int
    vectors: int
    depth: int
    """Inner positions that are taken at a time."""


def tile_shape(c: Contraction, machine: Machine) -> Shape:
    """The shape with which the product takes the fewest cycles."""
    lanes, found = machine.lanes(c.out.dtype.itemsize), list[tuple[float, int, int, int]]()
    sizes, across = _Sizes.of(c, lanes), -(-c.column.extent // lanes)
    written = c.row.extent * c.column.extent * c.out.dtype.itemsize
    widest = _NARROW if c.inner.extent <= SHALLOW and written > SECOND_LEVEL else _WIDEST
    fewest = inf
    for rows in range(min(_TALLEST, c.row.extent), 0, -1):
        for vectors in range(1, min(widest, across) + 1):
            if rows * vectors + min(rows, vectors) + 1 > machine.registers:
                break
            if _least_cycles(sizes, rows, vectors) > fewest * (1 + _SHORT * machine.registers):
                continue
            depth = _depth(sizes, rows, vectors * lanes)
            found.append((_cycles(sizes, rows, vectors, depth), rows, vectors, depth))
            fewest = min(fewest, found[-1][0])
    short = _SHORT if fewest < _BRIEF else 0.0
    return Shape(*min((cycles * (1 + short * r * v), r, v, depth) for cycles, r, v, depth in found)[1:])


def usual_shape(c: Contraction, machine: Machine) -> Shape:
    """That of most large products, not weighed: for what is seldom done."""
    lanes = machine.lanes(c.out.dtype.itemsize)
    rows, vectors = min(_USUAL[0], c.row.extent), min(_USUAL[1], -(-c.column.extent // lanes))
    return Shape(rows, vectors, _depth(_Sizes.of(c, lanes), rows, vectors * lanes))


def even_shape(c: Contraction, machine: Machine) -> Shape | None:
    """The largest that leaves neither rows nor columns apart, if there is one: not weighed, either."""
    lanes = machine.lanes(c.out.dtype.itemsize)
    across, rest = divmod(c.column.extent, lanes)
    shapes = [
        (rows * vectors, -rows - vectors, rows, vectors)
        for rows in range(1, _TALLEST + 1)
        for vectors in range(1, _USUAL[1] + 1)
        if rows * vectors + min(rows, vectors) < machine.registers
        if c.row.extent % rows == 0 and across % vectors == 0 and rest == 0
    ]
    if not shapes:
        return None
    *_, rows, vectors = max(shapes)
    return Shape(rows, vectors, _depth(_Sizes.of(c, lanes), rows, vectors * lanes))


@record(slots=True)
class _Sizes:
    """What shapes are weighed by, read once for all of them."""

    rows: int
    columns: int
    inner: int
    itemsize: int
    lanes: int
    exact: bool
    streamed: float
    """Cycles that an element of the left operand takes at least."""
    paged: bool
    """Whether rows of the left operand lie whole pages apart."""
    often: int
    """Blocks of rows from which on a panel is copied."""
    rows_apart: bool
    """Whether rows that fill no block are a part of their own."""
    columns_apart: bool
    """The same of columns that fill no panel."""
    shared: bool
    """Whether threads share it."""

    @staticmethod
    def of(c: Contraction, lanes: int) -> _Sizes:
        rows, inner, itemsize = c.row.extent, c.inner.extent, c.out.dtype.itemsize
        streamed = _STREAMED * itemsize if rows * inner * itemsize > SECOND_LEVEL else 0.0
        paged = (steps(c.left, c.row) or 1) * itemsize % _PAGE == 0
        exact, often = is_exact(c), _least_blocks(c)
        shared = rows * c.column.extent * inner >= PARALLEL_PRODUCTS and all(a.extent == 1 for a in c.batch)
        return _Sizes(
            rows, c.column.extent, inner, itemsize, lanes, exact, streamed, paged, often,
            not may_move_back(c, c.row), not may_move_back(c, c.column), shared,
        )  # fmt: skip


def _depth(s: _Sizes, rows: int, width: int) -> int:
    """The inner axis in equal pieces, if many tiles read a panel that does not fit the second-level
    cache."""
    most = max(32, SECOND_LEVEL // (min(width, s.columns) * s.itemsize))
    if s.inner <= most * 5 // 4 or s.rows < _REUSED * rows:
        return s.inner
    pieces = -(-s.inner // most)
    return -(-s.inner // (8 * pieces)) * 8


def _least_cycles(s: _Sizes, rows: int, vectors: int) -> float:
    """What whole panels take at least, soon told."""
    panels, blocks = s.columns // (vectors * s.lanes), -(-s.rows // rows)
    return blocks * panels * s.inner * (max(rows * vectors / 2, 4) + _STEP + _OPERAND * (rows + vectors))


def _cycles(s: _Sizes, rows: int, vectors: int, depth: int) -> float:
    """Roughly, at two multiply-adds and two loads a cycle, and less from the second-level cache. Of two
    threads one waits for the other's last block, if there is an odd one: on one thread that is nothing."""
    blocks, apart = -(-s.rows // rows), 1
    panels, rest = divmod(s.columns, vectors * s.lanes)
    total = panels * _cycles_of_tile(s, rows, vectors, depth, blocks) if panels else 0.0
    if rest:
        last = -(-rest // s.lanes) if panels and s.exact else vectors
        total += _cycles_of_tile(s, rows, last, depth, blocks)
        apart += panels > 0 and (s.columns_apart or last < vectors)
    if s.rows_apart and blocks > 1 and s.rows % rows:
        apart *= 2
    uneven = blocks % 2 / blocks / 2 if s.shared and blocks > 1 else 0.0
    return blocks * total * (1 + _APART * (apart - 1) + uneven)


def _cycles_of_tile(s: _Sizes, rows: int, vectors: int, depth: int, blocks: int) -> float:
    """Of a tile of so many vectors, whose panel so many blocks of rows read."""
    bound = max(rows * vectors / 2, (rows + vectors) / 2, 4)  # four: the latency of a multiply-add
    panel = min(vectors * s.lanes, s.columns) * depth * s.itemsize
    near = _FIRST_LEVEL * 5 // 4
    if blocks > 1 and panel > near:
        bound = max(bound, _FETCHED * vectors) + _FAR * vectors
    elif blocks > 1 and panel + rows * depth * s.itemsize > near:
        bound += _FAR * vectors + _PUSHED * rows
    bound += s.streamed * rows
    if rows > _WAYS and s.paged:
        bound *= 1.2
    bound += _STEP + _OPERAND * (rows + vectors)
    bound += vectors * (_COPIED / blocks if blocks >= s.often else _TORN)
    return s.inner * bound + -(-s.inner // depth) * (2 * rows * vectors + 16)


def is_reused(c: Contraction, rows: int) -> bool:
    """Do blocks of so many rows read a panel so often that copying it to whole cache lines is worth it?"""
    return -(-c.row.extent // rows) >= _least_blocks(c)


def _least_blocks(c: Contraction) -> int:
    """From how many blocks on they do; more than there are, if never."""
    if c.row.extent < OFTEN:
        return c.row.extent + 1
    near = c.inner.extent * c.column.extent * c.out.dtype.itemsize <= _FIRST_LEVEL
    return _AGAIN if near else 1


def is_exact(c: Contraction) -> bool:
    """Is the product so large that narrower tiles for its last columns are worth their code?"""
    return c.row.extent * c.column.extent * c.inner.extent >= _LARGE


# ---- the code ----------------------------------------------------------------------------------------------


class Fresh(NamedTuple):
    """Panels of the right operand that are copied where they are used, as deep as tiles take them in."""

    buffer: Buffer
    beside: Axis
    """Along those that are copied together, so that a block of rows is read once for all of them."""


@dataclass(frozen=True)
class Tile:
    """The code of a tile."""

    c: Contraction
    lanes: int
    depth: int
    left: Panels | None
    right: Panels | Fresh | None

    def blocks(
        self,
        rows: Pieces,
        columns: Pieces,
        within: Axis,
        block: Index,
        panel: Index,
        limit: tuple[Index, int] | None,
    ) -> tuple[Statement, ...]:
        """The blocks along the axis `within` of one panel, or of those copied together."""
        right = self.right
        if self.depth < self.c.inner.extent:
            code = self._piecewise(rows, columns, within, block, panel, limit)
        else:
            tile: tuple[Statement, ...] = (self.at_once(rows, columns, block, panel),)
            copies = self._fresh(columns, panel, Index())
            if isinstance(right, Fresh) and right.beside.extent > 1:
                end = (panel, columns.count) if columns.count % right.beside.extent else None
                copies, tile = (For(right.beside, copies, limit=end),), (For(right.beside, tile, limit=end),)
            code = (*copies, For(within, tile, limit=limit))
        return (Local(right.buffer, code),) if isinstance(right, Fresh) else code

    def _fresh(self, columns: Pieces, panel: Index, start: Index) -> tuple[Statement, ...]:
        """The copying of a fresh panel."""
        c = self.c
        if not isinstance(self.right, Fresh):
            return ()
        buffer, first = self.right.buffer, self._first(self.right, columns)
        return (
            pack_block(c, c.right, c.column, columns, panel, start, self.depth, buffer, first, self.lanes),
        )

    def _first(self, right: Fresh, columns: Pieces) -> Index:
        """Where a panel begins among those copied together."""
        return at(right.beside) * (self.depth * columns.size)

    def at_once(self, rows: Pieces, columns: Pieces, block: Index, panel: Index) -> Statement:
        """Zero the tile, accumulate over the whole inner axis, use it."""
        c = self.c
        tile, width = self._registers(rows, columns)
        k = Axis("k", c.inner.extent)

        def zero(i: Index, across: Index) -> tuple[Statement, ...]:
            return (Store(tile, i * width + across, Number(0, c.out.dtype)),)

        def use(i: Index, across: Index) -> tuple[Statement, ...]:
            return self._used(Load(tile, i * width + across), rows, columns, block, panel, i, across)

        add = self._add(tile, rows, columns, block, panel, Index(), at(k))
        if work(c.stores) <= LIGHT:
            last: Statement = self._each(rows, columns, use, self._edge(columns))
        else:
            apart = Buffer("apart", c.out.dtype, tile.size, Space.LOCAL)

            def copy(i: Index, across: Index) -> tuple[Statement, ...]:
                return (Store(apart, i * width + across, Load(tile, i * width + across)),)

            used = self._use_apart(apart, rows, columns, block, panel)
            last = Local(apart, (self._each(rows, columns, copy), used))
        return Local(tile, (self._each(rows, columns, zero), For(k, (add,)), last))

    def _piecewise(
        self,
        rows: Pieces,
        columns: Pieces,
        within: Axis,
        block: Index,
        panel: Index,
        limit: tuple[Index, int] | None,
    ) -> tuple[Statement, ...]:
        """All blocks for one piece of the inner axis, then for the next; sums wait in `partial`."""
        c, inner, depth = self.c, self.c.inner.extent, self.depth
        tile, width = self._registers(rows, columns)
        partial = Buffer("partial", c.out.dtype, within.extent * tile.size, Space.LOCAL)
        place = at(within) * tile.size
        piece, k = Axis("q", -(-inner // depth)), Axis("k", depth)

        def begin(i: Index, across: Index) -> tuple[Statement, ...]:
            return (Store(tile, i * width + across, Load(partial, place + i * width + across)),)

        def end(i: Index, across: Index) -> tuple[Statement, ...]:
            return (Store(partial, place + i * width + across, Load(tile, i * width + across)),)

        start = at(piece) * depth
        add = self._add(tile, rows, columns, block, panel, start, at(k))
        end_of_axis = (start + at(k), inner) if inner % depth else None
        one = (
            self._each(rows, columns, begin),
            For(k, (add,), limit=end_of_axis),
            self._each(rows, columns, end),
        )
        used = self._use_apart(partial, rows, columns, block, panel, place)
        z = Axis("z", partial.size)
        wide = 4 * self.lanes if partial.size % (4 * self.lanes) == 0 else self.lanes
        zero = For(z, (Store(partial, as_index(z), Number(0, c.out.dtype)),), Kind.VECTOR, None, wide)
        fresh = self._fresh(columns, panel, start)
        sums = For(piece, (*fresh, For(within, (Local(tile, one),), limit=limit)))
        return (Local(partial, (zero, sums, For(within, (used,), limit=limit))),)

    # ---- parts of both -------------------------------------------------------------------------------------

    def _registers(self, rows: Pieces, columns: Pieces) -> tuple[Buffer, int]:
        """The tile, and the elements of a row of it."""
        width = -(-columns.size // self.lanes) * self.lanes
        return Buffer("tile", self.c.out.dtype, rows.size * width, Space.LOCAL), width

    def _each(
        self,
        rows: Pieces,
        columns: Pieces,
        statements: Callable[[Index, Index], Sequence[Statement]],
        limit: int | None = None,
    ) -> For:
        """The statements for each row and each vector across, written out: all operands of the shorter side
        are held in registers, and of the longer one at a time."""
        lanes = self.lanes
        i, v, j = Axis("i", rows.size), Axis("v", -(-columns.size // lanes)), Axis("j", lanes)
        across = at(v) * lanes + as_index(j)
        end = (across, limit) if limit is not None else None
        vector = For(j, tuple(statements(at(i), across)), Kind.VECTOR, end, lanes)
        outer, inner = (i, v) if rows.size >= v.extent else (v, i)
        return For(outer, (For(inner, (vector,), Kind.UNROLL),), Kind.UNROLL)

    def _edge(self, columns: Pieces) -> int | None:
        """Where a row of the tile ends, if that is within a vector or beyond the product."""
        end = min(columns.size, columns.extent)
        return end if end % self.lanes or columns.beyond else None

    def _add(
        self, tile: Buffer, rows: Pieces, columns: Pieces, block: Index, panel: Index, start: Index, k: Index
    ) -> Statement:
        """The multiply-adds of inner position `start` + k."""
        c, width = self.c, tile.size // rows.size

        def add(i: Index, across: Index) -> tuple[Statement, ...]:
            row, column = rows.first(block) + i, columns.first(panel) + across
            moved = Rewriter(
                lambda index: index.substitute({c.row: row, c.column: column, c.inner: start + k})
            )
            left, right = moved.expression(c.left), moved.expression(c.right)
            match self.left:
                case Panels(buffer=buffer) as panels:
                    left = Load(buffer, panels.place(rows, block, start + k, i))
            match self.right:
                case Panels(buffer=buffer) as panels:
                    right = Load(buffer, panels.place(columns, panel, start + k, across))
                case Fresh(buffer=buffer) as fresh:
                    right = Load(buffer, self._first(fresh, columns) + k * columns.size + across)
                case None:
                    right = within(right, across, self._edge(columns))
            term = Call("mul", (left, right), c.out.dtype)
            return (Accumulate(tile, i * width + across, term, "add", 0, c.where),)

        return self._each(rows, columns, add)

    def _used(
        self,
        element: Load,
        rows: Pieces,
        columns: Pieces,
        block: Index,
        panel: Index,
        i: Index,
        across: Index,
    ) -> tuple[Statement, ...]:
        """What is done with one element."""
        values = {self.c.row: rows.first(block) + i, self.c.column: columns.first(panel) + across}
        return stores_of(self.c, element, lambda index: index.substitute(values))

    def _use_apart(
        self,
        apart: Buffer,
        rows: Pieces,
        columns: Pieces,
        block: Index,
        panel: Index,
        first: Index | None = None,
    ) -> Statement:
        """What is done with the elements, in loops over the tile, so that much code is there but once."""
        lanes = self.lanes
        vectors = -(-columns.size // lanes)
        i, v, j = Axis("i", rows.size), Axis("v", vectors), Axis("j", lanes)
        across, end = at(v) * lanes + as_index(j), min(columns.size, columns.extent)
        place = at(i) * (vectors * lanes) + across
        element = Load(apart, place if first is None else first + place)
        used = self._used(element, rows, columns, block, panel, at(i), across)
        limit = (across, end) if end < vectors * lanes else None
        return For(i, (For(v, (For(j, used, Kind.VECTOR, limit, lanes),)),))
