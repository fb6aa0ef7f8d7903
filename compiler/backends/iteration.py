"""Loops as LLVM text: serial ones, unrolled ones, and vectors with what is left at their end.

A body may be written several times: for each turn of an unrolled loop, for whole vectors and for the rest.
What does not change in a loop is computed before it, addresses too, so that the text needs no optimiser. In
flow a `For` and a way to write statements; a new kind of loop is a method here and a case of `Emitter._loop`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from retrograd.compiler.backends.lanes import halves, splat, transposed
from retrograd.compiler.backends.masks import constant_mask
from retrograd.compiler.backends.module import Module, kind_of, memory_kind
from retrograd.compiler.backends.places import CLIPPED, Place
from retrograd.compiler.backends.rows import ROWS
from retrograd.compiler.backends.values import Values, Vector
from retrograd.compiler.backends.vector import Value, select
from retrograd.compiler.ir.expressions import Buffer, Call, Load, Number, Space, children
from retrograd.compiler.ir.graph import OPS
from retrograd.compiler.ir.index import Axis, Index, as_index
from retrograd.compiler.ir.loops import (
    Accumulate,
    Exchange,
    For,
    Fragment,
    If,
    Kind,
    Local,
    Mma,
    Program,
    Statement,
    Store,
    expressions,
    walk,
)
from retrograd.compiler.ops.row import Elementwise, Types

_LONG_BODY, _FUNCTION = 20, 20
"""Instructions of a long loop body, and of an elementary function, roughly."""
_LINE, _TO_READ = 64, "i32 0, i32 3, i32 1"
"""Bytes of a line of the cache, and how it is fetched: to be read, to the nearest, as data."""
_SHORT = 2
"""Whole vectors of a short loop, at most."""


class Iteration(Values):
    """Values that are computed in turns."""

    def __init__(
        self, module: Module, program: Program, name: str, buffers: Sequence[Buffer] | None = None
    ) -> None:
        super().__init__(module, program, name, buffers)
        self._apart: dict[For, bool] = {}
        """Unrolled loops, and whether their copies must not share what they compute."""
        self._sums: dict[For, list[Accumulate]] = {}
        """Vector loops, and the statements that accumulate across lanes."""
        self._ahead: dict[For, list[tuple[Buffer, Index]]] = {}
        """Vector loops, and the places that they fetch into the cache meanwhile."""

    def statements(self, statements: Sequence[Statement]) -> None:
        """A block of statements, in order."""
        raise NotImplementedError

    def _unrolled_loop(self, s: For) -> None:
        """Copies of the body; they share what they compute unless they read what they write."""
        square = _square(s)
        if square:
            self._transpose(s.axis, *square)
            return
        if s not in self._apart:
            written = {x.buffer for x in walk(s.body) if isinstance(x, Store | Accumulate)}
            self._apart[s] = any(isinstance(e, Load) and e.buffer in written for e in expressions(s.body))
        for k in range(s.axis.extent):
            self._set(s.axis, k)
            self._unrolled[s.axis] = k
            if self._apart[s]:
                with self._scope():
                    self.statements(s.body)
            else:
                self.statements(s.body)
        del self._unrolled[s.axis]
        self._forget(s.axis)

    def _transpose(self, down: Axis, across: Axis, store: Store, load: Load) -> None:
        """A square copied with its axes exchanged: read in vectors along the one, written along the other."""
        lanes, kind = down.extent, memory_kind(kind_of(load.dtype))
        self._set(down, 0)
        rows = []
        for k in range(lanes):
            self._set(across, k)
            rows.append(self._load_run(load, kind, lanes, None))
        self._set(across, 0)
        for k, column in enumerate(transposed(rows)):
            self._set(down, k)
            if store.buffer in self._in_registers:
                self._registers[self._register(store.buffer, store.index)] = column
                continue
            address = self.address(store.buffer, store.index)
            self.block.do(
                f"store {column.type} {column.ref}, ptr {address}, align {store.buffer.dtype.itemsize}"
            )
        self._forget(down)
        self._forget(across)

    def _trips(self, s: For) -> Place:
        """How often the loop runs: its extent, or what its limit leaves of it."""
        if s.limit is None:
            return s.axis.extent
        index, stop = s.limit
        least, most = index.substitute({s.axis: Index()}).bounds()
        self._set(s.axis, 0)
        first = self.number(index)
        left = None if first is not None else stop - self.index(index)
        self._forget(s.axis)
        if left is None:
            assert first is not None
            return max(0, min(stop - first, s.axis.extent))
        if stop - least > s.axis.extent:
            left = select(left < s.axis.extent, left, s.axis.extent)
        return left if most <= stop else select(left > 0, left, 0)

    def _repeat(self, s: For, start: Place, stop: Place, step: int, body: Callable[[], None]) -> None:
        """`for axis = start; axis < stop; axis += step`; no loop where it runs but once."""
        if isinstance(start, int) and isinstance(stop, int) and stop - start <= step:
            if start < stop:
                self._set(s.axis, start)
                with self._scope():
                    body()
                self._forget(s.axis)
            return
        block = self.block
        first, last, outside = self._ref(start), self._ref(stop), block.here
        inside, done = block.fresh("body"), block.fresh("done")
        certain = isinstance(start, int) and isinstance(stop, int)
        if certain:
            block.do(f"br label %{inside}")
        else:
            some = block.emit(f"icmp slt {self._index_kind} {first}, {last}", "i1")
            block.do(f"br i1 {some.ref}, label %{inside}, label %{done}")
        carried, kept = self._carried(s), set(self._registers)
        with self._scope():
            known = block.known()
            block.label(inside)
            block.recall(known)
            counter, following = (
                Value(block, f"%{block.fresh(s.axis.name)}", self._index_kind, 1),
                f"%{block.fresh('n')}",
            )
            place = len(block.lines)
            block.lines += [""] * (1 + len(carried))
            for key, value in carried.items():
                self._registers[key] = Value(block, f"%{block.fresh('r')}", value.kind, value.lanes)
            heads = {key: self._registers[key] for key in carried}
            self._level += 1
            self._set(s.axis, counter)
            body()
            self._forget(s.axis)
            self._level -= 1
        latch = block.here
        block.do(f"{following} = add {self._index_kind} {counter.ref}, {step}")
        more = block.emit(f"icmp slt {self._index_kind} {following}, {last}", "i1")
        block.do(f"br i1 {more.ref}, label %{inside}, label %{done}")
        steps = f"[ {first}, %{outside} ], [ {following}, %{latch} ]"
        block.lines[place] = f"  {counter.ref} = phi {self._index_kind} {steps}"
        for k, (key, head) in enumerate(heads.items(), start=place + 1):
            block.lines[k] = f"  {head.ref} = {phi(carried[key], outside, self._registers[key], latch)}"
        known = block.known()
        block.label(done)
        block.recall(known)
        if not certain:
            self._registers = {key: value for key, value in self._registers.items() if key in kept}
            for key, value in carried.items():
                text = phi(value, outside, self._registers[key], latch)
                self._registers[key] = block.emit(text, value.kind, value.lanes)

    def _ref(self, place: Place) -> str:
        return str(place) if isinstance(place, int) else place.ref

    def _carried(self, s: For) -> dict[tuple[Buffer | Accumulate, int], Value]:
        """The registers that change in a loop."""
        changed: set[object] = set()
        for x in walk(s.body):
            if isinstance(x, Store | Accumulate | Exchange | Fragment | Mma):
                changed |= {x, x.buffer}
        return {key: value for key, value in self._registers.items() if key[0] in changed}

    def _hoist(self, s: For) -> None:
        """Compute before a loop what does not change in it."""
        statements = walk(s.body)
        changing = {s.axis, *(x.axis for x in statements if isinstance(x, For))}
        stores = [x for x in statements if isinstance(x, Store | Accumulate)]
        written = {x.buffer for x in statements if isinstance(x, Store | Accumulate | Local)}
        steady: set[object] = set()
        inside = expressions(s.body)
        unsure = set(expressions([x for x in statements if isinstance(x, If)]))
        for e in inside:
            moving = isinstance(e, Load) and (e.buffer in written or bool(e.bounds) or e in unsure)
            if not moving and steady.issuperset(children(e)) and changing.isdisjoint(self.axes(e)):
                steady.add(e)
            elif isinstance(e, Load):
                self.anticipate(e.buffer, e.index)
        used = [*(c for e in inside if e not in steady for c in children(e)), *(x.value for x in stores)]
        for e in used:
            if e in steady and not isinstance(e, Number):
                self.value(e)
        for x in statements:
            for buffer, index in self._places(x):
                self.anticipate(buffer, index)

    def _places(self, s: Statement) -> Sequence[tuple[Buffer, Index]]:
        """Which places a statement itself needs the address of."""
        return [(s.buffer, s.index)] if isinstance(s, Store | Accumulate) else []

    # ---- vectors ----

    def _vector_loop(self, s: For) -> None:
        trips = self._trips(s)
        if s.axis.extent == s.lanes > 1:
            self._single_vector(s, trips)
            return
        self._hoist(s)
        for lanes, start, stop, masked in self._parts(s, trips):
            self._vector_part(s, lanes, start, stop, masked)
        self._finish_sums(s)

    def _parts(self, s: For, trips: Place) -> Iterator[tuple[int, Place, Place, bool]]:
        """(lanes, start, stop, masked): whole vectors first, then what is left in vectors of one register,
        the last of them masked. Code that is long is there but once, masked throughout."""
        lanes = s.lanes
        native = min(lanes, self.module.native_bits // 32)
        if isinstance(trips, int):
            whole = trips // lanes * lanes
            rest = trips - whole
            if whole and rest and _is_long(s):
                yield lanes, 0, trips, True
                return
            if whole and rest and self._is_short(s, whole):
                few = min(lanes, 2 * native)
                yield few, 0, trips, trips % few != 0
                return
            as_unknown = whole and self._sums_across(s)  # sums are those of a loop whose trips are not known
            few = native if as_unknown else min(rest, native)
            narrow = next(w for w in (1, 2, 4, 8, 16, 32, 64, 128) if w >= few)
            yield lanes, 0, whole, False
            yield narrow, whole, trips, rest % narrow != 0
        elif lanes == 1 or _fills_vectors(s):
            yield lanes, 0, trips, False
        elif _is_long(s):
            yield lanes, 0, trips, True
        elif self._is_short(s, s.axis.extent):
            yield min(lanes, 2 * native), 0, trips, True
        else:
            covered = trips / lanes * lanes
            yield lanes, 0, covered, False
            yield native, covered, trips, True

    def _is_short(self, s: For, whole: int) -> bool:
        """Is a mask in every iteration no dearer than what is left in narrower vectors? So it is where masks
        cost nothing. Sums across lanes are added up as in any longer loop."""
        return self.module.means.avx512 and whole <= _SHORT * s.lanes and not self._sums_across(s)

    def _single_vector(self, s: For, trips: Place) -> None:
        """A loop that is one vector: what it computes is shared with the loops beside it."""
        if trips == 0:
            return
        self._set(s.axis, 0)
        with self._across(s, s.lanes) as vector:
            if trips != s.lanes:
                vector.mask = self._remaining(s, 0, trips, s.lanes)
            self.statements(s.body)
        self._finish_sums(s)
        self._forget(s.axis)

    @contextmanager
    def _across(self, s: For, lanes: int) -> Iterator[Vector]:
        """Within, statements are written for so many iterations at once. Sums across lanes go on from those
        of wider vectors before."""
        outer, along, vector = self._vector, self._along, Vector(s.axis, lanes)
        self._vector, self._along = vector, s.axis
        for x in self._sums_across(s):
            vector.sums.add(x)
            begun = self._registers.get((x, 0))
            if begun is None:
                begun = self.block.constant(kind_of(x.buffer.dtype), lanes, x.identity)
            self._registers[x, 0] = _joined(x, begun, lanes)
        yield vector
        self._vector, self._along = outer, along

    def _sums_across(self, s: For) -> list[Accumulate]:
        """What accumulates across the lanes of a vector loop."""
        if s not in self._sums:
            self._sums[s] = [x for x in walk(s.body) if isinstance(x, Accumulate) and _joins_lanes(x, s)]
        return self._sums[s]

    def _vector_part(self, s: For, lanes: int, start: Place, stop: Place, masked: bool) -> None:
        """The iterations from `start` to `stop`, `lanes` at a time, masked if need be."""
        if isinstance(start, int) and isinstance(stop, int) and start >= stop:
            return
        with self._across(s, lanes) as vector, self._scope():

            def body() -> None:
                for buffer, index in self._ahead.get(s, ()):
                    self._fetch(buffer, index, lanes)
                if masked and lanes > 1:
                    vector.mask = self._remaining(s, self._axes[s.axis], stop, lanes)
                self.statements(s.body)

            self._spread_all(s, lanes)
            self._repeat(s, start, stop, lanes, body)

    def _look_ahead(self, rows: For) -> None:
        """Where several loops go through a row, the first one waits for memory: a long one after it fetches
        of the next row what that will read."""
        loops = [x for x in opened(rows.body) if isinstance(x, For) and x.kind is Kind.VECTOR]
        long = next((x for x in loops[1:] if _is_long(x)), None)
        if long is None or not self.module.means.library:
            return
        found: dict[tuple[Buffer, Index], None] = {}
        for e in expressions(loops[0].body):
            if isinstance(e, Load) and e.buffer.space is not Space.LOCAL:
                step, along = e.index.stride(rows.axis), e.index.stride(loops[0].axis)
                if step and along == 1:
                    found[e.buffer, e.index.substitute({loops[0].axis: as_index(long.axis)}) + step] = None
        self._ahead[long] = list(found)

    def _fetch(self, buffer: Buffer, index: Index, lanes: int) -> None:
        """Have the cache fetch so many elements; those behind the last row are asked for in vain."""
        self.block.declare("llvm.prefetch.p0", "declare void @llvm.prefetch.p0(ptr, i32, i32, i32)")
        for first in range(0, lanes, _LINE // buffer.dtype.itemsize):
            self.block.do(
                f"call void @llvm.prefetch.p0(ptr {self.address(buffer, index + first)}, {_TO_READ})"
            )

    def _remaining(self, s: For, at: Place, stop: Place, lanes: int) -> Value:
        """The lanes from `at` on that lie before `stop`, which is not before it."""
        if isinstance(at, int) and isinstance(stop, int):
            return constant_mask(self.block, [at + k < stop for k in range(lanes)])
        last = stop if isinstance(stop, Value) else self.block.constant(self._index_kind, 1, stop)
        left = last if isinstance(at, int) and at == 0 else last - at
        return self.first_lanes(left, lanes, clipped=s.axis.extent <= CLIPPED)

    def _spread_all(self, s: For, lanes: int) -> None:
        """Put what was computed just before the loop, and is used in it, into vectors now rather than in
        every iteration."""
        if lanes == 1:
            return
        inside = [e for e in expressions(s.body) if self._key(e) not in self._values]
        used = {self._key(c) for e in inside for c in children(e)}
        used |= {self._key(x.value) for x in walk(s.body) if isinstance(x, Store | Accumulate)}
        for key in self._scopes[-2]:
            value = self._values[key]
            if key in used and value.lanes == 1 and value.ref.startswith("%"):
                self._keep((key, lanes), splat(value, lanes))

    def _finish_sums(self, s: For) -> None:
        """Join the lanes of each sum, and the result with what is stored."""
        for x in self._sums.get(s, ()):
            if (x, 0) in self._registers:
                total = _joined(x, self._registers.pop((x, 0)), 1)
                before = self._load(Load(x.buffer, x.index))
                self._store(x.buffer, x.index, ROWS[x.combine](before, total))


def _square(s: For) -> tuple[Axis, Store, Load] | None:
    """Does an unrolled loop of vectors copy a square, along its own axis from places side by side?"""
    match s.body:
        case (
            For(
                axis=across, body=(Store(value=Load() as load) as store,), kind=Kind.VECTOR, limit=None
            ) as inner,
        ):
            if load.buffer.space is Space.LOCAL or store.buffer.dtype.name == "bool" or load.bounds:
                return None
            square = s.axis.extent == across.extent == inner.lanes > 1
            turns = load.index.stride(s.axis) == store.index.stride(across) == 1
            return (across, store, load) if square and turns and load.index.stride(across) != 1 else None
    return None


def phi(before: Value, outside: str, after: Value, latch: str) -> str:
    """What holds the one value when code comes from outside, the other when it comes from the loop's end."""
    return f"phi {before.type} [ {before.ref}, %{outside} ], [ {after.ref}, %{latch} ]"


