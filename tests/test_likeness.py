"""Kernels that are alike are arranged and written once; what they compute stays the same."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from native import build, graph_of

from retrograd.compiler.backends.cpu import Target
from retrograd.compiler.ir.graph import Array, Graph, Value, interpret
from retrograd.compiler.ir.likeness import likeness, moved
from retrograd.compiler.ir.loops import Kernel
from retrograd.compiler.lower import lower
from retrograd.compiler.ops.contract import dot
from retrograd.compiler.ops.reduce import sum_
from retrograd.compiler.ops.rows import rows
from retrograd.compiler.ops.shape import pad, reshape, slice_
from retrograd.compiler.pipeline import compile_graph


def row(x: Value, k: int) -> Value:
    """x[k], of a matrix."""
    return reshape(slice_(x, (k, 0), (k + 1, x.shape[1]), (1, 1)), x.shape[1:])


def chain(steps: int) -> Any:
    """A recurrent network whose inputs are rows of a matrix."""

    def function(x: Value, h: Value, w: Value) -> Value:
        for k in range(steps):
            h = rows.tanh(rows.add(dot(h, w), row(x, k)))
        return h

    return function


def arrays(steps: int, width: int = 33) -> list[Array]:
    generator = np.random.default_rng(0)
    shapes = (steps, width), (4, width), (width, width)
    x, h, w = (generator.standard_normal(shape).astype(np.float32) for shape in shapes)
    return [x, h, w * np.float32(width**-0.5)]  # so that steps do not magnify what rounding changes


def functions(graph: Graph) -> int:
    return len(re.findall(r"^define internal", compile_graph(graph, Target.host()).llvm, re.MULTILINE))


def kernels(function: Any, *operands: Array) -> list[Kernel]:
    return list(lower(graph_of(function, *operands))[0].kernels)


def test_an_unrolled_loop_is_written_once() -> None:
    few, many = (graph_of(chain(n), *arrays(n)) for n in (4, 12))
    assert functions(few) == functions(many)


@pytest.mark.parametrize("steps", [1, 2, 3, 9])
def test_and_computes_the_same(steps: int) -> None:
    operands = arrays(steps)
    graph = graph_of(chain(steps), *operands)
    for ours, theirs in zip(build(graph)(*operands), interpret(graph, operands), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_threads_find_the_parts_that_they_are_given() -> None:
    def function(x: Value) -> list[Value]:
        return [sum_(rows.exp(row(x, k)), (0,)) for k in range(4)]

    x = np.random.default_rng(1).standard_normal((4, 300_000))
    graph = graph_of(function, x)
    assert "retrograd_parallel" in compile_graph(graph, Target.host()).llvm
    for ours, theirs in zip(build(graph)(x), np.exp(x).sum(1), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_what_is_read_in_part_stays_whole() -> None:
    def function(x: Value) -> list[Value]:
        return [rows.exp(pad(row(x, k), (2,), (3,), (0,))) for k in range(3)]

    x = np.random.default_rng(2).standard_normal((3, 5))
    for k, out in enumerate(build(graph_of(function, x))(x)):
        np.testing.assert_allclose(out, np.exp(np.pad(x[k], (2, 3))), rtol=1e-14)


def test_parts_begin_where_a_buffer_is_first_mentioned() -> None:
    def function(x: Value, w: Value) -> list[Value]:
        return [dot(slice_(x, (k, 0), (k + 1, 7), (1, 1)), w) for k in (0, 2)]

    first, second = kernels(function, np.zeros((3, 7)), np.zeros((7, 2)))
    one, other = (likeness(k, located=True) for k in (first, second))
    assert one.key == other.key
    assert [sorted(x.parts.values()) for x in (one, other)] == [[0, 0, 0], [0, 0, 14]]
    pairs = zip(one.parts.items(), other.parts.items(), strict=True)
    again = moved(first, "again", {a: (b, there - here) for (a, here), (b, there) in pairs})
    assert str(again.body) == str(second.body)
    assert likeness(again, located=True).parts == other.parts


@pytest.mark.parametrize(
    "other",
    [
        lambda x: rows.exp(row(x, 1)),  # another op
        lambda x: rows.tanh(rows.mul(row(x, 1), 2.0)),  # a number more
        lambda x: rows.tanh(slice_(row(x, 1), (0,), (5,), (1,))),  # another extent
        lambda x: rows.tanh(rows.add(row(x, 1), row(x, 2))),  # two parts of a buffer
    ],
)
def test_what_differs_is_not_alike(other: Any) -> None:
    (one,) = kernels(lambda x: rows.tanh(row(x, 0)), np.zeros((3, 7)))
    (two,) = kernels(other, np.zeros((3, 7)))
    assert likeness(one, located=False).key != likeness(two, located=False).key


def test_minus_zero_is_another_number() -> None:
    (one,), (two,) = (kernels(lambda x, z=z: rows.copysign(x, z), np.zeros(5)) for z in (0.0, -0.0))
    assert likeness(one, located=False).key != likeness(two, located=False).key
