"""Tracing: while a `Trace` is current, operations on Tensors write graph nodes instead of computing.

In flow the user's function and real Tensors; out flow nodes. Tensors of the world outside are never looked
into: they become inputs of the graph, found by identity (`capture`), and what happens to them inside is noted
here, not done to them: in-place updates in `values` and `mutated`, gradients in `grads`. The owner of the
trace (`compile_grad`) writes them back when the compiled function has run.

    with Trace() as trace:
        trace.adopt(x, label="x")             # an argument: the function is called with the real Tensor
        y = function(x)
    graph = Graph("f", tuple(trace.builder.inputs), (trace.result(y),))
"""

from __future__ import annotations

import ctypes
import functools
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.errors import TraceError, user_location
from retrograd.compiler.ir.graph import Array, Builder, Input, Node, Type, order
from retrograd.runtime.device import CPU
from retrograd.runtime.modes import STATE
from retrograd.runtime.noted import AnyTensor, Before, Draw, Words
from retrograd.runtime.paths import Answer, Path, Question
from retrograd.runtime.strided import DeviceArray, Layout, Strides, in_order, share_memory, steps_of, zeros

AnyView = Any
"""How a Tensor shows elements of another (`views.View`)."""

_P = ParamSpec("_P")
_R = TypeVar("_R")
_counting = threading.Lock()

depth = 0
"""How many traces are open in any thread: while it is 0, no operation needs to ask for the current one."""

OPEN = ctypes.c_int64(0)
"""The same for native code."""


_open: list[Open] = []


class Open:
    """A trace that is open in this thread, from now until `close`."""

    def __init__(self, trace: Trace) -> None:
        self.trace, self.thread, self.outer = trace, threading.get_ident(), STATE.trace
        with _counting:
            _open.append(self)
            _count()
        STATE.trace = trace

    def pause(self) -> None:
        """For operations outside of the trace, which are what they are where it is not open."""
        with _counting:
            _open.remove(self)
            _count()
        STATE.trace = self.outer

    def resume(self) -> None:
        """After `pause`."""
        with _counting:
            _open.append(self)
            _count()
        STATE.trace = self.trace

    def close(self) -> None:
        """The first time; a generator that was broken off may come back to it later."""
        with _counting:
            if self not in _open:
                return
            _open.remove(self)
            _count()
        STATE.trace = self.outer


def _count() -> None:
    global depth
    depth = OPEN.value = len(_open)


