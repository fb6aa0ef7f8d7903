"""`x[…]` and `x[…] = …`: reading and writing by an index that `indices` has read.

Reading is the view and one `take` of what `picks` makes of tensors. Writing is `assign` to the view, of the
view with the picked rows replaced (`put`), so that history, bases and traces are looked after by `inplace`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.errors import (
    ArgumentError,
    DtypeError,
    ShapeError,
    mirrored,
)
from retrograd.compiler.ir.graph import Array
from retrograd.compiler.ops import index as places
from retrograd.compiler.ops import shape as moves
from retrograd.compiler.ops.rows import rows
from retrograd.runtime import tracing
from retrograd.runtime.eager.inplace import assign, changed, check_writable, opened
from retrograd.runtime.eager.instant import calls
from retrograd.runtime.eager.instant.doors import late
from retrograd.runtime.eager.memory import repeats
from retrograd.runtime.eager.record import recorded
from retrograd.runtime.eager.selection import Selection, select, written
from retrograd.runtime.functions.gathering import like
from retrograd.runtime.functions.indices import read_index, tensor_of
from retrograd.runtime.functions.operand_conditions import PUT
from retrograd.runtime.functions.picks import integers, joined, picked, picked_shape, side_by_side
from retrograd.runtime.functions.public import FUNCTIONS, public
from retrograd.runtime.functions.selecting import counts_unknown, masked_scatter
from retrograd.runtime.functions.writing import written_by_numpy
from retrograd.runtime.modes import STATE
from retrograd.runtime.names import bare_legacy_name, legacy_name
from retrograd.runtime.tensor import Tensor, new

# ---- reading -----------------------------------------------------------------------------------------------


def _read_directly(x: Tensor, index: object) -> Tensor | None:
    """What NumPy reads by integers for the first axes, or by a mask of them, where nothing is traced; else
    None. Of a Tensor with history it is a mask that is read by its places.
    """
    if tracing.depth or not (at := _plain_tensors(x, index)):
        return None
    array: Any = x._value
    if not (x.requires_grad and STATE.grad):
        try:
            return calls.box(np.asarray(array[at], order="C"))
        except IndexError:  # told in the user's terms by the general way
            return None
    mask = at[0]
    if mask.dtype is not _BOOL:
        return None
    if x._view is not None:
        x._view.refresh(x)
    flat = x if mask.ndim == 1 else moves.reshape(x, (mask.size, *array.shape[mask.ndim :]))
    chosen = np.flatnonzero(mask)
    return recorded(_TAKE, (flat, chosen), calls.box(np.asarray(array[mask], order="C")))


def _plain_tensors(x: Tensor, index: object) -> tuple[Array, ...]:
    """The arrays of an index that is a mask of x's first axes, or integers for one each; else none."""
    own: Any = x._value
    arrays: list[Any] = []
    for item in index if type(index) is tuple else (index,):
        array: Any = item._value if isinstance(item, Tensor) else None
        if type(array) is not np.ndarray or not array.ndim:
            return ()
        arrays.append(array)
    if type(own) is not np.ndarray or not arrays:
        return ()
    if arrays[0].dtype is _BOOL:
        return tuple(arrays) if len(arrays) == 1 and array.shape == own.shape[: array.ndim] else ()
    for array in arrays:
        if array.dtype is not _LONG:
            return ()
    return tuple(arrays)


def _plainer(x: Tensor, index: object) -> tuple[Any, ...] | None:
    """An index with NumPy's numbers as Python's, arrays as Tensors, and masks as the places that they choose,
    for which reading is planned; None where nothing is to be done, or nothing is known."""
    if tracing.depth or type(x._value) is not np.ndarray:
        return None
    items: list[Any] = []
    changed, axis = False, 0
    for item in index if type(index) is tuple else (index,):
        plain, places_of = _plain_item(item), _places_chosen(x, item, axis)
        if places_of is None and plain is None:
            return None
        made = [plain] if places_of is None else places_of
        changed = changed or (plain is not _NEW and made[0] is not item)
        axis += 0 if plain is _NEW else len(made)
        items += [None if each is _NEW else each for each in made]
    return tuple(items) if changed else None


