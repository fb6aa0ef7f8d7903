"""NumPy's arrays as values of ops, which lie in order like PyTorch's."""

from __future__ import annotations

from collections.abc import Callable

from retrograd.compiler.ir.graph import Array


def in_order(array: Array) -> Array:
    """The array, or a copy, with its elements one after the other: NumPy keeps the order of an operand."""
    return array if array.flags.c_contiguous else array.copy()


def copied(array: Array) -> Array:
    """A copy whose axes lie as they do; an axis along which elements are repeated stays where it stands."""
    if 0 not in array.strides:
        return array.copy("K")
    moving = [k for k, step in enumerate(array.strides) if step]
    outwards = list(range(array.ndim))
    for place, axis in zip(moving, sorted(moving, key=lambda k: -abs(array.strides[k]))):
        outwards[place] = axis
    inwards = [outwards.index(k) for k in range(array.ndim)]
    return array.transpose(outwards).copy("C").transpose(inwards)


def ordered(compute: Callable[..., Array]) -> Callable[..., Array]:
    """A function whose arrays lie in order."""
    return lambda *arrays: in_order(compute(*arrays))
