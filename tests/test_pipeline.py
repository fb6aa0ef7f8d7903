"""From graph to machine code and back: what compiled programs compute is what the ops say, on every op
and odd shape.

Each test builds small graphs, runs them natively between forbidden pages (`native.py`) and compares with
`ir.graph.interpret`. New rows, movement ops and reductions are taken from the tables; a new shape is a
line here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain, combinations, permutations, product
from typing import Any

import numpy as np
import pytest
from native import assert_close, build, check, graph_of

from retrograd.compiler.backends.cpu import Target
from retrograd.compiler.dtypes import DType, bool_, float32, float64, int8, int16, int32, int64, uint8
from retrograd.compiler.errors import DimensionError, DtypeError
from retrograd.compiler.ir.graph import OPS, Array, Node, Type, Value, apply, interpret
from retrograd.compiler.ops import shape
from retrograd.compiler.ops.contract import dot, transpose
from retrograd.compiler.ops.elementwise import Elementwise, Types
from retrograd.compiler.ops.index import put, put_add, take
from retrograd.compiler.ops.iota import Iota
from retrograd.compiler.ops.reduce import Amax, Amin, Reduction, amax, spread, sum_
from retrograd.compiler.ops.rows import rows
from retrograd.compiler.ops.window import Undiagonal, Unwindow, diagonal, window
from retrograd.runtime.native import cpu

DTYPES = (float32, float64, int64, int32, int16, int8, uint8, bool_)
ROWS = [op for op in OPS.values() if isinstance(op, Elementwise)]
SPECIAL = (
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    -0.5,
    2.0,
    -2.0,
    3.0,
    10.0,
    -10.0,
    np.inf,
    -np.inf,
    np.nan,
    2.5,
    -2.5,
    7.75,
)


def sample(shape: Sequence[int], dtype: DType, seed: int = 0) -> Array:
    """Numbers of a few units in size, whole ones among them."""
    random = np.random.default_rng([seed, *shape])
    if dtype.is_floating_point:
        return (random.standard_normal(shape) * 3).astype(dtype.numpy)
    return random.integers(*((0, 2) if dtype is bool_ else (-9, 10)), shape).astype(dtype.numpy)


def with_special_values(values: Array, seed: int) -> Array:
    """The array with zeros, infinities, NaN and denormals strewn in, or the greatest and least whole
    numbers."""
    if values.dtype.kind == "b":
        return values
    if values.dtype.kind == "f":
        tiny = np.finfo(values.dtype).tiny
        special = np.array([*SPECIAL, tiny, -tiny, tiny / 8], values.dtype)
    else:
        least, most = np.iinfo(values.dtype).min, np.iinfo(values.dtype).max
        special = np.array([least, least + 1, most // 2, most - 1, most], values.dtype)
    random = np.random.default_rng(seed)
    chosen = random.choice(special, values.shape)
    return np.where(random.random(values.shape) < 0.5, chosen, values)


# ---- elementwise -------------------------------------------------------------------------------------------


def accepted(row: Elementwise) -> Iterator[list[DType]]:
    """The operands' dtypes, for each dtype that the row takes."""
    for dtype in DTYPES:
        operands = [dtype] * row.arity
        if row.types is Types.SELECT:
            operands[0] = bool_
        try:
            row.infer(*(Type((), d) for d in operands))
        except DtypeError:
            continue
        yield operands


CASES = [(row, operands) for row in ROWS for operands in accepted(row)]


@pytest.mark.parametrize(("row", "operands"), CASES, ids=lambda v: getattr(v, "name", None) or v[-1].name)
def test_every_row_on_every_dtype(row: Elementwise, operands: list[DType]) -> None:
    for shape_ in ((), (7,), (1003,)):
        arrays = [with_special_values(sample(shape_, d, k), k) for k, d in enumerate(operands)]
        check(lambda *x: apply(row, *x), *arrays, ulps=blur(row, operands[-1]))


def blur(row: Elementwise, dtype: DType) -> float:
    """Units in the last place that native code, where products and sums are one, may be from NumPy."""
    return _CANCELLING.get(row.name, 8.0) if dtype is float64 else 8.0


