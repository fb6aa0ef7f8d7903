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
from retrograd.runtime.native.objects import Memory

Number = Float32
Numbers = Vector[Number, Literal[16]]
LANES, EPS, VANISHED, AFFINE = 16, 0.0, -104.0, 0
FACTOR, ADDED, MOVING = 1.0, 0, 0
"""An instance has its own, as far as it differs; the exponential of what is less than VANISHED is 0."""


# ---- elements by themselves --------------------------------------------------------------------------------
@chosen
def code(x: Numbers) -> Numbers: ...


@native
def elementwise(
    source: Array[Number], to: Array[Number], rows: int, columns: int, second: Memory, third: Memory
) -> None:
    """Each element by itself. All are one row."""
    for at in range(0, columns, LANES):
        put(to + at, code(take(Numbers, source + at, columns - at, 0.0)), columns - at)


# ---- by the sum of a row -----------------------------------------------------------------------------------
@chosen
def exp(x: Numbers) -> Numbers: ...


@chosen
def log(x: Numbers) -> Numbers: ...


@native
def softmax(
    source: Array[Number], to: Array[Number], rows: int, columns: int, second: Memory, third: Memory
) -> None:
    """`exp(x - max x) / Σ exp(x - max x)` of each row."""
    by_the_sum(
        source, to, rows, columns,
        lambda share, low: share, lambda total: total, lambda x, total: x / total,
    )  # fmt: skip


@native
def log_softmax(
    source: Array[Number], to: Array[Number], rows: int, columns: int, second: Memory, third: Memory
) -> None:
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
            share = exponential(low)
            put(y + j, kept(share, low), columns - j)
            sums = sums + share
        total = of_sum(cast(Numbers, reduce(lambda one, other: one + other, sums)))
        for k in range(0, columns, LANES):
            put(y + k, join(take(Numbers, y + k, columns - k, 0.0), total), columns - k)


@inlined
def exponential(low: Numbers) -> Numbers:
    """0 where it would be a number below the normal ones, over which the processor stumbles."""
    gone = low < VANISHED
    return select(gone, cast(Numbers, 0.0), exp(select(gone, cast(Numbers, 0.0), low)))


# ---- sums along a row --------------------------------------------------------------------------------------
PART = 128
"""Vectors that are added up by themselves: so errors grow with the parts and with these, not with the row."""


@inlined
def summed(columns: int, each: Callable[[int, int], Numbers]) -> Numbers:
    """The sum of vectors, given their places and how much of the row is left there, in all lanes."""
    sums = cast(Numbers, 0.0)
    for first in range(0, columns, PART * LANES):
        part = cast(Numbers, 0.0)
        for at in range(first, min(columns, first + PART * LANES), LANES):
            part = part + each(at, columns - at)
        sums = sums + part
    return cast(Numbers, reduce(lambda one, other: one + other, sums))


@native
def softmax_adjoint(
    source: Array[Number], to: Array[Number], rows: int, columns: int, second: Memory, third: Memory
) -> None:
    """`y (g - Σ g y) FACTOR` of the cotangent `g` and the shares `y` of each row."""
    for row in range(rows):
        at = row * columns
        through_softmax(source + at, cast(Array[Number], second) + at, to + at, columns)


@inlined
def through_softmax(g: Array[Number], y: Array[Number], to: Array[Number], columns: int) -> None:
    total = summed(
        columns, lambda at, left: take(Numbers, g + at, left, 0.0) * take(Numbers, y + at, left, 0.0)
    )
    for at in range(0, columns, LANES):
        left = columns - at
        low = take(Numbers, y + at, left, 0.0) * (take(Numbers, g + at, left, 0.0) - total)
        put(to + at, low * FACTOR, left)


@native
def log_softmax_adjoint(
    source: Array[Number], to: Array[Number], rows: int, columns: int, second: Memory, third: Memory
) -> None:
    """`g - exp(y) Σ g` of the cotangent `g` and the logarithms `y` of the shares of each row."""
    for row in range(rows):
        at = row * columns
        through_log_softmax(source + at, cast(Array[Number], second) + at, to + at, columns)


@inlined
def through_log_softmax(g: Array[Number], y: Array[Number], to: Array[Number], columns: int) -> None:
    total = summed(columns, lambda at, left: take(Numbers, g + at, left, 0.0))
    for at in range(0, columns, LANES):
        left = columns - at
        share = exponential(take(Numbers, y + at, left, 0.0))
        put(to + at, take(Numbers, g + at, left, 0.0) - share * total, left)


