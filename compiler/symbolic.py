"""SymPy in and out: expressions become graphs, and functions of values of any level; graphs, expressions.

    function(expression, symbols)     a function of arrays, graph nodes or Tensors: what `compile_grad` takes
    from_sympy(expression, symbols)   its graph
    to_sympy(graph)                   each output as an expression, or as an array of expressions

Nothing here loads SymPy before one of these is called. A function of SymPy that has a row of the elementwise
table is a line in `SPELLED`; what SymPy composes in its own way is a case in `_Translator`.
"""

from __future__ import annotations

import ast
import inspect
import operator
import re
from collections.abc import Callable, Sequence
from functools import cache, reduce
from math import factorial, prod
from typing import Any

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.dtypes import DType
from retrograd.compiler.errors import ArgumentError
from retrograd.compiler.ir.graph import OPS, Array, Builder, Constant, Graph, Node, Op, Type, Value
from retrograd.compiler.ops.composite import Composite, expansion
from retrograd.compiler.ops.contract import Dot
from retrograd.compiler.ops.reduce import Reduction
from retrograd.compiler.ops.row import Elementwise, broadcast_shapes, calls, parse
from retrograd.compiler.ops.rows import rows
from retrograd.compiler.ops.shape import (
    Cast,
    Concat,
    Expand,
    Flip,
    Permute,
    Reshape,
    Select,
    Slice,
    concat,
    expand,
    reshape,
)
from retrograd.compiler.ops.window import Diagonal

Expression = Any
"""A SymPy expression, matrix, or sequence of these; SymPy has no types."""

SPELLED: dict[str, str] = {
    "add": "x + y", "sub": "x - y", "mul": "x * y", "div": "x / y", "neg": "-x", "pow": "x ** y",
    "sqrt": "sqrt(x)", "abs": "Abs(x)", "sign": "sign(x)", "floor": "floor(x)", "ceil": "ceiling(x)",
    "trunc": "sign(x) * floor(Abs(x))", "remainder": "Mod(x, y)",
    "maximum": "Max(x, y)", "minimum": "Min(x, y)",
    "exp": "exp(x)", "log": "log(x)", "sin": "sin(x)", "cos": "cos(x)", "tan": "tan(x)", "asin": "asin(x)",
    "acos": "acos(x)", "atan": "atan(x)", "atan2": "atan2(x, y)", "sinh": "sinh(x)", "cosh": "cosh(x)",
    "tanh": "tanh(x)", "asinh": "asinh(x)", "acosh": "acosh(x)", "atanh": "atanh(x)",
    "erf": "erf(x)", "erfc": "erfc(x)", "erfinv": "erfinv(x)",
    "lgamma": "loggamma(x)", "digamma": "digamma(x)", "trigamma": "trigamma(x)",
    "zeta": "zeta(x, y)",
    "where": "Piecewise((y, x), (z, True))", "heaviside": "Heaviside(x, y)",
    "lt": "StrictLessThan(x, y)", "le": "LessThan(x, y)", "gt": "StrictGreaterThan(x, y)",
    "ge": "GreaterThan(x, y)", "eq": "Equality(x, y)", "ne": "Unequality(x, y)",
    "logical_and": "And(x, y)", "logical_or": "Or(x, y)", "logical_not": "Not(x)", "logical_xor": "Xor(x, y)",
}  # fmt: skip
"""Rows as SymPy writes them. Every other row is opened: its formula is made of these."""

_CALLS = {row: re.fullmatch(r"(\w+)\([xyz, ]+\)", text) for row, text in SPELLED.items()}
ROW_OF = {found[1]: row for row, found in _CALLS.items() if found}
"""The row of a function of SymPy, by its class's name."""

POWERS = {(1, 2): "sqrt", (-1, 2): "rsqrt", (-1, 1): "reciprocal", (2, 1): "square"}
"""Rows for powers with a rational exponent."""

# ---- in ----------------------------------------------------------------------------------------------------


