"""The arithmetic of PyTorch's samplers in NumPy: arrays in, arrays out, rounded as its x86 kernels round.

Three things decide the last bit. The kernels use fused multiply-adds, which round once (`fma32`, `fma64`);
the float32 Box-Muller kernel evaluates Cephes' polynomials (`box_muller32`); the float64 one calls the C
library (`box_muller64`, through `math`, since NumPy's own vector functions round differently).

Sources: S. Moshier's Cephes library (logf, sinf, cosf), whose coefficients PyTorch's AVX2 kernel uses too;
S. Boldo and G. Melquiond, "Emulation of FMA and correctly rounded sums: proved algorithms using rounding to
odd" (2008); T. J. Dekker, "A floating-point technique for extending the available precision" (1971).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

BLOCK = 1 << 14  # elements worked on at a time, so that the temporaries stay in cache

# ---------------------------------------------------------------------------------------- fused multiply-add


def fma32(a: F32, b: F32 | np.float32, c: F32 | np.float32) -> F32:
    """a·b + c, rounded once to float32.

    The product is exact in float64. Rounding the sum to float64 and then to float32 errs only where the
    first rounding lands on the midpoint of two float32 values; there, the first one rounds to odd instead.
    """
    product = np.multiply(a, b, dtype=np.float64)
    total = product + c
    midpoint = (total.view(np.int64) & 0x1FFF_FFFF) == 0x1000_0000
    if midpoint.any():
        addend = np.broadcast_to(c, total.shape)[midpoint].astype(np.float64)
        total[midpoint] = _round_to_odd(product[midpoint], addend)
    return total.astype(np.float32)


def fma64(a: F64, b: float, c: float) -> F64:
    """a·b + c, rounded once to float64; rounded twice where b or c is beyond 1e±290."""
    if b == 1.0 or not all(x == 0 or 1e-290 < abs(x) < 1e290 for x in (b, c)):
        return a * b + c
    product, product_error = _two_product(a, b)
    tail, tail_error = _two_sum(np.float64(c), product_error)
    head, head_error = _two_sum(product, tail)
    return head + _round_to_odd(tail_error, head_error)


def _two_sum(a: F64 | np.float64, b: F64) -> tuple[F64, F64]:
    """The rounded sum and its error; together they are a + b exactly (Knuth)."""
    total = np.add(a, b)
    b_part = total - a
    return total, (a - (total - b_part)) + (b - b_part)


def _two_product(a: F64, b: float) -> tuple[F64, F64]:
    """The rounded product and its error; together they are a·b exactly (Dekker, Veltkamp)."""
    product = a * b
    a_high = 134217729.0 * a - (134217729.0 * a - a)
    b_high = 134217729.0 * b - (134217729.0 * b - b)
    a_low, b_low = a - a_high, b - b_high
    return product, a_low * b_low - (((product - a_high * b_high) - a_low * b_high) - a_high * b_low)


def _round_to_odd(a: F64, b: F64) -> F64:
    """a + b; where that is inexact, the neighbour with an odd last bit, so that a later rounding is right."""
    total, error = _two_sum(a, b)
    even = (total.view(np.int64) & 1) == 0
    return np.where((error != 0) & even, np.nextafter(total, np.copysign(np.inf, error)), total)


# ----------------------------------------------------------------------------------------------- Box-Muller


def box_muller32(uniform: F32, mean: float, std: float) -> F32:
    """Rows of 16 uniform numbers to rows of 16 normal ones, in float32 as PyTorch's AVX2 kernel does."""
    normal = np.empty_like(uniform)
    step = BLOCK // 8
    for start in range(0, len(uniform), step):
        rows = uniform[start : start + step]
        radius = np.sqrt(np.float32(-2) * _log32(np.float32(1) - rows[:, :8]))
        sine, cosine = _sincos32(np.float32(2 * math.pi) * rows[:, 8:])
        normal[start : start + step, :8] = fma32(radius * cosine, np.float32(std), np.float32(mean))
        normal[start : start + step, 8:] = fma32(radius * sine, np.float32(std), np.float32(mean))
    return normal


def box_muller64(uniform: F64, mean: float, std: float) -> F64:
    """Rows of 16 uniform numbers to rows of 16 normal ones, in float64 by the C library's functions."""
    radius = np.sqrt(-2.0 * libm(math.log, 1.0 - uniform[:, :8]))
    angle = (2.0 * math.pi) * uniform[:, 8:]
    normal = np.hstack([radius * libm(math.cos, angle), radius * libm(math.sin, angle)])
    return fma64(normal, std, mean)


def libm(function: Callable[[float], float], x: F64) -> F64:
    """`function` of every element, by the C library, which is what PyTorch's scalar kernels call."""
    return np.fromiter(map(function, x.ravel().tolist()), np.float64, x.size).reshape(x.shape)


_LOG = np.array([
    7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1,
    -1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
], dtype=np.float32)  # fmt: skip
_SIN = np.array([-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1], dtype=np.float32)
_COS = np.array([2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2], dtype=np.float32)
_LN2_HIGH, _LN2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)
_QUARTER_PI = np.array([0.78515625, 2.4187564849853515625e-4, 3.77489497744594108e-8], dtype=np.float32)


def _polynomial(x: F32, coefficients: F32) -> F32:
    """Horner's rule with fused multiply-adds; the highest power comes first."""
    value = np.full_like(x, coefficients[0])
    for coefficient in coefficients[1:]:
        value = fma32(value, x, coefficient)
    return value


def _log32(x: F32) -> F32:
    """log(x) for normal x > 0: x = m·2^e with m around one, and a polynomial in m − 1."""
    mantissa, exponent = np.frexp(x)
    low = mantissa < np.float32(math.sqrt(0.5))
    e = (exponent - low).astype(np.float32)
    m = np.where(low, mantissa + mantissa, mantissa) - np.float32(1)
    square = m * m
    tail = fma32(_polynomial(m, _LOG) * m, square, e * _LN2_LOW)
    tail = fma32(square, np.float32(-0.5), tail)
    return fma32(e, _LN2_HIGH, m + tail)


def _sincos32(x: F32) -> tuple[F32, F32]:
    """sin(x) and cos(x) for x ≥ 0; an even multiple of π/4, in three parts, is taken off first."""
    octant = ((x * np.float32(4 / math.pi)).astype(np.int32) + 1) & ~1
    count = octant.astype(np.float32)
    for part in _QUARTER_PI:
        x = fma32(count, -part, x)
    square = x * x
    half = square * np.float32(0.5)
    near_one = fma32(_polynomial(square, _COS) * square, square, -half) + np.float32(1)
    near_x = fma32(_polynomial(square, _SIN) * square, x, x)
    swap = (octant & 2) != 0
    sine, cosine = np.where(swap, near_one, near_x), np.where(swap, near_x, near_one)
    sine_falls, cosine_falls = (octant & 4) != 0, ((octant + 2) & 4) != 0
    return np.where(sine_falls, -sine, sine), np.where(cosine_falls, -cosine, cosine)
