"""Elements moved to several places, or to the places on one side of a diagonal.

tril, triu   x on one side of a diagonal of the last two axes, zeros on the other
repeat       copies side by side along every axis
"""

from __future__ import annotations

from collections.abc import Sequence

from retrograd.compiler.errors import ShapeError
from retrograd.compiler.ir.graph import Type, Value, apply, register
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
    categories = (0, 1, 2, 3)
    diagonal: int
    """How far above the main one."""
    lower: bool

    @property
    def title(self) -> str:
        return "Tril" if self.lower else "Triu"

    def infer(self, *types: Type) -> Type:
        if types[0].ndim < 2:
            raise ShapeError(f"{self.name} of {types[0]}", "the input tensor must have at least 2 dimensions")
        return super().infer(*types)

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
    categories = (0, 1, 2, 3)
    counts: tuple[int, ...]

    def formula(self, *values: Value) -> Value:
        (x,) = values
        pairs = list(zip(self.counts, x.shape, strict=True))
        apart = reshape(x, [s for _, size in pairs for s in (1, size)])
        spread = expand(apart, [s for pair in pairs for s in pair])
        return reshape(spread, [count * size for count, size in pairs])


def tril(x: Value, diagonal: int = 0) -> Value:
    return apply(Triangle(diagonal, lower=True), x)


def triu(x: Value, diagonal: int = 0) -> Value:
    return apply(Triangle(diagonal, lower=False), x)


def repeat(x: Value, counts: Sequence[int]) -> Value:
    return apply(Repeat(tuple(counts)), x)
