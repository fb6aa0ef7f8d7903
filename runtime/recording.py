"""A traced function, and derivatives of it: each is a graph, compiled when it is first run.

A `Recording` is what a trace left behind: placeholders for the operands, Tensors of the world outside that
the function used (`captured`), and the outputs, all joined by a tape whose values are graph nodes. So its
derivative is what the backward pass of the Tensor API writes when it is run once more inside the same trace,
and `detach()`, `no_grad`, custom `Function`s and hooks mean the same compiled as they do eagerly. The
derivative of a recording is a recording.

    recording(operands)          native; the results have a `CompiledBackward` for history
    recording.vjp                the recording whose results are the gradients
    recording.joint              the program of a scalar and its gradients
    recording.pair               the programs of the two halves, where the cotangent comes later
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import numpy as np

from retrograd.compiler.adjoint import Pair, split
from retrograd.compiler.errors import GradientError, RetrogradError, TraceError
from retrograd.compiler.ir.graph import Array, Graph, Node, Value
from retrograd.runtime.derivation import fresh_label, gradients, inside
from retrograd.runtime.eager import counter_of, edge_of
from retrograd.runtime.modes import STATE
from retrograd.runtime.program import NativeProgram
from retrograd.runtime.tape import Edge, GradNode, Output, already_freed
from retrograd.runtime.tensor import Tensor
from retrograd.runtime.tracing import Trace

LOCK = threading.RLock()
"""Held while something is traced or compiled, so that a program is made once; and while forking, so that a
child never inherits it from a thread that it has not."""
os.register_at_fork(before=LOCK.acquire, after_in_parent=LOCK.release, after_in_child=LOCK.release)

_T = TypeVar("_T")


class Recording:
    """A function of Tensors as a trace has it. `operands` are placeholders; `captured` are outside
    Tensors."""

    def __init__(
        self,
        name: str,
        trace: Trace,
        operands: Sequence[Tensor],
        captured: Sequence[Tensor],
        outputs: Sequence[Tensor],
        by_captured: bool = True,
        rewritten: Iterable[int] = (),
    ) -> None:
        self.name = name
        self.operands = tuple(operands)
        self.captured = tuple(captured)
        self.outputs = tuple(outputs)
        inputs = (*operands, *captured) if by_captured else operands
        self.wanted = tuple(k for k, x in enumerate(inputs) if x.requires_grad)
        """The inputs, counted through operands and then captured, by which it can be differentiated."""
        self.differentiable = tuple(k for k, x in enumerate(outputs) if x.requires_grad)
        """The outputs that have a derivative."""
        self.scalar = len(self.differentiable) == 1 and outputs[self.differentiable[0]].numel() == 1
        """Whether the gradients may as well be computed with the value."""
        self.rewritten = frozenset(rewritten)
        """The inputs that are written to when the function has run."""
        self._trace = trace
        self._made: dict[str, Any] = {}
        node_of = {tensor: node for node, tensor in trace.captured.items()}
        with inside(trace):
            self.graph = Graph(
                name, tuple(node_of[x] for x in (*operands, *captured)), tuple(trace.lift(x) for x in outputs)
            )

    # ---- its derivative ------------------------------------------------------------------------------------

    @property
    def vjp(self) -> Recording:
        """Operands and a cotangent for each differentiable output in, gradients by the wanted inputs out."""
        return self._once("vjp", self._make_vjp)

    @property
    def joint_graph(self) -> Graph:
        """The outputs, and the gradients of the only differentiable one, a scalar."""
        return self._once("joint graph", self._make_joint_graph)

    @property
    def whole_graph(self) -> Graph:
        """The outputs and the gradients, from the inputs and a cotangent for each differentiable output."""
        return self._once("whole graph", self._make_whole_graph)

    @property
    def halves(self) -> Pair:
        """The outputs with what must be kept, and the gradients from that and the cotangents."""
        return self._once(
            "halves", lambda: split(self.whole_graph, len(self.graph.inputs), len(self.outputs))
        )

    def _make_vjp(self) -> Recording:
        known = set(self._trace.captured)
        with inside(self._trace):
            cotangents = [self._cotangent(k) for k in self.differentiable]
            gradients = self._gradients(cotangents, create_graph=True)
        known.update(self._trace.values[ct] for ct in cotangents)
        later = [x for node, x in self._trace.captured.items() if node not in known]
        operands = (*self.operands, *cotangents)
        return Recording(f"{self.name}_vjp", self._trace, operands, (*self.captured, *later), gradients)

    def _make_joint_graph(self) -> Graph:
        loss = self.outputs[self.differentiable[0]]
        with inside(self._trace), self._trace.builder.at(self.graph.outputs[self.differentiable[0]].where):
            ones = np.ones(loss.shape, loss.dtype.numpy)
            gradients = self._gradients([Tensor(self._trace.builder.constant(ones))], create_graph=False)
            nodes = tuple(self._trace.lift(g) for g in gradients)
        return Graph(f"{self.name}_and_gradient", self.graph.inputs, self.graph.outputs + nodes)

    def _make_whole_graph(self) -> Graph:
        inputs = self.vjp.graph.inputs
        operands, captured = len(self.operands), len(self.captured)
        seeds = inputs[operands : len(self.vjp.operands)]
        later = inputs[len(self.vjp.operands) + captured :]
        return Graph(
            self.name, (*self.graph.inputs, *seeds, *later), self.graph.outputs + self.vjp.graph.outputs
        )

    def _cotangent(self, place: int) -> Tensor:
        like = self.outputs[place]
        cotangent = Tensor(np.broadcast_to(np.zeros((), like.dtype.numpy), like.shape))
        cotangent._requires_grad = True
        self._trace.adopt(cotangent, fresh_label(self._trace.builder, f"ct{place}"))
        return cotangent

    def _gradients(self, cotangents: Sequence[Tensor], create_graph: bool) -> list[Tensor]:
        """Those by the wanted inputs, written into the trace."""
        inputs = (*self.operands, *self.captured)
        return gradients(
            self._trace,
            [self.outputs[k] for k in self.differentiable],
            [inputs[k] for k in self.wanted],
            [self.graph.inputs[k] for k in self.wanted],
            cotangents,
            create_graph,
        )

    # ---- its programs --------------------------------------------------------------------------------------

    @property
    def program(self) -> NativeProgram:
        return self._once("program", lambda: NativeProgram(self.graph))

    @property
    def joint(self) -> NativeProgram:
        return self._once("joint", lambda: NativeProgram(self.joint_graph))

    @property
    def forward(self) -> NativeProgram:
        return self._once("forward", lambda: NativeProgram(self.halves.forward))

    @property
    def backward(self) -> NativeProgram:
        return self._once("backward", lambda: NativeProgram(self.halves.backward))

    def _once(self, what: str, make: Callable[[], _T]) -> _T:
        """What was made before, or is made now, by one thread only."""
        found: _T | None = self._made.get(what)
        if found is not None:
            return found
        with LOCK:
            if what not in self._made:
                self._made[what] = make()
            made: _T = self._made[what]
            return made

    # ---- running it ----------------------------------------------------------------------------------------

    def start(self, arrays: Sequence[Array]) -> tuple[Sequence[Array], Sequence[Array]]:
        """The outputs, and what `finish` needs."""
        count = len(self.outputs)
        if self.scalar:
            outputs = (self._made.get("joint") or self.joint)(arrays)
            return outputs[:count], outputs[count:]
        outputs = self.forward(arrays)
        held = [*arrays, *outputs]
        return outputs[:count], [held[k] for k in self.halves.saved]

    def finish(self, kept: Sequence[Array], cotangents: Sequence[Array]) -> Sequence[Array]:
        """The gradients by the wanted inputs, given a cotangent for each differentiable output."""
        if self.scalar:
            return [np.asarray(g * _as_factor(cotangents[0], g)) for g in kept]
        later = self.vjp.captured[len(self.captured) :]
        return self.backward([*kept, *cotangents, *map(array_of, later)])

    def __call__(self, operands: Sequence[Tensor]) -> list[Tensor]:
        """The outputs for these operands, with a history where the tape is on and something requires grad."""
        inputs = [*operands, *self.captured]
        arrays = [array_of(x) for x in inputs]
        edges = tuple([edge_of(inputs[k]) for k in self.wanted]) if self.differentiable and STATE.grad else ()
        if edges.count(None) == len(edges):
            return [Tensor(array) for array in self.program(arrays)]
        for k in self.rewritten:
            arrays[k] = arrays[k].copy()
        (refusal,) = self._made.get("refusal") or self._refusal()
        if refusal is not None:
            outputs = self.program(arrays)
            node: _CallNode = Refused(edges, self, refusal)
        else:
            outputs, kept = self.start(arrays)
            node = CompiledBackward(edges, self, inputs, arrays, kept)
        results = [Tensor(array) for array in outputs]
        for place, k in enumerate(self.differentiable):
            results[k]._edge = node if node.outputs == 1 else Output(node, place)
            results[k]._requires_grad = True
        return results

    def _refusal(self) -> tuple[RetrogradError | None]:
        """Why it has no derivative. A call does not mind, as long as nobody asks for it."""

        def derive() -> tuple[RetrogradError | None]:
            try:
                _ = self.joint_graph if self.scalar else self.halves
            except RetrogradError as error:
                return (error,)
            return (None,)

        return self._once("refusal", derive)


class _CallNode(GradNode):
    """A call of a compiled function."""

    __slots__ = ("outputs", "recording")

    def __init__(self, edges: tuple[Edge, ...], recording: Recording) -> None:
        super().__init__(edges)
        self.recording = recording
        self.outputs = len(recording.differentiable)
        """How many of its results have a derivative."""

    def name(self) -> str:
        return "".join(part.capitalize() for part in self.recording.name.split("_")) + "Backward0"


class Refused(_CallNode):
    """A call that cannot be differentiated: the function has freed its own tape, say."""

    __slots__ = ("_error",)

    def __init__(self, edges: tuple[Edge, ...], recording: Recording, error: RetrogradError) -> None:
        super().__init__(edges, recording)
        self._error = error

    def backward(
        self, cotangent: Value, needed: Sequence[bool], create_graph: bool
    ) -> Sequence[Value | None]:
        raise self._error


class CompiledBackward(_CallNode):
    """A call whose backward pass is native too."""

    __slots__ = ("_arrays", "_counters", "_kept", "_versions")

    def __init__(
        self,
        edges: tuple[Edge, ...],
        recording: Recording,
        inputs: list[Tensor],
        arrays: Sequence[Array],
        kept: Sequence[Array],
    ) -> None:
        super().__init__(edges, recording)
        self._arrays: Sequence[Array] | None = arrays
        """The inputs; None when they have been freed."""
        self._kept: Sequence[Array] | None = kept
        self._counters = [x._counter or counter_of(x) for x in inputs]
        for k in recording.rewritten:
            self._counters[k] = [0]  # the array is a copy
        self._versions = [counter[0] for counter in self._counters]

    def holds(self, array: Value) -> bool:
        return False

    def free(self) -> None:
        self._arrays = self._kept = None

    def backward(
        self, cotangent: Value, needed: Sequence[bool], create_graph: bool
    ) -> Sequence[Value | None]:
        if self._arrays is None:
            raise already_freed()
        cotangents = self._complete(cotangent if isinstance(cotangent, list) else [cotangent])
        if create_graph:
            return self._recorded(cotangents)
        if self.recording.scalar:
            return [_scaled(g, cotangents[0]) if need else None for g, need in zip(self._gradients(), needed)]
        self._check_unchanged(k for k in self.recording.halves.saved if k < len(self._versions))
        return self.recording.finish(self._kept or (), cotangents)

    def _complete(self, given: Sequence[Value | None]) -> list[Value]:
        """A cotangent for each output, zeros where nothing arrived."""
        if any(type(ct) is Node for ct in given):
            raise TraceError(
                f"backward through {self.name()}, called before the function that is being compiled",
                "its values are not part of the function",
                "pass detach()ed tensors in, or make the call inside the function",
            )
        types = [self.recording.graph.outputs[k].type for k in self.recording.differentiable]
        return [
            np.zeros(t.shape, t.dtype.numpy) if ct is None else ct for ct, t in zip(given, types, strict=True)
        ]

    def _gradients(self) -> Sequence[Array]:
        """Those of a scalar. They are given away: if they are asked for again, they are computed again."""
        kept, self._kept = self._kept, None
        if kept is not None:
            return kept
        self._check_unchanged(range(len(self._versions)))
        return self.recording.start(self._arrays or ())[1]

    def _recorded(self, cotangents: Sequence[Value]) -> list[Tensor]:
        """The gradients as Tensors with a history: the compiled derivative is called like any function."""
        recording, count = self.recording, len(self.recording.operands)
        self._check_unchanged(range(len(self._versions)))
        if any(k >= count for k in recording.rewritten):
            raise GradientError(
                f"the derivative of the derivative of {recording.name}",
                "it updates a captured tensor in place, whose former elements are gone",
                "pass the tensor in as an argument",
            )
        edge_at = dict(zip(recording.wanted, self.edges, strict=True))
        operands = [_restored(x, edge_at.get(k)) for k, x in enumerate((self._arrays or ())[:count])]
        seeds = [ct if isinstance(ct, Tensor) else Tensor(ct) for ct in cotangents]
        return recording.vjp([*operands, *seeds])

    def _check_unchanged(self, places: Iterable[int]) -> None:
        """The inputs that are looked at again must not have been written to meanwhile."""
        for place in places:
            (now, *_), then = self._counters[place], self._versions[place]
            if now != then:
                kind = self.recording.graph.inputs[place].type
                raise GradientError(
                    "one of the variables needed for gradient computation has been modified by an inplace "
                    f"operation: [{kind.dtype} {list(kind.shape)}], an input of {self.name()}, is at version "
                    f"{now}; expected version {then} instead."
                )


def array_of(tensor: Tensor) -> Array:
    value = tensor._value
    if isinstance(value, Node):
        raise TraceError(
            f"a traced tensor {value.type} as an argument",
            "it was made inside a compiled function, whose trace has ended, so it stands for no value",
            "return it from that function, and use what the function returns",
        )
    return value


def _as_factor(cotangent: Array, gradient: Array) -> Array:
    return cotangent.reshape(()).astype(gradient.dtype)


def _scaled(gradient: Array, cotangent: Array) -> Array:
    """The gradient times a scalar cotangent, in its own memory."""
    factor = _as_factor(cotangent, gradient)
    return gradient if factor == 1 else np.multiply(gradient, factor, out=gradient)


def _restored(array: Array, edge: Edge) -> Tensor:
    """The Tensor that an operand was."""
    if isinstance(edge, Tensor):
        return edge
    tensor = Tensor(array)
    tensor._edge, tensor._requires_grad = edge, edge is not None
    return tensor
