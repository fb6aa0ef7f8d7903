"""Kernels of bags of rows (`compiler/ops/bags.py`): their sums, and from where their greatest elements come.

In flow arrays and the sizes of a step; out flows 0, or 1 where an index or the start of a bag is none that
there can be.
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
    take,
)
from retrograd.runtime.native.objects import Memory
from retrograd.runtime.native.small.lanes import LANES, VA, A


class Sizes(Record):
    bags: int
    columns: int
    rows: int
    count: int
    """Of indices."""
    padding: int
    mean: int
    scales: int
    """1 where there is a number for each index."""


@inlined
def in_each(arrays: Array[Memory], sizes: Sizes, work: Callable[[int, int, int], None]) -> int:
    """Do it for each bag, given its first index and the one after its last."""
    index, starts = cast(Array[int], arrays[2]), cast(Array[int], arrays[3])
    for i in range(sizes.count):
        if not 0 <= index[i] < sizes.rows:
            return 1
    if sizes.bags > 0 and starts[0] != 0:
        return 1
    for bag in range(sizes.bags):
        begin = starts[bag]
        end = sizes.count if bag + 1 == sizes.bags else starts[bag + 1]
        if not 0 <= begin <= end <= sizes.count:
            return 1
        work(bag, begin, end)
    return 0


@inlined
def scale_of(arrays: Array[Memory], sizes: Sizes, place: int) -> float:
    return cast(Array[A], arrays[4])[place] if sizes.scales != 0 else 1.0


@native
def sum_up(arrays: Array[Memory], sizes: Sizes) -> int:
    """Arrays: bags, rows, indices, starts, perhaps a number for each index."""
    return in_each(arrays, sizes, lambda bag, begin, end: sum_of(arrays, sizes, bag, begin, end))


@inlined
def sum_of(arrays: Array[Memory], sizes: Sizes, bag: int, begin: int, end: int) -> None:
    to, rows = cast(Array[A], arrays[0]) + bag * sizes.columns, cast(Array[A], arrays[1])
    index, count = cast(Array[int], arrays[2]), 0
    for i in range(begin, end):
        count += 1 if index[i] != sizes.padding else 0
    over = cast(float, max(count, 1)) if sizes.mean != 0 else 1.0
    for at in range(0, sizes.columns, LANES):
        total, left = cast(VA, 0.0), sizes.columns - at
        for i in range(begin, end):
            if index[i] != sizes.padding:
                row = take(VA, rows + (index[i] * sizes.columns + at), left, 0.0)
                total = total + row * scale_of(arrays, sizes, i)
        put(to + at, total / over, left)


@native
def return_sums(arrays: Array[Memory], sizes: Sizes) -> int:
    """Arrays: cotangents of bags, those of rows, indices, starts, perhaps a number for each index."""
    to = cast(Array[A], arrays[1])
    for at in range(0, sizes.rows * sizes.columns, LANES):
        put(to + at, cast(VA, 0.0), sizes.rows * sizes.columns - at)
    return in_each(arrays, sizes, lambda bag, begin, end: return_to(arrays, sizes, bag, begin, end))


@inlined
def return_to(arrays: Array[Memory], sizes: Sizes, bag: int, begin: int, end: int) -> None:
    source, index = cast(Array[A], arrays[0]) + bag * sizes.columns, cast(Array[int], arrays[2])
    for i in range(begin, end):
        if index[i] != sizes.padding:
            to, scale = cast(Array[A], arrays[1]) + index[i] * sizes.columns, scale_of(arrays, sizes, i)
            for at in range(0, sizes.columns, LANES):
                left = sizes.columns - at
                put(to + at, take(VA, to + at, left, 0.0) + take(VA, source + at, left, 0.0) * scale, left)


@native
def places(arrays: Array[Memory], sizes: Sizes) -> int:
    """Arrays: places, rows, indices, starts."""
    return in_each(arrays, sizes, lambda bag, begin, end: seek(arrays, sizes, bag, begin, end))


@inlined
def seek(arrays: Array[Memory], sizes: Sizes, bag: int, begin: int, end: int) -> None:
    """NaN counts as the greatest."""
    to, rows = cast(Array[int], arrays[0]) + bag * sizes.columns, cast(Array[A], arrays[1])
    index = cast(Array[int], arrays[2])
    for k in range(sizes.columns):
        to[k] = -1
    for i in range(begin, end):
        if index[i] != sizes.padding:
            row = rows + index[i] * sizes.columns
            for k in range(sizes.columns):
                if to[k] < 0:
                    to[k] = i
                else:
                    best = rows[index[to[k]] * sizes.columns + k]
                    to[k] = i if row[k] > best or (row[k] != row[k] and best == best) else to[k]
