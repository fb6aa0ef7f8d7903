"""Kullback and Leibler's divergence of distributions of two different kinds, where there is a formula.

Each is `−entropy(p) − E_p[log q]`; where p may give what q never does it is infinite, by `_ENDLESS` for whole
kinds. A pair is a function, entered by `register_kl`; that of two mixed Gaussians is among those at the end.
"""

from __future__ import annotations

import math
from typing import Any

from retrograd.compiler.errors import ArgumentError, mirrored
from retrograd.runtime.distributions.continuous import (
    EULER,
    Exponential,
    Gumbel,
    Laplace,
    Normal,
    Uniform,
)
from retrograd.runtime.distributions.discrete import Bernoulli, Binomial, Poisson
from retrograd.runtime.distributions.distribution import broadcast
from retrograd.runtime.distributions.gammas import Beta, Gamma
from retrograd.runtime.distributions.kl import kl_divergence, register_kl
from retrograd.runtime.distributions.low_rank import LowRankMultivariateNormal
from retrograd.runtime.distributions.multivariate import MultivariateNormal, mahalanobis, solve_triangular
from retrograd.runtime.distributions.transformed import Pareto, TransformedDistribution
from retrograd.runtime.functions import creation, pointwise
from retrograd.runtime.tensor import Tensor

where = pointwise.FUNCTIONS["where"]
HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)

# ---- one gives what the other never does -------------------------------------------------------------------

_ENDLESS: dict[type, tuple[str, tuple[type, ...]]] = {
    Beta: ("concentration1", (Pareto,)),
    Exponential: ("rate", (Beta, Pareto, Uniform)),
    Gamma: ("concentration", (Beta, Pareto, Uniform)),
    Gumbel: ("loc", (Beta, Exponential, Gamma, Pareto, Uniform)),
    Laplace: ("loc", (Beta, Exponential, Gamma, Pareto, Uniform)),
    Normal: ("loc", (Beta, Exponential, Gamma, Pareto, Uniform)),
    Pareto: ("scale", (Beta, Uniform)),
    Poisson: ("rate", (Bernoulli, Binomial)),
}
"""A kind of p, a parameter of it in whose shape the answer is, and the kinds of q."""


def endless(name: str) -> Any:
    """A divergence that is infinite, in the shape of a parameter of p."""
    return lambda p, q: creation.full_like(getattr(p, name).detach(), math.inf)


for _kind, (_name, _others) in _ENDLESS.items():
    for _other in _others:
        register_kl(_kind, _other)(endless(_name))


# ---- from a Beta, a Bernoulli ------------------------------------------------------------------------------


@register_kl(Bernoulli, Poisson)
def _bernoulli_poisson(p: Bernoulli, q: Poisson) -> Tensor:
    return -p.entropy() - p.probs * q.rate.log() + q.rate


@register_kl(Beta, Exponential)
def _beta_exponential(p: Beta, q: Exponential) -> Tensor:
    return -p.entropy() - q.rate.log() + q.rate * p.mean


@register_kl(Beta, Gamma)
def _beta_gamma(p: Beta, q: Gamma) -> Tensor:
    total = p.concentration1 + p.concentration0
    log_mean = p.concentration1.digamma() - total.digamma()
    return -p.entropy() + _gamma_level(q) - (q.concentration - 1) * log_mean + q.rate * p.mean


def _gamma_level(q: Gamma) -> Tensor:
    return q.concentration.lgamma() - q.concentration * q.rate.log()


@register_kl(Beta, Normal)
def _beta_normal(p: Beta, q: Normal) -> Tensor:
    return -p.entropy() + _normal_level(p.mean, p.variance, q)


def _normal_level(mean: Tensor, variance: Tensor, q: Normal) -> Tensor:
    """`−E[log q]` of numbers of this mean and variance."""
    return HALF_LOG_2PI + q.scale.log() + (variance + (mean - q.loc).pow(2)) / (2 * q.scale.pow(2))


@register_kl(Beta, Uniform)
def _beta_uniform(p: Beta, q: Uniform) -> Tensor:
    found = -p.entropy() + (q.high - q.low).log()
    return where((q.low > 0) | (q.high < 1), math.inf, found)


# ---- from waiting times ------------------------------------------------------------------------------------


@register_kl(Exponential, Gumbel)
def _exponential_gumbel(p: Exponential, q: Gumbel) -> Tensor:
    product, place = p.rate * q.scale, q.loc / q.scale
    tail = place.exp() * product / (product + 1)
    return product.log() - 1 - place + tail + product.reciprocal()


