"""The derivatives of the elementwise rows, worked out by SymPy and written to `derived.py`.

    python -m retrograd.compiler.ops.derive

The only module here that needs SymPy; nothing imports it in normal use. A row's formula is read in two ways.
`meaning` opens each row down to the functions that SymPy knows (`PRIMITIVES`): what tests prove things about.
For differentiating, another row stays closed, a function whose derivative is that row's own partials: the
derivative of `x * sigmoid(x)` is written with `sigmoid`, and is as sound as the rows that it uses.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, ClassVar

import sympy as sp
from sympy.printing.precedence import PRECEDENCE
from sympy.printing.str import StrPrinter

from retrograd.compiler.ir.graph import OPS
from retrograd.compiler.ops import derived
from retrograd.compiler.ops.elementwise import Elementwise
from retrograd.compiler.ops.row import WITHOUT_DERIVATIVE, calls, parse

OUT = sp.Symbol("out", real=True)
OPERANDS = dict(zip("xyzw", sp.symbols("x y z w", real=True)))


def _where(condition: Any, then: Any, otherwise: Any) -> Any:
    return sp.Piecewise((then, condition), (otherwise, True))


_SAME = (
    "sqrt sign floor exp log sin cos tan asin acos atan atan2 sinh cosh tanh asinh acosh atanh "
    "erf erfinv digamma trigamma zeta"
)
PRIMITIVES: dict[str, Callable[..., Any]] = {
    **{name: getattr(sp, name) for name in _SAME.split()},
    "add": lambda a, b: a + b, "sub": lambda a, b: a - b, "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b, "neg": lambda a: -a, "pow": sp.Pow, "power": sp.Pow,
    "abs": sp.Abs, "lgamma": sp.loggamma, "maximum": sp.Max, "minimum": sp.Min, "where": _where,
    "lt": sp.Lt, "le": sp.Le, "gt": sp.Gt, "ge": sp.Ge, "eq": sp.Eq, "ne": sp.Ne,
    "logical_and": sp.And, "logical_or": sp.Or, "logical_not": sp.Not,
    "ceil": sp.ceiling, "round": lambda a: sp.floor(a + sp.Rational(1, 2)),
    "trunc": lambda a: sp.sign(a) * sp.floor(sp.Abs(a)), "floor_divide": lambda a, b: sp.floor(a / b),
    "copysign": lambda a, b: sp.Abs(a) * sp.sign(b),
    "erfcx": lambda a: sp.exp(a**2) * sp.erfc(a), "ndtri": lambda a: sp.sqrt(2) * sp.erfinv(2 * a - 1),
    "log_ndtr": lambda a: sp.log(sp.erfc(-a / sp.sqrt(2)) / 2),
    "i0": lambda a: sp.besseli(0, a), "i0e": lambda a: sp.exp(-sp.Abs(a)) * sp.besseli(0, a),
    "i1": lambda a: sp.besseli(1, a), "i1e": lambda a: sp.exp(-sp.Abs(a)) * sp.besseli(1, a),
    "polynomial": lambda t, *c: sum(a * t**k for k, a in enumerate(c)),
}  # fmt: skip
"""What SymPy calls a row that is not defined by others. Where the two differ (a half that is rounded, the
sign of a zero, a series that is cut off) it is off the row's domain, or below its precision."""


def rows() -> list[Elementwise]:
    """The table, in its order."""
    return [op for op in OPS.values() if isinstance(op, Elementwise)]


# ---- formulas as SymPy expressions -------------------------------------------------------------------------


def meaning(row: Elementwise, *operands: Any) -> Any:
    """The row's value as a SymPy expression, all rows opened; by default in the symbols x, y, z, w."""
    arguments = operands or [OPERANDS[o] for o in row.operands]
    if row.name in PRIMITIVES:
        return PRIMITIVES[row.name](*arguments)
    return read(row.formula, _opened(), dict(zip(row.operands, arguments)))


def partial_meaning(row: Elementwise, operand: int) -> Any:
    """One partial derivative of the row as its text says it, all rows opened."""
    text = row.partials[operand]
    assert text is not None
    return read(text, _opened(), {**OPERANDS, "out": meaning(row), "ct": sp.Integer(1)})


def read(text: str, functions: Mapping[str, Any], operands: Mapping[str, Any]) -> Any:
    """A formula as a SymPy expression; its numbers are exact."""
    tree = ast.fix_missing_locations(ast.Expression(_Exact().visit(calls(parse(text)))))
    names = {**_NUMBERS, **PRIMITIVES, **functions, **operands}
    return sp.sympify(eval(compile(tree, f"<formula {text}>", "eval"), names))


_NUMBERS: dict[str, Any] = {
    "pi": sp.pi, "inf": sp.oo, "nan": sp.nan, "number": sp.Rational, "__builtins__": {},
}  # fmt: skip


class _Exact(ast.NodeTransformer):
    """0.1 is one tenth."""

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        return ast.Call(ast.Name("number", ast.Load()), [ast.Constant(repr(node.value))], [])


@cache
def _opened() -> dict[str, Any]:
    return {row.name: partial(meaning, row) for row in rows() if row.name not in PRIMITIVES}


@cache
def _closed() -> dict[str, Any]:
    return {row.name: _function(row) for row in rows() if row.name not in PRIMITIVES}


def _function(row: Elementwise) -> Any:
    """The row as a SymPy function that stays closed, and whose derivative is told by the row's partials."""

    def fdiff(self: Any, argindex: int = 1) -> Any:
        text = derive(row)[argindex - 1]
        operands = {**dict(zip(row.operands, self.args)), "out": self, "ct": sp.Integer(1)}
        return read(text, _closed(), operands) if text else sp.nan

    return type(row.name, (sp.Function,), {"fdiff": fdiff, "nargs": row.arity, "is_real": True})


