"""Fractional max pooling: windows of one size whose distances vary at random, and so their number is any
(Graham, "Fractional max-pooling", arXiv 1412.6071).

Tensors in, tensors out. Where the windows begin is worked out from random numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from retrograd.compiler.dtypes import int64
from retrograd.compiler.errors import ArgumentError, ShapeError, mirrored
from retrograd.compiler.ops import shape as moves
from retrograd.compiler.ops.fractional import window_places
from retrograd.compiler.ops.index import take_along
from retrograd.runtime.functions.joining import cat
from retrograd.runtime.functions.public import functional
from retrograd.runtime.functions.sampling import drawn
from retrograd.runtime.functions.windowing import each
from retrograd.runtime.random import laws
from retrograd.runtime.tensor import Tensor, new


def _starts(samples: Tensor, size: int, window: int, count: int) -> Tensor:
    """Where the windows along an axis begin, for each channel `[N, C]`: `[N, C, count]`."""
    first = moves.unsqueeze(samples, [2])
    last = moves.cast(first * 0.0, int64) + (size - window)
    if count == 1:
        return last
    kind = samples.dtype.numpy
    step = float(np.asarray(size - window, kind) / np.asarray(count - 1, kind))
    steps = new(np.arange(count - 1).astype(kind), samples)
    begun = moves.cast((first + steps) * step, int64) - moves.cast(first * step, int64)
    return cat([begun, last], 2)


def _pooled(
    name: str, rank: int, input: Tensor, kernel_size: Any, output_size: Any, output_ratio: Any,
    samples: Tensor | None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    if output_size is None and output_ratio is None:
        raise ArgumentError(mirrored(f"{name} requires specifying either an output_size or an output_ratio"))
    if input.ndim not in (rank + 1, rank + 2):
        raise ShapeError(
            f"{name} of a tensor of shape {list(input.shape)}", f"it has {rank + 1} or {rank + 2} axes"
        )
    x = input if input.ndim == rank + 2 else moves.unsqueeze(input, [0])
    shape, sizes = list(x.shape[2:]), each(kernel_size, rank, name, "kernel_size")
    if output_size is None:
        shares = output_ratio if isinstance(output_ratio, Sequence) else [output_ratio] * rank
        counts = [int(size * share) for size, share in zip(shape, shares, strict=True)]
    else:
        counts = each(output_size, rank, name, "output_size")
    for size, window, count in zip(shape, sizes, counts, strict=True):
        if count + window - 1 > size - (rank == 3):  # PyTorch wants room to spare, of three axes
            raise ShapeError(
                f"{name} to {counts} of a tensor of shape {list(input.shape)}",
                f"{count} windows of {window} elements do not fit into {size}",
            )
    law = laws.uniform(0.0, 1.0, x.dtype.numpy)
    chances = drawn((*x.shape[:2], rank), law, like=x) if samples is None else samples
    order = [1, 0] if rank == 2 else range(rank)  # PyTorch has the sample of the width first, of two axes
    begins = [
        _starts(moves.select(chances, 2, k), size, window, count)
        for k, size, window, count in zip(order, shape, sizes, counts, strict=True)
    ]
    places = window_places(x, begins, sizes)
    flat, where = (moves.reshape(each, (*x.shape[:2], prod(each.shape[2:]))) for each in (x, places))
    wanted = (*x.shape[:2], *counts) if x is input else (*input.shape[:1], *counts)
    return moves.reshape(take_along(flat, where, 2), wanted), moves.reshape(places, wanted)


def _enter(rank: int) -> None:
    name = f"fractional_max_pool{rank}d"

    @functional(f"{name}_with_indices", replay="draws")
    def with_indices(
        input: Tensor, kernel_size: Any, output_size: Any = None, output_ratio: Any = None,
        return_indices: bool = False, _random_samples: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        return _pooled(name, rank, input, kernel_size, output_size, output_ratio, _random_samples)

    @functional(name, replay="draws")
    def pooled(
        input: Tensor, kernel_size: Any, output_size: Any = None, output_ratio: Any = None,
        return_indices: bool = False, _random_samples: Tensor | None = None,
    ) -> Any:  # fmt: skip
        found = _pooled(name, rank, input, kernel_size, output_size, output_ratio, _random_samples)
        return found if return_indices else found[0]

    pooled.__doc__ = "The greatest element of windows at random distances, to a size or a share of the size."
    with_indices.__doc__ = f"`{name}`, and where each greatest element stands."


for _rank in (2, 3):
    _enter(_rank)
