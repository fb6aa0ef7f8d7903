"""How a side of a product is cut into blocks, and how an operand is copied so that each block lies together.

`cut` gives the blocks of an axis; `pack` gives the copying loops, and `Panels` where an element then is:
block after block, within a block one inner position after the other, the elements of the side next to each
other. `pack_block` copies one block, or a piece of it, into a buffer of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod

from retrograd.compiler import dtypes
from retrograd.compiler.ir.expressions import Buffer, Call, Expression, Load, Number, Position, Space
from retrograd.compiler.ir.index import Axis, Index, Loaded, as_index
from retrograd.compiler.ir.loops import Contraction, For, Kind, Statement, Store, expressions
from retrograd.compiler.ir.rewriting import Rewriter

_TOGETHER, _DEEP = 1024, 8
"""Elements side by side that are copied together, if they belong to several blocks, and inner positions
whose elements then are: so few stay in the first-level cache, however far apart."""
_PARALLEL_COPY = 1 << 16
"""Elements from which on threads share the copying."""


@dataclass(frozen=True)
class Pieces:
    """Blocks of one size, side by side; the last is moved back to end with the axis, if it must."""

    start: int
    count: int
    size: int
    extent: int
    """Of the whole axis."""

    @property
    def beyond(self) -> bool:
        """Is the one block longer than the axis?"""
        return self.size > self.extent

    def first(self, block: Index) -> Index:
        """Where a block begins."""
        return at_most(block * self.size + self.start, max(self.extent - self.size, 0))


def cut(c: Contraction, axis: Axis, size: int, exactly: bool = False) -> list[Pieces]:
    """The axis in blocks of `size`; where the last may not be moved back, or is not to, a smaller one covers
    the rest."""
    extent = axis.extent
    whole, rest = divmod(extent, size)
    if rest == 0 or whole == 0 or (may_move_back(c, axis) and not exactly):
        return [Pieces(0, -(-extent // size), size, extent)]
    return [Pieces(0, whole, size, extent), Pieces(whole * size, 1, rest, extent)]


def may_move_back(c: Contraction, axis: Axis) -> bool:
    """May the last block along an axis repeat what the one before it does, to end where the axis does?"""
    return _affine(c, axis) and not _may_update(c)


def _affine(c: Contraction, axis: Axis) -> bool:
    """Is every place that the product touches an affine function of the axis?"""
    return all(i.stride(axis) is not None for i in c.places)


def _may_update(c: Contraction) -> bool:
    """Is an output computed from an input at the same place? It may be the same memory."""
    return any(
        isinstance(e, Load) and e.buffer.space is Space.INPUT and e.index == s.index
        for s in c.stores
        if s.buffer.space is Space.OUTPUT
        for e in expressions((s,))
    )


def at(axis: Axis) -> Index:
    """An axis as an index; an axis of one element is 0."""
    return Index() if axis.extent == 1 else as_index(axis)


def at_most(index: Index, most: int) -> Index:
    """The index, or `most` where that is less."""
    if index.bounds()[1] <= most:
        return index
    least = Call("minimum", (Position(index, dtypes.int64), Number(most, dtypes.int64)), dtypes.int64)
    return as_index(Loaded(least, most + 1, index.axes()))


def steps(e: Expression, axis: Axis) -> int | None:
    """How far apart a load's elements lie along an axis; None for anything but a load."""
    return e.index.stride(axis) if isinstance(e, Load) and not e.bounds else None


@dataclass(frozen=True)
class Panels:
    """An operand, copied."""

    buffer: Buffer
    pieces: tuple[Pieces, ...]
    inner: int
    start: Index
    """Where the copy begins: each product of a batch has its own."""

    def place(self, pieces: Pieces, block: Index, k: Index, j: Index) -> Index:
        """Where an element is: in a block of these pieces, at inner position k, the j-th of its side."""
        before = sum(p.count * p.size for p in self.pieces[: self.pieces.index(pieces)])
        return self.start + block * (pieces.size * self.inner) + before * self.inner + k * pieces.size + j


def pack(
    c: Contraction,
    operand: Expression,
    axis: Axis,
    pieces: Sequence[Pieces],
    lanes: int,
    batch: Sequence[Axis] | None = None,
) -> tuple[Panels, list[Statement]]:
    """Loops that copy an operand of a product, whose side is `axis`, block by block: that of all products of
    the batch, or that of one into a buffer of its own where no batch is said."""
    one = sum(p.count * p.size for p in pieces) * c.inner.extent
    start = Index()
    for outer in batch or ():
        start = start * outer.extent + at(outer)
    size = one * prod(outer.extent for outer in batch or ()) + lanes - 1  # the last vector is read whole
    buffer = Buffer("panels", c.out.dtype, size, Space.LOCAL if batch is None else Space.ARENA)
    panels = Panels(buffer, tuple(pieces), c.inner.extent, start * one)
    return panels, [_copy(c, operand, axis, panels, p, lanes) for p in pieces]


