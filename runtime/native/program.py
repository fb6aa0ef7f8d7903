"""A graph as something to call: arrays in, arrays out, and a view of each stage that the compiler went
through.

This is the one place where the runtime asks the compiler for code. In flow a `Graph` and arrays; out flow
arrays. What was compiled before, by any process, comes from the cache, by the graph's `fingerprint`: then the
compiler is not even loaded. The cache's entries are `Code`.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache as cache_of
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from retrograd.compiler.backends.cpu import assembly
from retrograd.compiler.backends.script import Script
from retrograd.compiler.errors import CompilerError, RetrogradError
from retrograd.compiler.fingerprint import fingerprint
from retrograd.compiler.ir.graph import Array, Graph, Type, interpret
from retrograd.compiler.ir.quiet import quietly
from retrograd.compiler.ops.contract import Dot
from retrograd.compiler.ops.loop import Loop
from retrograd.compiler.record import NamedTuple
from retrograd.compiler.uncollected import uncollected
from retrograd.runtime.device import device
from retrograd.runtime.native import cache, cpu
from retrograd.runtime.native.fastcall import make
from retrograd.runtime.native.host import host
from retrograd.runtime.native.placing import Placing, seen_through
from retrograd.runtime.native.ports import AddressPort, ArrayPort, FlagPort, Held, Link, OutputPort, Port
from retrograd.runtime.native.returns import Returns
from retrograd.runtime.native.small.copier import in_order
from retrograd.runtime.native.watching import Read, Watch

if TYPE_CHECKING:
    from retrograd.compiler.ir import loops
    from retrograd.compiler.pipeline import Compiled

_late = cache_of(import_module)
"""Modules without which a warm start does."""
_shown = cache_of(repr)
_LONG = 1 << 15
"""Operations from which on a call lets other Python threads run meanwhile."""
_PRODUCTS_AT_ONCE = 16
"""Multiply-adds of a matrix product that take as long as an operation on an element."""


class Code(NamedTuple):
    """What a call needs of a compiled graph."""

    symbol: str
    arena_bytes: int
    checks: int
    """How many flags follow the graph's outputs."""
    long_running: bool
    straight: list[int]
    """Outputs that may be written where the inputs lie that they are updates of."""
    constants: list[Array]
    """Passed after the graph's inputs."""
    script: Script | None
    """What the library is told, if it does all of the program."""
    objects: list[bytes]
    """Else the object code of its modules."""

    @staticmethod
    def of(compiled: Compiled, updates: Mapping[int, int]) -> Code:
        """The code of a graph that has gone through the compiler, all but the objects."""
        passes = _late("retrograd.compiler.passes.straight")
        gated = compiled.script is None or not compiled.checks
        safe = passes.straight(compiled.loops, updates) if gated else ()
        return Code(
            compiled.symbol,
            compiled.loops.arena_bytes,
            len(compiled.checks),
            _work(compiled) > _LONG,
            sorted(safe),
            list(compiled.constants),
            compiled.script,
            [],
        )

    def packed(self) -> bytes:
        """All of it as bytes: a line of Python literals, the constants, the object code."""
        constants = [(array.dtype.str, array.shape) for array in self.constants]
        script = tuple(self.script) if self.script else None
        head = repr([*self[:5], constants, script, list(map(len, self.objects))])
        arrays = [np.ascontiguousarray(array).tobytes() for array in self.constants]
        return b"".join([head.encode(), b"\n", *arrays, *self.objects])

    @staticmethod
    def unpacked(content: bytes) -> Code:
        head, _, rest = content.partition(b"\n")
        *plain, described, told, sizes = ast.literal_eval(head.decode())
        constants, objects, start = [], [], 0
        for kind, shape in described:
            count = int(np.prod(shape, dtype=np.int64))
            array = np.frombuffer(rest, kind, count, start).reshape(shape).copy()
            constants.append(array)
            start += array.nbytes
        for size in sizes:
            objects.append(rest[start : start + size])
            start += size
        symbol, arena_bytes, checks, long_running, straight = plain
        script = Script(*told) if told else None
        return Code(symbol, arena_bytes, checks, long_running, straight, constants, script, objects)


class Entered(Protocol):
    """Loaded code, which lives as long as this object."""

    @property
    def context(self) -> int: ...
    def address(self, name: str) -> int: ...


class Executable(Protocol):
    """A compiled graph, wherever it runs: arrays in, arrays out."""

    graph: Graph

    def __call__(self, arrays: Sequence[Any]) -> Sequence[Any]: ...
    @property
    def loops(self) -> loops.Program: ...
    @property
    def llvm(self) -> str: ...
    @property
    def assembly(self) -> str: ...


