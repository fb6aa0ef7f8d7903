"""How a row is measured: each contender in a process of its own, taking turns, all with the same threads.

In flow a `Row` and workers; out flows a `Result`: for each contender the median time of a call, the time of
its first call, and what it computed in short. A contender that cannot run, or ends its process, leaves a note
instead.

A contender's process lives through all rows of a run, so that libraries are imported once; while one
contender is timed, the others sleep: each answers only when its threads have come to rest, for some spin for
a tenth of a second after their work, on a processor that the next contender needs. Environment and processor
affinity are set before any library is imported.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Call = Callable[[], Any]
Setup = Callable[[], Call]
"""Makes data and function anew, and gives what one call is; libraries are imported inside."""


@dataclass(frozen=True)
class Jitted:
    """A call of what is compiled, where that can be done by itself, too."""

    call: Call
    ahead: Callable[[], Any]
    """Compile for the call's arguments, and do not run: by the tool's own entry for that."""

    def __call__(self) -> Any:
        return self.call()


ROUNDS = 11
BURST = 0.04
"""Seconds that one contender is timed for in one round."""
PARTS = 16
"""Parts of a burst, of which the quickest is told, too."""
PATIENCE = 600.0
"""Seconds after which a contender is given up."""
REST, CALM, RESTLESS = 0.005, 0.2, 1.0
"""Seconds between two looks at a process that should come to rest, the share of them that it may use, and the
seconds after which it is left as it is."""
FIRSTS = 5
"""Cold first calls of which the median is taken, as long as they are quick."""


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    name: str
    about: str
    contenders: Mapping[str, Setup]
    threads: int = 2
    goal: float | None = None
    """The ratio to reach."""
    against: str | None = None
    """The contender that the ratio is to; by default the quickest peer."""
    limit: float | None = None
    """The most that ours may take, in `unit`."""
    unit: str = "s"
    timed: bool = True
    """Whether calls are timed; else a call gives the figure."""
    compiles: bool = True
    """Whether the first call is one that compiles, and nothing else."""
    rounds: int = ROUNDS
    placements: int = 1
    """How often operands are made, each time for so many rounds: where they come to lie in memory is chance,
    which decides between contenders that all wait for memory."""
    tolerance: float = 1e-3
    """How far the contenders' results may lie apart, relative to their size."""


@dataclass
class Result:
    """What came out."""

    row: Row
    figures: dict[str, float] = field(default_factory=dict)
    """Medians."""
    least: dict[str, float] = field(default_factory=dict)
    """Of each contender's quickest part of a turn: what a busy machine hides from the median."""
    firsts: dict[str, float] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    load: float = 0.0
    """How many processes wanted to run, on the average of the minute before."""
    ahead: dict[str, float] = field(default_factory=dict)
    """What compiling takes by itself, where nothing is run."""

    @property
    def ratio(self) -> float | None:
        """The best peer's figure over ours."""
        return self._ratio(self.figures)

    @property
    def least_ratio(self) -> float | None:
        return self._ratio(self.least)

    def _ratio(self, figures: Mapping[str, float]) -> float | None:
        """Derivatives written out by hand are no peer."""
        ours = figures.get("compiled")
        names = (
            [self.row.against] if self.row.against else set(figures) - {"compiled", "eager", "numpy by hand"}
        )
        theirs = [figures[name] for name in names if name in figures]
        return min(theirs) / ours if ours and theirs else None

    @property
    def reached(self) -> bool | None:
        """Whether the goals are; None without any, or without figures."""
        checks = []
        if self.row.goal is not None and self.ratio is not None:
            checks.append(self.ratio >= self.row.goal)
        if self.row.limit is not None and "compiled" in self.figures:
            checks.append(self.figures["compiled"] <= self.row.limit)
        return all(checks) if checks else None


class Missing(Exception):
    """Why a contender cannot take part."""


# ---- in a contender's process ------------------------------------------------------------------------------


