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

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from retrograd.compiler.dtypes import DType
from retrograd.compiler.errors import ArgumentError
from retrograd.compiler.ir.graph import Array, Graph, Node
from retrograd.compiler.ops.complexes import as_complex, as_real
from retrograd.compiler.record import NamedTuple
from retrograd.runtime.device import device
from retrograd.runtime.eager.inplace import renew
from retrograd.runtime.modes import no_grad
from retrograd.runtime.native.program import Executable, executable
from retrograd.runtime.optim.in_place import InPlace, in_place
from retrograd.runtime.optim.optimizer import Group, Optimizer, scalar
from retrograd.runtime.optim.trained import Asked, Clock, Trained, options_on, slots_of
from retrograd.runtime.strided import zeros
from retrograd.runtime.tensor import Tensor, new
from retrograd.runtime.tracing import Trace

On = Mapping[str, bool]
Numbers = Mapping[str, Tensor]
Rule = Callable[..., tuple[Tensor, ...]]

_KEPT = 4
"""Native calls that are kept: parameters may have gradients in turns."""


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

    _in_place: tuple[InPlace, ...] = ()
    """Native calls of steps like the last ones."""

    def _clock(self, group: Group, state: dict[str, Any]) -> Clock:
        """Count the step; what the numbers depend on besides the options. Here the number of this step."""
        if not isinstance(state.get("step"), Tensor):  # the first, or one of a state that others saved
            state["step"] = scalar(state.get("step", 0), group)
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

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a copy of a saved state and options, for the same parameters in the same groups."""
        self._in_place = ()
        super().load_state_dict(state_dict)

    def _update(self) -> None:
        for known in self._in_place:
            gradients = known.gradients()
            if not known.accepts(gradients):
                continue
            same = known.settings.same()
            if same or known.settings.same_options():
                clocks = known.settings.ticked()
                if not known.run(gradients, clocks, same):
                    self._through_python(clocks)
                return
        self._through_python()

    def _through_python(self, clocks: list[Clock] | None = None) -> None:
        """Whatever the parameters and gradients are. With clocks, they have been ticked."""
        gathered: dict[device, _Gathered] = {}
        ticked = None if clocks is None else iter(clocks)
        for group in self.param_groups:
            self._gather(group, gathered, ticked)
        for where, found in gathered.items():
            kinds, names = tuple(found.kinds), tuple(found.names)
            step = _program(type(self).__name__, self._new, kinds, names, where)
            outputs = iter(step.program([*found.gradients, np.array(found.values), *found.arrays]))
            for each in found.trained:
                renew(each.param, next(outputs))
                for slot in slots_of(self, each):
                    slot._value = next(outputs)
        if len(gathered) == 1:
            plan = in_place(self, found.trained, found.clocks, *step)
            self._in_place = (*([plan] if plan else ()), *self._in_place)[:_KEPT]

    def _gather(
        self, group: Group, gathered: dict[device, _Gathered], ticked: Iterator[Clock] | None
    ) -> None:
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
            clock = self._clock(group, state) if ticked is None else next(ticked)
            if (where, clock) not in places:
                places[where, clock] = found.add(self._numbers(group, clock))
            for name in slots:
                if state.get(name) is None:
                    state[name] = self._first(name, group, param)
            if state:
                self.state[param] = state
            found.trained.append(Trained(param, group, state))
            found.clocks.append(clock)
            found.gradients.append(grad._value)
            found.arrays += (param._value, *[state[name]._value for name in slots])
            found.kinds.append(Kind(param._value.shape, param.dtype, on, slots, places[where, clock]))


class _Gathered:
    """What one call of a program needs."""

    def __init__(self) -> None:
        self.kinds: list[Kind] = []
        self.trained: list[Trained] = []
        self.clocks: list[Clock] = []
        self.gradients: list[Array] = []
        self.arrays: list[Array] = []
        """Of each parameter and its slots: what is written to."""
        self.names: list[str] = []
        self.values: list[float] = []

    def add(self, numbers: dict[str, float]) -> int:
        place = len(self.values)
        self.names += numbers
        self.values += map(float, numbers.values())
        return place


class _Step(NamedTuple):
    """The code of a step."""

    program: Executable
    updates: dict[int, int]
    """Its outputs, by the inputs that they are new values of."""
    asked: set[str]
    """The options on which it depends."""


@lru_cache(maxsize=64)
def _program(
    name: str, formula: Rule, kinds: tuple[Kind, ...], names: tuple[str, ...], where: device
) -> _Step:
    """The step for parameters of these kinds. `names` are those of all numbers, one set after the other. It
    takes the gradients, the numbers, and each parameter with its slots."""
    outputs: list[Node] = []
    updates: dict[int, int] = {}
    asked: set[str] = set()
    with Trace() as trace, no_grad():
        gradients = [adopted(trace, f"g{k}", x.shape, x.dtype.numpy) for k, x in enumerate(kinds)]
        vector = adopted(trace, "numbers", (len(names),), np.dtype(np.float64))
        known: dict[tuple[int, DType], dict[str, Tensor]] = {}
        for k, kind in enumerate(kinds):
            key = (kind.numbers, kind.dtype.to_real())
            if key not in known:
                known[key] = named(vector, names, *key)
            first = len(trace.captured)
            labels = [f"x{k}", *(f"{slot}{k}" for slot in kind.slots)]
            operands = [adopted(trace, label, kind.shape, kind.dtype.numpy) for label in labels]
            rule = rule_for(formula, kind.dtype)
            new = rule(Asked(dict(kind.on), asked), known[key], operands[0], gradients[k], *operands[1:])
            updates |= {len(outputs) + place: first + place for place in range(len(new))}
            outputs += [trace.lift(x) for x in new]
        inputs = tuple(trace.captured)
    graph = Graph(f"{name.lower()}_step", inputs, tuple(outputs))
    return _Step(executable(graph, where, updates), updates, asked)


def by_parts(x: Tensor) -> Tensor:
    """The parts of a complex Tensor, a view; what is real itself."""
    parts: Tensor = as_real(x) if x.dtype.is_complex else x
    return parts


def rule_for(formula: Rule, dtype: DType) -> Rule:
    """The formula of parameters of a dtype; of complex ones, that of their parts, as in PyTorch."""
    if not dtype.is_complex:
        return formula

    def of_pairs(on: On, n: Numbers, *operands: Tensor) -> tuple[Tensor, ...]:
        return tuple(map(as_complex, formula(on, n, *map(as_real, operands))))

    return of_pairs


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
    tensor = Tensor(zeros(shape, dtype))
    trace.adopt(tensor, label)
    return tensor


# ---- what formulas share -----------------------------------------------------------------------------------


def mixed(old: Tensor, new: Tensor, share: Tensor) -> Tensor:
    """A running mean that goes this share of the way to a new value."""
    return old + share * (new - old)
