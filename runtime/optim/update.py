"""Optimisers that are one formula, compiled: one native call updates all parameters.

A `Formula` says what a step computes of one parameter, its gradient and what is remembered of it, in Tensor
arithmetic; it is traced for all parameters together. Options may be asked only whether they are on (`on`),
which is part of the program; their values, and what depends on the count of steps, are `numbers`, which are
given to each call. So a new learning rate or a new step compiles nothing.

    class Descent(Formula):
        def _numbers(self, group, clock):
            return {"lr": group["lr"]}

        @staticmethod
        def _new(on, n, x, g):
            return (x - n["lr"] * g,)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple

import numpy as np

from retrograd.compiler.dtypes import DType
from retrograd.compiler.errors import ArgumentError
from retrograd.compiler.ir.graph import Array, Graph
from retrograd.runtime.device import device
from retrograd.runtime.eager.inplace import renew
from retrograd.runtime.modes import no_grad
from retrograd.runtime.native.program import Executable, executable
from retrograd.runtime.optim.optimizer import Group, Optimizer
from retrograd.runtime.tensor import Tensor, new
from retrograd.runtime.tracing import Trace

On = Mapping[str, bool]
Numbers = Mapping[str, Tensor]
Clock = tuple[float, ...]
Rule = Callable[..., tuple[Tensor, ...]]


class Kind(NamedTuple):
    """What of one parameter decides its code."""

    shape: tuple[int, ...]
    dtype: DType
    on: tuple[tuple[str, bool], ...]
    """Which options of its group are set, and not zero."""
    slots: tuple[str, ...]
    numbers: int
    """From which place on its numbers stand."""


class Formula(Optimizer):
    """An optimiser whose step is one formula."""

    _slots: ClassVar[dict[str, str]] = {}
    """What is remembered of a parameter, in its shape, and the option that it needs to be on ("" if none)."""

    def _clock(self, group: Group, state: dict[str, Any]) -> Clock:
        """Count the step; what the numbers depend on besides the options. Here the number of this step."""
        if "step" not in state:
            state["step"] = Tensor(np.zeros((), np.float32))
        step = state["step"]._value
        step += 1
        return (float(step),)

    def _numbers(self, group: Group, clock: Clock) -> dict[str, float]:
        """The numbers of the formula, for one group at one step; the same names each time."""
        raise NotImplementedError

    @staticmethod
    def _new(on: On, n: Numbers, x: Tensor, g: Tensor, *slots: Tensor) -> tuple[Tensor, ...]:
        """The new values of a parameter and its slots, from theirs and the gradient."""
        raise NotImplementedError

    def _slots_of(self, on: On) -> tuple[str, ...]:
        """What is remembered of a parameter, with these options on."""
        return tuple([name for name, option in self._slots.items() if not option or on[option]])

    def _first(self, name: str, group: Group, param: Tensor) -> Tensor:
        """What a slot is before the first step."""
        return new(np.zeros(param._value.shape, param.dtype.numpy), param)

    def _update(self) -> None:
        gathered: dict[device, _Gathered] = {}
        for group in self.param_groups:
            self._gather(group, gathered)
        for where, found in gathered.items():
            name = type(self).__name__
            program = _program(name, self._new, tuple(found.kinds), tuple(found.names), where)
            outputs = iter(program([np.array(found.values), *found.arrays]))
            for tensors in found.tensors:
                renew(tensors[0], next(outputs))
                for slot in tensors[1:]:
                    slot._value = next(outputs)

    def _gather(self, group: Group, gathered: dict[device, _Gathered]) -> None:
        """What each device's program needs of a group: the arrays, and the numbers of this step."""
        on = options_on(group)
        slots = self._slots_of(dict(on))
        places: dict[tuple[device, Clock], int] = {}
        for param in group["params"]:
            grad = param.grad
            if grad is None:
                continue
            if grad.dtype is not param.dtype:
                raise ArgumentError(f"a gradient of {grad.dtype} for a parameter of {param.dtype}")
            state = self.state.get(param, {})
            where = param.device
            found = gathered.get(where)
            if found is None:
                found = gathered[where] = _Gathered()
            clock = (where, self._clock(group, state))
            if clock not in places:
                places[clock] = found.add(self._numbers(group, clock[1]))
            for name in slots:
                if state.get(name) is None:
                    state[name] = self._first(name, group, param)
            if state:
                self.state[param] = state
            tensors = (param, *[state[name] for name in slots])
            found.tensors.append(tensors)
            found.arrays += (param._value, grad._value, *[x._value for x in tensors[1:]])
            found.kinds.append(Kind(param._value.shape, param.dtype, on, slots, places[clock]))


def options_on(group: Group) -> tuple[tuple[str, bool], ...]:
    """Which options of a group are set, and not zero."""
    return tuple(
        [(name, bool(value)) for name, value in group.items() if name not in ("params", "param_names")]
    )


class _Gathered:
    """What one call of a program needs."""

    def __init__(self) -> None:
        self.kinds: list[Kind] = []
        self.arrays: list[Array] = []
        self.tensors: list[tuple[Tensor, ...]] = []
        """A parameter and its slots: what is written to."""
        self.names: list[str] = []
        self.values: list[float] = []

    def add(self, numbers: dict[str, float]) -> int:
        place = len(self.values)
        self.names += numbers
        self.values += map(float, numbers.values())
        return place


@lru_cache(maxsize=64)
def _program(
    name: str, formula: Rule, kinds: tuple[Kind, ...], names: tuple[str, ...], where: device
) -> Executable:
    """The step for parameters of these kinds. `names` are those of all numbers, one set after the other."""
    outputs = []
    with Trace() as trace, no_grad():
        vector = adopted(trace, "numbers", (len(names),), np.dtype(np.float64))
        known: dict[tuple[int, DType], dict[str, Tensor]] = {}
        for k, kind in enumerate(kinds):
            key = (kind.numbers, kind.dtype)
            if key not in known:
                known[key] = named(vector, names, *key)
            labels = [f"x{k}", f"g{k}", *(f"{slot}{k}" for slot in kind.slots)]
            operands = [adopted(trace, label, kind.shape, kind.dtype.numpy) for label in labels]
            new = formula(dict(kind.on), known[key], *operands)
            outputs += [trace.lift(x) for x in new]
        inputs = tuple(trace.captured)
    return executable(Graph(f"{name.lower()}_step", inputs, tuple(outputs)), where)


def named(vector: Tensor, names: tuple[str, ...], start: int, dtype: DType) -> dict[str, Tensor]:
    """The set of numbers that starts at this place: up to where a name comes again."""
    numbers: dict[str, Tensor] = {}
    for place in range(start, len(names)):
        if names[place] in numbers:
            break
        numbers[names[place]] = vector[place].to(dtype)
    return numbers


def adopted(trace: Trace, label: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Tensor:
    """A placeholder: its elements are not looked at."""
    tensor = Tensor(np.broadcast_to(np.zeros((), dtype), shape))
    trace.adopt(tensor, label)
    return tensor


# ---- what formulas share -----------------------------------------------------------------------------------


def mixed(old: Tensor, new: Tensor, share: Tensor) -> Tensor:
    """A running mean that goes this share of the way to a new value."""
    return old + share * (new - old)
