"""Random counts whose law is another for each element: `poisson`, `binomial`.

In flow Tensors of parameters, out flow counts in their dtype, as floating-point numbers. How many words an
element takes of the stream depends on its parameters, so nothing is drawn inside a compiled function.
"""

from __future__ import annotations

from retrograd.compiler.errors import ArgumentError, mirrored
from retrograd.compiler.ops.rows import rows
from retrograd.runtime.functions.public import public
from retrograd.runtime.functions.sampling import check_not_tracing
from retrograd.runtime.names import bare_legacy_name
from retrograd.runtime.random import chances, laws, samplers
from retrograd.runtime.random.generator import Generator
from retrograd.runtime.tensor import Tensor, new


@public("poisson", shown="PoissonBackward0", replay="rates")
def poisson(input: Tensor, generator: Generator | None = None) -> Tensor:
    """Poisson numbers with the rates in `input`; their derivative is 0."""
    check_not_tracing("poisson")
    laws.check_floating("poisson", input.dtype.numpy)
    rates = input.detach().read("poisson()")
    counts = new(chances.poisson(rates, generator or samplers.default_generator), input)
    return rows.where(rows.ne(counts, counts), input, counts) if input.requires_grad else counts


@public("binomial", replay="trials")
def binomial(count: Tensor, prob: Tensor, generator: Generator | None = None) -> Tensor:
    """How many of `count` trials succeed, with the probabilities in `prob`."""
    check_not_tracing("binomial")
    for name, x in (("count", count), ("prob", prob)):
        if not x.is_floating_point():
            kind = bare_legacy_name(x.dtype)
            raise ArgumentError(
                mirrored(f"binomial only supports floating-point dtypes for {name}, got: {kind}")
            )
    trials, shares = (x.detach().read("binomial()") for x in (count, prob))
    return new(chances.binomial(trials, shares, generator or samplers.default_generator), count)
