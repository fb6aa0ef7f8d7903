"""Elementary functions of complex numbers, by their real and imaginary parts.

In flow two nodes, the parts of the operand; out flow those of the value. Branch cuts and signs of zeros are
those of C's <complex.h> and NumPy. So are infinities, except where both parts decide and one is infinite:
there a part may be NaN that NumPy has as a number, and acos and acosh have the angle of an imaginary number.
`exp` overflows where e^re does, though a product with a small cosine might not. To add a function, write it
with `on_parts`; without one, a row is its formula on complex numbers.

Kahan, "Branch cuts for complex elementary functions", 1987, has the formulas of the inverse functions.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from retrograd.compiler import dtypes
from retrograd.compiler.ir.graph import Value
from retrograd.compiler.ops.rows import rows

Parts = tuple[Value, Value]
Function = Callable[[Value, Value], Parts]

FUNCTIONS: dict[str, Function] = {}
"""By the row's name."""


def on_parts(function: Function) -> Function:
    FUNCTIONS[function.__name__] = function
    return function


def _times(a: Value, b: Value, c: Value, d: Value) -> Parts:
    return a * c - b * d, a * d + b * c


def _turned_about(function: Function, a: Value, b: Value) -> Parts:
    """-i f(i z): of a hyperbolic function its circular one, and back."""
    p, q = function(-b, a)
    return q, -p


# ---- exponentials and logarithms ---------------------------------------------------------------------------


@on_parts
def exp(a: Value, b: Value) -> Parts:
    size = rows.exp(a)
    return size * rows.cos(b), rows.where(rows.eq(b, 0.0), b, size * rows.sin(b))


@on_parts
def expm1(a: Value, b: Value) -> Parts:
    half = rows.sin(b * 0.5)
    return rows.expm1(a) * rows.cos(b) - half * half * 2.0, exp(a, b)[1]


@on_parts
def log(a: Value, b: Value) -> Parts:
    """Of numbers near 1 the logarithm of the size is found without rounding that."""
    x, y = rows.abs(a), rows.abs(b)
    most, least = rows.maximum(x, y), rows.minimum(x, y)
    near = rows.logical_and(rows.gt(most, 0.5), rows.lt(most, 2.0))
    beyond = rows.where(near, (most - 1.0) * (most + 1.0) + least * least, 0.0)
    return rows.where(near, rows.log1p(beyond) * 0.5, rows.log(rows.hypot(a, b))), rows.atan2(b, a)


@on_parts
def log1p(a: Value, b: Value) -> Parts:
    size = rows.hypot(a, b)
    near = rows.lt(size, 1.0)
    beyond = rows.where(near, a * (a + 2.0) + b * b, 0.0)
    far, angle = log(a + 1.0, b)
    return rows.where(near, rows.log1p(beyond) * 0.5, far), angle


@on_parts
def sqrt(a: Value, b: Value) -> Parts:
    most = rows.sqrt(rows.abs(a) * 0.5 + rows.hypot(a, b) * 0.5)
    null, endless = rows.eq(most, 0.0), rows.eq(rows.abs(b), math.inf)
    least = rows.abs(b) * 0.5 / rows.where(null, 1.0, most)
    right = rows.ge(a, 0.0)
    re, im = rows.where(right, most, least), rows.copysign(rows.where(right, least, most), b)
    return rows.where(endless, rows.abs(b), re), rows.where(endless, b, im)


# ---- circular and hyperbolic functions ---------------------------------------------------------------------


@on_parts
def sinh(a: Value, b: Value) -> Parts:
    return rows.sinh(a) * rows.cos(b), rows.where(rows.eq(b, 0.0), b, rows.cosh(a) * rows.sin(b))


@on_parts
def cosh(a: Value, b: Value) -> Parts:
    im = rows.where(rows.eq(b, 0.0), b * rows.copysign(1.0, a), rows.sinh(a) * rows.sin(b))
    return rows.cosh(a) * rows.cos(b), im


@on_parts
def tanh(a: Value, b: Value) -> Parts:
    most = 20.0 if dtypes.of(a) is dtypes.float64 else 10.0  # from there on the real part is 1
    far, size = rows.gt(rows.abs(a), most), rows.abs(a)
    tangent, inner = rows.tan(b), rows.where(far, 0.0, a)
    sine, secant = rows.sinh(inner), tangent * tangent + 1.0
    below = secant * sine * sine + 1.0
    re = secant * rows.cosh(inner) * sine / below
    im = rows.sin(b) * rows.cos(b) * 4.0 * rows.exp(size * -2.0)
    return rows.where(far, rows.copysign(1.0, a), re), rows.where(far, im, tangent / below)


@on_parts
def sin(a: Value, b: Value) -> Parts:
    return _turned_about(sinh, a, b)


@on_parts
def cos(a: Value, b: Value) -> Parts:
    """cosh(i z)"""
    return cosh(-b, a)


@on_parts
def tan(a: Value, b: Value) -> Parts:
    return _turned_about(tanh, a, b)


# ---- their inverses ----------------------------------------------------------------------------------------


@on_parts
def asin(a: Value, b: Value) -> Parts:
    p, q = sqrt(1.0 - a, -b), sqrt(a + 1.0, b)
    return rows.atan2(a, _times(*p, *q)[0]), rows.asinh(_times(p[0], -p[1], *q)[1])


@on_parts
def acos(a: Value, b: Value) -> Parts:
    p, q = sqrt(1.0 - a, -b), sqrt(a + 1.0, b)
    return rows.atan2(p[0], q[0]) * 2.0, rows.asinh(_times(q[0], -q[1], *p)[1])


@on_parts
def acosh(a: Value, b: Value) -> Parts:
    p, q = sqrt(a - 1.0, b), sqrt(a + 1.0, b)
    return rows.asinh(_times(p[0], -p[1], *q)[0]), rows.atan2(p[1], q[0]) * 2.0


@on_parts
def atanh(a: Value, b: Value) -> Parts:
    """About 1 and -1 the logarithm of the distance, whose square is too small a number."""
    size, endless = rows.abs(a), rows.eq(rows.hypot(a, b), math.inf)
    apart = 1.0 - size
    distance = rows.hypot(apart, b)
    there = rows.lt(distance, 1e-9)
    away = rows.where(there, 1.0, distance)
    re = rows.log1p(size * 4.0 / away / away) * 0.25
    re = rows.where(there, (math.log(2.0) - rows.log(distance)) * 0.5, re)
    im = rows.atan2(b * 2.0, apart * (size + 1.0) - b * b) * 0.5
    return (
        rows.copysign(rows.where(endless, 0.0, re), a),
        rows.where(endless, rows.copysign(math.pi / 2, b), im),
    )


@on_parts
def asinh(a: Value, b: Value) -> Parts:
    return _turned_about(asin, a, b)


@on_parts
def atan(a: Value, b: Value) -> Parts:
    return _turned_about(atanh, a, b)
