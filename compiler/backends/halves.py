"""Half precision by arithmetic on bits, for targets without an instruction that converts it.

`Conversion.widen` makes the float32 of a half, `Conversion.narrow` the nearest half of a float32, ties to
even; NaN stays NaN. A bfloat16 is the upper half of a float32. To convert a further format, add its row to
`BY_ARITHMETIC`.

Those of float16 are after F. Giesen's "float->half variants", 2016.
"""

from __future__ import annotations

from retrograd.compiler.backends.cpu import Target
from retrograd.compiler.backends.means import Conversion
from retrograd.compiler.backends.vector import Value, select

_QUIET, _INFINITE = 0x0040_0000, 0x7F80_0000


def _widen_f16(x: Value) -> Value:
    bits = x.bits().unsigned("i32")
    magnitude = (bits & 0x7FFF) << 13
    finite = (magnitude.as_float() * 2.0**112).bits()
    special = magnitude | (bits & 0x03FF).ne(0).to("i32") << 22 | _INFINITE
    return (select((bits & 0x7C00).eq(0x7C00), special, finite) | (bits & 0x8000) << 16).as_float()


def _narrow_f16(x: Value) -> Value:
    bits = x.bits()
    size = bits & 0x7FFF_FFFF
    tiny = (size.as_float() + 0.5).bits() - 0x3F00_0000
    normal = (size + (size.lshr(13) & 1) - 0x37FF_F001).lshr(13)
    special = select(size > _INFINITE, size.lshr(13) & 0x03FF | 0x7E00, 0x7C00)
    magnitude = select(size >= 0x4780_0000, special, select(size < 0x3880_0000, tiny, normal))
    return (magnitude | bits.lshr(16) & 0x8000).to("i16").as_float()


def _widen_bf16(x: Value) -> Value:
    return (x.bits().unsigned("i32") << 16).as_float()


def _narrow_bf16(x: Value) -> Value:
    bits = x.bits()
    nearest = bits + (bits.lshr(16) & 1) + 0x7FFF
    return select(x.isnan(), bits | _QUIET, nearest).lshr(16).to("i16").as_float("bf16")


def rounded_to_tf32(x: Value) -> Value:
    """The nearest f32 with 10 bits of fraction, ties away from zero: as `cvt.rna.tf32` of PTX."""
    bits = x.bits()
    return select(x.isnan(), bits | _QUIET, bits + 0x1000 & ~0x1FFF).as_float()


def _narrow_bfloat(x: Value) -> Value:
    rounded = x.block.convert("fptrunc", x, "bfloat")
    return x.block.convert("bitcast", rounded, "bf16")


BY_ARITHMETIC = {
    "f16": Conversion(_widen_f16, _narrow_f16),
    "bf16": Conversion(_widen_bf16, _narrow_bf16),
}
"""By the kind of half."""


def conversions(target: Target) -> dict[str, Conversion]:
    """Those of halves that the processor does not convert by an instruction."""
    converted = {"f16"} if target.architecture != "x86_64" or target.has("f16c") else set()
    return {kind: c for kind, c in BY_ARITHMETIC.items() if kind not in converted}


BY_BFLOAT = {"bf16": Conversion(_widen_bf16, _narrow_bfloat)}
"""For a target that LLVM knows to round to its `bfloat`; to widen one is a shift anywhere."""
