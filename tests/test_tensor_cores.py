"""Products by tensor cores: a warp's fragments and products mean, in plain loops, what `dot` says; which GPU
gets which instruction; and what the verifier refuses.

The launches are run by a processor, as in `test_gpu_schedule`. The reference is the product of the rounded
operands in float64.
"""

from __future__ import annotations

from typing import Any

import gpu
import native
import numpy as np
import pytest
from native import graph_of
from test_pipeline import sample

from retrograd.compiler.dtypes import DType, bfloat16, float16, float32, tfloat32
from retrograd.compiler.errors import CompilerError
from retrograd.compiler.ir.expressions import Buffer, Number, Space
from retrograd.compiler.ir.graph import Array, Graph, Value
from retrograd.compiler.ir.index import Axis, Index, as_index
from retrograd.compiler.ir.loops import For, Fragment, Kernel, Kind, Local, Mma, Program, Statement, Store
from retrograd.compiler.ir.verify import verified
from retrograd.compiler.ops.contract import dot, transpose
from retrograd.compiler.ops.rows import rows
from retrograd.compiler.ops.shape import cast
from retrograd.compiler.pipeline import CompiledGpu, compile_for_gpu

pytest.importorskip("ml_dtypes")

UNITS = {
    "f16_sm_75": (float16, "sm_75", False),
    "f16": (float16, "sm_90", False),
    "bf16": (bfloat16, "sm_80", False),
    "tf32": (float32, "sm_90", True),
}  # fmt: skip
"""Operands, a GPU, and whether float32 may lose digits."""


def rounded(x: Array, tf32: bool) -> Array:
    """What tensor cores read of an operand, in float64."""
    if tf32:
        x = (x.view(np.int32) + 0x1000 & ~0x1FFF).view(np.float32)
    return x.astype(np.float64)


def operands(dtype: DType, *shapes: tuple[int, ...]) -> list[Array]:
    return [sample(shape, float32, k).astype(dtype.numpy) for k, shape in enumerate(shapes)]


def check(function: Any, exact: Any, unit: str, *shapes: tuple[int, ...]) -> CompiledGpu:
    """Compares a function of products with its value in float64."""
    dtype, arch, tf32 = UNITS[unit]
    arrays = operands(dtype, *shapes)
    program = gpu.build(graph_of(function, *arrays), verified, arch, tf32)
    assert "mma.sync" in program.compiled.ptx
    (mine,) = program(*arrays)
    theirs = exact(*(rounded(a, tf32) for a in arrays))
    digits = 2.0 ** {float16: -11, bfloat16: -8}.get(dtype, -18)
    np.testing.assert_allclose(mine.astype("f8"), theirs, rtol=2 * digits, atol=200 * digits)
    return program.compiled


@pytest.mark.parametrize("layout", ["NN", "NT", "TN", "TT"])
@pytest.mark.parametrize("unit", UNITS)
def test_products_in_all_layouts(unit: str, layout: str) -> None:
    for m, k, n in ((48, 72, 64), (37, 51, 23)):
        a, b = ((m, k) if layout[0] == "N" else (k, m)), ((k, n) if layout[1] == "N" else (n, k))

        def product(x: Value, y: Value) -> Value:
            return dot(transpose(x) if layout[0] == "T" else x, transpose(y) if layout[1] == "T" else y)

        def exact(x: Array, y: Array) -> Array:
            return (x.T if layout[0] == "T" else x) @ (y.T if layout[1] == "T" else y)

        check(product, exact, unit, a, b)


@pytest.mark.parametrize("unit", UNITS)
def test_large_skinny_and_batched_products(unit: str) -> None:
    def product(x: Value, y: Value) -> Value:
        return dot(x, y)

    assert len(check(product, np.matmul, unit, (16, 2048), (2048, 40)).launches) == 2
    assert len(check(product, np.matmul, unit, (5, 3, 20, 40), (5, 3, 40, 24)).launches) == 1
    compiled = check(product, np.matmul, unit, (2048, 40), (40, 1100))
    assert compiled.launches[0].block == 256, "the largest tiles"


@pytest.mark.parametrize("unit", UNITS)
def test_what_is_computed_from_a_product_joins_it(unit: str) -> None:
    compiled = check(
        lambda x, y, z: rows.maximum(rows.add(dot(x, y), rows.round(z)), 0.0),
        lambda x, y, z: np.maximum(
            (x @ y).astype(UNITS[unit][0].numpy).astype("f8") + np.round(z), 0
        ),
        unit,
        (64, 64),
        (64, 64),
        (64, 64),
    )  # fmt: skip
    assert len(compiled.launches) == 1


INSTRUCTIONS = {
    float16: {"sm_75": "m16n8k8.row.col.f32.f16", "sm_80": "m16n8k16.row.col.f32.f16"},
    bfloat16: {"sm_80": "m16n8k16.row.col.f32.bf16"},
    float32: {"sm_80": "m16n8k8.row.col.f32.tf32"},
}
"""By dtype: since which GPU what."""


