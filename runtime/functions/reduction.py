"""Many elements become one: sums and products, logic, the greatest and the least.

A tensor and axes in (`dim`: an int, several, or None for all; `keepdim` leaves them with size 1), a tensor
out. Statistics (mean, variance, norms) are next door. `_reduced` does what is common; to add a reduction,
hand it an op.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from retrograd.compiler import dtypes
from retrograd.compiler.errors import ArgumentError, DimensionError, DtypeError, ShapeError, mirrored
from retrograd.compiler.ir.graph import Value
from retrograd.compiler.ops import extremum, scan, wide_scan
from retrograd.compiler.ops import reduce as ops
from retrograd.compiler.ops import shape as moves
from retrograd.compiler.ops.index import take_along
from retrograd.compiler.ops.iota import iota_like
from retrograd.compiler.ops.row import broadcast_shapes
from retrograd.compiler.ops.rows import rows
from retrograd.runtime.device import CPU
from retrograd.runtime.functions.public import (
    DimLike,
    axes_of,
    axis_of,
    integer,
    linalg,
    public,
    sizes_of,
    unshared,
)  # fmt: skip
from retrograd.runtime.functions.results import pair
from retrograd.runtime.functions.rows import APPLY
from retrograd.runtime.names import bare_legacy_name
from retrograd.runtime.tensor import Tensor

Reducer = Callable[[Value, Sequence[int]], Value]


def reduced(op: Reducer, x: Tensor, axes: Sequence[int], keepdim: bool) -> Tensor:
    """The reduction over axes from `axes_of`; a 0-d tensor is reduced as a vector of one element."""
    if not x.ndim:
        return op(moves.reshape(x, (1,)), (0,))
    result: Tensor = op(x, axes)
    if keepdim:
        result = moves.unsqueeze(result, axes)
        result._view = None  # of what nobody else has
    return result


def _accumulator(x: Tensor, dtype: object) -> Tensor:
    """The operand of a sum or product: in the dtype asked for; integers and booleans as int64."""
    if dtype is not None:
        return moves.cast(x, dtypes.dtype(dtype))
    return x if x.dtype.is_inexact else moves.cast(x, dtypes.int64)


@public("sum", method=True, replay=True)
def sum_(input: Tensor, dim: DimLike = None, keepdim: bool = False, *, dtype: object = None) -> Tensor:
    """The sum over axes. Integers and booleans sum to int64."""
    x = _accumulator(input, dtype)
    if x.dtype is dtypes.bool_:
        return any_(x, dim, keepdim)
    return reduced(ops.sum_, x, axes_of(dim, input.ndim, "sum"), keepdim)


@public("sum_to_size", method=True, function=False, replay=True)
def sum_to_size(input: Tensor, *size: Any) -> Tensor:
    """Summed over the axes along which a tensor of this size would be broadcast to the input's."""
    wanted = sizes_of(size, "sum_to_size")
    if broadcast_shapes("sum_to_size", input.shape, wanted) != tuple(input.shape):
        raise ShapeError(
            f"sum_to_size{wanted}",
            f"size {{{list(wanted)}}} is not expandable to size {{{list(input.shape)}}}.",
        )
    x = input if tuple(input.shape) == tuple(wanted) else _accumulator(input, None)
    return unshared(ops.sum_to(x, wanted), input)


@public("nansum", method=True, replay=True)
def nansum(input: Tensor, dim: DimLike = None, keepdim: bool = False, *, dtype: object = None) -> Tensor:
    """The sum over axes, of what is not NaN."""
    x = _accumulator(input, dtype)
    number = rows.where(rows.isnan(x), 0.0, x) if x.dtype.is_floating_point else x
    return reduced(ops.sum_, number, axes_of(dim, input.ndim, "nansum"), keepdim)


@public("prod", method=True, replay=True)
def prod(input: Tensor, dim: int | None = None, keepdim: bool = False, *, dtype: object = None) -> Tensor:
    """The product over an axis, or of everything. Integers and booleans multiply to int64."""
    axes = axes_of(dim if dim is None else integer(dim, "prod", "dim"), input.ndim, "prod")
    x = _accumulator(input, dtype)
    return all_(x, dim, keepdim) if x.dtype is dtypes.bool_ else reduced(ops.prod_, x, axes, keepdim)


@public("all", method=True, replay=True)
def all_(input: Tensor, dim: DimLike = None, keepdim: bool = False) -> Tensor:
    """Whether every element differs from zero: a bool, but of uint8 a uint8, as in PyTorch."""
    return _truth(ops.all_, input, axes_of(dim, input.ndim, "all"), keepdim)


