"""What a schedule needs to know of a processor."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Machine:
    """Vector registers: their width and number."""

    vector_bits: int
    registers: int

    def lanes(self, itemsize: int) -> int:
        """How many elements of `itemsize` bytes a register holds."""
        return max(1, self.vector_bits // (8 * itemsize))
