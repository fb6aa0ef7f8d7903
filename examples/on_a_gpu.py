"""A two-layer network trained on an NVIDIA GPU, if there is one; its kernels can be read anywhere."""

from __future__ import annotations

from typing import Any

import retrograd as rg


@rg.compile_grad(wrt=("w1", "w2"))
def loss(x: Any, y: Any, w1: Any, w2: Any) -> Any:
    hidden = (x @ w1).clamp(min=0)
    return (hidden @ w2 - y).pow(2).sum()


def train(device: str, steps: int = 100) -> None:
    """The same code on every device."""
    rg.manual_seed(0)
    x, y = rg.randn(64, 1000, device=device), rg.randn(64, 10, device=device)
    w1, w2 = (rg.randn(*size, device=device) for size in ((1000, 100), (100, 10)))
    for step in range(steps + 1):
        value, gradients = loss.value_and_grad(x, y, w1, w2)
        if step % 50 == 0:
            print(f"step {step:3} on {value.device}: loss {value.item():.4f}")
        for w, g in zip((w1, w2), gradients):
            w -= 1e-6 * g


def show_kernels() -> None:
    """Above each kernel stand its name and launch size, its parameters, and its lines of this file."""
    sizes = (64, 1000), (64, 10), (1000, 100), (100, 10)
    program = loss.trace(*(rg.zeros(*size) for size in sizes))
    text = program.ptx("sm_90", of="joint")
    kernels = [line for line in text.splitlines() if line.startswith(("// ", ".visible"))]
    print(f"\nvalue and gradients for sm_90, {len(text.splitlines())} lines of PTX:\n")
    print("\n".join(kernels[1:]))


def main() -> None:
    if not rg.cuda.is_available():
        print("there is no GPU here: training on the CPU")
    train("cuda" if rg.cuda.is_available() else "cpu")
    show_kernels()


if __name__ == "__main__":
    main()
