"""What kernels of matrices do with their rows, vector by vector. The ends of rows go element by element:
masks would wait for what was just stored.

In flow rows that lie in order, of elements of a type `T`, of which `kernels.py` makes instances.
"""

from __future__ import annotations

from typing import Literal

from retrograd.compiler.native.language import (
    Array,
    Float32,
    Vector,
    cast,
    fused,
    inlined,
    put,
    reduce,
    take,
)

T = Float32
One = Vector[T, Literal[1]]
Several = Vector[T, Literal[8]]
LANES = 8
"""An instance has its own."""


@inlined
def copy(to: Array[T], source: Array[T], count: int) -> None:
    whole = count - count % LANES
    for at in range(0, whole, LANES):
        put(to + at, take(Several, source + at))
    for i in range(whole, count):
        put(to + i, take(One, source + i))


@inlined
def clear(to: Array[T], count: int) -> None:
    whole = count - count % LANES
    for at in range(0, whole, LANES):
        put(to + at, cast(Several, 0.0))
    for i in range(whole, count):
        put(to + i, cast(One, 0.0))


@inlined
def exchange_rows(one: Array[T], other: Array[T], count: int) -> None:
    whole = count - count % LANES
    for at in range(0, whole, LANES):
        several = take(Several, one + at)
        put(one + at, take(Several, other + at))
        put(other + at, several)
    for i in range(whole, count):
        single = take(One, one + i)
        put(one + i, take(One, other + i))
        put(other + i, single)


@inlined
def subtract(row: Array[T], other: Array[T], factor: float, count: int) -> None:
    """Take a multiple of another row from a row."""
    whole = count - count % LANES
    for at in range(0, whole, LANES):
        put(row + at, fused(take(Several, other + at), -factor, take(Several, row + at)))
    for i in range(whole, count):
        put(row + i, fused(take(One, other + i), -factor, take(One, row + i)))


@inlined
def divide(row: Array[T], divisor: float, count: int) -> None:
    whole = count - count % LANES
    for at in range(0, whole, LANES):
        put(row + at, take(Several, row + at) / divisor)
    for i in range(whole, count):
        put(row + i, take(One, row + i) / divisor)


@inlined
def product_of(one: Array[T], other: Array[T], count: int) -> float:
    """The sum of products."""
    whole = count - count % LANES
    total = 0.0
    if whole > 0:
        sums = cast(Several, 0.0)
        for at in range(0, whole, LANES):
            sums = fused(take(Several, one + at), take(Several, other + at), sums)
        total = reduce(lambda x, y: x + y, sums)
    for i in range(whole, count):
        total = fused(one[i], other[i], total)
    return total
