"""Elements that a mask picks inside a trace, where nobody knows how many there are.

A `Selection` is what `x[mask]` is there. All elements are kept, and the mask, along with the axis along which
the picked ones are counted; so what is computed one by one is computed everywhere, a sum or a mean leaves out
what was not picked, and `y[mask] = selection` writes where the mask is true. Whatever else would have to know
the count asks for the shape, which is an error that says so.

    selection ::= x[mask]
                | row(selection | number | tensor without the counted axis, …)
                | reduction over other axes (selection)
    tensor    ::= sum | prod | any | all | mean over the counted axis (selection)
                | where(mask, selection, tensor)          y[mask] = selection

What was not picked is 1 to begin with, an element that hardly any function objects to, and receives no
gradient: `where` stands between it and its operand. An op that can be said of selections is a case in
`Selecting.apply`.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, NoReturn

from retrograd.compiler import dtypes
from retrograd.compiler.dtypes import DType
from retrograd.compiler.errors import TraceError
from retrograd.compiler.ir.graph import INTERPRETERS, Node, Op, Value, apply
from retrograd.compiler.ops.composite import Composite
from retrograd.compiler.ops.elementwise import Elementwise
from retrograd.compiler.ops.reduce import Reduction, sum_
from retrograd.compiler.ops.rows import rows
from retrograd.compiler.ops.shape import Cast, cast, expand, reshape
from retrograd.compiler.ops.statistics import Mean
from retrograd.compiler.record import NamedTuple
from retrograd.runtime.device import device
from retrograd.runtime.modes import STATE
from retrograd.runtime.tensor import Tensor
from retrograd.runtime.tracing import Trace


class Picked(NamedTuple):
    """The value of a `Selection`."""

    full: Tensor
    """All elements, those that were not picked, too; the axes of the mask are one."""
    mask: Tensor
    """Of one axis."""
    axis: int
    """The axis of `full` that the mask is for, from the back: -1 is the last."""

    @property
    def dtype(self) -> DType:
        return self.full.dtype

    @property
    def ndim(self) -> int:
        return self.full.ndim

    @property
    def shape(self) -> NoReturn:
        raise self.refusal

    @property
    def flags(self) -> NoReturn:
        """Of memory to be written to."""
        raise self.refusal

    @property
    def wide(self) -> Tensor:
        """The mask, with axes that broadcast to `full`."""
        mask: Tensor = reshape(self.mask, (*self.mask.shape, *(1,) * (-1 - self.axis)))
        return mask

    @property
    def refusal(self) -> TraceError:
        """What is said to somebody who must know how many elements are picked."""
        trace: Trace | None = STATE.trace
        return TraceError(
            f"elements that a traced mask {_node(self.mask).type} picks",
            (trace or Trace).words.number,
            "write them back under the same mask, reduce them with sum() or mean(), or choose with where()",
        )

    def alike(self, other: Picked) -> bool:
        """Whether the other has as many elements, along the same axis, for certain."""
        return _node(self.mask) is _node(other.mask) and self.axis == other.axis


def _node(tensor: Tensor) -> Node:
    trace: Trace | None = STATE.trace
    assert trace is not None
    return trace.lift(tensor)


class Selection(Tensor):
    """What a mask picks of a traced Tensor."""

    __slots__ = ()

    def __init__(self, picked: Picked) -> None:
        super().__init__([0.0])
        self._adopt(picked)

    def _adopt(self, picked: Picked) -> None:
        self._value: Any = picked
        self._edge, self._requires_grad = picked.full._edge, picked.full.requires_grad

    def become(self, new: Tensor) -> Selection:
        """Take over the elements of another in place. TraceError if the two may differ in number."""
        given: Picked | Any = new._value
        if not isinstance(given, Picked) or not given.alike(self._value):
            raise self._value.refusal
        self._adopt(given._replace(full=cast(given.full, self.dtype)))
        return self

    @property
    def device(self) -> device:
        return self._value.full.device  # type: ignore[no-any-return]  # a Tensor's

    def __repr__(self) -> str:
        return f"tensor(<picked by a traced {_node(self._value.mask).type}>)"


def select(x: Tensor, axis: int, mask: Tensor) -> Selection:
    """What a mask picks of the axes of `x` from this one on: `x[:, …, mask]`."""
    before, after = x.shape[:axis], x.shape[axis + mask.ndim :]
    size = prod(mask.shape)
    full = reshape(x, (*before, size, *after))
    picked = Picked(full, reshape(mask, (size,)), -1 - len(after))
    return Selection(picked._replace(full=_kept(picked, full)))


def written(view: Tensor, axis: int, mask: Tensor, value: Selection) -> Tensor:
    """A Tensor with elements that the same mask has picked written where the mask is true."""
    given: Picked = value._value
    here: Picked = select(view, axis, mask)._value
    if not here.alike(given):
        raise given.refusal
    spread = expand(cast(given.full, view.dtype), here.full.shape)
    chosen: Tensor = reshape(rows.where(here.wide, spread, reshape(view, here.full.shape)), view.shape)
    return chosen


def _kept(picked: Picked, x: Tensor) -> Tensor:
    """The elements that the mask is true for; 1 for the others."""
    found: Tensor = rows.where(picked.wide, x, 1)
    return found


class Selecting:
    """The interpreter of selections."""

    level = 4

    def apply(self, op: Op, operands: Sequence[Value]) -> Tensor:
        picked: Picked = next(x._value for x in operands if isinstance(x, Selection))
        match op:
            case Elementwise() | Cast():
                full = apply(op, *[_beside(picked, x) for x in operands])
                return Selection(picked._replace(full=full))
            case Reduction() | Mean():
                return _reduced(op, picked)
            case Composite():
                found: Tensor = op.expand(*operands)
                return found
        raise picked.refusal


def _beside(picked: Picked, x: Value) -> Value:
    """An operand beside what a mask picks: all of another selection's elements; others broadcast."""
    if isinstance(x, Selection):
        other: Picked = x._value
        if not other.alike(picked):
            raise other.refusal
        return other.full
    if not isinstance(x, Tensor):
        return x
    if x.ndim >= -picked.axis and x.shape[picked.axis] != 1:
        raise picked.refusal
    return _kept(picked, x) if x.requires_grad and STATE.grad else x


def _reduced(op: Reduction | Mean, picked: Picked) -> Tensor:
    """A reduction of what is picked."""
    full, counted = picked.full, picked.full.ndim + picked.axis
    if counted not in op.axes:
        behind = sum(axis > counted for axis in op.axes)
        return Selection(picked._replace(full=apply(op, full), axis=picked.axis + behind))
    if isinstance(op, Mean):
        others = prod(full.shape[axis] for axis in op.axes if axis != counted)
        many = cast(sum_(cast(picked.mask, dtypes.int64), (0,)), full.dtype) * others
        mean: Tensor = sum_(Selection(picked), op.axes) / many
        return mean
    rest = rows.where(picked.wide, full, op.identity(full.dtype))
    found: Tensor = apply(op, rest)
    return found


INTERPRETERS[Selection] = Selecting()
