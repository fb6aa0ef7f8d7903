"""Loops where there is no process of this package, in the native language: nobody interrupts, and there is no
memory but what a caller lends, nor C's library.

    retrograd_loops    runs a program of loops: inputs, outputs, an arena; gives the flag that was raised
"""

from __future__ import annotations

from typing import Literal

from retrograd.compiler.native.language import Array, Byte, Vector, cast, exported, provides, put, take
from retrograd.runtime.native import looping
from retrograd.runtime.native.looping import Plan, State, run
from retrograd.runtime.native.objects import Memory

Line = Vector[Byte, Literal[32]]
_LINE = 32
_ENDLESS = 1 << 62


@exported
def retrograd_loops(args: Array[Memory], plan: Plan) -> int:
    """The number of the flag that was raised, counted through all programs from 1; 0 if none was."""
    return run(args, args[plan.takes + plan.gives], plan)


@provides(looping.memcpy)
def copied(to: Memory, source: Memory, size: int) -> Memory:
    """Lines, and then the bytes after them."""
    written, read = cast(Array[Byte], to), cast(Array[Byte], source)
    whole = size & -_LINE
    for at in range(0, whole, _LINE):
        put(written + at, take(Line, read + at))
    for at in range(whole, size):
        written[at] = read[at]
    return to


@provides(looping.realloc)
def no_more(held: Memory, size: int) -> Memory | None:
    """Histories of unknown length are refused before."""
    return None


@provides(looping.free)
def nothing_held(held: Memory) -> None:
    pass


@provides(looping.retrograd_goes_on)
def always(state: State) -> bool:
    state.left = _ENDLESS
    return True


ALL = (retrograd_loops, copied, no_more, nothing_held, always)