def serve(
    connection: Any, name: str, table: Callable[[], Mapping[str, Row]], warm_up: Callable[[str], None]
) -> None:
    """Answer requests, until told None."""
    with contextlib.suppress(Missing, ImportError):  # told again when a row asks for it
        warm_up(name)
    rows, call = table(), None
    while (request := connection.recv()) is not None:
        what, argument = request
        try:
            if what == "set up":
                setup = rows[argument].contenders[name]
                call, answer = _set_up(setup, rows[argument].compiles)
            elif what == "place":
                call = _made(setup)
                answer = _clocked(call)[0]
            else:
                answer = _time(call, argument) if what == "time" else _figure(call)
        except (Missing, ImportError) as error:
            answer = f"{error}"
        except Exception as error:
            answer = f"{type(error).__name__}: {error}"
        come_to_rest()
        connection.send(answer)


def come_to_rest() -> None:
    """Wait until no thread of this process is at work."""
    end = time.perf_counter() + RESTLESS
    while time.perf_counter() < end:
        used = time.process_time()
        time.sleep(REST)
        if time.process_time() - used < CALM * REST:
            return


def _set_up(setup: Setup, compiles: bool) -> tuple[Call, tuple[float, float | None, list[tuple[float, ...]]]]:
    """The call, what a cold first call takes, what compiling alone does, and what was computed. Where a first
    call compiles, running the code is no part of it: what a second call takes is subtracted. Medians."""
    firsts: list[float] = []
    while len(firsts) < FIRSTS and sum(firsts) < 1.0:
        call = _made(setup)
        first, outcome = _clocked(call)
        again = min(_clocked(call)[0] for _ in range(2)) if compiles else 0.0
        firsts.append(first - again)
    digests = [_digest(value) for value in _leaves(outcome)]
    return call, (statistics.median(firsts), _ahead(setup) if compiles else None, digests)


def _made(setup: Setup) -> Call:
    """A call with operands of its own."""
    made = setup()
    return made.call if isinstance(made, Jitted) else made


def _ahead(setup: Setup) -> float | None:
    """What it takes to compile ahead of calls; None where there is no entry for that."""
    taken: list[float] = []
    while len(taken) < FIRSTS and sum(taken) < 1.0:
        made = setup()
        if not isinstance(made, Jitted):
            return None
        taken.append(_clocked(made.ahead)[0])
    return statistics.median(taken)


def _clocked(call: Call) -> tuple[float, Any]:
    begin = time.perf_counter()
    outcome = call()
    return time.perf_counter() - begin, outcome


