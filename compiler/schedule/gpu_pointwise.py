"""Loops without sums, for a GPU: each thread computes a vector of elements, or a line of a loop that has an
order.

`pointwise` is for loops whose iterations are independent. Where an operand is read along another axis than
the result is written, square tiles pass through shared memory, so that both are side by side
(`_transposed`). `lines` keeps inner loops in order, as scans need. `scatter` is for writes at places that
were read: one thread makes all writes that may meet, in order, so that the result is always the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from retrograd.compiler.ir.expressions import Buffer, Expression, Load, Space
from retrograd.compiler.ir.index import Axis, Bound, Index, Loaded, as_index
from retrograd.compiler.ir.loops import Accumulate, Barrier, For, Kernel, Kind, Statement, Store, expressions
from retrograd.compiler.ir.rewriting import Rewriter
from retrograd.compiler.schedule.cpu import apart
from retrograd.compiler.schedule.threads import (
    ENOUGH,
    THREADS,
    WARP,
    Nest,
    Spread,
    at,
    in_lanes,
    lanes_along,
    launch,
    moved,
    size,
    wanted_lanes,
    where,
)

_LONG_ENOUGH = 16
"""Axes of so many elements are worth a transposition in tiles."""
_MOST_TILES = 4
"""So many operands of one kernel pass through shared memory."""
_MOST_RANGES = 256
"""A scatter reads its indices at most so often."""


def pointwise(name: str, nest: Nest) -> Kernel:
    """One vector of elements for each thread."""
    turned = _turned_loads(nest)
    if turned is not None:
        return _transposed(name, nest, *turned)
    if len(nest.axes) == 1:
        return _along_one_axis(name, nest)
    spread = Spread(nest.axes, lanes_along(nest.axes, nest.body))
    lane = Axis("v", spread.lanes)
    place, blocks, threads = _threads(spread.count)
    body = moved(spread.values(place, at(lane))).statements(nest.body)
    return launch(name, blocks, threads, where([Bound(place, 0, spread.count)], in_lanes(lane, body)))


def _along_one_axis(name: str, nest: Nest) -> Kernel:
    """Vectors, and what is left over by the thread after the last of them."""
    (axis,) = nest.axes
    lanes = wanted_lanes(nest.axes, nest.body)
    whole, rest = divmod(axis.extent, lanes)
    lane, left = Axis("v", lanes), Axis("v", rest)
    place, blocks, threads = _threads(whole + (rest > 0))
    vector = moved({axis: place * lanes + at(lane)}).statements(nest.body)
    body = where([Bound(place, 0, whole)], in_lanes(lane, vector))
    if rest:
        single = moved({axis: at(left) + whole * lanes}).statements(nest.body)
        body += where([Bound(place, whole, whole + 1)], [For(left, single, Kind.UNROLL)])
    return launch(name, blocks, threads, body)


def _threads(count: int) -> tuple[Index, Axis, Axis]:
    """The number of a thread, with the axes that it is made of, for so many threads and a few more."""
    threads = Axis("t", min(THREADS, -(-count // WARP) * WARP))
    blocks = Axis("g", -(-count // threads.extent))
    return at(blocks) * threads.extent + as_index(threads), blocks, threads


# ---- transposition -----------------------------------------------------------------------------------------


def _turned_loads(nest: Nest) -> tuple[Axis, list[Load]] | None:
    """The axis along which some operands lie, if that is not the one along which the results lie, and those
    operands."""
    last = nest.axes[-1] if nest.axes else None
    if last is None or last.extent < _LONG_ENOUGH:
        return None
    if not all(isinstance(s, Store) and s.index.stride(last) == 1 for s in nest.body):
        return None
    found: Counter[Axis] = Counter()
    loads = [
        e for e in expressions(nest.body) if isinstance(e, Load) and e.index.stride(last) not in (None, 0, 1)
    ]
    for axis in nest.axes[:-1]:
        found[axis] = sum(e.index.stride(axis) == 1 for e in loads) if axis.extent >= _LONG_ENOUGH else 0
    if not found or found.most_common(1)[0][1] == 0:
        return None
    across = found.most_common(1)[0][0]
    return across, [e for e in loads if e.index.stride(across) == 1][:_MOST_TILES]


def _transposed(name: str, nest: Nest, across: Axis, loads: Sequence[Load]) -> Kernel:
    """Tiles of 32 × 32: read along `across`, written along the last axis, a column of padding between the
    two."""
    last, others = nest.axes[-1], tuple(a for a in nest.axes[:-1] if a is not across)
    rows = THREADS // WARP
    high, wide = (-(-axis.extent // WARP) for axis in (across, last))
    blocks, threads, step = Axis("g", size(others) * high * wide), Axis("t", THREADS), Axis("r", WARP // rows)
    x, y = as_index(threads) % WARP, as_index(threads) // WARP + as_index(step) * rows
    corner = {across: at(blocks) // wide % high * WARP, last: at(blocks) % wide * WARP}
    elsewhere = Spread(others).values(at(blocks) // (high * wide))
    tiles = {e: Buffer("tile", e.dtype, WARP * (WARP + 1), Space.SHARED) for e in loads}
    reading = elsewhere | {across: corner[across] + x, last: corner[last] + y}
    writing = elsewhere | {across: corner[across] + y, last: corner[last] + x}

    def inside(values: dict[Axis, Index]) -> list[Bound]:
        return [Bound(values[axis], 0, axis.extent) for axis in (across, last)]

    read = moved(reading)
    fill = [Store(tile, y * (WARP + 1) + x, read.expression(e)) for e, tile in tiles.items()]

    def from_tile(e: Load) -> Expression | None:
        return Load(tiles[e], x * (WARP + 1) + y) if e in tiles else None

    body = Rewriter(lambda index: index.substitute(writing), from_tile).statements(nest.body)
    return launch(name, blocks, threads, [
        For(step, where(inside(reading), fill), Kind.UNROLL),
        Barrier(),
        For(step, where(inside(writing), body), Kind.UNROLL),
    ], [*tiles.values()])  # fmt: skip


# ---- lines and scatters ------------------------------------------------------------------------------------


def lines(name: str, axes: Sequence[Axis], body: Sequence[Statement]) -> Kernel:
    """One thread for each place along the axes; the body as it is."""
    place, blocks, threads = _threads(size(axes))
    inner = moved(Spread(tuple(axes)).values(place)).statements(body)
    return launch(name, blocks, threads, where([Bound(place, 0, size(axes))], inner))


def scatter(name: str, nest: Nest) -> Kernel:
    """Threads for places that never meet; where rows are written at positions that were read, each for a
    range of rows."""
    free = free_axes(nest)
    kept = tuple(a for a in nest.axes if a in free)
    serial = [a for a in nest.axes if a not in free]
    row = _row(nest.body)
    ranges = 1 if row is None or not serial else min(row.extent, _MOST_RANGES, max(1, ENOUGH // size(kept)))
    place, blocks, threads = _threads(size(kept) * ranges)
    change = moved(Spread(kept).values(place % size(kept)))
    body = change.statements(nest.body)
    if row is not None and ranges > 1:
        rows = -(-row.extent // ranges)
        here = change.index(as_index(row)) - place // size(kept) * rows
        body = where([Bound(here, 0, rows)], body)
    for axis in reversed(serial):
        body = (For(axis, tuple(body)),)
    return launch(name, blocks, threads, where([Bound(place, 0, size(kept) * ranges)], body))


def _row(body: Sequence[Statement]) -> Loaded | None:
    """The one position read at run time at which everything is written."""
    found = {
        atom
        for s in body
        if isinstance(s, Store | Accumulate)
        for atom, _ in s.index.terms
        if isinstance(atom, Loaded)
    }
    return found.pop() if len(found) == 1 else None


def free_axes(nest: Nest) -> set[Axis]:
    """The axes whose iterations never touch the same place, unless the rest of the place agrees."""
    free = set(nest.axes)
    touched: dict[Buffer, list[Index]] = {}
    for s in nest.body:
        if isinstance(s, Store | Accumulate):
            free &= _told_apart(s.index)
            touched.setdefault(s.buffer, []).append(s.index)
    for e in expressions(nest.body):
        if isinstance(e, Load) and e.buffer in touched:
            touched[e.buffer].append(e.index)
    return {a for a in free if all(apart(a, p[0], q) for p in touched.values() for q in p[1:])}


def _told_apart(index: Index) -> set[Axis]:
    """The axes that can be read off a place: each term steps over all that smaller terms can add up to."""
    span = 0
    for atom, coefficient in sorted(index.terms, key=lambda term: abs(term[1])):
        if not isinstance(atom, Axis | Loaded) or abs(coefficient) <= span:
            return set()
        span += abs(coefficient) * (atom.extent - 1)
    return {atom for atom, _ in index.terms if isinstance(atom, Axis)}
