"""Stores that fill the places between each other become one run of memory.

    for j in 16 vector: t[2*j] = a;  t[2*j + 1] = b   →   two whole vectors of t, in which a and b take turns

Each alone would touch memory lane by lane. In flow a body and its vector axis, and the vectors that were
stored; out flows which stores are braided, and the vectors in the order of memory.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence

from retrograd.compiler.backends.lanes import chosen
from retrograd.compiler.backends.masks import constant_mask, known
from retrograd.compiler.backends.vector import Value
from retrograd.compiler.ir.expressions import Load
from retrograd.compiler.ir.index import Axis
from retrograd.compiler.ir.loops import Accumulate, Statement, Store, expressions, walk

_STRANDS = (2, 4, 8, 16)
"""How many vectors are braided: every shuffle takes two."""


def braids(body: Sequence[Statement], axis: Axis) -> dict[int, tuple[Store, ...]]:
    """The stores of a body that together fill runs: by the identity of each, all of its run in the order of
    places. A buffer that the body also reads, or writes in another way, is written when it says so."""
    found: dict[Hashable, list[Store]] = defaultdict(list)
    for s in body:
        if isinstance(s, Store) and s.index.stride(axis) in _STRANDS:
            found[s.buffer, s.index.terms].append(s)
    whole = [_in_runs(stores, axis) for stores in found.values() if len(stores) > 1]
    runs = [run for each in whole for run in each]
    if not runs:
        return {}
    found_in = {id(s): run for run in runs for s in run}
    other = {e.buffer for e in expressions(body) if isinstance(e, Load)}
    other |= {s.buffer for s in walk(body) if isinstance(s, Store | Accumulate) and id(s) not in found_in}
    return {key: run for key, run in found_in.items() if run[0].buffer not in other}


def _in_runs(stores: Sequence[Store], axis: Axis) -> list[tuple[Store, ...]]:
    """The stores in groups, each of which fills all places; none if some are left over."""
    count = stores[0].index.stride(axis)
    assert count is not None
    ordered = sorted(stores, key=lambda s: s.index.offset)
    groups = [tuple(ordered[k : k + count]) for k in range(0, len(ordered), count)]
    fills = all(
        [s.index.offset - group[0].index.offset for s in group] == list(range(count)) for group in groups
    )
    return groups if fills else []


def braided(strands: Sequence[Value]) -> list[Value]:
    """As many vectors as there are strands, a power of two: the first lane of each strand, then the second of
    each, …"""
    if len(strands) == 1:
        return list(strands)
    found: list[Value] = []
    for even, odd in zip(braided(strands[::2]), braided(strands[1::2]), strict=True):
        lanes = even.lanes
        turns = [k for pair in zip(range(lanes), range(lanes, 2 * lanes), strict=True) for k in pair]
        found += [chosen(even, odd, turns[:lanes]), chosen(even, odd, turns[lanes:])]
    return found


def repeated(mask: Value, count: int) -> list[Value]:
    """The mask of as many braided vectors, each of which is stored in these lanes."""
    on = known(mask)
    if on is None:
        return braided([mask] * count)
    lanes = [k for k in on for _ in range(count)]
    return [constant_mask(mask.block, lanes[k : k + len(on)]) for k in range(0, len(lanes), len(on))]
