"""PTX: NVIDIA's assembler takes it for every GPU, no kernel runs out of registers, and people can read it.

Rows and structured ops come from the tables, forward and adjoint; what is not assembled for sm_90 in quick
tests is in slow ones, for all GPUs. Without `ptxas` those tests skip; what is said of the text is
tested without it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import gradients
import numpy as np
import pytest
from gpu import assembled, assert_assembles, ptxas
from native import graph_of
from test_ops_native import COMPOSITES, FUNCTIONS
from test_pipeline import CASES, sample
from test_structured_ops import SAMPLES

from retrograd.compiler.adjoint import joint
from retrograd.compiler.backends import ptx
from retrograd.compiler.dtypes import DType, dtype, float32, int8, int16, uint8
from retrograd.compiler.errors import ArgumentError, CompilerError
from retrograd.compiler.ir.graph import Array, Graph, Value, apply
from retrograd.compiler.ops import shape, softmax
from retrograd.compiler.ops.contract import dot
from retrograd.compiler.ops.elementwise import Types
from retrograd.compiler.ops.reduce import sum_
from retrograd.compiler.ops.rows import rows
from retrograd.compiler.pipeline import CompiledGpu, compile_for_gpu

ARCHITECTURES = ("sm_75", "sm_80", "sm_90", "sm_100")
Function = Callable[..., Any]


def real(*sizes: int) -> Array:
    return sample(sizes, float32)


def whole(*sizes: int) -> Array:
    """Small whole numbers: their products and sums are exact, so that no order of additions tells."""
    return np.random.default_rng(0).integers(-4, 5, sizes).astype(np.float32)


def compiled(
    function: Function, *arrays: Array, arch: str = "sm_90", adjoint: bool = False, tf32: bool = False
) -> CompiledGpu:
    graph = with_adjoint(function, arrays) if adjoint else graph_of(function, *arrays)
    return compile_for_gpu(graph, arch, tf32=tf32)


def with_adjoint(function: Function, arrays: Sequence[Array]) -> Graph:
    """The function's graph, with gradients by all floating inputs where there are any."""
    graph = gradients.graph_of(function, arrays)
    wrt = [k for k, a in enumerate(arrays) if dtype(a.dtype).is_floating_point]
    floating = [n for n in graph.outputs if n.dtype.is_floating_point]
    return joint(graph, wrt, "given") if wrt and floating else graph


def two_layers(x: Value, w1: Value, w2: Value, y: Value) -> Value:
    hidden = rows.maximum(dot(x, w1), 0.0)
    error = rows.sub(dot(hidden, w2), y)
    return sum_(rows.mul(error, error), (0, 1))


NETWORK = (real(64, 1000), real(1000, 100), real(100, 10), real(64, 10))
LISTED: dict[str, tuple[Function, tuple[Array, ...]]] = {
    "pointwise": (lambda x, y: rows.mul(rows.sin(x), rows.log1p(y)), (real(100_003), real(100_003))),
    "turned": (lambda x: shape.permute(x, (1, 0)), (real(500, 700),)),
    "sum": (lambda x: sum_(rows.tanh(x), (0,)), (real(1_000_000),)),
    "columns": (lambda x: sum_(x, (0,)), (real(10_000, 300),)),
    "softmax": (lambda x: apply(softmax.Softmax(1), x), (real(1000, 1000),)),
    "long_rows": (lambda x: apply(softmax.LogSoftmax(1), x), (real(100, 30_000),)),
    "product": (lambda a, b: rows.maximum(dot(a, b), 0.0), (whole(2048, 2048), whole(2048, 2048))),
    "skinny": (lambda a, b: dot(a, b), (real(16, 4096), real(4096, 512))),
    "doubles": (lambda a, b: dot(a, b), (real(1024, 1024).astype("f8"), real(1024, 1024).astype("f8"))),
    "network": (two_layers, NETWORK),
    "halves": (lambda a, b: dot(a, b), (real(1024, 1024).astype("f2"), real(1024, 1024).astype("f2"))),
    "tf32": (lambda a, b: dot(a, b), (real(1024, 1024), real(1024, 1024))),
}  # fmt: skip
"""Kernels of a size that matters; their registers must not spill on any GPU."""

