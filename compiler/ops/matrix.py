"""Composites on matrices: a layer's affine map, the trace, and one-hot rows.

Products themselves are in `contract`, triangles in `arranged`.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.errors import ShapeError, mirrored
from retrograd.compiler.ir.graph import Array, Type, Value, apply, register
from retrograd.compiler.ops.complexes import conj
from retrograd.compiler.ops.composite import Composite
from retrograd.compiler.ops.contract import dot, transpose
from retrograd.compiler.ops.iota import iota_like
from retrograd.compiler.ops.reduce import sum_, sum_to
from retrograd.compiler.ops.rows import rows
from retrograd.compiler.ops.shape import cast, expand, reshape, unsqueeze
from retrograd.compiler.ops.window import diagonal
from retrograd.compiler.record import record


@register
@record
class Linear(Composite):
    """`x · wᵀ + b`, for x `[…, k]`, w `[n, k]` and b `[n]` (which may be left out)."""

    name = "linear"
    categories = (2, 3)

    @property
    def title(self) -> str:
        return "Addmm"

    def infer(self, *types: Type) -> Type:
        x, w, *bias = types
        if w.ndim != 2 or x.ndim == 0 or x.shape[-1] != w.shape[1]:
            raise ShapeError(
                f"linear of {x} with weight {w}",
                mirrored(
                    f"mat1 and mat2 shapes cannot be multiplied ({_shown(x.shape)} and "
                    f"{_shown(w.shape[::-1])})"
                ),
                "the last axis of the input must be as long as the second of the weight",
            )
        if bias and bias[0].shape != w.shape[:1]:
            raise ShapeError(
                f"linear of {x} with weight {w}", f"the bias is {bias[0]}, but must be [{w.shape[0]}]"
            )
        return super().infer(*types)

    def formula(self, *values: Value) -> Value:
        x, w, *bias = values
        out = reshape(dot(_flat(x), transpose(w)), (*x.shape[:-1], w.shape[0]))
        return out + bias[0] if bias else out

    def compute(self, *arrays: Array) -> Array:
        x, w, *bias = arrays
        if x.dtype.itemsize < 4 or x.ndim == 1:
            out = np.asarray(x @ w.T)
        elif x.ndim == 2:
            out = x.dot(w.T)
        else:  # `@` would make a product for each of the first axes
            out = x.reshape(-1, x.shape[-1]).dot(w.T).reshape(*x.shape[:-1], len(w))
        if bias:
            out += bias[0]
        return out

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        x, w, *_ = inputs
        rows_of = _flat(cotangent)
        found: list[Value | None] = [
            reshape(dot(rows_of, conj(w)), x.shape) if needed[0] else None,
            dot(transpose(rows_of), conj(_flat(x))) if needed[1] else None,
        ]
        return [*found, *(sum_to(cotangent, (w.shape[0],)) for _ in inputs[2:])]


def _flat(x: Value) -> Value:
    return reshape(x, (prod(x.shape[:-1]), x.shape[-1]))


def _shown(shape: Sequence[int]) -> str:
    return f"{prod(shape[:-1])}x{shape[-1]}" if shape else "a scalar"


@register
@record
class Trace(Composite):
    """The sum of a matrix's diagonal."""

    name = "trace"
    categories = (1, 2, 3)

    def formula(self, *values: Value) -> Value:
        return sum_(diagonal(values[0], 0, 0, 1), [0])


@register
@record
class OneHot(Composite):
    """A new last axis of so many classes that is 1 at the index and 0 elsewhere."""

    name = "one_hot"
    categories = (1,)
    classes: int

    def inspect(self, *arrays: Array) -> None:
        (index,) = arrays
        if not index.size:
            return
        if index.min() < 0:
            raise ShapeError("one_hot()", mirrored("Class values must be non-negative."))
        if index.max() >= self.classes:
            raise ShapeError(
                f"one_hot(num_classes={self.classes})",
                mirrored("Class values must be smaller than num_classes."),
            )

    def admits(self, *values: Value) -> Value:
        (index,) = values
        return rows.logical_and(rows.ge(index, 0), rows.lt(index, self.classes))

    def compute(self, *arrays: Array) -> Array:
        (index,) = arrays
        out = np.zeros((*index.shape, self.classes), np.int64)
        flat = out.reshape(-1)
        flat[np.arange(0, out.size, self.classes or 1) + index.reshape(-1)] = 1
        return out

    def formula(self, *values: Value) -> Value:
        (index,) = values
        last = len(index.shape)
        each = expand(unsqueeze(index, [last]), (*index.shape, self.classes))
        return cast(rows.eq(each, iota_like(each, last)), dtypes.int64)


# ---- as functions of values of any level -------------------------------------------------------------------


def linear(x: Value, w: Value, bias: Value | None = None) -> Value:
    return apply(Linear(), x, w) if bias is None else apply(Linear(), x, w, bias)


def trace(x: Value) -> Value:
    return apply(Trace(), x)


def one_hot(index: Value, classes: int) -> Value:
    return apply(OneHot(classes), index)
