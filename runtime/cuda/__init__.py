"""NVIDIA's GPUs: which there are, their streams and events, their memory. Named as in `torch.cuda`.

    driver.py   what is asked of a driver, and which driver answers; nvidia.py is NVIDIA's own
    devices.py  the GPUs, and which is current
    memory.py   buffers from a pool, in the order of a stream
    streams.py  streams and events

What a user finds here needs a GPU, but for `is_available`, `device_count` and the classes themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from types import TracebackType
from typing import Any

from retrograd.compiler.errors import CudaError, DeviceError, OutOfMemoryError
from retrograd.compiler.record import NamedTuple
from retrograd.runtime.cuda import code, devices, driver
from retrograd.runtime.cuda.memory import Statistics, readable
from retrograd.runtime.cuda.streams import (
    Event,
    Stream,
    StreamContext,
    current_stream,
    default_stream,
    set_stream,
    stream,
    synchronize,
    the_device,
)
from retrograd.runtime.random import generator

__all__ = [
    "CudaError", "Event", "OutOfMemoryError", "Stream", "StreamContext", "current_device", "current_stream",
    "default_stream", "device", "device_count", "device_of", "empty_cache", "get_arch_list",
    "get_device_capability", "get_device_name", "get_device_properties", "get_rng_state",
    "get_rng_state_all", "init", "initial_seed",
    "is_available", "is_bf16_supported", "is_initialized", "manual_seed", "manual_seed_all",
    "max_memory_allocated", "max_memory_reserved", "mem_get_info", "memory_allocated", "memory_reserved",
    "memory_stats", "memory_summary", "reset_max_memory_allocated", "reset_max_memory_reserved",
    "reset_peak_memory_stats", "seed", "seed_all", "set_device", "set_rng_state", "set_rng_state_all",
    "set_stream", "stream", "synchronize",
]  # fmt: skip


# ---- which there are ---------------------------------------------------------------------------------------


def is_available() -> bool:
    """Whether there is a GPU to be used: False where the bindings, the driver or the GPU is missing."""
    return device_count() > 0


def device_count() -> int:
    """How many GPUs there are; 0 where the bindings or the driver is missing."""
    try:
        return driver.current().device_count()
    except DeviceError:
        return 0


def is_initialized() -> bool:
    """Whether a GPU has been used."""
    return any("context" in vars(each) for each in devices.known())


def current_device() -> int:
    """The number of the GPU that "cuda" without a number is, in this thread."""
    return devices.get().index


def set_device(device: object) -> None:
    """Make a GPU the current one of this thread."""
    devices.choose(the_device(device).index)


class device:
    """`with device(1):` inside, that GPU is the current one of this thread; None changes nothing."""

    def __init__(self, device: object) -> None:
        self._chosen = None if device is None else the_device(device).index
        self._before: list[int] = []

    def __enter__(self) -> None:
        self._before.append(devices.current_index())
        if self._chosen is not None:
            devices.choose(self._chosen)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        devices.choose(self._before.pop())


class device_of(device):
    """`with device_of(tensor):` inside, the Tensor's GPU is current; that of the CPU changes nothing."""

    def __init__(self, tensor: Any) -> None:
        super().__init__(tensor.device if tensor.device.type == "cuda" else None)


# ---- what they are -----------------------------------------------------------------------------------------


class Properties(NamedTuple):
    """What a GPU is."""

    name: str
    major: int
    minor: int
    total_memory: int
    multi_processor_count: int
    warp_size: int
    max_threads_per_multi_processor: int
    shared_memory_per_block: int
    regs_per_multiprocessor: int
    L2_cache_size: int
    is_integrated: int
    is_multi_gpu_board: int


_ATTRIBUTES: Sequence[str] = (
    "COMPUTE_CAPABILITY_MAJOR", "COMPUTE_CAPABILITY_MINOR", "", "MULTIPROCESSOR_COUNT", "WARP_SIZE",
    "MAX_THREADS_PER_MULTIPROCESSOR", "MAX_SHARED_MEMORY_PER_BLOCK", "MAX_REGISTERS_PER_MULTIPROCESSOR",
    "L2_CACHE_SIZE", "INTEGRATED", "MULTI_GPU_BOARD",
)  # fmt: skip
"""The driver's names of all properties but the name; "" is the memory, which has a call of its own."""


