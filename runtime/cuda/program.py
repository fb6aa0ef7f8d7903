"""A graph as something to call on a GPU: arrays in, arrays out, as `runtime.program.NativeProgram` is for the
CPU.

In flow arrays of the GPU, and of the CPU what is small (numbers that are known only when the program runs);
out flow fresh arrays of the GPU. Nobody waits for the kernels. An index out of range is the error that it is
on the CPU, at the user's line, and comes up when the GPU is next waited for (`pending`).
"""

from __future__ import annotations

import ctypes
import os
import weakref
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.ir.graph import Graph, Node, Type
from retrograd.compiler.passes.checks import Check
from retrograd.runtime import precision
from retrograd.runtime.cuda import code, devices, starting
from retrograd.runtime.cuda.array import ALIGNMENT, CudaArray, made_links, uploaded
from retrograd.runtime.cuda.code import Kernels
from retrograd.runtime.cuda.devices import Device
from retrograd.runtime.native.fastcall import make
from retrograd.runtime.native.placing import Placing
from retrograd.runtime.native.ports import (
    AddressPort,
    ConstantPort,
    FlagPort,
    Held,
    Link,
    OutputPort,
    Port,
    UpdatePort,
    WeakPort,
    leaves_of,
)
from retrograd.runtime.native.returns import Returns
from retrograd.runtime.native.watching import Read, Watch
from retrograd.runtime.strided import Layout

if TYPE_CHECKING:
    from retrograd.compiler.ir import loops
    from retrograd.compiler.pipeline import CompiledGpu


def reads() -> list[Read]:
    """What native calls are made for: this precision, and the streams that are chosen."""
    return [Read(getattr, precision, "tf32", precision.tf32, "tf32"), devices.stream_read()]


def output_port(gpu: Device, kind: Type, holders: tuple[Link, ...] = ()) -> AddressPort:
    """A port for a new array of a type, in what leads to it."""
    source = gpu.pool.source(kind.nbytes, gpu.stream)
    return AddressPort((*holders, *made_links(gpu, kind)), kind.nbytes, source)


def further_outputs(kernels: Kernels) -> list[OutputPort]:
    """What a native call makes besides the outputs: the arena, if there is one; whether Python must do it."""
    arena = Type((kernels.code.arena_bytes,), dtypes.uint8)
    return [*([output_port(kernels.gpu, arena)] if arena.nbytes else []), FlagPort()]


