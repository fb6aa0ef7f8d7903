"""Losses with a margin against classes: a class that is further from the target's than the margin costs
nothing.

Operands: scores `[N, C]` or `[C]`, target classes, and perhaps weights `[C]` of the classes. `reduction` is
as in `losses`.
"""

from __future__ import annotations

from retrograd.compiler import dtypes
from retrograd.compiler.errors import ShapeError, mirrored
from retrograd.compiler.ir.graph import Array, Type, Value, register
from retrograd.compiler.ops.index import take, take_along
from retrograd.compiler.ops.iota import iota_like
from retrograd.compiler.ops.losses import Loss
from retrograd.compiler.ops.reduce import any_, sum_
from retrograd.compiler.ops.rows import rows
from retrograd.compiler.ops.scan import cumsum
from retrograd.compiler.ops.shape import cast, reshape, unsqueeze
from retrograd.compiler.ops.statistics import mean
from retrograd.compiler.record import record


@register
@record
class MultiMarginLoss(Loss):
    """`max(0, margin - x[target] + x[k]) ** p` over the other classes k, divided by the number of classes."""

    name = "multi_margin_loss"
    p: int
    """1 or 2"""
    margin: float

    def infer(self, *types: Type) -> Type:
        x, target, *weight = types
        count, classes = (x.shape[0] if x.ndim == 2 else 1), x.shape[-1]
        if target.ndim > 1 or target.size != count:
            raise ShapeError(
                mirrored(
                    f"{self.name}: target tensor should be 1-D with size equal to the number of input "
                    f"samples (batch size). Expected target size [{count}], but got {list(target.shape)}. "
                    f"Input has shape {list(x.shape)}."
                )
            )
        if weight and weight[0].shape != (classes,):
            raise ShapeError(
                mirrored(f"inconsistent weight size, expected {classes} but got {list(weight[0].shape)}")
            )
        return super().infer(*types)

    def inspect(self, *arrays: Array) -> None:
        if not self.admits(*arrays).all():
            raise ShapeError(mirrored("target out of range"))

    def admits(self, *values: Value) -> Value:
        x, target = values[:2]
        return rows.logical_and(rows.ge(target, 0), rows.lt(target, x.shape[-1]))

    def pointwise(self, *values: Value) -> Value:
        x, target, *weight = values
        target = reshape(target, x.shape[:-1])
        last = len(x.shape) - 1
        own = unsqueeze(target, [last])
        near = rows.clamp_min(x - take_along(x, own, last) + self.margin, 0.0)
        each = near if self.p == 1 else near * near
        if weight:
            each = each * unsqueeze(take(weight[0], target, 0), [last])
        others = rows.ne(iota_like(x, last), own)
        return mean(rows.where(others, each, 0.0), [last])


@register
@record
class MultilabelMarginLoss(Loss):
    """`max(0, 1 - (x[k] - x[j]))` over the target's classes k, up to its first -1, and all other classes j,
    divided by the number of classes."""

    name = "multilabel_margin_loss"

    def inspect(self, *arrays: Array) -> None:
        if not self.admits(*arrays).all():
            raise ShapeError(mirrored("argument #2 'target' is out of range"))

    def admits(self, *values: Value) -> Value:
        x, target = values
        return rows.logical_and(rows.ge(target, -1), rows.lt(target, x.shape[-1]))

    def pointwise(self, *values: Value) -> Value:
        x, target = values
        last = len(x.shape) - 1
        ended = cumsum(cast(rows.lt(target, 0), dtypes.int64), last)
        counts = rows.eq(ended, 0)
        chosen = rows.where(counts, target, 0)
        counted = unsqueeze(counts, [last + 1])
        classes = iota_like(unsqueeze(x, [last]), last + 1)
        own = rows.logical_and(rows.eq(unsqueeze(chosen, [last + 1]), classes), counted)
        others = rows.logical_not(any_(own, [last]))
        far = 1.0 - (unsqueeze(take_along(x, chosen, last), [last + 1]) - unsqueeze(x, [last]))
        pairs = rows.logical_and(counted, unsqueeze(others, [last]))
        each = rows.where(pairs, rows.clamp_min(far, 0.0), 0.0)
        return sum_(each, [last, last + 1]) * (1.0 / x.shape[last])
