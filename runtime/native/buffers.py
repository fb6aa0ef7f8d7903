"""Where the data of our arrays lie: in blocks of our own (`blocks.py`), which are in NumPy's eyes those of a
handler named `retrograd`.

`symbols()` is what native parts that make arrays are linked with (`making.py`); `copied(array)` is a copy of
an array that others made, `empty(shape, dtype)` one to be written to.
"""

from __future__ import annotations

import contextvars
import ctypes
import functools
import mmap
from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from retrograd.runtime.native import cpu
from retrograd.runtime.native.builtins import builtin
from retrograd.runtime.native.layout import numpy_function
from retrograd.runtime.native.making import OWN_FROM

_VERSION = 1
"""Of NumPy's handlers."""


class _Handler(ctypes.Structure):
    """NumPy's PyDataMem_Handler."""

    _fields_ = [
        ("name", ctypes.c_char * 127),
        ("version", ctypes.c_uint8),
        ("context", ctypes.c_void_p),
        ("malloc", ctypes.c_void_p),
        ("calloc", ctypes.c_void_p),
        ("realloc", ctypes.c_void_p),
        ("free", ctypes.c_void_p),
    ]


@functools.cache
def symbols() -> dict[str, int]:
    """What `making.py` and who makes copies link, by name."""
    return {
        "numpy_array_type": id(np.ndarray),
        "numpy_new_from_descr": numpy_function("PyArray_NewFromDescr"),
        "numpy_new_copy": numpy_function("PyArray_NewCopy"),
        "numpy_copy_into": numpy_function("PyArray_CopyInto"),
        "numpy_handler": id(_handler()),
        "retrograd_allocate": _library().address("retrograd_allocate"),
        "retrograd_free": _library().address("retrograd_free"),
    }


def copied(array: np.ndarray, dtype: np.dtype | None = None) -> np.ndarray:
    """A copy, of this dtype if one is said."""
    return _placed(array.nbytes, np.array, array, dtype)


def empty(shape: Sequence[int], dtype: np.dtype) -> np.ndarray:
    return _placed(prod(shape) * dtype.itemsize, np.empty, shape, dtype)


def place_all(context: contextvars.Context) -> None:
    """Have NumPy place in blocks of ours the data of all that it makes in this context."""
    context.run(_set_handler(), _handler())


@functools.cache
def _set_handler() -> Callable[[Any], Any]:
    kind = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object)
    return kind(numpy_function("PyDataMem_SetHandler"))


def _placed(size: int, make: Callable[..., np.ndarray], *args: Any) -> np.ndarray:
    """What the function gives, in a block of ours; if it is little, where NumPy puts it."""
    if size < OWN_FROM:
        return make(*args)
    placed, handler = _placing()
    return placed(handler, make, *args)  # type: ignore[no-any-return]  # what `make` gives


@functools.cache
def _placing() -> tuple[Callable[..., Any], Any]:
    """A function that is given a handler, a function and its arguments, and our handler."""
    return builtin("placed", None, _library().address("retrograd_placed"), ()), _handler()


@functools.cache
def _library() -> cpu.Library:
    """It is there for good: whoever holds an array gives its block back."""
    kind = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    roots = cpu.exported("retrograd.runtime.native.blocks")
    symbols = {"numpy_set_handler": numpy_function("PyDataMem_SetHandler")}
    return cpu.load_native("blocks", roots, {"map_private": kind}, symbols)


@functools.cache
def _definition() -> _Handler:
    functions = [_library().address(f"handler_{name}") for name in ("malloc", "calloc", "realloc", "free")]
    return _Handler(b"retrograd", _VERSION, None, *functions)


@functools.cache
def _handler() -> Any:
    """The capsule that NumPy's arrays hold."""
    make = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
    return make(("PyCapsule_New", ctypes.pythonapi))(ctypes.addressof(_definition()), _CAPSULE, None)


_CAPSULE = b"mem_handler"
