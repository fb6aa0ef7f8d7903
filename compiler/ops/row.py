"""What one row of the elementwise table is: text in, an op out. The table itself is `elementwise.py`.

A formula is text in a small language: reading the table needs no SymPy, and one text serves every level
(arrays, graph nodes, Tensors) as well as SymPy in `derive.py`.

    formula ::= number | pi | inf | nan | operand | row "(" formula, … ")" | "(" formula ")"
              | formula ("+" | "-" | "*" | "/" | "**") formula | "-" formula
              | formula ("<" | "<=" | ">" | ">=" | "==" | "!=") formula …
              | formula ("and" | "or") formula | "not" formula
              | "polynomial" "(" formula, c0, c1, … ")"                        c0 + c1*t + c2*t**2 + …
    operand ::= "x" | "y" | "z" | "w"; in a partial also "out", the row's value, and "ct", the cotangent

Every sign is the call of a row (`x == y` is `eq(x, y)`); a power with a whole exponent is multiplications;
what mentions no operand is a number, worked out while loading. Numbers take the dtype of the operands.

A row takes complex numbers where `on_complex` says so. Its derivative is then the complex one, and PyTorch's
convention, by which the gradient of a real value is that by the real part plus i times that by the imaginary
one, makes the operand's cotangent `ct * conj(partial)`: said here, once for all rows.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable, Sequence
from enum import Enum
from functools import cache, cached_property, partial, reduce
from typing import Any

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.dtypes import DType
from retrograd.compiler.errors import DtypeError, ShapeError, mirrored
from retrograd.compiler.ir.graph import INTERPRETERS, Array, Op, Type, Value, apply, register
from retrograd.compiler.ops.derived import DERIVED
from retrograd.compiler.ops.half import in_float32
from retrograd.compiler.record import record


class Types(Enum):
    """What an elementwise op takes and gives. The Tensor API promotes the operands to that."""

    NUMERIC = "bool, integer or floating -> the same"
    NUMBER = "integer or floating -> the same"
    FLOAT = "floating -> the same; others are promoted to the default dtype first"
    ROUND = "floating -> the same; integers are whole already, and left as they are"
    INTEGER = "bool or integer -> the same"
    WHOLE = "integer -> the same"
    COMPARE = "anything -> bool"
    LOGICAL = "bool -> bool; others are compared with zero first"
    CLASSIFY = "floating -> bool; others are promoted to the default dtype first"
    SELECT = "bool, then two of one dtype -> that dtype"


_ACCEPTED = {
    Types.NUMBER: (1, 2),
    Types.FLOAT: (2,),
    Types.ROUND: (2,),
    Types.INTEGER: (0, 1),
    Types.WHOLE: (1,),
    Types.LOGICAL: (0,),
    Types.CLASSIFY: (2,),
}
"""Categories of dtypes (see DType) where not all are taken."""
CATEGORIES = ("bool", "integer", "floating-point", "complex")
"""What errors call them."""
_TO_BOOL = {Types.COMPARE, Types.LOGICAL, Types.CLASSIFY}
WITHOUT_DERIVATIVE = {*_TO_BOOL, Types.INTEGER, Types.WHOLE}


@record(eq=False)
class Elementwise(Op):
    """One row of the table."""

    name: str  # type: ignore[misc]  # a class variable of Op, but each row is an op
    formula: str
    types: Types
    numpy: Callable[..., Any] | None
    """Evaluates the row on arrays. Without one the formula does."""
    overrides: tuple[str | None, ...] | None
    domain: str
    native_on: tuple[int, ...]
    """Categories of dtypes (see DType) on which the back ends have code for it."""

    @property
    def native(self) -> bool:
        """Whether the back ends have code for it on some dtype; elsewhere `expansion` is its code."""
        return bool(self.native_on)

    def is_native(self, dtype: DType) -> bool:
        """Whether the back ends have code for it on operands of this dtype (`where`: on its branches)."""
        return dtype.category in self.native_on

    def takes(self, dtype: DType) -> bool:
        """Whether operands (of `where`: the branches) may have this dtype."""
        return dtype.category in self._accepted

    @cached_property
    def _accepted(self) -> tuple[int, ...]:
        real = _ACCEPTED.get(self.types, (0, 1, 2))
        return (*real, 3) if self.name in ON_COMPLEX else real

    @cached_property
    def _to_bool(self) -> bool:
        return self.types in _TO_BOOL

    @cached_property
    def arity(self) -> int:
        return max("xyzw".index(operand) for operand in re.findall(r"\b[xyzw]\b", self.formula)) + 1

    @property
    def operands(self) -> str:
        """The names of the operands in formulas: `x`, `xy`, `xyz` or `xyzw`."""
        return "xyzw"[: self.arity]

    @cached_property
    def expansion(self) -> Callable[..., Value]:
        """The formula as a function of values of any level."""
        return function_of(self.formula, [*self.operands])

    @cached_property
    def expansion_on_complex(self) -> Callable[..., Value]:
        """The same of complex numbers."""
        return function_of(ON_COMPLEX[self.name].formula or self.formula, [*self.operands])

    @cached_property
    def evaluation_on_complex(self) -> Callable[..., Any]:
        """What evaluates it on arrays of complex numbers."""
        given = ON_COMPLEX[self.name]
        return given.numpy or (self.numpy if given.formula is None else None) or self.expansion_on_complex

    @cached_property
    def partials(self) -> tuple[str | None, ...]:
        """The derivative by each operand, as text."""
        if self.types in WITHOUT_DERIVATIVE:
            return (None,) * self.arity
        return self.overrides if self.overrides is not None else DERIVED[self.name]

    @cache  # noqa: B019  # rows live for ever
    def rule(self, operand: int) -> Callable[..., Value] | None:
        """An operand's cotangent from the operands, the value and the value's cotangent, if it has one."""
        text = self.partials[operand]
        return None if text is None else function_of(cotangent_text(text), [*self.operands, "out", "ct"])

    @cache  # noqa: B019  # as above
    def step_back(self, operand: int) -> Callable[..., Value] | None:
        """The same of halves, too."""
        rule = self.rule(operand)
        return None if rule is None else in_float32(rule)

    @cache  # noqa: B019  # as above
    def step_back_on_complex(self, operand: int) -> Callable[..., Value] | None:
        """The same of complex numbers."""
        text = (ON_COMPLEX[self.name].partials or self.partials)[operand]
        return None if text is None else _conjugate_rule(text, [*self.operands, "out", "ct"])

    def inside(self, *operands: Array) -> Array:
        """Whether the operands lie in the domain."""
        return np.asarray(function_of(self.domain, [*self.operands])(*operands) if self.domain else True)

    def infer(self, *types: Type) -> Type:
        if len(types) != self.arity:
            raise ShapeError(f"{self.name}() with {len(types)} operands", f"it takes {self.arity}")
        last = types[-1]
        selects = self.types is Types.SELECT
        for t in types[selects:]:
            if t.dtype is not last.dtype:
                reason = "the operands' dtypes differ", "cast one of them with .to(dtype)"
                raise DtypeError(self._shown(types), *reason)
        if selects and types[0].dtype is not dtypes.bool_:
            reason = "the condition is not bool", "compare it with something, or cast it"
            raise DtypeError(self._shown(types), *reason)
        if not self.takes(last.dtype):
            wanted = " or ".join(CATEGORIES[c] for c in self._accepted)
            reason = f"{self.name} takes {wanted} values", "cast the operand with .to(dtype)"
            raise DtypeError(self._shown(types), *reason)
        shape = broadcast_shapes(self.name, *[t.shape for t in types])
        out = dtypes.bool_ if self._to_bool else last.dtype
        return last if out is last.dtype and shape == last.shape else Type(shape, out)

    def _shown(self, types: Sequence[Type]) -> str:
        return f"{self.name}({', '.join(map(str, types))})"

    def evaluate(self, *arrays: Array) -> Array:
        if arrays[-1].dtype.kind == "c":
            return np.asarray(self.evaluation_on_complex(*arrays))
        return np.asarray((self.numpy or in_float32(self.expansion))(*arrays))

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        found = self.step_back_on_complex if dtypes.of(inputs[-1]).is_complex else self.step_back
        rules = [found(k) if need else None for k, need in enumerate(needed)]
        return [None if rule is None else rule(*inputs, out, cotangent) for rule in rules]

    def __repr__(self) -> str:
        return f"<elementwise {self.name}>"


def row(
    name: str,
    formula: str,
    types: Types = Types.FLOAT,
    numpy: Callable[..., Any] | None = None,
    partials: Sequence[str | None] | None = None,
    *,
    domain: str = "",
    native_on: Sequence[int] | None = None,
) -> Elementwise:
    """Enter one elementwise op in the table; the columns are told in `elementwise.py`."""
    if native_on is None:
        native_on = (0, 1, 2) if numpy else ()
    if numpy is not None and not isinstance(numpy, np.ufunc):
        numpy = in_float32(numpy)
    overrides = None if partials is None else tuple(partials)
    op = register(Elementwise(name, formula, types, numpy, overrides, domain, tuple(native_on)))
    _NAMESPACE[name] = partial(apply, op)
    return op


@record(slots=True)
class OnComplex:
    """What a row is of complex numbers."""

    formula: str | None = None
    """None: the row's own holds."""
    partials: tuple[str | None, ...] | None = None
    """None: the row's own hold."""
    numpy: Callable[..., Any] | None = None
    """None: the row's own takes them, if it has one."""


