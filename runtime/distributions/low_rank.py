"""`LowRankMultivariateNormal`: normal vectors whose covariance is `W·Wᵀ + diag(D)`, W with few columns.

All is done with matrices of W's few columns (Woodbury's identity, and the lemma of determinants): the
Cholesky factor of `1 + Wᵀ·D⁻¹·W` stands for the covariance.
"""

from __future__ import annotations

import math
from typing import ClassVar

from retrograd.compiler.errors import ArgumentError, ShapeError, mirrored
from retrograd.compiler.ops.elementwise import broadcast_shapes
from retrograd.runtime.distributions import constraints
from retrograd.runtime.distributions.constraints import Constraints
from retrograd.runtime.distributions.continuous import standard_normal
from retrograd.runtime.distributions.distribution import Distribution, Shape, lazy
from retrograd.runtime.distributions.multivariate import cholesky, mahalanobis, solve_triangular
from retrograd.runtime.functions import creation
from retrograd.runtime.tensor import Tensor


class LowRankMultivariateNormal(Distribution):
    """Normal vectors of mean `loc`, by `cov_factor` `[…, n, k]` and `cov_diag` `[…, n]`."""

    has_rsample = True
    arg_constraints: ClassVar[Constraints] = {
        "loc": constraints.real_vector,
        "cov_factor": constraints.independent(constraints.real, 2),
        "cov_diag": constraints.independent(constraints.positive, 1),
    }
    support = constraints.real_vector

    def __init__(
        self, loc: Tensor, cov_factor: Tensor, cov_diag: Tensor, validate_args: bool | None = None
    ) -> None:
        _check(loc, cov_factor, cov_diag)
        shapes = (tuple(loc.shape[:-1]), tuple(cov_factor.shape[:-2]), tuple(cov_diag.shape[:-1]))
        try:
            batch = broadcast_shapes("LowRankMultivariateNormal", *shapes)
        except ShapeError as error:
            text = f"loc {loc.shape}, cov_factor {cov_factor.shape}, cov_diag {cov_diag.shape}"
            raise ArgumentError(mirrored(f"Incompatible batch shapes: {text}")) from error
        self.loc = loc.expand(*batch, loc.shape[-1])
        self.cov_factor = cov_factor.expand(*batch, *cov_factor.shape[-2:])
        self.cov_diag = cov_diag.expand(*batch, loc.shape[-1])
        self.begin(batch, loc.shape[-1:], validate_args)

    @lazy
    def small_tril(self) -> Tensor:
        """The Cholesky factor of `1 + Wᵀ·D⁻¹·W`."""
        return cholesky(_unit(self.weighed @ self.cov_factor))

    @property
    def weighed(self) -> Tensor:
        """`Wᵀ·D⁻¹`."""
        return self.cov_factor.mT / self.cov_diag.unsqueeze(-2)

    @property
    def log_det(self) -> Tensor:
        """The logarithm of the covariance's determinant."""
        return 2 * self.small_tril.diagonal(dim1=-2, dim2=-1).log().sum(-1) + self.cov_diag.log().sum(-1)

    def distance(self, x: Tensor) -> Tensor:
        """The squared length of a vector by the covariance."""
        short = (self.weighed @ x.unsqueeze(-1)).squeeze(-1)
        return (x.pow(2) / self.cov_diag).sum(-1) - mahalanobis(self.small_tril, short)

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        return self.cov_factor.pow(2).sum(-1) + self.cov_diag

    @lazy
    def scale_tril(self) -> Tensor:
        root = self.cov_diag.sqrt().unsqueeze(-1)
        part = self.cov_factor / root
        return root * cholesky(_unit(part @ part.mT))

    @lazy
    def covariance_matrix(self) -> Tensor:
        return self.cov_factor @ self.cov_factor.mT + self.cov_diag.diag_embed()

    @lazy
    def precision_matrix(self) -> Tensor:
        part = solve_triangular(self.small_tril, self.weighed, upper=False)
        return self.cov_diag.reciprocal().diag_embed() - part.mT @ part

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        shape = self.extended(sample_shape)
        few = standard_normal((*shape[:-1], self.cov_factor.shape[-1]), self.loc)
        own = standard_normal(shape, self.loc)
        return self.loc + (self.cov_factor @ few.unsqueeze(-1)).squeeze(-1) + self.cov_diag.sqrt() * own

    def log_prob(self, value: Tensor) -> Tensor:
        self.check(value)
        level = self.event_shape[0] * math.log(2 * math.pi)
        return -0.5 * (level + self.log_det + self.distance(value - self.loc))

    def entropy(self) -> Tensor:
        return 0.5 * (self.event_shape[0] * (1.0 + math.log(2 * math.pi)) + self.log_det)


def _unit(x: Tensor) -> Tensor:
    """The matrix and 1."""
    return x + creation.eye(x.shape[-1], dtype=x.dtype, device=x.device)


def _check(loc: Tensor, cov_factor: Tensor, cov_diag: Tensor) -> None:
    if loc.ndim < 1:
        raise ArgumentError(mirrored("loc must be at least one-dimensional."))
    if cov_factor.ndim < 2:
        text = "cov_factor must be at least two-dimensional, with optional leading batch dimensions"
        raise ArgumentError(mirrored(text))
    event = loc.shape[-1:]
    if cov_factor.shape[-2:-1] != event:
        raise ArgumentError(mirrored(f"cov_factor must be a batch of matrices with shape {event[0]} x m"))
    if cov_diag.shape[-1:] != event:
        raise ArgumentError(mirrored(f"cov_diag must be a batch of vectors with shape {event}"))
