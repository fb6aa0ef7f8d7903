"""Images read at places that a grid says.

In flow images `[N, C, H, W]` (or `[N, C, D, H, W]`) and grids `[N, h, w, 2]` of places from -1 to 1, x before
y; out flow images `[N, C, h, w]`. Each output element is a weighed sum of the elements around its place, so
the image's derivative is a scatter, and the grid's is that of the weights. A new mode is an entry of `TAPS`,
a new border one of `BORDERS`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from itertools import product
from math import prod

from retrograd.compiler import dtypes
from retrograd.compiler.ir.graph import Value, register
from retrograd.compiler.ops.composite import Composite
from retrograd.compiler.ops.index import linear_index, take_along
from retrograd.compiler.ops.rows import rows
from retrograd.compiler.ops.shape import cast, expand, reshape, select, unsqueeze
from retrograd.compiler.record import record

Tap = tuple[Value, Value]
"""Along one axis: an element's place, a whole number, and its weight."""


@register
@record
class GridSampler(Composite):
    """The image at the grid's places, by the elements around; what lies outside is as `border` says."""

    name = "grid_sampler"
    mode: str
    border: str
    aligned: bool
    """Whether -1 and 1 are the centres of an axis' outer elements, not their borders."""

    def formula(self, *values: Value) -> Value:
        image, grid = values
        sizes, border = image.shape[2:], BORDERS[self.border]
        rank = len(sizes)
        along: list[list[Tap]] = []
        for axis, size in enumerate(sizes):
            place = self._place(select(grid, rank + 1, rank - 1 - axis), size)
            if self.mode != "bicubic":
                place = border(place, size, self.aligned)
            taps = TAPS[self.mode](place)
            if self.mode == "bicubic":
                taps = [(border(near, size, self.aligned), weight) for near, weight in taps]
            along.append([_bounded(near, weight, size) for near, weight in taps])
        return reduce(rows.add, [_read(image, corner) for corner in product(*along)])

    def _place(self, given: Value, size: int) -> Value:
        """Where between an axis' elements, counted from 0."""
        return (given + 1.0) * ((size - 1) / 2) if self.aligned else ((given + 1.0) * size - 1.0) * 0.5


# ---- borders: where a place beyond an image is -------------------------------------------------------------


def _inside(place: Value, size: int) -> Value:
    """The nearest place within, which has no derivative at the ends; 0 for NaN."""
    low = rows.where(rows.gt(place, 0), place, 0.0)
    return rows.where(rows.lt(low, size - 1), low, float(size - 1))


def _border(place: Value, size: int, align: bool) -> Value:
    return _inside(place, size)


def _reflection(place: Value, size: int, align: bool) -> Value:
    """Thrown back at the ends: at the outer elements' centres, or their borders."""
    low, span = (0.0, float(size - 1)) if align else (-0.5, float(size))
    if span == 0:
        return _inside(place * 0.0, size)
    far = rows.abs(place - low)
    rest, turns = rows.fmod(far, span), rows.floor(far / span)
    even = rows.eq(rows.fmod(turns, 2.0), 0.0)
    return _inside(rows.where(even, rest, span - rest) + low, size)


def _zeros(place: Value, size: int, align: bool) -> Value:
    return place


BORDERS: dict[str, Callable[[Value, int, bool], Value]] = {
    "zeros": _zeros,
    "border": _border,
    "reflection": _reflection,
}


# ---- taps: which elements count along an axis, and how much ------------------------------------------------


def _nearest(place: Value) -> list[Tap]:
    near = rows.round(place)
    return [(near, rows.abs(rows.copysign(near * 0.0 + 1.0, near)))]  # one, of which the derivative is zero


def _linear(place: Value) -> list[Tap]:
    first = rows.floor(place)
    share = place - first
    return [(first, 1.0 - share), (first + 1.0, share)]


def _cubic(place: Value) -> list[Tap]:
    """Cubic convolution with a = -0.75 (Keys, 1981)."""
    first = rows.floor(place)
    a, t = -0.75, place - first

    def near(x: Value) -> Value:
        return ((a + 2) * x - (a + 3)) * x * x + 1

    def far(x: Value) -> Value:
        return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a

    weights = (far(t + 1), near(t), near(1 - t), far(2 - t))
    return [(first + (k - 1.0), weight) for k, weight in enumerate(weights)]


TAPS: dict[str, Callable[[Value], list[Tap]]] = {
    "bilinear": _linear,
    "nearest": _nearest,
    "bicubic": _cubic,
}


def _bounded(near: Value, weight: Value, size: int) -> Tap:
    """An index of the axis for the tap; beyond its ends the weight is zero."""
    here = rows.logical_and(rows.ge(near, 0.0), rows.le(near, size - 1.0))
    index = cast(rows.where(here, near, 0.0), dtypes.int64)
    return index, rows.where(here, weight, 0.0)


def _read(image: Value, taps: tuple[Tap, ...]) -> Value:
    """The elements at one combination of taps, weighed: `[N, C, *grid]`."""
    n, c, *sizes = image.shape
    shape = tuple(taps[0][0].shape[1:])
    index = linear_index([tap[0] for tap in taps], sizes)
    index = expand(reshape(index, (n, 1, prod(shape))), (n, c, prod(shape)))
    found = take_along(reshape(image, (n, c, prod(sizes))), index, 2)
    weight = reduce(rows.mul, [tap[1] for tap in taps])
    return reshape(found, (n, c, *shape)) * unsqueeze(weight, [1])
