"""The kernel of how gamma numbers move with their concentration, in the native language.

In flow concentrations, numbers, and for each the logarithm of the number less digamma of the concentration;
out flows 0. The integral and its places are those of `compiler/ops/incomplete.py`.
"""

from __future__ import annotations

from typing import Literal

from retrograd.compiler.native.language import (
    Array,
    Float32,
    Record,
    Vector,
    cast,
    chosen,
    native,
    reduce,
    select,
    sqrt,
    take,
)

A = Float32
VA = Vector[A, Literal[16]]
LANES = 16
"""An instance has its own."""
_FAR = 700.0
"""Beyond, nothing is left of what decays upwards."""


@chosen
def exp(x: VA) -> VA: ...


@chosen
def expm1(x: VA) -> VA: ...


class Sizes(Record):
    count: int
    places: int
    """A multiple of a vector's lanes."""


@native
def gamma_slope(arrays: Array[Array[A]], sizes: Sizes) -> int:
    """dx/da. The arrays: these, a, x, the levels, the places of the integral and their weights."""
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
