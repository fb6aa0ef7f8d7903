"""Evaluation without NumPy's warnings: division by zero, overflow and NaN are results here.

In flows a function of arrays, out flows its value. `np.errstate` says the same, but entering it takes five
times as long as adding two small arrays; a context (of `contextvars`, where NumPy 2 keeps its error state) is
made once per thread and entered in no time.
"""

from __future__ import annotations

import contextvars
import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

_inside = contextvars.ContextVar("inside", default=False)


class _Quiet(threading.local):
    """A context per thread in which NumPy ignores floating-point errors."""

    run: Callable[..., Any]

    def __init__(self) -> None:
        context = contextvars.Context()
        before = np.geterr()
        context.run(np.seterr, all="ignore")
        context.run(_inside.set, True)
        self.run = context.run
        if np.geterr() != before:  # NumPy 1 keeps the state with the thread
            np.seterr(**before)
            self.run = _under_errstate


def _under_errstate(function: Callable[..., Any], *operands: Any) -> Any:
    with np.errstate(all="ignore"):
        return function(*operands)


QUIET = _Quiet()
"""`QUIET.run(function, *operands)` is for a single NumPy function; what may evaluate again inside takes
`quietly`.
"""


@functools.cache
def quiet_context(name: str) -> contextvars.Context | None:
    """A context like that, of this name, which no thread has for its own: native code enters it. None under
    NumPy 1."""
    run = _Quiet().run
    return None if run is _under_errstate else run.__self__  # type: ignore[attr-defined]  # a context's method


def quietly(function: Callable[..., Any], *operands: Any) -> Any:
    """`function(*operands)` without warnings."""
    return function(*operands) if _inside.get() else QUIET.run(function, *operands)


@contextmanager
def quiet() -> Iterator[None]:
    """A block without warnings, in which `quietly` has nothing left to do."""
    token = _inside.set(True)
    try:
        with np.errstate(all="ignore"):
            yield
    finally:
        _inside.reset(token)
