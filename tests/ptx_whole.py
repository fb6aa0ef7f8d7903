"""What PTX's instructions on whole numbers and bits compute. The rows are named in `ptx_arithmetic.TABLE`."""

from __future__ import annotations

from typing import Any

import numpy as np
from ptx_types import FLOATS, NUMPY, Modifiers, Operation, Unknown

from retrograd.compiler.ir.graph import Array


def quotient(a: Array, b: Array) -> Array:
    """Towards zero; what division by zero gives is not said, so nobody may depend on it."""
    safe = np.where(b == 0, np.ones_like(b), b)
    return np.where(b == 0, ~np.zeros_like(b), (a - np.fmod(a, safe)) // safe)


def remainder(a: Array, b: Array) -> Array:
    safe = np.where(b == 0, np.ones_like(b), b)
    return np.where(b == 0, a, np.fmod(a, safe))


def _high(a: Array, b: Array) -> Array:
    """The upper half of a product."""
    a, b = np.asarray(a), np.asarray(b)
    if a.itemsize < 8:
        wide = f"{a.dtype.kind}{2 * a.itemsize}"
        return (a.astype(wide) * b.astype(wide) >> (8 * a.itemsize)).astype(a.dtype)
    x, y, low, half = a.view("u8"), b.view("u8"), np.uint64(0xFFFFFFFF), np.uint64(32)
    cross = (x & low) * (y & low) >> half
    first = (x >> half) * (y & low) + cross
    second = (x & low) * (y >> half) + (first & low)
    high = (x >> half) * (y >> half) + (first >> half) + (second >> half)
    if a.dtype.kind == "i":
        high = high - np.where(a < 0, y, 0).astype("u8") - np.where(b < 0, x, 0).astype("u8")
    return high.view(a.dtype)


def _as(held: np.dtype[Any], x: Array) -> Array:
    return np.asarray(x).astype(held)


def product(modifiers: Modifiers) -> Operation:
    *others, kind = modifiers
    if kind in FLOATS:
        raise Unknown
    match others:
        case ["lo"]:
            return Operation(kind, (kind, kind), np.multiply)
        case ["hi"]:
            return Operation(kind, (kind, kind), _high)
        case ["wide"]:
            result = f"{kind[0]}{2 * int(kind[1:])}"
            wide = NUMPY[result]
            return Operation(result, (kind, kind), lambda a, b: _as(wide, a) * _as(wide, b))
    raise Unknown


def product_and_sum(modifiers: Modifiers) -> Operation:
    inner = product(modifiers)
    return Operation(inner.result, (*inner.operands, inner.result), lambda a, b, c: inner.compute(a, b) + c)


def shift(left: bool) -> Any:
    def build(modifiers: Modifiers) -> Operation:
        (kind,) = modifiers
        move = np.left_shift if left else np.right_shift
        most = NUMPY[kind].itemsize * 8

        def compute(a: Array, by: Array) -> Array:
            return move(a, np.minimum(by, np.uint32(most)).astype(NUMPY[kind]))

        return Operation(kind, (kind, "u32"), compute)

    return build


def funnel_shift(modifiers: Modifiers) -> Operation:
    side, mode, kind = modifiers
    if kind != "b32" or side not in "lr" or mode not in ("wrap", "clamp"):
        raise Unknown

    def compute(low: Array, high: Array, by: Array) -> Array:
        n = (by & np.uint32(31) if mode == "wrap" else np.minimum(by, np.uint32(32))).astype("u8")
        both = np.asarray(high).astype("u8") << np.uint64(32) | np.asarray(low).astype("u8")
        moved = both << n >> np.uint64(32) if side == "l" else both >> n
        return moved.astype("u4")

    return Operation("b32", ("b32", "b32", "u32"), compute)


def field(modifiers: Modifiers) -> Operation:
    """Bits cut out, the sign extended."""
    (kind,) = modifiers
    width = NUMPY[kind].itemsize * 8

    def compute(a: Array, position: Array, count: Array) -> Array:
        start, n = (np.asarray(x).astype("u8") & np.uint64(255) for x in (position, count))
        stop = np.minimum(start + n, np.uint64(width))
        unsigned = np.asarray(a).view(f"u{width // 8}")
        taken = np.where(start >= width, 0, unsigned << (np.uint64(width) - stop).astype(unsigned.dtype))
        moved = taken.astype(unsigned.dtype).view(NUMPY[kind]) >> (
            np.uint64(width) - np.where(stop > start, stop - start, 0).astype("u8")
        ).astype(NUMPY[kind])
        return np.where(n == 0, 0, moved).astype(NUMPY[kind])

    return Operation(kind, (kind, "u32", "u32"), compute)


def insertion(modifiers: Modifiers) -> Operation:
    (kind,) = modifiers
    held = NUMPY[kind]

    def compute(a: Array, b: Array, position: Array, count: Array) -> Array:
        ones = (np.left_shift(held.type(1), np.asarray(count).astype(held)) - held.type(1)).astype(held)
        mask = np.left_shift(ones, np.asarray(position).astype(held))
        return (b & ~mask) | (np.left_shift(a, np.asarray(position).astype(held)) & mask)

    return Operation(kind, (kind, kind, "u32", "u32"), compute)


def permutation(modifiers: Modifiers) -> Operation:
    if modifiers != ("b32",):
        raise Unknown

    def compute(a: Array, b: Array, selector: Array) -> Array:
        both = np.asarray(b).astype("u8") << np.uint64(32) | np.asarray(a).astype("u8")
        result = np.zeros_like(both)
        for k in range(4):
            chosen = np.asarray(selector).astype("u8") >> np.uint64(4 * k)
            byte = both >> ((chosen & np.uint64(7)) * np.uint64(8)) & np.uint64(255)
            signs = np.where(byte & np.uint64(128), np.uint64(255), np.uint64(0))
            result = result | np.where(chosen & np.uint64(8), signs, byte) << np.uint64(8 * k)
        return result.astype("u4")

    return Operation("b32", ("b32", "b32", "u32"), compute)


def lookup(modifiers: Modifiers) -> Operation:
    if modifiers != ("b32",):
        raise Unknown

    def compute(a: Array, b: Array, c: Array, table: Any) -> Array:
        cases = [(x, y, z) for x in (~a, a) for y in (~b, b) for z in (~c, c)]
        found = np.zeros_like(a | b | c)
        for k, (x, y, z) in enumerate(cases):
            if int(table) >> k & 1:
                found = found | x & y & z
        return found

    return Operation("b32", ("b32", "b32", "b32", "u32"), compute)


def leading_zeros(modifiers: Modifiers) -> Operation:
    (kind,) = modifiers
    width = NUMPY[kind].itemsize * 8

    def compute(a: Array) -> Array:
        left, count = np.asarray(a), np.full(np.shape(a), width, "u4")
        for k in range(width):
            count = np.where(left >> NUMPY[kind].type(k) & NUMPY[kind].type(1), width - 1 - k, count)
        return count.astype("u4")

    return Operation("u32", (kind,), compute)


def bit_count(modifiers: Modifiers) -> Operation:
    (kind,) = modifiers
    return Operation("u32", (kind,), lambda a: np.bitwise_count(a).astype("u4"))
