"""Elementwise functions that are more than one row of the table: options, defaults, several rows in a chain.

In flow Tensors and numbers, out flow Tensors; all is written with the rows of `pointwise`. To add a function,
write it with `@entered`, and it is a function, a method and an in-place method.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.errors import ArgumentError, DtypeError, mirrored
from retrograd.compiler.ops import complexes
from retrograd.compiler.ops.shape import cast
from retrograd.runtime.eager.copying import clone
from retrograd.runtime.eager.kernels import stored
from retrograd.runtime.eager.promotion import as_operand, common_dtype
from retrograd.runtime.eager.replay import replayed
from retrograd.runtime.functions.admission import admitting
from retrograd.runtime.functions.pointwise import ALIASES, FUNCTIONS, public
from retrograd.runtime.functions.rows import APPLY, Function
from retrograd.runtime.functions.updating import in_place_of, write_out
from retrograd.runtime.modes import STATE
from retrograd.runtime.names import C_NAMES, bare_legacy_name
from retrograd.runtime.tensor import Tensor, method, new

_F = TypeVar("_F", bound=Callable[..., Any])
Operand = Tensor | complex

_add, _sub, _mul, _div, _where = (APPLY[name] for name in ("add", "sub", "mul", "div", "where"))


def entered(in_place: bool = True, replay: bool | str = True) -> Callable[[_F], _F]:
    """Make a function public under its own name, and, with `in_place`, its in-place method; `replay` as in
    `public.public`.
    """

    def enter(function: _F) -> _F:
        name = function.__name__.rstrip("_")
        public(name, admitting(name, function, *ALIASES.get(name, ())), in_place, replay)
        return function

    return enter


def _into(out: Tensor | None, result: Tensor) -> Tensor:
    if result is NotImplemented:
        raise ArgumentError(
            "an operand that is neither a Tensor nor a number", advice="make one with tensor()"
        )
    return result if out is None else write_out(out, result)


def with_elements(name: str, x: Any) -> Tensor:
    """An operand that must have elements of its own."""
    if isinstance(x, Tensor):
        return x
    lifted = as_operand(name, x)
    return lifted if isinstance(lifted, Tensor) else new(np.asarray(lifted, common_dtype([lifted]).numpy))


# ---- sums and quotients ------------------------------------------------------------------------------------


@entered()
def add(input: Operand, other: Operand, *, alpha: float = 1, out: Tensor | None = None) -> Tensor:
    """`input + alpha * other`."""
    return _into(out, _add(with_elements("add", input), _scaled(other, alpha, input)))


@entered()
def sub(input: Operand, other: Operand, *, alpha: float = 1, out: Tensor | None = None) -> Tensor:
    """`input - alpha * other`."""
    return _into(out, _sub(with_elements("sub", input), _scaled(other, alpha, input)))


@entered(in_place=False)
def rsub(input: Tensor, other: Operand, *, alpha: float = 1) -> Tensor:
    """`other - alpha * input`."""
    return _sub(other, _scaled(input, alpha, other))  # a row gives a Tensor


def _scaled(x: Operand, alpha: float, beside: Operand) -> Operand:
    """alpha · x in the dtype to which x and the operand beside it promote."""
    if alpha == 1:
        return x
    common = common_dtype([x, beside])
    if not isinstance(alpha, int) and not common.is_inexact:
        raise DtypeError(
            f"a product with alpha={alpha} in {common}",
            mirrored("For integral input tensors, argument alpha must not be a floating point number."),
            "give a whole number, or cast the tensors with .to(dtype)",
        )
    if not isinstance(x, Tensor):
        return x * alpha
    return _mul(cast(x, common), alpha if common.is_inexact else stored(alpha, common.numpy).item())


def _floor_quotient(x: Operand, y: Operand) -> Tensor:
    return APPLY["floor_divide"](x, y)  # a row gives a Tensor


def _cut_quotient(x: Operand, y: Operand) -> Tensor:
    """Towards zero; of whole numbers exactly, by taking away the remainder first."""
    if common_dtype([x, y]).is_floating_point:
        return APPLY["trunc"](_div(x, y))  # a row gives a Tensor
    return _floor_quotient(_sub(x, APPLY["fmod"](x, y)), y)


ROUNDINGS: dict[str | None, Function] = {None: _div, "floor": _floor_quotient, "trunc": _cut_quotient}


@entered()
def div(
    input: Operand, other: Operand, *, rounding_mode: str | None = None, out: Tensor | None = None
) -> Tensor:
    """The quotient; `rounding_mode` "floor" or "trunc" makes it whole, in the operands' own dtype."""
    if rounding_mode not in ROUNDINGS:
        raise ArgumentError(
            f"div expected rounding_mode to be one of None, 'trunc', or 'floor' but found '{rounding_mode}'"
        )
    return _into(out, ROUNDINGS[rounding_mode](with_elements("div", input), other))


