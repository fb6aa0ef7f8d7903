"""Fits the coefficient tables of `compiler/backends/math` and prints them as Python.

    python benchmarks/fit_polynomials.py [NAME ...]

Each row of `FITS` is a target function, an interval, a degree, an error weight and a precision. The
polynomial of least weighted squares at Chebyshev's nodes, close to the minimax one. Its coefficients are
rounded one after another, lowest first, and the rest fitted again each time, so that later ones make up for
the rounding of earlier ones. To fit a new one, add a row. It prints the largest weighted error left, as a
power of two.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

import mpmath as mp

mp.mp.dps = 80

Real = Callable[[mp.mpf], mp.mpf]


@dataclass(frozen=True)
class Fit:
    target: Real
    low: float | mp.mpf
    high: float | mp.mpf
    degree: int
    weight: Real
    """The error that counts is weight(t) * (polynomial(t) - target(t))."""
    bits: int
    """Bits of a coefficient: 24 or 53."""


def least_squares(target: Real, weight: Real, low: mp.mpf, high: mp.mpf, powers: range) -> list[mp.mpf]:
    """Coefficients of t**p, p in powers, of least weighted squares at Chebyshev's nodes."""
    count = 4 * (powers.stop + 1)
    middle, half = (low + high) / 2, (high - low) / 2
    nodes = [middle - half * mp.cos(mp.pi * (2 * k + 1) / (2 * count)) for k in range(count)]
    matrix = mp.matrix([[weight(t) * t**p for p in powers] for t in nodes])
    right = mp.matrix([weight(t) * target(t) for t in nodes])
    return list(mp.lu_solve(matrix.T * matrix, matrix.T * right))


def rounded(number: mp.mpf, bits: int) -> mp.mpf:
    with mp.workprec(bits):
        return +number


def fit(row: Fit) -> tuple[list[mp.mpf], mp.mpf]:
    """The rounded coefficients, lowest first, and the weighted error they leave."""
    low, high = mp.mpf(row.low), mp.mpf(row.high)
    fixed: list[mp.mpf] = []

    def rest(t: mp.mpf) -> mp.mpf:
        return row.target(t) - mp.polyval(fixed[::-1] or [mp.mpf(0)], t)

    while len(fixed) < row.degree + 1:
        powers = range(len(fixed), row.degree + 1)
        fixed.append(rounded(least_squares(rest, row.weight, low, high, powers)[0], row.bits))
    span = [low + (high - low) * (k + 1) / 499 for k in range(499)]
    return fixed, max(abs(row.weight(t) * rest(t)) for t in span)


def size(t: mp.mpf) -> mp.mpf:
    """A weight: |t|, but never 0."""
    return max(abs(t), mp.mpf(1) / 1024)


def square(t: mp.mpf) -> mp.mpf:
    return size(t) ** 2


def series(closed: Real, coefficients: Callable[[int], mp.mpf], radius: float = 1e-12) -> Real:
    """`closed`, but by its Taylor series where it would cancel."""

    def value(t: mp.mpf) -> mp.mpf:
        if abs(t) > radius:
            return closed(t)
        return sum((coefficients(k) * t**k for k in range(3)), mp.mpf(0))

    return value


def root(function: Real) -> Real:
    """`function` of the square root: for even and odd functions as polynomials in t = x²."""
    return lambda t: function(mp.sqrt(t))


exp_tail = series(lambda r: (mp.expm1(r) - r) / r**2, lambda k: 1 / mp.factorial(k + 2))
exp2_tail = series(lambda r: mp.expm1(r * mp.ln(2)) / r, lambda k: mp.ln(2) ** (k + 1) / mp.factorial(k + 1))
log_tail = series(lambda f: (mp.log1p(f) - f + f * f / 2) / f**3, lambda k: mp.mpf((-1) ** k) / (k + 3))
atanh_tail = series(
    lambda z: 2 * (mp.atanh(mp.sqrt(z)) / mp.sqrt(z) - 1) / z, lambda k: mp.mpf(2) / (2 * k + 3)
)
tanh_tail = series(
    lambda z: (mp.tanh(mp.sqrt(z)) / mp.sqrt(z) - 1) / z,
    lambda k: (mp.mpf(-1) / 3, mp.mpf(2) / 15, -mp.mpf(17) / 315)[k],
)
sin_tail = series(
    lambda z: (mp.sin(mp.sqrt(z)) / mp.sqrt(z) - 1) / z, lambda k: (-1) ** (k + 1) / mp.factorial(2 * k + 3)
)
cos_tail = series(
    lambda z: (mp.cos(mp.sqrt(z)) - 1 + z / 2) / z**2, lambda k: mp.mpf((-1) ** k) / mp.factorial(2 * k + 4)
)

