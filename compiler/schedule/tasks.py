"""What the schedules of products have in common: tasks for threads, edges, the weight of an epilogue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod

from retrograd.compiler.ir.graph import OPS
from retrograd.compiler.ir.index import Axis, Bound, Index
from retrograd.compiler.ir.loops import (
    Call,
    Expression,
    For,
    Kind,
    Rewriter,
    Statement,
    expressions,
)
from retrograd.compiler.ops.row import Elementwise, Types
from retrograd.compiler.schedule.panels import at

PARALLEL_PRODUCTS = 1 << 19
"""A product is shared among threads from so many multiplications on."""
TASK_PRODUCTS = 1 << 18
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
