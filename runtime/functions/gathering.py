"""Reads and writes through integer tensors along an axis: gather, scatter, index_select, index_add,
masked_fill, …

Tensors in, tensors out; each function brings its operands to the form that the ops of `compiler/ops/index.py`
take. Where indices repeat, a replacing write keeps the last one. To add a function, write it with `take`,
`put` and their kin.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.errors import ArgumentError, DimensionError, DtypeError, ShapeError, mirrored
from retrograd.compiler.ops import index as places
from retrograd.compiler.ops import shape as moves
from retrograd.compiler.ops.demands import places as within
from retrograd.compiler.ops.elementwise import broadcast_shapes
from retrograd.compiler.ops.joined import JOINS, put_along, put_along_joined
from retrograd.compiler.ops.rows import rows
from retrograd.runtime.eager.kernels import stored
from retrograd.runtime.functions.public import axis_of, public
from retrograd.runtime.names import C_NAMES, bare_legacy_name
from retrograd.runtime.tensor import Tensor, new

Source = Tensor | bool | int | float | complex


_INDEX_TYPE = {
    "one_hot": "one_hot is only applicable to index tensor of type LongTensor.",
    "index_select": "index_select(): Expected dtype int32 or int64 for index",
    "index_add": "index_add_(): Expected dtype int32/int64 for index but got: {}",
    "index_copy": "index_copy_(): Expected a long tensor for index, but got {}",
    "take": "take(): Expected a long tensor for index, but got {}",
    "take_along_dim": "torch.take_along_dim(): dtype of indices should be Long but got {}",
    "scatter_add": "scatter(): Expected dtype int32/int64 for index",
}
"""What functions say of an index of another dtype, where they have words of their own."""


def as_index(index: Tensor, name: str) -> Tensor:
    """An index of a dtype that the ops take."""
    if index.dtype not in (dtypes.int64, dtypes.int32):
        raise DtypeError(
            f"{name} by an index of {index.dtype}",
            mirrored(
                _INDEX_TYPE.get(name, f"{name}(): Expected dtype int32/int64 for index").format(
                    bare_legacy_name(index.dtype)
                )
            ),
            "cast it with .long()",
        )
    return index


def _within(index: Tensor, told: str, input: Tensor, axis: int) -> Tensor:
    """The index, if it is one into this axis."""
    return within(index, told, axis, input.shape[axis] if input.ndim else 1)


def like(value: Source, input: Tensor) -> Tensor:
    """A number as a 0-d tensor of the input's dtype; a tensor as it is, cast."""
    if isinstance(value, Tensor):
        return moves.cast(value, input.dtype)
    return new(stored(value, input.dtype.numpy), input)


def everywhere(value: Source, input: Tensor, shape: Sequence[int]) -> Tensor:
    """A number on the input's device, at every place of a shape."""
    return moves.expand(like(value, input), shape)


def _same_rank(name: str, input: Tensor, index: Tensor, called: str = "input") -> None:
    if max(index.ndim, 1) != max(input.ndim, 1):
        raise ShapeError(
            f"{name} of shapes {list(input.shape)} and {list(index.shape)}",
            mirrored(f"Index tensor must have the same number of dimensions as {called} tensor"),
        )


def _fits(name: str, label: str, index: Tensor, other: Tensor, apart: int | None) -> None:
    """The index is no larger than `other`, except along the axis `apart`."""
    for k, (size, bound) in enumerate(zip(index.shape, other.shape)):
        if size > bound and k != apart:
            raise ShapeError(
                f"{name} of shapes {list(other.shape)} and {list(index.shape)}",
                mirrored(
                    f"Size does not match at dimension {k} expected index {list(index.shape)} to be "
                    "no larger "
                    f"than {label} "
                    f"{list(other.shape)}" + ("" if apart is None else f" apart from dimension {apart}")
                ),
            )


def _lined(*values: Tensor) -> list[Tensor]:
    """0-d tensors as vectors of one element."""
    return [x if x.ndim else moves.reshape(x, (1,)) for x in values]


