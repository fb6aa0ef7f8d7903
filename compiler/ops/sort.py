"""Order: the permutation that sorts, and what follows from it.

`Argsort` is the one op; parts of the permutation are composites, whose arrays need not be sorted as a whole
(`keys.py`). sort, topk, kthvalue, median and mode read their values with `take_along`, whose adjoint brings
the cotangents back to where the values came from. Functions that PyTorch gives two results return (values,
indices).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.errors import DimensionError, ShapeError, mirrored
from retrograd.compiler.ir.graph import Array, Fixed, Type, Value, apply, register
from retrograd.compiler.ops import keys
from retrograd.compiler.ops.composite import Composite
from retrograd.compiler.ops.extremum import argmax
from retrograd.compiler.ops.index import take_along
from retrograd.compiler.ops.iota import iota_like
from retrograd.compiler.ops.reduce import amax, sum_
from retrograd.compiler.ops.rows import rows
from retrograd.compiler.ops.scan import cummax
from retrograd.compiler.ops.shape import cast, narrow, reshape, unsqueeze
from retrograd.compiler.record import record


@register
@record
class Argsort(Fixed):
    """The indices that sort along an axis; equal elements keep their order, NaN counts as the greatest."""

    name = "argsort"
    axis: int
    descending: bool = False

    def infer(self, *types: Type) -> Type:
        (x,) = types
        if not 0 <= self.axis < x.ndim:
            raise DimensionError(f"argsort of {x} along axis {self.axis}", f"there is no axis {self.axis}")
        return x.with_dtype(dtypes.int64)

    def evaluate(self, *arrays: Array) -> Array:
        return _along(self.axis, keys.order, arrays[0], self.descending)


@record
class _Part(Fixed, Composite):
    """Some of the indices that sort along an axis. They are constant to the derivative."""

    categories = (0, 1, 2)
    axis: int


@register
@record
class FirstInOrder(_Part):
    """Where the `count` least (or greatest) elements are, in order."""

    name = "first_in_order"
    count: int
    descending: bool = False

    def formula(self, *values: Value) -> Value:
        return narrow(argsort(values[0], self.axis, self.descending), self.axis, 0, self.count)

    def compute(self, *arrays: Array) -> Array:
        return _along(self.axis, keys.first, arrays[0], self.count, self.descending)


@register
@record
class NthInOrder(_Part):
    """Where the element is that sorting would put at a place (from 0); the axis stays, with one element."""

    name = "nth_in_order"
    place: int

    def formula(self, *values: Value) -> Value:
        return narrow(argsort(values[0], self.axis), self.axis, self.place, self.place + 1)

    def compute(self, *arrays: Array) -> Array:
        return _along(self.axis, keys.nth, arrays[0], self.place)


@register
@record
class MiddleInOrder(_Part):
    """Where the lower middle element is, or the first NaN, unless NaN are ignored; the axis stays, too."""

    name = "middle_in_order"
    ignore_nan: bool = False

    def formula(self, *values: Value) -> Value:
        (x,) = values
        size = x.shape[self.axis]
        numbers = unsqueeze(sum_(cast(rows.eq(x, x), dtypes.int64), [self.axis]), [self.axis])
        if self.ignore_nan:
            order = iota_like(x, self.axis)
            place = amax(rows.where(rows.lt(order + order, numbers), order, 0), [self.axis])
        else:
            place = rows.where(rows.eq(numbers, size), (size - 1) // 2, numbers)
        return take_along(argsort(x, self.axis), reshape(place, numbers.shape), self.axis)

    def compute(self, *arrays: Array) -> Array:
        return _along(self.axis, keys.middle, arrays[0], self.ignore_nan)


def _along(axis: int, places: Callable[..., Array], x: Array, *arguments: Any) -> Array:
    """Places along an axis, lying in order. Halves are compared in float32."""
    if dtypes.dtype(x.dtype).is_half:
        x = x.astype(np.float32)  # NumPy does not know where NaNs of bfloat16 go
    if axis == x.ndim - 1:
        return np.ascontiguousarray(places(x, *arguments))
    found = places(np.ascontiguousarray(x.swapaxes(axis, -1)), *arguments)
    return np.ascontiguousarray(found.swapaxes(axis, -1))


@register
@record
class Middle(Composite):
    """The middle element of a vector, as `median` finds it; all that are equal to it share its gradient."""

    name = "middle"
    categories = (0, 1, 2)
    ignore_nan: bool

    def formula(self, *values: Value) -> Value:
        return median(values[0], 0, self.ignore_nan)[0]

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        (x,) = inputs
        met = rows.logical_or(rows.eq(x, out), rows.logical_and(rows.isnan(x), rows.isnan(out)))
        count = sum_(cast(met, dtypes.int64), [0])
        return [rows.where(met, cotangent / cast(count, dtypes.of(cotangent)), 0.0)]


# ---- as functions of values of any level -------------------------------------------------------------------


def argsort(x: Value, axis: int, descending: bool = False) -> Value:
    return apply(Argsort(axis, descending), x)


def sort(x: Value, axis: int, descending: bool = False) -> tuple[Value, Value]:
    order = argsort(x, axis, descending)
    return take_along(x, order, axis), order


def topk(x: Value, count: int, axis: int, largest: bool = True) -> tuple[Value, Value]:
    """The `count` greatest (or least) elements in order; of equal ones the first."""
    if not 0 <= count <= x.shape[axis]:
        raise ShapeError(
            f"topk of {count} along an axis of size {x.shape[axis]}", "selected index k out of range"
        )
    order = apply(FirstInOrder(axis, count, largest), x)
    return take_along(x, order, axis), order


def kthvalue(x: Value, place: int, axis: int) -> tuple[Value, Value]:
    """The element that sorting would put at `place` (from 1)."""
    if not 1 <= place <= x.shape[axis]:
        raise ShapeError(
            f"kthvalue of {place} along an axis of size {x.shape[axis]}",
            mirrored(f"kthvalue(): selected number k out of range for dimension {axis}"),
        )
    return _chosen(x, apply(NthInOrder(axis, place - 1), x), axis)


def median(x: Value, axis: int, ignore_nan: bool = False) -> tuple[Value, Value]:
    """The middle element, the lower of two; the first NaN if there is one, unless NaN are ignored."""
    size = x.shape[axis]
    if size == 0:
        raise ShapeError(f"median along axis {axis} of size 0", "there is no element to choose from")
    return _chosen(x, apply(MiddleInOrder(axis, ignore_nan), x), axis)


def middle(x: Value, ignore_nan: bool) -> Value:
    return apply(Middle(ignore_nan), x)


def mode(x: Value, axis: int) -> tuple[Value, Value]:
    """The most frequent element, the least of several, and where it stands last."""
    size = x.shape[axis]
    if size == 0:
        raise ShapeError(f"mode along axis {axis} of size 0", "there is no element to choose from")
    values, order = sort(x, axis)
    place = iota_like(values, axis)
    before = take_along(values, rows.where(rows.eq(place, 0), 0, place - 1), axis)
    start = cummax(rows.where(rows.eq(values, before), 0, place), axis)
    end = argmax(place - start, axis)
    return _chosen(x, take_along(order, unsqueeze(end, [axis]), axis), axis)


def _chosen(x: Value, index: Value, axis: int) -> tuple[Value, Value]:
    """One element of each line along an axis, and its index, without that axis."""
    shape = [size for k, size in enumerate(x.shape) if k != axis]
    return reshape(take_along(x, index, axis), shape), reshape(index, shape)
