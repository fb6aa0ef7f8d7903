"""The kernel of running sums, products and extrema: along lines that lie in order, or across lines that lie
side by side.

In flow arrays, the result first, and the sizes of a step; out flows 0. A line is joined one element after the
other, so several lines, or vectors of them, go on side by side. What elements, vectors and the join are, and
how wide the number is that is carried along, is said by instances (`kernels.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeVar

from retrograd.compiler.native.language import Array, Record, Vector, cast, chosen, inlined, native, put, take
from retrograd.runtime.native.small.lanes import LANES, VA, A, One
from retrograd.runtime.native.small.reducing import IDENTITY, STREAMS

V = TypeVar("V", bound=Vector[Any, Any])
U = TypeVar("U", bound=Vector[Any, Any])
Carry = Vector[float, Literal[16]]
OneCarry = Vector[float, Literal[1]]
"""What goes along lines, as many as elements of a vector, and one."""


@chosen
def join(carry: V, x: V) -> V: ...


class Sizes(Record):
    before: int
    count: int
    """Elements of a line."""
    after: int
    apart: int
    """From one of them to the next; more than `after` where that is a part of what is after them."""
    reverse: int
    """1 where lines begin at their end."""


@native
def running(arrays: Array[Array[A]], sizes: Sizes) -> int:
    """Arrays: results, elements."""
    count, after, apart, length = sizes.count, sizes.after, sizes.apart, sizes.count * sizes.apart
    start, step = 0 if sizes.reverse == 0 else length - apart, apart if sizes.reverse == 0 else -apart
    to, x = arrays[0] + start, arrays[1] + start
    if apart > 1:
        for i in range(sizes.before):
            across(to + i * length, x + i * length, count, after, step)
        return 0
    whole = sizes.before - sizes.before % STREAMS
    for i in range(0, whole, STREAMS):
        side_by_side(
            to + i * length, x + i * length, count, step, count, cast(OneCarry, IDENTITY),
            lambda at: cast(OneCarry, take(One, at)), lambda found: cast(One, found),
        )  # fmt: skip
    for i in range(whole, sizes.before):
        along(to + i * length, x + i * length, count, step)
    return 0


@inlined
def along(to: Array[A], x: Array[A], count: int, step: int) -> None:
    carry = cast(OneCarry, IDENTITY)
    for k in range(count):
        carry = join(carry, cast(OneCarry, take(One, x + k * step)))
        put(to + k * step, cast(One, carry))


@inlined
def across(to: Array[A], x: Array[A], count: int, after: int, step: int) -> None:
    whole = after - after % (STREAMS * LANES)
    for at in range(0, whole, STREAMS * LANES):
        side_by_side(
            to + at, x + at, count, step, LANES, cast(Carry, IDENTITY),
            lambda at: cast(Carry, take(VA, at)), lambda found: cast(VA, found),
        )  # fmt: skip
    for at in range(whole, after, LANES):
        carry = cast(Carry, IDENTITY)
        for k in range(count):
            carry = join(carry, cast(Carry, take(VA, x + (k * step + at), after - at, IDENTITY)))
            put(to + (k * step + at), cast(VA, carry), after - at)


@inlined
def side_by_side(
    to: Array[A], x: Array[A], count: int, step: int, apart: int, none: V, taken: Callable[[Array[A]], V],
    rounded: Callable[[V], U],
) -> None:  # fmt: skip
    """As many lines, or vectors of them, as go on at the same time; each begins so far `apart`."""
    one, two, three, four = none, none, none, none
    for k in range(count):
        at, own = x + k * step, to + k * step
        one, two = join(one, taken(at)), join(two, taken(at + apart))
        three, four = join(three, taken(at + 2 * apart)), join(four, taken(at + 3 * apart))
        put(own, rounded(one))
        put(own + apart, rounded(two))
        put(own + 2 * apart, rounded(three))
        put(own + 3 * apart, rounded(four))
