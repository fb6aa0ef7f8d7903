"""Elements by index, weighed and summed, the same for all channels: what reads images between their pixels.

In flow an image `[N, C, elements]`, and for each corner and point an index, below 0 for what is outside and
counts as 0, and a weight, `[corners, N, points]`; out flow points `[N, C, points]`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

from retrograd.compiler.ir.graph import Value, apply, register
from retrograd.compiler.ops.composite import Composite
from retrograd.compiler.ops.index import put_along_add, take_along
from retrograd.compiler.ops.reduce import sum_
from retrograd.compiler.ops.rows import rows
from retrograd.compiler.ops.shape import concat, expand, select, unsqueeze
from retrograd.compiler.record import record


def _here(index: Value, channels: int) -> tuple[Value, Value]:
    """Of one corner: its index for each channel, and where there is one, `[N, 1, points]`."""
    n, points = index.shape
    one = unsqueeze(index, [1])
    return expand(rows.maximum(one, 0), (n, channels, points)), rows.ge(one, 0)


def of_corner(image: Value, index: Value, weight: Value) -> Value:
    """The elements at the indices of one corner, `[N, points]`, weighed."""
    place, here = _here(index, image.shape[1])
    return rows.where(here, take_along(image, place, 2), 0.0) * unsqueeze(weight, [1])


@register
@record
class Corners(Composite):
    """The sum over the corners."""

    name = "corners"

    def formula(self, *values: Value) -> Value:
        image, index, weight = values
        each = [of_corner(image, select(index, 0, k), select(weight, 0, k)) for k in range(index.shape[0])]
        return reduce(rows.add, each)

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        image, index, weight = inputs
        return [
            apply(CornersAdjoint(image.shape[2]), cotangent, index, weight) if needed[0] else None,
            None,
            apply(CornerWeights(), cotangent, image, index) if needed[2] else None,
        ]


@register
@record
class CornersAdjoint(Composite):
    """Of cotangents of points: those of an image of so many elements."""

    name = "corners_adjoint"
    elements: int

    def formula(self, *values: Value) -> Value:
        cotangent, index, weight = values
        each = []
        for k in range(index.shape[0]):
            place, here = _here(select(index, 0, k), cotangent.shape[1])
            given = rows.where(here, cotangent * unsqueeze(select(weight, 0, k), [1]), 0.0)
            each.append(put_along_add(given, place, 2, self.elements))
        return reduce(rows.add, each)

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        given, index, weight = inputs
        return [
            apply(Corners(), cotangent, index, weight) if needed[0] else None,
            None,
            apply(CornerWeights(), given, cotangent, index) if needed[2] else None,
        ]


@register
@record
class CornerWeights(Composite):
    """Of cotangents of points, and an image: those of the weights."""

    name = "corner_weights"

    def formula(self, *values: Value) -> Value:
        cotangent, image, index = values
        found = []
        for k in range(index.shape[0]):
            place, here = _here(select(index, 0, k), image.shape[1])
            each = rows.where(here, take_along(image, place, 2), 0.0) * cotangent
            found.append(unsqueeze(sum_(each, [1]), [0]))
        return concat(found, 0) if len(found) > 1 else found[0]

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        given, image, index = inputs
        return [
            apply(Corners(), image, index, cotangent) if needed[0] else None,
            apply(CornersAdjoint(image.shape[2]), given, index, cotangent) if needed[1] else None,
            None,
        ]


# ---- as functions of values of any level -------------------------------------------------------------------


def corners(image: Value, index: Value, weight: Value) -> Value:
    return apply(Corners(), image, index, weight)
