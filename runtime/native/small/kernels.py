"""The kernels of small graphs: which there are, and where. Each is loaded when it is first wanted.

In flow what a step does and the dtypes of its elements; out flows the address of a function, or None where
there is no code for such elements. The rows of arithmetic, which every graph has, are loaded together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.backends import vector
from retrograd.compiler.backends.math import FUNCTIONS
from retrograd.compiler.backends.rows import ROWS
from retrograd.compiler.dtypes import DType
from retrograd.compiler.ir.graph import INTERPRETERS, OPS, Op
from retrograd.compiler.native.language import Byte, Emitted, Float32, Int32, instance
from retrograd.compiler.ops.elementwise import Elementwise
from retrograd.runtime.native import cpu
from retrograd.runtime.native.host import host
from retrograd.runtime.native.small import checking, kernels_text, moving

KINDS = {
    dtypes.float32: "f32",
    dtypes.float64: "f64",
    dtypes.int64: "i64",
    dtypes.int32: "i32",
    dtypes.int8: "i8",
    dtypes.bool_: "i1",
}
"""The dtypes of which there are kernels."""

DTYPES = {dtype.numpy: dtype for dtype in KINDS}
INDEX = dtypes.int64
"""What indices of gathers are."""

_TOGETHER = (
    "add", "sub", "mul", "div", "neg", "abs", "sqrt", "maximum", "minimum", "lt", "eq", "ne", "where",
)  # fmt: skip
"""Rows of floats that are loaded at once."""


_FORMULAS = {"gelu", "gelu_tanh", "hardswish", "logsigmoid", "mish", "selu", "silu", "softsign"}
"""Rows whose formulas are several passes."""


def is_own(row: Elementwise) -> bool:
    """Whether a row of one operand is computed by this code even by itself: NumPy lacks it, or does it in
    several passes."""
    lacks = row.arity == 1 and row.name in FUNCTIONS and not isinstance(row.numpy, np.ufunc)
    return lacks or row.name in _FORMULAS


class _Write:
    """Vectors in, a vector out: a row's code, or that of its formula. Numbers are lifted beside a vector."""

    level = 1

    def apply(self, op: Op, operands: Sequence[Any]) -> vector.Value:
        assert isinstance(op, Elementwise)
        beside = [x for x in operands if isinstance(x, vector.Value)]
        like = next((x for x in beside if x.kind != "i1"), beside[0])
        vectors = [x if isinstance(x, vector.Value) else like.same(x) for x in operands]
        return code_of(op, _OF_KIND[like.kind])(*vectors)


_OF_KIND = {kind: dtype for dtype, kind in KINDS.items()}
INTERPRETERS[vector.Value] = _Write()


def code_of(row: Elementwise, dtype: DType) -> kernels_text.Code:
    """Vectors of such elements to a vector: the row's code, or that of its formula."""
    code = ROWS.get(row.name)
    if code is None or (row.numpy is not None and not row.is_native(dtype)):
        code = row.expansion
    return code


def emitted(code: kernels_text.Code) -> Any:
    """The code as a function of the native language."""
    return Emitted(code, host().has("avx512f"))


@cache
def of_row(row: Elementwise, operands: tuple[DType, ...], out: DType) -> int | None:
    """The row's kernel."""
    if any(dtype not in KINDS for dtype in (*operands, out)):
        return None
    kinds = [KINDS[dtype] for dtype in operands]
    if row.name in _TOGETHER and (kind := KINDS[operands[-1]]) in ("f32", "f64"):
        return _arithmetic(kind).address(f"row_{row.name}")
    text = kernels_text.elementwise(
        "kernel", code_of(row, operands[-1]), kinds, KINDS[out], host().has("avx512f")
    )
    return _loaded([text]).address("kernel")


@cache
def of_cast(operand: DType, out: DType) -> int | None:
    if operand not in KINDS or out not in KINDS:
        return None
    kind, avx512 = KINDS[out], host().has("avx512f")
    text = kernels_text.elementwise("kernel", lambda x: x.to(kind), [KINDS[operand]], kind, avx512)
    return _loaded([text]).address("kernel")


@cache
def of_reduction(combine: str, identity: float, dtype: DType) -> int | None:
    """The row `combine` along the rows of a matrix."""
    if dtype not in KINDS:
        return None
    if combine == "add" and KINDS[dtype] in ("f32", "f64"):
        return _arithmetic(KINDS[dtype]).address("sum")
    text = kernels_text.reduction("kernel", ROWS[combine], KINDS[dtype], identity, host().has("avx512f"))
    return _loaded([text]).address("kernel")


