"""Kernels of images read at places that a grid says, by the pixel or the four around (`ops/sampling.py`).

In flow arrays and the sizes of a step; out flows 0. Images are `[samples, channels, height, width]`, grids
`[samples, points, 2]`, x before y. Vectors are points; a pixel beyond an image is read where a zero lies.
"""

from __future__ import annotations

from collections.abc import Callable

from retrograd.compiler.native.language import (
    Array,
    Record,
    cast,
    chosen,
    floor,
    fused,
    inlined,
    native,
    put,
    select,
    stack,
    take,
)
from retrograd.runtime.native.objects import Memory
from retrograd.runtime.native.small.lanes import LANES, SIZE, VA, VI, A, One


@chosen
def gather(where: VI, like: VA) -> VA: ...


@chosen
def evens(x: VA, y: VA) -> VA: ...


@chosen
def odds(x: VA, y: VA) -> VA: ...


@chosen
def first_pairs(x: VA, y: VA) -> VA: ...


@chosen
def last_pairs(x: VA, y: VA) -> VA: ...


class Sizes(Record):
    samples: int
    channels: int
    height: int
    width: int
    points: int
    nearest: int
    """Whether the nearest pixel is read, and not four."""
    border: int
    """What is beyond an image: `ZEROS`, …"""
    aligned: int


ZEROS, BORDER, REFLECTION = 0, 1, 2


# ---- places ------------------------------------------------------------------------------------------------


@inlined
def coordinate(grid: Array[A], count: int, pick: Callable[[VA, VA], VA]) -> VA:
    """One of the two of so many points."""
    return pick(take(VA, grid, 2 * count, 0.0), take(VA, grid + LANES, max(2 * count - LANES, 0), 0.0))


@inlined
def last(size: int) -> float:
    return cast(float, size) - 1.0


@inlined
def anywhere(given: VA, size: int, sizes: Sizes) -> VA:
    """Where between an axis' pixels, counted from 0, or beyond."""
    if sizes.aligned != 0:
        return (given + 1.0) * (last(size) * 0.5)
    return ((given + 1.0) * cast(float, size) - 1.0) * 0.5


@inlined
def bounded(place: VA, size: int) -> VA:
    """The nearest place within; 0 for NaN."""
    low = select(place > 0.0, place, 0.0)
    return select(low < last(size), low, last(size))


@inlined
def low_end(sizes: Sizes) -> float:
    return 0.0 if sizes.aligned != 0 else -0.5


@inlined
def span(size: int, sizes: Sizes) -> float:
    return last(size) if sizes.aligned != 0 else cast(float, size)


@inlined
def turns(far: VA, span: float) -> VA:
    """How many whole spans there are."""
    found = floor(far / span)
    rest = fused(found, -span, far)
    return select(rest < 0.0, found - 1.0, select(rest >= span, found + 1.0, found))


@inlined
def thrown_back(place: VA, size: int, sizes: Sizes) -> VA:
    far, length = abs(place - low_end(sizes)), span(size, sizes)
    count = turns(far, length)
    rest, half = fused(count, -length, far), count * 0.5
    return select(half == floor(half), rest, length - rest) + low_end(sizes)


@inlined
def place(given: VA, size: int, sizes: Sizes) -> VA:
    found = anywhere(given, size, sizes)
    if sizes.border == ZEROS:
        return found
    if sizes.border == BORDER:
        return bounded(found, size)
    return bounded(thrown_back(found, size, sizes), size)


@inlined
def slope(given: VA, size: int, sizes: Sizes) -> VA:
    """The derivative of a place."""
    factor = cast(VA, span(size, sizes) * 0.5)
    if sizes.border == ZEROS:
        return factor
    found = anywhere(given, size, sizes)
    if sizes.border == BORDER:
        return select((found > 0.0) & (found < last(size)), factor, 0.0)
    back, away = thrown_back(found, size, sizes), found - low_end(sizes)
    half = turns(abs(away), span(size, sizes)) * 0.5
    turned = select(half == floor(half), factor, -factor)
    turned = select(away < 0.0, -turned, select(away > 0.0, turned, 0.0))
    return select((back > 0.0) & (back < last(size)), turned, 0.0)


@inlined
def rounded(place: VA) -> VA:
    """To the nearest whole number; halves to even ones."""
    low = floor(place)
    share, half = place - low, low * 0.5
    odd = half != floor(half)
    return select((share > 0.5) | ((share == 0.5) & odd), low + 1.0, low)


@inlined
def pixel(row: VA, column: VA, sizes: Sizes) -> VI:
    """Its number in an image; -1 beyond."""
    here = (row >= 0.0) & (row <= last(sizes.height)) & (column >= 0.0) & (column <= last(sizes.width))
    number = cast(VI, select(here, row, 0.0)) * sizes.width + cast(VI, select(here, column, 0.0))
    return select(here, number, -1)


