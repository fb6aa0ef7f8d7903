"""Index arithmetic: each simplification keeps the value in every iteration; bounds and strides are true."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from math import prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrograd.compiler.ir.index import (
    Axis,
    Divided,
    Index,
    Remainder,
    as_index,
    flatten,
    strides,
    unflatten,
)

AXES = (Axis("i", 4), Axis("j", 3), Axis("k", 1), Axis("l", 5))
Place = dict[Axis, int]


def value(index: Index, at: Place) -> int:
    """The index by its definition."""
    total = index.offset
    for atom, factor in index.terms:
        match atom:
            case Axis():
                total += factor * at[atom]
            case Divided(inner, divisor):
                total += factor * (value(inner, at) // divisor)
            case Remainder(inner, divisor):
                total += factor * (value(inner, at) % divisor)
            case _:
                raise AssertionError(atom)
    return total


def places() -> Iterator[Place]:
    for place in product(*(range(axis.extent) for axis in AXES)):
        yield dict(zip(AXES, place, strict=True))


small = st.integers(-7, 7)
affine = st.builds(
    lambda factors, offset: sum(
        (as_index(a) * f for a, f in zip(AXES, factors, strict=True)), Index((), offset)
    ),
    st.lists(small, min_size=4, max_size=4),
    small,
)
divisors = st.integers(1, 9)
indices = st.recursive(
    affine,
    lambda inner: (
        st.builds(lambda a, d: a // d, inner, divisors)
        | st.builds(lambda a, d: a % d, inner, divisors)
        | st.builds(lambda a, b: a + b, inner, inner)
        | st.builds(lambda a, f: a * f, inner, small)
    ),
    max_leaves=4,
)


@given(indices, indices, small, divisors)
def test_arithmetic_keeps_the_value(a: Index, b: Index, factor: int, divisor: int) -> None:
    results = (a + b, a - b, a * factor, a // divisor, a % divisor, a + factor)
    for at in places():
        x, y = value(a, at), value(b, at)
        wanted = (x + y, x - y, x * factor, x // divisor, x % divisor, x + factor)
        assert tuple(value(r, at) for r in results) == wanted


@given(indices)
def test_bounds_hold_and_what_is_divided_is_not_negative(index: Index) -> None:
    low, high = index.bounds()
    for at in places():
        assert low <= value(index, at) <= high
        for atom, _ in index.terms:
            if isinstance(atom, Divided | Remainder):
                assert value(atom.value, at) >= 0, "machines round to zero"


@given(indices)
def test_strides_are_the_growth_along_an_axis(index: Index) -> None:
    for axis in AXES:
        stride = index.stride(axis)
        for at in places():
            if stride is not None and at[axis] + 1 < axis.extent:
                assert value(index, {**at, axis: at[axis] + 1}) - value(index, at) == stride
    assert index.axes() <= {*AXES}


@given(indices, affine)
def test_substitution_replaces_an_axis(index: Index, other: Index) -> None:
    low, high = other.bounds()
    axis = Axis("m", max(high, 0) + 1)
    inside = other - min(low, 0)
    moved = index + as_index(axis) * 2
    found = moved.substitute({axis: inside})
    for at in places():
        assert value(found, at) == value(moved, {**at, axis: value(inside, at)})


@given(st.lists(st.sampled_from((1, 2, 3, 4, 6)), max_size=4), st.data())
def test_a_reshape_there_and_back_is_nothing(shape: list[int], data: st.DataObject) -> None:
    axes = tuple(Axis("ijkl"[n], size) for n, size in enumerate(shape))
    index = tuple(Index() if a.extent == 1 else as_index(a) for a in axes)
    size = prod(shape)
    first = data.draw(st.sampled_from([d for d in range(1, size + 1) if size % d == 0]))
    other = (first, size // first)
    assert unflatten(flatten(index, shape), shape) == index
    there = unflatten(flatten(index, shape), other)
    for place in np.ndindex(*shape):
        at = dict(zip(axes, place, strict=True))
        flat = value(flatten(index, shape), at)
        assert tuple(value(i, at) for i in there) == np.unravel_index(flat, other)


def test_exact_splits_cost_nothing() -> None:
    i, j = Axis("i", 6), Axis("j", 5)
    position = as_index(i) * 5 + as_index(j)
    assert position // 5 == as_index(i)
    assert position % 5 == as_index(j)
    assert unflatten(position, (2, 3, 5))[2] == as_index(j)
    assert (position * 4 + 3) // 4 == position
    assert str(position // 3) == "(5*i + j)//3"


@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 4, 2)])
def test_nothing_is_nowhere(shape: tuple[int, ...]) -> None:
    assert unflatten(as_index(AXES[0]), shape) == (Index(),) * len(shape)


def test_row_major_strides() -> None:
    assert strides((2, 3, 4)) == (12, 4, 1)
    assert strides(()) == ()


def test_text() -> None:
    i, j = AXES[:2]
    assert str(as_index(i) * 2 - as_index(j) - 3) == "2*i - j - 3"
    assert str(Index()) == "0"
    assert str(as_index(j) * -1) == "-j"
    assert str((as_index(i) * 3 + as_index(j)) % 2 + 1) == "(3*i + j)%2 + 1"


@given(indices, st.sampled_from((1, 2, 3)), st.sampled_from((2, 3, 4)), st.sampled_from((2, 5)))
def test_digits_joined_again_are_the_value(index: Index, first: int, second: int, third: int) -> None:
    low = index.bounds()[0]
    whole = index - low
    digits = whole // (first * second) % third * (first * second) + whole // first % second * first
    for at in places():
        assert value(digits.joined(), at) == value(digits, at)


def test_joined_digits_are_affine() -> None:
    i = Axis("i", 2704)
    channel, line, column = unflatten(as_index(i), (16, 13, 13))
    assert (channel * 169 + line * 13 + column).joined() == as_index(i)
    assert (line * 13 + column).joined() == as_index(i) % 169


def test_what_shares_a_factor_with_the_divisor_leaves_the_division() -> None:
    k, place = Axis("k", 9), Axis("p", 5408)
    position = as_index(k) * 5408 + as_index(place)
    assert position // 16224 == as_index(k) // 3
    assert position % 16224 == as_index(k) % 3 * 5408 + as_index(place)
    assert as_index(k) // 2 // 2 == as_index(k) // 4
    assert as_index(k) % 8 // 2 == as_index(k) // 2 % 4
