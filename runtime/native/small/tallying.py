"""The native callable of a tally: what is found in arrays, of which their elements tell how much it is.

`self` is a tuple of the record, of 64-bit words in a `bytes`, and the Python function `slow`, which does the
same for any arguments. The record is a `Head`, then dtypes of arguments, rooms, outputs, places (`entry.py`)
and the kernel's options. The kernel writes into rooms as much as there is; results are copies of that.
Arguments of other dtypes, or that are many, are for `slow`; what does not lie in order is copied first.
"""

from __future__ import annotations

from collections.abc import Callable

from retrograd.compiler.native.language import (
    Array,
    Inline,
    Record,
    cast,
    exported,
    inside,
    native,
    several,
    stack,
    words,
)
from retrograd.runtime.native.boxing import drop
from retrograd.runtime.native.grammar import ALIGNED, CONTIGUOUS
from retrograd.runtime.native.making import IN_ORDER, empty_array, size_of
from retrograd.runtime.native.objects import (
    NUMPY_ARRAY,
    Dtype,
    Memory,
    NdArray,
    Object,
    Py_IncRef,
    Tuple,
    memcpy,
    numpy_new_copy,
)
from retrograd.runtime.native.small.copies import MOST_AXES
from retrograd.runtime.native.small.entry import MOST_ARRAYS, Called, given, or_slow

AS_FIRST, AS_KNOWN = -2, -1
"""Whether a result has the shape of the first argument or its own; else one of its axes is as long as what
the kernel found is much."""


class Head(Called):
    kernel: Callable[[Array[Memory], Array[Memory], Array[int], Array[int]], int]
    """Of rooms, arguments, how many elements those have, and options: how much it found, or below 0 what is
    for `slow`."""
    most: int
    """Elements of an argument."""
    rooms_at: int
    outputs_at: int
    options_at: int
    dtypes: Inline[Object]


class Output(Record):
    dtype: Object
    room: int
    """The number of that with its elements."""
    how: int
    """Or the number of that axis."""
    axes: int
    extents: Inline[int] = several(MOST_AXES)


HEAD_WORDS, OUTPUT_WORDS = words(Head) - 1, words(Output)


@exported
def retrograd_tally(self: Tuple, args: Array[Object], nargs: int, names: Tuple | None) -> Object | None:
    return or_slow(self, args, nargs, names, lambda record: tallied(cast(Head, record), args))


@native
def tallied(head: Head, args: Array[Object]) -> Object | None:
    """The result; null where it is not for such arguments."""
    inputs, sizes = stack(Array[Memory], MOST_ARRAYS), stack(Array[int], MOST_ARRAYS)
    arrays = stack(Array[NdArray | None], MOST_ARRAYS)
    for i in range(head.inputs):
        x = cast(NdArray, args[i])
        if x.type is not NUMPY_ARRAY or x.dtype is not head.dtypes[i]:
            return None
        sizes[i] = size_of(x)
        if sizes[i] > head.most:
            return None
    for i in range(head.inputs):
        arrays[i] = ordered(cast(NdArray, args[i]))
        if arrays[i] is None:
            drop(cast(Array[Object | None], arrays), i)
            return None
        inputs[i] = cast(NdArray, arrays[i]).data
    rooms = inside(Array[Memory], head, head.rooms_at << 3)
    found = head.kernel(rooms, inputs, sizes, inside(Array[int], head, head.options_at << 3))
    drop(cast(Array[Object | None], arrays), head.inputs)
    if found < 0:
        return None
    results = stack(Array[NdArray | None], MOST_ARRAYS)
    for k in range(head.outputs):
        output = inside(Output, head, (head.outputs_at + k * OUTPUT_WORDS) << 3)
        results[k] = copied(output, rooms, found, cast(NdArray, args[0]))
        if results[k] is None:
            return given(head, results, k, False)
    return given(head, results, head.outputs, True)


@native
def ordered(x: NdArray) -> NdArray | None:
    """The array, or a copy of it, whose elements lie in order; null without memory."""
    if x.flags & (CONTIGUOUS | ALIGNED) != CONTIGUOUS | ALIGNED:
        return numpy_new_copy(x, IN_ORDER)
    Py_IncRef(x)
    return x


@native
def copied(output: Output, rooms: Array[Memory], found: int, first: NdArray) -> NdArray | None:
    """A new array of what lies in a room."""
    axes, extents = first.ndim, first.shape
    if output.how != AS_FIRST:
        axes, extents = output.axes, stack(Array[int], MOST_AXES)
        for axis in range(axes):
            extents[axis] = found if axis == output.how else output.extents[axis]
    made = empty_array(output.dtype, axes, extents, None)
    if made is not None:
        memcpy(made.data, rooms[output.room], size_of(made) * cast(Dtype, output.dtype).itemsize)
    return made
