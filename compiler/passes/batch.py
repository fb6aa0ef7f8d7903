"""Batching: a graph for one example, applied to many at once.

In flow a graph and a value for each of its inputs, of which some are *batched*: they have one axis more, the
first, with an example at each place. Out flow the outputs' values, and whether they are batched. Values are
of any level, as everywhere in ops, so what comes out can be differentiated and traced. A rule says how an op
is applied to batched operands; most move the op's axes by one. What is not batched is computed once. A
composite without a rule is batched as its formula. To add a rule, write a function and enter it in `RULES`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from retrograd.compiler.errors import TraceError
from retrograd.compiler.ir.graph import Builder, Constant, Graph, Node, Op, Type, Value, apply
from retrograd.compiler.ops import (
    arranged,
    complexes,
    contract,
    convolution,
    copy,
    extremum,
    floats,
    fourier,
    incomplete_ops,
    index,
    joined,
    lapack,
    matrix,
    pool,
    reduce,
    scan,
    softmax,
    sort,
    strided,
    window,
)
from retrograd.compiler.ops import shape as moves
from retrograd.compiler.ops.composite import Composite, expansion
from retrograd.compiler.ops.elementwise import Elementwise
from retrograd.compiler.ops.iota import IotaLike, iota_like
from retrograd.compiler.ops.reverse import cotangents
from retrograd.compiler.ops.shape import expand, permute, reshape, select
from retrograd.compiler.record import NamedTuple, record, replace


class Operand(NamedTuple):
    """A value, and what it is for one example."""

    value: Value
    batched: bool
    type: Type

    def everywhere(self, size: int) -> Value:
        """Batched in any case."""
        if self.batched:
            return self.value
        return expand(reshape(self.value, (1, *self.type.shape)), (size, *self.type.shape))


Rule = Callable[[Any, Sequence[Operand], Type, int], Value]
"""From an op, its operands (one of them batched), the output's type for one example, and how many examples
there are, to the batched output.
"""


def batch(graph: Graph, values: Sequence[Value], batched: Sequence[bool], size: int) -> list[Operand]:
    """The graph's outputs for `size` examples."""
    known: dict[Node, Operand] = {
        node: Operand(value, flag, node.type)
        for node, value, flag in zip(graph.inputs, values, batched, strict=True)
    }
    for node in graph.nodes:
        known[node] = applied(node.op, [known[i] for i in node.inputs], node.type, size)
    return [known[output] for output in graph.outputs]


def applied(op: Op, operands: Sequence[Operand], out: Type, size: int) -> Operand:
    """An op of operands of which some are batched."""
    if isinstance(op, Constant):
        return Operand(op.value, False, out)
    if isinstance(op, IotaLike) and operands[0].batched:  # it is the same for all
        return Operand(apply(op, select(operands[0].value, 0, 0)), False, out)
    if not any(x.batched for x in operands):
        found = apply(op, *(x.value for x in operands))
        return Operand(np.require(found, None, "C") if isinstance(found, np.ndarray) else found, False, out)
    rule = _rule(op)
    if rule is not None:
        return Operand(rule(op, operands, out, size), True, out)
    raise TraceError(f"vmap over {op.name}", "there is no rule for it", "call the function in a loop")


def _rule(op: Op) -> Rule | None:
    return next((RULES[kind] for kind in type(op).__mro__ if kind in RULES), None)


def batchable(op: Op) -> bool:
    """Whether there is a rule for an op of batched operands."""
    return _rule(op) is not None


def is_by_formula(op: Op) -> bool:
    """Whether an op is batched as its formula, which says nothing of an adjoint of its own."""
    return _rule(op) is _as_formula


@record
class OfAll(Composite):
    """An op of examples, applied to all: its adjoint is the op's own, of each."""

    name = "of_all"
    op: Op
    types: tuple[Type, ...]
    """Of the operands, for one example."""
    batched: tuple[bool, ...]
    size: int

    def infer(self, *types: Type) -> Type:
        out = self.op.infer(*self.types)
        return out.with_shape((self.size, *out.shape))

    def formula(self, *values: Value) -> Value:
        given = [Operand(*x) for x in zip(values, self.batched, self.types, strict=True)]
        return applied(self.op, given, self.op.infer(*self.types), self.size).value

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        builder = Builder()
        with builder.at(None):
            one = [builder.input(f"x{k}", type_) for k, type_ in enumerate(self.types)]
            result = self.op.infer(*self.types)
            given = [builder.input("ct", result), builder.input("out", result), *one]
            found = cotangents(self.op, given[0], given[1], one, needed)
        there = [g for g in found if g is not None]
        graph = Graph(self.name, tuple(given), tuple(there))
        each = iter(batch(graph, [cotangent, out, *inputs], [True, True, *self.batched], self.size))
        whole = [None if g is None else next(each) for g in found]
        return [
            None if x is None else x.everywhere(self.size) if flag else _total(x, self.size)
            for x, flag in zip(whole, self.batched)
        ]


