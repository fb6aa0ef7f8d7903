"""A Python callable around a compiled program: guards, unpacking and boxing are native, Python only a miss.

    f = make("loss", library.address("loss"), arguments, outputs, arena_bytes, miss, returns=(0, (1, 2)))

Arguments and outputs are *ports* (`ports.py`). A call whose arguments all pass their ports runs the
program and boxes its outputs as `returns` says (`returns.py`); any other call is handed to
`miss(*args, **kwargs)`, and its result or exception is the call's. What a program takes besides arguments is
*held*: objects with a port each, which are looked into at every call.

An `InlineCache` is one callable in front of several: it runs the first that takes the arguments.

The work is done by the native functions of `trampoline.py`, which read the record written here. Where
the interpreter's objects are not laid out as expected, `_PythonCall` does the same in Python, more slowly.
"""

from __future__ import annotations

import ctypes
import functools
import struct
import sys
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from retrograd.compiler.errors import CompilerError
from retrograd.compiler.record import contents
from retrograd.runtime.native import buffers, cpu
from retrograd.runtime.native.builtins import builtin
from retrograd.runtime.native.grammar import HEAD, SAVED_BYTES, Kind
from retrograd.runtime.native.layout import dict_values, layout, numpy_function
from retrograd.runtime.native.ports import (
    UNSEEN,
    ConstantPort,
    DrawPort,
    FlagPort,
    FloatPort,
    Held,
    IntegerPort,
    OutputPort,
    Port,
    UpdatePort,
    WeakPort,
    leaves_of,
    opened,
)
from retrograd.runtime.native.returns import Given, Giving, Returns, outputs_of
from retrograd.runtime.native.returns import steps as steps_of
from retrograd.runtime.native.watching import Watch


def make(
    name: str,
    entry: int,
    arguments: Sequence[Port],
    outputs: Sequence[OutputPort],
    arena_bytes: int,
    miss: Callable[..., Any],
    returns: Returns = 0,
    *,
    names: tuple[str, ...] = (),
    held: Sequence[Held] = (),
    guards: Watch | None = None,
    long_running: bool = False,
    keep: object = None,
    context: int = 0,
) -> Callable[..., Any]:
    """A callable that runs the program at address `entry`, which is given the `context` after its pointers.

    The last arguments are passed by these `names`, in this order. `returns` names no output twice. Where the
    `guards` do not hold, the call is a miss. `long_running` releases the interpreter's lock meanwhile, which
    pays from about 10 µs of work on. `keep`, the program's `Library`, lives as long as the callable.
    """
    named = list(outputs_of(returns))
    if len(set(named)) != len(named) or not set(named) <= set(range(len(outputs))):
        raise CompilerError(f"returns {returns!r} name outputs twice, or some that there are not")
    if layout() is None:
        return _PythonCall(
            name, entry, context, arguments, outputs, arena_bytes, miss, returns, names, held, keep
        )
    names = tuple(map(sys.intern, names))
    guards, mortal = _expiring(arguments, guards)
    guarded = guards.address if guards is not None else 0
    record = _record(
        entry, context, arguments, outputs, arena_bytes, returns, names, held, guarded, long_running
    )
    objects = tuple([thing for thing, _ in held])
    ports = (tuple(arguments), tuple(outputs), held)
    kept = (record, miss, objects, names, ports, returns, guards, mortal, keep)
    return _function(name, None, "retrograd_call", kept)


class InlineCache:
    """`call(…)` runs the first of the callables that takes the arguments, the last added first; `miss` gets
    what none of them takes. Callables are what `make` gives; their own `miss` is not asked."""

    def __init__(self, name: str, doc: str | None, limit: int, miss: Callable[..., Any]) -> None:
        self._limit, self._entries = limit, list[object]()
        self.call = (
            miss if layout() is None else _function(name, doc, "retrograd_choose", (self._entries, miss))
        )

    def add(self, callable_: Callable[..., Any]) -> None:
        """Ask this one first, unless it is asked anyway; of too many, the oldest is dropped."""
        entry = callable_.__self__  # type: ignore[attr-defined]  # of built-in functions
        if not any(known is entry for known in self._entries):
            self._entries[:] = [entry, *self._entries][: self._limit]

    def drop(self, callable_: Callable[..., Any]) -> None:
        """Ask this one no more."""
        entry = callable_.__self__  # type: ignore[attr-defined]  # of built-in functions
        self._entries[:] = [known for known in self._entries if known is not entry]


def check(arguments: Sequence[Port], held: Sequence[Held], guards: Watch | None) -> Callable[..., bool]:
    """A callable that runs nothing, and says whether a call would pass the ports and guards."""
    if layout() is None:
        return lambda *args: (
            len(args) == len(arguments)
            and (
                opened([*arguments, *(port for _, port in held)], [*args, *(thing for thing, _ in held)])
                is not None
            )
        )
    nothing = _trampoline().address("retrograd_nothing")
    return make("check", nothing, arguments, [], 0, _no, Given(True), held=held, guards=guards)


def _no(*args: object, **kwargs: object) -> bool:
    return False