def function(expression: Expression, arguments: Sequence[Any]) -> Callable[..., Any]:
    """The expression as a function of its symbols, for floating values of any level, which broadcast.

    A matrix of r rows and c columns gives a value of shape `[r, c, …]`; a list or tuple gives a tuple. What
    several parts have in common is computed once.
    Raises ArgumentError for a symbol that is no argument and for what has no derivative here.
    """
    import sympy as sp

    several = isinstance(expression, list | tuple)
    try:
        results = [sp.sympify(e) for e in (expression if several else [expression])]
    except sp.SympifyError as error:
        raise ArgumentError(
            f"the formula {expression!r}",
            f"SymPy cannot read it: {error.expr}",
            "write it as SymPy prints it",
        ) from None
    names = [str(symbol) for symbol in arguments]
    free = set().union(*(e.free_symbols for e in results))
    symbols = [_symbol_called(a, free) if isinstance(a, str) else a for a in arguments]
    unknown = free - set(symbols)
    if unknown:
        raise ArgumentError(
            f"the SymPy expression {expression}",
            f"{', '.join(sorted(map(str, unknown)))} is no argument; the arguments are {', '.join(names)}",
            "list every symbol that the expression contains",
        )
    shared, reduced = sp.cse(results, order="none")

    def compute(*values: Value) -> Any:
        translator = _Translator(
            dict(zip(symbols, values, strict=True)), dtypes.of(values[0]) if values else None
        )
        for symbol, part in shared:
            translator.known[symbol] = translator.value(part)
        found = tuple(translator.output(e) for e in reduced)
        return found if several else found[0]

    parameters = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in names]
    compute.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # what inspect looks for
    compute.__name__ = compute.__qualname__ = "from_sympy"
    compute.__doc__ = str(expression)
    return compute


def _symbol_called(name: str, free: set[Any]) -> Any:
    """The symbol of this name that occurs, whatever is assumed of it; else a new one."""
    import sympy as sp

    return next((s for s in free if s.name == name), sp.Symbol(name))


def from_sympy(
    expression: Expression, arguments: Sequence[Any], types: Sequence[Type] | None = None, name: str = "f"
) -> Graph:
    """The graph of the expression; its inputs are the symbols, float64 scalars if not told otherwise."""
    builder = Builder()
    compute = function(expression, arguments)
    with builder.at(None):
        wanted = types or [Type((), dtypes.float64)] * len(arguments)
        inputs = [builder.input(str(a), t) for a, t in zip(arguments, wanted, strict=True)]
        found = compute(*inputs)
        outputs = found if isinstance(found, tuple) else (found,)
        dtype = inputs[0].dtype if inputs else dtypes.float64
        nodes = tuple(o if isinstance(o, Node) else builder.constant(o, dtype) for o in outputs)
    return Graph(name, tuple(inputs), nodes)


