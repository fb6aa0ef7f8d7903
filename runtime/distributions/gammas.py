"""Distributions made of gamma numbers: Gamma, Chi2, Beta, Dirichlet, StudentT, FisherSnedecor.

Their samples are differentiable by the parameters: `implicit.py`.
"""

from __future__ import annotations

import math
from typing import ClassVar

from retrograd.compiler.errors import ArgumentError, mirrored
from retrograd.runtime.distributions import constraints
from retrograd.runtime.distributions.constraints import Constraints
from retrograd.runtime.distributions.continuous import standard_normal
from retrograd.runtime.distributions.distribution import (
    Distribution,
    Number,
    Shape,
    batch_of,
    broadcast,
    limits,
)
from retrograd.runtime.distributions.implicit import standard_dirichlet, standard_gamma
from retrograd.runtime.functions import joining, pointwise
from retrograd.runtime.functions.public import FUNCTIONS
from retrograd.runtime.functions.special import igamma
from retrograd.runtime.tensor import Tensor

where = pointwise.FUNCTIONS["where"]


class Gamma(Distribution):
    """Waiting times for `concentration` events of a process of `rate` events per unit."""

    has_rsample = True
    arg_constraints: ClassVar[Constraints] = {
        "concentration": constraints.positive,
        "rate": constraints.positive,
    }
    support = constraints.nonnegative

    def __init__(self, concentration: Number, rate: Number, validate_args: bool | None = None) -> None:
        self.concentration, self.rate = broadcast(concentration, rate)
        self.begin(batch_of(self.rate, concentration, rate), (), validate_args)

    @property
    def mean(self) -> Tensor:
        return self.concentration / self.rate

    @property
    def mode(self) -> Tensor:
        return ((self.concentration - 1) / self.rate).clamp(min=0)

    @property
    def variance(self) -> Tensor:
        return self.concentration / self.rate.pow(2)

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        shape = self.extended(sample_shape)
        found = standard_gamma(self.concentration.expand(shape)) / self.rate.expand(shape)
        tiny = float(limits(found).tiny)
        return where(found.detach() < tiny, found - found.detach() + tiny, found)

    def log_prob(self, value: Tensor) -> Tensor:
        self.check(value)
        a, rate = self.concentration, self.rate
        value = value.to(rate.dtype)
        return a.xlogy(rate) + (a - 1).xlogy(value) - rate * value - a.lgamma()

    def cdf(self, value: Tensor) -> Tensor:
        self.check(value)
        return igamma(self.concentration, self.rate * value)

    def entropy(self) -> Tensor:
        a = self.concentration
        return a - self.rate.log() + a.lgamma() + (1.0 - a) * a.digamma()


class Chi2(Gamma):
    """Sums of the squares of `df` standard normal numbers."""

    arg_constraints: ClassVar[Constraints] = {"df": constraints.positive}

    def __init__(self, df: Number, validate_args: bool | None = None) -> None:
        super().__init__(0.5 * df, 0.5, validate_args)

    @property
    def df(self) -> Tensor:
        return self.concentration * 2


