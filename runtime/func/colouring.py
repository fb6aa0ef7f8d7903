"""Which columns, or rows, of a sparse matrix are found together, and where each element is then.

In flow a pattern, out flows a `Plan`. Columns of one colour have no row in common, so the product of the
matrix with the sum of their unit vectors holds all their elements apart (Curtis, Powell and Reid, "On the
estimation of sparse Jacobian matrices", 1974); rows of one colour likewise, by the transpose. Rows so dense
that each costs less alone are found as rows, and the columns are coloured without them, or the other way
round (Coleman and Verma, "The efficient computation of sparse Jacobian matrices using automatic
differentiation", 1998). Of a symmetric matrix an element may be read in its place or across the diagonal, for
which a star colouring is enough (Gebremedhin, Manne and Pothen, "What color is your Jacobian?", 2005).

Colours are given greedily (`greedy.py`): in the natural order, which is best for bands, or those with most
elements first; each the next one round and round, which is best for stencils on grids, or the least. On a
periodic grid it takes a few more to go round.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from itertools import chain, count

import numpy as np

from retrograd.compiler.ir.graph import Array
from retrograd.compiler.passes.relations import Rows
from retrograd.compiler.record import record
from retrograd.runtime.func.greedy import MOST_WIDTH
from retrograd.runtime.native import cpu

_WORK = 1 << 22
"""Elements of the pattern, for each word of a set of colours, after which no other order is tried."""
_colourings = cpu.exported(f"{__package__}.greedy")


@record(eq=False)
class Colours:
    of: Array
    """-1 where there is none."""
    count: int


def _none(count: int) -> Colours:
    return Colours(np.full(count, -1, np.int32), 0)


@record(eq=False)
class Plan:
    columns: Colours
    """The sums of unit vectors that the matrix is multiplied with."""
    rows: Colours
    """Those that the transpose is multiplied with."""
    index: Array
    """Where each element is among the products in order, those with the matrix first."""


# ---- plans -------------------------------------------------------------------------------------------------


def plan(pattern: Rows) -> Plan:
    """By the fewest products, of the matrix or of its transpose; of the matrix, where as many do."""
    across = pattern.turned()
    ways = []
    for rows, columns in ((pattern, across), (across, pattern)):
        nothing = np.zeros(len(rows), bool)
        ways += [(*_dense(rows.lengths), rows, columns), (rows.longest, nothing, rows, columns)]
    best: tuple[Colours, Colours] | None = None
    for least, apart, rows, columns in sorted(ways, key=lambda way: way[0]):
        if best is None or least < _total(best):
            found = _split(rows, columns, apart)
            if best is None or _total(found) < _total(best):
                best, straight = found, rows is pattern
    assert best is not None
    return _plan(pattern, *(best if straight else best[::-1]), rows_apart=straight)


def _total(colours: tuple[Colours, Colours]) -> int:
    return colours[0].count + colours[1].count


def _dense(lengths: Array) -> tuple[int, Array]:
    """Which rows are to be found by themselves, such that there are fewest products if the others need as
    many as the longest of them has elements; and that number."""
    order = np.argsort(-lengths, kind="stable")
    costs = np.append(lengths[order], 0) + np.arange(len(order) + 1)
    chosen = np.zeros(len(order), bool)
    chosen[order[: costs.argmin()]] = True
    return int(costs.min()), chosen


def _split(pattern: Rows, across: Rows, dense: Array) -> tuple[Colours, Colours]:
    """Colours of the columns for all but the dense rows, and of these; `across` is the transpose."""
    if not dense.any():
        return columns_of(across, pattern.longest), _none(len(pattern))
    there = np.repeat(dense, pattern.lengths)
    sparse, rest = pattern.chosen(~there), pattern.chosen(there)
    return columns_of(sparse.turned(), sparse.longest), columns_of(rest, rest.turned().longest)


def _plan(pattern: Rows, columns: Colours, rows: Colours, rows_apart: bool) -> Plan:
    """With the index: of elements of rows, or of columns, that are found by themselves, and of the others."""
    height, width, numbers, members = len(pattern), pattern.width, pattern.numbers, pattern.members
    of_column, of_row = columns.of.astype(np.int64)[members], rows.of.astype(np.int64)[numbers]
    by_row = of_row >= 0 if rows_apart else of_column < 0
    index = np.where(
        by_row, (columns.count * height) + of_row * width + members, of_column * height + numbers
    )
    return Plan(columns, rows, index)


def symmetric_plan(pattern: Rows) -> Plan:
    """For a matrix that is its own transpose, of which this is the pattern."""
    size, colours = len(pattern), stars_of(pattern)
    index, often = np.empty_like(pattern.members), np.zeros(colours.count, np.int64)
    _call("place_stars", pattern.starts, pattern.members, size, colours.of, often, index)
    return Plan(colours, _none(size), index)


# ---- colours -----------------------------------------------------------------------------------------------


def columns_of(across: Rows, longest: int) -> Colours:
    """Of columns, so that no two of a colour meet in a row: from the transpose, and how long rows are."""

    def colour(order: Array, around: int, width: int, colours: Array) -> int:
        seen = np.zeros(across.width * width, np.uint64)
        return _call("colour_columns", *_told(across, order), around, seen, width, colours)

    return _least(colour, np.flatnonzero(across.lengths), across.lengths, longest, longest)


def stars_of(pattern: Rows) -> Colours:
    """Of vertices, so that neighbours differ and every path of four has three colours. Those of so many
    neighbours that each costs less alone have a colour of their own."""
    _, hubs = _dense(pattern.lengths)
    rest = pattern.chosen(~(hubs[pattern.numbers] | hubs[pattern.members])) if hubs.any() else pattern
    there = np.flatnonzero((pattern.lengths > 0) & ~hubs)

    def colour(order: Array, around: int, width: int, colours: Array) -> int:
        once, twice = np.zeros((2, len(rest) * width), np.uint64)
        return _call("colour_stars", *_told(rest, order), around, once, twice, width, colours)

    apart = rest.numbers != rest.members
    found = _least(colour, there, rest.lengths, 1 + bool(apart.any()), rest.longest)
    found.of[hubs] = found.count + np.arange(hubs.sum())
    return Colours(found.of, found.count + int(hubs.sum()))


def _least(
    colour: Callable[[Array, int, int, Array], int], there: Array, lengths: Array, bound: int, likely: int
) -> Colours:
    """The fewest colours for those that are there, of several tries: no fewer than the bound, and perhaps as
    many as is likely."""
    best = Colours(_none(len(lengths)).of, len(there))
    best.of[there] = np.arange(len(there))
    longest = there[np.argsort(-lengths[there], kind="stable")]
    width, left = likely // 64 + 1, _WORK
    rounder = ((there, around) for around in count(likely + 1))
    for order, around in chain(((there, likely), (there, 0), (longest, likely), (longest, 0)), rounder):
        if best.count <= bound or around > best.count or left < 0:
            break
        found, number = _none(len(lengths)).of, -1
        while width <= MOST_WIDTH and (number := colour(order, around, width, found)) < 0:
            width *= 2
            found[:] = -1
        if 0 <= number < best.count:
            best = Colours(found, number)
        left -= int(lengths.sum()) * width
    return best


def _told(rows: Rows, order: Array) -> tuple[Array, Array, Array, int]:
    return rows.starts, rows.members, order, len(order)


def _call(name: str, *operands: Array | int) -> int:
    given = [x.ctypes.data if isinstance(x, np.ndarray) else x for x in operands]
    return int(_function(name, len(given))(*given))


@cache
def _function(name: str, count: int) -> Callable[..., int]:
    library = cpu.load_native("colouring", _colourings, {}, {})
    _LIBRARIES.append(library)
    return ctypes.CFUNCTYPE(ctypes.c_int64, *(ctypes.c_int64,) * count)(library.address(name))


_LIBRARIES: list[cpu.Library] = []
"""They stay."""
