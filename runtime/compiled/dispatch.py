"""Calls without Python: one native callable checks, runs and boxes, and writes the history of its results.

In flow an `Entry`'s parts, out flows such a callable, or None where Python has work to do: what cannot be
said in ports and returns (`plain.py`), updates of what a derivative looks at later, and interpreters whose
objects are not known.

    direct(…)                        for `value_and_grad`, and results without a history
    direct(…, recording=recording)   for results with one
    updating(…)                      for training steps
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import count
from typing import Any

import numpy as np

from retrograd.compiler.errors import CompilerError
from retrograd.runtime.compiled.history import CompiledBackward
from retrograd.runtime.compiled.plain import (
    NotPlain,
    arguments_of,
    fresh,
    held_by,
    names_of,
    output,
    returns_of,
)
from retrograd.runtime.compiled.recording import Recording
from retrograd.runtime.compiled.specialise import Operand, Specialisation, Target
from retrograd.runtime.eager.tape import Output, orders
from retrograd.runtime.native.fastcall import check
from retrograd.runtime.native.layout import layout
from retrograd.runtime.native.ports import (
    AddressPort,
    ArrayPort,
    ConstantPort,
    DrawPort,
    FloatPort,
    Held,
    LeafPort,
    OutputPort,
    Port,
    TensorPort,
    UpdatePort,
    WeakPort,
    leaves_of,
)
from retrograd.runtime.native.program import Bindable, Executable, NativeProgram
from retrograd.runtime.native.returns import (
    Bumped,
    Changed,
    Content,
    Count,
    Given,
    Inner,
    Leaf,
    Listed,
    Made,
    Next,
    Owner,
    Returns,
    Shared,
)
from retrograd.runtime.native.watching import Read, Watch, watch
from retrograd.runtime.noted import Draw
from retrograd.runtime.pytree import Structure
from retrograd.runtime.strided import DeviceArray
from retrograd.runtime.tensor import Tensor


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
    returns `results`: one structure, or a tuple of several; or MISSED."""
    if layout() is None or (recording and found.updated) or found.renews:
        return None
    if not isinstance(program, NativeProgram | Bindable):  # the protocol is asked last: it takes longest
        return None
    captured = found.recording.captured
    updates = {k: _input(target, captured, len(leaves)) for k, target in found.updated.items()}
    try:
        arguments = arguments_of(structure, leaves, program, updates.values())
        kept = recording is not None
        held = held_by(captured, len(leaves), program, updates.values(), found.draws, kept)
        outputs = _outputs(program, tensors, updates)
        seen = _seen(arguments, held)
        give: Callable[[int], Returns] = int
        if recording is not None:
            outputs = _bare_residuals(recording, outputs)
            give = _History(recording, seen).result
        same = {
            k: _same(_input(target, captured, len(leaves)), seen, tensors, len(results) == 1)
            for k, target in found.same.items()
        }
        numbers = iter([same[k] if k in same else give(k) for k in range(len(outputs)) if k not in updates])
        returns = tuple([returns_of(result, numbers) for result in results])
    except NotPlain:
        return None
    whole = _bumped(returns if len(returns) > 1 else returns[0], updates.values(), seen)
    guards = watch([*reads, *program.reads], found.guards.hold)
    names = names_of(structure)
    return program.bind(arguments, outputs, whole, elsewhere, names=names, held=held, guards=guards)


def variant(program: Executable, leaves: Sequence[Any]) -> Hashable:
    """What tells native callables for the same kinds of arguments apart: on a GPU the streams that are
    chosen, and which Tensors are views or another stream's."""
    if isinstance(program, NativeProgram) or not isinstance(program, Bindable):
        return None
    apart = [
        x._view is not None or x._value.links() is None
        for x in leaves
        if isinstance(x, Tensor) and isinstance(x._value, DeviceArray)
    ]
    return tuple([id(read.value) for read in program.reads]), tuple(apart)


MISSED = object()
"""What a native callable says to a call that is none of its own."""


def elsewhere(*args: Any, **kwargs: Any) -> Any:
    """A call that nothing native makes."""
    return MISSED


