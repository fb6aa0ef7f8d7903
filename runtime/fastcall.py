"""A Python callable around a compiled program: guards, unpacking and boxing are native, Python only a miss.

    f = make("loss", library.address("loss"), arguments, outputs, arena_bytes, miss, returns=(0, (1, 2)))

Arguments and outputs are *ports*: `ArrayPort`, `TensorPort`, `FloatPort`, for arguments `ConstantPort` and
`GroupPort`, for outputs `FlagPort`. A call whose arguments all pass their ports runs the program and boxes
its outputs as `returns` says (`runtime/returns.py`); any other call, keywords included, is handed to
`miss(*args, **kwargs)`, and its result or exception is the call's. What a program takes besides arguments is
*held*: objects with a port each, which are looked into at every call.

The work is done by the native function of `runtime/trampoline.py`, which reads the record written here.
Where the interpreter's objects are not laid out as expected, `_PythonCall` does the same in Python, more
slowly. A new kind of port is a class here and a row there.
"""

from __future__ import annotations

import ctypes
import functools
import struct
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrograd.compiler.errors import CompilerError
from retrograd.runtime import cpu, trampoline
from retrograd.runtime.layout import layout, slot_offset
from retrograd.runtime.returns import Given, Giving, Returns, outputs_of
from retrograd.runtime.returns import steps as steps_of
from retrograd.runtime.watching import Watch

Array = NDArray[Any]

_METH_FASTCALL_KEYWORDS = 0x80 | 0x02
_NEW_FROM_DESCR, _EQUIVALENT_TYPES = 94, 182
"""Places in NumPy's table of functions, which are part of its binary interface."""


