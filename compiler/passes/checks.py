"""Graph → Graph: index operands are checked where the code runs.

Compiled code clamps every index into its axis, so it never touches foreign memory; whether one was out of
range is told by further outputs, one bool for each check, which the caller must look at and turn into an
error at the user's line.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from retrograd.compiler.errors import DimensionError, Location, mirrored
from retrograd.compiler.ir.graph import Constant, Graph, Node
from retrograd.compiler.ops.index import Put, PutAdd, PutAlongAdd, Take, TakeAlong
from retrograd.compiler.ops.reduce import any_
from retrograd.compiler.ops.rows import rows
from retrograd.compiler.ops.shape import Iota, Movement
from retrograd.compiler.ops.sort import Argsort


@dataclass(frozen=True, slots=True)
class IndexCheck:
    """What an output that is True means."""

    op: str
    size: int
    where: Location | None

    def error(self, evaluated: DimensionError | None = None) -> DimensionError:
        """The error to raise; what evaluation says of the same elements, if those are PyTorch's words."""
        what = f"{self.op} with an index out of range"
        if evaluated is not None and hasattr(evaluated, "__notes__"):  # a mirrored sentence has its notes
            return DimensionError(what, mirrored(str(evaluated)), "check the index tensor", where=self.where)
        return DimensionError(
            what, f"the axis has size {self.size}", "check the index tensor", where=self.where
        )


def add_checks(graph: Graph) -> tuple[Graph, tuple[IndexCheck, ...]]:
    """The graph with one more output for each check, in order."""
    found: dict[tuple[Node, int], IndexCheck] = {}
    for node in graph.nodes:
        match node.op:
            case Take(axis=axis) | TakeAlong(axis=axis):
                size = node.inputs[0].shape[axis]
            case PutAdd(size=size) | PutAlongAdd(size=size):
                pass
            case Put():
                size = node.shape[0]
            case _:
                continue
        index = node.inputs[1]
        if index.type.size and not _is_safe(index, size):
            found.setdefault((index, size), IndexCheck(node.op.name, size, node.where))
    flags = tuple(_is_outside(index, size) for index, size in found)
    return Graph(graph.name, graph.inputs, graph.outputs + flags), tuple(found.values())


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
