"""Normal numbers: fewer than sixteen one by one, from sixteen on in rows of sixteen, as in PyTorch.

In flow a generator's state, out flow numbers, as in `uniform.py`. A last row of fewer than sixteen overwrites
the end by one more of sixteen; PyTorch fills float32 and float64 in place, and so draws the rest twice, once
in vain; not so the halves.

Two things decide the last bit. PyTorch's float32 kernel evaluates Cephes' polynomials with fused
multiply-adds, and so does this; all else calls the C library.

Sources: G. Box and M. Muller, "A note on the generation of random normal deviates" (1958); S. Moshier's
Cephes library (logf, sinf, cosf), whose coefficients PyTorch's AVX2 kernel uses too.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

from retrograd.compiler.native.language import (
    Array,
    Float32,
    Floating,
    Int32,
    Record,
    Vector,
    bits,
    cast,
    exported,
    fused,
    inlined,
    native,
    put,
    select,
    sqrt,
    take,
)
from retrograd.runtime.native.mathematics import cos, exp, log, log1p, sin
from retrograd.runtime.random.twister import State
from retrograd.runtime.random.uniform import Units, unit, unit_f32, unit_f64

ROW = 16
"""Numbers that are made together: of half of them, and of the other half."""

HALF = 8
Singles = Vector[Float32, Literal[8]]
Wholes = Vector[Int32, Literal[8]]


class Normal(Record):
    single_mean: Float32
    single_std: Float32
    mean: float
    std: float
    twice: int
    """Whether a rest is drawn twice."""
    singly: int
    """Whether all are drawn one by one."""


Rows = Callable[[Array[Floating], int, Normal], None]


@inlined
def normal(state: State, to: Array[Floating], count: int, law: Normal, units: Units, rows: Rows) -> None:
    if law.singly != 0 or count < ROW:
        for i in range(count):
            to[i] = single(state, law)
        return
    whole = count & -ROW
    units(state, to, count if law.twice != 0 else whole)
    rows(to, whole, law)
    if whole < count:
        last = to + (count - ROW)
        units(state, last, ROW)
        rows(last, ROW, law)


@exported
def normal_f32(state: State, to: Array[Float32], count: int, law: Normal) -> None:
    normal(state, to, count, law, unit_f32, rows_f32)


@exported
def normal_f64(state: State, to: Array[float], count: int, law: Normal) -> None:
    normal(state, to, count, law, unit_f64, rows_f64)


# --- one by one ---------------------------------------------------------------------------------------------
@native
def standard(state: State) -> float:
    """A number of mean 0 and deviation 1: the second of the last pair, or the first of a new one."""
    state.turn += 1
    if state.has_normal != 0:
        state.has_normal = 0
        return state.normal
    angle = unit(state) * math.tau
    radius = sqrt(log1p(-unit(state)) * -2.0)
    first = radius * cos(angle)
    state.normal, state.has_normal = radius * sin(angle), 1
    return first


@inlined
def single(state: State, law: Normal) -> float:
    return fused(standard(state), law.std, law.mean)


@exported
def log_normal_f32(state: State, to: Array[Float32], count: int, law: Normal) -> None:
    for i in range(count):
        to[i] = exp(single(state, law))


@exported
def log_normal_f64(state: State, to: Array[float], count: int, law: Normal) -> None:
    for i in range(count):
        to[i] = exp(single(state, law))


# --- in rows ------------------------------------------------------------------------------------------------
@native
def rows_f64(to: Array[float], count: int, law: Normal) -> None:
    """Rows of uniform numbers become normal ones, by the C library."""
    mean, std = law.mean, law.std
    for row in range(0, count, ROW):
        for i in range(row, row + HALF):
            radius, angle = sqrt(log(1.0 - to[i]) * -2.0), to[i + HALF] * math.tau
            first, second = radius * cos(angle), radius * sin(angle)
            to[i], to[i + HALF] = fused(first, std, mean), fused(second, std, mean)


@native
def rows_f32(to: Array[Float32], count: int, law: Normal) -> None:
    """The same in float32, as PyTorch's AVX2 kernel does it."""
    mean, std = cast(Singles, law.single_mean), cast(Singles, law.single_std)
    for row in range(0, count, ROW):
        here, there = to + row, to + row + HALF
        radius, angle = sqrt(logarithm(1.0 - take(Singles, here)) * -2.0), take(Singles, there) * math.tau
        # an even multiple of π/4 is taken off first
        octant = (cast(Wholes, angle * (4.0 / math.pi)) + 1) & ~1
        x = angle
        for part in QUARTER_PI:
            x = fused(cast(Singles, octant), -part, x)
        sine, cosine = near_sine(x), near_cosine(x * x)
        swap = (octant & 2) != 0
        first, second = select(swap, sine, cosine), select(swap, cosine, sine)
        put(here, fused(radius * signed(octant + 2, first), std, mean))
        put(there, fused(radius * signed(octant, second), std, mean))


LOG = (
    -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1,
    -1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
)  # fmt: skip
LOG_HIGHEST = 7.0376836292e-2
SIN_HIGHEST, SIN = -1.9515295891e-4, (8.3321608736e-3, -1.6666654611e-1)
COS_HIGHEST, COS = 2.443315711809948e-5, (-1.388731625493765e-3, 4.166664568298827e-2)
LN2_HIGH, LN2_LOW = 0.693359375, -2.12194440e-4
QUARTER_PI = (0.78515625, 2.4187564849853515625e-4, 3.77489497744594108e-8)
ROOT_HALF = math.sqrt(0.5)


@inlined
def logarithm(x: Singles) -> Singles:
    """log(x) for normal x > 0: x = m·2^e with m around one, and a polynomial in m − 1."""
    word = bits(Wholes, x)
    mantissa = bits(Singles, word & 0x7FFFFF | 0x3F000000)
    is_low = mantissa < ROOT_HALF
    exponent = cast(Singles, select(is_low, (word >> 23) - 127, (word >> 23) - 126))
    m = select(is_low, mantissa + mantissa, mantissa) - 1.0
    value = cast(Singles, LOG_HIGHEST)
    for coefficient in LOG:
        value = fused(value, m, coefficient)
    square = m * m
    tail = fused(square, -0.5, fused(value * m, square, exponent * LN2_LOW))
    return fused(exponent, LN2_HIGH, m + tail)


@inlined
def near_sine(x: Singles) -> Singles:
    """sin(x) for |x| ≤ π/4."""
    square, value = x * x, cast(Singles, SIN_HIGHEST)
    for coefficient in SIN:
        value = fused(value, square, coefficient)
    return fused(value * square, x, x)


@inlined
def near_cosine(square: Singles) -> Singles:
    """cos(x) for |x| ≤ π/4, of x²."""
    value = cast(Singles, COS_HIGHEST)
    for coefficient in COS:
        value = fused(value, square, coefficient)
    return fused(value * square, square, -(square * 0.5)) + 1.0


@inlined
def signed(octant: Wholes, x: Singles) -> Singles:
    """Negative in the second half of the circle."""
    return select((octant & 4) != 0, -x, x)
