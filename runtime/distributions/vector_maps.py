"""Maps of vectors and matrices: to shares, to triangles with a positive diagonal, to correlations.

In flow Tensors whose last axes are one value, out flow others; `transforming.py` says what a map is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from retrograd.compiler import dtypes
from retrograd.compiler.errors import ArgumentError, mirrored
from retrograd.runtime.distributions import constraints
from retrograd.runtime.distributions.distribution import Shape, limits
from retrograd.runtime.distributions.scalar_maps import Plain, inside, softplus
from retrograd.runtime.distributions.transforming import Transform, need_axes
from retrograd.runtime.functions import FUNCTIONAL, LINALG, creation, from_data
from retrograd.runtime.tensor import Size, Tensor

log_sigmoid, pad = FUNCTIONAL["logsigmoid"], FUNCTIONAL["pad"]


# ---- vectors -----------------------------------------------------------------------------------------------


class ReshapeTransform(Transform):
    """The last axes, of `in_shape`, as others of `out_shape`."""

    bijective = True

    def __init__(self, in_shape: Sequence[int], out_shape: Sequence[int], cache_size: int = 0) -> None:
        self.in_shape, self.out_shape = Size(in_shape), Size(out_shape)
        if math.prod(self.in_shape) != math.prod(self.out_shape):
            raise ArgumentError(mirrored("in_shape, out_shape have different numbers of elements"))
        super().__init__(cache_size)
        self.domain = constraints.independent(constraints.real, len(self.in_shape))
        self.codomain = constraints.independent(constraints.real, len(self.out_shape))

    def again(self, cache_size: int) -> Transform:
        return ReshapeTransform(self.in_shape, self.out_shape, cache_size)

    def _call(self, x: Tensor) -> Tensor:
        return x.reshape(*x.shape[: x.ndim - len(self.in_shape)], *self.out_shape)

    def _inverse(self, y: Tensor) -> Tensor:
        return y.reshape(*y.shape[: y.ndim - len(self.out_shape)], *self.in_shape)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return x.new_zeros(x.shape[: x.ndim - len(self.in_shape)])

    def forward_shape(self, shape: Shape) -> Size:
        return _exchanged(shape, self.in_shape, self.out_shape)

    def inverse_shape(self, shape: Shape) -> Size:
        return _exchanged(shape, self.out_shape, self.in_shape)


def _exchanged(shape: Shape, old: Size, new: Size) -> Size:
    """The shape with its last axes, which are to be `old`, made `new`."""
    cut = len(shape) - len(old)
    need_axes(shape, len(old))
    if tuple(shape[cut:]) != tuple(old):
        raise ArgumentError(mirrored(f"Shape mismatch: expected {shape[cut:]} but got {old}"))
    return Size((*shape[:cut], *new))


class SoftmaxTransform(Plain):
    """Shares in proportion to `exp(x)`; what is added to all of x is lost."""

    domain = constraints.real_vector
    codomain = constraints.simplex

    def _call(self, x: Tensor) -> Tensor:
        weights = (x - x.max(-1, True)[0]).exp()
        return weights / weights.sum(-1, True)

    def _inverse(self, y: Tensor) -> Tensor:
        return y.log()

    def forward_shape(self, shape: Shape) -> Size:
        need_axes(shape, 1)
        return Size(shape)

    inverse_shape = forward_shape


class StickBreakingTransform(Plain):
    """Of n numbers n+1 shares: each breaks its part, by a sigmoid, off what the ones before have left. The
    zero vector gives equal shares.
    """

    bijective = True
    domain = constraints.real_vector
    codomain = constraints.simplex

    def _moved(self, x: Tensor) -> Tensor:
        return x - _left(x.shape[-1], x).log()

    def _call(self, x: Tensor) -> Tensor:
        part = inside(self._moved(x).sigmoid())
        rest = (1 - part).cumprod(-1)
        found: Tensor = pad(part, [0, 1], value=1) * pad(rest, [1, 0], value=1)
        return found

    def _inverse(self, y: Tensor) -> Tensor:
        broken = y[..., :-1]
        rest = (1 - broken.cumsum(-1)).clamp(min=float(limits(y).tiny))
        return broken.log() - rest.log() + _left(broken.shape[-1], y).log()

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        moved = self._moved(x)
        return (-moved + log_sigmoid(moved) + y[..., :-1].log()).sum(-1)

    def forward_shape(self, shape: Shape) -> Size:
        need_axes(shape, 1)
        return Size((*shape[:-1], shape[-1] + 1))

    def inverse_shape(self, shape: Shape) -> Size:
        need_axes(shape, 1)
        return Size((*shape[:-1], shape[-1] - 1))


def _left(count: int, like: Tensor) -> Tensor:
    """How many parts are to come after each: count, …, 2, 1."""
    return creation.arange(count, 0, -1, dtype=like.dtype, device=like.device)


# ---- matrices ----------------------------------------------------------------------------------------------


class LowerCholeskyTransform(Plain):
    """The lower triangle, with the exponentials of its diagonal."""

    domain = constraints.independent(constraints.real, 2)
    codomain = constraints.lower_cholesky

    def _call(self, x: Tensor) -> Tensor:
        return x.tril(-1) + x.diagonal(dim1=-2, dim2=-1).exp().diag_embed()

    def _inverse(self, y: Tensor) -> Tensor:
        return y.tril(-1) + y.diagonal(dim1=-2, dim2=-1).log().diag_embed()


class PositiveDefiniteTransform(Plain):
    """The product of that triangle and its transpose."""

    domain = constraints.independent(constraints.real, 2)
    codomain = constraints.positive_definite

    def _call(self, x: Tensor) -> Tensor:
        lower = LowerCholeskyTransform()(x)
        return lower @ lower.mT

    def _inverse(self, y: Tensor) -> Tensor:
        return LowerCholeskyTransform().back(LINALG["cholesky"](y))


class CorrCholeskyTransform(Plain):
    """Of n(n−1)/2 numbers the Cholesky factor of a correlation matrix: the tangents of each row break parts
    off its length of 1 (Stan Reference Manual, "Cholesky factors of correlation matrices").
    """

    bijective = True
    domain = constraints.real_vector
    codomain = constraints.corr_cholesky

    def _call(self, x: Tensor) -> Tensor:
        eps = float(limits(x).eps)
        size = _side(x.shape)
        below = _as_triangle(x.tanh().clamp(-1 + eps, 1 - eps), size)
        rest = (1 - below**2).sqrt().cumprod(-1)
        unit = creation.eye(size, dtype=x.dtype, device=x.device)
        found: Tensor = (below + unit) * pad(rest[..., :-1], [1, 0], value=1)
        return found

    def _inverse(self, y: Tensor) -> Tensor:
        rest = pad(1 - (y * y).cumsum(-1)[..., :-1], [1, 0], value=1)
        part = _as_vector(y, -1) / _as_vector(rest, -1).sqrt()
        return (part.log1p() - (-part).log1p()) / 2

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        rest = _as_vector(1 - (y * y).cumsum(-1), -2)
        tangents = x + softplus(-2 * x) - math.log(2.0)
        return 0.5 * rest.log().sum(-1) - 2 * tangents.sum(-1)

    def forward_shape(self, shape: Shape) -> Size:
        need_axes(shape, 1)
        size = _side(shape)
        if size * (size - 1) // 2 != shape[-1]:
            raise ArgumentError(mirrored("Input is not a flattened lower-diagonal number"))
        return Size((*shape[:-1], size, size))

    def inverse_shape(self, shape: Shape) -> Size:
        need_axes(shape, 2)
        if shape[-2] != shape[-1]:
            raise ArgumentError(mirrored("Input is not square"))
        return Size((*shape[:-2], shape[-1] * (shape[-1] - 1) // 2))


def _side(shape: Shape) -> int:
    """How large a matrix is, so many of whose elements are below the diagonal."""
    return round((0.25 + 2 * shape[-1]) ** 0.5 + 0.5)


def _as_triangle(x: Tensor, size: int) -> Tensor:
    """The elements in order, as those of a matrix below its diagonal, which is zero elsewhere."""
    pairs = [(row, column) for row in range(size) for column in range(size)]
    places = [row * (row - 1) // 2 + column if column < row else 0 for row, column in pairs]
    index = from_data.tensor(places, dtype=dtypes.int64, device=x.device)
    return x.index_select(-1, index).unflatten(-1, (size, size)).tril(-1)


def _as_vector(x: Tensor, diagonal: int) -> Tensor:
    """The elements of a matrix up to a diagonal, row by row."""
    size = x.shape[-1]
    places = [row * size + column for row in range(size) for column in range(row + 1 + diagonal)]
    index = from_data.tensor(places, dtype=dtypes.int64, device=x.device)
    return x.flatten(-2).index_select(-1, index)
