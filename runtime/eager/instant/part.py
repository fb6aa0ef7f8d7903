"""The native part of eager calls: its text filled in for this interpreter, loaded, and made into callables.

In flow the texts beside this file and where CPython, NumPy and our classes keep what they hold; out flows
`native_function(entry, …)`. A word of a record is a name in `WORDS`, `KEYED` or `DRAWN`; a class whose
members are read natively is an entry of `_members`.
"""

from __future__ import annotations

import copyreg
import ctypes
import functools
from collections.abc import Callable
from dataclasses import asdict
from string import Template
from typing import Any

import numpy as np

from retrograd.compiler.dtypes import ALL, DType
from retrograd.compiler.errors import RetrogradError
from retrograd.compiler.ir.quiet import quiet_context
from retrograd.runtime import tracing
from retrograd.runtime.device import device
from retrograd.runtime.eager.instant import answers, finding
from retrograd.runtime.eager.instant.draws_text import DRAWS
from retrograd.runtime.eager.instant.entries_text import ENTRIES
from retrograd.runtime.eager.instant.history_text import HISTORY
from retrograd.runtime.eager.instant.keys_text import KEYS
from retrograd.runtime.eager.instant.lists_text import LISTS
from retrograd.runtime.eager.instant.makers_text import MAKERS
from retrograd.runtime.eager.instant.operands_text import OPERANDS
from retrograd.runtime.eager.instant.replay_text import REPLAY
from retrograd.runtime.eager.instant.views_text import VIEWS
from retrograd.runtime.eager.kernels import NUMBERS_KNOWN
from retrograd.runtime.eager.opnodes import SMALL, UNCHANGING, OpNode
from retrograd.runtime.eager.tape import orders
from retrograd.runtime.eager.views import View
from retrograd.runtime.modes import STATE
from retrograd.runtime.names import Size
from retrograd.runtime.native import cpu
from retrograd.runtime.native.layout import layout, member_offsets, numpy_function, slot_offset
from retrograd.runtime.random.generator import Generator
from retrograd.runtime.tensor import Tensor

MOST = 8
"""Operands of a call, and axes of a view."""
MOST_RECORDED = 3
"""Operands of a call that is recorded."""
_MOST_PLANS, _KEY_WORDS = 4096, 64

_FLOATING = (np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.float16))
"""The dtypes that are recorded, and that a number beside them takes."""
_WHOLE = tuple(d.numpy for d in ALL if d.category == 1)
"""Those that an int beside them takes."""
DTYPES = (*_FLOATING, *_WHOLE, *[d.numpy for d in ALL if d.numpy not in _FLOATING + _WHOLE])


def _places(**sizes: int) -> dict[str, int]:
    found, at = {}, 0
    for name, size in sizes.items():
        found[name], at = at, at + size
    return found | {"words": at}


WORDS = _places(
    slow=1, arity=1, compute=1, differentiable=1, op=1, shown=3, node_class=1, path=1, targets=1, answer=1,
    offset=1, rank=1, flags=1, flags_before=1, histories=1 << MOST_RECORDED, functions=len(DTYPES),
    strides_before=MOST, extents=MOST, strides=MOST,
)  # fmt: skip
"""Where the words of an op's record are."""
KEYED = _places(slow=1, unplanned=1, plans=1, find=1)
"""Where those of a replayed function are."""
DRAWN = _places(
    slow=1, arity=1, draw_function=1, draw_state=1, draw_parameters=1, draw_count=1, draw_dtype=1,
    draw_rank=1, draw_extents=MOST,
)  # fmt: skip
"""Where those of random numbers are."""


@functools.cache
def available() -> bool:
    """Whether there can be native calls in this interpreter."""
    return layout() is not None and quiet_context() is not None


# ---- the text ----------------------------------------------------------------------------------------------

_ALL_TEXTS = OPERANDS + ENTRIES + MAKERS + HISTORY + VIEWS + KEYS + REPLAY + DRAWS + LISTS
_members = (
    ("tensor", Tensor, ("value", "requires_grad", "edge", "grad", "counter", "view", "leaf"), "_"),
    ("view", View, ("base", "path", "several", "tracked", "version"), ""),
    ("node", OpNode, ("order", "edges", "hooks", "op", "inputs", "out", "guards", "shown"), ""),
)


