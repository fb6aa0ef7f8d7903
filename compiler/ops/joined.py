"""Indexed writes along an axis, and those that join what meets at one place: the product, the greatest or the
least of it.

    put_along          x, but where indices along an axis say so, the values written there
    put_along_joined   x, but where indices along an axis say so, joined with the values written there
    slope_of_products  the derivative of products by what was written

One value is written after the other, as those of `put_along_add` (`index.py`), whose kind is the sum. To add
a way to join, add a line to `JOINS` and its derivative.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.dtypes import DType
from retrograd.compiler.errors import ShapeError
from retrograd.compiler.ir.graph import OPS, Array, Op, Type, Value, apply, register
from retrograd.compiler.ops.composite import Composite
from retrograd.compiler.ops.elementwise import Elementwise
from retrograd.compiler.ops.half import in_float32, widened
from retrograd.compiler.ops.index import along_index, check_index, put, put_along_add, take_along
from retrograd.compiler.ops.iota import iota_like
from retrograd.compiler.ops.reduce import Amax, Amin, Prod, Reduction
from retrograd.compiler.ops.rows import rows
from retrograd.compiler.ops.scan import recurrence, shift
from retrograd.compiler.ops.shape import cast, reshape
from retrograd.compiler.ops.sort import argsort
from retrograd.compiler.record import record

JOINS: dict[str, type[Reduction]] = {"prod": Prod, "amax": Amax, "amin": Amin}
"""What joins, by PyTorch's names."""


@register
@record
class PutAlong(Composite):
    """As `torch.scatter`: `x` with single elements replaced along an axis; the last write stays. The index
    may be shorter than `x` on the other axes; the values have its shape, or are 0-d."""

    name = "put_along"
    categories = (0, 1, 2, 3)
    axis: int

    def formula(self, *values: Value) -> Value:
        x, index, written = values
        flat = put(reshape(x, (prod(x.shape),)), along_index(index, x.shape, self.axis), written)
        return reshape(flat, x.shape)


@register
@record
class PutAlongJoined(Op):
    """`x` joined along an axis with the values at their indices; the other axes of all three agree."""

    name = "put_along_joined"
    varied = True
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
        dtype, index = dtypes.of(cotangent), inputs[1]
        wide, x, written = (widened(v) for v in (cotangent, inputs[0], inputs[2]))
        if self.how == "prod":
            theirs = apply(SlopeOfProducts(self.axis), wide, index, written, *[x] * self.with_self)
            one = _ones(wide, self.axis)
            own = wide * apply(self, one, index, written) if self.with_self else None
        else:
            own, theirs = self._of_extrema(wide, widened(out), x, index, written)
        if own is None and needed[0]:
            touched = put_along_add(rows.eq(index, index), index, self.axis, cotangent.shape[self.axis])
            own = rows.where(touched, 0.0, cotangent)
        return [cast(own, dtype) if needed[0] else None, None, cast(theirs, dtype) if needed[2] else None]

    def _of_extrema(
        self, cotangent: Value, out: Value, x: Value, index: Value, written: Value
    ) -> tuple[Value | None, Value]:
        """Elements that equal the extremum share the cotangent evenly, as in `amax`."""
        number = dtypes.of(out)
        met = cast(rows.eq(written, take_along(out, index, self.axis)), number)
        own = cast(rows.eq(x, out), number) if self.with_self else None
        ties = put_along_add(met, index, self.axis, out.shape[self.axis])
        share = cotangent / (rows.maximum(ties, 1.0) if own is None else ties + own)
        return None if own is None else own * share, met * take_along(share, index, self.axis)

    def identity(self, dtype: DType) -> bool | int | float:
        """What joining leaves unchanged."""
        return JOINS[self.how](()).identity(dtype)

    @property
    def row(self) -> Elementwise:
        """What joins two elements."""
        row = OPS[JOINS[self.how].combine]
        assert isinstance(row, Elementwise)
        return row


def _ones(like: Value, axis: int) -> Value:
    place = iota_like(like, axis)
    return cast(rows.eq(place, place), dtypes.of(like))


@register
@record
class SlopeOfProducts(Composite):
    """The cotangent of what is multiplied at places along an axis: of the products' `cotangent`, `index`,
    what is `written`, and the elements that it was multiplied by, if any."""

    name = "slope_of_products"
    axis: int

    def formula(self, *values: Value) -> Value:
        """The product without the factor itself: all over it or, for the only zero, that of all others."""
        cotangent, index, written, *rest = values
        axis, size, number = self.axis, cotangent.shape[self.axis], dtypes.of(cotangent)
        null = rows.eq(written, 0.0)
        zeros = put_along_add(cast(null, number), index, axis, size)
        start = rest[0] if rest else _ones(cotangent, axis)
        zero = rows.eq(start, 0.0)
        others = put_along_joined(
            rows.where(zero, 1.0, start), index, rows.where(null, 1.0, written), axis, "prod", True
        )
        zeros = zeros + cast(zero, number)
        alone = cotangent * rows.where(rows.eq(zeros, 1.0), others, 0.0)
        whole = cotangent * rows.where(rows.eq(zeros, 0.0), others, 0.0)
        return rows.where(
            null,
            take_along(alone, index, axis),
            take_along(whole, index, axis) / rows.where(null, 1.0, written),
        )

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        """Where two factors are zero the formula is right, but its derivative is not."""
        return ScannedSlope(self.axis).adjoint(cotangent, out, inputs, needed)


@record
class ScannedSlope(Composite):
    """The same by running products, with derivatives of every order: what is multiplied before a factor times
    what is multiplied after it."""

    name = "scanned_slope_of_products"
    axis: int

    def formula(self, *values: Value) -> Value:
        """Those of one place lie side by side in the order of the indices, and their running product is a
        recurrence that starts anew with each place."""
        cotangent, index, written, *rest = values
        axis, one = self.axis, _ones(cotangent, self.axis)
        index = rows.where(rows.lt(index, 0), index + cotangent.shape[axis], index)
        order = argsort(index, axis)
        place, factor = take_along(index, order, axis), take_along(written, order, axis)

        def running(start: Value, back: bool) -> Value:
            first = rows.ne(place, shift(place, axis, back, fill=-1.0))
            kept = rows.where(first, 0.0, shift(factor, axis, back))
            return recurrence(kept, rows.where(first, take_along(start, place, axis), 0.0), axis, back)

        before, after = running(rest[0] if rest else one, False), running(one, True)
        slope = take_along(cotangent, place, axis) * before * after
        return put_along_add(slope, order, axis, index.shape[axis])


def put_along(x: Value, index: Value, values: Value, axis: int) -> Value:
    return apply(PutAlong(axis), x, index, values)


def put_along_joined(x: Value, index: Value, values: Value, axis: int, how: str, with_self: bool) -> Value:
    return apply(PutAlongJoined(axis, how, with_self), x, index, values)
