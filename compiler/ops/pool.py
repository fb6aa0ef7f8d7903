"""Pooling: each window of the last axes becomes its greatest element or its mean.

A pool is described by `Frame`: sizes, steps and dilations of the windows and what is added before and after
each axis. `frame` works it out from PyTorch's arguments, `ceil_mode` included. The elements of all windows
are as many shifted views of the operand, so a pool is pointwise and fuses with what is around it; windows of
very many elements are reduced along an axis instead. The adjoint adds nothing up where windows do not meet:
each element asks its own window.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from itertools import product
from math import prod
from typing import Any

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.errors import ArgumentError, ShapeError, mirrored
from retrograd.compiler.ir.graph import Array, Value, apply, register
from retrograd.compiler.ops.composite import Composite
from retrograd.compiler.ops.convolution import padded
from retrograd.compiler.ops.extremum import argmax
from retrograd.compiler.ops.index import take_along
from retrograd.compiler.ops.iota import iota_like
from retrograd.compiler.ops.reduce import sum_
from retrograd.compiler.ops.rows import rows
from retrograd.compiler.ops.shape import cast, expand, pad, reshape, slice_, squeeze, unsqueeze
from retrograd.compiler.ops.window import window
from retrograd.compiler.record import record

Sizes = tuple[int, ...]
_FEW = 36
"""Windows of so many elements at most are written out element by element."""


@record
class Frame:
    """Windows over the last axes."""

    sizes: Sizes
    steps: Sizes
    dilations: Sizes
    low: Sizes
    high: Sizes

    @property
    def few(self) -> bool:
        """Are there few elements to a window?"""
        return prod(self.sizes) <= _FEW

    @property
    def apart(self) -> bool:
        """Is each element in one window at most?"""
        return all(span <= step for span, step in zip(self.spans, self.steps, strict=True))

    @property
    def returns(self) -> bool:
        """Is a value soon returned to a window's elements?"""
        return self.few or self.apart

    @property
    def spans(self) -> Sizes:
        """From a window's first element to its last, along each axis."""
        return tuple(d * (size - 1) + 1 for size, d in zip(self.sizes, self.dilations, strict=True))

    def places(self, x: Value) -> Sizes:
        """How many windows there are along each axis."""
        sizes = x.shape[len(x.shape) - len(self.sizes) :]
        each = zip(sizes, self.low, self.high, self.spans, self.steps, strict=True)
        return tuple((n + low + high - span) // step + 1 for n, low, high, span, step in each)

    def limits(self, x: Value) -> list[tuple[Array, Array]]:
        """Along each axis, which elements of `x` are the first of a window and one beyond its last."""
        found, lead = [], len(x.shape) - len(self.sizes)
        for k, count in enumerate(self.places(x)):
            begins, dilation = np.arange(count) * self.steps[k] - self.low[k], self.dilations[k]
            first = begins + np.maximum(-(begins // dilation), 0) * dilation
            found.append((first, np.minimum(begins + self.spans[k], x.shape[lead + k])))
        return found

    def windows(self, x: Value, fill: float) -> Value:
        """`[…, *places, elements of a window]`"""
        rank = len(self.sizes)
        lead = len(x.shape) - rank
        grown = padded(x, self.low, self.high, fill=fill)
        shown = window(grown, range(lead, lead + rank), self.sizes, self.steps, self.dilations)
        return reshape(shown, (*shown.shape[: lead + rank], prod(self.sizes)))

    def elements(self, x: Value, fill: float) -> list[Value]:
        """The first element of every window, the second of every window, …: each `[…, *places]`."""
        lead, places = x.shape[: len(x.shape) - len(self.sizes)], self.places(x)
        grown = padded(x, self.low, self.high, fill=fill)
        found = []
        for offset in product(*map(range, self.sizes)):
            starts = [k * d for k, d in zip(offset, self.dilations, strict=True)]
            stops = [
                start + (count - 1) * step + 1
                for start, count, step in zip(starts, places, self.steps, strict=True)
            ]
            zeros, ones = [0] * len(lead), [1] * len(lead)
            found.append(slice_(grown, [*zeros, *starts], [*lead, *stops], [*ones, *self.steps]))
        return found

    def returned(self, x: Value, values: Value, which: Value | None = None) -> Value:
        """A value for every window, given to all of its elements or to the one that `which` tells, summed
        where windows overlap: the shape of `x`."""
        if self.apart:
            return self._returned_once(x, values, which)
        shape, total = tuple(x.shape), None
        lead = [0] * (len(shape) - len(self.sizes))
        places = self.places(x)
        for number, offset in enumerate(product(*map(range, self.sizes))):
            given = values if which is None else rows.where(rows.eq(which, number), values, 0.0)
            starts = [k * d for k, d in zip(offset, self.dilations, strict=True)]
            ends = [
                n + low + high - start - (count - 1) * step - 1
                for n, low, high, start, count, step in zip(
                    shape[len(lead) :], self.low, self.high, starts, places, self.steps, strict=True
                )
            ]
            gaps = [step - 1 for step in self.steps]
            each = pad(given, [*lead, *starts], [*lead, *ends], [*lead, *gaps])
            total = each if total is None else total + each
        return self._cropped(total, shape)

    def _returned_once(self, x: Value, values: Value, which: Value | None) -> Value:
        """The same where each element belongs to one window at most: the axis of windows and that of their
        elements, side by side, are one."""
        shape, rank = tuple(x.shape), len(self.sizes)
        lead, places = shape[: len(shape) - rank], self.places(x)
        single = (*lead, *(n for count in places for n in (count, 1)))
        whole = (*lead, *(n for both in zip(places, self.sizes, strict=True) for n in both))
        given = expand(reshape(values, single), whole)
        if which is not None:
            number, factor = iota_like(given, len(whole) - 1), 1
            for k in reversed(range(rank - 1)):
                factor *= self.sizes[k + 1]
                number = number + iota_like(given, len(lead) + 2 * k + 1) * factor
            mine = rows.eq(reshape(which, single), cast(number, dtypes.of(which)))
            given = rows.where(mine, given, 0.0)
        zeros = [0] * len(lead)
        ends = [n for s, span in zip(self.steps, self.spans, strict=True) for n in (0, s - span)]
        gaps = [n for d in self.dilations for n in (0, d - 1)]
        given = pad(given, [0] * len(whole), [*zeros, *ends], [*zeros, *gaps])
        joined = tuple(count * step for count, step in zip(places, self.steps, strict=True))
        return self._cropped(reshape(given, (*lead, *joined)), shape)

    def _cropped(self, grown: Value, shape: Sizes) -> Value:
        """What was added before an axis taken away again, and whatever lies after it."""
        lead = len(shape) - len(self.sizes)
        high = [
            n + low - size for n, low, size in zip(shape[lead:], self.low, grown.shape[lead:], strict=True)
        ]
        return padded(grown, [-low for low in self.low], high)


def _by(sizes: Sequence[int]) -> str:
    return "x".join(map(str, sizes))


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
    for n, size, step, added, dilation in zip(
        shape[-len(sizes) :], sizes, steps, padding, dilations, strict=True
    ):
        if added > size // 2:
            raise ArgumentError(
                mirrored(
                    "pad should be at most half of effective kernel size, but got "
                    f"pad={added}, kernel_size={size} and dilation={dilation}"
                ),
                f"pooling with padding {list(padding)} and kernel size {list(sizes)}",
            )
        span = dilation * (size - 1) + 1
        places = (n + 2 * added - span + (step - 1 if ceil else 0)) // step + 1
        if ceil and (places - 1) * step >= n + added:
            places -= 1
        if places < 1:
            lead = shape[-len(sizes) - 1 :] if len(sizes) > 1 else (*shape[-2:-1], 1, *shape[-1:])
            small = (lead[0], *[0] * (len(lead) - 1)) if len(sizes) > 1 else (lead[0], 1, 0)
            raise ShapeError(
                f"pooling of shape {list(shape)} with kernel size {list(sizes)}",
                mirrored(
                    f"Given input size: ({_by(lead)}). Calculated output size: ({_by(small)}). "
                    "Output size is too small"
                ),
            )
        high.append(max(added, (places - 1) * step + span - n - added))
    return Frame(tuple(sizes), tuple(steps), tuple(dilations), tuple(padding), tuple(high))


@record
class _Pool(Composite):
    frame: Frame

    @property
    def title(self) -> str:
        return f"{super().title}{len(self.frame.sizes)}D"


@register
@record
class MaxPool(_Pool):
    """The greatest element of each window, of equal ones the first, which alone has a gradient."""

    name = "max_pool"
    categories = (1, 2)

    @property
    def title(self) -> str:
        return f"{super().title}WithIndices"

    def formula(self, *values: Value) -> Value:
        (x,) = values
        if self.frame.few:
            return reduce(rows.maximum, self.frame.elements(x, dtypes.of(x).least))
        shown = self.frame.windows(x, dtypes.of(x).least)
        last = len(shown.shape) - 1
        return squeeze(take_along(shown, unsqueeze(argmax(shown, last), [last]), last), [last])

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        if not self.frame.returns:
            return super().adjoint(cotangent, out, inputs, needed)
        if prod(self.frame.sizes) == 1:  # of x, only the shape is known
            return [self.frame.returned(inputs[0], cotangent)]
        if self.frame.apart:
            return [self.frame.returned(inputs[0], cotangent, which_is_greatest(self.frame, inputs[0]))]
        return [apply(MaxPoolAdjoint(self.frame), cotangent, inputs[0])]


@register
@record
class MaxPoolAdjoint(_Pool):
    """Of cotangents of windows that meet, and all elements: what the greatest elements are given, summed."""

    name = "max_pool_adjoint"

    def formula(self, *values: Value) -> Value:
        cotangent, x = values
        return self.frame.returned(x, cotangent, which_is_greatest(self.frame, x))


def which_is_greatest(frame: Frame, x: Value) -> Value:
    """Which of its elements each window's greatest is: the first of equal ones; but among few, which are
    counted in int8, of several NaN the last, as in PyTorch."""
    if not frame.few:
        return argmax(frame.windows(x, dtypes.of(x).least), len(x.shape))
    best, *others = frame.elements(x, dtypes.of(x).least)
    if not others:
        return cast(iota_like(best, 0) * 0, dtypes.int8)
    which: Value = _first_inside(frame, x)
    for number, each in enumerate(others, 1):
        greater = rows.gt(each, best)
        if dtypes.of(x).is_floating_point:
            greater = rows.logical_or(greater, rows.ne(each, each))
        best, which = rows.where(greater, each, best), rows.where(greater, np.int8(number), which)
    return which


def _first_inside(frame: Frame, x: Value) -> Array:
    """Which element of each window is the first that was not added before an axis, for each place; a single
    0 where none were."""
    first = np.zeros((), np.int8)
    if not any(frame.low):
        return first
    for count, size, step, dilation, low in zip(
        frame.places(x), frame.sizes, frame.steps, frame.dilations, frame.low, strict=True
    ):
        along = np.minimum(np.maximum(-((np.arange(count) * step - low) // dilation), 0), size - 1)
        first = first[..., None] * size + along
    return first.astype(np.int8)


@register
@record
class MaxPoolIndices(_Pool):
    """Where the element that `max_pool` takes stands among the last axes of the operand made one (int64)."""

    name = "max_pool_indices"
    categories = (1, 2)

    def formula(self, *values: Value) -> Value:
        (x,), each = values, self.frame
        rest = cast(which_is_greatest(each, x), dtypes.int64)
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
@record
class AvgPool(_Pool):
    """The mean of each window; `divisor` in place of the number of elements, if it is not 0.

    Elements added by padding count if `counted`; those that only `ceil_mode` adds never do. Of whole numbers
    the mean is cut to one.
    """

    name = "avg_pool"
    categories = (1, 2)
    padding: Sizes
    counted: bool
    divisor: int

    def formula(self, *values: Value) -> Value:
        (x,) = values
        if self.frame.few:
            total = reduce(rows.add, self.frame.elements(x, 0))
        else:
            shown = self.frame.windows(x, 0)
            total = sum_(shown, [len(shown.shape) - 1])
        if dtypes.of(x).is_floating_point:
            return total * self._weights(x)
        counts = self._counts(x)
        return rows.floor_divide(total - rows.fmod(total, counts), counts)

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        if not self.frame.returns:
            return super().adjoint(cotangent, out, inputs, needed)
        (x,) = inputs
        return [self.frame.returned(x, cotangent * self._weights(x))]

    def _weights(self, x: Value) -> Value:
        """One over the number of elements in each window."""
        weights = 1 / self._counts(x)
        return weights if isinstance(weights, float) else weights.astype(dtypes.of(x).numpy)

    def _counts(self, x: Value) -> Any:
        """The number of elements in each window, one number if all are alike."""
        if self.divisor:
            return self.divisor
        counts = []
        lead = len(x.shape) - len(self.frame.sizes)
        for k, (size, step, low, high, added) in enumerate(
            zip(
                self.frame.sizes, self.frame.steps, self.frame.low, self.frame.high, self.padding, strict=True
            )
        ):
            n = x.shape[lead + k]
            start = np.arange((n + low + high - size) // step + 1) * step - low
            first, end = (-added, n + added) if self.counted else (0, n)
            counts.append(np.minimum(start + size, end) - np.maximum(start, first))
        found = reduce(np.multiply.outer, counts)
        return int(found.flat[0]) if bool((found == found.flat[0]).all()) else found


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
