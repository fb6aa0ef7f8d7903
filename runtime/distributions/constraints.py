"""Constraints: which values parameters and samples may have, as `torch.distributions.constraints`.

In flows a Tensor, out flows for each event whether it is allowed. Constraints print as PyTorch's do, for
errors quote them. A new one is a class here, or an object made of one at the end.
"""

from __future__ import annotations

from typing import Any

from retrograd.runtime.functions import LINALG
from retrograd.runtime.tensor import Tensor


class Constraint:
    """Which values are allowed."""

    is_discrete = False
    event_dim = 0
    """How many of the last axes belong to one value."""

    def check(self, value: Tensor) -> Tensor:
        """A bool for each value: whether it is allowed."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__.lstrip('_')}()"


class _Bounded(Constraint):
    """Numbers between bounds; the subclass says which bounds are allowed themselves."""

    names: tuple[str, ...] = ("lower_bound", "upper_bound")

    def __init__(self, *bounds: Any) -> None:
        self.bounds = bounds
        for name, bound in zip(self.names, bounds, strict=True):
            setattr(self, name, bound)

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={bound}" for name, bound in zip(self.names, self.bounds))
        return f"{type(self).__name__.lstrip('_')}({shown})"


class _Interval(_Bounded):
    def check(self, value: Tensor) -> Tensor:
        low, high = self.bounds
        return (value >= low) & (value <= high)


class _HalfOpenInterval(_Bounded):
    def check(self, value: Tensor) -> Tensor:
        low, high = self.bounds
        return (value >= low) & (value < high)


class _GreaterThan(_Bounded):
    names = ("lower_bound",)

    def check(self, value: Tensor) -> Tensor:
        return value > self.bounds[0]


class _GreaterThanEq(_Bounded):
    names = ("lower_bound",)

    def check(self, value: Tensor) -> Tensor:
        return value >= self.bounds[0]


class _LessThan(_Bounded):
    names = ("upper_bound",)

    def check(self, value: Tensor) -> Tensor:
        return value < self.bounds[0]


class _IntegerInterval(_Bounded):
    is_discrete = True

    def check(self, value: Tensor) -> Tensor:
        low, high = self.bounds
        return (value.remainder(1) == 0) & (value >= low) & (value <= high)


class _IntegerGreaterThan(_Bounded):
    names = ("lower_bound",)
    is_discrete = True

    def check(self, value: Tensor) -> Tensor:
        return (value.remainder(1) == 0) & (value >= self.bounds[0])


class _Real(Constraint):
    def check(self, value: Tensor) -> Tensor:
        return value == value  # NaN is none


class _Boolean(Constraint):
    is_discrete = True

    def check(self, value: Tensor) -> Tensor:
        return (value == 0) | (value == 1)


class _Simplex(Constraint):
    """Vectors of probabilities."""

    event_dim = 1

    def check(self, value: Tensor) -> Tensor:
        return (value >= 0).all(-1) & ((value.sum(-1) - 1).abs() < 1e-6)


class _OneHot(Constraint):
    is_discrete = True
    event_dim = 1

    def check(self, value: Tensor) -> Tensor:
        return ((value == 0) | (value == 1)).all(-1) & value.sum(-1).eq(1)


class _LowerCholesky(Constraint):
    """Lower triangles with a positive diagonal."""

    event_dim = 2

    def check(self, value: Tensor) -> Tensor:
        triangle = (value.tril() == value).reshape(*value.shape[:-2], -1).all(-1)
        return triangle & (value.diagonal(dim1=-2, dim2=-1) > 0).all(-1)


class _PositiveDefinite(Constraint):
    event_dim = 2

    def check(self, value: Tensor) -> Tensor:
        symmetric = value.isclose(value.mT, atol=1e-6).all(-2).all(-1)
        return symmetric & (LINALG["eigvalsh"](value) > 0).all(-1)


class _IndependentConstraint(Constraint):
    """Values of another constraint, several of which are one value: all must be allowed."""

    def __init__(self, base_constraint: Constraint, reinterpreted_batch_ndims: int) -> None:
        self.base_constraint = base_constraint
        self.reinterpreted_batch_ndims = reinterpreted_batch_ndims
        self.is_discrete = base_constraint.is_discrete
        self.event_dim = base_constraint.event_dim + reinterpreted_batch_ndims

    def check(self, value: Tensor) -> Tensor:
        allowed = self.base_constraint.check(value)
        kept = allowed.ndim - self.reinterpreted_batch_ndims
        return allowed.reshape(*allowed.shape[:kept], -1).all(-1)

    def __repr__(self) -> str:
        return f"IndependentConstraint({self.base_constraint!r}, {self.reinterpreted_batch_ndims})"


class _Dependent(Constraint):
    """Depends on other parameters; the distribution itself knows."""


def is_dependent(constraint: object) -> bool:
    """Whether a constraint cannot be asked by itself."""
    return isinstance(constraint, _Dependent)


dependent = _Dependent()
real = _Real()
positive, nonnegative = _GreaterThan(0.0), _GreaterThanEq(0.0)
unit_interval = _Interval(0.0, 1.0)
boolean, one_hot, simplex = _Boolean(), _OneHot(), _Simplex()
nonnegative_integer, positive_integer = _IntegerGreaterThan(0), _IntegerGreaterThan(1)
lower_cholesky, positive_definite = _LowerCholesky(), _PositiveDefinite()
real_vector = _IndependentConstraint(real, 1)
independent = _IndependentConstraint
interval, half_open_interval, integer_interval = _Interval, _HalfOpenInterval, _IntegerInterval
greater_than, greater_than_eq, less_than = _GreaterThan, _GreaterThanEq, _LessThan
Constraints = dict[str, Constraint]
