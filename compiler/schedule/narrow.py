"""Loops → Loops: narrow rows are walked several at a time, as one long row.

    for i in N: for j in 3: a[j] += f(x[3i + j], m[j])
    →   for w in 192: mine[w] = m[w % 3]; total[w] = 0
        for i in N/64: for w in 192: total[w] += f(x[192i + w], mine[w])
        for r in 64: for j in 3: a[j] += total[3r + j]
        for i in N%64: the rows that are left

So vectors are full, whose lanes would else be mostly idle, and running totals do not wait for each other.
"""

from __future__ import annotations

from math import gcd

from retrograd.compiler.ir.expressions import Buffer, Expression, Load, Number, Position, Space, Within
from retrograd.compiler.ir.index import Axis, Index, as_index
from retrograd.compiler.ir.loops import Accumulate, For, Kind, Local, Statement, Store, expressions, with_body
from retrograd.compiler.ir.rewriting import Rewriter
from retrograd.compiler.record import replace
from retrograd.compiler.schedule.machine import Machine

_WIDEST = 64
"""Rows of more columns fill vectors well enough."""
_REGISTERS = 4
"""A long row is some vectors of so many registers."""
_LONGEST = 1024
"""Elements of a long row at most."""
_OFTEN = 8
"""There are at least so many long rows."""


def join_rows(statement: Statement, machine: Machine) -> tuple[Statement, ...]:
    """The statement, with such nests arranged anew, at any depth of loops."""
    return _rearranged(statement, machine, Space.ARENA)


def _rearranged(statement: Statement, machine: Machine, space: Space) -> tuple[Statement, ...]:
    """Within a loop, long rows are its own scratch."""
    match statement:
        case For(axis=rows, body=(For(axis=columns) as inner,)) if _is_narrow(statement, inner, machine):
            together = _together(rows.extent, columns.extent, machine)
            return _joined(rows, inner, together, space) if together else (statement,)
        case For():
            body = [t for s in statement.body for t in _rearranged(s, machine, Space.LOCAL)]
            return (with_body(statement, body),)
    return (statement,)


def _is_narrow(outer: For, inner: For, machine: Machine) -> bool:
    """Are rows of few columns summed, one by one, each access along the rows, down them, or to one place?"""
    rows, columns = outer.axis, inner.axis
    if any(loop.kind is not Kind.SERIAL or loop.limit for loop in (outer, inner)):
        return False
    if columns.extent > _WIDEST or columns.extent % machine.lanes(4) == 0:
        return False
    written: dict[Buffer, bool] = {}
    for s in inner.body:
        if not isinstance(s, Store | Accumulate) or s.buffer in written:
            return False
        written[s.buffer] = _is_along(s.index, rows, columns)
        total = isinstance(s, Accumulate) and rows not in s.index.axes() and s.index.stride(columns) in (0, 1)
        if not written[s.buffer] and not total:
            return False
    sums = not all(written.values())
    return sums and all(_may_be_read(e, rows, columns, written) for e in expressions(inner.body))


def _may_be_read(e: Expression, rows: Axis, columns: Axis, written: dict[Buffer, bool]) -> bool:
    if not isinstance(e, Load):
        return not isinstance(e, Position | Within)
    if e.bounds:
        return False
    if _is_along(e.index, rows, columns):
        return written.get(e.buffer, True)
    return e.buffer not in written and rows not in e.index.axes() and e.index.stride(columns) is not None


def _is_along(index: Index, rows: Axis, columns: Axis) -> bool:
    """Do the places of one row follow those of the row before?"""
    return index.stride(columns) == 1 and index.stride(rows) == columns.extent


def _together(rows: int, columns: int, machine: Machine) -> int:
    """How many rows make a long one; 0 where there are too few."""
    native = machine.lanes(4)
    for whole in (_REGISTERS * native, native):
        count = whole // gcd(columns, whole)
        if count * columns <= _LONGEST and rows >= _OFTEN * count:
            return count
    return 0


def _joined(rows: Axis, inner: For, together: int, space: Space) -> tuple[Statement, ...]:
    columns, (blocks, left) = inner.axis, divmod(rows.extent, together)
    block, along = Axis(rows.name, blocks), Axis("w", together * columns.extent)
    repeated: dict[tuple[Buffer, Index], Buffer] = {}

    def place(buffer: Buffer, index: Index) -> tuple[Buffer, Index]:
        """What is the same in every row has a place in each of the rows of a long one."""
        if block in index.axes() or along not in index.axes():
            return buffer, index
        copies = Buffer(f"{buffer.name}_row", buffer.dtype, along.extent, space)
        return repeated.setdefault((buffer, index), copies), as_index(along)

    values = {rows: as_index(block) * together, columns: as_index(along)}
    body = Rewriter(lambda index: index.substitute(values), place=place).statements(inner.body)
    totals = {s.buffer: s for s in inner.body if isinstance(s, Accumulate)}
    first, last = [], []
    for (buffer, index), copies in repeated.items():
        r, j = Axis("r", together), Axis(columns.name, columns.extent)
        column, copy = index.substitute({along: as_index(j)}), as_index(r) * j.extent + as_index(j)
        if buffer in totals:
            w, s = Axis("w", along.extent), totals[buffer]
            first.append(For(w, (Store(copies, as_index(w), Number(s.identity, buffer.dtype)),)))
            last.append(For(r, (For(j, (replace(s, index=column, value=Load(copies, copy)),)),)))
        else:
            first.append(For(r, (For(j, (Store(copies, copy, Load(buffer, column)),)),)))
    if left:
        row = Axis(rows.name, left)
        after = {rows: (as_index(row) if left > 1 else Index()) + blocks * together}
        last.append(For(row, Rewriter(lambda index: index.substitute(after)).statements((inner,))))
    done: tuple[Statement, ...] = (*first, For(block, (For(along, body),)), *last)
    if space is Space.LOCAL:
        for copies in repeated.values():
            done = (Local(copies, done),)
    return done
