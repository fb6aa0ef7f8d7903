"""Graph → Graph, by building it anew in a builder that rewrites as it builds.

A pass is a `Builder` whose `node` may answer a request with another, equal node. Since nodes are built in
order and interned, one walk suffices: what a rule returns has been rewritten already, and common
subexpressions meet.

`Expanding` replaces composite ops and rows without machine code by their formulas, and complex values by
pairs of real ones (`complexes.py`); it has sums of halves kept in float32.
"""

from __future__ import annotations

from functools import partial

from retrograd.compiler.ir.graph import Builder, Graph, Input, Node, Op, Type, Value, apply
from retrograd.compiler.ops.composite import Composite
from retrograd.compiler.ops.contract import Dot, DotInFloat32
from retrograd.compiler.ops.half import in_float32
from retrograd.compiler.ops.joined import PutAlongJoined
from retrograd.compiler.ops.reduce import Reduction
from retrograd.compiler.ops.row import Elementwise
from retrograd.compiler.ops.scan import Scan
from retrograd.compiler.ops.shape import Cast
from retrograd.compiler.passes.complexes import Pair, as_pairs, made, of_pairs


def rebuild(graph: Graph, builder: Builder) -> Graph:
    """The graph as this builder builds it, from inputs to outputs; what no output needs is left behind."""
    known: dict[Node, Value] = {}
    for node in graph.inputs:
        assert isinstance(node.op, Input)
        known[node] = builder.input(node.op.label, node.type)
    with builder.at(None):
        for node in graph.nodes:
            builder.where = node.where
            inputs = [known[i] for i in node.inputs]
            pairs = any(isinstance(i, Pair) for i in inputs)
            known[node] = apply(node.op, *inputs) if pairs else builder.node(node.op, *inputs)
        outputs = [as_pairs(x) if isinstance(x, Pair) else x for x in (known[n] for n in graph.outputs)]
    return Graph(graph.name, tuple(builder.inputs), tuple(outputs))


class Expanding(Builder):
    """Builds primitives of real numbers only."""

    def input(self, label: str, type: Type) -> Value:
        """A new input; of complex numbers, what stands for it."""
        if not type.dtype.is_complex:
            return super().input(label, type)
        return of_pairs(super().input(label, Type((*type.shape, 2), type.dtype.to_real())))

    def node(self, op: Op, *inputs: Node) -> Value:
        """The node, or the expression that stands for it."""
        pair = made(self, op, inputs)
        if pair is not None:
            return pair
        if isinstance(op, Composite):
            expanded: Node = op.expand(*inputs)
            return expanded
        if isinstance(op, Elementwise) and not op.is_native(inputs[-1].dtype):
            value: Node = in_float32(op.expansion)(*inputs)
            return value
        if inputs and inputs[0].dtype.is_half:
            if type(op) is Dot:
                return self.node(Cast(inputs[0].dtype), super().node(DotInFloat32(), *inputs))
            if isinstance(op, Reduction | Scan | PutAlongJoined):
                sums: Node = in_float32(partial(apply, op))(*inputs)
                return sums
        return super().node(op, *inputs)
