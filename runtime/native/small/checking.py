"""The kernels that look at what must hold, in the native language: steps of a small graph as any other.

In flow bools, or whole numbers and their bounds; out flows 0, or 1 where one of them is false or out of
bounds, so that the call is for `slow`, which says what is wrong.
"""

from __future__ import annotations

from typing import Literal

from retrograd.compiler.native.language import (
    Array,
    Byte,
    Int32,
    Vector,
    cast,
    exported,
    native,
    reduce,
    take,
)

T = Int32
V = Vector[T, Literal[16]]
LANES = 16
"""An instance has its own."""


@exported
def demand(arrays: Array[Array[Byte]], sizes: Array[int]) -> int:
    """Sizes: how many."""
    for i in range(sizes[0]):
        if arrays[0][i] == 0:
            return 1
    return 0


@native
def within(arrays: Array[Array[T]], sizes: Array[int]) -> int:
    """Sizes: how many, what they are at least, and below what they are. Out of bounds, one of two differences
    is negative: so is, then, what all of them have in any bit."""
    x, count, least, greatest = arrays[0], sizes[0], sizes[1], sizes[2] - 1
    low, high, wrong = cast(V, least), cast(V, greatest), cast(V, 0)
    whole = count - count % LANES
    for at in range(0, whole, LANES):
        lanes = take(V, x + at)
        wrong = wrong | (lanes - low) | (high - lanes)
    for at in range(whole, count):
        if not least <= x[at] <= greatest:
            return 1
    return 1 if reduce(lambda one, other: one | other, wrong) < 0 else 0
