"""A graph as a C library: header and archive, by the pipeline that makes all code.

In flow a graph with names for what it takes and gives; out flow text and bytes. What is not there without a
process of this package is refused: LAPACK's ops, which NumPy computes.
"""

from __future__ import annotations

from collections.abc import Sequence

from retrograd.compiler.backends.cpu import Target
from retrograd.compiler.backends.joining import joined
from retrograd.compiler.errors import TraceError
from retrograd.compiler.ir.graph import Graph
from retrograd.compiler.ops.loop import Loop, Result
from retrograd.compiler.pipeline import compile_graph
from retrograd.compiler.record import NamedTuple
from retrograd.runtime.native.c.archive import archive
from retrograd.runtime.native.c.entry import Callee, entry, workspace_bytes
from retrograd.runtime.native.c.header import header
from retrograd.runtime.native.c.interface import Argument, Interface


class Library(NamedTuple):
    """What is written to files."""

    header: str
    archive: bytes


def library(
    graph: Graph,
    inputs: Sequence[Argument],
    outputs: Sequence[Argument],
    target: Target,
    about: Sequence[str],
    shown: str,
) -> Library:
    """The library whose function has the graph's name. `about` and `shown` are for the header.

    Raises TraceError, at the user's line, for an op that is not in compiled code.
    """
    name = graph.name
    _check(graph)
    callee, errors = _compiled(Graph(f"{name}.program", graph.inputs, graph.outputs), target)
    interface = Interface(name, tuple(inputs), tuple(outputs), errors, workspace_bytes(callee.arena_bytes))
    functions = name, f"{name}_error"
    code = joined([entry(interface, callee), *callee.modules], target, functions)
    apple = "apple" in target.triple
    symbols = [f"_{each}" for each in functions] if apple else functions
    text = header(interface, about, shown)
    return Library(text, archive(f"{name[:13]}.o", code, symbols, apple=apple))


def _check(graph: Graph) -> None:
    for node in graph.nodes:
        if node.op.hosted and not isinstance(node.op, Loop | Result):
            kinds = ", ".join(str(i.type) for i in node.inputs)
            raise TraceError(
                f"{node.op.name}({kinds}) in a C library",
                "LAPACK does it, which a library that is alone has not",
                "export a function without it",
                where=node.where,
            )
        if isinstance(node.op, Loop):
            _check(node.op.body)


def _compiled(graph: Graph, target: Target) -> tuple[Callee, tuple[str, ...]]:
    """The program, and what its flags mean."""
    modules: list[str] = []
    compiled = compile_graph(graph, target, give=modules.append)
    script, errors = compiled.script, tuple(str(check.error()) for check in compiled.checks)
    symbol = script.routine if script else compiled.symbol
    modules += [] if script else filter(None, [compiled.rest])
    context = script.words if script else ()
    arena = compiled.loops.arena_bytes
    return Callee(modules, symbol, context, compiled.constants, arena, len(errors)), errors
