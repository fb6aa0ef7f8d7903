"""Kernels of what is said for each channel (`compiler/ops/channels.py`).

In flow arrays, the result first, and the sizes of a step; out flows 0. Elements are `[samples, channels,
inner]`; where a channel of a sample has one element, the vectors go along the channels.
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
    select,
    take,
)
from retrograd.runtime.native.objects import Memory
from retrograd.runtime.native.small.lanes import LANES, VA, A


class Sizes(Record):
    samples: int
    channels: int
    inner: int
    shifted: int
    """1 where there is a shift."""


# ---- elements ----------------------------------------------------------------------------------------------
@inlined
def everywhere(sizes: Sizes, work: Callable[[int, int, int], None]) -> int:
    """Do it for each vector, given where it begins, how many elements there are at most, and the channel of
    the first."""
    if sizes.inner == 1:
        for row in range(sizes.samples):
            for at in range(0, sizes.channels, LANES):
                work(row * sizes.channels + at, sizes.channels - at, at)
        return 0
    for row in range(sizes.samples):
        for channel in range(sizes.channels):
            base = (row * sizes.channels + channel) * sizes.inner
            for at in range(0, sizes.inner, LANES):
                work(base + at, sizes.inner - at, channel)
    return 0


@inlined
def of_channel(per: Array[A], channel: int, left: int, sizes: Sizes) -> VA:
    """The numbers of a vector's channels."""
    return take(VA, per + channel, left, 0.0) if sizes.inner == 1 else cast(VA, per[channel])


@native
def scale_shift(arrays: Array[Memory], sizes: Sizes) -> int:
    """Arrays: result, elements, scales, perhaps shifts."""
    return everywhere(sizes, lambda at, left, channel: scale_one(arrays, sizes, at, left, channel))


@inlined
def scale_one(arrays: Array[Memory], sizes: Sizes, at: int, left: int, channel: int) -> None:
    scale = of_channel(cast(Array[A], arrays[2]), channel, left, sizes)
    found = take(VA, cast(Array[A], arrays[1]) + at, left, 0.0) * scale
    if sizes.shifted != 0:
        found = found + of_channel(cast(Array[A], arrays[3]), channel, left, sizes)
    put(cast(Array[A], arrays[0]) + at, found, left)


@native
def prelu(arrays: Array[Memory], sizes: Sizes) -> int:
    """Arrays: result, elements, slopes."""
    return everywhere(sizes, lambda at, left, channel: slope_one(arrays, sizes, 1, at, left, channel))


@native
def prelu_adjoint(arrays: Array[Memory], sizes: Sizes) -> int:
    """Arrays: result, elements, slopes, cotangents."""
    return everywhere(sizes, lambda at, left, channel: slope_one(arrays, sizes, 3, at, left, channel))


@inlined
def slope_one(arrays: Array[Memory], sizes: Sizes, of: int, at: int, left: int, channel: int) -> None:
    """What that array holds, times the slope where an element is not positive."""
    slope = of_channel(cast(Array[A], arrays[2]), channel, left, sizes)
    x, given = take(VA, cast(Array[A], arrays[1]) + at, left, 0.0), cast(Array[A], arrays[of])
    y = take(VA, given + at, left, 0.0)
    put(cast(Array[A], arrays[0]) + at, select(x > 0.0, y, y * slope), left)


# ---- sums --------------------------------------------------------------------------------------------------
@native
def dot(arrays: Array[Memory], sizes: Sizes) -> int:
    """Arrays: sums, and twice elements."""
    return summed(arrays, sizes, lambda x, y: x * y)


@native
def slopes(arrays: Array[Memory], sizes: Sizes) -> int:
    """Arrays: sums, cotangents, elements."""
    return summed(arrays, sizes, lambda x, y: select(y > 0.0, cast(VA, 0.0), x * y))


@inlined
def summed(arrays: Array[Memory], sizes: Sizes, join: Callable[[VA, VA], VA]) -> int:
    to, x, y = cast(Array[A], arrays[0]), cast(Array[A], arrays[1]), cast(Array[A], arrays[2])
    channels, inner = sizes.channels, sizes.inner
    if inner == 1:
        for at in range(0, channels, LANES):
            total, left = cast(VA, 0.0), channels - at
            for row in range(sizes.samples):
                place = row * channels + at
                total = total + join(take(VA, x + place, left, 0.0), take(VA, y + place, left, 0.0))
            put(to + at, total, left)
        return 0
    for channel in range(channels):
        total = cast(VA, 0.0)
        for row in range(sizes.samples):
            base = (row * channels + channel) * inner
            for at in range(0, inner, LANES):
                left = inner - at
                total = total + join(
                    take(VA, x + (base + at), left, 0.0), take(VA, y + (base + at), left, 0.0)
                )
        to[channel] = reduce(lambda one, other: one + other, total)
    return 0
