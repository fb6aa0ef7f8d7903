"""What the schedules of products have in common: tasks for threads, edges, the weight of an epilogue."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from math import prod

from retrograd.compiler.ir.expressions import Call, Expression
from retrograd.compiler.ir.graph import OPS
from retrograd.compiler.ir.index import Axis, Bound, Index
from retrograd.compiler.ir.loops import For, Kind, Statement, expressions
from retrograd.compiler.ir.rewriting import Rewriter
from retrograd.compiler.ops.row import Elementwise, Types
from retrograd.compiler.record import replace
from retrograd.compiler.schedule.panels import Pieces, at

PARALLEL_PRODUCTS = 1 << 19
"""A product is shared among threads from so many multiplications on."""
TASK_PRODUCTS = 1 << 18
BRIEF_BYTES = 1 << 20
"""The library shares a smaller one, too, among threads that are awake: one of so many multiplications, times
the bytes of an element."""
PARALLEL_SUMS = 1 << 16
"""Sums are shared among threads from so many elements on."""
FUNCTION, LIGHT = 20, 3
"""A function counts as so many instructions. What takes at most so many is repeated for each register of a
tile; what takes more is done in loops over the tile."""


def in_tasks(axes: Sequence[Axis], products: int, body: Sequence[Statement]) -> tuple[Statement, ...]:
    """The body for every value of the axes, which takes so many multiplications each time; several of them
    to a task if there is enough to do."""
    axes = [axis for axis in axes if axis.extent != 1]
    result = tuple(body)
    whole = prod(axis.extent for axis in axes)
    if not axes or products * whole < PARALLEL_PRODUCTS:
        for axis in reversed(axes):
            result = (For(axis, result),)
        return result
    size = max(1, min(whole, TASK_PRODUCTS // products))
    task, within = Axis("task", -(-whole // size)), Axis("n", size)
    flat = at(task) * size + at(within)
    values: dict[Axis, Index] = {}
    rest = flat
    for axis in reversed(axes[1:]):
        values[axis], rest = rest % axis.extent, rest // axis.extent
    values[axes[0]] = rest
    moved = Rewriter(lambda index: index.substitute(values)).statements(result)
    limit = (flat, whole) if whole % size else None
    return (For(task, (For(within, moved, limit=limit),), Kind.PARALLEL),)


def work(stores: Sequence[Statement]) -> int:
    """Roughly, the instructions of what is done with an element."""
    rows = [OPS[e.row] for e in expressions(stores) if isinstance(e, Call)]
    return sum(FUNCTION if isinstance(row, Elementwise) and row.types is Types.FLOAT else 1 for row in rows)


def within(e: Expression, place: Index, end: int | None) -> Expression:
    """The expression with nothing read where the place is not before an end."""
    if end is None:
        return e
    bound = Bound(place, 0, end)
    return Rewriter(load=lambda load: replace(load, bounds=(*load.bounds, bound))).expression(e)


# ---- tiles of several axes ---------------------------------------------------------------------------------

NEVER = 1e18
"""Cycles of a tile that does not fit."""
_PIECES = 0.03
"""A schedule may take this much longer for each kind of tile that it has less: it compiles faster."""


def pieces(axis: Axis | None, size: int) -> list[Pieces]:
    """An axis in blocks of one size, and what is left."""
    if axis is None:
        return [Pieces(0, 1, 1, 1)]
    whole, rest = divmod(axis.extent, size)
    found = [Pieces(0, whole, size, axis.extent)] if whole else []
    return [*found, *([Pieces(whole * size, 1, rest, axis.extent)] if rest else [])]


def _sizes(axis: Axis | None, most: int) -> range:
    return range(1, min(axis.extent if axis else 1, most) + 1)


def cheapest(
    axes: Sequence[Axis | None], most: Sequence[int], cycles: Callable[..., float]
) -> tuple[list[Pieces], ...]:
    """The pieces of each axis such that all tiles together take the fewest cycles."""

    def cost(sizes: tuple[int, ...]) -> float:
        cuts = list(product(*(pieces(axis, size) for axis, size in zip(axes, sizes, strict=True))))
        total = sum(prod(p.count for p in cut) * cycles(*(p.size for p in cut)) for cut in cuts)
        return total * (1 + _PIECES * len(cuts))

    shapes = product(*(_sizes(axis, limit) for axis, limit in zip(axes, most, strict=True)))
    best = min(shapes, key=cost)
    return tuple(pieces(axis, size) for axis, size in zip(axes, best, strict=True))


def written_out(axes: Sequence[Axis], body: Statement) -> Statement:
    """A statement of a tile for each of its registers. The longer side of the tile comes first: of the
    shorter one all operands are held, and of the longer one at a time."""
    for axis in reversed(axes):
        body = For(axis, (body,), Kind.UNROLL)
    return body
