"""Loops of a compiled function: one node of its graph each, and one of its tape.

In flow a function of what goes from turn to turn, traced once; out flow the results of all turns, as Tensors.
What the function uses from around it and does not depend on the turn is computed before the loop, since it is
no part of the graph between a turn's operands and its results.

    body     = Body.traced(…)                 a turn, and its own piece of the tape
    results  = repeat(trace, body, inits, …)  a `Loop`, and a `LoopBackward` for history

The derivative of a loop is a loop over the same turns from behind. It carries the cotangents of what the loop
carries, and what has come together of those of Tensors around it; a turn of it is the backward pass of the
body's own tape, from what the turn began with. That is kept by the loop where somebody asks for it. As the
way back is recorded in its turn, it can be differentiated again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from math import inf
from typing import Any

from retrograd.compiler.adjoint import cheapest, cut
from retrograd.compiler.errors import TraceError
from retrograd.compiler.ir.graph import Input, Leaf, Node, Type, Value, order
from retrograd.compiler.ops.loop import Loop, result, unkept
from retrograd.compiler.ops.shape import Movement, expand
from retrograd.compiler.passes.checks import may_fail
from retrograd.runtime import tracing
from retrograd.runtime.autograd.engine import Pass, as_cotangent, as_tensor
from retrograd.runtime.device import CPU
from retrograd.runtime.eager.history import edge_of
from retrograd.runtime.eager.tape import Edge, GradNode, Output, orders
from retrograd.runtime.modes import STATE
from retrograd.runtime.tensor import Tensor
from retrograd.runtime.tracing import Trace


def written_down(operands: Iterable[Any]) -> Trace | None:
    """The current trace, if loops over these become nodes in it: that of a function that is compiled for the
    CPU."""
    trace = tracing.current()
    if trace is None or type(trace) is not Trace or trace.planned:
        return None
    devices = {trace.device, *(x.device for x in operands if isinstance(x, Tensor))}
    return trace if devices == {CPU} else None


@dataclass(eq=False)
class Body:
    """One turn: placeholders of what it takes, and what it leaves of them."""

    name: str
    age: float
    """Nodes of the tape that are younger are the turn's own."""
    carried: Sequence[Tensor]
    scanned: Sequence[Tensor]
    left: Sequence[Tensor]
    """What the next turn takes in place of `carried`."""
    stacked: Sequence[Tensor] = ()
    """What is kept of each turn."""
    go: Tensor | None = None
    """Whether there is another one."""
    own: Container[Node] = ()
    """What may fail of that which was written down for it."""

    def outer(self, tensor: Tensor) -> list[Edge]:
        """Where the history of a result leaves the turn: its placeholders, and Tensors around the loop."""
        found: dict[Edge, None] = {}
        seen: set[Edge] = set()
        waiting = [edge_of(tensor)]
        while waiting:
            edge = waiting.pop()
            if edge is None or edge in seen:
                continue
            seen.add(edge)
            if isinstance(edge, GradNode) and edge.order > self.age:
                waiting += edge.edges
            else:
                found[edge] = None
        return list(found)


def placeholder(trace: Trace, label: str, kind: Type, tracked: bool) -> Tensor:
    """What stands for a value that each turn has another one of."""
    node = Node(trace.builder, Input(label, kind), (), kind, None)
    trace.turns.add(node)
    tensor = Tensor(node)
    tensor._requires_grad = tracked and kind.dtype.is_inexact
    return tensor


def label_of(trace: Trace, tensor: Tensor) -> str:
    """What a placeholder is called."""
    op = trace.lift(tensor).op
    assert isinstance(op, Input)
    return op.label


