"""Pooling: each window of the last axes becomes its greatest element or its mean.

A pool is described by `Frame`: sizes, steps and dilations of the windows and what is added before and after
each axis. `frame` works it out from PyTorch's arguments, `ceil_mode` included.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from math import prod

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.errors import ArgumentError, ShapeError
from retrograd.compiler.ir.graph import Array, Value, apply, register
from retrograd.compiler.ops.composite import Composite
from retrograd.compiler.ops.contract import dot
from retrograd.compiler.ops.convolution import padded
from retrograd.compiler.ops.index import take, take_along
from retrograd.compiler.ops.reduce import argmax, sum_
from retrograd.compiler.ops.rows import rows
from retrograd.compiler.ops.shape import iota_like, permute, reshape, squeeze, unsqueeze
from retrograd.compiler.ops.window import window

Sizes = tuple[int, ...]


@dataclass(frozen=True)
class Frame:
    """Windows over the last axes."""

    sizes: Sizes
    steps: Sizes
    dilations: Sizes
    low: Sizes
    high: Sizes

    def windows(self, x: Value, fill: float) -> Value:
        """`[…, *places, elements of a window]`"""
        rank = len(self.sizes)
        lead = len(x.shape) - rank
        grown = padded(x, self.low, self.high, fill=fill)
        shown = window(grown, range(lead, lead + rank), self.sizes, self.steps, self.dilations)
        return reshape(shown, (*shown.shape[: lead + rank], prod(self.sizes)))


def frame(
    shape: Sequence[int],
    sizes: Sequence[int],
    steps: Sequence[int],
    padding: Sequence[int],
    dilations: Sequence[int],
    ceil: bool = False,
) -> Frame:
    """The windows over the last axes of `shape`; with `ceil` also those that reach beyond the end."""
    high = []
    for n, size, step, pad, dilation in zip(
        shape[-len(sizes) :], sizes, steps, padding, dilations, strict=True
    ):
        if pad > size // 2:
            raise ArgumentError(
                f"pooling with padding {list(padding)} and kernel size {list(sizes)}",
                "pad should be at most half of effective kernel size",
            )
        span = dilation * (size - 1) + 1
        places = (n + 2 * pad - span + (step - 1 if ceil else 0)) // step + 1
        if ceil and (places - 1) * step >= n + pad:
            places -= 1
        if places < 1:
            raise ShapeError(
                f"pooling of shape {list(shape)} with kernel size {list(sizes)}",
                "Output size is too small: no window fits",
            )
        high.append(max(pad, (places - 1) * step + span - n - pad))
    return Frame(tuple(sizes), tuple(steps), tuple(dilations), tuple(padding), tuple(high))


@dataclass(frozen=True)
class _Pool(Composite):
    frame: Frame

    @property
    def title(self) -> str:
        return f"{super().title}{len(self.frame.sizes)}D"


@register
@dataclass(frozen=True)
class MaxPool(_Pool):
    """The greatest element of each window, of equal ones the first, which alone has a gradient."""

    name = "max_pool"
    categories = (1, 2)

    @property
    def title(self) -> str:
        return f"{super().title}WithIndices"

    def formula(self, *values: Value) -> Value:
        (x,) = values
        shown = self.frame.windows(x, dtypes.of(x).least)
        last = len(shown.shape) - 1
        return squeeze(take_along(shown, unsqueeze(argmax(shown, last), [last]), last), [last])


@register
@dataclass(frozen=True)
class MaxPoolIndices(_Pool):
    """Where the element that `max_pool` takes stands among the last axes of the operand made one (int64)."""

    name = "max_pool_indices"
    categories = (1, 2)

    def formula(self, *values: Value) -> Value:
        (x,) = values
        each = self.frame
        shown = each.windows(x, dtypes.of(x).least)
        rest = argmax(shown, len(shown.shape) - 1)
        lead = len(x.shape) - len(each.sizes)
        total, stride = rest * 0, 1
        for k in reversed(range(len(each.sizes))):
            inside = rows.remainder(rest, each.sizes[k])
            rest = rows.floor_divide(rest, each.sizes[k])
            start = iota_like(rest, lead + k) * each.steps[k] - each.low[k]
            total = total + (start + inside * each.dilations[k]) * stride
            stride *= x.shape[lead + k]
        return total


@register
@dataclass(frozen=True)
class AvgPool(_Pool):
    """The mean of each window; `divisor` in place of the number of elements, if it is not 0.

    Elements added by padding count if `counted`; those that only `ceil_mode` adds never do.
    """

    name = "avg_pool"
    padding: Sizes
    counted: bool
    divisor: int

    def formula(self, *values: Value) -> Value:
        (x,) = values
        shown = self.frame.windows(x, 0.0)
        return sum_(shown, [len(shown.shape) - 1]) * self._weights(x)

    def _weights(self, x: Value) -> Value:
        """One over the number of elements in each window."""
        if self.divisor:
            return 1 / self.divisor
        counts = []
        lead = len(x.shape) - len(self.frame.sizes)
        for k, (size, step, low, high, pad) in enumerate(
            zip(
                self.frame.sizes, self.frame.steps, self.frame.low, self.frame.high, self.padding, strict=True
            )
        ):
            n = x.shape[lead + k]
            start = np.arange((n + low + high - size) // step + 1) * step - low
            first, end = (-pad, n + pad) if self.counted else (0, n)
            counts.append(np.minimum(start + size, end) - np.maximum(start, first))
        weights = 1 / reduce(np.multiply.outer, counts)
        same = bool((weights == weights.flat[0]).all())
        return float(weights.flat[0]) if same else weights.astype(dtypes.of(x).numpy)


# ---- as functions of values of any level -------------------------------------------------------------------


def max_pool(
    x: Value,
    sizes: Sequence[int],
    steps: Sequence[int],
    padding: Sequence[int],
    dilations: Sequence[int],
    ceil: bool = False,
) -> Value:
    return apply(MaxPool(frame(x.shape, sizes, steps, padding, dilations, ceil)), x)


def max_pool_indices(
    x: Value,
    sizes: Sequence[int],
    steps: Sequence[int],
    padding: Sequence[int],
    dilations: Sequence[int],
    ceil: bool = False,
) -> Value:
    return apply(MaxPoolIndices(frame(x.shape, sizes, steps, padding, dilations, ceil)), x)


def avg_pool(
    x: Value,
    sizes: Sequence[int],
    steps: Sequence[int],
    padding: Sequence[int],
    ceil: bool = False,
    count_padding: bool = True,
    divisor: int = 0,
) -> Value:
    windows = frame(x.shape, sizes, steps, padding, [1] * len(sizes), ceil)
    return apply(AvgPool(windows, tuple(padding), count_padding, divisor), x)


def adaptive_avg_pool(x: Value, places: Sequence[int]) -> Value:
    """The last axes divided in so many parts each, as evenly as can be; the mean of each part."""
    lead = len(x.shape) - len(places)
    sizes = [n // count for n, count in zip(x.shape[lead:], places, strict=True)]
    if all(n % count == 0 for n, count in zip(x.shape[lead:], places, strict=True)):
        return avg_pool(x, sizes, sizes, [0] * len(sizes))
    for axis, count in enumerate(places, lead):
        start, end = _parts(x.shape[axis], count)
        inside = np.arange(x.shape[axis])
        share = (inside >= start[:, None]) & (inside < end[:, None])
        matrix = np.ascontiguousarray((share / share.sum(1, keepdims=True)).T, dtypes.of(x).numpy)
        order = [k for k in range(len(x.shape)) if k != axis] + [axis]
        last = permute(x, order)
        flat = dot(reshape(last, (prod(last.shape[:-1]), last.shape[-1])), matrix)
        x = permute(reshape(flat, (*last.shape[:-1], count)), [order.index(k) for k in range(len(order))])
    return x


def adaptive_max_pool(x: Value, places: Sequence[int]) -> Value:
    """The same with the greatest element of each part, of equal ones the first."""
    lead, rank = len(x.shape) - len(places), len(places)
    for k, count in enumerate(places):
        axis = lead + 2 * k
        start, end = _parts(x.shape[axis], count)
        inside = start[:, None] + np.arange(int((end - start).max()))
        x = take(x, np.minimum(inside, end[:, None] - 1), axis)
    order = [*range(lead), *range(lead, lead + 2 * rank, 2), *range(lead + 1, lead + 2 * rank, 2)]
    parts = permute(x, order)
    shown = reshape(parts, (*parts.shape[: lead + rank], prod(parts.shape[lead + rank :])))
    last = lead + rank
    return squeeze(take_along(shown, unsqueeze(argmax(shown, last), [last]), last), [last])


def _parts(size: int, count: int) -> tuple[Array, Array]:
    """Where each part starts and ends."""
    k = np.arange(count)
    return k * size // count, -(-(k + 1) * size // count)
