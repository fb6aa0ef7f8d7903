"""Elementwise functions, methods, operators and in-place methods, made from THE table: one of each for every
row.

In flow Tensors and Python numbers, out flow Tensors. Operands of one dtype that the row takes go straight to
NumPy (`_one`, `_two`); all others by `promotion` and the interpreter. What is more than a row (`alpha=`,
`clamp`, `where` with one argument, …) is in `arithmetic`. A new row needs nothing here; an alias is an entry
in `ALIASES`, an operator one in `OPERATORS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial, wraps
from typing import Any

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.dtypes import DType
from retrograd.compiler.errors import ArgumentError, DeviceError, DtypeError, GradientError, mirrored
from retrograd.compiler.ir.graph import OPS, Array, Type, apply
from retrograd.compiler.ir.quiet import QUIET
from retrograd.compiler.ops.elementwise import Elementwise, Types
from retrograd.compiler.ops.half import exactly
from retrograd.compiler.ops.row import WITHOUT_DERIVATIVE
from retrograd.runtime import grad_names, tracing
from retrograd.runtime.eager import one_op
from retrograd.runtime.eager.copying import clone
from retrograd.runtime.eager.inplace import assign, changed, check_writable
from retrograd.runtime.eager.instant import calls, loops
from retrograd.runtime.eager.kernels import kernel, number
from retrograd.runtime.eager.opnodes import kind_of, record
from retrograd.runtime.eager.promotion import promote
from retrograd.runtime.eager.record import RECORD, updated
from retrograd.runtime.eager.replay import called, name_history, replayed
from retrograd.runtime.eager.selection import Selection
from retrograd.runtime.functions.call_sites import call_site
from retrograd.runtime.functions.telling import not_a_tensor, tell, telling
from retrograd.runtime.grad_names import Last
from retrograd.runtime.modes import STATE
from retrograd.runtime.names import bare_legacy_name
from retrograd.runtime.native.small import program as small
from retrograd.runtime.strided import DeviceArray
from retrograd.runtime.tensor import Tensor

Function = Callable[..., Any]

FUNCTIONS: dict[str, Function] = {}
"""The public functions, by name."""

ROWS = {name: op for name, op in OPS.items() if isinstance(op, Elementwise)}

ALIASES = {
    "abs": ("absolute",), "neg": ("negative",), "sub": ("subtract",), "mul": ("multiply",), "div": ("divide",
    "true_divide"), "trunc": ("fix",), "sign": ("sgn",), "sigmoid": ("special_expit", "expit"),
    "asin": ("arcsin",), "acos": ("arccos",), "atan": ("arctan",), "atan2": ("arctan2",),
    "asinh": ("arcsinh",), "acosh": ("arccosh",), "atanh": ("arctanh",), "lt": ("less",),
    "le": ("less_equal",), "gt": ("greater",), "ge": ("greater_equal",), "ne": ("not_equal",),
    "clamp": ("clip",),
}  # fmt: skip

IN_NN_ONLY = {
    "relu6", "leaky_relu", "elu", "celu", "softplus", "logsigmoid", "gelu", "gelu_tanh", "silu", "mish",
    "hardswish", "softsign", "cbrt", "zeta", "trigamma", "i0e", "i1", "i1e", "erfcx", "ndtr", "ndtri",
    "log_ndtr", "entr", "xlog1py",
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
SIGNS = {"neg": "neg", "abs": "abs", "invert": "bitwise_not"}

REFUSED = {
    "one bool in sub": "Subtraction, the `-` operator, with a bool tensor is not supported. If you are "
    "trying to invert a mask, use the `~` or `logical_not()` operator instead.",
    "two bools in sub": "Subtraction, the `-` operator, with two bool tensors is not supported. Use the `^` "
    "or `logical_xor()` operator instead.",
    "one bool in neg": "Negation, the `-` operator, on a bool tensor is not supported. If you are trying "
    "to invert a mask, use the `~` or `logical_not()` operator instead.",
    "a whole number below 0 in pow": "Integers to negative integer powers are not allowed.",
}
"""Rows that have their own words for some operands."""


# ---- out of place ------------------------------------------------------------------------------------------


def general(row: Elementwise, operands: Sequence[Any]) -> Tensor:
    """Apply a row to whatever the user gave: the way that is always right."""
    promoted = promote(row, operands)
    first = promoted[-1].dtype
    if row.types is Types.ROUND and first.is_floating_point is False:
        return clone(promoted[0])  # whole numbers are round already
    for special in _special(operands, dtypes.dtype(first)):
        if f"{special} in {row.name}" in REFUSED:
            raise DtypeError(mirrored(REFUSED[f"{special} in {row.name}"]))
    picked = any(isinstance(x, Selection) for x in promoted)
    if dtypes.dtype(first).numpy not in taken_dtypes(row):
        row.infer(*(Type(() if picked else tuple(x.shape), dtypes.of(x)) for x in promoted))
    result: Tensor = apply(row, *promoted) if picked else RECORD.apply(row, promoted)
    if row.name in grad_names.BESIDE:
        name_history(result, Last(_called(row.name, *operands)), operands)
    return result


def _special(operands: Sequence[Any], dtype: DType) -> Iterator[str]:
    """What is special about operands that promote to a dtype."""
    bools = sum(isinstance(x, bool) or (isinstance(x, Tensor) and x.dtype is dtypes.bool_) for x in operands)
    if bools:
        yield "two bools" if bools == 2 else "one bool"
    last = operands[-1]
    if type(last) is int and last < 0 and not dtype.is_floating_point:
        yield "a whole number below 0"


def _called(name: str, x: Any, y: Any) -> str:
    both, left, right = grad_names.BESIDE[name]
    return right if not isinstance(x, Tensor) else left if not isinstance(y, Tensor) else both


@cache
def taken_dtypes(row: Elementwise) -> frozenset[Any]:
    """The NumPy dtypes that a row takes as they are."""
    return frozenset(d.numpy for d in dtypes.ALL if row.takes(d))


def _quick_dtypes(row: Elementwise) -> frozenset[Any]:
    """Those for which `kernel(row)` gives the right dtype: in a formula, NumPy makes a bool and a number an
    integer. Of powers, whole exponents are looked at first.
    """
    if row.name == "pow":
        return frozenset(d.numpy for d in dtypes.FLOATING)
    return taken_dtypes(row) if row.numpy is not None else taken_dtypes(row) - {dtypes.bool_.numpy}


@cache
def _computes(row: Elementwise) -> tuple[dict[Any, Callable[..., Any]], dict[Any, Callable[..., Any]]]:
    """The row of arrays, by their dtype: all of them, and those that are made. A formula becomes a function
    when it is first met.
    """

    def made(dtype: np.dtype[Any]) -> Callable[..., Any]:
        loop = loops.of_row(row, dtype)
        formula = kernel(row) if dtypes.dtype(dtype).is_half else loop or exactly(kernel(row))
        return formula if isinstance(formula, np.ufunc) else one_op.choosing(row, _or_small(row, formula))

    def first(dtype: np.dtype[Any]) -> Callable[..., Any]:
        def compute(*arrays: Array) -> Any:
            known[dtype] = ready[dtype] = made(dtype)
            return known[dtype](*arrays)

        return compute

    quick = _quick_dtypes(row)
    ready = {dtype: made(dtype) for dtype in quick if isinstance(row.numpy, np.ufunc)}
    known = {dtype: first(dtype) for dtype in quick} | ready
    return known, ready


def _or_small(row: Elementwise, formula: Callable[..., Any]) -> Callable[..., Any]:
    """What NumPy does in several passes is one native call where there are few elements."""
    if row.numpy is not None or row.arity == 1:
        return formula
    return lambda *arrays: (small.value(row, arrays) or formula)(*arrays)


_UNNAMED = ("", "", "")
"""Of two Tensors, of a Tensor and a number, of a number and a Tensor: called as ever."""


def _one(row: Elementwise) -> Function:
    """The row as a function of one Tensor."""
    computes, ready = _computes(row)
    recordable, kind = row.types not in WITHOUT_DERIVATIVE, kind_of(row)

    def apply_to(x: Any) -> Tensor:
        if not isinstance(x, Tensor) or tracing.depth:
            return general(row, (x,))
        array: Any = x._value
        compute = computes.get(array.dtype)
        if compute is None:
            return general(row, (x,))
        try:
            value = QUIET.run(compute, array)
        except Exception:  # told in the user's terms below, or done otherwise
            return general(row, (x,))
        result = calls.box(value)
        if x._view is not None:
            x._view.refresh(x)
        if recordable and x._requires_grad and STATE.grad and array.dtype.kind in "fV":
            record(kind, row, (x,), (array,), result)
        return result

    return calls.row(row, kind, 1, apply_to, ready, _UNNAMED, _promoting(row))


def _two(row: Elementwise) -> Function:
    """The row as a function of two operands, of which one may be a number; NotImplemented for anything
    else.
    """
    computes, ready = _computes(row)
    recordable, kind = row.types not in WITHOUT_DERIVATIVE, kind_of(row)
    both, left, right = shown = grad_names.BESIDE.get(row.name, _UNNAMED)

    def apply_to(x: Any, y: Any) -> Any:
        of_x, of_y = isinstance(x, Tensor), isinstance(y, Tensor)
        a: Any = x._value if of_x else x
        b: Any = y._value if of_y else y
        if of_x and of_y:
            compute = computes.get(a.dtype) if a.dtype is b.dtype else None
        elif of_x and type(y) in _NUMBERS:
            compute = computes.get(a.dtype)
            if compute is not None and (b := beside(y, a.dtype)) is None:
                compute = None
        elif of_y and type(x) in _NUMBERS:
            compute = computes.get(b.dtype)
            if compute is not None and (a := beside(x, b.dtype)) is None:
                compute = None
        else:
            known = isinstance(x, _OPERANDS) and isinstance(y, _OPERANDS)
            return general(row, (x, y)) if known else NotImplemented
        if compute is None or tracing.depth:
            return general(row, (x, y))
        try:
            value = QUIET.run(compute, a, b)
        except Exception:  # told in the user's terms below, or done otherwise
            return general(row, (x, y))
        result = calls.box(value)
        tracked = of_x and _tracked(x)
        if of_y and _tracked(y):  # asked in any case: a view is brought up to date so
            tracked = True
        if tracked and recordable and STATE.grad and a.dtype.kind in "fV":
            record(kind, row, (x, y), (a, b), result, right if not of_x else both if of_y else left)
        return result

    return calls.row(row, kind, 2, apply_to, ready, shown, _promoting(row))


def _promoting(row: Elementwise) -> Callable[[Function], Function]:
    """The function of a row's operands, replayed: its steps cast those of other dtypes."""

    def shown(input: Any = None, other: Any = None, *rest: Any, **options: Any) -> str:
        return Last(_called(row.name, input, other))

    return partial(replayed, shown=shown if row.name in grad_names.BESIDE else "")


