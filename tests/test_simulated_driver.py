"""The driver without a GPU does what CUDA's promises, as late as it may, and objects to what breaks them."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import numpy as np
import pytest
from ptx_text import Fault
from simulated_driver import SimulatedDriver
from test_ptx_machine import MINE, kernel

from retrograd.compiler.errors import CudaError, OutOfMemoryError
from retrograd.compiler.ir.graph import Array
from retrograd.runtime.cuda.driver import Driver, current, use

ADD_ONE = kernel(MINE + "ld.global.b32 %r5, [%rd11];\nadd.s32 %r5, %r5, 1;\nst.global.b32 [%rd11], %r5;")
COUNT, BYTES = 64, 256


@dataclass
class Gpu:
    """A device with 64 numbers, and the kernel that adds 1 to each."""

    driver: SimulatedDriver
    numbers: int
    kernel: int

    def put(self, values: Array, stream: int = 0, to: int | None = None) -> None:
        self.driver.copy_to_device(
            self.numbers if to is None else to, values.ctypes.data, values.nbytes, stream
        )

    def get(self, into: Array, stream: int = 0, from_: int | None = None) -> None:
        place = self.numbers if from_ is None else from_
        self.driver.copy_to_host(into.ctypes.data, place, into.nbytes, stream)

    def add_one(self, stream: int = 0, to: int | None = None) -> None:
        self.driver.launch(self.kernel, (2, 1, 1), (32, 1, 1), stream, [self.numbers if to is None else to])


def started(driver: SimulatedDriver, device: int = 0) -> Gpu:
    driver.set_context(driver.retain_context(device))
    module = driver.load_module(ADD_ONE.encode() + b"\0")
    return Gpu(driver, driver.allocate(BYTES, 0), driver.function(module, "k"))


@pytest.fixture
def gpu() -> Gpu:
    return started(SimulatedDriver())


def zeros() -> Array:
    return np.zeros(COUNT, "i4")


def test_it_is_a_driver(gpu: Gpu) -> None:
    methods = {name for name in vars(Driver) if not name.startswith("_")}
    assert methods <= set(dir(gpu.driver))
    with use(gpu.driver):
        assert current() is gpu.driver


def test_a_kernel_runs_when_somebody_waits(gpu: Gpu) -> None:
    found = zeros() - 7
    gpu.put(np.arange(COUNT, dtype="i4"))
    gpu.add_one()
    gpu.get(found)
    assert (found == -7).all()
    assert not gpu.driver.launches
    gpu.driver.stream_synchronize(0)
    assert found.tolist() == list(range(1, COUNT + 1))
    assert gpu.driver.launches == ["k"]


def test_ordinary_memory_is_read_at_once_and_pinned_memory_later(gpu: Gpu) -> None:
    ordinary, found = zeros(), zeros()
    pinned_at = gpu.driver.allocate_pinned(BYTES)
    pinned = np.ctypeslib.as_array((ctypes.c_int32 * COUNT).from_address(pinned_at))
    for values, expected in ((ordinary, 0), (pinned, 5)):
        values[:] = 0
        gpu.put(values)
        values[:] = 5
        gpu.get(found)
        gpu.driver.synchronize()
        assert (found == expected).all()
    gpu.driver.free_pinned(pinned_at)
    with pytest.raises(Fault, match="no pinned memory, or no longer"):
        gpu.driver.free_pinned(pinned_at)


def test_queries_see_progress_in_the_end(gpu: Gpu) -> None:
    event = gpu.driver.event_create(timing=False)
    assert gpu.driver.event_query(event)
    gpu.put(zeros())
    gpu.driver.event_record(event, 0)
    assert not gpu.driver.event_query(event)
    assert sum(not gpu.driver.stream_query(0) for _ in range(9)) < 9
    assert gpu.driver.event_query(event)
    assert gpu.driver.stream_query(0)


def test_events_note_when_they_happen(gpu: Gpu) -> None:
    first, last, plain = (gpu.driver.event_create(timing) for timing in (True, True, False))
    gpu.driver.event_record(first, 0)
    gpu.put(zeros())
    gpu.driver.event_record(last, 0)
    with pytest.raises(CudaError, match="NOT_READY"):
        gpu.driver.event_elapsed(first, last)
    gpu.driver.event_synchronize(last)
    assert gpu.driver.event_elapsed(first, last) > 0
    with pytest.raises(Fault, match="note no time"):
        gpu.driver.event_elapsed(first, plain)


# ---- several streams ---------------------------------------------------------------------------------------


def test_streams_in_no_order_are_told(gpu: Gpu) -> None:
    other = gpu.driver.stream_create(0)
    gpu.driver.synchronize()
    gpu.put(zeros())
    gpu.add_one(other)
    with pytest.raises(Fault, match=r"in one stream, .* in another, and neither waits for the other"):
        gpu.driver.synchronize()


@pytest.mark.parametrize("host_waits", [False, True])
def test_streams_that_wait_for_each_other_are_in_order(gpu: Gpu, host_waits: bool) -> None:
    other, event, found = gpu.driver.stream_create(0), gpu.driver.event_create(timing=False), zeros()
    gpu.put(zeros())
    gpu.add_one()
    gpu.driver.event_record(event, 0)
    if host_waits:
        gpu.driver.event_synchronize(event)
    else:
        gpu.driver.stream_wait_event(other, event)
    gpu.driver.event_destroy(event)
    gpu.add_one(other)
    gpu.get(found, other)
    gpu.driver.stream_synchronize(other)
    assert (found == 2).all()


def test_streams_may_read_at_the_same_time_and_use_other_memory(gpu: Gpu) -> None:
    other, mine, found = gpu.driver.stream_create(0), zeros(), zeros()
    gpu.put(zeros() + 3)
    gpu.driver.synchronize()
    more = gpu.driver.allocate(BYTES, other)
    gpu.put(mine, other, more)
    gpu.add_one(other, more)
    gpu.get(found, other)
    gpu.get(mine)
    gpu.driver.synchronize()
    assert (found == 3).all()
    assert (mine == 3).all()


# ---- graphs ------------------------------------------------------------------------------------------------


def test_a_graph_is_noted_once_and_done_often(gpu: Gpu) -> None:
    stream, helper, found = gpu.driver.stream_create(0), gpu.driver.stream_create(0), zeros()
    gpu.put(zeros())
    gpu.driver.synchronize()
    gpu.driver.capture_begin(stream)
    gpu.add_one(stream)
    event = gpu.driver.event_create(timing=False)
    gpu.driver.event_record(event, stream)
    gpu.driver.stream_wait_event(helper, event)
    gpu.add_one(helper)
    with pytest.raises(Fault, match="noted for a graph"):
        gpu.driver.stream_synchronize(stream)
    with pytest.raises(Fault, match="not pinned"):
        gpu.put(zeros(), stream)
    graph = gpu.driver.capture_end(stream)
    executable = gpu.driver.instantiate(graph)
    gpu.driver.destroy_graph(graph)
    assert not gpu.driver.launches
    for _ in range(3):
        gpu.driver.launch_graph(executable, stream)
    gpu.get(found, stream)
    gpu.driver.stream_synchronize(stream)
    assert (found == 6).all()
    gpu.driver.destroy_executable(executable)
    with pytest.raises(Fault, match="no executable, or no longer"):
        gpu.driver.launch_graph(executable, stream)


# ---- what is wrong -----------------------------------------------------------------------------------------


def test_memory_is_gone_after_it_was_freed(gpu: Gpu) -> None:
    gpu.put(zeros())
    gpu.driver.free(gpu.numbers, 0)
    with pytest.raises(Fault, match="used after they were freed"):
        gpu.add_one()
    gpu.driver.synchronize()
    with pytest.raises(Fault, match="in no allocation"):
        gpu.get(zeros())


def test_pointers_of_one_side_are_no_pointers_of_the_other(gpu: Gpu) -> None:
    values = zeros()
    with pytest.raises(Fault, match="no address of a device"):
        gpu.get(values, from_=values.ctypes.data)
    with pytest.raises(Fault, match="no address of a device"):
        gpu.add_one(to=values.ctypes.data)
    with pytest.raises(Fault, match="no address of the host"):
        gpu.driver.copy_to_host(gpu.numbers, gpu.numbers, 4, 0)


def test_a_kernel_that_leaves_its_memory_is_told(gpu: Gpu) -> None:
    gpu.driver.launch(gpu.kernel, (3, 1, 1), (32, 1, 1), 0, [gpu.numbers])
    with pytest.raises(Fault, match=r"lie in no allocation; 256 bytes .*\(k, block 2, thread 0\)"):
        gpu.driver.synchronize()


def test_a_device_has_so_much_memory_and_no_more() -> None:
    gpu = started(SimulatedDriver(memory=1 << 20))
    with pytest.raises(OutOfMemoryError, match="OUT_OF_MEMORY"):
        gpu.driver.allocate(1 << 20, 0)
    large = gpu.driver.allocate(1 << 19, 0)
    gpu.driver.free(large, 0)
    assert gpu.driver.allocate(1 << 19, 0) != large
    free, total = gpu.driver.memory_info()
    assert (free, total) == (total // 2 - BYTES, 1 << 20)


def test_devices_have_memory_and_streams_of_their_own() -> None:
    driver = SimulatedDriver(devices=2)
    first, second = started(driver, 0), started(driver, 1)
    values, found = np.arange(COUNT, dtype="i4"), zeros()
    with pytest.raises(Fault, match="was loaded for another device"):
        first.add_one()
    second.put(values)
    second.driver.synchronize()
    driver.set_context(driver.retain_context(0))
    first.driver.copy_on_device(first.numbers, second.numbers, BYTES, 0)
    first.add_one()
    first.get(found)
    driver.synchronize()
    assert found.tolist() == (values + 1).tolist()


def test_modules_are_for_a_device_and_have_kernels(gpu: Gpu) -> None:
    with pytest.raises(CudaError, match="NO_BINARY_FOR_GPU"):
        gpu.driver.load_module(ADD_ONE.replace("sm_90", "sm_100").encode())
    module = gpu.driver.load_module(ADD_ONE.encode())
    with pytest.raises(CudaError, match="no kernel is called g"):
        gpu.driver.function(module, "g")
    function = gpu.driver.function(module, "k")
    gpu.driver.unload_module(module)
    with pytest.raises(Fault, match="no kernel, or no longer"):
        gpu.driver.launch(function, (1, 1, 1), (32, 1, 1), 0, [gpu.numbers])
    with pytest.raises(Fault, match="no block of 2048 threads"):
        gpu.driver.launch(gpu.kernel, (1, 1, 1), (2048, 1, 1), 0, [gpu.numbers])


def test_what_nobody_gives_back_is_told(gpu: Gpu) -> None:
    event = gpu.driver.event_create(timing=False)
    assert gpu.driver.leaks() == [f"256 bytes at {gpu.numbers:#x}", "loaded", "kernel", "event"]
    gpu.driver.event_destroy(event)
    gpu.driver.free(gpu.numbers, 0)
    assert gpu.driver.leaks() == ["loaded", "kernel"]
