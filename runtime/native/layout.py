"""Where CPython and NumPy keep what native code reads: offsets found in known objects, never assumed.

`layout()` gives the offsets, or None where an object does not look as expected; the caller then does
without. `slot_offset(cls, name)` finds a member of a class with `__slots__`. A new field is a line in
`Layout`, and a search for a known value in `_search`.
"""

from __future__ import annotations

import ctypes
import functools
import struct
import sys
import types
from collections.abc import Sequence
from typing import Any

import numpy as np

from retrograd.compiler.errors import CompilerError
from retrograd.compiler.record import record

_WORD = 8
_SLOTS = 256
"""Slots of which it is remembered where they are."""


class _Unexpected(Exception):
    """An object whose memory does not hold what it should."""


@record(slots=True)
class Layout:
    """Offsets in bytes from an object's address, which is its `id`."""

    type: int
    """Any object: its type."""
    references: int
    """Any object: how many references there are to it, a 32-bit integer."""
    sequence_length: int
    """Of lists and tuples."""
    tuple_items: int
    list_items: int
    """A pointer to the items."""
    cell_content: int
    bytes_content: int
    float_value: int
    array_data: int
    array_ndim: int
    """A 32-bit integer, as are the flags."""
    array_shape: int
    """A pointer to 64-bit extents."""
    array_strides: int
    """A pointer to 64-bit steps in bytes."""
    array_base: int
    """What its memory belongs to, or null."""
    array_dtype: int
    array_flags: int
    array_handler: int
    """Of its data: what gives them back."""
    dtype_itemsize: int


@functools.cache
def layout() -> Layout | None:
    """The offsets in this interpreter; None if one of them cannot be made out for certain."""
    try:
        return _search()
    except _Unexpected:
        return None


def _nothing(instance: object) -> None:
    """What is to be done when an object goes that was never finished."""


@functools.lru_cache(_SLOTS)
def slot_offset(cls: type, name: str) -> int:
    """Where instances of `cls` keep the member `name` of its `__slots__`."""
    mark = object()
    probed = (
        type(cls.__name__, (cls,), {"__slots__": (), "__del__": _nothing}) if hasattr(cls, "__del__") else cls
    )
    instance: object = object.__new__(probed)
    setattr(instance, name, mark)
    try:
        return _find(_words(instance, cls.__basicsize__), id(mark))
    except _Unexpected:
        raise CompilerError(f"{cls.__qualname__}.{name} is not a slot of its instances") from None


def member_offsets(thing: object, names: Sequence[str]) -> dict[str, int]:
    """Where an object keeps these attributes, which hold different things."""
    words = _words(thing, type(thing).__basicsize__)
    return {name: _find(words, id(getattr(thing, name))) for name in names}


@functools.cache
def numpy_functions() -> Any:
    """NumPy's table of functions for C, whose order is part of its binary interface."""
    numpy_core = getattr(np, "_core", None) or np.core
    pointer_of = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
        ("PyCapsule_GetPointer", ctypes.pythonapi)
    )
    return ctypes.cast(
        pointer_of(numpy_core._multiarray_umath._ARRAY_API, None), ctypes.POINTER(ctypes.c_void_p)
    )


_NUMPY_PLACES = {
    "PyArray_CopyInto": 50,
    "PyArray_NewCopy": 85,
    "PyArray_NewFromDescr": 94,
    "PyArray_EquivTypes": 182,
    "PyArray_SetBaseObject": 282,
    "PyDataMem_SetHandler": 304,
    "PyDataMem_GetHandler": 305,
}


def numpy_function(name: str) -> int:
    """The address of a function of NumPy's table."""
    return int(numpy_functions()[_NUMPY_PLACES[name]] or 0)


@functools.cache
def dict_version() -> int:
    """Where a dict keeps a number that is another one after every change; 0 if it keeps none to rely on.

    From 3.12 on it is about to go, and from 3.13 on attributes may be set in an instance's dict without it.
    """
    if sys.version_info >= (3, 12):
        return 0
    watched, seen = {"one": 1.5, "two": 2.5}, []
    for value in (3.5, 4.5):
        before = _words(watched, dict.__basicsize__)
        watched["one"] = value
        after = _words(watched, dict.__basicsize__)
        seen.append([place for place, (a, b) in enumerate(zip(before, after)) if a != b])
    return _WORD * seen[0][0] if seen[0] == seen[1] and len(seen[0]) == 1 else 0


