"""Graph → Graph: products leave loops, and are computed for all turns at once.

    for t: h = tanh(h @ W + x[t] @ U)      →   p = xs @ U;  for t: h = tanh(h @ W + p[t])
    for t: y[t] = h @ V;  h = …            →   for t: hs[t] = h; …;  y = hs @ V
    for t: dW += x[t].T @ d                →   for t: ds[t] = d; …;  dW += xs.T @ ds, summed over t, too

What a turn computes without that which goes from turn to turn is there before the loop; what the next turn
does not need may come after it; and of a sum over turns both are true. Where products are among these, one
product of all turns' rows takes the place of many small ones, which leave the loop, and only what each turn
must wait for stays. (Batched projections of recurrent layers: J. Appleyard et al., "Optimizing Performance of
Recurrent Neural Networks on GPUs", 2016; here for any loop, and its derivatives.) Rows are what
`passes/batch` makes of a turn. Loops of which nobody knows how many turns they make stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

from retrograd.compiler.adjoint import cut
from retrograd.compiler.ir.graph import OPS, Builder, Graph, Input, Node, Op, apply, order
from retrograd.compiler.ops.contract import Dot, dot
from retrograd.compiler.ops.convolution import Convolution
from retrograd.compiler.ops.loop import Loop, Result, result
from retrograd.compiler.ops.matrix import Linear
from retrograd.compiler.ops.reduce import sum_
from retrograd.compiler.ops.shape import Permute, Reshape, permute, reshape
from retrograd.compiler.passes.batch import batch, batchable
from retrograd.compiler.passes.trim import read_of, trim
from retrograd.compiler.record import replace

PRODUCTS: tuple[type[Op], ...] = (Dot, Linear, Convolution)
_MOST = 1 << 28
"""Bytes that the rows of one value may take."""


def fission(graph: Graph) -> Graph:
    """The same graph, with products outside of its loops where they can be. Without loops it is itself."""
    graph = trim(graph)
    if not any(isinstance(n.op, Loop) for n in graph.nodes):
        return graph
    builder = Builder()
    known: dict[Node, Node] = {}
    results: dict[Node, dict[int, Node]] = {}
    for node in graph.inputs:
        assert isinstance(node.op, Input)
        known[node] = builder.input(node.op.label, node.type)
    for node in graph.nodes:
        with builder.at(node.where):
            if isinstance(node.op, Loop):
                whole = replace(node.op, body=fission(node.op.body))
                operands = [known[i] for i in node.inputs]
                results[node] = _in_parts(builder, whole, operands, read_of(graph, node))
            elif isinstance(node.op, Result):
                known[node] = results[node.inputs[0]][node.op.place]
            else:
                known[node] = builder.node(node.op, *(known[i] for i in node.inputs))
    return trim(Graph(graph.name, tuple(builder.inputs), tuple(known[n] for n in graph.outputs)))


def _in_parts(builder: Builder, op: Loop, operands: Sequence[Node], read: set[int]) -> dict[int, Node]:
    """Those results of a loop that are read, by their places."""
    if not isinstance(op.turns, int) or op.turns < 2:
        loop = builder.node(op, *operands)
        return {place: result(loop, place) for place in read}
    return _Parts(op, op.turns, operands, read).results(builder)


class _Parts:
    """What of a loop's body comes before the loop, in it, and after it."""

    def __init__(self, op: Loop, turns: int, operands: Sequence[Node], read: set[int]) -> None:
        self._op, self._turns, self._operands, self._read = op, turns, operands, read
        body, count = op.body, op.carried
        self._carried, self._scanned = body.inputs[:count], body.inputs[count : count + op.scanned]
        self._fixed = body.inputs[count + op.scanned :]
        self._left, self._stacked = body.outputs[:count], body.outputs[count:]
        self._late = _after(body.nodes, self._carried)
        """What depends on what is carried."""
        self._varying = _after(body.nodes, (*self._carried, *self._scanned))
        self._sums = {k: x for k in range(count) if (x := self._summand(k)) is not None}
        """What is added up in all turns, where the turns do not need the sums."""
        self._core = set(order([x for k, x in enumerate(self._left) if k not in self._sums]))
        """What the next turn waits for."""
        ends = [*self._sums.values(), *self._stacked]
        self._later = {x for x in ends if self._can_wait(x)}
        known = self._rows_for(self._later)
        self._later |= {x for x in self._sums.values() if self._free(x) and self._rows_for([x]) <= known}

    def _summand(self, place: int) -> Node | None:
        """The value that each turn adds to a carried one, if that is all that it does with it."""
        start, end = self._carried[place], self._left[place]
        outputs = self._op.body.outputs
        uses = [n for n in self._op.body.nodes if start in n.inputs or end in n.inputs]
        if end.op is not OPS["add"] or uses != [end] or start not in end.inputs:
            return None
        if outputs.count(end) > 1 or start in outputs or self._op.histories[place] in self._read:
            return None
        (summand,) = [x for x in end.inputs if x is not start] or [start]
        return summand if summand is not start and summand.type == end.type else None

    def _own(self, end: Node) -> list[Node]:
        """What a turn computes for a value alone, or can compute again from rows that there are."""
        return [n for n in order([end]) if n in self._varying and not (n in self._core and n in self._late)]

    def _free(self, end: Node) -> bool:
        return all(batchable(n.op) for n in self._own(end))

    def _can_wait(self, end: Node) -> bool:
        """Whether a value is better computed for all turns at once: a product is part of it, or all of it is
        there without the loop."""
        return self._free(end) and (end not in self._late or self._holds_product(end))

    def _holds_product(self, end: Node) -> bool:
        return any(isinstance(n.op, PRODUCTS) for n in self._own(end))

    def _rows_for(self, ends: Iterable[Node]) -> set[Node]:
        """Of which values rows are needed, that these may be computed after the loop."""
        found: set[Node] = set()
        for end in ends:
            own = self._own(end)
            found |= {i for n in own for i in n.inputs if i in self._late}.difference(own)
            found |= {end} & self._core & self._late
        return found

    def _early(self, ends: Sequence[Node]) -> list[Node]:
        """What the turns read that is the same without them, and holds a product."""
        nodes = order(ends)
        read = dict.fromkeys(chain((i for n in nodes if n in self._late for i in n.inputs), ends))
        apart = [n for n in read if n in self._varying and n not in self._late]
        small = [n for n in apart if n.type.nbytes * self._turns <= _MOST]
        return [n for n in small if self._free(n) and self._holds_product(n)]

    def results(self, builder: Builder) -> dict[int, Node]:
        """The loop in its parts, written down."""
        op, count, operands = self._op, self._op.carried, self._operands
        rows = dict(zip(self._scanned, operands[count:]))
        kept = [k for k in range(count) if self._sums.get(k) not in self._later]
        stays = [j for j, x in enumerate(self._stacked) if x not in self._later]
        ends = [*(self._left[k] for k in kept), *(self._stacked[j] for j in stays)]
        early = self._early(ends)
        rows |= zip(early, self._batched(early, rows))
        wanted = self._rows_for(self._later)
        between = [n for n in self._op.body.nodes if n in wanted]
        starts = [*(self._carried[k] for k in kept), *rows, *self._fixed]
        given = [*(operands[k] for k in kept), *rows.values(), *operands[count + op.scanned :]]
        body = cut(op.body.name, starts, [*ends, *between])
        whole = Loop(body, len(kept), len(rows), self._turns, op.backwards)
        loop = builder.node(whole, *given)
        found = {k: result(loop, place) for place, k in enumerate(kept)}
        found |= {count + j: result(loop, len(kept) + place) for place, j in enumerate(stays)}
        rows |= {n: result(loop, len(ends) + place) for place, n in enumerate(between)}
        for place, k in enumerate(kept):
            rows[self._carried[k]] = found[op.histories[k]] = result(loop, whole.histories[place])
        found[op.count] = result(loop, whole.count)
        found |= {k: operands[k] + self._total(x, rows) for k, x in self._sums.items() if x in self._later}
        after = {count + j: x for j, x in enumerate(self._stacked) if x in self._later}
        return found | dict(zip(after, self._batched(list(after.values()), rows)))

    def _total(self, summand: Node, rows: Mapping[Node, Node]) -> Node:
        """The sum over all turns; of products it is one of longer rows."""
        parts = summand.inputs
        if isinstance(summand.op, Permute | Reshape) and parts[0] in self._varying:
            moved: Node = apply(summand.op, self._total(parts[0], rows))
            return moved
        if summand.op is OPS["add"] and all(n in self._varying and n.type == summand.type for n in parts):
            return self._total(parts[0], rows) + self._total(parts[1], rows)  # type: ignore[no-any-return]  # of nodes
        if type(summand.op) is not Dot or summand.ndim != 2:
            (found,) = self._batched([summand], rows)
            total: Node = sum_(found, (0,))
            return total
        a, b = self._batched(list(summand.inputs), rows)
        (_, m, k), n = a.shape, b.shape[-1]
        length = self._turns * k
        product: Node = dot(reshape(permute(a, (1, 0, 2)), (m, length)), reshape(b, (length, n)))
        return product

    def _batched(self, ends: Sequence[Node], rows: Mapping[Node, Node]) -> list[Node]:
        """These values of the body for all turns, from rows."""
        starts = [*rows, *self._fixed]
        given = [*rows.values(), *self._operands[self._op.carried + self._op.scanned :]]
        flags = [True] * len(rows) + [False] * len(self._fixed)
        graph = cut(self._op.body.name, starts, ends)
        return [x.everywhere(self._turns) for x in batch(graph, given, flags, self._turns)]


def _after(nodes: Iterable[Node], starts: Iterable[Node]) -> set[Node]:
    """What depends on these, they included."""
    found = set(starts)
    for node in nodes:
        if any(i in found for i in node.inputs):
            found.add(node)
    return found
