"""Simulated devices: contexts, streams, events, and the handles by which they go.

The part of `simulated_driver.SimulatedDriver` in which nothing is computed.
"""

from __future__ import annotations

import functools
import itertools
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from ptx_memory import FIRST_ADDRESS, Memory
from ptx_text import Fault
from simulated_streams import Event, Schedule, Stream

from retrograd.compiler.errors import CudaError

_T = TypeVar("_T")
DEVICE_SPAN = 1 << 44
"""From the first address of one device to that of the next."""
MOST_THREADS = 1024
"""Of a block."""
ATTRIBUTES = {
    "MULTIPROCESSOR_COUNT": 4,
    "WARP_SIZE": 32,
    "MAX_THREADS_PER_BLOCK": MOST_THREADS,
    "MAX_THREADS_PER_MULTIPROCESSOR": 2048,
    "MAX_SHARED_MEMORY_PER_BLOCK": 48 << 10,
    "MAX_REGISTERS_PER_MULTIPROCESSOR": 1 << 16,
    "L2_CACHE_SIZE": 1 << 20,
    "INTEGRATED": 0,
    "MULTI_GPU_BOARD": 0,
    "CLOCK_RATE": 1000000,
    "MEMORY_CLOCK_RATE": 1000000,
    "GLOBAL_MEMORY_BUS_WIDTH": 64,
}


@dataclass(eq=False)
class Device:
    """One GPU."""

    index: int
    memory: Memory
    streams: dict[int, Stream]
    used: int = 0


def locked(cls: type[_T]) -> type[_T]:
    """One thread at a time, in every public method."""
    for name, method in list(vars(cls).items()):
        if callable(method) and not name.startswith("_"):
            setattr(cls, name, _held(method))
    return cls


def _held(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(self: Any, *arguments: Any, **named: Any) -> Any:
        with self._lock:
            return method(self, *arguments, **named)

    return call


@locked
class Devices:
    """Devices that are alike, their streams and events."""

    def __init__(self, devices: int = 1, memory: int = 1 << 30, capability: tuple[int, int] = (9, 0)) -> None:
        self._lock = threading.RLock()
        self._total = memory
        self._attributes = {
            "COMPUTE_CAPABILITY_MAJOR": capability[0],
            "COMPUTE_CAPABILITY_MINOR": capability[1],
            **ATTRIBUTES,
        }
        self._handles = itertools.count(0x1000)
        self._devices = [
            Device(k, Memory(FIRST_ADDRESS + k * DEVICE_SPAN, alignment=256), {0: Stream(0, k)})
            for k in range(devices)
        ]
        self._current = threading.local()
        self._contexts: dict[int, int] = {}
        self._alive: dict[int, Any] = {}
        """Events, modules, functions, graphs and executables by handle."""
        self._schedule = Schedule()

    # ---- devices and contexts ----

    def version(self) -> int:
        return 12080

    def device_count(self) -> int:
        return len(self._devices)

    def device_name(self, device: int) -> str:
        return f"simulated GPU {self._devices[device].index}"

    def attribute(self, device: int, name: str) -> int:
        if name not in self._attributes:
            raise Fault(f"the attribute {name} is not known here")
        return self._attributes[name]

    def total_memory(self, device: int) -> int:
        return self._total

    def retain_context(self, device: int) -> int:
        handle = 0xC0 + self._devices[device].index
        self._contexts[handle] = device
        return handle

    def set_context(self, context: int) -> None:
        if context not in self._contexts:
            raise Fault(f"{context:#x} is no context")
        self._current.device = self._contexts[context]

    def synchronize(self) -> None:
        for stream in list(self._here().streams.values()):
            self._schedule.finish(stream)

    def _here(self) -> Device:
        if not hasattr(self._current, "device"):
            raise Fault("no context is current in this thread")
        return self._devices[self._current.device]

    # ---- streams ----

    def stream_create(self, priority: int) -> int:
        here, handle = self._here(), next(self._handles)
        here.streams[handle] = Stream(handle, here.index)
        return handle

    def stream_destroy(self, stream: int) -> None:
        self._schedule.finish(self._stream(stream))
        del self._here().streams[stream]

    def stream_synchronize(self, stream: int) -> None:
        self._schedule.finish(self._stream(stream))

    def stream_query(self, stream: int) -> bool:
        found = self._stream(stream)
        self._schedule.progress(found)
        if found.work:
            return False
        self._schedule.finish(found)
        return True

    def stream_wait_event(self, stream: int, event: int) -> None:
        self._schedule.wait(self._stream(stream), self._handle(event, Event))

    def _stream(self, handle: int) -> Stream:
        here = self._here()
        if handle not in here.streams:
            raise Fault(f"{handle:#x} is no stream of the current device, {here.index}")
        return here.streams[handle]

    def _handle(self, handle: int, kind: type[_T]) -> _T:
        found = self._alive.get(handle)
        if not isinstance(found, kind):
            raise Fault(f"{handle:#x} is no {kind.__name__.strip('_').lower()}, or no longer one")
        return found

    def _new(self, thing: object) -> int:
        handle = next(self._handles)
        self._alive[handle] = thing
        return handle

    # ---- events ----

    def event_create(self, timing: bool) -> int:
        return self._new(Event(self._here().index, timing))

    def event_destroy(self, event: int) -> None:
        self._handle(event, Event)
        del self._alive[event]

    def event_record(self, event: int, stream: int) -> None:
        found, into = self._handle(event, Event), self._stream(stream)
        if found.device != into.device:
            raise Fault("an event of one device is recorded in a stream of another")
        self._schedule.record(found, into)

    def event_synchronize(self, event: int) -> None:
        self._schedule.finish_event(self._handle(event, Event))

    def event_query(self, event: int) -> bool:
        found = self._handle(event, Event)
        if found.stream is None:
            return True
        if found.stream.done < found.number:
            self._schedule.progress(found.stream)
        if found.stream.done < found.number:
            return False
        self._schedule.finish_event(found)
        return True

    def event_elapsed(self, start: int, end: int) -> float:
        first, last = self._handle(start, Event), self._handle(end, Event)
        if not (first.timing and last.timing):
            raise Fault("events that note no time are asked for one")
        if first.time is None or last.time is None:
            raise CudaError("CUDA's driver says CUDA_ERROR_NOT_READY")
        return (last.time - first.time) / 1000
