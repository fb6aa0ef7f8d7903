"""Kernels of weighed elements by index, the same for all channels (`compiler/ops/corners.py`).

In flow arrays and the sizes of a step; out flows 0, or 1 where an index is beyond the elements. Images are
`[samples, channels, elements]`, indices and weights `[corners, samples, points]`; an index below 0 reads 0.
"""

from __future__ import annotations

from retrograd.compiler.native.language import (
    Array,
    Record,
    cast,
    fused,
    inlined,
    native,
    put,
    stack,
    take,
)
from retrograd.runtime.native.objects import Memory
from retrograd.runtime.native.small.lanes import LANES, VA, A, One


class Sizes(Record):
    samples: int
    channels: int
    elements: int
    corners: int
    points: int


@inlined
def are_within(index: Array[int], sizes: Sizes) -> bool:
    for i in range(sizes.corners * sizes.samples * sizes.points):  # noqa: SIM110  # no generators there
        if index[i] >= sizes.elements:
            return False
    return True


@native
def weigh(arrays: Array[Memory], sizes: Sizes) -> int:
    """Arrays: result, image, indices, weights. Four corners at a time."""
    index, weight = cast(Array[int], arrays[2]), cast(Array[A], arrays[3])
    if not are_within(index, sizes):
        return 1
    apart, points, nothing = sizes.samples * sizes.points, sizes.points, stack(Array[A], 1)
    nothing[0] = 0.0
    for n in range(sizes.samples):
        to = cast(Array[A], arrays[0]) + n * sizes.channels * points
        x = cast(Array[A], arrays[1]) + n * sizes.channels * sizes.elements
        for p in range(points):
            place = n * points + p
            if sizes.corners == 1:
                read_one(to + p, x, index[place], take(One, weight + place), nothing, sizes)
            for k in range(0, sizes.corners - sizes.corners % 4, 4):
                at = place + k * apart
                add_four(to + p, x, index + at, weight + at, k > 0, nothing, sizes)
    return 0


@inlined
def read_one(to: Array[A], x: Array[A], index: int, weight: One, nothing: Array[A], sizes: Sizes) -> None:
    source, step = x + index if index >= 0 else nothing, sizes.elements if index >= 0 else 0
    for channel in range(sizes.channels):
        put(to + channel * sizes.points, take(One, source) * weight)
        source = source + step


@inlined
def add_four(
    to: Array[A], x: Array[A], index: Array[int], weight: Array[A], more: bool, nothing: Array[A],
    sizes: Sizes,
) -> None:  # fmt: skip
    """To what is there, if there is `more`. What is outside is read from one place, whatever the channel."""
    apart, elements = sizes.samples * sizes.points, sizes.elements
    i, j, k, m = index[0], index[apart], index[2 * apart], index[3 * apart]
    first, second = x + i if i >= 0 else nothing, x + j if j >= 0 else nothing
    third, fourth = x + k if k >= 0 else nothing, x + m if m >= 0 else nothing
    to_first, to_second = elements if i >= 0 else 0, elements if j >= 0 else 0
    to_third, to_fourth = elements if k >= 0 else 0, elements if m >= 0 else 0
    a, b = take(One, weight), take(One, weight + apart)
    c, d = take(One, weight + 2 * apart), take(One, weight + 3 * apart)
    for channel in range(sizes.channels):
        found = fused(take(One, second), b, take(One, first) * a)
        found = fused(take(One, fourth), d, fused(take(One, third), c, found))
        if more:
            found = found + take(One, to + channel * sizes.points)
        put(to + channel * sizes.points, found)
        first, second = first + to_first, second + to_second
        third, fourth = third + to_third, fourth + to_fourth


@native
def return_to(arrays: Array[Memory], sizes: Sizes) -> int:
    """Arrays: cotangents of the image, cotangents of the points, indices, weights."""
    index, weight, image = cast(Array[int], arrays[2]), cast(Array[A], arrays[3]), cast(Array[A], arrays[0])
    if not are_within(index, sizes):
        return 1
    all_ = sizes.samples * sizes.channels * sizes.elements
    for at in range(0, all_, LANES):
        put(image + at, cast(VA, 0.0), all_ - at)
    for n in range(sizes.samples):
        to = image + n * sizes.channels * sizes.elements
        given = cast(Array[A], arrays[1]) + n * sizes.channels * sizes.points
        for k in range(sizes.corners):
            for p in range(sizes.points):
                place = (k * sizes.samples + n) * sizes.points + p
                if index[place] >= 0:
                    w, own = take(One, weight + place), to + index[place]
                    for c in range(sizes.channels):
                        at, one = c * sizes.elements, take(One, given + (c * sizes.points + p))
                        put(own + at, fused(one, w, take(One, own + at)))
    return 0


@native
def weights(arrays: Array[Memory], sizes: Sizes) -> int:
    """Arrays: cotangents of the weights, image, indices, cotangents of the points."""
    index, to = cast(Array[int], arrays[2]), cast(Array[A], arrays[0])
    if not are_within(index, sizes):
        return 1
    for k in range(sizes.corners):
        for n in range(sizes.samples):
            x = cast(Array[A], arrays[1]) + n * sizes.channels * sizes.elements
            given = cast(Array[A], arrays[3]) + n * sizes.channels * sizes.points
            for p in range(sizes.points):
                place, total = (k * sizes.samples + n) * sizes.points + p, cast(One, 0.0)
                if index[place] >= 0:
                    for c in range(sizes.channels):
                        one = take(One, given + (c * sizes.points + p))
                        total = fused(one, take(One, x + (c * sizes.elements + index[place])), total)
                put(to + place, total)
    return 0
