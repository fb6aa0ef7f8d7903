"""Small graphs by kernels: composites and their adjoints of few elements, against NumPy's own evaluation.

In flow ops and arrays of many shapes and layouts; the native function must exist and agree. A further op is a
row of `CASES`.
"""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest

import retrograd as rg
from retrograd.compiler import dtypes
from retrograd.compiler.errors import DimensionError
from retrograd.compiler.ir.graph import OPS, Builder, Op, Type
from retrograd.compiler.ops import (
    contract,
    index,
    losses,
    matrix,
    normal,
    reduce,
    scan,
    shape,
    softmax,
    sort,
    statistics,
    window,
)
from retrograd.compiler.ops.composite import Composite
from retrograd.compiler.ops.elementwise import Elementwise, Types
from retrograd.runtime.eager.arrays import cotangents_of
from retrograd.runtime.eager.instant import loops
from retrograd.runtime.eager.kernels import rules
from retrograd.runtime.functions.rows import APPLY, ROWS
from retrograd.runtime.native.small import kernels, program

F = rg.nn.functional

pytestmark = pytest.mark.skipif(not program.available(), reason="objects are laid out in another way")

MATRIX, PAIR = 1, 2
CASES: list[tuple[Op, int]] = [
    (statistics.Mean((0, 1)), MATRIX),
    (statistics.Var((1,)), MATRIX),
    (statistics.Std((0,)), MATRIX),
    *[(statistics.Norm(p, (1,)), MATRIX) for p in (0.0, 1.0, 2.0, 3.0, np.inf, -np.inf)],
    (softmax.Softmax(0), MATRIX),
    (softmax.LogSoftmax(1), MATRIX),
    (softmax.Logsumexp((0, 1)), MATRIX),
    (normal.LayerNorm(1e-5, 1), MATRIX),
    (normal.BatchNorm(1e-5), MATRIX),
    (normal.RmsNorm(1e-5, 1), MATRIX),
    *[(losses.MseLoss(reduction), PAIR) for reduction in losses.REDUCTIONS],
    (losses.L1Loss("mean"), PAIR),
    (losses.SmoothL1Loss("mean", 0.5), PAIR),
    (losses.HuberLoss("sum", 0.5), PAIR),
    (losses.KlDiv("mean", True), PAIR),
    (losses.BinaryCrossEntropyWithLogits("mean"), PAIR),
    *[(reduce.Amax(axes), MATRIX) for axes in ((0,), (1,), (0, 1))],
    (reduce.Amin((1,)), MATRIX),
    *[
        (op(axis, reverse), MATRIX)
        for op in (scan.Cumsum, scan.Cumprod, scan.Cummax, scan.Cummin, scan.Logcumsumexp)
        for axis in (0, 1)
        for reverse in (False, True)
    ],
    *[(scan.Recurrence(axis, reverse), PAIR) for axis in (0, 1) for reverse in (False, True)],
]
SHAPES = [(3, 3), (1, 7), (5, 17), (40, 37), (2, 64)]


def types_of(*arrays: Any) -> tuple[Type, ...]:
    return tuple(Type(a.shape, dtypes.of(a)) for a in arrays)


def normals(shape: tuple[int, ...], dtype: type, count: int) -> list[Any]:
    rng = np.random.default_rng(3)
    return [rng.standard_normal(shape).astype(dtype) for _ in range(count)]


