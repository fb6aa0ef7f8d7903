"""Convolutions whose vectors run along a line of the inner side: the gradient of a weight.

A tile of `rows` × window elements accumulates products of lines, a vector each, over all lines of all images;
the lanes are added up at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from math import prod

from retrograd.compiler.ir.expressions import Buffer, Call, Load, Number, Space
from retrograd.compiler.ir.index import Axis, Index, as_index
from retrograd.compiler.ir.loops import Accumulate, Contraction, For, Kind, Local, Statement, Store
from retrograd.compiler.ir.rewriting import Rewriter, stores_of
from retrograd.compiler.record import replace
from retrograd.compiler.schedule.digits import Digits
from retrograd.compiler.schedule.machine import Machine
from retrograd.compiler.schedule.panels import Pieces, at
from retrograd.compiler.schedule.tasks import NEVER, cheapest, in_tasks, within, written_out

_TALLEST, _WINDOW = 12, 12
"""Rows and window elements of a tile at most."""
_FIRST_LEVEL = 32 << 10
"""Bytes that stay in the first-level cache beside all else."""
_KEPT = 1 << 20
"""Bytes of channels that stay in the second-level cache."""
_SECOND_LEVEL = 2.5
"""Cycles that a vector from the second-level cache takes."""


def along_inner(d: Digits, machine: Machine, lanes: int) -> list[Statement]:
    row = d.rows[-1] if d.rows else None
    near = d.columns[-1] if d.columns else None
    far = d.columns[-2] if len(d.columns) > 1 else None
    depth = prod(axis.extent for axis in d.inner)

    def cycles(rows: int, further: int, nearer: int) -> float:
        window = further * nearer
        beyond = rows * depth * d.c.out.dtype.itemsize > _FIRST_LEVEL
        half = near is not None and further > 1 and nearer < near.extent
        if half or rows * window + min(rows, window) + 1 > machine.registers:
            return NEVER
        fetched = (rows + 1) * _SECOND_LEVEL if beyond else 0
        return max(rows * window / 2, rows + window, fetched, 4) + 0.5

    cuts = cheapest((row, far, near), (_TALLEST, _WINDOW, _WINDOW), cycles)
    kept, beside, places = _kept(d.columns[:-2], depth * d.c.out.dtype.itemsize)
    d = replace(d, c=d.substituted(places))
    found: list[Statement] = []
    for rows, further, nearer in product(*cuts):
        block, group, panel = Axis("r", rows.count), Axis("g", further.count), Axis("p", nearer.count)
        values = partial(
            _values, (row, far, near), (rows, further, nearer), (at(block), at(group), at(panel))
        )
        body = _window_tile(d, lanes, (rows.size, further.size, nearer.size), values)
        products = rows.size * further.size * nearer.size * prod(a.extent for a in d.inner)
        outer = [*d.batch, *kept, *d.rows[:-1], block, *beside, group, panel]
        found += in_tasks(outer, products, body)
    return found


def _kept(channels: Sequence[Axis], size: int) -> tuple[list[Axis], list[Axis], dict[Axis, Index]]:
    """The channels, of so many bytes each, in groups that stay in the second-level cache while all rows go
    by: the axes of groups and of channels within one, and where the channels are."""
    if not channels:
        return [], [], {}
    last = channels[-1]
    fitting = max(1, _KEPT // size)
    together = max(n for n in range(1, last.extent + 1) if last.extent % n == 0 and n <= fitting)
    group, one = Axis(last.name, last.extent // together), Axis(last.name, together)
    return [*channels[:-1], group], [one], {last: at(group) * together + at(one)}


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
        return written_out(nested, For(j, (statement,), Kind.VECTOR, limit, lanes))

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
    copy = written_out(inside, For(j, (Store(apart, here, Load(sums, here)),), Kind.VECTOR, None, lanes))
    again, lane = [Axis(axis.name, axis.extent) for axis in inside], Axis("j", lanes)
    found = values(again)
    add = Accumulate(total, Index(), Load(apart, _place(again, lanes, lane)), "add", 0, c.where)
    used = stores_of(c, Load(total, Index()), lambda index: index.substitute(found))
    first = Store(total, Index(), Number(0, c.out.dtype))
    one: Statement = Local(total, (first, For(lane, (add,), Kind.VECTOR, None, lanes), *used))
    for axis in reversed(again):
        one = For(axis, (one,))
    return Local(apart, (copy, one))
