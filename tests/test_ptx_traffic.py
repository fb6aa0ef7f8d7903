"""What kernels ask of a GPU's memory: inputs once, outputs once, 16 bytes at a time, and no two words of one
bank of shared memory.

Each kernel runs on the PTX machine, which counts (`ptx_traffic`). There is no clock here: these are the
conditions under which memory can be kept busy. A kernel whose traffic matters is a line of a table here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import ptx_programs
import pytest
from ptx_traffic import Traffic
from test_pipeline import sample
from test_ptx import compiled, real, with_adjoint

from retrograd.compiler.ir.graph import Array, apply
from retrograd.compiler.ops import cross_entropy, normal, shape, softmax
from retrograd.compiler.ops.contract import dot
from retrograd.compiler.ops.reduce import sum_
from retrograd.compiler.ops.rows import rows
from retrograd.compiler.pipeline import CompiledGpu, compile_for_gpu
from retrograd.compiler.schedule import gpu_gemm

Function = Callable[..., Any]
LINE = real(1 << 17)
TARGET = np.arange(64, dtype=np.int64) * 7 % 1000


def measured(program: CompiledGpu, arrays: Sequence[Array]) -> dict[str, Traffic]:
    """What each launch asks for."""
    traffic: dict[str, Traffic] = {}
    given = [*arrays, *(sample(n.shape, n.dtype, 7) for n in program.graph.inputs[len(arrays) :])]
    ptx_programs.run(program, given, traffic=traffic)
    return traffic


def nbytes(program: CompiledGpu) -> tuple[int, int]:
    """Of all inputs, and of all outputs."""
    first, second = (
        sum(n.type.nbytes for n in nodes) for nodes in (program.graph.inputs, program.graph.outputs)
    )
    return first, second


# ---- global memory -----------------------------------------------------------------------------------------

ONCE: dict[str, tuple[Function, tuple[Array, ...]]] = {
    "add": (lambda x, y: rows.add(x, y), (LINE, LINE)),
    "swish": (lambda x: rows.mul(x, rows.sigmoid(x)), (LINE,)),
    "halves": (lambda x, y: rows.mul(x, y), (LINE.astype("f2"), LINE.astype("f2"))),
    "doubles": (lambda x, y: rows.mul(x, y), (LINE.astype("f8"), LINE.astype("f8"))),
    "softmax": (lambda x: apply(softmax.Softmax(1), x), (real(64, 1000),)),
    "wide_softmax": (lambda x: apply(softmax.Softmax(1), x), (real(64, 4096),)),
    "log_softmax": (lambda x: apply(softmax.LogSoftmax(1), x), (real(64, 1024),)),
}
"""Functions of which one kernel touches nothing else than what it is given and gives."""


WITH_GRADIENTS = ("add", "halves", "doubles", "softmax", "wide_softmax", "log_softmax")


@pytest.mark.parametrize(
    ("name", "adjoint"), [*((n, False) for n in ONCE), *((n, True) for n in WITH_GRADIENTS)]
)
def test_inputs_are_read_once_and_outputs_written_once(name: str, adjoint: bool) -> None:
    function, arrays = ONCE[name]
    program = compiled(function, *arrays, adjoint=adjoint)
    (traffic,) = measured(program, arrays).values()
    assert (traffic.read, traffic.written) == nbytes(program)
    assert traffic.widths == {16}
    assert 32 * traffic.sectors == traffic.read + traffic.written


def test_pointwise_nests_that_follow_each_other_are_one_launch() -> None:
    arrays = LINE, LINE
    program = compiled(
        lambda x, y: rows.mul(rows.sin(x), rows.log1p(y)), *arrays, adjoint=True
    )  # of which a processor stores log1p(y)
    (traffic,) = measured(program, arrays).values()
    assert (traffic.read, traffic.written) == nbytes(program)
    assert [k.name for k in program.loops.kernels] == ["log1p_mul_sin_mul_div"]


def test_a_function_and_its_sum_are_one_reading() -> None:
    program = compiled(lambda x: sum_(rows.mul(x, rows.exp(x)), (0,)), LINE, adjoint=True)
    first, *others = measured(program, [LINE]).values()
    assert first.read - LINE.nbytes <= LINE.nbytes / 16
    assert sum(t.read + t.written for t in others) < 1024


@pytest.mark.parametrize("axis", [0, 1])
def test_sums_read_each_element_once_in_whole_lines(axis: int) -> None:
    x = real(512, 768)
    first, *others = measured(compiled(lambda x: sum_(x, (axis,)), x), [x]).values()
    assert first.read == x.nbytes
    assert sum(t.read for t in others) < x.nbytes / 8


def test_a_transpose_reads_and_writes_in_whole_sectors() -> None:
    x = real(256, 320)
    (traffic,) = measured(compiled(lambda x: shape.permute(x, (1, 0)), x), [x]).values()
    assert (traffic.read, traffic.written, traffic.conflicts) == (x.nbytes, x.nbytes, 0)
    assert 32 * traffic.sectors == 2 * x.nbytes


def test_cross_entropy_and_its_gradient_read_each_row_once() -> None:
    x = real(64, 1000)
    graph = with_adjoint(lambda x, t: apply(cross_entropy.CrossEntropy("mean", -100, 0.0), x, t), (x, TARGET))
    traffic = max(measured(compile_for_gpu(graph), [x, TARGET]).values(), key=lambda t: t.read)
    threads, scalars = (
        64,
        8 + 8 + 4 + 4 + 4,
    )  # the label, twice; the loss's gradient, the count, x at the label
    assert traffic.read == x.nbytes + 64 * threads * scalars
    assert x.nbytes <= traffic.written < 1.01 * x.nbytes


def test_layer_norm_and_its_gradient_read_each_row_once() -> None:
    arrays = x, w, b = real(64, 1024), real(1024), real(1024)
    graph = with_adjoint(lambda x, w, b: apply(normal.LayerNorm(1e-5, 1), x, w, b), arrays)
    traffic, *columns = measured(compile_for_gpu(graph), arrays).values()
    weights = 64 * (w.nbytes + b.nbytes)
    assert traffic.read == 2 * x.nbytes + weights
    assert 2 * x.nbytes <= traffic.written < 2.01 * x.nbytes
    assert max(t.read for t in columns) < 2.6 * x.nbytes


def test_where_a_bound_fails_nothing_is_read() -> None:
    x = real(100, 72)
    program = compiled(lambda x: shape.pad(x, (3, 4), (5, 8), (0, 0)), x)
    (traffic,) = measured(program, [x]).values()
    assert traffic.read == x.nbytes
    assert "@%p" in program.ptx


# ---- shared memory -----------------------------------------------------------------------------------------

ORDERS: dict[str, tuple[Function, Callable[[int, int], tuple[tuple[int, int], ...]]]] = {
    "nn": (lambda a, b: dot(a, b), lambda n, k: ((n, k), (k, n))),
    "tn": (lambda a, b: dot(shape.permute(a, (1, 0)), b), lambda n, k: ((k, n), (k, n))),
    "nt": (lambda a, b: dot(a, shape.permute(b, (1, 0))), lambda n, k: ((n, k), (n, k))),
}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("kind", ["f4", "f8", "f2", "tf32"])
@pytest.mark.parametrize("side", [32, 64, 128])
def test_products_meet_in_no_bank(order: str, kind: str, side: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_gemm, "_BLOCKS", 1)
    function, sizes = ORDERS[order]
    arrays = [real(*s).astype("f4" if kind == "tf32" else kind) for s in sizes(side, 72)]
    (traffic,) = measured(compiled(function, *arrays, tf32=kind == "tf32"), arrays).values()
    assert traffic.conflicts == 0
    assert traffic.shared
