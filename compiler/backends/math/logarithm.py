"""Logarithms: log, log2, log10, log1p, softplus.

Each splits x = 2**e (1 + f) with 1 + f near 1 and writes log(1 + f) = f + rest, where |rest| is much smaller
than |f|, so that only the last addition rounds. In f32 the rest is a polynomial in f; in f64 it comes from
the series of 2 atanh(s), s = f / (2 + f), which halves the degree for one division (as in Ng's fdlibm,
1993). The coefficients are printed by `benchmarks/fit_polynomials.py`.
"""

from __future__ import annotations

from retrograd.compiler.backends.math.avx512 import has_avx512, logarithm_fixup
from retrograd.compiler.backends.math.exponential import exp_of_negative
from retrograd.compiler.backends.math.floats import (
    FORMATS,
    INF,
    NAN,
    Words,
    fast_two_sum,
    horner,
    pattern_of,
    two_product,
)  # fmt: skip
from retrograd.compiler.backends.vector import Value, copysign, fabs, fma, select

# (log(1 + f) - f + f²/2) / f³ on |f| <= 1/3
LOG_TAIL = (
    0.333332062, -0.249998137, 0.200108513, -0.166798532, 0.13999708, -0.121921763, 0.14011097, -0.128600299,
)  # fmt: skip

# (2 atanh(s) / s - 2) / s², in s² <= (3 - 2 sqrt 2)²
ATANH_TAIL = (
    0.66666666666667018, 0.39999999999571789, 0.28571428715199565, 0.22222200819524277, 0.18183468640320535,
    0.15316073250368933, 0.14779210677047533,
)  # fmt: skip

LOWEST = {"f32": 2 / 3, "f64": 0.7071067811865476}
"""The least 1 + f; the largest is twice that."""

LOG2E = {"f32": (1.44269502, 1.92596303e-8), "f64": (1.4426950408889634, 2.0355273740931033e-17)}
"""1 / ln 2 in two words."""

LOG10E = {"f32": (0.434294492, -1.01030513e-8), "f64": (0.4342944819032518, 1.098319650216765e-17)}
"""1 / ln 10 in two words."""

LOG10_2 = {"f32": (0.30103001, -1.43209888e-8), "f64": (0.3010299956639812, -2.8037281277851704e-18)}
"""log10(2) in two words."""


def unbiased(pattern: Value, kind: str, bias: Value | float) -> Value:
    """The exponent field of a positive bit pattern, less `bias`, as a float."""
    fraction = FORMATS[kind].fraction
    counter = 2.0**fraction  # its low bits count units
    return (pattern.lshr(fraction) | pattern_of(kind, counter)).as_float() - (bias + counter)


def split(x: Value) -> tuple[Value, Value]:
    """e and f with x = 2**e (1 + f), for positive finite x."""
    form = FORMATS[x.kind]
    subnormal = x < form.smallest_normal
    lift = form.fraction + 1
    pattern = select(subnormal, x * 2.0**lift, x).bits()
    lowest = pattern_of(x.kind, LOWEST[x.kind])
    bias = select(subnormal, x.same(form.bias + lift), form.bias)
    e = unbiased(pattern + (pattern_of(x.kind, 1.0) - lowest), x.kind, bias)
    f = ((pattern - lowest & (1 << form.fraction) - 1) + lowest).as_float() - 1.0
    return e, f


def rest(f: Value) -> Value:
    """log(1 + f) - f."""
    if f.kind == "f32":
        square = f * f
        return fma(horner(f, LOG_TAIL) * square, f, -0.5 * square)
    s = f / (2.0 + f)
    half_square = 0.5 * f * f
    z = s * s
    return fma(s, fma(horner(z, ATANH_TAIL), z, half_square), -half_square)


def outside(x: Value, logarithm: Value) -> Value:
    """The logarithm of x, corrected where x is not positive and finite."""
    if has_avx512(x):
        return logarithm_fixup(logarithm, x)
    at_edge = select(x.eq(0.0), x.same(-INF), NAN)
    return select(x > 0.0, select(x.eq(INF), x, logarithm), at_edge)


def log(x: Value) -> Value:
    e, f = split(x)
    high, low = FORMATS[x.kind].ln2
    return outside(x, fma(e, high, f + fma(e, low, rest(f))))


def log_pair(x: Value) -> Words:
    """log of a positive finite f64 in two words, to some 2**-58 of it."""
    e, f = split(x)
    ln2, ln2_low = FORMATS["f64"].ln2
    whole, whole_low = two_product(e, x.same(ln2))
    high, lost = fast_two_sum(whole, f)
    return fast_two_sum(high, lost + fma(e, ln2_low, whole_low + rest(f)))


def log2(x: Value) -> Value:
    e, f = split(x)
    high, low = LOG2E[x.kind]
    return outside(x, e + fma(f, high, fma(f, low, rest(f) * high)))


def log10(x: Value) -> Value:
    e, f = split(x)
    high, low = LOG10E[x.kind]
    high2, low2 = LOG10_2[x.kind]
    return outside(x, fma(e, high2, fma(f, high, fma(f, low, fma(e, low2, rest(f) * high)))))


def log1p_finite(x: Value) -> Value:
    """log(1 + x) for finite x > -1; 1 + f = (1 + x) / 2**e without the rounding of 1 + x."""
    form = FORMATS[x.kind]
    lowest = pattern_of(x.kind, LOWEST[x.kind])
    moved = (1.0 + x).bits() - lowest & -(1 << form.fraction)  # e, in the place of an exponent
    four_parts = (pattern_of(x.kind, 4.0) - moved).as_float()  # of 1 / 2**e, which may be subnormal
    f = (x.bits() - moved).as_float() + fma(four_parts, 0.25, -1.0)
    e = unbiased(moved + pattern_of(x.kind, 1.0), x.kind, form.bias)
    high, low = form.ln2
    return fma(e, high, f + fma(e, low, rest(f)))


def log1p(x: Value) -> Value:
    return outside(1.0 + x, copysign(log1p_finite(x), x))  # of -0 too


def softplus(x: Value) -> Value:
    """log(1 + exp(x)) = max(x, 0) + log(1 + exp(-|x|))."""
    return select(x < 0.0, 0.0, x) + log1p_finite(exp_of_negative(-fabs(x)))
