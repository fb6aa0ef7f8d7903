"""The greatest elements of windows that begin somewhere else in each channel.

In flow images `[N, C, …]` and, for each of their axes, where windows begin and end, `[N, C, windows]`; out
flow the places of the greatest elements in their channel, whose axes are made one, `[N, C, windows, …]`.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from retrograd.compiler.ir.graph import Fixed, Value, apply, register
from retrograd.compiler.ops.composite import Composite
from retrograd.compiler.ops.extremum import argmax
from retrograd.compiler.ops.index import take_along
from retrograd.compiler.ops.shape import concat, reshape, unsqueeze
from retrograd.compiler.record import record


@register
@record
class WindowPlaces(Fixed, Composite):
    """Of windows of one size, which is not 0."""

    name = "window_places"
    window: tuple[int, ...]

    def formula(self, *values: Value) -> Value:
        x, *limits = values
        (n, c, *sizes), rank = x.shape, len(self.window)
        counts = [begin.shape[2] for begin in limits[:rank]]
        places: Value = 0
        for axis, (begin, size, window) in enumerate(zip(limits, sizes, self.window)):
            spread = [1] * (2 * rank)
            spread[axis], spread[rank + axis] = counts[axis], window
            inside = concat([unsqueeze(begin, [3]) + k for k in range(window)], 3)
            places = places * size + reshape(inside, (n, c, *spread))
        whole = prod(counts) * prod(self.window)
        elements = take_along(reshape(x, (n, c, prod(sizes))), reshape(places, (n, c, whole)), 2)
        each = reshape(elements, (n, c, prod(counts), prod(self.window)))
        greatest = unsqueeze(argmax(each, 3), [3])
        found = take_along(reshape(places, each.shape), greatest, 3)
        return reshape(found, (n, c, *counts))


def window_places(x: Value, begins: Sequence[Value], window: Sequence[int]) -> Value:
    """The places, by where windows begin."""
    ends = [begin + size for begin, size in zip(begins, window)]
    return apply(WindowPlaces(tuple(window)), x, *begins, *ends)
