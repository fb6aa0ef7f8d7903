"""Distances between the rows of a matrix, each pair once, as in the upper triangle of all, and between those
of two matrices.

    pair_distances   [N, D] -> [N (N - 1) / 2]
    distances        [B, M, D], [B, N, D] -> [B, M, N]

Differences are squared, which loses no digits between near rows, as products of the matrices would."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from retrograd.compiler.ir.graph import Array, Value, apply, register
from retrograd.compiler.ops.composite import Composite
from retrograd.compiler.ops.index import put_add, take
from retrograd.compiler.ops.reduce import sum_
from retrograd.compiler.ops.rows import rows
from retrograd.compiler.ops.shape import permute, unsqueeze
from retrograd.compiler.ops.statistics import norm, over
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


@register
@record
class Distances(Composite):
    """Of each row to each row of another matrix: the roots of the sums of squares."""

    name = "distances"

    @property
    def title(self) -> str:
        return "Cdist"

    def formula(self, *values: Value) -> Value:
        x, y = values
        return norm(unsqueeze(x, [2]) - unsqueeze(y, [1]), 2.0, [3])

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        x, y = inputs
        share = over(cotangent, out)
        of_x = apply(DistancesAdjoint(), share, x, y) if needed[0] else None
        of_y = apply(DistancesAdjoint(), permute(share, (0, 2, 1)), y, x) if needed[1] else None
        return [of_x, of_y]


@register
@record
class DistancesAdjoint(Composite):
    """`[B, M, N]` numbers times differences of rows, `[B, M, D]` less `[B, N, D]`, summed over the latter."""

    name = "distances_adjoint"

    def formula(self, *values: Value) -> Value:
        share, x, y = values
        return sum_((unsqueeze(x, [2]) - unsqueeze(y, [1])) * unsqueeze(share, [3]), [2])


# ---- as functions of values of any level -------------------------------------------------------------------


def pair_distances(x: Value) -> Value:
    return apply(PairDistances(), x)


def distances(x: Value, y: Value) -> Value:
    return apply(Distances(), x, y)
