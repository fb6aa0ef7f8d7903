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
from _thread import allocate_lock, start_new_thread
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Any

from retrograd.compiler.backends.cpu import Target, assemble, bindings, lean, level_for, new_machine
from retrograd.compiler.errors import CompilerError

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
        self._hands: list[_Hand] = []
        self._open = ExitStack()

    def __enter__(self) -> Assembler:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._waiting.clear()
        for hand in self._hands:
            hand.join()
        self._open.close()

    def add(self, llvm_text: str) -> None:
        """Have the code of a module made."""
        if not self._jobs:
            self._open.enter_context(_Turns())
        job = _Job(llvm_text, self._target)
        self._open.enter_context(lean(job.level))
        self._jobs.append(job)
        self._waiting.append(job)
        at_work = [hand for hand in self._hands if hand.busy()]
        if len(at_work) < _cores() - 1:
            self._hands = [*at_work, _Hand(self._work)]

    def finish(self, llvm_text: str) -> list[bytes]:
        """The code of all modules, of which this one is the last, unless it is empty."""
        last = [assemble(llvm_text, self._target)] if llvm_text else []
        self._work()
        for hand in self._hands:
            hand.join()
        return [*(job.result() for job in self._jobs), *last]

    def _work(self) -> None:
        """Make code until no module waits."""
        while True:
            try:
                job = self._waiting.popleft()
            except IndexError:  # another thread may have taken the last one
                return
            job.run()


class _Hand:
    """A thread for some work. Python's own class waits until a new thread runs, which takes as long as much
    of a program's text."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._work, self._lock = work, allocate_lock()
        self._lock.acquire()
        start_new_thread(self._run, ())

    def _run(self) -> None:
        try:
            self._work()
        finally:
            self._lock.release()

    def busy(self) -> bool:
        return self._lock.locked()

    def join(self) -> None:
        """Wait until it is done."""
        with self._lock:
            pass


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
        context = call.LLVMPY_ContextCreate()
        try:
            module = call.LLVMPY_ParseAssembly(context, self._text.encode(), ctypes.byref(message))
            try:
                if not message.value:
                    call.LLVMPY_SetTarget(module, triple)
                    call.LLVMPY_SetDataLayout(module, layout)
                    if not call.LLVMPY_VerifyModule(module, ctypes.byref(message)):
                        self._emit(call, module)
            finally:
                call.LLVMPY_DisposeModule(module)
        finally:
            call.LLVMPY_ContextDispose(context)
        _idle(self._target, self.level).append(self._machine)

    def _emit(self, call: ctypes.CDLL, module: Any) -> None:
        """Make the code of a module that is right."""
        code = call.LLVMPY_TargetMachineEmitToMemory(
            self._machine, module, 1, ctypes.byref(ctypes.c_char_p())
        )
        if code:
            start, size = call.LLVMPY_GetBufferStart(code), call.LLVMPY_GetBufferSize(code)
            self._code = ctypes.string_at(start, size)
            call.LLVMPY_DisposeMemoryBuffer(code)

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


_CALLED = (
    "ContextCreate", "ContextDispose", "ParseAssembly", "VerifyModule", "SetTarget", "SetDataLayout",
    "DisposeModule", "TargetMachineEmitToMemory", "GetBufferStart", "GetBufferSize", "DisposeMemoryBuffer",
)  # fmt: skip


@functools.cache
def _library() -> ctypes.CDLL:
    """LLVM's functions, without the lock of the bindings."""
    locked = bindings().ffi.lib
    library = ctypes.CDLL(locked._name)
    for name in _CALLED:
        known, function = getattr(locked, f"LLVMPY_{name}"), getattr(library, f"LLVMPY_{name}")
        function.argtypes, function.restype = known.argtypes, known.restype
    return library
