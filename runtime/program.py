"""A graph as something to call: arrays in, arrays out, and a view of each stage that the compiler went
through.

This is the one place where the runtime asks the compiler for code. In flow a `Graph` and arrays; out flow
arrays. The object code of a program that was compiled before, by any process, comes from the cache.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from retrograd.compiler.backends.cpu import Target, assemble, assembly
from retrograd.compiler.errors import CompilerError
from retrograd.compiler.ir import loops
from retrograd.compiler.ir.graph import Array, Graph
from retrograd.compiler.ops.contract import Dot
from retrograd.compiler.pipeline import Compiled, compile_graph
from retrograd.runtime import cache, cpu
from retrograd.runtime.fastcall import ArrayPort, FlagPort, Held, OutputPort, Port, make
from retrograd.runtime.returns import Returns
from retrograd.runtime.watching import Watch

_LONG = 1 << 15
"""Operations from which on a call lets other Python threads run meanwhile."""


class NativeProgram:
    """A compiled graph. Compiling happens here and now; calling it is thread-safe."""

    def __init__(self, graph: Graph) -> None:
        self._target = Target.host()
        self._compiled = compile_graph(graph, self._target)
        self._library = self._load()
        inputs = [ArrayPort(node.dtype.numpy, node.shape) for node in graph.inputs]
        outputs = [ArrayPort(node.dtype.numpy, node.shape) for node in graph.outputs]
        self._call = self.bind(inputs, outputs, tuple(range(len(outputs))), self._reorder)

    @property
    def graph(self) -> Graph:
        return self._compiled.graph

    @property
    def loops(self) -> loops.Program:
        """The loops, scheduled for this machine."""
        return self._compiled.loops

    @property
    def llvm(self) -> str:
        return self._compiled.llvm

    @property
    def assembly(self) -> str:
        """The machine code as text, made when it is asked for."""
        return assembly(self._compiled.llvm, self._target)

    def __call__(self, arrays: Sequence[Array]) -> Sequence[Array]:
        """The outputs, as fresh C-contiguous arrays. The inputs' types are those of the graph's inputs."""
        outputs: Sequence[Array] = self._call(*arrays)
        return outputs

    def bind(
        self,
        arguments: Sequence[Port],
        outputs: Sequence[OutputPort],
        returns: Returns,
        miss: Callable[..., Any],
        *,
        held: Sequence[Held] = (),
        guards: Watch | None = None,
    ) -> Callable[..., Any]:
        """A native callable of the code (see `fastcall`). The graph's inputs are arguments, then what is
        held. A call that finds an index out of range is a miss."""
        flags = [FlagPort() for _ in self._compiled.checks]
        return self._bind(arguments, [*outputs, *flags], returns, miss, held, guards)

    def _bind(
        self,
        arguments: Sequence[Port],
        outputs: Sequence[OutputPort],
        returns: Returns,
        miss: Callable[..., Any],
        held: Sequence[Held],
        guards: Watch | None,
    ) -> Callable[..., Any]:
        compiled = self._compiled
        constants = [(array, ArrayPort(array.dtype, array.shape)) for array in compiled.constants]
        return make(
            compiled.symbol,
            self._library.address(compiled.symbol),
            arguments,
            outputs,
            compiled.loops.arena_bytes,
            miss,
            returns,
            held=[*held, *constants],
            guards=guards,
            long_running=_work(compiled) > _LONG,
            keep=self._library,
        )

    def _load(self) -> cpu.Library:
        text = self._compiled.llvm
        key = cache.key_of(text, self._target)
        object_code = cache.get(key)
        if object_code is None:
            object_code = assemble(text, self._target)
            cache.put(key, object_code)
        return cpu.load(object_code)

    def _reorder(self, *arrays: Array) -> Any:
        """Arrays that do not lie in memory as code wants it (views, mostly) are copied into order."""
        inputs = self.graph.inputs
        ordered = list(arrays)
        for k, (node, array) in enumerate(zip(inputs, arrays)):
            dtype = node.dtype.numpy
            if array.shape != node.shape or array.dtype.newbyteorder("=") != dtype:
                raise CompilerError(f"{self.graph.name} with {array.dtype}{list(array.shape)} for {node.op}")
            ordered[k] = np.require(array, dtype, ("C", "A"))
        if all(a is b for a, b in zip(arrays, ordered)):
            raise self._failure(arrays)
        return self._call(*ordered)

    def _failure(self, arrays: Sequence[Array]) -> Exception:
        """What is wrong with arrays that lie in order: an index in them, as the code's last outputs tell."""
        name, checks = self.graph.name, self._compiled.checks

        def refuse(*_: Array) -> None:
            raise CompilerError(f"{name} with arguments that look right but are refused")

        inputs = [ArrayPort(node.dtype.numpy, node.shape) for node in self.graph.inputs]
        outputs = [ArrayPort(node.dtype.numpy, node.shape) for node in self.graph.outputs]
        outputs += [ArrayPort(np.dtype(bool), ()) for _ in checks]
        call = self._bind(inputs, outputs, tuple(range(len(outputs))), refuse, (), None)
        flags = call(*arrays)[len(outputs) - len(checks) :]
        failed = [check for check, flag in zip(checks, flags, strict=True) if flag]
        return failed[0].error() if failed else CompilerError(f"{name} is refused, but nothing is wrong")


def _work(compiled: Compiled) -> int:
    """About how many operations a call takes."""
    products = sum(
        n.type.size * n.inputs[0].shape[-1] for n in compiled.optimised.nodes if isinstance(n.op, Dot)
    )
    return products + sum(n.type.size for n in compiled.optimised.nodes)
