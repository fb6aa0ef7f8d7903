"""Tensor cores: fragments loaded from shared memory by `ldmatrix`, and multiplied by `mma.sync`.

Which thread holds what is told in `ir.loops.Fragment` and `Mma`. `Fragments` is the part of a thread's
emitter that writes them. The instructions of a dtype are a row of `_PRODUCTS`.
"""

from __future__ import annotations

from collections.abc import Sequence

from retrograd.compiler.backends.accesses import Accesses
from retrograd.compiler.backends.kinds import LLVM_TYPES
from retrograd.compiler.backends.module import kind_of
from retrograd.compiler.backends.vector import Value
from retrograd.compiler.dtypes import DType, bfloat16, float16, tfloat32
from retrograd.compiler.ir.expressions import Buffer, Load
from retrograd.compiler.ir.index import Axis, Index, as_index
from retrograd.compiler.ir.loops import Fragment, Mma, Statement

_PRODUCTS: dict[DType, tuple[str, str]] = {
    float16: ("f32.f32", "<2 x half>"),
    bfloat16: ("bf16", "i32"),
    tfloat32: ("tf32", "i32"),
}
"""By dtype: the end of the intrinsic's name, and as what it takes 32 bits of an operand."""


class Fragments(Accesses):
    """What a thread does together with its warp."""

    _thread: Axis
    """The axis of the block's threads."""

    # ---- shared memory to registers ----

    def _fragment(self, s: Fragment) -> None:
        if not self._by_rows(s):
            self._element_by_element(s)
            return
        count = len(s.pieces)
        turned = "" if s.strides[1] == 1 else ".trans"
        name = f"llvm.nvvm.ldmatrix.sync.aligned.m8n8.x{count}{turned}.b16.p3"
        result = f"{{ {', '.join(['i32'] * count)} }}"
        self.block.declare(name, f"declare {result} @{name}(ptr addrspace(3))")
        address = self.address(s.source, self._row(s))
        near = self.block.pure(f"addrspacecast ptr {address} to ptr addrspace(3)", "ptr")
        words = self.block.emit(f"call {result} @{name}(ptr addrspace(3) {near.ref})", "i32")
        for q in range(count):
            word = self.block.emit(f"extractvalue {result} {words.ref}, {q}", "i32")
            for e, element in enumerate(self._elements_of(word, s.buffer.dtype)):
                self._store(s.buffer, s.place + (q * s.word + e), element)

    def _row(self, s: Fragment) -> Index:
        """Where the row of 16 bytes is whose address this thread gives: row t % 8 of piece t // 8."""
        lane = as_index(self._thread) % 32
        row, piece = lane % 8, lane // 8 % len(s.pieces)
        steps = [side * s.strides[0] + inner * s.strides[1] for side, inner in s.pieces]
        place = s.index + steps[0] + row * max(s.strides)
        if len(steps) > 1:
            place += piece % 2 * (steps[1] - steps[0])
        if len(steps) > 2:
            place += piece // 2 * (steps[2] - steps[0])
        return place

    def _elements_of(self, word: Value, dtype: DType) -> list[Value]:
        kind = kind_of(dtype)
        if dtype.itemsize == 4:
            return [word.as_float()]
        pair = self.block.pure(f"bitcast i32 {word.ref} to <2 x {LLVM_TYPES[kind]}>", kind, 2)
        return [self._lane(pair, e) for e in range(2)]

    def _lane(self, vector: Value, k: int) -> Value:
        if vector.lanes == 1:
            return vector
        return self.block.pure(f"extractelement {vector.type} {vector.ref}, i64 {k}", vector.kind)

    def _places(self, s: Statement) -> Sequence[tuple[Buffer, Index]]:
        if isinstance(s, Fragment) and self._by_rows(s):
            return [(s.source, self._row(s))]
        return super()._places(s)

    def _by_rows(self, s: Fragment) -> bool:
        """Can `ldmatrix` load it? It turns pieces of halves only."""
        return s.strides[1] == 1 or s.word == 2

    def _element_by_element(self, s: Fragment) -> None:
        lane = as_index(self._thread) % 32
        for q, (side, inner) in enumerate(s.pieces):
            at = (lane // 4 + side) * s.strides[0] + (lane % 4 + inner) * s.strides[1]
            self._store(s.buffer, s.place + q, self._load_scalar(Load(s.source, s.index + at), "f32"))

    # ---- products ----

    def _multiply(self, s: Mma) -> None:
        suffix, operand = _PRODUCTS[s.left.dtype]
        name = f"llvm.nvvm.mma.m16n8k{s.depth}.row.col.{suffix}"
        result = "{ float, float, float, float }"
        word = 4 // s.left.dtype.itemsize
        words = [self._word(s.left, s.left_place + k, operand) for k in range(0, s.depth // 2, word)]
        words += [self._word(s.right, s.right_place + k, operand) for k in range(0, s.depth // 4, word)]
        before = self._four(s.buffer, s.place)
        types = ", ".join([operand] * len(words) + ["float"] * 4)
        self.block.declare(name, f"declare {result} @{name}({types})")
        given = ", ".join([f"{operand} {w}" for w in words] + [f"float {x.ref}" for x in before])
        after = self.block.emit(f"call {result} @{name}({given})", "f32")
        self._put_four(
            s.buffer,
            s.place,
            [self.block.emit(f"extractvalue {result} {after.ref}, {k}", "f32") for k in range(4)],
        )

    def _word(self, buffer: Buffer, place: Index, type_: str) -> str:
        """32 bits of an operand."""
        elements = [
            self._registers[self._register(buffer, place + e)] for e in range(4 // buffer.dtype.itemsize)
        ]
        whole = elements[0]
        if len(elements) == 2:
            vector = f"<2 x {LLVM_TYPES[whole.kind]}>"
            for k, one in enumerate(elements):
                before = "poison" if k == 0 else whole.ref
                text = f"insertelement {vector} {before}, {one.type} {one.ref}, i64 {k}"
                whole = self.block.pure(text, one.kind, 2)
        if whole.type == type_:
            return whole.ref
        return self.block.pure(f"bitcast {whole.type} {whole.ref} to {type_}", "i32").ref

    def _four(self, buffer: Buffer, place: Index) -> list[Value]:
        """Four results next to each other, which registers hold one by one or in vectors."""
        lanes = self._registers[self._register(buffer, place)].lanes
        vectors = [self._registers[self._register(buffer, place + k)] for k in range(0, 4, lanes)]
        return [self._lane(v, k) for v in vectors for k in range(lanes)]

    def _put_four(self, buffer: Buffer, place: Index, values: list[Value]) -> None:
        lanes = self._registers[self._register(buffer, place)].lanes
        for first in range(0, 4, lanes):
            whole = values[first]
            if lanes > 1:
                for k in range(lanes):
                    before = "poison" if k == 0 else whole.ref
                    text = f"insertelement <{lanes} x float> {before}, float {values[first + k].ref}, i64 {k}"
                    whole = self.block.pure(text, "f32", lanes)
            self._registers[self._register(buffer, place + first)] = whole
