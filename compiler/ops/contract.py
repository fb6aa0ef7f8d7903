"""Contractions: the matrix product, from which all others (matmul, mm, bmm, einsum, convolution) are made
by movement."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.errors import DtypeError, ShapeError, mirrored
from retrograd.compiler.ir.graph import Array, Op, Type, Value, apply, register
from retrograd.compiler.ops.complexes import conj
from retrograd.compiler.ops.half import in_float32, widened
from retrograd.compiler.ops.shape import permute
from retrograd.compiler.record import record


@register
@record
class Dot(Op):
    """`out[…, m, n] = Σ_k a[…, m, k] · b[…, k, n]`; batch axes agree exactly (expand first: it costs
    nothing)."""

    name = "dot"

    @property
    def title(self) -> str:
        return "Mm"

    def infer(self, *types: Type) -> Type:
        a, b = types
        if a.dtype is not b.dtype:
            raise DtypeError(
                f"dot of {a} and {b}",
                f"expected m1 and m2 to have the same dtype, but got: {a.dtype} != {b.dtype}",
            )
        if a.ndim < 2 or a.ndim != b.ndim or a.shape[:-2] != b.shape[:-2] or a.shape[-1] != b.shape[-2]:
            raise ShapeError(
                f"dot of {a} and {b}",
                mirrored(
                    f"mat1 and mat2 shapes cannot be multiplied ({_shown(a.shape)} and {_shown(b.shape)})"
                ),
                "the last axis of the first must equal the second-last axis of the second",
            )
        return a.with_shape((*a.shape[:-1], b.shape[-1]))

    @in_float32
    def evaluate(self, *arrays: Array) -> Array:
        a, b = arrays
        if a.ndim == 2 and a.dtype.itemsize >= 4:
            return np.asarray(a.dot(b))  # the same product, in half the time for small matrices
        return np.asarray(np.matmul(a, b))

    def function(self, types: Sequence[Type]) -> Callable[..., Array] | None:
        return np.ndarray.dot if types[0].ndim == 2 else None

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        a, b = inputs
        return [
            dot(cotangent, conj(transpose(b))) if needed[0] else None,
            dot(conj(transpose(a)), cotangent) if needed[1] else None,
        ]


@register
@record
class DotInFloat32(Dot):
    """The product of halves before it is rounded: what machine code computes of their `Dot`."""

    name = "dot_in_float32"

    def infer(self, *types: Type) -> Type:
        return super().infer(*types).with_dtype(dtypes.float32)

    def evaluate(self, *arrays: Array) -> Array:
        return np.asarray(super().evaluate(*map(widened, arrays)))


def _shown(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def dot(a: Value, b: Value) -> Value:
    return apply(Dot(), a, b)


def transpose(x: Value) -> Value:
    """The last two axes exchanged."""
    ndim = len(x.shape)
    return permute(x, (*range(ndim - 2), ndim - 1, ndim - 2))
