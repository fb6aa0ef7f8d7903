"""Where values stand among others, and whether they do: `searchsorted`, `isin`.

Each is a comparison with all in its formula, so that it is there in compiled code; NumPy searches.
"""

from __future__ import annotations

from math import prod
from typing import Literal

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.dtypes import DType
from retrograd.compiler.ir.graph import Array, Value, apply, register
from retrograd.compiler.ops.composite import Composite
from retrograd.compiler.ops.reduce import any_, sum_
from retrograd.compiler.ops.rows import rows
from retrograd.compiler.ops.shape import cast, reshape, unsqueeze
from retrograd.compiler.record import record


@register
@record
class SearchSorted(Composite):
    """How many elements of a sorted vector, or of the line with the same place in the other axes, lie below
    each value; with `right`, not above it. NaN stands behind all others.
    """

    name = "searchsorted"
    categories = (0, 1, 2)
    right: bool
    counts: DType

    def formula(self, *values: Value) -> Value:
        sequence, sought = values
        many = len(sequence.shape) > 1
        against = unsqueeze(sequence, [len(sequence.shape) - 1]) if many else sequence
        wanted = unsqueeze(sought, [len(sought.shape)])
        below = (rows.le if self.right else rows.lt)(against, wanted)
        if dtypes.of(sought).is_floating_point:
            below = rows.logical_or(below, rows.isnan(wanted))
        return sum_(cast(below, self.counts), [len(below.shape) - 1])

    def compute(self, *arrays: Array) -> Array:
        sequence, sought = arrays
        if sequence.ndim > 1:
            return super().compute(sequence, sought)
        return np.asarray(sequence.searchsorted(sought, self._side), self.counts.numpy)

    @property
    def _side(self) -> Literal["left", "right"]:
        return "right" if self.right else "left"


@register
@record
class IsIn(Composite):
    """Whether each element is among others."""

    name = "isin"
    categories = (0, 1, 2)

    def formula(self, *values: Value) -> Value:
        elements, others = values
        last = len(elements.shape)
        return any_(rows.eq(unsqueeze(elements, [last]), reshape(others, (prod(others.shape),))), [last])

    def compute(self, *arrays: Array) -> Array:
        elements, others = arrays
        return np.asarray(np.isin(elements, others))


# ---- as functions of values of any level -------------------------------------------------------------------


def search_sorted(sequence: Value, sought: Value, right: bool, counts: DType) -> Value:
    return apply(SearchSorted(right, counts), sequence, sought)


def is_in(elements: Value, others: Value) -> Value:
    return apply(IsIn(), elements, others)
