"""`fft`: PyTorch's `torch.fft`, discrete Fourier transforms of Tensors.

Each name is a direction and a kind of operand: `fft` of complex values; `rfft` of real ones, of which half of
the results are given, as the others are their conjugates; `hfft` of such a half, to real values; `i…` is the
inverse; `…2` and `…n` go along several axes. `n` and `s` are sizes to which the operand is first cut or
filled up with zeros, and `norm` says which direction is divided by the number of values (`"backward"`, the
inverse; `"forward"`; `"ortho"`, each by its square root). What is real becomes complex, what is whole
becomes float32. The ops and their derivatives are in `compiler/ops/fourier.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf, prod, sqrt
from typing import Any

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.errors import ArgumentError, DimensionError, DtypeError, ShapeError, mirrored
from retrograd.compiler.ops import fourier as ops
from retrograd.compiler.ops import shape as moves
from retrograd.compiler.ops.complexes import conj
from retrograd.runtime.functions.arranging import roll
from retrograd.runtime.functions.creation import finished
from retrograd.runtime.functions.public import axis_of, fourier, integer, whole_numbers
from retrograd.runtime.names import bare_legacy_name
from retrograd.runtime.tensor import Tensor, new

__all__ = [
    "fft", "fft2", "fftfreq", "fftn", "fftshift", "hfft", "hfft2", "hfftn", "ifft", "ifft2", "ifftn",
    "ifftshift", "ihfft", "ihfft2", "ihfftn", "irfft", "irfft2", "irfftn", "rfft", "rfft2", "rfftfreq",
    "rfftn",
]  # fmt: skip

Sizes = Sequence[int] | None
Dims = Sequence[int] | None
Axes = dict[int, int | None]
"""Axes in the order of the transforms, and the size to which each is brought, if it is."""

# ---- operands ----------------------------------------------------------------------------------------------


def _ready(x: Tensor, to_complex: bool = False) -> Tensor:
    """The operand in a dtype that has transforms."""
    if x.dtype.is_half:
        raise DtypeError(mirrored(f"Unsupported dtype {bare_legacy_name(x.dtype)}"))
    number = x.dtype if x.dtype.category >= 2 else dtypes.default_dtype()
    return moves.cast(x, number.to_complex() if to_complex else number)  # type: ignore[no-any-return]  # a Tensor


def _axis(name: str, x: Tensor, dim: int) -> int:
    if x.ndim == 0:
        raise DimensionError(mirrored(f"Dimension specified as {dim} but tensor has no dimensions"))
    return axis_of(dim, x.ndim, name)


def _axes(name: str, x: Tensor, s: Sizes, dim: Dims) -> Axes:
    sizes = None if s is None else [None if n == -1 else n for n in whole_numbers(s, name, "s")]
    if dim is not None:
        axes = [_axis(name, x, d) for d in dim]
    else:
        axes = [*range(x.ndim)] if sizes is None else [*range(x.ndim - len(sizes), x.ndim)]
    if len({*axes}) < len(axes):
        raise ShapeError(mirrored("FFT dims must be unique"))
    if sizes is None:
        return dict.fromkeys(axes)
    if len(sizes) != len(axes):
        raise ShapeError(mirrored("When given, dim and shape arguments must have the same length"))
    if len(sizes) > x.ndim:
        words = f"Got shape with {len(sizes)} values but input tensor only has {x.ndim} dimensions."
        raise ShapeError(mirrored(words))
    return dict(zip(axes, sizes, strict=True))


def _brought(x: Tensor, axes: Axes) -> Tensor:
    """The operand cut, or filled up with zeros, along these axes."""
    nothing = [0] * x.ndim
    for axis, size in axes.items():
        own = x.shape[axis]
        _check_points(own if size is None else size)
        if size is not None and size < own:
            x = moves.narrow(x, axis, 0, size)
        elif size is not None and size > own:
            x = moves.pad(x, nothing, [size - own if k == axis else 0 for k in range(x.ndim)], nothing)
    return x


def _check_points(n: int) -> None:
    if n < 1:
        raise ShapeError(mirrored(f"Invalid number of data points ({n}) specified"))


def _scale(norm: str | None, sizes: Sequence[int], inverse: bool) -> float:
    """What a transform over so many values is multiplied by."""
    norm, count = "backward" if norm is None else norm, prod(sizes)
    if norm not in ("forward", "backward", "ortho"):
        raise ArgumentError(mirrored(f'Invalid normalization mode: "{norm}"'))
    return 1 / sqrt(count) if norm == "ortho" else 1.0 if (norm == "backward") is not inverse else 1 / count


# ---- transforms --------------------------------------------------------------------------------------------


def _of_complex(inverse: bool, name: str, input: Tensor, axes: Axes, norm: str | None) -> Tensor:
    """The transform of complex values, of as many; real ones become complex."""
    x = _brought(_ready(input, name.endswith("n")), axes)
    scale = _scale(norm, [x.shape[axis] for axis in axes], inverse)
    if x.dtype.is_complex:
        return ops.transform(x, tuple(axes), scale, inverse)  # type: ignore[no-any-return]  # a Tensor
    found: Tensor = ops.transform_of_real(x, tuple(axes), scale, half=False)
    return conj(found) if inverse else found


def _of_real(inverse: bool, name: str, input: Tensor, axes: Axes, norm: str | None) -> Tensor:
    """The transform of real values: along the last of the axes those from 0 to n // 2."""
    if input.dtype.is_complex:
        kind = "real-valued" if name.endswith("n") else "real"
        words = f"{name} expects a {kind} input tensor, but got {bare_legacy_name(input.dtype)}"
        raise DtypeError(mirrored(words))
    _check_any(name, axes)
    x = _brought(_ready(input), axes)
    scale = _scale(norm, [x.shape[axis] for axis in axes], inverse)
    found: Tensor = ops.transform_of_real(x, tuple(axes), scale)
    return conj(found) if inverse else found


