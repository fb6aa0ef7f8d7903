"""The kinds of element in LLVM IR: their names and widths, and a Python number as a constant of one."""

from __future__ import annotations

import ctypes
import struct

LLVM_TYPES = {
    "f32": "float", "f64": "double", "f16": "half", "bf16": "i16", "bfloat": "bfloat", "ptr": "ptr",
    "i1": "i1", "i8": "i8", "i16": "i16", "i32": "i32", "i64": "i64", "i128": "i128", "u8": "i8",
}  # fmt: skip
"""LLVM's name of each kind of element. A bfloat16 is its bits: few targets know `bfloat`."""

FLOATS = {"f16": 16, "bf16": 16, "f32": 32, "f64": 64}
"""Bits of each floating kind."""

HALVES = ("f16", "bf16")
"""Kinds that are only loaded, stored and converted: arithmetic on them is done in f32
(`floats.in_f32`)."""

INTEGERS = {"i1": 1, "i8": 8, "u8": 8, "i16": 16, "i32": 32, "i64": 64, "i128": 128}
"""Bits of each integer kind."""

UNSIGNED = {
    "sdiv": "udiv", "srem": "urem", "ashr": "lshr", "sext": "zext", "sitofp": "uitofp",
    "slt": "ult", "sle": "ule", "sgt": "ugt", "sge": "uge",
}  # fmt: skip
"""What an instruction for signed integers is called for those of `UNSIGNED_KINDS`; the others serve both."""

UNSIGNED_KINDS = ("u8",)
"""LLVM's integers have no sign: its instructions say how they read them."""

SUFFIXES = LLVM_TYPES | {"f16": "f16", "f32": "f32", "f64": "f64"}
"""How an intrinsic's name spells each kind."""

Number = float | int
"""A Python number, which an operator turns into a constant of its other operand's kind."""


def literal(kind: str, number: Number) -> str:
    """`number` as LLVM spells a scalar constant: exactly, floats by their bit pattern."""
    if kind in INTEGERS:
        if number != int(number):
            raise TypeError(f"{number} is no constant of kind {kind}")
        if kind == "i1":
            return "true" if number else "false"
        half = 1 << (INTEGERS[kind] - 1)
        return str((int(number) + half) % (2 * half) - half)
    number = float(number)
    if kind == "f64":
        return f"0x{_double_bits(number)}"
    single = ctypes.c_float(number).value
    if kind == "f32":
        return f"0x{_double_bits(single)}"
    if kind == "f16":
        return f"0xH{_half_bits(number):04X}"
    return literal("i16", _bfloat_bits(single))


def _double_bits(number: float) -> str:
    return struct.pack(">d", number).hex().upper()


def _half_bits(number: float) -> int:
    try:
        return int.from_bytes(struct.pack(">e", number))
    except OverflowError:
        return 0x7C00 if number > 0 else 0xFC00


def _bfloat_bits(number: float) -> int:
    bits = int.from_bytes(struct.pack(">f", number))
    if number != number:
        return bits >> 16 | 0x40
    return (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
