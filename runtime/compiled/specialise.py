"""One specialisation of a compiled function: traced for these types and shapes, in the world as it was.

In flow a function, the structure of its arguments and their leaves (see `pytree`); out flows a
`Specialisation`, which runs the recording and puts results together in the user's structure. Placeholders
stand for the leaves while tracing: the function never sees the caller's own Tensors, so one Tensor passed
twice, or passed and captured, is two inputs. Updates in place are outputs of the graph, which are written
back after the call.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.errors import ArgumentError, DeviceError, ShapeError, TraceError, mirrored
from retrograd.compiler.ir.graph import Array
from retrograd.compiler.ops.shape import cast
from retrograd.compiler.record import NamedTuple, record
from retrograd.runtime.compiled.derivation import fresh_label
from retrograd.runtime.compiled.guards import Guards
from retrograd.runtime.compiled.recording import Recording, array_of
from retrograd.runtime.device import CPU
from retrograd.runtime.eager.inplace import assign, changed_leaf
from retrograd.runtime.eager.scalar import Scalar
from retrograd.runtime.modes import INFERENCE, STATE
from retrograd.runtime.native.placing import Placing, dense, placing
from retrograd.runtime.native.watching import Read, elements_of
from retrograd.runtime.noted import Draw
from retrograd.runtime.paths import Answers, Path
from retrograd.runtime.pytree import Structure, flatten, labels, unflatten
from retrograd.runtime.strided import DeviceArray, Layout, pointwise_strides, share_memory
from retrograd.runtime.tensor import Tensor
from retrograd.runtime.tracing import Trace

LEAVES = (Tensor, np.ndarray, float, np.floating)
"""What a compiled function computes with."""


_NO_NAME = re.compile(r"\W|_(?:_modules|_parameters|_buffers)(?=_)")
"""What labels leave out: a module's own dicts, between its name and that of a parameter."""


class Argument(NamedTuple):
    """One argument, as it was passed."""

    name: str
    structure: Structure
    leaves: range
    """Which of all leaves are its own."""


class Call(NamedTuple):
    """What a function is traced for."""

    name: str
    arguments: Sequence[Argument]
    structure: Structure
    """Of `(args, kwargs)`."""
    leaves: Sequence[Any]
    tracked: Sequence[bool]
    """For each leaf, whether derivatives by it are wanted."""
    captured: bool
    """Whether derivatives by captured Tensors that require grad are wanted, too."""
    grad: bool
    """Whether operations are recorded; without, nothing has a derivative."""
    first_only: bool
    """Whether only the first leaf of the result has a derivative."""
    reads: Sequence[Read] = ()
    """What the function may read from outside."""
    answers: Answers = ()
    """What is known of the path to go: the first answers."""


class Operand(NamedTuple):
    """The leaf at this place."""

    place: int


class Outside(NamedTuple):
    """A Tensor of the world outside."""

    tensor: Tensor


Target = Operand | Outside