def traced(
    trace: Trace,
    name: str,
    carried: Sequence[tuple[str, Type]],
    scanned: Sequence[tuple[str, Type]],
    turn: Callable[[list[Tensor], list[Tensor]], tuple[Sequence[Tensor], Sequence[Tensor], Tensor | None]],
) -> Body:
    """A turn, written down once. What it is given it may not change, nor what lies around it.

    Raises TraceError where it does, or draws random numbers, which would be the same in all turns.
    """
    tracked = STATE.grad
    age = next(orders)
    given = [placeholder(trace, label, kind, tracked) for label, kind in carried]
    rows = [placeholder(trace, label, kind, tracked) for label, kind in scanned]
    mutated, draws, before = dict(trace.mutated), len(trace.draws), len(trace.builder.made())
    operands = [x.clone() for x in (*given, *rows)]
    versions = [x._version for x in operands]
    left, stacked, go = turn(operands[: len(given)], operands[len(given) :])
    if trace.mutated != mutated or [x._version for x in operands] != versions:
        raise TraceError(
            f"{name}, whose body changes a tensor in place that it has not made",
            "the next turn would find it changed",
            "carry the tensor from turn to turn, and return its new value",
        )
    if len(trace.draws) != draws:
        raise TraceError(
            f"{name}, whose body draws random numbers",
            "they would be the same in each turn",
            "draw them before the loop, a row for each turn, and scan over them",
        )
    own = {n for n in trace.builder.made(before) if may_fail(n.op)}
    return Body(name, age, given, rows, left, stacked, go, own)


def repeat(
    trace: Trace,
    body: Body,
    inits: Sequence[Tensor],
    xs: Sequence[Tensor],
    turns: int | str,
    last: Tensor | None = None,
    backwards: bool = False,
    known: Mapping[Node, Node] | None = None,
) -> list[Tensor]:
    """What the loop carries in the end, then what it stacks, a row for each turn. `last` is the number of
    turns, where that is "counted", or whether there is a first one, where the body says it of others. Of what
    a turn computes, a row for each is `known` from another loop."""
    given = dict(zip(map(trace.lift, body.carried), map(trace.lift, inits), strict=True))
    rows = {**(known or {}), **dict(zip(map(trace.lift, body.scanned), map(trace.lift, xs), strict=True))}
    ends = [trace.lift(x) for x in (*body.left, *body.stacked)]
    asked = [] if body.go is None else [trace.lift(body.go)]
    surely = isinstance(turns, int)  # there is a turn, so what it does may be done before
    own = () if surely else body.own
    varying = _varying([*ends, *asked], [*given, *(n for n in rows if isinstance(n.op, Input))], own)
    taken = _taken(varying, [*ends, *asked], given, rows)
    offered = [n for n in varying if STATE.grad and n not in given and n not in rows and not unkept(n.type)]
    starts = [*given, *taken]
    fixed = _around(varying, [*ends, *asked], starts)
    graph = cut(body.name, [*starts, *fixed], [*ends, *offered, *asked])
    operands = [*given.values(), *(rows[n] for n in taken), *fixed]
    operands += [] if last is None else [trace.lift(last)]
    loop = trace.builder.node(Loop(graph, len(given), len(taken), turns, backwards), *operands)
    results = [Tensor(result(loop, k)) for k in range(len(ends))]
    if STATE.grad:
        _record(body, loop, inits, xs, results, last, rows, offered)
    return results


def _varying(ends: Sequence[Node], starts: Iterable[Node], own: Container[Node]) -> dict[Node, None]:
    """What is another value in each turn, in order, and what else is done there: its `own`, and movement that
    makes more of a value."""
    found: dict[Node, None] = dict.fromkeys(starts)
    for node in order(ends):
        grows = isinstance(node.op, Movement) and node.type.nbytes > node.inputs[0].type.nbytes
        if grows or node in own or any(i in found for i in node.inputs):
            found[node] = None
    return found


def _taken(
    varying: Iterable[Node], ends: Sequence[Node], carried: Container[Node], rows: Mapping[Node, Node]
) -> list[Node]:
    """What the turns take of their rows: as little as leads to all that depends on nothing carried."""
    after: set[Node] = {n for n in varying if n in carried}
    for node in varying:
        if any(i in after for i in node.inputs):
            after.add(node)
    before = [n for n in varying if n not in after]
    read = {i for n in after for i in n.inputs}.union(ends)
    paid = {n: n.type.nbytes * (1 if isinstance(n.op, Input) else 2) for n in before if n in rows}
    return cheapest(before, read, lambda n: paid.get(n, inf))


