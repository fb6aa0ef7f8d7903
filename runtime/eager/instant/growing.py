"""Tensors that show their memory in another way, or other memory, natively: what `resize_`, `resize_as_` and
`set_` are in Python (`functions/resizing.py`), and `as_strided_` (`functions/restriding.py`).

In flow a Tensor that nobody else looks at and of which nothing is recorded, and extents, strides and an
offset; out flows the same Tensor. Where memory is too little, there is more of it, of its own, where its
elements come first and zeros are after them. Whatever else there may be is for `slow`.
"""

from __future__ import annotations

from collections.abc import Callable

from retrograd.compiler.native.language import Array, Byte, cast, exported, inlined, inside, native, stack
from retrograd.runtime.eager.instant.history import is_change_counted
from retrograd.runtime.eager.instant.makers import SIZE
from retrograd.runtime.eager.instant.operands import (
    COUNT,
    are_shapes_equal,
    forgive,
    is_array,
    is_tensor,
    or_slow,
    owner_of,
    shared,
    shown,
    tracked,
)
from retrograd.runtime.eager.instant.rearranging import is_alone
from retrograd.runtime.eager.instant.records import MOST, OPEN_TRACES, AnyTensor, Function
from retrograd.runtime.native.grammar import CONTIGUOUS, WRITEABLE
from retrograd.runtime.native.making import empty_array, size_of
from retrograd.runtime.native.objects import (
    LONG,
    NUMPY_ARRAY,
    TUPLE,
    Dtype,
    Memory,
    NdArray,
    Object,
    Py_DecRef,
    PyLong_AsLongLong,
    Tuple,
    memcpy,
    numpy_new_from_descr,
    numpy_set_base,
)

MOST_GROWN = 1 << 20
"""Elements; beyond them Python's way costs little."""
FARTHEST = 1 << 31
"""Elements along an axis, or from one to the next; more are an error, or will be one."""


@inlined
def placed(
    function: Function,
    args: Array[Object],
    nargs: int,
    names: Tuple | None,
    place: Callable[[AnyTensor, int], Object | None],
) -> Object | None:
    """What `place` makes of the first argument and the number of arguments, if nobody else looks at it."""
    found: Object | None = None
    count = nargs & COUNT
    if names is None and OPEN_TRACES[0] == 0 and count > 1 and is_tensor(args[0]):
        x = cast(AnyTensor, args[0])
        if is_alone(x) and tracked(x) == 0 and is_array(x.value):
            found = place(x, count)
    return or_slow(found, function.asked.slow, args, nargs, names)


@exported
def retrograd_resized(
    function: Function, args: Array[Object], nargs: int, names: Tuple | None
) -> Object | None:
    """The first argument, with these extents."""
    return placed(function, args, nargs, names, lambda x, count: resized(x, args, count))


@exported
def retrograd_resized_as(
    function: Function, args: Array[Object], nargs: int, names: Tuple | None
) -> Object | None:
    """The first argument, with the extents of the second."""
    return placed(
        function, args, nargs, names, lambda x, count: resized_as(x, args[1]) if count == 2 else None
    )


@exported
def retrograd_restrided_in_place(
    function: Function, args: Array[Object], nargs: int, names: Tuple | None
) -> Object | None:
    """The first argument, with these extents and strides, from an offset on if one is given."""
    return placed(function, args, nargs, names, lambda x, count: restrided(x, args, count))


@exported
def retrograd_set_to(
    function: Function, args: Array[Object], nargs: int, names: Tuple | None
) -> Object | None:
    """The first argument, in the memory of the second."""
    return placed(function, args, nargs, names, lambda x, count: set_to(x, args, count))


# ---- numbers -----------------------------------------------------------------------------------------------
@native
def counted(items: Array[Object], count: int, found: Array[int]) -> bool:
    """Read so many ints, none of them negative; false where they are something else, or too many."""
    if count > MOST:
        return False
    for k in range(count):
        if items[k].type is not LONG:
            return False
        number = PyLong_AsLongLong(items[k])
        if number < 0 or number > FARTHEST:
            forgive()  # one that is no 64-bit number
            return False
        found[k] = number
    return True


@native
def counted_in(pair: Object, found: Array[int]) -> int:
    """Read the ints of a tuple: how many; -1 where it is none of ints."""
    if pair.type is not TUPLE and pair.type is not SIZE:
        return -1
    items = cast(Tuple, pair)
    return items.length if counted(items.items, items.length, found) else -1


@native
def product(extents: Array[int], rank: int) -> int:
    """How many elements there are; -1 if they are too many."""
    size = 1
    for axis in range(rank):
        size *= extents[axis]
        if size > FARTHEST:
            return -1
    return size


# ---- in memory that is there -------------------------------------------------------------------------------
@native
def is_whole(array: NdArray) -> bool:
    """Whether an array's elements lie in order, and nothing else is in their memory."""
    return array.flags & CONTIGUOUS != 0 and array.base is None


@native
def length_of(owner: NdArray, itemsize: int) -> int:
    """How many elements of this size have room in an owner's memory; -1 if it has gaps."""
    if owner.flags & CONTIGUOUS == 0:
        return -1
    return size_of(owner) * cast(Dtype, owner.dtype).itemsize // itemsize


@native
def start_of(array: NdArray, owner: NdArray, itemsize: int) -> int:
    """How many elements lie in the memory before an array's first."""
    return (cast(int, array.data) - cast(int, owner.data)) // itemsize


