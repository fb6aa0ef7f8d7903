"""Objects of CPython and NumPy as native code sees them, and the functions of C that it calls.

The places of fields are those of `layout.py`, found and not assumed. A new field is a line in both.
"""

from __future__ import annotations

from typing import Annotated

from retrograd.compiler.native.language import Array, At, Byte, Inline, Int32, Record, extern, external


class Memory(Record):
    """Bytes of any kind."""


class Object(Record):
    """Any object of Python."""

    type: Annotated[Object, At("type")]
    references: Annotated[Int32, At("references")]


class Sequence(Object):
    """A list or a tuple."""

    length: Annotated[int, At("sequence_length")]


class Dict(Object):
    values: Annotated[Array[int] | None, At("dict_values")]
    """Of an instance, those that lie in it, from the word before them on."""


class Tuple(Sequence):
    items: Annotated[Inline[Object], At("tuple_items")]


class List(Sequence):
    items: Annotated[Array[Object], At("list_items")]


class Bytes(Object):
    content: Annotated[Inline[int], At("bytes_content")]


class Float(Object):
    value: Annotated[Inline[float], At("float_value")]
    """One; narrower ones of NumPy's lie there, too."""


class NdArray(Object):
    data: Annotated[Memory, At("array_data")]
    ndim: Annotated[Int32, At("array_ndim")]
    shape: Annotated[Array[int], At("array_shape")]
    strides: Annotated[Array[int], At("array_strides")]
    base: Annotated[Object | None, At("array_base")]
    dtype: Annotated[Object, At("array_dtype")]
    flags: Annotated[Int32, At("array_flags")]
    handler: Annotated[Object, At("array_handler")]


class Dtype(Object):
    itemsize: Annotated[int, At("dtype_itemsize")]


NONE = external(Object, "_Py_NoneStruct")
TRUE = external(Object, "_Py_TrueStruct")
FALSE = external(Object, "_Py_FalseStruct")
FLOAT, LONG = external(Object, "PyFloat_Type"), external(Object, "PyLong_Type")
TUPLE, LIST = external(Object, "PyTuple_Type"), external(Object, "PyList_Type")
NUMPY_ARRAY = external(Object, "numpy_array_type")
"""The class, whose address is linked under this name."""
NUMPY_HANDLER = external(Object, "numpy_handler")
"""That of our blocks (`buffers.py`)."""


@extern
def Py_IncRef(thing: Object | None) -> None: ...


@extern
def Py_DecRef(thing: Object | None) -> None: ...


@extern
def PyErr_Clear() -> None: ...


@extern
def PyErr_NoMemory() -> Object: ...


@extern
def PyErr_Occurred() -> Object | None: ...


@extern
def PyErr_ExceptionMatches(kind: Object) -> Int32: ...


@extern
def PyErr_Fetch(
    cls: Array[Object | None], thing: Array[Object | None], where: Array[Object | None]
) -> None: ...


@extern
def PyErr_NormalizeException(
    cls: Array[Object | None], thing: Array[Object | None], where: Array[Object | None]
) -> None: ...


@extern
def PyException_SetTraceback(error: Object, where: Object) -> Int32: ...


@extern
def PyObject_Vectorcall(
    function: Object, args: Array[Object], count: int, names: Tuple | None
) -> Object | None: ...


@extern
def PyObject_CallOneArg(function: Object, x: Object) -> Object | None: ...


@extern
def PyMethod_New(function: Object, thing: Object) -> Object | None: ...


@extern
def PyObject_Repr(thing: Object) -> Object | None: ...


@extern
def PyBytes_FromStringAndSize(content: Memory, length: int) -> Object | None: ...


@extern
def PyObject_CallNoArgs(function: Object) -> Object | None: ...


@extern
def PyObject_GetAttr(thing: Object, name: Object) -> Object | None: ...


@extern
def PyObject_GenericSetAttr(thing: Object, name: Object, value: Object) -> Int32: ...


