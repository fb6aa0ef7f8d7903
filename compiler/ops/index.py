"""Indexed reads and writes: where an element lies is read from a tensor of integers at run time.

    take       out[a, i, b] = x[a, indices[i], b]            put_add        its adjoint: writes there, adding
    take_along out[a, i, b] = x[a, indices[a, i, b], b]      put_along_add  its adjoint
    put        x, but with rows replaced

Here `i` may stand for several axes. Indices are int64 or int32; a negative one counts from the end, in eager
and in compiled code alike; one out of range is a DimensionError when it is evaluated. Indexing by several
tensors, and along other axes, is made of these by `linear_index`. To add an op, add a class; each pair above
is its own second derivative.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import prod

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.errors import DimensionError, DtypeError, ShapeError, mirrored
from retrograd.compiler.ir.graph import Array, Op, Type, Value, apply, register
from retrograd.compiler.ops.iota import iota_like
from retrograd.compiler.ops.rows import rows
from retrograd.compiler.ops.shape import slice_
from retrograd.compiler.record import record


def check_index(what: str, index: Type, axis: int, ndim: int) -> None:
    """Raise for an index that is not of integers, and for an axis that is not there."""
    if index.dtype not in (dtypes.int64, dtypes.int32):
        raise DtypeError(
            what, f"the index is {index.dtype}, but must be int64 or int32", "cast it with .long()"
        )
    if not 0 <= axis < ndim:
        raise DimensionError(what, f"there is no axis {axis}")


def _wrapped(what: str, index: Array, size: int, axis: int) -> Array:
    """The index with negatives counted from the end; DimensionError where one is out of range."""
    outside = (index < -size) | (index >= size)
    if outside.any():
        first = index[outside].flat[0]
        raise DimensionError(
            what, mirrored(f"index {first} is out of bounds for dimension {axis} with size {size}")
        )
    return np.where(index < 0, index + size, index)


def _added(shape: Sequence[int], positions: Array, values: Array) -> Array:
    """Zeros of a shape, with the values added at row-major positions."""
    out = np.zeros(prod(shape), values.dtype)
    np.add.at(out, positions.ravel(), values.ravel())
    return out.reshape(shape)


# ---- one index for a whole row -----------------------------------------------------------------------------


@register
@record
class Take(Op):
    """`take(x, indices)`: the shape of `indices` takes the place of one axis of `x`."""

    name = "take"
    axis: int

    @property
    def title(self) -> str:
        return "Index"

    def infer(self, *types: Type) -> Type:
        x, index = types
        check_index(f"take of {x} by {index} along axis {self.axis}", index, self.axis, x.ndim)
        return x.with_shape((*x.shape[: self.axis], *index.shape, *x.shape[self.axis + 1 :]))

    def evaluate(self, *arrays: Array) -> Array:
        x, index = arrays
        try:
            return np.asarray(x.take(index, self.axis))  # a negative index counts from the end there, too
        except IndexError:
            wrapped = _wrapped(
                "take", index, x.shape[self.axis], 0
            )  # PyTorch numbers the axes that are indexed
            return np.asarray(np.take(x, wrapped, self.axis))

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        x, index = inputs
        return [put_add(cotangent, index, self.axis, x.shape[self.axis]), None]


@register
@record
class PutAdd(Op):
    """`put_add(values, indices)`: zeros, each row of values added where its index says; rows may meet."""

    name = "put_add"
    axis: int
    size: int
    """How long the axis becomes, in place of the axes of the indices."""

    def infer(self, *types: Type) -> Type:
        values, index = types
        what = f"put_add of {values} by {index} along axis {self.axis} of size {self.size}"
        check_index(what, index, self.axis, values.ndim - index.ndim + 1)
        end = self.axis + index.ndim
        if values.shape[self.axis : end] != index.shape:
            raise ShapeError(
                what, f"the values must have the axes of the index, {list(index.shape)}, at axis {self.axis}"
            )
        return values.with_shape((*values.shape[: self.axis], self.size, *values.shape[end:]))

    def evaluate(self, *arrays: Array) -> Array:
        values, index = arrays
        shape = self.infer(*(Type(a.shape, dtypes.of(a)) for a in arrays)).shape
        before, after = prod(shape[: self.axis]), prod(shape[self.axis + 1 :])
        row = _wrapped("put_add", index, self.size, self.axis).reshape(1, -1, 1)
        start = np.arange(before).reshape(-1, 1, 1) * self.size
        return _added(shape, (start + row) * after + np.arange(after), values)

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        return [take(cotangent, inputs[1], self.axis), None]


@register
@record
class Put(Op):
    """`put(x, indices, values)`: `x`, but its rows along axis 0 at the indices are those of `values`.

    Where indices repeat, the last write stays; as in PyTorch, each has the gradient of its place. `values`
    broadcasts to the rows.
    """

    name = "put"

    def infer(self, *types: Type) -> Type:
        x, index, values = types
        what = f"put of {values} into {x} at {index}"
        check_index(what, index, 0, x.ndim)
        if values.dtype is not x.dtype:
            raise DtypeError(
                what, "Index put requires the source and destination dtypes match", "cast the values"
            )
        rows_shape = (*index.shape, *x.shape[1:])
        lead = len(rows_shape) - values.ndim
        if lead < 0 or any(v not in (1, s) for v, s in zip(values.shape, rows_shape[lead:], strict=True)):
            raise ShapeError(what, f"the values do not broadcast to the chosen rows, {list(rows_shape)}")
        return x

    def evaluate(self, *arrays: Array) -> Array:
        x, index, values = arrays
        out = x.copy()
        out[_wrapped("put", index, x.shape[0], 0)] = values
        return out

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        index = inputs[1]
        nothing = np.zeros((), dtypes.of(cotangent).numpy)
        of_x = put(cotangent, index, nothing) if needed[0] else None
        return [of_x, None, take(cotangent, index, 0) if needed[2] else None]


# ---- an index for every element ----------------------------------------------------------------------------


@lru_cache(maxsize=256)
def _grid(shape: tuple[int, ...], axis: int) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    """The places along the axes before this one and after it, each to be broadcast along the others."""
    ndim = len(shape)
    places = [np.arange(n).reshape(-1, *[1] * (ndim - k - 1)) for k, n in enumerate(shape)]
    return tuple(places[:axis]), tuple(places[axis + 1 :])


@register
@record
class TakeAlong(Op):
    """`take_along(x, indices)`: along an axis each element has its own index; the other axes agree."""

    name = "take_along"
    axis: int

    def infer(self, *types: Type) -> Type:
        x, index = types
        what = f"take_along of {x} by {index} along axis {self.axis}"
        check_index(what, index, self.axis, x.ndim)
        if _without(x.shape, self.axis) != _without(index.shape, self.axis):
            raise ShapeError(what, "the index must have the tensor's sizes on every other axis")
        return x.with_shape(index.shape)

    def evaluate(self, *arrays: Array) -> Array:
        x, index = arrays
        before, after = _grid(x.shape, self.axis)
        try:
            return np.asarray(x[(*before, index, *after)])
        except IndexError:
            _wrapped("take_along", index, x.shape[self.axis], self.axis)
            raise

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        x, index = inputs
        return [put_along_add(cotangent, index, self.axis, x.shape[self.axis]), None]


@register
@record
class PutAlongAdd(Op):
    """`put_along_add(values, indices)`: zeros, with each value added at its own index along the axis."""

    name = "put_along_add"
    axis: int
    size: int

    def infer(self, *types: Type) -> Type:
        values, index = types
        what = f"put_along_add of {values} by {index} along axis {self.axis} of size {self.size}"
        check_index(what, index, self.axis, values.ndim)
        if values.shape != index.shape:
            raise ShapeError(what, "values and index must have one shape")
        return values.with_shape((*values.shape[: self.axis], self.size, *values.shape[self.axis + 1 :]))

    def evaluate(self, *arrays: Array) -> Array:
        values, index = arrays
        before, along, after = _three(values.shape, self.axis)
        place = _wrapped("put_along_add", index, self.size, self.axis).reshape(before, along, after)
        start = np.arange(before).reshape(-1, 1, 1) * self.size
        shape = (*values.shape[: self.axis], self.size, *values.shape[self.axis + 1 :])
        return _added(shape, (start + place) * after + np.arange(after), values)

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        return [take_along(cotangent, inputs[1], self.axis), None]


def _without(shape: Sequence[int], axis: int) -> tuple[int, ...]:
    return (*shape[:axis], *shape[axis + 1 :])


def _three(shape: Sequence[int], axis: int) -> tuple[int, int, int]:
    """A shape as what is before an axis, the axis, and what is after it."""
    return prod(shape[:axis]), shape[axis], prod(shape[axis + 1 :])


# ---- as functions of values of any level -------------------------------------------------------------------


def take(x: Value, index: Value, axis: int) -> Value:
    """Rows by index, as `torch.index_select` and `embedding`; the index may have any shape."""
    return apply(Take(axis), x, index)


def put_add(values: Value, index: Value, axis: int, size: int) -> Value:
    return apply(PutAdd(axis, size), values, index)


def put(x: Value, index: Value, values: Value) -> Value:
    """Rows along axis 0 replaced; the last write stays."""
    return apply(Put(), x, index, values)


def take_along(x: Value, index: Value, axis: int) -> Value:
    """As `torch.gather`: the index may be shorter than `x` on the other axes."""
    stops = [size if k == axis else index.shape[k] for k, size in enumerate(x.shape)]
    if tuple(stops) != tuple(x.shape):
        x = slice_(x, [0] * len(stops), stops, [1] * len(stops))
    return apply(TakeAlong(axis), x, index)


def put_along_add(values: Value, index: Value, axis: int, size: int) -> Value:
    return apply(PutAlongAdd(axis, size), values, index)


def wrap(index: Value, size: int) -> Value:
    """An index with negatives counted from the end."""
    return rows.where(rows.lt(index, 0), index + size, index)


def linear_index(indices: Sequence[Value], sizes: Sequence[int]) -> Value:
    """One index into the axes of `sizes` made one axis (row-major), from an index for each; they broadcast.

    `x[i, j]` is `take(reshape(x, (prod(x.shape[:2]), …)), linear_index((i, j), x.shape[:2]), 0)`.
    """
    total = wrap(indices[0], sizes[0])
    for index, size in zip(indices[1:], sizes[1:], strict=True):
        total = total * size + wrap(index, size)
    return total


def along_index(index: Value, shape: Sequence[int], axis: int) -> Value:
    """The linear index, into a tensor of `shape`, of each element that `take_along(…, index, axis)` reads."""
    own = [index if k == axis else iota_like(index, k) for k in range(len(shape))]
    return linear_index(own, shape)
