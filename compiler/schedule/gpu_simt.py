"""A block's product of two tiles by ordinary multiply-adds: each thread keeps a tile of results in registers.

    a block's tile of the result: 128 × 128, say, by 8 warps of 4 × 8 threads, which have 8 × 8 results each

A thread's columns are vectors of 16 bytes, each next to the adjoining threads' vectors: eight threads side
by side read 128 bytes of shared memory, all banks once, and their rows are one address. A warp as square as
it can be asks for the fewest words.

After V. Volkov and J. W. Demmel, "Benchmarking GPUs to Tune Dense Linear Algebra", 2008, and CUTLASS's
description of blocked products.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from retrograd.compiler.ir.expressions import Buffer, Call, Load, Number, Space
from retrograd.compiler.ir.index import Axis, Index, as_index
from retrograd.compiler.ir.loops import Accumulate, Contraction, For, Kind, Statement, Store
from retrograd.compiler.schedule.gpu_product import Operand, Product, Tile
from retrograd.compiler.schedule.threads import VECTOR_BYTES, WARP, at


@dataclass(frozen=True)
class SimtTile(Tile):
    """How a block's tile of the result is shared among threads."""

    own_rows: int
    own_columns: int
    """What each thread has of them."""

    @property
    def threads(self) -> int:
        return self.rows // self.own_rows * (self.columns // self.own_columns)


TILES = {
    4: (SimtTile(128, 128, 8, 8, 8), SimtTile(64, 64, 16, 4, 4), SimtTile(32, 32, 16, 2, 2)),
    8: (SimtTile(64, 64, 8, 4, 4), SimtTile(32, 32, 8, 2, 2)),
}
"""By the size of an element, the largest first."""
_WARP_ROWS, _WARP_COLUMNS = 4, 8
"""How the threads of a warp lie."""


class SimtProduct(Product):
    """The kernel of one choice of tiles."""

    def __init__(self, c: Contraction, tile: SimtTile, slices: int) -> None:
        left = Operand(c.left, c.row, c.inner, tile.rows, tile, "left", c.left.dtype, as_read=False)
        right = Operand(c.right, c.column, c.inner, tile.columns, tile, "right", c.right.dtype, as_read=False)
        super().__init__(c, tile, slices, left, right)
        self._tile = tile
        lanes = min(tile.own_columns, VECTOR_BYTES // c.out.dtype.itemsize)
        self._i, self._j, self._v = (Axis(n, k) for n, k in (
            ("i", tile.own_rows), ("j", tile.own_columns // lanes), ("v", lanes)))  # fmt: skip
        self._tile_of = Buffer("tile", c.out.dtype, tile.own_rows * tile.own_columns, Space.LOCAL)
        warp, lane = as_index(self._threads) // WARP, as_index(self._threads) % WARP
        beside = tile.columns // tile.own_columns // _WARP_COLUMNS
        self._y = warp // beside * _WARP_ROWS + lane // _WARP_COLUMNS
        self._x = warp % beside * _WARP_COLUMNS + lane % _WARP_COLUMNS

    @property
    def _results(self) -> Buffer:
        return self._tile_of

    def _cleared(self) -> Statement:
        return self._each([Store(self._tile_of, self._own, Number(0, self._c.out.dtype))])

    @property
    def _own(self) -> Index:
        """Where in the registers an element of the thread's tile is."""
        return (at(self._i) * self._j.extent + at(self._j)) * self._v.extent + at(self._v)

    @property
    def _row(self) -> Index:
        """The element's row in the block's tile."""
        down = self._tile.rows // self._tile.own_rows
        group = min(self._v.extent, self._tile.own_rows)
        i = at(self._i)
        return i // group * (down * group) + self._y * group + i % group

    @property
    def _column(self) -> Index:
        """The column of the element's vector in the block's tile."""
        across = self._tile.columns // self._tile.own_columns
        return at(self._j) * (across * self._v.extent) + self._x * self._v.extent

    def _each(self, body: Sequence[Statement]) -> Statement:
        """The statements for every element of the thread's tile."""
        return For(self._i, (For(self._j, self._across(self._v, body), Kind.UNROLL),), Kind.UNROLL)

    def _multiply(self, buffer: Index) -> list[Statement]:
        kk = Axis("kk", self._tile.depth)
        left = Load(self._left.shared, self._left.place(buffer, as_index(kk), self._row))
        right = Load(self._right.shared, self._right.place(buffer, as_index(kk), self._column + at(self._v)))
        value = Call("mul", (left, right), self._c.out.dtype)
        add = Accumulate(self._tile_of, self._own, value, "add", 0, self._c.where)
        return [For(kk, (self._each([add]),), Kind.UNROLL)]

    def _use(self) -> Statement:
        used = self._used(self._row, self._column, self._v, Load(self._tile_of, self._own))
        return For(self._i, (For(self._j, used, Kind.UNROLL),), Kind.UNROLL)
