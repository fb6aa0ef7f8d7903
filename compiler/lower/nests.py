"""Loops of the ops that do not compute one element at a time: products, concatenation, scans, scatters,
sorts.

Each function takes a node and gives its kernels; `NESTS` finds it by the op's class.
"""

from __future__ import annotations

from retrograd.compiler.dtypes import DType
from retrograd.compiler.ir.expressions import Buffer, Call, Convert, Expression, Load, Number, Space
from retrograd.compiler.ir.graph import OPS, Constant, Graph, Node, Op, Type, apply
from retrograd.compiler.ir.index import Index, flatten
from retrograd.compiler.ir.loops import Accumulate, Contraction, Kernel, Local, Statement, Store
from retrograd.compiler.lower.program import NESTS, Lowering, axes_for, nest
from retrograd.compiler.lower.reader import broadcast_index, domain_index
from retrograd.compiler.lower.sorting import argsort
from retrograd.compiler.ops.contract import Dot, DotInFloat32
from retrograd.compiler.ops.index import Put, PutAdd, PutAlongAdd
from retrograd.compiler.ops.joined import PutAlongJoined
from retrograd.compiler.ops.scan import Cummax, Cummin, Cumprod, Cumsum, Logcumsumexp, Recurrence, Scan
from retrograd.compiler.ops.shape import Concat
from retrograd.compiler.ops.sort import Argsort
from retrograd.compiler.passes.rebuild import Expanding


def _dot(lowering: Lowering, node: Node) -> list[Kernel]:
    """out[…, m, n] = Σ_k a[…, m, k] · b[…, k, n], with the operands' movement in their indices."""
    a, b = node.inputs
    axes = axes_for((*node.shape, a.shape[-1]))
    row, column, inner = axes[-3:]
    index = domain_index(axes)
    batch, (m, n, k) = index[:-3], index[-3:]
    reader, out = lowering.reader(), lowering.buffer(node)
    left, right = (
        e if e.dtype is node.dtype else Convert(e, node.dtype)
        for e in (reader.value(a, (*batch, m, k)), reader.value(b, (*batch, k, n)))
    )
    product = Call("mul", (left, right), node.dtype)
    place = flatten((*batch, m, n), node.shape)
    stores = (Store(out, place, Load(out, place), node.where),)
    contraction = Contraction(out, place, axes[:-3], row, column, inner, left, right, stores, node.where)
    body: list[Statement] = [
        Store(out, place, Number(0, node.dtype), node.where),
        *nest(axes[-1:], [Accumulate(out, place, product, "add", 0, node.where)]),
    ]
    return [Kernel("dot", nest(axes[:-1], body), contraction)]


def _concat(lowering: Lowering, node: Node) -> list[Kernel]:
    """One copying nest per operand that is not stored in its place anyway."""
    assert isinstance(node.op, Concat)
    statements: list[Statement] = []
    start, reader = 0, lowering.reader()
    for operand in node.inputs:
        axes = axes_for(operand.shape)
        index = list(domain_index(axes))
        value = reader.value(operand, tuple(index))
        index[node.op.axis] += start
        store = Store(lowering.buffer(node), lowering.stored[node].place(index), value, node.where)
        if not _in_place(store):
            statements += nest(axes, [store])
        start += operand.shape[node.op.axis]
    return [Kernel("concat", tuple(statements))] if statements else []


def _in_place(store: Store) -> bool:
    """Is the value there already?"""
    value = store.value
    return isinstance(value, Load) and (value.buffer, value.index) == (store.buffer, store.index)


def _scan(lowering: Lowering, node: Node) -> list[Kernel]:
    """carry = combine(carry, operand[k]); out[k] = carry, one carry for each place on the other axes."""
    assert isinstance(node.op, Scan)
    axes = axes_for(node.shape)
    along = axes[node.op.axis]
    index = list(domain_index(axes))
    if node.op.reverse:
        index[node.op.axis] = Index() - index[node.op.axis] + (along.extent - 1)
    reader, carry = lowering.reader(), Buffer("carry", node.dtype, 1, Space.LOCAL)
    value: Expression = Load(carry, Index())
    for name, operand in zip(node.op.combine, node.inputs, strict=True):
        value = call_row(name, (value, reader.value(operand, tuple(index))), node.dtype)
    step = (
        Store(carry, Index(), value),
        Store(lowering.buffer(node), flatten(index, node.shape), Load(carry, Index()), node.where),
    )
    first = Store(carry, Index(), Number(node.op.identity(node.dtype), node.dtype))
    others = [axis for axis in axes if axis is not along]
    return [Kernel(node.op.name, nest(others, [Local(carry, (first, *nest([along], step)))]))]


