"""How work is dealt out to a GPU's threads: the pieces from which the GPU schedules are made.

A launch is a kernel of one grid loop and one block loop (`launch`). A position along some axes is one
number, counted with the last axis fastest, of which `Spread` makes the axes' values; where it counts
vectors, the last axis is `lanes` times the rest plus a lane, so that the lanes of a vector lie side by
side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from retrograd.compiler.ir.expressions import Buffer, Call, Load, Number, Space
from retrograd.compiler.ir.graph import OPS
from retrograd.compiler.ir.index import Axis, Bound, Index, as_index, unflatten
from retrograd.compiler.ir.loops import (
    Accumulate,
    Barrier,
    Exchange,
    For,
    If,
    Kernel,
    Kind,
    Local,
    Statement,
    Store,
    expressions,
)
from retrograd.compiler.ir.rewriting import Rewriter
from retrograd.compiler.ops.row import Elementwise, Types
from retrograd.compiler.schedule.cpu import can_be_vector, scattered

THREADS = 256
"""Threads of a block, unless there is a reason for another number."""
WARP = 32
"""Threads that run side by side and may exchange registers."""
VECTOR_BYTES = 16
"""The widest access of one thread."""
SHARED_BYTES = 48 << 10
"""Shared memory that every GPU gives to a block."""
ENOUGH = 1 << 17
"""So many threads keep a large GPU busy."""
_MOST_WEIGHT = 256
"""A thread computes fewer elements at a time where together they would weigh more: they must fit its
registers."""
_LIGHT_WEIGHT, _FUNCTION_WEIGHT = 10, 60
"""Of functions in `_LIGHT`, evaluated in float32, and of others; in float64, `_DOUBLED` times as much."""
_DOUBLED = {_LIGHT_WEIGHT: 4, _FUNCTION_WEIGHT: 2}
_LIGHT = frozenset(
    {
        "cos", "div", "erf", "exp", "exp2", "expm1", "log", "log10", "log1p", "log2", "reciprocal", "rsqrt",
        "sigmoid", "sin", "softplus", "sqrt", "tanh",
    }
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Nest:
    """Statements that store or accumulate, within loops over the axes, the first outermost."""

    axes: tuple[Axis, ...]
    body: tuple[Statement, ...]


def launch(
    name: str, blocks: Axis, threads: Axis, body: Sequence[Statement], shared: Sequence[Buffer] = ()
) -> Kernel:
    """A kernel of so many blocks of so many threads."""
    inner: Statement = For(threads, tuple(body), Kind.BLOCK)
    for buffer in shared:
        inner = Local(buffer, (inner,))
    return Kernel(name, (For(blocks, (inner,), Kind.GRID),))


def at(axis: Axis) -> Index:
    """An axis as an index; an axis of one element is 0."""
    return Index() if axis.extent == 1 else as_index(axis)


def extents(axes: Sequence[Axis]) -> tuple[int, ...]:
    return tuple(axis.extent for axis in axes)


def size(axes: Sequence[Axis]) -> int:
    return prod(extents(axes))


@dataclass(frozen=True)
class Spread:
    """Axes walked by one number, in vectors along the last axis."""

    axes: tuple[Axis, ...]
    lanes: int = 1

    @property
    def count(self) -> int:
        """How many vectors there are."""
        return size(self.axes) // self.lanes

    def values(self, position: Index, lane: Index | None = None) -> dict[Axis, Index]:
        """Each axis at vector number `position`; beyond the last of these the values mean nothing."""
        if not self.axes:
            return {}
        shape = [*extents(self.axes)]
        shape[-1] //= self.lanes
        index = [*unflatten(position, shape)]
        if 0 not in shape and shape[0] > 1:  # no remainder is needed of what is below the extent
            index[0] = position // prod(shape[1:])
        if self.lanes > 1:
            index[-1] = index[-1] * self.lanes + (lane or Index())
        return dict(zip(self.axes, index, strict=True))


def lanes_along(axes: Sequence[Axis], body: Sequence[Statement]) -> int:
    """How many iterations along the last axis one thread does in vectors, where they come out even."""
    lanes = wanted_lanes(axes, body)
    while lanes > 1 and axes[-1].extent % lanes:
        lanes //= 2
    return lanes


def wanted_lanes(axes: Sequence[Axis], body: Sequence[Statement]) -> int:
    """How many iterations along the last axis fill the widest access of one thread; 1 where they are better
    apart."""
    widest = max((b.dtype.itemsize for b in _touched_along(axes[-1:], body)), default=VECTOR_BYTES)
    if not axes or not can_be_vector(axes[-1], body) or scattered(axes[-1], body) * 2 > accesses(body):
        return 1
    lanes = min(VECTOR_BYTES // widest, 8)
    while lanes > 1 and lanes * weight(body) > _MOST_WEIGHT:
        lanes //= 2
    return lanes


def _touched_along(axes: Sequence[Axis], body: Sequence[Statement]) -> set[Buffer]:
    """The buffers of which statements touch other elements for each place along the axes."""
    found = [(e.buffer, e.index) for e in expressions(body) if isinstance(e, Load)]
    found += [(s.buffer, s.index) for s in body if isinstance(s, Store | Accumulate)]
    return {buffer for buffer, index in found if not index.axes().isdisjoint(axes)}


def accesses(body: Sequence[Statement]) -> int:
    """How many loads and stores there are."""
    return sum(isinstance(e, Load) for e in expressions(body)) + sum(isinstance(s, Store) for s in body)


def weight(body: Sequence[Statement]) -> int:
    """What one element costs to compute."""
    return sum(_weight(e) for e in expressions(body) if isinstance(e, Call))


def _weight(e: Call) -> int:
    row = OPS[e.row]
    if not isinstance(row, Elementwise) or row.types is not Types.FLOAT:
        return 1
    own = _LIGHT_WEIGHT if e.row in _LIGHT else _FUNCTION_WEIGHT
    return own * _DOUBLED[own] if e.dtype.itemsize == 8 else own


def moved(values: dict[Axis, Index]) -> Rewriter:
    """Statements at other places."""
    return Rewriter(lambda index: index.substitute(values))


def where(bounds: Sequence[Bound], body: Sequence[Statement]) -> tuple[Statement, ...]:
    """The statements, under those of the bounds that may fail."""
    needed = needed_bounds(bounds)
    return (If(needed, tuple(body)),) if needed else tuple(body)


def needed_bounds(bounds: Sequence[Bound]) -> tuple[Bound, ...]:
    """Those that may fail."""
    return tuple(b for b in bounds if not _always(b))


def _always(bound: Bound) -> bool:
    low, high = bound.index.bounds()
    return bound.low <= low and high < bound.high


def in_lanes(lane: Axis, body: Sequence[Statement]) -> tuple[Statement, ...]:
    """The statements in one vector along `lane`."""
    return (For(lane, tuple(body), Kind.VECTOR, lanes=lane.extent),) if lane.extent > 1 else tuple(body)


def register(name: str, like: Accumulate, lanes: int = 1) -> Buffer:
    """A thread's own place for what a statement accumulates."""
    return Buffer(name, like.buffer.dtype, lanes, Space.LOCAL)


