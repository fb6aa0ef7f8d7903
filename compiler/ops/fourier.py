"""Discrete Fourier transforms along axes: of complex values, of real ones, and to real ones.

    fft_c2c   y[k] = scale · Σ x[j]·exp(∓2πi·jk/n), along each axis in turn
    fft_r2c   of real x: along the last of the axes the half from k = 0 to n // 2, whose conjugate the rest is
    fft_c2r   the inverse of such a half, whose first value, and the one at n / 2, count as real

In eager mode NumPy computes them (PocketFFT), or where there is much, machine code: there they are loops like
any others (`butterflies.py`). Each is linear, and its adjoint is another of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.errors import DtypeError, ShapeError
from retrograd.compiler.ir.graph import Array, Type, Value, apply, register
from retrograd.compiler.ops import butterflies
from retrograd.compiler.ops.butterflies import Pair
from retrograd.compiler.ops.complexes import as_complex, as_real, from_parts, imag, real
from retrograd.compiler.ops.composite import Composite
from retrograd.compiler.record import record


@record
class Fourier(Composite):
    """A transform along `axes`, times `scale`."""

    axes: tuple[int, ...]
    scale: float = 1.0

    def _length(self, x: Value) -> int:
        """Of the last axis, as it is where there are no symmetries."""
        size: int = x.shape[self.axes[-1]]
        return size

    def infer(self, *types: Type) -> Type:
        (x,) = types
        if x.dtype.category not in self.categories or x.dtype.is_half:
            raise DtypeError(
                f"{self.name} of {x}", "there is no such transform", "cast the tensor with .to(dtype)"
            )
        if any(not 0 <= axis < x.ndim for axis in self.axes) or len({*self.axes}) < len(self.axes):
            raise ShapeError(
                f"{self.name} of {x} along {self.axes}", "they are no axes of it, each named once"
            )
        if any(x.shape[axis] < 1 for axis in self.axes) or (self.axes and self._length(x) < 1):
            raise ShapeError(f"{self.name} of {x} along {self.axes}", "nothing is along one of them")
        return self._type(x)

    def _type(self, x: Type) -> Type:
        raise NotImplementedError

    def _scaled(self, x: Array) -> Array:
        if self.scale != 1.0:
            x *= x.dtype.type(self.scale)
        return np.ascontiguousarray(x)

    def _scaled_pair(self, x: Pair) -> Value:
        return from_parts(*((part * self.scale for part in x) if self.scale != 1.0 else x))


@register
@record
class Transform(Fourier):
    """Of complex values; `inverse` is the sign + of the exponent."""

    name = "fft_c2c"
    categories = (3,)
    inverse: bool = False

    def _type(self, x: Type) -> Type:
        return x

    def compute(self, *arrays: Array) -> Array:
        (x,) = arrays
        if x.size == 0 or not self.axes:
            return x.copy()
        for axis in self.axes[::-1]:
            x = np.fft.ifft(x, axis=axis, norm="forward") if self.inverse else np.fft.fft(x, axis=axis)
        return self._scaled(x)

    def formula(self, *values: Value) -> Value:
        (x,) = values
        parts = real(x), imag(x)
        for axis in self.axes:
            parts = butterflies.transform(parts, axis, 1 if self.inverse else -1)
        return self._scaled_pair(parts)

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        return [transform(cotangent, self.axes, self.scale, not self.inverse)]


@register
@record
class TransformOfReal(Fourier):
    """Of real values, forward: along the last axis the first half of them, or all."""

    name = "fft_r2c"
    half: bool = True

    def _type(self, x: Type) -> Type:
        n = self._length(x)
        return Type(_with(x.shape, self.axes[-1], n // 2 + 1 if self.half else n), x.dtype.to_complex())

    def compute(self, *arrays: Array) -> Array:
        (x,) = arrays
        if x.size == 0:
            out = self._type(Type(x.shape, dtypes.dtype(x.dtype)))
            return np.zeros(out.shape, out.dtype.numpy)
        found = (np.fft.rfft if self.half else np.fft.fft)(x, axis=self.axes[-1])
        for axis in self.axes[-2::-1]:
            found = np.fft.fft(found, axis=axis)
        return self._scaled(found)

    def formula(self, *values: Value) -> Value:
        (x,) = values
        parts = butterflies.to_half(x, self.axes[-1])
        if not self.half:
            parts = butterflies.completed(parts, self.axes[-1], self._length(x))
        for axis in self.axes[:-1]:
            parts = butterflies.transform(parts, axis, -1)
        return self._scaled_pair(parts)

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        size = inputs[0].shape[self.axes[-1]]
        if not self.half:
            return [real(transform(cotangent, self.axes, self.scale, inverse=True))]
        halved = weighted(cotangent, self.axes[-1], size, 0.5)
        return [transform_to_real(halved, self.axes, self.scale, size)]


@register
@record
class TransformToReal(Fourier):
    """Of halves to real values, backward: `size` of them along the last axis."""

    name = "fft_c2r"
    categories = (3,)
    size: int = 1

    def _length(self, x: Value) -> int:
        return self.size

    def _type(self, x: Type) -> Type:
        axis = self.axes[-1]
        if x.shape[axis] != self.size // 2 + 1:
            raise ShapeError(f"{self.name} of {x} to {self.size}", f"these are {self.size // 2 + 1} of them")
        return Type(_with(x.shape, axis, self.size), x.dtype.to_real())

    def compute(self, *arrays: Array) -> Array:
        (x,) = arrays
        if x.size == 0:
            out = self._type(Type(x.shape, dtypes.dtype(x.dtype)))
            return np.zeros(out.shape, out.dtype.numpy)
        sizes = [x.shape[axis] for axis in self.axes[:-1]] + [self.size]
        return self._scaled(np.fft.irfftn(x, s=sizes, axes=self.axes, norm="forward"))

    def formula(self, *values: Value) -> Value:
        (x,) = values
        parts = real(x), imag(x)
        for axis in self.axes[:-1]:
            parts = butterflies.transform(parts, axis, 1)
        found = butterflies.from_half(parts, self.axes[-1], self.size)
        return found * self.scale if self.scale != 1.0 else found

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        return [weighted(transform_of_real(cotangent, self.axes, self.scale), self.axes[-1], self.size, 2.0)]


def transform(x: Value, axes: tuple[int, ...], scale: float, inverse: bool) -> Value:
    return apply(Transform(axes, scale, inverse), x)


def transform_of_real(x: Value, axes: tuple[int, ...], scale: float, half: bool = True) -> Value:
    return apply(TransformOfReal(axes, scale, half), x)


def transform_to_real(x: Value, axes: tuple[int, ...], scale: float, size: int) -> Value:
    return apply(TransformToReal(axes, scale, size), x)


def weighted(x: Value, axis: int, size: int, weight: float) -> Value:
    """A half of so many values, with those that stand for their conjugate, too, times the weight."""
    weights = np.full(size // 2 + 1, weight)
    weights[0] = 1.0
    if size % 2 == 0:
        weights[-1] = 1.0
    pairs = as_real(x)
    shape = [1] * len(pairs.shape)
    shape[axis] = len(weights)
    return as_complex(pairs * weights.astype(dtypes.of(pairs).numpy).reshape(shape))


def _with(shape: Sequence[int], axis: int, size: int) -> tuple[int, ...]:
    return (*shape[:axis], size, *shape[axis + 1 :])
