"""Random orders of the numbers from 0 on, in PyTorch's two ways: for few numbers, and for very many."""

from __future__ import annotations

from retrograd.compiler.native.language import (
    Array,
    Unsigned,
    Unsigned32,
    cast,
    constants,
    exported,
    inlined,
    put,
    stack,
    take,
)
from retrograd.runtime.random.twister import LANES, State, Words, words
from retrograd.runtime.random.uniform import CHUNK, pairs_i64, remainder

FIRST = constants(Array[Unsigned32], "first_numbers", *range(LANES))


@inlined
def count_up(to: Array[int], count: int) -> None:
    for i in range(count):
        to[i] = i


@exported
def order_i64(state: State, to: Array[int], count: int) -> None:
    """Each place swaps with itself or a later one, of which a word chooses."""
    count_up(to, count)
    drawn = stack(Array[Unsigned32], CHUNK, 64)
    for done in range(0, count - 1, CHUNK):
        n = min(count - 1 - done, CHUNK)
        words(state, drawn, n)
        for i in range(0, n, LANES):
            choices = cast(Words, count - done - i) - take(Words, FIRST)
            put(drawn + i, remainder(take(Words, drawn + i), choices))
        for i in range(n):
            here = to + done + i
            there = here + drawn[i]
            here[0], there[0] = there[0], here[0]


@exported
def order_wide_i64(state: State, to: Array[int], count: int) -> None:
    """Each place swaps with itself or an earlier one, of which a pair of words chooses."""
    count_up(to, count)
    drawn = stack(Array[Unsigned], CHUNK, 64)
    for done in range(0, count, CHUNK):
        n = min(count - done, CHUNK)
        pairs_i64(state, drawn, n)
        for i in range(n):
            here, there = to + done + i, to + drawn[i] % (done + i + 1)
            here[0], there[0] = there[0], done + i
