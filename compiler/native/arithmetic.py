"""The native language's arithmetic made LLVM instructions: of single numbers, and of several at once.

In flow values of `ssa.py` with their kinds; out flow others. An operator is a row of `_OPERATORS`, a relation
one of `_RELATIONS`, a function of LLVM one of `INTRINSICS`. A single number that meets a vector is what all
lanes are; one of the text becomes a constant of the lanes' kind.
"""

from __future__ import annotations

import ast
import operator
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from retrograd.compiler.backends.kinds import literal
from retrograd.compiler.errors import CompilerError
from retrograd.compiler.native import language
from retrograd.compiler.native.kinds import BOOL, BYTES, ELEMENTS, FLOAT, INT, UNSIGNED, Kind, vector_of
from retrograd.compiler.native.scope import Module, Scope, Typed
from retrograd.compiler.native.ssa import Builder, Value
from retrograd.compiler.record import NamedTuple


class _Operator(NamedTuple):
    signed: str
    unsigned: str
    floating: str
    python: Callable[[Any, Any], Any]


_OPERATORS: dict[type[ast.operator], _Operator] = {
    ast.Add: _Operator("add", "add", "fadd", operator.add),
    ast.Sub: _Operator("sub", "sub", "fsub", operator.sub),
    ast.Mult: _Operator("mul", "mul", "fmul", operator.mul),
    ast.Div: _Operator("", "", "fdiv", operator.truediv),
    ast.FloorDiv: _Operator("udiv", "udiv", "", operator.floordiv),
    ast.Mod: _Operator("urem", "urem", "", operator.mod),
    ast.Pow: _Operator("", "", "", operator.pow),
    ast.LShift: _Operator("shl", "shl", "", operator.lshift),
    ast.RShift: _Operator("ashr", "lshr", "", operator.rshift),
    ast.BitAnd: _Operator("and", "and", "", operator.and_),
    ast.BitOr: _Operator("or", "or", "", operator.or_),
    ast.BitXor: _Operator("xor", "xor", "", operator.xor),
}
_RELATIONS: dict[type[ast.cmpop], tuple[str, str, str]] = {
    ast.Eq: ("eq", "eq", "oeq"),
    ast.NotEq: ("ne", "ne", "une"),
    ast.Lt: ("slt", "ult", "olt"),
    ast.LtE: ("sle", "ule", "ole"),
    ast.Gt: ("sgt", "ugt", "ogt"),
    ast.GtE: ("sge", "uge", "oge"),
    ast.Is: ("eq", "eq", ""),
    ast.IsNot: ("ne", "ne", ""),
}
INTRINSICS = {
    abs: "fabs",
    language.ceil: "ceil",
    language.floor: "floor",
    language.fused: "fma",
    language.sqrt: "sqrt",
}
_FLOATS = ("float", "double")


