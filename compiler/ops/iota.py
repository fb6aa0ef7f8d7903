"""Ops that count: each element is its own position along an axis.

In flow a type, or an operand whose elements are not read; out flow whole numbers. In compiled code they are
index arithmetic, like movement (`shape.py`).
"""

from __future__ import annotations

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.errors import DimensionError
from retrograd.compiler.ir.graph import Array, Fixed, Leaf, Type, Value, apply, register
from retrograd.compiler.record import record


@register
@record
class Iota(Leaf):
    """Each element is its own position along an axis: 0, 1, 2, …"""

    name = "iota"
    type: Type
    axis: int

    def evaluate(self, *arrays: Array) -> Array:
        shape = [size if k == self.axis else 1 for k, size in enumerate(self.type.shape)]
        line = np.arange(self.type.shape[self.axis], dtype=self.type.dtype.numpy).reshape(shape)
        return np.broadcast_to(line, self.type.shape)


@register
@record
class IotaLike(Fixed):
    """`Iota` in int64 in the shape of an operand, whose elements are not read: how functions count."""

    name = "iota_like"
    axis: int

    def infer(self, *types: Type) -> Type:
        if not 0 <= self.axis < types[0].ndim:
            raise DimensionError(
                f"iota_like of {types[0]} along axis {self.axis}", f"there is no axis {self.axis}"
            )
        return types[0].with_dtype(dtypes.int64)

    def evaluate(self, *arrays: Array) -> Array:
        return Iota(Type(arrays[0].shape, dtypes.int64), self.axis).evaluate()


def iota_like(x: Value, axis: int) -> Value:
    """Each element's position along an axis, in int64 and the shape of `x`."""
    return apply(IotaLike(axis), x)
