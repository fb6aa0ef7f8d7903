"""Exponentials: exp, exp2, expm1 and what is made of them (sigmoid, tanh, cosh, sinh).

Each splits x = n ln 2 + r with |r| <= ln 2 / 2 (Cody and Waite's two-word reduction: the first step is
exact, as n ln 2 and x share their low bits), takes a polynomial in r and scales by 2**n. The coefficients
are printed by `benchmarks/fit_polynomials.py`.
"""

from __future__ import annotations

from retrograd.compiler.backends.math.avx512 import has_avx512, scalef
from retrograd.compiler.backends.math.floats import FORMATS, at_least, at_most, fast_two_sum, horner, quotient
from retrograd.compiler.backends.math.nvidia import fma_down, near_exp2, near_reciprocal, saturated
from retrograd.compiler.backends.vector import Value, copysign, fabs, fma, is_nvidias, select

LOG2E = 1.4426950408889634

# (exp(r) - 1 - r) / r² on |r| <= 0.35
EXP_TAIL = {
    "f32": (0.5, 0.16666536, 0.0416664705, 0.00836742949, 0.00139345706),
    "f64": (
        0.5, 0.16666666666666677, 0.041666666666666678, 0.0083333333333211693, 0.0013888888888877213,
        0.00019841269887766315, 2.4801587341554324e-5, 2.7557242173210113e-6, 2.7557258019298186e-7,
        2.5109860148580679e-8, 2.0919978522758761e-9,
    ),
}  # fmt: skip

# (2**r - 1) / r on |r| <= 1/2
EXP2_TAIL = {
    "f32": (0.693147182, 0.240226507, 0.0555035807, 0.00961807743, 0.00133916433, 0.000154563575),
    "f64": (
        0.69314718055994529, 0.24022650695910072, 0.055504108664822936, 0.0096181291076280484,
        0.0013333558146164316, 0.00015403530394056199, 1.5252734037022494e-5, 1.3215486312772803e-6,
        1.0177985498492046e-7, 7.055064418414828e-9, 4.4655668620986148e-10, 2.551622817412896e-11,
    ),
}  # fmt: skip

# (tanh(x) / x - 1) / x², in x² <= 0.55²
TANH_TAIL = {
    "f32": (-0.333333164, 0.133325562, -0.0538496114, 0.021061698, -0.00626119552),
    "f64": (
        -0.33333333333333298, 0.1333333333332658, -0.053968253963735363, 0.021869488385069545,
        -0.0088632325874142392, 0.0035920918768308856, -0.0014555417796034307, 0.00058843978511277455,
        -0.0002333688144796232, 8.3297059839882438e-5, -1.9482045253466255e-5,
    ),
}  # fmt: skip

# the same, in x² <= 0.65²
NEAR_TANH_TAIL = (-0.333332539, 0.133306757, -0.0536756366, 0.0204306785, -0.00547378603)

# (sinh(x) / x - 1) / x², in x² <= 1
SINH_TAIL = {
    "f32": (0.166666672, 0.00833331607, 0.0001984142, 2.79153824e-6),
    "f64": (
        0.16666666666666666, 0.0083333333333335188, 0.00019841269841133549, 2.7557319273633615e-6,
        2.5052098436572166e-8, 1.6060161067945112e-10, 7.5811356259776072e-13, 4.4209985133207077e-15,
    ),
}  # fmt: skip

EXP_RANGE = {"f32": (-104.0, 89.0), "f64": (-746.0, 710.0)}
"""Beyond, exp is 0 or inf."""

NEAR_EXP_MOST = 126
"""2**n is a normal f32 number for |n| up to this."""

LOG2E_LOW = 1.92596299e-8
"""What LOG2E lacks as an f32 number."""

EXP2_RANGE = {"f32": (-151.0, 128.0), "f64": (-1076.0, 1024.0)}
"""Beyond, exp2 is 0 or inf."""

EXPM1_FLOOR = {"f32": -18.0, "f64": -38.0}
"""Below, expm1 rounds to -1."""

TANH_CEILING = {"f32": 20.0, "f64": 40.0}
"""Where tanh(x / 2) rounds to 1."""


def nearest(x: Value, factor: float, offset: int) -> tuple[Value, Value]:
    """n = round(factor * x), as a float; and an integer whose low bits are n + offset."""
    shifter = FORMATS[x.kind].shifter + offset
    shifted = fma(x, factor, shifter)
    return shifted - shifter, shifted.bits()


def reduced(x: Value, n: Value) -> Value:
    """x - n ln 2."""
    high, low = FORMATS[x.kind].ln2
    return fma(n, -low, fma(n, -high, x))


def power_of_two(exponent: Value, kind: str) -> Value:
    """2**(exponent - bias), for an exponent within the normal range."""
    return (exponent << FORMATS[kind].fraction).as_float()


def scaled(x: Value, n: Value, exponent: Value) -> Value:
    """x * 2**(exponent - 2 bias), rounded once even where it is subnormal or overflows; n is the power as a
    float."""
    if has_avx512(x):
        return scalef(x, n)
    half = exponent.lshr(1)
    return x * power_of_two(half, x.kind) * power_of_two(exponent - half, x.kind)


