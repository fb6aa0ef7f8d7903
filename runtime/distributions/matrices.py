"""Distributions of matrices: Wishart, of covariances; LKJCholesky, of Cholesky factors of correlations."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from retrograd.compiler.errors import ArgumentError, RequirementError, mirrored, warn
from retrograd.compiler.ops.elementwise import broadcast_shapes
from retrograd.runtime.distributions import constraints
from retrograd.runtime.distributions.constraints import Constraints
from retrograd.runtime.distributions.distribution import Distribution, Number, Shape, broadcast, lazy, limits
from retrograd.runtime.distributions.families import ExponentialFamily
from retrograd.runtime.distributions.gammas import Beta, Chi2
from retrograd.runtime.functions import LINALG, creation, from_data, pointwise
from retrograd.runtime.functions.public import FUNCTIONS
from retrograd.runtime.tensor import Tensor

where, mvlgamma = pointwise.FUNCTIONS["where"], pointwise.FUNCTIONS["mvlgamma"]
randn, cholesky_solve, diag_embed = (FUNCTIONS[name] for name in ("randn", "cholesky_solve", "diag_embed"))
tril_indices = FUNCTIONS["tril_indices"]
cholesky, slogdet, solve_triangular = (LINALG[name] for name in ("cholesky", "slogdet", "solve_triangular"))
_MATRICES = ("covariance_matrix", "precision_matrix", "scale_tril")


class Wishart(ExponentialFamily):
    """Sums of x xᵀ over `df` normal vectors x of mean 0, by their covariance, its inverse, or its lower
    Cholesky factor; `df` is a number above the matrix's size less 1.
    """

    has_rsample = True
    support = constraints.positive_definite
    _mean_carrier_measure = 0
    arg_constraints: ClassVar[Constraints] = {
        "covariance_matrix": constraints.positive_definite,
        "precision_matrix": constraints.positive_definite,
        "scale_tril": constraints.lower_cholesky,
        "df": constraints.real,
    }

    def __init__(
        self, df: Number, covariance_matrix: Tensor | None = None, precision_matrix: Tensor | None = None,
        scale_tril: Tensor | None = None, validate_args: bool | None = None,
    ) -> None:  # fmt: skip
        given = dict(zip(_MATRICES, (covariance_matrix, precision_matrix, scale_tril)))
        present = [(name, x) for name, x in given.items() if x is not None]
        if len(present) != 1:
            names = "covariance_matrix or precision_matrix or scale_tril"
            raise RequirementError(mirrored(f"Exactly one of {names} may be specified."))
        ((name, matrix),) = present
        if matrix.ndim < 2:
            why = "scale_tril must be at least two-dimensional, with optional leading batch dimensions"
            raise ArgumentError(mirrored(why))
        size, stack = matrix.shape[-1], tuple(matrix.shape[:-2])
        count = df if isinstance(df, Tensor) else from_data.tensor(df, dtype=matrix.dtype)
        batch = broadcast_shapes("Wishart", stack, tuple(count.shape)) if isinstance(df, Tensor) else stack
        self.df = count.expand(batch) if isinstance(df, Tensor) else count
        if bool((self.df <= size - 1).any()):
            text = f"Value of df={df} expected to be greater than ndim - 1 = {size - 1}."
            raise ArgumentError(mirrored(text))
        if bool((self.df < size).any()):
            warn(
                "Low df values detected. Singular samples are highly likely to occur for ndim - 1 < df < "
                "ndim."
            )
        setattr(self, name, matrix.expand(*batch, size, size))
        self._lower = _lower(name, matrix)
        self.begin(batch, (size, size), validate_args)

    @property
    def _size(self) -> int:
        return self.event_shape[-1]

    @lazy
    def scale_tril(self) -> Tensor:
        return self._lower.expand(*self.batch_shape, *self.event_shape)

    @lazy
    def covariance_matrix(self) -> Tensor:
        return (self._lower @ self._lower.mT).expand(*self.batch_shape, *self.event_shape)

    @lazy
    def precision_matrix(self) -> Tensor:
        unit = creation.eye(self._size, dtype=self._lower.dtype, device=self._lower.device)
        found = cholesky_solve(unit.expand(self._lower.shape), self._lower)
        return found.expand(*self.batch_shape, *self.event_shape)

    def _over_matrices(self, x: Tensor) -> Tensor:
        """A number of each element of the batch, against matrices."""
        return x[..., None, None]

    @property
    def mean(self) -> Tensor:
        return self._over_matrices(self.df) * self.covariance_matrix

    @property
    def mode(self) -> Tensor:
        factor = self.df - self._size - 1
        return self._over_matrices(where(factor <= 0, math.nan, factor)) * self.covariance_matrix

    @property
    def variance(self) -> Tensor:
        covariance = self.covariance_matrix
        own = covariance.diagonal(dim1=-2, dim2=-1)
        return self._over_matrices(self.df) * (covariance.square() + own[..., :, None] * own[..., None, :])

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        """By Bartlett's decomposition. PyTorch draws all samples once more, for it takes those that are
        positive-definite for singular; so does this, for the same numbers to come.
        """
        shape = tuple(sample_shape)
        self._draw(shape)
        found = self._draw(shape)
        for _ in range(9):
            good = self.support.check(found.detach())
            if bool(good.all()):
                break
            found = where(good[..., None, None], found, self._draw(shape))
        return found

    def _draw(self, sample_shape: tuple[int, ...]) -> Tensor:
        size, kind = self._size, self._lower.dtype
        degrees = self.df.unsqueeze(-1) - creation.arange(size, dtype=kind, device=self._lower.device)
        squares = Chi2(degrees.expand(*self.batch_shape, size)).rsample(sample_shape)
        noise = diag_embed(squares.sqrt().clamp(min=float(limits(squares).eps)))
        below = randn((*sample_shape, *self.batch_shape, size * (size - 1) // 2), dtype=kind)
        rows, columns = tril_indices(size, size, -1)
        noise[..., rows, columns] = below
        factor = self._lower @ noise
        return factor @ factor.mT

    @property
    def _log_scale(self) -> Tensor:
        """Half the log-determinant of twice the covariance."""
        half = self._lower.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        return half + self._size * math.log(2) / 2

    def log_prob(self, value: Tensor) -> Tensor:
        self.check(value)
        size, df = self._size, self.df
        batch = broadcast_shapes("log_prob", tuple(self._lower.shape), tuple(value.shape))
        ratio = cholesky_solve(value.expand(batch), self._lower.expand(batch))
        spread = ratio.diagonal(dim1=-2, dim2=-1).sum(-1) / 2
        density = (df - size - 1) / 2 * slogdet(value)[1] - spread
        return density - df * self._log_scale - mvlgamma(df / 2, size)

    def entropy(self) -> Tensor:
        size, df = self._size, self.df
        steps = creation.arange(size, dtype=df.dtype, device=df.device) / 2
        slope = (df.unsqueeze(-1) / 2 - steps).digamma().sum(-1)
        found = (size + 1) * self._log_scale + mvlgamma(df / 2, size)
        return found - (df - size - 1) / 2 * slope + df * size / 2

    @property
    def _natural_params(self) -> tuple[Tensor, ...]:
        return -self.precision_matrix / 2, (self.df - self._size - 1) / 2

    def _log_normalizer(self, *natural: Tensor) -> Tensor:
        x, y = natural
        size = self._size
        half = y + (size + 1) / 2
        found: Tensor = half * (size * math.log(2) - slogdet(-2 * x)[1]) + mvlgamma(half, size)
        return found


def _lower(name: str, matrix: Tensor) -> Tensor:
    """The lower Cholesky factor of the covariance."""
    if name == "scale_tril":
        return matrix
    if name == "covariance_matrix":
        found: Tensor = cholesky(matrix)
        return found
    # the inverse, factored with both orders of axes turned, is the factor's inverse
    upside = cholesky(matrix.flip((-2, -1))).flip((-2, -1)).mT
    unit = creation.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device).expand(matrix.shape)
    found = solve_triangular(upside, unit, upper=False)
    return found


class LKJCholesky(Distribution):
    """Lower Cholesky factors of correlation matrices of size `dim`, of density proportional to their
    determinants to the power `concentration - 1` (Lewandowski, Kurowicka and Joe, "Generating random
    correlation matrices based on vines and extended onion method", 2009).
    """

    arg_constraints: ClassVar[Constraints] = {"concentration": constraints.positive}
    support = constraints.corr_cholesky

    def __init__(self, dim: int, concentration: Number = 1.0, validate_args: bool | None = None) -> None:
        if dim < 2:
            text = f"Expected dim to be an integer greater than or equal to 2. Found dim={dim}."
            raise ArgumentError(mirrored(text))
        self.dim = dim
        (self.concentration,) = broadcast(concentration)
        places = creation.arange(dim - 1, dtype=self.concentration.dtype)
        offset = FUNCTIONS["cat"]([places.new_zeros(1), places])
        marginal = self.concentration.unsqueeze(-1) + 0.5 * (dim - 2)
        self._beta = Beta(offset + 0.5, marginal - 0.5 * offset)
        self.begin(self.concentration.shape, (dim, dim), validate_args)

    def expand(self, batch_shape: Shape, _instance: object = None) -> Any:
        found = LKJCholesky(self.dim, self.concentration.expand(tuple(batch_shape)), validate_args=False)
        found._validate_args = self._validate_args
        return found

    def draw(self, sample_shape: Shape) -> Tensor:
        """Row by row, by the onion method: a length of Beta numbers, and a direction."""
        squares = self._beta.sample(sample_shape).unsqueeze(-1)
        normal = randn(self.extended(sample_shape), dtype=squares.dtype).tril(-1)
        direction = normal / normal.norm(dim=-1, keepdim=True)
        first = creation.arange(self.dim).reshape(self.dim, 1) == 0
        rows = squares.sqrt() * where(first, 0.0, direction)
        rest = (1 - rows.square().sum(-1)).clamp(min=float(limits(rows).tiny)).sqrt()
        found: Tensor = rows + diag_embed(rest)
        return found

    def log_prob(self, value: Tensor) -> Tensor:
        self.check(value)
        own = value.diagonal(dim1=-2, dim2=-1)[..., 1:]
        powers = self.dim - creation.arange(2, self.dim + 1, dtype=self.concentration.dtype)
        powers = 2 * (self.concentration - 1).unsqueeze(-1) + powers
        below = self.dim - 1
        alpha = self.concentration + 0.5 * below
        normal = mvlgamma(alpha - 0.5, below) - alpha.lgamma() * below + 0.5 * below * math.log(math.pi)
        found: Tensor = (powers * own.log()).sum(-1) - normal
        return found
