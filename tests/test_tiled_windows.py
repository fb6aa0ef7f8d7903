"""Convolutions on tiles of bfloat16 against NumPy in f64: shapes, strides, edges, what is done with the sums;
numbers that tiles cannot hold; threads. Skipped where the processor has no such tiles."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from native import Array, build, graph_of
from numpy.lib.stride_tricks import sliding_window_view

from retrograd.compiler.backends.cpu import Target
from retrograd.compiler.ir.graph import OPS, Node, Op, apply
from retrograd.compiler.ops.convolution import TransposedConvolution, convolution
from retrograd.compiler.pipeline import compile_graph
from retrograd.runtime.native import cpu

HOST = Target.host()
PLAIN = HOST.without("amx-tile")
UNIT = 2.0**-24
"""Half the distance of 1 to the next number."""

Pair = tuple[int, int]

pytestmark = pytest.mark.skipif(not HOST.tiles, reason="the processor has no tiles of bfloat16 (AMX)")


@pytest.fixture
def threads() -> Iterator[None]:
    before = cpu.get_num_threads()
    yield
    cpu.set_num_threads(before)


def row(name: str, *values: Node | float) -> Node:
    op = OPS[name]
    assert isinstance(op, Op)
    value: Node = apply(op, *values)
    return value


def operands(x: tuple[int, ...], w: tuple[int, ...]) -> tuple[Array, Array]:
    random = np.random.default_rng([*x, *w])
    return random.standard_normal(x).astype("f4"), random.standard_normal(w).astype("f4")


def convolved(
    stride: Pair = (1, 1), padding: Pair = (0, 0), dilation: Pair = (1, 1), groups: int = 1
) -> Callable[[Node, Node], Node]:
    pads = [(p, p) for p in padding]
    return lambda x, w: convolution(x, w, None, stride, pads, dilation, groups)


def exactly(
    x: Array,
    w: Array,
    stride: Pair = (1, 1),
    padding: Pair = (0, 0),
    dilation: Pair = (1, 1),
    groups: int = 1,
) -> Array:
    """The convolution in float64."""
    grown = np.pad(x.astype("f8"), [(0, 0), (0, 0), *((p, p) for p in padding)])
    spans = [d * (k - 1) + 1 for k, d in zip(w.shape[2:], dilation)]
    seen = sliding_window_view(grown, spans, axis=(2, 3))
    seen = seen[:, :, :: stride[0], :: stride[1], :: dilation[0], :: dilation[1]]
    images, kernels = np.split(seen, groups, 1), np.split(w.astype("f8"), groups)
    return np.concatenate(
        [np.tensordot(i, k, [(1, 4, 5), (1, 2, 3)]) for i, k in zip(images, kernels)], -1
    ).transpose(0, 3, 1, 2)


def is_tiled(formula: Callable[..., Node], *arrays: Array) -> bool:
    """Is the program told to use tiles?"""
    return "retrograd_windows" in compile_graph(graph_of(formula, *arrays), HOST).llvm


def run(formula: Callable[..., Node], *arrays: Array, target: Target = HOST) -> Array:
    (ours,) = build(graph_of(formula, *arrays), target)(*arrays)
    return ours


# ---- shapes ------------------------------------------------------------------------------------------------

SHAPES = {
    "lines of two tiles": ((2, 64, 32, 32), (64, 64, 3, 3), {"padding": (1, 1)}),
    "lines of a tile": ((4, 64, 16, 16), (64, 64, 3, 3), {"padding": (1, 1)}),
    "tiles from line to line": ((3, 64, 14, 14), (96, 64, 3, 3), {"padding": (1, 1)}),
    "narrow images": ((8, 96, 7, 7), (100, 96, 3, 3), {"padding": (1, 1)}),
    "odd sizes": ((6, 48, 20, 23), (72, 48, 3, 3), {"padding": (1, 1)}),
    "channels that fill no tile": ((2, 60, 40, 40), (49, 60, 3, 3), {"padding": (1, 1)}),
    "no padding": ((1, 64, 40, 40), (64, 64, 3, 3), {}),
    "much padding": ((1, 64, 30, 31), (64, 64, 3, 5), {"padding": (2, 4)}),
    "a stride": ((2, 64, 33, 31), (64, 64, 3, 3), {"stride": (2, 2), "padding": (1, 1)}),
    "a stride down": ((2, 64, 32, 32), (64, 64, 3, 3), {"stride": (2, 1), "padding": (1, 1)}),
    "a stride across": ((2, 64, 32, 32), (64, 64, 3, 3), {"stride": (1, 3), "padding": (1, 1)}),
    "an even kernel": ((2, 64, 32, 32), (64, 64, 4, 4), {"stride": (2, 2), "padding": (1, 1)}),
    "dilation": ((1, 64, 40, 40), (64, 64, 3, 3), {"dilation": (2, 3), "padding": (2, 3)}),
    "a stride and dilation": ((2, 64, 41, 40), (64, 64, 3, 3), {"stride": (2, 2), "dilation": (2, 3)}),
    "groups": ((2, 128, 28, 28), (128, 64, 3, 3), {"padding": (1, 1), "groups": 2}),
    "bands": ((1, 32, 100, 90), (32, 32, 5, 5), {"padding": (2, 2)}),
    "a line": ((2, 64, 24, 24), (64, 64, 1, 3), {}),
    "a line with padding": ((2, 64, 24, 24), (64, 64, 1, 3), {"padding": (0, 1)}),
    "a column": ((2, 64, 24, 24), (64, 64, 3, 1), {}),
    "a column with padding": ((2, 64, 24, 24), (64, 64, 3, 1), {"padding": (1, 0)}),
    "many channels": ((4, 256, 14, 14), (256, 256, 3, 3), {"padding": (1, 1)}),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_errors_are_those_of_a_sum_in_float32(shape: str) -> None:
    x_shape, w_shape, more = SHAPES[shape]
    x, w = operands(x_shape, w_shape)
    formula = convolved(**more)
    assert is_tiled(formula, x, w)
    exact, size = exactly(x, w, **more), exactly(np.abs(x), np.abs(w), **more)
    ours, plain = (np.abs(run(formula, x, w, target=t) - exact) / (size * UNIT) for t in (HOST, PLAIN))
    assert ours.max() <= 4
    assert ours.max() <= 1.2 * plain.max()


@pytest.mark.parametrize("stride", [1, 2])
def test_the_gradient_of_the_image(stride: int) -> None:
    x, w = operands((2, 64, 30, 34), (96, 64, 3, 3))
    places = (2, 96, *(-(-n // stride) for n in x.shape[2:]))
    g = np.random.default_rng(1).standard_normal(places).astype("f4")
    op = TransposedConvolution((stride, stride), (1, 1), 1, (1, 1), (stride - 1, stride - 1))
    assert is_tiled(lambda a, b: apply(op, a, b), g, w)
    spread = np.zeros((2, 96, x.shape[2] + stride - 1, x.shape[3] + stride - 1), "f4")[:, :, :30, :34]
    spread[:, :, ::stride, ::stride] = g
    exact = exactly(spread, w.swapaxes(0, 1)[:, :, ::-1, ::-1], padding=(1, 1))
    ours = run(lambda a, b: apply(op, a, b), g, w)
    np.testing.assert_allclose(ours, exact, rtol=1e-5, atol=2e-5 * exact.std())


def test_a_line_of_places_alone() -> None:
    """A convolution over one axis."""
    random = np.random.default_rng(2)
    x, w = (random.standard_normal(shape).astype("f4") for shape in ((3, 64, 300), (64, 64, 5)))

    def formula(a: Node, b: Node) -> Node:
        return convolution(a, b, None, (2,), [(2, 2)], (1,))

    assert is_tiled(formula, x, w)
    exact = exactly(x[:, :, None], w[:, :, None], stride=(1, 2), padding=(0, 2))[:, :, 0]
    np.testing.assert_allclose(run(formula, x, w), exact, rtol=1e-5, atol=1e-4)


def test_too_little_to_do_few_channels_and_float64_are_as_on_other_processors() -> None:
    formula = convolved(padding=(1, 1))
    assert not is_tiled(formula, *operands((1, 32, 8, 8), (32, 32, 3, 3)))
    assert not is_tiled(formula, *operands((4, 3, 64, 64), (64, 3, 3, 3)))
    assert not is_tiled(formula, *operands((4, 64, 64, 64), (5, 64, 3, 3)))
    assert not is_tiled(formula, *(a.astype("f8") for a in operands((4, 64, 32, 32), (64, 64, 3, 3))))


# ---- what follows the sums ---------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", ["lines of two tiles", "odd sizes", "bands", "groups", "a stride"])
def test_what_follows_the_sums(shape: str) -> None:
    x_shape, w_shape, more = SHAPES[shape]
    x, w = operands(x_shape, w_shape)
    (bias,) = np.random.default_rng(3).standard_normal((1, w_shape[0], 1, 1)).astype("f4")

    def formula(a: Node, b: Node, c: Node) -> Node:
        return row("maximum", row("add", convolved(**more)(a, b), c), 0.0)

    assert is_tiled(formula, x, w, bias)
    exact = np.maximum(exactly(x, w, **more) + bias, 0)
    np.testing.assert_allclose(run(formula, x, w, bias), exact, rtol=1e-5, atol=2e-4)


def test_what_is_added_to_an_input_might_be_written_over_it() -> None:
    """Where elements turn out not to be for tiles, all is done anew; so nothing may be lost by then."""
    x, w = operands((2, 64, 32, 32), (64, 64, 3, 3))
    assert not is_tiled(lambda a, b: row("add", a, convolved(padding=(1, 1))(a, b)), x, w)


# ---- what is exact, and what tiles cannot hold -------------------------------------------------------------


def test_a_kernel_of_a_single_one_gives_the_image_bit_for_bit() -> None:
    x, w = operands((2, 64, 20, 30), (64, 64, 3, 3))
    x *= np.exp2(np.random.default_rng(4).integers(-90, 100, x.shape)).astype("f4")
    w[:] = 0
    w[range(64), range(64), 1, 1] = 1
    formula = convolved(padding=(1, 1))
    assert is_tiled(formula, x, w)
    assert (run(formula, x, w) == x).all()


STRANGE = {
    "nan": np.nan,
    "infinity": np.inf,
    "the greatest": np.finfo("f4").max,
    "subnormal": 1e-40,
    "small": 2.0**-110,
}


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("value", STRANGE)
@pytest.mark.parametrize(("side", "place"), [(0, (0, 0, 0, 0)), (0, (2, 79, 13, 20)), (1, (95, 79, 2, 2))])
def test_one_strange_element_and_all_is_as_on_other_processors(
    value: str, side: int, place: tuple[int, ...]
) -> None:
    pair = operands((3, 80, 14, 21), (96, 80, 3, 3))
    formula = convolved(padding=(1, 1))
    assert is_tiled(formula, *pair)
    pair[side][place] = STRANGE[value]
    for count in (1, 2):
        cpu.set_num_threads(count)
        with np.errstate(all="ignore"):
            assert run(formula, *pair).tobytes() == run(formula, *pair, target=PLAIN).tobytes()


def test_a_strange_element_with_what_follows() -> None:
    x, w = operands((3, 64, 20, 20), (64, 64, 3, 3))
    x[2, 5, 9, 9] = np.nan

    def formula(a: Node, b: Node) -> Node:
        return row("mul", convolved(padding=(1, 1))(a, b), 2.0)

    assert is_tiled(formula, x, w)
    ours = run(formula, x, w)
    assert ours.tobytes() == run(formula, x, w, target=PLAIN).tobytes()
    assert np.isnan(ours[2, :, 8:11, 8:11]).all()
    assert np.isnan(ours).sum() == 64 * 9


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("shape", ["lines of a tile", "odd sizes", "bands", "many channels", "groups"])
def test_threads_do_not_change_a_bit(shape: str) -> None:
    x_shape, w_shape, more = SHAPES[shape]
    x, w = operands(x_shape, w_shape)
    call, results = build(graph_of(convolved(**more), x, w), HOST), []
    for count in (1, 2, 5):
        cpu.set_num_threads(count)
        results += [call(x, w)[0].tobytes() for _ in range(2)]
    assert len(set(results)) == 1
