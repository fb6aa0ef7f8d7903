"""`stateless.functional_call`: the older name of `func.functional_call`, as in `torch.nn.utils.stateless`."""

from __future__ import annotations

from typing import Any

from retrograd.compiler.errors import warn
from retrograd.runtime.func.modules import functional_call as call
from retrograd.runtime.nn.module import Module

__all__ = ["functional_call"]


def functional_call(
    module: Module,
    parameters_and_buffers: dict[str, Any],
    args: Any = None,
    kwargs: dict[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """What the module gives with these parameters and buffers in the place of its own."""
    warn(
        "`torch.nn.utils.stateless.functional_call` is deprecated as of PyTorch 2.0 and will be removed in a "
        "future version of PyTorch. Please use `torch.func.functional_call` instead which is a drop-in "
        "replacement.",
        FutureWarning,
    )
    return call(module, parameters_and_buffers, args, kwargs, tie_weights=tie_weights, strict=strict)