_NUMBERS = (float, int)


def beside(value: float, dtype: np.dtype[Any]) -> Array | None:
    """A number as an operand beside one of this dtype, or None where it decides the dtype of the result or
    does not fit."""
    if dtype.kind != "f" and (type(value) is float or dtype.kind == "b"):
        return None
    if dtype.kind != "f" and not dtypes.dtype(dtype).holds(value):
        return None
    return number(value, dtype)


_OPERANDS = (Tensor, float, int, np.ndarray, np.generic)


def _tracked(x: Tensor) -> bool:
    if x._view is not None:
        x._view.refresh(x)
    return x._requires_grad


def _more(row: Elementwise) -> Function:
    """The row as a function of three operands or more."""
    return replayed(lambda *operands: general(row, operands))


APPLY: dict[str, Function] = {
    name: (_one, _two, _more, _more)[row.arity - 1](row) for name, row in ROWS.items()
}
"""Each row as a function of its operands and nothing else; of two operands, NotImplemented where one is no
operand.
"""


def public(name: str, function: Function, in_place: bool = True, replay: bool | str = False) -> None:
    """Enter a function in `FUNCTIONS` and as a method, with its aliases, and the in-place method `name_`;
    `replay` as in `public.public`."""
    shown = grad_names.FUNCTIONS.get(name, "")
    if replay:
        function = replayed(function, shown, "steps" if replay is True else replay)
    elif shown:
        function = called(shown, function)
    updating = in_place_of(name, function) if in_place and name not in WITHOUT_IN_PLACE else None
    row = ROWS.get(name)
    at_top = updating is not None and (name in IN_PLACE_AT_TOP or (row is not None and row.arity == 1))
    for each in (name, *ALIASES.get(name, ())):
        own = grad_names.FUNCTIONS.get(each)
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

    chosen = telling(row.name, with_other if row.arity == 2 else function)
    chosen.__name__ = chosen.__qualname__ = row.name
    chosen.__doc__ = f"`{row.formula}`, element by element."
    if row.arity > 2:
        return chosen
    shown = grad_names.BESIDE.get(row.name, _UNNAMED)
    return calls.row(row, kind_of(row), row.arity, chosen, _computes(row)[1], shown, _promoting(row))


