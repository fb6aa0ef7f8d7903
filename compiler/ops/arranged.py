"""Elements moved to several places, or to the places on one side of a diagonal.

triangle   x on one side of a diagonal of the last two axes, zeros on the other
repeat     copies side by side along every axis
"""

from __future__ import annotations

from collections.abc import Sequence

from retrograd.compiler.ir.graph import Value, apply, register
from retrograd.compiler.ops.composite import Composite
from retrograd.compiler.ops.iota import iota_like
from retrograd.compiler.ops.rows import rows
from retrograd.compiler.ops.shape import expand, reshape
from retrograd.compiler.record import record


@register
@record
class Triangle(Composite):
    """What is on a diagonal of the last two axes, and below or above it."""

    name = "triangle"
    categories = (0, 1, 2)
    diagonal: int
    """How far above the main one."""
    lower: bool

    @property
    def title(self) -> str:
        return "Tril" if self.lower else "Triu"

    def formula(self, *values: Value) -> Value:
        (x,) = values
        above = iota_like(x, len(x.shape) - 1) - iota_like(x, len(x.shape) - 2)
        return rows.where((rows.le if self.lower else rows.ge)(above, self.diagonal), x, 0)

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        return [apply(self, cotangent)]


@register
@record
class Repeat(Composite):
    """So many copies along each axis."""

    name = "repeat"
    categories = (0, 1, 2)
    counts: tuple[int, ...]

    def formula(self, *values: Value) -> Value:
        (x,) = values
        pairs = list(zip(self.counts, x.shape, strict=True))
        apart = reshape(x, [s for _, size in pairs for s in (1, size)])
        spread = expand(apart, [s for pair in pairs for s in pair])
        return reshape(spread, [count * size for count, size in pairs])


def triangle(x: Value, diagonal: int, lower: bool) -> Value:
    return apply(Triangle(diagonal, lower), x)


def repeat(x: Value, counts: Sequence[int]) -> Value:
    return apply(Repeat(tuple(counts)), x)
