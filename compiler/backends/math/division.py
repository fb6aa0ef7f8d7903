"""Division with remainder: fmod (the sign of x, as C's) and remainder (the sign of y, as Python's %).

Both are exact. x - trunc(x / y) y is one fused operation as long as the quotient fits a significand; greater
quotients are divided aside, in integers. Vectors of whole numbers, for which few processors have a division,
are divided as floats.
"""

from __future__ import annotations

from retrograd.compiler.backends.kinds import INTEGERS
from retrograd.compiler.backends.math.aside import ASIDES, Aside, amended
from retrograd.compiler.backends.math.floats import FORMATS, INF
from retrograd.compiler.backends.vector import Value, copysign, fabs, fma, select, trunc


def fmod(x: Value, y: Value) -> Value:
    """x less that multiple of y, of x's sign, which leaves less than |y|. Integers: 0 where y is 0."""
    if not x.floating:
        divisor = select(y.eq(0) | y.eq(-1) if x.signed else y.eq(0), 1, y)
        return x - quotient(x, divisor) * divisor
    size, unit = fabs(x), fabs(y)
    left = fma(-_quotient(size, unit), unit, size)
    left = select(left < 0.0, left + unit, left)
    left = select(unit.eq(INF) & (size < INF), size, left)
    (left,) = amended("huge_quotient", (size, unit), (left,))
    return copysign(left, x)


def quotient(x: Value, y: Value) -> Value:
    """x / y of whole numbers, towards zero; y is neither 0 nor -1. Of numbers below 2**p, with a significand
    of p bits, the nearest float of x / y is as far from zero as the next whole number only if x / y is."""
    if x.lanes == 1 or y.is_constant or x.block.means.nvidia:
        return x / y
    bits = INTEGERS[x.kind]
    wide, whole = ("f32", "i32") if bits < 32 else ("f64", x.kind)
    near = x.block.convert("fptosi", x.to(wide) / y.to(wide), whole).to(x.kind)
    if bits < 64:
        return near
    beyond = (x + 2**53).lshr(54).ne(0)
    return x.block.rarely("great_dividend", beyond, (near,), lambda: (x / y,))[0]


def _quotient(size: Value, unit: Value) -> Value:
    """Exact, or one too large."""
    return trunc(size / unit)


def _is_huge(size: Value, unit: Value) -> Value:
    """Has the quotient more digits than a significand?"""
    return (_quotient(size, unit) > 2.0 ** FORMATS[size.kind].fraction) & (size < INF) & (unit > 0.0)


def remainder(x: Value, y: Value) -> Value:
    """As Python's %: the result has the sign of y, zero too."""
    left = fmod(x, y)
    if not x.floating:
        return select(left.ne(0) & ((left ^ y) < 0), left + y, left)
    across = left.ne(0.0) & ((left < 0.0) ^ (y < 0.0))
    return select(left.eq(0.0), copysign(0.0, y), select(across, left + y, left))


def _fmod_huge(x: Value, y: Value) -> tuple[Value, ...]:
    """Long division in base 2**11 of scalars x > y > 0: significands as integers, remainder by remainder.

    Other operands give nothing of use, but no trap either.
    """
    block = x.block
    exponent_x, significand_x = _integer(x)
    exponent_y, significand_y = _integer(y)
    significand_y = select(significand_y.eq(0), 1, significand_y)
    before, loop, after = block.here, block.fresh("digits"), block.fresh("done")
    first = exponent_x - exponent_y
    start = block.pure(f"urem i64 {significand_x.ref}, {significand_y.ref}", "i64")
    block.do(f"br label %{loop}")
    block.label(loop)
    next_left, next_count = (Value(block, f"%{block.fresh('next')}", "i64", 1) for _ in range(2))
    left = block.emit(f"phi i64 [ {start.ref}, %{before} ], [ {next_left.ref}, %{loop} ]", "i64")
    count = block.emit(f"phi i64 [ {first.ref}, %{before} ], [ {next_count.ref}, %{loop} ]", "i64")
    digit = select(count < 0, 0, select(count < 11, count, 11))
    block.do(f"{next_left.ref} = urem i64 {(left << digit).ref}, {significand_y.ref}")
    block.do(f"{next_count.ref} = sub i64 {count.ref}, {digit.ref}")
    more = next_count > 0
    block.do(f"br i1 {more.ref}, label %{loop}, label %{after}")
    block.label(after)
    return (next_left.to("f64") * 2.0**-52 * (exponent_y << 52).as_float(),)


ASIDES["huge_quotient"] = Aside(_is_huge, lambda x, y: (_fmod_huge(x.to("f64"), y.to("f64"))[0].to(x.kind),))


def _integer(x: Value) -> tuple[Value, Value]:
    """e and m with x = m 2**(e - 1075), for a positive f64, e at least 1."""
    field, fraction = x.bits().lshr(52), x.bits() & (1 << 52) - 1
    subnormal = field.eq(0)
    return select(subnormal, 1, field), select(subnormal, fraction, fraction | 1 << 52)