def write_out(out: Tensor, result: Tensor) -> Tensor:
    """What `out=` asks for."""
    if STATE.grad and (out._requires_grad or result._requires_grad):
        site = call_site("out", outside=True)
        raise GradientError(
            mirrored(
                f"{site.name if site is not None else 'out'}(): functions with out=... arguments don't "
                "support automatic differentiation, but one of the arguments requires grad."
            )
        )
    check_category(out, result)
    check_place(out, result)
    return assign(out, result)


# ---- in place ----------------------------------------------------------------------------------------------


def check_place(tensor: Tensor, result: Tensor) -> None:
    """A result is not copied to another device without a word."""
    if tensor.device != result.device and STATE.trace is None:
        raise DeviceError(
            mirrored(
                "Expected all tensors to be on the same device, but found at least two devices, "
                f"{result.device} and {tensor.device}!"
            ),
            f"out= on {tensor.device} for a result on {result.device}",
            "make it with device=, or copy the result with .to(device)",
        )


def check_category(tensor: Tensor, result: Tensor) -> None:
    """A result of a higher category than the Tensor it shall be written to is refused, as in PyTorch."""
    if result.dtype.category > tensor.dtype.category:
        raise DtypeError(
            mirrored(
                f"result type {bare_legacy_name(result.dtype)} can't be cast to the desired output type "
                f"{bare_legacy_name(tensor.dtype)}"
            )
        )


