"""Gamma and Dirichlet numbers that are differentiable by their parameters.

A sample moves with a parameter as the quantile that it is: the implicit derivative, of gamma numbers in
`compiler/ops/incomplete.py`, whose integral serves beta numbers, too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrograd.compiler.ir.graph import apply
from retrograd.compiler.ops import special
from retrograd.compiler.ops.incomplete import in_blocks, steps
from retrograd.compiler.ops.incomplete_ops import GammaSlope
from retrograd.runtime.autograd import Function, once_differentiable
from retrograd.runtime.functions.sampling import check_not_tracing
from retrograd.runtime.random import chances
from retrograd.runtime.random.samplers import default_generator
from retrograd.runtime.tensor import Tensor, new

Array = NDArray[Any]


def _beta_slope(a: Array, b: Array, x: Array) -> Array:
    low = x < a / (a + b)
    y = 1 - x
    width = np.where(low, np.abs(a - (a + b) * x) / y, np.abs(b - (a + b) * y) / x)
    w, weights = steps(1 / np.maximum(width, np.sqrt(np.where(low, x, y) * (a + b))))
    a, b, x, y, low = (v[:, None] for v in (a, b, x, y, low))
    level = special.digamma(a + b) - special.digamma(a)
    below = -x * np.exp(-a * w + (b - 1) * (np.log1p(-x * np.exp(-w)) - np.log1p(-x)))
    rest = np.log1p(-y * np.exp(-w))
    above = y * np.exp(-b * w + (a - 1) * (rest - np.log1p(-y)))
    inner = np.where(low, below * (np.log(x) - w + level), above * (rest + level))
    return np.asarray(np.sum(weights * np.nan_to_num(inner), axis=-1))


def beta_slope(a: Array, b: Array, x: Array) -> Array:
    """dx/da of a beta number x of concentrations a and b, in float64: of t = x·exp(−w) below x, and of
    1 − t = (1 − x)·exp(−w) above."""
    return in_blocks(_beta_slope, a, b, x)


def _array(x: Tensor, asked: str) -> Array:
    return np.asarray(x.detach().read(asked), np.float64)


class _StandardGamma(Function):
    @staticmethod
    def forward(ctx: Any, *operands: Tensor) -> Tensor:
        (concentration,) = operands
        x = new(chances.gamma(concentration.read("a gamma number"), default_generator), concentration)
        ctx.save_for_backward(concentration, x)
        return x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *cotangents: Tensor) -> Tensor:
        concentration, x = ctx.saved_tensors
        slope: Tensor = apply(GammaSlope(), concentration.detach(), x.detach())
        return cotangents[0] * slope


class _StandardDirichlet(Function):
    @staticmethod
    def forward(ctx: Any, *operands: Tensor) -> Tensor:
        (concentration,) = operands
        given = concentration.read("a Dirichlet number")
        numbers = chances.gamma(given.astype(np.float64), default_generator)
        kind = given.dtype.type
        most = np.nextafter(kind(1), kind(0))
        shares = (numbers / numbers.sum(-1, keepdims=True)).astype(given.dtype)
        x = new(np.clip(shares, np.finfo(given.dtype).tiny, most), concentration)
        ctx.save_for_backward(concentration, x)
        return x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *cotangents: Tensor) -> Tensor:
        concentration, x = ctx.saved_tensors
        (g,) = cotangents
        a = _array(concentration, "its derivative")
        slope = beta_slope(a, a.sum(-1, keepdims=True) - a, _array(x, "its derivative"))
        return new(slope.astype(x.dtype.numpy), x) * (g - (x * g).sum(-1, keepdim=True)) / (1 - x)


def standard_gamma(concentration: Tensor) -> Tensor:
    """Gamma numbers of rate 1, for each element of the concentration."""
    check_not_tracing("a gamma number")
    found: Tensor = _StandardGamma.apply(concentration)
    return found


def standard_dirichlet(concentration: Tensor) -> Tensor:
    """Vectors along the last axis that sum to 1."""
    check_not_tracing("a Dirichlet number")
    found: Tensor = _StandardDirichlet.apply(concentration)
    return found