@register_kl(Exponential, Normal)
def _exponential_normal(p: Exponential, q: Normal) -> Tensor:
    return -p.entropy() + _normal_level(p.mean, p.variance, q)


@register_kl(Gamma, Gumbel)
def _gamma_gumbel(p: Gamma, q: Gumbel) -> Tensor:
    product, place, a = p.rate * q.scale, q.loc / q.scale, p.concentration
    tail = place.exp() * (1 + product.reciprocal()).pow(-a)
    own = (a - 1) * a.digamma() - a.lgamma() - a
    return own + product.log() + a / product + tail - place


@register_kl(Gamma, Normal)
def _gamma_normal(p: Gamma, q: Normal) -> Tensor:
    return -p.entropy() + _normal_level(p.mean, p.variance, q)


@register_kl(Pareto, Exponential)
def _pareto_exponential(p: Pareto, q: Exponential) -> Tensor:
    product, a = p.scale * q.rate, p.alpha
    found = (a / product).log() - a.reciprocal() + a * product / (a - 1) - 1
    return where(a <= 1, math.inf, found)


@register_kl(Pareto, Gamma)
def _pareto_gamma(p: Pareto, q: Gamma) -> Tensor:
    a = p.alpha
    log_mean = p.scale.log() + a.reciprocal()
    found = a.log() - log_mean + _gamma_level(q) + (1 - q.concentration) * log_mean
    return where(a <= 1, math.inf, found + q.rate * a * p.scale / (a - 1) - 1)


@register_kl(Pareto, Normal)
def _pareto_normal(p: Pareto, q: Normal) -> Tensor:
    part, a = p.scale / (p.alpha - 1), p.alpha
    level = (math.sqrt(2 * math.pi) * q.scale * a / p.scale).log() - a.reciprocal() - 1
    away = a * part.pow(2) / (a - 2) + (a * part - q.loc).pow(2)
    return where(a <= 2, math.inf, level + away / (2 * q.scale.pow(2)))


@register_kl(Pareto, Pareto)
def _pareto(p: Pareto, q: Pareto) -> Tensor:
    ratio = q.alpha / p.alpha
    found = q.alpha * (p.scale / q.scale).log() - ratio.log() + ratio - 1
    return where(p.scale < q.scale, math.inf, found)


# ---- from real numbers -------------------------------------------------------------------------------------


@register_kl(Gumbel, Normal)
def _gumbel_normal(p: Gumbel, q: Normal) -> Tensor:
    ratio = p.scale / q.scale
    away = ((p.loc + p.scale * EULER - q.loc) / q.scale).pow(2) * 0.5
    return HALF_LOG_2PI - ratio.log() + (math.pi * ratio * 0.5).pow(2) / 3 + away - (EULER + 1)


@register_kl(Normal, Gumbel)
def _normal_gumbel(p: Normal, q: Gumbel) -> Tensor:
    place, ratio = (p.loc - q.loc) / q.scale, (p.scale / q.scale).pow(2)
    return -0.5 * ratio.log() + place + (0.5 * ratio - place).exp() - 0.5 - HALF_LOG_2PI


@register_kl(Normal, Laplace)
def _normal_laplace(p: Normal, q: Laplace) -> Tensor:
    away = p.loc - q.loc
    place = away / p.scale
    mean = math.sqrt(2 / math.pi) * p.scale * (-0.5 * place.pow(2)).exp()
    mean = mean + away * (math.sqrt(0.5) * place).erf()
    return mean / q.scale - (p.scale / q.scale).log() - 0.5 * (1 + math.log(0.5 * math.pi))


# ---- from a Uniform ----------------------------------------------------------------------------------------


def _log_mean(low: Tensor, high: Tensor) -> Tensor:
    """The mean of log(x) from low to high."""
    return (high.xlogy(high) - low.xlogy(low)) / (high - low) - 1


@register_kl(Uniform, Beta)
def _uniform_beta(p: Uniform, q: Beta) -> Tensor:
    a, b = q.concentration1, q.concentration0
    level = a.lgamma() + b.lgamma() - (a + b).lgamma() - (p.high - p.low).log()
    found = level - (a - 1) * _log_mean(p.low, p.high) - (b - 1) * _log_mean(1 - p.high, 1 - p.low)
    return where((p.high > 1) | (p.low < 0), math.inf, found)