sinh_tail = series(
    lambda z: (mp.sinh(mp.sqrt(z)) / mp.sqrt(z) - 1) / z, lambda k: 1 / mp.factorial(2 * k + 3)
)
atan_tail = series(
    lambda z: (mp.atan(mp.sqrt(z)) / mp.sqrt(z) - 1) / z, lambda k: mp.mpf((-1) ** (k + 1)) / (2 * k + 3)
)
asin_tail = series(
    lambda z: (mp.asin(mp.sqrt(z)) / mp.sqrt(z) - 1) / z,
    lambda k: (mp.mpf(1) / 6, mp.mpf(3) / 40, mp.mpf(5) / 112)[k],
)
atanh_tail2 = series(lambda z: (atanh_tail(z) - mp.mpf(2) / 3) / z, lambda k: mp.mpf(2) / (2 * k + 5))
erf_tail = series(
    lambda z: mp.erf(mp.sqrt(z)) / mp.sqrt(z) - 1,
    lambda k: 2 / mp.sqrt(mp.pi) * (-1) ** k / mp.factorial(k) / (2 * k + 1) - (k == 0),
)


def erfc_body(t: mp.mpf) -> mp.mpf:
    """exp(x²) erfc(x) (x + 2), with t = (x - 2) / (x + 2)."""
    return erfcx(2 * (1 + t) / (1 - t), 2)


def erfcx(x: mp.mpf, shift: int) -> mp.mpf:
    return mp.exp(x * x) * mp.erfc(x) * (x + shift)


def erfc_body_single(t: mp.mpf) -> mp.mpf:
    """exp(x²) erfc(x) (x + 2), with t = 1 / (x + 2) - 383/2048."""
    return erfcx(1 / (t + ERFC_MIDDLE) - 2, 2)


def exact_at_0(t: mp.mpf) -> mp.mpf:
    """The weight of relative errors, but for those near x = 0, which count more."""
    return (1 + 20 * (2 * (t + ERFC_MIDDLE)) ** 60) / erfc_body_single(t)


ERFC_MIDDLE = mp.mpf(383) / 2048


def erfinv_tail(t: mp.mpf) -> mp.mpf:
    """erfinv(1 - q) / s with s = sqrt(-log q), t = (s - 2) / (s + 2)."""
    s = 2 * (1 + t) / (1 - t)
    q = mp.exp(-s * s)
    start = s - mp.log(s * mp.sqrt(mp.pi) * 2) / (2 * s) if s > 2 else mp.mpf(s) * 0.7
    return mp.findroot(lambda x: mp.log(mp.erfc(x)) - mp.log(q), start) / s


erfinv_near = series(
    lambda z: mp.erfinv(mp.sqrt(z)) / mp.sqrt(z),
    lambda k: mp.sqrt(mp.pi) / 2 * (1, mp.pi / 12, 7 * mp.pi**2 / 480)[k],
)


def erfinv_central(t: mp.mpf) -> mp.mpf:
    """erfinv(x) / x, -log(1 - x²) = t + 5/2 (Giles, "Approximating the erfinv function", 2010). Used less
    1/2, by which x is multiplied exactly."""
    w = t + mp.mpf(5) / 2
    if w < 1e-12:
        return mp.sqrt(mp.pi) / 2
    x = mp.sqrt(-mp.expm1(-w))
    return mp.erfinv(x) / x


def lgamma_near(t: mp.mpf) -> mp.mpf:
    """lgamma(2 + t) / (t (1 + t))."""
    if abs(t) < 1e-12:
        return mp.psi(0, 2)
    if abs(1 + t) < 1e-12:
        return -mp.psi(0, 1)
    return mp.loggamma(2 + t) / (t * (1 + t))


def lgamma_middle(t: mp.mpf) -> mp.mpf:
    """lgamma(x) / ((x - 1) (x - 2)), with t = x - 11/2."""
    x = t + 5.5
    return mp.loggamma(x) / ((x - 1) * (x - 2))


def stirling(z: mp.mpf) -> mp.mpf:
    """x times what Stirling's formula lacks in lgamma(x), z = 1 / x²."""
    x = 1 / mp.sqrt(z)
    return x * (mp.loggamma(x) - (x - mp.mpf(1) / 2) * mp.log(x) + x - mp.log(2 * mp.pi) / 2)


DIGAMMA_ROOT = mp.findroot(lambda x: mp.psi(0, x), 1.46)


def digamma_over(middle: float) -> Real:
    """digamma(x) / (x - its root), with t = x - middle."""
    return lambda t: mp.psi(0, t + middle) / (t + middle - DIGAMMA_ROOT)


def digamma_tail(z: mp.mpf) -> mp.mpf:
    """x² times (log(x) - 1 / (2 x) - digamma(x)), z = 1 / x²."""
    x = 1 / mp.sqrt(z)
    return x * x * (mp.log(x) - 1 / (2 * x) - mp.psi(0, x))


sine_pi = series(
    lambda z: mp.sinpi(mp.sqrt(z)) / (mp.pi * mp.sqrt(z)),
    lambda k: (-(mp.pi**2)) ** k / mp.factorial(2 * k + 1),
)
cotangent_pi = series(
    lambda z: (1 / mp.sqrt(z) - mp.pi * mp.cospi(mp.sqrt(z)) / mp.sinpi(mp.sqrt(z))) / mp.sqrt(z),
    lambda k: 2 * mp.zeta(2 * k + 2),
)


def one(t: mp.mpf) -> mp.mpf:
    return mp.mpf(1)


