"""Random tensors: PyTorch's functions over the samplers of `runtime/random`, which give its very numbers.

Sizes and a `generator` in (the default one, seeded by `manual_seed`, unless given), a Tensor out. Inside a
trace nothing is drawn: the numbers become an input of the graph, drawn before each call of the compiled
function, in the order in which eager mode draws them (`drawn`). On a GPU the numbers are those of the CPU,
copied there. To add a distribution, hand its law (`runtime/random/laws.py`) to `_made`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.dtypes import DType
from retrograd.compiler.errors import ArgumentError, DtypeError, ShapeError, TraceError, mirrored
from retrograd.compiler.ir.graph import Array
from retrograd.compiler.ops import shape as moves
from retrograd.compiler.ops.elementwise import broadcast_shapes
from retrograd.runtime.device import CPU, device
from retrograd.runtime.eager.formats import preserve_format
from retrograd.runtime.eager.inplace import assign
from retrograd.runtime.eager.instant import draws
from retrograd.runtime.eager.underived import ended
from retrograd.runtime.functions.creation import beside, finished
from retrograd.runtime.functions.public import integer, known, public, sizes_of
from retrograd.runtime.functions.rows import APPLY
from retrograd.runtime.modes import STATE, no_grad
from retrograd.runtime.names import C_NAMES
from retrograd.runtime.noted import Draw
from retrograd.runtime.random import laws, samplers
from retrograd.runtime.random.generator import Generator
from retrograd.runtime.random.laws import Law
from retrograd.runtime.tensor import Tensor, new


def check_not_tracing(name: str) -> None:
    """TraceError inside a trace, for numbers whose drawing depends on elements."""
    if STATE.trace is not None:
        raise TraceError(
            f"{name}() inside a compiled function",
            "what it draws depends on the elements of a tensor, which are known only when the function runs",
            "draw outside and pass the numbers in as an argument",
        )


def drawn(
    shape: Sequence[int], law: Law, generator: Generator | None = None, like: Tensor | None = None
) -> Tensor:
    """Numbers of this shape and law, drawn now, where `like` is; or, inside a trace, before each call of what
    is traced.
    """
    trace, source = STATE.trace, generator or samplers.default_generator
    if trace is None:
        return new(law.draw(shape, source), like)
    if trace.at_once:
        return trace.draw(partial(drawn, law=law, generator=source), shape, like)
    where = trace.device
    if where != CPU and like is None:
        raise TraceError(
            "random numbers for the CPU inside a compiled function on a GPU",
            "its tensors would be on different devices",
            "draw them outside and pass them in as an argument",
        )
    outside = Tensor(_placed(np.zeros(tuple(shape), law.dtype), where))
    trace.draws.append(Draw(outside, law, source, partial(_placed, where=where)))
    return Tensor(trace.capture(outside))


def drawn_beside(
    input: Tensor, shape: Sequence[int], law: Law, generator: Generator | None = None,
    scattered: Law | None = None,
) -> Tensor:  # fmt: skip
    """Numbers for each element, drawn in the order in which the input lies in memory, as in PyTorch; by
    another law, if there is one, where that is not the order of its axes.
    """
    if tuple(shape) != tuple(input.shape) or input.is_contiguous() or 0 in input.stride():
        return drawn(shape, law, generator, input)
    return _drawn_by_steps(input, scattered or law, generator)


def _drawn_by_steps(input: Tensor, law: Law, generator: Generator | None) -> Tensor:
    order = _by_steps(input)
    noise = drawn([input.shape[k] for k in order], law, generator, input)
    return moves.permute(noise, [order.index(k) for k in range(len(order))])


def _by_steps(input: Tensor) -> list[int]:
    """The axes in the order in which they lie in memory, the outermost first."""
    steps = input.stride()
    return sorted(range(len(steps)), key=lambda k: -steps[k])


def _drawn_like(
    input: Tensor, law: Law, generator: Generator | None, scattered: Law, options: dict[str, Any]
) -> Tensor:
    """Numbers of a new tensor that lies as the input does, but without gaps; by another law where the order
    of its axes is not that of memory."""
    order = [k for k in _by_steps(input) if input.shape[k] != 1]
    kept = options.get("memory_format") in (None, preserve_format) and 0 not in input.stride()
    if not kept or order == sorted(order):
        return drawn(input.shape, law, generator, input)
    return _drawn_by_steps(input, scattered, generator)


def _placed(array: Array, where: device) -> Any:
    """The array, or a copy of it on a GPU."""
    if where == CPU:
        return array
    return import_module("retrograd.runtime.cuda.operators").on(where, array)  # late: few programs need it


def _made(shape: Sequence[int], law: Law, generator: Generator | None, **options: Any) -> Tensor:
    return finished(drawn(shape, law, generator), **options)


def _shape(size: tuple[Any, ...], name: str) -> tuple[int, ...]:
    shape = sizes_of(size, name)
    if any(s < 0 for s in shape):
        raise ShapeError(
            f"{name} of shape {list(shape)}",
            mirrored(f"Trying to create tensor with negative dimension {min(shape)}: {list(shape)}"),
        )
    return shape


def _floating(dtype: object) -> DType:
    return dtypes.default_dtype() if dtype is None else dtypes.dtype(dtype)


_Family = Callable[[float, float, np.dtype[Any]], Law]


def _standard(name: str, law: _Family, singly: _Family, what: str) -> None:
    @public(name, replay="draws")
    def sample(
        *size: Any, generator: Generator | None = None, dtype: object = None, **options: Any
    ) -> Tensor:
        shape, kind = _shape(size, name), _floating(dtype)
        return _made(shape, law(0.0, 1.0, kind.numpy), generator, **options)

    @public(f"{name}_like", replay="draws")
    def sample_like(
        input: Tensor, *, generator: Generator | None = None, dtype: object = None, **options: Any
    ) -> Tensor:
        kind = input.dtype if dtype is None else dtypes.dtype(dtype)
        of_each, scattered = (made(0.0, 1.0, kind.numpy) for made in (law, singly))
        numbers = _drawn_like(input, of_each, generator, scattered, options)
        return beside(input, numbers, **options)

    sample.__doc__ = sample_like.__doc__ = what


_standard("rand", laws.uniform, laws.uniform, "Uniform numbers in [0, 1).")
_standard(
    "randn", laws.normal, partial(laws.normal, singly=True),
    "Normal numbers of mean 0 and standard deviation 1.",
)  # fmt: skip


@public("randint", replay="draws")
def randint(
    low: Any = 0, high: Any = None, size: Any = None, *, generator: Generator | None = None,
    dtype: object = None, **options: Any,
) -> Tensor:  # fmt: skip
    """Whole numbers from `low` (0 unless given) to below `high`: `randint(high, size)` or `randint(low,
    high, size)`.
    """
    if size is None:
        low, high, size = 0, low, high
    if size is None:
        raise ArgumentError(
            "randint()", "size is missing", "write randint(high, size) or randint(low, high, size)"
        )
    law = _integers(low, high, dtypes.int64 if dtype is None else dtypes.dtype(dtype))
    return _made(_shape((size,), "randint"), law, generator, **options)


def _integers(low: object, high: object, dtype: DType) -> Law:
    first, last = integer(low, "randint", "low"), integer(high, "randint", "high")
    if first >= last:
        raise ShapeError(
            f"randint({first}, {last})",
            mirrored(f"random_ expects 'from' to be less than 'to', but got from={first} >= to={last}"),
        )
    return laws.integers(first, last, dtype.numpy)


@public("randint_like", replay="draws")
def randint_like(
    input: Tensor, low: int, high: int | None = None, *, dtype: object = None, **options: Any
) -> Tensor:
    """`randint` in the shape and dtype of a tensor."""
    first, last = (0, low) if high is None else (low, high)
    law = _integers(first, last, (input.dtype if dtype is None else dtypes.dtype(dtype)))
    return beside(input, _drawn_like(input, law, None, law, options), **options)


@public("randperm", replay="draws")
def randperm(n: int, *, generator: Generator | None = None, dtype: object = None, **options: Any) -> Tensor:
    """0 … n - 1 in random order."""
    kind = dtypes.int64 if dtype is None else dtypes.dtype(dtype)
    if integer(n, "randperm", "n") < 0:
        raise ShapeError(
            f"randperm({n})", mirrored(f"Trying to create tensor with negative dimension {n}: [{n}]")
        )
    return _made((n,), laws.order(operator.index(n), kind.numpy), generator, **options)


@public("normal", replay="draws")
def normal(
    mean: Any, std: Any = 1.0, size: Any = None, *, generator: Generator | None = None, dtype: object = None,
    **options: Any,
) -> Tensor:  # fmt: skip
    """Normal numbers of these means and standard deviations: tensors that broadcast, or numbers and a
    size.
    """
    tensors = [x for x in (mean, std) if isinstance(x, Tensor)]
    if not tensors:
        if size is None:
            raise ArgumentError("normal() of two numbers", "size is missing", "pass size=(…)")
        sizes, number = _shape((size,), "normal"), _floating(dtype)
        _check_std(std)
        return _made(sizes, laws.normal(float(mean), float(std), number.numpy), generator, **options)
    spread = known(std) if isinstance(std, Tensor) else np.asarray(std)
    _check_std(spread.min() if spread is not None and spread.size else 0)
    if spread is None and STATE.trace is not None:
        STATE.trace.unchecked = True
    shape = broadcast_shapes("normal", *(tuple(x.shape) for x in tensors))
    kind = tensors[0].dtype
    noise = drawn(shape, laws.normal(0.0, 1.0, kind.numpy), generator, tensors[0])
    with no_grad():
        numbers = moves.cast(noise * std + mean, kind)
    shown = f"NormalBackward{3 if len(tensors) == 2 else 2 if tensors[0] is std else 1}"
    return ended(beside(tensors[0], numbers, **options), tensors, shown)


def _check_std(std: float) -> None:
    if std < 0:
        raise ShapeError(f"normal(std={std})", mirrored(f"normal expects std >= 0.0, but found std {std:g}"))


@public("bernoulli", method=True, replay="chances")
def bernoulli(input: Tensor, p: float | None = None, *, generator: Generator | None = None) -> Tensor:
    """Ones with the probabilities in `input`, or with `p`, else zeros."""
    shape, kind = tuple(input.shape), input.dtype
    if p is None:
        return ended(_below(input, shape, kind, generator, input), (input,), "BernoulliBackward0")
    return drawn(shape, laws.bernoulli(float(p), kind.numpy), generator, input)


def _below(
    chance: Tensor, shape: tuple[int, ...], kind: DType, generator: Generator | None, like: Tensor
) -> Tensor:
    """Ones with the probabilities in a tensor. They decide nothing of what is drawn, so inside a trace it is
    drawn before each call and compared there.
    """
    array = known(chance)
    if STATE.trace is not None:
        STATE.trace.unchecked = True  # that they are between 0 and 1
    if array is not None:
        return new(samplers.bernoulli(shape, array, kind.numpy, generator), like)
    wide = dtypes.float64 if chance.dtype is dtypes.float64 else dtypes.float32
    unit = drawn(shape, laws.unit(wide.numpy), generator, like)
    return moves.cast(APPLY["lt"](unit, moves.cast(chance.detach(), wide)), kind)


@public("multinomial", method=True, replay="weights")
def multinomial(
    input: Tensor, num_samples: int, replacement: bool = False, *, generator: Generator | None = None
) -> Tensor:
    """Indices drawn in proportion to the weights in a vector, or in each row of a matrix."""
    weights = known(input)
    if weights is not None:
        return new(samplers.multinomial(weights, num_samples, replacement, generator), input)
    if STATE.trace is None:
        found = samplers.multinomial(input.read("multinomial()"), num_samples, replacement, generator)
        return new(found, input)
    return _traced_multinomial(
        input.detach(), integer(num_samples, "multinomial", "num_samples"), replacement, generator
    )


def _traced_multinomial(
    weights: Tensor, num_samples: int, replacement: bool, generator: Generator | None
) -> Tensor:
    """What the sampler does, by ops: the weights decide nothing of what is drawn."""
    laws.check_floating("multinomial", weights.dtype.numpy)
    shape = tuple(weights.shape)
    samplers.check_samples(shape, num_samples, replacement)
    assert STATE.trace is not None
    STATE.trace.unchecked = True  # that the weights are a distribution
    if num_samples == 1 or not replacement:
        noise = drawn(shape, laws.exponential(1.0, weights.dtype.numpy), generator, weights)
        order: Tensor = (weights / noise).argsort(-1, descending=True)
        return order[..., :num_samples]
    rising = weights.cumsum(-1)
    cumulative = rising[..., :-1] / rising[..., -1:]
    points = drawn((*shape[:-1], num_samples), laws.unit(np.dtype(np.float64)), generator, weights)
    rank = len(shape)
    below = APPLY["lt"](moves.unsqueeze(cumulative, [rank - 1]), moves.unsqueeze(points, [rank]))
    return moves.cast(below.sum(-1), dtypes.int64)


# ---- in place ----------------------------------------------------------------------------------------------


def _fill(
    input: Tensor, name: str, law: Law, generator: Generator | None, scattered: Law | None = None
) -> Tensor:
    numbers = drawn_beside(input, input.shape, law, generator, scattered)
    shown = "".join(part.capitalize() for part in name.split("_"))
    return assign(input, numbers, f"{shown}Backward{2 if name == 'bernoulli' else 0}")


@public("normal_", method=True, function=False, replay="draws")
def normal_(
    input: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Generator | None = None
) -> Tensor:
    """Normal numbers into the tensor."""
    _check_std(std)
    law, singly = (laws.normal(float(mean), float(std), input.dtype.numpy, way) for way in (False, True))
    return _fill(input, "normal", law, generator, singly)


@public("uniform_", method=True, function=False, replay="draws")
def uniform_(
    input: Tensor, a: float = 0.0, b: float = 1.0, *, generator: Generator | None = None, **bounds: float
) -> Tensor:
    """Uniform numbers in [a, b) into the tensor; the bounds may be given as `from` and `to`."""
    low, high = bounds.pop("from", a), bounds.pop("to", b)
    if bounds:
        raise ArgumentError(f"uniform_() got an unexpected keyword argument '{next(iter(bounds))}'")
    if low > high:
        raise ShapeError(
            f"uniform_({low}, {high})",
            mirrored(f"uniform_ expects to return a [from, to) range, but found from={low} > to={high}"),
        )
    return _fill(input, "uniform", laws.uniform(low, high, input.dtype.numpy), generator)


@public("exponential_", method=True, function=False, replay="draws")
def exponential_(input: Tensor, lambd: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Exponential numbers of mean 1/lambd into the tensor."""
    return _fill(input, "exponential", laws.exponential(lambd, input.dtype.numpy), generator)


