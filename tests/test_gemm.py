"""Products in machine code against NumPy in f64: every layout, sizes around each edge, batches, threads."""

from __future__ import annotations

import re
from collections.abc import Callable

import native
import numpy as np
import pytest
from native import Array, build, graph_of

from retrograd.compiler.backends.cpu import Target, assembly
from retrograd.compiler.backends.meeting import PARTS
from retrograd.compiler.backends.routines import routine
from retrograd.compiler.ir.graph import OPS, Node, Op, apply
from retrograd.compiler.ops.contract import dot, transpose
from retrograd.compiler.ops.reduce import sum_
from retrograd.compiler.ops.shape import expand, reshape
from retrograd.compiler.pipeline import compile_graph
from retrograd.runtime.native import cpu

HOST = Target.host()
EDGES = [1, 2, 3, 7, 8, 15, 16, 17, 31, 33, 64, 65, 100]
LAYOUTS = ["NN", "NT", "TN", "TT"]
Shape = tuple[int, ...]


def operands(layout: str, m: int, k: int, n: int, dtype: str, batch: Shape = ()) -> tuple[Array, Array]:
    """Two random arrays, each as it lies in memory: transposed where the layout says T."""
    random = np.random.default_rng(m * 10007 + k * 101 + n)
    shapes = ((m, k) if layout[0] == "N" else (k, m), (k, n) if layout[1] == "N" else (n, k))
    a, b = (random.standard_normal((*batch, *shape)).astype(dtype) for shape in shapes)
    return a, b


def row(name: str, *operands: Node | float) -> Node:
    """One elementwise row."""
    op = OPS[name]
    assert isinstance(op, Op)
    value: Node = apply(op, *operands)
    return value


def product(layout: str, a: Node, b: Node) -> Node:
    left, right = (transpose(x) if side == "T" else x for x, side in zip((a, b), layout))
    value: Node = dot(left, right)
    return value


def check(layout: str, a: Array, b: Array, target: Target = HOST) -> Array:
    """The product, within the error of a sum in any order, of which each step rounds once."""
    (ours,) = build(graph_of(lambda x, y: product(layout, x, y), a, b), target)(a, b)
    left, right = (x.swapaxes(-1, -2) if side == "T" else x for x, side in zip((a, b), layout))
    exact = left.astype("f8") @ right.astype("f8")
    size = np.abs(left).astype("f8") @ np.abs(right).astype("f8")
    bound = (4 + left.shape[-1] ** 0.5) * np.finfo(ours.dtype).eps
    assert (np.abs(ours - exact) <= bound * size).all()
    return ours


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("seed", range(8))
def test_sizes_around_every_edge(layout: str, seed: int) -> None:
    m, k, n = np.random.default_rng([seed, LAYOUTS.index(layout)]).choice(EDGES, 3)
    check(layout, *operands(layout, m, k, n, "f4"))
    check(layout, *operands(layout, n, k, m, "f8"))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    "shape", [(1, 300, 200), (200, 300, 1), (1, 300, 1), (1, 7, 1), (300, 1, 200), (1, 1, 1)]
)
def test_vectors(layout: str, shape: Shape) -> None:
    check(layout, *operands(layout, *shape, "f4"))


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("layout", ["NN", "TT"])
@pytest.mark.parametrize("rows", [2, 7, 8, 9, 1001])
@pytest.mark.parametrize("inner", [64, 71, 1000])
@pytest.mark.parametrize("batch", [(), (70,)])
def test_a_matrix_by_a_vector_is_the_librarys(
    rows: int, inner: int, layout: str, dtype: str, batch: Shape
) -> None:
    shape = (rows, inner, 1) if layout == "NN" else (1, inner, rows)
    a, b = operands(layout, *shape, dtype, batch)
    check(layout, a, b)
    assert compile_graph(graph_of(lambda x, y: product(layout, x, y), a, b), HOST).script


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize(
    "shape", [(2, 33000), (17, 33001), (23, 24001), (1000, 1001), (2000, 300), (300, 517)]
)
@pytest.mark.parametrize("batch", [(), (3,)])
def test_a_row_by_a_matrix_read_as_it_lies(shape: Shape, dtype: str, batch: Shape) -> None:
    check("NN", *operands("NN", 1, *shape, dtype, batch))


def test_a_row_by_a_matrix_with_what_follows_it() -> None:
    a, b = operands("NN", 1, 1000, 1001, "f4")
    _, bias = operands("NN", 1, 1, 1001, "f4")
    graph = graph_of(lambda x, y, z: row("maximum", row("add", dot(x, y), z), 0.0), a, b, bias)
    (ours,) = build(graph, HOST)(a, b, bias)
    exact = np.maximum(a.astype("f8") @ b.astype("f8") + bias, 0)
    np.testing.assert_allclose(ours, exact, atol=1e-4, rtol=1e-4)


