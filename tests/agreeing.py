"""What there is to see of the results of programs, compared: for the tests beside PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np

Shown = Any

TOLERANCE = {"float16": 1e-2, "bfloat16": 6e-2, "float32": 2e-5, "float64": 1e-10}
"""Of single numbers and of numbers in tensors, by their dtypes."""


def shown(value: Any) -> Shown:
    """What there is to see of a value: of Tensors elements, dtype, shape, strides, and whether they require
    grad."""
    if hasattr(value, "stride"):
        steps = [step for step, size in zip(value.stride(), value.shape) if size > 1 or not value.numel()]
        return value.tolist(), str(value.dtype).split(".")[-1], tuple(value.shape), steps, value.requires_grad
    if isinstance(value, tuple | list):
        return tuple(map(shown, value))
    return value


def told(error: Exception) -> tuple[str, type[Exception]]:
    return str(error), type(error)


def is_told(outcome: Shown) -> bool:
    """Whether it is an error."""
    return isinstance(outcome, tuple) and len(outcome) == 2 and isinstance(outcome[1], type)


def same(a: Shown, b: Shown, within: float = 1e-6) -> bool:
    """Equal but for the last digits of numbers; NaN is NaN."""
    if isinstance(a, float) and isinstance(b, float):
        return bool(np.isclose(a, b, rtol=within, atol=within, equal_nan=True))
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        if len(a) > 3 and isinstance(a[1], str):
            within = max(within, TOLERANCE.get(a[1], within))
        return len(a) == len(b) and all(same(x, y, within) for x, y in zip(a, b))
    return bool(a == b)
