"""Gamma and Dirichlet numbers that are differentiable by their parameters.

A sample moves with a parameter as the quantile that it is: the implicit derivative, in
`compiler/ops/incomplete.py`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from retrograd.compiler.ir.graph import Array, apply
from retrograd.compiler.ops.incomplete_ops import StandardDirichlet, StandardGamma
from retrograd.runtime.eager.replay import replayed
from retrograd.runtime.functions.sampling import check_not_tracing
from retrograd.runtime.random import chances
from retrograd.runtime.random.samplers import default_generator
from retrograd.runtime.tensor import Tensor, new


def standard_gamma(concentration: Tensor) -> Tensor:
    """Gamma numbers of rate 1, for each element of the concentration."""
    check_not_tracing("a gamma number")
    numbers = chances.gamma(concentration.read("a gamma number"), default_generator)
    return _moving(_gamma, concentration, numbers)


def standard_dirichlet(concentration: Tensor) -> Tensor:
    """Vectors along the last axis that sum to 1."""
    check_not_tracing("a Dirichlet number")
    given = concentration.read("a Dirichlet number")
    numbers = chances.gamma(given.astype(np.float64), default_generator)
    kind = given.dtype.type
    most = np.nextafter(kind(1), kind(0))
    shares = (numbers / numbers.sum(-1, keepdims=True)).astype(given.dtype)
    return _moving(_dirichlet, concentration, np.clip(shares, np.finfo(given.dtype).tiny, most))


def _moving(by: Callable[..., Tensor], concentration: Tensor, numbers: Array) -> Tensor:
    """The numbers, with the history that they have of the concentration."""
    x = new(numbers, concentration)
    return by(concentration, x) if concentration.requires_grad else x


def _as_gamma(concentration: Tensor, x: Tensor) -> Tensor:
    found: Tensor = apply(StandardGamma(), concentration, x)
    return found


def _as_dirichlet(concentration: Tensor, x: Tensor) -> Tensor:
    found: Tensor = apply(StandardDirichlet(), concentration, x)
    return found


_gamma, _dirichlet = replayed(_as_gamma), replayed(_as_dirichlet)
