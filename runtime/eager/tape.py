"""The tape: what was done, as a graph of nodes that the backward pass walks.

A recorded operation leaves a `GradNode`; the Tensor that it made points to it (`_edge`). A node's `edges` say
where the cotangents of its operands go: to another node, to a leaf Tensor itself (whose `.grad` they are
added to), or, if None, nowhere. Every node is younger than the nodes on its edges and carries its age in
`order`, so going from the youngest to the oldest is a topological order, and no pass over the graph is needed
to find one.

This file holds what all nodes have in common. `eager.OpNode` is the node of an op, `autograd.function` that
of a user's Function. A new kind of node is a subclass with a `backward`.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any, ClassVar, TypeVar

from retrograd.compiler.errors import GradientError, Location, mirrored, user_location, user_stack
from retrograd.compiler.ir.graph import Value
from retrograd.runtime.grad_names import OPERANDS
from retrograd.runtime.modes import STATE

AnyTensor = Any
"""A Tensor, which stands on a higher floor."""
Edge = Any
"""A GradNode, a leaf Tensor, or None."""
Hook = Callable[..., Any]

orders = count()
"""Gives each node its age."""


class RemovableHandle:
    """Takes a hook away again: `handle.remove()`, or the end of a `with` block."""

    _ids = count()

    def __init__(self, hooks: dict[int, Hook], hook: Hook) -> None:
        self.id = next(self._ids)
        self._hooks = hooks
        hooks[self.id] = hook

    def remove(self) -> None:
        self._hooks.pop(self.id, None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *error: object) -> None:
        self.remove()


class Hooks:
    """What is called as a cotangent passes, and where it is kept. Belongs to a node, or to a leaf Tensor."""

    __slots__ = ("tensor", "before", "after", "accumulated", "retained", "metadata", "where", "stack")

    def __init__(self) -> None:
        self.tensor: dict[int, Hook] = {}
        """`Tensor.register_hook`: each gets the cotangent and may replace it."""
        self.before: dict[int, Hook] = {}
        """`GradNode.register_prehook`: each gets the tuple of cotangents and may replace it."""
        self.after: dict[int, Hook] = {}
        """`GradNode.register_hook`: each gets what goes in and what comes out, and may replace the former."""
        self.accumulated: dict[int, Hook] = {}
        """`Tensor.register_post_accumulate_grad_hook`: each gets the leaf."""
        self.retained: weakref.ref[AnyTensor] | None = None
        """The Tensor that asked by `retain_grad()` to be given the cotangent."""
        self.metadata: dict[str, Any] = {}
        self.where: Location | None = None
        self.stack = ""
        """The user's line, and the stack of calls there, remembered in anomaly mode."""

    def retain(self, tensor: AnyTensor) -> None:
        self.retained = weakref.ref(tensor)

    def retains(self, tensor: AnyTensor) -> bool:
        return self.retained is not None and self.retained() is tensor


class Shown(str):
    """A node's name that also knows how PyTorch shows the nodes about it."""

    __slots__ = ("place",)

    place: int
    """Which of its function's results the node has made."""

    def operands(self, node: GradNode) -> tuple[Edge, ...]:
        """Where the cotangents of the function's operands go."""
        raise NotImplementedError

    def settle(self, node: GradNode) -> None:
        """Have the node lead there, through whatever it takes."""
        raise NotImplementedError


_N = TypeVar("_N", bound="GradNode")


