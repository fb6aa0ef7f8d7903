"""`special`: functions of mathematical physics and statistics, under PyTorch's names for them.

Most are rows of the elementwise table; the others stand elsewhere under another name. A new one is an entry
of `ROWS_HERE` or of `ELSEWHERE`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from retrograd.runtime.functions import pointwise, statistics

ROWS_HERE = (
    "digamma", "entr", "erf", "erfc", "erfcx", "erfinv", "exp2", "expm1", "i0", "i0e", "i1", "i1e", "log1p",
    "log_ndtr", "ndtr", "ndtri", "sinc", "xlog1py", "xlogy", "zeta",
)  # fmt: skip

ELSEWHERE: dict[str, Callable[..., Any]] = {
    "expit": pointwise.FUNCTIONS["sigmoid"],
    "gammaln": pointwise.FUNCTIONS["lgamma"],
    "logit": pointwise.FUNCTIONS["logit"],
    "log_softmax": statistics.log_softmax,
    "logsumexp": statistics.logsumexp,
    "multigammaln": pointwise.FUNCTIONS["mvlgamma"],
    "polygamma": pointwise.FUNCTIONS["polygamma"],
    "psi": pointwise.FUNCTIONS["digamma"],
    "round": pointwise.FUNCTIONS["round"],
    "softmax": statistics.softmax,
}

SPECIAL: dict[str, Callable[..., Any]] = {
    name: pointwise.FUNCTIONS.get(name) or pointwise.row_function(pointwise.ROWS[name]) for name in ROWS_HERE
} | ELSEWHERE
"""The functions of `special`, by name."""
