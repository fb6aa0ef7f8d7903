"""Evaluations, on arrays, of rows for which NumPy has no single function. To add one, add a function.

The result has the operands' dtype. Functions marked `_in_float64` are worked out in double precision, within
few units in the last place; float32 and float16 are rounded once from that. Polynomials were fitted by
`chebyfit` of mpmath at 60 digits, to a relative error below 2**-56; each says on which interval.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from retrograd.compiler.ir.graph import Array
from retrograd.compiler.ops import powers

HALF_LOG_2PI = 0.9189385332046727
BERNOULLI = (
    (1, 6), (-1, 30), (1, 42), (-1, 30), (5, 66), (-691, 2730), (7, 6), (-3617, 510), (43867, 798),
    (-174611, 330), (854513, 138), (-236364091, 2730),
)  # fmt: skip
"""The Bernoulli numbers B2, B4, …, as fractions."""
ZETA_TERMS = 10
"""How many terms of zeta are summed before the series."""
ZETA_TAIL = tuple(b / c / math.factorial(2 * k + 2) for k, (b, c) in enumerate(BERNOULLI))
"""B2k / (2k)!: DLMF 25.11.5."""
DIGAMMA_ZERO = 1.4616321449683622, 9.549995429965697e-17
"""The positive zero of digamma, and what the rounding left over."""


def sign(x: Array) -> Array:
    """−1, 0 or 1; 0 for NaN, as in PyTorch. A bool is its own sign."""
    if x.dtype == bool:
        return x
    return np.nan_to_num(np.sign(x))


def power(x: Array, y: Array) -> Array:
    """x ** y; a whole number to a negative power is its reciprocal cut to a whole number, as in PyTorch."""
    if x.dtype.kind != "i" or (y.ndim == 0 and y >= 0):
        product = by_products(y) if x.dtype.itemsize > 2 else None
        return np.asarray(product(x) if product else np.power(x, y))
    inverse = np.where(np.abs(x) == 1, np.power(x, np.abs(y) & 1), 0)
    return np.where(y < 0, inverse, np.power(x, np.maximum(y, 0))).astype(x.dtype)


def by_products(exponent: Array) -> powers.Power | None:
    """The power by one exponent that costs a product or two, as compiled code has it, too."""
    if exponent.ndim or exponent.imag:
        return None
    return powers.by_products(float(exponent.real))


def rsqrt(x: Array) -> Array:
    if x.dtype.kind == "c":
        return np.asarray(1 / np.sqrt(x))
    return np.asarray(np.reciprocal(np.sqrt(x)))


def sigmoid(x: Array) -> Array:
    e = np.exp(-np.abs(x))
    one = np.ones_like(e)
    return np.asarray(np.where(x >= 0, one, e) / (one + e))


def complex_log1p(x: Array) -> Array:
    """log(1 + x), without losing small parts of x."""
    a, b = x.real, x.imag
    near = np.abs(x) < 1
    re = np.where(near, 0.5 * np.log1p(np.where(near, a * (2 + a) + b * b, 0)), np.log(np.abs(1 + x)))
    found = np.empty(x.shape, x.dtype)
    found.real, found.imag = re, np.arctan2(b, 1 + a)
    return found


def softplus(x: Array) -> Array:
    return np.asarray(np.logaddexp(x, np.zeros_like(x)))


def _in_float64(function: Callable[..., Array]) -> Callable[..., Array]:
    def rounded(*operands: Array) -> Array:
        wide = [np.asarray(x, np.float64) for x in operands]
        return np.asarray(function(*wide).astype(operands[-1].dtype))

    rounded.__doc__ = function.__doc__
    return rounded


def polynomial(t: Array, coefficients: Sequence[float]) -> Array:
    result = np.full_like(t, coefficients[-1])
    for c in reversed(coefficients[:-1]):
        result = result * t + c
    return result


# ---- the error function ------------------------------------------------------------------------------------

_ERF = (  # erf(x) / x in t = x², |x| <= 1
    1.1283791670955126, -0.37612638903183543, 0.11283791670945006, -0.02686617064323777,
    0.0052239776071164225, -0.0008548325975389692, 0.00012055294904839707, -1.492473690741966e-05,
    1.6447424703317362e-06, -1.6208483801871705e-07, 1.3720064546777686e-08, -7.795898827002142e-10,
)  # fmt: skip
_ERFC = (  # (1 + x) exp(x²) erfc(x) in t = (x − 3) / (x + 3), 1/2 <= x <= 28
    0.7160046047255598, -0.23092733308380928, 0.09902075367944009, -0.010235388898999578,
    -0.023803913108668234, 0.021957764012311896, -0.009750689292741678, 0.0016185691336612835,
    0.0006458142012893894, -0.0003672885482858917, -2.0551569475920132e-05, 5.61197964883406e-05,
    -1.5147157954871444e-06, -8.991662190326298e-06, 2.6225264619828456e-07, 1.5924718267812272e-06,
    5.622667612161253e-08, -2.9854663875763494e-07, -3.91646510350411e-08, 5.449124806758703e-08,
    8.614302796805479e-09, -7.46641317183717e-09,
)  # fmt: skip


def _erf_inside(x: Array) -> Array:
    """erf for |x| <= 1."""
    return x * polynomial(x * x, _ERF)


def _erfc_outside(x: Array) -> Array:
    """erfc for x >= 1/2. The square is split into an exact one and a rest, as exp blows up its rounding."""
    x = np.minimum(x, 28.0)
    head = x.astype(np.float32).astype(np.float64)
    exp = np.exp(-head * head) * np.exp((head - x) * (head + x))
    return np.asarray(exp * polynomial((x - 3) / (x + 3), _ERFC) / (1 + x))


def _erf(x: Array) -> Array:
    a = np.abs(x)
    outside = np.copysign(1 - _erfc_outside(np.maximum(a, 1)), x)
    return np.where(a <= 1, _erf_inside(x), outside)


def _erfc(x: Array) -> Array:
    a = np.abs(x)
    tail = _erfc_outside(np.maximum(a, 0.5))
    return np.where(a <= 0.5, 1 - _erf_inside(x), np.where(x > 0, tail, 2 - tail))


@_in_float64
def erf(x: Array) -> Array:
    return _erf(x)


@_in_float64
def erfc(x: Array) -> Array:
    return _erfc(x)


@_in_float64
def erfinv(x: Array) -> Array:
    """Winitzki's closed approximation, then Halley's iteration: each time three times the correct digits."""
    a = np.abs(x)
    log = np.log1p(-a) + np.log1p(a)
    t = 2 / (np.pi * 0.147) + log / 2
    small = a * (np.sqrt(np.pi) / 2)
    y = np.where(a < 0.01, small, np.sqrt(np.sqrt(t * t - log / 0.147) - t))
    for _ in range(3):
        residual = np.where(a < 0.5, _erf(y) - a, (1 - a) - _erfc(y))
        step = residual * np.exp(y * y) * (np.sqrt(np.pi) / 2)
        y = y - step / (1 + step * y)
    return np.copysign(np.where(a == 1, np.inf, y), x)


# ---- the gamma function ------------------------------------------------------------------------------------

_LGAMMA = (  # lgamma(2 + z) / z, |z| <= 1/2
    0.42278433509846713, 0.32246703342411326, -0.0673523010531981, 0.02058080842778038,
    -0.0073855510286719986, 0.002890510331034267, -0.0011927539118428156, 0.0005096695154115458,
    -0.00022315475400520507, 9.945767355819498e-05, -4.49263133791557e-05, 2.0505590755833454e-05,
    -9.438715099211532e-06, 4.38470440459836e-06, -2.0439048107029907e-06, 9.200527894968101e-07,
    -4.3252393445604814e-07, 2.78740805211359e-07, -1.3219945666117874e-07,
)  # fmt: skip
_STIRLING = tuple(b / c / ((2 * k + 2) * (2 * k + 1)) for k, (b, c) in enumerate(BERNOULLI[:8]))
"""B2k / (2k (2k−1)): DLMF 5.11.1."""
_DIGAMMA = (  # digamma(3/2 + u) / (3/2 + u − its zero), |u| <= 1/2
    0.9510558760318328, -0.4236274212814606, 0.24054248424078697, -0.14840492305388092,
    0.09498872445289039, -0.06192213327548831, 0.040760833940846085, -0.026975796659787055,
    0.017907248317313294, -0.011908220105959716, 0.007927021796868154, -0.005279937255532708,
    0.003518106563802472, -0.0023454947397380833, 0.0015633696313653504, -0.0010364584817312839,
    0.0006909255761282986, -0.00048595039220036254, 0.00032395945401345196, -0.00014480643368061614,
    9.653646261410062e-05, -0.0001782188548855923, 0.00011881232908510335,
)  # fmt: skip
_DIGAMMA_TAIL = tuple(b / c / (2 * k + 2) for k, (b, c) in enumerate(BERNOULLI[:8]))
"""B2k / 2k: DLMF 5.11.2."""


def _sinpi(x: Array) -> Array:
    """sin(πx) but for its sign: |x| is first brought below 1/2, which is exact."""
    return np.asarray(np.sin(np.pi * (x - np.rint(x))))


def _lgamma_positive(x: Array) -> Array:
    """lgamma for x >= 1/2."""
    y, product = np.where(x < 8, x, 2.0), np.ones_like(x)
    for _ in range(6):
        above = y > 2.5
        y = np.where(above, y - 1, y)
        product = np.where(above, product * y, product)
    below = y < 1.5
    z = np.where(below, y - 1, y - 2)
    near = z * polynomial(z, _LGAMMA) + np.where(below, -np.log1p(z), np.log(product))
    big = np.where(np.isfinite(x), np.maximum(x, 8), 8.0)
    far = (big - 0.5) * (np.log(big) - 1) - 0.5 + HALF_LOG_2PI + polynomial(1 / (big * big), _STIRLING) / big
    return np.where(x < 8, near, np.where(np.isfinite(x), far, x))


def lgamma_beyond(x: Array) -> Array:
    """log Γ(1 + x) for |x| <= 1/2, with all digits where it vanishes with x."""
    return np.asarray(x * polynomial(x, _LGAMMA) - np.log1p(x))


@_in_float64
def lgamma(x: Array) -> Array:
    """log |Γ(x)|: a polynomial about 2, recurrence up to 8, Stirling's series beyond, reflection below 0.

    Near its zeros on the negative axis the error is small against 1, not against the value.
    """
    a = np.abs(x)
    upper = np.where(a < 0.5, _lgamma_positive(1 + a) - np.log(a), _lgamma_positive(np.maximum(a, 0.5)))
    reflected = np.log(np.pi / (a * np.abs(_sinpi(a)))) - upper
    tiny = -np.log(a)
    lower = np.where(a < 1e-17, tiny, np.where(np.rint(a) == a, np.inf, reflected))
    return np.where(np.isnan(x), x, np.where(x > 0, upper, lower))


@_in_float64
def digamma(x: Array) -> Array:
    """Γ'(x)/Γ(x): a polynomial on [1, 2], recurrence up to 10, asymptotic beyond, reflection below 0."""
    y = np.where(x > 0, x, 1 - x)
    total = np.where(y < 1, -1 / y, 0.0)
    near = np.where(y < 1, y + 1, np.where(y < 10, y, 1.5))
    for _ in range(8):
        above = near > 2
        near = np.where(above, near - 1, near)
        total = np.where(above, total + 1 / near, total)
    zero, rest = DIGAMMA_ZERO
    total = total + ((near - zero) - rest) * polynomial(near - 1.5, _DIGAMMA)
    big = np.maximum(y, 10)
    square = 1 / (big * big)
    far = np.log(big) - 0.5 / big - square * polynomial(square, _DIGAMMA_TAIL)
    upper = np.where(y < 10, total, far)
    pole = np.where(x == 0, np.copysign(np.inf, -x), np.nan)
    fraction = x - np.rint(x)
    lower = np.where(fraction == 0, pole, upper - np.pi / np.tan(np.pi * fraction))
    return np.where(np.isnan(x), x, np.where(x > 0, upper, lower))