FUNCTIONS.update(dict.fromkeys(("divide", "true_divide"), div))


@entered()
def addcmul(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: float = 1) -> Tensor:
    """`input + value * tensor1 * tensor2`."""
    if dtypes.bool_ is input.dtype is tensor1.dtype is tensor2.dtype:
        raise DtypeError(mirrored("\"addcmul_cpu_out\" not implemented for 'Bool'"))
    dtype = common_dtype([input, tensor1, tensor2])
    start, factor, other = (cast(x, dtype) for x in (input, tensor1, tensor2))
    if not dtype.is_inexact:
        value = int(value)
    return _add(start, _mul(factor if value == 1 else _mul(factor, value), other))


_WHOLE_QUOTIENTS = (
    "Integer division with addcdiv is no longer supported, and in a future  release addcdiv will perform a "
    "true division of tensor1 and tensor2. The historic addcdiv behavior can be implemented as (input + "
    "value * torch.trunc(tensor1 / tensor2)).to(input.dtype) for integer inputs and as (input + value * "
    "tensor1 / tensor2) for float inputs. The future addcdiv behavior is just the latter implementation: "
    "(input + value * tensor1 / tensor2), for all dtypes."
)


@entered()
def addcdiv(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: float = 1) -> Tensor:
    """`input + value * (tensor1 / tensor2)`."""
    if not (tensor1.dtype.is_inexact or tensor2.dtype.is_inexact):
        raise DtypeError(mirrored(_WHOLE_QUOTIENTS))
    return add(input, _div(tensor1, tensor2), alpha=value)


@entered()
def pow(input: Operand, exponent: Operand, *, out: Tensor | None = None) -> Tensor:
    """`input ** exponent`; either may be a number."""
    return _into(out, APPLY["pow"](input, exponent))


@entered(in_place=False)
def float_power(input: Operand, exponent: Operand) -> Tensor:
    """`input ** exponent` in double precision."""
    wide = dtypes.promote_types(common_dtype([input, exponent]), dtypes.float64)
    number: Callable[[Any], complex] = complex if wide.is_complex else float
    x, y = (cast(x, wide) if isinstance(x, Tensor) else number(x) for x in (input, exponent))
    return APPLY["pow"](x, y)


@method()
def float_power_(self: Tensor, exponent: Operand) -> Tensor:
    """`float_power` of a Tensor in double precision, in place."""
    if self.dtype is not dtypes.float64:
        words = "the base given to float_power_ has dtype {} but the operation's result requires dtype Double"
        raise DtypeError(mirrored(words.format(bare_legacy_name(self.dtype))))
    return _float_power_(self, exponent)


_float_power_ = in_place_of("float_power", float_power)


@entered()
def ldexp(input: Tensor, other: Operand) -> Tensor:
    """`input * 2 ** other`; the input keeps its dtype where `other` is whole."""
    found: Tensor = _mul(input, APPLY["pow"](2.0, other))
    floating = isinstance(other, Tensor) and other.dtype.is_floating_point
    return found if floating or not input.dtype.is_floating_point else cast(found, input.dtype)


@entered(in_place=False, replay="conversion")
def positive(input: Tensor) -> Tensor:
    """The operand itself."""
    if input.dtype is dtypes.bool_:
        raise DtypeError(mirrored("The `+` operator, on a bool tensor is not supported."))
    return input


@entered()
def lerp(input: Tensor, end: Tensor, weight: Operand) -> Tensor:
    """`input + weight * (end - input)`."""
    for place, x in (("end", end), ("weight", weight)):
        if isinstance(x, Tensor) and x.dtype is not input.dtype:
            asked, given = C_NAMES[input.dtype], C_NAMES[x.dtype]
            raise DtypeError(mirrored(f"expected dtype {asked} for `{place}` but got dtype {given}"))
    if not input.dtype.is_inexact:
        kernel = "lerp_kernel_tensor" if isinstance(weight, Tensor) else "lerp_kernel_scalar"
        raise DtypeError(mirrored(f"\"{kernel}\" not implemented for '{bare_legacy_name(input.dtype)}'"))
    return APPLY["lerp"](input, end, weight)  # a row gives a Tensor