class Arithmetic(ABC):
    """Appends to the current block of a function."""

    def __init__(self, module: Module, scope: Scope) -> None:
        self.module, self.build, self.scope = module, Builder(), scope

    # --- kinds ----------------------------------------------------------------------------------------------
    def number(self, number: int | float, kind: Kind | None = None) -> Typed:
        """A number of the text, of a kind if that is known."""
        if kind is None:
            kind = FLOAT if isinstance(number, float) else INT
        spelled = literal(ELEMENTS[kind.number], number)
        text = spelled if kind.lane is None else f"splat ({kind.number} {spelled})"
        return Typed(Value(text, kind.llvm, number), kind)

    def fit(self, given: Typed, kind: Kind, node: ast.AST) -> Value:
        """A value where one of a kind is wanted."""
        if given.kind.llvm == kind.llvm or kind.is_open:
            return given.value
        if kind.lane is not None and given.kind.llvm == kind.lane.llvm:
            return self._spread(given, kind)
        raise self.wrong(node, f"{given.kind.llvm} where {kind.llvm} is wanted")

    def _spread(self, given: Typed, kind: Kind) -> Value:
        """A vector of one number."""
        assert kind.lane is not None
        if given.value.number is not None:
            return self.number(given.value.number, kind).value
        one = self.changed(given.value, kind.lane.memory, given.kind.unsigned)
        pieces = (f"insertelement {kind.llvm} poison, {one.llvm} ", one, ", i64 0")
        first = self.build.let("first", kind.llvm, *pieces)
        pieces = (
            f"shufflevector {kind.llvm} ",
            first,
            f", {kind.llvm} poison, <{kind.lanes} x i32> zeroinitializer",
        )
        return self.build.let("all", kind.llvm, *pieces)

    def _alike(self, left: Typed, right: Typed, node: ast.AST) -> tuple[Kind, Value, Value]:
        """Two operands as values of one kind."""
        kind = right.kind if left.kind.lane is None and right.kind.lane is not None else left.kind
        values = self.fit(left, kind, node), self.fit(right, kind, node)
        if kind.llvm == "i64":
            kind = UNSIGNED if left.kind.unsigned or right.kind.unsigned else INT
        elif kind.llvm == "double":
            kind = FLOAT
        return kind, *values

    # --- operators ------------------------------------------------------------------------------------------
    def operate(self, node: ast.AST, op: ast.operator, left: Typed, right: Typed) -> Typed:
        """An operator of two values."""
        row = _OPERATORS.get(type(op))
        if row is not None and left.value.number is not None and right.value.number is not None:
            return self.number(row.python(left.value.number, right.value.number))
        kind, one, other = self._alike(left, right, node)
        name = "" if row is None or kind.number == "ptr" else _fitting(row[:3], kind)
        if not name:
            raise self.wrong(node, f"no {type(op).__name__} of {kind.llvm} in the native language")
        return Typed(self.build.let(name, kind.llvm, f"{name} {kind.llvm} ", one, ", ", other), kind)

    def negative(self, node: ast.AST, given: Typed) -> Typed:
        if given.value.number is not None:
            return self.number(-given.value.number)
        zero = -0.0 if given.kind.number in _FLOATS else 0
        return self.operate(node, ast.Sub(), self.number(zero), given)

    def compared(self, node: ast.AST, left: Typed, op: ast.cmpop, right: Typed) -> Typed:
        """A relation of two values."""
        kind, one, other = self._alike(left, right, node)
        row = _RELATIONS.get(type(op))
        if row is None or (kind.llvm == "ptr") != isinstance(op, ast.Is | ast.IsNot):
            raise self.wrong(node, f"no {type(op).__name__} of {kind.llvm} in the native language")
        test = f"{'fcmp' if kind.number in _FLOATS else 'icmp'} {_fitting(row, kind)}"
        truth = BOOL if kind.lane is None else vector_of(BOOL, kind.lanes)
        return Typed(self.build.let("holds", truth.llvm, f"{test} {kind.llvm} ", one, ", ", other), truth)

    def selected(self, node: ast.AST, test: Typed, yes: Typed, no: Typed) -> Typed:
        """One value or the other, both of which are there."""
        kind, one, other = self._alike(yes, no, node)
        if test.kind.lane is not None and kind.lane is None:
            kind = vector_of(kind, test.kind.lanes)
            one, other = self.fit(yes, kind, node), self.fit(no, kind, node)
        pieces = (f"select {test.kind.llvm} ", test.value, f", {kind.llvm} ", one, f", {kind.llvm} ", other)
        return Typed(self.build.let("chosen", kind.llvm, *pieces), kind)

    def intrinsic(self, node: ast.AST, name: str, given: list[Typed]) -> Typed:
        """One of LLVM's functions of like numbers."""
        kind = next((one.kind for one in given if one.kind.lane is not None), given[0].kind)
        if kind.number not in _FLOATS:
            raise self.wrong(node, f"no {name} of {kind.llvm} in the native language")
        suffix = ELEMENTS[kind.number] if kind.lane is None else f"v{kind.lanes}{ELEMENTS[kind.number]}"
        full = f"llvm.{name}.{suffix}"
        self.module.declare(full, f"declare {kind.llvm} @{full}({', '.join([kind.llvm] * len(given))})")
        pieces: list[object] = [f"call {kind.llvm} @{full}("]
        for place, one in enumerate(given):
            pieces += [", " if place else "", f"{kind.llvm} ", self.fit(one, kind, node)]
        return Typed(self.build.let(name, kind.llvm, *pieces, ")"), kind)

    # --- conversions ----------------------------------------------------------------------------------------
    def converted(self, node: ast.AST, given: Typed, kind: Kind) -> Typed:
        """A number as one of another kind, or in all lanes; an address as a number, or as another one."""
        if kind.lane is not None and given.kind.lane is None:
            lane = self.converted(node, given, kind.lane)
            return Typed(self._spread(lane, kind), kind)
        types = {given.kind.llvm, kind.llvm}
        if kind.lanes != given.kind.lanes or ("ptr" in types and not types <= {"ptr", "i64"}):
            raise self.wrong(node, f"{given.kind.llvm} where {kind.llvm} is wanted")
        return Typed(self.changed(given.value, kind.llvm, given.kind.unsigned, kind), kind)

    def widened(self, value: Value, kind: Kind) -> Typed:
        """What memory or C gave."""
        return Typed(self.changed(value, kind.llvm, kind.unsigned), kind)

    def narrowed(self, given: Typed, kind: Kind, node: ast.AST) -> Value:
        """What memory or C takes."""
        return self.changed(self.fit(given, kind, node), kind.memory, kind.unsigned)

    def changed(self, value: Value, llvm: str, unsigned: bool, target: Kind | None = None) -> Value:
        """A value, which may be `unsigned`, as one of another type of LLVM."""
        if value.llvm == llvm:
            return value
        if value.source is not None and value.source.llvm == llvm:
            return value.source
        if isinstance(value.number, int) and llvm in BYTES and llvm not in (*_FLOATS, "ptr"):
            return Value(literal(llvm, value.number), llvm, value.number)
        into_unsigned = target is not None and target.unsigned
        how = _conversion(_of_lane(value.llvm), _of_lane(llvm), unsigned, into_unsigned)
        made = self.build.let("as", llvm, f"{how} {value.llvm} ", value, f" to {llvm}")
        if how in ("fpext", "sext", "zext"):
            made.source = value
        return made

    # --- errors ---------------------------------------------------------------------------------------------
    @abstractmethod
    def wrong(self, node: ast.AST, why: str) -> CompilerError:
        """An error at a line of the source."""


def _fitting(row: tuple[str, str, str], kind: Kind) -> str:
    """Of what is signed, unsigned and floating, what there is for a kind."""
    signed, unsigned, floating = row
    if kind.number in _FLOATS:
        return floating
    return unsigned if kind.unsigned else signed


def _of_lane(llvm: str) -> str:
    """The type of a lane of this type, or itself."""
    return llvm.rpartition(" ")[2].rstrip(">")


def _conversion(source: str, target: str, unsigned: bool, into_unsigned: bool) -> str:
    """The instruction that makes a number of one type one of another."""
    match source in _FLOATS, target in _FLOATS:
        case True, True:
            return "fpext" if BYTES[target] > BYTES[source] else "fptrunc"
        case True, False:
            return "fptoui" if into_unsigned else "fptosi"
        case False, True:
            return "uitofp" if unsigned or source == "i1" else "sitofp"
    if "ptr" in (source, target):
        return "inttoptr" if target == "ptr" else "ptrtoint"
    if source == "i1" or BYTES[target] > BYTES[source]:
        return "zext" if unsigned or source == "i1" else "sext"
    return "trunc"
