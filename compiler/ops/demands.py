"""Demands: whole numbers that are passed on as they are, if they are such as a function takes; else an error.

    places    indices into an axis, where a function has its own words for those out of range, or takes none
              that count from the end
    divisor   what whole numbers are divided by: not 0
    lengths   of the segments of an axis: not negative, and together as long as it is
    fractions numbers between 0 and 1, or NaN
    overlaps  of windows, which divide what they overlap: nowhere 0

In eager mode `inspect` raises, in PyTorch's words; in compiled code `passes/checks.py` asks what `admits`
says. Words of another function are a line in `REFUSED`.
"""

from __future__ import annotations

import numpy as np

from retrograd.compiler.errors import (
    ArgumentError,
    DimensionError,
    PlaceError,
    RetrogradError,
    ShapeError,
    mirrored,
)
from retrograd.compiler.ir.graph import Array, Value, apply, register
from retrograd.compiler.ops.composite import Composite
from retrograd.compiler.ops.reduce import sum_
from retrograd.compiler.ops.rows import rows
from retrograd.compiler.ops.shape import unsqueeze
from retrograd.compiler.record import NamedTuple, record


class Refusal(NamedTuple):
    """How a function refuses an index that is out of range."""

    error: type[RetrogradError]
    words: str
    from_end: bool = False
    """Whether a negative index counts from the end of the axis."""


_OUTSIDE = "index {index} is out of bounds for dimension {axis} with size {size}"
REFUSED = {
    "places": Refusal(PlaceError, _OUTSIDE),
    "brackets": Refusal(DimensionError, _OUTSIDE, True),
    "rows": Refusal(DimensionError, "index out of range in self"),
    "bags": Refusal(
        ShapeError, "Index {first} of input takes value {index} which is not in the valid range [0, {size})"
    ),
    "index_copy": Refusal(DimensionError, f"index_copy_(): {_OUTSIDE}"),
    "elements": Refusal(
        DimensionError, "out of range: tried to access index {index} on a tensor of {size} elements.", True
    ),
}


@register
@record
class Places(Composite):
    """Indices into an axis."""

    name = "places"
    categories = (1,)
    told: str
    """A line of `REFUSED`."""
    axis: int
    size: int

    def formula(self, *values: Value) -> Value:
        return values[0]

    def inspect(self, *arrays: Array) -> None:
        (index,) = arrays
        refusal = REFUSED[self.told]
        if not index.size or self.least <= index.min() <= index.max() < self.size:
            return
        first = int(((index < self.least) | (index >= self.size)).ravel().argmax())
        told = refusal.words.format(index=index.flat[first], first=first, axis=self.axis, size=self.size)
        raise refusal.error(f"an index into an axis of size {self.size}", mirrored(told))

    def admits(self, *values: Value) -> Value:
        (index,) = values
        return rows.logical_and(rows.ge(index, self.least), rows.lt(index, self.size))

    @property
    def least(self) -> int:
        """What an index is at least."""
        return -self.size if REFUSED[self.told].from_end else 0


@register
@record
class Divisor(Composite):
    """Whole numbers, none of which is 0."""

    name = "divisor"
    categories = (1,)

    def formula(self, *values: Value) -> Value:
        return values[0]

    def inspect(self, *arrays: Array) -> None:
        if not np.all(arrays[0]):
            raise ArgumentError("whole numbers divided by 0", mirrored("ZeroDivisionError"))

    def admits(self, *values: Value) -> Value:
        return rows.ne(values[0], 0)


@register
@record
class Lengths(Composite):
    """Of segments that follow one another, along the last axis."""

    name = "lengths"
    categories = (1,)
    whole: int
    """How long they are together."""

    def formula(self, *values: Value) -> Value:
        return values[0]

    def inspect(self, *arrays: Array) -> None:
        (sizes,) = arrays
        if (sizes < 0).any():
            raise ArgumentError("lengths of segments", mirrored("lengths contains negative value!"))
        if (sizes.sum(-1) != self.whole).any():
            raise ShapeError(
                f"segments of an axis of size {self.whole}",
                mirrored(
                    "segment_reduce(): Expected all rows of lengths along axis to sum to "
                    "data.size(lengths.dim()-1) when !unsafe."
                ),
            )

    def admits(self, *values: Value) -> Value:
        (sizes,) = values
        right = rows.eq(sum_(sizes, [len(sizes.shape) - 1]), self.whole)
        return rows.logical_and(rows.ge(sizes, 0), unsqueeze(right, [len(sizes.shape) - 1]))


@register
@record
class Fractions(Composite):
    """Numbers between 0 and 1."""

    name = "fractions"

    def formula(self, *values: Value) -> Value:
        return values[0]

    def inspect(self, *arrays: Array) -> None:
        (shares,) = arrays
        if ((shares < 0) | (shares > 1)).any():
            raise ShapeError("fractions", mirrored("quantile() q values must be in the range [0, 1]"))

    def admits(self, *values: Value) -> Value:
        (shares,) = values
        return rows.logical_not(rows.logical_or(rows.lt(shares, 0.0), rows.gt(shares, 1.0)))


@register
@record
class Overlaps(Composite):
    """What the squares of overlapping windows add up to."""

    name = "overlaps"
    told: str
    """The call, in PyTorch's words."""

    def formula(self, *values: Value) -> Value:
        return values[0]

    def inspect(self, *arrays: Array) -> None:
        if not (np.abs(arrays[0]) > _NOTHING).all():
            words = f"{self.told} window overlap add min: 1\n[ CPUBoolType{{}} ]"
            raise ShapeError("windows that leave a gap", mirrored(words))

    def admits(self, *values: Value) -> Value:
        return rows.gt(rows.abs(values[0]), _NOTHING)


_NOTHING = 1e-11
"""Up to which a window's square counts as 0."""


# ---- as functions of values of any level -------------------------------------------------------------------


def places(index: Value, told: str, axis: int, size: int) -> Value:
    return apply(Places(told, axis, size), index)


def divisor(x: Value) -> Value:
    return apply(Divisor(), x)


def lengths(x: Value, whole: int) -> Value:
    return apply(Lengths(whole), x)


def fractions(x: Value) -> Value:
    return apply(Fractions(), x)


def overlaps(x: Value, told: str) -> Value:
    return apply(Overlaps(told), x)
