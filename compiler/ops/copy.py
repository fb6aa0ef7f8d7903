"""Copies as ops. In compiled code a value never changes, so no graph there holds one; eager steps do."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from retrograd.compiler.ir.graph import Array, Op, Type, Value


class Clone(Op):
    """The same values in memory of their own; only Tensors know it."""

    name = "clone"

    def infer(self, *types: Type) -> Type:
        return types[0]

    def evaluate(self, *arrays: Array) -> Array:
        return np.array(arrays[0], order="K")

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        return [cotangent]


class Contiguous(Clone):
    """A copy in row-major order."""

    def evaluate(self, *arrays: Array) -> Array:
        return np.asarray(arrays[0], order="C")
