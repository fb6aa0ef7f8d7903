"""The Mersenne Twister over a state in native memory: words in PyTorch's order.

In flow the address of a `State` (`generator.py` makes it); out flow words. A state is turned as a whole, by
vectors, and so is what is handed out of it. Nothing here locks: callers hold the interpreter's lock, which
makes a draw one step for every thread.

Algorithm: M. Matsumoto and T. Nishimura, "Mersenne Twister" (1998).
"""

from __future__ import annotations

from typing import Annotated, Literal

from retrograd.compiler.native.language import (
    Array,
    At,
    Inline,
    Int32,
    Record,
    Unsigned,
    Unsigned32,
    Vector,
    cast,
    exported,
    inlined,
    native,
    put,
    take,
)
from retrograd.runtime.native.objects import Memory, memcpy

LANES = 16
Words = Vector[Unsigned32, Literal[16]]

COUNT = 624
"""Words of a state."""

SHIFT = 397
"""How far on the word lies that a word is turned with, in the circle."""

WHOLE = (COUNT - SHIFT) // LANES * LANES
"""Words that are turned by vectors before one of them reaches round the circle."""

MATRIX, TOP, LOW = 0x9908B0DF, 0x80000000, 0x7FFFFFFF


class State(Record):
    """What native code draws from."""

    position: int
    """In `tempered`, of the next word."""
    pending: int
    """Whether the words have still to be made of the seed."""
    fresh: int
    """Whether no word was drawn yet."""
    seed: Unsigned
    normal: float
    """A normal number already drawn, for a call that wants few."""
    has_normal: int
    turn: int
    """Counts draws."""
    words: Annotated[Inline[Unsigned32], At(64)]
    tempered: Annotated[Inline[Unsigned32], At(64 + 4 * (COUNT + LANES))]
    """What is handed out."""


STATE_BYTES = 64 + 4 * (COUNT + LANES) + 4 * COUNT


@exported
def words(state: State, to: Array[Unsigned32], count: int) -> None:
    """The next words, copied."""
    state.turn += 1
    done = 0
    while done < count:
        if state.position == COUNT:
            refill(state)
        n = min(COUNT - state.position, count - done)
        memcpy(cast(Memory, to + done), cast(Memory, state.tempered + state.position), n << 2)
        state.position += n
        done += n


@inlined
def word_of(state: State) -> Unsigned:
    """The next word."""
    if state.position == COUNT:
        refill(state)
    state.position += 1
    return state.tempered[state.position - 1]


@native
def refill(state: State) -> None:
    """All words anew."""
    ready(state)
    for i in range(0, WHOLE, LANES):
        turn(state.words + i, SHIFT)
    put(state.words + COUNT, take(Words, state.words))  # the circle goes on with the first ones, new
    turn(state.words + WHOLE, SHIFT)
    for i in range(WHOLE + LANES, COUNT, LANES):
        turn(state.words + i, SHIFT - COUNT)
    temper(state)
    state.position, state.fresh = 0, 0


@inlined
def turn(here: Array[Unsigned32], onward: int) -> None:
    """Some words anew, each of itself, the next one, and one so far on as it is by then."""
    this, following, other = take(Words, here), take(Words, here + 1), take(Words, here + onward)
    joined = this & TOP | following & LOW
    put(here, other ^ (joined >> 1) ^ (-(following & 1) & MATRIX))


@exported
def ready(state: State) -> None:
    """The words of a seed that has not been used yet."""
    if state.pending == 0:
        return
    state.pending = 0
    word = state.seed & 0xFFFFFFFF
    state.words[0] = word
    for i in range(1, COUNT):
        word = (word ^ word >> 30) * 1812433253 + i & 0xFFFFFFFF
        state.words[i] = word


@exported
def temper(state: State) -> None:
    """What is handed out, of the words as they are."""
    for i in range(0, COUNT, LANES):
        word = take(Words, state.words + i)
        word ^= word >> 11
        word ^= word << 7 & 0x9D2C5680
        word ^= word << 15 & 0xEFC60000
        put(state.tempered + i, word ^ word >> 18)


# ---- states that travel ------------------------------------------------------------------------------------


class Saved(Record):
    """A state in PyTorch's layout, so that saved states travel both ways."""

    seed: Annotated[Unsigned, At(0)]
    left: Annotated[Int32, At(8)]
    """Words until all of them are made anew."""
    seeded: Annotated[Int32, At(12)]
    next: Annotated[int, At(16)]
    words: Annotated[Inline[Unsigned], At(24)]
    rest: Annotated[Inline[int], At(24 + 8 * COUNT)]
    """Some of it unused, and the normal number."""
    normal: Annotated[float, At(32 + 8 * COUNT)]
    has_normal: Annotated[Int32, At(48 + 8 * COUNT)]


SAVED_BYTES = 64 + 8 * COUNT


@exported
def saved(state: State, to: Saved) -> None:
    """The state, written as PyTorch does."""
    ready(state)
    fresh = state.fresh != 0
    to.seed, to.seeded = state.seed, 1
    to.next, to.left = 0 if fresh else state.position, 1 if fresh else COUNT + 1 - state.position
    for i in range(COUNT):
        to.words[i] = state.words[i]
    for i in range(5):
        to.rest[i] = 0
    if state.has_normal != 0:
        to.normal, to.has_normal = state.normal, 1


@exported
def restored(state: State, read: Saved) -> bool:
    """Go on from a state that was saved; False if it is none."""
    fresh = read.left == 1 and read.next == 0
    if read.seeded == 0 or not (fresh or (1 <= read.next <= COUNT and read.left == COUNT + 1 - read.next)):
        return False
    state.seed, state.pending, state.fresh = read.seed, 0, 1 if fresh else 0
    state.position = COUNT if fresh else read.next
    state.normal, state.has_normal = read.normal, 1 if read.has_normal != 0 else 0
    for i in range(COUNT):
        state.words[i] = read.words[i] & 0xFFFFFFFF
    state.turn += 1
    temper(state)
    return True
