"""Factors that exchanges of rows are part of, packed into one array: what those of any matrix (`lu.py`) and
of symmetric ones (`ldl.py`) share.

In flow stacks of matrices `[…, m, n]` in float32 or float64; out flow their factors in one matrix, and below
it, as one row more, for each step the row that changed places, counted from 1. To add such factors, add a
subclass of `Packed`, and to `_FAILED` what tells where they fail.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.errors import LinearAlgebraError
from retrograd.compiler.ir.graph import Array, Fixed, Type, Value, register
from retrograd.compiler.ops import gufuncs
from retrograd.compiler.ops.cholesky import root
from retrograd.compiler.ops.lapack import Lapack
from retrograd.compiler.ops.routines import Factored
from retrograd.compiler.ops.shape import narrow
from retrograd.compiler.record import record


@record
class Packed(Lapack):
    """Factors, and below them the rows that `Pivots` takes."""

    strict: str = ""
    """The function whose error tells of a singular matrix, if any does."""

    factoring: ClassVar[Callable[..., Factored]]
    """Made for a dtype and a shape."""
    reason: ClassVar[str]
    """What is wrong with a matrix whose factors fail at a step: `mirrored` if PyTorch says it."""
    reasons: ClassVar[dict[str, str]] = {}
    """What other functions say."""

    def shape(self, *shape: int) -> Sequence[int]:
        *batch, m, n = shape
        return (*batch, m + 1, n)

    def evaluate(self, *arrays: Array) -> Array:
        (a,) = arrays
        return self._packed(a.dtype, *a.shape)(a)

    def function(self, types: Sequence[Type]) -> Callable[..., Array] | None:
        return self._packed(types[0].dtype.numpy, *types[0].shape)

    def _packed(self, dtype: np.dtype[np.generic], *shape: int) -> Callable[[Array], Array]:
        factored = self.factoring(dtype, *shape)

        def packed(a: Array) -> Array:
            found, info = factored(a)
            if self.strict and np.count_nonzero(info):
                raise self._singular(info[..., 0])
            return found

        return packed

    def _singular(self, info: Array) -> LinearAlgebraError:
        """The error for the first matrix that fails."""
        place = int(np.flatnonzero(info)[0])
        batch = f"(Batch element {place}): " if info.ndim else ""
        reason = self.reasons.get(self.strict, self.reason)
        text = f"{self.strict}: {batch}{reason.format(info.flat[place])}"
        return LinearAlgebraError(type(reason)(text))


@register
@record
class Pivots(Fixed, Lapack):
    """For each step the row, counted from 1, that changed places."""

    name = "pivots"

    def shape(self, *shape: int) -> Sequence[int]:
        *batch, m, n = shape
        return (*batch, min(m - 1, n))

    def infer(self, *types: Type) -> Type:
        return Type(tuple(self.shape(*types[0].shape)), dtypes.int32)

    def evaluate(self, *arrays: Array) -> Array:
        (packed,) = arrays
        m, n = packed.shape[-2:]
        return np.asarray(packed[..., m - 1, : min(m - 1, n)].astype(np.int32))


@register
@record
class Info(Fixed, Lapack):
    """For each matrix 0, or where a factorisation fails, counted from 1: of packed factors at which pivot, of
    a matrix at which leading minor that is not positive-definite.
    """

    name = "info"
    of: str
    """A key of `_FAILED`."""

    def shape(self, *shape: int) -> Sequence[int]:
        return shape[:-2]

    def infer(self, *types: Type) -> Type:
        return super().infer(*types).with_dtype(dtypes.int32)

    def evaluate(self, *arrays: Array) -> Array:
        (a,) = arrays
        with np.errstate(all="ignore"):
            bad = _FAILED[self.of](a)
        first = np.argmax(bad, axis=-1) if bad.shape[-1] else np.zeros(bad.shape[:-1])
        return np.where(bad.any(-1), first + 1, 0).astype(np.int32)


def _without_pivot(packed: Array) -> Array:
    return np.asarray(_diagonal(packed[..., :-1, :]) == 0)


def _without_block(packed: Array) -> Array:
    """Steps of one row whose pivot, and all below it, is 0, or whose pivot alone is NaN."""
    sizes, n = np.abs(packed[..., :-1, :]), packed.shape[-1]
    below = np.max(sizes, axis=-2, initial=0, where=np.tri(n, k=-1, dtype=bool))
    return np.asarray((packed[..., -1, :] > 0) & (below == 0) & ~(_diagonal(sizes) > 0))


def _indefinite(a: Array) -> Array:
    """By the squared diagonal of the Cholesky factor as far as there is one: quotients of leading minors."""
    if gufuncs.are_numbers(root(a)[..., -1:, -1:]):
        return np.zeros(a.shape[:-1], bool)
    work = np.array(a, np.float64)
    for k in range(work.shape[-1]):
        column = work[..., k + 1 :, k].copy()
        work[..., k + 1 :, k + 1 :] -= (
            column[..., :, None] * column[..., None, :] / work[..., k, k, None, None]
        )
    return np.asarray(~(_diagonal(work) > 0))


def _diagonal(a: Array) -> Array:
    return np.diagonal(a, axis1=-2, axis2=-1)


_FAILED = {"lu": _without_pivot, "ldl": _without_block, "cholesky": _indefinite}
"""At which steps factors fail."""


def without_pivots(packed: Value) -> Value:
    """The factors in one matrix."""
    return narrow(packed, len(packed.shape) - 2, 0, packed.shape[-2] - 1)
