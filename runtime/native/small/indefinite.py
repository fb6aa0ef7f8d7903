"""The kernels of `A = L·D·Lᵀ` for symmetric matrices, in the native language: steps of a small graph.

In flow stacks of matrices in order, of which the lower triangle is read, and the sizes of a step; out flows
0, or 1 where there is no answer, so that the call is for `slow`. The steps are those of LAPACK's `sytf2` by
Bunch and Kaufman's pivots, packed as `ops/ldl.py` packs them; of magnitudes that are compared a NaN is the
largest, as in MKL. While they are factored, matrices are turned over: what LAPACK has as columns are rows.
"""

from __future__ import annotations

from retrograd.compiler.native.language import Array, Int32, cast, inlined, native
from retrograd.compiler.ops.ldl import ALPHA
from retrograd.runtime.native.objects import Memory
from retrograd.runtime.native.small.elimination import Sizes
from retrograd.runtime.native.small.row_operations import (
    LANES,  # noqa: F401  # an instance has its own
    One,  # noqa: F401  # as well
    Several,  # noqa: F401  # as well
    T,
    copy,
    divide,
    exchange_rows,
    subtract,
)


# ---- factors -----------------------------------------------------------------------------------------------
@native
def factor_symmetric(arrays: Array[Array[T]], sizes: Sizes) -> int:
    """The packed factors `[batch, n + 1, n]` of matrices `[batch, n, n]`."""
    n = sizes.n
    for number in range(sizes.batch):
        packed, a = arrays[0] + number * (n + 1) * n, arrays[1] + number * n * n
        for i in range(n):
            for j in range(i + 1):
                packed[j * n + i] = a[i * n + j]
        if factored(packed, n) and sizes.strict != 0:
            return 1
        for i in range(n):
            for j in range(i):
                packed[i * n + j] = packed[j * n + i]
                packed[j * n + i] = 0.0
    return 0


@inlined
def factored(a: Array[T], n: int) -> bool:
    """One matrix that is turned over, in place: whether it is singular."""
    pivots, k, failed = a + n * n, 0, False
    while k < n:
        column = a + k * n
        corner, among = abs(column[k]), largest(column, k + 1, n, 1)
        most = abs(column[among]) if among < n else 0.0
        if not corner > most and most == 0.0:
            failed = True
            pivots[k] = cast(float, k + 1)
            k += 1
            continue
        chosen, width = k, 1
        if not corner >= ALPHA * most:
            along = most_along(a, k, among, n)
            if not corner >= ALPHA * most * (most / along):
                chosen = among
                width = 1 if abs(a[among * n + among]) >= ALPHA * along else 2
        swap(a, k, k + width - 1, chosen, n)
        if width == 1:
            remove_row(a, k, n)
            pivots[k] = cast(float, chosen + 1)
        else:
            remove_block(a, k, n)
            pivots[k] = cast(float, -chosen - 1)
            pivots[k + 1] = cast(float, -chosen - 1)
        k += width
    return failed


@inlined
def largest(line: Array[T], first: int, stop: int, apart: int) -> int:
    """The first of the largest of elements that lie so far apart; a NaN is the largest."""
    chosen, most, i = first, 0.0, first
    while i < stop:
        size = abs(line[i * apart])
        if size > most or size != size:
            chosen, most = i, size
        if size != size:
            break
        i += 1
    return chosen


@inlined
def most_along(a: Array[T], first: int, row: int, n: int) -> float:
    """The largest magnitude in a row of a symmetric matrix from `first` on, but for its diagonal."""
    above = abs(a[largest(a + row, first, row, n) * n + row])
    if row + 1 == n:
        return above
    beyond = abs(a[row * n + largest(a + row * n, row + 1, n, 1)])
    return above if above > beyond else beyond


@inlined
def swap(a: Array[T], k: int, here: int, other: int, n: int) -> None:
    """Exchange two rows and columns of what is left at step k, the first of which is its last."""
    if here == other:
        return
    one, two = a + here * n, a + other * n
    exchange_rows(one + other + 1, two + other + 1, n - other - 1)
    for j in range(here + 1, other):
        one[j], a[j * n + other] = a[j * n + other], one[j]
    one[here], two[other] = two[other], one[here]
    if here != k:
        before = a + k * n
        before[here], before[other] = before[other], before[here]


@inlined
def remove_row(a: Array[T], k: int, n: int) -> None:
    """A block of one."""
    column = a + k * n
    inverse = 1.0 / column[k]
    for j in range(k + 1, n):
        subtract(a + j * n + j, column + j, column[j] * inverse, n - j)
    for j in range(k + 1, n):
        column[j] = column[j] * inverse


