"""Object code of a program in several modules, made while the rest of its text is still being written.

    with Assembler(target) as assembler:
        compiled = compile_graph(graph, target, give=assembler.add)
        object_codes = assembler.finish(compiled.rest)

LLVM's bindings hold a lock for as long as any call of theirs runs, so its library is called past them here:
modules of different contexts have nothing in common, and each has a code generator of its own. A thread does
nothing but call LLVM, for it waits for Python each time that it comes back.
"""

from __future__ import annotations

import ctypes
import functools
import os
import threading
from collections import deque
from contextlib import ExitStack
from types import TracebackType
from typing import Any

from retrograd.compiler.backends.cpu import Target, assemble, bindings, lean, new_machine, parsed
from retrograd.compiler.errors import CompilerError


class Assembler:
    """One program's modules on their way to object code. Errors are those of `assemble`.

    Whoever writes the text keeps a core to itself: with another thread than its own on each of the others, it
    would wait for its turn.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._jobs: list[_Job] = []
        self._waiting: deque[_Job] = deque()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Assembler:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._waiting.clear()
        for thread in self._threads:
            thread.join()
        for job in self._jobs:
            job.close()

    def add(self, llvm_text: str) -> None:
        """Have the code of a module made."""
        job = _Job(llvm_text, self._target)
        self._jobs.append(job)
        self._waiting.append(job)
        at_work = [thread for thread in self._threads if thread.is_alive()]
        if len(at_work) < max(1, _cores() - 1):
            self._threads = [*at_work, threading.Thread(target=self._work)]
            self._threads[-1].start()

    def finish(self, llvm_text: str) -> list[bytes]:
        """The code of all modules, of which this one is the last."""
        self._work()
        last = assemble(llvm_text, self._target)
        for thread in self._threads:
            thread.join()
        return [*(job.result() for job in self._jobs), last]

    def _work(self) -> None:
        """Make code until no module waits."""
        while True:
            try:
                job = self._waiting.popleft()
            except IndexError:  # another thread may have taken the last one
                return
            job.run()


class _Job:
    """One module."""

    def __init__(self, llvm_text: str, target: Target) -> None:
        self._target = target
        self._machine = _idle(target).pop() if _idle(target) else new_machine(target)
        self._open = ExitStack()
        self._module = self._open.enter_context(parsed(llvm_text, self._machine))
        self._open.enter_context(lean())
        self._error = ctypes.c_char_p()
        self._code: Any = None

    def run(self) -> None:
        """Make its code."""
        self._code = _emit_to_memory()(self._machine, self._module, 1, ctypes.byref(self._error))

    def result(self) -> bytes:
        """The object code."""
        library = bindings().ffi.lib
        if not self._code:
            raise CompilerError("LLVM makes no code of a module", (self._error.value or b"").decode())
        found = ctypes.string_at(
            library.LLVMPY_GetBufferStart(self._code), library.LLVMPY_GetBufferSize(self._code)
        )
        library.LLVMPY_DisposeMemoryBuffer(self._code)
        return found

    def close(self) -> None:
        """Give back what LLVM worked with."""
        self._open.close()
        _idle(self._target).append(self._machine)


def _cores() -> int:
    """Processors that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@functools.cache
def _idle(target: Target) -> list[Any]:
    """Code generators that nobody uses."""
    return []


@functools.cache
def _emit_to_memory() -> Any:
    """LLVM's function, without the lock of the bindings."""
    library = bindings().ffi.lib
    function = ctypes.CDLL(library._name).LLVMPY_TargetMachineEmitToMemory
    function.argtypes = library.LLVMPY_TargetMachineEmitToMemory.argtypes
    function.restype = library.LLVMPY_TargetMachineEmitToMemory.restype
    return function
