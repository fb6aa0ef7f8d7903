"""What programs ask and say of compiling, as `torch.compiler`.

A compiled function is traced as a whole, so that what PyTorch leaves out of its graphs, or takes as it is, is
traced here like all else: these marks do nothing.
"""

from __future__ import annotations

from typing import Any, TypeVar

from retrograd.runtime.compiled.pytorch import compile
from retrograd.runtime.modes import STATE

__all__ = [
    "allow_in_graph", "assume_constant_result", "compile", "cudagraph_mark_step_begin", "disable",
    "is_compiling", "is_dynamo_compiling", "is_exporting", "list_backends", "reset",
]  # fmt: skip

_F = TypeVar("_F")


def is_compiling() -> bool:
    """Whether this is being traced, to be compiled."""
    return STATE.trace is not None


def is_dynamo_compiling() -> bool:
    """The same."""
    return is_compiling()


def is_exporting() -> bool:
    """Whether this is traced to be exported: no."""
    return False


def reset() -> None:
    """Nothing: compiled functions hold what was compiled for them, and let go of it with themselves."""


def list_backends(exclude_tags: Any = ("debug", "experimental")) -> list[str]:
    """The names that `compile` takes for the one compiler."""
    return ["inductor", "retrograd"]


def disable(fn: Any = None, recursive: bool = True, *, reason: str | None = None) -> Any:
    """The function, or a decorator."""
    return allow_in_graph if fn is None else fn


def allow_in_graph(fn: _F) -> _F:
    """The function."""
    return fn


def assume_constant_result(fn: _F) -> _F:
    """The function."""
    return fn


def cudagraph_mark_step_begin() -> None:
    """Nothing: results of one call are never overwritten by the next."""
