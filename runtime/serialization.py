"""`serialization`: the room in which PyTorch has `save` and `load`, and what it asks about classes in files.

Files here hold no objects and run no code, so which classes are trusted is kept for the program's sake.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from retrograd.runtime.saving import load, save

__all__ = [
    "add_safe_globals", "clear_safe_globals", "get_safe_globals", "load", "safe_globals", "save",
]  # fmt: skip

_trusted: list[Any] = []


def add_safe_globals(safe_globals: Sequence[Any]) -> None:
    """Trust functions and classes, or pairs of these and the names that they have in files."""
    _trusted.extend(x for x in safe_globals if x not in _trusted)


def clear_safe_globals() -> None:
    """Trust none."""
    _trusted.clear()


def get_safe_globals() -> list[Any]:
    """What is trusted."""
    return list(_trusted)


class safe_globals:
    """Within, these are trusted, too."""

    def __init__(self, safe_globals: Sequence[Any]) -> None:
        self._given = safe_globals
        self._before: list[Any] = []

    def __enter__(self) -> None:
        self._before = get_safe_globals()
        add_safe_globals(self._given)

    def __exit__(self, *raised: object) -> None:
        _trusted[:] = self._before
