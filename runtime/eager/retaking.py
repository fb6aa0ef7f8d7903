"""A function with plain arguments as one of Tensors alone: the same call again, of others.

In flow a function and the arguments of one call; out flows a function of the Tensors among them, in their
order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from retrograd.runtime.tensor import Tensor


def again(f: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Callable[..., Any]:
    """The function, of other Tensors and the same plain arguments."""
    leading = next((k for k, x in enumerate(args) if not isinstance(x, Tensor)), len(args))
    rest = tuple([[*x] if type(x) is list else x for x in args[leading:]])  # the caller may change a list
    if not hold_tensors((*rest, *kwargs.values())):
        if not rest and not kwargs:
            return f
        return lambda *operands: f(*operands, *rest, **kwargs)

    def without(x: Any) -> Any:
        if isinstance(x, tuple | list):
            return [without(each) for each in x] if type(x) is list or hold_tensors(x) else x
        return _OPERAND if isinstance(x, Tensor) else x

    plain, named = [without(x) for x in args], {name: without(x) for name, x in kwargs.items()}

    def with_operands(*operands: Tensor) -> Any:
        left = iter(operands)

        def with_them(x: Any) -> Any:
            if x is _OPERAND:
                return next(left)
            return [with_them(each) for each in x] if isinstance(x, list) else x

        own = [with_them(x) for x in plain]
        return f(*own, **{name: with_them(x) for name, x in named.items()})

    return with_operands


_OPERAND = object()


def hold_tensors(things: Iterable[Any]) -> bool:
    """Whether there is a Tensor among them, or among the elements of their sequences."""
    return any(hold_tensors(x) if isinstance(x, tuple | list) else isinstance(x, Tensor) for x in things)
