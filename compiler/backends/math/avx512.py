"""Instructions of AVX-512 that do the work of several: a power of two, a logarithm's special values."""

from __future__ import annotations

from retrograd.compiler.backends.kinds import FLOATS
from retrograd.compiler.backends.lanes import joined, pieces
from retrograd.compiler.backends.vector import Value

_AVX512 = {"f32": (16, "ps"), "f64": (8, "pd")}
"""Lanes of a register, and the suffix of its instructions."""

_AT_LOGARITHM = 0x03530422
"""`fixup`'s answers for each kind of number, from the lowest four bits on: NaN where it is NaN (2), -inf at 0
(4), the value at 1 (0), NaN at -inf (3), inf at inf (5), NaN below 0 (3), the value above 0 (0). See Intel's
manual, VFIXUPIMMPS."""


def has_avx512(x: Value) -> bool:
    """Do the following functions take values like this: of the target's, and of a register at least?"""
    return x.block.means.avx512 and x.kind in _AVX512 and x.lanes >= _AVX512[x.kind][0]


def scalef(x: Value, n: Value) -> Value:
    """x * 2**n for whole n, rounded once."""
    lanes = _AVX512[x.kind][0]
    whole = x.block.constant(x.kind, lanes, 0)
    return _in_registers("scalef", x, n, (whole.type, whole.ref), (f"i{lanes}", "-1"), ("i32", "4"))


def logarithm_fixup(logarithm: Value, x: Value) -> Value:
    """The logarithm of x where x is positive and finite, else what C99's annex F says."""
    lanes = _AVX512[x.kind][0]
    table = x.block.constant(f"i{FLOATS[x.kind]}", lanes, _AT_LOGARITHM)
    rest = (table.type, table.ref), ("i32", "0"), (f"i{lanes}", "-1"), ("i32", "4")
    return _in_registers("fixupimm", logarithm, x, *rest)


def _in_registers(instruction: str, x: Value, y: Value, *rest: tuple[str, str]) -> Value:
    """A masked instruction of two operands, register by register; the rest are constants: type and value.
    The last of them, 4, says that rounding is as usual."""
    lanes, suffix = _AVX512[x.kind]
    name, block = f"llvm.x86.avx512.mask.{instruction}.{suffix}.512", x.block
    constants = ", ".join(map(" ".join, rest))
    parts = [
        block.pure(f"call {a.type} @{name}({a.type} {a.ref}, {b.type} {b.ref}, {constants})", x.kind, lanes)
        for a, b in zip(pieces(x, lanes), pieces(y, lanes), strict=True)
    ]
    own = parts[0].type
    block.declare(name, f"declare {own} @{name}({', '.join([own, own, *(kind for kind, _ in rest)])})")
    return joined(parts)
