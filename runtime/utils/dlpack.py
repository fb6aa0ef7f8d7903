"""Tensors by DLPack, as `torch.utils.dlpack`: capsules and objects that give one."""

from __future__ import annotations

from typing import Any

from retrograd.runtime.functions import FUNCTIONS
from retrograd.runtime.tensor import Tensor

__all__ = ["from_dlpack", "to_dlpack"]

_CPU = (1, 0)
"""DLPack's name of the CPU."""


class _Held:
    """A capsule as an object that gives it."""

    def __init__(self, capsule: Any) -> None:
        self._capsule = capsule

    def __dlpack__(self, **options: Any) -> Any:
        return self._capsule

    def __dlpack_device__(self) -> tuple[int, int]:
        return _CPU


def to_dlpack(tensor: Tensor) -> Any:
    """A capsule of a Tensor's memory, to be taken once."""
    return tensor.__dlpack__()


def from_dlpack(ext_tensor: Any, *, device: object = None, copy: bool | None = None) -> Tensor:
    """A Tensor on the memory of a capsule, on the CPU, or of an object that gives one."""
    given = ext_tensor if hasattr(ext_tensor, "__dlpack__") else _Held(ext_tensor)
    found: Tensor = FUNCTIONS["from_dlpack"](given, device=device, copy=copy)
    return found
