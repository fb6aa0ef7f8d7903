"""Products on tiles of bfloat16 against NumPy in f64: layouts, edges, what is done with the sums; numbers
that tiles cannot hold; threads, forks, a system that refuses them. Skipped where the processor has none."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from native import Array, build, graph_of

from retrograd.compiler.backends.cpu import Target
from retrograd.compiler.backends.products.plans import script
from retrograd.compiler.ir.graph import OPS, Node, Op, apply
from retrograd.compiler.ir.loops import Routine
from retrograd.compiler.ops.contract import dot, transpose
from retrograd.compiler.pipeline import compile_graph
from retrograd.runtime.native import cpu

HOST = Target.host()
PLAIN = HOST.without("amx-tile")
LAYOUTS = ["NN", "NT", "TN", "TT"]
UNIT = 2.0**-24
"""Half the distance of 1 to the next number."""

pytestmark = pytest.mark.skipif(not HOST.tiles, reason="the processor has no tiles of bfloat16 (AMX)")


def operands(layout: str, m: int, k: int, n: int, batch: tuple[int, ...] = (), seed: int = 0) -> list[Array]:
    random = np.random.default_rng([m, k, n, seed])
    shapes = ((m, k) if layout[0] == "N" else (k, m), (k, n) if layout[1] == "N" else (n, k))
    return [random.standard_normal((*batch, *shape)).astype("f4") for shape in shapes]


def product(layout: str, a: Node, b: Node) -> Node:
    left, right = (transpose(x) if side == "T" else x for x, side in zip((a, b), layout))
    value: Node = dot(left, right)
    return value


def row(name: str, *values: Node | float) -> Node:
    op = OPS[name]
    assert isinstance(op, Op)
    value: Node = apply(op, *values)
    return value


def is_split(formula: Callable[..., Node], *arrays: Array) -> bool:
    """Is the program told to use tiles?"""
    return "retrograd_amx" in compile_graph(graph_of(formula, *arrays), HOST).llvm


def multiplied(a: Array, b: Array, layout: str = "NN", target: Target = HOST) -> Array:
    (ours,) = build(graph_of(lambda x, y: product(layout, x, y), a, b), target)(a, b)
    return ours


def error(ours: Array, a: Array, b: Array) -> float:
    """The worst error of an element, in units of the sum of its terms' sizes."""
    exact, size = a.astype("f8") @ b.astype("f8"), np.abs(a).astype("f8") @ np.abs(b).astype("f8")
    return float((np.abs(ours - exact) / (size * UNIT)).max())


# ---- sizes and layouts -------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    "shape",
    [
        *((144, 144, 144), (150, 160, 142), (150, 211, 177), (127, 310, 161), (200, 1030, 161)),
        *((128, 128, 128), (320, 31, 300), (700, 200, 90), (144, 2050, 128), (410, 400, 420)),
        *((300, 2200, 290), (290, 1000, 700)),
    ],
)
def test_errors_are_those_of_a_sum_in_float32(layout: str, shape: tuple[int, int, int]) -> None:
    a, b = operands(layout, *shape)
    assert is_split(lambda x, y: product(layout, x, y), a, b)
    left, right = (x.T if side == "T" else x for x, side in zip((a, b), layout))
    worst = error(multiplied(a, b, layout), left, right)
    assert worst <= 4
    assert worst <= 1.2 * error(multiplied(a, b, layout, PLAIN), left, right)


@pytest.mark.parametrize("spread", ["normal", "uniform", "wide", "positive"])
def test_errors_of_other_distributions(spread: str) -> None:
    random = np.random.default_rng(1)
    a, b = operands("NN", 160, 512, 160)
    if spread == "uniform":
        a, b = (random.uniform(-1, 1, x.shape).astype("f4") for x in (a, b))
    if spread == "wide":
        a, b = (x * np.exp2(random.integers(-20, 21, x.shape)).astype("f4") for x in (a, b))
    if spread == "positive":
        a, b = np.abs(a), np.abs(b)
    assert error(multiplied(a, b), a, b) <= 1.2 * error(multiplied(a, b, target=PLAIN), a, b)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(160, 150, 160), (300, 400, 310)])
