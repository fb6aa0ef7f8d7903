"""How tests run a GPU's launches without a GPU, and have NVIDIA's assembler read their PTX.

`build` makes plain loops of the launches (`schedule.serialise`), forwards and backwards, and runs both
natively between forbidden pages (`native.py`): both must agree bit for bit. Then the PTX itself is executed
(`ptx_programs.py`). `assembled` runs `ptxas`, where it is installed, and gives what it reports of each
kernel. A further property to demand of every launch goes into `build`.
"""

from __future__ import annotations

import functools
import importlib.util
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import native
import numpy as np
import ptx_programs
import pytest
from native import assert_close, graph_of

from retrograd.compiler.backends import llvm
from retrograd.compiler.backends.cpu import CAREFUL, Target, assemble
from retrograd.compiler.ir.graph import Array, Graph, interpret
from retrograd.compiler.ir.verify import verified
from retrograd.compiler.passes.plan import plan
from retrograd.compiler.pipeline import Compiled, CompiledGpu, Look, compile_for_gpu, unseen
from retrograd.compiler.schedule.serialise import serialise
from retrograd.runtime.native import cpu


@dataclass
class Program:
    """A graph's launches as a processor runs them, and as a GPU would."""

    compiled: CompiledGpu
    orders: tuple[native.Program, native.Program]
    """The first thread first, and the last."""

    def __call__(self, *arrays: Array) -> list[Array]:
        """What the PTX makes, after a comparison with the plain loops, whose outputs are the same in both
        orders. Products and sums may be contracted differently there."""
        first, last = (order(*arrays) for order in self.orders)
        for a, b in zip(first, last, strict=True):
            assert a.tobytes() == b.tobytes(), "threads do not wait for each other"
        executed = ptx_programs.run(self.compiled, arrays)
        for mine, theirs in zip(executed, first, strict=True):
            wide = theirs.astype("f8")
            scale = float(np.abs(wide[np.isfinite(wide)]).max(initial=0))
            assert_close(mine, theirs, ulps=64 if theirs.dtype.itemsize > 2 else 2, scale=scale)
        return executed


def build(graph: Graph, look: Look = verified, arch: str = "sm_90", tf32: bool = False) -> Program:
    """The launches of a graph in plain loops; the launches and the loops pass through `look`."""
    compiled = compile_for_gpu(graph, arch, look, tf32=tf32)
    return Program(compiled, (_run(compiled, False, look), _run(compiled, True, unseen)))


def _run(compiled: CompiledGpu, backwards: bool, look: Look) -> native.Program:
    target, name = Target.host(), compiled.graph.name
    loops = look(plan(serialise(compiled.loops, backwards)))
    text = llvm.emit(loops, name, target)
    graphs = compiled.graph, compiled.optimised
    whole = Compiled(*graphs, loops, name, None, lambda: text, compiled.constants, compiled.checks)
    # products and sums of numbers are contracted as they are for a GPU
    return native.Program(whole, cpu.load(assemble(text.whole, target, level=CAREFUL)))


def check(function: Callable[..., Any], *arrays: Array, ulps: float = 8.0, scale: float = 1.0) -> CompiledGpu:
    """Compares what the launches compute with the function's value in NumPy."""
    graph = graph_of(function, *arrays)
    program = build(graph)
    for mine, theirs in zip(program(*arrays), interpret(graph, arrays), strict=True):
        assert_close(mine, theirs, ulps, scale)
    return program.compiled


# ---- ptxas -------------------------------------------------------------------------------------------------


@functools.cache
def ptxas() -> str:
    """NVIDIA's assembler; where it is not installed, the test skips and says so."""
    spec = importlib.util.find_spec("nvidia")
    folders = spec.submodule_search_locations if spec else None
    found = [p for f in folders or () for p in Path(f).glob("*/bin/ptxas*") if p.stem == "ptxas"]
    if not found:
        pytest.skip(
            "NVIDIA's ptxas (PyPI: nvidia-cuda-nvcc-cu12) is not installed, so PTX cannot be assembled"
        )
    return str(found[0])


@dataclass(frozen=True)
class Report:
    """What the assembler says of a kernel or function."""

    name: str
    stack: int
    """Bytes of a thread's memory outside registers."""
    spilled: int
    """Bytes written there because registers ran out."""


_PROPERTIES = re.compile(
    r"Function properties for (\S+)\n\s+(\d+) bytes stack frame, "
    r"(\d+) bytes spill stores, (\d+) bytes spill loads"
)


def assembled(ptx: str, arch: str, folder: Path) -> list[Report]:
    """The assembler's report on PTX text."""
    source, target = folder / "kernels.ptx", folder / "kernels.cubin"
    source.write_text(ptx, encoding="utf-8")
    command = [ptxas(), f"-arch={arch}", "-v", "-o", str(target), str(source)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    assert target.stat().st_size > 0
    found = _PROPERTIES.findall(run.stderr)
    return [Report(name, int(stack), int(stores) + int(loads)) for name, stack, stores, loads in found]


def assert_assembles(compiled: CompiledGpu, arch: str, folder: Path, spill: int = 0) -> None:
    """Every launch is a kernel that the assembler takes, and none runs out of registers by more than `spill`
    bytes."""
    reports = assembled(compiled.ptx, arch, folder)
    assert {launch.name for launch in compiled.launches} <= {r.name for r in reports}
    assert not [r for r in reports if r.spilled > spill], f"registers spilled: {reports}"
    launched = {launch.name for launch in compiled.launches}
    assert not [r for r in reports if r.stack > spill // 2 and r.name in launched], reports
