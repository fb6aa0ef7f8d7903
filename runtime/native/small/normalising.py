"""Kernels of normalisations and their derivatives (`compiler/ops/normal.py`), and of running statistics.

In flow arrays, the result first, and the sizes of a step; out flows 0. A group of elements is a number of
runs that lie apart; whatever the norm, it is gone through vector by vector. Where the elements of a channel
lie each by itself, a group is as many channels as there are lanes, and each lane has a mean of its own.
"""

from __future__ import annotations

from collections.abc import Callable

from retrograd.compiler.native.language import (
    Array,
    Record,
    cast,
    inlined,
    native,
    put,
    reduce,
    sqrt,
    take,
)
from retrograd.runtime.native.objects import Memory
from retrograd.runtime.native.small.lanes import LANES, VA, A


class Sizes(Record):
    groups: int
    runs: int
    """Of a group."""
    length: int
    """Of a run, in elements."""
    end: int
    """Where no run of the first ones of the groups goes beyond."""
    begins: int
    """From a group to the next, and from a run to the next, in elements."""
    apart: int
    period: int
    """Groups, after which channels come again; and channels from a group, and from a run, to the next."""
    of_group: int
    of_run: int
    along: int
    """1 where each element of a run belongs to a channel of its own."""
    across: int
    """1 where lanes are groups of their own."""
    count: int
    """Elements of a group, or of a lane of it."""
    affine: int
    """How many of weight and bias there are."""
    channels: int


# ---- groups ------------------------------------------------------------------------------------------------
@inlined
def everywhere(sizes: Sizes, group: int, work: Callable[[int, int, int], None]) -> None:
    """Do it for each vector of a group, given where it begins, how many elements there are at most, and the
    channel of the first."""
    base, first = group * sizes.begins, group % sizes.period * sizes.of_group
    length = min(sizes.length, sizes.end - base)
    for run in range(sizes.runs):
        channel = first + run * sizes.of_run
        for at in range(0, length, LANES):
            work(base + run * sizes.apart + at, length - at, channel + at * sizes.along)


@inlined
def summed(sizes: Sizes, group: int, each: Callable[[int, int, int], VA]) -> VA:
    """What each vector of a group gives, added up: in all lanes the same, or each lane for itself."""
    base, first = group * sizes.begins, group % sizes.period * sizes.of_group
    length = min(sizes.length, sizes.end - base)
    total = cast(VA, 0.0)
    for run in range(sizes.runs):
        channel = first + run * sizes.of_run
        for at in range(0, length, LANES):
            total = total + each(base + run * sizes.apart + at, length - at, channel + at * sizes.along)
    if sizes.across == 0:
        total = cast(VA, reduce(lambda one, other: one + other, total))
    return total


@inlined
def count_of(sizes: Sizes) -> VA:
    return cast(VA, cast(float, sizes.count))


@inlined
def mean_of(x: Array[A], sizes: Sizes, group: int) -> VA:
    return summed(sizes, group, lambda at, left, channel: take(VA, x + at, left, 0.0)) / count_of(sizes)


@inlined
def squares_of(x: Array[A], mean: VA, sizes: Sizes, group: int) -> VA:
    """The sum of the squares of the distances from the mean; lanes beyond a run are as the mean."""
    return summed(sizes, group, lambda at, left, channel: square(take(VA, x + at, left, mean) - mean))


@inlined
def square(x: VA) -> VA:
    return x * x


@inlined
def scale_of(x: Array[A], mean: VA, eps: Array[A], sizes: Sizes, group: int) -> VA:
    """One over the deviation."""
    return 1.0 / sqrt(squares_of(x, mean, sizes, group) / count_of(sizes) + eps[0])


@inlined
def of_channel(per: Array[A], channel: int, left: int, sizes: Sizes) -> VA:
    """The numbers of a vector's channels."""
    return cast(VA, per[channel]) if sizes.along == 0 else take(VA, per + channel, left, 0.0)


# ---- norms -------------------------------------------------------------------------------------------------
@native
def standardise(arrays: Array[Memory], sizes: Sizes) -> int:
    """Arrays: result, elements, eps, perhaps weight, perhaps bias."""
    for group in range(sizes.groups):
        standardise_group(arrays, sizes, group)
    return 0


@inlined
def standardise_group(arrays: Array[Memory], sizes: Sizes, group: int) -> None:
    x = cast(Array[A], arrays[1])
    mean = mean_of(x, sizes, group)
    scale = scale_of(x, mean, cast(Array[A], arrays[2]), sizes, group)
    everywhere(
        sizes, group, lambda at, left, channel: standardise_one(arrays, sizes, mean, scale, at, left, channel)
    )


