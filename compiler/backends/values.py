"""The values of expressions: what has been computed stays known in its scope, and loads are masked where
they must be.

An expression that does not depend on the vector loop stays a scalar and is spread over the lanes only where
it meets a vector. Small local buffers whose places are known while compiling are never in memory: their
elements are the LLVM values last stored (`_registers`), carried by loops in phis.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from retrograd.compiler.backends.braids import braided, braids, repeated
from retrograd.compiler.backends.halves import rounded_to_tf32
from retrograd.compiler.backends.kinds import FLOATS, LLVM_TYPES, SUFFIXES
from retrograd.compiler.backends.lanes import backwards, splat
from retrograd.compiler.backends.masks import held, only_first
from retrograd.compiler.backends.math.called import TOGETHER, called
from retrograd.compiler.backends.math.special import bell_single
from retrograd.compiler.backends.module import Module, kind_of, memory_kind
from retrograd.compiler.backends.places import Places
from retrograd.compiler.backends.rows import ROWS
from retrograd.compiler.backends.runs import runs, spread
from retrograd.compiler.backends.shared import shared
from retrograd.compiler.backends.vector import Value, fma, maximum, minimum, select
from retrograd.compiler.dtypes import DType, tfloat32
from retrograd.compiler.errors import CompilerError
from retrograd.compiler.ir.expressions import (
    Buffer,
    Call,
    Convert,
    Expression,
    Load,
    Number,
    Position,
    Space,
    Within,
    beyond,
    children,
    indices,
)
from retrograd.compiler.ir.index import Axis, Bound, Index
from retrograd.compiler.ir.loops import Accumulate, Program, Statement, Store

_MOST_BYTES = 32
"""Lanes of single bytes that shuffles put in place: LLVM 22.1 never ends over sums of 64 doubled bytes."""
_MASKING = 256
"""Bits of vectors that are loaded under a mask at no cost. Where they are narrower, what lies by chance after
a local buffer is read and ignored; here not, for it may be numbers so small that the processor is slow with
them."""


@dataclass
class Vector:
    """The vector loop that is being written."""

    axis: Axis
    lanes: int
    mask: Value | None = None
    """Which lanes are still within the loop; None if all are."""
    sums: set[Accumulate] = field(default_factory=set)
    """The statements that accumulate across lanes: each in a register of its own, joined at the end."""
    private: set[Buffer] = field(default_factory=set)
    """Locals made inside the loop: each lane has its own."""


class Values(Places):
    """Expressions in one function."""

    def __init__(
        self, module: Module, program: Program, name: str, buffers: Sequence[Buffer] | None = None
    ) -> None:
        super().__init__(module, program, name, buffers)
        self._vector: Vector | None = None
        self._values: dict[Hashable, Value] = {}
        """What has been computed and is valid here."""
        self._scopes: list[list[Hashable]] = [[]]
        """Of these, what each open scope has computed."""
        self._unrolled: dict[Axis, int] = {}
        self._in_registers: set[Buffer] = set()
        self._registers: dict[tuple[Buffer | Accumulate, int], Value] = {}
        """What each element of a buffer in registers holds now, and what each sum across lanes has come
        to."""
        self._depends: dict[Expression, frozenset[Axis]] = {}
        self._often: frozenset[str] = frozenset()
        """Rows that are computed so often that they are functions of their own."""
        self._called: frozenset[str] = frozenset()
        """Rows that routines of the library compute where vectors are whole registers."""
        self._paired: frozenset[tuple[Expression, ...]] = frozenset()
        """Operands of which all rows that are computed together are wanted."""
        self._strands: dict[tuple[Store, ...], dict[int, Value]] = {}
        """Of runs that several stores fill, what has been computed."""
        self._belled: frozenset[Expression] = frozenset()
        """Operands of erfc, of which exp(-x²) is a part."""

    # ---- scopes ----

    @contextmanager
    def _scope(self) -> Iterator[None]:
        """Within, what is computed is known; afterwards it is forgotten, in the text too."""
        self._scopes.append([])
        known = self.block.known()
        yield
        self.block.recall(known)
        for key in self._scopes.pop():
            del self._values[key]

    def _keep(self, key: Hashable, value: Value) -> Value:
        """Know a value until the scope ends; what an outer scope knows stays."""
        if key not in self._values:
            self._values[key] = value
            self._scopes[-1].append(key)
        return value

    def _forget_all(self) -> None:
        """Know nothing any more, in any scope."""
        self._values.clear()
        for scope in self._scopes:
            scope.clear()

    def axes(self, e: Expression) -> frozenset[Axis]:
        """The axes on which a value depends through its indices."""
        found = self._depends.get(e)
        if found is not None:
            return found
        for x in beyond((e,), self._depends):
            own = [i.axes() for i in indices(x)]
            self._depends[x] = frozenset().union(*own, *(self._depends[c] for c in children(x)))
        return self._depends[e]

    def _key(self, e: Expression) -> Hashable:
        """The expression, in these copies of the unrolled loops around it."""
        if not self._unrolled:
            return e
        axes = self.axes(e)
        return (e, *[k for axis, k in self._unrolled.items() if axis in axes])

    def _varies(self, e: Expression) -> bool:
        """Does the value differ between the lanes of the vector loop?"""
        vector = self._vector
        if vector is None:
            return False
        if vector.axis in self.axes(e):
            return True
        below = e.whole if vector.private else ()
        return any(isinstance(x, Load) and x.buffer in vector.private for x in below)

    # ---- expressions ----

    def value(self, e: Expression) -> Value:
        """An expression's value: a scalar, or a vector where it differs between lanes."""
        known = self._values
        found = known.get(self._key(e))
        pending = [] if found is not None else [e]
        while pending:
            missing = [c for c in children(pending[-1]) if self._key(c) not in known]
            if missing:
                pending += reversed(missing)
                continue
            done = pending.pop()
            key = self._key(done)
            found = known.get(key)
            if found is None:
                found = self._keep(key, self._compute(done))
        assert found is not None
        return found

    def wide(self, e: Expression) -> Value:
        """An expression's value in every lane of the vector loop."""
        value = self.value(e)
        if self._vector is None or value.lanes == self._vector.lanes:
            return value
        key = (self._key(e), self._vector.lanes)
        known = self._values.get(key)
        return self._keep(key, splat(value, self._vector.lanes)) if known is None else known

    def _compute(self, e: Expression) -> Value:
        match e:
            case Number():
                return self.block.constant(kind_of(e.dtype), 1, e.value)
            case Load():
                return self._load(e)
            case Call():
                return self._call(e)
            case Convert():
                return self._convert(self.value(e.operand), e.operand.dtype, e.dtype)
            case Position():
                return self.index(e.index, self._lanes(e)).to(kind_of(e.dtype))
            case Within():
                inside = self.within(e.bounds, self._lanes(e))
                return self.block.constant("i1", 1, 1) if inside is None else inside

    def _lanes(self, e: Expression) -> int:
        return self._vector.lanes if self._vector and self._varies(e) else 1

    def _call(self, e: Call) -> Value:
        emit_row = ROWS.get(e.row)
        if emit_row is None:
            raise CompilerError(f"{e.row} has no machine code", "the row should be expanded before lowering")
        x = _of_bell(e)
        if x in self._belled:
            return bell_single(self.value(x))
        operands = [self.value(a) for a in e.arguments]
        if any(o.lanes > 1 for o in operands):
            operands = [self.wide(a) for a in e.arguments]
        if e.row in self._called and self._fills_registers(operands[0]):
            both = e.row in TOGETHER and e.arguments in self._paired
            return called(e.row, operands[0], both, self.module.native_bits)
        return shared(e.row, emit_row, *operands) if e.row in self._often else emit_row(*operands)

    def _fills_registers(self, x: Value) -> bool:
        """Is it a vector of whole registers, of a kind that the library's functions are for?"""
        return x.kind in ("f32", "f64") and x.lanes * FLOATS[x.kind] % self.module.native_bits == 0

    def _convert(self, value: Value, source: DType, target: DType) -> Value:
        converted = value.to(kind_of(target))
        return rounded_to_tf32(converted) if target is tfloat32 else converted

    def _combined(self, s: Accumulate, before: Value) -> Value:
        """`before` combined with the statement's value; a product that is added becomes one fused
        instruction."""
        product = isinstance(s.value, Call) and s.value.row == "mul" and before.kind in ("f32", "f64")
        if s.combine == "add" and product and isinstance(s.value, Call):
            a, b = (self.wide(x) if before.lanes > 1 else self.value(x) for x in s.value.arguments)
            return fma(a, b, before)
        return ROWS[s.combine](before, self.wide(s.value) if before.lanes > 1 else self.value(s.value))

    # ---- registers ----

    def _register(self, buffer: Buffer, index: Index) -> tuple[Buffer, int]:
        place = self.number(index)
        assert place is not None, f"{buffer}[{index}] is in a register"
        return buffer, place

    # ---- loads ----

    def _load(self, e: Load) -> Value:
        kind, vector = kind_of(e.dtype), self._vector
        if e.buffer.size == 0:
            return self.block.constant(kind, 1, 0)
        if e.buffer in self._in_registers:
            return self._registers[self._register(e.buffer, e.index)]
        if vector and e.buffer in vector.private:
            return self._load_private(e, kind, vector)
        if vector is None or vector.lanes == 1 or not self._varies(e):
            return self._load_scalar(e, kind)
        mask = self._mask(e.bounds)
        if e.index.stride(vector.axis) == 1:
            masking = self.module.native_bits >= _MASKING
            has_slack = not masking and e.buffer.space is Space.LOCAL and not e.bounds
            loaded = self._load_run(e, kind, vector.lanes, None if has_slack else mask)
        elif e.index.stride(vector.axis) == -1 and mask is None:
            loaded = backwards(
                self._load_run(replace(e, index=e.index - (vector.lanes - 1)), kind, vector.lanes, None)
            )
        else:
            loaded = self._load_apart(e, kind, vector.lanes, mask)
        return loaded.to("i1") if kind == "i1" else loaded

    def _load_scalar(self, e: Load, kind: str) -> Value:
        inside = self.within(e.bounds, 1)
        if inside is not None and inside.ref == "false":
            return self.block.constant(kind, 1, 0)
        if inside is None:
            address = self.address(e.buffer, e.index)
        else:
            at = select(inside, self.index(e.index), 0)
            address = self._step(e.buffer, self.pointer(e.buffer), at.ref)
        loaded = self.block.emit(f"load {LLVM_TYPES[memory_kind(kind)]}, ptr {address}", memory_kind(kind))
        return loaded.to("i1") if kind == "i1" else loaded

    def _load_private(self, e: Load, kind: str, vector: Vector) -> Value:
        stored = self.block.constant(memory_kind(kind), vector.lanes, 0).type
        at = self.index(e.index)
        if e.bounds:
            at = minimum(maximum(at, 0), e.buffer.size - 1)
        address = self.block.pure(
            f"getelementptr {stored}, ptr {self.pointer(e.buffer)}, {at.type} {at.ref}", "ptr"
        ).ref
        return self.block.emit(f"load {stored}, ptr {address}", memory_kind(kind), vector.lanes).to(kind)

    def _mask(self, bounds: tuple[Bound, ...]) -> Value | None:
        """Which lanes may read memory; None if all may."""
        assert self._vector is not None
        mask, inside = self._vector.mask, self.within(bounds, self._vector.lanes)
        if mask is None or inside is None:
            return inside if mask is None else mask
        return mask & inside

    def _load_run(self, e: Load, kind: str, lanes: int, mask: Value | None) -> Value:
        stored = memory_kind(kind)
        address = self.address(e.buffer, e.index)
        vector = self.block.constant(stored, lanes, 0)
        align = e.dtype.itemsize
        if mask is None:
            return self.block.emit(f"load {vector.type}, ptr {address}, align {align}", stored, lanes)
        name = f"llvm.masked.load.v{lanes}{SUFFIXES[stored]}.p0"
        self.block.declare(name, f"declare {vector.type} @{name}(ptr, i32, <{lanes} x i1>, {vector.type})")
        allowed = held(mask, stored)
        operands = f"ptr {address}, i32 {align}, {allowed.type} {allowed.ref}, {vector.type} {vector.ref}"
        return self.block.emit(f"call {vector.type} @{name}({operands})", stored, lanes)

    def _load_apart(self, e: Load, kind: str, lanes: int, mask: Value | None) -> Value:
        """Elements that do not lie side by side: in runs if their distances are known, or one by one."""
        offsets = self.offsets(e.index, lanes)
        endless = memory_kind(kind) == "i8" and lanes > _MOST_BYTES
        if offsets is None or endless or not runs(offsets, mask is not None):
            return self._gather(e, kind, lanes, mask)

        def load(start: int, width: int, mask: Value | None) -> Value:
            return self._load_run(replace(e, index=e.index + start), kind, width, mask)

        return spread(offsets, load, mask)

    def _gather(self, e: Load, kind: str, lanes: int, mask: Value | None) -> Value:
        stored = memory_kind(kind)
        pointers = self.addresses(e.buffer, e.index, lanes)
        zero = self.block.constant(stored, lanes, 0)
        allowed = self.block.constant("i1", lanes, 1) if mask is None else held(mask, stored)
        name = f"llvm.masked.gather.v{lanes}{SUFFIXES[stored]}.v{lanes}p0"
        self.block.declare(
            name, f"declare {zero.type} @{name}(<{lanes} x ptr>, i32, <{lanes} x i1>, {zero.type})"
        )
        text = (
            f"call {zero.type} @{name}(<{lanes} x ptr> {pointers}, i32 {e.dtype.itemsize}, "
            f"{allowed.type} {allowed.ref}, {zero.type} {zero.ref})"
        )
        return self.block.emit(text, stored, lanes)

    # ---- stores ----

    def _store(self, buffer: Buffer, index: Index, value: Value) -> None:
        vector = self._vector
        lanes = vector.lanes if vector and (buffer in vector.private or vector.axis in index.axes()) else 1
        if value.lanes > lanes:
            raise CompilerError(f"store of a vector to the single place {buffer}[{index}]")
        if buffer in self._in_registers:
            self._registers[self._register(buffer, index)] = (
                splat(value, lanes) if value.lanes == 1 else value
            )
            return
        stored = self._for_memory(buffer, value, lanes)
        if vector and buffer in vector.private:
            self._store_private(buffer, index, stored)
        elif vector is None or lanes == 1:
            self.block.do(f"store {stored.type} {stored.ref}, ptr {self.address(buffer, index)}")
        else:
            self._store_wide(buffer, index, stored, vector)

    def _for_memory(self, buffer: Buffer, value: Value, lanes: int) -> Value:
        """The value as memory has it, in every lane."""
        kind = kind_of(buffer.dtype)
        stored = value.to(memory_kind(kind)) if kind == "i1" else value
        return splat(stored, lanes) if stored.lanes == 1 else stored

    def _braids(self, body: Sequence[Statement]) -> dict[int, tuple[Store, ...]]:
        """The stores of the body that are done together with others, see `backends.braids`."""
        vector = self._vector
        if vector is None or vector.lanes == 1:
            return {}
        apart = braids(body, vector.axis)
        return {k: run for k, run in apart.items() if not self._is_kept(run[0].buffer, vector)}

    def _is_kept(self, buffer: Buffer, vector: Vector) -> bool:
        """Is it in registers, or does each lane have its own?"""
        return buffer in self._in_registers or buffer in vector.private

    def _store_in_run(self, s: Store, run: tuple[Store, ...]) -> None:
        """One of the stores of a run; with the last of them, all are written, vector by vector."""
        vector = self._vector
        assert vector is not None
        strands = self._strands.setdefault(run, {})
        strands[id(s)] = self._for_memory(s.buffer, self.value(s.value), vector.lanes)
        if len(strands) == len(run):
            del self._strands[run]
            masks = [None] * len(run) if vector.mask is None else repeated(vector.mask, len(run))
            whole = braided([strands[id(x)] for x in run])
            for k, (value, mask) in enumerate(zip(whole, masks, strict=True)):
                self._store_vector(s.buffer, run[0].index + k * vector.lanes, value, mask)

    def _store_private(self, buffer: Buffer, index: Index, value: Value) -> None:
        at = self.index(index)
        address = self.block.pure(
            f"getelementptr {value.type}, ptr {self.pointer(buffer)}, {at.type} {at.ref}", "ptr"
        ).ref
        self.block.do(f"store {value.type} {value.ref}, ptr {address}")

    def _store_wide(self, buffer: Buffer, index: Index, value: Value, vector: Vector) -> None:
        if index.stride(vector.axis) == 1:
            self._store_vector(buffer, index, value, vector.mask)
            return
        lanes, mask = vector.lanes, vector.mask
        name = f"llvm.masked.scatter.v{lanes}{SUFFIXES[value.kind]}.v{lanes}p0"
        self.block.declare(name, f"declare void @{name}({value.type}, <{lanes} x ptr>, i32, <{lanes} x i1>)")
        target = f"<{lanes} x ptr> {self.addresses(buffer, index, lanes)}"
        allowed = self.block.constant("i1", lanes, 1) if mask is None else held(mask, value.kind)
        operands = f"{value.type} {value.ref}, {target}, i32 {buffer.dtype.itemsize}"
        self.block.do(f"call void @{name}({operands}, {allowed.type} {allowed.ref})")

    def _store_vector(self, buffer: Buffer, index: Index, value: Value, mask: Value | None) -> None:
        """Elements side by side, those that the mask allows."""
        address, align = self.address(buffer, index), buffer.dtype.itemsize
        if mask is None:
            self.block.do(f"store {value.type} {value.ref}, ptr {address}, align {align}")
            return
        if only_first(mask):
            one = self.block.pure(f"extractelement {value.type} {value.ref}, i64 0", value.kind)
            self.block.do(f"store {one.type} {one.ref}, ptr {address}, align {align}")
            return
        lanes, allowed = value.lanes, held(mask, value.kind)
        name = f"llvm.masked.store.v{lanes}{SUFFIXES[value.kind]}.p0"
        self.block.declare(name, f"declare void @{name}({value.type}, ptr, i32, <{lanes} x i1>)")
        operands = f"{value.type} {value.ref}, ptr {address}, i32 {align}, {allowed.type} {allowed.ref}"
        self.block.do(f"call void @{name}({operands})")


def _of_bell(e: Call) -> Expression | None:
    """The x of exp(-(x·x)); None of anything else."""
    match e:
        case Call("exp", (Call("neg", (Call("mul", (x, y)),)),)) if x is y:
            return x
    return None
