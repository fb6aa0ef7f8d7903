"""What a mask chooses: elements of another tensor put there, in order."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.errors import ShapeError, mirrored
from retrograd.compiler.ir.graph import Array, Type, Value, apply, register
from retrograd.compiler.ops.composite import Composite
from retrograd.compiler.ops.index import put_add, take
from retrograd.compiler.ops.reduce import sum_
from retrograd.compiler.ops.rows import rows
from retrograd.compiler.ops.scan import cumsum
from retrograd.compiler.ops.shape import cast, reshape
from retrograd.compiler.record import record


@register
@record
class MaskedScatter(Composite):
    """`x` with the elements of `source`, in order, where a mask of its shape is true."""

    name = "masked_scatter"
    categories = (0, 1, 2)

    def infer(self, *types: Type) -> Type:
        return types[0]

    def inspect(self, *arrays: Array) -> None:
        _, mask, source = arrays
        chosen = np.count_nonzero(mask)
        if chosen > source.size:
            raise ShapeError(
                f"masked_scatter of {source.size} elements where {chosen} are chosen",
                mirrored("Number of elements of source < number of ones in mask"),
            )

    def admits(self, *values: Value) -> Value:
        _, mask, source = values
        return rows.le(sum_(cast(mask, dtypes.int64), range(len(mask.shape))), prod(source.shape))

    def compute(self, *arrays: Array) -> Array:
        x, mask, source = arrays
        out = x.copy()
        out[mask] = source.reshape(-1)[: np.count_nonzero(mask)]
        return out

    def formula(self, *values: Value) -> Value:
        x, mask, source = values
        size = prod(source.shape)
        if not size:
            return rows.where(mask, x, x)
        picked = take(reshape(source, (size,)), _turns(mask, size), 0)
        return rows.where(mask, reshape(picked, mask.shape), x)

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        _, mask, source = inputs
        size = prod(source.shape)
        if not size:
            return [cotangent, None, None]
        there = reshape(rows.where(mask, cotangent, 0.0), (prod(mask.shape),))
        of_source = reshape(put_add(there, _turns(mask, size), 0, size), source.shape)
        return [rows.where(mask, 0.0, cotangent), None, of_source]


def _turns(mask: Value, size: int) -> Value:
    """Which element of so many is next at each place, in a vector."""
    line = reshape(cast(mask, dtypes.int64), (prod(mask.shape),))
    return rows.minimum(rows.maximum(cumsum(line, 0) - 1, np.asarray(0)), np.asarray(size - 1))


def masked_scatter(x: Value, mask: Value, source: Value) -> Value:
    return apply(MaskedScatter(), x, mask, source)