@inlined
def standardise_one(
    arrays: Array[Memory], sizes: Sizes, mean: VA, scale: VA, at: int, left: int, channel: int
) -> None:
    found = standard(cast(Array[A], arrays[1]) + at, mean, scale, left)
    if sizes.affine > 0:
        found = found * of_channel(cast(Array[A], arrays[3]), channel, left, sizes)
    if sizes.affine > 1:
        found = found + of_channel(cast(Array[A], arrays[4]), channel, left, sizes)
    put(cast(Array[A], arrays[0]) + at, found, left)


@native
def through(arrays: Array[Memory], sizes: Sizes) -> int:
    """The cotangents of elements. Arrays: result, cotangents, elements, eps, perhaps weight."""
    for group in range(sizes.groups):
        through_group(arrays, sizes, group)
    return 0


@inlined
def through_group(arrays: Array[Memory], sizes: Sizes, group: int) -> None:
    x, count = cast(Array[A], arrays[2]), count_of(sizes)
    mean = mean_of(x, sizes, group)
    scale = scale_of(x, mean, cast(Array[A], arrays[3]), sizes, group)
    shift = summed(sizes, group, lambda at, left, channel: inner(arrays, sizes, at, left, channel)) / count
    along = summed(
        sizes, group,
        lambda at, left, channel: inner(arrays, sizes, at, left, channel)
        * standard(x + at, mean, scale, left),
    ) / count  # fmt: skip
    everywhere(
        sizes, group,
        lambda at, left, channel: put(
            cast(Array[A], arrays[0]) + at,
            (inner(arrays, sizes, at, left, channel) - shift - standard(x + at, mean, scale, left) * along)
            * scale,
            left,
        ),
    )  # fmt: skip


@inlined
def standard(x: Array[A], mean: VA, scale: VA, left: int) -> VA:
    """A vector with mean 0 and variance 1; lanes beyond are 0."""
    return (take(VA, x, left, mean) - mean) * scale


@inlined
def inner(arrays: Array[Memory], sizes: Sizes, at: int, left: int, channel: int) -> VA:
    """The cotangents of what is standardised."""
    found = take(VA, cast(Array[A], arrays[1]) + at, left, 0.0)
    if sizes.affine > 0:
        found = found * of_channel(cast(Array[A], arrays[4]), channel, left, sizes)
    return found


@native
def weigh(arrays: Array[Memory], sizes: Sizes) -> int:
    """The cotangents of the weight. Arrays: result, cotangents, elements, eps."""
    to = cast(Array[A], arrays[0])
    for channel in range(sizes.channels):
        to[channel] = 0.0
    for group in range(sizes.groups):
        weigh_group(arrays, sizes, group)
    return 0


@inlined
def weigh_group(arrays: Array[Memory], sizes: Sizes, group: int) -> None:
    to, ct, x = cast(Array[A], arrays[0]), cast(Array[A], arrays[1]), cast(Array[A], arrays[2])
    mean = mean_of(x, sizes, group)
    scale = scale_of(x, mean, cast(Array[A], arrays[3]), sizes, group)
    everywhere(
        sizes, group,
        lambda at, left, channel: add_up(
            to + channel, take(VA, ct + at, left, 0.0) * standard(x + at, mean, scale, left), left, sizes
        ),
    )  # fmt: skip


@inlined
def add_up(to: Array[A], found: VA, left: int, sizes: Sizes) -> None:
    """To the channels of a vector what is found for its elements."""
    if sizes.along == 0:
        to[0] += reduce(lambda one, other: one + other, found)
    else:
        put(to, take(VA, to, left, 0.0) + found, left)


# ---- running statistics ------------------------------------------------------------------------------------
@native
def follow_mean(arrays: Array[Memory], sizes: Sizes) -> int:
    """Arrays: result, running means, elements, momentum."""
    x = cast(Array[A], arrays[2])
    for group in range(sizes.groups):
        follow(arrays, sizes, group, mean_of(x, sizes, group))
    return 0


@native
def follow_variance(arrays: Array[Memory], sizes: Sizes) -> int:
    """Arrays: result, running variances, elements, momentum. The variance is the unbiased one."""
    x = cast(Array[A], arrays[2])
    less = cast(VA, cast(float, sizes.count - 1))
    for group in range(sizes.groups):
        follow(arrays, sizes, group, squares_of(x, mean_of(x, sizes, group), sizes, group) / less)
    return 0


@inlined
def follow(arrays: Array[Memory], sizes: Sizes, group: int, now: VA) -> None:
    channel = group * sizes.of_group
    left = min(sizes.length, sizes.end - channel) if sizes.across != 0 else 1
    momentum = cast(VA, cast(Array[A], arrays[3])[0])
    before = take(VA, cast(Array[A], arrays[1]) + channel, left, 0.0)
    put(cast(Array[A], arrays[0]) + channel, before * (1.0 - momentum) + now * momentum, left)
