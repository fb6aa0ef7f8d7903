"""Rows of a weight by index, whose gradients are shared out, and bags of them: sums, means or maxima.

In flow a weight `[rows, columns]`, indices `[N]` of its rows, and where among these each bag starts, `[B]`,
from 0 on; perhaps a weight for each index, `[N]`. Out flow bags `[B, columns]`; an empty one is zero.
"""

from __future__ import annotations

from collections.abc import Sequence

from retrograd.compiler import dtypes
from retrograd.compiler.errors import ShapeError, mirrored
from retrograd.compiler.ir.graph import Array, Value, apply, register
from retrograd.compiler.ops.composite import Composite
from retrograd.compiler.ops.extremum import argmax
from retrograd.compiler.ops.index import put_add, take, take_along
from retrograd.compiler.ops.iota import iota_like
from retrograd.compiler.ops.reduce import any_, sum_
from retrograd.compiler.ops.rows import rows
from retrograd.compiler.ops.shape import cast, expand, narrow, reshape, unsqueeze
from retrograd.compiler.ops.sought import search_sorted
from retrograd.compiler.record import record

NONE = -1
"""In place of a row that counts for nothing."""


def share(index: Value, count: int, dtype: dtypes.DType) -> Value:
    """One over how often the row of each index is read, of so many rows."""
    times = put_add(cast(rows.eq(index, index), dtype), index, 0, count)
    return 1.0 / take(times, index, 0)


# ---- single rows -------------------------------------------------------------------------------------------


@register
@record
class Embedding(Composite):
    """The rows at the indices, of any shape. The row `padding` has no gradient; `shared`, the gradient of
    each row is divided by how often it is read."""

    name = "embedding"
    padding: int
    shared: bool

    def formula(self, *values: Value) -> Value:
        weight, index = values
        return take(weight, index, 0)

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        weight, index = inputs
        count, last = weight.shape[0], len(index.shape)
        if self.padding != NONE:
            cotangent = rows.where(unsqueeze(rows.eq(index, self.padding), [last]), 0, cotangent)
        if self.shared:
            cotangent = cotangent * unsqueeze(share(index, count, dtypes.of(cotangent)), [last])
        return [put_add(cotangent, index, 0, count), None]


# ---- bags --------------------------------------------------------------------------------------------------


@record
class _Bags(Composite):
    """The row `padding` does not count."""

    padding: int

    def inspect(self, *arrays: Array) -> None:
        weight, index, starts, *_ = arrays
        _inspect_starts(starts, index.shape[0])
        outside = (index < 0) | (index >= weight.shape[0])
        if outside.any():
            first = int(outside.argmax())
            raise ShapeError(
                f"an index into a weight of {weight.shape[0]} rows",
                mirrored(
                    f"Index {first} of input takes value {index[first]} which is not in the valid range "
                    f"[0, {weight.shape[0]})"
                ),
            )

    def admits(self, *values: Value) -> Value:
        weight, index, starts, *_ = values
        fit = rows.logical_and(rows.ge(index, 0), rows.lt(index, weight.shape[0]))
        if not starts.shape[0]:
            return fit
        ends = rows.logical_and(rows.eq(narrow(starts, 0, 0, 1), 0), rows.le(_last(starts), index.shape[0]))
        return rows.logical_and(fit, ends)


def _inspect_starts(starts: Array, length: int) -> None:
    if not starts.size:
        return
    if starts[0] != 0:
        raise ShapeError(
            mirrored(
                "offsets[0] has to be 0, i.e., the first sequence in the mini-batch has to start from "
                f"position 0. However, got {starts[0]}"
            )
        )
    if starts[-1] > length:
        raise ShapeError(
            mirrored(
                f"offsets[-1] can not be greater than input's length {length} but got offsets[-1] of "
                f"{starts[-1]}"
            )
        )


def _last(x: Value) -> Value:
    return narrow(x, 0, x.shape[0] - 1, x.shape[0])


def bag_of_each(index: Value, starts: Value) -> Value:
    """In which bag each index is."""
    return search_sorted(starts, iota_like(index, 0), True, dtypes.int64) - 1


def _members(index: Value, bag: Value, count: int, padding: int, dtype: dtypes.DType) -> Value:
    """How many indices of each bag count, but at least 1."""
    counts = rows.ne(index, padding)
    return rows.maximum(put_add(cast(counts, dtype), bag, 0, count), 1.0)


