"""Histograms, places of what is not zero in a result of known size, and numbers taken apart: `histogram`,
`histogramdd`, `nonzero_static`, `frexp`, `nextafter`.

Tensors in, tensors out. Histograms look at the elements, so inside a trace they are a TraceError, and they
have no derivative.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.errors import ArgumentError, DtypeError, NotWrittenError, ShapeError, mirrored
from retrograd.compiler.ir.graph import Array, apply
from retrograd.compiler.ops import floats
from retrograd.runtime.functions.public import integer, promoted, public
from retrograd.runtime.functions.results import pair
from retrograd.runtime.functions.shaping import broadcast_tensors
from retrograd.runtime.names import C_NAMES, bare_legacy_name
from retrograd.runtime.tensor import Tensor, new

# ---- histograms --------------------------------------------------------------------------------------------


@public("histogram", method=True)
def histogram(
    input: Tensor, bins: int | Tensor = 100, *, range: Sequence[float] | None = None,
    weight: Tensor | None = None, density: bool = False,
) -> Any:  # fmt: skip
    """How many elements, or how much weight, lies in each bin, and the bins' edges: so many equal bins over
    `range` or that of the elements, or bins between given edges."""
    points = input.reshape(input.numel(), 1)
    weights = None if weight is None else weight.reshape(weight.numel())
    counts, (edges,) = _table("histogram", points, [bins], range, weights, density)
    return pair("histogram", counts, edges)


@public("histogramdd")
def histogramdd(
    input: Tensor, bins: Any, range: Sequence[float] | None = None, weight: Tensor | None = None,
    density: bool = False,
) -> Any:  # fmt: skip
    """`histogram` of points, whose coordinates are along the last axis: a table with an axis for each."""
    if input.ndim < 2:
        raise ShapeError(mirrored("torch.histogramdd: input tensor should have at least 2 dimensions"))
    size = input.shape[-1]
    each = [bins] * size if isinstance(bins, int) else list(bins)
    if len(each) != size:
        text = "histogramdd: The size of bins must be equal to the innermost dimension of the input."
        raise ShapeError(mirrored(text))
    points = input.reshape(-1, size)
    weights = None if weight is None else weight.reshape(weight.numel())
    counts, edges = _table("histogramdd", points, each, range, weights, density)
    return pair("histogramdd", counts, tuple(edges))


def _table(
    name: str, points: Tensor, bins: Sequence[Any], range: Sequence[float] | None, weight: Tensor | None,
    density: bool,
) -> tuple[Tensor, list[Tensor]]:  # fmt: skip
    """The counts of points `[count, axes]`, and the edges along each axis."""
    array = points.detach().read(f"{name}()")
    if array.dtype not in (np.float32, np.float64):
        raise NotWrittenError(
            mirrored(f"\"histogramdd\" not implemented for '{bare_legacy_name(points.dtype)}'")
        )
    if weight is not None and weight.shape[0] != points.shape[0]:
        raise ShapeError(
            mirrored(
                "torch.histogramdd: if weight tensor is provided it should have the same shape as the input "
                f"tensor excluding its innermost dimension, but got input with shape {list(points.shape)} "
                f"and weight with shape {list(weight.shape)}"
            )
        )
    edges = [_edges(name, array, k, each, range) for k, each in enumerate(bins)]
    weights = None if weight is None else weight.detach().read(f"{name}()")
    counts = _counted(array, edges, weights)
    if density:
        widths = np.ix_(*(np.diff(line) for line in edges))
        counts = counts / counts.sum()
        for width in widths:
            counts = counts / width
    return new(counts.astype(array.dtype), points), [new(line, points) for line in edges]


def _edges(name: str, array: Array, axis: int, bins: Any, range: Sequence[float] | None) -> Array:
    if isinstance(bins, Tensor):
        line = bins.detach().read(f"{name}()")
        if line.ndim != 1:
            raise ShapeError(
                mirrored(
                    "torch.histogramdd: bins tensor should have one dimension, but got "
                    f"{line.ndim} dimensions in the bins tensor for dimension {axis}"
                )
            )
        if line.dtype != array.dtype:
            own, other = (C_NAMES[d] for d in (dtypes.dtype(array.dtype), bins.dtype))
            raise DtypeError(
                mirrored(
                    "torch.histogramdd: input tensor and bins tensors should have the same dtype, but got "
                    f"input with dtype {own} and bins for dimension {axis} with dtype {other}"
                )
            )
        count = len(line) - 1
    else:
        line, count = None, integer(bins, name, "bins")
    if count <= 0:
        raise ShapeError(
            mirrored(f"torch.histogram(): bins must be > 0, but got {max(count, 0)} for dimension {axis}")
        )
    if line is not None:
        return line.copy()
    low, high = _bounds(array, axis, range)
    steps = np.arange(count + 1, dtype=array.dtype)
    by = (high - low) / array.dtype.type(count)
    half = (count + 1) // 2
    return np.asarray(np.where(steps < half, low + by * steps, high - by * (count - steps)), array.dtype)


def _bounds(array: Array, axis: int, range: Sequence[float] | None) -> tuple[Any, Any]:
    """Where the bins of an axis begin and end."""
    size = array.shape[1]
    if range is not None and len(range) != 2 * size:
        raise ShapeError(
            mirrored(
                f"torch.histogramdd: for a {size}-dimensional histogram range should have {2 * size} "
                f"elements, but got {len(range)}"
            )
        )
    column = array[:, axis]
    if range is not None:
        low, high = (array.dtype.type(x) for x in range[2 * axis : 2 * axis + 2])
    else:
        low, high = (column.min(), column.max()) if len(column) else (array.dtype.type(0),) * 2
    if not (np.isfinite(low) and np.isfinite(high)):
        shown = ", ".join("nan" if np.isnan(x) else f"{x:g}" for x in (low, high))
        raise ArgumentError(mirrored(f"torch.histogramdd: dimension {axis}'s range [{shown}] is not finite"))
    if low > high:
        raise ArgumentError(
            mirrored(
                f"torch.histogramdd: min should not exceed max, but got min {low:g} max {high:g} for "
                f"dimension {axis}"
            )
        )
    if low == high:
        return (
            (low, high + 1)
            if not len(column)
            else (low - array.dtype.type(0.5), high + array.dtype.type(0.5))
        )
    return low, high


def _counted(array: Array, edges: Sequence[Array], weight: Array | None) -> Array:
    """What falls between edges; the last bin of an axis has its upper edge, too."""
    place = np.zeros(len(array), np.int64)
    inside = np.ones(len(array), bool)
    for k, line in enumerate(edges):
        column = array[:, k]
        bin = np.searchsorted(line, column, "right") - 1
        bin = np.where(column == line[-1], len(line) - 2, bin)
        inside &= (column >= line[0]) & (column <= line[-1])
        place = place * (len(line) - 1) + bin
    shape = tuple(len(line) - 1 for line in edges)
    found = np.bincount(place[inside], None if weight is None else weight[inside], int(np.prod(shape)))
    return found.astype(np.float64).reshape(shape)


# ---- places ------------------------------------------------------------------------------------------------


@public("nonzero_static", method=True)
def nonzero_static(input: Tensor, *, size: int, fill_value: int = -1) -> Tensor:
    """`nonzero` cut to `size` rows, or filled up to so many."""
    if size < 0:
        raise ShapeError(mirrored("nonzero_static: 'size' must be an non-negative integer"))
    found = np.argwhere(input.read("nonzero_static()"))[:size].astype(np.int64)
    rest = np.full((size - len(found), input.ndim), fill_value, np.int64)
    return new(np.concatenate([found, rest]), input)


# ---- numbers taken apart -----------------------------------------------------------------------------------


@public("frexp", method=True, replay=True)
def frexp(input: Tensor) -> Any:
    """Mantissas, of absolute value in [1/2, 1), and exponents: `input = mantissa · 2 ^ exponent`."""
    if not input.is_floating_point():
        raise DtypeError(mirrored("torch.frexp() only supports floating-point dtypes"))
    return pair("frexp", apply(floats.Mantissa(), input), apply(floats.Exponent(), input))


@public("nextafter", method=True, inplace=True, replay=True)
def nextafter(input: Tensor, other: Tensor) -> Tensor:
    """The number next to each element on the way to that of `other`."""
    a, b = broadcast_tensors(*promoted(input, other))
    if not a.is_floating_point():
        kind = bare_legacy_name(a.dtype)
        raise NotWrittenError(mirrored(f"\"nextafter_cpu\" not implemented for '{kind}'"))
    found: Tensor = apply(floats.Neighbour(), a, b)
    return found
