"""Graph: what is computed.

    text  ::= graph*                              the last one; those before are named by its loops
    graph ::= "graph" name "(" input* ")" "->" types "{" node* "return" values "}"
    node  ::= "%"k "=" op "(" value* [field "=" literal]* ")" ":" type
    value ::= "%"k | input name | number
    type  ::= dtype "[" sizes "]" | what `ops/loop.py` says of several

A `Node` applies an `Op` to the values of other nodes and has one output. An op is a frozen dataclass
whose fields are its static parameters (`Permute(axes=(1, 0))`), so a node needs no bag of arguments.
Nodes are interned by their `Builder`: equal nodes are the same object, so common subexpressions never
exist twice and equality is identity. Nodes of different builders never mix. `where` is the user's line
and no part of a node's identity.

This file also holds the one abstract class of ops, and `apply`, which asks the operands' interpreter:
evaluate (arrays), build (nodes), or a higher one that has entered itself in `INTERPRETERS` (the Tensor
API's record).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from itertools import islice
from math import prod
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.dtypes import DType
from retrograd.compiler.errors import Location, TraceError, user_location
from retrograd.compiler.ir.quiet import quietly
from retrograd.compiler.record import derived, record

Array = np.ndarray[Any, np.dtype[Any]]
ARRAYS = (np.ndarray, np.generic)
Number = bool | int | float
Value = Any
"""What flows through ops and their adjoints: an array, a Node or a Tensor, all with shape, dtype and
operators."""


@record(slots=True)
class Type:
    """What is known of a value before it is computed."""

    shape: tuple[int, ...]
    dtype: DType

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    def with_shape(self, shape: Iterable[int]) -> Type:
        return Type(tuple(shape), self.dtype)

    def with_dtype(self, dtype: DType) -> Type:
        return Type(self.shape, dtype)

    def __str__(self) -> str:
        return f"{self.dtype.name}[{', '.join(map(str, self.shape))}]"


class Op:
    """A primitive: what it yields, its value, its derivative. Its loops are described in the op's own
    module."""

    name: ClassVar[str]
    """How the op is called in printed graphs."""
    hosted: ClassVar[bool] = False
    """Is it computed by `evaluate` in compiled programs too, as no loops are written for it?"""
    varied: ClassVar[bool] = False
    """Does it depend on the op's parameters which values the adjoint looks at?"""

    @abstractmethod
    def infer(self, *types: Type) -> Type:
        """The type of the output, or a RetrogradError in the user's terms."""

    @abstractmethod
    def evaluate(self, *arrays: Array) -> Array:
        """The value, in NumPy."""

    def function(self, types: Sequence[Type]) -> Callable[..., Array] | None:
        """What `evaluate` gives for operands of these types, none of half precision, as one function in C.

        It may give NumPy's scalar in place of a 0-d array. None where there is no such function.
        """
        return None

    @abstractmethod
    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        """The inputs' cotangents, written with ops; None where there is none or it is not needed.

        A cotangent may still have the shape of the broadcast output: `cotangents` sums it to the input's
        shape.
        """

    @property
    def title(self) -> str:
        """The name under which `grad_fn` shows the op: `AddBackward0` for `Add`."""
        return "".join(part.capitalize() for part in self.name.split("_"))


class Fixed(Op):
    """An op that gives indices, counts, signs or truth values: constants to the derivative."""

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        return [None] * len(inputs)


OPS: dict[str, type[Op] | Op] = {}
"""Every op by its printed name: an instance where the op has no parameters, else the class. Ops register
themselves."""


_O = TypeVar("_O", bound="type[Op] | Op")


def register(op: _O) -> _O:
    """Enter an op, or an op class, in `OPS`. Usable as a class decorator."""
    if op.name in OPS:
        raise ValueError(f"two ops are called {op.name}")
    OPS[op.name] = op
    return op


# ---- the two ops that the IR itself needs ------------------------------------------------------------------


class Leaf(Op):
    """An op without operands, whose type is known by itself."""

    type: Type

    def infer(self, *types: Type) -> Type:
        return self.type

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        return ()


@register
@record
class Input(Leaf):
    """A value that the caller supplies."""

    name = "input"
    label: str
    type: Type

    def evaluate(self, *arrays: Array) -> Array:
        raise KeyError(f"no value was supplied for the input {self.label}")


