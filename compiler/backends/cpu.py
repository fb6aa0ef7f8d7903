"""Machine code for processors: LLVM text in, object code (or readable assembly) out.

A `Target` says what to compile for; the code generator asks it for lanes and registers. `assemble` makes
object code, `assembly` the same as text. LLVM is loaded at the first use, not at import.

What a compiled program looks like, here called its ABI:

- It exports `void NAME(ptr args)`. `args` is an array of data pointers: inputs, then outputs, then the
  arena. A run-time scalar is a pointer to its value. Data are aligned to their element, no more; the
  arena to 64.
- A program that is nothing but products is run by the library: `void retrograd_script(ptr args, ptr
  context)`, whose context says which (`products/`). All programs are called so.
- A parallel kernel inside calls `void retrograd_parallel(ptr fn, ptr env, i64 blocks)`, which calls `void
  fn(ptr env, i64 block)` once for every block in 0 … blocks − 1, on any thread, and returns when all are
  done.
- It holds no address of the process that made it: what it needs from outside is a symbol, bound by the
  loader. So object code is valid in every process on the same kind of machine, and can be kept on disk.

No optimiser is run: what the text says is what is computed. To support a processor family, add a row to
`_VECTORS`.
"""

from __future__ import annotations

import functools
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from retrograd.compiler.errors import CompilerError
from retrograd.compiler.record import record

CAREFUL = 1
"""LLVM's code generation level, 0 to 3, of tiles and of the library's routines, which a machine compiles
once."""
_QUICK = {"x86_64": 0}
"""That of other programs, by architecture; CAREFUL where nobody has measured. Level 0 takes two thirds of
the time, and with registers allocated as at the others (`_SWITCHES`), its code is as quick where the text is
written for it. That of tiles is not: their factors come from memory, and would be written over."""
TILES = "retrograd-tiles"
"""An attribute of functions that sum up tiles in registers."""
_SWITCHES = ("-optimize-regalloc=1", "-enable-misched=0")
"""How registers are allocated; and no scheduler of instructions, which takes a tenth of LLVM's time, and two
tenths of a long body's: several chains of them stand side by side as they are written."""

_SHORT = 120
"""Lines of a module on which switching a pass off takes longer than the pass."""

_LEFT_OUT = {"disable-lsr": (1, 0)}
"""A pass of LLVM that finds nothing to do, for addresses are stepped loop by loop already: a switch, its
value here, its usual one."""

BASELINE = ""
"""What every processor of its architecture has, said by the system or not: SSE2, or Advanced SIMD (NEON)."""
_VECTORS = (
    ("x86_64", "avx512vl", 512, 32),
    ("x86_64", "avx", 256, 16),
    ("x86_64", BASELINE, 128, 16),
    ("aarch64", BASELINE, 128, 32),
    ("arm64", BASELINE, 128, 32),
)
"""(architecture, feature, bits of a vector register, number of them), the widest first."""