@register_kl(Uniform, Exponential)
def _uniform_exponential(p: Uniform, q: Exponential) -> Tensor:
    found = q.rate * p.mean - ((p.high - p.low) * q.rate).log()
    return where(p.low < 0, math.inf, found)


@register_kl(Uniform, Gamma)
def _uniform_gamma(p: Uniform, q: Gamma) -> Tensor:
    mean = (1 - q.concentration) * _log_mean(p.low, p.high)
    found = _gamma_level(q) - (p.high - p.low).log() + mean + q.rate * p.mean
    return where(p.low < 0, math.inf, found)


@register_kl(Uniform, Gumbel)
def _uniform_gumbel(p: Uniform, q: Gumbel) -> Tensor:
    part = q.scale / (p.high - p.low)
    low, high = (p.low - q.loc) / q.scale, (p.high - q.loc) / q.scale
    return part.log() + 0.5 * (low + high) - part * ((-high).exp() - (-low).exp())


@register_kl(Uniform, Pareto)
def _uniform_pareto(p: Uniform, q: Pareto) -> Tensor:
    level = (q.alpha * q.scale.pow(q.alpha) * (p.high - p.low)).log()
    return where(p.low < q.scale, math.inf, _log_mean(p.low, p.high) * (q.alpha + 1) - level)


# ---- normal vectors, and maps ------------------------------------------------------------------------------

_SIZES = "KL-divergence between two {}Multivariate Normals with{}different event shapes cannot be computed"


def _same_events(p: Any, q: Any, what: str) -> None:
    if p.event_shape != q.event_shape:
        raise ArgumentError(mirrored(_SIZES.format(what, " " * 26)))


def _squares(x: Tensor) -> Tensor:
    return x.pow(2).sum((-2, -1))


@register_kl(LowRankMultivariateNormal, LowRankMultivariateNormal)
def _low_rank(p: LowRankMultivariateNormal, q: LowRankMultivariateNormal) -> Tensor:
    _same_events(p, q, "Low Rank ")
    part = solve_triangular(q.small_tril, q.weighed, upper=False)
    spread = (p.cov_diag / q.cov_diag).sum(-1) + _squares(p.cov_factor * q.cov_diag.rsqrt().unsqueeze(-1))
    spread = spread - _squares(part * p.cov_diag.sqrt().unsqueeze(-2)) - _squares(part @ p.cov_factor)
    return 0.5 * (q.log_det - p.log_det + spread + q.distance(q.loc - p.loc) - p.event_shape[0])


@register_kl(MultivariateNormal, LowRankMultivariateNormal)
def _normal_low_rank(p: MultivariateNormal, q: LowRankMultivariateNormal) -> Tensor:
    _same_events(p, q, "(Low Rank) ")
    part = solve_triangular(q.small_tril, q.weighed, upper=False)
    spread = _squares(p.lower * q.cov_diag.rsqrt().unsqueeze(-1)) - _squares(part @ p.lower)
    level = q.log_det - 2 * p.half_log_det
    return 0.5 * (level + spread + q.distance(q.loc - p.loc) - p.event_shape[0])


@register_kl(LowRankMultivariateNormal, MultivariateNormal)
def _low_rank_normal(p: LowRankMultivariateNormal, q: MultivariateNormal) -> Tensor:
    _same_events(p, q, "(Low Rank) ")
    spread: Any = 0
    for part in (p.cov_factor, p.cov_diag.sqrt().diag_embed()):
        lower, wide = q.lower, part
        if lower.shape[:-2] != wide.shape[:-2]:
            batch = broadcast(lower[..., :1, :1], wide[..., :1, :1])[0].shape[:-2]
            lower = lower.expand(*batch, *lower.shape[-2:])
            wide = wide.expand(*batch, *wide.shape[-2:])
        spread = spread + _squares(solve_triangular(lower, wide, upper=False))
    distance = mahalanobis(q.lower, q.loc - p.loc)
    return 0.5 * (2 * q.half_log_det - p.log_det + spread + distance - p.event_shape[0])


@register_kl(TransformedDistribution, TransformedDistribution)
def _transformed(p: TransformedDistribution, q: TransformedDistribution) -> Tensor:
    if p.transforms != q.transforms or p.event_shape != q.event_shape:
        raise NotImplementedError
    return kl_divergence(p.base_dist, q.base_dist)
