"""Ops with a kernel of their own, for arrays of any size: what formulas would do in many passes, or with far
more memory.

In flow the steps of a graph while they are written (`steps.py`), the op, and where its result and operands
lie; out flow its steps. The kernels are in files of what they do (`aligning.py`, `bags.py`, …). Families of
ops have files of their own (`norm_steps.py`, `plane_steps.py`, `reduce_steps.py`, `window_steps.py`). A
further op is an entry of `WRITERS`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.ir.graph import Array, Op, Type
from retrograd.compiler.ops import gufuncs
from retrograd.compiler.ops.alignment import CtcLoss, CtcLossAdjoint
from retrograd.compiler.ops.arranged import Repeat, Triangle
from retrograd.compiler.ops.bags import BagPlaces, BagSum, BagSumAdjoint
from retrograd.compiler.ops.channels import ChannelDot, PRelu, PReluAdjoint, PReluSlopes, ScaleShift
from retrograd.compiler.ops.corners import Corners, CornersAdjoint, CornerWeights
from retrograd.compiler.ops.cross_entropy import CrossEntropy
from retrograd.compiler.ops.gate import Glu, GluAdjoint
from retrograd.compiler.ops.incomplete import NODES, WEIGHTS
from retrograd.compiler.ops.incomplete_ops import BetaSlope, GammaSlope
from retrograd.compiler.ops.joined import PutAlong, PutAlongJoined
from retrograd.compiler.ops.lu import RowsExchanged
from retrograd.compiler.ops.margins import MultilabelMargins, MultilabelMarginsAdjoint
from retrograd.compiler.ops.pairs import Distances, DistancesAdjoint, PairDistances, PairsAdjoint
from retrograd.compiler.ops.reduce import Sum
from retrograd.compiler.ops.shape import Cast, Pad
from retrograd.compiler.ops.softmax import CausalSoftmax, LogSoftmax, Logsumexp, Softmax
from retrograd.compiler.ops.substitution import SolveTriangular
from retrograd.compiler.ops.unpool import MaxUnpool
from retrograd.runtime.native.small import (
    kernels,
    norm_steps,
    plane_steps,
    reduce_steps,
    solving,
    window_steps,
)
from retrograd.runtime.native.small.cuts import Cut, indexed, of_indices, of_running
from retrograd.runtime.native.small.own_kernels import kernel, step
from retrograd.runtime.native.small.steps import MOST_ELEMENTS, OWN, YIELDING, Steps

# ---- alignments --------------------------------------------------------------------------------------------


def _ctc(steps: Steps, op: CtcLoss, out: Array, x: Array, *whole: Array) -> None:
    _align("ctc", steps, op, [out, x], whole, 2)


def _ctc_adjoint(steps: Steps, op: CtcLossAdjoint, out: Array, ct: Array, x: Array, *whole: Array) -> None:
    _align("ctc adjoint", steps, op, [out, x, ct], whole, x.shape[0] + 2)


def _align(
    name: str, steps: Steps, op: CtcLoss | CtcLossAdjoint, given: Sequence[Array], whole: Sequence[Array],
    lines: int,
) -> None:  # fmt: skip
    """With room for the labels of a sample and their blanks, and for so many lines of states beside those
    that the kernel has anyhow."""
    out, *read = given
    (count, n, classes), longest = read[0].shape, whole[0].shape[1]
    width = 2 * longest + 1 + 2 * kernels.defined("aligning.MARGIN")
    labels = steps.scratch(Type((width,), dtypes.int64))
    room = steps.scratch(Type((lines + kernels.defined("aligning.LINES"), width), kernels.DTYPES[out.dtype]))
    arrays = [out, *map(steps.in_order, read), *map(steps.wide, whole), labels, room]
    step(name, steps, arrays, [count, n, classes, longest, op.blank, width, int(op.finite)])


# ---- bags --------------------------------------------------------------------------------------------------


def _bag_sum(steps: Steps, op: BagSum, out: Array, weight: Array, *given: Array) -> None:
    _bag("bag sum", steps, [out, weight], given, [op.padding, int(op.mean)])


def _bag_sum_adjoint(steps: Steps, op: BagSumAdjoint, out: Array, ct: Array, *given: Array) -> None:
    _bag("bag sum adjoint", steps, [ct, out], given, [op.padding, 0])


def _bag_places(steps: Steps, op: BagPlaces, out: Array, weight: Array, *given: Array) -> None:
    _bag("bag places", steps, [out, weight], given, [op.padding, 0])


def _bag(
    name: str, steps: Steps, tables: Sequence[Array], given: Sequence[Array], more: Sequence[int]
) -> None:
    """Of a table of bags and one of rows; what is written to, lies in order."""
    index, starts, *scales = given
    table, rows = map(steps.in_order, tables)
    arrays = [table, rows, steps.wide(index), steps.wide(starts), *map(steps.in_order, scales)]
    sizes = [*table.shape, *rows.shape[:1], index.size, *more, len(scales)]
    steps.step(kernel(name, kernels.DTYPES[rows.dtype]), arrays, sizes)


# ---- writes at indices -------------------------------------------------------------------------------------


def _joined(steps: Steps, op: PutAlongJoined, out: Array, x: Array, index: Array, values: Array) -> None:
    sizes, places = indexed(x.shape, op.axis, index, False), steps.wide(index)
    steps.copy(x, out)
    if not op.with_self:
        neutral = steps.constant(np.full(index.shape, op.identity(kernels.DTYPES[x.dtype]), x.dtype))
        steps.step(kernels.scattering(x.itemsize), [out, neutral, places], sizes)
    steps.step(
        kernels.of_joining(op.row.name, kernels.DTYPES[x.dtype]), [out, steps.in_order(values), places], sizes
    )


def _put_along(steps: Steps, op: PutAlong, out: Array, x: Array, index: Array, values: Array) -> None:
    if not all(a == b for k, (a, b) in enumerate(zip(x.shape, index.shape)) if k != op.axis):
        if (found := steps.expanded(op, [x, index, values], out)) is not out:
            steps.copy(found, out)
        return
    sizes, places = indexed(x.shape, op.axis, index, False), steps.wide(index)
    steps.copy(x, out)
    arrays = [out, steps.in_order(np.broadcast_to(values, index.shape)), places]
    cut = of_indices(sizes, x.itemsize, False)
    steps.step(kernels.scattering(x.itemsize), arrays, sizes, cut=cut)


# ---- channels ----------------------------------------------------------------------------------------------


def _channels(name: str, *order: int) -> Callable[..., None]:
    """The kernel of this name takes the operands in this order, the elements first."""

    def write(steps: Steps, op: Op, out: Array, *operands: Array) -> None:
        given = [operands[k] for k in (order or range(len(operands)))]
        shape = given[0].shape
        sizes = [shape[0], shape[1], prod(shape[2:]), int(len(given) > 2)]
        step(name, steps, [out, *map(steps.in_order, given)], sizes)

    return write


# ---- corners -------------------------------------------------------------------------------------------


def _corners(steps: Steps, op: Corners, out: Array, image: Array, index: Array, weight: Array) -> None:
    _read("corners", steps, [out, image, index, weight], image, index)


def _corners_adjoint(
    steps: Steps, op: CornersAdjoint, out: Array, ct: Array, index: Array, weight: Array
) -> None:
    _read("corners adjoint", steps, [out, ct, index, weight], out, index)


def _corner_weights(
    steps: Steps, op: CornerWeights, out: Array, ct: Array, image: Array, index: Array
) -> None:
    _read("corner weights", steps, [out, image, index, ct], image, index)


def _read(name: str, steps: Steps, arrays: list[Array], image: Array, index: Array) -> None:
    out, *given = arrays
    step(name, steps, [out, *map(steps.in_order, given)], [*image.shape, index.shape[0], index.shape[2]])


# ---- gates ---------------------------------------------------------------------------------------------


def _glu(steps: Steps, op: Glu, out: Array, x: Array) -> None:
    step("glu", steps, [out, steps.in_order(x)], _halves(x, op.axis))


def _glu_adjoint(steps: Steps, op: GluAdjoint, out: Array, ct: Array, x: Array) -> None:
    step("glu adjoint", steps, [out, *map(steps.in_order, (ct, x))], _halves(x, op.axis))


def _halves(x: Array, axis: int) -> list[int]:
    return [prod(x.shape[:axis]), prod(x.shape[axis:]) // 2]


# ---- attention -----------------------------------------------------------------------------------------


def _causal(steps: Steps, op: CausalSoftmax, out: Array, x: Array) -> None:
    factor = steps.constant(np.array([op.factor], x.dtype))
    sizes = [prod(x.shape[:-1]), *x.shape[-2:]]
    step("causal softmax", steps, [out, steps.in_order(x), factor], sizes)


# ---- classes -------------------------------------------------------------------------------------------


def _cross_entropy(
    steps: Steps, op: CrossEntropy, out: Array, x: Array, target: Array, *weight: Array
) -> None:
    """Of scores `[N, C]` by a kernel."""
    if x.ndim != 2:
        steps.expanded(op, [x, target, *weight], out)
        return
    each = out if op.reduction == "none" else steps.scratch(Type((len(x),), kernels.DTYPES[x.dtype]))
    steps.read_in_order(x)
    ones = [steps.constant(np.ones(x.shape[1], x.dtype))] if op.smoothing else [each]  # or nothing is read
    (weights,), share = weight or ones, steps.constant(np.array([op.smoothing], x.dtype))
    arrays = [each, steps.in_order(x), steps.wide(target), steps.in_order(weights), share]
    how, cut = [op.ignore_index, len(weight)], _rows_of(x, target.itemsize, 0, 0)
    step("cross entropy", steps, arrays, [*x.shape, *how, int(op.smoothing > 0)], cut=cut)
    if op.reduction == "none":
        return
    total = out if op.reduction == "sum" else steps.scratch(Type((), kernels.DTYPES[x.dtype]))
    WRITERS[Sum](steps, Sum((0,)), total, each)
    if op.reduction == "mean":
        step("mean of counted", steps, [out, total, *arrays[2:4]], [len(x), *how])


def _softmax(steps: Steps, op: Softmax | LogSoftmax, out: Array, x: Array) -> None:
    """Across lines by a kernel; many elements along lines are for loops (`instant/loops.py`)."""
    before, count, after = prod(x.shape[: op.axis]), x.shape[op.axis], prod(x.shape[op.axis + 1 :])
    if after == 1:
        if x.size > MOST_ELEMENTS:
            raise kernels.NoKernel
        if (found := steps.expanded(op, [x], out)) is not out:
            steps.copy(found, out)
        return
    steps.read_in_order(x)
    sizes = [before, count, after, after]
    step(f"{op.name} across", steps, [out, steps.in_order(x)], sizes, True, of_running(sizes, x.itemsize))


def _logsumexp(steps: Steps, op: Logsumexp, out: Array, x: Array) -> None:
    """Over the last axis by a kernel."""
    if op.axes != (x.ndim - 1,):
        steps.expanded(op, [x], out)
        return
    steps.read_in_order(x)
    sizes = [x.size // x.shape[-1], x.shape[-1]]
    step("logsumexp", steps, [out, steps.in_order(x)], sizes, True, _rows_of(x))


def _rows_of(x: Array, *further: int) -> Cut:
    """Of rows that become one element each, beside others that have so many bytes for each row."""
    return Cut(0, [x.itemsize, x.shape[-1] * x.itemsize, *further], x.shape[-1])


# ---- pairs, and places -----------------------------------------------------------------------------------


def _distances(steps: Steps, op: PairDistances, out: Array, x: Array) -> None:
    step("pair distances", steps, [out, steps.in_order(x)], list(x.shape))


def _pairs_adjoint(steps: Steps, op: PairsAdjoint, out: Array, share: Array, x: Array) -> None:
    step("pairs adjoint", steps, [out, *map(steps.in_order, (share, x))], list(x.shape))


def _distances_between(steps: Steps, op: Distances, out: Array, x: Array, y: Array) -> None:
    step("distances", steps, [out, *map(steps.in_order, (x, y))], [*x.shape[:2], *y.shape[1:]])


def _distances_adjoint(
    steps: Steps, op: DistancesAdjoint, out: Array, share: Array, x: Array, y: Array
) -> None:
    step("distances adjoint", steps, [out, *map(steps.in_order, (share, x, y))], [*share.shape, x.shape[2]])


def _unpool(steps: Steps, op: MaxUnpool, out: Array, x: Array, places: Array) -> None:
    step("unpool", steps, [out, steps.in_order(x), steps.wide(places)], [*x.shape, op.size])


# ---- margins -----------------------------------------------------------------------------------------------


def _multilabel(steps: Steps, op: MultilabelMargins, out: Array, x: Array, target: Array) -> None:
    _margins("multilabel", steps, [out, steps.in_order(x)], target, x)


def _multilabel_adjoint(
    steps: Steps, op: MultilabelMarginsAdjoint, out: Array, ct: Array, x: Array, target: Array
) -> None:
    _margins("multilabel adjoint", steps, [out, steps.in_order(x), steps.in_order(ct)], target, x)


def _margins(name: str, steps: Steps, arrays: list[Array], target: Array, x: Array) -> None:
    room = steps.scratch(Type(x.shape[1:], kernels.DTYPES[x.dtype]))
    step(name, steps, [*arrays, steps.wide(target), room], list(x.shape))


# ---- quantiles ---------------------------------------------------------------------------------------------


def _gamma_slope(steps: Steps, op: GammaSlope, out: Array, *operands: Array) -> None:
    """In float64, as far as anything is left of an integrand that falls at least as exp(-w)."""
    a, x = _doubles(steps, operands)
    log, digamma = (steps.of(solving.row(name), y) for name, y in (("log", x), ("digamma", a)))
    _slope("gamma slope", steps, out, a, x, steps.of(solving.row("sub"), log, digamma))


def _beta_slope(steps: Steps, op: BetaSlope, out: Array, *operands: Array) -> None:
    a, b, x = _doubles(steps, operands)
    log, rest = (
        steps.of(solving.row("log"), x),
        steps.of(solving.row("log1p"), steps.of(solving.row("neg"), x)),
    )
    both = steps.of(solving.row("digamma"), steps.of(solving.row("add"), a, b))
    level = steps.of(solving.row("sub"), both, steps.of(solving.row("digamma"), a))
    _slope("beta slope", steps, out, a, b, x, log, rest, level)


def _doubles(steps: Steps, operands: Sequence[Array]) -> Sequence[Array]:
    wide = Cast(dtypes.float64)
    return [steps.in_order(y if y.dtype == np.float64 else steps.of(wide, y)) for y in operands]


def _slope(name: str, steps: Steps, out: Array, *read: Array) -> None:
    found = out if out.dtype == np.float64 else steps.scratch(Type(out.shape, dtypes.float64))
    lanes, near = kernels.lanes_of(dtypes.float64), NODES < 64
    places, weights = (np.pad(y, (0, -len(y) % lanes)) for y in (NODES[near], WEIGHTS[near]))
    constants = map(steps.constant, (places, weights))
    step(name, steps, [found, *read, *constants], [out.size, len(places)])
    if found is not out:
        steps.cast(found, out)


# ---- elements moved ------------------------------------------------------------------------------------


def _triangle(steps: Steps, op: Triangle, out: Array, x: Array) -> None:
    n, columns = x.shape[-2:]
    sizes = [x.size // columns, n, columns, max(-n, min(op.diagonal, columns)), int(op.lower)]
    steps.step(kernels.triangular(x.itemsize), [out, steps.in_order(x)], sizes)


def _repeat(steps: Steps, op: Repeat, out: Array, x: Array) -> None:
    apart = x.reshape([s for size in x.shape for s in (1, size)])
    parts = out.reshape([s for pair in zip(op.counts, x.shape, strict=True) for s in pair])
    steps.copy(np.broadcast_to(apart, parts.shape), parts)


def _pad(steps: Steps, op: Pad, out: Array, x: Array) -> None:
    """What is around the elements, by axis; where there is more between them, it is everywhere first."""
    rest, fill = out, steps.constant(np.array(op.fill, out.dtype))
    ends = [n - high for n, high in zip(out.shape, op.high, strict=True)]
    margins = [out] if any(op.interior) else []
    for axis, (low, end) in enumerate(zip(op.low, ends, strict=True)):
        before, inside, after = np.split(rest, [low, end], axis)
        margins += [] if any(op.interior) else [before, after]
        rest = inside
    for margin in margins:
        if margin.size:
            steps.copy(np.broadcast_to(fill, margin.shape), margin)
    steps.read_in_order(x)
    steps.copy(steps.in_order(x), rest[tuple([slice(None, None, gap + 1) for gap in op.interior])])


# ---- triangles ---------------------------------------------------------------------------------------------


def _substitute(steps: Steps, op: SolveTriangular, out: Array, a: Array, b: Array) -> None:
    """Small ones by the kernel of small factors, in float64 as these."""
    triangle, (n, columns) = np.broadcast_to(a, (*b.shape[:-1], b.shape[-2])), b.shape[-2:]
    if gufuncs.is_small(a):
        solving.substitute(steps, op, out, triangle, b)
        return
    triangle = triangle if _goes_by_steps(triangle) else steps.in_order(triangle)
    lanes = kernels.lanes_of(kernels.DTYPES[a.dtype])
    strip = steps.scratch(Type((n, kernels.defined("triangles.STRIP") * lanes), kernels.DTYPES[a.dtype]))
    sizes = [prod(b.shape[:-2]), n, columns, int(op.upper), int(op.unit)]
    along = [step // a.itemsize for step in (0, *triangle.strides)[-3:]]
    step("substitute", steps, [out, strip, triangle, steps.in_order(b)], [*sizes, *along])


def _exchange(steps: Steps, op: RowsExchanged, out: Array, pivots: Array, x: Array) -> None:
    """1 where there are no such rows."""
    if pivots.dtype != np.int32:
        raise kernels.NoKernel
    arrays = [out, *map(steps.in_order, (pivots, x))]
    code = kernels.of_elimination("exchange_all", kernels.DTYPES[x.dtype])
    steps.step(code, arrays, [prod(x.shape[:-2]), *x.shape[-2:], int(op.back)])


def _goes_by_steps(triangle: Array) -> bool:
    """Whether one step leads from each matrix to the next, and a row or a column lies in order."""
    *batch, down, across = triangle.strides
    one = all(outer == inner * size for outer, inner, size in zip(batch, batch[1:], triangle.shape[1:-2]))
    return one and triangle.itemsize in (down, across)


WRITERS: dict[type[Op], Callable[..., None]] = {
    **norm_steps.WRITERS,
    **plane_steps.WRITERS,
    **reduce_steps.WRITERS,
    **window_steps.WRITERS,
    CausalSoftmax: _causal,
    Softmax: _softmax,
    LogSoftmax: _softmax,
    BagPlaces: _bag_places,
    BagSum: _bag_sum,
    BagSumAdjoint: _bag_sum_adjoint,
    ChannelDot: _channels("channel dot"),
    CornerWeights: _corner_weights,
    Corners: _corners,
    CornersAdjoint: _corners_adjoint,
    CrossEntropy: _cross_entropy,
    CtcLoss: _ctc,
    CtcLossAdjoint: _ctc_adjoint,
    BetaSlope: _beta_slope,
    GammaSlope: _gamma_slope,
    Distances: _distances_between,
    DistancesAdjoint: _distances_adjoint,
    Glu: _glu,
    GluAdjoint: _glu_adjoint,
    MaxUnpool: _unpool,
    MultilabelMargins: _multilabel,
    MultilabelMarginsAdjoint: _multilabel_adjoint,
    Logsumexp: _logsumexp,
    PutAlong: _put_along,
    PutAlongJoined: _joined,
    PairDistances: _distances,
    PairsAdjoint: _pairs_adjoint,
    PRelu: _channels("prelu"),
    PReluAdjoint: _channels("prelu adjoint", 1, 2, 0),
    PReluSlopes: _channels("prelu slopes"),
    Pad: _pad,
    Repeat: _repeat,
    RowsExchanged: _exchange,
    ScaleShift: _channels("scale shift"),
    SolveTriangular: _substitute,
    Triangle: _triangle,
}
"""What writes the step of an op."""
OWN.update(WRITERS)
YIELDING[CrossEntropy] = 1 << 17
YIELDING.update(dict.fromkeys((LogSoftmax, Pad, Softmax), 0))  # wherever a graph with them is worth it