def pack_block(
    c: Contraction,
    operand: Expression,
    axis: Axis,
    pieces: Pieces,
    block: Index,
    start: Index,
    depth: int,
    buffer: Buffer,
    first: Index,
    lanes: int,
) -> Statement:
    """Loops that copy so many inner positions of a block, from `start` on, to the buffer from `first` on."""

    def place(k: Index, j: Index) -> Index:
        return first + k * pieces.size + j

    store = _store(c, operand, axis, pieces.first(block), start, buffer, place)
    if is_turned(c, operand, axis, pieces, depth, lanes):
        return _squares(store, min(pieces.size, pieces.extent), depth, lanes)
    k = Axis("k", depth)
    limit = (start + at(k), c.inner.extent) if c.inner.extent % depth else None
    padding = _padding(c, buffer, place(at(k), Index()), pieces, lanes)
    return For(k, (_row(operand, axis, pieces, partial(store, at(k)), lanes), *padding), limit=limit)


def _copy(
    c: Contraction, operand: Expression, axis: Axis, panels: Panels, pieces: Pieces, lanes: int
) -> Statement:
    """One kind of block. Narrow ones are copied several at a time, so that what lies together is read
    together, and a few inner positions of each at a time."""
    width, depth, buffer = min(pieces.size, pieces.extent), c.inner.extent, panels.buffer
    turned = is_turned(c, operand, axis, pieces, depth, lanes)
    beside = 1 if turned else min(pieces.count, max(1, _TOGETHER // width))
    deep = depth if turned else min(depth, _DEEP)
    along = -(-depth // deep)
    task, within, one = Axis("p", -(-pieces.count // beside) * along), Axis("n", beside), Axis("k", deep)
    block, start = at(task) // along * beside + at(within), at(task) % along * deep

    def place(k: Index, j: Index) -> Index:
        return panels.place(pieces, block, start + k, j)

    store = _store(c, operand, axis, pieces.first(block), start, buffer, place)
    if turned:
        body = _squares(store, width, depth, lanes)
    else:
        row = _row(operand, axis, pieces, partial(store, at(one)), lanes)
        padding = _padding(c, buffer, place(at(one), Index()), pieces, lanes)
        end = (start + at(one), depth) if depth % deep else None
        limit = (block, pieces.count) if pieces.count % beside else None
        body = For(within, (For(one, (row, *padding), limit=end),), limit=limit)
    shared = task.extent > 1 and buffer.size >= _PARALLEL_COPY and not c.batch
    return For(task, (body,), Kind.PARALLEL if shared else Kind.SERIAL)


def is_turned(
    c: Contraction, operand: Expression, axis: Axis, pieces: Pieces, depth: int, lanes: int
) -> bool:
    """Are blocks so many inner positions deep copied in squares, because those positions lie side by side?"""
    along = steps(operand, c.inner) == 1 and steps(operand, axis) not in (None, 0, 1)
    return along and min(pieces.size, pieces.extent, depth) >= lanes


def _store(
    c: Contraction,
    operand: Expression,
    axis: Axis,
    first: Index,
    start: Index,
    buffer: Buffer,
    place: Callable[[Index, Index], Index],
) -> Callable[[Index, Index], Store]:
    """The copying of the element at inner position `start` + k, the j-th from `first` on."""

    def store(k: Index, j: Index) -> Store:
        values = {c.inner: start + k, axis: first + j}
        value = Rewriter(lambda index: index.substitute(values)).expression(operand)
        return Store(buffer, place(k, j), value, c.where)

    return store


def _row(operand: Expression, axis: Axis, pieces: Pieces, store: Callable[[Index], Store], lanes: int) -> For:
    """The elements of a block at one inner position."""
    j, step = Axis("j", min(pieces.size, pieces.extent)), steps(operand, axis)
    if step is not None and step != 1:  # element by element: as fast as gathering them, and less code
        return For(j, (store(at(j)),))
    wide = min(4, -(-j.extent // lanes)) * lanes if step == 1 else lanes
    return For(j, (store(at(j)),), Kind.VECTOR, None, wide)


def _padding(c: Contraction, buffer: Buffer, start: Index, pieces: Pieces, lanes: int) -> list[Statement]:
    """Zeros where a block is longer than the axis: tiles read them, and what lies in memory by chance may
    be slow numbers."""
    if not pieces.beyond:
        return []
    j = Axis("j", pieces.size - pieces.extent)
    zero = Store(buffer, start + pieces.extent + at(j), Number(0, c.out.dtype))
    return [For(j, (zero,), Kind.VECTOR, None, lanes)]


def _squares(store: Callable[[Index, Index], Store], width: int, depth: int, lanes: int) -> For:
    """A block copied in squares, which are turned in registers; the last ones are moved back to end with
    it."""
    rows, columns = Axis("k", -(-depth // lanes)), Axis("q", -(-width // lanes))
    i, j = Axis("i", lanes), Axis("j", lanes)
    k, q = at_most(at(rows) * lanes, depth - lanes), at_most(at(columns) * lanes, width - lanes)
    square = For(j, (store(k + as_index(i), q + as_index(j)),), Kind.VECTOR, None, lanes)
    return For(rows, (For(columns, (For(i, (square,), Kind.UNROLL),)),))
