"""A training step for one kind of batch: the graph of loss, gradients and update, compiled, and its calls.

In flow a traced function and the optimiser's `Formula`; out flows a `Plan`. The formula goes on with the
gradients in the same graph, and what it computes is written to the parameters and to what the optimiser
remembers. Its numbers, such as the learning rate, are passed to each call; they are worked out anew only
where an option or a clock has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from operator import getitem
from typing import Any, NamedTuple

import numpy as np

from retrograd.compiler.ir.graph import Array
from retrograd.runtime.compiled.dispatch import updating
from retrograd.runtime.compiled.entries import modes_read
from retrograd.runtime.compiled.guards import Guards, size_of
from retrograd.runtime.compiled.recording import Extension, array_of
from retrograd.runtime.compiled.specialise import Operand, Specialisation, as_array
from retrograd.runtime.device import CPU
from retrograd.runtime.eager.inplace import changed, overwrite
from retrograd.runtime.modes import STATE
from retrograd.runtime.native.layout import layout
from retrograd.runtime.native.program import executable
from retrograd.runtime.native.watching import Read, watch
from retrograd.runtime.optim.optimizer import Group
from retrograd.runtime.optim.update import Clock, Formula, adopted, named, options_on
from retrograd.runtime.pytree import Structure
from retrograd.runtime.strided import DeviceArray
from retrograd.runtime.tensor import Tensor
from retrograd.runtime.tracing import Trace

_STEADY = (bool, int, float, str, type(None))
"""Classes of options that cannot change and stay the same object."""


class Trained(NamedTuple):
    """A parameter that the step moves."""

    param: Tensor
    group: Group
    state: dict[str, Any]


class Numbers(NamedTuple):
    """Those of the formula: a set for each clock that there is in a group."""

    places: tuple[int, ...]
    """Where the set of each trained parameter begins."""
    names: tuple[str, ...]
    values: list[float]


class Plan:
    """A step for one kind of batch, in the world as it was."""

    def __init__(
        self,
        optimizer: Formula,
        found: Specialisation,
        trained: Sequence[Trained],
        clocks: list[Clock],
        structure: Structure,
        leaves: Sequence[Any],
        miss: Callable[..., Any],
    ) -> None:
        self.trained = trained
        self._optimizer, self.specialisation, self._groups = optimizer, found, list(optimizer.param_groups)
        self._places, names, values = numbers_of(optimizer, trained, clocks)
        self._numbers = np.array(values)
        self.clocks, self._settings = clocks, self._settings_now()
        self._asked = {name for name in optimizer._slots.values() if name}
        """The options on which the code depends."""
        recording, operands = found.recording, len(found.recording.operands)
        self._slots = [_slots(optimizer, each) for each in trained]
        self._held: list[Tensor | Array] = [
            *recording.captured,
            self._numbers,
            *(x for slots in self._slots for x in slots),
        ]
        graph = recording.extended(f"{recording.name}_step", self._extension(optimizer, names))
        inputs = {id(x): operands + k for k, x in enumerate(self._held)}
        targets = [each for t, slots in zip(trained, self._slots) for each in (t.param, *slots)]
        self._updates = {len(recording.outputs) + k: inputs[id(x)] for k, x in enumerate(targets)}
        for k, target in found.updated.items():
            self._updates[k] = target.place if isinstance(target, Operand) else inputs[id(target.tensor)]
        apart = _apart([*map(as_array, leaves), *map(as_array, self._held)])
        written = set(self._updates.values())
        placings = {k: place for k, place in recording.placings.items() if k not in written}
        self._program = executable(graph, recording.device, self._updates if apart else {}, placings)
        asked = sorted(self._asked)
        self._options = [(g, [(name, bool(g[name])) for name in asked]) for g in self._groups]
        self._changed = [x for x in self._held if isinstance(x, Tensor) and inputs[id(x)] in written]
        seen = [*found.guards.reads, *_remembered(optimizer, trained, self._slots), *modes_read()]
        self._guards = Guards(seen, recording.captured)
        watched = watch(seen, self._guards.hold) if layout() is not None else None
        native = updating(
            self._program,
            structure,
            leaves,
            self._held,
            found.draws,
            found.result,
            self._updates,
            miss,
            watched,
        )
        direct = watched is not None and not found.same and found.path is None
        self.native = native if direct else None
        """Whether a call is one for this plan, and the call; None if there can be no native one."""

    def _extension(
        self, optimizer: Formula, names: tuple[str, ...]
    ) -> Callable[[Trace, dict[int, Tensor]], Extension]:
        """The optimiser's formula for all trained parameters, as a part of the graph."""
        recording = self.specialisation.recording
        place_of = {id(x): len(recording.operands) + k for k, x in enumerate(recording.captured)}
        options = [_Asked(dict(options_on(each.group)), self._asked) for each in self.trained]

        def extend(trace: Trace, gradients: dict[int, Tensor]) -> Extension:
            before, STATE.grad = STATE.grad, False
            try:
                vector = adopted(trace, "numbers", (len(names),), np.dtype(np.float64))
                further: list[Tensor] = [vector]
                results: list[Tensor] = []
                for start, on, each, slots in zip(self._places, options, self.trained, self._slots):
                    place = place_of[id(each.param)]
                    operands = [
                        adopted(trace, f"slot{len(further) + k}", x._value.shape, x.dtype.numpy)
                        for k, x in enumerate(slots)
                    ]
                    further += operands
                    results += optimizer._new(
                        on,
                        named(vector, names, start, each.param.dtype),
                        Tensor(recording.graph.inputs[place]),
                        gradients[place],
                        *operands,
                    )
                return further, results
            finally:
                STATE.grad = before

        return extend

    def holds(self) -> bool:
        """Whether everything outside is as it was, the optimiser's options and memory included."""
        return self.same_options() and self._guards.hold()

    def same_settings(self) -> bool:
        """Whether every option has the value for which the numbers were worked out."""
        return [list(group.values()) for group in self._groups] == self._settings

    def _settings_now(self) -> list[list[Any]] | None:
        """The options' values; None where one may change and stay the same object."""
        for group in self._groups:
            for name, value in group.items():
                members = value if isinstance(value, tuple) else (value,)
                if name not in ("params", "param_names") and not all(type(x) in _STEADY for x in members):
                    return None
        return [list(group.values()) for group in self._groups]

    def set_numbers(self, clocks: list[Clock], same_settings: bool = False) -> bool:
        """Work the numbers out anew; False if there are others than the code takes."""
        places, _, values = numbers_of(self._optimizer, self.trained, clocks)
        if places != self._places:
            return False
        self._numbers[:] = values
        self.clocks = clocks
        if not same_settings:
            self._settings = self._settings_now()
        return True

    def same_options(self) -> bool:
        """Whether the options on which the code depends are on or off as they were."""
        for group, options in self._options:
            for name, on in options:
                if bool(group[name]) is not on:
                    return False
        return True

    def run(self, leaves: Sequence[Any]) -> Any:
        """The step through Python."""
        self.specialisation.draw()
        held = [x if isinstance(x, np.ndarray) else array_of(x) for x in self._held]
        arrays = [*map(as_array, leaves), *held]
        given: list[Any] = arrays
        if self.specialisation.recording.device != CPU and not _apart(
            arrays
        ):  # some are written where they lie
            given = [x.copy() for x in arrays]
        outputs = self._program(given)
        count = len(self.specialisation.recording.outputs)
        for k, place in self._updates.items():
            if k >= count:
                overwrite(arrays[place], outputs[k])
        for tensor in self._changed:
            changed(tensor)
        return self.specialisation.results(outputs[:count], leaves, Tensor)


