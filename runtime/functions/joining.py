"""Tensors put together and taken apart along an axis: cat, stack, split, chunk and their kin.

Several tensors in and one out, or the other way round. Operands of different dtypes are promoted first. Parts
are views. To add a way of joining, arrange the operands and call `cat`; a way of splitting ends in `narrow`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise
from typing import Any

from retrograd.compiler import dtypes
from retrograd.compiler.errors import ArgumentError, DimensionError, ShapeError, mirrored
from retrograd.compiler.ops import shape as moves
from retrograd.runtime.functions.public import axis_of, integer, public, whole_numbers
from retrograd.runtime.functions.shaping import unsqueeze
from retrograd.runtime.functions.telling import not_a_tensor
from retrograd.runtime.tensor import Tensor


def _listed(tensors: Any, name: str) -> list[Tensor]:
    """The operands as a list, all of their common dtype; at least one."""
    if isinstance(tensors, Tensor) or not isinstance(tensors, Iterable):
        raise ArgumentError(f"{name}() of a {type(tensors).__name__}", "it takes a list or tuple of Tensors")
    listed = list(tensors)
    for k, x in enumerate(listed):
        if not isinstance(x, Tensor):
            raise not_a_tensor(name, f"tensors[{k}]", 0, x)
    if not listed:
        cat_alone = "torch.cat(): expected a non-empty list of Tensors"
        raise ArgumentError(
            mirrored(cat_alone if name == "cat" else f"{name} expects a non-empty TensorList")
        )
    common = dtypes.result_type(x.dtype for x in listed)
    return [moves.cast(x, common) for x in listed]


@public("cat", "concat", "concatenate", replay=True)
def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """The operands one after the other along `dim`; their other sizes agree. 1-D empty ones are left out."""
    listed = _listed(tensors, "cat")
    kept = [x for x in listed if tuple(x.shape) != (0,)] or listed[:1]
    first = kept[0]
    axis = axis_of(dim, first.ndim, "cat")
    if not first.ndim:
        raise ShapeError(
            "cat()", mirrored("zero-dimensional tensor (at position 0) cannot be concatenated"), "use stack()"
        )
    for k, x in enumerate(listed):
        if not any(x is other for other in kept):
            continue
        if x.ndim != first.ndim:
            raise ShapeError(
                f"cat of shapes {list(first.shape)} and {list(x.shape)}",
                mirrored(f"Tensors must have same number of dimensions: got {first.ndim} and {x.ndim}"),
            )
        for j, (wanted, size) in enumerate(zip(first.shape, x.shape)):
            if j != axis and wanted != size:
                raise ShapeError(
                    f"cat of shapes {list(first.shape)} and {list(x.shape)}",
                    mirrored(
                        f"Sizes of tensors must match except in dimension {axis}. Expected size "
                        f"{wanted} but got "
                        "size "
                        f"{size} for tensor number {k} in the list."
                    ),
                )
    return moves.concat(kept, axis)


@public("stack", replay=True)
def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """The operands, all of one shape, along a new axis `dim`."""
    listed = _listed(tensors, "stack")
    for k, x in enumerate(listed):
        if x.shape != listed[0].shape:
            raise ShapeError(
                f"stack of {len(listed)} tensors",
                mirrored(
                    f"stack expects each tensor to be equal size, but got {list(listed[0].shape)} at "
                    "entry 0 and "
                    f"{list(x.shape)} at entry {k}"
                ),
            )
    axis = axis_of(dim, listed[0].ndim + 1, "stack")
    return moves.concat([unsqueeze(x, axis) for x in listed], axis)


def _at_least(input: Tensor, ndim: int) -> Tensor:
    """With axes of size 1 put in, as `atleast_2d` and `atleast_3d` do: a vector becomes a row, a matrix
    gets a depth.
    """
    shape = tuple(input.shape)
    if len(shape) >= ndim:
        return input
    padded = {0: (1,) * ndim, 1: (1, *shape, 1)[:ndim] if ndim > 1 else shape, 2: (*shape, 1)}[len(shape)]
    return moves.reshape(input, padded)


def _all_at_least(tensors: tuple[Any, ...], ndim: int) -> Tensor | tuple[Tensor, ...]:
    """One Tensor so; or several, or a sequence of them."""
    given = tensors[0] if len(tensors) == 1 else tensors
    return _at_least(given, ndim) if isinstance(given, Tensor) else tuple(_at_least(x, ndim) for x in given)


@public("atleast_1d", replay="conversion")
def atleast_1d(*tensors: Any) -> Any:
    return _all_at_least(tensors, 1)


@public("atleast_2d", replay="conversion")
def atleast_2d(*tensors: Any) -> Any:
    return _all_at_least(tensors, 2)


@public("atleast_3d", replay="conversion")
def atleast_3d(*tensors: Any) -> Any:
    return _all_at_least(tensors, 3)


@public("hstack", replay=True)
def hstack(tensors: Sequence[Tensor]) -> Tensor:
    """Side by side: along axis 0 for vectors, else along axis 1."""
    listed = [_at_least(x, 1) for x in _listed(tensors, "hstack")]
    return cat(listed, 0 if listed[0].ndim == 1 else 1)


@public("vstack", "row_stack", replay=True)
def vstack(tensors: Sequence[Tensor]) -> Tensor:
    """One below the other; vectors are rows."""
    return cat([_at_least(x, 2) for x in _listed(tensors, "vstack")], 0)


@public("dstack", replay=True)
def dstack(tensors: Sequence[Tensor]) -> Tensor:
    """One behind the other, along axis 2."""
    return cat([_at_least(x, 3) for x in _listed(tensors, "dstack")], 2)


@public("column_stack", replay=True)
def column_stack(tensors: Sequence[Tensor]) -> Tensor:
    """Side by side; vectors are columns."""
    listed = _listed(tensors, "column_stack")
    return cat([x if x.ndim > 1 else moves.reshape(x, (x.numel(), 1)) for x in listed], 1)


# ---- parts -------------------------------------------------------------------------------------------------


def _cut(input: Tensor, axis: int, sizes: Sequence[int], name: str = "Split") -> tuple[Tensor, ...]:
    ends = list(accumulate(sizes))
    return _together(name, [moves.narrow(input, axis, end - size, end) for size, end in zip(sizes, ends)])


def _together(name: str, parts: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Views that one function gives: where gradients are recorded, none of them may be changed in place."""
    for place, part in enumerate(parts):
        if part._view is not None:
            part._view.several = f"Output {place} of {name}"
    return tuple(parts)


