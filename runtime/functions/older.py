"""PyTorch's older and lower names for what stands elsewhere: `range`, `nuclear_norm`, `unsafe_split`,
`slice_copy`, in-place functions at the top.

In flow Tensors and numbers, out flow Tensors; each function hands its arguments to its successor. A new name
is a function here, or an entry of `AT_TOP`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.errors import ArgumentError, DimensionError, ShapeError, mirrored, warn
from retrograd.compiler.ops import shape as moves
from retrograd.runtime.eager.copying import ordered
from retrograd.runtime.eager.instant import calls
from retrograd.runtime.eager.replay import name_history
from retrograd.runtime.functions import joining
from retrograd.runtime.functions.creation import finished
from retrograd.runtime.functions.factoring import svdvals
from retrograd.runtime.functions.public import axis_of, public
from retrograd.runtime.functions.restriding import as_strided, plan_of_strides
from retrograd.runtime.functions.statistics import norm, renorm
from retrograd.runtime.functions.updating import in_place_of
from retrograd.runtime.tensor import Tensor, method, new

# ---- counting ----------------------------------------------------------------------------------------------


@public("range")
def range_(start: Any, end: Any, step: Any = 1, *, dtype: object = None, **options: Any) -> Tensor:
    """`start`, `start + step`, … up to `end`, which is included, in the default dtype."""
    warn(
        "torch.range is deprecated and will be removed in a future release because its behavior is "
        "inconsistent with Python's range builtin. Instead, use torch.arange, which produces values in "
        "[start, end)."
    )
    asked = f"range({start}, {end}, {step})"
    if step == 0:
        raise ShapeError(asked, mirrored("step must be nonzero"))
    if not (math.isfinite(start) and math.isfinite(end)):
        raise ShapeError(asked, mirrored(f"unsupported range: {start} -> {end}"))
    if (end - start) * step < 0:
        raise ShapeError(asked, mirrored("upper bound and lower bound inconsistent with step sign"))
    kind = dtypes.default_dtype() if dtype is None else dtypes.dtype(dtype)
    wide = np.arange(int((end - start) / step + 1), dtype=np.float64)
    return finished(new((start + step * wide).astype(kind.numpy)), **options)


# ---- norms -------------------------------------------------------------------------------------------------


@public("frobenius_norm", replay=True)
def frobenius_norm(input: Tensor, dim: int | Sequence[int], keepdim: bool = False) -> Tensor:
    """The root of the sum of squares along one axis or two, or all over if none is named."""
    axes = list(dim) if isinstance(dim, Sequence) else [dim]
    if len(axes) > 2:
        raise ShapeError(mirrored(f"Expected at most 2 dimensions, but got {len(axes)} dimensions instead."))
    return norm(input, 2.0, axes, keepdim)


@public("nuclear_norm")
def nuclear_norm(input: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    """The sum of the singular values of a matrix, or of matrices along two axes."""
    if isinstance(dim, bool):
        dim, keepdim = None, dim
    axes = [axis_of(d, input.ndim, "nuclear_norm") for d in ((0, 1) if dim is None else dim)]
    if len(axes) != 2 or (dim is None and input.ndim != 2):
        raise DimensionError(f"nuclear_norm of {input.ndim} axes", "it is the norm of matrices, of two axes")
    last = moves.permute(input, [*(k for k in range(input.ndim) if k not in axes), *axes])
    found: Tensor = svdvals(last).sum(-1)
    return moves.unsqueeze(found, sorted(axes)) if keepdim else found


@public("norm_except_dim", replay=True)
def norm_except_dim(v: Tensor, pow: int = 2, dim: int = 0) -> Tensor:
    """The norm of each slice along `dim`, in a shape that broadcasts; of all elements if `dim` is -1."""
    if dim == -1:
        return norm(v, float(pow))
    axis = axis_of(dim, v.ndim, "norm_except_dim")
    return norm(v, float(pow), [k for k in range(v.ndim) if k != axis], True)


# ---- parts with memory of their own ------------------------------------------------------------------------


def _copies(parts: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The parts, each a result of its own and no view, so that all of them may be changed in place."""
    return tuple(part.clone() for part in parts)


@public("unsafe_split", method=True, replay=True, shown="UnsafeSplitBackward0")
def unsafe_split(input: Tensor, split_size: int, dim: int = 0) -> tuple[Tensor, ...]:
    """`split` into parts that are no views."""
    return _copies(joining.split(input, split_size, dim))


@public("unsafe_split_with_sizes", method=True, replay=True, shown="UnsafeSplitWithSizesBackward0")
def unsafe_split_with_sizes(input: Tensor, split_sizes: Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """`split_with_sizes` into parts that are no views."""
    return _copies(joining.split_with_sizes(input, split_sizes, dim))


@public("unsafe_chunk", method=True, replay=True, shown="UnsafeSplitBackward0")
def unsafe_chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """`chunk` into parts that are no views."""
    return _copies(joining.chunk(input, chunks, dim))


@public("slice_copy", replay=True, shown="SliceBackward0_copy")
def slice_copy(
    input: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Tensor:
    """Every `step`-th slice along `dim` from `start` up to `end`, with memory of its own."""
    axis = axis_of(dim, input.ndim, "slice_copy")
    if step <= 0:
        raise ArgumentError(mirrored("slice step must be positive"))
    part = input[(slice(None),) * axis + (slice(start, end, step),)]
    return _copies([part.contiguous()])[0]


def _plan_of_copy(*args: Any, **kwargs: Any) -> Callable[[Tensor], Tensor] | Literal[False] | None:
    """A view of the memory, as a step of the tensor whose that is, and then its copy."""
    show = plan_of_strides(*args, **kwargs)
    return (lambda memory: _copy_by_strides(show(memory), args, kwargs)) if show else show


def _copy_by_strides(part: Tensor, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor:
    copy = ordered(part)
    if copy.requires_grad:
        name_history(copy, "AsStridedBackward0_copy", args, kwargs)
    return copy


@public("as_strided_copy", around=partial(calls.restrided, _plan_of_copy))
def as_strided_copy(
    input: Tensor, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None
) -> Tensor:
    """`as_strided`, with memory of its own."""
    part = as_strided(input, size, stride, storage_offset)
    return _copy_by_strides(part, (input, size, stride, storage_offset), {})


# ---- in place ----------------------------------------------------------------------------------------------


method("renorm_")(in_place_of("renorm", renorm))


def _method_at_top(name: str) -> None:
    @public(name)
    def in_place(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        changed: Tensor = getattr(input, name)(*args, **kwargs)
        return changed

    in_place.__doc__ = f"The method `{name}` as a function."


AT_TOP = ("addmv_", "gcd_", "lcm_")
"""Methods that PyTorch has as functions, too."""

for _name in AT_TOP:
    _method_at_top(_name)
