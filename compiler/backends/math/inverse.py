"""Inverse circular functions: atan, atan2, asin, acos.

atan brings its argument to |t| <= tan(pi/8) by turning through pi/4 or pi/2, with a single division. asin
and acos beyond 1/2 go through the half-angle, a square root. The coefficients are printed by
`benchmarks/fit_polynomials.py`.
"""

from __future__ import annotations

from retrograd.compiler.backends.math.floats import horner
from retrograd.compiler.backends.vector import Value, copysign, fabs, fma, select, sqrt

# (atan(t) / t - 1) / t², in t² <= tan(pi/8)²
ATAN_TAIL = {
    "f32": (-0.333333135, 0.199983746, -0.142417729, 0.105810307, -0.0604605414),
    "f64": (
        -0.33333333333333198, 0.19999999999952259, -0.14285714279971007, 0.11111110769088776,
        -0.090908972792711873, 0.076920508061906478, -0.066629888821055305, 0.058470017604301455,
        -0.050351164372939128, 0.037954011601638596, -0.017782192118468487,
    ),
}  # fmt: skip

# (asin(t) / t - 1) / t², in t² <= 1/4
ASIN_TAIL = {
    "f32": (0.166667521, 0.0749532431, 0.0454663634, 0.024201015, 0.0421282947),
    "f64": (
        0.16666666666666749, 0.074999999999733696, 0.044642857172449535, 0.030381942802511545,
        0.022372212501128742, 0.017351654164025294, 0.013980339477285247, 0.011402683854915588,
        0.010759896444272336, 0.0037807406030373816, 0.02153205022120008, -0.02075770170041007,
        0.032481522962426838,
    ),
}  # fmt: skip

PI = {"f32": (3.14159274, -8.74227766e-8), "f64": (3.141592653589793, 1.2246467991473532e-16)}
"""pi in two words."""

TAN_PI_8, TAN_3_PI_8 = 0.41421356237309503, 2.414213562373095


def angle(y: Value, x: Value) -> Value:
    """atan(y / x) for y, x >= 0, not both 0 or infinite."""
    middle, steep = y > x * TAN_PI_8, y > x * TAN_3_PI_8
    above = select(steep, -x, select(middle, y - x, y))
    below = select(steep, y, select(middle, y + x, x))
    t = above / below
    z = t * t
    high, low = PI[x.kind]
    turned = fma(
        horner(z, ATAN_TAIL[x.kind]) * z, t, select(steep, low / 2, select(middle, t.same(low / 4), 0.0))
    )
    return select(steep, high / 2, select(middle, t.same(high / 4), 0.0)) + (t + turned)


def atan(x: Value) -> Value:
    return copysign(angle(fabs(x), x.same(1.0)), x)


def atan2(y: Value, x: Value) -> Value:
    """The angle of the point (x, y), in [-pi, pi]."""
    across, up = fabs(x), fabs(y)
    larger = select(up > across, up, across)
    scale = select(larger > 2.0**1000, x.same(2.0**-4), select(larger < 2.0**-900, x.same(2.0**100), 1.0))
    alike = up.eq(across) & (up.eq(0.0) | up.eq(float("inf")))  # 0 / 0 or inf / inf
    first = angle(
        select(alike, up.eq(float("inf")).to(x.kind), up * scale), select(alike, 1.0, across * scale)
    )
    high, low = PI[x.kind]
    backward = x.bits() < 0
    return copysign(select(backward, high - (first - low), first), y)


def asin(x: Value) -> Value:
    """Beyond 1/2: pi/2 - 2 asin(sqrt((1 - |x|) / 2))."""
    size = fabs(x)
    steep = size > 0.5
    z = select(steep, fma(size, -0.5, 0.5), size * size)
    t = select(steep, sqrt(z), size)
    cube = horner(z, ASIN_TAIL[x.kind]) * z
    high, low = PI[x.kind]
    far = high / 2 - (2.0 * t + fma(2.0 * t, cube, -low / 2))
    return copysign(select(steep, far, fma(cube, t, t)), x)


def acos(x: Value) -> Value:
    """Beyond 1/2: 2 asin(sqrt((1 - |x|) / 2)), less than pi by it for negative x."""
    size = fabs(x)
    steep = size > 0.5
    z = select(steep, fma(size, -0.5, 0.5), size * size)
    t = select(steep, sqrt(z), x)
    cube = horner(z, ASIN_TAIL[x.kind]) * z
    high, low = PI[x.kind]
    flat = high / 2 - (t - fma(-t, cube, low / 2))
    far = fma(cube, 2.0 * t, 2.0 * t)
    return select(steep, select(x < 0.0, high - (far - low), far), flat)