def near(found: Any, expected: Any) -> None:
    tight = expected.dtype == np.float64
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_allclose(found, expected, rtol=1e-12 if tight else 2e-5, atol=1e-13 if tight else 2e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("case", CASES, ids=lambda case: repr(case[0]))
def test_values(case: tuple[Op, int], shape: tuple[int, ...], dtype: type) -> None:
    op, count = case
    arrays = normals(shape, dtype, count)
    native = program.value_of(op, types_of(*arrays))
    assert native is not None
    with np.errstate(all="ignore"):
        near(native(*arrays), op.evaluate(*arrays))
        turned = [np.asarray(x, order="F") for x in arrays]
        near(native(*turned), op.evaluate(*arrays))
        if count == PAIR:  # a variance of equal numbers is only rounding
            spread = [np.broadcast_to(x[:1], shape) for x in arrays]
            near(native(*spread), op.evaluate(*spread))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("case", CASES, ids=lambda case: repr(case[0]))
def test_adjoints(case: tuple[Op, int], shape: tuple[int, ...]) -> None:
    op, count = case
    arrays = normals(shape, np.float64, count)
    with np.errstate(all="ignore"):
        out = op.evaluate(*arrays)
        cotangent = np.broadcast_to(np.float64(0.7), out.shape)
        native = cotangents_of(op, types_of(*arrays), types_of(out)[0], [True] * count)
        expected = op.adjoint(cotangent, out, arrays, [True] * count)
        for found, right in zip(native(cotangent, out, *arrays), expected, strict=True):
            assert (found is None) == (right is None)
            if found is not None:
                near(found, np.broadcast_to(np.asarray(right), found.shape))


@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
def test_what_is_no_number(special: float) -> None:
    (x,) = normals((4, 5), np.float64, 1)
    x[1, 2] = special
    for op in (softmax.Softmax(1), softmax.Logsumexp((1,)), statistics.Norm(2.0, (1,)), statistics.Var((0,))):
        native = program.value_of(op, types_of(x))
        assert native is not None
        with np.errstate(all="ignore"):
            near(native(x), op.evaluate(x))


@pytest.mark.parametrize("op", [reduce.Amax, reduce.Amin, reduce.Any_, reduce.All], ids=str)
@pytest.mark.parametrize("axes", [(0,), (1,), (0, 2), (0, 1, 2)])
def test_extrema_and_truths_to_the_bit(op: type[reduce.Reduction], axes: tuple[int, ...]) -> None:
    logical = op in (reduce.Any_, reduce.All)
    for dtype in (np.bool_,) if logical else (np.int8, np.int32, np.int64, np.float32, np.float64):
        x = (np.random.default_rng(6).standard_normal((3, 4, 17)) * 9).astype(dtype)
        if x.dtype.kind == "f":
            x[0, 0, 0], x[1, 2, 16], x[2, 3, 1] = np.nan, np.inf, -np.inf
        x[:, 1] = x[0, 1, 0]
        native = program.value_of(op(axes), types_of(x))
        assert native is not None
        for layout in (np.ascontiguousarray, np.asfortranarray):
            found, expected = native(layout(x)), op(axes).evaluate(x)
            assert found.dtype == expected.dtype
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.takes(dtypes.int8)])
def test_rows_of_bytes_to_the_bit(name: str) -> None:
    few = np.array([-128, -127, -3, -2, -1, 0, 1, 2, 3, 7, 8, 9, 126, 127], np.int8)
    x, y = (each.ravel() for each in np.meshgrid(few, few))
    operands = {1: [few], 2: [x, y], 3: [x > 0 if name == "where" else x, y, y[::-1].copy()]}[
        ROWS[name].arity
    ]
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(alone(ROWS[name], operands)(*operands), ROWS[name].evaluate(*operands))


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.float32, np.float64])
@pytest.mark.parametrize("op", [scan.Cumsum, scan.Cumprod, scan.Cummax, scan.Cummin], ids=str)
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_scans_to_the_bit(op: type[scan.Scan], axis: int, dtype: type) -> None:
    x = (np.random.default_rng(5).standard_normal((3, 4, 5)) * 9).astype(dtype)
    x[0, 0, 0] = -0.0
    if dtype in (np.float32, np.float64):
        x[1, 1, 1], x[2, 2, 2], x[0, 3, 4] = np.nan, np.inf, -np.inf
    for reverse in (False, True):
        one = op(axis, reverse)
        native = program.value_of(one, types_of(x))
        assert native is not None
        with np.errstate(all="ignore"):
            found, expected = native(x), one.evaluate(x)
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(np.signbit(found[found == 0]), np.signbit(expected[expected == 0]))


