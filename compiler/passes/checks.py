"""Graph → Graph: what ops ask of their operands' elements is checked where the code runs.

Compiled code clamps every index into its axis, so it never touches foreign memory; whether one was out of
range, or a composite was given elements that it does not admit, is told by further outputs, one bool for each
check, which the caller must look at and turn into an error at the user's line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from retrograd.compiler.errors import ArgumentError, DimensionError, Location, RetrogradError, mirrored
from retrograd.compiler.ir.graph import Constant, Graph, Node, Op
from retrograd.compiler.ops.composite import Composite
from retrograd.compiler.ops.index import Put, PutAdd, PutAlongAdd, Take, TakeAlong
from retrograd.compiler.ops.iota import Iota
from retrograd.compiler.ops.joined import PutAlongJoined
from retrograd.compiler.ops.reduce import any_
from retrograd.compiler.ops.rows import rows
from retrograd.compiler.ops.shape import Movement
from retrograd.compiler.ops.sort import Argsort

_INDEXED = (Take, TakeAlong, PutAdd, PutAlongAdd, PutAlongJoined, Put)


def may_fail(op: Op) -> bool:
    """Whether an op may refuse elements of its operands, or never end, where it runs."""
    if isinstance(op, Composite):
        return type(op).admits is not Composite.admits
    return op.hosted or isinstance(op, _INDEXED)


@dataclass(frozen=True, slots=True)
class Check:
    """What an output that is True means."""

    op: str
    size: int | None
    """Of the axis, where an index is checked."""
    where: Location | None

    def error(self, evaluated: RetrogradError | None = None) -> RetrogradError:
        """The error to raise; what evaluation says of the same elements, if those are PyTorch's words."""
        index = self.size is not None
        what = f"{self.op} with an index out of range" if index else f"{self.op} of elements out of range"
        advice = "check the index tensor" if index else "check the operands"
        if evaluated is not None and hasattr(evaluated, "__notes__"):  # a mirrored sentence has its notes
            return type(evaluated)(what, mirrored(str(evaluated)), advice, where=self.where)
        if index:
            return DimensionError(what, f"the axis has size {self.size}", advice, where=self.where)
        return ArgumentError(what, "the op does not take them", advice, where=self.where)


def add_demands(graph: Graph) -> tuple[Graph, tuple[Check, ...]]:
    """The graph, which still has its composites, with one more output for each that asks something."""
    flags, checks = [], []
    for node in graph.nodes:
        if isinstance(node.op, Composite) and node.inputs[0].type.size and not _is_known(node):
            with node.builder.at(node.where):
                admitted = node.op.admits(*node.inputs)
                if admitted is not None:
                    flags.append(any_(rows.logical_not(admitted), range(len(admitted.shape))))
                    checks.append(Check(node.op.name, None, node.where))
    return _flagged(graph, flags), tuple(checks)


def _is_known(node: Node) -> bool:
    """Are its operands constants, and admitted?"""
    assert isinstance(node.op, Composite)
    constants = [i.op.value for i in node.inputs if isinstance(i.op, Constant)]
    if len(constants) < len(node.inputs):
        return False
    try:
        node.op.inspect(*constants)
    except RetrogradError:
        return False
    return True


def add_checks(graph: Graph) -> tuple[Graph, tuple[Check, ...]]:
    """The graph with one more output for each index that may be out of range, in order."""
    found: dict[tuple[Node, int], Check] = {}
    for node in graph.nodes:
        match node.op:
            case Take(axis=axis) | TakeAlong(axis=axis):
                size = node.inputs[0].shape[axis]
            case PutAdd(size=size) | PutAlongAdd(size=size):
                pass
            case PutAlongJoined(axis=axis):
                size = node.shape[axis]
            case Put():
                size = node.shape[0]
            case _:
                continue
        index = node.inputs[1]
        if index.type.size and not _is_safe(index, size):
            found.setdefault((index, size), Check(node.op.name, size, node.where))
    return _flagged(graph, [_is_outside(index, size) for index, size in found]), tuple(found.values())


def _flagged(graph: Graph, flags: Sequence[Node]) -> Graph:
    """The graph with these outputs more."""
    return Graph(graph.name, graph.inputs, (*graph.outputs, *flags)) if flags else graph


def _is_safe(index: Node, size: int) -> bool:
    """Is every element known to lie within the axis?"""
    while isinstance(index.op, Movement):
        index = index.inputs[0]
    if isinstance(index.op, Constant):
        return bool(np.all((index.op.value >= -size) & (index.op.value < size)))
    return isinstance(index.op, Argsort | Iota) and max(index.shape, default=0) <= size


def _is_outside(index: Node, size: int) -> Node:
    with index.builder.at(index.where):
        outside = rows.logical_or(rows.lt(index, -size), rows.ge(index, size))
        flag: Node = any_(outside, range(index.ndim))
        return flag
