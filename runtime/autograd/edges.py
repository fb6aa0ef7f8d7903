"""Places in the graph of recorded operations: where the gradient of a Tensor comes by, as PyTorch's
`torch.autograd.graph.GradientEdge`.

In flow Tensors, out flow edges, which keep the graph but not the Tensor; `grad` and `backward` take them
where they take Tensors (`stand_in`).
"""

from __future__ import annotations

from retrograd.compiler.errors import ArgumentError, GradientError, mirrored
from retrograd.compiler.ir.graph import Type
from retrograd.compiler.record import NamedTuple
from retrograd.runtime.eager.adjoints import type_of
from retrograd.runtime.eager.history import edge_of
from retrograd.runtime.eager.opnodes import OpNode
from retrograd.runtime.eager.tape import AccumulateGrad, Edge, GradNode, function_of
from retrograd.runtime.strided import zeros
from retrograd.runtime.tensor import Tensor, new


class _Place(NamedTuple):
    """Which output of a node of the tape is meant."""

    node: GradNode
    output_nr: int
    ownership_token: GradNode | None = None


class GradientEdge(_Place):
    """Where the gradient of a Tensor is computed: a node, and which of its outputs the Tensor is. The graph
    lives as long as the edge, the Tensor need not."""

    at: Edge = None
    """The place itself, where `get_gradient_edge` was asked for it."""
    like: Tensor | None = None
    """Zeros that are one number in memory, of the Tensor's type and on its device."""


def get_gradient_edge(tensor: Tensor) -> GradientEdge:
    """The edge of a Tensor: `grad(loss, get_gradient_edge(x))` is `grad(loss, x)`. Raises GradientError where
    it does not require grad."""
    if not tensor.requires_grad:
        raise GradientError(
            mirrored(
                "It is not possible to get the gradient edge for a Tensor that does not require gradients"
            )
        )
    edge = edge_of(tensor)
    node, place = function_of(edge)
    assert node is not None
    found = GradientEdge(node, place)
    found.at, found.like = edge, _zeros(Type(tuple(tensor._value.shape), tensor.dtype), tensor)
    return found


def stand_in(edge: GradientEdge) -> Tensor:
    """A Tensor at this place of the graph, to begin or to end a backward pass with; of a leaf the leaf."""
    at, like = edge.at, edge.like
    node = edge.node
    if at is None and isinstance(node, AccumulateGrad):
        at = node.variable
    if isinstance(at, Tensor):
        return at
    if at is None and isinstance(node, OpNode) and node.inputs is not None:
        types = [x if isinstance(x, Type) else type_of(x) for x in node.inputs]
        at, like = node, _zeros(node.op.infer(*types), None)
    if at is None or like is None:
        raise ArgumentError(
            f"a GradientEdge of {node.name()} that was made by hand",
            "which Tensor it stands for is not known",
            "use autograd.graph.get_gradient_edge(tensor)",
        )
    found = Tensor(like._value)
    found._edge, found._requires_grad = at, True
    return found


def _zeros(kind: Type, beside: Tensor | None) -> Tensor:
    return new(zeros(kind.shape, kind.dtype.numpy), beside)
