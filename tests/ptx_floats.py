"""Floating-point arithmetic that NumPy does not have: one rounding where it makes two, and the narrow types.

`fma_f32` and `fma_f64` are machine code, a loop around the processor's own fused instruction; narrow ones
and the roundings towards a side are exact in f64 first, as S. Boldo and G. Melquiond show in "Emulation of a
FMA and correctly rounded sums: proved algorithms using rounding to odd", 2008.
"""

from __future__ import annotations

import ctypes
import functools
from typing import Any

import numpy as np

from retrograd.compiler.backends.cpu import Target, assemble
from retrograd.compiler.ir.graph import Array
from retrograd.runtime.native import cpu

_NAN = np.uint32(0x7FFFFFFF)
"""The only NaN that f32 arithmetic makes."""


def quiet(x: Any) -> Array:
    """NaNs as a GPU makes them."""
    x = np.asarray(x)
    lost = np.isnan(x)
    return np.where(lost, _NAN.view("f4"), x) if lost.any() else x


# ---- a * b + c, rounded once -------------------------------------------------------------------------------

_LOOP = """
declare {t} @llvm.fma.{n}({t}, {t}, {t})
define void @fused_{n}(ptr %a, ptr %b, ptr %c, ptr %out, i64 %count) {{
entry:
  %none = icmp eq i64 %count, 0
  br i1 %none, label %done, label %next
next:
  %k = phi i64 [ 0, %entry ], [ %following, %next ]
  %pa = getelementptr {t}, ptr %a, i64 %k
  %pb = getelementptr {t}, ptr %b, i64 %k
  %pc = getelementptr {t}, ptr %c, i64 %k
  %po = getelementptr {t}, ptr %out, i64 %k
  %x = load {t}, ptr %pa
  %y = load {t}, ptr %pb
  %z = load {t}, ptr %pc
  %r = call {t} @llvm.fma.{n}({t} %x, {t} %y, {t} %z)
  store {t} %r, ptr %po
  %following = add i64 %k, 1
  %more = icmp ult i64 %following, %count
  br i1 %more, label %next, label %done
done:
  ret void
}}
"""


@functools.cache
def _fused(name: str) -> tuple[Any, cpu.Library]:
    text = _LOOP.format(t={"f32": "float", "f64": "double"}[name], n=name)
    library = cpu.load(assemble(text, Target.host()))
    prototype = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 4, ctypes.c_int64)
    return prototype(library.address(f"fused_{name}")), library


def _fma(name: str, dtype: str, operands: tuple[Any, ...]) -> Array:
    a, b, c = (np.ascontiguousarray(x, dtype) for x in np.broadcast_arrays(*operands))
    out = np.empty(a.shape, dtype)
    function, _ = _fused(name)
    function(a.ctypes.data, b.ctypes.data, c.ctypes.data, out.ctypes.data, a.size)
    return out


def fma_f32(a: Any, b: Any, c: Any) -> Array:
    """a · b + c in f32."""
    return _fma("f32", "f4", (a, b, c))


def fma_f64(a: Any, b: Any, c: Any) -> Array:
    """a · b + c in f64."""
    return _fma("f64", "f8", (a, b, c))


def fma_by_f64(kind: str, mode: str, a: Any, b: Any, c: Any) -> Array:
    """a · b + c in f16, bf16 or f32: the product is exact in f64, the sum rounded to odd there."""
    x, y, z = (np.asarray(from_bf16(v) if kind == "bf16" else v).astype("f8") for v in (a, b, c))
    return rounded(_odd_sum(x * y, z), kind, mode)


def _odd_sum(a: Array, b: Array) -> Array:
    """a + b, of the two neighbours of the exact sum the odd one."""
    total = a + b
    part = total - a
    error = (a - (total - part)) + (b - part)
    off = np.isfinite(total) & (error != 0) & (total.view("u8") & np.uint64(1) == 0)
    outwards = np.where((error > 0) == (total > 0), 1, -1)
    return np.where(off, (total.view("i8") + np.where(off, outwards, 0)).view("f8"), total)


# ---- narrow types ------------------------------------------------------------------------------------------


def from_bf16(bits: Any) -> Array:
    """As f32."""
    return (np.asarray(bits).astype("u4") << np.uint32(16)).view("f4")


def to_bf16(x: Any) -> Array:
    """f64 numbers, rounded to nearest."""
    x = np.asarray(x, "f8")
    single = x.astype("f4")
    with np.errstate(invalid="ignore"):
        error = x - single.astype("f8")
    bits = single.view("u4")
    off = np.isfinite(single) & (error != 0) & (bits & np.uint32(1) == 0)
    outwards = np.where((error > 0) == ~np.signbit(single), 1, -1)
    bits = np.where(off, bits.astype("i8") + outwards, bits).astype("u4")
    even = bits + np.uint32(0x7FFF) + (bits >> np.uint32(16) & np.uint32(1))
    return np.where(np.isnan(x), 0x7FFF, even >> np.uint32(16)).astype("u2")


def rounded(x: Array, kind: str, mode: str) -> Array:
    """f64 numbers in a type, to nearest or towards a side."""
    x = np.asarray(x)
    if kind == "f64":
        return x
    held = {"f32": "f4", "f16": "f2"}.get(kind)
    near = to_bf16(x) if held is None else x.astype(held)
    if held == "f4":
        near = quiet(near)
    if mode == "rn":
        return near
    back = (from_bf16(near) if held is None else near).astype("f8")
    above, negative = back > x, np.signbit(back)
    inwards = {"rz": np.abs(back) > np.abs(x), "rm": above & ~negative, "rp": (back < x) & negative}[mode]
    outwards = {"rz": np.zeros_like(above), "rm": above & negative, "rp": (back < x) & ~negative}[mode]
    bits = near.view(f"i{near.itemsize}")
    moved = (bits + outwards.astype(bits.dtype) - inwards.astype(bits.dtype)).view(near.dtype)
    return np.where(np.isnan(x), near, moved)


# ---- pairs in 32 bits --------------------------------------------------------------------------------------


def split(pair: Any, kind: str) -> Array:
    """Pairs as an array with one axis more: the lower half first."""
    halves = np.asarray(pair, "u4").reshape(*np.shape(pair), 1).view("u2")
    return halves.view("f2") if kind == "f16x2" else halves


def joined(halves: Array) -> Array:
    """What `split` takes apart."""
    return np.ascontiguousarray(halves).view("u4")[..., 0]
