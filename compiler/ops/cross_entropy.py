"""Losses against classes: from log-probabilities or from scores, for targets that are classes or
probabilities.

Operands: scores `[N, C, …]` or `[C]`, then the target, then perhaps weights `[C]` of the classes.
`ignore_index` is a target that does not count; a mean is weighed. `reduction` is as in `losses`.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import nan

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.errors import ArgumentError, DimensionError, ShapeError, mirrored
from retrograd.compiler.ir.graph import Array, Type, Value, apply, register
from retrograd.compiler.ops.index import take, take_along
from retrograd.compiler.ops.iota import iota_like
from retrograd.compiler.ops.losses import Loss
from retrograd.compiler.ops.reduce import sum_
from retrograd.compiler.ops.rows import rows
from retrograd.compiler.ops.shape import cast, squeeze, unsqueeze
from retrograd.compiler.ops.softmax import log_softmax, softmax
from retrograd.compiler.ops.statistics import over
from retrograd.compiler.record import record

_FEW = 64
"""Elements that Python looks through sooner than NumPy is called."""


def _bounds(target: Array) -> tuple[int, int]:
    """The least and the greatest; 0 of none."""
    if target.size > _FEW:
        return int(target.min()), int(target.max())
    classes = target.ravel().tolist() or [0]
    return min(classes), max(classes)


def _among(index: int, target: Array) -> bool:
    return index in target.ravel().tolist() if target.size <= _FEW else bool((target == index).any())


def class_axis(x: Value) -> int:
    """Where the classes of `[N, C, …]` or `[C]` are."""
    return min(len(x.shape) - 1, 1)


@record
class _Classes(Loss):
    """Operands: scores `[N, C, …]` or `[C]`, target classes `[N, …]` or `[]`, and perhaps weights `[C]`."""

    ignore_index: int

    def infer(self, *types: Type) -> Type:
        x, target, *weight = types
        what = f"{self.name} of {', '.join(map(str, types))}"
        if x.ndim == 0:
            raise ShapeError(what, "the first operand needs an axis of classes")
        axis = class_axis(x)
        if target.shape != (*x.shape[:axis], *x.shape[axis + 1 :]):
            why = "the target's shape is not the input's without the axis of classes"
            if x.ndim == 2 and target.ndim and x.shape[0] != target.shape[0]:
                why = mirrored(
                    f"Expected input batch_size ({x.shape[0]}) to match target batch_size "
                    f"({target.shape[0]})."
                )
            raise ShapeError(what, why, "the target has the input's shape without the axis of classes")
        if weight and weight[0].shape != (x.shape[axis],):
            raise ShapeError(
                what,
                mirrored(
                    f"weight tensor should be defined either for all {x.shape[axis]} classes or no classes "
                    f"but got weight tensor of shape: {list(weight[0].shape)}"
                ),
            )
        return super().infer(*types)

    def inspect(self, *arrays: Array) -> None:
        x, target = arrays[:2]
        classes = x.shape[class_axis(x)]
        least, most = _bounds(target)
        if least >= 0 and most < classes:
            return
        wrong = target[((target < 0) | (target >= classes)) & (target != self.ignore_index)]
        if wrong.size:
            raise DimensionError(
                f"{self.name} with {classes} classes", mirrored(f"Target {wrong.flat[0]} is out of bounds.")
            )

    def chosen(self, x: Value, target: Value, *weight: Value) -> tuple[Value, Value]:
        """The targets, made valid where they are ignored, and how much each counts. A negative class counts
        from no end: it is out of range.
        """
        counts = rows.ne(target, self.ignore_index)
        valid = rows.where(counts, target, 0)
        valid = rows.where(rows.lt(valid, 0), x.shape[class_axis(x)], valid)
        if not weight:
            return valid, cast(counts, dtypes.of(x))
        return valid, rows.where(counts, take(weight[0], valid, 0), 0.0)

    def reduced(self, each: Value, weight: Value) -> Value:
        """A mean weighs the elements."""
        axes = range(len(each.shape))
        if self.reduction == "none":
            return each
        return sum_(each, axes) if self.reduction == "sum" else sum_(each, axes) / sum_(weight, axes)

    def targets(self, cotangent: Value, x: Value, target: Value, *weight: Value) -> tuple[Value, Value]:
        """Where the target class is, and each element's cotangent, both with an axis of classes."""
        valid, counts = self.chosen(x, target, *weight)
        if self.reduction == "mean":
            counts = over(counts, sum_(counts, range(len(counts.shape))))
        axis = class_axis(x)
        return rows.eq(iota_like(x, axis), unsqueeze(valid, [axis])), unsqueeze(cotangent * counts, [axis])