def exp_reduced(r: Value) -> Value:
    """exp(r) for |r| <= 0.35."""
    return fma(fma(horner(r, EXP_TAIL[r.kind]), r, 1.0), r, 1.0)


def expm1_reduced(r: Value) -> Value:
    """exp(r) - 1 for |r| <= 0.35."""
    return fma(horner(r, EXP_TAIL[r.kind]), r * r, r)


def near_exp(x: Value) -> Value:
    """exp by the approximation of 2**r, 0 <= r < 1: n is kept where 2**n is a normal number, and what is
    beyond is left to r. That instruction takes any r, and the product is rounded once even where it is
    subnormal."""
    most, form = NEAR_EXP_MOST, FORMATS["f32"]
    kept = saturated(fma(x, LOG2E / (2 * most), 0.5))
    shifted = fma_down(kept, kept.same(2.0 * most), kept.same(form.shifter + (form.bias - most)))
    n = shifted - (form.shifter + form.bias)
    r = fma(x, LOG2E_LOW, fma(x, LOG2E, -n))
    return near_exp2(r) * power_of_two(shifted.bits(), "f32")


def exp(x: Value) -> Value:
    if is_nvidias(x):
        return near_exp(x)
    low, high = EXP_RANGE[x.kind]
    x = at_most(at_least(x, low), high)
    n, exponent = nearest(x, LOG2E, 2 * FORMATS[x.kind].bias)
    return scaled(exp_reduced(reduced(x, n)), n, exponent)


def exp2(x: Value) -> Value:
    low, high = EXP2_RANGE[x.kind]
    x = at_most(at_least(x, low), high)
    n, exponent = nearest(x, 1.0, 2 * FORMATS[x.kind].bias)
    r = x - n
    return scaled(fma(horner(r, EXP2_TAIL[x.kind]), r, 1.0), n, exponent)


def expm1(x: Value) -> Value:
    tiny = fabs(x) < 2.0 ** -(FORMATS[x.kind].fraction + 2)
    clamped = at_most(at_least(x, EXPM1_FLOOR[x.kind]), EXP_RANGE[x.kind][1])
    n, exponent = nearest(clamped, LOG2E, FORMATS[x.kind].bias - 1)
    half = power_of_two(exponent, x.kind)  # of 2**n, which itself may overflow
    return select(tiny, x, 2.0 * fma(expm1_reduced(reduced(clamped, n)), half, half - 0.5))


def exp_of_negative(x: Value) -> Value:
    """exp for x <= 0."""
    x = at_least(x, EXP_RANGE[x.kind][0])
    n, exponent = nearest(x, LOG2E, 2 * FORMATS[x.kind].bias)
    return scaled(exp_reduced(reduced(x, n)), n, exponent)


def sigmoid(x: Value) -> Value:
    """1 / (1 + exp(-x)), from exp(-|x|), which cannot overflow."""
    small = exp_of_negative(-fabs(x))
    return quotient(select(x < 0.0, small, 1.0), fast_two_sum(x.same(1.0), small))


def near_tanh(x: Value) -> Value:
    """tanh by the approximations of 2**x and 1 / x; the polynomial is for as much as they are too far off
    for."""
    size = fabs(x)
    z = x * x
    near = fma(horner(z, NEAR_TANH_TAIL) * z, size, size)
    far = 1.0 - 2.0 * near_reciprocal(near_exp2(size * (2.0 * LOG2E)) + 1.0)
    return copysign(select(size < 0.65, near, far), x)


def tanh(x: Value) -> Value:
    """A polynomial where |tanh x| is below 1/2, else 1 - 2 / (exp(2 |x|) + 1)."""
    if is_nvidias(x):
        return near_tanh(x)
    size = fabs(x)
    z = x * x
    near = fma(horner(z, TANH_TAIL[x.kind]) * z, size, size)
    twice = at_most(2.0 * size, TANH_CEILING[x.kind])
    n, exponent = nearest(twice, LOG2E, FORMATS[x.kind].bias)
    far = 1.0 - 2.0 / fma(exp_reduced(reduced(twice, n)), power_of_two(exponent, x.kind), 1.0)
    return copysign(select(size < 0.55, near, far), x)


def half_exp(x: Value) -> Value:
    """exp(x) / 2 for x >= 0, finite as long as its value is."""
    x = at_most(x, EXP_RANGE[x.kind][1] + 1.0)
    n, exponent = nearest(x, LOG2E, 2 * FORMATS[x.kind].bias - 1)
    return scaled(exp_reduced(reduced(x, n)), n - 1.0, exponent)


def cosh(x: Value) -> Value:
    half = half_exp(fabs(x))
    return half + 0.25 / half


def sinh(x: Value) -> Value:
    """A polynomial where |x| is below 1, else (exp(|x|) - exp(-|x|)) / 2."""
    size = fabs(x)
    z = x * x
    near = fma(horner(z, SINH_TAIL[x.kind]) * z, size, size)
    half = half_exp(size)
    return copysign(select(size < 1.0, near, half - 0.25 / half), x)
