"""Graph → Graph: reverse mode, and the question of what to keep for it.

`joint` puts values and gradients into one graph, which is what `value_and_grad` compiles: nothing needs to be
saved between the two, and a loop that computes a value may compute its derivative too. `pair` splits the same
graph into a forward and a backward half, for a value whose cotangent comes later. Derivatives themselves are
in `ops`, the reverse loop is `ops.reverse.backpropagate`; here is only where it starts and ends.

What `pair` keeps is a minimum cut of the forward nodes (vertices are nodes, capacities the bytes moved): on
one side what the forward half computes, on the other what the backward half computes again because that is
cheaper than storing it. Only ops that cost no more than reading memory (`CHEAP`) are computed twice. To let
another one be, add its class. What is compared for equality (an element with the greatest, for its gradient)
is not: another kernel may round otherwise in the last place.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import pairwise
from math import inf
from typing import Literal

from retrograd.compiler.errors import CompilerError
from retrograd.compiler.ir.graph import OPS, Builder, Graph, Input, Leaf, Node, Op, order
from retrograd.compiler.ops.elementwise import Elementwise
from retrograd.compiler.ops.loop import made_again, unkept
from retrograd.compiler.ops.reverse import backpropagate
from retrograd.compiler.ops.shape import Cast, Movement, expand
from retrograd.compiler.record import record

CHEAP: tuple[type[Op], ...] = (Elementwise, Movement, Cast, Leaf)
"""Ops whose value may be computed a second time instead of being stored."""
EXACT = (OPS["eq"], OPS["ne"])
"""Those that depend on the last bit of their operands."""


@record(slots=True)
class Pair:
    """A graph and its derivative, as two graphs that run one after the other."""

    forward: Graph
    """Outputs: the primal outputs, then residuals."""
    backward: Graph
    """Inputs: saved values, then one cotangent for each floating output. Outputs: the gradients."""
    saved: tuple[int, ...]
    """Where each saved value is found, counted through forward's inputs and then its outputs."""


def joint(graph: Graph, wrt: Sequence[int], seeds: Literal["one", "given"] = "one") -> Graph:
    """Outputs of `graph`, then the gradients by its inputs number `wrt`, as one graph.

    With seeds "one" the first output is a floating scalar and its derivative is taken, and the others are let
    be. With "given", the graph has one more input for each floating output, its cotangent. An input without
    influence has a gradient of zeros.
    """
    builder = (*graph.outputs, *graph.inputs)[0].builder
    if seeds == "one":
        loss = graph.outputs[0]
        if loss.type.size != 1 or not loss.dtype.is_floating_point:
            raise CompilerError(
                f"the derivative of {loss.type}", "only a floating scalar has one without a cotangent"
            )
        seeded = [(loss, _full(loss, 1))]
    else:
        floating = [n for n in graph.outputs if n.dtype.is_inexact]
        taken = {n.op.label for n in graph.inputs if isinstance(n.op, Input)}
        seeded = [(n, builder.input(_fresh(f"ct{k}", taken), n.type)) for k, n in enumerate(floating)]
    total: dict[Node, Node] = {}
    for node, seed in seeded:
        total[node] = total[node] + seed if node in total else seed
    wanted = [graph.inputs[k] for k in wrt]
    found = backpropagate(total, wanted)
    gradients = tuple(found[n] if n in found else _full(n, 0) for n in wanted)
    cotangents = tuple(seed for _, seed in seeded) if seeds == "given" else ()
    return Graph(f"{graph.name}_and_gradient", graph.inputs + cotangents, graph.outputs + gradients)


def vjp(graph: Graph, wrt: Sequence[int]) -> Graph:
    """The gradients alone, from the inputs and the cotangents: everything else is computed on the way."""
    both = joint(graph, wrt, "given")
    return Graph(f"{graph.name}_vjp", both.inputs, both.outputs[len(graph.outputs) :])


def pair(graph: Graph, wrt: Sequence[int]) -> Pair:
    """The graph and its vjp by the inputs number `wrt` as two graphs, with little kept between them."""
    both = joint(graph, wrt, "given")
    return split(Graph(graph.name, both.inputs, both.outputs), len(graph.inputs), len(graph.outputs))


def split(whole: Graph, inputs: int, outputs: int) -> Pair:
    """The two halves of a graph whose first inputs are primal and the others cotangents, and whose first
    outputs are primal and the others gradients."""
    primals, cotangents = whole.inputs[:inputs], whole.inputs[inputs:]
    values, gradients = whole.outputs[:outputs], whole.outputs[outputs:]
    held = (*primals, *values)
    kept = _cheapest_cut(primals, values, cotangents, gradients)
    residuals = tuple(n for n in kept if n not in held)
    position = {n: k for k, n in reversed(list(enumerate((*held, *residuals))))}
    return Pair(
        Graph(f"{whole.name}_forward", primals, values + residuals),
        cut(f"{whole.name}_backward", (*kept, *cotangents), gradients),
        tuple(position[n] for n in kept),
    )


