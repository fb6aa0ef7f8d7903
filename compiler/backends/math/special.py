"""The error function and its kin: erf, erfc, erfinv."""

from __future__ import annotations

from retrograd.compiler.backends.math.exponential import (
    LOG2E,
    exp_reduced,
    expm1_reduced,
    nearest,
    power_of_two,
    reduced,
    scaled,
)
from retrograd.compiler.backends.math.floats import (
    FORMATS,
    at_most,
    fast_two_sum,
    horner,
    horner_words,
    quotient,
    reciprocal,
    two_product,
    two_sum,
)  # fmt: skip
from retrograd.compiler.backends.math.logarithm import log, log_pair, outside
from retrograd.compiler.backends.math.power import exp_words
from retrograd.compiler.backends.vector import Value, copysign, fabs, fma, select, sqrt

# erf(x) / x - 1, in x² <= 1 (f32: 0.81)
ERF_TAIL = {
    "f32": (
        0.128379166, -0.376126319, 0.112836815, -0.0268590227, 0.00520072179, -0.000814415806, 8.3922685e-5,
    ),
    "f64": (
        0.12837916709551259, -0.37612638903183876, 0.11283791670958783, -0.026866170645631897,
        0.0052239776292456498, -0.00085483271993582724, 0.00012055338161400656, -1.4925748180206354e-5,
        1.6463247307130268e-6, -1.6372371891698225e-7, 1.4798357234369911e-8, -1.1876555591839105e-9,
        6.7628016388325013e-11,
    ),
}  # fmt: skip

# log(erfc(x)) on 0.89 <= x <= 3.95
ERFC_LOG = (
    -0.000152780049, -1.12785614, -0.636872351, -0.1042092, 0.0223636739, -0.00307832332, 0.000199604445,
)  # fmt: skip

# exp(x²) erfc(x) (x + 2) for 0 <= x <= 10.1, in 1 / (x + 2) - 383/2048. The first is of 23 bits, so that its
# distance from the sum, which may be more than twice as large, has no rounding
ERFC_BODY_SINGLE = (
    0.86552918, 2.21800542, 3.9189496, 3.40377641, -2.82992721, -9.82120514, 3.08237123, 32.2059898,
    -45.9231491, 17.4550457,
)  # fmt: skip

# exp(x²) erfc(x) (x + 2) for x >= 1/2, in (x - 2) / (x + 2)
ERFC_BODY = (
    1.021582705242023, -0.68716068441381062, 0.27947209255605182, -0.036442231506875783,
    -0.021510661889344456, 0.0064791850675898193, 0.003090612056155856, -0.00083729605879476947,
    -0.00066307347090455669, 3.4371383791968963e-5, 0.00014447052735800308, 3.414933382077548e-5,
    -2.169544143384535e-5, -1.6123050583233804e-5, -1.1265733566755798e-6, 3.649383444742971e-6,
    1.9993895064716323e-6, -2.4903424005560927e-9, -5.5999449448729739e-7, -3.3814676570119638e-7,
    -1.4249444179536796e-8, 1.4898630243470553e-7, 4.7921902130035789e-8, -4.1015776169776957e-8,
)  # fmt: skip

# erfinv(x) / x, in x² <= 0.4
ERFINV_NEAR = (
    0.88622692545275805, 0.23201366653462765, 0.12755617531120833, 0.086552128688411223, 0.064959649096652403,
    0.05173014166847769, 0.042865235914560443, 0.035952509111849391, 0.038561927879928917,
    -0.04197876195671562, 0.57491823589825231, -3.3478079759435095, 16.206779029269637, -60.887607905028219,
    178.65809635250955, -403.69161302216889, 688.8260286916119, -857.6971515342517, 735.23496818860781,
    -387.76481261591755, 94.89438245127333,
)  # fmt: skip

# erfinv(1 - q) / s with s = sqrt(-log q), 1 <= s <= sqrt(53 log 2), in (s - 2) / (s + 2)
ERFINV_FAR = (
    0.83409415802924824, 0.43091773028359814, -0.42376321836305469, 0.2019390574845055, 0.0067249272444037649,
    -0.12811413058878385, 0.13776537387591176, -0.072644122418113383, -0.013667040702922439,
    0.071198968450786077, -0.077988468900335908, 0.040995600086998228, 0.011314228182370222,
    -0.048573041597079453, 0.053168771550766047, -0.027937301819939666, -0.0096493546366183628,
    0.037881900992448515, -0.040384268495354599, 0.015042776557719248, 0.01560414990501601,
    -0.022296682725608426, 0.0085581867829877343,
)  # fmt: skip

# erfinv(x) / x - 1/2 of f32, in w - 5/2 with w = -log(1 - x²) < 5, and in sqrt(w) - 3
ERFINV_NEAR_SINGLE = (
    1.00140941, 0.246640295, -0.00417750003, -0.00125275669, 0.000218410481, -4.95578024e-6, -3.47692344e-6,
    4.64677953e-7, 2.42509213e-8, -8.6907237e-9,
)  # fmt: skip
ERFINV_FAR_SINGLE = (
    2.33297682, 1.00167525, 0.00944493245, -0.0076429639, 0.00569005497, -0.00356642366, 0.00146870874,
    -0.000120039665, -0.000269445329, 0.000158386683, -3.33868265e-5, 1.90825858e-6,
)  # fmt: skip

