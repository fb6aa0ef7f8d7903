"""Object code of a program in several modules, made while the rest of its text is still being written.

    with Assembler(target) as assembler:
        compiled = compile_graph(graph, target, give=assembler.add)
        object_codes = assembler.finish(compiled.rest)

LLVM's bindings hold a lock for as long as any call of theirs runs, so its library is called past them here:
modules of different contexts have nothing in common, and each has a code generator of its own. A thread does
nothing but call LLVM. It waits for Python each time that it comes back, and so that it need not wait long,
whoever writes the text is interrupted more often than usual.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys
import threading
from _thread import LockType
from collections import deque
from contextlib import ExitStack
from types import SimpleNamespace, TracebackType
from typing import Any

from retrograd.compiler.backends.cpu import Target, assemble, bindings, lean, level_for, new_machine
from retrograd.compiler.errors import CompilerError
from retrograd.compiler.hands import hand

_TURN = 2e-5
"""Seconds after which Python's threads take turns while modules are under way."""


class Assembler:
    """One program's modules on their way to object code. Errors are those of `assemble`.

    Whoever writes the text keeps a core to itself: with another thread than its own on each of the others, it
    would wait for its turn. Where there is but one core, it makes the code itself, at the end.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._jobs: list[_Job] = []
        self._waiting: deque[_Job] = deque()
        self._works: list[LockType] = []
        """Held by hands, until they are done."""
        self._open = ExitStack()

    def __enter__(self) -> Assembler:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._waiting.clear()
        self._join()
        self._open.close()

    def add(self, llvm_text: str) -> None:
        """Have the code of a module made."""
        if not self._jobs:
            self._open.enter_context(_Turns())
        job = _Job(llvm_text, self._target)
        self._open.enter_context(lean(job.level))
        self._jobs.append(job)
        self._waiting.append(job)
        at_work = [done for done in self._works if done.locked()]
        if len(at_work) < _cores() - 1:
            self._works = [*at_work, hand().begin(self._work)]

    def finish(self, llvm_text: str) -> list[bytes]:
        """The code of all modules, of which this one is the last, unless it is empty."""
        last = [assemble(llvm_text, self._target)] if llvm_text else []
        self._work()
        self._join()
        return [*(job.result() for job in self._jobs), *last]

    def _join(self) -> None:
        """Wait until all hands are done."""
        for done in self._works:
            with done:
                pass

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
        self._text, self._target, self.level = llvm_text, target, level_for(llvm_text, target)
        idle = _idle(target, self.level)
        self._machine = idle.pop() if idle else new_machine(target, self.level)
        self._code: bytes | None = None

    def run(self) -> None:
        """Make its code."""
        call, message = _library(), ctypes.c_char_p()
        triple, layout = _described(self._target)
        context = call.ContextCreate()
        try:
            module = call.ParseAssembly(context, self._text.encode(), ctypes.byref(message))
            try:
                if not message.value:
                    call.SetTarget(module, triple)
                    call.SetDataLayout(module, layout)
                    if not call.VerifyModule(module, ctypes.byref(message)):
                        self._emit(call, module)
            finally:
                call.DisposeModule(module)
        finally:
            call.ContextDispose(context)
        _idle(self._target, self.level).append(self._machine)

    def _emit(self, call: SimpleNamespace, module: Any) -> None:
        """Make the code of a module that is right."""
        code = call.TargetMachineEmitToMemory(self._machine, module, 1, ctypes.byref(ctypes.c_char_p()))
        if code:
            start, size = call.GetBufferStart(code), call.GetBufferSize(code)
            self._code = ctypes.string_at(start, size)
            call.DisposeMemoryBuffer(code)

    def result(self) -> bytes:
        """The object code."""
        if self._code is None:
            assemble(self._text, self._target)  # says what is wrong with the text
            raise CompilerError("LLVM makes no code of a module")
        return self._code


class _Turns:
    """Within, threads that wait for Python get it soon. The interval is the process's, so the last who leaves
    sets it back."""

    _lock = threading.Lock()
    _users = 0
    _usual = 0.0

    def __enter__(self) -> None:
        with self._lock:
            if not _Turns._users:
                _Turns._usual = sys.getswitchinterval()
                sys.setswitchinterval(_TURN)
            _Turns._users += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            _Turns._users -= 1
            if not _Turns._users:
                sys.setswitchinterval(_Turns._usual)


def _cores() -> int:
    """Processors that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@functools.cache
def _idle(target: Target, level: int) -> list[Any]:
    """Code generators that nobody uses."""
    return []


@functools.cache
def _described(target: Target) -> tuple[bytes, bytes]:
    """The triple and the layout of data that a code generator wants a module to have."""
    machine = new_machine(target, level_for("", target))
    return machine.triple.encode(), str(machine.target_data).encode()


_LONG = ("ParseAssembly", "TargetMachineEmitToMemory")
_SHORT = (
    "ContextCreate", "ContextDispose", "VerifyModule", "SetTarget", "SetDataLayout", "DisposeModule",
    "GetBufferStart", "GetBufferSize", "DisposeMemoryBuffer",
)  # fmt: skip
"""What is over sooner than another thread would give Python back."""


@functools.cache
def _library() -> SimpleNamespace:
    """LLVM's functions, without the lock of the bindings. Other threads run Python during the long ones."""
    locked, called = bindings().ffi.lib, SimpleNamespace()
    for loader, names in ((ctypes.CDLL, _LONG), (ctypes.PyDLL, _SHORT)):
        library = loader(locked._name)
        for name in names:
            known, function = getattr(locked, f"LLVMPY_{name}"), getattr(library, f"LLVMPY_{name}")
            function.argtypes, function.restype = known.argtypes, known.restype
            setattr(called, name, function)
    return called
