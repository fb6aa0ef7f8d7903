"""What a native call gives back: numbers are boxed, and the record's returns are followed.

In flow outputs (`making.py`), leaves and the returns of the record; out flows one Python object. A new kind
of number is a case in `box`, a new step a case in `followed`.
"""

from __future__ import annotations

from retrograd.compiler.native.language import Array, Float32, Record, cast, inlined, inside, native, stack
from retrograd.runtime.native.grammar import Head, IntegerPort, Kind, Port, Step, behind, words
from retrograd.runtime.native.objects import (
    NONE,
    List,
    Object,
    Py_DecRef,
    Py_IncRef,
    PyBool_FromLong,
    PyDict_New,
    PyDict_SetItem,
    PyFloat_FromDouble,
    PyIter_Next,
    PyList_New,
    PyLong_AsLongLong,
    PyLong_FromLongLong,
    PyObject_GenericSetAttr,
    PyTuple_New,
    PyType_GenericAlloc,
    Tuple,
)


class Instruction(Record):
    """A step of the returns."""

    what: int
    operand: int
    offset: int


# --- numbers ----------------------------------------------------------------------------------------------
@inlined
def box(count: int, ports: Port, made: Array[Object | None], scalars: Array[int]) -> bool:
    """Box the numbers: `made[o]` of those too is an object. False, with an exception set, without memory."""
    port = ports
    for o in range(count):
        match port.kind:
            case Kind.F64:
                made[o] = PyFloat_FromDouble(cast(Array[float], scalars + o)[0])
            case Kind.F32:
                made[o] = PyFloat_FromDouble(cast(Array[Float32], scalars + o)[0])
            case Kind.INTEGER:
                made[o] = boxed_integer(scalars[o], cast(IntegerPort, port))
            case _:
                port = behind(port)
                continue
        if made[o] is None:
            return False
        port = behind(port)
    return True


@inlined
def boxed_integer(word: int, port: IntegerPort) -> Object | None:
    above = 64 - port.bits
    if port.is_bool == 1:
        return PyBool_FromLong(word << above)
    return PyLong_FromLongLong(word << above >> above)


# --- the stack machine ------------------------------------------------------------------------------------
@inlined
def give(
    head: Head, ports: Port, made: Array[Object | None], scalars: Array[int], leaves: Array[Object]
) -> Object | None:
    """Run the returns. The outputs are let go. Null without memory: an exception is set, nothing leaks."""
    if not box(head.outputs, ports, made, scalars):
        drop(made, head.outputs)
        return None
    result = followed(head, cast(Array[Object], made), leaves)
    drop(made, head.outputs)
    return result


@inlined
def followed(head: Head, made: Array[Object], leaves: Array[Object]) -> Object | None:
    """What is left on the stack in the end."""
    objects, kept = stack(Array[Object], head.steps), stack(Array[Object], head.registers)
    instructions, top = words(head, head.returns_at), 0
    for s in range(head.steps):
        instruction = cast(Instruction, instructions + 3 * s)
        operand, offset = instruction.operand, instruction.offset
        thing: Object | None = None
        match instruction.what:
            case Step.NEXT:
                thing = PyIter_Next(cast(Object, operand))
            case Step.TUPLE:
                top -= operand
                thing = filled(PyTuple_New(operand), False, objects + top, operand)
            case Step.LIST:
                top -= operand
                thing = filled(PyList_New(operand), True, objects + top, operand)
            case Step.NEW:
                thing = PyType_GenericAlloc(cast(Object, operand), 0)
            case Step.SET:
                top -= 1
                set_slot(inside(Array[Object], objects[top - 1], offset), objects[top])
                continue
            case Step.KEEP:  # borrowed from the stack, where it goes into an object
                kept[operand] = objects[top - 1]
                continue
            case Step.DICT:
                keys = cast(Tuple, operand)
                top -= keys.length
                thing = filled_dict(PyDict_New(), keys, objects + top)
            case Step.NAMED:
                top -= offset
                thing = filled(
                    PyType_GenericAlloc(cast(Object, operand), offset), False, objects + top, offset
                )
            case Step.ATTRIBUTE:
                if PyObject_GenericSetAttr(objects[top - 2], cast(Object, operand), objects[top - 1]) == 0:
                    top -= 1
                    Py_DecRef(objects[top])
                    continue
            case Step.BUMP:
                if bumped(inside(Array[Object], leaves[operand], offset)):
                    continue
            case _:
                thing = lent(found(instruction, head, made, leaves, kept))
        if thing is None:
            drop(cast(Array[Object | None], objects), top)
            return None
        objects[top] = thing
        top += 1
    return objects[0]


