"""The library's routines: tiles and copies of every kind against NumPy, and programs that are nothing but
calls of them."""

from __future__ import annotations

import ctypes
from inspect import signature
from itertools import product

import numpy as np
import pytest
from native import Array, build, graph_of

from retrograd.compiler.backends import llvm, routines
from retrograd.compiler.backends.cpu import Target, assemble
from retrograd.compiler.backends.math import FUNCTIONS as ROW_FUNCTIONS
from retrograd.compiler.backends.math import called
from retrograd.compiler.backends.products.records import BLOCK, TILE
from retrograd.compiler.backends.routines import routine
from retrograd.compiler.errors import CompilerError
from retrograd.compiler.ir.graph import OPS, apply
from retrograd.compiler.ops.contract import dot, transpose
from retrograd.compiler.pipeline import compile_graph
from retrograd.runtime.native import cache, cpu
from retrograd.runtime.native.program import NativeProgram

HOST = Target.host()
LANES = {"f32": HOST.lanes(4), "f64": HOST.lanes(8)}
DTYPES = {"f32": np.dtype(np.float32), "f64": np.dtype(np.float64)}


def run(name: str, arrays: list[Array | None], words: list[int]) -> None:
    """Call a routine with pointers and the record that it is told."""
    library = cpu.load(assemble(routine(name, HOST.vector_bits), HOST))
    told = (ctypes.c_int64 * len(words))(*words)
    pointers = [0 if x is None else x.ctypes.data for x in arrays]
    kinds = [ctypes.c_void_p] * (len(pointers) + 1)
    ctypes.CFUNCTYPE(None, *kinds)(library.address(name))(*pointers, ctypes.addressof(told))


def normal(*shape: int, kind: str = "f32") -> Array:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(DTYPES[kind])


@pytest.mark.parametrize("kind", LANES)
@pytest.mark.parametrize(("rows", "vectors"), [(1, 1), (3, 2), (2, 3), (6, 4), (12, 1), (1, 16)])
@pytest.mark.parametrize("short", [0, 1])
@pytest.mark.parametrize("goes_on", [False, True])
@pytest.mark.parametrize("far", [False, True])
def test_tiles_below_each_other(
    kind: str, rows: int, vectors: int, short: int, goes_on: bool, far: bool
) -> None:
    lanes, blocks, inner = LANES[kind], 3, 5
    size, width = DTYPES[kind].itemsize, vectors * lanes
    extent, columns = rows * blocks - short * (rows - 1), width - short
    a, b = normal(extent, inner, kind=kind), normal(inner, columns, kind=kind)
    begun = normal(blocks, rows, width, kind=kind)
    out = np.full((extent, columns), np.nan, DTYPES[kind])
    back = rows * blocks - extent
    told = {
        "row": inner * size, "inner": size, "down": columns * size, "before": width * size,
        "after": columns * size, "count": inner, "mask": (1 << (lanes - short)) - 1, "blocks": blocks,
        "left_on": rows * inner * size, "left_back": back * inner * size, "from_on": rows * width * size,
        "to_on": rows * columns * size, "to_back": back * columns * size, "ahead": 0, "ahead_on": 0,
        "ahead_down": 0,
    }  # fmt: skip
    name = f"retrograd_tile_{kind}x{lanes}_{rows}x{vectors}" + "_far" * far + "_edge" * short
    run(name, [a, b, begun if goes_on else None, out], [told[word] for word in TILE])
    expected = a.astype("f8") @ b
    for block in range(blocks if goes_on else 0):
        first = min(block * rows, extent - rows)
        alone = slice(first, first + rows)
        expected[alone] = a[alone].astype("f8") @ b + begun[block, :, :columns]
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-5)


COPIED = [
    (kind, count, columns, lies)
    for kind in LANES
    for count, columns in ((1, 1), (20, 5), (40, 16), (33, 37))
    for lies in ("in rows", "in columns", "anyhow")
    if lies != "in columns" or min(count, columns) >= LANES[kind]  # columns are turned square by square
]


