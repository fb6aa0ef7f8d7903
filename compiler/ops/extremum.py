"""Where the greatest or the least element stands along an axis, as int64: the first of equal ones; NaN counts
as the greatest and as the least, and the first NaN is what is found.
"""

from __future__ import annotations

import numpy as np

from retrograd.compiler.errors import ShapeError
from retrograd.compiler.ir.graph import Array, Fixed, Type, Value, apply, register
from retrograd.compiler.ops.composite import Composite
from retrograd.compiler.ops.iota import iota_like
from retrograd.compiler.ops.reduce import amax, amin, spread
from retrograd.compiler.ops.rows import rows
from retrograd.compiler.record import record


@record
class _Place(Fixed, Composite):
    """Of the elements along an axis, which is not empty."""

    categories = (0, 1, 2)
    axis: int

    def infer(self, *types: Type) -> Type:
        if types[0].shape[self.axis] == 0:
            raise ShapeError(
                f"{self.name} of {types[0]} along axis {self.axis}", "there is no element to choose"
            )
        return super().infer(*types)

    def found(self, x: Value, extremum: Value) -> Value:
        """The first place of the extremum, or of NaN (which differs from itself)."""
        place, size = iota_like(x, self.axis), x.shape[self.axis]
        first = rows.where(rows.eq(x, spread(extremum, [self.axis], x.shape)), place, size)
        return amin(rows.where(rows.eq(x, x), first, place), [self.axis])


@register
@record
class Argmax(_Place):
    name = "argmax"

    def formula(self, *values: Value) -> Value:
        return self.found(values[0], amax(values[0], [self.axis]))

    def compute(self, *arrays: Array) -> Array:
        return np.asarray(arrays[0].argmax(self.axis))


@register
@record
class Argmin(_Place):
    name = "argmin"

    def formula(self, *values: Value) -> Value:
        return self.found(values[0], amin(values[0], [self.axis]))

    def compute(self, *arrays: Array) -> Array:
        return np.asarray(arrays[0].argmin(self.axis))


# ---- as functions of values of any level -------------------------------------------------------------------


def argmax(x: Value, axis: int) -> Value:
    return apply(Argmax(axis), x)


def argmin(x: Value, axis: int) -> Value:
    return apply(Argmin(axis), x)