ON_COMPLEX: dict[str, OnComplex] = {}
"""Of each row that takes complex numbers."""


def on_complex(
    *names: str,
    formula: str | None = None,
    partials: Sequence[str | None] | None = None,
    numpy: Callable[..., Any] | None = None,
) -> None:
    """Have rows take complex numbers: by their own formula and derivatives, unless others are given. `real`
    and `modulus` are real parts and absolute values there."""
    given = OnComplex(formula, None if partials is None else tuple(partials), numpy)
    ON_COMPLEX.update(dict.fromkeys(names, given))


def broadcast_shapes(name: str, *shapes: tuple[int, ...]) -> tuple[int, ...]:
    """The shape to which these broadcast, as in NumPy; ShapeError naming the last axis that does not fit."""
    first = shapes[0]
    if shapes.count(first) == len(shapes):
        return first
    ndim = max(map(len, shapes))
    result = [1] * ndim
    for shape in shapes:
        for k in reversed(range(ndim - len(shape), ndim)):
            size = shape[k - ndim]
            if size != 1 and result[k] not in (1, size):
                raise ShapeError(
                    f"{name} of shapes {' and '.join(str(list(s)) for s in shapes)}",
                    mirrored(
                        f"The size of tensor a ({result[k]}) must match the size of tensor b ({size}) "
                        f"at non-singleton dimension {k}"
                    ),
                    "reshape or expand one of them",
                )
            result[k] = size if size != 1 else result[k]
    return tuple(result)


