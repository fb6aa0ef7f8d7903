"""Memory for what an item of a product copies, and for its sums that wait, in the native language.

In flow bytes that are wanted, out flows a room of at least as many, which `give_back` keeps for the next
item, of any product on any thread. It is in huge pages: tiles go over copies in strides.
"""

from __future__ import annotations

from retrograd.compiler.backends.lent import retrograd_room, retrograd_room_back
from retrograd.compiler.backends.products.records import Bytes
from retrograd.compiler.native.language import (
    Array,
    Byte,
    Order,
    Record,
    atomic_load,
    cast,
    compare_exchange,
    exchange,
    inlined,
    inside,
    provides,
    stack,
    variable,
)
from retrograd.compiler.native.pages import HUGE_PAGE, allocate_huge, free

LARGE = 1 << 17
"""Bytes from which on a room is worth it. Less is on the stack."""
_HEAD = 64
"""Bytes before a room, so that it begins with a line of the cache."""
_KEPT = 64
"""Rooms that wait for the next item, at most; a power of two."""
_STACK = 23
"""Bits of an address within the stack of a thread."""


class Head(Record):
    """What lies before a room."""

    size: int
    """Bytes of both."""


ROOMS = variable(Array[Bytes | None], "rooms", 8 * _KEPT)


@provides(retrograd_room)
def borrow(size: int) -> Bytes | None:
    """Null where there is no memory. What is made where all that wait are smaller takes the place of one."""
    smaller, first = -1, own_place()
    for k in range(_KEPT):
        place = (first + k) & (_KEPT - 1)
        kept = (
            exchange(ROOMS + place, None) if atomic_load(ROOMS + place, Order.RELAXED) is not None else None
        )
        if kept is not None:
            if cast(Head, kept).size >= size + _HEAD:
                return kept + _HEAD
            smaller = place
            if not compare_exchange(ROOMS + place, None, kept):
                free(kept)
    if smaller >= 0:
        free(exchange(ROOMS + smaller, None))
    whole = (size + _HEAD + HUGE_PAGE - 1) & -HUGE_PAGE
    made = allocate_huge(whole)
    if made is None:
        return None
    cast(Head, made).size = whole
    return made + _HEAD


@provides(retrograd_room_back)
def give_back(room: Bytes) -> None:
    whole, first = inside(Array[Byte], room, -_HEAD), own_place()
    for k in range(_KEPT):
        if compare_exchange(ROOMS + ((first + k) & (_KEPT - 1)), None, whole):
            return
    free(whole)


@inlined
def own_place() -> int:
    """Where a thread looks first: what it wrote last is still in its cache. Stacks of threads lie apart."""
    return (cast(int, stack(Array[int])) >> _STACK) & (_KEPT - 1)
