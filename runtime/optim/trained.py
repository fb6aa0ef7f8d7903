"""What a program of an optimiser's step was made for: the parameters, what is remembered of them, options.

In flow an optimiser and the parameters that its step moves; out flow guards of all that the program takes for
granted (`remembered`), and `Settings`: the numbers of the step, such as the learning rate, worked out anew
only where an option or a clock has changed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from operator import getitem
from typing import Any, ClassVar, Protocol

import numpy as np

from retrograd.compiler.ir.graph import Array
from retrograd.compiler.record import NamedTuple
from retrograd.runtime.native.watching import Read, size_of
from retrograd.runtime.optim.optimizer import Group
from retrograd.runtime.strided import DeviceArray
from retrograd.runtime.tensor import Tensor

Clock = tuple[float, ...]

_STEADY = (bool, int, float, str, type(None))
"""Classes of options that cannot change and stay the same object."""
_NO_OPTIONS = ("params", "param_names")


class Remembering(Protocol):
    """An optimiser whose step is one formula (`update.Formula`), as far as this file is concerned."""

    param_groups: list[Group]
    state: defaultdict[Tensor, dict[str, Any]]
    _slots: ClassVar[dict[str, str]]

    def _slots_of(self, on: Mapping[str, bool]) -> tuple[str, ...]: ...
    def _clock(self, group: Group, state: dict[str, Any]) -> Clock: ...
    def _numbers(self, group: Group, clock: Clock) -> dict[str, float]: ...


class Trained(NamedTuple):
    """A parameter that the step moves."""

    param: Tensor
    group: Group
    state: dict[str, Any]


def slots_of(optimizer: Remembering, trained: Trained) -> list[Tensor]:
    """What the optimiser remembers of a parameter and the formula takes."""
    names = optimizer._slots_of(dict(options_on(trained.group)))
    return [trained.state[name] for name in names]


def remembered(
    optimizer: Remembering, trained: Sequence[Trained], slots: Sequence[Sequence[Tensor]]
) -> list[Read]:
    """That the optimiser has the same parameters, and remembers them in the same Tensors."""
    held, state = vars(optimizer), optimizer.state
    found = [Read(getitem, held, name, held[name], name) for name in ("param_groups", "state")]
    groups = optimizer.param_groups
    found.append(Read(size_of, groups, None, len(groups), "groups"))
    for k, group in enumerate(groups):
        params = group["params"]
        found.append(Read(getitem, groups, k, group, "group"))
        found.append(Read(getitem, group, "params", params, "params"))
        found.append(Read(size_of, params, None, len(params), "params"))
        found += [Read(getitem, params, place, param, "param") for place, param in enumerate(params)]
    found.append(Read(size_of, state, None, len(state), "state"))
    for each, own in zip(trained, slots):
        if each.param in state:
            found.append(Read(getitem, state, each.param, each.state, "state"))
        names = optimizer._slots_of(dict(options_on(each.group)))
        found += [Read(getitem, each.state, name, slot, name) for name, slot in zip(names, own)]
    return found


# ---- options -----------------------------------------------------------------------------------------------


def options_on(group: Group) -> tuple[tuple[str, bool], ...]:
    """Which options of a group are set, and not zero."""
    return tuple([(name, bool(value)) for name, value in group.items() if name not in _NO_OPTIONS])


class Asked(Mapping[str, bool]):
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


class Numbers(NamedTuple):
    """Those of the formula: a set for each clock that there is in a group."""

    places: tuple[int, ...]
    """Where the set of each trained parameter begins."""
    names: tuple[str, ...]
    values: list[float]


def numbers_of(optimizer: Remembering, trained: Sequence[Trained], clocks: Sequence[Clock]) -> Numbers:
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


class Settings:
    """The options of an optimiser's groups as a program takes them: its numbers, and what is on."""

    def __init__(self, optimizer: Remembering, trained: Sequence[Trained], clocks: list[Clock]) -> None:
        self._optimizer, self._trained, self._groups = optimizer, trained, list(optimizer.param_groups)
        self.places, self.names, values = numbers_of(optimizer, trained, clocks)
        self.numbers = np.array(values)
        """What the program reads."""
        self.clocks, self._values = clocks, self._values_now()
        self._options: list[tuple[Group, list[tuple[str, bool]]]] = []

    def depend_on(self, asked: Iterable[str]) -> None:
        """The code asks whether these options are on, and what is remembered may depend on others."""
        names = sorted({*asked, *filter(None, self._optimizer._slots.values())})
        self._options = [(group, [(name, bool(group[name])) for name in names]) for group in self._groups]

    def same(self) -> bool:
        """Whether every option has the value for which the numbers were worked out."""
        return [list(group.values()) for group in self._groups] == self._values

    def same_options(self) -> bool:
        """Whether the options on which the code depends are on or off as they were."""
        for group, options in self._options:
            for name, on in options:
                if bool(group[name]) is not on:
                    return False
        return True

    def ticked(self) -> list[Clock]:
        """The clocks of all parameters, after counting a step."""
        clock = self._optimizer._clock
        return [clock(group, state) for _, group, state in self._trained]

    def set_numbers(self, clocks: list[Clock], same: bool = False) -> bool:
        """Have the numbers of a step at these clocks; False if there are others than the code takes."""
        if same and clocks == self.clocks:
            return True
        places, _, values = numbers_of(self._optimizer, self._trained, clocks)
        if places != self.places:
            return False
        self.numbers[:] = values
        self.clocks = clocks
        if not same:
            self._values = self._values_now()
        return True

    def _values_now(self) -> list[list[Any]] | None:
        """The options' values; None where one may change and stay the same object."""
        for group in self._groups:
            for name, value in group.items():
                members = value if isinstance(value, tuple) else (value,)
                if name not in _NO_OPTIONS and not all(type(x) in _STEADY for x in members):
                    return None
        return [list(group.values()) for group in self._groups]


# ---- memory ------------------------------------------------------------------------------------------------


def apart(arrays: Sequence[Any]) -> bool:
    """Whether no two of the arrays share memory."""
    bounds = sorted(_bounds(a) for a in arrays if a.size)
    return all(one[1] <= other[0] for one, other in pairwise(bounds))


def _bounds(array: Array | DeviceArray) -> tuple[int, int]:
    """The address of an array's first byte, and that of the byte after its last."""
    if isinstance(array, DeviceArray):
        return array.bounds
    return np.lib.array_utils.byte_bounds(array)
