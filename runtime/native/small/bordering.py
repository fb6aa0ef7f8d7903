"""Kernels of borders repeated from within (`compiler/ops/borders.py`).

In flow arrays and the sizes of a step; out flows 0. Of three axes after the first, which are perhaps of one
element, indices say where an element of the result comes from.
"""

from __future__ import annotations

from collections.abc import Callable

from retrograd.compiler.native.language import (
    Array,
    Record,
    cast,
    inlined,
    native,
    put,
    take,
)
from retrograd.runtime.native.objects import Memory
from retrograd.runtime.native.small.lanes import LANES, VA, A


class Sizes(Record):
    outer: int
    planes: int
    rows: int
    columns: int
    own_planes: int
    """Of the operand."""
    own_rows: int
    own_columns: int
    first: int
    """Of the last axis, where the operand's own elements begin in the result."""


@inlined
def in_each(arrays: Array[Memory], sizes: Sizes, work: Callable[[Array[A], Array[A]], None]) -> int:
    """Do it for each row of the result, and the one of the operand that it comes from."""
    plane_of, row_of = cast(Array[int], arrays[2]), cast(Array[int], arrays[3])
    whole, own = cast(Array[A], arrays[0]), cast(Array[A], arrays[1])
    for n in range(sizes.outer):
        for plane in range(sizes.planes):
            base = (n * sizes.own_planes + plane_of[plane]) * sizes.own_rows
            for row in range(sizes.rows):
                work(whole, own + (base + row_of[row]) * sizes.own_columns)
                whole = whole + sizes.columns
    return 0


@native
def surround(arrays: Array[Memory], sizes: Sizes) -> int:
    """Arrays: result, operand, origins along the three axes."""
    return in_each(arrays, sizes, lambda to, x: fill(to, x, cast(Array[int], arrays[4]), sizes))


@inlined
def fill(to: Array[A], x: Array[A], origins: Array[int], sizes: Sizes) -> None:
    inner, first = sizes.own_columns, sizes.first
    for k in range(first):
        to[k] = x[origins[k]]
    for at in range(0, inner, LANES):
        put(to + (first + at), take(VA, x + at, inner - at, 0.0), inner - at)
    for k in range(first + inner, sizes.columns):
        to[k] = x[origins[k]]


@native
def return_to(arrays: Array[Memory], sizes: Sizes) -> int:
    """Arrays: cotangents of the result, of the operand, origins along the three axes."""
    to = cast(Array[A], arrays[1])
    all_ = sizes.outer * sizes.own_planes * sizes.own_rows * sizes.own_columns
    for at in range(0, all_, LANES):
        put(to + at, cast(VA, 0.0), all_ - at)
    return in_each(arrays, sizes, lambda given, x: add_up(given, x, cast(Array[int], arrays[4]), sizes))


@inlined
def add_up(given: Array[A], x: Array[A], origins: Array[int], sizes: Sizes) -> None:
    inner, own = sizes.own_columns, given + sizes.first
    for k in range(sizes.first):
        x[origins[k]] = x[origins[k]] + given[k]
    for at in range(0, inner, LANES):
        put(x + at, take(VA, x + at, inner - at, 0.0) + take(VA, own + at, inner - at, 0.0), inner - at)
    for k in range(sizes.first + inner, sizes.columns):
        x[origins[k]] = x[origins[k]] + given[k]
