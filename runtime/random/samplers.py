"""Random arrays: PyTorch's CPU samplers, number for number. A shape and a generator in, a NumPy array out.

Every sampler takes a `Generator` (`generator.py`) or uses `default_generator`. A new distribution is
one more function: draw words, or `_unit` numbers, and transform them.

How equal to PyTorch 2.13 the numbers are: bit for bit in float16, float32 and float64, as tested, with
PyTorch on an x86 processor with AVX2. Where PyTorch runs without AVX2, its own float32 `normal` and its
multiply-adds differ in the last bits. On Intel processors PyTorch may draw `bernoulli` of a number, and so
dropout, from a stream of MKL's; ours is the same everywhere. float64 `normal`, `normal` of fewer than 16
numbers, and `exponential` call the C library: equal on one machine, an ULP may part two.
A generator is not locked: give each thread its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from retrograd.compiler import dtypes
from retrograd.compiler.errors import ArgumentError, DtypeError, ShapeError, mirrored
from retrograd.runtime.random.generator import (
    Generator,
    default_generator,
    initial_seed,
    manual_seed,
    whole_number,
)
from retrograd.runtime.random.rounding import F64, box_muller32, box_muller64, fma32, fma64, libm

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
    """Uniform numbers in [low, high): multiples of 2⁻²⁴ (2⁻⁵³ in float64) of the range.

    Raises ArgumentError where low > high or the range is past the dtype's largest number.
    """
    dtype = _floating("uniform", dtype)
    largest = float(np.finfo(dtype if dtype.kind == "f" else np.float32).max)
    if not (-largest <= low <= high <= largest and high - low <= largest):
        raise ArgumentError(
            f"uniform numbers from {low} to {high} in {dtype}",
            f"low must not be greater than high, and the range must stay within ±{largest}",
        )
    shape = _shape(shape)
    unit = _unit(math.prod(shape), dtype, generator or default_generator)
    if (low, high) == (0, 1):
        values = unit
    elif dtype == np.float64:
        values = fma64(unit, float(high) - float(low), float(low))
    else:
        values = fma32(unit, np.float32(high) - np.float32(low), np.float32(low))
    values = values.astype(dtype, copy=False)
    values[values == dtype.type(high)] = low  # rounded up to the end of the range, which is excluded
    return values.reshape(shape)


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
    """Normal numbers, by Box and Muller: from sixteen on in blocks, fewer one by one in float64.

    Raises ArgumentError where std < 0.
    """
    dtype = _floating("normal", dtype)
    if not std >= 0:
        raise ArgumentError(f"normal numbers with std={std}", "a standard deviation is not negative")
    shape = _shape(shape)
    count = math.prod(shape)
    sampler = _normal_singly if count < 16 else _normal_blocks
    return sampler(count, float(mean), float(std), dtype, generator or default_generator).reshape(shape)


def _normal_singly(
    count: int, mean: float, std: float, dtype: np.dtype[Any], generator: Generator
) -> NDArray[Any]:
    samples = []
    for _ in range(count):
        if generator.next_normal is not None:
            samples.append(generator.next_normal)
            generator.next_normal = None
            continue
        turn, unit = _unit(2, np.dtype(np.float64), generator).tolist()
        radius, angle = math.sqrt(-2.0 * math.log1p(-unit)), 2.0 * math.pi * turn
        samples.append(radius * math.cos(angle))
        generator.next_normal = radius * math.sin(angle)
    return _narrowed(fma64(np.array(samples, dtype=np.float64), std, mean), dtype)


def _normal_blocks(
    count: int, mean: float, std: float, dtype: np.dtype[Any], generator: Generator
) -> NDArray[Any]:
    """Whole blocks of sixteen, of which a rest overwrites the end by one more block.

    PyTorch fills float32 and float64 in place and so draws the rest twice, once in vain; not so the halves.
    """
    whole, rest = count - count % 16, count % 16
    in_vain = 0 if dtype.itemsize == 2 else rest
    unit = _unit(whole + in_vain + (16 if rest else 0), dtype, generator)
    rows = np.concatenate([unit[:whole], unit[whole + in_vain :]]).reshape(-1, 16)
    box_muller = box_muller64 if dtype == np.float64 else box_muller32
    samples = box_muller(rows, mean, std).astype(dtype, copy=False).ravel()
    return np.concatenate([samples[: count - 16], samples[whole:]]) if rest else samples


def exponential(
    shape: Shape, rate: float = 1.0, dtype: DTypeLike = "float32", generator: Generator | None = None
) -> NDArray[Any]:
    """Exponential numbers of mean 1/rate. Raises ArgumentError where rate ≤ 0."""
    dtype = _floating("exponential", dtype)
    if not rate > 0:
        raise ArgumentError(mirrored(f"exponential_ expects lambda > 0.0, but found lambda={rate:g}"))
    shape = _shape(shape)
    unit = _unit(math.prod(shape), np.dtype(np.float64), generator or default_generator)
    return _narrowed(-1.0 / rate * libm(math.log1p, -unit), dtype).reshape(shape)


def _unit(count: int, dtype: np.dtype[Any], generator: Generator) -> NDArray[Any]:
    """Numbers in [0, 1): float64 from 53 bits of a pair of words; float32, for any other dtype, from 24."""
    if dtype == np.float64:
        pairs = generator.uint64(count) & np.uint64(2**53 - 1)
        return pairs.astype(np.float64) * np.float64(2.0**-53)
    words = generator.uint32(count) & np.uint32(2**24 - 1)
    return words.astype(np.float32) * np.float32(2.0**-24)


def _narrowed(values: F64, dtype: np.dtype[Any]) -> NDArray[Any]:
    """`values` in `dtype`; PyTorch reaches float16 by way of float32, and so rounds twice."""
    return values.astype(np.promote_types(dtype, np.float32)).astype(dtype, copy=False)


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
    chances = p if isinstance(p, np.ndarray) else np.array(p, dtype=np.float64)
    _floating("probabilities", chances.dtype)
    if not ((chances >= 0) & (chances <= 1)).all():
        raise ArgumentError(f"bernoulli with p={p!r}", "a probability lies between 0 and 1")
    shape = _shape(shape)
    unit = _unit(math.prod(shape), chances.dtype, generator or default_generator).reshape(shape)
    return np.asarray(unit < chances).astype(dtype)


def unit(shape: Shape, dtype: DTypeLike, generator: Generator | None = None) -> NDArray[Any]:
    """What `bernoulli` compares with probabilities of this dtype."""
    sizes = _shape(shape)
    return _unit(math.prod(sizes), np.dtype(dtype), generator or default_generator).reshape(sizes)


def dropout_mask(
    shape: Shape, p: float = 0.5, dtype: DTypeLike = "float32", generator: Generator | None = None
) -> NDArray[Any]:
    """What dropout multiplies its input by: 0 with probability `p`, else 1 / (1 − p).

    Draws nothing where p is 0 or 1. Raises ArgumentError where p is not between 0 and 1.
    """
    dtype = _floating("dropout_mask", dtype)
    if not 0 <= p <= 1:
        raise ArgumentError(f"dropout with p={p}", "a probability lies between 0 and 1")
    if p in (0, 1):
        return np.full(_shape(shape), 1 - p, dtype=dtype)
    wide = np.promote_types(dtype, np.float32).type
    scale = dtype.type(wide(1) / wide(1 - p))
    return np.asarray(bernoulli(shape, 1 - p, dtype, generator) * scale)


def randint(
    low: int, high: int, shape: Shape, dtype: DTypeLike = "int64", generator: Generator | None = None
) -> NDArray[Any]:
    """Whole numbers in [low, high), from one word each, or a pair where the range is 2²⁸ or more.

    Raises ArgumentError where the range is empty or holds numbers that `dtype` does not.
    """
    low, high, dtype = whole_number("low", low), whole_number("high", high), np.dtype(dtype)
    smallest, largest = _whole_numbers(dtype)
    if not smallest <= low < high <= largest + 1:
        raise ArgumentError(
            f"whole numbers from {low} to below {high} in {dtype}",
            f"low must be less than high, and {dtype} holds whole numbers from {smallest} to {largest}",
        )
    shape, generator = _shape(shape), generator or default_generator
    draw = generator.uint64 if high - low >= 2**28 else generator.uint32
    offsets = draw(math.prod(shape)).astype(np.uint64) % np.uint64(high - low)
    values = (offsets + np.uint64(low % 2**64)).view(np.int64)  # modulo 2⁶⁴, as PyTorch adds
    return values.astype(dtype).reshape(shape)


def whole_numbers(
    shape: Shape, dtype: DTypeLike = "int64", generator: Generator | None = None
) -> NDArray[Any]:
    """Whole numbers from 0 to the greatest up to which `dtype` holds all: from a pair of words for dtypes of
    64 bits, else from one word."""
    dtype, generator = np.dtype(dtype), generator or default_generator
    beyond = _whole_numbers(dtype)[1] + 1
    draw = generator.uint64 if dtype.itemsize == 8 else generator.uint32
    return np.asarray(draw(math.prod(_shape(shape))) % beyond).astype(dtype).reshape(_shape(shape))


def randperm(n: int, dtype: DTypeLike = "int64", generator: Generator | None = None) -> NDArray[Any]:
    """The numbers 0 … n − 1 in random order. Raises ArgumentError where n is negative or past `dtype`."""
    n, dtype = whole_number("n", n), np.dtype(dtype)
    if not 0 <= n <= _whole_numbers(dtype)[1] + 1:
        raise ArgumentError(f"randperm({n}) in {dtype}", "n must not be negative, and dtype must hold n - 1")
    generator = generator or default_generator
    places = np.arange(n)
    if n < _LONG_PERMUTATION:
        choices = n - places[: max(n - 1, 0)]  # each place swaps with itself or a later one
        partners = places[: len(choices)] + generator.uint32(len(choices)) % choices
    else:
        choices = places + 1
        partners = (generator.uint64(n) % choices.astype(np.uint64)).astype(np.int64)
    return _swapped(places, partners, choices).astype(dtype, copy=False)


_LONG_PERMUTATION = (2**32 - 1) // 20
"""From here on, PyTorch draws pairs of words and swaps each place with an earlier one."""


def _swapped(
    order: NDArray[np.int64], partners: NDArray[np.int64], choices: NDArray[np.int64]
) -> NDArray[np.int64]:
    """`order` after swapping place i with place partners[i], one of choices[i] equally likely ones, in turn.

    Swaps that share no place may be done at once, and √choices of them seldom share any.
    """
    start = 0
    while start < len(partners):
        stop = min(start + max(32, int(0.7 * math.sqrt(choices[start]))), len(partners))
        block = partners[start:stop]
        ranked = np.sort(block)
        outside = ranked[0] >= stop or ranked[-1] < start
        if outside and (np.diff(ranked) > 0).all():
            order[start:stop], order[block] = order[block], order[start:stop].copy()
        else:
            for place, partner in enumerate(block.tolist(), start):
                order[place], order[partner] = order[partner], order[place]
        start = stop
    return order


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
    _floating("multinomial", weights.dtype)
    num_samples = whole_number("num_samples", num_samples)
    _check_weights(weights, num_samples, replacement)
    if replacement and num_samples > 1:
        return _invert_cumulative(weights, num_samples, generator)
    with np.errstate(divide="ignore", over="ignore"):
        keys = weights / exponential(weights.shape, 1.0, weights.dtype, generator)
    return np.argsort(-keys, axis=-1, kind="stable")[..., :num_samples].astype(np.int64)


def _invert_cumulative(weights: NDArray[Any], num_samples: int, generator: Generator) -> NDArray[np.int64]:
    rows = weights.reshape(-1, weights.shape[-1]).astype(np.promote_types(weights.dtype, np.float32))
    cumulative = np.cumsum(rows, axis=-1, dtype=rows.dtype)
    cumulative /= cumulative[:, -1:]
    cumulative[:, -1] = 1
    unit = _unit(len(rows) * num_samples, np.dtype(np.float64), generator).reshape(len(rows), num_samples)
    samples = [row.astype(np.float64).searchsorted(points) for row, points in zip(cumulative, unit)]
    return np.array(samples, dtype=np.int64).reshape(*weights.shape[:-1], num_samples)


# ----------------------------------------------------------------------------------------- checks, once each


def _shape(shape: Shape) -> tuple[int, ...]:
    sizes = tuple(whole_number("size", size) for size in (shape if isinstance(shape, Sequence) else (shape,)))
    if any(size < 0 for size in sizes):
        raise ShapeError(f"random numbers of shape {sizes}", "a size is negative")
    return sizes


def _floating(what: str, dtype: DTypeLike) -> np.dtype[Any]:
    dtype = np.dtype(dtype)
    if dtype.kind != "f" and dtype.name != "bfloat16":
        raise DtypeError(f"{what} in {dtype}", "these are floating-point numbers", "pass a floating dtype")
    return dtype


def _whole_numbers(dtype: np.dtype[Any]) -> tuple[int, int]:
    """The range in which `dtype` holds every whole number, within the 64 bits that are drawn."""
    if dtype.kind == "b":
        return 0, 1
    if dtype.kind == "f" or dtype.name == "bfloat16":
        reach = 2 ** (int(dtypes.limits(dtypes.dtype(dtype)).nmant) + 1)
        return -reach, reach
    if dtype.kind not in "iu":
        raise DtypeError(f"whole numbers in {dtype}", "the dtype does not hold any")
    info = np.iinfo(dtype)
    return int(info.min), min(int(info.max), 2**63 - 1)


def _check_weights(weights: NDArray[Any], num_samples: int, replacement: bool) -> None:
    if weights.ndim not in (1, 2):
        raise ShapeError(f"multinomial over weights of shape {weights.shape}", "weights have one or two axes")
    enough = num_samples <= weights.shape[-1] or replacement
    if num_samples < 1 or not enough:
        raise ArgumentError(
            f"multinomial with num_samples={num_samples} over {weights.shape[-1]} weights",
            mirrored(
                "cannot sample n_sample <= 0 samples"
                if num_samples < 1
                else "cannot sample n_sample > prob_dist.size(-1) samples without replacement"
            ),
        )
    if not (np.isfinite(weights).all() and (weights >= 0).all() and (weights.sum(axis=-1) > 0).all()):
        proper = np.isfinite(weights).all() and (weights >= 0).all()
        raise ArgumentError(
            mirrored(
                "invalid multinomial distribution (sum of probabilities <= 0)"
                if proper
                else "probability tensor contains either `inf`, `nan` or element < 0"
            )
        )
