"""Loops → LLVM IR text, for any target.

One `Emitter` writes one function. It carries where each axis stands (`places`), what has been computed and
is still valid (`values`), and the vector loop it is in, if any. What does not depend on a loop at all,
addresses too, is computed before it (`_hoist`). So the text needs no optimiser.

    row of the elementwise table   `rows.ROWS`
    loop kind                      `_loop`: serial, unroll and vector; parallel is made a function of its own
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import reduce
from operator import or_

from retrograd.compiler.backends.cpu import Target
from retrograd.compiler.backends.halves import conversions
from retrograd.compiler.backends.iteration import Iteration, opened, phi
from retrograd.compiler.backends.kinds import LLVM_TYPES
from retrograd.compiler.backends.masks import held
from retrograd.compiler.backends.math import FUNCTIONS
from retrograd.compiler.backends.math.called import BITS, TOGETHER
from retrograd.compiler.backends.means import Means
from retrograd.compiler.backends.module import Module, kind_of, memory_kind, quoted
from retrograd.compiler.backends.products.plans import first, window_words, words
from retrograd.compiler.backends.script import Word
from retrograd.compiler.backends.vector import Value, select
from retrograd.compiler.dtypes import float32
from retrograd.compiler.errors import CompilerError
from retrograd.compiler.ir.expressions import Buffer, Call, Load
from retrograd.compiler.ir.index import Axis, Index, as_index
from retrograd.compiler.ir.likeness import Likeness, likenesses, moved
from retrograd.compiler.ir.loops import (
    Accumulate,
    Barrier,
    Epilogue,
    Exchange,
    For,
    Fragment,
    If,
    Kernel,
    Kind,
    Local,
    Mma,
    Program,
    Routine,
    Statement,
    Store,
    Windowed,
    expressions,
    walk,
)
from retrograd.compiler.record import record

_SLACK = 128
"""Elements after a local buffer in memory, which the last vector of a loop may read, and ignores."""
_MOST_REGISTERS = 64
"""Local buffers of up to so many elements, or vectors, are kept in registers."""
_OFTEN = 24
"""A function of mathematics that a kernel computes in more places is called, not written there."""
_MANY = 4
"""So many of them, in one kernel, are the library's."""
_LONG = 200
"""A function of so many lines is not continued with another kernel."""

_TAKEN = {"retrograd_parallel": "ptr, ptr, i64"}
"""What functions from outside take, where that is not one pointer, or known by a call."""


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
    means = Means(conversions(target), avx512=target.has("avx512f"), library=True)
    module = Module(_attributes(target), target.vector_bits, means, give)
    module.unique(symbol)
    known = likenesses(program.kernels, located=False)
    times = Counter(own.key for own in known if own is not None)
    written: dict[Hashable, str] = {}
    parts: list[Emitter | tuple[str, Likeness]] = []
    gate, before = program.gate, 0
    for place, (kernel, own) in enumerate(zip(program.kernels, known)):
        part = parts[-1] if parts else None
        before = len(parts) if place == gate else before
        if own is not None and times[own.key] > 1:
            if own.key not in written:
                written[own.key] = _function(module, program, symbol, kernel, own)
            parts.append((written[own.key], own))
        elif not isinstance(part, Emitter) or len(part.block.lines) > _LONG or place == gate:
            parts.append(Emitter(module, program, module.unique(f"{symbol}.{kernel.name}")))
        if isinstance(part, Emitter) and part is not parts[-1]:
            _add(module, part)
        if isinstance(parts[-1], Emitter):
            parts[-1].kernel(kernel.name, kernel.body)
    main = _main(module, program, symbol, parts, before)
    module.add(f"{quoted(symbol)}(ptr %args)", main.preamble, main.block, internal=False)
    return Text(str(module), module.rest())


