"""Histograms, places of what is not zero in a result of known size, and numbers taken apart: `histogram`,
`histogramdd`, `nonzero_static`, `frexp`, `nextafter`.

Tensors in, tensors out. Histograms look at the elements, so inside a trace they are a TraceError, and they
have no derivative.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.errors import DtypeError, NotWrittenError, ShapeError, mirrored
from retrograd.compiler.ir.graph import apply
from retrograd.compiler.ops import floats
from retrograd.runtime.eager.binning import Axis, Table
from retrograd.runtime.eager.tallies import tallied
from retrograd.runtime.functions.public import integer, promoted, public
from retrograd.runtime.functions.results import pair
from retrograd.runtime.functions.shaping import broadcast_tensors
from retrograd.runtime.names import C_NAMES, bare_legacy_name
from retrograd.runtime.tensor import Tensor, new

# ---- histograms --------------------------------------------------------------------------------------------


@public("histogram", method=True, replay="tallies")
def histogram(
    input: Tensor, bins: int | Tensor = 100, *, range: Sequence[float] | None = None,
    weight: Tensor | None = None, density: bool = False,
) -> Any:  # fmt: skip
    """How many elements, or how much weight, lies in each bin, and the bins' edges: so many equal bins over
    `range` or that of the elements, or bins between given edges."""
    return _table("histogram", input, (input.numel(), 1), [bins], range, weight, density)


@public("histogramdd", replay="tallies")
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
    points = (input.numel() // size if size else 0, size)
    return _table("histogramdd", input, points, each, range, weight, density)


def _table(
    name: str, input: Tensor, shape: tuple[int, int], bins: Sequence[Any], range: Sequence[float] | None,
    weight: Tensor | None, density: bool,
) -> Any:  # fmt: skip
    """The counts of points, of which there are so many with so many coordinates, and the edges."""
    if input.dtype not in (dtypes.float32, dtypes.float64):
        raise NotWrittenError(
            mirrored(f"\"histogramdd\" not implemented for '{bare_legacy_name(input.dtype)}'")
        )
    if weight is not None and weight.numel() != shape[0]:
        raise ShapeError(
            mirrored(
                "torch.histogramdd: if weight tensor is provided it should have the same shape as the input "
                f"tensor excluding its innermost dimension, but got input with shape {list(shape)} "
                f"and weight with shape {[weight.numel()]}"
            )
        )
    if range is not None and len(range) != 2 * shape[1]:
        raise ShapeError(
            mirrored(
                f"torch.histogramdd: for a {shape[1]}-dimensional histogram range should have "
                f"{2 * shape[1]} elements, but got {len(range)}"
            )
        )
    axes = tuple(_axis(name, input, k, each, range) for k, each in enumerate(bins))
    table = Table(axes, weight is not None, density, _TABLES[name])
    further = [x for x in (*bins, weight) if isinstance(x, Tensor)]
    return table.given(tallied(table, f"{name}()", input, *further))


_TABLES: dict[str, Callable[[list[Any]], Any]] = {
    "histogram": lambda found: pair("histogram", *found),
    "histogramdd": lambda found: pair("histogramdd", found[0], tuple(found[1:])),
}
"""What each function gives of the counts and the edges along each axis."""


def _axis(name: str, input: Tensor, axis: int, bins: Any, range: Sequence[float] | None) -> Axis:
    by_edges = isinstance(bins, Tensor)
    if by_edges and bins.ndim != 1:
        raise ShapeError(
            mirrored(
                "torch.histogramdd: bins tensor should have one dimension, but got "
                f"{bins.ndim} dimensions in the bins tensor for dimension {axis}"
            )
        )
    if by_edges and bins.dtype is not input.dtype:
        own, other = (C_NAMES[d] for d in (input.dtype, bins.dtype))
        raise DtypeError(
            mirrored(
                "torch.histogramdd: input tensor and bins tensors should have the same dtype, but got "
                f"input with dtype {own} and bins for dimension {axis} with dtype {other}"
            )
        )
    count = bins.numel() - 1 if by_edges else integer(bins, name, "bins")
    if count <= 0:
        raise ShapeError(
            mirrored(f"torch.histogram(): bins must be > 0, but got {max(count, 0)} for dimension {axis}")
        )
    ends = None if range is None or by_edges else (range[2 * axis], range[2 * axis + 1])
    return Axis(count, ends, by_edges)


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