@public("cauchy_", method=True, function=False, replay="draws")
def cauchy_(
    input: Tensor, median: float = 0.0, sigma: float = 1.0, *, generator: Generator | None = None
) -> Tensor:
    """Cauchy numbers into the tensor."""
    if not input.is_floating_point():
        raise DtypeError(
            mirrored(
                "Cauchy distribution is a continuous probability distribution. dtype must be a floating "
                f"point but you specified {C_NAMES[input.dtype]}"
            )
        )
    return _fill(input, "cauchy", laws.cauchy(float(median), float(sigma), input.dtype.numpy), generator)


@public("log_normal_", method=True, function=False, replay="draws")
def log_normal_(
    input: Tensor, mean: float = 1.0, std: float = 2.0, *, generator: Generator | None = None
) -> Tensor:
    """Exponentials of normal numbers into the tensor."""
    law = laws.log_normal(float(mean), float(std), input.dtype.numpy)
    laws.check_floating("log_normal", input.dtype.numpy)
    return _fill(input, "log_normal", law, generator)


@public("geometric_", method=True, function=False, replay="draws")
def geometric_(input: Tensor, p: float, *, generator: Generator | None = None) -> Tensor:
    """How many trials it takes to succeed, with probability `p` each, into the tensor."""
    return _fill(input, "geometric", laws.geometric(float(p), input.dtype.numpy), generator)


