"""A compiled function as a C library: what its arguments and results are called, and the files.

In flow a specialisation, out flow a header and an archive (`runtime/native/c`). Captured Tensors are
arguments, too, unless they shall be constants.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from retrograd.compiler.backends.targets import elsewhere
from retrograd.compiler.errors import ArgumentError, DeviceError, TraceError
from retrograd.compiler.ir.graph import Array, Builder, Graph, Input, Node
from retrograd.compiler.passes.trim import trim
from retrograd.compiler.record import NamedTuple
from retrograd.runtime.compiled.recording import Recording, array_of
from retrograd.runtime.compiled.specialise import Operand, Specialisation
from retrograd.runtime.native.c.interface import Argument, is_identifier, named
from retrograd.runtime.native.c.library import library
from retrograd.runtime.native.host import host
from retrograd.runtime.pytree import labels


class Exported(NamedTuple):
    """The files of a C library."""

    header: Path
    archive: Path


def export(
    specialisation: Specialisation,
    graph: Graph,
    path: Path,
    constants: bool,
    cpu: str | None,
    triple: str | None,
) -> Exported:
    """Write `libNAME.a` and `NAME.h` for one of the graphs of a specialisation."""
    name = path.name
    if not is_identifier(name):
        raise ArgumentError(
            f"export({str(path)!r})",
            f"no function of yours in C can be called {name!r}",
            "name it like one: 'build/loss'",
        )
    _check(specialisation)
    target, processors = elsewhere(cpu, triple, host)
    recording = specialisation.recording
    results = [*_results(specialisation)]
    held = _captured(recording, graph) if constants else {}
    taken = zip(graph.inputs, _inputs(recording, graph, results))
    inputs = [argument for node, argument in taken if node not in held]
    outputs = [*_outputs(recording, graph, results)]
    arguments = [*named([*inputs, *outputs])]
    about = [
        f"{name}: {_what(recording, graph)} of {recording.name}, made by Retrograd.",
        f"Link with lib{name}.a and {processors.wants or 'nothing else'}.",
        f"For {target.triple}, {processors.words}.",
        *["What it reads from outside of the function is in it, as it was when it was made."] * bool(held),
    ]
    graph = _held(graph, held) if held else graph
    made = library(
        Graph(name, graph.inputs, graph.outputs),
        arguments[: len(inputs)],
        arguments[len(inputs) :],
        target,
        about,
        str(trim(recording.graph)),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    files = Exported(path.with_name(f"{name}.h"), path.with_name(f"lib{name}.a"))
    files.header.write_text(made.header, encoding="utf-8")
    files.archive.write_bytes(made.archive)
    return files


def _check(specialisation: Specialisation) -> None:
    """Raise where a call does more than run a program."""
    recording = specialisation.recording
    what = f"{recording.name} as a C library"
    if recording.device.type != "cpu":
        raise DeviceError(what, f"it runs on {recording.device}", "trace it with tensors on the CPU")
    if recording.drawn:
        drawn = {recording.graph.inputs[k] for k, _ in recording.drawn}
        node = next(n for n in recording.graph.nodes if drawn.intersection(n.inputs))
        why = f"{node.op.name} reads random numbers, which are drawn anew before each call"
        raise TraceError(what, why, "pass them as an argument", where=node.where)
    if specialisation.path is not None:
        asked = specialisation.path.questions[0]
        why = f"{asked.kind.__name__}() of a tensor decides which way it goes, and the code has but one"
        raise TraceError(what, why, "use where() or cond()", where=asked.where)


def _captured(recording: Recording, graph: Graph) -> dict[Node, Array]:
    """What the inputs of a graph are that stand for Tensors from outside."""
    found = dict(zip(recording.graph.inputs[len(recording.operands) :], recording.captured))
    if set(graph.inputs) - set(recording.graph.inputs):
        vjp = recording.vjp
        found |= zip(vjp.graph.inputs[len(vjp.operands) :], vjp.captured)
    return {node: np.ascontiguousarray(array_of(x)).reshape(node.shape) for node, x in found.items()}


def _held(graph: Graph, values: Mapping[Node, Array]) -> Graph:
    """The graph in which inputs are constants. The others stay as they are."""
    builder, known = Builder(), dict[Node, Node]()
    for node in graph.inputs:
        known[node] = (
            builder.constant(values[node]) if node in values else builder.input(_label(node), node.type)
        )
    for node in graph.nodes:
        with builder.at(node.where):
            known[node] = builder.node(node.op, *[known[i] for i in node.inputs])
    inputs = [known[node] for node in graph.inputs if node not in values]
    return Graph(graph.name, tuple(inputs), tuple([known[node] for node in graph.outputs]))


def _results(specialisation: Specialisation) -> Iterator[Argument]:
    """The outputs of the function itself: what it returns, and what it changes."""
    recording = specialisation.recording
    inputs = dict(zip((*recording.operands, *recording.captured), recording.graph.inputs))
    returned = labels(specialisation.result, "value")
    for k, node in enumerate(recording.graph.outputs):
        if k not in specialisation.updated:
            yield Argument(next(returned), node.type, "what it returns")
            continue
        target = specialisation.updated[k]
        changed = recording.operands[target.place] if isinstance(target, Operand) else target.tensor
        label = _label(inputs[changed])
        yield Argument(f"new_{label}", node.type, f"what becomes of {label}")


def _inputs(recording: Recording, graph: Graph, results: Sequence[Argument]) -> Iterator[Argument]:
    """What a graph takes: operands and captured Tensors, cotangents among them."""
    count = len(recording.operands)
    operands = recording.graph.inputs[:count]
    cotangents: dict[Node, Argument] = {}
    if set(graph.inputs) - set(recording.graph.inputs):
        places = recording.differentiable
        cotangents = dict(zip(recording.vjp.graph.inputs[count:], [results[k] for k in places]))
    for node in graph.inputs:
        label = _label(node)
        if node in cotangents:
            of = cotangents[node].name
            yield Argument(f"cotangent_{of}", node.type, f"the cotangent of {of}")
        else:
            yield Argument(label, node.type, "" if node in operands else "from outside of the function")


def _outputs(recording: Recording, graph: Graph, results: Sequence[Argument]) -> Iterator[Argument]:
    """What a graph gives: results, if it has those of the function, and gradients, if it has more."""
    own = recording.graph.outputs
    if graph.outputs[: len(own)] == own:
        yield from results
        gradients = graph.outputs[len(own) :]
    else:
        gradients = graph.outputs
    of = f" of {results[recording.differentiable[0]].name}" if recording.scalar else ""
    for k, node in zip(recording.wanted, gradients):
        label = _label(recording.graph.inputs[k])
        yield Argument(f"grad_{label}", node.type, f"the gradient{of} by {label}")


def _what(recording: Recording, graph: Graph) -> str:
    values = graph.outputs[: len(recording.graph.outputs)] == recording.graph.outputs
    gradients = len(graph.outputs) > (len(recording.graph.outputs) if values else 0)
    return " and ".join(["the value"] * values + ["gradients"] * gradients)


def _label(node: Node) -> str:
    assert isinstance(node.op, Input)
    return node.op.label
