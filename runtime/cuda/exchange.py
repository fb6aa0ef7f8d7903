"""Memory of a GPU shared with other libraries: DLPack, and `__cuda_array_interface__`.

In flows an object of another library, out flows a `CudaArray` on its memory; and the other way round. Neither
side copies. Work is put in order: whoever takes an array names the stream that will use it, and that stream
waits for what its maker's stream has been asked for.

The structures are those of DLPack's `dlpack.h` before version 1, which every library reads; the other
interface is Numba's, version 3.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.dtypes import DType
from retrograd.compiler.errors import ArgumentError
from retrograd.runtime.cuda import devices
from retrograd.runtime.cuda.array import CudaArray
from retrograd.runtime.cuda.devices import Device
from retrograd.runtime.cuda.memory import Foreign
from retrograd.runtime.strided import Layout, in_order

CUDA, _MANAGED = 2, 13
"""DLPack's numbers of the kinds of memory that a GPU has."""
_LEGACY_STREAM = 1
"""How both interfaces write the default stream, whose handle is 0."""
_CODES = {"i": 0, "u": 1, "f": 2, "b": 6}
"""DLPack's numbers of NumPy's kinds."""
_BFLOAT = 4
"""That of bfloat16, which is no kind of NumPy's."""


class _Tensor(ctypes.Structure):
    """`DLTensor`."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


class _Managed(ctypes.Structure):
    """`DLManagedTensor`."""


_Deleter = ctypes.CFUNCTYPE(None, ctypes.POINTER(_Managed))
_Managed._fields_ = (("tensor", _Tensor), ("context", ctypes.c_void_p), ("deleter", _Deleter))
_Destructor = ctypes.CFUNCTYPE(None, ctypes.c_void_p)

_api = ctypes.pythonapi
_new = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, _Destructor)(
    ("PyCapsule_New", _api)
)
_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", _api)
)
_rename = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.c_char_p)(("PyCapsule_SetName", _api))
_is_unused = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p)(("PyCapsule_IsValid", _api))
_unused_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", _api)
)
_NAME, _USED = b"dltensor", b"used_dltensor"

_lent: dict[int, tuple[object, ...]] = {}
"""What others have, by the address of its description: it lives until they call the deleter."""


# ---- out ---------------------------------------------------------------------------------------------------


def capsule(array: CudaArray, stream: int | None) -> object:
    """The array for a consumer that will use it in this stream, which waits for the current one and for that
    in which the memory was allocated; with -1 in none, and nobody waits."""
    if stream != -1:
        for before in {array.gpu.stream, getattr(array.memory, "stream", array.gpu.stream)}:
            _in_order(array.gpu, before, _handle(stream))
    shape, strides = (
        (ctypes.c_int64 * max(array.ndim, 1))(*each) for each in (array.shape, array.layout.strides)
    )
    place = (array.pointer, CUDA, array.gpu.index, array.ndim)
    kind = (_code(array.dtype), 8 * array.dtype.itemsize, 1)
    tensor = _Tensor(*place, *kind, shape, strides, 0)
    managed = _Managed(tensor, None, _DELETE)
    address = ctypes.addressof(managed)
    _lent[address] = (array.memory, managed, shape, strides)
    found: object = _new(address, _NAME, _DESTROY)
    return found


def _delete(managed: Any) -> None:
    """The consumer has no more use for it."""
    _lent.pop(ctypes.addressof(managed.contents), None)


def _destroy(address: int) -> None:
    """A capsule is gone; if nobody has taken what is in it, that goes, too."""
    if _is_unused(address, _NAME):
        _lent.pop(_unused_pointer(address, _NAME), None)


_DELETE, _DESTROY = _Deleter(_delete), _Destructor(_destroy)


def interface(array: CudaArray) -> dict[str, Any]:
    """`__cuda_array_interface__`."""
    item = array.dtype.itemsize
    return {
        "shape": array.shape,
        "typestr": array.dtype.numpy.str,
        "data": (array.pointer, False),
        "strides": None if array.layout.contiguous else tuple(step * item for step in array.strides),
        "version": 3,
        "stream": array.gpu.stream or _LEGACY_STREAM,
    }


# ---- in ----------------------------------------------------------------------------------------------------


def from_dlpack(exporter: Any) -> CudaArray:
    """An array on the memory of an object that speaks DLPack and lies on a GPU."""
    kind, index = exporter.__dlpack_device__()
    if kind not in (CUDA, _MANAGED):
        raise ArgumentError(f"from_dlpack of a {type(exporter).__name__}", f"its memory is of kind {kind}")
    gpu = devices.get(index)
    given = exporter.__dlpack__(stream=gpu.stream or _LEGACY_STREAM)
    managed = ctypes.cast(_pointer(given, _NAME), ctypes.POINTER(_Managed))
    tensor = managed.contents.tensor
    shape = tuple(tensor.shape[k] for k in range(tensor.ndim))
    strides = tuple(tensor.strides[k] for k in range(tensor.ndim)) if tensor.strides else in_order(shape, 1)
    dtype = _dtype(exporter, tensor.code, tensor.bits, tensor.lanes)
    _rename(given, _USED)
    return _on(gpu, _Borrowed(managed), (tensor.data or 0) + tensor.byte_offset, shape, strides, dtype)


class _Borrowed:
    """Memory of another library, given back when nobody here needs it."""

    def __init__(self, managed: Any) -> None:
        self._managed = managed

    def __del__(self) -> None:
        deleter = self._managed.contents.deleter
        if deleter:
            deleter(self._managed)


def _code(dtype: DType) -> int:
    """DLPack's number of what a dtype's elements are."""
    return _BFLOAT if dtype is dtypes.bfloat16 else _CODES[dtype.kind]


def _dtype(exporter: object, code: int, bits: int, lanes: int) -> DType:
    if (code, bits, lanes) == (_BFLOAT, 16, 1):
        return dtypes.bfloat16
    for dtype in dtypes.ALL:
        if (_code(dtype), 8 * dtype.itemsize, 1) == (code, bits, lanes):
            return dtype
    raise ArgumentError(
        f"from_dlpack of a {type(exporter).__name__}",
        f"its elements are of DLPack's type {code} with {bits} bits and {lanes} lanes, which is none of ours",
    )


def from_interface(exporter: Any) -> CudaArray:
    """An array on the memory of an object with `__cuda_array_interface__`."""
    given = exporter.__cuda_array_interface__
    gpu, dtype = devices.get(), dtypes.dtype(np.dtype(given["typestr"]))
    if given.get("stream") is not None:
        _in_order(gpu, _handle(given["stream"]), gpu.stream)
    shape, steps = tuple(given["shape"]), given.get("strides")
    strides = in_order(shape, 1) if steps is None else tuple(step // dtype.itemsize for step in steps)
    return _on(gpu, exporter, given["data"][0], shape, strides, dtype)


def _on(
    gpu: Device, owner: object, address: int, shape: tuple[int, ...], strides: tuple[int, ...], dtype: DType
) -> CudaArray:
    return CudaArray(Foreign(gpu, owner, address), Layout(shape, strides), dtype)


# ---- order -------------------------------------------------------------------------------------------------


def _handle(stream: int | None) -> int:
    """The driver's handle of a stream as the interfaces write it."""
    return 0 if stream is None or stream == _LEGACY_STREAM else stream


def _in_order(gpu: Device, before: int, after: int) -> None:
    """What one stream is asked for from now on waits for what another has now."""
    if before != after:
        gpu.activate()
        event = gpu.driver.event_create(timing=False)
        gpu.driver.event_record(event, before)
        gpu.driver.stream_wait_event(after, event)
        gpu.driver.event_destroy(event)
