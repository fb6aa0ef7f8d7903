"""Reductions: many elements along some axes become one. The axes vanish; `keepdim` is a reshape put on by the caller.

A reduction names the elementwise row that combines two elements and the value that changes nothing, and that is all
that lowering needs. To add one, add a class.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.dtypes import DType
from retrograd.compiler.errors import DimensionError, DtypeError, ShapeError
from retrograd.compiler.ir.graph import OPS, Array, Op, Type, Value, apply, register
from retrograd.compiler.ops.shape import cast, expand, reshape, unsqueeze


@dataclass(frozen=True)
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
            raise DimensionError(f"{self.name} of {x} over axes {self.axes}", "they are not distinct axes of the tensor")
        if x.dtype.category not in self.categories:
            raise DtypeError(f"{self.name} of {x}", f"it is not defined for {x.dtype}", "cast the tensor with .to(dtype)")
        return x.with_shape(size for k, size in enumerate(x.shape) if k not in self.axes)

    def evaluate(self, *arrays: Array) -> Array:
        return np.asarray(type(self).numpy(arrays[0], axis=self.axes))


def _spread(value: Value, axes: Sequence[int], shape: Sequence[int]) -> Value:
    """A reduced value, repeated along the reduced axes."""
    return expand(unsqueeze(value, axes), shape)


@register
@dataclass(frozen=True)
class Sum(Reduction):
    name = "sum"
    combine = "add"
    categories = (1, 2)

    def identity(self, dtype: DType) -> float:
        return 0

    def evaluate(self, *arrays: Array) -> Array:
        return np.asarray(arrays[0].sum(axis=self.axes, dtype=arrays[0].dtype))

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        return [_spread(cotangent, self.axes, inputs[0].shape)]


class _Extremum(Reduction):
    categories = (0, 1, 2)

    def infer(self, *types: Type) -> Type:
        if any(types[0].shape[a] == 0 for a in self.axes):
            raise ShapeError(f"{self.name} of {types[0]} over axes {self.axes}", "there is no element to choose from")
        return super().infer(*types)

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        """Ties share the cotangent evenly, as in torch.amax."""
        (x,) = inputs
        chosen = apply(OPS["eq"], x, _spread(out, self.axes, x.shape))
        share = cotangent / sum_(cast(chosen, dtypes.of(x)), self.axes)
        return [apply(OPS["where"], chosen, _spread(share, self.axes, x.shape), 0.0)]


@register
@dataclass(frozen=True)
class Amax(_Extremum):
    """The greatest element; NaN if there is one."""

    name = "amax"
    combine = "maximum"
    numpy = np.amax

    def identity(self, dtype: DType) -> float:
        return -np.inf if dtype.is_floating_point else (int(np.iinfo(dtype.numpy).min) if dtype.category else False)


@register
@dataclass(frozen=True)
class Amin(_Extremum):
    """The least element; NaN if there is one."""

    name = "amin"
    combine = "minimum"
    numpy = np.amin

    def identity(self, dtype: DType) -> float:
        return np.inf if dtype.is_floating_point else (int(np.iinfo(dtype.numpy).max) if dtype.category else True)


# ---- as functions of values of any level -----------------------------------------------------------------------------


def sum_(x: Value, axes: Sequence[int]) -> Value:
    return apply(Sum(tuple(axes)), x) if axes else x


def amax(x: Value, axes: Sequence[int]) -> Value:
    return apply(Amax(tuple(axes)), x) if axes else x


def amin(x: Value, axes: Sequence[int]) -> Value:
    return apply(Amin(tuple(axes)), x) if axes else x


def sum_to(x: Value, shape: Sequence[int]) -> Value:
    """Undo a broadcast: sum over the axes along which `shape` was repeated. The one place where this is done."""
    if tuple(x.shape) == tuple(shape):
        return x
    lead = len(x.shape) - len(shape)
    repeated = [k for k, size in enumerate(x.shape) if k < lead or shape[k - lead] != size]
    return reshape(sum_(x, repeated), shape)
