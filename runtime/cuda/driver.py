"""What is asked of a GPU's driver, and which driver answers.

`Driver` is the protocol: contexts, streams, events, memory, modules, launches, graphs. Every handle and
every address is an int. A call that fails raises `CudaError` (`OutOfMemoryError` where memory ran out) with
the driver's name for the error and its text. `nvidia.NvidiaDriver` is the real one; whoever brings another
one (a test, above all) lends it with `use`:

    with driver.use(SimulatedDriver()):
        x = retrograd.ones(3, device="cuda")

A call that the runtime is to make in future becomes a method here first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from retrograd.runtime.cuda import nvidia
from retrograd.runtime.cuda.nvidia import Entries

Dimensions = tuple[int, int, int]
"""Of a grid in blocks, or of a block in threads: x, y, z."""


class Driver(Protocol):
    """A GPU's driver: what of CUDA's driver API the runtime calls. Streams, events and memory belong to the
    context that is current in the calling thread. Two drivers are equal only if they are one object."""

    # ---- devices and contexts ----

    def version(self) -> int:
        """The CUDA version that the driver speaks: 1000 · major + 10 · minor."""

    def device_count(self) -> int:
        """How many devices there are; they are numbered from 0."""

    def device_name(self, device: int) -> str:
        """What the maker calls the device."""

    def attribute(self, device: int, name: str) -> int:
        """A property, by its name in CUDA's API without CU_DEVICE_ATTRIBUTE_:
        `COMPUTE_CAPABILITY_MAJOR`, `MULTIPROCESSOR_COUNT`, …"""

    def total_memory(self, device: int) -> int:
        """The device's memory in bytes."""

    def retain_context(self, device: int) -> int:
        """The device's primary context, which other libraries use too."""

    def set_context(self, context: int) -> None:
        """Make the context current in this thread."""

    def synchronize(self) -> None:
        """Wait until everything that the current context was asked for is done."""

    # ---- streams: each does its work in order; 0 is the default stream ----

    def stream_create(self, priority: int) -> int:
        """A stream that does not wait for the default stream; lower numbers go first."""

    def stream_destroy(self, stream: int) -> None:
        """The stream is not used again; what it was asked for is still done."""

    def stream_synchronize(self, stream: int) -> None:
        """Wait until all work of the stream is done."""

    def stream_query(self, stream: int) -> bool:
        """Whether all work of the stream is done."""

    def stream_wait_event(self, stream: int, event: int) -> None:
        """What the stream is asked for from now on waits for the event."""

    # ---- events ----

    def event_create(self, timing: bool) -> int:
        """An event; with `timing` it notes when it happens."""

    def event_destroy(self, event: int) -> None: ...

    def event_record(self, event: int, stream: int) -> None:
        """The event happens when the work that the stream has now is done."""

    def event_synchronize(self, event: int) -> None:
        """Wait for the event."""

    def event_query(self, event: int) -> bool:
        """Whether the event has happened; True if it was never recorded."""

    def event_elapsed(self, start: int, end: int) -> float:
        """Milliseconds from one event to another."""

    # ---- memory: what a stream allocates, copies and frees happens in the stream's order ----

    def allocate(self, nbytes: int, stream: int) -> int:
        """Memory of the device, `nbytes` > 0, aligned to 256 bytes; OutOfMemoryError where there is none."""

    def free(self, pointer: int, stream: int) -> None:
        """Give memory back when the work that the stream has now is done."""

    def memory_info(self) -> tuple[int, int]:
        """Free bytes and all bytes of the current context's device."""

    def allocate_pinned(self, nbytes: int) -> int:
        """Memory of the host that the device reaches by itself, at the same address, so that copies need not
        wait."""

    def free_pinned(self, pointer: int) -> None: ...

    def copy_to_device(self, pointer: int, host_pointer: int, nbytes: int, stream: int) -> None:
        """To the device. Memory that is not pinned may be used again when the call returns, pinned memory
        when the stream has come to the copy."""

    def copy_to_host(self, host_pointer: int, pointer: int, nbytes: int, stream: int) -> None:
        """To the host. The bytes are there when the stream has come to the copy."""

    def copy_on_device(self, to: int, from_: int, nbytes: int, stream: int) -> None:
        """From one place of a device, or of two, to another."""

    def fill(self, pointer: int, byte: int, nbytes: int, stream: int) -> None:
        """Set every byte."""

    # ---- code ----

    def load_module(self, ptx: bytes) -> int:
        """Have PTX made into machine code for the current context's device. What the assembler says is part
        of the error."""

    def unload_module(self, module: int) -> None: ...

    def function(self, module: int, name: str) -> int:
        """The kernel of this name."""

    def launch(
        self, function: int, grid: Dimensions, block: Dimensions, stream: int, parameters: Sequence[int]
    ) -> None:
        """Start a kernel whose parameters are addresses."""

    def entries(self) -> Entries:
        """Where native code calls the driver."""

    # ---- graphs: launches and copies that are started together ----

    def capture_begin(self, stream: int) -> None:
        """From now on this thread's work for the stream is noted and not done."""

    def capture_end(self, stream: int) -> int:
        """The graph of what was noted."""

    def instantiate(self, graph: int) -> int:
        """The graph made ready to be launched any number of times."""

    def launch_graph(self, executable: int, stream: int) -> None: ...

    def destroy_graph(self, graph: int) -> None: ...

    def destroy_executable(self, executable: int) -> None: ...


_lent: list[Driver] = []
LEAVING: list[Callable[[Driver], None]] = []
"""Called with a driver that is lent no more: what was kept for it goes."""


@contextmanager
def use(driver: Driver) -> Iterator[Driver]:
    """Inside, this driver answers, in place of the machine's own. What was made with another driver must not
    be used meanwhile."""
    _lent.append(driver)
    try:
        yield driver
    finally:
        _lent.remove(driver)
        for forget in LEAVING:
            forget(driver)


def current() -> Driver:
    """The driver that answers; a DeviceError that says what is missing where there is none."""
    return _lent[-1] if _lent else nvidia.find()