def test_a_large_matrix_by_a_vector_with_what_follows_it() -> None:
    a, b = operands("NN", 2101, 1030, 1, "f4")
    bias = np.random.default_rng(0).standard_normal((2101, 1)).astype("f4")
    program = build(graph_of(lambda x, y, z: row("maximum", row("add", dot(x, y), z), 0.0), a, b, bias), HOST)
    exact = np.maximum(a.astype("f8") @ b.astype("f8") + bias, 0)
    for _ in range(PARTS + 1):
        np.testing.assert_allclose(program(a, b, bias)[0], exact, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("shape", [(10, 400, 1100), (23, 601, 517), (63, 1001, 333), (2, 3000, 4001)])
def test_few_rows_by_a_matrix_that_is_read_a_few_rows_at_a_time(shape: Shape, dtype: str) -> None:
    a, b = operands("NN", *shape, dtype)
    check("NN", a, b)
    (ours,) = build(graph_of(lambda x, y: row("maximum", dot(x, y), 0.0), a, b), HOST)(a, b)
    np.testing.assert_allclose(
        ours, np.maximum(a.astype("f8") @ b, 0), rtol=0, atol=2e-4 if dtype == "f4" else 1e-12
    )


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(3, 130, 90), (90, 130, 3), (10, 200, 70), (70, 200, 10)])
def test_thin_sides(layout: str, shape: Shape) -> None:
    check(layout, *operands(layout, *shape, "f4"))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(200, 300, 280), (67, 1030, 300), (300, 67, 517), (70, 130, 1100)])
def test_operands_that_are_copied_first(layout: str, shape: Shape) -> None:
    check(layout, *operands(layout, *shape, "f4"))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(1000, 1, 700), (611, 10, 301), (300, 32, 100)])
def test_results_that_are_larger_than_the_operands(layout: str, shape: Shape) -> None:
    check(layout, *operands(layout, *shape, "f4"))
    check(layout, *operands(layout, *shape, "f8"))


def test_only_a_large_result_of_a_short_inner_axis_is_fetched_to_be_written() -> None:
    def fetches(*shape: int) -> bool:
        return "_new" in compile_graph(graph_of(dot, *operands("NN", *shape, "f4")), HOST).llvm

    assert fetches(1000, 10, 1000)
    assert not fetches(100, 10, 100)
    assert not fetches(1000, 90, 1000)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(64, 1000, 100), (50, 3001, 370), (229, 2700, 128)])
def test_inner_axes_that_are_cut_in_pieces(layout: str, shape: Shape) -> None:
    check(layout, *operands(layout, *shape, "f4"))
    check(layout, *operands(layout, *shape, "f8"))


def test_a_block_longer_than_its_side_reads_nothing_by_chance() -> None:
    a, b = operands("NT", 64, 10, 100, "f2")
    wide = Target.of("x86_64-unknown-linux-gnu", "x86-64-v4", "+avx512vl")
    loops = compile_graph(graph_of(lambda x, y: product("NT", x, y), a, b), wide).loops
    assert "for j in 12 vector {\n          panel[112*k + j + 100] = 0\n" in str(loops)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    "target", [HOST.narrowed(), HOST.without("avx512f", "avx512vl", "avx2", "avx", "fma")]
)
def test_narrower_vectors(layout: str, target: Target) -> None:
    check(layout, *operands(layout, 35, 70, 37, "f4"), target)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("batch", [(1,), (3,), (2, 1, 5), (150,)])
def test_batches(layout: str, batch: Shape) -> None:
    check(layout, *operands(layout, 9, 20, 33, "f4", batch))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_batch_that_threads_share_and_of_which_each_product_copies_its_operands(layout: str) -> None:
    check(layout, *operands(layout, 70, 300, 80, "f4", (6,)))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(50, 3001, 70), (17, 5120, 3), (100, 2048, 100), (128, 2050, 128)])
def test_long_inner_axes_that_threads_share(layout: str, shape: Shape) -> None:
    check(layout, *operands(layout, *shape, "f4"))
    check(layout, *operands(layout, *shape, "f8"))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(200, 210, 190), (40, 2700, 64)])
def test_a_batch_of_products_too_large_for_the_stack(layout: str, shape: Shape) -> None:
    """Threads take different products of the batch at once, so each needs copies of its own."""
    a, b = operands(layout, *shape, "f4", (5,))
    before = cpu.get_num_threads()
    cpu.set_num_threads(4)
    try:
        for _ in range(3):
            check(layout, a, b)
    finally:
        cpu.set_num_threads(before)


@pytest.mark.parametrize("rows", [1, 5])
def test_a_batch_that_shares_its_right_operand(rows: int) -> None:
    a, _ = operands("NN", rows, 20, 33, "f4", (3, 4))
    _, b = operands("NN", rows, 20, 33, "f4")
    graph = graph_of(lambda a, b: row("maximum", dot(a, expand(b, (3, 4, 20, 33))), 0.0), a, b)
    (ours,) = build(graph)(a, b)
    np.testing.assert_allclose(ours, np.maximum(a @ b, 0), rtol=1e-4, atol=1e-5)


def test_an_inner_axis_of_no_elements_gives_zeros() -> None:
    assert (check("NN", *operands("NN", 5, 0, 7, "f4")) == 0).all()