@inlined
def lying(number: VI, image: int, nothing: int) -> VI:
    """The address of a pixel."""
    return select(number >= 0, number * SIZE + image, nothing)


@inlined
def onwards(number: VI, sizes: Sizes) -> VI:
    """How many bytes further it lies in the next channel."""
    return select(number >= 0, cast(VI, sizes.height * sizes.width * SIZE), 0)


# ---- reading -----------------------------------------------------------------------------------------------


@native
def sample(arrays: Array[Memory], sizes: Sizes) -> int:
    """Arrays: result, image, grid, a zero."""
    words, elements, points = cast(Array[int], arrays), sizes.height * sizes.width, sizes.points
    for n in range(sizes.samples):
        image, to = words[1] + n * sizes.channels * elements * SIZE, cast(Array[A], arrays[0])
        to = to + n * sizes.channels * points
        for p in range(0, points, LANES):
            count = min(points - p, LANES)
            grid = cast(Array[A], arrays[2]) + 2 * (n * points + p)
            x = place(coordinate(grid, count, evens), sizes.width, sizes)
            y = place(coordinate(grid, count, odds), sizes.height, sizes)
            if sizes.nearest != 0:
                read_nearest(to + p, x, y, image, words[3], count, sizes)
            else:
                read_four(to + p, x, y, image, words[3], count, sizes)
    return 0


@inlined
def read_nearest(to: Array[A], x: VA, y: VA, image: int, nothing: int, count: int, sizes: Sizes) -> None:
    number = pixel(rounded(y), rounded(x), sizes)
    where, step = lying(number, image, nothing), onwards(number, sizes)
    for c in range(sizes.channels):
        put(to + c * sizes.points, gather(where, x), count)
        where = where + step


@inlined
def read_four(to: Array[A], x: VA, y: VA, image: int, nothing: int, count: int, sizes: Sizes) -> None:
    left, above = floor(x), floor(y)
    right, below = x - left, y - above
    i, j = pixel(above, left, sizes), pixel(above, left + 1.0, sizes)
    k, m = pixel(above + 1.0, left, sizes), pixel(above + 1.0, left + 1.0, sizes)
    first, second = lying(i, image, nothing), lying(j, image, nothing)
    third, fourth = lying(k, image, nothing), lying(m, image, nothing)
    to_first, to_second, to_third = onwards(i, sizes), onwards(j, sizes), onwards(k, sizes)
    to_fourth = onwards(m, sizes)
    a, b = (1.0 - below) * (1.0 - right), (1.0 - below) * right
    c, d = below * (1.0 - right), below * right
    for channel in range(sizes.channels):
        found = fused(gather(second, x), b, gather(first, x) * a)
        found = fused(gather(fourth, x), d, fused(gather(third, x), c, found))
        put(to + channel * sizes.points, found, count)
        first, second = first + to_first, second + to_second
        third, fourth = third + to_third, fourth + to_fourth


# ---- back to the image -------------------------------------------------------------------------------------


@native
def return_to(arrays: Array[Memory], sizes: Sizes) -> int:
    """Arrays: cotangents of the image, cotangents of the points, grid."""
    elements, points = sizes.height * sizes.width, sizes.points
    image = cast(Array[A], arrays[0])
    all_ = sizes.samples * sizes.channels * elements
    for at in range(0, all_, LANES):
        put(image + at, cast(VA, 0.0), all_ - at)
    for n in range(sizes.samples):
        to = image + n * sizes.channels * elements
        given = cast(Array[A], arrays[1]) + n * sizes.channels * points
        for p in range(0, points, LANES):
            count = min(points - p, LANES)
            grid = cast(Array[A], arrays[2]) + 2 * (n * points + p)
            x = place(coordinate(grid, count, evens), sizes.width, sizes)
            y = place(coordinate(grid, count, odds), sizes.height, sizes)
            if sizes.nearest != 0:
                return_to_nearest(to, given + p, x, y, count, sizes)
            else:
                return_to_four(to, given + p, x, y, count, sizes)
    return 0


@inlined
def return_to_nearest(to: Array[A], given: Array[A], x: VA, y: VA, count: int, sizes: Sizes) -> None:
    numbers, one = stack(Array[int], LANES, 64), stack(Array[A], 1)
    put(numbers, pixel(rounded(y), rounded(x), sizes))
    one[0] = 1.0
    for i in range(count):
        add_to(to, given + i, numbers[i], one, sizes)


