"""The kernel of causal attention's weights: softmax along the keys up to a query's place.

In flow arrays, the result first, and the sizes of a step; out flows 0.
"""

from __future__ import annotations

from math import inf

from retrograd.compiler.native.language import (
    Array,
    Record,
    cast,
    chosen,
    inlined,
    native,
    put,
    reduce,
    select,
    take,
)
from retrograd.runtime.native.objects import Memory
from retrograd.runtime.native.small.lanes import LANES, VA, A


@chosen
def exp(x: VA) -> VA: ...


class Sizes(Record):
    rows: int
    queries: int
    keys: int


@native
def shares(arrays: Array[Memory], sizes: Sizes) -> int:
    """Arrays: shares, scores, their factor."""
    factor = cast(VA, cast(Array[A], arrays[2])[0])
    for row in range(sizes.rows):
        at, seen = row * sizes.keys, min(row % sizes.queries + 1, sizes.keys)
        share(cast(Array[A], arrays[0]) + at, cast(Array[A], arrays[1]) + at, factor, seen, sizes.keys)
    return 0


@inlined
def share(to: Array[A], x: Array[A], factor: VA, seen: int, keys: int) -> None:
    """Of the scores that are seen; the others have none. Whole vectors are written without a mask: what is
    soon read again passes from the store to the load."""
    most, whole, first = cast(VA, -inf), seen - seen % LANES, cast(VA, x[0])
    for i in range(0, seen, LANES):
        found = take(VA, x + i, seen - i, first) * factor
        most = select(most > found, most, found)
    greatest, total = cast(VA, reduce(lambda one, other: max(one, other), most)), cast(VA, 0.0)
    for j in range(0, whole, LANES):
        each = exponential(take(VA, x + j) * factor - greatest)
        put(to + j, each)
        total = total + each
    put(to + whole, exponential(take(VA, x + whole, seen - whole, first) * factor - greatest), seen - whole)
    last = take(VA, to + whole, seen - whole, 0.0)
    part = 1.0 / cast(VA, reduce(lambda one, other: one + other, total + last))
    for k in range(0, whole, LANES):
        put(to + k, take(VA, to + k) * part)
    put(to + whole, last * part, keys - whole)
    for m in range(whole + LANES, keys, LANES):
        put(to + m, cast(VA, 0.0), keys - m)


@inlined
def exponential(low: VA) -> VA:
    """0 where it would be a number below the normal ones, over which the processor stumbles."""
    gone = low < (-104.0 if LANES == 16 else -746.0)
    return select(gone, cast(VA, 0.0), exp(select(gone, cast(VA, 0.0), low)))
