"""Convolutions whose vectors run along channels of the result: the gradient of a weight, and what has narrow
images.

    out[o, c, u, v] = Σ g[n, o, p, q]·x[n, c, p + u, q + v]
    →   sums[k, c/16, o, u, v, c%16] = Σ g[n, o, p, q]·image[k, c/16, n, p + u, q + v, c%16], over n of k
        for each o: line[c, u, v] = sums[0, …] + sums[1, …] + …, use line

So it is a product as along the lines of an output (`schedule.lines`), of vectors and single elements. The
operand of the vectors is copied such that the channels of one lie side by side, and so many images (or, of
weights, input channels) are taken at a time as stay in the second-level cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import prod

from retrograd.compiler.ir.expressions import Buffer, Expression, Load, Space, axes_of
from retrograd.compiler.ir.index import Axis, Index, as_index, combined, flatten, unflatten
from retrograd.compiler.ir.loops import For, Kind, Local, Statement, Store
from retrograd.compiler.ir.rewriting import Rewriter, stores_of
from retrograd.compiler.record import replace
from retrograd.compiler.schedule.columns import tree
from retrograd.compiler.schedule.digits import Digits
from retrograd.compiler.schedule.lines import along_columns
from retrograd.compiler.schedule.machine import Machine
from retrograd.compiler.schedule.panels import at
from retrograd.compiler.schedule.tasks import in_tasks

_FEWEST = 4
"""Rows of a product that has tiles which multiply often enough for what they load."""
_KEPT = 1 << 20
"""Bytes of an operand that stay in the second-level cache."""
_MOST_PIECES = 16
_LONGEST = 1 << 14
"""Results that are put in order at a time."""
_MOVED = 4
"""Multiplications that take as long as to move an element."""
_WIDEST = 4
"""Vectors of a line that are used at once."""


@dataclass(frozen=True)
class Grouped(Digits):
    """A product whose channels are groups of a vector each, which is the last columns, and whose first inner
    axis is in pieces, which are the first of a batch."""

    group: Axis

    @property
    def order(self) -> tuple[Axis, ...]:
        outer = (*self.batch, *self.rows, self.group)
        return tuple(dict.fromkeys((*outer, *self.inner, *self.columns)))


def in_groups(d: Digits, lanes: int) -> Grouped | None:
    """The product with its first columns, the channels, in groups; None if vectors are not to be had so."""
    if not d.columns or not d.rows or len(d.inner) < 2 or d.rows[-1].extent < _FEWEST:
        return None
    (channel, *window), (images, *place) = d.columns, d.inner
    if channel.extent % lanes or channel in axes_of(d.c.left):
        return None
    count = _together(images.extent, lanes * d.c.out.dtype.itemsize * prod(axis.extent for axis in place))
    group, lane = Axis("group", channel.extent // lanes), Axis("lane", lanes)
    piece, image = Axis("piece", images.extent // count), Axis(images.name, count)
    c = d.substituted({channel: at(group) * lanes + as_index(lane), images: at(piece) * count + at(image)})
    batch, columns = (piece, *d.batch), (*window, lane)
    batch, columns = ((*batch, group), columns) if window else (batch, (group, *columns))
    return Grouped(c, batch, d.rows, columns, (image, *place), group)


def _together(extent: int, size: int) -> int:
    """How many images are taken at a time, of which one has so many bytes."""
    most = max([n for n in range(1, extent + 1) if extent % n == 0 and n * size <= _KEPT], default=extent)
    return most if extent // most <= _MOST_PIECES else extent


def along_channels(d: Digits, machine: Machine, lanes: int) -> list[Statement]:
    """Loops over tiles of a product `in_groups`, and what is done with its results."""
    assert isinstance(d, Grouped)
    c = d.c
    pieces, *batch = d.batch
    results = (*batch, *d.rows, *d.columns)
    place = flatten([at(axis) for axis in results], [axis.extent for axis in results])
    size = prod(axis.extent for axis in results)
    sums = Buffer("sums", c.out.dtype, pieces.extent * size, Space.ARENA)
    product = replace(c, stores=(Store(sums, at(pieces) * size + place, Load(c.out, c.place), c.where),))
    total = tree("add", [Load(sums, place + k * size) for k in range(pieces.extent)])
    tiles = along_columns(replace(d, c=product), machine, lanes, keeps_lines=True)
    return [*tiles, *_used(d, results, total, lanes)]


def _used(d: Grouped, results: Sequence[Axis], total: Expression, lanes: int) -> tuple[Statement, ...]:
    """What is done with the results: those of a line, or one for each lane, are put in order, and used."""
    c, lane, place = d.c, d.columns[-1], d.c.stores[0].index
    line = _line(results, place, lane)
    size, apart = prod(axis.extent for axis in line), 1 if lane in line else lanes
    again = {axis: Axis(axis.name, axis.extent) for axis in results}
    moved = {axis: at(other) for axis, other in again.items()}
    ordered = Buffer("line", c.out.dtype, size * apart, Space.LOCAL)
    steps = {lane: size} | {axis: place.stride(axis) or 0 for axis in line}
    here = combined([moved[axis] for axis in steps], list(steps.values()))
    element = Rewriter(partial(Index.substitute, values=moved)).expression(total)
    put: Statement = For(again[lane], (Store(ordered, here, element, c.where),), Kind.VECTOR, None, lanes)
    for axis in line:
        put = put if axis is lane else For(again[axis], (put,))
    one, j = Axis("n", apart), Axis("j", size)
    digits = unflatten(as_index(j), [axis.extent for axis in line])
    values = moved | {lane: at(one)} | dict(zip(line, digits, strict=True))
    read = Load(ordered, at(one) * size + as_index(j))
    used = stores_of(c, read, lambda index: index.substitute(values).joined())
    wide = min(_WIDEST, -(-size // lanes)) * lanes
    body = Local(ordered, (put, For(one, (For(j, used, Kind.VECTOR, None, wide),))))
    outer = [again[axis] for axis in results if axis not in steps]
    return in_tasks(outer, _MOVED * d.batch[0].extent * size * apart, [body])


def _line(results: Sequence[Axis], place: Index, lane: Axis) -> list[Axis]:
    """Axes along which results lie side by side, outer ones first: few enough of them, with all lanes."""
    line, size = list[Axis](), 1
    for axis in sorted(results, key=lambda axis: place.stride(axis) or 0):
        longer = [axis, *line]
        together = size * axis.extent * (1 if lane in longer else lane.extent)
        if axis.extent > 1 and place.stride(axis) == size and together <= _LONGEST:
            line, size = longer, size * axis.extent
    return line
