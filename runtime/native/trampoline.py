"""The native function behind every compiled callable: guards, unpacking, boxing, and no Python.

CPython calls `retrograd_call(self, args, nargs, names)`. `self` is a tuple (record, miss, held objects, …).
`retrograd_choose` goes through a list of such tuples, up to the first that takes the call.

One code serves all signatures, so a new one compiles nothing. `grammar.py` says what a record is. This file
holds the call, `taking.py` what it takes, `drawing.py` what it draws, `making.py` and `boxing.py` what it
makes and gives back, `addressing.py` what lies elsewhere, `watching.py` what must not have changed.
"""

from __future__ import annotations

from retrograd.compiler.native.language import Array, Record, cast, exported, inlined, native, stack
from retrograd.runtime.native.boxing import drop, give
from retrograd.runtime.native.drawing import draw, make_drawn, rewind
from retrograd.runtime.native.grammar import HEAD_WORDS, Frame, Head, Port, Saved, words
from retrograd.runtime.native.making import (
    borrow_arena,
    copy_updates,
    make_outputs,
    place_updates,
    return_arena,
    sound,
)
from retrograd.runtime.native.objects import (
    Bytes,
    List,
    Memory,
    NdArray,
    Object,
    Py_DecRef,
    Py_IncRef,
    PyErr_NoMemory,
    PyErr_Occurred,
    PyEval_RestoreThread,
    PyEval_SaveThread,
    PyObject_Vectorcall,
    Tuple,
)
from retrograd.runtime.native.taking import apart, take
from retrograd.runtime.native.watching import Guards, unchanged

SMALL_ARENA = 4096
"""Bytes up to which the arena lies on the stack."""

_LINE = 64
"""Bytes of a line of the cache."""


class Holder(Record):
    """What the `self` of a callable holds."""

    record: Bytes
    miss: Object
    held: Tuple


class Chooser(Record):
    """What the `self` of several callables in one holds."""

    choices: List
    miss: Object


class Plan(Record):
    """Where the outputs of a call under way are, and what else its end wants to know."""

    ports: Port
    pointers: Array[Memory | None]
    made: Array[Object | None]
    scalars: Array[int]
    drawn: Array[NdArray | None]
    saved: Saved
    held_ports: Port
    own: int
    """Pointers of arguments, before those of held objects."""
    arena: Memory


# --- the call ---------------------------------------------------------------------------------------------
@exported
def retrograd_call(self: Object, args: Array[Object], nargs: int, names: Tuple | None) -> Object | None:
    holder, result = cast(Holder, cast(Tuple, self).items), stack(Array[Object | None], 1)
    if attempt(holder, args, nargs, names, result):
        return result[0]
    return PyObject_Vectorcall(holder.miss, args, nargs, names)


@exported
def retrograd_choose(self: Object, args: Array[Object], nargs: int, names: Tuple | None) -> Object | None:
    chooser, result = cast(Chooser, cast(Tuple, self).items), stack(Array[Object | None], 1)
    i = 0
    while i < chooser.choices.length:  # others may change the list during an attempt
        choice = cast(Tuple, chooser.choices.items[i])
        Py_IncRef(choice)
        taken = attempt(cast(Holder, choice.items), args, nargs, names, result)
        Py_DecRef(choice)
        if taken:
            return result[0]
        i += 1
    return PyObject_Vectorcall(chooser.miss, args, nargs, names)


@exported
def retrograd_nothing(pointers: Array[Memory], context: int) -> None:
    """For programs that do nothing: a call that only checks its arguments."""


