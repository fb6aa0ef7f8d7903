"""`cond` and `while_loop`: branches and loops as functions of functions.

In flow predicates, functions and their operands; out flows what the chosen function, or the last turn, gives.
A predicate is looked at as `if` would: inside a compiled function the path is that of the arguments at hand,
and another is compiled when it is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from retrograd.runtime.tensor import Tensor


def cond(
    pred: bool | int | float | Tensor,
    true_fn: Callable[..., Any],
    false_fn: Callable[..., Any],
    operands: Sequence[Any] = (),
) -> Any:
    """`true_fn(*operands)` if the predicate is true, else `false_fn(*operands)`."""
    return true_fn(*operands) if bool(pred) else false_fn(*operands)


def while_loop(
    cond_fn: Callable[..., Any], body_fn: Callable[..., Any], carried_inputs: Sequence[Any]
) -> tuple[Any, ...]:
    """`carried = body_fn(*carried)` as long as `cond_fn(*carried)`; the last of them, as a tuple."""
    carried = tuple(carried_inputs)
    while bool(cond_fn(*carried)):
        found = body_fn(*carried)
        carried = tuple(found) if isinstance(found, tuple | list) else (found,)
    return carried