def ticked(optimizer: Formula, trained: Sequence[Trained]) -> list[Clock]:
    """The clocks of all parameters, after counting a step."""
    optimizer._steps += 1
    return [optimizer._clock(group, state) for _, group, state in trained]


def numbers_of(optimizer: Formula, trained: Sequence[Trained], clocks: Sequence[Clock]) -> Numbers:
    """Those of a step at these clocks."""
    places: list[int] = []
    starts: dict[tuple[int, Clock], int] = {}
    names: list[str] = []
    values: list[float] = []
    for (_, group, _), clock in zip(trained, clocks):
        key = (id(group), clock)
        start = starts.get(key)
        if start is None:
            start = starts[key] = len(values)
            numbers = optimizer._numbers(group, clock)
            names += numbers
            values += map(float, numbers.values())
        places.append(start)
    return Numbers(tuple(places), tuple(names), values)


class _Asked(Mapping[str, bool]):
    """Options, and which of them somebody asked for."""

    def __init__(self, options: Mapping[str, bool], asked: set[str]) -> None:
        self._options, self._names = options, asked

    def __getitem__(self, name: str) -> bool:
        self._names.add(name)
        return self._options[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._options)

    def __len__(self) -> int:
        return len(self._options)


def _apart(arrays: Sequence[Any]) -> bool:
    """Whether no two of the arrays share memory."""
    bounds = sorted(_bounds(a) for a in arrays if a.size)
    return all(one[1] <= other[0] for one, other in pairwise(bounds))


def _bounds(array: Array | DeviceArray) -> tuple[int, int]:
    """The address of an array's first byte, and that of the byte after its last."""
    if isinstance(array, DeviceArray):
        return array.bounds
    return np.lib.array_utils.byte_bounds(array)


def _slots(optimizer: Formula, trained: Trained) -> list[Tensor]:
    """What the optimiser remembers of a parameter and the formula takes."""
    names = optimizer._slots_of(dict(options_on(trained.group)))
    return [trained.state[name] for name in names]


def _remembered(
    optimizer: Formula, trained: Sequence[Trained], slots: Sequence[Sequence[Tensor]]
) -> list[Read]:
    """That the optimiser has the same parameters, remembers them in the same Tensors, and has no hooks."""
    held = vars(optimizer)
    looked_up = ("param_groups", "state", "_before", "_after")
    found = [Read(getitem, held, name, held[name], name) for name in looked_up]
    found += [Read(size_of, hooks, None, 0, "hooks") for hooks in (optimizer._before, optimizer._after)]
    groups = optimizer.param_groups
    found.append(Read(size_of, groups, None, len(groups), "groups"))
    for k, group in enumerate(groups):
        params = group["params"]
        found.append(Read(getitem, groups, k, group, "group"))
        found.append(Read(getitem, group, "params", params, "params"))
        found.append(Read(size_of, params, None, len(params), "params"))
        found += [Read(getitem, params, place, param, "param") for place, param in enumerate(params)]
    for each, own in zip(trained, slots):
        names = optimizer._slots_of(dict(options_on(each.group)))
        found += [Read(getitem, each.state, name, slot, name) for name, slot in zip(names, own)]
    return found
