"""What every elementary function needs: the floating formats, polynomials, two-word arithmetic.

In flow Values, out flow Values. A two-word number is an unevaluated sum `(high, low)`, |low| at most half an
ulp of high; the sequences that make one are Knuth's and Dekker's (see Muller et al., Handbook of
Floating-Point Arithmetic, chapter 4), with the fused multiply-add for products.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable, Sequence

from retrograd.compiler.backends.kinds import HALVES, Number
from retrograd.compiler.backends.vector import Value, fabs, fma, maximum, minimum, select
from retrograd.compiler.record import record

INF, NAN = float("inf"), float("nan")

Function = Callable[..., Value]

Words = tuple[Value, Value]
"""A two-word number, high word first."""


@record(slots=True)
class Format:
    """A binary floating-point format and the constants that depend on it."""

    fraction: int
    """Stored bits of the significand."""
    bias: int
    smallest_normal: float
    ln2: tuple[float, float]
    """ln 2 in two words."""
    shifter: float
    """Added to a small number, it leaves the nearest integer in the low bits: 1.5 * 2**fraction."""


FORMATS = {
    "f32": Format(23, 127, 2.0**-126, (0.693147182, -1.90465421e-9), 1.5 * 2.0**23),
    "f64": Format(52, 1023, 2.0**-1022, (0.6931471805599453, 2.3190468138462996e-17), 1.5 * 2.0**52),
}


def pattern_of(kind: str, number: float) -> int:
    """The bits of `number`, rounded to `kind`."""
    return int.from_bytes(struct.pack({"f32": ">f", "f64": ">d"}[kind], number))


def horner(x: Value, coefficients: Sequence[Value | float]) -> Value:
    """The polynomial with these coefficients, lowest first."""
    total: Value | Number = coefficients[-1]
    for coefficient in reversed(coefficients[:-1]):
        total = fma(total, x, coefficient)
    return x.same(total)


def horner_words(x: Value, coefficients: Sequence[Value | float], steps: int = 1) -> Words:
    """The polynomial, with what the last steps lose in rounding in the low word. What each of them gives must
    be between half its coefficient and twice it."""
    total, low = horner(x, coefficients[steps:]), x.same(0.0)
    with x.block.exact():
        for coefficient in reversed(coefficients[:steps]):
            first = x.same(coefficient)
            after = fma(total, x, first)
            low = fma(low, x, fma(total, x, first - after))
            total = after
    return total, low


def either(
    condition: Value, first: Sequence[float], second: Sequence[float], like: Value
) -> list[Value | float]:
    """The coefficients `first` in the lanes where the condition holds, in others the `second` ones."""
    return [select(condition, like.same(a), b) for a, b in zip(first, second, strict=True)]


def at_most(x: Value, bound: float) -> Value:
    """`x`, or `bound` where x is larger. NaN stays."""
    return minimum(x, bound)


def at_least(x: Value, bound: float) -> Value:
    """`x`, or `bound` where x is smaller. NaN stays."""
    return maximum(x, bound)


def through(wide: str, kinds: tuple[str, ...]) -> Callable[[Function], Function]:
    """Has a function of the listed kinds evaluated in the `wide` one, and rounded."""

    def decorate(function: Function) -> Function:
        @functools.wraps(function)
        def outer(*operands: Value) -> Value:
            kind = operands[0].kind
            if kind not in kinds:
                return function(*operands)
            value = function(*(x.to(wide) for x in operands))
            return value.to(kind) if value.kind == wide else value

        return outer

    return decorate


widened = through("f64", ("f32",))
"""For a function that is written for f64 alone."""

in_f32 = through("f32", HALVES)
"""For a function that is written for f32 and f64."""


def two_sum(a: Value, b: Value) -> Words:
    """a + b exactly."""
    with a.block.exact():
        total = a + b
        rest = total - a
        return total, (a - (total - rest)) + (b - rest)


def fast_two_sum(a: Value, b: Value) -> Words:
    """a + b exactly, where |a| >= |b| or a is 0."""
    with a.block.exact():
        total = a + b
        return total, b - (total - a)


def two_product(a: Value, b: Value) -> Words:
    """a * b exactly."""
    with a.block.exact():
        product = a * b
    return product, fma(a, b, -product)


def reciprocal(x: Words) -> Words:
    """1 / x in two words, the low one 0 where 1 / x overflows."""
    inverse = 1.0 / x[0]
    low = fma(-inverse, x[1], fma(-inverse, x[0], 1.0)) * inverse
    return inverse, select(fabs(inverse) < INF, low, 0.0)


def quotient(x: Value, y: Words, x_low: Value | None = None) -> Value:
    """x / y, for an x of one word or two, whose error is one rounding and next to nothing more."""
    inverse = 1.0 / y[0]
    near = x * inverse
    left = fma(-near, y[0], x)
    left = left if x_low is None else left + x_low
    return fma(inverse, fma(-near, y[1], left), near)
