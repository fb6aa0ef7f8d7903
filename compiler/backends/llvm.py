"""Loops → LLVM IR text, for any target.

One `Emitter` writes one function. It carries where each axis stands (`_axes`), what has been computed and is still valid
(`_scopes`, one per open loop), and the vector loop it is in, if any. An expression that does not depend on the vector
axis stays a scalar and is spread over the lanes only where it meets a vector; what does not depend on a loop at all is
computed before it (`_hoist`). So the text needs no optimiser.

    row of the elementwise table   `rows.ROWS`
    loop kind                      `_loop`: serial, unroll and vector here; parallel is made a function of its own
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count

from retrograd.compiler.backends.rows import ROWS
from retrograd.compiler.backends.vector import (
    LLVM_TYPES,
    Block,
    Value,
    fma,
    halves,
    maximum,
    minimum,
    select,
    splat,
)
from retrograd.compiler.dtypes import DType
from retrograd.compiler.errors import CompilerError
from retrograd.compiler.ir.index import Axis, Bound, Divided, Index, Loaded, Remainder
from retrograd.compiler.ir.loops import (
    Accumulate,
    Buffer,
    Call,
    Convert,
    Expression,
    For,
    Kind,
    Load,
    Local,
    Number,
    Position,
    Program,
    Space,
    Statement,
    Store,
    Within,
    axes_of,
    children,
    expressions,
    operands_first,
    walk,
)

KINDS = {"f32": "f32", "f64": "f64", "f16": "f16", "bool": "i1", "i8": "i8", "i16": "i16", "i32": "i32", "i64": "i64"}
"""How values of each dtype are computed."""


_SLACK = 128
"""Elements after a local buffer, which the last vector of a loop may read, and ignores."""


def _kind(dtype: DType) -> str:
    kind = KINDS.get(dtype.name)
    if kind is None:
        raise CompilerError(f"{dtype} in compiled code", "it is computed in eager mode only")
    return kind


def _memory(kind: str) -> str:
    """How values of a kind lie in memory: a bool takes a byte."""
    return "i8" if kind == "i1" else kind


@dataclass
class Module:
    """The functions of one program, and what they declare."""

    attributes: str
    """LLVM attributes of every function."""
    native_bits: int
    """Bits of a vector register."""
    functions: list[str] = field(default_factory=list)
    declarations: dict[str, str] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)

    def unique(self, name: str) -> str:
        """A function name not used before."""
        chosen = next(n for k in count(1) if (n := name if k == 1 else f"{name}_{k}") not in self.names)
        self.names.add(chosen)
        return chosen

    def add(self, signature: str, block: Block, internal: bool) -> None:
        """A finished function."""
        self.declarations.update(block.declarations)
        linkage = "internal " if internal else ""
        body = "\n".join(block.lines)
        self.functions.append(f"define {linkage}void {signature} {self.attributes} {{\n{body}\n  ret void\n}}\n")

    def __str__(self) -> str:
        return "\n".join([*self.functions, *self.declarations.values(), ""])


def emit(program: Program, symbol: str, *, native_bits: int, attributes: str = "nounwind") -> str:
    """The module of a scheduled program: `void SYMBOL(ptr args)` and a function for each kernel and parallel loop."""
    module = Module(attributes, native_bits)
    module.unique(symbol)
    main = Block()
    for kernel in program.kernels:
        name = module.unique(f"{symbol}.{kernel.name}")
        emitter = Emitter(module, program, name)
        emitter.statements(kernel.body)
        module.add(f"@{_quoted(name)}(ptr %args)", emitter.block, internal=True)
        main.do(f"call void @{_quoted(name)}(ptr %args)")
    module.add(f"@{_quoted(symbol)}(ptr %args)", main, internal=False)
    return str(module)


def _quoted(name: str) -> str:
    return f'"{name}"'


@dataclass
class _Vector:
    """The vector loop that is being written."""

    axis: Axis
    lanes: int
    mask: Value | None = None
    """Which lanes are still within the loop; None if all are."""
    sums: dict[int, Value] = field(default_factory=dict)
    """Per statement that accumulates across lanes, the vector it accumulates in (a pointer)."""
    private: set[Buffer] = field(default_factory=set)
    """Locals made inside the loop: each lane has its own."""


class Emitter:
    """The body of one function over `%args`."""

    def __init__(self, module: Module, program: Program, name: str) -> None:
        self.block = Block()
        self.module = module
        self._program = program
        self._name = name
        self._pointers: dict[Buffer, str] = {}
        self._axes: dict[Axis, Value] = {}
        self._vector: _Vector | None = None
        self._scopes: list[dict[int, Value]] = [{}]
        self._spread: list[dict[tuple[int, int], Value]] = [{}]
        self._alive: list[Expression] = []
        self._entry = 1
        """Where in the text the function's preamble ends: pointers and scratch are put there."""

    # ---- buffers ----

    def _preamble(self, text: str) -> None:
        self.block.lines.insert(self._entry, f"  {text}")
        self._entry += 1

    def _pointer(self, buffer: Buffer) -> str:
        """The buffer's address, loaded at the start of the function."""
        if buffer not in self._pointers:
            self._pointers[buffer] = self._load_pointer(buffer)
        return self._pointers[buffer]

    def _load_pointer(self, buffer: Buffer) -> str:
        program, name = self._program, f"%{self.block.fresh('p')}"
        if buffer.space is Space.ARENA:
            arena = self._argument(len(program.inputs) + len(program.constants) + len(program.outputs))
            self._preamble(f"{name} = getelementptr i8, ptr {arena}, i64 {program.arena[buffer]}")
            return name
        return self._argument((*program.inputs, *program.constants, *program.outputs).index(buffer))

    def _argument(self, position: int) -> str:
        slot, name = f"%{self.block.fresh('s')}", f"%{self.block.fresh('p')}"
        self._preamble(f"{slot} = getelementptr ptr, ptr %args, i64 {position}")
        self._preamble(f"{name} = load ptr, ptr {slot}")
        return name

    def _element(self, buffer: Buffer, index: Value) -> str:
        """The address of an element, by a scalar index."""
        kind = LLVM_TYPES[_memory(_kind(buffer.dtype))]
        return self.block.pure(f"getelementptr {kind}, ptr {self._pointer(buffer)}, i64 {index.ref}", "ptr").ref

    # ---- scopes ----

    @contextmanager
    def _scope(self) -> Iterator[None]:
        self._scopes.append({})
        self._spread.append({})
        yield
        self._scopes.pop()
        self._spread.pop()

    def _varies(self, e: Expression) -> bool:
        """Does the value differ between the lanes of the vector loop?"""
        vector = self._vector
        if vector is None:
            return False
        if vector.axis in axes_of(e):
            return True
        below = operands_first((e,), set()) if vector.private else ()
        return any(isinstance(x, Load) and x.buffer in vector.private for x in below)

    # ---- indices ----

    def _integer(self, number: int) -> Value:
        return self.block.constant("i64", 1, number)

    def index(self, index: Index, lanes: int = 1) -> Value:
        """The value of an index: at the first lane, or for `lanes` > 1 at every lane."""
        total: Value | None = None
        for atom, coefficient in index.terms:
            term = self._atom(atom, lanes)
            term = term if coefficient == 1 else term * coefficient
            total = term if total is None else total + term
        if total is None:
            return self.block.constant("i64", lanes, index.offset)
        return total + index.offset if index.offset else total

    def _atom(self, atom: Axis | Divided | Remainder | Loaded, lanes: int) -> Value:
        match atom:
            case Axis():
                value = self._axes[atom]
                if lanes == 1:
                    return value
                spread = splat(value, lanes)
                return spread + self._ramp(lanes) if self._vector and atom is self._vector.axis else spread
            case Divided(value, divisor):
                return _divide("sdiv", self.index(value, lanes), divisor)
            case Remainder(value, divisor):
                return _divide("srem", self.index(value, lanes), divisor)
            case Loaded(expression):
                loaded = self.value(expression)  # type: ignore[arg-type]  # see ir.index: lies below loops
                return splat(loaded, lanes) if loaded.lanes != lanes else loaded

    def _ramp(self, lanes: int) -> Value:
        """0, 1, 2, …"""
        text = ", ".join(f"i64 {k}" for k in range(lanes))
        return Value(self.block, f"<{text}>", "i64", lanes)

    # ---- expressions ----

    def value(self, e: Expression) -> Value:
        """An expression's value: a scalar, or a vector where it differs between lanes."""
        found = self._found(e)
        if found is not None:
            return found
        pending = [e]
        while pending:
            missing = [c for c in children(pending[-1]) if self._found(c) is None]
            pending += reversed(missing)
            if not missing:
                self._remember(pending.pop())
        return self._scopes[-1][id(e)]

    def _found(self, e: Expression) -> Value | None:
        """What has been computed already."""
        return next((scope[id(e)] for scope in reversed(self._scopes) if id(e) in scope), None)

    def _remember(self, e: Expression) -> None:
        """Compute an expression whose operands are there."""
        if self._found(e) is None:
            self._scopes[-1][id(e)] = self._compute(e)
            self._alive.append(e)

    def wide(self, e: Expression) -> Value:
        """An expression's value in every lane of the vector loop."""
        value = self.value(e)
        if self._vector is None or value.lanes == self._vector.lanes:
            return value
        key = (id(e), self._vector.lanes)
        for scope in reversed(self._spread):
            if key in scope:
                return scope[key]
        self._spread[-1][key] = splat(value, self._vector.lanes)
        return self._spread[-1][key]

    def _compute(self, e: Expression) -> Value:
        match e:
            case Number():
                return self.block.constant(_kind(e.dtype), 1, e.value)
            case Load():
                return self._load(e)
            case Call():
                return self._call(e)
            case Convert():
                return self._convert(self.value(e.operand), e.operand.dtype, e.dtype)
            case Position():
                lanes = self._vector.lanes if self._vector and self._varies(e) else 1
                return self.index(e.index, lanes).to(_kind(e.dtype))
            case Within():
                lanes = self._vector.lanes if self._vector and self._varies(e) else 1
                return self._within(e.bounds, lanes)

    def _call(self, e: Call) -> Value:
        emit_row = ROWS.get(e.row)
        if emit_row is None:
            raise CompilerError(f"{e.row} has no machine code", "the row should be expanded before lowering")
        operands = [self.value(a) for a in e.arguments]
        if any(o.lanes > 1 for o in operands):
            operands = [self.wide(a) for a in e.arguments]
        return emit_row(*operands)

    def _convert(self, value: Value, source: DType, target: DType) -> Value:
        return value.to(_kind(target))

    def _within(self, bounds: Sequence[Bound], lanes: int) -> Value:
        result: Value | None = None
        for bound in bounds:
            at = self.index(bound.index, lanes)
            low, high = bound.index.bounds()
            for holds in ([at >= bound.low] if low < bound.low else []) + ([at < bound.high] if high >= bound.high else []):
                result = holds if result is None else result & holds
        return self.block.constant("i1", lanes, 1) if result is None else result

    # ---- memory ----

    def _load(self, e: Load) -> Value:
        kind, vector = _kind(e.dtype), self._vector
        if e.buffer.size == 0:
            return self.block.constant(kind, 1, 0)
        if vector and e.buffer in vector.private:
            return self._load_private(e, kind, vector)
        if vector is None or vector.lanes == 1 or not self._varies(e):
            return self._load_scalar(e, kind)
        mask = self._mask(e.bounds)
        if e.index.stride(vector.axis) == 1:
            has_slack = e.buffer.space is Space.LOCAL and not e.bounds
            loaded = self._load_run(e, kind, vector.lanes, None if has_slack else mask)
        else:
            loaded = self._gather(e, kind, vector.lanes, mask)
        return loaded.to("i1") if kind == "i1" else loaded

    def _load_scalar(self, e: Load, kind: str) -> Value:
        at = self.index(e.index)
        if e.bounds:
            at = select(self._within(e.bounds, 1), at, 0)
        loaded = self.block.emit(f"load {LLVM_TYPES[_memory(kind)]}, ptr {self._element(e.buffer, at)}", _memory(kind))
        return loaded.to("i1") if kind == "i1" else loaded

    def _load_private(self, e: Load, kind: str, vector: _Vector) -> Value:
        size = f"<{vector.lanes} x {LLVM_TYPES[_memory(kind)]}>" if vector.lanes > 1 else LLVM_TYPES[_memory(kind)]
        at = self.index(e.index)
        if e.bounds:
            at = minimum(maximum(at, 0), e.buffer.size - 1)
        address = self.block.pure(f"getelementptr {size}, ptr {self._pointer(e.buffer)}, i64 {at.ref}", "ptr").ref
        return self.block.emit(f"load {size}, ptr {address}", _memory(kind), vector.lanes).to(kind)

    def _mask(self, bounds: Sequence[Bound]) -> Value | None:
        """Which lanes may read memory; None if all may."""
        assert self._vector is not None
        mask = self._vector.mask
        if bounds:
            inside = self._within(bounds, self._vector.lanes)
            mask = inside if mask is None else mask & inside
        return mask

    def _load_run(self, e: Load, kind: str, lanes: int, mask: Value | None) -> Value:
        stored = _memory(kind)
        address = self._element(e.buffer, self.index(e.index))
        vector = self.block.constant(stored, lanes, 0)
        align = e.dtype.itemsize
        if mask is None:
            return self.block.emit(f"load {vector.type}, ptr {address}, align {align}", stored, lanes)
        name = f"llvm.masked.load.v{lanes}{stored}.p0"
        self.block.declare(name, f"declare {vector.type} @{name}(ptr, i32, <{lanes} x i1>, {vector.type})")
        text = f"call {vector.type} @{name}(ptr {address}, i32 {align}, {mask.type} {mask.ref}, {vector.type} {vector.ref})"
        return self.block.emit(text, stored, lanes)

    def _gather(self, e: Load, kind: str, lanes: int, mask: Value | None) -> Value:
        stored = _memory(kind)
        pointers = self._addresses(e.buffer, e.index, lanes)
        zero = self.block.constant(stored, lanes, 0)
        allowed = self.block.constant("i1", lanes, 1) if mask is None else mask
        name = f"llvm.masked.gather.v{lanes}{stored}.v{lanes}p0"
        self.block.declare(
            name, f"declare {zero.type} @{name}(<{lanes} x ptr>, i32, <{lanes} x i1>, {zero.type})"
        )
        text = (
            f"call {zero.type} @{name}(<{lanes} x ptr> {pointers}, i32 {e.dtype.itemsize}, "
            f"{allowed.type} {allowed.ref}, {zero.type} {zero.ref})"
        )
        return self.block.emit(text, stored, lanes)

    def _addresses(self, buffer: Buffer, index: Index, lanes: int) -> str:
        """One address per lane."""
        places = self.index(index, lanes)
        kind = LLVM_TYPES[_memory(_kind(buffer.dtype))]
        text = f"getelementptr {kind}, ptr {self._pointer(buffer)}, {places.type} {places.ref}"
        return self.block.pure(text, "ptr", lanes).ref

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

    def _store(self, buffer: Buffer, index: Index, value: Value) -> None:
        kind, vector = _kind(buffer.dtype), self._vector
        stored = value.to(_memory(kind)) if kind == "i1" else value
        if vector and buffer in vector.private:
            self._store_private(buffer, index, splat(stored, vector.lanes) if stored.lanes == 1 else stored)
        elif vector is None or vector.lanes == 1 or vector.axis not in index.axes():
            if stored.lanes > 1:
                raise CompilerError(f"store of a vector to the single place {buffer}[{index}]")
            self.block.do(f"store {stored.type} {stored.ref}, ptr {self._element(buffer, self.index(index))}")
        else:
            wide = splat(stored, vector.lanes) if stored.lanes == 1 else stored
            self._store_wide(buffer, index, wide, vector)

    def _store_private(self, buffer: Buffer, index: Index, value: Value) -> None:
        at = self.index(index)
        address = self.block.pure(f"getelementptr {value.type}, ptr {self._pointer(buffer)}, i64 {at.ref}", "ptr").ref
        self.block.do(f"store {value.type} {value.ref}, ptr {address}")

    def _store_wide(self, buffer: Buffer, index: Index, value: Value, vector: _Vector) -> None:
        align, lanes, mask = buffer.dtype.itemsize, vector.lanes, vector.mask
        if index.stride(vector.axis) == 1:
            address = self._element(buffer, self.index(index))
            if mask is None:
                self.block.do(f"store {value.type} {value.ref}, ptr {address}, align {align}")
                return
            name = f"llvm.masked.store.v{lanes}{value.kind}.p0"
            self.block.declare(name, f"declare void @{name}({value.type}, ptr, i32, <{lanes} x i1>)")
            target = f"ptr {address}"
        else:
            name = f"llvm.masked.scatter.v{lanes}{value.kind}.v{lanes}p0"
            self.block.declare(name, f"declare void @{name}({value.type}, <{lanes} x ptr>, i32, <{lanes} x i1>)")
            target = f"<{lanes} x ptr> {self._addresses(buffer, index, lanes)}"
        allowed = self.block.constant("i1", lanes, 1) if mask is None else mask
        self.block.do(
            f"call void @{name}({value.type} {value.ref}, {target}, i32 {align}, {allowed.type} {allowed.ref})"
        )

    def _accumulate(self, s: Accumulate) -> None:
        vector = self._vector
        if vector and id(s) in vector.sums:
            self._accumulate_across(s, vector)
            return
        if vector and s.buffer not in vector.private and s.index.stride(vector.axis) != 1:
            raise CompilerError(f"{s.buffer}[{s.index}] accumulates in a vector loop over {vector.axis}")
        before = self._load(Load(s.buffer, s.index))
        self._store(s.buffer, s.index, self._combined(s, before, s.value))

    def _combined(self, s: Accumulate, before: Value, value: Expression) -> Value:
        """`before` combined with an expression; a product that is added becomes one fused instruction."""
        if s.combine == "add" and isinstance(value, Call) and value.row == "mul" and before.floating:
            a, b = (self.wide(x) if before.lanes > 1 else self.value(x) for x in value.arguments)
            return fma(a, b, before)
        operand = self.wide(value) if before.lanes > 1 else self.value(value)
        return ROWS[s.combine](before, operand)

    def _accumulate_across(self, s: Accumulate, vector: _Vector) -> None:
        """Lanes accumulate apart; the loop's end joins them."""
        pointer, kind = vector.sums[id(s)], _kind(s.buffer.dtype)
        before = self.block.emit(f"load {pointer.type}, ptr {pointer.ref}", kind, vector.lanes)
        after = self._combined(s, before, s.value)
        if vector.mask is not None:
            after = select(vector.mask, after, before)
        self.block.do(f"store {after.type} {after.ref}, ptr {pointer.ref}")

    def _local(self, s: Local) -> None:
        kind = LLVM_TYPES[_memory(_kind(s.buffer.dtype))]
        name = f"%{self.block.fresh('local')}"
        if self._vector is not None:
            self._vector.private.add(s.buffer)
            kind = f"<{self._vector.lanes} x {kind}>" if self._vector.lanes > 1 else kind
        self._preamble(f"{name} = alloca [{s.buffer.size + _SLACK} x {kind}], align 64")
        self._pointers[s.buffer] = name
        self.statements(s.body)

    # ---- loops ----

    def _loop(self, s: For) -> None:
        match s.kind:
            case Kind.VECTOR:
                self._vector_loop(s)
            case Kind.UNROLL:
                for k in range(s.axis.extent):
                    self._axes[s.axis] = self._integer(k)
                    with self._scope():
                        self.statements(s.body)
            case Kind.PARALLEL:
                self._parallel(s)
            case Kind.SERIAL:
                self._hoist(s)
                self._repeat(s.axis, self._integer(0), self._trips(s), 1, lambda: self.statements(s.body))
            case _:
                raise CompilerError(f"a loop of kind {s.kind.value}", "it belongs to another target")

    def _trips(self, s: For, scale: int = 1) -> Value:
        """How often the loop runs: its extent, or what its limit leaves of it."""
        if s.limit is None:
            return self._integer(s.axis.extent)
        index, stop = s.limit
        self._axes[s.axis] = self._integer(0)
        left = stop - self.index(index)
        left = select(left < s.axis.extent, left, s.axis.extent)
        return select(left > 0, left, 0)

    def _repeat(self, axis: Axis, start: Value, stop: Value, step: int, body: Callable[[], None]) -> None:
        """`for axis = start; axis < stop; axis += step`"""
        block, before = self.block, self.block.here
        head, inside, latch, done = (block.fresh(n) for n in ("head", "body", "next", "done"))
        counter, following = Value(block, f"%{block.fresh(axis.name)}", "i64", 1), f"%{block.fresh('n')}"
        block.do(f"br label %{head}")
        block.label(head)
        block.do(f"{counter.ref} = phi i64 [ {start.ref}, %{before} ], [ {following}, %{latch} ]")
        more = block.emit(f"icmp slt i64 {counter.ref}, {stop.ref}", "i1")
        block.do(f"br i1 {more.ref}, label %{inside}, label %{done}")
        block.label(inside)
        self._axes[axis] = counter
        with self._scope():
            body()
        block.do(f"br label %{latch}")
        block.label(latch)
        block.do(f"{following} = add i64 {counter.ref}, {step}")
        block.do(f"br label %{head}")
        block.label(done)

    def _hoist(self, s: For) -> None:
        """Compute before a loop what does not change in it."""
        changing = {s.axis} | {inner.axis for inner in walk(s.body) if isinstance(inner, For)}
        written = {x.buffer for x in walk(s.body) if isinstance(x, Store | Accumulate)}
        written |= {x.buffer for x in walk(s.body) if isinstance(x, Local)}
        steady: dict[int, bool] = {}
        for e in expressions(s.body):
            own = not (isinstance(e, Load) and (e.buffer in written or e.bounds))
            own = own and all(steady[id(c)] for c in children(e)) and not (axes_of(e) & changing)
            steady[id(e)] = own
        for e in expressions(s.body):
            if not steady[id(e)]:
                for c in children(e):
                    if steady[id(c)] and not isinstance(c, Number):
                        self.value(c)
        for x in walk(s.body):
            if isinstance(x, Store | Accumulate) and steady[id(x.value)] and not isinstance(x.value, Number):
                self.value(x.value)

    def _vector_loop(self, s: For) -> None:
        """Whole vectors first, then what is left in vectors of at most one register, the last of them masked."""
        self._hoist(s)
        extent, lanes = s.axis.extent, s.lanes
        native = min(lanes, self.module.native_bits // 32)
        if s.limit is not None:
            trips = self._trips(s)
            if extent == lanes > 1:
                self._vector_part(s, lanes, self._integer(0), trips, 1, masked=True)
                return
            whole = _divide("sdiv", trips, lanes) * lanes
            self._vector_part(s, lanes, self._integer(0), whole, None, masked=False)
            self._vector_part(s, native, whole, trips, None, masked=True)
            return
        covered = extent // lanes * lanes
        self._vector_part(s, lanes, self._integer(0), self._integer(covered), covered // lanes, masked=False)
        rest = extent - covered
        narrow = next(w for w in (1, 2, 4, 8, 16, 32, 64, 128) if w >= min(rest, native))
        masked = rest % narrow != 0
        self._vector_part(s, narrow, self._integer(covered), self._integer(extent), -(-rest // narrow), masked=masked)

    def _vector_part(
        self, s: For, lanes: int, start: Value, stop: Value, steps: int | None, *, masked: bool
    ) -> None:
        """The iterations from `start` to `stop`, `lanes` at a time; in `steps` steps, if that is known."""
        if steps == 0:
            return
        outer, self._vector = self._vector, _Vector(s.axis, lanes)
        vector = self._vector
        across = [x for x in walk(s.body) if isinstance(x, Accumulate) and _joins_lanes(x, s)]
        for x in across:
            vector.sums[id(x)] = self._start_sum(x, lanes)

        def body() -> None:
            if masked and lanes > 1:
                position = splat(self._axes[s.axis], lanes) + self._ramp(lanes)
                vector.mask = position < splat(stop, lanes)
            self.statements(s.body)

        with self._scope():
            self._spread_all(lanes)
            if steps == 1:
                self._axes[s.axis] = start
                body()
            else:
                self._repeat(s.axis, start, stop, lanes, body)
        self._vector = outer
        for x in across:
            self._finish_sum(x, vector.sums[id(x)])

    def _spread_all(self, lanes: int) -> None:
        """Put what was computed just before the loop into vectors now rather than in every iteration."""
        for key, value in self._scopes[-2].items():
            if value.lanes == 1 and lanes > 1 and value.ref.startswith("%"):
                self._spread[-1][key, lanes] = splat(value, lanes)

    def _start_sum(self, s: Accumulate, lanes: int) -> Value:
        """A vector to accumulate in, holding the value that changes nothing."""
        first = self.block.constant(_kind(s.buffer.dtype), lanes, s.identity)
        name = f"%{self.block.fresh('sum')}"
        self._preamble(f"{name} = alloca {first.type}, align 64")
        self.block.do(f"store {first.type} {first.ref}, ptr {name}")
        return Value(self.block, name, first.kind, lanes)

    def _finish_sum(self, s: Accumulate, pointer: Value) -> None:
        """Join the lanes in a tree, and the result with what is stored."""
        total = self.block.emit(f"load {pointer.type}, ptr {pointer.ref}", pointer.kind, pointer.lanes)
        while total.lanes > 1:
            low, high = halves(total)
            total = ROWS[s.combine](low, high)
        before = self._load(Load(s.buffer, s.index))
        self._store(s.buffer, s.index, ROWS[s.combine](before, total))

    def _parallel(self, s: For) -> None:
        """The body as a function of its own, called once per iteration by the pool."""
        name = self.module.unique(f"{self._name}.{s.axis.name}")
        inner = Emitter(self.module, self._program, name)
        inner._axes[s.axis] = Value(inner.block, "%block", "i64", 1)
        inner.statements(s.body)
        self.module.add(f"@{_quoted(name)}(ptr %args, i64 %block)", inner.block, internal=True)
        self.block.declare("retrograd_parallel", "declare void @retrograd_parallel(ptr, ptr, i64)")
        count = self._trips(s)
        self.block.do(f"call void @retrograd_parallel(ptr @{_quoted(name)}, ptr %args, i64 {count.ref})")


def _joins_lanes(s: Accumulate, loop: For) -> bool:
    """Do all lanes of this vector loop accumulate into one place?"""
    own = {x.buffer for x in walk(loop.body) if isinstance(x, Local)}
    return s.buffer not in own and loop.axis not in s.index.axes()


def _divide(instruction: str, value: Value, divisor: int) -> Value:
    """An integer quotient or remainder by a constant."""
    by = value.same(divisor)
    return value.block.pure(f"{instruction} {value.type} {value.ref}, {by.ref}", value.kind, value.lanes)
