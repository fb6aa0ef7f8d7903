"""Machine code for NVIDIA GPUs: launches in, LLVM text and PTX out. Nothing but LLVM is needed, no CUDA
toolkit, no GPU.

Each kernel of a GPU program (`schedule.gpu`) becomes one PTX kernel, whose parameters are the addresses of
the buffers that it touches, in the order of `Launch.buffers`. Every buffer begins at a multiple of 16
bytes, and no two overlap but an output and the input that it updates. The emitter is the processors', with
threads and blocks for two of its loops, and without masks: conditions are branches here, and predicates of
loads.

LLVM ends the process when it is handed an intrinsic that its PTX back end cannot select. So `check`
refuses, before emission, whatever `_SELECTABLE` does not list. To support a GPU, add its row to
`ARCHITECTURES`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from retrograd.compiler.backends import cpu
from retrograd.compiler.backends.accesses import VECTOR_BYTES
from retrograd.compiler.backends.fragments import Fragments
from retrograd.compiler.backends.halves import BY_BFLOAT
from retrograd.compiler.backends.kinds import LLVM_TYPES
from retrograd.compiler.backends.means import Means
from retrograd.compiler.backends.module import Module, kind_of, memory_kind, quoted
from retrograd.compiler.backends.vector import Block, Value
from retrograd.compiler.errors import ArgumentError, CompilerError
from retrograd.compiler.ir.expressions import Buffer, Load, Space
from retrograd.compiler.ir.index import Divided, Index, Remainder
from retrograd.compiler.ir.loops import (
    Accumulate,
    Barrier,
    Exchange,
    For,
    Fragment,
    Kernel,
    Kind,
    Local,
    Mma,
    Program,
    Statement,
    Store,
    walk,
)

ARCHITECTURES = {
    "sm_75": 63,
    "sm_80": 70,
    "sm_86": 71,
    "sm_89": 78,
    "sm_90": 78,
    "sm_100": 86,
    "sm_120": 87,
}
"""GPUs, and the oldest PTX version that knows each: the drivers that take it are the most."""

_SELECTABLE = re.compile(
    r"llvm\.((fma|sqrt|fabs|floor|ceil|trunc|roundeven|copysign)\.(v\d+)?(f32|f64)"
    r"|(maximum|minimum)\.(v\d+)?f32"
    r"|vector\.reduce\.or\.v\d+i1"
    r"|nvvm\.((ex2|rcp)\.approx\.ftz\.f|saturate\.f|fma\.rm\.f|read\.ptx\.sreg\.(tid|ctaid)\.x|barrier0|shfl\.sync\.bfly\.i32))"
)
_SINCE = (
    (r"llvm\.nvvm\.mma\.m16n8k8\.row\.col\.f32\.f32", 75, 65),
    (r"llvm\.nvvm\.ldmatrix\.sync\.aligned\.m8n8\.x[124](\.trans)?\.b16\.p3", 75, 65),
    (r"llvm\.nvvm\.mma\.(m16n8k16\.row\.col\.(f32\.f32|bf16)|m16n8k8\.row\.col\.tf32)", 80, 70),
)
"""Intrinsics that a GPU has from some compute capability (times 10) and PTX version on."""
_REFUSED = (r"\bfrem\b", r"\b[su](div|rem) i128\b", r"\bfpto[su]i .* to i128\b", r"\b[su]itofp i128\b")
"""Instructions that would be calls of a library that is not there."""


@dataclass(frozen=True, slots=True)
class Launch:
    """One kernel to start."""

    name: str
    """The kernel's name in the PTX."""
    grid: int
    """How many blocks."""
    block: int
    """How many threads a block has."""
    shared_bytes: int
    """Shared memory of a block; it is part of the kernel, not to be asked for."""
    buffers: tuple[Buffer, ...]
    """Whose addresses the parameters are."""


def emit(
    program: Program,
    symbol: str,
    together: frozenset[Buffer] = frozenset(),
    flags: frozenset[Buffer] = frozenset(),
) -> tuple[str, tuple[Launch, ...]]:
    """The LLVM text of a program of launches, and the launches in order. Buffers that may lie `together` may
    be the same memory as another of these; `flags` are only ever raised: of these outputs nothing is written
    but True, so that one of an earlier call stays."""
    module = KernelModule("convergent nounwind", 8 * VECTOR_BYTES, Means(BY_BFLOAT, nvidia=True))
    module.together, module.flags = together, flags
    launches = tuple(_kernel(module, program, kernel, symbol) for kernel in program.kernels)
    return str(module), launches


