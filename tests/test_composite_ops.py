"""Composite ops: values and gradients against PyTorch, both derivatives against finite differences."""

from __future__ import annotations

from math import inf
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from gradients import check, check_peer, check_slopes, gradient

import retrograd as rg
from retrograd.compiler import dtypes
from retrograd.compiler.errors import ArgumentError, DimensionError, DtypeError, RetrogradError, ShapeError
from retrograd.compiler.ops import (
    adaptive,
    arranged,
    losses,
    matrix,
    normal,
    pool,
    recurrent,
    softmax,
    statistics,
)
from retrograd.compiler.ops import convolution as conv
from retrograd.compiler.ops import cross_entropy as classes

pytestmark = pytest.mark.usefixtures("torch")

RANDOM = np.random.default_rng(7)


def normal_array(*shape: int) -> np.ndarray[Any, Any]:
    return RANDOM.standard_normal(shape)


X = normal_array(3, 4, 5)
AXES = [(0,), (1,), (2,), (0, 2), (0, 1, 2)]


# ---- statistics --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("axes", AXES)
def test_statistics(torch: ModuleType, axes: tuple[int, ...]) -> None:
    check(lambda x: statistics.mean(x, axes), lambda x: x.mean(axes), X)
    check(lambda x: statistics.var(x, axes), lambda x: x.var(axes), X)
    check(lambda x: statistics.var(x, axes, 0), lambda x: x.var(axes, correction=0), X)
    check(lambda x: statistics.std(x, axes), lambda x: x.std(axes), X)
    check(lambda x: softmax.logsumexp(x, axes), lambda x: x.logsumexp(axes), X)


@pytest.mark.parametrize("p", [0, 0.5, 1, 1.5, 2, 3, inf, -inf])
@pytest.mark.parametrize("axes", AXES)
def test_norm(torch: ModuleType, axes: tuple[int, ...], p: float) -> None:
    check(
        lambda x: statistics.norm(x, p, axes),
        lambda x: torch.linalg.vector_norm(x, p, axes),
        X,
        second=p != 0,
    )


@pytest.mark.parametrize("p", [0, 1, 1.5, 2, 3, inf])
def test_norm_of_zeros_has_no_slope(torch: ModuleType, p: float) -> None:
    x = np.array([[0.0, 0.0], [3.0, 0.0]])
    check_peer(lambda x: statistics.norm(x, p, (1,)), lambda x: torch.linalg.vector_norm(x, p, 1), x)
    check_peer(lambda x: statistics.std(x, (1,)), lambda x: x.std(1), np.ones((2, 3)))


def test_statistics_of_few_elements(torch: ModuleType) -> None:
    none, one = np.zeros((2, 0)), np.array([[1.5]])
    check_peer(lambda x: statistics.mean(x, (1,)), lambda x: x.mean(1), none)
    check_peer(lambda x: statistics.mean(x, ()), lambda x: x.mean(), np.array(2.0))
    check_peer(lambda x: softmax.logsumexp(x, (1,)), lambda x: x.logsumexp(1), none)
    with np.errstate(all="ignore"):
        assert np.isnan(statistics.var(one, (1,))).all()
        assert np.isnan(statistics.mean(none, (1,))).all()


def test_cosine_similarity(torch: ModuleType) -> None:
    check(
        lambda a, b: statistics.cosine_similarity(a, b, 1),
        lambda a, b: torch.nn.functional.cosine_similarity(a, b, 1),
        X,
        normal_array(3, 4, 5),
    )


def test_a_mean_of_integers_is_refused() -> None:
    with pytest.raises(
        DtypeError, match=r"mean of i64\[3\]; mean takes floating-point or complex values; cast the tensor"
    ):
        statistics.mean(np.arange(3), (0,))


