"""Losses, named and reduced as in `torch.nn.functional`: `reduction` is "none", "sum" or "mean".

Each class says what one element loses (`pointwise`), and the base class reduces. Targets and weights are
operands like any other; optional ones come last.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from math import prod

from retrograd.compiler.errors import ArgumentError, ShapeError, mirrored
from retrograd.compiler.ir.graph import Array, Value, apply, register
from retrograd.compiler.ops.composite import Composite
from retrograd.compiler.ops.reduce import sum_
from retrograd.compiler.ops.row import broadcast_shapes
from retrograd.compiler.ops.rows import rows
from retrograd.compiler.ops.shape import expand
from retrograd.compiler.ops.statistics import mean, ratio
from retrograd.compiler.record import record

REDUCTIONS = ("none", "sum", "mean")


@record
class Loss(Composite):
    """The losses of single elements, reduced over all of them."""

    reduction: str

    def __post_init__(self) -> None:
        if self.reduction not in REDUCTIONS:
            raise ArgumentError(
                f"{self.name} with reduction={self.reduction!r}",
                mirrored(f"{self.reduction} is not a valid value for reduction"),
                f"use one of {', '.join(REDUCTIONS)}",
            )

    @abstractmethod
    def pointwise(self, *values: Value) -> Value:
        """What each element loses."""

    def formula(self, *values: Value) -> Value:
        each = self.pointwise(*values)
        axes = range(len(each.shape))
        return {"none": lambda: each, "sum": lambda: sum_(each, axes), "mean": lambda: mean(each, axes)}[
            self.reduction
        ]()

    def spread(self, cotangent: Value, shape: Sequence[int]) -> Value:
        """The cotangent of each element's loss."""
        if self.reduction == "mean":
            cotangent = cotangent * ratio(1.0, prod(shape))
        return cotangent if self.reduction == "none" else expand(cotangent, shape)


# ---- distances ---------------------------------------------------------------------------------------------


@register
@record
class MseLoss(Loss):
    """(x - y)²"""

    name = "mse_loss"

    def pointwise(self, *values: Value) -> Value:
        far = values[0] - values[1]
        return far * far


@register
@record
class L1Loss(Loss):
    """|x - y|"""

    name = "l1_loss"

    def pointwise(self, *values: Value) -> Value:
        return rows.abs(values[0] - values[1])


@register
@record
class SmoothL1Loss(Loss):
    """|x - y|, but a parabola within `beta` > 0 of it; slope 1 outside."""

    name = "smooth_l1_loss"
    beta: float

    def pointwise(self, *values: Value) -> Value:
        far = values[0] - values[1]
        near = _within(far, self.beta)
        return near / self.beta * (far - near * 0.5)


@register
@record
class HuberLoss(Loss):
    """(x - y)² / 2 within `delta` > 0; slope `delta` outside."""

    name = "huber_loss"
    delta: float

    def pointwise(self, *values: Value) -> Value:
        far = values[0] - values[1]
        near = _within(far, self.delta)
        return near * (far - near * 0.5)


def _within(far: Value, bound: float) -> Value:
    """The distance where it is short, else its bound: so no product of an infinite one comes into slopes."""
    return rows.clamp_max(rows.clamp_min(far, -bound), bound)


# ---- distributions -----------------------------------------------------------------------------------------


@register
@record
class KlDiv(Loss):
    """target · (log target - x), for log-probabilities x; the target is a probability or its logarithm."""

    name = "kl_div"
    log_target: bool

    def pointwise(self, *values: Value) -> Value:
        x, target = values
        if self.log_target:
            return rows.exp(target) * (target - x)
        return rows.xlogy(target, target) - target * x


@register
@record
class BinaryCrossEntropy(Loss):
    """-(y log p + (1 - y) log(1 - p)) · weight, with logarithms held above -100 as in PyTorch."""

    name = "binary_cross_entropy"

    def inspect(self, *arrays: Array) -> None:
        if not self.admits(*arrays).all():
            raise ShapeError(mirrored("all elements of input should be between 0 and 1"))

    def admits(self, *values: Value) -> Value:
        return rows.logical_and(rows.ge(values[0], 0.0), rows.le(values[0], 1.0))

    def pointwise(self, *values: Value) -> Value:
        p, target, *weight = values
        yes, no = rows.maximum(rows.log(p), -100.0), rows.maximum(rows.log1p(-p), -100.0)
        loss = (target - 1.0) * no - target * yes
        return loss * weight[0] if weight else loss

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        p, target, *weight = inputs
        _, *others = super().adjoint(cotangent, out, inputs, [False, *needed[1:]])
        if not needed[0]:
            return [None, *others]
        each = self.spread(cotangent, broadcast_shapes(self.name, *(tuple(i.shape) for i in inputs)))
        each = each * weight[0] if weight else each
        return [each * (p - target) / rows.maximum((1.0 - p) * p, 1e-12), *others]


@register
@record
class BinaryCrossEntropyWithLogits(Loss):
    """The same for p = sigmoid(x), without losing digits. Operands: x, y, weight and pos_weight if any."""

    name = "binary_cross_entropy_with_logits"
    weighted: bool = False
    positive_weighted: bool = False

    def pointwise(self, *values: Value) -> Value:
        x, target, *rest = values
        extra = iter(rest)
        weight = next(extra) if self.weighted else None
        surprise = rows.softplus(-x)
        if self.positive_weighted:
            surprise = surprise * ((next(extra) - 1.0) * target + 1.0)
        loss = (1.0 - target) * x + surprise
        return loss if weight is None else loss * weight


# ---- as functions of values of any level -------------------------------------------------------------------


def mse_loss(x: Value, target: Value, reduction: str = "mean") -> Value:
    return apply(MseLoss(reduction), x, target)


def l1_loss(x: Value, target: Value, reduction: str = "mean") -> Value:
    return apply(L1Loss(reduction), x, target)


def smooth_l1_loss(x: Value, target: Value, beta: float = 1.0, reduction: str = "mean") -> Value:
    if beta < 0:
        raise ArgumentError(mirrored("smooth_l1_loss does not support negative values for beta."))
    return apply(SmoothL1Loss(reduction, float(beta)), x, target) if beta else l1_loss(x, target, reduction)


def huber_loss(x: Value, target: Value, delta: float = 1.0, reduction: str = "mean") -> Value:
    if delta <= 0:
        raise ArgumentError(mirrored("huber_loss does not support non-positive values for delta."))
    return apply(HuberLoss(reduction, float(delta)), x, target)


def kl_div(x: Value, target: Value, log_target: bool = False, reduction: str = "mean") -> Value:
    """`reduction` may also be "batchmean": the sum, divided by the size of the first axis."""
    if reduction == "batchmean":
        return kl_div(x, target, log_target, "sum") / float(x.shape[0] if x.shape else 1)
    return apply(KlDiv(reduction, log_target), x, target)


def binary_cross_entropy(p: Value, target: Value, *weight: Value, reduction: str = "mean") -> Value:
    return apply(BinaryCrossEntropy(reduction), p, target, *weight)


def binary_cross_entropy_with_logits(
    x: Value,
    target: Value,
    weight: Value | None = None,
    positive_weight: Value | None = None,
    reduction: str = "mean",
) -> Value:
    given = [w for w in (weight, positive_weight) if w is not None]
    op = BinaryCrossEntropyWithLogits(reduction, weight is not None, positive_weight is not None)
    return apply(op, x, target, *given)
