"""The elementary functions as plain arithmetic: the same text runs on every target, at any vector width.

`FUNCTIONS[name](x, ...)` writes the code of a function of Values of a floating kind (f16 and bf16 by way of
f32); `BOUNDS[name]` is the largest error, in units in the last place, that `tests/test_vector_math.py` lets
it make in (f32, f64); `docs/guide.md` states them, too. Special values are those of C99's annex F. There are
no calls and no tables in memory, and no branches but one: the reduction of huge angles, and of huge
quotients, is done aside when any lane needs it. To add a function, write it in the file of its family and add
its row to `TABLE`.
"""

from __future__ import annotations

from retrograd.compiler.backends.math import (
    division,
    exponential,
    gamma,
    hyperbolic,
    inverse,
    logarithm,
    power,
    special,
    trigonometric,
)  # fmt: skip
from retrograd.compiler.backends.math.floats import Function, in_f32, widened

TABLE: dict[str, tuple[Function, float, float]] = {
    "exp": (exponential.exp, 2.0, 2.0),
    "exp2": (exponential.exp2, 2.0, 2.0),
    "expm1": (exponential.expm1, 2.0, 2.0),
    "sigmoid": (exponential.sigmoid, 2.0, 2.0),
    "tanh": (exponential.tanh, 2.0, 2.0),
    "log": (logarithm.log, 2.0, 2.0),
    "log2": (logarithm.log2, 2.0, 2.0),
    "log10": (logarithm.log10, 2.0, 2.0),
    "log1p": (logarithm.log1p, 2.0, 2.0),
    "softplus": (logarithm.softplus, 2.0, 2.0),
    "sin": (trigonometric.sin, 2.0, 2.0),
    "cos": (trigonometric.cos, 2.0, 2.0),
    "tan": (widened(trigonometric.tan), 1.0, 1.0),
    "asin": (inverse.asin, 2.0, 2.0),
    "acos": (inverse.acos, 2.0, 2.0),
    "atan": (inverse.atan, 2.0, 2.0),
    "atan2": (widened(inverse.atan2), 1.0, 2.0),
    "sinh": (exponential.sinh, 2.0, 2.0),
    "cosh": (exponential.cosh, 2.0, 2.0),
    "asinh": (widened(hyperbolic.asinh), 1.0, 2.0),
    "acosh": (widened(hyperbolic.acosh), 1.0, 2.0),
    "atanh": (widened(hyperbolic.atanh), 1.0, 2.0),
    "pow": (power.pow, 1.0, 1.0),
    "rsqrt": (power.rsqrt, 2.0, 2.0),
    "erf": (special.erf, 2.0, 2.0),
    "erfc": (special.erfc, 2.0, 2.0),
    "erfinv": (special.erfinv, 2.0, 1.0),
    "lgamma": (widened(gamma.lgamma), 1.0, 1.0),
    "digamma": (widened(gamma.digamma), 1.0, 1.5),
    "cbrt": (widened(power.cbrt), 1.0, 1.0),
    "hypot": (widened(power.hypot), 1.0, 1.5),
    "fmod": (division.fmod, 0.0, 0.0),
    "remainder": (division.remainder, 0.5, 0.5),
}
"""Per name: the function, and its error bounds in f32 and in f64. Those of lgamma and digamma in f64 are for
positive arguments; for negative ones they are 2 units in the last place of the result or, where it is less
than 1, of 1."""

FUNCTIONS: dict[str, Function] = {name: in_f32(row[0]) for name, row in TABLE.items()}

BOUNDS: dict[str, dict[str, float]] = {name: {"f32": row[1], "f64": row[2]} for name, row in TABLE.items()}
