"""Choices made smooth: samples between 0 and 1 that are differentiable by the probabilities.

The lower the temperature, the nearer they are to choices (Maddison, Mnih and Teh, "The Concrete
distribution", 2017; Jang, Gu and Poole, "Categorical reparameterization with Gumbel-softmax", 2017). Each is
a distribution of logarithms or logits, mapped.
"""

from __future__ import annotations

from typing import Any, ClassVar

from retrograd.runtime.distributions import constraints
from retrograd.runtime.distributions.constraints import Constraints
from retrograd.runtime.distributions.continuous import standard_uniform
from retrograd.runtime.distributions.discrete import Categorical, OneHotCategorical, Trials, given_shape
from retrograd.runtime.distributions.distribution import (
    Distribution,
    Number,
    Shape,
    broadcast,
    clamped,
)
from retrograd.runtime.distributions.scalar_maps import ExpTransform, SigmoidTransform
from retrograd.runtime.distributions.transformed import TransformedDistribution
from retrograd.runtime.functions import creation
from retrograd.runtime.tensor import Size, Tensor


class LogitRelaxedBernoulli(Trials):
    """Logits of a smooth choice between two."""

    has_rsample = True
    support = constraints.real
    param_shape = property(given_shape)

    def __init__(
        self, temperature: Tensor, probs: Number | None = None, logits: Number | None = None,
        validate_args: bool | None = None,
    ) -> None:  # fmt: skip
        self.temperature = temperature
        self.begin(self.take(probs, logits), (), validate_args)

    def expand(self, batch_shape: Shape, _instance: object = None) -> Any:
        found = super().expand(batch_shape)
        found.temperature = self.temperature
        return found

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        shape = self.extended(sample_shape)
        probs = clamped(self.probs.expand(shape))
        u = clamped(standard_uniform(shape, probs))
        return (u.log() - (-u).log1p() + probs.log() - (-probs).log1p()) / self.temperature

    def log_prob(self, value: Tensor) -> Tensor:
        self.check(value)
        logits, value = broadcast(self.logits, value)
        away = logits - value * self.temperature
        return self.temperature.log() + away - 2 * away.exp().log1p()


class _Relaxed(TransformedDistribution):
    """What the base is given is asked of it."""

    @property
    def temperature(self) -> Tensor:
        found: Tensor = self.base_dist.temperature
        return found

    @property
    def logits(self) -> Tensor:
        found: Tensor = self.base_dist.logits
        return found

    @property
    def probs(self) -> Tensor:
        found: Tensor = self.base_dist.probs
        return found


class RelaxedBernoulli(_Relaxed):
    """A smooth choice between 0 and 1."""

    arg_constraints: ClassVar[Constraints] = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.unit_interval

    def __init__(
        self, temperature: Tensor, probs: Number | None = None, logits: Number | None = None,
        validate_args: bool | None = None,
    ) -> None:  # fmt: skip
        base = LogitRelaxedBernoulli(temperature, probs, logits)
        super().__init__(base, SigmoidTransform(), validate_args)


class ExpRelaxedCategorical(Distribution):
    """Logarithms of a smooth choice of one among many."""

    has_rsample = True
    arg_constraints: ClassVar[Constraints] = {"probs": constraints.simplex, "logits": constraints.real_vector}
    support = constraints.real_vector

    def __init__(
        self, temperature: Tensor, probs: Tensor | None = None, logits: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:  # fmt: skip
        self._categorical = Categorical(probs, logits)
        self.temperature = temperature
        shape = self._categorical.param_shape
        self.begin(shape[:-1], shape[-1:], validate_args)

    def expand(self, batch_shape: Shape, _instance: object = None) -> Any:
        found = super().expand(batch_shape)
        found.temperature = self.temperature
        return found

    @property
    def param_shape(self) -> Size:
        return self._categorical.param_shape

    @property
    def logits(self) -> Tensor:
        return self._categorical.logits

    @property
    def probs(self) -> Tensor:
        return self._categorical.probs

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        u = clamped(standard_uniform(self.extended(sample_shape), self.logits))
        scores = (self.logits - (-u.log()).log()) / self.temperature
        return scores - scores.logsumexp(-1, keepdim=True)

    def log_prob(self, value: Tensor) -> Tensor:
        self.check(value)
        count = self.event_shape[0]
        logits, value = broadcast(self.logits, value)
        level = creation.full_like(self.temperature.detach(), float(count)).lgamma()
        score = logits - value * self.temperature
        score = (score - score.logsumexp(-1, keepdim=True)).sum(-1)
        return score + level + self.temperature.log() * (count - 1)


class RelaxedOneHotCategorical(_Relaxed):
    """A smooth choice of one among many: shares, most of them near 0."""

    arg_constraints: ClassVar[Constraints] = {"probs": constraints.simplex, "logits": constraints.real_vector}
    support = constraints.simplex

    def __init__(
        self, temperature: Tensor, probs: Tensor | None = None, logits: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:  # fmt: skip
        base = ExpRelaxedCategorical(temperature, probs, logits, validate_args)
        super().__init__(base, ExpTransform(), validate_args)


class OneHotCategoricalStraightThrough(OneHotCategorical):
    """A choice of one among many that passes gradients on as if it were its probabilities (Bengio, Léonard
    and Courville, 2013).
    """

    has_rsample = True

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        return self.sample(sample_shape) + (self.probs - self.probs.detach())
