"""Replayed functions as native calls: what `replay.replayed` does in Python.

In flow the arguments of a call; its key (`keys.py`) is looked up in a dict of plans, and the plan is called
with the Tensors among the arguments.
"""

from __future__ import annotations

from retrograd.compiler.native.language import Array, cast, exported, external, native, stack
from retrograd.runtime.eager.instant.keys import Key, are_strides_entered, is_described
from retrograd.runtime.eager.instant.operands import COUNT, let_go, otherwise, shared
from retrograd.runtime.eager.instant.records import OPEN_TRACES, Function, Keyed
from retrograd.runtime.native.objects import (
    FALSE,
    NONE,
    Memory,
    Object,
    Py_DecRef,
    Py_IncRef,
    PyBytes_FromStringAndSize,
    PyDict_Clear,
    PyDict_GetItemWithError,
    PyDict_SetItem,
    PyDict_Size,
    PyErr_Clear,
    PyErr_ExceptionMatches,
    PyErr_Occurred,
    PyObject_Vectorcall,
    Tuple,
)

MOST_PLANS = 4096
OWN_ERROR = external(Object, "own_error")


@exported
def retrograd_replay(
    function: Function, args: Array[Object], nargs: int, names: Tuple | None
) -> Object | None:
    """What the plan for such arguments gives."""
    keyed, key = function.keyed, stack(Key)
    described = OPEN_TRACES[0] == 0 and is_described(key, args, nargs & COUNT, names)
    if described and keyed.lies != 0:
        described = are_strides_entered(key)
    return planned(keyed, key, described, args, nargs, names)


@native
def planned(
    keyed: Keyed, key: Key, described: bool, args: Array[Object], nargs: int, names: Tuple | None
) -> Object | None:
    """What the plan for a key gives, if the call could be described by one."""
    if not described:
        PyErr_Clear()  # of a text that has no bytes
        return PyObject_Vectorcall(keyed.slow, args, nargs, names)
    result: Object | None = None
    for i in range(key.found):
        Py_IncRef(key.operands[i])
    plan = plan_for(keyed, key, args, nargs, names)
    if plan is not None:
        result = PyObject_Vectorcall(plan, key.operands, key.found, None)
        Py_DecRef(plan)
    let_go(key.operands, key.found)
    if result is not None:
        return result
    if PyErr_Occurred() is not None:
        if plan is None or PyErr_ExceptionMatches(OWN_ERROR) == 0:
            return None  # an error of `find`, or of the user's hooks
        return otherwise(keyed.unplanned, args, nargs, names)
    return PyObject_Vectorcall(keyed.unplanned, args, nargs, names)


@native
def plan_for(keyed: Keyed, key: Key, args: Array[Object], nargs: int, names: Tuple | None) -> Object | None:
    """The plan for a key, a new reference: one that is known, or what `find` says to the arguments. Null with
    an exception set, or without one where there is no plan."""
    words = PyBytes_FromStringAndSize(cast(Memory, key.words), key.used << 3)
    if words is None:
        return None
    known = PyDict_GetItemWithError(keyed.plans, words)
    plan = searched(keyed, words, args, nargs, names) if known is None else shared(known)
    Py_DecRef(words)
    if plan is NONE or plan is FALSE:
        Py_DecRef(plan)
        return None
    return plan


@native
def searched(
    keyed: Keyed, words: Object, args: Array[Object], nargs: int, names: Tuple | None
) -> Object | None:
    """What `find` says: a plan; False where there is none; None where that may change, so it is not kept."""
    plan = PyObject_Vectorcall(keyed.find, args, nargs, names)
    if plan is not None and plan is not NONE:
        if PyDict_Size(keyed.plans) >= MOST_PLANS:
            PyDict_Clear(keyed.plans)
        PyDict_SetItem(keyed.plans, words, plan)
    return plan
