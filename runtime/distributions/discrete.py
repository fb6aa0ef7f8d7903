"""Distributions of counts and choices: Bernoulli, Categorical, Binomial, Geometric, Poisson and their kin.

Probabilities are given as `probs` or as `logits`. Samples have the parameters' dtype, those of Categorical
are indices. They are not differentiable.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

from retrograd.compiler.errors import ArgumentError, mirrored
from retrograd.runtime.distributions import constraints
from retrograd.runtime.distributions.constraints import Constraints
from retrograd.runtime.distributions.continuous import blank
from retrograd.runtime.distributions.distribution import (
    Distribution,
    Number,
    Odds,
    Shape,
    batch_of,
    broadcast,
    chosen,
    clamped,
    lazy,
    limits,
)
from retrograd.runtime.functions import FUNCTIONAL, counting, creation, pointwise
from retrograd.runtime.functions.public import promoted
from retrograd.runtime.modes import STATE
from retrograd.runtime.tensor import Size, Tensor

where, entropy_of = pointwise.FUNCTIONS["where"], FUNCTIONAL["binary_cross_entropy_with_logits"]


def _without_history(x: Tensor, number: float) -> Tensor:
    """A constant in the shape of a parameter."""
    return creation.full_like(x, number)


class Trials(Odds, Distribution):
    """Base of distributions by the probability that something happens."""

    arg_constraints: ClassVar[Constraints] = {"probs": constraints.unit_interval, "logits": constraints.real}

    def take(self, probs: Any, logits: Any) -> Size:
        """Keep the one that is given; the batch shape."""
        if chosen(type(self).__name__, probs, logits):
            (self.probs,) = broadcast(probs)
            return batch_of(self.probs, probs)
        (self.logits,) = broadcast(logits)
        return batch_of(self.logits, logits)


def given_shape(self: Trials) -> Size:
    given: Any = self.__dict__.get("probs", self.__dict__.get("logits"))
    shape: Size = given.shape
    return shape


class Bernoulli(Trials):
    """1 with probability `probs`, else 0."""

    support = constraints.boolean
    has_enumerate_support = True
    param_shape = property(given_shape)

    def __init__(
        self, probs: Number | None = None, logits: Number | None = None, validate_args: bool | None = None
    ) -> None:
        self.begin(self.take(probs, logits), (), validate_args)

    @property
    def mean(self) -> Tensor:
        return self.probs

    @property
    def mode(self) -> Tensor:
        more = (self.probs >= 0.5).to(self.probs)
        return where(self.probs == 0.5, math.nan, more)

    @property
    def variance(self) -> Tensor:
        return self.probs * (1 - self.probs)

    def draw(self, sample_shape: Shape) -> Tensor:
        return self.probs.expand(self.extended(sample_shape)).bernoulli()

    def log_prob(self, value: Tensor) -> Tensor:
        self.check(value)
        logits, value = promoted(*broadcast(self.logits, value))
        return -entropy_of(logits, value, reduction="none")

    def entropy(self) -> Tensor:
        found: Tensor = entropy_of(self.logits, self.probs, reduction="none")
        return found

    def enumerate_support(self, expand: bool = True) -> Tensor:
        given = self.probs
        values = creation.arange(2, dtype=given.dtype, device=given.device)
        values = values.reshape(2, *(1 for _ in self.batch_shape))
        return values.expand(2, *self.batch_shape) if expand else values


class Geometric(Trials):
    """How many trials fail before the first success."""

    support = constraints.nonnegative_integer

    def __init__(
        self, probs: Number | None = None, logits: Number | None = None, validate_args: bool | None = None
    ) -> None:
        self.begin(self.take(probs, logits), (), validate_args)
        if self._validate_args and probs is not None and STATE.trace is None and not (self.probs > 0).all():
            raise ArgumentError(
                mirrored(
                    f"Expected parameter probs (Tensor of shape {tuple(self.probs.shape)}) of distribution "
                    f"{self!r} to be positive but found invalid values:\n{self.probs[~(self.probs > 0)]}"
                )
            )

    @property
    def mean(self) -> Tensor:
        return 1.0 / self.probs - 1.0

    @property
    def mode(self) -> Tensor:
        return _without_history(self.probs, 0.0)

    @property
    def variance(self) -> Tensor:
        return (1.0 / self.probs - 1.0) / self.probs

    def draw(self, sample_shape: Shape) -> Tensor:
        tiny = float(limits(self.probs).tiny)
        u = blank(self.extended(sample_shape), self.probs).uniform_(tiny, 1)
        return (u.log() / (-self.probs).log1p()).floor()

    def log_prob(self, value: Tensor) -> Tensor:
        self.check(value)
        value, probs = broadcast(value, self.probs)
        failing = where((probs == 1) & (value == 0), 0.0, probs)
        return value * (-failing).log1p() + self.probs.log()

    def entropy(self) -> Tensor:
        found: Tensor = entropy_of(self.logits, self.probs, reduction="none") / self.probs
        return found


class Binomial(Trials):
    """How many of `total_count` trials succeed."""

    arg_constraints: ClassVar[Constraints] = {
        "total_count": constraints.nonnegative_integer
    } | Trials.arg_constraints
    has_enumerate_support = True
    param_shape = property(given_shape)

    def __init__(
        self, total_count: Number = 1, probs: Number | None = None, logits: Number | None = None,
        validate_args: bool | None = None,
    ) -> None:  # fmt: skip
        if chosen("Binomial", probs, logits):
            self.total_count, self.probs = broadcast(total_count, probs)  # type: ignore[arg-type]  # given
        else:
            self.total_count, self.logits = broadcast(total_count, logits)  # type: ignore[arg-type]  # given
        self.total_count = self.total_count.type_as(self.__dict__.get("probs", self.__dict__.get("logits")))
        given = total_count, logits if probs is None else probs
        self.begin(batch_of(self.total_count, *given), (), validate_args)  # type: ignore[arg-type]  # not None

    @property
    def support(self) -> Any:
        return constraints.integer_interval(0, self.total_count)

    @property
    def mean(self) -> Tensor:
        return self.total_count * self.probs

    @property
    def mode(self) -> Tensor:
        return ((self.total_count + 1) * self.probs).floor().clamp(max=self.total_count)

    @property
    def variance(self) -> Tensor:
        return self.total_count * self.probs * (1 - self.probs)

    def draw(self, sample_shape: Shape) -> Tensor:
        shape = self.extended(sample_shape)
        return counting.binomial(self.total_count.expand(shape), self.probs.expand(shape))

    def log_prob(self, value: Tensor) -> Tensor:
        self.check(value)
        n, logits = self.total_count, self.logits
        ways = (n + 1).lgamma() - (value + 1).lgamma() - (n - value + 1).lgamma()
        positive = (logits.clamp(min=0) + logits - logits.clamp(max=0)) / 2
        return value * logits + ways - n * positive - n * (-logits.abs()).exp().log1p()

    def entropy(self) -> Tensor:
        self._same_count("entropy")
        logs = self.log_prob(self.enumerate_support(False))
        return -(logs.exp() * logs).sum(0)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        count = 1 + self._same_count("enumerate_support")
        given = self.total_count
        values = creation.arange(count, dtype=given.dtype, device=given.device)
        values = values.reshape(count, *(1 for _ in self.batch_shape))
        return values.expand(count, *self.batch_shape) if expand else values

    def _same_count(self, name: str) -> int:
        most = int(self.total_count.max())
        if int(self.total_count.min()) != most:
            raise NotImplementedError(
                "Inhomogeneous total count not supported by `entropy`."
                if name == "entropy"
                else "Inhomogeneous total count not supported by `enumerate_support`."
            )
        return most


class Poisson(Distribution):
    """How many events there are in a time in which `rate` are expected."""

    arg_constraints: ClassVar[Constraints] = {"rate": constraints.nonnegative}
    support = constraints.nonnegative_integer

    def __init__(self, rate: Number, validate_args: bool | None = None) -> None:
        (self.rate,) = broadcast(rate)
        self.begin(batch_of(self.rate, rate), (), validate_args)

    @property
    def mean(self) -> Tensor:
        return self.rate

    @property
    def mode(self) -> Tensor:
        return self.rate.floor()

    @property
    def variance(self) -> Tensor:
        return self.rate

    def draw(self, sample_shape: Shape) -> Tensor:
        return counting.poisson(self.rate.expand(self.extended(sample_shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        self.check(value)
        rate, value = broadcast(self.rate, value)
        return value.xlogy(rate) - rate - (value + 1).lgamma()


class Categorical(Distribution):
    """An index, drawn in proportion to the numbers along the last axis of `probs`."""

    arg_constraints: ClassVar[Constraints] = {"probs": constraints.simplex, "logits": constraints.real_vector}
    has_enumerate_support = True

    def __init__(
        self, probs: Tensor | None = None, logits: Tensor | None = None, validate_args: bool | None = None
    ) -> None:
        name = "probs" if chosen("Categorical", probs, logits) else "logits"
        given: Any = logits if probs is None else probs
        if given.ndim < 1:
            raise ArgumentError(mirrored(f"`{name}` parameter must be at least one-dimensional."))
        if name == "probs":
            self.probs = given / given.sum(-1, keepdim=True)
        else:
            self.logits = given - given.logsumexp(-1, keepdim=True)
        self.begin(given.shape[:-1], (), validate_args)

    @lazy
    def logits(self) -> Tensor:
        return clamped(self.probs).log()

    @lazy
    def probs(self) -> Tensor:
        return self.logits.softmax(-1)

    @property
    def _events(self) -> int:
        given: Any = self.__dict__.get("probs", self.__dict__.get("logits"))
        return int(given.shape[-1])

    @property
    def param_shape(self) -> Size:
        return Size((*self.batch_shape, self._events))

    @property
    def support(self) -> Any:
        return constraints.integer_interval(0, self._events - 1)

    @property
    def mean(self) -> Tensor:
        return _without_history(self.probs[..., 0], math.nan)

    @property
    def mode(self) -> Tensor:
        return self.probs.argmax(-1)

    @property
    def variance(self) -> Tensor:
        return _without_history(self.probs[..., 0], math.nan)

    def draw(self, sample_shape: Shape) -> Tensor:
        flat = self.probs.reshape(-1, self._events)
        drawn = flat.multinomial(math.prod(sample_shape), True).T
        return drawn.reshape(self.extended(sample_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        self.check(value)
        index = value.long().unsqueeze(-1)
        index, logits = broadcast(index, self.logits)
        return logits.gather(-1, index[..., :1]).squeeze(-1)

    def entropy(self) -> Tensor:
        least = float(limits(self.logits).min)
        return -(self.logits.clamp(min=least) * self.probs).sum(-1)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        values = creation.arange(self._events, device=self.probs.device)
        values = values.reshape(-1, *(1 for _ in self.batch_shape))
        return values.expand(-1, *self.batch_shape) if expand else values


class OneHotCategorical(Distribution):
    """The choice of Categorical as a vector with a 1 in its place."""

    arg_constraints: ClassVar[Constraints] = {"probs": constraints.simplex, "logits": constraints.real_vector}
    support = constraints.one_hot
    has_enumerate_support = True

    def __init__(
        self, probs: Tensor | None = None, logits: Tensor | None = None, validate_args: bool | None = None
    ) -> None:
        self._categorical = Categorical(probs, logits)
        self.begin(self._categorical.batch_shape, self._categorical.param_shape[-1:], validate_args)

    @property
    def probs(self) -> Tensor:
        return self._categorical.probs

    @property
    def logits(self) -> Tensor:
        return self._categorical.logits

    @property
    def param_shape(self) -> Size:
        return self._categorical.param_shape

    @property
    def mean(self) -> Tensor:
        return self.probs

    @property
    def mode(self) -> Tensor:
        return self._hot(self.probs.argmax(-1))

    @property
    def variance(self) -> Tensor:
        return self.probs * (1 - self.probs)

    def _hot(self, index: Tensor) -> Tensor:
        places = creation.arange(self.event_shape[0], device=index.device)
        return (index.unsqueeze(-1) == places).to(self.probs.dtype)

    def draw(self, sample_shape: Shape) -> Tensor:
        return self._hot(self._categorical.sample(sample_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        self.check(value)
        return self._categorical.log_prob(value.max(-1)[1])

    def entropy(self) -> Tensor:
        return self._categorical.entropy()

    def enumerate_support(self, expand: bool = True) -> Tensor:
        count = self.event_shape[0]
        values = creation.eye(count, dtype=self.probs.dtype, device=self.probs.device)
        values = values.reshape(count, *(1 for _ in self.batch_shape), count)
        return values.expand(count, *self.batch_shape, count) if expand else values
