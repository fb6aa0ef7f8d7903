"""lgamma, the logarithm of |gamma|, and digamma, its derivative; written for f64.

For arguments of at least 8: Stirling's series, fitted. Below: a polynomial times the factors that make the
zeros of the function, which keeps the result good to the last place there too. Below 1, one step of the
recurrences gamma(x + 1) = x gamma(x) and digamma(x + 1) = digamma(x) + 1 / x. For negative arguments: Euler's
reflection. All parts are summed in two words. The zeros at negative arguments have no factors of their own:
around them the error is small beside the two parts that cancel, not beside the result.
"""

from __future__ import annotations

from retrograd.compiler.backends.math.floats import (
    INF,
    NAN,
    Words,
    either,
    fast_two_sum,
    horner,
    horner_words,
    reciprocal,
    two_product,
    two_sum,
)  # fmt: skip
from retrograd.compiler.backends.math.logarithm import log_pair
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

# lgamma(x) / ((x - 1) (x - 2)), in x - 11/2, for 3 <= x <= 8
LGAMMA_MIDDLE = (
    0.25128977572182326, -0.025347622678910154, 0.0032484062986838503, -0.00045975358502296462,
    6.8787115957735442e-5, -1.0666564633662473e-5, 1.6959144206194576e-6, -2.746636400143738e-7,
    4.5117981369321663e-8, -7.4947248430211213e-9, 1.2562757284229712e-9, -2.1214983151409621e-10,
    3.6049448448318275e-11, -6.157573532196992e-12, 1.0564976408286649e-12, -1.8210242744545153e-13,
    3.1446991866820343e-14, -5.4155466710029862e-15, 9.5847328159363528e-16, -1.7433587397055493e-16,
    2.5525417741823497e-17, -3.4284119564940184e-18, 1.4253578947486163e-18, -3.4466435546390831e-19,
    -2.3724249768484194e-20, 9.2284577605211204e-21, 3.238004962642489e-21, -6.9099505137138702e-22,
)  # fmt: skip

# x times what Stirling's formula lacks, in 1 / x² <= 1/64
STIRLING = (
    0.083333333333333329, -0.0027777777777666531, 0.00079365078589420011, -0.00059523570205088656,
    0.00084136937963261106, -0.001884542138415738, 0.0049101044559718933, 0.0012965546679345522,
)  # fmt: skip

# digamma(x) / (x - DIGAMMA_ROOT), in x - 2, for 1 <= x <= 3
DIGAMMA_NEAR = (
    0.78530753860410529, -0.26073895468300146, 0.10899991701762338, -0.049551032917664897,
    0.023447309597848187, -0.011338432553644914, 0.0055522541688879275, -0.0027395728773492085,
    0.0013581422180645828, -0.00067531343232204207, 0.0003364321810359343, -0.000167814761973326,
    8.3780581616701091e-5, -4.1848170790852885e-5, 2.0888730930756842e-5, -1.04349017859802e-5,
    5.2755594018878671e-6, -2.6477125181086463e-6, 1.2007994670938007e-6, -5.8362251368846017e-7,
    4.7466750197890533e-7, -2.5627730237345383e-7, -6.6753749257830191e-8, 4.8253587301603922e-8,
    1.2083036994689765e-7, -6.8104431886067627e-8, -3.7389754228612194e-8, 2.1048580707223268e-8,
    1.0435833405428695e-8, -5.5410910422405345e-9,
)  # fmt: skip

# digamma(x) / (x - DIGAMMA_ROOT), in x - 11/2, for 3 <= x <= 8
DIGAMMA_MIDDLE = (
    0.39894660576163121, -0.049426953149724846, 0.0073352602963516174, -0.001168829013720522,
    0.0001935320877233205, -3.2820333937357442e-5, 5.6567216465224893e-6, -9.8629294250637684e-7,
    1.7344566198683909e-7, -3.0700600074327806e-8, 5.4616505164236849e-9, -9.7549203563236239e-10,
    1.747672143611382e-10, -3.1396983216595685e-11, 5.6600751130771861e-12, -1.0189928127776561e-12,
    1.8099143873610527e-13, -3.3291758014694271e-14, 6.7748194093718127e-15, -1.0774909311303932e-15,
    6.380970607591892e-17, -3.8999724018417762e-17, 2.2575737876469719e-17, -6.1340325376343351e-19,
    -1.0228822649431852e-18, -1.049830491547491e-19, 5.9587271973736085e-20, 3.5255066872946163e-21,
    -5.2069440175170556e-22, -2.2274978811087989e-22,
)  # fmt: skip

# x² (log(x) - 1 / (2 x) - digamma(x)), in 1 / x² <= 1/64
DIGAMMA_TAIL = (
    0.083333333333333329, -0.008333333333321119, 0.0039682539587222307, -0.0041666632863544256,
    0.0075751137174420516, -0.02102207945335818, 0.078787696236942123, -0.27834903430957675,
)  # fmt: skip

# sin(pi t) / (pi t), in t² <= 1/4
SINE_PI = (
    1.0, -1.6449340668482264, 0.81174242528334672, -0.19075182412170469, 0.026147847808525589,
    -0.0023460809189918093, 0.00014842794604725442, -6.9723445793590956e-6, 2.4526425771257155e-7,
)  # fmt: skip

