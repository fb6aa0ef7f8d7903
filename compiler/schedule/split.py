"""Which products of float32 are done by parts of their operands, on tiles of bfloat16 (`products/amx.py`)."""

from __future__ import annotations

from retrograd.compiler.dtypes import float32
from retrograd.compiler.ir.loops import Contraction
from retrograd.compiler.schedule.machine import Machine
from retrograd.compiler.schedule.panels import steps

_LINES, _DEEP = 16, 32
"""Rows, or columns, of a tile; inner positions."""
_TILED, _SPLIT, _FETCHED, _BEGUN = 0.55, 11, 11, 60_000
"""What a multiply-add on tiles, the splitting of an element, a sum that is used apart and the beginning take,
in multiply-adds of vectors: measured on a processor of Intel's, family 6, model 167."""
_WORTH = 0.9
"""It must take so much less time, for elements may turn out not to allow it."""


def is_split(c: Contraction, machine: Machine, direct: bool) -> bool:
    """Is it worth it, and can vectors read the operands? `direct`: sums are stored as they are."""
    if not machine.tiles or c.out.dtype is not float32:
        return False
    for operand, side in ((c.left, c.row), (c.right, c.column)):
        if 1 not in (steps(operand, side), steps(operand, c.inner)):
            return False
    return pays(c.row.extent, c.column.extent, c.inner.extent, direct)


def pays(rows: int, columns: int, inner: int, direct: bool = True) -> bool:
    """Does a product of these sizes take less time so?"""
    tiled = _whole(rows, _LINES) * _whole(columns, _LINES) * _whole(inner, _DEEP) * _TILED
    beside = (rows + columns) * inner * _SPLIT + (0 if direct else rows * columns * _FETCHED) + _BEGUN
    return tiled + beside < _WORTH * rows * columns * inner


def _whole(extent: int, size: int) -> int:
    return -(-extent // size) * size