@record(eq=False)
class Specialisation:
    """A function compiled for one kind of call."""

    recording: Recording
    result: Structure
    same: dict[int, Target]
    """Leaves of the result that are no new Tensors but one that was there before."""
    updated: dict[int, Target]
    """Outputs that are written back, and where."""
    guards: Guards
    """Whether the world outside is still as it was when this was traced."""
    draws: Sequence[Draw]
    """Random numbers, captured Tensors that get new elements before each call."""
    path: Path | None
    """Which way the function went, if it asked for elements."""

    def draw(self) -> None:
        """The random numbers of a call, in order. The arrays of former calls stay as they are."""
        for draw in self.draws:
            draw.tensor._value = draw.sample()

    def call(self, leaves: Sequence[Any]) -> Any:
        """The result, as Tensors with history."""
        operands = [x if isinstance(x, Tensor) else Tensor(as_array(x)) for x in leaves]
        if self.updated:
            self.arrays(leaves)
        outputs = self.recording(operands)
        for k, target in self.updated.items():
            _write_back(outputs[k], _find(target, operands))
        for k, target in self.same.items():
            outputs[k] = _find(target, operands)
        return unflatten(self.result, iter(outputs))

    def call_arrays(self, leaves: Sequence[Any]) -> Any:
        """The result, as arrays and floats."""
        return self.results(self.recording.program(self.arrays(leaves)), leaves, unboxed)

    def arrays(self, leaves: Sequence[Any]) -> list[Array]:
        """What the programs take: the arrays of leaves and captured Tensors."""
        arrays = [as_array(x) for x in (*leaves, *self.recording.captured)]
        if self.updated:
            self._check_apart(arrays)
            self._check_results(leaves)
        return arrays

    def results(self, outputs: Sequence[Array], leaves: Sequence[Any], box: Callable[[Array], Any]) -> Any:
        """What the function returns, with these outputs, boxed as Tensors or as arrays and floats."""
        found = [box(array) for array in outputs]
        if self.updated or self.same:
            operands = [x if isinstance(x, Tensor) else Tensor(as_array(x)) for x in leaves]
            for k, target in self.updated.items():
                _write_back(Tensor(outputs[k]), _find(target, operands))
            for k, target in self.same.items():
                found[k] = box(array_of(_find(target, operands)))
        return unflatten(self.result, iter(found))

    def cotangents(self, given: Any) -> list[Array]:
        """The cotangents of the differentiable outputs, from a structure like that of the result."""
        found: list[Any] = []
        flatten(given, found, LEAVES)
        outputs = self.recording.graph.outputs
        if len(found) != len(outputs) - len(self.updated):
            raise ArgumentError(
                f"{len(found)} cotangents for {len(outputs)} results",
                advice="pass one, structured like the result",
            )
        arrays = []
        for k in self.recording.differentiable:
            kind = outputs[k].type
            array = cast(as_array(found[k]), kind.dtype)
            if array.shape != kind.shape:
                raise ShapeError(
                    f"a cotangent of shape {list(array.shape)} for a result {kind}", "the shapes differ"
                )
            arrays.append(array)
        return arrays

    @property
    def renews(self) -> list[int]:
        """The operands that get a new history."""
        renewed = [t for k, t in self.updated.items() if self.recording.outputs[k].requires_grad]
        return [target.place for target in renewed if isinstance(target, Operand)]

    def _check_results(self, leaves: Sequence[Any]) -> None:
        """Raise, as at once in eager mode, if an operand that gets a new history is a leaf."""
        for k in self.renews:
            if isinstance(leaves[k], Tensor) and leaves[k].requires_grad and leaves[k].is_leaf:
                raise changed_leaf()

    def _check_apart(self, arrays: Sequence[Array]) -> None:
        """What is written back to must not be the memory of another input, which ought to see it."""
        for k in self.recording.rewritten:
            for other, array in enumerate(arrays):
                if other != k and share_memory(arrays[k], array):
                    inputs = self.recording.graph.inputs
                    raise ArgumentError(
                        f"{self.recording.name}() updates an input {inputs[k].type} in place",
                        f"another input {inputs[other].type} shares its memory",
                        "pass a copy of one of them",
                    )


def _find(target: Target, operands: Sequence[Tensor]) -> Tensor:
    return operands[target.place] if isinstance(target, Operand) else target.tensor


def _write_back(new: Tensor, target: Tensor) -> None:
    """An update under `no_grad` inside the function is one here."""
    before, STATE.grad = STATE.grad, new.requires_grad
    try:
        assign(target, new)
    finally:
        STATE.grad = before


def as_array(leaf: Any) -> Any:
    """A leaf's elements."""
    if isinstance(leaf, Tensor):
        return array_of(leaf)
    return np.asarray(leaf if isinstance(leaf, np.ndarray) else float(leaf))


def unboxed(array: Any) -> Any:
    """What somebody who passes arrays gets: 0-d ones as Python numbers."""
    array = array.host() if isinstance(array, DeviceArray) else array
    return array if array.shape else array.item()


_Kept = TypeVar("_Kept")


def followed(
    known: Iterable[tuple[_Kept, Specialisation]], leaves: Sequence[Any]
) -> tuple[_Kept | None, Answers]:
    """What is kept with the specialisation whose path these leaves take, of those made for such a call in
    such a world; None if there is none, and what was found out of the path."""
    answers: Answers = ()
    for kept, found in known:
        if found.path is None:
            return kept, ()
        if found.path.answers[: len(answers)] == answers:
            answers = found.path.taken(found.arrays(leaves))
            if answers == found.path.answers:
                return kept, answers
    return None, answers


# ---- tracing -----------------------------------------------------------------------------------------------


def specialise(function: Callable[..., Any], call: Call) -> Specialisation:
    """Run the function once on placeholders, writing down what it does."""
    names = {id(r.value): r.name for r in call.reads if isinstance(r.value, Tensor | np.ndarray)}

    def name_of(tensor: Tensor) -> str:
        name = names.get(id(tensor)) or names.get(id(tensor._value)) or "captured"
        return fresh_label(trace.builder, _identifier(name))

    trace = Trace(name_of, Path(call.answers))
    placeholders = [_placeholder(x, flag) for x, flag in zip(call.leaves, call.tracked, strict=True)]
    trace.results.update(p for p, x in zip(placeholders, call.leaves) if _is_result(x))
    args, kwargs = unflatten(call.structure, iter(placeholders))
    before = STATE.grad, STATE.inference
    STATE.grad, STATE.inference = call.grad, STATE.inference and not call.grad
    try:
        with trace:
            for argument in call.arguments:
                for place, label in zip(
                    argument.leaves, labels(argument.structure, argument.name), strict=True
                ):
                    trace.adopt(placeholders[place], fresh_label(trace.builder, _identifier(label)))
            found: list[Tensor] = []
            result = flatten(function(*args, **kwargs), found, (Tensor,))
            return _written_down(call, trace, placeholders, result, found)
    finally:
        STATE.grad, STATE.inference = before


