"""The tape nodes of ops: what an op leaves behind for the backward pass, and how it is walked back.

A node holds the op, where the cotangents go, and those values that the op's adjoint will look at; which ones,
and of which class the node is, `kinds.py` knows, and `history.py` makes it. The backward pass takes the very
rules that the compiler takes: on Tensors and graph nodes step by step (`reverse.cotangents`), on arrays as
one function for each op and types (`adjoints.rule_for`, and `kernels.rules` for rows).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.errors import GradientError, mirrored
from retrograd.compiler.ir.arrays import in_order
from retrograd.compiler.ir.graph import INTERPRETERS, Node, Op, Type, Value
from retrograd.compiler.ir.quiet import quietly
from retrograd.compiler.ops.elementwise import Elementwise
from retrograd.compiler.ops.reduce import sum_to
from retrograd.compiler.ops.reverse import cotangents
from retrograd.runtime.eager.adjoints import BIG, rule_for
from retrograd.runtime.eager.kernels import rules
from retrograd.runtime.eager.linear import as_steps_of
from retrograd.runtime.eager.tape import Edge, GradNode, Shown, already_freed
from retrograd.runtime.modes import STATE
from retrograd.runtime.names import legacy_name
from retrograd.runtime.strided import DeviceArray
from retrograd.runtime.tensor import Tensor

Guard = tuple[list[Any], int, int]
"""Of a kept array its version counter, the version kept, and which operand it is (-1: the result)."""

UNCHANGING = [0]
"""The version counter of a graph node, which is one value for ever."""


class OpNode(GradNode):
    """An op that was applied. `inputs` holds, for each operand, its value, or its Type if the adjoint asks no
    more.
    """

    __slots__ = ("op", "inputs", "out", "guards", "shown")

    op: Op
    inputs: Sequence[Value] | None
    """None after `free`."""
    out: Value
    guards: list[Guard]
    """For each kept array."""

    shown: str
    """What the function that applied it is called on the tape, if not as its op."""

    def name(self) -> str:
        return self.shown or type(self).__name__

    def settle(self) -> None:
        unfold = UNFOLDED.get(self.op.name)
        if unfold is not None:
            unfold(self)
        if isinstance(self.shown, Shown):
            self.shown.settle(self)

    @property
    def output_nr(self) -> int:
        return self.shown.place if isinstance(self.shown, Shown) else 0

    def saved_values(self) -> Sequence[Value]:
        return self.inputs or ()

    def __getattr__(self, name: str) -> Tensor:
        """`_saved_self`, `_saved_other` and `_saved_result`: what the op's derivative looks at."""
        place = _SAVED.get(name)
        if place is None or not any(place == kept for _, _, kept in self.guards):
            raise AttributeError(f"'{self.name()}' object has no attribute '{name}'")
        if self.inputs is None:
            raise already_freed()
        self.check_versions()
        value, edge = (self.out, self) if place < 0 else (self.inputs[place], self.edges[place])
        found: Tensor = as_operand(value, edge)
        return found

    def backward(
        self, cotangent: Value, needed: Sequence[bool], create_graph: bool
    ) -> Sequence[Value | None]:
        inputs = self.inputs
        if inputs is None:
            raise already_freed()
        self.check_versions()
        out = self.out
        if create_graph:
            inputs = [as_operand(x, edge) for x, edge in zip(inputs, self.edges)]
            out = as_operand(out, self)
            recording: Any = INTERPRETERS[Tensor]
            twice = recording.cotangents(self.op, cotangent, out, inputs, needed)
            return as_steps_of(self.name(), self.op.name, twice, (*inputs, out))
        if isinstance(cotangent, DeviceArray):
            found: list[Value | None] = launching(cotangent).cotangents(
                self.op, cotangent, out, inputs, needed
            )
            return found
        if type(cotangent) is not Node:
            run = rule_for(self.op, cotangent, inputs, needed)
            if run is None:
                once = quietly(cotangents, self.op, cotangent, out, inputs, needed)
                return [g if g is None or g.size > BIG else in_order(g) for g in once]  # as kernels lay them
            return quietly(run, cotangent, out, *inputs)  # type: ignore[no-any-return]  # a list
        if STATE.trace is not None and STATE.trace.at_once:
            known: list[Value | None] = STATE.trace.cotangents(self, cotangent, needed)
            return known
        return cotangents(self.op, cotangent, out, inputs, needed)

    def holds(self, array: Value) -> bool:
        return self.inputs is None or True in [x is array for x in self.inputs]

    def keep_copy(self, tensor: Tensor) -> None:
        """The Tensor is about to become this op's result: copy what the adjoint reads of its old elements.
        Where it is a second operand, too, they are not kept, as in PyTorch."""
        inputs = list(self.inputs or ())
        for k, (_, _, place) in enumerate(self.guards):
            if place >= 0 and inputs[place] is tensor._value and type(tensor._value) is not Node:
                inputs[place] = tensor._value.copy()
                self.guards[k] = (UNCHANGING, 0, place)
                break
        self.inputs = inputs

    def settle_in(self, tensor: Tensor, result: Value) -> None:
        """This op's result lies in the Tensor's memory now: if the adjoint looks at it, it must not change
        there."""
        if self.out is result and self.out is not None and type(result) is not Node:
            counter = counter_of(tensor)
            self.out, self.guards[-1] = tensor._value, (counter, counter[0], -1)

    def free(self) -> None:
        if self.guards:
            self.inputs = self.out = None

    def check_versions(self) -> None:
        """Raise if a kept array was changed in place since."""
        for counter, version, place in self.guards:
            if counter[0] != version:
                value = self.out if place < 0 or self.inputs is None else self.inputs[place]
                written = counter[1] if len(counter) > 1 else self.edges[place]
                maker = self if place < 0 else written
                raise modified(value, maker, counter[0], version)