def test_a_batch_and_what_follows_the_sums(layout: str, shape: tuple[int, int, int]) -> None:
    a, b = operands(layout, *shape, (3,))
    (bias,) = operands("NN", 1, 1, shape[2], ())[1:]

    def formula(x: Node, y: Node, z: Node) -> Node:
        return row("maximum", row("add", product(layout, x, y), z), 0.0)

    assert is_split(formula, a, b, bias)
    (ours,) = build(graph_of(formula, a, b, bias), HOST)(a, b, bias)
    left, right = (x.swapaxes(-1, -2) if side == "T" else x for x, side in zip((a, b), layout))
    np.testing.assert_allclose(ours, np.maximum(left.astype("f8") @ right + bias, 0), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(160, 200, 140), (300, 400, 310)])
def test_a_result_that_lies_with_its_rows_side_by_side(layout: str, shape: tuple[int, int, int]) -> None:
    a, b = operands(layout, *shape)
    graph = graph_of(lambda x, y: transpose(product(layout, x, y)), a, b)
    assert "retrograd_amx" in compile_graph(graph, HOST).llvm
    (ours,) = build(graph, HOST)(a, b)
    left, right = (x.T if side == "T" else x for x, side in zip((a, b), layout))
    assert error(ours.T, left, right) <= 4


def test_small_products_and_float64_are_as_on_other_processors() -> None:
    for a, b in (
        operands("NN", 8, 8, 8),
        operands("NN", 64, 64, 64),
        [x.astype("f8") for x in operands("NN", 128, 128, 128)],
    ):
        assert not is_split(dot, a, b)


def test_what_lies_the_other_way_must_be_larger() -> None:
    for layout in LAYOUTS:
        pair = operands(layout, 96, 96, 96)
        assert is_split(lambda x, y, lies=layout: product(lies, x, y), *pair) == (layout != "TT")


@pytest.mark.parametrize("shape", [(256, 300, 240), (1000, 140, 256), (96, 500, 208)])
@pytest.mark.parametrize("strange", [False, True])
def test_an_update_is_one_part_and_takes_what_tiles_cannot_hold(
    shape: tuple[int, int, int], strange: bool
) -> None:
    a, b = operands("TN", *shape)
    before = operands("NN", shape[0], shape[2], 1)[0]
    if strange:
        a[7, 5] = 2.0**-110

    def formula(x: Node, y: Node, z: Node) -> Node:
        return row("sub", z, row("mul", product("TN", x, y), 0.5))

    graph = graph_of(formula, a, b, before)
    parts = [s for k in compile_graph(graph, HOST).loops.kernels for s in k.body if isinstance(s, Routine)]
    assert [part.plan.split for part in parts] == [True]
    (ours,) = build(graph, HOST)(a, b, before)
    np.testing.assert_allclose(ours, before - a.T.astype("f8") @ b / 2, rtol=1e-5, atol=1e-4)


# ---- what is exact -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [128, 200])
def test_a_matrix_times_one_is_the_same_bit_for_bit(size: int) -> None:
    random = np.random.default_rng(size)
    a = (random.standard_normal((size, size)) * np.exp2(random.integers(-90, 100, (size, size)))).astype("f4")
    one = np.eye(size, dtype="f4")
    assert (multiplied(a, one) == a).all()
    assert (multiplied(one, a) == a).all()


def test_products_of_whole_numbers_are_exact() -> None:
    a, b = (np.random.default_rng(k).integers(-150, 151, (160, 160)).astype("f4") for k in (1, 2))
    assert (multiplied(a, b) == a.astype("f8") @ b).all()


@pytest.fixture
def threads() -> Iterator[None]:
    before = cpu.get_num_threads()
    yield
    cpu.set_num_threads(before)


# ---- what tiles cannot hold --------------------------------------------------------------------------------

STRANGE = {
    "nan": np.nan,
    "a nan of all bits": np.uint32(0x7FFFFFFF).view("f4"),
    "infinity": np.inf,
    "the greatest": np.finfo("f4").max,
    "subnormal": 1e-40,
    "the least": 2.0**-149,
    "small": 2.0**-110,
}


