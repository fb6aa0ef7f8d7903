"""Sums of spans of an axis: the parts of an adaptive pool, the nearest element, and what is returned to it.

Neither where spans start nor where they end goes back along the axis, so the adjoint is of the same form:
each element is in the spans from one to another.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.ir.graph import Array, Value, apply, register
from retrograd.compiler.ops.composite import Composite
from retrograd.compiler.ops.index import take
from retrograd.compiler.ops.reduce import sum_
from retrograd.compiler.ops.rows import rows
from retrograd.compiler.ops.shape import cast
from retrograd.compiler.record import record


@register
@record
class SpanSums(Composite):
    """`out[…, i, …]` is the sum of `x[…, starts[i]:ends[i], …]` along the axis."""

    name = "span_sums"
    categories = (1, 2)
    axis: int
    starts: tuple[int, ...]
    ends: tuple[int, ...]

    def formula(self, *values: Value) -> Value:
        (x,) = values
        start, end = np.array(self.starts, np.int64), np.array(self.ends, np.int64)
        inside = start[:, None] + np.arange(max(int((end - start).max(initial=1)), 1))
        own = inside < end[:, None]
        after = [1] * (len(x.shape) - self.axis - 1)
        shown = take(x, np.minimum(inside, x.shape[self.axis] - 1), self.axis)
        if not own.all():
            shown = rows.where(own.reshape(*own.shape, *after), shown, 0)
        return cast(sum_(shown, [self.axis + 1]), dtypes.of(x))

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        places = np.arange(inputs[0].shape[self.axis])
        first = np.searchsorted(np.array(self.ends), places, "right")
        end = np.maximum(np.searchsorted(np.array(self.starts), places, "right"), first)
        return [span_sums(cotangent, self.axis, first, end)]


def span_sums(x: Value, axis: int, starts: Array, ends: Array) -> Value:
    return apply(SpanSums(axis, tuple(starts.tolist()), tuple(ends.tolist())), x)