def _need_axis(input: Tensor, name: str) -> None:
    if not input.ndim:
        raise ShapeError(f"{name} of a 0-d tensor", f"{name}() expects at least a 1-dimensional tensor")


@public("split", method=True, replay=True)
def split(tensor: Tensor, split_size_or_sections: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """Parts of a given size (the last may be smaller), or of the given sizes."""
    _need_axis(tensor, "split")
    axis = axis_of(dim, tensor.ndim, "split")
    whole = tensor.shape[axis]
    counted = isinstance(split_size_or_sections, Sequence) or hasattr(split_size_or_sections, "__index__")
    if not counted or isinstance(split_size_or_sections, str):
        raise ArgumentError(
            mirrored(
                "split_with_sizes(): argument 'split_sizes' (position 2) must be tuple of ints, not "
                f"{type(split_size_or_sections).__name__}"
            )
        )
    if isinstance(split_size_or_sections, Sequence):
        sections = list(whole_numbers(split_size_or_sections, "split_with_sizes", "split_sizes"))
        if sum(sections) != whole or any(s < 0 for s in sections):
            raise ShapeError(
                f"split of a tensor of shape {list(tensor.shape)}",
                mirrored(
                    f"split_with_sizes expects split_sizes to sum exactly to {whole} (input tensor's size at "
                    "dimension "
                    f"{axis}), but got split_sizes={sections}"
                ),
            )
        return _cut(tensor, axis, sections, "SplitWithSizes")
    size = integer(split_size_or_sections, "split", "split_size")
    if size < 0 or (size == 0 and whole):
        why = f"split expects split_size be non-negative, but got split_size={size}"
        if size == 0:
            why = f"split_size can only be 0 if dimension size is 0, but got dimension size of {whole}"
        raise ShapeError("split()", mirrored(why))
    starts = range(0, whole, size) if size else (0,)
    return _cut(tensor, axis, [min(size, whole - start) for start in starts] or [0])


@public("split_with_sizes", method=True, replay=True)
def split_with_sizes(input: Tensor, split_sizes: Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Parts of the given sizes."""
    return split(input, tuple(split_sizes), dim)


@public("dsplit", method=True, replay=True)
def dsplit(input: Tensor, indices_or_sections: int | Sequence[int]) -> tuple[Tensor, ...]:
    """Parts along axis 2."""
    if input.ndim < 3:
        raise ShapeError(
            f"dsplit of a tensor of shape {list(input.shape)}",
            mirrored(
                "torch.dsplit requires a tensor with at least 3 dimension, but got a tensor with "
                f"{input.ndim} dimensions!"
            ),
        )
    whole = input.shape[2]
    if isinstance(indices_or_sections, int) and (not indices_or_sections or whole % indices_or_sections):
        raise ShapeError(
            f"dsplit({indices_or_sections}) of a tensor of shape {list(input.shape)}",
            mirrored(
                f"torch.dsplit attempted to split along dimension 2, but the size of the dimension {whole} "
                f"is not divisible by the split_size {indices_or_sections}!"
            ),
        )
    return tensor_split(input, indices_or_sections, 2)


@public("chunk", method=True, replay=True)
def chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """At most `chunks` parts of one size; the last may be smaller."""
    _need_axis(input, "chunk")
    if integer(chunks, "chunk", "chunks") <= 0:
        raise ShapeError("chunk()", mirrored(f"chunk expects `chunks` to be greater than 0, got: {chunks}"))
    axis = axis_of(dim, input.ndim, "chunk")
    size = -(-input.shape[axis] // chunks)
    return split(input, size, axis) if size else _cut(input, axis, [0] * chunks)


@public("tensor_split", method=True, replay=True)
def tensor_split(input: Tensor, indices_or_sections: int | Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Parts between the given indices, or so many parts whose sizes differ by one at most."""
    _need_axis(input, "tensor_split")
    axis = axis_of(dim, input.ndim, "tensor_split")
    whole = input.shape[axis]
    if isinstance(indices_or_sections, Sequence):
        bounds = [0, *(slice(None, int(i)).indices(whole)[1] for i in indices_or_sections), whole]
        pairs = pairwise(bounds)
        return tuple(moves.narrow(input, axis, start, max(start, stop)) for start, stop in pairs)
    parts = integer(indices_or_sections, "tensor_split", "indices_or_sections")
    if parts <= 0:
        raise ShapeError("tensor_split()", mirrored(f"number of sections must be larger than 0, got {parts}"))
    size, more = divmod(whole, parts)
    ends = list(accumulate(size + (k < more) for k in range(parts)))
    return tuple(moves.narrow(input, axis, start, end) for start, end in pairwise([0, *ends]))


@public("hsplit", method=True, replay=True)
def hsplit(input: Tensor, indices_or_sections: int | Sequence[int]) -> tuple[Tensor, ...]:
    """`tensor_split` from left to right: along axis 1, or 0 for a vector."""
    _need_axis(input, "hsplit")
    return _parted("hsplit", input, indices_or_sections, min(1, input.ndim - 1))


@public("vsplit", method=True, replay=True)
def vsplit(input: Tensor, indices_or_sections: int | Sequence[int]) -> tuple[Tensor, ...]:
    """`tensor_split` from top to bottom, of a matrix or more."""
    if input.ndim < 2:
        raise ShapeError("vsplit()", f"vsplit requires a tensor with at least 2 dimension, got {input.ndim}")
    return _parted("vsplit", input, indices_or_sections, 0)


def _parted(
    name: str, input: Tensor, indices_or_sections: int | Sequence[int], axis: int
) -> tuple[Tensor, ...]:
    """`tensor_split`, into parts of one size where it is into so many."""
    sections, size = indices_or_sections, input.shape[axis]
    if isinstance(sections, int) and (sections <= 0 or size % sections):
        raise ShapeError(
            mirrored(
                f"torch.{name} attempted to split along dimension {axis}, but the size of the dimension "
                f"{size} is not divisible by the split_size {sections}!"
            )
        )
    return tensor_split(input, indices_or_sections, axis)


@public("narrow", method=True, replay=True)
def narrow(input: Tensor, dim: int, start: int, length: int) -> Tensor:
    """`length` elements along `dim`, from `start` on."""
    _need_axis(input, "narrow")
    axis = axis_of(dim, input.ndim, "narrow")
    size = input.shape[axis]
    begin, count = integer(start, "narrow", "start"), integer(length, "narrow", "length")
    asked = f"narrow(dim={dim}, start={start}, length={length}) of a tensor of shape {list(input.shape)}"
    if count < 0:
        raise ShapeError(asked, mirrored("narrow(): length must be non-negative."))
    if not -size <= begin <= size:
        raise DimensionError(
            asked,
            mirrored(f"start out of range (expected to be in range of [{-size}, {size}], but got {begin})"),
        )
    begin += size if begin < 0 else 0
    if begin + count > size:
        raise ShapeError(
            asked, mirrored(f"start ({begin}) + length ({count}) exceeds dimension size ({size}).")
        )
    return moves.narrow(input, axis, begin, begin + count)


@public("select", method=True, replay=True)
def select(input: Tensor, dim: int, index: int) -> Tensor:
    """The slice at `index` along `dim`, without that axis."""
    if not input.ndim:
        raise DimensionError("select()", mirrored("select() cannot be applied to a 0-dim tensor."))
    axis = axis_of(dim, input.ndim, "select")
    size = input.shape[axis]
    place = integer(index, "select", "index")
    if not -size <= place < size:
        raise DimensionError(
            f"select(dim={dim}, index={index})",
            mirrored(
                f"select(): index {place} out of range for tensor of size {list(input.shape)} at dimension "
                f"{axis}"
            ),
        )
    return moves.select(input, axis, place % size)


@public("unbind", method=True, replay=True)
def unbind(input: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """All slices along `dim`."""
    if not input.ndim:
        raise DimensionError(
            "unbind of a 0-d tensor", mirrored("Dimension specified as 0 but tensor has no dimensions")
        )
    axis = axis_of(dim, input.ndim, "unbind")
    return _together("Unbind", [moves.select(input, axis, k) for k in range(input.shape[axis])])
