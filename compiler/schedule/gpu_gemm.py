"""A matrix product for a GPU: tiles in shared memory, of which each thread keeps a smaller tile of results in
registers.

    a block's tile of the result: 128 × 128, say, by 256 threads of 8 × 8 results each
    for each step along the inner axis: load the next step's operands into registers; multiply this step's
    from shared memory; store the next step's there, in the other of two buffers; wait for each other, once

A thread's columns are vectors of 16 bytes, each next to the adjoining threads' vectors, so that shared
memory is read without conflicts. Where there are too few tiles to keep the GPU busy, the inner axis is cut
into slices, which a second launch adds.

After V. Volkov and J. W. Demmel, "Benchmarking GPUs to Tune Dense Linear Algebra", 2008, and CUTLASS's
description of blocked products.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from retrograd.compiler import dtypes
from retrograd.compiler.ir.index import Axis, Bound, Index, as_index, flatten
from retrograd.compiler.ir.loops import (
    Accumulate,
    Barrier,
    Buffer,
    Call,
    Contraction,
    Expression,
    For,
    Kernel,
    Kind,
    Load,
    Local,
    Number,
    Rewriter,
    Space,
    Statement,
    Store,
    Within,
    operands_first,
)
from retrograd.compiler.schedule.gpu_pointwise import pointwise
from retrograd.compiler.schedule.gpu_reduce import reduction
from retrograd.compiler.schedule.threads import (
    VECTOR_BYTES,
    Nest,
    Spread,
    at,
    extents,
    in_lanes,
    launch,
    power_of_two,
    size,
    weight,
    where,
)

_THINNEST = 8
"""A product with fewer rows or columns is so many sums."""
_BLOCKS = 128
"""So many blocks keep a large GPU busy."""
_SLICE = 256
"""Inner positions of a slice at least."""
_LIGHT = 16
"""What is done with each element joins the product up to this weight: its code stands there for every
register."""


@dataclass(frozen=True)
class Tile:
    """How a block's tile of the result is shared among threads."""

    rows: int
    columns: int
    depth: int
    """Inner positions of one step."""
    own_rows: int
    own_columns: int
    """What each thread has of them."""

    @property
    def threads(self) -> int:
        return self.rows // self.own_rows * (self.columns // self.own_columns)


TILES = {
    4: (Tile(128, 128, 8, 8, 8), Tile(64, 64, 16, 4, 4), Tile(32, 32, 16, 2, 2)),
    8: (Tile(64, 64, 8, 4, 4), Tile(32, 32, 8, 2, 2)),
}
"""By the size of an element, the largest first."""


def product(name: str, c: Contraction) -> list[Kernel] | None:
    """The launches of a product; None where it is better seen as sums."""
    if (
        not c.out.dtype.is_floating_point
        or min(c.row.extent, c.column.extent) < _THINNEST
        or not c.inner.extent
    ):
        return None
    tile, slices = _choose(c)
    if slices > 1:
        return _in_slices(name, c, tile, slices)
    apart = weight(c.stores) > _LIGHT
    first = replace(c, stores=(_plain(c),)) if apart else c
    kernels = [_Product(first, tile, 1).kernel(name)]
    return [*kernels, _epilogue(name, c)] if apart else kernels


