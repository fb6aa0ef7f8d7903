"""The types of PTX's instructions, and what one instruction's arithmetic is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Compute = Callable[..., Any]
Modifiers = tuple[str, ...]

NUMPY = {
    "pred": np.dtype(bool),
    **{f"{k}{n}": np.dtype(f"{'i' if k == 's' else 'u'}{n // 8}") for k in "bsu" for n in (8, 16, 32, 64)},
    "f16": np.dtype("f2"),
    "f32": np.dtype("f4"),
    "f64": np.dtype("f8"),
    "bf16": np.dtype("u2"),
    "f16x2": np.dtype("u4"),
    "bf16x2": np.dtype("u4"),
}
"""How the values of each type are held; `bf16` and the pairs are held as bits."""
FLOATS = ("f16", "f32", "f64", "bf16", "f16x2", "bf16x2")


class Unknown(Exception):
    """An instruction that no row describes."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One instruction's arithmetic."""

    result: str
    operands: tuple[str, ...]
    compute: Compute
