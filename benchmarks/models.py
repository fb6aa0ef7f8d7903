"""What training steps of models take: here compiled and in eager mode, and in PyTorch.

    python benchmarks/models.py [--threads N] [--rounds N] [--compile] [part of a label …]

In flow `zoo.MODELS`; out flows a table: milliseconds per step (forward, backward, AdamW), and how many times
as long PyTorch's eager mode takes as our `compile_step`. Each library runs in processes of its own, which
take turns; a figure is the median of the rounds' medians. With --compile, `torch.compile` takes part: it
compiles for minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from math import exp, log
from statistics import median
from time import perf_counter
from typing import Any

from zoo import MODELS

LIBRARIES = {"retrograd": ("compiled", "eager"), "torch": ("eager",)}
_SECONDS, _LEAST, _MOST = 0.7, 5, 200
"""How long steps are taken, and how many at least and at most."""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("labels", nargs="*")
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--compile", action="store_true")
    options.add_argument("--library", choices=LIBRARIES, help=argparse.SUPPRESS)
    given = options.parse_args()
    labels = [label for label in MODELS if not given.labels or any(part in label for part in given.labels)]
    if not labels:
        options.error(f"no label has any of {given.labels}; there are\n  " + "\n  ".join(MODELS))
    if given.library:
        work(given.library, labels, given.compile)
        return
    found: dict[str, dict[str, list[float]]] = {label: {} for label in labels}
    for _ in range(given.rounds):
        for library in LIBRARIES:
            for label, name, seconds in rounds(library, labels, given):
                found[label].setdefault(name, []).append(seconds)
    print_table({label: {k: median(v) for k, v in times.items()} for label, times in found.items()})


def rounds(library: str, labels: list[str], given: argparse.Namespace) -> list[tuple[str, str, float]]:
    """(label, library and mode, seconds per step) of one process."""
    names = [f"{name}_NUM_THREADS" for name in ("OMP", "MKL", "OPENBLAS", "RETROGRAD")]
    world = os.environ | dict.fromkeys(names, str(given.threads))
    more = ["--compile"] if given.compile else []
    command = [sys.executable, "-W", "ignore", __file__, "--library", library, *more, *labels]
    told = subprocess.run(command, env=world, stdout=subprocess.PIPE, text=True, check=True).stdout
    return [tuple(json.loads(line)) for line in told.splitlines()]


def work(library: str, labels: list[str], compiled: bool) -> None:
    """Measure a library in this process."""
    T = import_module(library)
    modes = [*LIBRARIES[library], *(["compiled"] if compiled and library == "torch" else [])]
    for label in labels:
        for mode in modes:
            seconds = measured(step_of(T, label, mode))
            print(json.dumps((label, f"{library} {mode}", seconds)), flush=True)


def step_of(T: Any, label: str, mode: str) -> Callable[[], Any]:
    """A step of training."""
    T.manual_seed(0)
    module, loss, batch = MODELS[label](T)
    optimizer = T.optim.AdamW(module.parameters(), 1e-4)
    if mode == "compiled" and hasattr(T, "compile_step"):
        step = T.compile_step(loss, optimizer)
        return lambda: step(*batch)
    of_batch = T.compile(loss) if mode == "compiled" else loss

    def whole() -> None:
        optimizer.zero_grad()
        of_batch(*batch).backward()
        optimizer.step()

    return whole


def measured(step: Callable[[], Any]) -> float:
    """Seconds of a step, the median."""
    for _ in range(3):
        step()
    times: list[float] = []
    begun = perf_counter()
    while len(times) < _LEAST or (perf_counter() - begun < _SECONDS and len(times) < _MOST):
        start = perf_counter()
        step()
        times.append(perf_counter() - start)
    return median(times)


def print_table(times: dict[str, dict[str, float]]) -> None:
    names = list(dict.fromkeys(name for each in times.values() for name in each))
    wide = max(map(len, times))
    print(f"{'milliseconds per step':{wide}}", *(f"{name:>18}" for name in names), "  ratio")
    ratios: list[float] = []
    for label, each in times.items():
        ratios.append(each["torch eager"] / each["retrograd compiled"])
        print(f"{label:{wide}}", *(f"{1e3 * each[name]:18.2f}" for name in names), f"{ratios[-1]:7.2f}")
    print(f"geometric mean of {len(ratios)}: {exp(sum(map(log, ratios)) / len(ratios)):.2f}")


if __name__ == "__main__":
    main()
