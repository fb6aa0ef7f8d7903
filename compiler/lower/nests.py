"""Loops of the ops that do not compute one element at a time: products, concatenation, scans, scatters, sorts.

Each function takes a node and gives its kernels; `NESTS` finds it by the op's class.
"""

from __future__ import annotations

from retrograd.compiler.ir.graph import Node
from retrograd.compiler.ir.index import flatten
from retrograd.compiler.ir.loops import Accumulate, Call, Contraction, Kernel, Number, Statement, Store
from retrograd.compiler.lower.program import NESTS, Lowering, axes_for, nest
from retrograd.compiler.lower.reader import domain_index
from retrograd.compiler.ops.contract import Dot
from retrograd.compiler.ops.shape import Concat


def _dot(lowering: Lowering, node: Node) -> list[Kernel]:
    """out[…, m, n] = Σ_k a[…, m, k] · b[…, k, n], with the operands' movement in their indices."""
    a, b = node.inputs
    axes = axes_for((*node.shape, a.shape[-1]))
    index = domain_index(axes)
    batch, (m, n, k) = index[:-3], index[-3:]
    reader, out = lowering.reader(), lowering.buffer(node)
    left, right = reader.value(a, (*batch, m, k)), reader.value(b, (*batch, k, n))
    product = Call("mul", (left, right), node.dtype)
    place = flatten((*batch, m, n), node.shape)
    contraction = Contraction(out, place, axes[:-3], *axes[-3:], left, right, node.where)
    body: list[Statement] = [
        Store(out, place, Number(0, node.dtype), node.where),
        *nest(axes[-1:], [Accumulate(out, place, product, "add", 0, node.where)]),
    ]
    return [Kernel("dot", nest(axes[:-1], body), contraction)]


def _concat(lowering: Lowering, node: Node) -> list[Kernel]:
    """One copying nest per operand."""
    assert isinstance(node.op, Concat)
    statements: list[Statement] = []
    start, reader = 0, lowering.reader()
    for operand in node.inputs:
        axes = axes_for(operand.shape)
        index = list(domain_index(axes))
        value = reader.value(operand, tuple(index))
        index[node.op.axis] += start
        statements += nest(axes, [Store(lowering.buffer(node), flatten(index, node.shape), value, node.where)])
        start += operand.shape[node.op.axis]
    return [Kernel("concat", tuple(statements))]


NESTS |= {Dot: _dot, Concat: _concat}
