"""Distributions of several counts, and of counts that spread: Multinomial, NegativeBinomial.

Probabilities are given as `probs` or as `logits`; samples are not differentiable.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

from retrograd.compiler.errors import NotWrittenError, mirrored
from retrograd.runtime.distributions import constraints
from retrograd.runtime.distributions.constraints import Constraints
from retrograd.runtime.distributions.discrete import Binomial, Categorical, Trials, given_shape
from retrograd.runtime.distributions.distribution import Distribution, Number, Shape, broadcast, chosen
from retrograd.runtime.distributions.gammas import Gamma
from retrograd.runtime.functions import FUNCTIONAL, counting, creation, pointwise
from retrograd.runtime.tensor import Size, Tensor

where, log_sigmoid = pointwise.FUNCTIONS["where"], FUNCTIONAL["logsigmoid"]


class Multinomial(Distribution):
    """How often each of several things is chosen in `total_count` draws."""

    arg_constraints: ClassVar[Constraints] = {"probs": constraints.simplex, "logits": constraints.real_vector}

    def __init__(
        self, total_count: int = 1, probs: Tensor | None = None, logits: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:  # fmt: skip
        if not isinstance(total_count, int):
            raise NotWrittenError(mirrored("inhomogeneous total_count is not supported"))
        self.total_count = total_count
        self._categorical = Categorical(probs, logits)
        shape = self._categorical.param_shape
        self.begin(shape[:-1], shape[-1:], validate_args)

    @property
    def support(self) -> Any:
        return constraints.multinomial(self.total_count)

    @property
    def logits(self) -> Tensor:
        return self._categorical.logits

    @property
    def probs(self) -> Tensor:
        return self._categorical.probs

    @property
    def param_shape(self) -> Size:
        return self._categorical.param_shape

    @property
    def mean(self) -> Tensor:
        return self.probs * self.total_count

    @property
    def variance(self) -> Tensor:
        return self.total_count * self.probs * (1 - self.probs)

    def draw(self, sample_shape: Shape) -> Tensor:
        drawn = self._categorical.sample((self.total_count, *sample_shape)).movedim(0, -1)
        counts = creation.zeros(self.extended(sample_shape), dtype=drawn.dtype, device=drawn.device)
        return counts.scatter_add(-1, drawn, creation.full_like(drawn, 1)).to(self.probs.dtype)

    def log_prob(self, value: Tensor) -> Tensor:
        self.check(value)
        logits, value = broadcast(self.logits, value)
        logits = where((value == 0) & (logits == -math.inf), 0.0, logits)
        ways = (value.sum(-1) + 1).lgamma() - (value + 1).lgamma().sum(-1)
        return ways + (logits * value).sum(-1)

    def entropy(self) -> Tensor:
        n = self.total_count
        each = Binomial(n, self.probs, validate_args=False)
        counts = each.enumerate_support(False)[1:]
        repeated = (each.log_prob(counts).exp() * (counts + 1).lgamma()).sum((0, -1))
        return n * self._categorical.entropy() - math.lgamma(n + 1) + repeated


class NegativeBinomial(Trials):
    """How many trials succeed before `total_count` have failed."""

    arg_constraints: ClassVar[Constraints] = {
        "total_count": constraints.greater_than_eq(0),
        "probs": constraints.half_open_interval(0.0, 1.0),
        "logits": constraints.real,
    }
    support = constraints.nonnegative_integer
    param_shape = property(given_shape)

    def __init__(
        self, total_count: Number, probs: Tensor | None = None, logits: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:  # fmt: skip
        name = "probs" if chosen("NegativeBinomial", probs, logits) else "logits"
        count, given = broadcast(total_count, logits if probs is None else probs)  # type: ignore[arg-type]  # given
        setattr(self, name, given)
        self.total_count = count.type_as(given)
        self.begin(given.shape, (), validate_args)

    @property
    def mean(self) -> Tensor:
        return self.total_count * self.logits.exp()

    @property
    def mode(self) -> Tensor:
        return ((self.total_count - 1) * self.logits.exp()).floor().clamp(min=0.0)

    @property
    def variance(self) -> Tensor:
        return self.mean / (-self.logits).sigmoid()

    def draw(self, sample_shape: Shape) -> Tensor:
        rate = Gamma(self.total_count, (-self.logits).exp(), validate_args=False)
        return counting.poisson(rate.sample(sample_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        self.check(value)
        n, logits = self.total_count, self.logits
        ways = (n + value).lgamma() - (1.0 + value).lgamma() - n.lgamma()
        ways = where(n + value == 0.0, 0.0, ways)
        found: Tensor = n * log_sigmoid(-logits) + value * log_sigmoid(logits) + ways
        return found
