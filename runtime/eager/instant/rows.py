"""Loops over rows of any length, natively: for what takes NumPy many passes.

In flow where to read and to write, rows and columns; no size is part of the code. What `Number` is, and which
functions of vectors are `chosen`, is said by instances (`loops.py`). A further loop is a function here.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Literal

from retrograd.compiler.native.language import (
    Array,
    Float32,
    Vector,
    cast,
    chosen,
    inlined,
    native,
    put,
    reduce,
    select,
    sqrt,
    take,
)

Number = Float32
Numbers = Vector[Number, Literal[16]]
LANES, EPS, VANISHED = 16, 0.0, -104.0
"""An instance has its own; the exponential of what is less than the last is 0."""


# ---- elements by themselves --------------------------------------------------------------------------------
@chosen
def code(x: Numbers) -> Numbers: ...


@native
def elementwise(source: Array[Number], to: Array[Number], rows: int, columns: int) -> None:
    """Each element by itself. All are one row."""
    for at in range(0, columns, LANES):
        put(to + at, code(take(Numbers, source + at, columns - at, 0.0)), columns - at)


# ---- by the sum of a row -----------------------------------------------------------------------------------
@chosen
def exp(x: Numbers) -> Numbers: ...


@chosen
def log(x: Numbers) -> Numbers: ...


@native
def softmax(source: Array[Number], to: Array[Number], rows: int, columns: int) -> None:
    """`exp(x - max x) / Σ exp(x - max x)` of each row."""
    by_the_sum(
        source, to, rows, columns,
        lambda share, low: share, lambda total: total, lambda x, total: x / total,
    )  # fmt: skip


@native
def log_softmax(source: Array[Number], to: Array[Number], rows: int, columns: int) -> None:
    """`x - max x - log Σ exp(x - max x)` of each row."""
    by_the_sum(
        source, to, rows, columns,
        lambda share, low: low, lambda total: log(total), lambda x, total: x - total,
    )  # fmt: skip


@inlined
def by_the_sum(
    source: Array[Number],
    to: Array[Number],
    rows: int,
    columns: int,
    kept: Callable[[Numbers, Numbers], Numbers],
    of_sum: Callable[[Numbers], Numbers],
    join: Callable[[Numbers, Numbers], Numbers],
) -> None:
    """Of each element what is kept of its share and of how far it lies below the greatest, joined with a
    function of the shares' sum: one of as many sums as there are lanes. Lanes beyond a row have no share."""
    for row in range(rows):
        x, y = source + row * columns, to + row * columns
        most = cast(Numbers, -inf)
        for i in range(0, columns, LANES):
            found = take(Numbers, x + i, columns - i, -inf)
            most = select(most > found, most, found)
        greatest = cast(Numbers, reduce(lambda one, other: max(one, other), most))
        sums = cast(Numbers, 0.0)
        for j in range(0, columns, LANES):
            low = take(Numbers, x + j, columns - j, -inf) - greatest
            gone = low < VANISHED  # else the processor would stumble over numbers below the normal ones
            share = select(gone, cast(Numbers, 0.0), exp(select(gone, cast(Numbers, 0.0), low)))
            put(y + j, kept(share, low), columns - j)
            sums = sums + share
        total = of_sum(cast(Numbers, reduce(lambda one, other: one + other, sums)))
        for k in range(0, columns, LANES):
            put(y + k, join(take(Numbers, y + k, columns - k, 0.0), total), columns - k)


# ---- by mean and variance ----------------------------------------------------------------------------------
@native
def standardised(source: Array[Number], to: Array[Number], rows: int, columns: int) -> None:
    """`(x - mean) / sqrt(variance + EPS)` of each row; the variance is the mean square of `x - mean`. Lanes
    beyond a row are as the mean."""
    count = cast(Numbers, cast(float, columns))
    for row in range(rows):
        x, y = source + row * columns, to + row * columns
        sums = cast(Numbers, 0.0)
        for i in range(0, columns, LANES):
            sums = sums + take(Numbers, x + i, columns - i, 0.0)
        mean = cast(Numbers, reduce(lambda one, other: one + other, sums)) / count
        squares = cast(Numbers, 0.0)
        for j in range(0, columns, LANES):
            low = take(Numbers, x + j, columns - j, mean) - mean
            put(y + j, low, columns - j)
            squares = squares + low * low
        variance = cast(Numbers, reduce(lambda one, other: one + other, squares)) / count
        deviation = sqrt(variance + EPS)
        for k in range(0, columns, LANES):
            put(y + k, take(Numbers, y + k, columns - k, 0.0) / deviation, columns - k)
