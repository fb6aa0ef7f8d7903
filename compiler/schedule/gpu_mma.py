"""A block's product of two tiles by tensor cores: a warp keeps a tile of results in its threads' registers.

    a block's tile of the result: 128 × 128, say, by 8 warps of 64 × 32 results each

Operands are halves, or float32 of which 10 bits of fraction are read (where the user allows it); sums are
float32. Shared memory holds the operands as they lie in global memory, each run of 16 bytes in banks apart
from its neighbours', and `ldmatrix` turns what must be turned. Which thread holds what is told in
`ir.loops.Fragment`.

After CUTLASS's description of blocked products, and the PTX ISA's of `mma` and `ldmatrix`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from retrograd.compiler.dtypes import DType, float32, tfloat32
from retrograd.compiler.ir.expressions import Buffer, Convert, Expression, Load, Number, Space
from retrograd.compiler.ir.index import Axis, Index, as_index
from retrograd.compiler.ir.loops import Contraction, For, Fragment, Kind, Local, Mma, Statement, Store
from retrograd.compiler.schedule.gpu_product import Operand, Product, Tile
from retrograd.compiler.schedule.machine import Gpu
from retrograd.compiler.schedule.threads import WARP, at

Pieces = tuple[tuple[int, int], ...]
_ROWS, _COLUMNS = 16, 8
"""Of one product of a warp."""


@dataclass(frozen=True)
class MmaTile(Tile):
    """How a block's tile of the result is shared among warps."""

    down: int
    across: int
    """Warps below and beside each other."""

    @property
    def threads(self) -> int:
        return WARP * self.down * self.across


TILES = {
    2: (MmaTile(128, 128, 32, 2, 4), MmaTile(64, 64, 32, 2, 2), MmaTile(32, 32, 32, 2, 2)),
    4: (MmaTile(128, 128, 16, 2, 4), MmaTile(64, 64, 16, 2, 2), MmaTile(32, 32, 16, 2, 2)),
}
"""By the size of an operand's element, the largest first."""


@dataclass(frozen=True, eq=False)
class Operands:
    """What tensor cores multiply."""

    left: Expression
    right: Expression
    kept: DType
    """As what they are in shared memory."""
    depth: int
    """Inner positions of one product of a warp."""


def operands(c: Contraction, gpu: Gpu) -> Operands | None:
    """The operands of a product for this GPU's tensor cores; None where it has none for them."""
    left, right = c.left, c.right
    if isinstance(left, Convert) and isinstance(right, Convert):
        left, right = left.operand, right.operand
    kept = tfloat32 if left.dtype is float32 else left.dtype
    depth = gpu.depth(kept)
    if depth is None or c.out.dtype is not float32 or left.dtype is not right.dtype:
        return None
    return Operands(left, right, kept, depth) if min(c.row.extent, c.column.extent) >= _ROWS else None


class MmaProduct(Product):
    """The kernel of one choice of tiles."""

    def __init__(self, c: Contraction, given: Operands, tile: MmaTile, slices: int) -> None:
        left = Operand(given.left, c.row, c.inner, tile.rows, tile, "left", given.kept, as_read=True)
        right = Operand(given.right, c.column, c.inner, tile.columns, tile, "right", given.kept, as_read=True)
        super().__init__(c, tile, slices, left, right)
        self._given = given
        rows, columns = tile.rows // tile.down, tile.columns // tile.across
        warp = as_index(self._threads) // WARP
        self._warp_row, self._warp_column = warp // tile.across * rows, warp % tile.across * columns
        self._i, self._j = Axis("i", rows // _ROWS), Axis("j", columns // _COLUMNS)
        self._h, self._v = Axis("h", 2), Axis("v", 2)
        self._kk = Axis("kk", tile.depth // given.depth)
        self._tile_of = Buffer("tile", c.out.dtype, rows * columns // WARP, Space.LOCAL)
        self._fragments = tuple(
            Buffer(name, given.kept, side * given.depth // WARP, Space.LOCAL)
            for name, side in (("rows", rows), ("columns", columns))
        )

    @property
    def _results(self) -> Buffer:
        return self._tile_of

    @property
    def _first(self) -> Index:
        """Where in the registers a thread's results of one product of its warp begin."""
        return (at(self._i) * self._j.extent + at(self._j)) * 4

    @property
    def _own(self) -> Index:
        return self._first + at(self._h) * 2 + at(self._v)

    def _each(self, body: Sequence[Statement]) -> Statement:
        """The statements for every product of the warp."""
        return For(self._i, (For(self._j, tuple(body), Kind.UNROLL),), Kind.UNROLL)

    def _cleared(self) -> Statement:
        zero = Store(self._tile_of, self._own, Number(0, self._c.out.dtype))
        return self._each([For(self._h, self._across(self._v, [zero]), Kind.UNROLL)])

    def _multiply(self, buffer: Index) -> list[Statement]:
        depth = self._given.depth
        rows, columns = self._fragments
        left, right = _ROWS * depth // WARP, _COLUMNS * depth // WARP
        product = Mma(
            self._tile_of, self._first, rows, at(self._i) * left, columns, at(self._j) * right, depth,
            self._c.where,
        )  # fmt: skip
        i, j = Axis("i", self._i.extent), Axis("j", self._j.extent // 2)
        word = 4 // self._given.kept.itemsize
        inner = range(0, depth, 4 * word)
        body = (
            For(i, (self._fragment(
                self._left, rows, at(i) * left, buffer, self._warp_row + at(i) * _ROWS,
                tuple((8 * half, k) for k in inner for half in range(2)),
            ),), Kind.UNROLL),
            For(j, (self._fragment(
                self._right, columns, at(j) * (2 * right), buffer, self._warp_column + at(j) * (2 * _COLUMNS),
                tuple((8 * half, k) for half in range(2) for k in inner),
            ),), Kind.UNROLL),
            self._each([product]),
        )  # fmt: skip
        return [Local(rows, (Local(columns, (For(self._kk, body, Kind.UNROLL),)),))]

    def _fragment(
        self,
        o: Operand,
        into: Buffer,
        place: Index,
        buffer: Index,
        side: Index,
        pieces: Pieces,
    ) -> Fragment:
        index = o.place(buffer, at(self._kk) * self._given.depth, side)
        return Fragment(into, place, o.shared, index, o.strides, pieces)

    def _use(self) -> Statement:
        lane = as_index(self._threads) % WARP
        row = self._warp_row + at(self._i) * _ROWS + lane // 4 + at(self._h) * 8
        column = self._warp_column + at(self._j) * _COLUMNS + lane % 4 * 2
        used = self._used(row, column, self._v, Load(self._tile_of, self._own))
        return self._each([For(self._h, used, Kind.UNROLL)])