def updating(
    program: Executable,
    structure: Structure,
    leaves: Sequence[Any],
    held: Sequence[Tensor | np.ndarray],
    draws: Sequence[Draw],
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
        arguments = arguments_of(structure, leaves, program, updates.values())
        things = held_by(held, len(leaves), program, updates.values(), draws)
        returns = returns_of(result, count())
        outputs = _outputs(program, True, updates)
    except NotPlain:
        return None
    returns = _bumped(returns, updates.values(), _seen(arguments, things))
    call = program.bind(arguments, outputs, returns, miss, held=things, guards=guards)
    return check(arguments, [each for each in things if not isinstance(each[1], DrawPort)], guards), call


_TENSORS = TensorPort | AddressPort
"""Ports of Tensors: here, and on a GPU."""
Seen = tuple[int, LeafPort]
"""A leaf that the program sees, by its number among all leaves, constants included."""


def _seen(arguments: Sequence[Port], held: Sequence[Held]) -> list[Seen]:
    """One for each input of the program."""
    ports = [*leaves_of(arguments), *(port for _, port in held)]
    return [(k, port) for k, port in enumerate(ports) if not isinstance(port, ConstantPort | WeakPort)]


def _input(target: Target, captured: Sequence[Tensor], operands: int) -> int:
    """Which input of the program a Tensor is."""
    if isinstance(target, Operand):
        return target.place
    return operands + [x is target.tensor for x in captured].index(True)


def _outputs(program: Bindable, tensors: bool, updates: Mapping[int, int]) -> list[OutputPort]:
    return [
        UpdatePort(updates[k], node.type.nbytes, k in program.straight)
        if k in updates
        else output(node.type, tensors, program, k)
        for k, node in enumerate(program.graph.outputs)
    ]


def _bumped(returns: Returns, places: Iterable[int], seen: Sequence[Seen]) -> Returns:
    """The same, noting that these inputs have been changed in place."""
    changed = [seen[place] for place in dict.fromkeys(places)]
    counters = [(k, port.cls, "_counter") for k, port in changed if isinstance(port, _TENSORS)]
    return Bumped(returns, tuple(counters)) if counters else returns


def _same(place: int, seen: Sequence[Seen], tensors: bool, itself: bool) -> Returns:
    """A result that is no new Tensor but an input: `itself`, or another object with its elements."""
    number, port = seen[place]
    if isinstance(port, FloatPort | ConstantPort | WeakPort | DrawPort):
        raise NotPlain
    if not tensors and (isinstance(port, AddressPort) or not port.shape):
        raise NotPlain
    if not tensors:
        return Content(number)
    if itself and isinstance(port, _TENSORS):
        return Leaf(number)
    return Made(Tensor, {"_value": Content(number), **{slot: Given(x) for slot, x in fresh().items()}})


# ---- history -----------------------------------------------------------------------------------------------


def _bare_residuals(recording: Recording, outputs: Sequence[OutputPort]) -> list[OutputPort]:
    """What the backward half takes besides results need not be Tensors. Gradients of a scalar are: they may
    become some leaf's `.grad`."""
    results = len(outputs) if recording.scalar else len(recording.outputs)
    return [*outputs[:results], *map(_bare, outputs[results:])]


def _bare(port: OutputPort) -> OutputPort:
    match port:
        case TensorPort(dtype=dtype, shape=shape, place=place):
            return ArrayPort(dtype, shape, place)
        case AddressPort(links=links, nbytes=nbytes, source=source):
            return AddressPort(links[1:], nbytes, source)
    raise CompilerError(f"a residual comes out as {type(port).__name__}")


class _History:
    """What native code puts together around the results of one call."""

    def __init__(self, recording: Recording, seen: Sequence[Seen]) -> None:
        self._recording = recording
        self._counters = {k: Shared(Listed((Given(0),))) for k in recording.kept_results}
        elements = [_elements(k, port) for k, port in seen]
        known = frozenset().union(*recording.reach)
        slots: dict[str, Returns] = {
            "order": Next(orders),
            "edges": tuple([_edge(*seen[k]) if k in known else None for k in recording.wanted]),
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
            "edges": (self._node,),  # made first, to come after this one in a backward pass
            "order": Next(orders),
            "hooks": None,
            "place": Given(place),
        }
        return Made(Output, slots)


def _elements(number: int, port: LeafPort) -> Returns:
    return Leaf(number) if isinstance(port, FloatPort) else Content(number)


def _edge(number: int, port: LeafPort) -> Returns:
    """Where the cotangent of a leaf that requires grad goes."""
    assert isinstance(port, _TENSORS)
    return Owner(number, port.cls, "_edge")


def _version(number: int, port: LeafPort) -> Returns:
    return Count(number, port.cls, "_counter") if isinstance(port, _TENSORS) else None
