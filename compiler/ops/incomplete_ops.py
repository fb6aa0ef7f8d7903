"""The incomplete gamma functions as ops with a derivative by the concentration, too.

Their values are rows of the table, their derivative by a place is written with rows; that by the
concentration is how a quantile moves (`incomplete.py`), a hosted op: NumPy does it in compiled programs, too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

import numpy as np

from retrograd.compiler.errors import GradientError, ShapeError
from retrograd.compiler.ir.graph import Array, Op, Type, Value, apply, register
from retrograd.compiler.ops.composite import Composite
from retrograd.compiler.ops.incomplete import beta_slope, gamma_slope
from retrograd.compiler.ops.reduce import sum_
from retrograd.compiler.ops.rows import rows
from retrograd.compiler.ops.shape import unsqueeze
from retrograd.compiler.record import record


@register
@record
class IncompleteGamma(Composite):
    """The regularized function: the lower one, P, or the upper one, Q."""

    name = "igamma"
    upper: bool = False

    @property
    def title(self) -> str:
        return "Igammac" if self.upper else "Igamma"

    def formula(self, *values: Value) -> Value:
        a, x = values
        return (rows.gamma_q if self.upper else rows.gamma_p)(a, x)

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        a, x = inputs
        logarithm = rows.xlogy(a - 1, x) - x - rows.lgamma(a)
        density = rows.exp(logarithm) * (-1 if self.upper else 1)
        given = cotangent * density
        return [-1 * given * apply(GammaSlope(), a, x) if needed[0] else None, given]


class Slope(Op):
    """How a quantile moves with a concentration, the first operand; it has no derivative here."""

    hosted = True
    slope: ClassVar[Callable[..., Array]]
    """The same of arrays, in float64."""

    def infer(self, *types: Type) -> Type:
        if len({*types}) > 1:
            shown = " and ".join(map(str, types))
            raise ShapeError(f"{self.name} of {shown}", "the operands' types differ")
        return types[0]

    def evaluate(self, *arrays: Array) -> Array:
        return np.asarray(type(self).slope(*arrays).astype(arrays[0].dtype))

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        raise GradientError(
            "the second derivative of an incomplete gamma function, or a gamma number, by its concentration",
            "there is no formula for it here",
            "differentiate by it once",
        )


@register
@record
class GammaSlope(Slope):
    """dx/da of a gamma number x."""

    name = "gamma_slope"
    slope = staticmethod(gamma_slope)


@register
@record
class BetaSlope(Slope):
    """dx/da of a beta number x of concentrations a and b."""

    name = "beta_slope"
    slope = staticmethod(beta_slope)


# ---- numbers that were drawn -------------------------------------------------------------------------------


class Sampled(Op):
    """Numbers that were drawn, the last operand, as what moves with the concentration by which they were, the
    first one."""

    hosted = True

    def infer(self, *types: Type) -> Type:
        if types[0] != types[1]:
            raise ShapeError(f"{self.name} of {types[0]} and {types[1]}", "the operands' types differ")
        return types[0]

    def evaluate(self, *arrays: Array) -> Array:
        return arrays[1].copy()


@register
@record
class StandardGamma(Sampled):
    """Gamma numbers of rate 1."""

    name = "standard_gamma"

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        return cotangent * apply(GammaSlope(), inputs[0], out), None


@register
@record
class StandardDirichlet(Sampled):
    """Vectors along the last axis that sum to 1: of each number, a beta number, the others take their shares
    of the rest."""

    name = "dirichlet"

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        a, last = inputs[0], [len(out.shape) - 1]
        whole, mean = (unsqueeze(sum_(x, last), last) for x in (a, out * cotangent))
        return apply(BetaSlope(), a, whole - a, out) * (cotangent - mean) / (1 - out), None