EIGHTH = (mp.sqrt(2) - 1) ** 2 * 1.01
QUARTER = (mp.pi / 4 * 1.01) ** 2

FITS = {
    "EXP_TAIL f32": Fit(exp_tail, -0.35, 0.35, 4, size, 24),
    "EXP_TAIL f64": Fit(exp_tail, -0.35, 0.35, 10, size, 53),
    "EXP2_TAIL f32": Fit(exp2_tail, -0.5, 0.5, 5, size, 24),
    "EXP2_TAIL f64": Fit(exp2_tail, -0.5, 0.5, 11, size, 53),
    "LOG_TAIL f32": Fit(log_tail, -mp.mpf(1) / 3, mp.mpf(1) / 3, 7, square, 24),
    "ATANH_TAIL f64": Fit(atanh_tail, 0, (3 - 2 * mp.sqrt(2)) ** 2 * 1.01, 6, size, 53),
    "TANH_TAIL f32": Fit(tanh_tail, 0, 0.303, 4, size, 24),
    "NEAR_TANH_TAIL f32": Fit(tanh_tail, 0, 0.43, 4, size, 24),
    "TANH_TAIL f64": Fit(tanh_tail, 0, 0.303, 10, size, 53),
    "SINH_TAIL f32": Fit(sinh_tail, 0, 1, 3, size, 24),
    "SINH_TAIL f64": Fit(sinh_tail, 0, 1, 7, size, 53),
    "SIN_TAIL f32": Fit(sin_tail, 0, QUARTER, 2, size, 24),
    "COS_TAIL f32": Fit(cos_tail, 0, QUARTER, 2, square, 24),
    "SIN_TAIL f64": Fit(sin_tail, 0, QUARTER, 6, size, 53),
    "COS_TAIL f64": Fit(cos_tail, 0, QUARTER, 6, square, 53),
    "ATAN_TAIL f32": Fit(atan_tail, 0, EIGHTH, 4, size, 24),
    "ATAN_TAIL f64": Fit(atan_tail, 0, EIGHTH, 10, size, 53),
    "ASIN_TAIL f32": Fit(asin_tail, 0, 0.25, 4, size, 24),
    "ASIN_TAIL f64": Fit(asin_tail, 0, 0.25, 12, size, 53),
    "LOG_WORDS_TAIL f64": Fit(atanh_tail2, 0, (3 - 2 * mp.sqrt(2)) ** 2 * 1.01, 8, square, 53),
    "ERF_TAIL f32": Fit(erf_tail, 0, 0.81, 6, one, 24),
    "ERF_TAIL f64": Fit(erf_tail, 0, 1, 12, one, 53),
    "ERFC_LOG f32": Fit(lambda x: mp.log(mp.erfc(x)), 0.89, 3.95, 6, mp.erfc, 24),
    "ERFC_BODY_SINGLE f32": Fit(
        erfc_body_single, mp.mpf(10) / 121 - ERFC_MIDDLE, 0.5 - ERFC_MIDDLE, 9, exact_at_0, 24
    ),
    "ERFC_BODY f64": Fit(erfc_body, -0.6, 0.865, 23, one, 53),
    "LGAMMA_NEAR f64": Fit(lgamma_near, -1, 1, 27, one, 53),
    "LGAMMA_MIDDLE f64": Fit(lgamma_middle, -2.5, 2.5, 27, one, 53),
    "STIRLING f64": Fit(stirling, 0, 1 / 64, 7, one, 53),
    "DIGAMMA_NEAR f64": Fit(digamma_over(2.0), -1, 1, 29, one, 53),
    "DIGAMMA_MIDDLE f64": Fit(digamma_over(5.5), -2.5, 2.5, 29, one, 53),
    "SINE_PI f64": Fit(sine_pi, 0, 0.25, 8, one, 53),
    "COTANGENT_PI f64": Fit(cotangent_pi, 0, 0.25, 15, one, 53),
    "DIGAMMA_TAIL f64": Fit(digamma_tail, 0, 1 / 64, 7, one, 53),
    "CBRT f64": Fit(lambda m: mp.cbrt(m), 0.707, 1.415, 4, one, 53),
    "ERFINV_NEAR f64": Fit(erfinv_near, 0, 0.4, 20, one, 53),
    "ERFINV_FAR f64": Fit(erfinv_tail, -0.335, 0.51, 22, one, 53),
    "ERFINV_NEAR f32": Fit(erfinv_central, -2.5, 2.5, 9, one, 24),
    "ERFINV_FAR f32": Fit(lambda t: erfinv_central((t + 3) ** 2 - 2.5), -0.765, 1.0, 11, one, 24),
}


def main(names: list[str]) -> None:
    for name, row in FITS.items():
        if names and name.split()[0] not in names:
            continue
        coefficients, error = fit(row)
        print(f"# {name}: weighted error 2^{float(mp.log(error, 2)):.1f}")
        print(
            "(" + ", ".join(mp.nstr(c, 9 if row.bits == 24 else 17) for c in coefficients) + ")", flush=True
        )


if __name__ == "__main__":
    main(sys.argv[1:])
