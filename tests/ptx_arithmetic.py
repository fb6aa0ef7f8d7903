"""What PTX's arithmetic instructions compute, in NumPy, to the bit.

A row of `TABLE` takes an instruction's modifiers and gives an `Operation`: the types of the operands and of the
result, and a function of arrays. Facts are those of NVIDIA's PTX ISA document (chapter 9, "Instruction Set"). What is
approximate there errs here as far as the document allows, so that code which cannot bear it is found. A new instruction
is a row; a modifier that a row does not name is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from ptx_floats import (
    fma_f32,
    fma_f64,
    fma_narrow,
    from_bf16,
    joined,
    quiet,
    rounded,
    split,
    to_bf16,
)

from retrograd.compiler.ir.graph import Array

Compute = Callable[..., Any]
Modifiers = tuple[str, ...]

NUMPY = {
    "pred": np.dtype(bool),
    **{f"{k}{n}": np.dtype(f"{'i' if k == 's' else 'u'}{n // 8}") for k in "bsu" for n in (8, 16, 32, 64)},
    "f16": np.dtype("f2"),
    "f32": np.dtype("f4"),
    "f64": np.dtype("f8"),
    "bf16": np.dtype("u2"),
    "f16x2": np.dtype("u4"),
    "bf16x2": np.dtype("u4"),
}
"""How the values of each type are held; `bf16` and the pairs are held as bits."""
FLOATS = ("f16", "f32", "f64", "bf16", "f16x2", "bf16x2")


class Unknown(Exception):
    """An instruction that no row describes."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One instruction's arithmetic."""

    result: str
    operands: tuple[str, ...]
    compute: Compute


def operation(opcode: str, modifiers: Modifiers) -> Operation:
    """The row's answer for an instruction."""
    if opcode not in TABLE:
        raise Unknown
    return TABLE[opcode](modifiers)


# ---- rows of one type --------------------------------------------------------------------------------------


def _of_one_type(arity: int, whole: Compute | None, real: Compute | None, allowed: str = "") -> Any:
    """Rows whose operands and result are of the type that the last modifier names."""

    def build(modifiers: Modifiers) -> Operation:
        *others, kind = modifiers
        compute = real if kind in FLOATS else whole
        if compute is None or kind not in NUMPY or not set(others) <= set(allowed.split()):
            raise Unknown
        return Operation(kind, (kind,) * arity, lifted(kind, compute))

    return build


def lifted(kind: str, compute: Compute) -> Compute:
    """A function of f32 or f64 for a type: narrow ones pass through f32, where one operation on them is rounded
    once as if it had not (24 ≥ 2 · 11 + 2 bits; S. Figueroa, "When is double rounding innocuous?", 1995)."""
    match kind:
        case "f32":
            return lambda *x: quiet(compute(*x))
        case "f16":
            return lambda *x: np.asarray(compute(*(np.asarray(a).astype("f4") for a in x))).astype("f2")
        case "bf16":
            return lambda *x: to_bf16(np.asarray(compute(*map(from_bf16, x)), "f8"))
        case "f16x2" | "bf16x2":
            one = lifted(kind.removesuffix("x2"), compute)
            return lambda *x: joined(one(*(split(a, kind) for a in x)))
        case _:
            return compute


