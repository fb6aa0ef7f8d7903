"""Convolutions in machine code against PyTorch in f64: value, gradients and what follows them, lines around
each edge of vectors and tiles, threads. A new kind of window is a row of `CASES`."""

from __future__ import annotations

import re
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from gradients import gradient
from native import Array, Program, build, graph_of

import retrograd
from retrograd.compiler.errors import ShapeError
from retrograd.compiler.ir.graph import Graph, Node, Value
from retrograd.compiler.ops.convolution import convolution, transposed_convolution
from retrograd.compiler.ops.pool import max_pool
from retrograd.compiler.ops.rows import rows
from retrograd.compiler.ops.shape import slice_
from retrograd.compiler.passes.crop import crop
from retrograd.runtime.native import cpu

CASES = [
    # x, w, stride, padding, dilation, groups
    ((2, 1, 28, 28), (16, 1, 3, 3), (1, 1), (0, 0), (1, 1), 1),
    ((3, 4, 19, 21), (13, 4, 3, 3), (1, 1), (1, 1), (1, 1), 1),
    ((2, 3, 33, 40), (7, 3, 5, 4), (1, 2), (2, 0), (1, 1), 1),
    ((2, 3, 33, 41), (8, 3, 3, 3), (2, 2), (1, 1), (1, 1), 1),
    ((1, 2, 24, 50), (4, 2, 3, 3), (3, 3), (1, 1), (2, 2), 1),
    ((2, 6, 20, 17), (9, 2, 3, 3), (1, 1), (1, 1), (2, 1), 3),
    ((2, 8, 18, 18), (8, 1, 3, 3), (1, 1), (1, 1), (1, 1), 8),
    ((2, 5, 7, 7), (6, 5, 3, 3), (1, 1), (1, 1), (1, 1), 1),
    ((3, 5, 12, 14), (6, 5, 1, 1), (1, 1), (0, 0), (1, 1), 1),
    ((2, 4, 32, 32), (6, 4, 4, 4), (4, 4), (0, 0), (1, 1), 1),
    ((2, 3, 100), (5, 3, 7), (1,), (3,), (1,), 1),
    ((2, 4, 61), (6, 2, 3), (2,), (0,), (3,), 2),
    ((1, 2, 6, 18, 20), (4, 2, 2, 3, 3), (1, 1, 1), (0, 1, 1), (1, 1, 1), 1),
    ((1, 1, 3, 3), (1, 1, 3, 3), (1, 1), (0, 0), (1, 1), 1),
    ((64, 3, 20, 20), (17, 3, 3, 3), (1, 1), (0, 0), (1, 1), 1),
    # vectors of channels: of narrow images, and of gradients of weights
    ((4, 16, 9, 7), (32, 16, 3, 3), (1, 1), (1, 1), (1, 1), 1),
    ((16, 32, 8, 8), (48, 32, 3, 3), (1, 1), (1, 1), (1, 1), 1),
    ((2, 16, 4, 4), (16, 16, 3, 3), (1, 1), (1, 1), (1, 1), 1),
    ((2, 16, 31, 33), (7, 16, 3, 3), (2, 2), (1, 1), (1, 1), 1),
    ((2, 32, 12, 10), (32, 16, 3, 2), (1, 1), (1, 0), (2, 1), 2),
    ((3, 16, 20), (16, 16, 5), (1,), (2,), (1,), 1),
    ((2, 16, 5, 6, 7), (16, 16, 3, 3, 3), (1, 1, 1), (1, 1, 1), (1, 1, 1), 1),
    ((6, 32, 14, 14), (48, 32, 1, 1), (1, 1), (0, 0), (1, 1), 1),
    ((6, 16, 13, 15), (32, 16, 1, 1), (2, 2), (0, 0), (1, 1), 1),
    ((40, 16, 30, 30), (8, 16, 3, 3), (1, 1), (1, 1), (1, 1), 1),
]
IDS = ["-".join("x".join(map(str, shape)) for shape in case[:2]) + f"-{case[2][0]}" for case in CASES]


def arrays(*shapes: tuple[int, ...], dtype: str = "float64") -> list[Array]:
    random = np.random.default_rng(sum(map(sum, shapes)))
    return [random.standard_normal(shape).astype(dtype) for shape in shapes]


def network(x: Value, w: Value, b: Value, case: Any) -> Value:
    """A convolution, and what often comes after it."""
    _, _, stride, padding, dilation, groups = case
    out = convolution(x, w, b, stride, [(p, p) for p in padding], dilation, groups)
    return rows.maximum(out, 0.1 * out)


def joint(case: Any, inputs: list[Array]) -> Program:
    """The network's value and its gradients as one program, of the inputs and a cotangent."""
    graph = graph_of(lambda *values: network(*values, case), *inputs)
    (out,) = graph.outputs
    cotangent = out.builder.input("cotangent", out.type)
    nodes = (*graph.inputs, cotangent)
    slopes = gradient(lambda *values: network(*values, case), inputs)(*nodes)
    return build(Graph("f", nodes, (out, *(g for g in slopes if isinstance(g, Node)))))