@pytest.mark.parametrize("name", ["cummax", "cummin"])
@pytest.mark.parametrize("rows", [[[1.0, np.nan, 3.0], [1.0, 2.0, 0.0]], [[1, 2, 2], [5, 2, 1]]], ids=str)
def test_running_extrema_when_called_again(name: str, rows: Any) -> None:
    torch = pytest.importorskip("torch")
    for _ in range(3):
        for axis in (0, 1):
            found, expected = [getattr(lib.tensor(rows), name)(axis) for lib in (rg, torch)]
            np.testing.assert_array_equal(found.values.numpy(), expected.values.numpy())
            np.testing.assert_array_equal(found.indices.numpy(), expected.indices.numpy())
            assert found.indices.stride() == expected.indices.stride()


def test_a_class_out_of_range_is_told() -> None:
    x, target = rg.randn(3, 4), rg.tensor([0, 4, 1])
    for _ in range(3):
        with pytest.raises(IndexError, match=r"Target 4 is out of bounds\."):
            F.nll_loss(x, target)


def test_an_element_that_an_op_does_not_take_is_told() -> None:
    target = rg.tensor([0.0, 1.0, 0.5])
    for chances in ([0.5, 1.0, 1.5], [0.5, -1e-9, 1.0], [0.5, 1.0, float("nan")]):
        for x in (rg.tensor(chances), rg.tensor(chances, requires_grad=True)):
            for _ in range(4):
                F.binary_cross_entropy(rg.full((3,), 0.5), target)  # of the same types
                with pytest.raises(ValueError, match="all elements of input should be between 0 and 1"):
                    F.binary_cross_entropy(x, target)
    for wrong, why in (([0, -1], "must be non-negative"), ([3, 0], "must be smaller than num_classes")):
        for _ in range(4):
            assert F.one_hot(rg.tensor([2, 0]), 3).tolist() == [[0, 0, 1], [1, 0, 0]]
            with pytest.raises(ValueError, match=why):
                F.one_hot(rg.tensor(wrong), 3)


@pytest.mark.parametrize(
    ("op", "given"),
    [
        (losses.BinaryCrossEntropy("mean"), [[0.0, 1.0], [0.0, 1.1], [-0.1, 1.0], [0.5, np.nan]]),
        (matrix.OneHot(3), [[0, 2], [0, 3], [-1, 1]]),
    ],
    ids=repr,
)
def test_what_an_op_admits_is_what_it_does_not_complain_of(op: Composite, given: list[Any]) -> None:
    fine = []
    for elements in given:
        arrays = [np.array(elements)] * (PAIR if isinstance(op, losses.Loss) else MATRIX)
        try:
            op.inspect(*arrays)
            fine.append(True)
        except ValueError:
            fine.append(False)
        assert fine[-1] == np.all(op.admits(*arrays))
    assert fine == [True, *[False] * (len(given) - 1)]


OPTIONS = [{}, {"label_smoothing": 0.2}, {"ignore_index": 1}, {"reduction": "none"}]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_cross_entropy_with_options(options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    (scores,), target = normals((6, 4), np.float64, 1), np.array([0, 3, 1, 1, 2, 0])
    weight = np.array([0.5, 1.0, 2.0, 0.25])
    for weights in ({}, {"weight": weight}):
        found = []
        for T in (rg, torch):
            x = T.tensor(scores, requires_grad=True)
            given = {name: T.tensor(value) for name, value in weights.items()}
            for _ in range(3):
                x.grad = None
                loss = T.nn.functional.cross_entropy(x, T.tensor(target), **given, **options)
                loss.sum().backward()
            found.append((loss.detach().numpy(), x.grad.numpy()))
        for ours, theirs in zip(*found):
            np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-14)


def test_equal_calls_give_equal_bits() -> None:
    x = rg.randn(5, 7)
    assert len({x.logsumexp(1).numpy().tobytes() for _ in range(4)}) == 1
    gradients = set()
    for _ in range(4):
        w = x.clone().requires_grad_()
        w.std(0).sum().backward()
        gradients.add(w.grad.numpy().tobytes())
    assert len(gradients) == 1


def test_results_are_new_memory() -> None:
    (x,) = normals((3, 3), np.float32, 1)
    native = program.value_of(softmax.LogSoftmax(1), types_of(x))
    assert native is not None
    first = native(x)
    kept = first.copy()
    gc.collect()
    native(x + 1)
    np.testing.assert_array_equal(first, kept)