@public("gather", method=True, replay=True)
def gather(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """`out[i][j][k] = input[i][index[i][j][k]][k]` for `dim` 1, and so on.

    The result has the index's shape.
    """
    axis = axis_of(dim, input.ndim, "gather")
    _same_rank("gather", input, index)
    _fits("gather", "self", index, input, axis)
    x, place = _lined(input, _within(as_index(index, "gather"), "places", input, axis))
    return moves.reshape(places.take_along(x, place, axis), index.shape)


def _scatter_operands(
    name: str, input: Tensor, dim: int, index: Tensor, src: Source
) -> tuple[int, Tensor, Tensor, Tensor]:
    """The axis, the index, the values (cut to the index's shape) and the input, none of them 0-d."""
    axis = axis_of(dim, input.ndim, name)
    told = name.removesuffix("_reduce")
    chosen = as_index(index, told)
    _same_rank(name, input, index, "self")
    _fits(name, "self", index, input, axis)
    x, place = _lined(input, _within(chosen, "places", input, axis))
    if not isinstance(src, Tensor):
        return axis, x, place, everywhere(src, input, place.shape)
    if src.dtype is not input.dtype:
        raise DtypeError(
            f"{name} of {src.dtype} into {input.dtype}",
            mirrored(f"{told}(): Expected self.dtype to be equal to src.dtype"),
            "cast one of them with .to(dtype)",
        )
    _same_rank(name, src, index, "src")
    _fits(name, "src", index, src, None)
    (values,) = _lined(src)
    part = moves.slice_(values, [0] * place.ndim, place.shape, [1] * place.ndim)
    return axis, x, place, values if values.shape == place.shape else part


@public("scatter", method=True, inplace=True, replay=True)
def scatter(
    input: Tensor, dim: int, index: Tensor, src: Source | None = None, *, value: Source | None = None,
    reduce: str | None = None,
) -> Tensor:  # fmt: skip
    """The input with `src`, or the number `value`, written where the index says: `gather`'s opposite.

    `reduce` "add" or "multiply" combines with what is there.
    """
    given = src if src is not None else value
    if given is None:
        raise ArgumentError("scatter()", "scatter() needs src or value")
    if reduce is not None:
        names = {"add": "sum", "multiply": "prod"}
        if reduce not in names:
            raise ArgumentError(
                f"scatter(reduce={reduce!r})", mirrored("reduce argument must be either add or multiply.")
            )
        whole = given if isinstance(given, Tensor) else everywhere(given, input, index.shape)
        return scatter_reduce(input, dim, index, whole, names[reduce])
    axis, x, place, values = _scatter_operands("scatter", input, dim, index, given)
    return moves.reshape(put_along(x, place, values, axis), input.shape)


def _added(x: Tensor, place: Tensor, values: Tensor, axis: int) -> Tensor:
    """Values summed where they meet, in a tensor of the shape of `x`, zero elsewhere."""
    found = places.put_along_add(values, place, axis, x.shape[axis])
    high = [size - own for size, own in zip(x.shape, found.shape)]
    return moves.pad(found, [0] * x.ndim, high, [0] * x.ndim)


@public("scatter_add", method=True, inplace=True, replay=True)
def scatter_add(input: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """The input plus the values of `src`, each added where the index says."""
    axis, x, place, values = _scatter_operands("scatter_add", input, dim, index, src)
    return moves.reshape(x + _added(x, place, values, axis), input.shape)


@public("scatter_reduce", method=True, inplace=True, replay=True)
def scatter_reduce(
    input: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """The values that meet at one place combined by "sum", "prod", "mean", "amax" or "amin"."""
    if reduce not in ("sum", "mean", *JOINS):
        raise ArgumentError(
            f"scatter_reduce(reduce={reduce!r})",
            mirrored(f"reduce argument must be either sum, prod, mean, amax or amin, got {reduce}"),
        )
    axis, x, place, values = _scatter_operands("scatter_reduce", input, dim, index, src)
    if reduce in JOINS:
        return moves.reshape(_joined(x, place, values, axis, reduce, include_self), input.shape)
    count = _added(x, place, everywhere(1, x, place.shape), axis)
    touched = rows.gt(count, like(0, x))
    start = x if include_self else rows.where(touched, like(0, x), x)
    total = start + _added(x, place, values, axis)
    counted = count + like(1, x) if include_self else rows.where(touched, count, like(1, x))
    return moves.reshape(total if reduce == "sum" else _divided(total, counted), input.shape)


def _divided(total: Tensor, count: Tensor) -> Tensor:
    if total.dtype.is_inexact:
        return rows.div(total, count)
    return rows.floor_divide(total, count)


def _joined(x: Tensor, place: Tensor, values: Tensor, axis: int, how: str, with_self: bool) -> Tensor:
    """`x`, and in the region that the index covers what is joined there."""
    region = [x.shape[k] if k == axis else size for k, size in enumerate(place.shape)]
    if region == list(x.shape):
        return put_along_joined(x, place, values, axis, how, with_self)
    own = moves.slice_(x, [0] * x.ndim, region, [1] * x.ndim)
    found = put_along_joined(own, place, values, axis, how, with_self)
    inside = np.zeros(x.shape, bool)
    inside[tuple(map(slice, region))] = True
    high = [size - reach for size, reach in zip(x.shape, region)]
    whole = moves.pad(found, [0] * x.ndim, high, [0] * x.ndim)
    result: Tensor = rows.where(new(inside, x), whole, x)
    return result


# ---- one index for a whole slice ---------------------------------------------------------------------------


def _vector(name: str, index: Tensor) -> Tensor:
    if index.ndim > 1:
        raise DimensionError(
            f"{name} by an index of shape {list(index.shape)}",
            mirrored(
                f"{name}(): Index is supposed to be a vector"
                + ("" if name == "index_select" else f", but got dim: {index.ndim}")
            ),
        )
    return _lined(as_index(index, name))[0]


@public("index_select", method=True, replay=True)
def index_select(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """The slices at these indices along `dim`, in their order."""
    axis = axis_of(dim, input.ndim, "index_select")
    (x,) = _lined(input)
    vector = _vector("index_select", index)
    if not input.ndim and vector.numel() != 1:
        why = f"index_select(): Index to scalar can have only 1 value, got {vector.numel()} value(s)"
        raise ShapeError(f"index_select of a 0-d tensor by {vector.numel()} indices", mirrored(why))
    picked = places.take(x, _within(vector, "rows", x, axis), axis)
    return moves.reshape(picked, ()) if not input.ndim and picked.numel() == 1 else picked


def _index_operands(
    name: str, input: Tensor, dim: int, index: Tensor, source: Tensor
) -> tuple[int, Tensor, Tensor]:
    """The axis, the index as a vector, and the source of the input's dtype, its shape checked."""
    axis = axis_of(dim, input.ndim, name)
    vector = _vector(name, index)
    wanted = [vector.numel() if k == axis else size for k, size in enumerate(input.shape)] or [1]
    if list(source.shape) not in (wanted, [] if wanted == [1] else wanted):
        raise ShapeError(
            f"{name} of a source of shape {list(source.shape)} into {list(input.shape)} at {vector.numel()} "
            "indices",
            mirrored(
                f"{name}_(): Number of indices ({vector.numel()}) should be equal to source.size(dim): "
                f"({source.shape[axis]}), for dim: {axis}"
            )
            if source.ndim == input.ndim and source.shape[axis] != vector.numel()
            else f"{name}(): the source must have shape {wanted}",
        )
    if source.dtype is not input.dtype:
        raise DtypeError(
            f"{name} of {source.dtype} into {input.dtype}",
            f"{name}(): self and source expected to have the same dtype, but got (self) {input.dtype} and "
            f"(source) {source.dtype}",
            "cast one of them with .to(dtype)",
        )
    return axis, vector, moves.reshape(source, wanted)


@public("index_add", method=True, inplace=True, replay=True)
def index_add(input: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: float = 1) -> Tensor:
    """The input with `alpha` times the slices of `source` added at these indices along `dim`."""
    axis, vector, values = _index_operands("index_add", input, dim, index, source)
    (x,) = _lined(input)
    vector = _within(vector, "rows" if x.ndim == 1 else "places", x, axis)
    scaled = values if alpha == 1 else values * like(alpha, x)
    return moves.reshape(x + places.put_add(scaled, vector, axis, x.shape[axis]), input.shape)


def _replaced(x: Tensor, axis: int, index: Tensor, values: Tensor) -> Tensor:
    """`put` along any axis; `values` has the axis of the indices in the place of that axis, or is 0-d."""
    front = moves.swap_axes(x, 0, axis)
    spread = values if not values.ndim else moves.swap_axes(values, 0, axis)
    return moves.swap_axes(places.put(front, index, spread), 0, axis).contiguous()


@public("index_copy", method=True, inplace=True, replay=True)
def index_copy(input: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """The input with the slices of `source` in place of those at these indices along `dim`."""
    axis, vector, values = _index_operands("index_copy", input, dim, index, source)
    (x,) = _lined(input)
    return moves.reshape(_replaced(x, axis, _within(vector, "index_copy", x, axis), values), input.shape)


@public("index_fill", method=True, inplace=True, replay=True)
def index_fill(input: Tensor, dim: int, index: Tensor, value: Source) -> Tensor:
    """The input with a number, or 0-d tensor, in the slices at these indices along `dim`."""
    axis = axis_of(dim, input.ndim, "index_fill")
    if isinstance(value, Tensor) and value.ndim:
        raise ShapeError(
            f"index_fill with a value of shape {list(value.shape)}",
            mirrored(
                f"index_fill_ only supports a 0-dimensional value tensor, but got tensor with {value.ndim} "
                "dimension(s)."
            ),
        )
    filled = _replaced(_lined(input)[0], axis, _vector("index_fill", index), like(value, input))
    return moves.reshape(filled, input.shape)


@public("take", method=True, replay=True)
def take(input: Tensor, index: Tensor) -> Tensor:
    """The elements at these places of the flattened input; the result has the index's shape."""
    if not input.numel() and index.numel():
        raise DimensionError(
            f"take of a tensor of shape {list(input.shape)}",
            mirrored("take(): tried to take from an empty tensor"),
        )
    flat = moves.reshape(input, (input.numel(),))
    return places.take(flat, _within(as_index(index, "take"), "elements", flat, 0), 0)


@public("put", method=True, inplace=True, function=True, replay=True)
def put(input: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Tensor:
    """The input with elements at places of its flattened form replaced, or added to."""
    flat = moves.reshape(input, (input.numel(),))
    place = moves.reshape(_within(as_index(index, "put"), "elements", flat, 0), (index.numel(),))
    if source.numel() != index.numel():
        raise ShapeError(
            f"put of {source.numel()} elements at {index.numel()} places",
            "put_(): Expected source and index to have the same number of elements",
        )
    values = moves.reshape(like(source, input), (source.numel(),))
    written = (
        flat + places.put_add(values, place, 0, flat.shape[0])
        if accumulate
        else places.put(flat, place, values)
    )
    return moves.reshape(written, input.shape)


@public("take_along_dim", method=True, replay=True)
def take_along_dim(input: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    """As `gather`, where the other axes of both operands broadcast; without `dim`, of the flattened input."""
    if dim is None:
        return take(input, moves.reshape(indices, (indices.numel(),)))
    axis = axis_of(dim, input.ndim, "take_along_dim")
    _same_rank("take_along_dim", input, indices)
    apart = (axis,)
    common = broadcast_shapes(
        "take_along_dim",
        *(tuple(1 if k in apart else s for k, s in enumerate(x.shape)) for x in (input, indices)),
    )

    def spread(x: Tensor) -> Tensor:
        return moves.expand(x, [x.shape[k] if k in apart else s for k, s in enumerate(common)])

    return places.take_along(spread(input), spread(as_index(indices, "take_along_dim")), axis)


# ---- masks -------------------------------------------------------------------------------------------------


@public("masked_fill", method=True, inplace=True, replay=True)
def masked_fill(input: Tensor, mask: Tensor, value: Source) -> Tensor:
    """The input with a number, or 0-d tensor, where the mask is true; the two broadcast."""
    broadcast_shapes("masked_fill", mask.shape, input.shape)
    if mask.dtype is not dtypes.bool_:
        raise DtypeError(
            f"masked_fill by a mask of {mask.dtype}",
            mirrored(
                f"masked_fill_ only supports boolean masks, but got mask with dtype {C_NAMES[mask.dtype]}"
            ),
            "compare it, as in mask != 0",
        )
    if isinstance(value, Tensor) and value.ndim:
        raise ShapeError(
            f"masked_fill with a value of shape {list(value.shape)}",
            mirrored(
                f"masked_fill_ only supports a 0-dimensional value tensor, but got tensor with {value.ndim} "
                "dimension(s)."
            ),
            "use where(mask, value, input)",
        )
    filled: Tensor = rows.where(mask, like(value, input), input)
    return filled
