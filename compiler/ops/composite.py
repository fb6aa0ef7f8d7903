"""Composite ops: functions of other ops that keep a name, in printed graphs and in `grad_fn`.

A composite gives its `formula`, written with ops; everything else follows from it. Its type is found by
writing the formula down in a scratch graph, its value by running the formula on arrays, its derivative by
reverse mode over the scratch graph, and before lowering it is replaced by the formula. Two answers may be
given better by hand: `compute` (NumPy in place of the formula) and `adjoint` (where the general one would
repeat work, or lose digits). Half precision is computed in float32. To add a composite, add a class where its
kin are: statistics, softmax, losses, normal, …
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.dtypes import DType
from retrograd.compiler.errors import DtypeError
from retrograd.compiler.ir.arrays import in_order
from retrograd.compiler.ir.graph import (
    Array,
    Builder,
    Constant,
    Graph,
    Input,
    Node,
    Op,
    Type,
    Value,
    interpret,
)
from retrograd.compiler.ops.elementwise import Elementwise
from retrograd.compiler.ops.half import in_float32
from retrograd.compiler.ops.reverse import backpropagate
from retrograd.compiler.ops.row import CATEGORIES
from retrograd.compiler.ops.shape import Cast
from retrograd.compiler.record import record


@record
class Composite(Op):
    """A named function of other ops."""

    categories: ClassVar[tuple[int, ...]] = (2,)
    """Categories of dtypes (see DType) that the first operand may have."""
    varied = True

    @abstractmethod
    def formula(self, *values: Value) -> Value:
        """The value, written with ops, for values of any level."""

    def inspect(self, *arrays: Array) -> None:
        """Raise for elements that the op does not take; in compiled code `passes/checks.py` does."""

    def admits(self, *values: Value) -> Value | None:
        """The same question as a formula: bools, all of them true where `inspect` is silent. None where there
        is nothing to ask, or the formula itself fails."""
        return None

    def compute(self, *arrays: Array) -> Array:
        """The value, in NumPy, of arrays that have been inspected."""
        return np.asarray(self.formula(*arrays))

    def expand(self, *values: Value) -> Value:
        """What the op stands for: the formula, in float32 where the operands are halves."""
        half = _is_half(map(dtypes.of, values))
        return in_float32(self.formula)(*values) if half else self.formula(*values)

    def infer(self, *types: Type) -> Type:
        if types[0].dtype.category not in self.categories:
            wanted = " or ".join(CATEGORIES[c] for c in self.categories)
            raise DtypeError(
                f"{self.name} of {', '.join(map(str, types))}",
                f"{self.name} takes {wanted} values",
                "cast the tensor with .to(dtype)",
            )
        return expansion(self, types).outputs[0].type

    def evaluate(self, *arrays: Array) -> Array:
        half = _half(self, tuple([(a.shape, a.dtype) for a in arrays]))
        self.inspect(*arrays)
        found = in_float32(self.compute)(*arrays) if half else self.compute(*arrays)
        lies_well = found.flags.c_contiguous or keeps_order(self, tuple([_type(a) for a in arrays]))
        return found if lies_well else in_order(found)

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        graph, present = _adjoint(self, tuple(map(_type, inputs)), tuple(needed))
        found = iter(interpret(graph, [cotangent, *inputs]))
        return [next(found) if here else None for here in present]


def _type(value: Value) -> Type:
    return Type(tuple(value.shape), dtypes.of(value))


def _is_half(types: Iterable[DType]) -> bool:
    floating = [d for d in types if d.is_floating_point]
    return bool(floating) and all(d.is_half for d in floating)


@lru_cache(maxsize=4096)
def _half(op: Composite, operands: tuple[tuple[tuple[int, ...], np.dtype[Any]], ...]) -> bool:
    """Whether arrays of these shapes and dtypes are computed in float32; the error if they do not fit."""
    types = [Type(shape, dtypes.dtype(dtype)) for shape, dtype in operands]
    op.infer(*types)
    return _is_half(t.dtype for t in types)


@lru_cache(maxsize=4096)
def expansion(op: Composite, types: tuple[Type, ...]) -> Graph:
    """The formula as a graph, for operands of these types."""
    builder = Builder()
    with builder.at(None):
        inputs = tuple(builder.input(f"x{k}", type_) for k, type_ in enumerate(types))
        return Graph(op.name, inputs, (op.expand(*inputs),))


@lru_cache(maxsize=4096)
def admission(op: Composite, types: tuple[Type, ...]) -> Graph | None:
    """What the op asks of its operands' elements as a graph, for operands of these types."""
    builder = Builder()
    with builder.at(None):
        inputs = tuple(builder.input(f"x{k}", type_) for k, type_ in enumerate(types))
        asked = op.admits(*inputs)
    return None if asked is None else Graph(f"{op.name}_admits", inputs, (asked,))


@lru_cache(maxsize=4096)
def keeps_order(op: Composite, types: tuple[Type, ...]) -> bool:
    """Whether the value is computed element by element, so that its elements lie as those of the operands."""
    nodes = expansion(op, types).nodes
    return all(isinstance(node.op, Elementwise | Cast | Constant) or not node.ndim for node in nodes)


@lru_cache(maxsize=4096)
def _adjoint(
    op: Composite, types: tuple[Type, ...], needed: tuple[bool, ...]
) -> tuple[Graph, tuple[bool, ...]]:
    """The formula's reverse mode as a graph of cotangent and operands, and for which operands."""
    forward = expansion(op, types)
    (out,) = forward.outputs
    with out.builder.at(None):
        cotangent = out.builder.node(Input("cotangent", out.type))
        wanted = [i for i, need in zip(forward.inputs, needed, strict=True) if need]
        total = backpropagate({out: cotangent}, wanted)
    found: list[Node | None] = [
        total.get(i) if need else None for i, need in zip(forward.inputs, needed, strict=True)
    ]
    graph = Graph(
        f"{op.name}_adjoint", (cotangent, *forward.inputs), tuple(n for n in found if n is not None)
    )
    return graph, tuple(n is not None for n in found)
