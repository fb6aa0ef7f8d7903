"""Code of a GPU: a graph in, kernels that can be started out.

`load(graph, gpu)` compiles for the GPU's instructions, or takes what was compiled before from the cache, by
the graph's fingerprint; the driver makes machine code of the PTX. `Kernels.run` starts one after the other,
given the addresses of inputs and outputs. Kernels that were started before with the same addresses are a
graph of the driver's, which starts them all at once.

`Code` is what is kept in the cache.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from retrograd.compiler.errors import DeviceError
from retrograd.compiler.fingerprint import fingerprint
from retrograd.compiler.ir.graph import Array, Graph
from retrograd.compiler.record import NamedTuple
from retrograd.runtime import precision
from retrograd.runtime.cuda.devices import Device
from retrograd.runtime.cuda.memory import Buffer
from retrograd.runtime.cuda.pending import Flags
from retrograd.runtime.cuda.starting import Graphs, Launch, description
from retrograd.runtime.native import cache

if TYPE_CHECKING:
    from retrograd.compiler.pipeline import CompiledGpu

_ALIGNMENT = 256
_LAUNCHES = 3
"""So many launches are worth a graph."""
_GRAPHS = 16
"""Sets of addresses that one program remembers."""


class Step(NamedTuple):
    """One launch."""

    kernel: str
    grid: int
    block: int
    parameters: list[tuple[str, int]]
    """What each address is of: an input, constant or output and its number, or a place in the arena."""


class Code(NamedTuple):
    """What is needed of a compiled graph."""

    steps: list[Step]
    arena_bytes: int
    checks: list[tuple[str, int | None]]
    """What each flag that follows the graph's outputs is about: the op, and how long the axis is."""
    straight: list[int]
    """Outputs that may be written where the inputs lie that they are updates of."""
    constants: list[Array]
    ptx: str

    @staticmethod
    def of(compiled: CompiledGpu) -> Code:
        """The code of a graph that has gone through the compiler."""
        program = compiled.loops
        place = {buffer: ("arena", offset) for buffer, offset in program.arena.items()}
        for kind, buffers in (
            ("input", program.inputs),
            ("constant", program.constants),
            ("output", program.outputs),
        ):
            place |= {buffer: (kind, k) for k, buffer in enumerate(buffers)}
        steps = [
            Step(launch.name, launch.grid, launch.block, [place[b] for b in launch.buffers])
            for launch in compiled.launches
        ]
        constants = [np.array(c, order="C") for c in compiled.constants]
        checks = [(check.op, check.size) for check in compiled.checks]
        straight = sorted(compiled.straight)
        return Code(steps, program.arena_bytes, checks, straight, constants, compiled.ptx)

    def packed(self) -> bytes:
        """All of it as bytes: a line of JSON, the constants, the PTX."""
        described = [(array.dtype.str, array.shape) for array in self.constants]
        head = json.dumps([self.steps, self.arena_bytes, self.checks, self.straight, described])
        return b"".join([head.encode(), b"\n", *(a.tobytes() for a in self.constants), self.ptx.encode()])

    @staticmethod
    def unpacked(content: bytes) -> Code:
        head, _, rest = content.partition(b"\n")
        steps, arena_bytes, checks, straight, described = json.loads(head)
        constants, start = [], 0
        for kind, shape in described:
            count = int(np.prod(shape, dtype=np.int64))
            array = np.frombuffer(rest, kind, count, start).reshape(shape).copy()
            constants.append(array)
            start += array.nbytes
        taken = [
            Step(name, grid, block, [(kind, k) for kind, k in parameters])
            for name, grid, block, parameters in steps
        ]
        about = [(op, size) for op, size in checks]
        return Code(taken, arena_bytes, about, straight, constants, rest[start:].decode())


def load(graph: Graph, gpu: Device, updates: Mapping[int, int] | None = None) -> Kernels:
    """The kernels of a graph, ready to be started on a GPU. `updates` are outputs that will be written over
    inputs."""
    return Kernels(gpu, _code(graph, architecture(gpu), precision.tf32, updates or {}))


def _code(graph: Graph, arch: str, tf32: bool, updates: Mapping[int, int]) -> Code:
    name = fingerprint(graph)
    key = cache.key_of(name, arch, tf32, sorted(updates.items())) if name is not None else None
    content = cache.get(key) if key is not None else None
    if content is not None:
        return Code.unpacked(content)
    code = Code.of(compiled(graph, arch, tf32, updates))
    if key is not None:
        cache.put(key, code.packed())
    return code


def compiled(graph: Graph, arch: str, tf32: bool, updates: Mapping[int, int]) -> CompiledGpu:
    """Every stage of a graph."""
    pipeline = import_module("retrograd.compiler.pipeline")  # late: a warm start does without
    found: CompiledGpu = pipeline.compile_for_gpu(graph, arch, tf32=tf32, updates=updates)
    return found


def architectures() -> list[str]:
    """The instructions that code can be made for, the oldest first."""
    known = import_module("retrograd.compiler.backends.ptx").ARCHITECTURES
    return sorted(known, key=lambda name: int(name.removeprefix("sm_")))


def architecture(gpu: Device) -> str:
    """What to compile for: the newest instructions known here that the GPU has."""
    known = [int(name.removeprefix("sm_")) for name in architectures()]
    major, minor = gpu.capability
    fitting = [number for number in known if number <= 10 * major + minor]
    if not fitting:
        raise DeviceError(
            f"{gpu.driver.device_name(gpu.index)} ({gpu.name}) has the instructions of sm_{major}{minor}",
            f"code is made for sm_{known[0]} and newer",
        )
    return f"sm_{fitting[-1]}"