# ---- zeta --------------------------------------------------------------------------------------------------


def _zeta_positive(x: Array, y: Array) -> Array:
    """x > 1, y >= 0: Euler's and Maclaurin's sum. Where its series would overflow, it does not count."""
    head, end = np.zeros_like(x * y), y + ZETA_TERMS
    for k in range(ZETA_TERMS):
        head = head + (y + k) ** -x
    series = np.zeros_like(head)
    for k, factor in reversed([*enumerate(ZETA_TAIL)]):
        series = factor + (x + (2 * k + 1)) / end * ((x + (2 * k + 2)) / end) * series
    tail = end ** (1 - x) / (x - 1) + end**-x * (0.5 + x / end * series)
    return np.asarray(head + np.where(x < 32 * end, tail, 0))


@_in_float64
def zeta(x: Array, y: Array) -> Array:
    """Hurwitz's zeta function, the sum of (y + k)^-x over k = 0, 1, …; of negative y where x is whole.

    Then it is that of y's fraction, and the terms before: (-1)^x times those from the fraction's rest to -y.
    """
    with np.errstate(all="ignore"):
        inside, below = (x > 1) & (y == y), np.floor(y)
        whole = (y == below) & (y <= 0)
        back = inside & (y < 0) & ~whole
        safe = np.where(inside, x, 2.0)
        total = _zeta_positive(safe, np.where(inside & ~whole, np.where(y < 0, y - below, y), 1.0))
        if back.any():
            rest, past = np.where(back, np.ceil(y) - y, 1.0), np.where(back, 1 - y, 1.0)
            before = _zeta_positive(safe, rest) - _zeta_positive(safe, past)
            even = np.floor(safe / 2) == safe / 2
            total = np.where(back, total + np.where(even, before, -before), total)
        found = np.where(whole, np.inf, np.where(back & (x != np.floor(x)), np.nan, total))
        return np.where(inside, found, np.where((x == 1) & (y == y), np.inf, np.nan))
