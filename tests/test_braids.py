"""What is stacked lies in its place at once: interleaved stores, concatenations of concatenations, and
rows of a stack that one kernel keeps in the cache."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import pytest

import retrograd as rg
from retrograd.compiler.ir.index import strides
from retrograd.compiler.lower.parts import regrouped

DTYPES = (rg.float32, rg.float64, rg.float16, rg.int64, rg.int32, rg.int8, rg.bool)


def operands(count: int, shape: Sequence[int], dtype: rg.dtype) -> list[rg.Tensor]:
    generator = np.random.default_rng(count)
    return [rg.from_numpy(generator.integers(-50, 50, shape)).to(dtype) for _ in range(count)]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("count", [2, 3, 4, 5, 8, 16])
def test_stacked_values_are_interleaved(count: int, dtype: rg.dtype) -> None:
    """Whole vectors and what is left at the end, of every length around them."""
    stacked = rg.compile_grad(lambda *xs: rg.stack([x != 3 if dtype is rg.bool else x + x for x in xs], -1))
    for size in (1, 7, 16, 33, 64, 100):
        xs = operands(count, (size,), dtype)
        expected = np.stack([x.numpy() != 3 if dtype is rg.bool else x.numpy() + x.numpy() for x in xs], -1)
        np.testing.assert_array_equal(stacked(*xs).numpy(), expected)


def test_interleaved_stores_are_vectors() -> None:
    """No store that goes lane by lane is left in the text."""
    stacked = rg.compile_grad(lambda a, b: rg.stack([a + b, a - b], -1))
    text = stacked.trace(rg.zeros(1000), rg.zeros(1000)).llvm
    assert "scatter" not in text
    assert "shufflevector" in text


@pytest.mark.parametrize("masked", [False, True])
def test_what_is_not_a_whole_run_is_stored_by_itself(masked: bool) -> None:
    """Of three places only two are written by one loop; and a loop that reads what it writes."""
    size = 37 if masked else 64

    @rg.compile_grad
    def some(a: rg.Tensor) -> tuple[rg.Tensor, rg.Tensor]:
        whole = rg.stack([a + 1, a * 2, a.flip(0), a - 1], -1)
        return whole, whole.sum(-1)

    (a,) = operands(1, (size,), rg.float32)
    whole, total = some(a)
    x = a.numpy()
    expected = np.stack([x + 1, x * 2, x[::-1], x - 1], -1)
    np.testing.assert_array_equal(whole.numpy(), expected)
    np.testing.assert_array_equal(total.numpy(), expected.sum(-1))


def test_a_concatenation_within_another_is_not_copied() -> None:
    @rg.compile_grad
    def joined(a: rg.Tensor, b: rg.Tensor) -> rg.Tensor:
        left = rg.stack([a + b, a - b], 1).reshape(6, 10)
        right = rg.cat([a * b, a], 1)
        return rg.stack([left, right], -1)

    a, b = operands(2, (6, 5), rg.float32)
    x, y = a.numpy(), b.numpy()
    left = np.stack([x + y, x - y], 1).reshape(6, 10)
    expected = np.stack([left, np.concatenate([x * y, x], 1)], -1)
    np.testing.assert_array_equal(joined(a, b).numpy(), expected)
    buffers = {
        line.split("[")[0].strip() for line in str(joined.trace(a, b).loops).splitlines() if "] =" in line
    }
    assert buffers == {"out0"}


def test_rows_of_a_stack_stay_in_one_kernel() -> None:
    """What reads a stack row by row follows where it is written; the stack is local to the row."""

    @rg.compile_grad
    def twice(x: rg.Tensor) -> rg.Tensor:
        for _ in range(3):
            left, right = x[:, :32], x[:, 32:]
            x = rg.stack([left + right, left - right], -1).reshape(x.shape)
        return x

    (x,) = operands(1, (20, 64), rg.float32)
    expected = x.numpy()
    for _ in range(3):
        left, right = expected[:, :32], expected[:, 32:]
        expected = np.stack([left + right, left - right], -1).reshape(expected.shape)
    np.testing.assert_array_equal(twice(x).numpy(), expected)
    loops = twice.trace(x).loops
    assert len(loops.kernels) == 1
    assert "local" in str(loops)


def test_a_stack_that_crosses_rows_is_complete_before_it_is_read() -> None:
    """Along the first axis, and read in another order: no row is there before all are."""

    @rg.compile_grad
    def turned(x: rg.Tensor) -> rg.Tensor:
        y = rg.cat([x * 2, x * 3], 0)
        z = rg.stack([x + 1, x - 1], 1)
        return y.flip(0).sum(1), z.transpose(0, 2).exp().sum(0), z.flip(0) * 2

    (x,) = operands(1, (12, 9), rg.float64)
    a = x.numpy()
    y, z = np.concatenate([a * 2, a * 3], 0), np.stack([a + 1, a - 1], 1)
    expected = y[::-1].sum(1), np.exp(z.transpose(2, 1, 0)).sum(0), z[::-1] * 2
    for ours, theirs in zip(turned(x), expected, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-12)


@pytest.mark.parametrize("shape", [(2, 12, 3), (4, 6), (24,), (2, 1, 12), (3, 0)])
def test_strides_of_another_shape(shape: tuple[int, ...]) -> None:
    """As NumPy's, where it reshapes without a copy."""
    others = [(24,), (2, 12), (12, 2), (4, 6), (2, 3, 4), (3, 8), (1, 24, 1), (8, 3), (0, 2)]
    for other, step, order in product(others, (1, 2), ("C", "F")):
        if np.prod(other) != np.prod(shape):
            continue
        memory = np.zeros([2 * n for n in shape], order=order)
        view = memory[tuple(slice(None, n * step, step) for n in shape)]
        steps = [s // view.itemsize for s in view.strides]
        found = regrouped(shape, steps, other)
        copied = view.reshape(other)
        lies = copied.size == 0 or np.shares_memory(memory, copied)
        assert (found is not None) == lies
        if found is not None and copied.size:
            ours = [s for s, n in zip(found, other, strict=True) if n > 1]
            assert ours == [s // 8 for s, n in zip(copied.strides, other, strict=True) if n > 1]
    assert regrouped(shape, strides(shape), shape) is not None
