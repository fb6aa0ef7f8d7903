"""The regularized incomplete gamma functions P and Q, for f64.

Where x is the lesser, P is its power series (DLMF 8.7.1), elsewhere Q is its continued fraction (DLMF 8.9.2),
both as quotients of two sums that only multiply, until no lane changes any more; the other function is 1 less
that. For small a and x, Q is what is left of its own series (DLMF 8.7.3), in which nothing cancels. Of huge a
both are an error function and a correction (Temme, "The asymptotic expansion of the incomplete gamma
functions", 1979). What is done by itself, and when, follows Gil, Segura and Temme, "Efficient and accurate
algorithms for the computation and inversion of the incomplete gamma function ratios", 2012.
"""

from __future__ import annotations

import math

from retrograd.compiler.backends.math.exponential import exp, expm1
from retrograd.compiler.backends.math.floats import INF, NAN, horner
from retrograd.compiler.backends.math.gamma import LGAMMA_NEAR, STIRLING, lgamma
from retrograd.compiler.backends.math.logarithm import log
from retrograd.compiler.backends.math.power import pow as power
from retrograd.compiler.backends.math.special import erfc
from retrograd.compiler.backends.repetition import repeated
from retrograd.compiler.backends.vector import Value, copysign, fabs, maximum, minimum, select, sqrt

_ATANH = tuple(2 / (2 * k + 3) for k in range(14))
"""(2 atanh(r) / r - 2) / r², in r² <= 1/16."""
_HUGE = 1e6
"""Concentrations from which on Temme's formula has all digits."""
_LARGE = 8.0
"""Those from which on Stirling's series does."""
_FEW = 2.0**-53
_SCALE = 2.0**-500
_CORRECTION = (-1 / 3, 1 / 12, -2 / 135, 1 / 864, 1 / 2835, -139 / 777600, 1 / 25515)
"""Temme's c0, in eta; c1 is -1/540 - eta/288."""


def _log_less(x: Value, a: Value) -> Value:
    """log(x / a) - d with d = x / a - 1, near a without cancellation: -d r + r³ (2/3 + 2/5 r² + …), with
    r = d / (2 + d)."""
    d = (x - a) / a
    r = d / (d + 2.0)
    near = r * r * r * horner(r * r, _ATANH) - d * r
    return select(fabs(d) < 0.4, near, log(x / a) - d)


def _front(a: Value, x: Value) -> Value:
    """x^a exp(-x) / gamma(a + 1), where a is large by Stirling's formula."""
    small, near = minimum(a, _LARGE), minimum(x, 800.0)
    little = power(near, small) * exp(-near) * exp(-lgamma(small + 1.0))
    large = maximum(a, _LARGE)
    inverse = 1.0 / large
    exponent = large * _log_less(x, large) - inverse * horner(inverse * inverse, STIRLING)
    return select(a < _LARGE, little, exp(exponent) * sqrt((0.5 / math.pi) / large))


def _series(a: Value, x: Value, wanted: Value) -> Value:
    """1 + x / (a + 1) + x² / ((a + 1) (a + 2)) + …"""

    def step(k: Value, term: Value, over: Value, under: Value, _: Value) -> tuple[Value, ...]:
        term = term * x
        over, under = over * k + term, under * k
        scale = select(under > 1 / _SCALE, _SCALE, k.same(1.0))
        more = (term > over * _FEW).to("f64")
        return k + 1.0, term * scale, over * scale, under * scale, more

    x = select(wanted, x, 0.0)
    one = x.same(1.0)
    start = (a + 1.0, one, one, one, one)
    _, _, over, under, _ = repeated(start, step, lambda *state: state[-1] > 0.0)
    return over / under