class GradNode:
    """One step of the tape."""

    __slots__ = ("order", "edges", "hooks", "__weakref__")

    of_arrays: ClassVar[bool] = False
    """Whether it takes cotangents to operands by native code, which knows arrays alone."""

    def __init__(self, edges: tuple[Edge, ...]) -> None:
        self.order: float = next(orders)
        self.edges = edges
        self.hooks: Hooks | None = None
        if STATE.anomaly:
            self.remember()

    def remember(self) -> None:
        """Where the user has made this step."""
        self.extras.where, self.extras.stack = user_location(), user_stack()

    def backward(
        self, cotangent: Value, needed: Sequence[bool], create_graph: bool
    ) -> Sequence[Value | None]:
        """The operands' cotangents, one for each edge; Tensors if `create_graph`, else arrays or nodes."""
        raise NotImplementedError

    def holds(self, array: Value) -> bool:
        """Whether an array that `backward` returned is kept by the node or belongs to somebody else."""
        return True

    def free(self) -> None:
        """Forget the saved values: the backward pass has been here and is not to come again."""

    def blamed(self, cotangent: Value) -> tuple[str, Location | None]:
        """The function and the line to name when this step has made a NaN of the cotangent."""
        return self.name(), self.extras.where

    def at_once(self, cotangent: AnyTensor | None) -> bool:
        """Do the whole backward pass from here, if it is one step that needs no engine; say whether it has
        been done. The tape is freed. Without a cotangent it is the 1 of a scalar.
        """
        return False

    @property
    def extras(self) -> Hooks:
        if self.hooks is None:
            self.hooks = Hooks()
        return self.hooks

    def __lt__(self, other: GradNode) -> bool:
        """Whether it comes first in a heap: the youngest does."""
        return self.order > other.order

    def saved_values(self) -> Sequence[Value]:
        """The values that wait for the backward pass."""
        return ()

    # ---- as PyTorch's grad_fn ------------------------------------------------------------------------------

    def name(self) -> str:
        return type(self).__name__

    def settle(self) -> None:
        """Somebody looks at the node's edges: let them be those that PyTorch shows."""

    @property
    def output_nr(self) -> int:
        """Which result of its function the node has made. Each has a node of its own here."""
        return 0

    @property
    def metadata(self) -> dict[str, Any]:
        """A place for the user's notes."""
        return self.extras.metadata

    @property
    def next_functions(self) -> tuple[tuple[GradNode | None, int], ...]:
        """The nodes that the cotangents go to, and which of their outputs each belongs to."""
        self.settle()
        found = tuple(function_of(edge) for edge in self.edges)
        name = self.name()
        places = () if isinstance(name, Shown) else OPERANDS.get(name, ())
        if not places or places[0] >= len(found):
            return found
        return tuple(found[k] if k < len(found) else (None, 0) for k in places)

    def register_hook(self, hook: Hook) -> RemovableHandle:
        """`hook(grad_inputs, grad_outputs)` runs after this node; what it returns replaces `grad_inputs`."""
        self.settle()
        return RemovableHandle(self.extras.after, hook)

    def register_prehook(self, hook: Hook) -> RemovableHandle:
        """`hook(grad_outputs)` runs before this node; what it returns replaces them."""
        return RemovableHandle(self.extras.before, hook)

    def __repr__(self) -> str:
        return f"<{self.name().rpartition('::')[2]} object at {id(self):#x}>"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """As notebooks show it."""
        printer.text(f"{self!r}".replace(" object at ", " at "))


class Output(GradNode):
    """One of several outputs of a node: hands its cotangent over at its place."""

    __slots__ = ("place",)

    def __init__(self, node: GradNode, place: int) -> None:
        super().__init__((node,))
        self.place = place

    def backward(
        self, cotangent: Value, needed: Sequence[bool], create_graph: bool
    ) -> Sequence[Value | None]:
        raise AssertionError("the engine puts the cotangent at its place by itself")


class AccumulateGrad(GradNode):
    """A leaf as `grad_fn.next_functions` shows it. The tape itself points to the leaf; its hooks are the
    leaf's.
    """

    __slots__ = ("variable",)

    def __init__(self, variable: AnyTensor) -> None:
        super().__init__(())
        self.variable = variable
        self.hooks = variable._leaf_hooks()

    def name(self) -> str:
        return "torch::autograd::AccumulateGrad"  # with its namespace, as PyTorch gives it


def accumulator(leaf: AnyTensor) -> AccumulateGrad:
    """The node of a leaf, the same one as long as somebody holds it."""
    held = leaf._leaf_hooks().metadata.get("AccumulateGrad")
    node: AccumulateGrad | None = held() if held is not None else None
    if node is None:
        node = AccumulateGrad(leaf)
        leaf._leaf_hooks().metadata["AccumulateGrad"] = weakref.ref(node)
    return node


def function_of(edge: Edge) -> tuple[GradNode | None, int]:
    """An edge as PyTorch shows it: the function, and which of its outputs is meant."""
    if edge is None:
        return None, 0
    if isinstance(edge, Output):
        return edge.edges[0], edge.place
    return (edge, edge.output_nr) if isinstance(edge, GradNode) else (accumulator(edge), 0)


def already_freed() -> GradientError:
    return GradientError(
        mirrored(
            "Trying to backward through the graph a second time (or directly access saved tensors after they "
            "have already been freed). Saved intermediate values of the graph are freed when you call "
            ".backward() or autograd.grad(). Specify retain_graph=True if you need to backward through the "
            "graph a second time or if you need to access saved tensors after calling backward."
        )
    )
