"""Recurrent layers over whole sequences as functions of arrays: `sequences.py`, called.

In flow the name of a walk, its sizes and its arrays by their names there, in order in memory; results are
written into those that are for them. There are none where NumPy's loop of products is not found: it is no
part of NumPy's interface, so it is looked for, and tried.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any, Literal

import numpy as np

from retrograd.compiler.ir.graph import Array
from retrograd.compiler.native.language import Float32, Vector, instance, places
from retrograd.runtime.native import cpu, sequences
from retrograd.runtime.native.layout import layout
from retrograd.runtime.native.sequences import ARRAYS, Walk
from retrograd.runtime.native.small import codes

_KINDS: dict[np.dtype[Any], dict[str, Any]] = {
    np.dtype(np.float32): {"Number": Float32, "Numbers": Vector[Float32, Literal[16]], "LANES": 16},
    np.dtype(np.float64): {"Number": float, "Numbers": Vector[float, Literal[8]], "LANES": 8},
}
"""What instances of walks are for."""
_NAMES = [f"{cell}_{way}" for cell in ("tanh", "relu", "lstm", "gru") for way in ("there", "back")]
_OFFSETS = {name: where.start for name, where in places(Walk).items()}
_GIVEN = (
    "steps", "rows", "size", "backwards", "kept_step", "cell_step", "product", "made_with", "bytes",
    "weight_row", "weight_column",
)  # fmt: skip
"""Words of a walk as they are given."""
_ORDER = [_GIVEN.index(name) for name in sorted(_OFFSETS, key=lambda name: _OFFSETS[name])]
_Words = ctypes.c_int64 * len(_OFFSETS)
_Addresses = ctypes.c_size_t * len(ARRAYS)


def available(dtype: np.dtype[Any]) -> bool:
    """Whether there are walks of such elements."""
    return dtype in _KINDS and _product(dtype) is not None


def walk(name: str, sizes: tuple[int, int, int, bool, int, int], **arrays: Array) -> None:
    """Go through all steps: how many, of how many sequences, with states of what size, whether from behind,
    and how far the steps' gates and cells are apart."""
    weight = arrays["weight"]
    given = (*sizes, *(_product(weight.dtype) or (0, 0)), weight.itemsize, *weight.strides)
    words = _Words(*[given[k] for k in _ORDER])
    at = _Addresses(*[_address(arrays[k]) if k in arrays else 0 for k in ARRAYS])
    _function(name, weight.dtype)(words, at)


def _address(array: Array) -> int:
    """Where an array's elements begin."""
    where = layout()
    if where is None:
        return int(array.ctypes.data)
    return ctypes.c_size_t.from_address(id(array) + where.array_data).value


@cache
def _function(name: str, dtype: np.dtype[Any]) -> Any:
    return ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)(_library(dtype).address(name))


@cache
def _library(dtype: np.dtype[Any]) -> cpu.Library:
    bound = {name: codes.function(name) for name in ("sigmoid", "tanh")} | _KINDS[dtype]

    def roots() -> list[Any]:
        return [instance(getattr(sequences, name), name, **bound) for name in _NAMES]

    return cpu.load_native(f"sequences {dtype}", roots, {}, {})


# ---- NumPy's loop of products ------------------------------------------------------------------------------


class _Ufunc(ctypes.Structure):
    """The head of NumPy's `PyUFuncObject`, behind that of an object."""

    _fields_ = (
        ("nin", ctypes.c_int),
        ("nout", ctypes.c_int),
        ("nargs", ctypes.c_int),
        ("identity", ctypes.c_int),
        ("functions", ctypes.POINTER(ctypes.c_void_p)),
        ("data", ctypes.POINTER(ctypes.c_void_p)),
        ("ntypes", ctypes.c_int),
    )


@cache
def _product(dtype: np.dtype[Any]) -> tuple[int, int] | None:
    """The loop for such elements and what it was made with; None where the object is not as expected."""
    head = _Ufunc.from_address(id(np.matmul) + object.__basicsize__)
    kinds = np.matmul.types
    wanted = f"{dtype.char}{dtype.char}->{dtype.char}"
    if (head.nin, head.nout, head.nargs, head.ntypes) != (2, 1, 3, len(kinds)) or wanted not in kinds:
        return None
    place = kinds.index(wanted)
    loop, data = head.functions[place], head.data[place] if head.data else 0
    return (loop, data or 0) if loop else None
