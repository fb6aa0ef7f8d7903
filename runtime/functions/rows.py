"""A row of THE elementwise table applied to Tensors and Python numbers.

Operands of one dtype that the row takes go straight to NumPy (`_one`, `_two`); all others by `general`:
promotion and the interpreter. `APPLY` has a function for each row; `pointwise` enters them under their public
names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from typing import Any

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.dtypes import DType
from retrograd.compiler.errors import DtypeError, mirrored
from retrograd.compiler.ir.graph import OPS, Array, Type, apply
from retrograd.compiler.ir.quiet import quietly
from retrograd.compiler.ops import complexes
from retrograd.compiler.ops.demands import divisor
from retrograd.compiler.ops.elementwise import Elementwise, Types
from retrograd.compiler.ops.half import exactly
from retrograd.compiler.ops.row import WITHOUT_DERIVATIVE
from retrograd.runtime import grad_names, tracing
from retrograd.runtime.eager import one_op
from retrograd.runtime.eager.copying import clone
from retrograd.runtime.eager.history import record
from retrograd.runtime.eager.instant import calls, loops
from retrograd.runtime.eager.instant.doors import late
from retrograd.runtime.eager.kernels import kernel, number
from retrograd.runtime.eager.kinds import kind_of
from retrograd.runtime.eager.otherwise import otherwise
from retrograd.runtime.eager.promotion import common_dtype, promote
from retrograd.runtime.eager.record import RECORD
from retrograd.runtime.eager.replay import name_history, planned, replayed, within
from retrograd.runtime.eager.selection import Selection
from retrograd.runtime.functions.kernels import unkernelled
from retrograd.runtime.grad_names import Last
from retrograd.runtime.modes import STATE
from retrograd.runtime.names import bare_legacy_name
from retrograd.runtime.native import small
from retrograd.runtime.native.small import kernels, one_pass
from retrograd.runtime.strided import differ_in_order, following, pointwise_strides
from retrograd.runtime.tensor import Tensor

Function = Callable[..., Any]

ROWS = {name: op for name, op in OPS.items() if isinstance(op, Elementwise)}

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


_BOOL, _WHOLE, _FLOATING = range(3)
KERNELS = {
    **{f"bitwise_{name}": (f"bitwise_{name}_cpu", {_FLOATING}) for name in ("and", "or", "xor", "not")},
    **{name: (f"{name}_cpu", {_BOOL, _FLOATING}) for name in ("gcd", "lcm")},
    **{name: (f"{name}_cpu", {_BOOL, _WHOLE}) for name in ("frac", "hypot", "logaddexp", "logaddexp2")},
    **{name: (f"{name}_vml_cpu", {_BOOL}) for name in ("ceil", "floor", "round", "trunc")},
    **{name: (f"{name}_cpu", {_BOOL}) for name in ("fmod", "remainder")},
    "pow": ("pow", {_BOOL}), "floor_divide": ("div_floor_cpu", {_BOOL}),
    "bitwise_left_shift": ("lshift_cpu", {_BOOL, _FLOATING}),
    "bitwise_right_shift": ("rshift_cpu", {_BOOL, _FLOATING}),
}  # fmt: skip
"""What PyTorch calls the kernels of rows that it has for some categories of dtypes alone, and for which it
has none."""


DIVISIONS = {"floor_divide", "remainder", "fmod"}
"""Rows that say nothing of whole numbers over 0."""


def _demanded(row: Elementwise, operands: list[Any]) -> list[Any]:
    """The operands of a division; whole numbers are not divided by 0."""
    if row.name not in DIVISIONS or dtypes.of(operands[-1]).numpy.kind not in "iu":
        return operands
    return operands if 0 in operands[0].shape else [*operands[:-1], divisor(operands[-1])]


def _by_any_but_zero(compute: Callable[..., Any]) -> Callable[..., Any]:
    """The quotient of arrays of whole numbers; an error, which `general` tells, where it is by 0."""

    def divide(x: Array, y: Array) -> Any:
        if x.size and not (y.all() if y.ndim else y[()]):
            raise ZeroDivisionError
        return compute(x, y)

    return divide


def general(row: Elementwise, operands: Sequence[Any]) -> Tensor:
    """Apply a row to whatever the user gave: the way that is always right."""
    promoted = promote(row, operands)
    common = dtypes.of(promoted[-1])
    if common.is_complex and row.name in ON_PAIRS:
        return ON_PAIRS[row.name](*promoted)
    if common.is_complex and not row.takes(common):
        refused = [x for x in promoted if isinstance(x, Tensor)][:1]
        kernel_name, _ = KERNELS.get(row.name, ("", ()))
        words = unkernelled(row.name, refused, _NO_NAMES) if refused else ""
        if kernel_name and not words:
            words = f"\"{kernel_name}\" not implemented for '{bare_legacy_name(common)}'"
        raise DtypeError(
            mirrored(words) if words else f"{row.name} of {common}", "", "cast it, or take .real"
        )
    if row.name in _PARTICULAR:
        _refuse(row, operands, common)
        promoted = _demanded(row, promoted)
    if row.types is Types.ROUND and not common.is_floating_point:
        return clone(promoted[0])  # whole numbers are round already
    picked = Selection in map(type, promoted)
    if common.numpy not in taken_dtypes(row):
        row.infer(*(Type(() if picked else tuple(x.shape), dtypes.of(x)) for x in promoted))
    result: Tensor = apply(row, *promoted) if picked else RECORD.apply(row, promoted)
    if result._edge is not None and row.name in grad_names.BESIDE:
        name_history(result, Last(_called(row.name, *operands)), operands)
    return result


ON_PAIRS: dict[str, Callable[..., Tensor]] = {
    "abs": complexes.modulus,
    "isnan": lambda x: APPLY["logical_or"](*complexes.of_parts("isnan", x)),
    "isinf": lambda x: APPLY["logical_or"](*complexes.of_parts("isinf", x)),
    "isfinite": lambda x: APPLY["logical_and"](*complexes.of_parts("isfinite", x)),
    "softsign": lambda x: APPLY["div"](x, APPLY["add"](complexes.modulus(x), 1)),
}
"""What stands for rows of complex operands that do not take them: functions of their parts."""

_PARTICULAR = {*DIVISIONS, *KERNELS, *(words.rpartition(" ")[2] for words in REFUSED)}
"""Rows that do not take all operands of the dtypes that they take."""


def _refuse(row: Elementwise, operands: Sequence[Any], dtype: DType) -> None:
    """Raise the row's own error for operands that promote to a dtype, if it has one."""
    for special in _special(operands, dtype):
        if f"{special} in {row.name}" in REFUSED:
            raise DtypeError(mirrored(REFUSED[f"{special} in {row.name}"]))
    kernel_name, missing = KERNELS.get(row.name, ("", ()))
    given = common_dtype(operands)
    if given.category in missing:
        raise DtypeError(mirrored(f"\"{kernel_name}\" not implemented for '{bare_legacy_name(given)}'"))


