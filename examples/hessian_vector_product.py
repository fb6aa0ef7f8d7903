"""A derivative of a derivative in one native function: Newton's method, with Hessian-vector products only."""

from __future__ import annotations

from typing import Any

import retrograd as rg


def energy(x: Any) -> Any:
    """A chain of springs with stiffening links, its ends pulled apart."""
    stretch = x[1:] - x[:-1]
    return (stretch**2 + 0.5 * stretch**4).sum() + (x[0] + 1).square() + (x[-1] - 9).square()


@rg.compile_grad
def gradient_and_product(x: Any, v: Any) -> Any:
    """∇E(x) and ∇²E(x)·v."""
    (gradient,) = rg.autograd.grad(energy(x), x, create_graph=True)
    (product,) = rg.autograd.grad((gradient * v).sum(), x)
    return gradient.detach(), product


def solve(x: rg.Tensor, steps: int) -> rg.Tensor:
    """Conjugate gradients for ∇²E(x) · d = -∇E(x)."""
    direction = rg.zeros_like(x)
    residual = search = -gradient_and_product(x, direction)[0]
    for _ in range(steps):
        product = gradient_and_product(x, search)[1]
        length = residual @ residual / (search @ product)
        direction = direction + length * search
        shrunk = residual - length * product
        search = shrunk + (shrunk @ shrunk) / (residual @ residual) * search
        residual = shrunk
        if residual.norm() < 1e-10:
            break
    return direction


def main() -> None:
    x = rg.linspace(-3, 3, 40, dtype=rg.float64).requires_grad_()
    for step in range(5):
        size = gradient_and_product(x, rg.zeros_like(x))[0].norm().item()
        print(f"step {step}   energy {energy(x).item():.12f}   |gradient| {size:.1e}")
        x = (x + solve(x.detach().requires_grad_(), 80)).detach().requires_grad_()
    program = gradient_and_product.trace(x, rg.zeros_like(x))
    print(f"both come from one function of {len(program.assembly.splitlines())} lines of machine code")


if __name__ == "__main__":
    main()
