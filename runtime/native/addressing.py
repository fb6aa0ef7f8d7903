"""What native calls take and make of memory elsewhere: objects that lead to an int, an address.

In flow objects and ports of kind ADDRESS (`grammar.py`), out flow addresses and the leaves' arrays; new
objects take their address from a list of free ones. No Python is run, and no class is known.
"""

from __future__ import annotations

from retrograd.compiler.native.language import Array, cast, inlined, inside, native, stack
from retrograd.runtime.native.grammar import AddressPort, Link, Pair
from retrograd.runtime.native.objects import (
    List,
    Memory,
    NdArray,
    Object,
    Py_DecRef,
    Py_IncRef,
    PyList_SetSlice,
    PyLong_AsLongLong,
    PyType_GenericAlloc,
)


@native
def take_address(
    item: Object, port: AddressPort, array: Array[NdArray | None], pointer: Array[Memory | None]
) -> bool:
    """Store the address that an object leads to, and what its first link leads to."""
    thing, link = item, cast(Link, port.first)
    for i in range(port.links):
        content = followed(thing, link)
        if content is None:
            return False
        if i == 0:
            array[0] = cast(NdArray, content)
        thing, link = content, following(link)
    pointer[0] = cast(Memory, PyLong_AsLongLong(thing))
    return True


@inlined
def is_paired(item: Object, pair: Pair) -> bool:
    """Whether a slot holds what it must."""
    if pair.slot < 0:
        return inside(Array[Object], item, -pair.slot)[0] is not pair.thing
    return inside(Array[Object], item, pair.slot)[0] is pair.thing


@native
def followed(item: Object, link: Link) -> Object | None:
    """What an object of a link leads to, borrowed; null if it is not like the link."""
    if item.type is not link.cls:
        return None
    for i in range(link.pairs):
        pair = cast(Pair, link.first + 2 * i)
        if not is_paired(item, pair):
            return None
    return inside(Array[Object], item, link.slot)[0]


@inlined
def following(link: Link) -> Link:
    """The next link."""
    return cast(Link, link.first + 2 * link.pairs)


@native
def new_address(
    port: AddressPort, pointer: Array[Memory | None], array: Array[Object | None]
) -> Object | None:
    """A new object that leads to a free address; stores the address, and the object that is the array."""
    free = cast(List, port.free)
    last = free.length - 1
    if last < 0:
        return None
    number = free.items[last]
    Py_IncRef(number)
    PyList_SetSlice(free, last, last + 1, None)
    pointer[0] = cast(Memory, PyLong_AsLongLong(number))
    count(port.statistics, port.block)
    links = stack(Array[Link], port.links)
    link = cast(Link, port.first)
    for i in range(port.links):
        links[i] = link
        link = following(link)
    content = number
    for i in range(port.links - 1, -1, -1):
        own = links[i]
        thing = wrapped(own.cls, own.slot, content, own.first, own.pairs)
        if thing is None:
            return None
        if i == port.links - 2:  # what holds the memory's holder is the array
            array[0] = thing
        content = thing
    return content


@inlined
def count(held: Array[int], change: int) -> None:
    """Add to the bytes that are held, and keep the most of them in the word behind."""
    held[0] += change
    held[1] = max(held[0], held[1])


@native
def wrapped(cls: Object, slot: int, content: Object, pairs: Array[int], count: int) -> Object | None:
    """A new object of a class, with so many paired slots filled, and a slot with what it is given, which it
    takes over. Null, with an exception set, without memory."""
    thing = PyType_GenericAlloc(cls, 0)
    if thing is None:
        Py_DecRef(content)
        return None
    inside(Array[Object], thing, slot)[0] = content
    for p in range(count):
        pair = cast(Pair, pairs + 2 * p)
        Py_IncRef(pair.thing)
        inside(Array[Object], thing, pair.slot)[0] = pair.thing
    return thing