@native
def shows(
    x: AnyTensor, owner: NdArray, rank: int, extents: Array[int], strides: Array[int] | None, first: int
) -> Object | None:
    """The Tensor, which shows so much of an owner's memory, from its element `first` on."""
    array = x.value
    start = inside(Memory, owner.data, first * cast(Dtype, array.dtype).itemsize)
    part = numpy_new_from_descr(
        NUMPY_ARRAY, shared(array.dtype), rank, extents, strides, start, owner.flags & WRITEABLE, None
    )
    if part is None:
        return None
    numpy_set_base(part, shared(owner))
    if not is_change_counted(x):
        Py_DecRef(part)
        return None
    x.value = part
    Py_DecRef(array)
    return shared(x)


@native
def resized(x: AnyTensor, args: Array[Object], count: int) -> Object | None:
    """The Tensor with the extents that are the arguments, or in the only one."""
    extents, rank = stack(Array[int], MOST), count - 1
    if count == 2 and args[1].type is not LONG:
        rank = counted_in(args[1], extents)
    elif not counted(args + 1, rank, extents):
        return None
    return sized(x, rank, extents) if rank > 0 else None


@native
def resized_as(x: AnyTensor, like: Object) -> Object | None:
    """The Tensor with the extents of another."""
    model = shown(like)
    if model is None or model.ndim == 0 or model.ndim > MOST:
        return None
    return shared(x) if are_shapes_equal(x.value, model) else sized(x, model.ndim, model.shape)


@native
def sized(x: AnyTensor, rank: int, extents: Array[int]) -> Object | None:
    """The Tensor with these extents, its elements in order."""
    array, size = x.value, product(extents, rank)
    if is_shape(array, rank, extents):
        return shared(x)
    itemsize, owner = cast(Dtype, array.dtype).itemsize, owner_of(array)
    if size < 0 or itemsize == 0:
        return None
    first = start_of(array, owner, itemsize)
    if first + size <= length_of(owner, itemsize):
        return shows(x, owner, rank, extents, None, first)
    return grown(x, rank, extents, size) if is_whole(array) and size <= MOST_GROWN else None


@native
def is_shape(array: NdArray, rank: int, extents: Array[int]) -> bool:
    if array.ndim != rank:
        return False
    for axis in range(rank):  # noqa: SIM110  # the native language has no generators
        if array.shape[axis] != extents[axis]:
            return False
    return True


@native
def restrided(x: AnyTensor, args: Array[Object], count: int) -> Object | None:
    """The Tensor with the extents, strides and offset that are the arguments, in its memory."""
    if count > 4:
        return None
    owner = owner_of(x.value)
    given = args[3] if count == 4 else None
    return laid_in(x, x.value, owner, args[1], args[2], given, 0)


@native
def laid_in(
    x: AnyTensor, array: NdArray, owner: NdArray, size: Object, stride: Object | None, offset: Object | None,
    beyond: int,
) -> Object | None:  # fmt: skip
    """The Tensor with extents and strides (or in order), from an offset, or else where an array begins, and
    so far beyond, in an owner's memory; null where that does not reach."""
    extents, strides, first = stack(Array[int], MOST), stack(Array[int], MOST), stack(Array[int], 1)
    itemsize, rank = cast(Dtype, x.value.dtype).itemsize, counted_in(size, extents)
    if rank < 0 or itemsize == 0 or product(extents, rank) <= 0:
        return None
    first[0] = start_of(array, owner, itemsize) + beyond
    if offset is not None and not is_offset(offset, first):
        return None
    if stride is None:
        return in_order_in(x, owner, rank, extents, first[0], itemsize)
    if counted_in(stride, strides) != rank:
        return None
    last = first[0]
    for axis in range(rank):
        last += (extents[axis] - 1) * strides[axis]
        if last > FARTHEST:
            return None
        strides[axis] *= itemsize
    return shows(x, owner, rank, extents, strides, first[0]) if last < length_of(owner, itemsize) else None


@native
def in_order_in(
    x: AnyTensor, owner: NdArray, rank: int, extents: Array[int], first: int, itemsize: int
) -> Object | None:
    if first + product(extents, rank) > length_of(owner, itemsize):
        return None
    return shows(x, owner, rank, extents, None, first)


@native
def is_offset(number: Object, found: Array[int]) -> bool:
    numbers = stack(Array[Object], 1)
    numbers[0] = number
    return counted(numbers, 1, found)


@native
def set_to(x: AnyTensor, args: Array[Object], count: int) -> Object | None:
    """The Tensor in the memory of another of its dtype, seen as that sees it, or with an offset from there,
    extents and strides."""
    source = shown(args[1])
    if source is None or source.dtype is not x.value.dtype or count == 3 or count > 5:
        return None
    if count == 2:
        if not is_change_counted(x):
            return None
        array, x.value = x.value, shared(source)
        Py_DecRef(array)
        return shared(x)
    beyond = stack(Array[int], 1)
    if not is_offset(args[2], beyond):
        return None
    return laid_in(x, source, owner_of(source), args[3], args[4] if count == 5 else None, None, beyond[0])


# ---- in more memory ----------------------------------------------------------------------------------------
@native
def grown(x: AnyTensor, rank: int, extents: Array[int], size: int) -> Object | None:
    """The Tensor with these extents, which are more elements than its own, in memory of its own."""
    array = x.value
    held, made = size_of(array), empty_array(array.dtype, rank, extents, None)
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