# ---- recurrent networks ------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [(), (1,), (3,)])
def test_steps_of_recurrent_networks(torch: ModuleType, batch: tuple[int, ...]) -> None:
    def lstm_cell(gates: Any, cell: Any) -> Any:
        admitted, kept, new, _ = gates.chunk(4, -1)
        return kept.sigmoid() * cell + admitted.sigmoid() * new.tanh()

    def lstm_hidden(gates: Any, cell: Any) -> Any:
        return gates.chunk(4, -1)[3].sigmoid() * cell.tanh()

    def gru_hidden(share: Any, recalled: Any, hidden: Any) -> Any:
        (reset, kept, new), (r, k, n) = share.chunk(3, -1), recalled.chunk(3, -1)
        return torch.lerp((new + (reset + r).sigmoid() * n).tanh(), hidden, (kept + k).sigmoid())

    four, three, other = (normal_array(*batch, 2 * gates) for gates in (4, 3, 3))
    state = normal_array(*batch, 2)
    check(recurrent.lstm_cell, lstm_cell, four, state)
    check(recurrent.lstm_hidden, lstm_hidden, four, state)
    check(recurrent.gru_hidden, gru_hidden, three, other, state)


# ---- softmax -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_softmax(torch: ModuleType, axis: int) -> None:
    check(lambda x: softmax.softmax(x, axis), lambda x: x.softmax(axis), X)
    check(lambda x: softmax.log_softmax(x, axis), lambda x: x.log_softmax(axis), X)


@pytest.mark.parametrize("shape", [(1,), (0, 3), (3, 0)])
def test_softmax_of_odd_shapes(torch: ModuleType, shape: tuple[int, ...]) -> None:
    x = np.ones(shape)
    check_peer(lambda x: softmax.softmax(x, 0), lambda x: x.softmax(0), x)
    check_peer(lambda x: softmax.log_softmax(x, 0), lambda x: x.log_softmax(0), x)


def test_softmax_neither_overflows_nor_loses_infinities(torch: ModuleType) -> None:
    x = np.array([[1000.0, 1001.0, -1000.0], [-inf, 0.0, -inf], [-1e300, 1e300, 0.0]])
    check_peer(lambda x: softmax.softmax(x, 1), lambda x: x.softmax(1), x)
    check_peer(lambda x: softmax.log_softmax(x, 1), lambda x: x.log_softmax(1), x)
    check_peer(lambda x: softmax.logsumexp(x, (1,)), lambda x: x.logsumexp(1), x)


def test_logsumexp_of_infinities() -> None:
    x = np.array([[-inf, -inf], [inf, 0.0], [inf, inf], [np.nan, 0.0]])
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(softmax.logsumexp(x, (1,)), [-inf, inf, inf, np.nan])


def test_half_precision_is_computed_in_float32(torch: ModuleType) -> None:
    x = (RANDOM.standard_normal((4, 300)) * 3).astype(np.float16)
    check_peer(lambda x: softmax.softmax(x, 1), lambda x: x.softmax(1), x, tolerance=2e-3)
    check_peer(lambda x: statistics.var(x, (1,)), lambda x: x.var(1), x, tolerance=2e-3)
    assert dtypes.of(softmax.logsumexp(x, (1,))) is dtypes.float16


def test_an_axis_beyond_the_tensor_is_refused() -> None:
    with pytest.raises(DimensionError, match=r"softmax of f64\[3, 4, 5\] along axis 3; there is no axis 3"):
        softmax.softmax(X, 3)


@pytest.mark.parametrize("causal", [False, True])
def test_attention(torch: ModuleType, causal: bool) -> None:
    query, key, value = normal_array(2, 3, 4), normal_array(2, 5, 4), normal_array(2, 5, 6)
    theirs = torch.nn.functional.scaled_dot_product_attention
    check(
        lambda q, k, v: softmax.attention(q, k, v, causal=causal),
        lambda q, k, v: theirs(q, k, v, is_causal=causal),
        query,
        key,
        value,
    )


