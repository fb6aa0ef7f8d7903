"""Elements that do not lie side by side, in vectors: strided, repeated, in reverse and by turns, around each
edge, nothing read beyond the operand. A new way to lie apart is a row of `WAYS`."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np
import pytest
from native import build, graph_of

from retrograd.compiler.ir.graph import Value
from retrograd.compiler.ops.rows import rows
from retrograd.compiler.ops.shape import expand, flip, pad, permute, reshape, slice_


def every(step: int, x: Value) -> Value:
    return slice_(x, (0, 0), tuple(x.shape), (1, step))


def repeated(times: int, x: Value) -> Value:
    wide = expand(reshape(x, (*x.shape, 1)), (*x.shape, times))
    return reshape(wide, (x.shape[0], x.shape[1] * times))


def spaced(step: int, x: Value) -> Value:
    return pad(x, (0, 1), (0, 2), (0, step - 1), 7.0)


def by_turns(step: int, x: Value) -> Value:
    """Elements of as many lines, one after the other."""
    return reshape(permute(reshape(x, (step, prod(x.shape) // step)), (1, 0)), (1, prod(x.shape)))


WAYS: dict[str, Callable[[Value], Value]] = {
    **{f"every {n}": lambda x, n=n: every(n, x) for n in (2, 3, 4, 5)},
    **{f"repeated {n}": lambda x, n=n: repeated(n, x) for n in (2, 3, 4, 16)},
    **{f"spaced {n}": lambda x, n=n: spaced(n, x) for n in (2, 3)},
    **{f"by {n} turns": lambda x, n=n: by_turns(n, x) for n in (2, 4)},
    "reversed": lambda x: flip(x, (1,)),
    "reversed every 2": lambda x: flip(every(2, x), (1,)),
}


@pytest.mark.parametrize("dtype", ["f4", "f8", "i1", "i8", "?"])
@pytest.mark.parametrize("way", WAYS)
def test_elements_apart(way: str, dtype: str) -> None:
    random = np.random.default_rng(5)
    for width in (1, 2, 15, 16, 17, 33, 100):
        x = (random.standard_normal((4, width)) * 50).astype(dtype)

        def function(x: Value) -> Value:
            moved = WAYS[way](x)
            return rows.eq(moved, moved) if dtype == "?" else moved + moved

        (found,) = build(graph_of(function, x))(x)
        np.testing.assert_array_equal(found, function(x))