def test_large_and_empty_values_are_not_for_here() -> None:
    op = softmax.Softmax(0)
    for size in (0, program.MOST_ELEMENTS + 1):
        assert program.value_of(op, (Type((size,), dtypes.float32),)) is None


# ---- what moves elements -----------------------------------------------------------------------------------

INDEX, ALONG = np.array([2, 0, -1, 2]), np.array([[0, 1, -1, 2, 0], [3, 3, 0, -4, 1]])
MOVES: list[tuple[Op, list[Any]]] = [
    (shape.Pad((1, 0), (0, 2), (0, 1), 7.0), [(4, 5)]),
    (shape.Pad((2,), (0,), (0,), -np.inf), [(3,)]),
    (shape.Concat(1), [(2, 3), (2, 1), (2, 4)]),
    (shape.Concat(0), [(2, 3), (1, 3)]),
    (window.Undiagonal(1, 0, 1, (4, 5)), [(4,)]),
    (window.Unwindow((0,), (6,), (1,), (1,)), [(4, 3)]),
    (index.Take(1), [(2, 4, 3), INDEX]),
    (index.TakeAlong(0), [(4, 5), ALONG]),
    (index.PutAdd(1, 5), [(2, 4, 3), INDEX]),
    (index.PutAlongAdd(0, 4), [(2, 5), ALONG]),
    (index.Put(), [(4, 3), INDEX, (4, 3)]),
    (index.Put(), [(4, 3), INDEX, (3,)]),
    *[(sort.Argsort(axis, down), [(3, 5, 7)]) for axis in (0, 1, 2) for down in (False, True)],
]


def alone(op: Op, arrays: list[Any]) -> Any:
    """The op as a native function."""
    builder = Builder()
    with builder.at(None):
        inputs = [builder.input(f"x{k}", type_) for k, type_ in enumerate(types_of(*arrays))]
        return program.function_to_one(inputs, builder.node(op, *inputs), op.evaluate)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.int32, np.int8, np.bool_])
@pytest.mark.parametrize("case", MOVES, ids=lambda case: repr(case[0]))
def test_moves_to_the_bit(case: tuple[Op, list[Any]], dtype: type) -> None:
    op, given = case
    if dtype is np.bool_ and isinstance(op, index.PutAdd | index.PutAlongAdd):
        return  # nobody adds bools up
    if isinstance(op, shape.Pad) and dtype not in (np.float32, np.float64):
        op = shape.Pad(op.low, op.high, op.interior, 1.0)
    rng = np.random.default_rng(9)
    arrays = [
        (rng.standard_normal(x) * 2).round().astype(dtype) if isinstance(x, tuple) else x for x in given
    ]
    native = alone(op, arrays)
    assert native is not None
    for layout in ("C", "F"):
        np.testing.assert_array_equal(
            native(*[np.asarray(x, order=layout) for x in arrays]), op.evaluate(*arrays)
        )


@pytest.mark.parametrize("down", [False, True])
def test_order_of_nan_and_zeros(down: bool) -> None:
    x = np.array([0.0, np.nan, -0.0, np.inf, np.nan, -np.inf, 1.0], np.float32)
    op = sort.Argsort(0, down)
    np.testing.assert_array_equal(alone(op, [x])(x), op.evaluate(x))


@pytest.mark.parametrize("op", [index.Take(0), index.PutAdd(0, 3), index.Put()], ids=repr)
def test_an_index_out_of_range_is_told_by_evaluation(op: Op) -> None:
    x, place = np.ones((3, 2)), np.array([0, 3, 1])
    arrays = [x, place, x] if isinstance(op, index.Put) else [x, place]
    with pytest.raises(DimensionError, match="out of bounds"):
        alone(op, arrays)(*arrays)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("sizes", [(1, 1, 1), (3, 4, 5), (1, 17, 9)])
