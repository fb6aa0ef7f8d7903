"""Exponential families: densities h(x) · exp(t(x) · θ - A(θ)), with natural parameters θ and a log-normaliser
A.

A subclass says `_natural_params`, `_log_normalizer` and `_mean_carrier_measure`, and has its entropy, and the
divergence of two of its kind, by derivatives of A (Nielsen and Nock, "Entropies and cross-entropies of
exponential families", 2010). Kinds that know them better are entered as members where they are written.
"""

from __future__ import annotations

from abc import ABCMeta

from retrograd.runtime.autograd import grad
from retrograd.runtime.distributions.distribution import Distribution
from retrograd.runtime.tensor import Tensor


class ExponentialFamily(Distribution, metaclass=ABCMeta):
    """Base of distributions of an exponential family."""

    @property
    def _natural_params(self) -> tuple[Tensor, ...]:
        """θ, each with the axes of the batch first."""
        raise NotImplementedError

    def _log_normalizer(self, *natural_params: Tensor) -> Tensor:
        """A, a number for each element of the batch."""
        raise NotImplementedError

    @property
    def _mean_carrier_measure(self) -> float:
        """The mean of log h(x)."""
        raise NotImplementedError

    def slopes(self) -> tuple[Tensor, tuple[Tensor, ...], tuple[Tensor, ...]]:
        """A, θ, and the derivatives of A by θ, which are the means of t(x)."""
        natural = tuple(x.detach().requires_grad_() for x in self._natural_params)
        normal = self._log_normalizer(*natural)
        means = grad(normal.sum(), natural, create_graph=True, materialize_grads=True)
        return normal, natural, tuple(mean for mean in means if mean is not None)

    def entropy(self) -> Tensor:
        normal, natural, means = self.slopes()
        found = normal - self._mean_carrier_measure
        for theta, mean in zip(natural, means, strict=True):
            found = found - (theta * mean).reshape(*self.batch_shape, -1).sum(-1)
        return found


def divergence(p: ExponentialFamily, q: ExponentialFamily) -> Tensor:
    """Of two of one family: the Bregman divergence of their log-normaliser."""
    if type(p) is not type(q):
        raise NotImplementedError("they are of different families")
    normal, natural, means = p.slopes()
    found = q._log_normalizer(*q._natural_params) - normal
    for theta, other, mean in zip(natural, q._natural_params, means, strict=True):
        term = (other - theta) * mean
        found = found - term.reshape(*term.shape[: len(p.batch_shape)], -1).sum(-1)
    return found