def test_attention_with_masks(torch: ModuleType) -> None:
    query, key, value, added = (
        normal_array(2, 3, 4),
        normal_array(2, 5, 4),
        normal_array(2, 5, 6),
        normal_array(3, 5),
    )
    theirs = torch.nn.functional.scaled_dot_product_attention
    seen = RANDOM.random((2, 3, 5)) < 0.7
    seen[..., 0] = True
    check(
        lambda q, k, v, m: softmax.attention(q, k, v, m, scale=0.3),
        lambda q, k, v, m: theirs(q, k, v, m, scale=0.3),
        query, key, value, added,
    )  # fmt: skip
    check(lambda q, k, v, m: softmax.attention(q, k, v, m), theirs, query, key, value, seen)


# ---- losses ------------------------------------------------------------------------------------------------

Y = normal_array(3, 4, 5)
P, Q = RANDOM.uniform(0.05, 0.95, (2, 3, 4, 5))
SIMPLE: dict[str, tuple[Any, tuple[Any, ...], dict[str, Any], dict[str, Any]]] = {
    "mse_loss": (losses.mse_loss, (X, Y), {}, {}),
    "l1_loss": (losses.l1_loss, (X, Y), {}, {}),
    "smooth_l1_loss": (losses.smooth_l1_loss, (X, Y), {"beta": 0.7}, {"beta": 0.7}),
    "huber_loss": (losses.huber_loss, (X, Y), {"delta": 0.7}, {"delta": 0.7}),
    "kl_div": (losses.kl_div, (X, P), {}, {}),
    "kl_div ": (losses.kl_div, (X, Y), {"log_target": True}, {"log_target": True}),
    "binary_cross_entropy": (losses.binary_cross_entropy, (P, Q), {}, {}),
    "binary_cross_entropy ": (losses.binary_cross_entropy, (P, Q, X[:1]), {}, {}),
    "binary_cross_entropy_with_logits": (losses.binary_cross_entropy_with_logits, (X, Q), {}, {}),
    "binary_cross_entropy_with_logits ": (losses.binary_cross_entropy_with_logits, (X, Q, P[0]), {}, {}),
    "binary_cross_entropy_with_logits  ": (
        losses.binary_cross_entropy_with_logits,
        (X, Q, P, P[0, 0]),
        {},
        {},
    ),
}


@pytest.mark.parametrize("reduction", losses.REDUCTIONS)
@pytest.mark.parametrize("name", SIMPLE)
@pytest.mark.filterwarnings("ignore:reduction.*batchmean")
def test_losses(torch: ModuleType, name: str, reduction: str) -> None:
    ours, arrays, our_options, their_options = SIMPLE[name]
    theirs = getattr(torch.nn.functional, name.strip())
    names = {
        "binary_cross_entropy ": ("input", "target", "weight"),
        "binary_cross_entropy_with_logits ": ("input", "target", "weight"),
        "binary_cross_entropy_with_logits  ": ("input", "target", "weight", "pos_weight"),
    }.get(name, ("input", "target"))
    held = arrays[2:]  # PyTorch has no derivative by the weights
    options = {k: torch.tensor(a) for k, a in zip(names[2:], held, strict=True)}
    check(
        lambda *v: ours(*v, *held, reduction=reduction, **our_options),
        lambda *v: theirs(*v, reduction=reduction, **options, **their_options),
        *arrays[:2],
    )
    check_slopes(lambda *v: ours(*v, reduction=reduction, **our_options), *arrays)


def test_losses_at_their_edges(torch: ModuleType) -> None:
    p, y = np.array([0.0, 1.0, 0.0, 1.0]), np.array([0.0, 1.0, 1.0, 0.0])
    functional = torch.nn.functional
    check_peer(
        lambda p: losses.binary_cross_entropy(p, y),
        lambda p: functional.binary_cross_entropy(p, torch.tensor(y)),
        p,
        tolerance=1e-8,
    )
    x, t = np.array([0.0, 800.0, -800.0]), np.array([0.3, 1.0, 1.0])
    with np.errstate(all="ignore"):
        found = losses.binary_cross_entropy_with_logits(x, t, reduction="none")
    np.testing.assert_allclose(found, [np.log(2), 0, 800])
    check_peer(losses.mse_loss, functional.mse_loss, np.zeros((0, 2)), np.zeros((0, 2)))
    check_peer(lambda x, y: losses.smooth_l1_loss(x, y, 0.0), functional.l1_loss, X, Y)


