"""Guards without Python: whether what a compiled function read from outside is still what it was.

In flow the reads of `runtime/compiled/guards.py`, by where they look; out flows a `Watch`, whose words the
native call (`trampoline.py`) goes over before each run. Where objects were replaced by equal ones, it
is Python's `Guards` that decide; where a kind of read is not known here, the native call asks them.

The words are the number of checks, 1 where nothing holds any more, then checks:

    kind, words to the next check, object, …

| kind | … | holds if |
|---|---|---|
| 0 dict | counter, seen, values, held, size, members, (key, value) …, word … | it is of that size, etc. |
| 1 list | size, members, (index, value) … | likewise |
| 2 word | value | the word at the address `object` is that value |
| 3 attribute | name, value | the attribute is that very value |
| 4 size | size | it has so many items |
| 5 mode | name, value, thread, dict | the attribute of a `threading.local` is that very value |
| 6 ask | | the callable gives True |
| 7 elements | data, copy, bytes | the array's data lie there still, and are those of the copy |

A dict holds under each key that very value. In the thread with that number, a mode is looked up in the
dict. A size of -1 is any, a dict's value of 0 is that of a key that is absent. Of a dict that has not been
changed since the last look (its counter and its values tell, see `changes.py`), nothing else is looked at.
"""

from __future__ import annotations

import ctypes
import gc
import threading
import types
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Sequence
from enum import IntEnum
from itertools import chain
from operator import contains, getitem
from typing import Any

from retrograd.compiler.native.language import Array, Inline, Record, cast, inlined, inside, native
from retrograd.compiler.record import NamedTuple
from retrograd.runtime.native.changes import counter, values_of
from retrograd.runtime.native.layout import layout
from retrograd.runtime.native.objects import (
    TRUE,
    Dict,
    List,
    NdArray,
    Object,
    Py_DecRef,
    PyDict_GetItemWithError,
    PyDict_Size,
    PyErr_Clear,
    PyObject_CallNoArgs,
    PyObject_GetAttr,
    PyObject_Size,
    PyThreadState_Get,
    PyThreadState_GetID,
)


class Kind(IntEnum):
    """Kinds of checks."""

    DICT = 0
    LIST = 1
    WORD = 2
    ATTRIBUTE = 3
    SIZE = 4
    MODE = 5
    ASK = 6
    ELEMENTS = 7


_DICTS = (dict, OrderedDict, defaultdict)
_CONTAINERS = (*_DICTS, list, set, frozenset)
_KEYS = (str, int, float, bool, bytes, type(None))
"""Classes of keys that are compared without running Python code."""
_MOST_WORDS = 1 << 16
_UNSEEN = -1
"""No count of changes."""


class Read(NamedTuple):
    """Something that was read: `look(place, key)` gives it again. `look` is `getitem`, `getattr`, `contains`,
    or tells a size or elements."""

    look: Callable[[Any, Any], Any]
    place: Any
    key: Any
    value: Any
    name: str


def size_of(place: Any, key: None) -> int:
    """How many items a container has."""
    return len(place)


def elements_of(place: Any, key: None) -> bytes:
    """What an array of NumPy's holds."""
    held: bytes = place.tobytes()
    return held


class Watch:
    """The checks, and what they refer to."""

    def __init__(self, words: Sequence[int], alive: object) -> None:
        self._words = (ctypes.c_int64 * len(words))(*words)
        self._alive = alive
        self.address = ctypes.addressof(self._words)

    def expire(self) -> None:
        """From now on it does not hold."""
        self._words[1] = 1


def watch(reads: Sequence[Read], hold: Callable[[], bool]) -> Watch:
    """The native guard of these reads, which asks `hold` if there is one that it cannot look at."""
    groups: dict[int, tuple[Any, list[Read]]] = {}
    for read in reads:
        place = _place(read.place)
        groups.setdefault(id(place), (place, []))[1].append(read)
    checks: list[list[int]] = []
    unknown = False
    for place, group in groups.values():
        if type(place) is not tuple:
            made = _checks(place, group)
            unknown = unknown or made is None
            checks += made or ()
    asked = [_check(Kind.ASK, hold)]
    checks += asked if unknown else ()
    if sum(map(len, checks)) > _MOST_WORDS:
        checks = asked
    words = [len(checks), 0, *chain.from_iterable(checks)]
    return Watch(words, (list(groups.values()), [read.key for read in reads], hold))


