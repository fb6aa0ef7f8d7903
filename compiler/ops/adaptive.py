"""Adaptive pools: the last axes divided in so many parts each, as evenly as can be, and of each part the mean
or the greatest element.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.ir.graph import Array, Value, apply, register
from retrograd.compiler.ops.composite import Composite
from retrograd.compiler.ops.extremum import argmax
from retrograd.compiler.ops.index import take, take_along
from retrograd.compiler.ops.pool import Sizes, avg_pool, max_pool, max_pool_indices
from retrograd.compiler.ops.rows import rows
from retrograd.compiler.ops.shape import permute, reshape, squeeze, unsqueeze
from retrograd.compiler.ops.spans import span_sums
from retrograd.compiler.record import record


def adaptive_avg_pool(x: Value, places: Sequence[int]) -> Value:
    """The last axes divided in so many parts each, as evenly as can be; the mean of each part."""
    lead = len(x.shape) - len(places)
    if (sizes := _evenly(x, places)) is not None:
        return avg_pool(x, sizes, sizes, [0] * len(sizes))
    for axis, count in enumerate(places, lead):
        start, end = _parts(x.shape[axis], count)
        length = (end - start).reshape(-1, *[1] * (len(x.shape) - axis - 1))
        x = rows.div(span_sums(x, axis, start, end), length.astype(dtypes.of(x).numpy))
    return x


@record
class _Adaptive(Composite):
    """The last axes are divided in so many parts each."""

    categories = (1, 2)
    places: Sizes

    def limits(self, x: Value) -> list[tuple[Array, Array]]:
        """Along each axis, where parts start and end."""
        sizes = x.shape[len(x.shape) - len(self.places) :]
        return [_parts(size, count) for size, count in zip(sizes, self.places, strict=True)]


@register
@record
class AdaptiveMaxPool(_Adaptive):
    """The greatest element of each part, of equal ones the first, which alone has a gradient."""

    name = "adaptive_max_pool"

    def formula(self, *values: Value) -> Value:
        parts = _divided(values[0], self.places)
        last = len(parts.shape) - 1
        return squeeze(take_along(parts, unsqueeze(argmax(parts, last), [last]), last), [last])

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        return [apply(AdaptiveMaxPoolAdjoint(self.places), cotangent, inputs[0])]


@register
@record
class AdaptiveMaxPoolAdjoint(_Adaptive):
    """Of cotangents of parts, and all elements: each is the cotangent of its part's greatest element."""

    name = "adaptive_max_pool_adjoint"

    def formula(self, *values: Value) -> Value:
        cotangent, x = values
        (found,) = Composite.adjoint(AdaptiveMaxPool(self.places), cotangent, cotangent, (x,), (True,))
        return found


def adaptive_max_pool(x: Value, places: Sequence[int]) -> Value:
    """The same with the greatest element of each part, of equal ones the first."""
    if (sizes := _evenly(x, places)) is not None:
        return max_pool(x, sizes, sizes, [0] * len(sizes), [1] * len(sizes))
    return apply(AdaptiveMaxPool(tuple(places)), x)


def adaptive_max_pool_indices(x: Value, places: Sequence[int]) -> Value:
    """Where the elements that `adaptive_max_pool` takes stand among the last axes made one (int64)."""
    if (sizes := _evenly(x, places)) is not None:
        return max_pool_indices(x, sizes, sizes, [0] * len(sizes), [1] * len(sizes))
    parts, rank = _divided(x, places), len(places)
    standing = np.zeros((1,) * (2 * rank), np.int64)
    for k, (size, count) in enumerate(zip(x.shape[-rank:], places, strict=True)):
        inside = _inside(size, count)
        shape = [1] * (2 * rank)
        shape[k], shape[rank + k] = inside.shape
        standing = standing * size + inside.reshape(shape)
    first = np.arange(prod(places)).reshape(tuple(places)) * parts.shape[-1]
    return take(standing.ravel(), rows.add(argmax(parts, len(parts.shape) - 1), first), 0)


def _evenly(x: Value, places: Sequence[int]) -> list[int] | None:
    """The sizes of the parts, if they are all alike."""
    pairs = [*zip(x.shape[len(x.shape) - len(places) :], places, strict=True)]
    even = all(count and n and n % count == 0 for n, count in pairs)
    return [n // count for n, count in pairs] if even else None


def _divided(x: Value, places: Sequence[int]) -> Value:
    """The parts of the last axes, the elements of each, some perhaps twice, as a last axis."""
    lead, rank = len(x.shape) - len(places), len(places)
    for k, count in enumerate(places):
        axis = lead + 2 * k
        x = take(x, _inside(x.shape[axis], count), axis)
    order = [*range(lead), *range(lead, lead + 2 * rank, 2), *range(lead + 1, lead + 2 * rank, 2)]
    parts = permute(x, order)
    return reshape(parts, (*parts.shape[: lead + rank], prod(parts.shape[lead + rank :])))


def _inside(size: int, count: int) -> Array:
    """What is in each part, as long as the longest: of shorter ones the last element again."""
    start, end = _parts(size, count)
    longest = int((end - start).max(initial=1))
    inside: Array = np.minimum(start[:, None] + np.arange(longest), end[:, None] - 1)
    return inside


def _parts(size: int, count: int) -> tuple[Array, Array]:
    """Where each part starts and ends."""
    k = np.arange(count)
    return k * size // count, -(-(k + 1) * size // count)
