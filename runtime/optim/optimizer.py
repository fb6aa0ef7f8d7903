"""Optimizer: groups of parameters with their options, what is remembered of each, and one step for all.

    optimizer = SGD(model.parameters(), lr=0.1)
    optimizer.zero_grad(); loss(model(x), y).backward(); optimizer.step()

What all optimisers share is here, as in `torch.optim`: groups, state, saving, closures, text. An optimiser
that is one formula for all parameters is an `update.Formula`; one that is not writes `_update` itself.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from copy import deepcopy
from functools import wraps
from itertools import chain
from typing import Any

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.errors import ArgumentError, TraceError, mirrored, warn
from retrograd.runtime.functions.inspecting import typename
from retrograd.runtime.modes import STATE, enable_grad, no_grad
from retrograd.runtime.nn.module import clear_gradients
from retrograd.runtime.optim.hooks import Hooked
from retrograd.runtime.tensor import Tensor

Group = dict[str, Any]
"""The parameters of a group (`params`), and its options."""
Closure = Callable[[], Any]


class _Required:
    """The default of an option that has none."""

    def __repr__(self) -> str:
        return "<required parameter>"


required = _Required()


def _counted(step: Callable[..., Any]) -> Callable[..., Any]:
    """A method `step` between the hooks of its optimiser, which counts it."""

    @wraps(step)
    def counted(self: Optimizer, *args: Any, **kwargs: Any) -> Any:
        if STATE.trace is not None:
            raise TraceError(
                f"{type(self).__name__}.step() inside a compiled function",
                "it counts its steps, and the count would be that of the trace at every call",
                "call it outside: it is compiled by itself",
            )
        for hook in list(self._optimizer_step_pre_hooks.values()):
            changed = hook(self, args, kwargs)
            if changed is not None:
                args, kwargs = changed
        loss = step(self, *args, **kwargs)
        self._steps += 1
        for hook in list(self._optimizer_step_post_hooks.values()):
            hook(self, args, kwargs)
        return loss

    return counted


class Optimizer(Hooked):
    """The base of all optimisers. `defaults` are the options of groups that do not set their own.

    A subclass of a user's has a `step`, which finds parameters in `param_groups` and keeps what it remembers
    of each in `state`.
    """

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        self.defaults = defaults
        self.state: defaultdict[Tensor, dict[str, Any]] = defaultdict(dict)
        self.param_groups: list[Group] = []
        self._steps = 0
        """How many were made; schedulers ask."""
        self._no_hooks()
        if isinstance(params, Tensor):
            raise ArgumentError(
                mirrored(
                    "params argument given to the optimizer should be an iterable of Tensors or dicts, "
                    f"but got {params.type()}"
                )
            )
        given = list(params)
        if not given:
            raise ArgumentError(mirrored("optimizer got an empty parameter list"))
        for group in given if isinstance(given[0], dict) else [{"params": given}]:
            self.add_param_group(group)
        if defaults.get("fused") and defaults.get("differentiable"):
            raise ArgumentError(mirrored("`fused` does not support `differentiable`"))
        if defaults.get("fused") and defaults.get("foreach"):
            raise ArgumentError(mirrored("`fused` and `foreach` cannot be `True` together."))

    # ---- groups --------------------------------------------------------------------------------------------

    def add_param_group(self, param_group: Group) -> None:
        """More parameters, with options of their own; what they do not set is as in `defaults`."""
        if not isinstance(param_group, dict):
            raise ArgumentError(mirrored(f"param_group must be a dict, but got {type(param_group)}"))
        given = param_group["params"]
        if isinstance(given, set):
            raise ArgumentError(
                mirrored(
                    "optimizer parameters need to be organized in ordered collections, but the ordering of "
                    "tensors in sets will change between runs. Please use a list instead."
                )
            )
        params, names = _unzipped([given] if isinstance(given, Tensor) else list(given))
        if len(set(map(id, params))) < len(params):
            warn(
                "optimizer contains a parameter group with duplicate parameters; in future, this will cause "
                "an error; see github.com/pytorch/pytorch/issues/40967 for more information"
            )
        group = {**param_group, "params": params}
        if names:
            group["param_names"] = names
        for param in params:
            _check(param)
        for name, value in self.defaults.items():
            if value is required and name not in group:
                raise ArgumentError(
                    mirrored(
                        f"parameter group didn't specify a value of required optimization parameter {name}"
                    )
                )
            group.setdefault(name, value)
        known = {id(p) for each in self.param_groups for p in each["params"]}
        if not known.isdisjoint(map(id, params)):
            raise ArgumentError(mirrored("some parameters appear in more than one parameter group"))
        self.param_groups.append(group)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients, or make them zero."""
        clear_gradients(chain.from_iterable(group["params"] for group in self.param_groups), set_to_none)

    # ---- the step ------------------------------------------------------------------------------------------

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "step" in cls.__dict__:
            cls.step = _counted(cls.step)  # type: ignore[method-assign]  # a user's own

    @_counted
    def step(self, closure: Closure | None = None) -> Any:
        """Move the parameters by their gradients. `closure` computes the loss anew, which is returned."""
        return self._stepped(closure)

    def _stepped(self, closure: Closure | None) -> Any:
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        with no_grad():
            self._update()
        return loss

    def _update(self) -> None:
        raise NotImplementedError

    # ---- saving --------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """The state of each parameter by its number, and the groups with numbers for parameters."""
        for hook in self._optimizer_state_dict_pre_hooks.values():
            hook(self)
        return self._replaced(self._optimizer_state_dict_post_hooks, self._saved())

    def _saved(self) -> dict[str, Any]:
        number: dict[int, int] = {}
        groups = []
        for group in self.param_groups:
            for param in group["params"]:
                number.setdefault(id(param), len(number))
            options = {name: value for name, value in group.items() if name != "params"}
            groups.append({**options, "params": [number[id(param)] for param in group["params"]]})
        state = {number.get(id(key), key): value for key, value in self.state.items()}
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a copy of a saved state and options, for the same parameters in the same groups."""
        self._load(self._replaced(self._optimizer_load_state_dict_pre_hooks, state_dict.copy()))
        for hook in self._optimizer_load_state_dict_post_hooks.values():
            hook(self)

    def _load(self, state_dict: dict[str, Any]) -> None:
        saved = deepcopy(state_dict["param_groups"])
        if len(saved) != len(self.param_groups):
            raise ArgumentError(mirrored("loaded state dict has a different number of parameter groups"))
        for group, other in zip(self.param_groups, saved):
            if len(group["params"]) != len(other["params"]):
                raise ArgumentError(
                    mirrored(
                        "loaded state dict contains a parameter group that doesn't match the size of "
                        "optimizer's group"
                    )
                )
        numbers = chain.from_iterable(group["params"] for group in saved)
        params = chain.from_iterable(group["params"] for group in self.param_groups)
        param_of = dict(zip(numbers, params))
        single = {k for group in saved if _counts_in_float32(group) for k in group["params"]}
        state: defaultdict[Any, dict[str, Any]] = defaultdict(dict)
        for key, value in state_dict["state"].items():
            param = param_of.get(key)
            state[key if param is None else param] = _adapted(value, param, key in single)
        self.state = state
        self.param_groups = [
            {**other, "params": group["params"]} for group, other in zip(self.param_groups, saved)
        ]

    def __getstate__(self) -> dict[str, Any]:
        return {"defaults": self.defaults, "state": self.state, "param_groups": self.param_groups}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._steps = 0
        self._no_hooks()

    def __repr__(self) -> str:
        groups = []
        for k, group in enumerate(self.param_groups):
            options = [f"    {name}: {group[name]}" for name in sorted(group) if name != "params"]
            groups.append("\n".join([f"Parameter Group {k}", *options, ""]))
        return f"{type(self).__name__} (\n" + "\n".join(groups) + ")"


def _unzipped(given: list[Any]) -> tuple[list[Any], list[str]]:
    """Parameters, and their names if they came with such (`named_parameters()`)."""
    named = [x for x in given if isinstance(x, tuple)]
    if named and len(named) != len(given):
        raise ArgumentError(
            mirrored("all optimizer params should be with/without names. Some param names are missing")
        )
    return ([param for _, param in named], [name for name, _ in named]) if named else (given, [])


def _check(param: object) -> None:
    if not isinstance(param, Tensor):
        raise ArgumentError(
            mirrored(f"optimizer can only optimize Tensors, but one of the params is {typename(param)}")
        )
    if not param.is_leaf:
        raise ArgumentError(mirrored("can't optimize a non-leaf Tensor"))


def _adapted(value: Any, param: Tensor | None, single: bool, name: str = "") -> Any:
    """A copy of what was saved of a parameter, in the parameter's dtype; counts keep theirs, or are `single`
    precision."""
    if isinstance(value, Tensor):
        copy = value.detach().clone()
        if name == "step":
            return copy.to(dtypes.float32) if single else copy
        return copy if param is None or not copy.is_floating_point() else copy.to(param.dtype)
    if isinstance(value, dict):
        return {key: _adapted(each, param, single, str(key)) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_adapted(each, param, single, name) for each in value)
    return deepcopy(value)


def _counts_in_float32(group: Group) -> bool:
    return bool(group.get("fused") or group.get("capturable"))


def scalar(value: float, group: Group) -> Tensor:
    """A number that is remembered of a parameter, such as the count of its steps: in float64 where that is
    the default dtype, else in float32, as in PyTorch."""
    double = dtypes.default_dtype() is dtypes.float64 and not group.get("fused")
    return Tensor(np.array(value, np.float64 if double else np.float32))


def check_options(**rules: tuple[bool, str]) -> None:
    """ArgumentError with the first text whose condition does not hold."""
    for holds, text in rules.values():
        if not holds:
            raise ArgumentError(mirrored(text))
