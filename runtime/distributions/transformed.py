"""Distributions that are another's numbers, mapped: `TransformedDistribution`, and those made by it.

In flow a distribution and maps of its values; samples are mapped, and a density is that of the value one
came from, divided by how much the maps stretch there. A new distribution is a subclass that hands both to the
base.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any, ClassVar

from retrograd.compiler.errors import ArgumentError, mirrored
from retrograd.runtime.distributions import constraints
from retrograd.runtime.distributions.composing import ComposeTransform
from retrograd.runtime.distributions.constraints import Constraints
from retrograd.runtime.distributions.continuous import EULER, Cauchy, Exponential, Normal, Uniform
from retrograd.runtime.distributions.distribution import (
    Distribution,
    Number,
    Shape,
    broadcast,
)
from retrograd.runtime.distributions.gammas import Gamma
from retrograd.runtime.distributions.multivariate import Independent
from retrograd.runtime.distributions.scalar_maps import (
    AbsTransform,
    AffineTransform,
    ExpTransform,
    PowerTransform,
)
from retrograd.runtime.distributions.transforming import Transform, summed
from retrograd.runtime.distributions.vector_maps import StickBreakingTransform
from retrograd.runtime.functions import creation, from_data, pointwise
from retrograd.runtime.tensor import Size, Tensor

where = pointwise.FUNCTIONS["where"]


class TransformedDistribution(Distribution):
    """The numbers of `base_distribution`, through one map or several."""

    base_dist: Any

    def __init__(
        self, base_distribution: Distribution, transforms: Transform | Sequence[Transform],
        validate_args: bool | None = None,
    ) -> None:  # fmt: skip
        self.transforms = _maps(transforms)
        whole = ComposeTransform(self.transforms)
        shape = Size((*base_distribution.batch_shape, *base_distribution.event_shape))
        before, after = whole.domain.event_dim, whole.codomain.event_dim
        if len(shape) < before:
            needed = f"base_distribution needs to have shape with size at least {before}"
            raise ArgumentError(mirrored(f"{needed}, but got {shape}."))
        mapped = whole.forward_shape(shape)
        wide = whole.inverse_shape(mapped)
        own = len(base_distribution.event_shape)
        if wide != shape:
            base_distribution = base_distribution.expand(wide[: len(wide) - own])
        if before > own:
            base_distribution = Independent(base_distribution, before - own)
        self.base_dist = base_distribution
        cut = len(mapped) - max(after, own + after - before)
        self.begin(mapped[:cut], mapped[cut:], validate_args)

    @property
    def has_rsample(self) -> bool:  # type: ignore[override]  # the base says
        return bool(self.base_dist.has_rsample)

    @property
    def support(self) -> Any:
        if not self.transforms:
            return self.base_dist.support
        found = self.transforms[-1].codomain
        more = len(self.event_shape) - found.event_dim
        return constraints.independent(found, more) if more > 0 else found

    def expand(self, batch_shape: Shape, _instance: object = None) -> Any:
        found = copy.copy(self)
        shape = Size((*batch_shape, *self.event_shape))
        for each in reversed(self.transforms):
            shape = each.inverse_shape(shape)
        found.base_dist = self.base_dist.expand(shape[: len(shape) - len(self.base_dist.event_shape)])
        for name in self.arg_constraints:
            if name in self.__dict__:
                setattr(found, name, self.__dict__[name].expand(*batch_shape))
        found.batch_shape = Size(batch_shape)
        return found

    def draw(self, sample_shape: Shape) -> Tensor:
        return self._mapped(self.base_dist.sample(sample_shape))

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        return self._mapped(self.base_dist.rsample(sample_shape))

    def _mapped(self, x: Tensor) -> Tensor:
        for each in self.transforms:
            x = each(x)
        return x

    def _unmapped(self, y: Tensor) -> Tensor:
        for each in reversed(self.transforms):
            y = each.inv(y)
        return y

    def log_prob(self, value: Tensor) -> Tensor:
        self.check(value)
        axes, y = len(self.event_shape), value
        found: Any = 0.0
        for each in reversed(self.transforms):
            x = each.inv(y)
            axes += each.domain.event_dim - each.codomain.event_dim
            stretched = each.log_abs_det_jacobian(x, y)
            found = found - summed(stretched, axes - each.domain.event_dim)
            y = x
        base: Tensor = self.base_dist.log_prob(y)
        return found + summed(base, axes - len(self.base_dist.event_shape))

    def _increasing(self, share: Tensor) -> Tensor:
        """A share from below, or where the maps turn the order about from above."""
        sign: Any = ComposeTransform(self.transforms).sign
        return share if isinstance(sign, int) and sign == 1 else sign * (share - 0.5) + 0.5

    def cdf(self, value: Tensor) -> Tensor:
        value = self._unmapped(value)
        self.base_dist.check(value)
        return self._increasing(self.base_dist.cdf(value))

    def icdf(self, value: Tensor) -> Tensor:
        return self._mapped(self.base_dist.icdf(self._increasing(value)))


def _maps(given: Any) -> list[Transform]:
    if isinstance(given, Transform):
        return [given]
    if not isinstance(given, list):
        raise ArgumentError(mirrored(f"transforms must be a Transform or list, but was {given}"))
    if not all(isinstance(each, Transform) for each in given):
        raise ArgumentError(mirrored("transforms must be a Transform or a list of Transforms"))
    return given


# ---- powers of waiting times -------------------------------------------------------------------------------


class Pareto(TransformedDistribution):
    """What is above `scale` falls off with the power `alpha`."""

    arg_constraints: ClassVar[Constraints] = {"alpha": constraints.positive, "scale": constraints.positive}

    def __init__(self, scale: Number, alpha: Number, validate_args: bool | None = None) -> None:
        self.scale, self.alpha = broadcast(scale, alpha)
        maps = [ExpTransform(), AffineTransform(0, self.scale)]
        super().__init__(Exponential(self.alpha, validate_args), maps, validate_args)

    @property
    def support(self) -> Any:
        return constraints.greater_than_eq(self.scale)

    @property
    def mean(self) -> Tensor:
        a = self.alpha.clamp(min=1)
        return a * self.scale / (a - 1)

    @property
    def mode(self) -> Tensor:
        return self.scale

    @property
    def variance(self) -> Tensor:
        a = self.alpha.clamp(min=2)
        return self.scale.pow(2) * a / ((a - 1).pow(2) * (a - 2))

    def entropy(self) -> Tensor:
        return (self.scale / self.alpha).log() + (1 + self.alpha.reciprocal())


class Weibull(TransformedDistribution):
    """Waiting times of what ages: the `concentration`-th power of an Exponential's inverse, times `scale`."""

    arg_constraints: ClassVar[Constraints] = {
        "scale": constraints.positive,
        "concentration": constraints.positive,
    }
    support = constraints.positive

    def __init__(self, scale: Number, concentration: Number, validate_args: bool | None = None) -> None:
        self.scale, self.concentration = broadcast(scale, concentration)
        maps = [PowerTransform(self.concentration.reciprocal()), AffineTransform(0, self.scale)]
        base = Exponential(creation.full_like(self.scale, 1.0), validate_args)
        super().__init__(base, maps, validate_args)

    def _moment(self, power: int) -> Tensor:
        """The mean of a power of numbers of scale 1."""
        return (1 + power * self.concentration.reciprocal()).lgamma().exp()

    @property
    def mean(self) -> Tensor:
        return self.scale * self._moment(1)

    @property
    def mode(self) -> Tensor:
        k = self.concentration
        return self.scale * ((k - 1) / k) ** k.reciprocal()

    @property
    def variance(self) -> Tensor:
        return self.scale.pow(2) * (self._moment(2) - self._moment(1) ** 2)

    def entropy(self) -> Tensor:
        inverse = self.concentration.reciprocal()
        return EULER * (1 - inverse) + (self.scale * inverse).log() + 1