def _time(call: Call, count: int) -> tuple[float, float]:
    """Seconds of a call, on the whole and in the quickest part; before short ones, one call wakes all up."""
    part = max(1, count // PARTS)
    parts = []
    if count > 1:
        call()
    gc.disable()
    for _ in range(max(1, count // part)):
        begin = time.perf_counter()
        for _ in itertools.repeat(None, part):
            call()
        parts.append((time.perf_counter() - begin) / part)
    gc.enable()
    return sum(parts) / len(parts), min(parts)


def _figure(call: Call) -> tuple[float, float]:
    figure = float(call())
    return figure, figure


def _leaves(outcome: Any) -> Iterator[Any]:
    if isinstance(outcome, (tuple, list)):
        for each in outcome:
            yield from _leaves(each)
    elif outcome is not None:
        yield outcome


def _digest(value: Any) -> tuple[float, ...]:
    """A size, a norm and a projection: what is needed to see whether two results agree."""
    import numpy as np  # late: the environment is set first

    array = np.asarray(value.detach() if hasattr(value, "detach") else value).astype(np.float64).reshape(-1)
    return float(array.size), float(np.linalg.norm(array)), float(array @ np.cos(0.1 * np.arange(array.size)))


# ---- in the parent -----------------------------------------------------------------------------------------


class Worker:
    """A contender's process."""

    def __init__(
        self, name: str, table: Callable[[], Mapping[str, Row]], warm_up: Callable[[str], None]
    ) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, name, table, warm_up), daemon=False)
        self.process.start()
        theirs.close()

    def ask(self, what: str, argument: object = None) -> Any:
        """The answer: a figure, or a text that says why there is none."""
        try:
            self.connection.send((what, argument))
            if self.connection.poll(PATIENCE):
                return self.connection.recv()
        except (EOFError, OSError):
            self.process.join(10)
            return f"the process ended with status {self.process.exitcode}"
        self.process.kill()
        self.process.join(10)
        return f"no answer within {PATIENCE:.0f} s"

    @property
    def alive(self) -> bool:
        return self.process.is_alive()

    def stop(self) -> None:
        with contextlib.suppress(OSError):
            self.connection.send(None)
        self.process.join(10)
        if self.alive:
            self.process.kill()


class Arena:
    """The contenders' processes, for one number of threads."""

    def __init__(
        self, threads: int, table: Callable[[], Mapping[str, Row]], warm_up: Callable[[str], None]
    ) -> None:
        self.threads, self._table, self._warm_up = threads, table, warm_up
        self._workers: dict[str, Worker] = {}
        self._before = dict(os.environ)
        self._affinity = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None

    def __enter__(self) -> Arena:
        """Processes started within have these threads and processors."""
        text = str(self.threads)
        for variable in ("OMP", "OPENBLAS", "MKL", "RETROGRAD"):
            os.environ[f"{variable}_NUM_THREADS"] = text
        os.environ |= {
            "PYTHONWARNINGS": "ignore",
            "JAX_PLATFORMS": "cpu",
            "JAX_ENABLE_X64": "1",
            "RETROGRAD_CACHE": "0",
            "TORCHINDUCTOR_FORCE_DISABLE_CACHES": "1",
        }
        if self._affinity is not None:
            os.sched_setaffinity(0, sorted(self._affinity)[: self.threads])
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers.values():
            worker.stop()
        os.environ.clear()
        os.environ.update(self._before)
        if self._affinity is not None:
            os.sched_setaffinity(0, self._affinity)

    def measure(self, row: Row) -> Result:
        """All contenders, in turns."""
        result = Result(row, load=round(os.getloadavg()[0], 1))
        digests: dict[str, Any] = {}
        for name in row.contenders:
            answer = self._worker(name).ask("set up", row.name)
            if isinstance(answer, str):
                result.notes[name] = answer
            else:
                result.firsts[name], ahead, digests[name] = answer
                result.ahead |= {} if ahead is None else {name: ahead}
        for name in [name for name in digests if not _agree(digests, name, row.tolerance)]:
            result.notes[name] = "result differs from the other contenders'"
        for name, samples in self._rounds(row, list(digests), result).items():
            result.figures[name] = statistics.median(whole for whole, _ in samples)
            result.least[name] = min(least for _, least in samples)
        return result

    def _rounds(self, row: Row, names: list[str], result: Result) -> dict[str, list[tuple[float, float]]]:
        """What was measured in each turn; whoever fails leaves a note and takes no further part."""
        counts = dict.fromkeys(names, 1)
        samples: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
        for turn in range(row.rounds * row.placements + row.timed):
            for name in list(counts):
                worker = self._worker(name)
                if turn > row.timed and (turn - row.timed) % row.rounds == 0:
                    worker.ask("place")
                answer = worker.ask("time", counts[name]) if row.timed else worker.ask("figure")
                if isinstance(answer, str):
                    result.notes[name] = answer
                    del counts[name], samples[name]
                elif row.timed and turn == 0:
                    counts[name] = _count(worker, answer[1])
                else:
                    samples[name].append(answer)
        return samples

    def _worker(self, name: str) -> Worker:
        if name not in self._workers or not self._workers[name].alive:
            self._workers[name] = Worker(name, self._table, self._warm_up)
        return self._workers[name]


def _count(worker: Worker, once: float) -> int:
    """How many calls fill a burst."""
    if once < BURST / 20:
        again = worker.ask("time", max(1, int(BURST / 20 / once)))
        once = once if isinstance(again, str) else again[1]
    return max(1, int(BURST / max(once, 1e-9)))


def _agree(digests: Mapping[str, Any], name: str, tolerance: float) -> bool:
    """Whether this result is that of any other contender, or there is no other."""
    others = [digest for other, digest in digests.items() if other != name]
    return not others or any(_close(digests[name], other, tolerance) for other in others)


def _close(a: Any, b: Any, tolerance: float) -> bool:
    return len(a) == len(b) and all(
        x[0] == y[0]
        and abs(x[1] - y[1]) <= tolerance * x[1]
        and abs(x[2] - y[2]) <= tolerance * (x[1] + 1e-30)
        for x, y in zip(a, b)
    )