@native
def attempt(
    holder: Holder, args: Array[Object], nargs: int, names: Tuple | None, result: Array[Object | None]
) -> bool:
    """False: the call is none of this record's. True: the result is stored, null with an exception set."""
    head = cast(Head, holder.record.content)
    if nargs != head.positional or not same_names(names, head.names):
        return False
    if head.guards is not None and not unchanged(cast(Guards, head.guards)):
        return False
    frame, plan = stack(Frame), stack(Plan)
    frame.pointers = stack(Array[Memory | None], head.pointers)
    frame.lengths = stack(Array[int], head.pointers)
    frame.scalars = stack(Array[int], head.leaves + head.outputs)
    frame.objects = stack(Array[Object], 2 * head.leaves)
    frame.arrays = cast(Array[NdArray | None], frame.objects + head.leaves)
    frame.used, frame.leaves = 0, 0
    if not take(frame, args, head.arguments, cast(Port, words(head, HEAD_WORDS))):
        return False
    plan.own, own_leaves = frame.used, frame.leaves
    plan.held_ports = cast(Port, words(head, head.held_at))
    if not take(frame, holder.held.items, head.held, plan.held_ports):
        return False
    plan.ports = cast(Port, words(head, head.outputs_at))
    if head.updates != 0 and not apart(frame, plan.own, head.outputs, plan.ports):
        return False
    plan.pointers, plan.scalars = frame.pointers + frame.used, frame.scalars + head.leaves
    plan.made = stack(Array[Object | None], 2 * head.outputs)  # and then the arrays in them
    plan.drawn = stack(Array[NdArray | None], head.draws)
    plan.saved = cast(Saved, stack(Array[int], head.saved >> 3))
    result[0] = None
    if not make_outputs(head.outputs, plan.ports, plan.pointers, plan.made, plan.scalars):
        return failed(head, plan)
    if head.draws != 0 and not make_drawn(
        frame, head.held, plan.held_ports, own_leaves, plan.own, plan.drawn, head.draws
    ):
        drop(cast(Array[Object | None], plan.drawn), head.draws)
        return failed(head, plan)
    small = head.arena <= SMALL_ARENA
    arena: Memory | None = cast(Memory, stack(Array[int], head.arena + 7 >> 3 if small else 0, _LINE))
    if not small:
        arena = borrow_arena(head.arena)
    if arena is None:
        PyErr_NoMemory()
        drop(cast(Array[Object | None], plan.drawn), head.draws)
        return failed(head, plan)
    plan.arena = arena
    taken = ran(head, frame, plan, result)
    if not small:
        return_arena(arena)
    return taken


@inlined
def same_names(names: Tuple | None, wanted: Tuple | None) -> bool:
    """Whether two tuples of names have the same ones. Null is none."""
    if names is wanted:
        return True
    if names is None or wanted is None or names.length != wanted.length:
        return False
    for i in range(names.length):  # noqa: SIM110  # the native language has no generators
        if names.items[i] is not wanted.items[i]:
            return False
    return True


@native
def failed(head: Head, plan: Plan) -> bool:
    """The outputs cannot be made. Without an exception, the call is Python's."""
    drop(plan.made, head.outputs)
    return PyErr_Occurred() is not None


@inlined
def ran(head: Head, frame: Frame, plan: Plan, result: Array[Object | None]) -> bool:
    """Run the program, update and box. False if a flag was raised: then nothing has changed."""
    plan.pointers[head.outputs] = plan.arena
    if head.updates != 0:
        place_updates(head.outputs, plan.ports, plan.pointers, frame.pointers, plan.arena)
    if head.draws != 0:
        draw(frame, head.held, plan.held_ports, plan.own, plan.arena, plan.saved, head.saved != 0)
    if head.long == 0:
        head.entry(cast(Array[Memory], frame.pointers), head.context)
    else:  # another thread may drop what a list or a slot holds
        hold(frame.objects, 2 * head.leaves)
        thread = PyEval_SaveThread()
        head.entry(cast(Array[Memory], frame.pointers), head.context)
        PyEval_RestoreThread(thread)
    is_sound = sound(head.outputs, plan.ports, plan.scalars)
    if is_sound:
        if head.updates != 0:
            copy_updates(head.outputs, plan.ports, plan.pointers, frame.pointers)
        result[0] = give(head, plan.ports, plan.made, plan.scalars, frame.objects)
    else:
        if head.saved != 0:
            rewind(plan.saved, head.draws)
        drop(plan.made, head.outputs)
    if head.draws != 0:
        drop(cast(Array[Object | None], plan.drawn), head.draws)
    if head.long != 0:
        drop(cast(Array[Object | None], frame.objects), 2 * head.leaves)
    return is_sound


@native
def hold(objects: Array[Object], count: int) -> None:
    """Keep so many objects alive, of which some may be null."""
    for i in range(count):
        Py_IncRef(objects[i])
