"""The stages that a compiled function goes through, to be read: graphs, loops, LLVM text, assembly, PTX.

In flow a `Recording`; out flow texts and objects with a text. A new stage is a property here.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from os import PathLike
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any

from retrograd.compiler.errors import ArgumentError, GradientError
from retrograd.compiler.ir.graph import Graph
from retrograd.runtime import precision
from retrograd.runtime.compiled.recording import Recording
from retrograd.runtime.compiled.specialise import Specialisation
from retrograd.runtime.native.program import Executable

if TYPE_CHECKING:
    from retrograd.compiler.ir import loops
    from retrograd.runtime.compiled.exporting import Exported


class Program:
    """One specialisation of a compiled function, ready to run. Its stages are written out when they are
    looked at."""

    def __init__(self, specialisation: Specialisation) -> None:
        self._specialisation = specialisation
        self._recording = recording = specialisation.recording
        self.path = str(specialisation.path or "")
        """Which way the function went, a line for each element that it asked for."""
        self._run: Executable = recording.joint if recording.scalar else recording.program

    def __reduce__(self) -> Any:
        raise ArgumentError(
            "a copy or a pickle of a compiled program",
            "it is machine code in the memory of this process",
            "keep a text, as str(program.graph) or program.llvm, or trace the function again",
        )

    @property
    def graph(self) -> Graph:
        """What the function computes."""
        trimmed: Graph = _late("trim").trim(self._recording.graph)
        return trimmed

    @property
    def adjoint(self) -> Graph:
        """Its gradients, from its inputs and the cotangents of its results; simplified."""
        return _simplified(self._recording.vjp.graph)

    @property
    def joint(self) -> Graph:
        """Value and gradients as one graph: for a scalar what `value_and_grad` runs, else with cotangents.
        Simplified."""
        return _simplified(_WHOLE["joint"](self._recording))

    @property
    def loops(self) -> loops.Program:
        """The loops of what is run: value and gradients of a scalar function, else the value."""
        return self._run.loops

    @property
    def llvm(self) -> str:
        """LLVM's text of the same."""
        return self._run.llvm

    @property
    def assembly(self) -> str:
        """Its machine code as text; PTX, where it runs on a GPU."""
        return self._run.assembly

    def ptx(self, arch: str = "sm_90", of: str = "") -> str:
        """What it is for an NVIDIA GPU: kernels, one for each cluster, named after their ops. Neither a GPU
        nor a driver is needed. `of` names the graph, the adjoint or the joint; without it, what is run.

        Raises ArgumentError for a GPU that is not known, or another name.
        """
        graph = self._whole("ptx", of)
        graphs = _late("hosted").compiled_graphs(graph)
        compile_for_gpu = import_module("retrograd.compiler.pipeline").compile_for_gpu
        return "\n".join(compile_for_gpu(part, arch, tf32=precision.tf32).ptx for part in graphs)

    def export(
        self,
        path: str | PathLike[str],
        of: str = "",
        *,
        constants: bool = False,
        cpu: str | None = None,
        target: str | None = None,
    ) -> Exported:
        """Write it as a C library that needs nothing else: for `"build/loss"` the archive `build/libloss.a`,
        and `build/loss.h`, which declares `int loss(…)` and says all of its arguments; its files are
        returned.

        `of` names the graph, the adjoint or the joint; without it, what is run. Tensors from outside of the
        function are arguments, or, with `constants`, in the library as they are now. `cpu` is `"x86-64-v2"`,
        `"x86-64-v3"` or `"x86-64-v4"`, `"generic"` for ARM, or `"native"` for this machine's processor;
        without it, the third level of x86-64, or any ARM. `target` is LLVM's triple of another system:
        `"aarch64-linux-gnu"`.

        Raises ArgumentError for other names, GradientError where there are no gradients, TraceError for a
        function that needs more than native code: that draws random numbers, calls LAPACK, or goes another
        way for other elements.
        """
        graph, recording = self._whole("export", of), self._recording
        if of in ("adjoint", "joint") and not (recording.wanted and recording.differentiable):
            why = f"no gradients are taken of {recording.name} by what it was traced with"
            raise GradientError(
                f"export(of={of!r})", why, "trace it with tensors that require grad, or name wrt="
            )
        exporting = import_module("retrograd.runtime.compiled.exporting")
        files: Exported = exporting.export(
            self._specialisation, graph, FilePath(path), constants, cpu, target
        )
        return files

    def _whole(self, asking: str, of: str) -> Graph:
        if of not in _WHOLE:
            known = ", ".join(repr(name) for name in _WHOLE if name)
            raise ArgumentError(f"{asking}(of={of!r})", "no such graph", f"name one of {known}")
        return _WHOLE[of](self._recording)

    def __str__(self) -> str:
        return str(self.joint)

    def __repr__(self) -> str:
        head, _, _ = str(self.graph).partition(" {")
        what = head.removeprefix("graph ")
        return f"<program of {what}; print its .graph, .adjoint, .joint, .loops, .llvm, .assembly>"


_WHOLE: dict[str, Callable[[Recording], Graph]] = {
    "": lambda r: r.joint_graph if r.scalar else r.graph,
    "graph": lambda r: r.graph,
    "adjoint": lambda r: r.vjp.graph,
    "joint": lambda r: r.joint_graph if r.scalar else r.whole_graph,
}
"""The graphs that there is PTX of, as they were traced."""


def _simplified(graph: Graph) -> Graph:
    rebuild = _late("rebuild").rebuild
    simplified: Graph = rebuild(_late("trim").trim(graph), _late("simplify").Simplifying())
    return simplified


def _late(name: str) -> Any:
    """One of the compiler's passes: calls do without."""
    return import_module(f"retrograd.compiler.passes.{name}")