@pytest.mark.parametrize("arch", ["sm_75", "sm_80", "sm_90", "sm_100"])
@pytest.mark.parametrize("dtype", INSTRUCTIONS, ids=lambda d: d.name)
def test_each_gpu_gets_the_instruction_that_it_has(arch: str, dtype: DType) -> None:
    text = compile_for_gpu(square(dtype), arch, tf32=True).ptx
    since = INSTRUCTIONS[dtype]
    expected = since.get("sm_75" if arch == "sm_75" else "sm_80")
    assert expected is None or f"mma.sync.aligned.{expected}" in text
    assert expected or "mma.sync" not in text


def square(dtype: DType) -> Graph:
    return graph_of(lambda a, b: dot(a, b), *operands(dtype, (128, 128), (128, 128)))


def test_float32_keeps_its_digits_unless_the_user_allows() -> None:
    assert "mma.sync" not in compile_for_gpu(square(float32), "sm_90").ptx


def test_fragments_are_loaded_without_detours() -> None:
    text = compile_for_gpu(square(float16), "sm_90").ptx
    assert "ldmatrix.sync.aligned.m8n8.x4.shared.b16" in text
    assert "ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16" in text
    assert "ld.shared" not in text
    assert ".local" not in text


def test_fragments_and_products_print_as_text() -> None:
    text = str(compile_for_gpu(square(float16), "sm_90").loops)
    for part in ("fragment left[", " 0,0 8,0 0,8 8,8\n", "] @ columns["):
        assert part in text


# ---- what is refused ---------------------------------------------------------------------------------------

T, G = Axis("t", 32), Axis("g", 1)
SHARED = Buffer("shared", float16, 256, Space.SHARED)
ROWS, COLUMNS = (Buffer(n, float16, size, Space.LOCAL) for n, size in (("rows", 8), ("columns", 4)))
SUMS, OUT = Buffer("sums", float32, 4, Space.LOCAL), Buffer("out", float32, 1, Space.OUTPUT)


def launch(*inner: Statement, threads: Axis = T) -> Program:
    body: tuple[Statement, ...] = (
        Store(SHARED, Index(), Number(0, float16)),
        Store(SUMS, Index(), Number(0, float32)),
        *inner,
        Store(OUT, Index(), Number(0, float32)),
    )
    for buffer in (ROWS, COLUMNS, SUMS):
        body = (Local(buffer, body),)
    block = For(threads, body, Kind.BLOCK)
    kernel = Kernel("k", (For(G, (Local(SHARED, (block,)),), Kind.GRID),))
    return Program("p", (kernel,), (), (), (OUT,))


def fragment(
    buffer: Buffer, count: int, index: Index | None = None, strides: tuple[int, int] = (16, 1)
) -> Fragment:
    pieces = ((0, 0), (8, 0), (0, 8), (8, 8)) if count == 4 else ((0, 0), (0, 8))
    return Fragment(buffer, Index(), SHARED, index or Index(), strides, pieces)


def mma(left: Buffer = ROWS, place: Index | None = None) -> Mma:
    return Mma(SUMS, place or Index(), left, Index(), COLUMNS, Index(), 16)


LOADED = (fragment(ROWS, 4), fragment(COLUMNS, 2))


def test_a_product_of_fragments_is_valid() -> None:
    verified(launch(*LOADED, mma()))


@pytest.mark.parametrize(
    ("program", "why"),
    [
        (launch(fragment(ROWS, 4, Index((), 1))), "the index runs from 256"),
        (launch(fragment(ROWS, 4, as_index(T))), "a place differs within one"),
        (launch(*LOADED, mma(), threads=Axis("t", 48)), "no whole warps"),
        (launch(fragment(COLUMNS, 4)), "columns has 4 elements"),
        (launch(fragment(ROWS, 4, strides=(16, 2))), "side by side"),
        (launch(LOADED[0], mma()), "columns is no local buffer that was written"),
        (launch(*LOADED, mma(place=Index((), 1))), "sums has 4 elements"),
        (launch(*LOADED, mma(left=SUMS)), "not of one dtype"),
    ],
)
def test_other_fragments_and_products_are_refused(program: Program, why: str) -> None:
    with pytest.raises(CompilerError, match=why):
        verified(program)


def test_digits_are_dropped_as_the_gpu_does() -> None:
    x = np.float32([1 + 2.0**-11, 1 + 3 * 2.0**-12, -(1 + 2.0**-11), 3e38, np.inf, np.nan, 2.0**-140])
    want = np.float32([1 + 2.0**-10, 1 + 2.0**-10, -(1 + 2.0**-10), 3e38, np.inf, np.nan, 0.0])
    want[3] = ((x[3:4].view("i4") + 0x1000) & ~0x1FFF).view("f4")[0]
    graph = graph_of(lambda x: cast(cast(x, tfloat32), float32), x)
    np.testing.assert_array_equal(native.build(graph)(x)[0], want)