class Kumaraswamy(TransformedDistribution):
    """Shares of a closed `cdf`, `1 − (1 − x**concentration1)**concentration0`."""

    arg_constraints: ClassVar[Constraints] = {
        "concentration1": constraints.positive,
        "concentration0": constraints.positive,
    }
    support = constraints.unit_interval

    def __init__(
        self, concentration1: Number, concentration0: Number, validate_args: bool | None = None
    ) -> None:
        self.concentration1, self.concentration0 = broadcast(concentration1, concentration0)
        low, high = (creation.full_like(self.concentration0, end) for end in (0.0, 1.0))
        maps = [
            PowerTransform(self.concentration0.reciprocal()),
            AffineTransform(1.0, -1.0),
            PowerTransform(self.concentration1.reciprocal()),
        ]
        super().__init__(Uniform(low, high, validate_args), maps, validate_args)

    def _moment(self, power: int) -> Tensor:
        b, first = self.concentration0, 1 + power / self.concentration1
        return b * (first.lgamma() + b.lgamma() - (first + b).lgamma()).exp()

    @property
    def mean(self) -> Tensor:
        return self._moment(1)

    @property
    def mode(self) -> Tensor:
        a, b = self.concentration1, self.concentration0
        found = (b.reciprocal() * (-b).log1p() - (-b * a).log1p()).exp()
        return where((b < 1) | (a < 1), math.nan, found)

    @property
    def variance(self) -> Tensor:
        return self._moment(2) - self.mean.pow(2)

    def entropy(self) -> Tensor:
        a, b = self.concentration1, self.concentration0
        harmonic = (b + 1).digamma() + EULER
        return 1 - b.reciprocal() + (1 - a.reciprocal()) * harmonic - a.log() - b.log()


