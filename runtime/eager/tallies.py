"""Tallies: what is found in elements, which tell how much it is, so that it is no op of a graph.

In flow arrays, out flows a list of them. `tallied(tally, …)` does it for Tensors, and is a TraceError in a
trace; where a plan is being made, the planner catches it, and from then on the tally's native form
(`native/small/tallies.py`) is called at once. A new tally is a class here and a kernel in `counting.py`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.errors import RetrogradError, ShapeError, TraceError, mirrored
from retrograd.compiler.ir.graph import Array, Type
from retrograd.compiler.ir.quiet import quietly
from retrograd.compiler.record import record
from retrograd.runtime.eager.instant import calls
from retrograd.runtime.eager.retaking import again
from retrograd.runtime.eager.steps import Plan, stand_ins
from retrograd.runtime.modes import STATE, no_grad
from retrograd.runtime.native.small.counting import MOST_FOUND
from retrograd.runtime.native.small.tallies import Listing, Result, function_of
from retrograd.runtime.tensor import Tensor, new
from retrograd.runtime.tracing import Trace


class Tally(ABC):
    """What is found in arrays."""

    @abstractmethod
    def evaluate(self, *arrays: Array) -> list[Array]:
        """The results, in NumPy."""

    @abstractmethod
    def listing(self, *types: Type) -> Listing | None:
        """The same as a kernel, for arguments of these types; None where there is none."""

    def given(self, results: list[Any]) -> Any:
        """What the user gets: a tuple, or the only result."""
        return tuple(results) if len(results) > 1 else results[0]


class _Asked(TraceError):
    """A tally in a trace."""

    def __init__(self, tally: Tally, operands: Sequence[Tensor]) -> None:
        super().__init__("a tally of traced tensors", "elements are known only when the function runs")
        self.tally, self.operands = tally, operands


def tallied(tally: Tally, asked: str, *operands: Tensor) -> list[Tensor]:
    """The results as Tensors; a TraceError in a trace, where elements are not known."""
    if STATE.trace is not None and STATE.trace.planned:
        raise _Asked(tally, operands)
    found = quietly(tally.evaluate, *[x.read(asked) for x in operands])
    return [new(each, operands[0]) for each in found]


def tallies(f: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any], shown: str) -> Plan | None:
    """A plan for what is a tally of its operands, where nothing is recorded; else the function itself."""
    with Trace(planned=True) as trace, no_grad():
        _, own, named = stand_ins(trace, args, kwargs)
        try:
            f(*own, **named)
            return None
        except _Asked as asked:
            tally, nodes = asked.tally, [x._value for x in asked.operands]
        except RetrogradError:
            return None
    inputs = trace.builder.inputs
    listing = tally.listing(*[x.type for x in inputs]) if nodes == [*inputs] else None
    if listing is None:
        return None
    retaken = again(f, args, kwargs)

    def slow(*arrays: Array) -> Any:
        found = tally.evaluate(*arrays)
        return found[0] if listing.alone else found

    native = function_of(listing, [x.dtype for x in inputs], slow)
    if native is None:
        return None
    if listing.alone:
        return calls.unrecorded(native, len(inputs), retaken)
    return calls.several(native, len(inputs), tally.given, retaken)


# ---- distinct elements -------------------------------------------------------------------------------------


@record
class Distinct(Tally):
    """The elements that differ from the one before, of all if `sorts` in order; for each element which of
    those it is, and how often each comes."""

    sorts: bool
    with_inverse: bool
    with_counts: bool

    def evaluate(self, *arrays: Array) -> list[Array]:
        line, order = arrays[0].reshape(-1), None
        if self.sorts and (self.with_inverse or self.with_counts):
            order = line.argsort(kind="stable")
            line = line[order]
        elif self.sorts:
            line = np.sort(line)
        starts = starts_of(line)
        return [line[starts], *self.numbered(starts, order, arrays[0].shape)]

    def numbered(self, starts: Array, order: Array | None, shape: Sequence[int]) -> list[Array]:
        """Of lines of equal elements that begin at these places, once the elements are in this order: in
        which line each element is, and how many are in each."""
        found = []
        if self.with_inverse:
            numbers = starts.cumsum() - 1
            inverse = numbers
            if order is not None:
                inverse = np.empty(len(starts), np.int64)
                inverse[order] = numbers
            found.append(inverse.reshape(shape))
        if self.with_counts:
            (places,) = starts.nonzero()
            counts = np.empty(len(places), np.int64)
            np.subtract(places[1:], places[:-1], counts[:-1])
            counts[-1:] = len(starts) - places[-1:]
            found.append(counts)
        return found

    def listing(self, *types: Type) -> Listing | None:
        results = [Result(0, types[0].dtype)]
        if self.with_inverse:
            results.append(Result(1, dtypes.int64, like_first=True))
        if self.with_counts:
            results.append(Result(2, dtypes.int64))
        return Listing("distinct", results, [int(self.sorts)], 4, len(results) == 1)


@record
class DistinctSlices(Distinct):
    """The same of the slices along an axis, which are compared element by element."""

    axis: int

    def evaluate(self, *arrays: Array) -> list[Array]:
        (x,) = arrays
        front = np.moveaxis(x, self.axis, 0)
        flat, order = front.reshape(len(front), prod(front.shape[1:])), None
        if self.sorts:
            order = np.lexsort(flat.T[::-1]) if flat.size else np.arange(len(flat))
            front, flat = front[order], flat[order]
        starts = np.ones(len(flat), bool)
        starts[1:] = (flat[1:] != flat[:-1]).any(1)
        values = np.ascontiguousarray(np.moveaxis(front[starts], 0, self.axis))
        return [values, *self.numbered(starts, order, (-1,))]

    def listing(self, *types: Type) -> Listing | None:
        (x,) = types
        if not x.size or x.size > MOST_FOUND:
            return None
        results = [Result(0, x.dtype, x.shape, self.axis)]
        results += [Result(1, dtypes.int64, x.shape[self.axis : self.axis + 1])] * self.with_inverse
        results += [Result(2, dtypes.int64)] * self.with_counts
        sizes = prod(x.shape[: self.axis]), x.shape[self.axis], prod(x.shape[self.axis + 1 :])
        return Listing("slices", results, [int(self.sorts), *sizes], 5, len(results) == 1)


def starts_of(line: Array) -> Array:
    """Where a vector's elements differ from those before them."""
    starts = np.empty(len(line), bool)
    starts[:1] = True
    np.not_equal(line[1:], line[:-1], starts[1:])
    return starts


