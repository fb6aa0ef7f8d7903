"""Elements whose distances are known while compiling, read in runs and put in place by shuffles.

Every second element of a line, each element twice, a line in reverse: a gather would touch memory lane by
lane where one or two vectors hold everything. In flow what each lane adds to the first one's place and a
function that loads a run; out flows the vector.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from retrograd.compiler.backends.lanes import chosen
from retrograd.compiler.backends.masks import constant_mask, known
from retrograd.compiler.backends.vector import Value

_MOST_RUNS = 4
_MOST_LANES = 8
"""Under a mask, lanes that may share an element."""

Load = Callable[[int, int, Value | None], Value]
"""A run from so many elements after the first lane's place, so many elements, those that a mask allows."""


def runs(offsets: Sequence[int], masked: bool) -> list[tuple[int, int]]:
    """The runs, all of one length, that hold the lanes' elements and nothing beyond; none if a gather is
    better."""
    places = sorted(set(offsets))
    breaks = [k for k in range(1, len(places)) if places[k] - places[k - 1] >= len(offsets)]
    groups = [places[a:b] for a, b in pairwise([0, *breaks, len(places)])]
    spans = [group[-1] - group[0] + 1 for group in groups]
    width = 1 << (min(*spans, len(offsets)).bit_length() - 1)
    found = [
        (group[0] + min(k * width, span - width), width)
        for group, span in zip(groups, spans, strict=True)
        for k in range(-(-span // width))
    ]
    shared = masked and max(map(offsets.count, places)) > _MOST_LANES
    return [] if width == 1 or len(found) > _MOST_RUNS or shared else found


def spread(offsets: Sequence[int], load: Load, mask: Value | None) -> Value:
    """The lanes' elements; only those of lanes in the mask are read."""
    parts = runs(offsets, mask is not None)
    vectors = [
        load(start, width, None if mask is None else _allowed(mask, offsets, start, width))
        for start, width in parts
    ]
    places = []
    for offset in offsets:
        part, start, width = next(
            (k, start, width) for k, (start, width) in enumerate(parts) if start <= offset < start + width
        )
        places.append(part * width + offset - start)
    if len(vectors) > 2:
        whole = range(2 * vectors[0].lanes)
        vectors = [chosen(vectors[0], vectors[1], whole), chosen(vectors[2], vectors[-1], whole)]
    return chosen(vectors[0], vectors[-1], places)


def _allowed(mask: Value, offsets: Sequence[int], start: int, width: int) -> Value:
    """Which elements of a run lanes in the mask ask for."""
    asking = [[k for k, offset in enumerate(offsets) if offset == start + e] for e in range(width)]
    on = known(mask)
    if on is not None:
        return constant_mask(mask.block, [any(on[k] for k in lanes) for lanes in asking])
    nobody = mask.block.constant("i1", mask.lanes, 0)
    found = nobody
    for turn in range(max(map(len, asking))):
        lanes = [lanes[turn] if turn < len(lanes) else mask.lanes for lanes in asking]
        one = chosen(mask, nobody, lanes)
        found = one if turn == 0 else found | one
    return found
