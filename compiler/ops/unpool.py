"""Unpooling: the greatest elements of windows back at the places they were found at, zeros elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.errors import ShapeError, mirrored
from retrograd.compiler.ir.graph import Array, Type, Value, apply, register
from retrograd.compiler.ops.composite import Composite
from retrograd.compiler.ops.index import take_along
from retrograd.compiler.ops.joined import put_along
from retrograd.compiler.ops.rows import rows
from retrograd.compiler.record import record


@register
@record
class MaxUnpool(Composite):
    """`[N, k]` and its places, in rows that are volumes of these `sizes`. Where windows overlap an element is
    put down several times, and each has the cotangent of the place, as in PyTorch."""

    name = "max_unpool"
    categories = (1, 2)
    sizes: tuple[int, ...]

    @property
    def size(self) -> int:
        return prod(self.sizes)

    def inspect(self, *arrays: Array) -> None:
        wrong = arrays[1][(arrays[1] < 0) | (arrays[1] >= self.size)]
        if wrong.size:
            shown = "x".join(map(str, self.sizes if len(self.sizes) > 1 else [*self.sizes, 1]))
            raise ShapeError(
                mirrored(f"Found an invalid max index: {wrong[0]} (output volumes are of size {shown})")
            )

    def admits(self, *values: Value) -> Value:
        return rows.logical_and(rows.ge(values[1], 0), rows.lt(values[1], self.size))

    def infer(self, *types: Type) -> Type:
        x, places = types
        if x.shape != places.shape or x.ndim != 2:
            raise ShapeError(f"max_unpool of {x} at {places}", "each element has its own place in its row")
        return x.with_shape((x.shape[0], self.size))

    def formula(self, *values: Value) -> Value:
        x, places = values
        nothing = np.zeros((x.shape[0], self.size), dtypes.of(x).numpy)
        return put_along(nothing, places, x, 1)

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        return [take_along(cotangent, inputs[1], 1), None]


def max_unpool(x: Value, places: Value, sizes: Sequence[int]) -> Value:
    return apply(MaxUnpool(tuple(sizes)), x, places)
