"""Masks that are known while compiling: which lanes are on.

In flow a flag for each lane, out flows a constant of the text, which `known` reads again. What reads or
writes memory by a mask takes it `held`.
"""

from __future__ import annotations

from collections.abc import Sequence

from retrograd.compiler.backends.kinds import FLOATS, INTEGERS
from retrograd.compiler.backends.vector import Block, Value

_HELD = 16
"""The most lanes of one vector."""
_LEAST_BITS = 128
"""Of a vector that is as it is in a register."""


def constant_mask(block: Block, inside: Sequence[bool]) -> Value:
    """The mask with these lanes on."""
    if all(inside) or not any(inside):
        return block.constant("i1", len(inside), inside[0])
    text = ", ".join(f"i1 {'true' if k else 'false'}" for k in inside)
    return Value(block, f"<{text}>", "i1", len(inside))


def known(mask: Value) -> list[bool] | None:
    """Which lanes are on; None if that is known only when code runs, or of all lanes the same."""
    if not mask.ref.startswith("<"):
        return None
    return [flag == "i1 true" for flag in mask.ref[1:-1].split(", ")]


def only_first(mask: Value) -> bool:
    """Is it known that only the first lane is on? LLVM 22 stores too many bytes of a single lane that it has
    truncated."""
    lanes = known(mask)
    return lanes is not None and lanes[0] and not any(lanes[1:])


def held(mask: Value, kind: str) -> Value:
    """The mask, for elements of this kind, in a register of AVX-512's, filled where the function begins.
    Filled in a loop, by an instruction of 8 or 16 bits, it would wait for what an iteration before has left
    in the others. For 8 bytes LLVM 22 makes it one of 16 lanes, of which 8 are whatever the register held if
    it spills it: stores went beyond their end."""
    fills = mask.lanes * (FLOATS | INTEGERS)[kind] >= _LEAST_BITS
    lanes = known(mask) if mask.block.means.avx512 and 8 <= mask.lanes <= _HELD and fills else None
    if lanes is None:
        return mask
    bits = sum(1 << k for k, on in enumerate(lanes) if on)
    return mask.block.first(f"bitcast i{mask.lanes} {bits} to {mask.type}", "i1", mask.lanes)
