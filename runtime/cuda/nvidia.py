"""The driver that NVIDIA installs, through NVIDIA's own bindings (`cuda-bindings`, the extra `cuda`).

`find()` looks once for the bindings, the driver's library and a device, and gives a `NvidiaDriver`, or the
DeviceError that says which of the three is missing and what to install. `NvidiaDriver` is `driver.Driver`,
method by method: each is one call of the API, whose status is looked at in `_do` and nowhere else.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from typing import Any, NoReturn

from retrograd.compiler.errors import CudaError, DeviceError, OutOfMemoryError
from retrograd.compiler.record import NamedTuple

_NON_BLOCKING = 1
"""Of a stream: it does not wait for the default stream."""
_NO_TIMING = 2
"""Of an event."""
_OF_KERNELS = frozenset(
    {
        "CUDA_ERROR_ASSERT", "CUDA_ERROR_HARDWARE_STACK_ERROR", "CUDA_ERROR_ILLEGAL_ADDRESS",
        "CUDA_ERROR_ILLEGAL_INSTRUCTION", "CUDA_ERROR_INVALID_ADDRESS_SPACE", "CUDA_ERROR_INVALID_PC",
        "CUDA_ERROR_LAUNCH_FAILED", "CUDA_ERROR_LAUNCH_TIMEOUT", "CUDA_ERROR_MISALIGNED_ADDRESS",
    }
)  # fmt: skip
"""Errors of a kernel that is running, which come up at whatever call is made next."""
_LATER = (
    "a kernel that was started earlier has failed, perhaps at another line; "
    "with CUDA_LAUNCH_BLOCKING=1 in the environment the error comes up where it is started"
)
_ENTRIES_OF = 12000
"""The version of the API whose functions native code calls."""
_LOG_BYTES = 16384
"""How much of what the assembler says is kept."""


class Entries(NamedTuple):
    """Addresses of functions of the driver's C API, for native code: they give 0 where all is well."""

    set_context: int
    """`cuCtxSetCurrent`."""
    launch: int
    """`cuLaunchKernel`."""
    launch_graph: int
    """`cuGraphLaunch`."""