def emit_function(
    name: str, buffers: tuple[Buffer, ...], count: Axis, body: Sequence[Statement], bits: int
) -> str:
    """A function for the library, `void NAME(ptr args, i64 count)`, that does what statements say to buffers
    whose addresses `args` has, where `count` is an axis. Vector registers have so many bits."""
    module = Module("", bits)
    emitter = Emitter(module, Program(name, (), buffers, (), ()), name)
    emitter._set(count, Value(emitter.block, "%count", "i64", 1))
    emitter.statements(body)
    module.add(f"{quoted(name)}(ptr %args, i64 %count)", emitter.preamble, emitter.block, internal=False)
    return "\n".join([*module.functions, *module.declarations.values()])


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
    module: Module, program: Program, symbol: str, parts: Sequence[Emitter | tuple[str, Likeness]], gate: int
) -> Emitter:
    """The function that calls the parts in order, and after so many of them looks at the flags; or the only
    part itself."""
    last = parts[-1] if parts else None
    if len(parts) == 1 and isinstance(last, Emitter):
        return last
    if isinstance(last, Emitter):
        _add(module, last)
    main = Emitter(module, program, symbol)
    for place, part in enumerate(parts):
        if gate and place == gate:
            main.leave_if(program.flags)
        if isinstance(part, Emitter):
            main.block.do(f"call void {quoted(part.name)}(ptr %args)")
        else:
            main.call(part[0], part[1].parts)
    return main


def _attributes(target: Target) -> str:
    """LLVM function attributes: nothing throws, and registers are used at their full width."""
    width = f'"prefer-vector-width"="{target.vector_bits}" "min-legal-vector-width"="{target.vector_bits}"'
    return f"nounwind {width}" if target.architecture == "x86_64" else "nounwind"


