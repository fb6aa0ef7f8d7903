"""Sparsity: which elements of a graph's input each element of its output depends on, whatever they are.

In flow a graph and one of its inputs, out flow `Rows`. The graph is walked once, and for each value on the
way a `Relation` (`relations.py`) says what its elements depend on. So an op that moves elements moves places,
as it would numbers, and one that joins elements unites sets. What is whole or a truth value depends on
nothing, as nothing is derived through it; nor does what a constant zero is multiplied with. An op without a
rule is taken to depend on all elements of its operands: more than is true may be told, less never. To add a
rule, write a function and enter it in `RULES`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

import numpy as np

from retrograd.compiler.errors import TraceError
from retrograd.compiler.ir.graph import (
    OPS,
    Array,
    Builder,
    Constant,
    Fixed,
    Graph,
    Input,
    Node,
    Op,
    apply,
)
from retrograd.compiler.ops.contract import Dot
from retrograd.compiler.ops.copy import Clone
from retrograd.compiler.ops.index import Put, PutAdd, PutAlongAdd, Take, TakeAlong
from retrograd.compiler.ops.iota import Iota, IotaLike
from retrograd.compiler.ops.lapack import Lapack
from retrograd.compiler.ops.loop import Loop, Result, unkept
from retrograd.compiler.ops.reduce import Reduction
from retrograd.compiler.ops.row import Elementwise
from retrograd.compiler.ops.scan import Scan
from retrograd.compiler.ops.shape import Cast, Concat, Movement, Pad
from retrograd.compiler.passes.batch import batch
from retrograd.compiler.passes.rebuild import Expanding, rebuild
from retrograd.compiler.passes.relations import Relation, Rows, alike, joined, pooled, singles, united
from retrograd.compiler.record import replace

Look = Callable[[int], Array | None]
"""From the number of an input to its elements, where these are always the same."""
Found = Relation | None
"""None of what depends on nothing."""


def dependence(graph: Graph, wrt: int, look: Look) -> Rows:
    """For each element of the graph's only output, in order, the elements of input number `wrt` on which it
    depends."""
    start = singles(graph.inputs[wrt].shape)
    given = [start if k == wrt else None for k in range(len(graph.inputs))]
    (found,) = _Walk(rebuild(graph, Expanding()), look).relations(given)
    (out,) = graph.outputs
    return (found or start.at(np.zeros(out.shape, np.int64))).told()


class _Walk:
    """Along one graph, of primitives."""

    def __init__(self, graph: Graph, look: Look) -> None:
        self._graph = graph
        self._look = look
        self._numbers = {node: k for k, node in enumerate(graph.inputs)}
        self._values: dict[Node, Array | None] = {}
        self.several: dict[Node, list[Found]] = {}
        """Of the results of loops."""

    def relations(self, given: Sequence[Found]) -> list[Found]:
        """Of the outputs, by those of the inputs."""
        found = dict(zip(self._graph.inputs, given, strict=True))
        for node in self._graph.nodes:
            operands = [found[i] for i in node.inputs]
            derived = node.dtype.is_floating_point or unkept(node.type)
            if derived and any(operands) and not isinstance(node.op, Fixed):
                relation = _rule(node.op)(self, node, operands)
                found[node] = relation if relation is not None and relation.places.any() else None
            else:
                found[node] = None
        return [found[node] for node in self._graph.outputs]

    def value(self, node: Node) -> Array | None:
        """The elements of a node, if they are always the same."""
        waiting = [node]
        while waiting:
            missing = [i for i in waiting[-1].inputs if i not in self._values]
            if missing:
                waiting += missing
            else:
                each = waiting.pop()
                if each not in self._values:
                    self._values[each] = self._value(each)
        return self._values[node]

    def _value(self, node: Node) -> Array | None:
        if isinstance(node.op, Input):
            return self._look(self._numbers[node])
        if isinstance(node.op, Constant | Iota):
            return node.op.evaluate()
        if isinstance(node.op, IotaLike):
            return node.op.evaluate(np.empty(node.shape, bool))
        if node.op is OPS["lt"] and node.inputs[0] is node.inputs[1]:  # how derivatives write zeros
            return np.zeros(node.shape, bool)
        operands = [self._values[i] for i in node.inputs]
        if node.op.hosted or any(x is None for x in operands):
            return None
        return np.asarray(apply(node.op, *operands))


# ---- rules -------------------------------------------------------------------------------------------------

Rule = Callable[[_Walk, Node, Sequence[Found]], Found]
"""From a walk, a node and what its operands depend on, of which some depend on something."""


def _of_all(walk: _Walk, node: Node, given: Sequence[Found]) -> Found:
    """Each element depends on every one of the operands."""
    return joined([x.over(range(x.places.ndim)) for x in given if x], ()).spread(node.shape)


def _moved(walk: _Walk, node: Node, given: Sequence[Found]) -> Found:
    (x,) = given
    assert x is not None
    op = replace(node.op, fill=0.0) if isinstance(node.op, Pad) else node.op
    return x.at(np.asarray(op.evaluate(x.places)))


def _same(walk: _Walk, node: Node, given: Sequence[Found]) -> Found:
    return given[0]


def _elementwise(walk: _Walk, node: Node, given: Sequence[Found]) -> Found:
    op: Any = node.op
    passing = [None if partial in (None, "0") else x for x, partial in zip(given, op.partials, strict=True)]
    if op is OPS["where"]:
        test = walk.value(node.inputs[0])
        passing = [None, *(_kept(x, part) for x, part in zip(passing[1:], (test, _not(test))))]
    if op is OPS["mul"]:
        passing = [_kept(x, walk.value(other)) for x, other in zip(passing, node.inputs[::-1])]
    there = [x for x in passing if x]
    return joined(there, node.shape) if there else None


def _not(test: Array | None) -> Array | None:
    return None if test is None else ~test


def _kept(relation: Found, factor: Array | None) -> Found:
    """Where a factor is zero, nothing is left; where it is not known, all."""
    if relation is None or factor is None or factor.all():
        return relation
    places = np.where(factor, relation.places, 0)
    return relation.at(places) if places.any() else None


def _concat(walk: _Walk, node: Node, given: Sequence[Found]) -> Found:
    there, sets = pooled([x for x in given if x])
    places = iter(there)
    each = [next(places) if x else np.zeros(n.shape, np.int64) for x, n in zip(given, node.inputs)]
    return Relation(node.op.evaluate(*each), sets)


def _reduction(walk: _Walk, node: Node, given: Sequence[Found]) -> Found:
    (x,) = given
    assert x is not None
    assert isinstance(node.op, Reduction)
    return x.over(node.op.axes)


def _scan(walk: _Walk, node: Node, given: Sequence[Found]) -> Found:
    """Each element depends on those that the scan has come by."""
    op: Any = node.op
    x = joined([x for x in given if x], node.shape)
    lines = np.moveaxis(np.flip(x.places, op.axis) if op.reverse else x.places, op.axis, -1)
    length = lines.shape[-1]
    ends, passed = np.tril_indices(length)
    table = lines.reshape(-1, length)
    numbers = np.arange(len(table))[:, None] * length + ends
    sets = united(numbers.ravel(), table[:, passed].ravel(), table.size, x.sets)
    places = np.moveaxis(np.arange(1, table.size + 1).reshape(lines.shape), -1, op.axis)
    return Relation(np.flip(places, op.axis) if op.reverse else places, sets)


def _dot(walk: _Walk, node: Node, given: Sequence[Found]) -> Found:
    """Element m, n depends on row m of the first, and on column n of the second."""
    (a, b), (of_a, of_b) = given, node.inputs
    there = []
    if a:
        there.append(_rows_by(a, walk.value(of_b), node.shape))
    if b:
        turned, factor = b.at(np.swapaxes(b.places, -1, -2)), walk.value(of_a)
        shape = (*node.shape[:-2], node.shape[-1], node.shape[-2])
        found = _rows_by(turned, None if factor is None else np.swapaxes(factor, -1, -2), shape)
        there.append(found.at(np.swapaxes(found.places, -1, -2)))
    return joined(there, node.shape)


def _rows_by(a: Relation, b: Array | None, shape: Sequence[int]) -> Relation:
    """Rows of the first for all columns of the second, without its zeros if it is one known matrix."""
    if b is None or b.ndim > 2 or b.all():
        whole = a.over([a.places.ndim - 1])
        return whole.at(whole.places[..., None]).spread(shape)
    inner, columns = np.nonzero(b)
    places = np.arange(1, shape[0] * shape[1] + 1).reshape(tuple(shape))
    numbers = places[:, columns] - 1
    return Relation(places, united(numbers.ravel(), a.places[:, inner].ravel(), places.size, a.sets))


def _take(walk: _Walk, node: Node, given: Sequence[Found]) -> Found:
    """Where the index is not known, each row depends on all."""
    x, index, op = given[0], node.inputs[1], node.op
    assert x is not None
    assert isinstance(op, Take | TakeAlong)
    known = walk.value(index)
    if known is not None:
        return x.at(op.evaluate(x.places, known))
    return _any_row(x, op.axis, 1, index.ndim if isinstance(op, Take) else 1, node.shape)


def _put_add(walk: _Walk, node: Node, given: Sequence[Found]) -> Found:
    """Likewise on each of the values."""
    x, index, op = given[0], node.inputs[1], node.op
    assert x is not None
    assert isinstance(op, PutAdd | PutAlongAdd)
    known = walk.value(index)
    if known is None:
        return _any_row(x, op.axis, index.ndim if isinstance(op, PutAdd) else 1, 1, node.shape)
    places = np.arange(1, node.type.size + 1).reshape(node.shape)
    reading = Take(op.axis) if isinstance(op, PutAdd) else TakeAlong(op.axis)
    numbers = reading.evaluate(places, known) - 1  # where each value is added
    return Relation(places, united(numbers.ravel(), x.places.ravel(), places.size, x.sets))


def _any_row(x: Relation, axis: int, before: int, after: int, shape: Sequence[int]) -> Relation:
    """So many axes from one on, of all of which each place along as many new ones depends."""
    whole = x.over(range(axis, axis + before))
    return whole.at(np.expand_dims(whole.places, tuple(range(axis, axis + after)))).spread(shape)


def _put(walk: _Walk, node: Node, given: Sequence[Found]) -> Found:
    x, _, values = given
    known = walk.value(node.inputs[1])
    if known is None:
        written = [values.over(range(values.places.ndim))] if values else []
        return joined([*([x] if x else []), *written], node.shape)
    places, sets = pooled([y for y in (x, values) if y])
    kept = places[0] if x else np.zeros(node.shape, np.int64)
    return Relation(node.op.evaluate(kept, known, places[-1] if values else np.zeros((), np.int64)), sets)


def _lapack(walk: _Walk, node: Node, given: Sequence[Found]) -> Found:
    """Each matrix by itself, whose axes are the last two."""
    each = [x.over(range(x.places.ndim)[-2:]) for x in given if x]
    whole = joined(each, np.broadcast_shapes(*(x.places.shape for x in each)))
    added = (1,) * (len(node.shape) - whole.places.ndim)
    return whole.at(whole.places.reshape(whole.places.shape + added)).spread(node.shape)


def _loop(walk: _Walk, node: Node, given: Sequence[Found]) -> Found:
    """What is carried is joined with what a turn leaves of it until nothing is added."""
    op: Any = node.op
    body, kinds = rebuild(op.body, Expanding()), [n.shape for n in op.body.inputs]
    turns = op.turns if isinstance(op.turns, int) else None
    states, scanned = list(given[: op.carried]), given[op.carried : op.carried + op.scanned]
    fixed = given[op.carried + op.scanned : len(kinds)]
    rows = [x.over([0]) if x and turns is not None else x for x in scanned]
    for _ in count() if turns is None else range(max(turns, 1)):
        left = _Walk(body, _unseen).relations([*states, *rows, *fixed])
        more = [_either(x, y, shape) for x, y, shape in zip(states, left, kinds)]
        done = all(y is None or (x is not None and alike(x, y)) for x, y in zip(states, more))
        states = more
        if done:
            break
    stacked = left[op.carried : op.carried + op.stacked]
    history = states
    if turns is not None:
        stacked, history = (
            [x and x.spread((turns, *x.places.shape)) for x in each] for each in (stacked, states)
        )
        if any(scanned):
            stacked = _turn_by_turn(op, [*states, *scanned, *fixed]) or stacked
    walk.several[node] = [*states, *stacked, *history, None]
    return next(filter(None, walk.several[node]), None)


def _unseen(number: int) -> None:
    return None


def _either(x: Found, y: Found, shape: Sequence[int]) -> Found:
    return joined([x, y], shape) if x and y else x or y


def _turn_by_turn(op: Loop, given: Sequence[Found]) -> list[Found] | None:
    """What is stacked, each turn's by its own rows; None where the body cannot be applied to all at once."""
    assert isinstance(op.turns, int)
    builder = Builder()
    flags = [op.carried <= k < op.carried + op.scanned for k in range(len(op.body.inputs))]
    with builder.at(None):
        kinds = [
            n.type.with_shape((op.turns, *n.shape)) if flag else n.type
            for n, flag in zip(op.body.inputs, flags)
        ]
        inputs = [builder.input(f"x{k}", kind) for k, kind in enumerate(kinds)]
        try:
            found = batch(op.body, inputs, flags, op.turns)[op.carried : op.carried + op.stacked]
        except TraceError:
            return None
        outputs = [x.everywhere(op.turns) for x in found]
    graph = Graph(
        op.name, tuple(inputs), tuple(builder.lift(x, x) if isinstance(x, np.ndarray) else x for x in outputs)
    )
    return _Walk(rebuild(graph, Expanding()), _unseen).relations(given)


def _result(walk: _Walk, node: Node, given: Sequence[Found]) -> Found:
    assert isinstance(node.op, Result)
    return walk.several[node.inputs[0]][node.op.place]


RULES: dict[type, Rule] = {
    Op: _of_all,
    Movement: _moved,
    Clone: _same,
    Cast: _same,
    Elementwise: _elementwise,
    Concat: _concat,
    Reduction: _reduction,
    Scan: _scan,
    Dot: _dot,
    Take: _take,
    TakeAlong: _take,
    PutAdd: _put_add,
    PutAlongAdd: _put_add,
    Put: _put,
    Lapack: _lapack,
    Loop: _loop,
    Result: _result,
}
"""By class of op; a subclass goes by its nearest."""


def _rule(op: Op) -> Rule:
    return next(RULES[kind] for kind in type(op).__mro__ if kind in RULES)
