"""Values that the tape keeps, in another form: what `autograd.graph.saved_tensors_hooks` asks for.

In flow the new node of an op, while hooks are set; out flows the same node, which holds what `pack` made of
each kept Tensor, and asks `unpack` for it when the backward pass comes by. Native calls leave recording to
Python while hooks are set (`STATE.watched`), so operations without hooks pay nothing.

    packed(tensor)                        a Tensor in the form that the innermost hooks give it
    repack(node, operands, result)        the same for all that an op's node keeps
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.errors import ArgumentError, GradientError, mirrored
from retrograd.compiler.ir.graph import Node, Type, Value
from retrograd.compiler.ops.reverse import cotangents
from retrograd.runtime.eager.tape import Edge, Shown, already_freed
from retrograd.runtime.modes import STATE
from retrograd.runtime.strided import DeviceArray
from retrograd.runtime.tensor import Tensor


class Packed:
    """What `pack` made of a Tensor, and how it becomes one again."""

    __slots__ = ("form", "unpack")

    def __init__(self, form: Any, unpack: Callable[[Any], Any]) -> None:
        self.form = form
        self.unpack = unpack

    def tensor(self) -> Tensor:
        """The Tensor that `unpack` gives; ArgumentError where it gives none."""
        found = self.unpack(self.form)
        if not isinstance(found, Tensor):
            raise ArgumentError(
                mirrored(
                    "Output of saved tensor unpack_hook expected to be a Tensor but got result of type "
                    f"{type(found).__name__}"
                )
            )
        if found._view is not None:
            found._view.refresh(found)
        return found


def packed(tensor: Tensor) -> Packed:
    """The Tensor in the form that the innermost hooks give it. A hook that writes into it is an error."""
    pack, unpack = STATE.savers[-1]
    version = tensor._version
    form = pack(tensor)
    if tensor._version != version:
        raise GradientError(
            mirrored(
                "A saved tensor pack hook is modifying its input in place. Tensors provided as input to pack "
                "hook cannot be modified by in-place operations as this can lead to unexpected side-effects. "
                "Please open an issue if you need to perform in-place operations on the input to a pack hook."
            )
        )
    return Packed(form, unpack)


def repack(node: Any, operands: Sequence[Value], result: Tensor) -> None:
    """The op's node, which has just been recorded, keeps the packed forms of its Tensors, and no other
    array."""
    inputs, guards = [_type_only(x) for x in node.inputs], []
    forms = 0
    for counter, version, place in node.guards:
        tensor = result if place < 0 else operands[place]
        if not isinstance(tensor, Tensor) or isinstance(tensor._value, Node):
            inputs[place] = node.inputs[place]
            guards.append((counter, version, place))
            continue
        forms += 1
        if place < 0:
            node.out = packed(tensor)
        else:
            inputs[place] = packed(tensor)
        guards.append(([0], 0, place))  # the hooks' forms are the hooks' affair
    if forms:
        node.inputs, node.guards = inputs, guards
        kind: Any = type(node)
        node.__class__ = _unpacking(kind)


def _type_only(value: Value) -> Value:
    return (
        Type(tuple(value.shape), dtypes.of(value)) if isinstance(value, np.ndarray | DeviceArray) else value
    )


# ---- the way back ------------------------------------------------------------------------------------------


class _Unpacking:
    """Before the methods of an op's node: its values are there while one of them runs."""

    __slots__ = ()

    edges: tuple[Edge, ...]
    inputs: Any
    out: Any
    op: Any
    shown: str

    def settle(self) -> None:
        """It stays the one step that it is; of a function's steps it is the last, as ever."""
        if isinstance(self.shown, Shown):
            self.shown.settle(self)  # type: ignore[arg-type]  # a node, by the class behind

    def __getattr__(self, name: str) -> Any:
        with _opened(self):
            return super().__getattr__(name)  # type: ignore[misc]  # of the node, behind

    def backward(
        self, cotangent: Value, needed: Sequence[bool], create_graph: bool
    ) -> Sequence[Value | None]:
        if self.inputs is None:
            raise already_freed()
        if create_graph:
            inputs = [_recorded(x, edge) for x, edge in zip(self.inputs, self.edges)]
            return cotangents(self.op, cotangent, _recorded(self.out, self), inputs, needed)
        with _opened(self):
            return super().backward(cotangent, needed, create_graph)  # type: ignore[misc,no-any-return]  # as above

    def holds(self, array: Value) -> bool:
        """Whatever the hooks keep may be what they gave."""
        return True

    def keep_copy(self, tensor: Tensor) -> None:
        """The Tensor is about to become this op's result: what shows its old elements is packed anew."""
        for place, kept in enumerate(self.inputs or ()):
            if isinstance(kept, Packed) and STATE.savers:
                before = kept.tensor()
                if before is tensor or _meet(before._value, tensor._value):
                    self.inputs[place] = packed(Tensor(before._value.copy()))  # type: ignore[union-attr]  # an array


class _opened:
    """The node with its values for the length of a `with` block."""

    def __init__(self, node: Any) -> None:
        self.node = node
        self.kept = (node.inputs, node.out)

    def __enter__(self) -> None:
        inputs, out = self.kept
        self.node.inputs = None if inputs is None else [_value(x) for x in inputs]
        self.node.out = _value(out)

    def __exit__(self, *error: object) -> None:
        self.node.inputs, self.node.out = self.kept


def _value(kept: Any) -> Any:
    return kept.tensor()._value if isinstance(kept, Packed) else kept


def _recorded(kept: Any, edge: Edge) -> Any:
    """What was kept as a Tensor with the history of the one that it is for."""
    if kept is None or isinstance(kept, Type):
        return kept
    tensor = Tensor(_value(kept))
    tensor._edge, tensor._requires_grad = edge, edge is not None
    return tensor


def _meet(one: Value, other: Value) -> bool:
    """Whether two arrays may share elements."""
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return np.may_share_memory(one, other)
    return isinstance(one, DeviceArray) and isinstance(other, DeviceArray) and one.memory is other.memory


@functools.cache
def _unpacking(kind: type) -> type:
    """The class of such nodes that keep packed forms; on the tape it has the same name."""
    return type(kind.__name__, (_Unpacking, kind), {"__slots__": ()})
