"""The kernels of elimination with row exchanges, in the native language: steps of a small graph as any other.

In flow stacks of matrices in order, row after row, and the sizes of a step; out flows 0, or 1 where there is
no answer, so that the call is for `slow`, which says why. Factors are packed as `ops/lu.py` packs them: L
below the diagonal, U from it on, and as one row more for each step the row, counted from 1, that changed
places with the step's own.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf, nan

from retrograd.compiler.native.language import Array, Int32, Record, cast, inlined, native, sqrt
from retrograd.runtime.native.objects import Memory
from retrograd.runtime.native.small.row_operations import (
    LANES,  # noqa: F401  # an instance has its own
    One,  # noqa: F401
    Several,  # noqa: F401
    T,
    clear,
    copy,
    divide,
    exchange_rows,
    product_of,
    subtract,
)


# ---- factors -----------------------------------------------------------------------------------------------
class Sizes(Record):
    """Of a stack of matrices, of results or of operands."""

    batch: int
    m: int
    n: int
    strict: int
    """Whether a matrix that is singular, or not positive-definite, has no answer."""


@native
def factor(arrays: Array[Array[T]], sizes: Sizes) -> int:
    """The packed factors `[batch, m + 1, n]` of matrices `[batch, m, n]`."""
    m, n = sizes.m, sizes.n
    for number in range(sizes.batch):
        packed = arrays[0] + number * (m + 1) * n
        copy(packed, arrays[1] + number * m * n, m * n)
        if eliminate(packed, m, n) and sizes.strict != 0:
            return 1
    return 0


@inlined
def eliminate(packed: Array[T], m: int, n: int) -> bool:
    """One matrix, in place: whether a pivot is 0. As in LAPACK the pivot is the first of the largest, and a
    NaN is one only where it stands there already."""
    k, failed = min(m, n), False
    exchanges = packed + m * n
    clear(exchanges, n)
    for step in range(k):
        chosen = largest(packed + step, step, m, n)
        exchanges[step] = cast(float, chosen + 1)
        here = packed + step * n
        if chosen != step:
            exchange_rows(here, packed + chosen * n, n)
        pivot = here[step]
        failed = failed or pivot == 0.0
        for i in range(step + 1, m):
            row = packed + i * n
            if pivot != 0.0:
                row[step] = row[step] / pivot
            subtract(row + step + 1, here + step + 1, row[step], n - step - 1)
    return failed


@inlined
def largest(column: Array[T], first: int, m: int, n: int) -> int:
    """The row, from the first on, that has the largest element of a column."""
    chosen, most = first, abs(column[first * n])
    for i in range(first + 1, m):
        size = abs(column[i * n])
        if size > most:
            chosen, most = i, size
    return chosen


# ---- what follows from them --------------------------------------------------------------------------------
class OrderSizes(Record):
    batch: int
    m: int
    k: int


@native
def order(arrays: Array[Memory], sizes: OrderSizes) -> int:
    """The matrices P `[batch, m, m]` of exchanges `[batch, k]`, from the last on: each moves rows of what the
    later ones have made. 1 unless all the rows that they name are there."""
    m, k = sizes.m, sizes.k
    for number in range(sizes.batch):
        unit = cast(Array[T], arrays[0]) + number * m * m
        pivots = cast(Array[Int32], arrays[1]) + number * k
        clear(unit, m * m)
        for i in range(m):
            unit[i * m + i] = 1.0
        for back in range(k):
            step = k - 1 - back
            if not 1 <= pivots[step] <= m:
                return 1
            if pivots[step] - 1 != step:
                exchange_rows(unit + step * m, unit + (pivots[step] - 1) * m, m)
    return 0


class ExchangeSizes(Record):
    batch: int
    m: int
    n: int
    back: int


@native
def exchange_all(arrays: Array[Memory], sizes: ExchangeSizes) -> int:
    """The matrices `[batch, m, n]` whose rows change places as `[batch, m]` say, if `back` the last first.
    The arrays: these, the pivots, the matrices. 1 unless all the rows that are named are there."""
    m, n = sizes.m, sizes.n
    for number in range(sizes.batch):
        to, pivots = cast(Array[T], arrays[0]) + number * m * n, cast(Array[Int32], arrays[1]) + number * m
        copy(to, cast(Array[T], arrays[2]) + number * m * n, m * n)
        for turn in range(m):
            step = m - 1 - turn if sizes.back != 0 else turn
            if not 1 <= pivots[step] <= m:
                return 1
            if pivots[step] - 1 != step:
                exchange_rows(to + step * n, to + (pivots[step] - 1) * n, n)
    return 0


@native
def solve(arrays: Array[Array[T]], sizes: Sizes) -> int:
    """The X `[batch, n, columns]` of A · X = B, of A's packed factors `[batch, n + 1, n]` and B. Unless it is
    `strict`, infinities stand for the solution where a pivot is 0."""
    n, columns = sizes.m, sizes.n
    for number in range(sizes.batch):
        packed, x = arrays[1] + number * (n + 1) * n, arrays[0] + number * n * columns
        copy(x, arrays[2] + number * n * columns, n * columns)
        singular = False
        for step in range(n):
            singular = singular or packed[step * n + step] == 0.0
            chosen = cast(int, packed[n * n + step]) - 1
            if chosen != step:
                exchange_rows(x + step * columns, x + chosen * columns, columns)
            for i in range(step):
                subtract(x + step * columns, x + i * columns, packed[step * n + i], columns)
        for back in range(n):
            step = n - 1 - back
            here = x + step * columns
            for i in range(step + 1, n):
                subtract(here, x + i * columns, packed[step * n + i], columns)
            divide(here, packed[step * n + step], columns)
        if singular and sizes.strict != 0:
            return 1
        if singular:
            for place in range(n * columns):
                x[place] = inf
    return 0


@native
def failure(arrays: Array[Memory], sizes: Sizes) -> int:
    """Of packed factors of `[batch, m, n]` at which pivot, counted from 1, the first 0 is, or 0."""
    m, n = sizes.m, sizes.n
    for number in range(sizes.batch):
        packed, first = cast(Array[T], arrays[1]) + number * (m + 1) * n, 0
        for step in range(min(m, n)):
            if first == 0 and packed[step * n + step] == 0.0:
                first = step + 1
        cast(Array[Int32], arrays[0])[number] = first
    return 0


@native
def determinant(arrays: Array[Array[T]], sizes: Sizes) -> int:
    """The product of the pivots, with the sign of the exchanges, of packed factors of `[batch, n, n]`."""
    return for_each_product(arrays, sizes, lambda pivot: pivot)


@native
def sign(arrays: Array[Array[T]], sizes: Sizes) -> int:
    """The sign of the same: -1, 0 or 1."""
    return for_each_product(arrays, sizes, sign_of)


@inlined
def sign_of(x: float) -> float:
    return x if x == 0.0 or x != x else (1.0 if x > 0.0 else -1.0)


@inlined
def for_each_product(arrays: Array[Array[T]], sizes: Sizes, factor_of: Callable[[float], float]) -> int:
    n = sizes.n
    for number in range(sizes.batch):
        packed, product = arrays[1] + number * (n + 1) * n, 1.0
        for step in range(n):
            product = product * factor_of(packed[step * n + step])
            if packed[n * n + step] != cast(float, step + 1):
                product = -product
        arrays[0][number] = product
    return 0


# ---- triangles ---------------------------------------------------------------------------------------------
class TriangleSizes(Record):
    batch: int
    n: int
    columns: int
    upper: int
    unit: int


@native
def substitute(arrays: Array[Array[T]], sizes: TriangleSizes) -> int:
    """The X `[batch, n, columns]` of T · X = B, for one triangle of each matrix `[batch, n, n]`, and B. If it
    is `unit`, ones are on its diagonal, whatever is there."""
    n, columns = sizes.n, sizes.columns
    for number in range(sizes.batch):
        triangle, x = arrays[1] + number * n * n, arrays[0] + number * n * columns
        copy(x, arrays[2] + number * n * columns, n * columns)
        for turn in range(n):
            step = n - 1 - turn if sizes.upper != 0 else turn
            here, row = x + step * columns, triangle + step * n
            for k in range(turn):
                i = n - 1 - k if sizes.upper != 0 else k
                subtract(here, x + i * columns, row[i], columns)
            if sizes.unit == 0:
                divide(here, row[step], columns)
    return 0


# ---- square roots ------------------------------------------------------------------------------------------
@native
def root(arrays: Array[Memory], sizes: Sizes) -> int:
    """The lower triangles L `[batch, n, n]` of A = L · Lᵀ, of which the lower triangle is read, and `[batch]`
    the order of the first leading minor that is not positive-definite, or 0. The arrays: L, orders, A. Unless
    it is `strict`, L is NaN all over where there is none."""
    n = sizes.n
    for number in range(sizes.batch):
        lower, a = cast(Array[T], arrays[0]) + number * n * n, cast(Array[T], arrays[2]) + number * n * n
        clear(lower, n * n)
        order = rooted(lower, a, n)
        cast(Array[Int32], arrays[1])[number] = order
        if order != 0:
            if sizes.strict != 0:
                return 1
            for place in range(n * n):
                lower[place] = nan
    return 0


@inlined
def rooted(lower: Array[T], a: Array[T], n: int) -> int:
    """One matrix, row by row: the order of the minor at which it fails, or 0."""
    order = 0
    for i in range(n):
        row = lower + i * n
        for j in range(i + 1):
            other = lower + j * n
            rest = a[i * n + j] - product_of(row, other, j)
            if j < i:
                row[j] = rest / other[j]
            else:
                order = i + 1 if order == 0 and not rest > 0.0 else order
                row[i] = sqrt(rest)
    return order
