"""Loops → LLVM IR text, for any target.

One `Emitter` writes one function. It carries where each axis stands (`places`), what has been computed and
is still valid (`values`), and the vector loop it is in, if any. What does not depend on a loop at all,
addresses too, is computed before it (`_hoist`). So the text needs no optimiser.

    row of the elementwise table   `rows.ROWS`
    loop kind                      `_loop`: serial, unroll and vector; parallel is made a function of its own
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from retrograd.compiler.backends.cpu import Target
from retrograd.compiler.backends.halves import BY_ARITHMETIC
from retrograd.compiler.backends.math import FUNCTIONS
from retrograd.compiler.backends.module import Module, kind_of, memory_kind, quoted
from retrograd.compiler.backends.places import Place, constant_mask
from retrograd.compiler.backends.rows import ROWS
from retrograd.compiler.backends.values import Values, Vector
from retrograd.compiler.backends.vector import (
    LLVM_TYPES,
    Conversion,
    Value,
    halves,
    select,
    splat,
    transposed,
)
from retrograd.compiler.errors import CompilerError
from retrograd.compiler.ir.graph import OPS
from retrograd.compiler.ir.index import Axis, Index, as_index
from retrograd.compiler.ir.likeness import Likeness, likeness, moved
from retrograd.compiler.ir.loops import (
    Accumulate,
    Barrier,
    Buffer,
    Call,
    Exchange,
    For,
    Fragment,
    If,
    Kernel,
    Kind,
    Load,
    Local,
    Mma,
    Number,
    Program,
    Space,
    Statement,
    Store,
    children,
    expressions,
    walk,
)
from retrograd.compiler.ops.row import Elementwise, Types
from retrograd.compiler.record import record

_SLACK = 128
"""Elements after a local buffer in memory, which the last vector of a loop may read, and ignores."""
_MOST_REGISTERS = 64
"""Local buffers of up to so many elements, or vectors, are kept in registers."""
_OFTEN = 24
"""A function of mathematics that a kernel computes in more places is called, not written there."""
_LONG = 400
"""A function of so many lines is not continued with another kernel."""
_LONG_BODY, _FUNCTION = 20, 20
"""Instructions of a long loop body, and of an elementary function, roughly."""


@record(slots=True)
class Text:
    """A program as LLVM text."""

    whole: str
    """All of it, in one module."""
    rest: str
    """What was not given away while it was written: of a small program, all."""


def emit(program: Program, symbol: str, target: Target, give: Callable[[str], None] | None = None) -> Text:
    """The module of a scheduled program: `void SYMBOL(ptr args)` and the functions that it calls. Pieces that
    are finished before the rest go to `give`, if anybody wants them."""
    module = Module(
        _attributes(target), target.vector_bits, _conversions(target), target.has("avx512f"), give
    )
    module.unique(symbol)
    likenesses = [likeness(kernel, located=False) for kernel in program.kernels]
    times = Counter(own.key for own in likenesses)
    written: dict[Hashable, str] = {}
    parts: list[Emitter | tuple[str, Likeness]] = []
    for kernel, own in zip(program.kernels, likenesses):
        part = parts[-1] if parts else None
        if times[own.key] > 1:
            if own.key not in written:
                written[own.key] = _function(module, program, symbol, kernel, own)
            parts.append((written[own.key], own))
        elif not isinstance(part, Emitter) or len(part.block.lines) > _LONG:
            parts.append(Emitter(module, program, module.unique(f"{symbol}.{kernel.name}")))
        if isinstance(part, Emitter) and part is not parts[-1]:
            _add(module, part)
        if isinstance(parts[-1], Emitter):
            parts[-1].kernel(kernel.name, kernel.body)
    main = _main(module, program, symbol, parts)
    module.add(f"{quoted(symbol)}(ptr %args)", main.preamble, main.block, internal=False)
    return Text(str(module), module.rest())


def _add(module: Module, part: Emitter) -> None:
    """A part of the program, finished, as a function."""
    module.add(f"{quoted(part.name)}(ptr %args)", part.preamble, part.block, internal=True)


def _function(module: Module, program: Program, symbol: str, kernel: Kernel, own: Likeness) -> str:
    """The name of a function that does what this kernel does, to the parts whose addresses it is given."""
    name = module.unique(f"{symbol}.{kernel.name}")
    emitter = Emitter(module, program, name, tuple(own.parts))
    emitter.kernel(kernel.name, moved(kernel, name, {b: (b, -start) for b, start in own.parts.items()}).body)
    _add(module, emitter)
    return name


def _main(
    module: Module, program: Program, symbol: str, parts: Sequence[Emitter | tuple[str, Likeness]]
) -> Emitter:
    """The function that calls the parts in order; or the only part itself."""
    last = parts[-1] if parts else None
    if len(parts) == 1 and isinstance(last, Emitter):
        return last
    if isinstance(last, Emitter):
        _add(module, last)
    main = Emitter(module, program, symbol)
    for part in parts:
        if isinstance(part, Emitter):
            main.block.do(f"call void {quoted(part.name)}(ptr %args)")
        else:
            main.call(part[0], part[1].parts)
    return main


def _attributes(target: Target) -> str:
    """LLVM function attributes: nothing throws, and registers are used at their full width."""
    width = f'"prefer-vector-width"="{target.vector_bits}" "min-legal-vector-width"="{target.vector_bits}"'
    return f"nounwind {width}" if target.architecture == "x86_64" else "nounwind"


def _conversions(target: Target) -> dict[str, Conversion]:
    """Halves that the processor does not convert by an instruction."""
    converted = {"f16"} if target.architecture != "x86_64" or target.has("f16c") else set()
    return {kind: c for kind, c in BY_ARITHMETIC.items() if kind not in converted}


class Emitter(Values):
    """The body of one function over `%args`."""

    def __init__(
        self, module: Module, program: Program, name: str, buffers: Sequence[Buffer] | None = None
    ) -> None:
        super().__init__(module, program, name, buffers)
        self._apart: dict[For, bool] = {}
        """Unrolled loops, and whether their copies must not share what they compute."""
        self._sums: dict[For, list[Accumulate]] = {}
        """Vector loops, and the statements that accumulate across lanes."""

    def call(self, name: str, parts: Mapping[Buffer, int]) -> None:
        """A call of a function of this module, which is given the addresses of these parts of buffers."""
        room = f"%{self.block.fresh('given')}"
        self.preamble.append(f"  {room} = alloca [{len(parts)} x ptr]")
        for k, (buffer, start) in enumerate(parts.items()):
            place = self.block.pure(f"getelementptr ptr, ptr {room}, i64 {k}", "ptr").ref
            self.block.do(f"store ptr {self.address(buffer, as_index(start))}, ptr {place}")
        self.block.do(f"call void {quoted(name)}(ptr {room})")

    def kernel(self, name: str, body: Sequence[Statement]) -> None:
        """The statements of a kernel, after those of others."""
        self.block.lines.append(f"  ; {name}")
        rows = Counter(e.row for e in expressions(body) if isinstance(e, Call))
        self._often = frozenset(row for row in FUNCTIONS if rows[row] > _OFTEN)
        with self._scope():
            self.statements(body)

    # ---- statements ----

    def statements(self, statements: Sequence[Statement]) -> None:
        """A block of statements, in order."""
        for s in statements:
            match s:
                case For():
                    self._loop(s)
                case Local():
                    self._local(s)
                case Store():
                    self._store(s.buffer, s.index, self.value(s.value))
                case Accumulate():
                    self._accumulate(s)
                case If():
                    self._if(s)
                case Barrier() | Exchange() | Fragment() | Mma():
                    self._between_threads(s)

    def _between_threads(self, s: Barrier | Exchange | Fragment | Mma) -> None:
        raise CompilerError(f"a {type(s).__name__.lower()}", "it belongs to another target")

    def _if(self, s: If) -> None:
        """A branch; registers that change in it are joined after it."""
        if self._vector is not None and self._vector.lanes > 1:
            raise CompilerError("a condition in a vector loop", "a mask should stand for it")
        condition, block = self.within(s.bounds, 1), self.block
        if condition is None or condition.ref in ("true", "false"):
            self.statements(s.body if condition is None or condition.ref == "true" else ())
            return
        outside, inside, after = block.here, block.fresh("then"), block.fresh("after")
        before = dict(self._registers)
        block.do(f"br i1 {condition.ref}, label %{inside}, label %{after}")
        with self._scope():
            known = block.known()
            block.label(inside)
            block.recall(known)
            self.statements(s.body)
        last, known = block.here, block.known()
        block.do(f"br label %{after}")
        block.label(after)
        block.recall(known)
        for key, value in before.items():
            changed = self._registers[key]
            if changed is not value:
                before[key] = block.emit(_phi(value, outside, changed, last), value.kind, value.lanes)
        self._registers = before

    def _accumulate(self, s: Accumulate) -> None:
        vector = self._vector
        if vector and s in vector.sums:
            before = self._registers[s, 0]
            after = self._combined(s, before)
            self._registers[s, 0] = after if vector.mask is None else select(vector.mask, after, before)
            return
        if (
            vector
            and vector.lanes > 1
            and s.buffer not in vector.private
            and s.index.stride(vector.axis) != 1
        ):
            raise CompilerError(f"{s.buffer}[{s.index}] accumulates in a vector loop over {vector.axis}")
        before = self._load(Load(s.buffer, s.index))
        self._store(s.buffer, s.index, self._combined(s, before))

    def _local(self, s: Local) -> None:
        if self._vector is not None:
            self._vector.private.add(s.buffer)
        if _fits_registers(s):
            self._in_registers.add(s.buffer)
            self.statements(s.body)
            self._registers = {k: v for k, v in self._registers.items() if k[0] is not s.buffer}
            return
        kind = LLVM_TYPES[memory_kind(kind_of(s.buffer.dtype))]
        if self._vector is not None and self._vector.lanes > 1:
            kind = f"<{self._vector.lanes} x {kind}>"
        name = f"%{self.block.fresh('local')}"
        self.preamble.append(f"  {name} = alloca [{s.buffer.size + _SLACK} x {kind}], align 64")
        self._pointers[s.buffer] = name
        self.statements(s.body)

    # ---- loops ----

    def _loop(self, s: For) -> None:
        match s.kind:
            case Kind.VECTOR:
                self._vector_loop(s)
            case Kind.UNROLL:
                self._unrolled_loop(s)
            case Kind.PARALLEL:
                self._parallel(s)
            case Kind.SERIAL:
                trips = self._trips(s)
                self._hoist(s)
                self._repeat(s, 0, trips, 1, lambda: self.statements(s.body))
            case _:
                raise CompilerError(f"a loop of kind {s.kind.value}", "it belongs to another target")

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
        self._set(s.axis, 0)
        first = self.number(index)
        left = None if first is not None else stop - self.index(index)
        self._forget(s.axis)
        if left is None:
            assert first is not None
            return max(0, min(stop - first, s.axis.extent))
        left = select(left < s.axis.extent, left, s.axis.extent)
        return select(left > 0, left, 0)

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
            block.lines[k] = f"  {head.ref} = {_phi(carried[key], outside, self._registers[key], latch)}"
        known = block.known()
        block.label(done)
        block.recall(known)
        if not certain:
            self._registers = {key: value for key, value in self._registers.items() if key in kept}
            for key, value in carried.items():
                text = _phi(value, outside, self._registers[key], latch)
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
            narrow = next(w for w in (1, 2, 4, 8, 16, 32, 64, 128) if w >= min(rest, native))
            yield lanes, 0, whole, False
            yield narrow, whole, trips, rest % narrow != 0
        elif lanes == 1 or _fills_vectors(s):
            yield lanes, 0, trips, False
        elif _is_long(s):
            yield lanes, 0, trips, True
        else:
            covered = trips / lanes * lanes
            yield lanes, 0, covered, False
            yield native, covered, trips, True

    def _single_vector(self, s: For, trips: Place) -> None:
        """A loop that is one vector: what it computes is shared with the loops beside it."""
        if trips == 0:
            return
        self._set(s.axis, 0)
        with self._across(s, s.lanes) as vector:
            if trips != s.lanes:
                vector.mask = self._remaining(0, trips, s.lanes)
            self.statements(s.body)
        self._finish_sums(s)
        self._forget(s.axis)

    @contextmanager
    def _across(self, s: For, lanes: int) -> Iterator[Vector]:
        """Within, statements are written for so many iterations at once. Sums across lanes go on from those
        of wider vectors before."""
        outer, along, vector = self._vector, self._along, Vector(s.axis, lanes)
        self._vector, self._along = vector, s.axis
        if s not in self._sums:
            self._sums[s] = [x for x in walk(s.body) if isinstance(x, Accumulate) and _joins_lanes(x, s)]
        for x in self._sums[s]:
            vector.sums.add(x)
            begun = self._registers.get((x, 0))
            if begun is None:
                begun = self.block.constant(kind_of(x.buffer.dtype), lanes, x.identity)
            self._registers[x, 0] = _joined(x, begun, lanes)
        yield vector
        self._vector, self._along = outer, along

    def _vector_part(self, s: For, lanes: int, start: Place, stop: Place, masked: bool) -> None:
        """The iterations from `start` to `stop`, `lanes` at a time, masked if need be."""
        if isinstance(start, int) and isinstance(stop, int) and start >= stop:
            return
        with self._across(s, lanes) as vector, self._scope():

            def body() -> None:
                if masked and lanes > 1:
                    vector.mask = self._remaining(self._axes[s.axis], stop, lanes)
                self.statements(s.body)

            self._spread_all(lanes)
            self._repeat(s, start, stop, lanes, body)

    def _remaining(self, at: Place, stop: Place, lanes: int) -> Value:
        """The lanes from `at` on that lie before `stop`."""
        if isinstance(at, int) and isinstance(stop, int):
            return constant_mask(self.block, [at + k < stop for k in range(lanes)])
        first = at if isinstance(at, Value) else self.block.constant(self._index_kind, 1, at)
        return self.first_lanes(stop - first, lanes)

    def _spread_all(self, lanes: int) -> None:
        """Put what was computed just before the loop into vectors now rather than in every iteration."""
        for key in self._scopes[-2]:
            value = self._values[key]
            if value.lanes == 1 and lanes > 1 and value.ref.startswith("%"):
                self._keep((key, lanes), splat(value, lanes))

    def _finish_sums(self, s: For) -> None:
        """Join the lanes of each sum, and the result with what is stored."""
        for x in self._sums.get(s, ()):
            if (x, 0) in self._registers:
                total = _joined(x, self._registers.pop((x, 0)), 1)
                before = self._load(Load(x.buffer, x.index))
                self._store(x.buffer, x.index, ROWS[x.combine](before, total))

    # ---- threads ----

    def _parallel(self, s: For) -> None:
        """The body as a function of its own, called once per iteration by the pool."""
        name = self.module.unique(f"{self.name}.{s.axis.name}")
        inner = Emitter(self.module, self._program, name, self._given)
        inner._often = self._often
        inner._set(s.axis, Value(inner.block, "%block", "i64", 1))
        inner.statements(s.body)
        self.module.add(f"{quoted(name)}(ptr %args, i64 %block)", inner.preamble, inner.block, internal=True)
        self.block.declare("retrograd_parallel", "declare void @retrograd_parallel(ptr, ptr, i64)")
        trips = self._ref(self._trips(s))
        self.block.do(f"call void @retrograd_parallel(ptr {quoted(name)}, ptr %args, i64 {trips})")


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


def _phi(before: Value, outside: str, after: Value, latch: str) -> str:
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


def _fits_registers(local: Local) -> bool:
    """Is each place in the buffer known while compiling, and each element first written outside loops?"""
    buffer, lanes = local.buffer, set[int]()
    loops = [s for s in walk(local.body) if isinstance(s, For)]
    constant = {s.axis for s in loops if s.kind is Kind.UNROLL}
    vectors = {s.axis: s.lanes for s in loops if s.kind is Kind.VECTOR and s.lanes == s.axis.extent}
    places = [s.index for s in walk(local.body) if isinstance(s, Store | Accumulate) and s.buffer is buffer]
    places += [e.index for e in expressions(local.body) if isinstance(e, Load) and e.buffer is buffer]
    for place in places:
        across = [axis for axis in place.axes() if axis in vectors]
        lanes.add(vectors[across[0]] if across else 1)
        if not all(isinstance(a, Axis) and (a in constant or a in vectors) for a, _ in place.terms):
            return False
        if any(place.stride(axis) != 1 for axis in across):
            return False
    first = next((s for s in _opened(local.body) if any(_writes(x, buffer) for x in walk((s,)))), None)
    begins = isinstance(first, Store | Exchange | Fragment)
    begins = begins or (isinstance(first, For) and first.kind in (Kind.UNROLL, Kind.VECTOR))
    held = [place for s in walk(local.body) for place in _held(s, buffer)]
    if any(atom not in constant for place in held for atom, _ in place.terms):
        return False
    if held and not lanes:
        lanes.add(1)
    return begins and len(lanes) == 1 and buffer.size <= _MOST_REGISTERS * max(lanes)


def _opened(body: Sequence[Statement]) -> Iterator[Statement]:
    """The statements, and those inside the braces of locals."""
    for s in body:
        if isinstance(s, Local):
            yield from _opened(s.body)
        else:
            yield s


def _held(s: Statement, buffer: Buffer) -> list[Index]:
    """Where a warp's fragments are in a buffer of each thread."""
    match s:
        case Fragment(buffer=own, place=place) if own is buffer:
            return [place]
        case Mma():
            operands = ((s.buffer, s.place), (s.left, s.left_place), (s.right, s.right_place))
            return [place for own, place in operands if own is buffer]
        case _:
            return []


def _writes(s: Statement, buffer: Buffer) -> bool:
    return isinstance(s, Store | Accumulate | Exchange | Fragment | Mma) and s.buffer is buffer
