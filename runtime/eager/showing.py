"""What the results of a graph show: elements of an operand, of each other, or new ones.

In flow nodes of a graph and its inputs; out flow answers for who plans how they are computed (`steps.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from retrograd.compiler.ir.graph import Input, Node, Op
from retrograd.compiler.ops.copy import Contiguous
from retrograd.compiler.ops.shape import Slice
from retrograd.runtime.eager.kinds import kind_of


def shows(nodes: Sequence[Node], inputs: Sequence[Node]) -> bool:
    """Whether a result shows the elements of an operand, or of another result."""
    owners = [_owner(node) for node in nodes]
    pairs = combinations(zip(nodes, owners), 2)
    meet = (a is b and a.type.size > 0 and not _apart(x, y) for (x, a), (y, b) in pairs)
    return any(owner in inputs for owner in owners) or any(meet)


def _apart(x: Node, y: Node) -> bool:
    """Whether two nodes show elements of one owner that are cut from it side by side."""
    first, second = _cut(x), _cut(y)
    if first is None or second is None:
        return False
    ends = zip(first.starts, first.stops, second.starts, second.stops)
    return any(stop <= begin or end <= start for start, stop, begin, end in ends)


def _cut(node: Node) -> Slice | None:
    """The slice of its owner that a node shows, or shows a part of."""
    found: Op | None = None
    while kind_of(node.op).is_view:
        found, node = node.op, node.inputs[0]
    return found if isinstance(found, Slice) else None


def may_be_operand(node: Node) -> bool:
    """Whether the node shows an operand if that lies in order, else a copy."""
    while kind_of(node.op).is_view:
        node = node.inputs[0]
    return isinstance(node.op, Contiguous) and isinstance(_owner(node.inputs[0]).op, Input | Contiguous)


def _owner(node: Node) -> Node:
    """The node whose elements this one shows."""
    while kind_of(node.op).is_view:
        node = node.inputs[0]
    return node
