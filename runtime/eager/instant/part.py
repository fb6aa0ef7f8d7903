"""The native part of eager calls: loaded for this interpreter, and made into callables.

In flow the native functions beside this file and where CPython, NumPy and our classes keep what they hold;
out flows `native_function(entry, …)`. A further entry is an `exported` function of one of `_MODULES`, a class
of ours whose members are read natively one of `_members`, an object that is known by name one of `_symbols`.
"""

from __future__ import annotations

import contextvars
import copyreg
import ctypes
import functools
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from retrograd.compiler.dtypes import DType
from retrograd.compiler.errors import RetrogradError
from retrograd.compiler.ir.quiet import quiet_context
from retrograd.compiler.record import contents
from retrograd.runtime import tracing
from retrograd.runtime.device import CPU, device
from retrograd.runtime.eager.instant import (
    records,
)
from retrograd.runtime.eager.kernels import NUMBERS_KNOWN
from retrograd.runtime.eager.opnodes import UNCHANGING, OpNode
from retrograd.runtime.eager.otherwise import unconfirmed
from retrograd.runtime.eager.tape import Hooks, Output, orders
from retrograd.runtime.eager.views import COPY_SLICES, CopySlices, InferenceView, View
from retrograd.runtime.modes import INFERENCE, INFERRING, STATE
from retrograd.runtime.names import Size
from retrograd.runtime.native import buffers, cpu
from retrograd.runtime.native.layout import layout, member_offsets, numpy_function, slot_offset
from retrograd.runtime.random.generator import Generator
from retrograd.runtime.tensor import Tensor


@functools.cache
def available() -> bool:
    """Whether there can be native calls in this interpreter."""
    return layout() is not None and quiet_context("few") is not None


# ---- the library -------------------------------------------------------------------------------------------

_MODULES = (
    "answers",
    "changing",
    "drawing",
    "entries",
    "finding",
    "growing",
    "laying",
    "lists",
    "literals",
    "makers",
    "members",
    "rearranging",
    "replaying",
    "restriding",
    "setting",
    "views",
    "walking",
)
_entries = cpu.exported(*(f"{__package__}.{name}" for name in _MODULES))

_members = (
    ("tensor", Tensor, "_", records.AnyTensor),
    ("view", View, "", records.View),
    ("node", OpNode, "", records.Node),
    ("hooks", Hooks, "", records.Hooks),
    ("slices", CopySlices, "", records.Slices),
    ("own_dtype", DType, "", records.OwnDtype),
)


def _offsets() -> dict[str, int]:
    """Where objects keep what is read natively."""
    places = layout()
    assert places is not None
    found = contents(places) | {"record": object.__basicsize__ + 8}
    for prefix, cls, mark, fields in _members:
        found |= {f"{prefix}_{name}": slot_offset(cls, mark + name) for name in fields.__annotations__}
    ends = member_offsets(slice(object(), object(), object()), ("start", "stop", "step"))
    named = member_offsets(device("cuda", 1), ("type", "index"))
    found |= {f"slice_{name}": offset for name, offset in ends.items()}
    return found | {f"device_{name}": offset for name, offset in named.items()}


_TABLE = (ctypes.c_void_p * (len(records.DTYPES) + 1))(*map(id, records.DTYPES), None)
_NAMES = ("grad", "watched", "inference")
_WORDS = [*map(sys.intern, ("dtype", "device", "requires_grad", "cpu"))]
"""Names of arguments, and a device's, as calls pass them."""
_NO_TEXT = ""


@functools.cache
def _library() -> cpu.Library:
    dtypes = {
        f"dtype_{name}": id(np.dtype(name)) for name in ("float32", "float64", "int64", "bool", "uint8")
    }
    return cpu.load_native("instant", _entries, _offsets(), _symbols() | dtypes)


_ZEROS = (ctypes.c_int64 * 64)()  # an array has no more axes
"""Steps along the axes of an array that has one element everywhere, and this element."""


def _symbols() -> dict[str, int]:
    return buffers.symbols() | {
        "numpy_set_base": numpy_function("PyArray_SetBaseObject"),
        "asarray": id(np.asarray),
        "tensor_type": id(Tensor),
        "view_type": id(View),
        "op_node_type": id(OpNode),
        "output_type": id(Output),
        "copy_slices_type": id(CopySlices),
        "copy_slices_name": id(COPY_SLICES),
        "inference_view_type": id(InferenceView),
        "size_type": id(Size),
        "numpy_int_type": id(np.int64),
        "own_dtype_type": id(DType),
        "device_type": id(device),
        "generator_type": id(Generator),
        "modes": id(STATE),
        "name_of_grad": id(_NAMES[0]),
        "name_of_watched": id(_NAMES[1]),
        "name_of_inference": id(_NAMES[2]),
        "cpu": id(CPU),
        "inference": id(INFERENCE),
        "inferring": ctypes.addressof(INFERRING),
        "no_text": id(_NO_TEXT),
        "quiet_context": id(quiet_context("few")),
        "placing_context": id(_placing_context()),
        "numbers": id(NUMBERS_KNOWN),
        "open_traces": ctypes.addressof(tracing.OPEN),
        "dtypes": ctypes.addressof(_TABLE),
        "next_order": id(orders),
        "unchanging": id(UNCHANGING),
        "zeros": ctypes.addressof(_ZEROS),
        "own_error": id(RetrogradError),
        "unconfirmed": id(unconfirmed),
        **{f"name_of_{word}": id(word) for word in _WORDS},
    }