@register
@record
class NllLoss(_Classes):
    """-x[target], for log-probabilities x."""

    name = "nll_loss"

    def pointwise(self, *values: Value) -> Value:
        x, target, *weight = values
        valid, counts = self.chosen(x, target, *weight)
        axis = class_axis(x)
        taken = squeeze(take_along(x, unsqueeze(valid, [axis]), axis), [axis])
        return rows.where(rows.eq(counts, 0), 0.0, -taken * counts)

    def formula(self, *values: Value) -> Value:
        return self.reduced(self.pointwise(*values), self.chosen(*values)[1])

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        _, *others = super().adjoint(cotangent, out, inputs, [False, *needed[1:]])
        if not needed[0]:
            return [None, *others]
        here, each = self.targets(cotangent, *inputs)
        return [rows.where(here, -each, 0.0), *others]


@register
@record
class CrossEntropy(_Classes):
    """`nll_loss(log_softmax(x))`, whose derivative is softmax(x) - (1 at the target).

    `smoothing` moves that share of the target from its class to all classes alike.
    """

    name = "cross_entropy"
    smoothing: float

    @property
    def title(self) -> str:
        return "NllLoss"

    def reads(self, x: Array, target: Array) -> bool:
        """Whether scores are `[N, C]`, and each target counts, and nothing but it."""
        return x.ndim == 2 and x.size > 0 and not self.smoothing and not _among(self.ignore_index, target)

    def compute(self, *arrays: Array) -> Array:
        """Of scores `[N, C]` without weights, smoothing and ignored targets in a few steps."""
        x, target, *weight = arrays
        if weight or not self.reads(x, target):
            return super().compute(*arrays)
        low = x - np.maximum.reduce(x, 1, keepdims=True)
        each = np.log(np.add.reduce(np.exp(low), 1)) - low[np.arange(len(low)), target]
        if self.reduction == "none":
            return np.asarray(each)
        total = np.add.reduce(each)
        return np.asarray(total / len(each) if self.reduction == "mean" else total)

    def pointwise(self, *values: Value) -> Value:
        x, target, *weight = values
        axis = class_axis(x)
        log_p = log_softmax(x, axis)
        loss = nll_loss(log_p, target, *weight, ignore_index=self.ignore_index, reduction="none")
        if not self.smoothing:
            return loss
        shape = [size if k == axis else 1 for k, size in enumerate(x.shape)]
        weighted = (
            log_p * unsqueeze(weight[0], [k for k in range(len(shape)) if k != axis]) if weight else log_p
        )
        everywhere = sum_(weighted, [axis]) * (-self.smoothing / x.shape[axis])
        counts = rows.ne(target, self.ignore_index)
        return loss * (1 - self.smoothing) + rows.where(counts, everywhere, 0.0)

    def formula(self, *values: Value) -> Value:
        return self.reduced(self.pointwise(*values), self.chosen(*values)[1])

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        if self.smoothing or not needed[0]:
            return super().adjoint(cotangent, out, inputs, needed)
        _, *others = super().adjoint(cotangent, out, inputs, [False, *needed[1:]])
        here, each = self.targets(cotangent, *inputs)
        p = softmax(inputs[0], class_axis(inputs[0]))
        return [rows.where(here, p - 1.0, p) * each, *others]


@register
@record
class SoftCrossEntropy(Loss):
    """-Σ target · log_softmax(x) over classes, for a target of probabilities; a mean is over all else."""

    name = "soft_cross_entropy"
    smoothing: float

    def infer(self, *types: Type) -> Type:
        if types[0].shape != types[1].shape or types[0].ndim == 0:
            raise ShapeError(
                f"cross_entropy of {' and '.join(map(str, types))}",
                "a target of class probabilities must have the input's shape",
            )
        return super().infer(*types)

    def pointwise(self, *values: Value) -> Value:
        x, target, *weight = values
        axis = class_axis(x)
        if self.smoothing:
            target = target * (1 - self.smoothing) + self.smoothing / x.shape[axis]
        if weight:
            target = target * unsqueeze(weight[0], [k for k in range(len(x.shape)) if k != axis])
        each = -sum_(target * log_softmax(x, axis), [axis])
        return each if x.shape[axis] or self.reduction != "mean" else each * nan  # 0 / 0 elements of a class


# ---- as functions of values of any level -------------------------------------------------------------------


def nll_loss(
    log_p: Value, target: Value, *weight: Value, ignore_index: int = -100, reduction: str = "mean"
) -> Value:
    return apply(NllLoss(reduction, ignore_index), log_p, target, *weight)


def cross_entropy(
    x: Value,
    target: Value,
    *weight: Value,
    ignore_index: int = -100,
    reduction: str = "mean",
    smoothing: float = 0.0,
) -> Value:
    """The target is classes (integers), or probabilities in the input's shape; a weight is for each class."""
    if smoothing > 1:
        raise ArgumentError(mirrored(f"label_smoothing must be between 0.0 and 1.0. Got: {smoothing:g}"))
    smoothing = max(smoothing, 0.0)
    if not dtypes.of(target).is_floating_point:
        return apply(CrossEntropy(reduction, ignore_index, float(smoothing)), x, target, *weight)
    return apply(SoftCrossEntropy(reduction, float(smoothing)), x, target, *weight)