def in_place_of(name: str, function: Function) -> Function:
    """`x.name_(…)`: the result of `name` becomes x's value and history."""
    row = ROWS.get(name)
    ufunc = row.numpy if row is not None and isinstance(row.numpy, np.ufunc) and row.arity == 2 else None

    shown = grad_names.FUNCTIONS.get(f"{name}_") or grad_names.FUNCTIONS.get(name)

    @wraps(function)
    def update(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        try:
            if isinstance(self, Selection):
                result = function(self, *args, **kwargs)
                check_category(self, result)
                return self.become(result)
            check_writable(self)
            if row is not None and _there(row, self, args, kwargs):
                return self
            recorded = row is None and self._requires_grad and STATE.grad
            result = function(clone(self) if recorded else self, *args, **kwargs)  # steps read what it was
            check_category(self, result)
            if shown:
                name_history(result, grad_names.name_of(shown, (self, *args), kwargs), (self, *args), kwargs)
            return assign(self, result)
        except Exception as error:
            tell(error, f"{name}_", (self, *args), kwargs)

    update.__name__ = update.__qualname__ = f"{name}_"
    planned = replayed(update, planner="updates")
    if ufunc is None:
        return planned

    @wraps(update)
    def direct(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if not kwargs and len(args) == 1 and _directly(ufunc, self, args[0]):
            return self
        return planned(self, *args, **kwargs)

    return direct


def _there(row: Elementwise, x: Tensor, args: Sequence[Any], kwargs: dict[str, Any]) -> bool:
    """Have a kernel write into x's memory on a GPU, where nothing is to be recorded or promoted; else say
    False."""
    if not isinstance(x._value, DeviceArray) or tracing.depth:
        return False
    if len(args) != row.arity - 1 or kwargs.keys() - {"alpha"}:
        return False
    if STATE.grad and any(isinstance(y, Tensor) and y._requires_grad for y in (x, *args)):
        return False
    scaled = [APPLY["mul"](y, kwargs["alpha"]) for y in args] if kwargs.get("alpha", 1) != 1 else args
    itself, *others = promote(row, [x, *scaled])
    if itself is not x or not updated(row, x, others):
        return False
    changed(x)
    return True


def _directly(ufunc: np.ufunc, x: Tensor, y: Any) -> bool:
    """Have NumPy write into x's memory, where nothing is to be recorded or promoted; else say False."""
    array: Any = x._value
    if tracing.depth or type(array) is not np.ndarray:
        return False
    if isinstance(y, Tensor):
        other: Any = y._value
        if (y._requires_grad or y._view is not None) and STATE.grad:
            return False
    elif type(y) is float and array.dtype.kind == "f":
        other = number(y, array.dtype)
    else:
        return False
    if other.dtype is not array.dtype or (x._requires_grad and STATE.grad):
        return False
    if x._view is not None and STATE.grad:
        return False
    try:
        QUIET.run(ufunc, array, other, array)
    except (
        Exception
    ):  # shapes that do not fit, memory that is read-only: told in the user's terms by `assign`
        return False
    changed(x)
    return True


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


def _reflected(direct: Function) -> Function:
    return lambda self, other: direct(other, self)


def _pos(self: Tensor) -> Tensor:
    return self


for _name, _row in ROWS.items():
    if _name not in IN_NN_ONLY:
        public(_name, row_function(_row))
_enter_operators()
setattr(Tensor, "__pos__", _pos)  # noqa: B010  # entered, as methods are
