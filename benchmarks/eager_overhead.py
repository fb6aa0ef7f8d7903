"""What one eager operation costs on tensors so small that only the overhead counts, here and in PyTorch.

    python benchmarks/eager_overhead.py

In flow the snippets of `ROWS`; out flows a table, microseconds per operation and the ratio. A new
measurement is a row.
"""

from __future__ import annotations

import timeit
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from retrograd.runtime import arithmetic, autograd, conversion, pointwise
from retrograd.runtime.tensor import Tensor

__all__ = ["arithmetic", "autograd", "conversion"]
"""Imported for the methods that they enter."""

ROWS = (
    ("add", "x + y", 1),
    ("mul", "x * y", 1),
    ("add a number", "x + 2.0", 1),
    ("exp", "x.exp()", 1),
    ("function add", "add(x, y)", 1),
    ("in place add", "x.add_(y)", 1),
    ("add, recorded", "w + y", 1),
    ("mul, recorded", "w * y", 1),
    ("exp, recorded", "w.exp()", 1),
    ("chain of 10, unrecorded", "chain(x, y)", 30),
    ("chain of 10, recorded", "chain(w, y)", 30),
    ("chain of 10, forward and backward", "chain(w, y).backward(y)", 30),
)
"""What, how, and how many operations it is."""


def chain(x: Any, y: Any) -> Any:
    for _ in range(10):
        x = (x * y + 0.5).tanh()
    return x


def setting(make: Callable[[Any], Any], add: Callable[..., Any]) -> dict[str, Any]:
    x, y, w = (make(np.array([0.1, 0.2, 0.3], np.float32)) for _ in range(3))
    return {"x": x, "y": y, "w": w.requires_grad_(), "chain": chain, "add": add}


def microseconds(snippet: str, *settings: dict[str, Any]) -> list[float]:
    """The best of many short runs, by turns: the machine may be busy with other things."""
    timers = [timeit.Timer(snippet, globals=names) for names in settings]
    number = max(1, int(timers[0].autorange()[0] / 40))
    rounds = [[timer.timeit(number) for timer in timers] for _ in range(60)]
    return [min(column) / number * 1e6 for column in zip(*rounds)]


def main() -> None:
    torch.set_num_threads(1)
    ours = setting(Tensor, pointwise.FUNCTIONS["add"])
    theirs = setting(torch.from_numpy, torch.add)
    print(f"{'per operation, in µs':36}{'retrograd':>10}{'PyTorch':>10}{'ratio':>8}")
    for label, snippet, operations in ROWS:
        a, b = (time / operations for time in microseconds(snippet, ours, theirs))
        print(f"{label:36}{a:10.2f}{b:10.2f}{a / b:8.2f}")


if __name__ == "__main__":
    main()
