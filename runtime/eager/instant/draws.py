"""Random numbers in calls that run no Python: by a law that native code follows, of a known shape.

    fresh(…)       a function of anything that gives a new Tensor of numbers
    into(…)        a function of a Tensor that is filled with numbers
    judged(…)      a function of Tensors of parameters, such as probabilities, that are looked at, too
    state(…)       a function of nothing that gives the generator's state
    restoring(…)   a function of a Tensor of such a state, from which the generator goes on

Each is made around a Python function that does the same, as in `calls.py`; where there are no native calls,
that is all there is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from retrograd.runtime.eager.instant.part import available, native_function
from retrograd.runtime.eager.instant.records import MOST, Drawn, words_of
from retrograd.runtime.random import laws
from retrograd.runtime.random.generator import Generator
from retrograd.runtime.random.laws import Law
from retrograd.runtime.random.native import address
from retrograd.runtime.random.twister import SAVED_BYTES

Function = Callable[..., Any]


def fresh(
    law: Law, shape: Sequence[int], generator: Generator, slow: Function, tracked: bool = False,
    axes: Sequence[int] | None = None,
) -> Function:  # fmt: skip
    """Numbers of this law and shape, recorded if `tracked`; they lie as `axes` of memory in order say, if
    that is given."""
    return _drawing("retrograd_draw", law, shape, generator, slow, tracked=tracked, axes=axes)


def into(law: Law, shape: Sequence[int], generator: Generator, slow: Function) -> Function:
    """The same, into a Tensor of this shape and the law's dtype."""
    return _drawing("retrograd_draw_into", law, shape, generator, slow)


def judged(law: Law, shape: Sequence[int], arity: int, generator: Generator, slow: Function) -> Function:
    """Numbers of this law and shape, with parameters in so many Tensors."""
    return _drawing("retrograd_judged", law, shape, generator, slow, arity=arity)


def state(generator: Generator, slow: Function) -> Function:
    """A function of nothing that gives the generator's state."""
    return _drawing("retrograd_state", laws.saved(), (SAVED_BYTES,), generator, slow)


def restoring(generator: Generator, slow: Function) -> Function:
    """A function of a Tensor that has the generator go on from the state in it."""
    function = address("restored") if available() else 0
    return _drawing("retrograd_restore", laws.saved(), (SAVED_BYTES,), generator, slow, function)


def _drawing(
    entry: str, law: Law, shape: Sequence[int], generator: Generator, slow: Function, function: int = 0,
    tracked: bool = False, arity: int = 1, axes: Sequence[int] | None = None,
) -> Function:  # fmt: skip
    """By the law's own native function, unless another is given."""
    if not available() or len(shape) > MOST or not law.is_direct:
        return slow
    steps = [] if axes is None else _steps(shape, axes, law.written.itemsize)
    words = words_of(
        Drawn, slow=id(slow), arity=arity, tracked=tracked, law=function or law.address,
        state=generator.address, parameters=law.parameters, count=prod(shape), dtype=id(law.written),
        rank=len(shape), extents=shape, laid=axes is not None, steps=steps,
    )  # fmt: skip
    return native_function(entry, slow, words, (slow, law, generator))


def _steps(shape: Sequence[int], axes: Sequence[int], size: int) -> list[int]:
    """In bytes, of an array whose axis k is axis `axes[k]` of one in order."""
    whole = [shape[axes.index(k)] for k in range(len(shape))]
    return [prod(whole[axis + 1 :]) * size for axis in axes]