# ---- attention ---------------------------------------------------------------------------------------------
@native
def masked_softmax(
    source: Array[Number], to: Array[Number], rows: int, columns: int, second: Memory, third: Memory
) -> None:
    """Shares along the keys, of which `third` says how many there are, where a mask lets them be seen. A row
    is a plane `[queries, keys]`, with a mask of its own where these are MOVING."""
    keys = cast(Array[int], third)[0]
    for plane in range(rows):
        x, y = source + plane * columns, to + plane * columns
        mask = cast(Array[Number], second) + plane * columns * MOVING
        for query in range(columns // keys):
            at = query * keys
            masked_shares(x + at, mask + at, y + at, keys)


@inlined
def masked_shares(x: Array[Number], mask: Array[Number], to: Array[Number], keys: int) -> None:
    most = cast(Numbers, -inf)
    for i in range(0, keys, LANES):
        found = seen(x + i, mask + i, keys - i)
        most = select(most > found, most, found)
    greatest = cast(Numbers, reduce(lambda one, other: max(one, other), most))
    greatest = select(greatest > cast(Numbers, -inf), greatest, cast(Numbers, 0.0))
    sums = cast(Numbers, 0.0)
    for j in range(0, keys, LANES):
        share = exponential(seen(x + j, mask + j, keys - j) - greatest)
        put(to + j, share, keys - j)
        sums = sums + share
    total = cast(Numbers, reduce(lambda one, other: one + other, sums))
    part = 1.0 / select(total > 0.0, total, total + 1.0)  # of nothing 1, and NaN as it is
    for k in range(0, keys, LANES):
        put(to + k, take(Numbers, to + k, keys - k, 0.0) * part, keys - k)


@inlined
def seen(x: Array[Number], mask: Array[Number], left: int) -> Numbers:
    """The scores; -inf of what is not seen, and beyond a row. A mask is added, or is 0 for what is hidden."""
    found = take(Numbers, x, left, 0.0) * FACTOR
    if ADDED > 0:
        return found + take(Numbers, mask, left, -inf)
    return select(take(Numbers, mask, left, 0.0) > 0.0, found, cast(Numbers, -inf))


# ---- by mean and variance ----------------------------------------------------------------------------------
@native
def standardised(
    source: Array[Number], to: Array[Number], rows: int, columns: int, second: Memory, third: Memory
) -> None:
    """`(x - mean) / sqrt(variance + EPS)` of each row, perhaps times a weight, plus a bias."""
    for row in range(rows):
        x, y = source + row * columns, to + row * columns
        mean = mean_of(x, columns)
        scale = scale_of(x, mean, columns)
        for at in range(0, columns, LANES):
            left = columns - at
            found = standard(x + at, mean, scale, left)
            if AFFINE > 0:
                found = found * take(Numbers, cast(Array[Number], second) + at, left, 0.0)
            if AFFINE > 1:
                found = found + take(Numbers, cast(Array[Number], third) + at, left, 0.0)
            put(y + at, found, left)


@inlined
def mean_of(x: Array[Number], columns: int) -> Numbers:
    return summed(columns, lambda at, left: take(Numbers, x + at, left, 0.0)) / cast(float, columns)


@inlined
def scale_of(x: Array[Number], mean: Numbers, columns: int) -> Numbers:
    """One over the deviation; the variance is the mean square of `x - mean`."""
    squares = summed(columns, lambda at, left: square(take(Numbers, x + at, left, mean) - mean))
    return 1.0 / sqrt(squares / cast(float, columns) + EPS)


@inlined
def square(x: Numbers) -> Numbers:
    return x * x


@native
def standardised_adjoint(
    source: Array[Number], to: Array[Number], rows: int, columns: int, second: Memory, third: Memory
) -> None:
    """The cotangent `g` of the elements, less its mean and its part along the standardised `x`, of each row;
    perhaps `g` is weighed before."""
    for row in range(rows):
        at = row * columns
        through_standardised(
            source + at, cast(Array[Number], second) + at, cast(Array[Number], third), to + at, columns
        )


@inlined
def through_standardised(
    g: Array[Number], x: Array[Number], weight: Array[Number], to: Array[Number], columns: int
) -> None:
    mean = mean_of(x, columns)
    scale = scale_of(x, mean, columns)
    shift = summed(columns, lambda at, left: weighed(g, weight, at, left)) / cast(float, columns)
    along = summed(
        columns, lambda at, left: weighed(g, weight, at, left) * standard(x + at, mean, scale, left)
    ) / cast(float, columns)
    for at in range(0, columns, LANES):
        left = columns - at
        low = weighed(g, weight, at, left) - shift - standard(x + at, mean, scale, left) * along
        put(to + at, low * scale, left)


@inlined
def standard(x: Array[Number], mean: Numbers, scale: Numbers, left: int) -> Numbers:
    """A vector with mean 0 and variance 1; lanes beyond are 0."""
    return (take(Numbers, x, left, mean) - mean) * scale


@inlined
def weighed(g: Array[Number], weight: Array[Number], at: int, left: int) -> Numbers:
    found = take(Numbers, g + at, left, 0.0)
    if AFFINE > 0:
        found = found * take(Numbers, weight + at, left, 0.0)
    return found
