"""The rows of the elementwise table as plain NumPy: for arrays alone, without asking at each step what the
operands are.

A formula is a Python function whose names stand for rows (`compiler.ops.row`). The same code, with names that
stand for NumPy's functions, is what runs here: `kernel(row)` evaluates, `rules(row, dtype, …)` are the
operands' cotangents. Nothing is said anew, and nothing is to be added for a new row. Python numbers in
formulas take the arrays' dtype (NumPy 2's rule).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from types import FunctionType
from typing import Any

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.errors import DtypeError, mirrored
from retrograd.compiler.ir.graph import OPS, Array
from retrograd.compiler.ops.elementwise import Elementwise
from retrograd.compiler.ops.half import exactly, in_float32
from retrograd.runtime.names import SCALAR_NAMES
from retrograd.runtime.native.small import one_pass

Kernel = Callable[..., Any]


@cache
def kernel(row: Elementwise) -> Kernel:
    """The row's value, of arrays of a dtype that it takes; a scalar, where NumPy gives one."""
    return row.numpy or in_float32(_on_arrays(row.expansion))


@cache
def rules(row: Elementwise, dtype: np.dtype[Any], *needed: bool) -> tuple[Kernel | None, ...]:
    """For each operand, if needed, its cotangent from the operands, the value and the value's cotangent."""
    return tuple([_rule(row, k, dtype) if need else None for k, need in enumerate(needed)])


@cache
def _rule(row: Elementwise, operand: int, dtype: np.dtype[Any]) -> Kernel | None:
    if dtype.kind == "c":
        return row.step_back_on_complex(operand)
    formula = row.rule(operand)
    if formula is None:
        return None
    found = _on_arrays(formula)
    return in_float32(found) if dtype.itemsize <= 2 else one_pass.of_rule(row, operand, dtype, found)


def _on_arrays(formula: Callable[..., Any]) -> Kernel:
    """The formula with its names bound to NumPy."""
    assert isinstance(formula, FunctionType)
    for name in formula.__code__.co_names:
        if name not in _NAMESPACE:
            row: Any = OPS.get(name)
            own = exactly(kernel(row)) if isinstance(row, Elementwise) else formula.__globals__[name]
            if isinstance(row, Elementwise) and row.numpy is None and row.arity > 1:
                own = _of_one_dtype(own)
            _NAMESPACE[name] = own
    return FunctionType(formula.__code__, _NAMESPACE, formula.__name__)


def _of_one_dtype(formula: Kernel) -> Kernel:
    """The formula with numbers among its operands in the dtype of the others: numbers alone would have their
    own.
    """

    def typed(*operands: Any) -> Any:
        kind = next(x.dtype.type for x in operands if hasattr(x, "dtype"))
        return formula(*[x if hasattr(x, "dtype") else kind(x) for x in operands])

    return typed


def _power(base: Any, exponent: int) -> Any:
    """base ** exponent for a whole exponent above 1, by multiplication, as the compiled code does it."""
    result, square = None, base
    while True:
        if exponent % 2:
            result = square if result is None else np.multiply(result, square)
        exponent //= 2
        if not exponent:
            return result
        square = np.multiply(square, square)


_NAMESPACE: dict[str, Any] = {"power": _power, "__builtins__": {}}
"""What the formulas' names stand for; filled as they are met."""


# ---- numbers as arrays -------------------------------------------------------------------------------------

NUMBERS_KNOWN: dict[tuple[complex | str, Any], Array] = {}
_MOST = 4096


def number(value: complex, dtype: np.dtype[Any]) -> Array:
    """A Python number as a 0-d array. Those used lately are kept: making an array takes as long as adding
    two.
    """
    key: tuple[complex | str, Any] = (
        (value, dtype) if value and type(value) is not complex else (repr(value), dtype)
    )  # 0, 0.0 and -0.0 are equal, and are not one array
    found = NUMBERS_KNOWN.get(key)
    if found is None:
        with np.errstate(all="ignore"):
            found = np.asarray(value).astype(dtype)
        found.flags.writeable = False
        if dtypes.dtype(dtype).holds(value) and value == value:  # NaN equals nothing, so it is no key
            if len(NUMBERS_KNOWN) >= _MOST:
                NUMBERS_KNOWN.clear()
            NUMBERS_KNOWN[key] = found
    return found


def stored(value: complex, dtype: np.dtype[Any]) -> Array:
    """A Python number as a 0-d array, to be kept as it is: one that the dtype cannot hold is refused, as in
    PyTorch. As an operand of arithmetic it would wrap around."""
    kind = dtypes.dtype(dtype)
    if not kind.holds(value):
        raise DtypeError(
            f"the number {value} in {kind}",
            mirrored(f"value cannot be converted to type {SCALAR_NAMES[kind]} without overflow"),
            "give one that fits, or a tensor of another dtype",
        )
    return number(value, dtype)
