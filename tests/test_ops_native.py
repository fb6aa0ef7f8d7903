"""Structured and composite ops in machine code: value and gradients of each are what NumPy makes of them.

The structured ops are those of `test_structured_ops.SAMPLES`; a new composite needs a row in `COMPOSITES`.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from gradients import floating, gradient, graph_of, like
from native import build
from test_structured_ops import IDS, SAMPLES

from retrograd.compiler import dtypes, ops
from retrograd.compiler.ir.graph import OPS, Array, Graph, Op, apply, interpret
from retrograd.compiler.ops import (
    adaptive,
    alignment,
    arranged,
    bags,
    borders,
    channels,
    convolution,
    corners,
    cross_entropy,
    demands,
    extremum,
    fold,
    fractional,
    gate,
    joined,
    losses,
    lu,
    margins,
    masked,
    matrix,
    normal,
    pairs,
    pool,
    recurrent,
    sampling,
    softmax,
    sort,
    sought,
    spans,
    strided,
    unpool,
    wide_scan,
    withheld,
)
from retrograd.compiler.ops import statistics as stats
from retrograd.compiler.ops.composite import Composite, expansion
from retrograd.compiler.ops.fourier import Fourier
from retrograd.compiler.ops.incomplete_ops import IncompleteGamma

RANDOM = np.random.default_rng(11)


def real(*sizes: int) -> Array:
    return RANDOM.standard_normal(sizes)


X, P, Q = real(3, 4, 5), RANDOM.uniform(0.1, 0.9, (3, 4)), RANDOM.uniform(0.1, 0.9, (3, 4))
PLACES = RANDOM.uniform(-1.3, 1.3, (2, 2, 4, 2))
IMAGE = real(2, 3, 6, 7)
BEGINS = [np.sort(RANDOM.integers(0, 4, (2, 3, n))) for n in (4, 5)]
TARGET = np.array([0, 3, 1])
MET = RANDOM.integers(0, 2, (3, 4, 5))
WEIGHT = RANDOM.uniform(0.5, 2, 4)
FRAME = pool.frame(IMAGE.shape, (2, 3), (2, 2), (0, 1), (1, 1))
ALIGNED = (
    np.log(RANDOM.dirichlet(np.ones(5), (6, 3))),
    np.array([[1, 1, 3], [4, 2, 0], [2, 3, 1]]),
    np.array([6, 4, 2]),
    np.array([3, 2, 3]),
)
CORNERS = RANDOM.integers(-1, 5, (2, 3, 6))
LABELS = np.array([[3, 0, -1, 1], [0, 1, 2, 3], [-1, 1, 1, 1]])
BAGS = np.array([0, 2, 3, 0, 1]), np.array([0, 2, 2])
LARGE = real(2, 16, 14)
APART = pool.frame(LARGE.shape, (7, 7), (7, 7), (0, 0), (1, 1))
"""Windows of many elements, which do not meet, and rows that are in none."""
COMPOSITES: list[tuple[Op, tuple[Array, ...]]] = [
    (stats.Mean((0, 2)), (X,)),
    (stats.Var((1,)), (X,)),
    (stats.Std((0, 1, 2), 0), (X,)),
    *((stats.Norm(p, (0, 1)), (X,)) for p in (0.0, 1.0, 2.0, 3.0, np.inf)),
    (strided.RestridedSum((3, 4, 5), (2, 0, 3), 1, 20), (X,)),
    (strided.RestridedSum((3, 4), (1, 1), 0, 6), (P,)),
    (softmax.Softmax(1), (X,)),
    (softmax.LogSoftmax(2), (X,)),
    (softmax.Logsumexp((0, 2)), (X,)),
    (sort.FirstInOrder(1, 2, descending=True), (np.round(X),)),
    (sort.NthInOrder(2, 3), (np.round(X),)),
    (joined.PutAlong(1), (X, MET, real(*MET.shape))),
    (joined.PutAlong(2), (X, MET[:2, :3, :2], np.array(0.5))),
    (joined.SlopeOfProducts(1), (X[:, :2], MET, X)),
    (joined.SlopeOfProducts(1), (X[:, :2], MET, X, X[:, 1:3])),
    *((sort.Middle(ignored), (np.where(X > 1, np.nan, np.round(X)).ravel(),)) for ignored in (False, True)),
    *((sort.MiddleInOrder(1, ignored), (np.where(X > 1, np.nan, X),)) for ignored in (False, True)),
    *((wide_scan.WideScan(kind, 1, back), (X,)) for kind in wide_scan.KINDS for back in (False, True)),
    (losses.MseLoss("mean"), (P, Q)),
    (losses.L1Loss("sum"), (P, Q)),
    (losses.SmoothL1Loss("none", 0.3), (P, Q)),
    (losses.HuberLoss("mean", 0.3), (P, Q)),
    (losses.KlDiv("mean", False), (P, Q)),
    (losses.BinaryCrossEntropy("mean"), (P, Q)),
    (losses.BinaryCrossEntropyWithLogits("mean", True, True), (X[..., 0], Q, P, WEIGHT)),
    (cross_entropy.NllLoss("mean", -100), (X[..., 0], TARGET)),
    (cross_entropy.CrossEntropy("mean", -100, 0.0), (X[..., 0], TARGET)),
    (cross_entropy.CrossEntropy("sum", 3, 0.1), (X[..., 0], TARGET, WEIGHT)),
    (cross_entropy.SoftCrossEntropy("mean", 0.1), (X[..., 0], P, WEIGHT)),
    (margins.MultiMarginLoss("mean", 1, 0.7), (P, TARGET)),
    (margins.MultiMarginLoss("none", 2, 1.0), (P, TARGET, WEIGHT)),
    (margins.MultilabelMarginLoss("sum"), (P, LABELS)),
    (margins.MultilabelMargins(), (P, LABELS)),
    (margins.MultilabelMarginsAdjoint(), (real(3), P, LABELS)),
    *(
        (sampling.PlaneSampler(mode, border, aligned), (IMAGE, RANDOM.uniform(-1.3, 1.3, (2, 3, 4, 2))))
        for mode, border, aligned in (("bilinear", "zeros", False), ("nearest", "border", True))
    ),
    (sampling.PlaneSamplerAdjoint("bilinear", "border", False, (5, 6)), (real(2, 3, 2, 4), PLACES)),
    (sampling.PlaneTurn("bilinear", "reflection", True), (real(2, IMAGE.shape[1], 2, 4), IMAGE, PLACES)),
    (sampling.PlaneWeights("bilinear", "zeros", False, (5, 6)), (PLACES,)),
    *(
        (sampling.GridSampler(mode, border, aligned), (IMAGE, RANDOM.uniform(-1.3, 1.3, (2, 3, 4, 2))))
        for mode, border, aligned in (
            ("bilinear", "zeros", False),
            ("nearest", "border", True),
            ("bicubic", "reflection", False),
        )
    ),
    (sampling.GridSampler("bilinear", "reflection", True), (real(1, 2, 3, 4, 2), real(1, 2, 3, 2, 3))),
    (fractional.WindowPlaces((2, 3)), (IMAGE, *BEGINS, BEGINS[0] + 2, BEGINS[1] + 3)),
    (normal.LayerNorm(1e-5, 2), (X, real(4, 5), real(4, 5))),
    (normal.GroupNorm(1e-5, 2), (X, real(4))),
    (normal.BatchNorm(1e-5), (X, real(4), real(4))),
    *((normal.LayerNormElements(1e-5, 2), (X, real(3, 4, 5), *each)) for each in ((), (real(4, 5),))),
    *((normal.GroupNormElements(1e-5, 2), (X, real(3, 4, 5), *each)) for each in ((), (real(4),))),
    *((normal.BatchNormElements(1e-5), (X, real(3, 4, 5), *each)) for each in ((), (real(4),))),
    (normal.LayerNormWeight(1e-5, 2), (X, real(3, 4, 5))),
    (normal.GroupNormWeight(1e-5, 2), (X, real(3, 4, 5))),
    (normal.BatchNormWeight(1e-5), (X, real(3, 4, 5))),
    (normal.RmsNorm(1e-5, 1), (X, real(5))),
    (softmax.CausalSoftmax(0.7), (X,)),
    (softmax.MaskedSoftmax(0.7), (X, real(4, 5))),
    (softmax.MaskedSoftmax(0.7), (X, X[:, :1] > 0.3)),
    (spans.SpanSums(1, (0, 0, 2, 3), (2, 3, 3, 3)), (X,)),
    (spans.SpanSums(2, (1, 2, 2), (2, 3, 3)), (X,)),
    (fold.Fold((4, 3), (2, 1), (1, 2), (0, 1), (1, 2)), (real(2, 4, 9),)),
    (adaptive.AdaptiveMaxPool((2, 3)), (X,)),
    (adaptive.AdaptiveMaxPoolAdjoint((2, 3)), (real(3, 2, 3), X)),
    (pool.MaxPoolAdjoint(FRAME), (pool.MaxPool(FRAME).evaluate(IMAGE) * 0.5, IMAGE)),
    (matrix.Linear(), (X, real(7, 5), real(7))),
    (lu.UnitLower(), (X,)),
    (sought.SearchSorted(False, dtypes.int64), (np.sort(P, -1), Q)),
    (sought.SearchSorted(True, dtypes.int32), (np.sort(P[0]), np.where(X > 1, np.nan, X))),
    (sought.IsIn(), (TARGET, np.array([[0, 2]]))),
    (matrix.OneHot(5), (TARGET,)),
    (matrix.Trace(), (real(5, 7),)),
    (convolution.Convolution((2,), (1,), 2), (real(2, 4, 9), real(6, 2, 3), real(6))),
    (convolution.Convolution((1, 2), (2, 1), 1), (IMAGE, real(4, 3, 3, 2))),
    (extremum.Argmax(1), (np.where(X > 1, np.nan, X),)),
    (extremum.Argmin(0), (np.round(X),)),
    (convolution.TransposedConvolution((2,), (1,), 2, (1,), (1,)), (real(2, 4, 9), real(4, 3, 3))),
    (convolution.TransposedConvolution((3, 1), (2, 1), 1, (0, 1), (0, 0)), (IMAGE, real(3, 4, 3, 2))),
    (pool.MaxPool(FRAME), (IMAGE,)),
    (pool.MaxPoolIndices(FRAME), (IMAGE,)),
    (pool.AvgPool(FRAME, (0, 1), False, 0), (IMAGE,)),
    (pool.MaxPool(APART), (LARGE,)),
    (pool.MaxPoolIndices(APART), (LARGE,)),
    (pool.AvgPool(APART, (0, 0), True, 0), (LARGE,)),
    (unpool.MaxUnpool((3, 3)), (real(3, 4), np.array([[0, 2, 5, 8], [1, 0, 7, 3], [6, 4, 2, 8]]))),
    # A repeated label, a sequence shorter than the rest, and one with too few steps, whose loss is infinite.
    *((alignment.CtcLoss(0, finite), ALIGNED) for finite in (False, True)),
    *((alignment.CtcLossAdjoint(0, finite), (real(3), *ALIGNED)) for finite in (False, True)),
    (bags.Embedding(2, True), (real(4, 3), np.array([[0, 2], [3, 0]]))),
    *((bags.BagSum(2, mean, True), (real(4, 3), *BAGS)) for mean in (False, True)),
    (bags.BagSum(bags.NONE, False, False), (real(4, 3), *BAGS, real(5))),
    (bags.BagSumAdjoint(2, 4), (real(3, 3), *BAGS, real(5))),
    (bags.BagPlaces(2), (real(4, 3), *BAGS)),
    (bags.BagMax(2), (real(4, 3), *BAGS)),
    (normal.RunningStatistic(0.1, "mean"), (real(4), X)),
    (normal.RunningStatistic(None, "var"), (real(4), X, np.array(0.3))),
    (recurrent.LstmCell(), (real(3, 16), real(3, 4))),
    (recurrent.LstmHidden(), (real(3, 16), real(3, 4))),
    (recurrent.GruHidden(), (real(3, 12), real(3, 12), real(3, 4))),
    (gate.Glu(1), (X,)),
    (gate.GluAdjoint(1), (X[:, :2].copy(), X)),
    *((channels.ScaleShift(), (X, *per)) for per in ((real(4),), (real(4), real(4)))),
    *((op, (X, real(3, 4, 5))) for op in (channels.ChannelDot(), channels.PReluSlopes())),
    (channels.PRelu(), (X, real(4))),
    (channels.PReluAdjoint(), (real(3, 4, 5), X, real(4))),
    (corners.Corners(), (X, CORNERS, real(2, 3, 6))),
    (corners.CornersAdjoint(5), (real(3, 4, 6), CORNERS, real(2, 3, 6))),
    (corners.CornerWeights(), (real(3, 4, 6), X, CORNERS)),
    (borders.Bordered("reflect", (1, 2), (3, 0)), (X,)),
    (borders.BorderedAdjoint("circular", (1, 2), (3, 0), (3, 4, 5)), (real(3, 8, 7),)),
    (arranged.Triangle(1, lower=True), (X,)),
    (arranged.Triangle(-1, lower=False), (X,)),
    (arranged.Repeat((2, 1, 3)), (X,)),
    (pairs.PairDistances(), (real(4, 3),)),
    (pairs.Distances(), (real(2, 4, 3), real(2, 5, 3))),
    (pairs.DistancesAdjoint(), (real(2, 4, 5), real(2, 4, 3), real(2, 5, 3))),
    (pairs.PairsAdjoint(), (real(6), real(4, 3))),
    (withheld.Withheld(), (X, X[..., :1] > 0)),
    (masked.MaskedScatter(), (X, X > 0, real(60))),
    (demands.Places("brackets", 0, 4), (TARGET - 1,)),
    (demands.Divisor(), (TARGET + 1,)),
    (demands.Lengths(4), (TARGET,)),
    (demands.Fractions(), (P,)),
    (demands.Overlaps("istft"), (P + 1,)),
]
COMPOSITE_IDS = [f"{k}-{op.name}" for k, (op, _) in enumerate(COMPOSITES)]
FUNCTIONS: dict[str, tuple[Callable[..., Any], tuple[Array, ...]]] = {
    "sort": (lambda x: sort.sort(x, 1)[0], (X,)),
    "topk": (lambda x: sort.topk(x, 2, 2)[0], (X,)),
    "median": (lambda x: sort.median(x, 1)[0], (X,)),
    "mode": (lambda x: sort.mode(x, 1)[1], (np.round(X),)),
    "put_along": (lambda x, v: joined.put_along(x, np.argsort(X, 1), v, 1), (X, real(3, 4, 5))),
    "attention": (
        lambda q, k, v: softmax.attention(q, k, v, causal=True),
        (real(2, 3, 4), real(2, 5, 4), real(2, 5, 6)),
    ),
    "transposed": (
        lambda x, w: convolution.transposed_convolution(x, w, None, (2,), (1,), (1,), (1,)),
        (real(2, 3, 6), real(3, 4, 3)),
    ),
    "adaptive_avg_pool": (lambda x: adaptive.adaptive_avg_pool(x, (4, 3)), (IMAGE,)),
    "adaptive_max_pool": (lambda x: adaptive.adaptive_max_pool(x, (4, 3)), (IMAGE,)),
}
Arrays = tuple[Array, ...]


def agrees(function: Callable[..., Any], *arrays: Array) -> None:
    """Machine code for value and gradients against the same graph in NumPy."""
    graph = graph_of(function, arrays)
    (out,) = graph.outputs
    values = list(arrays)
    if out.dtype.is_floating_point and floating(arrays):
        cotangent = out.builder.input("cotangent", out.type)
        inputs = (*graph.inputs, cotangent)
        slopes = [g for g in gradient(function, arrays)(*inputs) if g is not None]
        graph = Graph("f", inputs, (out, *slopes))
        values += like([np.zeros(out.shape)], seed=5)
    for mine, theirs in zip(build(graph)(*values), interpret(graph, values), strict=True):
        assert (mine.shape, mine.dtype) == (theirs.shape, theirs.dtype)
        np.testing.assert_allclose(mine, theirs, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("op", "arrays"), SAMPLES, ids=IDS)
def test_structured_ops(op: Op, arrays: Arrays) -> None:
    agrees(lambda *values: apply(op, *values), *arrays)


@pytest.mark.parametrize(("op", "arrays"), COMPOSITES, ids=COMPOSITE_IDS)
def test_composite_ops(op: Op, arrays: Arrays) -> None:
    agrees(lambda *values: apply(op, *values), *arrays)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_of_ops(name: str) -> None:
    function, arrays = FUNCTIONS[name]
    agrees(function, *arrays)


def test_every_composite_has_a_sample() -> None:
    for module in pkgutil.iter_modules(ops.__path__, f"{ops.__name__}."):
        importlib.import_module(module.name)
    composites = {op for op in OPS.values() if isinstance(op, type) and issubclass(op, Composite)}
    hosted = {op for op in composites if op.hosted}  # tested in test_linalg and test_great_matrices
    hosted |= {IncompleteGamma}  # whose derivative is: tested in test_wider_names and test_distributions
    transforms = {op for op in composites if issubclass(op, Fourier)}  # tested in test_fft
    assert composites - hosted - transforms - {type(op) for op, _ in COMPOSITES} == set()


def test_a_composite_is_named_in_a_graph_and_its_formula_is_primitive() -> None:
    op = softmax.Softmax(1)
    graph = graph_of(lambda x: apply(op, x), [X])
    assert [node.op.name for node in graph.nodes] == ["softmax"]
    formula = expansion(op, (graph.inputs[0].type,))
    names = "amax reshape expand sub exp constant sum div reshape expand mul"
    assert [node.op.name for node in formula.nodes] == names.split()
