"""Random numbers that a program takes: drawn natively when a call has passed all its ports.

In flow the held ports of kind DRAW (`grammar.py`) in the order of the draws; out flow pointers to fresh
numbers, and arrays with them where somebody looks at them later. A call that turns out to be a miss gives the
numbers back: its generators stand as before, unless others have drawn meanwhile.
"""

from __future__ import annotations

from retrograd.compiler.native.language import Array, cast, inlined, inside, native, stack
from retrograd.runtime.native.grammar import (
    SAVED_BYTES,
    SAVED_HEAD,
    DrawPort,
    Frame,
    Kind,
    Port,
    Saved,
    behind,
)
from retrograd.runtime.native.making import empty_array
from retrograd.runtime.native.objects import Memory, NdArray, Object, Py_DecRef, Py_IncRef, memcpy
from retrograd.runtime.random.twister import STATE_BYTES, State


@native
def make_drawn(
    frame: Frame, count: int, ports: Port, leaf: int, pointer: int, drawn: Array[NdArray | None], draws: int
) -> bool:
    """New arrays for the draws among so many held objects, whose leaves and pointers begin at these numbers:
    each is put into its object's slot, and into `drawn`. False with an exception set."""
    for d in range(draws):
        drawn[d] = None
    port, p, d = ports, pointer, 0
    for i in range(count):
        if port.kind == Kind.DRAW:
            draw_port = cast(DrawPort, port)
            if draw_port.place < 0:
                array = fresh_array(draw_port)
                if array is None:
                    return False
                drawn[d] = array
                frame.arrays[leaf + i] = array
                frame.pointers[p] = array.data
                slot = inside(Array[Object], frame.objects[leaf + i], draw_port.slot)
                before = slot[0]
                Py_IncRef(array)
                slot[0] = array
                Py_DecRef(before)
            d += 1
        p += seen(port)
        port = behind(port)
    return True


@native
def fresh_array(port: DrawPort) -> NdArray | None:
    extents = stack(Array[int], port.ndim)  # the record may go when its callable does
    for a in range(port.ndim):
        extents[a] = port.extents[a]
    return empty_array(port.dtype, port.ndim, extents, None)


@inlined
def seen(port: Port) -> int:
    """How many pointers of the program belong to a leaf."""
    return 0 if port.kind == Kind.CONSTANT else 1


@native
def draw(
    frame: Frame, count: int, ports: Port, pointer: int, arena: Memory, saved: Saved, saving: bool
) -> None:
    """Draw the numbers, into the arrays or at their places in the arena. When `saving`, the generator's state
    is saved before each draw."""
    port, p, save = ports, pointer, saved
    for _ in range(count):
        if port.kind == Kind.DRAW:
            draw_port = cast(DrawPort, port)
            if draw_port.place >= 0:
                frame.pointers[p] = inside(Memory, arena, draw_port.place)
            if saving:
                memcpy(inside(Memory, save, SAVED_HEAD), draw_port.state, STATE_BYTES)
            draw_port.law(
                draw_port.state, cast(Memory, frame.pointers[p]), draw_port.count, draw_port.parameters
            )
            if saving:
                save.state = cast(State, draw_port.state)
                save.turn = save.state.turn
                save = inside(Saved, save, SAVED_BYTES)
        p += seen(port)
        port = behind(port)


@native
def rewind(saved: Saved, draws: int) -> None:
    """Give so many draws back, the last first."""
    for k in range(draws - 1, -1, -1):
        save = inside(Saved, saved, k * SAVED_BYTES)
        if save.state.turn == save.turn:
            memcpy(cast(Memory, save.state), inside(Memory, save, SAVED_HEAD), STATE_BYTES)