def _polygamma(n: int, input: Tensor) -> Tensor:
    """The n-th derivative of `digamma`: (-1)^(n+1) n! ζ(n+1, x)."""
    if n < 0:
        raise ArgumentError(mirrored("polygamma(n, x) does not support negative n."))
    if n < 2:
        return APPLY["trigamma" if n else "digamma"](input)  # a row gives a Tensor
    factor = float(math.factorial(n)) if n < 171 else math.inf  # which overflows
    return _mul(APPLY["zeta"](float(n + 1), input), (-1.0) ** (n + 1) * factor)  # of Tensors, a Tensor


polygamma = FUNCTIONS["polygamma"] = replayed(admitting("polygamma", _polygamma), "PolygammaBackward0")


def _polygamma_method(self: Tensor, n: int) -> Tensor:
    """The n-th derivative of `digamma` at each element."""
    return polygamma(n, self)


method("polygamma")(admitting("polygamma", _polygamma_method))
method("polygamma_")(in_place_of("polygamma", _polygamma_method))


@entered()
def mvlgamma(input: Tensor, p: int) -> Tensor:
    """The logarithm of the gamma function of `p` dimensions."""
    if p < 1:
        raise ArgumentError(mirrored("p has to be greater than or equal to 1"))
    total = APPLY["lgamma"](input)
    for k in range(1, p):
        total = _add(total, APPLY["lgamma"](_sub(input, k / 2)))
    return _add(total, p * (p - 1) / 4 * math.log(math.pi))  # of Tensors, a Tensor


# ---- bounds and choice -------------------------------------------------------------------------------------


@entered()
def clamp(
    input: Tensor, min: Operand | None = None, max: Operand | None = None, *, out: Tensor | None = None
) -> Tensor:
    """Each element, but at least `min` and at most `max`; numbers or Tensors, of which one may be left
    out.
    """
    if min is None and max is None:
        raise ArgumentError(mirrored("torch.clamp: At least one of 'min' or 'max' must not be None"))
    if input.dtype.is_complex:
        raise DtypeError(mirrored("clamp is not supported for complex types"))
    result = input
    if min is not None:
        result = APPLY["clamp_min"](result, min)
    if max is not None:
        result = APPLY["clamp_max"](result, max)
    return _into(out, result)


@entered(in_place=False, replay="choice")
def where(condition: Tensor, input: Operand | None = None, other: Operand | None = None) -> Any:
    """Elements of `input` where the condition holds, of `other` elsewhere; alone, the places where it
    holds.
    """
    if input is None and other is None:
        found = condition.read("where(condition)").nonzero()
        return tuple(new(np.ascontiguousarray(axis), condition) for axis in found)
    if input is None or other is None:
        raise ArgumentError(
            "where(condition, input, other)", "it takes the condition alone or all three operands"
        )
    return _where(_checked_condition(condition), input, other)


@method("where")
def _where_method(self: Tensor, condition: Tensor, other: Operand) -> Any:
    """Elements of this Tensor where the condition holds, of `other` elsewhere."""
    return _where(_checked_condition(condition), self, other)


def _checked_condition(condition: Any) -> Any:
    """The condition; of bytes with a warning, of other numbers it is refused."""
    dtype = condition.dtype if isinstance(condition, Tensor) else dtypes.bool_
    if dtype is dtypes.uint8:
        if STATE.trace is not None:
            STATE.trace.unchecked = True  # the warning comes at every call
        warnings.warn(
            "where received a uint8 condition tensor. This behavior is deprecated and will be removed in a "
            "future version of PyTorch. Use a boolean condition instead.",
            stacklevel=3,
        )
    elif dtype is not dtypes.bool_:
        raise DtypeError(
            mirrored(
                "where expected condition to be a boolean tensor, but got a tensor with dtype "
                f"{bare_legacy_name(dtype)}"
            ),
            advice="compare it, as in condition != 0",
        )
    return condition