ERFINV_MIDDLE = 0.632120558828558
"""1 - 1 / e, from where on s >= 1."""


def erf(x: Value) -> Value:
    """x times a polynomial where |x| is small, else 1 - erfc(|x|)."""
    size = fabs(x)
    z = x * x
    near = fma(horner(z, ERF_TAIL[x.kind]), size, size)
    if x.kind == "f32":
        capped = at_most(size, 3.95)
        tail = horner(capped, ERFC_LOG)
        n, exponent = nearest(tail, LOG2E, FORMATS["f32"].bias)
        far = fma(-exp_reduced(reduced(tail, n)), power_of_two(exponent, "f32"), 1.0)
        return copysign(select(size < 0.9, near, far), x)
    return copysign(select(size < 1.0, near, 1.0 - erfc_positive(at_most(size, 6.0))), x)


def erfc_positive(x: Value) -> Value:
    """erfc of an f64 of at least 1/2."""
    x = at_most(x, 28.0)
    square, low = two_product(x, x)
    below = two_sum(x, x.same(2.0))
    above, above_low = reciprocal(below)
    body, body_low = horner_words(quotient(x - 2.0, below), ERFC_BODY, steps=2)
    factor, factor_low = two_product(body, above)
    return exp_words(-square, -low, (factor, factor_low + fma(body_low, above, body * above_low)))


def erfc_single(x: Value) -> Value:
    """Of an f32. v = 1 / (|x| + 2) is rounded twice; body times v loses 2.8 v + 1 times as much as that,
    which is put back with what else is lost."""
    size, (square_low, share, bell, n, exponent) = _single(x), _bell(x)
    below, below_low = fast_two_sum(size.same(2.0), size)
    v = 1.0 / below
    off = fma(fma(-v, below_low, fma(-v, below, 1.0)), fma(v, 2.8, 0.96), -square_low)
    body, body_low = horner_words(v - 383 / 2048, ERFC_BODY_SINGLE)
    tail, tail_low = two_product(body, v)
    lost = fma(tail, off, fma(body_low, v, tail_low))
    far = scaled(tail + fma(tail, share, lost * bell), n, exponent)
    return select(x < 0.0, 2.0 - far, far)


def bell_single(x: Value) -> Value:
    """exp(-x²) of an f32: a part of `erfc_single`, so next to nothing where that is computed, too."""
    square_low, _, bell, n, exponent = _bell(x)
    return scaled(fma(-square_low, bell, bell), n, exponent)


def _single(x: Value) -> Value:
    """|x|, or where all is 0 from there on."""
    return at_most(fabs(x), 10.5)


def _bell(x: Value) -> tuple[Value, ...]:
    """The second word of x², which counts, as exp blows up a square's rounding; exp of less the first / 2**n,
    less 1 and whole; n as a float, and as `scaled` takes it."""
    square, low = two_product(_single(x), _single(x))
    n, exponent = nearest(-square, LOG2E, 2 * FORMATS["f32"].bias)
    share = expm1_reduced(reduced(-square, n))
    return low, share, 1.0 + share, n, exponent


def erfc(x: Value) -> Value:
    if x.kind == "f32":
        return erfc_single(x)
    size = fabs(x)
    z = x * x
    near = 1.0 - fma(horner(z, ERF_TAIL["f64"]), x, x)
    far = erfc_positive(size)
    return select(size < 0.5, near, select(x < 0.0, 2.0 - far, far))


def erfinv_single(x: Value) -> Value:
    """Of an f32, by its square's distance from 1, as in Giles, "Approximating the erfinv function", 2010."""
    size = fabs(x)
    w = -log((1.0 - size) * (1.0 + size))
    near = horner(w - 2.5, ERFINV_NEAR_SINGLE)
    far = w >= 5.0

    def at_the_ends() -> tuple[Value, ...]:
        at_one = select(size.eq(1.0), float("inf"), horner(sqrt(w) - 3.0, ERFINV_FAR_SINGLE))
        return (select(far, at_one, near),)

    return fma(x.block.rarely(None, far, (near,), at_the_ends)[0], x, 0.5 * x)


def erfinv(x: Value) -> Value:
    """Beyond 1 - 1 / e, a function of sqrt(-log(1 - |x|)), whose 1 - |x| is exact."""
    if x.kind == "f32":
        return erfinv_single(x)
    size = fabs(x)
    share, share_low = horner_words(x * x, ERFINV_NEAR)
    near = fma(share, size, share_low * size)
    rest = 1.0 - size
    high, low = log_pair(rest)
    high = outside(rest, high)
    s = sqrt(-high)
    s_low = (fma(-s, s, -high) - low) / (2.0 * s)
    share, share_low = horner_words(quotient(s - 2.0, two_sum(s, s.same(2.0))), ERFINV_FAR)
    far = fma(share, s, fma(share_low, s, s_low))  # for the derivative by s is about 1
    far = select(size.eq(1.0), float("inf"), far)
    return copysign(select(size < ERFINV_MIDDLE, near, far), x)
