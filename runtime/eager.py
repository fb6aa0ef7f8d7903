"""Record: what it means to apply an op to Tensors. Evaluates at once, or writes a node while tracing; keeps
the tape.

In flow an op and its operands (Tensors, arrays, Python numbers), out flows a Tensor. If grad mode is on and
an operand requires grad, the result points to an `OpNode`, which holds the op, where the cotangents go, and
those values that the op's adjoint will look at. Which ones it looks at is found by running the adjoint once
on graph nodes (`_needs`), so no op has to say it. The backward pass takes the very rules that the compiler
takes, `reverse.cotangents`.

    RECORD.apply(op, operands)        the interpreter of Tensors, level 3
    recorded(op, operands, result)    history for a value that was computed otherwise
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.dtypes import DType
from retrograd.compiler.errors import DeviceError, GradientError, RetrogradError, TraceError, mirrored
from retrograd.compiler.ir.graph import INTERPRETERS, Builder, Node, Op, Type, Value, apply
from retrograd.compiler.ir.quiet import quietly
from retrograd.compiler.ops.composite import Composite
from retrograd.compiler.ops.elementwise import Elementwise
from retrograd.compiler.ops.reduce import sum_to
from retrograd.compiler.ops.reverse import cotangents
from retrograd.compiler.ops.shape import Expand, Flip, Permute, Reshape, Slice
from retrograd.runtime import tracing
from retrograd.runtime.device import CPU
from retrograd.runtime.kernels import rules, rules_of_halves
from retrograd.runtime.modes import STATE
from retrograd.runtime.names import legacy_name
from retrograd.runtime.strided import DeviceArray
from retrograd.runtime.tape import Edge, GradNode, already_freed
from retrograd.runtime.tensor import SUBCLASS_HOOKS, Tensor
from retrograd.runtime.tracing import Trace
from retrograd.runtime.views import View, is_view

# ---- what an adjoint looks at ------------------------------------------------------------------------------


class Needs(NamedTuple):
    """The values that an adjoint looks at, when certain operands' cotangents are wanted."""

    inputs: tuple[bool, ...]
    out: bool


class _Kind:
    """What is known of all applications of an op."""

    __slots__ = ("is_view", "needs", "node_class")

    def __init__(self, op: Op) -> None:
        self.is_view = type(op) in _VIEWS
        self.needs: dict[int, Needs] = {}
        """By which operands require grad: one bit each."""
        base, members = (RowNode, {"row": op}) if isinstance(op, Elementwise) else (OpNode, {})
        self.node_class: type[OpNode] = type(f"{op.title}Backward0", (base,), {"__slots__": (), **members})


_VIEWS = (Reshape, Permute, Expand, Slice, Flip)
_KINDS: dict[str, _Kind] = {}
"""By name: the parameters of a primitive change nothing of this."""
_COMPOSITES: dict[Composite, _Kind] = {}
_MOST = 4096


def _kind(op: Op) -> _Kind:
    kind = _KINDS.get(op.name)
    if kind is not None:
        return kind
    if not isinstance(op, Composite):
        kind = _KINDS[op.name] = _Kind(op)
        return kind
    kind = _COMPOSITES.get(op)
    if kind is None:
        if len(_COMPOSITES) >= _MOST:
            _COMPOSITES.clear()
        kind = _COMPOSITES[op] = _Kind(op)
    return kind


def _type_of(value: Value) -> Type:
    return value.type if isinstance(value, Node) else Type(tuple(value.shape), dtypes.of(value))


def _needs(op: Op, values: Sequence[Value], out: Value, wanted: Sequence[bool]) -> Needs:
    """Run the adjoint on fresh inputs, and see from which of them its results come."""
    builder = Builder()
    operands = [builder.input(f"x{k}", _type_of(v)) for k, v in enumerate(values)]
    result = builder.input("out", _type_of(out))
    cotangent = builder.input("ct", _type_of(out))
    reached: set[Node] = set()
    waiting = [g for g in cotangents(op, cotangent, result, operands, wanted) if g is not None]
    while waiting:
        node = waiting.pop()
        if node not in reached:
            reached.add(node)
            waiting.extend(node.inputs)
    return Needs(tuple(x in reached for x in operands), result in reached)


