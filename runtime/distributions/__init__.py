"""Distributions of random numbers, under the names of `torch.distributions`.

In flow parameters, out flow samples of PyTorch's stream of random numbers, logarithms of densities,
entropies and divergences, all of them differentiable. `distribution.py` is the base of all; the other files
hold them by kind.
"""

from __future__ import annotations

from retrograd.runtime.distributions import constraints, kl
from retrograd.runtime.distributions.continuous import (
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
from retrograd.runtime.distributions.distribution import Distribution
from retrograd.runtime.distributions.gammas import Beta, Chi2, Dirichlet, Gamma, StudentT
from retrograd.runtime.distributions.kl import kl_divergence, register_kl
from retrograd.runtime.distributions.multivariate import Independent, MultivariateNormal

__all__ = [
    "Bernoulli",
    "Beta",
    "Binomial",
    "Categorical",
    "Cauchy",
    "Chi2",
    "Dirichlet",
    "Distribution",
    "Exponential",
    "Gamma",
    "Geometric",
    "Gumbel",
    "HalfNormal",
    "Independent",
    "Laplace",
    "LogNormal",
    "MultivariateNormal",
    "Normal",
    "OneHotCategorical",
    "Poisson",
    "StudentT",
    "Uniform",
    "constraints",
    "kl",
    "kl_divergence",
    "register_kl",
]
