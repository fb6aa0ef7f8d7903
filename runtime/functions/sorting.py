"""Order along an axis: sort, topk, kthvalue, median, mode, quantile, searchsorted.

Tensors in; functions with two results give a named tuple `(values, indices)`. The permutation is the op's
(`compiler/ops/sort.py`), and values are read with it, so all of them are differentiable. To add one, write it
with `_lined`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.errors import ArgumentError, DtypeError, ShapeError, mirrored
from retrograd.compiler.ops import index as places
from retrograd.compiler.ops import reduce as ops
from retrograd.compiler.ops import shape as moves
from retrograd.compiler.ops import sort as order
from retrograd.compiler.ops.demands import fractions as within
from retrograd.compiler.ops.rows import rows
from retrograd.compiler.ops.sought import search_sorted
from retrograd.runtime.functions.gathering import everywhere, like
from retrograd.runtime.functions.public import axis_of, integer, promoted, public
from retrograd.runtime.functions.reduction import need_elements
from retrograd.runtime.functions.results import pair
from retrograd.runtime.functions.shaping import movedim
from retrograd.runtime.tensor import Tensor


def _lined(input: Tensor, dim: int, name: str) -> tuple[Tensor, int]:
    """The operand and the axis; a 0-d tensor as a vector of one element."""
    axis = axis_of(dim, input.ndim, name)
    return (input if input.ndim else moves.reshape(input, (1,))), axis


@public("sort", method=True, replay=True)
def sort(input: Tensor, dim: int = -1, descending: bool = False, *, stable: bool = True) -> Any:
    """The elements in order along `dim`, and where each came from.

    Always stable; NaN counts as the greatest.
    """
    x, axis = _lined(input, dim, "sort")
    values, indices = order.sort(x, axis, bool(descending))
    return pair("sort", moves.reshape(values, input.shape), moves.reshape(indices, input.shape))


@public("argsort", method=True, replay=True)
def argsort(input: Tensor, dim: int = -1, descending: bool = False, *, stable: bool = True) -> Tensor:
    """The indices that sort along `dim`."""
    x, axis = _lined(input, dim, "argsort")
    return moves.reshape(order.argsort(x, axis, bool(descending)), input.shape)


@public("msort", method=True, replay="values")
def msort(input: Tensor) -> Tensor:
    """The elements in order along the first axis."""
    return sort(input, 0).values


@public("topk", method=True, replay=True)
def topk(input: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Any:
    """The `k` greatest (or least) elements along `dim`, in order, and where they stand."""
    x, axis = _lined(input, dim, "topk")
    count = integer(k, "topk", "k")
    if not 0 <= count <= x.shape[axis]:
        raise ShapeError(
            f"topk(k={count}) of a tensor of shape {list(input.shape)}",
            mirrored("selected index k out of range"),
        )
    values, indices = order.topk(x, count, axis, largest)
    if not input.ndim and count:
        values, indices = moves.reshape(values, ()), moves.reshape(indices, ())
    return pair("topk", values, indices.contiguous())


def _one_of_each(
    name: str, input: Tensor, dim: int, keepdim: bool, choose: Callable[[Tensor, int], tuple[Tensor, Tensor]]
) -> Any:
    """One element of each line along `dim`, and where it stands."""
    x, axis = _lined(input, dim, name)
    need_elements(name.removeprefix("nan"), x, [axis])
    values, indices = choose(x, axis)
    found = values, indices.contiguous()
    if keepdim and input.ndim:
        return pair(name, *(moves.unsqueeze(each, [axis]) for each in found))
    return pair(name, *found)


@public("kthvalue", method=True, replay=True)
def kthvalue(input: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> Any:
    """The k-th least element along `dim` (from 1), and where it stands."""
    return _one_of_each("kthvalue", input, dim, keepdim, lambda x, axis: order.kthvalue(x, k, axis))


@public("mode", method=True, replay=True)
def mode(input: Tensor, dim: int = -1, keepdim: bool = False) -> Any:
    """The most frequent element along `dim`, the least of several, and where it stands last."""
    return _one_of_each("mode", input, dim, keepdim, order.mode)


def _median(name: str, ignore_nan: bool) -> Callable[..., Any]:
    @public(name, method=True, replay=True)
    def median(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
        if dim is None and not input.numel():
            return like(float("nan"), input)
        if input.dtype is dtypes.bool_:
            kernel = "median_cpu" if dim is None else "median_out"
            raise DtypeError(mirrored(f"\"{kernel}\" not implemented for 'Bool'"))
        if dim is None:
            return order.middle(moves.reshape(input, (input.numel(),)), ignore_nan)
        return _one_of_each(name, input, dim, keepdim, lambda x, axis: order.median(x, axis, ignore_nan))

    median.__doc__ = "The middle element, the lower of two; with `dim` the pair `(values, indices)`. " + (
        "NaN are left out." if ignore_nan else "NaN if there is one."
    )
    return median


median = _median("median", ignore_nan=False)
nanmedian = _median("nanmedian", ignore_nan=True)


# ---- between the elements ----------------------------------------------------------------------------------

_INTERPOLATIONS = ("linear", "lower", "higher", "nearest", "midpoint")


@public("quantile", method=True, replay=True)
def quantile(
    input: Tensor, q: Any, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear"
) -> Tensor:
    """The elements at the fractions `q` (a number, or a vector: then along a new first axis) of the order
    along `dim`.

    NaN where there is one. Between two elements, as `interpolation` says.
    """
    if not input.dtype.is_floating_point:
        raise DtypeError(
            f"quantile of {input.dtype}",
            mirrored("quantile() input tensor must be either float or double dtype"),
            "cast it",
        )
    if interpolation not in _INTERPOLATIONS:
        raise ArgumentError(
            f"quantile(interpolation={interpolation!r})",
            f"quantile() interpolation must be one of {', '.join(_INTERPOLATIONS)}, but got {interpolation}",
        )
    fractions = q if isinstance(q, Tensor) else everywhere(q, input, np.shape(q))
    if fractions.ndim > 1:
        raise ShapeError(mirrored("quantile() q must be a scalar or 1D tensor"))
    if fractions.dtype is not input.dtype:
        raise ShapeError(mirrored("quantile() q tensor must be same dtype as the input tensor"))
    if isinstance(q, Tensor):
        fractions = within(fractions)
    elif ((np.asarray(q) < 0) | (np.asarray(q) > 1)).any():
        raise ShapeError(mirrored(f"quantile() q must be in the range [0, 1] but got {q:g}"))
    x, axis = _lined(
        input if dim is not None else moves.reshape(input, (input.numel(),)), dim or 0, "quantile"
    )
    if not x.shape[axis]:
        raise ShapeError(mirrored("quantile() input tensor must be non-empty"))
    found = _at_fractions(movedim(x, axis, 0), fractions, interpolation)
    if not keepdim:
        return found if input.ndim else moves.reshape(found, fractions.shape)
    kept = [1 if dim is None or k == axis else size for k, size in enumerate(input.shape)]
    return moves.reshape(found, (*fractions.shape, *kept))


def _at_fractions(x: Tensor, fractions: Tensor, interpolation: str) -> Tensor:
    """Along axis 0; the axis of the fractions, if there is one, takes its place."""
    ordered, _ = order.sort(x, 0)
    place = fractions * like(x.shape[0] - 1, x)
    if interpolation == "nearest":
        place = rows.round(place)
    low, high = (
        places.take(ordered, moves.cast(to_whole(place), dtypes.int64), 0)
        for to_whole in (rows.floor, rows.ceil)
    )
    weight = {"lower": like(0, x), "higher": like(1, x), "midpoint": like(0.5, x)}.get(interpolation)
    if weight is None:
        weight = moves.unsqueeze(
            place - rows.floor(place), range(fractions.ndim, fractions.ndim + x.ndim - 1)
        )
    missing = ops.any_(rows.isnan(x), (0,))
    result: Tensor = rows.where(missing, like(float("nan"), x), rows.lerp(low, high, weight))
    return result


@public("nanquantile", method=True, replay=True)
def nanquantile(input: Tensor, q: float, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """`quantile` (linear, of one fraction) of the elements that are not NaN."""
    x, axis = _lined(
        input if dim is not None else moves.reshape(input, (input.numel(),)), dim or 0, "nanquantile"
    )
    ordered, _ = order.sort(x, axis)
    numbers = ops.sum_(moves.cast(rows.logical_not(rows.isnan(x)), x.dtype), (axis,))
    place = moves.unsqueeze((numbers - like(1, x)) * like(q, x), [axis])
    at = rows.maximum(place, like(0, x))
    low, high = (
        places.take_along(ordered, moves.cast(to_whole(at), dtypes.int64), axis)
        for to_whole in (rows.floor, rows.ceil)
    )
    found = rows.where(
        rows.lt(place, like(0, x)), like(float("nan"), x), rows.lerp(low, high, at - rows.floor(at))
    )
    if keepdim:
        return (
            moves.reshape(found, [1] * input.ndim)
            if dim is None
            else moves.reshape(found, _kept(input, axis))
        )
    return moves.squeeze(found, [axis])


def _kept(input: Tensor, axis: int) -> list[int]:
    return [1 if k == axis else size for k, size in enumerate(input.shape)]


# ---- where values would stand ------------------------------------------------------------------------------


@public("searchsorted", replay=True)
def searchsorted(
    sorted_sequence: Tensor,
    input: Any,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
) -> Tensor:
    """How many elements of the last axis of `sorted_sequence` lie below each value; with `right`, not above
    it.

    Values are tensors or numbers; a sequence with more axes has its own values in each line.
    """
    if side not in (None, "left", "right"):
        raise ArgumentError(
            f"searchsorted(side={side!r})", "torch.searchsorted(): side can only be 'left' or 'right'"
        )
    if right and side == "left":
        raise ArgumentError(
            mirrored(
                "torch.searchsorted(): side and right can't be set to opposites, got side of left while "
                "right was True"
            )
        )
    sequence = sorted_sequence
    values = input if isinstance(input, Tensor) else like(input, sequence)
    many = sequence.ndim > 1
    if many and (values.ndim != sequence.ndim or values.shape[:-1] != sequence.shape[:-1]):
        raise ShapeError(
            f"searchsorted of {list(values.shape)} in {list(sequence.shape)}",
            mirrored(
                "torch.searchsorted(): boundaries tensor should be 1 dimension or the first N-1 dimensions "
                "of boundaries tensor and input value tensor must match, but we got boundaries tensor "
                f"{list(sequence.shape)} and input value tensor {list(values.shape)}"
            ),
        )
    kind = dtypes.int32 if out_int32 else dtypes.int64
    ordered, sought = promoted(sequence, values)
    return search_sorted(ordered, sought, right or side == "right", kind)


@public("bucketize", replay=True)
def bucketize(input: Any, boundaries: Tensor, *, out_int32: bool = False, right: bool = False) -> Tensor:
    """`searchsorted` in a vector of boundaries, its operands the other way round."""
    return searchsorted(boundaries, input, out_int32=out_int32, right=right)
