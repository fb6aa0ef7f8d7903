"""Loops that sort: a bitonic network, the same comparisons whatever the data, side by side in vectors or
threads.

A pass compares the pairs (i, i + span) and orders them up or down by a bit of i; log²-many passes sort a
power of two of elements (K. E. Batcher, "Sorting Networks and their Applications", 1968). Original
positions break ties, so the order is stable, and mark the padding, which sorts last.
"""

from __future__ import annotations

from retrograd.compiler import dtypes
from retrograd.compiler.ir.expressions import Buffer, Call, Expression, Load, Number, Position, Space
from retrograd.compiler.ir.graph import Node
from retrograd.compiler.ir.index import Axis, Index, as_index, flatten
from retrograd.compiler.ir.loops import Kernel, Statement, Store
from retrograd.compiler.lower.program import Lowering, axes_for, nest
from retrograd.compiler.lower.reader import domain_index
from retrograd.compiler.ops.sort import Argsort


def argsort(lowering: Lowering, node: Node) -> list[Kernel]:
    """Keys and positions side by side, sorted together; the positions are the result."""
    assert isinstance(node.op, Argsort)
    (x,) = node.inputs
    axes = axes_for(node.shape)
    along, others = axes[node.op.axis], [a for k, a in enumerate(axes) if k != node.op.axis]
    padded = 1 << max(along.extent - 1, 0).bit_length()
    row = flatten(domain_index(tuple(others)), [a.extent for a in others]) * padded
    size = padded
    for axis in others:
        size *= axis.extent
    keys = Buffer("keys", x.dtype, size, Space.ARENA)
    order = Buffer("order", dtypes.int64, size, Space.ARENA)
    index = domain_index(axes)
    here = row + index[node.op.axis]
    fill = Axis("f", padded)
    body: list[Statement] = [
        *nest([fill], [Store(keys, row + _at(fill), Number(0, x.dtype)),
                       Store(order, row + _at(fill), Position(_at(fill), dtypes.int64))]),
        *nest([along], [Store(keys, here, lowering.reader().value(x, index), node.where)]),
    ]  # fmt: skip
    block = 2
    while block <= padded:
        span = block // 2
        while span:
            body += _pass(keys, order, row, padded, block, span, along.extent, node.op.descending)
            span //= 2
        block *= 2
    out = Store(lowering.buffer(node), flatten(index, node.shape), Load(order, here), node.where)
    return [Kernel("argsort", nest(others, [*body, *nest([along], [out])]))]


def _at(axis: Axis) -> Index:
    return Index() if axis.extent == 1 else as_index(axis)


def _pass(
    keys: Buffer, order: Buffer, row: Index, padded: int, block: int, span: int, count: int, descending: bool
) -> tuple[Statement, ...]:
    """Put each pair (low, low + span) in order: upwards in every other block, downwards in the rest."""
    outer, inner = Axis("p", padded // (2 * span)), Axis("q", span)
    low = _at(outer) * (2 * span) + _at(inner)
    high = low + span
    a, b = Load(keys, row + low), Load(keys, row + high)
    i, j = Load(order, row + low), Load(order, row + high)
    swap = _after(a, i, b, j, count, descending)
    if block < padded:
        turned = Call("ne", (Position(low // block % 2, dtypes.int64), Number(0, dtypes.int64)), dtypes.bool_)
        swap = Call("logical_xor", (swap, turned), dtypes.bool_)

    def choose(first: Expression, second: Expression) -> Expression:
        return Call("where", (swap, first, second), a.dtype if first in (a, b) else dtypes.int64)

    return nest([outer, inner], [
        Store(keys, row + low, choose(b, a)),
        Store(keys, row + high, choose(a, b)),
        Store(order, row + low, choose(j, i)),
        Store(order, row + high, choose(i, j)),
    ])  # fmt: skip


def _after(
    a: Expression, i: Expression, b: Expression, j: Expression, count: int, descending: bool
) -> Expression:
    """Does `a` from position `i` belong after `b` from `j`?"""
    greater, less = _greater(a, b), _greater(b, a)
    if descending:
        greater, less = less, greater
    later = Call("gt", (i, j), dtypes.bool_)
    tied = Call("logical_and", (Call("logical_not", (less,), dtypes.bool_), later), dtypes.bool_)
    real = Call("logical_or", (greater, tied), dtypes.bool_)
    padding = Call("ge", (Call("maximum", (i, j), dtypes.int64), Number(count, dtypes.int64)), dtypes.bool_)
    return Call("where", (padding, later, real), dtypes.bool_)


def _greater(a: Expression, b: Expression) -> Expression:
    """a > b, where NaN is greater than any number."""
    plain: Expression = Call("gt", (a, b), dtypes.bool_)
    if not a.dtype.is_floating_point:
        return plain
    a_is_nan, b_is_nan = (Call("ne", (x, x), dtypes.bool_) for x in (a, b))
    number = Call("logical_not", (b_is_nan,), dtypes.bool_)
    return Call("logical_and", (number, Call("logical_or", (a_is_nan, plain), dtypes.bool_)), dtypes.bool_)