@entered()
def nan_to_num(
    input: Tensor, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None
) -> Tensor:
    """NaN and the infinities replaced by numbers: by default 0 and the greatest and least of the dtype."""
    if input.dtype.is_complex:
        parts = (nan_to_num(each, nan, posinf, neginf) for each in (input.real, input.imag))
        joined: Tensor = complexes.from_parts(*parts)
        return joined
    if not input.dtype.is_floating_point:
        return clone(input)
    most = dtypes.limits(input.dtype)
    high = float(most.max) if posinf is None else posinf
    low = float(most.min) if neginf is None else neginf
    return APPLY["nan_to_num"](input, nan, high, low)  # a row gives a Tensor


@entered()
def round(input: Tensor, *, decimals: int = 0) -> Tensor:
    """To the nearest whole number, halves to the even one; or to so many digits after the point."""
    if decimals == 0:
        return APPLY["round"](input)  # a row gives a Tensor
    if not input.dtype.is_floating_point:
        raise DtypeError(
            f"round(decimals={decimals}) of {input.dtype}", "whole numbers have no digits after the point"
        )
    scale = 10.0 ** abs(decimals)
    up, down = (_mul, _div) if decimals > 0 else (_div, _mul)
    return down(APPLY["round"](up(input, scale)), scale)  # a row gives a Tensor


@entered()
def logit(input: Tensor, eps: float | None = None) -> Tensor:
    """`log(x / (1 - x))`, of x clamped to `[eps, 1 - eps]`."""
    return APPLY["logit"](input if eps is None else clamp(input, eps, 1 - eps))  # a Tensor


@entered()
def sgn(input: Tensor) -> Tensor:
    """The sign; of complex numbers the direction, `input / abs(input)`, and 0 of 0."""
    found: Tensor = complexes.sgn(input) if input.dtype.is_complex else APPLY["sign"](input)
    return found


@entered(in_place=False)
def angle(input: Tensor) -> Tensor:
    """0 for what is not below 0, π for what is, and NaN for NaN; the derivative is 0. Of complex numbers the
    angle to the positive real axis."""
    if input.dtype.is_complex:
        turned: Tensor = complexes.angle(input)
        return turned
    x = input if input.is_floating_point() else cast(input, dtypes.default_dtype())
    nothing = _mul(APPLY["abs"](clamp(x, -1, 1)), 0)  # but NaN stays, and there is a history
    found: Tensor = where(APPLY["lt"](x, 0), math.pi, nothing)
    return found


@entered(in_place=False)
def isposinf(input: Tensor) -> Tensor:
    if input.dtype.is_complex:
        raise DtypeError(mirrored("isposinf does not support complex inputs."))
    return input == float("inf")


@entered(in_place=False)
def isneginf(input: Tensor) -> Tensor:
    if input.dtype.is_complex:
        raise DtypeError(mirrored("isneginf does not support complex inputs."))
    return input == float("-inf")


# ---- comparison of whole Tensors ---------------------------------------------------------------------------


@entered(in_place=False)
def isclose(
    input: Tensor, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Tensor:
    """`|input - other| <= atol + rtol * |other|`, element by element; equal infinities are close."""
    if input.dtype is not other.dtype:
        kinds = bare_legacy_name(input.dtype), bare_legacy_name(other.dtype)
        raise DtypeError(mirrored("{} did not match {}".format(*kinds)))
    for name, bound in (("rtol", rtol), ("atol", atol)):
        if bound < 0:
            raise ArgumentError(mirrored(f"{name} must be greater than or equal to zero, but got {bound:g}"))
    close: Tensor = input == other
    if not input.dtype is other.dtype is dtypes.bool_:
        close |= (abs(input - other) <= abs(other) * rtol + atol) & APPLY["isfinite"](other)
    if equal_nan:
        close |= APPLY["isnan"](input) & APPLY["isnan"](other)
    return close


@entered(in_place=False, replay="truth")
def allclose(
    input: Tensor, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> bool:
    """Whether all elements are close (see `isclose`)."""
    return bool(isclose(input, other, rtol, atol, equal_nan).all())


@entered(in_place=False, replay="truth")
def equal(input: Tensor, other: Tensor) -> bool:
    """Whether two Tensors have one shape and equal elements."""
    return input.shape == other.shape and bool((input == other).all())


for _name in ("divide_", "true_divide_"):
    setattr(Tensor, _name, in_place_of("divide", div))