def _total(x: Operand, size: int) -> Value:
    """The sum over all examples."""
    return reduce.sum_(x.value, (0,)) if x.batched else x.value * size


# ---- rules -------------------------------------------------------------------------------------------------


def _as_formula(op: Composite, operands: Sequence[Operand], out: Type, size: int) -> Value:
    graph = expansion(op, tuple(x.type for x in operands))
    (found,) = batch(graph, [x.value for x in operands], [x.batched for x in operands], size)
    return found.everywhere(size)


def _elementwise(op: Elementwise, operands: Sequence[Operand], out: Type, size: int) -> Value:
    """Operands of fewer axes get some of size 1, for they are aligned at the last one."""
    aligned = [
        reshape(x.value, (size, *(1,) * (out.ndim - x.type.ndim), *x.type.shape)) if x.batched else x.value
        for x in operands
    ]
    return apply(op, *aligned)


def _shifted(*fields: str) -> Rule:
    """The op with these axes moved by one, and all operands batched."""

    def rule(op: Any, operands: Sequence[Operand], out: Type, size: int) -> Value:
        moved: dict[str, Any] = {}
        for name in fields:
            axes = getattr(op, name)
            moved[name] = axes + 1 if isinstance(axes, int) else tuple(axis + 1 for axis in axes)
        return apply(replace(op, **moved), *(x.everywhere(size) for x in operands))

    return rule


def _same(op: Op, operands: Sequence[Operand], out: Type, size: int) -> Value:
    """An op that takes stacks of what it works on."""
    return apply(op, *(x.everywhere(size) for x in operands))


def _prefixed(**first: Any) -> Rule:
    """The op with these entries for the new axis; None stands for the number of examples."""

    def rule(op: Any, operands: Sequence[Operand], out: Type, size: int) -> Value:
        longer = {
            name: (size if entry is None else entry, *getattr(op, name)) for name, entry in first.items()
        }
        return apply(replace(op, **longer), operands[0].value)

    return rule


def _permute(op: moves.Permute, operands: Sequence[Operand], out: Type, size: int) -> Value:
    return permute(operands[0].value, (0, *(axis + 1 for axis in op.axes)))


def _expand(op: moves.Expand, operands: Sequence[Operand], out: Type, size: int) -> Value:
    (x,) = operands
    added = (1,) * (len(op.shape) - x.type.ndim)
    return expand(reshape(x.value, (size, *added, *x.type.shape)), (size, *op.shape))


def _dot(op: contract.Dot, operands: Sequence[Operand], out: Type, size: int) -> Value:
    """By one matrix for all examples: one product of all their rows, or of the only columns as rows."""
    a, b = operands
    if a.type.ndim > 2 or (b.batched and (a.batched or b.type.shape[-1] != 1)):
        return _same(op, operands, out, size)
    if b.batched:
        product = apply(op, reshape(b.value, (size, b.type.shape[0])), permute(a.value, (1, 0)))
    else:
        rows_of, columns = a.type.shape
        product = apply(op, reshape(a.value, (size * rows_of, columns)), b.value)
    return reshape(product, (size, *out.shape))


def _linear(op: matrix.Linear, operands: Sequence[Operand], out: Type, size: int) -> Value:
    if any(x.batched for x in operands[1:]):
        return _as_formula(op, operands, out, size)
    return apply(op, *(x.value for x in operands))


def _joined(op: Composite, operands: Sequence[Operand], out: Type, size: int) -> Value:
    """An op on `[N, …]`, for which more examples are a longer first axis."""
    x = operands[0]
    if any(other.batched for other in operands[1:]):
        return _as_formula(op, operands, out, size)
    flat = reshape(x.value, (size * x.type.shape[0], *x.type.shape[1:]))
    return reshape(apply(op, flat, *(other.value for other in operands[1:])), (size, *out.shape))


def _front(value: Value, axis: int, count: int = 1) -> Value:
    """`count` axes from `axis` on moved to the second place."""
    ndim = len(value.shape)
    chosen = range(axis, axis + count)
    return permute(value, (0, *chosen, *(k for k in range(1, ndim) if k not in chosen)))


def _back(value: Value, axis: int, count: int = 1) -> Value:
    """`_front` undone."""
    ndim = len(value.shape)
    rest = [0, *range(count + 1, ndim)]
    return permute(value, (*rest[:axis], *range(1, count + 1), *rest[axis:]))


def _in_one(places: Operand, rows: int, size: int) -> Value:
    """Places in the rows of one example as places in all rows, one example's after the other's."""
    own = index.wrap(places.everywhere(size), rows)
    return own + iota_like(own, 0) * rows


