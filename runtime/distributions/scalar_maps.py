"""Maps of numbers: exponentials, sigmoids, powers, affine maps, a distribution's `cdf`.

In flow numbers of any shape, out flow as many; `transforming.py` says what a map is.
"""

from __future__ import annotations

import math
from typing import Any

from retrograd.compiler.ops.elementwise import broadcast_shapes
from retrograd.runtime.distributions import constraints
from retrograd.runtime.distributions.distribution import Distribution, Number, Shape, broadcast, limits
from retrograd.runtime.distributions.transforming import Transform
from retrograd.runtime.functions import FUNCTIONAL, creation
from retrograd.runtime.tensor import Size, Tensor

softplus = FUNCTIONAL["softplus"]


class Plain(Transform):
    """Base of maps without parameters: all of a class are the same."""

    def alike(self, other: Any) -> bool:
        return True


class _Increasing(Plain):
    """Base of maps of real numbers that keep their order."""

    bijective = True
    domain = constraints.real

    @property
    def sign(self) -> Any:
        return 1


class ExpTransform(_Increasing):
    """`exp(x)`."""

    codomain = constraints.positive

    def _call(self, x: Tensor) -> Tensor:
        return x.exp()

    def _inverse(self, y: Tensor) -> Tensor:
        return y.log()

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return x


def inside(y: Tensor) -> Tensor:
    """Shares, kept from 0 and 1."""
    known = limits(y)
    return y.clamp(float(known.tiny), 1 - float(known.eps))


class SigmoidTransform(_Increasing):
    """`1 / (1 + exp(-x))`, kept from 0 and 1."""

    codomain = constraints.unit_interval

    def _call(self, x: Tensor) -> Tensor:
        return inside(x.sigmoid())

    def _inverse(self, y: Tensor) -> Tensor:
        y = inside(y)
        return y.log() - (-y).log1p()

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        found: Tensor = -softplus(-x) - softplus(x)
        return found


class SoftplusTransform(_Increasing):
    """`log(1 + exp(x))`."""

    codomain = constraints.positive

    def _call(self, x: Tensor) -> Tensor:
        found: Tensor = softplus(x)
        return found

    def _inverse(self, y: Tensor) -> Tensor:
        return (-(-y).expm1()).log() + y

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        found: Tensor = -softplus(-x)
        return found


class TanhTransform(_Increasing):
    """`tanh(x)`. With a cache the way back is exact, too, where y is near 1."""

    codomain = constraints.interval(-1.0, 1.0)

    def _call(self, x: Tensor) -> Tensor:
        return x.tanh()

    def _inverse(self, y: Tensor) -> Tensor:
        return y.atanh()

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """log(1 - tanh²(x)), written so that it holds for large x."""
        found: Tensor = 2.0 * (math.log(2.0) - x - softplus(-2.0 * x))
        return found


class AbsTransform(Plain):
    """`|x|`, which has no way back but to the positive one."""

    domain = constraints.real
    codomain = constraints.positive

    def _call(self, x: Tensor) -> Tensor:
        return x.abs()

    def _inverse(self, y: Tensor) -> Tensor:
        return y


class PowerTransform(Transform):
    """`x ** exponent` of positive numbers."""

    bijective = True
    domain = codomain = constraints.positive

    def __init__(self, exponent: Number, cache_size: int = 0) -> None:
        super().__init__(cache_size)
        (self.exponent,) = broadcast(exponent)

    @property
    def sign(self) -> Any:
        return self.exponent.sign()

    def again(self, cache_size: int) -> Transform:
        return PowerTransform(self.exponent, cache_size)

    def _call(self, x: Tensor) -> Tensor:
        return x.pow(self.exponent)

    def _inverse(self, y: Tensor) -> Tensor:
        return y.pow(1 / self.exponent)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return (self.exponent * y / x).abs().log()

    def forward_shape(self, shape: Shape) -> Size:
        return _shape_with(shape, self.exponent)

    inverse_shape = forward_shape

    def alike(self, other: Any) -> bool:
        return _same(self.exponent, other.exponent)


class AffineTransform(Transform):
    """`loc + scale · x`, of values with `event_dim` axes."""

    bijective = True

    def __init__(self, loc: Number, scale: Number, event_dim: int = 0, cache_size: int = 0) -> None:
        super().__init__(cache_size)
        self.loc, self.scale, self._axes = loc, scale, event_dim
        self.domain = constraints.independent(constraints.real, event_dim) if event_dim else constraints.real
        self.codomain = self.domain

    @property
    def event_dim(self) -> int:
        return self._axes

    @property
    def sign(self) -> Any:
        if isinstance(self.scale, Tensor):
            return self.scale.sign()
        return (self.scale > 0) - (self.scale < 0)

    def again(self, cache_size: int) -> Transform:
        return AffineTransform(self.loc, self.scale, self.event_dim, cache_size)

    def _call(self, x: Tensor) -> Tensor:
        return self.loc + self.scale * x

    def _inverse(self, y: Tensor) -> Tensor:
        return (y - self.loc) / self.scale

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        scale, axes = self.scale, self.event_dim
        if not isinstance(scale, Tensor):
            scale = creation.full_like(x, scale)
        found = scale.abs().log()
        if axes:
            found = found.flatten(-axes).sum(-1)
        return found.expand(x.shape[: x.ndim - axes])

    def forward_shape(self, shape: Shape) -> Size:
        return _shape_with(shape, self.loc, self.scale)

    inverse_shape = forward_shape

    def alike(self, other: Any) -> bool:
        return _same(self.loc, other.loc) and _same(self.scale, other.scale)


def _shape_with(shape: Shape, *values: Number) -> Size:
    others = [tuple(x.shape) for x in values if isinstance(x, Tensor)]
    return Size(broadcast_shapes("a transform", tuple(shape), *others))


def _same(one: Any, other: Any) -> bool:
    equal = one == other
    return bool(equal.all()) if isinstance(equal, Tensor) else bool(equal)


class CumulativeDistributionTransform(Transform):
    """A number's share in a distribution: its `cdf`."""

    bijective = True
    codomain = constraints.unit_interval

    def __init__(self, distribution: Distribution, cache_size: int = 0) -> None:
        super().__init__(cache_size)
        self.distribution = distribution
        self.domain = distribution.support

    @property
    def sign(self) -> Any:
        return 1

    def again(self, cache_size: int) -> Transform:
        return CumulativeDistributionTransform(self.distribution, cache_size)

    def _call(self, x: Tensor) -> Tensor:
        return self.distribution.cdf(x)

    def _inverse(self, y: Tensor) -> Tensor:
        return self.distribution.icdf(y)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return self.distribution.log_prob(x)