@functools.cache
def dict_values() -> int:
    """Where the dict of an instance keeps the address of its values, if these lie in the instance; else 0.

    There is a word before them, whose first byte is how many there may be. From 3.13 on they lie so, and
    attributes are set in them, of which the dict need not be told.
    """
    instance, values = types.new_class("Attributes")(), (1.5, 2.5)
    instance.one, instance.two = values
    for place, word in enumerate(_words(vars(instance), dict.__basicsize__)):
        if id(instance) < word <= id(instance) + type(instance).__basicsize__:
            kept = (ctypes.c_uint64 * 3).from_address(word)
            return _WORD * place if kept[0] % 256 > 1 and kept[1:] == [*map(id, values)] else 0
    return 0


def _search() -> Layout:
    header = object.__basicsize__
    pair, text, number = (object(), object()), b"retrograd", 3.14159
    items, content = tuple.__basicsize__, bytes.__basicsize__ - 1
    if _words(pair, items + 2 * _WORD)[items // _WORD :] != [id(item) for item in pair]:
        raise _Unexpected
    if ctypes.string_at(id(text) + content, len(text)) != text:
        raise _Unexpected
    listed = [*pair, object()]
    item_pointer = header + _WORD
    head = _words(listed, item_pointer + _WORD)
    if head[header // _WORD] != 3 or _words(pair, item_pointer)[header // _WORD] != 2:
        raise _Unexpected
    if head[item_pointer // _WORD] % _WORD or not head[item_pointer // _WORD]:
        raise _Unexpected
    if list((ctypes.c_uint64 * 3).from_address(head[item_pointer // _WORD])) != [id(x) for x in listed]:
        raise _Unexpected
    places = {_array_places(array) for array in _arrays()}
    if len(places) != 1:
        raise _Unexpected
    bits = struct.unpack("<Q", struct.pack("<d", number))[0]
    return Layout(
        _find(_words(pair, header), tuple),
        _references(),
        header,
        items,
        item_pointer,
        _find(_words(types.CellType(pair), types.CellType.__basicsize__), id(pair)),
        content,
        _find(_words(number, float.__basicsize__), bits),
        *places.pop(),
        _find(_words(np.empty(3), np.ndarray.__basicsize__), _handler()),
        _find(_words(_BYTES, type(_BYTES).__basicsize__), _BYTES.itemsize),
    )


_BYTES = np.dtype("V31415926")


def _references() -> int:
    """Where an object counts the references to it."""
    counted: list[int] = []
    before = _words(counted, object.__basicsize__)
    more = [counted] * 1000
    after = _words(counted, object.__basicsize__)
    grown = [place for place, (a, b) in enumerate(zip(before, after)) if b - a == len(more)]
    if len(grown) != 1 or _int32(counted, _WORD * grown[0]) != after[grown[0]] % 2**32:
        raise _Unexpected
    return _WORD * grown[0]


def _handler() -> int:
    """The address of what gives data of new arrays back."""
    return id(ctypes.PYFUNCTYPE(ctypes.py_object)(numpy_function("PyDataMem_GetHandler"))())


def _arrays() -> list[np.ndarray]:
    """Arrays that differ in everything that is looked for."""
    cube = np.zeros((3, 5, 7), np.float32)
    return [cube[1:], np.zeros((11, 13), np.int16)[:5].T, np.arange(17.0)[2:9]]


def _array_places(array: np.ndarray) -> tuple[int, int, int, int, int, int, int]:
    """Offsets of data, rank, extents, strides, base, dtype and flags.

    Only the words between the rank and the base can be pointers to extents and strides, and they lie in one
    block; that much is certain before either is followed.
    """
    words = _words(array, np.ndarray.__basicsize__)
    data, base, dtype = (
        _find(words, array.ctypes.data),
        _find(words, id(array.base)),
        _find(words, id(array.dtype)),
    )
    ndim, flags = data + _WORD, dtype + _WORD
    shape, strides = ndim + _WORD, ndim + 2 * _WORD
    in_order = (
        base == strides + _WORD and words[strides // _WORD] - words[shape // _WORD] == _WORD * array.ndim
    )
    if not in_order or _int32(array, ndim) != array.ndim or _int32(array, flags) != array.flags.num:
        raise _Unexpected
    extents = (ctypes.c_int64 * (2 * array.ndim)).from_address(words[shape // _WORD])
    if tuple(extents) != array.shape + array.strides:
        raise _Unexpected
    return data, ndim, shape, strides, base, dtype, flags


def _words(thing: object, size: int) -> list[int]:
    return list((ctypes.c_uint64 * (size // _WORD)).from_address(id(thing)))


def _int32(thing: object, offset: int) -> int:
    return ctypes.c_int32.from_address(id(thing) + offset).value


def _find(words: list[int], value: int | type) -> int:
    """The offset of the one word that is `value`."""
    wanted = id(value) if isinstance(value, type) else value
    if words.count(wanted) != 1:
        raise _Unexpected
    return _WORD * words.index(wanted)
