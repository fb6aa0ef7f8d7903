"""What PTX's arithmetic instructions compute, in NumPy, to the bit.

A row of `TABLE` takes an instruction's modifiers and gives an `Operation`: the types of the operands and of
the result, and a function of arrays. Facts are those of NVIDIA's PTX ISA document (chapter 9, "Instruction
Set"). What is approximate there errs here as far as the document allows, so that code which cannot bear it is
found. A new instruction is a row; a modifier that a row does not name is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import ptx_whole
from ptx_floats import (
    fma_by_f64,
    fma_f32,
    fma_f64,
    from_bf16,
    joined,
    quiet,
    rounded,
    split,
    to_bf16,
)
from ptx_types import FLOATS, NUMPY, Compute, Modifiers, Operation, Unknown

from retrograd.compiler.ir.graph import Array


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
    """A function of f32 or f64 for a type: narrow ones pass through f32, where one operation on them is
    rounded once as if it had not (24 ≥ 2 · 11 + 2 bits; S. Figueroa, "When is double rounding innocuous?",
    1995)."""
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
        return Operation(
            kind, (kind,), lambda x: change(np.asarray(x).view(bits), bits.type(mask)).view(held)
        )

    return build


def _without_sign(x: Array, mask: Any) -> Array:
    return x & ~mask


def _turned(x: Array, mask: Any) -> Array:
    return x ^ mask


def _fma(modifiers: Modifiers) -> Operation:
    *others, kind = modifiers
    sides = [["rz"], ["rm"], ["rp"]] if kind == "f32" else []
    if others not in [["rn"], *sides] or kind not in FLOATS:
        raise Unknown
    (mode,), narrow = others, kind.removesuffix("x2")
    near: Compute | None = {"f32": fma_f32, "f64": fma_f64}.get(narrow) if mode == "rn" else None
    one: Compute = near or (lambda *x: fma_by_f64(narrow, mode, *x))
    whole = (lambda *x: joined(one(*(split(a, kind) for a in x)))) if kind != narrow else one
    return Operation(kind, (kind,) * 3, (lambda *x: quiet(whole(*x))) if kind == "f32" else whole)


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
    base = (
        name.removesuffix("u") if kind in FLOATS and name not in ("nan", "num") else _UNSIGNED.get(name, name)
    )
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


def _flushed(x: Array) -> Array:
    """Subnormal numbers made 0."""
    return np.where(np.abs(x) < 2.0**-126, np.copysign(np.float32(0), x), x)


def _approximate(function: Compute, ulps: int) -> Any:
    """As far off as allowed, upwards or downwards as the operand's last bit says."""

    def compute(x: Array) -> Array:
        exact = np.asarray(function(np.asarray(x).astype("f8"))).astype("f4")
        off = np.where(np.asarray(x).view("u4") & 1, ulps, -ulps)
        plain = (
            np.isfinite(exact) & (np.abs(exact) > 1e-30) & (np.abs(exact) < 1e30) & (exact != np.rint(exact))
        )
        return np.where(plain, (exact.view("i4") + off.astype("i4")).view("f4"), exact)

    def build(modifiers: Modifiers) -> Operation:
        if modifiers == ("approx", "f32"):
            return Operation("f32", ("f32",), lambda x: quiet(compute(x)))
        if modifiers == ("approx", "ftz", "f32"):
            return Operation("f32", ("f32",), lambda x: quiet(_flushed(compute(_flushed(np.asarray(x))))))
        raise Unknown

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


TABLE: dict[str, Callable[[Modifiers], Operation]] = {
    "add": _of_one_type(2, np.add, np.add, "rn"),
    "sub": _of_one_type(2, np.subtract, np.subtract, "rn"),
    "mul": _first_known(ptx_whole.product, _of_one_type(2, None, np.multiply, "rn")),
    "mad": ptx_whole.product_and_sum,
    "fma": _fma,
    "div": _of_one_type(2, ptx_whole.quotient, np.divide, "rn"),
    "rem": _of_one_type(2, ptx_whole.remainder, None),
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
    "shl": ptx_whole.shift(True),
    "shr": ptx_whole.shift(False),
    "shf": ptx_whole.funnel_shift,
    "bfe": ptx_whole.field,
    "bfi": ptx_whole.insertion,
    "prmt": ptx_whole.permutation,
    "lop3": ptx_whole.lookup,
    "clz": ptx_whole.leading_zeros,
    "popc": ptx_whole.bit_count,
    "setp": _setp,
    "selp": _selp,
    "cvt": _cvt,
}
