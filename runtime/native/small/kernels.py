"""The kernels of small graphs: which there are, and where. Each is loaded when it is first wanted.

In flow what a step does and the dtypes of its elements; out flows the address of a function, or None where
there is no code for such elements. The rows of arithmetic, which every graph has, are loaded together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.backends.kinds import FLOATS, INTEGERS
from retrograd.compiler.dtypes import DType
from retrograd.compiler.ir.graph import OPS
from retrograd.compiler.native.language import Byte, Float32, Int16, Int32, Vector, instance
from retrograd.compiler.ops.elementwise import Elementwise
from retrograd.compiler.ops.row import WITHOUT_DERIVATIVE
from retrograd.runtime.native import cpu

Code = Callable[..., Any]
"""Of vectors (`codes.py`)."""

KINDS = {
    dtypes.float32: "f32",
    dtypes.float64: "f64",
    dtypes.int64: "i64",
    dtypes.int32: "i32",
    dtypes.int8: "i8",
    dtypes.bool_: "i1",
}
"""The dtypes of which there are kernels."""

IN_PASSES = KINDS | {
    dtypes.float16: "f16",
    dtypes.bfloat16: "bf16",
    dtypes.int16: "i16",
    dtypes.uint8: "u8",
}
"""Those that passes read and write, too."""

_OF_KIND = {kind: dtype for dtype, kind in KINDS.items()}
DTYPES = {dtype.numpy: dtype for dtype in KINDS}
INDEX = dtypes.int64
"""What indices of gathers are."""

_TOGETHER = (
    "add", "sub", "mul", "div", "neg", "abs", "sqrt", "maximum", "minimum", "lt", "eq", "ne", "where",
)  # fmt: skip
"""Rows of floats that are loaded at once."""


_QUICK = {
    "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sin", "cos", "asin", "acos", "atan", "sinh",
    "cosh", "tanh",
}  # fmt: skip
"""Rows that take NumPy longer, or no less, on one thread."""


def is_own(row: Elementwise) -> bool:
    """Whether a row of one operand is computed by this code even by itself: NumPy lacks it, does it in
    several passes, or is slower."""
    if row.arity > 1 or row.types in WITHOUT_DERIVATIVE:
        return False
    return not isinstance(row.numpy, np.ufunc) or row.name in _QUICK


_IN_ONE_PASS = {"pow", "where"}


def is_lacking(row: Elementwise) -> bool:
    """Whether NumPy would compute the row in several passes."""
    return not isinstance(row.numpy, np.ufunc) and row.name not in _IN_ONE_PASS


class NoKernel(Exception):
    """A graph that is not for small kernels."""


def _codes() -> Any:
    """What writes kernels. Late: those that are in the cache need none of it."""
    return import_module(f"{__package__}.codes")


def defined(path: str) -> Any:
    """What a file of kernels defines, by `file.name`. Late, like `_codes`."""
    file, name = path.split(".")
    return getattr(import_module(f"{__package__}.{file}"), name)


def _instance(path: str, exported: str, **bound: Any) -> Callable[..., int]:
    """An instance of a function that a file of kernels defines, and exported under a name."""
    function: Callable[..., int] = defined(path)
    return instance(function, exported, **bound)


@cache
def of_row(row: Elementwise, operands: tuple[DType, ...], out: DType) -> int | None:
    """The row's kernel."""
    if any(dtype not in KINDS for dtype in (*operands, out)):
        return None
    kinds = [KINDS[dtype] for dtype in operands]
    if row.name in _TOGETHER and (kind := KINDS[operands[-1]]) in ("f32", "f64"):
        return _arithmetic(kind).address(f"row_{row.name}")

    def code(*vectors: Any) -> Any:
        return _codes().code_of(row, operands[-1])(*vectors)

    return of_code(f"row {row.name}", code, kinds, KINDS[out])


@cache
def of_cast(operand: DType, out: DType) -> int | None:
    if operand not in KINDS or out not in KINDS:
        return None
    kind = KINDS[out]
    return of_code("row cast", lambda x: x.to(kind), [KINDS[operand]], kind)


_ROWS = ("unary", "binary", "ternary", "quaternary")
QUICK_ROWS = ("quick_unary", "quick_binary", "quick_ternary")
"""Functions of `lines.py` by their operands, less one."""


