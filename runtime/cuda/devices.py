"""The GPUs of this machine, as the runtime has them, and which is current.

`get(index)` gives a `Device`: its context, its memory, its code, its streams. There is one for each GPU and
driver, made when it is first asked for. Everything that calls the driver does so between `device.activate()`
and the end of its own function, since another library may make another context current.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, TypeVar

from retrograd.compiler.errors import DeviceError, mirrored
from retrograd.runtime.cuda import driver
from retrograd.runtime.cuda.driver import Driver
from retrograd.runtime.cuda.memory import Buffer, Pool
from retrograd.runtime.cuda.pending import Pending
from retrograd.runtime.device import device
from retrograd.runtime.native.watching import Read

_T = TypeVar("_T")
_NUMBERS = 1024
"""So many numbers stay in a GPU's memory."""
_STREAMS = 32
"""Streams of one kind that a GPU has at most; further ones are those again."""


class Latest:
    """Things by key, made when they are first asked for, of which the latest are kept. Thread-safe."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.RLock()
        self.kept: OrderedDict[object, Any] = OrderedDict()

    def __call__(self, key: object, make: Callable[[], _T]) -> _T:
        with self._lock:
            if key not in self.kept:
                self.kept[key] = make()
                if len(self.kept) > self._most:
                    self.kept.popitem(last=False)
            self.kept.move_to_end(key)
            found: _T = self.kept[key]
            return found


class Device:
    """One GPU."""

    def __init__(self, driver: Driver, index: int) -> None:
        self.driver = driver
        self.index = index
        self.name = device("cuda", index)
        self.pool = Pool(self)
        self.made: dict[object, Any] = {}
        """What was loaded once: see `once`."""
        self.pending = Pending(driver)
        self.numbers = Latest(_NUMBERS)
        """Those that were uploaded."""
        self.capturing = threading.Lock()
        """Held while launches are written down in the stream for that."""
        self._lock = threading.RLock()
        self._streams: dict[int, list[int]] = {}
        self._given: dict[int, int] = {}

    @cached_property
    def context(self) -> int:
        return self.driver.retain_context(self.index)

    def activate(self) -> None:
        """Make it current in this thread."""
        self.driver.set_context(self.context)

    @cached_property
    def capability(self) -> tuple[int, int]:
        """Which instructions it has: (9, 0) is sm_90."""
        major, minor = (
            self.driver.attribute(self.index, f"COMPUTE_CAPABILITY_{part}") for part in ("MAJOR", "MINOR")
        )
        return major, minor

    @property
    def stream(self) -> int:
        """The stream that this thread gives its work for the GPU to."""
        return _current.streams.get(self.index, 0)

    def wait(self, stream: int | None = None) -> None:
        """Wait until a stream, or everything, is done, and raise the error of what is found then."""
        self.activate()
        if stream is None:
            self.driver.synchronize()
        else:
            self.driver.stream_synchronize(stream)
        self.pending.look()

    def allocate(self, nbytes: int) -> Buffer:
        """Memory for the current stream."""
        return self.pool.allocate(nbytes, self.stream)

    def once(self, key: object, make: Callable[[], _T]) -> _T:
        """What `make` gave, when it was asked for under this key first."""
        with self._lock:
            if key not in self.made:
                self.made[key] = make()
            found: _T = self.made[key]
            return found

    def some_stream(self, priority: int) -> int:
        """A stream, of a few that are given out in turn."""
        self.activate()
        with self._lock:
            streams = self._streams.setdefault(priority, [])
            turn = self._given.get(priority, 0)
            self._given[priority] = turn + 1
            if turn < _STREAMS:
                streams.append(self.driver.stream_create(priority))
            return streams[turn % _STREAMS]


_DEFAULT: Mapping[int, int] = {}


class _Current(threading.local):
    """What is current in this thread."""

    def __init__(self) -> None:
        self.index = 0
        self.streams: Mapping[int, int] = _DEFAULT
        """By GPU; 0, the default stream, where there is none. Of one choice it is one object."""


_current = _Current()
_choices: dict[tuple[tuple[int, int], ...], Mapping[int, int]] = {}
"""What threads have chosen, by its content."""
_devices: dict[Driver, dict[int, Device]] = {}
_making = threading.Lock()


def get(index: int | None = None) -> Device:
    """The GPU of this number, or the current one. DeviceError where there is none."""
    now = driver.current()
    chosen = _current.index if index is None else index
    with _making:
        found = _devices.setdefault(now, {}).get(chosen)
        if found is None:
            count = now.device_count()
            if not 0 <= chosen < count:
                last = f"cuda:0 to cuda:{count - 1}" if count > 1 else "cuda:0 alone"
                raise DeviceError(
                    mirrored("CUDA error: invalid device ordinal"),
                    f"device cuda:{chosen}",
                    f"there is {last}",
                )
            found = _devices[now][chosen] = Device(now, chosen)
    return found


def known() -> list[Device]:
    """The GPUs that have been asked for."""
    return list(_devices.get(driver.current(), {}).values()) if _devices else []


@driver.LEAVING.append
def _forget(gone: Driver) -> None:
    _devices.pop(gone, None)
    _current.index = 0
    _current.streams = _DEFAULT


def current_index() -> int:
    """The number of the GPU that "cuda" without a number is."""
    return _current.index


def choose(index: int) -> None:
    """Make a GPU the current one of this thread."""
    _current.index = index


def choose_stream(index: int, stream: int) -> None:
    """Make a stream the current one of this thread, for its GPU."""
    chosen = {k: s for k, s in {**_current.streams, index: stream}.items() if s}
    _current.streams = _choices.setdefault(tuple(sorted(chosen.items())), chosen) if chosen else _DEFAULT


def stream_read() -> Read:
    """Which streams this thread has chosen is as it was."""
    return Read(getattr, _current, "streams", _current.streams, "streams")
