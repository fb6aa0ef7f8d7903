"""Loops → Loops: sums down the columns, several rows at a time.

    for i in N: for j in M: a[j] += f(i, j)
    →   for i in N/8: for j in M: a[j] += (f(8i, j) + f(8i+1, j)) + … + f(8i+7, j)
        for j in M: a[j] += the rows that are left

So each running total is read and written once for eight rows, rows are read as streams side by side, and
rounding errors grow eight times more slowly.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from retrograd.compiler.ir.expressions import Call, Expression, Load
from retrograd.compiler.ir.index import Axis, Index, as_index
from retrograd.compiler.ir.loops import Accumulate, For, Kind, Local, Statement, expressions, with_body
from retrograd.compiler.ir.rewriting import Rewriter
from retrograd.compiler.record import replace

_ROWS = 8
"""Rows at a time."""
_MOST = 64
"""Fewer, where they would be more expressions than that."""


def sum_columns(statement: Statement) -> tuple[Statement, ...]:
    """The statement with such sums, at any depth, arranged anew."""
    match statement:
        case For(body=(For() as inner,)) if _sums_columns(statement, inner):
            return by_rows(statement.axis, inner)
        case For() | Local():
            return (with_body(statement, [t for s in statement.body for t in sum_columns(s)]),)
    return (statement,)


def _sums_columns(outer: For, inner: For) -> bool:
    """Does an inner loop add to places side by side, the same ones in each iteration of the outer loop?"""
    if outer.kind is not Kind.SERIAL or inner.kind is not Kind.SERIAL or outer.limit or inner.limit:
        return False
    sums = [s for s in inner.body if isinstance(s, Accumulate)]
    totals = {s.buffer for s in sums}
    return (
        len(sums) == len(inner.body) == len(totals)
        and all(outer.axis not in s.index.axes() and s.index.stride(inner.axis) == 1 for s in sums)
        and not any(isinstance(e, Load) and e.buffer in totals for e in expressions(inner.body))
    )


def by_rows(rows: Axis, inner: For) -> tuple[Statement, ...]:
    """So many rows at a time, and those that are left."""
    count = _ROWS
    while count > 1 and count * len(expressions(inner.body)) > _MOST:
        count //= 2
    blocks, left = divmod(rows.extent, count)
    done: list[Statement] = []
    if blocks == 1:
        done.append(_together(rows, inner, range(count)))
    elif blocks:
        block = Axis(rows.name, blocks)
        places = [as_index(block) * count + k for k in range(count)]
        done.append(For(block, (_together(rows, inner, places),)))
    if left:
        done.append(_together(rows, inner, range(blocks * count, rows.extent)))
    return tuple(done)


def _together(rows: Axis, inner: For, places: Sequence[Index | int]) -> For:
    """The inner loop, adding these rows at once."""
    moves = [Rewriter(partial(Index.substitute, values={rows: as_index(place)})) for place in places]
    body = []
    for s in inner.body:
        assert isinstance(s, Accumulate)
        body.append(replace(s, value=tree(s.combine, [move.expression(s.value) for move in moves])))
    return replace(inner, body=tuple(body))


def tree(combine: str, values: Sequence[Expression]) -> Expression:
    """Values combined in pairs."""
    if len(values) == 1:
        return values[0]
    half = len(values) // 2
    first, second = tree(combine, values[:half]), tree(combine, values[half:])
    return Call(combine, (first, second), first.dtype)
