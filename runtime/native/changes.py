"""What tells that a dict was not changed, for guards that would else look under each key (`watching.py`).

In flow a dict. Out flows the address of a word that is another one after every change that the dict is told
of. Up to Python 3.11 it counts these itself. From 3.12 on CPython tells who watches a dict, before each
change; here that is a native function, which counts in a table (dicts that share a place in it are looked at
more often than they have to). And out flow the words in which the values of an instance lie, where attributes
are set in them without the dict.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from typing import Any

from retrograd.compiler.native.language import Array, Int32, cast, exported, external
from retrograd.runtime.native.cpu import load_native
from retrograd.runtime.native.layout import dict_values, dict_version
from retrograd.runtime.native.objects import Object

_PLACES = 1 << 12
_STEP = 16
"""Bytes between objects, at least."""

COUNTS = external(Array[int], "dict_changes")


@exported
def retrograd_count_change(event: Int32, changed: Object, key: Object | None, value: Object | None) -> Int32:
    """What CPython calls."""
    place = COUNTS + (cast(int, changed) // _STEP & (_PLACES - 1))
    place[0] = place[0] + 1
    return cast(Int32, 0)


def counter(watched: dict[Any, Any]) -> int:
    """The address of the dict's word; 0 if it has none."""
    own = dict_version()
    if own:
        return id(watched) + own
    number = _watcher()
    if number is None:
        return 0
    _watching()(number, watched)
    return ctypes.addressof(_counts) + _WORD * (id(watched) // _STEP & (_PLACES - 1))


def values_of(watched: dict[Any, Any]) -> list[int]:
    """The address of an instance's values and what is there; nothing if the dict is told of all changes."""
    place = dict_values()
    address = ctypes.c_size_t.from_address(id(watched) + place).value if place else 0
    if not address:
        return []
    count = ctypes.c_uint8.from_address(address).value
    return [address, *(ctypes.c_int64 * (1 + count)).from_address(address)]


_WORD = 8
_counts = (ctypes.c_int64 * _PLACES)()


@functools.cache
def _watcher() -> int | None:
    """The number of our watcher; None if the interpreter has none to give."""
    if not hasattr(ctypes.pythonapi, "PyDict_AddWatcher"):
        return None
    symbols = {"dict_changes": ctypes.addressof(_counts)}
    library = load_native("changes", lambda: [retrograd_count_change], {}, symbols)
    for needed in (library, _counts):
        _keep(needed)  # CPython calls the function until its end
    add = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p)(("PyDict_AddWatcher", ctypes.pythonapi))
    try:
        return int(add(library.address("retrograd_count_change")))
    except RuntimeError:
        return None


@functools.cache
def _watching() -> Callable[[int, dict[Any, Any]], int]:
    return ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.py_object)(("PyDict_Watch", ctypes.pythonapi))


_keep = ctypes.PYFUNCTYPE(None, ctypes.py_object)(("Py_IncRef", ctypes.pythonapi))
