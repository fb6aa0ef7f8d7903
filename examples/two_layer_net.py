"""A two-layer network fitted to random data, eagerly and compiled: the same losses, step by step."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any

import retrograd as rg

# N is the batch size, D_in the width of the input, H of the hidden layer, D_out of the output.
N, D_in, H, D_out = 64, 1000, 100, 10
learning_rate = 1e-6


def loss(x: Any, y: Any, w1: Any, w2: Any) -> Any:
    y_pred = x.mm(w1).clamp(min=0).mm(w2)
    return (y_pred - y).pow(2).sum()


def train(loss: Callable[..., rg.Tensor], steps: int = 500) -> tuple[list[float], float]:
    """The loss at each step, and the seconds that a step took (the first, which may compile, left out)."""
    rg.manual_seed(0)
    x, y = rg.randn(N, D_in), rg.randn(N, D_out)
    w1 = rg.randn(D_in, H, requires_grad=True)
    w2 = rg.randn(H, D_out, requires_grad=True)
    losses, start = [], perf_counter()
    for step in range(steps):
        if step == 1:
            start = perf_counter()
        value = loss(x, y, w1, w2)
        losses.append(value.item())
        value.backward()
        with rg.no_grad():
            w1 -= learning_rate * w1.grad
            w2 -= learning_rate * w2.grad
            w1.grad.zero_()
            w2.grad.zero_()
    return losses, (perf_counter() - start) / (steps - 1)


def main() -> None:
    eager, eager_time = train(loss)
    compiled, compiled_time = train(rg.compile_grad(loss))
    for step in range(0, len(eager), 100):
        print(f"step {step:3}   eager {eager[step]:.6g}   compiled {compiled[step]:.6g}")
    worst = max(abs(a - b) for a, b in zip(eager, compiled)) / eager[0]
    print(f"the losses differ by at most {worst:.1e} of the first one")
    print(f"a step takes {1e6 * eager_time:.0f} µs eagerly, {1e6 * compiled_time:.0f} µs compiled")


if __name__ == "__main__":
    main()
