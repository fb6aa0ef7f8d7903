"""Constraints: which values parameters and samples may have, as `torch.distributions.constraints`.

In flows a Tensor, out flows for each event whether it is allowed. Constraints print as PyTorch's do, for
errors quote them. A new one is a class here, or an object made of one at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from retrograd.compiler import dtypes
from retrograd.compiler.errors import ArgumentError, RequirementError, mirrored
from retrograd.runtime.functions import LINALG, creation, joining
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

    def __init__(self, *bounds: Any, **named: Any) -> None:
        rest = self.names[len(bounds) :]
        if len(bounds) > len(self.names) or set(named) != set(rest):
            raise ArgumentError(
                f"{type(self).__name__.lstrip('_')} with {[*bounds, *named]}",
                f"its bounds are {', '.join(self.names)}",
            )
        self.bounds = (*bounds, *map(named.__getitem__, rest))
        for name, bound in zip(self.names, self.bounds, strict=True):
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


class _IntegerLessThan(_Bounded):
    names = ("upper_bound",)
    is_discrete = True

    def check(self, value: Tensor) -> Tensor:
        return (value.remainder(1) == 0) & (value <= self.bounds[0])


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


class _Multinomial(_Bounded):
    """Counts, so many together at most."""

    names = ("upper_bound",)
    is_discrete = True
    event_dim = 1

    def check(self, value: Tensor) -> Tensor:
        return (value >= 0).all(-1) & (value.sum(-1) <= self.bounds[0])

    __repr__ = Constraint.__repr__


# ---- matrices ----------------------------------------------------------------------------------------------


class _LowerTriangular(Constraint):
    event_dim = 2

    def check(self, value: Tensor) -> Tensor:
        return (value.tril() == value).reshape(*value.shape[:-2], -1).all(-1)


class _LowerCholesky(_LowerTriangular):
    """Lower triangles with a positive diagonal."""

    def check(self, value: Tensor) -> Tensor:
        return super().check(value) & (value.diagonal(dim1=-2, dim2=-1) > 0).all(-1)


class _CorrCholesky(_LowerCholesky):
    """Those whose rows have length 1: factors of correlation matrices."""

    def check(self, value: Tensor) -> Tensor:
        tolerance = float(dtypes.limits(value.dtype).eps) * value.shape[-1] * 10
        away = (LINALG["vector_norm"](value.detach(), dim=-1) - 1.0).abs()
        return super().check(value) & (away <= tolerance).all(-1)


class _Square(Constraint):
    event_dim = 2

    def check(self, value: Tensor) -> Tensor:
        square = value.shape[-2] == value.shape[-1]
        return creation.full(value.shape[:-2], square, device=value.device)


class _Symmetric(_Square):
    def check(self, value: Tensor) -> Tensor:
        square = super().check(value)
        if value.shape[-2] != value.shape[-1]:
            return square
        return value.isclose(value.mT, atol=1e-6).all(-2).all(-1)


class _PositiveSemidefinite(_Symmetric):
    def check(self, value: Tensor) -> Tensor:
        symmetric = super().check(value)
        if not symmetric.all():
            return symmetric
        return (LINALG["eigvalsh"](value) >= 0).all(-1)


class _PositiveDefinite(_Symmetric):
    def check(self, value: Tensor) -> Tensor:
        symmetric = super().check(value)
        if not symmetric.all():
            return symmetric
        return LINALG["cholesky_ex"](value).info == 0


# ---- constraints made of others ----------------------------------------------------------------------------


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


class MixtureSameFamilyConstraint(Constraint):
    """What is allowed of every component of a mixture, whose axis is before those of a value."""

    def __init__(self, base_constraint: Constraint) -> None:
        self.base_constraint = base_constraint
        self.is_discrete, self.event_dim = base_constraint.is_discrete, base_constraint.event_dim

    def check(self, value: Tensor) -> Tensor:
        kept = value.ndim - self.event_dim
        if kept < 0:
            text = f"Expected value.dim() >= {self.event_dim} but got {value.ndim}"
            raise ArgumentError(mirrored(text))
        allowed = self.base_constraint.check(value.unsqueeze(-1 - self.event_dim))
        return allowed.reshape(*allowed.shape[:kept], -1).all(-1)

    def __repr__(self) -> str:
        return f"MixtureSameFamilyConstraint({self.base_constraint!r})"


class _SideBySide(Constraint):
    """Base of constraints on the parts of a value along one axis."""

    def __init__(self, cseq: Sequence[Constraint], dim: int = 0) -> None:
        if not all(isinstance(each, Constraint) for each in cseq):
            raise RequirementError(mirrored("All elements of cseq must be Constraint instances"))
        self.cseq, self.dim = list(cseq), dim
        self.is_discrete = any(each.is_discrete for each in cseq)

    def _place(self, value: Tensor) -> int:
        if not -value.ndim <= self.dim < value.ndim:
            text = f"dim {self.dim} out of range for value with {value.ndim} dimensions"
            raise RequirementError(mirrored(text))
        return self.dim


class _Cat(_SideBySide):
    """For parts of the given lengths one constraint each."""

    def __init__(
        self, cseq: Sequence[Constraint], dim: int = 0, lengths: Sequence[int] | None = None
    ) -> None:
        super().__init__(cseq, dim)
        self.lengths = [1] * len(self.cseq) if lengths is None else list(lengths)
        if len(self.lengths) != len(self.cseq):
            text = f"lengths ({len(self.lengths)}) must match cseq ({len(self.cseq)})"
            raise RequirementError(mirrored(text))
        self.event_dim = max(each.event_dim for each in cseq)

    def check(self, value: Tensor) -> Tensor:
        parts = value.split(self.lengths, self._place(value))
        return joining.cat([each.check(part) for each, part in zip(self.cseq, parts)], self.dim)


class _Stack(_SideBySide):
    """For each place one constraint."""

    def __init__(self, cseq: Sequence[Constraint], dim: int = 0) -> None:
        super().__init__(cseq, dim)
        most = max(each.event_dim for each in cseq)
        self.event_dim = most + (dim + most < 0)

    def check(self, value: Tensor) -> Tensor:
        parts = value.unbind(self._place(value))
        return joining.stack([each.check(part) for each, part in zip(self.cseq, parts)], self.dim)


class _Dependent(Constraint):
    """Depends on other parameters; the distribution itself knows."""

    def __init__(self, *, is_discrete: bool = False, event_dim: int = 0) -> None:
        self.is_discrete, self.event_dim = is_discrete, event_dim

    def __call__(self, *, is_discrete: bool = False, event_dim: int = 0) -> Constraint:
        """The same of such values."""
        return _Dependent(is_discrete=is_discrete, event_dim=event_dim)


class _DependentProperty(property, _Dependent):
    """A property of a distribution, and what its class says of it: `dependent_property(event_dim=1)`."""

    def __init__(
        self, fn: Callable[[Any], Any] | None = None, *, is_discrete: bool = False, event_dim: int = 0
    ) -> None:
        property.__init__(self, fn)
        _Dependent.__init__(self, is_discrete=is_discrete, event_dim=event_dim)

    def __call__(self, fn: Callable[[Any], Any]) -> _DependentProperty:  # type: ignore[override]  # a decorator
        return _DependentProperty(fn, is_discrete=self.is_discrete, event_dim=self.event_dim)


def is_dependent(constraint: object) -> bool:
    """Whether a constraint cannot be asked by itself."""
    return isinstance(constraint, _Dependent)


dependent, dependent_property = _Dependent(), _DependentProperty
real = _Real()
positive, nonnegative = _GreaterThan(0.0), _GreaterThanEq(0.0)
unit_interval = _Interval(0.0, 1.0)
boolean, one_hot, simplex = _Boolean(), _OneHot(), _Simplex()
nonnegative_integer, positive_integer = _IntegerGreaterThan(0), _IntegerGreaterThan(1)
lower_triangular, lower_cholesky, corr_cholesky = _LowerTriangular(), _LowerCholesky(), _CorrCholesky()
square, symmetric = _Square(), _Symmetric()
positive_semidefinite, positive_definite = _PositiveSemidefinite(), _PositiveDefinite()
real_vector = _IndependentConstraint(real, 1)
independent = _IndependentConstraint
interval, half_open_interval, integer_interval = _Interval, _HalfOpenInterval, _IntegerInterval
multinomial, cat, stack = _Multinomial, _Cat, _Stack
greater_than, greater_than_eq, less_than = _GreaterThan, _GreaterThanEq, _LessThan
Constraints = dict[str, Constraint]
