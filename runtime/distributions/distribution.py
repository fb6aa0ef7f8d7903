"""What all distributions share: shapes, checks, samples, printing.

A distribution holds parameters, Tensors that broadcast to its `batch_shape` (each with the axes of an event
after them); out flow samples `[*sample_shape, *batch_shape, *event_shape]` and logarithms of densities
`[*sample_shape, *batch_shape]`. Samples come from the same stream of random numbers as PyTorch's.

A new distribution is a subclass with `arg_constraints`, `support`, a constructor that ends in `self.begin`,
and what it knows of `rsample` or `draw`, `log_prob`, `entropy` and moments.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, TypeVar

from retrograd.compiler import dtypes
from retrograd.compiler.errors import ArgumentError, mirrored, warn
from retrograd.runtime.distributions import constraints
from retrograd.runtime.distributions.constraints import Constraint, Constraints
from retrograd.runtime.functions import from_data, shaping
from retrograd.runtime.modes import STATE, enable_grad, no_grad
from retrograd.runtime.tensor import Size, Tensor

Number = float | Tensor
Shape = Sequence[int]
_NONE = Size()
_D = TypeVar("_D", bound="Distribution")


class lazy:
    """An attribute that is worked out when it is asked for, and kept; but not what is made inside a trace."""

    def __init__(self, compute: Callable[[Any], Tensor]) -> None:
        self.compute = compute
        self.__doc__ = compute.__doc__

    def __get__(self, instance: Any, owner: type) -> Any:
        if instance is None:
            return self
        with enable_grad():
            value = self.compute(instance)
        if STATE.trace is None:
            instance.__dict__[self.compute.__name__] = value
        return value


class Distribution:
    """Base of all distributions."""

    has_rsample = False
    has_enumerate_support = False
    arg_constraints: ClassVar[Constraints] = {}
    support: Any = constraints.dependent
    validating: ClassVar[bool] = __debug__

    batch_shape: Size
    event_shape: Size

    @staticmethod
    def set_default_validate_args(value: bool) -> None:
        """Whether parameters and values are checked where nothing else is said."""
        if value not in (True, False):
            raise ArgumentError(f"set_default_validate_args({value!r})", "it is True or False")
        Distribution.validating = value

    def __init__(
        self, batch_shape: Shape = _NONE, event_shape: Shape = _NONE, validate_args: bool | None = None
    ) -> None:
        self.begin(batch_shape, event_shape, validate_args)

    def begin(self, batch_shape: Shape, event_shape: Shape, validate_args: bool | None) -> None:
        """Take the shapes, and check the parameters, whose elements are not known inside a trace."""
        self.batch_shape, self.event_shape = Size(batch_shape), Size(event_shape)
        self._validate_args = Distribution.validating if validate_args is None else validate_args
        if not self._validate_args or STATE.trace is not None:
            return
        for name, constraint in self.arg_constraints.items():
            if name not in self.__dict__ or constraints.is_dependent(constraint):
                continue
            value = self.__dict__[name]
            if not constraint.check(value).all():
                raise ArgumentError(
                    mirrored(
                        f"Expected parameter {name} ({type(value).__name__} of shape {tuple(value.shape)}) "
                        f"of distribution {self!r} to satisfy the constraint {constraint!r}, but found "
                        f"invalid values:\n{value}"
                    )
                )

    def expand(self: _D, batch_shape: Shape, _instance: object = None) -> _D:
        """The same with another batch shape, to which its own broadcasts."""
        found = copy.copy(self)
        found.batch_shape = Size(batch_shape)
        for name, value in self.__dict__.items():
            if isinstance(value, Distribution):
                setattr(found, name, value.expand(batch_shape))
            elif isinstance(value, Tensor):
                event = value.ndim - len(self.batch_shape)
                size = (*batch_shape, *value.shape[value.ndim - event :])
                setattr(found, name, value.expand(size))
        return found

    # ---- samples -------------------------------------------------------------------------------------------

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        """Samples without a history."""
        with no_grad():
            return self.draw(sample_shape)

    def sample_n(self, n: int) -> Tensor:
        """`sample((n,))`."""
        warn("`sample_n(n)` will be deprecated. Use `sample((n,))` instead.", FutureWarning)
        return self.sample((n,))

    def draw(self, sample_shape: Shape) -> Tensor:
        """What `sample` draws."""
        return self.rsample(sample_shape)

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        """Samples that are differentiable by the parameters."""
        raise NotImplementedError

    def extended(self, sample_shape: Shape) -> tuple[int, ...]:
        """The shape of samples."""
        return (*sample_shape, *self.batch_shape, *self.event_shape)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """All values, along a new first axis."""
        raise NotImplementedError

    # ---- densities -----------------------------------------------------------------------------------------

    def log_prob(self, value: Tensor) -> Tensor:
        """The logarithm of the density, or of the probability, at a value."""
        raise NotImplementedError

    def cdf(self, value: Tensor) -> Tensor:
        """The probability of a value or a lesser one."""
        raise NotImplementedError

    def icdf(self, value: Tensor) -> Tensor:
        """The inverse of `cdf`."""
        raise NotImplementedError

    def entropy(self) -> Tensor:
        """The entropy in nats, for each element of the batch."""
        raise NotImplementedError

    def perplexity(self) -> Tensor:
        return self.entropy().exp()

    # ---- moments -------------------------------------------------------------------------------------------

    @property
    def mean(self) -> Tensor:
        raise NotImplementedError

    @property
    def mode(self) -> Tensor:
        raise NotImplementedError(f"{type(self)} does not implement mode")

    @property
    def variance(self) -> Tensor:
        raise NotImplementedError

    @property
    def stddev(self) -> Tensor:
        return self.variance.sqrt()

    # ---- care ----------------------------------------------------------------------------------------------

    def check(self, value: object) -> None:
        """ArgumentError for a value that does not fit: by its shape, or beyond the support."""
        if not self._validate_args:
            return
        if not isinstance(value, Tensor):
            raise ArgumentError(mirrored("The value argument to log_prob must be a Tensor"))
        events = value.ndim - len(self.event_shape)
        if value.shape[max(events, 0) :] != self.event_shape:
            raise ArgumentError(
                mirrored(
                    "The right-most size of value must match event_shape: "
                    f"{value.shape} vs {self.event_shape}."
                )
            )
        wanted = Size((*self.batch_shape, *self.event_shape))
        for size, other in zip(reversed(value.shape), reversed(wanted)):
            if size not in (1, other) and other != 1:
                raise ArgumentError(
                    mirrored(
                        f"Value is not broadcastable with batch_shape+event_shape: {value.shape} vs {wanted}."
                    )
                )
        support: Constraint = self.support
        if STATE.trace is None and not support.check(value).all():
            raise ArgumentError(
                mirrored(
                    f"Expected value argument ({type(value).__name__} of shape {tuple(value.shape)}) to be "
                    f"within the support ({support!r}) of the distribution {self!r}, but found invalid "
                    f"values:\n{value}"
                )
            )

    # What distributions written for PyTorch call in their base.

    def _validate_sample(self, value: Tensor) -> None:
        self.check(value)

    def _extended_shape(self, sample_shape: Shape = ()) -> Size:
        return Size(self.extended(sample_shape))

    def __repr__(self) -> str:
        own = [(name, self.__dict__[name]) for name in self.arg_constraints if name in self.__dict__]
        shown = ", ".join(f"{name}: {x if x.numel() == 1 else x.size()}" for name, x in own)
        return f"{type(self).__name__}({shown})"


# ---- parameters --------------------------------------------------------------------------------------------


def broadcast(*values: Number) -> list[Tensor]:
    """Numbers and Tensors as Tensors of one shape; numbers take the dtype of the first Tensor."""
    tensors = [x for x in values if isinstance(x, Tensor)]
    kind = tensors[0].dtype if tensors else dtypes.default_dtype()
    made = [x if isinstance(x, Tensor) else from_data.tensor(x, dtype=kind) for x in values]
    return list(shaping.broadcast_tensors(*made))


def batch_of(first: Tensor, *values: Number) -> Size:
    """The batch shape: none where all parameters were numbers."""
    return Size() if not any(isinstance(x, Tensor) for x in values) else first.shape


def chosen(name: str, probs: Any, logits: Any) -> bool:
    """Whether `probs` was given, of which and `logits` exactly one must be."""
    if (probs is None) == (logits is None):
        raise ArgumentError(
            mirrored("Either `probs` or `logits` must be specified, but not both."),
            f"{name} was given {'neither' if probs is None else 'both'}",
        )
    return probs is not None


def limits(x: Tensor) -> Any:
    """The limits of a Tensor's dtype: `eps`, `tiny`, `min`, `max`."""
    return dtypes.limits(x.dtype)


def clamped(probs: Tensor) -> Tensor:
    """Probabilities kept from 0 and 1, so that they have logarithms."""
    eps = float(limits(probs).eps)
    return probs.clamp(eps, 1 - eps)


class Odds:
    """Parameters as probabilities and as logits, of which one is given and the other worked out."""

    @lazy
    def logits(self) -> Tensor:
        probs = clamped(self.probs)
        return probs.log() - (-probs).log1p()

    @lazy
    def probs(self) -> Tensor:
        return self.logits.sigmoid()
