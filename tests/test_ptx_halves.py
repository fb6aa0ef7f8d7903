"""Halves and bfloat16 on a GPU: every row and op, and every adjoint, gives what eager mode gives, executed
from its PTX.

Rows come from the table of `test_pipeline`; float32 operands are rounded to the dtype. Values are computed in
float32 and rounded once, so they agree to a unit in the last place, where float32's own last bits decide.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

import numpy as np
import ptx_programs
import pytest
from native import assert_close, graph_of
from test_half import OPS, ROWS
from test_pipeline import sample, with_special_values
from test_ptx import with_adjoint

from retrograd.compiler.dtypes import DType, bfloat16, float16
from retrograd.compiler.ir.graph import Array, Graph, apply, interpret
from retrograd.compiler.pipeline import compile_for_gpu

DTYPES = pytest.mark.parametrize("dtype", [float16, bfloat16], ids=lambda d: d.name)
EIGHTHS = pytest.mark.parametrize(
    "names", [[*islice(ROWS, k, None, 8)] for k in range(8)], ids=lambda n: n[0]
)


def halved(arrays: Sequence[Array], dtype: DType) -> list[Array]:
    return [a.astype(dtype.numpy) if a.dtype.kind == "f" else a for a in arrays]


def derived(function: Callable[..., Any], arrays: Sequence[Array]) -> tuple[Graph, list[Array]]:
    """The graph of value and gradients, and arrays for all its inputs."""
    graph = with_adjoint(function, arrays)
    return graph, [*arrays, *(sample(n.shape, n.dtype, 7) for n in graph.inputs[len(arrays) :])]


@DTYPES
@EIGHTHS
def test_every_row(names: list[str], dtype: DType) -> None:
    for name in names:
        row, operands = ROWS[name]
        arrays = halved([with_special_values(sample((301,), d, k), k) for k, d in enumerate(operands)], dtype)
        graph = graph_of(lambda *x, row=row: apply(row, *x), *arrays)
        (mine,) = ptx_programs.run(compile_for_gpu(graph), arrays)
        (theirs,) = interpret(graph, arrays)
        assert_close(mine, np.asarray(theirs), ulps=1)


@DTYPES
@EIGHTHS
def test_every_rows_gradients(names: list[str], dtype: DType) -> None:
    for name in names:
        row, operands = ROWS[name]
        arrays = halved([sample((67,), d, k) for k, d in enumerate(operands)], dtype)
        graph, given = derived(lambda *x, row=row: apply(row, *x), arrays)
        found = ptx_programs.run(compile_for_gpu(graph), given)
        for mine, theirs in zip(found, interpret(graph, given), strict=True):
            assert_close(mine, np.asarray(theirs), ulps=2)


def agree(graph: Graph, arrays: Sequence[Array], dtype: DType, atol: float) -> None:
    """Sums are taken in another order, so results may differ by two steps of the dtype."""
    step = 2.0**-10 if dtype is float16 else 2.0**-7
    for mine, told in zip(
        ptx_programs.run(compile_for_gpu(graph), arrays), interpret(graph, arrays), strict=True
    ):
        theirs = np.asarray(told)
        assert mine.dtype == theirs.dtype
        if mine.dtype != dtype.numpy:
            np.testing.assert_array_equal(mine, theirs)
            continue
        wide = theirs.astype("f4")
        np.testing.assert_allclose(mine.astype("f4"), wide, rtol=2 * step, atol=atol * step)


@DTYPES
@pytest.mark.parametrize("cases", [OPS[k::8] for k in range(8)], ids=range(8))
def test_every_op(cases: list[tuple[Any, Any]], dtype: DType) -> None:
    for function, given in cases:
        arrays = halved(given, dtype)
        agree(graph_of(function, *arrays), arrays, dtype, 1 / 32)


@DTYPES
@pytest.mark.parametrize("cases", [OPS[k::8] for k in range(8)], ids=range(8))
def test_every_ops_gradients(cases: list[tuple[Any, Any]], dtype: DType) -> None:
    for function, given in cases:
        agree(*derived(function, halved(given, dtype)), dtype, 4)
