"""What a native call reads: its record, which `fastcall.py` writes and `trampoline.py` goes by.

The record is bytes, read as 64-bit words: a `Head`, then ports of arguments, ports of held objects, ports of
outputs, and returns. A *port* describes an argument to check or an output to make; both look
alike, and the same words serve. It begins with its kind and how many words it has:

| kind | argument or held object | output |
|---|---|---|
| ARRAY | an ndarray; or an object with one in a slot, its paired slots holding their objects | made so |
| F64 | a float of just that class, of 4 bytes if it is narrow | made of the 8 bytes that were written |
| F32 | the same, rounded | made of 4 bytes |
| CONSTANT | just that object, or an equal one of its class | |
| GROUP | a container of just that class, its members as their own ports say | |
| FLAG | | a byte; where it is not 0, the call is a miss |
| UPDATE | | what one of the program's pointers points to is written anew |
| INTEGER | | made of so many bits; a bool, if it is one |
| DRAW | an object with a slot for an array of random numbers, drawn at each call | |
| ADDRESS | an object that leads by links to an int, the address of memory elsewhere | made so |

All that is no group is a *leaf*; leaves are counted through arguments and then held objects. Held objects
come in the order of their draws. A call whose arguments share memory with an update is a miss. What fails a
port or a guard (`watching.py`) goes to `miss(*args, **kwargs)`.

*Returns* are a program for a stack machine, whose last object is the call's result. Its steps are
(what, operand, offset):

| step | |
|---|---|
| 0 output | push output number `operand` |
| 1 array | push the array in output number `operand` |
| 2 object | push the object `operand` |
| 3 leaf | push leaf number `operand` |
| 4 leaf's array | push the array of leaf number `operand` |
| 5 leaf's slot | push what is in the slot at `offset`; if that is None, the leaf itself |
| 6 leaf's count | push the first item of the list in the slot at `offset`; None, if there is no list |
| 7 next | push the next of the iterator `operand` |
| 8 tuple | make a tuple of the `operand` objects on top |
| 9 list | make a list of them |
| 10 new | push a new object of the class `operand` |
| 11 set | put the object on top into the slot at `offset` of the one below |
| 12 keep | keep the object on top as number `operand` |
| 13 kept | push what is kept as number `operand` |
| 14 dict | make a dict of the objects on top, one for each of the keys in the tuple `operand` |
| 15 named | make a tuple of the class `operand` of the `offset` objects on top |
| 16 attribute | put the object on top into the attribute `operand` of the one below, past its `__setattr__` |
| 17 bump | count one more change of leaf number `operand`, in the list in the slot at `offset` |

A new kind is a row here, a case in `taking.py` or `making.py`, and a port in `ports.py`; a new
step a row and a case in `boxing.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum

from retrograd.compiler.native.language import Array, Inline, Record, cast, inlined, inside
from retrograd.runtime.native.objects import Memory, NdArray, Object, Tuple
from retrograd.runtime.random.twister import STATE_BYTES, State


class Kind(IntEnum):
    """Kinds of ports."""

    ARRAY = 0
    F64 = 1
    F32 = 2
    CONSTANT = 3
    GROUP = 4
    FLAG = 5
    UPDATE = 6
    INTEGER = 7
    DRAW = 8
    ADDRESS = 9


class Step(IntEnum):
    """Steps of returns."""

    OUTPUT = 0
    ARRAY_OF_OUTPUT = 1
    OBJECT = 2
    LEAF = 3
    ARRAY_OF_LEAF = 4
    SLOT_OF_LEAF = 5
    COUNT_OF_LEAF = 6
    NEXT = 7
    TUPLE = 8
    LIST = 9
    NEW = 10
    SET = 11
    KEEP = 12
    KEPT = 13
    DICT = 14
    NAMED = 15
    ATTRIBUTE = 16
    BUMP = 17


class Members(IntEnum):
    """How the members of a group are found."""

    IN_TUPLE = 0
    IN_LIST = 1
    IN_DICT = 2
    IN_ATTRIBUTES = 3


CONTIGUOUS, OWNS_DATA, ALIGNED, WRITEABLE = 1, 4, 256, 1024
"""NumPy's flags, which are part of its binary interface."""

