"""Loops → Loops: what is read down the columns and written along the rows goes in square tiles.

    for i: for j: out[N*i + j] = f(x[i + M*j])
    →   for i in I/16: for j in J/16: local t[16*16] {
            for u in 16 unroll: for v in 16 vector: t[16*u + v] = x[…]      a transpose of registers
            for u in 16 unroll: for v in 16 vector: out[…] = f(t[16*u + v])
        }

So both sides are read and written in whole vectors, a cache line at a time.
"""

from __future__ import annotations

from collections.abc import Sequence

from retrograd.compiler.ir.expressions import Buffer, Load, Space
from retrograd.compiler.ir.index import Axis, Index, as_index
from retrograd.compiler.ir.loops import For, Kind, Local, Statement, Store, expressions, with_body
from retrograd.compiler.ir.rewriting import Rewriter
from retrograd.compiler.schedule.machine import Machine

_MOST = 16
"""Nests of so many expressions at most: a tile is written out for each of its rows."""
_LEAST_LANES = 4


def turn(statement: Statement, machine: Machine) -> tuple[Statement, ...]:
    """The statement with such nests, at any depth, in tiles."""
    match statement:
        case For(body=(For() as inner,)) if turned := _turned(statement, inner):
            lanes = machine.lanes(turned[0].dtype.itemsize)
            if lanes >= _LEAST_LANES and min(statement.axis.extent, inner.axis.extent) >= lanes:
                return _in_tiles(statement, inner, turned, lanes)
        case For() | Local():
            return (with_body(statement, [t for s in statement.body for t in turn(s, machine)]),)
    return (statement,)


def _turned(outer: For, inner: For) -> list[Load]:
    """The loads that lie side by side along the outer axis, where all else does along the inner one; none
    if the nest is no such one."""
    stores = [s for s in inner.body if isinstance(s, Store)]
    found = expressions(inner.body)
    loads = [e for e in found if isinstance(e, Load)]
    plain = outer.kind is inner.kind is Kind.SERIAL and not outer.limit and not inner.limit
    if not plain or len(stores) != len(inner.body) or len(found) > _MOST or any(e.bounds for e in loads):
        return []
    if any(s.index.stride(inner.axis) != 1 or s.index.stride(outer.axis) in (None, 0) for s in stores):
        return []
    if {e.buffer for e in loads} & {s.buffer for s in stores} or len({s.buffer for s in stores}) < len(
        stores
    ):
        return []
    turned = [e for e in loads if e.index.stride(inner.axis) not in (0, 1)]
    alike = len({e.dtype for e in turned}) == 1 and turned[0].dtype.name != "bool"
    fit = alike and all(
        e.index.stride(outer.axis) == 1 and e.index.stride(inner.axis) is not None for e in turned
    )
    return turned if fit else []


def _in_tiles(outer: For, inner: For, turned: Sequence[Load], lanes: int) -> tuple[Statement, ...]:
    """Tiles over all; those at an end that does not come out even begin earlier, and write some again."""
    rows, columns = outer.axis.extent, inner.axis.extent
    down, across = Axis(outer.axis.name, rows // lanes), Axis(inner.axis.name, columns // lanes)
    i, j = as_index(down) * lanes, as_index(across) * lanes
    last_row, last_column = as_index(rows - lanes), as_index(columns - lanes)

    def tile(row: Index, column: Index) -> Statement:
        return _tile(outer.axis, inner, turned, lanes, row, column)

    done: list[Statement] = [For(down, (For(across, (tile(i, j),)),))]
    if rows % lanes:
        done.append(For(across, (tile(last_row, j),)))
    if columns % lanes:
        done.append(For(down, (tile(i, last_column),)))
    if rows % lanes and columns % lanes:
        done.append(tile(last_row, last_column))
    return tuple(done)


def _tile(
    outer: Axis, inner: For, turned: Sequence[Load], lanes: int, row: Index, column: Index
) -> Statement:
    """One tile, from this row and column on."""
    u, v = Axis("u", lanes), Axis("v", lanes)
    place = as_index(u) * lanes + as_index(v)
    here = {outer: row + as_index(u), inner.axis: column + as_index(v)}
    tiles = {e: Buffer(f"tile{k}", e.dtype, lanes * lanes, Space.LOCAL) for k, e in enumerate(turned)}

    def moved(index: Index) -> Index:
        return index.substitute(here)

    def square(body: Sequence[Statement]) -> Statement:
        return For(u, (For(v, tuple(body), Kind.VECTOR, lanes=lanes),), Kind.UNROLL)

    used = Rewriter(moved, lambda e: Load(tiles[e], place) if e in tiles else None).statements(inner.body)
    steps: tuple[Statement, ...] = (
        *(square([Store(tile, place, Rewriter(moved).expression(e))]) for e, tile in tiles.items()),
        square(used),
    )
    for tile in tiles.values():
        steps = (Local(tile, steps),)
    return steps[0]
