"""Kernels of losses with a margin against several classes.

In flow arrays, the result first, and the sizes of a step; out flows 0, or 1 where a target is no class.
"""

from __future__ import annotations

from math import inf

from retrograd.compiler.native.language import (
    Array,
    cast,
    inlined,
    native,
    put,
    reduce,
    select,
    take,
)
from retrograd.runtime.native.objects import Memory
from retrograd.runtime.native.small.lanes import LANES, VA, A


@native
def multilabel(arrays: Array[Memory], sizes: Array[int]) -> int:
    """The losses of rows of scores; arrays: losses, scores, targets, a row of room."""
    losses, columns = cast(Array[A], arrays[0]), sizes[1]
    for row in range(sizes[0]):
        x = cast(Array[A], arrays[1]) + row * columns
        target, others = cast(Array[int], arrays[2]) + row * columns, cast(Array[A], arrays[3])
        count = count_targets(x, target, others, columns)
        if count < 0:
            return 1
        total = cast(VA, 0.0)
        for k in range(count):
            less = cast(VA, x[target[k]])
            for at in range(0, columns, LANES):
                far = 1.0 - (less - take(VA, others + at, columns - at, -inf))
                total = total + select(far > 0.0, far, 0.0)
        losses[row] = reduce(lambda one, other: one + other, total) / cast(float, columns)
    return 0


@native
def multilabel_adjoint(arrays: Array[Memory], sizes: Array[int]) -> int:
    """Arrays: the scores' cotangents, scores, cotangents of the losses, targets, a row of room."""
    columns = sizes[1]
    for row in range(sizes[0]):
        to, x = cast(Array[A], arrays[0]) + row * columns, cast(Array[A], arrays[1]) + row * columns
        target, others = cast(Array[int], arrays[3]) + row * columns, cast(Array[A], arrays[4])
        count = count_targets(x, target, others, columns)
        if count < 0:
            return 1
        share = cast(Array[A], arrays[2])[row] / cast(float, columns)
        for at in range(0, columns, LANES):
            put(to + at, cast(VA, 0.0), columns - at)
        for k in range(count):
            less, total = cast(VA, x[target[k]]), cast(VA, 0.0)
            for at in range(0, columns, LANES):
                far = 1.0 - (less - take(VA, others + at, columns - at, -inf))
                here = select(far > 0.0, cast(VA, share), 0.0)
                put(to + at, take(VA, to + at, columns - at, 0.0) + here, columns - at)
                total = total + here
            to[target[k]] = to[target[k]] - reduce(lambda one, other: one + other, total)
    return 0


@inlined
def count_targets(x: Array[A], target: Array[int], others: Array[A], columns: int) -> int:
    """How many classes a row has for targets, and the scores of all others, -inf for theirs; -1 where one is
    no class."""
    for at in range(0, columns, LANES):
        put(others + at, take(VA, x + at, columns - at, 0.0), columns - at)
    count = columns
    for k in range(columns):
        if target[k] < -1 or target[k] >= columns:
            return -1
        if target[k] < 0 and count == columns:
            count = k
    for k in range(count):
        others[target[k]] = -inf
    return count
