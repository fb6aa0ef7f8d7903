"""Ops that read their operand at places given by another value: they have a value at every index, so they
fuse."""

from __future__ import annotations

from retrograd.compiler.ir.expressions import Expression
from retrograd.compiler.ir.graph import Node
from retrograd.compiler.ir.index import Bound
from retrograd.compiler.lower.cluster import INLINE
from retrograd.compiler.lower.reader import GATHERS, MultiIndex, Reader, broadcast_index
from retrograd.compiler.ops.index import Take, TakeAlong


def _take(reader: Reader, node: Node, index: MultiIndex, bounds: tuple[Bound, ...]) -> Expression:
    """out[a, i, b] = x[a, indices[i], b]"""
    assert isinstance(node.op, Take)
    x, indices = node.inputs
    axis, count = node.op.axis, indices.ndim
    place = broadcast_index(index[axis : axis + count], indices)
    row = reader.position(indices, place, x.shape[axis], bounds)
    return reader.value(x, broadcast_index((*index[:axis], row, *index[axis + count :]), x), bounds)


def _take_along(reader: Reader, node: Node, index: MultiIndex, bounds: tuple[Bound, ...]) -> Expression:
    """out[a, i, b] = x[a, indices[a, i, b], b]"""
    assert isinstance(node.op, TakeAlong)
    x, indices = node.inputs
    axis = node.op.axis
    row = reader.position(indices, index, x.shape[axis], bounds)
    return reader.value(x, broadcast_index((*index[:axis], row, *index[axis + 1 :]), x), bounds)


GATHERS |= {Take: _take, TakeAlong: _take_along}
INLINE |= {Take, TakeAlong}
