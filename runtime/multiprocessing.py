"""`multiprocessing`: Python's own, for programs that take it from PyTorch.

A Tensor that is sent to another process is copied; what `share_memory_` has moved is shared with processes
that are forked. So there is nothing to choose between the ways in which PyTorch shares memory.
"""

from __future__ import annotations

import multiprocessing
from multiprocessing import *  # noqa: F403  # all that Python has
from typing import Any

from retrograd.compiler.errors import RequirementError

__all__ = [
    *multiprocessing.__all__,
    "get_all_sharing_strategies", "get_sharing_strategy", "set_sharing_strategy",
]  # fmt: skip

_STRATEGIES = ("file_descriptor", "file_system")
_strategy = "file_descriptor"


def get_all_sharing_strategies() -> set[str]:
    """The names that may be chosen."""
    return set(_STRATEGIES)


def get_sharing_strategy() -> str:
    """The one that was chosen last."""
    return _strategy


def set_sharing_strategy(new_strategy: str) -> None:
    """Choose a name; nothing depends on it."""
    global _strategy
    if new_strategy not in _STRATEGIES:
        raise RequirementError(
            f"set_sharing_strategy({new_strategy!r})", f"there are {', '.join(_STRATEGIES)}"
        )
    _strategy = new_strategy


def __getattr__(name: str) -> Any:
    return getattr(multiprocessing, name)
