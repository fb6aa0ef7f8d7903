"""Views: Tensors that show elements of another Tensor.

In NumPy's memory a view and its base are the same elements anyway; what is kept here is the way from one to
the other (`path`, the movement ops), because an in-place update of one changes the *history* of the other,
and inside a trace its value. An update of a view becomes an update of its base (`placed`: the base with the
new elements at their place); a view whose base was updated goes the path again when somebody looks
(`refresh`), which its version number tells.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, groupby
from typing import Any
from weakref import WeakValueDictionary, ref

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.errors import GradientError
from retrograd.compiler.ir.graph import Array, Node, Op, Type, Value, apply
from retrograd.compiler.ops.complexes import INVERSE
from retrograd.compiler.ops.reverse import cotangents
from retrograd.compiler.ops.rows import rows
from retrograd.compiler.ops.shape import Expand, Permute, Reshape, Select, Slice, expand, unsqueeze
from retrograd.compiler.ops.strided import Restrided, Strided, meeting
from retrograd.compiler.ops.window import Diagonal, Window
from retrograd.compiler.record import NamedTuple
from retrograd.runtime.eager.memory import elements, in_other, located, memory_of, owner, reopened
from retrograd.runtime.eager.tape import Edge, GradNode, Shown, function_of
from retrograd.runtime.modes import STATE
from retrograd.runtime.strided import in_order, moved_strides
from retrograd.runtime.tracing import Trace

AnyTensor = Any
"""A Tensor, which stands on a higher floor."""


class Rearrangement(NamedTuple):
    """A change in place of a Tensor's axes."""

    version: int
    """Of the Tensor after it."""
    back: tuple[Op, ...] | None
    """The way from the new axes to the old ones; None if elements may have been lost from sight."""


_rearranged: dict[int, tuple[ref[AnyTensor], list[Rearrangement]]] = {}
"""How the axes of Tensors were changed in place, by `id`, in order: views taken before have other axes."""


_left: WeakValueDictionary[int, AnyTensor] = WeakValueDictionary()
"""All of a memory that a Tensor has left while views show it, by `id` of the counter that is theirs."""


def note_rearranged(tensor: AnyTensor, version: int, back: tuple[Op, ...] | None) -> None:
    """A Tensor shows its memory in another way, which has brought it to this version."""
    key = id(tensor)
    known = _rearranged.get(key) or (ref(tensor, lambda _: _rearranged.pop(key, None)), [])
    known[1].append(Rearrangement(version, back))
    _rearranged[key] = known


def way_back(path: Sequence[Op], before: Type) -> tuple[Op, ...] | None:
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


def stay_behind(tensor: AnyTensor) -> None:
    """What a Tensor is, with its history, for its views that stay when it goes to other memory. The counter
    keeps it for them."""
    counter = tensor._counter
    was = _left[id(counter)] = tensor.detach()
    was._edge, was._requires_grad, was._view = tensor._edge, tensor._requires_grad, tensor._view
    counter[1:] = [*(counter[1:2] or [None]), was]


_moved: dict[tuple[int, int], tuple[ref[Array], list[Any], Array]] = {}
"""Where memory has been moved to for those with a counter, by `id` of its owner and of the counter."""


def note_moved(memory: Array, counter: list[Any], to: Array) -> None:
    """What lies in memory, for those that share a counter, lies elsewhere from now on."""
    key = id(memory), id(counter)
    _moved[key] = ref(memory, lambda _: _moved.pop(key, None)), counter, to


