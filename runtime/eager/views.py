"""Views: Tensors that show elements of another Tensor.

In NumPy's memory a view and its base are the same elements anyway; what is kept here is the way from one to
the other (`path`, the movement ops), because an in-place update of one changes the *history* of the other,
and inside a trace its value. An update of a view becomes an update of its base (`placed`: the base with the
new elements at their place); a view whose base was updated goes the path again when somebody looks
(`refresh`), which its version number tells.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple
from weakref import ref

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.errors import GradientError
from retrograd.compiler.ir.graph import Node, Op, Type, Value, apply
from retrograd.compiler.ops.reverse import cotangents
from retrograd.compiler.ops.rows import rows
from retrograd.compiler.ops.shape import Expand, Permute, Reshape, Select, Slice, expand, unsqueeze
from retrograd.compiler.ops.strided import Restrided, Strided
from retrograd.compiler.ops.window import Diagonal, Window
from retrograd.runtime.eager.tape import Edge, GradNode, Shown, function_of
from retrograd.runtime.modes import STATE
from retrograd.runtime.tracing import Trace

AnyTensor = Any
"""A Tensor, which stands on a higher floor."""


class Rearrangement(NamedTuple):
    """A change in place of a Tensor's axes."""

    version: int
    """Of the Tensor after it."""
    back: tuple[Op, ...] | None
    """The way from the new axes to the old ones; None if elements have been lost from sight."""


_rearranged: dict[int, tuple[ref[AnyTensor], list[Rearrangement]]] = {}
"""How the axes of Tensors were changed in place, by `id`, in order: views taken before have other axes."""


def note_rearranged(tensor: AnyTensor, version: int, path: Sequence[Op], before: Type) -> None:
    """A Tensor of this type has become a view of what it was, which has brought it to this version."""
    key = id(tensor)
    known = _rearranged.get(key) or (ref(tensor, lambda _: _rearranged.pop(key, None)), [])
    known[1].append(Rearrangement(version, _back(path, before)))
    _rearranged[key] = known


def _back(path: Sequence[Op], before: Type) -> tuple[Op, ...] | None:
    """The way back from the end of a path to its beginning."""
    types = _types(path, before)
    found: list[Op] = []
    for op, operand in zip(reversed(path), reversed(types[:-1])):
        match op:
            case Permute():
                found.append(Permute(tuple(op.axes.index(k) for k in range(len(op.axes)))))
            case Reshape():
                found.append(Reshape(operand.shape))
            case _:
                return None
    return tuple(found)


class View:
    """How one Tensor shows elements of another."""

    __slots__ = ("base", "path", "several", "tracked", "version")

    def __init__(self, base: AnyTensor, path: tuple[Op, ...], tracked: bool, version: int) -> None:
        self.base = base
        self.path = path
        self.tracked = tracked
        """Histories go along. Not so for `detach()`, `data`, and views made under `no_grad`."""
        self.several = ""
        """Which output of a function that gives several views it is: `Output 0 of Split`."""
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
        known = _rearranged.get(id(base))
        for changed in known[1] if known is not None else ():
            if changed.version > self.version:
                self._go_back(changed, view, trace)
        self.version = counter[0]
        if base._view is not None:
            base._view.refresh(base)
        if trace is not None or self.tracked:
            self._renew(view, trace)

    def _go_back(self, changed: Rearrangement, view: AnyTensor, trace: Trace | None) -> None:
        """The base has other axes: first the way to those that it had. Where there is none, memory is still
        shared, but histories no longer go along."""
        if changed.back is not None:
            self.path = (*changed.back, *self.path)
            return
        if trace is not None or view._requires_grad or self.base._requires_grad:
            raise GradientError(
                f"a view of shape {list(view._value.shape)} of a tensor that as_strided_() has rearranged",
                "where its elements are there, and so their history, is known no more",
                "take the view after the rearrangement",
            )
        self.tracked = False

    def _renew(self, view: AnyTensor, trace: Trace | None) -> None:
        before, STATE.grad = STATE.grad, self.tracked
        try:
            again = walk(self.path, self.base)
        finally:
            STATE.grad = before
        if trace is not None:
            view._value = trace.lift(again)
        if self.tracked:
            if self.path and again._edge is not None:
                again._edge.shown = "AsStridedBackward0"  # as PyTorch makes them anew
            view._edge, view._requires_grad = again._edge, again._requires_grad


class InferenceView(View):
    """A view of a normal Tensor that was made in inference mode: histories do not go along."""

    __slots__ = ()


class Alias(View):
    """All elements of another Tensor, without its history: `detach()` and `data` inside a trace."""

    __slots__ = ()


def walk(path: Sequence[Op], base: Value) -> Value:
    """The view of a base, at the base's level."""
    for op in path:
        base = apply(op, base)
    return base


def overlaps(path: Sequence[Op]) -> bool:
    """Whether several elements of the view are one element of the base."""
    return slides(path) or any(isinstance(op, _REPEATING) for op in path)


def slides(path: Sequence[Op]) -> bool:
    """Whether that is because windows overlap."""
    return any(isinstance(op, Window) and op.overlaps for op in path)


_REPEATING = (Expand, Restrided)


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
    if not any(isinstance(op, Slice | Select | Diagonal | Strided | Window) for op in path):
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


COPY_SLICES = "torch::autograd::CopySlices"


class CopySlices(GradNode):
    """The base of a view that was updated in place: two operands, the base before and the view's new
    elements.
    """

    __slots__ = ("path", "shown")

    def __init__(self, edges: tuple[Edge, Edge], path: tuple[Op, ...]) -> None:
        super().__init__(edges)
        self.path = path
        self.shown = COPY_SLICES

    def name(self) -> str:
        return self.shown

    @property
    def next_functions(self) -> tuple[tuple[GradNode | None, int], ...]:
        """The base before, and what the step that wrote into the view had besides the view."""
        if isinstance(self.shown, Shown):
            return tuple(map(function_of, self.shown.operands(self)))
        before, written = self.edges
        beside = written.next_functions[1:] if isinstance(written, GradNode) else ()
        return (function_of(before), *beside)

    def backward(
        self, cotangent: Value, needed: Sequence[bool], create_graph: bool
    ) -> Sequence[Value | None]:
        before, new = needed
        if not create_graph and type(cotangent) is np.ndarray and self.path:
            whole: Any = cotangent.copy() if before else cotangent
            part: Any = walk(self.path, whole)
            if not before:
                return [None, part]
            if np.may_share_memory(part, whole):  # no step has made a copy
                kept = part.copy() if new else None
                part[...] = 0
                return [whole, kept]
        base = Type(tuple(cotangent.shape), dtypes.of(cotangent))
        rest = rows.where(mask(self.path, base, cotangent), 0.0, cotangent) if before else None
        return [rest, walk(self.path, cotangent) if new else None]
