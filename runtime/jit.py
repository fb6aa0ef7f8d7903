"""What programs say of scripts, as `torch.jit`: there are none here, so marks for them do nothing."""

from __future__ import annotations

from typing import Any, TypeVar

__all__ = ["annotate", "export", "ignore", "is_scripting", "is_tracing", "script_if_tracing", "unused"]

_F = TypeVar("_F")


def is_scripting() -> bool:
    """Whether this is run as a script: no."""
    return False


def is_tracing() -> bool:
    """Whether this is traced into a script: no."""
    return False


def annotate(the_type: Any, the_value: _F) -> _F:
    """The value."""
    return the_value


def export(fn: _F) -> _F:
    """The function, to be part of a script."""
    return fn


def unused(fn: _F) -> _F:
    """The function, to be no part of a script."""
    return fn


def ignore(drop: Any = False, **kwargs: Any) -> Any:
    """A decorator, for functions that scripts leave to Python."""
    return drop if callable(drop) else unused


def script_if_tracing(fn: _F) -> _F:
    """The function, to be a script where it is traced into one."""
    return fn