def _kernel(module: KernelModule, program: Program, kernel: Kernel, symbol: str) -> Launch:
    grid, block = (
        next(s for s in walk(kernel.body) if isinstance(s, For) and s.kind is k)
        for k in (Kind.GRID, Kind.BLOCK)
    )
    emitter = ThreadEmitter(
        module, program, module.unique(_identifier(f"{symbol}_{kernel.name}")), kernel.body
    )
    emitter.statements(kernel.body)
    signature = f"{quoted(emitter.name)}({', '.join(map(emitter.parameter, emitter.buffers))})"
    module.add_kernel(signature, emitter.preamble, emitter.block, block.axis.extent)
    shared = [s.buffer for s in walk(kernel.body) if isinstance(s, Local) and s.buffer.space is Space.SHARED]
    return Launch(
        emitter.name,
        grid.axis.extent,
        block.axis.extent,
        sum(b.size * b.dtype.itemsize for b in shared),
        tuple(emitter.buffers),
    )


def _identifier(name: str) -> str:
    """A name that PTX takes."""
    return re.sub(r"\W", "_", name)


class KernelModule(Module):
    """A module of kernels, each with a bound on its threads, from which the assembler knows how many
    registers it may use."""

    together: frozenset[Buffer] = frozenset()
    """Buffers that may be the same memory."""
    flags: frozenset[Buffer] = frozenset()
    """Buffers in which nothing is written but True."""

    def add_kernel(self, signature: str, preamble: Sequence[str], block: Block, threads: int) -> None:
        """A finished kernel."""
        self.declarations.update(block.declarations)
        entry, *lines = block.lines
        body = "\n".join((entry, *preamble, *lines))
        bound = f'"nvvm.maxntid"="{threads}"'
        self.functions.append(f"define ptx_kernel void {signature} #0 {bound} {{\n{body}\n  ret void\n}}\n")


class ThreadEmitter(Fragments):
    """What one thread does."""

    def __init__(self, module: KernelModule, program: Program, name: str, body: Sequence[Statement]) -> None:
        super().__init__(module, program, name, body)
        self.buffers: list[Buffer] = []
        """The kernel's parameters."""
        self._together, self._flags = module.together, module.flags
        self._written |= module.together

    def parameter(self, buffer: Buffer) -> str:
        """A parameter's text. What is only read may come through the cache for constant data."""
        only_read = "" if buffer in self._written else "readonly "
        alone = "" if buffer in self._together else "noalias "
        return f"ptr {alone}{only_read}align {VECTOR_BYTES} {self._pointers[buffer]}"

    def _load_pointer(self, buffer: Buffer) -> str:
        self.buffers.append(buffer)
        return f"%b{len(self.buffers)}"

    # ---- threads ----

    def _loop(self, s: For) -> None:
        registers = {Kind.GRID: "ctaid", Kind.BLOCK: "tid"}
        if s.kind not in registers:
            super()._loop(s)
            return
        name = f"llvm.nvvm.read.ptx.sreg.{registers[s.kind]}.x"
        self.block.declare(name, f"declare i32 @{name}()")
        number = self.block.pure(f"call i32 @{name}()", "i32")
        number = number if self._index_kind == "i32" else number.unsigned("i64")
        if s.kind is Kind.BLOCK:
            self._thread = s.axis
        self._set(s.axis, 0 if s.axis.extent == 1 else number)
        self.statements(s.body)

    def _between_threads(self, s: Barrier | Exchange | Fragment | Mma) -> None:
        match s:
            case Exchange():
                self._store(s.buffer, Index(), self._exchanged(self._load(Load(s.source, Index())), s.mask))
            case Fragment():
                self._fragment(s)
            case Mma():
                self._multiply(s)
            case Barrier():
                self._barrier()

    def _barrier(self) -> None:
        name = "llvm.nvvm.barrier0"
        self.block.declare(name, f"declare void @{name}()")
        self.block.do(f"call void @{name}()")
        self._runs.clear()
        self._forget_all()

    def _exchanged(self, value: Value, mask: int) -> Value:
        """The value that the thread with these bits flipped holds."""
        if value.floating:
            return self._exchanged(value.bits(), mask).as_float(value.kind)
        if value.kind == "i64":
            low, high = (self._exchanged(x.to("i32"), mask) for x in (value, value.lshr(32)))
            return high.unsigned("i64") << 32 | low.unsigned("i64")
        if value.kind != "i32":
            wide = self._exchanged(value.unsigned("i32"), mask)
            return wide.ne(0) if value.kind == "i1" else wide.to(value.kind)
        name = "llvm.nvvm.shfl.sync.bfly.i32"
        self.block.declare(name, f"declare i32 @{name}(i32, i32, i32, i32)")
        return self.block.emit(f"call i32 @{name}(i32 -1, i32 {value.ref}, i32 {mask}, i32 31)", "i32")

    # ---- memory ----

    def _store(self, buffer: Buffer, index: Index, value: Value) -> None:
        """Of a flag only if it is raised."""
        if buffer not in self._flags:
            super()._store(buffer, index, value)
            return
        block, inside, after = self.block, self.block.fresh("raised"), self.block.fresh("after")
        known = block.known()
        block.do(f"br i1 {value.ref}, label %{inside}, label %{after}")
        with self._scope():
            block.label(inside)
            super()._store(buffer, index, value)
        block.do(f"br label %{after}")
        block.label(after)
        block.recall(known)

    def _local(self, s: Local) -> None:
        if s.buffer.space is Space.SHARED:
            self._pointers[s.buffer] = self._shared(s.buffer)
            self.statements(s.body)
        else:
            super()._local(s)

    def _shared(self, buffer: Buffer) -> str:
        """Shared memory, as any other from here on: LLVM finds out that it is."""
        name, kind = (
            self.module.unique(f"{self.name}_{buffer.name}"),
            LLVM_TYPES[memory_kind(kind_of(buffer.dtype))],
        )
        array = f"[{buffer.size} x {kind}]"
        self.block.declare(
            name, f"@{name} = internal addrspace(3) global {array} poison, align {VECTOR_BYTES}"
        )
        return f"addrspacecast (ptr addrspace(3) @{name} to ptr)"

    def _divided(self, atom: Divided | Remainder, lanes: int) -> Value:
        """Divisions are done with 32 bits wherever the numbers fit: with 64 they take many instructions."""
        low, high = atom.value.bounds()
        if low < 0 or high >= 1 << 31 or (lanes > 1 and self._index_kind == "i64"):
            return super()._divided(atom, lanes)
        value = self.index(atom.value, lanes).to("i32")
        name = "udiv" if isinstance(atom, Divided) else "urem"
        by = value.same(atom.divisor)
        found = self.block.pure(f"{name} {value.type} {value.ref}, {by.ref}", "i32", lanes)
        return found if self._index_kind == "i32" else found.unsigned("i64")


