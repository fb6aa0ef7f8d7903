"""SciPy minimises a compiled function: arrays in, a float and an array out, so it is passed as it is.

SciPy comes with pip install '.[examples]'.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import minimize

import retrograd as rg


@rg.compile_grad
def rosenbrock(x: Any) -> Any:
    """Rosenbrock, "An Automatic Method for Finding the Greatest or Least Value of a Function", 1960."""
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


@rg.compile_grad(wrt="x")
def slope_along(x: Any, direction: Any) -> Any:
    """Its gradient by x is the Hessian times the direction."""
    return (rosenbrock.grad(x) * direction).sum()


def main() -> None:
    start = np.full(50, -1.0)
    found = minimize(rosenbrock.value_and_grad, start, jac=True, method="L-BFGS-B")
    print(f"L-BFGS-B:  f = {found.fun:.2e} after {found.nfev} calls, |x - 1| = {abs(found.x - 1).max():.1e}")
    found = minimize(rosenbrock.value_and_grad, start, jac=True, hessp=slope_along.grad, method="trust-ncg")
    print(
        f"trust-ncg: f = {found.fun:.2e} after {found.nhev} products, |x - 1| = {abs(found.x - 1).max():.1e}"
    )


if __name__ == "__main__":
    main()
