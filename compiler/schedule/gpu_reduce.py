"""Sums over any axes, for a GPU, the same bit for bit each time: no atomics, every tree of additions fixed by
the sizes.

A group of threads (*workers*) shares each result. Where operands lie side by side along the reduced axes,
workers are adjoining threads, which combine what they have in registers; where they lie side by side along
the kept axes, adjoining threads have adjoining results, and their workers combine through shared memory.
Where there are too few results to keep the GPU busy, the reduced axes are cut into slices, whose results a
second launch combines.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from retrograd.compiler.ir.expressions import Buffer, Expression, Load, Space
from retrograd.compiler.ir.index import Axis, Bound, Index, as_index, flatten
from retrograd.compiler.ir.loops import (
    Accumulate,
    Barrier,
    For,
    Kernel,
    Kind,
    Local,
    Statement,
    Store,
    expressions,
)
from retrograd.compiler.ir.rewriting import Rewriter
from retrograd.compiler.record import replace
from retrograd.compiler.schedule.cpu import scattered
from retrograd.compiler.schedule.threads import (
    ENOUGH,
    THREADS,
    WARP,
    Nest,
    Spread,
    across_warps,
    at,
    begin,
    butterfly,
    combine,
    extents,
    in_lanes,
    lanes_along,
    launch,
    moved,
    needed_bounds,
    power_of_two,
    register,
    size,
    weight,
    where,
)

_STEPS = 4
"""Each worker takes so many steps at least, if there are enough."""
_IN_FLIGHT = 4
"""Steps whose reads are under way together."""
_READ_WORDS, _MOST_WEIGHT = 32, 40
"""Registers for what they read, and the most that they may compute."""
_TURNS, _AHEAD = 4, 2
"""Where a worker does one step at a time, it reads so many ahead, and a loop holds so many turns: on an H200
one ahead left the arithmetic idle for a quarter of the time, three took registers for nothing."""
_ONE_SLICE_STEPS, _SLICE_STEPS = 16, 8
"""Where workers have so many steps at most, a second launch would take longer than they do; a slice has as
many at least."""
_MOST_WORKERS, _LARGE_STEPS = 1024, 8
"""Threads of the largest blocks, and the most steps of theirs that take less than a second launch."""
_MOST_SLICES = 2048
Place = tuple[Buffer, Index]
"""What a nest reads: a buffer, and where."""
_HEAVY, _MORE = 40, 4
"""Where an element weighs more than this, slices are so many times as many: what takes long to compute is
better shared out if blocks are many."""


def kept_axes(s: Accumulate, axes: Sequence[Axis]) -> tuple[Axis, ...]:
    """The axes along which a statement has results of their own."""
    return tuple(a for a in axes if a in s.index.axes())


def reduction(name: str, nest: Nest, fresh: set[Buffer]) -> list[Kernel]:
    """The launches for a nest whose accumulations all keep the same axes. What is `fresh` need not be read
    first."""
    plan = _plan(nest)
    count = size(plan.kept.axes) * plan.slices
    partial = {
        s: Buffer(f"{s.buffer.name}_part", s.buffer.dtype, count, Space.ARENA)
        for s in (plan.sums if plan.slices > 1 else ())
    }
    kernels = [_Writer(plan, fresh, partial).kernel(name)]
    if partial:
        piece, kept = Axis("s", plan.slices), plan.kept.axes
        place = as_index(piece) * size(kept) + flatten([at(a) for a in kept], extents(kept))
        joins = tuple(replace(s, value=Load(buffer, place)) for s, buffer in partial.items())
        kernels += reduction(f"{name}_join", Nest((*kept, piece), joins), fresh)
    return kernels


@dataclass(frozen=True)
class _Plan:
    """Who computes what."""

    nest: Nest
    sums: tuple[Accumulate, ...]
    kept: Spread
    reduced: Spread
    adjoining: bool
    """Are the workers of one result adjoining threads?"""
    workers: int
    together: int
    """Results of one block, in vectors of the kept axes."""
    slices: int

    @property
    def lanes(self) -> int:
        return self.kept.lanes * self.reduced.lanes

    @property
    def blocks(self) -> int:
        """Blocks of one slice."""
        return -(-self.kept.count // self.together)

    @property
    def steps(self) -> int:
        """Steps of one worker in one slice."""
        return -(-self.reduced.count // (self.workers * self.slices))


def _plan(nest: Nest) -> _Plan:
    sums = tuple(s for s in nest.body if isinstance(s, Accumulate))
    kept = kept_axes(sums[0], nest.axes)
    reduced = tuple(a for a in nest.axes if a not in kept)
    adjoining = not kept or (
        bool(reduced) and scattered(reduced[-1], nest.body) <= scattered(kept[-1], nest.body)
    )
    if adjoining:
        inner, outer = Spread(reduced, lanes_along(reduced, nest.body)), Spread(kept)
        workers = _adjoining_workers(inner.count, outer.count, weight(nest.body))
        together = max(min(THREADS // workers, power_of_two(outer.count)), WARP // workers, 1)
    else:
        inner, outer = Spread(reduced), Spread(kept, lanes_along(kept, nest.body))
        together = min(WARP, power_of_two(outer.count))
        workers = min(THREADS // together, power_of_two(-(-inner.count // _STEPS)))
        together = max(together, WARP // workers)
    threads = -(-outer.count // together) * together * workers
    steps = -(-inner.count // workers)
    wanted = ENOUGH * (_MORE if weight(nest.body) > _HEAVY else 1) // threads
    slices = 1 if steps <= _ONE_SLICE_STEPS else max(1, min(wanted, steps // _SLICE_STEPS, _MOST_SLICES))
    return _Plan(nest, sums, outer, inner, adjoining, workers, together, slices)


def _adjoining_workers(count: int, results: int, heavy: int) -> int:
    """How many threads share `count` positions of one result. Large blocks, where a few of them do without a
    second launch."""
    wanted = power_of_two(-(-count // _STEPS))
    large = min(_MOST_WORKERS, wanted)
    few = results * THREADS < ENOUGH and heavy <= _MOST_WEIGHT
    return large if few and count <= large * _LARGE_STEPS else min(THREADS, wanted)


def _in_flight(plan: _Plan) -> int:
    """How many steps a worker does at once: as many as its registers have room for what they read."""
    loads = sum(isinstance(e, Load) for e in expressions(plan.nest.body))
    room = min(_READ_WORDS // max(1, loads * plan.lanes), _MOST_WEIGHT // max(1, weight(plan.nest.body)))
    return max(1, min(_IN_FLIGHT, room, plan.steps))


def _ahead(plan: _Plan) -> dict[Place, Buffer]:
    """What is read ahead, and the registers for it in turns, where a worker computes so much that it does one
    step at a time."""
    if plan.steps <= _AHEAD or _in_flight(plan) > 1:
        return {}
    written = {s.buffer for s in plan.nest.body if isinstance(s, Store)}
    found: dict[Place, Buffer] = {}
    for e in expressions(plan.nest.body):
        if isinstance(e, Load) and not e.bounds and not e.operands and e.buffer not in written:
            last = (plan.reduced if plan.reduced.lanes > 1 else plan.kept).axes[-1:]
            lanes = 1 if e.index.axes().isdisjoint(last) else plan.lanes
            found[e.buffer, e.index] = Buffer("ahead", e.dtype, _TURNS * lanes, Space.LOCAL)
    words = sum(b.size * -(-b.dtype.itemsize // 4) for b in found.values())
    return found if words <= _READ_WORDS else {}


class _Writer:
    """The kernel of a plan."""

    def __init__(self, plan: _Plan, fresh: set[Buffer], partial: dict[Accumulate, Buffer]) -> None:
        self._plan, self._fresh, self._partial = plan, fresh, partial
        self._threads, self._blocks = (
            Axis("t", plan.together * plan.workers),
            Axis("g", plan.blocks * plan.slices),
        )
        t = as_index(self._threads)
        major, minor = (
            (t // plan.workers, t % plan.workers)
            if plan.adjoining
            else (t % plan.together, t // plan.together)
        )
        self._result, self._worker = major, minor
        self._slice = at(self._blocks) // plan.blocks
        self._place = at(self._blocks) % plan.blocks * plan.together + major
        self._lane = Axis("v", plan.lanes)
        self._shared: list[Buffer] = []

    def kernel(self, name: str) -> Kernel:
        plan = self._plan
        own = {s: register("sum", s, plan.lanes) for s in plan.sums}
        ahead = _ahead(plan)
        body: tuple[Statement, ...] = (
            *(b for s in plan.sums for b in begin(own[s], s.identity)),
            *(self._steps_ahead(own, ahead) if ahead else [self._steps(own)]),
            *(b for s in plan.sums for b in self._finish(s, own[s])),
        )
        for buffer in (*own.values(), *ahead.values()):
            body = (Local(buffer, body),)
        return launch(name, self._blocks, self._threads, body, self._shared)

    def _steps(self, own: dict[Accumulate, Buffer]) -> Statement:
        """Each worker goes over its share of the reduced axes, several steps at once while there are so
        many: what they read is under way together."""
        plan, together = self._plan, _in_flight(self._plan)
        groups, one = Axis("k", -(-plan.steps // together)), Axis("u", together)
        inside, count = Bound(self._place, 0, plan.kept.count), plan.reduced.count

        def position(step: Index) -> Index:
            return self._position(at(groups) * together + step)

        last = position(Index((), together - 1))
        body = in_lanes(self._lane, self._step(own, position(at(one))))
        if together == 1:
            return For(groups, where([inside, Bound(last, 0, count)], body))
        ends = [Bound(position(at(one)), 0, count)]
        if plan.steps % together:
            ends.append(Bound(at(groups) * together + at(one), 0, plan.steps))
        whole = [Bound(last, 0, count), Bound(at(groups) * together + (together - 1), 0, plan.steps)]
        steps = where([inside, *whole], [For(one, body, Kind.UNROLL)])
        rest: tuple[Statement, ...] = ()
        for k, bound in enumerate(whole):
            if needed_bounds([bound]):
                left = Bound(bound.index, bound.high, bound.index.bounds()[1] + 1)
                rest += where([inside, *whole[:k], left], [For(one, where(ends, body))])
        return For(groups, (*steps, *rest))

    def _steps_ahead(self, own: dict[Accumulate, Buffer], ahead: dict[Place, Buffer]) -> list[Statement]:
        """The same, one step after the other: what the next ones read is under way while one is computed.
        Turns are written out, so that each has registers of its own."""
        turns = Axis("k", -(-self._plan.steps // _TURNS))
        first = [s for k in range(_AHEAD) for s in in_lanes(self._lane, self._read(ahead, Index((), k), k))]
        steps: list[Statement] = []
        for turn in range(_TURNS):
            step = at(turns) * _TURNS + turn
            steps += in_lanes(self._lane, self._read(ahead, step + _AHEAD, (turn + _AHEAD) % _TURNS))
            body = self._step(own, self._position(step), ahead, turn)
            steps += where(self._bounds(step), in_lanes(self._lane, body))
        return [*first, For(turns, tuple(steps))]

    def _read(self, ahead: dict[Place, Buffer], step: Index, turn: int) -> list[Statement]:
        """What a step reads, into the registers of a turn."""
        change, bounds = self._change(self._position(step)), needed_bounds(self._bounds(step))
        return [
            Store(registers, self._own(registers, turn), Load(buffer, change.index(index), bounds))
            for (buffer, index), registers in ahead.items()
        ]

    def _own(self, registers: Buffer, turn: int) -> Index:
        lanes = registers.size // _TURNS
        return (at(self._lane) if lanes > 1 else Index()) + turn * lanes

    def _position(self, step: Index) -> Index:
        """Where along the reduced axes a worker's step is."""
        return (self._slice * self._plan.steps + step) * self._plan.workers + self._worker

    def _bounds(self, step: Index) -> list[Bound]:
        """Where a step is one of this worker's."""
        plan, count = self._plan, self._plan.reduced.count
        bounds = [Bound(self._place, 0, plan.kept.count), Bound(step, 0, plan.steps)]
        exact = plan.steps * plan.workers * plan.slices == count
        return bounds if exact else [*bounds, Bound(self._position(step), 0, count)]

    def _change(
        self, position: Index, load: Callable[[Load], Expression | None] = lambda e: None
    ) -> Rewriter:
        """Statements at one position of the reduced axes."""
        plan, lane = self._plan, at(self._lane)
        values = plan.kept.values(self._place, lane) | plan.reduced.values(position, lane)
        return Rewriter(lambda index: index.substitute(values), load)

    def _step(
        self,
        own: dict[Accumulate, Buffer],
        position: Index,
        ahead: Mapping[Place, Buffer] = MappingProxyType({}),
        turn: int = 0,
    ) -> list[Statement]:
        """What is done at one position of the reduced axes; what was read ahead is in a turn's registers."""
        plan, lane = self._plan, at(self._lane)

        def in_registers(e: Load) -> Expression | None:
            registers = ahead.get((e.buffer, e.index)) if not e.bounds else None
            return Load(registers, self._own(registers, turn)) if registers else None

        change = self._change(position, in_registers)
        return [
            replace(s, buffer=own[s], index=lane, value=change.expression(s.value))
            if isinstance(s, Accumulate)
            else change.statement(s)
            for s in plan.nest.body
        ]

    def _finish(self, s: Accumulate, own: Buffer) -> list[Statement]:
        """The workers' sums combined and written."""
        plan = self._plan
        total = register("total", s, plan.kept.lanes)
        lane = at(self._lane)
        if plan.adjoining:
            body = [*begin(total, s.identity), *in_lanes(self._lane, [combine(total, Load(own, lane), s)])]
            body += butterfly(total, s, plan.workers)
            if plan.workers > WARP:
                warps, steps = across_warps(total, s, plan.workers, self._threads)
                self._shared.append(warps)
                body += steps
            return [Local(total, (*body, *self._write(s, total, Index())))]
        if plan.workers == 1:
            return [*self._write(s, own, lane)]
        return self._through_shared(s, own, total)

    def _through_shared(self, s: Accumulate, own: Buffer, total: Buffer) -> list[Statement]:
        plan, lane = self._plan, at(self._lane)
        columns = Buffer("columns", own.dtype, self._threads.extent * plan.lanes, Space.SHARED)
        self._shared.append(columns)
        other = Axis("j", plan.workers)

        def place(worker: Index) -> Index:
            return (worker * plan.together + self._result) * plan.lanes + lane

        add = replace(s, buffer=total, index=lane, value=Load(columns, place(as_index(other))))
        return [
            *in_lanes(self._lane, [Store(columns, place(self._worker), Load(own, lane))]),
            Barrier(),
            Local(total, (
                *begin(total, s.identity),
                For(other, in_lanes(self._lane, [add])),
                *self._write(s, total, lane),
            )),
        ]  # fmt: skip

    def _write(self, s: Accumulate, total: Buffer, lane: Index) -> tuple[Statement, ...]:
        """The first worker writes the result."""
        plan = self._plan
        bounds = [Bound(self._worker, 0, 1), Bound(self._place, 0, plan.kept.count)]
        value = Load(total, lane)
        if s in self._partial:
            flat = self._place * plan.kept.lanes + lane
            place = self._slice * size(plan.kept.axes) + flat
            write: Statement = Store(self._partial[s], place, value, s.where)
        else:
            index = moved(plan.kept.values(self._place, lane)).index(s.index)
            write = (
                Store(s.buffer, index, value, s.where)
                if s.buffer in self._fresh
                else replace(s, index=index, value=value)
            )
        return where(bounds, in_lanes(self._lane, [write]) if plan.kept.lanes > 1 else [write])
