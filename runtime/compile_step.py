"""`compile_step`: a whole training step as native code: loss, gradients, and the optimiser's update in place.

In flow a function of a batch that returns the loss, and an optimiser; out flows a `CompiledStep`, which is
called with batches and returns the loss. The function is traced as `compile_grad` does it, the optimiser's
`Formula` goes on with the gradients in the same graph, and what it computes is written to the parameters and
to what the optimiser remembers. Numbers such as the learning rate are passed to each call.

A `_Plan` is such a graph, compiled, for one kind of batch.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from operator import getitem
from typing import Any, NamedTuple
from weakref import WeakSet

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.errors import ArgumentError, GradientError, TraceError
from retrograd.compiler.ir.graph import Array
from retrograd.runtime.arguments import Parameters
from retrograd.runtime.compile_grad import kind_of, modes_read
from retrograd.runtime.dispatch import updating
from retrograd.runtime.guards import Guards, reads, size_of
from retrograd.runtime.inplace import changed, overwrite
from retrograd.runtime.layout import layout
from retrograd.runtime.modes import STATE
from retrograd.runtime.optim.optimizer import Group
from retrograd.runtime.optim.update import Clock, Formula, adopted, named, options_on
from retrograd.runtime.program import executable
from retrograd.runtime.pytree import Structure, identities
from retrograd.runtime.recording import LOCK, Extension, array_of
from retrograd.runtime.specialise import Call, Operand, Specialisation, as_array, specialise
from retrograd.runtime.strided import DeviceArray
from retrograd.runtime.tensor import Tensor
from retrograd.runtime.tracing import Trace
from retrograd.runtime.watching import Read, watch

_PLANS = 8
"""Plans kept for one kind of batch."""
_STEPS: WeakSet[CompiledStep] = WeakSet()


def _unlock() -> None:
    """In a child process no thread goes on with its step."""
    for step in _STEPS:
        step._lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlock)


class _Trained(NamedTuple):
    """A parameter that the step moves."""

    param: Tensor
    group: Group
    state: dict[str, Any]


class _Numbers(NamedTuple):
    """Those of the formula: a set for each clock that there is in a group."""

    places: tuple[int, ...]
    """Where the set of each trained parameter begins."""
    names: tuple[str, ...]
    values: list[float]


class _Plan:
    """A step for one kind of batch, in the world as it was."""

    def __init__(
        self,
        optimizer: Formula,
        found: Specialisation,
        trained: Sequence[_Trained],
        numbers: _Numbers,
        structure: Structure,
        leaves: Sequence[Any],
        miss: Callable[..., Any],
    ) -> None:
        self.trained = trained
        self.places = numbers.places
        self.numbers = np.zeros(len(numbers.values))
        self._found = found
        self.draw = found.draw
        self._asked = {name for name in optimizer._slots.values() if name}
        """The options on which the code depends."""
        recording, operands = found.recording, len(found.recording.operands)
        self._slots = [_slots(optimizer, each) for each in trained]
        self._held: list[Tensor | Array] = [
            *recording.captured,
            self.numbers,
            *(x for slots in self._slots for x in slots),
        ]
        graph = recording.extended(f"{recording.name}_step", self._extension(optimizer, numbers.names))
        inputs = {id(x): operands + k for k, x in enumerate(self._held)}
        targets = [each for t, slots in zip(trained, self._slots) for each in (t.param, *slots)]
        self._updates = {len(recording.outputs) + k: inputs[id(x)] for k, x in enumerate(targets)}
        for k, target in found.updated.items():
            self._updates[k] = target.place if isinstance(target, Operand) else inputs[id(target.tensor)]
        apart = _apart([*map(as_array, leaves), *map(as_array, self._held)])
        self._program = executable(graph, recording.device, self._updates if apart else {})
        asked = sorted(self._asked)
        self._options = [(g, [(name, bool(g[name])) for name in asked]) for g in optimizer.param_groups]
        written = set(self._updates.values())
        self._changed = [x for x in self._held if isinstance(x, Tensor) and inputs[id(x)] in written]
        seen = [*found.guards.reads, *_remembered(optimizer, trained, self._slots), *modes_read()]
        self._guards = Guards(seen, recording.captured)
        watched = watch(seen, self._guards.hold) if layout() is not None else None
        native = updating(
            self._program, structure, leaves, self._held, found.result, self._updates, miss, watched
        )
        usable = native is not None and watched is not None and not found.same
        self.accepts: Callable[..., Any] | None = None
        self.call: Callable[..., Any] | None = None
        if native is not None and usable:
            self.accepts, self.call = native

    def _extension(
        self, optimizer: Formula, names: tuple[str, ...]
    ) -> Callable[[Trace, dict[int, Tensor]], Extension]:
        """The optimiser's formula for all trained parameters, as a part of the graph."""
        recording = self._found.recording
        place_of = {id(x): len(recording.operands) + k for k, x in enumerate(recording.captured)}

        def extend(trace: Trace, gradients: dict[int, Tensor]) -> Extension:
            before, STATE.grad = STATE.grad, False
            try:
                vector = adopted(trace, "numbers", (len(names),), np.dtype(np.float64))
                further: list[Tensor] = [vector]
                results: list[Tensor] = []
                for start, (param, group, _), slots in zip(self.places, self.trained, self._slots):
                    place = place_of[id(param)]
                    operands = [
                        adopted(trace, f"slot{len(further) + k}", x._value.shape, x.dtype.numpy)
                        for k, x in enumerate(slots)
                    ]
                    further += operands
                    results += optimizer._new(
                        _Asked(dict(options_on(group)), self._asked),
                        named(vector, names, start, param.dtype),
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

    def same_options(self) -> bool:
        """Whether the options on which the code depends are on or off as they were."""
        for group, options in self._options:
            for name, on in options:
                if bool(group[name]) is not on:
                    return False
        return True

    def run(self, leaves: Sequence[Any]) -> Any:
        """The step through Python."""
        held = [x if isinstance(x, np.ndarray) else array_of(x) for x in self._held]
        arrays = [*map(as_array, leaves), *held]
        outputs = self._program(arrays)
        count = len(self._found.recording.outputs)
        for k, place in self._updates.items():
            if k >= count:
                overwrite(arrays[place], outputs[k])
        return self._found.results(outputs[:count], leaves, Tensor)

    def note_changes(self) -> None:
        """What was written to has another version."""
        for tensor in self._changed:
            changed(tensor)


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


class CompiledStep:
    """A training step: `step(*batch)` computes the loss, moves the parameters, and returns the loss."""

    def __init__(self, function: Callable[..., Any], optimizer: Formula, has_aux: bool) -> None:
        self._function, self._optimizer, self._has_aux = function, optimizer, has_aux
        self._parameters = Parameters(function, None, ())
        self._table: dict[object, list[_Plan]] = {}
        self._last: _Plan | None = None
        self._lock = threading.RLock()
        _STEPS.add(self)

    def __repr__(self) -> str:
        return f"<compiled step of {self._parameters.name}{self._parameters.signature}>"

    @property
    def specialisations(self) -> int:
        """How many kinds of batches and worlds it was compiled for."""
        return sum(map(len, self._table.values()))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The loss of this batch, before the parameters are moved."""
        with self._lock:
            plan = self._last
            if plan is None or kwargs or plan.accepts is None or plan.call is None:
                return self._slowly(args, kwargs)
            if not (plan.accepts(*args) and plan.same_options()):
                return self._slowly(args, kwargs)
            clocks = self._tick(plan.trained)
            numbers = self._numbers(plan.trained, clocks)
            if numbers.places != plan.places:
                return self._slowly(args, kwargs, clocks)
            plan.numbers[:] = numbers.values
            plan.draw()
            loss = plan.call(*args)
            plan.note_changes()
            return loss

    # ---- through Python ------------------------------------------------------------------------------------

    def _slowly(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], clocks: list[Clock] | None = None
    ) -> Any:
        """The step by a plan that fits, made if need be. With clocks, they have been ticked."""
        self._check()
        leaves: list[Any] = []
        structure = self._parameters.structure(args, kwargs, leaves)
        key = (dtypes.default_dtype(), structure, tuple(map(kind_of, leaves)))
        with LOCK:
            known = next((plan for plan in self._table.get(key, ()) if plan.holds()), None)
            found = None
            if known is None:
                found, trained = self._trace(structure, leaves)
            else:
                trained = known.trained
            if clocks is None:
                clocks = self._tick(trained)
            numbers = self._numbers(trained, clocks)
            if known is None or known.places != numbers.places:
                known = self._plan(key, found, trained, numbers, structure, leaves)
        known.numbers[:] = numbers.values
        known.draw()
        if not kwargs:
            self._last = known
        value = known.run(leaves)
        known.note_changes()
        return value

    def _check(self) -> None:
        optimizer = self._optimizer
        if STATE.trace is not None:
            raise TraceError(
                "a compiled training step inside a compiled function",
                "it would move the parameters of the trace",
                "call it outside",
            )
        if optimizer._before or optimizer._after:
            raise ArgumentError(
                "compile_step with an optimizer that has step hooks",
                "the step is one native function, and has no gradients to show between",
                "remove the hooks, or call loss.backward() and optimizer.step()",
            )

    def _trace(self, structure: Structure, leaves: list[Any]) -> tuple[Specialisation, Sequence[_Trained]]:
        """The function as a graph, and the parameters that its loss depends on."""
        parameters = self._parameters
        arguments = parameters.named(structure)
        held = [(argument.name, i) for argument in arguments for i in identities(argument.structure)]
        call = Call(
            parameters.name,
            arguments,
            structure,
            leaves,
            [False] * len(leaves),
            captured=True,
            grad=True,
            first_only=self._has_aux,
            reads=reads(self._function, [(name, i.value) for name, i in held]),
        )
        found = specialise(self._function, call)
        recording = found.recording
        if not recording.scalar:
            shown = ", ".join(str(node.type) for node in recording.graph.outputs)
            raise GradientError(
                f"a training step of {parameters.name}, which returns {shown}",
                "it needs one scalar that depends on the optimizer's parameters",
                "return the loss, or with compile_step(has_aux=True) the loss and something else",
            )
        wanted = {id(recording.captured[k - len(recording.operands)]) for k in recording.influences}
        trained = [
            _Trained(param, group, self._optimizer.state.get(param, {}))
            for group in self._optimizer.param_groups
            for param in group["params"]
            if id(param) in wanted
        ]
        if not trained:
            raise GradientError(
                f"a training step of {parameters.name}",
                "its loss does not depend on any parameter of the optimizer",
                "give the optimizer the parameters that the function uses",
            )
        return found, trained

    def _plan(
        self,
        key: object,
        found: Specialisation | None,
        trained: Sequence[_Trained],
        numbers: _Numbers,
        structure: Structure,
        leaves: list[Any],
    ) -> _Plan:
        for param, group, state in trained:
            for name in self._optimizer._slots_of(dict(options_on(group))):
                if state.get(name) is None:
                    state[name] = self._optimizer._first(name, group, param)
            if state:
                self._optimizer.state[param] = state
        if found is None:
            found, _ = self._trace(structure, leaves)

        def miss(*args: Any) -> Any:
            known: list[Any] = []
            self._parameters.structure(args, {}, known)
            return plan.run(known)

        plan = _Plan(self._optimizer, found, trained, numbers, structure, leaves, miss)
        self._table[key] = [plan, *self._table.get(key, ())][:_PLANS]
        return plan

    # ---- the optimiser's numbers ---------------------------------------------------------------------------

    def _tick(self, trained: Sequence[_Trained]) -> list[Clock]:
        """Count the step of each parameter."""
        optimizer = self._optimizer
        optimizer._steps += 1
        return [optimizer._clock(group, state) for _, group, state in trained]

    def _numbers(self, trained: Sequence[_Trained], clocks: Sequence[Clock]) -> _Numbers:
        places: list[int] = []
        starts: dict[tuple[int, Clock], int] = {}
        names: list[str] = []
        values: list[float] = []
        for (_, group, _), clock in zip(trained, clocks):
            key = (id(group), clock)
            start = starts.get(key)
            if start is None:
                start = starts[key] = len(values)
                numbers = self._optimizer._numbers(group, clock)
                names += numbers
                values += map(float, numbers.values())
            places.append(start)
        return _Numbers(tuple(places), tuple(names), values)


def _apart(arrays: Sequence[Any]) -> bool:
    """Whether no two of the arrays share memory; those on a GPU are not asked."""
    if any(isinstance(a, DeviceArray) for a in arrays):
        return False
    ordered = sorted((a for a in arrays if a.size), key=lambda a: np.lib.array_utils.byte_bounds(a)[0])
    bounds = [np.lib.array_utils.byte_bounds(a) for a in ordered]
    return all(one[1] <= other[0] for one, other in pairwise(bounds))


def _slots(optimizer: Formula, trained: _Trained) -> list[Tensor]:
    """What the optimiser remembers of a parameter and the formula takes."""
    names = optimizer._slots_of(dict(options_on(trained.group)))
    return [trained.state[name] for name in names]


def _remembered(
    optimizer: Formula, trained: Sequence[_Trained], slots: Sequence[Sequence[Tensor]]
) -> list[Read]:
    """That the optimiser has the same parameters and remembers them in the same Tensors."""
    held = vars(optimizer)
    found = [Read(getitem, held, name, held[name], name) for name in ("param_groups", "state")]
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


def compile_step(function: Callable[..., Any], optimizer: Any, *, has_aux: bool = False) -> CompiledStep:
    """A whole training step as one native function: `step = compile_step(loss_function, optimizer)`.

    `function` (a module, a function, a method) takes a batch and returns the loss, a scalar. Each call
    `step(*batch)` returns it without a history, after moving the optimiser's parameters as
    `loss.backward(); optimizer.step(); optimizer.zero_grad()` would; `.grad` is neither used nor set. With
    `has_aux` the function returns the loss and something else, which is passed through. Learning rates may
    change between steps, nothing is compiled again. Raises ArgumentError for an optimiser that is not one
    formula (LBFGS), and GradientError where the loss does not depend on its parameters.
    """
    if not callable(function):
        raise ArgumentError(f"compile_step({function!r}, …)", "it takes a function that returns the loss")
    if not isinstance(optimizer, Formula):
        raise ArgumentError(
            f"compile_step with {type(optimizer).__name__}",
            "its step is no formula of the gradients",
            "take SGD, Adam or their kin, or call optimizer.step()",
        )
    return CompiledStep(function, optimizer, has_aux)