def test_batchmean(torch: ModuleType) -> None:
    theirs = torch.nn.functional.kl_div
    check(
        lambda x, y: losses.kl_div(x, y, reduction="batchmean"),
        lambda x, y: theirs(x, y, reduction="batchmean"),
        X,
        P,
    )


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            lambda: losses.mse_loss(X, Y, "avg"),
            "avg is not a valid value for reduction",
        ),
        (lambda: losses.huber_loss(X, Y, 0.0), "does not support non-positive values for delta"),
        (lambda: losses.smooth_l1_loss(X, Y, -1.0), "does not support negative values for beta"),
        (lambda: classes.cross_entropy(X, Y, smoothing=2.0), "must be between 0.0 and 1.0"),
    ],
)
def test_wrong_arguments_of_losses_are_refused(call: Any, text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        call()


# ---- classes -----------------------------------------------------------------------------------------------

WEIGHT = RANDOM.uniform(0.5, 2, 4)


def targets(*shape: int) -> np.ndarray[Any, Any]:
    return RANDOM.integers(0, 4, shape)


@pytest.mark.parametrize("reduction", losses.REDUCTIONS)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shape", [(4,), (6, 4), (3, 4, 5), (1, 4), (2, 4, 2, 3)])
@pytest.mark.parametrize("ignored", [-100, 1])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_cross_entropy(
    torch: ModuleType, reduction: str, weighted: bool, shape: tuple[int, ...], ignored: int, smoothing: float
) -> None:
    functional = torch.nn.functional
    x, target = normal_array(*shape), targets(*shape[:1], *shape[2:]) if len(shape) > 1 else targets()
    target.flat[0] = 2
    weight = (WEIGHT,) if weighted else ()
    options = {"weight": torch.tensor(WEIGHT)} if weighted else {}
    check(
        lambda x: classes.cross_entropy(
            x, target, *weight, ignore_index=ignored, reduction=reduction, smoothing=smoothing
        ),
        lambda x: functional.cross_entropy(
            x,
            torch.tensor(target),
            ignore_index=ignored,
            reduction=reduction,
            label_smoothing=smoothing,
            **options,
        ),
        x,
    )
    if not smoothing:
        check(
            lambda x: classes.nll_loss(x, target, *weight, ignore_index=ignored, reduction=reduction),
            lambda x: functional.nll_loss(
                x, torch.tensor(target), ignore_index=ignored, reduction=reduction, **options
            ),
            x,
        )
    if weighted:
        check_slopes(
            lambda x, w: classes.cross_entropy(
                x, target, w, ignore_index=ignored, reduction=reduction, smoothing=smoothing
            ),
            x,
            WEIGHT,
        )


@pytest.mark.parametrize("reduction", losses.REDUCTIONS)
@pytest.mark.parametrize("shape", [(4,), (6, 4), (3, 4, 5)])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_cross_entropy_of_probabilities(
    torch: ModuleType, reduction: str, shape: tuple[int, ...], smoothing: float
) -> None:
    x, y = normal_array(*shape), RANDOM.uniform(0, 1, shape)
    weight = torch.tensor(WEIGHT)
    check(
        lambda x, y: classes.cross_entropy(x, y, WEIGHT, reduction=reduction, smoothing=smoothing),
        lambda x, y: torch.nn.functional.cross_entropy(
            x, y, weight, reduction=reduction, label_smoothing=smoothing
        ),
        x,
        y,
    )


def test_cross_entropy_of_certainty_is_finite(torch: ModuleType) -> None:
    x, target = np.array([[1000.0, -1000.0], [-inf, 0.0]]), np.array([0, 1])
    check_peer(
        lambda x: classes.cross_entropy(x, target),
        lambda x: torch.nn.functional.cross_entropy(x, torch.tensor(target)),
        x,
    )


def test_when_all_targets_are_ignored(torch: ModuleType) -> None:
    x, target = normal_array(2, 4), np.array([-100, -100])
    for reduction in losses.REDUCTIONS:
        check_peer(
            lambda x, r=reduction: classes.cross_entropy(x, target, reduction=r),
            lambda x, r=reduction: torch.nn.functional.cross_entropy(x, torch.tensor(target), reduction=r),
            x,
        )


@pytest.mark.parametrize(
    ("target", "error", "text"),
    [
        (np.array([0, 4]), DimensionError, r"Target 4 is out of bounds\."),
        (np.array([0, -1]), DimensionError, r"Target -1 is out of bounds\."),
        (np.array([0, 1, 2]), ShapeError, r"input batch_size \(2\) to match target batch_size \(3\)"),
    ],
)
def test_wrong_targets_are_refused(target: Any, error: type[RetrogradError], text: str) -> None:
    with pytest.raises(error, match=text):
        classes.cross_entropy(normal_array(2, 4), target)


# ---- normalisations ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("affine", [0, 1, 2])
def test_normalisations(torch: ModuleType, affine: int) -> None:
    functional = torch.nn.functional
    x = normal_array(3, 4, 2, 5)
    inner, channel = [normal_array(2, 5) for _ in range(affine)], [normal_array(4) for _ in range(affine)]
    check(
        lambda x, *a: normal.layer_norm(x, 2, *a),
        lambda x, *a: functional.layer_norm(x, (2, 5), *a),
        x,
        *inner,
    )
    check(
        lambda x, *a: normal.group_norm(x, 2, *a), lambda x, *a: functional.group_norm(x, 2, *a), x, *channel
    )
    check(
        lambda x, *a: normal.batch_norm(x, *a, eps=1e-3),
        lambda x, *a: functional.batch_norm(x, None, None, *a, training=True, eps=1e-3),
        x,
        *channel,
    )
    if affine < 2:
        check(
            lambda x, *a: normal.rms_norm(x, 2, *a, eps=1e-5),
            lambda x, *a: functional.rms_norm(x, (2, 5), *a, eps=1e-5),
            x,
            *inner,
        )


def test_a_bias_without_a_weight(torch: ModuleType) -> None:
    x, bias = normal_array(3, 4), normal_array(4)
    check(
        lambda x, b: normal.layer_norm(x, 1, None, b),
        lambda x, b: torch.nn.functional.layer_norm(x, (4,), None, b),
        x,
        bias,
    )


def test_wrong_shapes_of_normalisations_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"weight and bias must have the shape \[4, 5\]"):
        normal.layer_norm(X, 2, normal_array(5))
    with pytest.raises(ShapeError, match=r"channels in input to be divisible by num_groups, .* num_groups=3"):
        normal.group_norm(X, 3)
    with pytest.raises(ShapeError, match="an axis of channels"):
        normal.batch_norm(normal_array(3))


