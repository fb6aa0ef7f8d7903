"""Pointwise nests that follow each other, for a GPU: one launch, which reads what they have in common once.

    for i: t[i] = log1p(y[i])                    for i: v = log1p(y[i]); t[i] = v
    for i: u[i] = mul(sin(x[i]), t[i])     →            u[i] = mul(sin(x[i]), v)

What only the second nest reads of the first is not stored at all. They join if their axes have the same
extents, what is written by one and read by the other is at the same place in both, and a thread's registers
have room for both.
"""

from __future__ import annotations

from retrograd.compiler.ir.expressions import Buffer, Expression, Load, Space
from retrograd.compiler.ir.index import Axis, Index, Loaded, as_index
from retrograd.compiler.ir.loops import Store, expressions
from retrograd.compiler.ir.rewriting import Rewriter
from retrograd.compiler.schedule.gpu_pointwise import free_axes
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


def _at_the_same_places(nest: Nest, stored: dict[Buffer, Store], values: dict[Axis, Index]) -> bool:
    """Does the nest read what was stored only where its own iteration stored it?"""
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
