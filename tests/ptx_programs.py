"""How tests run a compiled graph's PTX: its launches, one after the other, on the machine of `ptx_machine`.

Each buffer is an allocation of its own, so that no access can stray into a neighbour; those of the arena
share their bytes as planned. What the launches write, other than outputs and arena, is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from ptx_machine import Machine
from ptx_memory import ALIGNMENT, FILL, Memory
from ptx_text import Module, parse
from ptx_traffic import Traffic

from retrograd.compiler.ir.expressions import Buffer
from retrograd.compiler.ir.graph import Array
from retrograd.compiler.pipeline import CompiledGpu


def run(
    compiled: CompiledGpu,
    arrays: Sequence[Array],
    reading: Callable[[Module], Module] = lambda module: module,
    traffic: dict[str, Traffic] | None = None,
) -> list[Array]:
    """The outputs of the graph. `reading` is what an assembler makes of the module; `traffic` is filled with
    what each launch asks of memory, by its name."""
    memory = Memory()
    machine = Machine(reading(parse(compiled.ptx)), memory)
    program = compiled.loops
    given = dict(zip((*program.inputs, *program.constants), (*arrays, *compiled.constants), strict=True))
    storage = np.full(-(-program.arena_bytes // ALIGNMENT) * ALIGNMENT, FILL, np.uint8)
    places = {b: _given(memory, b, a) for b, a in given.items()}
    outputs = program.outputs[: len(compiled.graph.outputs)]
    places |= {b: memory.allocate(_bytes(b), b.name) for b in outputs}
    flags = program.outputs[len(outputs) :]
    places |= {b: memory.allocate(_bytes(b), b.name, fill=0) for b in flags}
    for b, offset in program.arena.items():
        end = offset + -(-_bytes(b) // ALIGNMENT) * ALIGNMENT
        places[b] = memory.map(storage[offset:end], _bytes(b), b.name)
    for launch in compiled.launches:
        _apart(launch.buffers, program.arena)
        if traffic is not None:
            machine.traffic = traffic[launch.name] = Traffic()
        machine.launch(launch.name, launch.grid, launch.block, [places[b] for b in launch.buffers])
    for b, a in given.items():
        assert memory.bytes(places[b], _bytes(b)).tobytes() == a.tobytes(), f"{b} was overwritten"
    read = [
        memory.bytes(places[b], _bytes(b)).view(t.dtype.numpy).reshape(t.shape)
        for b, t in zip(outputs, (n.type for n in compiled.graph.outputs), strict=True)
    ]
    for check, b in zip(compiled.checks, flags, strict=True):
        if memory.bytes(places[b], 1)[0]:
            raise check.error()
    return read


def _bytes(buffer: Buffer) -> int:
    return buffer.size * buffer.dtype.itemsize


def _given(memory: Memory, buffer: Buffer, array: Array) -> int:
    address = memory.allocate(_bytes(buffer), buffer.name)
    memory.bytes(address, _bytes(buffer))[:] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return address


def _apart(buffers: Sequence[Buffer], arena: dict[Buffer, int]) -> None:
    """No two buffers of a launch overlap, as its parameters say."""
    spans = sorted((arena[b], arena[b] + _bytes(b)) for b in buffers if b in arena)
    assert all(a[1] <= b[0] for a, b in pairwise(spans)), "buffers of one launch overlap"
