"""`testing.make_tensor`: a Tensor of arbitrary elements to test with, those of PyTorch from the same seed.

In flow a shape, a dtype, the interval of the elements and how they shall lie; out flows a Tensor. A dtype's
own interval is said by `_bounds`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from retrograd.compiler import dtypes
from retrograd.compiler.dtypes import DType
from retrograd.compiler.errors import ArgumentError, mirrored, warn
from retrograd.compiler.record import NamedTuple
from retrograd.runtime.functions import FUNCTIONS
from retrograd.runtime.functions.inspecting import _finfo, _iinfo
from retrograd.runtime.tensor import Tensor


class _Bounds(NamedTuple):
    """Of elements of a dtype: from `lowest` on, below `highest`; by default from `low` on, below `high`."""

    lowest: float
    highest: float
    low: float
    high: float


def make_tensor(
    *shape: Any,
    dtype: DType,
    device: object,
    low: float | None = None,
    high: float | None = None,
    requires_grad: bool = False,
    noncontiguous: bool = False,
    exclude_zero: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """A Tensor with elements drawn uniformly from `[low, high)`: by default from -9 on and below 9, of
    integers below 10, of unsigned ones from 0 on.

    With `noncontiguous` it is every other column of twice as many; with `exclude_zero` zeros are the smallest
    normal number, or one. Raises ArgumentError for an interval that the dtype does not have.
    """
    sizes = tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], Sequence) else shape
    if noncontiguous and memory_format is not None:
        raise ArgumentError(
            mirrored(
                "The parameters `noncontiguous` and `memory_format` are mutually exclusive, but got "
                f"{noncontiguous=} and {memory_format=}"
            )
        )
    if requires_grad and not dtype.is_floating_point:
        raise ArgumentError(
            mirrored(
                f"`requires_grad=True` is not supported for boolean and integral dtypes, but got {dtype=}"
            )
        )
    apart = noncontiguous and math.prod(sizes) > 1
    if apart:
        sizes = (*sizes[:-1], 2 * sizes[-1])
    found: Any = _drawn(sizes, dtype, device, *_interval(dtype, low, high))
    if apart:
        found = found[..., 1::2]
    elif memory_format is not None:
        found = found.clone(memory_format=memory_format)
    if exclude_zero:
        found[found == 0] = _finfo(dtype).tiny if dtype.is_floating_point else 1
    return found.requires_grad_() if requires_grad else found


def _bounds(dtype: DType) -> _Bounds:
    if dtype is dtypes.bool_:
        return _Bounds(0, 2, 0, 2)
    if dtype.is_floating_point:
        return _Bounds(_finfo(dtype).min, _finfo(dtype).max, -9, 9)
    limits = _iinfo(dtype)
    return _Bounds(limits.min, limits.max + (dtype is not dtypes.int64), -9, 10)


def _interval(dtype: DType, low: float | None, high: float | None) -> tuple[float, float]:
    """The interval that was asked for, within that of the dtype."""
    bounds = _bounds(dtype)
    low = bounds.low if low is None else low
    high = bounds.high if high is None else high
    if math.isnan(low) or math.isnan(high):
        raise ArgumentError(mirrored(f"`low` and `high` cannot be NaN, but got {low=} and {high=}"))
    if low == high and dtype.is_floating_point:
        warn(
            "Passing `low==high` to `torch.testing.make_tensor` for floating or complex types is deprecated "
            "since 2.1 and will be removed in 2.3. Use `torch.full(...)` instead.",
            FutureWarning,
        )
    elif low >= high:
        raise ArgumentError(mirrored(f"`low` must be less than `high`, but got {low} >= {high}"))
    elif high < bounds.lowest or low >= bounds.highest:
        raise ArgumentError(
            mirrored(
                f"The value interval specified by `low` and `high` is [{low}, {high}), but {dtype} only "
                f"supports [{bounds.lowest}, {bounds.highest})"
            )
        )
    low, high = (min(max(value, bounds.lowest), bounds.highest) for value in (low, high))
    return (low, high) if dtype.is_floating_point else (math.ceil(low), math.ceil(high))


def _drawn(sizes: tuple[int, ...], dtype: DType, device: object, low: float, high: float) -> Tensor:
    if not dtype.is_floating_point:
        found: Tensor = FUNCTIONS["randint"](low, high, sizes, device=device, dtype=dtype)
        return found
    empty: Tensor = FUNCTIONS["empty"](sizes, device=device, dtype=dtype)
    if high - low >= _finfo(dtype).max:  # whose width has no number
        halved: Tensor = empty.uniform_(low / 2, high / 2).mul_(2)
        return halved
    drawn: Tensor = empty.uniform_(low, high)
    return drawn
