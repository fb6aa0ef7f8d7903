"""Sums and their kin over long rows, by routines of the library: the bits that a program's own code gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from native import Array, build, graph_of

from retrograd.compiler import pipeline
from retrograd.compiler.backends.cpu import Target, assemble
from retrograd.compiler.backends.meeting import PARTS
from retrograd.compiler.backends.routines import routine
from retrograd.compiler.backends.strips.forms import FORMS
from retrograd.compiler.ops.contract import dot
from retrograd.compiler.ops.reduce import amax, amin, prod_, spread, sum_
from retrograd.compiler.ops.rows import rows
from retrograd.compiler.pipeline import compile_graph
from retrograd.runtime.native import cache, cpu
from retrograd.runtime.native.program import NativeProgram

HOST = Target.host()


def moments(x: Any, axes: tuple[int, ...]) -> tuple[Any, Any]:
    """Mean and variance."""
    count = np.prod([x.shape[axis] for axis in axes])
    mean = sum_(x, axes) * float(1 / count)
    deviation = x - spread(mean, axes, x.shape)
    return mean, sum_(deviation * deviation, axes) / float(count - 1)


REDUCTIONS: dict[str, Callable[..., Any]] = {
    "sum": sum_,
    "greatest": amax,
    "least": amin,
    "product": prod_,
    "mean": lambda x, axes: sum_(x, axes) * 0.001,
    "squares": lambda x, axes: sum_(x * x, axes),
    "absolute values": lambda x, axes: sum_(rows.abs(x), axes),
    "moments": moments,
    "two at once": lambda x, axes: (sum_(x, axes), amax(x, axes)),
}
OF_THEIR_OWN = {("moments", 0), ("two at once", 0), ("two at once", 1), ("squares", 0)}
"""Those whose loops do several things, or what LLVM may round in several ways."""
SHAPES = [(700, 1031), (3, 90_001), (5_000, 523), (1, 4096), (512, 1), (64, 2, 1000), (70_000,), (0, 700), ()]
"""Odd and even, wide and tall, of several blocks and of one; without long rows they are code of a program."""


def numbers(shape: tuple[int, ...], dtype: str, special: bool) -> Array:
    """Numbers about 1; the special ones among many others."""
    x = np.random.default_rng(len(shape)).uniform(0.5, 1.5, shape).astype(dtype)
    if special and x.size > 3:
        x.reshape(-1)[[0, x.size // 2, x.size - 1]] = np.nan, np.inf, -np.inf
    return x


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", REDUCTIONS)
def test_results_are_those_of_code(name: str, shape: tuple[int, ...], dtype: str) -> None:
    sides = {(), (0,), (len(shape) - 1,), tuple(range(len(shape)))} if shape else {()}
    for axes in sorted(sides - {()}) or [()]:
        if 0 in shape and name in ("greatest", "least", "two at once", "moments"):
            continue
        inputs = [numbers(shape, dtype, special) for special in (False, True)]
        graph = graph_of(lambda x, axes=axes: REDUCTIONS[name](x, axes), inputs[0])
        program, text = NativeProgram(graph), build(graph)
        for x in inputs:
            for ours, theirs in zip(program([x]), text(x), strict=True):
                np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("name", REDUCTIONS)
@pytest.mark.parametrize("axis", [0, 1])
def test_long_rows_need_no_code(name: str, axis: int) -> None:
    x = numbers((1500, 2000), "float32", special=False)
    graph = graph_of(lambda x: REDUCTIONS[name](x, (axis,)), x)
    if (name, axis) in OF_THEIR_OWN:
        assert compile_graph(graph, HOST).script is None
        return
    assert compile_graph(graph, HOST).script is not None
    assert NativeProgram(graph)._code.objects == []


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(1000, 1001), (67, 600), (3, 5000), (2001, 9000), (17, 40_001)], ids=str)
def test_a_row_by_a_matrix_needs_no_code(shape: tuple[int, int], dtype: str) -> None:
    x, matrix = numbers((1, shape[0]), dtype, special=False), numbers(shape, dtype, special=False)
    program = NativeProgram(graph_of(dot, x, matrix))
    assert program._code.objects == []
    (ours,) = program([x, matrix])
    np.testing.assert_allclose(ours, x.astype("f8") @ matrix, rtol=1e-5 if dtype == "float32" else 1e-13)


def test_short_rows_are_code() -> None:
    graph = graph_of(lambda x: sum_(x, (1,)), numbers((100_000, 40), "float32", special=False))
    assert compile_graph(graph, HOST).script is None


def test_other_sizes_compile_nothing() -> None:
    def program(*shape: int) -> set[str]:
        NativeProgram(graph_of(lambda x: sum_(x, (1,)), numbers(shape, "float32", special=False)))
        return set(cache._memory)

    before = program(900, 1000)
    assert len(program(903, 2001) - before) == 1


@pytest.mark.parametrize("axes", [(0,), (1,), (0, 1)], ids=str)
def test_any_number_of_threads_gives_the_same(axes: tuple[int, ...]) -> None:
    x, found = numbers((2000, 1500), "float32", special=False), []
    program = NativeProgram(graph_of(lambda x: sum_(x, axes), x))
    threads = cpu.get_num_threads()
    for count in (1, *[2] * PARTS, 3):
        cpu.set_num_threads(count)
        found.append(program([x])[0])
    cpu.set_num_threads(threads)
    for other in found[1:]:
        np.testing.assert_array_equal(found[0], other)
    np.testing.assert_allclose(found[0], x.sum(axes, dtype="float64"), rtol=3e-7)


@pytest.mark.parametrize(("rows", "met"), [(500, False), (2000, True), (3000, False)])
def test_threads_meet_in_large_operands(rows: int, met: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "third_level", lambda: 16 << 20)
    x = numbers((rows, 1500), "float32", special=False)
    script = compile_graph(graph_of(lambda x: sum_(x, (1,)), x), HOST).script
    assert script is not None
    assert ("retrograd_threads" in script.words) == met


@pytest.mark.parametrize("bits", [128, 256, 512])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_written_for_every_width(form: str, bits: int) -> None:
    for kind, size in (("f32", 32), ("f64", 64)):
        for lanes in (1, 4 * bits // size):
            assert assemble(routine(f"retrograd_strip_{kind}x{lanes}_{form}", bits), HOST)
