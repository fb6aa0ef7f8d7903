"""Functions whose results' sizes depend on values: nonzero, masked_select, unique, bincount.

They look at the elements, so inside a trace each of them is a TraceError, but for what a mask picks
(`eager/selection.py`). What they pick keeps its history.
"""

from __future__ import annotations

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
from retrograd.runtime.eager.binning import Binned
from retrograd.runtime.eager.selection import select
from retrograd.runtime.eager.tallies import Distinct, DistinctSlices, Occurrences, tallied
from retrograd.runtime.eager.underived import refused
from retrograd.runtime.functions.public import FUNCTIONS, axis_of, promoted, public
from retrograd.runtime.modes import STATE
from retrograd.runtime.names import bare_legacy_name
from retrograd.runtime.tensor import Tensor, new


@public("nonzero", method=True, replay="places")
def nonzero(input: Tensor, *, as_tuple: bool = False) -> Any:
    """The indices of the elements that are not zero: `[count, ndim]`, or as a tuple of a vector for each
    axis.
    """
    array = input.read("nonzero()")
    if as_tuple:
        return tuple(new(axis.copy(), input) for axis in _places(np.atleast_1d(array)))
    return new(_places(array).T, input)


def _places(array: Array) -> Array:
    """The indices of the elements that are not zero, `[ndim, count]`: those of a line of all, divided."""
    flat = np.flatnonzero(array if array.dtype == np.bool_ else array != 0).astype(np.int64, copy=False)
    found = np.empty((array.ndim, len(flat)), np.int64)
    for outer, place, size in zip(found[-2::-1], found[:0:-1], array.shape[:0:-1], strict=True):
        np.floor_divide(flat, size, out=outer)
        np.subtract(flat, outer * size, out=place)
        flat = outer
    if array.ndim == 1:
        found[0] = flat
    return found


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


@public("unique", method=True, replay="tallies")
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
    shown = "_unique2" if dim is None else "unique_dim"
    return _distinct("unique", shown, input, dim, True, return_inverse, return_counts)


@public("unique_consecutive", method=True, replay="tallies")
def unique_consecutive(
    input: Tensor, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> Any:
    """The elements, or slices along `dim`, that differ from the one before them."""
    shown = "unique_consecutive"
    return _distinct("unique_consecutive", shown, input, dim, False, return_inverse, return_counts)


_UNSELECTED = "There are 0 sized dimensions, and they aren't selected, so unique cannot be applied"
_EMPTY = "Number of zero sized dimensions is more than one, so unique cannot be applied "


def _distinct(
    name: str, shown: str, input: Tensor, dim: int | None, sorts: bool, with_inverse: bool, with_counts: bool
) -> Any:
    """The distinct elements or slices, which are not differentiated, and what is known of them; PyTorch calls
    it by the words of `shown`."""
    if input.dtype.is_complex:
        kernel = "unique" if dim is None else "unique_dim"
        raise DtypeError(mirrored(f"\"{kernel}\" not implemented for '{bare_legacy_name(input.dtype)}'"))
    options = sorts, bool(with_inverse), bool(with_counts)
    axis = None if dim is None else axis_of(dim, input.ndim, "unique")
    if axis is not None and (none := input.shape.count(0)) and (input.shape[axis] or none > 1):
        raise ShapeError(mirrored(_UNSELECTED if input.shape[axis] else _EMPTY))
    tally = Distinct(*options) if axis is None else DistinctSlices(*options, axis)
    first, *rest = tallied(tally, f"{name}()", input)
    title = f"{''.join(part.capitalize() for part in shown.split('_'))}Backward0"
    return tally.given([refused(first, (input,), title, shown), *rest])


@public("bincount", method=True, replay="tallies")
def bincount(input: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """How often each of 0, 1, 2, … occurs in a vector, or the sum of the weights where it does."""
    if weights is not None and weights.shape != input.shape:
        raise ShapeError("bincount()", "weights should be 1-d and have the same length as input")
    if minlength < 0:
        raise ShapeError(mirrored("minlength should be >= 0"))
    operands = (input,) if weights is None else (input, weights)
    (found,) = tallied(Occurrences(minlength), "bincount()", *operands)
    return found


@public("histc", method=True, replay="tallies")
def histc(input: Tensor, bins: int = 100, min: float = 0, max: float = 0) -> Tensor:
    """How many elements lie in each of `bins` equal intervals from `min` to `max`, or over the range of
    the elements if these are equal.
    """
    if bins <= 0:
        raise ShapeError(mirrored(f"torch.histogram(): bins must be > 0, but got {bins} for dimension 0"))
    (counts,) = tallied(Binned(bins, min, max), "histc()", input)
    return counts


@public("isin", replay=True)
def isin(elements: Any, test_elements: Any, *, invert: bool = False) -> Tensor:
    """Whether each element is among the test elements; numbers may stand for either."""
    both = [x if isinstance(x, Tensor) else new(np.asarray(x)) for x in (elements, test_elements)]
    found = is_in(*promoted(*both))
    return rows.logical_not(found) if invert else found
