"""Kullback and Leibler's divergence of one distribution from another, where there is a formula.

In flow two distributions, out flows the divergence in nats for each element of the batch. A pair of kinds is
a function, entered by `register_kl`; of several that fit, that of the nearest kinds is taken.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

from retrograd.compiler.errors import ArgumentError, mirrored
from retrograd.runtime.distributions.continuous import (
    EULER,
    Cauchy,
    Exponential,
    Gumbel,
    HalfNormal,
    Laplace,
    LogNormal,
    Normal,
    Uniform,
)
from retrograd.runtime.distributions.discrete import (
    Bernoulli,
    Binomial,
    Categorical,
    Geometric,
    OneHotCategorical,
    Poisson,
)
from retrograd.runtime.distributions.distribution import Distribution, broadcast
from retrograd.runtime.distributions.gammas import Beta, Dirichlet, Gamma
from retrograd.runtime.distributions.multivariate import (
    Independent,
    MultivariateNormal,
    mahalanobis,
    solve_triangular,
)
from retrograd.runtime.functions import pointwise
from retrograd.runtime.tensor import Tensor

where = pointwise.FUNCTIONS["where"]
Divergence = Callable[[Any, Any], Tensor]
_F = TypeVar("_F", bound=Divergence)
_PAIRS: dict[tuple[type, type], Divergence] = {}


def register_kl(type_p: type, type_q: type) -> Callable[[_F], _F]:
    """Enter the divergence of distributions of these kinds, or of kinds derived from them."""
    for kind in (type_p, type_q):
        if not issubclass(kind, Distribution):
            what = "type_p" if kind is type_p else "type_q"
            raise ArgumentError(mirrored(f"Expected {what} to be a Distribution subclass but got {kind}"))

    def enter(function: _F) -> _F:
        _PAIRS[type_p, type_q] = function
        return function

    return enter


def kl_divergence(p: Distribution, q: Distribution) -> Tensor:
    """The divergence of q from p, `E_p[log p − log q]`. NotImplementedError where there is no formula."""
    for kind_p in type(p).__mro__:
        for kind_q in type(q).__mro__:
            if (kind_p, kind_q) in _PAIRS:
                return _PAIRS[kind_p, kind_q](p, q)
    raise NotImplementedError(
        f"No KL(p || q) is implemented for p type {type(p).__name__} and q type {type(q).__name__}"
    )


# ---- real numbers ------------------------------------------------------------------------------------------


@register_kl(Normal, Normal)
def _normal(p: Normal, q: Normal) -> Tensor:
    ratio = (p.scale / q.scale).pow(2)
    return 0.5 * (ratio + ((p.loc - q.loc) / q.scale).pow(2) - 1 - ratio.log())


@register_kl(LogNormal, LogNormal)
def _log_normal(p: LogNormal, q: LogNormal) -> Tensor:
    return _normal(p.base_dist, q.base_dist)


@register_kl(HalfNormal, HalfNormal)
def _half_normal(p: HalfNormal, q: HalfNormal) -> Tensor:
    return _normal(p.base_dist, q.base_dist)


@register_kl(Laplace, Laplace)
def _laplace(p: Laplace, q: Laplace) -> Tensor:
    ratio, away = p.scale / q.scale, (p.loc - q.loc).abs()
    return -ratio.log() + away / q.scale + ratio * (-away / p.scale).exp() - 1


@register_kl(Cauchy, Cauchy)
def _cauchy(p: Cauchy, q: Cauchy) -> Tensor:
    above = ((p.scale + q.scale).pow(2) + (p.loc - q.loc).pow(2)).log()
    return above - (4 * p.scale * q.scale).log()


@register_kl(Gumbel, Gumbel)
def _gumbel(p: Gumbel, q: Gumbel) -> Tensor:
    ratio, places = p.scale / q.scale, (p.loc - q.loc) / q.scale
    moved = (-places + (1 + ratio).lgamma()).exp()
    return q.scale.log() - p.scale.log() + places + moved + EULER * ratio - (1 + EULER)


@register_kl(Exponential, Exponential)
def _exponential(p: Exponential, q: Exponential) -> Tensor:
    ratio = q.rate / p.rate
    return -ratio.log() + ratio - 1


@register_kl(Uniform, Uniform)
def _uniform(p: Uniform, q: Uniform) -> Tensor:
    found = ((q.high - q.low) / (p.high - p.low)).log()
    return where((q.low > p.low) | (q.high < p.high), math.inf, found)


@register_kl(Uniform, Normal)
def _uniform_normal(p: Uniform, q: Normal) -> Tensor:
    width = p.high - p.low
    square = ((p.high + p.low - 2 * q.loc) / 2).pow(2)
    return (math.sqrt(2 * math.pi) * q.scale / width).log() + (width.pow(2) / 12 + square) / (
        2 * q.scale.pow(2)
    )


@register_kl(Laplace, Normal)
def _laplace_normal(p: Laplace, q: Normal) -> Tensor:
    variance, ratio = q.scale.pow(2), p.scale.pow(2) / q.scale.pow(2)
    offset = 0.5 * p.loc.pow(2) - p.loc * q.loc + 0.5 * q.loc.pow(2)
    return -0.5 * (2 * ratio / math.pi).log() + ratio + offset / variance - 1


# ---- gamma numbers -----------------------------------------------------------------------------------------


@register_kl(Gamma, Gamma)
def _gamma(p: Gamma, q: Gamma) -> Tensor:
    a, b = p.concentration, q.concentration
    level = b * (p.rate / q.rate).log() + b.lgamma() - a.lgamma()
    return level + (a - b) * a.digamma() + (q.rate - p.rate) * (a / p.rate)


@register_kl(Exponential, Gamma)
def _exponential_gamma(p: Exponential, q: Gamma) -> Tensor:
    ratio, b = q.rate / p.rate, q.concentration
    return -b * ratio.log() + ratio + b.lgamma() + b * EULER - (1 + EULER)


@register_kl(Gamma, Exponential)
def _gamma_exponential(p: Gamma, q: Exponential) -> Tensor:
    return -p.entropy() - q.rate.log() + q.rate * p.concentration / p.rate


@register_kl(Dirichlet, Dirichlet)
def _dirichlet(p: Dirichlet, q: Dirichlet) -> Tensor:
    a, b = p.concentration, q.concentration
    total = a.sum(-1)
    level = total.lgamma() - b.sum(-1).lgamma() - (a.lgamma() - b.lgamma()).sum(-1)
    return level + ((a - b) * (a.digamma() - total.digamma().unsqueeze(-1))).sum(-1)


@register_kl(Beta, Beta)
def _beta(p: Beta, q: Beta) -> Tensor:
    return _dirichlet(p._dirichlet, q._dirichlet)


# ---- counts and choices ------------------------------------------------------------------------------------


@register_kl(Bernoulli, Bernoulli)
def _bernoulli(p: Bernoulli, q: Bernoulli) -> Tensor:
    ones = p.probs * (_softplus(-q.logits) - _softplus(-p.logits))
    zeros = (1 - p.probs) * (_softplus(q.logits) - _softplus(p.logits))
    ones = where(q.probs == 0, math.inf, ones)
    zeros = where(q.probs == 1, math.inf, zeros)
    return where(p.probs == 0, 0.0, ones) + where(p.probs == 1, 0.0, zeros)


def _softplus(x: Tensor) -> Tensor:
    return x.clamp(min=0) + (-x.abs()).exp().log1p()


@register_kl(Binomial, Binomial)
def _binomial(p: Binomial, q: Binomial) -> Tensor:
    found = p.total_count * (p.probs * (p.logits - q.logits) + (-p.probs).log1p() - (-q.probs).log1p())
    return where(p.total_count > q.total_count, math.inf, found)


@register_kl(Categorical, Categorical)
def _categorical(p: Categorical, q: Categorical) -> Tensor:
    terms = p.probs * (p.logits - q.logits)
    terms = where((q.probs == 0).expand(terms.shape), math.inf, terms)
    return where((p.probs == 0).expand(terms.shape), 0.0, terms).sum(-1)


@register_kl(OneHotCategorical, OneHotCategorical)
def _one_hot_categorical(p: OneHotCategorical, q: OneHotCategorical) -> Tensor:
    return _categorical(p._categorical, q._categorical)


@register_kl(Geometric, Geometric)
def _geometric(p: Geometric, q: Geometric) -> Tensor:
    return -p.entropy() - (-q.probs).log1p() / p.probs - q.logits


@register_kl(Poisson, Poisson)
def _poisson(p: Poisson, q: Poisson) -> Tensor:
    return p.rate * (p.rate.log() - q.rate.log()) - (p.rate - q.rate)


# ---- events with axes --------------------------------------------------------------------------------------


@register_kl(MultivariateNormal, MultivariateNormal)
def _multivariate_normal(p: MultivariateNormal, q: MultivariateNormal) -> Tensor:
    if p.event_shape != q.event_shape:
        raise ArgumentError(
            mirrored(
                "KL-divergence between two Multivariate Normals with different event shapes cannot be "
                "computed"
            )
        )
    n = p.event_shape[0]
    upper, lower = broadcast(p.lower, q.lower)
    spread = solve_triangular(lower, upper, upper=False).pow(2).sum((-2, -1))
    distance = mahalanobis(q.lower, q.loc - p.loc)
    return q.half_log_det - p.half_log_det + 0.5 * (spread + distance - n)


@register_kl(Independent, Independent)
def _independent(p: Independent, q: Independent) -> Tensor:
    if p.reinterpreted_batch_ndims != q.reinterpreted_batch_ndims:
        raise NotImplementedError
    return p.summed(kl_divergence(p.base_dist, q.base_dist))