# ---- of one map --------------------------------------------------------------------------------------------


class InverseGamma(TransformedDistribution):
    """Reciprocals of gamma numbers."""

    arg_constraints: ClassVar[Constraints] = {
        "concentration": constraints.positive,
        "rate": constraints.positive,
    }
    support = constraints.positive

    def __init__(self, concentration: Number, rate: Number, validate_args: bool | None = None) -> None:
        base = Gamma(concentration, rate, validate_args)
        minus = from_data.tensor(-1.0, dtype=base.rate.dtype, device=base.rate.device)
        super().__init__(base, PowerTransform(minus), validate_args)

    @property
    def concentration(self) -> Tensor:
        found: Tensor = self.base_dist.concentration
        return found

    @property
    def rate(self) -> Tensor:
        found: Tensor = self.base_dist.rate
        return found

    @property
    def mean(self) -> Tensor:
        return where(self.concentration > 1, self.rate / (self.concentration - 1), math.inf)

    @property
    def mode(self) -> Tensor:
        return self.rate / (self.concentration + 1)

    @property
    def variance(self) -> Tensor:
        a = self.concentration
        return where(a > 2, self.rate.square() / ((a - 1).square() * (a - 2)), math.inf)

    def entropy(self) -> Tensor:
        a = self.concentration
        return a + self.rate.log() + a.lgamma() - (1 + a) * a.digamma()


class HalfCauchy(TransformedDistribution):
    """Magnitudes of Cauchy numbers about 0."""

    arg_constraints: ClassVar[Constraints] = {"scale": constraints.positive}
    support = constraints.nonnegative

    def __init__(self, scale: Number, validate_args: bool | None = None) -> None:
        super().__init__(Cauchy(0.0, scale, validate_args=False), AbsTransform(), validate_args)

    @property
    def scale(self) -> Tensor:
        found: Tensor = self.base_dist.scale
        return found

    @property
    def mean(self) -> Tensor:
        return creation.full_like(self.scale.detach(), math.inf)

    @property
    def mode(self) -> Tensor:
        return creation.full_like(self.scale.detach(), 0.0)

    @property
    def variance(self) -> Tensor:
        found: Tensor = self.base_dist.variance
        return found

    def log_prob(self, value: Tensor) -> Tensor:
        self.check(value)
        return where(value >= 0, self.base_dist.log_prob(value) + math.log(2), -math.inf)

    def cdf(self, value: Tensor) -> Tensor:
        self.check(value)
        return 2 * self.base_dist.cdf(value) - 1

    def icdf(self, value: Tensor) -> Tensor:
        found: Tensor = self.base_dist.icdf((value + 1) / 2)
        return found

    def entropy(self) -> Tensor:
        return self.base_dist.entropy() - math.log(2)


class LogisticNormal(TransformedDistribution):
    """Shares that normal numbers break off, one after the other."""

    arg_constraints: ClassVar[Constraints] = {"loc": constraints.real, "scale": constraints.positive}
    support = constraints.simplex

    def __init__(self, loc: Number, scale: Number, validate_args: bool | None = None) -> None:
        base = Normal(loc, scale, validate_args)
        base = base if base.batch_shape else base.expand((1,))
        super().__init__(base, StickBreakingTransform(), validate_args)

    @property
    def loc(self) -> Tensor:
        found: Tensor = self.base_dist.base_dist.loc
        return found

    @property
    def scale(self) -> Tensor:
        found: Tensor = self.base_dist.base_dist.scale
        return found
