"""The value of a node at an index, as an expression.

`Reader.value(node, index)` is the whole idea of lowering: where the node is stored its value is a load,
and otherwise an expression of its operands' values at the indices that the op says. So pointwise ops fuse
by being expressions, and movement ops by being index arithmetic. To lower a new op that has a value at
every index, add a case to `_compute`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from retrograd.compiler import dtypes
from retrograd.compiler.errors import CompilerError
from retrograd.compiler.ir.expressions import (
    Call,
    Convert,
    Expression,
    Load,
    Number,
    Position,
    Within,
    axes_of,
)
from retrograd.compiler.ir.graph import Constant, Node
from retrograd.compiler.ir.index import Axis, Bound, Index, Loaded, as_index
from retrograd.compiler.lower.parts import Stored
from retrograd.compiler.ops.iota import Iota
from retrograd.compiler.ops.row import Elementwise
from retrograd.compiler.ops.shape import Cast, Movement

MultiIndex = tuple[Index, ...]


def domain_index(axes: tuple[Axis, ...]) -> MultiIndex:
    """The multi-index of a loop nest: its axes, and 0 for an axis of one element, so that equal places
    are equal."""
    return tuple(Index() if axis.extent == 1 else as_index(axis) for axis in axes)


class Reader:
    """Expressions for nodes at indices, each made once."""

    def __init__(self, stored: Mapping[Node, Stored]):
        self.places: dict[Expression, tuple[Node, MultiIndex]] = {}
        """Of each load, the stored node that it reads, and where."""
        self._stored = stored
        self._known: dict[tuple[Node, MultiIndex, tuple[Bound, ...]], Expression] = {}

    def value(self, node: Node, index: MultiIndex, bounds: tuple[Bound, ...] = ()) -> Expression:
        """The node's element at `index`; outside `bounds` nothing is read and the value is unspecified."""
        key = (node, index, bounds)
        found = self._known.get(key) or self._known.get((node, index, ()))
        if found is None:
            stored = self._stored.get(node)
            if stored is None:
                found = self._compute(node, index, bounds)
            else:
                place = stored.place(index)
                found = Load(stored.buffer, place if bounds else place.joined(), bounds)
                self.places[found] = (node, index)
            self._known[key] = found
        return found

    def define(self, node: Node, index: MultiIndex) -> Expression:
        """The node's element computed here, although the node is stored: what its own loop nest writes."""
        found = self.definition(node, index)
        self._known[node, index, ()] = found
        return found

    def definition(self, node: Node, index: MultiIndex) -> Expression:
        """The same where others go on to read the stored element."""
        return self._compute(node, index, ())

    def _compute(self, node: Node, index: MultiIndex, bounds: tuple[Bound, ...]) -> Expression:
        match node.op:
            case Constant(value=value) if value.ndim == 0:
                return Number(value.item(), node.dtype)
            case Elementwise(name=name):
                operands = tuple(self.value(i, broadcast_index(index, i), bounds) for i in node.inputs)
                return Call(name, operands, node.dtype)
            case Cast():
                return Convert(self.value(node.inputs[0], index, bounds), node.dtype)
            case Iota(axis=axis):
                return Position(index[axis], node.dtype)
            case Movement():
                return self._moved(node.op, node, index, bounds)
            case _:
                gather = GATHERS.get(type(node.op))
                if gather is None:
                    raise CompilerError(
                        f"{node.op.name} : {node.type}", "it is neither stored nor an expression"
                    )
                return gather(self, node, index, bounds)

    def _moved(self, op: Movement, node: Node, index: MultiIndex, bounds: tuple[Bound, ...]) -> Expression:
        (operand,) = node.inputs
        source = op.source(index, operand.type)
        new = tuple(b for b in source.bounds if not _always(b))
        value = self.value(operand, broadcast_index(source.index, operand), bounds + new)
        if not new:
            return value
        fill = Number(source.fill if node.dtype.is_floating_point else int(source.fill), node.dtype)
        return Call("where", (Within(new, dtypes.bool_), value, fill), node.dtype)

    def position(self, node: Node, index: MultiIndex, extent: int, bounds: tuple[Bound, ...]) -> Index:
        """An integer node's element as an index into an axis of `extent`: negative ones count from the
        end."""
        value = self.value(node, index, bounds)
        if node.dtype is not dtypes.int64:
            value = Convert(value, dtypes.int64)
        size, zero = Number(extent, dtypes.int64), Number(0, dtypes.int64)
        negative, from_end = Call("lt", (value, zero), dtypes.bool_), Call("add", (value, size), dtypes.int64)
        wrapped = Call("where", (negative, from_end, value), dtypes.int64)
        inside = Call("minimum", (wrapped, Number(max(extent - 1, 0), dtypes.int64)), dtypes.int64)
        safe = Call("maximum", (inside, zero), dtypes.int64)
        return as_index(Loaded(safe, extent, axes_of(safe)))


def broadcast_index(index: MultiIndex, operand: Node) -> MultiIndex:
    """Where an operand that broadcasts is read."""
    kept = index[len(index) - operand.ndim :]
    if 1 not in operand.shape:
        return kept
    return tuple(Index() if size == 1 else i for i, size in zip(kept, operand.shape, strict=True))


def _always(bound: Bound) -> bool:
    low, high = bound.index.bounds()
    return bound.low <= low and high < bound.high


Gather = Callable[[Reader, Node, MultiIndex, tuple[Bound, ...]], Expression]
GATHERS: dict[type, Gather] = {}
"""How ops that read their operand at places given by other values find the element; see `gathers`."""
