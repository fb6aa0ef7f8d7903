"""Embeddings: rows of a weight by index, one by one (`embedding`) or a sum, mean or maximum of several
(`embedding_bag`).

In flow whole numbers of any shape and a weight `[rows, columns]`. The two share their options: a row
`padding_idx` without gradient, gradients divided by how often a row is read (`scale_grad_by_freq`), and rows
held to a norm before they are read, in place (`max_norm`).
"""

from __future__ import annotations

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.errors import (
    ArgumentError,
    DtypeError,
    NotWrittenError,
    RequirementError,
    ShapeError,
    mirrored,
)
from retrograd.compiler.ops import index as places
from retrograd.compiler.ops import reduce
from retrograd.compiler.ops import shape as moves
from retrograd.compiler.ops.demands import places as within
from retrograd.compiler.ops.iota import iota_like
from retrograd.compiler.ops.rows import rows
from retrograd.compiler.ops.withheld import withheld
from retrograd.runtime.eager.inplace import assign
from retrograd.runtime.functions.gathering import as_index
from retrograd.runtime.functions.public import checkable, functional
from retrograd.runtime.functions.sorting import searchsorted
from retrograd.runtime.functions.statistics import norm
from retrograd.runtime.modes import no_grad
from retrograd.runtime.names import legacy_name
from retrograd.runtime.tensor import Tensor, new


@functional("embedding", top=True, replay=True)
def embedding(
    input: Tensor, weight: Tensor, padding_idx: int | None = None, max_norm: float | None = None,
    norm_type: float = 2.0, scale_grad_by_freq: bool = False, sparse: bool = False,
) -> Tensor:  # fmt: skip
    """The rows of `weight` at the indices; the row `padding_idx` has no gradient."""
    if weight.ndim != 2:
        raise ShapeError(
            f"embedding of a weight of shape {list(weight.shape)}", mirrored("'weight' must be 2-D")
        )
    index = within(_index(input, "embedding", "indices"), "rows", 0, weight.shape[0])
    _hold(weight, index, max_norm, norm_type)
    found = _rows(weight, index, scale_grad_by_freq)
    if padding_idx is None:
        return found
    padding = rows.eq(index, _padding(padding_idx, weight, "embedding"))
    return withheld(found, moves.unsqueeze(padding, [index.ndim]))


def _index(index: Tensor, name: str, argument: str) -> Tensor:
    if index.dtype not in (dtypes.int64, dtypes.int32):
        raise DtypeError(
            mirrored(
                f"Expected tensor for argument #1 '{argument}' to have one of the following scalar types: "
                f"Long, Int; but got {legacy_name(index.dtype)} instead (while checking arguments for {name})"
            )
        )
    return as_index(index, name)


def _padding(padding_idx: int, weight: Tensor, name: str) -> int:
    count = weight.shape[0]
    if not -count <= padding_idx < count:
        if name == "embedding":
            raise RequirementError(mirrored("Padding_idx must be within num_embeddings"))
        raise ArgumentError(
            f"{name}(padding_idx={padding_idx})",
            "padding_idx must be within the number of embeddings; Padding_idx must be within num_embeddings",
        )
    return padding_idx % count


def _hold(weight: Tensor, index: Tensor, max_norm: float | None, norm_type: float) -> None:
    """Scale down, in place, those of the rows that are read whose norm is above `max_norm`."""
    if max_norm is None:
        return
    with no_grad():
        size = norm(weight.detach(), norm_type, 1, True)
        long = rows.logical_and(rows.gt(size, max_norm), rows.gt(times_read(weight, index), 0.0))
        assign(weight, rows.where(long, weight.detach() * (max_norm / (size + 1e-7)), weight.detach()))


def times_read(weight: Tensor, index: Tensor) -> Tensor:
    """How often each row is read: `[rows, 1]`."""
    ones = moves.cast(moves.unsqueeze(rows.eq(index, index), [index.ndim]), weight.dtype)
    return places.put_add(ones, index, 0, weight.shape[0])


def _rows(weight: Tensor, index: Tensor, by_frequency: bool) -> Tensor:
    """The rows; `by_frequency` divides their gradients by how often each is read."""
    found = places.take(weight, index, 0)
    if not by_frequency:
        return found
    share = 1.0 / places.take(times_read(weight.detach(), index), index, 0)
    return found.detach() + (found - found.detach()) * share