@cache
def of_scan(combine: tuple[str, ...], identity: float, dtype: DType) -> int | None:
    """The rows `combine` that join each row of matrices with the result's row before."""
    if dtype not in KINDS or dtype is dtypes.bool_:
        return None
    if combine == ("add",) and dtype.is_floating_point:
        identity = -0.0  # of sums of floats, the only one that keeps the sign of a zero
    codes = [code_of(row, dtype) for name in combine if isinstance(row := OPS[name], Elementwise)]
    text = kernels_text.scan("kernel", codes, KINDS[dtype], identity, host().has("avx512f"))
    return _loaded([text]).address("kernel")


def copying(itemsize: int) -> int:
    return _moving().address(f"copy{itemsize}")


def gathering(itemsize: int) -> int:
    return _moving().address(f"gather{itemsize}")


def scattering(itemsize: int) -> int:
    return _moving().address(f"scatter{itemsize}")


def placing(itemsize: int) -> int:
    return _moving().address(f"place{itemsize}")


_MOVING: dict[str, Callable[..., int]] = {
    "copy": moving.copy, "gather": moving.gather, "scatter": moving.scatter, "place": moving.place,
}  # fmt: skip


@cache
def _moving() -> cpu.Library:
    return _native(
        "moving",
        lambda: [
            instance(function, f"{name}{size}", T=element)
            for name, function in _MOVING.items()
            for size, element in ((1, Byte), (4, Int32), (8, int))
        ],
    )


@cache
def demanding() -> int:
    """Whether bools are true, all of them."""
    return _native("checking", lambda: [checking.demand]).address("demand")


@cache
def of_summing(dtype: DType) -> int | None:
    """Elements added up where indices say."""
    if dtype not in KINDS or dtype is dtypes.bool_:
        return None
    return _of_elements("add_up", moving.add_up, dtype)


@cache
def of_sorting(dtype: DType, descending: bool) -> int | None:
    """The places that sort the rows of a matrix."""
    if dtype not in KINDS:
        return None
    precedes = moving.is_greater if descending else moving.is_less
    return _of_elements(f"sort {descending}", moving.sort, dtype, precedes=precedes)


@cache
def of_product(dtype: DType) -> int | None:
    """Products of matrices."""
    if dtype not in (dtypes.float32, dtypes.float64):
        return None
    return _of_elements("product", moving.product, dtype)


def _of_elements(name: str, function: Callable[..., int], dtype: DType, **bound: Callable[..., Any]) -> int:
    """A kernel for elements of a dtype."""
    made = instance(function, "kernel", T=_ELEMENTS[KINDS[dtype]], **bound)
    return _native(f"{name} {KINDS[dtype]}", lambda: [made]).address("kernel")


_ELEMENTS = {"f32": Float32, "f64": float, "i64": int, "i32": Int32, "i8": Byte, "i1": Byte}
"""What elements are in the native language."""


def _native(name: str, roots: Callable[[], Sequence[Callable[..., Any]]]) -> cpu.Library:
    """A module of these functions, which stays."""
    library = cpu.load_native(name, roots, {}, {})
    _KEPT.append(library)
    return library


@cache
def _arithmetic(kind: str) -> cpu.Library:
    """Rows of one kind of floats, and their sum."""
    avx512, texts = host().has("avx512f"), []
    for name in _TOGETHER:
        row = OPS[name]
        assert isinstance(row, Elementwise)
        kinds = ["i1", kind, kind] if name == "where" else [kind] * row.arity
        out = "i1" if name in ("lt", "eq", "ne") else kind
        texts.append(kernels_text.elementwise(f"row_{name}", ROWS[name], kinds, out, avx512))
    texts.append(kernels_text.reduction("sum", ROWS["add"], kind, 0.0, avx512))
    return _loaded(texts)


def _loaded(texts: Sequence[tuple[str, dict[str, str]]]) -> cpu.Library:
    """A module of these functions, which stays."""
    declarations = {name: text for _, needed in texts for name, text in needed.items()}
    library = cpu.load_part("\n".join([*declarations.values(), *[text for text, _ in texts]]), {})
    _KEPT.append(library)
    return library


_KEPT: list[cpu.Library] = []
