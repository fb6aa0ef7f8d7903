"""The steps of a function as one op, where they are few and small: one native call, one node of the tape.

In flow the graph of a plan and the name that PyTorch gives the function's step; out flow an op that stands
for the graph, and the name of its node. Its value has the bits that the steps give one by one. Only a
function that is one step in PyTorch, too, is folded; others keep the steps that they lead through.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from retrograd.compiler.ir.graph import Array, Constant, Graph, Node, Type, Value, interpret, order
from retrograd.compiler.ops.composite import Composite
from retrograd.compiler.ops.elementwise import Elementwise
from retrograd.runtime.eager.history import SMALL
from retrograd.runtime.eager.wholes import OfGraph


class Folded(Composite):
    """A graph as an op."""

    name = "folded"

    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    __eq__, __hash__ = object.__eq__, object.__hash__

    def infer(self, *types: Type) -> Type:
        return self.graph.outputs[0].type

    def formula(self, *values: Value) -> Value:
        return interpret(self.graph, values)[0]

    def evaluate(self, *arrays: Array) -> Array:
        return np.asarray(self.formula(*arrays))


def folded(inputs: Sequence[Node], node: Node, shown: str) -> tuple[Folded, str] | None:
    """The op from these inputs to the node, and what its node is called; None where the steps shall stay."""
    if not isinstance(shown, OfGraph) or not node.dtype.is_inexact:
        return None
    if any(x.type.size > SMALL for x in inputs) and not _is_of_elements(inputs, node):
        return None
    return Folded(Graph("folded", tuple(inputs), (node,))), _straight_to_operands(shown, inputs, node)


def _is_of_elements(inputs: Sequence[Node], node: Node) -> bool:
    """Whether it is computed element by element, so that nothing between is worth keeping."""
    same = all(x.shape == node.shape or x.type.size == 1 for x in inputs)
    return same and all(isinstance(x.op, Elementwise | Constant) for x in order([node]))


def _straight_to_operands(shown: OfGraph, inputs: Sequence[Node], node: Node) -> OfGraph:
    """The name of a node whose edges lead to the inputs, for one of a node that is steps away from them."""
    name = OfGraph(shown)
    name.place = shown.place
    name.paths = tuple(None if path is None else (inputs.index(_end(node, path)),) for path in shown.paths)
    return name


def _end(node: Node, path: Sequence[int]) -> Node:
    for k in path:
        node = node.inputs[k]
    return node
