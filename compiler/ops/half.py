"""Half precision: what is computed from float16 or bfloat16 is computed in float32, and rounded once.

Such are PyTorch's results on processors, and machine code's. Movement takes halves as they are.
`in_float32` makes it so for a function of values of any level; nothing else knows how.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from retrograd.compiler import dtypes
from retrograd.compiler.dtypes import DType
from retrograd.compiler.ir.graph import Type, Value
from retrograd.compiler.ops.shape import cast


def half_among(*values: Value) -> DType | None:
    """The half precision dtype that one of the values has, if any."""
    for value in values:
        own = getattr(value, "dtype", None)
        if own is not None and own.itemsize == 2 and (found := dtypes.dtype(own)).is_half:
            return found
    return None


def widened(value: Value) -> Value:
    """In float32 if it is of half precision."""
    if isinstance(value, Type) or half_among(value) is None:
        return value
    return cast(value, dtypes.float32)


def in_float32(function: Callable[..., Value]) -> Callable[..., Value]:
    """The function of widened values, a floating result being rounded to their dtype."""

    @wraps(function)
    def rounded(*values: Value) -> Value:
        half = half_among(*values)
        if half is None:
            return function(*values)
        out = function(*map(widened, values))
        return cast(out, half) if dtypes.of(out) is dtypes.float32 else out

    rounded.exact = function  # type: ignore[attr-defined]  # for `exactly`
    return rounded


def exactly(function: Callable[..., Value]) -> Callable[..., Value]:
    """The function, for values that are known to have no half precision among them."""
    exact: Any = getattr(function, "exact", None)
    if exact is None:
        return function
    owner = getattr(function, "__self__", None)
    return exact if owner is None else exact.__get__(owner)  # type: ignore[no-any-return]  # the function
