"""`x[…]` and `x[…] = …`, with everything that PyTorch takes between the brackets.

    item ::= int | slice with a positive step | None | Ellipsis | bool | mask | integer tensor, array or list

An index is read once (`_read`) into its two parts: a *view* (ints, slices, None: one Slice and one Reshape)
and then the *picks*, integer tensors for some axes of that view, which broadcast together. Masks and bools
become picks. Reading is the view and one `take`; writing is `assign` to the view, of the view with the picked
rows replaced (`put`), so that history, bases and traces are looked after by `inplace`. Where the picks stand
side by side their axes take their place, else they come first.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.errors import ArgumentError, DimensionError, ShapeError
from retrograd.compiler.ops import index as places
from retrograd.compiler.ops import shape as moves
from retrograd.compiler.ops.elementwise import broadcast_shapes
from retrograd.compiler.ops.rows import rows
from retrograd.runtime.functions.gathering import like
from retrograd.runtime.functions.public import known, public
from retrograd.runtime.functions.selecting import masked_scatter
from retrograd.runtime.inplace import assign, changed, check_writable
from retrograd.runtime.modes import STATE
from retrograd.runtime.tensor import Tensor, new


class _Reading(NamedTuple):
    """An index, read."""

    starts: list[int]
    """Of the Slice, for each axis of the tensor; so, too, stops and steps."""
    stops: list[int]
    steps: list[int]
    shape: list[int]
    """Of the view: what is left of the axes, and the new ones."""
    picks: list[tuple[int, Tensor]]
    """Integer tensors and masks, with the (first) axis of the view that they are for."""

    def view(self, x: Tensor) -> Tensor:
        """The part without the picks, which shares memory with `x`."""
        part = moves.slice_(x, self.starts, self.stops, self.steps) if x.ndim else x
        return moves.reshape(part, self.shape)


# ---- what stands between the brackets ----------------------------------------------------------------------


def _items(x: Tensor, index: Any) -> list[Any]:
    """The items, one or more for each axis: lists as tensors, masks as they are, the ellipsis spelt out."""
    if isinstance(index, list) and any(isinstance(i, _SEVERAL) or i is None or i is Ellipsis for i in index):
        index = tuple(index)  # a list of what can only be items stands for their tuple
    given = [_as_item(i) for i in (index if isinstance(index, tuple) else (index,))]
    used = sum(_axes_used(i) for i in given)
    if used > x.ndim:
        if not x.ndim:
            raise DimensionError(
                "an index of a 0-d tensor",
                "invalid index of a 0-dim tensor. Use `tensor.item()` in Python or `tensor.item<T>()` in C++ "
                "to convert "
                "a 0-dim tensor to a number",
            )
        raise DimensionError(
            f"{used} indices into a tensor of shape {list(x.shape)}",
            f"too many indices for tensor of dimension {x.ndim}",
        )
    rest = [slice(None)] * (x.ndim - used)
    dots = [k for k, i in enumerate(given) if i is Ellipsis]
    if len(dots) > 1:
        raise DimensionError("an index with two ellipses", "an index can only have a single ellipsis ('...')")
    place = dots[0] if dots else len(given)
    return [*given[:place], *rest, *given[place + len(dots) :]]


_SEVERAL = (slice, list, tuple, Tensor, np.ndarray)


def _as_item(item: Any) -> Any:
    """An item in one of the forms that the grammar above has; integer tensors of one element as ints."""
    if item is None or item is Ellipsis or isinstance(item, slice | bool | int):
        return item
    if isinstance(item, list | tuple | range | np.ndarray):
        item = _tensor_of(item)
    elif isinstance(item, np.bool_):
        return bool(item)
    if not isinstance(item, Tensor):
        if hasattr(item, "__index__"):
            return item.__index__()
        raise DimensionError(
            f"an index of type {type(item).__name__}",
            "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid "
            "indices "
            f"(got {type(item).__name__})",
        )
    if item.dtype.is_floating_point:
        raise DimensionError(
            f"an index of {item.dtype}", "tensors used as indices must be long, int, byte or bool tensors"
        )
    if item.dtype is dtypes.uint8:
        item = moves.cast(item, dtypes.bool_)
    single = not item.ndim and known(item) is not None
    if item.dtype is dtypes.bool_:
        return bool(item) if single else item
    if single:
        return int(item)
    return item if item.dtype in (dtypes.int64, dtypes.int32) else moves.cast(item, dtypes.int64)


def _tensor_of(item: Any) -> Tensor:
    if isinstance(item, list | tuple) and any(isinstance(i, Tensor) for i in item):
        item = [int(i) if isinstance(i, Tensor) and not i.ndim else i for i in item]
    try:
        array = np.asarray(item)
        return new(array if array.size and array.dtype.kind in "biuf" else array.astype(np.int64))
    except (ValueError, TypeError):
        raise DimensionError(
            f"an index {item!r}",
            "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are "
            "valid indices",
        ) from None


def _axes_used(item: Any) -> int:
    if item is None or item is Ellipsis or isinstance(item, bool):
        return 0
    return item.ndim if isinstance(item, Tensor) and item.dtype is dtypes.bool_ else 1


def _read(x: Tensor, index: Any) -> _Reading:
    """The two parts of an index into `x`; DimensionError where it does not fit."""
    reading = _Reading([], [], [], [], [])
    for item in _items(x, index):
        axis = len(reading.starts)
        if item is None:
            reading.shape.append(1)
        elif isinstance(item, bool):
            reading.picks.append((len(reading.shape), new(np.zeros(int(item), np.int64))))
            reading.shape.append(1)
        elif isinstance(item, int):
            _enter(reading, (_place(item, x.shape, axis), 1), None)
        elif isinstance(item, slice):
            start, count, step = _range(item, x.shape[axis])
            _enter(reading, (start, count, step), count)
        else:
            _enter_pick(reading, item, x)
    return reading


def _enter(reading: _Reading, span: tuple[int, ...], kept: int | None) -> None:
    """One axis of the Slice, from (start, count, step), and what is left of it."""
    start, count, step = (*span, 1)[:3]
    reading.starts.append(start)
    reading.stops.append(start + (count - 1) * step + 1 if count else start)
    reading.steps.append(step)
    if kept is not None:
        reading.shape.append(kept)


def _enter_pick(reading: _Reading, item: Tensor, x: Tensor) -> None:
    axis, is_mask = len(reading.starts), item.dtype is dtypes.bool_
    sizes = x.shape[axis : axis + item.ndim] if is_mask else x.shape[axis : axis + 1]
    if is_mask and tuple(item.shape) != tuple(sizes):
        off = next(k for k, size in enumerate(item.shape) if size != sizes[k])
        raise DimensionError(
            f"a mask of shape {list(item.shape)} for a tensor of shape {list(x.shape)}",
            f"The shape of the mask {list(item.shape)} at index {off} does not match the shape of the "
            "indexed tensor "
            f"{list(x.shape)} at index {axis + off}",
        )
    reading.picks.append((len(reading.shape), item))
    for size in sizes:
        _enter(reading, (0, size), size)
    if is_mask and not item.ndim:
        reading.shape.append(1)


def _place(index: int, shape: Sequence[int], axis: int) -> int:
    size = shape[axis]
    if not -size <= index < size:
        raise DimensionError(
            f"index {index} into a tensor of shape {list(shape)}",
            f"index {index} is out of bounds for dimension {axis} with size {size}",
        )
    return index % size


def _range(item: slice, size: int) -> tuple[int, int, int]:
    """Start, count and step of a slice."""
    step = 1 if item.step is None else item.step.__index__()
    if step <= 0:
        raise ArgumentError(
            f"a slice with step {step}", "step must be greater than zero", "use flip() to reverse"
        )
    start, stop, step = slice(item.start, item.stop, step).indices(size)
    return start, len(range(start, stop, step)), step


# ---- picks -------------------------------------------------------------------------------------------------


def _integers(picks: Sequence[tuple[int, Tensor]]) -> list[tuple[int, Tensor]]:
    """The picks as integer tensors, one for each axis: a mask is the places where it is true."""
    found: list[tuple[int, Tensor]] = []
    for axis, item in picks:
        if item.dtype is not dtypes.bool_:
            found.append((axis, item))
            continue
        mask = item.read("indexing by a mask")
        found += [
            (axis + k, new(place.astype(np.int64))) for k, place in enumerate(np.atleast_1d(mask).nonzero())
        ]
    return found


def _joined(x: Tensor, picks: Sequence[tuple[int, Tensor]]) -> tuple[Tensor, Tensor, list[int]]:
    """The view with the picked axes made one, the first; the linear index into it.

    And the order of axes for that.
    """
    axes = [axis for axis, _ in picks]
    for axis, item in picks:
        _check_bounds(item, x.shape[axis], axis)
    try:
        broadcast_shapes("an index", *(item.shape for _, item in picks))
    except ShapeError:
        shapes = ", ".join(str(list(item.shape)) for _, item in picks)
        raise DimensionError(
            "an index of several tensors",
            f"shape mismatch: indexing tensors could not be broadcast together with shapes {shapes}",
        ) from None
    order = [*axes, *(k for k in range(x.ndim) if k not in axes)]
    front = moves.permute(x, order)
    flat = moves.reshape(front, (prod(front.shape[: len(axes)]), *front.shape[len(axes) :]))
    wide = [moves.cast(item, dtypes.int64) for _, item in picks]
    return flat, places.linear_index(wide, front.shape[: len(axes)]), order


def _check_bounds(item: Tensor, size: int, axis: int) -> None:
    array = known(item)
    if array is None or not array.size:
        return
    for found in (int(array.min()), int(array.max())):
        if not -size <= found < size:
            raise DimensionError(
                f"an index of shape {list(item.shape)}",
                f"index {found} is out of bounds for dimension {axis} with size {size}",
            )


def _side_by_side(axes: Sequence[int]) -> bool:
    return list(axes) == list(range(axes[0], axes[0] + len(axes)))


def _picked(x: Tensor, picks: list[tuple[int, Tensor]]) -> Tensor:
    """What the picks read."""
    for axis, item in sorted((p for p in picks if not p[1].ndim), key=lambda p: -p[0]):
        x = places.take(x, item, axis)  # a traced integer: it takes its axis away, as an int does
        picks = [(a - (a > axis), i) for a, i in picks if i is not item or a != axis]
    if not picks:
        return x
    if len(picks) == 1:
        ((axis, item),) = picks
        _check_bounds(item, x.shape[axis], axis)
        return places.take(x, item, axis)
    flat, index, _ = _joined(x, picks)
    found: Tensor = places.take(flat, index, 0)
    first = picks[0][0]
    if not first or not _side_by_side([axis for axis, _ in picks]):
        return found
    many = index.ndim
    order = [*range(many, many + first), *range(many), *range(many + first, found.ndim)]
    return moves.permute(found, order)


@public("__getitem__", method=True, function=False)
def getitem(input: Tensor, index: Any) -> Tensor:
    """`x[index]`: a view where there are only ints, slices and None, else a copy."""
    reading = _read(input, index)
    view = reading.view(input)
    return _picked(view, _integers(reading.picks)) if reading.picks else view


# ---- writing -----------------------------------------------------------------------------------------------

_TITLE = "IndexPutBackward0"


@public("__setitem__", method=True, function=False)
def setitem(input: Tensor, index: Any, value: Any) -> None:
    """`x[index] = value`, in place: a number or a tensor that broadcasts to `x[index]`."""
    if not isinstance(value, Tensor | bool | int | float | np.ndarray | np.generic):
        raise ArgumentError(
            f"can't assign a {type(value).__name__} to a {input.dtype} tensor", "", "use tensor()"
        )
    elements = like(new(np.asarray(value)) if isinstance(value, np.ndarray | np.generic) else value, input)
    reading = _read(input, index)
    view = reading.view(input)
    match reading.picks:
        case []:
            assign(view, _fitted(elements, view.shape), "CopySlicesBackward0")
        case [(axis, mask)] if (
            mask.dtype is dtypes.bool_ and mask.ndim and _under_mask(view, axis, mask, elements)
        ):
            pass
        case picks:
            _put(view, _integers(picks), elements, accumulate=False)


def _fitted(value: Tensor, shape: Sequence[int]) -> Tensor:
    """The value without superfluous leading axes of size 1; ShapeError where it does not broadcast."""
    extra = value.ndim - len(shape)
    if extra > 0 and all(size == 1 for size in value.shape[:extra]):
        value = moves.reshape(value, value.shape[extra:])
    if value.ndim <= len(shape) and all(v in (1, s) for v, s in zip(reversed(value.shape), reversed(shape))):
        return value
    raise ShapeError(
        f"assignment of a value of shape {list(value.shape)} to a part of shape {list(shape)}",
        f"shape mismatch: value tensor of shape {list(value.shape)} cannot be broadcast to indexing result "
        "of shape "
        f"{list(shape)}",
    )


def _silent(*tensors: Tensor) -> bool:
    """Whether arrays may be written directly: nothing is traced and nothing recorded."""
    return STATE.trace is None and not (STATE.grad and any(x.requires_grad for x in tensors))


def _under_mask(view: Tensor, axis: int, mask: Tensor, value: Tensor) -> bool:
    """Write under a mask without looking at it, if the value does not have an element for each place that
    it chooses.
    """
    after = view.ndim - axis - mask.ndim
    if value.ndim > after:
        return STATE.trace is not None and _in_turn(view, axis, mask, value)
    value = _fitted(value, view.shape[axis + mask.ndim :])
    wide = moves.reshape(mask, (*mask.shape, *[1] * after))
    if _silent(view, value):
        check_writable(view)
        np.copyto(view._value, value._value, where=wide._value)  # type: ignore[arg-type]  # arrays, outside a trace
        changed(view)
    else:
        assign(view, rows.where(wide, value, view), _TITLE)
    return True


def _in_turn(view: Tensor, axis: int, mask: Tensor, value: Tensor) -> bool:
    """While tracing: the elements of the value one after the other where the mask is true."""
    rest = tuple(view.shape[mask.ndim :])
    if axis or tuple(value.shape[1:]) != rest:
        return False
    if value.shape[0] == 1:
        return _under_mask(view, axis, mask, moves.reshape(value, rest))
    wide = moves.reshape(mask, (*mask.shape, *[1] * len(rest)))
    assign(view, masked_scatter(view, wide, value), _TITLE)
    return True


def _put(view: Tensor, picks: list[tuple[int, Tensor]], value: Tensor, accumulate: bool) -> None:
    """Write the value where the picks say, in place."""
    axes = [axis for axis, _ in picks]
    flat, index, order = _joined(view, picks)
    first = axes[0] if _side_by_side(axes) else 0
    rest = [size for k, size in enumerate(view.shape) if k not in axes]
    whole = (*rest[:first], *index.shape, *rest[first:])
    value = _fitted(value, whole)
    if _silent(view, value) and not accumulate and all(item.ndim for _, item in picks):
        check_writable(view)
        chosen = dict(picks)
        at = tuple(chosen[k]._value if k in chosen else slice(None) for k in range(view.ndim))
        view._value[at] = value._value  # type: ignore[index]  # arrays, outside a trace
        changed(view)
        return
    many = index.ndim
    if first and value.ndim:
        value = moves.expand(value, whole)
        value = moves.permute(
            value, [*range(first, first + many), *range(first), *range(first + many, value.ndim)]
        )
    if accumulate:
        spread = moves.expand(value, (*index.shape, *rest))
        written = flat + places.put_add(spread, index, 0, flat.shape[0])
    else:
        written = places.put(flat, index, value)
    front = moves.reshape(written, [view.shape[k] for k in order])
    assign(view, moves.permute(front, [order.index(k) for k in range(view.ndim)]), _TITLE)


@public("index_put_", method=True)
def index_put_(
    input: Tensor, indices: Sequence[Tensor | None], values: Tensor, accumulate: bool = False
) -> Tensor:
    """`x[indices] = values` in place; with `accumulate`, `+=` that also counts indices which repeat."""
    spread = tuple(slice(None) if i is None else i for i in indices)
    if not accumulate:
        setitem(input, spread, values)
        return input
    reading = _read(input, spread)
    _put(reading.view(input), _integers(reading.picks), like(values, input), accumulate=True)
    return input


@public("index_put", method=True)
def index_put(
    input: Tensor, indices: Sequence[Tensor | None], values: Tensor, accumulate: bool = False
) -> Tensor:
    """A copy of the input with `indices` set to `values`, or `values` added there."""
    return index_put_(input.clone(), indices, values, accumulate)


@public("__contains__", method=True, function=False)
def contains(input: Tensor, element: Any) -> bool:
    """`element in x`: whether some element is equal to it."""
    return bool((input == element).any())
