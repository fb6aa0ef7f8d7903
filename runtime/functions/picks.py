"""What the tensors of an index pick: integers, and masks as the places where they are true.

Those of several axes broadcast together and become one linear index. Where the axes stand side by side the
picked ones take their place, else they come first.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.errors import DeviceError, DimensionError, ShapeError, mirrored
from retrograd.compiler.ops import index as places
from retrograd.compiler.ops import shape as moves
from retrograd.compiler.ops.demands import places as within
from retrograd.compiler.ops.elementwise import broadcast_shapes
from retrograd.runtime.device import CPU
from retrograd.runtime.eager.moving import moved
from retrograd.runtime.modes import STATE
from retrograd.runtime.tensor import Tensor, new


def integers(input: Tensor, picks: Sequence[tuple[int, Tensor]]) -> list[tuple[int, Tensor]]:
    """The picks as integer tensors where the input is, one for each axis: a mask is the places where it is
    true."""
    found: list[tuple[int, Tensor]] = []
    for axis, item in picks:
        if item.dtype is not dtypes.bool_:
            _check_place(input, item)
            found.append((axis, moved(item, input.device)))
            continue
        mask = item.read("indexing by a mask")
        found += [
            (axis + k, new(place.astype(np.int64), input))
            for k, place in enumerate(np.atleast_1d(mask).nonzero())
        ]
    return found


def _check_place(input: Tensor, index: Tensor) -> None:
    """An index is on the CPU, or where the tensor is."""
    if STATE.trace is None and index.device not in (CPU, input.device):
        raise DeviceError(
            mirrored(
                "indices should be either on cpu or on the same device as the indexed tensor "
                f"({input.device})"
            ),
            f"an index on {index.device}",
            "move it with .to(device)",
        )


def joined(x: Tensor, picks: Sequence[tuple[int, Tensor]]) -> tuple[Tensor, Tensor, list[int]]:
    """The view with the picked axes made one, the first; the linear index into it.

    And the order of axes for that.
    """
    axes = [axis for axis, _ in picks]
    try:
        broadcast_shapes("an index", *(item.shape for _, item in picks))
    except ShapeError:
        shapes = ", ".join(str(list(item.shape)) for _, item in picks)
        raise DimensionError(
            "an index of several tensors",
            mirrored(
                f"shape mismatch: indexing tensors could not be broadcast together with shapes {shapes}"
            ),
        ) from None
    order = [*axes, *(k for k in range(x.ndim) if k not in axes)]
    front = moves.permute(x, order)
    flat = moves.reshape(front, (prod(front.shape[: len(axes)]), *front.shape[len(axes) :]))
    wide = [
        within(moves.cast(item, dtypes.int64), "brackets", k, x.shape[axis])
        for k, (axis, item) in enumerate(picks)
    ]
    return flat, places.linear_index(wide, front.shape[: len(axes)]), order


def side_by_side(axes: Sequence[int]) -> bool:
    return list(axes) == list(range(axes[0], axes[0] + len(axes)))


def picked(x: Tensor, picks: list[tuple[int, Tensor]]) -> Tensor:
    """What the picks read."""
    for axis, item in sorted((p for p in picks if not p[1].ndim), key=lambda p: -p[0]):
        x = places.take(x, item, axis)  # a traced integer: it takes its axis away, as an int does
        picks = [(a - (a > axis), i) for a, i in picks if i is not item or a != axis]
    if not picks:
        return x
    if len(picks) == 1:
        ((axis, item),) = picks
        return places.take(x, item, axis)
    flat, index, _ = joined(x, picks)
    found: Tensor = places.take(flat, index, 0)
    first = picks[0][0]
    if not first or not side_by_side([axis for axis, _ in picks]):
        return found
    many = index.ndim
    order = [*range(many, many + first), *range(many), *range(many + first, found.ndim)]
    return moves.permute(found, order).contiguous()


def picked_shape(view: Tensor, picks: list[tuple[int, Tensor]], index: Tensor) -> tuple[int, ...]:
    """The shape of what the picks, which join to this index, show of the view."""
    axes = [axis for axis, _ in picks]
    first = axes[0] if side_by_side(axes) else 0
    rest = [size for k, size in enumerate(view.shape) if k not in axes]
    return (*rest[:first], *index.shape, *rest[first:])
