"""The general way, asked where a quick one has raised.

Quick ways do not know how errors are told, so whatever one raises leads to the general way, which tells it in
the user's terms. Where that gives a value instead, the quick way has a defect, which a user would see by its
time alone. It is noted here, and no test may leave such a note (`tests/conftest.py`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeVar

T = TypeVar("T")

UNCONFIRMED: deque[str] = deque(maxlen=8)
"""Errors of quick ways of which the general one knew nothing."""


def otherwise(error: Exception, general: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """What the general way gives, or its error."""
    found = general(*args, **kwargs)
    unconfirmed(error)
    return found


def unconfirmed(error: Exception) -> None:
    traceback = import_module("traceback")  # late: there is no defect, one hopes
    UNCONFIRMED.append("".join(traceback.format_exception(error)))
