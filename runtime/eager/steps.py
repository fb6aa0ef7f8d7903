"""Steps: what a function of Tensors does for operands of certain types, as a straight line of ops.

In flow the function and the arguments of one call, which is traced; out flows a plan: a function of the
Tensors among them that applies the same ops, or, where nothing is recorded, goes through their arrays at
once. The other kinds of plans (`plans.py`) are made of its parts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from retrograd.compiler.errors import RetrogradError
from retrograd.compiler.ir.graph import Input, Node, order
from retrograd.compiler.ops.copy import Contiguous
from retrograd.runtime.eager.adjoints import type_of
from retrograd.runtime.eager.arrays import (
    by_arrays,
    by_arrays_to_one,
    computing,
    straight,
    straight_to_one,
)
from retrograd.runtime.eager.folding import folded
from retrograd.runtime.eager.fusing import is_sooner
from retrograd.runtime.eager.instant import calls
from retrograd.runtime.eager.kinds import kind_of
from retrograd.runtime.eager.opnodes import OpNode
from retrograd.runtime.eager.record import step
from retrograd.runtime.eager.retaking import again
from retrograd.runtime.eager.showing import may_be_operand, shows
from retrograd.runtime.eager.wholes import OfGraph, of_graph
from retrograd.runtime.modes import no_grad
from retrograd.runtime.native import small
from retrograd.runtime.tensor import Tensor
from retrograd.runtime.tracing import Trace, unbroken

Plan = Callable[..., Any]
"""What to do with the operands, the Tensors among the arguments in their order."""
Planner = Callable[[Callable[..., Any], Sequence[Any], dict[str, Any], str], Plan | None]
"""What makes one for a function, its arguments, and the name of its history."""


@unbroken
def trace_of(
    f: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any], drawing: bool = False,
    lying: bool = False,
) -> tuple[Any, list[Node], Trace] | None:  # fmt: skip
    """What the function gives in a trace, the nodes of that, and the trace; None where it fails, or where its
    results are not all new Tensors. With `drawing` it may draw numbers, and they may be the result. Operands
    lie in order, unless `lying` where they do.
    """
    with Trace(planned=True) as trace, no_grad():
        standing, own, named = stand_ins(trace, args, kwargs, lying)
        try:
            out = f(*own, **named)
        except RetrogradError:
            return None
        updated = any(x._value is not node for x, node in zip(standing, trace.builder.inputs))
    if updated and not drawing:
        return None
    results = out if isinstance(out, tuple) else (out,)
    nodes = [x._value for x in results if isinstance(x, Tensor) and isinstance(x._value, Node)]
    others = len(trace.captured) - len(trace.draws)
    if len(nodes) < len(results) or others or trace.mutated or trace.unchecked:
        return None
    if any(may_be_operand(node) for node in nodes):
        return None
    made = [node for node in nodes if not has_operands(node)]
    if not drawing and (trace.draws or len(made) == len(nodes) or any(node.type.size for node in made)):
        return None
    return out, nodes, trace


def stand_ins(
    trace: Trace, args: Sequence[Any], kwargs: dict[str, Any], lying: bool = False
) -> tuple[list[Tensor], list[Any], dict[str, Any]]:
    """Tensors in the trace in place of those among the arguments, `lying` as they do, and the arguments with
    them."""
    standing: list[Tensor] = []

    def stand_in(x: Any) -> Any:
        if isinstance(x, Tensor):
            node = trace.builder.input(f"x{len(standing)}", type_of(x._value))
            standing.append(Tensor(node))
            if lying:
                trace.lay(standing[-1], trace.strides(x))
            return standing[-1]
        return type(x)(map(stand_in, x)) if type(x) in (tuple, list) else x

    own = [stand_in(x) for x in args]  # in the operands' order
    return standing, own, {name: stand_in(x) for name, x in kwargs.items()}


def has_operands(node: Node) -> bool:
    """Whether it is made of operands, not of constants alone."""
    return any(type(operand.op) is Input for below in order([node]) for operand in below.inputs)


def steps(f: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any], shown: str) -> Plan | None:
    """What the function does, as steps; None where it fails, or where its results are not all new Tensors."""
    found = trace_of(f, args, kwargs)
    if found is None:
        return None
    out, nodes, trace = found
    inputs = trace.builder.inputs
    if not trace.detached:
        return taking(inputs, out, nodes, of_graph(shown, args, kwargs, inputs, nodes))
    if not isinstance(out, Tensor) or out._view is not None or nodes[0] in inputs:
        return None
    run = taking(inputs, out, nodes, of_graph(shown, args, kwargs, inputs, nodes))
    return _without_history(run, again(f, args, kwargs))


def _without_history(run: Plan, retaken: Plan) -> Plan:
    """The steps, where no operand has a history that they would have to end; else the function itself."""

    def running(*given: Tensor) -> Any:
        for x in given:
            if x._requires_grad:
                return retaken(*given)
        return run(*given)

    return running


Names = Callable[[Node], str]
"""What the tape's node for a result's node is called."""


def taking(given: Sequence[Node], out: Any, nodes: Sequence[Node], shown: Names) -> Plan:
    """The steps to the nodes of a result, from these inputs."""
    inputs = tuple(given)
    if not isinstance(out, tuple):
        (node,) = nodes
        if node.inputs == inputs:
            return applied(node, shown(node))
        return _run_to_one(inputs, node, shown)
    kind: Any = type(out)
    made = kind._make if hasattr(kind, "_make") else kind
    several = [x._view.several if x._view is not None else "" for x in out]

    def views(found: list[Tensor]) -> Any:
        for x, name in zip(found, several):
            if x._view is not None:
                x._view.several = name
        return made(found)

    return _run(inputs, nodes, shown, views if any(several) else made)


def applied(node: Node, shown: str, linked: bool = True) -> Callable[..., Any]:
    """The op applied to Tensors; to arrays, where it sees constants alone. What shows elements that nobody
    else has is no view, and not `linked`."""
    if not has_operands(node):
        return _computing(node)
    by = None if linked or not kind_of(node.op).is_view else _computing(node)
    one = step(node.op, [i.type for i in node.inputs], node.type, shown, by)
    return _in_order(one, shown) if type(node.op) is Contiguous and not isinstance(shown, OfGraph) else one


def _in_order(copied: Callable[..., Any], shown: str) -> Callable[..., Any]:
    """What the steps before have made, itself where it lies in order, as `contiguous()` gives it; else a
    copy."""

    def lying(x: Any) -> Any:
        if not x._value.flags.c_contiguous:
            return copied(x)
        if shown and isinstance(x._edge, OpNode):
            x._edge.shown = shown
        return x

    return lying


def _run(
    inputs: Sequence[Node], nodes: Sequence[Node], shown: Names, make: Callable[[list[Tensor]], Any]
) -> Plan:
    """The steps one after the other; `make` makes the result of the list of Tensors, of which those without
    elements may be made of nothing. Where nothing is recorded, and none shows an operand's elements, the
    arrays go through all of them at once.
    """
    steps = straight(inputs, nodes, lambda node: applied(node, shown(node) if node in nodes else ""))
    of_nothing = [k for k, node in enumerate(nodes) if not has_operands(node)]

    def recorded(*operands: Tensor) -> Any:
        found = steps(*operands)
        for k in of_nothing:
            found[k] = Tensor(found[k])
        return make(found)

    if shows(nodes, inputs):
        return recorded
    return calls.several(arrays_of(inputs, nodes), len(inputs), make, recorded)


def _run_to_one(inputs: Sequence[Node], node: Node, shown: Names) -> Callable[..., Tensor]:
    """The same for one result, which is one op where it can be."""

    def steps(linked: bool) -> Callable[..., Tensor]:
        def one(each: Node) -> Callable[..., Any]:
            return applied(each, shown(node) if each is node else "", linked or shows([each], inputs))

        return straight_to_one(inputs, node, one)

    if shows([node], inputs):
        return steps(linked=True)
    in_python = by_arrays_to_one(inputs, node)
    native = small.program.same_to_one(inputs, node, in_python, not is_sooner([node]))
    if native is not None and (one := folded(inputs, node, shown(node))) is not None:
        op, name = one
        return step(op, [i.type for i in inputs], node.type, name, native)
    return calls.unrecorded(native or in_python, len(inputs), steps(linked=False))


def arrays_of(inputs: Sequence[Node], nodes: Sequence[Node]) -> Callable[..., list[Any]]:
    """The nodes' arrays from the inputs'."""
    in_python = by_arrays(inputs, nodes)
    return small.program.same_of(inputs, nodes, in_python, not is_sooner(nodes)) or in_python


def array_of(inputs: Sequence[Node], node: Node) -> Callable[..., Any]:
    """The node's array from the inputs'."""
    in_python = by_arrays_to_one(inputs, node)
    return small.program.same_to_one(inputs, node, in_python, not is_sooner([node])) or in_python


def _computing(node: Node) -> Callable[..., Any]:
    return computing(node.op, [i.type for i in node.inputs])
