"""`compile_step`: a whole training step as native code: loss, gradients, and the optimiser's update in place.

In flow a function of a batch that returns the loss, and an optimiser; out flows a `CompiledStep`, which is
called with batches and returns the loss. For each kind of batch the function is traced as `compile_grad` does
it, and compiled together with the optimiser's formula (`step_plan.py`).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any
from weakref import WeakSet

from retrograd.compiler.errors import ArgumentError, GradientError, TraceError
from retrograd.compiler.uncollected import uncollected
from retrograd.runtime.compiled.arguments import Parameters
from retrograd.runtime.compiled.entries import VARIANTS, kind_of_call, warn_of_changes
from retrograd.runtime.compiled.guards import reads
from retrograd.runtime.compiled.recording import LOCK
from retrograd.runtime.compiled.specialise import Call, Specialisation, followed
from retrograd.runtime.compiled.steady import trace_steadily
from retrograd.runtime.compiled.step_plan import Clip, Plan
from retrograd.runtime.modes import STATE
from retrograd.runtime.nn.utils.clip import clipped
from retrograd.runtime.optim.trained import Clock, Trained, options_on
from retrograd.runtime.optim.update import Formula
from retrograd.runtime.paths import Answers
from retrograd.runtime.pytree import Structure, identities

_STEPS: WeakSet[CompiledStep] = WeakSet()


def _unlock() -> None:
    """In a child process no thread goes on with its step."""
    for step in _STEPS:
        step._lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlock)


class CompiledStep:
    """A training step: `step(*batch)` computes the loss, moves the parameters, and returns the loss."""

    def __init__(self, function: Callable[..., Any], optimizer: Formula, has_aux: bool, clip: Clip) -> None:
        self._function, self._optimizer, self._has_aux, self._clip = function, optimizer, has_aux, clip
        self._parameters = Parameters(function, None, ())
        self._table: dict[object, list[Plan]] = {}
        self._told = set[str]()
        self._last: Plan | None = None
        self._lock = threading.RLock()
        _STEPS.add(self)

    def __repr__(self) -> str:
        return f"<compiled step of {self._parameters.name}{self._parameters.signature}>"

    def __reduce__(self) -> Any:
        """It is of one model, whose parameters its code changes where they lie."""
        raise ArgumentError(
            f"a copy or a pickle of {self!r}",
            "it is machine code that moves the parameters of one model, by one optimizer",
            "copy or save model.state_dict() and optimizer.state_dict(), and make another by compile_step()",
        )

    @property
    def specialisations(self) -> int:
        """How many kinds of batches and worlds it was compiled for."""
        return sum(map(len, self._table.values()))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The loss of this batch, before the parameters are moved."""
        with self._lock:
            plan = self._last
            if plan is None or kwargs or plan.native is None:
                return self._slowly(args, kwargs)
            accepts, call = plan.native
            settings = plan.settings
            steady = settings.same()
            if not accepts(*args) or not (steady or settings.same_options()):
                return self._slowly(args, kwargs)
            self._optimizer._steps += 1
            clocks = settings.ticked()
            if not settings.set_numbers(clocks, steady):
                return self._slowly(args, kwargs, clocks)
            return call(*args)

    # ---- through Python ------------------------------------------------------------------------------------

    def _slowly(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], clocks: list[Clock] | None = None
    ) -> Any:
        """The step by a plan that fits, made if need be. With clocks, they have been ticked."""
        self._check()
        leaves: list[Any] = []
        structure = self._parameters.structure(args, kwargs, leaves)
        key = kind_of_call(structure, leaves)
        with uncollected(), LOCK:
            plans = self._table.get(key, ())
            known, answers = followed(((p, p.specialisation) for p in plans if p.holds()), leaves)
            found = None
            if known is None:
                found, trained = self._trace(structure, leaves, answers)
            else:
                trained = known.trained
            if clocks is None:
                self._optimizer._steps += 1
                clocks = [self._optimizer._clock(group, state) for _, group, state in trained]
            if known is None or not known.settings.set_numbers(clocks):
                known = self._plan(key, found, trained, clocks, structure, leaves, answers)
        if not kwargs:
            self._last = known
            if known.native is not None and known.native[0](*args):
                return known.native[1](*args)
        return known.run(leaves)

    def _check(self) -> None:
        optimizer = self._optimizer
        if STATE.trace is not None:
            raise TraceError(
                "a compiled training step inside a compiled function",
                "it would move the parameters of the trace",
                "call it outside",
            )
        if optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks:
            raise ArgumentError(
                "compile_step with an optimizer that has step hooks",
                "the step is one native function, and has no gradients to show between",
                "remove the hooks, or call loss.backward() and optimizer.step()",
            )

    def _trace(
        self, structure: Structure, leaves: list[Any], answers: Answers
    ) -> tuple[Specialisation, Sequence[Trained]]:
        """The function as a graph, and the parameters that its loss depends on."""
        parameters = self._parameters
        arguments = parameters.named(structure)
        held = [(argument.name, i) for argument in arguments for i in identities(argument.structure)]
        roots = [(name, i.value) for name, i in held]
        call = Call(
            parameters.name,
            arguments,
            structure,
            leaves,
            [False] * len(leaves),
            captured=True,
            grad=True,
            first_only=self._has_aux,
            answers=answers,
            reads=reads(self._function, roots),
        )
        found = trace_steadily(self._function, call, roots)
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
            Trained(param, group, self._optimizer.state.get(param, {}))
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
        trained: Sequence[Trained],
        clocks: list[Clock],
        structure: Structure,
        leaves: list[Any],
        answers: Answers,
    ) -> Plan:
        for param, group, state in trained:
            for name in self._optimizer._slots_of(dict(options_on(group))):
                if state.get(name) is None:
                    state[name] = self._optimizer._first(name, group, param)
            if state:
                self._optimizer.state[param] = state
        if found is None:
            found, _ = self._trace(structure, leaves, answers)

        def miss(*args: Any) -> Any:
            known: list[Any] = []
            self._parameters.structure(args, {}, known)
            return plan.run(known)

        plan = Plan(self._optimizer, found, trained, clocks, structure, leaves, self._clip, miss)
        plans = [plan, *self._table.get(key, ())]
        self._table[key] = plans[:VARIANTS]
        if len(plans) > VARIANTS:
            warn_of_changes(plans[1].specialisation, self._told)
        return plan


