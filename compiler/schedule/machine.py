"""What a schedule needs to know of a processor."""

from __future__ import annotations

from dataclasses import dataclass

from retrograd.compiler.dtypes import DType, bfloat16, float16, tfloat32

_LEAST_MET = 1 << 23
"""Bytes of an operand in which threads meet: a smaller one stays in the second-level caches."""


@dataclass(frozen=True, slots=True)
class Machine:
    """Vector registers: their width and number; tiles; the cache."""

    vector_bits: int
    registers: int
    tiles: bool = False
    """Are there tiles of bfloat16 (AMX)?"""
    third_level: int = 0
    """Bytes of the cache that all cores share; 0 where nobody knows."""

    def lanes(self, itemsize: int) -> int:
        """How many elements of `itemsize` bytes a register holds."""
        return max(1, self.vector_bits // (8 * itemsize))

    def meets(self, size: int) -> bool:
        """Should threads meet in an operand of so many bytes (`backends.meeting`)?"""
        return _LEAST_MET <= size <= self.third_level


_DEPTHS = {
    float16: ((80, 16), (75, 8)),
    bfloat16: ((80, 16),),
    tfloat32: ((80, 8),),
}
"""By dtype: from which compute capability on (times 10) one product of tensor cores is how deep."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU's architecture, and what the user allows on it."""

    arch: str
    """`sm_90`."""
    tf32: bool = False
    """May products of float32 be computed from operands with 10 bits of fraction?"""

    def depth(self, dtype: DType) -> int | None:
        """The inner positions of one product of tensor cores; None where there is none on this dtype."""
        if dtype is tfloat32 and not self.tf32:
            return None
        capability = int(self.arch.removeprefix("sm_"))
        return next((depth for since, depth in _DEPTHS.get(dtype, ()) if capability >= since), None)
