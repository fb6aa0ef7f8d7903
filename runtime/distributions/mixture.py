"""Mixtures: `MixtureSameFamily`, one of several distributions of a kind, chosen anew for each sample.

In flow a Categorical and a distribution whose last axis of the batch is what it chooses from; densities are
sums, weighed by its probabilities.
"""

from __future__ import annotations

import copy
from typing import Any

from retrograd.compiler.errors import ArgumentError, mirrored
from retrograd.runtime.distributions import constraints
from retrograd.runtime.distributions.discrete import Categorical
from retrograd.runtime.distributions.distribution import Distribution, Shape
from retrograd.runtime.tensor import Size, Tensor


class MixtureSameFamily(Distribution):
    """A component, chosen by the mixture, of a batch of them."""

    def __init__(
        self, mixture_distribution: Categorical, component_distribution: Distribution,
        validate_args: bool | None = None,
    ) -> None:  # fmt: skip
        _check(mixture_distribution, component_distribution)
        self.mixture_distribution = mixture_distribution
        self.component_distribution = component_distribution
        event = component_distribution.event_shape
        self.begin(component_distribution.batch_shape[:-1], event, validate_args)

    def expand(self, batch_shape: Shape, _instance: object = None) -> Any:
        found = copy.copy(self)
        count = self.component_distribution.batch_shape[-1]
        found.component_distribution = self.component_distribution.expand((*batch_shape, count))
        found.mixture_distribution = self.mixture_distribution.expand(batch_shape)
        found.batch_shape = Size(batch_shape)
        return found

    @property
    def support(self) -> Any:
        return constraints.MixtureSameFamilyConstraint(self.component_distribution.support)

    @property
    def _axis(self) -> int:
        """Where the components are, before the axes of an event."""
        return -1 - len(self.event_shape)

    def _weights(self) -> Tensor:
        """The probabilities in the axes of the components' moments."""
        probs, batch = self.mixture_distribution.probs, self.mixture_distribution.batch_shape
        more = 0 if len(batch) == 1 else len(self.batch_shape) - len(batch)
        return probs.reshape(*batch, *[1] * more, probs.shape[-1], *[1 for _ in self.event_shape])

    def _averaged(self, x: Tensor) -> Tensor:
        return (self._weights() * x).sum(self._axis)

    @property
    def mean(self) -> Tensor:
        return self._averaged(self.component_distribution.mean)

    @property
    def variance(self) -> Tensor:
        away = self.component_distribution.mean - self.mean.unsqueeze(self._axis)
        return self._averaged(self.component_distribution.variance) + self._averaged(away.pow(2.0))

    def cdf(self, x: Tensor) -> Tensor:
        shares = self.component_distribution.cdf(x.unsqueeze(self._axis))
        return (shares * self.mixture_distribution.probs).sum(-1)

    def log_prob(self, x: Tensor) -> Tensor:
        self.check(x)
        each = self.component_distribution.log_prob(x.unsqueeze(self._axis))
        return (each + self.mixture_distribution.logits.log_softmax(-1)).logsumexp(-1)

    def draw(self, sample_shape: Shape) -> Tensor:
        chosen: Any = self.mixture_distribution.sample(sample_shape)
        drawn: Any = self.component_distribution.sample(sample_shape)
        index = chosen.reshape(*chosen.shape, 1, *[1 for _ in self.event_shape])
        index = index.expand(*chosen.shape, 1, *self.event_shape)
        found: Tensor = drawn.gather(chosen.ndim, index).squeeze(chosen.ndim)
        return found

    def __repr__(self) -> str:
        return f"MixtureSameFamily(\n  {self.mixture_distribution},\n  {self.component_distribution})"


def _check(mixture: object, component: object) -> None:
    """ArgumentError for what does not fit together."""
    if not isinstance(mixture, Categorical):
        raise ArgumentError(
            mirrored(" The Mixture distribution needs to be an  instance of torch.distributions.Categorical")
        )
    if not isinstance(component, Distribution):
        raise ArgumentError(
            mirrored("The Component distribution needs to be an instance of torch.distributions.Distribution")
        )
    batch, other = mixture.batch_shape, component.batch_shape[:-1]
    for one, two in zip(reversed(batch), reversed(other)):
        if one not in (1, two) and two != 1:
            text = f"`mixture_distribution.batch_shape` ({batch}) is not compatible with "
            raise ArgumentError(mirrored(f"{text}`component_distribution.batch_shape`({other})"))
    count, there = mixture.logits.shape[-1], component.batch_shape[-1]
    if count != there:
        text = f"`mixture_distribution component` ({count}) does not equal "
        raise ArgumentError(mirrored(f"{text}`component_distribution.batch_shape[-1]` ({there})"))
