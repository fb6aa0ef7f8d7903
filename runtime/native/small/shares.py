"""Kernels of shares in `Σ exp(x)`: weights of causal attention, the losses of cross entropy, the logarithm,
and all shares of lines that lie side by side.

In flow arrays, the result first, and the sizes of a step; out flows 0, or 1 where elements are for others.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any, TypeVar

from retrograd.compiler.native.language import (
    Array,
    Record,
    Vector,
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
from retrograd.runtime.native.small.lanes import LANES, VA, A, One


@chosen
def exp(x: VA) -> VA: ...


V = TypeVar("V", bound=Vector[Any, Any])


@chosen
def log(x: V) -> V: ...


# ---- of causal attention: softmax along the keys up to a query's place -------------------------------------
class Causal(Record):
    rows: int
    queries: int
    keys: int


@native
def causal(arrays: Array[Memory], sizes: Causal) -> int:
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


# ---- of cross entropy: log Σ exp(x), less the target's x -----------------------------------------------
BLOCK = 16
"""Vectors that are added up by themselves."""


class Classes(Record):
    rows: int
    classes: int
    ignored: int
    weighed: int
    smoothed: int


@native
def losses(arrays: Array[Memory], sizes: Classes) -> int:
    """Arrays: losses, scores, targets, none of which is out of range, the classes' weights, the share that
    all classes have. The loss of an ignored target is 0. Weights are read where it is `weighed`, or
    `smoothed`."""
    to, x, targets = cast(Array[A], arrays[0]), cast(Array[A], arrays[1]), cast(Array[int], arrays[2])
    weights, share = cast(Array[A], arrays[3]), cast(Array[A], arrays[4])
    for row in range(sizes.rows):
        target = targets[row]
        if target == sizes.ignored:
            to[row] = cast(A, 0.0)
            continue
        if target < 0 or target >= sizes.classes:
            return 1
        scores = x + row * sizes.classes
        most = greatest(scores, sizes.classes)
        total = log(cast(One, total_of(scores, most, sizes.classes)))
        to[row] = reduce(lambda one, other: one + other, total) - (
            scores[target] - reduce(lambda one, other: max(one, other), most)
        )
        if sizes.weighed != 0:
            to[row] = to[row] * weights[target]
        if sizes.smoothed != 0:
            logarithm = reduce(lambda one, other: one + other, total)
            of_all = loss_of_all(scores, most, cast(VA, logarithm), weights, sizes.classes)
            to[row] = to[row] * (cast(A, 1.0) - share[0]) + of_all * (share[0] / cast(A, sizes.classes))
    return 0


@inlined
def loss_of_all(x: Array[A], most: VA, logarithm: VA, weights: Array[A], count: int) -> A:
    """The sum of what the loss would be with each class as the target."""
    total = cast(VA, 0.0)
    for at in range(0, count, LANES):
        loss = logarithm - (take(VA, x + at, count - at, most) - most)
        total = total + loss * take(VA, weights + at, count - at, 0.0)
    return reduce(lambda one, other: one + other, total)


class Targets(Record):
    rows: int
    ignored: int
    weighed: int


@native
def mean_of_counted(arrays: Array[Memory], sizes: Targets) -> int:
    """Arrays: the mean loss of targets that are not ignored, the sum of losses, targets, the classes'
    weights, which are read where it is `weighed`."""
    targets, weights, count = cast(Array[int], arrays[2]), cast(Array[A], arrays[3]), cast(A, 0.0)
    for row in range(sizes.rows):
        if targets[row] != sizes.ignored:
            count = count + (cast(A, 1.0) if sizes.weighed == 0 else weights[targets[row]])
    cast(Array[A], arrays[0])[0] = cast(Array[A], arrays[1])[0] / count
    return 0


@inlined
def greatest(x: Array[A], count: int) -> VA:
    most, first = cast(VA, -inf), cast(VA, x[0])
    for at in range(0, count, LANES):
        found = take(VA, x + at, count - at, first)
        most = select(most > found, most, found)
    return cast(VA, reduce(lambda one, other: max(one, other), most))


@inlined
def total_of(x: Array[A], most: VA, count: int) -> A:
    """The sum of their shares."""
    total, whole = cast(VA, 0.0), count - count % LANES
    for first in range(0, whole, BLOCK * LANES):
        part = cast(VA, 0.0)
        for at in range(first, min(whole, first + BLOCK * LANES), LANES):
            part = part + exponential(take(VA, x + at) - most)
        total = total + part
    for at in range(whole, count, LANES):
        total = total + exponential(take(VA, x + at, count - at, cast(VA, -inf)) - most)
    return reduce(lambda one, other: one + other, total)


# ---- the logarithm itself ----------------------------------------------------------------------------------
class Rows(Record):
    rows: int
    columns: int


@native
def logarithms(arrays: Array[Memory], sizes: Rows) -> int:
    """Arrays: the logarithms of rows' sums, elements. An infinite one is not subtracted."""
    to, x = cast(Array[A], arrays[0]), cast(Array[A], arrays[1])
    for row in range(sizes.rows):
        elements = x + row * sizes.columns
        found = greatest(elements, sizes.columns)
        most = select((found == inf) | (found == -inf), cast(VA, 0.0), found)
        total = log(cast(One, total_of(elements, most, sizes.columns)))
        to[row] = reduce(lambda one, other: one + other, total) + reduce(
            lambda one, other: max(one, other), most
        )
    return 0


# ---- of lines that lie side by side ------------------------------------------------------------------------
class Lines(Record):
    before: int
    count: int
    """Elements of a line."""
    after: int
    """Lines side by side."""
    apart: int
    """From one element of a line to the next."""


@native
def across(arrays: Array[Array[A]], sizes: Lines) -> int:
    """Arrays: shares, elements."""
    return by_the_sum(
        arrays, sizes, lambda share, low: share, lambda total: 1.0 / total, lambda x, part: x * part
    )


@native
def logarithms_across(arrays: Array[Array[A]], sizes: Lines) -> int:
    """Arrays: logarithms of shares, elements."""
    return by_the_sum(
        arrays, sizes, lambda share, low: low, lambda total: log(total), lambda x, total: x - total
    )


@inlined
def by_the_sum(
    arrays: Array[Array[A]], sizes: Lines, kept: Callable[[VA, VA], VA], of_sum: Callable[[VA], VA],
    join: Callable[[VA, VA], VA],
) -> int:  # fmt: skip
    """Of each element what is kept of its share and of how far it lies below the greatest of its line, joined
    with a function of the shares' sum; a vector of lines after the other."""
    count, step, length = sizes.count, sizes.apart, sizes.count * sizes.apart
    for i in range(sizes.before):
        for at in range(0, sizes.after, LANES):
            to, x, left = arrays[0] + (i * length + at), arrays[1] + (i * length + at), sizes.after - at
            most, total = cast(VA, -inf), cast(VA, 0.0)
            for k in range(count):
                found = take(VA, x + k * step, left, 0.0)
                most = select(most > found, most, found)
            for j in range(count):
                low = take(VA, x + j * step, left, 0.0) - most
                share = exponential(low)
                put(to + j * step, kept(share, low), left)
                total = total + share
            whole = of_sum(total)
            for m in range(count):
                put(to + m * step, join(take(VA, to + m * step, left, 0.0), whole), left)
    return 0