def _around(varying: Iterable[Node], ends: Iterable[Node], starts: Sequence[Node]) -> list[Node]:
    """What the turns read that is the same in all of them."""
    inside, given = dict.fromkeys(varying), set(starts)
    read = dict.fromkeys(chain((i for n in inside if n not in given for i in n.inputs), ends))
    return [n for n in read if n not in inside and (isinstance(n.op, Input) or not isinstance(n.op, Leaf))]


def _record(
    body: Body, loop: Node, inits: Sequence[Tensor], xs: Sequence[Tensor], results: Sequence[Tensor],
    last: Tensor | None, rows: Mapping[Node, Node], offered: Sequence[Node],
) -> None:  # fmt: skip
    """Give the results their history."""
    ways = [body.outer(x) for x in (*body.left, *body.stacked)]
    given = (*body.carried, *body.scanned)
    around = list(dict.fromkeys(edge for way in ways for edge in way if edge not in set(given)))
    operands = [edge_of(x) for x in (*inits, *xs)]
    tracked = {x for x, edge in zip(given, operands, strict=True) if edge is not None}.union(around)
    while more := [x for x, way in zip(body.carried, ways) if x not in tracked and tracked.intersection(way)]:
        tracked.update(more)
    has = [*(x in tracked for x in body.carried), *map(bool, map(tracked.intersection, ways[len(inits) :]))]
    node = LoopBackward((*operands, *around), body, loop, xs, tracked.intersection(body.carried), last)
    node.rows = {**rows, **{n: result(loop, len(results) + k) for k, n in enumerate(offered)}}
    for place, (out, differentiable) in enumerate(zip(results, has, strict=True)):
        if differentiable:
            out._edge, out._requires_grad = Output(node, place), True


class LoopBackward(GradNode):
    """A loop on the tape. Its outputs are its results, then the histories of what it carries."""

    __slots__ = ("body", "last", "loop", "rows", "tracked", "xs")

    rows: Mapping[Node, Node]
    """Where a row for each turn is found of what it takes or computes."""

    def __init__(
        self, edges: tuple[Edge, ...], body: Body, loop: Node, xs: Sequence[Tensor],
        tracked: Collection[Tensor], last: Tensor | None,
    ) -> None:  # fmt: skip
        super().__init__(edges)
        self.body, self.loop, self.xs, self.last = body, loop, xs, last
        self.tracked = tracked
        """Those placeholders of what it carries that have a derivative."""

    @property
    def outputs(self) -> int:
        return 2 * len(self.body.carried) + len(self.body.stacked)

    def name(self) -> str:
        return f"{''.join(part.capitalize() for part in self.body.name.split('_'))}Backward0"

    def backward(
        self, cotangent: Value, needed: Sequence[bool], create_graph: bool
    ) -> Sequence[Value | None]:
        trace = STATE.trace
        assert trace is not None
        found = _way_back(trace, self, [as_tensor(g) for g in cotangent], needed, create_graph)
        return [as_cotangent(g, create_graph) for g in found]

    def turns_again(self) -> tuple[int | str, Tensor | None, bool]:
        """How many turns there were, as `repeat` takes it, and their other direction."""
        op = self.loop.op
        assert isinstance(op, Loop)
        last = Tensor(result(self.loop, op.count)) if op.asks else self.last
        return "counted" if op.asks else op.turns, last, not op.backwards

    def history(self, place: int) -> Tensor:
        """What each turn began with, of what is carried there."""
        op, carried = self.loop.op, self.body.carried
        assert isinstance(op, Loop)
        found = Tensor(result(self.loop, op.histories[place]))
        if carried[place] in self.tracked:
            number = len(carried) + len(self.body.stacked) + place
            found._edge, found._requires_grad = Output(self, number), True
        return found


