"""Hooks of optimisers: functions of the user's that are called around steps, saving and loading."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from retrograd.runtime.eager.tape import RemovableHandle

Hook = Callable[..., Any]
Table = OrderedDict[int, Hook]

_TABLES = (
    "step_pre", "step_post", "state_dict_pre", "state_dict_post", "load_state_dict_pre",
    "load_state_dict_post",
)  # fmt: skip


class Hooked:
    """What hooks an optimiser has. With `prepend` a hook goes before those that are there."""

    _optimizer_step_pre_hooks: Table
    _optimizer_step_post_hooks: Table
    _optimizer_state_dict_pre_hooks: Table
    _optimizer_state_dict_post_hooks: Table
    _optimizer_load_state_dict_pre_hooks: Table
    _optimizer_load_state_dict_post_hooks: Table

    def _no_hooks(self) -> None:
        vars(self).update({f"_optimizer_{name}_hooks": OrderedDict() for name in _TABLES})

    def register_step_pre_hook(self, hook: Hook) -> RemovableHandle:
        """`hook(optimizer, args, kwargs)` before each step; it may return other arguments."""
        return RemovableHandle(self._optimizer_step_pre_hooks, hook)

    def register_step_post_hook(self, hook: Hook) -> RemovableHandle:
        """`hook(optimizer, args, kwargs)` after each step."""
        return RemovableHandle(self._optimizer_step_post_hooks, hook)

    def register_state_dict_pre_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """`hook(optimizer)` before it is saved."""
        return _enter(self._optimizer_state_dict_pre_hooks, hook, prepend)

    def register_state_dict_post_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """`hook(optimizer, state_dict)` after it was; what it returns replaces the state dict."""
        return _enter(self._optimizer_state_dict_post_hooks, hook, prepend)

    def register_load_state_dict_pre_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """`hook(optimizer, state_dict)` before it is loaded; what it returns replaces the state dict."""
        return _enter(self._optimizer_load_state_dict_pre_hooks, hook, prepend)

    def register_load_state_dict_post_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """`hook(optimizer)` after it was."""
        return _enter(self._optimizer_load_state_dict_post_hooks, hook, prepend)

    def _replaced(self, hooks: Table, state: dict[str, Any]) -> dict[str, Any]:
        """A state dict after hooks."""
        for hook in hooks.values():
            found = hook(self, state)
            state = state if found is None else found
        return state


def _enter(hooks: Table, hook: Hook, prepend: bool) -> RemovableHandle:
    handle = RemovableHandle(hooks, hook)
    if prepend:
        hooks.move_to_end(handle.id, last=False)
    return handle
