"""Movement ops: the same elements at other places. In compiled code they are index arithmetic and are free.

Each class says where an element of the output comes from (`source`); that one function is all that lowering
needs. A guard makes elements outside it a fill value (`Pad`). To add a movement op, add a class; `tests` find
it in `OPS`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import cached_property
from math import prod
from operator import itemgetter, methodcaller
from typing import Any

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.dtypes import DType
from retrograd.compiler.errors import DimensionError, ShapeError
from retrograd.compiler.ir.arrays import copied, in_order
from retrograd.compiler.ir.graph import Array, Op, Type, Value, apply, register
from retrograd.compiler.ir.index import Bound, Index, flatten, matched, unflatten
from retrograd.compiler.record import record


@record(slots=True)
class Source:
    """Where an output element comes from; where a bound fails the element is `fill` instead."""

    index: tuple[Index, ...]
    bounds: tuple[Bound, ...] = ()
    fill: float = 0.0


class Movement(Op):
    """One operand; each output element is one element of it, or a fill value."""

    @abstractmethod
    def source(self, index: tuple[Index, ...], operand: Type) -> Source:
        """The operand's multi-index for the output's."""

    @abstractmethod
    def move_back(self, cotangent: Value, operand: Value) -> Value:
        """The adjoint of a linear map that moves elements."""

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        return [self.move_back(cotangent, inputs[0])]


@register
@record
class Reshape(Movement):
    """The same elements in row-major order under another shape of the same size."""

    name = "reshape"
    shape: tuple[int, ...]

    def infer(self, *types: Type) -> Type:
        if prod(self.shape) != types[0].size:
            raise ShapeError(
                f"reshape of {types[0]} to {list(self.shape)}",
                f"shape '{list(self.shape)}' is invalid for input of size {types[0].size}",
            )
        return types[0].with_shape(self.shape)

    def evaluate(self, *arrays: Array) -> Array:
        return arrays[0].reshape(self.shape)

    def function(self, types: Sequence[Type]) -> Callable[..., Array] | None:
        return methodcaller("reshape", self.shape)

    def source(self, index: tuple[Index, ...], operand: Type) -> Source:
        """Axes that make the same ones are taken by themselves: so an index that leads beyond an end, where a
        condition says that nothing is read, stays simple."""
        found: list[Index] = []
        for mine, theirs in matched(self.shape, operand.shape):
            flat, shape = flatten(index[mine], self.shape[mine]), operand.shape[theirs]
            one = sum(size != 1 for size in shape) == 1
            found += [flat if size != 1 else Index() for size in shape] if one else unflatten(flat, shape)
        return Source(tuple(found))

    def move_back(self, cotangent: Value, operand: Value) -> Value:
        return reshape(cotangent, operand.shape)


@register
@record
class Permute(Movement):
    """Axis k of the output is axis `axes[k]` of the operand."""

    name = "permute"
    axes: tuple[int, ...]

    def infer(self, *types: Type) -> Type:
        if sorted(self.axes) != list(range(types[0].ndim)):
            raise DimensionError(f"permute of {types[0]} by {self.axes}", "it must name each axis once")
        return types[0].with_shape(types[0].shape[a] for a in self.axes)

    def evaluate(self, *arrays: Array) -> Array:
        return arrays[0].transpose(self.axes)

    def function(self, types: Sequence[Type]) -> Callable[..., Array] | None:
        return methodcaller("transpose", self.axes)

    def source(self, index: tuple[Index, ...], operand: Type) -> Source:
        place = dict(zip(self.axes, index, strict=True))
        return Source(tuple(place[k] for k in range(len(index))))

    def move_back(self, cotangent: Value, operand: Value) -> Value:
        return permute(cotangent, tuple(self.axes.index(k) for k in range(len(self.axes))))


@register
@record
class Expand(Movement):
    """Broadcast to a shape, as NumPy's broadcast_to: size-1 axes repeat, new axes come first."""

    name = "expand"
    shape: tuple[int, ...]

    def infer(self, *types: Type) -> Type:
        lead = len(self.shape) - types[0].ndim
        if lead < 0 or any(s not in (1, t) for s, t in zip(types[0].shape, self.shape[lead:], strict=True)):
            raise ShapeError(
                f"expand of {types[0]} to {list(self.shape)}", "only axes of size 1 and new leading ones grow"
            )
        return types[0].with_shape(self.shape)

    def evaluate(self, *arrays: Array) -> Array:
        (x,) = arrays
        if x.size != 1 or x.dtype.hasobject:
            return np.broadcast_to(x, self.shape)
        out: Array = np.ndarray(self.shape, x.dtype, x, 0, (0,) * len(self.shape))  # four times as fast
        out.flags.writeable = False
        return out

    def source(self, index: tuple[Index, ...], operand: Type) -> Source:
        kept = index[len(index) - operand.ndim :]
        return Source(tuple(Index() if size == 1 else i for i, size in zip(kept, operand.shape, strict=True)))

    def move_back(self, cotangent: Value, operand: Value) -> Value:
        return cotangent  # summed to the operand's shape by `cotangents`, as every broadcast is


