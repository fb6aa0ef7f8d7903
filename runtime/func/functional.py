"""`functionalize`: a function without updates in place, as in `torch.func`.

Operations on Tensors are written down as values here already: in a trace an update in place is a new value
(`runtime.tracing`), so the function as it is does what is asked for, in eager mode and compiled.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from retrograd.compiler.errors import GradientError, mirrored

_KINDS = ("mutations", "mutations_and_views")


def functionalize(func: Callable[..., Any], *, remove: str = "mutations") -> Callable[..., Any]:
    """The function, whose updates in place, or these and views, are new values wherever it is traced."""

    @functools.wraps(func)
    def call(*args: Any, **kwargs: Any) -> Any:
        if remove not in _KINDS:
            raise GradientError(
                mirrored(
                    f"functionalize(f, remove='mutations'): received invalid argument for remove={remove}."
                ),
                "",
                f"it is one of {', '.join(_KINDS)}",
            )
        return func(*args, **kwargs)

    return call
