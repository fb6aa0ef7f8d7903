"""Images read at places that a grid says.

In flow images `[N, C, H, W]` (or `[N, C, D, H, W]`) and grids `[N, h, w, 2]` of places from -1 to 1, x before
y; out flow images `[N, C, h, w]`. Each output element is a weighed sum of the elements around its place, so
the image's derivative is a scatter, and the grid's is that of the weights. A new mode is an entry of `TAPS`,
a new border one of `BORDERS`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from itertools import product
from math import prod

from retrograd.compiler import dtypes
from retrograd.compiler.ir.graph import Value, apply, register
from retrograd.compiler.ops.composite import Composite
from retrograd.compiler.ops.corners import CornersAdjoint, CornerWeights, corners, of_corner
from retrograd.compiler.ops.rows import rows
from retrograd.compiler.ops.shape import cast, concat, reshape, select, unsqueeze
from retrograd.compiler.record import record

Tap = tuple[Value, Value]
"""Along one axis: an element's place, a whole number, and its weight."""
_MOST = 1 << 14
"""Weights, or a quarter of the elements: beyond, machine code of the whole formula is sooner done than
kernels of its parts."""


@record
class Sampler(Composite):
    """What reads images so."""

    mode: str
    border: str
    aligned: bool
    """Whether -1 and 1 are the centres of an axis' outer elements, not their borders."""

    def corners(self, grid: Value, sizes: Sequence[int]) -> list[Tap]:
        """For each element around, its number in an image, below 0 if it is outside, and its weight."""
        rank, border = len(sizes), BORDERS[self.border]
        along: list[list[Tap]] = []
        for axis, size in enumerate(sizes):
            place = self._place(select(grid, rank + 1, rank - 1 - axis), size)
            if self.mode != "bicubic":
                place = border(place, size, self.aligned)
            taps = TAPS[self.mode](place)
            if self.mode == "bicubic":
                taps = [(border(near, size, self.aligned), weight) for near, weight in taps]
            along.append([self._bounded(near, weight, size) for near, weight in taps])
        shape = grid.shape[0], prod(grid.shape[1 : rank + 1])
        found = [_corner(taps, sizes) for taps in product(*along)]
        return [(reshape(index, shape), reshape(weight, shape)) for index, weight in found]

    def read(self, image: Value, grid: Value) -> Value:
        n, c, *sizes = image.shape
        parts, points = self.corners(grid, sizes), tuple(grid.shape[1:-1])
        flat = reshape(image, (n, c, prod(sizes)))
        if n * prod(points) * max(len(parts), c // 4) > _MOST:
            each = [of_corner(flat, index, weight) for index, weight in parts]
            return reshape(reduce(rows.add, each), (n, c, *points))
        index, weight = (_stacked([corner[k] for corner in parts]) for k in (0, 1))
        return reshape(corners(flat, index, weight), (n, c, *points))

    def _bounded(self, near: Value, weight: Value, size: int) -> Tap:
        """An index of the axis for the tap, -1 beyond its ends: what is read there is 0, but weighed."""
        here = rows.logical_and(rows.ge(near, 0.0), rows.le(near, size - 1.0))
        index = cast(rows.where(here, near, -1.0), dtypes.int64)
        return index, rows.where(here, weight, 0.0) if self.mode == "nearest" else weight

    def _place(self, given: Value, size: int) -> Value:
        """Where between an axis' elements, counted from 0."""
        return (given + 1.0) * ((size - 1) / 2) if self.aligned else ((given + 1.0) * size - 1.0) * 0.5


@register
@record
class GridSampler(Sampler):
    """The image at the grid's places, by the elements around; what lies outside is as `border` says."""

    name = "grid_sampler"

    def formula(self, *values: Value) -> Value:
        return self.read(*values)


# ---- of two axes, by one pixel or four: ops with a kernel of their own -------------------------------------

PLANE_MODES = ("bilinear", "nearest")


@record
class Plane(Sampler):
    """Of images `[N, C, H, W]`, by one of these modes."""


@register
@record
class PlaneSampler(Plane):
    """As `GridSampler`."""

    name = "plane_sampler"

    @property
    def title(self) -> str:
        return "GridSampler2D"

    def formula(self, *values: Value) -> Value:
        return self.read(*values)

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        image, grid = inputs
        how = self.mode, self.border, self.aligned
        return [
            apply(PlaneSamplerAdjoint(*how, tuple(image.shape[2:])), cotangent, grid) if needed[0] else None,
            self._turned(how, cotangent, image, grid) if needed[1] else None,
        ]

    def _turned(self, how: tuple[str, str, bool], cotangent: Value, image: Value, grid: Value) -> Value:
        if self.mode == "nearest":
            return cast(rows.lt(grid, grid), dtypes.of(grid))
        return apply(PlaneTurn(*how), cotangent, image, grid)


@register
@record
class PlaneSamplerAdjoint(Plane):
    """Of cotangents of the points: those of an image of this size."""

    name = "plane_sampler_adjoint"
    size: tuple[int, ...]

    def formula(self, *values: Value) -> Value:
        cotangent, grid = values
        parts = self.corners(grid, self.size)
        index, weight = (_stacked([corner[k] for corner in parts]) for k in (0, 1))
        found = apply(CornersAdjoint(prod(self.size)), _flat(cotangent), index, weight)
        return reshape(found, (*cotangent.shape[:2], *self.size))


@register
@record
class PlaneTurn(Plane):
    """Of cotangents of the points, and an image: those of the grid."""

    name = "plane_turn"

    def formula(self, *values: Value) -> Value:
        cotangent, image, grid = values
        sizes = tuple(image.shape[2:])
        index = _stacked([index for index, _ in self.corners(grid, sizes)])
        weights = PlaneWeights(self.mode, self.border, self.aligned, sizes)
        given = apply(CornerWeights(), _flat(cotangent), _flat(image), index)
        (found,) = weights.adjoint(given, apply(weights, grid), [grid], [True])
        assert found is not None
        return found


@register
@record
class PlaneWeights(Plane):
    """The weights of the pixels around in images of this size, `[corners, N, points]`."""

    name = "plane_weights"
    size: tuple[int, ...]

    def formula(self, *values: Value) -> Value:
        (grid,) = values
        return _stacked([weight for _, weight in self.corners(grid, self.size)])


def _flat(image: Value) -> Value:
    return reshape(image, (*image.shape[:2], prod(image.shape[2:])))


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


def _corner(taps: tuple[Tap, ...], sizes: Sequence[int]) -> Tap:
    """The element at one combination of taps, and its weight."""
    total, outside = taps[0][0], rows.lt(taps[0][0], 0)
    for (index, _), size in zip(taps[1:], sizes[1:], strict=True):
        total, outside = total * size + index, rows.logical_or(outside, rows.lt(index, 0))
    return rows.where(outside, -1, total), reduce(rows.mul, [weight for _, weight in taps])


def _stacked(parts: list[Value]) -> Value:
    whole = [unsqueeze(part, [0]) for part in parts]
    return concat(whole, 0) if len(whole) > 1 else whole[0]
