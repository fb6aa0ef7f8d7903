"""The same program run with PyTorch and with Retrograd, and what it did compared.

In flows a function of the library, `program(t)`; out flow two outcomes, in which Tensors are told by their
elements, dtype and history, and an error by its class and words.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import retrograd
from retrograd.compiler.errors import RetrogradError

Program = Callable[[Any], Any]


def told(value: Any) -> Any:
    """A result in terms that both libraries share."""
    if isinstance(value, tuple | list):
        return [told(v) for v in value]
    if hasattr(value, "requires_grad") and hasattr(value, "detach"):
        digits = [f"{x + 0.0:.4g}" for x in np.asarray(value.detach().numpy(), dtype=float).ravel()]
        return (str(value.dtype), tuple(value.shape), digits, value.requires_grad, value.is_leaf)
    return value if isinstance(value, bool | int | float | str | type(None)) else str(value)


def outcome(program: Program, library: Any) -> tuple[Any, Exception | None]:
    try:
        return told(program(library)), None
    except Exception as error:
        return None, error


def compare(program: Program, torch: Any) -> None:
    """Assert that the program does the same with both; an error is of PyTorch's class and says PyTorch's
    words.
    """
    expected, refused = outcome(program, torch)
    found, raised = outcome(program, retrograd)
    if refused is None:
        if raised is not None:
            raise raised
        assert found == expected, f"PyTorch gives {expected}, here it is {found}"
        return
    assert raised is not None, f"PyTorch refuses: {refused}"
    assert isinstance(raised, RetrogradError | NotImplementedError), repr(raised)
    kind = next(
        k for k in (IndexError, TypeError, ValueError, RuntimeError, AssertionError) if isinstance(refused, k)
    )
    assert isinstance(raised, kind), f"{type(raised).__mro__} is no {kind}"
    assert str(refused) in str(raised)


# ---- operands of programs ----------------------------------------------------------------------------------


def leaf(t: Any, *elements: float) -> Any:
    return t.tensor(elements or (1.0, 2.0, 3.0)).requires_grad_()


def ones(t: Any, n: int = 3) -> Any:
    return t.tensor([1.0] * n)
