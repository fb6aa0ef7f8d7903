"""The machine's accelerator, whatever it is, as `torch.accelerator`: here NVIDIA's GPUs, or none.

In flow devices, numbers of devices and streams; what is asked of a machine without an accelerator is False,
0 or None where that is an answer, else a DeviceError. All goes on to `cuda`.
"""

from __future__ import annotations

from typing import Any

from retrograd.compiler.errors import DeviceError, mirrored
from retrograd.runtime import cuda
from retrograd.runtime.device import device

__all__ = [
    "current_accelerator", "current_device_idx", "current_device_index", "current_stream", "device_count",
    "device_index", "empty_cache", "get_memory_info", "is_available", "max_memory_allocated",
    "max_memory_reserved", "memory_allocated", "memory_reserved", "memory_stats", "reset_peak_memory_stats",
    "set_device_idx", "set_device_index", "set_stream", "synchronize",
]  # fmt: skip


def is_available() -> bool:
    """Whether there is an accelerator that can be used."""
    return cuda.is_available()


def device_count() -> int:
    return cuda.device_count()


def current_accelerator(check_available: bool = False) -> device | None:
    """`device("cuda")`, without a number; None where there is no accelerator."""
    return device("cuda") if is_available() else None


def _needed() -> None:
    if not is_available():
        raise DeviceError(mirrored("Cannot access accelerator device when none is available."))


def current_device_index() -> int:
    """The number of this thread's current device."""
    _needed()
    return cuda.current_device()


def set_device_index(device: Any, /) -> None:
    """Make a device the current one of this thread; a negative number changes nothing."""
    _needed()
    if not isinstance(device, int) or device >= 0:
        cuda.set_device(device)


current_device_idx, set_device_idx = current_device_index, set_device_index


class device_index:
    """`with device_index(1):` inside, that device is the current one; None changes nothing."""

    def __init__(self, device: int | None, /) -> None:
        self._chosen = None if device is None else cuda.device(device)

    def __enter__(self) -> None:
        if self._chosen is not None:
            self._chosen.__enter__()

    def __exit__(self, *error: Any) -> None:
        if self._chosen is not None:
            self._chosen.__exit__(*error)


# ---- streams -----------------------------------------------------------------------------------------------


def current_stream(device: Any = None, /) -> Any:
    _needed()
    return cuda.current_stream(device)


def set_stream(stream: Any) -> None:
    _needed()
    cuda.set_stream(stream)


def synchronize(device: Any = None, /) -> None:
    """Wait until all work given to the device is done."""
    _needed()
    cuda.synchronize(device)


# ---- memory ------------------------------------------------------------------------------------------------


def empty_cache() -> None:
    """Give memory that waits for its next use back to the system."""
    _needed()
    cuda.empty_cache()


def memory_stats(device_index: Any = None, /) -> Any:
    _needed()
    return cuda.memory_stats(device_index)


def memory_allocated(device_index: Any = None, /) -> int:
    _needed()
    return cuda.memory_allocated(device_index)


def max_memory_allocated(device_index: Any = None, /) -> int:
    _needed()
    return cuda.max_memory_allocated(device_index)


def memory_reserved(device_index: Any = None, /) -> int:
    _needed()
    return cuda.memory_reserved(device_index)


def max_memory_reserved(device_index: Any = None, /) -> int:
    _needed()
    return cuda.max_memory_reserved(device_index)


def reset_peak_memory_stats(device_index: Any = None, /) -> None:
    _needed()
    cuda.reset_peak_memory_stats(device_index)


def get_memory_info(device_index: Any = None, /) -> tuple[int, int]:
    """Free and all memory, in bytes."""
    _needed()
    return cuda.mem_get_info(device_index)
