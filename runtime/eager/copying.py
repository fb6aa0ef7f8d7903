"""Copies: recorded ones, deep ones, and pickles.

In flow a Tensor, out flows one with memory of its own. In a graph values never change, so there a copy is its
operand; only the graphs of plans keep it, for what is replayed is a Tensor of its own again.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np

from retrograd.compiler.errors import GradientError, ShapeError, mirrored
from retrograd.compiler.ir.graph import Array, Value
from retrograd.compiler.ops.copy import Clone, Contiguous, Ordered
from retrograd.runtime.eager.formats import (
    checked_format,
    contiguous_format,
    moved_in,
    preserve_format,
)
from retrograd.runtime.eager.instant import calls
from retrograd.runtime.eager.kinds import kind_of
from retrograd.runtime.eager.memory import in_other, memory_of, owner
from retrograd.runtime.eager.record import RECORD, recorded
from retrograd.runtime.modes import STATE
from retrograd.runtime.native.small.copier import copied, copied_in_order
from retrograd.runtime.strided import DeviceArray, Layout, pointwise_strides
from retrograd.runtime.tensor import Tensor, method
from retrograd.runtime.tracing import Trace

_CLONE, _CONTIGUOUS, _ORDERED = Clone(), Contiguous(), Ordered()


def in_format(self: Tensor, memory_format: object, asked: str) -> Tensor:
    """Itself if its elements lie so, else a copy where they do, recorded."""
    form = checked_format(memory_format, self, asked)
    if form is preserve_format or form.holds(self):
        return self
    if form is contiguous_format:
        ordered: Tensor = contiguous(self)
        return ordered
    trace = STATE.trace
    if trace is not None and not trace.planned:
        copy = _copied(_CONTIGUOUS, self, trace)
        trace.lay(copy, form.strides(copy.shape))
        return copy
    return recorded(_CLONE, (self,), Tensor(moved_in(self, form)._value))


def _clone(self: Tensor, *, memory_format: object = None) -> Tensor:
    """A copy, recorded."""
    if memory_format is not None:
        there = in_format(self, memory_format, "clone")
        if there is not self:
            return there
    if STATE.trace is None and not isinstance(self._value, DeviceArray):
        return RECORD.apply(_CLONE, (self,))
    if self._view is not None:
        self._view.refresh(self)
    if STATE.trace is None:
        return recorded(_CLONE, (self,), Tensor(self._value.copy()))  # type: ignore[union-attr]  # no Node
    return _copied(_CLONE, self, STATE.trace)


def _copied(op: Clone, tensor: Tensor, trace: Trace) -> Tensor:
    """A copy in a graph: the same node for another Tensor, whose elements would lie as the op says."""
    if trace.planned:
        return RECORD.apply(op, (tensor,))
    copy = recorded(op, (tensor,), Tensor(trace.lift(tensor)))
    axes = Layout(tuple(tensor.shape), trace.strides(tensor))
    if op is _CLONE and not axes.contiguous:
        trace.lay(copy, pointwise_strides(copy.shape, [axes[:2]]))
    return copy


_clone.__name__ = _clone.__qualname__ = "clone"
clone: Callable[..., Tensor] = method("clone")(
    calls.step(_CLONE, kind_of(_CLONE), 1, copied, _clone, "", True)
)


def _contiguous(self: Tensor, *, memory_format: object = None) -> Tensor:
    """Itself if its elements lie in order, else a copy where they do."""
    if memory_format not in (None, contiguous_format):
        if memory_format is preserve_format:
            if self.is_contiguous():
                return self
            raise ShapeError(
                "contiguous()", mirrored("preserve memory format is unsupported by the contiguous operator")
            )
        return in_format(self, memory_format, "contiguous")
    trace = STATE.trace
    if self.is_contiguous() and (trace is None or not trace.planned):
        return self
    if trace is not None:
        return _copied(_CONTIGUOUS, self, trace)
    if isinstance(self._value, DeviceArray):
        return clone(self)
    return RECORD.apply(_CONTIGUOUS, (self,))


_contiguous.__name__ = _contiguous.__qualname__ = "contiguous"
contiguous: Callable[..., Tensor] = method("contiguous")(
    calls.in_order(calls.step(_CONTIGUOUS, kind_of(_CONTIGUOUS), 1, copied_in_order, _contiguous, "", True))
)


def _ordered(self: Tensor) -> Tensor:
    """A copy whose elements lie in order, recorded."""
    trace = STATE.trace
    if isinstance(self._value, DeviceArray) or (trace is not None and not trace.planned):
        copy: Tensor = self.clone() if self.is_contiguous() else self.contiguous()
        return copy
    return RECORD.apply(_ORDERED, (self,))


ordered: Callable[[Tensor], Tensor] = calls.step(
    _ORDERED, kind_of(_ORDERED), 1, copied_in_order, _ordered, "", True
)


@method()
def __deepcopy__(self: Tensor, memo: dict[Any, Any]) -> Tensor:
    if not self.is_leaf:
        raise GradientError(
            mirrored(
                "Only Tensors created explicitly by the user (graph leaves) support the deepcopy protocol at "
                "the moment.  If you were attempting to deepcopy a module, this may be because of a "
                "torch.nn.utils.weight_norm usage, see https://github.com/pytorch/pytorch/pull/103001"
            )
        )
    if id(self) in memo:
        return memo[id(self)]  # type: ignore[no-any-return]  # what was put there below
    here = self.read("deepcopy()")
    with_data = self._value.copy() if isinstance(self._value, DeviceArray) else _with_memory(here, memo)
    memo[id(self)] = result = _rebuilt(type(self), with_data, self.requires_grad, {})
    for name, value in deepcopy(self.__dict__, memo).items():
        setattr(result, name, value)
    if self._grad is not None:
        result._grad = __deepcopy__(self._grad, memo)
    return result


def _with_memory(array: Array, memo: dict[Any, Any]) -> Array:
    """What the array shows in a copy of its memory, which is made once for all that is copied together."""
    whole, copies = owner(array), memo.setdefault("memories", {})
    if id(whole) not in copies:
        copies[id(whole)] = whole, memory_of(whole).copy()
    return in_other(array, copies[id(whole)][1])


@method()
def module_load(self: Tensor, other: Tensor, assign: bool = False) -> Tensor:
    """What a Module puts in the place of this Tensor where it is loaded from another: this one's memory with
    the other's elements, or with `assign` the other's memory."""
    return other.detach() if assign else self.copy_(other).detach()


@method()
def __reduce_ex__(self: Tensor, protocol: Any) -> tuple[Any, ...]:
    array = np.ascontiguousarray(self.read("pickle"))
    kept = dict(self.__dict__)
    return (_rebuilt, (type(self), array.reshape(self._value.shape), self.requires_grad, kept))


def _rebuilt(kind: type[Tensor], array: Value, requires_grad: bool, state: dict[str, Any]) -> Tensor:
    tensor = kind.__new__(kind)
    Tensor.__init__(tensor, array)
    tensor._requires_grad = requires_grad
    for name, value in state.items():
        setattr(tensor, name, value)
    return tensor
