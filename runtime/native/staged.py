"""A graph with ops that NumPy evaluates (LAPACK's) as something to call: programs, and those ops between.

In flow arrays, out flow arrays, as of a `NativeProgram`; only the calls are Python's. The stages are those of
`compiler/passes/hosted.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from retrograd.compiler.errors import LinearAlgebraError, mirrored
from retrograd.compiler.ir.graph import Array, Graph, Node, apply
from retrograd.compiler.ir.loops import Program
from retrograd.compiler.ir.quiet import quietly
from retrograd.compiler.passes.hosted import Stage, stages
from retrograd.runtime.native.small import program as small

if TYPE_CHECKING:
    from retrograd.runtime.native.program import Executable


class Staged:
    """What can be read of a graph that is several programs."""

    graph: Graph
    programs: list[Executable]
    """What is compiled, in order."""

    @property
    def loops(self) -> Program:
        """The loops of all stages."""
        parts = [program.loops for program in self.programs]
        return Program(
            self.graph.name,
            tuple(kernel for part in parts for kernel in part.kernels),
            tuple(buffer for part in parts for buffer in part.inputs),
            tuple(buffer for part in parts for buffer in part.constants),
            tuple(buffer for part in parts for buffer in part.outputs),
        )

    @property
    def llvm(self) -> str:
        return "\n".join(program.llvm for program in self.programs)

    @property
    def assembly(self) -> str:
        return "\n".join(program.assembly for program in self.programs)


class StagedProgram(Staged):
    """A compiled graph of several stages. Calling it is thread-safe.

    A call raises LinearAlgebraError, at the line that asked for it, where LAPACK finds no answer.
    """

    def __init__(self, graph: Graph, compiled: Callable[[Graph], Executable]) -> None:
        self.graph = graph
        self._stages: list[tuple[Stage, Executable | None]] = [
            (stage, compiled(stage.graph) if stage.gives else None) for stage in stages(graph)
        ]
        self.programs = [program for _, program in self._stages if program is not None]

    def __call__(self, arrays: Sequence[Any]) -> list[Any]:
        """The outputs, as fresh C-contiguous arrays. The inputs' types are those of the graph's inputs."""
        known: dict[Node, Any] = dict(zip(self.graph.inputs, arrays, strict=True))
        for stage, program in self._stages:
            if program is not None:
                known |= zip(stage.gives, program([known[n] for n in stage.takes]), strict=True)
            known |= {n: evaluated(n, [known[i] for i in n.inputs]) for n in stage.hosted}
        return [np.array(known[n], order="C") if n.op.hosted else known[n] for n in self.graph.outputs]


def evaluated(node: Node, operands: Sequence[Array]) -> Any:
    """What a hosted op gives, or its error, at the line that asked for it."""
    try:
        compute = small.value(node.op, operands)
        return apply(node.op, *operands) if compute is None else quietly(compute, *operands)
    except LinearAlgebraError as told:
        raise LinearAlgebraError(mirrored(str(told)), where=node.where) from None
