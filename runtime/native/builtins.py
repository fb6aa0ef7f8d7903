"""Machine code as CPython's built-in functions."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

_METH_FASTCALL_KEYWORDS = 0x80 | 0x02


class MethodDef(ctypes.Structure):
    """CPython's PyMethodDef."""

    _fields_ = [
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    ]


_new_function = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.py_object, ctypes.py_object)(
    ("PyCFunction_NewEx", ctypes.pythonapi)
)


def builtin(name: str, doc: str | None, address: int, kept: tuple[Any, ...]) -> Callable[..., Any]:
    """A built-in function whose `self` is what is kept. At the address is its code, which takes arguments as
    CPython's METH_FASTCALL | METH_KEYWORDS passes them."""
    text = doc.encode() if doc is not None else None
    definition = MethodDef(name.encode(), address, _METH_FASTCALL_KEYWORDS, text)
    return _new_function(ctypes.addressof(definition), (*kept, definition), "retrograd")  # type: ignore[no-any-return]  # a built-in function
