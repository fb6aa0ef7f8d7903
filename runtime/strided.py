"""Arrays that lie in a device's memory, and views of them: shapes and strides, no element is touched.

In flow a layout and a movement op, out flows the layout of the view, as NumPy would make it, or None where
there is none without a copy. `DeviceArray` is what a Tensor holds whose elements are not the CPU's; what
needs the device (copies to the host, above all) is left to the class of the device's kind.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from math import prod
from typing import Any, Protocol

import numpy as np

from retrograd.compiler.dtypes import DType, uint8
from retrograd.compiler.errors import ArgumentError
from retrograd.compiler.ir.graph import Array, Op, Operators, Type
from retrograd.compiler.ops.complexes import AsComplex, AsReal
from retrograd.compiler.ops.shape import Expand, Flip, Permute, Reshape, Select, Slice
from retrograd.compiler.ops.strided import Strided
from retrograd.compiler.ops.window import Diagonal, Window
from retrograd.compiler.record import NamedTuple
from retrograd.runtime.device import device
from retrograd.runtime.native.ports import Link

Strides = tuple[int, ...]


class Memory(Protocol):
    """Where elements lie, shared by all views of them."""

    pointer: int


class Layout(NamedTuple):
    """How the elements of a view lie in memory, in elements."""

    shape: tuple[int, ...]
    strides: Strides
    offset: int = 0

    @staticmethod
    @lru_cache(maxsize=4096)
    def of(shape: tuple[int, ...]) -> Layout:
        """In order, one after the other. Of one shape it is one object, which native code may compare."""
        return Layout(shape, in_order(shape, 1))

    @property
    def contiguous(self) -> bool:
        """Whether each element follows the one before."""
        if 0 in self.shape:
            return True
        ordered = in_order(self.shape, 1)
        return all(
            size == 1 or own == step
            for size, own, step in zip(self.shape, self.strides, ordered, strict=True)
        )

    @property
    def span(self) -> tuple[int, int]:
        """The first and the last place that is touched; the last is before the first if none is."""
        if 0 in self.shape:
            return self.offset, self.offset - 1
        steps = [step * (size - 1) for size, step in zip(self.shape, self.strides, strict=True)]
        return self.offset + sum(min(s, 0) for s in steps), self.offset + sum(max(s, 0) for s in steps)

    @property
    def repeats(self) -> bool:
        """Whether several elements are one in memory."""
        return any(size > 1 and step == 0 for size, step in zip(self.shape, self.strides, strict=True))

    def moved(self, op: Op) -> Layout | None:
        """The view that a movement op is of this one."""
        strides = moved_strides(op, self.shape, self.strides)
        if strides is None:
            return None
        shape = op.infer(Type(self.shape, _ANY)).shape
        found = Layout(shape, strides, self.offset + sum(_skipped(op, self.shape, self.strides)))
        ordered = Layout.of(shape)
        return ordered if found == ordered else found


_ANY = uint8
"""The dtype of a layout's elements: movement does not ask."""


class DeviceArray(Operators):
    """A strided array in the memory of a device that is not the CPU."""

    __slots__ = ("memory", "layout", "dtype", "__weakref__")

    def __init__(self, memory: Any, layout: Layout, dtype: DType) -> None:
        self.memory: Any = memory
        self.layout = layout
        self.dtype = dtype

    @property
    def shape(self) -> tuple[int, ...]:
        return self.layout.shape

    @property
    def strides(self) -> Strides:
        """In elements."""
        return self.layout.strides

    @property
    def type(self) -> Type:
        return Type(self.layout.shape, self.dtype)

    @property
    def ndim(self) -> int:
        return len(self.layout.shape)

    @property
    def size(self) -> int:
        return prod(self.layout.shape)

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    @property
    def pointer(self) -> int:
        """The address of the first element."""
        address: int = self.memory.pointer + self.layout.offset * self.dtype.itemsize
        return address

    @property
    def bounds(self) -> tuple[int, int]:
        """The address of its first byte, and that of the byte after its last."""
        low, high = self.layout.span
        start, item = self.memory.pointer, self.dtype.itemsize
        return start + low * item, start + (high + 1) * item

    @property
    @abstractmethod
    def device(self) -> device:
        """Where it lies."""

    @abstractmethod
    def host(self) -> Array:
        """The elements on the CPU, when they are there."""

    @abstractmethod
    def copy(self) -> DeviceArray:
        """The same elements in memory of their own, in order."""

    @abstractmethod
    def links(self) -> tuple[Link, ...] | None:
        """How native code gets from such an array to its address; None where only Python can."""

    @abstractmethod
    def assign(self, value: Any) -> None:
        """Take over the elements of an array of the same dtype and shape, of this or another device."""

    @abstractmethod
    def beside(self, array: Array) -> DeviceArray:
        """A copy of an array of the CPU, on this device."""

    def __array__(self, dtype: object = None, copy: object = None) -> Array:
        raise ArgumentError(
            f"NumPy is asked to work on elements on {self.device}", "they are not its to see", "use .cpu()"
        )

    def __repr__(self) -> str:
        return f"<{self.type} on {self.device}>"


