"""Libraries side by side, each in processes of its own, which take turns.

In flow cases with their labels, and of each library a function from a case to what is called, or to None
where it has nothing like it; out flows a table: the time of a call, the median of the rounds' medians, and
that of the first one, with nothing cached.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from math import inf
from statistics import median
from time import perf_counter
from typing import Any

Call = Callable[[], Any]
Calls = Mapping[str, Callable[[str], Call | None]]

_SECONDS, _LEAST, _MOST = 0.5, 3, 2000
"""How long calls are made, and how many at least and at most."""


def compare(
    file: str, description: str | None, cases: Mapping[str, str], calls: Calls, ours: int = 1
) -> None:
    """The command line of a benchmark, which lies in `file`. So many libraries, the first ones, are ours; the
    ratio is that of the first."""
    options = argparse.ArgumentParser(description=description, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--library", choices=[*calls], help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.library:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: given.threads])  # JAX has no other way
        for case in cases:
            if call := calls[given.library](case):
                print(json.dumps((case, *measured(call))), flush=True)
        return
    found: dict[tuple[str, str], list[list[float]]] = {}
    for _ in range(given.rounds):
        for library in calls:
            for case, *times in told_by(file, library, given.threads):
                found.setdefault((case, library), []).append(times)
    names = " | ".join(calls)
    print(f"| | {names} | the best of the others / ours | {names}, first call |")
    print("|---|" + "---|" * (2 * len(calls) + 1))
    for case, label in cases.items():
        rounds = [found.get((case, name), [[inf, inf]]) for name in calls]
        times, firsts = zip(*([median(x) for x in zip(*each, strict=True)] for each in rounds), strict=True)
        ratio = f"{min(times[ours:]) / times[0]:.2g}"
        cells = [*map(_shown, times), ratio, *map(_shown, firsts)]
        print(f"| {label} | " + " | ".join(cells) + " |")


def _shown(seconds: float) -> str:
    if seconds == inf:
        return "–"
    unit, name = next(x for x in ((1, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns")) if seconds >= x[0])
    return f"{seconds / unit:.3g} {name}"


def told_by(file: str, library: str, threads: int) -> Iterator[list[Any]]:
    """Case, seconds of a call, seconds of the first call: from a process of its own, with an empty cache."""
    names = [f"{name}_NUM_THREADS" for name in ("OMP", "MKL", "OPENBLAS", "RETROGRAD")]
    with tempfile.TemporaryDirectory() as cache:
        world = os.environ | dict.fromkeys(names, str(threads)) | {"RETROGRAD_CACHE_DIR": cache}
        command = [sys.executable, "-W", "ignore", file, "--library", library, "--threads", str(threads)]
        told = subprocess.run(command, env=world, stdout=subprocess.PIPE, text=True, check=True).stdout
    yield from map(json.loads, told.splitlines())


def measured(call: Call) -> tuple[float, float]:
    """Seconds of a call, and of the first one."""
    start = perf_counter()
    call()
    first = perf_counter() - start
    times: list[float] = []
    while len(times) < _LEAST or (sum(times) < _SECONDS and len(times) < _MOST):
        start = perf_counter()
        call()
        times.append(perf_counter() - start)
    return median(times), first