@public("any", method=True, replay=True)
def any_(input: Tensor, dim: DimLike = None, keepdim: bool = False) -> Tensor:
    """Whether some element differs from zero: a bool, but of uint8 a uint8, as in PyTorch."""
    return _truth(ops.any_, input, axes_of(dim, input.ndim, "any"), keepdim)


def _truth(op: Reducer, input: Tensor, axes: Sequence[int], keepdim: bool) -> Tensor:
    truth = reduced(op, moves.cast(input, dtypes.bool_), axes, keepdim)
    return moves.cast(truth, dtypes.uint8) if input.dtype is dtypes.uint8 else truth


@public("count_nonzero", method=True, replay=True)
def count_nonzero(input: Tensor, dim: DimLike = None) -> Tensor:
    """How many elements differ from zero, as int64."""
    truth = moves.cast(input, dtypes.bool_)
    return reduced(
        ops.sum_, moves.cast(truth, dtypes.int64), axes_of(dim, input.ndim, "count_nonzero"), False
    )


# ---- the greatest and the least ----------------------------------------------------------------------------


def need_elements(name: str, input: Tensor, axes: Sequence[int]) -> None:
    """Raise if there is nothing along such an axis."""
    for axis in axes:
        if input.shape[axis] == 0:
            raise DimensionError(
                f"{name} of a tensor of shape {list(input.shape)}",
                mirrored(f"{name}(): Expected reduction dim {axis} to have non-zero size."),
            )


def _need_some(name: str, input: Tensor) -> None:
    if not input.numel():
        raise (DimensionError if name.startswith("arg") else ShapeError)(
            f"{name} of a tensor of shape {list(input.shape)}",
            mirrored(
                f"{name}(): Expected reduction dim to be specified for input.numel() == 0."
                if name.startswith("arg")
                else f"{name}(): Expected reduction dim to be specified for input.numel() == 0. "
                "Specify the reduction dim with the 'dim' argument."
            ),
        )


def _extremum(name: str, op: Reducer) -> Callable[..., Tensor]:
    @public(name, method=True, replay=True)
    def extreme(input: Tensor, dim: DimLike = None, keepdim: bool = False) -> Tensor:
        axes = axes_of(dim, input.ndim, name)
        if dim is None or dim == ():
            _need_some(name, input)
        if input.ndim:  # in the user's words
            need_elements(name, input, axes if dim is None else [dim] if isinstance(dim, int) else dim)
        return reduced(op, input, axes, keepdim)

    extreme.__doc__ = (
        f"The {'greatest' if name == 'amax' else 'least'} element over axes; ties share the gradient."
    )
    return extreme


amax = _extremum("amax", ops.amax)
amin = _extremum("amin", ops.amin)


@public("aminmax", method=True, replay=True)
def aminmax(input: Tensor, *, dim: int | None = None, keepdim: bool = False) -> Any:
    """The least and the greatest element, a pair `(min, max)`."""
    return pair("aminmax", amin(input, dim, keepdim), amax(input, dim, keepdim))