class _Translator:
    """Computes expressions, given the values of symbols. A number stays a Python number while it can."""

    def __init__(self, known: dict[Any, Value], dtype: DType | None) -> None:
        self.known = known
        self._dtype = dtype

    def output(self, e: Expression) -> Value:
        """A value; a matrix is stacked."""
        return self._stacked(e) if hasattr(e, "rows") else self.value(e)

    def _stacked(self, matrix: Any) -> Value:
        dtype = self._dtype or dtypes.float64
        entries = [self.value(e) for e in matrix]
        entries = [np.asarray(v, dtype.numpy) if isinstance(v, bool | int | float) else v for v in entries]
        common = broadcast_shapes("matrix", *(tuple(v.shape) for v in entries))
        lines = [reshape(expand(v, common), (1, *common)) for v in entries]
        return reshape(concat(lines, 0), (*matrix.shape, *common))

    def value(self, e: Expression) -> Value:
        """One expression."""
        if e in self.known:
            return self.known[e]
        if not e.free_symbols:
            return _number(e)
        kind = type(e).__name__
        special = getattr(self, f"_{kind.lower()}", None)
        if special is not None:
            return special(e)
        if kind not in ROW_OF:
            raise ArgumentError(
                f"{kind} in the SymPy expression {e}",
                "there is no function of that meaning here",
                f"rewrite it with {', '.join(sorted(ROW_OF))}",
            )
        row = getattr(rows, ROW_OF[kind])
        operands = [self.value(a) for a in e.args]
        return row(*operands) if len(operands) < 3 else reduce(row, operands)

    def _add(self, e: Expression) -> Value:
        """Terms with a minus sign are subtracted."""
        plus = [a for a in e.args if not a.could_extract_minus_sign()]
        minus = [-a for a in e.args if a.could_extract_minus_sign()]
        if not plus:
            return rows.neg(self._joined(rows.add, minus))
        total = self._joined(rows.add, plus)
        return rows.sub(total, self._joined(rows.add, minus)) if minus else total

    def _mul(self, e: Expression) -> Value:
        """Factors with a negative exponent are divided by."""
        number, rest = e.as_coeff_Mul()
        if number == -1:
            return rows.neg(self.value(rest))
        over = [a for a in e.args if not _is_divisor(a)]
        under = [1 / a for a in e.args if _is_divisor(a)]
        top = self._joined(rows.mul, over) if over else 1.0
        return rows.div(top, self._joined(rows.mul, under)) if under else top

    def _joined(self, row: Callable[..., Value], parts: Sequence[Expression]) -> Value:
        """Numbers come last, so that they take the dtype of a value."""
        values = [self.value(e) for e in sorted(parts, key=lambda e: not e.free_symbols)]
        return reduce(row, values)

    def _pow(self, e: Expression) -> Value:
        base, exponent = e.as_base_exp()
        known = exponent.is_Rational and POWERS.get((exponent.p, exponent.q))
        if known:
            return getattr(rows, known)(self.value(base))
        return rows.pow(self.value(base), self.value(exponent))

    def _piecewise(self, e: Expression) -> Value:
        """Nested choices; NaN where no condition holds."""
        result: Value = float("nan")
        for value, condition in reversed(e.args):
            chosen = self.value(value)
            if condition == True:  # noqa: E712  # SymPy's own truth
                result = chosen
            else:
                result = self._choice(self.value(condition), chosen, result)
        return result

    def _ite(self, e: Expression) -> Value:
        condition, yes, no = e.args
        return self._choice(self.value(condition), self.value(yes), self.value(no))

    def _choice(self, condition: Value, yes: Value, no: Value) -> Value:
        if isinstance(yes, bool | int | float) and isinstance(no, bool | int | float):
            no = np.asarray(no, (self._dtype or dtypes.float64).numpy)
        return rows.where(condition, yes, no)

    def _polygamma(self, e: Expression) -> Value:
        order, x = e.args[0], self.value(e.args[1])
        if not (order.is_Integer and 0 <= order < 170):
            raise ArgumentError(f"{e}", "its order is no whole number below 170")
        if order < 2:
            return (rows.digamma, rows.trigamma)[int(order)](x)
        return rows.mul(rows.zeta(float(order + 1), x), (-1.0) ** (order + 1) * factorial(int(order)))

    def _zeta(self, e: Expression) -> Value:
        """With one argument it is Riemann's."""
        return rows.zeta(self.value(e.args[0]), self.value(e.args[1]) if len(e.args) == 2 else 1.0)

    def _heaviside(self, e: Expression) -> Value:
        x, middle = e.args if len(e.args) == 2 else (e.args[0], 0.5)
        return rows.heaviside(self.value(x), float(middle))

    def _sinc(self, e: Expression) -> Value:
        """SymPy's sinc is sin(x) / x; the row's is that of pi·x."""
        return rows.sinc(rows.mul(self.value(e.args[0]), 1 / np.pi))


def _is_divisor(e: Expression) -> bool:
    return bool(e.is_Pow and e.exp.is_Number and e.exp.is_negative)


def _number(e: Expression) -> bool | float:
    if e in (True, False):
        return bool(e)
    number = e.evalf(30)
    if not (number.is_real or number.is_infinite or str(number) == "nan"):
        raise ArgumentError(f"the number {e} in a SymPy expression", "it is not real")
    return float(number)


# ---- out ---------------------------------------------------------------------------------------------------


def to_sympy(graph: Graph) -> tuple[Expression, ...]:
    """Each output as an expression of the inputs' names; one with axes as a SymPy `Array` of expressions.

    The elements of an input `x` with axes are the symbols `x_0_0`, `x_0_1`, …; all are real. Ops that move,
    add, multiply or compare elements are opened: for arrays that a person can read. Raises ArgumentError for
    others.
    """
    import sympy as sp

    known: dict[Node, Array] = {}
    for node in graph.inputs:
        known[node] = _symbols(str(getattr(node.op, "label", "")), node.shape)
    for node in graph.nodes:
        known[node] = _expressions(node.op, [known[i] for i in node.inputs], node.inputs)
    found = [known[output] for output in graph.outputs]
    return tuple(
        sp.sympify(e.item()) if e.ndim == 0 else sp.Array(e.ravel().tolist(), e.shape) for e in found
    )


