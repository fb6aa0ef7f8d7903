"""Which products of float32 are done by parts of their operands, on tiles of bfloat16 (`products/amx.py`)."""

from __future__ import annotations

from retrograd.compiler.dtypes import float32
from retrograd.compiler.ir.loops import Contraction
from retrograd.compiler.schedule.machine import Machine
from retrograd.compiler.schedule.panels import steps

_LINES, _DEEP, BLOCK = 16, 32, 32
"""Rows, or columns, of a tile; inner positions; rows, or columns, of a block."""
_TILED, _SPLIT, _TURNED, _FETCHED, _BEGUN = 0.45, 11, 10, 4, 55_000
"""What a multiply-add on tiles, the splitting of an element, or of a place of a block that has none, the
turning of one that lies the other way, a sum that is used apart and the beginning take, in multiply-adds of
vectors: measured on a processor of Intel's, family 6, model 167."""
_WORTH = 0.85
"""It must take so much less time: elements may turn out not to allow it, and parts fill the caches."""


def is_split(c: Contraction, machine: Machine, direct: bool) -> bool:
    """Is it worth it, and can vectors read the operands? `direct`: sums are stored as they are."""
    if not machine.tiles or c.out.dtype is not float32:
        return False
    turned = 0
    for operand, side, wanted in ((c.left, c.row, c.inner), (c.right, c.column, c.column)):
        if 1 not in (steps(operand, side), steps(operand, c.inner)):
            return False
        turned += side.extent * c.inner.extent * (steps(operand, wanted) != 1)
    return pays(c.row.extent, c.column.extent, c.inner.extent, direct, turned)


def pays(rows: int, columns: int, inner: int, direct: bool = True, turned: int = 0) -> bool:
    """Does a product of these sizes take less time so? Some elements are `turned`."""
    tiled = _whole(rows, _LINES) * _whole(columns, _LINES) * _whole(inner, _DEEP) * _TILED
    split = (_whole(rows, BLOCK) + _whole(columns, BLOCK)) * _whole(inner, _DEEP) * _SPLIT + turned * _TURNED
    beside = split + (0 if direct else rows * columns * _FETCHED) + _BEGUN
    return tiled + beside < _WORTH * rows * columns * inner


def _whole(extent: int, size: int) -> int:
    return -(-extent // size) * size
