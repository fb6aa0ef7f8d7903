"""Where nodes are stored: each in a buffer of its own, or as a part of what it is concatenated to.

An element's place is `start + Σ index[k] · strides[k]`. A computed operand of a `Concat` is stored in the
result's buffer at once, where its elements belong, so that nothing is copied; and so is a concatenation that
is concatenated itself.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

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
    """A node that lies in a concatenation."""

    joined: Node
    """The concatenation of which it is an operand."""
    whole: Node
    """The outermost one, which has the buffer."""
    strides: tuple[int, ...]
    start: int

    def stored(self, buffer: Buffer) -> Stored:
        """Where its elements are in the buffer of the whole."""
        return Stored(buffer, self.strides, self.start)


def find_parts(graph: Graph) -> dict[Node, Part]:
    """The computed nodes that can be stored as parts of a concatenation."""
    outputs = set(graph.outputs)
    found: dict[Node, Part] = {}
    for node in reversed(graph.nodes):
        if not isinstance(node.op, Concat):
            continue
        lies = found.get(node)
        whole, steps, start = (
            (lies.whole, lies.strides, lies.start) if lies else (node, strides(node.shape), 0)
        )
        for operand in node.inputs:
            base = _base(operand)
            own = regrouped(operand.shape, steps, base.shape)
            if isinstance(base.op, _STORED) and base not in outputs | found.keys() and own is not None:
                found[base] = Part(node, whole, own, start)
            start += operand.shape[node.op.axis] * steps[node.op.axis]
    return found


_STORED = (Elementwise, Cast, Reduction, Concat)


def made_of(parts: Mapping[Node, Part]) -> dict[Node, list[Node]]:
    """The concatenations of which every operand is stored in its place, and where these come from."""
    found: dict[Node, list[Node]] = defaultdict(list)
    for node, part in parts.items():
        found[part.joined].append(node)
    return {joined: nodes for joined, nodes in found.items() if len(nodes) == len(joined.inputs)}


def _base(node: Node) -> Node:
    """The node below reshapes."""
    while isinstance(node.op, Reshape):
        node = node.inputs[0]
    return node


def regrouped(shape: Sequence[int], steps: Sequence[int], other: Sequence[int]) -> tuple[int, ...] | None:
    """The strides of elements that have them with one shape, for another shape of as many in the same order;
    None if there are none."""
    if 0 in shape:
        return (0,) * len(other)
    axes = [(size, step) for size, step in zip(shape, steps, strict=True) if size != 1]
    found: list[int] = []
    left, step = 1, 0
    for size in reversed(other):
        if size == 1:
            found.append(0)
            continue
        if left == 1:
            left, step = axes.pop()
        while left % size and axes and axes[-1][1] == step * left:
            left *= axes.pop()[0]
        if left % size:
            return None
        found.append(step)
        left, step = left // size, step * size
    return tuple(reversed(found))
