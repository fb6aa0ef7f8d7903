"""The native language (`language.py`) made LLVM text: functions and their statements.

In flow the functions that are wanted by name; out flows a module with them and all that they call. A
statement is a method here, an expression one of `expressions.py`; `ssa.py` keeps blocks and variables.
"""

from __future__ import annotations

import ast
import functools
import linecache
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from retrograd.compiler.native.expressions import NULL, Expressions
from retrograd.compiler.native.kinds import NOTHING, kind_of, signature_of
from retrograd.compiler.native.language import Extern, Native
from retrograd.compiler.native.scope import Code, Loop, Module, Scope, Typed
from retrograd.compiler.native.ssa import Block, Value


def text(roots: Sequence[Callable[..., Any]], numbers: Mapping[str, int]) -> str:
    """The module of these functions, which must be `exported`; `numbers` are those that are `given`.

    Raises CompilerError, with file and line, for what the language does not have.
    """
    module = Module(numbers)
    for root in roots:
        module.want(root)
    bodies: list[str] = []
    for function in module.functions():
        if isinstance(function, Extern):
            module.declare(function.name, _declaration(function))
        else:
            bodies.append("\n".join(_Function(module, Scope(function, "")).lines()))
    return "\n\n".join(["\n".join(module.declared), *bodies, ""])


def _declaration(function: Extern) -> str:
    parameters, result = signature_of(function)
    return f"declare {result.memory} @{function.name}({', '.join(p.memory for p in parameters.values())})"


def _tree(native: Native) -> ast.FunctionDef:
    code = native.function.__code__
    return _trees(code.co_filename)[code.co_firstlineno]


@functools.cache
def _trees(file: str) -> dict[int, ast.FunctionDef]:
    """The functions of a file, by the lines on which they and their decorators begin."""
    found, bodies = {}, [ast.parse("".join(linecache.getlines(file))).body]
    while bodies:
        for statement in bodies.pop():
            bodies.append(getattr(statement, "body", []))
            if isinstance(statement, ast.FunctionDef):
                first, *_ = *statement.decorator_list, statement
                found[first.lineno] = statement
    return found


_ZERO, _ONE = (ast.parse(number, mode="eval").body for number in "01")


