"""Kernels as LLVM text: one step of a small graph, for arrays of any size.

In flow what a step does and the kinds of its elements; out flows a function of a module

    i64 NAME(ptr arrays, ptr sizes)

whose arrays are the result and the operands, in order in memory, and which gives 0, or 1 where it does
not take an element: an index out of range. What the sizes are, each function here says. A bool is a byte.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from retrograd.compiler.backends.kinds import FLOATS, INTEGERS, LLVM_TYPES
from retrograd.compiler.backends.vector import Block, Means, Value

Code = Callable[..., Value]


def lanes_of(kinds: Sequence[str]) -> int:
    """Elements of a vector: 64 bytes of the widest."""
    return 512 // max(32, *[(FLOATS | INTEGERS)[kind] for kind in kinds])


def _stored(kind: str) -> str:
    return "i8" if kind == "i1" else LLVM_TYPES[kind]


class _Function:
    """A kernel while it is written, and what the module must hold besides."""

    def __init__(self, name: str, lanes: int, avx512: bool) -> None:
        self.block = Block(means=Means(avx512=avx512))
        self.name, self.lanes = name, lanes

    def word(self, table: str, place: int, kind: str) -> str:
        at = self.block.emit(f"getelementptr i64, ptr %{table}, i64 {place}", "ptr").ref
        return self.block.emit(f"load {LLVM_TYPES[kind]}, ptr {at}", kind).ref

    def splat(self, type_: str, ref: str, kind: str) -> Value:
        wide = f"<{self.lanes} x {type_}>"
        one = self.block.emit(f"insertelement {wide} poison, {type_} {ref}, i64 0", kind, self.lanes).ref
        mask = f"<{self.lanes} x i32> zeroinitializer"
        return self.block.emit(f"shufflevector {wide} {one}, {wide} poison, {mask}", kind, self.lanes)

    def inside(self, at: str, columns: str) -> Value:
        """Which lanes of the vector that begins at a column are columns."""
        steps = ", ".join(f"i64 {k}" for k in range(self.lanes))
        places = self.block.emit(
            f"add <{self.lanes} x i64> {self.splat('i64', at, 'i64').ref}, <{steps}>", "i64", self.lanes
        )
        return places < self.splat("i64", columns, "i64")

    def load(self, kind: str, base: str, at: str, mask: Value, otherwise: str) -> Value:
        type_, wide = _stored(kind), f"<{self.lanes} x {_stored(kind)}>"
        name = f"llvm.masked.load.v{self.lanes}{_suffix(kind)}.p0"
        self.block.declare(name, f"declare {wide} @{name}(ptr, i32, <{self.lanes} x i1>, {wide})")
        place = self.block.emit(f"getelementptr {type_}, ptr {base}, i64 {at}", "ptr").ref
        rhs = f"call {wide} @{name}(ptr {place}, i32 1, {mask.type} {mask.ref}, {wide} {otherwise})"
        raw = self.block.emit(rhs, "i8" if kind == "i1" else kind, self.lanes)
        return raw.ne(0) if kind == "i1" else raw

    def store(self, value: Value, base: str, at: str, mask: Value) -> None:
        kind, wide = value.kind, f"<{self.lanes} x {_stored(value.kind)}>"
        name = f"llvm.masked.store.v{self.lanes}{_suffix(kind)}.p0"
        self.block.declare(name, f"declare void @{name}({wide}, ptr, i32, <{self.lanes} x i1>)")
        place = self.block.emit(f"getelementptr {_stored(kind)}, ptr {base}, i64 {at}", "ptr").ref
        ref = value.unsigned("i8").ref if kind == "i1" else value.ref
        self.block.do(f"call void @{name}({wide} {ref}, ptr {place}, i32 1, <{self.lanes} x i1> {mask.ref})")

    def text(self) -> tuple[str, dict[str, str]]:
        body = "\n".join(self.block.lines)
        return (
            f"define i64 @{self.name}(ptr %arrays, ptr %sizes) nounwind {{\n{body}\n}}",
            self.block.declarations,
        )


def _suffix(kind: str) -> str:
    return kind if kind in FLOATS else _stored(kind)


def elementwise(
    name: str, code: Code, kinds: Sequence[str], out: str, avx512: bool
) -> tuple[str, dict[str, str]]:
    """A row. Sizes: how many elements, and for each operand 1, or 0 if it is one element for all."""
    f = _Function(name, lanes_of([*kinds, out]), avx512)
    block = f.block
    columns, to = f.word("sizes", 0, "i64"), f.word("arrays", 0, "ptr")
    operands = []
    for k, kind in enumerate(kinds):
        base, step = f.word("arrays", k + 1, "ptr"), f.word("sizes", k + 1, "i64")
        moves = block.emit(f"icmp ne i64 {step}, 0", "i1").ref
        first = block.emit(f"load {_stored(kind)}, ptr {base}", kind).ref
        operands.append((kind, base, f.splat("i1", moves, "i1"), f.splat(_stored(kind), first, kind).ref))
    block.do("br label %next")
    block.label("next")
    ends = "%at.next"
    block.lines.append("")  # the phi, whose second block is not known yet
    phi = len(block.lines) - 1
    more = block.emit(f"icmp slt i64 %at, {columns}", "i1").ref
    block.do(f"br i1 {more}, label %each, label %end")
    block.label("each")
    mask = f.inside("%at", columns)
    values = [f.load(kind, base, "%at", mask & moves, first) for kind, base, moves, first in operands]
    f.store(code(*values), to, "%at", mask)
    block.do(f"{ends} = add i64 %at, {f.lanes}")
    block.do("br label %next")
    block.lines[phi] = f"  %at = phi i64 [ 0, %entry ], [ {ends}, %{block.here} ]"
    block.label("end")
    block.do("ret i64 0")
    return f.text()


def reduction(name: str, code: Code, kind: str, identity: float, avx512: bool) -> tuple[str, dict[str, str]]:
    """Each row to one element: as many results as there are lanes, then these two by two. Sizes: rows and
    columns.
    """
    f = _Function(name, lanes_of([kind]), avx512)
    block = f.block
    rows, columns = f.word("sizes", 0, "i64"), f.word("sizes", 1, "i64")
    to, base = f.word("arrays", 0, "ptr"), f.word("arrays", 1, "ptr")
    nothing = block.constant(kind, f.lanes, identity)
    stored = nothing.unsigned("i8").ref if kind == "i1" else nothing.ref
    block.do("br label %next")
    block.label("next")
    block.do("%row = phi i64 [ 0, %entry ], [ %row.next, %joined ]")
    more = block.emit(f"icmp slt i64 %row, {rows}", "i1").ref
    block.do(f"br i1 {more}, label %begin, label %end")
    block.label("begin")
    start = block.emit(f"mul i64 %row, {columns}", "i64").ref
    line = block.emit(f"getelementptr {_stored(kind)}, ptr {base}, i64 {start}", "ptr").ref
    block.do("br label %walk")
    block.label("walk")
    block.do("%at = phi i64 [ 0, %begin ], [ %at.next, %join ]")
    block.do(f"%all = phi {nothing.type} [ {nothing.ref}, %begin ], [ %all.next, %join ]")
    walking = block.emit(f"icmp slt i64 %at, {columns}", "i1").ref
    block.do(f"br i1 {walking}, label %join, label %joined")
    block.label("join")
    x = f.load(kind, line, "%at", f.inside("%at", columns), stored)
    joined = code(Value(block, "%all", kind, f.lanes), x)
    block.do(f"%all.next = select i1 true, {joined.type} {joined.ref}, {joined.type} {joined.ref}")
    block.do(f"%at.next = add i64 %at, {f.lanes}")
    block.do("br label %walk")
    block.label("joined")
    whole = _halved(Value(block, "%all", kind, f.lanes), code)
    ref = block.emit(f"extractelement <1 x {LLVM_TYPES[kind]}> {whole}, i64 0", kind).ref
    ref = block.emit(f"zext i1 {ref} to i8", "i8").ref if kind == "i1" else ref
    place = block.emit(f"getelementptr {_stored(kind)}, ptr {to}, i64 %row", "ptr").ref
    block.do(f"store {_stored(kind)} {ref}, ptr {place}")
    block.do("%row.next = add i64 %row, 1")
    block.do("br label %next")
    block.label("end")
    block.do("ret i64 0")
    return f.text()


def scan(
    name: str, codes: Sequence[Code], kind: str, identity: float, avx512: bool
) -> tuple[str, dict[str, str]]:
    """Each row of the operands joined with the result's row before, by a code for each operand, in turn.
    Sizes: rows and columns.
    """
    f = _Function(name, lanes_of([kind]), avx512)
    block = f.block
    rows, columns = f.word("sizes", 0, "i64"), f.word("sizes", 1, "i64")
    to, *bases = [f.word("arrays", k, "ptr") for k in range(1 + len(codes))]
    start = block.constant(kind, f.lanes, identity)
    block.do("br label %next")
    block.label("next")
    block.do("%row = phi i64 [ 0, %entry ], [ %row.next, %done ]")
    more = block.emit(f"icmp slt i64 %row, {rows}", "i1").ref
    block.do(f"br i1 {more}, label %begin, label %end")
    block.label("begin")
    moved = block.emit(f"mul i64 %row, {columns}", "i64").ref
    back = block.emit(f"sub i64 {moved}, {columns}", "i64").ref
    lines = [
        block.emit(f"getelementptr {_stored(kind)}, ptr {base}, i64 {moved}", "ptr").ref
        for base in (to, *bases)
    ]
    before = block.emit(f"getelementptr {_stored(kind)}, ptr {to}, i64 {back}", "ptr").ref
    later = f.splat("i1", block.emit("icmp ne i64 %row, 0", "i1").ref, "i1")
    block.do("br label %walk")
    block.label("walk")
    block.lines.append("")  # the phi, whose second block is not known yet
    phi = len(block.lines) - 1
    walking = block.emit(f"icmp slt i64 %at, {columns}", "i1").ref
    block.do(f"br i1 {walking}, label %join, label %done")
    block.label("join")
    mask = f.inside("%at", columns)
    carry = f.load(kind, before, "%at", mask & later, start.ref)
    for code, line in zip(codes, lines[1:], strict=True):
        carry = code(carry, f.load(kind, line, "%at", mask, "zeroinitializer"))
    f.store(carry, lines[0], "%at", mask)
    block.do(f"%at.next = add i64 %at, {f.lanes}")
    block.do("br label %walk")
    block.lines[phi] = f"  %at = phi i64 [ 0, %begin ], [ %at.next, %{block.here} ]"
    block.label("done")
    block.do("%row.next = add i64 %row, 1")
    block.do("br label %next")
    block.label("end")
    block.do("ret i64 0")
    return f.text()


def _halved(x: Value, code: Code) -> str:
    """A vector's elements joined two by two; the name of the vector of one that is left."""
    while x.lanes > 1:
        half = x.lanes // 2
        parts = []
        for start in (0, half):
            steps = ", ".join(f"i32 {start + k}" for k in range(half))
            text = f"shufflevector {x.type} {x.ref}, {x.type} poison, <{half} x i32> <{steps}>"
            parts.append(x.block.emit(text, x.kind, half))
        if half == 1:
            return _last(x.block, parts, code)
        x = code(*parts)
    return x.ref


def _last(block: Block, parts: Sequence[Value], code: Code) -> str:
    """Vectors of one element joined; a Value of one lane is a scalar."""
    type_ = LLVM_TYPES[parts[0].kind]
    scalars = [block.emit(f"extractelement <1 x {type_}> {each.ref}, i64 0", each.kind) for each in parts]
    one = code(*scalars)
    return block.emit(f"insertelement <1 x {type_}> poison, {type_} {one.ref}, i64 0", one.kind).ref