@pytest.mark.parametrize(("m", "n"), [(0, 4), (4, 0)])
def test_a_product_of_no_elements(m: int, n: int) -> None:
    assert check("NN", *operands("NN", m, 3, n, "f4")).shape == (m, n)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    "shape",
    [
        (130, 200, 150),
        (64, 64, 64),
        (200, 80, 16),
        (70, 130, 40),
        (1, 2000, 1000),
        (1, 1900, 1201),
        (2101, 1030, 1),
        (150, 700, 100),
        (90, 2700, 70),
        (200, 3000, 150),
        (300, 20, 300),
        (1100, 611, 130),
    ],
)
def test_threads_do_not_change_a_bit(layout: str, shape: Shape) -> None:
    a, b = operands(layout, *shape, "f4")
    before, results = cpu.get_num_threads(), []
    for threads in (1, 2, 4):
        cpu.set_num_threads(threads)
        results.append(check(layout, a, b).tobytes())
    cpu.set_num_threads(before)
    assert len(set(results)) == 1


def test_an_update_in_place_is_done_once() -> None:
    a, b = operands("NN", 53, 40, 71, "f4")
    w = np.ones((53, 71), np.float32)
    program = build(graph_of(lambda a, b, w: w - 0.5 * dot(a, b), a, b, w))
    expected = w - 0.5 * (a @ b)
    pointers = [x.ctypes.data for x in (a, b, w, w, np.empty(1 << 16, np.uint8))]
    cpu.call(program.library.address(program.compiled.symbol), pointers)
    np.testing.assert_allclose(w, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("shape", [(64, 40, 100), (67, 40, 101), (1000, 64, 100), (3, 5, 33), (64, 200, 10)])
def test_all_parts_of_an_update_share_what_follows(shape: Shape, dtype: str) -> None:
    a, b = operands("NN", *shape, dtype)
    w = np.random.default_rng(2).standard_normal((shape[0], shape[2])).astype(dtype)
    program = build(graph_of(lambda a, b, w: row("maximum", w - dot(a, b), 0.0), a, b, w), HOST)
    (ours,) = program(a, b, w)
    np.testing.assert_allclose(ours, np.maximum(w - a @ b.astype("f8"), 0), rtol=1e-5, atol=1e-4)
    assert program.compiled.llvm.count("i64 %batch, i64 %row, i64 %column") == 1


def test_a_tile_stays_in_registers() -> None:
    a, b = operands("NN", 8, 64, 16, "f4")
    arm = Target.of("aarch64-unknown-linux-gnu", "generic", "+neon")
    script = compile_graph(graph_of(lambda x, y: dot(x, y), a, b), arm).script
    assert script is not None
    (tile,) = (str(word) for word in script.words if str(word).startswith("retrograd_tile"))
    code = assembly(routine(tile, arm.vector_bits), arm)
    (loop,) = re.findall(r"^\.LBB0_\d+:(?:(?!^\.LBB).)*?fmla.*?b\.ne", code, re.MULTILINE | re.DOTALL)
    assert "sp" not in loop


EPILOGUES: dict[str, Callable[[Node, Node, Node], Node | tuple[Node, ...]]] = {
    "relu": lambda p, x, b: row("maximum", p, 0.0),
    "bias and a function": lambda p, x, b: row("tanh", p + b),
    "residual": lambda p, x, b: 0.5 * p + x,
    "both the product and more": lambda p, x, b: (p, row("maximum", p + b, 0.0)),
    "two values": lambda p, x, b: (row("maximum", p, 0.0), p * x),
    "another shape": lambda p, x, b: reshape(p, (p.type.size,)) * 2.0,
    "transposed": lambda p, x, b: transpose(p) + 1.0,
    "used twice": lambda p, x, b: (row("tanh", -p), sum_(p, [0])),
    "a sum": lambda p, x, b: sum_(p * x, [0, 1]),
    "of itself": lambda p, x, b: p * transpose(p) if p.shape[0] == p.shape[1] else p + p,
}


@pytest.mark.parametrize("name", EPILOGUES)
@pytest.mark.parametrize(
    "shape",
    [
        (40, 30, 50),
        (5, 3, 7),
        (48, 20, 48),
        (200, 300, 70),
        (1, 200, 90),
        (1, 600, 900),
        (90, 200, 1),
        (60, 900, 90),
    ],
)
def test_what_follows_a_product_element_by_element(name: str, shape: Shape) -> None:
    a, b = operands("NN", *shape, "f4")
    random = np.random.default_rng(1)
    x = random.standard_normal((shape[0], shape[2])).astype("f4")
    bias = random.standard_normal(shape[2]).astype("f4")
    native.check(
        lambda a, b, x, c: EPILOGUES[name](dot(a, b), x, c), a, b, x, bias, ulps=64, scale=float(shape[1])
    )


def test_a_product_that_only_its_consumer_reads_is_not_stored() -> None:
    a, b = operands("NN", 64, 100, 80, "f4")
    compiled = compile_graph(graph_of(lambda a, b: row("maximum", dot(a, b), 0.0), a, b), HOST)
    assert [kernel.name for kernel in compiled.loops.kernels] == ["dot_maximum"]
    assert not compiled.loops.arena
