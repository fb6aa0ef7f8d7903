"""Functions of vectors that write their LLVM text (`backends/vector.py`), written out among instructions.

In flow such a function and vectors; out flows what it computes, after the lines of LLVM that it writes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from retrograd.compiler.backends import vector
from retrograd.compiler.backends.means import Means
from retrograd.compiler.native.kinds import ELEMENTS, LANES, vector_of
from retrograd.compiler.native.language import Emitted
from retrograd.compiler.native.memory import Memory
from retrograd.compiler.native.scope import Typed
from retrograd.compiler.native.ssa import Builder, Value


class _Block(vector.Block):
    """The text of such a function, whose names are the builder's."""

    def __init__(self, build: Builder, means: Means) -> None:
        assert build.block is not None
        super().__init__(build.block.here, means=means)
        self._build = build

    def fresh(self, prefix: str = "v") -> str:
        return self._build.name(f"{prefix}.")


class Emission(Memory):
    """Vectors of a function, appended to its current block."""

    def emitted(self, function: Emitted, given: Sequence[Typed]) -> Typed:
        """The function's result; a vector of one is a number to it."""
        block = _Block(self.build, function.means)
        holders: dict[str, Value] = {}
        operands = []
        for one in given:
            assert one.kind.lane is not None
            value = self.lane(one, 0) if one.kind.lanes == 1 else one.value
            name = f"%{block.fresh('given')}"
            holders[name] = value
            ref = name if value.number is None else str(value)
            operands.append(vector.Value(block, ref, ELEMENTS[one.kind.lane.memory], one.kind.lanes))
        result = function.code(*operands)
        for name, text in block.declarations.items():
            self.module.declare(name, text)
        self.build.splice(_pieces(block.preamble, holders), _pieces(block.lines[1:], holders), block.here)
        kind = vector_of(LANES[result.kind], result.lanes)
        value = holders.get(result.ref) or Value(result.ref, result.type)
        if result.lanes == 1:
            pieces = (f"insertelement {kind.llvm} poison, {result.type} ", value, ", i64 0")
            value = self.build.let("one", kind.llvm, *pieces)
        return Typed(value, kind)


def _pieces(lines: Iterable[str], holders: dict[str, Value]) -> list[tuple[object, ...]]:
    """Lines in which values stand for their names."""
    if not holders:
        return [(line.strip(),) for line in lines]
    names = re.compile(f"({'|'.join(map(re.escape, holders))})(?![\\w.])")
    return [tuple(holders.get(piece, piece) for piece in names.split(line.strip())) for line in lines]
