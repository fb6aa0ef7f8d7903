"""What is known of all applications of an op to Tensors: the class of its nodes on the tape, and which values
its adjoint looks at.

In flow an op; out flows its `Kind` (`kind_of`). What an adjoint looks at is found by running it once on graph
nodes (`needs_of`), so no op has to say it.
"""

from __future__ import annotations

from collections.abc import Sequence

from retrograd.compiler.errors import GradientError
from retrograd.compiler.ir.graph import Builder, Node, Op, Value
from retrograd.compiler.ops.complexes import AsComplex, AsReal
from retrograd.compiler.ops.elementwise import Elementwise
from retrograd.compiler.ops.iota import IotaLike
from retrograd.compiler.ops.reverse import cotangents
from retrograd.compiler.ops.shape import Cast, Expand, Flip, Permute, Reshape, Select, Slice
from retrograd.compiler.ops.strided import Restrided, Strided
from retrograd.compiler.ops.window import Diagonal, Window
from retrograd.compiler.record import NamedTuple
from retrograd.runtime.eager.adjoints import type_of
from retrograd.runtime.eager.opnodes import UNCHANGING, Guard, OpNode, RowNode
from retrograd.runtime.grad_names import title


class Needs(NamedTuple):
    """The values that an adjoint looks at, when certain operands' cotangents are wanted."""

    inputs: tuple[bool, ...]
    out: bool
    of_nodes: list[Guard]
    """The guards of those values where they are graph nodes: none ever changes."""


class Kind:
    """What is known of all applications of an op."""

    __slots__ = ("is_view", "keeps_order", "needs", "node_class")

    def __init__(self, op: Op) -> None:
        self.is_view = type(op) in _VIEWS
        self.keeps_order = isinstance(op, Elementwise | Cast)
        """Its results lie in memory as its operands do."""
        self.needs: dict[int, Needs] = {}
        """By which operands require grad: one bit each."""
        base: type[OpNode] = ROW_NODES.get(op.name, RowNode) if isinstance(op, Elementwise) else OpNode
        members = {"row": op} if isinstance(op, Elementwise) else {}
        self.node_class: type[OpNode] = type(title(op), (base,), {"__slots__": (), **members})
        if base in (OpNode, RowNode):
            PLAIN[self.node_class] = self


ROW_NODES: dict[str, type[RowNode]] = {}
"""Nodes of rows that are not as others, by name; `underived.py` has some."""


_VIEWS = (
    *(Reshape, Permute, Expand, Slice, Select, Flip, Diagonal, Strided, Restrided, Window),
    *(AsReal, AsComplex),
)
PLAIN: dict[type[OpNode], Kind] = {}
"""Classes of nodes whose adjoint is the op's, or the row's, and nothing else."""
_KINDS: dict[str, Kind] = {}
"""By name, where an op's parameters change nothing of this."""
_VARIED: dict[Op, Kind] = {}
_MOST = 4096


def kind_of(op: Op) -> Kind:
    kind = _KINDS.get(op.name)
    if kind is not None:
        return kind
    if not op.varied:
        kind = _KINDS[op.name] = Kind(op)
        return kind
    kind = _VARIED.get(op)
    if kind is None:
        if len(_VARIED) >= _MOST:
            for forgotten in _VARIED.values():
                PLAIN.pop(forgotten.node_class, None)
            _VARIED.clear()
        kind = _VARIED[op] = Kind(op)
    return kind


def needs_of(op: Op, values: Sequence[Value], out: Value, wanted: Sequence[bool]) -> Needs:
    """Run the adjoint on fresh inputs, and see from which of them its results come. One that is refused is
    refused again when it is asked for, and needs none."""
    builder = Builder()
    operands = [builder.input(f"x{k}", type_of(v)) for k, v in enumerate(values)]
    result = builder.input("out", type_of(out))
    cotangent = builder.input("ct", type_of(out))
    reached: set[Node] = set()
    try:
        waiting = [g for g in cotangents(op, cotangent, result, operands, wanted) if g is not None]
    except GradientError:
        waiting = []
    while waiting:
        node = waiting.pop()
        if node not in reached:
            reached.add(node)
            if type(node.op) is not IotaLike:  # which looks at a shape alone
                waiting.extend(node.inputs)
    inputs, whole = [x in reached for x in operands], result in reached
    places = [*(place for place, needed in enumerate(inputs) if needed), *([-1] if whole else [])]
    return Needs(tuple(inputs), whole, [(UNCHANGING, 0, place) for place in places])