@functional("embedding_bag", shown="EmbeddingBagBackward0", replay=True)
def embedding_bag(
    input: Tensor, weight: Tensor, offsets: Tensor | None = None, max_norm: float | None = None,
    norm_type: float = 2, scale_grad_by_freq: bool = False, mode: str = "mean", sparse: bool = False,
    per_sample_weights: Tensor | None = None, include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:  # fmt: skip
    """The sums, means or maxima of rows in bags: each row of a 2-d input is a bag, or a bag of a 1-d input
    begins at each of `offsets`. The row `padding_idx` does not count; an empty bag is zero.
    """
    input, weight = _in_order(input, weight)
    if per_sample_weights is not None and per_sample_weights.shape != input.shape:
        raise ArgumentError(
            mirrored(
                f"embedding_bag: If per_sample_weights ({per_sample_weights.shape}) is not None, then it "
                f"must have the same shape as the input ({input.shape})"
            )
        )
    if mode not in ("sum", "mean", "max"):
        raise ArgumentError(mirrored("mode has to be one of sum, mean or max"))
    if mode == "max" and scale_grad_by_freq:
        raise ArgumentError(mirrored("max mode does not support scaling the gradient by the frequency"))
    if mode != "sum" and per_sample_weights is not None:
        raise NotWrittenError(
            mirrored(
                "embedding_bag: per_sample_weights was not None. per_sample_weights is only supported for "
                f"mode='sum' (got mode='{mode}'). Please open a feature request on GitHub."
            )
        )
    index = moves.reshape(_index(input, "embedding_bag", "indices"), (input.numel(),))
    index = within(index, "bags", 0, weight.shape[0])
    bag, count = bags(input, offsets, include_last_offset)
    _hold(weight, index, max_norm, norm_type)
    found = _rows(weight, index, scale_grad_by_freq)
    kept = None if padding_idx is None else rows.ne(index, _padding(padding_idx, weight, "embedding_bag"))
    if per_sample_weights is not None:
        found = found * moves.reshape(per_sample_weights, (input.numel(), 1))
    return _gathered(found, kept, bag, count, mode)


def _in_order(input: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Index and weight, also where they are given the other way round, as they were long ago."""
    return (
        (weight, input) if input.is_floating_point() and not weight.is_floating_point() else (input, weight)
    )


def bags(input: Tensor, offsets: Tensor | None, ended: bool) -> tuple[Tensor, int]:
    """In which bag each index is, and how many bags there are."""
    if input.ndim == 2:
        if offsets is not None:
            raise ArgumentError(
                mirrored(
                    "if input is 2D, then offsets has to be None, as input is treated is a mini-batch of "
                    f"fixed length sequences. However, found offsets of type {_TENSOR}"
                )
            )
        return moves.reshape(iota_like(input, 0), (input.numel(),)), input.shape[0]
    if input.ndim != 1:
        raise ArgumentError(
            mirrored(f"input has to be 1D or 2D Tensor, but got Tensor of dimension {input.ndim}")
        )
    if offsets is None:
        raise ArgumentError(mirrored("offsets has to be a 1D Tensor but got None"))
    if offsets.ndim != 1:
        raise ArgumentError(mirrored("offsets has to be a 1D Tensor"))
    _check_offsets(offsets, input.shape[0])
    starts = moves.narrow(offsets, 0, 0, offsets.shape[0] - 1) if ended else offsets
    return searchsorted(starts, iota_like(input, 0), right=True) - 1, starts.shape[0]


_TENSOR = "<class 'torch.Tensor'>"


def _check_offsets(offsets: Tensor, length: int) -> None:
    array = checkable(offsets)
    if array is None or not array.size:
        return
    if array[0] != 0:
        raise ShapeError(
            mirrored(
                "offsets[0] has to be 0, i.e., the first sequence in the mini-batch has to start from "
                f"position 0. However, got {array[0]}"
            )
        )
    if array[-1] > length:
        raise ShapeError(
            mirrored(
                f"offsets[-1] can not be greater than input's length {length} but got offsets[-1] of "
                f"{array[-1]}"
            )
        )


def _gathered(found: Tensor, kept: Tensor | None, bag: Tensor, count: int, mode: str) -> Tensor:
    """The rows of each bag together."""
    if mode == "max":
        return _greatest(found, kept, bag, count)
    if kept is not None:
        found = rows.where(moves.unsqueeze(kept, [1]), found, 0.0)
    total = places.put_add(found, bag, 0, count)
    if mode == "sum":
        return total
    each = rows.eq(bag, bag) if kept is None else kept
    members = places.put_add(moves.unsqueeze(moves.cast(each, found.dtype), [1]), bag, 0, count)
    return total / rows.maximum(members, 1.0)


def _greatest(found: Tensor, kept: Tensor | None, bag: Tensor, count: int) -> Tensor:
    """The greatest of each bag and column, of equal ones the first, which alone has a gradient."""
    shown = found.detach()
    if kept is not None:
        shown = rows.where(moves.unsqueeze(kept, [1]), shown, float("-inf"))
    length, width = found.shape
    member = moves.unsqueeze(rows.eq(moves.unsqueeze(bag, [0]), _counting(bag, count)), [2])
    table = rows.where(member, moves.unsqueeze(shown, [0]), float("-inf"))
    if kept is None:
        anything = reduce.any_(member, (1,))
    else:
        anything = reduce.any_(rows.logical_and(member, moves.reshape(kept, (1, length, 1))), (1,))
    if not length:
        return moves.expand(new(np.zeros((), found.dtype.numpy), found), (count, width))
    first = table.argmax(1)
    return rows.where(anything, places.take_along(found, first, 0), 0.0)


def _counting(like: Tensor, count: int) -> Tensor:
    """0, 1, 2, … as a column."""
    return moves.unsqueeze(iota_like(moves.expand(moves.narrow(like, 0, 0, 1), (count,)), 0), [1])
