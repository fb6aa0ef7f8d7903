"""What loops take: `scan` and `while_loop` compiled here, in JAX, and as Python loops in eager PyTorch.

    python benchmarks/loops.py [--threads N] [--rounds N]

A call gives value and gradient; that of the last row the value alone, as JAX has no reverse mode through
`while_loop`. What is printed, `libraries.py` says.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from libraries import Call, compare


def recurrent(xp: Any, scan: Any, w: Any, u: Any, xs: Any, h: Any) -> Any:
    """A recurrent layer over a sequence."""

    def step(h: Any, x: Any) -> Any:
        h = xp.tanh(h @ w + x @ u)
        return h, h

    return (scan(step, h, xs)[1] ** 2).sum()


def lorenz(xp: Any, scan: Any, p: Any, start: Any, times: Any) -> Any:
    """Lorenz's equations by the classical method of Runge and Kutta."""

    def field(x: Any) -> Any:
        return xp.stack([p[0] * (x[1] - x[0]), x[0] * (p[1] - x[2]) - x[1], x[0] * x[1] - p[2] * x[2]])

    def step(x: Any, dt: Any) -> Any:
        a = field(x)
        b = field(x + dt / 2 * a)
        c = field(x + dt / 2 * b)
        d = field(x + dt * c)
        return x + dt / 6 * (a + 2 * b + 2 * c + d), None

    return scan(step, start, times)[0].sum()


def smoothed(xp: Any, scan: Any, decay: Any, xs: Any) -> Any:
    """An exponential average of a few numbers."""
    return scan(lambda y, x: (y * decay + x, None), xs[0], xs)[0].sum()


def arrays_of(case: str) -> list[np.ndarray]:
    generator = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return generator.standard_normal(shape).astype(np.float32)

    if case == "lorenz":
        return [np.array([10.0, 28, 8 / 3]), np.ones(3), np.full(10_000, 1e-3)]
    if case == "smoothed":
        return [np.array(0.9), generator.standard_normal((20, 3))]
    if case == "newton":
        return [np.array([2.0, 3, 50])]
    turns, rows, inputs, states = (1000, 8, 16, 64) if case == "long" else (100, 32, 32, 128)
    w = np.linalg.qr(normal(states, states))[0]
    return [w, normal(inputs, states) / 10, normal(turns, rows, inputs), np.zeros((rows, states), np.float32)]


CASES: dict[str, tuple[str, Callable[..., Any]]] = {
    "recurrent": ("recurrent layer, 100 × 32 × 32 → 128 f32", recurrent),
    "long": ("recurrent layer, 1000 × 8 × 16 → 64 f32", recurrent),
    "lorenz": ("Lorenz's equations, 10,000 steps f64", lorenz),
    "smoothed": ("exponential average, 20 × 3 f64", smoothed),
    "newton": ("Newton's square root, `while_loop`, value alone, 3 f64", lambda: None),
}


def by_retrograd(case: str) -> Call:
    import retrograd as rg

    def newton(a: Any) -> Any:
        return rg.while_loop(lambda x: (x * x - a).abs().max() > 1e-9, lambda x: ((x + a / x) / 2,), (a,))[
            0
        ].sum()

    arrays = arrays_of(case)
    if case == "newton":
        compiled = rg.compile_grad(newton)
        return lambda: compiled(*arrays)
    function = CASES[case][1]
    loss = rg.compile_grad(lambda a, b, *rest: function(rg, rg.scan, a, b, *rest), wrt=("a", "b"))
    return lambda: loss.value_and_grad(*arrays)


def by_jax(case: str) -> Call:
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)

    def newton(a: Any) -> Any:
        return jax.lax.while_loop(
            lambda x: jnp.abs(x * x - a).max() > 1e-9, lambda x: (x + a / x) / 2, a
        ).sum()

    arrays, function = arrays_of(case), CASES[case][1]
    if case == "newton":
        compiled = jax.jit(newton)
    else:
        compiled = jax.jit(jax.value_and_grad(lambda *x: function(jnp, jax.lax.scan, *x), argnums=(0, 1)))
    return lambda: jax.block_until_ready(compiled(*arrays))


def by_torch(case: str) -> Call:
    import torch

    def scan(step: Any, carry: Any, xs: Any) -> Any:
        rows = []
        for x in xs:
            carry, y = step(carry, x)
            rows.append(y)
        return carry, torch.stack(rows) if rows[0] is not None else None

    def newton(a: Any) -> Any:
        x = a
        while (x * x - a).abs().max() > 1e-9:
            x = (x + a / x) / 2
        return x.sum()

    tensors = [torch.tensor(x) for x in arrays_of(case)]
    if case == "newton":
        return lambda: newton(*tensors)
    function = CASES[case][1]

    def call() -> Any:
        wanted = [x.requires_grad_() for x in tensors[:2]]
        value = function(torch, scan, *tensors)
        return value, torch.autograd.grad(value, wanted)

    return call


CALLS: dict[str, Callable[[str], Call]] = {
    "retrograd": by_retrograd,
    "jax": by_jax,
    "torch": by_torch,
}

if __name__ == "__main__":
    compare(__file__, __doc__, {case: label for case, (label, _) in CASES.items()}, CALLS)
