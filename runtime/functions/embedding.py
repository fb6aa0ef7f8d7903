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
from retrograd.compiler.ops import bags
from retrograd.compiler.ops import index as places
from retrograd.compiler.ops import shape as moves
from retrograd.compiler.ops.demands import places as within
from retrograd.compiler.ops.rows import rows
from retrograd.runtime.eager.inplace import assign
from retrograd.runtime.functions.gathering import as_index
from retrograd.runtime.functions.public import functional
from retrograd.runtime.functions.statistics import norm
from retrograd.runtime.modes import no_grad
from retrograd.runtime.names import legacy_name
from retrograd.runtime.tensor import Tensor, new


@functional("embedding", top=True, replay="results and updates")
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
    hold(weight, index, max_norm, norm_type)
    return bags.embedding(weight, index, _padding(padding_idx, weight, "embedding"), scale_grad_by_freq)


def _index(index: Tensor, name: str, argument: str) -> Tensor:
    if index.dtype not in (dtypes.int64, dtypes.int32):
        raise DtypeError(
            mirrored(
                f"Expected tensor for argument #1 '{argument}' to have one of the following scalar types: "
                f"Long, Int; but got {legacy_name(index.dtype)} instead (while checking arguments for {name})"
            )
        )
    return as_index(index, name)


def _padding(padding_idx: int | None, weight: Tensor, name: str) -> int:
    if padding_idx is None:
        return bags.NONE
    count = weight.shape[0]
    if not -count <= padding_idx < count:
        if name == "embedding":
            raise RequirementError(mirrored("Padding_idx must be within num_embeddings"))
        raise ArgumentError(
            f"{name}(padding_idx={padding_idx})",
            "padding_idx must be within the number of embeddings; Padding_idx must be within num_embeddings",
        )
    return padding_idx % count


def hold(weight: Tensor, index: Tensor, max_norm: float | None, norm_type: float) -> None:
    """Scale down, in place, those of the rows that are read whose norm is above `max_norm`. A row that is
    read twice is written twice, the same."""
    if max_norm is None:
        return
    with no_grad():
        flat = moves.reshape(index, (index.numel(),))
        found = places.take(weight, flat, 0)
        size = norm(found, norm_type, 1, True)
        held = rows.where(rows.gt(size, max_norm), found * (max_norm / (size + 1e-7)), found)
        assign(weight, places.put(weight, flat, held))


@functional("embedding_bag", shown="EmbeddingBagBackward0", replay="results and updates")
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
    index = moves.cast(index, dtypes.int64)
    starts = starts_of(input, offsets, include_last_offset)
    hold(weight, index, max_norm, norm_type)
    padding = _padding(padding_idx, weight, "embedding_bag")
    if mode == "max":
        return bags.bag_max(weight, index, starts, padding)
    scales = [] if per_sample_weights is None else [moves.reshape(per_sample_weights, (input.numel(),))]
    mean, shared = mode == "mean", scale_grad_by_freq
    return bags.bag_sum(weight, index, starts, *scales, padding=padding, mean=mean, shared=shared)


def _in_order(input: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Index and weight, also where they are given the other way round, as they were long ago."""
    return (
        (weight, input) if input.is_floating_point() and not weight.is_floating_point() else (input, weight)
    )


def starts_of(input: Tensor, offsets: Tensor | None, ended: bool) -> Tensor:
    """Where among the indices each bag starts."""
    if input.ndim == 2:
        if offsets is not None:
            raise ArgumentError(
                mirrored(
                    "if input is 2D, then offsets has to be None, as input is treated is a mini-batch of "
                    f"fixed length sequences. However, found offsets of type {_TENSOR}"
                )
            )
        return new(np.arange(input.shape[0]) * input.shape[1], input)
    if input.ndim != 1:
        raise ArgumentError(
            mirrored(f"input has to be 1D or 2D Tensor, but got Tensor of dimension {input.ndim}")
        )
    if offsets is None:
        raise ArgumentError(mirrored("offsets has to be a 1D Tensor but got None"))
    if offsets.ndim != 1:
        raise ArgumentError(mirrored("offsets has to be a 1D Tensor"))
    starts = moves.narrow(offsets, 0, 0, offsets.shape[0] - 1) if ended else offsets
    return moves.cast(starts, dtypes.int64)


_TENSOR = "<class 'torch.Tensor'>"
