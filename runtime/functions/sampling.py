"""Random tensors: PyTorch's functions over the samplers of `runtime/random.py`, which give its very numbers.

Sizes and a `generator` in (the default one, seeded by `manual_seed`, unless given), a Tensor out. A compiled
function has no random numbers of its own: inside a trace each of these is a TraceError that says what to do.
On a GPU the numbers are those of the CPU, copied there. To add a distribution, sample an array and hand it to
`_made`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.dtypes import DType
from retrograd.compiler.errors import ArgumentError, ShapeError, TraceError, mirrored
from retrograd.compiler.ir.graph import Array
from retrograd.compiler.ops.elementwise import broadcast_shapes
from retrograd.runtime import random
from retrograd.runtime.functions.creation import beside, finished
from retrograd.runtime.functions.public import integer, public, sizes_of
from retrograd.runtime.generator import Generator
from retrograd.runtime.inplace import assign
from retrograd.runtime.modes import STATE
from retrograd.runtime.tensor import Tensor, new


def check_not_tracing(name: str) -> None:
    """TraceError inside a trace: the numbers drawn now would be drawn once and for all."""
    if STATE.trace is not None:
        raise TraceError(
            f"{name}() inside a compiled function",
            "a compiled function has no random numbers of its own: these would be the same at every call",
            "draw the noise outside and pass it in as an argument",
        )


def _made(array: Array, **options: Any) -> Tensor:
    return finished(Tensor(array), **options)


def _shape(size: tuple[Any, ...], name: str) -> tuple[int, ...]:
    shape = sizes_of(size, name)
    if any(s < 0 for s in shape):
        raise ShapeError(
            f"{name} of shape {list(shape)}",
            f"Trying to create tensor with negative dimension {min(shape)}: {list(shape)}",
        )
    return shape


def _floating(dtype: object) -> DType:
    return dtypes.default_dtype() if dtype is None else dtypes.dtype(dtype)


def _standard(name: str, sampler: Callable[..., Array], what: str) -> None:
    @public(name)
    def sample(
        *size: Any, generator: Generator | None = None, dtype: object = None, **options: Any
    ) -> Tensor:
        check_not_tracing(name)
        return _made(sampler(_shape(size, name), _floating(dtype).numpy, generator), **options)

    @public(f"{name}_like")
    def sample_like(
        input: Tensor, *, generator: Generator | None = None, dtype: object = None, **options: Any
    ) -> Tensor:
        check_not_tracing(f"{name}_like")
        kind = input.dtype if dtype is None else dtypes.dtype(dtype)
        return beside(input, Tensor(sampler(tuple(input.shape), kind.numpy, generator)), **options)

    sample.__doc__ = sample_like.__doc__ = what


_standard("rand", random.rand, "Uniform numbers in [0, 1).")
_standard("randn", random.randn, "Normal numbers of mean 0 and standard deviation 1.")


@public("randint")
def randint(
    low: int, high: Any = None, size: Any = None, *, generator: Generator | None = None, dtype: object = None,
    **options: Any,
) -> Tensor:  # fmt: skip
    """Whole numbers from `low` (0 unless given) to below `high`: `randint(high, size)` or `randint(low,
    high, size)`.
    """
    check_not_tracing("randint")
    if size is None:
        low, high, size = 0, low, high
    if size is None:
        raise ArgumentError(
            "randint()", "size is missing", "write randint(high, size) or randint(low, high, size)"
        )
    first, last = integer(low, "randint", "low"), integer(high, "randint", "high")
    if first >= last:
        raise ShapeError(
            f"randint({first}, {last})",
            mirrored(f"random_ expects 'from' to be less than 'to', but got from={first} >= to={last}"),
        )
    kind = dtypes.int64 if dtype is None else dtypes.dtype(dtype)
    return _made(random.randint(first, last, _shape((size,), "randint"), kind.numpy, generator), **options)


@public("randint_like")
def randint_like(
    input: Tensor, low: int, high: int | None = None, *, dtype: object = None, **options: Any
) -> Tensor:
    """`randint` in the shape and dtype of a tensor."""
    first, last = (0, low) if high is None else (low, high)
    kind = input.dtype if dtype is None else dtype
    options = {"device": input.device} | options
    return randint(first, last, tuple(input.shape), dtype=kind, **options)


@public("randperm")
def randperm(n: int, *, generator: Generator | None = None, dtype: object = None, **options: Any) -> Tensor:
    """0 … n - 1 in random order."""
    check_not_tracing("randperm")
    kind = dtypes.int64 if dtype is None else dtypes.dtype(dtype)
    if integer(n, "randperm", "n") < 0:
        raise ShapeError(f"randperm({n})", f"n must be non-negative, got {n}")
    return _made(random.randperm(n, kind.numpy, generator), **options)


@public("normal")
def normal(
    mean: Any, std: Any = 1.0, size: Any = None, *, generator: Generator | None = None, dtype: object = None,
    **options: Any,
) -> Tensor:  # fmt: skip
    """Normal numbers of these means and standard deviations: tensors that broadcast, or numbers and a
    size.
    """
    check_not_tracing("normal")
    tensors = [x for x in (mean, std) if isinstance(x, Tensor)]
    if not tensors:
        if size is None:
            raise ArgumentError("normal() of two numbers", "size is missing", "pass size=(…)")
        sizes = _shape((size,), "normal")
        _check_std(std)
        return _made(random.normal(sizes, mean, std, _floating(dtype).numpy, generator), **options)
    arrays = [x.read("normal()") if isinstance(x, Tensor) else np.asarray(x) for x in (mean, std)]
    _check_std(arrays[1].min() if arrays[1].size else 0)
    shape = broadcast_shapes("normal", *(a.shape for a in arrays))
    kind = tensors[0].dtype
    noise = random.randn(shape, kind.numpy, generator)
    return beside(tensors[0], Tensor((noise * arrays[1] + arrays[0]).astype(kind.numpy)), **options)


def _check_std(std: float) -> None:
    if std < 0:
        raise ShapeError(f"normal(std={std})", mirrored(f"normal expects std >= 0.0, but found std {std:g}"))


@public("bernoulli", method=True)
def bernoulli(input: Tensor, p: float | None = None, *, generator: Generator | None = None) -> Tensor:
    """Ones with the probabilities in `input`, or with `p`, else zeros."""
    check_not_tracing("bernoulli")
    array = input.read("bernoulli()")
    chance = array if p is None else p
    return new(random.bernoulli(array.shape, chance, array.dtype, generator), input)


@public("multinomial", method=True)
def multinomial(
    input: Tensor, num_samples: int, replacement: bool = False, *, generator: Generator | None = None
) -> Tensor:
    """Indices drawn in proportion to the weights in a vector, or in each row of a matrix."""
    check_not_tracing("multinomial")
    weights = input.read("multinomial()")
    return new(random.multinomial(weights, num_samples, replacement, generator), input)


# ---- in place ----------------------------------------------------------------------------------------------


def _fill(input: Tensor, name: str, array: Array) -> Tensor:
    return assign(input, Tensor(array), f"{name.capitalize()}Backward0")


@public("normal_", method=True, function=False)
def normal_(
    input: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Generator | None = None
) -> Tensor:
    """Normal numbers into the tensor."""
    check_not_tracing("normal_")
    _check_std(std)
    return _fill(input, "normal", random.normal(tuple(input.shape), mean, std, input.dtype.numpy, generator))


@public("uniform_", method=True, function=False)
def uniform_(
    input: Tensor, a: float = 0.0, b: float = 1.0, *, generator: Generator | None = None, **bounds: float
) -> Tensor:
    """Uniform numbers in [a, b) into the tensor; the bounds may be given as `from` and `to`."""
    check_not_tracing("uniform_")
    low, high = bounds.pop("from", a), bounds.pop("to", b)
    if bounds:
        raise ArgumentError(f"uniform_() got an unexpected keyword argument '{next(iter(bounds))}'")
    if low > high:
        raise ShapeError(
            f"uniform_({low}, {high})",
            mirrored(f"uniform_ expects to return a [from, to) range, but found from={low} > to={high}"),
        )
    return _fill(
        input, "uniform", random.uniform(tuple(input.shape), low, high, input.dtype.numpy, generator)
    )


@public("exponential_", method=True, function=False)
def exponential_(input: Tensor, lambd: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Exponential numbers of mean 1/lambd into the tensor."""
    check_not_tracing("exponential_")
    return _fill(
        input, "exponential", random.exponential(tuple(input.shape), lambd, input.dtype.numpy, generator)
    )


