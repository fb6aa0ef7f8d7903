"""Steps of eager kernels in parts: the same bits for any number of threads, and those of PyTorch or NumPy.

In flow functions of arrays that are so large that threads share them, along each axis; the oracle is PyTorch
in float64, or where nothing is rounded in the same dtype.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import retrograd

torch = pytest.importorskip("torch")

SHAPES = [(70000,), (3, 20011), (20011, 3), (257, 301), (1, 4099, 17), (17, 4099, 1), (5, 41, 331)]
"""Of 60,000 elements or more, few of which fill parts or vectors."""

ROUNDING: list[Callable[..., Any]] = [
    lambda T, x, axis: x.sum(axis),
    lambda T, x, axis: x.cumsum(axis),
    lambda T, x, axis: (x * 0.01 + 1).cumprod(axis),
    lambda T, x, axis: x.var(axis, correction=0),
    lambda T, x, axis: x.norm(dim=axis),
    lambda T, x, axis: T.zeros_like(x).scatter_add(axis, places(T, x, axis), x),
    lambda T, x, axis: x.logsumexp(axis),
    lambda T, x, axis: x.softmax(axis),
]
EXACT: list[Callable[..., Any]] = [
    lambda T, x, axis: x.amax(axis),
    lambda T, x, axis: x.argmin(axis),
    lambda T, x, axis: x.max(axis).indices,
    lambda T, x, axis: x.cummax(axis).values,
    lambda T, x, axis: x.gather(axis, places(T, x, axis)),
    lambda T, x, axis: x.index_select(axis, places(T, x, axis).flatten()[:97]),
    lambda T, x, axis: x.transpose(0, axis).contiguous(),
    lambda T, x, axis: x.flip(axis).contiguous(),
    lambda T, x, axis: x.clone(),
    lambda T, x, axis: x.scatter(axis, T.argsort(x, stable=True, dim=axis), -x),
    lambda T, x, axis: T.cat([x, x * 2, x[:1]] if not axis else [x, x * 2], axis),
    lambda T, x, axis: T.stack([x, -x], axis),
    lambda T, x, axis: x.repeat_interleave(3, axis),
    lambda T, x, axis: (x > 0).sum(axis),
    lambda T, x, axis: (x > 0).transpose(0, axis).contiguous(),
    lambda T, x, axis: (x * 100).to(T.int64).cumsum(axis),
    lambda T, x, axis: x.double().transpose(axis, -1).contiguous(),
]


def places(T: Any, x: Any, axis: int) -> Any:
    """For each element one along the axis."""
    return (x.float() * 1000).to(T.int64) % x.shape[axis]


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = retrograd.get_num_threads()
    yield
    retrograd.set_num_threads(before)


def answers(function: Callable[..., Any], array: np.ndarray, axis: int) -> list[np.ndarray]:
    """On one thread, two and three."""
    found = []
    for count in (1, 2, 3):
        retrograd.set_num_threads(count)
        found.append(function(retrograd, retrograd.from_numpy(array), axis).numpy())
    return found


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("number", range(len(ROUNDING) + len(EXACT)))
def test_parts_give_the_same_bits_on_any_number_of_threads(number: int, shape: tuple[int, ...]) -> None:
    function = [*ROUNDING, *EXACT][number]
    array = np.random.default_rng(number).normal(size=shape).astype(np.float32)
    for axis in range(len(shape)):
        alone, *shared = answers(function, array, axis)
        for each in shared:
            np.testing.assert_array_equal(each, alone)
        exact = number >= len(ROUNDING)
        wanted = function(torch, torch.from_numpy(array if exact else array.astype(np.float64)), axis).numpy()
        if exact:
            np.testing.assert_array_equal(alone, wanted)
        else:
            scale = np.abs(wanted).max()
            np.testing.assert_allclose(alone, wanted, rtol=2e-5, atol=2e-6 * scale)


@pytest.mark.parametrize("number", range(len(ROUNDING) + len(EXACT)))
def test_what_does_not_lie_in_order_gives_what_its_copy_does(number: int) -> None:
    function = [*ROUNDING, *EXACT][number]
    x = retrograd.from_numpy(np.random.default_rng(number).normal(size=(301, 5, 257)).astype(np.float32))
    for seen in (x.transpose(0, 2), x[:, :, 1::2], x.transpose(0, 1)):
        for axis in range(3):
            for _ in range(2):
                found = function(retrograd, seen, axis).numpy()
            wanted = function(retrograd, seen.contiguous(), axis).numpy()
            scale = np.abs(wanted).max() if number < len(ROUNDING) else 0
            np.testing.assert_allclose(found, wanted, rtol=2e-5 * (scale > 0), atol=2e-6 * scale)


@pytest.mark.parametrize("axis", [0, 1])
def test_an_index_out_of_range_in_any_part_is_told_of(axis: int) -> None:
    x, index = retrograd.ones(300, 400), np.zeros((300, 400), np.int64)
    index[-1, -1] = 400
    for count in (1, 2):
        retrograd.set_num_threads(count)
        with pytest.raises((IndexError, RuntimeError), match="out of bounds"):
            x.gather(axis, retrograd.from_numpy(index))