class GpuProgram:
    """A compiled graph on a GPU. Compiling happens here and now; calling it is thread-safe."""

    def __init__(self, graph: Graph, gpu: Device, updates: Mapping[int, int] | None = None) -> None:
        """`updates` are outputs that will be written over inputs: where it is safe, they are at once, and the
        output is the input."""
        self.graph = graph
        self.gpu = gpu
        self._tf32 = precision.tf32
        self._asked = updates or {}
        self._kernels: Kernels = code.load(graph, gpu, self._asked)
        self._straight = {k: self._asked[k] for k in self._kernels.code.straight}
        self._given = [Layout.of(node.type.shape) for node in graph.inputs]
        self._made = [(node.type.nbytes, Layout.of(node.type.shape), node.dtype) for node in graph.outputs]
        """Of each output, the bytes, the layout and the dtype."""
        checks = self._kernels.code.checks
        self._flags = gpu.pending.watched(len(checks), _failures(self, checks)) if checks else None

    @cached_property
    def _compiled(self) -> CompiledGpu:
        """Every stage. Worked out again for code that came from the cache."""
        return code.compiled(self.graph, code.architecture(self.gpu), self._tf32, self._asked)

    @property
    def loops(self) -> loops.Program:
        """The launches, each a grid loop."""
        return self._compiled.loops

    @property
    def llvm(self) -> str:
        return self._compiled.llvm

    @property
    def assembly(self) -> str:
        """PTX, from which the driver makes machine code."""
        return self._compiled.ptx

    # ---- without Python ----

    @property
    def placings(self) -> Mapping[int, Placing]:
        """Inputs are in order."""
        return {}

    @property
    def straight(self) -> Collection[int]:
        """Outputs that are written where the inputs lie that they are updates of."""
        return self._straight

    @property
    def reads(self) -> list[Read]:
        """What native calls are made for."""
        return reads()

    def output(self, kind: Type, holder: Link | None) -> AddressPort | None:
        """A port for an output, in an object that leads to the array, or bare; None where Python must make
        it."""
        if not kind.nbytes:
            return None
        return output_port(self.gpu, kind, () if holder is None else (holder,))

    def bind(
        self,
        arguments: Sequence[Port],
        outputs: Sequence[OutputPort],
        returns: Returns,
        miss: Callable[..., Any],
        *,
        names: tuple[str, ...] = (),
        held: Sequence[Held] = (),
        guards: Watch | None = None,
    ) -> Callable[..., Any] | None:
        """A native callable that starts the kernels (see `fastcall`); None where only Python can: numbers of
        the CPU are uploaded, and checks waited for where the user wants every launch to be."""
        ports = [*leaves_of(arguments), *(port for _, port in held)]
        seen = [port for port in ports if not isinstance(port, ConstantPort | WeakPort)]
        updates = [port for port in outputs if isinstance(port, UpdatePort)]
        if not all(isinstance(port, AddressPort) for port in seen) or (self._flags and _blocking()):
            return None
        if not all(port.straight for port in updates):
            return None
        about = self._kernels.described(len(seen), len(outputs), self._flags)
        return make(
            self.graph.name,
            starting.entry(),
            arguments,
            [*outputs, *further_outputs(self._kernels)],
            0,
            miss,
            returns,
            names=names,
            held=held,
            guards=guards,
            context=ctypes.addressof(about),
            keep=(self, about),
        )

    # ---- by Python ----

    @property
    def _checks(self) -> tuple[Check, ...]:
        """What each flag means."""
        return self._compiled.checks

    def __call__(self, arrays: Sequence[Any]) -> list[CudaArray]:
        """The outputs, in order in memory. The inputs' types are those of the graph's inputs."""
        gpu, stream = self.gpu, self.gpu.stream
        entered, inputs = [], []
        for x, layout, node in zip(arrays, self._given, self.graph.inputs, strict=True):
            ready = type(x) is CudaArray and x.memory.gpu is gpu and x.layout == layout
            if not ready or x.memory.pointer % ALIGNMENT:
                x = self._entered(node, x)
            entered.append(x)
            x.memory.used_by(stream)
            inputs.append(x.memory.pointer if ready else x.pointer)
        allocate = gpu.pool.allocate
        straight = self._straight
        outputs = [
            entered[straight[k]] if k in straight else CudaArray(allocate(size, stream), layout, dtype)
            for k, (size, layout, dtype) in enumerate(self._made)
        ]
        if self._flags is not None:
            gpu.pending.look()
        self._kernels.run(inputs, [x.pointer for x in outputs], self._flags)
        if self._flags is not None and _blocking():
            gpu.wait(stream)
        return outputs

    def _entered(self, node: Node, x: Any) -> CudaArray:
        """An input as kernels take it."""
        if not isinstance(x, CudaArray):
            return uploaded(self.gpu, np.asarray(x, node.dtype.numpy))
        return x.to(self.gpu).ordered()


def _failures(program: GpuProgram, checks: Sequence[tuple[str, int | None]]) -> Callable[[int], Exception]:
    """The errors of a program's checks, at the user's lines as long as there is the program."""
    kept = weakref.ref(program)

    def failure(place: int) -> Exception:
        alive = kept()
        return (alive._checks[place] if alive else _without_line(checks[place])).error()

    return failure


def _without_line(check: tuple[str, int | None]) -> Check:
    op, size = check
    return Check(op, size, None)


def _blocking() -> bool:
    return os.environ.get("CUDA_LAUNCH_BLOCKING") == "1"


def run(kernels: Kernels, inputs: Sequence[int], outputs: Sequence[CudaArray]) -> None:
    """Start the kernels; if they check indices, wait, and raise the error of the first flag that is up, at
    the line that is running."""
    addresses, checks = [x.pointer for x in outputs], kernels.code.checks
    if not checks:
        kernels.run(inputs, addresses)
        return
    gpu = kernels.gpu
    flags = gpu.pending.take(len(checks))
    try:
        kernels.run(inputs, addresses, flags)
        gpu.wait(gpu.stream)
        up = np.flatnonzero(flags.bytes)
    finally:
        gpu.pending.give_back(flags)
    if len(up):
        raise _without_line(checks[up[0]]).error()