def get_device_properties(device: object = None) -> Properties:
    """Name, memory and size of a GPU."""
    gpu = the_device(device)
    numbers = [
        gpu.driver.attribute(gpu.index, name) if name else gpu.driver.total_memory(gpu.index)
        for name in _ATTRIBUTES
    ]
    return Properties(gpu.driver.device_name(gpu.index), *numbers)


def get_device_name(device: object = None) -> str:
    """What the maker calls a GPU."""
    gpu = the_device(device)
    return gpu.driver.device_name(gpu.index)


def get_device_capability(device: object = None) -> tuple[int, int]:
    """Which instructions a GPU has: (9, 0) is sm_90."""
    return the_device(device).capability


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """Whether the current GPU computes with bfloat16: by conversions every GPU does, in hardware those from
    capability 8.0 on."""
    return is_available() and (including_emulation or get_device_capability() >= (8, 0))


def get_arch_list() -> list[str]:
    """The instructions that code is made for; where there is no GPU, none, as in PyTorch."""
    return code.architectures() if is_available() else []


def init() -> None:
    """Make the current GPU ready; the first use does it, too."""
    the_device().activate()


# ---- random numbers: drawn by the CPU's generator, and copied --------------------------------------------


def manual_seed(seed: int) -> None:
    """Begin the random numbers anew, from this seed."""
    generator.manual_seed(seed)


def seed() -> None:
    """Begin the random numbers anew, from a seed that nobody can foresee."""
    generator.default_generator.seed()


def initial_seed() -> int:
    """From what the random numbers began."""
    return generator.initial_seed()


manual_seed_all, seed_all = manual_seed, seed

_LATE = dict.fromkeys(
    ("get_rng_state", "get_rng_state_all", "set_rng_state", "set_rng_state_all"),
    "retrograd.runtime.functions.gpu_random",
)
"""What gives or takes Tensors, of which nothing is known here: from these modules, when it is asked for."""


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module 'retrograd.cuda' has no attribute {name!r}")
    return getattr(import_module(_LATE[name]), name)


# ---- their memory ------------------------------------------------------------------------------------------


def _statistics(device: object) -> Statistics:
    """What is counted of a GPU's memory; of no GPU, nothing, as a program prints that runs on both."""
    return the_device(device).pool.statistics if is_available() else Statistics()


def memory_allocated(device: object = None) -> int:
    """Bytes that tensors hold."""
    return _statistics(device).allocated


def max_memory_allocated(device: object = None) -> int:
    """Bytes that tensors held at most, since the last `reset_peak_memory_stats`."""
    return _statistics(device).most_allocated


def memory_reserved(device: object = None) -> int:
    """Bytes that were taken from the driver: those of tensors, and those kept for the next ones."""
    return _statistics(device).reserved


def max_memory_reserved(device: object = None) -> int:
    """Bytes that were taken from the driver at most, since the last `reset_peak_memory_stats`."""
    return _statistics(device).most_reserved


def memory_stats(device: object = None) -> dict[str, int]:
    """All of these, under PyTorch's names."""
    now = _statistics(device)
    return {
        "allocated_bytes.all.current": now.allocated,
        "allocated_bytes.all.peak": now.most_allocated,
        "reserved_bytes.all.current": now.reserved,
        "reserved_bytes.all.peak": now.most_reserved,
    }


def memory_summary(device: object = None, abbreviated: bool = False) -> str:
    """These statistics as a table to print."""
    gpu = the_device(device)
    now = gpu.pool.statistics
    lines = [f"Memory of {gpu.name}, {gpu.driver.device_name(gpu.index)}", f"{'':12}{'now':>16}{'peak':>16}"]
    for label, current, peak in (
        ("allocated", now.allocated, now.most_allocated),
        ("reserved", now.reserved, now.most_reserved),
    ):
        lines.append(f"{label:12}{readable(current):>16}{readable(peak):>16}")
    return "\n".join(lines)


def reset_peak_memory_stats(device: object = None) -> None:
    """Count what was held at most from now on."""
    the_device(device).pool.reset_peaks()


reset_max_memory_allocated = reset_max_memory_reserved = reset_peak_memory_stats


def empty_cache() -> None:
    """Give memory that no tensor holds back to the driver, on every GPU."""
    for each in devices.known():
        each.pool.empty()


def mem_get_info(device: object = None) -> tuple[int, int]:
    """Free bytes and all bytes of a GPU, as the driver has them."""
    gpu = the_device(device)
    gpu.activate()
    return gpu.driver.memory_info()