def _take(op: index.Take, operands: Sequence[Operand], out: Type, size: int) -> Value:
    x, places = operands
    if not places.batched:
        return apply(replace(op, axis=op.axis + 1), x.value, places.value)
    if not x.batched:
        found = apply(op, x.value, places.value)
        axes = range(len(found.shape))
        return permute(found, (op.axis, *(k for k in axes if k != op.axis)))
    rows = x.type.shape[op.axis]
    turned = _front(x.value, op.axis + 1)
    flat = reshape(turned, (size * rows, *turned.shape[2:]))
    found = apply(replace(op, axis=0), flat, _in_one(places, rows, size))
    return _back(found, op.axis + 1, places.type.ndim)


def _put_add(op: index.PutAdd, operands: Sequence[Operand], out: Type, size: int) -> Value:
    values, places = operands
    if not places.batched:
        return apply(replace(op, axis=op.axis + 1), values.value, places.value)
    turned = _front(values.everywhere(size), op.axis + 1, places.type.ndim)
    found = apply(replace(op, axis=0, size=size * op.size), turned, _in_one(places, op.size, size))
    return _back(reshape(found, (size, op.size, *found.shape[1:])), op.axis + 1)


def _put(op: index.Put, operands: Sequence[Operand], out: Type, size: int) -> Value:
    x, places, values = operands
    rows = x.type.shape[0]
    flat = reshape(x.everywhere(size), (size * rows, *x.type.shape[1:]))
    missing = (1,) * (places.type.ndim + x.type.ndim - 1 - values.type.ndim)  # to the chosen rows' shape
    given = reshape(values.everywhere(size), (size, *missing, *values.type.shape))
    found = apply(op, flat, _in_one(places, rows, size), given)
    return reshape(found, (size, *out.shape))


def _strided(op: strided.Strided, operands: Sequence[Operand], out: Type, size: int) -> Value:
    """One example's memory lies after the other's."""
    (x,) = operands
    return apply(replace(op, shape=(size, *op.shape), strides=(x.type.size, *op.strides)), x.value)


def _unstrided(op: strided.Unstrided, operands: Sequence[Operand], out: Type, size: int) -> Value:
    shape, strides = (size, *op.shape), (op.size, *op.strides)
    longer = replace(op, shape=shape, strides=strides, size=size * op.size)
    return reshape(apply(longer, operands[0].value), (size, op.size))


RULES: dict[type, Rule] = {
    Composite: _as_formula,
    Elementwise: _elementwise,
    moves.Reshape: _prefixed(shape=None),
    moves.Permute: _permute,
    moves.Expand: _expand,
    moves.Slice: _prefixed(starts=0, stops=None, steps=1),
    moves.Select: _shifted("axis"),
    moves.Pad: _prefixed(low=0, high=0, interior=0),
    moves.Flip: _shifted("axes"),
    moves.Concat: _shifted("axis"),
    moves.Cast: _same,
    complexes.OfComplex: _same,
    complexes.AsReal: _same,
    complexes.AsComplex: _same,
    complexes.FromParts: _same,
    copy.Clone: _same,
    window.Diagonal: _shifted("first", "second"),
    window.Undiagonal: _shifted("first", "second"),
    window.Window: _shifted("axes"),
    window.Unwindow: _shifted("axes"),
    reduce.Reduction: _shifted("axes"),
    scan.Scan: _shifted("axis"),
    sort.Argsort: _shifted("axis"),
    fourier.Fourier: _shifted("axes"),
    softmax.Softmax: _shifted("axis"),
    softmax.LogSoftmax: _shifted("axis"),
    softmax.Logsumexp: _shifted("axes"),
    extremum.Argmax: _shifted("axis"),
    extremum.Argmin: _shifted("axis"),
    contract.Dot: _dot,
    matrix.Linear: _linear,
    arranged.Triangle: _same,
    convolution.Convolution: _joined,
    pool.MaxPool: _joined,
    pool.MaxPoolIndices: _joined,
    pool.AvgPool: _joined,
    lapack.Lapack: _same,
    incomplete_ops.GammaSlope: _same,
    incomplete_ops.BetaSlope: _same,
    incomplete_ops.StandardGamma: _same,
    incomplete_ops.StandardDirichlet: _same,
    floats.Mantissa: _same,
    floats.Exponent: _same,
    floats.Neighbour: _same,
    index.Take: _take,
    index.PutAdd: _put_add,
    index.Put: _put,
    strided.Strided: _strided,
    strided.Unstrided: _unstrided,
    index.TakeAlong: _shifted("axis"),
    index.PutAlongAdd: _shifted("axis"),
    joined.PutAlongJoined: _shifted("axis"),
}
"""By class of op; a subclass goes by its nearest."""
