"""NumPy's arrays as values of ops, which lie in order like PyTorch's."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from retrograd.compiler.ir.graph import Array


def in_order(array: Array) -> Array:
    """The array, or a copy, with its elements one after the other: NumPy keeps the order of an operand."""
    return array if array.flags.c_contiguous else array.copy()


def copied(array: Array) -> Array:
    """A copy whose axes lie as they do; an axis along which elements are repeated stays where it stands."""
    if 0 not in array.strides:
        return array.copy("K")
    return laid_as(array, outwards(array), np.ndarray.copy)


def outwards(array: Array) -> list[int]:
    """The axes from far to near, but those along which elements are repeated stay where they stand."""
    moving = [k for k, step in enumerate(array.strides) if step]
    found = list(range(array.ndim))
    for place, axis in zip(moving, sorted(moving, key=lambda k: -abs(array.strides[k]))):
        found[place] = axis
    return found


def laid_as(array: Array, axes: Sequence[int], copy: Callable[[Array], Array]) -> Array:
    """A copy in row-major order of these axes, seen with the axes of the array."""
    if list(axes) == list(range(array.ndim)):
        return copy(array)
    return copy(array.transpose(axes)).transpose([axes.index(k) for k in range(array.ndim)])


def ordered(compute: Callable[..., Array]) -> Callable[..., Array]:
    """A function whose arrays lie in order."""
    return lambda *arrays: in_order(compute(*arrays))
