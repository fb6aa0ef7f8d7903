"""PTX that is executed: every row on every dtype, and every op, value and gradients, give what NumPy gives,
and what the same launches give as plain loops.
 The shapes of schedules are those of `test_gpu_schedule`, whose programs are executed too. New rows and ops
come from the tables.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import ptx_programs
import pytest
from gpu import build
from hypothesis import HealthCheck, given, settings
from native import assert_close
from ptx_contracted import contracted
from test_pipeline import CASES, blur, sample, with_special_values
from test_ptx import OPS, chunks, with_adjoint
from test_random_graphs import EXAMPLES, assert_agrees, programs

from retrograd.compiler.dtypes import DType
from retrograd.compiler.ir.graph import Array, Graph, apply, interpret
from retrograd.compiler.ops.elementwise import Elementwise
from retrograd.compiler.pipeline import CompiledGpu, compile_for_gpu, unseen

CONTRACTED = {
    "cbrt", "asinh", "lgamma", "digamma", "airy_ai", "bessel_j0", "bessel_j1", "bessel_y0", "bessel_y1",
    "gamma_p", "gamma_q", "hermite_polynomial_h", "laguerre_polynomial_l",
}  # fmt: skip
"""Rows whose products and sums LLVM contracts differently for processors and for GPUs."""


def approximates(compiled: CompiledGpu) -> bool:
    """Does the PTX compute otherwise than a processor does, by a GPU's own approximations?"""
    return ".approx." in compiled.ptx


def operands_of(dtypes: list[DType]) -> list[Array]:
    return [with_special_values(sample((301,), d, k), k) for k, d in enumerate(dtypes)]


@pytest.mark.parametrize(("row", "dtypes"), CASES, ids=lambda v: getattr(v, "name", None) or v[-1].name)
def test_every_row_and_its_derivative(row: Elementwise, dtypes: list[DType]) -> None:
    arrays = operands_of(dtypes)
    graph = with_adjoint(lambda *x: apply(row, *x), arrays)
    arrays += [sample(n.shape, n.dtype, 7) for n in graph.inputs[len(arrays) :]]
    program = build(graph, unseen)
    found, loops = ptx_programs.run(program.compiled, arrays), program.orders[0](*arrays)
    expected = interpret(graph, arrays)[0]
    ulps = blur(row, dtypes[-1])
    assert_close(found[0], expected, ulps)
    assert_close(ptx_programs.run(program.compiled, arrays, contracted)[0], expected, ulps)
    for mine, theirs in zip(found, loops, strict=True):
        if row.name in CONTRACTED or approximates(program.compiled):
            assert_close(mine, theirs, ulps)
        else:
            np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("cases", chunks(OPS), ids=range(8))
def test_every_op_and_its_adjoint(cases: list[Any]) -> None:
    for function, arrays in cases:
        graph = with_adjoint(function, arrays)
        given = [*arrays, *(sample(n.shape, n.dtype, 7) for n in graph.inputs[len(arrays) :])]
        found = ptx_programs.run(compile_for_gpu(graph), given)
        for mine, theirs in zip(found, interpret(graph, given), strict=True):
            assert (mine.shape, mine.dtype) == (np.shape(theirs), np.asarray(theirs).dtype)
            np.testing.assert_allclose(mine, theirs, rtol=1e-10, atol=1e-10)


@given(programs())
@settings(max_examples=EXAMPLES // 5, suppress_health_check=list(HealthCheck))
def test_random_programs_and_their_gradients(case: tuple[Graph, list[Array]]) -> None:
    assert_agrees(*case, executed)


def executed(graph: Graph) -> Callable[..., list[Array]]:
    """The graph's PTX, to be called with arrays."""
    compiled = compile_for_gpu(graph)
    return lambda *arrays: ptx_programs.run(compiled, arrays)