@inlined
def return_to_four(to: Array[A], given: Array[A], x: VA, y: VA, count: int, sizes: Sizes) -> None:
    """Points that are wholly inside at once."""
    numbers, weights = stack(Array[int], 4 * LANES, 64), stack(Array[A], 4 * LANES, 64)
    left, above = floor(x), floor(y)
    right, below = x - left, y - above
    put(numbers, pixel(above, left, sizes))
    put(numbers + LANES, pixel(above, left + 1.0, sizes))
    put(numbers + 2 * LANES, pixel(above + 1.0, left, sizes))
    put(numbers + 3 * LANES, pixel(above + 1.0, left + 1.0, sizes))
    put(weights, (1.0 - below) * (1.0 - right))
    put(weights + LANES, (1.0 - below) * right)
    put(weights + 2 * LANES, below * (1.0 - right))
    put(weights + 3 * LANES, below * right)
    for i in range(count):
        own, shares = numbers + i, weights + i
        if own[0] >= 0 and own[3 * LANES] >= 0:
            add_to_four(to + own[0], given + i, shares, sizes)
        else:
            for k in range(4):
                add_to(to, given + i, own[k * LANES], shares + k * LANES, sizes)


@inlined
def add_to_four(to: Array[A], given: Array[A], shares: Array[A], sizes: Sizes) -> None:
    """To a pixel, the next one, and those below."""
    a, b = take(One, shares), take(One, shares + LANES)
    c, d = take(One, shares + 2 * LANES), take(One, shares + 3 * LANES)
    elements, points, below = sizes.height * sizes.width, sizes.points, to + sizes.width
    for _ in range(sizes.channels):
        one = take(One, given)
        put(to, fused(one, a, take(One, to)))
        put(to + 1, fused(one, b, take(One, to + 1)))
        put(below, fused(one, c, take(One, below)))
        put(below + 1, fused(one, d, take(One, below + 1)))
        to, below, given = to + elements, below + elements, given + points


@inlined
def add_to(to: Array[A], given: Array[A], number: int, share: Array[A], sizes: Sizes) -> None:
    if number >= 0:
        own, weight, elements = to + number, take(One, share), sizes.height * sizes.width
        for c in range(sizes.channels):
            at = own + c * elements
            put(at, fused(take(One, given + c * sizes.points), weight, take(One, at)))


# ---- back to the grid --------------------------------------------------------------------------------------


@native
def turn(arrays: Array[Memory], sizes: Sizes) -> int:
    """Of four pixels. Arrays: cotangents of the grid, cotangents of the points, image, grid, a zero."""
    words, elements, points = cast(Array[int], arrays), sizes.height * sizes.width, sizes.points
    for n in range(sizes.samples):
        image = words[2] + n * sizes.channels * elements * SIZE
        given = cast(Array[A], arrays[1]) + n * sizes.channels * points
        for p in range(0, points, LANES):
            count, at = min(points - p, LANES), 2 * (n * points + p)
            grid, to = cast(Array[A], arrays[3]) + at, cast(Array[A], arrays[0]) + at
            turn_some(to, grid, given + p, image, words[4], count, sizes)
    return 0


@inlined
def turn_some(
    to: Array[A], grid: Array[A], given: Array[A], image: int, nothing: int, count: int, sizes: Sizes
) -> None:
    given_x, given_y = coordinate(grid, count, evens), coordinate(grid, count, odds)
    x, y = place(given_x, sizes.width, sizes), place(given_y, sizes.height, sizes)
    left, above = floor(x), floor(y)
    right, below = x - left, y - above
    i, j = pixel(above, left, sizes), pixel(above, left + 1.0, sizes)
    k, m = pixel(above + 1.0, left, sizes), pixel(above + 1.0, left + 1.0, sizes)
    first, second = lying(i, image, nothing), lying(j, image, nothing)
    third, fourth = lying(k, image, nothing), lying(m, image, nothing)
    to_first, to_second, to_third = onwards(i, sizes), onwards(j, sizes), onwards(k, sizes)
    to_fourth = onwards(m, sizes)
    a, b, c, d = cast(VA, 0.0), cast(VA, 0.0), cast(VA, 0.0), cast(VA, 0.0)
    for channel in range(sizes.channels):
        one = take(VA, given + channel * sizes.points, count, 0.0)
        a, b = fused(gather(first, x), one, a), fused(gather(second, x), one, b)
        c, d = fused(gather(third, x), one, c), fused(gather(fourth, x), one, d)
        first, second = first + to_first, second + to_second
        third, fourth = third + to_third, fourth + to_fourth
    across = fused(d - c, below, (b - a) * (1.0 - below)) * slope(given_x, sizes.width, sizes)
    down = fused(d - b, right, (c - a) * (1.0 - right)) * slope(given_y, sizes.height, sizes)
    put(to, first_pairs(across, down), 2 * count)
    put(to + LANES, last_pairs(across, down), max(2 * count - LANES, 0))
