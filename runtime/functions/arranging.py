"""Elements repeated, turned, shifted, and set on or taken from diagonals.

Everything is made of movement ops, so nothing here computes and all of it is differentiable. To add a
function, express it in movements.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.errors import ArgumentError, DtypeError, ShapeError, mirrored, warn
from retrograd.compiler.ir.graph import Array, apply
from retrograd.compiler.ops import arranged
from retrograd.compiler.ops import shape as moves
from retrograd.compiler.ops.iota import iota_like
from retrograd.compiler.ops.rows import rows
from retrograd.compiler.ops.window import Undiagonal
from retrograd.compiler.ops.window import diagonal as take_diagonal
from retrograd.runtime.eager.inplace import assign
from retrograd.runtime.eager.tallies import Repeated, tallied
from retrograd.runtime.functions.public import (
    FUNCTIONS,
    axis_of,
    integer,
    promoted,
    public,
    sizes_of,
    unshared,
)
from retrograd.runtime.functions.shaping import transpose
from retrograd.runtime.names import bare_legacy_name
from retrograd.runtime.tensor import Tensor, new


@public("repeat", method=True, function=False, replay=True)
def repeat(input: Tensor, *repeats: Any) -> Tensor:
    """Copies side by side, `repeats[k]` along axis k; more repeats than axes put new axes in front."""
    counts = sizes_of(repeats, "repeat", "repeats")
    if len(counts) < input.ndim:
        raise ShapeError(
            f"repeat{counts} of a tensor of shape {list(input.shape)}",
            mirrored(
                "Number of dimensions of repeat dims can not be smaller than number of dimensions of tensor"
            ),
        )
    if any(c < 0 for c in counts):
        raise ShapeError(f"repeat{counts}", "Trying to create tensor with negative dimension")
    sizes = (*(1,) * (len(counts) - input.ndim), *input.shape)
    result: Tensor = arranged.repeat(moves.reshape(input, sizes), counts)
    return result


@public("tile", method=True, replay=True)
def tile(input: Tensor, *dims: Any) -> Tensor:
    """As `repeat`, where missing leading repeats are 1."""
    counts = sizes_of(dims, "tile", "dims")
    return repeat(input, *(1,) * (input.ndim - len(counts)), *counts)


@public("repeat_interleave", method=True, replay="values or tallies")
def repeat_interleave(
    input: Tensor,
    repeats: int | Tensor | None = None,
    dim: int | None = None,
    *,
    output_size: int | None = None,
) -> Tensor:
    """Each element `repeats` times in a row, along `dim` or flattened; a vector says how often for each
    element.

    Alone, `repeat_interleave(repeats)` gives each index as often as the vector says. A vector is looked at:
    not in traces.
    """
    if repeats is None:
        _check_repeats(input, "repeat_interleave only accept 1D vector as repeat", input.ndim == 1)
        (places,) = tallied(Repeated(), "repeat_interleave()", input)
        return places
    x = moves.reshape(input, (input.numel(),)) if dim is None else input
    axis = axis_of(dim or 0, x.ndim, "repeat_interleave")
    if isinstance(repeats, Tensor):
        _check_repeats(repeats, "repeats must be 0-dim or 1-dim tensor", repeats.ndim < 2)
    if isinstance(repeats, Tensor) and repeats.numel() != 1:
        counts = repeats.numel()
        if counts != x.shape[axis]:
            raise ShapeError(
                f"repeat_interleave of a tensor of shape {list(x.shape)}",
                mirrored(
                    "repeats must have the same size as input along dim, but got repeats.size(0) = "
                    f"{counts} and input.size({axis}) = {x.shape[axis]}"
                ),
            )
        return FUNCTIONS["index_select"](x, axis, FUNCTIONS["repeat_interleave"](repeats))
    count = integer(repeats, "repeat_interleave", "repeats")
    if count < 0:
        words = "Repeats must be non-negative", "repeats can not be negative"
        raise ShapeError(f"repeat_interleave({count})", mirrored(words[isinstance(repeats, Tensor)]))
    wide = [*x.shape[: axis + 1], count, *x.shape[axis + 1 :]]
    together = [*x.shape[:axis], x.shape[axis] * count, *x.shape[axis + 1 :]]
    return unshared(moves.reshape(moves.expand(moves.unsqueeze(x, [axis + 1]), wide), together), input)


def _check_repeats(repeats: Tensor, words: str, fits: bool) -> None:
    """Counts are whole numbers of 32 or 64 bits, along no or one axis."""
    if not fits:
        raise ShapeError(f"repeats of shape {list(repeats.shape)}", mirrored(words))
    if repeats.dtype not in (dtypes.int32, dtypes.int64):
        words = f"\"repeat_interleave_cpu\" not implemented for '{bare_legacy_name(repeats.dtype)}'"
        raise DtypeError(mirrored(words), "", "give int64")


@public("flip", method=True, replay=True)
def flip(input: Tensor, *dims: Any) -> Tensor:
    """The elements in reverse order along the axes named."""
    axes = [axis_of(d, input.ndim, "flip") for d in sizes_of(dims, "flip", "dims")]
    if len(set(axes)) != len(axes):
        raise ShapeError(f"flip{tuple(axes)}", "dim appears multiple times in the list of dims")
    return unshared(moves.flip(input, axes) if axes and input.ndim else input, input)


@public("fliplr", method=True, replay="values")
def fliplr(input: Tensor) -> Tensor:
    """Mirrored left to right."""
    if input.ndim < 2:
        raise ShapeError("fliplr()", mirrored("Input must be >= 2-d."))
    return flip(input, 1)


@public("flipud", method=True, replay="values")
def flipud(input: Tensor) -> Tensor:
    """Mirrored top to bottom."""
    if input.ndim < 1:
        raise ShapeError("flipud()", mirrored("Input must be >= 1-d."))
    return flip(input, 0)


@public("roll", method=True, replay=True)
def roll(input: Tensor, shifts: int | Sequence[int], dims: int | Sequence[int] | None = None) -> Tensor:
    """The elements moved on by `shifts`, those that fall off an end coming back at the other."""
    if dims is None or (isinstance(dims, Sequence) and not dims):
        flat = roll(moves.reshape(input, (input.numel(),)), shifts, 0)
        return moves.reshape(flat, input.shape)
    result = input
    steps = shifts if isinstance(shifts, Sequence) else (shifts,)
    axes = dims if isinstance(dims, Sequence) else (dims,)
    if len(steps) != len(axes):
        raise ShapeError(
            f"roll(shifts={shifts}, dims={dims})",
            mirrored(f"shifts and dimensions must align. shifts: {len(steps)}, dims:{len(axes)}"),
        )
    for step, dim in zip(steps, axes):
        axis = axis_of(dim, input.ndim, "roll")
        result = moves.roll(result, integer(step, "roll", "shifts"), axis)
    return unshared(result, input)


@public("rot90", method=True, replay=True)
def rot90(input: Tensor, k: int = 1, dims: Sequence[int] = (0, 1)) -> Tensor:
    """Turned by `k` right angles, from the first of two axes towards the second."""
    if len(dims) != 2:
        raise ShapeError(
            f"rot90(dims={list(dims)})",
            mirrored(f"expected total rotation dims == 2, but got dims = {len(dims)}"),
        )
    if input.ndim < 2:
        raise ShapeError(
            f"rot90 of a tensor of shape {list(input.shape)}",
            mirrored(f"expected total dims >= 2, but got total dims = {input.ndim}"),
        )
    a, b = (axis_of(d, input.ndim, "rot90") for d in dims)
    if a == b:
        raise ShapeError(
            f"rot90(dims={list(dims)})",
            mirrored(
                f"expected rotation dims to be different, but got dim0 = {dims[0]} and dim1 = {dims[1]}"
            ),
        )
    turns = integer(k, "rot90", "k") % 4
    if turns == 2:
        return unshared(moves.flip(input, (a, b)), input)
    if turns == 1:
        return unshared(transpose(moves.flip(input, (b,)), a, b), input)
    return unshared(moves.flip(transpose(input, a, b), (b,)) if turns == 3 else input, input)


# ---- diagonals ---------------------------------------------------------------------------------------------


@public("diagonal", method=True, replay=True)
def diagonal(input: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """The diagonal of two axes, as the last axis; a positive offset lies above the main diagonal."""
    a, b = (axis_of(d, input.ndim, "diagonal") for d in (dim1, dim2))
    if a == b:
        raise ShapeError(
            f"diagonal(dim1={dim1}, dim2={dim2})",
            mirrored(f"diagonal dimensions cannot be identical {dim1}, {dim2}"),
        )
    return take_diagonal(input, offset, a, b)


@public("diag_embed", method=True, replay=True)
def diag_embed(input: Tensor, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """Square matrices whose diagonal is the last axis of the input, zero elsewhere."""
    a, b = (axis_of(d, input.ndim + 1, "diag_embed") for d in (dim1, dim2))
    if a == b:
        raise ShapeError(
            f"diag_embed(dim1={dim1}, dim2={dim2})", f"diagonal dimensions cannot be identical {dim1}, {dim2}"
        )
    size = input.shape[-1] + abs(offset)
    return apply(Undiagonal(offset, a, b, (size, size)), input)


@public("select_scatter", method=True, replay=True)
def select_scatter(input: Tensor, src: Tensor, dim: int, index: int) -> Tensor:
    """A copy of the input with `src` at one place along an axis."""
    out = input.clone()
    part = out.select(dim, index)
    _same_shape("select_scatter", src, part)
    part.copy_(src)
    return out


@public("slice_scatter", method=True, replay=True)
def slice_scatter(
    input: Tensor, src: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Tensor:
    """A copy of the input with `src` in place of a slice along an axis."""
    out = input.clone()
    axis = axis_of(dim, input.ndim, "slice_scatter")
    part = out[(*[slice(None)] * axis, slice(start, end, step))]
    _same_shape("slice_scatter", src, part)
    part.copy_(src)
    return out


def _same_shape(name: str, src: Tensor, part: Tensor) -> None:
    if src.shape != part.shape:
        raise ShapeError(
            f"{name} of a source of shape {list(src.shape)} to a part of shape {list(part.shape)}",
            mirrored(
                "expected src to have a size equal to the slice of self. src size = "
                f"{list(src.shape)}, slice size = {list(part.shape)}"
            ),
        )


@public("diagonal_scatter", method=True, replay=True)
def diagonal_scatter(input: Tensor, src: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """A copy of the input with `src` in place of a diagonal."""
    part = diagonal(input, offset, dim1, dim2)
    if src.shape != part.shape:
        raise ShapeError(
            "diagonal_scatter",
            mirrored(
                "expected src to have a size equal to the slice of self. src size = "
                f"{list(src.shape)}, slice size = {list(part.shape)}"
            ),
        )
    a, b = (axis_of(d, input.ndim, "diagonal_scatter") for d in (dim1, dim2))
    back = Undiagonal(offset, a, b, (input.shape[a], input.shape[b]))
    there = rows.eq(iota_like(input, b) - iota_like(input, a), offset)
    return rows.where(there, apply(back, src), input)


@public("diagflat", method=True, replay=True)
def diagflat(input: Tensor, offset: int = 0) -> Tensor:
    """A matrix with all elements of the input on a diagonal."""
    return diag_embed(moves.reshape(input, (input.numel(),)), offset)


def _of_diag(input: Tensor, diagonal: int = 0) -> str:
    return "DiagEmbedBackward0" if input.ndim == 1 else "DiagonalBackward0_copy"


@public("diag", method=True, shown=_of_diag, replay=True)
def diag(input: Tensor, diagonal: int = 0) -> Tensor:
    """The matrix with this vector on a diagonal, or the diagonal of this matrix."""
    if input.ndim not in (1, 2):
        raise ShapeError(
            f"diag of a tensor of shape {list(input.shape)}",
            mirrored(f"diag(): Supports 1D or 2D tensors. Got {input.ndim}D"),
        )
    return diag_embed(input, diagonal) if input.ndim == 1 else _diagonal(input, diagonal).clone()


_diagonal = diagonal


@public("meshgrid", replay=True)
def meshgrid(*tensors: Any, indexing: str | None = None) -> tuple[Tensor, ...]:
    """Coordinates of the grid spanned by vectors: each one repeated along the others' axes, which are in
    their order ("ij"), or with the first two exchanged ("xy").
    """
    if indexing is None:
        warn("torch.meshgrid: in an upcoming release, it will be required to pass the indexing argument.")
        indexing = "ij"
    given: Sequence[Tensor] = (
        tensors[0] if len(tensors) == 1 and isinstance(tensors[0], Sequence) else tensors
    )
    if indexing not in ("ij", "xy"):
        raise ArgumentError(
            f"meshgrid(indexing={indexing!r})",
            mirrored(f'torch.meshgrid: indexing must be one of "xy" or "ij", but received: {indexing}'),
        )
    if not given:
        raise ArgumentError("meshgrid()", "meshgrid expects a non-empty TensorList")
    for x in given:
        if x.ndim > 1:
            raise ShapeError(
                f"meshgrid of a tensor of shape {list(x.shape)}",
                f"torch.meshgrid: Expected 0D or 1D tensor in the tensor list but got: {x.ndim}D",
            )
    sizes = [x.numel() for x in given]
    grids = [
        moves.expand(moves.reshape(x, [x.numel() if j == k else 1 for j in range(len(sizes))]), sizes)
        for k, x in enumerate(given)
    ]
    swap = indexing == "xy" and len(grids) > 1
    return tuple(transpose(g, 0, 1) if swap else g for g in grids)


@public("block_diag", replay=True)
def block_diag(*tensors: Tensor) -> Tensor:
    """A matrix with the tensors along its diagonal, vectors as rows and numbers as one element.

    Zero elsewhere.
    """
    blocks = [moves.reshape(x, (1,) * (2 - x.ndim) + tuple(x.shape)) for x in promoted(*tensors)]
    height, width = (sum(x.shape[k] for x in blocks) for k in (0, 1))
    lines, left = [], 0
    for x in blocks:
        lines.append(moves.pad(x, [0, left], [0, width - left - x.shape[1]], [0, 0]))
        left += x.shape[1]
    return moves.concat(lines, 0) if height else moves.reshape(lines[0], (0, width))


@public("fill_diagonal_", method=True, function=False, replay="updates")
def fill_diagonal_(input: Tensor, fill_value: float, wrap: bool = False) -> Tensor:
    """A number on the main diagonal, in place.

    `wrap` lets it begin anew below each square of a tall matrix.
    """
    if input.ndim < 2:
        raise ShapeError("fill_diagonal_()", "dimensions must larger than 1")
    if input.ndim > 2 and len(set(input.shape)) > 1:
        raise ShapeError("fill_diagonal_()", "all dimensions of input must be of equal length")
    places = [iota_like(input, k) for k in range(input.ndim)]
    first = rows.remainder(places[0], input.shape[1] + 1) if wrap and input.ndim == 2 else places[0]
    here = rows.eq(first, places[1])
    for other in places[2:]:
        here = rows.logical_and(here, rows.eq(first, other))
    return assign(input, rows.where(here, fill_value, input), "torch::autograd::CopySlices")


# ---- triangles ---------------------------------------------------------------------------------------------


def _triangle(name: str, of: Callable[[Tensor, int], Tensor], input: Tensor, diagonal: int) -> Tensor:
    if input.ndim < 2:
        raise ShapeError(
            f"{name} of a tensor of shape {list(input.shape)}",
            mirrored(f"{name}: input tensor must have at least 2 dimensions"),
        )
    return of(input, integer(diagonal, name, "diagonal"))


@public("tril", method=True, inplace=True, replay=True)
def tril(input: Tensor, diagonal: int = 0) -> Tensor:
    """Zero above a diagonal of the last two axes."""
    return _triangle("tril", arranged.tril, input, diagonal)


@public("triu", method=True, inplace=True, replay=True)
def triu(input: Tensor, diagonal: int = 0) -> Tensor:
    """Zero below a diagonal of the last two axes."""
    return _triangle("triu", arranged.triu, input, diagonal)


@public("tril_indices", replay="copy")
def tril_indices(
    row: int, col: int, offset: int = 0, *, dtype: object = None, device: object = None
) -> Tensor:
    """The row and column numbers of a lower triangle, `[2, count]`."""
    return _indices(np.tril_indices(row, offset, col), dtype)


@public("triu_indices", replay="copy")
def triu_indices(
    row: int, col: int, offset: int = 0, *, dtype: object = None, device: object = None
) -> Tensor:
    """The row and column numbers of an upper triangle, `[2, count]`."""
    return _indices(np.triu_indices(row, offset, col), dtype)


def _indices(found: tuple[Array, ...], dtype: object) -> Tensor:
    return new(np.stack(found).astype(dtypes.int64.numpy if dtype is None else dtypes.dtype(dtype).numpy))
