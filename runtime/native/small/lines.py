"""The kernels that go by vectors: rows of the elementwise table, and scans.

In flow arrays, the result first, and the sizes of a step; out flows 0. What elements and vectors are, and
which functions of vectors are `chosen`, is said by instances (`kernels.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeVar

from retrograd.compiler.native.language import (
    Array,
    Float32,
    Vector,
    cast,
    chosen,
    inlined,
    native,
    put,
    stack,
    take,
)
from retrograd.runtime.native.objects import Memory

T = TypeVar("T")
V = TypeVar("V", bound=Vector[Any, Any])

A = Float32
B = Float32
C = Float32
D = Float32
Out = Float32
VA = Vector[A, Literal[16]]
VB = Vector[B, Literal[16]]
VC = Vector[C, Literal[16]]
VD = Vector[D, Literal[16]]
LANES, IDENTITY = 16, 0.0
"""An instance has its own."""


# ---- rows --------------------------------------------------------------------------------------------------
# Sizes: how many elements, and for each operand 1, or 0 if it is one element for all.
@chosen
def code(*operands: Any) -> Any: ...


@inlined
def each(to: Array[T], count: int, computed: Callable[[int, int], V]) -> int:
    """Elements of the result, given where they begin and how many there are at most."""
    for at in range(0, count, LANES):
        put(to + at, computed(at, count - at), count - at)
    return 0


@native
def unary(arrays: Array[Memory], sizes: Array[int]) -> int:
    a, steps_a = cast(Array[A], arrays[1]), sizes[1]
    first = cast(VA, a[0])
    return each(
        cast(Array[Out], arrays[0]), sizes[0], lambda at, left: code(take(VA, a + at, left * steps_a, first))
    )


@native
def binary(arrays: Array[Memory], sizes: Array[int]) -> int:
    a, b, steps_a, steps_b = cast(Array[A], arrays[1]), cast(Array[B], arrays[2]), sizes[1], sizes[2]
    first, second = cast(VA, a[0]), cast(VB, b[0])
    return each(
        cast(Array[Out], arrays[0]),
        sizes[0],
        lambda at, left: code(
            take(VA, a + at, left * steps_a, first), take(VB, b + at, left * steps_b, second)
        ),
    )


@native
def ternary(arrays: Array[Memory], sizes: Array[int]) -> int:
    a, b, c = cast(Array[A], arrays[1]), cast(Array[B], arrays[2]), cast(Array[C], arrays[3])
    steps_a, steps_b, steps_c = sizes[1], sizes[2], sizes[3]
    first, second, third = cast(VA, a[0]), cast(VB, b[0]), cast(VC, c[0])
    return each(
        cast(Array[Out], arrays[0]),
        sizes[0],
        lambda at, left: code(
            take(VA, a + at, left * steps_a, first),
            take(VB, b + at, left * steps_b, second),
            take(VC, c + at, left * steps_c, third),
        ),
    )


@native
def quaternary(arrays: Array[Memory], sizes: Array[int]) -> int:
    a, b = cast(Array[A], arrays[1]), cast(Array[B], arrays[2])
    c, d = cast(Array[C], arrays[3]), cast(Array[D], arrays[4])
    steps_a, steps_b, steps_c, steps_d = sizes[1], sizes[2], sizes[3], sizes[4]
    first, second, third, fourth = cast(VA, a[0]), cast(VB, b[0]), cast(VC, c[0]), cast(VD, d[0])
    return each(
        cast(Array[Out], arrays[0]),
        sizes[0],
        lambda at, left: code(
            take(VA, a + at, left * steps_a, first),
            take(VB, b + at, left * steps_b, second),
            take(VC, c + at, left * steps_c, third),
            take(VD, d + at, left * steps_d, fourth),
        ),
    )


# Of little code, which stands there twice: for whole vectors, and for the last ones with a mask.
@native
def quick_unary(arrays: Array[Memory], sizes: Array[int]) -> int:
    to, count, whole = cast(Array[Out], arrays[0]), sizes[0], sizes[0] - sizes[0] % LANES
    first = stack(Array[A], LANES)
    a, steps_a = cast(Array[A], arrays[1]), sizes[1]
    if steps_a == 0:
        put(first, cast(VA, a[0]))
        a = first
    for at in range(0, whole, LANES):
        put(to + at, code(take(VA, a + at * steps_a)))
    if whole < count:
        x = take(VA, a + whole * steps_a, count - whole, cast(VA, a[0]))
        put(to + whole, code(x), count - whole)
    return 0


@native
def quick_binary(arrays: Array[Memory], sizes: Array[int]) -> int:
    to, count, whole = cast(Array[Out], arrays[0]), sizes[0], sizes[0] - sizes[0] % LANES
    first, second = stack(Array[A], LANES), stack(Array[B], LANES)
    a, steps_a = cast(Array[A], arrays[1]), sizes[1]
    if steps_a == 0:
        put(first, cast(VA, a[0]))
        a = first
    b, steps_b = cast(Array[B], arrays[2]), sizes[2]
    if steps_b == 0:
        put(second, cast(VB, b[0]))
        b = second
    for at in range(0, whole, LANES):
        put(to + at, code(take(VA, a + at * steps_a), take(VB, b + at * steps_b)))
    if whole < count:
        x = take(VA, a + whole * steps_a, count - whole, cast(VA, a[0]))
        y = take(VB, b + whole * steps_b, count - whole, cast(VB, b[0]))
        put(to + whole, code(x, y), count - whole)
    return 0


@native
def quick_ternary(arrays: Array[Memory], sizes: Array[int]) -> int:
    to, count, whole = cast(Array[Out], arrays[0]), sizes[0], sizes[0] - sizes[0] % LANES
    first, second, third = stack(Array[A], LANES), stack(Array[B], LANES), stack(Array[C], LANES)
    a, steps_a = cast(Array[A], arrays[1]), sizes[1]
    if steps_a == 0:
        put(first, cast(VA, a[0]))
        a = first
    b, steps_b = cast(Array[B], arrays[2]), sizes[2]
    if steps_b == 0:
        put(second, cast(VB, b[0]))
        b = second
    c, steps_c = cast(Array[C], arrays[3]), sizes[3]
    if steps_c == 0:
        put(third, cast(VC, c[0]))
        c = third
    for at in range(0, whole, LANES):
        put(
            to + at,
            code(take(VA, a + at * steps_a), take(VB, b + at * steps_b), take(VC, c + at * steps_c)),
        )
    if whole < count:
        x = take(VA, a + whole * steps_a, count - whole, cast(VA, a[0]))
        y = take(VB, b + whole * steps_b, count - whole, cast(VB, b[0]))
        z = take(VC, c + whole * steps_c, count - whole, cast(VC, c[0]))
        put(to + whole, code(x, y, z), count - whole)
    return 0


# ---- rows of matrices --------------------------------------------------------------------------------------
# Sizes: rows and columns.
@chosen
def join(carry: VA, x: VA) -> VA: ...


@chosen
def join_second(carry: VA, x: VA) -> VA: ...


@inlined
def scanned(arrays: Array[Array[A]], sizes: Array[int], step: Callable[[VA, int, int], VA]) -> int:
    """Rows of the result: `step` makes the next one of the last, given where its elements begin and how many
    there are at most."""
    rows, columns, to = sizes[0], sizes[1], arrays[0]
    for row in range(rows):
        for at in range(0, columns, LANES):
            place, left = row * columns + at, columns - at
            carry = take(VA, to + (place - columns), left if row > 0 else 0, IDENTITY)
            put(to + place, step(carry, place, left), left)
    return 0


@native
def scan(arrays: Array[Array[A]], sizes: Array[int]) -> int:
    """Each row of the operand joined with the result's row before."""
    x = arrays[1]
    return scanned(arrays, sizes, lambda carry, at, left: join(carry, take(VA, x + at, left, IDENTITY)))


@native
def scan_of_two(arrays: Array[Array[A]], sizes: Array[int]) -> int:
    """Each row of the first operand, and then of the second one."""
    x, y = arrays[1], arrays[2]
    return scanned(
        arrays,
        sizes,
        lambda carry, at, left: join_second(
            join(carry, take(VA, x + at, left, IDENTITY)), take(VA, y + at, left, IDENTITY)
        ),
    )
