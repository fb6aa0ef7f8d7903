"""Elementwise parts of a graph as single nodes, of which each is one pass over memory.

In flow a graph's outputs; out flow the same outputs of a graph in which rows of many elements that only feed
other such rows stand together, as a `Fused` node. Only rows that give the same bits by themselves are taken.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from retrograd.compiler.ir.graph import Array, Builder, Constant, Fixed, Graph, Node, Type, interpret, order
from retrograd.compiler.ops.elementwise import Elementwise
from retrograd.compiler.record import record
from retrograd.runtime.native import small
from retrograd.runtime.native.small import one_pass
from retrograd.runtime.native.small.elements import MOST_READ
from retrograd.runtime.native.small.steps import FEW_ELEMENTS

Compute = Callable[..., Any]


@record(eq=False)
class Fused(Fixed):
    """Rows, and the constants beside them, in a graph of arrays: nothing asks for its derivative."""

    name = "fused"
    graph: Graph

    def infer(self, *types: Type) -> Type:
        return self.graph.outputs[0].type

    def evaluate(self, *arrays: Array) -> Array:
        (out,) = interpret(self.graph, arrays)
        return np.asarray(out)

    def by_a_pass(self, slow: Compute) -> Compute:
        """What computes it; `slow` does the same for arrays that lie otherwise."""
        (out,) = self.graph.outputs
        return one_pass.function_of(self.graph.inputs, [out], [], slow) or slow


def fused(outputs: Sequence[Node | None]) -> list[Node | None]:
    """The outputs, of a graph in which rows stand together."""
    present = [node for node in outputs if node is not None]
    parts = _parts(present) if small.program.available() else {}
    if not parts:
        return [*outputs]
    within = {row for root, rows in parts.items() for row in rows if row is not root}
    builder = present[0].builder
    found: dict[Node, Node] = {}
    with builder.at(None):
        for node in order(present):
            if node in within:
                continue
            read, op = node.inputs, node.op
            if node in parts:
                graph = _graph(node, parts[node])
                read, op = _read(parts[node]), Fused(graph)
            found[node] = builder.node(op, *[found.get(x, x) for x in read])
    return [None if node is None else found.get(node, node) for node in outputs]


_LINE = 1 << 12
"""Elements that are added up while Python goes on to the next line."""


def is_sooner(outputs: Sequence[Node | None]) -> bool:
    """Whether a line of Python for each node of the fused graph is done sooner than a list of kernels, which
    goes through memory for each row, and for each operand that it repeats."""
    present = [node for node in outputs if node is not None]
    before = order(present)
    if max([node.type.size for node in before], default=0) <= FEW_ELEMENTS:
        return False
    lines = [node for node in order([x for x in fused(present) if x is not None]) if node.inputs]
    steps = sum(_size(node) * (1 + _repeated(node)) for node in before)
    return sum(_size(node) + _LINE for node in lines) < steps


def _size(node: Node) -> int:
    return node.type.size if isinstance(node.op, Elementwise | Fused) else 0


def _repeated(node: Node) -> int:
    return sum(1 < x.type.size < node.type.size for x in node.inputs)


def _parts(outputs: Sequence[Node]) -> dict[Node, list[Node]]:
    """The rows that stand together, by the last one, which alone is read by others."""
    nodes = order(outputs)
    users: dict[Node, set[Node]] = {}
    for node in nodes:
        for x in node.inputs:
            users.setdefault(x, set()).add(node)
    root: dict[Node, Node] = {}
    parts: dict[Node, list[Node]] = {}
    for node in reversed(nodes):
        if not _is_taken(node):
            continue
        roots = {root.get(user) for user in users.get(node, ())}
        last = roots.pop() if len(roots) == 1 and node not in outputs else None
        if last is not None and _fits(node, last, parts[last]):
            parts[last].insert(0, node)
            root[node] = last
        elif node.dtype in one_pass.TAKEN:
            parts[node], root[node] = [node], node
    return {last: rows for last, rows in parts.items() if len(rows) > 1}


def _is_taken(node: Node) -> bool:
    return isinstance(node.op, Elementwise) and node.type.size > FEW_ELEMENTS and small.program.is_exact(node)


def _fits(node: Node, last: Node, rows: Sequence[Node]) -> bool:
    """Whether a row may be computed in the pass of others."""
    if node.shape != last.shape or len(rows) == one_pass.MOST_LINES:
        return False
    return len(_read([node, *rows])) <= MOST_READ


def _read(rows: Sequence[Node]) -> tuple[Node, ...]:
    """What the rows read of others but numbers."""
    beside = dict.fromkeys(x for node in rows for x in node.inputs if not _is_number(x))
    return tuple(x for x in beside if x not in rows)


def _is_number(node: Node) -> bool:
    return isinstance(node.op, Constant) and node.type.size == 1


def _graph(last: Node, rows: Sequence[Node]) -> Graph:
    """The rows by themselves."""
    builder = Builder()
    with builder.at(None):
        inputs = {x: builder.input(f"x{k}", x.type) for k, x in enumerate(_read(rows))}
        known = dict(inputs)
        for node in rows:
            for x in node.inputs:
                if x not in known:
                    known[x] = builder.node(x.op)
            known[node] = builder.node(node.op, *[known[x] for x in node.inputs])
    return Graph("fused", tuple(inputs.values()), (known[last],))