@register
@record(eq=False)
class Constant(Leaf):
    """A value known while compiling."""

    name = "constant"
    value: Array

    @property
    def type(self) -> Type:  # type: ignore[override]  # a field elsewhere, derived here
        return Type(self.value.shape, dtypes.dtype(self.value.dtype))

    @derived
    def identity(self) -> tuple[object, ...]:
        return (self.value.shape, self.value.dtype.str, self.value.tobytes())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Constant) and self.identity == other.identity

    def __hash__(self) -> int:
        return hash(self.identity)

    def evaluate(self, *arrays: Array) -> Array:
        return self.value


# ---- nodes -------------------------------------------------------------------------------------------------


def _operator(name: str, swapped: bool = False) -> Callable[[Value, Value], Value]:
    def method(self: Value, other: Value) -> Value:
        op = OPS[name]
        assert isinstance(op, Op)
        return apply(op, other, self) if swapped else apply(op, self, other)

    return method


class Operators:
    """Python's operators for values that ops are applied to; rules of ops are written with them."""

    __slots__ = ()
    __array_ufunc__ = None
    __add__, __radd__ = _operator("add"), _operator("add", swapped=True)
    __sub__, __rsub__ = _operator("sub"), _operator("sub", swapped=True)
    __mul__, __rmul__ = _operator("mul"), _operator("mul", swapped=True)
    __truediv__, __rtruediv__ = _operator("div"), _operator("div", swapped=True)
    __lt__, __le__ = _operator("lt"), _operator("le")
    __gt__, __ge__ = _operator("gt"), _operator("ge")

    def __neg__(self) -> Value:
        return _operator("mul")(self, -1)


class Node(Operators):
    """An op applied to values; immutable, interned by its builder. Made by `apply` or `Builder.node` only."""

    __slots__ = ("builder", "inputs", "op", "type", "where")

    def __init__(
        self, builder: Builder, op: Op, inputs: tuple[Node, ...], type: Type, where: Location | None
    ) -> None:
        self.builder = builder
        self.op = op
        self.inputs = inputs
        self.type = type
        self.where = where

    @property
    def shape(self) -> tuple[int, ...]:
        return self.type.shape

    @property
    def dtype(self) -> DType:
        return self.type.dtype

    @property
    def ndim(self) -> int:
        return len(self.type.shape)

    def __repr__(self) -> str:
        return f"<{self.op.name} : {self.type}>"

    def __bool__(self) -> bool:
        raise TraceError("a traced value has no truth value", "it is known only when the compiled code runs")


class At:
    """Within, a builder's nodes are born at this place in the user's program."""

    __slots__ = ("_before", "_builder", "_where")

    def __init__(self, builder: Builder, where: Location | None) -> None:
        self._builder, self._where = builder, where

    def __enter__(self) -> None:
        builder = self._builder
        self._before = builder.where, builder.fixed_location
        builder.where, builder.fixed_location = self._where, True

    def __exit__(self, *_: object) -> None:
        self._builder.where, self._builder.fixed_location = self._before


class Builder:
    """Where nodes are born: interns them and remembers the user's line."""

    def __init__(self) -> None:
        self.inputs: list[Node] = []
        self._nodes: dict[tuple[Op, tuple[Node, ...]], Node] = {}
        self.where: Location | None = None
        self.fixed_location = False
        """Whether nodes are born `where` this builder says; else the user's line is looked for."""

    def input(self, label: str, type: Type) -> Node:
        """A new input, in order of calls."""
        op = Input(label, type)
        node = self._nodes[op, ()] = Node(self, op, (), type, None)
        self.inputs.append(node)
        return node

    def constant(self, value: Array | Number, dtype: DType | None = None) -> Node:
        return self.node(Constant(np.asarray(value, dtype=dtype.numpy if dtype else None)))

    def lift(self, x: Value, like: Value) -> Node:
        """An array, or a Python number, which has the dtype of another operand."""
        return self.constant(x, None if isinstance(x, ARRAYS) else dtypes.of(like))

    def node(self, op: Op, *inputs: Node) -> Node:
        """The node that applies `op` to nodes of this builder."""
        found = self._nodes.get((op, inputs))
        if found is None:
            for value in inputs:
                if value.builder is not self:
                    raise TraceError(
                        f"{op.name}({', '.join(str(i.type) for i in inputs)})",
                        "one operand is a traced value of a trace that has ended or encloses this one",
                        "return it from the function that made it, or pass it in as an argument",
                    )
            where = self.where if self.fixed_location else user_location()
            found = Node(self, op, inputs, op.infer(*[i.type for i in inputs]), where)
            self._nodes[op, inputs] = found
        return found

    def made(self, before: int = 0) -> list[Node]:
        """The nodes there are, in order, without so many that were there first."""
        return list(islice(self._nodes.values(), before, None))

    def line(self, op: Op, inputs: Sequence[Node]) -> Location | None:
        """Where an op was applied to these nodes."""
        return self.node(op, *inputs).where

    def at(self, where: Location | None) -> At:
        """Nodes made inside carry this location: an adjoint node has its primal's line."""
        return At(self, where)


