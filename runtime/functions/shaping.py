"""The same elements in another arrangement: reshape, permute, expand, squeeze and their kin.

Tensors in, views out where PyTorch gives views. Each function only works out a shape or an order of axes and
hands it to a movement op. To add one, write it with `reshape`, `permute` or `expand` and put `@public` on it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from math import prod
from typing import Any

from retrograd.compiler.dtypes import DType
from retrograd.compiler.errors import ArgumentError, DtypeError, ShapeError, mirrored, warn
from retrograd.compiler.ir.graph import Node
from retrograd.compiler.ops import shape as moves
from retrograd.compiler.ops.complexes import conj
from retrograd.compiler.ops.elementwise import broadcast_shapes as joined_shape
from retrograd.compiler.ops.window import window
from retrograd.runtime import grad_functions
from retrograd.runtime.eager.inplace import rearrange
from retrograd.runtime.eager.opnodes import counter_of
from retrograd.runtime.functions.public import axis_of, public, sizes_of, viewing
from retrograd.runtime.names import bare_legacy_name, legacy_name
from retrograd.runtime.strided import share_memory
from retrograd.runtime.tensor import Size, Tensor, new


def inferred(sizes: Sequence[int], elements: int) -> tuple[int, ...]:
    """The shape with its one -1 worked out; ShapeError where the elements do not fit."""
    shown = list(sizes)
    wanted = f"reshape of {elements} elements to {shown}"
    for place, size in enumerate(sizes):
        if size < -1:
            said = f"invalid shape dimension {size} at index {place} of shape {shown}"
            raise ShapeError(wanted, mirrored(said))
    if sizes.count(-1) > 1:
        raise ShapeError(wanted, mirrored("only one dimension can be inferred"))
    known = prod(s for s in sizes if s != -1)
    if -1 in sizes and known == 0 and elements == 0:
        raise ShapeError(
            wanted,
            mirrored(
                f"cannot reshape tensor of 0 elements into shape {shown} because the unspecified "
                "dimension size "
                "-1 can be "
                "any value and is ambiguous"
            ),
        )
    fits = (known != 0 and elements % known == 0) if -1 in sizes else known == elements
    if not fits:
        raise ShapeError(wanted, mirrored(f"shape '{shown}' is invalid for input of size {elements}"))
    return tuple(elements // known if s == -1 else s for s in sizes)


@public("reshape", method=True, replay=True)
def reshape(input: Tensor, *shape: Any) -> Tensor:
    """The elements in row-major order under another shape; one size may be -1.

    A view where strides allow it.
    """
    return moves.reshape(input, inferred(sizes_of(shape, "reshape", "shape"), input.numel()))


@public("reshape_as", method=True, function=False, replay=True)
def reshape_as(input: Tensor, other: Tensor) -> Tensor:
    return moves.reshape(input, inferred(other.shape, input.numel()))


@public("flatten", method=True, replay="conversion")
def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Axes `start_dim` to `end_dim` made one."""
    start, end = (axis_of(d, input.ndim, "flatten") for d in (start_dim, end_dim))
    if start > end:
        raise ShapeError(
            f"flatten({start_dim}, {end_dim}) of a tensor of shape {list(input.shape)}",
            mirrored("flatten() has invalid args: start_dim cannot come after end_dim"),
        )
    sizes = input.shape
    return moves.reshape(input, (*sizes[:start], prod(sizes[start : end + 1]), *sizes[end + 1 :]))