class Emitter(Iteration):
    """The body of one function over `%args`."""

    def __init__(
        self, module: Module, program: Program, name: str, buffers: Sequence[Buffer] | None = None
    ) -> None:
        super().__init__(module, program, name, buffers)
        self._epilogues: dict[Epilogue, str] = {}
        """Functions that were written, by what they do."""

    def call(self, name: str, parts: Mapping[Buffer, int]) -> None:
        """A call of a function of this module, which is given the addresses of these parts of buffers."""
        room = f"%{self.block.fresh('given')}"
        self.preamble.append(f"  {room} = alloca [{len(parts)} x ptr]")
        for k, (buffer, start) in enumerate(parts.items()):
            place = self.block.pure(f"getelementptr ptr, ptr {room}, i64 {k}", "ptr").ref
            self.block.do(f"store ptr {self.address(buffer, as_index(start))}, ptr {place}")
        self.block.do(f"call void {quoted(name)}(ptr {room})")

    def leave_if(self, flags: Sequence[Buffer]) -> None:
        """The end, where one of the flags is raised."""
        raised = reduce(or_, [self._load(Load(flag, Index())) for flag in flags])
        block, known = self.block, self.block.known()
        ended, on = block.fresh("ended"), block.fresh("on")
        block.do(f"br i1 {raised.ref}, label %{ended}, label %{on}")
        block.label(ended)
        block.do("ret void")
        block.label(on)
        block.recall(known)

    def kernel(self, name: str, body: Sequence[Statement]) -> None:
        """The statements of a kernel, after those of others."""
        self.block.lines.append(f"  ; {name}")
        computed = [e for e in expressions(body) if isinstance(e, Call) and e.row in FUNCTIONS]
        rows = Counter(e.row for e in computed)
        self._often = frozenset(row for row in rows if rows[row] > _OFTEN)
        many = len(rows) >= _MANY and self.module.means.library and self.module.native_bits >= BITS
        self._called = frozenset(e.row for e in computed if len(e.arguments) == 1) if many else frozenset()
        alike = [{e.arguments for e in computed if e.row == row} for row in TOGETHER]
        self._paired = frozenset.intersection(*map(frozenset, alike))
        written = [e for e in computed if e.row == "erfc" and e.row not in self._called | self._often]
        self._belled = frozenset(e.arguments[0] for e in written if e.dtype is float32)
        with self._scope():
            self.statements(body)

    def _follow(self, outer: Emitter) -> None:
        """This is a function for a part of a kernel, whose functions of mathematics are written as there."""
        self._often, self._called = outer._often, outer._called
        self._paired, self._belled = outer._paired, outer._belled

    # ---- statements ----

    def statements(self, statements: Sequence[Statement]) -> None:
        """A block of statements, in order."""
        runs = self._braids(statements)
        for s in statements:
            match s:
                case For():
                    self._loop(s)
                case Local():
                    self._local(s)
                case Store() if id(s) in runs:
                    self._store_in_run(s, runs[id(s)])
                case Store():
                    self._store(s.buffer, s.index, self.value(s.value))
                case Accumulate():
                    self._accumulate(s)
                case If():
                    self._if(s)
                case Routine():
                    self._routine(s)
                case Windowed():
                    self._windowed(s)
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
                before[key] = block.emit(phi(value, outside, changed, last), value.kind, value.lanes)
        self._registers = before

    def _accumulate(self, s: Accumulate) -> None:
        vector = self._vector
        if vector and s in vector.sums:
            before = self._registers[s, 0]
            after = self._combined(s, before)
            mask = None if vector.mask is None else held(vector.mask, after.kind)
            self._registers[s, 0] = after if mask is None else select(mask, after, before)
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
            self.block.tiles |= s.buffer.size > 1
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

    def _routine(self, s: Routine) -> None:
        """A call of the library, which is told what to do by a constant of the module."""
        plan = self._told(words(s, self._epilogue(s.epilogue) if s.epilogue else 0))
        self.block.declare(
            "retrograd_product", "declare void @retrograd_product(ptr, ptr, ptr, ptr, ptr, ptr)"
        )
        places = [(s.left.buffer, s.left.index), (s.right.buffer, s.right.index)]
        if s.out is not None:
            places.append((s.out.buffer, s.out.index))
        operands = [self.address(buffer, as_index(first(s, index))) for buffer, index in places]
        operands += [] if s.out else ["null"]
        operands.append(self.pointer(s.panels) if s.panels else "null")
        given = ", ".join(f"ptr {operand}" for operand in ("%args", *operands))
        self.block.do(f"call void @retrograd_product(ptr @{plan}, {given})")

    def _windowed(self, s: Windowed) -> None:
        """The same of a product with windows, and the body where it says that it did nothing."""
        told, block = window_words(s.plan, self._epilogue(s.epilogue) if s.epilogue else 0), self.block
        operands = [self.address(e.buffer, as_index(e.index.offset)) for e in (s.left, s.right)]
        operands.append(self.address(s.out.buffer, as_index(s.out.index.offset)) if s.out else "null")
        block.declare("retrograd_windows", "declare i64 @retrograd_windows(ptr, ptr, ptr, ptr, ptr)")
        given = ", ".join(f"ptr {operand}" for operand in (f"@{self._told(told)}", "%args", *operands))
        done = block.emit(f"call i64 @retrograd_windows({given})", "i64")
        refused = block.emit(f"icmp eq i64 {done.ref}, 0", "i1")
        otherwise, after = block.fresh("otherwise"), block.fresh("after")
        block.do(f"br i1 {refused.ref}, label %{otherwise}, label %{after}")
        with self._scope():
            known = block.known()
            block.label(otherwise)
            block.recall(known)
            self.statements(s.body)
        known = block.known()
        block.do(f"br label %{after}")
        block.label(after)
        block.recall(known)

    def _told(self, words: Sequence[Word]) -> str:
        """The constant of the module that holds the words of a plan: its name."""
        plan, told = self.module.unique("plan"), []
        for word in words:
            if isinstance(word, str) and word.startswith("retrograd_"):
                self.block.declare(word, f"declare void @{word}({_TAKEN.get(word, 'ptr')})")
            told.append(f"i64 {word}" if isinstance(word, int) else f"i64 ptrtoint (ptr @{word} to i64)")
        self.block.declare(plan, f"@{plan} = private constant [{len(told)} x i64] [{', '.join(told)}]")
        return plan

    def _epilogue(self, e: Epilogue) -> str:
        """A function that does the rest with the sums of a tile; its name as LLVM text."""
        if e in self._epilogues:
            return self._epilogues[e]
        name = self.module.unique(f"{self.name}.rest")
        inner = Emitter(self.module, self._program, name, self._given)
        inner._follow(self)
        for axis, given in ((e.batch, "batch"), (e.row, "row"), (e.column, "column")):
            inner._set(axis, Value(inner.block, f"%{given}", "i64", 1))
        inner._pointers[e.sums] = "%sums"
        inner.statements(e.body)
        signature = f"{quoted(name)}(ptr %args, i64 %batch, i64 %row, i64 %column, ptr %sums)"
        self.module.add(signature, inner.preamble, inner.block, internal=True)
        return self._epilogues.setdefault(e, f'"{name}"')

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
                self._look_ahead(s)
                self._hoist(s)
                self._repeat(s, 0, trips, 1, lambda: self.statements(s.body))
            case _:
                raise CompilerError(f"a loop of kind {s.kind.value}", "it belongs to another target")

    # ---- threads ----

    def _parallel(self, s: For) -> None:
        """The body as a function of its own, called once per iteration by the pool."""
        name = self.module.unique(f"{self.name}.{s.axis.name}")
        inner = Emitter(self.module, self._program, name, self._given)
        inner._follow(self)
        inner._set(s.axis, Value(inner.block, "%block", "i64", 1))
        inner.statements(s.body)
        self.module.add(f"{quoted(name)}(ptr %args, i64 %block)", inner.preamble, inner.block, internal=True)
        self.block.declare(
            "retrograd_parallel", f"declare void @retrograd_parallel({_TAKEN['retrograd_parallel']})"
        )
        trips = self._ref(self._trips(s))
        self.block.do(f"call void @retrograd_parallel(ptr {quoted(name)}, ptr %args, i64 {trips})")


