"""Elementwise functions, methods, operators and in-place methods, made from THE table: one of each for every
row.

`rows` applies them, `updating` writes what they give into Tensors. What is more than a row (`alpha=`,
`clamp`, `where` with one argument, …) is in `arithmetic`. A new row needs nothing here; an alias is an entry
in `ALIASES`, an operator one in `OPERATORS`.
"""

from __future__ import annotations

from functools import wraps
from typing import Any

from retrograd.compiler.errors import ArgumentError, DtypeError, mirrored
from retrograd.compiler.ops import bessel, orthogonal
from retrograd.compiler.ops.elementwise import Elementwise
from retrograd.runtime import grad_functions
from retrograd.runtime.eager.instant.doors import late
from retrograd.runtime.eager.lying import laid
from retrograd.runtime.eager.replay import called, planned, replayed
from retrograd.runtime.functions.admission import admitting
from retrograd.runtime.functions.refusals import takes_numbers
from retrograd.runtime.functions.rows import APPLY, ROWS, Function, general, natively
from retrograd.runtime.functions.telling import not_a_tensor
from retrograd.runtime.functions.updating import in_place_of, write_out
from retrograd.runtime.tensor import Tensor

FUNCTIONS: dict[str, Function] = {}
"""The public functions, by name."""

ALIASES = {
    "abs": ("absolute",), "neg": ("negative",), "sub": ("subtract",), "mul": ("multiply",), "div": ("divide",
    "true_divide"), "trunc": ("fix",), "sigmoid": ("special_expit", "expit"),
    "asin": ("arcsin",), "acos": ("arccos",), "atan": ("arctan",), "atan2": ("arctan2",),
    "asinh": ("arcsinh",), "acosh": ("arccosh",), "atanh": ("arctanh",), "lt": ("less",),
    "le": ("less_equal",), "gt": ("greater",), "ge": ("greater_equal",), "ne": ("not_equal",),
    "clamp": ("clip",),
}  # fmt: skip

IN_NN_ONLY = {
    "relu6", "leaky_relu", "elu", "celu", "softplus", "logsigmoid", "gelu", "gelu_tanh", "silu", "mish",
    "hardswish", "softsign", "cbrt", "zeta", "trigamma", "i0e", "i1", "i1e", "erfcx", "ndtr", "ndtri",
    "log_ndtr", "entr", "xlog1py", "gamma_p", "gamma_q", *bessel.FORMULAS, *orthogonal.FAMILIES,
}  # fmt: skip
"""Rows that PyTorch does not offer at the top, or offers in `nn.functional` with other arguments, or in
`special`.
"""

WITHOUT_IN_PLACE = {
    "where", "maximum", "minimum", "fmax", "fmin", "logaddexp", "logaddexp2", "isnan", "isinf", "isfinite",
    "signbit",
}  # fmt: skip

IN_PLACE_AT_TOP = {"clamp", "clamp_min", "clamp_max", "xlogy", "nan_to_num", "logit", "round", "ldexp"}
"""Functions that have their in-place form at the top, too, as all rows of one operand have."""

OPERATORS = {
    "add": "add", "sub": "sub", "mul": "mul", "truediv": "div", "floordiv": "floor_divide",
    "mod": "remainder", "pow": "pow", "and": "bitwise_and", "or": "bitwise_or", "xor": "bitwise_xor",
    "lshift": "bitwise_left_shift", "rshift": "bitwise_right_shift",
}  # fmt: skip
"""Python's binary operators, which also come reflected (`__radd__`) and in place (`__iadd__`), and their
rows.
"""

COMPARISONS = ("lt", "le", "gt", "ge", "eq", "ne")
SIGNS = {"neg": "neg", "abs": "abs"}


