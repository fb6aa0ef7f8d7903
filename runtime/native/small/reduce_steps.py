"""The steps of reductions, and of statistics that are reductions of what elements are, by the kernels of
`reducing.py`; of scans by that of `running.py`.

In flow and out as in `own.py`. Many elements are read where they lie in order; if they do not, the call is
NumPy's: a copy would cost as much.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import prod

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.dtypes import DType
from retrograd.compiler.ir.graph import OPS, Array, Op
from retrograd.compiler.ops.elementwise import Elementwise
from retrograd.compiler.ops.extremum import Argmax, Argmin
from retrograd.compiler.ops.reduce import All, Amax, Amin, Any_, Greatest, Least, Prod, Reduction, Sum
from retrograd.compiler.ops.scan import Cummax, Cummin, Cumprod, Cumsum, Scan
from retrograd.compiler.ops.statistics import Mean, Norm, Std, Var
from retrograd.compiler.ops.wide_scan import WideScan
from retrograd.runtime.native.small import kernels
from retrograd.runtime.native.small.cuts import of_lines, of_running
from retrograd.runtime.native.small.steps import YIELDING, Steps


def _reduce(steps: Steps, op: Reduction, out: Array, x: Array) -> None:
    """Axes that do not stand together go one after the other, from the last."""
    start = max((k for k in op.axes if k - 1 not in op.axes), default=0)
    last, rest = [[k for k in op.axes if (k < start) == before] for before in (False, True)]
    if rest and _lying(x, op.axes) is None:
        x = steps.of(replace(op, axes=tuple(last)), x)
        op = replace(op, axes=tuple(rest))
        _reduce(steps, op, out, x)
    else:
        code = kernels.of_reduction(op.combine, op.identity(kernels.DTYPES[x.dtype]), kernels.DTYPES[x.dtype])
        _step(steps, code, op.axes, [out, x])


def _step(steps: Steps, code: int | None, axes: tuple[int, ...], arrays: list[Array]) -> None:
    """By a kernel, over axes that stand together or could: results, elements, and what else it reads."""
    out, x, *further = arrays
    lying = _lying(x, axes)
    if lying is None:
        x = steps.in_order(x)
        lying = _lying(x, axes)
    if lying is None:
        raise kernels.NoKernel
    steps.read_in_order(x)
    cut = of_lines(lying, x.itemsize, out.itemsize, *[y.itemsize for y in further])
    steps.step(code, [out, x, *further], lying, reduces=True, cut=cut)


def _stand_together(x: Array, axes: tuple[int, ...]) -> bool:
    return not axes or axes[-1] - axes[0] == len(axes) - 1 or _lying(x, axes) is not None


def _lying(x: Array, axes: tuple[int, ...]) -> list[int] | None:
    """The sizes of the step, where the axes lie together in memory, and all in order."""
    kept = [k for k in range(x.ndim) if k not in axes]
    count = prod(x.shape[k] for k in axes)
    if x.transpose(*kept, *axes).flags.c_contiguous:
        return [x.size // count, count, 1, 1]
    if x.transpose(*axes, *kept).flags.c_contiguous:
        return [1, count, x.size // count, x.size // count]
    if x.flags.c_contiguous and axes[-1] - axes[0] == len(axes) - 1:
        after = prod(x.shape[axes[-1] + 1 :])
        return [prod(x.shape[: axes[0]]), count, after, after]
    return None


def _place(steps: Steps, op: Argmax | Argmin, out: Array, x: Array) -> None:
    dtype = kernels.DTYPES[x.dtype]
    best = (Amax if isinstance(op, Argmax) else Amin)((op.axis,))
    _step(steps, kernels.of_place(best.combine, best.identity(dtype), dtype), best.axes, [out, x])


# ---- scans -------------------------------------------------------------------------------------------------


def _run(steps: Steps, op: Scan, out: Array, x: Array, carry: DType | None = None) -> None:
    steps.read_in_order(x)
    dtype = kernels.DTYPES[x.dtype]
    after = prod(x.shape[op.axis + 1 :])
    sizes = [prod(x.shape[: op.axis]), x.shape[op.axis], after, after, int(op.reverse)]
    code = kernels.of_running(op.combine[0], op.identity(dtype), dtype, carry)
    steps.step(code, [out, steps.in_order(x)], sizes, cut=of_running(sizes, x.itemsize))


def _run_widely(steps: Steps, op: WideScan, out: Array, x: Array) -> None:
    """Of sums and products; of others float64 takes the operand's place."""
    if isinstance(op.scan, Cumsum | Cumprod):
        _run(steps, op.scan, out, x, dtypes.float64)
    elif (found := steps.expanded(op, [x], out)) is not out:
        steps.copy(found, out)


# ---- statistics --------------------------------------------------------------------------------------------


def _mean(steps: Steps, op: Mean, out: Array, x: Array) -> None:
    _reduce(steps, Sum(op.axes), out, x)
    _then(steps, "div", out, prod(x.shape[k] for k in op.axes))


def _norm(steps: Steps, op: Norm, out: Array, x: Array) -> None:
    """That of p = 2 reads elements once."""
    if op.p == 2 and _stand_together(x, op.axes):
        _step(steps, _of_squares("squares", x), op.axes, [out, x])
        _then(steps, "sqrt", out)
    else:
        steps.expanded(op, [x], out)


def _var(steps: Steps, op: Var, out: Array, x: Array) -> None:
    if not _stand_together(x, op.axes):
        steps.expanded(op, [x], out)
        return
    degrees = max(prod(x.shape[k] for k in op.axes) - op.correction, 0)
    _step(steps, _of_squares("distances", x), op.axes, [out, x, steps.of(Mean(op.axes), x)])
    _then(steps, "div", out, degrees)


def _std(steps: Steps, op: Std, out: Array, x: Array) -> None:
    _var(steps, Var(op.axes, op.correction), out, x)
    _then(steps, "sqrt", out)


def _of_squares(what: str, x: Array) -> int | None:
    dtype = kernels.DTYPES[x.dtype]
    return kernels.of_reduction("add", 0.0, dtype, what) if dtype.is_floating_point else None


def _then(steps: Steps, name: str, out: Array, *numbers: float) -> None:
    """A row of what was found and of numbers."""
    operands = [out, *[steps.constant(np.array(number, out.dtype)) for number in numbers]]
    row = OPS[name]
    assert isinstance(row, Elementwise)
    steps.row(row, out, operands)


MUCH = 1 << 20
"""Elements that are too many for one thread."""

WRITERS: dict[type[Op], Callable[..., None]] = {
    **dict.fromkeys((Sum, Prod, Any_, All, Amax, Amin, Greatest, Least), _reduce),
    **dict.fromkeys((Argmax, Argmin), _place),
    **dict.fromkeys((Cumsum, Cumprod, Cummax, Cummin), _run),
    WideScan: _run_widely,
    Mean: _mean,
    Norm: _norm,
    Std: _std,
    Var: _var,
}
YIELDING.update(dict.fromkeys(WRITERS.keys() - {WideScan}, MUCH))
