"""Convolutions: products whose operands are read through windows, without writing all windows out.

`columns` form: vectors lie along the last axis of the columns (a line of the output). A tile of `rows` ×
`lines` × `vectors` registers accumulates over channels and window elements: vectors of the image, read in
place at a shifted address, against single elements of the weight.
`inner` form: vectors lie along the last inner axis (a line of the image; the gradient of a weight). A tile of
`rows` × window elements accumulates vectors, whose lanes are added up at the end.

In flow `Digits`, out flow loops, or None where lines are so short that a plain product is better. An operand
that does not lie side by side is copied first (`schedule.staging`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from math import prod

from retrograd.compiler.ir.index import Axis, Index, as_index
from retrograd.compiler.ir.loops import (
    Accumulate,
    Buffer,
    Call,
    Contraction,
    For,
    Kind,
    Load,
    Local,
    Number,
    Rewriter,
    Space,
    Statement,
    Store,
)
from retrograd.compiler.schedule.digits import Digits
from retrograd.compiler.schedule.machine import Machine
from retrograd.compiler.schedule.panels import Pieces, at
from retrograd.compiler.schedule.staging import is_ready, stage
from retrograd.compiler.schedule.tasks import LIGHT, in_tasks, within, work

_FILLED = 0.4
"""The share of a vector's lanes that a line must fill."""
_TALLEST, _LINES, _WIDEST = 12, 4, 4
"""Rows, lines, and vectors of a line of a tile, at most."""
_WINDOW = 12
"""Window elements of a tile at most."""
_UNROLLED = 5
"""An innermost loop of so few iterations is written out."""
_FIRST_LEVEL = 32 << 10
"""Bytes that stay in the first-level cache beside all else."""
_SECOND_LEVEL = 2.5
"""Cycles that a vector from the second-level cache takes."""
_PIECES = 0.03
"""A schedule may take this much longer for each kind of tile that it has less: it compiles faster."""


def arrange_windows(d: Digits, machine: Machine) -> tuple[Statement, ...] | None:
    """Loops for a product with windows."""
    lanes = machine.lanes(d.c.out.dtype.itemsize)
    forms: list[tuple[float, Callable[..., list[Statement]], Axis]] = []
    if d.columns and d.c.place.stride(d.columns[-1]) == 1:
        forms.append((_filled(d.columns[-1], lanes), _along_columns, d.columns[-1]))
    if d.inner:
        forms.append((_filled(d.inner[-1], lanes), _along_inner, d.inner[-1]))
    for filled, form, vector in sorted(forms, key=lambda each: -each[0]):
        if filled < _FILLED:
            return None
        operands: list[Load] = []
        before: list[Statement] = []
        for operand in (d.c.left, d.c.right):
            ready = operand if isinstance(operand, Load) and is_ready(operand, d.axes, vector) else None
            if ready is None:
                along = vector if form is _along_inner or operand is d.c.right else None
                staged = stage(d, operand, along or d.inner[-1], lanes) if d.inner else None
                if staged is None:
                    break
                ready = staged[0]
                before.append(staged[1])
            operands.append(ready)
        if len(operands) == 2:
            ready_c = replace(d.c, left=operands[0], right=operands[1])
            return (*before, *form(replace(d, c=ready_c), machine, lanes))
    return None


