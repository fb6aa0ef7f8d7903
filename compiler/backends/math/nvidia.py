"""Instructions of NVIDIA's GPUs that do the work of several: a power of two and a reciprocal, nearly, and
numbers kept between 0 and 1.

They are for what `is_nvidias` holds of, flush subnormal numbers to 0, and are called number by number. How
far they are off is in the PTX ISA (chapter 9.7.3, `ex2` and `rcp`). With them, over all 2**32 numbers on an
H200, tanh is within 1.8 units in the last place, and exp within `NEAR_BOUNDS`: more than its bound in
`math.TABLE`. Of that, rounding the argument of 2**x makes at most 0.3; whatever corrected the value after it
would be rounded once more, by up to half a unit.
"""

from __future__ import annotations

from retrograd.compiler.backends.lanes import joined, pieces
from retrograd.compiler.backends.vector import Value

NEAR_BOUNDS = {"exp": 2.1}
"""The bounds in f32 that are not those of `math.TABLE`."""


def near_exp2(x: Value) -> Value:
    """2**x."""
    return _one_by_one("ex2.approx.ftz.f", x)


def near_reciprocal(x: Value) -> Value:
    """1 / x."""
    return _one_by_one("rcp.approx.ftz.f", x)


def saturated(x: Value) -> Value:
    """x between 0 and 1, 0 for NaN; done with the operation that x comes from."""
    return _one_by_one("saturate.f", x)


def _one_by_one(instruction: str, x: Value) -> Value:
    name, block = f"llvm.nvvm.{instruction}", x.block
    block.declare(name, f"declare float @{name}(float)")
    return joined([block.pure(f"call float @{name}(float {part.ref})", "f32") for part in pieces(x, 1)])
