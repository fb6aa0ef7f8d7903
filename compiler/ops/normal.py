"""Normalisations: elements moved and scaled to mean 0 and variance 1 within groups, then weighed and shifted.

A class says how `x` falls into groups (`layout`) and what the weight and the bias belong to (`owners`).
Operands: x, then the weight, then the bias; weight and bias may be left out. The derivative is worked out by
hand, so that it reads `x` a few times and keeps nothing between.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from math import prod

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.errors import ShapeError, mirrored
from retrograd.compiler.ir.graph import Array, Type, Value, apply, register
from retrograd.compiler.ops.composite import Composite
from retrograd.compiler.ops.reduce import spread, sum_to
from retrograd.compiler.ops.rows import rows
from retrograd.compiler.ops.shape import cast, reshape
from retrograd.compiler.ops.statistics import count, mean, var
from retrograd.compiler.record import field_names, record

Shape = tuple[int, ...]


# ---- groups ------------------------------------------------------------------------------------------------


@record
class _Grouped(Composite):
    eps: float

    @abstractmethod
    def layout(self, shape: Shape) -> tuple[Shape, Shape]:
        """The shape in which groups are along axes, and those axes."""

    @abstractmethod
    def owners(self, shape: Shape) -> tuple[Shape, Shape]:
        """The shape of the weight and the bias, and the shape in which they broadcast with `x`."""

    def check(self, what: str, x: Type) -> None:
        """ShapeError if `x` has no such groups."""

    def standardised(self, x: Value) -> tuple[Value, Value]:
        """`x` with mean 0 and variance 1 in each group, and what it was multiplied by."""
        shape, axes = self.layout(x.shape)
        grouped = reshape(x, shape)
        far = grouped - spread(mean(grouped, axes), axes, shape)
        scale = spread(rows.rsqrt(mean(far * far, axes) + self.eps), axes, shape)
        return reshape(far * scale, x.shape), scale


@record
class ByLayer(_Grouped):
    """Groups: the last `dims` axes. Weight and bias: one number for each element of a group."""

    dims: int

    def layout(self, shape: Shape) -> tuple[Shape, Shape]:
        return shape, tuple(range(len(shape) - self.dims, len(shape)))

    def owners(self, shape: Shape) -> tuple[Shape, Shape]:
        own = shape[len(shape) - self.dims :]
        return own, own


@record
class ByGroup(_Grouped):
    """Groups: the channels (axis 1) in `groups` equal parts, and all axes after. Weight, bias: by channel."""

    groups: int

    def check(self, what: str, x: Type) -> None:
        if x.ndim < 2 or x.shape[1] % self.groups:
            raise ShapeError(
                what,
                mirrored(
                    "Expected number of channels in input to be divisible by num_groups, but got input of "
                    f"shape {list(x.shape)} and num_groups={self.groups}"
                ),
            )

    def layout(self, shape: Shape) -> tuple[Shape, Shape]:
        return (shape[0], self.groups, prod(shape[1:]) // self.groups), (2,)

    def owners(self, shape: Shape) -> tuple[Shape, Shape]:
        return (shape[1],), (shape[1], *[1] * (len(shape) - 2))


@record
class ByChannel(_Grouped):
    """Groups: each channel (axis 1) over the batch and all axes after; the form used in training."""

    def check(self, what: str, x: Type) -> None:
        if x.ndim < 2:
            raise ShapeError(what, "it needs an axis of the batch and an axis of channels")

    def layout(self, shape: Shape) -> tuple[Shape, Shape]:
        return shape, tuple(k for k in range(len(shape)) if k != 1)

    def owners(self, shape: Shape) -> tuple[Shape, Shape]:
        return (shape[1],), (shape[1], *[1] * (len(shape) - 2))


# ---- normalisations ----------------------------------------------------------------------------------------


class _Normalisation(_Grouped):
    @property
    def title(self) -> str:
        return f"Native{super().title}"

    def infer(self, *types: Type) -> Type:
        x, *affine = types
        what = f"{self.name} of {', '.join(map(str, types))}"
        self.check(what, x)
        own, _ = self.owners(x.shape)
        for operand in affine:
            if operand.shape != own:
                raise ShapeError(what, f"weight and bias must have the shape {list(own)}")
        return super().infer(*types)

    def formula(self, *values: Value) -> Value:
        x, *affine = values
        out, _ = self.standardised(x)
        _, seen = self.owners(x.shape)
        for operand, join in zip(affine, (rows.mul, rows.add), strict=False):
            out = join(out, reshape(operand, seen))
        return out

    def compute(self, *arrays: Array) -> Array:
        x, *affine = arrays
        shape, axes = self.layout(x.shape)
        _, seen = self.owners(x.shape)
        grouped = x if shape == x.shape else x.reshape(shape)
        out = self._scaled(grouped, axes, count(grouped, axes)).reshape(x.shape)
        for operand, join in zip(affine, (np.multiply, np.add), strict=False):
            join(out, operand.reshape(seen), out)
        return out

    def _scaled(self, x: Array, axes: Shape, size: int) -> Array:
        """A fresh array with mean 0 and variance 1 in each group."""
        far = x - np.add.reduce(x, axes, keepdims=True) / size
        scale = np.add.reduce(far * far, axes, keepdims=True) / size
        scale += self.eps
        far /= np.sqrt(scale, scale)
        return far

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        x, *affine = inputs
        own, seen = self.owners(x.shape)
        fields = [getattr(self, name) for name in field_names(type(self)) or ()]
        of_elements, of_weight = (each(*fields) for each in DERIVATIVES[type(self)])
        found = [apply(of_elements, cotangent, x, *affine[:1]) if needed[0] else None]
        if affine:
            found.append(apply(of_weight, cotangent, x) if needed[1] else None)
        if len(affine) > 1:
            found.append(reshape(sum_to(cotangent, seen), own) if needed[2] else None)
        return found


@register
@record
class LayerNorm(_Normalisation, ByLayer):
    name = "layer_norm"


@register
@record
class GroupNorm(_Normalisation, ByGroup):
    name = "group_norm"


@register
@record
class BatchNorm(_Normalisation, ByChannel):
    name = "batch_norm"


# ---- their derivatives -------------------------------------------------------------------------------------


class _OfElements(_Grouped):
    """The cotangent of `x`: less its mean and its part along the normalised `x`, in each group. Operands:
    the cotangent of the result, `x`, and the weight if there is one."""

    def formula(self, *values: Value) -> Value:
        cotangent, x, *weight = values
        shape, axes = self.layout(x.shape)
        normal, scale = self.standardised(x)
        weighed = cotangent * reshape(weight[0], self.owners(x.shape)[1]) if weight else cotangent
        inner, y = reshape(weighed, shape), reshape(normal, shape)
        along = spread(mean(inner * y, axes), axes, shape) * y
        return reshape((inner - spread(mean(inner, axes), axes, shape) - along) * scale, x.shape)


class _OfWeight(_Grouped):
    """The cotangent of the weight. Operands: the cotangent of the result, and `x`."""

    def formula(self, *values: Value) -> Value:
        cotangent, x = values
        own, seen = self.owners(x.shape)
        return reshape(sum_to(cotangent * self.standardised(x)[0], seen), own)


@register
@record
class LayerNormElements(_OfElements, ByLayer):
    name = "layer_norm_elements"


@register
@record
class LayerNormWeight(_OfWeight, ByLayer):
    name = "layer_norm_weight"


@register
@record
class GroupNormElements(_OfElements, ByGroup):
    name = "group_norm_elements"


@register
@record
class GroupNormWeight(_OfWeight, ByGroup):
    name = "group_norm_weight"


@register
@record
class BatchNormElements(_OfElements, ByChannel):
    name = "batch_norm_elements"


@register
@record
class BatchNormWeight(_OfWeight, ByChannel):
    name = "batch_norm_weight"


DERIVATIVES: dict[type[_Grouped], tuple[type[_Grouped], type[_Grouped]]] = {
    LayerNorm: (LayerNormElements, LayerNormWeight),
    GroupNorm: (GroupNormElements, GroupNormWeight),
    BatchNorm: (BatchNormElements, BatchNormWeight),
}
"""Of the elements and of the weight."""


@register
@record
class RmsNorm(Composite):
    """`x / sqrt(mean(x²) + eps)` over the last `dims` axes, times a weight for each element if given."""

    name = "rms_norm"
    eps: float
    dims: int

    def formula(self, *values: Value) -> Value:
        x, *weight = values
        axes = range(len(x.shape) - self.dims, len(x.shape))
        out = x * spread(rows.rsqrt(mean(x * x, axes) + self.eps), axes, x.shape)
        return out * weight[0] if weight else out


@register
@record
class RunningStatistic(Composite):
    """A statistic of each channel (axis 1), moved by `momentum` towards that of a batch.

    Operands: the statistic, the batch, and the momentum if it is no number.
    """

    name = "running_statistic"
    momentum: float | None
    statistic: str

    def formula(self, *values: Value) -> Value:
        running, x, *rest = values
        momentum = rest[0] if self.momentum is None else self.momentum
        axes = [k for k in range(len(x.shape)) if k != 1]
        now = cast({"mean": mean, "var": var}[self.statistic](x, axes), dtypes.of(running))
        return running * (1 - momentum) + now * momentum


# ---- as functions of values of any level -------------------------------------------------------------------


def layer_norm(
    x: Value, dims: int, weight: Value | None = None, bias: Value | None = None, eps: float = 1e-5
) -> Value:
    return _applied(LayerNorm(eps, dims), x, weight, bias)


def group_norm(
    x: Value, groups: int, weight: Value | None = None, bias: Value | None = None, eps: float = 1e-5
) -> Value:
    return _applied(GroupNorm(eps, groups), x, weight, bias)


def batch_norm(x: Value, weight: Value | None = None, bias: Value | None = None, eps: float = 1e-5) -> Value:
    return _applied(BatchNorm(eps), x, weight, bias)


def rms_norm(x: Value, dims: int, weight: Value | None = None, eps: float = 1e-5) -> Value:
    return apply(RmsNorm(eps, dims), x) if weight is None else apply(RmsNorm(eps, dims), x, weight)


def moved(running: Value, x: Value, momentum: Value | float, statistic: str) -> Value:
    """A running `statistic`, "mean" or "var", of each channel, after a batch `x`."""
    if isinstance(momentum, int | float):
        return apply(RunningStatistic(float(momentum), statistic), running, x)
    return apply(RunningStatistic(None, statistic), running, x, cast(momentum, dtypes.of(running)))


def _applied(op: _Normalisation, x: Value, weight: Value | None, bias: Value | None) -> Value:
    if weight is not None:
        return apply(op, x, weight) if bias is None else apply(op, x, weight, bias)
    out = apply(op, x)
    return out if bias is None else out + reshape(bias, op.owners(tuple(x.shape))[1])