@inlined
def remove_block(a: Array[T], k: int, n: int) -> None:
    """A block of two, divided by what is off its diagonal."""
    one, two = a + k * n, a + (k + 1) * n
    off = one[k + 1]
    first, second = two[k + 1] / off, one[k] / off
    scale = 1.0 / (first * second - 1.0) / off
    for j in range(k + 2, n):
        left, right = scale * (first * one[j] - two[j]), scale * (second * two[j] - one[j])
        subtract(a + j * n + j, one + j, left, n - j)
        subtract(a + j * n + j, two + j, right, n - j)
        one[j], two[j] = left, right


@native
def failure_symmetric(arrays: Array[Memory], sizes: Sizes) -> int:
    """Of packed factors of `[batch, n, n]` at which pivot, counted from 1, a matrix is singular, or 0."""
    n = sizes.n
    for number in range(sizes.batch):
        packed, first = cast(Array[T], arrays[1]) + number * (n + 1) * n, 0
        for k in range(n):
            if first == 0 and packed[n * n + k] > 0.0 and is_nothing(packed + k, k, n):
                first = k + 1
        cast(Array[Int32], arrays[0])[number] = first
    return 0


@inlined
def is_nothing(column: Array[T], k: int, n: int) -> bool:
    """Whether a column is 0 from a pivot on that may be NaN."""
    nothing = not abs(column[k * n]) > 0.0
    for i in range(k + 1, n):
        nothing = nothing and column[i * n] == 0.0
    return nothing


# ---- equations ---------------------------------------------------------------------------------------------
@native
def solve_symmetric(arrays: Array[Memory], sizes: Sizes) -> int:
    """The X `[batch, n, columns]` of A · X = B. The arrays: X, A's factors `[batch, n, n]`, the exchanges
    `[batch, n]`, B. 1 unless these are rows, or two equal ones below 0."""
    n, columns = sizes.m, sizes.n
    for number in range(sizes.batch):
        x = cast(Array[T], arrays[0]) + number * n * columns
        packed = cast(Array[T], arrays[1]) + number * n * n
        pivots = cast(Array[Int32], arrays[2]) + number * n
        copy(x, cast(Array[T], arrays[3]) + number * n * columns, n * columns)
        if not are_rows(pivots, n):
            return 1
        solve_down(packed, pivots, x, n, columns)
        solve_up(packed, pivots, x, n, columns)
    return 0


@inlined
def are_rows(pivots: Array[Int32], n: int) -> bool:
    k, right = 0, True
    while k < n:
        width = 1 if pivots[k] > 0 else 2
        right = right and 0 <= row_of(pivots[k]) < n
        right = right and (width == 1 or (k + 1 < n and pivots[k + 1] == pivots[k]))
        k += width
    return right


@inlined
def row_of(pivot: int) -> int:
    return max(pivot, -pivot) - 1


@inlined
def solve_down(packed: Array[T], pivots: Array[Int32], x: Array[T], n: int, columns: int) -> None:
    """By L and D."""
    k = 0
    while k < n:
        width = 1 if pivots[k] > 0 else 2
        exchange(x, k + width - 1, row_of(pivots[k]), columns)
        here, diagonal = x + k * columns, packed + k * n + k
        for i in range(k + width, n):
            for j in range(width):
                subtract(x + i * columns, here + j * columns, packed[i * n + k + j], columns)
        if width == 1:
            divide(here, diagonal[0], columns)
        else:
            divide_by_block(here, here + columns, diagonal[0], diagonal[n], diagonal[n + 1], columns)
        k += width


@inlined
def divide_by_block(
    one: Array[T], two: Array[T], corner: float, off: float, other: float, count: int
) -> None:
    """Solve for two rows."""
    first, second = corner / off, other / off
    scale = first * second - 1.0
    for i in range(count):
        left, right = one[i] / off, two[i] / off
        one[i] = (second * left - right) / scale
        two[i] = (first * right - left) / scale


@inlined
def solve_up(packed: Array[T], pivots: Array[Int32], x: Array[T], n: int, columns: int) -> None:
    """By L turned over."""
    k = n
    while k > 0:
        width = 1 if pivots[k - 1] > 0 else 2
        k -= width
        for i in range(k + width, n):
            for j in range(width):
                subtract(x + (k + j) * columns, x + i * columns, packed[i * n + k + j], columns)
        exchange(x, k + width - 1, row_of(pivots[k]), columns)


@inlined
def exchange(x: Array[T], one: int, other: int, columns: int) -> None:
    if one != other:
        exchange_rows(x + one * columns, x + other * columns, columns)
