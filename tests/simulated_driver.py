"""A GPU's driver without a GPU: `runtime.cuda.driver.Driver`, executed by `ptx_machine`.

Device memory has addresses that no host pointer has; kernels run from their real PTX; a stream's work is
done when somebody waits for it (`simulated_streams`). What a real driver would let pass, or answer with a
crash later on, is a `Fault` here: memory of another device, memory after it was freed, work of two streams in
no order, a handle that is not alive, a context that is not current. `leaks()` says what nobody gave back. A
method that `Driver` gains is needed here.
"""

from __future__ import annotations

import ctypes
import itertools
import mmap
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ptx_machine import Machine
from ptx_memory import ALIGNMENT, FIRST_ADDRESS, Allocation, Memory
from ptx_text import Fault, parse
from simulated_device import DEVICE_SPAN, MOST_THREADS, Device, Devices, locked
from simulated_streams import Does, Stream, Touch

from retrograd.compiler.errors import CudaError, OutOfMemoryError
from retrograd.runtime.cuda.nvidia import Entries

Dimensions = tuple[int, int, int]
FAILED = 999
"""CUDA_ERROR_UNKNOWN."""


@dataclass(eq=False)
class _Loaded:
    device: int
    machine: Machine
    threads: dict[str, int]


@dataclass(eq=False)
class _Kernel:
    module: _Loaded
    name: str


@dataclass(eq=False)
class _Graph:
    work: tuple[tuple[str, Does], ...]


@dataclass(eq=False)
class _Executable:
    work: tuple[tuple[str, Does], ...]