_CANCELLING = {
    "laguerre_polynomial_l": 32.0, "hermite_polynomial_he": 128.0, "hermite_polynomial_h": 128.0,
    "gamma_q": 16.0, "gamma_p": 16.0,
}  # fmt: skip
"""Rows that cancel, and are computed in float64 whatever the operands: two to three times what was seen."""

SHAPES = (
    (),
    (0,),
    (1,),
    (3,),
    (7,),
    (16,),
    (17,),
    (64,),
    (65,),
    (1000,),
    (3, 5),
    (1, 7),
    (33, 129),
    (2, 3, 4),
    (3, 0, 2),
)
BROADCASTS = (
    ((5, 1), (1, 7)), ((5, 7), (7,)), ((5, 7), (5, 1)), ((), (4,)), ((2, 1, 4), (3, 1)), ((1,), (0,)),
    ((0, 1), (3,)),
    ((1, 1), (1, 1)), ((33, 1), (1, 129)), ((6, 1, 1), (1, 5, 7)),
)  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: d.name)
def test_pointwise_kernels_of_every_shape(dtype: DType) -> None:
    for a, b in (*((s, s) for s in SHAPES), *BROADCASTS):
        x, y = sample(a, dtype, 1), sample(b, dtype, 2)
        check(
            lambda x, y: [rows.add(x, rows.maximum(x, y)), rows.lt(x, y), rows.where(rows.le(x, y), x, y)],
            x,
            y,
        )


@pytest.mark.parametrize("source", DTYPES, ids=lambda d: d.name)
@pytest.mark.parametrize("target", DTYPES, ids=lambda d: d.name)
def test_casts(source: DType, target: DType) -> None:
    for n in (1, 5, 100):
        check(lambda x: shape.cast(x, target), sample((n,), source))
        check(lambda x: shape.cast(x, target), with_special_values(sample((n,), source), 1))


# ---- movement ----------------------------------------------------------------------------------------------

Function = Callable[[Value], Value]


