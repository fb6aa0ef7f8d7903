"""Calls of compiled functions on the tape: nodes whose backward pass is native too.

In flow what a call computed and kept; out flow gradients. Native calls (`dispatch.py`) fill the slots
of a `CompiledBackward` themselves, so nothing is worked out here before somebody asks for a derivative.

The gradients of a scalar were computed together with its value: its backward pass has nothing to compute,
and with no other node in between it is one walk over the leaves (`at_once`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.adjoint import Pair
from retrograd.compiler.errors import GradientError, Location, RetrogradError, TraceError
from retrograd.compiler.ir.graph import Array, Graph, Node, Value
from retrograd.compiler.ir.quiet import quietly
from retrograd.compiler.ops.shape import cast, reshape
from retrograd.runtime.autograd.blame import origin
from retrograd.runtime.eager.inplace import add_to
from retrograd.runtime.eager.tape import Edge, GradNode, already_freed
from retrograd.runtime.modes import INFERENCE
from retrograd.runtime.strided import DeviceArray
from retrograd.runtime.tensor import Tensor


class Recording(Protocol):
    """What was called: a `recording.Recording`, which stands on a higher floor."""

    name: str
    operands: tuple[Tensor, ...]
    graph: Graph
    wanted: tuple[int, ...]
    differentiable: tuple[int, ...]
    scalar: bool
    rewritten: frozenset[int]
    drawn: tuple[tuple[int, Tensor], ...]

    @property
    def reach(self) -> tuple[frozenset[int], ...]: ...
    @property
    def joint_graph(self) -> Graph: ...
    @property
    def whole_graph(self) -> Graph: ...
    @property
    def halves(self) -> Pair: ...
    @property
    def kept_results(self) -> Sequence[int]: ...
    def vjp_of(self, places: tuple[int, ...]) -> Callable[[Sequence[Tensor]], list[Tensor]]: ...
    def partly(
        self, arrays: Sequence[Any], places: tuple[int, ...], cotangents: Sequence[Any]
    ) -> Sequence[Any]: ...
    def start(self, arrays: Sequence[Any]) -> tuple[Sequence[Any], Sequence[Any]]: ...
    def finish(self, kept: Sequence[Any], cotangents: Sequence[Any]) -> Sequence[Any]: ...


class CallNode(GradNode):
    """A call of a compiled function."""

    __slots__ = ("recording",)

    of_arrays = True
    recording: Recording

    def __init__(self, edges: tuple[Edge, ...], recording: Recording) -> None:
        super().__init__(edges)
        self.recording = recording

    @property
    def outputs(self) -> int:
        """How many of its results have a derivative."""
        return len(self.recording.differentiable)

    def name(self) -> str:
        return "".join(part.capitalize() for part in self.recording.name.split("_")) + "Backward0"


class Refused(CallNode):
    """A call that cannot be differentiated: the function has freed its own tape, say."""

    __slots__ = ("_error",)

    def __init__(self, edges: tuple[Edge, ...], recording: Recording, error: RetrogradError) -> None:
        super().__init__(edges, recording)
        self._error = error

    def backward(
        self, cotangent: Value, needed: Sequence[bool], create_graph: bool
    ) -> Sequence[Value | None]:
        raise self._error


class CompiledBackward(CallNode):
    """A call whose backward pass is native too."""

    __slots__ = ("inputs", "arrays", "versions", "counters", "kept")

    inputs: Sequence[Any]
    """What it was called with, operands and captured Tensors: Tensors, arrays, floats."""
    arrays: Sequence[Array | float] | None
    """Their elements at that time; None when they have been freed."""
    versions: Sequence[int | None]
    """How often each had been changed in place; None is never."""
    counters: Sequence[list[int]]
    """The version counters of those results whose elements are kept."""
    kept: Sequence[Any] | None
    """Of a scalar the gradients, as Tensors of nobody else; else what the backward half takes."""

    @staticmethod
    def of_call(
        edges: tuple[Edge, ...], recording: Recording, inputs: Sequence[Any], arrays: Sequence[Array]
    ) -> CompiledBackward:
        """The node of a call by Python; `kept` and `counters` are still to be filled in."""
        node = CompiledBackward(edges, recording)
        node.inputs, node.arrays = tuple(inputs), tuple(arrays)
        node.versions = tuple([_version(x) for x in inputs])
        node.counters, node.kept = (), None
        return node

    def holds(self, array: Value) -> bool:
        return False

    def free(self) -> None:
        self.arrays = self.kept = None

    def at_once(self, cotangent: Tensor | None) -> bool:
        edges = self.edges
        if self.hooks is not None:
            return False
        for leaf in edges:
            if leaf is not None and (isinstance(leaf, GradNode) or leaf._leaf is not None):
                return False
        gradients = self.kept if cotangent is None and self.recording.scalar else self._finished(cotangent)
        if gradients is None:
            return False
        self.arrays = self.kept = None
        for leaf, gradient in zip(edges, gradients):
            if leaf is not None:
                if leaf._grad is None:
                    leaf._grad = gradient
                else:
                    add_to(leaf._grad, gradient._value)
        return True

    def blamed(self, cotangent: Value) -> tuple[str, Location | None]:
        recording, values = self.recording, len(self.recording.graph.outputs)
        if recording.scalar:
            graph, arrays = recording.joint_graph, self._elements()
        else:
            given = cotangent if isinstance(cotangent, list) else [cotangent]
            kinds = [recording.graph.outputs[k].type for k in recording.differentiable]
            seeds = [np.zeros(t.shape, t.dtype.numpy) if ct is None else ct for ct, t in zip(given, kinds)]
            graph, arrays = recording.whole_graph, [*self._elements(), *map(np.asarray, seeds)]
        fits = len(arrays) == len(graph.inputs) and all(isinstance(a, np.ndarray) for a in arrays)
        return (origin(graph, values, arrays) if fits else None) or super().blamed(cotangent)

    def _finished(self, cotangent: Any) -> list[Tensor] | None:
        """The gradients, if the cotangent is just what the one differentiable result needs."""
        recording, kept = self.recording, self.kept
        if not isinstance(cotangent, Tensor) or kept is None or recording.scalar or self.outputs != 1:
            return None
        array, kind = cotangent._value, recording.graph.outputs[recording.differentiable[0]].type
        if isinstance(array, Node) or dtypes.of(array) is not kind.dtype or array.shape != kind.shape:
            return None
        self._check_kept()
        return [Tensor(gradient) for gradient in recording.finish(kept, [array])]

    def backward(
        self, cotangent: Value, needed: Sequence[bool], create_graph: bool
    ) -> Sequence[Value | None]:
        if self.arrays is None:
            raise already_freed()
        given = cotangent if isinstance(cotangent, list) else [cotangent]
        arrived = tuple(
            [k for k, ct in zip(self.recording.differentiable, given, strict=True) if ct is not None]
        )
        cotangents = self._checked([ct for ct in given if ct is not None])
        if create_graph:
            found: Sequence[Value | None] = self._recorded(arrived, cotangents)
        elif self.recording.scalar:
            gradients = self._gradients()
            return [scaled(g, cotangents[0]) if need else None for g, need in zip(gradients, needed)]
        elif len(arrived) == len(given):
            self._check_kept()
            return self.recording.finish(self.kept or (), cotangents)
        else:
            self._check_unchanged(range(len(self.versions)))
            found = self.recording.partly(self._elements(), arrived, cotangents)
        return self._reached(arrived, found)

    def _reached(self, places: Sequence[int], found: Sequence[Value | None]) -> Sequence[Value | None]:
        """The gradients of those inputs that these outputs depend on."""
        recording = self.recording
        known = frozenset().union(
            *[each for k, each in zip(recording.differentiable, recording.reach, strict=True) if k in places]
        )
        return [g if k in known else None for k, g in zip(recording.wanted, found, strict=True)]

    def _checked(self, cotangents: list[Value]) -> list[Value]:
        """The cotangents, if they are values."""
        if any(type(ct) is Node for ct in cotangents):
            raise TraceError(
                f"backward through {self.name()}, called before the function that is being compiled",
                "its values are not part of the function",
                "pass detach()ed tensors in, or make the call inside the function",
            )
        return cotangents

    def _gradients(self) -> Sequence[Array]:
        """Those of a scalar. They are given away: if they are asked for again, they are computed again."""
        kept, self.kept = self.kept, None
        if kept is not None:
            return [gradient._value for gradient in kept]
        self._check_unchanged(range(len(self.versions)))
        return self.recording.start(self._elements())[1]

    def _elements(self) -> list[Array]:
        """The inputs, as arrays."""
        return [elements(x) for x in self.arrays or ()]

    def _recorded(self, places: tuple[int, ...], cotangents: Sequence[Value]) -> list[Tensor]:
        """The gradients as Tensors with a history: the compiled derivative is called like any function."""
        recording, count = self.recording, len(self.recording.operands)
        self._check_unchanged(range(len(self.versions)))
        if any(k >= count for k in recording.rewritten):
            raise GradientError(
                f"the derivative of the derivative of {recording.name}",
                "it updates a captured tensor in place, whose former elements are gone",
                "pass the tensor in as an argument",
            )
        edge_at = dict(zip(recording.wanted, self.edges, strict=True))
        operands = [_restored(x, edge_at.get(k)) for k, x in enumerate(self._elements()[:count])]
        seeds = [ct if isinstance(ct, Tensor) else Tensor(ct) for ct in cotangents]
        now = [x._value for _, x in recording.drawn]
        try:
            for k, x in recording.drawn:
                x._value = self._elements()[k]
            return recording.vjp_of(places)([*operands, *seeds])
        finally:
            for value, (_, x) in zip(now, recording.drawn):
                x._value = value

    def _check_unchanged(self, places: Iterable[int]) -> None:
        """The inputs that are looked at again must not have been written to meanwhile."""
        for place in places:
            given, then = self.inputs[place], self.versions[place] or 0
            if not isinstance(given, Tensor) or place in self.recording.rewritten:  # of those there is a copy
                continue
            now = _version(given)
            if now != then:
                raise self._modified(self.recording.graph.inputs[place], "an input of", now, then)

    def _check_kept(self) -> None:
        """Inputs and results that the backward half takes are as they were."""
        self._check_unchanged(k for k in self.recording.halves.saved if k < len(self.versions))
        for place, counter in enumerate(self.counters):
            if counter[0]:
                result = self.recording.graph.outputs[self.recording.kept_results[place]]
                raise self._modified(result, "the result of", counter[0], 0)

    def _modified(self, node: Node, role: str, now: int, then: int) -> GradientError:
        kind = node.type
        return GradientError(
            "one of the variables needed for gradient computation has been modified by an inplace "
            f"operation: [{kind.dtype} {list(kind.shape)}], {role} {self.name()}, is at version "
            f"{now}; expected version {then} instead."
        )


def _version(x: Any) -> int:
    """How often something was changed in place; of an inference tensor, which is not looked at, never."""
    counter = x._counter if isinstance(x, Tensor) else None
    return 0 if counter is None or counter is INFERENCE else counter[0]


def elements(x: Value) -> Value:
    """An array, here or on a device."""
    return x if isinstance(x, np.ndarray | DeviceArray) else np.asarray(x)


def times(gradient: Value, cotangent: Value) -> Value:
    """The gradient times a scalar cotangent."""
    return elements(gradient * cast(reshape(cotangent, ()), dtypes.of(gradient)))


def scaled(gradient: Value, cotangent: Value) -> Value:
    """The gradient times a scalar cotangent, in its own memory."""
    if isinstance(gradient, DeviceArray):
        return times(gradient, cotangent)
    factor = cotangent.reshape(()).astype(gradient.dtype)
    return gradient if factor == 1 else quietly(np.multiply, gradient, factor, gradient)


def _restored(array: Array, edge: Edge) -> Tensor:
    """The Tensor that an operand was."""
    if isinstance(edge, Tensor):
        return edge
    tensor = Tensor(array)
    tensor._edge, tensor._requires_grad = edge, edge is not None
    return tensor
