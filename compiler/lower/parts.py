"""Where nodes are stored: each in a buffer of its own, or as a part of what it is concatenated to.

An element's place is `start + Σ index[k] · strides[k]`. A computed operand of a `Concat` is stored in the
result's buffer at once, where its elements belong, so that nothing is copied.
"""

from __future__ import annotations

from collections.abc import Sequence

from retrograd.compiler.ir.expressions import Buffer
from retrograd.compiler.ir.graph import Graph, Node
from retrograd.compiler.ir.index import Index, combined, strides
from retrograd.compiler.ops.reduce import Reduction
from retrograd.compiler.ops.row import Elementwise
from retrograd.compiler.ops.shape import Cast, Concat, Reshape
from retrograd.compiler.record import record


@record
class Stored:
    """A buffer, and where in it the elements of a node are."""

    buffer: Buffer
    strides: tuple[int, ...]
    start: int = 0

    @staticmethod
    def whole(buffer: Buffer, shape: Sequence[int]) -> Stored:
        """Row-major, and nothing else in the buffer."""
        return Stored(buffer, strides(shape))

    def place(self, index: Sequence[Index]) -> Index:
        """The element at a multi-index."""
        return combined(index, self.strides, self.start)


@record
class Part:
    """Which operand of a concatenation a node is, unit axes apart."""

    whole: Node
    operand: Node
    start: int
    """Where the operand begins along the axis."""

    def stored(self, node: Node, whole: Stored) -> Stored:
        """Where the node's elements are, given the place of the whole."""
        assert isinstance(self.whole.op, Concat)
        kept = iter([s for s, size in zip(whole.strides, self.operand.shape, strict=True) if size != 1])
        own = tuple(0 if size == 1 else next(kept) for size in node.shape)
        return Stored(whole.buffer, own, whole.start + self.start * whole.strides[self.whole.op.axis])


def find_parts(graph: Graph) -> dict[Node, Part]:
    """The computed nodes that can be stored as parts of a concatenation."""
    outputs = set(graph.outputs)
    found: dict[Node, Part] = {}
    for node in graph.nodes:
        if not isinstance(node.op, Concat):
            continue
        start = 0
        for operand in node.inputs:
            base = _base(operand)
            if isinstance(base.op, Elementwise | Cast | Reduction) and base not in outputs | found.keys():
                found[base] = Part(node, operand, start)
            start += operand.shape[node.op.axis]
    return found


def _base(node: Node) -> Node:
    """The node below reshapes that add or remove axes of one element."""
    while isinstance(node.op, Reshape) and _sizes(node) == _sizes(node.inputs[0]):
        node = node.inputs[0]
    return node


def _sizes(node: Node) -> list[int]:
    return [size for size in node.shape if size != 1]
