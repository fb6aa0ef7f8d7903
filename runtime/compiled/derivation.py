"""The backward pass inside a trace that has ended: what it writes is the derivative of what was traced.

In flow a `Trace`, outputs with their tape, and cotangents; out flow gradients, as Tensors whose values are
nodes.
"""

from __future__ import annotations

from collections.abc import Sequence

from retrograd.compiler.ir.graph import Builder, Input, Node, Value
from retrograd.compiler.ops.shape import expand
from retrograd.runtime.autograd.engine import Pass, passing
from retrograd.runtime.eager.history import edge_of
from retrograd.runtime.eager.tape import Edge, GradNode
from retrograd.runtime.modes import STATE
from retrograd.runtime.tensor import Tensor
from retrograd.runtime.tracing import Open, Trace


class inside:  # read as a statement, `with inside(trace)`
    """Within, a trace that has ended goes on."""

    __slots__ = ("_opened", "_trace")

    def __init__(self, trace: Trace) -> None:
        self._trace = trace

    def __enter__(self) -> None:
        self._opened = Open(self._trace)

    def __exit__(self, *_: object) -> None:
        self._opened.close()


def gradients(
    trace: Trace,
    outputs: Sequence[Tensor],
    inputs: Sequence[Tensor],
    nodes: Sequence[Node],
    cotangents: Sequence[Tensor],
    create_graph: bool,
) -> list[Tensor]:
    """Of the outputs by the inputs, whose nodes these are; zeros where there is no influence. Call it
    `inside`."""
    found = influences(trace, outputs, inputs, cotangents, create_graph)
    return [_as_tensor(g, node) for g, node in zip(found, nodes, strict=True)]


def influences(
    trace: Trace,
    outputs: Sequence[Tensor],
    inputs: Sequence[Tensor],
    cotangents: Sequence[Tensor],
    create_graph: bool,
) -> list[Value | None]:
    """The same, and None where there is no influence."""
    edges = [edge_of(x) for x in inputs]
    seeds: Sequence[Value] = cotangents if create_graph else [trace.lift(ct) for ct in cotangents]
    derivation = _Derivation(create_graph, keep=True, wanted=frozenset(edges))
    derivation.run([(edge_of(y), ct) for y, ct in zip(outputs, seeds, strict=True)])
    return [derivation.found.get(edge) for edge in edges]


def reached(edge: Edge) -> set[Edge]:
    """All that a backward pass from there comes by."""
    found: set[Edge] = set()
    waiting = [edge]
    while waiting:
        each = waiting.pop()
        if each is not None and each not in found:
            found.add(each)
            waiting += each.edges if isinstance(each, GradNode) else ()
    return found


def fresh_label(builder: Builder, label: str) -> str:
    """The label, made one that no input of the builder has."""
    taken = {node.op.label for node in builder.inputs if isinstance(node.op, Input)}
    while label in taken:
        label += "_"
    return label


def _as_tensor(gradient: Value | None, like: Node) -> Tensor:
    if gradient is None:
        with like.builder.at(None):
            return Tensor(expand(like.builder.constant(0, like.dtype), like.shape))
    return gradient if isinstance(gradient, Tensor) else Tensor(gradient)


class _Derivation(Pass):
    """Hooks of leaves are run where the function gave them to its arguments; others will be, when the
    gradient arrives there."""

    def _finish(self) -> None:
        for leaf in self._leaves:
            cotangent, hooks = self._pending[leaf], leaf._leaf
            if hooks is not None and STATE.trace is not None and leaf in STATE.trace.forgotten:
                cotangent = passing(hooks, cotangent, self)
            self.found[leaf] = cotangent
