"""How tests run a compiled graph's PTX on a device: by any driver, NVIDIA's or the simulated one.

`run` loads the module, copies inputs, starts the launches, copies outputs back and leaves nothing behind.
`real` is NVIDIA's driver, where there is a GPU. `lent` has a simulated one answer for a while, and demands
that no tensor's memory is held when it ends.
"""

from __future__ import annotations

import functools
import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from simulated_driver import SimulatedDriver

from retrograd.compiler.errors import DeviceError
from retrograd.compiler.ir.expressions import Buffer
from retrograd.compiler.ir.graph import Array
from retrograd.compiler.pipeline import CompiledGpu
from retrograd.runtime.cuda import devices, nvidia
from retrograd.runtime.cuda.code import Kernels
from retrograd.runtime.cuda.driver import Driver, use

_FILL = 0xFF
"""What memory holds that nothing was written to."""


@functools.cache
def real() -> Driver | str:
    """NVIDIA's driver, or why there is none."""
    try:
        return nvidia.find()
    except DeviceError as error:
        return str(error)


@contextmanager
def lent(driver: SimulatedDriver) -> Iterator[SimulatedDriver]:
    """Inside, the driver answers; at the end, if all went well, nobody holds memory."""
    try:
        with use(driver):
            yield driver
            assert_nothing_is_held()
    finally:
        gc.unfreeze()


def assert_nothing_is_held() -> None:
    """Every GPU's allocated bytes are those of programs and numbers, which last as long as the GPU does."""
    if any(map(_held, devices.known())):
        gc.collect()  # tapes and frames may go round in circles
        gc.freeze()  # what is left need not be looked through again
    assert {str(gpu.name): _held(gpu) for gpu in devices.known() if _held(gpu)} == {}


def _held(gpu: devices.Device) -> int:
    """Bytes that somebody holds besides the GPU itself."""
    numbers: int = sum(x.memory.nbytes for x in gpu.numbers.kept.values())
    return gpu.pool.statistics.allocated - numbers - sum(map(_kept, gpu.made.values()))


def _kept(made: object) -> int:
    kernels = made if isinstance(made, Kernels) else getattr(made, "kernels", None)
    return kernels._held.nbytes if isinstance(kernels, Kernels) else 0


def architecture(driver: Driver, device: int = 0) -> str:
    """The device's, or sm_90, which newer ones run too."""
    major, minor = (driver.attribute(device, f"COMPUTE_CAPABILITY_{part}") for part in ("MAJOR", "MINOR"))
    return f"sm_{min(10 * major + minor, 90)}"


def run(driver: Driver, compiled: CompiledGpu, arrays: Sequence[Array], device: int = 0) -> list[Array]:
    """The outputs of the graph."""
    driver.set_context(driver.retain_context(device))
    program = compiled.loops
    given = dict(zip((*program.inputs, *program.constants), (*arrays, *compiled.constants), strict=True))
    places = {b: _filled(driver, _bytes(b)) for b in (*given, *program.outputs)}
    for flag in program.outputs[len(compiled.graph.outputs) :]:
        driver.fill(places[flag], 0, _bytes(flag), 0)
    arena = _filled(driver, program.arena_bytes)
    places |= {b: arena + offset for b, offset in program.arena.items()}
    held = {b: np.ascontiguousarray(a) for b, a in given.items()}
    for b, a in held.items():
        if a.nbytes:
            driver.copy_to_device(places[b], a.ctypes.data, a.nbytes, 0)
    module = driver.load_module(compiled.ptx.encode() + b"\0")
    for launch in compiled.launches:
        function = driver.function(module, launch.name)
        pointers = [places[b] for b in launch.buffers]
        driver.launch(function, (launch.grid, 1, 1), (launch.block, 1, 1), 0, pointers)
    found = [_fetched(driver, places[b], _bytes(b)) for b in program.outputs]
    for b in (*given, *program.outputs):
        driver.free(places[b], 0)
    driver.free(arena, 0)
    driver.synchronize()
    driver.unload_module(module)
    outputs = [a.view(n.dtype.numpy).reshape(n.shape) for a, n in zip(found, compiled.graph.outputs)]
    for check, flag in zip(compiled.checks, found[len(outputs) :], strict=True):
        if flag[0]:
            raise check.error()
    return outputs


def _bytes(buffer: Buffer) -> int:
    return buffer.size * buffer.dtype.itemsize


def _filled(driver: Driver, nbytes: int) -> int:
    address = driver.allocate(max(nbytes, 1), 0)
    driver.fill(address, _FILL, max(nbytes, 1), 0)
    return address


def _fetched(driver: Driver, address: int, nbytes: int) -> Array:
    out = np.empty(nbytes, np.uint8)
    if nbytes:
        driver.copy_to_host(out.ctypes.data, address, nbytes, 0)
    return out
