"""Losses, as `nn.functional` has them: predictions and targets in, their reduction ("mean", "sum" or "none")
out.

Formulas and derivatives are the composite ops' (`losses`, `cross_entropy`); the rarer losses are written here
with elementwise functions and `reduced`, those with a margin in `margins`. To add one, do either.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.errors import ArgumentError, DtypeError, ShapeError, mirrored, warn
from retrograd.compiler.ops import alignment, losses
from retrograd.compiler.ops import cross_entropy as classes
from retrograd.compiler.ops import shape as moves
from retrograd.runtime.eager.replay import replayed
from retrograd.runtime.functions.public import functional, known, promoted
from retrograd.runtime.functions.rows import APPLY
from retrograd.runtime.functions.statistics import mean
from retrograd.runtime.names import bare_legacy_name
from retrograd.runtime.tensor import Tensor, new

where, clamp_min, log = APPLY["where"], APPLY["clamp_min"], APPLY["log"]


Old = bool | None
"""What decided the reduction before it had a name of its own."""


def reduction_of(size_average: Old, reduce: Old, reduction: str) -> str:
    """The reduction; the two older arguments still decide it where they are given."""
    if size_average is None and reduce is None:
        return reduction
    average = size_average is None or size_average
    found = "none" if reduce is not None and not reduce else "mean" if average else "sum"
    warn(f"size_average and reduce args will be deprecated, please use reduction='{found}' instead.")
    return found


def reduced(each: Tensor, reduction: str) -> Tensor:
    if reduction not in losses.REDUCTIONS:
        raise ArgumentError(
            f"reduction={reduction!r}", mirrored(f"{reduction} is not a valid value for reduction")
        )
    return each if reduction == "none" else each.sum() if reduction == "sum" else mean(each)


def _alike(input: Tensor, target: Tensor) -> list[Tensor]:
    """Both in their common dtype; PyTorch warns where one would be broadcast."""
    if input.shape != target.shape:
        warn(
            f"Using a target size ({target.shape}) that is different to the input size ({input.shape}). This "
            "will likely lead to incorrect results due to broadcasting. Please ensure they have the same "
            "size."
        )
    return promoted(input, target)


def _weighted(each: Tensor, input: Tensor, weight: Tensor) -> Tensor:
    """Each element's loss times its weight."""
    if weight.shape != input.shape:
        raise ShapeError(mirrored("Weights and input must have the same size."))
    return each * weight


def _averaged(each: Tensor, weight: Tensor, reduction: str) -> Tensor:
    """The reduction, whose mean is by weight."""
    return each.sum() / weight.sum() if reduction == "mean" else reduced(each, reduction)


