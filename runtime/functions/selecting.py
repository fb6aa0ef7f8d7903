"""Functions whose results' sizes depend on values: nonzero, masked_select, unique, bincount.

They look at the elements, so inside a trace each of them is a TraceError, but for what a mask picks
(`eager/selection.py`). What they pick keeps its history.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.errors import DtypeError, ShapeError, mirrored
from retrograd.compiler.ir.graph import Array, Constant
from retrograd.compiler.ops import index as places
from retrograd.compiler.ops import masked
from retrograd.compiler.ops import shape as moves
from retrograd.compiler.ops.elementwise import broadcast_shapes
from retrograd.compiler.ops.rows import rows
from retrograd.compiler.ops.sought import is_in
from retrograd.runtime.eager.selection import select
from retrograd.runtime.eager.underived import refused
from retrograd.runtime.functions.public import FUNCTIONS, axis_of, promoted, public
from retrograd.runtime.modes import STATE
from retrograd.runtime.tensor import Tensor, new


@public("nonzero", method=True, replay="places")
def nonzero(input: Tensor, *, as_tuple: bool = False) -> Any:
    """The indices of the elements that are not zero: `[count, ndim]`, or as a tuple of a vector for each
    axis.
    """
    array = input.read("nonzero()")
    if as_tuple:
        return tuple(new(axis.astype(np.int64), input) for axis in np.atleast_1d(array).nonzero())
    return new(np.argwhere(array).astype(np.int64), input)


@public("argwhere", method=True, replay="places")
def argwhere(input: Tensor) -> Tensor:
    """The indices of the elements that are not zero, `[count, ndim]`."""
    return nonzero(input)


def check_mask(name: str, mask: Tensor) -> None:
    if mask.dtype is not dtypes.bool_:
        raise DtypeError(
            f"{name} by a mask of {mask.dtype}",
            mirrored(f"{name}: expected BoolTensor for mask"),
            "compare it, as in mask != 0",
        )


def counts_unknown(mask: Tensor) -> bool:
    """Whether it is a mask of which nobody knows now how many elements it picks."""
    if STATE.trace is None or mask.dtype is not dtypes.bool_:
        return False
    return not isinstance(STATE.trace.lift(mask).op, Constant)


@public("masked_select", method=True, replay="selection")
def masked_select(input: Tensor, mask: Tensor) -> Tensor:
    """The elements where the mask is true, in order, as a vector; the two broadcast."""
    check_mask("masked_select", mask)
    shape = broadcast_shapes("masked_select", input.shape, mask.shape)
    if counts_unknown(mask):
        return select(moves.expand(input, shape), 0, moves.expand(mask, shape))
    if not input.shape == mask.shape == shape and STATE.trace is None:
        picked: Tensor = FUNCTIONS["masked_select"](moves.expand(input, shape), moves.expand(mask, shape))
        return picked  # by a plan for operands that are alike
    chosen = np.flatnonzero(np.broadcast_to(mask.read("masked_select()"), shape)).astype(np.int64)
    flat = moves.reshape(moves.expand(input, shape), (prod(shape),))
    return places.take(flat, new(chosen, input), 0)


@public("masked_scatter", method=True, inplace=True, replay=True)
def masked_scatter(input: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """The input with the elements of `source`, in order, where the mask is true; ShapeError where there are
    too few of them.
    """
    check_mask("masked_scatter", mask)
    shape = broadcast_shapes("masked_scatter", input.shape, mask.shape)
    if source.dtype is not input.dtype:
        raise DtypeError(
            f"masked_scatter of {source.dtype} into {input.dtype}",
            "masked_scatter_: expected self and source to have same dtypes",
            "cast one of them with .to(dtype)",
        )
    result: Tensor = masked.masked_scatter(moves.expand(input, shape), moves.expand(mask, shape), source)
    return result


# ---- distinct and counted ----------------------------------------------------------------------------------


@public("unique", method=True)
def unique(
    input: Tensor,
    sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> Any:
    """The distinct elements in order, or slices along `dim`.

    Then where each element is among them, and how often.
    """
    array = input.read("unique()")
    if dim is None:
        line = array.reshape(-1)
        order = line.argsort(kind="stable") if return_inverse or return_counts else None
        line = np.sort(line) if order is None else line[order]
        starts = _starts(line)
        found = _lines(starts, order, array.shape, return_inverse, return_counts)
        return _results(input, "_unique2", line[starts], *found)
    axis = axis_of(dim, input.ndim, "unique")
    values, inverse, counts = np.unique(
        array, return_inverse=True, return_counts=True, axis=axis, equal_nan=False
    )
    found = [inverse.reshape(-1)] * return_inverse + [counts] * return_counts
    return _results(input, "unique_dim", values, *found)


@public("unique_consecutive", method=True)
def unique_consecutive(
    input: Tensor, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> Any:
    """The elements, or slices along `dim`, that differ from the one before them."""
    array = input.read("unique_consecutive()")
    if dim is None:
        line = array.reshape(-1)
        starts = _starts(line)
        values = line[starts]
    else:
        axis = axis_of(dim, input.ndim, "unique")
        line = np.moveaxis(array, axis, 0)
        flat = line.reshape(len(line), -1)
        starts = np.ones(len(flat), bool)
        starts[1:] = (flat[1:] != flat[:-1]).any(1)
        values = np.moveaxis(line[starts], 0, axis)
    shape = array.shape if dim is None else (-1,)
    found = _lines(starts, None, shape, return_inverse, return_counts)
    return _results(input, "unique_consecutive", values, *found)


def _starts(line: Array) -> Array:
    """Where a vector's elements differ from those before them."""
    starts = np.empty(len(line), bool)
    starts[:1] = True
    np.not_equal(line[1:], line[:-1], starts[1:])
    return starts