def _symbols(label: str, shape: tuple[int, ...]) -> Array:
    import sympy as sp

    names = ["_".join([label, *map(str, place)]) for place in np.ndindex(shape)]
    return _array([sp.Symbol(name, real=True) for name in names], shape)


def _array(items: Sequence[Any], shape: Sequence[int]) -> Array:
    found = np.empty(prod(shape), object)
    found[:] = items
    return found.reshape(shape)


def _expressions(op: Op, operands: Sequence[Array], inputs: Sequence[Node]) -> Array:
    """What an op makes of arrays of expressions."""
    match op:
        case Constant(value=value):
            return _array([_exact(v) for v in value.ravel().tolist()], value.shape)
        case Elementwise():
            return np.asarray(np.frompyfunc(_meaning(op), op.arity, 1)(*operands), object)
        case Reduction(axes=axes):
            row = OPS[op.combine]
            assert isinstance(row, Elementwise)
            join, (found,) = np.frompyfunc(_meaning(row), 2, 1), operands
            for axis in reversed(axes):
                found = join.reduce(found, axis=axis)
            return np.asarray(found, object)
        case Cast() if op.dtype.is_floating_point and inputs[0].dtype.category:
            return operands[0]
        case Reshape() | Permute() | Expand() | Slice() | Select() | Flip() | Diagonal() | Concat() | Dot():
            return np.asarray(op.evaluate(*operands), object)
        case Composite():
            inner = expansion(op, tuple(i.type for i in inputs))
            known = dict(zip(inner.inputs, operands, strict=True))
            for node in inner.nodes:
                known[node] = _expressions(node.op, [known[i] for i in node.inputs], node.inputs)
            return known[inner.outputs[0]]
    raise ArgumentError(
        f"{op.name} as a SymPy expression", "its elements are not expressions of its operands'"
    )


def _exact(number: bool | int | float) -> Expression:
    """A number as SymPy's; a float that is whole, or a short fraction, is exact."""
    import sympy as sp

    if isinstance(number, bool):
        return sp.true if number else sp.false
    if isinstance(number, int):
        return sp.Integer(number)
    short = np.isfinite(number) and sp.Rational(number).q <= 1 << 10
    return sp.Rational(number) if short else sp.Float(number) if np.isfinite(number) else sp.sympify(number)


@cache
def _meaning(row: Elementwise) -> Callable[..., Expression]:
    """The row as a function of SymPy expressions."""
    import sympy as sp

    text = SPELLED.get(row.name, row.formula)
    if row.name not in SPELLED and _is_primitive(row):
        raise ArgumentError(f"{row.name} as a SymPy expression", "SymPy has no function of that meaning")
    tree = parse(text) if row.name in SPELLED else calls(parse(text))
    body = ast.Expression(ast.Lambda(_parameters(row.operands), tree))
    names: dict[str, Any] = {**vars(sp), "pi": sp.pi, "inf": sp.oo, "nan": sp.nan, "power": operator.pow}
    if row.name not in SPELLED:
        names |= {name: _later(op) for name, op in OPS.items() if isinstance(op, Elementwise)}
        names["polynomial"] = lambda t, *c: sum(a * t**k for k, a in enumerate(c))
    made: Callable[..., Expression] = eval(
        compile(ast.fix_missing_locations(body), f"<{row.name}>", "eval"), names
    )
    return made


def _is_primitive(row: Elementwise) -> bool:
    """Is the row its own formula, as a primitive is?"""
    return any(isinstance(n, ast.Name) and n.id == row.name for n in ast.walk(calls(parse(row.formula))))


def _later(row: Elementwise) -> Callable[..., Expression]:
    return lambda *operands: _meaning(row)(*operands)


def _parameters(operands: str) -> ast.arguments:
    return ast.arguments([], [ast.arg(o) for o in operands], None, [], [], None, [])
