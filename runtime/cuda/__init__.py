"""NVIDIA's GPUs: which there are. Named as in `torch.cuda`.

driver.py   what is asked of a driver, and which driver answers
nvidia.py   NVIDIA's own
"""

from __future__ import annotations

from retrograd.compiler.errors import CudaError, DeviceError, OutOfMemoryError
from retrograd.runtime.cuda import driver

__all__ = ["CudaError", "OutOfMemoryError", "is_available"]


def is_available() -> bool:
    """Whether there is a device to be used: False where the bindings, the driver or the device is missing."""
    try:
        return driver.current().device_count() > 0
    except DeviceError:
        return False
