"""Convolutions whose vectors run along a line of the output.

A tile of `rows` × `lines` × `vectors` registers accumulates over channels and window elements: vectors of the
image, read in place at a shifted address, against single elements of the weight.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

from retrograd.compiler.ir.expressions import Buffer, Call, Load, Number, Space
from retrograd.compiler.ir.index import Axis, Index, as_index
from retrograd.compiler.ir.loops import Accumulate, For, Kind, Local, Statement, Store
from retrograd.compiler.ir.rewriting import Rewriter, stores_of
from retrograd.compiler.schedule.digits import Digits
from retrograd.compiler.schedule.machine import Machine
from retrograd.compiler.schedule.panels import Pieces, at
from retrograd.compiler.schedule.tasks import LIGHT, NEVER, cheapest, in_tasks, within, work, written_out

_TALLEST, _LINES, _WIDEST = 12, 4, 4
"""Rows, lines, and vectors of a line of a tile, at most."""
_UNROLLED = 5
"""An innermost loop of so few iterations is written out."""


def along_columns(d: Digits, machine: Machine, lanes: int, keeps_lines: bool = False) -> list[Statement]:
    """Loops over tiles. What is read for some lines is read for all rows, one after the other, if it is to be
    kept in the cache; else, what is read for the rows is read for all lines."""
    vector = d.columns[-1]
    row = d.rows[-1] if d.rows else None
    line = d.columns[-2] if len(d.columns) > 1 else None
    across = Axis("vectors", -(-vector.extent // lanes))

    def cycles(rows: int, lines: int, vectors: int) -> float:
        held = lines * vectors
        if rows * held + min(rows, held) + 1 > machine.registers:
            return NEVER
        return max(rows * held / 2, (2 * held + rows) / 2, 4) + 0.5 + 0.05 * held

    of_rows, *others = cheapest((row, line, across), (_TALLEST, _LINES, _WIDEST), cycles)
    found: list[Statement] = []
    for lines, vectors in product(*others):
        panel, group = Axis("p", vectors.count), Axis("g", lines.count)
        tiles = [_Tile(d, lanes, row, line, rows, lines, vectors, at(group), at(panel)) for rows in of_rows]
        units = [*d.batch, *d.rows[:-1], *d.columns[:-2], group, panel]
        if keeps_lines:
            units = [*d.batch, *d.columns[:-2], group, panel, *d.rows[:-1]]
        products = prod(a.extent for a in (*d.rows[-1:], *d.inner)) * lines.size * vectors.size * lanes
        found += in_tasks(units, products, [For(tile.block, (tile.statement(),)) for tile in tiles])
    return found


@dataclass(frozen=True)
class _Place:
    """Fresh axes of a tile: row, line, vector, lane."""

    axes: tuple[Axis, Axis, Axis, Axis]
    index: Index
    """Of the element in a buffer of the tile."""


class _Tile:
    """The code of a tile: rows × lines × vectors of a line."""

    def __init__(
        self,
        d: Digits,
        lanes: int,
        row: Axis | None,
        line: Axis | None,
        rows: Pieces,
        lines: Pieces,
        vectors: Pieces,
        group: Index,
        panel: Index,
    ) -> None:
        self.d, self.lanes = d, lanes
        self.block = Axis("r", rows.count)
        self._size = rows.size * lines.size * vectors.size * lanes
        self._extents = rows.size, lines.size, vectors.size
        self._row, self._line = row, line
        self._first = rows.first(at(self.block)), lines.first(group), vectors.first(panel) * lanes
        vector = d.columns[-1]
        self._end = vector.extent if vector.extent % lanes else None

    def statement(self) -> Statement:
        """Zero the tile, accumulate over the inner axes, use it."""
        c = self.d.c
        tile, place = Buffer("tile", c.out.dtype, self._size, Space.LOCAL), self._fresh()
        zero = self._each(place, Store(tile, place.index, Number(0, c.out.dtype)))
        summed = _over(self.d.inner, self._add(tile, place))
        if work(c.stores) <= LIGHT:
            values = self._values(place)
            used = stores_of(c, Load(tile, place.index), lambda index: index.substitute(values))
            return Local(tile, (zero, summed, self._each(place, *used, limit=self._limit(place))))
        apart = Buffer("apart", c.out.dtype, self._size, Space.LOCAL)
        copy = self._each(place, Store(apart, place.index, Load(tile, place.index)))
        return Local(tile, (zero, summed, Local(apart, (copy, self._used(apart)))))

    def _used(self, sums: Buffer) -> Statement:
        """What is done with the elements, in loops over the tile, so that much code is there but once."""
        place = self._fresh()
        values = self._values(place)
        element = Load(sums, place.index)
        body = stores_of(self.d.c, element, lambda index: index.substitute(values))
        *outer, lane = place.axes
        statement: Statement = For(lane, body, Kind.VECTOR, self._limit(place), self.lanes)
        for axis in reversed(outer):
            statement = For(axis, (statement,))
        return statement

    # ---- parts ----

    def _fresh(self) -> _Place:
        i, y, v = (Axis(name, extent) for name, extent in zip("iyv", self._extents, strict=True))
        j = Axis("j", self.lanes)
        place = ((at(i) * y.extent + at(y)) * v.extent + at(v)) * self.lanes + as_index(j)
        return _Place((i, y, v, j), place)

    def _across(self, place: _Place) -> Index:
        """Where in the line an element is."""
        _, _, v, j = place.axes
        return self._first[2] + at(v) * self.lanes + as_index(j)

    def _values(self, place: _Place) -> dict[Axis, Index]:
        found = {self.d.columns[-1]: self._across(place)}
        for axis, first, inside in zip((self._row, self._line), self._first[:2], place.axes[:2], strict=True):
            if axis is not None:
                found[axis] = first + at(inside)
        return found

    def _limit(self, place: _Place) -> tuple[Index, int] | None:
        return None if self._end is None else (self._across(place), self._end)

    def _each(self, place: _Place, *body: Statement, limit: tuple[Index, int] | None = None) -> Statement:
        i, y, v, j = place.axes
        nested = [i, y, v] if i.extent >= y.extent * v.extent else [y, v, i]
        return written_out(nested, For(j, body, Kind.VECTOR, limit, self.lanes))

    def _add(self, tile: Buffer, place: _Place) -> Statement:
        """The multiply-adds of one inner position."""
        c, values = self.d.c, self._values(place)
        moved = Rewriter(lambda index: index.substitute(values))
        left, right = moved.expression(c.left), moved.expression(c.right)
        term = Call("mul", (left, within(right, self._across(place), self._end)), c.out.dtype)
        return self._each(place, Accumulate(tile, place.index, term, "add", 0, c.where))


def _over(axes: Sequence[Axis], body: Statement) -> Statement:
    """A statement for every value of the inner axes; the innermost loop is written out if it is short."""
    for k, axis in enumerate(reversed(axes)):
        short = k == 0 and axis.extent <= _UNROLLED
        body = For(axis, (body,), Kind.UNROLL if short else Kind.SERIAL)
    return body
