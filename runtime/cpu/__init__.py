"""The CPU as a device, as `torch.cpu`: for programs that ask every device the same.

There is one, it is always there, and what it is asked to do is done when the call returns, so that streams,
events and waiting are nothing.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "Event", "Stream", "StreamContext", "current_device", "current_stream", "device_count", "is_available",
    "is_initialized", "set_device", "stream", "synchronize",
]  # fmt: skip


def is_available() -> bool:
    return True


def is_initialized() -> bool:
    return True


def device_count() -> int:
    return 1


def current_device() -> str:
    return "cpu"


def set_device(device: Any) -> None:
    """Nothing: there is but one."""


def synchronize(device: Any = None) -> None:
    """Nothing: all has been done."""


class Event:
    """A moment of the program, which is over."""

    def query(self) -> bool:
        return True

    def record(self, stream: Any = None) -> None:
        pass

    def synchronize(self) -> None:
        pass

    def wait(self, stream: Any = None) -> None:
        pass


class Stream:
    """The order in which the CPU works, which is the program's."""

    def __init__(self, priority: int = -1) -> None:
        pass

    def wait_stream(self, stream: Any) -> None:
        pass

    def record_event(self) -> None:
        pass

    def wait_event(self, event: Any) -> None:
        pass


_current = [Stream()]


def current_stream(device: Any = None) -> Stream:
    return _current[-1]


class StreamContext:
    """`with StreamContext(stream):` inside, that stream is the current one; None changes nothing."""

    def __init__(self, stream: Stream | None) -> None:
        self.stream = stream

    def __enter__(self) -> None:
        _current.append(self.stream or _current[-1])

    def __exit__(self, *error: Any) -> None:
        _current.pop()


def stream(stream: Stream | None) -> StreamContext:
    return StreamContext(stream)