def _put_add(lowering: Lowering, node: Node) -> list[Kernel]:
    """Zeros, to which each value is added at its place."""
    assert isinstance(node.op, PutAdd | PutAlongAdd)
    values, indices = node.inputs
    axes = axes_for(values.shape)
    index, axis, reader = domain_index(axes), node.op.axis, lowering.reader()
    if isinstance(node.op, PutAdd):
        end = axis + indices.ndim
        row = reader.position(indices, broadcast_index(index[axis:end], indices), node.op.size, ())
        place = (*index[:axis], row, *index[end:])
    else:
        row = reader.position(indices, index, node.op.size, ())
        place = (*index[:axis], row, *index[axis + 1 :])
    combine, zero = ("logical_or", False) if node.dtype.category == 0 else ("add", 0)
    add = Accumulate(
        lowering.buffer(node),
        flatten(place, node.shape),
        reader.value(values, index),
        combine,
        zero,
        node.where,
    )
    return [Kernel(node.op.name, (*_filled(lowering, node), *nest(axes, [add])))]


def _filled(lowering: Lowering, node: Node) -> tuple[Statement, ...]:
    axes = axes_for(node.shape)
    place = flatten(domain_index(axes), node.shape)
    return nest(axes, [Store(lowering.buffer(node), place, Number(0, node.dtype), node.where)])


def _put_joined(lowering: Lowering, node: Node) -> list[Kernel]:
    """A copy, or what joining leaves unchanged, with which each value is then joined at its place."""
    op = node.op
    assert isinstance(op, PutAlongJoined)
    x, indices, values = node.inputs
    out, reader = lowering.buffer(node), lowering.reader()
    whole, axes = axes_for(x.shape), axes_for(indices.shape)
    own, index = domain_index(whole), domain_index(axes)
    row = reader.position(indices, index, x.shape[op.axis], ())
    place = flatten((*index[: op.axis], row, *index[op.axis + 1 :]), x.shape)
    identity = op.identity(node.dtype)
    join = Accumulate(out, place, reader.value(values, index), op.row.name, identity, node.where)
    body = nest(whole, [Store(out, flatten(own, x.shape), reader.value(x, own), node.where)])
    if not op.with_self:
        body = (*body, *nest(axes, [Store(out, place, Number(identity, node.dtype), node.where)]))
    return [Kernel(op.name, (*body, *nest(axes, [join])))]


def _put(lowering: Lowering, node: Node) -> list[Kernel]:
    """A copy, in which rows are then replaced in order, so that the last write stays."""
    x, indices, values = node.inputs
    out, reader = lowering.buffer(node), lowering.reader()
    whole = axes_for(x.shape)
    place = domain_index(whole)
    copy = nest(whole, [Store(out, flatten(place, x.shape), reader.value(x, place), node.where)])
    axes = axes_for((*indices.shape, *x.shape[1:]))
    index = domain_index(axes)
    row = reader.position(indices, index[: indices.ndim], x.shape[0], ())
    value = reader.value(values, broadcast_index(index, values))
    target = flatten((row, *index[indices.ndim :]), x.shape)
    return [Kernel("put", (*copy, *nest(axes, [Store(out, target, value, node.where)])))]


def call_row(name: str, operands: tuple[Expression, ...], dtype: DType) -> Expression:
    """A row of scalars, or the formula that is its code."""
    builder = Expanding()
    inputs = [builder.input(f"x{k}", Type((), dtype)) for k in range(len(operands))]
    row = OPS[name]
    assert isinstance(row, Op)
    out: Node = apply(row, *inputs)
    known: dict[Node, Expression] = dict(zip(inputs, operands, strict=True))
    for node in Graph(name, tuple(inputs), (out,)).nodes:
        if isinstance(node.op, Constant):
            known[node] = Number(node.op.value.item(), node.dtype)
        else:
            known[node] = Call(node.op.name, tuple(known[i] for i in node.inputs), node.dtype)
    return known[out]


NESTS |= {Dot: _dot, DotInFloat32: _dot, Concat: _concat, Argsort: argsort}
NESTS |= {Put: _put, PutAdd: _put_add, PutAlongAdd: _put_add, PutAlongJoined: _put_joined}
NESTS |= dict.fromkeys((Cumsum, Cumprod, Cummax, Cummin, Logcumsumexp, Recurrence), _scan)
