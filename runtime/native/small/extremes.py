"""The kernel of where the greatest or the least element stands: along lines that lie in order, or across
lines that lie side by side.

In flow arrays, the result first, and the sizes of a step; out flows 0. The first of equal ones counts, and
before all the first NaN. What elements, vectors and the order are is said by instances (`kernels.py`).
"""

from __future__ import annotations

from typing import Literal

from retrograd.compiler.native.language import (
    Array,
    Vector,
    cast,
    chosen,
    inlined,
    native,
    put,
    reduce,
    select,
    stack,
    take,
)
from retrograd.runtime.native.objects import Memory
from retrograd.runtime.native.small.lanes import LANES, VA, VI, A
from retrograd.runtime.native.small.reducing import IDENTITY, LEVELS, STREAMS, Sizes, along, join

Truths = Vector[bool, Literal[16]]


@chosen
def exceeds(x: VA, best: VA) -> Truths: ...


@inlined
def is_greater(x: VA, best: VA) -> Truths:
    return x > best


@inlined
def is_less(x: VA, best: VA) -> Truths:
    return x < best


@native
def place(arrays: Array[Memory], sizes: Sizes) -> int:
    """Arrays: places, elements."""
    room = stack(Array[A], LEVELS * STREAMS * LANES, 64)
    to, count, after = cast(Array[int], arrays[0]), sizes.count, sizes.after
    for i in range(sizes.before):
        x = cast(Array[A], arrays[1]) + i * count * sizes.apart
        if sizes.apart == 1:
            best = reduce(join, along(x, count, room, cast(VA, x[0]), lambda each, none: each))
            to[i] = place_of(x, count, cast(VA, best))
        else:
            places_across(to + i * after, x, sizes)
    return 0


@inlined
def place_of(x: Array[A], count: int, best: VA) -> int:
    """Of the first that is the best, or no number: there is one."""
    at = 0
    while at + STREAMS * LANES <= count and not is_among(x + at, best):
        at += STREAMS * LANES
    first = reduce(join, best)
    while x[at] != first and x[at] == x[at]:
        at += 1
    return at


@inlined
def is_among(x: Array[A], best: VA) -> bool:
    """As many vectors as go on side by side."""
    one, two = is_sought(take(VA, x), best), is_sought(take(VA, x + LANES), best)
    three, four = is_sought(take(VA, x + 2 * LANES), best), is_sought(take(VA, x + 3 * LANES), best)
    return reduce(lambda a, b: a | b, (one | two) | (three | four))


@inlined
def is_sought(x: VA, best: VA) -> Truths:
    return (x == best) | (x != x)


@inlined
def places_across(to: Array[int], x: Array[A], sizes: Sizes) -> None:
    count, after = sizes.count, sizes.after
    for at in range(0, after, LANES):
        best, where = take(VA, x + at, after - at, IDENTITY), cast(VI, 0)
        for row in range(1, count):
            found = take(VA, x + (row * sizes.apart + at), after - at, IDENTITY)
            better = exceeds(found, best) | ((found != found) & (best == best))
            best, where = select(better, found, best), select(better, cast(VI, row), where)
        put(to + at, where, after - at)
