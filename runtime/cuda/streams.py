"""Streams and events, as `torch.cuda.Stream` and `torch.cuda.Event`.

A stream does its work in order, and not in the order of other streams; an event is a point in that order. The
current stream of a thread is that of the innermost `with stream(...)`, else the default stream.
"""

from __future__ import annotations

from types import TracebackType

from retrograd.compiler.errors import ArgumentError, CudaError, mirrored
from retrograd.runtime.cuda import devices
from retrograd.runtime.cuda.devices import Device
from retrograd.runtime.device import as_device, device


def the_device(like: object = None) -> Device:
    """The GPU that `like` names: a device, a name, a number, or None for the current one."""
    if like is None or isinstance(like, Device):
        return devices.get() if like is None else like
    name = as_device(like)
    if name.type != "cuda":
        raise ArgumentError(mirrored(f"Expected a cuda device, but got: {name}"))
    return devices.get(name.index)


class Event:
    """A point in a stream's work."""

    def __init__(
        self, enable_timing: bool = False, blocking: bool = False, interprocess: bool = False
    ) -> None:
        self._device: Device | None = None
        self._timing = enable_timing
        self._handle = 0
        if interprocess:
            raise ArgumentError("an event shared by processes", "", "share the results, not the event")

    def record(self, stream: Stream | None = None) -> None:
        """It happens when the work that the stream (or else the current one) has now is done."""
        stream = stream or current_stream()
        if self._device is not None and self._device is not stream._device:
            raise CudaError(f"an event of {self._device.name}, recorded in a stream of {stream.device}")
        stream._device.activate()
        if self._device is None:
            self._device, self._handle = stream._device, stream._device.driver.event_create(self._timing)
        self._device.driver.event_record(self._handle, stream.cuda_stream)

    def wait(self, stream: Stream | None = None) -> None:
        """What the stream (or else the current one) is asked for from now on waits for it."""
        if self._device is not None:
            stream = stream or current_stream()
            stream._device.activate()
            stream._device.driver.stream_wait_event(stream.cuda_stream, self._handle)

    def query(self) -> bool:
        """Whether it has happened, or was never recorded."""
        if self._device is None:
            return True
        self._device.activate()
        return self._device.driver.event_query(self._handle)

    def synchronize(self) -> None:
        """Wait for it."""
        if self._device is not None:
            self._device.activate()
            self._device.driver.event_synchronize(self._handle)
            self._device.pending.look()

    def elapsed_time(self, end_event: Event) -> float:
        """Milliseconds from this event to another; both must have been made with `enable_timing`."""
        if not (self._timing and end_event._timing):
            raise ArgumentError(
                mirrored("Both events must be created with argument 'enable_timing=True'."),
            )
        if self._device is None or end_event._device is None:
            raise ArgumentError(
                mirrored("Both events must be recorded before calculating elapsed time."),
            )
        self._device.activate()
        return self._device.driver.event_elapsed(self._handle, end_event._handle)

    def __repr__(self) -> str:
        return f"<retrograd.cuda.Event {f'{self._handle:#x}' if self._device else 'uninitialized'}>"

    def __del__(self) -> None:
        if self._device is not None:
            self._device.driver.event_destroy(self._handle)


class Stream:
    """A queue of work of one GPU. Handles are given out in turn, as PyTorch's are: never destroyed."""

    def __init__(self, device: object = None, priority: int = 0) -> None:
        self._device = the_device(device)
        self.priority = priority
        self.cuda_stream = self._device.some_stream(priority)
        """The driver's handle."""

    @staticmethod
    def _of(device: Device, handle: int) -> Stream:
        found = Stream.__new__(Stream)
        found._device, found.priority, found.cuda_stream = device, 0, handle
        return found

    @property
    def device(self) -> device:
        return self._device.name

    def synchronize(self) -> None:
        """Wait until all its work is done."""
        self._device.wait(self.cuda_stream)

    def query(self) -> bool:
        """Whether all its work is done."""
        self._device.activate()
        return self._device.driver.stream_query(self.cuda_stream)

    def record_event(self, event: Event | None = None) -> Event:
        """An event that happens when the work that it has now is done."""
        event = event or Event()
        event.record(self)
        return event

    def wait_event(self, event: Event) -> None:
        """What it is asked for from now on waits for the event."""
        event.wait(self)

    def wait_stream(self, stream: Stream) -> None:
        """What it is asked for from now on waits for the work that another stream has now."""
        self.wait_event(stream.record_event())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Stream):
            return NotImplemented
        return self._device is other._device and self.cuda_stream == other.cuda_stream

    def __hash__(self) -> int:
        return hash((self._device.index, self.cuda_stream))

    def __repr__(self) -> str:
        return f"<retrograd.cuda.Stream device={self.device} cuda_stream={self.cuda_stream:#x}>"


class StreamContext:
    """`with stream(s):` inside, `s` is current, and so is its GPU."""

    def __init__(self, stream: Stream | None) -> None:
        self.stream = stream
        self._before: list[tuple[int, Stream]] = []

    def __enter__(self) -> None:
        if self.stream is not None:
            chosen = self.stream._device
            self._before.append((devices.current_index(), current_stream(chosen)))
            devices.choose(chosen.index)
            set_stream(self.stream)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.stream is not None:
            index, before = self._before.pop()
            set_stream(before)
            devices.choose(index)


def stream(stream: Stream | None) -> StreamContext:
    """A `with` block in which work goes to a stream; None changes nothing."""
    return StreamContext(stream)


def current_stream(device: object = None) -> Stream:
    """The stream that this thread gives its work for a GPU to."""
    chosen = the_device(device)
    return Stream._of(chosen, chosen.stream)


def default_stream(device: object = None) -> Stream:
    """The stream that is current where no other was chosen."""
    return Stream._of(the_device(device), 0)


def set_stream(stream: Stream) -> None:
    """Make a stream the current one of this thread, for its GPU."""
    devices.choose_stream(stream._device.index, stream.cuda_stream)


def synchronize(device: object = None) -> None:
    """Wait until a GPU has done everything that it was asked for. Errors of earlier launches come up here."""
    the_device(device).wait()
