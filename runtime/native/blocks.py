"""Memory of arrays, in the native language: blocks that begin with a line of the cache, as vectors are read
fastest. What comes back is kept for the next block as large, for whose pages the system need not be asked
again (C's allocator returns them, and each costs a fault); much memory is in huge pages.

In flow bytes that are wanted; what `retrograd_allocate` gives, `retrograd_free` takes. The rest is what NumPy
asks of a handler of data (`buffers.py`).
"""

from __future__ import annotations

from retrograd.compiler.native.language import (
    Array,
    Byte,
    Int32,
    Record,
    atomic_add,
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
"""Blocks of much memory that are kept, and bytes of the largest."""
STEP = 1 << 10
LISTED_FROM, LISTED_TO = 4 * STEP, HUGE_FROM - STEP
"""Bytes from which and to which there is a list of kept blocks for each multiple of a step."""
LISTED_MOST = 64 << 20
"""Bytes of all that lists keep; when they would have more, they give back what they have."""
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


LISTS = variable(Array[Bytes | None], "lists", 8 * (LISTED_TO // STEP + 1))
"""The first block of each list, in which lies the address of the next."""
LISTED = variable(Array[int], "listed")
"""Bytes of all blocks in lists."""


@inlined
def head_of(block: Bytes) -> Head:
    return inside(Head, block, -_HEAD)


# --- blocks -------------------------------------------------------------------------------------------------
@exported
def retrograd_allocate(size: int) -> Bytes | None:
    """Null where there is no memory."""
    if size < LISTED_FROM:
        return behind_head(malloc(size + _LINE), size, _LINE)
    if size <= LISTED_TO:
        rounded = (size + STEP - 1) & -STEP
        known = unlisted(rounded)
        return known if known is not None else behind_head(malloc(rounded + _LINE), rounded, _LINE)
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
    """To a list or, if it is much, to the blocks kept: of too many, the oldest one goes."""
    going: Bytes | None = block
    size = head_of(block).size
    if size >= LISTED_FROM and size <= LISTED_TO:
        return enlist(block, size)
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


# --- lists --------------------------------------------------------------------------------------------------
@inlined
def next_of(block: Bytes) -> Array[Bytes | None]:
    """Where the address of the next block in a list lies."""
    return cast(Array[Bytes | None], block)


@native
def unlisted(size: int) -> Bytes | None:
    """The block that came back last, of exactly so many bytes. Who takes from a list has all of it meanwhile,
    so that no other thread sees a block that goes."""
    place = LISTS + size // STEP
    block = exchange(place, None)
    if block is None:
        return None
    rest = next_of(block)[0]
    if rest is not None and not compare_exchange(place, None, rest):
        release_all(rest)
    atomic_add(LISTED, -size)
    return block


@native
def enlist(block: Bytes, size: int) -> None:
    if atomic_add(LISTED, size) + size > LISTED_MOST:
        for k in range(LISTED_TO // STEP + 1):
            release_all(exchange(LISTS + k, None))
    place = LISTS + size // STEP
    next_of(block)[0] = exchange(place, None)
    if not compare_exchange(place, None, block):
        release_all(block)


@native
def release_all(first: Bytes | None) -> None:
    """A block and those that follow it."""
    block = first
    while block is not None:
        following = next_of(block)[0]
        atomic_add(LISTED, -head_of(block).size)
        release(block)
        block = following


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
