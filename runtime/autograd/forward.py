"""The forward pass: tangents of some Tensors in, tangents of the Tensors that were made from them out.

The tape is walked from old to young. The tangent of an elementwise row comes by the row's own rule, for its
Jacobian is diagonal, and so its own transpose; what is linear is applied to the tangent. Any other step is
the vjp of its vjp, which is the jvp, as the vjp is linear in its cotangent: of one op, if it is an op, and of
all that was done, if the tape has other nodes. Without `create_graph` tangents are bare arrays (graph nodes
inside a trace), as in the backward pass. To add a rule, write a function and enter it in `RULES`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeGuard

import numpy as np

from retrograd.compiler.ir.graph import Op, Type, Value, apply
from retrograd.compiler.ir.quiet import quietly
from retrograd.compiler.ops.contract import Dot
from retrograd.compiler.ops.copy import Clone
from retrograd.compiler.ops.elementwise import Elementwise
from retrograd.compiler.ops.reduce import Sum
from retrograd.compiler.ops.shape import Cast, Expand, Flip, Permute, Reshape, Select, Slice, cast, expand
from retrograd.runtime import tracing
from retrograd.runtime.autograd.blame import line_of
from retrograd.runtime.autograd.differentiation import grad
from retrograd.runtime.autograd.engine import AGE, as_cotangent, as_tensor, leading_to
from retrograd.runtime.autograd.function import Function, FunctionNode
from retrograd.runtime.eager.adjoints import type_of
from retrograd.runtime.eager.history import edge_of
from retrograd.runtime.eager.kinds import PLAIN
from retrograd.runtime.eager.opnodes import OpNode, as_operand
from retrograd.runtime.eager.tape import Edge, GradNode, Output, already_freed
from retrograd.runtime.modes import STATE, enable_grad
from retrograd.runtime.tensor import Tensor, new

Tangents = Sequence[Value | None]
Rule = Callable[[Any, Sequence[Value], Value, Tangents], Value]
"""From an op, its operands (Types, if the adjoint does not look at them), its value and the operands'
tangents, of which one at least is there, to the value's tangent, which may have yet to be broadcast."""


