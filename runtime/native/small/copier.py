"""Copies of Tensors' arrays, by the native callable where there is something to gain (`ordering.py`)."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from retrograd.compiler.ir.arrays import laid_as, outwards
from retrograd.compiler.ir.graph import Array
from retrograd.runtime.native import cpu
from retrograd.runtime.native.layout import layout
from retrograd.runtime.native.pool import MUCH
from retrograd.runtime.native.small import kernels
from retrograd.runtime.native.small.ordering import WIDTHS
from retrograd.runtime.native.small.steps import native
from retrograd.runtime.strided import reshaped_strides

_LEAST = 1 << 10
"""Elements: for less, the call takes longer than the copy."""


def copied_in_order(array: Array) -> Array:
    """A copy in row-major order."""
    if array.size < (MUCH if array.flags.c_contiguous else _LEAST):
        return array.copy()
    return _copier()(array)


def in_order(array: Array, dtype: np.dtype[Any]) -> Array:
    """The array, or a copy in row-major order that is aligned and of this dtype in the machine's order."""
    ready = array.dtype == dtype and array.flags.aligned and not array.flags.c_contiguous
    return copied_in_order(array) if ready else np.require(array, dtype, ("C", "A"))


def copied(array: Array) -> Array:
    """A copy whose axes lie as they do (`compiler.ir.arrays.copied`)."""
    if array.flags.c_contiguous:
        return copied_in_order(array)
    return laid_as(array, outwards(array), copied_in_order)


def reshaping(shape: tuple[int, ...]) -> Callable[[Array], Array]:
    """An array in another shape: a view, or a copy where there is none."""

    def reshaped(array: Array) -> Array:
        many = array.size >= _LEAST and not array.flags.c_contiguous
        if many and reshaped_strides(array.shape, array.strides, shape) is None:
            array = copied_in_order(array)
        return array.reshape(shape)

    return reshaped


@cache
def _copier() -> Callable[[Array], Array]:
    if layout() is None:
        return np.ndarray.copy
    copies = [kernels.copying(width) for width in WIDTHS]
    words = [1, 1, 0, 0, cpu.parallel(), *copies]  # one array to one, which is the result
    return native("retrograd_ordered", words, np.ndarray.copy, ())
