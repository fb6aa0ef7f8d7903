"""Images read at places that a grid says: `affine_grid` makes the grid, `grid_sample` reads.

What is read how is said in `compiler/ops/sampling.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from retrograd.compiler.errors import ArgumentError, NotWrittenError, ShapeError, mirrored, warn
from retrograd.compiler.ir.graph import apply
from retrograd.compiler.ops import shape as moves
from retrograd.compiler.ops.sampling import BORDERS, PLANE_MODES, TAPS, GridSampler, PlaneSampler
from retrograd.runtime.functions.linear import matmul
from retrograd.runtime.functions.public import functional
from retrograd.runtime.tensor import Tensor, new

_DEFAULT = (
    "Default grid_sample and affine_grid behavior has changed to align_corners=False since 1.3.0. Please "
    "specify align_corners=True if the old behavior is desired. See the documentation of grid_sample for "
    "details."
)


def _aligned(align_corners: bool | None) -> bool:
    if align_corners is None:
        warn(_DEFAULT)
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


# ---- reading -----------------------------------------------------------------------------------------------


@functional("grid_sample", replay=True)
def grid_sample(
    input: Tensor, grid: Tensor, mode: str = "bilinear", padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> Tensor:  # fmt: skip
    """The input at the grid's places, by the elements around; what lies outside is as `padding_mode` says."""
    if mode not in [*TAPS]:
        raise ArgumentError(_expected("mode", "'bilinear', 'nearest' or 'bicubic'", mode))
    if padding_mode not in [*BORDERS]:
        raise ArgumentError(_expected("padding_mode", "'zeros', 'border', or 'reflection'", padding_mode))
    _check(input, grid, mode, aligned := _aligned(align_corners))
    plane = input.ndim == 4 and mode in PLANE_MODES
    found: Tensor = apply((PlaneSampler if plane else GridSampler)(mode, padding_mode, aligned), input, grid)
    return found


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
        known = f"{input.ndim}D" if rank in (2, 3) else "4D or 5D"
        why = f"expected {known} input and grid with same number of dimensions, but got {shapes}"
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
