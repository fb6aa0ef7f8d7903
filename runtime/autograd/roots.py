"""Where a backward pass begins: outputs, with the cotangents that they are given, or 1.

In flow outputs and gradients as a user gives them, out flow edges of the tape with cotangents, for a `Pass`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.errors import ArgumentError, DeviceError, GradientError, mirrored
from retrograd.compiler.ir.graph import Value
from retrograd.compiler.ops.shape import cast
from retrograd.runtime.autograd.engine import as_cotangent
from retrograd.runtime.eager.history import edge_of
from retrograd.runtime.eager.tape import Edge
from retrograd.runtime.tensor import Tensor, new


def roots_of(
    outputs: Sequence[Tensor], grad_outputs: Sequence[Tensor | None], create_graph: bool
) -> list[tuple[Edge, Value]]:
    """Where a pass begins: the outputs' edges with their cotangents, ones for scalars that are given none."""
    roots: list[tuple[Edge, Value]] = []
    for place, (output, given) in enumerate(zip(outputs, grad_outputs, strict=True)):
        if not output.requires_grad:
            raise GradientError(
                mirrored(f"element {place} of tensors does not require grad and does not have a grad_fn")
            )
        seed = _one(output) if given is None else _checked(given, output, place)
        roots.append((edge_of(output), as_cotangent(seed, create_graph)))
    return roots


def _one(output: Tensor) -> Tensor:
    """The cotangent of a scalar that is given none."""
    shape = output._value.shape
    if shape and output.numel() != 1:
        raise GradientError(
            mirrored("grad can be implicitly created only for scalar outputs"),
            f"this one has shape {list(output.shape)}",
            "sum it up, or give the gradient",
        )
    if output.dtype.is_complex:
        raise GradientError(
            mirrored(f"grad can be implicitly created only for real scalar outputs but got {output.dtype}"),
            "a complex value has no gradient: two numbers change at once",
            "take its real part or its absolute value, or give the gradient",
        )
    one = np.array(1, output.dtype.numpy)
    return new(one.reshape(shape) if shape else one, output)


def _checked(given: Tensor, output: Tensor, place: int) -> Tensor:
    if not isinstance(given, Tensor):
        raise ArgumentError(f"gradients can be either Tensors or None, but got {type(given).__name__}")
    if given.shape != output.shape:
        raise GradientError(
            mirrored(
                f"Mismatch in shape: grad_output[{place}] has a shape of {given.shape} and "
                f"output[{place}] has a "
                f"shape of {output.shape}."
            )
        )
    if given.device != output.device:
        raise DeviceError(
            f"a gradient on {given.device} for an output on {output.device}",
            "both must be on one device",
            "move it with .to(device)",
        )
    if dtypes.of(given) is not output.dtype:
        if output.dtype.is_complex or given.dtype.is_complex:
            raise GradientError(
                mirrored(
                    "For complex Tensors, both grad_output and output are required to have the same dtype. "
                    f"Mismatch in dtype: grad_output[{place}] has a dtype of {given.dtype} and "
                    f"output[{place}] has a dtype of {output.dtype}."
                )
            )
        converted: Tensor = cast(given, output.dtype)
        return converted
    return given