@functools.cache
def _offsets() -> dict[str, int]:
    """Where objects keep what is read natively."""
    places = layout()
    assert places is not None
    members = {
        f"{prefix}_{name}": slot_offset(cls, mark + name)
        for prefix, cls, names, mark in _members
        for name in names
    }
    return asdict(places) | members | {"record": object.__basicsize__ + 8}


def _text() -> str:
    ends = member_offsets(slice(object(), object(), object()), ("start", "stop", "step"))
    named = member_offsets(device("cuda", 1), ("type", "index"))
    tuple_items = _offsets()["tuple_items"]
    constants = {
        "tuple_second": tuple_items + 8,
        "tuple_third": tuple_items + 16,
        "most": MOST,
        "most_recorded": MOST_RECORDED,
        "most_plans": _MOST_PLANS,
        "key_words": _KEY_WORDS,
        "floating": len(_FLOATING),
        "solid": len(_FLOATING + _WHOLE),
        "small": SMALL,
    }
    members = {f"slice_{name}": offset for name, offset in ends.items()}
    members |= {f"device_{name}": offset for name, offset in named.items()}
    return Template(_ALL_TEXTS).substitute(_offsets() | members | constants | DRAWN | WORDS | KEYED)


_TABLE = (ctypes.c_void_p * (len(DTYPES) + 1))(*map(id, DTYPES), None)
_NAMES = ("grad", "watched")


@functools.cache
def _library() -> cpu.Library:
    return cpu.load_part(
        _text(),
        {
            "numpy_array_type": id(np.ndarray),
            "numpy_new_from_descr": numpy_function("PyArray_NewFromDescr"),
            "numpy_copy_into": numpy_function("PyArray_CopyInto"),
            "numpy_set_base": numpy_function("PyArray_SetBaseObject"),
            "asarray": id(np.asarray),
            "tensor_type": id(Tensor),
            "view_type": id(View),
            "size_type": id(Size),
            "own_dtype_type": id(DType),
            "device_type": id(device),
            "generator_type": id(Generator),
            "modes": id(STATE),
            "name_of_grad": id(_NAMES[0]),
            "name_of_watched": id(_NAMES[1]),
            "no_text": id(_NO_TEXT),
            "quiet_context": id(quiet_context()),
            "numbers": id(NUMBERS_KNOWN),
            "open_traces": ctypes.addressof(tracing.OPEN),
            "dtypes": ctypes.addressof(_TABLE),
            "next_order": id(orders),
            "unchanging": id(UNCHANGING),
            "own_error": id(RetrogradError),
        },
    )


_NO_TEXT = ""


_ANSWERS = {
    "retrograd_itself": answers.retrograd_itself,
    "retrograd_number": answers.retrograd_number,
    "retrograd_truth": answers.retrograd_truth,
    "retrograd_places": finding.retrograd_places,
}


@functools.cache
def _answers() -> cpu.Library:
    """The entries in the native language."""
    dtypes = {f"dtype_{name}": id(np.dtype(name)) for name in ("float32", "float64", "int64", "bool")}
    symbols = {
        "numpy_array_type": id(np.ndarray),
        "numpy_new_from_descr": numpy_function("PyArray_NewFromDescr"),
        "tensor_type": id(Tensor),
        "quiet_context": id(quiet_context()),
        "open_traces": ctypes.addressof(tracing.OPEN),
    }
    return cpu.load_native("answers", list(_ANSWERS.values()), _offsets(), symbols | dtypes)


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
    library = _answers() if entry in _ANSWERS else _library()
    return library.address(entry)


def native_function(entry: str, slow: Callable[..., Any], words: Any, kept: object) -> Callable[..., Any]:
    """A callable that runs a native entry on this record, and looks like the Python function `slow`."""
    attributes: dict[str, Any] = {name: getattr(slow, name) for name in functools.WRAPPER_ASSIGNMENTS}
    attributes |= {"__wrapped__": slow, "__kept__": (words, kept)}
    _keep(attributes)  # a reference for the object, which lets go of it with itself
    made = _class()()
    head = _Head.from_address(id(made) + object.__basicsize__)
    head[:] = [_address(entry), ctypes.addressof(words), id(attributes)]
    return made  # type: ignore[no-any-return]  # called as `slow` is