def begin(buffer: Buffer, value: bool | int | float) -> tuple[Statement, ...]:
    """Every element of a register buffer set to a number."""
    lane = Axis("v", buffer.size)
    return in_lanes(lane, [Store(buffer, at(lane), Number(value, buffer.dtype))])


def combine(total: Buffer, value: Load, like: Accumulate) -> Accumulate:
    """total[0] combine= value"""
    return Accumulate(total, Index(), value, like.combine, like.identity, like.where)


def butterfly(total: Buffer, like: Accumulate, workers: int) -> list[Statement]:
    """`total` combined over groups of `workers` adjoining threads of a warp, in a tree: each of them has
    the result."""
    peer = Buffer("peer", total.dtype, 1, Space.LOCAL)
    steps: list[Statement] = []
    mask = min(workers, WARP) // 2
    while mask:
        steps += [Exchange(peer, total, mask), combine(total, Load(peer, Index()), like)]
        mask //= 2
    return [Local(peer, tuple(steps))] if steps else []


def across_warps(
    total: Buffer, like: Accumulate, workers: int, thread: Axis
) -> tuple[Buffer, list[Statement]]:
    """`total` combined over groups of `workers` threads that are several warps, each of which has combined
    its own."""
    warps = Buffer("warps", total.dtype, thread.extent // WARP, Space.SHARED)
    t, count = as_index(thread), workers // WARP
    first = t // workers * count
    others = Axis("j", count - 1)
    steps: list[Statement] = [
        If((Bound(t % WARP, 0, 1),), (Store(warps, t // WARP, Load(total, Index())),)),
        Barrier(),
        Store(total, Index(), Load(warps, first)),
        For(others, (combine(total, Load(warps, first + at(others) + 1), like),), Kind.UNROLL),
    ]
    return warps, steps


def power_of_two(number: int) -> int:
    """The least power of two that is not less."""
    return 1 << max(number - 1, 0).bit_length()
