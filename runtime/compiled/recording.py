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
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from retrograd.compiler.adjoint import Pair, split
from retrograd.compiler.errors import RetrogradError, TraceError
from retrograd.compiler.ir.graph import Graph, Node
from retrograd.runtime.compiled.derivation import fresh_label, gradients, influences, inside, reached
from retrograd.runtime.compiled.history import CallNode, CompiledBackward, Refused, elements, times
from retrograd.runtime.device import device
from retrograd.runtime.eager.history import edge_of
from retrograd.runtime.eager.opnodes import counter_of
from retrograd.runtime.eager.tape import Edge, Output
from retrograd.runtime.modes import STATE
from retrograd.runtime.native.placing import Placing
from retrograd.runtime.native.program import Executable, executable
from retrograd.runtime.strided import zeros
from retrograd.runtime.tensor import Tensor
from retrograd.runtime.tracing import Trace, unbroken_call

LOCK = threading.RLock()
"""Held while something is traced or compiled, so that a program is made once; and while forking, so that a
child never inherits it from a thread that it has not."""
os.register_at_fork(before=LOCK.acquire, after_in_parent=LOCK.release, after_in_child=LOCK.release)

_T = TypeVar("_T")
Extension = tuple[Sequence[Tensor], Sequence[Tensor]]
"""Further inputs and outputs of a graph."""


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
        placings: Mapping[int, Placing] | None = None,
        results: Mapping[int, Placing] | None = None,
    ) -> None:
        self.name = name
        self.operands = tuple(operands)
        self.captured = tuple(captured)
        self.outputs = tuple(outputs)
        inputs = (*operands, *captured) if by_captured else operands
        self.wanted = tuple(k for k, x in enumerate(inputs) if trace.required_grad(x))
        """The inputs, counted through operands and then captured, by which it can be differentiated."""
        self.differentiable = tuple(k for k, x in enumerate(outputs) if x.requires_grad)
        """The outputs that have a derivative."""
        self.scalar = len(self.differentiable) == 1 and _is_scalar(outputs[self.differentiable[0]])
        """Whether the gradients may as well be computed with the value."""
        self.rewritten = frozenset(rewritten)
        """The inputs that are written to when the function has run."""
        self.placings = placings or {}
        """How those inputs lie in memory that are views."""
        self.results = results or {}
        """How outputs lie that are not in order."""
        random = {draw.tensor for draw in trace.draws}
        self.drawn = tuple((k, x) for k, x in enumerate((*operands, *captured)) if x in random)
        """Random numbers among the inputs, which have other elements at each call."""
        self._trace = trace
        self._made: dict[str, Any] = {}
        node_of = {tensor: node for node, tensor in trace.captured.items()}
        with inside(trace):
            self.graph = Graph(
                name, tuple(node_of[x] for x in (*operands, *captured)), tuple(trace.lift(x) for x in outputs)
            )

    @property
    def reach(self) -> tuple[frozenset[int], ...]:
        """For each differentiable output the wanted inputs that its tape leads to; others get no gradient,
        which is not one of zeros."""
        return self._once("reach", self._find_reach)

    def _find_reach(self) -> tuple[frozenset[int], ...]:
        inputs = (*self.operands, *self.captured)
        with inside(self._trace):
            place_of = {edge_of(inputs[k]): k for k in self.wanted}
            edges = [edge_of(self.outputs[k]) for k in self.differentiable]
        return tuple([frozenset(place_of[e] for e in reached(edge) if e in place_of) for edge in edges])

    # ---- its derivative ------------------------------------------------------------------------------------

    @property
    def vjp(self) -> Recording:
        """Operands and a cotangent for each differentiable output in, gradients by the wanted inputs out."""
        return self.vjp_of(self.differentiable)

    def vjp_of(self, places: tuple[int, ...]) -> Recording:
        """The same for cotangents of these outputs alone. Others of zeros would not do: infinity times zero
        is NaN."""
        return self._once(f"vjp {places}", lambda: self._make_vjp(places))

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

    def _make_vjp(self, places: tuple[int, ...]) -> Recording:
        known = set(self._trace.captured)
        with inside(self._trace):
            cotangents = [self._cotangent(k) for k in places]
            gradients = self._gradients(places, cotangents, create_graph=True)
        known.update(self._trace.values[ct] for ct in cotangents)
        later = [x for node, x in self._trace.captured.items() if node not in known]
        operands = (*self.operands, *cotangents)
        return Recording(f"{self.name}_vjp", self._trace, operands, (*self.captured, *later), gradients)

    def _make_joint_graph(self) -> Graph:
        with inside(self._trace), self._trace.builder.at(self.graph.outputs[self.differentiable[0]].where):
            gradients = self._gradients(self.differentiable, [self._one()], create_graph=False)
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

    def _one(self) -> Tensor:
        """The cotangent of the only differentiable output, a scalar."""
        loss = self.outputs[self.differentiable[0]]
        return Tensor(self._trace.builder.constant(np.array(1, loss.dtype.numpy).reshape(loss.shape)))

    @property
    def influences(self) -> dict[int, Tensor]:
        """The gradients of a scalar by those wanted inputs, by their numbers, that it depends on."""
        return self._once("influences", self._find_influences)

    def _find_influences(self) -> dict[int, Tensor]:
        inputs, loss = (*self.operands, *self.captured), self.outputs[self.differentiable[0]]
        with inside(self._trace), self._trace.builder.at(self.graph.outputs[self.differentiable[0]].where):
            wanted = [inputs[k] for k in self.wanted]
            found = influences(self._trace, [loss], wanted, [self._one()], create_graph=False)
            return {k: Tensor(g) for k, g in zip(self.wanted, found) if g is not None}

    def extended(self, name: str, more: Callable[[Trace, dict[int, Tensor]], Extension]) -> Graph:
        """The graph of a scalar, going on with what `more` makes of the trace and of the gradients by those
        wanted inputs, by their numbers, that it depends on."""
        with inside(self._trace), self._trace.builder.at(None):
            further, results = (
                tuple(map(self._trace.lift, each)) for each in more(self._trace, self.influences)
            )
        return Graph(name, self.graph.inputs + further, self.graph.outputs + results)

    def _cotangent(self, place: int) -> Tensor:
        like = self.outputs[place]
        cotangent = Tensor(zeros(tuple(like.shape), like.dtype.numpy))
        cotangent._requires_grad = True
        self._trace.adopt(cotangent, fresh_label(self._trace.builder, f"ct{place}"))
        return cotangent

    def _gradients(
        self, places: Sequence[int], cotangents: Sequence[Tensor], create_graph: bool
    ) -> list[Tensor]:
        """Those of these outputs by the wanted inputs, written into the trace."""
        inputs = (*self.operands, *self.captured)
        return gradients(
            self._trace,
            [self.outputs[k] for k in places],
            [inputs[k] for k in self.wanted],
            [self.graph.inputs[k] for k in self.wanted],
            cotangents,
            create_graph,
        )

    # ---- its programs --------------------------------------------------------------------------------------

    @property
    def device(self) -> device:
        """Where it runs."""
        return self._trace.device

    @property
    def program(self) -> Executable:
        return self._once("program", lambda: self._executable(self.graph))

    @property
    def joint(self) -> Executable:
        return self._once("joint", lambda: self._executable(self.joint_graph))

    @property
    def forward(self) -> Executable:
        return self._once("forward", lambda: self._executable(self.halves.forward))

    @property
    def backward(self) -> Executable:
        return self._once("backward", self._make_backward)

    def _make_backward(self) -> Executable:
        lying = {**self.placings, **{len(self.graph.inputs) + k: x for k, x in self.results.items()}}
        saved = {k: lying[n] for k, n in enumerate(self.halves.saved) if n in lying}
        return executable(self.halves.backward, self.device, placings=saved)

    def _executable(self, graph: Graph) -> Executable:
        """The program of a graph that has these inputs, and these outputs first."""
        return executable(graph, self.device, placings=self.placings, results=self.results)

    def _once(self, what: str, make: Callable[[], _T]) -> _T:
        """What was made before, or is made now, by one thread only."""
        found: _T | None = self._made.get(what)
        if found is not None:
            return found
        with LOCK:
            if what not in self._made:
                self._made[what] = unbroken_call(make)
            made: _T = self._made[what]
            return made

    # ---- running it ----------------------------------------------------------------------------------------

    def start(self, arrays: Sequence[Any]) -> tuple[Sequence[Any], Sequence[Any]]:
        """The outputs, and what `finish` needs."""
        count = len(self.outputs)
        if self.scalar:
            outputs = (self._made.get("joint") or self.joint)(arrays)
            return outputs[:count], outputs[count:]
        outputs = self.forward(arrays)
        held = [*arrays, *outputs]
        return outputs[:count], [held[k] for k in self.halves.saved]

    def finish(self, kept: Sequence[Any], cotangents: Sequence[Any]) -> Sequence[Any]:
        """The gradients by the wanted inputs, given a cotangent for each differentiable output."""
        if self.scalar:
            return [times(g, cotangents[0]) for g in kept]
        later = self.vjp.captured[len(self.captured) :]
        return self.backward([*map(elements, kept), *cotangents, *map(array_of, later)])

    def partly(
        self, arrays: Sequence[Any], places: tuple[int, ...], cotangents: Sequence[Any]
    ) -> Sequence[Any]:
        """The gradients where cotangents of these outputs alone have arrived, from the inputs."""
        vjp, count = self.vjp_of(places), len(self.operands)
        later = vjp.captured[len(self.captured) :]
        return vjp.program([*arrays[:count], *cotangents, *arrays[count:], *map(array_of, later)])

    def __call__(self, operands: Sequence[Tensor]) -> list[Tensor]:
        """The outputs for these operands, with a history where the tape is on and something requires grad."""
        inputs = [*operands, *self.captured]
        arrays = [array_of(x) for x in inputs]
        edges: tuple[Edge, ...] = ()
        if self.differentiable and STATE.grad:
            known = frozenset().union(*self.reach)
            edges = tuple([edge_of(inputs[k]) if k in known else None for k in self.wanted])
        if edges.count(None) == len(edges):
            return [Tensor(array) for array in self.program(arrays)]
        for k in self.rewritten:
            arrays[k] = arrays[k].copy()
        refusal = self.refusal
        if refusal is not None:
            results = [Tensor(array) for array in self.program(arrays)]
            node: CallNode = Refused(edges, self, refusal)
        else:
            outputs, kept = self.start(arrays)
            results = [Tensor(array) for array in outputs]
            node = made = CompiledBackward.of_call(edges, self, inputs, arrays)
            made.kept = [Tensor(g) for g in kept] if self.scalar else kept
            made.counters = [counter_of(results[k]) for k in self.kept_results]
        for place, k in enumerate(self.differentiable):
            results[k]._edge = node if node.outputs == 1 else Output(node, place)
            results[k]._requires_grad = True
        return results

    @property
    def kept_results(self) -> Sequence[int]:
        """The outputs whose elements the backward half takes."""
        if self.scalar:
            return ()
        inputs, outputs = len(self.graph.inputs), len(self.outputs)
        return [k - inputs for k in self.halves.saved if inputs <= k < inputs + outputs]

    @property
    def refusal(self) -> RetrogradError | None:
        """Why it has no derivative. A call does not mind, as long as nobody asks for it."""

        def derive() -> tuple[RetrogradError | None]:
            try:
                _ = self.joint_graph if self.scalar else self.halves
            except RetrogradError as error:
                return (error,)
            return (None,)

        return self._once("refusal", derive)[0]


def _is_scalar(output: Tensor) -> bool:
    """Whether its gradient times any cotangent is that for the cotangent: not so of a complex number, whose
    derivative need not be a complex one."""
    return output.numel() == 1 and not output.dtype.is_complex


def array_of(tensor: Tensor) -> Any:
    value = tensor._value
    if isinstance(value, Node):
        raise TraceError(
            f"a traced tensor {value.type} as an argument",
            "it was made inside a compiled function, whose trace has ended, so it stands for no value",
            "return it from that function, and use what the function returns",
        )
    return value
