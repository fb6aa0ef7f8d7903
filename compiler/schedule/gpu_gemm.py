"""A matrix product for a GPU: whether it is one, on which units, in tiles of which size, in how many slices.

A block computes a tile of the result, by tensor cores where the GPU has them for the operands (`gpu_mma`),
else by ordinary multiply-adds (`gpu_simt`). Where there are too few tiles to keep the GPU busy, the inner
axis is cut into slices, which a second launch adds.
"""

from __future__ import annotations

from collections.abc import Sequence

from retrograd.compiler.dtypes import DType
from retrograd.compiler.errors import CompilerError
from retrograd.compiler.ir.expressions import Buffer, Call, Expression, Load, Space
from retrograd.compiler.ir.index import Axis, as_index, flatten
from retrograd.compiler.ir.loops import Accumulate, Contraction, Kernel, Store
from retrograd.compiler.ir.rewriting import stores_of
from retrograd.compiler.record import replace
from retrograd.compiler.schedule import gpu_mma, gpu_simt
from retrograd.compiler.schedule.gpu_mma import MmaProduct, MmaTile, Operands
from retrograd.compiler.schedule.gpu_pointwise import pointwise
from retrograd.compiler.schedule.gpu_product import Product, Tile
from retrograd.compiler.schedule.gpu_reduce import reduction
from retrograd.compiler.schedule.gpu_simt import SimtProduct, SimtTile
from retrograd.compiler.schedule.machine import Gpu
from retrograd.compiler.schedule.threads import Nest, extents, power_of_two, size, weight

_THINNEST = 8
"""A product with fewer rows or columns is so many sums."""
_BLOCKS = 128
"""So many blocks keep a large GPU busy."""
_SLICE = 256
"""Inner positions of a slice at least."""
_FEW_SLICES = 16
"""So many are added by one thread, which then does all else that is done with the element."""
_LIGHT = 16
"""What is done with each element joins the product up to this weight: its code stands there for every
register."""


def product(name: str, c: Contraction, gpu: Gpu) -> list[Kernel] | None:
    """The launches of a product; None where it is better seen as sums."""
    if (
        not c.out.dtype.is_floating_point
        or min(c.row.extent, c.column.extent) < _THINNEST
        or not c.inner.extent
    ):
        return None
    given = gpu_mma.operands(c, gpu)
    tile, slices = _choose(c, _shapes(c, given))
    if slices > 1:
        return _in_slices(name, c, given, tile, slices)
    apart = weight(c.stores) > _LIGHT
    first = replace(c, stores=(_plain(c),)) if apart else c
    kernels = [_product(first, given, tile, 1).kernel(name)]
    return [*kernels, _epilogue(name, c)] if apart else kernels


def _shapes(c: Contraction, given: Operands | None) -> Sequence[Tile]:
    """The tiles to choose from, the largest first."""
    if given is not None:
        return gpu_mma.TILES[given.kept.itemsize]
    return gpu_simt.TILES[8 if c.out.dtype.itemsize == 8 else 4]


def _product(c: Contraction, given: Operands | None, tile: Tile, slices: int) -> Product:
    match tile:
        case MmaTile() if given is not None:
            return MmaProduct(c, given, tile, slices)
        case SimtTile():
            return SimtProduct(c, tile, slices)
        case _:
            raise CompilerError(f"a product in tiles of {tile}", "no units compute it")


def _choose(c: Contraction, shapes: Sequence[Tile]) -> tuple[Tile, int]:
    """The largest tile of which there are enough, sliced if need be."""
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


def _in_slices(name: str, c: Contraction, given: Operands | None, tile: Tile, slices: int) -> list[Kernel]:
    axes = _result_axes(c)
    partial = Buffer(f"{c.out.name}_part", c.out.dtype, c.out.size * slices, Space.ARENA)
    flat, piece = flatten([as_index(a) for a in axes], extents(axes)), Axis("s", slices)
    part = replace(c, out=partial, place=flat, stores=(Store(partial, flat, Load(partial, flat), c.where),))
    first = _product(part, given, tile, slices).kernel(name)
    if slices <= _FEW_SLICES:
        values = [Load(partial, flat + k * c.out.size) for k in range(slices)]
        used = stores_of(c, _sum(values, c.out.dtype), lambda index: index)
        return [first, pointwise(f"{name}_join", Nest(axes, used))]
    value = Load(partial, as_index(piece) * c.out.size + flat)
    join = Nest((*axes, piece), (Accumulate(c.out, c.place, value, "add", 0, c.where),))
    kernels = [first, *reduction(f"{name}_join", join, {c.out})]
    (store, *others) = c.stores
    plain = not others and store.buffer is c.out and store.index == c.place and isinstance(store.value, Load)
    return kernels if plain else [*kernels, _epilogue(name, c)]


def _sum(values: Sequence[Expression], dtype: DType) -> Expression:
    """The values added, in a tree."""
    if len(values) == 1:
        return values[0]
    half = len(values) // 2
    return Call("add", (_sum(values[:half], dtype), _sum(values[half:], dtype)), dtype)
