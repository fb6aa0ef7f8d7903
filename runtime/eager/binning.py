"""Histograms as tallies: how many elements lie in equal bins, and tables of points.

In flow arrays, out flow counts, and the edges of the bins (`tallies.py`). What is computed is as wide as the
elements, as in PyTorch, whose bins elements at an edge are to fall into.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from retrograd.compiler.errors import ArgumentError, ShapeError, mirrored
from retrograd.compiler.ir.graph import Array, Type
from retrograd.compiler.record import record
from retrograd.runtime.eager.tallies import Tally
from retrograd.runtime.native.small.counting import OF_EDGES, OF_ELEMENTS, OF_RANGE
from retrograd.runtime.native.small.tallies import Listing, Result


@record
class Binned(Tally):
    """How many elements lie in each of so many equal bins between two numbers, or over the range of the
    elements if these are equal."""

    bins: int
    low: float
    high: float

    def evaluate(self, *arrays: Array) -> list[Array]:
        (x,) = arrays
        low, high = map(x.dtype.type, (self.low, self.high))
        if low == high and x.size:
            low, high = x.min(), x.max()
        if low > high:
            raise ShapeError(f"histc(min={low}, max={high})", "max must be larger than min")
        if low == high:
            low, high = low - 1, high + 1
        if not (np.isfinite(low) and np.isfinite(high)):
            raise ShapeError(mirrored(f"torch.histc: range of [{low}, {high}] is not finite"))
        inside = x[(x >= low) & (x <= high)]
        places = ((inside - low) * self.bins / (high - low)).astype(np.int64)
        counts = np.bincount(np.minimum(places, self.bins - 1, out=places), minlength=self.bins)
        return [counts.astype(x.dtype)]

    def listing(self, *types: Type) -> Listing | None:
        (x,) = types
        if not x.dtype.is_floating_point:
            return None
        low, high = (float(x.dtype.numpy.type(edge)) for edge in (self.low, self.high))
        return Listing("binned", [Result(0, x.dtype, (self.bins,))], [self.bins, low, high])


@record
class Axis:
    """Where the bins of an axis are."""

    bins: int
    range: tuple[float, float] | None = None
    """Between which the bins are; else between the least and the greatest element."""
    by_edges: bool = False
    """Whether a further array has their edges."""


@record
class Table(Tally):
    """How many points `[count, axes]`, or how much of their weight, lies in the bins of all axes; then the
    edges of each axis. Arrays are the points, the edges that are given, and the weights."""

    axes: tuple[Axis, ...]
    weighted: bool
    density: bool
    """Whether weights are shares of all, for each unit of a bin's volume."""
    made: Callable[[list[Any]], Any]
    """What the user gets of the results."""

    def evaluate(self, *arrays: Array) -> list[Array]:
        points, *further = arrays
        points, weights = (
            points.reshape(-1, len(self.axes)),
            further.pop().reshape(-1) if self.weighted else None,
        )
        given = iter(further)
        edges = [
            next(given).copy() if axis.by_edges else _edges(points, k, axis)
            for k, axis in enumerate(self.axes)
        ]
        counts = _counted(points, edges, weights)
        if self.density:
            counts = counts / counts.sum()
            for width in np.ix_(*(np.diff(line) for line in edges)):
                counts = counts / width
        return [counts.astype(points.dtype), *edges]

    def listing(self, *types: Type) -> Listing | None:
        dtype = types[0].dtype
        if any(x.dtype is not dtype for x in types):
            return None
        results = [Result(1, dtype, tuple(axis.bins for axis in self.axes))]
        results += [Result(2 + k, dtype, (axis.bins + 1,)) for k, axis in enumerate(self.axes)]
        options: list[int | float] = [len(self.axes), int(self.weighted), int(self.density)]
        for axis in self.axes:
            of_elements = axis.range is None and bool(types[0].size)
            how = OF_EDGES if axis.by_edges else OF_ELEMENTS if of_elements else OF_RANGE
            options += [how, axis.bins, *map(float, map(dtype.numpy.type, axis.range or (0.0, 1.0)))]
        return Listing("table", results, options, 2 + len(self.axes), alone=False)

    def given(self, results: list[Any]) -> Any:
        return self.made(results)


def _edges(points: Array, k: int, axis: Axis) -> Array:
    """The edges of equal bins along an axis, from both ends."""
    low, high = _bounds(points[:, k], k, axis)
    steps = np.arange(axis.bins + 1, dtype=points.dtype)
    by = (high - low) / points.dtype.type(axis.bins)
    half = (axis.bins + 1) // 2
    return np.asarray(np.where(steps < half, low + by * steps, high - by * (axis.bins - steps)), points.dtype)


def _bounds(column: Array, k: int, axis: Axis) -> tuple[Any, Any]:
    """Where the bins of an axis begin and end."""
    number = column.dtype.type
    if axis.range is None and not len(column):
        return number(0), number(1)
    low, high = (column.min(), column.max()) if axis.range is None else map(number, axis.range)
    if not (np.isfinite(low) and np.isfinite(high)):
        shown = ", ".join("nan" if np.isnan(x) else f"{x:g}" for x in (low, high))
        raise ArgumentError(mirrored(f"torch.histogramdd: dimension {k}'s range [{shown}] is not finite"))
    if low > high:
        text = f"min should not exceed max, but got min {low:g} max {high:g} for dimension {k}"
        raise ArgumentError(mirrored(f"torch.histogramdd: {text}"))
    return (low, high) if low < high else (low - number(0.5), high + number(0.5))


def _counted(points: Array, edges: Sequence[Array], weights: Array | None) -> Array:
    """What falls between edges; the last bin of an axis has its upper edge, too."""
    place = np.zeros(len(points), np.int64)
    inside = np.ones(len(points), bool)
    for column, line in zip(points.T, edges):
        bin = np.searchsorted(line, column, "right") - 1
        bin = np.where(column == line[-1], len(line) - 2, bin)
        inside &= (column >= line[0]) & (column <= line[-1])
        place = place * (len(line) - 1) + bin
    shape = tuple(len(line) - 1 for line in edges)
    found = np.bincount(place[inside], None if weights is None else weights[inside], prod(shape))
    return found.astype(np.float64).reshape(shape)
