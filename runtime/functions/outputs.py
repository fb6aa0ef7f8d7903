"""`out=`: what a function gives, written into Tensors that the caller has.

In flow the arguments of a function that does not know `out` itself, where PyTorch's does (`signatures.txt`);
out flow the arguments without it, and then those Tensors with the results.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from retrograd.runtime.functions.refusals import forms
from retrograd.runtime.functions.results import pair
from retrograd.runtime.functions.routines import routine_of
from retrograd.runtime.functions.updating import write_out
from retrograd.runtime.tensor import Tensor


def knows_out(f: Callable[..., Any]) -> bool:
    """Whether the function here has an `out` of its own."""
    return "out" in inspect.signature(f).parameters


def takes_out(called: Sequence[str]) -> bool:
    """Whether PyTorch's function under one of these names has an `out`."""
    ways = [way for name in called for way in forms(name)]
    written = [routine.parameters for routine in map(routine_of, called) if routine is not None]
    return any(p.name == "out" for way in ways for p in way.parameters) or any("out=" in p for p in written)


def without_out(kwargs: Mapping[str, Any], makes: bool) -> tuple[dict[str, Any], Any]:
    """The arguments without `out`, and what it is; a function that `makes` its result of a dtype makes it of
    that of `out`."""
    rest = {name: x for name, x in kwargs.items() if name != "out"}
    out = kwargs["out"]
    if makes and isinstance(out, Tensor):
        rest.setdefault("dtype", out.dtype)
    return rest, out


def written_out(out: Any, result: Any) -> Any:
    """The Tensors of `out` with the results."""
    if isinstance(out, Tensor):
        return write_out(out, result)
    made = [write_out(*each) for each in zip(out, result, strict=True)]
    return pair(f"{type(result).__name__}_out", *made) if hasattr(result, "_make") else tuple(made)
