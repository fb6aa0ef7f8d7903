"""What ops ask of their operands (`compiler/ops/demands.py`) by a kernel: steps of graphs, and whole ops.

In flow an op that passes an index on; out flows the step that looks at it, or a native function of the index,
of any size, that is the op.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.dtypes import DType
from retrograd.compiler.ir.graph import Array
from retrograd.compiler.ops.demands import Places
from retrograd.runtime.native.layout import layout
from retrograd.runtime.native.small import kernels
from retrograd.runtime.native.small.steps import ASKED, Steps, native


def _look(steps: Steps, op: Places, index: Array) -> None:
    code = _kernel(op, kernels.DTYPES[index.dtype])
    steps.step(code, [steps.in_order(index)], [index.size, op.least, op.size])


ASKED[Places] = _look


def passing(op: Places, dtype: DType) -> Callable[[Array], Array] | None:
    """The op, of an index of this dtype."""
    code = _kernel(op, dtype) if layout() is not None else None
    if code is None:
        return None

    def slow(index: Array) -> Array:
        index = np.asarray(index)
        op.inspect(index)
        return index

    words = [1, 1, 0, 0, code, id(dtype.numpy), op.least, op.size]  # one array to one, which is the result
    return native("retrograd_passed", words, slow, dtype.numpy)


def _kernel(op: Places, dtype: DType) -> int | None:
    """Differences of int32 must not leave it."""
    fits = dtype is dtypes.int64 or (dtype is dtypes.int32 and op.size < 1 << 30)
    return kernels.of_bounds(dtype) if fits else None
