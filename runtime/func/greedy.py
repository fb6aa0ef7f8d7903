"""Colours, given to one column or vertex after the other: native functions.

In flow the pattern of a matrix, an order, and memory; out flow colours. Each is the next after the last one
given that is free, of the first so many, round and round; where there are none such, the least that is free.
Sets of colours are bits in words, `width` words for each set; what would take more is for a caller with wider
sets.
"""

from __future__ import annotations

from retrograd.compiler.native.language import Array, Int32, Unsigned, exported, inlined, native, stack

MOST_WIDTH = 512
"""Words of a set."""


@inlined
def cleared(words: Array[Unsigned], width: int) -> None:
    for k in range(width):
        words[k] = 0


@inlined
def added(words: Array[Unsigned], others: Array[Unsigned], width: int) -> None:
    for k in range(width):
        words[k] |= others[k]


@inlined
def has(words: Array[Unsigned], colour: int) -> bool:
    return (words[colour >> 6] >> (colour & 63)) & 1 != 0


@inlined
def add(words: Array[Unsigned], colour: int) -> None:
    words[colour >> 6] |= 1 << (colour & 63)


@native
def free(words: Array[Unsigned], width: int, last: int, around: int) -> int:
    """The next colour that is not there, of the first `around`, or the least; -1 where all are."""
    for k in range(around):
        colour = (last + 1 + k) % around
        if not has(words, colour):
            return colour
    for k in range(width):
        if ~words[k] != 0:
            colour = 64 * k
            while has(words, colour):
                colour += 1
            return colour
    return -1


@exported
def colour_columns(
    starts: Array[int], rows: Array[int], order: Array[int], count: int, around: int,
    seen: Array[Unsigned], width: int, colours: Array[Int32],
) -> int:  # fmt: skip
    """Of columns, whose rows are given, so that two that meet in a row differ; how many, -1 if too many.
    `seen` has a set for each row, empty at first."""
    taken = stack(Array[Unsigned], MOST_WIDTH)
    most, last = 0, -1
    for n in range(count):
        column = order[n]
        cleared(taken, width)
        for k in range(starts[column], starts[column + 1]):
            added(taken, seen + rows[k] * width, width)
        last = free(taken, width, last, around)
        if last < 0:
            return -1
        for k in range(starts[column], starts[column + 1]):
            add(seen + rows[k] * width, last)
        colours[column] = last
        most = max(most, last + 1)
    return most


@exported
def colour_stars(
    starts: Array[int], neighbours: Array[int], order: Array[int], count: int, around: int,
    once: Array[Unsigned], twice: Array[Unsigned], width: int, colours: Array[Int32],
) -> int:  # fmt: skip
    """Of vertices, whose neighbours are given, so that two neighbours differ and every path of four vertices
    has three colours; how many, -1 if too many. Colours are -1 at first; `once` and `twice` have a set for
    each vertex, empty at first: which colours its neighbours have."""
    taken = stack(Array[Unsigned], MOST_WIDTH)
    most, last = 0, -1
    for n in range(count):
        here = order[n]
        cleared(taken, width)
        for k in range(starts[here], starts[here + 1]):
            beside = neighbours[k]
            colour = colours[beside]
            if colour >= 0 and beside != here:
                add(taken, colour)
                if has(
                    twice + here * width, colour
                ):  # of the path beside - here - other of this colour, no end
                    added(taken, once + beside * width, width)
                for j in range(starts[beside], starts[beside + 1]):
                    behind = neighbours[j]
                    if behind != here and colours[behind] >= 0 and has(twice + behind * width, colour):
                        add(taken, colours[behind])
        last = free(taken, width, last, around)
        if last < 0:
            return -1
        colours[here] = last
        for k in range(starts[here], starts[here + 1]):
            beside = neighbours[k]
            if beside != here:
                if has(once + beside * width, last):
                    add(twice + beside * width, last)
                add(once + beside * width, last)
        most = max(most, last + 1)
    return most


@exported
def place_stars(
    starts: Array[int], neighbours: Array[int], count: int, colours: Array[Int32], often: Array[int],
    index: Array[int],
) -> int:  # fmt: skip
    """Where each element is among products with the sums of a colour's unit vectors, in order: in its own
    row, or in that across the diagonal, where another of the row has its colour. `often` is zero for each."""
    for here in range(count):
        for k in range(starts[here], starts[here + 1]):
            often[colours[neighbours[k]]] += 1
        for k in range(starts[here], starts[here + 1]):
            beside = neighbours[k]
            if often[colours[beside]] == 1:
                index[k] = colours[beside] * count + here
            else:
                index[k] = colours[here] * count + beside
        for k in range(starts[here], starts[here + 1]):
            often[colours[neighbours[k]]] = 0
    return 0