@inlined
def found(
    instruction: Instruction, head: Head, made: Array[Object], leaves: Array[Object], kept: Array[Object]
) -> Object:
    """What a step takes of what is there already. Behind outputs and leaves are their arrays."""
    operand, offset = instruction.operand, instruction.offset
    match instruction.what:
        case Step.OUTPUT:
            return made[operand]
        case Step.ARRAY_OF_OUTPUT:
            return made[head.outputs + operand]
        case Step.LEAF:
            return leaves[operand]
        case Step.ARRAY_OF_LEAF:
            return leaves[head.leaves + operand]
        case Step.SLOT_OF_LEAF:
            return content_of(leaves[operand], offset)
        case Step.COUNT_OF_LEAF:
            return count_of(leaves[operand], offset)
        case Step.KEPT:
            return kept[operand]
        case _:
            return cast(Object, operand)


@inlined
def lent(borrowed: Object) -> Object:
    """One more reference."""
    Py_IncRef(borrowed)
    return borrowed


@native
def filled(new: Object | None, is_list: bool, members: Array[Object], count: int) -> Object | None:
    """A tuple or a list that takes these members over; without it, they are let go."""
    if new is None:
        drop(cast(Array[Object | None], members), count)
        return None
    items = cast(List, new).items if is_list else cast(Tuple, new).items
    for i in range(count):
        items[i] = members[i]
    return new


@native
def filled_dict(new: Object | None, keys: Tuple, values: Array[Object]) -> Object | None:
    """The same of a dict with these keys."""
    result = new
    for i in range(0 if new is None else keys.length):
        if result is not None and PyDict_SetItem(result, keys.items[i], values[i]) != 0:
            Py_DecRef(result)
            result = None
    drop(cast(Array[Object | None], values), keys.length)
    return result


@inlined
def content_of(leaf: Object, offset: int) -> Object:
    """What a slot holds, or the leaf itself instead of None."""
    content = inside(Array[Object], leaf, offset)[0]
    return leaf if content is NONE else content


@inlined
def count_of(leaf: Object, offset: int) -> Object:
    """The count of a counter, or None."""
    counter = inside(Array[Object], leaf, offset)[0]
    return counter if counter is NONE else cast(List, counter).items[0]


@inlined
def set_slot(slot: Array[Object], thing: Object) -> None:
    """Have a slot hold a thing, whose reference it takes."""
    former = slot[0]
    slot[0] = thing
    Py_DecRef(former)


@native
def bumped(slot: Array[Object]) -> bool:
    """Count one more change, in the list in a slot; without a list, it is the first. False without memory."""
    former = slot[0]
    if former is NONE:
        changes = PyList_New(1)
        one = PyLong_FromLongLong(1)
        if changes is None or one is None:
            return False
        changes.items[0] = one
        slot[0] = changes
        Py_DecRef(former)
        return True
    items = cast(List, former).items
    count = PyLong_FromLongLong(PyLong_AsLongLong(items[0]) + 1)
    if count is None:
        return False
    Py_DecRef(items[0])
    items[0] = count
    return True


@native
def drop(objects: Array[Object | None], count: int) -> None:
    """Let go of so many objects."""
    for i in range(count):
        Py_DecRef(objects[i])
