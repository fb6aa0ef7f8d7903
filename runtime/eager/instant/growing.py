"""A Tensor given more elements in place, natively: what `functions.resizing.resize_` is in Python.

In flow a Tensor that nobody else looks at and that has all of its memory, and the new extents; out flows the
Tensor on memory of its own, where its elements come first and zeros are after them. Whatever else there may
be is for `slow`.
"""

from __future__ import annotations

from retrograd.compiler.native.language import Array, Byte, cast, exported, inside, native, stack
from retrograd.runtime.eager.instant.history import is_change_counted
from retrograd.runtime.eager.instant.operands import (
    COUNT,
    forgive,
    is_array,
    is_tensor,
    or_slow,
    shared,
    tracked,
)
from retrograd.runtime.eager.instant.rearranging import is_alone
from retrograd.runtime.eager.instant.records import MOST, OPEN_TRACES, AnyTensor, Function
from retrograd.runtime.native.grammar import CONTIGUOUS
from retrograd.runtime.native.making import empty_array, size_of
from retrograd.runtime.native.objects import (
    LONG,
    Dtype,
    Memory,
    Object,
    Py_DecRef,
    PyLong_AsLongLong,
    Tuple,
    memcpy,
)

MOST_GROWN = 1 << 20
"""Elements; beyond them Python's way costs little."""


@exported
def retrograd_grown(
    function: Function, args: Array[Object], nargs: int, names: Tuple | None
) -> Object | None:
    """The first argument, with these extents."""
    found: Object | None = None
    rank = (nargs & COUNT) - 1
    if names is None and OPEN_TRACES[0] == 0 and rank > 0 and rank <= MOST and is_tensor(args[0]):
        x = cast(AnyTensor, args[0])
        if is_alone(x) and tracked(x) == 0 and is_whole(x):
            found = grown(x, args + 1, rank)
    return or_slow(found, function.asked.slow, args, nargs, names)


@native
def is_whole(x: AnyTensor) -> bool:
    """Whether its elements lie in order, and nothing else is in their memory."""
    return is_array(x.value) and x.value.flags & CONTIGUOUS != 0 and x.value.base is None


@native
def grown(x: AnyTensor, sizes: Array[Object], rank: int) -> Object | None:
    """The Tensor with these extents; null where they are no more elements, or none that are here for."""
    extents, size, array = stack(Array[int], MOST), 1, x.value
    for axis in range(rank):
        if sizes[axis].type is not LONG:
            return None
        extent = PyLong_AsLongLong(sizes[axis])
        if extent < 1 or extent > MOST_GROWN:
            forgive()  # one that is no 64-bit number
            return None
        extents[axis] = extent
        size *= extent
        if size > MOST_GROWN:
            return None
    held = size_of(array)
    if size <= held:
        return None
    made = empty_array(array.dtype, rank, extents, None)
    if made is None or not is_change_counted(x):
        return None
    itemsize = cast(Dtype, array.dtype).itemsize
    memcpy(made.data, array.data, held * itemsize)
    rest = cast(Array[Byte], inside(Memory, made.data, held * itemsize))
    for k in range((size - held) * itemsize):
        rest[k] = 0
    x.value = made
    Py_DecRef(array)
    return shared(x)
