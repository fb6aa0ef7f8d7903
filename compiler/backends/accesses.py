"""Memory of a GPU, as one thread uses it: 16 bytes at a time where they are aligned, and nothing read where a
condition fails.

`Accesses` is the part of a thread's emitter that loads and stores. Conditions become predicates of the loads
(`guarded`), so none of them is a branch, and several are in flight.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from math import gcd

from retrograd.compiler.backends.guarded import Source, guarded
from retrograd.compiler.backends.kinds import LLVM_TYPES
from retrograd.compiler.backends.llvm import Emitter
from retrograd.compiler.backends.module import Module, kind_of, memory_kind
from retrograd.compiler.backends.values import Vector
from retrograd.compiler.backends.vector import Value
from retrograd.compiler.errors import CompilerError
from retrograd.compiler.ir.expressions import Buffer, Load, Space, indices
from retrograd.compiler.ir.index import Divided, Index, Remainder, as_index
from retrograd.compiler.ir.loops import (
    Accumulate,
    For,
    Fragment,
    If,
    Program,
    Statement,
    Store,
    expressions,
    walk,
)

VECTOR_BYTES = 16
"""The widest access of a thread."""


_NARROW = 1 << 30
"""Numbers below this may be added and compared with 32 bits, which is half the work of 64."""


def _is_narrow(body: Sequence[Statement]) -> bool:
    """Are all numbers on the way to any index so small?"""
    found: list[Index] = [i for e in expressions(body) for i in indices(e)]
    for s in walk(body):
        match s:
            case Store() | Accumulate():
                found.append(s.index)
            case If():
                found += [b.index for b in s.bounds]
            case For(limit=(index, _)):
                found.append(index)
            case Fragment():
                found.append(s.index)
    return all(_largest(i) < _NARROW for i in found)


def _largest(index: Index) -> int:
    """The most that the terms of an index add up to, in any order."""
    total = abs(index.offset)
    for atom, coefficient in index.terms:
        inner = _largest(atom.value) if isinstance(atom, Divided | Remainder) else atom.extent
        if inner >= _NARROW:
            return inner
        total += abs(coefficient) * max(map(abs, as_index(atom).bounds()))
    return total


class Accesses(Emitter):
    """What one thread loads and stores."""

    def __init__(self, module: Module, program: Program, name: str, body: Sequence[Statement]) -> None:
        super().__init__(module, program, name)
        self._index_kind = "i32" if _is_narrow(body) else "i64"
        self._written = {s.buffer for s in walk(body) if isinstance(s, Store | Accumulate)}
        self._runs: dict[Hashable, Value] = {}
        """Vectors loaded from shared memory in this stretch of code, of which unrolled loops read one
        element each."""

    @contextmanager
    def _scope(self) -> Iterator[None]:
        self._runs = {}
        with super()._scope():
            yield
        self._runs = {}

    # ---- loads ----

    def _load(self, e: Load) -> Value:
        vector = self._vector
        if vector is None or vector.lanes == 1 or e.buffer in self._in_registers or not self._varies(e):
            return super()._load(e)
        if vector.mask is not None or e.buffer in vector.private:
            raise CompilerError(f"a masked or private access to {e.buffer}", "a GPU's vectors have neither")
        run = e.index.stride(vector.axis) == 1 and all(b.index.stride(vector.axis) == 0 for b in e.bounds)
        kind = kind_of(e.dtype)
        loaded = self._run(e, kind, vector) if run else self._one_by_one(e, kind, vector)
        return loaded.to("i1") if kind == "i1" else loaded

    def _load_scalar(self, e: Load, kind: str) -> Value:
        inside = self.within(e.bounds, 1)
        if inside is not None:
            return self._guarded(e, kind, inside, self.address(e.buffer, e.index), e.dtype.itemsize)
        place = self._unrolled_place(e)
        if place is None:
            return super()._load_scalar(e, kind)
        index, k = place
        stored, lanes = memory_kind(kind), VECTOR_BYTES // e.dtype.itemsize
        if (e.buffer, index) not in self._runs:
            address = self.address(e.buffer, index)
            text = f"load <{lanes} x {LLVM_TYPES[stored]}>, ptr {address}, align {VECTOR_BYTES}"
            self._runs[e.buffer, index] = self.block.emit(text, stored, lanes)
        run = self._runs[e.buffer, index]
        one = self.block.pure(f"extractelement {run.type} {run.ref}, i64 {k}", stored)
        return one.to("i1") if kind == "i1" else one

    def _unrolled_place(self, e: Load) -> tuple[Index, int] | None:
        """Where 16 bytes of shared memory begin of which copies of an unrolled loop read one element after
        the other."""
        lanes = VECTOR_BYTES // e.dtype.itemsize
        if e.buffer.space is not Space.SHARED or e.bounds or e.buffer.size % lanes or lanes == 1:
            return None
        if not any(c == 1 and self._known(a) is not None for a, c in e.index.terms):
            return None
        fixed = e.index.offset + sum(c * k for a, c in e.index.terms if (k := self._known(a)) is not None)
        moving = tuple((a, c) for a, c in e.index.terms if self._known(a) is None)
        if any(c % lanes for _, c in moving):
            return None
        return Index(moving, fixed // lanes * lanes), fixed % lanes

    def _run(self, e: Load, kind: str, vector: Vector) -> Value:
        inside, stored = self.within(e.bounds, 1), memory_kind(kind)
        if inside is not None and e.buffer.size < vector.lanes:  # no bounds can hold
            return self.block.constant(stored, vector.lanes, 0)
        address, align = self.address(e.buffer, e.index), self._alignment(e.buffer, e.index, vector)
        if inside is not None:
            return self._guarded(e, stored, inside, address, align, vector.lanes)
        return self.block.emit(
            f"load <{vector.lanes} x {LLVM_TYPES[stored]}>, ptr {address}, align {align}",
            stored,
            vector.lanes,
        )

    def _one_by_one(self, e: Load, kind: str, vector: Vector) -> Value:
        stored, lanes = memory_kind(kind), vector.lanes
        inside, at = self.within(e.bounds, lanes), self.index(e.index, lanes)
        whole = self.block.constant(stored, lanes, 0)
        for k in range(lanes):
            place = self.block.pure(f"extractelement {at.type} {at.ref}, i64 {k}", self._index_kind)
            address = self._step(e.buffer, self.pointer(e.buffer), place.ref)
            if inside is None:
                one = self.block.emit(f"load {LLVM_TYPES[stored]}, ptr {address}", stored)
            else:
                may = inside
                if inside.lanes > 1:
                    may = self.block.pure(f"extractelement {inside.type} {inside.ref}, i64 {k}", "i1")
                one = self._guarded(e, stored, may, address, e.dtype.itemsize)
            text = f"insertelement {whole.type} {whole.ref}, {one.type} {one.ref}, i64 {k}"
            whole = self.block.pure(text, stored, lanes)
        return whole

    def _guarded(self, e: Load, kind: str, inside: Value, address: str, align: int, lanes: int = 1) -> Value:
        """What lies at the address, if a condition holds."""
        stored = memory_kind(kind)
        if inside.ref == "false":
            return self.block.constant(kind, lanes, 0)
        source = Source(address, e.buffer.space, e.buffer not in self._written, align)
        loaded = guarded(inside, source, stored, lanes)
        return loaded.to("i1") if kind == "i1" else loaded

    # ---- stores ----

    def _store(self, buffer: Buffer, index: Index, value: Value) -> None:
        if buffer.space is Space.SHARED:
            self._runs.clear()
        super()._store(buffer, index, value)

    def _store_wide(self, buffer: Buffer, index: Index, value: Value, vector: Vector) -> None:
        if index.stride(vector.axis) == 1:
            align = self._alignment(buffer, index, vector)
            self.block.do(f"store {value.type} {value.ref}, ptr {self.address(buffer, index)}, align {align}")
            return
        at = self.index(index, vector.lanes)
        for k in range(vector.lanes):
            place = self.block.pure(f"extractelement {at.type} {at.ref}, i64 {k}", self._index_kind)
            one = self.block.pure(f"extractelement {value.type} {value.ref}, i64 {k}", value.kind)
            address = self._step(buffer, self.pointer(buffer), place.ref)
            self.block.do(f"store {one.type} {one.ref}, ptr {address}")

    def _alignment(self, buffer: Buffer, index: Index, vector: Vector) -> int:
        """To how many bytes the first lane is known to be aligned."""
        fixed, steps = index.offset, []
        for atom, step in index.terms:
            known = 0 if atom is vector.axis else self._known(atom)
            if known is None:
                steps.append(step)
            else:
                fixed += known * step
        return gcd(VECTOR_BYTES, *(n * buffer.dtype.itemsize for n in (fixed, *steps)))
