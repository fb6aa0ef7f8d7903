"""Memory seen by strides, and strided elements put back into it: how a view that does not lie in order is
read and written. The memory is what an operand of any shape fills in order.

    strided      out[i, j] = x.flat[offset + i·strides[0] + j·strides[1]]
    unstrided    zeros, but out[offset + i·strides[0] + j·strides[1]] = x[i, j]

No two elements of the view may be one element of the memory; then each op is the other's adjoint. Where they
may be, the op is `restrided`, and its adjoint `restrided_sum`.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from retrograd.compiler.errors import ShapeError
from retrograd.compiler.ir.graph import Array, Op, Type, Value, apply, register
from retrograd.compiler.ir.index import Bound, Index, unflatten
from retrograd.compiler.ops.composite import Composite
from retrograd.compiler.ops.index import put_add
from retrograd.compiler.ops.iota import iota_like
from retrograd.compiler.ops.shape import Movement, Source, reshape
from retrograd.compiler.record import record


def meeting(shape: Sequence[int], strides: Sequence[int]) -> bool:
    """Whether elements with such strides may be one: some axis steps no farther than inner ones reach."""
    axes = sorted((abs(stride), size) for size, stride in zip(shape, strides, strict=True) if size > 1)
    span = 0
    for stride, size in axes:
        if stride <= span:
            return True
        span += stride * (size - 1)
    return False


@record
class _Layout(Op):
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    """In elements; may be negative."""
    offset: int
    """Where element 0, 0, … lies."""

    def _by_stride(self) -> list[int]:
        """The axes with more than one element, the longest strides first."""
        axes = [k for k, size in enumerate(self.shape) if size > 1]
        return sorted(axes, key=lambda k: -abs(self.strides[k]))

    @property
    def meets(self) -> bool:
        """Whether elements of the view may be one element of the memory."""
        return meeting(self.shape, self.strides)

    def _check(self, what: str, length: int) -> None:
        """Raise where elements lie outside, or there are none."""
        if 0 in self.shape:
            raise ShapeError(what, "a view without elements has no place")
        steps = [stride * (size - 1) for size, stride in zip(self.shape, self.strides, strict=True)]
        low, high = (self.offset + sum(side(step, 0) for step in steps) for side in (min, max))
        if low < 0 or high >= length:
            raise ShapeError(what, "it reaches beyond the memory")

    def _check_apart(self, what: str) -> None:
        """Raise where elements meet."""
        if self.meets:
            raise ShapeError(what, "several elements of the view are one element of the memory")

    def _view(self, flat: Array) -> Array:
        """In the memory of an array in order."""
        steps = tuple(stride * flat.itemsize for stride in self.strides)
        memory = flat.reshape(-1).view(np.uint8)
        return np.ndarray(self.shape, flat.dtype, memory, self.offset * flat.itemsize, steps)


@register
@record
class Strided(_Layout, Movement):
    """The elements of memory at these places."""

    name = "strided"

    def infer(self, *types: Type) -> Type:
        what = f"strides {list(self.strides)} from {self.offset} for {list(self.shape)} in {types[0]}"
        self._check(what, types[0].size)
        self._check_places(what)
        return types[0].with_shape(self.shape)

    def _check_places(self, what: str) -> None:
        self._check_apart(what)

    def evaluate(self, *arrays: Array) -> Array:
        return self._view(np.ascontiguousarray(arrays[0]))

    def source(self, index: tuple[Index, ...], operand: Type) -> Source:
        steps = (i * stride for i, stride in zip(index, self.strides, strict=True))
        return Source(unflatten(sum(steps, Index()) + self.offset, operand.shape))

    def move_back(self, cotangent: Value, operand: Value) -> Value:
        return reshape(self._put_back(cotangent, prod(operand.shape)), operand.shape)

    def _put_back(self, cotangent: Value, size: int) -> Value:
        """Into flat memory of this size."""
        return apply(Unstrided(self.shape, self.strides, self.offset, size), cotangent)


@register
@record
class Restrided(Strided):
    """The same, where several elements may be one element of the memory."""

    name = "restrided"

    def _check_places(self, what: str) -> None:
        """They may lie anywhere inside."""

    def _put_back(self, cotangent: Value, size: int) -> Value:
        return apply(RestridedSum(self.shape, self.strides, self.offset, size), cotangent)


def layout(shape: tuple[int, ...], strides: tuple[int, ...], offset: int) -> Strided:
    """The op that sees memory so."""
    apart = Strided(shape, strides, offset)
    return Restrided(shape, strides, offset) if apart.meets else apart


@register
@record
class RestridedSum(_Layout, Composite):
    """Elements added up at their places in flat memory of this size, where they may meet."""

    name = "restrided_sum"
    size: int

    def formula(self, *values: Value) -> Value:
        (x,) = values
        places = iota_like(x, 0) * self.strides[0] + self.offset
        for axis, stride in enumerate(self.strides[1:], 1):
            places = places + iota_like(x, axis) * stride
        return put_add(x, places, 0, self.size)

    def compute(self, *arrays: Array) -> Array:
        """As many elements at a time as lie apart."""
        (x,) = arrays
        out = np.zeros(self.size, x.dtype)
        to, apart = self._view(out), self._apart()
        for at in np.ndindex(tuple(1 if k in apart else n for k, n in enumerate(self.shape))):
            places = tuple(slice(None) if k in apart else place for k, place in enumerate(at))
            to[places] += x[places]
        return out

    def _apart(self) -> set[int]:
        """Axes along which no elements meet, the longest first."""
        found: set[int] = set()
        for axis in sorted(range(len(self.shape)), key=lambda k: -self.shape[k]):
            kept = [*found, axis]
            shape, strides = ([sizes[k] for k in kept] for sizes in (self.shape, self.strides))
            if not Strided(tuple(shape), tuple(strides), 0).meets:
                found.add(axis)
        return found

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        return [apply(layout(self.shape, self.strides, self.offset), cotangent)]


@register
@record
class Unstrided(_Layout, Movement):
    """Zeros in flat memory of this size, but for the elements at these places."""

    name = "unstrided"
    size: int

    def infer(self, *types: Type) -> Type:
        what = f"{types[0]} at strides {list(self.strides)} from {self.offset} in memory of {self.size}"
        if types[0].shape != self.shape:
            raise ShapeError(what, f"the layout is of shape {list(self.shape)}")
        self._check(what, self.size)
        self._check_apart(what)
        return types[0].with_shape((self.size,))

    def evaluate(self, *arrays: Array) -> Array:
        out = np.zeros(self.size, arrays[0].dtype)
        self._view(out)[...] = arrays[0]
        return out

    def source(self, index: tuple[Index, ...], operand: Type) -> Source:
        """Divided by the longest stride first, what is left is the place within one step of it."""
        place = index[0] - self.offset
        for k in self._by_stride():
            place = place + (0 if self.strides[k] > 0 else -self.strides[k] * (self.shape[k] - 1))
        inner, bounds = [Index()] * len(self.shape), []
        for k in self._by_stride():
            step = abs(self.strides[k])
            along, place = place // step, place % step
            bounds.append(Bound(along, 0, self.shape[k]))
            inner[k] = along if self.strides[k] > 0 else Index() - along + (self.shape[k] - 1)
        bounds.append(Bound(place, 0, 1))
        return Source(tuple(inner), tuple(bounds))

    def move_back(self, cotangent: Value, operand: Value) -> Value:
        return apply(Strided(self.shape, self.strides, self.offset), cotangent)
