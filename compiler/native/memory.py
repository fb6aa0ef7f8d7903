"""The native language's memory made LLVM instructions: elements, vectors of them, and atomic steps.

In flow addresses and values with their kinds; out flow what is there, or what was there before. An atomic
step of two operands is a row of `STEPS`.
"""

from __future__ import annotations

import ast

from retrograd.compiler.native import language
from retrograd.compiler.native.arithmetic import Arithmetic
from retrograd.compiler.native.kinds import BOOL, BYTES, ELEMENTS, INT, LANES, Kind, vector_of
from retrograd.compiler.native.language import Order
from retrograd.compiler.native.scope import Typed
from retrograd.compiler.native.ssa import Value

STEPS = {language.exchange: ("xchg", Order.ACQUIRE_RELEASE), language.atomic_add: ("add", Order.SEQUENTIAL)}


class Memory(Arithmetic):
    """Reads and writes, appended to the current block."""

    # --- places ---------------------------------------------------------------------------------------------
    def element_of(self, array: Typed, node: ast.AST) -> Kind:
        """The kind of an array's elements."""
        if array.kind.element is None:
            raise self.wrong(node, "only an Array has elements")
        return array.kind.element

    def further(self, array: Typed, count: Typed) -> Value:
        """Where the element so many further on lies."""
        assert array.kind.element is not None
        if str(count.value) == "0":
            return array.value
        step = f"getelementptr {array.kind.element.memory}, ptr "
        return self.build.let("at", "ptr", step, array.value, ", i64 ", count.value)

    def behind(self, base: Value, offset: int | Value) -> Value:
        """Where so many bytes behind an address is."""
        if str(offset) == "0":
            return base
        return self.build.let("at", "ptr", "getelementptr i8, ptr ", base, ", i64 ", offset)

    def loaded(self, at: Value, kind: Kind, hint: str) -> Typed:
        """What is there."""
        return self.widened(self.build.load(hint, kind.memory, at), kind)

    # --- vectors --------------------------------------------------------------------------------------------
    def taken(self, kind: Kind, place: Typed) -> Typed:
        """A vector that begins at an element."""
        stored = _stored(kind)
        loaded = self.build.load("taken", stored.llvm, place.value, BYTES[stored.number])
        return self._held(Typed(loaded, stored), kind)

    def taken_first(self, node: ast.AST, kind: Kind, place: Typed, count: Typed, otherwise: Typed) -> Typed:
        """So many lanes of it at most; the rest are otherwise."""
        below, mask = self._below(kind, self.fit(count, vector_of(INT, kind.lanes), node))
        stored, rest = _stored(kind), self.fit(otherwise, kind, node)
        name, llvm = f"llvm.masked.load.v{kind.lanes}{ELEMENTS[stored.number]}.p0", stored.llvm
        self.module.declare(name, f"declare {llvm} @{name}(ptr, i32, {mask}, {llvm})")
        pieces = (f"call {llvm} @{name}(ptr ", place.value, f", i32 {BYTES[stored.number]}, {mask} ", below)
        end = (f", {llvm} ", self.changed(rest, llvm, kind.unsigned), ")")
        return self._held(Typed(self.build.act("taken", llvm, *pieces, *end), stored), kind)

    def _held(self, loaded: Typed, kind: Kind) -> Typed:
        """A vector of memory as it is held."""
        if loaded.kind.llvm == kind.llvm:
            return Typed(loaded.value, kind)
        zeros = self.number(0, loaded.kind).value
        pieces = (f"icmp ne {loaded.kind.llvm} ", loaded.value, ", ", zeros)
        return Typed(self.build.let("truths", kind.llvm, *pieces), kind)

    def lane(self, given: Typed, number: int) -> Value:
        """One lane, as wide as it is in memory."""
        pieces = (f"extractelement {given.kind.llvm} ", given.value, f", i64 {number}")
        return self.build.let("lane", given.kind.number, *pieces)

    def part(self, given: Typed, start: int, lanes: int) -> Typed:
        """A vector of so many lanes from one on."""
        assert given.kind.lane is not None
        kind, steps = vector_of(given.kind.lane, lanes), ", ".join(f"i32 {start + k}" for k in range(lanes))
        pieces = (f"shufflevector {given.kind.llvm} ", given.value, f", {given.kind.llvm} poison, ")
        return Typed(self.build.let("part", kind.llvm, *pieces, f"<{lanes} x i32> <{steps}>"), kind)

    def put(self, node: ast.AST, place: Typed, given: Typed, count: Typed | None) -> None:
        """Lanes into elements from a place on: all, or so many at most."""
        element, lane = place.kind.element, given.kind.lane
        if element is None or lane is None or lane.llvm != element.llvm:
            raise self.wrong(node, f"{given.kind.llvm} into what is no array of such numbers")
        kind = _stored(vector_of(element, given.kind.lanes))
        value = self.changed(given.value, kind.llvm, kind.unsigned)
        if count is None:
            self.build.store(value, place.value, BYTES[element.memory])
            return
        full, part, after = map(self.build.new_block, ("full", "part", "after"))
        lanes = self.number(kind.lanes)
        self.build.branch(self.compared(node, lanes, ast.LtE(), count).value, full, part)
        self.build.enter(full, sealed=True)
        self.build.store(value, place.value, BYTES[element.memory])
        self.build.jump(after)
        self.build.enter(part, sealed=True)
        self._put_first(kind, value, place.value, self.fit(count, vector_of(INT, kind.lanes), node))
        self.build.jump(after)
        self.build.enter(after, sealed=True)

    def _put_first(self, kind: Kind, value: Value, place: Value, counts: Value) -> None:
        """Only those lanes whose number is below the count."""
        below, mask = self._below(kind, counts)
        name = f"llvm.masked.store.v{kind.lanes}{ELEMENTS[kind.number]}.p0"
        self.module.declare(name, f"declare void @{name}({kind.llvm}, ptr, i32, {mask})")
        pieces = (f"call void @{name}({kind.llvm} ", value, ", ptr ", place)
        self.build.add(*pieces, f", i32 {BYTES[kind.number]}, {mask} ", below, ")")

    def _below(self, kind: Kind, counts: Value) -> tuple[Value, str]:
        """Which lanes' numbers are below the count, and the type of that."""
        numbers, mask = ", ".join(f"i64 {k}" for k in range(kind.lanes)), f"<{kind.lanes} x i1>"
        return self.build.let("below", mask, f"icmp slt {counts.llvm} <{numbers}>, ", counts), mask

    # --- what threads share ---------------------------------------------------------------------------------
    def observed(self, node: ast.AST, place: Typed, order: Order) -> Typed:
        """The first element, at once."""
        kind = self.element_of(place, node)
        pieces = (f"load atomic {kind.memory}, ptr ", place.value, f" {order}, align {BYTES[kind.memory]}")
        return self.widened(self.build.act("seen", kind.memory, *pieces), kind)

    def published(self, node: ast.AST, place: Typed, new: Typed, order: Order) -> None:
        """A new first element, at once."""
        kind = self.element_of(place, node)
        pieces = (f"store atomic {kind.memory} ", self.narrowed(new, kind, node), ", ptr ", place.value)
        self.build.add(*pieces, f" {order}, align {BYTES[kind.memory]}")

    def stepped(self, node: ast.AST, step: tuple[str, Order], place: Typed, given: Typed) -> Typed:
        """The first element before something was done with it."""
        name, order = step
        kind = self.element_of(place, node)
        pieces = (
            f"atomicrmw {name} ptr ",
            place.value,
            f", {kind.memory} ",
            self.narrowed(given, kind, node),
        )
        return self.widened(self.build.act("former", kind.memory, *pieces, f" {order}"), kind)

    def replaced(self, node: ast.AST, place: Typed, old: Typed, new: Typed) -> Typed:
        """Whether the first element was the old one, and has become the new one."""
        kind = self.element_of(place, node)
        before, after = (self.narrowed(value, kind, node) for value in (old, new))
        pair = f"{{ {kind.memory}, i1 }}"
        pieces = ("cmpxchg ptr ", place.value, f", {kind.memory} ", before, f", {kind.memory} ", after)
        found = self.build.act("found", pair, *pieces, " acq_rel monotonic")
        return Typed(self.build.let("was", "i1", f"extractvalue {pair} ", found, ", 1"), BOOL)


def _stored(kind: Kind) -> Kind:
    """A vector as it lies in memory: there, a truth value is a byte."""
    return vector_of(LANES["i8"], kind.lanes) if kind.number == "i1" else kind
