"""Fourier transforms: compiled and eager here, in NumPy, JAX and PyTorch.

    python benchmarks/fourier.py [--threads N] [--rounds N]

The last rows are what transforms are for: a filter with its gradient, the power spectrum of a signal's
frames, and a layer of a Fourier neural operator with its gradients. What is printed, `libraries.py` says.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from libraries import Call, compare

CASES: dict[str, tuple[str, tuple[int, ...]]] = {
    "one": ("fft, 1024 c64", (1024,)),
    "rows": ("fft of rows, 1000 × 1024 c64", (1000, 1024)),
    "short": ("fft of rows, 10,000 × 60 c64", (10_000, 60)),
    "double": ("fft of rows, 1000 × 1024 c128", (1000, 1024)),
    "columns": ("fft of columns, 1024 × 1024 c64", (1024, 1024)),
    "long": ("fft, 2²⁰ c64", (1 << 20,)),
    "prime": ("fft, 100,003 (a prime) c64", (100_003,)),
    "real": ("rfft of rows, 1000 × 1024 f32", (1000, 1024)),
    "image": ("fft2, 8 × 256 × 256 c64", (8, 256, 256)),
    "filter": ("filter of rows, 1000 × 1024 f32, value and gradients", (1000, 1024)),
    "frames": ("power spectrum of frames, 1600 × 400 f32", (1600, 400)),
    "operator": (
        "layer of a Fourier neural operator, 16 × 32 × 64 × 64 f32, value and gradients",
        (16, 32, 64, 64),
    ),
}
_AXIS = {"columns": 0}
_MODES = 12
"""Frequencies that the operator's layer changes, along each axis and sign."""


def arrays_of(case: str) -> list[np.ndarray]:
    """The operand, and of the last rows the factors."""
    generator = np.random.default_rng(0)
    shape = CASES[case][1]

    def normal(*shape: int) -> np.ndarray:
        return generator.standard_normal(shape).astype(np.float32)

    if case in ("real", "frames"):
        return [normal(*shape)]
    if case == "filter":
        return [normal(*shape), (normal(513) + 1j * normal(513)).astype(np.complex64)]
    if case == "operator":
        factors = (normal(32, 32, _MODES, _MODES) + 1j * normal(32, 32, _MODES, _MODES)) / 32
        return [normal(*shape), factors.astype(np.complex64)]
    z = generator.standard_normal(shape) + 1j * generator.standard_normal(shape)
    return [z.astype(np.complex128 if case == "double" else np.complex64)]


def function_of(case: str, xp: Any, keyword: str) -> Callable[..., Any]:
    """What is computed, by the functions of a library, whose word for an axis is `keyword`."""
    axis = {keyword: _AXIS.get(case, -1)}
    match case:
        case "real":
            return lambda x: xp.fft.rfft(x)
        case "image":
            return lambda x: xp.fft.fft2(x)
        case "frames":
            return lambda x: abs(xp.fft.rfft(x)) ** 2
        case "filter":
            return lambda x, w: (xp.fft.irfft(xp.fft.rfft(x) * w) ** 2).sum()
        case "operator":

            def layer(x: Any, w: Any) -> Any:
                spectrum = xp.fft.rfft2(x)
                low = xp.einsum("bixy,ioxy->boxy", spectrum[:, :, :_MODES, :_MODES], w)
                return (xp.fft.irfft2(low, x.shape[-2:]) ** 2).sum()

            return layer
    return lambda x: xp.fft.fft(x, **axis)


def by_retrograd(case: str) -> Call:
    import retrograd as rg

    function = rg.compile_grad(function_of(case, rg, "dim"))
    tensors = [rg.from_numpy(x) for x in arrays_of(case)]
    if len(tensors) > 1:
        return lambda: function.value_and_grad(*tensors)
    return lambda: function(*tensors)


def eagerly(library: Any, case: str) -> Call:
    function = function_of(case, library, "dim")
    tensors = [library.from_numpy(x) for x in arrays_of(case)]
    if len(tensors) == 1:
        return lambda: function(*tensors)

    def call() -> Any:
        wanted = [x.requires_grad_() for x in tensors]
        value = function(*tensors)
        return value, library.autograd.grad(value, wanted)

    return call


def by_eager(case: str) -> Call:
    import retrograd

    return eagerly(retrograd, case)


def by_torch(case: str) -> Call:
    import torch

    return eagerly(torch, case)


def by_jax(case: str) -> Call:
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    arrays, function = [jnp.asarray(x) for x in arrays_of(case)], function_of(case, jnp, "axis")
    if len(arrays) > 1:
        function = jax.value_and_grad(function, argnums=(0, 1))
    compiled = jax.jit(function)
    return lambda: jax.block_until_ready(compiled(*arrays))


def by_numpy(case: str) -> Call | None:
    if case in ("filter", "operator"):  # it has no gradients
        return None
    arrays, function = arrays_of(case), function_of(case, np, "axis")
    return lambda: function(*arrays)


CALLS: dict[str, Callable[[str], Call | None]] = {
    "compiled": by_retrograd,
    "eager": by_eager,
    "numpy": by_numpy,
    "jax": by_jax,
    "torch": by_torch,
}

if __name__ == "__main__":
    compare(__file__, __doc__, {case: label for case, (label, _) in CASES.items()}, CALLS, ours=2)
