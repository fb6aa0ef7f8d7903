"""Hooks of Modules: functions of the user's that are called as values and gradients pass.

`Hooked` is the part of Module that keeps them and runs them around `forward`. A module without any does not
come here. Hooks on gradients sit in two gates that the tape passes on its way back: one at the outputs,
one at the inputs.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

from retrograd.compiler.errors import ArgumentError, mirrored, warn
from retrograd.compiler.record import NamedTuple
from retrograd.runtime.autograd import Function
from retrograd.runtime.eager.tape import RemovableHandle
from retrograd.runtime.nn.node_hooks import hook_node
from retrograd.runtime.tensor import Tensor

Gradients = tuple[Tensor | None, ...]
ToGradients = Callable[[Gradients], Gradients | Tensor | None]


class ForwardHook(NamedTuple):
    """A hook before or after `forward`."""

    call: Callable[..., Any]
    with_kwargs: bool
    always: bool


_TABLES = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")
Tables = Mapping[str, Any]
"""Hooks by these names, then by number."""
EVERYWHERE: dict[str, OrderedDict[int, Any]] = {name: OrderedDict() for name in _TABLES}
"""Those of all modules (`global_hooks.py`), which come before a module's own."""


class Hooked:
    """What hooks a Module has."""

    _forward_pre_hooks: OrderedDict[int, Any]
    _forward_hooks: OrderedDict[int, Any]
    _backward_pre_hooks: OrderedDict[int, Any]
    _backward_hooks: OrderedDict[int, Any]
    _is_full_backward_hook: bool | None = None
    """Which kind `_backward_hooks` are of; None while there are none."""
    forward: Callable[..., Any]

    def _no_hooks(self) -> None:
        vars(self).update({name: OrderedDict() for name in _TABLES})

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """`hook(module, args)` before each call; what it returns replaces the arguments.

        `with_kwargs`: `hook(module, args, kwargs)`, which returns None or both.
        """
        return enter(self._forward_pre_hooks, ForwardHook(hook, with_kwargs, False), prepend)

    def register_forward_hook(
        self,
        hook: Callable[..., Any],
        *,
        prepend: bool = False,
        with_kwargs: bool = False,
        always_call: bool = False,
    ) -> RemovableHandle:
        """`hook(module, args, output)` after each call; what it returns replaces the output.

        `with_kwargs`: `hook(module, args, kwargs, output)`. `always_call`: even if the call raised, with
        None.
        """
        return enter(self._forward_hooks, ForwardHook(hook, with_kwargs, always_call), prepend)

    def register_full_backward_pre_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """`hook(module, grad_output)` before the gradients of the module; what it returns replaces them."""
        return enter(self._backward_pre_hooks, hook, prepend)

    def register_full_backward_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """`hook(module, grad_input, grad_output)` after them; what it returns replaces `grad_input`."""
        self._of_one_kind(full=True)
        return enter(self._backward_hooks, hook, prepend)

    def register_backward_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """The same of old: of the gradients of the node that made the output, which may be less than the
        module's."""
        self._of_one_kind(full=False)
        return enter(self._backward_hooks, hook, False)

    def _of_one_kind(self, full: bool) -> None:
        """Hooks on gradients of the module, or on those of a node: not both."""
        if self._is_full_backward_hook is (not full):
            raise ArgumentError(
                mirrored(
                    "Cannot use both regular backward hooks and full backward hooks on a single Module. "
                    "Please use only one of them."
                )
            )
        self._is_full_backward_hook = full

    def _call_hooked(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], everywhere: Tables | None = None
    ) -> Any:
        """A call, with the module's own hooks and those of all modules, if there are any."""
        tables: Tables = {  # by attributes, which compiled functions watch
            "_forward_pre_hooks": self._forward_pre_hooks, "_forward_hooks": self._forward_hooks,
            "_backward_pre_hooks": self._backward_pre_hooks, "_backward_hooks": self._backward_hooks,
        }  # fmt: skip
        if everywhere is not None:
            tables = {name: {**everywhere[name], **own} for name, own in tables.items()}
        done: set[int] = set()
        output = None
        try:
            args, kwargs = self._before(tables["_forward_pre_hooks"], args, kwargs)
            at_node = self._backward_hooks if self._is_full_backward_hook is False else {}
            ends = tables["_backward_hooks"]
            if at_node:
                ends = {} if everywhere is None else everywhere["_backward_hooks"]
            gates = None
            if ends or tables["_backward_pre_hooks"]:
                gates = _Gates(self, tables["_backward_pre_hooks"], ends)
                args = gates.enter(args)
            output = self.forward(*args, **kwargs)
            for key, hook in tables["_forward_hooks"].items():
                done.add(key)
                found = self._after(hook, args, kwargs, output)
                output = output if found is None else found
            if gates is not None:
                output = gates.leave(output)
            if at_node:
                hook_node(self, list(at_node.values()), args, output)
            return output
        except Exception:
            for key, hook in tables["_forward_hooks"].items():
                if hook.always and key not in done:
                    self._after(hook, args, kwargs, output)
            raise

    def _before(
        self, hooks: Mapping[int, ForwardHook], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        for hook in hooks.values():
            if not hook.with_kwargs:
                found = hook.call(self, args)
                if found is not None:
                    args = found if isinstance(found, tuple) else (found,)
                continue
            found = hook.call(self, args, kwargs)
            if found is not None:
                if not isinstance(found, tuple) or len(found) != 2:
                    raise ArgumentError(
                        mirrored(
                            "forward pre-hook must return None or a tuple of (new_args, new_kwargs), "
                            f"but got {found}."
                        )
                    )
                args, kwargs = found
        return args, kwargs

    def _after(self, hook: ForwardHook, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        return hook.call(self, args, kwargs, output) if hook.with_kwargs else hook.call(self, args, output)


def enter(hooks: OrderedDict[int, Any], hook: Any, prepend: bool) -> RemovableHandle:
    handle = RemovableHandle(hooks, hook)
    if prepend:
        hooks.move_to_end(handle.id, last=False)
    return handle


# ---- gradients ---------------------------------------------------------------------------------------------


class BackwardHookFunction(Function):
    """Passes Tensors on, and their gradients back through a function."""

    @staticmethod
    def forward(ctx: Any, back: ToGradients, *tensors: Tensor) -> Any:
        ctx.set_materialize_grads(False)
        ctx.back = back
        return tuple(x.view_as(x) for x in tensors)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> Any:
        replaced = ctx.back(gradients)
        return (None, *(gradients if replaced is None else replaced))


class _Gates:
    """The two gates of one call."""

    def __init__(self, module: Hooked, before: Mapping[int, Any], after: Mapping[int, Any]) -> None:
        self._module = module
        self._pre, self._hooks = list(before.values()), list(after.values())
        self._grad_output: Any = None
        self._at_inputs = False
        """Whether an input requires grad, so that there are gradients to wait for."""
        self._arguments = 0

    def enter(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """The arguments, behind the gate that runs the hooks."""
        self._arguments = len(args)
        places = [k for k, x in enumerate(args) if isinstance(x, Tensor) and x.requires_grad]
        self._at_inputs = bool(places)
        return _through(args, places, lambda gradients: self._computed(gradients, places))

    def leave(self, output: Any) -> Any:
        """The output, before the gate that notes its gradients."""
        outputs = output if isinstance(output, tuple) else (output,)
        if not all(isinstance(x, Tensor) for x in outputs):
            warn(
                "For backward hooks to be called, module output should be a Tensor or a tuple of Tensors "
                f"but received {type(output)}"
            )
            return output
        places = [k for k, x in enumerate(outputs) if x.requires_grad]
        found = _through(outputs, places, lambda gradients: self._arrived(gradients, places, len(outputs)))
        return found if isinstance(output, tuple) else found[0]

    def _arrived(self, gradients: Gradients, places: list[int], count: int) -> Gradients:
        """At the outputs: the hooks before, and, if no input waits for gradients, those after."""
        given = _spread(gradients, places, count)
        for hook in self._pre:
            found = hook(self._module, given)
            if found is not None:
                given = _as_many(found, count)
        self._grad_output = given
        if not self._at_inputs:
            for hook in self._hooks:
                if hook(self._module, (None,) * self._arguments, given) is not None:
                    raise ArgumentError(
                        mirrored(
                            "Backward hooks for Modules where no input requires gradient should always "
                            "return None or None for all gradients."
                        )
                    )
        return tuple(given[k] for k in places)

    def _computed(self, gradients: Gradients, places: list[int]) -> Gradients:
        """At the inputs: the hooks after."""
        given = _spread(gradients, places, self._arguments)
        for hook in self._hooks:
            found = hook(self._module, given, self._grad_output)
            if found is not None:
                given = _as_many(found, self._arguments)
        return tuple(given[k] for k in places)


def _through(values: tuple[Any, ...], places: list[int], back: ToGradients) -> tuple[Any, ...]:
    if not places:
        return values
    passed = dict(zip(places, BackwardHookFunction.apply(back, *(values[k] for k in places))))
    return tuple(passed.get(k, x) for k, x in enumerate(values))


def _spread(gradients: Gradients, places: list[int], count: int) -> Gradients:
    found = dict(zip(places, gradients))
    return tuple(found.get(k) for k in range(count))


def _as_many(found: Any, count: int) -> Gradients:
    gradients = found if isinstance(found, tuple) else (found,)
    if len(gradients) != count:
        raise ArgumentError(
            mirrored(
                f"Backward hook returned an invalid number of grad_input, got {len(gradients)}, "
                f"but expected {count}"
            )
        )
    return gradients
