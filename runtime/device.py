"""Devices, by name: the CPU, and NVIDIA's GPUs.

In flows what a user calls a device; out flows a `device`. Anybody may name one; `as_device` is for one that
is to be used, and asks whether it is there. A new kind of device is a new entry in `_KINDS`.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module

from retrograd.compiler.errors import ArgumentError, DeviceError, mirrored

_KINDS = ("cpu", "cuda")
_NAMED = (
    "cpu, cuda, ipu, xpu, mkldnn, opengl, opencl, ideep, hip, ve, fpga, maia, xla, lazy, vulkan, mps, meta, "
    "hpu, mtia, privateuseone"
)
"""The devices that PyTorch knows by name."""


@dataclass(frozen=True, slots=True, repr=False)
class device:
    """Where a Tensor's elements are: `device("cpu")`, `device("cuda:0")`, as `torch.device`."""

    type: str
    index: int | None = None

    def __post_init__(self) -> None:
        kind, _, number = self.type.partition(":")
        if number:
            if not number.isdecimal() or self.index is not None:
                raise DeviceError(
                    f"device({self.type!r})",
                    mirrored(f"Invalid device string: {self.type!r}"),
                    "it is written as 'cuda' or as 'cuda:0'",
                )
            object.__setattr__(self, "type", kind)
            object.__setattr__(self, "index", int(number))
        if kind not in _KINDS:
            raise DeviceError(
                f"device({self.type!r})",
                mirrored(f"Expected one of {_NAMED} device type at start of device string: {kind}"),
                f"the devices here are {', '.join(_KINDS)}",
            )

    def __repr__(self) -> str:
        place = "" if self.index is None else f", index={self.index}"
        return f"device(type={self.type!r}{place})"

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"


CPU = device("cpu")


def as_device(like: object) -> device:
    """The device that `like` names: a device, a name, the number of a GPU, or None for the CPU.

    Raises DeviceError for a GPU that is not there; it says what is missing.
    """
    if like is None or like is CPU:
        return CPU
    if isinstance(like, str):
        like = device(like)
    elif isinstance(like, int) and not isinstance(like, bool):
        like = device("cuda", like)
    if not isinstance(like, device):
        raise ArgumentError(f"device {like!r}", "a device is named by a string", "write 'cpu' or 'cuda'")
    if like.type == "cpu":
        return CPU
    devices = import_module("retrograd.runtime.cuda.devices")  # late: programs on the CPU do without
    found: device = devices.get(like.index).name
    return found
