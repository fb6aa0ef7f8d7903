"""Every stage of a compiled function, as text: graph, adjoint, both in one, loops, LLVM, machine code."""

from __future__ import annotations

from typing import Any

import retrograd as rg


@rg.compile_grad(wrt=("w", "b"))
def loss(x: Any, y: Any, w: Any, b: Any) -> Any:
    return ((x @ w + b).tanh() - y).pow(2).mean()


def show(title: str, text: object, lines: int) -> None:
    """The first lines of a stage."""
    every = str(text).splitlines()
    print(f"\n---- {title} " + "-" * (70 - len(title)))
    print("\n".join(line[:110] for line in every[:lines]))
    if len(every) > lines:
        print(f"… {len(every) - lines} lines more")


def main() -> None:
    rg.manual_seed(0)
    x, y = rg.randn(32, 8), rg.randn(32, 4)
    w, b = rg.randn(8, 4, requires_grad=True), rg.zeros(4, requires_grad=True)
    program = loss.trace(x, y, w, b)
    show("Graph: what is computed", program.graph, 30)
    show("its adjoint", program.adjoint, 40)
    show("value and gradients in one", program.joint, 40)
    show("Loops: how it is computed", program.loops, 30)
    show("LLVM", program.llvm, 12)
    show("machine code", program.assembly, 12)


if __name__ == "__main__":
    main()
