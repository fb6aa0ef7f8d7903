"""A line search for the strong Wolfe conditions: far enough down, and nearly flat.

Nocedal and Wright, Numerical Optimization, algorithms 3.5 (a bracket) and 3.6 (zoom), with the safeguards of
Schmidt's minFunc: new lengths come from a cubic through two points and stay away from the ends of the
bracket.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from retrograd.compiler.record import NamedTuple
from retrograd.runtime.tensor import Tensor

DECREASE = 1e-4
"""The share of the decrease that the slope promises."""
FLATNESS = 0.9
"""The share of the slope that may be left."""
_NARROW = 1e-9


class Point(NamedTuple):
    """A place on the line."""

    length: float
    loss: float
    gradient: Tensor
    slope: float


Function = Callable[[float], tuple[float, Tensor, float]]
"""The loss, its gradient and its slope along the line, at a length."""


def cubic_minimum(a: Point, b: Point, least: float, most: float) -> float:
    """Where the cubic through two points, with their slopes, has its minimum, within bounds."""
    if a.length > b.length:
        a, b = b, a
    width = b.length - a.length
    middle = a.slope + b.slope - 3 * (b.loss - a.loss) / width
    square = middle * middle - a.slope * b.slope
    if square < 0:
        return (least + most) / 2
    root = math.sqrt(square)
    found = b.length - width * ((b.slope + root - middle) / (b.slope - a.slope + 2 * root))
    return min(max(found, least), most)


def search(
    function: Function, length: float, start: tuple[float, Tensor, float], size: float, evaluations: int
) -> Point:
    """A point that satisfies the conditions, or the best one that was seen. `size` is the direction's."""
    first = Point(0.0, *start)

    def too_high(point: Point) -> bool:
        return point.loss > first.loss + DECREASE * point.length * first.slope

    def flat(point: Point) -> bool:
        return abs(point.slope) <= -FLATNESS * first.slope

    before, now = first, Point(length, *function(length))
    used = 0
    while used < evaluations:
        if too_high(now) or (used > 1 and now.loss >= before.loss) or (now.slope >= 0 and not flat(now)):
            return _zoom(function, before, now, too_high, flat, size, evaluations - used)
        if flat(now):
            return now
        nearest = now.length + 0.01 * (now.length - before.length)
        length = cubic_minimum(before, now, nearest, now.length * 10)
        before, now = now, Point(length, *function(length))
        used += 1
    return first if first.loss <= now.loss else now


def _zoom(
    function: Function,
    a: Point,
    b: Point,
    too_high: Callable[[Point], bool],
    flat: Callable[[Point], bool],
    size: float,
    evaluations: int,
) -> Point:
    """Narrow a bracket that holds a point which satisfies the conditions."""
    low, high = (a, b) if a.loss <= b.loss else (b, a)
    stuck = False
    for _ in range(evaluations):
        left, right = sorted((low.length, high.length))
        if (right - left) * size < _NARROW:
            break
        length = cubic_minimum(low, high, left, right)
        margin = 0.1 * (right - left)
        near = min(right - length, length - left) < margin
        if near and (stuck or length >= right or length <= left):
            length = right - margin if abs(length - right) < abs(length - left) else left + margin
            near = False
        stuck = near
        now = Point(length, *function(length))
        if too_high(now) or now.loss >= low.loss:
            low, high = (low, now) if low.loss <= now.loss else (now, low)
            continue
        if flat(now):
            return now
        if now.slope * (high.length - low.length) >= 0:
            high = low
        low = now
    return low
