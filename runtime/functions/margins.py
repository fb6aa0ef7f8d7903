"""Losses with a margin, as `nn.functional` has them: what is further apart than the margin costs nothing.

Written with elementwise functions and `loss.reduced`; those against classes are ops (`ops/margins.py`).
"""

from __future__ import annotations

from typing import Any

from retrograd.compiler import dtypes
from retrograd.compiler.errors import ArgumentError, DtypeError, ShapeError, mirrored
from retrograd.compiler.ir.graph import apply
from retrograd.compiler.ops.margins import MultilabelMarginLoss, MultiMarginLoss
from retrograd.runtime.functions.loss import Old, reduced, reduction_of
from retrograd.runtime.functions.public import FUNCTIONAL, functional
from retrograd.runtime.functions.rows import APPLY
from retrograd.runtime.functions.statistics import cosine_similarity, norm
from retrograd.runtime.names import bare_legacy_name
from retrograd.runtime.tensor import Tensor

where, clamp_min = APPLY["where"], APPLY["clamp_min"]


@functional("hinge_embedding_loss", top=True, replay=True)
def hinge_embedding_loss(
    input: Tensor, target: Tensor, margin: float = 1.0, size_average: Old = None, reduce: Old = None,
    reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """`input` where the target is 1, `max(0, margin - input)` where it is -1."""
    reduction = reduction_of(size_average, reduce, reduction)
    far = where(APPLY["eq"](target, 1), 0.0, clamp_min(margin - input, 0.0))
    near = where(APPLY["eq"](target, -1), 0.0, input)
    return reduced(far + near, reduction)


@functional("margin_ranking_loss", top=True, replay=True)
def margin_ranking_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0.0, size_average: Old = None, reduce:
    Old = None, reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """`max(0, margin - target · (input1 - input2))`"""
    reduction = reduction_of(size_average, reduce, reduction)
    return reduced(clamp_min(margin - target * (input1 - input2), 0.0), reduction)


def _check_classes(target: Tensor) -> None:
    if target.dtype is not dtypes.int64:
        raise DtypeError(mirrored(f"expected scalar type Long but found {bare_legacy_name(target.dtype)}"))


@functional("multi_margin_loss", replay=True)
def multi_margin_loss(
    input: Tensor, target: Tensor, p: int = 1, margin: float = 1.0, weight: Tensor | None = None,
    size_average: Old = None, reduce: Old = None, reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """`max(0, margin - x[target] + x[k]) ** p` over the other classes k, divided by the number of classes."""
    reduction = reduction_of(size_average, reduce, reduction)
    if p not in (1, 2):
        raise ArgumentError(mirrored("only p == 1 and p == 2 supported"))
    _check_classes(target)
    weights = () if weight is None else (weight,)
    for each in weights:
        if each.dtype is not input.dtype:
            known, given = bare_legacy_name(input.dtype), bare_legacy_name(each.dtype)
            raise DtypeError(mirrored(f"expected scalar type {known} but found {given}"))
    found: Tensor = apply(MultiMarginLoss(reduction, int(p), float(margin)), input, target, *weights)
    return found


@functional("cosine_embedding_loss", top=True, replay=True)
def cosine_embedding_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0.0, size_average: Old = None, reduce:
    Old = None, reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """`1 - cos` where the target is 1, `max(0, cos - margin)` where it is -1."""
    reduction = reduction_of(size_average, reduce, reduction)
    cosine = cosine_similarity(input1, input2, -1)
    near = where(APPLY["eq"](target, 1), 1.0 - cosine, 0.0)
    far = where(APPLY["eq"](target, -1), clamp_min(cosine - margin, 0.0), 0.0)
    return reduced(near + far, reduction)


@functional("triplet_margin_with_distance_loss")
def triplet_margin_with_distance_loss(
    anchor: Tensor, positive: Tensor, negative: Tensor, *, distance_function: Any = None, margin: float = 1.0,
    swap: bool = False, reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """`triplet_margin_loss` with a distance of one's own; without, `pairwise_distance`."""
    apart = FUNCTIONAL["pairwise_distance"] if distance_function is None else distance_function
    near, far = apart(anchor, positive), apart(anchor, negative)
    if swap:
        far = APPLY["minimum"](far, apart(positive, negative))
    return reduced(clamp_min(margin + near - far, 0.0), reduction)


@functional("triplet_margin_loss", top=True, replay=True)
def triplet_margin_loss(
    anchor: Tensor, positive: Tensor, negative: Tensor, margin: float = 1.0, p: float = 2, eps: float =
    1e-6, swap: bool = False, size_average: Old = None, reduce: Old = None, reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """`max(0, margin + |anchor - positive| - |anchor - negative|)`.

    `swap` takes the nearer of the two negatives.
    """
    reduction = reduction_of(size_average, reduce, reduction)
    near, far = norm(anchor - positive + eps, p, -1), norm(anchor - negative + eps, p, -1)
    if swap:
        far = APPLY["minimum"](far, norm(positive - negative + eps, p, -1))
    return reduced(clamp_min(margin + near - far, 0.0), reduction)


@functional("multilabel_margin_loss", shown="MultilabelMarginLossBackward0", replay=True)
def multilabel_margin_loss(
    input: Tensor, target: Tensor, size_average: Old = None, reduce: Old = None, reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """`max(0, 1 - (x[k] - x[j]))` over the target's classes k, up to its first -1, and all other classes j;
    over the number of classes.
    """
    reduction = reduction_of(size_average, reduce, reduction)
    if target.shape != input.shape:
        raise ShapeError(
            mirrored(f"inconsistent target size: {list(target.shape)} for input of size: {list(input.shape)}")
        )
    _check_classes(target)
    found: Tensor = apply(MultilabelMarginLoss(reduction), input, target)
    return found