class Pushed(Function):
    """A Function that uses nothing but its operands, and knows how their tangents pass."""

    @staticmethod
    def push(ctx: Any, tangents: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
        """The outputs' tangents, by those of the operands."""
        raise NotImplementedError


def pushed(
    outputs: Sequence[Tensor], sources: Sequence[Tensor], directions: Sequence[Tensor], create_graph: bool
) -> list[Tensor | None]:
    """The tangents of the outputs where those of the sources are the directions; None where there is no
    influence. The sources require grad."""
    ends = [edge_of(y) for y in outputs]
    starts = [edge_of(x) for x in sources]
    useful = leading_to(starts, ends)
    nodes = [edge for edge in useful.difference(starts) if isinstance(edge, GradNode)]
    if not all(map(_has_step, nodes)):
        return transposed(outputs, sources, directions, create_graph)
    found: dict[Edge, Any] = {
        edge: as_cotangent(cast(t, x.dtype), create_graph)
        for edge, x, t in zip(starts, sources, directions, strict=True)
    }
    before, STATE.grad = STATE.grad, create_graph
    try:
        with tracing.recording_outside(before, ends):
            for node in sorted(nodes, key=AGE):
                with line_of(node):
                    found[node] = _step(node, [found.get(edge) for edge in node.edges], create_graph)
    finally:
        STATE.grad = before
    return [as_tensor(found.get(end)) for end in ends]


def transposed(
    outputs: Sequence[Tensor], sources: Sequence[Tensor], directions: Sequence[Tensor], create_graph: bool
) -> list[Tensor | None]:
    """The same as the vjp of the vjp."""
    with enable_grad():
        duals = [_dual(type_of(y._value), y) for y in outputs]
        pairs = [(y, dual) for y, dual in zip(outputs, duals) if y.requires_grad]
        ys, given = [y for y, _ in pairs], [dual for _, dual in pairs]
        pulled = grad(ys, sources, given, create_graph=True, allow_unused=True) if pairs else ()
    return _along(pulled, duals, directions, create_graph)


def _along(
    pulled: Tangents, duals: Sequence[Tensor], directions: Tangents, create_graph: bool
) -> list[Tensor | None]:
    """The vjp by the duals of what was pulled back from them."""
    pairs = [
        (g, as_tensor(t))
        for g, t in zip(pulled, directions)
        if t is not None and g is not None and g.requires_grad
    ]
    if not pairs:
        return [None for _ in duals]
    ys, along = [g for g, _ in pairs], [t for _, t in pairs]
    return list(grad(ys, duals, along, retain_graph=True, create_graph=create_graph, allow_unused=True))


def _dual(kind: Type, like: Tensor | None) -> Tensor:
    return new(np.zeros(kind.shape, kind.dtype.numpy), like).requires_grad_()


# ---- steps -------------------------------------------------------------------------------------------------


def _has_step(node: GradNode) -> bool:
    return node.hooks is None and (type(node) in PLAIN or type(node) is Output or is_pushed(node))


def is_pushed(node: Edge) -> TypeGuard[FunctionNode]:
    """Whether it is of a Function that says itself how tangents pass."""
    return isinstance(node, FunctionNode) and issubclass(node.function, Pushed)


def _step(node: GradNode, tangents: Tangents, create_graph: bool) -> Any:
    """The tangent of a node's result; of the results, if it has several."""
    if all(t is None for t in tangents):
        return None
    if isinstance(node, OpNode):
        return _of_op(node, tangents, create_graph)
    if is_pushed(node):
        function: Any = node.function
        given = function.push(node.ctx, [as_tensor(t) for t in tangents])
        found = [as_cotangent(t, create_graph) for t in given]
        return found if node.outputs > 1 else found[0]
    assert isinstance(node, Output)
    parent: Any = tangents[0]
    return parent[node.place]


def _of_op(node: OpNode, tangents: Tangents, create_graph: bool) -> Value | None:
    operands, op, out = node.inputs, node.op, node.out
    if operands is None:
        raise already_freed()
    node.check_versions()
    rule = RULES.get(type(op))
    result = op.infer(*[x if isinstance(x, Type) else type_of(x) for x in operands])
    if rule is None:
        return _by_its_adjoint(node, result, tangents, create_graph)
    if create_graph:
        operands = [as_operand(x, edge) for x, edge in zip(operands, node.edges)]
        out = as_operand(out, node)
    elif tracing.depth and STATE.trace is not None and STATE.trace.at_once:
        along: Value = STATE.trace.tangent(node, rule, tangents, result)
        return along
    return expand(quietly(rule, op, operands, out, tangents), result.shape)


def _by_its_adjoint(node: OpNode, result: Type, tangents: Tangents, create_graph: bool) -> Value | None:
    with enable_grad():
        dual = _dual(result, next(as_tensor(t) for t in tangents if t is not None))
        pulled = node.backward(dual, [t is not None for t in tangents], True)
    (found,) = _along(pulled, [dual], tangents, create_graph)
    return None if found is None else as_cotangent(found, create_graph)


def _diagonal(op: Elementwise, operands: Sequence[Value], out: Value, tangents: Tangents) -> Value:
    total: Value = None
    for k, t in enumerate(tangents):
        rule = None if t is None else op.step_back(k)
        if rule is not None:
            part = rule(*operands, out, t)
            total = part if total is None else total + part
    return total


def _linear(op: Op, operands: Sequence[Value], out: Value, tangents: Tangents) -> Value:
    return apply(op, *tangents)


def _product(op: Dot, operands: Sequence[Value], out: Value, tangents: Tangents) -> Value:
    (a, b), (along_a, along_b) = operands, tangents
    if along_a is None or along_b is None:
        return apply(op, along_a, b) if along_b is None else apply(op, a, along_b)
    return apply(op, along_a, b) + apply(op, a, along_b)


RULES: dict[type[Op], Rule] = {
    Elementwise: _diagonal,
    Dot: _product,
    Clone: lambda op, operands, out, tangents: tangents[0],
    **dict.fromkeys((Reshape, Permute, Expand, Slice, Select, Flip, Cast, Sum), _linear),
}
"""By class of op."""