@functional("mse_loss", replay=True)
def mse_loss(
    input: Tensor, target: Tensor, size_average: Old = None, reduce: Old = None, reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The squared difference."""
    reduction = reduction_of(size_average, reduce, reduction)
    x, y = _alike(input, target)
    if weight is not None:
        return _averaged(_weighted(losses.mse_loss(x, y, "none"), input, weight), weight, reduction)
    return losses.mse_loss(x, y, reduction)


@functional("l1_loss", replay=True)
def l1_loss(
    input: Tensor, target: Tensor, size_average: Old = None, reduce: Old = None, reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The absolute difference."""
    reduction = reduction_of(size_average, reduce, reduction)
    x, y = _alike(input, target)
    if weight is not None:
        return _averaged(_weighted(abs(x - y), input, weight), weight, reduction)
    if not x.dtype.is_floating_point:
        return reduced(abs(x - y), reduction)
    return losses.l1_loss(x, y, reduction)


@functional("smooth_l1_loss", replay=True)
def smooth_l1_loss(
    input: Tensor, target: Tensor, size_average: Old = None, reduce: Old = None, reduction: str = "mean",
    beta: float = 1.0,
) -> Tensor:  # fmt: skip
    """The absolute difference less `beta / 2`, but a parabola within `beta`."""
    reduction = reduction_of(size_average, reduce, reduction)
    x, y = _alike(input, target)
    return losses.smooth_l1_loss(x, y, beta, reduction)


@functional("huber_loss", replay=True)
def huber_loss(
    input: Tensor, target: Tensor, reduction: str = "mean", delta: float = 1.0, weight: Tensor | None = None
) -> Tensor:
    """Half the squared difference, but linear beyond `delta`."""
    x, y = _alike(input, target)
    if weight is not None:
        return reduced(_weighted(losses.huber_loss(x, y, delta, "none"), input, weight), reduction)
    return losses.huber_loss(x, y, delta, reduction)


@functional("kl_div", top=True, replay=True)
def kl_div(
    input: Tensor, target: Tensor, size_average: Old = None, reduce: Old = None, reduction: str = "mean",
    log_target: bool = False,
) -> Tensor:  # fmt: skip
    """`target · (log target - input)`, for an input of log-probabilities.

    "batchmean" divides by the batch's size.
    """
    if reduction == "mean" and size_average is None and reduce is None:
        warn(
            "reduction: 'mean' divides the total loss by both the batch size and the support size."
            "'batchmean' divides only by the batch size, and aligns with the KL div math definition."
            "'mean' will be changed to behave the same as 'batchmean' in the next major release."
        )
    reduction = reduction_of(size_average, reduce, reduction)
    x, y = promoted(input, target)
    return losses.kl_div(x, y, log_target, reduction)


@functional("binary_cross_entropy", replay=True)
def binary_cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None = None, size_average: Old = None, reduce: Old =
    None, reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """`-(y log p + (1 - y) log(1 - p))` for probabilities `p`, with logarithms held above -100."""
    reduction = reduction_of(size_average, reduce, reduction)
    if input.shape != target.shape:
        raise ShapeError(
            f"binary_cross_entropy of shapes {list(input.shape)} and {list(target.shape)}",
            mirrored(
                f"Using a target size ({target.shape}) that is different to the input size "
                f"({input.shape}) is "
                "deprecated. "
                "Please ensure they have the same size."
            ),
        )
    if target.dtype is not input.dtype:
        found, wanted = bare_legacy_name(target.dtype), bare_legacy_name(input.dtype)
        raise DtypeError(mirrored(f"Found dtype {found} but expected {wanted}"))
    return losses.binary_cross_entropy(*_with(input, target, weight), reduction=reduction)


def _with(input: Tensor, target: Tensor, *weights: Tensor | None) -> list[Tensor]:
    return promoted(input, target, *(w for w in weights if w is not None))


@functional("binary_cross_entropy_with_logits", top=True, replay=True)
def binary_cross_entropy_with_logits(
    input: Tensor, target: Tensor, weight: Tensor | None = None, size_average: Old = None, reduce: Old =
    None, reduction: str = "mean", pos_weight: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """`binary_cross_entropy` of the sigmoid, without losing digits.

    `pos_weight` multiplies the term of `y`.
    """
    reduction = reduction_of(size_average, reduce, reduction)
    if input.shape != target.shape:
        raise ShapeError(
            f"binary_cross_entropy_with_logits of shapes {list(input.shape)} and {list(target.shape)}",
            mirrored(f"Target size ({target.shape}) must be the same as input size ({input.shape})"),
        )
    if not target.dtype.is_floating_point:
        result, wanted = (bare_legacy_name(dtype) for dtype in (input.dtype, target.dtype))
        raise DtypeError(
            f"binary_cross_entropy_with_logits with a target of {target.dtype}",
            mirrored(f"result type {result} can't be cast to the desired output type {wanted}"),
            "cast it with .to(input.dtype)",
        )
    x, y, *given = _with(input, target, weight, pos_weight)
    first = None if weight is None else given[0]
    second = None if pos_weight is None else given[-1]
    return moves.cast(losses.binary_cross_entropy_with_logits(x, y, first, second, reduction), target.dtype)


@functional("nll_loss", replay=True)
def nll_loss(
    input: Tensor, target: Tensor, weight: Tensor | None = None, size_average: Old = None, ignore_index:
    int = -100, reduce: Old = None, reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """Minus the log-probability of the target class, `[N, C, …]` and `[N, …]`; `weight` is for each class."""
    reduction = reduction_of(size_average, reduce, reduction)
    target = _classes("nll_loss", input, target)
    extra = () if weight is None else (weight,)
    return classes.nll_loss(input, target, *extra, ignore_index=ignore_index, reduction=reduction)


def _unfit(scores: tuple[int, ...], targets: tuple[int, ...]) -> str:
    """What PyTorch says of targets that do not go with scores of this shape; nothing of others."""
    if len(scores) == 1 and len(targets) == 1 and targets != (1,):
        return f"For 1D input, 1D target must have size 1, but got target size: {targets[0]}"
    count = targets[0] if targets else 0
    if len(scores) > 1 and count != scores[0]:
        return f"Expected input batch_size ({scores[0]}) to match target batch_size ({count})."
    if len(scores) < 3:
        return "0D or 1D target tensor expected, multi-target not supported" if len(targets) > 1 else ""
    if len(scores) == 4 and len(targets) != 3:
        return (
            "only batches of spatial targets supported (3D tensors) but got targets of dimension: "
            f"{len(targets)}"
        )
    wanted = [scores[0], *scores[2:]]
    if len(scores) == 4 and wanted != [*targets]:
        return f"size mismatch (got input: {list(scores)} , target: {list(targets)}"
    return "" if wanted == [*targets] else f"Expected target size {wanted}, got {list(targets)}"


def _classes(name: str, input: Tensor, target: Tensor) -> Tensor:
    """The targets, in a dtype that has room for `ignore_index` too."""
    words = _unfit(tuple(input.shape), tuple(target.shape))
    if words:
        raise ShapeError(mirrored(words), f"{name} of a target of shape {list(target.shape)}")
    if target.dtype not in (dtypes.int64, dtypes.uint8):
        raise DtypeError(
            f"{name} with a target of {target.dtype}",
            mirrored(f"expected target dtype to be Long or Byte, but got {bare_legacy_name(target.dtype)}"),
        )
    return moves.cast(target, dtypes.int64) if target.dtype is dtypes.uint8 else target


@functional("cross_entropy", replay=True)
def cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None = None, size_average: Old = None, ignore_index:
    int = -100, reduce: Old = None, reduction: str = "mean", label_smoothing: float = 0.0,
) -> Tensor:  # fmt: skip
    """Minus the log-softmax of the scores at the target: classes `[N, …]`, or probabilities in the
    input's shape.
    """
    reduction = reduction_of(size_average, reduce, reduction)
    if not target.dtype.is_floating_point or target.shape != input.shape:
        target = _classes("cross_entropy", input, target)
    elif target.dtype is not input.dtype:
        common = dtypes.promote_types(input.dtype, target.dtype)
        input, target = moves.cast(input, common), moves.cast(target, common)
    extra = () if weight is None else (weight,)
    return classes.cross_entropy(
        input, target, *extra, ignore_index=ignore_index, reduction=reduction, smoothing=label_smoothing
    )


# ---- rarer ones --------------------------------------------------------------------------------------------


@functional("poisson_nll_loss", top=True, replay=True)
def poisson_nll_loss(
    input: Tensor, target: Tensor, log_input: bool = True, full: bool = False, size_average: Old = None,
    eps: float = 1e-8, reduce: Old = None, reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """`rate - target · log(rate)`; with `full`, Stirling's term for targets above 1."""
    reduction = reduction_of(size_average, reduce, reduction)
    each = APPLY["exp"](input) - target * input if log_input else input - target * log(input + eps)
    if full:
        stirling = target * log(target) - target + 0.5 * log(2 * math.pi * target)
        each = each + where(APPLY["le"](target, 1), 0.0, stirling)
    return reduced(each, reduction)


@functional("gaussian_nll_loss")
def gaussian_nll_loss(
    input: Tensor, target: Tensor, var: Tensor, full: bool = False, eps: float = 1e-6, reduction: str = "mean"
) -> Tensor:
    """`(log var + (input - target)² / var) / 2`, with the variance held above `eps` and not
    differentiated there.
    """
    values = known(var)
    if values is not None and (values < 0).any():
        raise ArgumentError(mirrored("var has negative entry/entries"))
    if var.shape != input.shape:
        pairs = [(x, y) for x, y in zip(input.shape, var.shape) if x != y]
        if var.shape == input.shape[:-1]:
            var = var.unsqueeze(-1)
        elif var.ndim != input.ndim or sum(y for _, y in pairs) != 1:
            raise ArgumentError(mirrored("var is of incorrect size"))
    bounded = var + (clamp_min(var, eps) - var).detach()
    far = input - target
    each = 0.5 * (log(bounded) + far * far / bounded)
    return reduced(each + 0.5 * math.log(2 * math.pi) if full else each, reduction)


@functional("soft_margin_loss", replay=True)
def soft_margin_loss(
    input: Tensor, target: Tensor, size_average: Old = None, reduce: Old = None, reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """`log(1 + exp(-target · input))`"""
    reduction = reduction_of(size_average, reduce, reduction)
    return reduced(APPLY["softplus"](-target * input), reduction)


@functional("multilabel_soft_margin_loss", replay=True)
def multilabel_soft_margin_loss(
    input: Tensor, target: Tensor, weight: Tensor | None = None, size_average: Old = None, reduce: Old =
    None, reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """`-(y log σ(x) + (1 - y) log σ(-x))`, its mean over the last axis; weighted by class."""
    reduction = reduction_of(size_average, reduce, reduction)
    each = -(target * APPLY["logsigmoid"](input) + (1 - target) * APPLY["logsigmoid"](-input))
    return reduced(mean(each if weight is None else each * weight, -1), reduction)


@functional("ctc_loss", top=True, replay=True)
def ctc_loss(
    log_probs: Tensor, targets: Tensor, input_lengths: Any, target_lengths: Any, blank: int = 0,
    reduction: str = "mean", zero_infinity: bool = False,
) -> Tensor:  # fmt: skip
    """How unlikely labels are read from log-probabilities `[T, N, C]` (Graves et al., 2006); "mean" is over
    the lengths of the targets first. Targets are `[N, S]`, or of all samples one after the other.
    """
    x = log_probs if log_probs.ndim == 3 else log_probs.unsqueeze(1)
    _, n, classes_ = x.shape
    steps, lengths = (_lengths(v, x) for v in (input_lengths, target_lengths))
    if not 0 <= blank < classes_:
        raise ShapeError(mirrored("blank must be in label range"))
    for name, v in (("input_lengths", steps), ("target_lengths", lengths)):
        if v.numel() != n:
            raise ShapeError(mirrored(f"{name} must be of size batch_size"))
    table = _target_table(targets, lengths, n, log_probs.ndim == 2)
    return _of_table(x, table, steps, lengths, blank, zero_infinity, reduction, log_probs.ndim == 3)


@replayed
def _of_table(
    x: Tensor, table: Tensor, steps: Tensor, lengths: Tensor, blank: int, zero_infinity: bool, reduction: str,
    batched: bool,
) -> Tensor:  # fmt: skip
    each = alignment.ctc_loss(x, table, steps, lengths, blank, zero_infinity)
    if zero_infinity:
        each = where(APPLY["isinf"](each), 0.0, each)
    if reduction == "mean":
        return mean(each / moves.cast(APPLY["maximum"](lengths, 1), each.dtype))
    return reduced(each if batched else each.squeeze(0), reduction)


def _lengths(given: Any, x: Tensor) -> Tensor:
    """Lengths as a vector of whole numbers, be they a Tensor or plain numbers."""
    if isinstance(given, Tensor):
        return moves.reshape(moves.cast(given, dtypes.int64), (given.numel(),))
    return new(np.asarray(given, np.int64).reshape(-1), x)


def _target_table(targets: Tensor, lengths: Tensor, n: int, alone: bool) -> Tensor:
    """The targets as `[N, S]`; those that come one after the other are laid out in rows."""
    index = moves.cast(targets, dtypes.int64)
    if alone or index.ndim == 2:
        table = moves.reshape(index, (1, index.numel())) if index.ndim == 1 else index
        if table.shape[0] != n:
            raise ShapeError(
                mirrored(
                    f"Expected tensor to have size {n} at dimension 0, but got size {table.shape[0]} for "
                    "argument #2 'targets' (while checking arguments for ctc_loss_allocate_outputs)"
                )
            )
        return table
    sizes = lengths.read("ctc_loss() with targets one after the other")
    longest, starts = int(sizes.max(initial=0)), np.cumsum(sizes) - sizes
    places = np.minimum(starts[:, None] + np.arange(longest), max(index.numel() - 1, 0))
    return index[new(places, index)] if longest else index.new_zeros(n, 0)