@public("unflatten", method=True, replay=True)
def unflatten(input: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
    """One axis made several, whose sizes (one may be -1) multiply to its size."""
    axis = axis_of(dim, input.ndim, "unflatten")
    parts = sizes_of((sizes,), "unflatten", "sizes")
    if not parts:
        raise ShapeError("unflatten(sizes=())", mirrored("unflatten: sizes must be non-empty"))
    whole = input.shape[axis]
    if -1 not in parts and prod(parts) != whole:
        raise ShapeError(
            f"unflatten(dim={dim}) of a tensor of shape {list(input.shape)}",
            mirrored(
                f"unflatten: Provided sizes {list(parts)} don't multiply up to the size of dim {axis} "
                f"({whole}) "
                "in the input tensor"
            ),
        )
    return moves.reshape(input, (*input.shape[:axis], *inferred(parts, whole), *input.shape[axis + 1 :]))


@public("ravel", method=True, replay=True)
def ravel(input: Tensor) -> Tensor:
    """One axis with all elements."""
    return moves.reshape(input, (input.numel(),))


# ---- order of axes -----------------------------------------------------------------------------------------


@public("permute", method=True, replay=True)
def permute(input: Tensor, *dims: Any) -> Tensor:
    """Axis k of the result is axis `dims[k]` of the input."""
    wanted = sizes_of(dims, "permute", "dims")
    if len(wanted) != input.ndim:
        raise ShapeError(
            f"permute{tuple(wanted)} of a tensor of shape {list(input.shape)}",
            mirrored(
                "permute(sparse_coo): number of dimensions in the tensor input does not match the "
                "length of the "
                "desired "
                f"ordering of dimensions i.e. input.dim() = {input.ndim} is not equal to len(dims) = "
                f"{len(wanted)}"
            ),
        )
    axes = [axis_of(d, input.ndim, "permute") for d in wanted]
    if len(set(axes)) != len(axes):
        raise ShapeError(f"permute{tuple(axes)}", mirrored("permute(): duplicate dims are not allowed."))
    return moves.permute(input, axes)


@public("transpose", "swapaxes", "swapdims", method=True, replay=True)
def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """Two axes exchanged."""
    a, b = (axis_of(d, input.ndim, "transpose") for d in (dim0, dim1))
    order = list(range(input.ndim))
    if order:
        order[a], order[b] = b, a
    return moves.permute(input, order)


@public("movedim", "moveaxis", method=True, replay=True)
def movedim(input: Tensor, source: int | Sequence[int], destination: int | Sequence[int]) -> Tensor:
    """Axes taken to other places; the rest keep their order."""
    sources, places = (
        [axis_of(d, input.ndim, "movedim") for d in (given if isinstance(given, Sequence) else (given,))]
        for given in (source, destination)
    )
    if len(sources) != len(places):
        raise ShapeError(
            f"movedim({source}, {destination})",
            mirrored(
                f"movedim: Invalid source or destination dims: source ({sources} dims) should contain "
                "the same "
                "number of "
                f"dims as destination ({places} dims)"
            ),
        )
    for label, axes in (("source", sources), ("destination", places)):
        if len(set(axes)) != len(axes):
            raise ShapeError(
                f"movedim({source}, {destination})", mirrored(f"movedim: repeated dim in `{label}` ({axes})")
            )
    rest = iter(k for k in range(input.ndim) if k not in sources)
    moved = dict(zip(places, sources))
    return moves.permute(input, [moved[k] if k in moved else next(rest) for k in range(input.ndim)])


@public("t", method=True, replay=True)
def t(input: Tensor) -> Tensor:
    """The transpose of a matrix; vectors and 0-d tensors stay as they are."""
    return _transposed(input, "t")


def _transposed(input: Tensor, name: str) -> Tensor:
    if input.ndim > 2:
        raise ShapeError(
            f"{name}() of a tensor of shape {list(input.shape)}",
            mirrored(f"{name}() expects a tensor with <= 2 dimensions, but self is {input.ndim}D"),
            "use .mT or transpose(dim0, dim1)",
        )
    return moves.permute(input, range(input.ndim)[::-1])


@public("T", attribute=True, function=False, replay=True)
def T(input: Tensor) -> Tensor:
    """All axes in reverse order."""
    if input.ndim not in (0, 2):
        warn(
            "The use of `x.T` on tensors of dimension other than 2 to reverse their shape is deprecated and "
            "it will throw an error in a future release. Consider `x.mT` to transpose batches of matrices or "
            "`x.permute(*torch.arange(x.ndim - 1, -1, -1))` to reverse the dimensions of a tensor."
        )
    return moves.permute(input, range(input.ndim)[::-1])


@public("mT", attribute=True, function=False, replay=True)
def mT(input: Tensor) -> Tensor:
    """The last two axes exchanged; a 0-d tensor stays as it is."""
    return _of_matrices(input, "mT")


@public("mH", attribute=True, function=False, replay=True)
def mH(input: Tensor) -> Tensor:
    """The conjugate transpose of matrices; a 0-d tensor is conjugated."""
    turned: Tensor = conj(_of_matrices(input, "mH"))
    return turned


@public("adjoint", method=True, replay=True)
def adjoint(input: Tensor) -> Tensor:
    """The conjugate transpose of matrices: of real ones, the last two axes exchanged."""
    turned: Tensor = conj(_of_matrices(input, "adjoint()"))
    return turned


def _of_matrices(input: Tensor, name: str) -> Tensor:
    if input.ndim == 1:
        raise ShapeError(
            f".{name} of a tensor of shape {list(input.shape)}",
            mirrored(f"tensor.{name} is only supported on matrices or batches of matrices. Got 1-D tensor."),
        )
    return transpose(input, -2, -1) if input.ndim else transpose(input, -1, 0)


@public("H", attribute=True, function=False, replay=True)
def H(input: Tensor) -> Tensor:
    """The conjugate transpose of a matrix, which for real numbers is the transpose."""
    if input.ndim not in (0, 2):
        raise ShapeError(
            f".H of a tensor of shape {list(input.shape)}",
            mirrored(
                f"tensor.H is only supported on matrices (2-D tensors). Got {input.ndim}-D tensor."
                + (" For batches of matrices, consider using tensor.mH" if input.ndim > 2 else "")
            ),
        )
    turned: Tensor = conj(t(input))
    return turned


# ---- axes of size one, and repetition without copying ------------------------------------------------------


@public("squeeze", method=True, replay=True)
def squeeze(input: Tensor, *dim: Any) -> Tensor:
    """Without the axes of size 1; with `dim`, one axis or several, only without those of them."""
    given = sizes_of(dim, "squeeze", "dim") if dim else range(input.ndim)
    chosen = {axis_of(d, input.ndim, "squeeze") for d in given}
    return moves.reshape(input, [s for k, s in enumerate(input.shape) if s != 1 or k not in chosen])


@public("unsqueeze", method=True, replay=True)
def unsqueeze(input: Tensor, dim: int) -> Tensor:
    """With an axis of size 1 put in before axis `dim`."""
    place = axis_of(dim, input.ndim + 1, "unsqueeze")
    return moves.reshape(input, (*input.shape[:place], 1, *input.shape[place:]))


@public("expand", method=True, function=False, replay=True)
def expand(input: Tensor, *size: Any) -> Tensor:
    """Axes of size 1 repeated without copying; -1 keeps a size, new axes come first."""
    sizes = list(sizes_of(size, "expand"))
    lead = len(sizes) - input.ndim
    asked = f"expand({sizes}) of a tensor of shape {list(input.shape)}"
    if lead < 0:
        raise ShapeError(
            asked,
            mirrored(
                f"expand({legacy_name(input.dtype)}{{{list(input.shape)}}}, size={list(sizes)}): the number "
                f"of sizes provided ({len(sizes)}) must be greater or equal to the number of dimensions in "
                f"the tensor ({input.ndim})"
            ),
        )
    for k, size_k in enumerate(sizes):
        own = input.shape[k - lead] if k >= lead else None
        if size_k == -1 and own is None:
            raise ShapeError(
                asked,
                mirrored(
                    f"The expanded size of the tensor ({size_k}) isn't allowed in a leading, non-existing "
                    f"dimension {k}"
                ),
            )
        sizes[k] = own if size_k == -1 and own is not None else size_k
        if own not in (None, 1, sizes[k]):
            raise ShapeError(
                asked,
                mirrored(
                    f"The expanded size of the tensor ({sizes[k]}) must match the existing size ({own}) at "
                    "non-singleton "
                    f"dimension {k}.  Target sizes: {sizes}.  Tensor sizes: {list(input.shape)}"
                ),
            )
    return moves.expand(input, sizes)


@public("expand_as", method=True, function=False, replay=True)
def expand_as(input: Tensor, other: Tensor) -> Tensor:
    return expand(input, other.shape)


@public("broadcast_to", method=True, replay=True)
def broadcast_to(input: Tensor, size: Sequence[int]) -> Tensor:
    return expand(input, size)


@public("broadcast_shapes")
def broadcast_shapes(*shapes: int | Sequence[int]) -> Size:
    """The shape that tensors of these shapes have together, as a `Size`."""
    for shape in shapes:
        if not isinstance(shape, int | tuple | list):
            why = "Input shapes should be of type ints, a tuple of ints, or a list of ints, got"
            raise ArgumentError(mirrored(f"{why} {shape}"))
    given = [(s,) if isinstance(s, int) else tuple(s) for s in shapes]
    found = [1] * max(map(len, given), default=0)
    for k, shape in enumerate(given):
        for axis in range(-1, -1 - len(shape), -1):
            if shape[axis] in (1, found[axis]):
                continue
            if found[axis] != 1 or shape[axis] < 0:
                raise ShapeError(
                    mirrored(
                        f"Attempting to broadcast a dimension of length {shape[axis]} at {axis}! Mismatching "
                        f"argument at index {k} had {shape}; but expected shape should be broadcastable to "
                        f"{found}"
                    )
                )
            found[axis] = shape[axis]
    return Size(found)


@public("broadcast_tensors", replay=True)
def broadcast_tensors(*tensors: Any) -> tuple[Tensor, ...]:
    """Each tensor, expanded to their common shape."""
    given: Sequence[Tensor] = (
        tensors[0] if len(tensors) == 1 and isinstance(tensors[0], Sequence) else tensors
    )
    shape = joined_shape("broadcast_tensors", *(x.shape for x in given))
    return tuple(moves.expand(x, shape) for x in given)


# ---- the same in place -------------------------------------------------------------------------------------


def _in_place(function: Callable[..., Tensor], *names: str) -> None:
    """The methods that change a tensor's own axes, and leave its elements where they are."""

    def write(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        shown = grad_functions.name_of(grad_functions.FUNCTIONS[f"{names[0]}_"], (input, *args), kwargs)
        return rearrange(input, lambda x: function(x, *args, **kwargs), shown)

    for name in names:
        write.__doc__ = f"`{name}`, in place: the tensor's own axes change."
        public(f"{name}_", method=True, function=False, replay="axes")(wraps(function)(write))


_in_place(viewing(lambda input: _transposed(input, "t_")), "t")
_in_place(squeeze, "squeeze")
_in_place(unsqueeze, "unsqueeze")
_in_place(transpose, "transpose", "swapaxes", "swapdims")


# ---- views that must be views ------------------------------------------------------------------------------


@public("view", method=True, function=False, replay="view")
def view(input: Tensor, *shape: Any) -> Tensor:
    """The same memory under another shape, or, given a dtype, with its bits read otherwise (not recorded).

    Raises ShapeError where only a copy could have that shape.
    """
    if len(shape) == 1 and isinstance(shape[0], DType):
        return _bits(input, shape[0])
    result = reshape(input, *shape)
    if result is input or result._view is not None:  # it shows the operand's elements
        return result
    traced = isinstance(result._value, Node)
    if input.numel() and (traced or not share_memory(input._value, result._value)):
        raise ShapeError(
            f"view of a tensor of shape {list(input.shape)} and strides {input.stride()} as "
            f"{list(result.shape)}",
            mirrored(
                "view size is not compatible with input tensor's size and stride (at least one "
                "dimension spans "
                "across two "
                "contiguous subspaces). Use .reshape(...) instead."
            ),
        )
    return result


def _bits(input: Tensor, dtype: DType) -> Tensor:
    array = input.read("view(dtype)")
    if dtype.itemsize != array.itemsize and (wrong := _indivisible(input, dtype)):
        kinds = f"view {bare_legacy_name(input.dtype)} as {bare_legacy_name(dtype)}"
        raise DtypeError(mirrored(f"{wrong[0]} to {kinds} (different element sizes){wrong[1]}"))
    found = new(array.view(dtype.numpy), input)
    found._counter = counter_of(input)
    return found


def _indivisible(input: Tensor, dtype: DType) -> tuple[str, str] | None:
    """Why the elements along the last axis are no whole number of others of another size, in PyTorch's words,
    and what was found."""
    if not input.ndim:
        return "self.dim() cannot be 0", ""
    *outer, step = input.stride()
    if step != 1:
        return "self.stride(-1) must be 1", f", but got {step}"
    many = dtype.itemsize // input.element_size()
    asked = [("size(-1)", input.shape[-1]), ("storage_offset()", input.storage_offset())]
    asked += [(f"stride({axis})", each) for axis, each in enumerate(outer)]
    found = ((name, each) for name, each in asked if many > 1 and each % many)
    return next(((f"self.{name} must be divisible by {many}", f", but got {n}") for name, n in found), None)


@public("view_as", method=True, function=False, replay=True)
def view_as(input: Tensor, other: Tensor) -> Tensor:
    return view(input, other.shape)


@public("unfold", method=True, function=False, replay=True)
def unfold(input: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """Windows of `size` elements along an axis, `step` apart, along a new last axis."""
    axis = axis_of(dimension, input.ndim, "unfold")
    extent = input.shape[axis] if input.ndim else 1
    for wrong, words in (
        (size < 0, f"size is {size} but must be >= 0"),
        (size > extent, f"maximum size for tensor at dimension {axis} is {extent} but size is {size}"),
        (step <= 0, f"step is {step} but must be > 0"),
    ):
        if wrong:
            raise ShapeError(mirrored(words))
    return window(input if input.ndim else moves.reshape(input, (1,)), [axis], [size], [step], [1])
