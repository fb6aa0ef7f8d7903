"""The tape nodes of ops: what an op leaves behind for the backward pass, and how it is walked back.

`record(kind, op, operands, values, result)` points a result to an `OpNode`, which holds the op, where the
cotangents go, and those values that the op's adjoint will look at. Which ones it looks at is found by
running the adjoint once on graph nodes (`_needs`), so no op has to say it. The backward pass takes the very
rules that the compiler takes: on Tensors and graph nodes step by step (`reverse.cotangents`), on arrays as
one function for each op and types (`adjoints.rule_for`, and `kernels.rules` for rows).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.errors import GradientError, mirrored
from retrograd.compiler.ir.graph import INTERPRETERS, Builder, Node, Op, Type, Value
from retrograd.compiler.ir.quiet import quietly
from retrograd.compiler.ops.composite import Composite
from retrograd.compiler.ops.elementwise import Elementwise
from retrograd.compiler.ops.iota import IotaLike
from retrograd.compiler.ops.reduce import sum_to
from retrograd.compiler.ops.reverse import cotangents
from retrograd.compiler.ops.shape import Cast, Expand, Flip, Permute, Reshape, Select, Slice
from retrograd.compiler.ops.strided import Restrided, Strided
from retrograd.compiler.ops.window import Diagonal, Window
from retrograd.runtime import tracing
from retrograd.runtime.eager.adjoints import BIG, rule_for, type_of_array
from retrograd.runtime.eager.kernels import rules
from retrograd.runtime.eager.linear import as_steps_of
from retrograd.runtime.eager.packing import repack
from retrograd.runtime.eager.tape import Edge, GradNode, Shown, already_freed, orders
from retrograd.runtime.grad_names import title
from retrograd.runtime.modes import INFERENCE, STATE, unkept
from retrograd.runtime.names import legacy_name
from retrograd.runtime.strided import DeviceArray
from retrograd.runtime.tensor import Tensor

# ---- what an adjoint looks at ------------------------------------------------------------------------------


Guard = tuple[list[Any], int, int]
"""Of a kept array its version counter, the version kept, and which operand it is (-1: the result)."""

UNCHANGING = [0]
"""The version counter of a graph node, which is one value for ever."""


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


_VIEWS = (Reshape, Permute, Expand, Slice, Select, Flip, Diagonal, Strided, Restrided, Window)
PLAIN: dict[type[OpNode], Kind] = {}
"""Classes of nodes whose adjoint is the op's, or the row's, and nothing else."""
_KINDS: dict[str, Kind] = {}
"""By name: the parameters of a primitive change nothing of this."""
_COMPOSITES: dict[Composite, Kind] = {}
_MOST = 4096


def kind_of(op: Op) -> Kind:
    kind = _KINDS.get(op.name)
    if kind is not None:
        return kind
    if not isinstance(op, Composite):
        kind = _KINDS[op.name] = Kind(op)
        return kind
    kind = _COMPOSITES.get(op)
    if kind is None:
        if len(_COMPOSITES) >= _MOST:
            for forgotten in _COMPOSITES.values():
                PLAIN.pop(forgotten.node_class, None)
            _COMPOSITES.clear()
        kind = _COMPOSITES[op] = Kind(op)
    return kind


def type_of(value: Value) -> Type:
    return value.type if isinstance(value, Node) else type_of_array(value)


def _needs(op: Op, values: Sequence[Value], out: Value, wanted: Sequence[bool]) -> Needs:
    """Run the adjoint on fresh inputs, and see from which of them its results come."""
    builder = Builder()
    operands = [builder.input(f"x{k}", type_of(v)) for k, v in enumerate(values)]
    result = builder.input("out", type_of(out))
    cotangent = builder.input("ct", type_of(out))
    reached: set[Node] = set()
    waiting = [g for g in cotangents(op, cotangent, result, operands, wanted) if g is not None]
    while waiting:
        node = waiting.pop()
        if node not in reached:
            reached.add(node)
            if type(node.op) is not IotaLike:  # which looks at a shape alone
                waiting.extend(node.inputs)
    inputs, whole = [x in reached for x in operands], result in reached
    places = [*(place for place, needed in enumerate(inputs) if needed), *([-1] if whole else [])]
    return Needs(tuple(inputs), whole, [(UNCHANGING, 0, place) for place in places])


# ---- the tape node of an op --------------------------------------------------------------------------------

SMALL = 1024
"""Operands with at most this many elements are kept whole even where only their shape matters: it is
faster.
"""


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
                return quietly(cotangents, self.op, cotangent, out, inputs, needed)  # type: ignore[no-any-return]  # a list
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


def edge_of(x: Value) -> Edge:
    """Where the cotangent of an operand goes."""
    if not isinstance(x, Tensor) or not x._requires_grad:
        return None
    if tracing.depth and STATE.trace is not None and STATE.trace.is_leaf(x):
        return x
    return x._edge if x._edge is not None else x


def _edge_inside(x: Tensor) -> Edge:
    """The same in a trace: one that applies ops as they come records nothing of what is outside."""
    trace = STATE.trace
    return None if trace is not None and trace.at_once and not trace.owns(x) else edge_of(x)


def record(
    kind: Kind,
    op: Op,
    operands: Sequence[Value],
    values: Sequence[Value],
    result: Tensor,
    shown: str = "",
) -> None:
    """Give the result its history: `op`, which is of this kind, of the operands, whose values these are."""
    if len(operands) == 1 and not tracing.depth:
        x = operands[0]
        needs = kind.needs.get(0b11)
        if needs is None:
            needs = kind.needs[0b11] = _needs(op, values, result._value, (True,))
        guards: list[Guard] = []
        if needs.inputs[0]:
            counter = x._counter or counter_of(x)
            if counter is INFERENCE:
                raise unkept()
            guards.append((counter, counter[0], 0))
        elif values[0].size > SMALL:
            values = [type_of(values[0])]
        if needs.out:
            guards.append((counter_of(result), 0, -1))
        _append(kind, op, (x if x._edge is None else x._edge,), needs, values, guards, result, shown)
        if STATE.watched:
            _look(result._edge, operands, result)
        return
    edges: list[Edge] = []
    wanted = 1 << len(operands)  # a key that also says how many operands there are
    for x in operands:
        if isinstance(x, Tensor) and x._requires_grad:
            wanted |= 1 << len(edges)
            edges.append(_edge_inside(x) if tracing.depth else x if x._edge is None else x._edge)
        else:
            edges.append(None)
    needs = kind.needs.get(wanted)
    if needs is None:
        needs = kind.needs[wanted] = _needs(op, values, result._value, [edge is not None for edge in edges])
    if type(result._value) is Node:
        guards, kept = needs.of_nodes, values
        _check_kept(operands, needs.inputs)
    else:
        guards, kept = _guarded(operands, values, needs.inputs)
        if needs.out:
            guards.append((counter_of(result), 0, -1))
    _append(kind, op, tuple(edges), needs, kept, guards, result, shown)
    if STATE.watched:
        _look(result._edge, operands, result)


def _check_kept(operands: Sequence[Value], needed: Sequence[bool]) -> None:
    """No inference tensor may be kept."""
    for x, need in zip(operands, needed):
        if need and isinstance(x, Tensor) and x._counter is INFERENCE:
            raise unkept()


def _guarded(
    operands: Sequence[Value], values: Sequence[Value], needed: Sequence[bool]
) -> tuple[list[Guard], Sequence[Value]]:
    """The guards of operands that are needed, and the values to keep: of large ones that are not, types."""
    _check_kept(operands, needed)
    guards: list[Guard] = []
    kept = values
    for place, (x, value, need) in enumerate(zip(operands, values, needed)):
        if need:
            counter = counter_of(x) if isinstance(x, Tensor) else UNCHANGING
            guards.append((counter, counter[0], place))
        elif value.size > SMALL:
            kept = list(kept)
            kept[place] = type_of(value)
    return guards, kept


def _append(
    kind: Kind,
    op: Op,
    edges: tuple[Edge, ...],
    needs: Needs,
    kept: Sequence[Value],
    guards: list[Guard],
    result: Tensor,
    shown: str,
) -> None:
    """A node of the tape for the result. Written out here, for every operation makes one."""
    node: OpNode = object.__new__(kind.node_class)
    node.shown = shown
    node.out = result._value if needs.out else None
    node.order = next(orders)
    node.edges = edges
    node.hooks = None
    node.op = op
    node.inputs = kept
    node.guards = guards
    result._edge = node
    result._requires_grad = True


def _look(node: Any, operands: Sequence[Value], result: Tensor) -> None:
    """What is done with each new node in anomaly mode, and while hooks take what is kept."""
    if STATE.anomaly:
        node.remember()
    if STATE.savers:
        repack(node, operands, result)


def counter_of(tensor: Tensor) -> list[Any]:
    """The version counter of a Tensor, which from now on somebody watches."""
    counter = tensor._counter
    if counter is None:
        counter = tensor._counter = [0]
    return counter