def _special(operands: Sequence[Any], dtype: DType) -> Iterator[str]:
    """What is special about operands that promote to a dtype."""
    bools = sum(isinstance(x, bool) or (isinstance(x, Tensor) and x.dtype is dtypes.bool_) for x in operands)
    if bools:
        yield "two bools" if bools == 2 else "one bool"
    last = operands[-1]
    if type(last) is int and last < 0 and not dtype.is_inexact:
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
        return frozenset(d.numpy for d in (*dtypes.FLOATING, *dtypes.COMPLEX))
    return taken_dtypes(row) if row.numpy is not None else taken_dtypes(row) - {dtypes.bool_.numpy}


@cache
def _computes(row: Elementwise) -> tuple[dict[Any, Callable[..., Any]], dict[Any, Callable[..., Any]]]:
    """The row of arrays, by their dtype: all of them, and those that are made. A formula becomes a function
    when it is first met.
    """

    def made(dtype: np.dtype[Any]) -> Callable[..., Any]:
        found = plainly(dtype)
        return _by_any_but_zero(found) if row.name in DIVISIONS and dtype.kind in "iu" else found

    def plainly(dtype: np.dtype[Any]) -> Callable[..., Any]:
        if dtype.kind == "c":
            return row.evaluation_on_complex
        if dtypes.dtype(dtype).is_half:
            return one_pass.of_halves(row, dtype, kernel(row))
        loop = loops.of_row(row, dtype)
        if loop is not None:
            return loop
        formula = exactly(kernel(row))
        if isinstance(formula, np.ufunc):
            return one_pass.quickly(row, dtype, formula)
        slow = one_pass.quickly(row, dtype, one_op.choosing(row, _or_small(row, formula)))
        return one_pass.of_row(row, dtype, slow, one_op.least(row))

    def first(dtype: np.dtype[Any]) -> Callable[..., Any]:
        def compute(*arrays: Array) -> Any:
            known[dtype] = ready[dtype] = made(dtype)
            return known[dtype](*arrays)

        return compute

    def is_numpys(dtype: np.dtype[Any]) -> bool:
        by_kernel = one_pass.is_quick(row, dtype) or dtypes.dtype(dtype).is_half
        return isinstance(row.numpy, np.ufunc) and not by_kernel

    quick = _quick_dtypes(row)
    ready = {dtype: made(dtype) for dtype in quick if is_numpys(dtype)}
    known = {dtype: first(dtype) for dtype in quick} | ready
    return known, ready


def _or_small(row: Elementwise, formula: Callable[..., Any]) -> Callable[..., Any]:
    """What NumPy does in several passes is one native call where there are few elements."""
    if not kernels.is_lacking(row) or row.arity == 1:
        return formula
    return lambda *arrays: (small.program.value(row, arrays) or formula)(*arrays)


