"""New tensors: of one value, and counting. Those of data are in `from_data`.

Sizes and numbers in, a Tensor out, with `dtype`, `device` and `requires_grad` as in PyTorch. Inside a trace
the result is a node that says how to make the elements (a constant expanded, a count along an axis), never a
baked array. `finished` puts the last touches on every new Tensor; a new factory ends in it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.dtypes import DType
from retrograd.compiler.errors import ArgumentError, DtypeError, ShapeError, mirrored
from retrograd.compiler.ir.graph import Array, Type, Value
from retrograd.compiler.ops import shape as moves
from retrograd.compiler.ops.iota import Iota
from retrograd.compiler.ops.rows import rows
from retrograd.runtime import device as devices
from retrograd.runtime.device import CPU, as_device
from retrograd.runtime.device import device as Device
from retrograd.runtime.eager.copying import in_format
from retrograd.runtime.eager.kernels import stored
from retrograd.runtime.eager.moving import moved
from retrograd.runtime.functions.public import integer, public, sizes_of
from retrograd.runtime.modes import STATE
from retrograd.runtime.names import bare_legacy_name
from retrograd.runtime.tensor import Tensor, new

Number = bool | int | float | complex


def finished(value: Tensor, device: object = None, requires_grad: bool = False, **ignored: object) -> Tensor:
    """The new Tensor on its device, its elements in a `memory_format`, marked for gradients; `layout` changes
    nothing.
    """
    device = devices.chosen(device)
    if device is not None:
        value = moved(value, as_device(device))
    if ignored.get("pin_memory"):
        value = value.pin_memory()
    if ignored.get("memory_format") is not None:
        value = in_format(value, ignored["memory_format"], "empty")
    if requires_grad and not value.dtype.is_inexact:
        raise DtypeError(mirrored("Only Tensors of floating point and complex dtype can require gradients"))
    return value.requires_grad_() if requires_grad else value


def beside(like: Tensor, value: Tensor, device: object = None, **options: Any) -> Tensor:
    """The new Tensor on the device where `like` is, unless another is named."""
    if device is None and not options and type(like._value) is np.ndarray:
        return value
    return finished(value, like.device if device is None else device, **options)


def _or_default(dtype: object) -> DType:
    return dtypes.default_dtype() if dtype is None else dtypes.dtype(dtype)


def dtype_of_number(value: object) -> DType:
    """The dtype that a Python number, or 0-d tensor, has by itself."""
    return value.dtype if isinstance(value, Tensor) else dtypes.of(value)


# ---- of one value ------------------------------------------------------------------------------------------


def filled(shape: Sequence[int], value: Value, dtype: DType, where: Device = CPU) -> Tensor:
    """One value everywhere: an array, or while tracing a constant expanded. An array that will be moved to
    `where` holds the value once."""
    for size in shape:
        if size < 0:
            raise ShapeError(
                f"a tensor of shape {list(shape)}",
                mirrored(f"Trying to create tensor with negative dimension {size}: {list(shape)}"),
            )
    if isinstance(value, Tensor):
        return moves.expand(moves.reshape(moves.cast(value, dtype), ()), tuple(shape)).clone()
    if STATE.trace is None and where != CPU:
        return Tensor(np.broadcast_to(_scalar(value, dtype), shape))
    if STATE.trace is None:
        if not value and type(value) is int:
            return Tensor(np.zeros(shape, dtype.numpy))
        array = np.empty(shape, dtype.numpy)
        array.fill(_scalar(value, dtype))
        return Tensor(array)
    return moves.expand(new(_scalar(value, dtype)), tuple(shape)).clone()


def _scalar(value: object, dtype: DType) -> Array:
    return (
        stored(value, dtype.numpy)
        if isinstance(value, float | int | complex)
        else np.full((), value, dtype.numpy)
    )


def _one_value(shape: Sequence[int], value: Value, dtype: DType, device: object, **options: Any) -> Tensor:
    """One value everywhere, on a device."""
    where = as_device(devices.chosen(device))
    return finished(filled(shape, value, dtype, where), where, **options)


def _constant_factory(name: str, value: Number) -> Callable[..., Tensor]:
    @public(name, replay="copy")
    def factory(*size: Any, dtype: object = None, device: object = None, **options: Any) -> Tensor:
        if not size:
            raise ArgumentError(mirrored(f'{name}() missing 1 required positional arguments: "size"'))
        sizes = sizes_of(size, name)
        if name == "zeros" and any(n < 0 for n in sizes):
            raise ShapeError(mirrored("zeros: Dimension size must be non-negative."))
        return _one_value(sizes, value, _or_default(dtype), device, **options)

    @public(f"{name}_like", replay="copy")
    def factory_like(input: Tensor, *, dtype: object = None, device: object = None, **options: Any) -> Tensor:
        kind = input.dtype if dtype is None else dtypes.dtype(dtype)
        return _one_value(input.shape, value, kind, device or input.device, **options)

    @public(f"new_{name}", method=True, function=False, replay="copy")
    def new_factory(
        input: Tensor, *size: Any, dtype: object = None, device: object = None, **options: Any
    ) -> Tensor:
        kind = input.dtype if dtype is None else dtypes.dtype(dtype)
        return _one_value(sizes_of(size, f"new_{name}"), value, kind, device or input.device, **options)

    for made, label in ((factory, name), (factory_like, f"{name}_like"), (new_factory, f"new_{name}")):
        made.__name__ = made.__qualname__ = label
        made.__doc__ = f"All {name}." if name != "empty" else "Zeros: memory is never left as it was."
    return factory


zeros = _constant_factory("zeros", 0)
ones = _constant_factory("ones", 1)
empty = _constant_factory("empty", 0)


@public("full", replay="copy")
def full(
    size: Sequence[int], fill_value: Any, *, dtype: object = None, device: object = None, **options: Any
) -> Tensor:
    """One number everywhere, in the dtype of that number unless another is asked for."""
    if not isinstance(size, Sequence):
        raise ArgumentError(
            mirrored(f"full(): argument 'size' (position 1) must be tuple of ints, not {type(size).__name__}")
        )
    kind = dtype_of_number(_fill(fill_value, "full")) if dtype is None else dtypes.dtype(dtype)
    return _one_value(sizes_of((size,), "full"), fill_value, kind, device, **options)


@public("full_like", replay="copy")
def full_like(input: Tensor, fill_value: Any, *, dtype: object = None, **options: Any) -> Tensor:
    kind = input.dtype if dtype is None else dtypes.dtype(dtype)
    return beside(input, filled(input.shape, _fill(fill_value, "full_like"), kind), **options)


@public("new_full", method=True, function=False, replay="copy")
def new_full(
    input: Tensor, size: Sequence[int], fill_value: Any, *, dtype: object = None, **options: Any
) -> Tensor:
    kind = input.dtype if dtype is None else dtypes.dtype(dtype)
    made = filled(sizes_of((size,), "new_full"), _fill(fill_value, "new_full"), kind)
    return beside(input, made, **options)


@public("scalar_tensor", replay="copy")
def scalar_tensor(s: Number, **options: Any) -> Tensor:
    return full((), s, **({"dtype": dtypes.default_dtype()} | options))


def _fill(value: object, name: str) -> object:
    if isinstance(value, bool | int | float | complex | np.generic) or (
        isinstance(value, Tensor) and not value.ndim
    ):
        return value
    raise ArgumentError(
        mirrored(f"{name}(): argument 'fill_value' (position 2) must be Number, not {type(value).__name__}")
    )


# ---- counting ----------------------------------------------------------------------------------------------


def count(size: int, dtype: DType) -> Tensor:
    """0, 1, 2, … of a dtype."""
    if STATE.trace is None:
        return Tensor(np.arange(size, dtype=dtype.numpy))
    return Tensor(STATE.trace.builder.node(Iota(Type((size,), dtype), 0)))


@public("arange", replay="copy")
def arange(start: Any, end: Any = None, step: Any = 1, *, dtype: object = None, **options: Any) -> Tensor:
    """`start`, `start + step`, … up to but not including `end`; whole numbers if all three are."""
    first, last = (0, start) if end is None else (start, end)
    first, last, by = (x.item() if isinstance(x, Tensor | np.generic) else x for x in (first, last, step))
    for x in (first, last, by):
        if isinstance(x, bool) or not isinstance(x, int | float):
            raise ArgumentError(f"arange({first!r}, {last!r}, {by!r})", "its arguments must be numbers")
    asked = f"arange({first}, {last}, {by})"
    if by == 0:
        raise ShapeError(asked, mirrored("step must be nonzero"))
    if not (math.isfinite(first) and math.isfinite(last)):
        raise ShapeError(asked, mirrored(f"unsupported range: {first} -> {last}"))
    if (last - first) * by < 0:
        raise ShapeError(asked, mirrored("upper bound and lower bound inconsistent with step sign"))
    whole = all(isinstance(x, int) for x in (first, last, by))
    kind = (dtypes.int64 if whole else dtypes.default_dtype()) if dtype is None else dtypes.dtype(dtype)
    if kind.is_complex:
        raise DtypeError(mirrored(f"\"arange_cpu\" not implemented for '{bare_legacy_name(kind)}'"))
    size = -(-(last - first) // by) if whole else math.ceil((last - first) / by)
    return finished(_progression(size, first, by, kind), **options)


def _progression(size: int, first: Number, by: Number, dtype: DType) -> Tensor:
    """`first + by · k`, worked out in double precision in eager mode."""
    if STATE.trace is None:
        real = isinstance(first + by, float)
        found: Array = np.arange(size, dtype=np.float64 if real else np.int64)
        if by != 1:
            found *= by
        if first or real:
            found += first
        return Tensor(found.astype(dtype.numpy, copy=False))
    k = count(size, dtype)
    return k if (first, by) == (0, 1) else k * new(_scalar(by, dtype)) + new(_scalar(first, dtype))


def _steps(name: str, steps: object) -> int:
    number = integer(steps, name, "steps")
    if number < 0:
        raise ShapeError(f"{name}(steps={number})", mirrored("number of steps must be non-negative"))
    return number


@public("linspace", replay="copy")
def linspace(start: Any, end: Any, steps: int, *, dtype: object = None, **options: Any) -> Tensor:
    """`steps` numbers at equal distances from `start` to `end`, both included."""
    kind = _along(start, end) if dtype is None else dtypes.dtype(dtype)
    first, last = _end(start, kind), _end(end, kind)
    return finished(moves.cast(_between(first, last, _steps("linspace", steps), kind), kind), **options)


def _along(*ends: Any) -> DType:
    """The dtype of numbers between two ends."""
    turned = any(dtype_of_number(x).is_complex for x in ends)
    return dtypes.default_complex() if turned else dtypes.default_dtype()


def _end(x: Any, dtype: DType) -> complex:
    return complex(x) if dtype.is_complex else float(x)


def _between(start: complex, end: complex, steps: int, dtype: DType) -> Tensor:
    """Counted from both ends towards the middle, so that both are met exactly, as PyTorch does."""
    wide = dtype if dtype.is_inexact else dtypes.float64
    first, last, gaps = (_scalar(x, wide) for x in (start, end, max(steps - 1, 1)))
    a, b, by = (new(np.asarray(x)) for x in (first, last, (last - first) / gaps))
    k = count(steps, wide.to_real())
    low = a + by * k
    if steps < 2:
        return low
    high = b - by * (new(_scalar(steps - 1, k.dtype)) - k)
    return rows.where(rows.lt(k, new(_scalar(steps // 2, k.dtype))), low, high)


@public("logspace", replay="copy")
def logspace(
    start: Any, end: Any, steps: int, base: float = 10.0, *, dtype: object = None, **options: Any
) -> Tensor:
    """`base` to the powers of `linspace(start, end, steps)`."""
    kind = _along(start, end) if dtype is None else dtypes.dtype(dtype)
    wide = kind if kind.is_inexact else dtypes.float64
    exponents = _between(_end(start, wide), _end(end, wide), _steps("logspace", steps), wide)
    return finished(moves.cast(rows.pow(new(_scalar(base, wide)), exponents), kind), **options)


@public("eye", replay="copy")
def eye(n: int, m: int | None = None, *, dtype: object = None, **options: Any) -> Tensor:
    """Ones on the main diagonal, zeros elsewhere."""
    height = integer(n, "eye", "n")
    width = height if m is None else integer(m, "eye", "m")
    if height < 0 or width < 0:
        label, size = ("n", height) if height < 0 else ("m", width)
        raise ShapeError(f"eye({n}, {m})", mirrored(f"{label} must be greater or equal to 0, got {size}"))
    kind = _or_default(dtype)
    if STATE.trace is None:
        return finished(Tensor(np.eye(height, width, dtype=kind.numpy)), **options)
    below, across = count(height, dtypes.int64), count(width, dtypes.int64)
    return finished(moves.cast(rows.eq(moves.reshape(below, (height, 1)), across), kind), **options)
