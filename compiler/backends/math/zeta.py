"""Hurwitz's zeta function, the sum of (y + k)^-x over k = 0, 1, …, for f64.

Of positive y by Euler and Maclaurin (DLMF 25.11.5): terms, then a series in 1/y. Of negative y there is a sum
for whole x only. It is that from y's fraction on, and the terms before: (-1)^x times those from the rest of
the fraction to -y, a difference of two such functions of positive numbers.
"""

from __future__ import annotations

from retrograd.compiler.backends.math.floats import INF, NAN
from retrograd.compiler.backends.math.power import pow as power
from retrograd.compiler.backends.repetition import repeated
from retrograd.compiler.backends.vector import Value, ceil, floor, select
from retrograd.compiler.ops.special import ZETA_TAIL, ZETA_TERMS


def _positive(x: Value, y: Value) -> Value:
    """x > 1, y >= 0. Where the series would overflow, its part is less than what rounds."""

    def step(place: Value, total: Value) -> tuple[Value, ...]:
        return place + 1.0, total + power(y + place, -x)

    zero = x.same(0.0)
    _, head = repeated((zero, zero), step, lambda place, _: place < float(ZETA_TERMS))
    end = y + float(ZETA_TERMS)
    series = zero
    for k, factor in reversed([*enumerate(ZETA_TAIL)]):
        series = (x + (2.0 * k + 1.0)) / end * ((x + (2.0 * k + 2.0)) / end) * series + factor
    tail = power(end, 1.0 - x) / (x - 1.0) + power(end, -x) * (x / end * series + 0.5)
    return head + select(x < end * 32.0, tail, 0.0)


def zeta(x: Value, y: Value) -> Value:
    below, inside = floor(y), (x > 1.0) & y.eq(y)
    whole = y.eq(below) & (y <= 0.0)
    back = inside & (y < 0.0) & ~whole
    safe = select(inside, x, 2.0)

    def with_terms_before() -> tuple[Value, ...]:
        rest, past = select(back, ceil(y) - y, 1.0), select(back, 1.0 - y, 1.0)
        before = _positive(safe, rest) - _positive(safe, past)
        half = safe * 0.5
        return (select(back, total + select(half.eq(floor(half)), before, -before), total),)

    start = select(y < 0.0, y - below, y)
    total = _positive(safe, select(inside & ~whole, start, 1.0))
    (total,) = y.block.rarely(None, back, (total,), with_terms_before)
    found = select(whole, INF, select(back & x.ne(floor(x)), NAN, total))
    return select(inside, found, select(x.eq(1.0) & y.eq(y), x.same(INF), NAN))
