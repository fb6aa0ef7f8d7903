"""Arrays in memory: who owns the bytes, and where in one array the elements of another lie.

In flow NumPy arrays; out flow the memory in which they lie, the same elements in other memory, and the path
of movement ops that leads from one array to another in the same memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.array_utils import byte_bounds

from retrograd.compiler.ir.graph import Array, Op, Value
from retrograd.compiler.ops.shape import Permute, Reshape, Slice
from retrograd.compiler.ops.strided import layout, meeting


def address(array: Any) -> int:
    """Where an array's first element is."""
    return int(array.__array_interface__["data"][0])


def owner(array: Any) -> Any:
    """The array that the memory belongs to. NumPy's `as_strided` puts a thing of its own between two."""
    while (base := array.base) is not None:
        base = base if isinstance(base, np.ndarray) else getattr(base, "base", None)
        if not isinstance(base, np.ndarray):
            break
        array = base
    return array


def memory_of(array: Array) -> Array:
    """The bytes in which an array's elements lie, those of its owner."""
    whole = owner(array)
    if whole.flags.c_contiguous:
        in_order: Array = whole.reshape(-1).view(np.uint8)
        return in_order
    line: Array = whole.transpose(outermost_first(whole.strides)).reshape(-1).view(np.uint8)
    return line


def outermost_first(steps: Sequence[int]) -> list[int]:
    """The axes in the order in which they lie in memory, by the steps along them."""
    return sorted(range(len(steps)), key=lambda k: -steps[k])


def buffer_of(array: Array) -> Array:
    """An array whose bytes, one after the other, are the memory in which this one's elements lie."""
    whole: Array = owner(array)
    return whole if whole.flags.c_contiguous else memory_of(whole)


def elements(memory: Array, dtype: np.dtype[Any]) -> Array:
    """As many whole elements as the bytes have."""
    return memory[: len(memory) // dtype.itemsize * dtype.itemsize].view(dtype)


def is_part(array: Any) -> bool:
    """Whether an array of the CPU lies in memory that has other elements, too."""
    return type(array) is np.ndarray and array.nbytes < owner(array).nbytes


def in_other(array: Array, memory: Array) -> Array:
    """What lies in other memory where an array lies in its own."""
    moved = _there(array, memory)
    moved.flags.writeable = array.flags.writeable
    return moved


def reopened(array: Array) -> Array:
    """The same elements, to be written to if their memory may be."""
    return _there(array, memory_of(array))


def _there(array: Array, memory: Array) -> Array:
    offset = address(array) - address(owner(array))
    return np.ndarray(array.shape, array.dtype, memory, offset, array.strides)


def meets(array: Array) -> bool:
    """Whether several elements of an array may be one in memory."""
    return array.size > 1 and not array.flags.forc and meeting(array.shape, array.strides)


def repeats(array: Value) -> bool:
    """Whether elements of an array are one in memory along some axis."""
    if not isinstance(array, np.ndarray):
        return False
    return any(size > 1 and not step for size, step in zip(array.shape, array.strides))


def bounds(arrays: Sequence[Array]) -> tuple[int, int]:
    """The addresses of the first byte of arrays, and of that after their last."""
    spans = [byte_bounds(array) for array in arrays]
    return min(low for low, _ in spans), max(high for _, high in spans)


def sharing(arrays: Sequence[Array]) -> list[list[int]]:
    """Which arrays may have bytes in common: from the first to the last, those of each overlap with those of
    another of its group."""
    groups: list[list[int]] = []
    end = -1
    for (low, high), k in sorted((bounds([array]), k) for k, array in enumerate(arrays)):
        if arrays[k].size and low < end:
            groups[-1].append(k)
        else:
            groups.append([k])
        if arrays[k].size:
            end = max(end, high)
    return groups


def located(part: Array, whole: Array) -> tuple[Op, ...] | None:
    """The path to an array's elements from another array in the same memory; None where they are not all of
    that one's, or there are gaps between those."""
    order = outermost_first(whole.strides)
    ordered = whole if whole.flags.c_contiguous else whole.transpose(order)
    size, apart = whole.itemsize, address(part) - address(whole)
    if part.dtype != whole.dtype or not ordered.flags.c_contiguous or apart % size:
        return None
    if not part.size:
        return (Reshape((whole.size,)), Slice((0,), (0,), (1,)), Reshape(part.shape))
    steps = [step // size for step in part.strides]
    spans = [step * (extent - 1) for step, extent in zip(steps, part.shape)]
    low, high = (apart // size + sum(side(span, 0) for span in spans) for side in (min, max))
    if low < 0 or high >= whole.size:
        return None
    turned = () if ordered is whole else (Permute(tuple(order)),)
    return (*turned, layout(part.shape, tuple(steps), apart // size))