class NvidiaDriver:
    """CUDA's driver API, initialised."""

    def __init__(self, api: Any) -> None:
        self._api = api
        self._not_ready = api.CUresult.CUDA_ERROR_NOT_READY
        self._do(api.cuInit(0))

    def _do(self, answer: tuple[Any, ...], log: str = "") -> Any:
        """What a call yields: nothing, a value or a tuple of values; the error where it failed."""
        status, *values = answer
        if int(status) != 0:
            self._fail(status, log)
        return values[0] if len(values) == 1 else tuple(values)

    def _fail(self, status: Any, log: str = "") -> NoReturn:
        name, text = (self._text(f(status)) for f in (self._api.cuGetErrorName, self._api.cuGetErrorString))
        family = OutOfMemoryError if status is self._api.CUresult.CUDA_ERROR_OUT_OF_MEMORY else CudaError
        advice = _LATER if name in _OF_KERNELS else log
        raise family(f"CUDA's driver says {name or int(status)}", text, advice)

    @staticmethod
    def _text(answer: tuple[Any, Any]) -> str:
        return answer[1].decode() if int(answer[0]) == 0 and answer[1] else ""

    # ---- devices and contexts ----

    def version(self) -> int:
        return int(self._do(self._api.cuDriverGetVersion()))

    def device_count(self) -> int:
        return int(self._do(self._api.cuDeviceGetCount()))

    def device_name(self, device: int) -> str:
        name: bytes = self._do(self._api.cuDeviceGetName(256, device))
        return name.partition(b"\0")[0].decode()

    def attribute(self, device: int, name: str) -> int:
        which = getattr(self._api.CUdevice_attribute, f"CU_DEVICE_ATTRIBUTE_{name}")
        return int(self._do(self._api.cuDeviceGetAttribute(which, device)))

    def total_memory(self, device: int) -> int:
        return int(self._do(self._api.cuDeviceTotalMem(device)))

    def retain_context(self, device: int) -> int:
        return int(self._do(self._api.cuDevicePrimaryCtxRetain(device)))

    def set_context(self, context: int) -> None:
        self._do(self._api.cuCtxSetCurrent(context))

    def synchronize(self) -> None:
        self._do(self._api.cuCtxSynchronize())

    # ---- streams ----

    def stream_create(self, priority: int) -> int:
        return int(self._do(self._api.cuStreamCreateWithPriority(_NON_BLOCKING, priority)))

    def stream_destroy(self, stream: int) -> None:
        self._do(self._api.cuStreamDestroy(stream))

    def stream_synchronize(self, stream: int) -> None:
        self._do(self._api.cuStreamSynchronize(stream))

    def stream_query(self, stream: int) -> bool:
        return self._ready(self._api.cuStreamQuery(stream))

    def stream_wait_event(self, stream: int, event: int) -> None:
        self._do(self._api.cuStreamWaitEvent(stream, event, 0))

    def _ready(self, answer: tuple[Any]) -> bool:
        """Whether what was asked about is done."""
        if answer[0] is self._not_ready:
            return False
        self._do(answer)
        return True

    # ---- events ----

    def event_create(self, timing: bool) -> int:
        return int(self._do(self._api.cuEventCreate(0 if timing else _NO_TIMING)))

    def event_destroy(self, event: int) -> None:
        self._do(self._api.cuEventDestroy(event))

    def event_record(self, event: int, stream: int) -> None:
        self._do(self._api.cuEventRecord(event, stream))

    def event_synchronize(self, event: int) -> None:
        self._do(self._api.cuEventSynchronize(event))

    def event_query(self, event: int) -> bool:
        return self._ready(self._api.cuEventQuery(event))

    def event_elapsed(self, start: int, end: int) -> float:
        return float(self._do(self._api.cuEventElapsedTime(start, end)))

    # ---- memory ----

    def allocate(self, nbytes: int, stream: int) -> int:
        return int(self._do(self._api.cuMemAllocAsync(nbytes, stream)))

    def free(self, pointer: int, stream: int) -> None:
        self._do(self._api.cuMemFreeAsync(pointer, stream))

    def memory_info(self) -> tuple[int, int]:
        free, total = self._do(self._api.cuMemGetInfo())
        return int(free), int(total)

    def allocate_pinned(self, nbytes: int) -> int:
        return int(self._do(self._api.cuMemHostAlloc(nbytes, 0)))

    def free_pinned(self, pointer: int) -> None:
        self._do(self._api.cuMemFreeHost(pointer))

    def copy_to_device(self, pointer: int, host_pointer: int, nbytes: int, stream: int) -> None:
        self._do(self._api.cuMemcpyHtoDAsync(pointer, host_pointer, nbytes, stream))

    def copy_to_host(self, host_pointer: int, pointer: int, nbytes: int, stream: int) -> None:
        self._do(self._api.cuMemcpyDtoHAsync(host_pointer, pointer, nbytes, stream))

    def copy_on_device(self, to: int, from_: int, nbytes: int, stream: int) -> None:
        self._do(self._api.cuMemcpyAsync(to, from_, nbytes, stream))

    def fill(self, pointer: int, byte: int, nbytes: int, stream: int) -> None:
        self._do(self._api.cuMemsetD8Async(pointer, byte, nbytes, stream))

    # ---- code ----

    def load_module(self, ptx: bytes) -> int:
        options = self._api.CUjit_option
        log = bytearray(_LOG_BYTES)
        answer = self._api.cuModuleLoadDataEx(
            ptx.rstrip(b"\0") + b"\0",
            2,
            [options.CU_JIT_ERROR_LOG_BUFFER, options.CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES],
            [log, _LOG_BYTES],
        )
        return int(self._do(answer, log.partition(b"\0")[0].decode(errors="replace").strip()))

    def unload_module(self, module: int) -> None:
        self._do(self._api.cuModuleUnload(module))

    def function(self, module: int, name: str) -> int:
        return int(self._do(self._api.cuModuleGetFunction(module, name.encode())))

    def launch(
        self,
        function: int,
        grid: tuple[int, int, int],
        block: tuple[int, int, int],
        stream: int,
        parameters: Sequence[int],
    ) -> None:
        values = (ctypes.c_uint64 * len(parameters))(*parameters)
        first, size = ctypes.addressof(values), ctypes.sizeof(ctypes.c_uint64)
        places = (ctypes.c_uint64 * len(parameters))(*(first + k * size for k in range(len(parameters))))
        self._do(self._api.cuLaunchKernel(function, *grid, *block, 0, stream, ctypes.addressof(places), 0))

    def entries(self) -> Entries:
        version = min(self.version(), _ENTRIES_OF)
        names = ("cuCtxSetCurrent", "cuLaunchKernel", "cuGraphLaunch")
        found = [self._do(self._api.cuGetProcAddress(name.encode(), version, 0)) for name in names]
        return Entries(*(int(address) for address, _ in found))

    # ---- graphs ----

    def capture_begin(self, stream: int) -> None:
        mode = self._api.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        self._do(self._api.cuStreamBeginCapture(stream, mode))

    def capture_end(self, stream: int) -> int:
        return int(self._do(self._api.cuStreamEndCapture(stream)))

    def instantiate(self, graph: int) -> int:
        return int(self._do(self._api.cuGraphInstantiate(graph, 0)))

    def launch_graph(self, executable: int, stream: int) -> None:
        self._do(self._api.cuGraphLaunch(executable, stream))

    def destroy_graph(self, graph: int) -> None:
        self._do(self._api.cuGraphDestroy(graph))

    def destroy_executable(self, executable: int) -> None:
        self._do(self._api.cuGraphExecDestroy(executable))


# ---- finding it --------------------------------------------------------------------------------------------


@cache
def _found() -> NvidiaDriver | tuple[str, str]:
    """The machine's driver, or what is missing and what to do."""
    try:
        api = import_module("cuda.bindings.driver")
    except ImportError:
        return (
            "the package cuda-bindings, through which NVIDIA's driver is called, is not installed",
            "install it: pip install 'retrograd[cuda]'",
        )
    try:
        found = NvidiaDriver(api)
    except CudaError as error:
        return f"there is no device that can be used: {error}", "see what nvidia-smi says"
    except RuntimeError:  # the bindings' own, where they cannot load the library
        return (
            "the driver's library (libcuda.so.1, on Windows nvcuda.dll) is not on this machine",
            "install NVIDIA's display driver; no CUDA toolkit is needed",
        )
    if found.device_count() == 0:
        return "the driver finds no device", "see what nvidia-smi says"
    return found


def find() -> NvidiaDriver:
    """The machine's driver, ready to be used; a DeviceError where there is none."""
    found = _found()
    if isinstance(found, tuple):
        why, advice = found
        raise DeviceError("a CUDA device is asked for", why, advice)
    return found
