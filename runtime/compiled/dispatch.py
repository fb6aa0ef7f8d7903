"""Calls without Python: one native callable checks, runs and boxes, and writes the history of its results.

In flow an `Entry`'s parts, out flows such a callable, or None where Python has work to do: views among the
arguments, updates in place, results that were there before, and interpreters whose objects are not known.

    direct(…)                        for `value_and_grad`, and results without a history
    direct(…, recording=recording)   for results with one
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from itertools import count
from typing import Any, NamedTuple

import numpy as np

from retrograd.compiler.dtypes import DType
from retrograd.compiler.errors import CompilerError
from retrograd.compiler.ir.graph import Type
from retrograd.runtime.compiled.history import CompiledBackward
from retrograd.runtime.compiled.recording import Recording
from retrograd.runtime.compiled.specialise import Specialisation
from retrograd.runtime.eager.tape import Output, orders
from retrograd.runtime.eager.views import View
from retrograd.runtime.native.fastcall import check
from retrograd.runtime.native.layout import layout
from retrograd.runtime.native.placing import Placing
from retrograd.runtime.native.ports import (
    ArrayPort,
    ConstantPort,
    FloatPort,
    GroupPort,
    Held,
    LeafPort,
    OutputPort,
    Port,
    TensorPort,
    UpdatePort,
    Viewing,
    WeakPort,
    leaves_of,
)
from retrograd.runtime.native.program import Executable, NativeProgram
from retrograd.runtime.native.returns import (
    Changed,
    Content,
    Count,
    Given,
    Inner,
    Leaf,
    Listed,
    Made,
    Mapped,
    Next,
    Owner,
    Returns,
    Shared,
)
from retrograd.runtime.native.watching import Read, Watch, watch
from retrograd.runtime.pytree import LEAF, Identity, Structure
from retrograd.runtime.tensor import Tensor

_FRESH = {
    "_requires_grad": False,
    "_edge": None,
    "_grad": None,
    "_counter": None,
    "_view": None,
    "_leaf": None,
}
"""The slots of a Tensor without history, besides its value."""

_VIEWING = Viewing("_view", View, "base", "version", "_counter")
"""How a Tensor is a view of another."""

_FLOATS = (float, np.float64, np.float32)
_SINGLE = (bool, type(None), type(...), DType)
"""Classes of constants that are there only once."""
_BY_VALUE = (int, str, bytes, float, complex, range)
"""Classes whose comparison runs no Python code."""

_GROUPS: dict[type, Callable[[tuple[Any, ...], tuple[Returns, ...]], Returns]] = {
    tuple: lambda names, members: members,
    list: lambda names, members: Listed(members),
    dict: Mapped,
}
"""How containers are given back."""


class _NotPlain(Exception):
    """Something that only Python can do."""


def direct(
    found: Specialisation,
    program: Executable,
    structure: Structure,
    leaves: Sequence[Any],
    results: Sequence[Structure],
    tensors: bool,
    reads: Sequence[Read],
    recording: Recording | None = None,
) -> Callable[..., Any] | None:
    """The native callable for calls like this one in the world as it was read, for an `InlineCache`. It
    returns `results`: one structure, or a tuple of several."""
    if found.updated or found.same or layout() is None or not isinstance(program, NativeProgram):
        return None
    try:
        names, arguments = _names(structure), list(_arguments(structure, iter(_lying(leaves, program))))
        held: list[Held] = [
            (x, _leaf(Lying(x, program.placings.get(k))))
            for k, x in enumerate(found.recording.captured, len(leaves))
        ]
        outputs = [_output(node.type, tensors) for node in program.graph.outputs]
        give: Callable[[int], Returns] = int
        if recording is not None:
            outputs = _bare_residuals(recording, outputs)
            give = _History(recording, [*leaves_of(arguments), *(port for _, port in held)]).result
        numbers = map(give, count())
        returns = tuple([_returns(result, numbers) for result in results])
    except _NotPlain:
        return None
    whole = returns if len(returns) > 1 else returns[0]
    guards = watch(reads, found.guards.hold)
    return program.bind(arguments, outputs, whole, _elsewhere, names=names, held=held, guards=guards)


def _elsewhere(*args: Any, **kwargs: Any) -> Any:
    raise CompilerError("a call that is none of a native callable's own")


def updating(
    program: Executable,
    structure: Structure,
    leaves: Sequence[Any],
    held: Sequence[Tensor | np.ndarray],
    result: Structure,
    updates: Mapping[int, int],
    miss: Callable[..., Any],
    guards: Watch | None,
) -> tuple[Callable[..., Any], Callable[..., Any]] | None:
    """Two native callables: one that only says whether a call is like this one, and the call itself, which
    returns `result` and writes the outputs that `updates` maps to an input there."""
    if not isinstance(program, NativeProgram):
        return None
    try:
        arguments = list(_arguments(structure, iter(_lying(leaves, program))))
        things: list[Held] = [
            (x, _leaf(Lying(x, program.placings.get(k)))) for k, x in enumerate(held, len(leaves))
        ]
        returns = _returns(result, count())
        outputs: list[OutputPort] = [
            UpdatePort(updates[k], node.type.nbytes, k in program.straight)
            if k in updates
            else _output(node.type, True)
            for k, node in enumerate(program.graph.outputs)
        ]
    except _NotPlain:
        return None
    call = program.bind(arguments, outputs, returns, miss, held=things, guards=guards)
    return check(arguments, things, guards), call


# ---- what goes in ------------------------------------------------------------------------------------------


def _names(structure: Structure) -> tuple[str, ...]:
    """Of the arguments that are passed by name."""
    names: tuple[str, ...] = structure[2][1][1]
    return names


class Lying(NamedTuple):
    """A leaf, and where its elements lie; None is in order."""

    leaf: Any
    place: Placing | None


def _lying(leaves: Sequence[Any], program: NativeProgram) -> list[Lying]:
    return [Lying(leaf, program.placings.get(k)) for k, leaf in enumerate(leaves)]


def _arguments(structure: Structure, leaves: Iterator[Lying]) -> Iterator[Port]:
    """Positional arguments, then those by name."""
    for group in structure[2]:
        for part in group[2]:
            yield _argument(part, leaves)


def _argument(part: Structure, leaves: Iterator[Lying]) -> Port:
    if part is LEAF:
        return _leaf(next(leaves))
    if isinstance(part, Identity):
        return WeakPort(part.value) if part.weak else ConstantPort(part.value)
    if len(part) == 2 and part[0] is not slice:
        return _constant(part[1])
    if len(part) == 3 and part[0] in (tuple, list, dict):
        kind, names, members = part
        return GroupPort(kind, names, tuple([_argument(member, leaves) for member in members]))
    raise _NotPlain


def _constant(value: Any) -> Port:
    """What is compared by identity, or by value without running Python code. Zeros are equal that are not the
    same."""
    if type(value) in _SINGLE or isinstance(value, Enum):
        return ConstantPort(value)
    if type(value) not in _BY_VALUE and not isinstance(value, np.generic | np.dtype):
        raise _NotPlain
    return ConstantPort(value, isinstance(value, str | bytes | np.dtype) or bool(value != 0))


def _leaf(lying: Lying) -> LeafPort:
    leaf = lying.leaf
    if type(leaf) in _FLOATS:
        return FloatPort(np.dtype(np.float64), type(leaf))
    tensor = isinstance(leaf, Tensor)
    value = leaf._value if tensor else leaf
    if type(value) is not np.ndarray or not value.dtype.isnative:
        raise _NotPlain
    if not tensor:
        return ArrayPort(value.dtype, value.shape, lying.place)
    also = {"_requires_grad": leaf._requires_grad}
    return TensorPort(type(leaf), "_value", value.dtype, value.shape, also, lying.place, _VIEWING)


# ---- what comes out ----------------------------------------------------------------------------------------


def _output(kind: Type, tensor: bool) -> OutputPort:
    dtype = kind.dtype.numpy
    if tensor:
        return TensorPort(Tensor, "_value", dtype, kind.shape, _FRESH)
    if kind.shape:
        return ArrayPort(dtype, kind.shape)
    if dtype not in (np.float64, np.float32):
        raise _NotPlain
    return FloatPort(dtype)


def _returns(result: Structure, numbers: Iterator[Returns]) -> Returns:
    if result is LEAF:
        return next(numbers)
    if isinstance(result, Identity) or result[0] is slice:
        raise _NotPlain
    if len(result) == 2:
        return Given(result[1])
    kind, names, parts = result
    members = tuple([_returns(part, numbers) for part in parts])
    if kind not in _GROUPS:
        raise _NotPlain
    return _GROUPS[kind](names, members)


# ---- history -----------------------------------------------------------------------------------------------


def _bare_residuals(recording: Recording, outputs: Sequence[OutputPort]) -> list[OutputPort]:
    """What the backward half takes besides results need not be Tensors. Gradients of a scalar are: they may
    become some leaf's `.grad`."""
    results = len(outputs) if recording.scalar else len(recording.outputs)
    residuals = [ArrayPort(x.dtype, x.shape) for x in outputs[results:] if isinstance(x, TensorPort)]
    return [*outputs[:results], *residuals]