def _placing_context() -> contextvars.Context:
    """In which native code has NumPy compute what is not little: its results are in blocks of ours."""
    context = quiet_context("many")
    assert context is not None  # see `available`
    buffers.place_all(context)
    return context


# ---- the callables -----------------------------------------------------------------------------------------


class _Member(ctypes.Structure):
    """CPython's PyMemberDef."""

    _fields_ = [
        ("name", ctypes.c_char_p),
        ("type", ctypes.c_int),
        ("offset", ctypes.c_ssize_t),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    ]


class _Slot(ctypes.Structure):
    """CPython's PyType_Slot."""

    _fields_ = [("slot", ctypes.c_int), ("content", ctypes.c_void_p)]


class _Spec(ctypes.Structure):
    """CPython's PyType_Spec."""

    _fields_ = [
        ("name", ctypes.c_char_p),
        ("basicsize", ctypes.c_int),
        ("itemsize", ctypes.c_int),
        ("flags", ctypes.c_uint),
        ("slots", ctypes.POINTER(_Slot)),
    ]


_TP_CALL, _TP_DESCR_GET, _TP_MEMBERS = 50, 54, 72
_SSIZE, _READONLY = 19, 1
_HAVE_VECTORCALL, _METHOD_DESCRIPTOR, _DEFAULT = 1 << 11, 1 << 17, 1 << 18


@functools.cache
def _class() -> Any:
    """The class of native functions: an object with the address of its entry, that of its record, and a dict.
    As an attribute of a class it is a method, as Python's functions are."""
    head = object.__basicsize__
    members = (_Member * 3)(
        _Member(b"__vectorcalloffset__", _SSIZE, head, _READONLY, None),
        _Member(b"__dictoffset__", _SSIZE, head + 16, _READONLY, None),
    )
    slots = (_Slot * 4)(
        _Slot(_TP_CALL, ctypes.cast(ctypes.pythonapi.PyVectorcall_Call, ctypes.c_void_p)),
        _Slot(_TP_DESCR_GET, _library().address("retrograd_bind")),
        _Slot(_TP_MEMBERS, ctypes.addressof(members)),
    )
    flags = _DEFAULT | _HAVE_VECTORCALL | _METHOD_DESCRIPTOR
    spec = _Spec(b"retrograd.NativeFunction", head + 24, 0, flags, slots)
    made = _type_from_spec(ctypes.byref(spec))
    copyreg.pickle(made, lambda function: function.__qualname__)
    _KEPT.extend((members, slots, spec))
    return made


_KEPT: list[object] = []
_keep = ctypes.PYFUNCTYPE(None, ctypes.py_object)(("Py_IncRef", ctypes.pythonapi))
_type_from_spec = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p)(("PyType_FromSpec", ctypes.pythonapi))


_Head = ctypes.c_uint64 * 3
"""What a native function holds after Python's own header: see `_class`."""


@functools.cache
def _address(entry: str) -> int:
    """Where a native entry is."""
    return _library().address(entry)


def native_function(entry: str, slow: Callable[..., Any], words: Any, kept: object) -> Callable[..., Any]:
    """A callable that runs a native entry on this record, and looks like the Python function `slow`."""
    attributes: dict[str, Any] = {name: getattr(slow, name) for name in functools.WRAPPER_ASSIGNMENTS}
    attributes |= {"__wrapped__": slow, "__kept__": (words, kept)}
    _keep(attributes)  # a reference for the object, which lets go of it with itself
    made = _class()()
    _head(made)[:] = [_address(entry), ctypes.addressof(words), id(attributes)]
    return made  # type: ignore[no-any-return]  # called as `slow` is


def become(function: Any, other: Any) -> None:
    """Have a native function be what another one is, and keep what it was: it may be under way."""
    for name in (*functools.WRAPPER_ASSIGNMENTS, "__wrapped__"):
        setattr(function, name, getattr(other, name))
    function.__kept__ = (other.__kept__, function.__kept__)
    _head(function)[:2] = _head(other)[:2]


def enter_by(function: Any, other: Any) -> None:
    """Have a native function enter where another one does, which the caller keeps."""
    _head(function)[:2] = _head(other)[:2]


def native_twin(function: Any) -> Any:
    """A native function that is what this one is now, and stays it; both have the same attributes."""
    twin = _class()()
    _keep(ctypes.cast(_head(function)[2], ctypes.py_object).value)
    _head(twin)[:] = _head(function)[:]
    return twin


def _head(function: Any) -> Any:
    return _Head.from_address(id(function) + object.__basicsize__)
