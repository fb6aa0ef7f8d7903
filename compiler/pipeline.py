"""The whole compiler on one screen: a Graph goes in at the top, LLVM text (or PTX) comes out at the bottom.

Each step takes valid IR and gives valid IR of the same meaning. `compile_graph` runs them in order and
keeps what users may read. Nothing here runs code or touches memory of the program: `runtime.program`
loads and calls what is made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Protocol, TypeVar

from retrograd.compiler.backends import llvm, ptx
from retrograd.compiler.backends.cpu import Target
from retrograd.compiler.backends.meeting import third_level
from retrograd.compiler.backends.products.plans import script as script_of_products
from retrograd.compiler.backends.ptx import Launch
from retrograd.compiler.backends.script import Script
from retrograd.compiler.backends.strips.plans import script as script_of_strips
from retrograd.compiler.ir import loops
from retrograd.compiler.ir.arrays import in_order
from retrograd.compiler.ir.graph import Array, Graph
from retrograd.compiler.lower import lower
from retrograd.compiler.passes.checks import Check, add_checks, add_demands
from retrograd.compiler.passes.crop import crop
from retrograd.compiler.passes.layout import lay_out
from retrograd.compiler.passes.localise import localise
from retrograd.compiler.passes.order import hasten
from retrograd.compiler.passes.parts import join_parts
from retrograd.compiler.passes.plan import plan
from retrograd.compiler.passes.rebuild import Expanding, rebuild
from retrograd.compiler.passes.simplify import Simplifying
from retrograd.compiler.passes.straight import straight_in_launches
from retrograd.compiler.record import replace
from retrograd.compiler.schedule import gpu
from retrograd.compiler.schedule.cpu import schedule
from retrograd.compiler.schedule.machine import Gpu, Machine

IR = TypeVar("IR", Graph, loops.Program)


class Look(Protocol):
    """What sees every step's IR and gives it back: under test, `ir.verify.verified`."""

    def __call__(self, ir: IR, /) -> IR: ...


def unseen(ir: IR) -> IR:
    """Nobody looks."""
    return ir


@dataclass(frozen=True, slots=True)
class Compiled:
    """A graph on its way to machine code, with every stage."""

    graph: Graph
    """As it was traced."""
    optimised: Graph
    """Primitives only, simplified."""
    loops: loops.Program
    """Scheduled for the target."""
    symbol: str
    """The exported function; its ABI is told in `backends.cpu`."""
    script: Script | None
    """What the library is told, if it does all of the program: then that needs no code of its own."""
    write: Callable[[], llvm.Text]
    """Its text as LLVM, written once. That of a script is for people."""
    constants: tuple[Array, ...]
    """Arrays in order that the caller passes between inputs and outputs."""
    checks: tuple[Check, ...]
    """One for each bool output that follows the graph's own: where it is True, `check.error()` must be
    raised."""

    @property
    def llvm(self) -> str:
        """All of the text."""
        return self.write().whole

    @property
    def rest(self) -> str:
        """The part of it that was not given away while it was written."""
        return self.write().rest


def compile_graph(
    graph: Graph, target: Target, look: Look = unseen, give: Callable[[str], None] | None = None
) -> Compiled:
    """Every stage of a graph for a processor, up to LLVM text; each step's IR passes through `look`. Modules
    that are finished early go to `give`."""
    optimised, serial, constants, checks = _lowered(graph, look)
    local = look(lay_out(localise(serial)))
    machine = Machine(
        target.vector_bits, target.registers, target.tiles, 0 if target.alone else third_level()
    )
    scheduled = look(schedule(local, machine))
    flags = scheduled.outputs[len(scheduled.outputs) - len(checks) :]
    planned = look(plan(hasten(replace(scheduled, flags=flags))))
    script = script_of_products(planned) or script_of_strips(planned, machine)
    write = cache(partial(llvm.emit, planned, graph.name, target, give if script is None else None))
    if script is None:
        write()
    return Compiled(graph, optimised, planned, graph.name, script, write, constants, checks)


def _lowered(graph: Graph, look: Look) -> tuple[Graph, loops.Program, tuple[Array, ...], tuple[Check, ...]]:
    """What all targets have in common: primitives, simplified; serial loops; constants; checks."""
    demanding, demands = add_demands(look(crop(graph)))
    primitive = look(rebuild(demanding, Expanding()))
    optimised = look(join_parts(rebuild(primitive, Simplifying())))
    checked, checks = add_checks(optimised)
    serial, constants = lower(look(checked))
    return optimised, look(serial), tuple(in_order(c.value) for c in constants), demands + checks


@dataclass(frozen=True, slots=True)
class CompiledGpu:
    """A graph on its way to a GPU, with every stage."""

    graph: Graph
    """As it was traced."""
    optimised: Graph
    """Primitives only, simplified."""
    loops: loops.Program
    """Launches: every kernel is one grid loop."""
    llvm: str
    ptx: str
    launches: tuple[Launch, ...]
    """What to start, in this order; the buffers of a launch are those of `loops`, where the arena is laid
    out."""
    constants: tuple[Array, ...]
    """The arrays that the constant buffers of `loops` hold."""
    checks: tuple[Check, ...]
    """One for each bool output that follows the graph's own: where it is True, `check.error()` must be
    raised."""
    straight: frozenset[int]
    """Outputs that may be written where the inputs lie that they are updates of."""


def compile_for_gpu(
    graph: Graph,
    arch: str = "sm_90",
    look: Look = unseen,
    *,
    tf32: bool = False,
    updates: Mapping[int, int] | None = None,
) -> CompiledGpu:
    """Every stage of a graph for a GPU, up to PTX; each step's IR passes through `look`.

    `tf32`: products of float32 may be computed by tensor cores, from operands with 10 bits of fraction.
    `updates`: outputs that will be written over inputs.
    """
    ptx.check("", arch)
    optimised, serial, constants, checks = _lowered(graph, look)
    planned = look(plan(look(gpu.schedule(serial, Gpu(arch, tf32)))))
    given = updates if updates and not checks else {}
    safe = straight_in_launches(serial, planned, given)
    pairs = [(planned.outputs[k], planned.inputs[given[k]]) for k in safe]
    together = frozenset(buffer for pair in pairs for buffer in pair)
    flags = frozenset(planned.outputs[len(planned.outputs) - len(checks) :])
    text, launches = ptx.emit(planned, graph.name, together, flags)
    assembly = ptx.assemble(text, arch, planned, launches)
    return CompiledGpu(graph, optimised, planned, text, assembly, launches, constants, checks, safe)