@runtime_checkable
class Bindable(Protocol):
    """A program that native calls can run: those of the CPU, and of a GPU."""

    graph: Graph

    @property
    def placings(self) -> Mapping[int, Placing]:
        """Of inputs that are not in order, where they lie."""

    @property
    def straight(self) -> Collection[int]:
        """Outputs that are written where the inputs lie that they are updates of."""

    @property
    def reads(self) -> list[Read]:
        """What native calls are made for, besides their arguments."""

    def output(self, kind: Type, holder: Link | None) -> AddressPort | None:
        """A port for an output that lies elsewhere; None where it does not, or Python must make it."""

    def bind(
        self,
        arguments: Sequence[Port],
        outputs: Sequence[OutputPort],
        returns: Returns,
        miss: Callable[..., Any],
        *,
        names: tuple[str, ...] = (),
        held: Sequence[Held] = (),
        guards: Watch | None = None,
    ) -> Callable[..., Any] | None:
        """A native callable of the code; None where there can be none."""


def executable(
    graph: Graph,
    where: device,
    updates: Mapping[int, int] | None = None,
    placings: Mapping[int, Placing] | None = None,
    results: Mapping[int, Placing] | None = None,
) -> Executable:
    """The graph compiled for a device. `updates` are outputs that will be written over inputs; `placings` say
    which inputs are views, and how they lie. On the CPU outputs lie as `results` say, or in order."""
    if _has_loops(graph):
        graph = _late("retrograd.compiler.passes.fission").fission(graph)
    if _has_loops(graph):
        program: Executable = _late("retrograd.runtime.native.looped").LoopedProgram(
            graph, updates, placings, results
        )
        return program
    if any(node.op.hosted for node in graph.nodes):
        staged = import_module("retrograd.runtime.native.staged")  # late: few programs need it
        whole: Executable = staged.StagedProgram(graph, lambda stage: executable(stage, where))
        return whole
    if where.type == "cpu":
        return NativeProgram(graph, updates, placings, results)
    cuda = "retrograd.runtime.cuda"  # late: programs on the CPU do without
    gpu = import_module(f"{cuda}.devices").get(where.index)
    found: Executable = import_module(f"{cuda}.program").GpuProgram(graph, gpu, updates)
    return found


def _has_loops(graph: Graph) -> bool:
    return any(isinstance(node.op, Loop) for node in graph.nodes)


