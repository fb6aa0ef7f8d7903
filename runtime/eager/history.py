"""What an application of an op leaves on the tape.

`record(kind, op, operands, values, result)` points a result to an `OpNode`, which holds the op, where the
cotangents go, and those values that the op's adjoint will look at (`Kind.needs`). Native calls do the same in
`instant/history.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from retrograd.compiler.ir.graph import Node, Op, Value
from retrograd.runtime import tracing
from retrograd.runtime.eager.adjoints import type_of
from retrograd.runtime.eager.kinds import Kind, Needs, needs_of
from retrograd.runtime.eager.opnodes import UNCHANGING, Guard, OpNode, counter_of
from retrograd.runtime.eager.packing import repack
from retrograd.runtime.eager.tape import Edge, orders
from retrograd.runtime.modes import INFERENCE, STATE, unkept
from retrograd.runtime.tensor import Tensor

SMALL = 1024
"""Operands with at most this many elements are kept whole even where only their shape matters: it is
faster.
"""


def edge_of(x: Value) -> Edge:
    """Where the cotangent of an operand goes."""
    if not isinstance(x, Tensor) or not x._requires_grad:
        return None
    if tracing.depth and STATE.trace is not None and STATE.trace.is_leaf(x):
        return x
    return x._edge if x._edge is not None else x


def _edge_inside(x: Tensor) -> Edge:
    """The same in a trace: one that applies ops as they come records nothing of what is outside."""
    trace = STATE.trace
    return None if trace is not None and trace.at_once and not trace.owns(x) else edge_of(x)


def record(
    kind: Kind,
    op: Op,
    operands: Sequence[Value],
    values: Sequence[Value],
    result: Tensor,
    shown: str = "",
) -> None:
    """Give the result its history: `op`, which is of this kind, of the operands, whose values these are."""
    if len(operands) == 1 and not tracing.depth:
        x = operands[0]
        needs = kind.needs.get(0b11)
        if needs is None:
            needs = kind.needs[0b11] = needs_of(op, values, result._value, (True,))
        guards: list[Guard] = []
        if needs.inputs[0]:
            counter = x._counter or counter_of(x)
            if counter is INFERENCE:
                raise unkept()
            guards.append((counter, counter[0], 0))
        elif values[0].size > SMALL:
            values = [type_of(values[0])]
        if needs.out:
            guards.append((counter_of(result), 0, -1))
        _append(kind, op, (x if x._edge is None else x._edge,), needs, values, guards, result, shown)
        if STATE.watched:
            _look(result._edge, operands, result)
        return
    edges: list[Edge] = []
    wanted = 1 << len(operands)  # a key that also says how many operands there are
    for x in operands:
        if isinstance(x, Tensor) and x._requires_grad:
            wanted |= 1 << len(edges)
            edges.append(_edge_inside(x) if tracing.depth else x if x._edge is None else x._edge)
        else:
            edges.append(None)
    needs = kind.needs.get(wanted)
    if needs is None:
        needs = kind.needs[wanted] = needs_of(op, values, result._value, [edge is not None for edge in edges])
    if type(result._value) is Node:
        guards, kept = needs.of_nodes, values
        _check_kept(operands, needs.inputs)
    else:
        guards, kept = _guarded(operands, values, needs.inputs)
        if needs.out:
            guards.append((counter_of(result), 0, -1))
    _append(kind, op, tuple(edges), needs, kept, guards, result, shown)
    if STATE.watched:
        _look(result._edge, operands, result)


def _check_kept(operands: Sequence[Value], needed: Sequence[bool]) -> None:
    """No inference tensor may be kept."""
    for x, need in zip(operands, needed):
        if need and isinstance(x, Tensor) and x._counter is INFERENCE:
            raise unkept()


def _guarded(
    operands: Sequence[Value], values: Sequence[Value], needed: Sequence[bool]
) -> tuple[list[Guard], Sequence[Value]]:
    """The guards of operands that are needed, and the values to keep: of large ones that are not, types."""
    _check_kept(operands, needed)
    guards: list[Guard] = []
    kept = values
    for place, (x, value, need) in enumerate(zip(operands, values, needed)):
        if need:
            counter = counter_of(x) if isinstance(x, Tensor) else UNCHANGING
            guards.append((counter, counter[0], place))
        elif value.size > SMALL:
            kept = list(kept)
            kept[place] = type_of(value)
    return guards, kept


def _append(
    kind: Kind,
    op: Op,
    edges: tuple[Edge, ...],
    needs: Needs,
    kept: Sequence[Value],
    guards: list[Guard],
    result: Tensor,
    shown: str,
) -> None:
    """A node of the tape for the result. Written out here, for every operation makes one."""
    node: OpNode = object.__new__(kind.node_class)
    node.shown = shown
    node.out = result._value if needs.out else None
    node.order = next(orders)
    node.edges = edges
    node.hooks = None
    node.op = op
    node.inputs = kept
    node.guards = guards
    result._edge = node
    result._requires_grad = True


def _look(node: Any, operands: Sequence[Value], result: Tensor) -> None:
    """What is done with each new node in anomaly mode, and while hooks take what is kept."""
    if STATE.anomaly:
        node.remember()
    if STATE.savers:
        repack(node, operands, result)