ROWS = {f"{row.name}-{operands[-1].name}": (row, operands) for row, operands in CASES}
OPS = [(lambda *x, op=op: apply(op, *x), arrays) for op, arrays in (*SAMPLES, *COMPOSITES)] + [
    *FUNCTIONS.values()
]


def chunks(cases: Sequence[Any], count: int = 8) -> list[list[Any]]:
    return [list(islice(cases, k, None, count)) for k in range(count)]


def rows_of(names: Sequence[str]) -> list[tuple[Function, tuple[Array, ...]]]:
    found = []
    for name in names:
        row, operands = ROWS[name]
        found.append((lambda *x, row=row: apply(row, *x), tuple(sample((1003,), d, 1) for d in operands)))
    return found


def shared_out(quick: Sequence[Any], others: Sequence[Any]) -> list[Any]:
    """Chunks of cases, each for a GPU: the `quick` ones for sm_90, and in slow tests all else."""
    first = [pytest.param(cases, "sm_90", id=f"sm_90-{k}") for k, cases in enumerate(chunks(quick, 4))]
    return first + [
        pytest.param(cases, arch, id=f"{arch}-others-{k}", marks=pytest.mark.slow)
        for arch in ARCHITECTURES
        for k, cases in enumerate(chunks(others if arch == "sm_90" else [*quick, *others]))
    ]


SINGLES = [name for name in ROWS if name.endswith("f32")]
SPILLING = {
    **dict.fromkeys(("gamma_p", "gamma_q"), 400),
    **dict.fromkeys(("chebyshev_polynomial_w", "shifted_chebyshev_polynomial_w"), 16),
    "zeta": 32,
}
"""Bytes by which rows of thousands of instructions run out of registers: series and continued fractions, and
sines of huge angles, with a derivative beside."""


@pytest.mark.parametrize(("names", "arch"), shared_out(SINGLES, [n for n in ROWS if n not in SINGLES]))
def test_every_row_on_every_dtype_assembles_for_every_gpu(
    names: list[str], arch: str, tmp_path: Path
) -> None:
    ptxas()
    for name, (function, arrays) in zip(names, rows_of(names), strict=True):
        spill = SPILLING.get(name.partition("-")[0], 0)
        assert_assembles(compiled(function, *arrays, arch=arch, adjoint=True), arch, tmp_path, spill)


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("dtype", [int8, uint8, int16], ids=lambda d: d.name)
def test_every_row_on_small_integers_assembles_for_every_gpu(dtype: DType, arch: str, tmp_path: Path) -> None:
    ptxas()
    own = [row for row, operands in CASES if operands[-1] is dtype]

    def function(*x: Value) -> list[Value]:
        chosen = {Types.SELECT: (rows.lt(x[0], x[1]), *x)}
        return [apply(row, *chosen.get(row.types, x)[: row.arity]) for row in own]

    assert_assembles(
        compiled(function, *(sample((1003,), dtype, k) for k in range(3)), arch=arch), arch, tmp_path
    )


@pytest.mark.parametrize(
    ("cases", "arch"), shared_out(OPS[::3], [case for k, case in enumerate(OPS) if k % 3])
)
def test_every_op_and_its_adjoint_assemble_for_every_gpu(cases: list[Any], arch: str, tmp_path: Path) -> None:
    ptxas()
    for function, arrays in cases:
        assert_assembles(compiled(function, *arrays, arch=arch, adjoint=True), arch, tmp_path)


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("name", LISTED)
def test_listed_kernels_assemble_for_every_gpu(name: str, arch: str, tmp_path: Path) -> None:
    ptxas()
    function, arrays = LISTED[name]
    made = compiled(function, *arrays, arch=arch, adjoint=name == "network", tf32=name == "tf32")
    assert_assembles(made, arch, tmp_path)


# ---- text --------------------------------------------------------------------------------------------------


def test_the_two_layer_network_reads_well() -> None:
    program = compiled(two_layers, *NETWORK, adjoint=True)
    here = Path(__file__).name
    assert [launch.name for launch in program.launches] == re.findall(r"\.entry (\w+)\(", program.ptx)
    line = two_layers.__code__.co_firstlineno
    for text in (f"// {here}:{line + 1}\n", f"// {here}:{line + 2}\n", f"// {here}:{line + 3}\n", "// dot"):
        assert text in program.ptx
    assert all(launch.name.startswith("value_and_gradient_") for launch in program.launches)
    assert re.search(r"// \(x0: f32\[64000\], x1: f32\[100000\]", program.ptx)