def test_products(sizes: tuple[int, int, int], dtype: type) -> None:
    m, k, n = sizes
    rng = np.random.default_rng(2)
    a, b = rng.standard_normal((2, m, k)).astype(dtype), rng.standard_normal((2, n, k)).astype(dtype)
    b = b.transpose(0, 2, 1)
    near(alone(contract.Dot(), [a, b])(a, b), (a.astype(np.float64) @ b).astype(dtype))


OWN = [row for row in OPS.values() if isinstance(row, Elementwise) and kernels.is_own(row)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("row", OWN, ids=lambda row: row.name)
def test_rows_by_themselves_to_the_bit(row: Elementwise, dtype: type) -> None:
    rng = np.random.default_rng(5)
    ends = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-40, 1e30]
    x = np.concatenate([rng.standard_normal(500) * scale for scale in (0.1, 1, 30)] + [ends]).astype(dtype)
    by_itself = loops.of_row(row, x.dtype)
    assert by_itself is not None
    np.testing.assert_array_equal(alone(row, [x])(x).view(np.uint8), by_itself(x).view(np.uint8))


RULES = [
    (row, operand)
    for row in OPS.values()
    if isinstance(row, Elementwise)
    for operand, partial in enumerate(row.partials)
    if partial is not None
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("row", "operand"), RULES, ids=lambda x: getattr(x, "name", x))
def test_rules_are_their_formulas(row: Elementwise, operand: int, dtype: type) -> None:
    x = np.random.default_rng(3).uniform(0.1, 0.9, (3, 7)).astype(dtype)
    condition = [x > 0.5] if row.types is Types.SELECT else []
    operands = [*condition, *[x, x[::-1].copy(), x * 0.5 + 1, x + 2][: row.arity - len(condition)]]
    tolerance, needed = 2e-5 if dtype is np.float32 else 1e-12, [k == operand for k in range(row.arity)]
    rule = rules(row, x.dtype, *needed)[operand]
    assert rule is not None
    with np.errstate(all="ignore"):  # a few are outside of the domain
        arrays = [*operands, row.evaluate(*operands), x - 0.5]
        wanted = row.adjoint(arrays[-1], arrays[-2], operands, needed)[operand]
        for ordered in (arrays, [np.asfortranarray(a) for a in arrays]):
            np.testing.assert_allclose(rule(*ordered), wanted, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", ["fmax", "logaddexp", "xlogy", "lerp", "nan_to_num"])
def test_formulas_of_any_operands_have_the_bits_of_small_graphs(name: str) -> None:
    row = OPS[name]
    assert isinstance(row, Elementwise)
    x = np.random.default_rng(4).standard_normal((3, 5)).astype(np.float32)
    number, column = np.asarray(0.25, np.float32), x[:, :1].copy()
    for first in (x, x.T.copy().T, number, column):
        operands = [first, abs(x), number, number][: row.arity]
        found = APPLY[name](*[rg.from_numpy(a) for a in operands]).numpy()
        wanted = alone(row, operands)(*[np.array(a, order="C") for a in operands])
        assert found.shape == wanted.shape
        np.testing.assert_array_equal(found.view(np.uint32), wanted.view(np.uint32))


@pytest.mark.parametrize(
    "f", [lambda x: x.repeat_interleave(1), lambda x: rg.nn.functional.pixel_shuffle(x, 1)]
)
def test_copies_show_no_element_of_their_operand(f: Any) -> None:
    x = rg.ones(1, 1, 1, 1)
    for _ in range(4):
        f(x).zero_()
        assert x.item() == 1


@pytest.mark.parametrize(
    "f",
    [
        lambda x: rg.clamp(x, min=0),
        lambda x: rg.lerp(x, x, 0.5),
        lambda x: rg.nn.functional.elu(x),
        lambda x: rg.add(x, x, alpha=2),
        lambda x: rg.addcmul(x, x, x),
        lambda x: rg.nn.functional.hardtanh(x),
    ],
)
def test_results_lie_as_their_operands_whenever_they_are_called(f: Any) -> None:
    x = rg.arange(12.0).reshape(3, 4)
    for _ in range(4):
        assert f(x).stride() == (4, 1)
        assert f(x.t()).stride() == (1, 4)
        assert (f(x.t()) == f(x).t()).all()