_NEW = object()
"""Stands for None, a new axis."""


def _plain_item(item: Any) -> Any:
    """An item of which a key is made, or the one that it is; None of others."""
    kind = type(item)
    if kind is int or kind is slice:
        return item
    if item is None:
        return _NEW
    if isinstance(item, np.integer):
        return int(item)
    if kind is np.ndarray and item.dtype == _LONG and item.ndim:
        return Tensor(item)
    if kind is list and all(type(each) is int for each in item):
        return tensor_of(item) if item else None
    if isinstance(item, Tensor) and type(item._value) is np.ndarray and item._value.dtype == _LONG:
        return item if item.ndim else None
    return None


def _places_chosen(x: Tensor, mask: Any, axis: int) -> list[Tensor] | None:
    """Where a mask of axes from this one on is true, a vector for each of them; None of what is none."""
    array = mask._value if isinstance(mask, Tensor) else mask
    if type(array) is not np.ndarray or array.dtype != _BOOL or not array.ndim:
        return None
    if array.shape != x._value.shape[axis : axis + array.ndim]:
        return None
    return [Tensor(places) for places in array.nonzero()]


_TAKE = places.Take(0)
_BOOL, _LONG = np.dtype(np.bool_), np.dtype(np.int64)


@public("__getitem__", method=True, function=False, replay="picks")
def getitem(input: Tensor, index: Any) -> Tensor:
    """`x[index]`: a view where there are only ints, slices and None, else a copy."""
    if type(index) is list and index and all(type(i) is int for i in index):
        return input[tensor_of(index)]  # which is planned for all numbers alike
    found = _read_directly(input, index)
    if found is not None:
        return found
    plainer = _plainer(input, index)
    if plainer is not None:
        return input[plainer]
    reading = read_index(input, index)
    view = reading.view(input)
    match reading.picks:
        case []:
            return view
        case [(axis, mask)] if counts_unknown(mask):
            return select(view, axis, mask)
        case picks:
            return picked(view, integers(input, picks))


# ---- writing -----------------------------------------------------------------------------------------------

_TITLE, _WHOLE, _FILLED = "IndexPutBackward0", "torch::autograd::CopyBackwards", "FillBackward3"
"""What the tape's node is called: places by number, and all of a Tensor at once."""


@public("__setitem__", method=True, function=False)
def setitem(input: Tensor, index: Any, value: Any) -> None:
    """`x[index] = value`, in place: a number or a tensor that broadcasts to `x[index]`."""
    if type(index) is list and index and all(type(i) is int for i in index):
        index = tensor_of(index)
    if written_by_numpy(input, index, value):
        return
    if not isinstance(value, Tensor | bool | int | float | complex | np.ndarray | np.generic):
        raise ArgumentError(
            mirrored(f"can't assign a {type(value).__name__} to a {legacy_name(input.dtype)}"),
            "",
            "use tensor()",
        )
    elements = like(new(np.asarray(value)) if isinstance(value, np.ndarray | np.generic) else value, input)
    reading = read_index(input, index)
    if index is not True and index is not False:
        _check_dtypes(input, reading.picks, value)
    view = input if reading.takes_all(input) else reading.view(input)
    match reading.picks:
        case []:
            name = _WHOLE if elements.ndim else _FILLED
            filled = not elements.ndim and not repeats(view._value)
            assign(view, _fitted(elements, view.shape, expanded=True), name, elements, filled=filled)
        case [(axis, mask)] if (
            mask.dtype is dtypes.bool_
            and (mask.ndim or counts_unknown(mask))
            and _under_mask(view, axis, mask, elements)
        ):
            pass
        case picks:
            _put(view, integers(input, picks), elements, accumulate=False)


@public("__delitem__", method=True, function=False)
def delitem(input: Tensor, index: Any) -> None:
    """`del x[index]` is an error."""
    raise ArgumentError(mirrored("Tensor does not support deleting items"))


