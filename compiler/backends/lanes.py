"""Values with their lanes put elsewhere: spread, cut, joined, reversed, transposed; one shuffle each."""

from __future__ import annotations

from collections.abc import Sequence

from retrograd.compiler.backends.kinds import LLVM_TYPES
from retrograd.compiler.backends.vector import Value


def splat(value: Value, lanes: int) -> Value:
    """A scalar in every one of `lanes` lanes."""
    if lanes == 1:
        return value
    if not value.ref.startswith("%"):
        return Value(value.block, f"splat ({value.type} {value.ref})", value.kind, lanes)
    block, vector = value.block, f"<{lanes} x {LLVM_TYPES[value.kind]}>"
    one = block.pure(f"insertelement {vector} poison, {value.type} {value.ref}, i64 0", value.kind, lanes)
    mask = f"<{lanes} x i32> zeroinitializer"
    return block.pure(f"shufflevector {vector} {one.ref}, {vector} poison, {mask}", value.kind, lanes)


def halves(value: Value) -> tuple[Value, Value]:
    """The lower and the upper half of the lanes."""
    block, half = value.block, value.lanes // 2
    parts = []
    for start in (0, half):
        mask = ", ".join(f"i32 {start + k}" for k in range(half))
        if half == 1:
            part = block.pure(f"extractelement {value.type} {value.ref}, i64 {start}", value.kind)
        else:
            text = f"shufflevector {value.type} {value.ref}, {value.type} poison, <{half} x i32> <{mask}>"
            part = block.pure(text, value.kind, half)
        parts.append(part)
    return parts[0], parts[1]


def backwards(value: Value) -> Value:
    """The lanes in reverse order."""
    return chosen(value, value, range(value.lanes - 1, -1, -1))


def joined(parts: Sequence[Value]) -> Value:
    """The lanes of several like vectors or numbers, a power of two of them, in one."""
    if len(parts) == 1:
        return parts[0]
    if parts[0].lanes == 1:
        return _side_by_side(parts)
    half = len(parts) // 2
    low, high = joined(parts[:half]), joined(parts[half:])
    mask = ", ".join(f"i32 {k}" for k in range(2 * low.lanes))
    text = f"shufflevector {low.type} {low.ref}, {high.type} {high.ref}, <{2 * low.lanes} x i32> <{mask}>"
    return low.block.pure(text, low.kind, 2 * low.lanes)


def _side_by_side(numbers: Sequence[Value]) -> Value:
    block, kind, count = numbers[0].block, numbers[0].kind, len(numbers)
    found = Value(block, "poison", kind, count)
    for k, x in enumerate(numbers):
        text = f"insertelement {found.type} {found.ref}, {x.type} {x.ref}, i64 {k}"
        found = block.pure(text, kind, count)
    return found


def pieces(value: Value, lanes: int) -> list[Value]:
    """The value in vectors of so many lanes, a power of two."""
    if value.lanes <= lanes:
        return [value]
    low, high = halves(value)
    return [*pieces(low, lanes), *pieces(high, lanes)]


def transposed(rows: list[Value]) -> list[Value]:
    """As many vectors as each has lanes, a power of two, exchanged with their lanes: halves, then
    quarters, …"""
    rows, half = list(rows), len(rows) // 2
    while half:
        for k in range(len(rows)):
            if not k & half:
                rows[k], rows[k + half] = _exchanged(rows[k], rows[k + half], half)
        half //= 2
    return rows


def _exchanged(a: Value, b: Value, half: int) -> tuple[Value, Value]:
    """Every second run of `half` lanes of `a` exchanged with those of `b` before them."""
    lanes = range(a.lanes)
    first = [k if not k & half else a.lanes + k - half for k in lanes]
    second = [k + half if not k & half else a.lanes + k for k in lanes]
    return chosen(a, b, first), chosen(a, b, second)


def chosen(a: Value, b: Value, lanes: Sequence[int]) -> Value:
    """A vector of the lanes with these numbers: those of `a`, then those of `b`."""
    mask = ", ".join(f"i32 {k}" for k in lanes)
    text = f"shufflevector {a.type} {a.ref}, {b.type} {b.ref}, <{len(lanes)} x i32> <{mask}>"
    return a.block.pure(text, a.kind, len(lanes))
