"""Structured ops: one table of samples, and every op in `OPS` is in it; then PyTorch as an oracle.

A new op needs a row in `SAMPLES`; the loops below check its type, its index arithmetic and its derivatives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from operator import itemgetter
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from gradients import check, check_peer, check_slopes, graph_of, type_of

from retrograd.compiler import dtypes
from retrograd.compiler.errors import DimensionError, DtypeError, RetrogradError, ShapeError
from retrograd.compiler.ir.graph import OPS, Array, Leaf, Op, Type, apply, interpret
from retrograd.compiler.ir.index import Axis, Index, as_index
from retrograd.compiler.ops import extremum, index, joined, reduce, scan, shape, sort, strided, window
from retrograd.compiler.ops.complexes import AsComplex, AsReal, FromParts, OfComplex
from retrograd.compiler.ops.composite import Composite
from retrograd.compiler.ops.contract import Dot, DotInFloat32
from retrograd.compiler.ops.floats import Exponent, Mantissa, Neighbour
from retrograd.compiler.ops.incomplete_ops import IncompleteGamma, Sampled, Slope
from retrograd.compiler.ops.iota import IotaLike
from retrograd.compiler.ops.lapack import Lapack
from retrograd.compiler.ops.loop import Loop, Result
from retrograd.compiler.ops.row import Elementwise

RANDOM = np.random.default_rng(3)


def real(*sizes: int) -> Array:
    return RANDOM.standard_normal(sizes)


def whole(top: int, *sizes: int) -> Array:
    """Indices, some of them counted from the end."""
    return RANDOM.integers(-top, top, sizes)


X = real(3, 4, 5)
SCANS = (scan.Cumsum, scan.Cumprod, scan.Cummax, scan.Cummin, scan.Logcumsumexp)
SAMPLES: list[tuple[Op, tuple[Array, ...]]] = [
    # ---- movement
    (shape.Reshape((5, 2, 6)), (X,)),
    (shape.Reshape(()), (real(1, 1),)),
    (shape.Permute((2, 0, 1)), (X,)),
    (shape.Permute(()), (real(),)),
    (shape.Expand((2, 3, 4)), (real(3, 1),)),
    (shape.Expand((0, 3)), (real(1, 3),)),
    (shape.Slice((1, 0, 4), (3, 4, 5), (1, 2, 3)), (X,)),
    (shape.Select(1, 2), (X,)),
    (shape.Select(0, 0), (real(3),)),
    (shape.Slice((3, 2), (3, 2), (1, 1)), (real(3, 4),)),
    (shape.Pad((1, 0, 2), (0, 2, 1), (0, 1, 2), 0.5), (X,)),
    (shape.Pad((1,), (1,), (2,)), (real(0),)),
    (shape.Flip((0, 2)), (X,)),
    (window.Diagonal(0, 0, 1), (X,)),
    (window.Diagonal(2, 2, 0), (X,)),
    (window.Diagonal(-1, 1, 2), (X,)),
    (window.Diagonal(7, 0, 1), (X,)),
    (window.Undiagonal(1, 2, 0, (4, 5)), (real(3, 4),)),
    (window.Undiagonal(-2, 0, 1, (5, 4)), (real(3, 3),)),
    (window.Window((1,), (3,), (1,), (1,)), (X,)),
    (window.Window((2, 0), (2, 2), (2, 1), (2, 2)), (X,)),
    (window.Unwindow((1,), (6,), (2,), (1,)), (real(3, 2, 3),)),
    (window.Unwindow((1, 0), (5, 4), (1, 2), (2, 1)), (real(2, 3, 2, 2),)),
    (strided.Strided((2, 3), (7, 2), 3), (real(16),)),
    (strided.Strided((3, 2, 1), (1, 5, -1), 2), (real(12),)),
    (strided.Strided((3, 4), (-1, 4), 2), (real(15),)),
    (strided.Strided((), (), 4), (real(7),)),
    (strided.Strided((2, 3), (7, 2), 3), (real(4, 2, 3),)),
    (strided.Restrided((4, 3), (1, 1), 2), (real(9),)),
    (strided.Restrided((4, 3), (1, 1), 2), (real(3, 3),)),
    (strided.Restrided((2, 3, 2), (2, 0, 1), 1), (real(6),)),
    (strided.Restrided((3, 2), (2, 1), 0), (real(6),)),
    (strided.Unstrided((2, 3), (7, 2), 3, 16), (real(2, 3),)),
    (strided.Unstrided((3, 2, 1), (1, 5, -1), 2, 12), (real(3, 2, 1),)),
    (strided.Unstrided((3, 4), (-1, 4), 2, 15), (real(3, 4),)),
    (strided.Unstrided((), (), 4, 7), (real(),)),
    # ---- joining and casting
    (shape.Concat(1), (X, real(3, 0, 5), real(3, 2, 5))),
    (shape.Cast(dtypes.float64), (X,)),
    (IotaLike(1), (X,)),
    # ---- reductions
    (reduce.Sum((0, 2)), (X,)),
    (reduce.Sum((1,)), (real(3, 0),)),
    (reduce.Prod((1,)), (X,)),
    (reduce.Prod((0, 2)), (X,)),
    (reduce.Prod((0,)), (np.array([0.0, 2.0, 3.0]),)),
    (reduce.Prod((1,)), (np.array([[0.0, 2.0, 0.0], [1.0, 2.0, 3.0], [0.0, 0.0, 0.0]]),)),
    (reduce.Amax((0, 1)), (X,)),
    (reduce.Amin((2,)), (X,)),
    (reduce.Greatest((0, 1, 2)), (X,)),
    (reduce.Least((0,)), (X,)),
    (reduce.Any_((1,)), (X > 1,)),
    (reduce.All((0, 2)), (X > -1,)),
    # ---- contraction
    (Dot(), (real(2, 3, 4), real(2, 4, 5))),
    (Dot(), (real(3, 0), real(0, 5))),
    # ---- indices
    (index.Take(1), (X, whole(4, 2, 6))),
    (index.Take(2), (X, np.array(-1))),
    (index.PutAdd(1, 6), (X, whole(6, 4))),
    (index.PutAdd(0, 2), (X, whole(2, 3, 4))),
    (index.PutAdd(1, 2), (X, np.array(1)[None, None].repeat(4, 0).repeat(5, 1))),
    (index.TakeAlong(1), (X, whole(4, 3, 7, 5))),
    (index.PutAlongAdd(2, 3), (X, whole(3, 3, 4, 5))),
    *(
        (joined.PutAlongJoined(1, how, with_self), (X, whole(4, 3, 6, 5), real(3, 6, 5)))
        for how in joined.JOINS
        for with_self in (False, True)
    ),
    (index.Put(), (X, np.array([2, 0, -2]), real(3, 4, 5))),
    (index.Put(), (X, np.array([[1], [0]]), real(4, 1))),
    (index.Put(), (real(4), np.array(3), real())),
    (index.Put(), (real(3, 0), np.array([1, 1]), real(2, 0))),
    # ---- scans and order
    *((op(0), (X,)) for op in SCANS),
    *((op(2, reverse=True), (X,)) for op in SCANS),
    (scan.Cumprod(1), (np.array([[0.0, 2.0, 0.0, 1.0], [1.0, 2.0, 3.0, 0.0], [0.0, 0.0, 0.0, 0.0]]),)),
    (scan.Cumprod(0), (real(0),)),
    (scan.Recurrence(0), (X, real(3, 4, 5))),
    (scan.Recurrence(1, reverse=True), (X, real(3, 4, 5))),
    (sort.Argsort(1), (X,)),
    (sort.Argsort(0, descending=True), (X,)),
]  # fmt: skip
IDS = [f"{k}-{op.name}" for k, (op, _) in enumerate(SAMPLES)]
every_sample = pytest.mark.parametrize(("op", "arrays"), SAMPLES, ids=IDS)
Arrays = tuple[Array, ...]


def test_every_structured_op_has_a_sample() -> None:
    sampled = {type(op) for op, _ in SAMPLES}
    numbers = IncompleteGamma | Slope | Sampled | Exponent | Mantissa | Neighbour
    pairs = OfComplex | AsReal | AsComplex | FromParts
    elsewhere = Leaf | Composite | Lapack | DotInFloat32 | Loop | Result | numbers | pairs
    # tested in test_pipeline, test_composite_ops, test_linalg, test_half, test_distributions and
    # test_wider_names; loops in test_control_flow, complex numbers in test_complex
    structured = {op for op in OPS.values() if isinstance(op, type) and not issubclass(op, elsewhere)}
    assert structured - sampled == set()
    assert all(isinstance(op, Elementwise) for op in OPS.values() if not isinstance(op, type))


@every_sample
def test_the_inferred_type_is_that_of_the_value(op: Op, arrays: Arrays) -> None:
    assert type_of(apply(op, *arrays)) == op.infer(*map(type_of, arrays))
    for reader in (dtypes.float32, dtypes.float16):
        narrow = [a.astype(reader.numpy) if a.dtype == float else a for a in arrays]
        assert type_of(apply(op, *narrow)) == op.infer(*map(type_of, narrow))


@every_sample
def test_a_graph_gives_the_same_value(op: Op, arrays: Arrays) -> None:
    def run(*values: Any) -> Any:
        return apply(op, *values)

    np.testing.assert_array_equal(interpret(graph_of(run, arrays), arrays)[0], run(*arrays))


@every_sample
def test_derivatives_agree_with_finite_differences(op: Op, arrays: Arrays) -> None:
    if op.infer(*map(type_of, arrays)).dtype.is_floating_point:
        check_slopes(lambda *values: apply(op, *values), *arrays)


@every_sample
def test_operands_are_left_alone(op: Op, arrays: Arrays) -> None:
    before = [a.copy() for a in arrays]
    apply(op, *arrays)
    for array, copy in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, copy)


# ---- index arithmetic --------------------------------------------------------------------------------------

MOVEMENTS = [(op, arrays) for op, arrays in SAMPLES if isinstance(op, shape.Movement)]


def places(sizes: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    return product(*map(range, sizes))


def number(position: Index, values: dict[Axis, Index]) -> int:
    result = position.substitute(values)
    assert not result.terms
    return result.offset


@pytest.mark.parametrize(("op", "arrays"), MOVEMENTS, ids=[op.name for op, _ in MOVEMENTS])
def test_movement_reads_where_its_index_says(op: shape.Movement, arrays: Arrays) -> None:
    (x,) = arrays
    expected = apply(op, x)
    axes = [Axis(f"i{k}", size) for k, size in enumerate(expected.shape)]
    source = op.source(tuple(as_index(a) for a in axes), type_of(x))
    found = np.full(expected.shape, np.nan)
    for place in places(expected.shape):
        values = {axis: as_index(i) for axis, i in zip(axes, place, strict=True)}
        exists = all(bound.low <= number(bound.index, values) < bound.high for bound in source.bounds)
        inside = tuple(number(i, values) for i in source.index) if exists else None
        assert inside is None or all(0 <= i < size for i, size in zip(inside, x.shape, strict=True))
        found[place] = source.fill if inside is None else x[inside]
    np.testing.assert_array_equal(found, expected)


def test_windows_and_diagonals_have_affine_sources() -> None:
    i, j = Axis("i", 4), Axis("j", 3)
    source = window.Window((0,), (3,), (2,), (1,)).source(
        (as_index(i), as_index(j)), Type((9,), dtypes.float32)
    )
    assert (source.index[0].stride(i), source.index[0].stride(j)) == (2, 1)
    source = window.Diagonal(1, 0, 1).source((as_index(i),), Type((5, 5), dtypes.float32))
    assert [index.stride(i) for index in source.index] == [1, 1]


# ---- PyTorch as an oracle ----------------------------------------------------------------------------------

TIES = RANDOM.integers(0, 3, (4, 6, 3)).astype(float)
NANS = np.where(RANDOM.random((4, 6, 3)) < 0.2, np.nan, TIES)
along = pytest.mark.parametrize("axis", [0, 1, 2])


@along
def test_scans_as_in_pytorch(torch: ModuleType, axis: int) -> None:
    check(lambda x: scan.cumsum(x, axis), lambda x: x.cumsum(axis), X)
    check(lambda x: scan.cumprod(x, axis), lambda x: x.cumprod(axis), X)
    check(lambda x: scan.logcumsumexp(x, axis), lambda x: x.logcumsumexp(axis), X)
    check_peer(lambda x: scan.cumprod(x, axis), lambda x: x.cumprod(axis), TIES)
    for x in (X, TIES, NANS):
        check_peer(lambda x: scan.cummax(x, axis), lambda x: x.cummax(axis)[0], x)
        check_peer(lambda x: scan.cummin(x, axis), lambda x: x.cummin(axis)[0], x)
        highest = torch.tensor(x).cummax(axis)[1].numpy()
        np.testing.assert_array_equal(scan.running_index(x, scan.cummax(x, axis), axis), highest)
    counts = whole(9, 3, 4)
    if axis < 2:
        check_peer(lambda x: scan.cumsum(x, axis), lambda x: x.cumsum(axis), counts)
        check_peer(lambda x: scan.cummax(x, axis), lambda x: x.cummax(axis)[0], counts)


def test_logcumsumexp_neither_overflows_nor_forgets() -> None:
    x = np.array([-np.inf, 800.0, -800.0, 810.0])
    np.testing.assert_allclose(
        scan.logcumsumexp(x, 0), [-np.inf, 800.0, 800.0, 810.0 + np.log1p(np.exp(-10))]
    )
    check_slopes(lambda x: scan.logcumsumexp(x, 0), x[1:], tolerance=1e-5)


def test_the_index_of_a_reversed_running_extremum() -> None:
    x = np.array([1.0, 3.0, 2.0, 3.0, 0.0])
    highest = scan.cummax(x, 0, reverse=True)
    np.testing.assert_array_equal(scan.running_index(x, highest, 0, reverse=True), [1, 1, 3, 3, 4])


def test_a_recurrence_is_a_linear_filter() -> None:
    decay = np.full(50, 0.9)
    impulse = np.eye(50)[0]
    np.testing.assert_allclose(scan.recurrence(decay, impulse, 0), 0.9 ** np.arange(50))


@along
def test_extrema_and_where_they_are(torch: ModuleType, axis: int) -> None:
    for x in (X, TIES, NANS):
        check_peer(lambda x: extremum.argmax(x, axis), lambda x: x.detach().argmax(axis), x)
        check_peer(lambda x: extremum.argmin(x, axis), lambda x: x.detach().argmin(axis), x)
    for x in (X, TIES):
        check_peer(lambda x: reduce.amax(x, [axis]), lambda x: x.amax(axis), x)
        check_peer(lambda x: reduce.amin(x, [axis]), lambda x: x.amin(axis), x)
        check_peer(lambda x: reduce.prod_(x, [axis]), lambda x: x.prod(axis), x)
    check_peer(lambda x: reduce.any_(x, [axis]), lambda x: x.any(axis), TIES > 1)
    check_peer(lambda x: reduce.all_(x, [axis]), lambda x: x.all(axis), TIES > 0)
    check_peer(lambda x: extremum.argmax(x, axis), lambda x: x.int().argmax(axis), TIES > 1)


@along
@pytest.mark.parametrize("descending", [False, True])
def test_sorting_as_in_pytorch(torch: ModuleType, axis: int, descending: bool) -> None:
    for x in (X, TIES, NANS):
        for part in (0, 1):
            check_peer(
                lambda x, part=part: sort.sort(x, axis, descending)[part],
                lambda x, part=part: torch.sort(x, dim=axis, descending=descending, stable=True)[part],
                x,
            )
    check(
        lambda x: sort.topk(x, 2, axis, descending)[0],
        lambda x: x.topk(2, axis, largest=descending)[0],
        X,
    )
    check_slopes(lambda x: sort.sort(x, axis, descending)[0], X)


@along
def test_order_statistics_as_in_pytorch(torch: ModuleType, axis: int) -> None:
    for x in (X, TIES, NANS):  # which of equal elements it names, PyTorch leaves open
        t = torch.tensor(x)
        np.testing.assert_array_equal(sort.median(x, axis)[0], t.median(axis)[0])
        np.testing.assert_array_equal(sort.median(x, axis, ignore_nan=True)[0], t.nanmedian(axis)[0])
        np.testing.assert_array_equal(sort.kthvalue(x, 2, axis)[0], t.kthvalue(2, axis)[0])
    for part in map(itemgetter, (0, 1)):
        check_peer(lambda x, p=part: p(sort.median(x, axis)), lambda x, p=part: p(x.median(axis)), X)
        check_peer(
            lambda x, p=part: p(sort.kthvalue(x, 2, axis)), lambda x, p=part: p(x.kthvalue(2, axis)), X
        )
        for x in (X, TIES):
            check_peer(lambda x, p=part: p(sort.mode(x, axis)), lambda x, p=part: p(x.mode(axis)), x)
    check_slopes(lambda x: sort.median(x, axis)[0], X)


@along
def test_reading_by_index_as_in_pytorch(torch: ModuleType, axis: int) -> None:
    rows = RANDOM.integers(0, X.shape[axis], 6)
    check(lambda x: index.take(x, rows, axis), lambda x: x.index_select(axis, torch.tensor(rows)), X)
    short = tuple(7 if k == axis else size - 1 for k, size in enumerate(X.shape))
    each = RANDOM.integers(0, X.shape[axis], short)
    check(lambda x: index.take_along(x, each, axis), lambda x: x.gather(axis, torch.tensor(each)), X)
    check(
        lambda x: index.take(x, rows.astype(np.int32), axis),
        lambda x: x.index_select(axis, torch.tensor(rows)),
        X,
    )


@along
def test_writing_by_index_as_in_pytorch(torch: ModuleType, axis: int) -> None:
    size = X.shape[axis]
    rows = RANDOM.integers(0, size, size)
    sums = torch.zeros(X.shape, dtype=torch.float64)
    check(
        lambda x: index.put_add(x, rows, axis, size),
        lambda x: sums.index_add(axis, torch.tensor(rows), x),
        X,
    )
    each = RANDOM.integers(0, size, X.shape)
    check(
        lambda x: index.put_along_add(x, each, axis, size),
        lambda x: sums.scatter_add(axis, torch.tensor(each), x),
        X,
    )
    distinct = np.argsort(RANDOM.random(X.shape), axis)
    check(
        lambda x, v: joined.put_along(x, distinct, v, axis),
        lambda x, v: x.scatter(axis, torch.tensor(distinct), v),
        X,
        real(*X.shape),
    )


def test_the_last_write_stays() -> None:
    x, v = np.zeros(3), np.array([1.0, 2.0, 3.0])
    places = np.array([1, 1, -1])
    np.testing.assert_array_equal(index.put(x, places, v), [0, 2, 3])
    graph = graph_of(lambda x, v: index.put(x, places, v), [x, v])
    np.testing.assert_array_equal(interpret(graph, [x, v])[0], [0, 2, 3])


def test_several_indices_make_a_linear_one(torch: ModuleType) -> None:
    i, j = whole(3, 2, 1), whole(4, 6)
    check(
        lambda x: index.take(shape.reshape(x, (12, 5)), index.linear_index((i, j), (3, 4)), 0),
        lambda x: x[torch.tensor(i), torch.tensor(j)],
        X,
    )


@pytest.mark.parametrize("shift", [-7, -1, 0, 2, 5])
def test_roll_diagonal_and_windows_as_in_pytorch(torch: ModuleType, shift: int) -> None:
    check(lambda x: shape.roll(x, shift, 1), lambda x: x.roll(shift, 1), X, second=False)
    check(lambda x: window.diagonal(x, shift, 2, 0), lambda x: x.diagonal(shift, 2, 0), X, second=False)
    check(lambda x: window.window(x, [2], [2], [2], [1]), lambda x: x.unfold(2, 2, 2), X, second=False)
    check_peer(lambda x: shape.roll(x, shift, 0), lambda x: x.roll(shift, 0), np.zeros((0, 2)))


# ---- errors ------------------------------------------------------------------------------------------------

I3 = np.array([0, 3, 1])
OUT_OF_RANGE: list[tuple[Callable[[], object], str]] = [
    (lambda: index.take(X, I3, 0), "index 3 is out of bounds for dimension 0 with size 3"),
    (lambda: index.take(X, -I3 - 1, 0), "index -4 is out of bounds"),
    (lambda: index.put_add(X, I3, 0, 3), "index 3 is out of bounds"),
    (lambda: index.put(X, I3, X), "index 3 is out of bounds"),
    (lambda: index.put_along_add(X[:, 0, 0], I3, 0, 3), "index 3 is out of bounds"),
    (lambda: index.take_along(X[:, 0, 0], I3, 0), "index 3 is out of bounds"),
]
WRONG_TYPES: list[tuple[Op, Arrays, type[RetrogradError], str]] = [
    (scan.Cumsum(3), (X,), DimensionError, "cumsum of f64.* along axis 3; there is no axis 3"),
    (sort.Argsort(3), (X,), DimensionError, "argsort of f64.* along axis 3"),
    (reduce.Prod((0, 0)), (X,), DimensionError, "they are not distinct axes"),
    (window.Diagonal(0, 1, 1), (X,), DimensionError, "they are not two axes of the tensor"),
    (window.Window((3,), (1,), (1,), (1,)), (X,), DimensionError, "they are not distinct axes"),
    (IotaLike(3), (X,), DimensionError, "there is no axis 3"),
    (index.Take(3), (X, I3), DimensionError, "take of f64.* by i64.* along axis 3; there is no axis 3"),
    (index.Take(0), (X, X), DtypeError, "the index is torch.float64, but must be int64 or int32"),
    (index.Put(), (X, I3, I3), DtypeError, "source and destination dtypes match"),
    (scan.Cumsum(0), (X > 0,), DtypeError, "it is not defined for torch.bool"),
    (reduce.Any_((0,)), (X,), DtypeError, "any of f64.*; it is not defined for torch.float64"),
    (
        window.Window((1,), (5,), (1,), (1,)),
        (X,),
        ShapeError,
        "a window of 5 elements is longer than axis 1 of size 4",
    ),
    (window.Window((1,), (2,), (0,), (1,)), (X,), ShapeError, "must be at least 1"),
    (strided.Strided((2, 3), (3, 2), 0), (real(9),), ShapeError, "several elements of the view are one"),
    (strided.Strided((2, 3), (-4, 1), 3), (real(9),), ShapeError, "it reaches beyond the memory"),
    (strided.Strided((2, 0), (1, 1), 0), (real(9),), ShapeError, "a view without elements has no place"),
    (strided.Unstrided((2,), (1,), 0, 4), (real(3),), ShapeError, r"the layout is of shape \[2\]"),
    (scan.Recurrence(0), (X, X[:1]), ShapeError, "it takes 2 operands of one type"),
    (index.TakeAlong(0), (X, whole(3, 3, 4, 4)), ShapeError, "sizes on every other axis"),
    (index.PutAlongAdd(0, 3), (X, I3), ShapeError, "values and index must have one shape"),
    (index.PutAdd(0, 3), (X, I3[:2]), ShapeError, r"must have the axes of the index, \[2\], at axis 0"),
    (index.Put(), (X, I3, real(2, 5)), ShapeError, r"do not broadcast to the chosen rows, \[3, 4, 5\]"),
    (reduce.Amax((0,)), (np.zeros((0, 2)),), ShapeError, "there is no element to choose from"),
    (window.Undiagonal(0, 0, 1, (2, 2)), (real(3),), ShapeError, "the last axis's size"),
]
WRONG_ARGUMENTS: list[tuple[Callable[[], object], str]] = [
    (lambda: sort.topk(X, 4, 0), "selected index k out of range"),
    (lambda: sort.kthvalue(X, 0, 0), "selected number k out of range"),
    (lambda: sort.median(np.zeros((0, 2)), 0), "there is no element to choose from"),
    (lambda: sort.mode(np.zeros((0, 2)), 0), "there is no element to choose from"),
]


@pytest.mark.parametrize(("op", "arrays", "error", "text"), WRONG_TYPES, ids=range(len(WRONG_TYPES)))
def test_wrong_types_are_refused(op: Op, arrays: Arrays, error: type[RetrogradError], text: str) -> None:
    with pytest.raises(error, match=text):
        graph_of(lambda *values: apply(op, *values), arrays)


@pytest.mark.parametrize(("call", "text"), OUT_OF_RANGE, ids=range(len(OUT_OF_RANGE)))
def test_an_index_out_of_range_is_refused(call: Callable[[], object], text: str) -> None:
    with pytest.raises(DimensionError, match=text) as caught:
        call()
    assert isinstance(caught.value, IndexError)


@pytest.mark.parametrize(("call", "text"), WRONG_ARGUMENTS, ids=range(len(WRONG_ARGUMENTS)))
def test_wrong_arguments_are_refused(call: Callable[[], object], text: str) -> None:
    with pytest.raises(ShapeError, match=text):
        call()
