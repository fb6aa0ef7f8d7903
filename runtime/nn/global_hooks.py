"""Hooks of all Modules at once, which profilers and debuggers set (PyTorch's `nn.modules.module`).

In flow a function of the user's, which is called for every Module; out flows the handle that takes it away.
Calls of Modules look for such hooks only while there are any. A function that is compiled already does not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from retrograd.runtime.eager.tape import RemovableHandle
from retrograd.runtime.nn.hooks import EVERYWHERE, ForwardHook
from retrograd.runtime.nn.module import Module

_PLAIN = Module.__call__


def _call(self: Module, *args: Any, **kwargs: Any) -> Any:
    if self._compiled_call_impl is not None:
        return self._compiled_call_impl(*args, **kwargs)
    return self._call_hooked(args, kwargs, EVERYWHERE)


class _Handle(RemovableHandle):
    def __init__(self, table: str, hook: Any) -> None:
        super().__init__(EVERYWHERE[table], hook)
        Module.__call__ = _call  # type: ignore[method-assign]  # so that plain calls need not ask

    def remove(self) -> None:
        super().remove()
        if not any(EVERYWHERE.values()):
            Module.__call__ = _PLAIN  # type: ignore[method-assign]  # as before the first


def register_module_forward_pre_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """`hook(module, args)` before each call of a Module; what it returns replaces the arguments."""
    return _Handle("_forward_pre_hooks", ForwardHook(hook, False, False))


def register_module_forward_hook(
    hook: Callable[..., Any], *, with_kwargs: bool = False, always_call: bool = False
) -> RemovableHandle:
    """`hook(module, args, output)` after each call of a Module; what it returns replaces the output.

    `with_kwargs`: `hook(module, args, kwargs, output)`. `always_call`: even if the call raised.
    """
    return _Handle("_forward_hooks", ForwardHook(hook, with_kwargs, always_call))


def register_module_full_backward_pre_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """`hook(module, grad_output)` before the gradients of a Module; what it returns replaces them."""
    return _Handle("_backward_pre_hooks", hook)


def register_module_full_backward_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """`hook(module, grad_input, grad_output)` after them; what it returns replaces `grad_input`."""
    return _Handle("_backward_hooks", hook)
