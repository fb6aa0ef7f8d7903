"""Circular functions: sin, cos, tan.

An angle is x = n pi/2 + r, |r| <= pi/4. Usual angles take Cody and Waite's way, n pi/2 in three words; if
any lane is huge, Payne and Hanek's is taken aside. sin and cos of r are polynomials, of which the quadrant
chooses one. The inverses bring their argument to |t| <= tan(pi/8), or to asin of at most 1/2 by a square
root. The coefficients are printed by `benchmarks/fit_polynomials.py`.
"""

from __future__ import annotations

from retrograd.compiler.backends.kinds import FLOATS
from retrograd.compiler.backends.math.aside import ASIDES, HALF_PI, Aside, amended, reduce_huge
from retrograd.compiler.backends.math.floats import (
    FORMATS,
    Words,
    fast_two_sum,
    horner,
    quotient,
    two_product,
    two_sum,
)  # fmt: skip
from retrograd.compiler.backends.vector import Value, fabs, fma, select

TWO_OVER_PI = 0.6366197723675814

PARTS = {
    "f32": (1.57079625, 7.54978942e-8, 5.39030253e-15),
    "f64": (*HALF_PI, -1.4973849048591698e-33),
}
"""pi / 2 in three words; those of f32 are rounded towards 0: with none below 0, -0 keeps its sign."""

HUGE = {"f32": 1e5, "f64": 1e9}
"""Beyond, three words of pi / 2 are too few."""

# (sin(r) / r - 1) / r², in r² <= (pi/4)²
SIN_TAIL = {
    "f32": (-0.166666538, 0.00833211001, -0.000195085624),
    "f64": (
        -0.16666666666666666, 0.0083333333333331025, -0.00019841269841060642, 2.7557319131761911e-6,
        -2.5052086759067321e-8, 1.6056364331773977e-10, -7.4912354883590088e-13,
    ),
}  # fmt: skip

# (cos(r) - 1 + r²/2) / r⁴, in r² <= (pi/4)²
COS_TAIL = {
    "f32": (0.0416666456, -0.00138873025, 2.44308812e-5),
    "f64": (
        0.041666666666666664, -0.0013888888888888443, 2.4801587301254814e-5, -2.7557319098972137e-7,
        2.0876731495712291e-9, -1.1467995781557887e-11, 4.6452991988185399e-14,
    ),
}  # fmt: skip


def reduced(x: Value) -> tuple[Value, Value, Value]:
    """r, what r lacks (in f32: nothing that counts), and an integer whose low two bits are the quadrant."""
    shifter, (first, second, third) = FORMATS[x.kind].shifter, PARTS[x.kind]
    shifted = fma(x, TWO_OVER_PI, shifter)
    n = shifted - shifter
    r = fma(n, -first, x)  # exact
    if x.kind == "f32":
        r, quadrant = amended("huge_angle", (x,), (fma(n, -third, fma(n, -second, r)), shifted.bits()))
        return r, x.same(0.0), quadrant
    product, beyond = two_product(n, n.same(second))
    high, low = two_sum(r, -product)
    usual = *fast_two_sum(high, fma(n, -third, low - beyond)), shifted.bits()
    r, lack, quadrant = amended("huge_angle", (x,), usual)
    return r, lack, quadrant


def _huge_angle(x: Value) -> tuple[Value, ...]:
    high, low, quadrant = reduce_huge(x.to("f64"))
    return (high.to("f32"), quadrant.to("i32")) if x.kind == "f32" else (high, low, quadrant)


ASIDES["huge_angle"] = Aside(lambda x: fabs(x) > HUGE[x.kind], _huge_angle)


def sin_reduced(r: Value, lack: Value) -> Value:
    if r.kind == "f32":
        z = r * r
        return fma(fma(horner(z, SIN_TAIL["f32"]), z, 0.0), r, r)  # + 0, so that -0 stays what it is
    return r + sin_rest(r, lack)


def sin_rest(r: Value, lack: Value) -> Value:
    """sin(r + lack) - r, for f64."""
    z = r * r
    return fma(horner(z, SIN_TAIL["f64"]) * z, r, fma(lack * -0.5, z, lack))


def cos_reduced(r: Value, lack: Value) -> Value:
    if r.kind == "f32":
        z = r * r
        return fma(fma(horner(z, COS_TAIL["f32"]), z, -0.5), z, 1.0)
    most, rest = cos_parts(r, lack)
    return most + rest


def cos_parts(r: Value, lack: Value) -> Words:
    """cos(r + lack) as 1 - r² / 2 and the rest, for f64."""
    z = r * r
    with r.block.exact():
        most = fma(z, -0.5, 1.0)
        rounding = fma(z, -0.5, 1.0 - most)
    return most, fma(z * z, horner(z, COS_TAIL["f64"]), fma(-r, lack, rounding))


def signed(x: Value, quadrant: Value) -> Value:
    """-x in the third and fourth quadrant."""
    bits = FLOATS[x.kind]
    return (x.bits() ^ (quadrant << (bits - 2) & -1 << (bits - 1))).as_float()


def sin(x: Value) -> Value:
    r, lack, quadrant = reduced(x)
    odd = (quadrant & 1).ne(0)
    found = signed(select(odd, cos_reduced(r, lack), sin_reduced(r, lack)), quadrant)
    return found if x.kind == "f32" else select(x.eq(0.0), x, found)


def cos(x: Value) -> Value:
    r, lack, quadrant = reduced(x)
    odd = (quadrant & 1).ne(0)
    return signed(select(odd, -sin_reduced(r, lack), cos_reduced(r, lack)), quadrant)


def tan(x: Value) -> Value:
    """sin / cos in two words, the quotient turned over in odd quadrants; written for f64."""
    r, lack, quadrant = reduced(x)
    sine, cosine = fast_two_sum(r, sin_rest(r, lack)), fast_two_sum(*cos_parts(r, lack))
    odd = (quadrant & 1).ne(0)
    above, above_low = (select(odd, -b, a) for a, b in zip(sine, cosine))
    below, below_low = (select(odd, a, b) for a, b in zip(sine, cosine))
    return select(x.eq(0.0), x, quotient(above, (below, below_low), above_low))
