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
from retrograd.runtime.eager.selection import select
from retrograd.runtime.eager.underived import refused
from retrograd.runtime.functions.public import axis_of, public
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
    axis = None if dim is None else axis_of(dim, input.ndim, "unique")
    values, inverse, counts = np.unique(
        array, return_inverse=True, return_counts=True, axis=axis, equal_nan=False
    )
    inverse = inverse.reshape(array.shape if axis is None else -1)
    words = "_unique2" if dim is None else "unique_dim"
    return _distinct(input, words, values, inverse, counts, return_inverse, return_counts)


@public("unique_consecutive", method=True)
def unique_consecutive(
    input: Tensor, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> Any:
    """The elements, or slices along `dim`, that differ from the one before them."""
    array = input.read("unique_consecutive()")
    lines = array.reshape(-1, 1) if dim is None else np.moveaxis(array, axis_of(dim, input.ndim, "unique"), 0)
    flat = lines.reshape(len(lines), -1)
    starts = np.ones(len(flat), bool)
    starts[1:] = (flat[1:] != flat[:-1]).any(1)
    inverse = np.cumsum(starts) - 1
    counts = np.bincount(inverse, minlength=int(starts.sum()))
    kept = lines[starts]
    values = kept.reshape(-1) if dim is None else np.moveaxis(kept, 0, axis_of(dim, input.ndim, "unique"))
    inverse = inverse.reshape(array.shape if dim is None else -1)
    words = "unique_consecutive"
    return _distinct(input, words, values, inverse, counts, return_inverse, return_counts)


def _distinct(
    like: Tensor, words: str, values: Array, inverse: Array, counts: Array, with_inverse: bool,
    with_counts: bool,
) -> Any:  # fmt: skip
    """The results of PyTorch's function of these words."""
    shown = f"{''.join(part.capitalize() for part in words.split('_'))}Backward0"
    found = [refused(new(np.ascontiguousarray(values), like), (like,), shown, words)]
    found += [new(inverse.astype(np.int64), like)] * with_inverse
    found += [new(counts.astype(np.int64), like)] * with_counts
    return tuple(found) if len(found) > 1 else found[0]


@public("bincount", method=True)
def bincount(input: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """How often each of 0, 1, 2, … occurs in a vector, or the sum of the weights where it does."""
    array = input.read("bincount()")
    if array.ndim != 1 or array.dtype.kind not in "iu" or (array < 0).any():
        raise ShapeError(
            f"bincount of a tensor of {input.dtype} and shape {list(input.shape)}",
            mirrored("bincount only supports 1-d non-negative integral inputs."),
        )
    if weights is None:
        return new(np.bincount(array, minlength=minlength).astype(np.int64), input)
    if weights.shape != input.shape:
        raise ShapeError("bincount()", "weights should be 1-d and have the same length as input")
    kind = weights.dtype.numpy if weights.dtype.is_floating_point else np.float64
    return new(np.bincount(array, weights.read("bincount()"), minlength).astype(kind), input)


@public("histc", method=True)
def histc(input: Tensor, bins: int = 100, min: float = 0, max: float = 0) -> Tensor:
    """How many elements lie in each of `bins` equal intervals from `min` to `max`, or over the range of
    the elements.
    """
    array = input.read("histc()")
    if bins <= 0:
        raise ShapeError(f"histc(bins={bins})", "bins must be > 0")
    low, high = (array.min(), array.max()) if min == max == 0 and array.size else (min, max)
    if low > high:
        raise ShapeError(f"histc(min={min}, max={max})", "max must be larger than min")
    if low == high:
        low, high = low - 1, high + 1
    return new(np.histogram(array, bins, (low, high))[0].astype(array.dtype), input)


@public("isin")
def isin(elements: Any, test_elements: Any, *, invert: bool = False) -> Tensor:
    """Whether each element is among the test elements; numbers may stand for either."""
    left, right = (
        x.read("isin()") if isinstance(x, Tensor) else np.asarray(x) for x in (elements, test_elements)
    )
    like = elements if isinstance(elements, Tensor) else test_elements
    return new(np.asarray(np.isin(left, right, invert=invert)), like if isinstance(like, Tensor) else None)