@register
@record
class Slice(Movement):
    """`x[start:stop:step]` on every axis; starts and stops lie within the axis, steps are positive."""

    name = "slice"
    starts: tuple[int, ...]
    stops: tuple[int, ...]
    steps: tuple[int, ...]

    def infer(self, *types: Type) -> Type:
        shape = [len(range(*each)) for each in zip(self.starts, self.stops, self.steps, strict=True)]
        if len(shape) != types[0].ndim or any(e > s for e, s in zip(self.stops, types[0].shape, strict=True)):
            raise ShapeError(f"slice of {types[0]} to {self.stops}", "it reaches beyond the tensor")
        return types[0].with_shape(shape)

    def evaluate(self, *arrays: Array) -> Array:
        return arrays[0][self._range]

    def function(self, types: Sequence[Type]) -> Callable[..., Array] | None:
        return itemgetter(self._range)

    @cached_property
    def _range(self) -> tuple[slice, ...]:
        return tuple(slice(*each) for each in zip(self.starts, self.stops, self.steps, strict=True))

    def source(self, index: tuple[Index, ...], operand: Type) -> Source:
        return Source(
            tuple(i * step + start for i, step, start in zip(index, self.steps, self.starts, strict=True))
        )

    def move_back(self, cotangent: Value, operand: Value) -> Value:
        covered = [
            start + (size - 1) * step + 1 if size else start
            for start, step, size in zip(self.starts, self.steps, cotangent.shape, strict=True)
        ]
        high = tuple(size - end for size, end in zip(operand.shape, covered, strict=True))
        return pad(cotangent, self.starts, high, tuple(step - 1 for step in self.steps))


@register
@record
class Select(Movement):
    """`x[…, index, …]`: one place along an axis, which vanishes; the index lies within the axis."""

    name = "select"
    axis: int
    index: int

    def infer(self, *types: Type) -> Type:
        (x,) = types
        if not 0 <= self.axis < x.ndim or not 0 <= self.index < x.shape[self.axis]:
            raise DimensionError(
                f"select of {x} at {self.index} along axis {self.axis}", "there is no such place"
            )
        return x.with_shape((*x.shape[: self.axis], *x.shape[self.axis + 1 :]))

    def evaluate(self, *arrays: Array) -> Array:
        part: Array = arrays[0][self._place]
        return part

    def function(self, types: Sequence[Type]) -> Callable[..., Array] | None:
        return itemgetter(self._place)

    @cached_property
    def _place(self) -> tuple[Any, ...]:
        return (*(slice(None),) * self.axis, self.index, ...)

    def source(self, index: tuple[Index, ...], operand: Type) -> Source:
        return Source((*index[: self.axis], Index() + self.index, *index[self.axis :]))

    def move_back(self, cotangent: Value, operand: Value) -> Value:
        low, high = [0] * len(operand.shape), [0] * len(operand.shape)
        low[self.axis], high[self.axis] = self.index, operand.shape[self.axis] - self.index - 1
        return pad(unsqueeze(cotangent, [self.axis]), low, high, [0] * len(low))

    def as_slice(self, x: Value) -> Value:
        """The same as a reshaped slice."""
        return squeeze(narrow(x, self.axis, self.index, self.index + 1), [self.axis])


