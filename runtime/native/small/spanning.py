"""Kernels of spans, of the greatest elements of windows, and of columns laid back to images.

In flow arrays, the result first, and the sizes of a step; out flows 0. Where spans and windows start and end
is read from arrays of int64.
"""

from __future__ import annotations

from retrograd.compiler.native.language import (
    Array,
    Record,
    cast,
    inlined,
    native,
    put,
    reduce,
    stack,
    take,
)
from retrograd.runtime.native.objects import Memory
from retrograd.runtime.native.small.lanes import LANES, VA, A, One
from retrograd.runtime.native.small.pairing import clear


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


@native
def greatest(arrays: Array[Memory], sizes: Windows) -> int:
    """Arrays: elements, all elements, starts and ends along each axis."""
    to, next_ = cast(Array[A], arrays[0]), 0
    for volume in range(sizes.before):
        x = cast(Array[A], arrays[1]) + volume * sizes.planes * sizes.rows * sizes.columns
        for i in range(sizes.along_planes):
            for j in range(sizes.along_rows):
                for k in range(sizes.along_columns):
                    to[next_] = x[place_of_greatest(x, arrays + 2, sizes, i, j, k)]
                    next_ += 1
    return 0


@native
def return_to_greatest(arrays: Array[Memory], sizes: Windows) -> int:
    """Arrays: cotangents of all elements, cotangents of windows, all elements, starts and ends."""
    volume_size, next_ = sizes.planes * sizes.rows * sizes.columns, 0
    clear(cast(Array[A], arrays[0]), sizes.before * volume_size)
    given = cast(Array[A], arrays[1])
    for volume in range(sizes.before):
        x = cast(Array[A], arrays[2]) + volume * volume_size
        to = cast(Array[A], arrays[0]) + volume * volume_size
        for i in range(sizes.along_planes):
            for j in range(sizes.along_rows):
                for k in range(sizes.along_columns):
                    own = to + place_of_greatest(x, arrays + 3, sizes, i, j, k)
                    put(own, take(One, own) + take(One, given + next_))
                    next_ += 1
    return 0


@native
def places_of_greatest(arrays: Array[Memory], sizes: Windows) -> int:
    """Arrays: places, all elements, for each volume starts and ends along each axis."""
    to, next_, spans = cast(Array[int], arrays[0]), 0, stack(Array[Memory], 6)
    for volume in range(sizes.before):
        x = cast(Array[A], arrays[1]) + volume * sizes.planes * sizes.rows * sizes.columns
        for k in range(2):
            spans[k] = own_span(arrays[2 + k], volume * sizes.along_planes)
            spans[2 + k] = own_span(arrays[4 + k], volume * sizes.along_rows)
            spans[4 + k] = own_span(arrays[6 + k], volume * sizes.along_columns)
        for i in range(sizes.along_planes):
            for j in range(sizes.along_rows):
                for k in range(sizes.along_columns):
                    to[next_] = place_of_greatest(x, spans, sizes, i, j, k)
                    next_ += 1
    return 0


@inlined
def own_span(limits: Memory, start: int) -> Memory:
    return cast(Memory, cast(Array[int], limits) + start)


@inlined
def place_of_greatest(x: Array[A], spans: Array[Memory], sizes: Windows, i: int, j: int, k: int) -> int:
    """Of equal ones the first. Where a NaN was found, only a later NaN may count."""
    first_plane, end_plane = cast(Array[int], spans[0])[i], cast(Array[int], spans[1])[i]
    first_row, end_row = cast(Array[int], spans[2])[j], cast(Array[int], spans[3])[j]
    first_column, end_column = cast(Array[int], spans[4])[k], cast(Array[int], spans[5])[k]
    place = (first_plane * sizes.rows + first_row) * sizes.columns + first_column
    best, plane = x[place], first_plane
    while plane < end_plane:
        row = first_row
        while row < end_row:
            line = (plane * sizes.rows + row) * sizes.columns
            at, end = line + first_column, line + end_column
            while at < end:
                found = x[at]
                if found > best or (found != found and (best == best or sizes.last != 0)):
                    best, place = found, at
                at += sizes.step_columns
            row += sizes.step_rows
        plane += sizes.step_planes
    return place


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