# ---- the tape node of an op --------------------------------------------------------------------------------

_SMALL = 1024
"""Operands with at most this many elements are kept whole even where only their shape matters: it is
faster.
"""


class OpNode(GradNode):
    """An op that was applied. `inputs` holds, for each operand, its value, or its Type if the adjoint asks no
    more.
    """

    __slots__ = ("op", "inputs", "out", "guards")

    op: Op
    inputs: Sequence[Value] | None
    """None after `free`."""
    out: Value
    guards: list[tuple[list[int], int, int]]
    """For each kept array: its version counter, the version kept, and which operand it is (-1: the
    result).
    """

    def __init__(
        self,
        edges: tuple[Edge, ...],
        op: Op,
        inputs: Sequence[Value],
        out: Value,
        guards: list[tuple[list[int], int, int]],
    ) -> None:
        GradNode.__init__(self, edges)
        self.op = op
        self.inputs = inputs
        self.out = out
        self.guards = guards

    def backward(
        self, cotangent: Value, needed: Sequence[bool], create_graph: bool
    ) -> Sequence[Value | None]:
        inputs = self.inputs
        if inputs is None:
            raise already_freed()
        self.check_versions()
        out = self.out
        if create_graph:
            inputs = [_as_operand(x, edge) for x, edge in zip(inputs, self.edges)]
            out = _as_operand(out, self)
        elif isinstance(cotangent, DeviceArray):
            found: list[Value | None] = launching(cotangent).cotangents(
                self.op, cotangent, out, inputs, needed
            )
            return found
        return cotangents(self.op, cotangent, out, inputs, needed)

    def holds(self, array: Value) -> bool:
        return self.inputs is None or any(array is x for x in self.inputs)

    def keep_copy(self, tensor: Tensor) -> None:
        """The Tensor is about to become this op's result: copy what the adjoint reads of its old elements."""
        inputs = list(self.inputs or ())
        for guard in list(self.guards):
            if guard[2] >= 0 and inputs[guard[2]] is tensor._value and type(tensor._value) is not Node:
                inputs[guard[2]] = tensor._value.copy()
                self.guards[self.guards.index(guard)] = (_UNCHANGING, 0, guard[2])
        self.inputs = inputs

    def free(self) -> None:
        if self.guards:
            self.inputs = self.out = None

    def check_versions(self) -> None:
        """Raise if a kept array was changed in place since."""
        for counter, version, place in self.guards:
            if counter[0] != version:
                value = self.out if place < 0 or self.inputs is None else self.inputs[place]
                raise modified(value, self if place < 0 else self.edges[place], counter[0], version)


def modified(value: Value, maker: Edge, now: int, then: int) -> GradientError:
    """A value that the backward pass needs is no more what it was."""
    origin = (
        f", which is output 0 of {maker.name().removesuffix('Backward0')},"
        if isinstance(maker, GradNode)
        else ""
    )
    return GradientError(
        mirrored(
            "one of the variables needed for gradient computation has been modified by an inplace operation: "
            f"[{legacy_name(dtypes.of(value))} {list(value.shape)}]{origin} is at version {now}; "
            f"expected version {then} instead. Hint: enable anomaly detection to find the operation "
            "that failed "
            "to compute its gradient, with torch.autograd.set_detect_anomaly(True, check_nan=False)."
        )
    )


class RowNode(OpNode):
    """A row of the elementwise table that was applied. On bare arrays its rules run as plain NumPy."""

    __slots__ = ()

    row: ClassVar[Elementwise]

    def backward(
        self, cotangent: Value, needed: Sequence[bool], create_graph: bool
    ) -> Sequence[Value | None]:
        inputs = self.inputs
        if create_graph or inputs is None or isinstance(cotangent, Node | DeviceArray):
            return super().backward(cotangent, needed, create_graph)
        self.check_versions()
        grads: list[Value | None] = []
        found = rules(self.row) if cotangent.dtype.itemsize > 2 else rules_of_halves(self.row)
        for rule, need, x in zip(found, needed, inputs):
            g = rule(*inputs, self.out, cotangent) if need and rule is not None else None
            grads.append(g if g is None or g.shape == x.shape else sum_to(g, x.shape))
        return grads


