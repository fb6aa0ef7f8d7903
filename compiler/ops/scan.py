"""Scans: a value carried along an axis, with every step of it kept.

    carry ← identity;   for k along the axis:   carry ← combine(carry, operand[k]);   out[k] ← carry

A scan names the elementwise row that joins the carry with an operand (one row for each operand, in turn) and
the value of the carry at the start, and that is all that lowering needs. `reverse` runs from the end: the
adjoint of a running sum is the reversed running sum. To add a scan, add a class.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from retrograd.compiler.dtypes import DType
from retrograd.compiler.errors import DimensionError, DtypeError, ShapeError
from retrograd.compiler.ir.arrays import in_order
from retrograd.compiler.ir.graph import Array, Op, Type, Value, apply, register
from retrograd.compiler.ops.complexes import conj
from retrograd.compiler.ops.half import in_float32
from retrograd.compiler.ops.index import put_along_add
from retrograd.compiler.ops.iota import iota_like
from retrograd.compiler.ops.rows import rows
from retrograd.compiler.ops.shape import narrow, pad
from retrograd.compiler.record import record


@record
class Scan(Op):
    """Operands of one type, scanned along `axis` (not negative)."""

    combine: ClassVar[tuple[str, ...]]
    """The rows that join the carry with the operands, one for each, in turn."""
    categories: ClassVar[tuple[int, ...]] = (1, 2, 3)
    """Categories of dtypes that it takes (see DType)."""
    axis: int
    reverse: bool = False

    def identity(self, dtype: DType) -> bool | int | float:
        """The carry before the first step."""
        raise NotImplementedError

    def infer(self, *types: Type) -> Type:
        x = types[0]
        what = f"{self.name} of {', '.join(map(str, types))} along axis {self.axis}"
        if not 0 <= self.axis < x.ndim:
            raise DimensionError(what, f"there is no axis {self.axis}")
        if any(t != x for t in types) or len(types) != len(self.combine):
            raise ShapeError(what, f"it takes {len(self.combine)} operands of one type")
        if x.dtype.category not in self.categories:
            raise DtypeError(what, f"it is not defined for {x.dtype}", "cast the tensor with .to(dtype)")
        return x

    @in_float32
    def evaluate(self, *arrays: Array) -> Array:
        if self.reverse:
            return in_order(np.flip(self.forwards(*(np.flip(a, self.axis) for a in arrays)), self.axis))
        return in_order(self.forwards(*arrays))

    def forwards(self, *arrays: Array) -> Array:
        """The scan from the start to the end, in NumPy."""
        return np.asarray(_ACCUMULATE[self.combine[0]](arrays[0], axis=self.axis, dtype=arrays[0].dtype))


_ACCUMULATE = {
    "add": np.add.accumulate,
    "mul": np.multiply.accumulate,
    "maximum": np.maximum.accumulate,
    "minimum": np.minimum.accumulate,
    "logaddexp": np.logaddexp.accumulate,
}


@register
@record
class Cumsum(Scan):
    name = "cumsum"
    combine = ("add",)

    def identity(self, dtype: DType) -> float:
        return 0

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        return [cumsum(cotangent, self.axis, not self.reverse)]


@register
@record
class Recurrence(Scan):
    """`out[k] = a[k] · out[k-1] + b[k]`: a linear recurrence of first order, whose adjoint is another."""

    name = "recurrence"
    combine = ("mul", "add")

    def identity(self, dtype: DType) -> float:
        return 0

    def forwards(self, *arrays: Array) -> Array:
        a, b = (np.moveaxis(x, self.axis, 0) for x in arrays)
        out = np.empty_like(b)
        carry = np.zeros(b.shape[1:], b.dtype)
        for k in range(len(b)):
            carry = a[k] * carry + b[k]
            out[k] = carry
        return np.moveaxis(out, 0, self.axis)

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        back = recurrence(
            conj(shift(inputs[0], self.axis, not self.reverse)), cotangent, self.axis, not self.reverse
        )
        return [back * conj(shift(out, self.axis, self.reverse)) if needed[0] else None, back]


@register
@record
class Cumprod(Scan):
    name = "cumprod"
    combine = ("mul",)

    def identity(self, dtype: DType) -> float:
        return 1

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        """∂/∂x[j] = Π_{i<j} x[i] · Σ_{k≥j} ct[k] Π_{j<i≤k} x[i]: without a division, so right at zeros."""
        (x,) = inputs
        factors = conj(shift(x, self.axis, not self.reverse))
        later = recurrence(factors, cotangent, self.axis, not self.reverse)
        return [later * conj(shift(out, self.axis, self.reverse, fill=1.0))]


class _RunningExtremum(Scan):
    categories = (0, 1, 2)

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        """Each cotangent goes to the element that was last to set the extremum, as in PyTorch."""
        chosen = running_index(inputs[0], out, self.axis, self.reverse)
        return [put_along_add(cotangent, chosen, self.axis, inputs[0].shape[self.axis])]


@register
@record
class Cummax(_RunningExtremum):
    """The greatest element so far; NaN from the first NaN on."""

    name = "cummax"
    combine = ("maximum",)

    def identity(self, dtype: DType) -> float:
        return dtype.least


@register
@record
class Cummin(_RunningExtremum):
    """The least element so far; NaN from the first NaN on."""

    name = "cummin"
    combine = ("minimum",)

    def identity(self, dtype: DType) -> float:
        return dtype.greatest


@register
@record
class Logcumsumexp(Scan):
    """The logarithm of the running sum of exponentials."""

    name = "logcumsumexp"
    combine = ("logaddexp",)
    categories = (2,)

    def identity(self, dtype: DType) -> float:
        return -np.inf

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        """∂/∂x[j] = e^(x[j]-out[j]) · Σ_{k≥j} ct[k] e^(out[j]-out[k]): no exponent is positive."""
        (x,) = inputs
        finite = rows.where(rows.eq(out, -np.inf), 0.0, out)
        growth = rows.exp(finite - shift(finite, self.axis, not self.reverse, fill=np.inf))
        later = recurrence(growth, cotangent, self.axis, not self.reverse)
        return [rows.exp(x - finite) * later]


# ---- as functions of values of any level -------------------------------------------------------------------


def cumsum(x: Value, axis: int, reverse: bool = False) -> Value:
    return apply(Cumsum(axis, reverse), x)


def cumprod(x: Value, axis: int, reverse: bool = False) -> Value:
    return apply(Cumprod(axis, reverse), x)


def cummax(x: Value, axis: int, reverse: bool = False) -> Value:
    return apply(Cummax(axis, reverse), x)


def cummin(x: Value, axis: int, reverse: bool = False) -> Value:
    return apply(Cummin(axis, reverse), x)


def logcumsumexp(x: Value, axis: int, reverse: bool = False) -> Value:
    return apply(Logcumsumexp(axis, reverse), x)


def recurrence(a: Value, b: Value, axis: int, reverse: bool = False) -> Value:
    return apply(Recurrence(axis, reverse), a, b)


def running_index(x: Value, extremum: Value, axis: int, reverse: bool = False) -> Value:
    """Where the running extremum of `x` was set last: the indices of `torch.cummax` and `cummin`."""
    place = iota_like(x, axis)
    if reverse:
        sets = rows.where(rows.eq(x, extremum), place, x.shape[axis] - 1)
        return cummin(rows.where(rows.eq(x, x), sets, place), axis, reverse)
    sets = rows.where(rows.eq(x, extremum), place, 0)
    return cummax(rows.where(rows.eq(x, x), sets, place), axis)


def shift(x: Value, axis: int, reverse: bool = False, fill: float = 0.0) -> Value:
    """What a scan's step k finds from step k-1: the elements one place later, and `fill` for the first."""
    size = x.shape[axis]
    if size == 0:
        return x
    rest = narrow(x, axis, 1, size) if reverse else narrow(x, axis, 0, size - 1)
    before = [int(k == axis and not reverse) for k in range(len(x.shape))]
    after = [int(k == axis and reverse) for k in range(len(x.shape))]
    return pad(rest, before, after, [0] * len(x.shape), fill)
