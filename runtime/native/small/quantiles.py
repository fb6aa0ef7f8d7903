"""The kernels of how gamma and beta numbers move with a concentration, in the native language.

In flow concentrations, numbers, and what of these their integrals take besides; out flows 0. The integrals
and their places are those of `compiler/ops/incomplete.py`.
"""

from __future__ import annotations

from retrograd.compiler.native.language import (
    Array,
    Record,
    cast,
    chosen,
    native,
    reduce,
    select,
    sqrt,
    take,
)
from retrograd.runtime.native.small.lanes import LANES, VA, A

_FAR = 700.0
"""Beyond, nothing is left of what decays upwards."""


@chosen
def exp(x: VA) -> VA: ...


@chosen
def expm1(x: VA) -> VA: ...


@chosen
def log1p(x: VA) -> VA: ...


class Sizes(Record):
    count: int
    places: int
    """A multiple of a vector's lanes."""


@native
def gamma_slope(arrays: Array[Array[A]], sizes: Sizes) -> int:
    """dx/da. The arrays: these, a, x, the levels log x - digamma(a), the places of the integral and their
    weights."""
    for k in range(sizes.count):
        a, x, level = arrays[1][k], arrays[2][k], arrays[3][k]
        scale = 1.0 / (a if a < 1.0 and x < 1.0 else max(abs(a - x), sqrt(x)))
        way = -1.0 if x < max(a, 1.0) else 1.0
        total = cast(VA, 0.0)
        for at in range(0, sizes.places, LANES):
            w = take(VA, arrays[4] + at) * scale
            density = exp(w * way * a - expm1(w * way) * x)
            share = take(VA, arrays[5] + at) * scale * density * (w + level * way)
            share = select(share == share, share, cast(VA, 0.0))
            total = total + (share if way < 0.0 else select(w < _FAR, share, cast(VA, 0.0)))
        arrays[0][k] = x * reduce(lambda one, other: one + other, total)
    return 0


@native
def beta_slope(arrays: Array[Array[A]], sizes: Sizes) -> int:
    """dx/da. The arrays: these, a, b, x, log x, log(1 - x), the levels digamma(a + b) - digamma(a), the
    places of the integral and their weights. Of the two parts the lesser is integrated, from x on."""
    for k in range(sizes.count):
        a, b, x, level = arrays[1][k], arrays[2][k], arrays[3][k], arrays[6][k]
        whole, y = a + b, 1.0 - x
        low = x < a / whole
        share, rest = x if low else y, arrays[5][k] if low else arrays[4][k]
        decay, power = a if low else b, b - 1.0 if low else a - 1.0
        width = max(abs(decay - whole * share) / (1.0 - share), sqrt(share * whole))
        scale = 1.0 / width
        total = cast(VA, 0.0)
        for at in range(0, sizes.places, LANES):
            w = take(VA, arrays[7] + at) * scale
            logarithm = log1p(exp(-w) * -share)
            density = exp((logarithm - rest) * power - w * decay)
            turned = w - (arrays[4][k] + level) if low else logarithm + level
            found = take(VA, arrays[8] + at) * scale * density * turned
            total = total + select(found == found, found, cast(VA, 0.0))
        arrays[0][k] = share * reduce(lambda one, other: one + other, total)
    return 0