def _check_dtypes(input: Tensor, picks: Sequence[tuple[int, Tensor]], value: Any) -> None:
    """Picks are written Tensors of the same dtype only; but one element under masks may be of any."""
    if not picks or not isinstance(value, Tensor) or value.dtype is input.dtype:
        return
    if value.numel() == 1 and all(item.dtype is dtypes.bool_ for _, item in picks):
        return
    raise DtypeError(
        f"{value.dtype} written into {input.dtype}",
        mirrored(PUT.format(bare_legacy_name(input.dtype), bare_legacy_name(value.dtype))),
        "cast the value with .to(dtype)",
    )


setattr(Tensor, "__setitem__", late(setitem, lambda: calls.setting(setitem)))  # noqa: B010  # as methods are


def _fitted(value: Tensor, shape: Sequence[int], expanded: bool = False) -> Tensor:
    """The value without superfluous leading axes of size 1; ShapeError where it does not broadcast."""
    extra = value.ndim - len(shape)
    if extra > 0 and all(size == 1 for size in value.shape[:extra]):
        value = moves.reshape(value, value.shape[extra:])
    if value.ndim <= len(shape) and all(v in (1, s) for v, s in zip(reversed(value.shape), reversed(shape))):
        return value
    pairs = list(zip(reversed(value.shape), reversed(shape)))
    odd = next((k for k, (v, s) in enumerate(pairs) if v not in (1, s)), None)
    if expanded and odd is not None and value.ndim <= len(shape):
        raise ShapeError(
            mirrored(
                f"The expanded size of the tensor ({pairs[odd][1]}) must match the existing size "
                f"({pairs[odd][0]}) at non-singleton dimension {len(shape) - 1 - odd}.  Target sizes: "
                f"{list(shape)}.  Tensor sizes: {list(value.shape)}"
            )
        )
    raise ShapeError(
        f"assignment of a value of shape {list(value.shape)} to a part of shape {list(shape)}",
        mirrored(
            f"shape mismatch: value tensor of shape {list(value.shape)} cannot be broadcast to "
            "indexing result "
            "of shape "
            f"{list(shape)}"
        ),
    )


def _silent(*tensors: Tensor) -> bool:
    """Whether NumPy may write: nothing is traced, nothing recorded, and the elements are here."""
    if STATE.trace is not None or not isinstance(tensors[0]._value, np.ndarray):
        return False
    return not (STATE.grad and any(x.requires_grad for x in tensors))


def _under_mask(view: Tensor, axis: int, mask: Tensor, value: Tensor) -> bool:
    """Write under a mask without looking at it, if the value does not have an element for each place that
    it chooses.
    """
    if isinstance(value, Selection):
        assign(view, written(view, axis, mask, value), _TITLE, value)
        return True
    after = view.ndim - axis - mask.ndim
    if value.ndim > after:
        return STATE.trace is not None and _in_turn(view, axis, mask, value)
    given, value = value, _fitted(value, view.shape[axis + mask.ndim :])
    wide = moves.reshape(mask, (*mask.shape, *[1] * after))
    if _silent(view, value):
        check_writable(view, filled=True)
        np.copyto(opened(view._value), value._value, where=wide._value)  # type: ignore[arg-type]  # arrays, outside a trace
        changed(view)
    else:
        assign(view, rows.where(wide, value, view), _TITLE, given)
    return True


def _in_turn(view: Tensor, axis: int, mask: Tensor, value: Tensor) -> bool:
    """While tracing: the elements of the value one after the other where the mask is true."""
    rest = tuple(view.shape[mask.ndim :])
    STATE.trace.unchecked = True  # that there are as many elements as places
    if axis or tuple(value.shape[1:]) != rest:
        return False
    if value.shape[0] == 1:
        return _under_mask(view, axis, mask, moves.reshape(value, rest))
    wide = moves.reshape(mask, (*mask.shape, *[1] * len(rest)))
    assign(view, masked_scatter(view, wide, value), _TITLE, value)
    return True