@register
@record
class Pad(Movement):
    """`fill` added before, after and between the elements of each axis (amounts >= 0), as XLA's Pad."""

    name = "pad"
    low: tuple[int, ...]
    high: tuple[int, ...]
    interior: tuple[int, ...]
    fill: float = 0.0

    def infer(self, *types: Type) -> Type:
        return types[0].with_shape(
            low + high + size + max(size - 1, 0) * gap
            for low, high, gap, size in zip(self.low, self.high, self.interior, types[0].shape, strict=True)
        )

    def evaluate(self, *arrays: Array) -> Array:
        out = np.full(
            self.infer(Type(arrays[0].shape, dtypes.of(arrays[0]))).shape, self.fill, arrays[0].dtype
        )
        ends = [n - high for n, high in zip(out.shape, self.high, strict=True)]
        out[
            tuple(
                slice(low, end, gap + 1) for low, end, gap in zip(self.low, ends, self.interior, strict=True)
            )
        ] = arrays[0]
        return out

    def source(self, index: tuple[Index, ...], operand: Type) -> Source:
        inner, bounds = [], []
        for i, low, high, gap, size in zip(
            index, self.low, self.high, self.interior, operand.shape, strict=True
        ):
            place = i - low
            if gap:
                bounds.append(Bound(place % (gap + 1), 0, 1))
                bounds.append(Bound(place, 0, max(size * (gap + 1) - gap, 0)))
                place //= gap + 1
            elif low or high:
                bounds.append(Bound(place, 0, size))
            inner.append(place)
        return Source(tuple(inner), tuple(bounds), self.fill)

    def move_back(self, cotangent: Value, operand: Value) -> Value:
        stops = tuple(n - high for n, high in zip(cotangent.shape, self.high, strict=True))
        return slice_(cotangent, self.low, stops, tuple(gap + 1 for gap in self.interior))


@register
@record
class Flip(Movement):
    """The elements in reverse order along some axes."""

    name = "flip"
    axes: tuple[int, ...]

    def infer(self, *types: Type) -> Type:
        return types[0]

    def evaluate(self, *arrays: Array) -> Array:
        return np.flip(arrays[0], self.axes)

    def source(self, index: tuple[Index, ...], operand: Type) -> Source:
        return Source(
            tuple(Index() - i + (operand.shape[k] - 1) if k in self.axes else i for k, i in enumerate(index))
        )

    def move_back(self, cotangent: Value, operand: Value) -> Value:
        return apply(self, cotangent)


@register
@record
class Concat(Op):
    """The operands one after the other along an axis."""

    name = "concat"
    axis: int

    def infer(self, *types: Type) -> Type:
        first = types[0]
        for t in types[1:]:
            fits = t.ndim == first.ndim and all(
                a == b for k, (a, b) in enumerate(zip(first.shape, t.shape, strict=True)) if k != self.axis
            )
            if not fits or t.dtype is not first.dtype:
                raise ShapeError(
                    f"concat of {first} and {t} along axis {self.axis}",
                    "Sizes of tensors must match except in the concatenated dimension",
                )
        total = sum(t.shape[self.axis] for t in types)
        return first.with_shape((*first.shape[: self.axis], total, *first.shape[self.axis + 1 :]))

    def evaluate(self, *arrays: Array) -> Array:
        return in_order(np.concatenate(arrays, self.axis))

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        parts: list[Value | None] = []
        start = 0
        for operand, need in zip(inputs, needed, strict=True):
            stop = start + operand.shape[self.axis]
            parts.append(narrow(cotangent, self.axis, start, stop) if need else None)
            start = stop
        return parts


