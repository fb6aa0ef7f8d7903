"""Memory of the host that a GPU reads and writes by itself: copies from it and to it need not wait.

In flows an array or a shape; out flows an array of NumPy whose memory is pinned, as long as it or a view of
it lives.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np

from retrograd.compiler.ir.graph import Array
from retrograd.runtime.cuda import devices
from retrograd.runtime.cuda.array import CudaArray
from retrograd.runtime.cuda.driver import Driver

_pinned: dict[int, int] = {}
"""Bytes, by address."""


def empty(shape: Sequence[int], dtype: np.dtype[Any]) -> Array:
    """An array in pinned memory, whose elements are not set."""
    count = int(np.prod(shape, dtype=np.int64))
    nbytes = max(count * dtype.itemsize, 1)
    gpu = devices.get()
    gpu.activate()
    address = gpu.driver.allocate_pinned(nbytes)
    memory: Any = (ctypes.c_char * nbytes).from_address(address)
    _pinned[address] = nbytes
    weakref.finalize(memory, _free, gpu.driver, address).atexit = False
    flat: Array = np.frombuffer(memory, dtype, count)
    return flat.reshape(shape)


def copied(array: Array) -> Array:
    """The array, in pinned memory; itself if it is there."""
    if is_pinned(array):
        return array
    fresh = empty(array.shape, array.dtype)
    np.copyto(fresh, array)
    return fresh


def read(array: CudaArray) -> Array:
    """The array's elements, in pinned memory: they are there when the stream has come so far."""
    fresh = empty(array.shape, array.dtype.numpy)
    array.read_into(fresh)
    return fresh


def is_pinned(array: Array) -> bool:
    """Whether the elements are in pinned memory."""
    if not _pinned:
        return False
    address = array.__array_interface__["data"][0]
    return any(start <= address < start + nbytes for start, nbytes in _pinned.items())


def _free(driver: Driver, address: int) -> None:
    del _pinned[address]
    driver.free_pinned(address)
