"""Keys of native eager calls: a function does again what it did for arguments of these types.

What `replay.replayed` does in Python. A key is a `bytes` of 64-bit words, written from front to back, so that
no two different calls have the same: of a Tensor its dtype and extents, of anything else its kind and value.
A further kind is a member of `Kind` and a case of `is_entered`.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated

from retrograd.compiler.native.language import (
    Array,
    At,
    Inline,
    Int32,
    Record,
    cast,
    external,
    native,
    several,
    stack,
)
from retrograd.runtime.eager.instant.entries import dtype_of
from retrograd.runtime.eager.instant.operands import is_array, is_tensor
from retrograd.runtime.eager.instant.records import MOST, TENSOR, AnyTensor
from retrograd.runtime.native.grammar import CONTIGUOUS
from retrograd.runtime.native.objects import (
    FALSE,
    FLOAT,
    LIST,
    LONG,
    NONE,
    TRUE,
    TUPLE,
    Float,
    List,
    Memory,
    NdArray,
    Object,
    PyLong_AsLongAndOverflow,
    PyUnicode_AsUTF8AndSize,
    Sequence,
    Tuple,
    memcpy,
)

KEY_WORDS = 64
"""Of the longest key."""
MOST_TEXT = 512
"""Bytes."""


class Kind(IntEnum):
    """How a part of a key begins."""

    NONE = 1
    TRUE = 2
    FALSE = 3
    ELLIPSIS = 4
    SIZE = 5
    TUPLE = 6
    LIST = 7
    FLOAT = 8
    ITSELF = 9
    INT = 10
    TENSOR = 11
    SLICE = 12
    TEXT = 13
    DEVICE = 14
    SCATTERED = 15
    NUMPY_INT = 16


class Key(Record):
    """A key under way."""

    used: int
    """Words written."""
    found: int
    """Tensors among the arguments."""
    words: Inline[int] = several(KEY_WORDS)
    operands: Inline[Object] = several(MOST)


class Slice(Object):
    start: Annotated[Object, At("slice_start")]
    stop: Annotated[Object, At("slice_stop")]
    step: Annotated[Object, At("slice_step")]


class Device(Object):
    name: Annotated[Object, At("device_type")]
    index: Annotated[Object, At("device_index")]


ELLIPSIS = external(Object, "_Py_EllipsisObject")
SLICE, TEXT = external(Object, "PySlice_Type"), external(Object, "PyUnicode_Type")
NUMPY_INT = external(Object, "numpy_int_type")
SIZE, DEVICE = external(Object, "size_type"), external(Object, "device_type")
OWN_DTYPE, GENERATOR = external(Object, "own_dtype_type"), external(Object, "generator_type")


# ---- calls -------------------------------------------------------------------------------------------------
@native
def is_described(key: Key, args: Array[Object], count: int, names: Tuple | None) -> bool:
    """Write a call's key: all arguments, those by name after their names. False where there can be none."""
    key.used, key.found = 0, 0
    for i in range(count):
        if not is_entered(key, args[i]):
            return False
    if names is not None:
        for i in range(names.length):
            if not is_text_entered(key, names.items[i]) or not is_entered(key, args[count + i]):
                return False
    return True


# ---- parts -------------------------------------------------------------------------------------------------
@native
def is_put(key: Key, word: int) -> bool:
    """Add a word, if there is room."""
    if key.used >= KEY_WORDS:
        return False
    key.words[key.used] = word
    key.used += 1
    return True


