"""Images read at places that a grid says: `affine_grid` makes the grid, `grid_sample` reads.

In flow images `[N, C, H, W]` (or `[N, C, D, H, W]`) and grids `[N, h, w, 2]` of places from -1 to 1, x before
y; out flow images `[N, C, h, w]`. Each output element is a weighed sum of the elements around its place, so
the image's derivative is a scatter, and the grid's is that of the weights. A new mode is an entry of `_TAPS`,
a new border one of `_BORDERS`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import reduce
from itertools import product
from math import prod

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.errors import ArgumentError, NotWrittenError, ShapeError, mirrored
from retrograd.compiler.ops import index as places
from retrograd.compiler.ops import shape as moves
from retrograd.compiler.ops.rows import rows
from retrograd.runtime.functions.linear import matmul
from retrograd.runtime.functions.public import functional
from retrograd.runtime.tensor import Tensor, new

Tap = tuple[Tensor, Tensor]
"""Along one axis: an element's place, a whole number, and its weight."""

_DEFAULT = (
    "Default grid_sample and affine_grid behavior has changed to align_corners=False since 1.3.0. Please "
    "specify align_corners=True if the old behavior is desired. See the documentation of grid_sample for "
    "details."
)


def _aligned(align_corners: bool | None) -> bool:
    if align_corners is None:
        warnings.warn(_DEFAULT, stacklevel=4)
    return bool(align_corners)


# ---- the grid of an affine map -----------------------------------------------------------------------------


@functional("affine_grid", shown="AffineGridGeneratorBackward0", replay=True)
def affine_grid(theta: Tensor, size: Sequence[int], align_corners: bool | None = None) -> Tensor:
    """The places that affine maps `[N, 2, 3]` (or `[N, 3, 4]`) give an image of `size` `[N, C, H, W]`."""
    if not theta.is_floating_point():
        raise ArgumentError(mirrored(f"Expected theta to have floating point type, but got {theta.dtype}"))
    if len(size) not in (4, 5):
        raise NotWrittenError(
            mirrored(
                "affine_grid only supports 4D and 5D sizes, for 2D and 3D affine transforms, respectively. "
                f"Got size {size}."
            )
        )
    rank = len(size) - 2
    if theta.ndim != 3 or theta.shape[-2:] != (rank, rank + 1):
        raise ArgumentError(
            mirrored(
                f"Expected a batch of {rank}D affine matrices of shape Nx{rank}x{rank + 1} for size {size}. "
                f"Got {theta.shape}."
            )
        )
    aligned = _aligned(align_corners)
    lines = [_line(n, aligned) for n in size[2:]]
    mesh = np.meshgrid(*lines, indexing="ij")
    base = np.stack([*reversed(mesh), np.ones(tuple(size[2:]))], -1).reshape(prod(size[2:]), rank + 1)
    found = matmul(new(base.astype(theta.dtype.numpy), theta), moves.swap_axes(theta, 1, 2))
    return moves.reshape(found, (theta.shape[0], *size[2:], rank))


def _line(count: int, align: bool) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """From -1 to 1: the ends of an axis are the centres of its outer elements, or their borders."""
    if count == 1:
        return np.zeros(1)
    line = np.linspace(-1.0, 1.0, count)
    return line if align else line * ((count - 1) / count)


# ---- borders: where a place beyond an image is -------------------------------------------------------------


def _inside(place: Tensor, size: int) -> Tensor:
    """The nearest place within, which has no derivative at the ends; 0 for NaN."""
    low = rows.where(rows.gt(place, 0), place, 0.0)
    return rows.where(rows.lt(low, size - 1), low, float(size - 1))


def _border(place: Tensor, size: int, align: bool) -> Tensor:
    return _inside(place, size)


def _reflection(place: Tensor, size: int, align: bool) -> Tensor:
    """Thrown back at the ends: at the outer elements' centres, or their borders."""
    low, span = (0.0, float(size - 1)) if align else (-0.5, float(size))
    if span == 0:
        return _inside(place * 0.0, size)
    far = rows.abs(place - low)
    rest, turns = rows.fmod(far, span), rows.floor(far / span)
    even = rows.eq(rows.fmod(turns, 2.0), 0.0)
    return _inside(rows.where(even, rest, span - rest) + low, size)


def _zeros(place: Tensor, size: int, align: bool) -> Tensor:
    return place


_BORDERS: dict[str, Callable[[Tensor, int, bool], Tensor]] = {
    "zeros": _zeros,
    "border": _border,
    "reflection": _reflection,
}


# ---- taps: which elements count along an axis, and how much ------------------------------------------------


def _nearest(place: Tensor) -> list[Tap]:
    near = rows.round(place)
    return [(near, rows.abs(rows.copysign(near * 0.0 + 1.0, near)))]  # one, of which the derivative is zero


