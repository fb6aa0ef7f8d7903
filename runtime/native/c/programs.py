"""The programs of a graph for a C library: LLVM text, and data that nobody writes to.

In flow a graph, out flows what calls it: one program, or, where it has loops, several and the words by which
`looping.py` goes through them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from retrograd.compiler.backends.cpu import Target
from retrograd.compiler.backends.script import Word
from retrograd.compiler.errors import CompilerError, TraceError
from retrograd.compiler.ir.graph import Array, Graph, Node
from retrograd.compiler.native.lowering import text
from retrograd.compiler.ops.loop import Loop, Result
from retrograd.compiler.passes.fission import fission
from retrograd.compiler.passes.trim import read_of
from retrograd.compiler.pipeline import compile_graph
from retrograd.compiler.record import NamedTuple
from retrograd.runtime.native.c import turning
from retrograd.runtime.native.writing import Part, Written

LOOPS, PLAN = "retrograd_loops", "plan"
"""What goes through loops, and its words."""
_WORD = 8


class Inside(NamedTuple):
    """The address so many bytes behind that of a table."""

    table: str
    offset: int


@dataclass
class Programs:
    """All that a library has besides its entry."""

    name: str
    target: Target
    texts: list[str] = field(default_factory=list)
    """Modules of programs."""
    driver: str = ""
    """That of what goes through loops."""
    tables: dict[str, Sequence[Word | Inside]] = field(default_factory=dict)
    """Words by name: numbers, and names of functions or data whose addresses they become."""
    start: int = 0
    """Where in its table what the library calls begins, in bytes."""
    arrays: dict[str, Array] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    """What the flags of all programs mean, in order."""

    def add(self, graph: Graph) -> Part:
        """Compile a graph: its programs, and how to call it.

        Raises TraceError, at the user's line, for what needs a process.
        """
        if _has_loops(graph):
            graph = fission(graph)
        _check(graph)
        if not _has_loops(graph):
            return self.compiled(graph)
        written = _Written(graph, self)
        words: list[Word | Inside] = list(written.words)
        for k in written.inner:
            place = written.words[k]
            assert isinstance(place, int)
            words[k] = Inside(PLAN, place)
        self.tables[PLAN] = words
        self.driver = text(turning.ALL, {})
        self.start = _WORD * written.plan.word
        return Part(LOOPS, PLAN, [], written.arena_bytes, 0, [])

    def compiled(self, graph: Graph) -> Part:
        """The program of a graph without loops."""
        name, pieces = f"{self.name}.{len(self.texts)}", list[str]()
        compiled = compile_graph(Graph(name, graph.inputs, graph.outputs), self.target, give=pieces.append)
        constants = [f"constant.{len(self.arrays) + k}" for k in range(len(compiled.constants))]
        self.arrays.update(zip(constants, compiled.constants, strict=True))
        self.errors += [str(check.error()) for check in compiled.checks]
        script, context = compiled.script, ""
        if script is not None:
            context = f"words.{len(self.tables)}"
            self.tables[context] = script.words
        else:
            self.texts += filter(None, [*pieces, compiled.rest])
        symbol = script.routine if script else compiled.symbol
        arena = compiled.loops.arena_bytes
        return Part(symbol, context or 0, constants, arena, len(compiled.checks), [])


class _Written(Written):
    """Loops, written down with names for addresses."""

    def __init__(self, graph: Graph, programs: Programs) -> None:
        self._programs = programs
        super().__init__(graph, {})

    def part(self, graph: Graph, updates: Mapping[int, int]) -> Part:
        return self._programs.compiled(graph)

    def host(self, node: Node) -> Word:
        raise CompilerError(f"{node.op.name} in a loop", "it should have been refused")


def _check(graph: Graph) -> None:
    """Raise where an op has no code, or needs memory that nobody can count before."""
    for node in graph.nodes:
        if node.op.hosted and not isinstance(node.op, Loop | Result):
            kinds = ", ".join(str(i.type) for i in node.inputs)
            why = "it is LAPACK's, or NumPy's, and a library that is alone has neither"
            raise TraceError(
                f"{node.op.name}({kinds}) in a C library", why, "compute it outside", where=node.where
            )
        if isinstance(node.op, Loop):
            _check(node.op.body)
            rows = range(node.op.carried, node.op.count)
            if not isinstance(node.op.turns, int) and read_of(graph, node) & set(rows):
                raise TraceError(
                    "a loop in a C library",
                    "it keeps something of each turn, and nobody knows how many there will be",
                    "export its value alone, with of='graph', or use scan()",
                    where=node.where,
                )


def _has_loops(graph: Graph) -> bool:
    return any(isinstance(node.op, Loop) for node in graph.nodes)
