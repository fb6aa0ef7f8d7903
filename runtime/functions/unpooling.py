"""`max_unpool1d` to `3d`: what max-pooling with `return_indices` gave, back at its places among zeros.

In flow `[N, C, …]` or `[C, …]` and places in the last axes as one; out flows the size before pooling, or what
`output_size` says. Made for each number of axes by one loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from retrograd.compiler import dtypes
from retrograd.compiler.errors import ArgumentError, DtypeError, ShapeError, mirrored
from retrograd.compiler.ops import shape as moves
from retrograd.compiler.ops.unpool import max_unpool as put_back
from retrograd.runtime.functions.public import functional
from retrograd.runtime.functions.windowing import Sizes, each
from retrograd.runtime.names import bare_legacy_name
from retrograd.runtime.tensor import Tensor


def _max_unpool(rank: int) -> None:
    name = f"max_unpool{rank}d"
    shown = "SqueezeBackward1" if rank == 1 else f"MaxUnpool{rank}DBackward0"

    @functional(name, shown=shown, replay=True)
    def max_unpool(
        input: Tensor, indices: Tensor, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0,
        output_size: Sequence[int] | None = None,
    ) -> Tensor:  # fmt: skip
        sizes = each(kernel_size, rank, name, "kernel_size")
        steps = each(kernel_size if stride is None else stride, rank, name, "stride")
        margins = each(padding, rank, name, "padding")
        _check(input, indices)
        wanted = _output_size(input, sizes, steps, margins, output_size)
        lead = input.shape[:-rank]
        flat = (prod(lead), prod(input.shape[-rank:]))
        found = put_back(moves.reshape(input, flat), moves.reshape(indices, flat), wanted)
        return moves.reshape(found, (*lead, *wanted))

    max_unpool.__doc__ = "The greatest elements of windows at the places they were found at, zeros elsewhere."


def _check(input: Tensor, indices: Tensor) -> None:
    if indices.dtype is not dtypes.int64:
        raise DtypeError(
            mirrored(f"elements in indices should be type int64 but got: {bare_legacy_name(indices.dtype)}")
        )
    if indices.shape != input.shape:
        raise ShapeError(
            mirrored(
                "Expected shape of indices to be same as that of the input tensor "
                f"({list(input.shape)}) but got indices tensor with shape: {list(indices.shape)}"
            )
        )


def _output_size(
    input: Tensor, sizes: list[int], steps: list[int], margins: list[int], given: Sequence[int] | None
) -> list[int]:
    """The size before pooling, of the sizes that it may have been the one that is given."""
    rank = len(sizes)
    usual = [
        (n - 1) * step + size - 2 * margin
        for n, size, step, margin in zip(input.shape[-rank:], sizes, steps, margins)
    ]
    if given is None:
        return usual
    wanted = list(given[2:] if len(given) == rank + 2 else given)
    if len(wanted) != rank:
        raise ArgumentError(
            mirrored(
                f"output_size should be a sequence containing {rank} or {rank + 2} elements, but it has a "
                f"length of '{len(wanted)}'"
            )
        )
    for k, (own, step) in enumerate(zip(usual, steps)):
        if not own - step < wanted[k] < own + step:
            shown = given[2:] if len(given) == rank + 2 else given
            raise ArgumentError(
                mirrored(
                    f'invalid output_size "{shown}" (dim {k} must be between {own - step} and {own + step})'
                )
            )
    return wanted


for _rank in (1, 2, 3):
    _max_unpool(_rank)
