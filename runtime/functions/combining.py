"""Combinations: positions in a shape, pairs, products and powers of vectors.

Tensors in, Tensors out: gathering and joining, with derivatives.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations as chosen
from itertools import combinations_with_replacement
from math import prod

import numpy as np

from retrograd.compiler.errors import ArgumentError, ShapeError, mirrored
from retrograd.compiler.ops import shape as moves
from retrograd.compiler.ops.index import take
from retrograd.runtime.functions.arranging import meshgrid
from retrograd.runtime.functions.creation import beside
from retrograd.runtime.functions.joining import stack
from retrograd.runtime.functions.public import integer, public, sizes_of
from retrograd.runtime.tensor import Tensor, new


@public("unravel_index")
def unravel_index(indices: Tensor, shape: int | Sequence[int]) -> tuple[Tensor, ...]:
    """The coordinates, a tensor for each axis of `shape`, of elements counted in row-major order."""
    if indices.dtype.category != 1:
        raise ArgumentError(
            f"unravel_index of {indices.dtype}",
            mirrored("expected 'indices' to be integer dtype, but got " + str(indices.dtype)),
        )
    sizes = (shape,) if isinstance(shape, int) else sizes_of((tuple(shape),), "unravel_index", "shape")
    if indices.numel() and 0 in sizes:
        raise ShapeError(mirrored("ZeroDivisionError"))
    if any(size < 0 for size in sizes):
        raise ShapeError(
            f"unravel_index of shape {list(sizes)}",
            mirrored(f"'shape' cannot have negative values, but got {tuple(sizes)}"),
        )
    steps = [prod(sizes[k + 1 :]) for k in range(len(sizes))]
    return tuple(indices.div(step, rounding_mode="floor") % size for step, size in zip(steps, sizes))


@public("cartesian_prod", replay=True)
def cartesian_prod(*tensors: Tensor) -> Tensor:
    """Each combination of an element of every vector, one in a row."""
    for x in tensors:
        if x.ndim != 1:
            raise ShapeError(
                f"cartesian_prod of a tensor of shape {list(x.shape)}",
                mirrored(f"Expect a 1D vector, but got shape {list(x.shape)}"),
            )
    if len(tensors) == 1:
        return tensors[0]
    return stack([moves.reshape(grid, (grid.numel(),)) for grid in meshgrid(*tensors, indexing="ij")], 1)


@public("combinations", replay=True)
def combinations(input: Tensor, r: int = 2, with_replacement: bool = False) -> Tensor:
    """Each choice of `r` elements of a vector, one in a row; with replacement, one may come twice."""
    if input.ndim != 1:
        raise ShapeError(
            f"combinations of a tensor of shape {list(input.shape)}",
            mirrored(f"Expect a 1D vector, but got shape {list(input.shape)}"),
        )
    if integer(r, "combinations", "r") < 0:
        raise ShapeError(f"combinations(r={r})", mirrored(f"Expect a non-negative number, but got {r}"))
    if not r:
        return input.new_empty(0)
    choose = combinations_with_replacement if with_replacement else chosen
    places = np.array(list(choose(range(input.shape[0]), r)), np.int64).reshape(-1, r)
    return take(input, beside(input, new(places)), 0)
