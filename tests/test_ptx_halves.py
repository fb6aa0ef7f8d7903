"""Halves and bfloat16 on a GPU: every row, executed from its PTX, gives what eager mode gives.

Rows come from the table of `test_pipeline`; float32 operands are rounded to the dtype. Values are computed in
float32 and rounded once, so they agree to a unit in the last place, where float32's own last bits decide.
"""

from __future__ import annotations

from itertools import islice
from typing import Any

import numpy as np
import ptx_programs
import pytest
from native import assert_close, graph_of
from test_half import OPS, ROWS
from test_pipeline import sample, with_special_values

from retrograd.compiler.dtypes import DType, bfloat16, float16
from retrograd.compiler.ir.graph import apply, interpret
from retrograd.compiler.pipeline import compile_for_gpu


@pytest.mark.parametrize("dtype", [float16, bfloat16], ids=lambda d: d.name)
@pytest.mark.parametrize("names", [[*islice(ROWS, k, None, 8)] for k in range(8)], ids=lambda n: n[0])
def test_every_row(names: list[str], dtype: DType) -> None:
    for name in names:
        row, operands = ROWS[name]
        arrays = [with_special_values(sample((301,), d, k), k) for k, d in enumerate(operands)]
        arrays = [a.astype(dtype.numpy) if a.dtype.kind == "f" else a for a in arrays]
        graph = graph_of(lambda *x, row=row: apply(row, *x), *arrays)
        (mine,) = ptx_programs.run(compile_for_gpu(graph), arrays)
        (theirs,) = interpret(graph, arrays)
        assert_close(mine, np.asarray(theirs), ulps=1)


@pytest.mark.parametrize("dtype", [float16, bfloat16], ids=lambda d: d.name)
@pytest.mark.parametrize("cases", [OPS[k::8] for k in range(8)], ids=range(8))
def test_every_op(cases: list[tuple[Any, Any]], dtype: DType) -> None:
    step = 2.0**-10 if dtype is float16 else 2.0**-7
    for function, given in cases:
        arrays = [a.astype(dtype.numpy) if a.dtype.kind == "f" else a for a in given]
        graph = graph_of(function, *arrays)
        found = ptx_programs.run(compile_for_gpu(graph), arrays)
        for mine, theirs in zip(found, interpret(graph, arrays), strict=True):
            assert mine.dtype == theirs.dtype
            if mine.dtype != dtype.numpy:
                np.testing.assert_array_equal(mine, theirs)
                continue
            near = {"rtol": 2 * step, "atol": step / 32}
            np.testing.assert_allclose(mine.astype("f4"), np.asarray(theirs).astype("f4"), **near)
