"""Windows and diagonals: movement ops in which two indices meet in one, and their adjoints.

A sliding window reads an element several times, so its adjoint adds: the cotangents are laid back at their
places (`Unwindow`, a guarded movement) and summed. Convolution and pooling are windows and a contraction.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.errors import DimensionError, ShapeError
from retrograd.compiler.ir.graph import Array, Type, Value, apply, register
from retrograd.compiler.ir.index import Bound, Index
from retrograd.compiler.ops.reduce import any_, sum_
from retrograd.compiler.ops.shape import Movement, Source, cast
from retrograd.compiler.record import record

T = TypeVar("T")


@register
@record
class Diagonal(Movement):
    """The elements `x[…, i, …, i + offset, …]`; the two axes vanish and the diagonal is the last axis."""

    name = "diagonal"
    offset: int
    first: int
    second: int

    def infer(self, *types: Type) -> Type:
        (x,) = types
        if self.first == self.second or not (0 <= self.first < x.ndim and 0 <= self.second < x.ndim):
            raise DimensionError(
                f"diagonal of {x} over axes {self.first} and {self.second}",
                "they are not two axes of the tensor",
            )
        rows, columns = x.shape[self.first], x.shape[self.second]
        length = min(rows + min(self.offset, 0), columns - max(self.offset, 0))
        return x.with_shape((*_without(x.shape, self.first, self.second), max(length, 0)))

    def evaluate(self, *arrays: Array) -> Array:
        view = arrays[0].diagonal(self.offset, self.first, self.second)
        view.setflags(write=arrays[0].flags.writeable)  # NumPy's promise for this view
        return view

    def source(self, index: tuple[Index, ...], operand: Type) -> Source:
        place = {self.first: index[-1] - min(self.offset, 0), self.second: index[-1] + max(self.offset, 0)}
        others = iter(index[:-1])
        return Source(tuple(place[k] if k in place else next(others) for k in range(operand.ndim)))

    def move_back(self, cotangent: Value, operand: Value) -> Value:
        sizes = (operand.shape[self.first], operand.shape[self.second])
        return apply(Undiagonal(self.offset, self.first, self.second, sizes), cotangent)


@register
@record
class Undiagonal(Movement):
    """Zeros but for one diagonal: the last axis, laid over two new axes of these sizes."""

    name = "undiagonal"
    offset: int
    first: int
    second: int
    sizes: tuple[int, int]

    def infer(self, *types: Type) -> Type:
        (x,) = types
        shape = self._shape(x)
        if Diagonal(self.offset, self.first, self.second).infer(x.with_shape(shape)).shape != x.shape:
            raise ShapeError(
                f"undiagonal of {x} into sizes {list(self.sizes)}",
                "the diagonal there does not have the last axis's size",
            )
        return x.with_shape(shape)

    def _shape(self, operand: Type) -> tuple[int, ...]:
        place = {self.first: self.sizes[0], self.second: self.sizes[1]}
        others = iter(operand.shape[:-1])
        return tuple(place[k] if k in place else next(others) for k in range(operand.ndim + 1))

    def evaluate(self, *arrays: Array) -> Array:
        out = np.zeros(self._shape(Type(arrays[0].shape, dtypes.of(arrays[0]))), arrays[0].dtype)
        diagonal = out.diagonal(self.offset, self.first, self.second)
        diagonal.setflags(write=True)  # NumPy's promise for this view
        diagonal[...] = arrays[0]
        return out

    def source(self, index: tuple[Index, ...], operand: Type) -> Source:
        row, column = index[self.first], index[self.second]
        along = row + min(self.offset, 0)
        bounds = (Bound(column - row - self.offset, 0, 1), Bound(along, 0, operand.shape[-1]))
        return Source((*_without(index, self.first, self.second), along), bounds)

    def move_back(self, cotangent: Value, operand: Value) -> Value:
        return diagonal(cotangent, self.offset, self.first, self.second)


@register
@record
class Window(Movement):
    """`out[…, i, …, j] = x[…, i·step + j·dilation, …]`: sliding windows, whose axes come last."""

    name = "window"
    axes: tuple[int, ...]
    sizes: tuple[int, ...]
    steps: tuple[int, ...]
    dilations: tuple[int, ...]

    def infer(self, *types: Type) -> Type:
        (x,) = types
        what = (
            f"window of {x} along axes {self.axes}, sizes {self.sizes}, "
            f"steps {self.steps}, dilations {self.dilations}"
        )
        if len(set(self.axes)) != len(self.axes) or any(not 0 <= a < x.ndim for a in self.axes):
            raise DimensionError(what, "they are not distinct axes of the tensor")
        if min((*self.sizes, *self.steps, *self.dilations), default=1) < 1:
            raise ShapeError(what, "sizes, steps and dilations must be at least 1")
        shape = list(x.shape)
        for axis, size, step, dilation in zip(self.axes, self.sizes, self.steps, self.dilations, strict=True):
            span = dilation * (size - 1) + 1
            if span > shape[axis]:
                raise ShapeError(
                    what, f"a window of {span} elements is longer than axis {axis} of size {shape[axis]}"
                )
            shape[axis] = (shape[axis] - span) // step + 1
        return x.with_shape((*shape, *self.sizes))

    def evaluate(self, *arrays: Array) -> Array:
        (x,) = arrays
        strides = list(x.strides)
        inner = []
        for axis, step, dilation in zip(self.axes, self.steps, self.dilations, strict=True):
            inner.append(x.strides[axis] * dilation)
            strides[axis] *= step
        shape = self.infer(Type(x.shape, dtypes.of(x))).shape
        view = np.lib.stride_tricks.as_strided(x, shape, (*strides, *inner), writeable=x.flags.writeable)
        if self.overlaps:
            view.flags.writeable = False  # who opens it knows what he writes
        return view

    @property
    def overlaps(self) -> bool:
        """Whether an element may lie in several windows."""
        spans = (dilation * (size - 1) for size, dilation in zip(self.sizes, self.dilations, strict=True))
        return any(span >= step for span, step in zip(spans, self.steps, strict=True))

    def source(self, index: tuple[Index, ...], operand: Type) -> Source:
        place = list(index[: operand.ndim])
        inner = index[operand.ndim :]
        for axis, step, dilation, j in zip(self.axes, self.steps, self.dilations, inner, strict=True):
            place[axis] = place[axis] * step + j * dilation
        return Source(tuple(place))

    def move_back(self, cotangent: Value, operand: Value) -> Value:
        """A sum over the windows that an element lies in."""
        return unwindow(
            cotangent, self.axes, [operand.shape[a] for a in self.axes], self.steps, self.dilations
        )


@register
@record
class Unwindow(Movement):
    """Window elements at their places: `out[…, i·step + j·dilation, …, j] = x[…, i, …, j]`, zero elsewhere.

    The window axes stay, so that no two elements meet; summed over them this is the adjoint of `Window`.
    """

    name = "unwindow"
    axes: tuple[int, ...]
    lengths: tuple[int, ...]
    """The sizes of the axes outside the window."""
    steps: tuple[int, ...]
    dilations: tuple[int, ...]

    def infer(self, *types: Type) -> Type:
        (x,) = types
        shape = list(x.shape)
        for axis, length in zip(self.axes, self.lengths, strict=True):
            shape[axis] = length
        return x.with_shape(shape)

    def evaluate(self, *arrays: Array) -> Array:
        (x,) = arrays
        out = np.zeros(self.infer(Type(x.shape, dtypes.of(x))).shape, x.dtype)
        ndim = x.ndim - len(self.axes)
        for inner in np.ndindex(x.shape[ndim:]):
            at = [slice(None)] * ndim
            for axis, step, dilation, j in zip(self.axes, self.steps, self.dilations, inner, strict=True):
                start = j * dilation
                at[axis] = slice(start, start + (x.shape[axis] - 1) * step + 1, step)
            out[(*at, *inner)] = x[(..., *inner)]
        return out

    def source(self, index: tuple[Index, ...], operand: Type) -> Source:
        place = list(index)
        bounds = []
        inner = index[len(index) - len(self.axes) :]
        for axis, step, dilation, j in zip(self.axes, self.steps, self.dilations, inner, strict=True):
            first = index[axis] - j * dilation
            bounds.append(Bound(first, 0, (operand.shape[axis] - 1) * step + 1))
            if step > 1:
                bounds.append(Bound(first % step, 0, 1))
            place[axis] = first // step
        return Source(tuple(place), tuple(bounds))

    def move_back(self, cotangent: Value, operand: Value) -> Value:
        """Windows of the cotangent, of which the own element is kept: views, all of them."""
        ndim = len(operand.shape) - len(self.axes)
        sizes = operand.shape[ndim:]
        kept = window(cotangent, self.axes, sizes, self.steps, self.dilations)
        for left in range(len(self.axes), 0, -1):
            kept = diagonal(kept, 0, ndim, ndim + left)
        return kept


# ---- as functions of values of any level -------------------------------------------------------------------


def _without(items: Sequence[T], first: int, second: int) -> tuple[T, ...]:
    return tuple(item for k, item in enumerate(items) if k not in (first, second))


def diagonal(x: Value, offset: int, first: int, second: int) -> Value:
    """As `torch.diagonal`: the diagonal becomes the last axis."""
    return apply(Diagonal(offset, first, second), x)


def window(
    x: Value, axes: Sequence[int], sizes: Sequence[int], steps: Sequence[int], dilations: Sequence[int]
) -> Value:
    """Sliding windows along axes; as `Tensor.unfold` for one axis."""
    return apply(Window(tuple(axes), tuple(sizes), tuple(steps), tuple(dilations)), x)


def unwindow(
    x: Value, axes: Sequence[int], lengths: Sequence[int], steps: Sequence[int], dilations: Sequence[int]
) -> Value:
    """Windows, whose axes come last, laid back at their places along axes of these lengths, and summed where
    they meet: the adjoint of `window`.
    """
    spread = apply(Unwindow(tuple(axes), tuple(lengths), tuple(steps), tuple(dilations)), x)
    ndim, dtype = len(x.shape), dtypes.of(x)
    inner = range(ndim - len(axes), ndim)
    return any_(spread, inner) if dtype is dtypes.bool_ else cast(sum_(spread, inner), dtype)
