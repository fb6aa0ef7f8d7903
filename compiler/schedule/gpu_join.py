"""Nests that follow each other, for a GPU: one launch, which reads what they have in common once.

    for i: t[i] = log1p(y[i])                    for i: v = log1p(y[i]); t[i] = v
    for i: u[i] = mul(sin(x[i]), t[i])     →            u[i] = mul(sin(x[i]), v)

What only the second nest reads of the first is not stored at all. Pointwise nests join if their axes have the
same extents, what is written by one and read by the other is at the same place in both, and a thread's
registers have room for both. Values of rows and their sums join the stages of a kernel that keeps the same
rows to itself.
"""

from __future__ import annotations

from collections.abc import Mapping

from retrograd.compiler.ir.expressions import Buffer, Expression, Load, Space
from retrograd.compiler.ir.index import Axis, Index, Loaded, as_index
from retrograd.compiler.ir.loops import Accumulate, Store, expressions
from retrograd.compiler.ir.rewriting import Rewriter
from retrograd.compiler.schedule.gpu_pointwise import free_axes
from retrograd.compiler.schedule.gpu_reduce import kept_axes
from retrograd.compiler.schedule.gpu_rows import Rows
from retrograd.compiler.schedule.threads import Nest, extents, weight

_MOST_WEIGHT, _MOST_BUFFERS = 64, 12
"""What a thread computes for one element, and the buffers that it touches, at most."""


def together(first: Nest, second: Nest, elsewhere: set[Buffer]) -> Nest | None:
    """The two as one nest, if they can be. What is touched `elsewhere` is stored in any case."""
    if not (_is_pointwise(first) and _is_pointwise(second)) or extents(first.axes) != extents(second.axes):
        return None
    stored = {s.buffer: s for s in _stores(first)}
    values = dict(zip(second.axes, map(as_index, first.axes), strict=True))

    def forwarded(e: Load) -> Expression | None:
        return stored[e.buffer].value if e.buffer in stored else None

    if not _at_the_same_places(second, stored, values) or _written(second) & _touched(first):
        return None
    moved = Rewriter(lambda index: index.substitute(values), forwarded)
    needed = [s for s in _stores(first) if s.buffer.space is not Space.ARENA or s.buffer in elsewhere]
    body = (*needed, *moved.statements(second.body))
    joined = Nest(first.axes, body)
    return joined if weight(body) <= _MOST_WEIGHT and len(_touched(joined)) <= _MOST_BUFFERS else None


def first_of_rows(first: Nest, second: Rows) -> Rows | None:
    """What `second` reads of each of its rows as its first stage, if it can be: values of the rows, or sums
    of rows that it reads, too. Each is read by the row that it is of, and the rows do not write what it
    reads."""
    made = {s.buffer: s for s in first.body if isinstance(s, Store | Accumulate)}
    lead = first.axes[: len(second.axes)]
    if not second.axes or extents(lead) != extents(second.axes):
        return None
    values_of_rows = lead == first.axes and _is_pointwise(first)
    sums = all(isinstance(s, Accumulate) and kept_axes(s, first.axes) == lead for s in first.body)
    if not values_of_rows and not (sums and len(made) == len(first.body)):
        return None
    read, written = set[Buffer](), set[Buffer]()
    values = dict(zip(second.axes, map(as_index, lead), strict=True))
    for stage in second.stages:
        read |= _read(stage)
        written |= {s.buffer for s in stage.body if isinstance(s, Store | Accumulate)}
        if not _at_the_same_places(stage, made, values):
            return None
    if written & (_read(first) | set(made)) or not read & set(made):
        return None
    if sums and not read & _read(first):
        return None
    back = dict(zip(lead, map(as_index, second.axes), strict=True))
    body = tuple(Rewriter(lambda index: index.substitute(back)).statements(first.body))
    return Rows(second.axes, (Nest(first.axes[len(lead) :], body), *second.stages))


def _at_the_same_places(
    nest: Nest, stored: Mapping[Buffer, Store | Accumulate], values: dict[Axis, Index]
) -> bool:
    """Does the nest read what was stored only where its own iteration, or row, stored it?"""
    return all(
        not e.bounds and e.index.substitute(values) == stored[e.buffer].index
        for e in expressions(nest.body)
        if isinstance(e, Load) and e.buffer in stored
    )


def _is_pointwise(nest: Nest) -> bool:
    """Does each iteration store elements of its own, one for each buffer, and read nothing of these?"""
    stores = _stores(nest)
    return (
        bool(nest.axes)
        and len(stores) == len(nest.body) == len(_written(nest))
        and not _written(nest) & _read(nest)
        and not any(isinstance(atom, Loaded) for s in stores for atom, _ in s.index.terms)
        and free_axes(nest) == set(nest.axes)
    )


def _stores(nest: Nest) -> list[Store]:
    return [s for s in nest.body if isinstance(s, Store)]


def _written(nest: Nest) -> set[Buffer]:
    return {s.buffer for s in _stores(nest)}


def _read(nest: Nest) -> set[Buffer]:
    return {e.buffer for e in expressions(nest.body) if isinstance(e, Load)}


def _touched(nest: Nest) -> set[Buffer]:
    return _written(nest) | _read(nest)
