"""The incomplete gamma functions, and how their quantiles move, on arrays: element by element, in float64.

Of P(a, x) and Q = 1 − P one is x^a·exp(−x)/Γ(a) times an integral over w from 0 to ∞ of what decays: P with
t = x·exp(−w) in the integral of t^(a−1)·exp(−t) from 0 to x, which is done below a and below 1, or Q with
t = x·exp(w) from x on; of small numbers Q is a series. The integral is summed by the trapezoidal rule after
the substitution w = s·exp(u − exp(−u)) of Takahasi and Mori ("Double exponential formulas for numerical
integration", 1974). A quantile x moves with a by dx/da = −(∂P/∂a) / (∂P/∂x), the implicit derivative of a
gamma number (Figurnov, Mohamed and Mnih, "Implicit reparameterization gradients", 2018): a quotient of two
such integrals, without a gamma function.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from retrograd.compiler.ir.graph import Array
from retrograd.compiler.ops import special

_STEP = 0.03125
_U = np.arange(-3.5, 8.0, _STEP)
NODES = np.exp(_U - np.exp(-_U))
WEIGHTS = _STEP * NODES * (1 + np.exp(-_U))


_LEAST = 1e-290
"""Below this concentration a reciprocal overflows, and Q is as many times less as the concentration."""
_LARGE = 1e3
"""Concentrations from which on the places that count are near, and exponents great: these must not cancel."""
_LOG_LESS = tuple(2 / (2 * k + 3) for k in range(14))
"""(2 atanh(r) − 2r) / r³, in r² <= 1/16."""
_EXP_LESS = tuple(1 / math.factorial(k + 2) for k in range(8))
"""(exp(w) − 1 − w) / w², |w| < 0.05."""

BLOCK = 4096
"""Elements worked on at a time: each has some four hundred places."""


def steps(scale: Array) -> tuple[Array, Array]:
    """Places w and their weights, along a new last axis, for an integrand that decays within this width."""
    return scale[..., None] * NODES, scale[..., None] * WEIGHTS


def in_blocks(function: Callable[..., Array], *arrays: Array) -> Array:
    """A function of vectors, applied to arrays of one shape, in float64."""
    shape = np.broadcast_shapes(*(x.shape for x in arrays))
    flat = [np.broadcast_to(np.asarray(x, np.float64), shape).ravel() for x in arrays]
    found = np.empty(flat[0].shape)
    with np.errstate(all="ignore"):
        for start in range(0, found.size, BLOCK):
            found[start : start + BLOCK] = function(*(x[start : start + BLOCK] for x in flat))
    return found.reshape(shape)


def _decay(a: Array, x: Array) -> tuple[Array, Array, Array]:
    """The places, what the integrand of the lesser part is there, and the weights."""
    decay = np.where((a < 1) & (x < 1), a, np.maximum(np.abs(a - x), np.sqrt(x)))
    w, weights = steps(1 / decay)
    a, x = a[:, None], x[:, None]
    low = _is_low(a, x)
    density = np.where(low | (w < 700), np.exp(_exponent(a, x, np.where(low, -w, w))), 0)
    return w, np.nan_to_num(density), weights


def _exponent(a: Array, x: Array, way: Array) -> Array:
    """a·w − x·(exp(w) − 1)."""
    found: Array = a * way - x * np.expm1(way)
    large = a[:, 0] > _LARGE
    if large.any():
        a, x, way = a[large], x[large], way[large]
        near = (a - x) * way - x * way * way * special.polynomial(way, _EXP_LESS)
        found[large] = np.where(np.abs(way) < 0.05, near, found[large])
    return found


def _is_low(a: Array, x: Array) -> Array:
    """Where the part below x is integrated."""
    return np.asarray(x < np.maximum(a, 1))


def _gamma_slope(a: Array, x: Array) -> Array:
    w, density, weights = _decay(a, x)
    level = (np.log(x) - special.digamma(a))[:, None]
    turned = np.where(_is_low(a, x)[:, None], w - level, w + level)
    found: Array = x * np.sum(np.nan_to_num(weights * density * turned), axis=-1)
    return found


def gamma_slope(a: Array, x: Array) -> Array:
    """dx/da of a quantile x of the gamma distribution of concentration a and rate 1, in float64."""
    return in_blocks(_gamma_slope, a, x)


def _beta_slope(a: Array, b: Array, x: Array) -> Array:
    low = x < a / (a + b)
    y = 1 - x
    width = np.where(low, np.abs(a - (a + b) * x) / y, np.abs(b - (a + b) * y) / x)
    w, weights = steps(1 / np.maximum(width, np.sqrt(np.where(low, x, y) * (a + b))))
    a, b, x, y, low = (v[:, None] for v in (a, b, x, y, low))
    level = special.digamma(a + b) - special.digamma(a)
    below = -x * np.exp(-a * w + (b - 1) * (np.log1p(-x * np.exp(-w)) - np.log1p(-x)))
    rest = np.log1p(-y * np.exp(-w))
    above = y * np.exp(-b * w + (a - 1) * (rest - np.log1p(-y)))
    inner = np.where(low, below * (np.log(x) - w + level), above * (rest + level))
    return np.asarray(np.sum(weights * np.nan_to_num(inner), axis=-1))


def beta_slope(a: Array, b: Array, x: Array) -> Array:
    """dx/da of a beta number x of concentrations a and b, in float64: of t = x·exp(−w) below x, and of
    1 − t = (1 − x)·exp(−w) above."""
    return in_blocks(_beta_slope, a, b, x)


def _front(a: Array, x: Array) -> Array:
    """x^a·exp(−x) / Γ(a), where a is large by Stirling's remainder (DLMF 5.11.1), so that nothing cancels."""
    large = np.maximum(a, 20.0)
    tail = (1 / 12 - (1 / 360 - (1 / 1260 - 1 / 1680 / large**2) / large**2) / large**2) / large
    far = np.exp(large * _log_less(x, large) - tail) * np.sqrt(large / (2 * np.pi))
    return np.asarray(np.where(a > 20, far, np.exp(a * np.log(x) - x - special.lgamma(a))))


