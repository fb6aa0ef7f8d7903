"""Where elements are not zero, in the native language: as many places as there are, so no step of a graph.

In flow a Tensor; out flows a new Tensor `[count, axes]`, or a tuple with a vector for each axis. What is not
plain goes to the record's `slow`.
"""

from __future__ import annotations

from retrograd.compiler.native.language import (
    Array,
    Byte,
    Float32,
    Record,
    cast,
    exported,
    inside,
    native,
    stack,
)
from retrograd.runtime.eager.instant.answers import BOOL, FLOAT32, FLOAT64, INT64
from retrograd.runtime.eager.instant.operands import boxed, is_plain, or_slow, shown
from retrograd.runtime.eager.instant.records import MOST, Asked, Function
from retrograd.runtime.native.grammar import ALIGNED
from retrograd.runtime.native.making import empty_array
from retrograd.runtime.native.objects import Memory, NdArray, Object, Py_DecRef, PyTuple_New, Tuple


class Walk(Record):
    """A way through an array's elements in their order."""

    array: NdArray
    at: Memory
    """The element that is next."""
    left: int
    """How many there are from it on."""
    places: Array[int]
    """Where it is along each axis."""


# ---- elements ----------------------------------------------------------------------------------------------
@native
def begin(walk: Walk, array: NdArray) -> None:
    walk.array, walk.at, walk.left = array, array.data, 1
    for k in range(array.ndim):
        walk.left *= array.shape[k]
        walk.places[k] = 0


@native
def advance(walk: Walk) -> None:
    """As an odometer: the last axis turns first."""
    walk.left -= 1
    array, axis = walk.array, walk.array.ndim - 1
    while axis >= 0:
        walk.at = inside(Memory, walk.at, array.strides[axis])
        walk.places[axis] += 1
        if walk.places[axis] < array.shape[axis]:
            return
        walk.at = inside(Memory, walk.at, -array.strides[axis] * array.shape[axis])
        walk.places[axis] = 0
        axis -= 1


@native
def differs(walk: Walk) -> bool:
    """Whether the element is not zero; a NaN is not."""
    dtype = walk.array.dtype
    if dtype is BOOL:
        return cast(Array[Byte], walk.at)[0] != 0
    if dtype is INT64:
        return cast(Array[int], walk.at)[0] != 0
    if dtype is FLOAT32:
        return cast(Array[Float32], walk.at)[0] != 0.0
    return cast(Array[float], walk.at)[0] != 0.0


# ---- results -----------------------------------------------------------------------------------------------
@native
def matrix(walk: Walk, count: int, array: NdArray) -> Object | None:
    """A row for each of so many places; in memory the axes lie one after the other, as in PyTorch."""
    extents, strides = stack(Array[int], 2), stack(Array[int], 2)
    extents[0], extents[1] = count, array.ndim
    strides[0], strides[1] = 8, 8 * count
    made = empty_array(INT64, 2, extents, strides)
    if made is None:
        return None
    to = cast(Array[int], made.data)
    begin(walk, array)
    while walk.left > 0:
        if differs(walk):
            for k in range(array.ndim):
                to[k * count] = walk.places[k]
            to = to + 1
        advance(walk)
    return boxed(made)


@native
def vector(walk: Walk, count: int, array: NdArray, axis: int) -> Object | None:
    """Of so many places, where they are along an axis."""
    extents = stack(Array[int], 1)
    extents[0] = count
    made = empty_array(INT64, 1, extents, None)
    if made is None:
        return None
    to = cast(Array[int], made.data)
    begin(walk, array)
    while walk.left > 0:
        if differs(walk):
            to[0] = walk.places[axis]
            to = to + 1
        advance(walk)
    return boxed(made)


@native
def vectors(walk: Walk, count: int, array: NdArray) -> Object | None:
    """A tuple of them."""
    found = PyTuple_New(array.ndim)
    if found is None:
        return None
    for axis in range(array.ndim):
        one = vector(walk, count, array, axis)
        if one is None:
            Py_DecRef(found)
            return None
        found.items[axis] = one
    return found


@native
def found(asked: Asked, array: NdArray) -> Object | None:
    """The places; null where the array is of another kind, or without memory."""
    dtype = array.dtype
    if dtype is not BOOL and dtype is not INT64 and dtype is not FLOAT32 and dtype is not FLOAT64:
        return None
    if array.flags & ALIGNED == 0 or array.ndim == 0 or array.ndim > MOST:
        return None
    walk = stack(Walk)
    walk.places = stack(Array[int], MOST)
    begin(walk, array)
    count = 0
    while walk.left > 0:
        if differs(walk):
            count += 1
        advance(walk)
    return vectors(walk, count, array) if asked.apart != 0 else matrix(walk, count, array)


@exported
def retrograd_places(
    function: Function, args: Array[Object], nargs: int, names: Tuple | None
) -> Object | None:
    """Where the only argument is not zero."""
    asked = function.asked
    array = shown(args[0]) if is_plain(asked, nargs, names) else None
    return or_slow(None if array is None else found(asked, array), asked.slow, args, nargs, names)
