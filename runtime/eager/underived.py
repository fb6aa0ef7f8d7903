"""Histories of what has no derivative, as PyTorch has them: its cotangent is zeros, or it is refused.

In flow a result, the operands and the name of the node; out flows the result with that history, if an operand
has one. Numbers that are drawn (`bernoulli`) are `ended`; what PyTorch does not differentiate is `refused`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from retrograd.compiler.errors import GradientError, UnderivedError, mirrored
from retrograd.compiler.ir.graph import Type, Value
from retrograd.runtime.eager.history import edge_of
from retrograd.runtime.eager.kinds import ROW_NODES
from retrograd.runtime.eager.opnodes import RowNode
from retrograd.runtime.eager.tape import Edge, GradNode
from retrograd.runtime.grad_names import BESIDE, REFUSED
from retrograd.runtime.modes import STATE
from retrograd.runtime.strided import DeviceArray
from retrograd.runtime.tensor import Tensor


def zeros_like(cotangent: Value, type: Type, create_graph: bool) -> Value:
    """Zeros of a type at the level of a cotangent."""
    zeros: Value = np.zeros(type.shape, type.dtype.numpy)
    if STATE.trace is not None:
        zeros = STATE.trace.builder.constant(zeros)
    elif isinstance(cotangent, DeviceArray):
        zeros = cotangent.beside(zeros)
    return Tensor(zeros) if create_graph else zeros


class Ended(GradNode):
    """Where cotangents end: those of the operands are zeros."""

    __slots__ = ("types", "shown")

    def __init__(self, edges: tuple[Edge, ...], types: Sequence[Type], shown: str) -> None:
        super().__init__(edges)
        self.types = types
        self.shown = shown

    def name(self) -> str:
        return self.shown

    def backward(
        self, cotangent: Value, needed: Sequence[bool], create_graph: bool
    ) -> Sequence[Value | None]:
        return [
            zeros_like(cotangent, type, create_graph) if need else None
            for type, need in zip(self.types, needed)
        ]


class Refused(Ended):
    """A function that PyTorch does not differentiate."""

    __slots__ = ("words",)

    words: str

    def backward(
        self, cotangent: Value, needed: Sequence[bool], create_graph: bool
    ) -> Sequence[Value | None]:
        raise UnderivedError(mirrored(f"the derivative for '{self.words}' is not implemented."))


class RefusableRow(RowNode):
    """A row of which some calls, those that are seen under the name for that, are not differentiated."""

    __slots__ = ()

    def backward(
        self, cotangent: Value, needed: Sequence[bool], create_graph: bool
    ) -> Sequence[Value | None]:
        if self.shown == REFUSED:
            raise GradientError(mirrored(f"derivative for aten::{self.op.name} is not implemented"))
        return super().backward(cotangent, needed, create_graph)


ROW_NODES.update((name, RefusableRow) for name, shown in BESIDE.items() if REFUSED in shown)


def _with(
    result: Tensor, operands: Sequence[object], node: Callable[[tuple[Edge, ...], Sequence[Type]], GradNode]
) -> Tensor:
    """The result with the history that `node` makes, if there is one."""
    if STATE.trace is not None:
        STATE.trace.detached = True
    tensors = [x for x in operands if isinstance(x, Tensor) and x.requires_grad]
    if tensors and STATE.grad:
        types = [Type(tuple(x.shape), x.dtype) for x in tensors]
        result._edge, result._requires_grad = node(tuple(map(edge_of, tensors)), types), True
    return result


def ended(result: Tensor, operands: Sequence[object], shown: str) -> Tensor:
    """A new result, through which no derivative goes on."""
    return _with(result, operands, lambda edges, types: Ended(edges, types, shown))


def refused(result: Tensor, operands: Sequence[object], shown: str, words: str) -> Tensor:
    """A new result, whose derivative is refused: that of the function of these words."""

    def node(edges: tuple[Edge, ...], types: Sequence[Type]) -> GradNode:
        made = Refused(edges, types, shown)
        made.words = words
        return made

    return _with(result, operands, node)
