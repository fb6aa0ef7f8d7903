"""Devices, by name: the CPU, and NVIDIA's GPUs.

In flows what a user calls a device; out flows a `device`. Anybody may name one; `as_device` is for one that
is to be used, and asks whether it is there. `with device("cuda"):` and `set_default_device` say where new
Tensors are that name none. A new kind of device is a new entry in `_KINDS`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import import_module
from typing import Any, cast

from retrograd.compiler.errors import ArgumentError, AttributeMissingError, DeviceError, mirrored

_KINDS = ("cpu", "cuda")
_NAMED = (
    "cpu, cuda, ipu, xpu, mkldnn, opengl, opencl, ideep, hip, ve, fpga, maia, xla, lazy, vulkan, mps, meta, "
    "hpu, mtia, privateuseone"
)
"""The devices that PyTorch knows by name."""


class device:
    """Where a Tensor's elements are: `device("cpu")`, `device("cuda:0")`, as `torch.device`. Equal devices
    are one object."""

    __slots__ = ("index", "type")

    type: str
    index: int | None

    def __new__(cls, type: str | int, index: int | None = None) -> device:
        """Of a GPU its number will do."""
        known = _KNOWN.get((type, index))
        return known if known is not None else _named(type, index)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeMissingError(mirrored(f"attribute '{name}' of 'torch.device' objects is not writable"))

    def __reduce__(self) -> tuple[object, ...]:
        return (device, (self.type, self.index))

    def __enter__(self) -> device:
        """In the block, new Tensors are here unless another device is named. It holds for all threads."""
        _OUTER.append(_default)
        _become(self)
        return self

    def __exit__(self, *error: object) -> None:
        _become(_OUTER.pop())

    def __repr__(self) -> str:
        place = "" if self.index is None else f", index={self.index}"
        return f"device(type={self.type!r}{place})"

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"


_WRITTEN = re.compile(r"[a-zA-Z_]+(:(0|[1-9][0-9]*))?")
"""How a device is written."""
_KNOWN: dict[tuple[object, object], device] = {}
"""The devices by what has named them."""


def _named(given: object, index: object) -> device:
    """The device of these words, which are checked."""
    if index is not None and (not isinstance(index, int) or index < 0):
        wrong = f"device(): argument 'index' (position 2) must be int, not {type(index).__name__}"
        negative = "Device index must not be negative"
        raise ArgumentError(mirrored(negative if isinstance(index, int) else wrong))
    kind, number = _parsed(given, index)
    made = object.__new__(device)
    object.__setattr__(made, "type", kind)
    object.__setattr__(made, "index", number)
    found = _KNOWN.setdefault((kind, number), made)
    if type(given) is str:
        _KNOWN[given, index] = found
    return found


def _parsed(given: Any, index: Any) -> tuple[str, int | None]:
    if isinstance(given, int) and not isinstance(given, bool):
        available = import_module("retrograd.runtime.cuda").is_available()  # late: as below
        if not available:
            raise DeviceError(mirrored("Cannot access accelerator device when none is available."))
        return "cuda", given
    if not given:
        raise DeviceError("device('')", mirrored("Device string must not be empty"))
    kind, _, number = given.partition(":")
    if not _WRITTEN.fullmatch(given) or (number and index is not None):
        raise DeviceError(
            f"device({given!r})",
            mirrored(f"Invalid device string: {given!r}"),
            "it is written as 'cuda' or as 'cuda:0'",
        )
    return named_kind(kind), int(number) if number else index


def named_kind(kind: str) -> str:
    """The kind of devices itself, if there is one of that name here."""
    if kind not in _KINDS:
        raise DeviceError(
            f"device({kind!r})",
            mirrored(f"Expected one of {_NAMED} device type at start of device string: {kind}"),
            f"the devices here are {', '.join(_KINDS)}",
        )
    return kind


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


# ---- where new Tensors are ---------------------------------------------------------------------------------

_default: device | None = None
"""Where new Tensors are whose device is not named, if somebody has said so; else on the CPU."""
_OUTER: list[device | None] = []
"""What it was outside the blocks that one is in."""
DEPENDENT: list[Callable[[], None]] = []
"""Called when new Tensors are elsewhere from now on: what rests on where they were is no longer true."""


def default_device() -> device:
    """Where new Tensors are whose device is not named, as `torch.get_default_device`."""
    return CPU if _default is None else as_device(_default)


def set_default_device(device: object) -> None:
    """Have new Tensors whose device is not named made on this one; on the CPU again by None."""
    if isinstance(device, str):
        device = _named(device, None)
    elif isinstance(device, int) and not isinstance(device, bool):
        device = _named("cuda", device)
    _become(cast("Any", device))


def default_is_here() -> bool:
    """Whether new Tensors are on the CPU."""
    return _default is None or _default.type == "cpu"


def chosen(like: object) -> object:
    """The device that was named, or the default."""
    return _default if like is None else like


def _become(new: device | None) -> None:
    global _default
    before, _default = _default, new
    if any(each is not None and each.type != "cpu" for each in (before, _default)):
        for forget in DEPENDENT:
            forget()
