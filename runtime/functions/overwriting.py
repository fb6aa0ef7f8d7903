"""A Tensor's elements overwritten: `copy_`, `fill_`, `zero_`.

In flow a Tensor and what its elements become; out flows the Tensor. Each is written twice: in place, which is
the general way, and out of place as one op (`compiler.ops.copy.Overwritten`), whose value and history native
calls hand over where they are recorded.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from retrograd.compiler.errors import ArgumentError, mirrored
from retrograd.compiler.ir.graph import apply
from retrograd.compiler.ops.copy import Overwritten
from retrograd.runtime.eager.copying import clone
from retrograd.runtime.eager.detaching import detach, detach_
from retrograd.runtime.eager.inplace import assign
from retrograd.runtime.eager.kernels import number, stored
from retrograd.runtime.eager.replay import replayed
from retrograd.runtime.functions.admission import admitting
from retrograd.runtime.functions.arithmetic import Operand, entered, with_elements
from retrograd.runtime.functions.pointwise import FUNCTIONS
from retrograd.runtime.functions.updating import changing
from retrograd.runtime.grad_names import Name
from retrograd.runtime.tensor import Tensor, method, new

_F = TypeVar("_F", bound=Callable[..., Any])
_OVERWRITTEN = Overwritten()


def _updating(apart: Callable[..., Tensor], shown: Name, filled: bool = True) -> Callable[[_F], _F]:
    """The method that does in place what `apart` does, whose node is called `shown`: with one value, if it is
    `filled`."""

    def enter(function: _F) -> _F:
        update, assigned = admitting(function.__name__, function), partial(assign, filled=filled)
        return method()(changing(update, replayed(apart, shown), None, assigned))  # type: ignore[return-value]  # called as it is

    return enter


def _copied(self: Tensor, src: Operand, non_blocking: bool = False) -> Tensor:
    return apply(_OVERWRITTEN, self, with_elements("copy_", src))


@_updating(_copied, "torch::autograd::CopyBackwards", filled=False)
def copy_(self: Tensor, src: Operand, non_blocking: bool = False) -> Tensor:
    """Take over the elements of `src`, broadcast and cast, and its history."""
    return assign(self, with_elements("copy_", src), "torch::autograd::CopyBackwards")


def _filled(self: Tensor, value: Operand) -> Tensor:
    return apply(_OVERWRITTEN, self, _filling(self, value))


def _filling(self: Tensor, value: Operand) -> Tensor:
    """The only element of a Tensor that is filled."""
    filling = value if isinstance(value, Tensor) else new(stored(value, self.dtype.numpy))
    if filling.ndim:
        raise ArgumentError(
            mirrored(
                f"fill_ only supports 0-dimension value tensor but got tensor with {filling.ndim} dimensions."
            )
        )
    return filling


def _fill_name(self: Tensor, value: Operand) -> str:
    return f"FillBackward{3 if isinstance(value, Tensor) else 2}"


@_updating(_filled, _fill_name)
def fill_(self: Tensor, value: Operand) -> Tensor:
    """Every element becomes `value`, a number or a 0-d Tensor."""
    given = value if isinstance(value, Tensor) else None
    return assign(self, _filling(self, value), _fill_name(self, value), given, filled=True)


def _zeroed(self: Tensor) -> Tensor:
    return apply(_OVERWRITTEN, self, number(0, self.dtype.numpy))


@_updating(_zeroed, "ZeroBackward0")
def zero_(self: Tensor) -> Tensor:
    """Every element becomes 0."""
    return assign(self, new(number(0, self.dtype.numpy)), "ZeroBackward0", filled=True)


@entered(in_place=False, replay=False)
def fill(input: Tensor, value: Operand) -> Tensor:
    """A tensor of the operand's type with `value`, a number or a 0-d Tensor, everywhere."""
    return fill_(clone(input), value)


FUNCTIONS.update(fill_=fill_, zero_=zero_)
for _function in clone, detach, detach_:
    FUNCTIONS[_function.__name__] = admitting(_function.__name__, _function)