def compile_step(
    function: Callable[..., Any], optimizer: Any, *, has_aux: bool = False, max_norm: float | None = None,
    clip_value: float | None = None,
) -> CompiledStep:  # fmt: skip
    """A whole training step as one native function: `step = compile_step(loss_function, optimizer)`.

    `function` (a module, a function, a method) takes a batch and returns the loss, a scalar. Each call
    `step(*batch)` returns it without a history, after moving the optimiser's parameters as
    `loss.backward(); optimizer.step(); optimizer.zero_grad()` would; `.grad` is neither used nor set. With
    `has_aux` the function returns the loss and something else, which is passed through. Before the update
    the gradients are clipped, as `nn.utils.clip_grad_norm_` does it with `max_norm`, and `clip_grad_value_`
    with `clip_value`. Learning rates may change between steps, nothing is compiled again. Raises
    ArgumentError for an optimiser that is not one formula (LBFGS), and GradientError where the loss does not
    depend on its parameters.
    """
    if not callable(function):
        raise ArgumentError(f"compile_step({function!r}, …)", "it takes a function that returns the loss")
    if not isinstance(optimizer, Formula):
        raise ArgumentError(
            f"compile_step with {type(optimizer).__name__}",
            "its step is no formula of the gradients",
            "take SGD, Adam or their kin, or call optimizer.step()",
        )
    for name, bound in ("max_norm", max_norm), ("clip_value", clip_value):
        if bound is not None and not isinstance(bound, int | float):
            raise ArgumentError(f"compile_step({name}={bound!r})", "a bound is a number, or None")
    clip = partial(clipped, max_norm=max_norm, clip_value=clip_value)
    return CompiledStep(function, optimizer, has_aux, clip)