def _record(
    entry: int,
    context: int,
    arguments: Sequence[Port],
    outputs: Sequence[OutputPort],
    arena_bytes: int,
    returns: Returns,
    names: tuple[str, ...],
    held: Sequence[Held],
    guards: int,
    long_running: bool,
) -> bytes:
    """What the trampoline reads, as `grammar.py` says."""
    kept: dict[int, int] = {}
    steps = list(steps_of(returns, kept))
    leaves = [*leaves_of(arguments), *(port for _, port in held)]
    into = [word for port in arguments for word in port.words()]
    beside, arena_bytes = _held(held, arena_bytes)
    out, arena_bytes = _outputs(outputs, arena_bytes)
    draws = sum(isinstance(port, DrawPort) for _, port in held)
    may_miss = any(isinstance(port, FlagPort) for port in outputs)
    held_at = len(HEAD) + len(into)
    outputs_at = held_at + len(beside)
    head = {
        "entry": entry,
        "context": context,
        "positional": len(arguments) - len(names),
        "arguments": len(arguments),
        "names": id(names) if names else 0,
        "leaves": len(leaves),
        "pointers": sum(not isinstance(port, ConstantPort | WeakPort) for port in leaves) + len(outputs) + 1,
        "arena": arena_bytes,
        "long": int(long_running),
        "outputs": len(outputs),
        "held": len(held),
        "held_at": held_at,
        "outputs_at": outputs_at,
        "returns_at": outputs_at + len(out),
        "steps": len(steps),
        "registers": len(kept),
        "guards": guards,
        "updates": sum(isinstance(port, UpdatePort) for port in outputs),
        "draws": draws,
        "saved": draws * SAVED_BYTES if may_miss else 0,
    }
    words = [head[name] for name in HEAD]
    words += [*into, *beside, *out, *(word for step in steps for word in step)]
    return struct.pack(f"<{len(words)}Q", *[word % (1 << 64) for word in words])


def _held(held: Sequence[Held], arena_bytes: int) -> tuple[list[int], int]:
    """The words of all held objects, and the bytes of the arena with random numbers that nobody keeps."""
    words: list[int] = []
    for _, port in held:
        if not isinstance(port, DrawPort) or port.kept:
            words += port.words()
            continue
        place = -(-arena_bytes // 64) * 64
        words += port.words(place)
        arena_bytes = place + port.nbytes
    return words, arena_bytes


def _outputs(ports: Sequence[OutputPort], arena_bytes: int) -> tuple[list[int], int]:
    """The words of all outputs, and the bytes of the arena with what is copied out of it."""
    words: list[int] = []
    for port in ports:
        if not isinstance(port, UpdatePort):
            words += port.words()
            continue
        place = -1 if port.straight else -(-arena_bytes // 64) * 64
        words += [Kind.UPDATE, 5, port.number, place, port.nbytes]
        arena_bytes = arena_bytes if port.straight else place + port.nbytes
    return words, arena_bytes


def _expiring(arguments: Sequence[Port], guards: Watch | None) -> tuple[Watch | None, list[object]]:
    """The guards, failing as soon as an object that is not kept alive is gone: its address may be given to
    another one. And what must be kept for this."""
    weak = [port.reference() for port in leaves_of(arguments) if isinstance(port, WeakPort)]
    if not weak:
        return guards, []
    watch = guards or Watch([0, 0], ())
    return watch, [weakref.ref(thing, lambda _: watch.expire()) for thing in weak]


def _function(name: str, doc: str | None, native: str, kept: tuple[Any, ...]) -> Callable[..., Any]:
    return builtin(name, doc, _trampoline().address(native), kept)


@functools.cache
def _trampoline() -> cpu.Library:
    places = layout()
    if places is None:
        raise CompilerError("native calls need to know where objects keep their data")
    return cpu.load_native(
        "trampoline",
        cpu.exported("retrograd.runtime.native.trampoline"),
        contents(places) | {"dict_values": dict_values()},
        buffers.symbols() | {"numpy_equivalent_types": numpy_function("PyArray_EquivTypes")},
    )


class _PythonCall:
    """The trampoline's work in Python, for an interpreter that keeps its objects in another way. There, the
    caller looks after the guards."""

    def __init__(
        self,
        name: str,
        entry: int,
        context: int,
        arguments: Sequence[Port],
        outputs: Sequence[OutputPort],
        arena_bytes: int,
        miss: Callable[..., Any],
        returns: Returns,
        names: tuple[str, ...],
        held: Sequence[Held],
        keep: object,
    ) -> None:
        self.__name__ = name
        self._program = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)(entry)
        self._context = context
        self._arguments, self._outputs, self._arena_bytes = tuple(arguments), tuple(outputs), arena_bytes
        self._ports = [*arguments, *(port for _, port in held)]
        self._held = [thing for thing, _ in held]
        self._miss, self._returns, self._names, self._keep = miss, returns, names, keep

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        given = (*args, *kwargs.values())
        if tuple(kwargs) != self._names or len(given) != len(self._arguments):
            return self._miss(*args, **kwargs)
        leaves = opened(self._ports, [*given, *self._held])
        if leaves is None:
            return self._miss(*args, **kwargs)
        made = [port.new() for port in self._outputs]
        arena = np.empty(self._arena_bytes + 64, np.uint8)
        arena = arena[-arena.ctypes.data % 64 :]
        seen = [array for _, array in leaves if array is not UNSEEN]
        arrays = [*seen, *(array for _, array in made), arena]
        pointers = (ctypes.c_void_p * len(arrays))(*(array.ctypes.data for array in arrays))
        self._program(pointers, self._context)
        if any(isinstance(port, FlagPort) and array for port, (_, array) in zip(self._outputs, made)):
            return self._miss(*args, **kwargs)
        for port, (_, array) in zip(self._outputs, made):
            if isinstance(port, UpdatePort):
                ctypes.memmove(seen[port.number].ctypes.data, array.ctypes.data, port.nbytes)
        numbers = [isinstance(port, FloatPort | IntegerPort) for port in self._outputs]
        outputs = [array.item() if number else thing for number, (thing, array) in zip(numbers, made)]
        things, leaf_arrays = [thing for thing, _ in leaves], [array for _, array in leaves]
        return Giving(outputs, [array for _, array in made], things, leaf_arrays, {}).give(self._returns)