class Dirichlet(Distribution):
    """Vectors of probabilities along the last axis."""

    has_rsample = True
    arg_constraints: ClassVar[Constraints] = {
        "concentration": constraints.independent(constraints.positive, 1)
    }
    support = constraints.simplex

    def __init__(self, concentration: Tensor, validate_args: bool | None = None) -> None:
        if concentration.ndim < 1:
            raise ArgumentError(mirrored("`concentration` parameter must be at least one-dimensional."))
        self.concentration = concentration
        self.begin(concentration.shape[:-1], concentration.shape[-1:], validate_args)

    @property
    def mean(self) -> Tensor:
        return self.concentration / self.concentration.sum(-1, True)

    @property
    def mode(self) -> Tensor:
        less = (self.concentration - 1).clamp(min=0.0)
        shares = less / less.sum(-1, True)
        corner = (self.concentration < 1).all(-1, keepdim=True)
        places = FUNCTIONS["arange"](less.shape[-1], device=less.device)
        top = (shares.argmax(-1, keepdim=True) == places).to(less.dtype)
        return where(corner, top, shares)

    @property
    def variance(self) -> Tensor:
        total = self.concentration.sum(-1, True)
        return self.concentration * (total - self.concentration) / (total.pow(2) * (total + 1))

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        return standard_dirichlet(self.concentration.expand(self.extended(sample_shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        self.check(value)
        a = self.concentration
        return (a - 1.0).xlogy(value).sum(-1) + a.sum(-1).lgamma() - a.lgamma().sum(-1)

    def entropy(self) -> Tensor:
        a = self.concentration
        count, total = a.shape[-1], a.sum(-1)
        spread = (count - total) * total.digamma()
        return a.lgamma().sum(-1) - total.lgamma() - spread - ((a - 1.0) * a.digamma()).sum(-1)


class Beta(Distribution):
    """Probabilities: the first of two Dirichlet numbers."""

    has_rsample = True
    arg_constraints: ClassVar[Constraints] = {
        "concentration1": constraints.positive,
        "concentration0": constraints.positive,
    }
    support = constraints.unit_interval

    def __init__(
        self, concentration1: Number, concentration0: Number, validate_args: bool | None = None
    ) -> None:
        first, second = broadcast(concentration1, concentration0)
        self._dirichlet = Dirichlet(joining.stack([first, second], -1), validate_args)
        self.begin(batch_of(first, concentration1, concentration0), (), validate_args)

    @property
    def concentration1(self) -> Tensor:
        return self._dirichlet.concentration[..., 0]

    @property
    def concentration0(self) -> Tensor:
        return self._dirichlet.concentration[..., 1]

    @property
    def mean(self) -> Tensor:
        return self.concentration1 / (self.concentration1 + self.concentration0)

    @property
    def mode(self) -> Tensor:
        return self._dirichlet.mode[..., 0]

    @property
    def variance(self) -> Tensor:
        total = self.concentration1 + self.concentration0
        return self.concentration1 * self.concentration0 / (total.pow(2) * (total + 1))

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        return self._dirichlet.rsample(sample_shape)[..., 0]

    def log_prob(self, value: Tensor) -> Tensor:
        self.check(value)
        return self._dirichlet.log_prob(joining.stack([value, 1.0 - value], -1))

    def entropy(self) -> Tensor:
        return self._dirichlet.entropy()


class StudentT(Distribution):
    """A normal number over the root of a mean of `df` squares of others."""

    has_rsample = True
    arg_constraints: ClassVar[Constraints] = {
        "df": constraints.positive,
        "loc": constraints.real,
        "scale": constraints.positive,
    }
    support = constraints.real

    def __init__(
        self, df: Number, loc: Number = 0.0, scale: Number = 1.0, validate_args: bool | None = None
    ) -> None:
        self.df, self.loc, self.scale = broadcast(df, loc, scale)
        self.begin(batch_of(self.df, df, loc, scale), (), validate_args)

    @property
    def mean(self) -> Tensor:
        return where(self.df <= 1, math.nan, self.loc)

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        above = where(self.df > 2, self.df, 3.0)
        finite = self.scale.pow(2) * above / (above - 2)
        return where(self.df > 2, finite, where(self.df > 1, math.inf, math.nan))

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        x = standard_normal(self.extended(sample_shape), self.df)
        z = Chi2(self.df, validate_args=False).rsample(sample_shape)
        return self.loc + self.scale * (x * (z / self.df).rsqrt())

    def log_prob(self, value: Tensor) -> Tensor:
        self.check(value)
        y = (value - self.loc) / self.scale
        level = self.scale.log() + 0.5 * self.df.log() + 0.5 * math.log(math.pi)
        level = level + (0.5 * self.df).lgamma() - (0.5 * (self.df + 1.0)).lgamma()
        return -0.5 * (self.df + 1.0) * (y**2.0 / self.df).log1p() - level

    def entropy(self) -> Tensor:
        half = 0.5 * self.df
        beta = half.lgamma() + math.lgamma(0.5) - (half + 0.5).lgamma()
        slope = (half + 0.5).digamma() - half.digamma()
        return self.scale.log() + 0.5 * (self.df + 1) * slope + 0.5 * self.df.log() + beta


class FisherSnedecor(Distribution):
    """The quotient of two Chi2 numbers, each over its degrees of freedom."""

    has_rsample = True
    arg_constraints: ClassVar[Constraints] = {"df1": constraints.positive, "df2": constraints.positive}
    support = constraints.positive

    def __init__(self, df1: Number, df2: Number, validate_args: bool | None = None) -> None:
        self.df1, self.df2 = broadcast(df1, df2)
        self.begin(batch_of(self.df1, df1, df2), (), validate_args)

    @property
    def mean(self) -> Tensor:
        df2 = where(self.df2 <= 2, math.nan, self.df2)
        return df2 / (df2 - 2)

    @property
    def mode(self) -> Tensor:
        found = (self.df1 - 2) / self.df1 * self.df2 / (self.df2 + 2)
        return where(self.df1 <= 2, math.nan, found)

    @property
    def variance(self) -> Tensor:
        df2 = where(self.df2 <= 4, math.nan, self.df2)
        return 2 * df2.pow(2) * (self.df1 + df2 - 2) / (self.df1 * (df2 - 2).pow(2) * (df2 - 4))

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        above, below = (Gamma(df * 0.5, df, False).rsample(sample_shape) for df in (self.df1, self.df2))
        tiny = float(limits(below).tiny)
        return (above / below.clamp(min=tiny)).clamp(min=tiny)

    def log_prob(self, value: Tensor) -> Tensor:
        self.check(value)
        a, b, ratio = self.df1 * 0.5, self.df2 * 0.5, self.df1 / self.df2
        level = (a + b).lgamma() - a.lgamma() - b.lgamma()
        return level + a * ratio.log() + (a - 1) * value.log() - (a + b) * (ratio * value).log1p()
