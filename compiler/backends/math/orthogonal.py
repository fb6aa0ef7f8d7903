"""Orthogonal polynomials (`ops/orthogonal.py`) as loops over degrees, in f64: a lane stays as it is when it
has its degree, or is NaN."""

from __future__ import annotations

from functools import partial

from retrograd.compiler.backends.math.floats import Function, widened
from retrograd.compiler.backends.math.inverse import acos
from retrograd.compiler.backends.math.trigonometric import cos, sin
from retrograd.compiler.backends.repetition import repeated
from retrograd.compiler.backends.vector import Value, fabs, floor, select, trunc
from retrograd.compiler.ops.orthogonal import FAMILIES, HIGH, MOST, Circular, Family


def _polynomial(family: Family, x: Value, n: Value) -> Value:
    x, degrees = family.place(x), select(fabs(n) < MOST, trunc(n), -1.0)
    if family.circular is None:
        return _by_steps(family, x, degrees)
    circular, high = family.circular, (degrees >= HIGH) & (fabs(x) <= 1.0)
    found = _by_steps(family, x, select(high, 0.0, degrees))
    (joined,) = x.block.rarely(
        None, high, (found,), lambda: (select(high, _on_circle(circular, x, degrees), found),)
    )
    return joined


def _by_steps(family: Family, x: Value, degrees: Value) -> Value:
    def step(k: Value, before: Value, now: Value) -> tuple[Value, ...]:
        going = degrees > k
        return k + 1.0, select(going, now, before), select(going, family.step(k, x, now, before), now)

    def going(k: Value, before: Value, now: Value) -> Value:
        return (degrees > k) & now.eq(now)

    one = x.same(1.0)
    _, _, found = repeated((one, one, family.first(x)), step, going)
    return select(degrees > 0.0, found, select(degrees.eq(0.0), one, 0.0))


def _on_circle(circular: Circular, x: Value, n: Value) -> Value:
    above, below = circular.ends(n)
    half = n * 0.5
    below = select(floor(half).eq(half), below, -below)
    inside = circular.inside(acos(x), n, sin, cos)
    return select(x.eq(1.0), above, select(x.eq(-1.0), below, inside))


POLYNOMIALS: dict[str, Function] = {
    name: widened(partial(_polynomial, family)) for name, family in FAMILIES.items()
}