def _choose(c: Contraction) -> tuple[Tile, int]:
    """The largest tile of which there are enough, sliced if need be."""
    shapes = TILES[8 if c.out.dtype.itemsize == 8 else 4]
    for tile in shapes:
        blocks = size(c.batch) * -(-c.row.extent // tile.rows) * -(-c.column.extent // tile.columns)
        slices = 1 if blocks >= _BLOCKS else max(1, min(2 * _BLOCKS // blocks, c.inner.extent // _SLICE))
        fits = tile.rows <= power_of_two(c.row.extent) and tile.columns <= power_of_two(c.column.extent)
        if tile is shapes[-1] or (fits and blocks * slices >= _BLOCKS):
            break
    return tile, slices


def _plain(c: Contraction) -> Store:
    return Store(c.out, c.place, Load(c.out, c.place), c.where)


def _result_axes(c: Contraction) -> tuple[Axis, ...]:
    return tuple(a for a in (*c.batch, c.row, c.column) if a.extent != 1)


def _epilogue(name: str, c: Contraction) -> Kernel:
    """What is done with each element, as a launch of its own."""
    return pointwise(f"{name}_use", Nest(_result_axes(c), c.stores))


def _in_slices(name: str, c: Contraction, tile: Tile, slices: int) -> list[Kernel]:
    axes = _result_axes(c)
    partial = Buffer(f"{c.out.name}_part", c.out.dtype, c.out.size * slices, Space.ARENA)
    flat, piece = flatten([as_index(a) for a in axes], extents(axes)), Axis("s", slices)
    part = replace(c, out=partial, place=flat, stores=(Store(partial, flat, Load(partial, flat), c.where),))
    value = Load(partial, as_index(piece) * c.out.size + flat)
    join = Nest((*axes, piece), (Accumulate(c.out, c.place, value, "add", 0, c.where),))
    kernels = [_Product(part, tile, slices).kernel(name), *reduction(f"{name}_join", join, {c.out})]
    (first, *others) = c.stores
    plain = not others and first.buffer is c.out and first.index == c.place and isinstance(first.value, Load)
    return kernels if plain else [*kernels, _epilogue(name, c)]


class _Operand:
    """One side's way from global memory to registers to shared memory."""

    def __init__(self, e: Expression, side: Axis, inner: Axis, width: int, tile: Tile, name: str) -> None:
        self.e, self.side, self.inner, self._width, self._tile = e, side, inner, width, tile
        self.along_inner = _steps(e, inner) and not _steps(e, side)
        axis, reach = (inner, tile.depth) if self.along_inner else (side, width)
        self.lanes = VECTOR_BYTES // e.dtype.itemsize if _steps(e, axis) else 1
        while axis.extent % self.lanes or reach % self.lanes:
            self.lanes //= 2
        self.vectors = width * tile.depth // self.lanes
        pad = VECTOR_BYTES // e.dtype.itemsize
        self.pitch = width + pad
        self.shared = Buffer(name, e.dtype, 2 * tile.depth * self.pitch, Space.SHARED)
        count = -(-self.vectors // tile.threads)
        self.registers = Buffer(f"next_{name}", e.dtype, count * self.lanes, Space.LOCAL)
        self._step, self._lane = Axis("e", count), Axis("v", self.lanes)

    def _at(self, thread: Index) -> tuple[Index, Index, Index, Index]:
        """Number, inner position and place on the side of a thread's vectors, and the vector's lane."""
        number, lane = at(self._step) * self._tile.threads + thread, at(self._lane)
        along = (self._tile.depth if self.along_inner else self._width) // self.lanes
        first, second = number % along * self.lanes, number // along
        return (number, first, second, lane) if self.along_inner else (number, second, first, lane)

    def clear(self) -> Statement:
        """Registers that hold numbers from the start."""
        lane = at(self._lane)
        zero = Store(self.registers, at(self._step) * self.lanes + lane, Number(0, self.e.dtype))
        return For(self._step, in_lanes(self._lane, [zero]), Kind.UNROLL)

    def load(self, values: dict[Axis, Index], start: Index, first: Index, thread: Index) -> Statement:
        """Global memory to registers: the tile at inner position `start` and place `first` on the side."""
        number, inner, side, lane = self._at(thread)
        inner, side = start + inner, first + side
        inner_lanes, side_lanes = (self.lanes, 1) if self.along_inner else (1, self.lanes)
        bounds = (
            Bound(inner // inner_lanes, 0, self.inner.extent // inner_lanes),
            Bound(side // side_lanes, 0, self.side.extent // side_lanes),
        )
        here = values | (
            {self.inner: inner + lane, self.side: side}
            if self.along_inner
            else {self.inner: inner, self.side: side + lane}
        )
        needed = tuple(b for b in bounds if b.index.bounds()[1] >= b.high)

        def bounded(e: Load) -> Load:
            own = tuple(replace(b, index=change.index(b.index)) for b in e.bounds)
            return Load(e.buffer, change.index(e.index), (*own, *needed))

        change = Rewriter(lambda index: index.substitute(here), bounded)
        value = change.expression(self.e)
        if bounds[0] in needed:
            inside = Within(bounds[:1], dtypes.bool_)
            value = Call("where", (inside, value, Number(0, self.e.dtype)), self.e.dtype)
        body = [Store(self.registers, at(self._step) * self.lanes + lane, value)]
        return self._each(number, body)

    def store(self, buffer: Index, thread: Index) -> Statement:
        """Registers to one of the two buffers."""
        number, inner, side, lane = self._at(thread)
        inner, side = (inner + lane, side) if self.along_inner else (inner, side + lane)
        value = Load(self.registers, at(self._step) * self.lanes + lane)
        return self._each(number, [Store(self.shared, self.place(buffer, inner, side), value)])

    def _each(self, number: Index, body: Sequence[Statement]) -> Statement:
        inside = where([Bound(number, 0, self.vectors)], in_lanes(self._lane, body))
        return For(self._step, inside, Kind.UNROLL)

    def place(self, buffer: Index, inner: Index, side: Index) -> Index:
        """Where an element is in shared memory."""
        return (buffer * self._tile.depth + inner) * self.pitch + side


def _steps(e: Expression, axis: Axis) -> bool:
    """Do all loads on which an expression rests lie side by side along the axis, or do not depend on it?"""
    strides = [x.index.stride(axis) for x in operands_first((e,), set()) if isinstance(x, Load)]
    bounded = any(
        b.index.stride(axis) != 0
        for x in operands_first((e,), set())
        if isinstance(x, Load)
        for b in x.bounds
    )
    return 1 in strides and all(s in (0, 1) for s in strides) and not bounded


class _Product:
    """The kernel of one choice of tiles."""

    def __init__(self, c: Contraction, tile: Tile, slices: int) -> None:
        self._c, self._tile, self._slices = c, tile, slices
        down, across = -(-c.row.extent // tile.rows), -(-c.column.extent // tile.columns)
        batch = tuple(a for a in c.batch if a.extent != 1)
        self._blocks, self._threads = Axis("g", slices * size(batch) * down * across), Axis("t", tile.threads)
        g = at(self._blocks)
        self._first_column, self._first_row = g % across * tile.columns, g // across % down * tile.rows
        self._batch = Spread(batch).values(g // (across * down) % size(batch))
        self._slice = g // (across * down * size(batch))
        self._left = _Operand(c.left, c.row, c.inner, tile.rows, tile, "left")
        self._right = _Operand(c.right, c.column, c.inner, tile.columns, tile, "right")
        self._steps = -(-c.inner.extent // (tile.depth * slices))
        lanes = min(tile.own_columns, VECTOR_BYTES // c.out.dtype.itemsize)
        self._i, self._j, self._v = (Axis(n, k) for n, k in (
            ("i", tile.own_rows), ("j", tile.own_columns // lanes), ("v", lanes)))  # fmt: skip
        self._tile_of = Buffer("tile", c.out.dtype, tile.own_rows * tile.own_columns, Space.LOCAL)

    def kernel(self, name: str) -> Kernel:
        k = Axis("k", self._steps)
        more = [Bound(at(k), 0, self._steps - 1)]
        body: tuple[Statement, ...] = (
            self._each([Store(self._tile_of, self._own, Number(0, self._c.out.dtype))]),
            *(o.clear() for o in (self._left, self._right)),
            *self._load(Index()),
            *self._store(Index()),
            Barrier(),
            For(k, (
                *where(more, self._load(at(k) + 1)),
                *self._multiply(at(k) % 2),
                *where(more, self._store((at(k) + 1) % 2)),
                Barrier(),
            )),
            self._use(),
        )  # fmt: skip
        for buffer in (self._tile_of, self._left.registers, self._right.registers):
            body = (Local(buffer, body),)
        return launch(name, self._blocks, self._threads, body, [self._left.shared, self._right.shared])

    def _load(self, step: Index) -> list[Statement]:
        start = (self._slice * self._steps + step) * self._tile.depth
        sides = ((self._left, self._first_row), (self._right, self._first_column))
        return [o.load(self._batch, start, first, as_index(self._threads)) for o, first in sides]

    def _store(self, buffer: Index) -> list[Statement]:
        return [o.store(buffer, as_index(self._threads)) for o in (self._left, self._right)]

    # ---- registers ----

    @property
    def _own(self) -> Index:
        """Where in the registers an element of the thread's tile is."""
        return (at(self._i) * self._j.extent + at(self._j)) * self._v.extent + at(self._v)

    @property
    def _row(self) -> Index:
        """The element's row in the block's tile."""
        down = self._tile.rows // self._tile.own_rows
        across = self._tile.columns // self._tile.own_columns
        group = min(self._v.extent, self._tile.own_rows)
        i = at(self._i)
        return i // group * (down * group) + as_index(self._threads) // across * group + i % group

    @property
    def _column(self) -> Index:
        """The column of the element's vector in the block's tile."""
        across = self._tile.columns // self._tile.own_columns
        x = as_index(self._threads) % across
        return at(self._j) * (across * self._v.extent) + x * self._v.extent

    @property
    def _in_vectors(self) -> bool:
        return self._c.column.extent % self._v.extent == 0

    def _each(self, body: Sequence[Statement]) -> Statement:
        """The statements for every element of the thread's tile."""
        return For(self._i, (For(self._j, self._across(body), Kind.UNROLL),), Kind.UNROLL)

    def _across(self, body: Sequence[Statement]) -> tuple[Statement, ...]:
        if self._in_vectors:
            return in_lanes(self._v, body)
        return (For(self._v, tuple(body), Kind.UNROLL),)

    def _multiply(self, buffer: Index) -> list[Statement]:
        kk = Axis("kk", self._tile.depth)
        left = Load(self._left.shared, self._left.place(buffer, as_index(kk), self._row))
        right = Load(self._right.shared, self._right.place(buffer, as_index(kk), self._column + at(self._v)))
        value = Call("mul", (left, right), self._c.out.dtype)
        add = Accumulate(self._tile_of, self._own, value, "add", 0, self._c.where)
        return [For(kk, (self._each([add]),), Kind.UNROLL)]

    def _use(self) -> Statement:
        """The tile's elements written, or what else is done with them."""
        c = self._c
        row, column = self._first_row + self._row, self._first_column + self._column
        values = self._batch | {c.row: row, c.column: column + at(self._v)}
        shift = self._slice * (c.out.size // self._slices) if self._slices > 1 else Index()
        stores = c.used(Load(self._tile_of, self._own), lambda index: index.substitute(values))
        stores = tuple(replace(s, index=s.index + shift) for s in stores if isinstance(s, Store))
        inside, lanes = Bound(row, 0, c.row.extent), self._v.extent
        if self._in_vectors:
            bounds = [inside, Bound(column // lanes, 0, c.column.extent // lanes)]
            inner = where(bounds, self._across(stores))
        else:
            bounds = [inside, Bound(column + at(self._v), 0, c.column.extent)]
            inner = self._across(where(bounds, stores))
        return For(self._i, (For(self._j, inner, Kind.UNROLL),), Kind.UNROLL)