def _lines(
    starts: Array, order: Array | None, shape: Sequence[int], with_inverse: bool, with_counts: bool
) -> list[Array]:
    """Of lines of equal elements that begin at these places, once the elements are in this order: in which
    line each element is, and how many are in each."""
    found = []
    if with_inverse:
        numbers = starts.cumsum() - 1
        inverse = numbers
        if order is not None:
            inverse = np.empty(len(starts), np.int64)
            inverse[order] = numbers
        found.append(inverse.reshape(shape))
    if with_counts:
        (places,) = starts.nonzero()
        counts = np.empty(len(places), np.int64)
        np.subtract(places[1:], places[:-1], counts[:-1])
        counts[-1:] = len(starts) - places[-1:]
        found.append(counts)
    return found


def _results(like: Tensor, words: str, values: Array, *more: Array) -> Any:
    """The results of PyTorch's function of these words: the values, and what is known of elements."""
    shown = f"{''.join(part.capitalize() for part in words.split('_'))}Backward0"
    first = refused(new(np.ascontiguousarray(values), like), (like,), shown, words)
    return (first, *[new(each.astype(np.int64, copy=False), like) for each in more]) if more else first


@public("bincount", method=True)
def bincount(input: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """How often each of 0, 1, 2, … occurs in a vector, or the sum of the weights where it does."""
    array = input.read("bincount()")
    if weights is not None and weights.shape != input.shape:
        raise ShapeError("bincount()", "weights should be 1-d and have the same length as input")
    if minlength < 0:
        raise ShapeError(mirrored("minlength should be >= 0"))
    try:
        if array.dtype.kind == "b":
            raise TypeError
        found = np.bincount(array, None if weights is None else weights.read("bincount()"), minlength)
    except (TypeError, ValueError):
        raise ShapeError(
            f"bincount of a tensor of {input.dtype} and shape {list(input.shape)}",
            mirrored("bincount only supports 1-d non-negative integral inputs."),
        ) from None
    if weights is not None and weights.dtype.is_floating_point:
        found = found.astype(weights.dtype.numpy, copy=False)
    return new(found, input)


@public("histc", method=True)
def histc(input: Tensor, bins: int = 100, min: float = 0, max: float = 0) -> Tensor:
    """How many elements lie in each of `bins` equal intervals from `min` to `max`, or over the range of
    the elements if these are equal.
    """
    array = input.read("histc()")
    if bins <= 0:
        raise ShapeError(f"histc(bins={bins})", "bins must be > 0")
    low, high = (array.min(), array.max()) if min == max and array.size else (min, max)
    if low > high:
        raise ShapeError(f"histc(min={min}, max={max})", "max must be larger than min")
    if low == high:
        low, high = low - 1, high + 1
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ShapeError(mirrored(f"torch.histc: range of [{low}, {high}] is not finite"))
    inside = array[(array >= low) & (array <= high)]
    places = ((inside - low) * bins / (high - low)).astype(np.int64)
    counts = np.bincount(np.minimum(places, bins - 1, places), minlength=bins)
    return new(counts.astype(array.dtype), input)


@public("isin", replay=True)
def isin(elements: Any, test_elements: Any, *, invert: bool = False) -> Tensor:
    """Whether each element is among the test elements; numbers may stand for either."""
    both = [x if isinstance(x, Tensor) else new(np.asarray(x)) for x in (elements, test_elements)]
    found = is_in(*promoted(*both))
    return rows.logical_not(found) if invert else found
