"""Gated linear units (Dauphin et al., arXiv 1612.08083): half of an axis times the sigmoid of the other."""

from __future__ import annotations

from collections.abc import Sequence

from retrograd.compiler.ir.graph import Value, apply, register
from retrograd.compiler.ops.composite import Composite
from retrograd.compiler.ops.rows import rows
from retrograd.compiler.ops.shape import concat, narrow
from retrograd.compiler.record import record


@register
@record
class Glu(Composite):
    """The first half along an axis times the sigmoid of the second."""

    name = "glu"
    axis: int

    def formula(self, *values: Value) -> Value:
        x, gate = halves(values[0], self.axis)
        return x * rows.sigmoid(gate)

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        return [apply(GluAdjoint(self.axis), cotangent, *inputs)]


@register
@record
class GluAdjoint(Composite):
    """Of the cotangent and the operand: a cotangent for both halves."""

    name = "glu_adjoint"
    axis: int

    def formula(self, *values: Value) -> Value:
        cotangent, whole = values
        x, gate = halves(whole, self.axis)
        share = rows.sigmoid(gate)
        found = cotangent * share
        return concat([found, found * (1.0 - share) * x], self.axis)


def halves(x: Value, axis: int) -> tuple[Value, Value]:
    size = x.shape[axis] // 2
    return narrow(x, axis, 0, size), narrow(x, axis, size, 2 * size)


# ---- as functions of values of any level -------------------------------------------------------------------


def glu(x: Value, axis: int) -> Value:
    return apply(Glu(axis), x)