def peers(torch: ModuleType, case: Any, inputs: list[Array], cotangent: Array) -> list[Array]:
    """The same by PyTorch, in f64."""
    _, _, stride, padding, dilation, groups = case
    x, w, b = (torch.tensor(a.astype("f8"), requires_grad=True) for a in inputs)
    function = getattr(torch.nn.functional, f"conv{len(stride)}d")
    out = function(x, w, b, stride, padding, dilation, groups)
    out = torch.maximum(out, 0.1 * out)
    out.backward(torch.tensor(cotangent.astype("f8")))
    return [out.detach().numpy(), *(t.grad.numpy() for t in (x, w, b))]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_convolutions_and_their_gradients(torch: ModuleType, case: Any, dtype: str) -> None:
    inputs = arrays(case[0], case[1], case[1][:1], dtype=dtype)
    shape = network(*inputs, case).shape
    (cotangent,) = arrays(shape, dtype=dtype)
    found = joint(case, inputs)(*inputs, cotangent)
    tolerance = 1e-12 if dtype == "float64" else 2e-5
    for mine, theirs in zip(found, peers(torch, case, inputs, cotangent), strict=True):
        assert (mine.shape, mine.dtype) == (theirs.shape, dtype)
        np.testing.assert_allclose(mine, theirs, rtol=tolerance, atol=tolerance * np.abs(theirs).max())


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_transposed_convolutions(torch: ModuleType, stride: int) -> None:
    x, w = arrays((2, 3, 19, 20), (3, 5, 3, 4))
    settings = (stride, stride), (1, 0), (stride - 1, 0), (1, 1)
    (ours,) = build(graph_of(lambda x, w: transposed_convolution(x, w, None, *settings), x, w))(x, w)
    tensors = [torch.tensor(a) for a in (x, w)]
    theirs = torch.nn.functional.conv_transpose2d(*tensors, None, *settings[:3])
    np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)