def _follow(view: AnyTensor) -> None:
    """Show elements where they have been moved to."""
    while (found := _moved.get((id(owner(view._value)), id(view._counter)))) is not None:
        view._value = in_other(view._value, found[-1])


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

    def rooted(self) -> Rooted:
        """The same of a view that has become a leaf."""
        return Rooted(self.base, self.path, False, self.version)

    def refresh(self, view: AnyTensor) -> None:
        """Take value and history from the base, if the elements have been changed since."""
        counter, trace = self.base._counter, STATE.trace
        stays = counter is not view._counter and trace is None
        if self.version == counter[0] and not stays:
            return
        if trace is not None and not trace.owns(view):
            return  # a Tensor of the outside: the trace refuses updates that it would have to see
        if _moved:
            _follow(view)
        if stays:
            self._stay(view)
        base = self.base
        if base._view is not None:
            base._view.refresh(base)
        known = _rearranged.get(id(base))
        ways = [] if known is None else [each.back for each in known[1] if each.version > self.version]
        if ways and (trace is not None or self.tracked):
            self._go_back(ways, view, trace)
        self.version = base._counter[0]
        if trace is not None or self.tracked:
            self._renew(view, trace)

    def _stay(self, view: AnyTensor) -> None:
        """The base has gone to other memory. What it was with its history, or all of that memory, is the base
        of its views now."""
        counter, array = view._counter, view._value
        here = type(array) is np.ndarray
        whole = _left.get(id(counter))
        if whole is None:
            whole = _left[id(counter)] = self.base.detach()
            whole._value = elements(memory_of(array), array.dtype) if here else array
            whole._counter = counter
        path = located(array, whole._value) if here else None
        if path is None and whole._requires_grad:
            path = self.path
        followed = path is not None and (whole._requires_grad or not view._requires_grad)
        self.base, self.path, self.tracked = whole, path or (), self.tracked and followed
        self.version = counter[0]

    def _go_back(self, ways: Sequence[tuple[Op, ...] | None], view: AnyTensor, trace: Trace | None) -> None:
        """The base has other axes: first the ways to those that it had. Where there is one missing, elements
        are found by where they lie. If they are not the base's any more, memory is still shared, but
        histories no longer go along."""
        known = [way for way in ways if way is not None]
        if len(known) == len(ways):
            back = chain.from_iterable(reversed(known))
            self.path = shortened((*back, *self.path), Type(tuple(self.base._value.shape), self.base.dtype))
            return
        path = None if trace is not None else located(view._value, self.base._value)
        if path is not None:
            self.path = path
            return
        if trace is not None or view._requires_grad or self.base._requires_grad:
            raise GradientError(
                f"a view of shape {list(view._value.shape)} of a tensor that as_strided_() or resize_() has "
                "rearranged",
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


class Rooted(Alias):
    """Elements of another Tensor, by a view that has become a leaf, whose own gradient is wanted."""

    __slots__ = ()


def walk(path: Sequence[Op], base: Value) -> Value:
    """The view of a base, at the base's level."""
    for op in path:
        base = apply(op, base)
    return base


def overlaps(path: Sequence[Op], base: Type) -> bool:
    """Whether several elements of the view may be one element of the base."""
    if not any(isinstance(op, _REPEATING) for op in path):
        return False
    shape, steps = base.shape, in_order(base.shape, 1)
    for op in path:
        moved = moved_strides(op, shape, steps)
        if moved is None:
            return True
        shape, steps = op.infer(Type(shape, base.dtype)).shape, moved
    return meeting(shape, steps)


def shortened(path: Sequence[Op], base: Type) -> tuple[Op, ...]:
    """The same path, in which steps that only move axes, one after the other, have become one or two."""
    types = _types(path, base)
    moving = [_moves_axes(*step) for step in zip(path, types, types[1:])]
    found: list[Op] = []
    for is_moving, run in groupby(range(len(path)), moving.__getitem__):
        steps = list(run)
        kept = path[steps[0] : steps[-1] + 1]
        found += _turned(kept, types[steps[0]], types[steps[-1] + 1]) if is_moving else kept
    return tuple(found)


def _moves_axes(op: Op, before: Type, after: Type) -> bool:
    """Whether a step only changes the order of axes, or adds and drops some of one element."""
    one, other = ([size for size in each.shape if size != 1] for each in (before, after))
    return isinstance(op, Permute) or (isinstance(op, Reshape) and one == other)


def _turned(run: Sequence[Op], before: Type, after: Type) -> list[Op]:
    """Such steps as an order of axes, those of one element last, and a shape."""
    axes = list(range(before.ndim))
    places, shape = [k for k in axes if before.shape[k] != 1], before.shape
    lying: list[int | None] = [None if size == 1 else k for k, size in enumerate(shape)]
    for op, kind in zip(run, _types(run, before)[1:]):
        if isinstance(op, Permute):
            lying = [lying[k] for k in op.axes]
        else:
            left = iter([k for k in lying if k is not None])
            lying = [None if size == 1 else next(left) for size in kind.shape]
    order = [k for k in lying if k is not None]
    found: list[Op] = []
    if order != places:
        found.append(Permute((*order, *(k for k in axes if before.shape[k] == 1))))
        shape = found[-1].infer(before).shape
    return found if shape == after.shape else [*found, Reshape(after.shape)]


_REPEATING = (Expand, Restrided, Window)


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
    """The base, with the view's elements replaced by these, or all by one."""
    for k, op in enumerate(path):
        if type(op) in INVERSE:  # elements of one dtype in those of another
            parts = placed(path[k + 1 :], walk(path[: k + 1], base), elements)
            return placed(path[:k], base, apply(INVERSE[type(op)], parts))
    base_type = Type(tuple(base.shape), dtypes.of(base))
    shape = _types(path, base_type)[-1].shape
    if elements.shape != shape and not elements.shape:
        return rows.where(mask(path, base_type, base), elements, base)
    everywhere = scatter(path, base_type, expand(elements, shape))
    if not any(isinstance(op, Slice | Select | Diagonal | Strided | Window) for op in path):
        return everywhere
    return rows.where(mask(path, base_type, base), everywhere, base)


def mask(path: Sequence[Op], base: Type, like: Value) -> Value:
    """Where the view's elements lie in the base, at the level of `like`."""
    shape = _types(path, base)[-1].shape
    added = any(isinstance(op, _REPEATING) for op in path)
    kind = dtypes.float32 if added else dtypes.bool_
    one: Value = np.ones((), kind.numpy)
    if isinstance(like, Node):
        one = like.builder.constant(one)
    elif STATE.trace is not None:
        one = STATE.trace.builder.constant(one)
    ones = expand(unsqueeze(one, range(len(shape))), shape)
    found = scatter(path, Type(base.shape, kind), ones)
    return rows.ne(found, 0) if added else found


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
                (part if part.flags.writeable else reopened(part))[...] = 0
                return [whole, kept]
        base = Type(tuple(cotangent.shape), dtypes.of(cotangent))
        nothing = np.zeros((), _types(self.path, base)[-1].dtype.numpy)
        rest = placed(self.path, cotangent, nothing) if before else None
        return [rest, walk(self.path, cotangent) if new else None]
