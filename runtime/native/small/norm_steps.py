"""The steps of normalisations and their derivatives (`compiler/ops/normal.py`), by the kernels of
`normalising.py`.

In flow and out as in `own.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from retrograd.compiler.ir.graph import Array, Op
from retrograd.compiler.ops.normal import (
    DERIVATIVES,
    BatchNorm,
    ByGroup,
    ByLayer,
    GroupNorm,
    RunningStatistic,
)
from retrograd.runtime.native.small import kernels
from retrograd.runtime.native.small.own_kernels import step
from retrograd.runtime.native.small.steps import YIELDING, Steps


def _norm(name: str, affine: int) -> Callable[..., None]:
    """The kernel of this name, for a result by elements, after so many operands a weight and a bias."""

    def write(steps: Steps, op: Any, out: Array, *operands: Array) -> None:
        given, per = operands[:affine], operands[affine:]
        eps = steps.constant(np.array([op.eps], out.dtype))
        arrays = [out, *map(steps.in_order, given), eps, *map(steps.in_order, per)]
        apart = bool(per) or name == "norm weight"
        _of_one_dtype(name, steps, arrays, [*_groups(op, given[-1], apart), len(per), out.size])

    return write


def _follow(steps: Steps, op: RunningStatistic, out: Array, running: Array, x: Array, *rest: Array) -> None:
    momentum = rest[0] if rest else steps.constant(np.array([op.momentum], out.dtype))
    arrays = [out, *map(steps.in_order, (running, x)), momentum]
    _of_one_dtype(f"follow {op.statistic}", steps, arrays, [*_groups(op, x, True), 0, out.size])


def _groups(op: Op, x: Array, apart: bool) -> list[int]:
    """How groups and channels lie, in the order of `normalising.Sizes`; channels may be one where nothing
    is said `apart` for each."""
    samples, channels, inner = x.shape[0], x.shape[1] if x.ndim > 1 else 1, prod(x.shape[2:])
    match op:
        case ByLayer():
            samples, channels, inner = prod(x.shape[: x.ndim - op.dims]), prod(x.shape[x.ndim - op.dims :]), 1
            parts = 1
        case ByGroup():
            parts = op.groups
        case _ if inner == 1:
            lanes = 64 // x.itemsize
            groups = -(-channels // lanes)
            return [groups, samples, lanes, channels, lanes, channels, groups, lanes, 0, 1, 1, samples]
        case _:
            whole = channels * inner
            return [channels, samples, inner, whole, inner, whole, channels, 1, 0, 0, 0, samples * inner]
    part = channels // parts
    size = part * inner
    runs, length = (part, inner) if apart and inner > 1 else (1, size)
    along = int(inner == 1)
    return [
        samples * parts, runs, length, x.size, size, length, parts, part, 1, along, 0, size,
    ]  # fmt: skip


def _of_one_dtype(name: str, steps: Steps, arrays: list[Array], sizes: list[int]) -> None:
    if any(x.dtype != arrays[0].dtype for x in arrays):
        raise kernels.NoKernel
    step(name, steps, arrays, sizes)


WRITERS: dict[type[Op], Callable[..., None]] = {
    **{op: _norm("norm", 1) for op in (GroupNorm, BatchNorm)},
    **{elements: _norm("norm elements", 2) for elements, _ in DERIVATIVES.values()},
    **{weight: _norm("norm weight", 2) for _, weight in DERIVATIVES.values()},
    RunningStatistic: _follow,
}
YIELDING.update(dict.fromkeys(WRITERS, 0))
