"""Ops with kernels of their own: against their formulas, against PyTorch, and where elements are refused.

In flow samples of each op of `own.WRITERS`, small and large; a further op needs a sample in `SAMPLES`.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch

import retrograd
from retrograd.compiler import dtypes
from retrograd.compiler.errors import RetrogradError
from retrograd.compiler.ir.graph import Array, Op, Type
from retrograd.compiler.ops import (
    adaptive,
    alignment,
    arranged,
    bags,
    borders,
    channels,
    corners,
    cross_entropy,
    extremum,
    fold,
    fractional,
    gate,
    incomplete_ops,
    joined,
    lu,
    margins,
    normal,
    pairs,
    pool,
    reduce,
    sampling,
    scan,
    softmax,
    spans,
    statistics,
    substitution,
    unpool,
    wide_scan,
)
from retrograd.compiler.ops.shape import Pad
from retrograd.runtime.native.small import own, program

pytestmark = pytest.mark.skipif(not program.available(), reason="objects are laid out in another way")

RANDOM = np.random.default_rng(5)
Sample = tuple[Op, tuple[Array, ...]]


def _aligned(steps: int, samples: int, classes: int, longest: int) -> tuple[Array, ...]:
    """Repeated labels, sequences that are shorter, one without labels and one with too few steps."""
    x = np.log(RANDOM.dirichlet(np.ones(classes), (steps, samples)))
    targets = RANDOM.integers(1, classes, (samples, longest))
    targets[0, : longest // 2] = 1
    counts, lengths = np.full(samples, steps), RANDOM.integers(1, longest + 1, samples)
    counts[1], lengths[1], lengths[2] = max(longest // 2, 1), longest, 0
    return x, targets, counts, lengths


def _bags(rows: int, columns: int, count: int, starts: list[int]) -> tuple[Array, ...]:
    weight = RANDOM.standard_normal((rows, columns)).round(1)
    return weight, RANDOM.integers(0, rows, count), np.array(starts)


def _of_channels() -> list[Sample]:
    found: list[Sample] = []
    for shape in ((3, 4), (20, 37), (2, 6, 5), (3, 4, 9, 50)):
        x, y = RANDOM.standard_normal((2, *shape))
        per = RANDOM.standard_normal(shape[1])
        found += [
            (channels.ScaleShift(), (x, per)),
            (channels.ScaleShift(), (x, per, per * 2)),
            (channels.ChannelDot(), (x, y)),
            (channels.PRelu(), (x, per)),
            (channels.PReluAdjoint(), (y, x, per)),
            (channels.PReluSlopes(), (y, x)),
        ]
    for shape, axis in (((6,), 0), ((3, 4, 5), 1), ((40, 66), 1), ((2, 30, 9, 9), 1)):
        x = RANDOM.standard_normal(shape) * 3
        found += [(gate.Glu(axis), (x,)), (gate.GluAdjoint(axis), (np.split(x, 2, axis)[0].copy(), x))]
    return found


def _of_norms() -> list[Sample]:
    """Channels of one element, of a few and of many; groups of one channel and of all; layers of one axis."""
    found: list[Sample] = []
    for shape in ((3, 4), (20, 36), (2, 6, 5), (3, 4, 9, 50), (1, 2, 2)):
        x, ct = RANDOM.standard_normal((2, *shape))
        weight, bias = RANDOM.standard_normal((2, shape[1]))
        by: list[Op] = [normal.BatchNorm(1e-5), *(normal.GroupNorm(1e-3, g) for g in (1, 2, shape[1]))]
        for op in by:
            elements, of_weight = normal.DERIVATIVES[type(op)]
            fields = [op.eps, *([op.groups] if isinstance(op, normal.GroupNorm) else [])]
            found += [(op, (x,)), (op, (x, weight)), (op, (x, weight, bias))]
            found += [(elements(*fields), (ct, x)), (elements(*fields), (ct, x, weight))]
            found.append((of_weight(*fields), (ct, x)))
        for dims in range(1, len(shape)):
            own = RANDOM.standard_normal(shape[len(shape) - dims :])
            found.append((normal.LayerNormElements(1e-5, dims), (ct, x, own)))
            found.append((normal.LayerNormWeight(1e-5, dims), (ct, x)))
        found.append((normal.RunningStatistic(0.1, "mean"), (bias, x)))
        found.append((normal.RunningStatistic(None, "var"), (bias, x, RANDOM.uniform(size=()))))
    return found


def _of_classes() -> list[Sample]:
    """Where each target counts, and where one is ignored, classes are weighed, or the target is smoothed."""
    found: list[Sample] = []
    for shape, how in product(((1, 2), (5, 3), (40, 77), (2, 3000)), ("none", "sum", "mean")):
        x, target = RANDOM.standard_normal(shape) * 5, RANDOM.integers(0, shape[1], shape[0])
        target[0] = 0
        target[-1:] = shape[1] - 1 if len(target) > 1 else 0
        by = cross_entropy.CrossEntropy
        found += [(by(how, ignored, 0.0), (x, target)) for ignored in (-100, shape[1] - 1)]
        found.append((by(how, -100, 0.1), (x, target)))
        found.append((by(how, -100, 0.0), (x, target, RANDOM.uniform(0.5, 1, shape[1]))))
    return found


def _of_reductions() -> list[Sample]:
    """Over one axis and over several, which stand together or do not."""
    found: list[Sample] = []
    for shape, axes in product(((3, 4, 5), (30, 2, 70)), ((0,), (1,), (2,), (0, 1), (0, 2), (0, 1, 2))):
        x = RANDOM.uniform(0.5, 1.5, shape)
        numbers = (reduce.Sum, reduce.Prod, reduce.Amax, reduce.Amin, reduce.Greatest, reduce.Least)
        found += [(op(axes), (x,)) for op in (*numbers, statistics.Mean, statistics.Var, statistics.Std)]
        found += [(statistics.Norm(p, axes), (x,)) for p in (1.0, 2.0, 3.0, float("inf"))]
        found += [(op(axes), (x > 0.55,)) for op in (reduce.Any_, reduce.All)]
        found += [(op(axes[0]), (x.round(1),)) for op in (extremum.Argmax, extremum.Argmin)]
        for back in (False, True):
            found += [
                (op(axes[0], back), (x,)) for op in (scan.Cumsum, scan.Cumprod, scan.Cummax, scan.Cummin)
            ]
            found += [(wide_scan.WideScan(kind, axes[0], back), (x,)) for kind in wide_scan.KINDS]
    return found


def _of_windows() -> list[Sample]:
    """Parts of every length, with none in them, and windows that meet, reach beyond the end and have gaps."""
    found: list[Sample] = []
    for shape in ((2, 3, 7), (2, 5, 40), (40, 3, 30)):
        x, size = RANDOM.standard_normal(shape), shape[1]
        starts = np.sort(RANDOM.integers(0, size, 9))
        ends = np.maximum(np.sort(RANDOM.integers(0, size + 1, 9)), starts)
        for axis in (1, 2):
            found.append((spans.SpanSums(axis, tuple(starts.tolist()), tuple(ends.tolist())), (x,)))
        found.append((spans.SpanSums(2, (0, 1), (shape[2], shape[2])), (x,)))
        found += [(softmax.CausalSoftmax(factor), (x,)) for factor in (0.3, 0.0, -1.0)]
    for shape, places in (((3, 7), (3,)), ((2, 9, 40), (5, 3)), ((2, 5, 6, 7), (2, 3, 4))):
        x = RANDOM.standard_normal(shape).round(1)
        op = adaptive.AdaptiveMaxPool(places)
        found += [(op, (x,)), (adaptive.AdaptiveMaxPoolAdjoint(places), (op.evaluate(x) * 0.5, x))]
    for shape, windows in (
        ((2, 9), ([3], [1], [1], [1])), ((2, 9, 30), ([3, 2], [2, 1], [1, 1], [1, 3])),
        ((2, 5, 6, 7), ([3, 3, 2], [2, 2, 1], [1, 0, 1], [1, 1, 2])),
        ((9, 30), ([7, 7], [2, 2], [3, 3], [1, 1])),
    ):  # fmt: skip
        x = RANDOM.standard_normal(shape).round(1)
        frame = pool.frame(shape, *windows, ceil=True)
        ct = pool.MaxPool(frame).evaluate(x) * 0.5
        found.append((pool.MaxPoolAdjoint(frame), (ct, x)))
    for size, kernel, gaps, added, steps in (
        ((5, 4), (2, 2), (1, 1), (0, 0), (1, 1)), ((9, 30), (3, 2), (1, 3), (2, 1), (2, 1)),
        ((9, 30), (2, 3), (2, 1), (1, 2), (1, 2)), ((8, 8), (2, 2), (1, 1), (0, 0), (2, 2)),
    ):  # fmt: skip
        op = fold.Fold(size, kernel, gaps, added, steps)
        found.append((op, (RANDOM.standard_normal((2, 3 * np.prod(kernel), np.prod(op.places))),)))
    return found


def _of_borders() -> list[Sample]:
    found: list[Sample] = []
    for mode in ("reflect", "replicate", "circular"):
        for shape, low, high in (
            ((3, 7), (2,), (1,)), ((2, 5, 40), (1, 3), (0, 2)), ((2, 3, 4, 5, 6), (1, 0, 2), (2, 1, 3)),
        ):  # fmt: skip
            x = RANDOM.standard_normal(shape)
            op = borders.Bordered(mode, low, high)
            found += [(op, (x,)), (borders.BorderedAdjoint(mode, low, high, shape), (op.evaluate(x) * 0.5,))]
    return found


def _of_corners() -> list[Sample]:
    found: list[Sample] = []
    for corner in (1, 4, 8):
        image, given = RANDOM.standard_normal((2, 3, 70)), RANDOM.standard_normal((2, 3, 90))
        index, weight = RANDOM.integers(-1, 70, (corner, 2, 90)), RANDOM.standard_normal((corner, 2, 90))
        found += [
            (corners.Corners(), (image, index, weight)),
            (corners.CornersAdjoint(70), (given, index, weight)),
            (corners.CornerWeights(), (given, image, index)),
        ]
    return found


def _of_planes() -> list[Sample]:
    found: list[Sample] = []
    for border, aligned in product(sampling.BORDERS, (False, True)):
        for shape, points in (((2, 3, 5, 6), (3, 4)), ((1, 2, 1, 4), (1, 1)), ((2, 4, 40, 30), (17, 9))):
            image, grid = RANDOM.standard_normal(shape), RANDOM.uniform(-2.6, 2.6, (shape[0], *points, 2))
            given = RANDOM.standard_normal((*shape[:2], *points))
            for mode in sampling.PLANE_MODES:
                how = mode, border, aligned
                found += [
                    (sampling.PlaneSampler(*how), (image, grid)),
                    (sampling.PlaneSamplerAdjoint(*how, shape[2:]), (given, grid)),
                ]
            found.append((sampling.PlaneTurn("bilinear", border, aligned), (given, image, grid)))
    return found


def _samples() -> list[Sample]:
    found: list[Sample] = []
    for sizes in ((7, 3, 4, 2), (40, 4, 70, 12)):
        x, *whole = _aligned(*sizes)
        for finite in (False, True):
            found.append((alignment.CtcLoss(0, finite), (x, *whole)))
            cotangent = RANDOM.standard_normal(sizes[1])
            found.append((alignment.CtcLossAdjoint(0, finite), (cotangent, x, *whole)))
    for sizes in ((4, 3, 6, [0, 2, 2]), (60, 35, 300, [0, 1, 7, 7, 200])):
        weight, index, starts = _bags(*sizes)
        scale, cotangent = RANDOM.standard_normal(len(index)), weight[: len(starts)] * 0.5
        found += [
            (bags.BagSum(bags.NONE, False, False), (weight, index, starts)),
            (bags.BagSum(2, True, False), (weight, index, starts)),
            (bags.BagSum(bags.NONE, False, False), (weight, index, starts, scale)),
            (bags.BagSumAdjoint(bags.NONE, len(weight)), (cotangent, index, starts)),
            (bags.BagSumAdjoint(1, len(weight)), (cotangent, index, starts, scale)),
            (bags.BagPlaces(bags.NONE), (weight, index, starts)),
            (bags.BagPlaces(2), (weight, index, starts)),
        ]
    for n, k in ((5, 2), (40, 3)):
        matrix, b = RANDOM.standard_normal((n, n)) + np.eye(n) * 2 * n, RANDOM.standard_normal((n, k))
        pivots = np.minimum(np.arange(1, n + 1) + RANDOM.integers(0, 3, n), n).astype(np.int32)
        found += [(substitution.SolveTriangular(upper), (matrix, b)) for upper in (False, True)]
        found += [(lu.RowsExchanged(back), (pivots, b)) for back in (False, True)]
    for size in (7, 300):
        a = RANDOM.uniform(0.5, 9, size)
        found.append((incomplete_ops.GammaSlope(), (a, a * RANDOM.uniform(0.5, 2, size))))
        found.append((incomplete_ops.BetaSlope(), (a, a[::-1].copy(), RANDOM.uniform(0.01, 0.99, size))))
    found += [*_of_channels(), *_of_corners(), *_of_planes(), *_of_borders(), *_of_norms(), *_of_windows()]
    found += _of_classes()
    found += _of_reductions()
    for shape in ((5, 3), (30, 70)):
        x, share = RANDOM.standard_normal(shape), RANDOM.standard_normal(shape[0] * (shape[0] - 1) // 2)
        found += [(pairs.PairDistances(), (x,)), (pairs.PairsAdjoint(), (share, x))]
        found += [(arranged.Triangle(k, lower), (x,)) for k in (-70, -2, 0, 9, 90) for lower in (False, True)]
        found += [(arranged.Repeat(counts), (x,)) for counts in ((1, 2), (3, 1), (2, 4))]
        one, other = (RANDOM.standard_normal((2, rows, shape[1])) for rows in (shape[0], shape[0] + 2))
        share = RANDOM.standard_normal((2, shape[0], shape[0] + 2))
        found += [(pairs.Distances(), (one, other)), (pairs.DistancesAdjoint(), (share, one, other))]
        places = np.argsort(RANDOM.standard_normal((shape[0], 100)))[:, : shape[1]].copy()
        found.append((unpool.MaxUnpool((4, 25)), (x, places)))
    for shape, counts, window in (
        ((2, 3, 7), (4,), (2,)),
        ((3, 2, 9, 8), (4, 3), (2, 3)),
        ((2, 2, 9, 9, 9), (3, 4, 2), (3, 1, 2)),
    ):
        begins = [
            np.sort(RANDOM.integers(0, s - w, (*shape[:2], n))) for s, n, w in zip(shape[2:], counts, window)
        ]
        ends = [begin + size for begin, size in zip(begins, window)]
        found.append((fractional.WindowPlaces(window), (RANDOM.standard_normal(shape), *begins, *ends)))
    for shape in ((2, 4), (30, 50)):
        x, target = RANDOM.standard_normal(shape), RANDOM.integers(-1, shape[1], shape)
        found.append((margins.MultilabelMargins(), (x, target)))
        found.append((margins.MultilabelMarginsAdjoint(), (x[:, 0].copy(), x, target)))
    for before, size, count in ((2, 3, 4), (30, 40, 50)):
        x, values = (RANDOM.standard_normal((before, each, 3)) for each in (size, count))
        index = RANDOM.integers(0, size, values.shape)
        for how, with_self in product(joined.JOINS, (False, True)):
            found.append((joined.PutAlongJoined(1, how, with_self), (x, index, values)))
    found += [(joined.PutAlong(1), (x, index, each)) for each in (values, np.array(0.5))]
    found += [(softmax.Logsumexp(axes), (x,)) for axes in ((x.ndim - 1,), (0,), (0, x.ndim - 1))]
    for shape in ((3, 5), (2, 7, 33), (20, 40, 19)):
        x = 9 * RANDOM.standard_normal(shape)
        shares = (softmax.Softmax, softmax.LogSoftmax)
        found += [(share(axis), (x,)) for share in shares for axis in range(x.ndim)]
    for extents, gap in product(((3,), (2, 5, 7), (30, 50, 40)), (0, 1)):
        around = (1, 0, 3)[-len(extents) :]
        x, gaps = RANDOM.standard_normal(extents), (0, 2 * gap, gap)[-len(extents) :]
        found.append((Pad(around, around[::-1], gaps, -1.5), (x,)))
    return found


SAMPLES = _samples()


def native(op: Op, arrays: tuple[Array, ...]) -> Any:
    found = program.value_of(op, tuple(Type(a.shape, dtypes.of(a)) for a in arrays))
    assert found is not None
    return found


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("op", "arrays"), SAMPLES, ids=[f"{k}-{op.name}" for k, (op, _) in enumerate(SAMPLES)]
)
def test_they_give_what_the_formula_gives(op: Op, arrays: tuple[Array, ...], dtype: type) -> None:
    operands = tuple(a.astype(dtype) if a.dtype == np.float64 else a for a in arrays)
    with np.errstate(all="ignore"):
        expected = op.evaluate(*operands)
    tight = dtype is np.float64
    apart = tuple(np.repeat(a, 2, -1)[..., ::2] for a in operands)
    for given in (operands, apart):
        found = native(op, operands)(*given)
        assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
        np.testing.assert_allclose(
            found, expected, rtol=1e-9 if tight else 1e-3, atol=1e-10 if tight else 1e-4
        )


@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
def test_images_read_at_places_beside_pytorch(mode: str, padding: str) -> None:
    """At pixels' centres and borders, far beyond the image, and where there is no number: PyTorch reads
    foreign memory there, unless zeros are beyond."""
    rng = np.random.default_rng(0)
    nice = np.array([-1, -0.75, -0.5, -0.25, 0, 0.25, 0.5, 0.75, 1, 1.25, -1.25, 3, -7.5, 40])
    none = np.append(nice, [np.inf, -np.inf, np.nan] if padding == "zeros" else [])
    image = rng.standard_normal((2, 3, 4, 4))
    grids = [rng.uniform(-2, 2, (2, 9, 7, 2)), rng.choice(nice, (2, 9, 7, 2)), rng.choice(none, (2, 3, 5, 2))]
    for aligned, kind, grid in product((False, True), ("float32", "float64"), grids):
        found = []
        for t in (retrograd, torch):
            given = t.tensor(image, dtype=getattr(t, kind)).requires_grad_()
            places = t.tensor(grid, dtype=getattr(t, kind)).requires_grad_()
            for _ in range(3):
                read = t.nn.functional.grid_sample(given, places, mode, padding, aligned)
                slopes = t.autograd.grad((read * read).sum(), (given, places))
            found.append([x.detach().numpy() for x in (read, *slopes)])
        known = np.isfinite(grid).all()
        for mine, theirs in list(zip(*found, strict=True))[: 3 if known else 1]:
            np.testing.assert_allclose(mine, theirs, rtol=1e-3, atol=1e-4 if kind == "float32" else 1e-10)


def test_every_op_has_a_sample() -> None:
    assert own.WRITERS.keys() == {type(op) for op, _ in SAMPLES}


@pytest.mark.parametrize("lengths", [((9, 2), (1, 1)), ((2, 2), (1, 4))])
def test_lengths_that_there_cannot_be(lengths: tuple[tuple[int, int], ...]) -> None:
    x, target = retrograd.zeros(3, 2, 4), retrograd.ones(2, 3, dtype=retrograd.int64)
    for _ in range(3):
        with pytest.raises(RetrogradError):
            retrograd.nn.functional.ctc_loss(x, target, *lengths)


@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(6, 3, 5, 2), (60, 5, 20, 9)])
@pytest.mark.parametrize("options", [{}, {"reduction": "sum", "zero_infinity": True}, {"reduction": "none"}])
def test_alignments_beside_pytorch(shape: tuple[int, ...], options: dict[str, Any], kind: str) -> None:
    x, *whole = _aligned(*shape)
    found = []
    for t in (retrograd, torch):
        given = t.tensor(x, dtype=getattr(t, kind)).requires_grad_()
        for _ in range(3):
            loss = t.nn.functional.ctc_loss(given, *map(t.tensor, whole), **options)
            (slope,) = t.autograd.grad(loss.sum(), given)
        found.append((loss.detach().numpy(), slope.numpy()))
    for mine, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(
            mine, theirs, rtol=1e-9 if kind == "float64" else 1e-3, atol=1e-9 if kind == "float64" else 1e-4
        )


@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(3, 5), (64, 256), (300, 500), (40, 4000)])
@pytest.mark.parametrize(
    "options",
    [
        {}, {"reduction": "sum"}, {"reduction": "none"}, {"ignore_index": 2},
        {"label_smoothing": 0.1, "ignore_index": 2},
    ],
    ids=str,
)  # fmt: skip
def test_cross_entropy_beside_pytorch(shape: tuple[int, ...], options: dict[str, Any], kind: str) -> None:
    """Infinite scores and NaN among them; every call gives the same bits."""
    scores, target = RANDOM.standard_normal(shape) * 3, RANDOM.integers(0, shape[1], shape[0])
    odd = scores.copy()
    odd[0, :3], odd[1, 0], odd[2] = (np.inf, 0, 1), np.nan, -np.inf
    found = []
    for t in (retrograd, torch):
        own: list[Any] = []
        for x in (scores, odd):
            given = t.tensor(x, dtype=getattr(t, kind)).requires_grad_()
            losses = [t.nn.functional.cross_entropy(given, t.tensor(target), **options) for _ in range(3)]
            slopes = [t.autograd.grad(loss.sum(), given)[0].numpy() for loss in losses]
            own += [*[loss.detach().numpy() for loss in losses], *slopes[:: 1 if x is scores else 3]]
        found.append(own)
    mine, theirs = found
    for again in mine[1:3]:
        assert mine[0].tobytes() == again.tobytes()
    tight = kind == "float64"
    for one, other in list(zip(mine, theirs))[:9]:
        np.testing.assert_allclose(one, other, rtol=1e-11 if tight else 1e-5, atol=1e-12 if tight else 1e-6)


@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(3, 5), (300, 500), (5, 33, 701)], ids=str)
def test_logsumexp_beside_pytorch(shape: tuple[int, ...], kind: str) -> None:
    """Infinite elements and NaN among them, and rows of minus infinity."""
    x = (RANDOM.standard_normal(shape) * 3).astype(kind)
    odd = x.copy()
    odd[0, ..., 0], odd[1, ..., -1], odd[2] = np.inf, np.nan, -np.inf
    for each in (x, odd):
        for axis in (-1, 0):
            wanted = torch.tensor(each.astype(np.float64)).logsumexp(axis).numpy()
            for _ in range(3):
                found = retrograd.tensor(each).logsumexp(axis).numpy()
                tight = 1e-12 if kind == "float64" else 2e-6
                np.testing.assert_allclose(found, wanted, rtol=tight, atol=tight)


@pytest.mark.parametrize("target", [[0, 5], [0, -1]])
def test_a_class_that_is_not_there(target: list[int]) -> None:
    for _ in range(3):
        with pytest.raises(RetrogradError, match=f"Target {target[1]} is out of bounds"):
            retrograd.nn.functional.cross_entropy(retrograd.zeros(2, 5), retrograd.tensor(target))


@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(), (0,), (7,), (3, 0), (64, 257), (5, 33, 70), (700, 900)], ids=str)
@pytest.mark.parametrize("name", ["cumsum", "cumprod", "logcumsumexp"])
def test_scans_beside_pytorch(name: str, shape: tuple[int, ...], kind: str) -> None:
    """Along each axis, of what lies in order and what does not, with special numbers at last; recorded or
    not, every call gives the same bits."""
    x = RANDOM.standard_normal(shape).astype(kind)
    if x.size > 100:
        x.reshape(-1)[-3:] = np.inf, -np.inf, np.nan
    for axis in range(max(x.ndim, 1)):
        found = []
        for t in (retrograd, torch):
            given = t.tensor(x).requires_grad_()
            recorded = [getattr(given, name)(axis) for _ in range(3)]
            plain = [getattr(given.detach(), name)(axis) for _ in range(3)]
            turned = getattr(t.tensor(np.array(x.T, order="C")).permute([*reversed(range(x.ndim))]), name)(
                axis
            )
            (slope,) = t.autograd.grad(recorded[-1], given, t.ones_like(given))
            found.append([*[y.detach().numpy() for y in (*recorded, *plain, turned)], slope.numpy()])
        mine, theirs = found
        for again in mine[1:7]:
            assert mine[0].tobytes() == again.tobytes()
        tight = 1e-12 if kind == "float64" else 2e-6
        np.testing.assert_allclose(mine[0], theirs[0], rtol=tight, atol=tight)
        if x.size < 100 or name == "cumsum":
            np.testing.assert_allclose(mine[-1], theirs[-1], rtol=30 * tight, atol=30 * tight)


@pytest.mark.parametrize("norm", [1.0, 2.0])
@pytest.mark.parametrize("name", ["embedding", "embedding_bag"])
def test_rows_are_held_to_a_norm_and_the_rest_left_alone(name: str, norm: float) -> None:
    weight, index = RANDOM.standard_normal((8, 5)) * 3, np.array([[1, 1, 6], [0, 6, 2]])
    found = []
    for t in (retrograd, torch):
        held = t.tensor(weight).requires_grad_()
        for _ in range(3):
            y = getattr(t.nn.functional, name)(t.tensor(index), held, max_norm=1.5, norm_type=norm)
        held.grad = None
        y.backward(t.arange(y.numel(), dtype=y.dtype).reshape(y.shape))
        found.append((y.detach().numpy(), held.detach().numpy(), held.grad.numpy(), held._version))
    for mine, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-12)


def test_what_is_not_above_the_margin_costs_nothing_nor_does_nan() -> None:
    found = []
    for t in (retrograd, torch):
        x = t.tensor([[0.1, float("nan"), 0.3, 2.0], [5.0, 1.0, 0.0, -1.0]]).requires_grad_()
        loss = t.nn.functional.multilabel_margin_loss(x, t.tensor([[0, 2, -1, 1], [0, -1, 1, 1]]))
        loss.backward()
        found.append((loss.detach().numpy(), x.grad.numpy()))
    for mine, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-6)


PLACES = [("bilinear", "zeros"), ("bilinear", "border"), ("bicubic", "reflection"), ("nearest", "zeros")]


@pytest.mark.parametrize(("mode", "border"), PLACES)
@pytest.mark.parametrize("special", [float("nan"), float("inf"), -1e20])
def test_places_that_are_none_beside_pytorch(mode: str, border: str, special: float) -> None:
    grid = np.zeros((1, 3, 1, 2), np.float32)
    grid[0, 0, 0, 0] = grid[0, 1, 0, 1] = special
    image = np.arange(20, dtype=np.float32).reshape(1, 1, 4, 5)
    image[0, 0, 0, 0] = np.inf
    mine, theirs = (
        t.nn.functional.grid_sample(
            t.tensor(image), t.tensor(grid), mode, border, align_corners=False
        ).numpy()
        for t in (retrograd, torch)
    )
    np.testing.assert_allclose(mine, theirs)


@pytest.mark.parametrize("shape", [(3, 4), (2, 6, 5), (2, 4, 40, 41)])
def test_channels_beside_pytorch(shape: tuple[int, ...]) -> None:
    x, per = RANDOM.standard_normal(shape), RANDOM.uniform(0.5, 2, (4, shape[1]))
    x.flat[0], x.flat[1] = 0, np.nan
    found = []
    for t in (retrograd, torch):
        for _ in range(3):
            given, slope, one, weight = (
                t.tensor(a).requires_grad_() for a in (x, per[0], per[1, :1], per[2])
            )
            y = [
                t.nn.functional.prelu(given, slope),
                t.nn.functional.prelu(given, one),
                t.nn.functional.batch_norm(given, t.tensor(per[1]), t.tensor(per[3]), weight, slope),
                t.nn.functional.glu(given, 1),
            ]
            slopes = t.autograd.grad(y, [given, slope, one, weight], [t.ones_like(each) * 2 for each in y])
        found.append([each.detach().numpy() for each in (*y, *slopes)])
    for mine, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-10, atol=1e-12)


def test_fractional_pools_and_dropout_draw_what_pytorch_draws_when_planned() -> None:
    x, found = RANDOM.standard_normal((2, 3, 9, 11)), []
    for t in (retrograd, torch):
        t.manual_seed(4)
        drawn = []
        for _ in range(4):
            given = t.tensor(x).requires_grad_()
            pooled, where = t.nn.functional.fractional_max_pool2d_with_indices(given, 2, (4, 5))
            kept, mask = t.native_dropout(given, 0.3, True)
            slope = t.autograd.grad(pooled.sum() + kept.sum(), given)[0]
            drawn += [each.detach().numpy() for each in (pooled, where, kept, mask, slope)]
        found.append(drawn)
    for mine, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(mine, theirs)


NORMS: dict[str, Any] = {
    "batch": lambda F, x, w, b: F.batch_norm(x, None, None, w, b, training=True),
    "groups": lambda F, x, w, b: F.group_norm(x, 2, w, b),
    "group of all": lambda F, x, w, b: F.group_norm(x, 1, w, b),
    "instances": lambda F, x, w, b: F.instance_norm(x, None, None, w, b),
    "layer": lambda F, x, w, b: F.layer_norm(x, x.shape[1:]),
}


@pytest.mark.parametrize("special", [0.0, np.nan, np.inf])
@pytest.mark.parametrize("shape", [(3, 4, 2), (2, 6, 5), (2, 4, 20, 21), (0, 4, 3)])
@pytest.mark.parametrize("name", NORMS)
def test_norms_beside_pytorch(name: str, shape: tuple[int, ...], special: float) -> None:
    if not shape[0] and name in ("batch", "instances"):
        pytest.skip("an error there")
    x, ct = RANDOM.standard_normal((2, *shape)) + 2
    x.flat[:1] = special
    per = RANDOM.uniform(0.5, 2, (2, shape[1]))
    found = []
    for t in (retrograd, torch):
        given, weight, bias = (t.tensor(a).requires_grad_() for a in (x, *per))
        turned = t.tensor(np.ascontiguousarray(np.swapaxes(x, 0, 1))).transpose(0, 1)
        for _ in range(3):
            y = NORMS[name](t.nn.functional, given, weight, bias)
            again = NORMS[name](t.nn.functional, turned, weight, bias)
            slopes = t.autograd.grad(y, [given, weight, bias], t.tensor(ct), allow_unused=True)
        found.append([y.detach().numpy(), again.detach().numpy()])
        found[-1] += [s.numpy() for s in slopes if s is not None]
    for mine, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("momentum", [0.1, 0.0, None])
def test_running_statistics_beside_pytorch(momentum: float | None) -> None:
    x, found = RANDOM.standard_normal((5, 40, 3)), []
    for t in (retrograd, torch):
        norm = t.nn.BatchNorm1d(40, momentum=momentum, dtype=t.float64)
        for _ in range(4):
            norm(t.tensor(x))
        found.append([norm.running_mean.numpy(), norm.running_var.numpy()])
    for mine, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-12)


WINDOWS: dict[str, Any] = {
    "nearest": lambda F, x: F.interpolate(x, size=(11, 9)),
    "nearest, smaller": lambda F, x: F.interpolate(x, scale_factor=0.5, mode="nearest-exact"),
    "means of parts": lambda F, x: F.adaptive_avg_pool2d(x, (5, 4)),
    "means of more parts": lambda F, x: F.adaptive_avg_pool2d(x, (3, 25)),
    "greatest of parts": lambda F, x: F.adaptive_max_pool2d(x, (5, 4)),
    "windows that meet": lambda F, x: F.max_pool2d(x, 3, 2, 1),
    "windows with gaps": lambda F, x: F.max_pool2d(x, (2, 3), (1, 2), (1, 0), (3, 2), ceil_mode=True),
    "columns": lambda F, x: F.fold(x.reshape(x.shape[0], 6, -1), (x.shape[2] + 1, x.shape[3] + 2), (2, 3)),
    "causal": lambda F, x: F.scaled_dot_product_attention(x, x * 2, x + 1, is_causal=True),
    "queries": lambda F, x: F.scaled_dot_product_attention(x[:, :, :3], x, x * 2, is_causal=True),
}


@pytest.mark.parametrize("special", [0.0, np.nan, np.inf])
@pytest.mark.parametrize("shape", [(1, 6, 7, 8), (2, 6, 37, 21), (0, 6, 7, 8)])
@pytest.mark.parametrize("name", WINDOWS)
def test_windows_and_spans_beside_pytorch(name: str, shape: tuple[int, ...], special: float) -> None:
    if not shape[0] and name == "columns":
        pytest.skip("-1 may be anything there")
    if np.isnan(special) and name in ("causal", "queries"):
        pytest.skip("PyTorch's gradient is 0 at some places of a key that is NaN")
    x, found = RANDOM.standard_normal(shape), []
    x.reshape(-1)[3:4] = special
    for t in (retrograd, torch):
        given = t.tensor(x).requires_grad_()
        turned = t.tensor(np.ascontiguousarray(np.swapaxes(x, 0, 3))).transpose(0, 3)
        for _ in range(3):
            y, again = WINDOWS[name](t.nn.functional, given), WINDOWS[name](t.nn.functional, turned)
            ct = t.arange(y.numel(), dtype=t.float64).reshape(y.shape)
            (slope,) = t.autograd.grad(y, given, ct)
        found.append([y.detach().numpy(), again.numpy(), slope.numpy()])
    for mine, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize("name", ["greatest of parts", "windows that meet", "windows with gaps"])
def test_which_of_several_nan_and_equal_elements_is_the_greatest_beside_pytorch(name: str, kind: str) -> None:
    """In fewer windows than a vector has lanes, and in many that begin and end anywhere. Of several NaN in
    one part of an image PyTorch takes the last."""
    rng, parts = np.random.default_rng(3), name == "greatest of parts"
    for shape in ((1, 2, 5, 4), (2, 3, 19, 23)):
        x, found = rng.choice([0.0, -0.5, 1.0, np.inf, -np.inf, 1.0 if parts else np.nan], shape), []
        for t in (retrograd, torch):
            given = t.tensor(x, dtype=getattr(t, kind)).requires_grad_()
            for _ in range(3):
                y = WINDOWS[name](t.nn.functional, given)
                (slope,) = t.autograd.grad(y, given, t.arange(y.numel(), dtype=y.dtype).reshape(y.shape))
            found.append([y.detach().numpy(), slope.numpy()])
        for mine, theirs in zip(*found, strict=True):
            np.testing.assert_array_equal(mine, theirs)