# ---- counts ------------------------------------------------------------------------------------------------


@record
class Repeated(Tally):
    """Each place as often as the element there says."""

    def evaluate(self, *arrays: Array) -> list[Array]:
        (counts,) = arrays
        if counts.min(initial=0) < 0:
            raise ShapeError("repeat_interleave()", mirrored("repeats can not be negative"))
        return [np.arange(counts.size, dtype=counts.dtype).repeat(counts)]

    def listing(self, *types: Type) -> Listing | None:
        whole = types[0].dtype in (dtypes.int64, dtypes.int32)
        return Listing("repeated", [Result(0, types[0].dtype)]) if whole else None


@record
class Occurrences(Tally):
    """How often each of 0, 1, 2, … occurs, or the sum of the weights, the second array, where it does."""

    least: int
    """How many numbers, if the elements name no more."""

    def evaluate(self, *arrays: Array) -> list[Array]:
        x, *weights = arrays
        if not x.size:  # without weights, as in PyTorch
            return [np.zeros(self.least, np.int64)]
        try:
            if x.dtype.kind == "b":
                raise TypeError
            found = np.bincount(x, weights[0] if weights else None, self.least)
        except (TypeError, ValueError):
            raise ShapeError(
                f"bincount of a tensor of {x.dtype} and shape {list(x.shape)}",
                mirrored("bincount only supports 1-d non-negative integral inputs."),
            ) from None
        narrows = weights and weights[0].dtype.kind == "f"
        return [found.astype(weights[0].dtype, copy=False) if narrows else found]

    def listing(self, *types: Type) -> Listing | None:
        x, *weights = types
        if x.dtype.category != 1 or x.ndim != 1 or not x.size:
            return None
        if not weights:
            return Listing("occurrences", [Result(0, dtypes.int64)], [self.least])
        if not weights[0].dtype.is_floating_point:
            return None
        return Listing("weighed", [Result(1, weights[0].dtype)], [self.least], 2)
