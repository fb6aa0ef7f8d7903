"""What is done to all examples under `vmap`, found out once for operands of certain sorts (`known.sort_of`).

In flow an op, a function of values, or one of Tensors; out flow functions of arrays, and of Tensors, that do
the same in one step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from retrograd.compiler.ir.graph import Builder, Graph, Node, Op, Type, Value
from retrograd.compiler.passes.batch import OfAll, Operand, applied, batch, is_by_formula
from retrograd.compiler.record import NamedTuple
from retrograd.runtime.eager.adjoints import type_of
from retrograd.runtime.eager.arrays import function_to_all, straight
from retrograd.runtime.eager.folding import Folded
from retrograd.runtime.eager.record import step
from retrograd.runtime.eager.showing import shows
from retrograd.runtime.eager.steps import array_of, taking, trace_of
from retrograd.runtime.func.known import Known, Sort, sort_of
from retrograd.runtime.strided import zeros
from retrograd.runtime.tensor import Tensor

Told = tuple[bool, Type, Sort]
"""Of a result whether it is batched, its type for one example, and its sort."""


class Plan(NamedTuple):
    """What an op does."""

    compute: Callable[..., Any]
    """Arrays to an array."""
    steps: Callable[..., Tensor]
    """Tensors to a Tensor, with its history, and a view where it is one."""
    shows: bool
    """Whether it may be a view."""
    op: Op
    """One that does it."""
    told: Told


class Rule(NamedTuple):
    """What a function of values gives: several, of which some may be missing."""

    compute: Callable[..., list[Any]]
    """Arrays to arrays."""
    steps: Callable[..., list[Any]]
    """Tensors to Tensors, with their history."""
    graph: Graph
    """The same."""
    told: tuple[Told | None, ...]

    @property
    def there(self) -> list[Told]:
        """Of those that are there."""
        return [x for x in self.told if x is not None]


def planned(op: Op, operands: Sequence[Known], out: Type, size: int) -> Plan | None:
    """What an op does to these operands, of which each is an array, and which gives `out` for one example."""
    builder = Builder()
    with builder.at(None):
        inputs = [builder.input(f"x{k}", type_of(x.array)) for k, x in enumerate(operands)]
        given = [Operand(node, x.batched, x.type) for node, x in zip(inputs, operands)]
        found = applied(op, given, out, size)
    node = found.value
    if not isinstance(node, Node):
        return None
    compute = array_of(inputs, node)
    steps = taking(inputs, None, [node], lambda _: "")
    if found.batched and is_by_formula(op) and node not in inputs:
        whole = OfAll(op, tuple([x.type for x in operands]), tuple([x.batched for x in operands]), size)
        steps = step(whole, [i.type for i in inputs], node.type, by=compute)
    return Plan(compute, steps, shows([node], inputs), _as_op(inputs, node), _told(found, node))


def ruled(function: Callable[..., Sequence[Value | None]], values: Sequence[Any], size: int) -> Rule | None:
    """What a function does to these values, `Known`, or what is no value. None where it gives other things
    than nodes for nodes."""
    one, builder = Builder(), Builder()
    with one.at(None), builder.at(None):
        inputs = [one.input(f"x{k}", x.type) if isinstance(x, Known) else x for k, x in enumerate(values)]
        found = function(*inputs)
        if any(x is not None and not isinstance(x, Node) for x in found):
            return None
        known = [x for x in values if isinstance(x, Known)]
        graph = Graph("rule", tuple(one.inputs), tuple(x for x in found if x is not None))
        wholes = [builder.input(f"x{k}", type_of(x.array)) for k, x in enumerate(known)]
        batched = batch(graph, wholes, [x.batched for x in known], size)
        nodes = [x.value if isinstance(x.value, Node) else builder.constant(x.value) for x in batched]
    told = map(_told, batched, nodes)
    steps = straight(wholes, nodes, lambda node: step(node.op, [i.type for i in node.inputs], node.type))
    whole = Graph("rule", tuple(wholes), tuple(nodes))
    results = tuple([None if x is None else next(told) for x in found])
    return Rule(function_to_all(wholes, nodes), steps, whole, results)


def _told(found: Operand, node: Node) -> Told:
    like = zeros(node.shape, node.dtype.numpy)
    return found.batched, found.type, sort_of(like, found.batched)


def _as_op(inputs: Sequence[Node], node: Node) -> Op:
    return node.op if node.inputs == tuple(inputs) else Folded(Graph("folded", tuple(inputs), (node,)))


def as_one_op(function: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Op | None:
    """An op of the Tensors among the arguments that gives what the function does, if that is a new Tensor."""
    try:
        found = trace_of(function, args, kwargs)
    except (TypeError, AttributeError, ValueError, LookupError):  # the call will say what is wrong
        return None
    if found is None or not isinstance(found[0], Tensor):
        return None
    out, (node,), trace = found
    inputs = trace.builder.inputs
    halves = any(x.dtype.is_half for x in inputs)
    if trace.detached or halves or out in trace.lying or shows([node], inputs):
        return None
    return _as_op(inputs, node)
