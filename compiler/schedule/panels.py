"""How a side of a product is cut into blocks, and how an operand is copied so that each block lies together.

`cut` gives the blocks of an axis; `pack` gives the copying loops, and `Panels` where an element then is:
block after block, within a block one inner position after the other, the elements of the side next to each
other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from retrograd.compiler import dtypes
from retrograd.compiler.ir.index import Axis, Index, Loaded, as_index
from retrograd.compiler.ir.loops import (
    Buffer,
    Call,
    Contraction,
    Expression,
    For,
    Kind,
    Load,
    Number,
    Position,
    Rewriter,
    Space,
    Statement,
    Store,
    expressions,
    indices,
)

_TOGETHER = 64
"""Elements side by side that are copied together, if they belong to several blocks."""
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


def cut(c: Contraction, axis: Axis, size: int) -> list[Pieces]:
    """The axis in blocks of `size`; where the last may not be moved back, a smaller one covers the rest."""
    extent = axis.extent
    whole, rest = divmod(extent, size)
    if rest == 0 or whole == 0 or (_affine(c, axis) and not _may_update(c)):
        return [Pieces(0, -(-extent // size), size, extent)]
    return [Pieces(0, whole, size, extent), Pieces(whole * size, 1, rest, extent)]


def _affine(c: Contraction, axis: Axis) -> bool:
    """Is every place that the product touches an affine function of the axis?"""
    return all(i.stride(axis) is not None for i in places_of((c.left, c.right), c))


def _may_update(c: Contraction) -> bool:
    """Is an output computed from an input at the same place? It may be the same memory."""
    return any(
        isinstance(e, Load) and e.buffer.space is Space.INPUT and e.index == s.index
        for s in c.stores
        if s.buffer.space is Space.OUTPUT
        for e in expressions((s,))
    )


def places_of(operands: Sequence[Expression], c: Contraction) -> list[Index]:
    """Where these operands, and all that is done with the product, read and write."""
    values = [Store(c.out, c.place, value) for value in (*operands, *(s.value for s in c.stores))]
    return [i for e in expressions(values) for i in indices(e)] + [s.index for s in (*values, *c.stores)]


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

    def place(self, pieces: Pieces, block: Index, k: Index, j: Index) -> Index:
        """Where an element is: in a block of these pieces, at inner position k, the j-th of its side."""
        before = sum(p.count * p.size for p in self.pieces[: self.pieces.index(pieces)])
        return block * (pieces.size * self.inner) + before * self.inner + k * pieces.size + j


def pack(
    c: Contraction, operand: Expression, axis: Axis, pieces: Sequence[Pieces], lanes: int, space: Space
) -> tuple[Panels, list[Statement]]:
    """Loops that copy an operand of a product, whose side is `axis`, block by block."""
    size = sum(p.count * p.size for p in pieces) * c.inner.extent + lanes - 1  # the last vector is read whole
    panels = Panels(Buffer("panels", c.out.dtype, size, space), tuple(pieces), c.inner.extent)
    copies = [_copy(c, operand, axis, panels, p, lanes) for p in pieces]
    return panels, copies


def _copy(
    c: Contraction, operand: Expression, axis: Axis, panels: Panels, pieces: Pieces, lanes: int
) -> Statement:
    """One kind of block: narrow ones several at a time, so that what lies together is read together."""
    width, depth = min(pieces.size, pieces.extent), c.inner.extent
    turns = steps(operand, c.inner) == 1 and steps(operand, axis) not in (None, 0, 1)
    turns = turns and min(width, depth) >= lanes
    beside = 1 if turns else min(pieces.count, max(1, _TOGETHER // width))
    task, within = Axis("p", -(-pieces.count // beside)), Axis("n", beside)
    block = at(task) * beside + at(within)
    first = pieces.first(block)

    def store(k: Index, j: Index) -> Store:
        values = {c.inner: k, axis: first + j}
        value = Rewriter(lambda index: index.substitute(values)).expression(operand)
        return Store(panels.buffer, panels.place(pieces, block, k, j), value, c.where)

    body = _squares(store, width, depth, lanes) if turns else None
    if body is None:
        k, j = Axis("k", depth), Axis("j", width)
        step = steps(operand, axis)
        wide = min(4, -(-width // lanes)) * lanes if step == 1 else lanes
        apart = step is not None and step != 1  # element by element: as fast as gathering them, and less code
        row = For(
            j, (store(at(k), at(j)),), Kind.SERIAL if apart else Kind.VECTOR, None, 1 if apart else wide
        )
        limit = (block, pieces.count) if pieces.count % beside else None
        body = For(k, (For(within, (row,), limit=limit), *_padding(c, panels, pieces, at(k), lanes)))
    shared = task.extent > 1 and panels.buffer.size >= _PARALLEL_COPY and not c.batch
    return For(task, (body,), Kind.PARALLEL if shared else Kind.SERIAL)


def _padding(c: Contraction, panels: Panels, pieces: Pieces, k: Index, lanes: int) -> list[Statement]:
    """Zeros where a block is longer than the axis: tiles read them, and what lies in memory by chance may
    be slow numbers."""
    if not pieces.beyond:
        return []
    j = Axis("j", pieces.size - pieces.extent)
    place = panels.place(pieces, Index(), k, at(j) + pieces.extent)
    return [For(j, (Store(panels.buffer, place, Number(0, c.out.dtype)),), Kind.VECTOR, None, lanes)]


def _squares(store: Callable[[Index, Index], Store], width: int, depth: int, lanes: int) -> For:
    """A block copied in squares, which are turned in registers; the last ones are moved back to end with
    it."""
    rows, columns = Axis("k", -(-depth // lanes)), Axis("q", -(-width // lanes))
    i, j = Axis("i", lanes), Axis("j", lanes)
    k, q = at_most(at(rows) * lanes, depth - lanes), at_most(at(columns) * lanes, width - lanes)
    square = For(j, (store(k + as_index(i), q + as_index(j)),), Kind.VECTOR, None, lanes)
    return For(rows, (For(columns, (For(i, (square,), Kind.UNROLL),)),))
