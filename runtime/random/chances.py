"""Numbers whose law is another for each element: gamma, Poisson and binomial, as in PyTorch.

In flow arrays of parameters and a generator, out flow arrays of the same shape and dtype, which the functions
of `rejection.py` fill. To add a law, add its code there, and a function here.
"""

from __future__ import annotations

import numpy as np

from retrograd.compiler.errors import ArgumentError, mirrored
from retrograd.compiler.ir.graph import Array
from retrograd.runtime.random.generator import Generator
from retrograd.runtime.random.native import judged, native


def _wide(x: Array) -> Array:
    """In the dtype in which the parameters are worked out: halves in float32."""
    return x if x.dtype in (np.float32, np.float64) else x.astype(np.float32)


def _operand(x: Array) -> tuple[Array, str]:
    """Such parameters in order, and the kind of native functions for them."""
    given = np.ascontiguousarray(_wide(x))
    return given, "f32" if given.dtype == np.float32 else "f64"


def gamma(concentration: Array, generator: Generator) -> Array:
    """Gamma numbers of rate 1; the least is the least normal number of the dtype."""
    a, kind = _operand(concentration)
    numbers = np.empty(concentration.shape, a.dtype)
    native(f"gamma_{kind}")(generator.address, numbers.ctypes.data, numbers.size, a.ctypes.data)
    return numbers.astype(concentration.dtype, copy=False)


def poisson(rate: Array, generator: Generator) -> Array:
    """Poisson numbers. Raises ArgumentError where a rate is negative."""
    rates, kind = _operand(rate)
    numbers = np.empty(rate.shape, rates.dtype)
    if not judged(f"poisson_{kind}", generator.address, numbers, rates):
        raise ArgumentError(mirrored("invalid Poisson rate, expected rate to be non-negative"))
    return numbers.astype(rate.dtype, copy=False)


def binomial(count: Array, prob: Array, generator: Generator) -> Array:
    """How many of `count` trials succeed, each with a probability."""
    shape = count.shape if count.shape == prob.shape else np.broadcast_shapes(count.shape, prob.shape)
    common = np.promote_types(count.dtype, prob.dtype)
    (trials, kind), (chance, _) = [
        _operand(np.broadcast_to(x.astype(common, copy=False), shape)) for x in (count, prob)
    ]
    numbers = np.empty(shape, trials.dtype)
    judged(f"binomial_{kind}", generator.address, numbers, trials, chance)
    return numbers.astype(count.dtype, copy=False)
