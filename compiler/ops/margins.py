"""Losses with a margin against classes: a class that is further from the target's than the margin costs
nothing.

Operands: scores `[N, C]` or `[C]`, target classes, and perhaps weights `[C]` of the classes. `reduction` is
as in `losses`.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from retrograd.compiler import dtypes
from retrograd.compiler.errors import ShapeError, mirrored
from retrograd.compiler.ir.graph import Array, Type, Value, apply, register
from retrograd.compiler.ops.composite import Composite
from retrograd.compiler.ops.index import put_along_add, take, take_along
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


# ---- several target classes --------------------------------------------------------------------------------


@register
@record
class MultilabelMarginLoss(Loss):
    """`multilabel_margins`, reduced."""

    name = "multilabel_margin_loss"

    def pointwise(self, *values: Value) -> Value:
        x, target = values
        shape = (prod(x.shape[:-1]), x.shape[-1])
        each = apply(MultilabelMargins(), reshape(x, shape), reshape(target, shape))
        return reshape(each, x.shape[:-1])


@register
@record
class MultilabelMargins(Composite):
    """`max(0, 1 - (x[k] - x[j]))` over the target's classes k, up to its first -1, and all other classes j,
    divided by the number of classes: `[N, C]` twice to `[N]`. NaN costs nothing."""

    name = "multilabel_margins"

    def inspect(self, *arrays: Array) -> None:
        if not self.admits(*arrays).all():
            raise ShapeError(mirrored("argument #2 'target' is out of range"))

    def admits(self, *values: Value) -> Value:
        x, target = values
        return rows.logical_and(rows.ge(target, -1), rows.lt(target, x.shape[1]))

    def formula(self, *values: Value) -> Value:
        x, target = values
        _, cost, far = _pairs(x, target)
        return sum_(rows.where(cost, far, 0.0), [1, 2]) * (1.0 / x.shape[1])

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        return [apply(MultilabelMarginsAdjoint(), cotangent, *inputs), None]


@register
@record
class MultilabelMarginsAdjoint(Composite):
    """For each pair that costs something, the cotangent `[N]` of its row: added to the other class, taken
    from the target's; over the number of classes."""

    name = "multilabel_margins_adjoint"

    def formula(self, *values: Value) -> Value:
        cotangent, x, target = values
        chosen, cost, _ = _pairs(x, target)
        counts = cast(cost, dtypes.of(x))
        found = sum_(counts, [1]) - put_along_add(sum_(counts, [2]), chosen, 1, x.shape[1])
        return found * unsqueeze(cotangent * (1.0 / x.shape[1]), [1])

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        given, x, target = inputs
        each = apply(MultilabelMarginsAdjoint(), given * 0.0 + 1.0, x, target)
        return [sum_(cotangent * each, [1]), None, None]


def _pairs(x: Value, target: Value) -> tuple[Value, Value, Value]:
    """The target's classes, 0 after the first -1, `[N, K]`; which of their pairs with other classes cost
    something, and how much, `[N, K, C]`."""
    counts = rows.eq(cumsum(cast(rows.lt(target, 0), dtypes.int64), 1), 0)
    chosen = rows.where(counts, target, 0)
    counted = unsqueeze(counts, [2])
    classes = iota_like(unsqueeze(x, [1]), 2)
    own = rows.logical_and(rows.eq(unsqueeze(chosen, [2]), classes), counted)
    others = unsqueeze(rows.logical_not(any_(own, [1])), [1])
    far = 1.0 - (unsqueeze(take_along(x, chosen, 1), [2]) - unsqueeze(x, [1]))
    return chosen, rows.logical_and(rows.logical_and(counted, others), rows.gt(far, 0.0)), far