@public("bernoulli_", method=True, function=False, replay="draws")
def bernoulli_(input: Tensor, p: Any = 0.5, *, generator: Generator | None = None) -> Tensor:
    """Ones with probability `p` (a number or a tensor), else zeros, into the tensor."""
    shape, kind = tuple(input.shape), input.dtype
    if isinstance(p, Tensor):
        return assign(input, _below(p, shape, kind, generator, input), "BernoulliBackward1")
    if not 0 <= p <= 1:
        raise ArgumentError(mirrored(f"bernoulli_ expects p to be in [0, 1], but got p={p:g}"))
    return _fill(input, "bernoulli", laws.bernoulli(float(p), kind.numpy), generator)


@public("random_", method=True, function=False, replay="draws")
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
    low, high = bounds.pop("from", low), bounds.pop("to", high)
    if bounds:
        raise ArgumentError(f"random_() got an unexpected keyword argument '{next(iter(bounds))}'")
    first, last = (0, low) if high is None else (low or 0, high)
    if last is None:
        return _fill(input, "random", laws.all_integers(input.dtype.numpy), generator)
    if first >= last:
        raise ShapeError(
            f"random_({first}, {last})",
            mirrored(f"random_ expects 'from' to be less than 'to', but got from={first} >= to={last}"),
        )
    return _fill(input, "random", laws.integers(first, last, input.dtype.numpy), generator)


public("manual_seed")(samplers.manual_seed)
public("initial_seed")(samplers.initial_seed)
public("seed")(samplers.default_generator.seed)


@public("get_rng_state", around=partial(draws.state, samplers.default_generator))
def get_rng_state() -> Tensor:
    """The state of the default generator as bytes, in PyTorch's layout."""
    return Tensor(samplers.default_generator.get_state())


@public("set_rng_state", around=partial(draws.restoring, samplers.default_generator))
def set_rng_state(new_state: Tensor) -> None:
    """Go on where `get_rng_state` was called, here or in PyTorch."""
    samplers.default_generator.set_state(new_state.read("set_rng_state()"))