def _as_operand(value: Value, edge: Edge) -> Value:
    """A kept value as the Tensor it was, so that operations on it are recorded."""
    if value is None or isinstance(value, Type):
        return value
    if isinstance(edge, Tensor):
        return edge
    tensor = Tensor(value)
    tensor._edge, tensor._requires_grad = edge, edge is not None
    return tensor


def edge_of(x: Value) -> Edge:
    """Where the cotangent of an operand goes."""
    if not isinstance(x, Tensor) or not x._requires_grad:
        return None
    if tracing.depth and STATE.trace is not None and STATE.trace.is_leaf(x):
        return x
    return x._edge if x._edge is not None else x


def record(op: Op, operands: Sequence[Value], values: Sequence[Value], result: Tensor) -> None:
    """Give the result its history: `op` of the operands, whose values these are."""
    kind = _kind(op)
    edges: list[Edge] = []
    wanted = 1 << len(operands)  # a key that also says how many operands there are
    for x in operands:
        if isinstance(x, Tensor) and x._requires_grad:
            wanted |= 1 << len(edges)
            edges.append(edge_of(x) if tracing.depth or x._edge is None else x._edge)
        else:
            edges.append(None)
    needs = kind.needs.get(wanted)
    if needs is None:
        needs = kind.needs[wanted] = _needs(op, values, result._value, [edge is not None for edge in edges])
    guards = []
    kept = list(values)
    for place, value in enumerate(kept):
        if not needs.inputs[place]:
            if type(value) is not Node and value.size > _SMALL:
                kept[place] = _type_of(value)
        elif isinstance(operands[place], Tensor):
            counter = _UNCHANGING if type(value) is Node else counter_of(operands[place])
            guards.append((counter, counter[0], place))
    out = None
    if needs.out:
        out = result._value
        guards.append((_UNCHANGING if type(out) is Node else counter_of(result), 0, -1))
    result._edge = kind.node_class(tuple(edges), op, kept, out, guards)
    result._requires_grad = True


_UNCHANGING = [0]
"""The version counter of a graph node, which is one value for ever."""


def counter_of(tensor: Tensor) -> list[int]:
    """The version counter of a Tensor, which from now on somebody watches."""
    counter = tensor._counter
    if counter is None:
        counter = tensor._counter = [0]
    return counter


# ---- the interpreter ---------------------------------------------------------------------------------------


class Record:
    """Tensors in, Tensor out."""

    level = 3

    def apply(self, op: Op, operands: Sequence[Value]) -> Tensor:
        values = []
        tracked = False
        for x in operands:
            if isinstance(x, Tensor):
                if x._view is not None:
                    x._view.refresh(x)
                if x._requires_grad:
                    tracked = True
                values.append(x._value)
            else:
                values.append(x)
        if tracing.depth and STATE.trace is not None:
            return _trace(STATE.trace, op, operands, tracked)
        return _evaluate(op, operands, values, tracked)


def _evaluate(op: Op, operands: Sequence[Value], values: list[Value], tracked: bool) -> Tensor:
    arrays = _arrays(operands, values)
    first = arrays[0].dtype if arrays else None
    try:
        if any(array.dtype is not first for array in arrays):
            op.infer(*map(_type_of, arrays))
        away = type(first) is DType and isinstance(arrays[0], DeviceArray)
        out = apply(op, *arrays) if away else quietly(op.evaluate, *arrays)
    except Exception as error:
        raise _explained(error, op, values) from None
    result = Tensor(out)
    if _kind(op).is_view:
        _enter_view(op, operands[0], arrays[0], result)
    if tracked and STATE.grad and out.dtype.kind == "f":
        record(op, operands, arrays, result)
    return result


def _arrays(operands: Sequence[Value], values: list[Value]) -> list[Value]:
    """Python numbers take the dtype of the last operand that has one. If one operand is on a GPU, all are."""
    if all(type(v) is np.ndarray for v in values):
        return values
    for value in values:
        if isinstance(value, DeviceArray):
            _check_device(value, operands, values)
            entered: list[Value] = launching(value).entered(values)
            return entered
    like = None
    for value in values:
        if isinstance(value, np.ndarray | np.generic):
            like = value.dtype
    return [
        v if isinstance(v, np.ndarray) or type(v) is Node else np.asarray(v, getattr(v, "dtype", like))
        for v in values
    ]


