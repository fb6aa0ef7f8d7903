"""Values whose derivative goes on from some elements only: what `detach` is, element by element."""

from __future__ import annotations

from collections.abc import Sequence

from retrograd.compiler.ir.graph import Value, apply, register
from retrograd.compiler.ops.composite import Composite
from retrograd.compiler.ops.rows import rows
from retrograd.compiler.record import record


@register
@record
class Withheld(Composite):
    """The first operand, which has no derivative where the second one, of bools, is true."""

    name = "withheld"

    def formula(self, *values: Value) -> Value:
        x, where = values
        return rows.where(where, x, x)

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        return [rows.where(inputs[1], 0, cotangent), None]


def withheld(x: Value, where: Value) -> Value:
    return apply(Withheld(), x, where)