def cut(name: str, starts: Sequence[Node], ends: Sequence[Node]) -> Graph:
    """The part of a graph that leads from `starts`, which become inputs, to `ends`."""
    builder = Builder()
    taken: set[str] = set()
    known: dict[Node, Node] = {}
    for k, node in enumerate(starts):
        label = node.op.label if isinstance(node.op, Input) else f"saved{k}"
        known[node] = builder.input(_fresh(label, taken), node.type)
    ordered, inside = order(ends), set(ends)
    for node in reversed(ordered):
        if node in inside and node not in known:
            inside.update(node.inputs)
    for node in ordered:
        if node in inside and node not in known:
            with builder.at(node.where):
                known[node] = builder.node(node.op, *(known[i] for i in node.inputs))
    return Graph(name, tuple(builder.inputs), tuple(known[n] for n in ends))


def _full(like: Node, number: float) -> Node:
    """The number, in the type of a node."""
    with like.builder.at(like.where):
        full: Node = expand(like.builder.constant(number, like.dtype), like.shape)
    return full


def _fresh(label: str, taken: set[str]) -> str:
    """The label, made one that no input has."""
    while label in taken:
        label += "_"
    taken.add(label)
    return label


# ---- what to save ------------------------------------------------------------------------------------------


def _cheapest_cut(
    primals: Sequence[Node], values: Sequence[Node], cotangents: Sequence[Node], gradients: Sequence[Node]
) -> list[Node]:
    """The forward values that the backward half takes, such that the bytes moved for them are fewest.

    A value costs its bytes once for being read, and once more for being written unless it is an input or an
    output anyway. The cut is a maximum flow from what the backward half reads to what must not be computed
    twice; among equal cuts the one nearest to the reader is taken, so that least is computed again.
    (Computing again instead of storing: Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016;
    as a minimum cut: PyTorch's AOTAutograd, 2022.)
    """
    after = set(cotangents)
    ordered = order(gradients)
    for node in ordered:
        if any(i in after for i in node.inputs):
            after.add(node)
    read = {i for node in ordered if node in after for i in node.inputs} | set(gradients)
    before = [*primals, *(n for n in ordered if n not in after)]
    there = {*primals, *values}
    return cheapest(before, read, lambda node: node.type.nbytes * (1 if node in there else 2))


def cheapest(before: Sequence[Node], read: Collection[Node], price: Callable[[Node], float]) -> list[Node]:
    """Of these nodes, in order, those from which the others that are `read` are computed again, such that
    their prices are least in sum. Of others than `CHEAP` ones only those are that have an infinite price."""
    network = _Network()
    known = set(before)
    compared = [n for n in before if n.op in EXACT]
    exact = {n for n in compared if price(n) < inf}
    exact |= {i for n in compared if n not in exact for i in n.inputs}
    for node in before:
        free = isinstance(node.op, Leaf) and not isinstance(node.op, Input)
        cost = price(node)
        network.join((node, "out"), (node, "in"), inf if free or unkept(node.type) else cost)
        cheap = isinstance(node.op, CHEAP) and node not in exact
        again = cost == inf or cheap or made_again(node)
        if isinstance(node.op, Input) or not again:
            network.join((node, "in"), _Network.END, inf)
        for operand in (i for i in node.inputs if i in known):
            network.join((node, "in"), (operand, "out"), inf)
        if node in read:
            network.join(_Network.START, (node, "out"), inf)
    reached = network.near_side()
    return [n for n in before if (n, "out") in reached and (n, "in") not in reached]


_Vertex = tuple[Node | None, str]


class _Network:
    """Capacities between vertices, and what a flow leaves of them (Dinic, "Algorithm for solution of a
    problem of maximum flow in networks with power estimation", 1970)."""

    START: _Vertex = (None, "start")
    END: _Vertex = (None, "end")

    def __init__(self) -> None:
        self._left: dict[_Vertex, dict[_Vertex, float]] = {self.START: {}, self.END: {}}

    def join(self, a: _Vertex, b: _Vertex, capacity: float) -> None:
        self._left.setdefault(a, {})[b] = capacity
        self._left.setdefault(b, {}).setdefault(a, 0)

    def near_side(self) -> set[_Vertex]:
        """What START still reaches when no more flow fits: the near side of the nearest minimum cut."""
        while self.END in (level := self._levels()):
            rest = {vertex: iter(self._left[vertex]) for vertex in level}
            path = [self.START]
            while path:
                self._advance(path, level, rest)
        return set(level)

    def _levels(self) -> dict[_Vertex, int]:
        """How many edges with room lie between START and each vertex that it reaches."""
        level = {self.START: 0}
        queue = deque(level)
        while queue:
            here = queue.popleft()
            for there, room in self._left[here].items():
                if room > 0 and there not in level:
                    level[there] = level[here] + 1
                    queue.append(there)
        return level

    def _advance(
        self, path: list[_Vertex], level: dict[_Vertex, int], rest: dict[_Vertex, Iterator[_Vertex]]
    ) -> None:
        """Go one step along a shortest path, or back from a dead end, or, at the end, send what fits."""
        here = path[-1]
        if here == self.END:
            self._push(path)
            return
        for there in rest[here]:
            if self._left[here][there] > 0 and level.get(there) == level[here] + 1:
                path.append(there)
                return
        path.pop()

    def _push(self, path: list[_Vertex]) -> None:
        """Send what fits along the path, and step back to before its first full edge."""
        edges = list(pairwise(path))
        amount = min(self._left[a][b] for a, b in edges)
        for a, b in edges:
            self._left[a][b] -= amount
            self._left[b][a] += amount
        full = next(k for k, (a, b) in enumerate(edges) if self._left[a][b] <= 0)
        del path[full + 1 :]
