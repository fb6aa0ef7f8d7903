"""The kernels of tallies: distinct elements, places repeated, how often numbers occur, tables of counts.

In flow rooms, arguments, the arguments' sizes, and options; out flows how much was found, or -1 where Python
shall look (`tallying.py`). Each is a function for elements of a type `T`, or `N` if whole and `F` if they
have a point, and weights of a type `W`, of which `kernels.py` makes instances.
"""

from __future__ import annotations

from typing import TypeVar

from retrograd.compiler.native.language import Array, Float32, cast, inlined, native, stack
from retrograd.runtime.native.small.moving import is_less

T = TypeVar("T", int, float)
N = int
F = Float32
W = Float32
"""An instance has its own."""

MOST_FOUND = 1 << 14
"""Elements of a result: what its room holds, at 8 bytes each."""
MOST_SORTED = 64
"""Elements: beyond, NumPy's sorting is faster."""


# ---- distinct elements -------------------------------------------------------------------------------------
@native
def distinct(
    rooms: Array[Array[int]], inputs: Array[Array[T]], sizes: Array[int], options: Array[int]
) -> int:
    """Rooms: the distinct elements, for each element which of them it is, how often each occurs, and places
    that sort. Options: whether elements are sorted; else those in a row are compared."""
    x, count, sorts = inputs[0], sizes[0], options[0] != 0
    values, inverse, counts, order = cast(Array[T], rooms[0]), rooms[1], rooms[2], rooms[3]
    if sorts:
        if count > MOST_SORTED:
            return -1
        insert(order, x, count)
    found = 0
    for i in range(count):
        at = order[i] if sorts else i
        if i == 0 or x[at] != values[found - 1]:
            values[found], counts[found] = x[at], 0
            found += 1
        counts[found - 1] += 1
        inverse[at] = found - 1
    return found


@inlined
def insert(order: Array[int], x: Array[T], count: int) -> None:
    """The places that sort; equal elements keep their order."""
    for i in range(count):
        j = i
        while j > 0 and is_less(x[i], x[order[j - 1]]):
            order[j] = order[j - 1]
            j -= 1
        order[j] = i


@inlined
def differs(x: Array[T], one: int, other: int, before: int, size: int, after: int) -> int:
    """The place in which two slices of `[before, size, after]` differ first, as where that is in the second
    one; -1 where they are alike."""
    for b in range(before):
        for a in range(after):
            start = b * size * after + a
            if x[start + one * after] != x[start + other * after]:
                return start + other * after
    return -1


@native
def slices(rooms: Array[Array[int]], inputs: Array[Array[T]], sizes: Array[int], options: Array[int]) -> int:
    """As `distinct`, of the slices of `[before, size, after]` along the middle axis. Options: whether they
    are sorted, then these sizes."""
    x, sorts, before, size, after = inputs[0], options[0] != 0, options[1], options[2], options[3]
    values, inverse, counts, order, starts = cast(Array[T], rooms[0]), rooms[1], rooms[2], rooms[3], rooms[4]
    if sorts and size > MOST_SORTED:
        return -1
    for i in range(size):
        j = i
        while sorts and j > 0:
            there = differs(x, i, order[j - 1], before, size, after)
            if there < 0 or not is_less(x[there + (i - order[j - 1]) * after], x[there]):
                break
            order[j] = order[j - 1]
            j -= 1
        order[j] = i
    found = 0
    for i in range(size):
        if i == 0 or differs(x, order[i], order[i - 1], before, size, after) >= 0:
            starts[found], counts[found] = order[i], 0
            found += 1
        counts[found - 1] += 1
        inverse[order[i]] = found - 1
    for b in range(before):
        for k in range(found):
            for a in range(after):
                values[(b * found + k) * after + a] = x[(b * size + starts[k]) * after + a]
    return found


# ---- counts ------------------------------------------------------------------------------------------------
@native
def repeated(rooms: Array[Array[N]], inputs: Array[Array[N]], sizes: Array[int], options: Array[int]) -> int:
    """The room: each place as often as the element there says."""
    found = 0
    for i in range(sizes[0]):
        times = inputs[0][i]
        if times < 0 or found + times > MOST_FOUND:
            return -1
        for _ in range(times):
            rooms[0][found] = i
            found += 1
    return found


@inlined
def occurring(x: Array[N], count: int, least: int) -> int:
    """One more than the greatest number, but at least so many; -1 where a number is none to count."""
    end = least
    for i in range(count):
        if not 0 <= x[i] < MOST_FOUND:
            return -1
        end = max(end, x[i] + 1)
    return end if end <= MOST_FOUND else -1


@native
def occurrences(
    rooms: Array[Array[int]], inputs: Array[Array[N]], sizes: Array[int], options: Array[int]
) -> int:
    """The room: how often each number occurs. Options: how many numbers at least."""
    x, count, counts = inputs[0], sizes[0], rooms[0]
    end = occurring(x, count, options[0])
    for k in range(end):
        counts[k] = 0
    for i in range(count if end >= 0 else 0):
        counts[x[i]] += 1
    return end


@native
def weighed(
    rooms: Array[Array[float]], inputs: Array[Array[N]], sizes: Array[int], options: Array[int]
) -> int:
    """Rooms: the sums of the second argument's elements where each number occurs, and these as wide as they
    are to be, `W`. Options: how many numbers at least."""
    x, count, sums, weights = inputs[0], sizes[0], rooms[0], cast(Array[W], inputs[1])
    end = occurring(x, count, options[0])
    if sizes[1] != count:
        return -1
    for k in range(end):
        sums[k] = 0.0
    for i in range(count if end >= 0 else 0):
        sums[x[i]] += weights[i]
    narrow = cast(Array[W], rooms[1])
    for k in range(end):
        narrow[k] = sums[k]
    return end


