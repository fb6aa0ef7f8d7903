"""SciPy's solvers with sparse derivatives: a stiff reaction-diffusion equation, and a fit of many unknowns.

SciPy comes with pip install '.[examples]'.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.integrate import solve_ivp
from scipy.optimize import least_squares

import retrograd as rg

SIDE, POINTS = 48, 2000


def brusselator(y: Any) -> Any:
    """Prigogine and Lefever, "Symmetry Breaking Instabilities in Dissipative Systems II", 1968; periodic."""
    u, v = y.reshape(2, SIDE, SIDE)

    def diffused(a: Any) -> Any:
        around = a.roll(1, 0) + a.roll(-1, 0) + a.roll(1, 1) + a.roll(-1, 1)
        return (around - 4 * a) * (0.02 * SIDE**2)

    cubic = u * u * v
    return rg.stack([1 + cubic - 4.4 * u + diffused(u), 3.4 * u - cubic + diffused(v)]).reshape(-1)


def misfit(x: Any, measured: Any) -> Any:
    """What is left of the measurements, and bends, of which great ones count little more than small ones."""
    return rg.cat([x - measured, 3 * (x[2:] - 2 * x[1:-1] + x[:-2]).tanh()])


def main() -> None:
    random = np.random.default_rng(0)
    speed, jacobian = rg.compile_grad(brusselator), rg.func.sparse_jacobian(brusselator)
    start = random.random(2 * SIDE**2)
    matrix = jacobian(start)
    print(f"a Jacobian of {matrix.shape[0]} x {matrix.shape[1]}, of which {matrix.pattern.nnz} elements")
    solved = solve_ivp(
        lambda t, y: speed(y), (0, 1), start, "BDF", jac=lambda t, y: jacobian(y).to_scipy(), rtol=1e-5
    )
    print(f"BDF: {solved.t.size} steps to t = 1, u and v are {solved.y[:, -1].mean():.3f} in the mean")

    curve = np.sin(np.linspace(0, 6, POINTS))
    measured = curve + random.normal(0, 0.1, POINTS)
    slopes = rg.func.sparse_jacobian(misfit)
    found = least_squares(
        rg.compile_grad(misfit), np.zeros(POINTS), lambda x, m: slopes(x, m).to_scipy(), args=(measured,)
    )
    print(f"least squares: {found.nfev} calls, within {abs(found.x - curve).max():.2f} of the curve")


if __name__ == "__main__":
    main()