# ---- names -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("op", "title"),
    [
        (statistics.Mean((0,)), "Mean"),
        (statistics.Var((0,)), "Var"),
        (statistics.Std((0,)), "Std"),
        (statistics.Norm(2.0, (0,)), "LinalgVectorNorm"),
        (softmax.Softmax(0), "Softmax"),
        (softmax.LogSoftmax(0), "LogSoftmax"),
        (softmax.Logsumexp((0,)), "Logsumexp"),
        (classes.CrossEntropy("mean", -100, 0.0), "NllLoss"),
        (losses.BinaryCrossEntropyWithLogits("mean"), "BinaryCrossEntropyWithLogits"),
        (losses.SmoothL1Loss("mean", 1.0), "SmoothL1Loss"),
        (normal.LayerNorm(1e-5, 1), "NativeLayerNorm"),
        (normal.GroupNorm(1e-5, 1), "NativeGroupNorm"),
    ],
)
def test_titles_are_those_of_pytorch(op: Any, title: str) -> None:
    assert op.title == title


# ---- matrices ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(4,), (5, 4), (2, 3, 4), (0, 4)])
def test_linear(torch: ModuleType, shape: tuple[int, ...]) -> None:
    x, w, b = normal_array(*shape), normal_array(6, 4), normal_array(6)
    check(matrix.linear, torch.nn.functional.linear, x, w, b, second=0 not in shape)
    check(matrix.linear, torch.nn.functional.linear, x, w, second=0 not in shape)


