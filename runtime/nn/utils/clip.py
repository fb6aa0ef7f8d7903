"""Gradients bounded: in place, and, for compiled steps, out of place (`clipped`)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from retrograd.compiler.errors import GradientError, mirrored
from retrograd.runtime.functions import FUNCTIONS
from retrograd.runtime.modes import no_grad
from retrograd.runtime.tensor import Tensor

Tensors = Tensor | Iterable[Tensor]


def _gradients(parameters: Tensors) -> list[Tensor]:
    given = [parameters] if isinstance(parameters, Tensor) else parameters
    return [parameter.grad for parameter in given if parameter.grad is not None]


def get_total_norm(
    tensors: Tensors, norm_type: float = 2.0, error_if_nonfinite: bool = False, foreach: bool | None = None
) -> Tensor:
    """The norm of the elements of all tensors together."""
    given = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    kind = float(norm_type)
    if not given:
        return Tensor(np.zeros((), np.float32))
    with no_grad():
        total: Tensor = FUNCTIONS["norm"](
            FUNCTIONS["stack"]([FUNCTIONS["norm"](x, kind) for x in given]), kind
        )
    if error_if_nonfinite and not np.isfinite(total.item()):
        raise GradientError(
            mirrored(
                f"The total norm of order {kind} for gradients from `parameters` is non-finite, so it "
                "cannot be clipped. To disable this error and scale the gradients by the non-finite norm "
                "anyway, set `error_if_nonfinite=False`"
            )
        )
    return total


def clip_grad_norm_(
    parameters: Tensors,
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Scale the gradients so that their norm, all together, is at most `max_norm`; the norm before is
    returned.
    """
    given = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    total = get_total_norm(_gradients(given), norm_type, error_if_nonfinite)
    clip_grads_with_norm_(given, max_norm, total)
    return total


def clip_grads_with_norm_(
    parameters: Tensors, max_norm: float, total_norm: Tensor, foreach: bool | None = None
) -> None:
    """Scale the gradients by what brings `total_norm` down to `max_norm`, if it is more."""
    with no_grad():
        factor = _factor(max_norm, total_norm)
        for gradient in _gradients(parameters):
            gradient.mul_(factor)


def _factor(max_norm: float, total_norm: Tensor) -> Tensor:
    factor: Tensor = (float(max_norm) / (total_norm + 1e-6)).clamp(max=1.0)
    return factor


def clip_grad_value_(parameters: Tensors, clip_value: float, foreach: bool | None = None) -> None:
    """Bound each element of the gradients to [-clip_value, clip_value]."""
    bound = float(clip_value)
    with no_grad():
        for gradient in _gradients(parameters):
            gradient.clamp_(-bound, bound)


def clipped(gradients: Sequence[Tensor], max_norm: float | None, clip_value: float | None) -> list[Tensor]:
    """The gradients as `clip_grad_norm_` would leave them, and then `clip_grad_value_`; None is no bound."""
    found = list(gradients)
    with no_grad():
        if max_norm is not None:
            factor = _factor(max_norm, get_total_norm(found))
            found = [gradient * factor for gradient in found]
        if clip_value is not None:
            bound = float(clip_value)
            found = [gradient.clamp(-bound, bound) for gradient in found]
    return found