class _Function(Expressions):
    """One function on its way from Python's tree to LLVM's text."""

    def lines(self) -> Iterator[str]:
        """The definition."""
        scope, tree = self.scope, _tree(self.scope.native)
        given = []
        for name, kind in scope.parameters.items():
            value = Value(f"%{self.build.name(name)}", kind.llvm)
            self.assign(name, Typed(value, kind), tree)
            given.append(f"{kind.llvm} {value}")
        self._body(tree)
        linkage = "" if scope.native.exported else "internal "
        head = f"define {linkage}{scope.result.llvm} @{scope.native.name}({', '.join(given)}) nounwind {{"
        yield from [f"; {line}" for line in (ast.get_docstring(tree) or "").splitlines()]
        yield from [head, *self.build.text(), "}"]

    def _body(self, tree: ast.FunctionDef) -> None:
        self._run(tree.body[ast.get_docstring(tree) is not None :])
        if self.build.block is not None:
            if self.scope.result is not NOTHING:
                raise self.wrong(tree, "the end can be reached without a result")
            self._return(None)

    def expand(self, node: ast.AST, function: Native, given: Sequence[Typed | Code]) -> Typed:
        outer, tree = self.scope, _tree(function)
        scope = Scope(function.within(outer.native), f"{self.build.name(function.name)}.")
        scope.after = self.build.new_block("after")
        if len(given) != len(scope.parameters):
            raise self.wrong(node, f"{len(given)} arguments where {len(scope.parameters)} are wanted")
        for (name, kind), one in zip(scope.parameters.items(), given, strict=True):
            if isinstance(one, Code):
                scope.codes[name] = one
                continue
            value = self.fit(one, kind, node)
            scope.kinds[name] = one.kind if kind.is_open else kind
            self.build.write(scope.prefix + name, value)
        self.scope = scope
        self._body(tree)
        self.build.enter(scope.after, sealed=True)
        found = NULL if scope.result is NOTHING else self.local("return", tree)
        self.scope = outer
        return found

    # --- statements -----------------------------------------------------------------------------------------
    def _run(self, body: Sequence[ast.stmt]) -> None:
        for statement in body:
            if self.build.block is None:
                raise self.wrong(statement, "this line is never reached")
            do = getattr(self, f"_do_{type(statement).__name__}", None)
            if do is None:
                raise self.wrong(statement, f"no {type(statement).__name__} in the native language")
            do(statement)

    def _do_Pass(self, node: ast.Pass) -> None:
        pass

    def _do_Expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Call):
            raise self.wrong(node, "a value that nobody takes")
        self._get_Call(node.value)

    def _do_Assign(self, node: ast.Assign) -> None:
        match node:
            case ast.Assign(targets=[ast.Tuple(elts=targets)], value=ast.Tuple(elts=values)):
                pass
            case _:
                targets, values = node.targets, [node.value]
        if len(targets) != len(values):
            raise self.wrong(node, "as many values as targets are wanted")
        for target, value in zip(targets, [self.get(value) for value in values], strict=True):
            self.store(target, value)

    def _do_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is None:
            raise self.wrong(node, "a variable without a value")
        kind = kind_of(self.python(node.annotation))
        self.store(node.target, Typed(self.fit(self.get(node.value), kind, node), kind))

    def _do_AugAssign(self, node: ast.AugAssign) -> None:
        self.store(node.target, self.operate(node, node.op, self.get(node.target), self.get(node.value)))

    def _do_Return(self, node: ast.Return) -> None:
        result = self.scope.result
        if node.value is None or result is NOTHING:
            if isinstance(node.value, ast.Call):
                self._get_Call(node.value)
            self._return(None)
            return
        given = self.get(node.value)
        self._return(Typed(self.fit(given, result, node), given.kind if result.is_open else result))

    def _return(self, given: Typed | None) -> None:
        scope = self.scope
        if scope.after is None:
            self.build.end(
                [], *(("ret void",) if given is None else (f"ret {given.kind.llvm} ", given.value))
            )
            return
        if given is not None:
            scope.kinds["return"] = given.kind
            self.build.write(f"{scope.prefix}return", given.value)
        self.build.jump(scope.after)

    def _do_If(self, node: ast.If) -> None:
        then, after = self.build.new_block("then"), self.build.new_block("after")
        other = self.build.new_block("else") if node.orelse else after
        self.branch(node.test, then, other)
        for block, body in ((then, node.body), (other, node.orelse)):
            if body:
                self.build.enter(block, sealed=True)
                self._run(body)
                self.build.jump(after)
        if after.before:
            self.build.enter(after, sealed=True)

    def _do_While(self, node: ast.While) -> None:
        test, turn, after = map(self.build.new_block, ("while", "turn", "after"))
        self.build.jump(test)
        self.build.enter(test, sealed=False)
        self.branch(node.test, turn, after)
        self._turn(node, turn, Loop(test, after))
        self.build.jump(test)
        self.build.seal(test)
        if after.before:
            self.build.enter(after, sealed=True)

    def _do_For(self, node: ast.For) -> None:
        match node:
            case ast.For(target=ast.Name(id=name), iter=ast.Call(func=ast.Name(id="range"), args=bounds)):
                pass
            case ast.For(target=ast.Name(), iter=ast.Name(id=numbers)) if self.scope.of(numbers) is None:
                self._written_out(node)
                return
            case _:
                raise self.wrong(node, "a loop is over a range or numbers, or a while")
        if len(bounds) == 1:
            bounds = [_ZERO, *bounds]
        start, stop, step = [*bounds, _ONE][:3]
        end, by = self.get(stop), self.get(step)
        if by.value.number is None:
            raise self.wrong(step, "the step of a range is a number")
        self.assign(name, self.get(start), node)
        test, turn, advance, after = map(self.build.new_block, ("for", "turn", "next", "after"))
        self.build.jump(test)
        self.build.enter(test, sealed=False)
        before = ast.Lt() if by.value.number > 0 else ast.Gt()
        more = self.compared(node, self.local(name, node), before, end)
        self.build.branch(more.value, turn, after)
        self._turn(node, turn, Loop(advance, after))
        self.build.jump(advance)
        if advance.before:
            self.build.enter(advance, sealed=True)
            self.assign(name, self.operate(node, ast.Add(), self.local(name, node), by), node)
            self.build.jump(test)
        self.build.seal(test)
        self.build.enter(after, sealed=True)

    def _written_out(self, node: ast.For) -> None:
        """A loop over numbers of the text."""
        for number in self.python(node.iter):
            self.store(node.target, self.number(number))
            self._run(node.body)

    def _turn(self, node: ast.For | ast.While, turn: Block, loop: Loop) -> None:
        self.build.enter(turn, sealed=True)
        self.scope.loops.append(loop)
        self._run(node.body)
        self.scope.loops.pop()

    def _do_Break(self, node: ast.Break) -> None:
        self.build.jump(self.scope.loops[-1].after)

    def _do_Continue(self, node: ast.Continue) -> None:
        self.build.jump(self.scope.loops[-1].again)

    def _do_Match(self, node: ast.Match) -> None:
        subject, after = self.get(node.subject), self.build.new_block("after")
        other, targets, choices, bodies = after, list[Block](), list[str](), list[tuple[Block, Any]]()
        for case in node.cases:
            block = self.build.new_block("case")
            bodies.append((block, case.body))
            for pattern in case.pattern.patterns if isinstance(case.pattern, ast.MatchOr) else [case.pattern]:
                match pattern:
                    case ast.MatchValue(value=value):
                        choices.append(f"i64 {int(self.python(value))}, label %{block.name}")
                        targets.append(block)
                    case ast.MatchAs(pattern=None, name=None):
                        other = block
                    case _:
                        raise self.wrong(case.pattern, "a case is a member of an enumeration, or _")
        self.build.end(
            [*targets, other], "switch i64 ", subject.value, f", label %{other.name} [ {' '.join(choices)} ]"
        )
        for block, body in bodies:
            self.build.enter(block, sealed=True)
            self._run(body)
            self.build.jump(after)
        if after.before:
            self.build.enter(after, sealed=True)
