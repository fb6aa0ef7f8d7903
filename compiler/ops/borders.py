"""Elements added around the last axes, repeated from within: reflected, replicated, or from the other end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from retrograd.compiler.ir.graph import Array, Value, apply, register
from retrograd.compiler.ops.composite import Composite
from retrograd.compiler.ops.index import put_add
from retrograd.compiler.ops.shape import concat, expand, flip, narrow
from retrograd.compiler.record import record


def _reflect(x: Value, axis: int, low: int, high: int) -> list[Value]:
    size = x.shape[axis]
    before, after = narrow(x, axis, 1, low + 1), narrow(x, axis, size - 1 - high, size - 1)
    return [flip(before, (axis,)), x, flip(after, (axis,))]


def _replicate(x: Value, axis: int, low: int, high: int) -> list[Value]:
    size = x.shape[axis]
    ends = ((narrow(x, axis, 0, 1), low), (narrow(x, axis, size - 1, size), high))
    before, after = (
        expand(end, [count if k == axis else s for k, s in enumerate(x.shape)]) for end, count in ends
    )
    return [before, x, after]


def _circular(x: Value, axis: int, low: int, high: int) -> list[Value]:
    size = x.shape[axis]
    return [narrow(x, axis, size - low, size), x, narrow(x, axis, 0, high)]


_PARTS: dict[str, Callable[[Value, int, int, int], list[Value]]] = {
    "reflect": _reflect, "replicate": _replicate, "circular": _circular,
}  # fmt: skip
"""What is put together for each mode."""
_NUMPYS: dict[str, Literal["reflect", "edge", "wrap"]] = {
    "reflect": "reflect", "replicate": "edge", "circular": "wrap",
}  # fmt: skip


@record
class _Borders(Composite):
    mode: str
    low: tuple[int, ...]
    """For the last axes, the first of these first."""
    high: tuple[int, ...]

    def origins(self, shape: Sequence[int]) -> list[Array]:
        """Where along each of the last axes, which have these sizes, an element of the result comes from."""
        each = zip(shape, self.low, self.high, strict=True)
        return [np.pad(np.arange(n), (low, high), _NUMPYS[self.mode]) for n, low, high in each]


@register
@record
class Bordered(_Borders):
    name = "bordered"
    categories = (0, 1, 2, 3)

    def formula(self, *values: Value) -> Value:
        (x,) = values
        rank = len(self.low)
        for k in reversed(range(rank)):
            axis = len(x.shape) - rank + k
            if self.low[k] or self.high[k]:
                parts = _PARTS[self.mode](x, axis, self.low[k], self.high[k])
                x = concat([part for part in parts if part.shape[axis]], axis)
        return x

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        shape = tuple(inputs[0].shape)
        return [apply(BorderedAdjoint(self.mode, self.low, self.high, shape), cotangent)]


@register
@record
class BorderedAdjoint(_Borders):
    """The cotangent of an operand of this `shape`."""

    name = "bordered_adjoint"
    categories = (2, 3)
    shape: tuple[int, ...]

    def formula(self, *values: Value) -> Value:
        (cotangent,) = values
        rank, shape = len(self.low), self.shape
        for k in range(rank):
            axis = len(shape) - rank + k
            if self.low[k] or self.high[k]:
                cotangent = self._returned(cotangent, axis, self.low[k], shape[axis])
        return cotangent

    def _returned(self, cotangent: Value, axis: int, low: int, size: int) -> Value:
        """The same along one axis."""
        k = axis - len(self.shape) + len(self.low)
        own = Bordered(self.mode, (low,), (self.high[k],))
        (origins,) = own.origins([size])
        return put_add(cotangent, origins, axis, size)


# ---- as functions of values of any level -------------------------------------------------------------------


def bordered(x: Value, mode: str, low: Sequence[int], high: Sequence[int]) -> Value:
    return apply(Bordered(mode, tuple(low), tuple(high)), x)
