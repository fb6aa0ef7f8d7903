"""Buffers that go back to their pool without Python: `Buffer.__del__` as native code.

In flow the class, out flow what it and the pool's statistics call. Calls that run no Python make buffers
(`native/addressing.py`), and drop them as often. Where the interpreter's objects are not laid out as
expected, buffers are counted and given back by Python.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from typing import Annotated, Any

from retrograd.compiler.native.language import (
    Array,
    At,
    cast,
    exported,
    external,
    stack,
)
from retrograd.runtime.native import cpu
from retrograd.runtime.native.addressing import count
from retrograd.runtime.native.builtins import MethodDef
from retrograd.runtime.native.layout import layout, slot_offset
from retrograd.runtime.native.objects import (
    NONE,
    Object,
    Py_IncRef,
    PyList_Append,
    PyLong_AsLongLong,
    PyObject_Vectorcall,
)

_METH_NOARGS = 4
_SLOTS = ("pointer", "nbytes", "home", "counted", "_others")

_new_method = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object, ctypes.c_void_p)(
    ("PyDescr_NewMethod", ctypes.pythonapi)
)


def native_del(cls: Any, by_python: Callable[[Any], None]) -> tuple[Any, object] | None:
    """A method for a class of buffers that puts its `pointer` into the list `home` and takes its `nbytes`
    from the bytes at the address `counted`, and what must live as long; `by_python` is for those that other
    streams have used. None where there can be none."""
    if layout() is None:
        return None
    offsets = {name.strip("_"): slot_offset(cls, name) for name in _SLOTS}
    symbols = {"by_python": id(by_python)}
    library = cpu.load_native("returning", lambda: [retrograd_give_back], offsets, symbols)
    address = ctypes.cast(library.address("retrograd_give_back"), ctypes.c_void_p)
    definition = MethodDef(b"__del__", address, _METH_NOARGS, None)
    return _new_method(cls, ctypes.addressof(definition)), (library, definition, by_python)


@functools.cache
def native_count() -> Callable[[int, int], None] | None:
    """A function that adds to the bytes at an address, and keeps the most of them in the word after it;
    native calls do so, too, so that Python must not be interrupted between reading and writing."""
    if layout() is None:
        return None
    address = _counting().address("retrograd_count")
    return ctypes.PYFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)(address)


@functools.cache
def _counting() -> cpu.Library:
    return cpu.load_native("counting", lambda: [retrograd_count], {}, {})


# --- natively ---------------------------------------------------------------------------------------------
class Buffer(Object):
    """A buffer of the class that `native_del` is given."""

    pointer: Annotated[Object, At("pointer")]
    nbytes: Annotated[Object, At("nbytes")]
    home: Annotated[Object, At("home")]
    counted: Annotated[Object, At("counted")]
    others: Annotated[Object, At("others")]


BY_PYTHON = external(Object, "by_python")


@exported
def retrograd_give_back(buffer: Buffer, nothing: Object | None) -> Object | None:
    if buffer.others is not NONE:
        arguments = stack(Array[Object], 1)
        arguments[0] = buffer
        return PyObject_Vectorcall(BY_PYTHON, arguments, 1, None)
    if buffer.home is not NONE:
        PyList_Append(buffer.home, buffer.pointer)
        count(cast(Array[int], PyLong_AsLongLong(buffer.counted)), -PyLong_AsLongLong(buffer.nbytes))
    Py_IncRef(NONE)
    return NONE


@exported
def retrograd_count(held: Array[int], change: int) -> None:
    count(held, change)
