"""Distributions on a circle, between 0 and 1, and above a threshold: VonMises, ContinuousBernoulli,
GeneralizedPareto.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

from retrograd.compiler import dtypes
from retrograd.compiler.errors import ArgumentError, mirrored
from retrograd.runtime.distributions import constraints
from retrograd.runtime.distributions.constraints import Constraints
from retrograd.runtime.distributions.distribution import (
    Distribution,
    Number,
    Odds,
    Shape,
    batch_of,
    broadcast,
    chosen,
    clamped,
)
from retrograd.runtime.distributions.families import ExponentialFamily
from retrograd.runtime.functions import creation, pointwise
from retrograd.runtime.functions.public import FUNCTIONAL, FUNCTIONS
from retrograd.runtime.functions.special import SPECIAL
from retrograd.runtime.tensor import Tensor

where, rand = pointwise.FUNCTIONS["where"], FUNCTIONS["rand"]
i0e, i1e = SPECIAL["i0e"], SPECIAL["i1e"]


class VonMises(Distribution):
    """Angles about `loc`, of density proportional to exp(concentration · cos(x - loc))."""

    arg_constraints: ClassVar[Constraints] = {
        "loc": constraints.real,
        "concentration": constraints.positive,
    }
    support = constraints.real

    def __init__(self, loc: Tensor, concentration: Tensor, validate_args: bool | None = None) -> None:
        self.loc, self.concentration = broadcast(loc, concentration)
        self.begin(self.loc.shape, (), validate_args)

    def log_prob(self, value: Tensor) -> Tensor:
        self.check(value)
        # log I0(k) is log(i0e(k)) + k, and the k goes into the cosine, less 1
        turned = (value - self.loc).cos() - 1
        return self.concentration * turned - math.log(2 * math.pi) - i0e(self.concentration).log()

    def draw(self, sample_shape: Shape) -> Tensor:
        """By the envelope of Best and Fisher, "Efficient simulation of the von Mises distribution" (1979)."""
        shape = self.extended(sample_shape)
        loc, k = (x.detach().to(dtypes.float64) for x in (self.loc, self.concentration))
        tau = 1 + (1 + 4 * k * k).sqrt()
        rho = (tau - (2 * tau).sqrt()) / (2 * k)
        r = where(k < 1e-5, 1 / k + k, (1 + rho * rho) / (2 * rho))
        x, done = creation.zeros(shape, dtype=loc.dtype), creation.zeros(shape, dtype=dtypes.bool_)
        while not bool(done.all()):
            first, second, third = rand((3, *shape), dtype=loc.dtype).unbind()
            z = (math.pi * first).cos()
            f = (1 + r * z) / (r + z)
            c = k * (r - f)
            accept = ((c * (2 - c) - second) > 0) | ((c / second).log() + 1 - c >= 0)
            x, done = where(accept, (third - 0.5).sign() * f.acos(), x), done | accept
        found: Tensor = ((x + math.pi + loc) % (2 * math.pi) - math.pi).to(self.loc.dtype)
        return found

    @property
    def mean(self) -> Tensor:
        """The circular mean."""
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        """The circular variance."""
        found: Tensor = 1 - i1e(self.concentration) / i0e(self.concentration)
        return found


class ContinuousBernoulli(Odds, ExponentialFamily):
    """Numbers in [0, 1] of density proportional to p^x (1 - p)^(1 - x) (Loaiza-Ganem and Cunningham, "The
    continuous Bernoulli", 2019). Where p is within `lims`, about 1/2, series stand for what would cancel.
    """

    has_rsample = True
    arg_constraints: ClassVar[Constraints] = {
        "probs": constraints.unit_interval,
        "logits": constraints.real,
    }
    support = constraints.unit_interval
    _mean_carrier_measure = 0

    def __init__(
        self, probs: Number | None = None, logits: Number | None = None,
        lims: tuple[float, float] = (0.499, 0.501), validate_args: bool | None = None,
    ) -> None:  # fmt: skip
        by_probs = chosen("ContinuousBernoulli", probs, logits)
        given: Any = probs if by_probs else logits
        (value,) = broadcast(given)
        if by_probs and validate_args is not None and not constraints.unit_interval.check(value).all():
            raise ArgumentError(mirrored("The parameter probs has invalid values"))
        setattr(self, "probs" if by_probs else "logits", clamped(value) if by_probs else value)
        self._lims = lims
        self.begin(batch_of(value, given), (), validate_args)

    @property
    def param_shape(self) -> Any:
        return self.logits.shape

    @property
    def _apart(self) -> Tensor:
        """Where p is not about 1/2."""
        return (self.probs <= self._lims[0]) | (self.probs > self._lims[1])

    @property
    def _cut(self) -> Tensor:
        """p where it is not about 1/2, else the nearest that is not."""
        found: Tensor = where(self._apart, self.probs, self._lims[0])
        return found

    @property
    def log_norm(self) -> Tensor:
        """The logarithm of the factor that makes the density integrate to 1: 2 atanh(1 - 2p) / (1 - 2p)."""
        p = self._cut
        odds = ((-p).log1p() - p.log()).abs().log()
        low, high = where(p <= 0.5, p, 0.0), where(p >= 0.5, p, 1.0)
        found = odds - where(p <= 0.5, (-2 * low).log1p(), (2 * high - 1).log())
        x = (self.probs - 0.5).square()
        series = math.log(2.0) + (4 / 3 + 104 / 45 * x) * x
        chosen_one: Tensor = where(self._apart, found, series)
        return chosen_one

    @property
    def mean(self) -> Tensor:
        p, x = self._cut, self.probs - 0.5
        found = p / (2 * p - 1) + 1 / ((-p).log1p() - p.log())
        series = 0.5 + (1 / 3 + 16 / 45 * x.square()) * x
        chosen_one: Tensor = where(self._apart, found, series)
        return chosen_one

    @property
    def variance(self) -> Tensor:
        p, x = self._cut, (self.probs - 0.5).square()
        found = p * (p - 1) / (1 - 2 * p).square() + 1 / ((-p).log1p() - p.log()).square()
        series = 1 / 12 - (1 / 15 - 128 / 945 * x) * x
        chosen_one: Tensor = where(self._apart, found, series)
        return chosen_one

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        return self.icdf(rand(self.extended(sample_shape), dtype=self.probs.dtype))

    def log_prob(self, value: Tensor) -> Tensor:
        self.check(value)
        logits, value = broadcast(self.logits, value)
        loss = FUNCTIONAL["binary_cross_entropy_with_logits"](logits, value, reduction="none")
        return self.log_norm - loss

    def cdf(self, value: Tensor) -> Tensor:
        self.check(value)
        p = self._cut
        found = (p.pow(value) * (1 - p).pow(1 - value) + p - 1) / (2 * p - 1)
        inside = where(self._apart, found, value)
        cut: Tensor = where(value <= 0, 0.0, where(value >= 1, 1.0, inside))
        return cut.to(value.dtype)

    def icdf(self, value: Tensor) -> Tensor:
        p = self._cut
        rest = (-p).log1p()
        found: Tensor = where(
            self._apart, ((value * (2 * p - 1) - p).log1p() - rest) / (p.log() - rest), value
        )
        return found

    def entropy(self) -> Tensor:
        rest = (-self.probs).log1p()
        return self.mean * (rest - self.probs.log()) - self.log_norm - rest

    @property
    def _natural_params(self) -> tuple[Tensor, ...]:
        return (self.logits,)

    def _log_normalizer(self, *natural: Tensor) -> Tensor:
        (x,) = natural
        low, high = (bound - 0.5 for bound in self._lims)
        apart = (x <= low) | (x > high)
        cut = where(apart, x, low)
        series = 0.5 * x + x.square() / 24 - x.pow(4) / 2880
        found: Tensor = where(apart, cut.expm1().abs().log() - cut.abs().log(), series)
        return found


class GeneralizedPareto(Distribution):
    """Excesses over `loc`: of density (1 + concentration · z)^(-1/concentration - 1) / scale, with z the
    distance from `loc` over `scale`; exp(-z) / scale where the concentration is 0.
    """

    has_rsample = True
    arg_constraints: ClassVar[Constraints] = {
        "loc": constraints.real,
        "scale": constraints.positive,
        "concentration": constraints.real,
    }

    def __init__(
        self, loc: Number, scale: Number, concentration: Number, validate_args: bool | None = None
    ) -> None:
        self.loc, self.scale, self.concentration = broadcast(loc, scale, concentration)
        self.begin(batch_of(self.loc, loc, scale, concentration), (), validate_args)

    @property
    def support(self) -> Any:
        reach = self.loc - self.scale / self.concentration
        return constraints.interval(self.loc, where(self.concentration < 0, reach, math.inf))

    @property
    def _curved(self) -> tuple[Tensor, Tensor]:
        """Where the concentration is as good as 0, and one that is not 0 there."""
        straight = self.concentration.abs() <= 1e-8
        return straight, where(straight, 1.0, self.concentration)

    def _distance(self, value: Tensor) -> Tensor:
        self.check(value)
        return (value - self.loc) / self.scale

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        return self.icdf(rand(self.extended(sample_shape), dtype=self.loc.dtype))

    def log_prob(self, value: Tensor) -> Tensor:
        z, (straight, curve) = self._distance(value), self._curved
        power = 1 / curve + 1
        tail = where(power == 0, power, power * (curve * z).log1p())
        return -self.scale.log() - where(straight, z, tail)

    def log_survival_function(self, value: Tensor) -> Tensor:
        """The logarithm of the probability of a greater value."""
        z, (straight, curve) = self._distance(value), self._curved
        found: Tensor = where(straight, -z, -(curve * z).log1p() / curve)
        return found

    def log_cdf(self, value: Tensor) -> Tensor:
        """The logarithm of `cdf`."""
        return (-self.log_survival_function(value).exp()).log1p()

    def cdf(self, value: Tensor) -> Tensor:
        return self.log_cdf(value).exp()

    def icdf(self, value: Tensor) -> Tensor:
        straight, curve = self._curved
        rest = (-value).log1p()
        bent = self.loc + self.scale / curve * (-curve * rest).expm1()
        found: Tensor = where(straight, self.loc - self.scale * rest, bent)
        return found

    @property
    def mean(self) -> Tensor:
        there = self.concentration < 1
        found: Tensor = where(
            there, self.loc + self.scale / (1 - where(there, self.concentration, 0.5)), math.nan
        )
        return found

    @property
    def variance(self) -> Tensor:
        there = self.concentration < 0.5
        k = where(there, self.concentration, 0.25)
        found: Tensor = where(there, self.scale.square() / ((1 - k).square() * (1 - 2 * k)), math.nan)
        return found

    def entropy(self) -> Tensor:
        found: Tensor = (self.scale.log() + self.concentration + 1).expand(self.batch_shape)
        return found

    @property
    def mode(self) -> Tensor:
        return self.loc