def _written_down(
    call: Call,
    trace: Trace,
    placeholders: Sequence[Tensor],
    result: Structure,
    found: list[Tensor],
) -> Specialisation:
    """What is left when the function has returned; the trace is still open."""
    place_of = {tensor: Operand(k) for k, tensor in enumerate(placeholders)}

    def target(tensor: Tensor) -> Target:
        return place_of.get(tensor) or Outside(tensor)

    if trace.grads:
        raise TraceError(
            f"backward() inside the compiled function {call.name}",
            "it would write to .grad of tensors outside",
            "take the gradient with autograd.grad() or value_and_grad(), and return it",
        )
    same = {k: target(x) for k, x in enumerate(found) if not trace.owns(x)}
    trace.close([*map(trace.lift, found), *trace.mutated.values()])
    laid = {k: place for k, x in enumerate(found) if k not in same and (place := _laid(trace, x))}
    updated = {len(found) + k: target(x) for k, x in enumerate(trace.mutated)}
    outputs = [_shadow(x, trace) for x in (*found, *trace.mutated)]
    for shadow, x in zip(outputs[len(found) :], trace.mutated):
        shadow._requires_grad = trace.rewrote_history(x)
    for shadow in outputs[1:] if call.first_only else ():
        shadow._requires_grad = False
    captured = [x for x in trace.captured.values() if x not in place_of]
    _check_devices([*placeholders, *captured])
    known = {x for x in (*captured, *(r.value for r in call.reads)) if isinstance(x, Tensor)}
    added = [
        Read(getattr, x, "_grad", x._grad, "")
        for x in known
        if x._grad is not None and x._grad in trace.values
    ]
    for x, array in trace.seen.items():
        held = elements_of(array, None)
        added += [Read(getattr, x, "_value", array, ""), Read(elements_of, array, None, held, "")]
    guards = Guards([*call.reads, *added], captured)
    inputs = [*placeholders, *captured]
    rewritten = [k for k, x in enumerate(inputs) if x in trace.mutated]
    lying = [placing(as_array(x)) for x in (*call.leaves, *captured)]
    placings = {k: place for k, place in enumerate(lying) if place is not None and k not in rewritten}
    recording = Recording(
        call.name, trace, placeholders, captured, outputs, call.captured, rewritten, placings, laid
    )
    path = trace.path if trace.path is not None and trace.path.questions else None
    if path is not None:
        path.close(call.name, recording.graph.inputs, recording.device)
    trace.forget(placeholders)
    return Specialisation(recording, result, same, updated, guards, tuple(trace.draws), path)


def _laid(trace: Trace, tensor: Tensor) -> Placing | None:
    """How a result lies: as a copy of what eager mode would return; None if that is in order."""
    if trace.device != CPU or trace.lies_in_order(tensor):
        return None
    shape = tuple(tensor.shape)
    steps = pointwise_strides(shape, [(shape, trace.strides(tensor))])
    return None if Layout(shape, steps).contiguous else dense(shape, steps)


def _check_devices(tensors: Sequence[Tensor]) -> None:
    """All that have axes are on one device."""
    found = dict.fromkeys(x.device for x in tensors if x.ndim or isinstance(x._value, DeviceArray))
    if len(found) > 1:
        one, other = sorted(map(str, found), reverse=True)[:2]
        raise DeviceError(
            mirrored(
                "Expected all tensors to be on the same device, but found at least two devices, "
                f"{one} and {other}!"
            ),
            "what the compiled function is given and what it uses from outside is on several",
            "move it to one with .to(device)",
        )


def _shadow(tensor: Tensor, trace: Trace) -> Tensor:
    """A Tensor as it is now: outside ones get their own value and history back when the trace ends."""
    if tensor._edge is None and tensor._requires_grad:
        copy: Tensor = tensor.clone()
        return copy
    shadow = Tensor(trace.lift(tensor))
    shadow._edge, shadow._requires_grad = tensor._edge, tensor._requires_grad
    return shadow


def _placeholder(leaf: Any, tracked: bool) -> Tensor:
    """A Tensor to trace with. It has the leaf's type; its elements are not looked at."""
    kind = Scalar if isinstance(leaf, float | np.floating) else Tensor
    array = as_array(leaf)
    native = isinstance(array, DeviceArray) or dtypes.dtype(array.dtype).numpy == array.dtype
    placeholder = kind(array if native else array.astype(dtypes.dtype(array.dtype).numpy))
    placeholder._requires_grad = tracked
    placeholder._counter = INFERENCE if isinstance(leaf, Tensor) and leaf.is_inference() else None
    return placeholder


def _is_result(leaf: Any) -> bool:
    return isinstance(leaf, Tensor) and leaf.grad_fn is not None


def _identifier(label: str) -> str:
    return _NO_NAME.sub(lambda found: "_" if len(found[0]) == 1 else "", label)
