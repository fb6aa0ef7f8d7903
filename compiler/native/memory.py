"""The native language's memory made LLVM instructions: elements, vectors of them, and atomic steps.

In flow addresses and values with their kinds; out flow what is there, or what was there before. An atomic
step of two operands is a row of `STEPS`.
"""

from __future__ import annotations

import ast

from retrograd.compiler.native import language
from retrograd.compiler.native.arithmetic import Arithmetic
from retrograd.compiler.native.kinds import BOOL, BYTES, ELEMENTS, INT, Kind, vector_of
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
        assert kind.lane is not None
        return Typed(self.build.load("taken", kind.llvm, place.value, BYTES[kind.lane.memory]), kind)

    def put(self, node: ast.AST, place: Typed, given: Typed, count: Typed | None) -> None:
        """Lanes into elements from a place on: all, or so many at most."""
        element, lane = place.kind.element, given.kind.lane
        if element is None or lane is None or lane.llvm != element.llvm:
            raise self.wrong(node, f"{given.kind.llvm} into what is no array of such numbers")
        kind = vector_of(element, given.kind.lanes)
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
        numbers = ", ".join(f"i64 {k}" for k in range(kind.lanes))
        mask = f"<{kind.lanes} x i1>"
        below = self.build.let("below", mask, f"icmp slt {counts.llvm} <{numbers}>, ", counts)
        name = f"llvm.masked.store.v{kind.lanes}{ELEMENTS[kind.number]}.p0"
        self.module.declare(name, f"declare void @{name}({kind.llvm}, ptr, i32, {mask})")
        pieces = (f"call void @{name}({kind.llvm} ", value, ", ptr ", place)
        self.build.add(*pieces, f", i32 {BYTES[kind.number]}, {mask} ", below, ")")

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
