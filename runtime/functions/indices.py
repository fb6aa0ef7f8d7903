"""What stands between the brackets of `x[…]`, read once.

    item ::= int | slice with a positive step | None | Ellipsis | bool | mask | integer tensor, array or list

`read_index(x, index)` gives a `Reading` with two parts: a *view* (ints, slices, None: one Slice and one
Reshape) and then the *picks*, integer tensors and masks for some axes of that view. A new kind of item is a
branch of `_as_item`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.errors import ArgumentError, DimensionError, mirrored, warn
from retrograd.compiler.ir.graph import Array
from retrograd.compiler.ops import shape as moves
from retrograd.compiler.record import NamedTuple
from retrograd.runtime.functions.public import known
from retrograd.runtime.tensor import Tensor, new


class Reading(NamedTuple):
    """An index, read."""

    starts: list[int]
    """Of the Slice, for each axis of the tensor; so, too, stops and steps."""
    stops: list[int]
    steps: list[int]
    shape: list[int]
    """Of the view: what is left of the axes, and the new ones."""
    picks: list[tuple[int, Tensor]]
    """Integer tensors and masks, with the (first) axis of the view that they are for."""
    chosen: list[int]
    """Axes of the tensor of which an int takes one place."""

    def takes_all(self, x: Tensor) -> bool:
        """Whether nothing but picks is asked for."""
        spans = zip(self.starts, self.stops, self.steps)
        return tuple(self.shape) == tuple(x.shape) and all(
            span == (0, size, 1) for span, size in zip(spans, x.shape)
        )

    def view(self, x: Tensor) -> Tensor:
        """The part without the picks, which shares memory with `x`: ranges are cut and places selected, and
        what is written last is done last.
        """
        if not x.ndim:
            return moves.reshape(x, self.shape)
        whole = [(0, size, 1) for size in x.shape]
        spans = list(zip(self.starts, self.stops, self.steps))
        for axis in self.chosen:
            spans[axis] = whole[axis]
        cut_axes = [axis for axis, span in enumerate(spans) if span != whole[axis]]
        cut_last = bool(self.chosen and cut_axes and cut_axes[-1] > self.chosen[-1])
        part = x
        moves_on = self.chosen or tuple(self.shape) != tuple(x.shape)
        if not cut_last and (cut_axes or not moves_on):
            part = moves.slice_(part, *zip(*spans))
        for axis in reversed(self.chosen):
            part = moves.select(part, axis, self.starts[axis])
        if cut_last:
            part = moves.slice_(part, *zip(*(span for k, span in enumerate(spans) if k not in self.chosen)))
        return moves.reshape(part, self.shape)


# ---- what stands between the brackets ----------------------------------------------------------------------


def _items(x: Tensor, index: Any) -> list[Any]:
    """The items, one or more for each axis: lists as tensors, masks as they are, the ellipsis spelt out."""
    if isinstance(index, list) and any(isinstance(i, _SEVERAL) or i is None or i is Ellipsis for i in index):
        index = tuple(index)  # a list of what can only be items stands for their tuple
    given = [_as_item(i) for i in (index if isinstance(index, tuple) else (index,))]
    used = sum(_axes_used(i) for i in given)
    if used > x.ndim:
        if not x.ndim and len(given) == 1 and not isinstance(given[0], Tensor):
            raise DimensionError("an index of a 0-d tensor", mirrored(_of_no_axis(given[0])))
        raise DimensionError(
            f"{used} indices into a tensor of shape {list(x.shape)}",
            mirrored(f"too many indices for tensor of dimension {x.ndim}"),
        )
    rest = [slice(None)] * (x.ndim - used)
    dots = [k for k, i in enumerate(given) if i is Ellipsis]
    if len(dots) > 1:
        raise DimensionError("an index with two ellipses", "an index can only have a single ellipsis ('...')")
    place = dots[0] if dots else len(given)
    return [*given[:place], *rest, *given[place + len(dots) :]]


def _of_no_axis(item: Any) -> str:
    """Why a 0-d tensor has no such part."""
    if isinstance(item, slice):
        return "slice() cannot be applied to a 0-dim tensor."
    return (
        "invalid index of a 0-dim tensor. Use `tensor.item()` in Python or `tensor.item<T>()` in C++ to "
        "convert a 0-dim tensor to a number"
    )


_SEVERAL = (slice, list, tuple, Tensor, np.ndarray)


def _as_item(item: Any) -> Any:
    """An item in one of the forms that the grammar above has; integer tensors of one element as ints."""
    if item is None or item is Ellipsis or isinstance(item, slice | bool | int):
        return item
    if isinstance(item, list | tuple | range | np.ndarray):
        item = tensor_of(item)
    elif isinstance(item, np.bool_):
        return bool(item)
    if not isinstance(item, Tensor):
        if hasattr(item, "__index__"):
            return item.__index__()
        if isinstance(item, str):
            raise ArgumentError(mirrored("new(): invalid data type 'str'"))
        raise DimensionError(
            f"an index of type {type(item).__name__}",
            mirrored(
                "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid "
                "indices "
                f"(got {type(item).__name__})"
            ),
        )
    if item.dtype.is_inexact or (item.ndim and item.dtype in (dtypes.int8, dtypes.int16)):
        raise DimensionError(
            f"an index of {item.dtype}",
            mirrored("tensors used as indices must be long, int, byte or bool tensors"),
        )
    if item.dtype is dtypes.uint8:
        warn("indexing with dtype torch.uint8 is now deprecated, please use a dtype torch.bool instead.")
        item = moves.cast(item, dtypes.bool_)
    single = not item.ndim and known(item) is not None
    if item.dtype is dtypes.bool_:
        return bool(item) if single else item
    if single:
        return int(item)
    return item if item.dtype in (dtypes.int64, dtypes.int32) else moves.cast(item, dtypes.int64)


def tensor_of(item: Any) -> Tensor:
    """The numbers or masks of a list, or of what is like one."""
    if isinstance(item, list | tuple) and any(isinstance(i, Tensor) for i in item):
        item = [int(i) if isinstance(i, Tensor) and not i.ndim else i for i in item]
    try:
        return new(_whole(np.asarray(item)))
    except (ValueError, TypeError) as error:
        if isinstance(error, ArgumentError):
            raise
        raise DimensionError(
            f"an index {item!r}",
            "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are "
            "valid indices",
        ) from None


def _whole(array: Array) -> Array:
    """A list's masks and integers as they are, other numbers cut to integers."""
    if array.dtype.kind == "U":
        raise ArgumentError(mirrored("new(): invalid data type 'str'"))
    if array.dtype.kind == "f" and not (abs(array) < _BEYOND).all():
        raise ArgumentError(mirrored("value cannot be converted to type int64 without overflow"))
    try:
        return array if array.size and array.dtype.kind in "bi" else array.astype(np.int64)
    except OverflowError:
        raise _beyond() from None


