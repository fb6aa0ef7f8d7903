"""A graph as a C library: header and archive, by the pipeline that makes all code.

In flow a graph with names for what it takes and gives; out flow text and bytes, the same ones on every
machine.
"""

from __future__ import annotations

from collections.abc import Sequence

from retrograd.compiler.backends.cpu import Target
from retrograd.compiler.backends.joining import joined
from retrograd.compiler.ir.graph import Graph
from retrograd.compiler.record import NamedTuple
from retrograd.runtime.native.c.archive import archive
from retrograd.runtime.native.c.entry import entry, workspace_bytes
from retrograd.runtime.native.c.header import header
from retrograd.runtime.native.c.interface import Argument, Interface
from retrograd.runtime.native.c.programs import Programs


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
    name, programs = graph.name, Programs(graph.name, target)
    part = programs.add(graph)
    room = workspace_bytes(part.arena_bytes)
    interface = Interface(name, tuple(inputs), tuple(outputs), tuple(programs.errors), room)
    functions = name, f"{name}_error"
    own = [entry(interface, part, programs), *filter(None, [programs.driver])]
    members = joined(name, own, programs.texts, target, functions)
    return Library(header(interface, about, shown), archive(members, apple="apple" in target.triple))