def _to_real(inverse: bool, name: str, input: Tensor, axes: Axes, norm: str | None) -> Tensor:
    """The real values of such a half; their number along the last axis is 2(m - 1) by default."""
    _check_any(name, axes)
    x = _ready(input, True)
    *others, (last, size) = axes.items()
    size = 2 * (x.shape[last] - 1) if size is None else size
    _check_points(size)
    x = _brought(x, {**dict(others), last: size // 2 + 1})
    scale = _scale(norm, [*(x.shape[axis] for axis, _ in others), size], inverse)
    return ops.transform_to_real(x if inverse else conj(x), tuple(axes), scale, size)  # type: ignore[no-any-return]


def _check_any(name: str, axes: Axes) -> None:
    if not axes:
        raise ShapeError(mirrored(f"{name} must transform at least one axis"))


def _family(name: str, transform: Callable[..., Tensor], inverse: bool) -> list[Callable[..., Tensor]]:
    """A transform along one axis, along the last two, and along all or some."""
    several = f"{name}n"

    def along_one(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
        size = None if n is None else integer(n, name, "n")
        return transform(inverse, name, input, {_axis(name, input, dim): size}, norm)

    def along_two(input: Tensor, s: Sizes = None, dim: Dims = (-2, -1), norm: str | None = None) -> Tensor:
        return transform(inverse, several, input, _axes(several, input, s, dim), norm)

    def along(input: Tensor, s: Sizes = None, dim: Dims = None, norm: str | None = None) -> Tensor:
        return transform(inverse, several, input, _axes(several, input, s, dim), norm)

    found = []
    for suffix, function in (("", along_one), ("2", along_two), ("n", along)):
        function.__name__ = function.__qualname__ = f"{name}{suffix}"
        function.__doc__ = transform.__doc__
        found.append(fourier(f"{name}{suffix}")(function))
    return found


fft, fft2, fftn = _family("fft", _of_complex, False)
ifft, ifft2, ifftn = _family("ifft", _of_complex, True)
rfft, rfft2, rfftn = _family("rfft", _of_real, False)
irfft, irfft2, irfftn = _family("irfft", _to_real, True)
hfft, hfft2, hfftn = _family("hfft", _to_real, False)
ihfft, ihfft2, ihfftn = _family("ihfft", _of_real, True)


# ---- frequencies -------------------------------------------------------------------------------------------


@fourier("fftfreq")
def fftfreq(n: int, d: float = 1.0, **options: Any) -> Tensor:
    """The frequencies of `fft`'s values in cycles per unit, of n samples a distance d apart."""
    return _frequencies([*range((n + 1) // 2), *range(-(n // 2), 0)], n, d, **options)


@fourier("rfftfreq")
def rfftfreq(n: int, d: float = 1.0, **options: Any) -> Tensor:
    """Those of `rfft`'s values."""
    return _frequencies(range(n // 2 + 1), n, d, **options)


def _frequencies(places: Sequence[int], n: int, d: float, dtype: object = None, **options: Any) -> Tensor:
    """So many times 1 / (n·d), rounded as PyTorch does."""
    number = dtypes.default_dtype() if dtype is None else dtypes.dtype(dtype)
    if not number.is_inexact:
        raise DtypeError(mirrored("fftfreq requires a floating point or complex dtype"))
    if n < 0:
        raise ShapeError(mirrored(f"Trying to create tensor with negative dimension {n}: [{n}]"))
    with np.errstate(invalid="ignore"):
        frequencies = np.asarray(places, number.numpy) * number.numpy.type(1 / (n * d) if n * d else inf)
    return finished(new(frequencies), **options)


@fourier("fftshift")
def fftshift(input: Tensor, dim: Dims | int = None) -> Tensor:
    """The value of frequency 0 moved to the middle, along these axes or all."""
    return _shifted(input, dim, lambda size: size // 2)


@fourier("ifftshift")
def ifftshift(input: Tensor, dim: Dims | int = None) -> Tensor:
    """The inverse of `fftshift`."""
    return _shifted(input, dim, lambda size: (size + 1) // 2)


def _shifted(input: Tensor, dim: Dims | int, shift: Callable[[int], int]) -> Tensor:
    axes = range(input.ndim) if dim is None else dim if isinstance(dim, Sequence) else (dim,)
    return roll(input, [shift(input.shape[axis]) for axis in axes], list(axes))
