"""Which driver answers, and what is said where none can.

The bindings are played by small objects: each leaves out one thing that a machine may lack.
"""

from __future__ import annotations

import ctypes
import enum
import sys
from types import SimpleNamespace
from typing import Any, cast

import pytest

from retrograd.compiler.errors import CudaError, DeviceError, OutOfMemoryError
from retrograd.runtime import cuda
from retrograd.runtime.cuda import driver, nvidia


class CUresult(enum.IntEnum):
    CUDA_SUCCESS = 0
    CUDA_ERROR_OUT_OF_MEMORY = 2
    CUDA_ERROR_NO_DEVICE = 100
    CUDA_ERROR_NOT_READY = 600
    CUDA_ERROR_ILLEGAL_ADDRESS = 700


def bindings(initialised: CUresult = CUresult.CUDA_SUCCESS, devices: int = 1, **calls: Any) -> Any:
    """The driver's API as `cuda-bindings` gives it, as far as a test needs it."""
    return SimpleNamespace(
        CUresult=CUresult,
        cuInit=lambda flags: (initialised,),
        cuGetErrorName=lambda status: (CUresult.CUDA_SUCCESS, status.name.encode()),
        cuGetErrorString=lambda status: (CUresult.CUDA_SUCCESS, b"what it means"),
        cuDeviceGetCount=lambda: (CUresult.CUDA_SUCCESS, devices),
        **calls,
    )


def no_library(flags: int) -> tuple[CUresult]:
    raise RuntimeError("Failed to dlopen libcuda.so.1")


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Puts bindings, or None, in the place of those installed."""

    def put(api: object) -> None:
        monkeypatch.setitem(sys.modules, "cuda.bindings.driver", cast("Any", api))
        monkeypatch.setattr(nvidia, "_found", nvidia._found.__wrapped__)

    return put


@pytest.mark.parametrize(
    ("api", "missing"),
    [
        (
            None,
            "the package cuda-bindings, .* is not installed; install it: pip install 'retrograd\\[cuda\\]'",
        ),
        (
            SimpleNamespace(**{**vars(bindings()), "cuInit": no_library}),
            "driver's library .*install NVIDIA's",
        ),
        (bindings(CUresult.CUDA_ERROR_NO_DEVICE), "CUDA_ERROR_NO_DEVICE; what it means"),
        (bindings(devices=0), "the driver finds no device"),
    ],
    ids=["package", "library", "initialisation", "device"],
)
def test_what_is_missing_is_said(machine: Any, api: object, missing: str) -> None:
    machine(api)
    assert not cuda.is_available()
    with pytest.raises(DeviceError, match=missing):
        driver.current()


def test_a_machine_with_all_of_it_has_a_driver(machine: Any) -> None:
    machine(bindings())
    assert cuda.is_available()
    assert driver.current().device_count() == 1


def test_a_lent_driver_answers_in_place_of_the_machines(machine: Any) -> None:
    machine(None)
    lent = nvidia.NvidiaDriver(bindings(devices=3))
    with driver.use(lent):
        assert driver.current() is lent
        assert cuda.is_available()
    assert not cuda.is_available()


def test_a_failing_call_says_what_the_driver_says() -> None:
    failing = nvidia.NvidiaDriver(
        bindings(
            cuMemAllocAsync=lambda nbytes, stream: (CUresult.CUDA_ERROR_OUT_OF_MEMORY, None),
            cuStreamSynchronize=lambda stream: (CUresult.CUDA_ERROR_NO_DEVICE,),
        )
    )
    with pytest.raises(OutOfMemoryError, match="CUDA_ERROR_OUT_OF_MEMORY; what it means"):
        failing.allocate(1 << 40, 0)
    with pytest.raises(CudaError, match="CUDA_ERROR_NO_DEVICE"):
        failing.stream_synchronize(0)


def test_a_kernel_that_failed_is_said_to_be_an_earlier_one() -> None:
    api = bindings(cuCtxSynchronize=lambda: (CUresult.CUDA_ERROR_ILLEGAL_ADDRESS,))
    words = r"ILLEGAL_ADDRESS; what it means; a kernel that was started earlier .*CUDA_LAUNCH_BLOCKING=1"
    with pytest.raises(CudaError, match=words):
        nvidia.NvidiaDriver(api).synchronize()


def test_work_that_is_not_done_is_no_error() -> None:
    api = bindings(cuStreamQuery=lambda stream: (CUresult(0 if stream else 600),))
    assert nvidia.NvidiaDriver(api).stream_query(1)
    assert not nvidia.NvidiaDriver(api).stream_query(0)


def test_the_assemblers_log_is_part_of_the_error() -> None:
    def load(image: bytes, count: int, keys: list[str], values: list[Any]) -> tuple[CUresult, None]:
        assert image == b".version 7.8\n\0"
        values[0][:8] = b"line 12;"
        return CUresult.CUDA_ERROR_NO_DEVICE, None

    options = SimpleNamespace(CU_JIT_ERROR_LOG_BUFFER=5, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES=6)
    api = bindings(CUjit_option=options, cuModuleLoadDataEx=load)
    with pytest.raises(CudaError, match="line 12;"):
        nvidia.NvidiaDriver(api).load_module(b".version 7.8\n")


def test_a_launch_passes_the_addresses_of_its_addresses() -> None:
    seen: list[int] = []

    def launch(function: int, *rest: int) -> tuple[CUresult]:
        places = (ctypes.c_uint64 * 2).from_address(rest[8])
        seen.extend(ctypes.c_uint64.from_address(place).value for place in places)
        return (CUresult.CUDA_SUCCESS,)

    nvidia.NvidiaDriver(bindings(cuLaunchKernel=launch)).launch(7, (1, 1, 1), (32, 1, 1), 0, [1 << 40, 77])
    assert seen == [1 << 40, 77]


def test_native_code_is_told_where_the_drivers_functions_are() -> None:
    asked: list[tuple[bytes, int]] = []

    def address(name: bytes, version: int, flags: int) -> tuple[CUresult, int, int]:
        asked.append((name, version))
        return CUresult.CUDA_SUCCESS, 4096 + len(asked), 0

    api = bindings(cuGetProcAddress=address, cuDriverGetVersion=lambda: (CUresult.CUDA_SUCCESS, 13000))
    assert nvidia.NvidiaDriver(api).entries() == (4097, 4098, 4099)
    assert asked == [(b"cuCtxSetCurrent", 12000), (b"cuLaunchKernel", 12000), (b"cuGraphLaunch", 12000)]
