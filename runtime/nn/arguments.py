"""Module classes whose constructor only keeps its arguments: a list of fields, and one decorator.

@arguments("alpha={0.alpha}")
class ELU(Module):
    alpha: float = 1.0
    inplace: bool = False

    def forward(self, input: Tensor) -> Tensor:
        return F.elu(input, self.alpha, self.inplace)
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar, dataclass_transform

from retrograd.compiler.errors import ArgumentError, mirrored
from retrograd.runtime.functions.routines import misplaced
from retrograd.runtime.nn.module import Module

C = TypeVar("C", bound=type[Module])


@dataclass_transform(eq_default=False)
def arguments(shown: str = "") -> Callable[[C], C]:
    """The annotated names of the class, in order, are the arguments of its constructor, and of those that
    inherit it, kept as attributes.

    `shown` is a format of the module for its text; `inplace=True` is added where it is so and not yet shown.
    A method `_check` is called when all are set.
    """

    def enter(cls: C) -> C:
        signature = inspect.Signature([
            inspect.Parameter(
                name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=vars(cls).get(name,
                inspect.Parameter.empty)
            )
            for name in inspect.get_annotations(cls)
        ])  # fmt: skip

        written = [
            name if p.default is p.empty else f"{name}=None" for name, p in signature.parameters.items()
        ]

        def __init__(self: Module, *args: Any, **kwargs: Any) -> None:
            Module.__init__(self)
            try:
                bound = signature.bind(*args, **kwargs)
            except TypeError:
                owner = cls if written else type(self)
                called = f"{owner.__name__}.__init__"
                words = misplaced(called, ["self", *written], (self, *args), kwargs)
                raise ArgumentError(mirrored(words), advice=f"its signature is {signature}") from None
            bound.apply_defaults()
            for name, value in bound.arguments.items():
                setattr(self, name, value)
            check = getattr(cls, "_check", None)
            if check is not None:
                check(self)

        def extra_repr(self: Module) -> str:
            parts = [shown.format(self)] if shown else []
            if getattr(self, "inplace", False) and "inplace" not in shown:
                parts.append("inplace=True")
            return ", ".join(parts)

        cls.__init__ = __init__  # type: ignore[method-assign]  # that is what the decorator is for
        own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
        shown_in_help = inspect.Signature([own, *signature.parameters.values()])
        __init__.__signature__ = shown_in_help  # type: ignore[attr-defined]  # Python's way to say it
        cls.extra_repr = extra_repr  # type: ignore[method-assign]  # likewise
        return cls

    return enter


def unusual(module: Module, usual: dict[str, Any]) -> list[str]:
    """The attributes that are not as usual, as text."""
    return [
        f"{name}={getattr(module, name)}" for name, value in usual.items() if getattr(module, name) != value
    ]
