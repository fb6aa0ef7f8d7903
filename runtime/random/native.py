"""The native functions that draw: made when one is first asked for, and kept in the cache as object code.

In flows the name of a function that one of `_MODULES` exports, out flows a function of
`(state, to, count, parameters)`, three addresses and a number. It runs under the interpreter's lock.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache

from retrograd.compiler.ir.graph import Array
from retrograd.runtime.native import cpu

_Drawing = ctypes.PYFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_void_p)

_Judging = ctypes.PYFUNCTYPE(
    ctypes.c_bool, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_void_p
)

_MODULES = ("twister", "uniform", "orders", "normal", "rejection", "weighted")
_drawn = cpu.exported(*(f"{__package__}.{name}" for name in _MODULES))


@cache
def _library() -> cpu.Library:
    return cpu.load_native("random", _drawn, {}, {})


@cache
def address(name: str) -> int:
    """Where the function begins. It stays there."""
    return _library().address(name)


@cache
def native(name: str) -> Callable[[int, int, int, int], None]:
    """The function, called from Python."""
    return _Drawing(address(name))


@cache
def judging(name: str) -> Callable[[int, int, int, int], bool]:
    """One that says whether what it read is as it should be."""
    return _Judging(address(name))


def judged(name: str, state: int, to: Array, *operands: Array) -> bool:
    """Numbers with the parameters in these arrays, by one of those; all arrays lie in order."""
    places = (ctypes.c_void_p * len(operands))(*[x.ctypes.data for x in operands])
    return judging(name)(state, to.ctypes.data, to.size, ctypes.addressof(places))