@record(slots=True)
class Target:
    """The processor to compile for. All of it is text and numbers, so it can be part of a cache key."""

    triple: str
    """Architecture, vendor, system: `x86_64-unknown-linux-gnu`."""
    cpu: str
    """LLVM's name of the processor, which chooses the instruction costs: `znver5`."""
    features: str
    """LLVM's feature text: `+avx2,+fma,-avx512f`."""
    vector_bits: int
    """Width of one vector register."""
    registers: int
    """Number of vector registers."""
    alone: bool = False
    """Is the code to run without this library beside it: no threads, no memory of its own, no system?"""

    @staticmethod
    @functools.cache
    def host() -> Target:
        """The machine that runs this process."""
        llvm = bindings()
        features = llvm.get_host_cpu_features().flatten()
        return Target.of(llvm.get_process_triple(), llvm.get_host_cpu_name(), features)

    @staticmethod
    def of(triple: str, cpu: str, features: str) -> Target:
        """A target whose vector registers follow from its architecture and features."""
        architecture, enabled = triple.partition("-")[0], set(features.split(","))
        for name, feature, bits, count in _VECTORS:
            if name == architecture and (feature == BASELINE or f"+{feature}" in enabled):
                return Target(triple, cpu, features, bits, count)
        raise CompilerError(f"no vector registers are known for {triple} with {features!r}")

    @property
    def architecture(self) -> str:
        """The first part of the triple: `x86_64`."""
        return self.triple.partition("-")[0]

    def lanes(self, itemsize: int) -> int:
        """How many elements of `itemsize` bytes one vector register holds."""
        return max(1, self.vector_bits // (8 * itemsize))

    def has(self, feature: str) -> bool:
        """Is the feature (`fma`, `avx512bf16`) there?"""
        return f"+{feature}," in f"{self.features},"

    @property
    def tiles(self) -> bool:
        """Are there tiles of bfloat16, and a system that is known to lend them when it is asked?"""
        return (
            not self.alone
            and "linux" in self.triple
            and all(map(self.has, ("amx-tile", "amx-bf16", "avx512vl")))
        )

    def without(self, *features: str) -> Target:
        """The same machine with fewer features."""
        kept = [entry for entry in self.features.split(",") if entry[1:] not in features]
        return Target.of(self.triple, self.cpu, ",".join([*kept, *(f"-{name}" for name in features)]))

    def narrowed(self) -> Target:
        """An AVX-512 machine seen as the AVX2 machine that it also is; any other machine as it is."""
        extended = [entry[1:] for entry in self.features.split(",") if entry.startswith("+avx512")]
        return self.without(*extended) if extended else self


def assemble(llvm_text: str, target: Target, *, level: int | None = None) -> bytes:
    """Object code of a module given as LLVM text, by default quickly made.

    Raises CompilerError, showing the line, when the text is not valid LLVM.
    """
    with _coded(llvm_text, target, level) as (machine, module):
        return bytes(machine.emit_object(module))


def assembly(llvm_text: str, target: Target, *, level: int | None = None) -> str:
    """The code that `assemble` makes, as assembly text for people."""
    with _coded(llvm_text, target, level) as (machine, module):
        return str(machine.emit_assembly(module))


@contextmanager
def _coded(llvm_text: str, target: Target, level: int | None) -> Iterator[tuple[Any, Any]]:
    """A code generator for a module, and the module."""
    level = level_for(llvm_text, target) if level is None else level
    machine = _machine(target, level)
    short = llvm_text.count("\n") < _SHORT
    with parsed(llvm_text, machine) as module, nullcontext() if short else lean(level):
        yield machine, module


@functools.cache
def bindings() -> Any:
    """LLVM's bindings, ready for the host. Imported here because they take longer than all else together."""
    from llvmlite import binding

    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    for switch in _SWITCHES:
        binding.set_option("", switch)
    return binding


def level_for(llvm_text: str, target: Target) -> int:
    """The level at which a program's module is compiled."""
    return CAREFUL if TILES in llvm_text else _QUICK.get(target.architecture, CAREFUL)


def new_machine(target: Target, level: int) -> Any:
    """A code generator. It works on one module at a time."""
    llvm = bindings()
    if target.architecture != llvm.get_process_triple().partition("-")[0]:
        llvm.initialize_all_targets()
        llvm.initialize_all_asmprinters()
    backend = llvm.Target.from_triple(target.triple)
    return backend.create_target_machine(
        cpu=target.cpu, features=target.features, opt=level, reloc="pic", codemodel="small"
    )


_machine = functools.cache(new_machine)
"""That of whoever holds the lock of the bindings meanwhile."""


@contextmanager
def parsed(llvm_text: str, machine: Any) -> Iterator[Any]:
    """The verified module, for a code generator.

    The module has a context of its own, so that nothing outlives it, and is closed before that context: left
    to the garbage collector, the two may go in the wrong order.
    """
    with bindings().create_context() as context, verified(llvm_text, machine, context) as module:
        yield module


@contextmanager
def verified(llvm_text: str, machine: Any, context: Any) -> Iterator[Any]:
    """The same in a context that there is, before which it is closed, if no other module has taken it in."""
    try:
        found = bindings().parse_assembly(llvm_text, context=context)
    except RuntimeError as error:
        raise _refusal(error, llvm_text) from None
    with found as module:
        module.triple = machine.triple
        module.data_layout = str(machine.target_data)
        try:
            module.verify()
        except RuntimeError as error:
            raise _refusal(error, llvm_text) from None
        yield module


_switching = threading.Lock()
_users = [0]
"""How many are at work without the pass left out."""


@contextmanager
def lean(level: int) -> Iterator[None]:
    """Within, LLVM leaves out what `_LEFT_OUT` says, as it does by itself at level 0. Switches are the
    process's, so the last who leaves sets them back."""
    if not level:
        yield
        return
    _switch(1)
    try:
        yield
    finally:
        _switch(-1)


def _switch(step: int) -> None:
    with _switching:
        before, _users[0] = _users[0], _users[0] + step
        if 0 in (before, _users[0]):
            for name, values in _LEFT_OUT.items():
                bindings().set_option("", f"-{name}={values[step < 0]}")


def _refusal(error: RuntimeError, llvm_text: str) -> CompilerError:
    """LLVM's complaint, with the line of the text that it is about."""
    what = "generated code is not valid LLVM"
    found = re.search(r"<string>:(\d+):(\d+): error: (.*)", str(error))
    if not found:
        return CompilerError(what, str(error).strip())
    row, column, complaint = int(found[1]), int(found[2]), found[3]
    line = llvm_text.splitlines()[row - 1]
    pointer = " " * (column - 1) + "^"
    return CompilerError(what, f"line {row}: {complaint}\n  {line}\n  {pointer}")
