"""Views: Tensors that show elements of another Tensor.

In NumPy's memory a view and its base are the same elements anyway; what is kept here is the way from one to
the other (`path`, the movement ops), because an in-place update of one changes the *history* of the other,
and inside a trace its value. An update of a view becomes an update of its base (`placed`: the base with the
new elements at their place); a view whose base was updated goes the path again when somebody looks
(`refresh`), which its version number tells.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.ir.graph import Node, Op, Type, Value, apply
from retrograd.compiler.ops.reverse import cotangents
from retrograd.compiler.ops.rows import rows
from retrograd.compiler.ops.shape import Expand, Flip, Permute, Reshape, Slice, expand, unsqueeze
from retrograd.runtime.modes import STATE
from retrograd.runtime.tape import Edge, GradNode
from retrograd.runtime.tracing import Trace

AnyTensor = Any
"""A Tensor, which stands on a higher floor."""


class View:
    """How one Tensor shows elements of another."""

    __slots__ = ("base", "path", "tracked", "version")

    def __init__(self, base: AnyTensor, path: tuple[Op, ...], tracked: bool, version: int) -> None:
        self.base = base
        self.path = path
        self.tracked = tracked
        """Histories go along. Not so for `detach()`, `data`, and views made under `no_grad`."""
        self.version = version
        """Of the elements, when `value` and history of the view were last taken from the base."""

    def refresh(self, view: AnyTensor) -> None:
        """Take value and history from the base, if the elements have been changed since."""
        counter = self.base._counter
        if self.version == counter[0]:
            return
        trace, base = STATE.trace, self.base
        if trace is not None and not trace.owns(view):
            return  # a Tensor of the outside: the trace refuses updates that it would have to see
        self.version = counter[0]
        if base._view is not None:
            base._view.refresh(base)
        if trace is not None or self.tracked:
            self._renew(view, trace)

    def _renew(self, view: AnyTensor, trace: Trace | None) -> None:
        before, STATE.grad = STATE.grad, self.tracked
        try:
            again = walk(self.path, self.base)
        finally:
            STATE.grad = before
        if trace is not None:
            view._value = trace.lift(again)
        if self.tracked:
            view._edge, view._requires_grad = again._edge, again._requires_grad


def walk(path: Sequence[Op], base: Value) -> Value:
    """The view of a base, at the base's level."""
    for op in path:
        base = apply(op, base)
    return base


def is_view(path: Sequence[Op], base: AnyTensor) -> bool:
    """Whether the way ends in the base's own memory, as NumPy would find it: a reshape may have to copy.

    The values of a graph have no memory; they are taken as if their elements lay in order.
    """
    value = base._value
    shape = tuple(value.shape)
    strides: Strides | None = value.strides if isinstance(value, np.ndarray) else _in_order(shape, 1)
    for op in path:
        if strides is None:
            return False
        strides = _strides(op, shape, strides)
        shape = op.infer(Type(shape, base.dtype)).shape
    return strides is not None


Strides = tuple[int, ...]


def _in_order(shape: Sequence[int], step: int) -> Strides:
    strides = []
    for size in reversed(shape):
        strides.append(step)
        step *= max(size, 1)
    return tuple(reversed(strides))


def _strides(op: Op, shape: Sequence[int], strides: Strides) -> Strides | None:
    """The strides of a movement of an array with these; None where it cannot be without a copy."""
    match op:
        case Reshape():
            return _reshaped(shape, strides, op.shape)
        case Permute():
            return tuple(strides[axis] for axis in op.axes)
        case Slice():
            return tuple(stride * step for stride, step in zip(strides, op.steps))
        case Flip():
            return tuple(-stride if k in op.axes else stride for k, stride in enumerate(strides))
        case Expand():
            lead = len(op.shape) - len(shape)
            kept = (s if size == new else 0 for s, size, new in zip(strides, shape, op.shape[lead:]))
            return (*(0,) * lead, *kept)
    return None


def _reshaped(shape: Sequence[int], strides: Strides, new: Sequence[int]) -> Strides | None:
    """Axes of both shapes are grouped until their sizes multiply to the same; a group must lie in order."""
    old = [(size, stride) for size, stride in zip(shape, strides) if size != 1]
    if 0 in new:
        return _in_order(new, 1)
    result = [0] * len(new)
    first_old, first_new = 0, 0
    while first_new < len(new) and first_old < len(old):
        ours, theirs = new[first_new], old[first_old][0]
        end_old, end_new = first_old + 1, first_new + 1
        while ours != theirs:
            if ours < theirs:
                ours *= new[end_new]
                end_new += 1
            else:
                theirs *= old[end_old][0]
                end_old += 1
        group = old[first_old:end_old]
        if any(a[1] != b[0] * b[1] for a, b in pairwise(group)):
            return None
        result[first_new:end_new] = _in_order(new[first_new:end_new], group[-1][1])
        first_old, first_new = end_old, end_new
    return tuple(result)


def overlaps(path: Sequence[Op]) -> bool:
    """Whether several elements of the view are one element of the base."""
    return any(isinstance(op, Expand) for op in path)


def _types(path: Sequence[Op], base: Type) -> list[Type]:
    found = [base]
    for op in path:
        found.append(op.infer(found[-1]))
    return found


def scatter(path: Sequence[Op], base: Type, elements: Value) -> Value:
    """Zeros of the base's shape, with the view's elements at their place: the transpose of `walk`."""
    types = _types(path, base)
    for op, operand in zip(reversed(path), reversed(types[:-1])):
        (elements,) = cotangents(op, elements, elements, (operand,), (True,))
    return elements


def placed(path: Sequence[Op], base: Value, elements: Value) -> Value:
    """The base, with the view's elements replaced by these."""
    base_type = Type(tuple(base.shape), dtypes.of(base))
    everywhere = scatter(path, base_type, elements)
    if not any(isinstance(op, Slice) for op in path):
        return everywhere
    return rows.where(mask(path, base_type, base), everywhere, base)


def mask(path: Sequence[Op], base: Type, like: Value) -> Value:
    """Where the view's elements lie in the base, at the level of `like`."""
    shape = _types(path, base)[-1].shape
    one: Value = np.ones((), np.bool_)
    if isinstance(like, Node):
        one = like.builder.constant(one)
    elif STATE.trace is not None:
        one = STATE.trace.builder.constant(one)
    ones = expand(unsqueeze(one, range(len(shape))), shape)
    return scatter(path, Type(base.shape, dtypes.bool_), ones)


class CopySlices(GradNode):
    """The base of a view that was updated in place: two operands, the base before and the view's new
    elements.
    """

    __slots__ = ("path", "base")

    def __init__(self, edges: tuple[Edge, Edge], path: tuple[Op, ...], base: Type) -> None:
        super().__init__(edges)
        self.path = path
        self.base = base

    def backward(
        self, cotangent: Value, needed: Sequence[bool], create_graph: bool
    ) -> Sequence[Value | None]:
        before, new = needed
        rest = rows.where(mask(self.path, self.base, cotangent), 0.0, cotangent) if before else None
        return [rest, walk(self.path, cotangent) if new else None]