def _place(place: Any) -> Any:
    """Where to look: a class's `vars()` are a proxy of the dict."""
    return gc.get_referents(place)[0] if type(place) is types.MappingProxyType else place


def _checks(place: Any, group: Sequence[Read]) -> list[list[int]] | None:
    """Those of one object."""
    kind, looks = type(place), [read.look for read in group]
    if elements_of in looks:
        return _elements(place, group[0].value)
    if getattr in looks:
        return [_attribute(read) for read in group] if kind not in _CONTAINERS else None
    if kind in _DICTS and all(_is_quiet(type(read.key)) for read in group):
        return [_dict(place, group)]
    if kind is list:
        return [_list(place, group)]
    return [_check(Kind.SIZE, place, _size(group))] if kind in (set, frozenset) else None


def _is_quiet(key: Any) -> bool:
    """Whether keys of this class are found without running Python code: those told apart by identity alone
    have a hash of their own each, so no two are compared."""
    return key in _KEYS or key.__hash__ is object.__hash__


def _check(kind: int, place: object, *words: int) -> list[int]:
    return [kind, 3 + len(words), id(place), *words]


def _dict(place: Any, group: Sequence[Read]) -> list[int]:
    members: list[int] = []
    for read in group:
        if read.look is getitem:
            members += id(read.key), id(read.value)
        elif read.look is contains:
            members += id(read.key), 0
    values, *held = values_of(place) or [0]
    told = counter(place), _UNSEEN, values, len(held)
    return _check(Kind.DICT, place, *told, _size(group), len(members) // 2, *members, *held)


def _list(place: Any, group: Sequence[Read]) -> list[int]:
    members = [word for read in group if read.look is getitem for word in (read.key, id(read.value))]
    return _check(Kind.LIST, place, _size(group), len(members) // 2, *members)


def _elements(place: Any, held: bytes) -> list[list[int]] | None:
    """Those of an array in order that fills words."""
    if layout() is None or not place.flags.c_contiguous or len(held) % 8:
        return None
    copy = id(held) + bytes.__basicsize__ - 1  # of the object, a byte for the end of the string is the last
    return [_check(Kind.ELEMENTS, place, place.ctypes.data, copy, len(held))]


def _size(group: Sequence[Read]) -> int:
    """The size that was read, if any."""
    sizes = [read.value for read in group if read.look not in (getitem, contains, getattr)]
    return sizes[0] if sizes else -1


def _attribute(read: Read) -> list[int]:
    places = layout()
    if isinstance(read.place, threading.local):
        own = vars(read.place)
        own.setdefault(read.key, read.value)
        return _check(Kind.MODE, read.place, id(read.key), id(read.value), _thread(), id(own))
    if type(read.place) is types.CellType and places is not None:
        return [Kind.WORD, 4, id(read.place) + places.cell_content, id(read.value)]
    return _check(Kind.ATTRIBUTE, read.place, id(read.key), id(read.value))


def _thread() -> int:
    """A number of this thread that no other one ever has."""
    return int(_id_of_state(_this_state()))


_this_state = ctypes.PYFUNCTYPE(ctypes.c_void_p)(("PyThreadState_Get", ctypes.pythonapi))
_id_of_state = ctypes.PYFUNCTYPE(ctypes.c_uint64, ctypes.c_void_p)(("PyThreadState_GetID", ctypes.pythonapi))


class Guards(Record):
    """What a `Watch` holds."""

    count: int
    expired: int
    checks: Inline[int]


class Check(Record):
    kind: int
    words: int
    thing: Object
    word: int
    second: int
    third: int
    fourth: int


class DictCheck(Record):
    kind: int
    words: int
    thing: Dict
    counter: Array[int] | None
    seen: int
    """What it was when all was found as it should be."""
    values: Array[int] | None
    held: int
    """How many words there were then, which follow the members."""
    size: int
    count: int
    members: Inline[Object | None]


class ListCheck(Record):
    kind: int
    words: int
    thing: List
    size: int
    count: int
    members: Inline[int]


@inlined
def unchanged(guards: Guards) -> bool:
    """Whether all checks hold."""
    if guards.expired != 0:
        return False
    check = cast(Check, guards.checks)
    for _ in range(guards.count):
        if not holds(check):
            return False
        check = inside(Check, check, check.words << 3)
    return True


@inlined
def holds(check: Check) -> bool:
    match check.kind:
        case Kind.DICT:
            return same_dict(cast(DictCheck, check))
        case Kind.LIST:
            return same_items(cast(ListCheck, check))
        case Kind.WORD:
            return cast(Array[int], check.thing)[0] == check.word
        case Kind.ATTRIBUTE:
            return same_attribute(check)
        case Kind.SIZE:
            return PyObject_Size(check.thing) == check.word
        case Kind.MODE:
            if PyThreadState_GetID(PyThreadState_Get()) != check.third:
                return same_attribute(check)
            mode = PyDict_GetItemWithError(cast(Object, check.fourth), cast(Object, check.word))
            return mode is cast(Object, check.second)  # a dict of this thread knows sooner than the object
        case Kind.ASK:
            return agrees(check.thing)
        case Kind.ELEMENTS:
            return same_elements(check)
        case _:
            return False


@inlined
def same_dict(check: DictCheck) -> bool:
    counter = check.counter
    if counter is not None and counter[0] == check.seen and same_values(check):
        return True
    return looks_same(check)


@native
def same_values(check: DictCheck) -> bool:
    """Whether nothing was set in the instance."""
    values = check.values
    if values is None:
        return True
    if check.thing.values is not values:
        return False
    held, i = inside(Array[int], check.members, check.count << 4), 0
    while i < check.held and values[i] == held[i]:
        i += 1
    return i == check.held


@native
def looks_same(check: DictCheck) -> bool:
    """Whether it is the same by a look, which is kept in mind."""
    counter, values = check.counter, check.values
    if counter is None:
        return same_members(check)
    check.seen = _UNSEEN
    if not same_members(check):
        return False
    if values is not None and check.thing.values is None:
        check.values = None  # they have moved to the dict
    elif values is not None:
        if check.thing.values is not values:
            return True
        held = inside(Array[int], check.members, check.count << 4)
        for i in range(check.held):
            held[i] = values[i]
    check.seen = counter[0]
    return True


@native
def same_members(check: DictCheck) -> bool:
    if check.size != -1 and PyDict_Size(check.thing) != check.size:
        return False
    for i in range(check.count):
        key = cast(Object, check.members[2 * i])
        if PyDict_GetItemWithError(check.thing, key) is not check.members[2 * i + 1]:
            return False
    return True


@native
def same_items(check: ListCheck) -> bool:
    if check.size != -1 and check.thing.length != check.size:
        return False
    for i in range(check.count):
        index = check.members[2 * i]
        if not 0 <= index < check.thing.length:
            return False
        if check.thing.items[index] is not cast(Object, check.members[2 * i + 1]):
            return False
    return True


@native
def same_elements(check: Check) -> bool:
    data, copy = cast(Array[int], cast(NdArray, check.thing).data), cast(Array[int], check.second)
    if cast(int, data) != check.word:
        return False
    count, i = check.third >> 3, 0
    while i < count and data[i] == copy[i]:
        i += 1
    return i == count


@native
def same_attribute(check: Check) -> bool:
    found = PyObject_GetAttr(check.thing, cast(Object, check.word))
    if found is None:
        PyErr_Clear()
        return False
    Py_DecRef(found)
    return found is cast(Object, check.second)


@native
def agrees(callable_: Object) -> bool:
    answer = PyObject_CallNoArgs(callable_)
    if answer is None:
        PyErr_Clear()
        return False
    Py_DecRef(answer)
    return answer is TRUE