@pytest.mark.parametrize("diagonal", [-5, -1, 0, 2, 5])
def test_triangles(torch: ModuleType, diagonal: int) -> None:
    check(lambda x: arranged.tril(x, diagonal), lambda x: x.tril(diagonal), X, second=False)
    check(lambda x: arranged.triu(x, diagonal), lambda x: x.triu(diagonal), X, second=False)
    check_peer(lambda x: arranged.triu(x, diagonal), lambda x: x.triu(diagonal), targets(3, 4))


def test_one_hot(torch: ModuleType) -> None:
    check_peer(lambda i: matrix.one_hot(i, 5), lambda i: torch.nn.functional.one_hot(i, 5), targets(3, 2))
    check_peer(lambda i: matrix.one_hot(i, 5), lambda i: torch.nn.functional.one_hot(i, 5), np.array(2))


def test_wrong_shapes_of_linear_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"mat1 and mat2 shapes cannot be multiplied \(12x5 and 4x6\)"):
        matrix.linear(X, normal_array(6, 4))
    with pytest.raises(ShapeError, match=r"the bias is f64\[2\], but must be \[6\]"):
        matrix.linear(X, normal_array(6, 5), normal_array(2))
    with pytest.raises(ShapeError, match="must have at least 2 dimensions"):
        arranged.tril(normal_array(3))


# ---- convolution -------------------------------------------------------------------------------------------

CONVOLUTIONS = [
    # spatial sizes, kernel, stride, padding, dilation, groups
    ((7,), (3,), (1,), (0,), (1,), 1),
    ((8,), (3,), (2,), (1,), (1,), 2),
    ((9,), (2,), (3,), (2,), (2,), 1),
    ((6,), (1,), (2,), (3,), (1,), 4),
    ((5, 6), (3, 2), (1, 1), (0, 0), (1, 1), 1),
    ((6, 7), (3, 2), (2, 1), (1, 2), (1, 2), 2),
    ((5, 5), (5, 5), (1, 1), (0, 0), (1, 1), 4),
    ((3, 4, 5), (2, 2, 2), (1, 2, 1), (0, 1, 1), (2, 1, 1), 2),
]


