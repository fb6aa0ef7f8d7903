"""Copies as ops. In compiled code a value never changes, so no graph there holds one; eager steps do."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.ir.arrays import copied
from retrograd.compiler.ir.graph import Array, Op, Type, Value
from retrograd.compiler.ops.rows import rows
from retrograd.compiler.ops.shape import cast


class Clone(Op):
    """The same values in memory of their own; only Tensors know it."""

    name = "clone"

    def infer(self, *types: Type) -> Type:
        return types[0]

    def evaluate(self, *arrays: Array) -> Array:
        return copied(np.asarray(arrays[0]))

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        return [cotangent]


class Contiguous(Clone):
    """A copy in row-major order."""

    def evaluate(self, *arrays: Array) -> Array:
        return np.asarray(arrays[0], order="C")


class Ordered(Clone):
    """A copy in row-major order, in memory of its own even where the values lie so."""

    def evaluate(self, *arrays: Array) -> Array:
        return np.array(arrays[0], order="C")

    def function(self, types: Sequence[Type]) -> Callable[..., Array] | None:
        return np.ndarray.copy


class Overwritten(Op):
    """`overwritten(x, value)`: the value, broadcast and cast, in memory of x's type."""

    name = "overwritten"

    def infer(self, *types: Type) -> Type:
        return types[0]

    def evaluate(self, *arrays: Array) -> Array:
        x, value = arrays
        out = np.empty_like(x)
        np.copyto(out, value, casting="unsafe")
        return out

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        kind = dtypes.of(cotangent)
        zeros = cast(rows.lt(cotangent, cotangent), kind) if needed[0] else None  # which depend on nothing
        return [zeros, cast(cotangent, dtypes.of(inputs[1])) if needed[1] else None]
