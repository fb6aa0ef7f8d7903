"""Saving and loading: a Module's parameters and buffers by their dotted names, as PyTorch's `state_dict`.

`Stateful` is that part of Module. Saving and loading walk over a module and those below it. Each saves and
loads its own tensors, by a method that a subclass may have of its own; hooks of users stand around both.
Loading changes no tensor until all have been compared, or until a hook is to see them loaded, so that a state
dict that does not fit leaves the module as it was.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, ClassVar

from retrograd.compiler.errors import ArgumentError, RequirementError, RetrogradError, mirrored, warn
from retrograd.compiler.record import NamedTuple
from retrograd.runtime.eager.tape import RemovableHandle
from retrograd.runtime.modes import no_grad
from retrograd.runtime.nn.parameter import Parameter, Uninitialized
from retrograd.runtime.tensor import Tensor

EXTRA = "_extra_state"


class StateError(RetrogradError, RuntimeError):
    """A state dict that does not fit the module."""


class State(OrderedDict[str, Any]):
    """A state dict. It knows which version of each module's class it is of."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._metadata: dict[str, dict[str, int]] = {}

    def __repr__(self) -> str:
        return repr(OrderedDict(self))


class IncompatibleKeys(NamedTuple):
    """What `load_state_dict` found on one side only."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return f"_IncompatibleKeys(missing_keys={self.missing_keys}, unexpected_keys={self.unexpected_keys})"


class StateHook(NamedTuple):
    """A hook around saving or loading."""

    call: Callable[..., Any]
    marked: bool = True
    """Before loading: it is given the module, too. After saving: it may return nothing."""


_POSITIONAL = (
    "Positional args are being deprecated, use kwargs instead. Refer to "
    "https://pytorch.org/docs/main/generated/torch.nn.Module.html#torch.nn.Module.state_dict for details."
)


class Stateful:
    """What is saved of a Module."""

    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, Any]
    _version: ClassVar[int] = 1
    _younger: ClassVar[frozenset[str]] = frozenset()
    """Names that a state dict without versions, from older times, may lack."""
    _not_saved: set[str]
    """Names of buffers that are not part of the state."""
    _state_dict_pre_hooks: Mapping[int, StateHook] = {}
    _state_dict_hooks: Mapping[int, StateHook] = {}
    _load_state_dict_pre_hooks: Mapping[int, StateHook] = {}
    _load_state_dict_post_hooks: Mapping[int, StateHook] = {}

    # ---- hooks ---------------------------------------------------------------------------------------------

    def _hook(self, table: str, hook: Callable[..., Any], marked: bool = True) -> RemovableHandle:
        entry: Any = StateHook(hook, marked)
        return RemovableHandle(vars(self).setdefault(table, OrderedDict()), entry)

    def register_state_dict_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """`hook(module, prefix, keep_vars)` before the module is saved."""
        return self._hook("_state_dict_pre_hooks", hook)

    def register_state_dict_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """`hook(module, state_dict, prefix, local_metadata)` after it was; it may change the state dict."""
        return self._hook("_state_dict_hooks", hook)

    def _register_state_dict_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """The same of old: what the hook returns replaces the state dict."""
        return self._hook("_state_dict_hooks", hook, marked=False)

    def register_load_state_dict_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """`hook(module, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys,
        error_msgs)` before the module is loaded; it may change the state dict, a copy, and the lists."""
        return self._register_load_state_dict_pre_hook(hook, with_module=True)

    def _register_load_state_dict_pre_hook(
        self, hook: Callable[..., Any], with_module: bool = False
    ) -> RemovableHandle:
        """The same of old: the hook is given the module only if asked."""
        return self._hook("_load_state_dict_pre_hooks", hook, with_module)

    def register_load_state_dict_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """`hook(module, incompatible_keys)` after the module and those below it were loaded; it may change
        the lists of keys, which decide whether a strict load fails."""
        return self._hook("_load_state_dict_post_hooks", hook)

    # ---- saving --------------------------------------------------------------------------------------------

    def get_extra_state(self) -> Any:
        """What else is to be saved; a subclass that has this has `set_extra_state` too."""
        raise NotImplementedError

    def set_extra_state(self, state: Any) -> None:
        raise NotImplementedError

    def _saved(self) -> Iterator[tuple[str, Tensor]]:
        """The module's own parameters and saved buffers."""
        for name, parameter in self._parameters.items():
            if parameter is not None:
                yield name, parameter
        for name, buffer in self._buffers.items():
            if buffer is not None and name not in self._not_saved:
                yield name, buffer

    def state_dict(
        self, *args: Any, destination: Any = None, prefix: str = "", keep_vars: bool = False
    ) -> dict[str, Any]:
        """Parameters and persistent buffers by name, sharing memory; detached, unless `keep_vars`."""
        if args:
            warn(_POSITIONAL, FutureWarning)
            given = dict(zip(("destination", "prefix", "keep_vars"), args))
            destination = given.get("destination") if destination is None else destination
            prefix, keep_vars = prefix or given.get("prefix", ""), keep_vars or given.get("keep_vars", False)
        state = State() if destination is None else destination
        metadata = {"version": self._version}
        if hasattr(state, "_metadata"):
            state._metadata[prefix[:-1]] = metadata
        for hook in self._state_dict_pre_hooks.values():
            hook.call(self, prefix, keep_vars)
        self._save_to_state_dict(state, prefix, keep_vars)
        for name, module in self._modules.items():
            if module is not None:
                module.state_dict(destination=state, prefix=f"{prefix}{name}.", keep_vars=keep_vars)
        for hook in self._state_dict_hooks.values():
            replaced = hook.call(self, state, prefix, metadata)
            if replaced is not None:
                if hook.marked:
                    raise StateError(mirrored("state_dict post-hook must return None"))
                state = replaced
        return state

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        """Save the module's own tensors and extra state; subclasses may do otherwise."""
        for name, tensor in self._saved():
            kept = keep_vars or isinstance(tensor, Uninitialized)
            destination[prefix + name] = tensor if kept else tensor.detach()
        if type(self).get_extra_state is not Stateful.get_extra_state:
            destination[prefix + EXTRA] = self.get_extra_state()

    # ---- loading -------------------------------------------------------------------------------------------

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> IncompatibleKeys:
        """Copy from a state dict; with `assign`, take its Tensors themselves.

        Raises RuntimeError for shapes that differ and, if `strict`, for names on one side only.
        """
        if not isinstance(state_dict, Mapping):
            raise ArgumentError(mirrored(f"Expected state_dict to be dict-like, got {type(state_dict)}."))
        loading = _Loading(getattr(state_dict, "_metadata", None), assign)
        loading.load(self, OrderedDict(state_dict), "")
        loading.finish(type(self).__name__, strict)
        return loading.keys

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """Load the module's own tensors and extra state; subclasses may do otherwise."""
        told = (local_metadata, strict, missing_keys, unexpected_keys, error_msgs)
        for hook in self._load_state_dict_pre_hooks.values():
            hook.call(*([self] if hook.marked else []), state_dict, prefix, *told)
        own = dict(self._saved())
        for name, tensor in own.items():
            key = prefix + name
            if key in state_dict:
                assign = local_metadata.get("assign_to_params_buffers", False)
                wrong = _unfit(key, tensor, state_dict[key])
                load = partial(self._load_one, key, name, tensor, state_dict[key], assign)
                later = error_msgs.later if isinstance(error_msgs, Errors) else None
                if wrong:
                    error_msgs.append(wrong)
                elif later is not None:
                    later.append(load)
                else:
                    error_msgs.extend(load())
            elif strict and not (name in self._younger and local_metadata.get("version") is None):
                missing_keys.append(key)
        extra = prefix + EXTRA
        if type(self).set_extra_state is not Stateful.set_extra_state:
            if extra in state_dict:
                self.set_extra_state(state_dict[extra])
            elif strict:
                missing_keys.append(extra)
        elif strict and extra in state_dict:
            unexpected_keys.append(extra)
        for key in state_dict if strict else ():
            if key.startswith(prefix) and key != extra:
                first, dot, _ = key[len(prefix) :].partition(".")
                if first not in (self._modules if dot else own):
                    unexpected_keys.append(key)

    def _load_one(self, key: str, name: str, tensor: Tensor, given: Any, assign: bool) -> Iterator[str]:
        """Load one tensor that fits; what went wrong, if something did."""
        if isinstance(given, Uninitialized):
            return
        if tensor.ndim == 0 and given.shape == (1,):
            given = given[0]
        try:
            with no_grad():
                if assign:
                    self._assign(name, tensor, given)
                else:
                    tensor.copy_(given)
        except Exception as error:
            yield (
                f'While copying the parameter named "{key}", whose dimensions in the model are '
                f"{tensor.shape} and whose dimensions in the checkpoint are {given.shape}, "
                f"an exception occurred : {error.args}."
            )

    def _assign(self, name: str, tensor: Tensor, given: Tensor) -> None:
        """Have a Tensor in the place of another; a parameter still requires grad, or not, as it did."""
        if isinstance(tensor, Parameter) and not isinstance(given, Parameter):
            given = Parameter(given, tensor.requires_grad)
        elif isinstance(tensor, Parameter):
            given.requires_grad_(tensor.requires_grad)
        setattr(self, name, given)