# ---- text --------------------------------------------------------------------------------------------------


def check(llvm_text: str, arch: str) -> int:
    """The PTX version that the text needs on a GPU; what LLVM could not make PTX of is refused, for it would
    end the process."""
    if arch not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise ArgumentError(f"code for the GPU {arch!r}", "it is not known", f"choose one of {known}")
    version = ARCHITECTURES[arch]
    for name in sorted(set(re.findall(r"@(llvm\.[\w.]+)", llvm_text))):
        if not _SELECTABLE.fullmatch(name):
            version = max(version, _version_of(name, int(arch.removeprefix("sm_"))))
    for pattern in _REFUSED:
        found = re.search(pattern, llvm_text)
        if found:
            raise CompilerError(f"{found[0]!r} in a kernel for a GPU", "PTX has no instruction for it")
    return version


def _version_of(name: str, capability: int) -> int:
    """The PTX version that an intrinsic needs, if such a GPU has it."""
    for pattern, since, version in _SINCE:
        if re.fullmatch(pattern, name) and capability >= since:
            return version
    raise CompilerError(f"{name} in a kernel for a GPU", "PTX has no instruction for it")


def assemble(llvm_text: str, arch: str, program: Program, launches: Sequence[Launch]) -> str:
    """PTX for a GPU, each kernel under a comment that says what it is."""
    version = check(llvm_text, arch)
    target = cpu.Target("nvptx64-nvidia-cuda", arch, f"+ptx{version}", 8 * VECTOR_BYTES, 255)
    text = _REMARKS.sub("", cpu.assembly(llvm_text, target, level=3))
    for kernel, launch in zip(program.kernels, launches, strict=True):
        entry = re.search(rf"^.*\.entry {launch.name}\(", text, re.MULTILINE)
        assert entry, f"{launch.name} is in the PTX"
        text = f"{text[: entry.start()]}{_header(kernel, launch)}{text[entry.start() :]}"
    return text


_REMARKS = re.compile(
    r"^\s*// (\S+ has been demoted|demoted variable|\.globl\s+\S+|(begin|end) inline asm)\n", re.MULTILINE
)
"""What LLVM notes for itself."""


def _header(kernel: Kernel, launch: Launch) -> str:
    """Comments before a kernel: the user's lines, its size, its parameters."""
    lines = dict.fromkeys(
        str(s.where) for s in walk(kernel.body) if isinstance(s, Store | Accumulate) and s.where
    )
    shared = f", {launch.shared_bytes} bytes shared" if launch.shared_bytes else ""
    parameters = (f"{b.name}: {b.dtype.name}[{b.size}]" for b in launch.buffers)
    blocks = "1 block" if launch.grid == 1 else f"{launch.grid} blocks"
    text = [
        f"{kernel.name}: {blocks} of {launch.block} threads{shared}",
        f"({', '.join(parameters)})",
        *lines,
    ]
    return "".join(f"// {line}\n" for line in text)