def _linear(place: Tensor) -> list[Tap]:
    first = rows.floor(place)
    share = place - first
    return [(first, 1.0 - share), (first + 1.0, share)]


def _cubic(place: Tensor) -> list[Tap]:
    """Cubic convolution with a = -0.75 (Keys, 1981)."""
    first = rows.floor(place)
    a, t = -0.75, place - first

    def near(x: Tensor) -> Tensor:
        return ((a + 2) * x - (a + 3)) * x * x + 1

    def far(x: Tensor) -> Tensor:
        return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a

    weights = (far(t + 1), near(t), near(1 - t), far(2 - t))
    return [(first + (k - 1.0), weight) for k, weight in enumerate(weights)]


_TAPS: dict[str, Callable[[Tensor], list[Tap]]] = {
    "bilinear": _linear,
    "nearest": _nearest,
    "bicubic": _cubic,
}


# ---- reading -----------------------------------------------------------------------------------------------


@functional("grid_sample", replay=True)
def grid_sample(
    input: Tensor, grid: Tensor, mode: str = "bilinear", padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> Tensor:  # fmt: skip
    """The input at the grid's places, by the elements around; what lies outside is as `padding_mode` says."""
    if mode not in _TAPS:
        raise ArgumentError(_expected("mode", "'bilinear', 'nearest' or 'bicubic'", mode))
    if padding_mode not in _BORDERS:
        raise ArgumentError(_expected("padding_mode", "'zeros', 'border', or 'reflection'", padding_mode))
    _check(input, grid, mode, aligned := _aligned(align_corners))
    sizes, border = input.shape[2:], _BORDERS[padding_mode]
    rank = len(sizes)
    along: list[list[Tap]] = []
    for axis, size in enumerate(sizes):
        given = moves.select(grid, rank + 1, rank - 1 - axis)
        place = (given + 1.0) * ((size - 1) / 2) if aligned else ((given + 1.0) * size - 1.0) * 0.5
        if mode != "bicubic":
            place = border(place, size, aligned)
        taps = _TAPS[mode](place)
        if mode == "bicubic":
            taps = [(border(near, size, aligned), weight) for near, weight in taps]
        along.append([_bounded(near, weight, size) for near, weight in taps])
    return reduce(rows.add, [_read(input, corner) for corner in product(*along)])


def _expected(argument: str, known: str, given: str) -> mirrored:
    return mirrored(f"nn.functional.grid_sample(): expected {argument} to be {known}, but got: '{given}'")


def _check(input: Tensor, grid: Tensor, mode: str, aligned: bool) -> None:
    shapes = f"input with sizes {list(input.shape)} and grid with sizes {list(grid.shape)}"
    rank = input.ndim - 2
    why = ""
    if input.shape[0] != grid.shape[0]:
        why = f"expected grid and input to have same batch size, but got {shapes}"
    elif grid.shape[-1] != rank:
        why = (
            f"expected grid to have size {rank} in last dimension, but got grid with sizes {list(grid.shape)}"
        )
    elif rank not in (2, 3) or grid.ndim != input.ndim:
        why = f"expected 4D or 5D input and grid with same number of dimensions, but got {shapes}"
    elif mode == "bicubic" and rank != 2:
        why = "bicubic interpolation only supports 4D input"
    elif not prod(input.shape[1:]):
        k = next(k for k, size in enumerate(input.shape) if k and not size)
        why = (
            "expected input to have non-empty spatial dimensions, but input has sizes "
            f"{list(input.shape)} with dimension {k} being empty"
        )
    if why:
        raise ShapeError(mirrored(f"grid_sampler(): {why}"))


def _bounded(near: Tensor, weight: Tensor, size: int) -> Tap:
    """An index of the axis for the tap; beyond its ends the weight is zero."""
    here = rows.logical_and(rows.ge(near, 0.0), rows.le(near, size - 1.0))
    index = moves.cast(rows.where(here, near.detach(), 0.0), dtypes.int64)
    return index, rows.where(here, weight, 0.0)


def _read(input: Tensor, taps: Sequence[Tap]) -> Tensor:
    """The elements at one combination of taps, weighed: `[N, C, *grid]`."""
    n, c, *sizes = input.shape
    shape = tuple(taps[0][0].shape[1:])
    index = places.linear_index([tap[0] for tap in taps], sizes)
    index = moves.expand(moves.reshape(index, (n, 1, prod(shape))), (n, c, prod(shape)))
    found = places.take_along(moves.reshape(input, (n, c, prod(sizes))), index, 2)
    weight = reduce(rows.mul, [tap[1] for tap in taps])
    return moves.reshape(found, (n, c, *shape)) * moves.unsqueeze(weight, [1])