@dataclass(frozen=True, slots=True)
class ArrayPort:
    """A C-contiguous, aligned ndarray of this dtype and shape."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    def words(self) -> list[int]:
        """The port in the record."""
        return _port(trampoline.ARRAY, np.ndarray, 0, self.dtype, self.shape)

    def open(self, argument: object) -> Array | None:
        """The array whose data the program reads; None if the argument is not like the port."""
        if type(argument) is not np.ndarray or argument.dtype != self.dtype or argument.shape != self.shape:
            return None
        return argument if argument.flags.c_contiguous and argument.flags.aligned else None

    def new(self) -> tuple[Any, Array]:
        """A new object to give back, and the array that the program writes."""
        array = np.empty(self.shape, self.dtype)
        return array, array


@dataclass(frozen=True, slots=True)
class TensorPort:
    """An object of just this class with `__slots__`, one of which holds an array as `ArrayPort` wants it."""

    cls: type
    slot: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    also: Mapping[str, object] = field(default_factory=dict)
    """Other slots. In an argument each must hold this very object; in an output it is put there."""

    def words(self) -> list[int]:
        pairs = [word for name, it in self.also.items() for word in (slot_offset(self.cls, name), id(it))]
        return _port(
            trampoline.ARRAY, self.cls, slot_offset(self.cls, self.slot), self.dtype, self.shape, pairs
        )

    def open(self, argument: object) -> Array | None:
        if type(argument) is not self.cls:
            return None
        if any(getattr(argument, name, _ABSENT) is not it for name, it in self.also.items()):
            return None
        return ArrayPort(self.dtype, self.shape).open(getattr(argument, self.slot, _ABSENT))

    def new(self) -> tuple[Any, Array]:
        tensor: object = object.__new__(self.cls)
        array = np.empty(self.shape, self.dtype)
        for name, it in {self.slot: array, **self.also}.items():
            setattr(tensor, name, it)
        return tensor, array


@dataclass(frozen=True, slots=True)
class FloatPort:
    """A Python float, which the program sees as a pointer to an f64 or f32."""

    dtype: np.dtype[Any]

    def words(self) -> list[int]:
        kinds = {np.dtype(np.float64): trampoline.F64, np.dtype(np.float32): trampoline.F32}
        if self.dtype not in kinds:
            raise CompilerError(f"a Python float cannot be passed as {self.dtype}")
        return [kinds[self.dtype], 2]

    def open(self, argument: object) -> Array | None:
        if type(argument) is not float:
            return None
        with np.errstate(over="ignore"):
            return np.array(argument, self.dtype)

    def new(self) -> tuple[Any, Array]:
        return None, np.empty((), self.dtype)


@dataclass(frozen=True, slots=True)
class ConstantPort:
    """Just this object: what the program was compiled for, and does not see."""

    value: object

    def words(self) -> list[int]:
        return [trampoline.CONSTANT, 3, id(self.value)]

    def open(self, argument: object) -> Array | None:
        return _UNSEEN if argument is self.value else None


class WeakPort:
    """Just this object, which is not kept alive. When it is no more, every call is a miss."""

    __slots__ = ("_id", "reference")

    def __init__(self, value: object) -> None:
        self._id = id(value)
        self.reference = weakref.ref(value)

    def words(self) -> list[int]:
        return [trampoline.CONSTANT, 3, self._id]

    def open(self, argument: object) -> Array | None:
        return _UNSEEN if argument is self.reference() else None


@dataclass(frozen=True, slots=True)
class GroupPort:
    """A list, tuple or dict of just this class with these members; of a dict also these keys, in order."""

    cls: type
    keys: tuple[object, ...]
    members: tuple[Port, ...]

    def words(self) -> list[int]:
        inside = [word for port in self.members for word in port.words()]
        keys = [id(key) for key in self.keys]
        words = [trampoline.GROUP, 0, id(self.cls), trampoline.GROUPS[self.cls], len(self.members)]
        words[1] = len(words) + len(keys) + len(inside)
        return [*words, *keys, *inside]

    def opened(self, argument: Any) -> list[tuple[object, Array]] | None:
        """The leaves with their arrays."""
        kind: type = type(argument)
        if kind is not self.cls or len(argument) != len(self.members):
            return None
        if kind is dict and any(a is not b for a, b in zip(argument, self.keys)):
            return None
        return _opened(self.members, list(argument.values()) if kind is dict else argument)


@dataclass(frozen=True, slots=True)
class FlagPort:
    """A byte that the program sets where the call must go to `miss` after all."""

    def words(self) -> list[int]:
        return [trampoline.FLAG, 2]

    def new(self) -> tuple[Any, Array]:
        return None, np.zeros((), np.uint8)


@dataclass(frozen=True, slots=True)
class UpdatePort:
    """The memory of one of the program's inputs, by its number: it is written anew, and not given back.

    Straight, if the program does not read an element after it has written it; else by a copy at the end.
    """

    number: int
    nbytes: int
    straight: bool

    def new(self) -> tuple[Any, Array]:
        return None, np.zeros(self.nbytes, np.uint8)


OutputPort = ArrayPort | TensorPort | FloatPort | FlagPort | UpdatePort
LeafPort = ArrayPort | TensorPort | FloatPort | ConstantPort | WeakPort
Port = LeafPort | GroupPort
Held = tuple[object, LeafPort]

_ABSENT = object()
_UNSEEN: Array = np.empty(0)


def make(
    name: str,
    entry: int,
    arguments: Sequence[Port],
    outputs: Sequence[OutputPort],
    arena_bytes: int,
    miss: Callable[..., Any],
    returns: Returns = 0,
    *,
    held: Sequence[Held] = (),
    guards: Watch | None = None,
    long_running: bool = False,
    keep: object = None,
) -> Callable[..., Any]:
    """A callable that runs the program at address `entry`.

    `returns` names no output twice. Where the `guards` do not hold, the call is a miss. `long_running`
    releases the interpreter's lock meanwhile, which pays from about 10 µs of work on. `keep`, the program's
    `Library`, lives as long as the callable.
    """
    named = list(outputs_of(returns))
    if len(set(named)) != len(named) or not set(named) <= set(range(len(outputs))):
        raise CompilerError(f"returns {returns!r} name outputs twice, or some that there are not")
    if layout() is None:
        return _PythonCall(name, entry, arguments, outputs, arena_bytes, miss, returns, held, keep)
    guards, mortal = _expiring(arguments, guards)
    guarded = guards.address if guards is not None else 0
    record = _record(entry, arguments, outputs, arena_bytes, returns, held, guarded, long_running)
    native = ctypes.cast(_trampoline().address("retrograd_call"), ctypes.c_void_p)
    definition = _MethodDef(name.encode(), native, _METH_FASTCALL_KEYWORDS, None)
    objects = tuple([thing for thing, _ in held])
    ports = (tuple(arguments), tuple(outputs), held)
    kept = (record, miss, objects, definition, ports, returns, guards, mortal, keep)
    return _new_function(ctypes.addressof(definition), kept, "retrograd")  # type: ignore[no-any-return]


def check(arguments: Sequence[Port], held: Sequence[Held], guards: Watch | None) -> Callable[..., bool]:
    """A callable that runs nothing, and says whether a call would pass the ports and guards."""
    if layout() is None:
        return lambda *args: (
            len(args) == len(arguments)
            and (
                _opened([*arguments, *(port for _, port in held)], [*args, *(thing for thing, _ in held)])
                is not None
            )
        )
    nothing = _trampoline().address("retrograd_nothing")
    return make("check", nothing, arguments, [], 0, _no, Given(True), held=held, guards=guards)


def _no(*args: object, **kwargs: object) -> bool:
    return False


def _port(
    kind: int, cls: type, slot: int, dtype: np.dtype[Any], shape: Sequence[int], pairs: Sequence[int] = ()
) -> list[int]:
    words = [kind, 0, id(cls), slot, id(dtype), len(shape), len(pairs) // 2, *shape, *pairs]
    words[1] = len(words)
    return words


def _record(
    entry: int,
    arguments: Sequence[Port],
    outputs: Sequence[OutputPort],
    arena_bytes: int,
    returns: Returns,
    held: Sequence[Held],
    guards: int,
    long_running: bool,
) -> bytes:
    """What the trampoline reads; its grammar stands there."""
    kept: dict[int, int] = {}
    steps = list(steps_of(returns, kept))
    leaves = [*leaves_of(arguments), *(port for _, port in held)]
    into = [word for port in arguments for word in port.words()]
    beside = [word for _, port in held for word in port.words()]
    out, arena_bytes = _outputs(outputs, arena_bytes)
    held_at = len(trampoline.HEAD) + len(into)
    outputs_at = held_at + len(beside)
    head = {
        "entry": entry,
        "arguments": len(arguments),
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
    }
    words = [head[name] for name in trampoline.HEAD]
    words += [*into, *beside, *out, *(word for step in steps for word in step)]
    return struct.pack(f"<{len(words)}Q", *words)


def _outputs(ports: Sequence[OutputPort], arena_bytes: int) -> tuple[list[int], int]:
    """The words of all outputs, and the bytes of the arena with what is copied out of it."""
    words: list[int] = []
    for port in ports:
        if not isinstance(port, UpdatePort):
            words += port.words()
            continue
        place = -1 if port.straight else -(-arena_bytes // 64) * 64
        words += [trampoline.UPDATE, 5, port.number, place % (1 << 64), port.nbytes]
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


def leaves_of(ports: Sequence[Port]) -> Iterator[LeafPort]:
    for port in ports:
        if isinstance(port, GroupPort):
            yield from leaves_of(port.members)
        else:
            yield port


def _opened(ports: Sequence[Port], things: Sequence[Any]) -> list[tuple[object, Array]] | None:
    """All leaves with their arrays; None if something is not like its port."""
    found: list[tuple[object, Array]] = []
    for port, thing in zip(ports, things, strict=True):
        if isinstance(port, GroupPort):
            inside = port.opened(thing)
            if inside is None:
                return None
            found += inside
            continue
        array = port.open(thing)
        if array is None:
            return None
        found.append((thing, array))
    return found


class _MethodDef(ctypes.Structure):
    """CPython's PyMethodDef."""

    _fields_ = [
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    ]