def _joined(s: Accumulate, total: Value, lanes: int) -> Value:
    """Halves of a sum across lanes added, until it has so many."""
    while total.lanes > lanes:
        low, high = halves(total)
        total = ROWS[s.combine](low, high)
    return total


def _fills_vectors(s: For) -> bool:
    """Does what its limit leaves of a loop fill whole vectors?"""
    assert s.limit is not None
    index, stop = s.limit
    steps = [c for atom, c in index.terms if atom is not s.axis]
    return all(n % s.lanes == 0 for n in (*steps, index.offset, stop, s.axis.extent))


def _is_long(s: For) -> bool:
    """Is so much computed in a loop that a mask in every iteration is cheaper than the code once more?"""
    rows = [OPS[e.row] for e in expressions(s.body) if isinstance(e, Call)]
    work = sum(_FUNCTION if isinstance(r, Elementwise) and r.types is Types.FLOAT else 1 for r in rows)
    return work > _LONG_BODY


def _joins_lanes(s: Accumulate, loop: For) -> bool:
    """Do all lanes of this vector loop accumulate into one place?"""
    own = {x.buffer for x in walk(loop.body) if isinstance(x, Local)}
    return s.buffer not in own and loop.axis not in s.index.axes()


def opened(body: Sequence[Statement]) -> Iterator[Statement]:
    """The statements, and those inside the braces of locals."""
    for s in body:
        if isinstance(s, Local):
            yield from opened(s.body)
        else:
            yield s
