"""Storages: the memory that a Tensor and its views share, as `torch.UntypedStorage`.

In flow a Tensor, out flows where its elements lie: the array, or the GPU's buffer, that owns the memory,
and how far into it they begin.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from retrograd.compiler.ir.graph import Node
from retrograd.runtime.device import device
from retrograd.runtime.eager.conversion import data_ptr
from retrograd.runtime.modes import STATE
from retrograd.runtime.strided import DeviceArray
from retrograd.runtime.tensor import Tensor, method


class UntypedStorage:
    """Bytes in memory. Two Tensors share them if `data_ptr()` is the same."""

    def __init__(self, owner: Any, pointer: int, nbytes: int, device: device) -> None:
        self._owner = owner
        """Keeps the memory alive."""
        self._pointer = pointer
        self._nbytes = nbytes
        self.device = device

    def data_ptr(self) -> int:
        """The address of the first byte."""
        return self._pointer

    def nbytes(self) -> int:
        return self._nbytes

    size = nbytes
    __len__ = nbytes

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._nbytes} bytes on {self.device}>"


@method()
def untyped_storage(self: Tensor) -> UntypedStorage:
    """The memory in which the Tensor's elements lie. TraceError inside a trace, where there is none."""
    value = self._value
    if isinstance(value, DeviceArray):
        return UntypedStorage(value.memory, value.memory.pointer, value.memory.nbytes, self.device)
    owner = _owner(self.read("untyped_storage()"))
    return UntypedStorage(owner, owner.__array_interface__["data"][0], owner.nbytes, self.device)


@method()
def storage_offset(self: Tensor) -> int:
    """How many elements lie in the memory before the first; of a traced Tensor 0."""
    value = self._value
    if isinstance(value, DeviceArray):
        return value.layout.offset
    if STATE.trace is not None or isinstance(value, Node):
        return 0
    here, owner = data_ptr(self), _owner(self.read("storage_offset()"))
    return int(here - owner.__array_interface__["data"][0]) // self.itemsize


def _owner(array: Any) -> Any:
    """The array that the memory belongs to."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array