def _log_less(x: Array, a: Array) -> Array:
    """log(x / a) − d with d = x / a − 1: with r = d / (2 + d) it is r³·(2/3 + 2/5 r² + …) − d·r."""
    d = (x - a) / a
    r = np.where(np.abs(d) < 0.4, d / (d + 2), 0.0)
    near = r * r * r * special.polynomial(r * r, _LOG_LESS) - d * r
    return np.where(np.abs(d) < 0.4, near, np.log(x / a) - d)


def _small(a: Array, x: Array) -> Array:
    """Q of small numbers: 1 − x^a / Γ(a + 1), and a sum of (−x)^n / (n! (a + n)) (DLMF 8.7.3)."""
    logarithm = a * np.log(x) - special.lgamma_beyond(a)
    terms = sum((-x) ** n / (math.factorial(n) * (a + n)) for n in range(1, 20))
    return np.asarray(-np.expm1(logarithm) - np.exp(logarithm) * a * terms)


def _part(a: Array, x: Array) -> Array:
    """P(a, x), or −Q(a, x), whichever is less or nearly so; with PyTorch's values at the borders."""
    inside = (a > 0) & (x > 0) & np.isfinite(a) & np.isfinite(x)
    own_a, own_x = np.where(inside, np.maximum(a, _LEAST), 1.0), np.where(inside, x, 1.0)
    _, density, weights = _decay(own_a, own_x)
    part = np.minimum(_front(own_a, own_x) * np.sum(weights * density, axis=-1), 1.0)
    part = np.where(_is_low(own_a, own_x), part, -part * np.minimum(a / _LEAST, 1.0))
    small = (own_a < 0.1) & (own_x < 1) & (own_a * np.log(own_x) > -1)
    part = np.where(small, -_small(np.where(small, a, 0.1), np.where(small, x, 0.5)), part)
    whole = (a == 0) & (x > 0) | np.isposinf(x) & (a >= 0) & np.isfinite(a)
    none = (x == 0) & (a > 0) | np.isposinf(a) & (x >= 0) & np.isfinite(x)
    border = np.where(none, 0.0, np.where(whole, -0.0, np.nan))
    return np.where(inside, part, border)


def incomplete(a: Array, x: Array, upper: bool) -> Array:
    """P(a, x), or Q(a, x), in float64."""
    part = in_blocks(_part, a, x)
    return np.where(np.signbit(part) == upper, np.abs(part), 1 - np.abs(part))


def lower(a: Array, x: Array) -> Array:
    return incomplete(a, x, upper=False).astype(x.dtype)


def upper(a: Array, x: Array) -> Array:
    return incomplete(a, x, upper=True).astype(x.dtype)
