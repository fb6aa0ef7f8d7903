"""A product of a long inner axis and a small result, in pieces of that axis.

There are too few tiles for threads to share, and a piece of each operand stays in the cache while all tiles
read it. So the pieces are a batch of products (`pieces_of`), and what they add up is joined at the end
(`joined`). The pieces follow from the shape alone: the result is the same for every number of threads.
"""

from __future__ import annotations

from retrograd.compiler.ir.expressions import Buffer, Load, Space
from retrograd.compiler.ir.index import Axis, Index, as_index
from retrograd.compiler.ir.loops import Accumulate, Contraction, For, Kind, Statement, Store
from retrograd.compiler.ir.rewriting import Rewriter, stores_of
from retrograd.compiler.record import replace
from retrograd.compiler.schedule.panels import at
from retrograd.compiler.schedule.tasks import PARALLEL_SUMS

_PIECE, _FEWEST = 512, 4
"""Inner positions of a piece, and pieces that are worth joining."""
_RESULT = 1 << 14
"""Elements of a small result."""


def depth_of_piece(c: Contraction) -> int | None:
    """Inner positions of a piece, where it is better to cut that axis."""
    rows, columns = c.row.extent, c.column.extent
    alone = all(axis.extent == 1 for axis in c.batch)
    small = min(rows, columns) > 1 and rows * columns <= _RESULT
    return _PIECE if alone and small and c.inner.extent >= _FEWEST * _PIECE else None


def pieces_of(c: Contraction, depth: int) -> tuple[Buffer, list[Contraction]]:
    """The sums of all pieces, one after the other, and the products that write them: a batch of equal ones,
    and what is left."""
    whole, rest = divmod(c.inner.extent, depth)
    result = c.row.extent * c.column.extent
    sums = Buffer("sums", c.out.dtype, (whole + (rest > 0)) * result, Space.ARENA)
    piece = Axis("piece", whole)
    inner = Axis(c.inner.name, depth)
    products = [_product(c, sums, (piece,), as_index(piece), inner, as_index(piece) * depth)]
    if rest:
        last = Axis(c.inner.name, rest)
        products.append(_product(c, sums, (), Index((), whole), last, Index((), whole * depth)))
    return sums, products


def _product(
    c: Contraction, sums: Buffer, batch: tuple[Axis, ...], piece: Index, inner: Axis, first: Index
) -> Contraction:
    """The product of one piece, along an inner axis that begins there, stored as it is."""
    moved = Rewriter(lambda index: index.substitute({c.inner: first + at(inner)}))
    place = (piece * c.row.extent + at(c.row)) * c.column.extent + at(c.column)
    return replace(
        c,
        batch=batch,
        inner=inner,
        left=moved.expression(c.left),
        right=moved.expression(c.right),
        stores=(Store(sums, place, Load(c.out, c.place), c.where),),
    )


def joined(c: Contraction, sums: Buffer, lanes: int) -> Statement:
    """The sums of all pieces added to the first, and used."""
    rows, columns = c.row.extent, c.column.extent
    result, wide = rows * columns, min(4, -(-columns // lanes)) * lanes
    row, piece = Axis("i", rows), Axis("q", sums.size // result - 1)
    j, used = Axis("j", columns), Axis("j", columns)
    place = at(row) * columns + as_index(j)
    more = Load(sums, place + at(piece) * result + result)
    add = For(j, (Accumulate(sums, place, more, "add", 0, c.where),), Kind.VECTOR, None, wide)
    values = {c.row: at(row), c.column: as_index(used)}
    element = Load(sums, at(row) * columns + as_index(used))
    use = For(used, stores_of(c, element, lambda index: index.substitute(values)), Kind.VECTOR, None, wide)
    shared = sums.size >= PARALLEL_SUMS and rows > 1
    return For(row, (For(piece, (add,)), use), Kind.PARALLEL if shared else Kind.SERIAL)