AT_ONCE = -1
"""The place of what is written straight to where it belongs."""


class Head(Record):
    """The first words of a record; `…_at` are places in it."""

    entry: Callable[[Array[Memory], int], None]
    """The program, which is given its pointers and the context."""
    context: int
    positional: int
    arguments: int
    names: Tuple | None
    """Those of the last arguments."""
    leaves: int
    pointers: int
    arena: int
    """Bytes."""
    long: int
    """Whether the interpreter's lock is released."""
    outputs: int
    held: int
    held_at: int
    outputs_at: int
    returns_at: int
    steps: int
    registers: int
    guards: Array[int] | None
    """A `watching.Guards`."""
    updates: int
    draws: int
    saved: int
    """Bytes that are to be saved of generators."""


HEAD = tuple(Head.__annotations__)
HEAD_WORDS = len(HEAD)


class Port(Record):
    kind: int
    size: int
    """In words."""


class ArrayPort(Port):
    """An array, in an object of a class with a slot for it unless `slot` is 0.

    The words end with paired slots and their objects, and where there is a `view`, with a `Viewed`. An array
    has all the flags. CONTIGUOUS is not among them where it is read by strides: these must be its own on axes
    of more than one element, and the program is given where its data begin plus `shift`. A new array gets
    them.
    """

    cls: Object
    slot: int
    dtype: Object
    ndim: int
    pairs: int
    flags: int
    shift: int
    bytes: int
    view: int
    extents: Inline[int]


class Pair(Record):
    slot: int
    """Of an argument, negative where it must hold anything but the object."""
    thing: Object


class Viewed(Record):
    """The slot `view` of an object may hold what says how it views another: then the version that this holds
    must be that of its base, the first item of the list in the latter's slot `counter`."""

    base: int
    version: int
    counter: int


class NumberPort(Port):
    cls: Object
    narrow: int


class ConstantPort(Port):
    thing: Object
    by_value: int


class GroupPort(Port):
    """Keys of a dict or names of attributes, if there are any, and then the members' ports."""

    cls: Object
    how: int
    count: int
    names: Inline[Object]


class UpdatePort(Port):
    """Written at its place in the arena and copied when the program has run, or at once."""

    pointer: int
    place: int
    bytes: int


class IntegerPort(Port):
    bits: int
    is_bool: int


class DrawPort(Port):
    """Numbers that are written at their place in the arena, or at once into a new array in the slot."""

    cls: Object
    slot: int
    dtype: Object
    ndim: int
    law: Callable[[Memory, Memory, int, Memory], None]
    """Given the state, where to write, how many, and the parameters."""
    state: Memory
    parameters: Memory
    count: int
    place: int
    extents: Inline[int]


class AddressPort(Port):
    """An output takes its int from the end of the list of free addresses, and is counted in the statistics;
    where that list is empty, the call is a miss. What the first link leads to is the leaf's array."""

    bytes: int
    free: Object
    statistics: Array[int]
    """Bytes held now, and at most."""
    block: int
    """Bytes."""
    links: int
    first: Inline[int]


class Link(Record):
    """An object of just that class, whose paired slots hold their objects, and whose slot holds the object of
    the next link, in the end an int."""

    cls: Object
    slot: int
    pairs: int
    first: Inline[int]


class Frame(Record):
    """A call under way. `objects[i]` and `arrays[i]` are leaf i and its ndarray (or null), borrowed."""

    pointers: Array[Memory | None]
    lengths: Array[int]
    """Bytes behind each pointer."""
    scalars: Array[int]
    objects: Array[Object]
    arrays: Array[NdArray | None]
    used: int
    """Pointers so far."""
    leaves: int
    """Taken so far."""


class Saved(Record):
    """What is saved of one draw; behind it, the state as it was."""

    state: State
    turn: int
    """To which the draw has brought it."""


SAVED_HEAD = 16
"""Bytes of that without the state."""
SAVED_BYTES = SAVED_HEAD + STATE_BYTES


@inlined
def behind(port: Port) -> Port:
    """The next port."""
    return inside(Port, port, port.size << 3)


@inlined
def words(record: Record, at: int) -> Array[int]:
    """The words of a record from one on."""
    return cast(Array[int], record) + at
