"""Derivatives by differences of neighbours: `gradient`, of values on a grid.

In flow values and how far apart they are along each axis, out flows for each axis the derivative there, of
second order inside (Fornberg, "Generation of finite difference formulas on arbitrarily spaced grids", 1988)
and of order `edge_order` at both ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from retrograd.compiler import dtypes
from retrograd.compiler.errors import ArgumentError, DtypeError, ShapeError, mirrored
from retrograd.runtime.functions.joining import cat
from retrograd.runtime.functions.public import DimLike, axes_of, axis_of, public
from retrograd.runtime.tensor import Tensor


@public("gradient")
def gradient(input: Tensor, *, spacing: Any = 1, dim: DimLike = None, edge_order: int = 1) -> Any:
    """The derivatives along each axis of `dim`, or of all: a tuple of Tensors of the input's shape.

    `spacing` is one step for all axes, or for each a step, or for each a vector of coordinates.
    """
    if edge_order not in (1, 2):
        raise ArgumentError(mirrored("torch.gradient only supports edge_order=1 and edge_order=2."))
    if input.dtype is dtypes.uint8:
        raise DtypeError(mirrored("torch.gradient does not support uint8 input."))
    axes = axes_of(dim, input.ndim, "gradient")
    if isinstance(dim, Sequence) and axes:
        axes = tuple(axis_of(each, input.ndim, "gradient") for each in dim)  # in the user's order
    if any(input.shape[axis] < edge_order + 1 for axis in axes):
        text = "torch.gradient expected each dimension size to be at least edge_order+1"
        raise ShapeError(mirrored(text), f"it has shape {list(input.shape)}")
    steps = _steps(spacing, axes, dim)
    return tuple(_along(input, axis, step, edge_order) for axis, step in zip(axes, steps))


def _steps(spacing: Any, axes: Sequence[int], dim: DimLike) -> list[Any]:
    """A step, or coordinates, for each axis."""
    if not isinstance(spacing, list | tuple):
        return [spacing] * len(axes)
    if len(spacing) != len(axes):
        wanted = f"equal to 'self.dim() = {len(axes)}', since dim argument was not given,"
        if dim is not None:
            wanted = f"{len(axes)}"
        text = f"torch.gradient expected spacing to be unspecified, a scalar, or a list of length {wanted}"
        raise ArgumentError(mirrored(f"{text} but got a list of length {len(spacing)}"))
    for each in spacing:
        if isinstance(each, Tensor) and each.ndim > 1:
            text = "torch.gradient expected each element of spacing to have one dimension, but got an element"
            raise ShapeError(mirrored(f"{text} with {each.ndim} dimensions!"))
    return list(spacing)


def _along(x: Tensor, axis: int, step: Any, edge_order: int) -> Tensor:
    """The derivative along one axis."""
    if isinstance(step, Tensor) and step.ndim == 1:
        gaps = (step[1:] - step[:-1]).reshape([-1 if k == axis else 1 for k in range(x.ndim)])
    else:
        gaps = step
    size = x.shape[axis]
    slope = (x.narrow(axis, 1, size - 1) - x.narrow(axis, 0, size - 1)) / gaps
    if size == 2:
        return cat([slope, slope], axis)
    left, right = slope.narrow(axis, 0, size - 2), slope.narrow(axis, 1, size - 2)
    first, last = slope.narrow(axis, 0, 1), slope.narrow(axis, size - 2, 1)
    if not isinstance(gaps, Tensor) or gaps.ndim == 0:
        inner = (left + right) * 0.5
        if edge_order == 2:
            first = (first * 3 - right.narrow(axis, 0, 1)) * 0.5
            last = (last * 3 - left.narrow(axis, size - 3, 1)) * 0.5
        return cat([first, inner, last], axis)
    before, after = gaps.narrow(axis, 0, size - 2), gaps.narrow(axis, 1, size - 2)
    bend = (right - left) / (before + after)
    inner = left + bend * before
    if edge_order == 2:
        first = first - bend.narrow(axis, 0, 1) * before.narrow(axis, 0, 1)
        last = last + bend.narrow(axis, size - 3, 1) * after.narrow(axis, size - 3, 1)
    return cat([first, inner, last], axis)
