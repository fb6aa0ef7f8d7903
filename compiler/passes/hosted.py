"""A graph with ops that no loops are written for (LAPACK's) → the graphs between them.

In flow a graph; out flow its parts, in the order in which they run: stages, each a graph that can be compiled
and then hosted ops, which are evaluated. As much as possible is done in as few stages as possible: a node
belongs to the stage that its last hosted operand allows, and constants are written into each stage anew.
"""

from __future__ import annotations

from collections.abc import Iterable

from retrograd.compiler.adjoint import cut
from retrograd.compiler.ir.graph import Graph, Input, Leaf, Node
from retrograd.compiler.record import record


@record(eq=False)
class Stage:
    """A graph to be compiled, and the hosted ops that can be evaluated after it."""

    graph: Graph
    takes: tuple[Node, ...]
    """The nodes of the whole graph that its inputs are."""
    gives: tuple[Node, ...]
    """The nodes of the whole graph that its outputs are."""
    hosted: tuple[Node, ...]


def compiled_graphs(graph: Graph) -> list[Graph]:
    """What is compiled of a graph: itself, where nothing in it is hosted."""
    if not any(node.op.hosted for node in graph.nodes):
        return [graph]
    return [stage.graph for stage in stages(graph) if stage.gives]


def stages(graph: Graph) -> list[Stage]:
    """The graph in stages. Outputs that are inputs or constants are given by the first one."""
    number = _numbered(graph)
    count = 1 + max(number[n] for n in (*graph.nodes, *graph.outputs))
    reads: list[dict[Node, None]] = [{} for _ in range(count)]
    gives: list[dict[Node, None]] = [{} for _ in range(count)]
    hosted: list[list[Node]] = [[] for _ in range(count)]
    for node in graph.nodes:
        if node.op.hosted:
            hosted[number[node] - 1].append(node)
        for operand in node.inputs:
            if _is_constant(operand) and not node.op.hosted:
                continue
            there = operand.op.hosted or isinstance(operand.op, Input)
            crosses = node.op.hosted or number[operand] < number[node]
            if crosses and not there:
                gives[number[operand]][operand] = None
            if not node.op.hosted and (crosses or there):
                reads[number[node]][operand] = None
    for output in graph.outputs:
        if not output.op.hosted:
            gives[number[output]][output] = None
    return [
        _stage(f"{graph.name}_{k}" if k else graph.name, reads[k], gives[k], hosted[k]) for k in range(count)
    ]


def _stage(name: str, reads: Iterable[Node], gives: Iterable[Node], hosted: Iterable[Node]) -> Stage:
    ends = tuple(gives)
    starts = tuple(dict.fromkeys([*reads, *(n for n in ends if isinstance(n.op, Input))]))
    return Stage(cut(name, starts, ends), starts, ends, tuple(hosted))


def _numbered(graph: Graph) -> dict[Node, int]:
    """The stage in which each node is there: a hosted op's result only in the next."""
    number: dict[Node, int] = {}
    for node in (*graph.inputs, *graph.nodes):
        number[node] = max((number[i] for i in node.inputs), default=0) + node.op.hosted
    return number


def _is_constant(node: Node) -> bool:
    return isinstance(node.op, Leaf) and not isinstance(node.op, Input)