# ---- the language of formulas ------------------------------------------------------------------------------

SIGNS: dict[type[ast.AST], str] = {
    ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.Div: "div", ast.Pow: "pow", ast.USub: "neg",
    ast.Lt: "lt", ast.LtE: "le", ast.Gt: "gt", ast.GtE: "ge", ast.Eq: "eq", ast.NotEq: "ne",
    ast.And: "logical_and", ast.Or: "logical_or", ast.Not: "logical_not",
}  # fmt: skip
"""The row that each sign calls."""


def calls(node: ast.expr) -> ast.expr:
    """A parsed formula with each sign replaced by the call of its row."""
    match node:
        case ast.Constant() | ast.Name():
            return node
        case ast.BinOp(left, ast.Pow(), ast.Constant(int(n))) if n > 1:
            return _call("power", calls(left), ast.Constant(n))
        case ast.BinOp(left, sign, right):
            return _call(SIGNS[type(sign)], calls(left), calls(right))
        case ast.UnaryOp(sign, operand):
            return _call(SIGNS[type(sign)], calls(operand))
        case ast.BoolOp(sign, values):
            return reduce(partial(_call, SIGNS[type(sign)]), map(calls, values))
        case ast.Compare(left, signs, right):
            links = zip(signs, map(calls, [left, *right]), map(calls, right))
            return reduce(partial(_call, "logical_and"), [_call(SIGNS[type(s)], a, b) for s, a, b in links])
        case ast.Call(ast.Name(name), arguments, []):
            return _call(name, *map(calls, arguments))
    raise SyntaxError(f"not in the language of formulas: {ast.unparse(node)}")


def mentions(text: str, name: str) -> bool:
    """Whether a formula names this operand or row."""
    return any(isinstance(n, ast.Name) and n.id == name for n in ast.walk(parse(text)))


def parse(text: str) -> ast.expr:
    """The formula's syntax tree, as it is written."""
    return ast.parse(text, "<formula>", mode="eval").body


