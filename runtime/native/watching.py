"""Guards without Python: whether what a compiled function read from outside is still what it was.

In flow the reads of `runtime/compiled/guards.py`, by where they look; out flows a `Watch`, whose words the
native call (`trampoline.py`) goes over before each run. Where objects were replaced by equal ones, it
is Python's `Guards` that decide; where a kind of read is not known here, the native call asks them.

The words are the number of checks, 1 where nothing holds any more, then checks:

    kind, words to the next check, object, …

| kind | … | holds if |
|---|---|---|
| 0 dict | version, size, members, (key, value) … | it has that size and under each key that very value |
| 1 list | size, members, (index, value) … | likewise |
| 2 word | value | the word at the address `object` is that value |
| 3 attribute | name, value | the attribute is that very value |
| 4 size | size | it has so many items |
| 5 mode | name, value, thread, dict | the attribute of a `threading.local` is that very value |
| 6 ask | | the callable gives True |

In the thread with that number, a mode is looked up in the dict. A size of -1 is any, a dict's value of 0 is
that of a key that is absent. Of a dict that has not been changed since the last look (its version tells,
where there is one), nothing else is looked at.
"""

from __future__ import annotations

import ctypes
import gc
import threading
import types
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Sequence
from operator import contains, getitem
from typing import Any, NamedTuple

from retrograd.runtime.native.layout import dict_version, layout

DICT, LIST, WORD, ATTRIBUTE, SIZE, MODE, ASK = range(7)

_DICTS = (dict, OrderedDict, defaultdict)
_CONTAINERS = (*_DICTS, list, set, frozenset)
_KEYS = (str, int, float, bool, bytes, type(None))
"""Classes of keys that are compared without running Python code."""
_MOST_WORDS = 1 << 16


class Read(NamedTuple):
    """Something that was read: `look(place, key)` gives it again. `look` is `getitem`, `getattr`, `contains`,
    or tells a size."""

    look: Callable[[Any, Any], Any]
    place: Any
    key: Any
    value: Any
    name: str


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
    asked = [_check(ASK, hold)]
    checks += asked if unknown else ()
    if sum(map(len, checks)) > _MOST_WORDS:
        checks = asked
    words = [len(checks), 0, *(word for check in checks for word in check)]
    return Watch(words, (list(groups.values()), [read.key for read in reads], hold))


def _place(place: Any) -> Any:
    """Where to look: a class's `vars()` are a proxy of the dict."""
    return gc.get_referents(place)[0] if type(place) is types.MappingProxyType else place


def _checks(place: Any, group: Sequence[Read]) -> list[list[int]] | None:
    """Those of one object."""
    kind = type(place)
    if any(read.look is getattr for read in group):
        return [_attribute(read) for read in group] if kind not in _CONTAINERS else None
    if kind in _DICTS and all(type(read.key) in _KEYS for read in group):
        return [_dict(place, group)]
    if kind is list:
        return [_list(place, group)]
    return [_check(SIZE, place, _size(group))] if kind in (set, frozenset) else None


def _check(kind: int, place: object, *words: int) -> list[int]:
    return [kind, 3 + len(words), id(place), *words]


