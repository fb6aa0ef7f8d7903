"""Buffers that go back to their pool without Python: `Buffer.__del__` as native code.

In flow the class, out flow what it and the pool's statistics call. Calls that run no Python make buffers
(`native/addressing.py`), and drop them as often. Where the interpreter's objects are not laid out as
expected, buffers are counted and given back by Python.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from string import Template
from typing import Any

from retrograd.runtime.native import cpu
from retrograd.runtime.native.fastcall import MethodDef
from retrograd.runtime.native.layout import layout, slot_offset

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
    library = cpu.load_part(Template(_TEXT).substitute(offsets), {"by_python": id(by_python)})
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
    return cpu.load_part(_COUNT, {})


_COUNT = """
define void @retrograd_count(ptr %held_at, i64 %change) nounwind {
entry:
  %before = load i64, ptr %held_at
  %held = add i64 %before, %change
  store i64 %held, ptr %held_at
  %most_at = getelementptr i64, ptr %held_at, i64 1
  %most = load i64, ptr %most_at
  %is_more = icmp sgt i64 %held, %most
  %most_now = select i1 %is_more, i64 %held, i64 %most
  store i64 %most_now, ptr %most_at
  ret void
}
"""

_TEXT = """
declare void @Py_IncRef(ptr)
declare i32 @PyList_Append(ptr, ptr)
declare i64 @PyLong_AsLongLong(ptr)
declare ptr @PyObject_Vectorcall(ptr, ptr, i64, ptr)
@_Py_NoneStruct = external global i8
@by_python = external global i8

define ptr @retrograd_give_back(ptr %self, ptr %nothing) nounwind {
entry:
  %arguments = alloca ptr
  %others_at = getelementptr i8, ptr %self, i64 $others
  %others = load ptr, ptr %others_at
  %alone = icmp eq ptr %others, @_Py_NoneStruct
  br i1 %alone, label %look, label %ask
look:
  %home_at = getelementptr i8, ptr %self, i64 $home
  %home = load ptr, ptr %home_at
  %nowhere = icmp eq ptr %home, @_Py_NoneStruct
  br i1 %nowhere, label %end, label %give
give:
  %pointer_at = getelementptr i8, ptr %self, i64 $pointer
  %pointer = load ptr, ptr %pointer_at
  %status = call i32 @PyList_Append(ptr %home, ptr %pointer)
  %counted_at = getelementptr i8, ptr %self, i64 $counted
  %counted = load ptr, ptr %counted_at
  %address = call i64 @PyLong_AsLongLong(ptr %counted)
  %held_at = inttoptr i64 %address to ptr
  %nbytes_at = getelementptr i8, ptr %self, i64 $nbytes
  %nbytes = load ptr, ptr %nbytes_at
  %bytes = call i64 @PyLong_AsLongLong(ptr %nbytes)
  %before = load i64, ptr %held_at
  %held = sub i64 %before, %bytes
  store i64 %held, ptr %held_at
  br label %end
end:
  call void @Py_IncRef(ptr @_Py_NoneStruct)
  ret ptr @_Py_NoneStruct
ask:
  store ptr %self, ptr %arguments
  %answer = call ptr @PyObject_Vectorcall(ptr @by_python, ptr %arguments, i64 1, ptr null)
  ret ptr %answer
}
"""
