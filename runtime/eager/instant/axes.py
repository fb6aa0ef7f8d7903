"""Functions that change a Tensor's own axes: which axes those have been, and the native calls that do it.

In flow the function that does it in Python, and what it does to a Tensor of the same extents; out flows a
callable around it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from retrograd.compiler.ir.graph import Array
from retrograd.runtime.eager.instant.learning import step_words
from retrograd.runtime.eager.instant.part import available, native_function
from retrograd.runtime.eager.instant.records import MET, MOST, Asked, Rearranged, Step, place, words_of, write
from retrograd.runtime.eager.kinds import kind_of
from retrograd.runtime.eager.opnodes import OpNode
from retrograd.runtime.tensor import Tensor

NEW = -1


def rearranged(axes: Sequence[int], slow: Callable[..., Any]) -> Callable[..., Any]:
    """A function of a Tensor that gives it the axes that these have been, in place."""
    if not available() or len(axes) > MOST:
        return slow
    kept: list[object] = []

    def learning(x: Tensor) -> Any:
        before = x._edge
        result = slow(x)
        node = result._edge
        if not kept and isinstance(node, OpNode) and (*node.edges,) == (before,) and not node.guards:
            step = step_words(node.op, kind_of(node.op), 1, (node.shown,) * 3, True)
            step[place(Step, "histories") + 1] = MET
            kept.extend((step, node.op, node.shown))
            write(Rearranged, words, step=ctypes.addressof(step))
        return result

    words = words_of(Rearranged, slow=id(learning), arity=1, rank=len(axes), axes=axes)
    return native_function("retrograd_rearranged", slow, words, (learning, kept))


def placed(entry: str, slow: Callable[..., Any]) -> Callable[..., Any]:
    """A function that lays a Tensor otherwise in memory, in place: natively where nobody else looks
    (`growing.py`). The entry is its kind: `resized`, `resized_as`, `restrided_in_place`, `set_to`."""
    if not available():
        return slow
    return native_function(f"retrograd_{entry}", slow, words_of(Asked, slow=id(slow), arity=-1), slow)


def bits(dtype: np.dtype[Any], slow: Callable[..., Any]) -> Callable[..., Any]:
    """A function of a Tensor that shows its memory as elements of another dtype of the same size."""
    if not available():
        return slow
    words = words_of(Asked, slow=id(slow), arity=1, answer=id(dtype))
    return native_function("retrograd_bits", slow, words, (slow, dtype))


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
