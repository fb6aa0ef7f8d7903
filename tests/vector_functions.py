"""Runs one function of `FUNCTIONS` alone, and measures its error.

`native(name, kind)` maps NumPy arrays to an array; `errors` says how many units in the last place a result is
off. Shared by `tests/test_vector_math.py` and `benchmarks/check_ulp.py`.
"""

from __future__ import annotations

import ctypes
import functools
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.special

from retrograd.compiler.backends.cpu import Target, assemble
from retrograd.compiler.backends.math import FUNCTIONS
from retrograd.compiler.backends.means import Means
from retrograd.compiler.backends.vector import Block, Value
from retrograd.runtime.native import cpu

Array = np.ndarray[Any, Any]

DTYPES = {"f32": np.dtype(np.float32), "f64": np.dtype(np.float64), "f16": np.dtype(np.float16)}

FRACTION = {"f32": 23, "f64": 52}

SMALLEST_EXPONENT = {"f32": -126, "f64": -1022}

NUMPY = """exp exp2 expm1 log log2 log10 log1p sin cos tan sinh cosh tanh cbrt hypot fmod remainder
arcsin arccos arctan arctan2 arcsinh arccosh arctanh"""

REFERENCES: dict[str, Callable[..., Array]] = {
    **{name.replace("arc", "a"): getattr(np, name) for name in NUMPY.split()},
    "pow": np.power,
    "sigmoid": scipy.special.expit,
    "softplus": lambda x: np.logaddexp(0.0, x),
    "rsqrt": lambda x: 1.0 / np.sqrt(x),
    "erf": scipy.special.erf,
    "erfc": scipy.special.erfc,
    "erfinv": scipy.special.erfinv,
    "lgamma": lambda x: np.where(np.isneginf(x), np.inf, scipy.special.gammaln(x)),
    "digamma": scipy.special.digamma,
}
"""Each function in the f64 arithmetic of NumPy or SciPy."""


def arity(name: str) -> int:
    return len(inspect.signature(FUNCTIONS[name]).parameters)


def emit_function(
    function: Callable[..., Value],
    kind: str,
    lanes: int,
    operands: int,
    avx512: bool = False,
    library: bool = False,
) -> str:
    """A module with `void f(ptr a, ptr b, ptr out, i64 n)`; n is a positive multiple of `lanes`. Seldom cases
    are left to the library's routines, if asked for."""
    block = Block(means=Means(avx512=avx512, library=library))
    element = block.constant(kind, 1, 0).type
    block.do("br label %loop")
    block.label("loop")
    i = block.emit("phi i64 [ 0, %entry ], [ %next, %done ]", "i64")
    values = []
    for source in ("%a", "%b")[:operands]:
        address = block.emit(f"getelementptr {element}, ptr {source}, i64 {i.ref}", "ptr")
        vector = block.constant(kind, lanes, 0).type
        values.append(block.emit(f"load {vector}, ptr {address.ref}, align 2", kind, lanes))
    result = function(*values)
    item = block.constant(result.kind, 1, 0).type
    address = block.emit(f"getelementptr {item}, ptr %out, i64 {i.ref}", "ptr")
    block.do(f"store {result.type} {result.ref}, ptr {address.ref}, align 1")
    block.do("br label %done")
    block.label("done")
    block.do(f"%next = add i64 {i.ref}, {lanes}")
    block.do("%more = icmp ult i64 %next, %n")
    block.do("br i1 %more, label %loop, label %exit")
    block.label("exit")
    block.do("ret void")
    header = "define void @f(ptr %a, ptr %b, ptr %out, i64 %n) {"
    return "\n".join([*block.declarations.values(), header, *block.body, "}"])


AVX512 = Target.host().has("avx512f")


def compiled(
    function: Callable[..., Value],
    kind: str,
    lanes: int,
    operands: int,
    out: np.dtype[Any] | None = None,
    avx512: bool = AVX512,
    library: bool = False,
) -> Callable[..., Array]:
    """`function` as native code on arrays of one shape."""
    text = emit_function(function, kind, lanes, operands, avx512, library)
    loaded = cpu.load(assemble(text, Target.host()))
    entry = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 3, ctypes.c_int64)(loaded.address("f"))

    def call(*arrays: Array) -> Array:
        count = arrays[0].size
        padded = -(-count // lanes) * lanes
        rooms = [np.ones(padded, DTYPES[kind]) for _ in range(2)]
        result = np.zeros(padded, out or DTYPES[kind])
        for room, array in zip(rooms, arrays):
            room[:count] = array.reshape(-1)
        entry(*(room.ctypes.data for room in (*rooms, result)), padded)
        return result[:count].reshape(arrays[0].shape)

    call.keep = loaded  # type: ignore[attr-defined]  # the code lives as long as the function
    return call


@functools.cache
def native(name: str, kind: str, lanes: int | None = None, avx512: bool = AVX512) -> Callable[..., Array]:
    """The function of this name on arrays; two vector registers at a time unless told."""
    lanes = lanes or 2 * Target.host().lanes(DTYPES[kind].itemsize)
    return compiled(FUNCTIONS[name], kind, lanes, arity(name), avx512=avx512)


def errors(got: Array, reference: Array) -> Array:
    """How far f32 results are from f64 references, in units in the last place; inf where only one is NaN.

    An infinite result counts as 2**128, so that overflow may come an ulp early, not more.
    """
    with np.errstate(all="ignore"):
        exact = np.where(np.isinf(got), np.clip(reference, -(2.0**128), 2.0**128), reference)
        rounded = np.clip(got.astype(np.float64), -(2.0**128), 2.0**128)
        exponent = np.clip(np.frexp(np.abs(exact))[1] - 1, -126, 127)
        off = np.abs(rounded - exact) / np.ldexp(1.0, exponent - 23)
    off = np.where(np.isnan(reference) != np.isnan(got), np.inf, off)
    return np.where((np.isnan(reference) & np.isnan(got)) | (got == reference), 0.0, off)