def _quotient(a: Array, b: Array) -> Array:
    """Towards zero; what division by zero gives is not said, so nobody may depend on it."""
    safe = np.where(b == 0, np.ones_like(b), b)
    return np.where(b == 0, ~np.zeros_like(b), (a - np.fmod(a, safe)) // safe)


def _remainder(a: Array, b: Array) -> Array:
    safe = np.where(b == 0, np.ones_like(b), b)
    return np.where(b == 0, a, np.fmod(a, safe))


def _bits(x: Array) -> Array:
    x = np.asarray(x)
    return x.view(f"u{x.itemsize}")


def _least(a: Array, b: Array) -> Array:
    """NaN only where both are; −0 is less than +0."""
    zeros = (_bits(a) | _bits(b)).view(a.dtype)
    return np.where(a == b, zeros, np.fmin(a, b))


def _greatest(a: Array, b: Array) -> Array:
    zeros = (_bits(a) & _bits(b)).view(a.dtype)
    return np.where(a == b, zeros, np.fmax(a, b))


def _extreme(whole: Compute, real: Compute, propagating: Compute) -> Any:
    """`min` and `max`; with `.NaN` one NaN is enough."""
    plain = _of_one_type(2, whole, real)

    def strict(a: Array, b: Array) -> Array:
        return np.where(np.isnan(a) | np.isnan(b), propagating(a, b), real(a, b))

    through = _of_one_type(2, None, strict, "NaN")
    return lambda modifiers: (through if "NaN" in modifiers else plain)(modifiers)


def _signs(change: Compute) -> Any:
    """Rows that change nothing but a sign, in a type's bits."""

    def build(modifiers: Modifiers) -> Operation:
        (kind,) = modifiers
        held = NUMPY[kind]
        if kind not in FLOATS:
            return Operation(kind, (kind,), np.abs if change is _without_sign else np.negative)
        mask = {"f32": 1 << 31, "f64": 1 << 63, "f16x2": 0x80008000, "bf16x2": 0x80008000}.get(kind, 0x8000)
        bits = np.dtype(f"u{held.itemsize}")
        return Operation(kind, (kind,), lambda x: change(np.asarray(x).view(bits), bits.type(mask)).view(held))

    return build


def _without_sign(x: Array, mask: Any) -> Array:
    return x & ~mask


def _turned(x: Array, mask: Any) -> Array:
    return x ^ mask


def _fma(modifiers: Modifiers) -> Operation:
    *others, kind = modifiers
    if others != ["rn"] or kind not in FLOATS:
        raise Unknown
    narrow = kind.removesuffix("x2")
    one: Compute = {"f32": fma_f32, "f64": fma_f64}.get(narrow) or (lambda *x: fma_narrow(narrow, *x))
    whole = (lambda *x: joined(one(*(split(a, kind) for a in x)))) if kind != narrow else one
    return Operation(kind, (kind,) * 3, (lambda *x: quiet(whole(*x))) if kind == "f32" else whole)


# ---- whole numbers -----------------------------------------------------------------------------------------


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


def _wider(kind: str) -> str:
    return f"{kind[0]}{2 * int(kind[1:])}"


def _mul(modifiers: Modifiers) -> Operation:
    *others, kind = modifiers
    if kind in FLOATS:
        return _REAL_MUL(modifiers)
    match others:
        case ["lo"]:
            return Operation(kind, (kind, kind), np.multiply)
        case ["hi"]:
            return Operation(kind, (kind, kind), _high)
        case ["wide"]:
            wide = NUMPY[_wider(kind)]
            return Operation(
                _wider(kind), (kind, kind), lambda a, b: np.asarray(a).astype(wide) * np.asarray(b).astype(wide)
            )
    raise Unknown


def _mad(modifiers: Modifiers) -> Operation:
    product = _mul(modifiers)
    if modifiers[-1] in FLOATS:
        raise Unknown
    return Operation(
        product.result, (*product.operands, product.result), lambda a, b, c: product.compute(a, b) + c
    )


def _shift(left: bool) -> Any:
    def build(modifiers: Modifiers) -> Operation:
        (kind,) = modifiers
        move = np.left_shift if left else np.right_shift
        most = NUMPY[kind].itemsize * 8

        def compute(a: Array, by: Array) -> Array:
            return move(a, np.minimum(by, np.uint32(most)).astype(NUMPY[kind]))

        return Operation(kind, (kind, "u32"), compute)

    return build


def _funnel(modifiers: Modifiers) -> Operation:
    side, mode, kind = modifiers
    if kind != "b32" or side not in "lr" or mode not in ("wrap", "clamp"):
        raise Unknown

    def compute(low: Array, high: Array, by: Array) -> Array:
        n = (by & np.uint32(31) if mode == "wrap" else np.minimum(by, np.uint32(32))).astype("u8")
        both = np.asarray(high).astype("u8") << np.uint64(32) | np.asarray(low).astype("u8")
        moved = both << n >> np.uint64(32) if side == "l" else both >> n
        return moved.astype("u4")

    return Operation("b32", ("b32", "b32", "u32"), compute)


def _field(modifiers: Modifiers) -> Operation:
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


def _insert(modifiers: Modifiers) -> Operation:
    (kind,) = modifiers
    held = NUMPY[kind]

    def compute(a: Array, b: Array, position: Array, count: Array) -> Array:
        ones = (np.left_shift(held.type(1), np.asarray(count).astype(held)) - held.type(1)).astype(held)
        mask = np.left_shift(ones, np.asarray(position).astype(held))
        return (b & ~mask) | (np.left_shift(a, np.asarray(position).astype(held)) & mask)

    return Operation(kind, (kind, kind, "u32", "u32"), compute)


def _permute(modifiers: Modifiers) -> Operation:
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


def _lookup(modifiers: Modifiers) -> Operation:
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


def _leading_zeros(modifiers: Modifiers) -> Operation:
    (kind,) = modifiers
    width = NUMPY[kind].itemsize * 8

    def compute(a: Array) -> Array:
        left, count = np.asarray(a), np.full(np.shape(a), width, "u4")
        for k in range(width):
            count = np.where(left >> NUMPY[kind].type(k) & NUMPY[kind].type(1), width - 1 - k, count)
        return count.astype("u4")

    return Operation("u32", (kind,), compute)


def _counted(modifiers: Modifiers) -> Operation:
    (kind,) = modifiers
    return Operation("u32", (kind,), lambda a: np.bitwise_count(a).astype("u4"))


# ---- choices and comparisons -------------------------------------------------------------------------------

_ORDERED = {"eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater,
            "ge": np.greater_equal}  # fmt: skip
_UNSIGNED = {"lo": "lt", "ls": "le", "hi": "gt", "hs": "ge"}
_JOINED = {"and": np.logical_and, "or": np.logical_or, "xor": np.logical_xor}


def comparison(name: str, kind: str) -> Compute:
    """Without NaN `ne` is what it says; with one, only the names with a `u`, and `nan`, are true."""
    if kind not in FLOATS:
        return _ORDERED[_UNSIGNED.get(name, name)]
    match name:
        case "nan":
            return lambda a, b: np.isnan(a) | np.isnan(b)
        case "num":
            return lambda a, b: ~(np.isnan(a) | np.isnan(b))
        case "ne":
            return lambda a, b: (a < b) | (a > b)
        case _ if name in _ORDERED:
            return _ORDERED[name]
    plain = _ORDERED[name.removesuffix("u")]
    return lambda a, b: plain(a, b) | np.isnan(a) | np.isnan(b)


def _setp(modifiers: Modifiers) -> Operation:
    name, *join, kind = modifiers
    base = name.removesuffix("u") if kind in FLOATS and name not in ("nan", "num") else _UNSIGNED.get(name, name)
    if kind in ("f16x2", "bf16x2") or (base not in _ORDERED and name not in ("nan", "num")):
        raise Unknown
    compare = comparison(name, kind)
    wide: Compute = from_bf16 if kind == "bf16" else (lambda x: x)
    if not join:
        return Operation("pred", (kind, kind), lambda a, b: compare(wide(a), wide(b)))
    both = _JOINED[join[0]]
    return Operation("pred", (kind, kind, "pred"), lambda a, b, c: both(compare(wide(a), wide(b)), c))


def _selp(modifiers: Modifiers) -> Operation:
    (kind,) = modifiers
    return Operation(kind, (kind, kind, "pred"), lambda a, b, p: np.where(p, a, b))


# ---- conversions -------------------------------------------------------------------------------------------

_TO_WHOLE = {"rni": np.rint, "rzi": np.trunc, "rmi": np.floor, "rpi": np.ceil}


def _cvt(modifiers: Modifiers) -> Operation:
    *how, to, source = modifiers
    if to in ("f16x2", "bf16x2"):
        narrow = to.removesuffix("x2")
        if source != "f32" or how != ["rn"]:
            raise Unknown
        return Operation(to, (source, source), lambda high, low: joined(_pair(narrow, low, high)))
    if not set(how) <= {*_TO_WHOLE, "rn", "rz", "rm", "rp", "sat"} or to not in NUMPY or source not in NUMPY:
        raise Unknown
    saturated = "sat" in how
    mode = next((m for m in how if m != "sat"), "")
    return Operation(to, (source,), lambda x: _converted(x, to, source, mode, saturated))


def _pair(narrow: str, low: Array, high: Array) -> Array:
    both = np.stack(np.broadcast_arrays(low, high), -1).astype("f8")
    return rounded(both, narrow, "rn")


def _converted(x: Array, to: str, source: str, mode: str, saturated: bool) -> Array:
    x = from_bf16(x) if source == "bf16" else np.asarray(x)
    if to not in FLOATS:
        return _whole(x, NUMPY[to], mode, saturated or source in FLOATS, source in FLOATS)
    if source not in FLOATS:
        if x.itemsize == 8 and (to == "bf16" or mode != "rn"):
            raise Unknown
        direct = to in ("f32", "f64") and mode == "rn"
        return x.astype(NUMPY[to]) if direct else rounded(x.astype("f8"), to, mode or "rn")
    if mode in _TO_WHOLE:
        x = _TO_WHOLE[mode](x)
    if saturated:
        x = np.where(np.isnan(x), 0, np.clip(x, 0, 1)).astype(x.dtype)
    return rounded(x.astype("f8"), to, mode if mode in ("rz", "rm", "rp") else "rn")


def _whole(x: Array, to: np.dtype[Any], mode: str, saturated: bool, floating: bool) -> Array:
    info = np.iinfo(to)
    if not floating:
        own = np.iinfo(x.dtype)
        return (np.clip(x, max(info.min, own.min), min(info.max, own.max)) if saturated else x).astype(to)
    value = _TO_WHOLE[mode](x.astype("f8"))
    low, high = float(info.min), float(info.max) + (to.itemsize < 8)
    inside = (value >= low) & (value < high) & ~np.isnan(value)
    ends = np.where(np.isnan(value), 0, np.where(value < low, info.min, info.max)).astype(to)
    return np.where(inside, np.where(inside, value, 0.0).astype(to), ends)


# ---- approximations ----------------------------------------------------------------------------------------


def _approximate(function: Compute, ulps: int) -> Any:
    """As far off as allowed, upwards or downwards as the operand's last bit says."""

    def compute(x: Array) -> Array:
        exact = np.asarray(function(np.asarray(x).astype("f8"))).astype("f4")
        off = np.where(np.asarray(x).view("u4") & 1, ulps, -ulps)
        plain = np.isfinite(exact) & (np.abs(exact) > 1e-30) & (np.abs(exact) < 1e30) & (exact != np.rint(exact))
        return np.where(plain, (exact.view("i4") + off.astype("i4")).view("f4"), exact)

    def build(modifiers: Modifiers) -> Operation:
        if modifiers != ("approx", "f32"):
            raise Unknown
        return Operation("f32", ("f32",), lambda x: quiet(compute(x)))

    return build


def _first_known(*rows: Any) -> Any:
    """The first row that knows the modifiers."""

    def build(modifiers: Modifiers) -> Operation:
        for row in rows:
            try:
                found: Operation = row(modifiers)
            except Unknown:
                continue
            return found
        raise Unknown

    return build


def _bitwise(compute: Compute, arity: int) -> Any:
    return _of_one_type(arity, compute, None)


_REAL_MUL = _of_one_type(2, None, np.multiply, "rn")
TABLE: dict[str, Callable[[Modifiers], Operation]] = {
    "add": _of_one_type(2, np.add, np.add, "rn"),
    "sub": _of_one_type(2, np.subtract, np.subtract, "rn"),
    "mul": _mul,
    "mad": _mad,
    "fma": _fma,
    "div": _of_one_type(2, _quotient, np.divide, "rn"),
    "rem": _of_one_type(2, _remainder, None),
    "abs": _signs(_without_sign),
    "neg": _signs(_turned),
    "min": _extreme(np.minimum, _least, np.minimum),
    "max": _extreme(np.maximum, _greatest, np.maximum),
    "copysign": _of_one_type(2, None, lambda sign, size: np.copysign(size, sign)),
    "rcp": _first_known(_of_one_type(1, None, lambda x: 1 / x, "rn"), _approximate(lambda x: 1 / x, 1)),
    "sqrt": _first_known(_of_one_type(1, None, np.sqrt, "rn"), _approximate(np.sqrt, 1)),
    "rsqrt": _approximate(lambda x: 1 / np.sqrt(x), 2),
    "ex2": _approximate(np.exp2, 2),
    "lg2": _approximate(np.log2, 2),
    "and": _bitwise(np.bitwise_and, 2),
    "or": _bitwise(np.bitwise_or, 2),
    "xor": _bitwise(np.bitwise_xor, 2),
    "not": _bitwise(np.invert, 1),
    "shl": _shift(True),
    "shr": _shift(False),
    "shf": _funnel,
    "bfe": _field,
    "bfi": _insert,
    "prmt": _permute,
    "lop3": _lookup,
    "clz": _leading_zeros,
    "popc": _counted,
    "setp": _setp,
    "selp": _selp,
    "cvt": _cvt,
}