@public("bernoulli_", method=True, function=False)
def bernoulli_(input: Tensor, p: Any = 0.5, *, generator: Generator | None = None) -> Tensor:
    """Ones with probability `p` (a number or a tensor), else zeros, into the tensor."""
    check_not_tracing("bernoulli_")
    chance = p.read("bernoulli_()") if isinstance(p, Tensor) else p
    return _fill(
        input, "bernoulli", random.bernoulli(tuple(input.shape), chance, input.dtype.numpy, generator)
    )


@public("random_", method=True, function=False)
def random_(
    input: Tensor,
    low: int | None = None,
    high: int | None = None,
    *,
    generator: Generator | None = None,
    **bounds: int,
) -> Tensor:
    """Whole numbers in [low, high) into the tensor: `random_(high)`, `random_(low, high)`, or all that
    its dtype holds.
    """
    check_not_tracing("random_")
    low, high = bounds.pop("from", low), bounds.pop("to", high)
    if bounds:
        raise ArgumentError(f"random_() got an unexpected keyword argument '{next(iter(bounds))}'")
    first, last = (0, low) if high is None else (low or 0, high)
    kind = input.dtype
    if last is None:
        last = _beyond(kind)
    if first >= last:
        raise ShapeError(
            f"random_({first}, {last})",
            f"random_ expects 'from' to be less than 'to', but got from={first} >= to={last}",
        )
    return _fill(input, "random", random.randint(first, last, tuple(input.shape), kind.numpy, generator))


def _beyond(kind: DType) -> int:
    """One more than the greatest whole number up to which a dtype holds all."""
    if kind.is_floating_point:
        return 2 ** (int(np.finfo(kind.numpy.name).nmant) + 1) + 1
    return 2 if kind is dtypes.bool_ else int(np.iinfo(kind.numpy.name).max)


public("manual_seed")(random.manual_seed)
public("initial_seed")(random.initial_seed)
