"""What is said for each channel, axis 1 of `[N, C, …]` (or the only axis), of all its elements.

In flow the elements and a number for each channel, `[C]`; out flow elements in their place, or a sum for each
channel.
"""

from __future__ import annotations

from collections.abc import Sequence

from retrograd.compiler.ir.graph import Type, Value, apply, register
from retrograd.compiler.ops.composite import Composite
from retrograd.compiler.ops.reduce import sum_
from retrograd.compiler.ops.rows import rows
from retrograd.compiler.ops.shape import cast, reshape
from retrograd.compiler.record import record


def _along(per: Value, x: Value) -> Value:
    """The channels' numbers beside the elements."""
    return reshape(per, (per.shape[0], *[1] * (len(x.shape) - 2)))


def _total(x: Value) -> Value:
    """The sum of each channel."""
    return sum_(x, [k for k in range(len(x.shape)) if k != 1])


@record
class _Channels(Composite):
    def infer(self, *types: Type) -> Type:
        assert types[0].ndim > 1
        return super().infer(*types)


@register
@record
class ScaleShift(_Channels):
    """`x · scale + shift`; without a shift, `x · scale`."""

    name = "scale_shift"

    def formula(self, *values: Value) -> Value:
        x, scale, *shift = values
        scaled = x * _along(scale, x)
        return scaled + _along(shift[0], x) if shift else scaled

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        x, scale, *shift = inputs
        found = [
            apply(ScaleShift(), cotangent, scale) if needed[0] else None,
            apply(ChannelDot(), cotangent, x) if needed[1] else None,
        ]
        return [*found, *(_total(cotangent) if needed[2] else None for _ in shift)]


@register
@record
class ChannelDot(_Channels):
    """The sum of the products of elements in one place, of each channel."""

    name = "channel_dot"

    def formula(self, *values: Value) -> Value:
        x, y = values
        return _total(x * y)

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        x, y = inputs
        return [apply(ScaleShift(), other, cotangent) for other in (y, x)]


@register
@record
class PRelu(_Channels):
    """`x` where it is positive, else `slope · x`."""

    name = "prelu"

    def formula(self, *values: Value) -> Value:
        x, slope = values
        return rows.where(rows.gt(x, 0.0), x, x * _along(slope, x))

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        x, slope = inputs
        return [
            apply(PReluAdjoint(), cotangent, x, slope) if needed[0] else None,
            apply(PReluSlopes(), cotangent, x) if needed[1] else None,
        ]


@register
@record
class PReluAdjoint(_Channels):
    """The first operand where the second is positive, else that times the slope."""

    name = "prelu_adjoint"

    def formula(self, *values: Value) -> Value:
        cotangent, x, slope = values
        return rows.where(rows.gt(x, 0.0), cotangent, cotangent * _along(slope, x))

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        """Of the second operand it is zero, and yet depends on it, as in PyTorch."""
        first, _, slope = super().adjoint(cotangent, out, inputs, (needed[0], False, needed[2]))
        x = inputs[1]
        return [first, cast(rows.lt(x, x), x.dtype) if needed[1] else None, slope]


@register
@record
class PReluSlopes(_Channels):
    """The sum of the products where the second operand is not positive, of each channel."""

    name = "prelu_slopes"

    def formula(self, *values: Value) -> Value:
        cotangent, x = values
        return _total(rows.where(rows.gt(x, 0.0), 0.0, cotangent * x))


# ---- as functions of values of any level -------------------------------------------------------------------


def scale_shift(x: Value, scale: Value, *shift: Value) -> Value:
    return apply(ScaleShift(), x, scale, *shift)


def prelu(x: Value, slope: Value) -> Value:
    return apply(PRelu(), x, slope)