def _unfit(key: str, tensor: Tensor, given: Any) -> str:
    """Why a tensor cannot be loaded; nothing if it can. One without a size gets that of what is given."""
    if not isinstance(given, Tensor):
        return (
            f'While copying the parameter named "{key}", expected torch.Tensor or Tensor-like object '
            f"from checkpoint but received {type(given)}"
        )
    if isinstance(tensor, Uninitialized):
        if isinstance(given, Uninitialized):
            return ""
        tensor.materialize(given.shape)
    if given.shape == tensor.shape or (tensor.ndim == 0 and given.shape == (1,)):
        return ""
    return (
        f"size mismatch for {key}: copying a param with shape {given.shape} from checkpoint, the "
        f"shape in current model is {tensor.shape}."
    )


class Errors(list[str]):
    """What is wrong with a state dict; and what is to be done `later`, if nothing is."""

    def __init__(self) -> None:
        super().__init__()
        self.later: list[Callable[[], Iterator[str]]] = []

    def perform(self) -> None:
        """Do it, unless something is wrong."""
        if not self:
            self.extend(text for load in self.later for text in load())
            self.later.clear()


class _Loading:
    """One load: a walk over the modules, and what did not fit."""

    def __init__(self, metadata: Mapping[str, Any] | None, assign: bool) -> None:
        self._metadata = metadata or {}
        self._assign = assign
        self.keys = IncompatibleKeys([], [])
        self._errors = Errors()

    def load(self, module: Any, state: dict[str, Any], prefix: str) -> None:
        """Load a module and those below it from the part of the state that is theirs."""
        metadata = self._metadata.get(prefix[:-1], {})
        if self._assign:
            metadata = {**metadata, "assign_to_params_buffers": True}
        module._load_from_state_dict(state, prefix, metadata, True, *self.keys, self._errors)
        for name, child in module._modules.items():
            if child is not None:
                below = f"{prefix}{name}."
                part = {key: value for key, value in state.items() if key.startswith(below)}
                self.load(child, part, below)
        if module._load_state_dict_post_hooks:
            self._errors.perform()
        for hook in module._load_state_dict_post_hooks.values():
            if hook.call(module, self.keys) is not None:
                raise RequirementError(
                    mirrored(
                        "Hooks registered with ``register_load_state_dict_post_hook`` are not expected to "
                        "return new values, if incompatible_keys need to be modified, it should be done "
                        "inplace."
                    )
                )

    def finish(self, name: str, strict: bool) -> None:
        """Do what is still to be done; StateError where something does not fit."""
        missing, unexpected = self.keys
        told = []
        for what, keys in (("Missing", missing), ("Unexpected", unexpected)):
            if keys and strict:
                shown = ", ".join(f'"{key}"' for key in keys)
                told.append(f"{what} key(s) in state_dict: {shown}. ")
        if not told:
            self._errors.perform()
        told += self._errors
        if told:
            raise StateError(mirrored(f"Error(s) in loading state_dict for {name}:\n\t" + "\n\t".join(told)))
