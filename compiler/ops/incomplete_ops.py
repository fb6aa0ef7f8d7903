"""The incomplete gamma functions as ops with a derivative by the concentration, too.

Their values are rows of the table, their derivative by a place is written with rows; that by the
concentration is how a quantile moves (`incomplete.py`), a hosted op: NumPy does it in compiled programs, too.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from retrograd.compiler.errors import GradientError, ShapeError
from retrograd.compiler.ir.graph import Array, Op, Type, Value, apply, register
from retrograd.compiler.ops.composite import Composite
from retrograd.compiler.ops.incomplete import gamma_slope
from retrograd.compiler.ops.rows import rows
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


@register
@record
class GammaSlope(Op):
    """dx/da of a gamma number x; it has no derivative here."""

    name = "gamma_slope"
    hosted = True

    def infer(self, *types: Type) -> Type:
        if types[0] != types[1]:
            raise ShapeError(f"{self.name} of {types[0]} and {types[1]}", "the operands' types differ")
        return types[0]

    def evaluate(self, *arrays: Array) -> Array:
        a, x = arrays
        return np.asarray(gamma_slope(a, x).astype(a.dtype))

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        raise GradientError(
            "the second derivative of an incomplete gamma function, or a gamma number, by its concentration",
            "there is no formula for it here",
            "differentiate by it once",
        )