class _History:
    """What native code puts together around the results of one call. `ports` are those of all leaves."""

    def __init__(self, recording: Recording, ports: Sequence[LeafPort]) -> None:
        self._recording = recording
        self._counters = {k: Shared(Listed((Given(0),))) for k in recording.kept_results}
        seen = [(k, port) for k, port in enumerate(ports) if not isinstance(port, ConstantPort | WeakPort)]
        elements = [_elements(k, port) for k, port in seen]
        slots: dict[str, Returns] = {
            "order": Next(orders),
            "edges": tuple([_edge(*seen[k]) for k in recording.wanted]),
            "hooks": None,
            "recording": Given(recording),
            "inputs": tuple([Leaf(k) for k, _ in seen]),
            "arrays": tuple(elements),
            "versions": tuple([_version(k, port) for k, port in seen]),
            "counters": tuple(self._counters.values()),
            "kept": tuple(self._kept(elements)),
        }
        self._node = Shared(Made(CompiledBackward, slots))

    def _kept(self, elements: Sequence[Returns]) -> Iterator[Returns]:
        """What the backward pass starts from."""
        recording = self._recording
        if recording.scalar:
            yield from range(len(recording.outputs), len(recording.outputs) + len(recording.wanted))
            return
        for place in recording.halves.saved:
            yield elements[place] if place < len(elements) else Inner(place - len(elements))

    def result(self, place: int) -> Returns:
        """An output with its history."""
        slots: dict[str, Returns] = {}
        differentiable = self._recording.differentiable
        if place in differentiable:
            slots |= {"_edge": self._edge(differentiable.index(place)), "_requires_grad": Given(True)}
        if place in self._counters:
            slots["_counter"] = self._counters[place]
        return Changed(place, Tensor, slots)

    def _edge(self, place: int) -> Returns:
        if len(self._recording.differentiable) == 1:
            return self._node
        slots: dict[str, Returns] = {
            "order": Next(orders),
            "edges": (self._node,),
            "hooks": None,
            "place": Given(place),
        }
        return Made(Output, slots)


def _elements(number: int, port: LeafPort) -> Returns:
    return Leaf(number) if isinstance(port, FloatPort) else Content(number)


def _edge(number: int, port: LeafPort) -> Returns:
    """Where the cotangent of a leaf that requires grad goes."""
    assert isinstance(port, TensorPort)
    return Owner(number, port.cls, "_edge")


def _version(number: int, port: LeafPort) -> Returns:
    return Count(number, port.cls, "_counter") if isinstance(port, TensorPort) else None
