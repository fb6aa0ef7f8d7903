"""`sym_int`, `sym_max` and their kin: Python's numbers by PyTorch's names for numbers that may be sizes.

Numbers in, numbers out. Sizes are Python's own ints here, inside a trace, too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from retrograd.compiler.errors import RequirementError, mirrored

_KINDS = (np.integer, np.floating, int, float)


def sym_int(a: Any) -> int:
    """The number cut to a whole one."""
    return int(a)


def sym_float(a: Any) -> float:
    """The number as a float."""
    return float(a)


def sym_not(a: Any) -> bool:
    """Whether it is not so."""
    return not a


def sym_ite(b: bool, t: Any, f: Any) -> Any:
    """`t` if `b`, else `f`, which must be of its type."""
    if not isinstance(b, bool):
        raise RequirementError(mirrored(f"expected SymBool or bool, got {type(b)}"))
    if type(t) is not type(f):
        raise RequirementError(mirrored(f"type mismatch: {type(t)} vs {type(f)}"))
    return t if b else f


def _numbers(a: Any, b: Any) -> None:
    for x in (a, b):
        if not isinstance(x, _KINDS):
            raise RequirementError(mirrored(f"expected {_KINDS}, got {type(x)}"))


def sym_max(a: Any, b: Any) -> Any:
    """The greater number; a float if one of them is."""
    _numbers(a, b)
    return float(max(a, b)) if isinstance(a, float) or isinstance(b, float) else max(a, b)


def sym_min(a: Any, b: Any) -> Any:
    """The lesser number; a float if one of them is."""
    _numbers(a, b)
    return float(min(a, b)) if isinstance(a, float) or isinstance(b, float) else min(a, b)


def sym_sum(*args: Any) -> Any:
    """The sum of numbers, given one by one or as one sequence."""
    numbers = args[0] if len(args) == 1 and isinstance(args[0], Iterable) else args
    return sum(numbers)


def sym_sqrt(a: Any) -> float:
    """The square root."""
    return math.sqrt(a)
