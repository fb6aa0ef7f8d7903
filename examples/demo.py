"""What `make demo` shows: two networks trained eagerly and compiled, equal losses, and what was compiled."""

from __future__ import annotations

from collections.abc import Sequence

import digits
import two_layer_net
from two_layer_net import D_in, D_out, H, N

import retrograd as rg

WIDTH = 118


def heading(text: str) -> None:
    print(f"\n── {text} " + "─" * (WIDTH - 4 - len(text)))


def compare(steps: Sequence[int], eager: Sequence[float], compiled: Sequence[float]) -> None:
    """Losses of both modes. They end at float32's noise, so small ones are compared as they are."""
    print("loss at step     " + "".join(f"{step:>12}" for step in steps))
    for name, losses in ("eager", eager), ("compiled", compiled):
        print(f"  {name:15}" + "".join(f"{losses[step]:12.5g}" for step in steps))
    apart = max(abs(a - b) / max(a, 1.0) for a, b in zip(eager, compiled))
    print(f"largest difference at any step, relative to losses above 1: {apart:.1e}")


def excerpt(title: str, text: object, lines: int, start: int = 0) -> None:
    """Some lines of a stage, cut to the terminal."""
    every = str(text).expandtabs(8).splitlines()
    heading(f"{title} (lines {start + 1}–{start + lines} of {len(every):,})")
    for line in every[start : start + lines]:
        print(line if len(line) <= WIDTH else line[: WIDTH - 1] + "…")


def main() -> None:
    heading(f"A two-layer network, {N} × {D_in} → {H} → {D_out}: 200 steps of gradient descent")
    native = rg.compile_grad(two_layer_net.loss)
    eager, slow = two_layer_net.train(two_layer_net.loss, steps=200)
    compiled, fast = two_layer_net.train(native, steps=200)
    compare((0, 25, 50, 100, 150, 199), eager, compiled)
    heading("Handwritten digits, 64 → 128 → 10: 840 steps of Adam")
    taped, traced = digits.train(compiled=False), digits.train(compiled=True)
    compare((0, 100, 200, 400, 600, 839), taped.losses, traced.losses)
    print(f"recognised of 450 held-out digits: {taped.accuracy:.1%}, compiled {traced.accuracy:.1%}")
    heading("A step: loss, gradients and update")
    for name, a, b in ("two-layer network", slow, fast), ("digits", taped.step_time, traced.step_time):
        print(f"{name:19} eager {1e6 * a:6.0f} µs   compiled {1e6 * b:6.0f} µs   {a / b:.1f} times as fast")
    weights = rg.randn(D_in, H, requires_grad=True), rg.randn(H, D_out, requires_grad=True)
    program = native.trace(rg.randn(N, D_in), rg.randn(N, D_out), *weights)
    excerpt("Graph: what the two-layer network computes", program.graph, 8)
    excerpt("Its adjoint: the gradients", program.adjoint, 16)
    code = program.assembly
    excerpt("Machine code: the loop of the squared errors", code, 20, code[: code.index("fm")].count("\n"))


if __name__ == "__main__":
    main()