@native
def is_entered(key: Key, x: Object) -> bool:
    """Add an argument. False for what cannot be part of a key."""
    kind = x.type
    if kind is TENSOR:
        return is_tensor_entered(key, cast(AnyTensor, x))
    if kind is LONG:
        return is_int_entered(key, x)
    if x is NONE:
        return is_put(key, Kind.NONE)
    if x is TRUE:
        return is_put(key, Kind.TRUE)
    if x is FALSE:
        return is_put(key, Kind.FALSE)
    if x is ELLIPSIS:
        return is_put(key, Kind.ELLIPSIS)
    if kind is TUPLE:
        return are_items_entered(key, Kind.TUPLE, cast(Tuple, x), cast(Tuple, x).items)
    if kind is SIZE:
        return are_items_entered(key, Kind.SIZE, cast(Tuple, x), cast(Tuple, x).items)
    if kind is LIST:
        return are_items_entered(key, Kind.LIST, cast(List, x), cast(List, x).items)
    if kind is SLICE:
        return is_slice_entered(key, cast(Slice, x))
    if kind is FLOAT:
        return is_put(key, Kind.FLOAT) and is_put(key, cast(Array[int], cast(Float, x).value)[0])
    if kind is OWN_DTYPE or kind is GENERATOR:  # one object of each; a plan keeps its generator
        return is_put(key, Kind.ITSELF) and is_put(key, cast(int, x))
    if kind is TEXT:
        return is_text_entered(key, x)
    if kind is NUMPY_INT:
        return is_put(key, Kind.NUMPY_INT) and is_put(key, cast(Array[int], cast(Float, x).value)[0])
    if kind is DEVICE:
        return is_device_entered(key, cast(Device, x))
    return is_tensor(x) and is_tensor_entered(key, cast(AnyTensor, x))


@native
def is_int_entered(key: Key, x: Object) -> bool:
    overflow = stack(Array[Int32], 1)
    value = PyLong_AsLongAndOverflow(x, overflow)
    return overflow[0] == 0 and is_put(key, Kind.INT) and is_put(key, value)


@native
def is_tensor_entered(key: Key, x: AnyTensor) -> bool:
    array = x.value
    if not is_array(array) or key.found >= MOST:
        return False
    key.operands[key.found] = x
    key.found += 1
    return is_type_put(key, array)


@native
def is_type_put(key: Key, array: NdArray) -> bool:
    """An array's dtype and extents."""
    dtype = dtype_of(array)
    if dtype < 0 or not is_put(key, dtype << 32 | array.ndim << 16 | Kind.TENSOR):
        return False
    for axis in range(array.ndim):  # noqa: SIM110  # the native language has no generators
        if not is_put(key, array.shape[axis]):
            return False
    return True


@native
def are_strides_entered(key: Key) -> bool:
    """Add how the elements of the operands lie that are not in order."""
    for i in range(key.found):
        array = cast(AnyTensor, key.operands[i]).value
        if array.flags & CONTIGUOUS == 0 and not are_strides_of_entered(key, i, array):
            return False
    return True


@native
def are_strides_of_entered(key: Key, operand: int, array: NdArray) -> bool:
    if not is_put(key, operand << 16 | Kind.SCATTERED):
        return False
    for axis in range(array.ndim):  # noqa: SIM110  # the native language has no generators
        if not is_put(key, array.strides[axis]):
            return False
    return True


@native
def are_items_entered(key: Key, kind: int, sequence: Sequence, items: Array[Object]) -> bool:
    """A tuple or list, item by item."""
    if not is_put(key, sequence.length << 16 | kind):
        return False
    for i in range(sequence.length):  # noqa: SIM110  # the native language has no generators
        if not is_entered(key, items[i]):
            return False
    return True


@native
def is_slice_entered(key: Key, x: Slice) -> bool:
    return (
        is_put(key, Kind.SLICE) and is_end_entered(key, x.start) and is_end_entered(key, x.stop)
        and is_end_entered(key, x.step)
    )  # fmt: skip


@native
def is_end_entered(key: Key, x: Object) -> bool:
    """An int or None."""
    if x is NONE:
        return is_put(key, Kind.NONE)
    return x.type is LONG and is_int_entered(key, x)


@native
def is_device_entered(key: Key, x: Device) -> bool:
    return is_put(key, Kind.DEVICE) and is_text_entered(key, x.name) and is_end_entered(key, x.index)


@native
def is_text_entered(key: Key, x: Object) -> bool:
    """A text by its bytes, whole words of them."""
    length = stack(Array[int], 1)
    content = PyUnicode_AsUTF8AndSize(x, length)
    if content is None or not is_put(key, length[0] << 16 | Kind.TEXT):
        return False
    used = key.used + (length[0] + 7 >> 3)
    if used > KEY_WORDS or length[0] >= MOST_TEXT:
        return False
    if length[0] > 0:
        key.words[used - 1] = 0
        memcpy(cast(Memory, key.words + key.used), content, length[0])
        key.used = used
    return True