@register
@record
class Cast(Op):
    """The same values in another dtype; floating to integer truncates towards zero, to bool asks `!= 0`. Of
    complex values a real dtype has the real parts."""

    name = "cast"
    dtype: DType

    @property
    def title(self) -> str:
        return "ToCopy"

    def infer(self, *types: Type) -> Type:
        return types[0].with_dtype(self.dtype)

    def evaluate(self, *arrays: Array) -> Array:
        (x,) = arrays
        if 0 in x.strides:
            x = copied(x)  # as astype() does not lay it out
        if x.dtype.kind == "c" and self.dtype.category in (1, 2):
            x = x.real
        if self.dtype is dtypes.uint8 and x.dtype == np.float64:
            x = x.astype(np.int64)  # as PyTorch: of numbers beyond 32 bits, too, the low ones are kept
        return x.astype(self.dtype.numpy)

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        operand = dtypes.of(inputs[0])
        return [cast(cotangent, operand) if operand.is_inexact and self.dtype.is_inexact else None]


# ---- as functions of values of any level -------------------------------------------------------------------


def reshape(x: Value, shape: Sequence[int]) -> Value:
    return x if tuple(x.shape) == tuple(shape) else apply(Reshape(tuple(shape)), x)


def permute(x: Value, axes: Sequence[int]) -> Value:
    return x if list(axes) == list(range(len(axes))) else apply(Permute(tuple(axes)), x)


def expand(x: Value, shape: Sequence[int]) -> Value:
    return x if tuple(x.shape) == tuple(shape) else apply(Expand(tuple(shape)), x)


def slice_(x: Value, starts: Sequence[int], stops: Sequence[int], steps: Sequence[int]) -> Value:
    return apply(Slice(tuple(starts), tuple(stops), tuple(steps)), x)


def select(x: Value, axis: int, index: int) -> Value:
    """`x[index]` along one axis."""
    return apply(Select(axis, index), x)


def narrow(x: Value, axis: int, start: int, stop: int) -> Value:
    """`x[start:stop]` along one axis."""
    starts = [start if k == axis else 0 for k in range(len(x.shape))]
    stops = [stop if k == axis else size for k, size in enumerate(x.shape)]
    return slice_(x, starts, stops, [1] * len(starts))


def pad(
    x: Value, low: Sequence[int], high: Sequence[int], interior: Sequence[int], fill: float = 0.0
) -> Value:
    if not any((*low, *high, *interior)):
        return x
    return apply(Pad(tuple(low), tuple(high), tuple(interior), fill), x)


def flip(x: Value, axes: Sequence[int]) -> Value:
    return apply(Flip(tuple(axes)), x)


def concat(values: Sequence[Value], axis: int) -> Value:
    return apply(Concat(axis), *values)


def cast(x: Value, dtype: DType) -> Value:
    return x if dtypes.of(x) is dtype else apply(Cast(dtype), x)


def unsqueeze(x: Value, axes: Sequence[int]) -> Value:
    """Axes of size 1 put in at these places of the output."""
    sizes = iter(x.shape)
    return reshape(x, [1 if k in axes else next(sizes) for k in range(len(x.shape) + len(axes))])


def squeeze(x: Value, axes: Sequence[int]) -> Value:
    """Axes of size 1 taken out."""
    return reshape(x, [size for k, size in enumerate(x.shape) if k not in axes])


def swap_axes(x: Value, first: int, second: int) -> Value:
    """Two axes exchanged."""
    axes = list(range(len(x.shape)))
    axes[first], axes[second] = second, first
    return permute(x, axes)


def roll(x: Value, shift: int, axis: int) -> Value:
    """The elements moved on by `shift` places along an axis; what leaves at the end comes in at the start."""
    size = x.shape[axis]
    cut = -shift % size if size else 0
    return concat([narrow(x, axis, cut, size), narrow(x, axis, 0, cut)], axis) if cut else x
