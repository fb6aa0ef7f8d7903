"""The kernels that go by element: copies, reads and writes where indices say, sorting, products of matrices.

In flow arrays and the sizes of a step; out flows 0, or 1 where an index is out of range. Each is a function
for elements of a type `T`, of which `kernels.py` makes instances. An index below 0 counts from the end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeVar

from retrograd.compiler.native.language import (
    Array,
    Inline,
    Record,
    Vector,
    cast,
    chosen,
    fused,
    inlined,
    inside,
    native,
    put,
    several,
    stack,
    take,
)

T = TypeVar("T", int, float)

MOST_AXES = 8
"""Of a copy, and of operands and results."""


# ---- copies ------------------------------------------------------------------------------------------------
class CopySizes(Record):
    """Steps are in bytes."""

    axes: int
    """At least one."""
    extents: Inline[int] = several(MOST_AXES)
    to_steps: Inline[int] = several(MOST_AXES)
    from_steps: Inline[int] = several(MOST_AXES)


@native
def copy(arrays: Array[Array[T]], sizes: CopySizes) -> int:
    """Elements to and from anywhere."""
    places, last = stack(Array[int], MOST_AXES), sizes.axes - 1
    for axis in range(last):
        places[axis] = 0
    to, source = arrays[0], arrays[1]
    count, to_step, from_step = sizes.extents[last], sizes.to_steps[last], sizes.from_steps[last]
    while True:
        target, origin = to, source
        for _ in range(count):
            target[0] = origin[0]
            target, origin = inside(Array[T], target, to_step), inside(Array[T], origin, from_step)
        axis = last - 1
        while axis >= 0 and places[axis] == sizes.extents[axis] - 1:  # as an odometer: this one turns over
            to = inside(Array[T], to, -sizes.to_steps[axis] * places[axis])
            source = inside(Array[T], source, -sizes.from_steps[axis] * places[axis])
            places[axis] = 0
            axis -= 1
        if axis < 0:
            return 0
        places[axis] += 1
        to = inside(Array[T], to, sizes.to_steps[axis])
        source = inside(Array[T], source, sizes.from_steps[axis])


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
def everywhere(index: Array[int], sizes: IndexSizes, move: Callable[[int, int], None]) -> int:
    """Move an element for each index, given where it is in their order, and where the index says."""
    at = 0
    for a in range(sizes.before):
        for k in range(sizes.count):
            for b in range(sizes.after):
                chosen = index[a * sizes.step_before + k * sizes.step_count + b * sizes.step_after]
                chosen = chosen + sizes.size if chosen < 0 else chosen
                if not 0 <= chosen < sizes.size:
                    return 1
                move(at, (a * sizes.size + chosen) * sizes.after + b)
                at += 1
    return 0


@inlined
def assign(to: Array[T], place: int, element: T) -> None:
    to[place] = element


@native
def gather(arrays: Array[Array[T]], sizes: IndexSizes) -> int:
    """Elements of an operand `[before, size, after]`."""
    to, source, index = arrays[0], arrays[1], cast(Array[int], arrays[2])
    return everywhere(index, sizes, lambda at, apart: assign(to, at, source[apart]))


@native
def scatter(arrays: Array[Array[T]], sizes: IndexSizes) -> int:
    """Elements of a result `[before, size, after]`, the last for a place in the end."""
    to, source, index = arrays[0], arrays[1], cast(Array[int], arrays[2])
    return everywhere(index, sizes, lambda at, apart: assign(to, apart, source[at]))


@native
def add_up(arrays: Array[Array[T]], sizes: IndexSizes) -> int:
    """The same, added in order to what is there."""
    to, source, index = arrays[0], arrays[1], cast(Array[int], arrays[2])
    return everywhere(index, sizes, lambda at, apart: assign(to, apart, to[apart] + source[at]))


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


@native
def join(arrays: Array[Array[T]], sizes: IndexSizes) -> int:
    """The same, joined in order with what is there."""
    to, source, index = arrays[0], arrays[1], cast(Array[int], arrays[2])
    return everywhere(index, sizes, lambda at, apart: assign(to, apart, joined(to[apart], source[at])))


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
