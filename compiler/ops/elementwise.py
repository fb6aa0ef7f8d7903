"""THE table of elementwise ops: one line each, and every part of the system reads its line.

To add an op, add a row, then run `python -m retrograd.compiler.ops.derive` to write its derivative to `derived.py`
(SymPy works it out; a test derives every row again and compares). The row gives:

    name       how it is called in printed graphs, as a Tensor method and as a function
    formula    its value in terms of other rows, in x, y, z; what SymPy differentiates. For a native row, a SymPy name.
    numpy      the NumPy function that evaluates it; without one the formula is evaluated
    types      which dtypes it takes and gives: see `Types`
    native     True: the back ends have code for it (`backends/math`, `backends/llvm`); False: the formula is its code
    partials   the derivative by each operand where SymPy's form is numerically poor. `out` is the value, so that it is
               reused. A text that mentions `ct` is the whole cotangent (so that `0 * inf` need not arise); else it is
               multiplied by the cotangent. None: no derivative by that operand
    domain     where SymPy's derivative and the override agree and the tests sample: a condition in x, y, z

Operands broadcast as in NumPy. All operands of one application have one dtype (but a condition is bool): promotion is
done by the Tensor API, once, from `types`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property, partial
from typing import Any

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.dtypes import DType
from retrograd.compiler.errors import DtypeError, ShapeError
from retrograd.compiler.ir.graph import Array, Op, Type, Value, apply, register
from retrograd.compiler.ops.derived import DERIVED


class Types(Enum):
    """What an elementwise op takes and gives."""

    NUMERIC = "any number -> the same"
    FLOAT = "floating -> the same; integers are promoted to the default dtype first"
    INTEGER = "bool or integer -> the same"
    COMPARE = "anything -> bool"
    LOGICAL = "bool -> bool; others are compared with zero first"
    CLASSIFY = "floating -> bool"
    SELECT = "bool, then two of one dtype -> that dtype"


@dataclass(frozen=True, eq=False, repr=False)
class Elementwise(Op):
    """One row of the table."""

    name: str  # type: ignore[misc]  # a class variable of Op, but each row is an op
    formula: str
    types: Types
    numpy: str | None
    native: bool
    overrides: tuple[str | None, ...] | None
    domain: str

    @cached_property
    def arity(self) -> int:
        return 3 if self.types is Types.SELECT else max(k + 1 for k, o in enumerate("xyz") if _mentions(self.formula, o))

    @property
    def operands(self) -> str:
        """The names of the operands in formulas: `x`, `xy` or `xyz`."""
        return "xyz"[: self.arity]

    @cached_property
    def expansion(self) -> Callable[..., Value]:
        """The formula as a function of values of any level."""
        return _compile(self.formula, self.operands)

    @cached_property
    def _evaluate(self) -> Callable[..., Any]:
        if self.numpy is None:
            return self.expansion
        function: Callable[..., Any] = getattr(np, self.numpy, None) or getattr(_NUMPY_EXTRAS, self.numpy)
        return function

    @cached_property
    def partials(self) -> tuple[str | None, ...]:
        """The derivative by each operand, as text."""
        return self.overrides if self.overrides is not None else DERIVED[self.name]

    @cached_property
    def _rules(self) -> tuple[Callable[..., Value] | None, ...]:
        return tuple(p and _compile(_whole_cotangent(p), f"{self.operands}", "out", "ct") for p in self.partials)

    def infer(self, *types: Type) -> Type:
        if len(types) != self.arity:
            raise ShapeError(f"{self.name}() with {len(types)} operands", f"it takes {self.arity}")
        values = types[1:] if self.types is Types.SELECT else types
        if any(t.dtype is not values[0].dtype for t in values):
            shown = ", ".join(str(t) for t in types)
            raise DtypeError(f"{self.name}({shown})", "the operands' dtypes differ", "cast one of them with .to(dtype)")
        _check_dtype(self, values[0].dtype)
        out = dtypes.bool_ if self.types in _TO_BOOL else values[0].dtype
        return Type(broadcast_shapes(self.name, *(t.shape for t in types)), out)

    def evaluate(self, *arrays: Array) -> Array:
        return np.asarray(self._evaluate(*arrays))

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        return [
            rule(*inputs, out, cotangent) if rule is not None and need else None
            for rule, need in zip(self._rules, needed, strict=True)
        ]

    def __repr__(self) -> str:
        return f"<elementwise {self.name}>"


_TO_BOOL = {Types.COMPARE, Types.LOGICAL, Types.CLASSIFY}
_ACCEPTED = {Types.FLOAT: (2,), Types.CLASSIFY: (2,), Types.INTEGER: (0, 1), Types.LOGICAL: (0,), Types.NUMERIC: (0, 1, 2)}


def _check_dtype(row: Elementwise, dtype: DType) -> None:
    accepted = _ACCEPTED.get(row.types, (0, 1, 2))
    if dtype.category not in accepted:
        wanted = " or ".join(("bool", "integer", "floating")[c] for c in accepted)
        raise DtypeError(f"{row.name} of {dtype}", f"it takes {wanted} values", "cast the operand with .to(dtype)")


def broadcast_shapes(name: str, *shapes: tuple[int, ...]) -> tuple[int, ...]:
    """The shape to which these broadcast, as in NumPy; ShapeError naming the first axis that does not fit."""
    ndim = max(map(len, shapes))
    result = [1] * ndim
    for shape in shapes:
        for k, size in enumerate(shape, ndim - len(shape)):
            if size != 1 and result[k] not in (1, size):
                raise ShapeError(
                    f"{name} of shapes {' and '.join(str(list(s)) for s in shapes)}",
                    f"The size of tensor a ({result[k]}) must match the size of tensor b ({size}) "
                    f"at non-singleton dimension {k}",
                    "reshape or expand one of them",
                )
            result[k] = size if size != 1 else result[k]
    return tuple(result)


def _mentions(text: str, name: str) -> bool:
    return name in compile(text, "<formula>", "eval").co_names


def _compile(text: str, operands: str, *more: str) -> Callable[..., Value]:
    function: Callable[..., Value] = eval(f"lambda {', '.join([*operands, *more])}: {text}", _NAMESPACE)
    return function


def _whole_cotangent(partial_text: str) -> str:
    if _mentions(partial_text, "ct"):
        return partial_text
    return {"1": "ct", "-1": "-ct"}.get(partial_text, f"ct * ({partial_text})")


_NAMESPACE: dict[str, Any] = {"pi": np.pi, "inf": np.inf, "nan": np.nan, "__builtins__": {}}
"""What formulas may name: the rows, as functions of values of any level, and three numbers."""


class _NumpyExtras:
    """Evaluations for which NumPy has no single function."""


_NUMPY_EXTRAS = _NumpyExtras()


def row(
    name: str,
    formula: str,
    types: Types = Types.FLOAT,
    *,
    numpy: str | None = None,
    native: bool = False,
    partials: tuple[str | None, ...] | None = None,
    domain: str = "True",
) -> Elementwise:
    """Enter one elementwise op in the table."""
    op = register(Elementwise(name, formula, types, numpy, native, partials, domain))
    _NAMESPACE[name] = partial(apply, op)
    return op


# fmt: off
# ---- arithmetic ------------------------------------------------------------------------------------------------------
row("add",      "x + y",      Types.NUMERIC, numpy="add",      native=True, partials=("1", "1"))
row("sub",      "x - y",      Types.NUMERIC, numpy="subtract", native=True, partials=("1", "-1"))
row("mul",      "x * y",      Types.NUMERIC, numpy="multiply", native=True, partials=("y", "x"))
row("div",      "x / y",      Types.FLOAT,   numpy="divide",   native=True, partials=("ct / y", "-ct * out / y"), domain="y != 0")
row("neg",      "-x",         Types.NUMERIC, numpy="negative", native=True, partials=("-1",))
row("maximum",  "Max(x, y)",  Types.NUMERIC, numpy="maximum",  native=True,
    partials=("where(x > y, ct, where(eq(x, y), ct * 0.5, 0.0))", "where(y > x, ct, where(eq(x, y), ct * 0.5, 0.0))"), domain="x != y")

# ---- comparison and choice -------------------------------------------------------------------------------------------
row("lt",    "x < y",        Types.COMPARE, numpy="less",          native=True, partials=(None, None))
row("le",    "x <= y",       Types.COMPARE, numpy="less_equal",    native=True, partials=(None, None))
row("gt",    "x > y",        Types.COMPARE, numpy="greater",       native=True, partials=(None, None))
row("ge",    "x >= y",       Types.COMPARE, numpy="greater_equal", native=True, partials=(None, None))
row("eq",    "Eq(x, y)",     Types.COMPARE, numpy="equal",         native=True, partials=(None, None))
row("where", "Where(x, y, z)", Types.SELECT, numpy="where",        native=True,
    partials=(None, "where(x, ct, 0.0)", "where(x, 0.0, ct)"))

# ---- exponentials ----------------------------------------------------------------------------------------------------
row("exp",     "exp(x)",       numpy="exp",  native=True)
row("log",     "log(x)",       numpy="log",  native=True, domain="x > 0")
row("tanh",    "tanh(x)",      numpy="tanh", native=True, partials=("1 - out * out",))
# fmt: on
