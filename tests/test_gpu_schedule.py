"""A GPU's launches, run by a processor: what they compute is what the ops say, whatever order the threads
come in.

Each test builds small graphs, schedules them for a GPU, makes plain loops of the launches (`gpu.py`) and
compares with `ir.graph.interpret`. New rows and structured ops are taken from the tables; a new shape is a
line here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import gpu
import numpy as np
import pytest
from gpu import check
from native import graph_of
from test_ops_native import COMPOSITE_IDS, COMPOSITES, FUNCTIONS, agrees
from test_pipeline import BROADCASTS, CASES, SHAPES, sample, with_special_values
from test_structured_ops import IDS, SAMPLES

from retrograd.compiler.dtypes import DType, bool_, float32, float64, int16, int32, int64, uint8
from retrograd.compiler.errors import CompilerError, DimensionError
from retrograd.compiler.ir.graph import Array, Graph, Op, Value, apply
from retrograd.compiler.ir.index import Axis, Bound, as_index
from retrograd.compiler.ir.loops import Barrier, For, If, Kernel, Kind, Local, Program, Statement, walk
from retrograd.compiler.ops import reduce, scan, shape, softmax
from retrograd.compiler.ops.contract import dot, transpose
from retrograd.compiler.ops.elementwise import Elementwise
from retrograd.compiler.ops.index import put, put_add, take
from retrograd.compiler.ops.pool import AvgPool, MaxPool
from retrograd.compiler.ops.reduce import amax, sum_
from retrograd.compiler.ops.rows import rows
from retrograd.compiler.ops.sort import Argsort
from retrograd.compiler.pipeline import CompiledGpu, unseen
from retrograd.compiler.schedule.serialise import serialise


def real(*sizes: int, dtype: DType = float32) -> Array:
    return sample(sizes, dtype)


def unverified(graph: Graph) -> gpu.Program:
    """For pooling: intervals through so many quotients take the verifier minutes."""
    return gpu.build(graph, unseen)


def barriers(compiled: CompiledGpu) -> int:
    return sum(isinstance(s, Barrier) for k in compiled.loops.kernels for s in walk(k.body))


# ---- every op ----------------------------------------------------------------------------------------------


FIRST = {row.name: (row, operands) for row, operands in reversed(CASES)}


@pytest.mark.parametrize(("row", "operands"), FIRST.values(), ids=FIRST)
def test_every_row(row: Elementwise, operands: list[DType]) -> None:
    arrays = [with_special_values(sample((1003,), d, k), k) for k, d in enumerate(operands)]
    check(lambda *x: apply(row, *x), *arrays)


@pytest.mark.parametrize(("op", "arrays"), SAMPLES, ids=IDS)
def test_structured_ops_and_their_gradients(
    op: Op, arrays: tuple[Array, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("test_ops_native.build", gpu.build)
    agrees(lambda *values: apply(op, *values), *arrays)


@pytest.mark.parametrize(("op", "arrays"), COMPOSITES, ids=COMPOSITE_IDS)
def test_composite_ops_and_their_gradients(
    op: Op, arrays: tuple[Array, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "test_ops_native.build", unverified if isinstance(op, MaxPool | AvgPool) else gpu.build
    )
    agrees(lambda *values: apply(op, *values), *arrays)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_of_ops_and_their_gradients(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("test_ops_native.build", unverified if "pool" in name else gpu.build)
    function, arrays = FUNCTIONS[name]
    agrees(function, *arrays)


# ---- pointwise ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [float32, float64, int64, int16, uint8, bool_], ids=lambda d: d.name)
def test_pointwise_launches_of_every_shape(dtype: DType) -> None:
    for a, b in (*((s, s) for s in SHAPES), *BROADCASTS):
        check(lambda x, y: [rows.add(x, y), rows.lt(x, y)], sample(a, dtype, 1), sample(b, dtype, 2))


@pytest.mark.parametrize("sizes", [(50, 70), (33, 16), (3, 40, 20), (2, 17, 3, 19)], ids=str)
@pytest.mark.parametrize("dtype", [float32, float64, int32, int16, uint8, bool_], ids=lambda d: d.name)
def test_what_lies_along_another_axis_passes_through_shared_memory(
    sizes: tuple[int, ...], dtype: DType
) -> None:
    turned = (*range(len(sizes) - 2), len(sizes) - 1, len(sizes) - 2)
    compiled = check(lambda x: shape.permute(x, turned), sample(sizes, dtype))
    assert barriers(compiled) == (sizes[-2] >= 16)
    check(lambda x, y: rows.where(rows.lt(shape.permute(x, turned), y), y, shape.permute(x, turned)),
          sample(sizes, dtype), sample([sizes[k] for k in turned], dtype, 1))  # fmt: skip


def test_what_is_padded_and_lies_along_another_axis() -> None:
    check(lambda x: shape.permute(shape.pad(x, (2, 3), (1, 4), (0, 0)), (1, 0)), real(40, 35))


def test_several_reversed_and_strided_reads() -> None:
    check(lambda x: [shape.flip(x, (0, 1)), shape.slice_(x, (1, 0), (33, 129), (3, 2))], real(33, 129))


# ---- sums --------------------------------------------------------------------------------------------------

LONG = [
    ((1000,), (0,)), ((70_001,), (0,)), ((33, 129), (0,)), ((33, 129), (1,)), ((3, 40, 50), (0, 2)),
    ((3, 40, 50), (1,)), ((5000, 8), (0,)), ((5003, 7), (0,)), ((2, 9001), (1,)), ((64, 512), (0, 1)),
    ((1, 7), (1,)), ((4, 1, 3000), (2,)),
]  # fmt: skip


@pytest.mark.parametrize(("sizes", "axes"), LONG, ids=str)
@pytest.mark.parametrize("dtype", [float32, int64, uint8], ids=lambda d: d.name)
def test_sums_of_few_and_many(sizes: tuple[int, ...], axes: tuple[int, ...], dtype: DType) -> None:
    check(lambda x: [sum_(x, axes), amax(x, axes)], sample(sizes, dtype), scale=300)


@pytest.mark.parametrize("op", [reduce.Prod, reduce.Amin, reduce.Any_, reduce.All], ids=lambda op: op.name)
def test_other_reductions(op: Callable[[Sequence[int]], Op]) -> None:
    dtype = bool_ if op in (reduce.Any_, reduce.All) else float64
    for axes in ((0,), (1,), (0, 1)):
        check(lambda x, axes=axes: apply(op(axes), x), sample((17, 65), dtype), ulps=64)


def test_a_sum_and_what_it_sums_share_a_launch() -> None:
    compiled = check(lambda x: [sum_(rows.exp(x), (0,)), rows.exp(x)], real(5000), scale=1e6)
    assert len(compiled.launches) == 1


def ahead(compiled: CompiledGpu) -> int:
    """Buffers that a launch reads a step ahead."""
    return sum(
        s.buffer.name == "ahead" for k in compiled.loops.kernels for s in walk(k.body) if isinstance(s, Local)
    )


@pytest.mark.parametrize(("sizes", "axes"), LONG, ids=str)
def test_what_takes_long_to_compute_is_read_a_step_ahead(
    sizes: tuple[int, ...], axes: tuple[int, ...]
) -> None:
    def function(x: Value, y: Value) -> list[Any]:
        z = x * y
        found = rows.sin(z) * rows.exp(-z * z) + rows.tanh(z)
        return [sum_(found, axes), found]

    row = real(*(1 if k in axes else n for k, n in enumerate(sizes)))
    several_steps = max(sizes) >= 3000
    assert ahead(check(function, real(*sizes), row, scale=1000.0)) >= 2 * several_steps


def test_one_large_block_does_without_a_second_launch() -> None:
    for count, grid, block in ((16_384, 1, 1024), (70_000, 17, 256)):
        first, *second = check(lambda x: sum_(x, (0,)), real(count, dtype=float64), scale=1e3).launches
        assert (first.grid, first.block, len(second)) == (grid, block, grid > 1)


def test_sums_along_different_axes_are_told_apart() -> None:
    check(
        lambda x: [sum_(x, (0,)), sum_(x, (1,)), sum_(x, (0, 1)), rows.mul(x, 2.0)], real(70, 90), scale=300
    )


def test_a_sum_of_nothing() -> None:
    check(lambda x: [sum_(x, (1,)), sum_(x, (0,))], real(3, 0))


# ---- rows --------------------------------------------------------------------------------------------------

ROWS = [(5, 10), (100, 10), (100, 33), (7, 1000), (70, 1001), (2, 3000), (65, 2), (3, 40, 8), (129, 2048)]


@pytest.mark.parametrize("sizes", ROWS, ids=str)
def test_softmax_is_one_launch(sizes: tuple[int, ...]) -> None:
    compiled = check(lambda x: apply(softmax.Softmax(len(sizes) - 1), x), real(*sizes), ulps=32)
    assert len(compiled.launches) == 1


@pytest.mark.parametrize("sizes", [(70, 33), (70, 1001), (3, 5000)], ids=str)
def test_values_that_leave_a_row_and_are_used_in_it(sizes: tuple[int, ...]) -> None:
    def normal(x: Value) -> Any:
        e = rows.exp(rows.sub(x, shape.reshape(amax(x, (1,)), (sizes[0], 1))))
        total = sum_(e, (1,))
        return [
            e,
            total,
            rows.div(e, shape.reshape(total, (sizes[0], 1))),
            shape.flip(e, (1,)),
            sum_(e, (0,)),
        ]

    check(normal, real(*sizes), ulps=64, scale=30)


def test_rows_of_one_element() -> None:
    check(lambda x: apply(softmax.Softmax(1), x), real(65, 1))


def test_sums_over_part_of_a_row() -> None:
    def function(x: Value) -> Any:
        part = sum_(x, (1,))
        return rows.div(x, shape.reshape(rows.add(rows.abs(part), 1.0), (70, 1, 9)))

    check(function, real(70, 12, 9), ulps=64)


@pytest.mark.parametrize("sizes", [(2,), (5, 2), (3, 7), (70, 20), (2, 60), (40,)], ids=str)
@pytest.mark.parametrize("dtype", [float32, int64, int16, uint8], ids=lambda d: d.name)
def test_short_rows_are_sorted_by_one_block_each(sizes: tuple[int, ...], dtype: DType) -> None:
    compiled = check(
        lambda x: apply(Argsort(len(sizes) - 1), x), with_special_values(sample(sizes, dtype), 2)
    )
    assert len(compiled.launches) == 1


def test_a_long_row_is_sorted_across_the_grid() -> None:
    compiled = check(lambda x: apply(Argsort(0), x), with_special_values(real(4100), 2))
    assert len(compiled.launches) > 50


# ---- places and order --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "size", "width"), [(50, 7, 9), (300, 1000, 4), (40, 3, 1), (5, 2000, 33)])
def test_scattered_sums_are_the_same_each_time(count: int, size: int, width: int) -> None:
    indices = np.random.default_rng(count).integers(-size, size, count)
    check(lambda v, i: put_add(v, i, 0, size), real(count, width), indices, ulps=64, scale=10)
    check(lambda x, i, v: put(x, i, v), real(size, width), indices, real(count, width))
    check(lambda x, i: rows.mul(take(x, i, 0), 2.0), real(size, width), indices)


def test_an_index_out_of_range_is_told() -> None:
    with pytest.raises(DimensionError, match="out of range"):
        check(lambda x, i: take(x, i, 0), real(5), np.array([0, 5]))


@pytest.mark.parametrize("reverse", [False, True])
def test_scans(reverse: bool) -> None:
    for axis in (0, 1):
        check(
            lambda x, axis=axis: apply(scan.Cumsum(axis, reverse=reverse), x),
            real(37, 300),
            ulps=64,
            scale=100,
        )


# ---- products ----------------------------------------------------------------------------------------------

PRODUCTS = [
    (8, 8, 8), (33, 17, 65), (40, 50, 60), (64, 64, 64), (70, 600, 41), (1, 500, 60), (300, 500, 1),
    (130, 9, 260),
    (9, 3000, 10), (1500, 20, 1400),
]  # fmt: skip


@pytest.mark.parametrize(("m", "k", "n"), PRODUCTS)
def test_products(m: int, k: int, n: int) -> None:
    check(lambda a, b: dot(a, b), real(m, k), real(k, n), ulps=64, scale=k**0.5)


@pytest.mark.parametrize("dtype", [float32, float64], ids=lambda d: d.name)
@pytest.mark.parametrize("layout", ["NN", "NT", "TN", "TT"])
def test_products_in_all_layouts(layout: str, dtype: DType) -> None:
    for m, k, n in ((36, 52, 64), (37, 51, 63)):
        a, b = ((m, k) if layout[0] == "N" else (k, m)), ((k, n) if layout[1] == "N" else (n, k))

        def product(x: Value, y: Value) -> Value:
            return dot(transpose(x) if layout[0] == "T" else x, transpose(y) if layout[1] == "T" else y)

        check(product, sample(a, dtype), sample(b, dtype, 1), ulps=64, scale=20)


def test_what_follows_a_product_joins_it() -> None:
    def layer(x: Value, w: Value, b: Value) -> Value:
        return rows.maximum(rows.add(dot(x, w), b), 0.0)

    compiled = check(layer, real(70, 50), real(50, 40), real(40), ulps=64, scale=20)
    assert len(compiled.launches) == 1
    check(lambda x, w: rows.digamma(rows.abs(dot(x, w))), real(40, 30), real(30, 50), ulps=1e4, scale=1e3)
    check(layer, real(40, 1000), real(1000, 40), real(40), ulps=64, scale=100)


def test_batched_products() -> None:
    check(lambda a, b: dot(a, b), real(2, 3, 20, 30), real(2, 3, 30, 10), ulps=64, scale=20)
    check(lambda a, b: dot(rows.exp(a), b), real(3, 9, 30), real(3, 30, 10), ulps=64, scale=1e3)


def test_products_with_no_terms_or_of_whole_numbers() -> None:
    check(lambda a, b: dot(a, b), real(9, 0), real(0, 12))
    for dtype in (int64, int16, uint8):
        check(lambda a, b: dot(a, b), real(9, 20, dtype=dtype), real(20, 12, dtype=dtype))


# ---- plain loops of launches -------------------------------------------------------------------------------


def without_barriers(statements: Sequence[Statement]) -> tuple[Statement, ...]:
    result: list[Statement] = []
    for s in statements:
        if isinstance(s, For | Local | If):
            result.append(replace(s, body=without_barriers(s.body)))
        elif not isinstance(s, Barrier):
            result.append(s)
    return tuple(result)


def test_a_missing_barrier_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(program: Program, backwards: bool) -> Program:
        kernels = tuple(Kernel(k.name, without_barriers(k.body)) for k in program.kernels)
        return serialise(replace(program, kernels=kernels), backwards)

    monkeypatch.setattr(gpu, "serialise", careless)
    graph = graph_of(lambda x: shape.permute(x, (1, 0)), real(50, 70))
    with pytest.raises(AssertionError):
        gpu.build(graph)(real(50, 70))


def test_a_barrier_that_some_threads_miss_is_refused() -> None:
    t, g = Axis("t", 32), Axis("g", 1)
    body = If((Bound(as_index(t), 0, 7),), (Barrier(),))
    kernel = Kernel("k", (For(g, (For(t, (body,), Kind.BLOCK),), Kind.GRID),))
    with pytest.raises(CompilerError, match="not all threads come by"):
        serialise(Program("p", (kernel,), (), (), ()))


def test_launches_print_as_text() -> None:
    compiled = check(lambda x: sum_(x, (0,)), real(3000), scale=300)
    text = str(compiled.loops)
    for part in (
        "for g in 1 grid {",
        "for t in 256 block {",
        "local shared warps: f32[8] {",
        "barrier",
        "peer = total of thread ^ 16",
    ):
        assert part in text
    assert all(isinstance(k.body[0], For) for k in compiled.loops.kernels)
