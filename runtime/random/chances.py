"""Numbers whose law is another for each element: gamma, Poisson and binomial, as in PyTorch.

In flow arrays of parameters and a generator, out flow arrays of the same shape and dtype. What depends on an
element's parameters alone is worked out here, in the dtype in which PyTorch does it; `rejection.py`
draws. To add a law, add its record and its code there, and its parameters here.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from retrograd.compiler.errors import ArgumentError, mirrored
from retrograd.compiler.ir.graph import Array
from retrograd.compiler.native.language import Record
from retrograd.runtime.random.generator import Generator
from retrograd.runtime.random.native import native
from retrograd.runtime.random.rejection import Binomial, Gamma, Poisson


def _drawn(law: type[Record], shape: tuple[int, ...], generator: Generator, **parameters: Any) -> Array:
    """Numbers of these shape and parameters: the law's fields, each for all elements or one by one."""
    table = np.empty((*shape, len(law.__annotations__)))
    for place, name in enumerate(law.__annotations__):
        table[..., place] = parameters[name]
    numbers = np.empty(shape)
    native(law.__name__.lower())(generator.address, numbers.ctypes.data, numbers.size, table.ctypes.data)
    return numbers


def _wide(x: Array) -> Array:
    """In the dtype in which the parameters are worked out: halves in float32."""
    return x if x.dtype in (np.float32, np.float64) else x.astype(np.float32)


def gamma(concentration: Array, generator: Generator) -> Array:
    """Gamma numbers of rate 1; the least is the least normal number of the dtype."""
    a = _wide(concentration)
    one, third = a.dtype.type(1), a.dtype.type(np.float32(1) / np.float32(3))
    small = a < 1
    with np.errstate(divide="ignore", invalid="ignore"):
        boost = np.where(small, np.where(a > 0, one / a, np.inf), 0)
        d = (np.where(small, a + one, a) - third).astype(np.float64)
        c = 1 / np.sqrt(9 * d)
    numbers = _drawn(Gamma, a.shape, generator, boost=boost, d=d, c=c, least=np.finfo(a.dtype).tiny)
    return numbers.astype(concentration.dtype)


def poisson(rate: Array, generator: Generator) -> Array:
    """Poisson numbers. Raises ArgumentError where a rate is negative."""
    if not (rate >= 0).all():
        raise ArgumentError(mirrored("invalid Poisson rate, expected rate to be non-negative"))
    return _drawn(Poisson, rate.shape, generator, rate=rate).astype(rate.dtype)


def binomial(count: Array, prob: Array, generator: Generator) -> Array:
    """How many of `count` trials succeed, each with a probability."""
    n, given = np.broadcast_arrays(_wide(count), _wide(prob))
    one = given.dtype.type(1)
    failures = given > 0.5
    p = np.where(failures, one - given, given)
    trivial = (n <= 0) | (given <= 0) | (given >= 1) | np.isnan(given) | np.isnan(n)
    known = np.where(np.isnan(given), np.nan, np.where((n > 0) & (given >= 1), n, 0))
    with np.errstate(all="ignore"):
        way = np.where(trivial, 0, np.where(n * p >= 10, 2, 1))
        deviation = np.sqrt(n * p * (one - p)).astype(np.float64)
        b = 1.15 + 2.53 * deviation
        numbers = _drawn(
            Binomial,
            n.shape,
            generator,
            way=way,
            failures=failures,
            count=n,
            log_failure=np.where(trivial, known, np.log1p(-p)),
            b=b,
            a=-0.0873 + 0.0248 * b + 0.01 * p.astype(np.float64),
            c=(n * p).astype(np.float64) + 0.5,
            v_quick=0.92 - 4.2 / b,
            r=p / (one - p),
            alpha=(2.83 + 5.1 / b) * deviation,
            m=np.floor((n + one) * p),
        )
    return numbers.astype(count.dtype)