@record
class Graph:
    """A function from inputs to outputs."""

    name: str
    inputs: tuple[Node, ...]
    outputs: tuple[Node, ...]

    @derived
    def nodes(self) -> tuple[Node, ...]:
        """The nodes that the outputs need, each after its operands; inputs are not listed."""
        return order(self.outputs)

    def __str__(self) -> str:
        """The text form; `parsing.parse` reads it back."""
        printing = import_module("retrograd.compiler.ir.printing")  # late: it knows graphs
        return str(printing.print_graph(self))


def order(outputs: Sequence[Node]) -> tuple[Node, ...]:
    """The nodes on which the outputs rest, without inputs, each after its operands."""
    done: set[Node] = set()
    ordered: list[Node] = []
    stack: list[Node | None] = list(outputs[::-1])
    while stack:
        node = stack.pop()
        if node is None:  # below it lies one whose operands are in order
            ready = stack.pop()
            assert ready is not None
            ordered.append(ready)
        elif node not in done:
            done.add(node)
            if node.inputs:
                stack += (node, None, *node.inputs[::-1])
            elif type(node.op) is not Input:
                ordered.append(node)
    return tuple(ordered)


# ---- interpreters ------------------------------------------------------------------------------------------


class Interpreter(Protocol):
    """A meaning of applying an op."""

    level: int
    """The highest level among the operands decides."""

    def apply(self, op: Op, operands: Sequence[Value]) -> Value: ...


class Evaluate:
    """Arrays in, array out, at once."""

    level = 0

    def apply(self, op: Op, operands: Sequence[Value]) -> Array:
        for x in operands:
            if type(x) is not np.ndarray:
                operands = _as_arrays(operands)
                break
        evaluate = EVALUATED.get(type(op))
        if evaluate is not None:
            return quietly(evaluate, op, *operands)  # type: ignore[no-any-return]  # as below
        return quietly(op.evaluate, *operands)  # type: ignore[no-any-return]  # what an op evaluates to


EVALUATED: dict[type[Op], Callable[..., Array]] = {}
"""What evaluates ops of a class, given one and its arrays, if not the op itself: kernels round otherwise."""


def _as_arrays(operands: Sequence[Value]) -> list[Array]:
    likes = [x.dtype for x in operands if isinstance(x, (np.ndarray, np.generic))]
    like = likes[-1] if likes else None
    return [x if type(x) is np.ndarray else np.asarray(x, getattr(x, "dtype", like)) for x in operands]


class Build:
    """Nodes in, node out; arrays and numbers among the operands become constants."""

    level = 2

    def apply(self, op: Op, operands: Sequence[Value]) -> Node:
        like: Value = None
        for x in operands:
            if type(x) is Node:
                builder, like = x.builder, x
            elif isinstance(x, ARRAYS):
                like = x
        return builder.node(op, *[x if type(x) is Node else builder.lift(x, like) for x in operands])


_EVALUATE = Evaluate()
INTERPRETERS: dict[type, Interpreter] = {Node: Build()}
"""Which interpreter a class of operand calls for; arrays on devices (level 1) and the Tensor API (level 3)
enter their own. Anything else is evaluated."""


def apply(op: Op, *operands: Value) -> Value:
    """Apply an op at the level of its operands. Python numbers take the dtype of the last operand that
    has one."""
    chosen: Interpreter = _EVALUATE
    for x in operands:
        interpreter = INTERPRETERS.get(type(x))
        if interpreter is not None and interpreter.level > chosen.level:
            chosen = interpreter
    return chosen.apply(op, operands)


def interpret(graph: Graph, values: Sequence[Value]) -> list[Value]:
    """The graph's outputs for these input values, at the values' own level."""
    known: dict[Node, Value] = dict(zip(graph.inputs, values, strict=True))
    for node in graph.nodes:
        constant = node.op.value if isinstance(node.op, Constant) else None
        known[node] = apply(node.op, *(known[i] for i in node.inputs)) if constant is None else constant
    return [known[output] for output in graph.outputs]
