"""Indexed writes that join what meets at one place: the product, the greatest or the least of it.

    put_along_joined   x, but where indices along an axis say so, joined with the values written there

One value is written after the other, as those of `put_along_add` (`index.py`), whose kind is the sum. To add
a way to join, add a line to `JOINS` and its derivative.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.dtypes import DType
from retrograd.compiler.errors import ShapeError
from retrograd.compiler.ir.graph import OPS, Array, Op, Type, Value, apply, register
from retrograd.compiler.ops.elementwise import Elementwise
from retrograd.compiler.ops.half import in_float32, widened
from retrograd.compiler.ops.index import along_index, check_index, put_along_add, take_along
from retrograd.compiler.ops.reduce import Amax, Amin, Prod, Reduction
from retrograd.compiler.ops.rows import rows
from retrograd.compiler.ops.shape import cast
from retrograd.compiler.record import record

JOINS: dict[str, type[Reduction]] = {"prod": Prod, "amax": Amax, "amin": Amin}
"""What joins, by PyTorch's names."""


@register
@record
class PutAlongJoined(Op):
    """`x` joined along an axis with the values at their indices; the other axes of all three agree."""

    name = "put_along_joined"
    axis: int
    how: str
    """A key of `JOINS`."""
    with_self: bool
    """Whether the elements of `x` are joined, too; else values are in their place."""

    def infer(self, *types: Type) -> Type:
        x, index, written = types
        what = f"{self.name} of {written} by {index} into {x} along axis {self.axis}"
        check_index(what, index, self.axis, x.ndim)
        others = [(*t.shape[: self.axis], *t.shape[self.axis + 1 :]) for t in (x, index)]
        if written.shape != index.shape or others[0] != others[1]:
            raise ShapeError(what, "the index has the shape of the values and, on other axes, that of x")
        return x

    def evaluate(self, *arrays: Array) -> Array:
        return np.asarray(in_float32(self._written)(*arrays))

    def _written(self, *arrays: Array) -> Array:
        x, index, written = arrays
        out = np.array(x).reshape(-1)
        places = np.asarray(along_index(index, x.shape, self.axis)).reshape(-1)
        if not self.with_self:
            out[places] = self.identity(dtypes.of(x))
        ufunc = self.row.numpy
        assert isinstance(ufunc, np.ufunc)
        ufunc.at(out, places, written.reshape(-1))
        return out.reshape(x.shape)

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        """In float32 for halves, which would count too few; without `with_self`, x is not looked at."""
        dtype, index = dtypes.of(out), inputs[1]
        each = self._of_products if self.how == "prod" else self._of_extrema
        own, theirs = each(*(widened(v) for v in (cotangent, out, inputs[0], index, inputs[2])))
        if own is None and needed[0]:
            touched = put_along_add(rows.eq(index, index), index, self.axis, out.shape[self.axis])
            own = rows.where(touched, 0.0, cotangent)
        return [cast(own, dtype) if needed[0] else None, None, cast(theirs, dtype) if needed[2] else None]

    def _of_extrema(
        self, cotangent: Value, out: Value, x: Value, index: Value, written: Value
    ) -> tuple[Value | None, Value]:
        """Elements that equal the extremum share the cotangent evenly, as in `amax`."""
        number = dtypes.of(out)
        met = cast(rows.eq(written, self._there(out, index)), number)
        own = cast(rows.eq(x, out), number) if self.with_self else None
        ties = self._met(met, index, out)
        share = cotangent / (rows.maximum(ties, 1.0) if own is None else ties + own)
        return None if own is None else own * share, met * self._there(share, index)

    def _of_products(
        self, cotangent: Value, out: Value, x: Value, index: Value, written: Value
    ) -> tuple[Value | None, Value]:
        """The product without the factor itself: all over it or, for the only zero, that of all others."""
        number, null = dtypes.of(out), rows.eq(written, 0.0)
        written, zeros = rows.where(null, 1.0, written), self._met(cast(null, number), index, out)
        zero = rows.eq(x, 0.0) if self.with_self else None
        factor = out if zero is None else rows.where(zero, 1.0, x)
        zeros = zeros if zero is None else zeros + cast(zero, number)
        others = put_along_joined(factor, index, written, self.axis, self.how, self.with_self)
        alone = cotangent * rows.where(rows.eq(zeros, 1.0), others, 0.0)
        whole = cotangent * out
        theirs = rows.where(null, self._there(alone, index), self._there(whole, index) / written)
        return None if zero is None else rows.where(zero, alone, whole / factor), theirs

    def _there(self, x: Value, index: Value) -> Value:
        return take_along(x, index, self.axis)

    def _met(self, values: Value, index: Value, like: Value) -> Value:
        return put_along_add(values, index, self.axis, like.shape[self.axis])

    def identity(self, dtype: DType) -> bool | int | float:
        """What joining leaves unchanged."""
        return JOINS[self.how](()).identity(dtype)

    @property
    def row(self) -> Elementwise:
        """What joins two elements."""
        row = OPS[JOINS[self.how].combine]
        assert isinstance(row, Elementwise)
        return row


def put_along_joined(x: Value, index: Value, values: Value, axis: int, how: str, with_self: bool) -> Value:
    return apply(PutAlongJoined(axis, how, with_self), x, index, values)
