"""Places drawn in proportion to weights, of few weights: what `samplers.multinomial` does of any.

In flow a generator's state, a law, and rows of weights; out flow places in each row. Nothing is drawn, and
the result is false, where weights are no distribution.
"""

from __future__ import annotations

import math

from retrograd.compiler.native.language import (
    Array,
    Float32,
    Floating,
    Record,
    exported,
    inlined,
    stack,
)
from retrograd.runtime.native.mathematics import log1p
from retrograd.runtime.random.twister import State
from retrograd.runtime.random.uniform import unit

MOST = 512
"""Weights of a row."""


class Weighted(Record):
    columns: int
    samples: int
    """Of a row."""
    replacement: int


@exported
def weighted_f32(
    state: State, to: Array[int], count: int, operands: Array[Array[Float32]], law: Weighted
) -> bool:
    return weighted(state, to, count // law.samples, operands[0], stack(Array[Float32], MOST), law)


@exported
def weighted_f64(
    state: State, to: Array[int], count: int, operands: Array[Array[float]], law: Weighted
) -> bool:
    return weighted(state, to, count // law.samples, operands[0], stack(Array[float], MOST), law)


@inlined
def weighted(
    state: State, to: Array[int], rows: int, weights: Array[Floating], room: Array[Floating], law: Weighted
) -> bool:
    for row in range(rows):
        if not is_distribution(weights + row * law.columns, law.columns):
            return False
    for row in range(rows):
        own, found = weights + row * law.columns, to + row * law.samples
        if law.replacement != 0 and law.samples > 1:
            by_inversion(state, found, own, room, law)
        else:
            by_race(state, found, own, room, law)
    return True


@inlined
def is_distribution(weights: Array[Floating], count: int) -> bool:
    """Whether they are finite, none is negative, and there is one."""
    positive = 0
    for i in range(count):
        if not 0.0 <= weights[i] < math.inf:
            return False
        if weights[i] > 0.0:
            positive = 1
    return positive != 0


@inlined
def by_race(
    state: State, to: Array[int], weights: Array[Floating], keys: Array[Floating], law: Weighted
) -> None:
    """The greatest quotients of weights and exponential numbers, the first of equal ones first."""
    for i in range(law.columns):
        keys[i] = -log1p(-unit(state))
        keys[i] = weights[i] / keys[i]
    for k in range(law.samples):
        best = 0
        for i in range(law.columns):
            if keys[i] > keys[best]:
                best = i
        to[k] = best
        keys[best] = -1.0


@inlined
def by_inversion(
    state: State, to: Array[int], weights: Array[Floating], shares: Array[Floating], law: Weighted
) -> None:
    """Where the cumulative distribution is no longer below a uniform number."""
    last = law.columns - 1
    shares[0] = weights[0]
    for i in range(last):
        shares[i + 1] = shares[i] + weights[i + 1]
    whole = shares[last]
    for i in range(last):
        shares[i] = shares[i] / whole
    for k in range(law.samples):
        point, low, high = unit(state), 0, last
        while low < high:
            middle = (low + high) // 2
            if shares[middle] < point:
                low = middle + 1
            else:
                high = middle
        to[k] = low
