"""Distributions of random numbers, under the names of `torch.distributions`.

In flow parameters, out flow samples of PyTorch's stream of random numbers, logarithms of densities,
entropies and divergences, all of them differentiable. `distribution.py` is the base of all; the other files
hold them by kind.
"""

from __future__ import annotations

from retrograd.runtime.distributions import constraints, kl, kl_between, kl_families, transforms
from retrograd.runtime.distributions.bounded import ContinuousBernoulli, GeneralizedPareto, VonMises
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
from retrograd.runtime.distributions.counts import Multinomial, NegativeBinomial
from retrograd.runtime.distributions.discrete import (
    Bernoulli,
    Binomial,
    Categorical,
    Geometric,
    OneHotCategorical,
    Poisson,
)
from retrograd.runtime.distributions.distribution import Distribution
from retrograd.runtime.distributions.families import ExponentialFamily
from retrograd.runtime.distributions.gammas import Beta, Chi2, Dirichlet, FisherSnedecor, Gamma, StudentT
from retrograd.runtime.distributions.kl import kl_divergence, register_kl
from retrograd.runtime.distributions.low_rank import LowRankMultivariateNormal
from retrograd.runtime.distributions.matrices import LKJCholesky, Wishart
from retrograd.runtime.distributions.mixture import MixtureSameFamily
from retrograd.runtime.distributions.multivariate import Independent, MultivariateNormal
from retrograd.runtime.distributions.registry import biject_to, transform_to
from retrograd.runtime.distributions.relaxed import (
    OneHotCategoricalStraightThrough,
    RelaxedBernoulli,
    RelaxedOneHotCategorical,
)
from retrograd.runtime.distributions.transformed import (
    HalfCauchy,
    InverseGamma,
    Kumaraswamy,
    LogisticNormal,
    Pareto,
    TransformedDistribution,
    Weibull,
)
from retrograd.runtime.distributions.transforms import (
    AbsTransform,
    AffineTransform,
    CatTransform,
    ComposeTransform,
    CorrCholeskyTransform,
    CumulativeDistributionTransform,
    ExpTransform,
    IndependentTransform,
    LowerCholeskyTransform,
    PositiveDefiniteTransform,
    PowerTransform,
    ReshapeTransform,
    SigmoidTransform,
    SoftmaxTransform,
    SoftplusTransform,
    StackTransform,
    StickBreakingTransform,
    TanhTransform,
    Transform,
    identity_transform,
)

__all__ = [
    "AbsTransform",
    "AffineTransform",
    "Bernoulli",
    "Beta",
    "Binomial",
    "CatTransform",
    "Categorical",
    "Cauchy",
    "Chi2",
    "ComposeTransform",
    "ContinuousBernoulli",
    "CorrCholeskyTransform",
    "CumulativeDistributionTransform",
    "Dirichlet",
    "Distribution",
    "ExpTransform",
    "Exponential",
    "ExponentialFamily",
    "FisherSnedecor",
    "Gamma",
    "GeneralizedPareto",
    "Geometric",
    "Gumbel",
    "HalfCauchy",
    "HalfNormal",
    "Independent",
    "IndependentTransform",
    "InverseGamma",
    "Kumaraswamy",
    "LKJCholesky",
    "Laplace",
    "LogNormal",
    "LogisticNormal",
    "LowRankMultivariateNormal",
    "LowerCholeskyTransform",
    "MixtureSameFamily",
    "Multinomial",
    "MultivariateNormal",
    "NegativeBinomial",
    "Normal",
    "OneHotCategorical",
    "OneHotCategoricalStraightThrough",
    "Pareto",
    "Poisson",
    "PositiveDefiniteTransform",
    "PowerTransform",
    "RelaxedBernoulli",
    "RelaxedOneHotCategorical",
    "ReshapeTransform",
    "SigmoidTransform",
    "SoftmaxTransform",
    "SoftplusTransform",
    "StackTransform",
    "StickBreakingTransform",
    "StudentT",
    "TanhTransform",
    "Transform",
    "TransformedDistribution",
    "Uniform",
    "VonMises",
    "Weibull",
    "Wishart",
    "biject_to",
    "constraints",
    "identity_transform",
    "kl",
    "kl_between",
    "kl_families",
    "kl_divergence",
    "register_kl",
    "transform_to",
    "transforms",
]