def _fraction(a: Value, x: Value, wanted: Value) -> Value:
    """1 / (x + 1 - a - 1 (1 - a) / (x + 3 - a - …)), by the recurrence of its numerators and denominators."""
    a, x = select(wanted, a, 1.0), select(wanted, x, 2.0)

    def step(*state: Value) -> tuple[Value, ...]:
        k, before, over, under_before, under, _ = state
        place, factor = x + 1.0 - a + 2.0 * k, k * (k - a)
        next_over, next_under = place * over - factor * before, place * under - factor * under_before
        change = fabs(next_over * under - over * next_under)
        more = (change > fabs(next_over * under) * (4 * _FEW)).to("f64") * (k < 20000.0).to("f64")
        scale = select(fabs(next_under) > 1 / _SCALE, _SCALE, k.same(1.0))
        return k + 1.0, over * scale, next_over * scale, under * scale, next_under * scale, more

    one = x.same(1.0)
    start = (one, x.same(0.0), one, one, x + 1.0 - a, one)
    _, _, over, _, under, _ = repeated(start, step, lambda *state: state[-1] > 0.0)
    return over / under


def _small(a: Value, x: Value) -> Value:
    """Q of small numbers: 1 - x^a / gamma(a + 1), and a sum of (-x)^n / (n! (a + n))."""
    logarithm = a * log(x) - a * (a - 1.0) * horner(a - 1.0, LGAMMA_NEAR)
    terms = [(-1) ** n / math.factorial(n) for n in range(1, 22)]
    total, factor = x.same(0.0), x
    for n, coefficient in enumerate(terms, 1):
        total = total + factor * coefficient / (a + float(n))
        factor = factor * x
    return -expm1(logarithm) - exp(logarithm) * a * total


def _huge(a: Value, x: Value) -> tuple[Value, Value]:
    """P and Q of huge a."""
    half = -_log_less(x, a)
    eta = copysign(sqrt(2.0 * half), x - a)
    correction = horner(eta, _CORRECTION) + (-1 / 540 - eta * (1 / 288)) / a
    rest = exp(-a * half) * correction / sqrt(2 * math.pi * a)
    place = eta * sqrt(0.5 * a)
    return 0.5 * erfc(-place) - rest, 0.5 * erfc(place) + rest


def _parts(a: Value, x: Value, upper: bool) -> Value:
    """P or Q inside the borders."""
    block = x.block
    huge = a > _HUGE
    is_low = (x <= 1.1) | (x < a)
    low, high = is_low & ~huge, ~(is_low | huge)
    front = _front(a, x)
    zero = x.same(0.0)
    (below,) = block.rarely(None, low, (zero,), lambda: (minimum(front * _series(a, x, low), 1.0),))
    (above,) = block.rarely(None, high, (zero,), lambda: (minimum(front * a * _fraction(a, x, high), 1.0),))
    found = select(low, 1.0 - below, above) if upper else select(low, below, 1.0 - above)
    if upper:
        tiny = low & (a < maximum(x * 1.1, 0.1)) & (a <= 1.2)
        (found,) = block.rarely(
            None, tiny, (found,), lambda: (select(tiny, _small(minimum(a, 2.0), minimum(x, 1.2)), found),)
        )
    (found,) = block.rarely(None, huge, (found,), lambda: (select(huge, _huge(a, x)[upper], found),))
    return found


def _incomplete(a: Value, x: Value, upper: bool) -> Value:
    inside = (a > 0.0) & (x > 0.0) & (a < INF) & (x < INF)
    found = _parts(select(inside, a, 1.0), select(inside, x, 1.0), upper)
    whole = (a.eq(0.0) & (x > 0.0)) | (x.eq(INF) & (a >= 0.0) & (a < INF))
    none = (x.eq(0.0) & (a > 0.0)) | (a.eq(INF) & (x >= 0.0) & (x < INF))
    border = select(whole, x.same(float(not upper)), select(none, x.same(float(upper)), NAN))
    return select(inside, found, border)


def igamma(a: Value, x: Value) -> Value:
    return _incomplete(a, x, upper=False)


def igammac(a: Value, x: Value) -> Value:
    return _incomplete(a, x, upper=True)
