"""Reductions over slices that an index or lengths put together: `index_reduce`, `segment_reduce`.

Tensors in, tensors out, by `scatter_reduce`. To add a reduction, add it there.
"""

from __future__ import annotations

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.errors import ArgumentError, NotWrittenError, ShapeError, mirrored
from retrograd.compiler.ops import shape as moves
from retrograd.compiler.ops.demands import lengths as lengths_of
from retrograd.compiler.ops.demands import places as within
from retrograd.compiler.ops.reduce import sum_
from retrograd.compiler.ops.rows import rows
from retrograd.compiler.ops.scan import cumsum
from retrograd.runtime.functions.gathering import as_index, everywhere, scatter_reduce
from retrograd.runtime.functions.public import axis_of, public
from retrograd.runtime.names import bare_legacy_name
from retrograd.runtime.tensor import Tensor, new


@public("index_reduce", method=True, inplace=True, replay=True)
def index_reduce(
    input: Tensor, dim: int, index: Tensor, source: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """The input with the slices of `source` combined into those at these indices along `dim`, by "prod",
    "mean", "amax" or "amin"; without `include_self`, in their place."""
    if reduce not in ("prod", "mean", "amax", "amin"):
        text = f"index_reduce(): Expected reduce to be one of prod, mean, amax or amin but got {reduce}."
        raise ArgumentError(mirrored(text))
    axis = axis_of(dim, input.ndim, "index_reduce")
    place = as_index(index, "index_reduce")
    if source.ndim != input.ndim or _others(source, axis) != _others(input, axis):
        raise ShapeError(
            mirrored(
                "source tensor shape must match self tensor shape, excluding the specified dimension. Got "
                f"self.shape = {list(input.shape)} source.shape = {list(source.shape)}"
            )
        )
    count = source.shape[axis] if source.ndim else 1
    if index.numel() != count:
        raise ShapeError(
            mirrored(
                f"index_reduce_(): Number of indices ({index.numel()}) should be equal to source.size(dim): "
                f"({count}), for dim: {axis}"
            )
        )
    place = within(place, "rows", axis, _along(input, axis))
    spread = [index.numel() if k == axis else 1 for k in range(source.ndim)]
    where = moves.expand(moves.reshape(place, spread), source.shape)
    return scatter_reduce(input, dim, where, source, reduce, include_self=include_self)


def _others(x: Tensor, axis: int) -> list[int]:
    return [size for k, size in enumerate(x.shape) if k != axis]


def _along(x: Tensor, axis: int) -> int:
    return x.shape[axis] if x.ndim else 1


_START = {"sum": 0.0, "mean": 0.0, "prod": 1.0, "max": -np.inf, "min": np.inf}
"""What an empty segment gives; of a mean it is NaN, unless there is an `initial` value."""
_NAMES = {"max": "amax", "min": "amin"}


@public("segment_reduce", replay=True)
def segment_reduce(
    data: Tensor, reduce: str, *, lengths: Tensor | None = None, indices: Tensor | None = None,
    offsets: Tensor | None = None, axis: int = 0, unsafe: bool = False, initial: float | None = None,
) -> Tensor:  # fmt: skip
    """Each segment along `axis` reduced by "sum", "mean", "max", "min" or "prod". Segments follow one
    another; the last axis of `lengths` has how long they are, or that of `offsets` where they begin and end.
    """
    if reduce not in _START:
        text = f"reduce argument must be either sum, prod, mean, amax or amin, got {reduce}"
        raise ArgumentError(mirrored(text))
    ends = lengths if lengths is not None else offsets
    if ends is None:
        raise ArgumentError(mirrored("segment_reduce(): Either lengths or offsets must be defined."))
    place = axis_of(axis, data.ndim, "segment_reduce")
    if place != ends.ndim - 1:
        text = f"segment_reduce(): Expected axis to be the last dimension of lengths but got {axis}."
        raise ShapeError(mirrored(text))
    whole = data.shape[place]
    if lengths is None:
        count = ends.shape[-1]
        sizes = moves.narrow(ends, place, 1, count) - moves.narrow(ends, place, 0, count - 1)
    else:
        sizes = ends
    if not unsafe:
        sizes = lengths_of(sizes, whole)
    if data.dtype.itemsize < 4 or not data.is_floating_point():
        kind = bare_legacy_name(data.dtype)
        raise NotWrittenError(mirrored(f"\"_segment_reduce_cpu\" not implemented for '{kind}'"))
    count = sizes.shape[-1]
    where = _segments(sizes, whole)
    index = moves.expand(moves.reshape(where, (*where.shape, *[1] * (data.ndim - where.ndim))), data.shape)
    shape = (*data.shape[:place], count + 1, *data.shape[place + 1 :])
    start = everywhere(_START[reduce] if initial is None else initial, data, shape)
    found = scatter_reduce(
        start, place, index, data, "sum" if reduce == "mean" else _NAMES.get(reduce, reduce)
    )
    found = moves.narrow(found, place, 0, count)
    if reduce != "mean":
        return found.contiguous()
    spread = (*sizes.shape, *[1] * (data.ndim - sizes.ndim))
    many = moves.reshape(moves.cast(sizes, data.dtype), spread)
    empty = found if initial is not None else everywhere(np.nan, data, found.shape)
    share: Tensor = rows.where(rows.eq(many, 0.0), empty, found / rows.maximum(many, 1.0))
    return share


def _segments(sizes: Tensor, whole: int) -> Tensor:
    """Which segment each element belongs to; one more than there are, if to none."""
    ends = moves.unsqueeze(cumsum(sizes, sizes.ndim - 1), [sizes.ndim])
    wide = (*sizes.shape, whole)
    places = new(np.arange(whole), sizes)
    ended = rows.ge(moves.expand(places, wide), moves.expand(ends, wide))
    return sum_(moves.cast(ended, dtypes.int64), [sizes.ndim - 1])
