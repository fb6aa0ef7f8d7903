"""Tensors as memory: views of any sizes and strides.

In flow a tensor, sizes and strides in elements; out flow views of the memory in which it lies, which are
those of its base, so that gradients and updates find their way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import prod
from typing import Any, Literal

from retrograd.compiler.errors import ArgumentError, RetrogradError, ShapeError, mirrored
from retrograd.compiler.ir.graph import apply
from retrograd.compiler.ops import shape as moves
from retrograd.compiler.ops import strided
from retrograd.runtime.eager.inplace import rearrange
from retrograd.runtime.eager.instant import calls
from retrograd.runtime.eager.instant.axes import placed
from retrograd.runtime.eager.memory import elements, is_part, memory_of, outermost_first
from retrograd.runtime.eager.opnodes import counter_of
from retrograd.runtime.eager.record import showing
from retrograd.runtime.eager.replay import name_history
from retrograd.runtime.eager.steps import steps as steps_of_call
from retrograd.runtime.eager.views import walk
from retrograd.runtime.functions.public import integer, public, sizes_of
from retrograd.runtime.modes import STATE
from retrograd.runtime.strided import Layout
from retrograd.runtime.tensor import Tensor


def _lying(input: Tensor) -> tuple[Tensor, Layout]:
    """The tensor whose memory it is, and how the input lies there."""
    input.stride()  # sees the last change of its base
    view = input._view
    root = input if view is None or (STATE.grad and not view.tracked) else view.base
    if STATE.trace is None and not root.requires_grad and is_part(root._value):
        return _storage(root), Layout(tuple(input.shape), input.stride(), input.storage_offset())
    layout: Layout | None = Layout(tuple(root.shape), tuple(root.stride()))
    for op in view.path if view is not None and root is not input else ():
        layout = None if layout is None else layout.moved(op)
    assert layout is not None
    return root, layout


def _storage(part: Tensor) -> Tensor:
    """All of the memory in which a tensor without history lies, as elements of its dtype in a row."""
    array = part.read("as_strided()")
    found = Tensor(elements(memory_of(array), array.dtype))
    found._counter = counter_of(part)
    return found


def _memory(root: Tensor) -> Tensor:
    """A view of a tensor that reaches its elements in the order in which they lie."""
    if root.is_contiguous():
        return root
    steps = root.stride()
    ordered = moves.permute(root, outermost_first(steps))
    if not ordered.is_contiguous():
        raise ShapeError(
            f"as_strided of a tensor of shape {list(root.shape)} and strides {steps}",
            "its elements do not fill the memory in which they lie, and what is between them is not its own",
            "copy it with .contiguous()",
        )
    return ordered


def _checked(
    memory: int, itemsize: int, size: Sequence[int], stride: Sequence[int], storage_offset: int
) -> None:
    """Raise in PyTorch's words where such a view is none of so many elements."""
    what = f"as_strided to {list(size)} with strides {list(stride)}"
    if len(size) != len(stride):
        raise ShapeError(what, mirrored("mismatch in length of strides and shape"))
    if min(stride, default=0) < 0:
        raise ArgumentError(
            what,
            mirrored(
                f"as_strided: Negative strides are not supported at the moment, got strides: {list(stride)}"
            ),
        )
    if min(size, default=0) < 0:
        raise ShapeError(
            what,
            mirrored(
                f"Storage size calculation overflowed with sizes={list(size)} and strides={list(stride)}"
            ),
        )
    if storage_offset < 0:
        raise ArgumentError(what, mirrored(f"Tensor: invalid storage offset {storage_offset}"))
    reach = storage_offset + 1 + sum((n - 1) * step for n, step in zip(size, stride))
    if 0 not in size and reach > memory:
        raise ShapeError(
            what,
            mirrored(
                f"setStorage: sizes {list(size)}, strides {list(stride)}, storage offset {storage_offset}, "
                f"and itemsize {itemsize} requiring a storage size of {reach * itemsize} are out of bounds "
                f"for storage of size {memory * itemsize}"
            ),
        )


def _restrided(
    input: Tensor, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None
) -> tuple[Tensor, strided.Strided]:
    """The tensor that reaches the elements of the input's memory in order, and how the view shows them."""
    sizes, steps = sizes_of((size,), "as_strided"), sizes_of((stride,), "as_strided", "stride")
    root, layout = _lying(input)
    offset = (
        layout.offset if storage_offset is None else integer(storage_offset, "as_strided", "storage_offset")
    )
    _checked(root.numel(), input.element_size(), sizes, steps, offset)
    return _memory(root), strided.layout(sizes, steps, offset)


def plan_of_strides(*args: Any, **kwargs: Any) -> Callable[[Tensor], Tensor] | Literal[False] | None:
    """The view as a step of the tensor whose memory it is, once it has been asked for; False if it shows
    nothing, or is none."""
    try:
        memory, op = _restrided(*args, **kwargs)
    except (RetrogradError, TypeError):
        return False
    return showing(op, memory._value) if prod(op.shape) else False


@public("as_strided", method=True, around=partial(calls.restrided, plan_of_strides))
def as_strided(
    input: Tensor, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None
) -> Tensor:
    """A view of the input's memory: element i, j, … is there at `storage_offset + i·stride[0] + j·stride[1]
    + …`. The offset counts from the first element of its base; unless given, it is that of the input.

    Several elements of the view may be one in memory. Raises ShapeError where it reaches beyond the memory.
    """
    memory, op = _restrided(input, size, stride, storage_offset)
    if prod(op.shape):
        return apply(op, memory)
    flat = moves.reshape(memory, (memory.numel(),))
    nothing = moves.reshape(moves.slice_(flat, [0], [0], [1]), op.shape)
    name_history(nothing, "AsStridedBackward0", (input, size, stride, storage_offset))
    return nothing


@public("as_strided_", method=True, around=partial(placed, "restrided_in_place"))
def as_strided_(
    input: Tensor, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None
) -> Tensor:
    """`as_strided`, in place: the tensor itself becomes that view of its memory."""
    return rearrange(input, lambda x: as_strided(x, size, stride, storage_offset), "AsStridedBackward1")


def plan_of_scatter(*args: Any, **kwargs: Any) -> Callable[..., Tensor] | Literal[False] | None:
    """The copy as steps of two Tensors, of which the first is no view; False if there are none."""
    try:
        return steps_of_call(_scattered, args, kwargs, "AsStridedScatterBackward0") or False
    except TypeError:
        return False


@public("as_strided_scatter", method=True, around=partial(calls.restrided, plan_of_scatter))
def as_strided_scatter(
    input: Tensor,
    src: Tensor,
    size: Sequence[int],
    stride: Sequence[int],
    storage_offset: int | None = None,
) -> Tensor:
    """A copy of the input, and of the memory around it, with `src` in place of a view of that memory."""
    return _scattered(input, src, size, stride, storage_offset)


def _scattered(
    input: Tensor, src: Tensor, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None
) -> Tensor:
    root, layout = _lying(input)
    copy = root.clone()
    part = as_strided(copy, size, stride, layout.offset if storage_offset is None else storage_offset)
    if part.shape != src.shape:
        raise ShapeError(
            "as_strided_scatter",
            mirrored(
                "expected src to have a size equal to the slice of self. src size = "
                f"{list(src.shape)}, slice size = {list(part.shape)}"
            ),
        )
    part.copy_(src)
    if root is input:
        return copy
    if input._view is not None and input._view.base is root:
        return walk(input._view.path, copy)
    return as_strided(copy, tuple(input.shape), input.stride(), layout.offset)