def unbroken(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Of a function that opens traces: whatever breaks into it at whatever place (Ctrl-C may come between a
    `with` and its block), they are closed when it has raised."""

    @functools.wraps(function)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        return unbroken_call(function, *args, **kwargs)

    return call


def unbroken_call(function: Callable[_P, _R], *args: _P.args, **kwargs: _P.kwargs) -> _R:
    """One call of such a function."""
    trace, grad = STATE.trace, STATE.grad
    mine = [each for each in _open if each.thread == threading.get_ident()]
    try:
        return function(*args, **kwargs)
    except BaseException:
        for each in reversed(_open.copy()):
            if each.thread == threading.get_ident() and each not in mine:
                each.close()
                each.trace.restore()
        with _counting:
            _count()
        STATE.trace, STATE.grad = trace, grad
        raise


class Trace:
    """One function being written down. Entering makes it this thread's current trace; leaving restores the
    outside.
    """

    at_once = False
    """Whether ops are applied as they come, rather than written down (`func.batching`). Then the world
    outside is looked into, and its histories are its own."""
    words = Words(
        "a traced tensor",
        "its elements are known only when the compiled function runs",
        "how many there are is known only when the compiled function runs",
        "choose between values with where(), bound them with clamp(), branch on a comparison of tensors, or "
        "pass a Python number as an argument",
    )

    def __init__(
        self, name_of: Callable[[AnyTensor], str | None] | None = None, path: Path | None = None,
        planned: bool = False,
    ) -> None:  # fmt: skip
        self.builder = Builder()
        self.path = path
        """Which way the function went where it asked for an element; None where it must not ask."""
        self.captured: dict[Node, AnyTensor] = {}
        """The outside Tensors that are inputs, by their input node, in order."""
        self.values: dict[AnyTensor, Node] = {}
        """What each outside Tensor is at this point of the function."""
        self.mutated: dict[AnyTensor, Node] = {}
        """The outside Tensors that the function updates in place, and their last values."""
        self.grads: dict[AnyTensor, AnyTensor | None] = {}
        """The outside Tensors whose `.grad` the function sets, and what it is in the end (a traced Tensor or
        None).
        """
        self.arrays: dict[int, AnyTensor] = {}
        """NumPy arrays that the function uses as operands, as outside Tensors, by `id`."""
        self.device = CPU
        """Where the function's Tensors are: on one GPU, if one of them is there."""
        self.around: dict[Node, AnyTensor] = {}
        """Those of them that are no arguments."""
        self.seen: dict[AnyTensor, Array] = {}
        """Those of these whose elements what is traced was made for, and the elements."""
        self.draws: list[Draw] = []
        """The random numbers that the function draws, in order."""
        self.planned = planned
        """Whether the graph becomes eager steps: then a copy, else nothing, is a node."""
        self.results: set[AnyTensor] = set()
        """Arguments that stand for results of operations outside: no leaves, they may be changed in place."""
        self.forgotten: frozenset[AnyTensor] = frozenset()
        """All Tensors that stand for arguments, when the trace has ended."""
        self.lying: dict[AnyTensor, Strides] = {}
        """How the elements of Tensors made inside would lie in eager mode, and of forgotten arguments, as
        strides; of those that are not here, in order. What is a view and what a copy depends on it."""
        self.views: list[AnyView] = []
        """All views that were made, in order."""
        self.detached = False
        """Whether the function left a Tensor's history behind, which a graph does not tell."""
        self.unchecked = False
        """Whether the function would have looked at elements, were they known, or moved them to a device."""
        self.turns: set[Node] = set()
        """Placeholders of what is another value in each turn of a loop."""
        self.recording = False
        """Whether a pass is under way in which what is done is recorded outside, though not here."""
        self._before: dict[AnyTensor, Before] = {}
        self._name_of = name_of
        self._opened: list[Open] = []

    def __enter__(self) -> Self:
        self._opened.append(Open(self))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.pop().close()
        self.restore()

    def restore(self) -> None:
        """Give the Tensors outside back what they were."""
        self.grads = {tensor: tensor._grad for tensor in self.grads}
        for tensor, before in self._before.items():
            tensor._edge, tensor._requires_grad, tensor._grad = before.edge, before.requires_grad, before.grad
            if tensor._counter is not None:
                tensor._counter[0] = before.version or 0

    def forget(self, tensors: Iterable[AnyTensor]) -> None:
        """Let go the elements of Tensors that stand for arguments; from now on nobody may ask for any."""
        self.path, self.forgotten = None, frozenset(tensors)
        for tensor in self.forgotten:
            array = tensor._value
            if isinstance(array, np.ndarray):
                self.lying[tensor] = steps_of(array)
                tensor._value = zeros(array.shape, array.dtype)

    def adopt(self, tensor: AnyTensor, label: str) -> Node:
        """Make an outside Tensor an input under this name; an operation inside finds it by identity."""
        value = tensor._value
        kind = Type(tuple(value.shape), dtypes.of(value))
        if isinstance(value, DeviceArray):
            self.device = value.device
        node = self.builder.input(label, kind)
        self.values[tensor] = node
        self.captured[node] = tensor
        return node

    def capture(self, tensor: AnyTensor) -> Node:
        """The node of a Tensor of the outside world: an input of the graph, never a constant."""
        found = self.values.get(tensor)
        if found is not None:
            return found
        label = self._name_of(tensor) if self._name_of is not None else None
        node = self.adopt(tensor, label or f"captured{len(self.captured)}")
        self.around[node] = tensor
        return node

    def look(self, node: Node) -> Array | None:
        """The elements of an outside Tensor of whole numbers, for which alone the trace is good from now on.
        None where they are not known, or each call has other ones."""
        tensor = self.around.get(node)
        if (
            tensor is None
            or node.dtype.is_floating_point
            or any(draw.tensor is tensor for draw in self.draws)
        ):
            return None
        array = tensor._value
        return self.seen.setdefault(tensor, array) if isinstance(array, np.ndarray) else None

    def lift(self, tensor: AnyTensor) -> Node:
        """What a Tensor is at this point of the function, as a node."""
        if tensor._view is not None:
            tensor._view.refresh(tensor)
        value = tensor._value
        if type(value) is Node and value.builder is self.builder:
            return value
        return self.capture(tensor)

    def ask(self, tensor: AnyTensor, kind: type[Answer]) -> Answer | None:
        """The only element of a Tensor, as a number of this kind, for the arguments at hand: the path of the
        function. None where that is not to be had: nobody may ask, or it depends on numbers to be drawn."""
        node = self.lift(tensor)
        if self.turns_change(tensor):
            raise TraceError(
                f"{kind.__name__}() of a value that each turn of a loop has another one of",
                "one path is traced for all turns",
                "choose by cond(pred, true_fn, false_fn, operands), or between values by where()",
            )
        unknown = {draw.tensor for draw in self.draws} | {None}
        sought = () if self.planned else _inputs_of(node)  # a plan tries each answer
        if self.path is None or any(self.captured.get(n) in unknown for n in sought):
            return None
        return self.path.answer(Question(node, kind, user_location()), lambda n: self.captured[n]._value)

    def turns_change(self, tensor: AnyTensor) -> bool:
        """Whether a Tensor is another one in each turn of a loop that is being traced."""
        return bool(self.turns) and not self.turns.isdisjoint(_inputs_of(self.lift(tensor)))

    def close(self, results: Iterable[Node]) -> None:
        """TraceError where a result of the function depends on the turn of a loop."""
        for node in order(list(results)) if self.turns else ():
            if not self.turns.isdisjoint(node.inputs):
                raise TraceError(
                    "a value that a loop's body has computed, outside of the loop",
                    "each turn has another one",
                    "return it from the body: what is carried is the last one, and scan stacks all",
                    where=node.where,
                )

    def read(self, tensor: AnyTensor) -> Array | None:
        """The elements of a Tensor, where they are known."""
        return None

    def cut(self, tensor: AnyTensor) -> Node:
        """What a Tensor is at this point, without the history that it has outside."""
        return self.lift(tensor)

    def makers(self, edges: Iterable[Any]) -> list[Trace]:
        """Which of this trace and those around it have made histories that end in these edges, beside those
        of the world outside."""
        return []

    def applied(self, function: Any, ctx: Any, operands: Sequence[Any], output: Any) -> Any:
        """What a user's Function has given, with the history that it has outside."""
        return output

    def strides(self, tensor: AnyTensor) -> Strides:
        """Steps between neighbours, in elements, that the Tensor has or would have in eager mode."""
        value = tensor._value
        if isinstance(value, DeviceArray):
            return value.strides
        found = self.lying.get(tensor)
        if found is not None:
            return found
        return in_order(value.shape, 1) if isinstance(value, Node) else steps_of(value)

    def lies_in_order(self, tensor: AnyTensor) -> bool:
        """Whether each element follows the one before, or would in eager mode."""
        value = tensor._value
        if isinstance(value, DeviceArray):
            return value.layout.contiguous
        found = self.lying.get(tensor)
        if found is not None:
            return Layout(value.shape, found).contiguous
        return isinstance(value, Node) or bool(value.flags.c_contiguous)

    def lay(self, tensor: AnyTensor, strides: Strides) -> None:
        """Note how the elements of a Tensor made inside would lie."""
        if strides != in_order(tensor._value.shape, 1):
            self.lying[tensor] = strides
        else:
            self.lying.pop(tensor, None)

    def owns(self, tensor: AnyTensor) -> bool:
        """Whether the Tensor was made inside."""
        value = tensor._value
        return type(value) is Node and value.builder is self.builder

    def is_leaf(self, tensor: AnyTensor) -> bool:
        """Whether the Tensor was here before: what made it, if anything, is not part of the function."""
        return tensor in self.values and tensor not in self._before

    def rewrote_history(self, tensor: AnyTensor) -> bool:
        """Whether an outside Tensor is now the result of an operation inside."""
        before = self._before.get(tensor)
        return before is not None and tensor._edge is not before.edge

    def remember(self, tensor: AnyTensor) -> None:
        """Call before the history or gradient of a Tensor changes, so that an outside one gets them back."""
        if tensor not in self._before and not self.owns(tensor):
            version = tensor._counter[0] if tensor._counter is not None else None
            self._before[tensor] = Before(tensor._edge, tensor._requires_grad, tensor._grad, version)

    def required_grad(self, tensor: AnyTensor) -> bool:
        """Whether a Tensor did so when it came to the trace."""
        before = self._before.get(tensor)
        return bool(tensor._requires_grad if before is None else before.requires_grad)

    def replace(self, tensor: AnyTensor, node: Node) -> None:
        """An in-place update: the Tensor is this node from now on."""
        if self.owns(tensor):
            tensor._value = node
            return
        self._refuse_aliases(tensor)
        self.capture(tensor)
        self.remember(tensor)
        self.values[tensor] = self.mutated[tensor] = node

    def leave_views(self, tensor: AnyTensor) -> None:
        """Before a Tensor is given other memory: its views go on showing what it was."""
        mine = [view for view in self.views if view.base is tensor]
        if mine:
            was = type(tensor)(self.lift(tensor))
            was._edge, was._requires_grad, was._counter = tensor._edge, tensor._requires_grad, tensor._counter
            was._view = tensor._view
            self.lay(was, self.strides(tensor))
        for view in mine:
            view.base = was

    def _refuse_aliases(self, tensor: AnyTensor) -> None:
        """Two inputs of a graph are two values: an update of one that the other would have to see cannot be
        traced.
        """
        array = tensor._value
        for other in self.values:
            if other is not tensor and share_memory(array, other._value):
                raise TraceError(
                    f"in-place update of a tensor of shape {list(array.shape)}",
                    "another tensor that this function uses shares its memory",
                    "pass only the base tensor in, and make the views inside the function",
                )


def _inputs_of(node: Node) -> list[Node]:
    found = {i: None for each in (node, *order([node])) for i in each.inputs}
    return [n for n in (node, *found) if isinstance(n.op, Input)]


def one_line() -> AbstractContextManager[None]:
    """Within, what is traced carries the one line of the user's that led here."""
    trace = current()
    if trace is None or trace.builder.fixed_location:
        return nullcontext()
    return trace.builder.at(user_location())


class Recording:
    """Within, what is done is recorded outside of these traces, though not in them."""

    __slots__ = ("_before", "_traces")

    def __init__(self, *traces: Trace) -> None:
        self._traces, self._before = traces, [trace.recording for trace in traces]

    def __enter__(self) -> None:
        for trace in self._traces:
            trace.recording = True

    def __exit__(self, *_: object) -> None:
        for trace, before in zip(self._traces, self._before):
            trace.recording = before


def recording_outside(grad: bool, edges: Iterable[Any]) -> AbstractContextManager[None]:
    """For a pass over histories that end in these edges, which is not recorded itself: within, histories
    outside of the traces that have made those go on, if operations were recorded before the pass."""
    trace = STATE.trace
    return Recording(*trace.makers(edges)) if grad and trace is not None else _NOTHING


_NOTHING = nullcontext()


def current() -> Trace | None:
    """The trace that this thread writes, if any."""
    return STATE.trace if depth else None
