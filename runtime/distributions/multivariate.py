"""Distributions whose events have axes: MultivariateNormal, and Independent, which makes one of several.

Matrices come from `linalg`, so log-densities are differentiable, and can be compiled.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

from retrograd.compiler.errors import ArgumentError, mirrored
from retrograd.compiler.ops.elementwise import broadcast_shapes
from retrograd.runtime.distributions import constraints
from retrograd.runtime.distributions.constraints import Constraints
from retrograd.runtime.distributions.continuous import standard_normal
from retrograd.runtime.distributions.distribution import Distribution, Shape, lazy
from retrograd.runtime.functions import LINALG, creation
from retrograd.runtime.tensor import Tensor

cholesky, solve_triangular = LINALG["cholesky"], LINALG["solve_triangular"]
_MATRICES = ("covariance_matrix", "precision_matrix", "scale_tril")


def _unit(like: Tensor) -> Tensor:
    """The identity matrix of a matrix's size."""
    return creation.eye(like.shape[-1], dtype=like.dtype, device=like.device)


def mahalanobis(scale_tril: Tensor, x: Tensor) -> Tensor:
    """The squared length of `L⁻¹ x`, for each vector."""
    batch = broadcast_shapes("log_prob", tuple(scale_tril.shape[:-2]), tuple(x.shape[:-1]))
    n = x.shape[-1]
    lower, column = scale_tril.expand(*batch, n, n), x.expand(*batch, n).unsqueeze(-1)
    return solve_triangular(lower, column, upper=False).pow(2).sum(-2).squeeze(-1)


class MultivariateNormal(Distribution):
    """Normal vectors of mean `loc`, by their covariance, its inverse, or its lower Cholesky factor."""

    has_rsample = True
    arg_constraints: ClassVar[Constraints] = {
        "loc": constraints.real_vector,
        "covariance_matrix": constraints.positive_definite,
        "precision_matrix": constraints.positive_definite,
        "scale_tril": constraints.lower_cholesky,
    }
    support = constraints.real_vector

    def __init__(
        self, loc: Tensor, covariance_matrix: Tensor | None = None, precision_matrix: Tensor | None = None,
        scale_tril: Tensor | None = None, validate_args: bool | None = None,
    ) -> None:  # fmt: skip
        if loc.ndim < 1:
            raise ArgumentError(mirrored("loc must be at least one-dimensional."))
        given = dict(zip(_MATRICES, (covariance_matrix, precision_matrix, scale_tril)))
        present = [(name, x) for name, x in given.items() if x is not None]
        if len(present) != 1:
            names = "covariance_matrix or precision_matrix or scale_tril"
            raise ArgumentError(mirrored(f"Exactly one of {names} may be specified."))
        ((name, matrix),) = present
        if matrix.ndim < 2:
            kind = "scale_tril matrix" if name == "scale_tril" else name
            raise ArgumentError(
                mirrored(f"{kind} must be at least two-dimensional, with optional leading batch dimensions")
            )
        batch = broadcast_shapes("MultivariateNormal", tuple(matrix.shape[:-2]), tuple(loc.shape[:-1]))
        self.loc = loc.expand(*batch, loc.shape[-1])
        setattr(self, name, matrix.expand(*batch, *matrix.shape[-2:]))
        self.begin(batch, loc.shape[-1:], validate_args)

    @lazy
    def scale_tril(self) -> Tensor:
        return self.lower

    @lazy
    def lower(self) -> Tensor:
        """`scale_tril`, which is shown only where it is given or asked for."""
        if "scale_tril" in self.__dict__:
            return self.scale_tril
        if "covariance_matrix" in self.__dict__:
            return cholesky(self.covariance_matrix)
        turned = cholesky(self.precision_matrix.flip(-2, -1)).flip(-2, -1).mT
        unit = _unit(turned).expand(turned.shape)
        return solve_triangular(turned, unit, upper=False)

    @lazy
    def covariance_matrix(self) -> Tensor:
        return self.lower @ self.lower.mT

    @lazy
    def precision_matrix(self) -> Tensor:
        lower = self.lower
        inverse = solve_triangular(lower, _unit(lower).expand(lower.shape), upper=False)
        return inverse.mT @ inverse

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        return self.lower.pow(2).sum(-1)

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        eps = standard_normal(self.extended(sample_shape), self.loc)
        return self.loc + (self.lower @ eps.unsqueeze(-1)).squeeze(-1)

    @property
    def half_log_det(self) -> Tensor:
        """Half the logarithm of the covariance's determinant."""
        return self.lower.diagonal(dim1=-2, dim2=-1).log().sum(-1)

    def log_prob(self, value: Tensor) -> Tensor:
        self.check(value)
        distance = mahalanobis(self.lower, value - self.loc)
        level = self.event_shape[0] * math.log(2 * math.pi)
        return -0.5 * (level + distance) - self.half_log_det

    def entropy(self) -> Tensor:
        return 0.5 * self.event_shape[0] * (1.0 + math.log(2 * math.pi)) + self.half_log_det


class Independent(Distribution):
    """Another distribution, the last axes of whose batch belong to the event."""

    def __init__(
        self, base_distribution: Distribution, reinterpreted_batch_ndims: int,
        validate_args: bool | None = None,
    ) -> None:  # fmt: skip
        batch = base_distribution.batch_shape
        if reinterpreted_batch_ndims > len(batch):
            raise ArgumentError(
                mirrored(
                    "Expected reinterpreted_batch_ndims <= len(base_distribution.batch_shape), actual "
                    f"{reinterpreted_batch_ndims} vs {len(batch)}"
                )
            )
        self.base_dist = base_distribution
        self.reinterpreted_batch_ndims = reinterpreted_batch_ndims
        self.has_rsample = base_distribution.has_rsample
        self.has_enumerate_support = (
            reinterpreted_batch_ndims == 0 and base_distribution.has_enumerate_support
        )
        kept = len(batch) - reinterpreted_batch_ndims
        self.begin(batch[:kept], (*batch[kept:], *base_distribution.event_shape), validate_args)

    def summed(self, x: Tensor) -> Tensor:
        """Summed over the axes that belong to the event."""
        count = self.reinterpreted_batch_ndims
        return x.sum(tuple(range(-count, 0))) if count else x

    def expand(self, batch_shape: Shape, _instance: object = None) -> Independent:
        own = len(self.event_shape) - len(self.base_dist.event_shape)
        return Independent(
            self.base_dist.expand((*batch_shape, *self.event_shape[:own])),
            self.reinterpreted_batch_ndims,
            self._validate_args,
        )

    @property
    def support(self) -> Any:
        base = self.base_dist.support
        count = self.reinterpreted_batch_ndims
        return constraints.independent(base, count) if count else base

    @property
    def mean(self) -> Tensor:
        return self.base_dist.mean

    @property
    def mode(self) -> Tensor:
        return self.base_dist.mode

    @property
    def variance(self) -> Tensor:
        return self.base_dist.variance

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        return self.base_dist.sample(sample_shape)

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        return self.base_dist.rsample(sample_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        return self.summed(self.base_dist.log_prob(value))

    def entropy(self) -> Tensor:
        return self.summed(self.base_dist.entropy())

    def enumerate_support(self, expand: bool = True) -> Tensor:
        if self.reinterpreted_batch_ndims > 0:
            raise NotImplementedError("Enumeration over cartesian product is not implemented")
        return self.base_dist.enumerate_support(expand)

    def __repr__(self) -> str:
        return f"Independent({self.base_dist}, {self.reinterpreted_batch_ndims})"