def of_code(name: str, code: Code, kinds: Sequence[str], out: str, quick: bool = False) -> int:
    """The kernel of vectors of these kinds to one of a kind, kept under a name; a `quick` one has the code
    twice."""
    full = f"{name} {' '.join(kinds)} {out}"
    return _native(full, lambda: [_row_instance("kernel", code, kinds, out, quick)]).address("kernel")


def _row_instance(
    name: str, code: Code, kinds: Sequence[str], out: str, quick: bool = False
) -> Callable[..., int]:
    """A row as a function of the native language."""
    lanes = _lanes_of([*kinds, out])
    bound = {name: _HELD[kind] for name, kind in zip("ABCD", kinds, strict=False)}
    bound |= {f"V{name}": Vector.of(element, lanes) for name, element in bound.items()}
    written = _codes().of_memory(code, kinds, out)
    bound |= {"Out": _HELD[out], "LANES": lanes, "code": _codes().emitted(written)}
    return _instance(f"lines.{(QUICK_ROWS if quick else _ROWS)[len(kinds) - 1]}", name, **bound)


@cache
def of_reduction(combine: str, identity: float, dtype: DType, what: str = "reduction") -> int | None:
    """The row `combine` along lines, or across them."""
    if dtype not in KINDS:
        return None
    if combine == "add" and dtype.is_floating_point and what == "reduction":
        return _arithmetic(KINDS[dtype]).address("sum")

    def written() -> list[Callable[..., int]]:
        bound = _of_lines(dtype, identity, _codes().ROWS[combine])
        return [_instance(f"reducing.{what}", "kernel", **bound)]

    return _native(f"{what} {combine} {identity} {dtype}", written).address("kernel")


@cache
def of_scan(combine: tuple[str, ...], identity: float, dtype: DType) -> int | None:
    """The rows `combine` that join each row of matrices with the result's row before."""
    if dtype not in KINDS or dtype is dtypes.bool_:
        return None
    if combine == ("add",) and dtype.is_floating_point:
        identity = -0.0  # of sums of floats, the only one that keeps the sign of a zero

    def written() -> list[Callable[..., int]]:
        rows = [row for name in combine if isinstance(row := OPS[name], Elementwise)]
        bound = _of_lines(dtype, identity, *[_codes().code_of(row, dtype) for row in rows])
        return [_instance(_SCANS[len(rows)], "kernel", **bound)]

    return _native(f"scan {combine} {identity} {dtype}", written).address("kernel")


@cache
def of_place(combine: str, identity: float, dtype: DType) -> int | None:
    """Where what the row `combine` gives stands along lines, or across them."""
    if dtype not in KINDS or dtype is dtypes.bool_:
        return None

    def written() -> list[Callable[..., int]]:
        bound = _of_lines(dtype, identity, _codes().ROWS[combine])
        bound |= {name: Vector.of(kind, bound["LANES"]) for name, kind in (("VI", int), ("Truths", bool))}
        return [_instance("extremes.place", "kernel", **bound, exceeds=defined(_EXCEEDS[combine]))]

    return _native(f"place {combine} {identity} {dtype}", written).address("kernel")


_EXCEEDS = {"maximum": "extremes.is_greater", "minimum": "extremes.is_less"}


@cache
def of_running(combine: str, identity: float, dtype: DType, carry: DType | None = None) -> int | None:
    """The row `combine` of the elements of a line so far, along lines or across them; perhaps it is another
    dtype that is carried along."""
    if dtype not in KINDS or dtype is dtypes.bool_:
        return None
    if combine == "add" and dtype.is_floating_point:
        identity = -0.0  # of sums of floats, the only one that keeps the sign of a zero
    kinds = [KINDS[dtype], KINDS[carry or dtype]]

    def written() -> list[Callable[..., int]]:
        lanes, bound = _lanes_of(kinds), _of_lines(dtype, identity, _codes().ROWS[combine])
        for kind, name, one in zip(kinds, ("VA", "Carry"), ("One", "OneCarry")):
            bound |= {name: Vector.of(_HELD[kind], lanes), one: Vector.of(_HELD[kind], 1), "LANES": lanes}
        return [_instance("running.running", "kernel", **bound)]

    return _native(f"running {combine} {identity} {' '.join(kinds)}", written).address("kernel")