def test_each_launch_says_what_to_start() -> None:
    (launch,) = compiled(lambda x, y: rows.add(x, y), real(10_000), real(10_000)).launches
    assert (launch.name, launch.grid, launch.block, launch.shared_bytes) == ("f_add", 10, 256, 0)
    assert [b.name for b in launch.buffers] == ["x0", "x1", "out0"]


def test_memory_is_read_and_written_in_vectors() -> None:
    single = compiled(lambda x, y: rows.add(x, y), real(10_000), real(10_000)).ptx
    assert len(re.findall(r"ld\.global\.nc\.v4\.b32", single)) == 2
    assert len(re.findall(r"st\.global\.v4\.b32", single)) == 1
    assert "st.global.v2.b64" in compiled(lambda x: rows.neg(x), np.zeros(10_000)).ptx
    tiles = compiled(lambda a, b: dot(a, b), real(2048, 512), real(512, 2048)).ptx
    assert "ld.shared.v4.b32" in tiles
    assert "ld.shared.b32" not in tiles


def test_sums_exchange_registers_and_use_no_atomics() -> None:
    text = compiled(lambda x: sum_(x, (0,)), real(1_000_000)).ptx
    assert "shfl.sync.bfly.b32" in text
    assert not re.search(r"\b(atom|red)\.", text)


def test_compensated_sums_are_not_contracted() -> None:
    text = compiled(lambda x, y: rows.pow(x, y), np.zeros(100), np.zeros(100)).ptx
    for instruction in ("add.rn.f64", "sub.rn.f64", "mul.rn.f64"):
        assert instruction in text


def test_the_ptx_version_is_the_oldest_that_serves() -> None:
    for arch, version in (("sm_75", "6.3"), ("sm_80", "7.0"), ("sm_90", "7.8"), ("sm_100", "8.6")):
        text = compiled(lambda x: rows.exp(x), real(8), arch=arch).ptx
        assert f".version {version}" in text
        assert f".target {arch}" in text


def test_an_unknown_gpu_is_an_error() -> None:
    with pytest.raises(ArgumentError, match="choose one of sm_75"):
        compiled(lambda x: rows.exp(x), real(8), arch="sm_12")


IN_DOUBLES = {
    "acosh", "asinh", "atan2", "atanh", "cbrt", "cos", "digamma", "fmod", "hypot",
    "lgamma", "pow", "gamma_p", "gamma_q", "zeta",
    "remainder", "sin", "tan",
    *(f"{shifted}chebyshev_polynomial_{kind}" for shifted in ("", "shifted_") for kind in "tuvw"),
    "hermite_polynomial_h", "hermite_polynomial_he", "laguerre_polynomial_l", "legendre_polynomial_p",
}  # fmt: skip
"""Rows of f32 that compute in f64: all of it, or (cos, sin, fmod, remainder) where numbers are huge."""


def test_which_rows_of_singles_compute_in_doubles() -> None:
    native = [(name.partition("-")[0], *ROWS[name]) for name in ROWS if name.endswith("f32")]
    found = set()
    for name, row, operands in native:
        if row.is_native(float32):
            text = compiled(lambda *x, row=row: apply(row, *x), *(sample((8,), d) for d in operands)).ptx
            if re.search(r"\.f64\b", text):
                found.add(name)
    assert found == IN_DOUBLES


# ---- what LLVM could not select ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "%y = call float @llvm.exp.f32(float %x)",
        "%y = call <4 x float> @llvm.masked.load.v4f32.p0(ptr %p)",
        "%y = call double @llvm.sin.f64(double %x)",
        "%y = frem float %x, %z",
        "%y = sdiv i128 %x, %z",
    ],
)
def test_what_would_end_the_process_is_refused(text: str) -> None:
    with pytest.raises(CompilerError, match="PTX has no instruction for it"):
        ptx.check(text, "sm_90")


def test_the_assembler_refuses_what_is_no_ptx(tmp_path: Path) -> None:
    text = compiled(lambda x: rows.exp(x), real(8)).ptx
    assert assembled(text, "sm_90", tmp_path)
    with pytest.raises(AssertionError, match="error"):
        assembled(text.replace("fma.rn.f32", "fma.wrong.f32"), "sm_90", tmp_path)
