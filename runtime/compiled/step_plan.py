"""A training step for one kind of batch: the graph of loss, gradients and update, compiled, and its calls.

In flow a traced function and the optimiser's `Formula`; out flows a `Plan`. The formula goes on with the
gradients in the same graph, and what it computes is written to the parameters and to what the optimiser
remembers. Its numbers, such as the learning rate, are passed to each call; they are worked out anew only
where an option or a clock has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import getitem
from typing import Any

import numpy as np

from retrograd.compiler.ir.graph import Array
from retrograd.runtime.compiled.dispatch import updating
from retrograd.runtime.compiled.entries import modes_read
from retrograd.runtime.compiled.guards import Guards
from retrograd.runtime.compiled.recording import Extension, array_of
from retrograd.runtime.compiled.specialise import Operand, Specialisation, as_array
from retrograd.runtime.device import CPU
from retrograd.runtime.eager.inplace import changed, overwrite
from retrograd.runtime.modes import STATE
from retrograd.runtime.native.layout import layout
from retrograd.runtime.native.program import executable
from retrograd.runtime.native.watching import Read, size_of, watch
from retrograd.runtime.optim.trained import (
    Asked,
    Clock,
    Settings,
    Trained,
    apart,
    options_on,
    remembered,
    slots_of,
)
from retrograd.runtime.optim.update import Formula, adopted, named, rule_for
from retrograd.runtime.pytree import Structure
from retrograd.runtime.tensor import Tensor
from retrograd.runtime.tracing import Trace

Clip = Callable[[Sequence[Tensor]], Sequence[Tensor]]
"""Bounds the gradients of all parameters, before the formula sees them."""

_HOOKS = ("_optimizer_step_pre_hooks", "_optimizer_step_post_hooks")


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
        clip: Clip,
        miss: Callable[..., Any],
    ) -> None:
        self.trained = trained
        self.specialisation = found
        self.settings = Settings(optimizer, trained, clocks)
        asked: set[str] = set()
        recording, operands = found.recording, len(found.recording.operands)
        self._slots = [slots_of(optimizer, each) for each in trained]
        self._held: list[Tensor | Array] = [
            *recording.captured,
            self.settings.numbers,
            *(x for slots in self._slots for x in slots),
        ]
        graph = recording.extended(f"{recording.name}_step", self._extension(optimizer, clip, asked))
        inputs = {id(x): operands + k for k, x in enumerate(self._held)}
        targets = [each for t, slots in zip(trained, self._slots) for each in (t.param, *slots)]
        self._updates = {len(recording.outputs) + k: inputs[id(x)] for k, x in enumerate(targets)}
        for k, target in found.updated.items():
            self._updates[k] = target.place if isinstance(target, Operand) else inputs[id(target.tensor)]
        lie_apart = apart([*map(as_array, leaves), *map(as_array, self._held)])
        written = set(self._updates.values())
        placings = {k: place for k, place in recording.placings.items() if k not in written}
        self._program = executable(graph, recording.device, self._updates if lie_apart else {}, placings)
        self.settings.depend_on(asked)
        self._changed = [x for x in self._held if isinstance(x, Tensor) and inputs[id(x)] in written]
        hooks = [Read(getitem, vars(optimizer), name, getattr(optimizer, name), name) for name in _HOOKS]
        hooks += [Read(size_of, read.value, None, 0, "hooks") for read in hooks]
        kept = remembered(optimizer, trained, self._slots)
        seen = [*found.guards.reads, *kept, *hooks, *modes_read()]
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
        self, optimizer: Formula, clip: Clip, asked: set[str]
    ) -> Callable[[Trace, dict[int, Tensor]], Extension]:
        """The optimiser's formula for all trained parameters, as a part of the graph."""
        recording, names, starts = (self.specialisation.recording, self.settings.names, self.settings.places)
        place_of = {id(x): len(recording.operands) + k for k, x in enumerate(recording.captured)}
        options = [Asked(dict(options_on(each.group)), asked) for each in self.trained]

        def extend(trace: Trace, gradients: dict[int, Tensor]) -> Extension:
            before, STATE.grad = STATE.grad, False
            try:
                vector = adopted(trace, "numbers", (len(names),), np.dtype(np.float64))
                further: list[Tensor] = [vector]
                results: list[Tensor] = []
                places = [place_of[id(each.param)] for each in self.trained]
                clipped = clip([gradients[place] for place in places])
                for start, on, each, slots, place, gradient in zip(
                    starts, options, self.trained, self._slots, places, clipped
                ):
                    operands = [
                        adopted(trace, f"slot{len(further) + k}", x._value.shape, x.dtype.numpy)
                        for k, x in enumerate(slots)
                    ]
                    further += operands
                    results += rule_for(optimizer._new, each.param.dtype)(
                        on,
                        named(vector, names, start, each.param.dtype.to_real()),
                        Tensor(recording.graph.inputs[place]),
                        gradient,
                        *operands,
                    )
                return further, results
            finally:
                STATE.grad = before

        return extend

    def holds(self) -> bool:
        """Whether everything outside is as it was, the optimiser's options and memory included."""
        return self.settings.same_options() and self._guards.hold()

    def run(self, leaves: Sequence[Any]) -> Any:
        """The step through Python."""
        self.specialisation.draw()
        held = [x if isinstance(x, np.ndarray) else array_of(x) for x in self._held]
        arrays = [*map(as_array, leaves), *held]
        given: list[Any] = arrays
        if self.specialisation.recording.device != CPU and not apart(
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
