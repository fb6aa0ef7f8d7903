"""Devices, by name. Tensors live on the CPU; asking for another device is an error that says so.

In flows what a user calls a device; out flows a `device`. A new kind of device is a new entry in `_KINDS`.
"""

from __future__ import annotations

from dataclasses import dataclass

from retrograd.compiler.errors import ArgumentError, DeviceError

_KINDS = ("cpu",)


@dataclass(frozen=True, slots=True, repr=False)
class device:
    """Where a Tensor's elements are: `device("cpu")`, as `torch.device`."""

    type: str
    index: int | None = None

    def __post_init__(self) -> None:
        kind, _, number = self.type.partition(":")
        if number:
            if not number.isdecimal() or self.index is not None:
                raise ArgumentError(f"device({self.type!r})", "it is written as 'cpu' or as 'cpu:0'")
            object.__setattr__(self, "type", kind)
            object.__setattr__(self, "index", int(number))
        if kind not in _KINDS:
            raise DeviceError(
                f"device({self.type!r})",
                f"the devices here are {', '.join(_KINDS)}",
                "leave the device out, or name one",
            )

    def __repr__(self) -> str:
        place = "" if self.index is None else f", index={self.index}"
        return f"device(type={self.type!r}{place})"

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"


CPU = device("cpu")


def as_device(like: object) -> device:
    """The device that `like` names: a device, a name, or None for the CPU."""
    if like is None or like is CPU:
        return CPU
    if isinstance(like, device):
        return like
    if isinstance(like, str):
        return device(like)
    raise ArgumentError(f"device {like!r}", "a device is named by a string", "write 'cpu'")