_SCANS = {1: "lines.scan", 2: "lines.scan_of_two"}


def _of_lines(dtype: DType, identity: float, *joins: Code) -> dict[str, Any]:
    """What an instance has that goes along lines of elements of a dtype."""
    kind = KINDS[dtype]
    lanes = _lanes_of([kind])
    bound = {"A": _HELD[kind], "VA": Vector.of(_HELD[kind], lanes), "LANES": lanes}
    bound["IDENTITY"] = dtype.numpy.type(identity).item()
    return bound | dict(zip(("join", "join_second"), map(_codes().emitted, joins), strict=False))


def _lanes_of(kinds: Sequence[str]) -> int:
    """Elements of a vector: 64 bytes of the widest."""
    return 512 // max(32, *[(FLOATS | INTEGERS)[kind] for kind in kinds])


def lanes_of(dtype: DType) -> int:
    """Of one kind of elements."""
    return _lanes_of([KINDS[dtype]])


def copying(itemsize: int) -> int:
    return _copies().address(f"copy{itemsize}")


def gathering(itemsize: int) -> int:
    return _moving().address(f"gather{itemsize}")


def scattering(itemsize: int) -> int:
    return _moving().address(f"scatter{itemsize}")


def placing(itemsize: int) -> int:
    return _moving().address(f"place{itemsize}")


def triangular(itemsize: int) -> int:
    return _moving().address(f"triangle{itemsize}")


_MOVING = ("gather", "scatter", "place", "triangle")
"""Functions of `moving.py`."""

_OF_SIZE: dict[int, Any] = {1: Byte, 2: Int16, 4: Int32, 8: int}
"""Elements of a size, whatever they mean."""


