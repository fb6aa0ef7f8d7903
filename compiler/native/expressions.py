"""The native language's expressions made LLVM instructions.

In flow Python's trees of expressions; out flow values of `ssa.py` with their kinds. An expression is a
method, a built-in function a row of `_BUILT_IN`.
"""

from __future__ import annotations

import ast
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

from retrograd.compiler.errors import CompilerError
from retrograd.compiler.native import language
from retrograd.compiler.native.arithmetic import INTRINSICS
from retrograd.compiler.native.emission import Emission
from retrograd.compiler.native.kinds import ADDRESS, BOOL, INT, NOTHING, Field, Kind, kind_of, signature_of
from retrograd.compiler.native.language import Data, Emitted, Native
from retrograd.compiler.native.memory import STEPS
from retrograd.compiler.native.scope import Code, Scope, Typed
from retrograd.compiler.native.ssa import Block, Value

NULL = Typed(Value("null", "ptr"), ADDRESS)
_ONE, _EIGHT = (ast.parse(number, mode="eval").body for number in "18")


class Expressions(Emission):
    """A function's expressions, appended to its current block."""

    # --- names and constants --------------------------------------------------------------------------------
    def get(self, node: ast.expr) -> Typed:
        """The value of an expression."""
        make = getattr(self, f"_get_{type(node).__name__}", None)
        if make is None:
            raise self.wrong(node, f"no {type(node).__name__} in the native language")
        found: Typed = make(node)
        return found

    def _get_Constant(self, node: ast.Constant) -> Typed:
        return self._constant(node.value, node)

    def _constant(self, value: object, node: ast.AST) -> Typed:
        match value:
            case None:
                return NULL
            case bool():
                return Typed(Value(str(value).lower(), "i1"), BOOL)
            case int() | float():
                return self.number(value)
            case Data():
                return Typed(Value(self.module.want(value), "ptr"), kind_of(value.kind))
            case Native():
                parameters, result = signature_of(value)
                code = Kind("ptr", "ptr", signature=(tuple(parameters.values()), result))
                return Typed(Value(self.module.want(value), "ptr"), code)
        raise self.wrong(node, f"{value!r} is no constant of the native language")

    def _get_Name(self, node: ast.Name) -> Typed:
        return (
            self.local(node.id, node) if self.scope.of(node.id) else self._constant(self.python(node), node)
        )

    def local(self, name: str, node: ast.AST) -> Typed:
        """A variable's value."""
        scope = self.scope.of(name)
        if scope is None or name in scope.codes:
            raise self.wrong(node, f"{name!r} is a function, to be called or given")
        kind = scope.kinds[name]
        try:
            return Typed(self.build.read(scope.prefix + name, kind.llvm), kind)
        except KeyError:
            raise self.wrong(node, f"{name!r} has no value on some way here") from None

    def assign(self, name: str, new: Typed, node: ast.AST) -> None:
        """A variable's new value, whose kind is that of the first one."""
        known = self.scope.kinds.setdefault(name, new.kind)
        if known.llvm != new.kind.llvm:
            raise self.wrong(node, f"{name!r} is {known.llvm} elsewhere, {new.kind.llvm} here")
        self.build.write(self.scope.prefix + name, new.value)

    def python(self, node: ast.expr) -> Any:
        """What an expression of globals is in Python."""
        names = self.scope.names
        if isinstance(node, ast.Name) and node.id in names:
            return names[node.id]
        try:
            return eval(compile(ast.Expression(node), "<native>", "eval"), names)
        except NameError as error:
            raise self.wrong(node, str(error)) from None

    # --- memory ---------------------------------------------------------------------------------------------
    def _get_Attribute(self, node: ast.Attribute) -> Typed:
        if isinstance(node.value, ast.Name) and self.scope.of(node.value.id) is None:
            constant = self.python(node.value)
            if not isinstance(constant, Data):
                return self._constant(self.python(node), node)
        field, at = self._field(node)
        return Typed(at, field.kind) if field.in_place else self.loaded(at, field.kind, node.attr)

    def _field(self, node: ast.Attribute) -> tuple[Field, Value]:
        """A field, and where it lies."""
        base = self.get(node.value)
        fields = self.module.fields(base.kind.fields)
        if node.attr not in fields:
            raise self.wrong(node, f"no field {node.attr!r} there")
        field = fields[node.attr]
        at = self.module.numbers[field.at] if isinstance(field.at, str) else field.at
        return field, self.behind(base.value, at)

    def _get_Subscript(self, node: ast.Subscript) -> Typed:
        kind, at = self._element(node)
        return self.loaded(at, kind, "item")

    def _element(self, node: ast.Subscript) -> tuple[Kind, Value]:
        """The kind of an array's element, and where it lies."""
        array = self.get(node.value)
        return self.element_of(array, node), self.further(array, self.get(node.slice))

    def store(self, target: ast.expr, new: Typed) -> None:
        """Put a value into a variable, a field or an element."""
        match target:
            case ast.Name(id=name):
                self.assign(name, new, target)
                return
            case ast.Attribute():
                field, at = self._field(target)
                kind = field.kind
            case ast.Subscript():
                kind, at = self._element(target)
            case _:
                raise self.wrong(target, "neither a name, a field nor an element")
        self.build.store(self.narrowed(new, kind, target), at)

    # --- arithmetic -----------------------------------------------------------------------------------------
    def _get_BinOp(self, node: ast.BinOp) -> Typed:
        return self.operate(node, node.op, self.get(node.left), self.get(node.right))

    def operate(self, node: ast.AST, op: ast.operator, left: Typed, right: Typed) -> Typed:
        if left.kind.element is not None and isinstance(op, ast.Add):
            return Typed(self.further(left, right), left.kind)
        return super().operate(node, op, left, right)

    def _get_UnaryOp(self, node: ast.UnaryOp) -> Typed:
        match node.op:
            case ast.Not():
                return self._chosen(node)
            case ast.USub():
                return self.negative(node, self.get(node.operand))
            case ast.Invert():
                return self.operate(node, ast.BitXor(), self.get(node.operand), self.number(-1))
        raise self.wrong(node, f"no {type(node.op).__name__} in the native language")

    def _get_Compare(self, node: ast.Compare) -> Typed:
        if len(node.ops) > 1:
            return self._chosen(node)
        return self.compared(node, self.get(node.left), node.ops[0], self.get(node.comparators[0]))

    # --- choices --------------------------------------------------------------------------------------------
    def branch(self, test: ast.expr, then: Block, other: Block) -> None:
        """End the block by going on where a condition says."""
        match test:
            case ast.BoolOp(op=junction, values=[*firsts, last]):
                for part in firsts:
                    rest = self.build.new_block("rest")
                    self.branch(part, *((rest, other) if isinstance(junction, ast.And) else (then, rest)))
                    self.build.enter(rest, sealed=True)
                self.branch(last, then, other)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                self.branch(operand, other, then)
            case ast.Constant(value=True):
                self.build.jump(then)
            case ast.Compare(left=left, ops=[*ops], comparators=[*others]):
                below = self.get(left)
                for op, node in zip(ops[:-1], others[:-1], strict=True):
                    above, rest = self.get(node), self.build.new_block("rest")
                    self.build.branch(self.compared(test, below, op, above).value, rest, other)
                    self.build.enter(rest, sealed=True)
                    below = above
                self.build.branch(
                    self.compared(test, below, ops[-1], self.get(others[-1])).value, then, other
                )
            case _:
                self.build.branch(self.fit(self.get(test), BOOL, test), then, other)

    def _get_BoolOp(self, node: ast.BoolOp) -> Typed:
        return self._chosen(node)

    def _chosen(self, node: ast.expr) -> Typed:
        """A condition as a value."""
        yes, no = (Typed(Value(word, "i1"), BOOL) for word in ("true", "false"))
        return self._either(node, node, lambda: yes, lambda: no)

    def _get_IfExp(self, node: ast.IfExp) -> Typed:
        return self._either(node, node.test, lambda: self.get(node.body), lambda: self.get(node.orelse))

    def _either(
        self, node: ast.AST, test: ast.expr, yes: Callable[[], Typed], no: Callable[[], Typed]
    ) -> Typed:
        """One value or the other."""
        then, other, after = map(self.build.new_block, ("then", "else", "after"))
        self.branch(test, then, other)
        found = self.build.name("either")
        kinds: list[Kind] = []
        for block, make in ((then, yes), (other, no)):
            self.build.enter(block, sealed=True)
            value = make()
            kinds.append(value.kind)
            self.build.write(found, self.fit(value, kinds[0], node))
            self.build.jump(after)
        self.build.enter(after, sealed=True)
        kind = kinds[1] if kinds[0] is ADDRESS else kinds[0]
        return Typed(self.build.read(found, kind.llvm), kind)

    # --- calls ----------------------------------------------------------------------------------------------
    def _get_Call(self, node: ast.Call) -> Typed:
        if node.keywords:
            raise self.wrong(node, "arguments are given by place")
        code = self._code(node.func)
        if code is not None:
            return self._call_code(node, code)
        if isinstance(node.func, ast.Attribute) or (
            isinstance(node.func, ast.Name) and self.scope.of(node.func.id)
        ):
            there = self.get(node.func)
            if there.kind.signature is None:
                raise self.wrong(node, "no function is there")
            return self._call(node, there.value, *there.kind.signature, [self.get(a) for a in node.args])
        function = self.python(node.func)
        if function in INTRINSICS:
            return self.intrinsic(node, INTRINSICS[function], [self.get(argument) for argument in node.args])
        if function in STEPS:
            return self.stepped(node, STEPS[function], *map(self.get, node.args))
        if function not in _BUILT_IN:
            raise self.wrong(node, f"{function!r} is no function of the native language")
        found: Typed = _BUILT_IN[function](self, *node.args)
        return found

    def _code(self, node: ast.expr) -> Code | None:
        """The function that is given by an expression: a parameter, a lambda, or one of the globals."""
        match node:
            case ast.Lambda():
                return Code(self.scope, node)
            case ast.Name(id=name):
                scope = self.scope.of(name)
                if scope is not None:
                    return scope.codes.get(name)
                function = self.scope.names.get(name)
                return Code(self.scope, native=function) if isinstance(function, Native | Emitted) else None
        return None

    def _call_code(self, node: ast.Call, code: Code) -> Typed:
        if isinstance(code.native, Native) and code.native.inlined:
            return self.expand(node, code.native, [self._code(a) or self.get(a) for a in node.args])
        return self._of_values(node, code, [self.get(argument) for argument in node.args])

    def _of_values(self, node: ast.AST, code: Code, given: Sequence[Typed]) -> Typed:
        """A function's value."""
        match code.native:
            case None:
                assert code.node is not None
                return self._applied(code.node, code.scope, given)
            case Emitted():
                return self.emitted(code.native, given)
            case Native(inlined=True):
                return self.expand(node, code.native, given)
        parameters, result = signature_of(code.native)
        return self._call(node, self.module.want(code.native), tuple(parameters.values()), result, given)

    def _applied(self, code: ast.Lambda, around: Scope, given: Sequence[Typed]) -> Typed:
        """A lambda's value."""
        outer = self.scope
        self.scope = Scope(around.native, self.build.name("lambda."), around)
        for parameter, value in zip(code.args.args, given, strict=True):
            self.assign(parameter.arg, value, code)
        found = self.get(code.body)
        self.scope = outer
        return found

    def _call(
        self, node: ast.AST, code: object, parameters: Sequence[Kind], result: Kind, given: Sequence[Typed]
    ) -> Typed:
        if len(given) != len(parameters):
            raise self.wrong(node, f"{len(given)} arguments where {len(parameters)} are wanted")
        passed = [self.narrowed(value, kind, node) for value, kind in zip(given, parameters, strict=True)]
        pieces: list[object] = [f"call {result.memory} ", code, "("]
        for place, value in enumerate(passed):
            pieces += [", " if place else "", f"{value.llvm} ", value]
        pieces.append(")")
        if result is NOTHING:
            self.build.add(*pieces)
            return NULL
        return self.widened(self.build.act("got", result.memory, *pieces), result)

    @abstractmethod
    def expand(self, node: ast.AST, function: Native, given: Sequence[Typed | Code]) -> Typed:
        """Write a function out where it is called."""

    # --- built-in functions ---------------------------------------------------------------------------------
    def _cast(self, kind: ast.expr, value: ast.expr) -> Typed:
        return self.converted(value, self.get(value), kind_of(self.python(kind)))

    def _bits(self, kind: ast.expr, value: ast.expr) -> Typed:
        target, given = kind_of(self.python(kind)), self.get(value)
        pieces = (f"bitcast {given.kind.llvm} ", given.value, f" to {target.llvm}")
        return Typed(self.build.let("bits", target.llvm, *pieces), target)

    def _select(self, test: ast.expr, yes: ast.expr, no: ast.expr) -> Typed:
        return self.selected(test, self.get(test), self.get(yes), self.get(no))

    def _take(self, kind: ast.expr, place: ast.expr, *first: ast.expr) -> Typed:
        target, at = kind_of(self.python(kind)), self.get(place)
        return self.taken_first(place, target, at, *map(self.get, first)) if first else self.taken(target, at)

    def _reduce(self, function: ast.expr, lanes: ast.expr) -> Typed:
        code, all_ = self._code(function), self.get(lanes)
        if code is None or all_.kind.lane is None:
            raise self.wrong(function, "a function and a vector are wanted")
        while all_.kind.lanes > 1:
            half = all_.kind.lanes // 2
            all_ = self._of_values(function, code, [self.part(all_, start, half) for start in (0, half)])
        assert all_.kind.lane is not None
        return self.widened(self.lane(all_, 0), all_.kind.lane)

    def _put(self, place: ast.expr, lanes: ast.expr, count: ast.expr | None = None) -> Typed:
        at, value = self.get(place), self.get(lanes)
        self.put(place, at, value, None if count is None else self.get(count))
        return NULL

    def _stack(self, kind: ast.expr, count: ast.expr = _ONE, alignment: ast.expr = _EIGHT) -> Typed:
        target, aligned = kind_of(self.python(kind)), f", align {self.python(alignment)}"
        many: object = self.fit(self.get(count), INT, count)
        if target.fields:
            many = language.words(target.fields)
        memory = target.element.memory if target.element else "i64"
        return Typed(self.build.act("room", "ptr", f"alloca {memory}, i64 ", many, aligned), target)

    def _inside(self, kind: ast.expr, base: ast.expr, offset: ast.expr) -> Typed:
        given = self.get(base)
        return Typed(self.behind(given.value, self.get(offset).value), kind_of(self.python(kind)))

    def _atomic_load(self, place: ast.expr, order: ast.expr) -> Typed:
        return self.observed(place, self.get(place), self.python(order))

    def _atomic_store(self, place: ast.expr, value: ast.expr, order: ast.expr) -> Typed:
        self.published(place, self.get(place), self.get(value), self.python(order))
        return NULL

    def _compare_exchange(self, place: ast.expr, old: ast.expr, new: ast.expr) -> Typed:
        return self.replaced(place, self.get(place), self.get(old), self.get(new))

    def _given(self, name: ast.expr) -> Typed:
        return self._constant(self.module.numbers[self.python(name)], name)

    def _extreme(self, relation: ast.cmpop, one: ast.expr, other: ast.expr) -> Typed:
        left, right = self.get(one), self.get(other)
        return self.selected(one, self.compared(one, left, relation, right), left, right)

    def _min(self, one: ast.expr, other: ast.expr) -> Typed:
        return self._extreme(ast.Lt(), one, other)

    def _max(self, one: ast.expr, other: ast.expr) -> Typed:
        return self._extreme(ast.Gt(), one, other)

    # --- errors ---------------------------------------------------------------------------------------------
    def wrong(self, node: ast.AST, why: str) -> CompilerError:
        """An error at a line of the source."""
        native = self.scope.native
        file = native.function.__code__.co_filename
        return CompilerError(f"{file}:{getattr(node, 'lineno', 0)}: in {native.name}: {why}")


_BUILT_IN: dict[Any, Callable[..., Typed]] = {
    language.cast: Expressions._cast,
    language.stack: Expressions._stack,
    language.inside: Expressions._inside,
    language.bits: Expressions._bits,
    language.atomic_load: Expressions._atomic_load,
    language.atomic_store: Expressions._atomic_store,
    language.compare_exchange: Expressions._compare_exchange,
    language.given: Expressions._given,
    language.put: Expressions._put,
    language.select: Expressions._select,
    language.take: Expressions._take,
    language.reduce: Expressions._reduce,
    min: Expressions._min,
    max: Expressions._max,
}