def _put(view: Tensor, picks: list[tuple[int, Tensor]], value: Tensor, accumulate: bool) -> None:
    """Write the value where the picks say, in place."""
    if accumulate or not _silent(view, value) or not all(item.ndim for _, item in picks):
        assign(view, _replaced(view, picks, value, accumulate), _TITLE, value)
        return
    _, index, _ = joined(view, picks)
    fitted = _fitted(value, picked_shape(view, picks, index))
    check_writable(view, filled=True)
    chosen = dict(picks)
    at = tuple(chosen[k]._value if k in chosen else slice(None) for k in range(view.ndim))
    opened(view._value)[at] = fitted._value
    changed(view)


def _replaced(view: Tensor, picks: list[tuple[int, Tensor]], value: Tensor, accumulate: bool) -> Tensor:
    """The view with the value, or the sums with it, where the picks say."""
    axes = [axis for axis, _ in picks]
    flat, index, order = joined(view, picks)
    if axes == [0]:
        index = moves.cast(picks[0][1], dtypes.int64)  # which the op looks at itself
    whole = picked_shape(view, picks, index)
    value = _fitted(value, whole)
    first, many = axes[0] if side_by_side(axes) else 0, index.ndim
    if first and value.ndim:
        value = moves.expand(value, whole)
        value = moves.permute(
            value, [*range(first, first + many), *range(first), *range(first + many, value.ndim)]
        )
    if accumulate:
        spread = moves.expand(value, (*index.shape, *flat.shape[1:]))
        written = flat + places.put_add(spread, index, 0, flat.shape[0])
    else:
        written = places.put(flat, index, value)
    front = moves.reshape(written, [view.shape[k] for k in order])
    turned: Tensor = moves.permute(front, [order.index(k) for k in range(view.ndim)])
    return turned


def _spread(indices: Sequence[Tensor | None]) -> tuple[Any, ...]:
    """The index that indices stand for, one for each axis; one number picks, too."""
    return tuple([slice(None) if i is None else i.reshape(1) if _is_number(i) else i for i in indices])


def _is_number(index: object) -> bool:
    return isinstance(index, Tensor) and not index.ndim and index.dtype is not dtypes.bool_


@public("index_put_", method=True, replay="puts")
def index_put_(
    input: Tensor, indices: Sequence[Tensor | None], values: Tensor, accumulate: bool = False
) -> Tensor:
    """`x[indices] = values` in place; with `accumulate`, `+=` that also counts indices which repeat."""
    if not accumulate:
        setitem(input, _spread(indices), values)
        return input
    reading, elements = read_index(input, _spread(indices)), like(values, input)
    _check_dtypes(input, reading.picks, values)
    view = input if reading.takes_all(input) else reading.view(input)
    if reading.picks:
        _put(view, integers(input, reading.picks), elements, accumulate=True)
    else:
        assign(view, view + _fitted(elements, view.shape), _TITLE, elements)
    return input


@public("index_put", method=True, replay=True)
def index_put(
    input: Tensor, indices: Sequence[Tensor | None], values: Tensor, accumulate: bool = False
) -> Tensor:
    """A copy of the input with `indices` set to `values`, or `values` added there."""
    reading = read_index(input, _spread(indices))
    plain = reading.picks and reading.takes_all(input)
    if not plain or any(counts_unknown(item) for _, item in reading.picks):
        return index_put_(input.clone(), indices, values, accumulate)
    _check_dtypes(input, reading.picks, values)
    return _replaced(input, integers(input, reading.picks), like(values, input), accumulate)


FUNCTIONS["index_put_"] = late(index_put_, lambda: calls.change(index_put_, index_put, assign))
setattr(Tensor, "index_put_", FUNCTIONS["index_put_"])  # noqa: B010  # as methods are


@public("__contains__", method=True, function=False)
def contains(input: Tensor, element: Any) -> bool:
    """`element in x`: whether some element is equal to it."""
    if not isinstance(element, Tensor | bool | int | float | complex | np.generic):
        raise ArgumentError(
            mirrored(
                f"Tensor.__contains__ only supports Tensor or scalar, but you passed in a {type(element)}."
            )
        )
    return bool((input == element).any())
