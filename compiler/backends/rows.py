"""The code of every native row of the elementwise table: one line each, on scalars and vectors alike.

Functions proper (exp, sin, …) come from `math`; here is what takes an instruction or two.
"""

from __future__ import annotations

from collections.abc import Callable

from retrograd.compiler.backends.kinds import INTEGERS
from retrograd.compiler.backends.math import FUNCTIONS
from retrograd.compiler.backends.math.division import quotient
from retrograd.compiler.backends.math.floats import in_f32, widened
from retrograd.compiler.backends.math.incomplete import igamma, igammac
from retrograd.compiler.backends.math.orthogonal import POLYNOMIALS
from retrograd.compiler.backends.math.zeta import zeta
from retrograd.compiler.backends.repetition import repeated
from retrograd.compiler.backends.vector import (
    Value,
    ceil,
    copysign,
    fabs,
    floor,
    maximum,
    minimum,
    rint,
    select,
    sqrt,
    trunc,
)


def _where(condition: Value, a: Value, b: Value) -> Value:
    return select(condition, a, b)


def _magnitude(x: Value) -> Value:
    if not x.signed:
        return x
    return fabs(x) if x.floating else select(x < 0, -x, x)


def _sign(x: Value) -> Value:
    """-1, 0 or 1; NaN gives 0, as in PyTorch."""
    if x.kind == "i1":
        return x
    positive, negative = (x > 0).to(x.kind), (x < 0).to(x.kind)
    return positive - negative


def _ordered(x: Value) -> Value:
    """A bool as a number that compares as false < true: as one signed bit it would not."""
    return x.to("i8") if x.kind == "i1" else x


def _pow(x: Value, y: Value) -> Value:
    """x ** y; whole numbers by squaring, for as long as a lane has factors left, and cut to whole ones
    where y < 0."""
    if x.floating:
        return FUNCTIONS["pow"](x, y)
    one = x.same(1)
    unit = select(x.eq(-1), select((y & 1).ne(0), -1, one), x.eq(1).to(x.kind))

    def step(product: Value, square: Value, left: Value) -> tuple[Value, ...]:
        return product * select((left & 1).ne(0), square, 1), square * square, left.lshr(1)

    product, _, _ = repeated((one, x, select(y < 0, 0, y)), step, lambda product, square, left: left.ne(0))
    return select(y < 0, unit, product)


def _gcd(x: Value, y: Value) -> Value:
    """By Euclid's algorithm. The least number's magnitude is beyond the signed ones, so none has a sign."""

    def step(a: Value, b: Value) -> tuple[Value, ...]:
        return select(b.eq(0), a, b), a.urem(select(b.eq(0), 1, b))

    return repeated((_magnitude(x), _magnitude(y)), step, lambda a, b: b.ne(0))[0]


def _floor_divide(x: Value, y: Value) -> Value:
    """Of whole numbers, towards minus infinity; 0 where y is 0. LLVM's division traps there, and at -1
    for the least x."""
    if not x.signed:
        return select(y.eq(0), 0, quotient(x, select(y.eq(0), 1, y)))
    divisor = select(y.eq(0) | y.eq(-1), 1, y)
    found = quotient(x, divisor)
    across = (found * divisor).ne(x) & ((x ^ divisor) < 0)
    found = select(across, found - 1, found)
    return select(y.eq(0), 0, select(y.eq(-1), -x, found))


def _shift_left(x: Value, y: Value) -> Value:
    """x · 2**y; 0 where y is negative or beyond the bits, of which LLVM makes anything."""
    inside = _in_width(y)
    return select(inside, x << select(inside, y, 0), 0)


def _shift_right(x: Value, y: Value) -> Value:
    """x / 2**y, rounded down; where y is negative or beyond the bits only the sign is left."""
    most = INTEGERS[x.kind] - 1
    shifted = x >> select(_in_width(y), y, most)
    return shifted if x.signed else select(_in_width(y), shifted, 0)


def _in_width(y: Value) -> Value:
    """May a number of this kind be shifted by so much?"""
    below = y < INTEGERS[y.kind]
    return below & (y >= 0) if y.signed else below


_CODE: dict[str, Callable[..., Value]] = {
    "add": lambda x, y: x | y if x.kind == "i1" else x + y,
    "sub": lambda x, y: x - y,
    "mul": lambda x, y: x & y if x.kind == "i1" else x * y,
    "div": lambda x, y: x / y,
    "neg": lambda x: -x,
    "abs": _magnitude,
    "sign": _sign,
    "maximum": lambda x, y: x | y if x.kind == "i1" else maximum(x, y),
    "minimum": lambda x, y: x & y if x.kind == "i1" else minimum(x, y),
    "sqrt": sqrt,
    "floor": lambda x: floor(x) if x.floating else x,
    "ceil": lambda x: ceil(x) if x.floating else x,
    "trunc": lambda x: trunc(x) if x.floating else x,
    "round": lambda x: rint(x) if x.floating else x,
    "copysign": copysign,
    "lt": lambda x, y: _ordered(x) < _ordered(y),
    "le": lambda x, y: _ordered(x) <= _ordered(y),
    "gt": lambda x, y: _ordered(x) > _ordered(y),
    "ge": lambda x, y: _ordered(x) >= _ordered(y),
    "eq": lambda x, y: x.eq(y),
    "ne": lambda x, y: x.ne(y),
    "isnan": lambda x: x.isnan(),
    "where": _where,
    "logical_and": lambda x, y: x & y,
    "logical_or": lambda x, y: x | y,
    "logical_xor": lambda x, y: x ^ y,
    "logical_not": lambda x: ~x,
    "bitwise_and": lambda x, y: x & y,
    "bitwise_or": lambda x, y: x | y,
    "bitwise_xor": lambda x, y: x ^ y,
    "bitwise_not": lambda x: ~x,
    "bitwise_left_shift": _shift_left,
    "bitwise_right_shift": _shift_right,
    **FUNCTIONS,
    **POLYNOMIALS,
    "gamma_p": widened(igamma),
    "gamma_q": widened(igammac),
    "zeta": widened(zeta),
    "floor_divide": _floor_divide,
    "pow": _pow,
    "gcd": _gcd,
}

ROWS: dict[str, Callable[..., Value]] = {name: in_f32(code) for name, code in _CODE.items()}
"""Halves are computed in f32 and rounded once; what only chooses by a condition (`where`) moves them as they
are."""
