"""NumPy's arrays as values of ops, which lie in order like PyTorch's."""

from __future__ import annotations

from collections.abc import Callable

from retrograd.compiler.ir.graph import Array


def in_order(array: Array) -> Array:
    """The array, or a copy, with its elements one after the other: NumPy keeps the order of an operand."""
    return array if array.flags.c_contiguous else array.copy()


def ordered(compute: Callable[..., Array]) -> Callable[..., Array]:
    """A function whose arrays lie in order."""
    return lambda *arrays: in_order(compute(*arrays))
