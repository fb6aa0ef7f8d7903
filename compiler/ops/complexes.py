"""Ops between complex numbers and their parts: `conj`, absolute value, angle and sign, and the same memory as
pairs of real numbers.

    view_as_real     c64[…] → f32[…, 2]: the real part, then the imaginary one
    view_as_complex  its inverse, and its adjoint
    complex          of parts that lie anywhere
    modulus, angle   polar coordinates, which are real
    conj, sgn        complex

In NumPy's memory the two views are the same elements. None of these is holomorphic: each says its own
adjoint, in PyTorch's convention (`row.py`), with PyTorch's values at 0. In compiled code complex numbers are
pairs of values (`passes/complexes.py`), and nothing after that pass knows of these ops.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.errors import DtypeError, ShapeError
from retrograd.compiler.ir.graph import Array, Op, Type, Value, apply, register
from retrograd.compiler.ops.row import helper
from retrograd.compiler.ops.rows import rows
from retrograd.compiler.ops.shape import cast, select
from retrograd.compiler.record import record


def _check_complex(name: str, x: Type) -> None:
    if not x.dtype.is_complex:
        raise DtypeError(f"{name} of {x}", "it takes complex values", "cast the tensor with .to(dtype)")


# ---- the same memory ---------------------------------------------------------------------------------------


@register
@record
class AsReal(Op):
    """Complex numbers as pairs along a new last axis."""

    name = "view_as_real"

    def infer(self, *types: Type) -> Type:
        (x,) = types
        _check_complex(self.name, x)
        return Type((*x.shape, 2), x.dtype.to_real())

    def evaluate(self, *arrays: Array) -> Array:
        (x,) = arrays
        return x[..., None].view(dtypes.dtype(x.dtype).to_real().numpy)

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        return [as_complex(cotangent)]


@register
@record
class AsComplex(Op):
    """Pairs along the last axis as complex numbers."""

    name = "view_as_complex"

    def infer(self, *types: Type) -> Type:
        (x,) = types
        if x.dtype not in (dtypes.float32, dtypes.float64):
            raise DtypeError(f"{self.name} of {x}", "it takes float32 or float64 values")
        if x.shape[-1:] != (2,):
            raise ShapeError(f"{self.name} of {x}", "the last axis must be of 2 elements")
        return Type(x.shape[:-1], x.dtype.to_complex())

    def evaluate(self, *arrays: Array) -> Array:
        (x,) = arrays
        if x.strides[-1] != x.itemsize:
            x = np.ascontiguousarray(x)
        return x.view(dtypes.dtype(x.dtype).to_complex().numpy)[..., 0]

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        return [as_real(cotangent)]


@register
@record
class FromParts(Op):
    """Complex numbers of their real parts and their imaginary parts, in memory of their own."""

    name = "complex"

    def infer(self, *types: Type) -> Type:
        re, im = types
        if re != im or re.dtype not in (dtypes.float32, dtypes.float64):
            raise DtypeError(f"{self.name} of {re} and {im}", "both are float32 or float64, of one shape")
        return re.with_dtype(re.dtype.to_complex())

    def evaluate(self, *arrays: Array) -> Array:
        re, im = arrays
        out = np.empty(re.shape, dtypes.dtype(re.dtype).to_complex().numpy)
        out.real, out.imag = re, im
        return out

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        return [real(cotangent), imag(cotangent)]


INVERSE = {AsReal: AsComplex(), AsComplex: AsReal()}
"""Of a view between the two, the way back."""


# ---- element by element ------------------------------------------------------------------------------------


class OfComplex(Op):
    """An op of complex elements, one by one."""

    def infer(self, *types: Type) -> Type:
        _check_complex(self.name, types[0])
        return types[0]


class _ToReal(OfComplex):
    """Such an op, whose result is real."""

    def infer(self, *types: Type) -> Type:
        return super().infer(*types).with_dtype(types[0].dtype.to_real())


@register
@record
class Conj(OfComplex):
    """The complex conjugate."""

    name = "conj"

    def evaluate(self, *arrays: Array) -> Array:
        return np.asarray(np.conjugate(arrays[0]))

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        return [conj(cotangent)]


@register
@record
class Modulus(_ToReal):
    """The absolute value."""

    name = "modulus"

    @property
    def title(self) -> str:
        return "Abs"

    def evaluate(self, *arrays: Array) -> Array:
        return np.asarray(np.abs(arrays[0]))

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        (x,) = inputs
        return [sgn(x) * widened(cotangent)]


@register
@record
class Angle(_ToReal):
    """The angle to the positive real axis, above -π and at most π."""

    name = "angle"

    def evaluate(self, *arrays: Array) -> Array:
        (x,) = arrays
        return np.asarray(np.arctan2(x.imag, x.real))

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        """Across the radius, and 0 at 0."""
        (x,) = inputs
        null = rows.eq(x, 0)
        return [rows.where(null, 0, _turned(widened(cotangent)) / conj(rows.where(null, 1, x)))]


def _turned(x: Value) -> Value:
    """i · x"""
    pairs = as_real(x)
    re, im = select(pairs, len(x.shape), 0), select(pairs, len(x.shape), 1)
    return from_parts(im * -1, re)


@register
@record
class Sgn(OfComplex):
    """x / |x|, and 0 of 0."""

    name = "sgn"

    def evaluate(self, *arrays: Array) -> Array:
        (x,) = arrays
        size = np.asarray(np.abs(x))
        size[size == 0] = 1
        return AsComplex().evaluate(AsReal().evaluate(x) / size[..., None])

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        """What of the cotangent stands across the radius, over that; 0 at 0."""
        (x,) = inputs
        null = rows.eq(x, 0)
        size = widened(modulus(rows.where(null, 1, x)))
        along = out * widened(real(conj(out) * cotangent))
        return [rows.where(null, 0, (cotangent - along) / size)]


# ---- as functions of values of any level -------------------------------------------------------------------


def is_complex(x: Value) -> bool:
    """Whether a value is complex."""
    return dtypes.of(x).is_complex


def as_real(x: Value) -> Value:
    return apply(AsReal(), x)


def as_complex(x: Value) -> Value:
    return apply(AsComplex(), x)


def real(x: Value) -> Value:
    """The real parts; of what is real itself."""
    return select(as_real(x), len(x.shape), 0) if is_complex(x) else x


def imag(x: Value) -> Value:
    """The imaginary parts of complex values."""
    return select(as_real(x), len(x.shape), 1)


def from_parts(re: Value, im: Value) -> Value:
    """Complex values of real and imaginary parts of one shape."""
    return apply(FromParts(), re, im)


def widened(x: Value) -> Value:
    """Real values as complex ones."""
    return cast(x, dtypes.of(x).to_complex())


def conj(x: Value) -> Value:
    """The complex conjugate; of what is real itself."""
    return apply(Conj(), x) if is_complex(x) else x


def modulus(x: Value) -> Value:
    """The absolute value of what is real or complex."""
    return apply(Modulus(), x) if is_complex(x) else rows.abs(x)


def angle(x: Value) -> Value:
    return apply(Angle(), x)


def sgn(x: Value) -> Value:
    """The sign of what is real, of what is complex the direction."""
    return apply(Sgn(), x) if is_complex(x) else rows.sign(x)


def of_parts(row: str, x: Value) -> tuple[Value, Value]:
    """A row of the real parts, and of the imaginary ones."""
    function = getattr(rows, row)
    return function(real(x)), function(imag(x))


for _function in (conj, real, modulus):
    helper(_function.__name__, _function)
