"""A graph with loops as something to call: programs one after another, and again and again, natively.

In flow arrays, out flow arrays, as of a `NativeProgram`. What is called in which order, and where each value
lies, is written down once (`writing.py`), and `looping.py` goes through it. So the whole is code like any
program's: a call copies the records to its arena, and runs no Python, but for what LAPACK computes.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib import import_module
from threading import get_ident
from typing import Any

import numpy as np

from retrograd.compiler.ir.graph import Array, Graph, Node, Type
from retrograd.compiler.native.language import places
from retrograd.compiler.record import NamedTuple
from retrograd.runtime.native import cpu, looping
from retrograd.runtime.native.looping import EXHAUSTED
from retrograd.runtime.native.program import Code, Entered, NativeProgram
from retrograd.runtime.native.staged import Staged, evaluated
from retrograd.runtime.native.writing import At, Part, Written

_WORD = 8
_ALIGNMENT = 64


class _Called(NamedTuple):
    """What stands behind a step."""

    program: NativeProgram | None
    given: int
    """Where the addresses are that it was given, in words."""


class LoopedProgram(Staged, NativeProgram):
    """A compiled graph with loops, which native calls run like any other.

    A call raises what its programs would: an index out of range, at the user's line; LinearAlgebraError;
    MemoryError; and what a signal's handler raises, a few hundredths of a second or a turn after it.
    """

    def _made(self) -> tuple[Code, Entered]:
        written = _Loaded(self._placed, self._updates)
        self._written = written
        self.programs: list[Any] = written.programs
        code = Code("enter", written.arena_bytes, 1, True, written.straight, [], None, [])
        return code, written

    def failure(self, arrays: Sequence[Array]) -> BaseException:
        """Why a call with these arrays, which lie in order, was not done."""
        _function("raise_pending")()
        return _failures.pop(get_ident(), None) or self._written.failure(arrays)


class _Loaded(Written):
    """A graph with loops, in memory: the words, and what they lead to."""

    def __init__(self, graph: Graph, updates: Mapping[int, int]) -> None:
        self.programs: list[NativeProgram] = []
        self._last: NativeProgram | None = None
        self._called: dict[int, _Called] = {}
        self._hosted: list[_Hosted] = []
        super().__init__(graph, updates)
        self._memory = np.array(self.words, np.int64)
        self._memory[self.inner] += self._memory.ctypes.data

    @property
    def context(self) -> int:
        """Where the plan is."""
        address: int = self._memory[self.plan.word :].ctypes.data
        return address

    def address(self, name: str) -> int:
        """Where the code is: `interrupting.enter`, for all."""
        return _library().address(name)

    def part(self, graph: Graph, updates: Mapping[int, int]) -> Part:
        self._last = program = NativeProgram(graph, dict(updates))
        self.programs.append(program)
        code = program.code
        constants = [array.ctypes.data for array in code.constants]
        return Part(*program.entry, constants, code.arena_bytes, code.checks, program.straight)

    def host(self, node: Node) -> int:
        self._last = None
        self._hosted.append(_Hosted(node))
        return self._hosted[-1].address

    def called(self, step: At, given: At) -> None:
        self._called[step.word] = _Called(self._last, given.word)

    def failure(self, arrays: Sequence[Array]) -> BaseException:
        """What goes wrong with these arrays, which is found out by trying again."""
        arena = np.empty(self.arena_bytes + _ALIGNMENT, np.uint8)
        arena = arena[-arena.ctypes.data % _ALIGNMENT :]
        outputs = [np.empty(n.shape, n.dtype.numpy) for n in self._graph.outputs]
        given = [*arrays, *outputs, np.empty(1, bool), arena]
        _function("enter")((ctypes.c_void_p * len(given))(*(x.ctypes.data for x in given)), self.context)
        image = arena[self.place :].view(np.int64)
        fields = places(looping.State).items()
        state = {name: int(image[self.state.word + where.start]) for name, where in fields}
        if state["code"] == EXHAUSTED:
            return MemoryError("a loop's history has outgrown the memory")
        called = self._called[(state["failed"] - image.ctypes.data) // _WORD]
        if called.program is None:
            return _failures.pop(get_ident())
        inputs = called.program.graph.inputs
        there = image[called.given :]
        return called.program.failure([_seen(int(at), n.type) for at, n in zip(there, inputs)])


def _seen(address: int, kind: Type) -> Array:
    """What lies there."""
    memory: Any = (ctypes.c_char * kind.nbytes).from_address(address)
    return np.ndarray(kind.shape, kind.dtype.numpy, memory)


# ---- what NumPy computes -----------------------------------------------------------------------------------

_failures: dict[int, BaseException] = {}
"""What a hosted op has raised, by thread."""


class _Hosted:
    """An op that is evaluated, as a program: operands, the result and a flag, and an arena."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._code = ctypes.CFUNCTYPE(None, ctypes.POINTER(ctypes.c_size_t), ctypes.c_void_p)(self._run)
        self.address = ctypes.cast(self._code, ctypes.c_void_p).value or 0

    def _run(self, given: Any, context: int | None) -> None:
        inputs = self._node.inputs
        ctypes.c_bool.from_address(given[len(inputs) + 1]).value = True
        try:
            operands = [_seen(given[k], n.type) for k, n in enumerate(inputs)]
            _seen(given[len(inputs)], self._node.type)[...] = evaluated(self._node, operands)
        except BaseException as told:  # it is raised where the program was called
            _failures[get_ident()] = told
        else:
            ctypes.c_bool.from_address(given[len(inputs) + 1]).value = False


def _functions() -> Sequence[Callable[..., Any]]:
    """Late: what is in the cache needs none of them."""
    interrupting = import_module("retrograd.runtime.native.interrupting")
    return [interrupting.enter, interrupting.raise_pending, interrupting.may_go_on]


@cache
def _library() -> cpu.Library:
    return cpu.load_native("looping", _functions, {}, {})


@cache
def _function(name: str) -> Callable[..., None]:
    """One of its functions, which is called with Python's lock held."""
    takes = [ctypes.c_void_p] * (2 if name == "enter" else 0)
    return ctypes.PYFUNCTYPE(None, *takes)(_library().address(name))