def cotangent_text(partial_text: str) -> str:
    """The cotangent of the operand whose partial derivative this is, as a formula."""
    if mentions(partial_text, "ct"):
        return partial_text
    match parse(partial_text):
        case ast.Constant(1):
            return "ct"
        case ast.Constant(0):
            return "where(ct < ct, ct, 0)"  # zeros of ct's shape, whatever ct holds
        case ast.BinOp(ast.Constant(1), ast.Div(), below):
            return f"ct / ({ast.unparse(below)})"
    return "-ct" if partial_text == "-1" else f"ct * ({partial_text})"


def _conjugate_rule(partial_text: str, names: Sequence[str]) -> Callable[..., Value]:
    """The cotangent of a complex operand: ct * conj(partial). A rule that says the whole cotangent is linear
    in ct, so its conjugate for the conjugate of ct is the same."""
    if not any(mentions(partial_text, name) for name in names):
        return function_of(cotangent_text(partial_text), names)
    if not mentions(partial_text, "ct"):
        match parse(partial_text):
            case ast.BinOp(ast.Constant(1), ast.Div(), below):
                return function_of(f"ct / conj({ast.unparse(below)})", names)
        return function_of(f"ct * conj({partial_text})", names)
    rule, conj = function_of(partial_text, names), _NAMESPACE["conj"]

    def conjugate(*values: Value) -> Value:
        *others, cotangent = values
        return conj(rule(*others, conj(cotangent)))

    return conjugate


def _call(name: str, *arguments: ast.expr) -> ast.expr:
    return ast.Call(ast.Name(name, ast.Load()), list(arguments), [])


def function_of(text: str, operands: Sequence[str]) -> Callable[..., Value]:
    """The formula as a Python function of values of any level."""
    body = calls(_fold(parse(text), set(operands)))
    head = ast.arguments([], [ast.arg(o) for o in operands], None, [], [], None, [])
    tree = ast.fix_missing_locations(ast.Expression(ast.Lambda(head, body)))
    function: Callable[..., Value] = eval(compile(tree, f"<formula {text}>", "eval"), _NAMESPACE)
    return function


def _fold(node: ast.expr, operands: set[str]) -> ast.expr:
    """The formula with every part that mentions no operand replaced by its value."""
    if not any(isinstance(n, ast.Name) and n.id in operands for n in ast.walk(node)):
        value = eval(compile(ast.Expression(node), "<constant>", "eval"), _CONSTANTS)
        return ast.copy_location(ast.Constant(value), node)
    for field, value in ast.iter_fields(node):
        if isinstance(value, list):
            setattr(node, field, [_fold(v, operands) if isinstance(v, ast.expr) else v for v in value])
        elif isinstance(value, ast.expr) and field != "func":
            setattr(node, field, _fold(value, operands))
    match node:  # a choice between two numbers says itself which dtype they have
        case ast.Call(ast.Name("where"), [condition, ast.Constant(a), ast.Constant() as b], []):
            return _call("where", condition, ast.Constant(a), _call("like", ast.Name("x", ast.Load()), b))
    return node


def _power(base: Value, exponent: int) -> Value:
    """base ** exponent for a whole exponent above 1, by squaring."""
    result, square = None, base
    while True:
        if exponent % 2:
            result = square if result is None else _NAMESPACE["mul"](result, square)
        exponent //= 2
        if not exponent:
            return result
        square = _NAMESPACE["mul"](square, square)


def _polynomial(t: Value, *coefficients: float) -> Value:
    """c0 + c1*t + c2*t**2 + …, by Horner's rule."""
    add, mul = _NAMESPACE["add"], _NAMESPACE["mul"]
    *lower, result = coefficients
    for c in reversed(lower):
        result = add(mul(t, result), c)
    return result


def _like(value: Value, number: float) -> Value:
    lift = getattr(INTERPRETERS.get(type(value)), "lift", None)
    lifted: Value = np.asarray(number, dtype=dtypes.of(value).numpy) if lift is None else lift(value, number)
    return lifted


def helper(name: str, function: Callable[..., Value]) -> None:
    """A function of values of any level that formulas may call, and that is no row."""
    _NAMESPACE[name] = function


_CONSTANTS: dict[str, Any] = {n: getattr(math, n) for n in ("pi", "inf", "nan", "sqrt", "log", "exp")}
_NAMESPACE: dict[str, Any] = {"power": _power, "polynomial": _polynomial, "like": _like, "__builtins__": {}}
"""What formulas may call: the rows, as functions of values of any level, and three helpers."""
