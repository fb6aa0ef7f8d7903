"""Powers that cost less than a power: by exponent, what stands for them in eager and in compiled code.

In flow one exponent; out flows a function of values of any level. To add one, add a line to `_FORMULAS`.
PyTorch computes a tensor to the power of these numbers in the same way, so the root of -0 is -0, and that of
minus infinity is no number.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any

Power = Callable[[Any], Any]

ROUNDED_ONCE = frozenset({2.0, -1.0, 0.5})
"""Those that take one operation: of halves, each is rounded."""

_FORMULAS = {
    2.0: "x * x",
    3.0: "x * x * x",
    4.0: "(x * x) * (x * x)",
    -1.0: "1 / x",
    -2.0: "1 / (x * x)",
    0.5: "sqrt(x)",
    -0.5: "1 / sqrt(x)",
}


@cache
def by_products(exponent: float) -> Power | None:
    """`x ** exponent` of floats, if it is one of these."""
    text = _FORMULAS.get(exponent)
    if text is None:
        return None
    table = import_module("retrograd.compiler.ops.row")  # late: its rows are powers, too
    found: Power = table.function_of(text, ["x"])
    return found


def slope(exponent: float) -> Power | None:
    """The derivative of `x ** exponent` by x, if that is one of these, too."""
    if exponent == 2.0:
        return lambda x: 2.0 * x
    product = by_products(exponent - 1.0) if exponent else None
    return None if product is None else lambda x: exponent * product(x)