def public(name: str, function: Function, in_place: bool = True, replay: bool | str = False) -> None:
    """Enter a function in `FUNCTIONS` and as a method, with its aliases, and the in-place method `name_`;
    `replay` as in `public.public`."""
    shown = grad_functions.FUNCTIONS.get(name, "")
    function = laid(name, function)
    if replay:
        function = replayed(function, shown, "steps" if replay is True else replay)
    elif shown:
        function = called(shown, function)
    updating = in_place_of(name, function) if in_place and name not in WITHOUT_IN_PLACE else None
    row = ROWS.get(name)
    at_top = updating is not None and (name in IN_PLACE_AT_TOP or (row is not None and row.arity == 1))
    for each in (name, *ALIASES.get(name, ())):
        own = grad_functions.FUNCTIONS.get(each)
        if own and each != name:
            function = called(own, function)
        FUNCTIONS[each] = function
        setattr(Tensor, each, function)
        if updating is not None:
            setattr(Tensor, f"{each}_", updating)
        if updating is not None and at_top:
            FUNCTIONS[f"{each}_"] = updating


def row_function(row: Elementwise) -> Function:
    """The row under its own name: with `out=`, and an error in place of NotImplemented."""
    direct = APPLY[row.name]

    def function(input: Any, *others: Any, out: Tensor | None = None) -> Tensor:
        if len(others) + 1 != row.arity:
            raise ArgumentError(f"{row.name}() takes {row.arity} operands", f"{len(others) + 1} were given")
        if row.arity == 1 and not isinstance(input, Tensor):
            raise not_a_tensor(row.name, "input", 0, input)
        result = direct(input, *others)
        if result is NotImplemented:
            result = general(row, (input, *others))
        return result if out is None else write_out(out, result)

    def with_other(input: Any, other: Any, *, out: Tensor | None = None) -> Tensor:
        result = direct(input, other)
        if result is NotImplemented:
            result = general(row, (input, other))
        return result if out is None else write_out(out, result)

    chosen: Function = with_other if row.arity == 2 else function
    chosen.__name__ = chosen.__qualname__ = row.name
    chosen.__doc__ = f"`{row.formula}`, element by element."

    def admitted() -> Function:
        plainly = admitting(row.name, chosen, *ALIASES.get(row.name, ()))
        into = planned(plainly)

        @wraps(chosen)
        def either(*args: Any, **kwargs: Any) -> Any:
            return plainly(*args, **kwargs) if kwargs.get("out") is None else into(*args, **kwargs)

        return either

    if row.arity > 2:
        return admitted()
    return late(chosen, lambda: natively(row, admitted(), takes_numbers(row.name)))


# ---- the table becomes methods -----------------------------------------------------------------------------


def _enter_operators() -> None:
    for sign, name in OPERATORS.items():
        direct = APPLY[name]
        setattr(Tensor, f"__{sign}__", direct)
        setattr(Tensor, f"__r{sign}__", _reflected(direct))
        setattr(Tensor, f"__i{sign}__", in_place_of(name, direct))
    for name in COMPARISONS:
        setattr(Tensor, f"__{name}__", APPLY[name])
    for sign, name in SIGNS.items():
        setattr(Tensor, f"__{sign}__", APPLY[name])
    setattr(Tensor, "__invert__", natively(ROWS["bitwise_not"], _invert))  # noqa: B010  # entered, as methods are


def _invert(self: Tensor) -> Tensor:
    """`~x`, which has words of its own for floats."""
    if self.dtype.is_inexact:
        words = "~ (operator.invert) is only implemented on integer and Boolean-type tensors"
        raise DtypeError(f"~ of {self.dtype}", mirrored(words))
    inverted: Tensor = APPLY["bitwise_not"](self)
    return inverted


def _reflected(direct: Function) -> Function:
    return lambda self, other: direct(other, self)


def _pos(self: Tensor) -> Tensor:
    return self


for _name, _row in ROWS.items():
    if _name not in IN_NN_ONLY:
        public(_name, row_function(_row))
_enter_operators()
setattr(Tensor, "__pos__", _pos)  # noqa: B010  # entered, as methods are
