"""Distances between the rows of a matrix, each pair once, as in the upper triangle of all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from retrograd.compiler.ir.graph import Array, Value, apply, register
from retrograd.compiler.ops.composite import Composite
from retrograd.compiler.ops.index import put_add, take
from retrograd.compiler.ops.reduce import sum_
from retrograd.compiler.ops.rows import rows
from retrograd.compiler.ops.shape import unsqueeze
from retrograd.compiler.record import record


def pairs(count: int) -> tuple[Array, Array]:
    """The first and the second of each pair of so many."""
    first, second = np.triu_indices(count, 1)
    return first, second


@register
@record
class PairDistances(Composite):
    """The roots of the sums of squares: `[N, D]` to `[N (N - 1) / 2]`."""

    name = "pair_distances"

    def formula(self, *values: Value) -> Value:
        (x,) = values
        first, second = pairs(x.shape[0])
        apart = take(x, first, 0) - take(x, second, 0)
        return rows.sqrt(sum_(apart * apart, [1]))

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        share = rows.where(rows.eq(out, 0.0), 0.0, cotangent / out)
        return [apply(PairsAdjoint(), share, *inputs)]


@register
@record
class PairsAdjoint(Composite):
    """The difference of each pair times a number, added to the first and taken from the second."""

    name = "pairs_adjoint"

    def formula(self, *values: Value) -> Value:
        share, x = values
        first, second = pairs(x.shape[0])
        apart = (take(x, first, 0) - take(x, second, 0)) * unsqueeze(share, [1])
        return put_add(apart, first, 0, x.shape[0]) - put_add(apart, second, 0, x.shape[0])


# ---- as functions of values of any level -------------------------------------------------------------------


def pair_distances(x: Value) -> Value:
    return apply(PairDistances(), x)
