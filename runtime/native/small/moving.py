"""The kernels that go by element: reads and writes where indices say, sorting, products of matrices.

In flow arrays and the sizes of a step; out flows 0, or 1 where an index is out of range. Each is a function
for elements of a type `T`, of which `kernels.py` makes instances. An index below 0 counts from the end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeVar

from retrograd.compiler.native.language import (
    Array,
    Record,
    Vector,
    cast,
    chosen,
    fused,
    inlined,
    native,
    put,
    take,
)

T = TypeVar("T", int, float)
V = Vector[Any, Literal[16]]
LANES = 16
"""An instance has its own: vectors of elements, and how many they have."""


# ---- by places ---------------------------------------------------------------------------------------------
@native
def place(arrays: Array[Array[T]], sizes: Array[int]) -> int:
    """So many elements at places of a flat operand, and where the place is below 0 those of another one. The
    arrays: the result, the operand, the places, the others."""
    to, places = arrays[0], cast(Array[int], arrays[2])
    for at in range(sizes[0]):
        to[at] = arrays[3][at] if places[at] < 0 else arrays[1][places[at]]
    return 0


# ---- by indices --------------------------------------------------------------------------------------------
class IndexSizes(Record):
    """Indices along the middle axis of `[before, size, after]`."""

    before: int
    count: int
    """Of indices along that axis."""
    after: int
    size: int
    step_before: int
    """From one index to the next along each of the three axes, in elements."""
    step_count: int
    step_after: int


@inlined
def chosen_of(index: int, size: int) -> int:
    """The place along an axis that an index says; below 0 where it is out of range."""
    place = index + size if index < 0 else index
    return place if place < size else -1


@inlined
def everywhere(
    index: Array[int],
    sizes: IndexSizes,
    move: Callable[[int, int], None],
    move_several: Callable[[int, int], None],
) -> int:
    """Move an element for each index, given where it is in their order, and where the index says. Of rows
    that have one index, as many as a vector has lanes are moved at once."""
    before, count, after, size = sizes.before, sizes.count, sizes.after, sizes.size
    if sizes.step_after == 0:
        for a in range(before):
            for k in range(count):
                place = chosen_of(index[a * sizes.step_before + k * sizes.step_count], size)
                if place < 0:
                    return 1
                at, apart = (a * count + k) * after, (a * size + place) * after
                whole = after - after % LANES
                for b in range(0, whole, LANES):
                    move_several(at + b, apart + b)
                for b in range(whole, after):
                    move(at + b, apart + b)
        return 0
    for a in range(before):
        if after == 1:
            for k in range(count):
                place = chosen_of(index[a * count + k], size)
                if place < 0:
                    return 1
                move(a * count + k, a * size + place)
        else:
            for k in range(count):
                for b in range(after):
                    place = chosen_of(index[(a * count + k) * after + b], size)
                    if place < 0:
                        return 1
                    move((a * count + k) * after + b, (a * size + place) * after + b)
    return 0


@inlined
def assign(to: Array[T], place: int, element: T) -> None:
    to[place] = element


@native
def gather(arrays: Array[Array[T]], sizes: IndexSizes) -> int:
    """Elements of an operand `[before, size, after]`."""
    to, source, index = arrays[0], arrays[1], cast(Array[int], arrays[2])
    return everywhere(
        index,
        sizes,
        lambda at, apart: assign(to, at, source[apart]),
        lambda at, apart: put(to + at, take(V, source + apart)),
    )


@native
def scatter(arrays: Array[Array[T]], sizes: IndexSizes) -> int:
    """Elements of a result `[before, size, after]`, the last for a place in the end."""
    to, source, index = arrays[0], arrays[1], cast(Array[int], arrays[2])
    return everywhere(
        index,
        sizes,
        lambda at, apart: assign(to, apart, source[at]),
        lambda at, apart: put(to + apart, take(V, source + at)),
    )


@native
def add_up(arrays: Array[Array[T]], sizes: IndexSizes) -> int:
    """The same, added in order to what is there."""
    to, source, index = arrays[0], arrays[1], cast(Array[int], arrays[2])
    return everywhere(
        index,
        sizes,
        lambda at, apart: assign(to, apart, to[apart] + source[at]),
        lambda at, apart: put(to + apart, take(V, to + apart) + take(V, source + at)),
    )


@chosen
def joined(x: T, y: T) -> T: ...


@inlined
def greater(x: T, y: T) -> T:
    """NaN, if one of them is."""
    return x if x > y or x != x else y


@inlined
def less(x: T, y: T) -> T:
    return x if x < y or x != x else y


@inlined
def multiplied(x: T, y: T) -> T:
    return x * y


@inlined
def join_several(to: Array[T], source: Array[T]) -> None:
    for k in range(LANES):
        to[k] = joined(to[k], source[k])


@native
def join(arrays: Array[Array[T]], sizes: IndexSizes) -> int:
    """The same, joined in order with what is there."""
    to, source, index = arrays[0], arrays[1], cast(Array[int], arrays[2])
    return everywhere(
        index,
        sizes,
        lambda at, apart: assign(to, apart, joined(to[apart], source[at])),
        lambda at, apart: join_several(to + apart, source + at),
    )


# ---- triangles ---------------------------------------------------------------------------------------------
@native
def triangle(arrays: Array[Array[T]], sizes: Array[int]) -> int:
    """The side of a diagonal of matrices. Sizes: rows of all, rows and columns of each, the diagonal, and
    whether it is the lower side."""
    rows, columns, lower = sizes[1], sizes[2], sizes[4]
    for row in range(sizes[0]):
        to, x = arrays[0] + row * columns, arrays[1] + row * columns
        edge = min(max(row % rows + sizes[3] + lower, 0), columns)
        first, end = 0 if lower != 0 else edge, edge if lower != 0 else columns
        for at in range(first, end - LANES + 1, LANES):
            put(to + at, take(V, x + at))
        for at in range(max(end - (end - first) % LANES, first), end):
            to[at] = x[at]
        empty, stop = edge if lower != 0 else 0, columns if lower != 0 else edge
        for at in range(empty, stop - LANES + 1, LANES):
            put(to + at, cast(V, 0))
        for at in range(max(stop - (stop - empty) % LANES, empty), stop):
            to[at] = 0
    return 0


# ---- sorting -----------------------------------------------------------------------------------------------
@chosen
def precedes(x: T, y: T) -> bool: ...


@inlined
def is_less(x: T, y: T) -> bool:
    """NaN counts as the greatest."""
    return x < y or (x == x and y != y)


@inlined
def is_greater(x: T, y: T) -> bool:
    return is_less(y, x)


@native
def sort(arrays: Array[Array[T]], sizes: Array[int]) -> int:
    """The places that sort each row of a matrix, by insertion: equal elements keep their order. Sizes: rows
    and columns."""
    columns = sizes[1]
    for row in range(sizes[0]):
        places, line = cast(Array[int], arrays[0]) + row * columns, arrays[1] + row * columns
        for i in range(columns):
            x, j = line[i], i
            while j > 0 and precedes(x, line[places[j - 1]]):
                places[j] = places[j - 1]
                j -= 1
            places[j] = i
    return 0


# ---- products ----------------------------------------------------------------------------------------------
class ProductSizes(Record):
    batch: int
    m: int
    n: int
    k: int


@native
def product(arrays: Array[Array[T]], sizes: ProductSizes) -> int:
    """Products of matrices `[batch, m, k]` and `[batch, k, n]`, each element a sum in order. A vector of one
    is as wide as in memory."""
    n, k = sizes.n, sizes.k
    for row in range(sizes.batch * sizes.m):
        a, b, to = arrays[1] + row * k, arrays[2] + row // sizes.m * k * n, arrays[0] + row * n
        for j in range(n):
            total = cast(Vector[T, Literal[1]], 0.0)
            for i in range(k):
                x, y = take(Vector[T, Literal[1]], a + i), take(Vector[T, Literal[1]], b + (i * n + j))
                total = fused(x, y, total)
            put(to + j, total)
    return 0
