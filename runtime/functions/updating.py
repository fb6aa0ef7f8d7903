"""Elementwise results written where a Tensor is: the in-place methods (`x.add_(…)`), and `out=`.

Where nothing is to be recorded or promoted, a pass of the row (natively: `eager.instant.changing`) or a GPU's
kernel (`_there`) writes into the memory itself; else the result out of place becomes the Tensor's value and
history (natively again, or by `eager.inplace.assign`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import wraps
from typing import Any

from retrograd.compiler.errors import DeviceError, DtypeError, GradientError, TraceError, mirrored, warn
from retrograd.compiler.ops.elementwise import Elementwise
from retrograd.compiler.ops.shape import cast
from retrograd.runtime import grad_functions, tracing
from retrograd.runtime.eager.copying import clone
from retrograd.runtime.eager.inplace import assign, changed, check_writable
from retrograd.runtime.eager.instant import calls
from retrograd.runtime.eager.instant.doors import late
from retrograd.runtime.eager.promotion import promote
from retrograd.runtime.eager.record import updated
from retrograd.runtime.eager.replay import called, name_history, planned
from retrograd.runtime.eager.selection import Selection
from retrograd.runtime.eager.underived import ended
from retrograd.runtime.functions.call_sites import call_site
from retrograd.runtime.functions.kernels import check_kernel
from retrograd.runtime.functions.rows import APPLY, ROWS, Function, written_over
from retrograd.runtime.functions.telling import tell
from retrograd.runtime.modes import STATE, no_grad
from retrograd.runtime.names import bare_legacy_name
from retrograd.runtime.strided import DeviceArray
from retrograd.runtime.tensor import Tensor


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


_COMPARISONS = ("lt", "le", "gt", "ge", "eq", "ne")
"""In place they end the histories of their operands."""
_TRUTHS = ("logical_and", "logical_or", "logical_xor", "logical_not")
"""In place they change nothing about a Tensor but its elements: its history, if any, stays what it was."""


def _ending(name: str, compare: Function) -> Function:
    """A comparison of the operand's own dtype, through which cotangents are zeros."""

    @wraps(compare)
    def ending(self: Tensor, other: Any) -> Tensor:
        shown = f"{name.title()}Backward{int(isinstance(other, Tensor))}"
        return ended(cast(compare(self, other), self.dtype), (self, other), shown)

    return ending


def in_place_of(name: str, function: Function) -> Function:
    """`x.name_(…)`: the result of `name` becomes x's value and history."""
    if name in _TRUTHS:
        return no_grad(_general_update(name, function))
    own = grad_functions.FUNCTIONS.get(f"{name}_")
    apart = _ending(name, function) if name in _COMPARISONS else function
    update = _general_update(name, apart)
    return changing(update, apart if own is None else called(own, apart), ROWS.get(name))


def _general_update(name: str, function: Function) -> Function:
    row, own = ROWS.get(name), grad_functions.FUNCTIONS.get(f"{name}_")
    shown = own or grad_functions.FUNCTIONS.get(name)

    @wraps(function)
    def update(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        try:
            if isinstance(self, Selection):
                result = function(self, *args, **kwargs)
                check_category(self, result)
                return self.become(result)
            check_writable(self)
            check_kernel(f"{name}_", (self, *args), kwargs)
            if row is not None and _there(row, self, args, kwargs):
                return self
            recorded = row is None and self._requires_grad and STATE.grad
            result = function(clone(self) if recorded else self, *args, **kwargs)  # steps read what it was
            check_category(self, result)
            if shown:
                step = grad_functions.name_of(shown, (self, *args), kwargs)
                name_history(result, step, (self, *args), kwargs)
            return assign(self, result)
        except Exception as error:
            tell(error, f"{name}_", (self, *args), kwargs)

    update.__name__ = update.__qualname__ = f"{name}_"
    return update


def changing(
    update: Function, apart: Function, row: Elementwise | None = None, assigned: Function = assign
) -> Function:
    """The in-place method, natively where that is ready for it: `update` is the general way, `apart` what it
    does out of place, by a row of the table if it is one; `assigned` gives that to a view."""

    def make() -> Function:
        over = written_over(row) if row is not None and row.arity == 2 else {}
        return calls.change(planned(update, planner="updates"), apart, assigned, over)

    return late(update, make)


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


def write_out(out: Tensor, result: Tensor) -> Tensor:
    """What `out=` asks for. A Tensor of another shape gets that of the result, as in PyTorch."""
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
    if out.shape != result.shape:
        _resize(out, result)
    return assign(out, result)


def _resize(out: Any, result: Tensor) -> None:
    if STATE.trace is not None:
        raise TraceError(
            f"out= of shape {list(out.shape)} for a result of shape {list(result.shape)}",
            "a Tensor keeps its shape inside a trace",
            "make it of that shape",
        )
    if out.numel():
        warn(
            "An output with one or more elements was resized since it had shape "
            f"{list(out.shape)}, which does not match the required output shape {list(result.shape)}. This "
            "behavior is deprecated, and in a future PyTorch release outputs will not be resized unless they "
            "have zero elements. You can explicitly reuse an out tensor t by resizing it, inplace, to zero "
            "elements with t.resize_(0)."
        )
    out.resize_(result.shape)