@locked
class SimulatedDriver(Devices):
    """A driver of `devices` devices with so much memory each."""

    def __init__(self, devices: int = 1, memory: int = 1 << 30, capability: tuple[int, int] = (9, 0)) -> None:
        super().__init__(devices, memory, capability)
        self._leaving: set[int] = set()
        """Memory that a stream was asked to free."""
        self._pinned: dict[int, tuple[int, mmap.mmap]] = {}
        self.launches: list[str] = []
        """The kernels that have run, by name."""
        self.natively = 0
        """How often native code has started something."""
        word, number = ctypes.c_uint64, ctypes.c_uint32
        self._functions = (
            _entry(self.set_context, word),
            _entry(self._launched, word, *[number] * 7, word, word, word),
            _entry(self._graph_launched, word, word),
        )
        """Alive as long as somebody may call them."""
        self._entries = Entries(*(ctypes.cast(f, ctypes.c_void_p).value or 0 for f in self._functions))

    # ---- memory ----

    def allocate(self, nbytes: int, stream: int) -> int:
        here, into = self._here(), self._stream(stream)
        if nbytes <= 0 or into.noted is not None:
            raise Fault(f"{nbytes} bytes are allocated" + " for a graph" * (into.noted is not None))
        if here.used + nbytes > self._total:
            self._finish_frees(here)
        if here.used + nbytes > self._total:
            raise OutOfMemoryError("CUDA's driver says CUDA_ERROR_OUT_OF_MEMORY", "out of memory")
        address = here.memory.allocate(nbytes, f"{nbytes} bytes")
        here.used += nbytes
        found = here.memory.find(address, nbytes)
        self._ask(into, "the allocation", lambda: [Touch(found, 0, nbytes, True)])
        return address

    def _finish_frees(self, here: Device) -> None:
        for stream in here.streams.values():
            if stream.noted is None:
                self._schedule.finish(stream)

    def free(self, pointer: int, stream: int) -> None:
        memory, into = self._memory(pointer, 1), self._stream(stream)
        found = memory.find(pointer, 1)
        if found.address != pointer:
            raise Fault(f"{pointer:#x} is freed, where no allocation begins")
        if into.noted is not None:
            raise Fault("memory is freed in a graph")
        self._leaving.add(pointer)
        device = self._devices[(pointer - FIRST_ADDRESS) // DEVICE_SPAN]

        def does() -> Iterable[Touch]:
            memory.free(pointer)
            device.used -= found.nbytes
            self._leaving.discard(pointer)
            return [Touch(found, 0, found.nbytes, True)]

        self._ask(into, "freeing", does)

    def memory_info(self) -> tuple[int, int]:
        return self._total - self._here().used, self._total

    def allocate_pinned(self, nbytes: int) -> int:
        self._here()
        pages = mmap.mmap(-1, -(-max(nbytes, 1) // ALIGNMENT) * ALIGNMENT)
        address = ctypes.addressof(ctypes.c_char.from_buffer(pages))
        self._pinned[address] = nbytes, pages
        for device in self._devices:
            device.memory.lend(address, np.frombuffer(pages, np.uint8), nbytes, "pinned memory")
        return address

    def free_pinned(self, pointer: int) -> None:
        if pointer not in self._pinned:
            raise Fault(f"{pointer:#x} is no pinned memory, or no longer")
        for device in self._devices:
            self._finish_frees(device)
            device.memory.free(pointer)
        del self._pinned[pointer]

    def copy_to_device(self, pointer: int, host_pointer: int, nbytes: int, stream: int) -> None:
        memory, into = self._memory(pointer, nbytes), self._stream(stream)
        self._on_host(host_pointer)
        pinned = self._is_pinned(host_pointer, nbytes)
        if into.noted is not None and not pinned:
            raise Fault("a graph is to copy from memory that is not pinned")
        staged = None if pinned else ctypes.string_at(host_pointer, nbytes)

        def does() -> Iterable[Touch]:
            data = ctypes.string_at(host_pointer, nbytes) if staged is None else staged
            memory.bytes(pointer, nbytes)[:] = np.frombuffer(data, np.uint8)
            return [_touch(memory, pointer, nbytes, True)]

        self._ask(into, "a copy to the device", does)

    def copy_to_host(self, host_pointer: int, pointer: int, nbytes: int, stream: int) -> None:
        memory, into = self._memory(pointer, nbytes), self._stream(stream)
        self._on_host(host_pointer)

        def does() -> Iterable[Touch]:
            ctypes.memmove(host_pointer, memory.bytes(pointer, nbytes).tobytes(), nbytes)
            return [_touch(memory, pointer, nbytes, False)]

        self._ask(into, "a copy to the host", does)

    def copy_on_device(self, to: int, from_: int, nbytes: int, stream: int) -> None:
        target, source, into = self._memory(to, nbytes), self._memory(from_, nbytes), self._stream(stream)

        def does() -> Iterable[Touch]:
            target.bytes(to, nbytes)[:] = source.bytes(from_, nbytes).copy()
            return [_touch(source, from_, nbytes, False), _touch(target, to, nbytes, True)]

        self._ask(into, "a copy on the device", does)

    def fill(self, pointer: int, byte: int, nbytes: int, stream: int) -> None:
        memory, into = self._memory(pointer, nbytes), self._stream(stream)

        def does() -> Iterable[Touch]:
            memory.bytes(pointer, nbytes)[:] = byte
            return [_touch(memory, pointer, nbytes, True)]

        self._ask(into, "filling", does)

    def _memory(self, pointer: int, nbytes: int) -> Memory:
        """The memory in which a pointer lies, whose bytes are there now."""
        place = (pointer - FIRST_ADDRESS) // DEVICE_SPAN
        if not 0 <= place < len(self._devices):
            raise Fault(f"{pointer:#x} is no address of a device")
        memory = self._devices[place].memory
        if nbytes:
            found = memory.find(pointer, nbytes)
            if found.address in self._leaving:
                raise Fault(f"{found.name} at {found.address:#x} are used after they were freed")
        return memory

    def _on_host(self, pointer: int) -> None:
        if pointer >= FIRST_ADDRESS or pointer <= 0:
            raise Fault(f"{pointer:#x} is no address of the host")

    def _is_pinned(self, pointer: int, nbytes: int) -> bool:
        return any(a <= pointer and pointer + nbytes <= a + n for a, (n, _) in self._pinned.items())

    # ---- code ----

    def load_module(self, ptx: bytes) -> int:
        here, text = self._here(), ptx.rstrip(b"\0").decode()
        target = re.search(r"^\.target sm_(\d+)", text, re.MULTILINE)
        own = self._attributes["COMPUTE_CAPABILITY_MAJOR"] * 10 + self._attributes["COMPUTE_CAPABILITY_MINOR"]
        if target is None or int(target[1]) > own:
            raise CudaError("CUDA's driver says CUDA_ERROR_NO_BINARY_FOR_GPU", f"the device is sm_{own}")
        machine = Machine(parse(text), here.memory)
        threads = {
            f.name: f.threads or MOST_THREADS for f in machine.module.functions.values() if f.is_kernel
        }
        return self._new(_Loaded(here.index, machine, threads))

    def unload_module(self, module: int) -> None:
        found = self._handle(module, _Loaded)
        self.synchronize()
        found.machine.unload()
        self._alive = {
            h: x
            for h, x in self._alive.items()
            if h != module and not (isinstance(x, _Kernel) and x.module is found)
        }

    def function(self, module: int, name: str) -> int:
        found = self._handle(module, _Loaded)
        if name not in found.threads:
            raise CudaError("CUDA's driver says CUDA_ERROR_NOT_FOUND", f"no kernel is called {name}")
        return self._new(_Kernel(found, name))

    def launch(
        self, function: int, grid: Dimensions, block: Dimensions, stream: int, parameters: Sequence[int]
    ) -> None:
        kernel, into = self._handle(function, _Kernel), self._stream(stream)
        if kernel.module.device != into.device:
            raise Fault(f"{kernel.name} was loaded for another device")
        if grid[1:] != (1, 1) or block[1:] != (1, 1) or grid[0] < 1:
            raise Fault(f"{kernel.name} is launched on {grid} blocks of {block} threads")
        if not 0 < block[0] <= min(MOST_THREADS, kernel.module.threads[kernel.name]):
            raise Fault(f"{kernel.name} takes no block of {block[0]} threads")
        given = [int(p) for p in parameters]
        for pointer in given:
            if pointer and not self._is_pinned(pointer, 1):
                self._memory(pointer, 1)

        def does() -> Iterable[Touch]:
            self.launches.append(kernel.name)
            touched = kernel.module.machine.launch(kernel.name, grid[0], block[0], given)
            for allocation, accesses in touched.items():
                for (start, end), writes in zip(accesses.spans(), (False, True)):
                    if end > start:
                        yield Touch(allocation, start, end, writes)

        self._ask(into, kernel.name, does)

    def entries(self) -> Entries:
        """What native code calls is this class: what goes wrong there is told when Python does it again."""
        return self._entries

    def _launched(self, function: int, *given: int) -> None:
        *sizes, _, stream, places, _ = given
        kernel = self._handle(function, _Kernel)
        count = len(kernel.module.machine.module.functions[kernel.name].parameters)
        pointers = (ctypes.c_uint64 * count).from_address(places or 1) if count else ()
        values = [ctypes.c_uint64.from_address(p).value for p in pointers]
        grid, block = (sizes[0], sizes[1], sizes[2]), (sizes[3], sizes[4], sizes[5])
        self.launch(function, grid, block, stream or 0, values)
        self.natively += 1

    # ---- graphs ----

    def capture_begin(self, stream: int) -> None:
        found = self._stream(stream)
        if found.noted is not None or found.handle == 0:
            raise CudaError("CUDA's driver says CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED")
        found.noted = []

    def capture_end(self, stream: int) -> int:
        noted = self._stream(stream).noted
        if noted is None:
            raise CudaError("CUDA's driver says CUDA_ERROR_ILLEGAL_STATE")
        for each in self._here().streams.values():
            if each.noted is noted:
                each.noted = None
        return self._new(_Graph(tuple(noted)))

    def instantiate(self, graph: int) -> int:
        return self._new(_Executable(self._handle(graph, _Graph).work))

    def launch_graph(self, executable: int, stream: int) -> None:
        work = self._handle(executable, _Executable).work
        self._ask(
            self._stream(stream), "a graph", lambda: itertools.chain.from_iterable(does() for _, does in work)
        )

    def _graph_launched(self, executable: int, stream: int) -> None:
        self.launch_graph(executable, stream)
        self.natively += 1

    def destroy_graph(self, graph: int) -> None:
        self._handle(graph, _Graph)
        del self._alive[graph]

    def destroy_executable(self, executable: int) -> None:
        self._handle(executable, _Executable)
        del self._alive[executable]

    def _ask(self, stream: Stream, name: str, does: Does) -> None:
        self._schedule.ask(stream, name, does)

    # ---- for tests ----

    def leaks(self) -> list[str]:
        """What is still held, after all work is done."""
        for device in self._devices:
            for stream in device.streams.values():
                self._schedule.finish(stream)
        variables = {
            a for x in self._alive.values() if isinstance(x, _Loaded) for a in x.machine.constants.values()
        }
        memory = [
            f"{a.name} at {a.address:#x}"
            for d in self._devices
            for a in d.memory
            if a.address not in variables and a.address not in self._pinned
        ]
        things = [type(x).__name__.strip("_").lower() for x in self._alive.values()]
        return memory + [f"pinned {n} bytes" for n, _ in self._pinned.values()] + things


def _entry(method: Callable[..., None], *types: Any) -> Any:
    """A method as a function of C, which gives 0 where it raises nothing."""

    def call(*given: int) -> int:
        try:
            method(*given)
        except Exception:
            return FAILED
        return 0

    return ctypes.CFUNCTYPE(ctypes.c_int, *types)(call)


def _touch(memory: Memory, pointer: int, nbytes: int, writes: bool) -> Touch:
    if nbytes == 0:
        return Touch(_NOTHING, 0, 0, False)
    found = memory.find(pointer, nbytes)
    start = pointer - found.address
    return Touch(found, start, start + nbytes, writes)


_NOTHING = Allocation(0, 0, "nothing", np.empty(0, np.uint8))
