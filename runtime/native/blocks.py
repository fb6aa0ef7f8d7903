"""Memory of arrays, in the native language: blocks that begin with a line of the cache, as vectors are read
fastest. Much memory is in huge pages, and kept for the next block about as large: so its pages are there.

In flow bytes that are wanted; what `retrograd_allocate` gives, `retrograd_free` takes. The rest is what NumPy
asks of a handler of data (`buffers.py`).
"""

from __future__ import annotations

from retrograd.compiler.native.language import (
    Array,
    Byte,
    Int32,
    Record,
    cast,
    compare_exchange,
    exchange,
    exported,
    extern,
    given,
    inlined,
    inside,
    native,
    variable,
)
from retrograd.compiler.native.pages import HUGE_PAGE, free, prefer_huge
from retrograd.runtime.native.objects import Object, Py_DecRef, PyObject_Vectorcall, Tuple

Bytes = Array[Byte]

HUGE_FROM = HUGE_PAGE * 7 // 8
"""Bytes that are much."""
KEPT, KEPT_MOST = 8, 32 << 20
"""Blocks that are kept, and bytes of the largest."""
_LINE, _PAGE, _HEAD = 64, 4096, 16
_READ_AND_WRITE = 3


class Head(Record):
    """What lies before a block."""

    size: int
    """Bytes of the block."""
    begin: Bytes
    """What the system gave, and takes back."""


BLOCKS = variable(Array[Bytes | None], "blocks", 8 * KEPT)
"""Those that are kept, the last one that came back first."""


@inlined
def head_of(block: Bytes) -> Head:
    return inside(Head, block, -_HEAD)


# --- blocks -------------------------------------------------------------------------------------------------
@exported
def retrograd_allocate(size: int) -> Bytes | None:
    """Null where there is no memory."""
    if size < HUGE_FROM:
        return behind_head(malloc(size + _LINE), size, _LINE)
    for place in range(KEPT):
        kept = exchange(BLOCKS + place, None)
        if kept is not None:
            more = head_of(kept).size - size
            if more >= 0 and more <= size >> 2:
                return kept
            if not compare_exchange(BLOCKS + place, None, kept):
                release(kept)
    whole = (size + HUGE_PAGE - 1) & -HUGE_PAGE
    if whole - size > size >> 3:  # the last page would be for little
        whole = (size + _PAGE - 1) & -_PAGE
    begin = mmap(None, whole + HUGE_PAGE, _READ_AND_WRITE, given("map_private"), -1, 0)
    if cast(int, begin) == -1:
        return None
    block = behind_head(begin, whole, HUGE_PAGE)
    if block is not None:
        prefer_huge(block, whole)
    return block


@native
def behind_head(begin: Bytes | None, size: int, alignment: int) -> Bytes | None:
    """The block in fresh memory, which is longer by the alignment. There is place for the head: C and the
    system align to as much."""
    if begin is None:
        return None
    block = begin + (alignment - (cast(int, begin) & (alignment - 1)))
    head = head_of(block)
    head.size, head.begin = size, begin
    return block


@exported
def retrograd_free(block: Bytes) -> None:
    """Of too many, the oldest one goes."""
    going: Bytes | None = block
    size = head_of(block).size
    if size >= HUGE_FROM and size <= KEPT_MOST:
        for place in range(KEPT):
            going = exchange(BLOCKS + place, going)
            if going is None:
                return
    if going is not None:
        release(going)


@native
def release(block: Bytes) -> None:
    head = head_of(block)
    if head.size < HUGE_FROM:
        free(head.begin)
    else:
        munmap(head.begin, head.size + HUGE_PAGE)


# --- what NumPy calls ---------------------------------------------------------------------------------------
@exported
def handler_malloc(context: Bytes | None, size: int) -> Bytes | None:
    return retrograd_allocate(size)


@exported
def handler_calloc(context: Bytes | None, count: int, size: int) -> Bytes | None:
    block = retrograd_allocate(count * size)
    if block is not None:
        memset(block, 0, count * size)
    return block


@exported
def handler_realloc(context: Bytes | None, block: Bytes | None, size: int) -> Bytes | None:
    moved = retrograd_allocate(size)
    if block is not None and moved is not None:
        memcpy(moved, block, min(size, head_of(block).size))
        retrograd_free(block)
    return moved


@exported
def handler_free(context: Bytes | None, block: Bytes | None, size: int) -> None:
    if block is not None:
        retrograd_free(block)


# --- what NumPy makes meanwhile -----------------------------------------------------------------------------
@exported
def retrograd_placed(function: Object, args: Array[Object], nargs: int, names: Tuple | None) -> Object | None:
    """A handler, a function and its arguments: what the function gives, its arrays' data by this handler."""
    before = numpy_set_handler(args[0])
    if before is None:
        return None
    made = PyObject_Vectorcall(args[1], args + 2, nargs - 2, names)
    Py_DecRef(numpy_set_handler(before))
    Py_DecRef(before)
    return made


@extern
def numpy_set_handler(handler: Object) -> Object | None:
    """Gives the one before."""


# --- of the system ------------------------------------------------------------------------------------------
@extern
def malloc(size: int) -> Bytes | None: ...


@extern
def memset(block: Bytes, byte: Int32, size: int) -> Bytes: ...


@extern
def memcpy(to: Bytes, source: Bytes, size: int) -> Bytes: ...


@extern
def mmap(where: Bytes | None, size: int, access: Int32, kind: Int32, file: Int32, offset: int) -> Bytes: ...


@extern
def munmap(begin: Bytes, size: int) -> Int32: ...
