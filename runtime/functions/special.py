"""`special`: functions of mathematical physics and statistics, under PyTorch's names for them.

Most are rows of the elementwise table; of the others some are here, some stand elsewhere under another name.
A new one is an entry of `ROWS_HERE` or of `ELSEWHERE`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from retrograd.compiler import dtypes
from retrograd.compiler.errors import NotWrittenError, mirrored
from retrograd.compiler.ir.graph import apply
from retrograd.compiler.ops.incomplete_ops import IncompleteGamma
from retrograd.runtime.functions import pointwise, statistics
from retrograd.runtime.functions.public import promoted, public
from retrograd.runtime.functions.rows import ROWS
from retrograd.runtime.functions.shaping import broadcast_tensors
from retrograd.runtime.names import bare_legacy_name
from retrograd.runtime.tensor import Tensor


def _incomplete(name: str, upper: bool, input: Tensor, other: Tensor) -> Tensor:
    a, x = broadcast_tensors(*promoted(input, other))
    if a.dtype not in (dtypes.float32, dtypes.float64):
        kind = bare_legacy_name(a.dtype)
        raise NotWrittenError(mirrored(f"\"{name}_cpu\" not implemented for '{kind}'"))
    return apply(IncompleteGamma(upper), a, x)


@public("igamma", method=True, inplace=True, replay=True)
def igamma(input: Tensor, other: Tensor) -> Tensor:
    """The regularized lower incomplete gamma function of a concentration and a place."""
    return _incomplete("igamma", False, input, other)


@public("igammac", method=True, inplace=True, replay=True)
def igammac(input: Tensor, other: Tensor) -> Tensor:
    """The regularized upper incomplete gamma function, `1 - igamma`."""
    return _incomplete("igammac", True, input, other)


ROWS_HERE = (
    "digamma", "entr", "erf", "erfc", "erfcx", "erfinv", "exp2", "expm1", "i0", "i0e", "i1", "i1e", "log1p",
    "log_ndtr", "ndtr", "ndtri", "sinc", "xlog1py", "xlogy", "zeta",
)  # fmt: skip

ELSEWHERE: dict[str, Callable[..., Any]] = {
    "expit": pointwise.FUNCTIONS["sigmoid"],
    "gammainc": igamma,
    "gammaincc": igammac,
    "gammaln": pointwise.FUNCTIONS["lgamma"],
    "logit": pointwise.FUNCTIONS["logit"],
    "log_softmax": statistics.log_softmax,
    "logsumexp": statistics.logsumexp,
    "modified_bessel_i0": pointwise.FUNCTIONS["i0"],
    "modified_bessel_i1": pointwise.row_function(ROWS["i1"]),
    "multigammaln": pointwise.FUNCTIONS["mvlgamma"],
    "polygamma": pointwise.FUNCTIONS["polygamma"],
    "psi": pointwise.FUNCTIONS["digamma"],
    "round": pointwise.FUNCTIONS["round"],
    "softmax": statistics.softmax,
}

SPECIAL: dict[str, Callable[..., Any]] = {
    name: pointwise.FUNCTIONS.get(name) or pointwise.row_function(ROWS[name]) for name in ROWS_HERE
} | ELSEWHERE
"""The functions of `special`, by name."""
