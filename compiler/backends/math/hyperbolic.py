"""Inverse hyperbolic functions, by way of log1p; written for f64."""

from __future__ import annotations

from retrograd.compiler.backends.math.floats import INF, NAN, Words, fast_two_sum, quotient
from retrograd.compiler.backends.math.logarithm import log1p_finite
from retrograd.compiler.backends.vector import Value, copysign, fabs, fma, select, sqrt

LN2 = 0.6931471805599453

VAST = 2.0**54
"""Beyond, log(1 + x) = log(x)."""


def log_of_sum(size: Value, excess: Words) -> Value:
    """log(1 + excess), or log(2 size) where the size is vast and the excess may overflow. What the excess
    lacks counts where the logarithm is about as small."""
    vast, (high, low) = size > VAST, excess
    more = select(vast, size.same(LN2), select(high < 0.5, low, 0.0))
    finite = log1p_finite(select(vast, size, high)) + more
    return select(size < INF, finite, size)


def asinh(x: Value) -> Value:
    """log(x + sqrt(x² + 1)) = log1p(x + x² / (1 + sqrt(1 + x²)))."""
    size = fabs(x)
    square = size * size
    return copysign(log_of_sum(size, fast_two_sum(size, square / (1.0 + sqrt(1.0 + square)))), x)


def acosh(x: Value) -> Value:
    """log(x + sqrt(x² - 1)) = log1p(t + sqrt(t (t + 2))), t = x - 1."""
    t = x - 1.0
    return select(x >= 1.0, log_of_sum(x, fast_two_sum(sqrt(fma(t, t, 2.0 * t)), t)), NAN)


def atanh(x: Value) -> Value:
    """log1p(2 x / (1 - x)) / 2."""
    size = fabs(x)
    excess = quotient(2.0 * size, fast_two_sum(x.same(1.0), -size))
    inside = copysign(0.5 * log1p_finite(excess), x)
    return select(size < 1.0, inside, select(size.eq(1.0), copysign(INF, x), NAN))
