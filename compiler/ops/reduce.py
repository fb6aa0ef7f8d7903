"""Reductions: many elements along some axes become one. The axes vanish; `keepdim` is the caller's reshape.

A reduction names the elementwise row that combines two elements and the value that changes nothing, and that
is all that lowering needs. To add one, add a class.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import prod
from typing import Any, ClassVar

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.dtypes import DType
from retrograd.compiler.errors import DimensionError, DtypeError, ShapeError
from retrograd.compiler.ir.arrays import in_order, ordered
from retrograd.compiler.ir.graph import Array, Fixed, Op, Type, Value, apply, register
from retrograd.compiler.ops.complexes import conj
from retrograd.compiler.ops.half import in_float32
from retrograd.compiler.ops.rows import rows
from retrograd.compiler.ops.scan import cumprod, shift
from retrograd.compiler.ops.shape import cast, expand, permute, reshape, unsqueeze
from retrograd.compiler.record import record


@record
class Reduction(Op):
    """One operand, reduced over `axes` (sorted, not negative, each once)."""

    combine: ClassVar[str]
    """The row that joins two elements."""
    numpy: ClassVar[Callable[..., Any]]
    categories: ClassVar[tuple[int, ...]] = (0, 1, 2)
    """Categories of dtypes that it takes (see DType)."""
    axes: tuple[int, ...]

    def identity(self, dtype: DType) -> bool | int | float:
        """The value that combining leaves unchanged."""
        raise NotImplementedError

    def infer(self, *types: Type) -> Type:
        (x,) = types
        if any(not 0 <= a < x.ndim for a in self.axes) or sorted(set(self.axes)) != list(self.axes):
            raise DimensionError(
                f"{self.name} of {x} over axes {self.axes}", "they are not distinct axes of the tensor"
            )
        if x.dtype.category not in self.categories:
            raise DtypeError(
                f"{self.name} of {x}", f"it is not defined for {x.dtype}", "cast the tensor with .to(dtype)"
            )
        return x.with_shape(size for k, size in enumerate(x.shape) if k not in self.axes)

    @in_float32
    def evaluate(self, *arrays: Array) -> Array:
        return in_order(self.reduced(arrays[0]))

    def reduced(self, x: Array) -> Array:
        """The value, in NumPy, of what is not of half precision."""
        return np.asarray(type(self).numpy(x, axis=self.axes))


@register
@record
class Sum(Reduction):
    name = "sum"
    combine = "add"
    categories = (1, 2, 3)

    def identity(self, dtype: DType) -> float:
        return 0

    def reduced(self, x: Array) -> Array:
        return np.asarray(np.add.reduce(x, self.axes, x.dtype))

    def function(self, types: Sequence[Type]) -> Callable[..., Array] | None:
        compute = partial(np.add.reduce, axis=self.axes, dtype=types[0].dtype.numpy)
        return compute if types[0].ndim - len(self.axes) < 2 else ordered(compute)

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        return [spread(cotangent, self.axes, inputs[0].shape)]


@register
@record
class Prod(Reduction):
    name = "prod"
    combine = "mul"
    categories = (1, 2, 3)

    def identity(self, dtype: DType) -> float:
        return 1

    def reduced(self, x: Array) -> Array:
        return np.asarray(np.multiply.reduce(x, self.axes, x.dtype))

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        """∂/∂x[j] is the product of what is before j times that of what is after: right at zeros too."""
        (x,) = inputs
        kept = [k for k in range(len(x.shape)) if k not in self.axes]
        order = [*kept, *self.axes]
        last = permute(x, order)
        line = reshape(last, (*(x.shape[k] for k in kept), prod(x.shape[k] for k in self.axes)))
        axis = len(kept)
        before, after = (shift(cumprod(line, axis, back), axis, back, fill=1.0) for back in (False, True))
        grad = reshape(unsqueeze(cotangent, [axis]) * conj(before) * conj(after), last.shape)
        return [permute(grad, [order.index(k) for k in range(len(order))])]


class _Logical(Fixed, Reduction):
    categories = (0,)


@register
@record
class Any_(_Logical):
    """Whether some element is true."""

    name = "any"
    combine = "logical_or"
    numpy = np.any

    def identity(self, dtype: DType) -> bool:
        return False


@register
@record
class All(_Logical):
    """Whether every element is true."""

    name = "all"
    combine = "logical_and"
    numpy = np.all

    def identity(self, dtype: DType) -> bool:
        return True


class _Extremum(Reduction):
    categories = (0, 1, 2)

    def infer(self, *types: Type) -> Type:
        if any(types[0].shape[a] == 0 for a in self.axes):
            raise ShapeError(
                f"{self.name} of {types[0]} over axes {self.axes}", "there is no element to choose from"
            )
        return super().infer(*types)

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        """Ties share the cotangent evenly, as in torch.amax; where NaN is the greatest, nothing equals it."""
        (x,) = inputs
        chosen = cast(self.chosen(x, spread(out, self.axes, x.shape)), dtypes.of(x))
        share = cotangent / sum_(chosen, self.axes)
        return [chosen * spread(share, self.axes, x.shape)]

    def chosen(self, x: Value, best: Value) -> Value:
        """The elements that share the cotangent."""
        return rows.eq(x, best)


@register
@record
class Amax(_Extremum):
    """The greatest element; NaN if there is one."""

    name = "amax"
    combine = "maximum"
    numpy = np.amax

    def identity(self, dtype: DType) -> float:
        return dtype.least


@register
@record
class Amin(_Extremum):
    """The least element; NaN if there is one."""

    name = "amin"
    combine = "minimum"
    numpy = np.amin

    def identity(self, dtype: DType) -> float:
        return dtype.greatest


class _OfAll(_Extremum):
    """As `torch.max` and `torch.min` of all elements: NaN shares with NaN."""

    def chosen(self, x: Value, best: Value) -> Value:
        found = rows.eq(x, best)
        return rows.logical_or(found, rows.isnan(x)) if dtypes.of(x).is_floating_point else found


@register
@record
class Greatest(_OfAll, Amax):
    name = "max"


@register
@record
class Least(_OfAll, Amin):
    name = "min"


# ---- as functions of values of any level -------------------------------------------------------------------


def sum_(x: Value, axes: Sequence[int]) -> Value:
    return apply(Sum(tuple(axes)), x) if axes else x


def amax(x: Value, axes: Sequence[int]) -> Value:
    return apply(Amax(tuple(axes)), x) if axes else x


def amin(x: Value, axes: Sequence[int]) -> Value:
    return apply(Amin(tuple(axes)), x) if axes else x


def greatest(x: Value, axes: Sequence[int]) -> Value:
    return apply(Greatest(tuple(axes)), x) if axes else x


def least(x: Value, axes: Sequence[int]) -> Value:
    return apply(Least(tuple(axes)), x) if axes else x


def spread(value: Value, axes: Sequence[int], shape: Sequence[int]) -> Value:
    """A reduced value, repeated along the reduced axes."""
    return expand(unsqueeze(value, axes), shape)


def prod_(x: Value, axes: Sequence[int]) -> Value:
    return apply(Prod(tuple(axes)), x) if axes else x


def any_(x: Value, axes: Sequence[int]) -> Value:
    return apply(Any_(tuple(axes)), x) if axes else x


def all_(x: Value, axes: Sequence[int]) -> Value:
    return apply(All(tuple(axes)), x) if axes else x


def sum_to(x: Value, shape: Sequence[int]) -> Value:
    """Undo a broadcast: sum over the axes along which `shape` was repeated. Done here and nowhere else."""
    if tuple(x.shape) == tuple(shape):
        return x
    lead = len(x.shape) - len(shape)
    repeated = [k for k, size in enumerate(x.shape) if k < lead or shape[k - lead] != size]
    return reshape(sum_(x, repeated), shape)
