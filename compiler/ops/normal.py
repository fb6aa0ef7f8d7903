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
from retrograd.compiler.errors import ShapeError
from retrograd.compiler.ir.graph import Array, Type, Value, apply, register
from retrograd.compiler.ops.composite import Composite
from retrograd.compiler.ops.reduce import spread, sum_to
from retrograd.compiler.ops.rows import rows
from retrograd.compiler.ops.shape import cast, reshape
from retrograd.compiler.ops.statistics import count, mean, var
from retrograd.compiler.record import record

Shape = tuple[int, ...]


@record
class _Normalisation(Composite):
    eps: float

    @property
    def title(self) -> str:
        return f"Native{super().title}"

    @abstractmethod
    def layout(self, shape: Shape) -> tuple[Shape, Shape]:
        """The shape in which groups are along axes, and those axes."""

    @abstractmethod
    def owners(self, shape: Shape) -> tuple[Shape, Shape]:
        """The shape of the weight and the bias, and the shape in which they broadcast with `x`."""

    def infer(self, *types: Type) -> Type:
        x, *affine = types
        what = f"{self.name} of {', '.join(map(str, types))}"
        self.check(what, x)
        own, _ = self.owners(x.shape)
        for operand in affine:
            if operand.shape != own:
                raise ShapeError(what, f"weight and bias must have the shape {list(own)}")
        return super().infer(*types)

    def check(self, what: str, x: Type) -> None:
        """ShapeError if `x` has no such groups."""

    def standardised(self, x: Value) -> tuple[Value, Value]:
        """`x` with mean 0 and variance 1 in each group, and what it was multiplied by."""
        shape, axes = self.layout(x.shape)
        grouped = reshape(x, shape)
        far = grouped - spread(mean(grouped, axes), axes, shape)
        scale = spread(rows.rsqrt(mean(far * far, axes) + self.eps), axes, shape)
        return reshape(far * scale, x.shape), scale

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
        normal, scale = self.standardised(x)
        found: list[Value | None] = [None]
        if needed[0]:
            inner = cotangent * reshape(affine[0], seen) if affine else cotangent
            found = [self.through(inner, normal, scale)]
        for each, need in zip((cotangent * normal, cotangent), needed[1:], strict=False):
            found.append(reshape(sum_to(each, seen), own) if need else None)
        return found

    def through(self, cotangent: Value, normal: Value, scale: Value) -> Value:
        """The cotangent of `x`: less its mean and its part along the normalised `x`, in each group."""
        shape, axes = self.layout(normal.shape)
        inner, y = reshape(cotangent, shape), reshape(normal, shape)
        along = spread(mean(inner * y, axes), axes, shape) * y
        return reshape((inner - spread(mean(inner, axes), axes, shape) - along) * scale, normal.shape)


@register
@record
class LayerNorm(_Normalisation):
    """Groups: the last `dims` axes. Weight and bias: one number for each element of a group."""

    name = "layer_norm"
    dims: int

    def layout(self, shape: Shape) -> tuple[Shape, Shape]:
        return shape, tuple(range(len(shape) - self.dims, len(shape)))

    def owners(self, shape: Shape) -> tuple[Shape, Shape]:
        own = shape[len(shape) - self.dims :]
        return own, own


@register
@record
class GroupNorm(_Normalisation):
    """Groups: the channels (axis 1) in `groups` equal parts, and all axes after. Weight, bias: by channel."""

    name = "group_norm"
    groups: int

    def check(self, what: str, x: Type) -> None:
        if x.ndim < 2 or x.shape[1] % self.groups:
            raise ShapeError(
                what, f"Expected number of channels in input to be divisible by num_groups ({self.groups})"
            )

    def layout(self, shape: Shape) -> tuple[Shape, Shape]:
        return (shape[0], self.groups, prod(shape[1:]) // self.groups), (2,)

    def owners(self, shape: Shape) -> tuple[Shape, Shape]:
        return (shape[1],), (shape[1], *[1] * (len(shape) - 2))


@register
@record
class BatchNorm(_Normalisation):
    """Groups: each channel (axis 1) over the batch and all axes after; the form used in training."""

    name = "batch_norm"

    def check(self, what: str, x: Type) -> None:
        if x.ndim < 2:
            raise ShapeError(what, "it needs an axis of the batch and an axis of channels")

    def layout(self, shape: Shape) -> tuple[Shape, Shape]:
        return shape, tuple(k for k in range(len(shape)) if k != 1)

    def owners(self, shape: Shape) -> tuple[Shape, Shape]:
        return (shape[1],), (shape[1], *[1] * (len(shape) - 2))


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
