"""The steps of spans, windows and borders of images, by the kernels of `spanning.py` and `bordering.py`.

In flow and out as in `own.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

import numpy as np

from retrograd.compiler.ir.graph import Array, Op
from retrograd.compiler.ops.adaptive import AdaptiveMaxPool, AdaptiveMaxPoolAdjoint
from retrograd.compiler.ops.borders import Bordered, BorderedAdjoint
from retrograd.compiler.ops.fold import Fold
from retrograd.compiler.ops.fractional import WindowPlaces
from retrograd.compiler.ops.pool import MaxPoolAdjoint
from retrograd.compiler.ops.spans import SpanSums
from retrograd.runtime.native.small import kernels
from retrograd.runtime.native.small.own_kernels import kernel, step
from retrograd.runtime.native.small.steps import Steps

# ---- spans and windows -------------------------------------------------------------------------------------


def _spans(steps: Steps, op: SpanSums, out: Array, x: Array) -> None:
    limits = [steps.constant(np.array(each, np.int64)) for each in (op.starts, op.ends)]
    before, after = prod(x.shape[: op.axis]), prod(x.shape[op.axis + 1 :])
    arrays = [out, steps.in_order(x), *limits]
    step("span sums", steps, arrays, [before, x.shape[op.axis], after, len(op.starts)])


def _greatest(steps: Steps, op: AdaptiveMaxPool, out: Array, x: Array) -> None:
    _windows("greatest", steps, [out, steps.in_order(x)], op.limits(x), [1] * len(op.places), False)


def _greatest_adjoint(steps: Steps, op: AdaptiveMaxPoolAdjoint, out: Array, ct: Array, x: Array) -> None:
    arrays = [out, *map(steps.in_order, (ct, x))]
    _windows("greatest adjoint", steps, arrays, op.limits(x), [1] * len(op.places), False)


def _max_pool_adjoint(steps: Steps, op: MaxPoolAdjoint, out: Array, ct: Array, x: Array) -> None:
    arrays = [out, *map(steps.in_order, (ct, x))]
    _windows("greatest adjoint", steps, arrays, op.frame.limits(x), op.frame.dilations, op.frame.few)


def _windows(
    name: str, steps: Steps, arrays: list[Array], limits: list[tuple[Array, Array]], dilations: Sequence[int],
    last: bool,
) -> None:  # fmt: skip
    """Of one axis, two or three, before which others are put."""
    x, more, lead = arrays[-1], 3 - len(limits), arrays[-1].ndim - len(limits)
    single = [(np.zeros(1, np.int64), np.ones(1, np.int64))] * more
    spans = [steps.constant(np.ascontiguousarray(each)) for pair in (*single, *limits) for each in pair]
    sizes = [prod(x.shape[:lead]), *[1] * more, *x.shape[lead:], *[len(each) for each in spans[::2]]]
    step(name, steps, [*arrays, *spans], [*sizes, *[1] * more, *dilations, int(last), 0])


def _window_places(steps: Steps, op: WindowPlaces, out: Array, x: Array, *limits: Array) -> None:
    rank, wide, lead = len(op.window), [*map(steps.wide, limits)], prod(x.shape[:2])
    single = [steps.constant(np.full(lead, k, np.int64)) for k in (0, 1)] * (3 - rank)
    pairs, one = [each for pair in zip(wide, wide[rank:]) for each in pair], [1] * (3 - rank)
    sizes = [lead, *one, *x.shape[2:], *one, *[begin.shape[2] for begin in limits[:rank]], 1, 1, 1, 0, 1]
    code = kernel("window places", kernels.DTYPES[x.dtype])
    steps.step(code, [out, steps.in_order(x), *single, *pairs], sizes)


def _fold(steps: Steps, op: Fold, out: Array, x: Array) -> None:
    pairs = [*op.kernel, *op.places, *op.gaps, *op.margins, *op.steps]
    step("fold", steps, [out, steps.in_order(x)], [prod(out.shape[:2]), *op.size, *pairs])


# ---- borders -----------------------------------------------------------------------------------------------


def _bordered(steps: Steps, op: Bordered, out: Array, x: Array) -> None:
    _border("bordered", steps, op, out, steps.in_order(x), x.shape)


def _bordered_adjoint(steps: Steps, op: BorderedAdjoint, out: Array, ct: Array) -> None:
    _border("bordered adjoint", steps, op, steps.in_order(ct), out, out.shape)


def _border(
    name: str, steps: Steps, op: Bordered | BorderedAdjoint, whole: Array, own: Array, shape: Sequence[int]
) -> None:
    rank = len(op.low)
    inner = list(shape[len(shape) - rank :])
    single = [np.zeros(1, np.int64)] * (3 - rank)
    origins = [*single, *op.origins(inner)]
    arrays = [whole, own, *map(steps.constant, origins)]
    sizes = [prod(shape[: len(shape) - rank]), *map(len, origins), *[1] * (3 - rank), *inner, op.low[-1]]
    steps.step(kernel(name, kernels.DTYPES[own.dtype]), arrays, sizes)


WRITERS: dict[type[Op], Callable[..., None]] = {
    AdaptiveMaxPool: _greatest,
    AdaptiveMaxPoolAdjoint: _greatest_adjoint,
    Bordered: _bordered,
    BorderedAdjoint: _bordered_adjoint,
    Fold: _fold,
    MaxPoolAdjoint: _max_pool_adjoint,
    SpanSums: _spans,
    WindowPlaces: _window_places,
}
