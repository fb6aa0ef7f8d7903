"""Derivatives compared with difference quotients.

In flow a function and its operands in double precision, out flows True, or a GradcheckError that shows both
Jacobians. `gradcheck` tries the first derivative, `gradgradcheck` the second. As `torch.autograd.gradcheck`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.errors import ArgumentError, GradientError, warn
from retrograd.compiler.ir.graph import Array
from retrograd.runtime.autograd.differentiation import grad
from retrograd.runtime.tensor import Tensor, new

TensorFunction = Callable[..., Any]


class GradcheckError(GradientError):
    """The derivative is not what the difference quotients say."""


def gradcheck(
    func: TensorFunction,
    inputs: Any,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
) -> bool:
    """Whether the gradients of all floating outputs by all operands that require grad agree with central
    differences.

    `nondet_tol` is how far two backward passes may differ. Where they do not agree: GradcheckError, or False
    without `raise_exception`.
    """
    operands = tuple(inputs) if isinstance(inputs, Sequence) else (inputs,)
    try:
        _check(func, operands, eps, atol, rtol, nondet_tol)
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def gradgradcheck(
    func: TensorFunction,
    inputs: Any,
    grad_outputs: Any = None,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
) -> bool:
    """`gradcheck` of the gradients, by the operands and by `grad_outputs` (random ones, if none are
    given).
    """
    operands = tuple(inputs) if isinstance(inputs, Sequence) else (inputs,)
    if grad_outputs is None:
        random = np.random.default_rng(0)
        seeds = [
            new(random.standard_normal(y.shape).astype(y.dtype.numpy), y) for y in _outputs(func, operands)
        ]
    else:
        seeds = list(grad_outputs) if isinstance(grad_outputs, Sequence) else [grad_outputs]
    cotangents = tuple(seed.detach().requires_grad_() for seed in seeds)

    def gradients(*both: Any) -> tuple[Tensor, ...]:
        xs, cts = both[: len(operands)], both[len(operands) :]
        wanted = [x for x in xs if isinstance(x, Tensor) and x.requires_grad]
        found = grad(_outputs(func, xs), wanted, cts, create_graph=True, allow_unused=True)
        return tuple(g for g in found if g is not None)

    return gradcheck(gradients, (*operands, *cotangents), eps, atol, rtol, raise_exception, nondet_tol)


def _outputs(func: TensorFunction, operands: Sequence[Any]) -> list[Tensor]:
    result = func(*operands)
    listed = list(result) if isinstance(result, Sequence) else [result]
    return [y for y in listed if isinstance(y, Tensor) and y.requires_grad]


def _check(
    func: TensorFunction, operands: tuple[Any, ...], eps: float, atol: float, rtol: float, nondet_tol: float
) -> None:
    places = [k for k, x in enumerate(operands) if isinstance(x, Tensor) and x.requires_grad]
    if not places:
        raise ArgumentError(
            "gradcheck expects at least one input tensor to require gradient, but none of the them have "
            "requires_grad=True."
        )
    for place in places:
        if operands[place].dtype is not dtypes.float64:
            warn(
                f"Input #{place} requires gradient and is not a double precision floating point or complex. "
                "This check will likely fail if all the inputs are not of double precision floating point or "
                "complex. "
            )
    outputs = _outputs(func, operands)
    for k, output in enumerate(outputs):
        for place in places:
            analytical = _analytical(output, operands[place])
            if np.abs(analytical - _analytical(output, operands[place])).max(initial=0) > nondet_tol:
                raise GradcheckError(
                    f"Backward is not reentrant, output {k}, input {place}: two passes differ"
                )
            numerical = _numerical(func, operands, place, k, eps)
            if not np.allclose(analytical, numerical, rtol, atol, equal_nan=True):
                raise GradcheckError(
                    f"Jacobian mismatch for output {k} with respect to input {place},\n"
                    f"numerical:{numerical}\nanalytical:{analytical}\n"
                )


def _analytical(output: Tensor, operand: Tensor) -> Array:
    """The Jacobian by backward passes, one column for each element of the output."""
    columns = np.zeros((operand.numel(), output.numel()))
    for j in range(output.numel()):
        unit = np.zeros(output.numel(), output.dtype.numpy)
        unit[j] = 1
        seed = new(unit.reshape(output.shape), output)
        (g,) = grad(output, operand, seed, retain_graph=True, allow_unused=True)
        if g is not None:
            columns[:, j] = g.detach().cpu().numpy().ravel()
    return columns


def _numerical(func: TensorFunction, operands: tuple[Any, ...], place: int, output: int, eps: float) -> Array:
    """The Jacobian by central differences, one row for each element of the operand."""
    fixed = operands[place].detach().cpu().numpy()
    rows = []
    for i in range(fixed.size):
        ends = []
        for step in (eps, -eps):
            moved = np.array(fixed, order="C")
            moved.reshape(-1)[i] += step
            there = new(moved, operands[place]).requires_grad_()
            shifted = (*operands[:place], there, *operands[place + 1 :])
            ends.append(_outputs(func, shifted)[output].detach().cpu().numpy().astype(float).ravel())
        rows.append((ends[0] - ends[1]) / (2 * eps))
    return np.array(rows).reshape(fixed.size, -1)