@register
@record
class BagSum(_Bags):
    """The sum of each bag, or with `mean` its mean. A weight for each index may come last."""

    name = "embedding_bag"
    mean: bool
    shared: bool
    """Whether the gradient of each row is divided by how often it is read."""

    def formula(self, *values: Value) -> Value:
        weight, index, starts, *scales = values
        bag, count = bag_of_each(index, starts), starts.shape[0]
        found = take(weight, index, 0)
        for scale in scales:
            found = found * unsqueeze(scale, [1])
        if self.padding != NONE:
            found = rows.where(unsqueeze(rows.ne(index, self.padding), [1]), found, 0.0)
        total = put_add(found, bag, 0, count)
        if not self.mean:
            return total
        return total / unsqueeze(_members(index, bag, count, self.padding, dtypes.of(weight)), [1])

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        weight, index, starts, *scales = inputs
        if self.mean:
            bag = bag_of_each(index, starts)
            members = _members(index, bag, starts.shape[0], self.padding, dtypes.of(weight))
            cotangent = cotangent / unsqueeze(members, [1])
        found: list[Value | None] = [None] * len(inputs)
        if needed[0]:
            each = scales
            if self.shared:
                own = share(index, weight.shape[0], dtypes.of(weight))
                each = [scale * own for scale in scales] or [own]
            found[0] = apply(BagSumAdjoint(self.padding, weight.shape[0]), cotangent, index, starts, *each)
        if scales and needed[3]:
            kept = sum_(take(cotangent, bag_of_each(index, starts), 0) * take(weight, index, 0), [1])
            found[3] = kept if self.padding == NONE else rows.where(rows.ne(index, self.padding), kept, 0.0)
        return found


@register
@record
class BagSumAdjoint(Composite):
    """Cotangents `[B, columns]` of sums, indices, starts, and perhaps weights: a cotangent of all `rows`."""

    name = "embedding_bag_adjoint"
    padding: int
    rows: int

    def formula(self, *values: Value) -> Value:
        cotangent, index, starts, *scales = values
        each = take(cotangent, bag_of_each(index, starts), 0)
        for scale in scales:
            each = each * unsqueeze(scale, [1])
        if self.padding != NONE:
            each = rows.where(unsqueeze(rows.ne(index, self.padding), [1]), each, 0.0)
        return put_add(each, index, 0, self.rows)


@register
@record
class BagPlaces(_Bags):
    """Which index each element of a bag's maximum comes from, the first of equal ones: its place among all
    indices; -1 in an empty bag."""

    name = "embedding_bag_places"

    def formula(self, *values: Value) -> Value:
        weight, index, starts = values
        length, width, count = index.shape[0], weight.shape[1], starts.shape[0]
        bag = bag_of_each(index, starts)
        bags = unsqueeze(iota_like(starts, 0), [1])
        member = rows.logical_and(rows.eq(bag, bags), rows.ne(index, self.padding))
        if not length:
            return expand(reshape(iota_like(starts, 0) * 0 - 1, (count, 1)), (count, width))
        shown = rows.where(unsqueeze(member, [2]), unsqueeze(take(weight, index, 0), [0]), float("-inf"))
        return rows.where(unsqueeze(any_(member, [1]), [1]), argmax(shown, 1), -1)


@register
@record
class BagMax(Composite):
    """The greatest of each bag and column, of equal ones the first, which alone has a gradient."""

    name = "embedding_bag_max"
    padding: int

    def formula(self, *values: Value) -> Value:
        weight, index, starts = values
        places = apply(BagPlaces(self.padding), weight, index, starts)
        if not index.shape[0]:
            return expand(sum_(weight, [0]) * 0.0, (starts.shape[0], weight.shape[1]))
        row = take(index, rows.maximum(places, 0), 0)
        return rows.where(rows.ge(places, 0), take_along(weight, row, 0), 0.0)


# ---- as functions of values of any level -------------------------------------------------------------------


def embedding(weight: Value, index: Value, padding: int, shared: bool) -> Value:
    plain = (padding == NONE and not shared) or not dtypes.of(weight).is_floating_point
    return take(weight, index, 0) if plain else apply(Embedding(padding, shared), weight, index)


def bag_sum(
    weight: Value, index: Value, starts: Value, *scale: Value, padding: int, mean: bool, shared: bool
) -> Value:
    return apply(BagSum(padding, mean, shared), weight, index, starts, *scale)


def bag_max(weight: Value, index: Value, starts: Value, padding: int) -> Value:
    return apply(BagMax(padding), weight, index, starts)
