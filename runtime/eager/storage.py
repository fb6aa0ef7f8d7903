"""Storages: the memory that a Tensor and its views share, as `torch.UntypedStorage`.

In flow a Tensor, out flows where its elements lie: the array, or the GPU's buffer, that owns the memory,
and how far into it they begin. A `TypedStorage` has elements where an `UntypedStorage` has bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, partial
from mmap import mmap
from typing import Any

import numpy as np

from retrograd.compiler.dtypes import DType
from retrograd.compiler.errors import ArgumentError
from retrograd.compiler.ir.graph import Array, Node
from retrograd.runtime.device import CPU, device
from retrograd.runtime.eager.instant import calls
from retrograd.runtime.eager.memory import address, in_other, memory_of, owner
from retrograd.runtime.eager.views import note_moved
from retrograd.runtime.modes import STATE
from retrograd.runtime.names import bare_legacy_name
from retrograd.runtime.strided import DeviceArray
from retrograd.runtime.tensor import Tensor, method


class UntypedStorage:
    """Bytes in memory. Two Tensors share them if `data_ptr()` is the same."""

    __slots__ = ("_value",)

    _value: np.ndarray[Any, Any] | DeviceArray
    """A Tensor's, which keeps the memory alive."""

    @property
    def device(self) -> device:
        return CPU if isinstance(self._value, np.ndarray) else self._value.device

    def data_ptr(self) -> int:
        """The address of the first byte."""
        value = self._value
        return address(owner(value)) if isinstance(value, np.ndarray) else value.memory.pointer

    def nbytes(self) -> int:
        value = self._value
        return int(owner(value).nbytes) if isinstance(value, np.ndarray) else value.memory.nbytes

    size = nbytes
    __len__ = nbytes

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.nbytes()} bytes on {self.device}>"

    def memory(self) -> Array:
        """The bytes, shared; ArgumentError where they are on another device."""
        if not isinstance(self._value, np.ndarray):
            raise ArgumentError(f"the bytes of a storage on {self.device}", "they are not the CPU's")
        return memory_of(self._value)

    def __getitem__(self, place: Any) -> Any:
        """A byte, or a list of them."""
        return self.memory()[place].tolist()

    def tolist(self) -> list[int]:
        """The bytes as numbers."""
        return list(self.memory().tolist())


_TOLD = {"data_ptr": "held_address"} | dict.fromkeys(("nbytes", "size", "__len__"), "held_bytes")
for _name, _entry in _TOLD.items():
    _slow = getattr(UntypedStorage, _name)
    setattr(UntypedStorage, _name, calls.held(_entry, UntypedStorage, "_value", _slow))


class TypedStorage:
    """Memory as elements of one dtype."""

    def __init__(self, untyped: UntypedStorage, dtype: DType) -> None:
        self._untyped = untyped
        self.dtype = dtype
        self.device = untyped.device

    def untyped(self) -> UntypedStorage:
        """The same memory as bytes."""
        return self._untyped

    def memory(self) -> Array:
        """The bytes, shared."""
        return self._untyped.memory()

    def data_ptr(self) -> int:
        """The address of the first element."""
        return self._untyped.data_ptr()

    def element_size(self) -> int:
        return self.dtype.itemsize

    def nbytes(self) -> int:
        return self._untyped.nbytes()

    def size(self) -> int:
        """How many elements there are."""
        return self.nbytes() // self.dtype.itemsize

    __len__ = size

    def _elements(self) -> Array:
        return self.memory().view(self.dtype.numpy)

    def tolist(self) -> list[Any]:
        return list(self._elements().tolist())

    def __iter__(self) -> Iterator[Any]:
        return iter(self.tolist())

    def __getitem__(self, place: int) -> Any:
        return self._elements()[place].item()

    def __setitem__(self, place: int, value: Any) -> None:
        self._elements()[place] = value

    def fill_(self, value: Any) -> TypedStorage:
        """One value for all elements."""
        self._elements()[...] = value
        return self

    def __repr__(self) -> str:
        lines = "".join(f" {value}\n" for value in self)
        kind = f"dtype={self.dtype}, device={self.device}"
        return f"{lines}[torch.storage.TypedStorage({kind}) of size {self.size()}]"


def is_storage(obj: object) -> bool:
    """Whether it is a storage."""
    return isinstance(obj, UntypedStorage | TypedStorage)


class _Legacy(type):
    """Classes of which every `TypedStorage` of their dtype is one."""

    dtype: DType

    def __instancecheck__(cls, storage: object) -> bool:
        return isinstance(storage, TypedStorage) and storage.dtype is cls.dtype


@cache
def _legacy(dtype: DType) -> type[TypedStorage]:
    named = {"dtype": dtype, "__module__": "retrograd"}
    kind: Any = _Legacy(f"{bare_legacy_name(dtype)}Storage", (TypedStorage,), named)
    return kind  # type: ignore[no-any-return]  # a class that a metaclass made


@method()
def storage_type(self: Tensor) -> type[TypedStorage]:
    """The class of storages of the Tensor's dtype, as `torch.FloatStorage`."""
    return _legacy(self.dtype)


@method()
@partial(calls.held, "holder", UntypedStorage, "_value")
def untyped_storage(self: Tensor) -> UntypedStorage:
    """The memory in which the Tensor's elements lie. TraceError inside a trace, where there is none."""
    value = self._value
    storage = UntypedStorage()
    storage._value = value if isinstance(value, DeviceArray) else self.read("untyped_storage()")
    return storage


@method()
def storage_offset(self: Tensor) -> int:
    """How many elements lie in the memory before the first; of a traced Tensor 0."""
    value = self._value
    if isinstance(value, DeviceArray):
        return value.layout.offset
    if STATE.trace is not None or isinstance(value, Node):
        return 0
    array = self.read("storage_offset()")
    return (address(array) - address(owner(array))) // self.itemsize


def move(tensor: Tensor, memory: Array) -> None:
    """Other memory, as long or longer, takes the place of that in which a Tensor lies: for it, for those that
    it is a view of, and, when they are next looked at, for their other views."""
    array = tensor._value
    assert isinstance(array, np.ndarray)
    if tensor._counter is not None:
        note_moved(owner(array), tensor._counter, memory)
    tensor._value = in_other(array, memory)
    if tensor._view is not None:
        move(tensor._view.base, memory)


# ---- memory that processes share ---------------------------------------------------------------------------


@method()
def share_memory_(self: Tensor) -> Tensor:
    """The Tensor in memory that processes forked from now on share with this one, and its views with it.
    Nothing is done to a Tensor on a GPU, as in PyTorch.
    """
    if self.is_shared():
        return self
    array = self.read("share_memory_()")
    memory = memory_of(array)
    if not len(memory):
        return self
    shared = np.frombuffer(mmap(-1, len(memory)), np.uint8)
    shared[...] = memory
    move(self, shared)
    return self


@method()
def is_shared(self: Tensor) -> bool:
    """Whether the elements lie in memory that processes share; on a GPU they always do."""
    value = self._value
    if isinstance(value, DeviceArray):
        return True
    given = owner(value).base
    return isinstance(given, mmap) or (isinstance(given, memoryview) and isinstance(given.obj, mmap))
