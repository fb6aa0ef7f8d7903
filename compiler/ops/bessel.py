"""Bessel's functions, Airy's, and orthogonal polynomials, in float64: what no row of the table computes.

In flow arrays, out flow arrays of their shape. The functions are Chebyshev series of mpmath's values at 40
digits, on the intervals that each says, right to an absolute error of 2⁻⁵⁰ or a relative one where they have
no zeros; far from 0 they are those of amplitude and phase (DLMF 10.17, 9.7). The polynomials are their
recurrences (DLMF 18.9). In compiled programs, too, NumPy does them; as in PyTorch they have no derivative.
A new function is an entry of `FUNCTIONS`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from retrograd.compiler.errors import ShapeError
from retrograd.compiler.ir.graph import Array, Op, Type, Value, register
from retrograd.compiler.ops.bessel_series import (
    AIRY_COSINE,
    AIRY_FAR,
    AIRY_NEAR,
    AIRY_SINE,
    J_COSINE,
    J_NEAR,
    J_SINE,
    J_ZEROS,
    K_FAR,
    K_NEAR,
    Y_NEAR,
)  # fmt: skip
from retrograd.compiler.record import record

Function = Callable[..., Array]


def _series(t: Array, coefficients: Sequence[float]) -> Array:
    """Of Chebyshev's polynomials, by Clenshaw's recurrence."""
    x = np.clip(t, -1, 1)
    one, two = np.zeros_like(x), np.zeros_like(x)
    for coefficient in reversed(coefficients[1:]):
        one, two = coefficient + 2 * x * one - two, one
    return np.asarray(coefficients[0] + x * one - two)


# ---- Bessel's functions ------------------------------------------------------------------------------------


def _waves(order: int, x: Array) -> tuple[Array, Array]:
    """J and Y of numbers above 5, by amplitude and phase; cos(x - π/4) is made of sin x and cos x."""
    x = np.maximum(x, 5)
    t = 50 / x**2 - 1
    p, q = _series(t, J_COSINE[order]), _series(t, J_SINE[order]) / x
    plus, minus = (np.sin(x) + np.cos(x)) / math.sqrt(2), (np.sin(x) - np.cos(x)) / math.sqrt(2)
    cosine, sine = (plus, minus) if order == 0 else (minus, -plus)
    size = np.sqrt(2 / (math.pi * x))
    return size * (p * cosine - q * sine), size * (p * sine + q * cosine)


def _j(order: int, x: Array) -> Array:
    size = np.abs(x)
    squared = np.minimum(size, 5) ** 2
    first, second = J_ZEROS[order]
    near = _series(squared / 12.5 - 1, J_NEAR[order]) * (squared - first) * (squared - second)
    near = near * size if order else near
    found = np.where(size <= 5, near, _waves(order, size)[0])
    return np.where(np.isnan(x), x, np.copysign(found, found * x) if order else found)


def _y(order: int, x: Array) -> Array:
    inside = np.clip(x, 0, 5)
    smooth = _series(inside**2 / 12.5 - 1, Y_NEAR[order])
    if order:
        near = inside * smooth + 2 / math.pi * (np.log(inside) * _j(1, inside) - 1 / inside)
    else:
        near = smooth + 2 / math.pi * np.log(inside) * _j(0, inside)
    found = np.where(x <= 5, near, _waves(order, x)[1])
    return np.where(x == 0, -np.inf, np.where(x > 0, found, np.nan))


def _i(order: int, squared: Array) -> Array:
    """I0(x), or I1(x) / x, of numbers up to 2, by their power series (DLMF 10.25.2)."""
    total, term = np.zeros_like(squared), np.full_like(squared, 0.5 if order else 1.0)
    for k in range(1, 15):
        total = total + term
        term = term * squared / (4 * k * (k + order))
    return total


def _k(order: int, scaled: bool, x: Array) -> Array:
    inside = np.clip(x, 0, 2)
    squared = inside**2
    smooth, log = _series(squared / 2 - 1, K_NEAR[order]), np.log(inside / 2)
    near = smooth / inside + log * inside * _i(1, squared) if order else smooth - log * _i(0, squared)
    far = _series(4 / np.maximum(x, 2) - 1, K_FAR[order]) / np.sqrt(np.maximum(x, 2))
    if scaled:
        near = near * np.exp(inside)
    else:
        far = far * np.exp(-np.maximum(x, 2))
    return np.where(x == 0, np.inf, np.where(x > 0, np.where(x <= 2, near, far), np.nan))


def _spherical(x: Array) -> Array:
    small = np.abs(x) < 0.5
    squared = np.where(small, x, 0) ** 2
    series = np.zeros_like(squared)
    for k in range(9, -1, -1):
        series = (-1) ** k / math.factorial(2 * k + 1) + squared * series
    far = np.where(np.isinf(x), 0, np.sin(x) / np.where(small, 1, x))
    return np.where(small, series, far)


# ---- Airy's function ---------------------------------------------------------------------------------------


def _airy(x: Array) -> Array:
    near = _series((x + 1.5) / 3.5, AIRY_NEAR)
    above = np.maximum(x, 2)
    zeta = 2 / 3 * above**1.5
    far = _series(2 * (2 / 3 * 2**1.5) / zeta - 1, AIRY_FAR) * np.exp(-zeta) / above**0.25
    below = np.maximum(-x, 5)
    zeta = 2 / 3 * below**1.5
    t = 2 * (2 / 3 * 5**1.5 / zeta) ** 2 - 1
    turned = zeta - math.pi / 4
    wave = _series(t, AIRY_COSINE) * np.cos(turned) + _series(t, AIRY_SINE) / zeta * np.sin(turned)
    wave = wave / (math.sqrt(math.pi) * below**0.25)
    return np.where(x > 2, far, np.where(x >= -5, near, np.where(np.isnan(x), x, wave)))


# ---- orthogonal polynomials --------------------------------------------------------------------------------

Step = Callable[[int, Array, Array, Array], Array]
"""From the degree k, x, and the polynomials of degrees k and k - 1: that of degree k + 1."""


def _recurrence(first: Callable[[Array], Array], step: Step) -> Function:
    """The polynomials of degrees `n` at `x`, whole numbers; 0 where n is negative."""

    def compute(x: Array, n: Array) -> Array:
        degrees = np.trunc(n)
        before, now = np.ones_like(x), first(x)
        found = np.where(degrees == 0, before, np.where(degrees == 1, now, 0.0))
        for k in range(1, int(degrees.max(initial=0))):
            before, now = now, step(k, x, now, before)
            found = np.where(degrees == k + 1, now, found)
        return found

    return compute


def _chebyshev(k: int, x: Array, now: Array, before: Array) -> Array:
    return 2 * x * now - before


def _shifted(function: Function) -> Function:
    return lambda x, n: function(2 * x - 1, n)


_CHEBYSHEV: dict[str, Function] = {
    "t": _recurrence(lambda x: x, _chebyshev),
    "u": _recurrence(lambda x: 2 * x, _chebyshev),
    "v": _recurrence(lambda x: 2 * x - 1, _chebyshev),
    "w": _recurrence(lambda x: 2 * x + 1, _chebyshev),
}

FUNCTIONS: dict[str, Function] = {
    "airy_ai": _airy,
    "bessel_j0": lambda x: _j(0, x),
    "bessel_j1": lambda x: _j(1, x),
    "bessel_y0": lambda x: _y(0, x),
    "bessel_y1": lambda x: _y(1, x),
    "modified_bessel_k0": lambda x: _k(0, False, x),
    "modified_bessel_k1": lambda x: _k(1, False, x),
    "scaled_modified_bessel_k0": lambda x: _k(0, True, x),
    "scaled_modified_bessel_k1": lambda x: _k(1, True, x),
    "spherical_bessel_j0": _spherical,
    **{f"chebyshev_polynomial_{kind}": function for kind, function in _CHEBYSHEV.items()},
    **{f"shifted_chebyshev_polynomial_{kind}": _shifted(function) for kind, function in _CHEBYSHEV.items()},
    "hermite_polynomial_h": _recurrence(lambda x: 2 * x, lambda k, x, p, q: 2 * x * p - 2 * k * q),
    "hermite_polynomial_he": _recurrence(lambda x: x, lambda k, x, p, q: x * p - k * q),
    "laguerre_polynomial_l": _recurrence(
        lambda x: 1 - x, lambda k, x, p, q: ((2 * k + 1 - x) * p - k * q) / (k + 1)
    ),
    "legendre_polynomial_p": _recurrence(
        lambda x: x, lambda k, x, p, q: ((2 * k + 1) * x * p - k * q) / (k + 1)
    ),
}
"""By PyTorch's names: functions of one array, or of an array and degrees."""


@register
@record
class Special(Op):
    """One of `FUNCTIONS`, element by element."""

    name = "special"
    hosted = True
    kind: str

    def infer(self, *types: Type) -> Type:
        if any(kind != types[0] for kind in types):
            raise ShapeError(f"{self.kind} of {types[0]} and {types[-1]}", "the operands' types differ")
        return types[0]

    def evaluate(self, *arrays: Array) -> Array:
        wide = (np.asarray(array, np.float64) for array in arrays)
        with np.errstate(all="ignore"):
            return np.asarray(FUNCTIONS[self.kind](*wide)).astype(arrays[0].dtype)

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        return [None] * len(inputs)
