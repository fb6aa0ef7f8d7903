"""Laws by which each element is a function of random words: one, a pair, or the double that a pair makes.

In flow a generator's state, out flow numbers:

    void LAW_KIND(State state, Array to, int count, LAW's parameters)

that writes `count` elements in order; the parameters are those of `laws.py`. `below_KIND` writes ones with
the probabilities in an operand, an array of the same kind; it draws nothing and is false where one is none. A
further law is a function here.

PyTorch's kernels use fused multiply-adds, and so does this; what is left calls the C library.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, TypeVar

from retrograd.compiler.native.language import (
    Array,
    Byte,
    Float32,
    Floating,
    Int16,
    Int32,
    Integer,
    Record,
    Unsigned,
    Unsigned32,
    Vector,
    cast,
    ceil,
    exported,
    fused,
    inlined,
    native,
    put,
    select,
    stack,
    take,
)
from retrograd.runtime.native.mathematics import log, log1p, tan
from retrograd.runtime.random.twister import LANES, State, Words, word_of, words

CHUNK = 512
"""Elements worked on at a time."""

PAIR_LANES = 8
Pairs = Vector[Unsigned, Literal[8]]
Integers = Vector[int, Literal[8]]
Doubles = Vector[float, Literal[8]]
Wholes = Vector[Int32, Literal[16]]
Singles = Vector[Float32, Literal[16]]
Wide = Vector[float, Literal[16]]
Long = Vector[int, Literal[16]]

T = TypeVar("T")
N = TypeVar("N")


# --- of words and pairs -------------------------------------------------------------------------------------
@inlined
def by_words(state: State, to: Array[T], count: int, law: Callable[[Words], Vector[T, N]]) -> None:
    """Elements of one word each."""
    drawn = stack(Array[Unsigned32], CHUNK, 64)
    for done in range(0, count, CHUNK):
        n = min(count - done, CHUNK)
        words(state, drawn, n)
        for i in range(0, n, LANES):
            put(to + done + i, law(take(Words, drawn + i)), n - i)


@inlined
def by_pairs(state: State, to: Array[T], count: int, law: Callable[[Pairs], Vector[T, N]]) -> None:
    """Elements of two words each, the first of which is the high half."""
    drawn = stack(Array[Unsigned], CHUNK, 64)
    for done in range(0, count, CHUNK):
        n = min(count - done, CHUNK)
        words(state, cast(Array[Unsigned32], drawn), 2 * n)
        for i in range(0, n, PAIR_LANES):
            pair = take(Pairs, drawn + i)
            put(to + done + i, law(pair << 32 | pair >> 32), n - i)


@exported
def pairs_i64(state: State, to: Array[Unsigned], count: int) -> None:
    """Pairs as they are."""
    by_pairs(state, to, count, lambda pair: pair)


# --- numbers of a range -------------------------------------------------------------------------------------
@exported
def unit_f32(state: State, to: Array[Float32], count: int) -> None:
    """Numbers in [0, 1) of 24 bits."""
    by_words(state, to, count, lambda word: single_unit(word))


@exported
def unit_f64(state: State, to: Array[float], count: int) -> None:
    """The same of 53 bits."""
    by_pairs(state, to, count, lambda pair: double_unit(pair))


@inlined
def single_unit(word: Words) -> Singles:
    return cast(Singles, cast(Wholes, word & 0xFFFFFF)) * 2.0**-24


@inlined
def double_unit(pair: Pairs) -> Doubles:
    return cast(Doubles, pair & 0x1FFFFFFFFFFFFF) * 2.0**-53


class SingleBounds(Record):
    low: Float32
    extent: Float32
    high: Float32


class Bounds(Record):
    low: float
    extent: float
    high: float


@exported
def uniform_f32(state: State, to: Array[Float32], count: int, bounds: SingleBounds) -> None:
    low, extent = cast(Singles, bounds.low), cast(Singles, bounds.extent)
    high = cast(Singles, bounds.high)
    by_words(state, to, count, lambda word: between(single_unit(word), low, extent, high))


@exported
def uniform_f64(state: State, to: Array[float], count: int, bounds: Bounds) -> None:
    low, extent = cast(Doubles, bounds.low), cast(Doubles, bounds.extent)
    high = cast(Doubles, bounds.high)
    by_pairs(state, to, count, lambda pair: between(double_unit(pair), low, extent, high))


@inlined
def between(
    unit: Vector[float, N], low: Vector[float, N], extent: Vector[float, N], high: Vector[float, N]
) -> Vector[float, N]:
    """What is rounded up to the end, which is excluded, becomes the beginning."""
    value = fused(unit, extent, low)
    return select(value == high, low, value)


# --- whole numbers ------------------------------------------------------------------------------------------
class Range(Record):
    low: int
    extent: Unsigned


@exported
def whole_i64(state: State, to: Array[int], count: int, range_: Range) -> None:
    """The remainder of a word."""
    low, extent = cast(Long, range_.low), cast(Words, range_.extent)
    by_words(state, to, count, lambda word: cast(Long, remainder(word, extent)) + low)


@exported
def whole_f32(state: State, to: Array[Float32], count: int, range_: Range) -> None:
    """The same, as numbers with a point."""
    low, extent = cast(Long, range_.low), cast(Words, range_.extent)
    by_words(state, to, count, lambda word: cast(Singles, cast(Long, remainder(word, extent)) + low))


@exported
def whole_f64(state: State, to: Array[float], count: int, range_: Range) -> None:
    low, extent = cast(Long, range_.low), cast(Words, range_.extent)
    by_words(state, to, count, lambda word: cast(Wide, cast(Long, remainder(word, extent)) + low))


@inlined
def remainder(word: Words, by: Words) -> Words:
    """Of a division whose quotient is made in double: exact, since neither has more than 32 bits."""
    return word - cast(Words, cast(Wide, word) / cast(Wide, by)) * by


@exported
def whole_wide_i64(state: State, to: Array[int], count: int, range_: Range) -> None:
    """The remainder of a pair."""
    low, extent = range_.low, range_.extent
    by_pairs(state, to, count, lambda pair: pair % extent + low)


@exported
def whole_wide_f64(state: State, to: Array[float], count: int, range_: Range) -> None:
    low, extent = range_.low, range_.extent
    by_pairs(state, to, count, lambda pair: cast(Doubles, cast(Integers, pair % extent + low)))


# --- one or nothing -----------------------------------------------------------------------------------------
class Chance(Record):
    chance: float
    one: int
    """Its bits."""


@inlined
def whether(state: State, to: Array[Integer], count: int, law: Chance) -> None:
    chance, one = cast(Doubles, law.chance), cast(Integers, law.one)
    by_pairs(state, to, count, lambda pair: select(double_unit(pair) < chance, one, 0))


@exported
def whether_i8(state: State, to: Array[Byte], count: int, law: Chance) -> None:
    whether(state, to, count, law)


@exported
def whether_i16(state: State, to: Array[Int16], count: int, law: Chance) -> None:
    whether(state, to, count, law)


@exported
def whether_i32(state: State, to: Array[Int32], count: int, law: Chance) -> None:
    whether(state, to, count, law)


@exported
def whether_i64(state: State, to: Array[int], count: int, law: Chance) -> None:
    whether(state, to, count, law)


Units = Callable[[State, Array[Floating], int], None]


@inlined
def below(state: State, to: Array[Floating], count: int, chances: Array[Floating], units: Units) -> bool:
    for i in range(count):
        if not 0.0 <= chances[i] <= 1.0:
            return False
    units(state, to, count)
    for i in range(count):
        to[i] = 1.0 if to[i] < chances[i] else 0.0
    return True


@exported
def below_f32(state: State, to: Array[Float32], count: int, operands: Array[Array[Float32]]) -> bool:
    return below(state, to, count, operands[0], unit_f32)


@exported
def below_f64(state: State, to: Array[float], count: int, operands: Array[Array[float]]) -> bool:
    return below(state, to, count, operands[0], unit_f64)


# --- one after the other ------------------------------------------------------------------------------------
@native
def unit(state: State) -> float:
    """The next number in [0, 1), of 53 bits."""
    state.turn += 1
    high = word_of(state)
    pair = high << 32 | word_of(state)
    return cast(float, cast(int, pair & 0x1FFFFFFFFFFFFF)) * 2.0**-53


# --- by the C library ---------------------------------------------------------------------------------------
@inlined
def by_units(state: State, to: Array[Floating], count: int, law: Callable[[float], float]) -> None:
    """Elements of one double in [0, 1) each; in float32 they are rounded from that, as in PyTorch."""
    units = stack(Array[float], CHUNK, 64)
    for done in range(0, count, CHUNK):
        n = min(count - done, CHUNK)
        unit_f64(state, units, n)
        for i in range(n):
            to[done + i] = law(units[i])


class Exponential(Record):
    scale: float
    """-1 / rate."""


@exported
def exponential_f32(state: State, to: Array[Float32], count: int, law: Exponential) -> None:
    by_units(state, to, count, lambda unit: law.scale * log1p(-unit))


@exported
def exponential_f64(state: State, to: Array[float], count: int, law: Exponential) -> None:
    by_units(state, to, count, lambda unit: law.scale * log1p(-unit))


class Cauchy(Record):
    median: float
    sigma: float


@inlined
def cauchy(unit: float, law: Cauchy) -> float:
    return law.median + law.sigma * tan((unit - 0.5) * math.pi)


@exported
def cauchy_f32(state: State, to: Array[Float32], count: int, law: Cauchy) -> None:
    by_units(state, to, count, lambda unit: cauchy(unit, law))


@exported
def cauchy_f64(state: State, to: Array[float], count: int, law: Cauchy) -> None:
    by_units(state, to, count, lambda unit: cauchy(unit, law))


class Geometric(Record):
    failure: float
    """log(1 - p)."""


@exported
def geometric_f32(state: State, to: Array[Float32], count: int, law: Geometric) -> None:
    by_units(state, to, count, lambda unit: ceil(log(unit) / law.failure))


@exported
def geometric_f64(state: State, to: Array[float], count: int, law: Geometric) -> None:
    by_units(state, to, count, lambda unit: ceil(log(unit) / law.failure))
