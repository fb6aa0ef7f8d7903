"""Maps to what a constraint allows: `biject_to` and `transform_to`, for optimisers of constrained parameters.

In flows a constraint, out flows a map from real numbers to what it allows; that of `biject_to` is one to one
and has `log_abs_det_jacobian`, that of `transform_to` may be cheaper. A new constraint is entered by
`register`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from retrograd.compiler.errors import ArgumentError, mirrored
from retrograd.runtime.distributions import constraints, transforms
from retrograd.runtime.distributions.transforming import Transform

Factory = Callable[[Any], Transform]


class ConstraintRegistry:
    """Makes a map of a constraint, by its class."""

    def __init__(self) -> None:
        self._factories: dict[type, Factory] = {}

    def register(self, constraint: Any, factory: Factory | None = None) -> Any:
        """Enter a factory for a constraint's class; a decorator, where none is given."""
        if factory is None:
            return lambda given: self.register(constraint, given)
        kind = type(constraint) if isinstance(constraint, constraints.Constraint) else constraint
        if not (isinstance(kind, type) and issubclass(kind, constraints.Constraint)):
            text = "Expected constraint to be either a Constraint subclass or instance, but got "
            raise ArgumentError(mirrored(f"{text}{constraint}"))
        self._factories[kind] = factory
        return factory

    def __call__(self, constraint: Any) -> Transform:
        factory = self._factories.get(type(constraint))
        if factory is None:
            raise NotImplementedError(f"Cannot transform {type(constraint).__name__} constraints")
        return factory(constraint)


biject_to, transform_to = ConstraintRegistry(), ConstraintRegistry()


def _bounded_below(constraint: Any) -> Transform:
    shift = transforms.AffineTransform(constraint.lower_bound, 1)
    return transforms.ComposeTransform([transforms.ExpTransform(), shift])


def _bounded_above(constraint: Any) -> Transform:
    turn = transforms.AffineTransform(constraint.upper_bound, -1)
    return transforms.ComposeTransform([transforms.ExpTransform(), turn])


def _between(constraint: Any) -> Transform:
    low, high = constraint.lower_bound, constraint.upper_bound
    if isinstance(low, int | float) and isinstance(high, int | float) and (low, high) == (0, 1):
        return transforms.SigmoidTransform()
    stretch = transforms.AffineTransform(low, high - low)
    return transforms.ComposeTransform([transforms.SigmoidTransform(), stretch])


def _structured(registry: ConstraintRegistry) -> dict[Any, Factory]:
    """Constraints that are made of others, whose maps are the registry's."""
    return {
        constraints.independent: lambda c: transforms.IndependentTransform(
            registry(c.base_constraint), c.reinterpreted_batch_ndims
        ),
        constraints.cat: lambda c: transforms.CatTransform([registry(x) for x in c.cseq], c.dim, c.lengths),
        constraints.stack: lambda c: transforms.StackTransform([registry(x) for x in c.cseq], c.dim),
    }


_BOTH: dict[Any, Factory] = {
    constraints.real: lambda c: transforms.identity_transform,
    constraints.greater_than: _bounded_below,
    constraints.greater_than_eq: _bounded_below,
    constraints.less_than: _bounded_above,
    constraints.interval: _between,
    constraints.half_open_interval: _between,
    constraints.corr_cholesky: lambda c: transforms.CorrCholeskyTransform(),
}
_CHEAP: dict[Any, Factory] = {
    constraints.simplex: lambda c: transforms.SoftmaxTransform(),
    constraints.lower_cholesky: lambda c: transforms.LowerCholeskyTransform(),
    constraints.positive_definite: lambda c: transforms.PositiveDefiniteTransform(),
    constraints.positive_semidefinite: lambda c: transforms.PositiveDefiniteTransform(),
}
_EXACT: dict[Any, Factory] = {constraints.simplex: lambda c: transforms.StickBreakingTransform()}

for _registry, _own in ((biject_to, _EXACT), (transform_to, _CHEAP)):
    for _constraint, _factory in (_BOTH | _own | _structured(_registry)).items():
        _registry.register(_constraint, _factory)
