"""Powers and roots: pow, cbrt, hypot, rsqrt; and exp and log in two words, which pow needs.

An error of 2**-64 in y log x is one of less than half an ulp in pow, so in f64 the logarithm is carried in
two words: the series of 2 atanh(s) with its first terms in two words (compare Muller et al., Elementary
Functions, 2016, chapter 6). In f32, plain f64 arithmetic is more than enough.
"""

from __future__ import annotations

from retrograd.compiler.backends.math.exponential import (
    EXP_RANGE,
    EXP_TAIL,
    LOG2E,
    exp,
    exp_reduced,
    nearest,
    power_of_two,
    reduced,
    scaled,
)  # fmt: skip
from retrograd.compiler.backends.math.floats import (
    FORMATS,
    INF,
    NAN,
    Words,
    at_least,
    at_most,
    fast_two_sum,
    horner,
    two_product,
)  # fmt: skip
from retrograd.compiler.backends.math.logarithm import log, outside, split
from retrograd.compiler.backends.vector import Value, copysign, fabs, fma, rint, select, sqrt

# ((2 atanh(s) / s - 2) / s² - 2/3) / s², in s² <= (3 - 2 sqrt 2)²
LOG_WORDS_TAIL = (
    0.40000000000000002, 0.28571428571427093, 0.22222222222617613, 0.1818181812503076, 0.153846202688603,
    0.13333070450230111, 0.11773593514562092, 0.10344504015419898, 0.11542573440818463,
)  # fmt: skip

# the cube root of m, sqrt 1/2 <= m <= sqrt 2, to 2**-16
CBRT = (
    0.4530105170085566, 0.89942529465008503, -0.5276755588815687, 0.21182450768715672,
    -0.036578636484341807,
)  # fmt: skip

TWO_THIRDS = (0.6666666666666666, 3.700743415417188e-17)
"""2/3 in two words."""


def log_words(x: Value) -> Words:
    """log of a positive f64, in two words, to 2**-64 of it."""
    e, f = split(x)
    with x.block.exact():
        below = 2.0 + f
        lost = f - (below - 2.0)
    inverse = 1.0 / below
    s = f * inverse
    s_low = (fma(-s, below, f) - s * lost) * inverse
    z, z_low = two_product(s, s)
    z_low = fma(s * 2.0, s_low, z_low)
    high, low = fast_two_sum(x.same(TWO_THIRDS[0]), z * horner(z, LOG_WORDS_TAIL))
    cube = times(times((s, s_low), (z, z_low)), (high, low + TWO_THIRDS[1]))
    fine, fine_low = fast_two_sum(2.0 * s, cube[0])
    ln2, ln2_low = FORMATS["f64"].ln2
    whole, whole_low = two_product(e, x.same(ln2))
    high, low = fast_two_sum(whole, fine)
    return high, low + fma(e, ln2_low, whole_low) + (fma(s_low, 2.0, fine_low) + cube[1])


def times(a: Words, b: Words) -> Words:
    """The product of two-word numbers, the low word not normalised."""
    high, low = two_product(a[0], b[0])
    return high, fma(a[0], b[1], fma(a[1], b[0], low))


def exp_words(high: Value, low: Value, factor: Words | None = None) -> Value:
    """exp(high + low), times a factor in two words, for f64; low is ignored where it is not small."""
    least, most = EXP_RANGE["f64"]
    clamped = at_most(at_least(high, least), most)
    low = select(clamped.eq(high), low, 0.0)
    n, exponent = nearest(clamped, LOG2E, 2 * FORMATS["f64"].bias)
    if factor is None:
        return scaled(exp_reduced(reduced(clamped, n) + low), n, exponent)
    ln2, ln2_low = FORMATS["f64"].ln2
    r, r_low = fast_two_sum(fma(n, -ln2, clamped), fma(n, -ln2_low, low))
    beyond = fma(factor[0], fma(horner(r, EXP_TAIL["f64"]), r * r, r_low), factor[1])
    return scaled(factor[0] + fma(factor[0], r, beyond), n, exponent)


def pow_positive(x: Value, y: Value) -> Value:
    """x**y for x >= 0."""
    if x.kind == "f32":
        return exp(y.to("f64") * log(x.to("f64"))).to("f32")
    high, low = log_words(x)
    high = outside(x, high)
    low = select(fabs(high) < INF, low, 0.0)
    product, beyond = two_product(high, y)
    return exp_words(product, fma(low, y, beyond))


def pow(x: Value, y: Value) -> Value:
    size = fabs(x)
    result = pow_positive(size, y)
    whole, half = rint(y).eq(y), y * 0.5
    odd = whole & rint(half).ne(half)
    result = select((x < 0.0) & (size < INF) & ~whole, NAN, result)
    result = select(odd, copysign(result, x), result)
    one = y.eq(0.0) | x.eq(1.0) | (x.eq(-1.0) & fabs(y).eq(INF))
    return select(one, 1.0, result)


def rsqrt(x: Value) -> Value:
    return 1.0 / sqrt(x)


def cbrt(x: Value) -> Value:
    """For f64. x = m 2**(3 q + r): a polynomial, a step of Halley's, one of Newton's with exact residual."""
    e, f = split(fabs(x))
    q, exponent = nearest(e, 1 / 3, FORMATS["f64"].bias)
    r = fma(q, -3.0, e)
    up, down = r.eq(1.0), r.eq(-1.0)
    m = (1.0 + f) * select(up, x.same(2.0), select(down, x.same(0.5), 1.0))
    y = horner(1.0 + f, CBRT) * select(up, x.same(2.0 ** (1 / 3)), select(down, x.same(0.5 ** (1 / 3)), 1.0))
    cube = y * y * y
    y = y * ((cube + 2.0 * m) / (2.0 * cube + m))
    square, low = two_product(y, y)
    residual = fma(square, y, -m) + low * y
    root = (y - residual / (3.0 * square)) * power_of_two(exponent, "f64")
    return select((fabs(x) < INF) & x.ne(0.0), copysign(root, x), x)


def hypot(x: Value, y: Value) -> Value:
    """For f64. Both are scaled by a power of two where a square would overflow or vanish."""
    a, b = fabs(x), fabs(y)
    larger = select(a > b, a, b)
    big, small = larger > 2.0**500, larger < 2.0**-400
    scale = select(big, x.same(2.0**-600), select(small, x.same(2.0**600), 1.0))
    back = select(big, x.same(2.0**600), select(small, x.same(2.0**-600), 1.0))
    a, b = a * scale, b * scale
    length = sqrt(fma(a, a, b * b)) * back
    return select(fabs(x).eq(INF) | fabs(y).eq(INF), INF, length)