# ---- tables ------------------------------------------------------------------------------------------------
OF_ELEMENTS, OF_RANGE, OF_EDGES = range(3)
"""Where the bins of an axis are: between its least and greatest elements, if there are any, in a range, or
between edges that are given."""


@inlined
def rounded(room: Array[F], x: float) -> float:
    """A number as wide as elements. Sums, products and quotients of such numbers, computed in float64, are
    those of their width then (S. A. Figueroa, "When is double rounding innocuous?", 1995)."""
    room[0] = x
    return room[0]


@inlined
def is_finite(x: float) -> bool:
    return x - x == 0.0


@native
def binned(rooms: Array[Array[F]], inputs: Array[Array[F]], sizes: Array[int], options: Array[int]) -> int:
    """The room: how many elements lie in each of some equal bins. Options: how many bins, and the floats
    between which they are, or equal ones, for those of the elements."""
    x, count, counts, bins, room = inputs[0], sizes[0], rooms[0], options[0], stack(Array[F], 1)
    low, high = cast(Array[float], options)[1], cast(Array[float], options)[2]
    if low == high and count > 0:
        low, high = x[0], x[0]
        for i in range(count):
            if not is_finite(x[i]):
                return -1
            low, high = min(low, x[i]), max(high, x[i])
    if low == high:
        low, high = rounded(room, low - 1.0), rounded(room, high + 1.0)
    if not (low < high and is_finite(low) and is_finite(high)):
        return -1
    width = rounded(room, high - low)
    for k in range(bins):
        counts[k] = 0.0
    for i in range(count):
        if low <= x[i] <= high:
            scaled = rounded(room, rounded(room, x[i] - low) * cast(float, bins))
            place = min(cast(int, rounded(room, scaled / width)), bins - 1)
            counts[place] = counts[place] + 1.0
    return bins


@inlined
def spread(edges: Array[F], bins: int, low: float, high: float, room: Array[F]) -> None:
    """The edges of equal bins, from both ends."""
    width = rounded(room, rounded(room, high - low) / cast(float, bins))
    for k in range(bins + 1):
        from_low = k < (bins + 1) // 2
        steps = rounded(room, width * cast(float, k if from_low else bins - k))
        edges[k] = low + steps if from_low else high - steps


@inlined
def above(edges: Array[F], count: int, x: float) -> int:
    """How many edges, which ascend, are not above an element."""
    first, last = 0, count
    while first < last:
        middle = (first + last) // 2
        if edges[middle] <= x:
            first = middle + 1
        else:
            last = middle
    return first


@native
def table(rooms: Array[Array[F]], inputs: Array[Array[F]], sizes: Array[int], options: Array[int]) -> int:
    """Rooms: weights of points in the bins of all axes, in float64 and as wide as elements, and the edges of
    each axis. Arguments: the points, edges that are given, and a weight for each point, if they have any.
    Options: how many axes, whether points have weights, whether these are spread over volumes; for each axis
    where its bins are, how many, and a range."""
    axes, weighted, spreads, room = options[0], options[1] != 0, options[2] != 0, stack(Array[F], 1)
    points, count, sums, further, cells = inputs[0], sizes[0] // axes, cast(Array[float], rooms[0]), 1, 1
    for k in range(axes):
        axis, edges, bins = options + (3 + 4 * k), rooms[2 + k], options[4 + 4 * k]
        if axis[0] == OF_EDGES:
            for j in range(bins + 1):
                edges[j] = inputs[further][j]
            further += 1
        else:
            low, high = cast(Array[float], axis)[2], cast(Array[float], axis)[3]
            if axis[0] == OF_ELEMENTS:
                low, high = points[k], points[k]
                for i in range(count):
                    x = points[i * axes + k]
                    if not is_finite(x):
                        return -1
                    low, high = min(low, x), max(high, x)
            if low == high:
                low, high = rounded(room, low - 0.5), rounded(room, high + 0.5)
            if not (low < high and is_finite(low) and is_finite(high)):
                return -1
            spread(edges, bins, low, high, room)
        cells *= bins
    for cell in range(cells):
        sums[cell] = 0.0
    for i in range(count):
        cell = 0
        for k in range(axes):
            x, edges, bins = points[i * axes + k], rooms[2 + k], options[4 + 4 * k]
            if not edges[0] <= x <= edges[bins]:
                cell = -1
                break
            cell = cell * bins + min(max(above(edges, bins + 1, x) - 1, 0), bins - 1)
        if cell >= 0:
            sums[cell] = sums[cell] + (inputs[further][i] if weighted else 1.0)
    if spreads:
        over_volumes(rooms, options, cells)
    for cell in range(cells):
        rooms[1][cell] = sums[cell]
    return cells


@inlined
def over_volumes(rooms: Array[Array[F]], options: Array[int], cells: int) -> None:
    """The sums as shares of their sum, for each unit of their bins' volumes."""
    sums, total, room, inner = cast(Array[float], rooms[0]), 0.0, stack(Array[F], 1), cells
    for cell in range(cells):
        total += sums[cell]
    for cell in range(cells):
        sums[cell] = sums[cell] / total
    for k in range(options[0]):
        edges, bins = rooms[2 + k], options[4 + 4 * k]
        inner = inner // bins
        for cell in range(cells):
            place = cell // inner % bins
            sums[cell] = sums[cell] / rounded(room, edges[place + 1] - edges[place])
