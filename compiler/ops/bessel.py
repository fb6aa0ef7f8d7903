"""Bessel's functions, and Airy's: formulas, as text in the language of `row.py`.

Near 0 they are polynomials of mpmath's values, on the intervals that `bessel_series.py` says, right to an
absolute error of 2⁻⁵⁰ or a relative one where they have no zeros; far from it they are those of amplitude and
phase (DLMF 10.17, 9.7). A function x of a zero z is written with (x − z)(x + z), z in two parts, of which the
first has few digits: so float32 loses none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from retrograd.compiler.ops.bessel_series import (
    AIRY_COSINE,
    AIRY_FAR,
    AIRY_NEAR,
    AIRY_SINE,
    J_COSINE,
    J_NEAR,
    J_SINE,
    K_FAR,
    K_NEAR,
    Y_NEAR,
)  # fmt: skip


def polynomial(t: str, coefficients: Sequence[float]) -> str:
    return f"polynomial({t}, {', '.join(map(repr, coefficients))})"


# ---- Bessel's functions ------------------------------------------------------------------------------------

_ZEROS = ((2.404825557695773, 5.5200781102863106), (3.8317059702075125, 7.015586669815619))
"""The first two positive zeros of J0, and of J1."""
_SIZE, _SQUARE = "minimum(abs(x), 5)", "square(minimum(abs(x), 5))"
_FAR = "maximum(abs(x), 5)"


def _waves(order: int) -> tuple[str, str]:
    """J and Y of |x| above 5, by amplitude and phase; cos(x - π/4) is made of sin x and cos x."""
    t = f"(50 / square({_FAR}) - 1)"
    p, q = polynomial(t, J_COSINE[order]), f"({polynomial(t, J_SINE[order])} / {_FAR})"
    plus, minus = f"(sin({_FAR}) + cos({_FAR}))", f"(sin({_FAR}) - cos({_FAR}))"
    size = f"sqrt({1 / math.pi!r} / {_FAR})"
    if order:
        return f"{size} * ({p} * {minus} + {q} * {plus})", f"{size} * ({q} * {minus} - {p} * {plus})"
    return f"{size} * ({p} * {plus} - {q} * {minus})", f"{size} * ({p} * {minus} + {q} * {plus})"


def _near(order: int) -> str:
    """J0(x), or J1(x) / |x|, for |x| up to 5."""
    first, second = _ZEROS[order]
    head = round(first * 256) / 256
    factors = (
        f"(({_SIZE} - {head!r}) - {first - head!r}) * ({_SIZE} + {first!r}) * ({_SQUARE} - {second**2!r})"
    )
    return f"{polynomial(f'({_SQUARE} / 12.5 - 1)', J_NEAR[order])} * ({factors})"


def bessel_j(order: int) -> str:
    far, _ = _waves(order)
    if order:
        return f"where(abs(x) <= 5, x * ({_near(1)}), where(x < 0, -1, 1) * ({far}))"
    return f"where(abs(x) <= 5, {_near(0)}, {far})"


def bessel_y(order: int) -> str:
    _, far = _waves(order)
    smooth = polynomial(f"({_SQUARE} / 12.5 - 1)", Y_NEAR[order])
    if order:
        log = f"log({_SIZE}) * ({_SIZE} * ({_near(1)})) - 1 / {_SIZE}"
        near = f"{_SIZE} * {smooth} + {2 / math.pi!r} * ({log})"
    else:
        near = f"{smooth} + {2 / math.pi!r} * log({_SIZE}) * ({_near(0)})"
    return f"where(x == 0, -inf, where(x > 0, where(x <= 5, {near}, {far}), nan))"


def _bessel_i(order: int, squared: str) -> str:
    """I0(x), or I1(x) / x, of numbers up to 2, by their power series (DLMF 10.25.2)."""
    terms = [0.25**k / math.factorial(k) / math.factorial(k + order) / 2**order for k in range(14)]
    return polynomial(squared, terms)


def bessel_k(order: int, scaled: bool = False) -> str:
    """K0 or K1, or that times exp(x)."""
    inside, outside = "minimum(abs(x), 2)", "maximum(abs(x), 2)"
    squared = f"square({inside})"
    smooth, series = polynomial(f"({squared} / 2 - 1)", K_NEAR[order]), _bessel_i(order, squared)
    near = (
        f"({smooth} / {inside} + log({inside} / 2) * {inside} * {series})"
        if order
        else f"({smooth} - log({inside} / 2) * {series})"
    )
    far = f"({polynomial(f'(4 / {outside} - 1)', K_FAR[order])} / sqrt({outside}))"
    near, far = (f"{near} * exp({inside})", far) if scaled else (near, f"{far} * exp(-{outside})")
    return f"where(x == 0, inf, where(x > 0, where(x <= 2, {near}, {far}), nan))"


def spherical_bessel_j0() -> str:
    series = polynomial("square(x)", [(-1) ** k / math.factorial(2 * k + 1) for k in range(10)])
    return f"where(abs(x) < 0.5, {series}, where(abs(x) == inf, 0, sin(x) / x))"


# ---- Airy's function ---------------------------------------------------------------------------------------


def airy_ai() -> str:
    low, high = AIRY_NEAR
    lower, upper = polynomial("((x + 3.25) / 1.75)", low), polynomial("((x - 0.25) / 1.75)", high)
    above, below = "maximum(x, 2)", "maximum(-x, 5)"
    zeta = f"({2 / 3!r} * {above} * sqrt({above}))"
    shape = polynomial(f"({4 / 3 * 2**1.5!r} / {zeta} - 1)", AIRY_FAR)
    decaying = f"{shape} * exp(-{zeta}) / sqrt(sqrt({above}))"
    phase = f"({2 / 3!r} * {below} * sqrt({below}))"
    t = f"(2 * square({2 / 3 * 5**1.5!r} / {phase}) - 1)"
    turned = f"({phase} - {math.pi / 4!r})"
    sine = f"{polynomial(t, AIRY_SINE)} / {phase} * sin({turned})"
    wave = f"({polynomial(t, AIRY_COSINE)} * cos({turned}) + {sine}) / (sqrt(pi) * sqrt(sqrt({below})))"
    return f"where(x > 2, {decaying}, where(x >= -1.5, {upper}, where(x >= -5, {lower}, {wave})))"


FORMULAS: dict[str, str] = {
    "airy_ai": airy_ai(),
    "bessel_j0": bessel_j(0),
    "bessel_j1": bessel_j(1),
    "bessel_y0": bessel_y(0),
    "bessel_y1": bessel_y(1),
    "modified_bessel_k0": bessel_k(0),
    "modified_bessel_k1": bessel_k(1),
    "scaled_modified_bessel_k0": bessel_k(0, scaled=True),
    "scaled_modified_bessel_k1": bessel_k(1, scaled=True),
    "spherical_bessel_j0": spherical_bessel_j0(),
}
"""By PyTorch's names; as there, they have no derivative."""
