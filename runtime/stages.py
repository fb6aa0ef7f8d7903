"""The stages that a compiled function goes through, to be read: graphs, loops, LLVM text, assembly.

In flow a `Recording`; out flow texts and objects with a text. A new stage is a property here.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from retrograd.compiler.ir.graph import Graph
from retrograd.runtime.program import NativeProgram
from retrograd.runtime.recording import Recording

if TYPE_CHECKING:
    from retrograd.compiler.ir import loops


class Program:
    """One specialisation of a compiled function, ready to run. Its stages are written out when they are
    looked at."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._native: NativeProgram = recording.joint if recording.scalar else recording.program

    @property
    def graph(self) -> Graph:
        """What the function computes."""
        return self._recording.graph

    @property
    def adjoint(self) -> Graph:
        """Its gradients, from its inputs and the cotangents of its results; simplified."""
        return _simplified(self._recording.vjp.graph)

    @property
    def joint(self) -> Graph:
        """Value and gradients as one graph: for a scalar what `value_and_grad` runs, else with cotangents.
        Simplified."""
        whole = self._recording.joint_graph if self._recording.scalar else self._recording.whole_graph
        return _simplified(whole)

    @property
    def loops(self) -> loops.Program:
        """The loops of what is run: value and gradients of a scalar function, else the value."""
        return self._native.loops

    @property
    def llvm(self) -> str:
        """LLVM's text of the same."""
        return self._native.llvm

    @property
    def assembly(self) -> str:
        """Its machine code as text."""
        return self._native.assembly

    def __str__(self) -> str:
        return str(self.joint)


def _simplified(graph: Graph) -> Graph:
    passes = "retrograd.compiler.passes"  # late: calls do without
    rebuild = import_module(f"{passes}.rebuild").rebuild
    simplified: Graph = rebuild(graph, import_module(f"{passes}.simplify").Simplifying())
    return simplified