def written_over(row: Elementwise) -> dict[Any, Callable[[], Function]]:
    """What makes the functions that compute the row into memory that is given, by dtype."""
    function = row.numpy
    if not isinstance(function, np.ufunc):
        return {}
    kinds = "cui" if row.name in DIVISIONS else "c"
    taken = [d for d in _quick_dtypes(row) if d.kind not in kinds]
    return {dtype: partial(one_pass.quickly, row, dtype, function) for dtype in taken}


_NO_NAMES: Mapping[str, Any] = {}
_UNNAMED = ("", "", "")
"""Of two Tensors, of a Tensor and a number, of a number and a Tensor: called as ever."""


def _one(row: Elementwise) -> Function:
    """The row as a function of one Tensor."""
    computes, _ = _computes(row)
    recordable, kind = row.types not in WITHOUT_DERIVATIVE, kind_of(row)

    def plainly(x: Any) -> Tensor:
        return general(row, (x,))

    def apply_to(x: Any) -> Tensor:
        if not isinstance(x, Tensor):
            return general(row, (x,))
        if tracing.depth:
            return within(plainly, (x,), _NO_NAMES)
        array: Any = x._value
        compute = computes.get(array.dtype)
        if compute is None:
            return general(row, (x,))
        try:
            value = quietly(compute, array)
        except Exception as error:
            return otherwise(error, general, row, (x,))
        result = calls.box(value)
        if x._view is not None:
            x._view.refresh(x)
        if recordable and x._requires_grad and STATE.grad and array.dtype.kind in "fcV":
            record(kind, row, (x,), (array,), result)
        return result

    return natively(row, apply_to)


def _two(row: Elementwise) -> Function:
    """The row as a function of two operands, of which one may be a number; NotImplemented for anything
    else.
    """
    computes, _ = _computes(row)
    recordable, kind = row.types not in WITHOUT_DERIVATIVE, kind_of(row)
    both, left, right = grad_names.BESIDE.get(row.name, _UNNAMED)

    def plainly(x: Any, y: Any) -> Tensor:
        return general(row, (x, y))

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
        if tracing.depth:
            return within(plainly, (x, y), _NO_NAMES)
        if compute is None:
            return general(row, (x, y))
        if of_x and of_y and differ_in_order(a, b):
            compute = following(compute)
        try:
            value = quietly(compute, a, b)
        except Exception as error:
            return otherwise(error, general, row, (x, y))
        result = calls.box(value)
        tracked = of_x and _tracked(x)
        if of_y and _tracked(y):  # asked in any case: a view is brought up to date so
            tracked = True
        if tracked and recordable and STATE.grad and a.dtype.kind in "fcV":
            record(kind, row, (x, y), (a, b), result, right if not of_x else both if of_y else left)
        return result

    return natively(row, apply_to)


def natively(row: Elementwise, function: Function, numbers: bool = True) -> Function:
    """A function of a row's one or two operands, done in native code where that is ready for them; without
    `numbers` only of Tensors."""
    shown = grad_names.BESIDE.get(row.name, _UNNAMED)
    computes, promoting = _computes(row)[1], _promoting(row)
    if row.arity > 1:
        function.lies = pointwise_strides  # type: ignore[attr-defined]  # for those who plan it
    return calls.row(row, kind_of(row), row.arity, function, computes, shown, promoting, numbers)


def _promoting(row: Elementwise) -> Callable[[Function], Function]:
    """The function of a row's operands, replayed: its steps cast those of other dtypes."""

    def shown(input: Any = None, other: Any = None, *rest: Any, **options: Any) -> str:
        return Last(_called(row.name, input, other))

    return partial(replayed, shown=shown if row.name in grad_names.BESIDE else "")


_NUMBERS = (float, int, complex)


def beside(value: complex, dtype: np.dtype[Any]) -> Array | None:
    """A number as an operand beside one of this dtype, or None where it decides the dtype of the result or
    does not fit."""
    if dtype.kind == "c":
        return number(value, dtype)
    if type(value) is complex or (dtype.kind != "f" and (type(value) is float or dtype.kind == "b")):
        return None
    if dtype.kind != "f" and not dtypes.dtype(dtype).holds(value):
        return None
    return number(value, dtype)


_OPERANDS = (Tensor, float, int, complex, np.ndarray, np.generic)


def _tracked(x: Tensor) -> bool:
    if x._view is not None:
        x._view.refresh(x)
    return x._requires_grad


def _more(row: Elementwise) -> Function:
    """The row as a function of three operands or more."""
    return planned(lambda *operands: general(row, operands))


def _applied(row: Elementwise) -> Function:
    """The row as a function of its operands."""

    def apply_to(*operands: Any) -> Tensor:
        return general(row, operands)

    make = (_one, _two, _more, _more)[row.arity - 1]
    return late(apply_to, lambda: make(row))


APPLY: dict[str, Function] = {name: _applied(row) for name, row in ROWS.items()}
"""Each row as a function of its operands and nothing else; of two operands, NotImplemented where one is no
operand.
"""