def _fits_registers(local: Local) -> bool:
    """Is each place in the buffer known while compiling, and each element first written outside loops?"""
    buffer, lanes = local.buffer, set[int]()
    loops = [s for s in walk(local.body) if isinstance(s, For)]
    others = {s.axis for s in loops if s.kind is not Kind.UNROLL}
    constant = {s.axis for s in loops} - others
    others = {s.axis for s in loops if s.kind is not Kind.VECTOR or s.lanes != s.axis.extent}
    vectors = {s.axis: s.lanes for s in loops if s.axis not in others}
    places = [s.index for s in walk(local.body) if isinstance(s, Store | Accumulate) and s.buffer is buffer]
    places += [e.index for e in expressions(local.body) if isinstance(e, Load) and e.buffer is buffer]
    for place in places:
        across = [axis for axis in place.axes() if axis in vectors]
        lanes.add(vectors[across[0]] if across else 1)
        if not all(isinstance(a, Axis) and (a in constant or a in vectors) for a, _ in place.terms):
            return False
        if any(place.stride(axis) != 1 for axis in across):
            return False
    first = next((s for s in opened(local.body) if any(_writes(x, buffer) for x in walk((s,)))), None)
    begins = isinstance(first, Store | Exchange | Fragment)
    begins = begins or (isinstance(first, For) and first.kind in (Kind.UNROLL, Kind.VECTOR))
    held = [place for s in walk(local.body) for place in _held(s, buffer)]
    if any(atom not in constant for place in held for atom, _ in place.terms):
        return False
    if held and not lanes:
        lanes.add(1)
    return begins and len(lanes) == 1 and buffer.size <= _MOST_REGISTERS * max(lanes)


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