def share_memory(a: object, b: object) -> bool:
    """Whether what is written to one of two arrays might be seen in the other."""
    if isinstance(a, DeviceArray) and isinstance(b, DeviceArray):
        (low, high), (first, last) = a.layout.span, b.layout.span
        return a.memory is b.memory and low <= last and first <= high
    both = isinstance(a, np.ndarray) and isinstance(b, np.ndarray)
    return both and np.may_share_memory(a, b)


# ---- strides -----------------------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def in_order(shape: tuple[int, ...], step: int) -> Strides:
    """The strides of elements that lie one after the other, `step` apart."""
    strides = []
    for size in reversed(shape):
        strides.append(step)
        step *= max(size, 1)
    return tuple(reversed(strides))


def zeros(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """An array of zeros, of any size, in the memory of one; nobody can write to it."""
    return np.ndarray(shape, dtype, _ZERO, strides=(0,) * len(shape))


_ZERO = bytes(16)


def steps_of(array: np.ndarray[Any, Any]) -> Strides:
    """The strides of an array in elements; NumPy says 0 of a new one that has none, here it lies in order."""
    if not array.size and not any(array.strides):
        return in_order(array.shape, 1)
    return tuple([step // array.itemsize for step in array.strides])


def pointwise_strides(shape: Sequence[int], operands: Sequence[tuple[Sequence[int], Strides]]) -> Strides:
    """The strides that a new array of this shape gets whose elements are computed one by one from those of
    arrays with these shapes and strides: axes go from far to near as in the first operand that tells them
    apart (`TensorIterator::reorder_dimensions` of PyTorch)."""
    ndim = len(shape)
    steps = [_spread(own, strides, shape) for own, strides in operands]
    inwards = list(reversed(range(ndim)))

    def nearer(one: int, other: int) -> int:
        """Whether axis `one` must come after `other` (1), before it (-1), or nobody says (0)."""
        for strides in steps:
            if not strides[one] or not strides[other]:
                continue
            if strides[one] != strides[other]:
                return 1 if strides[one] > strides[other] else -1
            if shape[one] > shape[other]:
                return 1
        return 0

    for k in range(1, ndim):
        here = k
        for before in reversed(range(k)):
            order = nearer(inwards[before], inwards[here])
            if order < 0:
                break
            if order > 0:
                inwards[before], inwards[here] = inwards[here], inwards[before]
                here = before
    found, step = [0] * ndim, 1
    for axis in inwards:
        found[axis] = step
        step *= max(shape[axis], 1)
    return tuple(found)


def following(compute: Callable[..., Any]) -> Callable[..., Any]:
    """A function of arrays that works element by element, whose result lies as its operands do."""

    def followed(*arrays: Any) -> Any:
        result = compute(*arrays)
        given = [x for x in arrays if isinstance(x, np.ndarray) and x.ndim]
        if all(x.flags.c_contiguous or _descends(x.strides) for x in given):
            return result
        axes = [(x.shape, steps_of(x)) for x in given]
        strides = pointwise_strides(result.shape, axes)
        outwards = sorted(range(result.ndim), key=lambda axis: -strides[axis])
        laid = np.empty([result.shape[axis] for axis in outwards], result.dtype)
        laid = laid.transpose(np.argsort(outwards))
        laid[...] = result
        return laid

    return followed


def _descends(strides: Sequence[int]) -> bool:
    """Whether axes go from far to near, but for those along which an array is broadcast."""
    last = math.inf
    for stride in strides:
        if stride:
            if abs(stride) >= last:
                return False
            last = abs(stride)
    return True


def differ_in_order(a: Any, b: Any) -> bool:
    """Whether the first of two arrays of one shape lies in an order of its own: NumPy's results lie in order
    then."""
    return a.shape == b.shape and a.ndim > 1 and a.strides != b.strides and not a.flags.c_contiguous


def _spread(own: Sequence[int], strides: Strides, shape: Sequence[int]) -> Strides:
    """The strides of an array that is broadcast to a shape: 0 along axes that are not its own."""
    lead = len(shape) - len(own)
    return (*(0,) * lead, *(abs(s) if n == m else 0 for s, n, m in zip(strides, own, shape[lead:])))


@lru_cache(maxsize=4096)
def moved_strides(op: Op, shape: tuple[int, ...], strides: Strides) -> Strides | None:
    """The strides of a movement of an array with these; None where it cannot be without a copy."""
    match op:
        case Reshape():
            return reshaped_strides(shape, strides, op.shape)
        case Permute():
            return tuple(strides[axis] for axis in op.axes)
        case Slice():
            return tuple(stride * step for stride, step in zip(strides, op.steps))
        case Select():
            return (*strides[: op.axis], *strides[op.axis + 1 :])
        case Strided():
            step = _step(shape, strides)
            return None if step is None else tuple(stride * step for stride in op.strides)
        case Diagonal():
            kept = [stride for k, stride in enumerate(strides) if k not in (op.first, op.second)]
            return (*kept, strides[op.first] + strides[op.second])
        case Window():
            along = dict(zip(op.axes, op.steps))
            inner = (strides[axis] * apart for axis, apart in zip(op.axes, op.dilations))
            return (*(stride * along.get(k, 1) for k, stride in enumerate(strides)), *inner)
        case Flip():
            return tuple(-stride if k in op.axes else stride for k, stride in enumerate(strides))
        case AsReal():
            return (*(2 * stride for stride in strides), 1)
        case AsComplex():
            return tuple(stride // 2 for stride in strides[:-1])
        case Expand():
            lead = len(op.shape) - len(shape)
            spread = (s if size == new else 0 for s, size, new in zip(strides, shape, op.shape[lead:]))
            return (*(0,) * lead, *spread)
    return None


def _skipped(op: Op, shape: Sequence[int], strides: Strides) -> Iterator[int]:
    """How far the first element moves, axis by axis."""
    match op:
        case Slice():
            yield from (start * stride for start, stride in zip(op.starts, strides, strict=True))
        case Select():
            yield op.index * strides[op.axis]
        case Strided():
            yield op.offset * (_step(shape, strides) or 0)
        case Diagonal():
            yield max(op.offset, 0) * strides[op.second] + max(-op.offset, 0) * strides[op.first]
        case Flip():
            yield from (strides[k] * max(shape[k] - 1, 0) for k in op.axes)


def _step(shape: Sequence[int], strides: Strides) -> int | None:
    """How far apart elements lie that are reached one after the other, in order; None where that varies."""
    if prod(shape) < 2:
        return 1
    steps = reshaped_strides(shape, strides, (prod(shape),))
    return None if steps is None else steps[0]


def reshaped_strides(shape: Sequence[int], strides: Strides, new: Sequence[int]) -> Strides | None:
    """Of the same memory in another shape; None where there are none. Axes of both shapes are grouped until
    their sizes multiply to the same; a group must lie in order."""
    old = [(size, stride) for size, stride in zip(shape, strides) if size != 1]
    if 0 in new:
        return in_order(tuple(new), 1)
    result = [0] * len(new)
    first_old, first_new = 0, 0
    while first_new < len(new) and first_old < len(old):
        ours, theirs = new[first_new], old[first_old][0]
        end_old, end_new = first_old + 1, first_new + 1
        while ours != theirs:
            if ours < theirs:
                ours *= new[end_new]
                end_new += 1
            else:
                theirs *= old[end_old][0]
                end_old += 1
        group = old[first_old:end_old]
        if any(a[1] != b[0] * b[1] for a, b in pairwise(group)):
            return None
        result[first_new:end_new] = in_order(tuple(new[first_new:end_new]), group[-1][1])
        first_old, first_new = end_old, end_new
    return tuple(result)
