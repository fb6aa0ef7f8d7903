"""lgamma, the logarithm of |gamma|, and digamma, its derivative; written for f64.

For arguments of at least 8: Stirling's series, fitted. Below: a polynomial around the zero of the function,
reached by the recurrences gamma(x + 1) = x gamma(x) and digamma(x + 1) = digamma(x) + 1 / x, gathered into
one product or quotient. For negative arguments: Euler's reflection; near their other zeros the error is
small in absolute terms only.
"""

from __future__ import annotations

from retrograd.compiler.backends.math.floats import INF, NAN, horner
from retrograd.compiler.backends.math.logarithm import log
from retrograd.compiler.backends.math.trigonometric import cos_reduced, sin_reduced
from retrograd.compiler.backends.vector import Value, copysign, fabs, floor, fma, rint, select

# lgamma(2 + t) / (t (1 + t)) on -1 <= t <= 1
LGAMMA_NEAR = (
    0.42278433509846713, -0.1003173016743539, 0.032965000621157217, -0.012384192193373989,
    0.0049986411646146299, -0.0021081308338391958, 0.00091537692426894629, -0.00040570739979932575,
    0.00018255261304837505, -8.3095101087636569e-5, 3.8169091354017423e-5, -1.7661849471323194e-5,
    8.2211736355869501e-6, -3.8465355877695853e-6, 1.8115608492554741e-6, -8.554289586215404e-7,
    3.9556535659849784e-7, -1.8622318086085174e-7, 1.0464283500614793e-7, -5.1927192478859582e-8,
    5.5135152776168598e-9, -8.7913228334746797e-10, 1.642701966435059e-8, -8.9012629869420897e-9,
    -4.3921066940745544e-9, 2.4531301869491854e-9, 1.586737739037566e-9, -8.1666991377029941e-10,
)  # fmt: skip

# x times what Stirling's formula lacks, in 1 / x² <= 1/64
STIRLING = (
    0.083333333333333329, -0.0027777777777666531, 0.00079365078589420011, -0.00059523570205088656,
    0.00084136937963261106, -0.001884542138415738, 0.0049101044559718933, 0.0012965546679345522,
)  # fmt: skip

# digamma(x) / (x - DIGAMMA_ROOT), in x - 3/2, for 1 <= x <= 2
DIGAMMA_NEAR = (
    0.95105587603183284, -0.42362742128146058, 0.24054248424080246, -0.14840492305388422,
    0.094988724451259152, -0.061922133275283453, 0.040760834020040333, -0.026975796666111832,
    0.017907246184553399, -0.011908219993127607, 0.0079270568419699018, -0.0052799385062348757,
    0.0035177371464916508, -0.0023454858431350982, 0.0015659198845290262, -0.0010364991518573721,
    0.000679455712116107, -0.0004858348323176673, 0.00035632988129999686, -0.00014499222322385914,
    4.4490567597334635e-5, -0.00017808969095407229, 0.00015517879007296399,
)  # fmt: skip

# x² (log(x) - 1 / (2 x) - digamma(x)), in 1 / x² <= 1/64
DIGAMMA_TAIL = (
    0.083333333333333329, -0.008333333333321119, 0.0039682539587222307, -0.0041666632863544256,
    0.0075751137174420516, -0.02102207945335818, 0.078787696236942123, -0.27834903430957675,
)  # fmt: skip

DIGAMMA_ROOT = (1.4616321449683622, 9.549995429965697e-17)
"""The positive zero of digamma, in two words."""

PI = 3.141592653589793
LOG_PI = 1.1447298858494002

STIRLING_CONSTANT = 0.4189385332046727
"""(log(2 pi) - 1) / 2."""

STEPS = 6
"""How often a recurrence is taken at most."""


def steps_above(x: Value, start: float) -> tuple[Value, list[Value]]:
    """How many whole steps x lies above [start, start + 1), and for each possible one whether it is taken."""
    steps = floor(x - start)
    return steps, [steps >= k for k in range(1, STEPS + 1)]


def lgamma_positive(x: Value) -> Value:
    low, high, far = x < 1.0, x >= 3.0, x >= 8.0
    steps, taken = steps_above(x, 2.0)
    product = x.same(1.0)
    for k, take in enumerate(taken, start=1):
        product = select(take, product * (x - k), product)
    logarithm = log(select(low | far, x, product))
    t = select(low, x - 1.0, select(high, x - steps, x) - 2.0)
    one_more = select(low, x, t + 1.0)
    near = fma(horner(t, LGAMMA_NEAR) * one_more, t, select(low, -logarithm, logarithm))
    inverse = 1.0 / x
    series = fma(horner(inverse * inverse, STIRLING), inverse, STIRLING_CONSTANT)
    return select(far, fma(x - 0.5, logarithm - 1.0, series), near)


def sin_cos_pi(x: Value) -> tuple[Value, Value]:
    """sin(pi t) and cos(pi t), where t is x less the nearest integer."""
    t = x - rint(x)
    size = fabs(t)
    outer = size > 0.25
    angle = PI * select(outer, 0.5 - size, size)
    nothing = x.same(0.0)
    sine, cosine = sin_reduced(angle, nothing), cos_reduced(angle, nothing)
    return copysign(select(outer, cosine, sine), t), select(outer, sine, cosine)


def lgamma(x: Value) -> Value:
    """log |gamma(x)|, for f64: inf at 0, -1, -2, … and at both infinities."""
    size = fabs(x)
    positive = lgamma_positive(size)
    sine, _ = sin_cos_pi(size)
    reflected = select(size < 1e-17, positive, LOG_PI - log(fabs(sine) * size) - positive)
    pole = (x <= 0.0) & floor(x).eq(x) | size.eq(INF)
    return select(pole, INF, select(x < 0.0, reflected, positive))


def digamma_positive(x: Value) -> Value:
    steps, taken = steps_above(x, 1.0)
    below = x < 1.0
    numerator, denominator = select(below, x.same(-1.0), 0.0), select(below, x, 1.0)
    for k, take in enumerate(taken, start=1):
        term = x - k
        numerator = select(take, fma(numerator, term, denominator), numerator)
        denominator = select(take, denominator * term, denominator)
    start = x - select(below, -1.0, steps)
    first = horner(start - 1.5, DIGAMMA_NEAR)
    near = fma(start - DIGAMMA_ROOT[0] - DIGAMMA_ROOT[1], first, numerator / denominator)
    inverse = 1.0 / x
    square = inverse * inverse
    far = log(x) - fma(horner(square, DIGAMMA_TAIL), square, 0.5 * inverse)
    return select(x >= 8.0, far, near)


def digamma(x: Value) -> Value:
    """The derivative of lgamma, for f64: -inf at 0, inf at -0, NaN at -1, -2, …"""
    negative = x < 0.0
    positive = digamma_positive(select(negative, 1.0 - x, x))
    sine, cosine = sin_cos_pi(x)
    reflected = fma(-PI, cosine / sine, positive)
    value = select(negative, select(sine.eq(0.0), NAN, reflected), positive)
    return select(x.eq(0.0), copysign(INF, -x), value)