def test_a_cotangent_of_ones_is_padded(torch: ModuleType) -> None:
    x, w = arrays((2, 3, 20, 20), (4, 3, 3, 3))
    ones = np.ones((2, 4, 20, 20))

    def slopes(x: Node, w: Node) -> list[Value | None]:
        padding = [(1, 1), (1, 1)]
        return gradient(lambda x, w: convolution(x, w, None, (1, 1), padding, (1, 1)), arrays_)(x, w, ones)

    arrays_ = [x, w]
    found = build(graph_of(slopes, x, w))(x, w)
    tensors = [torch.tensor(a, requires_grad=True) for a in (x, w)]
    torch.nn.functional.conv2d(*tensors, padding=1).sum().backward()
    for mine, theirs in zip(found, tensors, strict=True):
        np.testing.assert_allclose(mine, theirs.grad, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("case", [CASES[14], CASES[16], CASES[-1]], ids=lambda case: IDS[CASES.index(case)])
def test_threads_do_not_change_a_bit(case: Any) -> None:
    inputs = arrays(case[0], case[1], case[1][:1], dtype="float32")
    (cotangent,) = arrays(network(*inputs, case).shape, dtype="float32")
    program = joint(case, inputs)
    before, results = cpu.get_num_threads(), []
    for threads in (1, 2, 4):
        cpu.set_num_threads(threads)
        results.append(program(*inputs, cotangent))
    cpu.set_num_threads(before)
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("case", CASES[15:17], ids=IDS[15:17])
def test_what_is_not_finite_stays_where_it_is(torch: ModuleType, case: Any) -> None:
    inputs = arrays(case[0], case[1], case[1][:1], dtype="float32")
    (cotangent,) = arrays(network(*inputs, case).shape, dtype="float32")
    inputs[0][1, 3, 2, 2], inputs[0][0, 5, 0, 0], cotangent[1, 2, 3, 3] = np.inf, np.nan, -np.inf
    found = joint(case, inputs)(*inputs, cotangent)
    for mine, theirs in zip(found, peers(torch, case, inputs, cotangent), strict=True):
        finite = np.isfinite(theirs)
        np.testing.assert_array_equal(mine[~finite], theirs[~finite].astype("f4"))
        np.testing.assert_allclose(mine[finite], theirs[finite], rtol=2e-5, atol=1e-3)


def test_a_training_step_writes_no_windows_out() -> None:
    """What a convolution copies is never as large as all of its windows."""
    inputs = arrays((8, 4, 28, 28), (16, 4, 3, 3), dtype="float32")

    def loss(x: Value, w: Value) -> Value:
        hidden = rows.maximum(convolution(x, w, None, (1, 1), [(0, 0)] * 2, (1, 1)), 0.0)
        return max_pool(hidden, (2, 2), (2, 2), (0, 0), (1, 1))

    shape = loss(*inputs).shape
    (cotangent,) = arrays(shape, dtype="float32")
    graph = graph_of(loss, *inputs)
    slot = graph.outputs[0].builder.input("cotangent", graph.outputs[0].type)
    slopes = gradient(loss, inputs)(*graph.inputs, slot)
    program = build(Graph("f", (*graph.inputs, slot), (graph.outputs[0], slopes[1])))
    program(*inputs, cotangent)
    assert "panels" not in str(program.compiled.loops)
    assert program.compiled.loops.arena_bytes < 3 * 8 * 16 * 26 * 26 * 4


def test_a_convolution_of_another_reads_its_result_through_windows(torch: ModuleType) -> None:
    """What one stores for all images of a channel is affine to the next one, also beyond the margin."""
    x, w, v = arrays((3, 4, 20, 22), (6, 4, 3, 3), (5, 6, 3, 3))
    margin = [(1, 1)] * 2

    def twice(x: Value, w: Value, v: Value) -> Value:
        return convolution(convolution(x, w, None, (1, 1), margin, (1, 1)), v, None, (1, 1), margin, (1, 1))

    program = build(graph_of(twice, x, w, v))
    assert "panel" not in str(program.compiled.loops)
    theirs = torch.from_numpy(x)
    for each in (w, v):
        theirs = torch.nn.functional.conv2d(theirs, torch.from_numpy(each), padding=1)
    np.testing.assert_allclose(program(x, w, v)[0], theirs, rtol=1e-12, atol=1e-12)


def test_places_of_extrema_are_stored_within_their_bounds(torch: ModuleType) -> None:
    """Rows of six bytes, in a function of more masks than AVX-512 has registers for: LLVM 22 stored whatever
    the spilled mask's register had held beyond the last row, into the weights that lay there."""
    random = np.random.default_rng(0)
    shapes = (8, 2, 12, 12), (2, 1, 1, 1), (2, 3, 1, 3)
    arrays = [random.standard_normal(shape).astype(np.float32) for shape in shapes]

    def loss(t: Any, x: Any, w: Any, v: Any) -> Any:
        f = t.nn.functional
        x = f.conv_transpose2d(f.max_pool2d(x, (1, 2), (2, 2)), w / 2, groups=2)
        return (f.conv_transpose2d(x, v / 2) * 0.7).tanh().mean()

    leaves = [torch.tensor(a, dtype=torch.float64, requires_grad=True) for a in arrays]
    wanted = loss(torch, *leaves)
    wanted.backward()
    ours = [retrograd.tensor(a, requires_grad=True) for a in arrays]
    value, gradients = retrograd.compile_grad(partial(loss, retrograd)).value_and_grad(*ours)
    assert value.item() == pytest.approx(wanted.item(), rel=1e-5)
    for gradient_, leaf in zip(gradients, leaves):
        np.testing.assert_allclose(gradient_, leaf.grad, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("compiled", [False, True])
def test_other_channels_are_refused_of_the_input_as_given(torch: ModuleType, compiled: bool) -> None:
    def padded(t: ModuleType, x: Any, w: Any) -> Any:
        return t.nn.functional.conv2d(x, w, padding=1)

    with pytest.raises(RuntimeError) as theirs:
        padded(torch, torch.ones(2, 16, 4, 4), torch.ones(32, 8, 3, 3))
    ours = partial(padded, retrograd)
    with pytest.raises(ShapeError, match=re.escape(str(theirs.value))):
        (retrograd.compile(ours) if compiled else ours)(
            retrograd.ones(2, 16, 4, 4), retrograd.ones(32, 8, 3, 3)
        )


@pytest.mark.parametrize("images", [1, 3])
@pytest.mark.parametrize(("kernel", "padding"), [(3, 1), (1, 0)])
def test_what_follows_a_convolution_of_images_joins_its_loops(images: int, kernel: int, padding: int) -> None:
    x, w, b = arrays((images, 5, 15, 17), (12, 5, kernel, kernel), (12,))

    def activated(x: Value, w: Value, b: Value) -> Value:
        return rows.maximum(convolution(x, w, b, (1, 1), [(padding, padding)] * 2, (1, 1)), 0.0)

    program = build(graph_of(activated, x, w, b))
    assert len(program.compiled.loops.kernels) == 1
    np.testing.assert_allclose(program(x, w, b)[0], activated(x, w, b), rtol=1e-12, atol=1e-12)


def test_margins_of_gradients_are_not_computed(torch: ModuleType) -> None:
    """A slice of a transposed convolution that nothing else reads is one of fewer places."""
    x, w = arrays((2, 3, 9, 11), (3, 4, 3, 2))

    def part(x: Value, w: Value) -> Value:
        whole = transposed_convolution(x, w, None, (2, 1), (1, 0), (1, 0), (1, 2))
        return slice_(whole, (0, 0, 1, 3), (2, 4, 16, 12), (1, 1, 1, 1))

    graph = graph_of(part, x, w)
    cropped = crop(graph)
    assert [node.op.name for node in cropped.nodes if node.inputs] == ["transposed_convolution"]
    whole = torch.nn.functional.conv_transpose2d(
        torch.from_numpy(x), torch.from_numpy(w), None, (2, 1), (1, 0), (1, 0), 1, (1, 2)
    )
    np.testing.assert_allclose(build(graph)(x, w)[0], whole[:, :, 1:16, 3:12], rtol=1e-12, atol=1e-12)
    both = Graph("f", graph.inputs, (*graph.outputs, graph.outputs[0].inputs[0]))
    assert crop(both) is both