def _filled(axis: Axis, lanes: int) -> float:
    return axis.extent / (-(-axis.extent // lanes) * lanes)


def _pieces(axis: Axis | None, size: int) -> list[Pieces]:
    """An axis in blocks of one size, and what is left."""
    if axis is None:
        return [Pieces(0, 1, 1, 1)]
    whole, rest = divmod(axis.extent, size)
    found = [Pieces(0, whole, size, axis.extent)] if whole else []
    return [*found, *([Pieces(whole * size, 1, rest, axis.extent)] if rest else [])]


def _sizes(axis: Axis | None, most: int) -> range:
    return range(1, min(axis.extent if axis else 1, most) + 1)


def _cheapest(
    axes: Sequence[Axis | None], most: Sequence[int], cycles: Callable[..., float]
) -> tuple[list[Pieces], ...]:
    """The pieces of each axis such that all tiles together take the fewest cycles."""

    def cost(sizes: tuple[int, ...]) -> float:
        cuts = list(product(*(_pieces(axis, size) for axis, size in zip(axes, sizes, strict=True))))
        total = sum(prod(p.count for p in cut) * cycles(*(p.size for p in cut)) for cut in cuts)
        return total * (1 + _PIECES * len(cuts))

    shapes = product(*(_sizes(axis, limit) for axis, limit in zip(axes, most, strict=True)))
    best = min(shapes, key=cost)
    return tuple(_pieces(axis, size) for axis, size in zip(axes, best, strict=True))


_NEVER = 1e18


# ---- vectors along the columns -----------------------------------------------------------------------------


def _along_columns(d: Digits, machine: Machine, lanes: int) -> list[Statement]:
    vector = d.columns[-1]
    row = d.rows[-1] if d.rows else None
    line = d.columns[-2] if len(d.columns) > 1 else None
    across = Axis("vectors", -(-vector.extent // lanes))

    def cycles(rows: int, lines: int, vectors: int) -> float:
        held = lines * vectors
        if rows * held + min(rows, held) + 1 > machine.registers:
            return _NEVER
        return max(rows * held / 2, (2 * held + rows) / 2, 4) + 0.5 + 0.05 * held

    cuts = _cheapest((row, line, across), (_TALLEST, _LINES, _WIDEST), cycles)
    found: list[Statement] = []
    for lines, vectors in product(*cuts[1:]):
        panel, group = Axis("p", vectors.count), Axis("g", lines.count)
        body: list[Statement] = []
        for rows in cuts[0]:
            tile = _LineTile(d, lanes, row, line, rows, lines, vectors)
            block = Axis("r", rows.count)
            body.append(For(block, tile.statements(at(block), at(group), at(panel))))
        others = [*d.batch, *(d.rows[:-1]), *(d.columns[:-2])]
        products = prod(a.extent for a in (*d.rows[-1:], *d.inner)) * lines.size * vectors.size * lanes
        found += in_tasks([*others, group, panel], products, body)
    return found


@dataclass(frozen=True)
class _LineTile:
    """The code of a tile: rows × lines × vectors of a line."""

    d: Digits
    lanes: int
    row: Axis | None
    line: Axis | None
    rows: Pieces
    lines: Pieces
    vectors: Pieces

    def statements(self, block: Index, group: Index, panel: Index) -> tuple[Statement, ...]:
        """Zero the tile, accumulate over the inner axes, use it."""
        c, lanes = self.d.c, self.lanes
        i, y = Axis("i", self.rows.size), Axis("y", self.lines.size)
        v, j = Axis("v", self.vectors.size), Axis("j", lanes)
        size = self.rows.size * self.lines.size * self.vectors.size * lanes
        tile = Buffer("tile", c.out.dtype, size, Space.LOCAL)
        vector = self.d.columns[-1]
        end = vector.extent if vector.extent % lanes else None

        def place(i: Axis, y: Axis, v: Axis, j: Axis) -> Index:
            lines = at(i) * self.lines.size + at(y)
            return (lines * self.vectors.size + at(v)) * lanes + as_index(j)

        def values(i: Axis, y: Axis, v: Axis, j: Axis) -> tuple[dict[Axis, Index], Index]:
            across = self.vectors.first(panel) * lanes + at(v) * lanes + as_index(j)
            found = {vector: across}
            if self.row is not None:
                found[self.row] = self.rows.first(block) + at(i)
            if self.line is not None:
                found[self.line] = self.lines.first(group) + at(y)
            return found, across

        nested = [i, y, v] if i.extent >= y.extent * v.extent else [y, v, i]

        def each(statement: Statement, limit: tuple[Index, int] | None = None) -> Statement:
            return _written_out(nested, For(j, (statement,), Kind.VECTOR, limit, lanes))

        found, across = values(i, y, v, j)
        limit = (across, end) if end else None
        moved = Rewriter(lambda index: index.substitute(found))
        left, right = moved.expression(c.left), within(moved.expression(c.right), across, end)
        here = place(i, y, v, j)
        zero = each(Store(tile, here, Number(0, c.out.dtype)))
        term = Call("mul", (left, right), c.out.dtype)
        add = each(Accumulate(tile, here, term, "add", 0, c.where))
        summed = _over(self.d.inner, add)
        if work(c.stores) <= LIGHT:
            used = [each(s, limit) for s in c.used(Load(tile, here), lambda index: index.substitute(found))]
            return (Local(tile, (zero, summed, *used)),)
        apart = Buffer("apart", c.out.dtype, size, Space.LOCAL)
        copy = each(Store(apart, here, Load(tile, here)))
        i, y, v, j = Axis("i", i.extent), Axis("y", y.extent), Axis("v", v.extent), Axis("j", lanes)
        found, across = values(i, y, v, j)
        later = c.used(Load(apart, place(i, y, v, j)), lambda index: index.substitute(found))
        inner = For(j, later, Kind.VECTOR, (across, end) if end else None, lanes)
        return (Local(tile, (zero, summed, Local(apart, (copy, For(i, (For(y, (For(v, (inner,)),)),)))))),)


def _written_out(axes: Sequence[Axis], body: Statement) -> Statement:
    """A statement of a tile for each of its registers. The longer side of the tile comes first: of the
    shorter one all operands are held, and of the longer one at a time."""
    for axis in reversed(axes):
        body = For(axis, (body,), Kind.UNROLL)
    return body


def _over(axes: Sequence[Axis], body: Statement) -> Statement:
    """A statement for every value of the inner axes; the innermost loop is written out if it is short."""
    for k, axis in enumerate(reversed(axes)):
        short = k == 0 and axis.extent <= _UNROLLED
        body = For(axis, (body,), Kind.UNROLL if short else Kind.SERIAL)
    return body


# ---- vectors along the inner axis --------------------------------------------------------------------------


def _along_inner(d: Digits, machine: Machine, lanes: int) -> list[Statement]:
    row = d.rows[-1] if d.rows else None
    near = d.columns[-1] if d.columns else None
    far = d.columns[-2] if len(d.columns) > 1 else None

    depth = prod(axis.extent for axis in d.inner)

    def cycles(rows: int, further: int, nearer: int) -> float:
        window = further * nearer
        beyond = rows * depth * d.c.out.dtype.itemsize > _FIRST_LEVEL
        partial_ = near is not None and further > 1 and nearer < near.extent
        if partial_ or rows * window + min(rows, window) + 1 > machine.registers:
            return _NEVER
        fetched = (rows + 1) * _SECOND_LEVEL if beyond else 0
        return max(rows * window / 2, rows + window, fetched, 4) + 0.5

    cuts = _cheapest((row, far, near), (_TALLEST, _WINDOW, _WINDOW), cycles)
    found: list[Statement] = []
    for rows, further, nearer in product(*cuts):
        block, group, panel = Axis("r", rows.count), Axis("g", further.count), Axis("p", nearer.count)
        values = partial(
            _values, (row, far, near), (rows, further, nearer), (at(block), at(group), at(panel))
        )
        body = _window_tile(d, lanes, (rows.size, further.size, nearer.size), values)
        products = rows.size * further.size * nearer.size * prod(a.extent for a in d.inner)
        outer = [*d.batch, *d.rows[:-1], block, *d.columns[:-2], group, panel]
        found += in_tasks(outer, products, body)
    return found


def _values(
    axes: Sequence[Axis | None], pieces: Sequence[Pieces], blocks: Sequence[Index], within: Sequence[Axis]
) -> dict[Axis, Index]:
    """Where each axis is, at these places within a block."""
    found = {}
    for axis, piece, block, inside in zip(axes, pieces, blocks, within, strict=True):
        if axis is not None:
            found[axis] = piece.first(block) + at(inside)
    return found


def _window_tile(
    d: Digits, lanes: int, sizes: tuple[int, int, int], values: Callable[[Sequence[Axis]], dict[Axis, Index]]
) -> tuple[Statement, ...]:
    """The sums of one tile, a vector each, over lines of the inner axes; then their lanes joined."""
    c, line = d.c, d.inner[-1]
    sums = Buffer("sums", c.out.dtype, prod(sizes) * lanes, Space.LOCAL)
    inside = [Axis(name, size) for name, size in zip("igp", sizes, strict=True)]
    found = values(inside)

    row, *window = inside
    nested = [row, *window] if sizes[0] >= prod(sizes[1:]) else [*window, row]

    def each(statement: Statement, j: Axis, limit: tuple[Index, int] | None = None) -> Statement:
        return _written_out(nested, For(j, (statement,), Kind.VECTOR, limit, lanes))

    def add(first: Index, cut_off: bool) -> Statement:
        j = Axis("j", lanes)
        along = first + as_index(j)
        limit = (along, line.extent) if cut_off else None
        moved = Rewriter(lambda index: index.substitute({**found, line: along}))
        end = line.extent if cut_off else None
        operands = [within(moved.expression(e), along, end) for e in (c.left, c.right)]
        term = Call("mul", tuple(operands), c.out.dtype)
        return each(Accumulate(sums, _place(inside, lanes, j), term, "add", 0, c.where), j, limit)

    j = Axis("j", lanes)
    zero = each(Store(sums, _place(inside, lanes, j), Number(0, c.out.dtype)), j)
    whole, rest = divmod(line.extent, lanes)
    steps = Axis("k", whole)
    adding: list[Statement] = [For(steps, (add(at(steps) * lanes, False),))] if whole else []
    adding += [add(Index((), whole * lanes), True)] if rest else []
    summed: tuple[Statement, ...] = tuple(adding)
    for axis in reversed(d.inner[:-1]):
        summed = (For(axis, summed),)
    return (Local(sums, (zero, *summed, _lanes_joined(c, sums, sizes, lanes, inside, values))),)


def _place(inside: Sequence[Axis], lanes: int, j: Axis) -> Index:
    """Where a lane of a tile's sum is."""
    total = Index()
    for axis in inside:
        total = total * axis.extent + at(axis)
    return total * lanes + as_index(j)


def _lanes_joined(
    c: Contraction,
    sums: Buffer,
    sizes: tuple[int, int, int],
    lanes: int,
    inside: Sequence[Axis],
    values: Callable[[Sequence[Axis]], dict[Axis, Index]],
) -> Statement:
    """Each sum's lanes are added in loops, so that the code stays short, and the result is used."""
    apart = Buffer("apart", c.out.dtype, sums.size, Space.LOCAL)
    total = Buffer("total", c.out.dtype, 1, Space.LOCAL)
    j = Axis("j", lanes)
    here = _place(inside, lanes, j)
    copy = _written_out(inside, For(j, (Store(apart, here, Load(sums, here)),), Kind.VECTOR, None, lanes))
    again, lane = [Axis(axis.name, axis.extent) for axis in inside], Axis("j", lanes)
    found = values(again)
    add = Accumulate(total, Index(), Load(apart, _place(again, lanes, lane)), "add", 0, c.where)
    used = c.used(Load(total, Index()), lambda index: index.substitute(found))
    first = Store(total, Index(), Number(0, c.out.dtype))
    one: Statement = Local(total, (first, For(lane, (add,), Kind.VECTOR, None, lanes), *used))
    for axis in reversed(again):
        one = For(axis, (one,))
    return Local(apart, (copy, one))
