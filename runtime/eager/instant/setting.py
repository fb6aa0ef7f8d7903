"""`x[index] = value` natively, where nothing is recorded and the index means the same to NumPy.

In flow the Tensor, the index and the value; out flows None, when NumPy has written. An index is ints, forward
slices, None and the ellipsis, or one mask, or tensors of integers beside slices; a value is a number, or a
Tensor of the same dtype. `slow` does all else, and says what is wrong.
"""

from __future__ import annotations

from retrograd.compiler.native.language import Array, Int32, cast, exported, native, stack
from retrograd.runtime.eager.instant.answers import BOOL, INT64
from retrograd.runtime.eager.instant.entries import dtype_of
from retrograd.runtime.eager.instant.history import is_recorded
from retrograd.runtime.eager.instant.keys import ELLIPSIS, SLICE, Slice
from retrograd.runtime.eager.instant.lists import is_change_noted, is_open_to_change
from retrograd.runtime.eager.instant.operands import (
    array_of,
    forgive,
    is_plain,
    is_tensor,
    is_where_its_base_is,
    or_slow,
    shared,
    shown,
    tracked,
)
from retrograd.runtime.eager.instant.records import FLOATING, SOLID, AnyTensor, Function
from retrograd.runtime.native.objects import (
    FLOAT,
    LONG,
    NONE,
    TUPLE,
    Float,
    NdArray,
    Object,
    Py_DecRef,
    PyLong_AsLongAndOverflow,
    PyObject_SetItem,
    PyTuple_New,
    Tuple,
)

HELD = 65504
"""What every floating dtype holds."""


@exported
def retrograd_set(function: Function, args: Array[Object], nargs: int, names: Tuple | None) -> Object | None:
    """None, when the elements at an index have been written."""
    asked = function.asked
    array = array_of(args[0]) if is_plain(asked, nargs, names) else None
    done = array is not None and is_written_at(cast(AnyTensor, args[0]), array, args[1], args[2])
    return or_slow(shared(NONE) if done else None, asked.slow, args, nargs, names)


@native
def is_written_at(x: AnyTensor, array: NdArray, index: Object, value: Object) -> bool:
    """Have NumPy write; false for Python's turn."""
    if not is_open_to_change(x, array) or not is_where_its_base_is(x):
        return False
    others = tracked(value) if is_tensor(value) else 0
    if is_recorded(tracked(x) | others):
        return False
    at, elements = plain_index(index), elements_for(array, value)
    done = at is not None and elements is not None and PyObject_SetItem(array, at, elements) == 0
    forgive()  # NumPy takes less: no number that wraps around, no elements of two axes for a mask
    Py_DecRef(at)
    Py_DecRef(elements)
    return done and is_change_noted(x)


# ---- the index ---------------------------------------------------------------------------------------------
@native
def plain_index(index: Object) -> Object | None:
    """The index as NumPy takes it, a new reference; null of another one."""
    if is_tensor(index):
        array = shown(index)
        if array is None or array.ndim == 0 or (array.dtype is not BOOL and array.dtype is not INT64):
            return None
        return shared(array)
    if index.type is not TUPLE:
        return shared(index) if is_span(index) else None
    parts = cast(Tuple, index)
    for i in range(parts.length):
        if is_tensor(parts.items[i]):
            return index_of_picks(parts)
        if not is_span(parts.items[i]):
            return None
    return shared(index)


@native
def index_of_picks(parts: Tuple) -> Tuple | None:
    """The same of tensors of integers and slices; beside ints or new axes NumPy means something else."""
    made = PyTuple_New(parts.length)
    if made is None:
        return None
    for i in range(parts.length):
        part = parts.items[i]
        pick = picked(part) if is_tensor(part) else part
        if pick is None or not (pick is not part or (part.type is SLICE and is_span(part))):
            Py_DecRef(made)
            return None
        made.items[i] = shared(pick)
    return made


@native
def picked(x: Object) -> Object | None:
    """The array of a tensor of integers, borrowed; null of another one."""
    array = shown(x)
    return None if array is None or array.ndim == 0 or array.dtype is not INT64 else array


@native
def is_span(part: Object) -> bool:
    """Whether a part of an index is an int, a slice without a step, None or the ellipsis."""
    if part.type is LONG or part is NONE or part is ELLIPSIS:
        return True
    if part.type is not SLICE:
        return False
    span = cast(Slice, part)
    return span.step is NONE and is_end(span.start) and is_end(span.stop)


@native
def is_end(x: Object) -> bool:
    return x is NONE or x.type is LONG


# ---- the value ---------------------------------------------------------------------------------------------
@native
def elements_for(array: NdArray, value: Object) -> Object | None:
    """What NumPy writes for a value, a new reference; null where Python must look."""
    if is_tensor(value):
        given = shown(value)
        return None if given is None or given.dtype is not array.dtype else shared(given)
    dtype = dtype_of(array)
    if value.type is FLOAT and 0 <= dtype < FLOATING:
        return shared(value) if abs(cast(Float, value).value[0]) < cast(float, HELD) else None
    if value.type is not LONG or not 0 <= dtype < SOLID:
        return None
    overflow = stack(Array[Int32], 1)
    whole = PyLong_AsLongAndOverflow(value, overflow)
    return shared(value) if overflow[0] == 0 and (dtype >= FLOATING or -HELD < whole < HELD) else None
