"""Elements whose distances are known while compiling, read in runs and put in place by shuffles.

Every second element of a line, each element twice, a line in reverse: a gather would touch memory lane by
lane where one or two vectors hold everything. In flow what each lane adds to the first one's place and a
function that loads a run; out flows the vector.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from retrograd.compiler.backends.vector import Value, chosen

_MOST_RUNS = 4
_MOST_LANES = 8
"""Under a mask, lanes that may share an element."""

Load = Callable[[int, int, Value | None], Value]
"""A run from so many elements after the first lane's place, so many elements, those that a mask allows."""


def runs(offsets: Sequence[int], masked: bool) -> list[tuple[int, int]]:
    """The runs, all of one length, that hold the lanes' elements and nothing beyond; none if a gather is
    better."""
    low, most = min(offsets), max(map(offsets.count, set(offsets)))
    span = max(offsets) - low + 1
    width = 1 << (min(span, len(offsets)).bit_length() - 1)
    count = -(-span // width)
    if width == 1 or count > _MOST_RUNS or (masked and most > _MOST_LANES):
        return []
    return [(low + min(k * width, span - width), width) for k in range(count)]


def spread(offsets: Sequence[int], load: Load, mask: Value | None) -> Value:
    """The lanes' elements; only those of lanes in the mask are read."""
    parts = runs(offsets, mask is not None)
    low, width = parts[0]
    vectors = [
        load(start, width, None if mask is None else _allowed(mask, offsets, start, width))
        for start, width in parts
    ]
    places = []
    for offset in offsets:
        part = min((offset - low) // width, len(parts) - 1)
        places.append(part * width + offset - parts[part][0])
    if len(vectors) > 2:
        whole = range(2 * width)
        vectors = [chosen(*vectors[:2], whole), chosen(vectors[2], vectors[-1], whole)]
    return chosen(vectors[0], vectors[-1], places)


def _allowed(mask: Value, offsets: Sequence[int], start: int, width: int) -> Value:
    """Which elements of a run lanes in the mask ask for."""
    asking = [[k for k, offset in enumerate(offsets) if offset == start + e] for e in range(width)]
    nobody = mask.block.constant("i1", mask.lanes, 0)
    found = nobody
    for turn in range(max(map(len, asking))):
        lanes = [lanes[turn] if turn < len(lanes) else mask.lanes for lanes in asking]
        one = chosen(mask, nobody, lanes)
        found = one if turn == 0 else found | one
    return found
