"""Floating-point numbers taken apart: mantissa and exponent, and a number's neighbour. Hosted ops, element by
element.

In flow arrays of one shape and a floating dtype, half precision included. NumPy does them; the derivatives
are PyTorch's: a mantissa moves with its number over a fixed power of two, a neighbour with its number.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.errors import ShapeError
from retrograd.compiler.ir.graph import Array, Fixed, Op, Type, Value, apply, register
from retrograd.compiler.ops.rows import rows
from retrograd.compiler.ops.shape import cast
from retrograd.compiler.record import record


def _parts(x: Array) -> tuple[Array, Array]:
    """`frexp`, half precision by way of float32; what is not finite has the exponent 0."""
    mantissa, exponent = np.frexp(x if x.dtype.itemsize > 2 else x.astype(np.float32))
    finite = np.isfinite(mantissa)
    return np.asarray(mantissa).astype(x.dtype), np.asarray(np.where(finite, exponent, 0), np.int32)


@register
@record
class Exponent(Fixed):
    """The `e` of `x = m · 2^e`, where |m| is at least 1/2 and less than 1; 0 for 0, infinities and NaN."""

    name = "frexp_exponent"
    hosted = True

    def infer(self, *types: Type) -> Type:
        return types[0].with_dtype(dtypes.int32)

    def evaluate(self, *arrays: Array) -> Array:
        return _parts(arrays[0])[1]


@register
@record
class Mantissa(Op):
    """The `m` of `x = m · 2^e`."""

    name = "frexp"
    hosted = True

    def infer(self, *types: Type) -> Type:
        return types[0]

    def evaluate(self, *arrays: Array) -> Array:
        return _parts(arrays[0])[0]

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        exponent = apply(Exponent(), inputs[0])
        return [rows.div(cotangent, rows.exp2(cast(exponent, dtypes.of(inputs[0]))))]


@register
@record
class Neighbour(Op):
    """The number of the dtype that is next to the first operand on the way to the second."""

    name = "nextafter"
    hosted = True

    def infer(self, *types: Type) -> Type:
        if types[0] != types[1]:
            raise ShapeError(f"nextafter of {types[0]} and {types[1]}", "the operands' types differ")
        return types[0]

    def evaluate(self, *arrays: Array) -> Array:
        return np.asarray(np.nextafter(*arrays))

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        zero = cotangent * 0
        return [rows.where(rows.eq(*inputs), zero, cotangent), zero]