def _place(name: str, op: Callable[[Value, int], Value]) -> Callable[..., Tensor]:
    @public(name, method=True, replay=True)
    def place(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
        if dim is None:
            _need_some(name, input)
            found = op(moves.reshape(input, (input.numel(),)), 0)
            return moves.reshape(found, (1,) * input.ndim) if keepdim else found
        axis = axis_of(dim, input.ndim, name)
        if not input.ndim:
            return moves.reshape(op(moves.reshape(input, (1,)), 0), ())
        need_elements(name, input, (axis,))
        found = op(input, axis)
        return moves.unsqueeze(found, [axis]) if keepdim else found

    most = "greatest" if name == "argmax" else "least"
    place.__doc__ = f"The index (int64) of the {most} element, the first of equal ones."
    return place


argmax = _place("argmax", extremum.argmax)
argmin = _place("argmin", extremum.argmin)


def _best(name: str, whole: Reducer, place: Callable[..., Tensor], row: str) -> Callable[..., Any]:
    @public(name, method=True, replay=True)
    def best(input: Tensor, dim: Any = None, keepdim: bool = False, *, other: Tensor | None = None) -> Any:
        second = dim if isinstance(dim, Tensor) else other
        if second is not None and keepdim is not False:
            raise ArgumentError(f"{name}(…, keepdim={keepdim!r}) of two tensors", "no dim is reduced")
        if second is not None:
            return APPLY[row](input, second)
        if input.dtype.is_complex:
            words = f"\"{name}_all\" not implemented for '{bare_legacy_name(input.dtype)}'"
            raise DtypeError(mirrored(words if dim is None else f"{name}(): does not support complex input"))
        if dim is None:
            _need_some(name, input)
            return reduced(whole, input, range(input.ndim), keepdim=False)
        axis = axis_of(dim, input.ndim, name)
        need_elements(name, input, [axis] if input.ndim else [])
        indices = place(input, axis)
        if not input.ndim:
            return pair(name, input.clone(), indices)
        along = moves.unsqueeze(indices, [axis])
        values = take_along(input, along, axis)
        shown = (values, along) if keepdim else (moves.squeeze(values, [axis]), indices)
        return pair(name, *shown)

    best.__doc__ = (
        f"The {name} of all elements; with `dim`, the pair `(values, indices)` along it, whose gradient goes "
        "to the "
        f"element chosen; with another tensor, the {row} of the two."
    )
    return best


max_ = _best("max", ops.greatest, argmax, "maximum")
min_ = _best("min", ops.least, argmin, "minimum")


# ---- running -----------------------------------------------------------------------------------------------


def _scanned(kind: str, input: Tensor, dim: int, name: str = "", reverse: bool = False) -> Tensor:
    """The scan along an axis; of float32 in float64 and rounded at last, as PyTorch's on a CPU."""
    axis = axis_of(dim, input.ndim, name or kind)
    line = input if input.ndim else moves.reshape(input, (1,))
    wide = line.dtype is dtypes.float32 and line.device == CPU
    found = (wide_scan.wide_scan if wide else wide_scan.scan)(kind, line, axis, reverse)
    return moves.reshape(found, input.shape)


@public("cumsum", method=True, inplace=True, replay=True)
def cumsum(input: Tensor, dim: int, *, dtype: object = None) -> Tensor:
    """The sums of the first element, the first two, … along an axis."""
    return _scanned("cumsum", _accumulator(input, dtype), dim)


@public("cumprod", method=True, inplace=True, replay=True)
def cumprod(input: Tensor, dim: int, *, dtype: object = None) -> Tensor:
    """The products of the first element, the first two, … along an axis."""
    return _scanned("cumprod", _accumulator(input, dtype), dim)


@public("vander", replay=True)
def vander(x: Tensor, N: int | None = None, increasing: bool = False) -> Tensor:
    """The powers of a vector's elements along a new last axis: from `N - 1` down to 0, or up."""
    size = x.shape[0] if N is None else integer(N, "vander", "N")
    if size < 0:
        raise ShapeError(mirrored("N must be non-negative."))
    return _powers(x, size, falling=not increasing)


@linalg("vander")
def _vander(x: Tensor, *, N: int | None = None) -> Tensor:
    """The powers of each element along a new last axis, from 0 up to `N - 1`, for N greater than 1."""
    line = x if x.ndim else moves.reshape(x, (1,))
    size = line.shape[-1] if N is None else integer(N, "vander", "N")
    if size < 2:
        raise ShapeError(mirrored("N must be greater than 1."))
    return _powers(line, size, falling=False)


def _powers(x: Tensor, size: int, falling: bool) -> Tensor:
    """Running products of 1 and elements, from the end if they are `falling`; of whole numbers in int64."""
    wide = x if x.dtype.is_inexact else moves.cast(x, dtypes.int64)
    factors = moves.expand(moves.unsqueeze(wide, [x.ndim]), (*x.shape, size))
    first = rows.eq(iota_like(factors, x.ndim), size - 1 if falling else 0)
    return _scanned("cumprod", rows.where(first, 1, factors), -1, "vander", reverse=falling)


@public("logcumsumexp", method=True, replay=True)
def logcumsumexp(input: Tensor, dim: int) -> Tensor:
    """The logarithms of the running sums of exponentials."""
    return _scanned("logcumsumexp", input, dim)


def _running(name: str, op: Callable[[Value, int], Value]) -> Callable[..., Any]:
    @public(name, method=True, replay=True)
    def running(input: Tensor, dim: int) -> Any:
        axis = axis_of(dim, input.ndim, name)
        line = input if input.ndim else moves.reshape(input, (1,))
        values = op(line, axis)
        indices = scan.running_index(line, values, axis)
        return pair(name, moves.reshape(values, input.shape), moves.reshape(indices, input.shape))

    running.__doc__ = (
        f"The {name[3:]}imum so far along an axis and where it stands last: a pair `(values, indices)`."
    )
    return running


cummax = _running("cummax", scan.cummax)
cummin = _running("cummin", scan.cummin)
