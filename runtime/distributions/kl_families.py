"""Kullback and Leibler's divergence of exponential families: of one kind by their log-normalisers, and of and
from continuous Bernoulli numbers.

A pair is a function, entered by `register_kl`; kinds that are exponential families and have formulas of their
own are members of `ExponentialFamily` by `_MEMBERS`.
"""

from __future__ import annotations

import math

from retrograd.runtime.distributions.bounded import ContinuousBernoulli
from retrograd.runtime.distributions.continuous import Exponential, Gumbel, Laplace, Normal, Uniform
from retrograd.runtime.distributions.discrete import Bernoulli, Categorical, Poisson
from retrograd.runtime.distributions.distribution import Distribution
from retrograd.runtime.distributions.families import ExponentialFamily, divergence
from retrograd.runtime.distributions.gammas import Beta, Dirichlet, Gamma
from retrograd.runtime.distributions.kl import register_kl
from retrograd.runtime.distributions.kl_between import endless
from retrograd.runtime.distributions.transformed import Pareto
from retrograd.runtime.functions import pointwise
from retrograd.runtime.tensor import Tensor

where = pointwise.FUNCTIONS["where"]

_MEMBERS = (Bernoulli, Beta, Categorical, Dirichlet, Exponential, Gamma, Normal, Poisson)

for _member in _MEMBERS:
    ExponentialFamily.register(_member)

register_kl(ExponentialFamily, ExponentialFamily)(divergence)

_BEYOND: tuple[tuple[type[Distribution], str], ...] = (
    (Exponential, "rate"), (Gamma, "concentration"), (Gumbel, "loc"), (Laplace, "loc"), (Normal, "loc"),
    (Pareto, "scale"),
)  # fmt: skip
"""Kinds that give numbers beyond [0, 1], and a parameter in whose shape the answer is."""

for _kind, _name in _BEYOND:
    register_kl(_kind, ContinuousBernoulli)(endless(_name))
register_kl(ContinuousBernoulli, Pareto)(endless("probs"))


def _cross(mean: Tensor, q: ContinuousBernoulli) -> Tensor:
    """The mean of -log q of numbers of this mean."""
    return -mean * q.logits - (-q.probs).log1p() - q.log_norm


@register_kl(ContinuousBernoulli, ContinuousBernoulli)
def _alike(p: ContinuousBernoulli, q: ContinuousBernoulli) -> Tensor:
    return _cross(p.mean, q) - p.entropy()


@register_kl(Beta, ContinuousBernoulli)
def _beta(p: Beta, q: ContinuousBernoulli) -> Tensor:
    return _cross(p.mean, q) - p.entropy()


@register_kl(Uniform, ContinuousBernoulli)
def _uniform(p: Uniform, q: ContinuousBernoulli) -> Tensor:
    found: Tensor = where((p.high >= 1) | (p.low <= 0), math.inf, _cross(p.mean, q) - p.entropy())
    return found


@register_kl(ContinuousBernoulli, Exponential)
def _to_exponential(p: ContinuousBernoulli, q: Exponential) -> Tensor:
    return q.rate * p.mean - q.rate.log() - p.entropy()


@register_kl(ContinuousBernoulli, Normal)
def _to_normal(p: ContinuousBernoulli, q: Normal) -> Tensor:
    spread = (p.variance + (p.mean - q.loc).square()) / (2 * q.scale.square())
    return spread + q.scale.log() + 0.5 * math.log(2 * math.pi) - p.entropy()


@register_kl(ContinuousBernoulli, Uniform)
def _to_uniform(p: ContinuousBernoulli, q: Uniform) -> Tensor:
    found: Tensor = where((q.low >= 0) | (q.high <= 1), math.inf, (q.high - q.low).log() - p.entropy())
    return found
