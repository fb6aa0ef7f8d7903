"""Functions that change a Tensor's own axes: which axes those have been, and the native call that does it.

In flow the function that does it in Python, and what it does to a Tensor of the same extents; out flows a
callable around it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from numpy.lib.stride_tricks import as_strided

from retrograd.compiler.ir.graph import Array
from retrograd.runtime.eager.instant.part import available, native_function
from retrograd.runtime.eager.instant.records import MOST, Rearranged, words_of

NEW = -1


def rearranged(axes: Sequence[int], slow: Callable[..., Any]) -> Callable[..., Any]:
    """A function of a Tensor that gives it the axes that these have been, in place."""
    if not available() or len(axes) > MOST:
        return slow
    words = words_of(Rearranged, slow=id(slow), arity=1, rank=len(axes), axes=axes)
    return native_function("retrograd_rearranged", slow, words, (slow,))


def probe(array: Array) -> Array:
    """An array of the same extents, whose steps tell its axes apart; it has the memory of one element."""
    steps = [array.itemsize * (place + 1) for place in range(array.ndim)]
    return as_strided(array[:0].ravel() if array.ndim else array, array.shape, steps, writeable=False)


def origins(before: Array, after: Array) -> list[int] | None:
    """Which axis of a probe each axis of what became of it has been; None where that is not clear."""
    found = []
    for extent, step in zip(after.shape, after.strides):
        axis = before.strides.index(step) if step in before.strides else NEW
        if extent != 1 and (axis == NEW or before.shape[axis] != extent):
            return None
        found.append(NEW if extent == 1 else axis)
    return found