@pytest.mark.parametrize("value", STRANGE)
@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("place", [(0, 0), (143, 128), (60, 70)])
def test_one_strange_element_and_all_is_as_on_other_processors(
    value: str, side: int, place: tuple[int, int]
) -> None:
    pair = operands("NN", 144, 144, 144)
    assert is_split(dot, *pair)
    pair[side][place] = STRANGE[value]
    with np.errstate(all="ignore"):
        assert multiplied(*pair).tobytes() == multiplied(*pair, target=PLAIN).tobytes()


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("place", [(0, 0), (409, 1099)])
def test_one_strange_element_of_a_product_that_threads_share(count: int, place: tuple[int, int]) -> None:
    cpu.set_num_threads(count)
    a, b = operands("NN", 410, 1100, 300)
    assert is_split(dot, a, b)
    a[place] = 2.0**-110
    assert multiplied(a, b).tobytes() == multiplied(a, b, target=PLAIN).tobytes()


@pytest.mark.parametrize("scale", [2.0**-60, 2.0**-90, 2.0**63, 2.0**64])
def test_products_out_of_range_are_as_on_other_processors(scale: float) -> None:
    a, b = (x * np.float32(scale) for x in operands("NN", 128, 300, 128))
    assert multiplied(a, b).tobytes() == multiplied(a, b, target=PLAIN).tobytes()


@pytest.mark.parametrize("exponent", range(-120, -30, 6))
def test_small_numbers_lose_no_more_than_elsewhere(exponent: int) -> None:
    a, b = operands("NN", 128, 128, 128)
    a = a * np.float32(2.0**exponent)
    ours, size = multiplied(a, b), np.abs(a).astype("f8") @ np.abs(b).astype("f8")
    exact = a.astype("f8") @ b.astype("f8")
    assert (np.abs(ours - exact) <= 4 * UNIT * size + np.finfo("f4").smallest_subnormal * 128).all()


def test_a_strange_element_in_the_last_piece_of_the_inner_axis_with_what_follows() -> None:
    a, b = operands("NN", 128, 2100, 128)
    a[5, 2099] = np.inf

    def formula(x: Node, y: Node) -> Node:
        return row("add", dot(x, y), 1.0)

    assert is_split(formula, a, b)
    (ours,) = build(graph_of(formula, a, b), HOST)(a, b)
    assert np.isinf(ours[5]).all()
    rest = np.arange(128) != 5
    assert error(ours[rest] - 1, a[rest], b) <= 8


def test_zeros_are_no_small_numbers() -> None:
    a, b = operands("NN", 128, 128, 128)
    a[:, ::2] = 0
    assert error(multiplied(a, b), a, b) <= 4
    assert (multiplied(np.zeros_like(a), b) == 0).all()


# ---- threads, processes, systems ---------------------------------------------------------------------------


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("shape", [(128, 128, 128), (300, 1100, 333), (700, 160, 80)])
def test_threads_do_not_change_a_bit(shape: tuple[int, int, int]) -> None:
    a, b = operands("NN", *shape)
    assert is_split(dot, a, b)
    call, results = build(graph_of(dot, a, b), HOST), []
    for count in (1, 2, 5):
        cpu.set_num_threads(count)
        results += [call(a, b)[0].tobytes() for _ in range(2)]
    assert len(set(results)) == 1


def test_products_alone_are_a_script() -> None:
    a, b = operands("NN", 128, 128, 128)
    found = script(compile_graph(graph_of(dot, a, b), HOST).loops)
    assert found is not None
    assert "retrograd_amx" in found.words


COMPARED = """
    import ctypes, os, sys
    import numpy as np
    import retrograd as rg

    a, b = (np.random.default_rng(k).standard_normal((200, 200)).astype("f4") for k in (1, 2))
    multiply = rg.compile_grad(lambda x, y: x @ y)
    exact = a.astype("f8") @ b

    def check():
        ours = multiply(rg.tensor(a), rg.tensor(b)).numpy()
        assert abs(ours - exact).max() < 1e-4
        return ours.tobytes()
"""


def run(more: str) -> None:
    program = textwrap.dedent(COMPARED) + textwrap.dedent(more)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_has_tiles_too() -> None:
    run("""
    before = check()
    child = os.fork()
    if child == 0:
        os._exit(0 if check() == before else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    """)


def test_a_system_that_refuses_tiles() -> None:
    """Linux does where a signal's stack is too small to save them."""
    run("""
    class Stack(ctypes.Structure):
        _fields_ = [("at", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t)]

    libc, memory = ctypes.CDLL(None, use_errno=True), ctypes.create_string_buffer(8192)
    stack = Stack(ctypes.addressof(memory), 0, len(memory))
    assert libc.sigaltstack(ctypes.byref(stack), None) == 0
    assert libc.syscall(158, 0x1023, 18) != 0
    check()
    """)
