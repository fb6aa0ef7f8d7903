"""Graph → Graph: loops compute what is read of them, and nothing else.

Where a loop is written down, nobody knows yet what the way back will want of it, so its body offers all that
it computes. Here the graph is whole: of each loop stay the results that are read, what these need from turn
to turn, and the operands for that; and likewise in the bodies. What no turn changes is computed before the
loop.
"""

from __future__ import annotations

from collections.abc import Sequence

from retrograd.compiler.adjoint import CHEAP, cut
from retrograd.compiler.ir.graph import Builder, Graph, Input, Node, interpret, order
from retrograd.compiler.ops.loop import Loop, Result, result
from retrograd.compiler.ops.shape import expand
from retrograd.compiler.passes.checks import may_fail
from retrograd.compiler.record import replace


def trim(graph: Graph) -> Graph:
    """The same graph, with loops that compute no more than is read. Without loops it is itself."""
    if not any(isinstance(n.op, Loop) for n in graph.nodes):
        return graph
    builder = Builder()
    known = {n: builder.input(n.op.label, n.type) for n in graph.inputs if isinstance(n.op, Input)}
    results: dict[Node, dict[int, Node]] = {}
    for node in graph.nodes:
        with builder.at(node.where):
            operands = [known[i] for i in node.inputs if i in known]
            if isinstance(node.op, Loop):
                results[node] = _Part(node.op, read_of(graph, node)).results(builder, operands)
            elif isinstance(node.op, Result):
                known[node] = results[node.inputs[0]][node.op.place]
            else:
                known[node] = builder.node(node.op, *operands)
    return Graph(graph.name, tuple(builder.inputs), tuple(known[n] for n in graph.outputs))


def read_of(graph: Graph, loop: Node) -> set[int]:
    """The results of a loop that the graph reads, by their places."""
    return {n.op.place for n in graph.nodes if isinstance(n.op, Result) and n.inputs == (loop,)}


class _Part:
    """The part of a loop that these results need. What no turn changes is not carried."""

    def __init__(self, whole: Loop, read: set[int]) -> None:
        body, count = whole.body, whole.carried
        static = isinstance(whole.turns, int)
        self._whole, self._read = whole, read
        self._same = {
            k
            for k in range(count)
            if body.outputs[k] is body.inputs[k] and (static or whole.histories[k] not in read)
        }
        self._stacked = [k for k in range(count, count + whole.stacked) if k in read]
        carried = {k for k in range(count) if k in read or whole.histories[k] in read} - self._same
        more = True
        while more:
            ends = [body.outputs[k] for k in (*sorted(carried), *self._stacked)]
            ends += body.outputs[-1:] if whole.asks else ()
            needed = {i for n in order(ends) for i in n.inputs}.union(ends)
            new = {k for k in range(count) if body.inputs[k] in needed} - carried - self._same
            carried |= new
            more = bool(new)
        self._ends, self._carried = ends, sorted(carried)
        rest = [k for k in range(count, len(body.inputs)) if body.inputs[k] in needed]
        self._scanned = [k for k in rest if k < count + whole.scanned]
        self._fixed = [k for k in rest if k >= count + whole.scanned]
        self._fixed += [k for k in sorted(self._same) if body.inputs[k] in needed]

    def results(self, builder: Builder, operands: Sequence[Node]) -> dict[int, Node]:
        """Those that are read, by their places in the whole."""
        whole, body = self._whole, self._whole.body
        taken = [*self._carried, *self._scanned, *self._fixed]
        apart = self._apart()
        starts = [body.inputs[k] for k in taken]
        part = trim(cut(body.name, [*starts, *apart], self._ends))
        op = replace(whole, body=part, carried=len(self._carried), scanned=len(self._scanned))
        given = [operands[k] for k in taken]
        given += interpret(cut(body.name, starts, apart), given) if apart else []
        loop = builder.node(op, *given, *operands[len(body.inputs) :])
        found = {k: result(loop, place) for place, k in enumerate((*self._carried, *self._stacked))}
        for place, k in enumerate(self._carried):
            found[whole.histories[k]] = result(loop, op.histories[place])
        for k in self._same:
            found[k] = operands[k]
            if isinstance(whole.turns, int):
                found[whole.histories[k]] = expand(operands[k], (whole.turns, *operands[k].shape))
        return {**found, whole.count: result(loop, op.count)}

    def _apart(self) -> list[Node]:
        """What is the same in all turns, and takes longer than reading it."""
        nodes = order(self._ends)
        varying = {self._whole.body.inputs[k] for k in (*self._carried, *self._scanned)}
        for node in nodes:
            if any(i in varying for i in node.inputs):
                varying.add(node)
        read = dict.fromkeys(i for n in nodes if n in varying for i in n.inputs) | dict.fromkeys(self._ends)
        heavy = {n for n in nodes if not isinstance(n.op, CHEAP)}
        surely = isinstance(self._whole.turns, int)
        stays = {n for n in nodes if not surely and may_fail(n.op)}
        same = {n: set(order([n])) for n in read if n not in varying}
        return [n for n, parts in same.items() if parts & heavy and not parts & stays]