_new_function = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.py_object, ctypes.py_object)(
    ("PyCFunction_NewEx", ctypes.pythonapi)
)


@functools.cache
def _trampoline() -> cpu.Library:
    places = layout()
    if places is None:
        raise CompilerError("native calls need to know where objects keep their data")
    numpy_core = getattr(np, "_core", None) or np.core
    pointer_of = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
        ("PyCapsule_GetPointer", ctypes.pythonapi)
    )
    table = ctypes.cast(
        pointer_of(numpy_core._multiarray_umath._ARRAY_API, None), ctypes.POINTER(ctypes.c_void_p)
    )
    return cpu.load_part(
        trampoline.trampoline_text(places),
        {
            "numpy_array_type": id(np.ndarray),
            "numpy_new_from_descr": table[_NEW_FROM_DESCR] or 0,
            "numpy_equivalent_types": table[_EQUIVALENT_TYPES] or 0,
        },
    )


class _PythonCall:
    """The trampoline's work in Python, for an interpreter that keeps its objects in another way. There, the
    caller looks after the guards."""

    def __init__(
        self,
        name: str,
        entry: int,
        arguments: Sequence[Port],
        outputs: Sequence[OutputPort],
        arena_bytes: int,
        miss: Callable[..., Any],
        returns: Returns,
        held: Sequence[Held],
        keep: object,
    ) -> None:
        self.__name__ = name
        self._program = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(entry)
        self._arguments, self._outputs, self._arena_bytes = tuple(arguments), tuple(outputs), arena_bytes
        self._ports = [*arguments, *(port for _, port in held)]
        self._held = [thing for thing, _ in held]
        self._miss, self._returns, self._keep = miss, returns, keep

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if kwargs or len(args) != len(self._arguments):
            return self._miss(*args, **kwargs)
        opened = _opened(self._ports, [*args, *self._held])
        if opened is None:
            return self._miss(*args)
        made = [port.new() for port in self._outputs]
        arena = np.empty(self._arena_bytes + 64, np.uint8)
        arena = arena[-arena.ctypes.data % 64 :]
        seen = [array for _, array in opened if array is not _UNSEEN]
        arrays = [*seen, *(array for _, array in made), arena]
        self._program((ctypes.c_void_p * len(arrays))(*(array.ctypes.data for array in arrays)))
        if any(isinstance(port, FlagPort) and array for port, (_, array) in zip(self._outputs, made)):
            return self._miss(*args)
        for port, (_, array) in zip(self._outputs, made):
            if isinstance(port, UpdatePort):
                ctypes.memmove(seen[port.number].ctypes.data, array.ctypes.data, port.nbytes)
        numbers = [isinstance(port, FloatPort) for port in self._outputs]
        outputs = [float(array) if number else thing for number, (thing, array) in zip(numbers, made)]
        leaves, leaf_arrays = [thing for thing, _ in opened], [array for _, array in opened]
        return Giving(outputs, [array for _, array in made], leaves, leaf_arrays, {}).give(self._returns)