class _Addresses(NamedTuple):
    """What kernels are started with."""

    inputs: Sequence[int]
    outputs: Sequence[int]
    arena: int
    flags: Sequence[int]


class Kernels:
    """The kernels of one graph on one GPU. Thread-safe."""

    def __init__(self, gpu: Device, code: Code) -> None:
        self.gpu = gpu
        self.code = code
        gpu.activate()
        module = gpu.driver.load_module(code.ptx.encode()) if code.steps else 0
        self._launches = [
            (gpu.driver.function(module, s.kernel), (s.grid, 1, 1), (s.block, 1, 1), s.parameters)
            for s in code.steps
        ]
        self._constants, self._held = _uploaded(gpu, code.constants)
        self._graphs: OrderedDict[tuple[int, ...], int | None] = OrderedDict()
        self._started: Graphs | None = None
        self._lock = threading.Lock()

    def run(self, inputs: Sequence[int], outputs: Sequence[int], flags: Flags | None = None) -> None:
        """Start them in the current stream. Addresses are multiples of 16; none of the outputs may overlap
        another address's memory, but those that are `straight` the inputs that they are updates of. `flags`
        are those of the checks."""
        gpu = self.gpu
        gpu.activate()
        stream = gpu.stream
        held = gpu.pool.allocate(self.code.arena_bytes, stream) if self.code.arena_bytes else None
        arena = held.pointer if held is not None else 0
        addresses = _Addresses(inputs, outputs, arena, tuple(flags.addresses) if flags else ())
        if len(self._launches) < _LAUNCHES:
            self._launch(stream, addresses)
            return
        with self._lock:
            executable = self._graph(addresses)
            if executable is not None:
                gpu.driver.launch_graph(executable, stream)
                return
        self._launch(stream, addresses)

    def _launch(self, stream: int, addresses: _Addresses) -> None:
        launch, arena = self.gpu.driver.launch, addresses.arena
        inputs, outputs = addresses.inputs, [*addresses.outputs, *addresses.flags]
        start = {"input": inputs, "constant": self._constants, "output": outputs}
        for function, grid, block, given in self._launches:
            parameters = [arena + k if kind == "arena" else start[kind][k] for kind, k in given]
            launch(function, grid, block, stream, parameters)

    def _graph(self, addresses: _Addresses) -> int | None:
        """The launches with these addresses as one, if they come again."""
        key = (*addresses.inputs, *addresses.outputs, addresses.arena, *addresses.flags)
        if key not in self._graphs:
            self._graphs[key] = None
            if len(self._graphs) > _GRAPHS:
                self._forget()
            return None
        self._graphs.move_to_end(key)
        found = self._graphs[key]
        if found is None:
            found = self._graphs[key] = self._captured(addresses)
            if self._started is not None:
                self._started.add(key, found)
        return found

    def described(self, inputs: int, outputs: int, flags: Flags | None) -> Any:
        """The description by which native code starts them in the current stream; its pointers are the
        inputs, the outputs, the arena if there is one, and a flag. `flags` are those of the checks."""
        fixed = flags.addresses if flags else []
        flag = inputs + outputs + bool(self.code.arena_bytes)

        def parameter(kind: str, k: int) -> tuple[int, int]:
            match kind:
                case "input":
                    return k, 0
                case "output":
                    return (inputs + k, 0) if k < outputs else (-1, fixed[k - outputs])
                case "constant":
                    return -1, self._constants[k]
                case _:
                    return inputs + outputs, k

        launches = [
            Launch(function, grid[0], block[0], [parameter(kind, k) for kind, k in given])
            for function, grid, block, given in self._launches
        ]
        many = len(launches) >= _LAUNCHES
        with self._lock:
            if many and self._started is None:
                self._started = Graphs(flag)
                for key, executable in self._graphs.items():
                    if executable is not None:
                        self._started.add(key, executable)
        self.gpu.activate()
        entries, context = self.gpu.driver.entries(), self.gpu.context
        return description(entries, context, self.gpu.stream, flag, self._started, fixed, launches)

    def _captured(self, addresses: _Addresses) -> int:
        driver = self.gpu.driver
        stream = self.gpu.once("capture", lambda: driver.stream_create(0))
        with self.gpu.capturing:
            driver.capture_begin(stream)
            try:
                self._launch(stream, addresses)
            finally:
                graph = driver.capture_end(stream)
        executable = driver.instantiate(graph)
        driver.destroy_graph(graph)
        return executable

    def _forget(self) -> None:
        """The addresses that were used the longest time ago."""
        _, executable = self._graphs.popitem(last=False)
        if executable is not None:
            if self._started is not None:
                self._started.drop(executable)
            self.gpu.driver.synchronize()
            self.gpu.driver.destroy_executable(executable)


def _uploaded(gpu: Device, arrays: Sequence[Array]) -> tuple[list[int], Buffer]:
    """Where the arrays lie on the GPU, and what keeps them there."""
    places, total = [], 0
    for array in arrays:
        places.append(total)
        total += -(-array.nbytes // _ALIGNMENT) * _ALIGNMENT
    memory = gpu.pool.allocate(total, 0)
    if not total:
        return places, memory
    for array, place in zip(arrays, places, strict=True):
        if array.nbytes:
            gpu.driver.copy_to_device(memory.pointer + place, array.ctypes.data, array.nbytes, 0)
    gpu.driver.stream_synchronize(0)
    return [memory.pointer + place for place in places], memory
