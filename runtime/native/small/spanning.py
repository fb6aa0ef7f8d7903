"""Kernels of spans, of the greatest elements of windows, and of columns laid back to images.

In flow arrays, the result first, and the sizes of a step; out flows 0. Where spans and windows start and end
is read from arrays of int64.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

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
    stack,
    take,
)
from retrograd.runtime.native.objects import Memory
from retrograd.runtime.native.small.lanes import LANES, SIZE, VA, VI, A, One
from retrograd.runtime.native.small.pairing import clear

T = TypeVar("T", A, int)


@chosen
def gather(where: VI, like: VA) -> VA: ...


# ---- spans -------------------------------------------------------------------------------------------------
class Spans(Record):
    before: int
    size: int
    """Of the axis."""
    after: int
    count: int


@native
def sum_up(arrays: Array[Memory], sizes: Spans) -> int:
    """Arrays: sums, elements, starts, ends."""
    starts, ends = cast(Array[int], arrays[2]), cast(Array[int], arrays[3])
    after = sizes.after
    for row in range(sizes.before):
        x = cast(Array[A], arrays[1]) + row * sizes.size * after
        to = cast(Array[A], arrays[0]) + row * sizes.count * after
        for i in range(sizes.count):
            if after > 1:
                sum_lines(to + i * after, x, starts[i], ends[i], after)
            elif ends[i] - starts[i] > LANES // 4:
                sum_line(to + i, x, starts[i], ends[i])
            else:
                sum_few(to + i, x, starts[i], ends[i])
    return 0


@inlined
def sum_lines(to: Array[A], x: Array[A], start: int, end: int, after: int) -> None:
    """Of lines, which are begun with: -0 stays what it is."""
    for at in range(0, after, LANES):
        total = take(VA, x + start * after + at, after - at, 0.0) if end > start else cast(VA, 0.0)
        for j in range(start + 1, end):
            total = total + take(VA, x + j * after + at, after - at, 0.0)
        put(to + at, total, after - at)


@inlined
def sum_line(to: Array[A], x: Array[A], start: int, end: int) -> None:
    total = cast(VA, 0.0)
    for j in range(start, end, LANES):
        total = total + take(VA, x + j, end - j, 0.0)
    to[0] = reduce(lambda one, other: one + other, total)


@inlined
def sum_few(to: Array[A], x: Array[A], start: int, end: int) -> None:
    total = take(One, x + start) if end > start else cast(One, 0.0)
    for j in range(start + 1, end):
        total = total + take(One, x + j)
    put(to, total)


# ---- windows -----------------------------------------------------------------------------------------------
FEW = LANES // 4
"""Windows that are sooner looked through one after the other."""


class Windows(Record):
    before: int
    """Volumes, and their three axes."""
    planes: int
    rows: int
    columns: int
    along_planes: int
    """How many windows there are along each."""
    along_rows: int
    along_columns: int
    step_planes: int
    """From an element of a window to the next."""
    step_rows: int
    step_columns: int
    last: int
    """1 where of several NaN the last one counts, not the first."""
    differing: int
    """1 where each volume has windows of its own."""


@native
def greatest(arrays: Array[Memory], sizes: Windows) -> int:
    """Arrays: elements, all elements, starts and ends along each axis."""
    x = cast(Array[A], arrays[1])
    return in_each(
        cast(Array[A], arrays[0]), x, arrays + 2, sizes,
        lambda to, start, places, count: pick(to, x + start, places, count),
    )  # fmt: skip


@native
def return_to_greatest(arrays: Array[Memory], sizes: Windows) -> int:
    """Arrays: cotangents of all elements, cotangents of windows, all elements, starts and ends."""
    own = cast(Array[A], arrays[0])
    clear(own, sizes.before * volume_of(sizes))
    return in_each(
        cast(Array[A], arrays[1]), cast(Array[A], arrays[2]), arrays + 3, sizes,
        lambda given, start, places, count: hand_on(own + start, given, places, count),
    )  # fmt: skip


@native
def places_of_greatest(arrays: Array[Memory], sizes: Windows) -> int:
    """Arrays: places, all elements, starts and ends along each axis."""
    return in_each(
        cast(Array[int], arrays[0]), cast(Array[A], arrays[1]), arrays + 2, sizes,
        lambda to, start, places, count: put(to, take(VI, places), count),
    )  # fmt: skip


@inlined
def volume_of(sizes: Windows) -> int:
    return sizes.planes * sizes.rows * sizes.columns


@inlined
def pick(to: Array[A], x: Array[A], places: Array[int], count: int) -> None:
    for k in range(count):
        to[k] = x[places[k]]


@inlined
def hand_on(own: Array[A], given: Array[A], places: Array[int], count: int) -> None:
    """One after the other, for windows may share an element."""
    for k in range(count):
        at = own + places[k]
        put(at, take(One, at) + take(One, given + k))


@inlined
def in_each(
    to: Array[T], all_: Array[A], limits: Array[Memory], sizes: Windows,
    work: Callable[[Array[T], int, Array[int], int], None],
) -> int:  # fmt: skip
    """Do it for some windows at a time, given one element for each, where their volume starts, and where in
    it their greatest elements are."""
    places, spans = stack(Array[int], LANES, 64), stack(Array[Array[int]], 6)
    bounds, windows = stack(Array[int], 4 * LANES, 64), sizes.along_rows * sizes.along_columns
    for volume in range(sizes.before):
        x, differing = all_ + volume * volume_of(sizes), volume * sizes.differing
        for end in range(2):
            spans[end] = cast(Array[int], limits[end]) + differing * sizes.along_planes
            spans[2 + end] = cast(Array[int], limits[2 + end]) + differing * sizes.along_rows
            spans[4 + end] = cast(Array[int], limits[4 + end]) + differing * sizes.along_columns
        for i in range(sizes.along_planes):
            first, end = spans[0][i], spans[1][i]
            for number in range(0, windows, LANES):
                count = min(windows - number, LANES)
                bound(bounds, spans, sizes, number, count)
                if count <= FEW:
                    for one in range(count):
                        places[one] = place_of_greatest(x, first, end, bounds + one, sizes)
                else:
                    put(places, places_in_lanes(x, first, end, bounds, sizes, count))
                work(to, volume * volume_of(sizes), places, count)
                to = to + count
    return 0


@inlined
def bound(bounds: Array[int], spans: Array[Array[int]], sizes: Windows, number: int, count: int) -> None:
    """Where so many windows from this one on start and end along rows, then along columns: each of the four
    for all of them."""
    j, k = number // sizes.along_columns, number % sizes.along_columns
    for one in range(count):
        bounds[one], bounds[one + LANES] = spans[2][j], spans[3][j]
        bounds[one + 2 * LANES], bounds[one + 3 * LANES] = spans[4][k], spans[5][k]
        k += 1
        if k == sizes.along_columns:
            j, k = j + 1, 0


@inlined
def place_of_greatest(x: Array[A], first: int, end: int, bounds: Array[int], sizes: Windows) -> int:
    """In these planes. Of equal ones the first. Where a NaN was found, only a later NaN may count."""
    first_row, end_row = bounds[0], bounds[LANES]
    first_column, end_column = bounds[2 * LANES], bounds[3 * LANES]
    place = (first * sizes.rows + first_row) * sizes.columns + first_column
    best, plane = x[place], first
    while plane < end:
        row = first_row
        while row < end_row:
            line = (plane * sizes.rows + row) * sizes.columns
            at, last = line + first_column, line + end_column
            while at < last:
                found = x[at]
                if found > best or (found != found and (best == best or sizes.last != 0)):
                    best, place = found, at
                at += sizes.step_columns
            row += sizes.step_rows
        plane += sizes.step_planes
    return place


@inlined
def places_in_lanes(x: Array[A], first: int, end: int, bounds: Array[int], sizes: Windows, count: int) -> VI:
    """The same of so many windows."""
    row, column = take(VI, bounds, count, 0), take(VI, bounds + 2 * LANES, count, 0)
    rows, columns = take(VI, bounds + LANES, count, 0) - row, take(VI, bounds + 3 * LANES, count, 0) - column
    most_rows, most_columns = greatest_of(rows), greatest_of(columns)
    start = row * sizes.columns + column + first * (sizes.rows * sizes.columns)
    place, best, any_nan = start, read(x, start), cast(VI, sizes.last) != 0
    plane = first
    while plane < end:
        row_on = 0
        while row_on < most_rows:
            line, on = ((plane - first) * sizes.rows + row_on) * sizes.columns, 0
            in_row = select(rows > row_on, columns, 0)
            while on < most_columns:
                inside = in_row > on
                at = select(inside, start + (line + on), place)
                found = read(x, at)
                nan = (found != found) & ((best == best) | any_nan)
                greater = inside & ((found > best) | nan)
                best, place = select(greater, found, best), select(greater, at, place)
                on += sizes.step_columns
            row_on += sizes.step_rows
        plane += sizes.step_planes
    return place


@inlined
def greatest_of(lanes: VI) -> int:
    return reduce(lambda one, other: max(one, other), lanes)


@inlined
def read(x: Array[A], place: VI) -> VA:
    return gather(place * SIZE + cast(int, x), cast(VA, 0.0))


# ---- columns -----------------------------------------------------------------------------------------------
class Columns(Record):
    images: int
    """Images, each of one channel, and their axes."""
    rows: int
    columns: int
    kernel_rows: int
    kernel_columns: int
    along_rows: int
    """How many places of the kernel there are along each."""
    along_columns: int
    gap_rows: int
    gap_columns: int
    margin_rows: int
    margin_columns: int
    step_rows: int
    step_columns: int


@native
def lay_back(arrays: Array[Memory], sizes: Columns) -> int:
    """Arrays: images, columns."""
    clear(cast(Array[A], arrays[0]), sizes.images * sizes.rows * sizes.columns)
    x = cast(Array[A], arrays[1])
    for image in range(sizes.images):
        to = cast(Array[A], arrays[0]) + image * sizes.rows * sizes.columns
        for i in range(sizes.kernel_rows):
            for j in range(sizes.kernel_columns):
                for place in range(sizes.along_rows):
                    row = place * sizes.step_rows - sizes.margin_rows + i * sizes.gap_rows
                    if row >= 0 and row < sizes.rows:
                        first = j * sizes.gap_columns - sizes.margin_columns
                        add_line(to + row * sizes.columns, x, first, sizes)
                    x = x + sizes.along_columns
    return 0


@inlined
def add_line(to: Array[A], x: Array[A], first: int, sizes: Columns) -> None:
    """To a line from `first` on, which may be before it begins."""
    step = sizes.step_columns
    start = (-first + step - 1) // step if first < 0 else 0
    if step == 1:
        end = min(sizes.along_columns, sizes.columns - first)
        for at in range(start, end, LANES):
            own = to + (first + at)
            put(own, take(VA, own, end - at, 0.0) + take(VA, x + at, end - at, 0.0), end - at)
    else:
        for at in range(start, sizes.along_columns):
            if first + at * step < sizes.columns:
                one = to + (first + at * step)
                put(one, take(One, one) + take(One, x + at))
