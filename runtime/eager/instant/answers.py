"""What is asked of Tensors, in the native language: itself, its only element, a truth about all elements.

In flow the arguments of a call, as CPython's vectorcall passes them, and the callable's record (`Asked`,
which `calls.py` fills in); out flows the Tensor, or a Python number. Whatever is not plain goes to the
record's `slow`, as in `operands_text.py`, and so does every error.
"""

from __future__ import annotations

from typing import Annotated

from retrograd.compiler.native.language import (
    Array,
    At,
    Byte,
    Float32,
    Record,
    cast,
    exported,
    external,
    native,
    stack,
)
from retrograd.runtime.native.objects import (
    NONE,
    NUMPY_ARRAY,
    List,
    NdArray,
    Object,
    Py_DecRef,
    Py_IncRef,
    PyBool_FromLong,
    PyContext_Enter,
    PyContext_Exit,
    PyErr_Clear,
    PyErr_ExceptionMatches,
    PyErr_Occurred,
    PyFloat_FromDouble,
    PyLong_FromLongLong,
    PyObject_IsTrue,
    PyObject_Vectorcall,
    PyType_IsSubtype,
    Tuple,
)

MOST = 8
"""Tensors that are asked together."""
ALIGNED = 0x100
"""NumPy's flag."""
_COUNT = (1 << 63) - 1
"""What of a vectorcall's `nargs` is the number of arguments."""


class Asked(Record):
    """The record of a callable."""

    slow: Object
    compute: Object
    arity: int
    floats: int
    """Whether only numbers with a point are told."""
    apart: int
    """Whether places are told for each axis apart (`finding.py`)."""


class Function(Object):
    asked: Annotated[Asked, At("record")]


class AnyTensor(Object):
    value: Annotated[NdArray, At("tensor_value")]
    counter: Annotated[List, At("tensor_counter")]
    view: Annotated[View, At("tensor_view")]


class View(Object):
    base: Annotated[AnyTensor, At("view_base")]
    version: Annotated[Object, At("view_version")]


TENSOR = external(Object, "tensor_type")
OPEN_TRACES = external(Array[int], "open_traces")
FLOAT32, FLOAT64, INT64, BOOL = (
    external(Object, f"dtype_{name}") for name in ("float32", "float64", "int64", "bool")
)
QUIET_CONTEXT = external(Object, "quiet_context")
EXCEPTION = external(Array[Object], "PyExc_Exception")


# ---- operands ----------------------------------------------------------------------------------------------
@native
def is_plain(asked: Asked, count: int, names: Tuple | None) -> bool:
    """Whether there are as many arguments as the record says, none by name, outside of traces."""
    return count & _COUNT == asked.arity and names is None and OPEN_TRACES[0] == 0


@native
def array_of(x: Object) -> NdArray | None:
    """The array of a Tensor, borrowed; null of anything else."""
    if x.type is not TENSOR and PyType_IsSubtype(x.type, TENSOR) == 0:
        return None
    value = cast(AnyTensor, x).value
    return value if value.type is NUMPY_ARRAY else None


@native
def shown(x: Object) -> NdArray | None:
    """The same, but null of a view that has not seen the last change of its base."""
    array = array_of(x)
    if array is None:
        return None
    view = cast(AnyTensor, x).view
    return array if view is NONE or view.base.counter.items[0] is view.version else None


# ---- the Tensor itself -------------------------------------------------------------------------------------
@exported
def retrograd_itself(
    function: Function, args: Array[Object], count: int, names: Tuple | None
) -> Object | None:
    """The first argument, a Tensor of an array."""
    asked = function.asked
    if is_plain(asked, count, names) and array_of(args[0]) is not None:
        Py_IncRef(args[0])
        return args[0]
    return PyObject_Vectorcall(asked.slow, args, count, names)


# ---- its only element --------------------------------------------------------------------------------------
@native
def number(array: NdArray, floats: bool) -> Object | None:
    """The only element of an array; null where there are more, or it is of another kind."""
    if array.flags & ALIGNED == 0:
        return None
    for k in range(array.ndim):
        if array.shape[k] != 1:
            return None
    if array.dtype is FLOAT32:
        return PyFloat_FromDouble(cast(Array[Float32], array.data)[0])
    if array.dtype is FLOAT64:
        return PyFloat_FromDouble(cast(Array[float], array.data)[0])
    if floats:
        return None
    if array.dtype is INT64:
        return PyLong_FromLongLong(cast(Array[int], array.data)[0])
    if array.dtype is BOOL:
        return PyBool_FromLong(cast(Array[Byte], array.data)[0])
    return None


@exported
def retrograd_number(
    function: Function, args: Array[Object], count: int, names: Tuple | None
) -> Object | None:
    """The only element of the only argument."""
    asked = function.asked
    if is_plain(asked, count, names):
        array = shown(args[0])
        if array is not None:
            found = number(array, asked.floats != 0)
            if found is not None:
                return found
    return PyObject_Vectorcall(asked.slow, args, count, names)


# ---- a truth about all elements ----------------------------------------------------------------------------
@native
def truth(value: Object) -> Object | None:
    """The bool that a 0-d array or NumPy's scalar is, whose reference it takes."""
    answer = PyObject_IsTrue(value)
    Py_DecRef(value)
    return None if answer < 0 else PyBool_FromLong(answer)


@native
def computed(asked: Asked, args: Array[Object]) -> Object | None:
    """What the record's function gives for the arguments' arrays, without NumPy's warnings. Null for Python's
    turn, with or without an exception set."""
    values = stack(Array[Object], MOST)
    for k in range(asked.arity):
        array = shown(args[k])
        if array is None:
            return None
        values[k] = array
    if PyContext_Enter(QUIET_CONTEXT) != 0:  # another thread is there
        return None
    for k in range(asked.arity):
        Py_IncRef(values[k])
    value = PyObject_Vectorcall(asked.compute, values, asked.arity, None)
    for k in range(asked.arity):
        Py_DecRef(values[k])
    PyContext_Exit(QUIET_CONTEXT)
    return value


@exported
def retrograd_truth(
    function: Function, args: Array[Object], count: int, names: Tuple | None
) -> Object | None:
    """Whether what the record's function gives for the arguments is true."""
    asked = function.asked
    if is_plain(asked, count, names):
        value = computed(asked, args)
        if value is not None:
            return truth(value)
        if PyErr_Occurred() is not None:
            if PyErr_ExceptionMatches(EXCEPTION[0]) == 0:  # an interrupt is no error to be told otherwise
                return None
            PyErr_Clear()
    return PyObject_Vectorcall(asked.slow, args, count, names)