@cache
def _moving() -> cpu.Library:
    return _native(
        "moving",
        lambda: [
            _instance(
                f"moving.{name}",
                f"{name}{size}",
                T=element,
                V=Vector.of(element, 64 // size),
                LANES=64 // size,
            )
            for name in _MOVING
            for size, element in _OF_SIZE.items()
        ],
    )


@cache
def _copies() -> cpu.Library:
    return _native("copies", lambda: [_copy_instance(size, element) for size, element in _OF_SIZE.items()])


def _copy_instance(size: int, element: Any) -> Callable[..., int]:
    lanes = 64 // size
    bound = {"T": element, "V": Vector.of(element, lanes), "LANES": lanes, "SIZE": size}
    bound |= {name: _codes().function(name) for name in ("backwards", "first_pairs", "last_pairs")}
    return _instance("copies.copy", f"copy{size}", ROUNDS=lanes.bit_length() - 1, **bound)


@cache
def demanding() -> int:
    """Whether bools are true, all of them."""
    return _native("checking", lambda: [defined("checking.demand")]).address("demand")


@cache
def of_bounds(dtype: DType) -> int:
    """Whether whole numbers are within bounds."""
    lanes = lanes_of(dtype)
    vectors = Vector.of(_HELD[KINDS[dtype]], lanes)
    return _of_elements("within", "checking.within", dtype, V=vectors, LANES=lanes)


@cache
def of_summing(dtype: DType) -> int | None:
    """Elements added up where indices say."""
    if dtype not in KINDS or dtype is dtypes.bool_:
        return None
    lanes = lanes_of(dtype)
    vectors = Vector.of(_HELD[KINDS[dtype]], lanes)
    return _of_elements("add_up", "moving.add_up", dtype, V=vectors, LANES=lanes)


@cache
def of_joining(row: str, dtype: DType) -> int | None:
    """Elements joined by a row with those where indices say."""
    if dtype not in KINDS:
        return None
    return _of_elements(f"join {row}", "moving.join", dtype, joined=_JOINING[row])


_JOINING = {"mul": "moving.multiplied", "maximum": "moving.greater", "minimum": "moving.less"}


@cache
def of_sorting(dtype: DType, descending: bool) -> int | None:
    """The places that sort the rows of a matrix."""
    if dtype not in KINDS:
        return None
    precedes = "moving.is_greater" if descending else "moving.is_less"
    return _of_elements(f"sort {descending}", "moving.sort", dtype, precedes=precedes)


@cache
def of_tally(what: str, dtype: DType, weights: DType) -> int | None:
    """A function of `counting.py` for such elements, and such weights."""
    if dtype not in KINDS or weights not in KINDS:
        return None
    kind = _HELD[KINDS[dtype]]
    return _of_elements(
        f"{what} {weights}", f"counting.{what}", dtype, N=kind, F=kind, W=_HELD[KINDS[weights]]
    )


@cache
def of_product(dtype: DType) -> int | None:
    """Products of matrices."""
    if dtype not in (dtypes.float32, dtypes.float64):
        return None
    return _of_elements("product", "moving.product", dtype)


@cache
def of_elimination(what: str, dtype: DType) -> int | None:
    """A function of `_ELIMINATION` for such elements."""
    return _elimination(KINDS[dtype]).address(what) if dtype in (dtypes.float32, dtypes.float64) else None


@cache
def _elimination(kind: str) -> cpu.Library:
    lanes = _lanes_of([kind]) // 2  # rows are short
    bound = {"T": _HELD[kind], "LANES": lanes}
    bound |= {"One": Vector.of(_HELD[kind], 1), "Several": Vector.of(_HELD[kind], lanes)}
    return _native(
        f"elimination {kind}",
        lambda: [
            _instance(f"{file}.{name}", name, **bound)
            for file, names in _ELIMINATION.items()
            for name in names
        ],
    )


_ELIMINATION = {
    "elimination": (
        "factor", "order", "solve", "exchange_all", "failure", "determinant", "sign", "substitute", "root",
    ),
    "indefinite": ("factor_symmetric", "failure_symmetric", "solve_symmetric"),
    "orthogonal": ("raw_qr", "qr"),
}  # fmt: skip
"""Functions by their files."""


def of_function(name: str, path: str, dtype: DType, inside: Sequence[str]) -> int:
    """A function of arrays and sizes for such elements, and vectors of them, in which these functions are."""
    kind = KINDS[dtype]
    lanes = _lanes_of([kind])
    bound = {"A": _HELD[kind], "VA": Vector.of(_HELD[kind], lanes), "LANES": lanes}
    further = {"One": Vector.of(_HELD[kind], 1), "VI": Vector.of(int, lanes), "SIZE": FLOATS[kind] // 8}

    def written() -> list[Callable[..., int]]:
        named = {name: each for name, each in further.items() if name in defined(path).names}
        functions = {each: _codes().function(each) for each in inside}
        return [_instance(path, "kernel", **bound, **named, **functions)]

    return _native(f"{name} {kind}", written).address("kernel")


def _of_elements(name: str, path: str, dtype: DType, **bound: Any) -> int:
    """A kernel for elements of a dtype, in which text is the path of a function."""

    def written() -> list[Callable[..., int]]:
        within = {key: defined(each) if isinstance(each, str) else each for key, each in bound.items()}
        within["T"] = Byte if dtype is dtypes.bool_ else _HELD[KINDS[dtype]]
        return [_instance(path, "kernel", **within)]

    return _native(f"{name} {KINDS[dtype]}", written).address("kernel")


_HELD: dict[str, Any] = {
    "f32": Float32, "f64": float, "i64": int, "i32": Int32, "i16": Int16, "i8": Byte, "i1": bool,
    "f16": Int16, "bf16": Int16, "u8": Byte,
}  # fmt: skip
"""What elements are in the native language; halves are their bits."""


def _native(name: str, roots: Callable[[], Sequence[Callable[..., Any]]]) -> cpu.Library:
    """A module of these functions, which stays."""
    library = cpu.load_native(name, roots, {}, {})
    _KEPT.append(library)
    return library


@cache
def _arithmetic(kind: str) -> cpu.Library:
    """Rows of one kind of floats, and their sum."""
    return _native(f"arithmetic {kind}", lambda: list(_together(kind)))


def _together(kind: str) -> Iterator[Callable[..., int]]:
    codes = _codes().ROWS
    for name in _TOGETHER:
        row = OPS[name]
        assert isinstance(row, Elementwise)
        kinds = ["i1", kind, kind] if name == "where" else [kind] * row.arity
        out = "i1" if name in ("lt", "eq", "ne") else kind
        yield _row_instance(f"row_{name}", codes[name], kinds, out)
    bound = _of_lines(_OF_KIND[kind], -0.0, codes["add"])  # the only number that keeps the sign of a zero
    yield _instance("reducing.reduction", "sum", **bound)


_KEPT: list[cpu.Library] = []
