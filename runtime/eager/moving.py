"""Tensors from one device to another, and memory that is shared with what else uses a GPU.

In flow a Tensor and a device, out flows the Tensor there, with its history. What knows GPUs is below, in
`cuda`, and is loaded when a program names one.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, partial
from importlib import import_module
from typing import Any

import numpy as np

from retrograd.compiler.errors import AttributeMissingError, GradientError, mirrored
from retrograd.compiler.ir.graph import Value
from retrograd.runtime.device import CPU, as_device
from retrograd.runtime.device import device as Device
from retrograd.runtime.eager.history import edge_of
from retrograd.runtime.eager.instant import calls
from retrograd.runtime.eager.tape import Edge, GradNode
from retrograd.runtime.modes import STATE
from retrograd.runtime.strided import DeviceArray
from retrograd.runtime.tensor import Tensor, method


class Moved(GradNode):
    """A Tensor copied to another device: its cotangent goes back to where the operand is."""

    __slots__ = ("device",)

    def __init__(self, edges: tuple[Edge, ...], device: Device) -> None:
        super().__init__(edges)
        self.device = device

    def name(self) -> str:
        return "ToCopyBackward0"

    def backward(
        self, cotangent: Value, needed: Sequence[bool], create_graph: bool
    ) -> Sequence[Value | None]:
        return [moved(cotangent, self.device) if create_graph else _elements(cotangent, self.device, False)]


def moved(tensor: Tensor, device: Device, non_blocking: bool = False) -> Tensor:
    """The Tensor on a device: itself if it is there. In a trace it is where the function runs."""
    trace = STATE.trace
    if trace is not None:
        trace.unchecked |= device != trace.device
        return tensor
    here = tensor.device
    if here is device or here == device:
        return tensor
    if tensor._view is not None:
        tensor._view.refresh(tensor)
    result = Tensor(_elements(tensor._value, device, non_blocking))
    if STATE.grad and tensor.requires_grad:
        result._edge, result._requires_grad = Moved((edge_of(tensor),), tensor.device), True
    return result


def _elements(value: Value, device: Device, non_blocking: bool) -> Value:
    """A copy of an array's elements on another device."""
    if device.type == "cpu":
        return _pinned().read(value) if non_blocking else value.host()
    operators = import_module("retrograd.runtime.cuda.operators")  # late: programs on the CPU do without
    return operators.on(device, value, non_blocking)


@method()
@partial(calls.itself, 1)
def cpu(self: Tensor, memory_format: object = None) -> Tensor:
    """On the CPU: itself, if it is there."""
    return moved(self, CPU)


@method()
def cuda(
    self: Tensor, device: Any = None, non_blocking: bool = False, memory_format: object = None
) -> Tensor:
    """On a GPU: itself, if it is on the current one, or that named. `non_blocking` is for pinned memory."""
    return moved(self, as_device("cuda" if device is None else device), non_blocking)


@method()
def get_device(self: Tensor) -> int:
    """The number of the GPU; -1 for the CPU."""
    return -1 if self.device.index is None else self.device.index


# ---- pinned memory -----------------------------------------------------------------------------------------


@cache
def _pinned() -> Any:
    return import_module("retrograd.runtime.cuda.pinned")


@method()
def pin_memory(self: Tensor, device: Any = None) -> Tensor:
    """A copy in memory that GPUs read and write by themselves; itself, if it is there. Not recorded."""
    array = self.read("pin_memory()")
    pinned = _pinned().copied(array)
    return self if pinned is array else Tensor(pinned)


@method()
def is_pinned(self: Tensor, device: Any = None) -> bool:
    return isinstance(self._value, np.ndarray) and bool(_pinned().is_pinned(self._value))


@method()
def record_stream(self: Tensor, stream: Any) -> None:
    """Have the memory given out again when this stream, too, is done with it. Operations do so themselves."""
    if isinstance(self._value, DeviceArray):
        self._value.memory.used_by(stream.cuda_stream)


# ---- what else uses a GPU ----------------------------------------------------------------------------------


def exchange() -> Any:
    """What makes memory known to other libraries, and takes theirs."""
    return import_module("retrograd.runtime.cuda.exchange")


def shared(tensor: Tensor, asked: str) -> Any:
    """The array that another library is to see."""
    if tensor.requires_grad:
        raise GradientError(
            mirrored(
                f"Can't get {asked} on Variable that requires grad. If gradients aren't required, use "
                "var.detach() to get Variable that doesn't require grad."
            )
        )
    return tensor._value


def _cuda_array_interface(self: Tensor) -> dict[str, Any]:
    """How a GPU's memory is described to other libraries; a Tensor on the CPU has no such attribute."""
    if not isinstance(self._value, DeviceArray):
        raise AttributeMissingError(
            mirrored(f"Can't get __cuda_array_interface__ on non-CUDA tensor type: {self.type()}")
        )
    found: dict[str, Any] = exchange().interface(shared(self, "__cuda_array_interface__"))
    return found


for _name, _asked in (
    ("is_cuda", lambda self: self.device.type == "cuda"),
    ("is_cpu", lambda self: self.device.type == "cpu"),
    ("__cuda_array_interface__", _cuda_array_interface),
):
    setattr(Tensor, _name, property(_asked))