# ---- derivatives -------------------------------------------------------------------------------------------


@cache
def derive(row: Elementwise) -> tuple[str | None, ...]:
    """The partial derivatives of a row as texts: its overrides, else SymPy's."""
    if row.overrides is not None:
        return row.overrides
    if row.types in WITHOUT_DERIVATIVE:
        return (None,) * row.arity
    value = PRIMITIVES[row.name](*_symbols(row)) if row.name in PRIMITIVES else _value(row)
    return tuple(write(_cheapest(value, sp.diff(value, operand))) for operand in _symbols(row))


def _symbols(row: Elementwise) -> list[Any]:
    return [OPERANDS[o] for o in row.operands]


def _value(row: Elementwise) -> Any:
    return read(row.formula, _closed(), OPERANDS)


def _cheapest(value: Any, derivative: Any) -> Any:
    """The cheapest of some forms of a derivative, with `out` for the value where that saves work.

    No form divides by something that the derivative does not divide by: it would be 0/0 there.
    """
    forms = [derivative, derivative.subs(value, OUT)]
    for part in value.atoms(sp.Function, sp.Pow, sp.Symbol):  # value = a*part + b, so part = (out - b) / a
        place = sp.Dummy(real=True)
        replaced = value.xreplace({part: place})
        if replaced.is_polynomial(place) and sp.degree(replaced, place) == 1:
            a, b = sp.Poly(replaced, place).all_coeffs()
            forms.append(derivative.xreplace({part: (OUT - b) / a}))
    divisors = _divisors(derivative)
    if _base(value) in divisors:
        divisors.add(OUT)
    return min((form for form in forms if _divisors(form) <= divisors), key=_cost)


def _divisors(expression: Any) -> set[Any]:
    """What the expression divides by, numbers aside."""
    powers = (p for p in expression.atoms(sp.Pow) if p.exp.could_extract_minus_sign() and p.free_symbols)
    return {p.base for p in powers}


def _base(value: Any) -> Any:
    return value.base if value.is_Pow else value


def _cost(expression: Any) -> int:
    """Roughly what it takes to evaluate."""
    total = 0
    for node in sp.preorder_traversal(expression):
        if node.is_Function and node.args and node.free_symbols:
            total += 20
        elif node.is_Pow and node.free_symbols:
            total += 2 if node.exp.is_Integer and node.exp > 0 else 6 if node.exp == -1 else 12
        elif node.is_Add or node.is_Mul:
            total += len(node.args) - 1
    return total


# ---- SymPy expressions as formulas -------------------------------------------------------------------------


class _Writer(StrPrinter):  # type: ignore[misc]  # SymPy has no types
    """SymPy's own way of writing, with the rows' names and without powers that would be slow."""

    names: ClassVar[dict[str, str]] = {
        "Abs": "abs", "Max": "maximum", "Min": "minimum", "loggamma": "lgamma", "digamma": "digamma",
    }  # fmt: skip

    def _print_Function(self, e: Any) -> str:
        name = self.names.get(type(e).__name__, type(e).__name__)
        if name not in OPS:
            raise NotImplementedError(f"no row is called {name}: {e}")
        return f"{name}({self.stringify(e.args, ', ')})"

    _print_Abs = _print_Max = _print_Min = _print_LatticeOp = _print_Function

    def _print_polygamma(self, e: Any) -> str:
        order, x = e.args
        return f"{('digamma', 'trigamma')[int(order)]}({self._print(x)})"

    def _print_Piecewise(self, e: Any) -> str:
        *branches, (otherwise, _) = e.args
        text = str(self._print(otherwise))
        for then, condition in reversed(branches):
            text = f"where({self._print(condition)}, {self._print(then)}, {text})"
        return text

    def _print_Mul(self, expr: Any) -> str:
        """Numbers that are no fractions go together, so that they are multiplied out while loading."""
        number, rest = expr.as_independent(*expr.free_symbols, as_Add=False)
        reciprocal = all(isinstance(f, sp.Pow) and f.exp.is_negative for f in sp.Mul.make_args(rest))
        if number.is_Rational or reciprocal or not expr.free_symbols:
            return str(super()._print_Mul(expr))
        return "*".join(self.parenthesize(part, PRECEDENCE["Mul"], strict=True) for part in (number, rest))

    def _print_Pow(self, expr: Any, rational: bool = False) -> str:
        if expr.exp.is_Integer and expr.exp < -1:
            return f"1/{self._print(sp.Pow(expr.base, -expr.exp))}"
        return str(super()._print_Pow(expr, rational))


def write(expression: Any) -> str:
    """A SymPy expression as a formula; a fraction of many digits becomes the decimal number that it was."""
    decimals = {r: sp.Symbol(repr(float(r))) for r in expression.atoms(sp.Rational) if r.q > 1000}
    return str(_Writer().doprint(expression.xreplace(decimals)))


def module(table: Sequence[Elementwise]) -> str:
    """The text of `derived.py`."""
    assert derived.__doc__
    head = f'"""{derived.__doc__}"""\n\nDERIVED: dict[str, tuple[str | None, ...]] = {{'
    lines = (f'    "{row.name}": {_tuple(derive(row))},' for row in table if _is_derived(row))
    return "\n".join([head, *lines, "}", ""])


def _is_derived(row: Elementwise) -> bool:
    return row.overrides is None and row.types not in WITHOUT_DERIVATIVE


def _tuple(texts: Sequence[str | None]) -> str:
    shown = ", ".join("None" if text is None else f'"{text}"' for text in texts)
    return f"({shown},)" if len(texts) == 1 else f"({shown})"


if __name__ == "__main__":
    Path(derived.__file__).write_text(module(rows()), encoding="utf-8")
