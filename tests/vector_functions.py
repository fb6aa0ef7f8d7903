"""Runs one function of `FUNCTIONS` alone: `native(name, kind)` maps NumPy arrays to an array.

Shared by `tests/test_vector_math.py` and `benchmarks/check_ulp.py`.
"""

from __future__ import annotations

import ctypes
import functools
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from retrograd.compiler.backends.cpu import Target, assemble
from retrograd.compiler.backends.math import FUNCTIONS
from retrograd.compiler.backends.vector import Block

DTYPES = {"f32": np.dtype(np.float32), "f64": np.dtype(np.float64)}


def arity(name: str) -> int:
    return len(inspect.signature(inspect.unwrap(FUNCTIONS[name])).parameters)


def emit_function(name: str, kind: str, lanes: int, operands: int) -> str:
    """A module with `void f(ptr a, ptr b, ptr out, i64 n)`; n is a positive multiple of `lanes`."""
    block = Block()
    block.do("br label %loop")
    block.label("loop")
    i = block.emit("phi i64 [ 0, %entry ], [ %next, %done ]", "i64")
    element = block.constant(kind, 1, 0).type
    vector = block.constant(kind, lanes, 0).type
    values = []
    for source in ("%a", "%b")[:operands]:
        address = block.emit(f"getelementptr {element}, ptr {source}, i64 {i.ref}", "ptr")
        values.append(block.emit(f"load {vector}, ptr {address.ref}, align 4", kind, lanes))
    result = FUNCTIONS[name](*values)
    address = block.emit(f"getelementptr {element}, ptr %out, i64 {i.ref}", "ptr")
    block.do(f"store {vector} {result.ref}, ptr {address.ref}, align 4")
    block.do("br label %done")
    block.label("done")
    block.do(f"%next = add i64 {i.ref}, {lanes}")
    block.do("%more = icmp ult i64 %next, %n")
    block.do("br i1 %more, label %loop, label %exit")
    block.label("exit")
    block.do("ret void")
    header = "define void @f(ptr %a, ptr %b, ptr %out, i64 %n) {"
    return "\n".join([*block.declarations.values(), header, *block.lines, "}"])


@functools.cache
def _compiled(name: str, kind: str, lanes: int, operands: int) -> tuple[Any, Any]:
    from llvmlite import binding

    code = assemble(emit_function(name, kind, lanes, operands), Target.host())
    jit = binding.create_lljit_compiler()
    library = binding.JITLibraryBuilder().add_object_img(code).export_symbol("f")
    tracker = library.link(jit, f"{name}_{kind}_{lanes}")
    signature = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 3, ctypes.c_int64)
    return signature(tracker["f"]), (jit, tracker)


def native(name: str, kind: str, lanes: int | None = None) -> Callable[..., np.ndarray[Any, Any]]:
    """The function on arrays of one shape."""
    lanes = lanes or 2 * Target.host().lanes(DTYPES[kind].itemsize)
    operands = arity(name)

    def call(*arrays: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        function, _ = _compiled(name, kind, lanes, operands)
        count = arrays[0].size
        padded = [np.ones(-(-count // lanes) * lanes, DTYPES[kind]) for _ in range(3)]
        for room, array in zip(padded, arrays):
            room[:count] = array.reshape(-1)
        function(*(room.ctypes.data for room in padded), padded[0].size)
        return padded[2][:count].reshape(arrays[0].shape)

    return call
