"""Casts of operands to autocast's dtypes, and leaves that have been cast, which are kept.

In flow the operands of a call and a dtype; out flow the operands in it. `SETTINGS` is what this thread has
asked of autocast.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Sequence
from typing import Any

from retrograd.compiler import dtypes
from retrograd.compiler.dtypes import DType
from retrograd.runtime.device import CPU
from retrograd.runtime.modes import STATE
from retrograd.runtime.tensor import Tensor


class Settings(threading.local):
    """What a thread has asked of autocast."""

    def __init__(self) -> None:
        self.enabled = {"cpu": False, "cuda": False}
        self.dtypes = {"cpu": dtypes.bfloat16, "cuda": dtypes.float16}
        self.cached = True
        """Whether leaves that have been cast are kept."""
        self.nesting = 0


SETTINGS = Settings()

CACHE: dict[tuple[int, DType, bool], tuple[weakref.ref[Tensor], int, Tensor]] = {}
"""Leaves in float32 and what they were cast to, by id, dtype and whether that was recorded; with the version
that was cast."""


def is_eligible(x: Any) -> bool:
    """Whether autocast casts it."""
    return (
        isinstance(x, Tensor)
        and x.dtype.is_floating_point
        and x.dtype is not dtypes.float64
        and x.device == CPU
    )


def eligible(values: Sequence[Any]) -> list[Tensor]:
    """The Tensors among nested values that autocast casts."""
    found: list[Tensor] = []
    for x in values:
        found += eligible(x) if isinstance(x, tuple | list) else [x] if is_eligible(x) else []
    return found


def cast(x: Any, dtype: DType) -> Any:
    """The Tensors of an argument in this dtype, as far as autocast casts them."""
    if isinstance(x, Tensor):
        if x.dtype is dtype or not is_eligible(x):
            return x
        return _kept(x, dtype) if _is_kept(x, dtype) else x.to(dtype)
    if type(x) in (tuple, list):
        return type(x)([cast(each, dtype) for each in x])
    return x


def _is_kept(x: Tensor, dtype: DType) -> bool:
    """Whether casting it once will do: it is a parameter, more or less."""
    lower = x.dtype is dtypes.float32 and dtype is not dtypes.float32
    leaf = x.requires_grad and x.is_leaf and x._view is None
    return lower and leaf and SETTINGS.cached and STATE.trace is None


def _kept(x: Tensor, dtype: DType) -> Tensor:
    """The leaf in another dtype, cast once until it is changed or autocast ends."""
    key, version = (id(x), dtype, STATE.grad), x._version
    found = CACHE.get(key)
    if found is not None and found[0]() is x and found[1] == version:
        return found[2]
    made: Tensor = x.to(dtype)
    CACHE[key] = weakref.ref(x), version, made
    return made
