"""Constructors of layers, whose errors are told as PyTorch's: arguments that one of them has no place for, or
that make no sizes.

In flow the classes of `nn`; each constructor is followed by a look at `signatures.txt` where it has failed. A
class that users derive speaks for itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

from retrograd.runtime.functions.telling import wrong
from retrograd.runtime.nn.module import Module


def tell(classes: Iterable[type]) -> None:
    """Have the constructors of these Modules, and of their bases, told."""
    layers = {base for cls in classes if issubclass(cls, Module) for base in cls.__mro__}
    for base in layers - {Module, *Module.__mro__}:
        if "__init__" in vars(base):
            base.__init__ = _told(base.__init__)  # type: ignore[misc]  # told is what it is from now on


def _told(construct: Callable[..., None]) -> Callable[..., None]:
    @wraps(construct)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        try:
            construct(self, *args, **kwargs)
        except Exception as error:
            own = type(self).__init__ is __init__
            better = wrong(f"nn.{type(self).__name__}", (self, *args), kwargs) if own else None
            raise better or error from None

    return __init__
