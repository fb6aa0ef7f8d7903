"""What sparse derivatives take: `rg.func.sparse_jacobian` and `sparse_hessian` beside what others offer.

    python benchmarks/sparse.py [--threads N] [--rounds N]

Our first call finds the pattern and the colours. JAX has neither: what it is compared by is the dense
derivative (`jax.hessian`), where that fits, and products with directions that are given to it by hand:
`jax.vmap` of `jax.jvp`, and a gather, compiled; patterns and colours are told to it for nothing. SciPy's is
the compressed finite difference (`approx_derivative` with `sparsity`, by `group_columns`), of a function
compiled here, with the pattern told. What is printed, `libraries.py` says.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from libraries import Call, compare

SIDE, CAMERAS, POINTS, SEEN = 128, 50, 5000, 20_000


# ---- what is differentiated --------------------------------------------------------------------------------


def rosenbrock(xp: Any, x: Any) -> Any:
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


def brusselator(xp: Any, y: Any) -> Any:
    """On a periodic grid, `[2, SIDE, SIDE]`."""
    u, v = y[0], y[1]

    def diffused(a: Any) -> Any:
        return sum(xp.roll(a, shift, axis) for shift in (1, -1) for axis in (0, 1)) - 4 * a

    return xp.stack([1 + u * u * v - 4.4 * u + 50 * diffused(u), 3.4 * u - u * u * v + 50 * diffused(v)])


def pinhole(xp: Any, x: Any) -> Any:
    """Where cameras (six numbers: turned a little, and moved) see points (three numbers): `[SEEN, 2]`."""
    camera, point = (xp.asarray(each) for each in sightings())
    poses, places = x[: 6 * CAMERAS].reshape(CAMERAS, 6)[camera], x[6 * CAMERAS :].reshape(POINTS, 3)[point]
    turn, move = poses[:, :3], poses[:, 3:]
    a, b, c = (turn[:, k] for k in range(3))
    px, py, pz = (places[:, k] for k in range(3))
    seen = xp.stack([px + b * pz - c * py, py + c * px - a * pz, pz + a * py - b * px], 1) + move
    return seen[:, :2] / (seen[:, 2:] + 5)


def sightings() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    return random.integers(0, CAMERAS, SEEN), random.integers(0, POINTS, SEEN)


def start(case: str) -> np.ndarray:
    random = np.random.default_rng(1)
    shape: tuple[int, ...] = (CASES[case][2],) if case.startswith("chain") else (2, SIDE, SIDE)
    return random.random((6 * CAMERAS + 3 * POINTS,) if case == "pinhole" else shape)


CASES: dict[str, tuple[str, Callable[[Any, Any], Any], int]] = {
    "chain 3": ("Hessian, chained Rosenbrock, n = 1,000", rosenbrock, 1_000),
    "chain 4": ("Hessian, chained Rosenbrock, n = 10,000", rosenbrock, 10_000),
    "chain 5": ("Hessian, chained Rosenbrock, n = 100,000", rosenbrock, 100_000),
    "brusselator": (f"Jacobian, Brusselator on {SIDE} × {SIDE}", brusselator, 2 * SIDE**2),
    "pinhole": (f"Jacobian, {SEEN:,} sightings of {POINTS:,} points by {CAMERAS} cameras", pinhole, 0),
}
DENSE = ("chain 3", "chain 4")
"""Where the whole matrix fits: 10,000² numbers are 0.8 GB."""


# ---- by each library ---------------------------------------------------------------------------------------


def by_retrograd(case: str) -> Call:
    function, x = ours(case), start(case)
    derivative = derivative_of(case)(function)
    return lambda: derivative(x).data


def ours(case: str) -> Callable[[Any], Any]:
    import retrograd as rg

    function = CASES[case][1]
    return lambda x: function(rg, x)


def derivative_of(case: str) -> Any:
    import retrograd as rg

    return rg.func.sparse_hessian if case.startswith("chain") else rg.func.sparse_jacobian


def theirs(case: str) -> tuple[Any, Callable[[Any], Any], Any]:
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    function = CASES[case][1]
    return jax, lambda x: function(jnp, x), jnp.asarray(start(case))


def by_jax_dense(case: str) -> Call | None:
    if case not in DENSE:
        return None
    jax, function, x = theirs(case)
    compiled = jax.jit((jax.hessian if case.startswith("chain") else jax.jacfwd)(function))
    return lambda: jax.block_until_ready(compiled(x))


def by_jax(case: str) -> Call:
    from retrograd.compiler.passes.relations import gathered
    from retrograd.runtime.func.colouring import plan

    jax, function, x = theirs(case)
    pattern = derivative_of(case)(ours(case))(start(case)).pattern
    told = plan(gathered(pattern.rows, pattern.indices.astype(np.int64), *pattern.shape))
    assert not told.rows.count
    seeds = (told.columns.of == np.arange(told.columns.count)[:, None]).astype(float)
    directions, index = jax.numpy.asarray(seeds.reshape(-1, *x.shape)), jax.numpy.asarray(told.index)
    along = jax.grad(function) if case.startswith("chain") else function

    @jax.jit
    def data(x: Any) -> Any:
        columns = jax.vmap(lambda direction: jax.jvp(along, (x,), (direction,))[1])(directions)
        return columns.reshape(-1)[index]

    return lambda: jax.block_until_ready(data(x))


def by_scipy(case: str) -> Call:
    from scipy.optimize._numdiff import approx_derivative, group_columns

    import retrograd as rg

    x, shape = start(case).ravel(), start(case).shape
    function, pattern = ours(case), derivative_of(case)(ours(case))(start(case)).to_scipy()
    compiled = rg.compile_grad(function)
    along = compiled.grad if case.startswith("chain") else compiled
    groups = group_columns(pattern)
    return lambda: approx_derivative(
        lambda x: along(x.reshape(shape)).ravel(), x, "2-point", sparsity=(pattern, groups)
    )


CALLS: dict[str, Callable[[str], Call | None]] = {
    "retrograd": by_retrograd,
    "jax, directions by hand": by_jax,
    "jax, dense": by_jax_dense,
    "scipy, differences": by_scipy,
}

if __name__ == "__main__":
    compare(__file__, __doc__, {case: label for case, (label, *_) in CASES.items()}, CALLS)