@pytest.mark.parametrize(("kind", "count", "columns", "lies"), COPIED)
def test_copies_of_a_block(kind: str, count: int, columns: int, lies: str) -> None:
    lanes, size = LANES[kind], DTYPES[kind].itemsize
    whole = {"in rows": normal(count, 50, kind=kind), "in columns": normal(50, count, kind=kind).T}
    source = whole.get(lies, normal(count, 3 * 50, kind=kind)[:, ::3])[:, :columns]
    name = {"in rows": f"copy_{kind}x{lanes}_{columns // lanes}", "in columns": f"turn_{kind}x{lanes}"}
    width = -(-columns // lanes) * lanes
    out = np.full((count, width), np.nan, DTYPES[kind])
    rest = (1 << columns % lanes) - 1
    told = {
        "down": source.strides[0], "across": source.strides[1], "count": count, "columns": columns,
        "after": width * size, "read": rest, "written": (1 << lanes) - 1 if rest else 0,
    }  # fmt: skip
    run(f"retrograd_{name.get(lies, f'pick_{kind}x{lanes}')}", [out, source], [told[word] for word in BLOCK])
    np.testing.assert_array_equal(out[:, :columns], source)
    if lies == "in rows":
        assert (out[:, columns:] == 0).all()


PROGRAMS = {
    "one": lambda a, b, c: dot(a, b),
    "one after the other": lambda a, b, c: dot(dot(a, b), c),
    "side by side": lambda a, b, c: (dot(a, b), dot(b, c)),
    "of one operand": lambda a, b, c: dot(a, transpose(a)),
    "written in columns": lambda a, b, c: transpose(dot(a, b)),
    "of few columns": lambda a, b, c: dot(transpose(a), a),
}


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("size", [5, 64, 150])
def test_a_program_of_products_alone_is_a_script(name: str, size: int) -> None:
    arrays = [normal(size + n, size + m) for n, m in ((0, 1), (1, 2), (2, 0))]
    graph = graph_of(PROGRAMS[name], *arrays)
    assert compile_graph(graph, HOST).script is not None
    for ours, text in zip(NativeProgram(graph)(arrays), build(graph)(*arrays), strict=True):
        np.testing.assert_array_equal(ours, text)


def test_what_follows_a_product_is_code_of_the_program() -> None:
    compiled = compile_graph(graph_of(lambda a, b: dot(a, b) * 2.0, normal(20, 30), normal(30, 40)), HOST)
    assert compiled.script is None
    assert "call void @retrograd_product(" in compiled.llvm
    assert "fma" not in compiled.llvm


def test_programs_of_other_sizes_compile_nothing() -> None:
    def objects() -> set[str]:
        return set(cache._memory)

    NativeProgram(graph_of(lambda a, b: dot(a, b), normal(60, 71), normal(71, 64)))
    before = objects()
    program = NativeProgram(graph_of(lambda a, b: dot(a, b), normal(60, 73), normal(73, 64)))
    assert len(objects() - before) == 1
    assert program._code.objects == []


def test_the_names_of_routines_are_found_in_object_code() -> None:
    compiled = compile_graph(graph_of(lambda a, b: dot(a, b) * 2.0, normal(70, 30), normal(90, 30).T), HOST)
    named = {name.decode() for name in cpu._ROUTINES.findall(assemble(compiled.llvm, HOST))}
    assert "retrograd_product" in named
    assert any(name.startswith("retrograd_tile_") for name in named)
    for name in named - {"retrograd_parallel"}:
        assert f"@{name}(" in routine(name, HOST.vector_bits)


ROWS = sorted(row for row, function in ROW_FUNCTIONS.items() if len(signature(function).parameters) == 1)
"""Those of one operand."""
BESIDE = ("exp", "tanh", "log1p", "sin", "cos")


@pytest.mark.skipif(HOST.vector_bits < called.BITS, reason="written for wide vectors")
@pytest.mark.parametrize("kind", LANES)
@pytest.mark.parametrize("row", ROWS)
def test_rows_that_routines_compute_are_those_that_are_written_out(
    row: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    special = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e6, -3e9, 1e-40, 88.0, -200.0]
    x = np.concatenate([normal(5000, kind=kind) * 4, np.array(special, DTYPES[kind])])
    graph = graph_of(lambda x: [apply(OPS[name], x) for name in (row, *BESIDE)], x)
    monkeypatch.setattr(llvm, "_MANY", 99)
    apart = build(graph)
    monkeypatch.undo()
    program = build(graph)
    assert f"@retrograd_row_{row}_" in program.compiled.llvm or row in called.TOGETHER
    assert "@retrograd_row_sin_cos_" in program.compiled.llvm
    assert "@retrograd_row_" not in apart.compiled.llvm
    for found, expected in zip(program(x), apart(x), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_few_rows_are_written_out() -> None:
    graph = graph_of(lambda x: [apply(OPS[name], x) for name in ("exp", "sin")], normal(5000))
    assert "@retrograd_row_" not in compile_graph(graph, HOST).llvm


@pytest.mark.skipif(HOST.vector_bits < called.BITS, reason="written for wide vectors")
def test_a_row_for_other_registers_is_refused() -> None:
    with pytest.raises(CompilerError, match="retrograd_row_exp_f32x2_2; vector registers here have"):
        routine("retrograd_row_exp_f32x2_2", HOST.vector_bits)


def test_there_is_no_routine_of_another_name() -> None:
    with pytest.raises(
        CompilerError, match="a routine called retrograd_tile_f16x16_1x1; the library has none"
    ):
        routines.routine("retrograd_tile_f16x16_1x1", 512)


@pytest.mark.parametrize("bits", [128, 256, 512])
def test_every_kind_of_routine_is_written_for_every_width(bits: int) -> None:
    for kind, edge in product(("f32", "f64"), ("", "_edge", "_far", "_far_edge")):
        lanes = bits // (32 if kind == "f32" else 64)
        for name in (f"tile_{kind}x{lanes}_4x2{edge}", f"turn_{kind}x{lanes}", f"copy_{kind}x{lanes}_3"):
            assert assemble(routine(f"retrograd_{name}", bits), HOST)