@extern
def PyObject_SetItem(thing: Object, key: Object, value: Object) -> Int32: ...


@extern
def PyObject_RichCompareBool(one: Object, other: Object, relation: Int32) -> Int32: ...


@extern
def PyObject_Size(thing: Object) -> int: ...


@extern
def PyObject_IsTrue(thing: Object) -> Int32: ...


@extern
def PyType_IsSubtype(one: Object, other: Object) -> Int32: ...


@extern
def PyType_GenericAlloc(cls: Object, items: int) -> Object | None: ...


@extern
def PyDict_New() -> Object | None: ...


@extern
def PyDict_Size(mapping: Object) -> int: ...


@extern
def PyDict_Next(mapping: Object, place: Array[int], key: Array[Object], value: Array[Object]) -> Int32: ...


@extern
def PyDict_GetItemWithError(mapping: Object, key: Object) -> Object | None: ...


@extern
def PyDict_SetItem(mapping: Object, key: Object, value: Object) -> Int32: ...


@extern
def PyUnicode_AsUTF8AndSize(words: Object, length: Array[int]) -> Memory | None: ...


@extern
def PyDict_DelItem(mapping: Object, key: Object) -> Int32: ...


@extern
def PyDict_Clear(mapping: Object) -> None: ...


@extern
def PyTuple_New(length: int) -> Tuple | None: ...


@extern
def PyList_New(length: int) -> List | None: ...


@extern
def PySequence_Concat(one: Object, other: Object) -> Object | None: ...


@extern
def PyList_Append(items: Object, thing: Object) -> Int32: ...


@extern
def PyList_SetSlice(items: List, start: int, stop: int, new: Object | None) -> Int32: ...


@extern
def PySet_Add(things: Object, thing: Object) -> Int32: ...


@extern
def PySet_Contains(things: Object, thing: Object) -> Int32: ...


@extern
def PyNumber_Add(one: Object, other: Object) -> Object | None: ...


@extern
def PyIter_Next(iterator: Object) -> Object | None: ...


@extern
def PyFloat_FromDouble(value: float) -> Object | None: ...


@extern
def PyLong_FromLongLong(value: int) -> Object | None: ...


@extern
def PyLong_AsLongLong(number: Object) -> int: ...


@extern
def PyLong_AsLongAndOverflow(number: Object, overflow: Array[Int32]) -> int: ...


@extern
def PyBool_FromLong(value: int) -> Object | None: ...


@extern
def PyContext_Enter(context: Object) -> Int32: ...


@extern
def PyContext_Exit(context: Object) -> Int32: ...


@extern
def PyEval_SaveThread() -> Memory: ...


@extern
def PyEval_RestoreThread(state: Memory) -> None: ...


@extern
def PyThreadState_Get() -> Memory: ...


@extern
def PyThreadState_GetID(state: Memory) -> int: ...


@extern
def numpy_new_from_descr(
    cls: Object,
    dtype: Object,
    ndim: Int32,
    shape: Array[int],
    strides: Array[int] | None,
    data: Memory | None,
    flags: Int32,
    like: Object | None,
) -> NdArray | None:
    """Takes over a reference to the dtype."""


@extern
def retrograd_allocate(size: int) -> Memory | None:
    """A block (`blocks.py`)."""


@extern
def retrograd_free(block: Memory) -> None: ...


@extern
def numpy_copy_into(to: NdArray, source: Object) -> Int32: ...


@extern
def numpy_new_copy(array: NdArray, order: Int32) -> NdArray | None: ...


@extern
def numpy_set_base(array: NdArray, base: NdArray) -> Int32:
    """Takes over a reference to the base."""


@extern
def numpy_equivalent_types(one: Object, other: Object) -> Byte: ...


@extern
def memcpy(to: Memory | None, source: Memory | None, count: int) -> Memory: ...


@extern
def aligned_alloc(alignment: int, count: int) -> Memory | None: ...


@extern
def free(memory: Memory | None) -> None: ...
