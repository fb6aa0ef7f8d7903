"""A Python callable around a compiled program: guards, unpacking and boxing are native, Python only a miss.

    f = make("loss", library.address("loss"), arguments, outputs, arena_bytes, miss, returns=(0, (1, 2)))

Arguments and outputs are *ports*: `ArrayPort`, `TensorPort`, `FloatPort`, and for arguments
`ConstantPort`. A call whose arguments all pass their ports runs the program and boxes its outputs as
`returns` says; any other call, keywords included, is handed to `miss(*args, **kwargs)`, and its result or
exception is the call's.

The work is done by the native function of `runtime/trampoline.py`, which reads the record written here.
Where the interpreter's objects are not laid out as expected, `_PythonCall` does the same in Python, more
slowly. A new kind of port is a class here and a row there.
"""

from __future__ import annotations

import ctypes
import functools
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrograd.compiler.errors import CompilerError
from retrograd.runtime import cpu, trampoline
from retrograd.runtime.layout import layout, slot_offset

Returns = int | None | tuple["Returns", ...]
"""How outputs are given back: an output's number, None, or a tuple of these: `(0, (1, None, 2))`."""

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


OutputPort = ArrayPort | TensorPort | FloatPort
Port = OutputPort | ConstantPort

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
    long_running: bool = False,
    keep: object = None,
) -> Callable[..., Any]:
    """A callable that runs the program at address `entry`.

    `returns` names each output just once. `long_running` releases the interpreter's lock meanwhile, which
    pays from about 10 µs of work on. `keep`, the program's `Library`, lives as long as the callable.
    """
    steps = _steps(returns)
    if sorted(which for step, which in steps if step == trampoline.PUSH) != list(range(len(outputs))):
        raise CompilerError(f"returns {returns!r} does not name each of {len(outputs)} outputs once")
    if layout() is None:
        return _PythonCall(name, entry, arguments, outputs, arena_bytes, miss, returns, keep)
    record = _record(entry, arguments, outputs, arena_bytes, long_running, steps)
    native = ctypes.cast(_trampoline().address("retrograd_call"), ctypes.c_void_p)
    definition = _MethodDef(name.encode(), native, _METH_FASTCALL_KEYWORDS, None)
    kept = (record, miss, definition, tuple(arguments), tuple(outputs), keep)
    return _new_function(ctypes.addressof(definition), kept, "retrograd")  # type: ignore[no-any-return]


def _steps(returns: Returns) -> list[tuple[int, int]]:
    """The returns for the trampoline's stack machine."""
    if returns is None:
        return [(trampoline.PUSH_OBJECT, id(None))]
    if isinstance(returns, tuple):
        inner = [step for member in returns for step in _steps(member)]
        return [*inner, (trampoline.PACK, len(returns))]
    return [(trampoline.PUSH, returns)]


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
    long_running: bool,
    steps: Sequence[tuple[int, int]],
) -> bytes:
    """What the trampoline reads; its grammar stands there."""
    into = [word for port in arguments for word in port.words()]
    out = [word for port in outputs for word in port.words()]
    pointers = sum(not isinstance(port, ConstantPort) for port in arguments) + len(outputs) + 1
    head = [entry, len(arguments), pointers, arena_bytes, int(long_running), len(outputs)]
    first_output = len(head) + 3 + len(into)
    head += [first_output, first_output + len(out), len(steps)]
    words = head + into + out + [word for step in steps for word in step]
    return struct.pack(f"<{len(words)}Q", *words)


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
    """The trampoline's work in Python, for an interpreter that keeps its objects in another way."""

    def __init__(
        self,
        name: str,
        entry: int,
        arguments: Sequence[Port],
        outputs: Sequence[OutputPort],
        arena_bytes: int,
        miss: Callable[..., Any],
        returns: Returns,
        keep: object,
    ) -> None:
        self.__name__ = name
        self._program = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(entry)
        self._arguments, self._outputs, self._arena_bytes = tuple(arguments), tuple(outputs), arena_bytes
        self._miss, self._returns, self._keep = miss, returns, keep

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if kwargs or len(args) != len(self._arguments):
            return self._miss(*args, **kwargs)
        opened = [port.open(argument) for port, argument in zip(self._arguments, args)]
        if any(array is None for array in opened):
            return self._miss(*args)
        made = [port.new() for port in self._outputs]
        arena = np.empty(self._arena_bytes + 64, np.uint8)
        arena = arena[-arena.ctypes.data % 64 :]
        seen = [array for array in opened if array is not None and array is not _UNSEEN]
        arrays = [*seen, *(array for _, array in made), arena]
        self._program((ctypes.c_void_p * len(arrays))(*(array.ctypes.data for array in arrays)))
        return self._give([float(array) if thing is None else thing for thing, array in made], self._returns)

    def _give(self, made: list[Any], returns: Returns) -> Any:
        if isinstance(returns, tuple):
            return tuple(self._give(made, member) for member in returns)
        return None if returns is None else made[returns]