class NativeProgram:
    """A compiled graph. Compiling happens here and now; calling it is thread-safe.

    `updates` are outputs that will be written over inputs, by their numbers. Inputs lie in memory as
    `placings` say, outputs as `results` say, and else in order.
    """

    def __init__(
        self,
        graph: Graph,
        updates: Mapping[int, int] | None = None,
        placings: Mapping[int, Placing] | None = None,
        results: Mapping[int, Placing] | None = None,
    ) -> None:
        self.graph = graph
        self._updates, self.placings, self.results = updates or {}, placings or {}, results or {}
        self._placed = seen_through(graph, self.placings, self.results)
        self._target = host()
        with uncollected():
            self._code, self._library = self._made()

    def _made(self) -> tuple[Code, Entered]:
        """The code, and where it is."""
        code = self._load()
        return code, cpu.load(*code.objects) if code.script is None else cpu.ScriptLibrary(code.script)

    @cached_property
    def _call(self) -> Callable[..., Any]:
        """The program for arrays. Most are called in some other way only."""
        inputs = [
            ArrayPort(node.dtype.numpy, node.shape, self.placings.get(k))
            for k, node in enumerate(self.graph.inputs)
        ]
        outputs = [
            ArrayPort(node.dtype.numpy, node.shape, self.results.get(k))
            for k, node in enumerate(self.graph.outputs)
        ]
        return self.bind(inputs, outputs, tuple(range(len(outputs))), self._reorder)

    @cached_property
    def compiled(self) -> Compiled:
        """Every stage. Worked out again for code that came from the cache."""
        pipeline = _late("retrograd.compiler.pipeline")
        compiled: Compiled = pipeline.compile_graph(self._placed, self._target)
        return compiled

    @cached_property
    def _in_order(self) -> NativeProgram:
        """The same for inputs in order."""
        return NativeProgram(self.graph, self._updates, results=self.results)

    @property
    def straight(self) -> list[int]:
        """The updates that may be written where their inputs lie: none is read after that."""
        return self._code.straight

    @property
    def loops(self) -> loops.Program:
        """The loops, scheduled for this machine."""
        return self.compiled.loops

    @property
    def llvm(self) -> str:
        return self.compiled.llvm

    @property
    def assembly(self) -> str:
        """The machine code as text, made when it is asked for."""
        return assembly(self.compiled.llvm, self._target)

    @property
    def code(self) -> Code:
        """What a call needs."""
        return self._code

    @property
    def entry(self) -> tuple[int, int]:
        """The address of the code, and its context: its ABI is told in `compiler.backends.cpu`."""
        return self._library.address(self._code.symbol), self._library.context

    def __call__(self, arrays: Sequence[Array]) -> Sequence[Array]:
        """The outputs, as fresh arrays. The inputs' types are those of the graph's inputs."""
        outputs: Sequence[Array] = self._call(*arrays)
        return outputs

    @property
    def reads(self) -> list[Read]:
        """It depends on nothing else."""
        return []

    def output(self, kind: Type, holder: Link | None) -> AddressPort | None:
        """Outputs are here."""
        return None

    def bind(
        self,
        arguments: Sequence[Port],
        outputs: Sequence[OutputPort],
        returns: Returns,
        miss: Callable[..., Any],
        *,
        names: tuple[str, ...] = (),
        held: Sequence[Held] = (),
        guards: Watch | None = None,
    ) -> Callable[..., Any]:
        """A native callable of the code (see `fastcall`). The graph's inputs are arguments, then what is
        held. A call that finds an index out of range is a miss."""
        flags = [FlagPort()] * self._code.checks
        return self._bind(arguments, [*outputs, *flags], returns, miss, names, held, guards)

    def _bind(
        self,
        arguments: Sequence[Port],
        outputs: Sequence[OutputPort],
        returns: Returns,
        miss: Callable[..., Any],
        names: tuple[str, ...] = (),
        held: Sequence[Held] = (),
        guards: Watch | None = None,
    ) -> Callable[..., Any]:
        code = self._code
        constants = [(array, ArrayPort(array.dtype, array.shape)) for array in code.constants]
        return make(
            code.symbol,
            self._library.address(code.symbol),
            arguments,
            outputs,
            code.arena_bytes,
            miss,
            returns,
            names=names,
            held=[*held, *constants],
            guards=guards,
            long_running=code.long_running,
            keep=self._library,
            context=self._library.context,
        )

    def _load(self) -> Code:
        name = fingerprint(self._placed)
        if name is None:
            return self._compile()
        key = cache.key_of(name, _shown(self._target), sorted(self._updates.items()))
        content = cache.get(key)
        if content is not None:
            return Code.unpacked(content)
        code = self._compile()
        cache.put(key, code.packed())
        return code

    def _compile(self) -> Code:
        """The code, made anew: LLVM works on finished modules while others are written."""
        pipeline = _late("retrograd.compiler.pipeline")
        with _late("retrograd.compiler.backends.assembler").Assembler(self._target) as assembler:
            self.compiled = pipeline.compile_graph(self._placed, self._target, give=assembler.add)
            code = Code.of(self.compiled, self._updates)
            return code if code.script else code._replace(objects=assembler.finish(self.compiled.rest))

    def _reorder(self, *arrays: Array) -> Any:
        """Arrays that do not lie in memory as code wants it (views, mostly) are copied into order."""
        if self.placings:
            return tuple(self._in_order(arrays))
        inputs = self.graph.inputs
        ordered = list(arrays)
        for k, (node, array) in enumerate(zip(inputs, arrays)):
            dtype = node.dtype.numpy
            if array.shape != node.shape or array.dtype.newbyteorder("=") != dtype:
                raise CompilerError(f"{self.graph.name} with {array.dtype}{list(array.shape)} for {node.op}")
            ordered[k] = in_order(array, dtype)
        if all(a is b for a, b in zip(arrays, ordered)):
            raise self.failure(arrays)
        return self._call(*ordered)

    def failure(self, arrays: Sequence[Array]) -> BaseException:
        """What is wrong with arrays that lie in order: an index in them, as the code's last outputs tell."""
        name, checks = self.graph.name, self.compiled.checks

        def refuse(*_: Array) -> None:
            raise CompilerError(f"{name} with arguments that look right but are refused")

        inputs = [ArrayPort(node.dtype.numpy, node.shape) for node in self.graph.inputs]
        outputs = [ArrayPort(node.dtype.numpy, node.shape) for node in self.graph.outputs]
        outputs += [ArrayPort(np.dtype(bool), ()) for _ in checks]
        call = self._bind(inputs, outputs, tuple(range(len(outputs))), refuse)
        flags = call(*arrays)[len(outputs) - len(checks) :]
        failed = [check for check, flag in zip(checks, flags, strict=True) if flag]
        if not failed:
            return CompilerError(f"{name} is refused, but nothing is wrong")
        return failed[0].error(_evaluated(self.graph, arrays))


def _evaluated(graph: Graph, arrays: Sequence[Array]) -> RetrogradError | None:
    """What evaluation in NumPy says of such elements."""
    try:
        quietly(interpret, graph, arrays)
    except RetrogradError as told:
        return told
    return None


def _work(compiled: Compiled) -> int:
    """About how many operations a call takes."""
    products = sum(
        n.type.size * n.inputs[0].shape[-1] for n in compiled.optimised.nodes if isinstance(n.op, Dot)
    )
    return products // _PRODUCTS_AT_ONCE + sum(n.type.size for n in compiled.optimised.nodes)
