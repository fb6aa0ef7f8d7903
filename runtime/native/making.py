"""What a native call makes: new arrays and the objects around them, and the memory to work in.

In flow output ports of the record; out flow pointers to memory that the program writes, before it has run,
and updates at their place, after. A new kind of output is a case in `make_output`, and in `boxed` of
`boxing.py` if it is a number.
"""

from __future__ import annotations

from retrograd.compiler.native.language import (
    Array,
    cast,
    exchange,
    inlined,
    inside,
    native,
    variable,
)
from retrograd.compiler.native.pages import HUGE_PAGE, allocate_huge
from retrograd.runtime.native.addressing import new_address, wrapped
from retrograd.runtime.native.grammar import (
    ALIGNED,
    AT_ONCE,
    CONTIGUOUS,
    OWNS_DATA,
    WRITEABLE,
    AddressPort,
    ArrayPort,
    Kind,
    Port,
    UpdatePort,
    behind,
)
from retrograd.runtime.native.objects import (
    NUMPY_ARRAY,
    NUMPY_HANDLER,
    Dtype,
    Memory,
    NdArray,
    Object,
    Py_IncRef,
    aligned_alloc,
    free,
    memcpy,
    numpy_new_from_descr,
    retrograd_allocate,
    retrograd_free,
)

OWN_FROM = 1 << 10
"""Bytes from which on an array's data are in a block of ours. For less NumPy has a cache of its own."""
ARENA_KEPT = 256 << 20
"""Bytes up to which an arena is kept for the next call; giving it back costs a page fault a page."""
HUGE_FROM = 2 * HUGE_PAGE
"""Bytes from which on an arena is in huge pages."""

IN_ORDER, AS_IT_LIES = 0, 2
"""NumPy's names for orders in memory of what is copied."""


# --- outputs ----------------------------------------------------------------------------------------------
@inlined
def make_outputs(
    count: int, ports: Port, pointers: Array[Memory | None], made: Array[Object | None], scalars: Array[int]
) -> bool:
    """Fill `made`, with the arrays in what is made behind it, and pointers. `made[o]` is null for a number,
    which goes to `scalars[o]`. False: an exception is set, or there is no free address."""
    for o in range(count):
        made[o] = None
    port = ports
    for o in range(count):
        if not make_output(port, pointers + o, made + o, made + count + o, scalars + o):
            return False
        port = behind(port)
    return True


@inlined
def make_output(
    port: Port,
    pointer: Array[Memory | None],
    made: Array[Object | None],
    array: Array[Object | None],
    scalar: Array[int],
) -> bool:
    match port.kind:
        case Kind.ARRAY:
            made[0] = new_array(cast(ArrayPort, port), pointer, array)
        case Kind.ADDRESS:
            made[0] = new_address(cast(AddressPort, port), pointer, array)
        case _:
            scalar[0] = 0
            pointer[0] = cast(Memory, scalar)
            return True
    return made[0] is not None


@native
def new_array(port: ArrayPort, pointer: Array[Memory | None], stored: Array[Object | None]) -> Object | None:
    """A new ndarray, in an object of the port's class if it has a slot; stores the array, and where its data
    are."""
    by_strides = port.flags & CONTIGUOUS == 0
    strides = port.extents + port.ndim
    array = empty_array(port.dtype, port.ndim, port.extents, strides if by_strides else None)
    if array is None:
        return None
    pointer[0] = array.data
    stored[0] = array
    if port.slot == 0:
        return array
    return wrapped(port.cls, port.slot, array, strides + port.ndim if by_strides else strides, port.pairs)


@native
def empty_array(dtype: Object, ndim: int, extents: Array[int], strides: Array[int] | None) -> NdArray | None:
    """With these strides in bytes, or in order. Its data are in a block of ours, if they are more than a
    little."""
    size = cast(Dtype, dtype).itemsize
    for axis in range(ndim):
        size *= extents[axis]
    Py_IncRef(dtype)  # NumPy takes this reference
    block = retrograd_allocate(size) if size >= OWN_FROM else None
    if block is None:
        return numpy_new_from_descr(NUMPY_ARRAY, dtype, ndim, extents, strides, None, 0, None)
    flags = CONTIGUOUS | ALIGNED | WRITEABLE
    array = numpy_new_from_descr(NUMPY_ARRAY, dtype, ndim, extents, strides, block, flags, None)
    if array is None:
        retrograd_free(block)
        return None
    array.flags |= OWNS_DATA
    Py_IncRef(NUMPY_HANDLER)
    array.handler = NUMPY_HANDLER
    return array


@native
def size_of(array: NdArray) -> int:
    """How many elements it has."""
    size = 1
    for axis in range(array.ndim):
        size *= array.shape[axis]
    return size


@native
def is_dense(array: NdArray) -> bool:
    """Whether the elements fill a piece of memory, each its own place, whatever the order of the axes."""
    filled = cast(Dtype, array.dtype).itemsize
    for _ in range(array.ndim):
        for axis in range(array.ndim):
            if array.shape[axis] > 1 and array.strides[axis] == filled:
                filled *= array.shape[axis]
                break
    return filled == size_of(array) * cast(Dtype, array.dtype).itemsize


@native
def place_updates(
    count: int,
    ports: Port,
    out_pointers: Array[Memory | None],
    pointers: Array[Memory | None],
    arena: Memory,
) -> None:
    """Say where updates are written: straight, or to the arena."""
    port = ports
    for o in range(count):
        if port.kind == Kind.UPDATE:
            update = cast(UpdatePort, port)
            straight = update.place == AT_ONCE
            out_pointers[o] = pointers[update.pointer] if straight else inside(Memory, arena, update.place)
        port = behind(port)


@native
def copy_updates(
    count: int, ports: Port, out_pointers: Array[Memory | None], pointers: Array[Memory | None]
) -> None:
    """Put what was written aside where it belongs."""
    port = ports
    for o in range(count):
        if port.kind == Kind.UPDATE:
            update = cast(UpdatePort, port)
            if update.place != AT_ONCE:
                memcpy(pointers[update.pointer], out_pointers[o], update.bytes)
        port = behind(port)


@inlined
def sound(count: int, ports: Port, scalars: Array[int]) -> bool:
    """Whether no flag was raised."""
    port = ports
    for o in range(count):
        if port.kind == Kind.FLAG and scalars[o] != 0:
            return False
        port = behind(port)
    return True


# --- the arena: one block is kept between calls -----------------------------------------------------------
class Block(Memory):
    """The head of a block, which has 64 bytes, so that what follows is a line of the cache."""

    size: int
    """Bytes behind the head."""


_HEAD_BYTES = 64
KEPT = variable(Array[Block | None], "kept_arena")


@native
def borrow_arena(size: int) -> Memory | None:
    kept = exchange(KEPT, None)
    if kept is not None and kept.size >= size:
        return inside(Memory, kept, _HEAD_BYTES)
    free(kept)
    whole = size + 2 * _HEAD_BYTES - 1 & -_HEAD_BYTES
    block = (
        cast(Memory | None, allocate_huge(whole)) if whole >= HUGE_FROM else aligned_alloc(_HEAD_BYTES, whole)
    )
    if block is None:
        return None
    cast(Block, block).size = size
    return inside(Memory, block, _HEAD_BYTES)


@native
def return_arena(arena: Memory) -> None:
    block: Block | None = inside(Block, arena, -_HEAD_BYTES)
    if block is not None and block.size <= ARENA_KEPT:
        block = exchange(KEPT, block)
    free(block)
