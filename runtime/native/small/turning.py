"""Reductions of arrays whose axes lie otherwise in memory than they are counted: of a transposed one, say.

In flow an op and what computes it of any array, if slowly; out flows a function that takes the axes in the
order of memory, and so reads it from end to end. To add an op over axes, add it to `_OVER_AXES`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

from retrograd.compiler import dtypes
from retrograd.compiler.dtypes import DType
from retrograd.compiler.ir.arrays import in_order
from retrograd.compiler.ir.graph import Array, Op, Type
from retrograd.compiler.ops.extremum import Argmax, Argmin
from retrograd.compiler.ops.reduce import Reduction
from retrograd.compiler.ops.statistics import Mean, Norm, Std, Var
from retrograd.compiler.record import NamedTuple

Compute = Callable[..., Any]
ValueOf = Callable[[Op, tuple[Type, ...]], Compute | None]

_OVER_AXES = (Reduction, Mean, Norm, Std, Var)
_OVER_ONE = (Argmax, Argmin)


def turning(op: Op, value_of: ValueOf, slow: Compute) -> Compute:
    """The op of any array; `value_of` gives what computes an op of one that lies in order."""
    if not isinstance(op, (*_OVER_AXES, *_OVER_ONE)):
        return slow

    @lru_cache(maxsize=64)
    def turned(shape: tuple[int, ...], steps: tuple[int, ...], dtype: DType) -> _Turned:
        places = sorted(range(len(shape)), key=lambda axis: -steps[axis])
        return _turned(op, value_of, Type(tuple(shape[axis] for axis in places), dtype), places)

    def compute(x: Array) -> Any:
        run, places, back = turned(x.shape, x.strides, dtypes.of(x))
        seen = x.transpose(places)
        if run is None or x.flags.c_contiguous or not seen.flags.c_contiguous:
            return slow(x)
        found = run(seen)
        return found if back is None else in_order(found.transpose(back))

    return compute


class _Turned(NamedTuple):
    run: Compute | None
    """What computes the op of the array whose axes are those at these places."""
    places: Sequence[int]
    back: Sequence[int] | None
    """Where the result's axes are to be, if they are not."""


def _turned(op: Any, value_of: ValueOf, seen: Type, places: Sequence[int]) -> _Turned:
    alone = isinstance(op, _OVER_ONE)
    axes = [op.axis] if alone else op.axes
    turned = sorted(places.index(axis) for axis in axes)
    of_seen = replace(op, axis=turned[0]) if alone else replace(op, axes=tuple(turned))
    kept = [axis for axis in places if axis not in axes]
    back = None if kept == sorted(kept) else [kept.index(axis) for axis in sorted(kept)]
    return _Turned(value_of(of_seen, (seen,)), places, back)
