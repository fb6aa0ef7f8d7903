"""Memory of a GPU: buffers from a pool, in the order of a stream.

In flows a size and the stream that will use the memory first; out flows a `Buffer`, which goes back to the
pool when nobody holds it any more. Work of one stream is done in order, so what the pool gives out next may
still be in use by that stream, and nobody waits; for other streams `Buffer.used_by` makes it right. Sizes are
rounded, so that a program that does the same again finds the same blocks again.

The statistics have the names, and count the bytes, of `torch.cuda.memory_stats`.
"""

from __future__ import annotations

import ctypes
import threading
from collections import defaultdict
from typing import Protocol

from retrograd.compiler.errors import OutOfMemoryError, mirrored
from retrograd.runtime.cuda.driver import Driver
from retrograd.runtime.cuda.returning import native_count, native_del
from retrograd.runtime.native.ports import Source

_SMALL, _LARGE = 512, 2 << 20
"""Blocks are multiples of the one, and from that size on of the other."""


class Owner(Protocol):
    """The GPU whose memory it is: a `devices.Device`."""

    index: int
    driver: Driver

    def activate(self) -> None: ...


class Buffer:
    """A piece of a GPU's memory, aligned to 256 bytes or more. It is free when nobody holds this object."""

    __slots__ = (
        "pool", "gpu", "pointer", "nbytes", "stream", "home", "counted", "_others", "__weakref__"
    )  # fmt: skip

    def __init__(self, pool: Pool, pointer: int, nbytes: int, stream: int, home: list[int] | None) -> None:
        self.pool = pool
        self.gpu = pool.owner
        self.pointer = pointer
        self.nbytes = nbytes
        self.stream = stream
        """The stream that it was allocated for."""
        self.home = home
        """The pool's free addresses of this size and stream; None for no memory."""
        self.counted = pool.statistics.address
        self._others: set[int] | None = None

    def used_by(self, stream: int) -> None:
        """Another stream has been asked to use it: it is given out again when that is done."""
        if stream != self.stream:
            self._others = {stream, *(self._others or ())}

    def __del__(self) -> None:
        self.pool.take_back(self)


_given_back = native_del(Buffer, Buffer.__del__)
if _given_back is not None:
    setattr(Buffer, "__del__", _given_back[0])  # noqa: B010  # a method that mypy must not look at


class Foreign:
    """Memory that another library owns, and lends as long as `owner` lives."""

    __slots__ = ("gpu", "owner", "pointer", "__weakref__")

    def __init__(self, gpu: Owner, owner: object, pointer: int) -> None:
        self.gpu = gpu
        self.owner = owner
        self.pointer = pointer

    def used_by(self, stream: int) -> None:
        """Whoever owns it must know by himself."""


class Statistics:
    """Bytes in buffers that somebody holds, and bytes taken from the driver: now, and at most since the last
    reset. Native code counts here, too: `address` is that of the bytes held, and then of the most."""

    __slots__ = ("_words", "address")

    def __init__(self) -> None:
        self._words = (ctypes.c_int64 * 4)()
        self.address = ctypes.addressof(self._words)

    @property
    def allocated(self) -> int:
        return self._words[0]

    @property
    def most_allocated(self) -> int:
        return self._words[1]

    @property
    def reserved(self) -> int:
        return self._words[2]

    @property
    def most_reserved(self) -> int:
        return self._words[3]

    def change(self, allocated: int = 0, reserved: int = 0) -> None:
        count = native_count() or self._count
        count(self.address, allocated)
        if reserved:
            count(self.address + 2 * ctypes.sizeof(ctypes.c_int64), reserved)

    def _count(self, address: int, change: int) -> None:
        place = (address - self.address) // ctypes.sizeof(ctypes.c_int64)
        self._words[place] += change
        self._words[place + 1] = max(self._words[place : place + 2])

    def reset(self) -> None:
        """Count the most from now on."""
        self._words[1], self._words[3] = self._words[0], self._words[2]


class Pool:
    """The memory of one GPU."""

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        self.statistics = Statistics()
        self._lock = threading.RLock()  # a buffer may be collected while another is being allocated
        self._free: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
        """Addresses, by stream and size. Native code takes from these lists, too, and knows of no lock."""

    def allocate(self, nbytes: int, stream: int) -> Buffer:
        """A buffer of at least `nbytes`. OutOfMemoryError where the GPU has no more, even when all that is
        free has been given back to the driver."""
        if nbytes == 0:
            return Buffer(self, 0, 0, stream, None)
        size = _rounded(nbytes)
        with self._lock:
            home = self._free[stream, size]
            try:
                pointer = home.pop()
            except IndexError:
                pointer = self._from_driver(size, stream)
            self.statistics.change(allocated=size)
        return Buffer(self, pointer, size, stream, home)

    def take_back(self, buffer: Buffer) -> None:
        """A buffer that nobody holds any more. Its stream waits for the others that used it."""
        if buffer.home is None:
            return
        if buffer._others:
            self._after(buffer.stream, buffer._others)
        buffer.home.append(buffer.pointer)
        self.statistics.change(allocated=-buffer.nbytes)

    def _after(self, stream: int, others: set[int]) -> None:
        """What the stream is asked for from now on waits for what the others have now."""
        driver = self.owner.driver
        self.owner.activate()
        for other in others:
            event = driver.event_create(timing=False)
            driver.event_record(event, other)
            driver.stream_wait_event(stream, event)
            driver.event_destroy(event)

    def source(self, nbytes: int, stream: int) -> Source:
        """Where native code finds buffers of at least `nbytes` > 0 that are free in this stream."""
        size = _rounded(nbytes)
        return Source(self._free[stream, size], self.statistics.address, size)

    def empty(self) -> None:
        """Give all that is free back to the driver."""
        self.owner.activate()
        with self._lock:
            for (stream, size), pointers in self._free.items():
                while pointers:
                    self.owner.driver.free(pointers.pop(), stream)
                    self.statistics.change(reserved=-size)

    def reset_peaks(self) -> None:
        with self._lock:
            self.statistics.reset()

    def _from_driver(self, size: int, stream: int) -> int:
        self.owner.activate()
        driver = self.owner.driver
        try:
            pointer = driver.allocate(size, stream)
        except OutOfMemoryError:
            self.empty()
            driver.synchronize()
            try:
                pointer = driver.allocate(size, stream)
            except OutOfMemoryError as error:
                raise self._exhausted(size) from error
        self.statistics.change(reserved=size)
        return pointer

    def _exhausted(self, size: int) -> OutOfMemoryError:
        free, total = self.owner.driver.memory_info()
        gpu, held = self.owner.index, self.statistics.allocated
        return OutOfMemoryError(
            mirrored(f"CUDA out of memory. Tried to allocate {readable(size)}."),
            f"GPU {gpu} has {readable(total)}, of which {readable(free)} are free, "
            f"and {readable(held)} are held by tensors here",
            "use smaller batches, or let go of tensors that are not needed",
        )


def _rounded(nbytes: int) -> int:
    unit = _SMALL if nbytes < _LARGE else _LARGE
    return -(-nbytes // unit) * unit


def readable(nbytes: int) -> str:
    """A number of bytes for people."""
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if nbytes >= size:
            return f"{nbytes / size:.2f} {unit}"
    return f"{nbytes} bytes"
