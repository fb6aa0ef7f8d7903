"""A step as one native call: it looks up nothing, checks the gradients, and writes parameters in place.

In flow the program of a step (`update.py`) and the parameters that it was made for; out flows an `InPlace`,
which is asked at the next step whether the world is as it was (`trained.py`). Then all that Python does is to
count the step and to list the gradients. What there is no native call for goes through Python.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

import numpy as np

from retrograd.compiler.ir.graph import Array
from retrograd.runtime.modes import INFERENCE
from retrograd.runtime.native.fastcall import check
from retrograd.runtime.native.layout import layout
from retrograd.runtime.native.ports import (
    ArrayPort,
    ConstantPort,
    GroupPort,
    Held,
    LeafPort,
    OutputPort,
    TensorPort,
    Unlike,
    UpdatePort,
)
from retrograd.runtime.native.program import Executable, NativeProgram
from retrograd.runtime.native.returns import Bumped, Given
from retrograd.runtime.native.watching import watch
from retrograd.runtime.optim.trained import Clock, Remembering, Settings, Trained, apart, remembered, slots_of
from retrograd.runtime.tensor import Tensor


class InPlace:
    """A step of these parameters, whose program takes the numbers, the gradients, and for each parameter it
    and its slots. `updates` are its outputs, by the inputs that they are written to."""

    def __init__(
        self,
        optimizer: Remembering,
        trained: Sequence[Trained],
        settings: Settings,
        program: NativeProgram,
        updates: dict[int, int],
    ) -> None:
        self.settings = settings
        self._params = [param for group in optimizer.param_groups for param in group["params"]]
        slots = [slots_of(optimizer, each) for each in trained]
        written = [x for each, own in zip(trained, slots) for x in (each.param, *own)]
        held: list[Held] = [(settings.numbers, ArrayPort(np.dtype(np.float64), settings.numbers.shape))]
        held += [(x, _written(x)) for x in written]
        gradients = GroupPort(list, (), tuple([_gradient(x) for x in self._params]))
        guards = watch(remembered(optimizer, trained, slots), _unknown)
        counters = tuple([(len(self._params) + 1 + k, type(x), "_counter") for k, x in enumerate(written)])
        outputs: list[OutputPort] = [
            UpdatePort(updates[k], node.type.nbytes, k in program.straight)
            for k, node in enumerate(program.graph.outputs)
        ]
        self.accepts: Callable[..., bool] = check([gradients], held, guards)
        """Whether a step with these gradients is one for this program."""
        self._call = program.bind(
            [gradients], outputs, Bumped(Given(True), counters), _unknown, held=held, guards=guards
        )

    def gradients(self) -> list[Tensor | None]:
        """Those of all parameters now."""
        return [param._grad for param in self._params]

    def run(self, gradients: list[Tensor | None], clocks: list[Clock], same: bool) -> bool:
        """Take the step, if there is nothing in the way; `same` are all options, as the last time."""
        return self.settings.set_numbers(clocks, same) and self._call(gradients)


def in_place(
    optimizer: Remembering,
    trained: Sequence[Trained],
    clocks: list[Clock],
    program: Executable,
    updates: dict[int, int],
    asked: Iterable[str],
) -> InPlace | None:
    """The native call of a step like this one; None where Python has work to do."""
    written = [x for each in trained for x in (each.param, *slots_of(optimizer, each))]
    if layout() is None or not isinstance(program, NativeProgram) or not all(map(_lies_alone, written)):
        return None
    if not apart([x._value for x in written]):
        return None
    settings = Settings(optimizer, trained, clocks)
    settings.depend_on(asked)
    return InPlace(optimizer, trained, settings, program, updates)


def _lies_alone(tensor: Tensor) -> bool:
    """Whether it is no view, and its elements lie in order and may be changed."""
    flags = cast(Array, tensor._value).flags
    return tensor._view is None and tensor._counter is not INFERENCE and flags.carray


def _gradient(param: Tensor) -> LeafPort:
    """What a parameter's gradient must be: as it is now."""
    grad: Any = param._grad
    if grad is None:
        return ConstantPort(None)
    return TensorPort(type(grad), "_value", grad._value.dtype, grad._value.shape)


def _written(tensor: Tensor) -> TensorPort:
    """A Tensor of its own, whose elements may be changed."""
    value: Any = tensor._value
    also = {"_view": None, "_counter": Unlike(INFERENCE)}
    return TensorPort(type(tensor), "_value", value.dtype, value.shape, also, writeable=True)


def _unknown(*args: object) -> bool:
    """The call is none for native code."""
    return False