# (1 / t - pi / tan(pi t)) / t, in t² <= 1/4
COTANGENT_PI = (
    3.2898681336964528, 2.1646464674223185, 2.0346861239602303, 2.0081547132336373, 2.0019891040717455,
    2.000493788276811, 2.0000842724388921, 2.0006682445401966, 1.9923148459794302, 2.0680502077825156,
    1.5569499717064488, 4.1087994487538255, -5.1894251193920038, 18.833442497456918, -22.844804009653931,
    20.693659779516597,
)  # fmt: skip

DIGAMMA_ROOT = (1.4616321449683622, 9.549995429965697e-17)
"""The positive zero of digamma, in two words."""

STIRLING_CONSTANT = 0.4189385332046727
"""(log(2 pi) - 1) / 2."""

MIDDLE, FAR = 3.0, 8.0
"""Where the second polynomial begins, and where Stirling's series does."""


def lgamma_positive(x: Value) -> Words:
    """(x - 1) (x - 2) times a polynomial; below 1, x (x - 1) times one less log x; and Stirling's formula,
    x (log x - 1) + rest."""
    low, far = x < 1.0, x >= FAR
    log_high, log_low = log_pair(x)
    before = x - 1.0
    t = select(low, before, x - 2.0)
    zeros, zeros_low = two_product(select(low, x, before), t)
    middle = x >= MIDDLE
    shape, shape_low = horner_words(
        select(middle, x - 5.5, t), either(middle, LGAMMA_MIDDLE, LGAMMA_NEAR, like=x)
    )
    product, lost = two_product(select(far, x, zeros), select(far, log_high - 1.0, shape))
    total, beyond = fast_two_sum(select(low, -log_high, 0.0), product)
    inverse = 1.0 / x
    series = fma(horner(inverse * inverse, STIRLING), inverse, STIRLING_CONSTANT)
    stirling = fma(x, log_low, fma(log_high - 1.0, -0.5, series))
    near = fma(zeros, shape_low, zeros_low * shape) - select(low, log_low, 0.0)
    return total, select(total < INF, beyond + (lost + select(far, stirling, near)), 0.0)


def reflection(size: Value) -> Words:
    """log(size |sin(pi size)| / pi)."""
    off = fabs(size - rint(size))
    product, lost = two_product(size, off)
    shape, shape_low = horner_words(off * off, SINE_PI)
    argument, beyond = two_product(product, shape)
    high, low = log_pair(argument)
    return high, low + (beyond + fma(product, shape_low, lost * shape)) / argument


def lgamma(x: Value) -> Value:
    """log |gamma(x)|, for f64: inf at 0, -1, -2, … and at both infinities."""
    size = fabs(x)
    positive, positive_low = lgamma_positive(size)
    sine, sine_low = reflection(size)
    total, lost = two_sum(-sine, -positive)
    negative = total + (lost - (sine_low + positive_low))
    pole = (x <= 0.0) & floor(x).eq(x) | size.eq(INF)
    reflected = (x < 0.0) & (size >= 1e-17)
    return select(pole, INF, select(reflected, negative, positive + positive_low))


def digamma_positive(x: Value) -> Words:
    """x less the zero, times a polynomial; below 1, that at x + 1 less 1 / x; and Stirling's formula,
    log x - rest."""
    low, middle = x < 1.0, x >= MIDDLE
    inverse, inverse_low = reciprocal((x, x.same(0.0)))
    zero, zero_low = fast_two_sum(x, select(low, x.same(1.0 - DIGAMMA_ROOT[0]), -DIGAMMA_ROOT[0]))
    zero_low = zero_low - DIGAMMA_ROOT[1]
    t = select(low, x - 1.0, select(middle, x - 5.5, x - 2.0))
    shape, shape_low = horner_words(t, either(middle, DIGAMMA_MIDDLE, DIGAMMA_NEAR, like=x))
    product, lost = two_product(zero, shape)
    near, beyond = fast_two_sum(select(low, -inverse, 0.0), product)
    near_low = lost + fma(zero, shape_low, zero_low * shape) - select(low, inverse_low, 0.0)
    square = inverse * inverse
    log_high, log_low = log_pair(x)
    log_low = log_low - fma(horner(square, DIGAMMA_TAIL), square, 0.5 * inverse)
    far = x >= FAR
    high = select(far, select(x < INF, log_high, x), near)
    return high, select(fabs(high) < INF, select(far, log_low, beyond + near_low), 0.0)


def digamma(x: Value) -> Value:
    """The derivative of lgamma, for f64: -inf at 0, inf at -0, NaN at -1, -2, …; for negative numbers it is
    digamma(1 - x) - pi / tan(pi x)."""
    negative = x < 0.0
    positive, low = digamma_positive(select(negative, 1.0 - x, x))
    off = x - rint(x)
    inverse, inverse_low = reciprocal((off, x.same(0.0)))
    turned, lost = two_sum(positive, off * horner(off * off, COTANGENT_PI))
    total, beyond = two_sum(-inverse, turned)
    small = select(fabs(total) < INF, beyond + (lost + (low - inverse_low)), 0.0)
    reflected = select(off.eq(0.0), NAN, total + small)
    return select(x.eq(0.0), copysign(INF, -x), select(negative, reflected, positive + low))