@pytest.mark.parametrize(("sizes", "kernel", "stride", "padding", "dilation", "groups"), CONVOLUTIONS)
def test_convolution(
    torch: ModuleType, sizes: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, groups: int
) -> None:
    theirs = getattr(torch.nn.functional, f"conv{len(sizes)}d")
    check(
        lambda x, w, b: conv.convolution(x, w, b, stride, [(p, p) for p in padding], dilation, groups),
        lambda x, w, b: theirs(x, w, b, stride, padding, dilation, groups),
        normal_array(2, 4, *sizes), normal_array(8, 4 // groups, *kernel), normal_array(8),
    )  # fmt: skip


@pytest.mark.parametrize(("sizes", "kernel", "stride", "padding", "dilation", "groups"), CONVOLUTIONS)
def test_transposed_convolution(
    torch: ModuleType, sizes: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, groups: int
) -> None:
    theirs = getattr(torch.nn.functional, f"conv_transpose{len(sizes)}d")
    extra = tuple(max(s, d) - 1 for s, d in zip(stride, dilation, strict=True))
    check(
        lambda x, w, b: conv.transposed_convolution(x, w, b, stride, padding, extra, dilation, groups),
        lambda x, w, b: theirs(x, w, b, stride, padding, extra, groups, dilation),
        normal_array(2, 8, *sizes), normal_array(8, 6 // 2 if groups == 2 else 4, *kernel),
        normal_array(groups * (6 // 2 if groups == 2 else 4)),
    )  # fmt: skip


def test_convolution_without_bias_and_padded_on_one_side() -> None:
    x, w = normal_array(1, 1, 4), np.ones((1, 1, 2))
    found = conv.convolution(x, w, None, (1,), [(1, 0)], (1,))
    np.testing.assert_allclose(found[0, 0], x[0, 0] + np.array([0, *x[0, 0, :-1]]))


def test_wrong_shapes_of_convolutions_are_refused() -> None:
    with pytest.raises(
        ShapeError, match=r"weight of size \[8, 3, 2\], expected input\[3, 4, 5\] to have 3 channels"
    ):
        conv.convolution(X, normal_array(8, 3, 2), None, (1,), [(0, 0)], (1,))
    with pytest.raises(ShapeError, match="Kernel size can't be greater than actual input size"):
        conv.convolution(X, normal_array(8, 4, 6), None, (1,), [(0, 0)], (1,))
    with pytest.raises(ShapeError, match="both must have 3 axes"):
        conv.convolution(X, normal_array(8, 4, 6, 1), None, (1,), [(0, 0)], (1,))
    with pytest.raises(ShapeError, match=r"expected bias to be 1-dimensional with 8 elements"):
        conv.convolution(X, normal_array(8, 4, 2), normal_array(3), (1,), [(0, 0)], (1,))


# ---- pooling -----------------------------------------------------------------------------------------------

POOLS = [
    # shape, kernel, stride, padding, dilation
    ((2, 3, 9), (3,), (2,), (1,), (1,)),
    ((2, 3, 10), (2,), (3,), (0,), (2,)),
    ((2, 3, 7, 8), (3, 2), (2, 2), (1, 0), (1, 1)),
    ((3, 7, 8), (2, 3), (1, 2), (1, 1), (2, 1)),
    ((1, 2, 4, 5, 6), (2, 2, 3), (2, 1, 2), (1, 0, 1), (1, 1, 1)),
]


@pytest.mark.parametrize("ceil", [False, True])
@pytest.mark.parametrize(("shape", "kernel", "stride", "padding", "dilation"), POOLS)
def test_max_pool(
    torch: ModuleType, shape: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil: bool
) -> None:
    theirs = getattr(torch.nn.functional, f"max_pool{len(kernel)}d")
    smooth, tied = normal_array(*shape), RANDOM.integers(0, 2, shape).astype(float)
    for x in (smooth, tied):
        check_peer(
            lambda x: pool.max_pool(x, kernel, stride, padding, dilation, ceil),
            lambda x: theirs(x, kernel, stride, padding, dilation, ceil),
            x,
        )
        check_peer(
            lambda x: pool.max_pool_indices(x, kernel, stride, padding, dilation, ceil),
            lambda x: theirs(x.detach(), kernel, stride, padding, dilation, ceil, return_indices=True)[1],
            x,
        )
    check_slopes(lambda x: pool.max_pool(x, kernel, stride, padding, dilation, ceil), smooth)


POOLS_OF_SPECIAL_VALUES = [(2, 2, 0), (3, 2, 1), (3, 1, 1), (1, 1, 0), (7, 7, 0)]


@pytest.mark.parametrize(("kernel", "stride", "padding"), POOLS_OF_SPECIAL_VALUES)
def test_max_pool_of_nan_and_infinity(torch: ModuleType, kernel: int, stride: int, padding: int) -> None:
    x = RANDOM.choice([-np.inf, np.nan, 0.0, 1.0, np.inf], (3, 2, 9, 10))
    x[2] = -np.inf
    arguments = (kernel,) * 2, (stride,) * 2, (padding,) * 2, (1, 1)
    theirs = torch.tensor(x, requires_grad=True)
    expected, places = torch.nn.functional.max_pool2d(theirs, *arguments, return_indices=True)
    expected.sum().backward()
    (mine,) = gradient(lambda x: pool.max_pool(x, *arguments), [x])(x, np.ones(expected.shape))
    np.testing.assert_array_equal(pool.max_pool(x, *arguments), expected.detach())
    if kernel < 7:  # of several NaN, windows reduced along an axis take the first
        np.testing.assert_array_equal(pool.max_pool_indices(x, *arguments), places)
        np.testing.assert_array_equal(mine, theirs.grad)


@pytest.mark.parametrize("ceil", [False, True])
@pytest.mark.parametrize("counted", [False, True])
@pytest.mark.parametrize("divisor", [0, 5])
@pytest.mark.parametrize(("shape", "kernel", "stride", "padding", "dilation"), POOLS)
def test_avg_pool(
    torch: ModuleType,
    shape: Any,
    kernel: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil: bool,
    counted: bool,
    divisor: int,
) -> None:
    theirs = getattr(torch.nn.functional, f"avg_pool{len(kernel)}d")
    override = {"divisor_override": divisor} if divisor and len(kernel) > 1 else {}
    check(
        lambda x: pool.avg_pool(x, kernel, stride, padding, ceil, counted, divisor if override else 0),
        lambda x: theirs(x, kernel, stride, padding, ceil, counted, **override),
        normal_array(*shape),
        second=False,
    )


@pytest.mark.parametrize("places", [(2, 4), (3, 5), (1, 1), (7, 8)])
def test_adaptive_pools(torch: ModuleType, places: tuple[int, ...]) -> None:
    functional = torch.nn.functional
    x = normal_array(2, 3, 6, 8)
    check(
        lambda x: adaptive.adaptive_avg_pool(x, places),
        lambda x: functional.adaptive_avg_pool2d(x, places),
        x,
        second=False,
    )
    check(
        lambda x: adaptive.adaptive_max_pool(x, places),
        lambda x: functional.adaptive_max_pool2d(x, places),
        x,
        second=False,
    )


def test_wrong_arguments_of_pools_are_refused() -> None:
    with pytest.raises(ArgumentError, match="pad should be at most half of effective kernel size"):
        pool.max_pool(X, (2,), (1,), (2,), (1,))
    with pytest.raises(ShapeError, match="Output size is too small"):
        pool.max_pool(X, (9,), (1,), (0,), (1,))


@pytest.mark.parametrize(
    "call",
    [
        "F.l1_loss(x, y)", "F.nll_loss(x, k)", "F.cross_entropy(x, p)", "F.rms_norm(x, (211,))",
        "F.binary_cross_entropy_with_logits(x, p)", "rg.logsumexp(x, 1)", "rg.logsumexp(x, 0)",
        "F.kl_div(x, p, reduction='sum')", "F.gaussian_nll_loss(x, y, p)", "F.cosine_similarity(x, y)",
        "F.normalize(x)",
    ],
)  # fmt: skip
def test_the_first_call_has_the_bits_of_all_others(call: str) -> None:
    """Also where the op is no one kernel: its formula is done line by line from the first time on."""
    generator = np.random.default_rng(2)
    x, y = (rg.tensor(generator.normal(size=(67, 211)).astype("f")) for _ in range(2))
    p, k = rg.tensor(generator.random((67, 211)).astype("f")), rg.tensor(generator.integers(0, 211, 67))
    found = [eval(call, {"rg": rg, "F": rg.nn.functional, "x": x, "y": y, "p": p, "k": k}) for _ in range(5)]
    assert len({each.numpy().tobytes() for each in found}) == 1