def _dict(place: Any, group: Sequence[Read]) -> list[int]:
    members: list[int] = []
    for read in group:
        if read.look is getitem:
            members += id(read.key), id(read.value)
        elif read.look is contains:
            members += id(read.key), 0
    return _check(DICT, place, 0, _size(group), len(members) // 2, *members)


def _list(place: Any, group: Sequence[Read]) -> list[int]:
    members = [word for read in group if read.look is getitem for word in (read.key, id(read.value))]
    return _check(LIST, place, _size(group), len(members) // 2, *members)


def _size(group: Sequence[Read]) -> int:
    """The size that was read, if any."""
    sizes = [read.value for read in group if read.look not in (getitem, contains, getattr)]
    return sizes[0] if sizes else -1


def _attribute(read: Read) -> list[int]:
    places = layout()
    if isinstance(read.place, threading.local):
        own = vars(read.place)
        own.setdefault(read.key, read.value)
        return _check(MODE, read.place, id(read.key), id(read.value), _thread(), id(own))
    if type(read.place) is types.CellType and places is not None:
        return [WORD, 4, id(read.place) + places.cell_content, id(read.value)]
    return _check(ATTRIBUTE, read.place, id(read.key), id(read.value))


def _thread() -> int:
    """A number of this thread that no other one ever has."""
    return int(_id_of_state(_this_state()))


_this_state = ctypes.PYFUNCTYPE(ctypes.c_void_p)(("PyThreadState_Get", ctypes.pythonapi))
_id_of_state = ctypes.PYFUNCTYPE(ctypes.c_uint64, ctypes.c_void_p)(("PyThreadState_GetID", ctypes.pythonapi))


def constants() -> dict[str, int]:
    """What the text below is filled in with, besides the layout."""
    return {"dict_version": dict_version()}


WATCHING = """
; --- guards ----------------------------------------------------------------------------------------------
declare ptr @PyDict_GetItemWithError(ptr, ptr)
declare ptr @PyObject_GetAttr(ptr, ptr)
declare i64 @PyObject_Size(ptr)
declare void @PyErr_Clear()
declare ptr @PyThreadState_Get()
declare i64 @PyThreadState_GetID(ptr)
declare ptr @PyObject_CallNoArgs(ptr)
@_Py_TrueStruct = external global i8

define internal i1 @unchanged(ptr %guards) nounwind {
entry:
  %count = load i64, ptr %guards
  %expired_at = getelementptr i64, ptr %guards, i64 1
  %expired = load i64, ptr %expired_at
  %valid = icmp eq i64 %expired, 0
  %first = getelementptr i64, ptr %guards, i64 2
  br i1 %valid, label %next, label %no
next:
  %i = phi i64 [ 0, %entry ], [ %i_next, %holds ]
  %check = phi ptr [ %first, %entry ], [ %check_next, %holds ]
  %more = icmp ult i64 %i, %count
  br i1 %more, label %one, label %yes
one:
  %object_at = getelementptr i64, ptr %check, i64 2
  %object = load ptr, ptr %object_at
  %word_at = getelementptr i64, ptr %check, i64 3
  %word = load i64, ptr %word_at
  %second_at = getelementptr i64, ptr %check, i64 4
  %kind = load i64, ptr %check
  switch i64 %kind, label %no [ i64 0, label %dict
                                i64 1, label %list
                                i64 2, label %address
                                i64 3, label %attribute
                                i64 4, label %size
                                i64 5, label %mode
                                i64 6, label %ask ]
dict:
  %version_at = getelementptr i8, ptr %object, i64 $dict_version
  %version = load i64, ptr %version_at
  %same_version = icmp eq i64 %version, %word
  %versioned = icmp ne i64 $dict_version, 0
  %untouched = and i1 %same_version, %versioned
  br i1 %untouched, label %holds, label %compare
compare:
  %dict_same = call i1 @same_members(ptr %object, ptr %check)
  store i64 %version, ptr %word_at
  br i1 %dict_same, label %holds, label %forget
forget:                                                ; so that the next look is a look
  store i64 0, ptr %word_at
  br label %no
list:
  %list_same = call i1 @same_items(ptr %object, ptr %check)
  br i1 %list_same, label %holds, label %no
address:
  %there = load i64, ptr %object
  %word_same = icmp eq i64 %there, %word
  br i1 %word_same, label %holds, label %no
attribute:
  %name = inttoptr i64 %word to ptr
  %found = call ptr @PyObject_GetAttr(ptr %object, ptr %name)
  %absent = icmp eq ptr %found, null
  br i1 %absent, label %clear, label %compare_attribute
clear:
  call void @PyErr_Clear()
  br label %no
compare_attribute:
  %expected = load ptr, ptr %second_at
  call void @Py_DecRef(ptr %found)
  %attribute_same = icmp eq ptr %found, %expected
  br i1 %attribute_same, label %holds, label %no
mode:                                                  ; a dict of this thread knows sooner than the object
  %own_thread_at = getelementptr i64, ptr %check, i64 5
  %own_thread = load i64, ptr %own_thread_at
  %state = call ptr @PyThreadState_Get()
  %thread = call i64 @PyThreadState_GetID(ptr %state)
  %own = icmp eq i64 %thread, %own_thread
  br i1 %own, label %own_mode, label %attribute
own_mode:
  %dict_at = getelementptr i64, ptr %check, i64 6
  %own_dict = load ptr, ptr %dict_at
  %mode_name = inttoptr i64 %word to ptr
  %mode_value = call ptr @PyDict_GetItemWithError(ptr %own_dict, ptr %mode_name)
  %mode_expected = load ptr, ptr %second_at
  %mode_same = icmp eq ptr %mode_value, %mode_expected
  br i1 %mode_same, label %holds, label %no
ask:
  %answer = call ptr @PyObject_CallNoArgs(ptr %object)
  %no_answer = icmp eq ptr %answer, null
  br i1 %no_answer, label %clear, label %listen
listen:
  call void @Py_DecRef(ptr %answer)
  %agreed = icmp eq ptr %answer, @_Py_TrueStruct
  br i1 %agreed, label %holds, label %no
size:
  %length = call i64 @PyObject_Size(ptr %object)
  %size_same = icmp eq i64 %length, %word
  br i1 %size_same, label %holds, label %no
holds:
  %i_next = add i64 %i, 1
  %words_at = getelementptr i64, ptr %check, i64 1
  %words = load i64, ptr %words_at
  %check_next = getelementptr i64, ptr %check, i64 %words
  br label %next
yes:
  ret i1 true
no:
  ret i1 false
}

define internal i1 @same_members(ptr %dict, ptr %check) nounwind {
entry:
  %size_at = getelementptr i64, ptr %check, i64 4
  %size = load i64, ptr %size_at
  %count_at = getelementptr i64, ptr %check, i64 5
  %count = load i64, ptr %count_at
  %length = call i64 @PyDict_Size(ptr %dict)
  %any = icmp eq i64 %size, -1
  %equal = icmp eq i64 %size, %length
  %right_size = or i1 %any, %equal
  br i1 %right_size, label %next, label %no
next:
  %i = phi i64 [ 0, %entry ], [ %i_next, %one ]
  %more = icmp ult i64 %i, %count
  br i1 %more, label %one, label %yes
one:
  %pair = shl i64 %i, 1
  %word = add i64 %pair, 6
  %key_at = getelementptr i64, ptr %check, i64 %word
  %key = load ptr, ptr %key_at
  %value_at = getelementptr i64, ptr %key_at, i64 1
  %value = load ptr, ptr %value_at
  %found = call ptr @PyDict_GetItemWithError(ptr %dict, ptr %key)
  %same = icmp eq ptr %found, %value
  %i_next = add i64 %i, 1
  br i1 %same, label %next, label %no
yes:
  ret i1 true
no:
  ret i1 false
}

define internal i1 @same_items(ptr %list, ptr %check) nounwind {
entry:
  %size_at = getelementptr i64, ptr %check, i64 3
  %size = load i64, ptr %size_at
  %count_at = getelementptr i64, ptr %check, i64 4
  %count = load i64, ptr %count_at
  %length_at = getelementptr i8, ptr %list, i64 $sequence_length
  %length = load i64, ptr %length_at
  %items_at = getelementptr i8, ptr %list, i64 $list_items
  %items = load ptr, ptr %items_at
  %any = icmp eq i64 %size, -1
  %equal = icmp eq i64 %size, %length
  %right_size = or i1 %any, %equal
  br i1 %right_size, label %next, label %no
next:
  %i = phi i64 [ 0, %entry ], [ %i_next, %one ]
  %more = icmp ult i64 %i, %count
  br i1 %more, label %locate, label %yes
locate:
  %pair = shl i64 %i, 1
  %word = add i64 %pair, 5
  %index_at = getelementptr i64, ptr %check, i64 %word
  %index = load i64, ptr %index_at
  %inside = icmp ult i64 %index, %length
  br i1 %inside, label %one, label %no
one:
  %value_at = getelementptr i64, ptr %index_at, i64 1
  %value = load ptr, ptr %value_at
  %item_at = getelementptr ptr, ptr %items, i64 %index
  %item = load ptr, ptr %item_at
  %same = icmp eq ptr %item, %value
  %i_next = add i64 %i, 1
  br i1 %same, label %next, label %no
yes:
  ret i1 true
no:
  ret i1 false
}

"""