def _explained(error: Exception, op: Op, values: Sequence[Value]) -> Exception:
    """The error in the user's terms: that of the op's type rule, if it has one to make."""
    if isinstance(error, RetrogradError):
        return error
    for value in values:
        if isinstance(value, Node):
            return TraceError(
                f"{op.name} of a tensor that was made inside a compiled function",
                "the trace has ended, so it stands for no value",
                "return it from the function, and use what the function returns",
            )
    try:
        op.infer(*map(_type_of, _arrays((), list(values))))
    except RetrogradError as told:
        return told
    return error


def _trace(trace: Trace, op: Op, operands: Sequence[Value], tracked: bool) -> Tensor:
    """A node in place of a value."""
    lifted = [trace.lift(x) if isinstance(x, Tensor) else x for x in operands]
    likes = [x.dtype for x in lifted if isinstance(x, Node)]
    nodes = [x if isinstance(x, Node) else _constant(trace, x, likes) for x in lifted]
    node = trace.builder.node(op, *nodes)
    result = Tensor(node)
    if _kind(op).is_view:
        _link(op, operands[0], result, trace)
    if tracked and STATE.grad and node.dtype.is_floating_point:
        record(op, operands, nodes, result)
    return result


def _constant(trace: Trace, value: Value, likes: Sequence[dtypes.DType]) -> Node:
    if isinstance(value, np.ndarray | np.generic):
        return trace.builder.constant(np.asarray(value))
    return trace.builder.constant(value, likes[-1] if likes else dtypes.of(value))


def _enter_view(op: Op, operand: Value, array: Value, result: Tensor) -> None:
    """A result that shares the operand's memory is its view."""
    made = result._value
    if isinstance(made, DeviceArray):
        if isinstance(operand, Tensor) and made.memory is array.memory:
            _link(op, operand, result)
        return
    owner = made.base  # type: ignore[union-attr]  # just evaluated, so an array
    if isinstance(operand, Tensor) and owner is not None and (owner is array or owner is array.base):
        _link(op, operand, result)


def _link(op: Op, operand: Tensor, result: Tensor, trace: Trace | None = None) -> None:
    """Views of views go straight to the base, unless a step between them is not followed by histories."""
    parent = operand._view
    base, path = operand, (op,)
    if parent is not None and parent.tracked and STATE.grad:
        base, path = parent.base, (*parent.path, op)
    if trace is not None and not is_view(path, base):
        return
    counter = result._counter = counter_of(operand)
    result._view = View(base, path, STATE.grad, counter[0])


def recorded(op: Op, operands: Sequence[Value], result: Tensor) -> Tensor:
    """The result, as a fresh Tensor made by `op` from the operands, with that history."""
    if STATE.grad and any(isinstance(x, Tensor) and x.requires_grad for x in operands):
        value_of = operator.attrgetter("_value") if STATE.trace is None else STATE.trace.lift
        record(op, operands, [value_of(x) if isinstance(x, Tensor) else x for x in operands], result)
    return result


# ---- other devices -----------------------------------------------------------------------------------------


def launching(array: DeviceArray) -> Any:
    """The interpreter of arrays on such a device, which also works out whole adjoints."""
    return INTERPRETERS[type(array)]


def _check_device(array: DeviceArray, operands: Sequence[Value], values: Sequence[Value]) -> None:
    """Tensors on two devices do not go together, but numbers and 0-d tensors of the CPU go with any."""
    for operand, value in zip(operands, values):
        if isinstance(value, DeviceArray):
            other = value.device
        elif isinstance(operand, Tensor) and value.ndim:
            other = CPU
        else:
            continue
        if other != array.device:
            raise DeviceError(
                mirrored(
                    "Expected all tensors to be on the same device, but found at least two devices, "
                    f"{array.device} and {other}!"
                ),
                ", ".join(str(_type_of(v)) for v in values if hasattr(v, "shape")),
                "move one of them with .to(device)",
            )


RECORD = Record()
INTERPRETERS[Tensor] = RECORD


@SUBCLASS_HOOKS.append
def _enter_subclass(cls: type[Tensor]) -> None:
    INTERPRETERS[cls] = RECORD