_BEYOND = 2**63


def _beyond() -> ArgumentError:
    return ArgumentError(mirrored("Overflow when unpacking long long"))


def _axes_used(item: Any) -> int:
    if item is None or item is Ellipsis or isinstance(item, bool):
        return 0
    return item.ndim if isinstance(item, Tensor) and item.dtype is dtypes.bool_ else 1


def read_index(x: Tensor, index: Any) -> Reading:
    """The two parts of an index into `x`; DimensionError where it does not fit."""
    reading = Reading([], [], [], [], [], [])
    for item in _items(x, index):
        axis = len(reading.starts)
        if item is None:
            reading.shape.append(1)
        elif isinstance(item, bool):
            reading.picks.append((len(reading.shape), new(np.zeros(int(item), np.int64))))
            reading.shape.append(1)
        elif isinstance(item, int):
            reading.chosen.append(axis)
            _enter(reading, (_place(item, x.shape, axis), 1), None)
        elif isinstance(item, slice):
            start, count, step = _range(item, x.shape[axis])
            _enter(reading, (start, count, step), count)
        else:
            _enter_pick(reading, item, x)
    return reading


def _enter(reading: Reading, span: tuple[int, ...], kept: int | None) -> None:
    """One axis of the Slice, from (start, count, step), and what is left of it."""
    start, count, step = (*span, 1)[:3]
    reading.starts.append(start)
    reading.stops.append(start + (count - 1) * step + 1 if count else start)
    reading.steps.append(step)
    if kept is not None:
        reading.shape.append(kept)


def _enter_pick(reading: Reading, item: Tensor, x: Tensor) -> None:
    axis, is_mask = len(reading.starts), item.dtype is dtypes.bool_
    sizes = x.shape[axis : axis + item.ndim] if is_mask else x.shape[axis : axis + 1]
    if is_mask and tuple(item.shape) != tuple(sizes):
        off = next(k for k, size in enumerate(item.shape) if size != sizes[k])
        raise DimensionError(
            f"a mask of shape {list(item.shape)} for a tensor of shape {list(x.shape)}",
            mirrored(
                f"The shape of the mask {list(item.shape)} at index {off} does not match the shape of the "
                "indexed tensor "
                f"{list(x.shape)} at index {axis + off}"
            ),
        )
    reading.picks.append((len(reading.shape), item))
    for size in sizes:
        _enter(reading, (0, size), size)
    if is_mask and not item.ndim:
        reading.shape.append(1)


def _place(index: int, shape: Sequence[int], axis: int) -> int:
    size = shape[axis]
    if not -_BEYOND <= index < _BEYOND:
        raise _beyond()
    if not -size <= index < size:
        raise DimensionError(
            f"index {index} into a tensor of shape {list(shape)}",
            mirrored(f"index {index} is out of bounds for dimension {axis} with size {size}"),
        )
    return index % size


def _range(item: slice, size: int) -> tuple[int, int, int]:
    """Start, count and step of a slice."""
    step = 1 if item.step is None else item.step.__index__()
    if step <= 0:
        raise ArgumentError(
            f"a slice with step {step}", mirrored("step must be greater than zero"), "use flip() to reverse"
        )
    start, stop, step = slice(item.start, item.stop, step).indices(size)
    return start, len(range(start, stop, step)), step
