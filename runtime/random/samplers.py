"""Random arrays: PyTorch's CPU samplers, number for number. A shape and a generator in, a NumPy array out.

Every sampler takes a `Generator` (`generator.py`) or uses `default_generator`. The numbers are those of a
law (`laws.py`), which native code draws; a new distribution is a law there and a function here.

How equal to PyTorch 2.13 the numbers are: bit for bit in float16, float32 and float64, as tested, with
PyTorch on an x86 processor with AVX2. Where PyTorch runs without AVX2, its own float32 `normal` and its
multiply-adds differ in the last bits. On Intel processors PyTorch may draw `bernoulli` of a number, and so
dropout, from a stream of MKL's; ours is the same everywhere. float64 `normal`, `normal` of fewer than 16
numbers, and `exponential` call the C library: equal on one machine, an ULP may part two.
Threads may share a generator: each draw is one step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, SupportsIndex

import numpy as np

from retrograd.compiler.errors import ArgumentError, ShapeError, mirrored
from retrograd.runtime.random import laws
from retrograd.runtime.random.generator import (
    Generator,
    default_generator,
    initial_seed,
    manual_seed,
    whole_number,
)
from retrograd.runtime.random.laws import Law

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, DTypeLike, NDArray

__all__ = [
    "Generator",
    "default_generator",
    "manual_seed",
    "initial_seed",
    "rand",
    "uniform",
    "randn",
    "normal",
    "exponential",
    "bernoulli",
    "dropout_mask",
    "randint",
    "randperm",
    "multinomial",
]

Shape = SupportsIndex | Sequence[SupportsIndex]


def drawn(law: Law, shape: Shape, generator: Generator | None) -> NDArray[Any]:
    """An array of such numbers."""
    return law.draw(sizes_of(shape), generator or default_generator)


# --------------------------------------------------------------------------------------------- continuous


def rand(shape: Shape, dtype: DTypeLike = "float32", generator: Generator | None = None) -> NDArray[Any]:
    """Uniform numbers in [0, 1)."""
    return uniform(shape, 0.0, 1.0, dtype, generator)


def uniform(
    shape: Shape,
    low: float = 0.0,
    high: float = 1.0,
    dtype: DTypeLike = "float32",
    generator: Generator | None = None,
) -> NDArray[Any]:
    """Uniform numbers in [low, high)."""
    return drawn(laws.uniform(low, high, np.dtype(dtype)), shape, generator)


def randn(shape: Shape, dtype: DTypeLike = "float32", generator: Generator | None = None) -> NDArray[Any]:
    """Normal numbers of mean 0 and standard deviation 1."""
    return normal(shape, 0.0, 1.0, dtype, generator)


def normal(
    shape: Shape,
    mean: float = 0.0,
    std: float = 1.0,
    dtype: DTypeLike = "float32",
    generator: Generator | None = None,
) -> NDArray[Any]:
    """Normal numbers."""
    return drawn(laws.normal(float(mean), float(std), np.dtype(dtype)), shape, generator)


def exponential(
    shape: Shape, rate: float = 1.0, dtype: DTypeLike = "float32", generator: Generator | None = None
) -> NDArray[Any]:
    """Exponential numbers of mean 1/rate."""
    return drawn(laws.exponential(rate, np.dtype(dtype)), shape, generator)


# ----------------------------------------------------------------------------------------------- discrete


def bernoulli(
    shape: Shape,
    p: float | NDArray[np.floating[Any]] = 0.5,
    dtype: DTypeLike = "float32",
    generator: Generator | None = None,
) -> NDArray[Any]:
    """Ones with probability `p`, else zeros; an array `p` is broadcast to `shape`.

    A number or a float64 array is compared with 53 random bits, other arrays with 24, as in PyTorch.
    Raises ArgumentError where p is not between 0 and 1.
    """
    if not isinstance(p, np.ndarray):
        return drawn(laws.bernoulli(float(p), np.dtype(dtype)), shape, generator)
    laws.check_floating("probabilities", p.dtype)
    if not ((p >= 0) & (p <= 1)).all():
        words = (
            "Expected p_in >= 0 && p_in <= 1 to be true, but got false.  (Could this error message be "
            "improved?  If so, please report an enhancement request to PyTorch.)"
        )
        raise ArgumentError(mirrored(words), "bernoulli()", "a probability lies between 0 and 1")
    return np.asarray(drawn(laws.unit(p.dtype), shape, generator) < p).astype(dtype)


def dropout_mask(
    shape: Shape, p: float = 0.5, dtype: DTypeLike = "float32", generator: Generator | None = None
) -> NDArray[Any]:
    """What dropout multiplies its input by: 0 with probability `p`, else 1 / (1 − p).

    Draws nothing where p is 0 or 1. Raises ArgumentError where p is not between 0 and 1.
    """
    dtype = np.dtype(dtype)
    laws.check_floating("dropout_mask", dtype)
    if not 0 <= p <= 1:
        raise ArgumentError(f"dropout with p={p}", "a probability lies between 0 and 1")
    if p in (0, 1):
        return np.full(sizes_of(shape), 1 - p, dtype=dtype)
    return drawn(laws.dropout(p, dtype), shape, generator)


def randint(
    low: int, high: int, shape: Shape, dtype: DTypeLike = "int64", generator: Generator | None = None
) -> NDArray[Any]:
    """Whole numbers in [low, high)."""
    low, high = whole_number("low", low), whole_number("high", high)
    return drawn(laws.integers(low, high, np.dtype(dtype)), shape, generator)


def all_integers(
    shape: Shape, dtype: DTypeLike = "int64", generator: Generator | None = None
) -> NDArray[Any]:
    """Whole numbers from 0 to the greatest up to which `dtype` holds all."""
    return drawn(laws.all_integers(np.dtype(dtype)), shape, generator)


def randperm(n: int, dtype: DTypeLike = "int64", generator: Generator | None = None) -> NDArray[Any]:
    """The numbers 0 … n − 1 in random order. Raises ArgumentError where n is negative or past `dtype`."""
    n = whole_number("n", n)
    return drawn(laws.order(n, np.dtype(dtype)), n, generator)


def multinomial(
    weights: ArrayLike,
    num_samples: int,
    replacement: bool = False,
    generator: Generator | None = None,
) -> NDArray[np.int64]:
    """Indices of the last axis of `weights` (one row, or rows), drawn in proportion to them.

    One sample, or samples without replacement, are the largest weight / exponential number; others invert the
    cumulative distribution. Equal ones, as of weights of zero, are in no order.
    Raises ShapeError, DtypeError or ArgumentError for weights that are no distribution, or too few of them.
    """
    weights, generator = np.asarray(weights), generator or default_generator
    laws.check_floating("multinomial", weights.dtype)
    num_samples = whole_number("num_samples", num_samples)
    check_samples(weights.shape, num_samples, replacement)
    _check_weights(weights)
    if replacement and num_samples > 1:
        return _invert_cumulative(weights, num_samples, generator)
    with np.errstate(divide="ignore", over="ignore"):
        keys = weights / laws.exponential(1.0, weights.dtype).draw(weights.shape, generator)
    return _greatest(keys, num_samples)


def _greatest(keys: NDArray[Any], count: int) -> NDArray[np.int64]:
    """Where so many of the greatest are along the last axis, in their order."""
    if count == 1:
        return np.asarray(np.argmax(keys, axis=-1, keepdims=True), np.int64)
    if count * _FEW > keys.shape[-1]:
        order = np.argsort(-keys, axis=-1, kind="stable")[..., :count]
        return np.ascontiguousarray(order, np.int64)
    first = np.argpartition(-keys, count, axis=-1)[..., :count]
    order = np.argsort(-np.take_along_axis(keys, first, -1), axis=-1, kind="stable")
    return np.take_along_axis(first, order, -1).astype(np.int64, copy=False)


_FEW = 16
"""Of how many elements one must be among the greatest for all to be sorted."""


def _invert_cumulative(weights: NDArray[Any], num_samples: int, generator: Generator) -> NDArray[np.int64]:
    rows = weights.reshape(-1, weights.shape[-1]).astype(np.promote_types(weights.dtype, np.float32))
    cumulative = np.cumsum(rows, axis=-1, dtype=rows.dtype)
    cumulative /= cumulative[:, -1:]
    cumulative[:, -1] = 1
    unit = laws.unit(np.dtype(np.float64)).draw((len(rows), num_samples), generator)
    samples = [row.astype(np.float64).searchsorted(points) for row, points in zip(cumulative, unit)]
    return np.array(samples, dtype=np.int64).reshape(*weights.shape[:-1], num_samples)


# ----------------------------------------------------------------------------------------- checks, once each


def sizes_of(shape: Shape) -> tuple[int, ...]:
    """A shape as a tuple. Raises ShapeError where a size is negative."""
    sizes = tuple(whole_number("size", size) for size in (shape if isinstance(shape, Sequence) else (shape,)))
    if any(size < 0 for size in sizes):
        raise ShapeError(f"random numbers of shape {sizes}", "a size is negative")
    return sizes


def check_samples(shape: tuple[int, ...], num_samples: int, replacement: bool) -> None:
    """Raise ShapeError or ArgumentError where weights of this shape do not allow so many samples."""
    if len(shape) not in (1, 2):
        raise ShapeError(f"multinomial over weights of shape {shape}", "weights have one or two axes")
    enough = num_samples <= shape[-1] or replacement
    if num_samples < 1 or not enough:
        raise ArgumentError(
            f"multinomial with num_samples={num_samples} over {shape[-1]} weights",
            mirrored(
                "cannot sample n_sample <= 0 samples"
                if num_samples < 1
                else "cannot sample n_sample > prob_dist.size(-1) samples without replacement"
            ),
        )


def _check_weights(weights: NDArray[Any]) -> None:
    sums = weights.sum(axis=-1)
    if weights.size and weights.min() >= 0 and sums.min() > 0 and sums.max() < np.inf:
        return
    if not (np.isfinite(weights).all() and (weights >= 0).all() and (sums > 0).all()):
        proper = np.isfinite(weights).all() and (weights >= 0).all()
        raise ArgumentError(
            mirrored(
                "invalid multinomial distribution (sum of probabilities <= 0)"
                if proper
                else "probability tensor contains either `inf`, `nan` or element < 0"
            )
        )
