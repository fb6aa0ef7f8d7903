"""What all products on a GPU have in common: blocks share out the result, and operands come through shared
memory, in two buffers by turns.

    load the first step's operands into registers, store them in the first buffer, wait for each other
    for each step along the inner axis but the last: load the next step's operands into registers; multiply
    this step's from the one buffer; store the next step's in the other; wait for each other, once
    multiply the last step's

`Operand` is one side's way from global memory through registers into shared memory; `Product` is the kernel,
of which `gpu_simt` and `gpu_mma` say how a block multiplies two tiles, and which results each thread has.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from retrograd.compiler import dtypes
from retrograd.compiler.dtypes import DType
from retrograd.compiler.ir.expressions import (
    Buffer,
    Call,
    Convert,
    Expression,
    Load,
    Number,
    Space,
    Within,
)
from retrograd.compiler.ir.index import Axis, Bound, Index, as_index
from retrograd.compiler.ir.loops import Barrier, Contraction, For, Kernel, Kind, Local, Statement, Store
from retrograd.compiler.ir.rewriting import Rewriter, stores_of
from retrograd.compiler.record import replace
from retrograd.compiler.schedule.threads import VECTOR_BYTES, Spread, at, in_lanes, launch, size, where

_BANKS, _WORD = 32, 4
"""Of shared memory, and the bytes that each gives at once."""
_TOGETHER = 8
"""Lines between which there is no further padding."""


@dataclass(frozen=True)
class Tile:
    """A block's tile of the result, and how many threads compute it."""

    rows: int
    columns: int
    depth: int
    """Inner positions of one step."""

    @property
    def threads(self) -> int:
        """So many, in one dimension."""
        raise NotImplementedError


