"""Saving and loading: a Module's parameters and buffers by their dotted names, as PyTorch's `state_dict`.

`Stateful` is that part of Module. Loading changes nothing until the whole has been compared, so that a state
dict that does not fit leaves the module as it was.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, NamedTuple

from retrograd.compiler.errors import ArgumentError, RetrogradError, mirrored
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

    def get_extra_state(self) -> Any:
        """What else is to be saved; a subclass that has this has `set_extra_state` too."""
        raise NotImplementedError

    def set_extra_state(self, state: Any) -> None:
        raise NotImplementedError

    def _has_extra(self) -> bool:
        return type(self).get_extra_state is not Stateful.get_extra_state

    def _saved(self) -> Iterator[tuple[str, Tensor]]:
        """The module's own parameters and saved buffers."""
        for name, parameter in self._parameters.items():
            if parameter is not None:
                yield name, parameter
        for name, buffer in self._buffers.items():
            if buffer is not None and name not in self._not_saved:
                yield name, buffer

    def state_dict(
        self, *, destination: dict[str, Any] | None = None, prefix: str = "", keep_vars: bool = False
    ) -> dict[str, Any]:
        """Parameters and persistent buffers by name, sharing memory; detached, unless `keep_vars`."""
        state = State() if destination is None else destination
        if isinstance(state, State):
            state._metadata[prefix.rstrip(".")] = {"version": self._version}
        for name, tensor in self._saved():
            kept = keep_vars or isinstance(tensor, Uninitialized)
            state[prefix + name] = tensor if kept else tensor.detach()
        if self._has_extra():
            state[prefix + EXTRA] = self.get_extra_state()
        for name, module in self._modules.items():
            if module is not None:
                module.state_dict(destination=state, prefix=f"{prefix}{name}.", keep_vars=keep_vars)
        return state

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> IncompatibleKeys:
        """Copy from a state dict; with `assign`, take its Tensors themselves.

        Raises RuntimeError for shapes that differ and, if `strict`, for names on one side only.
        """
        if not isinstance(state_dict, Mapping):
            raise ArgumentError(mirrored(f"Expected state_dict to be dict-like, got {type(state_dict)}."))
        loading = _Loading(state_dict)
        loading.compare(self, "")
        loading.check(type(self).__name__, strict)
        loading.perform(assign)
        return IncompatibleKeys(loading.missing, loading.unexpected)


class _Loading:
    """One load: what fits, and what does not."""

    def __init__(self, state: Mapping[str, Any]) -> None:
        self._state = state
        self._pairs: list[tuple[Stateful, str, Tensor, Tensor]] = []
        """Owner, own name, what it has, and what it will have."""
        self._extras: list[tuple[Stateful, Any]] = []
        self.missing: list[str] = []
        self.unexpected: list[str] = []
        self._differ: list[str] = []

    def compare(self, module: Stateful, prefix: str) -> None:
        own = dict(module._saved())
        for name, tensor in own.items():
            self._compare_one(module, prefix + name, name, tensor)
        if module._has_extra():
            if prefix + EXTRA in self._state:
                self._extras.append((module, self._state[prefix + EXTRA]))
            else:
                self.missing.append(prefix + EXTRA)
        for key in self._state:
            if key.startswith(prefix) and not (module._has_extra() and key == prefix + EXTRA):
                first, dot, _ = key[len(prefix) :].partition(".")
                if first not in (module._modules if dot else own):
                    self.unexpected.append(key)
        for name, child in module._modules.items():
            if child is not None:
                self.compare(child, f"{prefix}{name}.")

    def _compare_one(self, module: Stateful, key: str, name: str, tensor: Tensor) -> None:
        if key not in self._state:
            if isinstance(self._state, State) or name not in module._younger:
                self.missing.append(key)
            return
        given = self._state[key]
        if isinstance(tensor, Uninitialized):
            if isinstance(given, Uninitialized):
                return
            tensor.materialize(given.shape)
        if not isinstance(given, Tensor):
            self._differ.append(
                f'While copying the parameter named "{key}", expected torch.Tensor or Tensor-like object '
                f"from checkpoint but received {type(given)}"
            )
        elif given.shape != tensor.shape and not (tensor.ndim == 0 and given.shape == (1,)):
            self._differ.append(
                f"size mismatch for {key}: copying a param with shape {given.shape} from checkpoint, the "
                f"shape in current model is {tensor.shape}."
            )
        else:
            self._pairs.append((module, name, tensor, given))

    def check(self, name: str, strict: bool) -> None:
        told = list(self._differ)
        if strict:
            for what, keys in (("Unexpected", self.unexpected), ("Missing", self.missing)):
                if keys:
                    shown = ", ".join(f'"{key}"' for key in keys)
                    told.insert(0, f"{what} key(s) in state_dict: {shown}. ")
        if told:
            raise StateError(mirrored(f"Error(s) in loading state_dict for {name}:\n\t" + "\n\t".join(told)))

    def perform(self, assign: bool) -> None:
        with no_grad():
            for module, name, tensor, given in self._pairs:
                if not assign:
                    tensor.copy_(given.reshape(tensor.shape))
                elif isinstance(tensor, Parameter):
                    kept = given if isinstance(given, Parameter) else Parameter(given, tensor.requires_grad)
                    module._parameters[name] = kept
                else:
                    module._buffers[name] = given
        for owner, extra in self._extras:
            owner.set_extra_state(extra)