class _Turn(Pass):
    """The backward pass of one turn, which ends where the turn has begun."""

    def __init__(self, create_graph: bool, age: float, wanted: frozenset[Edge]) -> None:
        super().__init__(create_graph, keep=True, wanted=wanted)
        self._age = age

    def gradients(self, roots: Iterable[tuple[Tensor, Tensor]]) -> dict[Edge, Tensor]:
        """From what the turn leaves, and cotangents of it."""
        trace = STATE.trace
        assert trace is not None
        edges = [(edge_of(x), ct if self.create_graph else trace.lift(ct)) for x, ct in roots]
        self.run([(edge, ct) for edge, ct in edges if edge is not None])
        return {edge: ct if isinstance(ct, Tensor) else Tensor(ct) for edge, ct in self.found.items()}

    def _step(self, node: GradNode) -> None:
        if node.order > self._age:
            super()._step(node)
        else:
            self.found[node] = self._pending.pop(node)

    def _finish(self) -> None:
        self.found |= {leaf: self._pending[leaf] for leaf in self._leaves}


def _way_back(
    trace: Trace,
    node: LoopBackward,
    given: Sequence[Tensor | None],
    needed: Sequence[bool],
    create_graph: bool,
) -> list[Tensor | None]:
    """The cotangents of a loop's operands and of what is around it, by a loop from behind."""
    body, count = node.body, len(node.body.carried)
    carried, scanned, around = body.carried, body.scanned, node.edges[count + len(body.scanned) :]
    operands: list[Any] = [*carried, *scanned, *around]
    wanted = frozenset([x for x, need in zip(operands, needed, strict=True) if need or x in node.tracked])

    def stand_in(like: Tensor, label: str = "ct") -> Tensor:
        return placeholder(trace, label, trace.lift(like).type, create_graph)

    of_carried = {x: stand_in(x, f"ct_{label_of(trace, x)}") for x in carried if x in node.tracked}
    stacked = zip(body.stacked, given[count:])
    of_stacked = [(x, ct, stand_in(x)) for x, ct in stacked if ct is not None]
    histories = zip(carried, given[count + len(body.stacked) :])
    of_histories = [(x, ct, stand_in(x)) for x, ct in histories if ct is not None]
    roots = [(out, of_carried[x]) for x, out in zip(carried, body.left) if x in of_carried]
    roots += [(out, row) for out, _, row in of_stacked]
    found = _Turn(create_graph, body.age, wanted).gradients(roots)
    for x, _, row in of_histories:
        found[x] = found[x] + row if x in found else row
    totals = {edge: stand_in(found[edge], "total") for edge in around if edge in found and edge in wanted}
    rows = [x for x in scanned if x in found]
    back = Body(
        f"{body.name}_back",
        body.age,
        [*of_carried.values(), *totals.values()],
        [*carried, *scanned, *(row for _, _, row in (*of_stacked, *of_histories))],
        [*(found[x] if x in found else zeros(trace, x) for x in of_carried)]
        + [total + found[edge] for edge, total in totals.items()],
        [found[x] for x in rows],
    )
    inits = [zeros(trace, x) if ct is None else ct for x, ct in zip(carried, given) if x in of_carried]
    inits += [zeros(trace, found[edge]) for edge in totals]
    xs = [*map(node.history, range(count)), *node.xs, *(ct for _, ct, _ in (*of_stacked, *of_histories))]
    results = repeat(trace, back, inits, xs, *node.turns_again(), known=node.rows)
    cotangents = dict(zip([*of_carried, *totals, *rows], results, strict=True))
    return [cotangents.get(x) for x in operands]


def zeros(trace: Trace, like: Tensor) -> Tensor:
    """Zeros of a Tensor's type."""
    kind = trace.lift(like).type
    return Tensor(expand(trace.builder.constant(0, kind.dtype), kind.shape))