class Operand:
    """One side's way from global memory to registers to shared memory.

    In shared memory the elements of a side lie together, for each inner position; or (`as_read`) as they do
    in global memory. Lines are padded, and threads share them out, so that no two that write or read at once
    meet in a bank: 32 words of 32 bits side by side are in banks of their own.
    """

    def __init__(
        self,
        e: Expression,
        side: Axis,
        inner: Axis,
        width: int,
        tile: Tile,
        name: str,
        kept: DType,
        as_read: bool,
    ) -> None:
        self.e, self.side, self.inner, self._width, self._tile = e, side, inner, width, tile
        self.along_inner = _steps(e, inner) and not _steps(e, side)
        axis, reach = (inner, tile.depth) if self.along_inner else (side, width)
        self.lanes = VECTOR_BYTES // e.dtype.itemsize if _steps(e, axis) else 1
        share = width * tile.depth // tile.threads
        while axis.extent % self.lanes or reach % self.lanes or share % self.lanes:
            self.lanes //= 2
        self._turned = as_read and self.along_inner
        line, word = tile.depth if self._turned else width, 4 // min(kept.itemsize, 4)
        pad = VECTOR_BYTES // kept.itemsize
        if as_read and not self._turned and word == 1:
            pad *= 2  # tensor cores read four lines at once, eight words of each
        pitch = line + pad
        self.strides = (pitch, 1) if self._turned else (1, pitch)
        """How far apart neighbours along the side, and along the inner axis, are in shared memory."""
        written_across = self.along_inner and not as_read
        self._gap = _BANKS * self.lanes // tile.depth if written_across and tile.depth > _TOGETHER else 0
        """Further padding after every eight lines, where threads write across lines."""
        self._apart = as_read and line * kept.itemsize * 2 == _BANKS * _WORD
        """Are lines so short that two are written at once?"""
        self._size = (width if self._turned else tile.depth) * pitch + self._gap * (tile.depth // _TOGETHER)
        self.shared = Buffer(name, kept, 2 * self._size, Space.SHARED)
        self.registers = Buffer(f"next_{name}", e.dtype, share, Space.LOCAL)
        self._step, self._lane = Axis("e", share // self.lanes), Axis("v", self.lanes)

    def _at(self, thread: Index) -> tuple[Index, Index, Index]:
        """Inner position and place on the side of a thread's vectors, and the vector's lane."""
        number, lane = at(self._step) * self._tile.threads + thread, at(self._lane)
        along = (self._tile.depth if self.along_inner else self._width) // self.lanes
        first, second = number % along * self.lanes, number // along
        if self._apart:  # a line and the fourth after it
            second = second // 8 * 8 + second % 2 * 4 + second // 2 % 4
        return (first, second, lane) if self.along_inner else (second, first, lane)

    def load(self, values: dict[Axis, Index], start: Index, first: Index, thread: Index) -> Statement:
        """Global memory to registers: the tile at inner position `start` and place `first` on the side."""
        inner, side, lane = self._at(thread)
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
        return self._each(body)

    def store(self, buffer: Index, thread: Index) -> Statement:
        """Registers to one of the two buffers."""
        inner, side, lane = self._at(thread)
        place = self.place(buffer, inner, side) + lane * self.strides[1 if self.along_inner else 0]
        value: Expression = Load(self.registers, at(self._step) * self.lanes + lane)
        if self.shared.dtype is not self.e.dtype:
            value = Convert(value, self.shared.dtype)
        return self._each([Store(self.shared, place, value)])

    def _each(self, body: Sequence[Statement]) -> Statement:
        return For(self._step, in_lanes(self._lane, body), Kind.UNROLL)

    def place(self, buffer: Index, inner: Index, side: Index) -> Index:
        """Where an element is in shared memory."""
        place = buffer * self._size + side * self.strides[0] + inner * self.strides[1]
        return place + inner // _TOGETHER * self._gap if self._gap else place


def _steps(e: Expression, axis: Axis) -> bool:
    """Do all loads on which an expression rests lie side by side along the axis, or do not depend on it?"""
    strides = [x.index.stride(axis) for x in e.whole if isinstance(x, Load)]
    bounded = any(b.index.stride(axis) != 0 for x in e.whole if isinstance(x, Load) for b in x.bounds)
    return 1 in strides and all(s in (0, 1) for s in strides) and not bounded


class Product(ABC):
    """The kernel of a choice of tiles, `slices` of the inner axis apart."""

    def __init__(self, c: Contraction, tile: Tile, slices: int, left: Operand, right: Operand) -> None:
        self._c, self._slices, self._left, self._right = c, slices, left, right
        down, across = -(-c.row.extent // tile.rows), -(-c.column.extent // tile.columns)
        batch = tuple(a for a in c.batch if a.extent != 1)
        self._blocks, self._threads = Axis("g", slices * size(batch) * down * across), Axis("t", tile.threads)
        g = at(self._blocks)
        self._first_column, self._first_row = g % across * tile.columns, g // across % down * tile.rows
        self._batch = Spread(batch).values(g // (across * down) % size(batch))
        self._slice = g // (across * down * size(batch))
        self._depth = tile.depth
        self._steps = -(-c.inner.extent // (tile.depth * slices))

    @property
    @abstractmethod
    def _results(self) -> Buffer:
        """A thread's results, in registers."""

    @abstractmethod
    def _cleared(self) -> Statement:
        """The results set to zero."""

    @abstractmethod
    def _multiply(self, buffer: Index) -> list[Statement]:
        """The tiles in one of the two buffers multiplied, and added to the results."""

    @abstractmethod
    def _use(self) -> Statement:
        """The results written, or what else is done with them."""

    def kernel(self, name: str) -> Kernel:
        """The launch."""
        k, last = Axis("k", self._steps - 1), Index((), self._steps - 1)
        step = (
            *self._load(at(k) + 1),
            *self._multiply(at(k) % 2),
            *self._store((at(k) + 1) % 2),
            Barrier(),
        )
        body: tuple[Statement, ...] = (
            self._cleared(),
            *self._load(Index()),
            *self._store(Index()),
            Barrier(),
            *((For(k, step),) if k.extent else ()),
            *self._multiply(last % 2),
            self._use(),
        )
        for buffer in (self._results, self._left.registers, self._right.registers):
            body = (Local(buffer, body),)
        return launch(name, self._blocks, self._threads, body, [self._left.shared, self._right.shared])

    def _load(self, step: Index) -> list[Statement]:
        start = (self._slice * self._steps + step) * self._depth
        sides = ((self._left, self._first_row), (self._right, self._first_column))
        return [o.load(self._batch, start, first, as_index(self._threads)) for o, first in sides]

    def _store(self, buffer: Index) -> list[Statement]:
        return [o.store(buffer, as_index(self._threads)) for o in (self._left, self._right)]

    def _used(self, row: Index, column: Index, lane: Axis, element: Load) -> tuple[Statement, ...]:
        """What is done with the elements in a row of the block's tile, from a column on: a vector of them
        along `lane` where they come out even."""
        c, width = self._c, lane.extent
        row, column = self._first_row + row, self._first_column + column
        values = self._batch | {c.row: row, c.column: column + at(lane)}
        shift = self._slice * (c.out.size // self._slices) if self._slices > 1 else Index()
        stores = stores_of(c, element, lambda index: index.substitute(values))
        stores = tuple(replace(s, index=s.index + shift) for s in stores if isinstance(s, Store))
        inside = Bound(row, 0, c.row.extent)
        if c.column.extent % width == 0:
            bounds = [inside, Bound(column // width, 0, c.column.extent // width)]
            return where(bounds, in_lanes(lane, stores))
        bounds = [inside, Bound(column + at(lane), 0, c.column.extent)]
        return (For(lane, where(bounds, stores), Kind.UNROLL),)

    def _across(self, lane: Axis, body: Sequence[Statement]) -> tuple[Statement, ...]:
        """The statements for each of so many columns, as one vector where they come out even."""
        if self._c.column.extent % lane.extent == 0:
            return in_lanes(lane, body)
        return (For(lane, tuple(body), Kind.UNROLL),)
