"""What a native call takes: arguments and held objects are checked against their ports.

In flow objects and the record's words; out flow pointers to data, and the leaves with their arrays, in the
frame of the call (`grammar.py`). A new kind of argument is a case in `take_leaf`.
"""

from __future__ import annotations

from retrograd.compiler.native.language import Array, Float32, cast, inlined, inside, native, stack
from retrograd.runtime.native.addressing import is_paired, take_address
from retrograd.runtime.native.grammar import (
    CONTIGUOUS,
    AddressPort,
    ArrayPort,
    ConstantPort,
    Frame,
    GroupPort,
    Kind,
    Members,
    NumberPort,
    Pair,
    Port,
    UpdatePort,
    Viewed,
    behind,
)
from retrograd.runtime.native.objects import (
    NONE,
    NUMPY_ARRAY,
    Float,
    List,
    Memory,
    NdArray,
    Object,
    Py_DecRef,
    PyDict_Next,
    PyDict_Size,
    PyErr_Clear,
    PyObject_GetAttr,
    PyObject_RichCompareBool,
    Sequence,
    Tuple,
    numpy_equivalent_types,
)

_EQUAL = 2
"""CPython's Py_EQ."""


@native
def take(frame: Frame, items: Array[Object], count: int, ports: Port) -> bool:
    """Check so many objects against so many ports, and enter them in the frame."""
    port = ports
    for i in range(count):
        if port.kind == Kind.GROUP:
            if not take_group(frame, items[i], cast(GroupPort, port)):
                return False
        elif not take_leaf(frame, items[i], port):
            return False
        port = behind(port)
    return True


@inlined
def take_leaf(frame: Frame, item: Object, port: Port) -> bool:
    leaf = frame.leaves
    frame.leaves = leaf + 1
    frame.objects[leaf] = item
    frame.arrays[leaf] = None
    used = frame.used
    match port.kind:
        case Kind.ARRAY:
            array_port = cast(ArrayPort, port)
            array = array_of(item, array_port)
            if array is None:
                return False
            frame.arrays[leaf] = array
            frame.pointers[used] = inside(Memory, array.data, array_port.shift)
            frame.lengths[used] = array_port.bytes
        case Kind.F64 | Kind.F32:
            number = cast(NumberPort, port)
            if item.type is not number.cls:
                return False
            scalar = frame.scalars + leaf
            frame.pointers[used] = cast(Memory, scalar)
            frame.lengths[used] = 8
            read = cast(Float, item).value
            value = cast(Array[Float32], read)[0] if number.narrow != 0 else read[0]
            if port.kind == Kind.F64:
                cast(Array[float], scalar)[0] = value
            else:
                cast(Array[Float32], scalar)[0] = value
        case Kind.DRAW:  # its numbers come when all else has been taken
            frame.pointers[used] = None
            frame.lengths[used] = 0
        case Kind.ADDRESS:
            address = cast(AddressPort, port)
            if not take_address(item, address, frame.arrays + leaf, frame.pointers + used):
                return False
            frame.lengths[used] = address.bytes
        case _:
            return is_constant(item, cast(ConstantPort, port))
    frame.used = used + 1
    return True


@inlined
def is_constant(item: Object, port: ConstantPort) -> bool:
    """Whether it is that object or an equal one; the program does not see it."""
    if item is port.thing:
        return True
    if port.by_value == 0 or item.type is not port.thing.type:
        return False
    answer = PyObject_RichCompareBool(item, port.thing, _EQUAL)
    if answer < 0:  # the comparison's error is the slow path's
        PyErr_Clear()
    return answer == 1


@native
def take_group(frame: Frame, item: Object, port: GroupPort) -> bool:
    """The members of a list, tuple or dict, or the attributes of an object, which keeps them itself."""
    if item.type is not port.cls:
        return False
    count, names = port.count, port.names
    match port.how:
        case Members.IN_DICT:
            if PyDict_Size(item) != count:
                return False
            place, key, values = stack(Array[int], 1), stack(Array[Object], 1), stack(Array[Object], count)
            place[0] = 0
            for i in range(count):
                if PyDict_Next(item, place, key, values + i) == 0 or key[0] is not names[i]:
                    return False
            return take(frame, values, count, cast(Port, names + count))
        case Members.IN_ATTRIBUTES:
            contents = stack(Array[Object], count)
            for i in range(count):
                content = PyObject_GetAttr(item, names[i])
                if content is None:
                    PyErr_Clear()
                    return False
                Py_DecRef(content)
                contents[i] = content
            return take(frame, contents, count, cast(Port, names + count))
        case _:
            if cast(Sequence, item).length != count:
                return False
            members = cast(Tuple, item).items if port.how == Members.IN_TUPLE else cast(List, item).items
            return take(frame, members, count, cast(Port, names))


@native
def array_of(item: Object, port: ArrayPort) -> NdArray | None:
    """The ndarray that the argument is or holds, if all is as the port says."""
    if item.type is not port.cls:
        return None
    by_strides = port.flags & CONTIGUOUS == 0
    strides = port.extents + port.ndim
    pairs = strides + port.ndim if by_strides else strides
    array = cast(NdArray, item)
    if port.slot != 0:
        held = inside(Array[NdArray | None], item, port.slot)[0]
        if held is None or held.type is not NUMPY_ARRAY:
            return None
        array = held
        for p in range(port.pairs):
            pair = cast(Pair, pairs + 2 * p)
            if not is_paired(item, pair):
                return None
        if port.view != 0 and not is_fresh(item, port.view, cast(Viewed, pairs + 2 * port.pairs)):
            return None
    if array.flags & port.flags != port.flags or array.ndim != port.ndim:
        return None
    if array.dtype is not port.dtype and numpy_equivalent_types(array.dtype, port.dtype) == 0:
        return None  # an unpickled array has a dtype object of its own
    shape, extents = array.shape, port.extents
    for a in range(port.ndim):
        if shape[a] != extents[a]:
            return None
    if by_strides:
        steps = array.strides
        for a in range(port.ndim):
            if steps[a] != strides[a] and extents[a] != 1:
                return None
    return array


@inlined
def is_fresh(item: Object, slot: int, viewed: Viewed) -> bool:
    """Whether what a view shows has not been changed since."""
    view = inside(Array[Object], item, slot)[0]
    if view is NONE:
        return True
    base = inside(Array[Object], view, viewed.base)[0]
    counter = inside(Array[List], base, viewed.counter)[0]
    return counter.items[0] is inside(Array[Object], view, viewed.version)[0]


@native
def apart(frame: Frame, own: int, count: int, ports: Port) -> bool:
    """Whether what is updated shares no memory with an argument, nor an argument that is with anything. The
    first `own` pointers are those of arguments."""
    port = ports
    for _ in range(count):
        if port.kind == Kind.UPDATE:
            target = cast(UpdatePort, port).pointer
            for j in range(frame.used if target < own else own):
                if j != target and meet(frame, target, j):
                    return False
        port = behind(port)
    return True


@inlined
def meet(frame: Frame, one: int, other: int) -> bool:
    """Whether the memory behind two pointers overlaps."""
    begin, other_begin = cast(int, frame.pointers[one]), cast(int, frame.pointers[other])
    return other_begin < begin + frame.lengths[one] and begin < other_begin + frame.lengths[other]