def movements(sizes: tuple[int, ...]) -> Iterator[tuple[str, Function]]:
    """Functions that move elements of an array of these sizes."""
    ndim, n = len(sizes), int(np.prod(sizes))
    yield "expand", lambda x: shape.expand(x, (3, *sizes))
    for axes in permutations(range(ndim)):
        yield f"permute {axes}", lambda x, axes=axes: shape.permute(x, axes)
    for axes in subsets(range(ndim)):
        yield f"flip {axes}", lambda x, axes=axes: shape.flip(x, axes)
    for other in (
        (n,),
        (1, n, 1),
        (n, 1),
        sizes[::-1],
        *(((d, n // d)) for d in (2, 3, 5) if n and n % d == 0),
    ):
        yield f"reshape {other}", lambda x, other=other: shape.reshape(x, other)
    for start, stop, step in ((1, -1, 1), (0, 0, 2), (1, 0, 3), (0, -2, 2)):
        bounds = [(min(start, s), max(s + stop, min(start, s)), step) for s in sizes]
        yield (
            f"slice {bounds}",
            lambda x, bounds=bounds: shape.slice_(x, *zip(*bounds, strict=True) if bounds else ((), (), ())),
        )
    for low, high, gap in ((1, 0, 0), (0, 2, 0), (2, 1, 1), (0, 0, 2), (3, 3, 3)):
        yield (
            f"pad {low, high, gap}",
            lambda x, p=(low, high, gap): shape.pad(x, *([v] * ndim for v in p), fill=7.0),
        )
    if ndim >= 2:
        for offset in (-1, 0, 2):
            yield f"diagonal {offset}", lambda x, offset=offset: diagonal(x, offset, 0, 1)
        length = sizes[-1]
        yield "undiagonal", lambda x: apply(Undiagonal(-1, 0, 1, (length + 1, length)), x)
    for step, dilation in product((1, 2), (1, 3)):
        if ndim and sizes[-1] >= dilation + 1:
            yield (
                f"window {step, dilation}",
                lambda x, p=(step, dilation): window(x, [ndim - 1], [2], [p[0]], [p[1]]),
            )
            yield f"unwindow {step, dilation}", lambda x, p=(step, dilation): unwindow(x, ndim - 1, *p)


def unwindow(x: Value, axis: int, step: int, dilation: int) -> Value:
    return apply(
        Unwindow((axis,), (x.shape[axis],), (step,), (dilation,)), window(x, [axis], [2], [step], [dilation])
    )


def subsets(items: Sequence[int]) -> Iterator[tuple[int, ...]]:
    return chain.from_iterable(combinations(items, k) for k in range(len(items) + 1))


MOVED_SHAPES = ((), (1,), (5,), (40,), (0,), (3, 5), (1, 6), (4, 0), (2, 3, 4), (9, 70))


@pytest.mark.parametrize("sizes", MOVED_SHAPES, ids=str)
def test_every_movement_alone_and_within_arithmetic(sizes: tuple[int, ...]) -> None:
    for seed, (_, move) in enumerate(movements(sizes)):
        x = sample(sizes, float32, seed)
        check(lambda x, move=move: [move(x), rows.mul(move(rows.add(x, 1.0)), 2.0)], x)


@pytest.mark.parametrize("sizes", [(6,), (3, 4), (2, 3, 4), (5, 0), (8, 33)], ids=str)
def test_movements_of_movements(sizes: tuple[int, ...]) -> None:
    random = np.random.default_rng(0)
    for _ in range(40):
        x = sample(sizes, float64, 3)
        shapes, steps = sizes, []
        for _ in range(int(random.integers(2, 5))):
            choices = list(movements(shapes))
            _, move = choices[random.integers(len(choices))]
            moved = move(np.zeros(shapes))
            if moved.size < 5000:
                steps.append(move)
                shapes = moved.shape
        check(lambda x, steps=tuple(steps): rows.neg(through(steps, x)), x)


def through(steps: Sequence[Function], x: Value) -> Value:
    for step in steps:
        x = step(x)
    return x


@pytest.mark.parametrize("dtype", [float32, int64, uint8, bool_], ids=lambda d: d.name)
def test_concat(dtype: DType) -> None:
    joined = (
        (0, ((3,), (0,), (40,))), (1, ((2, 3), (2, 1), (2, 17))), (0, ((1, 4), (5, 4))),
        (1, ((0, 2), (0, 3))),
    )  # fmt: skip
    for axis, sizes in joined:
        arrays = [sample(s, dtype, k) for k, s in enumerate(sizes)]

        def both(*x: Node, axis: int = axis) -> list[Value]:
            whole = shape.concat(x, axis)
            return [whole, rows.ne(shape.concat([rows.add(y, y) for y in x], axis), whole)]

        check(both, *arrays)


@pytest.mark.parametrize("dtype", [float32, float64, int32, int64, int16, int8, uint8], ids=lambda d: d.name)
def test_iota(dtype: DType) -> None:
    for sizes, axis in (((5,), 0), ((3, 40), 1), ((3, 40), 0), ((2, 0), 1), ((1, 1), 0)):
        op = Iota(Type(sizes, dtype), axis)
        check(
            lambda x, op=op: [rows.add(x.builder.node(op), x), x.builder.node(op)], np.ones((), dtype.numpy)
        )


# ---- reductions --------------------------------------------------------------------------------------------

REDUCTIONS = [op for op in OPS.values() if isinstance(op, type) and issubclass(op, Reduction)]
REDUCED_SHAPES = (
    (1,),
    (5,),
    (100,),
    (0,),
    (3, 5),
    (5, 0),
    (0, 5),
    (2, 3, 4),
    (1, 5, 1),
    (40, 33),
    (7, 2, 3, 5),
)


REDUCED = [(op, dtype) for op in REDUCTIONS for dtype in DTYPES if dtype.category in op.categories]


@pytest.mark.parametrize(("op", "dtype"), REDUCED, ids=lambda v: v.name)
def test_every_reduction_over_all_subsets_of_axes(op: type[Reduction], dtype: DType) -> None:
    for sizes in REDUCED_SHAPES:
        x = np.clip(sample(sizes, dtype), -2, 2) if op.name == "prod" else sample(sizes, dtype)
        for axes in subsets(range(len(sizes))):
            if issubclass(op, Amax | Amin) and any(sizes[a] == 0 for a in axes):
                continue
            check(
                lambda x, axes=axes: apply(op(axes), x),
                x,
                ulps=64,
                scale=float(np.abs(x.astype(float)).max(initial=1)),
            )


@pytest.mark.parametrize("dtype", [float32, float64, int64, int16, uint8, bool_], ids=lambda d: d.name)
def test_reductions_down_columns_of_every_number_of_rows(dtype: DType) -> None:
    op = "any" if dtype is bool_ else "sum"
    for count in (*range(1, 20), 67):
        x = sample((count, 3), dtype)
        check(
            lambda x: [apply(OPS[op]((0,)), x), apply(OPS[op]((0,)), rows.maximum(x, x))],
            x,
            ulps=64,
            scale=10.0,
        )
    middle = sample((3, 11, 70), dtype)
    check(lambda x: [apply(OPS[op]((1,)), x), apply(OPS[op]((0, 1)), x)], middle, ulps=64, scale=10.0)


@pytest.mark.parametrize("dtype", [float32, float64, int32, uint8, bool_], ids=lambda d: d.name)
@pytest.mark.parametrize("columns", [2, 3, 7, 24, 33])
def test_many_narrow_rows(columns: int, dtype: DType) -> None:
    """Sums down them, values stored beside, what is the same in every row, one total."""
    total, combine = (OPS["any"], rows.logical_or) if dtype is bool_ else (OPS["sum"], rows.add)
    for count in (2, 128, 517, 1031):
        x, row = sample((count, columns), dtype), sample((1, columns), dtype, 1)

        def everything(x: Value, row: Value, count: int = count) -> list[Value]:
            moved = combine(x, row)
            most = [] if dtype is bool_ else [apply(OPS["amax"]((0,)), x)]
            return [
                moved,
                apply(total((0,)), moved),
                apply(total((0,)), x),
                apply(total((0, 1)), moved),
                *most,
            ]

        check(everything, x, row, ulps=64, scale=100.0)
    several = sample((3, 300, columns), dtype)
    check(
        lambda x, row: [apply(total((1,)), x), apply(total((1,)), combine(x, row)), combine(x, row)],
        several,
        row,
        ulps=64,
        scale=100.0,
    )


@pytest.mark.parametrize("dtype", [float32, float64, int32, int16, uint8, bool_], ids=lambda d: d.name)
def test_transposes_of_every_number_of_rows_and_columns(dtype: DType) -> None:
    for sizes in ((16, 16), (17, 33), (40, 15), (64, 48), (35, 50)):
        x, y = sample(sizes, dtype), sample(sizes[::-1], dtype, 1)

        def both(x: Value, y: Value) -> list[Value]:
            turned = shape.permute(x, (1, 0))
            return [turned, rows.maximum(turned, y), rows.ne(turned, y)]

        check(both, x, y)
    check(lambda x: [shape.permute(x, axes) for axes in permutations(range(3))], sample((18, 20, 33), dtype))


def test_flips_of_long_rows() -> None:
    for size in (15, 16, 64, 100, 1000):
        x = sample((3, size), float32)
        check(lambda x: [shape.flip(x, (1,)), shape.flip(rows.add(x, 1.0), (0, 1))], x)


def test_reductions_with_nan_and_infinities() -> None:
    x = with_special_values(sample((6, 200), float32), 0)
    for op, axes in product(("sum", "amax", "amin"), ((0,), (1,), (0, 1))):
        check(lambda x, op=op, axes=axes: apply(OPS[op](axes), x), x, ulps=200, scale=10.0)


def test_reductions_of_moved_and_computed_values() -> None:
    x = sample((4, 6, 35), float64)
    for axes in subsets(range(3)):
        check(
            lambda x, axes=axes: sum_(rows.exp(shape.permute(rows.mul(x, 0.5), (2, 0, 1))), axes),
            x,
            ulps=200,
            scale=99.0,
        )
        check(
            lambda x, axes=axes: sum_(shape.pad(x, (1, 0, 2), (0, 3, 1), (0, 1, 0), 2.0), axes),
            x,
            ulps=200,
            scale=9.0,
        )


# ---- products ----------------------------------------------------------------------------------------------

SIZES = (1, 2, 3, 5, 8, 13, 16, 17, 33, 64, 100, 257)


@pytest.mark.parametrize("dtype", [float32, float64, int64, int32, int16, int8, uint8], ids=lambda d: d.name)
def test_products_of_awkward_sizes(dtype: DType) -> None:
    random = np.random.default_rng(0)
    for m in SIZES:
        n, k = (int(v) for v in random.choice(SIZES, 2))
        product_of(dtype, (m, k), (k, n))


@pytest.mark.parametrize(
    "sizes", [(3, 5, 7), (17, 33, 16), (64, 64, 64), (1, 40, 1), (40, 1, 40), (2, 0, 3), (0, 2, 3)], ids=str
)
def test_products_in_all_transpositions(sizes: tuple[int, int, int]) -> None:
    m, k, n = sizes
    for left, right, dtype in product((False, True), (False, True), (float32, float64)):
        a, b = sample((k, m) if left else (m, k), dtype), sample((n, k) if right else (k, n), dtype, 1)

        def function(a: Value, b: Value, left: bool = left, right: bool = right) -> list[Value]:
            out = dot(transpose(a) if left else a, transpose(b) if right else b)
            return [out, rows.maximum(rows.add(out, 1.0), 0.0), transpose(out)]

        check(function, a, b, ulps=8 + k, scale=30.0)


@pytest.mark.parametrize("batch", [(1,), (3,), (2, 5), (0,), (1, 1)], ids=str)
def test_batched_products(batch: tuple[int, ...]) -> None:
    for m, k, n in ((1, 1, 1), (5, 3, 8), (17, 33, 16), (2, 64, 40)):
        product_of(float32, (*batch, m, k), (*batch, k, n))
    a, b = sample((*batch, 4, 6), float64), sample((6, 9), float64)
    check(lambda a, b: dot(a, shape.expand(b, (*batch, 6, 9))), a, b, ulps=64, scale=30.0)


def product_of(dtype: DType, left: tuple[int, ...], right: tuple[int, ...]) -> None:
    a, b = sample(left, dtype), sample(right, dtype, 1)
    check(dot, a, b, ulps=8 + left[-1], scale=30.0)


def test_chains_of_products_with_computed_operands() -> None:
    def network(x: Value, w: Value, v: Value) -> list[Value]:
        hidden = rows.tanh(dot(x, w))
        return [dot(rows.mul(hidden, 2.0), v), sum_(hidden, (0,)), dot(transpose(hidden), x)]

    check(
        network,
        sample((33, 20), float32),
        sample((20, 50), float32, 1),
        sample((50, 3), float32, 2),
        ulps=900,
    )


# ---- kernels of several loops ------------------------------------------------------------------------------

KERNEL_SHAPES = ((5,), (1, 1), (3, 7), (40, 33), (2, 3, 65), (9, 1), (600, 10))


def softmax(x: Value) -> Value:
    axis = len(x.shape) - 1
    e = rows.exp(rows.sub(x, spread(amax(x, [axis]), [axis], x.shape)))
    return rows.div(e, spread(sum_(e, [axis]), [axis], x.shape))


def layer_norm(x: Value) -> Value:
    axis = len(x.shape) - 1
    count = float(x.shape[axis])
    centred = rows.sub(x, spread(rows.div(sum_(x, [axis]), count), [axis], x.shape))
    variance = rows.div(sum_(rows.mul(centred, centred), [axis]), count)
    return rows.mul(centred, rows.rsqrt(rows.add(spread(variance, [axis], x.shape), 1e-3)))


def log_sum_exp_and_more(x: Value) -> Sequence[Value]:
    total = rows.log(sum_(rows.exp(x), range(len(x.shape))))
    return [total, rows.sub(x, total), softmax(rows.sub(x, total))]


def column_sums_of_rows(x: Value) -> Sequence[Value]:
    p = softmax(x)
    return [sum_(p, range(len(x.shape) - 1)), rows.add(layer_norm(p), 1.0), amax(x, [0])]


@pytest.mark.parametrize(
    "function", [softmax, layer_norm, log_sum_exp_and_more, column_sums_of_rows], ids=lambda f: f.__name__
)
@pytest.mark.parametrize("dtype", [float32, float64], ids=lambda d: d.name)
def test_kernels_of_several_loops(function: Callable[[Value], Any], dtype: DType) -> None:
    for sizes in KERNEL_SHAPES:
        check(function, sample(sizes, dtype), ulps=2000)


def test_reads_and_writes_by_index() -> None:
    x, values = sample((7, 5), float64), sample((4, 5), float64, 1)
    index = np.array([6, -1, 0, 6])
    check(lambda x, i: rows.add(take(x, i, 0), 1.0), x, index)
    check(lambda v, i: put_add(v, i, 0, 7), values, index)
    check(lambda x, i, v: put(x, i, v), x, index, values)
    with pytest.raises(DimensionError, match="an index out of range"):
        check(lambda x, i: take(x, i, 0), x, index + 1)


# ---- inputs, outputs, constants ----------------------------------------------------------------------------


def test_outputs_that_are_inputs_or_constants_or_the_same_twice() -> None:
    x, c = sample((4, 9), float32), sample((4, 9), float32, 7)

    def function(x: Node) -> list[Node]:
        y = rows.add(x, 1.0)
        number = x.builder.constant(2.5, float64)
        return [
            x,
            y,
            y,
            x.builder.constant(c),
            number,
            number,
            shape.permute(x, (1, 0)),
            rows.mul(x, x.builder.constant(c)),
            x,
        ]

    check(function, x)


def test_a_graph_without_inputs_or_without_work() -> None:
    check(lambda x: [], sample((3,), float32))
    check(lambda x: [x.builder.constant(np.arange(5)), x.builder.constant(1.0)], sample((0,), float32))


def test_unused_inputs() -> None:
    check(lambda x, y, z: [rows.neg(y)], *(sample((6,), float32, k) for k in range(3)))


def test_a_chain_of_a_thousand_ops() -> None:
    def chain_of(x: Value) -> Value:
        for k in range(1000):
            x = rows.sub(rows.mul(x, 0.5), float(k % 7))
        return x

    check(chain_of, sample((37,), float64))


def test_values_used_twice_do_not_double_the_work_at_each_step() -> None:
    def doubling(x: Value) -> Value:
        for _ in range(60):
            x = rows.mul(rows.add(x, x), 0.5)
        return x

    check(doubling, sample((20,), float32))


# ---- large sizes -------------------------------------------------------------------------------------------


def large(x: Value, w: Value) -> list[Value]:
    y = rows.tanh(x)
    return [
        rows.exp(y), sum_(y, (0, 1)), sum_(y, (0,)), sum_(rows.mul(y, y), (1,)), softmax(x), dot(x, w),
        transpose(y),
        amax(rows.sin(x), (0,)),
    ]  # fmt: skip


@pytest.mark.parametrize("sizes", [(1500, 700), (700, 1500), (3, 300_000), (300_000, 3)], ids=str)
def test_results_do_not_depend_on_the_number_of_threads(sizes: tuple[int, int]) -> None:
    x, w = sample(sizes, float32), sample((sizes[1], 8), float32, 1) / 100
    graph = graph_of(large, x, w)
    program = build(graph)
    assert "parallel" in str(program.compiled.loops)
    before = cpu.get_num_threads()
    try:
        results = []
        for count in (1, 2, 3):
            cpu.set_num_threads(count)
            results.append(program.run([x, w], True, count))
    finally:
        cpu.set_num_threads(before)
    for first, *others in zip(*results, strict=True):
        assert all(first.tobytes() == other.tobytes() for other in others)
    for ours, theirs in zip(results[0], interpret(graph, [x, w]), strict=True):
        assert_close(ours, theirs, ulps=64, scale=float(np.abs(theirs).max()) * np.sqrt(sizes[0] + sizes[1]))


# ---- other targets -----------------------------------------------------------------------------------------


def test_a_narrower_machine_computes_the_same() -> None:
    narrow = Target.host().narrowed()
    x, w = sample((37, 41), float32), sample((41, 8), float32, 1)
    graph = graph_of(large, x, w)
    for ours, theirs in zip(build(graph, narrow)(x, w), interpret(graph, [x, w]), strict=True):
        assert_close(ours, theirs, ulps=256, scale=30.0)
