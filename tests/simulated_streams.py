"""Streams of a simulated device: what is asked of them waits until somebody waits for it.

Work is done as late as the driver's promises allow, so a program that does not wait reads old bytes. Each
piece of work knows what surely happens before it (its stream's earlier work, events waited for, what the host
has waited for: a vector clock, as in C. Fidge, "Timestamps in message-passing systems that preserve the
partial ordering", 1988), and two pieces that touch the same memory, one of them writing, of which neither
surely comes first, are a `Fault`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from ptx_memory import Allocation
from ptx_text import Fault

Clock = dict["Stream", int]
"""How many pieces of work of each stream are surely done."""


@dataclass(frozen=True, slots=True)
class Touch:
    """Bytes that a piece of work reads or writes."""

    allocation: Allocation
    start: int
    end: int
    writes: bool


Does = Callable[[], Iterable[Touch]]


@dataclass(frozen=True, slots=True)
class Work:
    """Something that a stream is asked for."""

    name: str
    does: Does
    number: int
    before: Clock
    waits: tuple[tuple[Stream, int], ...] = ()
    """Work of other streams that must be done first."""


@dataclass(eq=False)
class Stream:
    """Work in order."""

    handle: int
    device: int
    work: deque[Work] = field(default_factory=deque)
    asked: int = 0
    done: int = 0
    clock: Clock = field(default_factory=dict)
    """What surely happens before the work that it will be asked for next."""
    noted: list[tuple[str, Does]] | None = None
    """The graph that its work goes into instead of being done."""


@dataclass(eq=False)
class Event:
    """A place in a stream's work."""

    device: int
    timing: bool
    stream: Stream | None = None
    number: int = 0
    clock: Clock = field(default_factory=dict)
    noted: list[tuple[str, Does]] | None = None
    """The graph in which it was recorded."""
    time: float | None = None


@dataclass(frozen=True, slots=True)
class _Past:
    """What was touched, by which piece of work."""

    touch: Touch
    stream: Stream
    work: Work


class Schedule:
    """The work of all streams, and what the host has waited for."""

    def __init__(self) -> None:
        self.host: Clock = {}
        self.pieces = 0
        """How many have been done: the simulated time, in microseconds."""
        self._past: dict[Allocation, list[_Past]] = {}

    def ask(self, stream: Stream, name: str, does: Does, waits: tuple[tuple[Stream, int], ...] = ()) -> None:
        """Work for the end of a stream, or for the graph that it notes."""
        if stream.noted is not None:
            stream.noted.append((name, does))
            return
        stream.asked += 1
        stream.clock = merged(stream.clock, self.host)
        work = Work(name, does, stream.asked, dict(stream.clock), waits)
        stream.work.append(work)

    def record(self, event: Event, stream: Stream) -> None:
        """The event is when the stream's work so far is done."""
        if stream.noted is not None:
            event.noted, event.stream = stream.noted, stream
            return
        event.noted, event.time = None, None

        def happens() -> Iterable[Touch]:
            event.time = float(self.pieces)
            return ()

        self.ask(stream, "an event", happens)
        event.stream, event.number = stream, stream.asked
        event.clock = merged(stream.clock, {stream: stream.asked})

    def wait(self, stream: Stream, event: Event) -> None:
        """The stream's further work comes after the event."""
        if event.noted is not None:
            stream.noted = event.noted
            return
        if stream.noted is not None:
            raise Fault("a stream whose work is noted for a graph waits for an event outside of that graph")
        if event.stream is None:
            return
        self.ask(stream, "waiting for an event", lambda: (), ((event.stream, event.number),))
        stream.clock = merged(stream.clock, event.clock)

    def finish(self, stream: Stream) -> None:
        """Does all work of a stream, for a host that waits."""
        if stream.noted is not None:
            raise Fault("the host waits for a stream whose work is noted for a graph")
        self._until(stream, stream.asked)
        self.host = merged(self.host, merged(stream.clock, {stream: stream.asked}))

    def finish_event(self, event: Event) -> None:
        """Does what an event comes after, for a host that waits."""
        if event.noted is not None:
            raise Fault("the host waits for an event of a graph")
        if event.stream is not None:
            self._until(event.stream, event.number)
            self.host = merged(self.host, event.clock)

    def progress(self, stream: Stream) -> None:
        """Does one piece of work, for a host that looks again and again."""
        if stream.work:
            self._until(stream, stream.work[0].number)

    def _until(self, stream: Stream, number: int) -> None:
        while stream.done < number:
            work = stream.work.popleft()
            for other, place in work.waits:
                self._until(other, place)
            stream.done = work.number
            self.pieces += 1
            touched = list(work.does())
            for touch in touched:
                self._look(touch, stream, work)

    # ---- hazards ----

    def _look(self, touch: Touch, stream: Stream, work: Work) -> None:
        past = self._past.setdefault(touch.allocation, [])
        for each in past:
            apart = each.touch.end <= touch.start or touch.end <= each.touch.start
            first = each.stream is stream or each.work.number <= work.before.get(each.stream, 0)
            if not (apart or first) and (touch.writes or each.touch.writes):
                verb, other = ("writes" if t.writes else "reads" for t in (touch, each.touch))
                raise Fault(
                    f"{work.name} {verb} bytes {touch.start} to {touch.end} of {touch.allocation.name} in "
                    f"one stream, {each.work.name} {other} them in another, and neither waits for the other"
                )
        past[:] = [
            each
            for each in past
            if not (
                each.stream is stream
                and touch.writes >= each.touch.writes
                and touch.start <= each.touch.start
                and each.touch.end <= touch.end
            )
        ]
        past.append(_Past(touch, stream, work))

    def forget(self, allocation: Allocation) -> None:
        """The memory is gone."""
        self._past.pop(allocation, None)


def merged(a: Clock, b: Clock) -> Clock:
    """What is surely done if both are right."""
    return {s: max(a.get(s, 0), b.get(s, 0)) for s in (*a, *b)}