UNFOLDED: dict[str, Callable[[OpNode], None]] = {}
"""What makes several nodes of one, by op: of those that are several steps in PyTorch (`unfolding.py`)."""
_SAVED = {"_saved_self": 0, "_saved_other": 1, "_saved_exponent": 1, "_saved_result": -1}


def launching(array: DeviceArray) -> Any:
    """The interpreter of arrays on such a device, which also works out whole adjoints."""
    return INTERPRETERS[type(array)]


def modified(value: Value, maker: Edge, now: int, then: int) -> GradientError:
    """A value that the backward pass needs is no more what it was."""
    origin = (
        f", which is output 0 of {maker.name().removesuffix('0').removesuffix('Backward')},"
        if isinstance(maker, GradNode)
        else ""
    )
    kind = value.device.type if isinstance(value, DeviceArray) else "cpu"
    return GradientError(
        mirrored(
            "one of the variables needed for gradient computation has been modified by an inplace operation: "
            f"[{legacy_name(dtypes.of(value), kind)} {list(value.shape)}]{origin} is at version {now}; "
            f"expected version {then} instead. Hint: {_BACKTRACE if STATE.anomaly else _ENABLE}"
        )
    )


_ENABLE = (
    "enable anomaly detection to find the operation that failed to compute its gradient, with "
    "torch.autograd.set_detect_anomaly(True, check_nan=False)."
)
_BACKTRACE = (
    "the backtrace further above shows the operation that failed to compute its gradient. The variable in "
    "question was changed in there or anywhere later. Good luck!"
)


_ELSEWHERE = (Node, DeviceArray)
"""Values that NumPy does not compute with."""


class RowNode(OpNode):
    """A row of the elementwise table that was applied. On bare arrays its rules run as plain NumPy."""

    __slots__ = ()

    row: ClassVar[Elementwise]

    def backward(
        self, cotangent: Value, needed: Sequence[bool], create_graph: bool
    ) -> Sequence[Value | None]:
        inputs = self.inputs
        if create_graph or inputs is None or isinstance(cotangent, _ELSEWHERE) or cotangent.size >= BIG:
            return super().backward(cotangent, needed, create_graph)
        self.check_versions()
        return quietly(self._cotangents, cotangent, needed, inputs)  # type: ignore[no-any-return]  # a list, as below

    def _cotangents(
        self, cotangent: Value, needed: Sequence[bool], inputs: Sequence[Value]
    ) -> list[Value | None]:
        grads: list[Value | None] = []
        for rule, x in zip(rules(self.row, cotangent.dtype, *needed), inputs):
            g = rule and rule(*inputs, self.out, cotangent)
            grads.append(g if g is None or g.shape == x.shape else sum_to(g, x.shape))
        return grads


def as_operand(value: Value, edge: Edge) -> Value:
    """A kept value as the Tensor it was, so that operations on it are recorded."""
    if value is None or isinstance(value, Type):
        return value
    if isinstance(edge, Tensor):
        return edge
    tensor = Tensor(np.asarray(value) if isinstance(value, np.generic) else value)  # of a step without axes
    tensor._edge, tensor._requires_grad = edge, edge is not None
    return tensor


def counter_of(tensor: Tensor) -> list[Any]:
    """The version counter of a Tensor, which from now on somebody watches."""
    counter = tensor._counter
    if counter is None:
        counter = tensor._counter = [0]
    return counter
