"""Several loops over one row, for a GPU: softmax, norms, sorts. A group of threads (*workers*) keeps a row to
itself.

Each stage of the row is dealt out to the workers, element k·workers + w to worker w. So what one stage
writes and another reads at the same place stays in that thread's registers, as does what two stages read
there: it is fetched before the first of them, all at once. What is read at other places goes through shared
memory if it fits there, else through global memory. A value that a row has only once is in a register of
every worker.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from retrograd.compiler.ir.expressions import Buffer, Expression, Load, Number, Space
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
from retrograd.compiler.schedule.gpu_reduce import kept_axes
from retrograd.compiler.schedule.threads import (
    SHARED_BYTES,
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
    needed_bounds,
    power_of_two,
    register,
    size,
    where,
)

_PER_WORKER, _FEWER = 16, 8
"""Elements of a row that one worker has, if there are enough workers; the second where a worker's registers
have no room for the first."""
_ROW_THREADS = 128
_MOST_WORKERS = 512
_MOST_REGISTERS = 48
"""Words of 32 bits that one worker keeps in registers, of all buffers together."""


@dataclass(frozen=True, eq=False)
class Rows:
    """Stages, one after the other, each over axes of its own, within loops over the axes of rows."""

    axes: tuple[Axis, ...]
    stages: tuple[Nest, ...]

    def apart(self) -> list[Nest]:
        """The stages as nests of their own."""
        return [Nest((*self.axes, *stage.axes), stage.body) for stage in self.stages]


def rows(name: str, task: Rows, elsewhere: set[Buffer]) -> Kernel:
    """One launch for all stages; what other launches touch (`elsewhere`) is written to memory."""
    made = _Rows(task, elsewhere, _PER_WORKER)
    return (_Rows(task, elsewhere, _FEWER) if made.crowded else made).kernel(name)


@dataclass
class _Home:
    """Where the row of a buffer is kept."""

    row: int
    """Elements that belong to one row."""
    local: Buffer | None = None
    """Registers of each worker, or shared memory."""
    stored: bool = False
    """Is it written to global memory too?"""


class _Rows:
    def __init__(self, task: Rows, elsewhere: set[Buffer], share: int) -> None:
        self._task = task
        self._stages = [part for stage in task.stages for part in _parts(stage)]
        self._count = size(task.axes)
        longest = max(size(s.axes) for s in self._stages)
        self._lanes = self._common_lanes()
        self._workers = min(_MOST_WORKERS, power_of_two(-(-longest // max(share, self._lanes))))
        self._threads = Axis(
            "t", max(min(_ROW_THREADS, power_of_two(self._count) * self._workers), self._workers, WARP)
        )
        self._together = self._threads.extent // self._workers
        self._blocks = Axis("g", -(-self._count // self._together))
        t = as_index(self._threads)
        self._worker, self._group = t % self._workers, t // self._workers
        self._row = at(self._blocks) * self._together + self._group
        self._lane = Axis("v", self._lanes)
        self._outer = Spread(task.axes).values(self._row)
        self._shared: list[Buffer] = []
        self._registers: list[Buffer] = []
        self._left = _MOST_REGISTERS
        self.crowded = False
        """Was there no room for a row?"""
        self._homes = self._find_homes(elsewhere)
        self._apart: set[tuple[Buffer, Index]] = set()
        """Places in fetched rows that are read from memory."""
        self._fetched = self._find_fetched()
        self._steady = self._find_steady()

    # ---- where things are kept ----

    def _common_lanes(self) -> int:
        """Vectors are used if all stages come out even in them."""
        found = [lanes_along(s.axes, s.body) for s in self._stages if s.axes]
        return min(found, default=1)

    def _find_homes(self, elsewhere: set[Buffer]) -> dict[Buffer, _Home]:
        """A home for each buffer that the stages write and of which each row has its own part."""
        homes: dict[Buffer, _Home] = {}
        room = SHARED_BYTES - 1024
        writes = self._writes()
        for buffer, places in self._places(writes).items():
            row = self._own_row(buffer, [place for _, place in places])
            if row is None or (
                row == 1 and any(stage.axes and isinstance(s, Store) for stage, s in writes[buffer])
            ):
                continue
            stored = buffer.space is not Space.ARENA or buffer in elsewhere
            home = homes[buffer] = _Home(row, stored=stored)
            if row == 1:
                home.local = Buffer(buffer.name, buffer.dtype, 1, Space.LOCAL)
                self._registers.append(home.local)
            elif all(self._aligned(stage, place, row) for stage, place in places) and (
                found := self._in_registers(buffer, row)
            ):
                home.local = found
            elif not stored and row * self._together * buffer.dtype.itemsize <= room:
                home.local = Buffer(buffer.name, buffer.dtype, row * self._together, Space.SHARED)
                self._shared.append(home.local)
                room -= home.local.size * buffer.dtype.itemsize
        return homes

    def _in_registers(self, buffer: Buffer, row: int) -> Buffer | None:
        """A worker's share of a row, if there are registers for it."""
        each = -(-row // (self._workers * self._lanes)) * self._lanes
        words = each * -(-buffer.dtype.itemsize // 4)
        if words > self._left:
            self.crowded = True
            return None
        self._left -= words
        local = Buffer(buffer.name, buffer.dtype, each, Space.LOCAL)
        self._registers.append(local)
        return local

    def _find_fetched(self) -> list[tuple[Nest, Load]]:
        """A home in registers for what several stages only read, and each worker where it is: the first of
        those stages, and the load. What is read of it at other places is read from memory."""
        found: dict[Buffer, list[tuple[Nest, Load]]] = {}
        for stage in self._stages:
            for e in expressions(stage.body):
                if isinstance(e, Load) and e.buffer not in self._writes():
                    found.setdefault(e.buffer, []).append((stage, e))
        fetched = []
        for buffer, loads in found.items():
            row = self._own_row(buffer, [e.index for stage, e in loads if stage.axes])
            alike = [(s, e) for s, e in loads if s.axes and not e.bounds and self._alike(s, e, row)]
            apart = {(e.buffer, e.index) for _, e in loads} - {(e.buffer, e.index) for _, e in alike}
            if len({id(stage) for stage, _ in alike}) < 2 or len(alike) + len(apart) < len(loads):
                continue
            row = buffer.size if row is None else row
            local = self._in_registers(buffer, row)
            if local is not None:
                self._homes[buffer] = _Home(row, local)
                fetched.append(alike[0])
                self._apart |= apart
        return fetched

    def _find_steady(self) -> dict[tuple[Buffer, Index], Buffer]:
        """A register for each element that only the row decides on, which loops over it would read again and
        again."""
        found: dict[tuple[Buffer, Index], Buffer] = {}
        for stage in self._stages:
            for e in expressions(stage.body) if stage.axes else ():
                if not isinstance(e, Load) or e.bounds or e.buffer in self._writes():
                    continue
                words = -(-e.dtype.itemsize // 4)
                if self._left >= words and e.index.axes() <= set(self._task.axes):
                    self._left -= words
                    found[e.buffer, e.index] = Buffer(e.buffer.name, e.dtype, 1, Space.LOCAL)
        return found

    def _alike(self, stage: Nest, e: Load, row: int | None) -> bool:
        """Is a load at the stage's own position, in an array by rows or in one that all rows share?"""
        if row is not None:
            return self._aligned(stage, e.index, row)
        own = flatten([at(a) for a in stage.axes], extents(stage.axes))
        return not _is_partial(stage) and e.buffer.size == size(stage.axes) and e.index == own

    def _writes(self) -> dict[Buffer, list[tuple[Nest, Store | Accumulate]]]:
        found: dict[Buffer, list[tuple[Nest, Store | Accumulate]]] = {}
        for stage in self._stages:
            for s in stage.body:
                if isinstance(s, Store | Accumulate):
                    found.setdefault(s.buffer, []).append((stage, s))
        return found

    def _places(
        self, writes: dict[Buffer, list[tuple[Nest, Store | Accumulate]]]
    ) -> dict[Buffer, list[tuple[Nest, Index]]]:
        """Where, and in which stage, the buffers that are written here are touched."""
        touched = {buffer: [(stage, s.index) for stage, s in found] for buffer, found in writes.items()}
        for stage in self._stages:
            for e in expressions(stage.body):
                if isinstance(e, Load) and e.buffer in touched:
                    touched[e.buffer].append((stage, e.index))
        return touched

    def _own_row(self, buffer: Buffer, places: Sequence[Index]) -> int | None:
        """How many elements of a buffer belong to each row; None if rows share any."""
        row, uneven = divmod(buffer.size, self._count)
        if uneven or row == 0:
            return None
        for place in places:
            low, high = (self._within_row(place, row)).bounds()
            if (
                any(a in self._task.axes for a in self._within_row(place, row).axes())
                or low < 0
                or high >= row
            ):
                return None
        return row

    def _within_row(self, place: Index, row: int) -> Index:
        return place - flatten([at(a) for a in self._task.axes], extents(self._task.axes)) * row

    def _aligned(self, stage: Nest, place: Index, row: int) -> bool:
        """Is the place, within the row, the very position of the stage's iteration?"""
        own = flatten([at(a) for a in stage.axes], extents(stage.axes))
        return not _is_partial(stage) and size(stage.axes) == row and self._within_row(place, row) == own

    # ---- the kernel ----

    def kernel(self, name: str) -> Kernel:
        body: list[Statement] = []
        for stage in self._stages:
            body += [self._fetch(stage, e) for first, e in self._fetched if first is stage]
            body += self._write_stage(stage)
            written = [s.buffer for s in stage.body if isinstance(s, Store | Accumulate)]
            if self._workers > 1 and any(self._in_memory(b) for b in written):
                body.append(Barrier())
        registers = [*self._registers, *self._steady.values()]
        inner = (*(b for r in registers for b in self._cleared(r)), *self._steadied(), *body)
        for buffer in registers:
            inner = (Local(buffer, inner),)
        return launch(name, self._blocks, self._threads, inner, self._shared)

    def _steadied(self) -> tuple[Statement, ...]:
        """The registers of what only the row decides on, filled."""
        change = Rewriter(lambda index: index.substitute(self._outer))
        reads = [Store(r, Index(), change.expression(Load(*key))) for key, r in self._steady.items()]
        return where([self._inside], reads) if reads else ()

    def _in_memory(self, buffer: Buffer) -> bool:
        home = self._homes.get(buffer)
        return home is None or home.local is None or home.local.space is Space.SHARED

    def _cleared(self, buffer: Buffer) -> tuple[Statement, ...]:
        if buffer.size == 1:
            return begin(buffer, 0)
        step = Axis("k", buffer.size // self._lanes)
        zero = Store(buffer, as_index(step) * self._lanes + at(self._lane), Number(0, buffer.dtype))
        return (For(step, in_lanes(self._lane, [zero]), Kind.UNROLL),)

    def _fetch(self, stage: Nest, e: Load) -> Statement:
        """Each worker's share of a row, into its registers; nothing is read beyond the row's end."""
        spread = Spread(stage.axes, self._lanes)
        step, home = Axis("k", -(-spread.count // self._workers)), self._local(e.buffer)
        assert home is not None
        position = at(step) * self._workers + self._worker
        values = self._outer | spread.values(position, at(self._lane))
        needed = needed_bounds([self._inside, Bound(position, 0, spread.count)])
        value = Load(e.buffer, e.index.substitute(values), needed)
        fetch = Store(home, at(step) * self._lanes + at(self._lane), value)
        return For(step, in_lanes(self._lane, [fetch]), Kind.UNROLL)

    def _write_stage(self, stage: Nest) -> list[Statement]:
        if not stage.axes:
            return self._once(stage)
        return self._columns(stage) if _is_partial(stage) else self._elements(stage)

    @property
    def _inside(self) -> Bound:
        return Bound(self._row, 0, self._count)

    def _change(self, values: dict[Axis, Index], own: Index) -> Rewriter:
        """Expressions at these places, with what has a home read there; `own` is the iteration's place in
        registers."""

        def load(e: Load) -> Load | None:
            steady = None if e.bounds else self._steady.get((e.buffer, e.index))
            if steady is not None:
                return Load(steady, Index())
            local = self._local(e.buffer)
            if local is None or (e.buffer, e.index) in self._apart:
                return None
            if local.space is Space.LOCAL:
                return Load(local, own if local.size > 1 else Index())
            found = change.expression(
                Load(local, self._within_row(e.index, self._homes[e.buffer].row), e.bounds)
            )
            assert isinstance(found, Load)
            return replace(found, index=found.index + self._group * self._homes[e.buffer].row)

        change = Rewriter(lambda index: index.substitute(values), load)
        return change

    def _local(self, buffer: Buffer) -> Buffer | None:
        home = self._homes.get(buffer)
        return home.local if home else None

    def _stores(
        self, s: Store | Accumulate, change: Rewriter, own: Index, value: Expression
    ) -> list[Statement]:
        """The value written to all homes of an element."""
        home = self._homes.get(s.buffer)
        stores: list[Statement] = []
        if home and home.local and home.local.space is Space.LOCAL:
            stores.append(Store(home.local, own if home.local.size > 1 else Index(), value, s.where))
        elif home and home.local:
            place = change.index(self._within_row(s.index, home.row)) + self._group * home.row
            stores.append(Store(home.local, place, value, s.where))
        if home is None or home.local is None or home.stored:
            stores.append(Store(s.buffer, change.index(s.index), value, s.where))
        return stores

    def _once(self, stage: Nest) -> list[Statement]:
        """Values that a row has once: every worker computes them all, then the first writes them."""
        change = self._change(self._outer, Index())
        stores = [s for s in stage.body if isinstance(s, Store | Accumulate)]
        values = [(s, Buffer("once", s.buffer.dtype, 1, Space.LOCAL)) for s in stores]
        computed = [Store(value, Index(), change.expression(s.value)) for s, value in values]
        inner: tuple[Statement, ...] = (
            *(b for _, value in values for b in begin(value, 0)),
            *where([self._inside], computed),
            *(b for s, value in values for b in self._scalar(s, change, value)),
        )
        for _, value in values:
            inner = (Local(value, inner),)
        return [*inner]

    def _scalar(self, s: Store | Accumulate, change: Rewriter, value: Buffer) -> list[Statement]:
        """A register of every worker kept in their homes, and written to memory by the first of them."""
        result: list[Statement] = []
        for store in self._stores(s, change, Index(), Load(value, Index())):
            assert isinstance(store, Store)
            own = store.buffer.space is Space.LOCAL
            result += [store] if own else where([self._inside, Bound(self._worker, 0, 1)], [store])
        return result

    def _elements(self, stage: Nest) -> list[Statement]:
        """Stores and sums over the whole row."""
        spread = Spread(stage.axes, self._lanes)
        step = Axis("k", -(-spread.count // self._workers))
        position = at(step) * self._workers + self._worker
        lane, own = at(self._lane), at(step) * self._lanes + at(self._lane)
        change = self._change(self._outer | spread.values(position, lane), own)
        sums = {s: register("sum", s, self._lanes) for s in stage.body if isinstance(s, Accumulate)}
        body: list[Statement] = []
        for s in stage.body:
            assert isinstance(s, Store | Accumulate)
            value = change.expression(s.value)
            if isinstance(s, Accumulate):
                body.append(replace(s, buffer=sums[s], index=lane, value=value))
            else:
                body += self._stores(s, change, own, value)
        bounds = [self._inside, Bound(position, 0, spread.count)]
        known = any(r.size > 1 for r in self._registers)
        loop = For(step, where(bounds, in_lanes(self._lane, body)), Kind.UNROLL if known else Kind.SERIAL)
        inner: tuple[Statement, ...] = (
            *(b for s, r in sums.items() for b in begin(r, s.identity)),
            loop,
            *(b for s, r in sums.items() for b in self._joined(s, r)),
        )
        for r in sums.values():
            inner = (Local(r, inner),)
        return [*inner]

    def _joined(self, s: Accumulate, own: Buffer) -> list[Statement]:
        total = register("total", s)
        body = [
            *begin(total, s.identity),
            *in_lanes(self._lane, [combine(total, Load(own, at(self._lane)), s)]),
        ]
        body += butterfly(total, s, self._workers)
        if self._workers > WARP:
            warps, steps = across_warps(total, s, self._workers, self._threads)
            self._shared.append(warps)
            body += steps
        return [Local(total, (*body, *self._scalar(s, self._change(self._outer, Index()), total)))]

    def _columns(self, stage: Nest) -> list[Statement]:
        """A sum over part of a row's axes: one worker for each result."""
        (s,) = stage.body
        assert isinstance(s, Accumulate)
        kept = Spread(kept_axes(s, stage.axes))
        step, total = Axis("k", -(-kept.count // self._workers)), register("total", s)
        position = at(step) * self._workers + self._worker
        change = self._change(self._outer | kept.values(position), Index())
        loop: tuple[Statement, ...] = (
            replace(s, buffer=total, index=Index(), value=change.expression(s.value)),
        )
        for axis in reversed([a for a in stage.axes if a not in kept.axes]):
            loop = (For(axis, loop),)
        body = (*begin(total, s.identity), *loop, *self._stores(s, change, Index(), Load(total, Index())))
        return [For(step, where([self._inside, Bound(position, 0, kept.count)], [Local(total, body)]))]


def _is_partial(stage: Nest) -> bool:
    return any(isinstance(s, Accumulate) and kept_axes(s, stage.axes) for s in stage.body)


def _parts(stage: Nest) -> list[Nest]:
    """The stage with each sum over only a part of its axes by itself."""
    partial = [s for s in stage.body if isinstance(s, Accumulate) and kept_axes(s, stage.axes)]
    others = tuple(s for s in stage.body if s not in partial)
    return [*([Nest(stage.axes, others)] if others else []), *(Nest(stage.axes, (s,)) for s in partial)]
